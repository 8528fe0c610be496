"""Operators on batches that lie channels last, in whichever arithmetic is exact for them."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trispike.network import Connection, Conv2d, Dense, Identity
from trispike.network.connection import Operator
from trispike.runtime.fast.events import BLOCK, convolve_events, rows_of
from trispike.runtime.fast.layout import (
    Array,
    Shape,
    from_layout,
    laid_out,
    order,
    to_layout,
)

Carrier: TypeAlias = Literal["int8", "float32", "float64", "int64"]
"""What an operator computes in."""


class Runner(Protocol):
    """An operator, ready to run."""

    def __call__(self, values: Array, silence: int) -> Array:
        """Apply the operator.

        Args:
            values: (B, *layout of the input): codes, or floats with silence 0.
            silence: Code of 0.

        Returns:
            (B, *layout of the output).
        """
        ...


def build_runner(connection: Connection, shape: Shape, carrier: Carrier, scale: int = 1) -> Runner:
    """An operator, ready to run.

    Args:
        connection: Its operator is what is run; pooling, delay and exponent are left to others.
        shape: Of the operator's input, (C, H, W) or (N,).
        carrier: What to compute in.
        scale: Multiplies the result; a power of two.
    """
    operator = connection.operator
    if carrier == "int64":
        return _ReferenceRunner(operator, shape, scale)
    if isinstance(operator, Identity):
        return _IdentityRunner(operator, shape, carrier, scale)
    conv = _as_convolution(operator, shape)
    if carrier == "int8":
        return Int8Runner(conv, scale)
    return _FloatRunner(conv, torch.float32 if carrier == "float32" else torch.float64, scale)


def _as_convolution(operator: Conv2d | Dense, shape: Shape) -> Conv2d:
    """A matrix is a 1x1 convolution over one position, its columns in the order of the layout."""
    if isinstance(operator, Conv2d):
        return operator
    return Conv2d(weight=operator.weight[:, order(shape), None, None])


def _images(values: Array, conv: Conv2d) -> Array:
    """(B, H, W, C), also of what has no rows and columns for a matrix."""
    if conv.weight.shape[1] * conv.groups == values.shape[-1] and values.ndim == 4:
        return values
    return values.reshape(len(values), 1, 1, -1)


def _tensor(images: Array) -> Tensor:
    """(B, H, W, C) as the (B, C, H, W) tensor in the same memory."""
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def _array(result: Tensor) -> Array:
    return result.permute(0, 2, 3, 1).contiguous().numpy()


class Int8Runner:
    """A convolution of bytes with int8 weights through oneDNN, accumulated in int32.

    The result is float32, and exact while it stays below 2**24.
    """

    def __init__(self, conv: Conv2d, scale: int = 1) -> None:
        self.conv = conv
        self.scale = scale
        self._packed: dict[int, Tensor] = {}
        outputs = conv.weight.shape[0]
        self._unit = torch.ones(outputs)
        self._zero = torch.zeros(outputs, dtype=torch.int64)

    def __call__(self, values: Array, silence: int) -> Array:
        """See :class:`Runner`."""
        conv = self.conv
        if silence not in self._packed:
            self._packed[silence] = torch.ops.onednn.qconv_prepack(
                torch.tensor(conv.weight),
                self._unit,
                float(self.scale),
                silence,
                list(conv.stride),
                list(conv.padding),
                list(conv.dilation),
                conv.groups,
                None,
            )
        result = torch.ops.onednn.qconv_pointwise(
            _tensor(_images(values, conv)),
            float(self.scale),
            silence,
            self._packed[silence],
            self._unit,
            self._zero,
            None,
            list(conv.stride),
            list(conv.padding),
            list(conv.dilation),
            conv.groups,
            1.0,
            0,
            torch.float32,
            "none",
            [],
            "",
        )
        return _array(result)


class EventRunner:
    """The same convolution of ternary codes, event by event: less work where little fires.

    Args:
        conv: One group.
        scale: Multiplies the result.
    """

    def __init__(self, conv: Conv2d, scale: int = 1) -> None:
        self.conv = conv
        self._scale = np.float32(scale)
        self._blocks = 1 if len(conv.weight) <= BLOCK else 2
        self._rows = rows_of(conv.weight, self._blocks)

    def prepare(self, values: Array) -> tuple[Array, Array]:
        """Codes as (B, H, W, C), and an empty result."""
        images = _images(values, self.conv)
        batch, height, width, channels = images.shape
        outputs, rows, columns = self.conv.output_shape((channels, height, width))
        return images, np.empty((batch, rows, columns, outputs), np.float32)

    def fill(self, images: Array, window: tuple[int, int], result: Array) -> None:
        """Write the images from ``window[0]`` to ``window[1]`` of the result."""
        conv = self.conv
        convolve_events(
            images,
            self._rows,
            tuple(np.empty(BLOCK, np.int16) for _ in range(self._blocks)),
            conv.kernel,
            conv.stride,
            conv.padding,
            conv.dilation,
            self._scale,
            window,
            result,
        )


class _FloatRunner:
    """A convolution in float32 or float64."""

    def __init__(self, conv: Conv2d, dtype: torch.dtype, scale: int) -> None:
        self.conv = conv
        self.dtype = dtype
        weight = torch.tensor(conv.weight, dtype=dtype) * scale
        self._weight = weight.to(memory_format=torch.channels_last)

    def __call__(self, values: Array, silence: int) -> Array:
        """See :class:`Runner`."""
        conv = self.conv
        images = _tensor(_images(values, conv)).to(self.dtype)
        if silence:
            images = images - silence
        single = images.shape[2:] == conv.kernel == (1, 1) and conv.padding == (0, 0)
        if single and conv.groups == 1:  # a matrix
            return _array((images.flatten(1) @ self._weight.flatten(1).T)[:, :, None, None])
        return _array(
            functional.conv2d(
                images,
                self._weight,
                None,
                conv.stride,
                conv.padding,
                conv.dilation,
                conv.groups,
            )
        )


class _IdentityRunner:
    """Every element times its scale."""

    def __init__(self, operator: Identity, shape: Shape, carrier: Carrier, scale: int) -> None:
        values = to_layout(np.broadcast_to(operator.scale * float(scale), shape), 0)
        self._scale: Array = values.astype(np.float64 if carrier == "float64" else np.float32)

    def __call__(self, values: Array, silence: int) -> Array:
        """See :class:`Runner`."""
        return np.asarray((values.astype(self._scale.dtype) - silence) * self._scale)


class _ReferenceRunner:
    """The operator of the reference engine, for sums that no float holds."""

    def __init__(self, operator: Operator, shape: Shape, scale: int) -> None:
        self.operator = operator
        self.shape = shape
        self.scale = scale

    def __call__(self, values: Array, silence: int) -> Array:
        """See :class:`Runner`."""
        decoded = values.astype(np.int64) - silence
        given = from_layout(decoded.reshape(len(values), -1), self.shape)
        result = self.operator.apply(np.ascontiguousarray(given)) * self.scale
        return to_layout(result, 1)


def int8_agrees(runner: Int8Runner, shape: Shape, limit: int) -> bool:
    """Whether an int8 convolution gives what float32 gives, on two random images.

    A guard against what nobody has met yet; the rules above keep out what is known to fail.

    Args:
        runner: The convolution; its sums have to stay below 2**24.
        shape: Of its input.
        limit: Largest magnitude of a code.
    """
    random = np.random.default_rng(0)
    codes = random.integers(0, 2 * limit, (2, *laid_out(shape)), np.uint8, endpoint=True)
    expected = _FloatRunner(runner.conv, torch.float32, runner.scale)(codes, limit)
    return bool(np.array_equal(runner(codes, limit), expected))


def int8_takes(operator: Operator, shape: Shape) -> bool:
    """Whether oneDNN's int8 convolution is to be trusted with an operator on inputs of a shape.

    Where a whole kernel can lie in the padding, or there is one column of input or output only,
    it writes wrong sums, or beyond its memory (seen with torch 2.13).
    """
    if not isinstance(operator, Conv2d):
        return True
    reach = [d * (k - 1) for d, k in zip(operator.dilation, operator.kernel, strict=True)]
    inside = all(p <= r < n for p, r, n in zip(operator.padding, reach, shape[1:], strict=True))
    return inside and min(shape[2], operator.output_shape(shape)[2]) > 1


@lru_cache(maxsize=1)
def int8_is_exact() -> bool:
    """Whether int8 convolutions are there, and exact, on this machine.

    Without VNNI instructions, pairs of products are added in 16 bits, and large ones saturate.
    """
    if not hasattr(torch.ops.onednn, "qconv_pointwise"):
        return False
    weight = np.full((16, 32, 3, 3), 127, np.int8)
    weight[1::2] = -127
    conv = Conv2d(weight=weight, padding=(1, 1))
    codes = np.zeros((1, 4, 4, 32), np.uint8)
    codes[..., :16] = 254
    codes[:, :2] = 254
    try:
        result = Int8Runner(conv)(codes, 127)
    except (RuntimeError, NotImplementedError):  # the operator is there, but not for this machine
        return False
    return bool(np.array_equal(result, _FloatRunner(conv, torch.float64, 1)(codes, 127)))
