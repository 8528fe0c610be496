"""snnTorch's neurons, run by snnTorch and by the network they become."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import trispike
from tests.export.adapters.runs import Array, assert_deploys, assert_fires
from trispike.errors import InvalidSettingError, UnsupportedError
from trispike.export import prove, trace

snn = pytest.importorskip("snntorch")
surrogate = pytest.importorskip("snntorch.surrogate")
utils = pytest.importorskip("snntorch.utils")

STEPS = 100
FEATURES = 6


def frames(samples: int = 5, steps: int = STEPS, *shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=(samples, steps, *(shape or (4,))))


def vector(low: float, high: float) -> Tensor:
    return torch.linspace(low, high, FEATURES)


NEURONS: dict[str, Any] = {
    "Leaky, subtract": lambda **o: snn.Leaky(0.9, **o),
    "Leaky, zero": lambda **o: snn.Leaky(0.9, reset_mechanism="zero", **o),
    "Leaky, zero, no delay": lambda **o: snn.Leaky(
        0.9, reset_mechanism="zero", reset_delay=False, **o
    ),
    "Leaky, none": lambda **o: snn.Leaky(0.6, reset_mechanism="none", **o),
    "Leaky, none, no delay": lambda **o: snn.Leaky(
        0.6, reset_mechanism="none", reset_delay=False, **o
    ),
    "Leaky, without leak": lambda **o: snn.Leaky(1.0, threshold=1.5, **o),
    "Leaky, only leak": lambda **o: snn.Leaky(0.0, threshold=0.5, **o),
    "Leaky, beta out of range": lambda **o: snn.Leaky(1.5, **o),
    "Leaky, trained per neuron": lambda **o: snn.Leaky(
        vector(0.3, 0.95),
        threshold=vector(0.5, 1.5),
        learn_beta=True,
        learn_threshold=True,
        **o,
    ),
    "Leaky, graded": lambda **o: snn.Leaky(0.8, graded_spikes_factor=0.3, **o),
    "Leaky, another surrogate": lambda **o: snn.Leaky(
        0.8, spike_grad=surrogate.fast_sigmoid(slope=25), **o
    ),
    "Leaky, without surrogate": lambda **o: snn.Leaky(0.8, surrogate_disable=True, **o),
    "Synaptic, subtract": lambda **o: snn.Synaptic(0.7, 0.85, **o),
    "Synaptic, without current": lambda **o: snn.Synaptic(0.0, 0.85, **o),
    "Synaptic, none": lambda **o: snn.Synaptic(0.7, 0.6, reset_mechanism="none", **o),
    "Synaptic, zero, no delay": lambda **o: snn.Synaptic(
        0.7, 0.85, reset_mechanism="zero", reset_delay=False, **o
    ),
    "Synaptic, trained per neuron": lambda **o: snn.Synaptic(
        vector(0.2, 0.9), vector(0.5, 0.95), learn_alpha=True, learn_beta=True, **o
    ),
    "RLeaky, Linear": lambda **o: snn.RLeaky(0.8, linear_features=FEATURES, **o),
    "RLeaky, one to one": lambda **o: snn.RLeaky(0.8, V=-0.5, all_to_all=False, **o),
    "RLeaky, one to one per neuron": lambda **o: snn.RLeaky(
        0.8, V=vector(-1, 0.5), all_to_all=False, **o
    ),
    "RLeaky, none": lambda **o: snn.RLeaky(
        0.5, linear_features=FEATURES, reset_mechanism="none", **o
    ),
    "RLeaky, zero, no delay": lambda **o: snn.RLeaky(
        0.8, linear_features=FEATURES, reset_mechanism="zero", reset_delay=False, **o
    ),
}


def layer_of(neuron: Any, bias: bool = True) -> Any:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, FEATURES, bias=bias), neuron).double()


def by_snntorch(module: Any, data: Array) -> Array:
    """Spikes of a Linear layer and a neuron, (T, N, features), in units of their size."""
    linear, neuron = copy.deepcopy(module)
    neuron.reset_mem()
    # In its own float32, a recurrent layer in float64 would refuse the spikes.
    del neuron.spike_grad
    neuron.spike_grad = lambda above: (above > 0).double()
    spikes = []
    with torch.no_grad():
        for frame in torch.from_numpy(data).transpose(0, 1):
            out = neuron(linear(frame))
            spikes.append((out if isinstance(out, Tensor) else out[0]).numpy())
    return np.rint(np.stack(spikes) / float(neuron.graded_spikes_factor)).astype(int)


@pytest.mark.parametrize("hidden", [False, True], ids=["states", "init_hidden"])
@pytest.mark.parametrize("name", NEURONS)
def test_every_accepted_setting_over_100_steps(name, hidden):
    module = layer_of(NEURONS[name](init_hidden=hidden))
    data = frames()
    conversion = trispike.convert(module, data, steps=STEPS, encoding="frames")
    assert conversion.proof.spike_mismatches == 0
    assert_fires(conversion.network, "1", data, by_snntorch(module, data))


def test_it_fires_above_the_threshold_only_and_resets_by_having_been_above_it():
    """Potentials on a grid lie on the threshold often."""
    module = layer_of(snn.Leaky(0.5))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_((parameter * 8).round() / 4)
    data = np.rint(frames(40, 6))
    conversion = trispike.convert(module, data, steps=6, encoding="frames")
    assert_fires(conversion.network, "1", data, by_snntorch(module, data))


class Looped(nn.Module):
    """The usual forward of snnTorch's tutorials, of three layers."""

    def __init__(self, neurons: Any, returned: Any, steps: int = 20) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.steps = steps
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1)
        self.lif1 = neurons()
        self.conv2 = nn.Conv2d(4, 6, 3)
        self.norm2 = nn.BatchNorm2d(6)
        self.lif2 = neurons()
        self.fc = nn.Linear(54, 10)
        self.lif3 = neurons()
        self.returned = returned
        with torch.no_grad():
            for parameter in self.parameters():
                if parameter.ndim > 1:
                    parameter.mul_(2.5)

    def forward(self, x: Tensor) -> Any:
        mem1 = self.lif1.init_leaky()
        mem2 = self.lif2.reset_mem()
        mem3 = self.lif3.reset_mem()
        spikes, potentials = [], []
        for step in range(self.steps):
            frame = x if x.ndim == 4 else x[:, step]
            spk1, mem1 = self.lif1(self.conv1(frame), mem1)
            spk1 = nn.functional.avg_pool2d(spk1, 2)
            spk2, mem2 = self.lif2(self.norm2(self.conv2(spk1)), mem=mem2)
            spk3, mem3 = self.lif3(self.fc(spk2.flatten(1)), mem3.detach())
            spikes.append(spk3)
            potentials.append(mem3)
        return self.returned(spikes, potentials)


