"""Networks on which the counts of NeuroBench and syops are compared with ours, without these."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.networks import CASES, Builder, sample_inputs
from trispike.network import IntegerNetwork, Network, SumPool

SAMPLES = 5


def binary() -> IntegerNetwork:
    """Spikes of one sign only, in the network and at its input."""
    b = Builder(40, encoding="spikes")
    neuron = {"th_neg": 1 << 23}
    b.layer("input", "first", b.conv("input", 4), neuron=neuron)
    b.layer("first", "second", b.conv("first", 4, stride=(2, 2)), neuron=neuron)
    return b.build("second")


def pooled_binary() -> IntegerNetwork:
    """The same with average pooling before the second layer."""
    b = Builder(41, (2, 8, 8))
    neuron = {"th_neg": 1 << 23}
    b.layer("input", "first", b.conv("input", 4), neuron=neuron)
    pool = SumPool(kernel=(2, 2), stride=(2, 2))
    b.layer("first", "second", b.conv("first", 4), pool=pool, neuron=neuron)
    return b.build("second")


NETWORKS = {
    **{
        name: CASES[name]
        for name in ("strided_asymmetric", "groups", "dilation", "static_form", "soft_reset")
    },
    "binary": binary,
    "pooled_binary": pooled_binary,
}


def data_of(network: Network) -> Any:
    data = sample_inputs(network, SAMPLES)
    return (data > 0).astype(np.int64) if network.input.encoding == "spikes" else data
