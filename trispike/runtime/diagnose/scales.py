"""What a unit of an integer network is worth, and what its weights lost: read off two networks.

A network file does not hold the channel scales. They follow from the thresholds: a threshold was
divided by the scale and rounded, which leaves an interval of scales. Within it the weights decide,
and they decide alone where a population has no threshold that could be reached.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trispike.network import Connection, Conv2d, FloatNetwork, Identity, IntegerNetwork
from trispike.network.connection import Operator
from trispike.network.fixed_point import never
from trispike.network.neuron import FixedPointNeuron
from trispike.quantize.weights import rows
from trispike.runtime.engine import Array

Floats = npt.NDArray[np.float64]

SCALE_MISMATCH = 2.5
"""Factor by which weights and thresholds may disagree about a scale. Rounding to the nearest moves
the scale that fits the weights best by at most 2; beyond this, the thresholds belong to other
weights, and the weights decide."""

CLIP_FACTORS = tuple(n / 20 for n in range(4, 21))
"""Parts of the largest weight at which clipping is tried."""

SAME_SCALE = 0.02
"""Relative difference below which derived scales count as one: thresholds are rounded."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scales:
    """Of one population, by channel: equal shares of its first axis."""

    values: Floats
    """(channels,): value of one unit of the accumulator; NaN where nothing tells it."""
    threshold_factor: Floats
    """(channels,): how many times too large the integer thresholds are for the integer weights; 1
    where they agree within :data:`SCALE_MISMATCH`, NaN where only one of them tells."""

    @property
    def is_one(self) -> bool:
        """Whether all channels have one scale (and there are several channels)."""
        known = self.values[np.isfinite(self.values)]
        return len(known) > 1 and float(known.max()) <= float(known.min()) * (1 + SAME_SCALE)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pair:
    """A connection of the integer network, and the float one that it was made from."""

    label: str
    """In the integer network."""
    integer: Connection
    weights: Floats
    """(channels, K): float weights, times the value of a unit of the graded input."""
    integers: Floats
    """(channels, K): integer weights, in units of the accumulator."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightLoss:
    """What the weights of one connection lost."""

    sqnr_db: float | None
    """None where they are exact."""
    squared_error: float
    """Mean over channels of the summed squares of the errors: the error of the current per unit of
    the input's mean square."""
    clipped: float
    """Fraction of the weights that lie beyond the largest integer."""
    zeroed_channels: int
    """Channels with float weights whose integers are all zero."""
    spare_bits: int
    """Bits that no weight uses."""
    per_channel_db: float
    """What one scale per channel could reach with the same bits, without clipping; infinite where
    it would be exact."""
    clipping_db: float
    """What the best clipping could reach with the same bits and granularity."""


def channels_of(network: FloatNetwork | IntegerNetwork, target: str) -> int:
    """How many equal shares of a target's first axis can have a scale of their own."""
    convolutions = (
        c.output_shape(network.source_shape(c))[0]
        for c in network.into(target)
        if isinstance(c.operator, Conv2d)
    )
    return math.gcd(network.shape_of(target)[0], *convolutions)


def pairs_into(source: FloatNetwork, integer: IntegerNetwork, target: str) -> list[Pair]:
    """Connections into a target, as far as one of the other network stands for each."""
    channels = channels_of(source, target)
    left = [(c, _parts(source, c)) for c in source.into(target)]
    found = []
    for label, connection in integer.labelled():
        if connection.target != target:
            continue
        key = _key(connection, connection.sources)
        match = next(
            (
                (c, parts)
                for c, parts in left
                if any(_key(c, part) == key for part in parts)
            ),
            None,
        )  # fmt: skip
        if match is None:
            continue
        original, parts = match
        parts.remove(next(part for part in parts if _key(original, part) == key))
        shape = connection.output_shape(integer.source_shape(connection))
        is_input = integer.input.name in connection.sources
        weights = rows(original.operator, shape, channels)
        integers = rows(connection.operator, shape, channels)
        weights, integers = np.broadcast_arrays(weights, integers)
        found.append(
            Pair(
                label=label,
                integer=connection,
                weights=weights * input_unit(integer) if is_input else weights,
                integers=integers.astype(np.float64) * 2.0**connection.exponent,
            )
        )
    return found


def input_unit(integer: IntegerNetwork) -> float:
    """Value of one unit of the integers that enter; spikes are used as they are."""
    scale = integer.input.scale
    return 1.0 if scale is None or integer.input.encoding == "spikes" else scale


def _parts(source: FloatNetwork, connection: Connection) -> list[tuple[str, ...]]:
    """How a quantizer may split the sources: the graded input for itself, or not at all."""
    name = source.input.name
    others = tuple(s for s in connection.sources if s != name)
    if not others or name not in connection.sources:
        return [connection.sources]
    return [others, (name,)]


def _key(connection: Connection, sources: tuple[str, ...]) -> tuple[object, ...]:
    operator: Operator = connection.operator
    shape = () if isinstance(operator, Identity) else operator.weight.shape
    stages = tuple((s.kernel, s.stride) for s in connection.pool_stages)
    return frozenset(sources), connection.delay, type(operator), shape, stages


