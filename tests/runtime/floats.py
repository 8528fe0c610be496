"""Small float networks whose arithmetic is exact: weights, data and factors are dyadic.

Sums of such numbers do not depend on their order, so that float engines can be compared with
``==`` as the integer ones are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tests import networks
from tests.networks import CASES as INTEGER_CASES
from trispike.network import (
    Connection,
    Conv2d,
    Dense,
    FixedPointNeuron,
    FloatNetwork,
    Identity,
    IntegerNetwork,
    Network,
    Neuron,
    Population,
    Readout,
)

FACTORS: dict[str, Any] = {"a_pos": 0.75, "a_neg": 0.25, "b_pos": 0.5, "b_neg": 0.25, "k": 0.25}


def as_float(network: IntegerNetwork, **neuron: Any) -> FloatNetwork:
    """A float network of the same structure: weights in 1/16, retention factors in quarters."""
    normal = {} if network.input.encoding == "spikes" else {"mean": 0.25, "std": 0.5}
    return FloatNetwork(
        input=replace(network.input, scale=None, **normal),
        populations={
            name: Population(shape=p.shape, neuron=_neuron(p.neuron, neuron))
            for name, p in network.populations.items()
        },
        connections=tuple(map(_connection, network.connections)),
        readout=Readout(
            connections=tuple(map(_connection, network.readout.connections)),
            bias=network.readout.bias / 16,
            weights=network.readout.weights / 4,
        ),
        steps=network.steps,
        provenance={"made": "by tests"},
    )


def _neuron(source: Neuron | FixedPointNeuron, settings: dict[str, Any]) -> Neuron:
    assert isinstance(source, FixedPointNeuron)
    unit = 16.0 * 2**source.state_shift * 32  # weights in 1/16, inputs in 1/32 of the integer ones
    threshold = np.rint(source.th_pos / unit * 64) / 64
    fields = {
        **FACTORS,
        "bias": np.rint(source.bias / unit * 64) / 64,
        "th_pos": np.maximum(threshold, 1 / 64),
        "th_neg": np.maximum(threshold, 1 / 64),
        "v_init": 0.5,
    }
    return Neuron(**{**fields, **settings})


def _connection(source: Connection) -> Connection:
    operator = source.operator
    weight = operator.weight.astype(np.float64) / 16
    new: Conv2d | Dense | Identity
    if isinstance(operator, Identity):
        new = Identity(scale=weight)
    else:
        new = replace(operator, weight=weight)
    return replace(source, operator=new, exponent=0)


CASES: dict[str, Callable[[], FloatNetwork]] = {
    "shortcut": lambda: as_float(INTEGER_CASES["shortcut_across_two_convolutions"]()),
    "pooled": lambda: as_float(INTEGER_CASES["overlapping_pool"](), k=0.0, reset="subtract"),
    "several_sources": lambda: as_float(INTEGER_CASES["sew_addition"](), th_neg=np.inf),
    "delays": lambda: as_float(INTEGER_CASES["feedforward_delay"](), reset="none", floor=-2.0),
    "loops": lambda: as_float(INTEGER_CASES["recurrent"](), fire_once=True, strict=True),
    "frames": lambda: as_float(INTEGER_CASES["frames_encoding"]()),
    "spikes": lambda: as_float(INTEGER_CASES["spikes_encoding"]()),
}
"""By name, of every kind of connection."""


def sample_inputs(network: Network, n: int, seed: int = 0) -> Any:
    """Raw data for ``n`` samples of any small network; for float ones in sixteenths."""
    inputs = networks.sample_inputs(network, n, seed)
    return inputs if network.kind == "integer" else np.rint(inputs * 16) / 16
