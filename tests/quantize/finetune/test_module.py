"""The trainable module computes what it exports: spikes, states and logits, bit for bit."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.networks import CASES, Builder, random_network, sample_inputs
from tests.quantize.floats import random_float_network
from tests.strategies import inputs_for, integer_networks
from trispike.errors import (
    InvalidNetworkError,
    InvalidSettingError,
    QuantizationError,
    UnsupportedError,
)
from trispike.network import FixedPointNeuron, IntegerNetwork, equal
from trispike.nn.surrogate import surrogate_by_name
from trispike.quantize import quantize
from trispike.quantize.finetune import IntegerModule, Trace
from trispike.quantize.finetune import neurons as dynamics
from trispike.quantize.finetune.masters import WeightMaster
from trispike.runtime import ReferenceEngine

EVERYTHING: Any = ("weights", "bias", "steps", "thresholds", "retention", "v_init")


REACHED = ("recurrent", "static_form", "soft_reset", "binary_lif", "floor")


def check_equal(network: IntegerNetwork, inputs: Any, found: Trace) -> None:
    """What a module did is what the reference engine does with an integer network."""
    expected = ReferenceEngine(network).run(inputs, record="all")
    for name, traces in expected.records.items():
        for trace, values in traces.items():
            np.testing.assert_array_equal(found.records[name][trace], values, f"{name} {trace}")
    np.testing.assert_array_equal(found.step_logits, expected.step_logits)
    np.testing.assert_array_equal(found.logits, expected.logits)


def shaken(module: IntegerModule, seed: int = 0, size: float = 0.3) -> IntegerModule:
    """The module with all that is trained moved, as by training."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.add_((size * noise * (parameter.abs() + 0.1)).to(parameter.dtype))
    module.confine()
    return module


@pytest.mark.parametrize("case", CASES)
def test_every_case_computes_and_exports_itself(case):
    network = CASES[case]()
    inputs = sample_inputs(network, 4)
    module = IntegerModule(network)
    assert equal(module.export(), network)
    check_equal(network, inputs, module.trace(module.encode(inputs)))


@pytest.mark.parametrize("case", CASES)
def test_after_training_it_is_still_what_it_exports(case):
    module = shaken(IntegerModule(CASES[case](), trained=EVERYTHING))
    exported = module.export()
    assert not equal(exported, module.network)
    inputs = sample_inputs(exported, 4)
    check_equal(exported, inputs, module.trace(module.encode(inputs)))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_network_computes_and_exports_itself(data):
    network = data.draw(integer_networks())
    inputs = data.draw(inputs_for(network))
    try:
        module = IntegerModule(network)
    except UnsupportedError as refusal:  # exponents of 16 beside large weights
        assume("which float64 holds" not in str(refusal))
        raise
    assert equal(module.export(), network)
    check_equal(network, inputs, module.trace(module.encode(inputs)))


@pytest.mark.parametrize("granularity", ["channel", "layer"])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("seed", range(4))
def test_it_begins_with_the_integers_of_the_quantization(seed, bits, granularity):
    source = random_float_network(seed)
    inputs = sample_inputs(source, 6)
    result = quantize(source, inputs, weight_bits=bits, granularity=granularity)
    module = IntegerModule.from_float(source, result, trained=EVERYTHING)
    assert equal(module.export(), result.network)
    assert {s.shape for s in module.steps.parameters()} <= {(1,)} or granularity == "channel"
    exported = shaken(module).export()
    for connection in exported.all_connections:
        assert np.abs(connection.operator.weight).max() <= 2 ** (bits - 1) - 1
    check_equal(exported, inputs, module.trace(module.encode(inputs)))


def test_the_logits_are_those_of_the_network_in_floats():
    network = CASES["weighted_readout"]()
    inputs = sample_inputs(network, 4)
    module = IntegerModule(network)
    result = ReferenceEngine(network).run(inputs)
    with torch.no_grad():
        steps = module(module.encode(inputs))
    assert steps.shape == (network.steps, 4, network.readout.classes)
    np.testing.assert_allclose(steps.mean(0), result.logits * result.scale, rtol=1e-12)
    logits, unit = module.integer_logits(module.encode(inputs))
    np.testing.assert_array_equal(logits, result.logits)
    assert unit == network.readout.scale


def test_the_settings_of_torch_do_not_make_it_round():
    network = CASES["deep"]()
    inputs = sample_inputs(network, 4)
    module = IntegerModule(network)
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            found = module.trace(module.encode(inputs))
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(precision)
    check_equal(network, inputs, found)


@pytest.mark.parametrize("case", [*REACHED, "gains", "window_of_ternary_spikes"])
def test_gradients_reach_all_that_is_trained(case):
    module = IntegerModule(CASES[case](), trained=EVERYTHING)
    module(module.encode(sample_inputs(module.network, 8))).square().sum().backward()
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
    for parameter in module.weights.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


