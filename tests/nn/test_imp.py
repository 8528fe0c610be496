"""Trained initial potentials: the neurons, their checkpoints, readouts of chosen steps, TET-S."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from trispike.errors import CheckpointError, InvalidNetworkError, InvalidSettingError
from trispike.nn import (
    IMPNeuron,
    LegacyIMPNeuron,
    build_model,
    label_smoothed_temporal_efficient_loss,
    load_checkpoint,
    randomize,
    save_checkpoint,
    temporal_efficient_loss,
)
from trispike.nn.models import IMPPlan, ResNetPlan, VGGPlan
from trispike.nn.readouts import ChosenSteps

VGG = IMPPlan(layers=VGGPlan(layout=(4, "M", 6, 6, "M", 8, 8), global_pool=True))
LEGACY = IMPPlan(layers=VGGPlan(layout=(4, "M", 6, 6, "M", 8, 8), global_pool=False), legacy=True)
SEW = IMPPlan(layers=ResNetPlan(stem="conv7x7", blocks=(2,) * 4, widths=(4, 6, 8, 8),
                                downsample="conv"))  # fmt: skip


def charged(x: Tensor, v: Tensor, tau: float | None, soft: bool, decay: bool) -> Tensor:
    """SpikingJelly's neurons as their documentation writes them; no tau: an IFNode."""
    spikes = []
    for current in x:
        if tau is None:
            v = v + current
        elif decay:
            v = v + (current - v) / tau
        else:
            v = v * (1 - 1 / tau) + current
        s = (v - 1.0 >= 0).to(v)
        v = v - s if soft else v * (1 - s)
        spikes.append(s)
    return torch.stack(spikes)


@given(
    seed=st.integers(0, 1000),
    tau=st.sampled_from([None, 2.0, 4.0, 1.6]),
    soft=st.booleans(),
    decay=st.booleans(),
    sigmoid=st.booleans(),
    shape=st.sampled_from([(1, 3, 4, 2), (1, 3, 1, 1), (1, 1, 4, 2), (1, 1, 1, 1)]),
)
def test_it_is_the_published_neuron(seed, tau, soft, decay, sigmoid, shape):
    generator = torch.Generator().manual_seed(seed)
    neuron = IMPNeuron(
        shape,
        leak=1.0 if tau is None else 1 - 1 / tau,
        reset="subtract" if soft else "zero",
        sigmoid_init=sigmoid,
        decay_input=decay,
    ).double()
    torch.nn.init.normal_(neuron.init_state, 0.3, 0.5, generator)
    x = torch.randn(6, 5, 3, 4, 2, generator=generator, dtype=torch.float64) + 0.6
    start = neuron.init_state.sigmoid() if sigmoid else neuron.init_state
    with torch.no_grad():
        assert torch.equal(neuron(x), charged(x, start, tau, soft, decay))
    deployed = neuron.to_neuron()
    assert deployed.v_init.shape == shape[1:]
    assert deployed.reset == ("subtract" if soft else "zero")


def test_its_gain_is_that_of_the_input():
    assert IMPNeuron(leak=0.75).input_gain() == 0.25
    assert IMPNeuron(leak=0.75, decay_input=False).input_gain() == 1.0
    assert IMPNeuron().input_gain() == 1.0


def test_the_legacy_neuron_fires_strictly_above_its_threshold():
    neuron = LegacyIMPNeuron((1, 3)).double()
    neuron.mem.data = torch.tensor([[0.0, 0.4, -0.4]], dtype=torch.float64)
    x = torch.tensor([[1.0, 0.9, 1.1], [1.0, 0.0, 0.0]], dtype=torch.float64)[:, None]
    with torch.no_grad():
        spikes, potentials = neuron.dynamics(x)
    assert spikes[:, 0].tolist() == [[0, 0, 0], [1, 0, 0]]
    assert potentials[:, 0, 0].tolist() == [1.0, 1.25]
    assert neuron.to_neuron().strict
    assert neuron.to_neuron().v_init.shape == (3,)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (1, 3, 4), (1, 0), (3, 1, 1, 1)])
@pytest.mark.parametrize("kind", [IMPNeuron, LegacyIMPNeuron])
def test_other_shapes_are_refused(kind, shape):
    with pytest.raises(InvalidNetworkError, match=r"expected \(1, C, H, W\) or \(1, F\)"):
        kind(shape)


# --- checkpoints --------------------------------------------------------------------------------


def saved(folder: Any, name: str = "imp-vgg6", change: Any = None, **settings: Any) -> Any:
    plan = LEGACY if name.endswith("legacy") else SEW if "sew" in name else VGG
    torch.manual_seed(0)
    model = build_model(name, **{"steps": 3, "plan": plan, "input_shape": (1, 16, 16)} | settings)
    randomize(model)
    path = folder / "net.pth"
    save_checkpoint(model.eval(), path)
    if change is not None:
        weights = torch.load(path, weights_only=True)
        change(weights)
        torch.save({"state_dict": weights, "meta": {"epoch": 3}}, path)
    return path, model


