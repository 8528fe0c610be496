"""What follows from a ledger and its network."""

import functools
import json
import math
from collections.abc import Callable
from dataclasses import fields, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.networks import CASES, random_network, vectors
from tests.runtime import floats
from tests.runtime.floats import sample_inputs
from trispike.errors import InvalidDataError
from trispike.network import FixedPointNeuron, Network, Neuron, Population, Readout
from trispike.runtime import ReferenceEngine
from trispike.runtime.activity import spike_counts
from trispike.runtime.derived_counts import (
    ConnectionWork,
    PopulationWork,
    derived_counts,
    update_work,
)
from trispike.runtime.energy import estimate_energy, load_profile
from trispike.targets.loihi.hardware import load_chip
from trispike.targets.loihi.placement import place
from trispike.targets.loihi.traffic import count_traffic

NETWORKS: dict[str, Callable[[], Network]] = {
    **CASES,
    **{f"float_{name}": case for name, case in floats.CASES.items()},
    **{f"random_{seed}": functools.partial(random_network, seed) for seed in range(300, 312)},
}
CTSN: dict[str, Any] = {"a_pos": 0.5, "a_neg": 0.25, "b_pos": 0.5, "b_neg": 0.75, "th_neg": 1.0}


def work(neuron: Neuron | FixedPointNeuron) -> tuple[Any, ...]:
    """Of one update; the names are in the order of the fields."""
    found = update_work(Population(shape=(3,), neuron=neuron))
    return tuple(getattr(found, field.name) for field in fields(found))


@pytest.mark.parametrize(
    ("neuron", "expected"),
    [
        # state bits, multiplies, additions, biases, thresholds, floors, additions per spike
        (Neuron(**CTSN), ((32, 32), 2, 2, 0, 2, 0, 0)),
        (Neuron(**CTSN, bias=0.5), ((32, 32), 2, 2, 1, 2, 0, 0)),
        (Neuron(b_pos=0.5, b_neg=0.5), ((32,), 1, 1, 0, 1, 0, 0)),  # LIF
        (Neuron(b_pos=1.0, b_neg=1.0), ((32,), 0, 1, 0, 1, 0, 0)),  # integrate and fire
        (Neuron(), ((), 0, 0, 0, 1, 0, 0)),  # a threshold alone
        (Neuron(k=0.5, b_pos=0.5), ((32, 32), 2, 2, 0, 1, 0, 0)),  # current-based LIF
        (Neuron(a_pos=0.5, a_neg=0.5), ((), 0, 0, 0, 1, 0, 0)),  # carries nothing on
        (Neuron(b_pos=1.0, reset="subtract", floor=-1.0), ((32,), 0, 1, 0, 1, 1, 1)),
        (Neuron(fire_once=True, th_pos=np.inf), ((1,), 0, 0, 0, 0, 0, 0)),
        (Neuron(b_pos=np.array([0.0, 1.0, 0.5])), ((32,), 1, 1, 0, 1, 0, 0)),
        (FixedPointNeuron(), ((), 0, 0, 0, 0, 0, 0)),
        (
            FixedPointNeuron(a_pos=100, b_neg=4096, th_pos=5, th_neg=5, bias=-3),
            ((24, 24), 1, 2, 1, 2, 0, 0),
        ),
        (FixedPointNeuron(b_pos=4095, th_pos=5, state_bits=16), ((16,), 1, 1, 0, 1, 0, 0)),
    ],
)
def test_what_an_update_takes(neuron, expected):
    assert work(neuron) == expected


@pytest.mark.parametrize("case", NETWORKS)
def test_what_is_left_out_changes_nothing(case):
    """States that are not kept are those of a neuron without memory; thresholds not compared with
    are never reached."""
    network = NETWORKS[case]()
    inputs = sample_inputs(network, 3)
    records = ReferenceEngine(network).run(inputs, record="all").records
    for name, population in network.populations.items():
        neuron, traces = population.neuron, records[name]
        taken = update_work(population)
        kept = len(taken.state_bits) - neuron.fire_once
        assert kept == taken.additions
        if not neuron.b_pos.any() and not neuron.b_neg.any():
            assert not traces["c"].any()
            assert kept == int(neuron.k.any())
        if taken.threshold_compares < 2:
            assert (traces["s"] >= 0).all() or (traces["s"] <= 0).all()
        if not taken.bias_additions and not taken.floor_compares and not kept:
            np.testing.assert_array_equal(traces["v"], traces["i"])


