"""Worst-case bounds: how large can the states of an integer population become?"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.network import Connection, FixedPointNeuron, Identity
from trispike.network.connection import Shape
from trispike.network.fixed_point import DECAY_ONE, never, state_limit
from trispike.quantize.weights import rows

Array: TypeAlias = npt.NDArray[Any]

BOUND_LIMIT = 2.0**62
"""Where bounds stop growing: far beyond any state, far below the end of the floats."""


def per_channel(
    values: Array, shape: Shape, channels: int, reduce: Callable[..., Array] = np.max
) -> Array:
    """Largest magnitude of a parameter in every channel, as floats.

    Args:
        values: Anything that broadcasts to ``shape``.
        shape: Of the population.
        channels: Number of channels; each takes an equal share of the first axis.
        reduce: Another reduction than the largest.
    """
    magnitudes = np.abs(values.astype(np.float64))
    aligned = magnitudes.reshape((1,) * (len(shape) - values.ndim) + values.shape)
    along_first = reduce(aligned.reshape(len(aligned), -1), axis=1)
    if len(along_first) > 1:
        along_first = reduce(along_first.reshape(channels, -1), axis=1)
    return np.broadcast_to(along_first, (channels,))


def accumulator_bound(connection: Connection, shape: Shape, channels: int, payload: int) -> Array:
    """Largest magnitude per channel that one connection can deliver in one time step.

    Args:
        connection: An integer connection.
        shape: What its operator puts out.
        channels: Number of output channels of the target.
        payload: Largest magnitude of one spike of one source.
    """
    sums = np.abs(rows(connection.operator, shape, channels).astype(np.int64))
    elementwise = isinstance(connection.operator, Identity)
    total = sums.max(axis=1) if elementwise else _largest_sum(connection, sums)
    area = connection.pool.area if connection.pool else 1
    return (total * (payload * len(connection.sources) * area)) << connection.exponent


def _largest_sum(connection: Connection, magnitudes: Array) -> Array:
    # A channel may hold several rows of the operator: its neurons, or channels of its own.
    inputs = math.prod(connection.operator.weight.shape[1:])
    per_row = magnitudes.reshape(magnitudes.shape[0], -1, inputs).sum(axis=2)
    return np.asarray(per_row.max(axis=1))


def state_bound(neuron: FixedPointNeuron, shape: Shape, accumulator: Array, steps: int) -> int:
    """Largest magnitude that i, c or v can reach in T steps, whatever the spikes.

    Follows the update of the neuron with magnitudes: rounding toward zero makes nothing larger,
    and a potential that stayed below threshold is smaller than the threshold.

    Args:
        neuron: The population's neuron.
        shape: Of the population.
        accumulator: (channels,) bound of what all connections together deliver in a step.
        steps: T.
    """

    def largest(values: Array) -> Array:
        return per_channel(values, shape, len(accumulator))

    def smallest(values: Array) -> Array:
        return per_channel(values, shape, len(accumulator), np.min)

    x = accumulator.astype(np.float64) * 2.0**neuron.state_shift
    k = largest(neuron.k) / DECAY_ONE
    a = np.maximum(largest(neuron.a_pos), largest(neuron.a_neg)) / DECAY_ONE
    b = np.maximum(largest(neuron.b_pos), largest(neuron.b_neg)) / DECAY_ONE
    bias = largest(neuron.bias)
    top = np.maximum(largest(neuron.th_pos), largest(neuron.th_neg))
    low = np.minimum(smallest(neuron.th_pos), smallest(neuron.th_neg))
    never_resets = (top >= never(neuron.state_bits)) | (neuron.reset == "none") | neuron.fire_once
    floor = largest(np.maximum(neuron.floor, 0))
    i, c, v = np.zeros_like(x), np.zeros_like(x), largest(neuron.v_init)
    reached = v
    for _ in range(steps):
        i = k * i + x
        c = a * c + b * v
        before = np.minimum(np.maximum(c + i + bias, floor), BOUND_LIMIT)
        reached = np.maximum.reduce([reached, i, c, before])
        after = np.minimum(before, top)
        if neuron.reset == "subtract":
            after = np.maximum(after, before - np.minimum(low, before))
        v = np.where(never_resets, before, after)
    return math.ceil(float(reached.max()))


def headroom_bits(bound: int, state_bits: int) -> float:
    """Bits between a bound and the state's limit; negative where the bound does not fit."""
    return math.log2(state_limit(state_bits) / max(1, bound))
