"""Neurons that fire once, standardized layers, time weights: formulas, gradients, bad arguments."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from trispike.errors import CheckpointError, InvalidNetworkError
from trispike.nn import (
    TTFS,
    StandardizedConv2d,
    StandardizedLinear,
    TimeWeights,
    build_model,
    initialize_ttfs,
    load_checkpoint,
    randomize,
    save_checkpoint,
)
from trispike.nn.models import TTFSPlan, VGGPlan

NARROW = TTFSPlan(vgg=VGGPlan(layout=(4, "M", 6, 6, "M", 8, 8), global_pool=True))
"""``ttfs-vgg6`` with fewer channels."""


def model(steps: int = 4, **settings: Any) -> Any:
    torch.manual_seed(0)
    net = build_model("ttfs-vgg6", steps=steps, input_shape=(1, 8, 8), plan=NARROW, **settings)
    randomize(net, seed=1)
    return net.eval()


# --- the neuron ---------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", ["none", "subtract", "zero"])
def test_a_neuron_fires_at_its_first_crossing_and_never_again(reset):
    x = torch.tensor([[0.5], [0.5], [5.0], [-9.0], [9.0]])
    assert TTFS(1.0, reset)(x).reshape(-1).tolist() == [0, 1, 0, 0, 0]
    silent = torch.full((5, 1), 0.125)
    assert not TTFS(1.0, reset)(silent).any()
    assert TTFS(0.625, reset)(silent).reshape(-1).tolist() == [0, 0, 0, 0, 1]


def test_resets_change_the_potential_and_no_spike():
    torch.manual_seed(0)
    x = torch.randn(8, 3, 50)
    spikes, potentials = zip(*(TTFS(1.0, r).dynamics(x) for r in ("none", "subtract", "zero")),
                             strict=True)  # fmt: skip
    assert torch.equal(spikes[0], spikes[1])
    assert torch.equal(spikes[0], spikes[2])
    assert 0 < spikes[0].sum(0).mean() < 1
    assert spikes[0].sum(0).max() == 1
    assert not torch.equal(potentials[0], potentials[1])
    assert not torch.equal(potentials[1], potentials[2])
    torch.testing.assert_close(potentials[0], x.cumsum(0))


def test_the_deployed_neuron_integrates_and_fires_once():
    neuron = TTFS(0.7, "subtract").to_neuron()
    assert (neuron.fire_once, neuron.reset, neuron.strict) == (True, "subtract", False)
    assert (float(neuron.b_pos), float(neuron.b_neg), float(neuron.th_pos)) == (1, 1, 0.7)
    assert math.isinf(float(neuron.th_neg))


@pytest.mark.parametrize("threshold", [-0.5, 0.0, math.nan, math.inf])
def test_a_threshold_is_positive(threshold):
    with pytest.raises(InvalidNetworkError, match=r"v_threshold: got .*expected a positive number"):
        TTFS(threshold)


# --- layers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [True, False])
def test_weights_are_standardized_per_output(offset):
    torch.manual_seed(0)
    conv = StandardizedConv2d(3, 5, 3, 4, padding=1, affine_offset=offset).double()
    randomize(conv, seed=1)
    w = conv.weight.detach().numpy().reshape(5, -1)
    expected = (w - w.mean(1, keepdims=True)) / np.sqrt(w.var(1, keepdims=True) + 1e-5)
    expected *= conv.gain.detach().numpy()[:, None]
    if offset:
        assert conv.offset is not None
        expected += conv.offset.detach().numpy()[:, None]
    found = conv.standardized_weight().detach().numpy().reshape(5, -1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    y = nn.functional.conv2d(x, torch.from_numpy(expected.reshape(5, 3, 3, 3)), conv.bias,
                             padding=1)  # fmt: skip
    torch.testing.assert_close(conv(x), y, rtol=0, atol=1e-12)


def test_a_linear_layer_is_the_convolution_of_one_position():
    torch.manual_seed(0)
    linear = StandardizedLinear(7, 5, 4)
    randomize(linear, seed=1)
    conv = StandardizedConv2d(7, 5, 1, 4)
    conv.load_state_dict(
        {k: v.reshape(5, 7, 1, 1) if k == "weight" else v for k, v in linear.state_dict().items()}
    )
    x = torch.randn(3, 7)
    torch.testing.assert_close(linear(x), conv(x[..., None, None]).flatten(1))


def test_initial_weights_are_uniform_and_standardizing_changes_them_little():
    torch.manual_seed(0)
    weight = torch.empty(64, 8, 3, 3)
    initialize_ttfs(weight, 6, 0.5)
    bound = 0.5 * math.sqrt(3 * 6 / 72)
    assert 0.95 * bound < float(weight.abs().max()) <= bound
    assert float(weight.std()) == pytest.approx(bound / math.sqrt(3), rel=0.02)
    conv = StandardizedConv2d(8, 64, 3, 6, v_threshold=0.5)
    spread = float(conv.standardized_weight().detach().std())
    assert spread == pytest.approx(float(weight.std()), rel=0.05)
    assert float(conv.gain[0].detach()) == pytest.approx(0.5 * math.sqrt(6 / 72))


# --- time weights -------------------------------------------------------------------------------


def test_the_forms_are_their_formulas():
    t = np.arange(4)
    power, exponential, soft = (TimeWeights(4, f) for f in ("power", "exponential", "softplus"))
    np.testing.assert_allclose(power.weights().detach(), 2.0**-t)
    np.testing.assert_allclose(exponential.weights().detach(), np.exp(-0.5 * t), rtol=1e-6)
    np.testing.assert_allclose(soft.weights().detach(), 2.0**-t, rtol=1e-5)
    raw = soft.raw.detach().numpy()
    np.testing.assert_allclose(soft.weights().detach(), np.log1p(np.exp(raw)), rtol=1e-5)
    given = TimeWeights(4, "given", [3.0, -1.0, 0.0, 0.5])
    assert given.weights().tolist() == [3.0, -1.0, 0.0, 0.5]
    assert not list(given.parameters())
    x = torch.randn(4, 2, 3)
    expected = 3 * x[0] - x[1] + 0.5 * x[3]
    torch.testing.assert_close(given(x), expected)
    torch.testing.assert_close(given.spread(x).mean(0), expected)
    torch.testing.assert_close(given.spread(x[:2]).mean(0), 3 * x[0] - x[1])


@pytest.mark.parametrize("form", ["power", "softplus", "exponential"])
def test_forms_are_trained(form):
    weights = TimeWeights(3, form)
    weights(torch.ones(3, 2, 5)).sum().backward()
    for parameter in weights.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().min() > 0


def long_input() -> None:
    TimeWeights(3)(torch.zeros(4, 1, 2))


def bad_base() -> None:
    weights = TimeWeights(3)
    nn.init.constant_(weights.base, -2.0)
    weights.weights()


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: TimeWeights(3, "given", [1, 2]), "time weights: got 2 weights for 3 time steps"),
        (lambda: TimeWeights(3, "softplus", torch.ones(4)), "got 4 weights for 3 time steps"),
        (lambda: TimeWeights(2, "given", torch.ones(2, 1)), r"got shape \(2, 1\); expected 2"),
        (lambda: TimeWeights(2, "given", [1, math.nan]), "got 1, nan; expected finite numbers"),
        (lambda: TimeWeights(2, "softplus", [1, -1]), "got 1, -1; expected positive numbers"),
        (lambda: TimeWeights(2, "given"), "got no values; expected 2 numbers"),
        (lambda: TimeWeights(2, "power", [1, 2]), "expected none with form 'power'"),
        (lambda: TimeWeights(2, "linear"), "got 'linear'; expected one of power, softplus"),
        (lambda: model(time_weights=[1.0, 2.0]), "got 2 weights for 4 time steps"),
        (lambda: model(tau=0.5), "architecture 'ttfs-vgg6': got tau=0.5"),
        (lambda: model(neurons=["lif"] * 5), r"got neurons=\['lif', 'lif'"),
        (
            lambda: build_model("lif-vgg6", steps=4, time_weights="power"),
            "got time_weights='power'",
        ),
        (long_input, "got 3 weights for 4 time steps"),
        (bad_base, "base of the time weights: got -2; expected a positive number"),
    ],
)
def test_bad_arguments_are_named(call, text):
    with pytest.raises(InvalidNetworkError, match=text):
        call()


# --- whole networks -----------------------------------------------------------------------------


def test_no_neuron_of_a_network_fires_twice():
    net, counts = model(6), []
    for module in net.modules():
        if isinstance(module, TTFS):
            module.register_forward_hook(lambda _, __, out: counts.append(out.sum(0)))
    with torch.no_grad():
        net(torch.rand(3, 1, 8, 8))
    assert len(counts) == 5
    assert all(0.05 < float(c.mean()) < 1 and float(c.max()) == 1 for c in counts)


def test_training_moves_every_parameter():
    net = model(6, surrogate="triangle").train()
    loss = net(torch.rand(4, 1, 8, 8)).square().sum()
    gradients = torch.autograd.grad(loss, list(net.parameters()))
    assert all(bool(torch.isfinite(g).all()) and float(g.abs().sum()) > 0 for g in gradients)


@pytest.mark.parametrize("chosen", ["power", "softplus", "exponential", [1.0, 0.5, 0.25, 0.1]])
def test_a_checkpoint_says_which_form_it_has(chosen, tmp_path):
    net = model(time_weights=chosen)
    save_checkpoint(net, tmp_path / "net.pth")
    loaded = load_checkpoint(tmp_path / "net.pth", "ttfs-vgg6", steps=4, input_shape=(1, 8, 8))
    assert loaded.model.plan == NARROW
    x = torch.rand(2, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(loaded(x), net(x))
    provenance = loaded.provenance
    assert provenance is not None
    assert (provenance.architecture, provenance.tau) == ("ttfs-vgg6", 1.0)


@pytest.mark.parametrize(("chosen", "key"), [("softplus", "raw"), ([1.0, 0.5, 0.2, 0.1], "values")])
def test_time_weights_of_another_length_are_refused(chosen, key, tmp_path):
    save_checkpoint(model(time_weights=chosen), tmp_path / "net.pth")
    text = rf"time weights readout\.{key} of shape \(4,\) for 6 time steps; expected shape \(6,\)"
    with pytest.raises(CheckpointError, match=text):
        load_checkpoint(tmp_path / "net.pth", "ttfs-vgg6", steps=6)


def test_a_checkpoint_of_another_kind_is_named(tmp_path):
    save_checkpoint(model(), tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=r"got keys of ttfs-vgg6 .* of ttfs neurons"):
        load_checkpoint(tmp_path / "net.pth", "lif-vgg6", steps=4)
