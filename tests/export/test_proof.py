"""The proof: it holds for right networks, and finds every wrong one where it is wrong."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import trispike
from tests.export.modules import Net, T, fired, frames_first, images, net, read, stacked, unmerged
from trispike.errors import (
    FoldingError,
    InvalidDataError,
    InvalidSettingError,
)
from trispike.export import AdaptedNeuron, Proof, Traced, neurons, prove, register_neuron, trace
from trispike.export.proof import LISTED
from trispike.network import Connection, FloatNetwork, Identity, Neuron
from trispike.nn import CTSN, LIF, SpikingNeuron, TernarySpike

SAMPLES = 6


def residual(s: Any, x: Tensor) -> Tensor:
    """neuron, then inner and outer around a shortcut, then the readout."""
    y = fired(s, x)
    z = s.inner(unmerged(s.first(y.flatten(0, 1))))
    z = unmerged(s.norm(s.second(z.flatten(0, 1)))) + y
    return read(s, s.outer(z))


def module() -> Net:
    return net(
        residual,
        neuron=CTSN("static", 0.4),
        first=nn.Conv2d(3, 3, 3, padding=1),
        inner=TernarySpike(0.4, 0.5, "channel", 3),
        second=nn.Conv2d(3, 3, 3, padding=1),
        norm=nn.BatchNorm2d(3),
        outer=CTSN("dynamic", 0.4, tau=0.9),
    )


def traced(of: nn.Module) -> Traced:
    return trace(of, (1, 6, 5), steps=T)


def proof_with(change: Callable[[FloatNetwork], FloatNetwork], **options: Any) -> Proof:
    """The proof of the module against a network that was changed after tracing."""
    of = module()
    right = traced(of)
    return prove(of, replace(right, network=change(right.network)), images(SAMPLES), **options)


def spikes_of(of: nn.Module, one: nn.Module) -> int:
    """How often a neuron of the module fires on the data, as a hook sees it."""
    counts = []
    handle = one.register_forward_hook(lambda m, args, output: counts.append((output != 0).sum()))
    with torch.no_grad():
        # A module in float32 cannot take the data as they are.
        copy.deepcopy(of).double().eval()(torch.from_numpy(images(SAMPLES)))
    handle.remove()
    return int(sum(counts))


# --- right networks -----------------------------------------------------------------------------


def test_it_holds_for_what_was_traced_and_counts_right():
    of = module()
    finished: list[int] = []
    proof = prove(
        of,
        traced(of),
        images(SAMPLES),
        description="random images",
        batch_size=4,
        progress=finished.append,
    )
    assert proof.holds
    assert proof.samples == SAMPLES
    assert proof.data == "random images"
    assert proof.precision == "float64"
    assert proof.spikes_compared == 3 * 90 * T * SAMPLES
    fired_by_all = sum(spikes_of(of, m) for m in of.modules() if isinstance(m, SpikingNeuron))
    assert proof.spikes_fired == fired_by_all > 1000
    assert (proof.spike_mismatches, proof.unexplained_mismatches) == (0, 0)
    assert proof.mismatches == ()
    assert proof.predictions_equal == SAMPLES
    assert proof.largest_logit_difference < 1e-12
    assert finished == [4, 2]
    proof.check()


@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_the_size_of_a_batch_changes_nothing(batch_size):
    def lowered(network: FloatNetwork) -> FloatNetwork:
        return with_neuron(network, "inner", th_pos=0.3)

    proof, whole = (proof_with(lowered, batch_size=n) for n in (batch_size, SAMPLES))
    assert proof.spike_mismatches == whole.spike_mismatches > LISTED
    assert {m.sample for m in proof.mismatches} <= set(range(SAMPLES))


def test_it_is_json():
    of = module()
    plain = json.loads(json.dumps(prove(of, traced(of), images(2)).to_dict()))
    assert plain["holds"] is True
    assert plain["spikes_compared"] == 3 * 90 * T * 2
    assert plain["mismatches"] == []
    tampered = proof_with(lambda n: with_neuron(n, "inner", th_pos=0.3)).to_dict()
    first = json.loads(json.dumps(tampered))["mismatches"][0]
    assert first["population"] == "inner"
    assert len(first["neuron"]) == 3


def test_the_module_is_left_as_it_was():
    of = module().train()
    prove(of, traced(of), images(2))
    assert of.training
    assert next(of.parameters()).dtype == torch.float32
    assert not any(m._forward_hooks for m in of.modules())


def test_it_holds_in_float32_too():
    of = module()
    proof = prove(of, traced(of), images(SAMPLES), precision="float32")
    assert proof.holds
    assert proof.precision == "float32"
    assert 0 < proof.largest_logit_difference < 1e-5
    assert proof.logit_tolerance >= 1e-5


# --- wrong networks -----------------------------------------------------------------------------


def with_neuron(network: FloatNetwork, name: str, **changes: Any) -> FloatNetwork:
    population = network.populations[name]
    neuron = replace(population.neuron, **changes)
    return replace(
        network,
        populations={**network.populations, name: replace(population, neuron=neuron)},
    )


def with_connections(
    network: FloatNetwork, change: Callable[[Connection], Connection | None]
) -> FloatNetwork:
    changed = (change(c) for c in network.connections)
    return replace(network, connections=tuple(c for c in changed if c is not None))


def weights_into(target: str, change: Callable[[Any], Any], kind: type = object) -> Any:
    """A change of the weights of the connections into a population."""

    def changed(c: Connection) -> Connection:
        operator = c.operator
        if c.target != target or not isinstance(operator, kind):
            return c
        if isinstance(operator, Identity):
            return replace(c, operator=Identity(scale=change(operator.scale)))
        return replace(c, operator=replace(operator, weight=change(operator.weight)))

    return lambda network: with_connections(network, changed)


def one_weight(weight: Any) -> Any:
    changed = np.array(weight)
    changed.reshape(-1)[4] += 0.2
    return changed


def neuron(name: str, **changes: Any) -> Any:
    return lambda network: with_neuron(network, name, **changes)


def bias(name: str, by: float) -> Any:
    return lambda n: with_neuron(n, name, bias=n.populations[name].neuron.bias + by)


WRONG: dict[str, tuple[Any, str]] = {
    "one weight of the first layer": (weights_into("neuron", one_weight), "neuron"),
    "one weight inside": (weights_into("inner", one_weight), "inner"),
    "a flipped kernel": (weights_into("inner", lambda w: w[..., ::-1]), "inner"),
    "a norm without its gain": (weights_into("outer", lambda w: w / 0.9), "outer"),
    "a shortcut without the amplitude": (
        weights_into("outer", lambda w: np.full_like(w, 0.8), Identity),
        "outer",
    ),
    "a shortcut of the wrong sign": (weights_into("outer", np.negative, Identity), "outer"),
    "a missing shortcut": (
        lambda n: with_connections(n, lambda c: None if isinstance(c.operator, Identity) else c),
        "outer",
    ),
    "a shortcut from elsewhere": (
        lambda n: with_connections(
            n,
            lambda c: replace(c, sources=("inner",)) if isinstance(c.operator, Identity) else c,
        ),
        "outer",
    ),
    "a doubled layer": (
        lambda n: replace(n, connections=(*n.connections, n.into("inner")[0])),
        "inner",
    ),
    "a bias": (bias("inner", 0.02), "inner"),
    "a positive threshold": (neuron("neuron", th_pos=0.41), "neuron"),
    "a negative threshold": (neuron("outer", th_neg=0.39), "outer"),
    "a binary neuron": (neuron("inner", th_neg=np.inf), "inner"),
    "the retention of positive complements": (neuron("neuron", a_pos=0.0), "neuron"),
    "the retention of negative complements": (neuron("neuron", a_neg=0.0), "neuron"),
    "the leak": (neuron("neuron", b_pos=0.0, b_neg=0.0), "neuron"),
    "the leak of negative potentials": (neuron("outer", b_neg=0.9), "outer"),
    "soft reset": (neuron("inner", reset="subtract"), "inner"),
    "no reset": (neuron("neuron", reset="none"), "neuron"),
    "an initial potential": (neuron("inner", v_init=0.2), "inner"),
    "neurons that fire once": (neuron("outer", fire_once=True), "outer"),
    "a current with memory": (neuron("inner", k=0.2), "inner"),
    "a floor": (neuron("outer", floor=-0.2), "outer"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_network_is_found_where_it_is_wrong(name):
    """Every population is given the spikes of the module: only the wrong one differs."""
    change, population = WRONG[name]
    proof = proof_with(change)
    assert not proof.holds
    assert proof.unexplained_mismatches > 0
    assert {m.population for m in proof.mismatches} == {population}
    first = proof.mismatches[0]
    assert first.module_spike != first.network_spike
    assert not first.explained
    assert first.distance > 1e-9
    text = (
        rf"folded network: got {proof.unexplained_mismatches} unexplained spike mismatches, the "
        rf"first in population '{population}', sample {first.sample}, step {first.step}, neuron "
    )
    with pytest.raises(FoldingError, match=text):
        proof.check()


def test_the_first_of_two_wrong_populations_is_named():
    proof = proof_with(
        lambda n: with_neuron(with_neuron(n, "outer", th_pos=0.2), "inner", th_pos=0.2)
    )
    with pytest.raises(FoldingError, match="the first in population 'inner', sample 0, step 0"):
        proof.check()


READOUT: dict[str, Callable[[FloatNetwork], FloatNetwork]] = {
    "bias": lambda n: replace(n, readout=replace(n.readout, bias=n.readout.bias + 1e-6)),
    "time weights": lambda n: replace(
        n, readout=replace(n.readout, weights=np.array([0.25, 0.25, 0.2501, 0.2499]))
    ),
    "a class": lambda n: replace(
        n,
        readout=replace(
            n.readout,
            connections=tuple(
                replace(c, operator=replace(c.operator, weight=c.operator.weight[::-1]))
                for c in n.readout.connections
            ),
        ),
    ),
}


@pytest.mark.parametrize("name", READOUT)
def test_a_wrong_readout_is_found(name):
    proof = proof_with(READOUT[name])
    assert proof.unexplained_mismatches == 0
    assert not proof.holds
    assert proof.largest_logit_difference > proof.logit_tolerance
    with pytest.raises(
        FoldingError, match="got 0 unexplained spike mismatches; logits that differ"
    ):
        proof.check()
    assert (proof.predictions_equal < SAMPLES) == (name == "a class")


def test_all_mismatches_are_counted_and_the_first_are_listed():
    of = module()
    proof = proof_with(neuron("inner", th_pos=50.0, th_neg=50.0))
    # Every spike of this population is missing in the network.
    assert proof.spike_mismatches == proof.unexplained_mismatches == spikes_of(of, of.inner)
    assert len(proof.mismatches) == LISTED
    assert all(m.network_spike == 0 for m in proof.mismatches)
    assert proof.spikes_fired == prove(of, traced(of), images(SAMPLES)).spikes_fired


# --- ties ---------------------------------------------------------------------------------------


def dense(weights: list[float], threshold: float) -> Net:
    """One neuron that sums its inputs, and one readout."""
    of = Net(
        lambda s, x: s.fc(s.neuron(s.sum(x).unsqueeze(0))).mean(0),
        sum=nn.Linear(len(weights), 1, bias=False),
        neuron=LIF(threshold),
        fc=nn.Linear(1, 2),
    )
    of.sum.weight.data = torch.tensor([weights], dtype=torch.float64)
    return of.double()


def tie() -> tuple[Net, Any]:
    """A module whose potential is its threshold, to the last bit of the sum that torch makes."""
    data = np.full((1, 3), 1.0)
    for seed in range(99):
        weights = np.random.default_rng(seed).normal(size=3)
        of = Net(
            lambda s, x: s.fc(s.neuron((s.sum(x) * 0.3).unsqueeze(0))).mean(0),
            **dict(dense(weights.tolist(), 1.0).named_children()),
        )
        with torch.no_grad():
            potential = float(of.sum(torch.from_numpy(data)) * 0.3)
        folded = float(weights * 0.3 @ data[0])
        if 0 < folded < potential:
            of.neuron = LIF(potential)
            return of.double(), data
    pytest.fail("no weights whose sum rounds down when they are scaled first")


def test_a_tie_that_rounding_breaks_is_explained():
    of, data = tie()
    proof = prove(of, trace(of, (3,), steps=1), data)
    assert (proof.spike_mismatches, proof.unexplained_mismatches) == (1, 0)
    (m,) = proof.mismatches
    assert (m.population, m.sample, m.step, m.neuron) == ("neuron", 0, 0, (0,))
    assert (m.module_spike, m.network_spike, m.explained) == (1, 0, True)
    assert 0 < m.distance < 1e-15
    assert proof.holds
    proof.check()


def test_a_tie_in_float32_is_explained():
    """0.1 three times is more than 0.3 in float32, by a hundred millionth."""
    of = dense([float(np.float32(0.1))] * 3, 0.300000008).float()
    traced = trace(of, (3,), steps=1)
    data = np.ones((2, 3))
    assert prove(of, traced, data).spike_mismatches == 0
    proof = prove(of, traced, data, precision="float32")
    assert (proof.spike_mismatches, proof.unexplained_mismatches) == (2, 0)
    assert proof.mismatches[0].explained
    assert 1e-9 < proof.mismatches[0].distance < 1e-5
    proof.check()


@pytest.mark.parametrize(
    ("precision", "away", "explained"),
    [
        ("float64", 0.9e-9, True),
        ("float64", 1.1e-9, False),
        ("float64", 1e-5, False),
        ("float32", 0.9e-5, True),
        ("float32", 1.1e-5, False),
    ],
)
def test_how_far_rounding_explains(precision, away, explained):
    of = dense([0.5, 0.25, 0.125], 0.5)
    right = trace(of, (3,), steps=1)
    wrong = replace(right, network=with_neuron(right.network, "neuron", th_pos=0.875 + away))
    proof = prove(of, wrong, np.ones((1, 3)), precision=precision)
    assert proof.spike_mismatches == 1
    assert proof.holds == explained
    assert proof.mismatches[0].distance == pytest.approx(away, rel=1e-5)


def test_unexplained_mismatches_are_listed_first():
    of = dense([0.5, 0.25, 0.125], 0.5)
    right = trace(of, (3,), steps=1)
    wrong = replace(right, network=with_neuron(right.network, "neuron", th_pos=0.875 + 1e-10))
    data = np.ones((2 * LISTED, 3))
    data[-1] = 0.6  # this one fires in the module only, far from the threshold of the network
    proof = prove(of, wrong, data)
    assert (proof.spike_mismatches, proof.unexplained_mismatches) == (2 * LISTED, 1)
    assert [m.explained for m in proof.mismatches] == [False] + [True] * (LISTED - 1)
    assert proof.mismatches[0].sample == 2 * LISTED - 1


# --- modules that are not what they seem --------------------------------------------------------


def test_a_hook_that_changes_something_is_found():
    of = module()
    of.first.register_forward_hook(lambda m, args, output: output * 1.1)
    with pytest.raises(FoldingError, match="the first in population 'inner'"):
        trispike.convert(of, images(SAMPLES), steps=T)


def test_a_tensor_that_is_changed_under_another_name_is_found():
    """In place on an alias, which torch.fx does not see."""

    def forward(s: Any, x: Tensor) -> Tensor:
        y = fired(s, x)
        z = y.contiguous()
        z.add_(1)
        return read(s, y)

    with pytest.raises(FoldingError):
        trispike.convert(net(forward), images(SAMPLES), steps=T)


@pytest.fixture
def _registry(monkeypatch):
    monkeypatch.setattr(neurons, "_ADAPTERS", dict(neurons._ADAPTERS))


class Graded(LIF):
    """Puts out something else than spikes of one size."""

    def __init__(self, gain: Callable[[Tensor], Tensor]) -> None:
        super().__init__(0.4, 0.5)
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        return self.gain(super().forward(x))


@pytest.mark.usefixtures("_registry")
@pytest.mark.parametrize(
    ("gain", "got"),
    [
        (lambda y: y * 1.3, "1.3"),
        (lambda y: y * 1.000001, "1"),
        (lambda y: y * 2, "2"),
        (lambda y: y + 0.4, r"(0|1)\.4"),
        (lambda y: y * float("nan"), "nan"),
    ],
)
def test_spikes_of_another_size_than_stated_are_found(gain, got):
    register_neuron(
        Graded,
        lambda m: AdaptedNeuron(
            neuron=Neuron(b_pos=0.5, b_neg=0.5, th_pos=0.4), amplitude=np.ones(()), time_axis=0
        ),
    )
    text = (
        rf"population 'neuron': got an output of {got} from the module 'neuron'; expected -1, 0 or "
        r"\+1, times the amplitude 1 by its adapter\. Correct what was passed to trispike\.export"
    )
    with pytest.raises(FoldingError, match=text):
        trispike.convert(net(stacked, neuron=Graded(gain)), images(), steps=T)


def test_logits_that_are_no_numbers_do_not_hold():
    of = net(lambda s, x: stacked(s, x) * 1.0)
    of.register_forward_hook(lambda m, args, output: output * float("nan"))
    proof = prove(of, traced(of), images())
    assert np.isnan(proof.largest_logit_difference)
    assert not proof.holds


def test_a_module_that_fails_on_the_data_is_named():
    """Tracing knows no strides: torch refuses this view."""
    of = net(lambda s, x: s.fc(fired(s, x).transpose(0, 1).view(-1, 90)).view(-1, T, 5).mean(1))
    text = (
        r"module 'Net': got an error when it ran on data of shape \(6, 1, 6, 5\) in float64: view "
        r"size is not compatible.*; expected a forward pass"
    )
    with pytest.raises(InvalidDataError, match=text):
        trispike.convert(of, images(), steps=T)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (np.zeros((0, 1, 6, 5)), "data of the proof: got no samples; expected at least one"),
        (np.zeros((2, 1, 5, 6)), r"data: got an array of shape \(2, 1, 5, 6\)"),
        (np.full((2, 1, 6, 5), np.nan), "data: got 60 values that are NaN or infinite"),
    ],
)
def test_data_that_prove_nothing_are_refused(data, text):
    of = module()
    with pytest.raises(InvalidDataError, match=text):
        prove(of, traced(of), data)


# --- convert ------------------------------------------------------------------------------------


def test_convert_proves_as_many_samples_as_asked_for():
    conversion = trispike.convert(
        module(), images(9), steps=T, proof_samples=5, data_description="noise"
    )
    assert conversion.proof.samples == 5
    assert conversion.proof.data == "noise"
    assert trispike.convert(module(), images(40), steps=T).proof.samples == 32


def test_convert_takes_tensors_and_normalization():
    data = torch.from_numpy(images()).requires_grad_()
    mean, std = np.array([0.3]).reshape(1, 1, 1), 0.7
    conversion = trispike.convert(module(), data, steps=T, mean=mean, std=std)
    assert conversion.proof.holds
    assert np.array_equal(conversion.network.input.mean, mean)


@pytest.mark.parametrize("encoding", ["frames", "spikes"])
def test_convert_takes_frames_and_spikes(encoding):
    data = np.random.default_rng(0).integers(-1, 3, (T, T, 1, 6, 5))
    conversion = trispike.convert(net(frames_first), data, steps=T, encoding=encoding)
    assert conversion.network.input.encoding == encoding
    assert conversion.proof.spike_mismatches == 0
    assert conversion.proof.spikes_fired > 100


def test_a_provenance_that_is_not_ours_is_not_recorded():
    of = module()
    setattr(of, "provenance", "my notes")  # noqa: B010
    assert dict(trispike.convert(of, images(), steps=T).network.provenance) == {}


@pytest.mark.parametrize(
    ("data", "options", "kind", "text"),
    [
        (images(), {}, InvalidSettingError, "steps: got None; expected the number of time steps"),
        (images(), {"steps": 0}, InvalidSettingError, "steps: got 0; expected"),
        (
            images(4, (3, 7)),
            {"steps": T},
            InvalidDataError,
            r"\(4, 3, 7\) for 4 steps; .*encoding=",
        ),
        (images(4, (3, 1, 6, 5)), {"steps": T}, InvalidDataError, "for 4 steps"),
        (
            images(0),
            {"steps": T},
            InvalidDataError,
            r"got shape \(0, 1, 6, 5\) for direct encoding",
        ),
        (images(), {"steps": T, "proof_samples": 0}, InvalidDataError, "and proof_samples 0"),
        (np.ones(()), {"steps": T, "encoding": "direct"}, InvalidDataError, r"got shape \(\)"),
        (np.ones(3), {"steps": T}, InvalidDataError, r"example_input: got shape \(3,\)"),
    ],
)
def test_convert_refuses(data, options, kind, text):
    with pytest.raises(kind, match=text):
        trispike.convert(module(), data, **options)
