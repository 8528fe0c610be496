"""The conventions of others, against counts by hand and against enumeration."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.networks import CASES, sample_inputs
from tests.runtime.energy.tool_networks import NETWORKS, data_of
from trispike.errors import InvalidDataError
from trispike.network import (
    Connection,
    Conv2d,
    FixedPointNeuron,
    Identity,
    Input,
    IntegerNetwork,
    Network,
    Population,
    Readout,
    SumPool,
)
from trispike.network.connection import Dense
from trispike.runtime import ReferenceEngine
from trispike.runtime.energy.conventions import (
    KERAS_SPIKING,
    Convention,
    conventions,
    neurobench_before_folding,
    sees_other_inputs,
)
from trispike.runtime.input_counts import input_counts

RECORDED = Path(__file__).with_name("recorded_tools.json")

KERNEL = np.array([[[[1, 0, 1]]]], dtype=np.int8)
"""Three taps, one of them zero."""


def network(encoding: Any = "direct", steps: int = 2) -> IntegerNetwork:
    """Five inputs in a row, a padded convolution, five neurons that pass on what they get, a class.

    The threshold is 1 and nothing is kept, so that a neuron fires the sign of its input.
    """
    row = (1, 1, 5)
    neuron = FixedPointNeuron(th_pos=64, th_neg=64)
    return IntegerNetwork(
        input=Input(shape=row, encoding=encoding, scale=0.5 if encoding != "spikes" else 1.0),
        populations={"a": Population(shape=row, neuron=neuron)},
        connections=(
            Connection(
                sources=("input",),
                target="a",
                operator=Conv2d(weight=KERNEL, padding=(0, 1)),
            ),
        ),
        readout=Readout(
            connections=(
                Connection(
                    sources=("a",),
                    target="readout",
                    operator=Dense(weight=np.array([[1, 0, 2, 3, 4]], dtype=np.int8)),
                ),
            ),
            bias=np.zeros(1, int),
            weights=np.ones(steps, int),
        ),
        steps=steps,
    )


def found(network: Network, data: Any) -> Any:
    ledger = ReferenceEngine(network).run(data).ledger
    return {c.id: c for c in conventions(ledger, network, input_counts(network, data))}


def counts(convention: Convention) -> Any:
    return (convention.accumulates, convention.multiply_accumulates, convention.dense)


DATA = np.array([[[[1.0, 0.0, 0.0, 0.0, 0.5]]]])
"""As integers 2 0 0 0 1. Element 0 meets output 1, element 4 output 3: neurons 1 and 3 fire +1 at
both steps, and of the readout's weights neuron 1 has the zero."""


def test_a_direct_network_by_hand():
    by_id = found(network(), DATA)
    # Per step: one graded product, one addition; neuron 3 reaches the class, neuron 1 does not.
    assert counts(by_id["trispike"]) == (2 * (1 + 1), 2 * 1, 2 * (8 + 4))
    assert by_id["trispike"].neuron_updates == 10
    # The 2 makes the whole layer MACs. Dense: 13 products of the convolution without padding, 5.
    assert counts(by_id["neurobench"]) == (2 * 1, 2 * 2, 2 * (13 + 5))
    # Dense MACs with padding, 15, at both steps; the readout's spikes are 0 and 1: 5 at rate 2/5.
    assert counts(by_id["syops"]) == (pytest.approx(2 * 5 * 2 / 5), 2 * 15, 2 * (15 + 5))
    # The image once.
    papers = by_id["papers-0.9-4.6"]
    assert counts(papers) == (pytest.approx(2 * 5 * 2 / 5), 15, 15 + 5)
    assert papers.joules == pytest.approx((4 * 0.9 + 15 * 4.6) * 1e-12)
    # Mean input: (1.0 + 0.5) / 5, in the data's units.
    synops = 2 * (15 * 1.5 / 5 + 5 * 2 / 5)
    loihi = by_id["keras-spiking-loihi"]
    assert counts(loihi) == (pytest.approx(synops), None, 20)
    assert loihi.neuron_updates == 10
    assert loihi.joules == pytest.approx(synops * 27.1e-12 + 10 * 81e-12)
    gpu = by_id["keras-spiking-gpu"]
    assert (gpu.accumulates, gpu.neuron_updates) == (20, 5)
    assert gpu.joules == pytest.approx(25 * 0.3e-9)