@pytest.mark.parametrize("case", ["soft_reset", "binary_lif", "fire_once", "float_spikes"])
def test_counts_of_populations(case):
    """By adding up the work of every update, and of every spike."""
    network = NETWORKS[case]()
    inputs = sample_inputs(network, 3)
    result = ReferenceEngine(network).run(inputs, record="all")
    derived = derived_counts(result.ledger, network)
    for name, population in network.populations.items():
        each, spikes = update_work(population), result.records[name]["s"]
        expected = {f.name: np.zeros(network.steps, np.int64) for f in fields(PopulationWork)}
        for _sample, t, *_ in np.ndindex(*spikes.shape):
            expected["state_reads"][t] += len(each.state_bits)
            expected["state_writes"][t] += len(each.state_bits)
            expected["state_bits_read"][t] += sum(each.state_bits)
            expected["bias_additions"][t] += each.bias_additions
            for what in ("multiplies", "additions", "threshold_compares", "floor_compares"):
                expected[what][t] += getattr(each, what)
        for _sample, t, *_ in np.argwhere(spikes):
            expected["fired"][t] += 1
            expected["additions"][t] += each.additions_per_spike
        for what, counts in expected.items():
            np.testing.assert_array_equal(getattr(derived.populations[name], what), counts, what)


@pytest.mark.parametrize("case", ["spikes_encoding", "sew_addition", "float_pooled"])
def test_counts_of_connections(case):
    network = NETWORKS[case]()
    ledger = ReferenceEngine(network).run(sample_inputs(network, 3)).ledger
    derived = derived_counts(ledger, network)
    assert tuple(derived.connections) == network.labels
    for label, connection in network.labelled():
        counts, found = ledger.connections[label], derived.connections[label]
        both = counts.synaptic_operations + counts.macs
        bits = connection.bits if network.kind == "integer" else 32
        for what, expected in (
            ("weight_words", both),
            ("weight_bits", both * bits),
            ("additions", both),
            ("multiplies", counts.macs),
        ):
            np.testing.assert_array_equal(getattr(found, what), expected)
    assert any(c.weight_words.any() for c in derived.connections.values())


@pytest.mark.parametrize(
    ("weights", "multiplies", "additions"),
    [
        ([1, 1, 1, 1], 0, 4),
        ([3, 3, 3, 3], 0, 4),  # the common factor is the host's
        ([0, 0, 0, 1], 0, 1),
        ([5, -1, 0, 7], 2, 3),
    ],
)
def test_the_readout(weights, multiplies, additions):
    base = vectors()
    readout = Readout(
        connections=base.readout.connections,
        bias=np.array([0, 1, 0]),
        weights=np.array(weights),
    )
    network = replace(base, readout=readout)
    ledger = ReferenceEngine(network).run(sample_inputs(network, 2)).ledger
    found = derived_counts(ledger, network).readout
    assert int(found.multiplies.sum()) == 2 * 3 * multiplies
    assert int(found.additions.sum()) == 2 * 3 * additions
    assert found.bias_additions.tolist() == [6] * 4
    without = replace(network, readout=replace(readout, bias=np.zeros(3, np.int64)))
    assert not derived_counts(ledger, without).readout.bias_additions.any()


