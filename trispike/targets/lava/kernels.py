"""Connections as fast as NumPy allows for one sample at a time.

``Connection.current`` is exact for any payload, and slow. Here the payloads are known to be
bounded, so a bound on every sum follows from the weights: below 2**24 the product is exact in
float32, where BLAS is fastest, below 2**53 in float64. A convolution becomes one matrix product on
the unfolded input. The tests compare all of it with ``Connection.current``.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.network import Connection, Conv2d, Dense, Identity, SumPool

Array: TypeAlias = npt.NDArray[Any]
Kernel: TypeAlias = Callable[[Array], Array]
"""From (*source shape) to (*output shape); the result is valid until the next call."""

EXACT_FLOAT32 = 1 << 24
EXACT_FLOAT64 = 1 << 53


def largest_sum(connection: Connection, payload: int) -> int:
    """A bound on the magnitude of everything that is added up on the way to one output.

    Args:
        connection: An integer connection.
        payload: Largest magnitude of the sum of its sources' spikes.
    """
    weight = np.abs(connection.operator.weight.astype(np.int64))
    if not isinstance(connection.operator, Identity):
        weight = weight.reshape(weight.shape[0], -1).sum(axis=1)
    area = connection.pool.area if connection.pool else 1
    # Also the pooled payload itself has to be exact.
    return max(int(weight.max(initial=0)), 1) * area * payload


def compile_connection(
    connection: Connection, source_shape: tuple[int, ...], payload: int
) -> Kernel:
    """A function equal to ``connection.current`` for one sample.

    Args:
        connection: An integer connection.
        source_shape: Shape of its sources.
        payload: Largest magnitude of the sum of its sources' spikes.
    """
    bound = largest_sum(connection, payload)
    if bound >= EXACT_FLOAT64:
        return lambda x: connection.current(x[None].astype(np.int64))[0]
    dtype = np.float32 if bound < EXACT_FLOAT32 else np.float64
    stages: list[Kernel] = []
    shape = source_shape
    for pool in connection.pool_stages:
        stages.append(_sum_pool(pool, shape, dtype))
        shape = pool.output_shape(shape)
    stages.append(_operator(connection.operator, shape, dtype))

    def current(x: Array) -> Array:
        for stage in stages:
            x = stage(x)
        wide = x.astype(np.int64)
        return wide << connection.exponent if connection.exponent else wide

    return current


def _operator(operator: Any, shape: tuple[int, ...], dtype: Any) -> Kernel:
    if isinstance(operator, Conv2d):
        return _convolution(operator, shape, dtype)
    if isinstance(operator, Dense):
        matrix = operator.weight.astype(dtype)
        return lambda x: np.asarray(matrix @ x.reshape(-1).astype(dtype))
    scale = operator.scale.astype(dtype)
    return lambda x: np.asarray(x * scale)


def _convolution(operator: Conv2d, shape: tuple[int, ...], dtype: Any) -> Kernel:
    outputs, groups = operator.output_shape(shape), operator.groups
    matrix = operator.weight.astype(dtype).reshape(groups, outputs[0] // groups, -1)
    geometry = (operator.kernel, operator.stride, operator.padding, operator.dilation)
    unfold = _unfold(shape, *geometry, outputs[1:], dtype)
    result = np.empty((groups, outputs[0] // groups, outputs[1] * outputs[2]), dtype)

    def convolve(x: Array) -> Array:
        columns = unfold(x).reshape(groups, matrix.shape[2], -1)
        return np.matmul(matrix, columns, out=result).reshape(outputs)

    return convolve


def _sum_pool(pool: SumPool, shape: tuple[int, ...], dtype: Any) -> Kernel:
    geometry = (pool.kernel, pool.stride, pool.padding, pool.dilation)
    unfold = _unfold(shape, *geometry, pool.output_shape(shape)[1:], dtype)
    return lambda x: np.asarray(unfold(x).sum(axis=(1, 2), dtype=dtype))


def _unfold(
    shape: tuple[int, ...],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    outputs: tuple[int, ...],
    dtype: Any,
) -> Kernel:
    """From (C, H, W) to (C, kh, kw, H', W'): what every kernel position reads, zero-padded."""
    channels, rows, columns = shape
    (ph, pw), (sh, sw), (dh, dw) = padding, stride, dilation
    padded = np.zeros((channels, rows + 2 * ph, columns + 2 * pw), dtype)
    inside = padded[:, ph : ph + rows, pw : pw + columns]
    unfolded = np.empty((channels, *kernel, *outputs), dtype)
    pairs = [
        (
            unfolded[:, i, j],
            padded[
                :,
                i * dh : i * dh + (outputs[0] - 1) * sh + 1 : sh,
                j * dw : j * dw + (outputs[1] - 1) * sw + 1 : sw,
            ],
        )
        for i, j in product(range(kernel[0]), range(kernel[1]))
    ]

    def unfold(x: Array) -> Array:
        inside[:] = x.reshape(shape)
        for target, source in pairs:
            target[:] = source
        return unfolded

    return unfold