def population_scales(
    source: FloatNetwork, integer: IntegerNetwork, name: str, pairs: list[Pair]
) -> Scales:
    """Scales of a population's channels, from its thresholds and from its weights."""
    channels = channels_of(source, name)
    low, high = _threshold_intervals(source, integer, name, channels)
    by_weights = weight_scales(pairs, channels)
    by_thresholds = (low + high) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        factor = by_weights / by_thresholds
        apart = (factor > SCALE_MISMATCH) | (factor < 1 / SCALE_MISMATCH)
    within = np.clip(by_weights, low, high)
    values = np.where(np.isnan(by_thresholds), by_weights, within)
    values = np.where(np.isnan(by_weights), by_thresholds, values)
    return Scales(
        values=np.where(apart, by_weights, values),
        threshold_factor=np.where(apart | np.isnan(factor), factor, 1.0),
    )


def readout_scales(source: FloatNetwork, integer: IntegerNetwork) -> Scales:
    """The one scale of the readout's accumulators."""
    readout = integer.readout
    largest = int(np.argmax(np.abs(readout.weights)))
    ratio = readout.weights[largest] / (source.readout.weights[largest] or math.nan)
    channels = channels_of(source, readout.name)
    return Scales(
        values=np.full(channels, readout.scale * 2.0**readout.state_shift * ratio),
        threshold_factor=np.full(channels, np.nan),
    )


def weight_scales(pairs: list[Pair], channels: int) -> Floats:
    """(channels,): the scales with which the integers are nearest to the float weights."""
    product, square = np.zeros(channels), np.zeros(channels)
    for pair in pairs:
        product += (pair.weights * pair.integers).sum(axis=1)
        square += (pair.integers**2).sum(axis=1)
    known = (product > 0) & (square > 0)
    return np.where(known, product / np.where(known, square, 1.0), np.nan)


def _threshold_intervals(
    source: FloatNetwork, integer: IntegerNetwork, name: str, channels: int
) -> tuple[Floats, Floats]:
    """(channels,) each: between which scales every threshold becomes the integer that it is.

    Where no scale fits all, the interval of the largest one, which is the narrowest. NaN where no
    threshold can be reached.
    """
    shape, neuron = integer.populations[name].shape, integer.populations[name].neuron
    assert isinstance(neuron, FixedPointNeuron)
    given, found = (
        np.stack(
            [
                np.broadcast_to(getattr(n.populations[name].neuron, field), shape)
                for field in ("th_pos", "th_neg")
            ],
            axis=1,
        ).reshape(channels, -1)
        for n in (source, integer)
    )
    known = np.isfinite(given) & (found < never(neuron.state_bits))
    units = np.where(known, given, 1.0) * 2.0**neuron.state_shift
    low = np.where(known, units / (found + 0.5), -np.inf)
    high = np.where(known, units / (found - 0.5), np.inf)
    lowest, highest = low.max(axis=1), high.min(axis=1)
    finest = np.where(known, found, -1).argmax(axis=1)[:, None]
    empty = lowest > highest
    lowest = np.where(empty, np.take_along_axis(low, finest, axis=1)[:, 0], lowest)
    highest = np.where(empty, np.take_along_axis(high, finest, axis=1)[:, 0], highest)
    reached = known.any(axis=1)
    return np.where(reached, lowest, np.nan), np.where(reached, highest, np.nan)


def weight_loss(pair: Pair, scales: Scales) -> WeightLoss | None:
    """What the weights of a connection lost; None where no scale is known."""
    known = np.isfinite(scales.values)
    if not known.any():
        return None
    weights, integers = pair.weights[known], pair.integers[known]
    column = scales.values[known][:, None]
    errors = integers * column - weights
    top = (1 << (pair.integer.bits - 1)) - 1
    unit = column * 2.0**pair.integer.exponent
    largest = np.abs(weights).max(axis=1, keepdims=True)
    shared = np.broadcast_to(largest.max() if scales.is_one else largest, largest.shape)
    used = int(np.abs(integers).max(initial=0) / 2.0**pair.integer.exponent)
    signal = float((weights**2).sum())
    return WeightLoss(
        sqnr_db=sqnr_db(signal, float((errors**2).sum())),
        squared_error=float((errors**2).sum() / len(errors)),
        clipped=float((np.abs(weights) > unit * (top + 0.5)).mean()),
        zeroed_channels=int(((largest[:, 0] > 0) & ~integers.any(axis=1)).sum()),
        spare_bits=max(0, top.bit_length() - used.bit_length()) if used else 0,
        per_channel_db=_rounded_db(weights, largest, top),
        clipping_db=max(_rounded_db(weights, shared * part, top) for part in CLIP_FACTORS),
    )


def _rounded_db(weights: Floats, largest: Floats, top: int) -> float:
    """SQNR of weights that are rounded to so many steps between zero and the given largest."""
    steps = np.where(largest > 0, largest / top, 1.0)
    rounded = np.clip(np.rint(weights / steps), -top, top) * steps
    reached = sqnr_db(float((weights**2).sum()), float(((rounded - weights) ** 2).sum()))
    return math.inf if reached is None else reached


def sqnr_db(signal: float, noise: float) -> float | None:
    """Signal to noise in dB; None where there is no signal, or no noise but float rounding."""
    if signal <= 0 or noise <= signal * 1e-20:
        return None
    return 10 * math.log10(signal / noise)


def unit_of(integer: IntegerNetwork, name: str, scales: Mapping[str, Scales]) -> Array:
    """Value of one unit of a population's accumulator, shaped to broadcast over its neurons."""
    shape, values = integer.shape_of(name), scales[name].values
    return np.repeat(values, shape[0] // len(values)).reshape(-1, *(1,) * (len(shape) - 1))
