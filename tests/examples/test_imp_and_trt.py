"""The trained networks of IMP and TRT: what they are, that they convert, and what the docs say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import trispike
from examples.methods import imp, imp_legacy, trt
from examples.methods.common import Method
from examples.methods.compared import compare
from examples.training import load_split
from trispike.errors import CheckpointError
from trispike.nn import load_checkpoint

METHODS = [imp.METHOD, imp_legacy.METHOD, trt.METHOD]
FEW = 8


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_stored_network_converts_and_is_equal_on_every_engine(method: Method):
    pytest.importorskip("lava", reason="Lava is not installed")
    assert method.checkpoint.stat().st_size < 400_000
    learnt, test = method.samples()
    conversion = method.convert(method.checkpoint, test.x[:FEW])
    assert conversion.proof.spike_mismatches == 0
    assert conversion.proof.spikes_fired > 1000
    network = trispike.quantize(conversion.network, learnt.x[:64], learnt.y[:64]).network
    certificate = trispike.verify(network, test.x[:4], engines=method.engines)
    assert certificate.equal, certificate.first_difference
    result = trispike.simulate(network, test.x[:100], test.y[:100])
    assert result.accuracy is not None
    assert result.accuracy > 0.9


def test_what_is_special_about_them():
    samples = imp.METHOD.samples()[1].x[:2]
    network = imp.convert(imp.METHOD.checkpoint, samples).network
    assert network.readout.weights.tolist() == [0, 0, 0, 1]
    for population in network.populations.values():
        assert population.neuron.v_init.shape == population.shape
        assert population.neuron.v_init.std() > 0.01
    legacy = imp_legacy.convert(imp_legacy.METHOD.checkpoint, samples).network
    for population in legacy.populations.values():
        assert population.neuron.strict
        assert len(set(population.neuron.gains)) == legacy.steps


def test_the_file_of_trt_holds_a_head_that_is_named_to_be_left_out():
    settings = {"steps": trt.STEPS, "input_shape": trt.SHAPE}
    with pytest.raises(CheckpointError, match=r"2 surplus keys: aux_head\.bias, aux_head\.weight"):
        load_checkpoint(trt.METHOD.checkpoint, trt.ARCHITECTURE, **settings)


def test_simulated_frames():
    samples = load_split(trt.DATA)[1]
    few = type(samples)(samples.x[:3], samples.y[:3])
    made = trt.frames(few)
    assert made.x.shape == (3, trt.STEPS, *trt.SHAPE)
    assert made.x.dtype == np.float32
    assert made.x.sum() > 1000
    assert (made.x == np.rint(made.x)).all()


def test_a_comparison_is_a_table():
    rows = compare({"a": lambda seed: 0.5 + seed / 10, "b": lambda seed: 0.25}, (0, 1))
    assert rows[2] == "| a | 50.00% | 60.00% | 55.00% | 7.07% |"
    assert rows[3] == "| b | 25.00% | 25.00% | 25.00% | 0.00% |"


@pytest.mark.parametrize("variant", imp.VARIANTS)
def test_the_variants_of_imp(variant):
    model = imp.fresh_model(imp.VARIANTS[variant])
    learnable = [name for name, p in model.named_parameters() if p.requires_grad]
    assert any(name.endswith("init_state") for name in learnable) == variant.startswith("IMP")
    with torch.no_grad():
        last = model.forward_steps(torch.rand(2, 1, 8, 8)).shape[0] == 1
    assert last == ("last" in variant)