RETURNED: dict[str, Any] = {
    "stacked": lambda s, m: torch.stack(s),
    "stacked behind the samples": lambda s, m: torch.stack(s, dim=1),
    "spikes and potentials": lambda s, m: (torch.stack(s, dim=0), torch.stack(m, dim=0)),
    "sum of the stack": lambda s, m: torch.stack(s).sum(0),
    "sum": lambda s, m: sum(s),
    "mean": lambda s, m: sum(s) / len(s),
    "the last": lambda s, m: s[-1],
    "the last of the stack, with the last potential": lambda s, m: (torch.stack(s)[-1], m[-1]),
}


def by_layers(module: Looped, data: Array) -> list[Array]:
    """Spikes of the three layers, (T, N, ...), with snnTorch's float32 spikes made float64."""
    module = module.double().eval()
    states = [lif.reset_mem() for lif in (module.lif1, module.lif2, module.lif3)]
    result: list[list[Any]] = [[], [], []]
    x = torch.from_numpy(data)
    with torch.no_grad():
        for step in range(module.steps):
            current = module.conv1(x if x.ndim == 4 else x[:, step])
            spk1, states[0] = module.lif1(current, states[0])
            pooled = nn.functional.avg_pool2d(spk1.double(), 2)
            spk2, states[1] = module.lif2(module.norm2(module.conv2(pooled)), states[1])
            spk3, states[2] = module.lif3(module.fc(spk2.double().flatten(1)), states[2])
            for kept, spikes in zip(result, (spk1, spk2, spk3), strict=True):
                kept.append(spikes.numpy())
    return [np.stack(kept) for kept in result]


