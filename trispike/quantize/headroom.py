"""Worst-case bounds: how large can the states of an integer population become?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.network import Connection, FixedPointNeuron, Identity, Network
from trispike.network.connection import Shape
from trispike.network.fixed_point import DECAY_ONE, never, state_limit
from trispike.network.network import PAYLOAD_LIMIT
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


def arrivals_bound(network: Network, incoming: Iterable[Connection], channels: int) -> Array:
    """Largest magnitude per channel that arrives at each time step, (T, channels).

    An input that is presented once arrives once, and nothing comes from a population outside of
    its window of firing.

    Args:
        network: That the connections belong to; of it, only shapes and schedules are read.
        incoming: Integer connections into one target.
        channels: Number of output channels of the target.
    """
    total = np.zeros((network.steps, channels), np.int64)
    for c in incoming:
        shape = c.output_shape(network.source_shape(c))
        payload = PAYLOAD_LIMIT if network.input.name in c.sources else 1
        whole = accumulator_bound(c, shape, channels, payload)
        for t in range(c.delay, network.steps):
            sending = sum(_sends(network, source, t - c.delay) for source in c.sources)
            total[t] += whole // len(c.sources) * sending
    return total


def _sends(network: Network, source: str, t: int) -> bool:
    """Whether anything can come from the input or from a population at a time step."""
    if source == network.input.name:
        return t == 0 or network.input.encoding != "once"
    return network.populations[source].neuron.fires_at(t)


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
        accumulator: Bound of what all connections together deliver in a step: (channels,), or
            (T, channels) of each step.
        steps: T.
    """
    arriving = np.broadcast_to(accumulator, (steps, accumulator.shape[-1])).astype(np.float64)
    channels = arriving.shape[1]

    def largest(values: Array) -> Array:
        return per_channel(values, shape, channels)

    def smallest(values: Array) -> Array:
        return per_channel(values, shape, channels, np.min)

    arriving = arriving * 2.0**neuron.state_shift
    k = largest(neuron.k) / DECAY_ONE
    a = np.maximum(largest(neuron.a_pos), largest(neuron.a_neg)) / DECAY_ONE
    b = np.maximum(largest(neuron.b_pos), largest(neuron.b_neg)) / DECAY_ONE
    bias = largest(neuron.bias)
    top = np.maximum(largest(neuron.th_pos), largest(neuron.th_neg))
    low = np.minimum(smallest(neuron.th_pos), smallest(neuron.th_neg))
    never_resets = (top >= never(neuron.state_bits)) | (neuron.reset == "none") | neuron.fire_once
    floor = largest(np.maximum(neuron.floor, 0))
    i, c, v = np.zeros(channels), np.zeros(channels), largest(neuron.v_init)
    reached = v
    for t in range(steps):
        gain = neuron.gains[t] / DECAY_ONE if neuron.gains else 1.0
        i = k * i + gain * arriving[t]
        c = a * c + b * v
        before = np.minimum(np.maximum(c + i + gain * bias, floor), BOUND_LIMIT)
        reached = np.maximum.reduce([reached, i, c, before])
        after = np.minimum(before, top)
        if neuron.reset == "subtract":
            after = np.maximum(after, before - np.minimum(low, before))
        v = np.where(never_resets | (not neuron.fires_at(t)), before, after)
    return math.ceil(float(reached.max()))


def headroom_bits(bound: int, state_bits: int) -> float:
    """Bits between a bound and the state's limit; negative where the bound does not fit."""
    return math.log2(state_limit(state_bits) / max(1, bound))