@pytest.mark.parametrize("initial", ["neuron", "channel", "position", "layer"])
@pytest.mark.parametrize("name", ["imp-vgg6", "imp-vgg6-legacy", "imp-sewresnet18"])
def test_what_shares_a_potential_and_the_input_size_are_read_from_shapes(tmp_path, name, initial):
    path, model = saved(tmp_path, name, initial=initial)
    keys = torch.load(path, weights_only=True)
    assert all(key.startswith(("backbone.", "head.fc.")) for key in keys)
    known = initial in ("neuron", "position") or name.endswith("legacy")
    loaded = load_checkpoint(path, name, steps=3, input_shape=None if known else (1, 16, 16))
    assert loaded.input_shape == (1, 16, 16)
    x = torch.randn(4, 1, 16, 16)
    with torch.no_grad():
        assert torch.equal(loaded(x), model(x))


def test_what_no_file_says_is_stated_and_recorded(tmp_path):
    path, _ = saved(tmp_path)
    model = load_checkpoint(
        path, "imp-vgg6", steps=3, tau=0.75, reset="zero", sigmoid_init=True, readout=(0, 2)
    )
    neurons = [m for m in model.modules() if isinstance(m, IMPNeuron)]
    assert {(n.leak, n.gain, n.reset, n.sigmoid_init, n.v_threshold) for n in neurons} == {
        (0.75, 0.25, "zero", True, 1.0)
    }
    assert model.provenance is not None
    stated = model.provenance
    assert (stated.tau, stated.reset, stated.sigmoid_init) == (0.75, "zero", True)
    assert (stated.readout, stated.v_threshold) == ("0,2", 1.0)
    published = load_checkpoint(path, "imp-vgg6", steps=3).provenance
    assert published is not None
    assert (published.tau, published.reset, published.readout) == (0.5, "subtract", "")


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("imp-vgg6", "backbone.layer2.1.spike.init_state"),
        ("imp-vgg6-legacy", "backbone.features.1.mem"),
        ("imp-sewresnet18", "backbone.layer3.0.downsample_sn.init_state"),
    ],
)
def test_a_potential_that_was_never_created_is_missing_by_name(tmp_path, name, key):
    path, _ = saved(tmp_path, name, lambda weights: weights.pop(key))
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path, name, steps=3)
    assert f"1 missing keys: model.{key}" in str(caught.value)
    assert "creates initial potentials in its first forward pass" in caught.value.fix


def test_all_potentials_missing(tmp_path):
    def drop(weights: dict[str, Tensor]) -> None:
        for key in [key for key in weights if key.endswith("init_state")]:
            del weights[key]

    path, _ = saved(tmp_path, change=drop)
    with pytest.raises(CheckpointError, match=r"5 missing keys: model\.backbone\.layer1"):
        load_checkpoint(path, "imp-vgg6", steps=3)


def test_gains_of_another_number_of_steps(tmp_path):
    path, _ = saved(tmp_path, "imp-vgg6-legacy")
    with pytest.raises(CheckpointError, match=r"bn\.te \(3, 1, 1, 1, 1\) instead of \(4, 1") as e:
        load_checkpoint(path, "imp-vgg6-legacy", steps=4)
    assert "those of 3 time steps: state as many" in e.value.fix


def test_another_architecture_is_contradicted(tmp_path):
    path, _ = saved(tmp_path, "imp-vgg6-legacy")
    with pytest.raises(CheckpointError, match=r"got keys of imp-vgg6-legacy .*of imp neur"):
        load_checkpoint(path, "imp-vgg6", steps=3)
    with pytest.raises(CheckpointError, match="expected keys of ctsn-vgg6"):
        load_checkpoint(path, "ctsn-vgg6", steps=3)


@pytest.mark.parametrize(
    ("name", "settings", "text"),
    [
        ("imp-vgg6-legacy", {"reset": "subtract"}, "expected reset='zero' and no logistic"),
        ("imp-vgg6-legacy", {"sigmoid_init": True}, "no logistic function, as published"),
        ("imp-vgg6", {"form": "dynamic"}, "expected no form"),
        ("imp-vgg6", {"amplitude": "layer"}, "expected no amplitude"),
        ("ctsn-vgg6", {"initial": "channel"}, "expected no initial"),
        ("ctsn-vgg6", {"reset": "subtract"}, "expected no reset"),
        ("lif-vgg6", {"sigmoid_init": True}, "expected no sigmoid_init"),
        ("imp-vgg6", {"plan": IMPPlan(layers=ResNetPlan(
            stem="three-conv3x3", blocks=(1,), widths=(4,), downsample="pool"
        ))}, "expected a VGG, or a residual network with one convolution"),
    ],
)  # fmt: skip
def test_settings_that_do_not_go_together(name, settings, text):
    with pytest.raises(InvalidNetworkError, match=text):
        build_model(name, steps=2, **settings)


# --- surplus keys -------------------------------------------------------------------------------