@pytest.mark.parametrize("encoding", ["direct", "frames"])
@pytest.mark.parametrize("mechanism", ["subtract", "zero"])
def test_a_network_of_three_layers(mechanism, encoding):
    module = Looped(
        lambda: snn.Leaky(0.8, threshold=0.6, reset_mechanism=mechanism), RETURNED["stacked"]
    )
    shape = (1, 10, 10)
    data = frames(3, 20, *shape) if encoding == "frames" else frames(3, 1, *shape)[:, 0]
    conversion = trispike.convert(module, data, steps=20)
    assert conversion.network.input.encoding == encoding
    assert conversion.proof.spike_mismatches == 0
    for name, expected in zip(("lif1", "lif2", "lif3"), by_layers(module, data), strict=True):
        assert_fires(conversion.network, name, data, expected)


@pytest.mark.parametrize("mechanism", ["subtract", "zero"])
def test_a_network_of_three_layers_on_every_engine(mechanism):
    module = Looped(
        lambda: snn.Leaky(0.8, threshold=0.6, reset_mechanism=mechanism), RETURNED["mean"], steps=4
    )
    data = frames(4, 1, 1, 10, 10)[:, 0]
    assert_deploys(trispike.convert(module, data, steps=4).network, data)


@pytest.mark.parametrize("name", ["Synaptic, subtract", "RLeaky, Linear"])
def test_currents_and_recurrence_on_every_engine(name):
    data = frames(4, 5)
    module = layer_of(NEURONS[name]())
    network = trispike.convert(module, data, steps=5, encoding="frames").network
    assert_deploys(network, data)


@pytest.mark.parametrize("name", RETURNED)
def test_what_a_loop_may_return(name):
    module = Looped(lambda: snn.Leaky(0.8), RETURNED[name], steps=5)
    conversion = trispike.convert(module, frames(3, 1, 1, 10, 10)[:, 0], steps=5)
    weights = conversion.network.readout.weights
    expected = {"sum": np.ones(5), "sum of the stack": np.ones(5)}.get(name, np.full(5, 0.2))
    if "last" in name:
        expected = np.eye(5)[-1]
    # What divides by T may be in the weights of the readout's connection as well.
    assert np.ptp(weights) == np.ptp(expected)
    assert conversion.proof.logit_tolerance > conversion.proof.largest_logit_difference


def test_recurrent_convolutions_and_leaks_per_channel():
    torch.manual_seed(2)
    leaks = torch.tensor([0.3, 0.6, 0.9]).reshape(3, 1, 1)
    module = nn.Sequential(
        nn.Conv2d(1, 3, 3),
        snn.RLeaky(0.7, conv2d_channels=3, kernel_size=3, threshold=0.4, init_hidden=True),
        nn.AvgPool2d(2),
        nn.Conv2d(3, 3, 1),
        snn.Leaky(leaks, threshold=leaks, init_hidden=True),
        nn.Flatten(),
        nn.Linear(12, 2),
    )
    data = 2 * frames(4, STEPS, 1, 6, 6)
    conversion = trispike.convert(module, data, steps=STEPS)
    assert conversion.proof.spike_mismatches == 0
    assert conversion.proof.spikes_fired > 1000
    neuron = conversion.network.populations["4"].neuron
    np.testing.assert_array_equal(neuron.b_pos, leaks.double().numpy())
    module = module.double()
    lif: Any
    for lif in (module[1], module[4]):
        del lif.spike_grad
        lif.spike_grad = lambda above: (above > 0).double()
    kept: list[Any] = []
    module[4].register_forward_hook(lambda _module, _given, spikes: kept.append(spikes.numpy()))
    with torch.no_grad():
        for frame in torch.from_numpy(data).transpose(0, 1):
            module(frame)
    assert_fires(conversion.network, "4", data, np.stack(kept))


def test_what_a_call_takes_has_three_names():
    with pytest.raises(InvalidSettingError, match="takes: got 'time'; expected one of batch, seq"):
        trace(layer_of(snn.Leaky(0.9)), (4,), steps=5, takes="time")


def test_a_single_step_network_is_called_for_every_step():
    """As nn.Sequential, the last neuron with output=True, the loop being the user's."""
    torch.manual_seed(1)
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        snn.Leaky(0.8, init_hidden=True),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(36, 12),
        snn.Synaptic(0.5, 0.8, init_hidden=True),
        nn.Linear(12, 4),
        snn.RLeaky(0.9, linear_features=4, init_hidden=True, output=True),
    )
    data = 2 * frames(3, 1, 1, 8, 8)[:, 0]
    conversion = trispike.convert(module, data, steps=9)
    assert conversion.proof.spike_mismatches == 0
    assert conversion.proof.spikes_fired > 500
    assert conversion.proof.spikes_compared == 3 * 9 * (144 + 12 + 4)
    assert list(conversion.network.populations) == ["1", "5.bias", "5", "7"]


