"""Weights to integers: one scale per output channel, one power of two per connection.

A neuron's dynamics are positively homogeneous: scale its weights, bias and thresholds by one
positive number and its spikes stay. So every output channel of a population has a scale of its
own, shared by all connections into it, which costs nothing because the threshold absorbs it.
Connections of different magnitude get a power of two each: mantissa << exponent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.network import Identity
from trispike.network.connection import Operator, Shape

Array: TypeAlias = npt.NDArray[Any]
Exponents: TypeAlias = tuple[int, ...]

EXPONENT_LIMIT = 8
"""Largest exponent that the search tries: a factor of 256 between two connections."""

TRY_ALL = 3
"""Connections of which all combinations of exponents are tried: 217 of three."""

SMALLEST_SCALE = float(np.finfo(float).tiny)
"""Keeps divisions by a scale finite; no real channel comes near."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IntegerWeights:
    """Integer weights of all connections into one target."""

    scales: Array
    """(channels,): value of one unit of the accumulator."""
    exponents: Exponents
    """Per connection."""
    operators: tuple[Operator, ...]
    """Per connection, int8."""
    sqnr_db: tuple[float | None, ...]
    """Per connection: signal to quantization noise of the weights; None where exact."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    """What the search has to know of one connection."""

    weight: Array
    """(channels, K)."""
    largest: Array
    """(channels,), largest magnitude."""
    power: Array
    """(channels,), sum of squares."""
    is_shortcut: bool

    def integers(self, scales: Array, exponent: int) -> tuple[Array, Array]:
        """Rounded weights, and what one of their units is worth per channel, as a column."""
        step = (scales * 2.0**exponent)[:, None]
        return np.rint(self.weight / step), step

    def noise(self, scales: Array, exponent: int) -> Array:
        """(channels,): square of the rounding errors; the expected ones where they are many."""
        if self.is_shortcut:
            integers, step = self.integers(scales, exponent)
            return np.asarray(((integers * step - self.weight) ** 2).sum(axis=1))
        expected = self.weight.shape[1] * (scales * 2.0**exponent) ** 2 / 12
        return np.where(self.largest > 0, expected, 0.0)  # zero is exact


def rows(operator: Operator, shape: Shape, channels: int) -> Array:
    """The weights of an operator as a (channels, K) matrix.

    Args:
        operator: Any operator.
        shape: What it puts out, in its own form.
        channels: Number of output channels of the target; of an operator's own channels, each one
            has a whole number.
    """
    if isinstance(operator, Identity):
        per_channel = (channels, *((1,) * (len(shape) - 1)))
        varies = operator.scale.ndim and any(n > 1 for n in operator.scale.shape[1:])
        full = shape if varies or shape[0] != channels else per_channel
        return np.broadcast_to(operator.scale, full).reshape(channels, -1)
    return operator.weight.reshape(channels, -1)


def with_rows(operator: Operator, values: Array, shape: Shape) -> Operator:
    """The inverse of :func:`rows`."""
    if isinstance(operator, Identity):
        full = values.size == math.prod(shape)
        return Identity(scale=values.reshape(shape if full else (-1, *(1,) * (len(shape) - 1))))
    return replace(operator, weight=values.reshape(operator.weight.shape))


def quantize_weights(
    operators: Sequence[Operator],
    shapes: Sequence[Shape],
    floors: Array,
    unweighted: Array,
    *,
    bits: int,
    per_channel: bool,
) -> IntegerWeights:
    """Choose scales and exponents that minimise the error of the weights, and round.

    Args:
        operators: Float operators of all connections into one target.
        shapes: What each of them puts out.
        floors: (channels,) smallest scale that keeps thresholds and bias within the state.
        unweighted: (channels,) scale of a channel without any weight.
        bits: Width of a weight, sign included.
        per_channel: One scale per output channel, or one for all.
    """
    channels, top = len(floors), (1 << (bits - 1)) - 1
    parts = []
    for operator, shape in zip(operators, shapes, strict=True):
        weight = rows(operator, shape, channels)
        parts.append(
            _Part(
                weight=weight,
                largest=np.abs(weight).max(axis=1),
                power=(weight**2).sum(axis=1),
                is_shortcut=isinstance(operator, Identity),
            )
        )
    shortcut = next((n for n, part in enumerate(parts) if part.is_shortcut), None)

    def scales_at(exponents: Exponents) -> Array:
        scales = _scales(parts, exponents, top, floors, unweighted, per_channel=per_channel)
        if shortcut is None:
            return scales
        weight, exponent = parts[shortcut].weight, exponents[shortcut]
        return _snapped(scales, weight, exponent, per_channel=per_channel)

    @cache
    def noise_at(exponents: Exponents) -> float:
        """Noise of the accumulator, relative to the size of the weights."""
        scales = scales_at(exponents)
        noise, power = np.zeros(channels), np.full(channels, SMALLEST_SCALE)
        for part, exponent in zip(parts, exponents, strict=True):
            noise += part.noise(scales, exponent)
            power += part.power
        return float((noise / power).sum())

    exponents = _search(noise_at, _by_size(parts))
    scales = scales_at(exponents)
    integers, sqnr = [], []
    for part, exponent in zip(parts, exponents, strict=True):
        rounded, step = part.integers(scales, exponent)
        rounded = np.clip(rounded, -top, top)
        noise = float(((rounded * step - part.weight) ** 2).sum())
        signal = float(part.power.sum())
        # Below this, the difference is float rounding of an exact representation.
        is_exact = noise <= signal * 1e-24
        sqnr.append(None if is_exact else 10 * math.log10(signal / noise))
        integers.append(rounded.astype(np.int8))
    return IntegerWeights(
        scales=scales,
        exponents=exponents,
        operators=tuple(
            with_rows(operator, integer, shape)
            for operator, integer, shape in zip(operators, integers, shapes, strict=True)
        ),
        sqnr_db=tuple(sqnr),
    )


def _by_size(parts: Sequence[_Part]) -> Exponents:
    """Exponents with which the weights of all connections fill their mantissas about equally."""
    sizes = [float(np.median(part.largest)) for part in parts]
    smallest = min((size for size in sizes if size > 0), default=1.0)
    ratios = [max(size, smallest) / smallest for size in sizes]
    return tuple(min(round(math.log2(ratio)), EXPONENT_LIMIT) for ratio in ratios)


def _search(noise_at: Callable[[Exponents], float], start: Exponents) -> Exponents:
    """The exponents with the least noise: of all, where they are few enough to try.

    Otherwise the best along every axis in turn, from two starts, until none improves. That finds
    the best in 99 of 100 random cases, and its cost grows with the square of the number of
    connections, not its exponential.

    Only differences count, because a larger scale does what larger exponents do, so the smallest
    exponent is always 0.
    """
    values = range(EXPONENT_LIMIT + 1)
    if len(start) <= TRY_ALL:
        every = (e for e in product(values, repeat=len(start)) if min(e, default=0) == 0)
        return min((noise_at(e), e) for e in every)[1]
    found = []
    for first in (start, (0,) * len(start)):
        best = noise_at(first), first
        while True:
            neighbours = {
                _from_zero((*best[1][:n], exponent, *best[1][n + 1 :]))
                for n in range(len(start))
                for exponent in (*values, *(-value for value in values))
            }
            candidate = min((noise_at(e), e) for e in neighbours if max(e) <= EXPONENT_LIMIT)
            if candidate[0] >= best[0]:
                break
            best = candidate
        found.append(best)
    return min(found)[1]


def _from_zero(exponents: Exponents) -> Exponents:
    smallest = min(exponents)
    return tuple(exponent - smallest for exponent in exponents)


def _scales(
    parts: Sequence[_Part],
    exponents: Exponents,
    top: int,
    floors: Array,
    unweighted: Array,
    *,
    per_channel: bool,
) -> Array:
    """The smallest scales with which every mantissa fits."""
    needed = np.zeros_like(floors)
    for part, exponent in zip(parts, exponents, strict=True):
        needed = np.maximum(needed, part.largest / (top * 2.0**exponent))
    weighted = needed > 0
    scales = np.maximum(np.where(weighted, needed, unweighted), floors)
    if not per_channel:
        # Channels without weights follow the others, and decide where there are no others.
        decisive = scales[weighted] if weighted.any() else scales
        scales = np.full_like(scales, max(decisive.max(), floors.max()))
    return np.maximum(scales, SMALLEST_SCALE)


def _snapped(scales: Array, shortcut: Array, exponent: int, *, per_channel: bool) -> Array:
    """Enlarge scales a little, so that a shortcut's weight becomes a whole mantissa.

    A shortcut has one weight per element, so that its rounding error does not average out.
    """
    size = np.abs(shortcut).max(axis=1)
    mantissa = np.floor(size / (scales * 2.0**exponent) + 1e-9)
    uniform = (np.abs(shortcut) == size[:, None]).all(axis=1) & (mantissa >= 1)
    snapped = np.where(uniform, size / (np.maximum(mantissa, 1) * 2.0**exponent), scales)
    if not per_channel and not (snapped == snapped[0]).all():
        return scales  # one scale for all channels, but shortcuts of different weight
    return np.maximum(snapped, scales)