def test_a_negative_spike_makes_a_dense_layer_of_it():
    """In syops. NeuroBench sees ternary spikes, and so do the papers' rates."""
    by_id = found(network(), DATA * np.array([1, 1, 1, 1, -1]))
    assert counts(by_id["syops"]) == (0, 2 * (15 + 5), 2 * (15 + 5))
    assert counts(by_id["neurobench"]) == (2 * 1, 2 * 2, 2 * 18)
    assert by_id["papers-0.9-4.6"].accumulates == pytest.approx(4)
    assert by_id["keras-spiking-loihi"].accumulates == pytest.approx(13)


def test_spikes_at_the_input_by_hand():
    """Ternary at the first step, binary at the second."""
    spikes = np.array([[[1, 0, 0, 0, -1], [0, 0, 1, 0, 0]]]).reshape(1, 2, 1, 1, 5)
    by_id = found(network("spikes"), spikes)
    # Neurons 1 and 3 fire, then 1 and 3 again (both neighbours of the middle).
    assert counts(by_id["trispike"]) == (2 + 1 + 2 + 1, 0, 24)
    assert counts(by_id["neurobench"]) == (6, 0, 36)
    # Step 0: both layers are dense; step 1: 15 products at rate 1/5, 5 at 2/5.
    assert counts(by_id["syops"]) == (pytest.approx(3 + 2), 20, 40)
    assert counts(by_id["papers-0.9-4.6"]) == (pytest.approx(15 * 3 / 5 + 5 * 4 / 5), 0, 20)
    assert by_id["keras-spiking-loihi"].accumulates == pytest.approx(15 * 3 / 5 + 5 * 4 / 5)


def test_frames_are_analog_at_every_step():
    frames = np.array([[[1.0, 0, 0, 0, 0], [0, 0, 0, 0, 0.5]]]).reshape(1, 2, 1, 1, 5)
    by_id = found(network("frames"), frames)
    assert by_id["papers-0.9-4.6"].multiply_accumulates == 2 * 15
    # The second frame is a single event in integers: NeuroBench and syops call it spikes.
    assert by_id["neurobench"].multiply_accumulates == 1
    assert by_id["syops"].multiply_accumulates == 15


def test_several_samples_are_means_over_one_batch():
    """One sample with a graded value makes MACs of the whole batch."""
    quiet = np.zeros_like(DATA)
    quiet[..., 4] = 0.5
    alone = found(network(), quiet)["neurobench"]
    assert counts(alone)[:2] == (2 * (1 + 1), 0)
    both = found(network(), np.concatenate([DATA, quiet]))["neurobench"]
    assert counts(both) == ((2 * 1 + 2 * 1) / 2, (2 * 2 + 2 * 1) / 2, 36)


def test_a_delayed_connection_hears_silence_first():
    slow = network(steps=3)
    (late,) = slow.readout.connections
    slow = replace(slow, readout=replace(slow.readout, connections=(replace(late, delay=2),)))
    by_id = found(slow, DATA)
    assert by_id["papers-0.9-4.6"].accumulates == pytest.approx(5 * 2 / 5)
    assert by_id["syops"].accumulates == pytest.approx(5 * 2 / 5)
    assert by_id["neurobench"].accumulates == 1


def test_a_shortcut_is_no_layer_to_them():
    by_id = found(CASES["shortcut_across_two_convolutions"](), sample_inputs(
        CASES["shortcut_across_two_convolutions"](), 4
    ))  # fmt: skip
    ours, theirs = by_id["trispike"], by_id["neurobench"]
    total = ours.accumulates + ours.multiply_accumulates
    seen = theirs.accumulates + theirs.multiply_accumulates
    assert total > seen
    sentence = f"A shortcut is no layer: {total - seen:,.0f} of our operations are not in it."
    for convention in by_id.values():
        assert (sentence in convention.differences) == (convention.id != "trispike")


@pytest.mark.parametrize("case", sorted(CASES))
def test_every_network_has_every_row(case):
    made = CASES[case]()
    by_id = found(made, sample_inputs(made, 3))
    names = ["trispike", "neurobench", "syops", "papers-0.9-4.6"]
    assert list(by_id) == [*names, *(f"keras-spiking-{device}" for device in KERAS_SPIKING)]
    for convention in by_id.values():
        plain = json.loads(json.dumps(convention.to_dict(), allow_nan=False))
        assert all(plain[key] is None or plain[key] >= 0 for key in ("accumulates", "joules"))
        assert bool(plain["differences"]) == (convention.id != "trispike")
        assert all(sentence.endswith(".") for sentence in plain["differences"])
        if convention.id in ("neurobench", "syops") and not sees_other_inputs(made):
            done = convention.accumulates + convention.multiply_accumulates
            assert done <= convention.dense


