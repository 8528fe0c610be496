"""What follows from the network alone: how large its sums can be."""

from __future__ import annotations

import numpy as np

from trispike.network import Connection, Identity, Network
from trispike.network.fixed_point import DECAY_BITS, DECAY_ONE
from trispike.network.network import PAYLOAD_LIMIT
from trispike.network.neuron import FixedPointNeuron

EXACT_FLOAT32 = 1 << 24
"""Integers below this magnitude, and sums that stay below it, are exact in float32."""

NARROW_STATE_BITS = 28
"""States up to this width, and sums of three of them, fit into 32 bits."""

NARROW_CURRENT = 1 << 30
"""So does a shifted current below this, and a state on top of it."""


def payload_limit(network: Network, name: str) -> int:
    """Largest magnitude that the input or a population of an integer network emits."""
    return PAYLOAD_LIMIT if name == network.input.name else 1


def pooled_limit(network: Network, connection: Connection) -> int:
    """Largest magnitude of what the operator of an integer connection is applied to."""
    area = connection.pool.area if connection.pool else 1
    return area * sum(payload_limit(network, source) for source in connection.sources)


def current_limit(network: Network, connection: Connection) -> int:
    """Largest magnitude of what an integer connection can deliver, its exponent included.

    Every partial sum is below it, too, in whatever order it is added up.
    """
    weight = np.abs(connection.operator.weight.astype(np.int64))
    if not isinstance(connection.operator, Identity):  # whose elements are not added up
        weight = weight.sum(axis=tuple(range(1, weight.ndim)))
    return (int(weight.max(initial=0)) * pooled_limit(network, connection)) << connection.exponent


def total_limit(network: Network, target: str) -> int:
    """Largest magnitude of the weighted input of a population or the readout."""
    return sum(current_limit(network, c) for c in network.into(target))


def arriving_steps(network: Network, connection: Connection) -> range:
    """The time steps from the first to the last at which a connection may deliver anything.

    An input that is presented once, and populations with a window of firing, are silent else.
    """
    first, last = network.steps, 0
    for source in connection.sources:
        if source == network.input.name:
            begin, end = 0, 1 if network.input.encoding == "once" else network.steps
        else:
            neuron = network.populations[source].neuron
            begin, end = neuron.fire_from, neuron.fire_until or network.steps
        first, last = min(first, begin), max(last, end)
    first, last = (min(t + connection.delay, network.steps) for t in (first, last))
    return range(first, last)


def is_narrow(network: Network, name: str) -> bool:
    """Whether 32 bits are enough for everything that a population computes."""
    neuron = network.populations[name].neuron
    if not isinstance(neuron, FixedPointNeuron) or neuron.state_bits > NARROW_STATE_BITS:
        return False
    total, gain = total_limit(network, name), max((DECAY_ONE, *neuron.gains))
    driven = max(total << neuron.state_shift, int(np.abs(neuron.bias).max()) if neuron.gains else 0)
    return total < EXACT_FLOAT32 and driven * gain >> DECAY_BITS < NARROW_CURRENT
