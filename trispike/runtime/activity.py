"""How often every single neuron fires: for placements, where it matters which one it is."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.errors import UnsupportedError
from trispike.network import IntegerNetwork, Network
from trispike.runtime.engine import Engine, Progress
from trispike.targets.loihi.placement import Placement
from trispike.targets.loihi.traffic import Traffic, count_traffic

Counts: TypeAlias = npt.NDArray[np.int64]

RECORDED_BYTES = 128 * 2**20
"""Memory for the spikes that are recorded at a time."""


def spike_counts(
    engine: Engine, inputs: npt.NDArray[Any], progress: Progress | None = None
) -> dict[str, Counts]:
    """Run data, and count in how many samples each element is not zero at each time step.

    Args:
        engine: What runs the network.
        inputs: Raw data.
        progress: Called as samples finish.

    Returns:
        (T, *shape) by population, and by the input's name for what is delivered as input.
    """
    network: Network = engine.network
    inputs = np.asarray(inputs)
    entry, steps = network.input, network.steps
    counts = {
        name: np.zeros((steps, *p.shape), np.int64) for name, p in network.populations.items()
    }
    counts[entry.name] = np.zeros((steps, *entry.shape), np.int64)
    each = steps * sum(p.size for p in network.populations.values())
    size = max(1, RECORDED_BYTES // max(1, each))
    for first in range(0, len(inputs), size):
        part = inputs[first : first + size]
        delivered = np.count_nonzero(entry.encode(part, steps), axis=0)
        counts[entry.name] += delivered  # a direct input is the same at every step
        run = engine.run(part, record=dict.fromkeys(network.populations, ("s",)))
        for name, traces in run.records.items():
            counts[name] += np.count_nonzero(traces["s"], axis=0)
        if progress:
            progress(len(part))
    return counts


def traffic_of(
    engine: Engine,
    placement: Placement,
    inputs: npt.NDArray[Any],
    progress: Progress | None = None,
) -> Traffic:
    """Run data, and count messages and hops on a placement.

    Args:
        engine: What runs the network.
        placement: Of the network.
        inputs: Raw data.
        progress: Called as samples finish.

    Raises:
        UnsupportedError: A float network.
    """
    network = engine.network
    if not isinstance(network, IntegerNetwork):
        raise UnsupportedError(
            "placement",
            got="a float network",
            expected="the integer network that was placed",
            fix="Quantize it.",
        )
    counts = spike_counts(engine, inputs, progress)
    return count_traffic(network, placement, counts, len(inputs))