def test_a_module_that_was_trained_is_left_as_it_is():
    """Its states belong to a graph, and there is one state for every sample of its last batch."""
    module = layer_of(snn.Leaky(0.9, init_hidden=True))
    module(torch.ones(7, 4, dtype=torch.float64))
    before = module[1].mem
    conversion = trispike.convert(module, frames(), steps=STEPS, encoding="frames")
    assert conversion.proof.spike_mismatches == 0
    assert module[1].mem is before
    assert before.grad_fn is not None


def test_hidden_states_reset_within_the_forward():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.fc = nn.Linear(4, 3)
            self.lif = snn.Leaky(0.9, init_hidden=True)

        def forward(self, x: Tensor) -> Tensor:
            utils.reset(self)
            return torch.stack([self.lif(self.fc(frame)) for frame in x.transpose(0, 1)])

    conversion = trispike.convert(Net(), frames(40), steps=STEPS, encoding="frames")
    assert conversion.proof.spike_mismatches == 0


def test_time_first_data_are_stated():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.fc = nn.Linear(4, 3)
            self.lif = snn.Leaky(0.9)

        def forward(self, x: Tensor) -> Tensor:
            mem = self.lif.reset_mem()
            counts: Any = 0
            for frame in x:
                spk, mem = self.lif(self.fc(frame), mem)
                counts = counts + spk
            result: Tensor = counts
            return result

    data = frames()
    for takes in ("sequence", None):
        conversion = trispike.convert(Net(), data, steps=STEPS, encoding="frames", takes=takes)
        assert conversion.proof.spike_mismatches == 0


def test_the_proof_runs_in_float32_too():
    module = Looped(lambda: snn.Leaky(0.75), RETURNED["mean"], steps=5)
    data = frames(3, 1, 1, 10, 10)[:, 0]
    proof = prove(module, trace(module, (1, 10, 10), steps=5), data, precision="float32")
    assert proof.holds


# --- refused by name ----------------------------------------------------------------------------

REFUSED: dict[str, tuple[Any, str]] = {
    "another neuron": (
        lambda: snn.Lapicque(0.9),
        r"neuron '1' \(Lapicque\): got snnTorch's Lapicque; expected Leaky, Synaptic or RLeaky",
    ),
    "a neuron derived from another": (
        lambda: type("Mine", (snn.Leaky,), {"forward": lambda self, x: x})(0.9),
        "snnTorch's Mine, which changes the forward of Leaky; expected Leaky, Synaptic or RLeaky",
    ),
    "subtraction without delay": (
        lambda: snn.Leaky(0.9, reset_delay=False),
        r"'1' \(Leaky\): got reset_mechanism 'subtract' with reset_delay=False, which lowers .*",
    ),
    "zero of a Synaptic": (
        lambda: snn.Synaptic(0.5, 0.9, reset_mechanism="zero"),
        r"\(Synaptic\): got reset_mechanism 'zero' with reset_delay=True, which throws away what",
    ),
    "zero of an RLeaky": (
        lambda: snn.RLeaky(0.9, linear_features=FEATURES, reset_mechanism="zero"),
        r"\(RLeaky\): got reset_mechanism 'zero' with reset_delay=True.*or reset_delay=False",
    ),
    "quantized states": (
        lambda: snn.Leaky(0.9, state_quant=lambda v: v),
        "got state_quant; expected state_quant=False.*use trispike.quantize",
    ),
    "spikes by chance": (
        lambda: snn.Leaky(0.9, spike_grad=lambda v: torch.full_like(v, 0.5)),
        r"got a spike_grad that puts out \[0.5, 0.5, .*expected a step function, 1 above the",
    ),
    "a threshold of zero": (
        lambda: snn.Leaky(0.9, threshold=0.0),
        r"\(Leaky\): got a threshold of 0; expected positive numbers",
    ),
    "another recurrent layer": (
        lambda: replaced(snn.RLeaky(0.9, linear_features=FEATURES), nn.Identity()),
        r"\(RLeaky\): got a Identity as its recurrent layer; expected what RLeaky makes",
    ),
    "a mechanism that was changed": (
        lambda: changed(snn.Leaky(0.9), "zero"),
        r"got reset_mechanism 'zero' \(value 1\) in a neuron built for 'subtract'.*constructor",
    ),
}