def with_heads(weights: dict[str, Tensor]) -> None:
    weights |= {"aux_head.weight": torch.zeros(3), "aux_head.bias": torch.zeros(3),
                "proj.0.weight": torch.zeros(2)}  # fmt: skip


def test_surplus_keys_are_listed_with_the_way_to_leave_them_out(tmp_path):
    path, model = saved(tmp_path, change=with_heads)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path, "imp-vgg6", steps=3)
    listed = "3 surplus keys: aux_head.bias, aux_head.weight, proj.0.weight"
    assert listed in str(caught.value).replace("model.", "")
    assert "--ignore 'aux_head.*'" in caught.value.fix
    loaded = load_checkpoint(path, "imp-vgg6", steps=3, ignore=("aux_head.*", "proj.?.weight"))
    assert loaded.provenance is not None
    assert loaded.provenance.ignored == "aux_head.bias,aux_head.weight,proj.0.weight"
    x = torch.randn(2, 1, 16, 16)
    with torch.no_grad():
        assert torch.equal(loaded(x), model(x))


def test_a_part_of_them_is_not_enough(tmp_path):
    path, _ = saved(tmp_path, change=with_heads)
    with pytest.raises(CheckpointError, match=r"1 surplus keys: (model\.)?proj\.0\.weight"):
        load_checkpoint(path, "imp-vgg6", steps=3, ignore=("aux_head.*",))


def test_a_pattern_that_matches_nothing_is_refused(tmp_path):
    path, _ = saved(tmp_path, change=with_heads)
    with pytest.raises(CheckpointError, match=r"got no key that matches 'head2\.\*'"):
        load_checkpoint(path, "imp-vgg6", steps=3, ignore=("aux_head.*", "proj.*", "head2.*"))


def test_what_is_needed_cannot_be_ignored(tmp_path):
    path, _ = saved(tmp_path)
    with pytest.raises(CheckpointError, match=r"2 missing keys: model\.head\.fc\.bias, "):
        load_checkpoint(path, "imp-vgg6", steps=3, ignore=("head.*",))


# --- readouts and loss --------------------------------------------------------------------------


def test_chosen_steps():
    x = torch.randn(4, 3, 5)
    torch.testing.assert_close(ChosenSteps("last", 4)(x), x[3])
    torch.testing.assert_close(ChosenSteps((3, 1), 4)(x), (x[1] + x[3]) / 2)
    torch.testing.assert_close(ChosenSteps("mean", 4)(x), x.mean(0))
    assert torch.equal(ChosenSteps("1,3", 4).spread(x), x[[1, 3]])
    assert not list(ChosenSteps("last", 4).state_dict())


def test_a_model_reads_the_chosen_steps_also_while_it_runs_fewer():
    model = build_model("imp-vgg6", steps=4, plan=VGG, input_shape=(1, 8, 8), readout="last")
    every = build_model("imp-vgg6", steps=4, plan=VGG, input_shape=(1, 8, 8))
    every.load_state_dict(model.state_dict())
    x = torch.randn(3, 1, 8, 8)
    with torch.no_grad():
        steps = every.eval().forward_steps(x)
        torch.testing.assert_close(model.eval()(x), steps[3])
        assert torch.equal(model.forward_steps(x), steps[3:])
        for module in model.modules():
            if hasattr(module, "steps"):
                module.steps = 2  # type: ignore[assignment]
        torch.testing.assert_close(model(x), steps[1])
    assert ChosenSteps((2,), 4).chosen == (2,)


@pytest.mark.parametrize("readout", ["4", (0, 4), "first", "", (-1,)])
def test_a_step_that_is_none_is_refused(readout, tmp_path):
    path, _ = saved(tmp_path, steps=4)
    with pytest.raises(InvalidSettingError, match=r"time steps out of 0\.\.3"):
        load_checkpoint(path, "imp-vgg6", steps=4, readout=readout)


def test_tet_s_by_hand():
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 5, 4), torch.tensor([0, 1, 2, 3, 0])
    shares = functional.one_hot(labels, 4) * 0.9 + 0.1 / 4
    expected = -(shares * logits.log_softmax(-1)).sum(-1).mean()
    torch.testing.assert_close(
        label_smoothed_temporal_efficient_loss(logits, labels, 0.1), expected
    )
    plain = temporal_efficient_loss(logits, labels, weight=0)
    assert torch.equal(label_smoothed_temporal_efficient_loss(logits, labels, 0), plain)
    assert label_smoothed_temporal_efficient_loss(logits, labels) != plain


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, math.nan])
def test_tet_s_out_of_range(smoothing):
    with pytest.raises(InvalidNetworkError, match="expected 0 to 1"):
        label_smoothed_temporal_efficient_loss(torch.zeros(2, 1, 3), torch.tensor([0]), smoothing)


def test_tet_s_wants_logits_at_every_step():
    with pytest.raises(InvalidNetworkError, match=r"model\.forward_steps"):
        label_smoothed_temporal_efficient_loss(torch.zeros(1, 3), torch.tensor([0]))