@pytest.mark.parametrize("case", ["groups", "dilation", "static_form"])
def test_before_folding_is_the_same_where_nothing_is_folded(case):
    made = CASES[case]()
    data = sample_inputs(made, 3)
    assert not sees_other_inputs(made)
    before = neurobench_before_folding(made, data)
    assert counts(before) == counts(found(made, data)["neurobench"])


def test_pooled_spikes_by_hand():
    """Means of two: 1 and 0 at the first step, which is one AC; 1/2 and 0 at the second, a MAC."""
    plain = network("spikes")
    made = replace(
        plain,
        readout=replace(
            plain.readout,
            connections=(
                Connection(
                    sources=("input",),
                    target="readout",
                    operator=Dense(weight=np.array([[1, 2]], dtype=np.int8)),
                    pool=SumPool(kernel=(1, 2), stride=(1, 2)),
                ),
            ),
        ),
        connections=(),
        populations={},
    )
    spikes = np.array([[1, 1, 1, -1, 1], [1, 0, 0, 0, 1]]).reshape(1, 2, 1, 1, 5)
    assert sees_other_inputs(made)
    assert counts(neurobench_before_folding(made, spikes)) == (1, 1, 4)
    assert counts(found(made, spikes)["neurobench"]) == (5, 0, 4)
    # Of syops: pooling takes one operation per element before it; the averages are MACs.
    assert counts(found(made, spikes)["syops"]) == (pytest.approx(5 * 2 / 5), 5 + 2 * 2, 14)
    with pytest.raises(InvalidDataError, match="data: got no samples"):
        neurobench_before_folding(made, spikes[:0])


def test_an_identity_is_not_looked_at():
    made = CASES["shortcut_across_two_convolutions"]()
    assert any(isinstance(c.operator, Identity) for c in made.connections)
    assert not sees_other_inputs(made)


def test_a_ledger_of_another_network():
    data = sample_inputs(CASES["groups"](), 2)
    ledger = ReferenceEngine(CASES["groups"]()).run(data).ledger
    inputs = input_counts(CASES["groups"](), data)
    with pytest.raises(InvalidDataError, match="ledger: got counts of another network"):
        conventions(ledger, CASES["dilation"](), inputs)
    with pytest.raises(InvalidDataError, match="ledger: got no samples"):
        conventions(replace(ledger, samples=0), CASES["groups"](), inputs)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_counts_that_the_tools_themselves_gave(name):
    """Recorded from NeuroBench 2.3.0 and syops 0.0.5; the file has the command."""
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))["networks"]
    assert recorded.keys() == NETWORKS.keys()
    made = NETWORKS[name]()
    data, theirs = data_of(made), recorded[name]
    by_id = found(made, data)
    # They see averages where pooling comes first.
    neurobench = (
        neurobench_before_folding(made, data) if sees_other_inputs(made) else by_id["neurobench"]
    )
    assert theirs["neurobench"] == {
        "Effective_ACs": neurobench.accumulates,
        "Effective_MACs": neurobench.multiply_accumulates,
        "Dense": neurobench.dense,
    }
    syops = by_id["syops"]
    ours = [syops.dense, syops.accumulates, syops.multiply_accumulates]
    assert ours == pytest.approx(theirs["syops"], rel=1e-6)


def test_prices_are_those_of_the_tools():
    """KerasSpiking 0.3.0, ModelEnergy: J per synaptic operation and per neuron update."""
    table = {
        "loihi": (27.1e-12, 81e-12),
        "spinnaker": (13.3e-9, 26e-9),
        "spinnaker2": (450e-12, 2.19e-9),
        "cpu": (8.6e-9, 8.6e-9),
        "gpu": (0.3e-9, 0.3e-9),
        "arm": (0.9e-9, 0.9e-9),
    }
    assert set(KERAS_SPIKING) == set(table)
    by_id = found(network(), DATA)
    for device, (synop, update) in table.items():
        row = by_id[f"keras-spiking-{device}"]
        assert row.joules == pytest.approx(row.accumulates * synop + row.neuron_updates * update)
    papers = by_id["papers-0.9-4.6"]
    total = papers.accumulates * 0.9e-12 + papers.multiply_accumulates * 4.6e-12
    assert papers.joules == pytest.approx(total)
