"""QCFS networks in integers: counts equal the quantized network's levels, on every engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trispike
from tests.levels import level_counts, level_logits, level_networks
from trispike.network import FixedPointNeuron, IntegerNetwork
from trispike.nn import build_qcfs, randomize
from trispike.quantize import Quantization
from trispike.runtime import ReferenceEngine
from trispike.runtime.engines import build_engine


def assert_counts_levels(network: IntegerNetwork, result: Any, data: Any) -> None:
    """Spikes over the sample, neuron by neuron, and the integer logits."""
    expected = level_counts(network, data)
    for name in network.populations:
        counted = result.records[name]["s"].sum(1, dtype=np.int64)
        np.testing.assert_array_equal(counted, expected[name])
    np.testing.assert_array_equal(result.logits, level_logits(network, expected))


@settings(max_examples=25, deadline=None)
@given(level_networks(), st.integers(2, 8), st.sampled_from(["channel", "layer"]))
def test_every_count_is_the_level_of_the_quantized_network(drawn, bits, granularity):
    module, shape = drawn
    data = np.random.default_rng(0).normal(size=(4, *shape))
    network = trispike.convert(module, data).network
    integer = trispike.quantize(network, data, weight_bits=bits, granularity=granularity).network
    result = ReferenceEngine(integer, strict=True).run(data, record="all")
    assert_counts_levels(integer, result, data)


@pytest.fixture(scope="module")
def small() -> tuple[Quantization, Any]:
    """A residual network with unequal levels and two thresholds turned around, in 8 bits."""
    module = build_qcfs("qcfs-resnet8", levels=[4, 2, 3, 8, 1, 5, 4], input_shape=(1, 8, 8))
    randomize(module)
    for activation, threshold in zip(
        module.activations().values(), (0.8, 1.0, -0.8, 0.6, 0.7, -0.7, 0.7), strict=True
    ):
        activation.thresh.data.fill_(threshold)
    data = np.random.default_rng(0).normal(size=(6, 1, 8, 8))
    network = trispike.convert(module.eval(), data).network
    return trispike.quantize(network, data), data


@pytest.mark.parametrize("engine", ["reference", "fast", "onnx", "lava"])
def test_every_engine_counts_levels(small, engine):
    network, data = small[0].network, small[1]
    data = data[:2] if engine == "lava" else data
    result = build_engine(engine, network).run(data, record="all")
    assert_counts_levels(network, result, data)
    counts = level_counts(network, data)
    for name, population in network.populations.items():
        assert isinstance(population.neuron, FixedPointNeuron)
        assert population.neuron.fire_until is not None
        levels = population.neuron.fire_until - population.neuron.fire_from
        assert counts[name].max() == levels, "no neuron that fires at every step of its window"
        assert counts[name].min() == 0


def test_states_are_proved_not_to_saturate(small):
    """Silent steps bring nothing, and the bound knows: 24 bits are enough."""
    assert all(p.headroom_bits >= 0 for p in small[0].record.populations)
