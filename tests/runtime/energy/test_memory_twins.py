"""The dense network on the core of a memory model, by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from tests.networks import CASES, as_float, sample_inputs
from tests.runtime.energy.test_memory import ctsn, model, small
from tests.runtime.energy.test_memory_sizes import crowded
from trispike.network import Connection, Conv2d, Dense, Input, IntegerNetwork, Population
from trispike.runtime import ReferenceEngine
from trispike.runtime.activity import spike_counts
from trispike.runtime.energy import MemoryTwin, estimate_memory
from trispike.targets.loihi.traffic import count_traffic


def twins_of(
    network: IntegerNetwork, x: npt.NDArray[np.float64], **changes: object
) -> list[MemoryTwin]:
    ledger = ReferenceEngine(network).run(x).ledger
    return list(estimate_memory(network, ledger, model(**changes), input_events=3.0).twins)


def ends(twin: MemoryTwin) -> list[float]:
    found = (twin.twin_low_joules, twin.twin_joules, twin.twin_high_joules)
    return [joules * 1e12 for joules in found]


def test_three_orders_by_hand():
    """3 inputs, 4 neurons, 2 classes: 20 products of 0.3 pJ with an address of 0.1 each."""
    network = small()
    events, weights, sums = twins_of(network, np.array([[5.0, -3.0, 0.0]]))
    assert {twin.dense_macs for twin in (events, weights, sums)} == {20}
    # ReLU and a product back to 8 bits of 4 neurons.
    arithmetic = 20 * 0.4 + 4 * (0.1 + 3.1)
    # Weights 8 to a word, sums 2 to a word read and written, 7 activations written and read; of 4
    # neurons the sums read and cleared.
    assert ends(events) == pytest.approx(
        [
            arithmetic + 10 * (20 / 8 + 14 / 8),
            arithmetic + 10 * (20 / 8 + 20 + 14 / 8 + 4),
            arithmetic + 10 * (20 + 40 + 14 + 8),
        ]
    )
    # Matrices use each weight once.
    assert ends(weights) == pytest.approx(ends(events))
    # 7 activations are written, one is read for each product.
    assert ends(sums) == pytest.approx(
        [arithmetic + 10 * (20 + 27) / 8] * 2 + [arithmetic + 10 * (20 + 27)]
    )
    assert events.breakdown == pytest.approx(
        {
            "synapse_arithmetic": 6e-12,
            "addressing": 2e-12,
            "weight_fetch": 25e-12,
            "accumulators": 200e-12,
            "activations": 17.5e-12,
            "neuron_arithmetic": 12.8e-12,
            "neuron_state": 40e-12,
        }
    )
    assert "accumulators" not in sums.breakdown


def test_a_kernel_is_fetched_once():
    """18 weights of a convolution with 2 x 2 x 2 targets: 72 products."""
    weight = np.ones((2, 1, 3, 3), np.int8)
    conv = Connection(sources=("input",), target="a", operator=Conv2d(weight=weight))
    read = Connection(
        sources=("a",), target="readout", operator=Dense(weight=np.ones((2, 8), np.int8))
    )
    network = replace(
        small(),
        input=Input(shape=(1, 4, 4), scale=1.0),
        populations={"a": Population(shape=(2, 2, 2), neuron=ctsn())},
        connections=(conv,),
        readout=replace(small().readout, connections=(read,)),
    )
    events, weights, _ = twins_of(network, np.ones((1, 1, 4, 4)))
    assert events.dense_macs == 72 + 16
    assert events.breakdown["weight_fetch"] == pytest.approx(10e-12 * (72 + 16) / 8)
    assert weights.breakdown["weight_fetch"] == pytest.approx(10e-12 * (18 + 16) / 8)
    saved = events.twin_joules - weights.twin_joules
    assert saved == pytest.approx(10e-12 * (72 - 18) / 8)


def test_biases_cost_what_the_spiking_ones_do():
    plain, common, own = (
        twins_of(small(ctsn(bias=bias)), np.ones((1, 3)))[0]
        for bias in (np.int64(0), np.int64(3), np.arange(1, 5))
    )
    assert common.twin_joules - plain.twin_joules == pytest.approx(4 * 0.1e-12)
    # 4 biases of 24 bits, each in a word of its own; packed they are one and a half.
    assert own.twin_joules - common.twin_joules == pytest.approx(40e-12)
    assert own.twin_low_joules - common.twin_low_joules == pytest.approx(15e-12)


def test_a_float_network_needs_no_requantization():
    network = as_float(small())
    ledger = ReferenceEngine(network).run(np.ones((1, 3))).ledger
    events = estimate_memory(network, ledger, model(), input_events=3.0).twins[0]
    assert events.breakdown["neuron_arithmetic"] == pytest.approx(4 * 0.9e-12)
    # Activations of 32 bits, two to a word.
    assert events.breakdown["activations"] == pytest.approx(10e-12 * 14 / 2)


def test_the_input_is_on_both_sides_or_on_none():
    network, x = small(), np.array([[5.0, -3.0, 0.0]])
    ledger = ReferenceEngine(network).run(x).ledger
    known = estimate_memory(network, ledger, model(), input_events=6.0)
    unknown = estimate_memory(network, ledger, model())
    for one, other in zip(known.twins, unknown.twins, strict=True):
        assert one.spiking_joules > other.spiking_joules
        assert one.breakdown["activations"] > other.breakdown["activations"]
        assert other.assumptions[1:] == ("fetching the input is in neither side",)
        assert len(one.assumptions) == 1


def test_the_spiking_side_is_the_estimate_without_static_power():
    power = {"watts": 1.0, "citation": "my meter"}
    network = small()
    ledger = ReferenceEngine(network).run(np.ones((1, 3))).ledger
    found = estimate_memory(
        network, ledger, model(static_power=power), input_events=3.0, latency_seconds=1.0
    )
    for twin in found.twins:
        assert twin.spiking_joules == pytest.approx(found.energy_per_inference_joules - 1)
        assert twin.spiking_low_joules == pytest.approx(found.low_joules - 1)
        assert twin.spiking_high_joules == pytest.approx(found.high_joules - 1)


def test_signs_cost_the_dense_network_nothing():
    signs = {"policy": "dual_channel", "note": "two of each"}
    x = np.ones((1, 3))
    one, two = twins_of(small(), x), twins_of(small(), x, signed_spikes=signs)
    assert [ends(twin) for twin in one] == [ends(twin) for twin in two]


def test_an_activation_goes_to_each_core_that_it_reaches():
    """As a message does; and a kernel that lies on several cores is fetched on each."""
    network = CASES["deep"]()
    x = sample_inputs(network, 2)
    engine = ReferenceEngine(network)
    ledger, placed = engine.run(x).ledger, crowded(network, 8)
    traffic = count_traffic(network, placed, spike_counts(engine, x), len(x))
    one = estimate_memory(network, ledger, model(), input_events=1.0).twins
    more = estimate_memory(network, ledger, model(), placement=placed, traffic=traffic).twins
    assert more[0].breakdown["activations"] > one[0].breakdown["activations"]
    assert more[1].breakdown["weight_fetch"] > one[1].breakdown["weight_fetch"]
    assert more[0].breakdown["weight_fetch"] == pytest.approx(one[0].breakdown["weight_fetch"])


def test_the_verdict_names_the_middle_and_both_ends():
    twin = MemoryTwin(
        id="dense", name="dense", profile="mine", dense_macs=1, spiking_joules=3.0,
        spiking_low_joules=1.0, spiking_high_joules=8.0, twin_joules=2.0, twin_low_joules=4.0,
        twin_high_joules=8.0, breakdown={"addressing": 2.0}, assumptions=("none",),
    )  # fmt: skip
    assert twin.verdict == (
        "the spiking network loses by 1.50x; at the lower ends of both bands it wins by 4.00x, at "
        "the upper ends it draws"
    )
    plain = json.loads(json.dumps(twin.to_dict(), allow_nan=False))
    assert plain["verdict"] == twin.verdict
    assert plain["assumptions"] == ["none"]
    assert plain["breakdown"] == {"addressing": 2.0}
