"""Small networks on random cores, and what they did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.networks import sample_inputs
from trispike.network import Network
from trispike.runtime import ReferenceEngine
from trispike.targets.sanafe import Replay, load_prices, replay

SAMPLES = 2


def recorded(network: Network, seed: int = 0) -> dict[str, Any]:
    """Spikes of a few samples, as :func:`replay` takes them."""
    x = sample_inputs(network, SAMPLES, seed)
    record = {name: ["s"] for name in network.populations}
    records = ReferenceEngine(network).run(x, record=record).records
    spikes = {name: traces["s"] for name, traces in records.items()}
    return {**spikes, network.input.name: network.input.encode(x, network.steps)}


def scattered(network: Network, seed: int = 0, *, everything: bool = True) -> dict[str, Any]:
    """A random core for every neuron; of input and readout, too, if asked for."""
    rng = np.random.default_rng(seed)
    used = rng.choice(load_prices().mesh.cores, size=int(rng.integers(1, 9)), replace=False)
    shapes = {name: population.shape for name, population in network.populations.items()}
    if everything:
        shapes[network.input.name] = network.input.shape
        shapes[network.readout.name] = (network.readout.classes,)
    return {name: rng.choice(used, size=shape) for name, shape in shapes.items()}


def replayed(
    network: Network,
    seed: int = 0,
    *,
    everything: bool = True,
    cores: Mapping[str, Any] | None = None,
    **options: Any,
) -> Replay:
    """A replay on random cores; the input's payloads as one spike each, unless said otherwise."""
    if cores is None:
        cores = scattered(network, seed, everything=everything)
    options = {"inputs": "binary", **options}
    return replay(network, cores, recorded(network, seed), load_prices().mesh, **options)
