"""The ledger: exact counts. Against plain numbers, on every network, in test_reference.py."""

import json
from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.networks import CASES, saturation
from tests.runtime import floats
from tests.runtime.floats import sample_inputs
from trispike.errors import InvalidDataError
from trispike.network import (
    Connection,
    Conv2d,
    Dense,
    FixedPointNeuron,
    Identity,
    Input,
    IntegerNetwork,
    Population,
    Readout,
    SumPool,
)
from trispike.network.connection import Shape
from trispike.network.dynamics import time_steps
from trispike.network.network import Encoding
from trispike.runtime import Ledger, ReferenceEngine
from trispike.runtime.ledger import ConnectionCounts, LedgerCounter, PopulationCounts

SHARDED = {name: CASES[name] for name in ("sew_addition", "recurrent", "saturation")}


def ledger(network, inputs) -> Ledger:
    return ReferenceEngine(network).run(inputs).ledger


def one_layer(
    connection: Connection,
    *,
    shape: Shape,
    steps: int = 2,
    encoding: Encoding = "spikes",
    out: Shape = (3, 3, 3),
) -> IntegerNetwork:
    """Input, one connection, one population, a readout that sees its first neuron only."""
    first = np.zeros((2, int(np.prod(out))), dtype=np.int8)
    first[0, 0] = 1
    read = Connection(sources=("layer",), target="readout", operator=Dense(weight=first))
    neuron = FixedPointNeuron(th_pos=1, th_neg=1, state_shift=0)
    return IntegerNetwork(
        input=Input(shape=shape, encoding=encoding, scale=1.0),
        populations={"layer": Population(shape=out, neuron=neuron)},
        connections=(connection,),
        readout=Readout(
            connections=(read,), bias=np.zeros(2, int), weights=np.ones(steps, dtype=int)
        ),
        steps=steps,
    )


def test_a_spike_at_the_border_meets_fewer_synapses():
    """A 3x3 kernel with padding: a corner reaches 4 places, an edge 6, the middle 9."""
    kernel = Conv2d(weight=np.ones((3, 1, 3, 3), int), padding=(1, 1))
    network = one_layer(
        Connection(sources=("input",), target="layer", operator=kernel), shape=(1, 3, 3)
    )
    for row, column, reached in ((0, 0, 4), (0, 1, 6), (1, 1, 9), (2, 2, 4)):
        spikes = np.zeros((1, 2, 1, 3, 3))
        spikes[0, 1, 0, row, column] = -1
        counts = ledger(network, spikes).connections["input->layer"]
        assert counts.synaptic_operations.tolist() == [0, 3 * reached]
        assert counts.macs.tolist() == [0, 0]
        assert (counts.synapses, counts.dense_macs) == (3 * 49, 3 * 49)
        assert counts.dense_operations.tolist() == [3 * 49] * 2


def test_zero_weights_are_no_synapses_but_dense_macs():
    weight = np.array([[5, 0, 0, -1], [0, 0, 0, 2], [1, 1, 1, 1]])
    connection = Connection(sources=("input",), target="layer", operator=Dense(weight=weight))
    network = one_layer(connection, shape=(4,), out=(3,))
    spikes = np.array([[[1, 0, -1, 0], [0, 0, 0, 1]]])
    counts = ledger(network, spikes).connections["input->layer"]
    assert counts.synaptic_operations.tolist() == [2 + 1, 3]
    assert (counts.synapses, counts.dense_macs) == (7, 12)


def test_graded_payloads_are_counted_apart():
    """-1, 0 and +1 are synaptic operations whatever their origin; everything else is a MAC."""
    connection = Connection(
        sources=("input",), target="layer", operator=Dense(weight=np.ones((3, 4), int))
    )
    network = one_layer(connection, shape=(4,), out=(3,))
    counts = ledger(network, np.array([[[1, -1, 2, 0], [127, -127, 0, 0]]])).connections
    assert counts["input->layer"].synaptic_operations.tolist() == [6, 0]
    assert counts["input->layer"].macs.tolist() == [3, 6]


