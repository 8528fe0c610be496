"""Neurons: trispike's own, and foreign ones by adapter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import trispike
from tests.export.modules import Net, T, images, net, read, repeated, stacked
from tests.export.oracle import assert_folds
from trispike.errors import FoldingError, UnsupportedError
from trispike.export import AdaptedNeuron, neurons, register_neuron, trace
from trispike.network import Neuron
from trispike.nn import CTSN, LIF, ComplementaryTernarySpike, TernarySpike


@pytest.fixture(autouse=True)
def _registry(monkeypatch):
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(neurons, "_ADAPTERS", dict(neurons._ADAPTERS))


class ForeignLIF(nn.Module):
    """A multi-step LIF as other libraries write it: v = v + (x - v)/tau, spikes of a given size.

    It keeps its potential after the call, as many of them do, and has to be reset by hand.
    """

    def __init__(self, tau: float = 2.0, threshold: float = 0.3, size: float = 1.0) -> None:
        super().__init__()
        self.tau, self.threshold, self.size = tau, threshold, size
        self.v: Any = 0.0

    def forward(self, x: Tensor) -> Tensor:
        spikes = []
        for step in x:
            self.v = self.v + (step - self.v) / self.tau
            fired = (self.v >= self.threshold).to(x.dtype)
            self.v = self.v * (1 - fired)
            spikes.append(fired * self.size)
        return torch.stack(spikes)


class SilencedLIF(ForeignLIF):
    """A subclass, meant too."""


def adapt(module: nn.Module) -> AdaptedNeuron:
    """In units of tau: tau*v = (1 - 1/tau)*(tau*v) + x."""
    assert isinstance(module, ForeignLIF)
    leak = 1 - 1 / module.tau
    return AdaptedNeuron(
        neuron=Neuron(b_pos=leak, b_neg=leak, th_pos=module.tau * module.threshold),
        amplitude=np.asarray(module.size),
        time_axis=0,
    )


@pytest.mark.parametrize("kind", [ForeignLIF, SilencedLIF])
@pytest.mark.parametrize("size", [1.0, -0.7])
def test_a_foreign_neuron_by_its_adapter(kind, size):
    register_neuron(ForeignLIF, adapt)
    module = net(stacked, neuron=kind(size=size))
    assert_folds(module, images(), steps=T)
    # 40 samples are several batches: the state of one must not reach the next.
    conversion = trispike.convert(module, images(40), steps=T, proof_samples=40)
    assert conversion.proof.samples == 40
    assert conversion.proof.spike_mismatches == 0
    assert conversion.proof.spikes_fired > 1000
    assert isinstance(module.neuron.v, float)


def test_an_unknown_neuron_is_refused():
    """Without an adapter it is traced into, and found to be none."""
    with pytest.raises(UnsupportedError, match=r"layer 'ge\(\) in neuron': got a function"):
        trace(net(stacked, neuron=ForeignLIF()), (1, 6, 5), steps=T)
    text = (
        r"layer 'x\.y': got a ForeignLIF; expected a neuron of trispike\.nn, or one of a registered"
    )
    with pytest.raises(UnsupportedError, match=text):
        neurons.adapt_neuron(ForeignLIF(), "x.y")


def test_the_closest_adapter_is_taken():
    register_neuron(ForeignLIF, lambda m: pytest.fail("the adapter of the base class"))
    register_neuron(SilencedLIF, adapt)
    assert neurons.adapt_neuron(SilencedLIF(), "a").neuron.th_pos == 0.6


class LouderLIF(LIF):
    """A neuron of ours, changed by somebody else."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(2 * x)


def test_an_adapter_goes_before_our_own_reading_of_a_subclass():
    module = net(stacked, neuron=LouderLIF(0.4, 0.5))
    with pytest.raises(
        FoldingError, match=r"unexplained spike mismatches, the first in .* 'neuron'"
    ):
        trispike.convert(module, images(), steps=T)
    register_neuron(
        LouderLIF,
        lambda m: AdaptedNeuron(
            neuron=Neuron(b_pos=0.5, b_neg=0.5, th_pos=0.2),
            amplitude=np.ones(()),
            time_axis=0,
        ),
    )
    assert trispike.convert(module, images(), steps=T).proof.spike_mismatches == 0


def test_an_adapter_that_returns_something_else_is_refused():
    wrong: Any = lambda m: Neuron()  # noqa: E731
    register_neuron(ForeignLIF, wrong)
    text = "neuron 'neuron': got a Neuron from the adapter of ForeignLIF; expected an AdaptedNeuron"
    with pytest.raises(UnsupportedError, match=text):
        trace(net(stacked, neuron=ForeignLIF()), (1, 6, 5), steps=T)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_amplitude_that_is_no_number_is_refused(value):
    neuron = TernarySpike(amplitude="layer")
    module = net(stacked, neuron=neuron)
    neuron.fire_ratio = nn.Parameter(torch.tensor(value))
    text = "neuron 'neuron': got a spike amplitude that is NaN or infinite; expected finite numbers"
    with pytest.raises(UnsupportedError, match=text):
        trace(module, (1, 6, 5), steps=T)


