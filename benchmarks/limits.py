"""What the machine itself can do: the convolutions of a network alone, and memory traffic."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
from numba import njit, prange, set_num_threads
from torch import Tensor
from torch.nn import functional

from benchmarks.case import is_static
from trispike.network import Conv2d, IntegerNetwork

Pair: TypeAlias = tuple[int, int]

TRIAD_ELEMENTS = 1 << 25
"""Three arrays of so many float32: far beyond any cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolution:
    """One convolution of a network, over all its images and steps."""

    images: int
    """Inputs per sample: T, or 1 where the input is the same at every step."""
    input_shape: tuple[int, int, int]
    """(C, H, W)."""
    weight_shape: tuple[int, ...]
    """(O, C/groups, kh, kw)."""
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates per sample, borders included."""
        geometry = zip(
            self.input_shape[1:],
            self.weight_shape[2:],
            self.stride,
            self.padding,
            self.dilation,
            strict=True,
        )
        places = (
            (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
            for size, kernel, stride, padding, dilation in geometry
        )
        return self.images * math.prod(self.weight_shape) * math.prod(places)


def convolutions(network: IntegerNetwork) -> list[Convolution]:
    """The convolutions of a network; its other connections take no time worth counting."""
    found = []
    for connection in network.all_connections:
        operator = connection.operator
        if not isinstance(operator, Conv2d):
            continue
        shape = network.source_shape(connection)
        if connection.pool:
            shape = connection.pool.output_shape(shape)
        channels, height, width = shape
        found.append(
            Convolution(
                images=1 if is_static(network, connection.sources) else network.steps,
                input_shape=(channels, height, width),
                weight_shape=operator.weight.shape,
                stride=operator.stride,
                padding=operator.padding,
                dilation=operator.dilation,
                groups=operator.groups,
            )
        )
    return found


def int8_pass(work: Iterable[Convolution], samples: int) -> Callable[[], None]:
    """Runs every convolution once in int8: bytes and int8 weights in, float32 out."""
    calls = [int8_call(c, samples) for c in work]
    return partial(_run, calls)


def fp32_pass(work: Iterable[Convolution], samples: int) -> Callable[[], None]:
    """Runs every convolution once in float32, channels last."""
    calls = [fp32_call(c, samples) for c in work]
    return partial(_run, calls)


def _run(calls: Iterable[Callable[[], Any]]) -> None:
    for call in calls:
        call()


def _inputs(c: Convolution, samples: int) -> Tensor:
    random = torch.Generator().manual_seed(0)
    x = torch.randint(3, (samples * c.images, *c.input_shape), generator=random)
    return x.to(torch.uint8).contiguous(memory_format=torch.channels_last)


def weights(c: Convolution) -> Tensor:
    """Random int8 weights, always the same."""
    random = torch.Generator().manual_seed(1)
    return torch.randint(-127, 128, c.weight_shape, generator=random).to(torch.int8)


def int8_call(c: Convolution, samples: int) -> Callable[[], Tensor]:
    """An int8 convolution in oneDNN, with a zero point of 1, as ternary spikes need it."""
    x, weight = _inputs(c, samples), weights(c)
    scales = torch.ones(c.weight_shape[0])
    zeros = torch.zeros(c.weight_shape[0], dtype=torch.int64)
    geometry = ([*c.stride], [*c.padding], [*c.dilation], c.groups)
    packed = torch.ops.onednn.qconv_prepack(weight, scales, 1.0, 1, *geometry, list(x.shape))
    output: tuple[Any, ...] = (1.0, 0, torch.float32, "none", [], "")
    return partial(
        torch.ops.onednn.qconv_pointwise,
        *(x, 1.0, 1, packed, scales, zeros, None),
        *geometry,
        *output,
    )


def fp32_call(c: Convolution, samples: int) -> partial[Tensor]:
    """The same convolution in float32, of the same numbers."""
    x = (_inputs(c, samples).float() - 1).contiguous(memory_format=torch.channels_last)
    weight = weights(c).float().contiguous(memory_format=torch.channels_last)
    return partial(
        functional.conv2d, x, weight, None, c.stride, c.padding, c.dilation, groups=c.groups
    )


def triad(threads: int) -> Callable[[], None]:
    """Runs a = b + s*c once over arrays that fit no cache."""
    set_num_threads(threads)
    a, b, c = (np.full(TRIAD_ELEMENTS, value, np.float32) for value in (0, 1, 2))
    return partial(_triad, a, b, c, np.float32(3))


TRIAD_BYTES = 3 * 4 * TRIAD_ELEMENTS
"""Read and written by one run, as is usual without what a write reads first."""


@njit(parallel=True)  # type: ignore[untyped-decorator]
def _triad(a: Any, b: Any, c: Any, s: Any) -> None:
    for n in prange(a.size):
        a[n] = b[n] + s * c[n]
