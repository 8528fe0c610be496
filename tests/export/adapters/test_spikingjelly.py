"""SpikingJelly's neurons, run by SpikingJelly and by the network they become (`make interop`)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import trispike
from tests.export.adapters.runs import Array, assert_deploys, assert_fires
from trispike.errors import UnsupportedError
from trispike.export import trace

pytest.importorskip("spikingjelly")
from spikingjelly.activation_based import functional, layer, neuron, surrogate

STEPS = 100


def frames(samples: int, steps: int, *shape: int) -> Array:
    return np.random.default_rng(0).normal(size=(samples, steps, *shape))


def started_at(node: Any, potential: float) -> Any:
    node.set_reset_value("v", potential)
    node.reset()
    return node


NEURONS: dict[str, Any] = {
    "IF, hard": neuron.IFNode,
    "IF, hard to another potential": lambda **o: neuron.IFNode(v_reset=-0.5, **o),
    "IF, hard to above zero": lambda **o: neuron.IFNode(v_threshold=2.0, v_reset=0.5, **o),
    "IF, soft": lambda **o: neuron.IFNode(v_reset=None, **o),
    "IF, started elsewhere": lambda **o: started_at(neuron.IFNode(v_reset=-0.5, **o), 0.25),
    "PLIF, hard": lambda **o: neuron.ParametricLIFNode(init_tau=1.7, **o),
    "PLIF, soft, undecayed input": lambda **o: neuron.ParametricLIFNode(
        init_tau=3.0, decay_input=False, v_reset=None, **o
    ),
    "LIF, another surrogate": lambda **o: neuron.LIFNode(
        v_threshold=0.5, surrogate_function=surrogate.ATan(), **o
    ),
    "LIF, stored potentials": lambda **o: neuron.LIFNode(v_threshold=0.5, store_v_seq=True, **o),
}
for _decay in (True, False):
    for _reset in (None, 0.0, -0.4):
        NEURONS[f"LIF, decay_input={_decay}, v_reset={_reset}"] = (
            lambda decay=_decay, reset=_reset, **o: neuron.LIFNode(
                tau=3.0, decay_input=decay, v_threshold=0.6, v_reset=reset, **o
            )
        )


@pytest.mark.parametrize("mode", ["s", "m"])
@pytest.mark.parametrize("name", NEURONS)
def test_every_accepted_setting_over_100_steps(name, mode):
    torch.manual_seed(3)
    node = NEURONS[name](step_mode=mode)
    module = nn.Sequential(layer.Linear(4, 6, step_mode=mode), node).double()
    data = 3 * frames(5, STEPS, 4)
    conversion = trispike.convert(module, data, steps=STEPS, encoding="frames")
    assert conversion.proof.spike_mismatches == 0
    functional.reset_net(module)
    x = torch.from_numpy(data).transpose(0, 1)
    with torch.no_grad():
        spikes = module(x) if mode == "m" else torch.stack([module(frame) for frame in x])
    assert_fires(conversion.network, "1", data, spikes.numpy().astype(int))


def convolutional(mode: str, reset: float | None, seed: int = 1) -> Any:
    """Three layers of neurons with all wrapped layers that fold."""
    torch.manual_seed(seed)
    module = nn.Sequential(
        layer.Conv2d(1, 4, 3, padding=1, bias=False),
        layer.BatchNorm2d(4),
        neuron.LIFNode(tau=2.0, v_reset=reset, v_threshold=0.5),
        layer.AvgPool2d(2, 2),
        layer.Conv2d(4, 6, 3, padding=1),
        layer.BatchNorm2d(6),
        neuron.ParametricLIFNode(init_tau=3.0, v_reset=reset, v_threshold=0.2),
        layer.AdaptiveAvgPool2d(2),
        layer.Flatten(),
        layer.Dropout(0.5),
        layer.Linear(24, 20),
        neuron.IFNode(v_reset=reset),
        layer.VotingLayer(2),
    )
    functional.set_step_mode(module, mode)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                assert part.running_mean is not None
                assert part.running_var is not None
                part.running_mean.uniform_(-0.2, 0.2)
                part.running_var.uniform_(0.5, 1.5)
                part.weight.uniform_(0.5, 1.5)
                part.bias.uniform_(-0.2, 0.5)
            elif isinstance(part, (nn.Linear, nn.Conv2d)):
                part.weight.mul_(2)
    return module.eval()


def outputs_of(module: Any, x: Tensor) -> dict[str, Array]:
    """What the neurons fire when a multi-step module gets (T, N, ...), by their path."""
    module, kept = module.double(), {}
    for path, part in module.named_modules():
        if isinstance(part, neuron.BaseNode):
            part.register_forward_hook(lambda _m, _i, y, path=path: kept.update({path: y}))
    functional.reset_net(module)
    with torch.no_grad():
        module(x)
    return {path: y.numpy().astype(int) for path, y in kept.items()}


@pytest.mark.parametrize("encoding", ["direct", "frames"])
@pytest.mark.parametrize("mode", ["s", "m"])
@pytest.mark.parametrize("reset", [0.0, None, -0.3])
def test_a_convolutional_network_of_three_layers(reset, mode, encoding):
    data = frames(3, 12, 1, 8, 8)
    data = data if encoding == "frames" else data[:, 0]
    conversion = trispike.convert(convolutional(mode, reset), data, steps=12)
    assert conversion.network.input.encoding == encoding
    assert conversion.proof.spike_mismatches == 0
    x = torch.from_numpy(data)
    x = x.transpose(0, 1) if encoding == "frames" else x.repeat(12, 1, 1, 1, 1)
    expected = outputs_of(convolutional("m", reset), x)
    assert list(expected) == ["2", "6", "11"]
    for name, spikes in expected.items():
        assert_fires(conversion.network, name, data, spikes)


@pytest.mark.parametrize("reset", [0.0, None])
def test_a_convolutional_network_on_every_engine(reset):
    data = frames(4, 1, 1, 8, 8)[:, 0]
    assert_deploys(trispike.convert(convolutional("m", reset), data, steps=4).network, data)


class Own(nn.Module):
    """A module with a forward of its own."""

    def __init__(self, net: nn.Module, forward: Any) -> None:
        super().__init__()
        self.net = net
        self.written = forward

    def forward(self, x: Tensor) -> Any:
        return self.written(self.net, x)


def looped(net: Any, x: Tensor) -> Any:
    total: Any = 0.0
    for _ in range(12):
        total = total + net(x)
    return total / 12


def with_reset(net: Any, x: Tensor) -> Any:
    functional.reset_net(net)
    return net(x.unsqueeze(0).repeat(12, 1, 1, 1, 1)).mean(0)


def by_function(net: Any, x: Tensor) -> Any:
    return functional.multi_step_forward(x.unsqueeze(0).repeat(12, 1, 1, 1, 1), net)


FORWARDS: dict[str, tuple[str, Any]] = {
    "a loop that adds up": ("s", looped),
    "a sequence, after a reset": ("m", with_reset),
    "functional.multi_step_forward": ("s", by_function),
    "one step": ("s", lambda net, x: net(x)),
    "time first": ("m", lambda net, x: net(x)),
}


@pytest.mark.parametrize("name", FORWARDS)
def test_forwards_of_the_users_own(name):
    mode, forward = FORWARDS[name]
    module = Own(convolutional(mode, 0.0), forward)
    conversion = trispike.convert(module, frames(3, 1, 1, 8, 8)[:, 0], steps=12)
    assert conversion.proof.spike_mismatches == 0
    assert list(conversion.network.populations) == ["net.2", "net.6", "net.11"]


def test_containers():
    torch.manual_seed(0)
    module = nn.Sequential(
        layer.SeqToANNContainer(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)),
        neuron.LIFNode(v_threshold=0.3, step_mode="m"),
        layer.StepModeContainer(False, "m", nn.AvgPool2d(2), nn.Flatten()),
        layer.MultiStepContainer(nn.Linear(64, 10), neuron.LIFNode(v_threshold=0.2)),
    )
    conversion = trispike.convert(module, frames(3, 1, 1, 8, 8)[:, 0], steps=12)
    assert conversion.proof.spike_mismatches == 0
    assert conversion.proof.spikes_fired > 100
    assert list(conversion.network.populations) == ["1", "3.1"]


def test_a_module_that_was_trained_is_left_as_it_is():
    module = nn.Sequential(layer.Linear(4, 6), neuron.LIFNode(v_threshold=0.3)).double()
    module(torch.ones(7, 4, dtype=torch.float64))
    before = module[1].v
    conversion = trispike.convert(module, frames(5, 10, 4), steps=10, encoding="frames")
    assert conversion.proof.spike_mismatches == 0
    assert module[1].v is before
    assert before.grad_fn is not None


# --- refused by name ----------------------------------------------------------------------------


class Changed(neuron.LIFNode):  # type: ignore[misc]
    """Another neuron by the name of a supported one."""

    def single_step_functional_forward(self, inputs: Any, states: Any, **kwargs: Any) -> Any:
        return super().single_step_functional_forward((inputs[0] * 2,), states)


REFUSED: dict[str, tuple[Any, str]] = {
    "another neuron": (
        lambda: neuron.QIFNode(step_mode="m"),
        r"neuron '1' \(QIFNode\): got SpikingJelly's QIFNode; expected IFNode, LIFNode or Param",
    ),
    "a neuron derived from another": (
        lambda: Changed(step_mode="m"),
        "got SpikingJelly's Changed, which changes the dynamics of LIFNode; expected IFNode",
    ),
    "a module with memory": (
        lambda: layer.SynapseFilter(step_mode="m"),
        r"neuron '1' \(SynapseFilter\): got SpikingJelly's SynapseFilter; expected IFNode",
    ),
    "a threshold below the reset": (
        lambda: neuron.IFNode(v_threshold=1.0, v_reset=1.0, step_mode="m"),
        r"\(IFNode\): got v_threshold 1 with v_reset 1; expected a threshold above the potential",
    ),
    "a threshold of zero": (
        lambda: neuron.LIFNode(v_threshold=0.0, v_reset=None, step_mode="m"),
        r"\(LIFNode\): got v_threshold 0 with a soft reset; expected a threshold above",
    ),
    "an output that is no spike": (
        lambda: neuron.IFNode(surrogate_function=surrogate.Sigmoid(spiking=False), step_mode="m"),
        r"\(IFNode\): got Sigmoid that puts out .*Use a surrogate function with spiking=True",
    ),
    "a start per neuron": (
        lambda: started_at(neuron.IFNode(step_mode="m"), torch.zeros(6)),
        r"\(IFNode\): got a Tensor as the potential after reset\(\); expected one number",
    ),
    "a neuron in single-step mode": (
        neuron.IFNode,
        r"neuron '1' \(IFNode\): got an input with axes \(T, N, C\); expected one time step.*'m'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name):
    make, text = REFUSED[name]
    module = nn.Sequential(layer.Linear(4, 6, step_mode="m"), make())
    with pytest.raises(UnsupportedError, match=text):
        trace(module, (4,), steps=5, encoding="frames", takes="sequence")


def test_max_pooling_is_refused_whatever_a_call_takes():
    module = convolutional("m", 0.0)
    module[3] = layer.MaxPool2d(2, step_mode="m")
    with pytest.raises(UnsupportedError, match=r"max_pool2d.*Max pooling of spikes is not linear"):
        trispike.convert(module, frames(2, 1, 1, 8, 8)[:, 0], steps=4)
