"""Networks of several kinds of neurons: built, saved, loaded, converted, equal on every engine."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

import trispike
from trispike.errors import CheckpointError, InvalidNetworkError
from trispike.nn import (
    ARCHITECTURES,
    CTSN,
    LIF,
    SpikingNeuron,
    TernarySpike,
    build_model,
    load_checkpoint,
    randomize,
    save_checkpoint,
)
from trispike.nn.models import ResNetPlan, neuron_layers
from trispike.runtime.verify import verify

KINDS = ("lif", "ctsn", "ternary-spike", "lif", "ctsn", "lif", "ternary-spike")
CLASSES = {"lif": LIF, "ctsn": CTSN, "ternary-spike": TernarySpike}
ARCH = "ctsn-resnet8"


def model(kinds: Any = KINDS, **settings: Any) -> Any:
    plan = ARCHITECTURES[ARCH].plan
    assert isinstance(plan, ResNetPlan)
    torch.manual_seed(0)
    narrow = dataclasses.replace(plan, widths=(4, 6, 8))
    net = build_model(ARCH, steps=3, plan=narrow, neurons=kinds, **settings)
    randomize(net, seed=1)
    return net.eval()


def images(samples: int) -> Any:
    return np.random.default_rng(0).normal(size=(samples, 1, 8, 8)).astype(np.float32)


@pytest.mark.parametrize("name", ["ctsn-resnet8", "ctsn-resnet20m", "ctsn-vgg6", "ttfs-vgg11",
                                  "ctsn-vggsnn-psn"])  # fmt: skip
def test_the_layers_of_neurons_are_counted(small, name):
    net = small(name)
    layers = sum(isinstance(module, SpikingNeuron) for module in net.modules())
    assert neuron_layers(net.model.plan) == layers


@pytest.mark.parametrize("amplitude", [None, "channel"])
def test_every_layer_has_its_kind_in_the_order_of_the_forward_pass(amplitude):
    net, ran = model(amplitude=amplitude), []
    for module in net.modules():
        if isinstance(module, SpikingNeuron):
            module.register_forward_hook(lambda m, *_: ran.append(type(m)))
    with torch.no_grad():
        net(torch.from_numpy(images(1)))
    assert ran == [CLASSES[kind] for kind in KINDS]


@pytest.mark.parametrize("amplitude", [None, "layer", "channel"])
def test_a_checkpoint_is_loaded_with_the_kinds_that_the_user_names(amplitude, tmp_path):
    net = model(amplitude=amplitude)
    save_checkpoint(net, tmp_path / "net.pth")
    loaded = load_checkpoint(tmp_path / "net.pth", ARCH, steps=3, neurons=KINDS)
    x = torch.from_numpy(images(2))
    with torch.no_grad():
        assert torch.equal(loaded(x), net(x))
    assert loaded.provenance is not None
    assert loaded.provenance.neurons == ",".join(KINDS)


def test_a_mixed_checkpoint_without_kinds_says_what_may_be_wrong(tmp_path):
    save_checkpoint(model(), tmp_path / "net.pth")
    text = r"15 missing keys: .*model\.relu\.alpha.* and the kinds of its neurons"
    with pytest.raises(CheckpointError, match=text):
        load_checkpoint(tmp_path / "net.pth", ARCH, steps=3)
    wrong = ("lif", "lif", *KINDS[2:])
    with pytest.raises(CheckpointError, match=r"3 surplus keys: model\.\S+\.alpha"):
        load_checkpoint(tmp_path / "net.pth", ARCH, steps=3, neurons=wrong)


@pytest.mark.parametrize(
    ("kinds", "text"),
    [
        (KINDS[:-1], "got 6 kinds; expected 7 out of ctsn, ternary-spike, lif"),
        ((*KINDS[:-1], "ttfs"), "got unknown kinds ttfs; expected 7"),
        ((), "got 0 kinds"),
    ],
)
def test_wrong_kinds_are_refused(kinds, text):
    with pytest.raises(InvalidNetworkError, match=f"{ARCH}', neurons by layer: {text}"):
        model(kinds)


def test_settings_that_no_layer_has_are_refused():
    with pytest.raises(InvalidNetworkError, match="got form='dynamic'"):
        model(("lif",) * 7, form="dynamic")
    with pytest.raises(InvalidNetworkError, match="got amplitude='layer'"):
        model(("lif", "ctsn") * 3 + ("lif",), amplitude="layer")


def test_binary_and_ternary_populations_in_one_network_on_every_engine():
    net = model(amplitude="channel")
    conversion = trispike.convert(net, images(3))
    assert conversion.proof.unexplained_mismatches == 0
    neurons = [p.neuron for p in conversion.network.populations.values()]
    assert [bool(np.isinf(n.th_neg).all()) for n in neurons] == [k == "lif" for k in KINDS]
    integer = trispike.quantize(conversion.network, images(16)).network
    engines = ["reference", "fast"]
    for engine, package in (("onnx", "onnxruntime"), ("lava", "lava")):
        try:
            __import__(package)
        except ImportError:
            continue
        engines.append(engine)
    certificate = verify(integer, images(2), engines=engines)
    assert certificate.equal, certificate.first_difference
    run = trispike.simulate(integer, images(16))
    for kind, (name, counts) in zip(KINDS, run.ledger.populations.items(), strict=True):
        assert counts.spikes_positive.sum() > 0, name
        assert (counts.spikes_negative.sum() > 0) == (kind != "lif"), name