def replaced(neuron: Any, recurrent: nn.Module) -> Any:
    neuron.recurrent = recurrent
    return neuron


def changed(neuron: Any, mechanism: str) -> Any:
    neuron.reset_mechanism = mechanism
    return neuron


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name):
    make, text = REFUSED[name]
    with pytest.raises(UnsupportedError, match=text):
        trace(layer_of(make()), (4,), steps=5, encoding="frames")


def test_inhibition_is_refused():
    with pytest.warns(UserWarning, match="unstable"):
        neuron = snn.Leaky(0.9, inhibition=True)
    with pytest.raises(UnsupportedError, match=r"\(Leaky\): got inhibition=True; expected"):
        trace(layer_of(neuron), (4,), steps=5, encoding="frames")


class Forward(nn.Module):
    """A Linear layer, a neuron, and a loop that a test writes."""

    def __init__(self, forward: Any) -> None:
        super().__init__()
        self.written = forward
        self.fc = nn.Linear(4, 4)
        self.lif = snn.Leaky(0.9)

    def forward(self, x: Tensor) -> Any:
        return self.written(self, x)


def fed_back(s: Any, x: Tensor) -> Any:
    spk, mem, spikes = None, s.lif.reset_mem(), []
    for _ in range(3):
        spk, mem = s.lif(s.fc(x if spk is None else x + spk), mem)
        spikes.append(spk)
    return torch.stack(spikes)


def potentials(s: Any, x: Tensor) -> Any:
    mem, kept = s.lif.reset_mem(), []
    for _ in range(3):
        _, mem = s.lif(s.fc(x), mem)
        kept.append(mem)
    return torch.stack(kept)


def changed_state(s: Any, x: Tensor) -> Any:
    mem, spikes = s.lif.reset_mem(), []
    for _ in range(3):
        spk, mem = s.lif(s.fc(x), mem)
        mem = mem * 0.5
        spikes.append(spk)
    return torch.stack(spikes)


def of_other_steps(s: Any, x: Tensor) -> Any:
    mem, spikes = s.lif.reset_mem(), []
    for step in range(3):
        spk, mem = s.lif(s.fc(x[:, 2 - step]), mem)
        spikes.append(spk)
    return torch.stack(spikes)


LOOPS: dict[str, tuple[Any, str, str]] = {
    "fewer steps than stated": (
        lambda s, x: sum(s.lif(s.fc(x))[0] for _ in range(2)),
        "direct",
        r"neuron 'lif' \(Leaky\): got 2 calls in one forward; expected one per time step, 3",
    ),
    "more steps than stated": (
        lambda s, x: torch.stack([s.lif(s.fc(x))[0] for _ in range(4)]),
        "direct",
        r"\(Leaky\): got more than 3 calls in one forward; expected one call per time step, of 3",
    ),
    "feedback from step to step": (
        fed_back,
        "direct",
        r"\(Leaky\): got an input with axes \(N, C\) of time step 0; expected .*, number 1",
    ),
    "another input at every step": (
        lambda s, x: sum(s.lif(s.fc(x) * (step + 1))[0] for step in range(3)),
        "direct",
        "got an input at step 1 that is computed otherwise than at step 0; expected the same",
    ),
    "potentials as the output": (
        potentials,
        "direct",
        "'output': got 'mem', a state of the neuron 'lif'; expected spikes",
    ),
    "potentials as an input": (
        lambda s, x: s.fc(s.lif(s.fc(x))[1]),
        "direct",
        "layer 'fc': got 'mem', a state of the neuron 'lif'; expected spikes",
    ),
    "a state that is changed": (changed_state, "direct", "an argument 'mem' that is not its own"),
    "a state that does not start at zero": (
        lambda s, x: s.lif(s.fc(x), torch.ones(())),
        "direct",
        "an argument 'mem' that is not its own 'mem' zero, at the first step",
    ),
    "steps in another order": (of_other_steps, "frames", "of time step 2; expected one time step"),
    "all steps at once": (
        lambda s, x: s.lif(s.fc(x))[0],
        "frames",
        r"\(Leaky\): got an input with axes \(N, T, C\); expected one time step, number 0",
    ),
}


@pytest.mark.parametrize("name", LOOPS)
def test_loops_that_are_refused(name):
    forward, encoding, text = LOOPS[name]
    with pytest.raises(UnsupportedError, match=text):
        trace(Forward(forward), (4,), steps=3, encoding=encoding, takes="batch")