def test_direct_input_is_delivered_and_counted_at_every_step():
    connection = Connection(
        sources=("input",), target="layer", operator=Identity(scale=np.int8(1)), delay=0
    )
    for delay, arrives in ((0, [1, 1, 1, 1]), (1, [0, 1, 1, 1]), (3, [0, 0, 0, 1])):
        network = one_layer(
            replace(connection, delay=delay), shape=(9,), out=(9,), steps=4, encoding="direct"
        )
        image = np.array([[0, 1, 2, 3, 0, 0, 0, -1, -9]])
        counts = ledger(network, image).connections["input->layer"]
        assert counts.synaptic_operations.tolist() == [2 * n for n in arrives]
        assert counts.macs.tolist() == [3 * n for n in arrives]
        assert counts.dense_operations.tolist() == [9] * 4


def test_pooled_spikes_go_straight_to_what_is_behind_the_window():
    """Sum pooling makes no event of its own: one spike, two outputs of the matrix behind it."""
    connection = Connection(
        sources=("input",),
        target="layer",
        operator=Dense(weight=np.array([[1, 2, 3, 4], [1, 0, 3, 4], [1, 2, 0, 4]])),
        pool=SumPool(kernel=(2, 2), stride=(2, 2)),
    )
    network = one_layer(connection, shape=(1, 4, 4), out=(3,))
    spikes = np.zeros((1, 2, 1, 4, 4))
    spikes[0, 0, 0, :2, 2:] = 1  # all four places of the second window, whose weights are 2, 0, 2
    spikes[0, 1, 0, 3, 3] = -1
    counts = ledger(network, spikes).connections["input->layer"]
    assert counts.synaptic_operations.tolist() == [4 * 2, 3]
    assert counts.synapses == 4 * (3 + 2 + 2 + 3)
    assert counts.dense_macs == 12


def test_each_source_of_a_connection_is_an_event_of_its_own():
    """Spikes +1 and -1 that meet in one connection cancel in the sum, not in the counts."""
    b = IntegerNetwork(
        input=Input(shape=(2,), encoding="spikes", scale=1.0),
        populations={
            name: Population(shape=(2,), neuron=FixedPointNeuron(th_pos=1, th_neg=1, state_shift=0))
            for name in ("up", "down", "sum")
        },
        connections=(
            *(
                Connection(sources=("input",), target=name, operator=Identity(scale=np.int8(sign)))
                for name, sign in (("up", 1), ("down", -1))
            ),
            Connection(
                sources=("up", "down"), target="sum", operator=Dense(weight=np.ones((2, 2), int))
            ),
        ),
        readout=Readout(
            connections=(
                Connection(
                    sources=("sum",), target="readout", operator=Dense(weight=np.ones((1, 2), int))
                ),
            ),
            bias=np.zeros(1, int),
            weights=np.ones(1, int),
        ),
        steps=1,
    )
    found = ledger(b, np.array([[[1, -1]]]))
    assert found.connections["up+down->sum"].synaptic_operations.tolist() == [8]
    assert found.connections["up+down->sum"].dense_operations.tolist() == [8]
    assert found.populations["sum"].updates_with_input.tolist() == [0]
    assert found.populations["up"].spikes_positive.tolist() == [1]
    assert found.populations["up"].spikes_negative.tolist() == [1]
    assert (found.spikes, found.synaptic_operations, found.macs) == (4, 8 + 4, 0)


def test_totals_are_sums_over_parts():
    found = ledger(saturation(), sample_inputs(saturation(), 3))
    parts = found.populations.values()
    assert found.spikes == sum(int((p.spikes_positive + p.spikes_negative).sum()) for p in parts)
    assert found.saturations == sum(int(p.saturations.sum()) for p in parts) > 0
    connections = found.connections.values()
    assert found.synaptic_operations == sum(int(c.synaptic_operations.sum()) for c in connections)
    assert found.macs == sum(int(c.macs.sum()) for c in connections) > 0
    for name, p in found.populations.items():
        assert p.updates.tolist() == [3 * p.neurons] * found.steps
        rate = float((p.spikes_positive + p.spikes_negative).sum() / p.updates.sum())
        assert found.firing_rate(name) == rate > 0
    assert {type(found.spikes), type(found.synaptic_operations), type(found.saturations)} == {int}


@given(cuts=st.lists(st.integers(0, 9), max_size=4), case=st.sampled_from(sorted(SHARDED)))
@settings(max_examples=25)
def test_shards_add_up_to_the_whole(cuts, case):
    """Empty shards included, in any order of adding."""
    network = SHARDED[case]()
    inputs = sample_inputs(network, 9)
    bounds = [0, *sorted(cuts), 9]
    shards = [ledger(network, inputs[a:b]) for a, b in pairwise(bounds)]
    forwards, backwards = shards[0], shards[-1]
    for n in range(1, len(shards)):
        forwards = forwards.merged(shards[n])
        backwards = shards[-1 - n].merged(backwards)
    whole = ledger(network, inputs)
    assert whole.differences(forwards) == whole.differences(backwards) == []