@pytest.mark.parametrize(
    ("case", "sent", "received"),
    [
        ("vectors", 10, 3 * 8),  # one byte a value, once per sample
        ("frames_encoding", 4 * 60, 3 * 8),
        ("spikes_encoding", 4 * 60, 3 * 8),
        ("float_shortcut", 4 * 60, 3 * 4),
        ("float_frames", 4 * 4 * 60, 3 * 4),
    ],
)
def test_what_the_host_sends_and_gets(case, sent, received):
    network = NETWORKS[case]()
    ledger = ReferenceEngine(network).run(sample_inputs(network, 5)).ledger
    derived = derived_counts(ledger, network)
    assert derived.host_input_bytes == 5 * sent
    assert derived.host_output_bytes == 5 * received
    assert derived.time_steps == 5 * network.steps


def test_messages_need_a_placement():
    network = CASES["shortcut_across_two_convolutions"]()
    inputs = sample_inputs(network, 3)
    engine = ReferenceEngine(network)
    ledger = engine.run(inputs).ledger
    assert derived_counts(ledger, network).messages is None
    assert derived_counts(ledger, network).input_messages is None
    assert derived_counts(ledger, network).hops is None
    chip = load_chip("loihi1")
    placement = place(network, chip)
    traffic = count_traffic(network, placement, spike_counts(engine, inputs), 3)
    derived = derived_counts(ledger, network, traffic)
    assert derived.messages is not None
    assert derived.hops is not None
    assert derived.input_messages is not None
    assert derived.messages.tolist() == traffic.total.messages.tolist()
    assert derived.input_messages.tolist() == traffic.input.messages.tolist()
    assert min(derived.messages.sum(), derived.input_messages.sum()) > 0
    # What is priced is counted alike.
    profile = load_profile("loihi1")
    terms = {t.event: t.count for t in estimate_energy(ledger, profile, traffic=traffic).terms}
    plain = derived.to_dict()
    for event, key in (("message", "messages"), ("input_message", "input_messages")):
        assert terms[event] == pytest.approx(plain[key] / ledger.samples)
    assert derived.hops.tolist() == (traffic.total.hops_x + traffic.total.hops_y).tolist()
    other: Any = SimpleNamespace(samples=4)
    with pytest.raises(InvalidDataError, match="traffic: got messages of 4 samples"):
        derived_counts(ledger, network, other)


def test_a_ledger_of_another_network_is_refused():
    ledger = ReferenceEngine(vectors()).run(sample_inputs(vectors(), 2)).ledger
    with pytest.raises(InvalidDataError, match="ledger: got counts of another network"):
        derived_counts(ledger, CASES["recurrent"]())
    first = ledger.populations["first"]
    changed = replace(
        ledger, populations={**ledger.populations, "first": replace(first, neurons=13)}
    )
    with pytest.raises(InvalidDataError, match="counts of another network"):
        derived_counts(changed, vectors())
    label = next(iter(ledger.connections))
    fewer = replace(ledger.connections[label], synapses=ledger.connections[label].synapses - 1)
    changed = replace(ledger, connections={**ledger.connections, label: fewer})
    with pytest.raises(InvalidDataError, match="counts of another network"):
        derived_counts(changed, vectors())


def test_shards_add_up():
    network = CASES["soft_reset"]()
    inputs = sample_inputs(network, 5)
    engine = ReferenceEngine(network)
    whole = derived_counts(engine.run(inputs).ledger, network).to_dict()
    parts = [derived_counts(engine.run(x).ledger, network).to_dict() for x in np.split(inputs, [2])]
    assert _leaves(whole) == [a + b for a, b in zip(*map(_leaves, parts), strict=True)]


def test_the_json_form_holds_everything():
    network = vectors()
    ledger = ReferenceEngine(network).run(sample_inputs(network, 2)).ledger
    derived = derived_counts(ledger, network)
    plain = json.loads(json.dumps(derived.to_dict()))
    assert set(plain) == {field.name for field in fields(derived)}
    for group, kind in (("connections", ConnectionWork), ("populations", PopulationWork)):
        for name, counts in getattr(derived, group).items():
            assert set(plain[group][name]) == {field.name for field in fields(kind)}
            for what, total in plain[group][name].items():
                assert total == int(getattr(counts, what).sum())
    assert math.isclose(plain["time_steps"], 2 * network.steps)


def _leaves(value: Any) -> list[int]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    return [] if value is None else [value]
