"""Scales, exponents and integers of one target that keep its currents, as calibration shows them.

Clipping: a smaller scale than the largest weight asks for costs that weight some of its size and
makes all others finer. Which one is best depends on what the weights meet, so it is searched by
the mean square error of the current. Rounding: see :mod:`trispike.quantize.rounding`. What remains
of the error has a mean, which the bias can take.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.network import Identity
from trispike.quantize.moments import Block, Moments
from trispike.quantize.rounding import (
    Compensation,
    compensated,
    damped,
    descended,
    nearest,
    row_errors,
)
from trispike.quantize.weights import (
    EXPONENT_LIMIT,
    TRY_ALL,
    Exponents,
    IntegerWeights,
    Scaling,
    integer_weights,
    rows,
)

Array: TypeAlias = npt.NDArray[Any]
Method: TypeAlias = Literal["nearest", "clipped", "gptq"]
"""nearest: scales from the largest weights, every weight to the nearest integer. clipped: scales
by the error of the current, and its mean into the bias. gptq: besides, the weights of a row are
rounded together."""

FACTORS = tuple(0.93**n for n in range(1, 24))
"""Parts of plain max scaling that are tried: down to a fifth."""

AROUND = (0.75, 0.87, 1.0, 1.15)
"""Parts of the best scale for nearest rounding that are tried with compensated rounding."""

REFITS = 3
"""Times that scales are fitted to the integers, and the integers to the scales."""

NEIGHBOURS = 2
"""How far from the exponents with the least weight noise others are tried."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitted:
    """Integer weights of a target, and what calibration says of them."""

    weights: IntegerWeights
    method: Method
    """What was used: ``clipped`` where the correlations of too many inputs were not taken."""
    scale_ratio: float
    """Scale as a part of plain max scaling with the same exponents: the median of the channels."""
    clipped: tuple[float, ...]
    """Per connection: fraction of the weights that are beyond their largest mantissa."""
    mean_error: Array
    """(channels,): mean of the current's error, in the unit of the float network."""
    sqnr_db: float | None
    """Signal to quantization noise of the current, with that mean removed; None where exact."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Choice:
    """Scales and integers, and the error of each channel."""

    exponents: Exponents
    scales: Array
    integers: tuple[Array, ...]
    """Per block (G, R, K), then per shortcut (channels, K)."""
    errors: Array
    """(channels,)."""


class _Rows:
    """The weights of one block, as the rounding takes them."""

    def __init__(self, scaling: Scaling, block: Block) -> None:
        self.members = block.members
        groups = block.second.shape[0]
        matrices = [
            np.asarray(scaling.operators[n].weight, np.float64).reshape(
                groups, -1, math.prod(scaling.operators[n].weight.shape[1:])
            )
            for n in self.members
        ]
        self.weight = np.concatenate(matrices, axis=2)
        widths = [matrix.shape[2] for matrix in matrices]
        self.ends = tuple(np.cumsum(widths)[:-1])
        self.member_of = np.repeat(self.members, widths)
        count = groups * self.weight.shape[1]
        per_channel = count // scaling.channels
        self.channel = (np.arange(count) // per_channel).reshape(groups, -1)
        self.top = np.array([scaling.tops[n] for n in self.member_of], np.float64)
        self.first = block.first
        self.truth = block.second
        self.correlated = block.correlated
        self.correlation = damped(block.second) if block.correlated else block.second
        self.share = 1.0 / per_channel

    @cached_property
    def compensation(self) -> Compensation:
        """For rounding in order."""
        return Compensation(self.correlation)

    def step(self, scales: Array, exponents: Exponents) -> Array:
        """(G, R, K): worth of an integer."""
        powers = 2.0 ** np.array(exponents, np.float64)[self.member_of]
        return np.asarray(scales[self.channel][:, :, None] * powers)

    def errors(self, integers: Array, step: Array, correlation: Array, channels: int) -> Array:
        """(channels,): mean square error of the current."""
        return self.by_channel(row_errors(integers * step - self.weight, correlation), channels)

    def by_channel(self, per_row: Array, channels: int) -> Array:
        """(channels,): mean of what is given per row, (G, R)."""
        values = per_row.reshape(-1) * self.share
        return np.bincount(self.channel.reshape(-1), values, minlength=channels)

    def split(self, values: Array) -> Iterator[tuple[int, Array]]:
        """Each member with its share of the columns, (O, K)."""
        parts = np.split(values, self.ends, axis=2)
        for n, part in zip(self.members, parts, strict=True):
            yield n, part.reshape(-1, part.shape[2])


class _Shortcut:
    """The weights of an identity, as :func:`rows` has them."""

    def __init__(self, scaling: Scaling, member: int, moments: tuple[Array, Array]) -> None:
        shape, channels = scaling.shapes[member], scaling.channels
        self.member = member
        self.weight = scaling.parts[member].weight
        self.top = scaling.tops[member]
        first, second = (self._aligned(m, shape, channels) for m in moments)
        self.first, self.second = first, second

    def _aligned(self, moment: Array, shape: tuple[int, ...], channels: int) -> Array:
        """In the form of the weight."""
        if moment.ndim < len(shape):
            moment = moment.reshape(-1, *((1,) * (len(shape) - 1)))
        if self.weight.size == math.prod(shape):
            moment = np.broadcast_to(moment, shape)
        # As an identity has them, so that both are laid out alike.
        return np.asarray(rows(Identity(scale=moment), shape, channels))

    def nearest(self, scales: Array, exponent: int) -> Array:
        step = (scales * 2.0**exponent)[:, None]
        return np.clip(np.rint(self.weight / step), -self.top, self.top)

    def difference(self, integers: Array, scales: Array, exponent: int) -> Array:
        return np.asarray(integers * (scales * 2.0**exponent)[:, None] - self.weight)


class _Fitter:
    """The search for one target.

    Args:
        scaling: Its weights and limits.
        moments: Of its inputs.
        importance: (channels,) what an error of each channel counts.
    """

    def __init__(self, scaling: Scaling, moments: Moments, importance: Array) -> None:
        self.scaling = scaling
        self.importance = importance
        self.blocks = [_Rows(scaling, block) for block in moments.blocks]
        self.shortcuts = [_Shortcut(scaling, n, m) for n, m in moments.shortcuts.items()]

    def total(self, choice: _Choice) -> float:
        """What all errors count together."""
        return float((choice.errors * self.importance).sum())

    def chosen(
        self,
        exponents: Exponents,
        scales: Array,
        of_blocks: Sequence[Array] | None = None,
        *,
        measured: bool = False,
    ) -> _Choice:
        """A choice with its errors; of nearest integers unless given.

        Args:
            exponents: Per connection.
            scales: (channels,).
            of_blocks: Integers of the blocks.
            measured: By the moments as they are, not with the firm diagonal.
        """
        errors = np.zeros(self.scaling.channels)
        integers = []
        for n, block in enumerate(self.blocks):
            step = block.step(scales, exponents)
            chosen = nearest(block.weight, step, block.top) if of_blocks is None else of_blocks[n]
            correlation = block.truth if measured else block.correlation
            errors += block.errors(chosen, step, correlation, self.scaling.channels)
            integers.append(chosen)
        for shortcut in self.shortcuts:
            exponent = exponents[shortcut.member]
            chosen = shortcut.nearest(scales, exponent)
            difference = shortcut.difference(chosen, scales, exponent)
            errors += (difference**2 * shortcut.second).mean(axis=1)
            integers.append(chosen)
        return _Choice(exponents=exponents, scales=scales, integers=tuple(integers), errors=errors)

    def better(self, a: _Choice, b: _Choice) -> _Choice:
        """The better of two: channel by channel where each has a scale and exponents agree."""
        if not self.scaling.per_channel or a.exponents != b.exponents:
            return b if self.total(b) < self.total(a) else a
        take = b.errors < a.errors
        if not take.any():
            return a
        integers = [
            np.where(take[block.channel][:, :, None], y, x)
            for block, x, y in zip(self.blocks, a.integers, b.integers, strict=False)
        ]
        rest = zip(a.integers[len(integers) :], b.integers[len(integers) :], strict=True)
        integers += [np.where(take[:, None], y, x) for x, y in rest]
        return replace(
            a,
            scales=np.where(take, b.scales, a.scales),
            integers=tuple(integers),
            errors=np.where(take, b.errors, a.errors),
        )

    def clipped(self, start: Exponents) -> _Choice:
        """Scales and exponents with the least error of nearest rounding."""
        coarse = [self._scaled(exponents, FACTORS[::3]) for exponents in _near(start)]
        best = min(coarse, key=self.total)  # of equal ones, the first
        return self.better(best, self._scaled(best.exponents, FACTORS))

    def _scaled(self, exponents: Exponents, factors: Sequence[float]) -> _Choice:
        found = self.chosen(exponents, self.scaling.at(exponents))
        for factor in factors:
            found = self.better(found, self.chosen(exponents, self.scaling.at(exponents, factor)))
        return found

    def rounded(self, start: _Choice) -> _Choice:
        """Integers that are rounded together, and the scales that suit them."""
        best = start
        for factor in AROUND:
            scales = self.scaling.fitted(start.scales * factor, start.exponents)
            best = self.better(best, self._together(start.exponents, scales))
        for _ in range(REFITS):
            scales = self._refitted(best)
            again = self._descended(self.chosen(best.exponents, scales, best.integers))
            best = self.better(best, again)
        return best

    def _together(self, exponents: Exponents, scales: Array) -> _Choice:
        integers = []
        for block in self.blocks:
            step = block.step(scales, exponents)
            if block.correlated:
                integers.append(compensated(block.weight, block.compensation, step, block.top))
            else:
                integers.append(nearest(block.weight, step, block.top))
        return self._descended(self.chosen(exponents, scales, integers))

    def _descended(self, start: _Choice) -> _Choice:
        integers = []
        for block, first in zip(self.blocks, start.integers, strict=False):
            step = block.step(start.scales, start.exponents)
            if block.correlated:
                integers.append(descended(first, block.weight, block.correlation, step, block.top))
            else:
                integers.append(nearest(block.weight, step, block.top))
        return self.chosen(start.exponents, start.scales, integers)

    def _refitted(self, choice: _Choice) -> Array:
        """The scales with which the integers fit best; a shortcut's are left as they are."""
        if self.shortcuts:
            return choice.scales
        channels = self.scaling.channels
        along, power = np.zeros(channels), np.zeros(channels)
        for block, integers in zip(self.blocks, choice.integers, strict=True):
            units = integers * block.step(np.ones(channels), choice.exponents)
            if block.correlated:
                meets = units @ block.correlation
            else:
                meets = units * block.correlation[:, None]
            along += block.by_channel((meets * block.weight).sum(axis=2), channels)
            power += block.by_channel((meets * units).sum(axis=2), channels)
        if not self.scaling.per_channel:
            along = np.full(channels, (along * self.importance).sum())
            power = np.full(channels, (power * self.importance).sum())
        fits = (power > 0) & (along > 0)
        scales = np.where(fits, along / np.where(fits, power, 1.0), choice.scales)
        return self.scaling.fitted(scales, choice.exponents)

    def mean_error(self, choice: _Choice) -> Array:
        """(channels,): mean error of the current."""
        channels = self.scaling.channels
        mean = np.zeros(channels)
        for block, integers in zip(self.blocks, choice.integers, strict=False):
            difference = integers * block.step(choice.scales, choice.exponents) - block.weight
            mean += block.by_channel((difference * block.first[:, None]).sum(axis=2), channels)
        for shortcut, integers in zip(
            self.shortcuts, choice.integers[len(self.blocks) :], strict=True
        ):
            exponent = choice.exponents[shortcut.member]
            difference = shortcut.difference(integers, choice.scales, exponent)
            mean += (difference * shortcut.first).mean(axis=1)
        return mean

    def signal(self) -> Array:
        """(channels,): mean square of the current."""
        total = np.zeros(self.scaling.channels)
        for block in self.blocks:
            nothing = np.zeros_like(block.weight)
            total += block.errors(nothing, nothing, block.truth, self.scaling.channels)
        for shortcut in self.shortcuts:
            total += (shortcut.weight**2 * shortcut.second).mean(axis=1)
        return total

    def in_rows(self, choice: _Choice) -> list[Array]:
        """Per connection, (channels, K) as :func:`rows` has them."""
        found: dict[int, Array] = {}
        for block, integers in zip(self.blocks, choice.integers, strict=False):
            for n, part in block.split(integers):
                found[n] = part.reshape(self.scaling.channels, -1)
        for shortcut, integers in zip(
            self.shortcuts, choice.integers[len(self.blocks) :], strict=True
        ):
            found[shortcut.member] = integers
        return [found[n] for n in range(len(self.scaling.parts))]


