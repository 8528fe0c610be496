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


class Scaling:
    """How the scales of a target follow from its weights and the exponents of its connections.

    Args:
        operators: Float operators of all connections into one target.
        shapes: What each of them puts out.
        floors: (channels,) smallest scale that keeps thresholds and bias within the state.
        unweighted: (channels,) scale of a channel without any weight.
        bits: Per connection, width of a weight, sign included.
        per_channel: One scale per output channel, or one for all.
    """

    def __init__(
        self,
        operators: Sequence[Operator],
        shapes: Sequence[Shape],
        floors: Array,
        unweighted: Array,
        *,
        bits: Sequence[int],
        per_channel: bool,
    ) -> None:
        self.operators = tuple(operators)
        self.shapes = tuple(shapes)
        self.floors = floors
        self.channels = len(floors)
        self.per_channel = per_channel
        self.tops = tuple((1 << (width - 1)) - 1 for width in bits)
        """Per connection, the largest mantissa."""
        self.parts = tuple(
            _part(operator, shape, self.channels)
            for operator, shape in zip(operators, shapes, strict=True)
        )
        self._unweighted = unweighted
        self.shortcut = next((n for n, part in enumerate(self.parts) if part.is_shortcut), None)
        """The connection whose weights the scales are made to fit, if there is one."""

    def at(self, exponents: Exponents, factor: float = 1.0) -> Array:
        """(channels,): the smallest scales with which every mantissa fits, times a factor.

        Enlarged where floors or a shortcut ask for it.
        """
        needed = np.zeros_like(self.floors)
        for part, top, exponent in zip(self.parts, self.tops, exponents, strict=True):
            needed = np.maximum(needed, part.largest / (top * 2.0**exponent))
        weighted = needed > 0
        scales = np.where(weighted, needed * factor, self._unweighted)
        scales = np.maximum(scales, self.floors)
        if not self.per_channel:
            # Channels without weights follow the others, and decide where there are no others.
            decisive = scales[weighted] if weighted.any() else scales
            scales = np.full_like(scales, decisive.max())
        return self.fitted(scales, exponents)

    def fitted(self, scales: Array, exponents: Exponents) -> Array:
        """Scales no smaller than these that keep to the floors and suit a shortcut."""
        floors = self.floors if self.per_channel else self.floors.max(initial=0.0)
        scales = np.maximum(np.maximum(scales, floors), SMALLEST_SCALE)
        if self.shortcut is None:
            return scales
        weight, exponent = self.parts[self.shortcut].weight, exponents[self.shortcut]
        return _snapped(scales, weight, exponent, per_channel=self.per_channel)

    def noise(self, exponents: Exponents) -> float:
        """Rounding noise of the weights, relative to their size, summed over channels."""
        scales = self.at(exponents)
        noise, power = np.zeros(self.channels), np.full(self.channels, SMALLEST_SCALE)
        for part, exponent in zip(self.parts, exponents, strict=True):
            noise += part.noise(scales, exponent)
            power += part.power
        return float((noise / power).sum())

    def exponents(self) -> Exponents:
        """Those with the least noise."""
        return _search(cache(self.noise), _by_size(self.parts))


def quantize_weights(scaling: Scaling) -> IntegerWeights:
    """The scales and exponents that minimise the error of the weights, and the nearest integers."""
    exponents = scaling.exponents()
    scales = scaling.at(exponents)
    integers = [
        np.clip(part.integers(scales, exponent)[0], -top, top)
        for part, top, exponent in zip(scaling.parts, scaling.tops, exponents, strict=True)
    ]
    return integer_weights(scaling, scales, exponents, integers)


def integer_weights(
    scaling: Scaling, scales: Array, exponents: Exponents, integers: Sequence[Array]
) -> IntegerWeights:
    """Chosen integers as operators, with what they cost.

    Args:
        scaling: Of the target.
        scales: (channels,), as chosen.
        exponents: Per connection.
        integers: Per connection, (channels, K) in the form of :func:`rows`.
    """
    sqnr = []
    for part, exponent, chosen in zip(scaling.parts, exponents, integers, strict=True):
        step = (scales * 2.0**exponent)[:, None]
        noise = float(((chosen * step - part.weight) ** 2).sum())
        signal = float(part.power.sum())
        # Below this, the difference is float rounding of an exact representation.
        is_exact = noise <= signal * 1e-24
        sqnr.append(None if is_exact else 10 * math.log10(signal / noise))
    return IntegerWeights(
        scales=scales,
        exponents=exponents,
        operators=tuple(
            with_rows(operator, chosen.astype(np.int8), shape)
            for operator, chosen, shape in zip(
                scaling.operators, integers, scaling.shapes, strict=True
            )
        ),
        sqnr_db=tuple(sqnr),
    )


def _part(operator: Operator, shape: Shape, channels: int) -> _Part:
    weight = rows(operator, shape, channels)
    return _Part(
        weight=weight,
        largest=np.abs(weight).max(axis=1),
        power=(weight**2).sum(axis=1),
        is_shortcut=isinstance(operator, Identity),
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