def test_gradients_pass_through_gains_and_windows():
    """An integrator that may fire at the last of three steps: what came before counts by gain."""
    neuron = FixedPointNeuron(
        b_pos=4096, b_neg=4096, th_pos=64, bias=8, gains=(2048, 8192, 4096), fire_from=2,
        state_shift=3,
    )  # fmt: skip
    d = dynamics.Dynamics.of(neuron, surrogate_by_name("straight_through"))
    fields = {name: torch.tensor(value).double() for name, value in neuron.array_fields().items()}
    v_init, bias = fields.pop("v_init"), fields["bias"].requires_grad_()
    x = torch.ones((3, 1, 1), requires_grad=True)
    state = dynamics.initial_state(1, (1,), v_init)
    schedule = dynamics.Schedule.of(neuron, 3)
    parameters = dynamics.Parameters(**fields)
    spikes, _ = dynamics.run(d, 3, x, state, parameters, schedule=schedule)
    by_x, by_bias = torch.autograd.grad(spikes[2].sum(), (x, bias), retain_graph=True)
    slope = float(by_x[2]) / 8
    assert slope > 0
    assert by_x.flatten().tolist() == [0.5 * 8 * slope, 2 * 8 * slope, 8 * slope]
    assert float(by_bias) == pytest.approx(3.5 * slope, rel=1e-6)
    (before,) = torch.autograd.grad(spikes[:2].sum(), x)
    assert not before.any()  # it may not fire there


def test_currents_that_leave_float64_by_a_gain_are_refused():
    builder = Builder(0)
    neuron = {"gains": (65536,) * 4, "state_shift": 16, "th_pos": 1, "th_neg": 1}
    builder.layer("input", "first", builder.conv("input", 3), exponent=8, neuron=neuron)
    with pytest.raises(UnsupportedError, match="the input of 'first' times its gains: got sums"):
        IntegerModule(builder.build("first"))


def test_only_what_is_asked_for_is_trained():
    module = IntegerModule(CASES["static_form"](), trained=("bias",))
    names = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    assert names == {"neurons.0.bias", "neurons.1.bias", "readout_bias"}


def test_what_a_neuron_does_not_have_is_not_trained():
    module = IntegerModule(CASES["binary_lif"](), trained=EVERYTHING)
    (first, *_) = module.neurons
    trained = {name for name, parameter in first.named_parameters() if parameter.requires_grad}
    assert trained == {"th_pos", "bias", "v_init", "b_pos", "b_neg", "k"}


def test_a_clipped_weight_is_brought_back_to_where_it_learns():
    module = IntegerModule(CASES["vectors"]())
    (first, *_) = module.weights
    assert isinstance(first, WeightMaster)
    with torch.no_grad():
        first.weight.mul_(100)
    module.confine()
    module(module.encode(sample_inputs(module.network, 8))).square().sum().backward()
    assert first.weight.grad is not None
    assert first.weight.grad.count_nonzero() > 0


def test_the_quantization_of_another_network_is_refused():
    one, other = random_float_network(0), random_float_network(1)
    result = quantize(other, sample_inputs(other, 4))
    with pytest.raises(QuantizationError, match="layers that are not those of the float network"):
        IntegerModule.from_float(one, result)


def test_sums_that_no_float_holds_are_refused_by_name():
    builder = Builder(0)
    builder.layer("input", "first", builder.conv("input", 3))
    network = builder.build("first", weights=[2**40, 1, 1, 1], shift=16)
    with pytest.raises(UnsupportedError, match="the logits: got sums up to"):
        IntegerModule(network)


def test_unknown_settings_are_refused():
    network = CASES["vectors"]()
    with pytest.raises(InvalidSettingError, match=r"setting 'trained'.*'magic'.*retention"):
        IntegerModule(network, trained=("magic",))
    with pytest.raises(InvalidNetworkError, match="surrogate: got 'step'"):
        IntegerModule(network, surrogate="step")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.compile's own
@pytest.mark.parametrize("case", ["deep", "recurrent", "soft_reset", "per_channel_parameters"])
def test_compiled_it_computes_the_same(case):
    network = CASES[case]()
    codes = IntegerModule(network).encode(sample_inputs(network, 4))
    results = []
    for fast in (False, True):
        module = IntegerModule(network, trained=EVERYTHING, fast=fast)
        steps = module(codes)
        steps.square().mean().backward()
        results.append((steps.detach(), [p.grad for p in module.weights.parameters()]))
    assert torch.equal(results[0][0], results[1][0])
    for exact, coarse in zip(results[0][1], results[1][1], strict=True):
        assert exact is not None
        assert coarse is not None
        assert (exact - coarse).norm() <= 0.02 * exact.norm()  # bfloat16 has 8 bits


def test_every_field_of_a_neuron_is_a_master_or_fixed():
    """A new field cannot be forgotten: it would be missing here."""
    network = random_network(0)
    (population, *_) = network.populations.values()
    module = IntegerModule(network)
    (masters, *_) = module.neurons
    arrays = {name for name, _ in masters.named_parameters()}
    plain = {"reset", "strict", "fire_once", "state_bits", "state_shift"}
    plain |= {"fire_from", "fire_until", "gains"}
    assert {f.name for f in dataclasses.fields(population.neuron)} == arrays | plain
