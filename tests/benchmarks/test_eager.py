"""The formulation written from equations computes what the modules of trispike.nn compute."""

from typing import Any

import pytest
import torch

from benchmarks.case import Recipe
from benchmarks.eager import EagerNetwork, eager_neuron
from benchmarks.others import snntorch_neuron, spikingjelly_neuron
from trispike.errors import UnsupportedError
from trispike.nn import CTSN, LIF, SpikeModel, TernarySpike, build_model, randomize

NARROW = (4, 6, 8)
SHAPES = {"vgg6": (2, 1, 12, 12), "resnet8": (2, 1, 8, 8), "resnet19": (2, 3, 16, 16)}


def networks(arch: str) -> tuple[SpikeModel, torch.Tensor]:
    """The module and its eager formulation, in float64, and images."""
    layers = arch.rpartition("-")[2]
    model = Recipe(arch=arch, steps=3, widths=None if layers == "vgg6" else NARROW).build()
    randomize(model)
    torch.manual_seed(0)
    return model.double(), 2 * torch.randn(SHAPES[layers], dtype=torch.float64)


@pytest.mark.parametrize(
    "arch",
    ["ctsn-resnet8", "ctsn-resnet19", "ctsn-vgg6", "ternary-spike-resnet19", "lif-resnet19"],
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_eager_formulation_equals_the_module(arch, layout):
    model, images = networks(arch)
    eager: Any = EagerNetwork(model)
    eager.to(memory_format=layout)
    with torch.no_grad():
        expected = model(images)
    assert expected.std() > 1e-3
    torch.testing.assert_close(eager(images.to(memory_format=layout)), expected)


@pytest.mark.parametrize("neuron", [CTSN(), TernarySpike(), LIF()])
def test_eager_neurons_fire_alike(neuron):
    torch.manual_seed(1)
    for parameter in neuron.parameters():
        torch.nn.init.uniform_(parameter, -2, 2)
    x = 2 * torch.randn(4, 5, 3, 2, 2, dtype=torch.float64)
    eager: Any = eager_neuron(neuron)
    eager.steps = 4
    with torch.no_grad():
        spikes = eager(x.flatten(0, 1)).unflatten(0, (4, 5))
        assert torch.equal(spikes, neuron(x))
    assert 0.1 < spikes.abs().mean() < 0.9


def test_snntorch_computes_the_same_network():
    pytest.importorskip("snntorch")
    model, images = networks("lif-resnet19")
    model, images = model.float(), images.float()  # snnTorch's spikes are float32
    theirs = EagerNetwork(model, snntorch_neuron)
    with torch.no_grad():
        torch.testing.assert_close(theirs(images), model(images))


@pytest.mark.parametrize("arch", ["lif-resnet19", "ternary-spike-resnet19"])
def test_spikingjelly_computes_the_same_network(arch):
    pytest.importorskip("spikingjelly")
    model, images = networks(arch)
    theirs = EagerNetwork(model, spikingjelly_neuron)
    with torch.no_grad():
        torch.testing.assert_close(theirs(images), model(images))


def test_snntorch_cannot_express_ternary_neurons():
    pytest.importorskip("snntorch")
    for neuron in (CTSN(), TernarySpike()):
        with pytest.raises(UnsupportedError, match=f"snnTorch: got {type(neuron).__name__}"):
            snntorch_neuron(neuron)


def test_spikingjelly_cannot_express_ctsn():
    pytest.importorskip("spikingjelly")
    with pytest.raises(UnsupportedError, match="SpikingJelly: got CTSN"):
        spikingjelly_neuron(CTSN())


def test_lif_resnet_has_the_layers_of_the_published_one():
    ours = Recipe(arch="lif-resnet19", steps=4).build()
    published = build_model("ctsn-resnet19", steps=4)
    shapes = {key: value.shape for key, value in published.state_dict().items() if value.dim()}
    assert {key: value.shape for key, value in ours.state_dict().items() if value.dim()} == shapes
