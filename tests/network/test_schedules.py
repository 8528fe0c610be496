"""Windows of firing, gains per time step, an input that is presented once; and older files."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from tests.network.parts import base, with_input, with_neuron
from tests.networks import dense_chain
from trispike.errors import InvalidNetworkError, UnsupportedError
from trispike.network import FixedPointNeuron, Input, Network, Neuron, digest
from trispike.network.dynamics import time_steps
from trispike.network.schedules import refuse_schedules, scheduled_fields
from trispike.network.storage import from_arrays, to_arrays

KINDS: Any = pytest.mark.parametrize("kind", ["float", "integer"])


def spikes_of(neuron: Neuron | FixedPointNeuron, inputs: list[float]) -> list[int]:
    state = neuron.initial_state(1, (1,))
    spikes = []
    for t, x in enumerate(inputs):
        number = np.int64 if isinstance(neuron, FixedPointNeuron) else np.float64
        step = neuron.step(state, np.array([[x]], number), t)
        state = step.state
        spikes.append(int(step.spikes.item()))
    return spikes


def test_a_silent_neuron_integrates_and_then_fires_what_it_has():
    """PASCAL's population: it receives for three steps, and counts out afterwards."""
    fields: Any = {"reset": "subtract", "fire_from": 3, "fire_until": 7}
    inputs = [5, 0, 6, 0, 0, 0, 0, 0]
    expected = [0, 0, 0, 1, 1, 0, 0, 0]
    assert spikes_of(Neuron(b_pos=1, b_neg=1, th_pos=4, v_init=0, **fields), inputs) == expected
    fixed = FixedPointNeuron(b_pos=4096, b_neg=4096, th_pos=4, state_shift=0, **fields)
    assert spikes_of(fixed, inputs) == expected
    later = dataclasses.replace(fixed, fire_until=None)
    assert spikes_of(later, [*inputs, 4]) == [*expected, 1]


def test_a_spike_that_was_kept_back_counts_for_nothing():
    """Neither does it reset the neuron, nor is it the one that fire_once allows."""
    neuron = Neuron(b_pos=1, b_neg=1, fire_from=2, fire_once=True)
    assert spikes_of(neuron, [3, 0, 0, 0]) == [0, 0, 1, 0]


def test_gains_apply_to_input_and_bias_and_round_toward_zero():
    neuron = FixedPointNeuron(
        gains=(4096, 2048, 0, 65536), bias=-3, state_shift=1, b_pos=0, th_pos=99
    )
    state = neuron.initial_state(1, (1,))
    potentials = []
    for t in range(4):
        step = neuron.step(state, np.array([[-5]]), t)
        potentials.append((int(step.state.i.item()), int(step.v.item())))
        state = step.state
    assert potentials == [(-10, -13), (-5, -6), (0, 0), (-160, -208)]


def test_a_chain_with_silent_steps_counts_like_its_quantized_layers():
    """Two PASCAL layers by hand: counts are floor(x/q + 1/2), clipped to 0..L, layer by layer."""
    rng = np.random.default_rng(3)
    levels = 4
    weights = {"a": rng.normal(0, 1, (6, 5)), "b": rng.normal(0, 0.4, (4, 6)), "out": np.eye(4)}

    def layer(number: int) -> Neuron:
        start = number * levels
        return Neuron(
            b_pos=1, b_neg=1, v_init=0.5, reset="subtract", fire_from=start,
            fire_until=start + levels,
        )  # fmt: skip

    net = dense_chain(
        Input(shape=(5,), encoding="once"), weights, {"a": layer(0), "b": layer(1)},
        np.r_[np.zeros(levels), np.ones(levels)],
    )  # fmt: skip
    data = rng.normal(0, 2, (40, 5))
    steps = list(time_steps(net, net.input.encode(data, net.steps)))
    a = np.clip(np.floor(data @ weights["a"].T + 0.5), 0, levels)
    b = np.clip(np.floor(a @ weights["b"].T + 0.5), 0, levels)
    assert len(np.unique(b)) > 2
    for name, expected in (("a", a), ("b", b)):
        np.testing.assert_array_equal(sum(s.populations[name].spikes for s in steps), expected)
    logits = sum(w * s.logits for w, s in zip(net.readout.weights, steps, strict=True))
    np.testing.assert_allclose(logits, b)


@KINDS
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"fire_from": 2}, r"'fire_from': got time step 2; expected .* which has 2\. Correct"),
        ({"fire_until": 3}, r"'fire_until': got time step 3; expected a time step of the network"),
        ({"gains": (1,)}, r"'gains': got 1 gains; expected 2, one per time step, or none\. Give"),
        ({"gains": (1, 1, 1)}, "'gains': got 3 gains; expected 2"),
    ],
)
def test_what_does_not_fit_the_time_steps_is_refused(kind, fields, message):
    with pytest.raises(InvalidNetworkError, match=message):
        with_neuron(base(kind), **fields)


@KINDS
def test_files_from_before_schedules_are_read_and_keep_their_digest(kind):
    header, arrays = to_arrays(base(kind))
    text = json.dumps(header)
    assert not any(name in text for name in ("fire_from", "fire_until", "gains"))
    assert digest(from_arrays(json.loads(text), arrays)) == digest(base(kind))


@KINDS
def test_a_field_at_its_default_is_not_written_and_not_accepted(kind):
    header, arrays = to_arrays(with_neuron(base(kind), fire_from=1))
    populations = dict(header["network"]["populations"])
    assert populations["a"]["neuron"]["fire_from"] == 1
    populations["a"]["neuron"]["fire_until"] = None
    with pytest.raises(InvalidNetworkError, match="network header: got values of other types"):
        from_arrays(header, arrays)


@KINDS
def test_refusals_name_the_population_and_the_field(kind):
    def refused(net: Network, message: str) -> None:
        with pytest.raises(UnsupportedError, match=message):
            refuse_schedules(net, "this engine")

    refuse_schedules(base(kind), "this engine")
    refused(with_neuron(base(kind), fire_until=1), "population 'a', field 'fire_until': got 1; ")
    refused(with_neuron(base(kind), gains=(0, 1)), r"population 'a', field 'gains': got \(0")
    once = with_input(base(kind), encoding="once")
    refused(once, "input 'input', field 'encoding': got 'once'; expected .* for this engine")
    refuse_schedules(once, "this engine", once=False)
    neuron = with_neuron(base(kind), fire_from=1, gains=(0, 1)).populations["a"].neuron
    assert scheduled_fields(neuron) == ("fire_from", "gains")