def test_a_neuron_takes_one_argument():
    register_neuron(ForeignLIF, adapt)
    module = net(lambda s, x: read(s, s.neuron(repeated(s.conv(x)), 1.0)), neuron=ForeignLIF())
    with pytest.raises(UnsupportedError, match="layer 'neuron': got ForeignLIF with 2 arguments"):
        trace(module, (1, 6, 5), steps=T)
    module = net(lambda s, x: read(s, s.neuron(repeated(s.conv(x)), v=0)), neuron=ForeignLIF())
    with pytest.raises(UnsupportedError, match="layer 'neuron': got ForeignLIF with 2 arguments"):
        trace(module, (1, 6, 5), steps=T)


OURS: dict[str, nn.Module] = {
    "CTSN, static": CTSN("static", 0.4),
    "CTSN, dynamic": CTSN("dynamic", 0.4, tau=0.8),
    "Ternary Spike": TernarySpike(0.4),
    "Ternary Spike, one amplitude": TernarySpike(0.4, amplitude="layer"),
    "Ternary Spike, an amplitude per channel": TernarySpike(0.4, 0.5, "channel", 3),
    "LIF": LIF(0.4),
    "LIF, ternary": LIF(0.4, ternary=True),
    "LIF, current-based": LIF(0.6, 0.7, current_retention=0.5, ternary=True),
    "LIF, soft reset": LIF(0.2, 0.9, reset="subtract", ternary=True),
    "LIF, no reset": LIF(0.4, 0.5, reset="none"),
    "LIF, initial potential": LIF(0.6, 0.5, v_init=0.3),
    "LIF, fires once": LIF(0.6, 1.0, fire_once=True),
    "LIF, strict": LIF(0.4, 0.5, strict=True),
}


@pytest.mark.parametrize("name", OURS)
def test_every_neuron_of_ours(name):
    conv = nn.Conv2d(1, 3, 3, padding=1, bias="current" not in name)
    module = net(stacked, neuron=OURS[name], conv=conv)
    assert_folds(module, images(), steps=T)
    proof = trispike.convert(module, images(), steps=T).proof
    assert proof.spike_mismatches == 0
    assert proof.spikes_fired > 50


@pytest.mark.parametrize("shifted", ["conv", "norm"])
def test_a_bias_into_a_current_with_memory_is_what_an_always_firing_neuron_sends(shifted):
    """It accumulates there, and the bias of a deployed neuron does not."""
    module = net(
        lambda s, x: read(s, s.neuron(repeated(s.norm(s.conv(x))))),
        conv=nn.Conv2d(1, 3, 3, padding=1, bias=shifted == "conv"),
        norm=nn.BatchNorm2d(3) if shifted == "norm" else nn.Identity(),
        neuron=OURS["LIF, current-based"],
    )
    conversion = trispike.convert(module, images(), steps=T)
    assert conversion.proof.spike_mismatches == 0
    assert conversion.proof.spikes_fired > 50
    assert "neuron.bias->neuron" in conversion.network.labels
    assert conversion.proof.spikes_compared == len(images()) * T * 3 * 6 * 5


def test_complementary_ternary_spike_has_time_as_axis_1():
    def forward(s: Any, x: Tensor) -> Tensor:
        y = s.neuron(s.conv(x).unsqueeze(1).expand(-1, T, -1, -1, -1))
        logits: Tensor = s.fc(y.flatten(2)).mean(1)
        return logits

    assert_folds(net(forward, neuron=ComplementaryTernarySpike(0.6)), images(T), steps=T)


@pytest.mark.parametrize(
    "amplitude", [[0.0, -1.3, 0.7], [-0.5, -0.5, -2.0], [1e-12, 1.0, 1e12], [0.0, 0.0, 0.0]]
)
def test_amplitudes_of_any_sign_and_size_and_zero(amplitude):
    neuron = TernarySpike(0.4, amplitude="channel", channels=3)
    module = net(
        lambda s, x: s.fc((s.neuron(repeated(s.conv(x))) + repeated(s.conv(x))).flatten(2)).mean(0),
        neuron=neuron,
    )
    assert neuron.fire_ratio is not None
    neuron.fire_ratio.data = torch.tensor(amplitude).view(1, 3, 1, 1)
    proof = trispike.convert(module, images(5), steps=T).proof
    assert proof.spike_mismatches == 0
    visible = sum(a != 0 for a in amplitude)
    assert proof.spikes_compared == T * 5 * visible * 30
    assert (proof.spikes_fired > 0) == (visible > 0)


def test_neurons_in_containers_are_found():
    module = Net(
        lambda s, x: s.all(x.unsqueeze(0).expand(T, -1, -1)).mean(0),
        all=nn.Sequential(nn.Linear(30, 8), LIF(0.1), nn.ModuleList([nn.Linear(8, 4)])[0]),
    )
    assert list(trace(module, (30,), steps=T).network.populations) == ["all.1"]
