"""Connections as standard operators.

Convolutions are ``Conv``, ``ConvInteger``, or, in types for which runtimes have neither, a gather
of all windows and a ``MatMul``. The type of every sum is the first one that is exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from trispike.export.onnx.nodes import Nodes
from trispike.export.onnx.numbers import (
    FLOAT32,
    INT8,
    INT32,
    Array,
    Numbers,
    Value,
    holds,
    pooled_bound,
)
from trispike.network import Connection, Conv2d, Dense, SumPool
from trispike.network.connection import Pair, Shape


class Currents:
    """Adds the nodes of connections.

    Args:
        nodes: Where to.
        numbers: Types of the graph.
        rows: Largest row of every connection's operator, by label.
    """

    def __init__(self, nodes: Nodes, numbers: Numbers, rows: Mapping[str, int]) -> None:
        self._nodes = nodes
        self._numbers = numbers
        self._rows = rows

    def current(
        self, connection: Connection, label: str, arriving: Sequence[Value], shape: Shape
    ) -> Value:
        """What a connection delivers.

        Args:
            connection: The connection.
            label: Its name.
            arriving: What each of its sources sends, (N, *shape) each.
            shape: Of its sources.
        """
        value = self.total(arriving, f"{label}.sources")
        for pool in connection.pool_stages:
            value = self._pooled(pool, label, value, shape)
            shape = pool.output_shape(shape)
        value = self._applied(connection, label, value, shape)
        if connection.exponent:
            value = self.scaled(value, 1 << connection.exponent, label)
        return value

    def total(self, values: Sequence[Value], name: str) -> Value:
        """Sum of one or more tensors."""
        if len(values) == 1:
            return values[0]
        bound = None if values[0].bound is None else sum(v.bound or 0 for v in values)
        dtype = self._numbers.sum_dtype(name, bound)
        total = self.cast(values[0], dtype).name
        for value in values[1:]:
            total = self._nodes.op("Add", total, self.cast(value, dtype).name, name=name)
        return Value(total, dtype, bound)

    def scaled(self, value: Value, factor: int, name: str) -> Value:
        """An integer tensor times a power of two."""
        bound = None if value.bound is None else value.bound * factor
        dtype = self._numbers.sum_dtype(name, bound)
        shift = self._nodes.constant(factor, dtype, f"times_{factor}")
        wide = self.cast(value, dtype)
        return Value(self._nodes.op("Mul", wide.name, shift, name=f"{name}.shifted"), dtype, bound)

    def cast(self, value: Value, dtype: np.dtype[np.generic]) -> Value:
        """The same values in another type."""
        if value.dtype == dtype:
            return value
        return Value(self._nodes.cast(value.name, dtype), dtype, value.bound)

    def reshaped(self, value: Value, shape: Sequence[int], name: str) -> Value:
        """The same values as (N, *shape)."""
        sizes = np.array([-1, *shape])
        target = self._nodes.constant(sizes, sizes.dtype, "shape_" + "x".join(map(str, shape)))
        return value._replace(name=self._nodes.op("Reshape", value.name, target, name=name))

    def _applied(self, connection: Connection, label: str, value: Value, shape: Shape) -> Value:
        operator = connection.operator
        bound = None if value.bound is None else value.bound * self._rows[label]
        dtype = self._numbers.sum_dtype(f"connection {label}", bound)
        if isinstance(operator, Conv2d):
            return self._convolution(operator, label, value, shape, dtype)._replace(bound=bound)
        if isinstance(operator, Dense):
            if len(shape) > 1:
                value = self.reshaped(value, (math.prod(shape),), f"{label}.flat")
            return self._product(operator.weight.T, label, value, dtype)._replace(bound=bound)
        scale = self._nodes.constant(operator.scale, dtype, f"{label}.scale")
        name = self._nodes.op("Mul", self.cast(value, dtype).name, scale, name=label)
        return Value(name, dtype, bound)

    def _product(
        self, matrix: Array, label: str, value: Value, dtype: np.dtype[np.generic]
    ) -> Value:
        if self._as_int8(value) and dtype == INT32:
            weight = self._nodes.constant(matrix, INT8, f"{label}.weight")
            payload = self.cast(value, INT8).name
            return Value(self._nodes.op("MatMulInteger", payload, weight, name=label), dtype, None)
        weight = self._nodes.constant(matrix, dtype, f"{label}.weight")
        wide = self.cast(value, dtype).name
        return Value(self._nodes.op("MatMul", wide, weight, name=label), dtype, None)

    def _as_int8(self, value: Value) -> bool:
        return self._numbers.payload == INT8 and holds(INT8, value.bound)

    def _convolution(
        self, conv: Conv2d, label: str, value: Value, shape: Shape, dtype: np.dtype[np.generic]
    ) -> Value:
        integer = self._as_int8(value) and dtype == INT32
        if dtype == FLOAT32 or integer:
            stored = INT8 if integer else FLOAT32
            name = self._nodes.op(
                "ConvInteger" if integer else "Conv",
                self.cast(value, stored).name,
                self._nodes.constant(conv.weight, stored, f"{label}.weight"),
                name=label,
                **_geometry(conv),
                group=conv.groups,
            )
            return Value(name, dtype, None)
        outputs, inputs = conv.weight.shape[:2]
        rows, columns = conv.output_shape(shape)[1:]
        taps = math.prod(conv.kernel)
        windows = self._windows(conv, label, self.cast(value, dtype), shape)
        grouped = (conv.groups, inputs * taps, rows * columns)
        windows = self.reshaped(windows, grouped if conv.groups > 1 else grouped[1:], f"{label}.k")
        matrix = conv.weight.reshape(conv.groups, outputs // conv.groups, inputs * taps)
        weight = self._nodes.constant(
            matrix if conv.groups > 1 else matrix[0], dtype, f"{label}.weight"
        )
        product = self._nodes.op("MatMul", weight, windows.name, name=f"{label}.product")
        return self.reshaped(Value(product, dtype, None), (outputs, rows, columns), label)

    def _pooled(self, pool: SumPool, label: str, value: Value, shape: Shape) -> Value:
        bound = pooled_bound(pool, value.bound)
        dtype = self._numbers.sum_dtype(f"pooling of {label}", bound)
        if dtype == FLOAT32:
            ones = np.ones((shape[0], 1, *pool.kernel))
            name = self._nodes.op(
                "Conv",
                self.cast(value, dtype).name,
                self._nodes.constant(ones, dtype, f"{label}.ones"),
                name=f"{label}.pool",
                **_geometry(pool),
                group=shape[0],
            )
            return Value(name, dtype, bound)
        windows = self._windows(pool, f"{label}.pool", self.cast(value, dtype), shape)
        axes = self._nodes.constant([2], np.dtype(np.int64), "axis_2")
        name = f"{label}.pool.sum"
        summed = self._nodes.op("ReduceSum", windows.name, axes, name=name, keepdims=0)
        return self.reshaped(Value(summed, dtype, bound), pool.output_shape(shape), f"{label}.pool")

    def _windows(self, over: Conv2d | SumPool, label: str, value: Value, shape: Shape) -> Value:
        """(N, C, H, W) to (N, C, kernel elements, output positions)."""
        (ph, pw), channels = over.padding, shape[0]
        if ph or pw:
            pads = self._nodes.constant(
                [0, 0, ph, pw, 0, 0, ph, pw], np.dtype(np.int64), f"pads_{ph}_{pw}"
            )
            value = value._replace(
                name=self._nodes.op("Pad", value.name, pads, name=f"{label}.padded")
            )
        height, width = shape[1] + 2 * ph, shape[2] + 2 * pw
        value = self.reshaped(value, (channels, height * width), f"{label}.pixels")
        index = window_index((height, width), over.kernel, over.stride, over.dilation)
        where = self._nodes.constant(index, np.dtype(np.int64), f"{label}.windows")
        name = self._nodes.op("Gather", value.name, where, name=f"{label}.taps", axis=2)
        return value._replace(name=name)


def window_index(size: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> Array:
    """(kernel elements, output positions): flat pixel of each, in a padded picture."""
    rows, columns = (
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(size, kernel, stride, dilation, strict=True)
    )
    y = np.arange(kernel[0])[:, None] * dilation[0] + np.arange(rows) * stride[0]
    x = np.arange(kernel[1])[:, None] * dilation[1] + np.arange(columns) * stride[1]
    index = y[:, None, :, None] * size[1] + x[None, :, None, :]
    return np.asarray(index.reshape(kernel[0] * kernel[1], rows * columns))


def _geometry(over: Conv2d | SumPool) -> dict[str, tuple[int, ...]]:
    return {
        "kernel_shape": over.kernel,
        "strides": over.stride,
        "pads": (*over.padding, *over.padding),
        "dilations": over.dilation,
    }