def test_only_ledgers_of_one_network_are_merged():
    network = CASES["vectors"]()
    one = ledger(network, sample_inputs(network, 2))
    label, name = next(iter(one.connections)), next(iter(one.populations))
    counts, cells = one.connections[label], one.populations[name]
    other = CASES["recurrent"]()
    strangers = [
        ledger(other, sample_inputs(other, 2)),
        replace(one, steps=one.steps + 1),
        replace(one, populations={}),
        replace(one, populations={**one.populations, name: replace(cells, neurons=99)}),
        replace(one, connections={**one.connections, label: replace(counts, synapses=99)}),
        replace(one, connections={**one.connections, label: replace(counts, dense_macs=99)}),
    ]
    for stranger in strangers:
        for a, b in ((one, stranger), (stranger, one)):
            with pytest.raises(InvalidDataError, match="to be merged: got counts of another net"):
                a.merged(b)


def test_merging_changes_neither_part():
    network = floats.CASES["shortcut"]()
    inputs = sample_inputs(network, 4)
    a, b = ledger(network, inputs[:1]), ledger(network, inputs[1:])
    merged = a.merged(b)
    assert merged.samples == 4
    assert a.differences(ledger(network, inputs[:1])) == []
    assert b.differences(ledger(network, inputs[1:])) == []
    assert merged.connections["input->stem"].synapses == a.connections["input->stem"].synapses


def test_a_ledger_does_not_change_when_counting_goes_on():
    network = saturation()
    counter = LedgerCounter(network)
    encoded = network.input.encode(sample_inputs(network, 2), network.steps)
    steps = list(time_steps(network, encoded))
    counter.add_samples(2)
    for step in steps:
        counter.add_step(step)
    first = counter.ledger()
    counter.add_samples(2)
    for step in steps:
        counter.add_step(step)
    assert first.differences(ledger(network, sample_inputs(network, 2))) == []
    assert counter.ledger().differences(first.merged(first)) == []


@pytest.mark.parametrize("field", [f.name for f in fields(PopulationCounts)])
def test_a_difference_in_a_population_is_named(field):
    network = saturation()
    found = ledger(network, sample_inputs(network, 2))
    changed = replace(found.populations["second"], **{field: _changed(found, "second", field)})
    other = replace(found, populations={**found.populations, "second": changed})
    assert found.differences(other) == other.differences(found) == [f"populations/second/{field}"]


@pytest.mark.parametrize("field", [f.name for f in fields(ConnectionCounts)])
def test_a_difference_in_a_connection_is_named(field):
    network = saturation()
    found = ledger(network, sample_inputs(network, 2))
    label = "first->second"
    value = getattr(found.connections[label], field) + 1
    changed = replace(found.connections[label], **{field: value})
    other = replace(found, connections={**found.connections, label: changed})
    assert found.differences(other) == [f"connections/{label}/{field}"]


def test_all_differences_are_named():
    network = saturation()
    inputs = sample_inputs(network, 3)
    a, b = ledger(network, inputs[:2]), ledger(network, inputs)
    found = a.differences(b)
    assert found[0] == "samples"
    assert "populations/first/updates" in found
    assert "connections/second->readout/dense_operations" in found
    assert "populations/first/neurons" not in found
    other = replace(a, populations={"renamed": a.populations["first"]}, steps=5)
    assert a.differences(other) == ["steps", "populations"]


def test_the_json_form_holds_everything():
    network = saturation()
    found = ledger(network, sample_inputs(network, 2))
    plain = json.loads(json.dumps(found.to_dict()))
    for name in ("samples", "steps", "spikes", "synaptic_operations", "macs", "saturations"):
        assert plain[name] == getattr(found, name)
    for group in ("populations", "connections"):
        for name, counts in getattr(found, group).items():
            assert set(plain[group][name]) == {f.name for f in fields(counts)}
            for field in fields(counts):
                np.testing.assert_array_equal(plain[group][name][field.name],
                                              getattr(counts, field.name))  # fmt: skip


def _changed(found: Ledger, name: str, field: str):
    return getattr(found.populations[name], field) + 1
