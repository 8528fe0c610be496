"""The published architectures, from checkpoint to a proved network, and some of them on to Lava.

Random weights, with nothing left at a neutral value. The networks are narrow, which
``load_checkpoint`` reads from the shapes; those of the published widths are slow tests.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import trispike
from tests.export.oracle import Array, assert_equal_but_for_rounding
from trispike.api import Conversion
from trispike.errors import InvalidDataError, UnsupportedError
from trispike.network import Conv2d, Identity
from trispike.nn import (
    ARCHITECTURES,
    SpikeModel,
    SpikingNeuron,
    TernarySpike,
    build_model,
    load_checkpoint,
    randomize,
    save_checkpoint,
)
from trispike.nn.models import IMPPlan, Plan, PSNVGGPlan, ResNetPlan, TTFSPlan, VGGPlan
from trispike.nn.models.vgg import Layout

NARROWER = 16
FIRING, EITHER_SIGN = 0.1, 0.03
"""In every population, at least so many of its neurons fire per step, and with each sign."""


def narrow(plan: Plan, by: int = NARROWER) -> Plan:
    """The same layers with fewer channels."""
    if isinstance(plan, ResNetPlan):
        return dataclasses.replace(plan, widths=tuple(width // by for width in plan.widths))
    if isinstance(plan, IMPPlan):
        return dataclasses.replace(plan, layers=narrow(plan.layers, by))
    if isinstance(plan, PSNVGGPlan):
        return PSNVGGPlan(vgg=narrow_vgg(plan.vgg, by))
    if isinstance(plan, TTFSPlan):
        return TTFSPlan(vgg=narrow_vgg(plan.vgg, by))
    return narrow_vgg(plan, by)


def narrow_vgg(plan: VGGPlan, by: int) -> VGGPlan:
    layout: Layout = tuple("M" if item == "M" else item // by for item in plan.layout)
    return dataclasses.replace(plan, layout=layout)


def input_shape(name: str) -> tuple[int, int, int]:
    """Small, but with more than one position in most layers."""
    published = ARCHITECTURES[name].input_shape
    side = 64 if published[1] > 64 else 32
    return published[0], side, side


def random_model(name: str, *, plan: Plan | None = None, **settings: Any) -> SpikeModel:
    entry = ARCHITECTURES[name]
    torch.manual_seed(0)
    model = build_model(
        name, **{"plan": plan or narrow(entry.plan), "input_shape": input_shape(name)} | settings
    )
    randomize(model, seed=1)
    return model.eval()


def random_data(model: SpikeModel, samples: int) -> Array:
    steps = () if model.input_kind == "static" else (model.steps,)
    shape = (samples, *steps, *model.input_shape)
    return np.random.default_rng(2).normal(size=shape).astype(np.float32)


def assert_converts(model: SpikeModel, data: Array) -> Conversion:
    """Convert, and hold everything that comes out against the module itself."""
    conversion = trispike.convert(model, data)
    network, proof = conversion.network, conversion.proof
    assert proof.unexplained_mismatches == 0
    assert proof.samples == proof.predictions_equal == len(data)
    neurons = {n: m for n, m in model.named_modules() if isinstance(m, SpikingNeuron)}
    assert set(network.populations) == {name.removeprefix("model.") for name in neurons}
    assert proof.spikes_compared == len(data) * model.steps * sum(
        population.size for population in network.populations.values()
    )
    # The module alone, in float64: it fires everywhere, and gives the logits that the network
    # gives when it runs freely, without being told what the module fired.
    module = model.double()
    fired: dict[str, tuple[float, float, int]] = {}

    def keep(name: str) -> Any:
        def hook(_: nn.Module, __: Any, y: torch.Tensor) -> None:
            counts = [int((y > 0).sum()), int((y < 0).sum())]
            fired[name] = (counts[0] / y.numel(), counts[1] / y.numel(), sum(counts))

        return hook

    handles = [neuron.register_forward_hook(keep(name)) for name, neuron in neurons.items()]
    with torch.no_grad():
        logits = module(torch.from_numpy(data).double()).numpy()
    for handle in handles:
        handle.remove()
    for name, (positive, negative, _) in fired.items():
        assert positive + negative >= FIRING, name
        assert min(positive, negative) >= EITHER_SIGN or not neurons[name].ternary, name
    assert proof.spikes_fired == sum(count for *_, count in fired.values())
    assert_equal_but_for_rounding(trispike.simulate(network, data).logits, logits)
    assert logits.std() > 0.01
    return conversion


def assert_checkpoint_converts(
    folder: Path, name: str, *, samples: int = 3, suffix: str = ".pth", **settings: Any
) -> Conversion:
    """Save, load with what no file says, convert."""
    saved = random_model(name, **settings)
    path = folder / f"net{suffix}"
    save_checkpoint(saved, path)
    model = load_checkpoint(
        path, name, steps=saved.steps, form=settings.get("form"), input_shape=saved.input_shape
    )
    conversion = assert_converts(model, random_data(model, samples))
    checkpoint = conversion.network.provenance["checkpoint"]
    assert checkpoint["file"] == path.name
    assert checkpoint["architecture"] == name
    assert checkpoint["steps"] == conversion.network.steps == saved.steps
    assert conversion.network.input.shape == saved.input_shape
    return conversion


# --- what the issue asks for --------------------------------------------------------------------

LAYERS = ["vgg11", "resnet19", "resnet20m", "sewresnet34"]


@pytest.mark.parametrize("form", ["static", "dynamic"])
@pytest.mark.parametrize("steps", [2, 4])
@pytest.mark.parametrize("layers", LAYERS)
def test_ctsn(tmp_path, layers, steps, form):
    conversion = assert_checkpoint_converts(tmp_path, f"ctsn-{layers}", steps=steps, form=form)
    assert conversion.network.provenance["checkpoint"]["form"] == form
    retained = {
        float(n.neuron.a_pos) == float(n.neuron.a_neg)
        for n in conversion.network.populations.values()
    }
    assert retained == {form == "dynamic"}


@pytest.mark.parametrize("amplitude", [None, "layer", "channel"])
@pytest.mark.parametrize("steps", [2, 4])
@pytest.mark.parametrize("layers", LAYERS)
def test_ternary_spike(tmp_path, layers, steps, amplitude):
    assert_checkpoint_converts(
        tmp_path, f"ternary-spike-{layers}", steps=steps, amplitude=amplitude, suffix=".safetensors"
    )


# --- the others ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ctsn-vggsnn", {"steps": 4, "form": "dynamic"}),
        ("ternary-spike-vggsnn", {"steps": 2, "amplitude": "channel"}),
        ("ctsn-vggsnn-psn", {"steps": 4}),
        ("ctsn-vgg11", {"steps": 3, "input_kind": "frames", "input_shape": (2, 32, 32)}),
        ("ctsn-vgg16", {"steps": 2}),
        ("ctsn-resnet20", {"steps": 2}),
        ("ternary-spike-resnet32", {"steps": 2, "amplitude": "layer"}),
        ("ctsn-resnet34", {"steps": 2, "form": "dynamic"}),
        ("ternary-spike-resnet34", {"steps": 2, "amplitude": "channel"}),
        ("ctsn-resnet8", {"steps": 1, "input_shape": (1, 8, 8), "plan": None}),
        ("ctsn-resnet19", {"steps": 1}),
        ("ctsn-resnet20m", {"steps": 2, "input_shape": (1, 48, 16), "classes": 7}),
        ("ctsn-resnet19", {"steps": 2, "input_shape": (3, 13, 9)}),
    ],
)
def test_other_architectures_and_settings(tmp_path, name, settings):
    settings = settings | (
        {"plan": narrow(ARCHITECTURES[name].plan, 4)} if "plan" in settings else {}
    )
    conversion = assert_checkpoint_converts(tmp_path, name, **settings)
    frames = ARCHITECTURES[name].input_kind == "frames" or settings.get("input_kind") == "frames"
    assert conversion.network.input.encoding == ("frames" if frames else "direct")


def test_as_many_samples_as_time_steps(tmp_path):
    for steps in (2, 3):
        assert_checkpoint_converts(tmp_path, "ctsn-vggsnn", steps=steps, samples=steps)


@pytest.mark.parametrize(
    ("kind", "shape", "text"),
    [
        ("static", (2, 2, 3, 32, 32), r"32\) for 2 steps, and a module that takes static input"),
        ("frames", (2, 3, 32, 32), r"32\) for 2 steps, and a module that takes frames input"),
        (
            "frames",
            (2, 3, 3, 32, 32),
            r"example_input: got shape \(2, 3, 3, 32, 32\) for 2 steps; ",
        ),
    ],
)
def test_data_of_the_other_kind_are_refused_as_data(kind, shape, text):
    model = random_model("ctsn-vgg11", steps=2, input_kind=kind)
    with pytest.raises(InvalidDataError, match=text):
        trispike.convert(model, np.zeros(shape))


def test_amplitudes_are_in_the_shortcuts():
    model = random_model("ternary-spike-resnet19", steps=2, amplitude="channel")
    network = trispike.convert(model, random_data(model, 2)).network
    shortcuts = [c for c in network.connections if isinstance(c.operator, Identity)]
    assert len(shortcuts) == 3 + 3 + 2 - 2  # every block but the two that change the shape
    for c in shortcuts:
        (source,) = c.sources
        neuron = model.get_submodule(f"model.{source}")
        assert isinstance(neuron, TernarySpike)
        assert np.array_equal(c.operator.weight, neuron.spike_amplitude())


def test_sew_composes_the_real_valued_shortcuts_into_their_readers():
    """A downsampled shortcut has no neuron: what reads it reads the spikes before it, too."""
    model = random_model("ctsn-sewresnet34", steps=2)
    network = trispike.convert(model, random_data(model, 2)).network
    assert len(network.populations) == 1 + 2 * (3 + 4 + 6 + 3)
    reader = {frozenset(c.sources): c for c in network.into("layer2.1.relu1")}
    # Spikes that were added before the pointwise convolution share its weights; those of the stem
    # were pooled before that.
    layer1 = frozenset(f"layer1.{block}.output_act" for block in range(3))
    assert set(reader) == {frozenset({"layer2.0.output_act"}), layer1, frozenset({"relu"})}
    assert (reader[layer1].pool is None) != (reader[frozenset({"relu"})].pool is None)
    operator = reader[layer1].operator
    assert isinstance(operator, Conv2d)
    assert (operator.kernel, operator.stride, operator.dilation) == ((3, 3), (2, 2), (2, 2))
    # The shift of its norm is cut by the zero padding of the reader: one bias per position.
    assert network.populations["layer2.1.relu1"].neuron.bias.shape == (8, 8, 8)


def test_averages_over_part_of_a_window_are_refused():
    """The published downsampling pools with ceil_mode, which matters for odd sizes only."""
    model = random_model("ctsn-resnet20m", steps=2, input_shape=(3, 20, 20))
    text = (
        r"layer 'model\.layer3\.0\.downsample\.0\.pool': got ceil_mode with windows that reach over"
    )
    with pytest.raises(UnsupportedError, match=text):
        trispike.convert(model, random_data(model, 1))


def test_randomize_leaves_no_layer_neutral():
    for name in ("ctsn-vgg11", "ctsn-vggsnn-psn", "ternary-spike-resnet20m"):
        settings: dict[str, Any] = {"amplitude": "channel"} if name.startswith("ternary") else {}
    if name.startswith("imp"):  # whose published threshold untrained weights seldom reach
        settings = {"v_threshold": 0.2}
        model = random_model(name, steps=2, **settings)
        for key, value in model.state_dict().items():
            if not key.endswith("num_batches_tracked"):
                assert not bool((value == 0).any()), key
                assert not bool((value == 1).all()), key


# --- in the published widths --------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ctsn-vgg11", {"steps": 4, "form": "static"}),
        ("ctsn-vgg11", {"steps": 2, "form": "dynamic"}),
        ("ctsn-resnet19", {"steps": 2, "form": "static"}),
        ("ternary-spike-resnet19", {"steps": 4, "amplitude": "channel"}),
        ("ctsn-resnet20m", {"steps": 4, "form": "dynamic"}),
        ("ctsn-sewresnet34", {"steps": 2, "form": "static"}),
        ("ternary-spike-sewresnet34", {"steps": 2, "amplitude": "layer"}),
        ("ctsn-resnet34", {"steps": 2, "form": "static"}),
        ("ctsn-vggsnn-psn", {"steps": 4}),
        ("ctsn-vggsnn", {"steps": 4, "form": "dynamic"}),
    ],
)
def test_published_widths(tmp_path, name, settings):
    entry = ARCHITECTURES[name]
    assert_checkpoint_converts(
        tmp_path, name, plan=entry.plan, input_shape=entry.input_shape, samples=2, **settings
    )


# --- and on to integers and Lava ----------------------------------------------------------------


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_has_an_integer_network(name):
    """How well it agrees is for other tests; here it exists, fires, and never saturates."""
    settings: dict[str, Any] = {"amplitude": "channel"} if name.startswith("ternary") else {}
    if name.startswith("imp"):  # whose published threshold untrained weights seldom reach
        settings = {"v_threshold": 0.2}
    model = random_model(name, steps=2, **settings)
    data = random_data(model, 2)
    quantization = trispike.quantize(trispike.convert(model, data).network, data)
    result = trispike.simulate(quantization.network, data, strict=True)
    assert result.logits.dtype == np.int64
    for population, counts in result.ledger.populations.items():
        assert counts.spikes_positive.sum() > 0, population
        binary = name.startswith(("lif-", "ttfs-", "imp-"))
        assert (counts.spikes_negative.sum() > 0) == (not binary), population
        assert counts.saturations.sum() == 0, population


SMALL: dict[str, tuple[str, Plan, dict[str, Any]]] = {
    "SEW addition, real-valued shortcuts": (
        "ctsn-sewresnet34",
        ResNetPlan(stem="conv7x7", blocks=(1, 2), widths=(4, 8), downsample="conv", spike_sum=True),
        {"steps": 3, "input_shape": (3, 32, 32)},
    ),
    "SEW addition, amplitudes": (
        "ternary-spike-sewresnet34",
        ResNetPlan(stem="conv7x7", blocks=(1, 2), widths=(4, 8), downsample="conv", spike_sum=True),
        {"steps": 2, "input_shape": (3, 32, 32), "amplitude": "channel"},
    ),
    "pooled shortcuts, three convolutions in the stem": (
        "ctsn-resnet20m",
        ResNetPlan(stem="three-conv3x3", blocks=(1, 1), widths=(4, 8), downsample="pool"),
        {"steps": 4, "input_shape": (3, 16, 16)},
    ),
    "frames, dynamic form": (
        "ctsn-vggsnn",
        VGGPlan(layout=(4, 8, "M", 8, "M"), global_pool=False),
        {"steps": 4, "input_shape": (2, 12, 12), "form": "dynamic"},
    ),
    "initial potentials, soft reset, chosen steps": (
        "imp-vgg6",
        IMPPlan(layers=VGGPlan(layout=(4, "M", 8), global_pool=True)),
        {"steps": 4, "input_shape": (1, 8, 8), "readout": (1, 3), "v_threshold": 0.3},
    ),
    "initial potentials of channels, hard reset, SEW addition": (
        "imp-sewresnet18-cifar",
        IMPPlan(layers=ResNetPlan(stem="conv3x3", blocks=(1, 1), widths=(4, 8), downsample="conv")),
        {
            "steps": 3,
            "input_shape": (3, 8, 8),
            "initial": "channel",
            "readout": "last",
            "v_threshold": 0.4,
        },
    ),
    "initial potentials, strict, gains per time step": (
        "imp-vgg6-legacy",
        IMPPlan(layers=VGGPlan(layout=(4, "M", 8), global_pool=False), legacy=True),
        {"steps": 4, "input_shape": (2, 8, 8), "input_kind": "frames", "v_threshold": 0.4},
    ),
}


@pytest.mark.parametrize("case", SMALL)
def test_lava_equals_the_reference(case):
    pytest.importorskip("lava", reason="Lava is not installed")
    name, plan, settings = SMALL[case]
    model = random_model(name, plan=plan, **settings)
    data = random_data(model, 5)
    network = trispike.quantize(assert_converts(model, data).network, data).network
    certificate = trispike.verify(network, data, engines=("reference", "lava"))
    assert certificate.equal
    assert certificate.samples == 5
    assert certificate.populations == len(network.populations)