def fit(scaling: Scaling, moments: Moments, importance: Array, method: Method) -> Fitted:
    """Integer weights of a target whose current has the least error, by one of the methods.

    Never worse on calibration than nearest rounding with plain max scaling: where a channel is,
    it keeps that.

    Args:
        scaling: The target's weights and limits.
        moments: Of its inputs.
        importance: (channels,) what a mean square error of each channel counts.
        method: See :data:`Method`.
    """
    fitter = _Fitter(scaling, moments, importance)
    exponents = scaling.exponents()
    plain = fitter.chosen(exponents, scaling.at(exponents), measured=True)
    best = plain
    if method != "nearest":
        best = fitter.clipped(exponents)
        if method == "gptq":
            best = fitter.rounded(best)
        best = _measured(fitter, best)
        same = fitter.chosen(best.exponents, scaling.at(best.exponents), measured=True)
        best = fitter.better(fitter.better(plain, same), best)
    return _fitted(fitter, best, method)


def _measured(fitter: _Fitter, choice: _Choice) -> _Choice:
    again = fitter.chosen(choice.exponents, choice.scales, choice.integers, measured=True)
    return replace(again, integers=choice.integers)


def _fitted(fitter: _Fitter, best: _Choice, method: Method) -> Fitted:
    scaling = fitter.scaling
    integers = fitter.in_rows(best)
    mean = fitter.mean_error(best)
    signal = float((fitter.signal() * fitter.importance).sum())
    kept = 0.0 if method == "nearest" else mean**2
    noise = float((np.maximum(best.errors - kept, 0.0) * fitter.importance).sum())
    alone = method == "gptq" and not all(block.correlated for block in fitter.blocks)
    clipped = []
    for part, top, exponent in zip(scaling.parts, scaling.tops, best.exponents, strict=True):
        beyond = np.abs(part.weight) > (top + 0.5) * (best.scales * 2.0**exponent)[:, None]
        clipped.append(float(beyond.mean()))
    return Fitted(
        weights=integer_weights(scaling, best.scales, best.exponents, integers),
        method="clipped" if alone else method,
        scale_ratio=float(np.median(best.scales / scaling.at(best.exponents))),
        clipped=tuple(clipped),
        mean_error=np.zeros_like(mean) if method == "nearest" else mean,
        sqnr_db=None if noise <= signal * 1e-24 else 10 * math.log10(signal / noise),
    )


def _near(start: Exponents) -> Iterator[Exponents]:
    """These exponents first, then others nearby; only differences count."""
    seen = {start}
    yield start
    offsets = range(-NEIGHBOURS, NEIGHBOURS + 1)
    if len(start) <= 1:
        return
    if len(start) <= TRY_ALL:
        moves = list(product(offsets, repeat=len(start)))
    else:
        one = np.eye(len(start), dtype=int)
        moves = [tuple(int(v) for v in one[n] * by) for n in range(len(start)) for by in offsets]
    for move in moves:
        moved = [e + m for e, m in zip(start, move, strict=True)]
        exponents = tuple(e - min(moved) for e in moved)
        if exponents not in seen and max(exponents) <= EXPONENT_LIMIT:
            seen.add(exponents)
            yield exponents
