"""Counts by looking at every synapse of every spike, from recorded spikes: obvious, and slow."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tests.runtime.scalar import synapses
from trispike.network import Connection, Conv2d, Dense, Identity, Network

Counts: TypeAlias = npt.NDArray[np.int64]
Entries: TypeAlias = dict[tuple[str, str, str], Counts]


def pairs(connection: Connection, shape: tuple[int, ...]) -> list[set[int]]:
    """For every source element: the targets that the geometry connects it with."""
    operator = connection.operator
    ones = np.ones_like(operator.weight)
    everywhere: Conv2d | Dense | Identity
    if isinstance(operator, Conv2d):
        everywhere = Conv2d(
            weight=ones,
            stride=operator.stride,
            padding=operator.padding,
            dilation=operator.dilation,
            groups=operator.groups,
        )
    else:
        everywhere = Dense(weight=ones) if isinstance(operator, Dense) else Identity(scale=ones)
    filled = Connection(
        sources=connection.sources,
        target=connection.target,
        operator=everywhere,
        pool=connection.pool,
    )
    return [{target for target, _ in reached} for reached in synapses(filled, shape)]


def received(
    network: Network, inputs: npt.NDArray[Any], spikes: dict[str, npt.NDArray[Any]], name: str
) -> Counts:
    """How many neurons of a population received something: (N, T), synapse by synapse."""
    wiring = [
        (connection, synapses(connection, network.source_shape(connection)))
        for _, connection in network.labelled()
        if connection.target == name
    ]
    counts = np.zeros((len(inputs), network.steps), np.int64)
    for n, t in np.ndindex(counts.shape):
        sums = [0] * network.populations[name].size
        for connection, reached in wiring:
            for source in connection.sources if t >= connection.delay else ():
                payloads = emitted(network, inputs, spikes, source, n, t - connection.delay)
                for payload, met in zip(payloads, reached, strict=True):
                    for target, weight in met if payload else ():
                        sums[target] += payload * weight
        counts[n, t] = sum(total != 0 for total in sums)
    return counts


def emitted(
    network: Network,
    inputs: npt.NDArray[Any],
    spikes: dict[str, npt.NDArray[Any]],
    source: str,
    n: int,
    t: int,
) -> list[Any]:
    """What the input or a population sends in a sample at a step, row-major."""
    if source != network.input.name:
        payloads = spikes[source][n, t]
    elif network.input.encoding == "direct":
        payloads = inputs[n]
    else:
        payloads = inputs[n, t]
    flat: list[Any] = payloads.reshape(-1).tolist()
    return flat


def enumerated(
    network: Network, inputs: npt.NDArray[Any], spikes: dict[str, npt.NDArray[Any]]
) -> Entries:
    """What a ledger has to hold, per sample and step.

    Args:
        network: The network.
        inputs: Encoded.
        spikes: By population, (N, T, *shape).

    Returns:
        (group, name, entry) to (N, T).
    """
    samples, steps = len(inputs), network.steps
    counts: Entries = defaultdict(lambda: np.zeros((samples, steps), np.int64))
    for name, trains in spikes.items():
        for n, t, *_ in np.argwhere(trains > 0):
            counts["populations", name, "spikes_positive"][n, t] += 1
        for n, t, *_ in np.argwhere(trains < 0):
            counts["populations", name, "spikes_negative"][n, t] += 1
        counts["populations", name, "updates_with_input"] = received(network, inputs, spikes, name)
    for n, t in np.ndindex(samples, steps):
        payloads = emitted(network, inputs, spikes, network.input.name, n, t)
        counts["input", network.input.name, "events"][n, t] = len(payloads) - payloads.count(0)
    for label, connection in network.labelled():
        shape = network.source_shape(connection)
        reached, connected = synapses(connection, shape), pairs(connection, shape)
        for source in connection.sources:
            for n in range(samples):
                for t in range(connection.delay, steps):
                    payloads = emitted(network, inputs, spikes, source, n, t - connection.delay)
                    for element, payload in enumerate(payloads):
                        if not payload:
                            continue
                        entry = "synaptic_operations" if payload in (-1, 1) else "macs"
                        met = {target for target, _ in reached[element]}
                        counts["connections", label, entry][n, t] += len(met)
                        zero = len(connected[element] - met)
                        counts["connections", label, "zero_weight_operations"][n, t] += zero
    return counts
