"""Worst-case bounds: how large can the states of an integer population become?"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.network import Connection, FixedPointNeuron, Identity, SumPool
from trispike.network.connection import Shape
from trispike.network.fixed_point import DECAY_ONE, never, state_limit
from trispike.quantize.weights import rows

Array: TypeAlias = npt.NDArray[Any]


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
    area = 1
    pool: SumPool | None = connection.pool
    while pool is not None:
        area *= math.prod(pool.kernel)
        pool = pool.then
    return (total * (payload * len(connection.sources) * area)) << connection.exponent


def _largest_sum(connection: Connection, magnitudes: Array) -> Array:
    # A matrix whose target has rows and columns holds many neurons per channel.
    inputs = math.prod(connection.operator.weight.shape[1:])
    per_neuron = magnitudes.reshape(magnitudes.shape[0], -1, inputs).sum(axis=2)
    return np.asarray(per_neuron.max(axis=1))


def state_bound(neuron: FixedPointNeuron, accumulator: Array, steps: int) -> int:
    """Largest magnitude that i, c or v can reach in T steps, whatever the spikes.

    Follows the update of the neuron with magnitudes: rounding toward zero makes nothing larger,
    and a potential that stayed below threshold is smaller than the threshold.

    Args:
        neuron: The population's neuron.
        accumulator: (channels,) bound of what all connections together deliver in a step.
        steps: T.
    """

    def per_channel(values: Array) -> Array:
        """Largest magnitude per channel, as floats: bounds may exceed any integer type."""
        magnitudes = np.abs(values.astype(np.float64))
        if magnitudes.ndim == 3:
            magnitudes = magnitudes.max(axis=(1, 2))
        return np.broadcast_to(magnitudes, accumulator.shape)

    x = accumulator.astype(np.float64) * 2.0**neuron.state_shift
    k = per_channel(neuron.k) / DECAY_ONE
    a = np.maximum(per_channel(neuron.a_pos), per_channel(neuron.a_neg)) / DECAY_ONE
    b = np.maximum(per_channel(neuron.b_pos), per_channel(neuron.b_neg)) / DECAY_ONE
    bias = per_channel(neuron.bias)
    top = np.maximum(per_channel(neuron.th_pos), per_channel(neuron.th_neg))
    low = np.minimum(per_channel(neuron.th_pos), per_channel(neuron.th_neg))
    never_resets = (top >= never(neuron.state_bits)) | (neuron.reset == "none") | neuron.fire_once
    floor = per_channel(np.maximum(neuron.floor, 0))
    i, c, v = np.zeros_like(x), np.zeros_like(x), per_channel(neuron.v_init)
    largest = np.maximum(v, bias)
    for _ in range(steps):
        i = k * i + x
        c = a * c + b * v
        before = np.maximum(c + i + bias, floor)
        largest = np.maximum.reduce([largest, i, c, before])
        after = np.minimum(before, top)
        if neuron.reset == "subtract":
            after = np.maximum(after, before - np.minimum(low, before))
        v = np.where(never_resets, before, after)
    return math.ceil(float(largest.max()))


def headroom_bits(bound: int, state_bits: int) -> float:
    """Bits between a bound and the state's limit; negative where the bound does not fit."""
    return math.log2(state_limit(state_bits) / max(1, bound))
