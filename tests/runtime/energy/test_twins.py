"""ANN twins and break-even rates: two layers by hand, and what must hold for any counts."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.networks import CASES, as_float, sample_inputs
from trispike.errors import InvalidDataError, InvalidSettingError
from trispike.network import (
    Connection,
    Dense,
    FixedPointNeuron,
    Input,
    IntegerNetwork,
    Neuron,
    Population,
    Readout,
    with_steps,
)
from trispike.runtime import ReferenceEngine
from trispike.runtime.energy import load_profile
from trispike.runtime.energy.twins import (
    FP32,
    INT8,
    LayerWork,
    NeuronWork,
    Products,
    ann_kinds,
    ann_twins,
    information_bits,
    layer_works,
    most_spikes,
    neuron_work,
)

STEPS = 2


@pytest.mark.parametrize(
    ("arithmetic", "sums", "products", "neurons"),
    [
        (FP32, "cmos45-fp32", "cmos45-fp32", "cmos45-fp32"),
        (INT8, "cmos45-int32", "cmos45-int8", "cmos45-int32"),
    ],
)
def test_prices_are_those_of_the_profiles(arithmetic, sums, products, neurons):
    def add(name: str) -> float:
        return load_profile(name).coefficients["synaptic_operation"].picojoules

    def multiply(name: str) -> float:
        return load_profile(name).coefficients["mac"].picojoules - add(name)

    assert float(arithmetic.accumulate) == float(arithmetic.neuron_add) == add(sums)
    assert float(arithmetic.multiply) == pytest.approx(multiply(products))
    assert float(arithmetic.neuron_multiply) == pytest.approx(multiply(neurons))


KINDS = ann_kinds(4, 0.25)


def network() -> IntegerNetwork:
    """Three inputs, two neurons, two classes; weights so that everything can be counted by hand."""
    neuron = FixedPointNeuron(b_pos=2048, b_neg=2048, th_pos=64, th_neg=64, bias=[1, 0])
    return IntegerNetwork(
        input=Input(shape=(3,), encoding="direct", scale=1.0),
        populations={"a": Population(shape=(2,), neuron=neuron)},
        connections=(
            Connection(
                sources=("input",),
                target="a",
                operator=Dense(weight=np.array([[1, 2, 0], [0, -1, 1]], dtype=np.int8)),
            ),
        ),
        readout=Readout(
            connections=(
                Connection(
                    sources=("a",),
                    target="readout",
                    operator=Dense(weight=np.array([[3, 0], [1, 1]], dtype=np.int8)),
                    bits=4,
                ),
            ),
            bias=np.zeros(2, int),
            weights=np.ones(STEPS, int),
        ),
        steps=STEPS,
    )


DATA = np.array([[5.0, 0.0, 1.0]])
"""x0 is graded and reaches neuron 0; x2 is an event and reaches neuron 1: both fire at both steps
(their input is 5 and 1, shifted by 6)."""


@pytest.fixture
def ledger() -> Any:
    return ReferenceEngine(network()).run(DATA).ledger


def test_the_counts_by_hand(ledger):
    first, last = layer_works(ledger, network())
    assert (first.graded, first.beside_graded, first.capacity, first.spiking) == (2, 2, 0, 0)
    assert (first.products[0].macs, first.products[0].analog) == (6, True)
    assert first.products[0].input_density == Fraction(4, 8)
    assert (first.neurons, first.updates, first.spikes, first.bias) == (2, 4, 4, True)
    # b is one product; b's product plus the input, the bias and two comparisons are sums.
    assert first.work == NeuronWork(1, 4, 0)
    assert (last.capacity, last.spiking, last.graded) == (6, 6, 0)
    assert (last.products[0].macs, last.products[0].weight_bits) == (4, 4)
    assert (last.neurons, last.work) == (0, NeuronWork(0, 0, 0))
    assert last.rate == 1


def test_the_twins_by_hand(ledger):
    fp32, int8, sparse, low = ann_twins(ledger, network(), 0.25)
    assert [t.id for t in (fp32, int8, sparse, low)] == [
        "dense-fp32", "dense-int8", "sparse-int8", "equal-information",
    ]  # fmt: skip
    assert fp32.spiking_joules == pytest.approx((2 * 4.6 + 2 * 0.9 + 6 * 0.9) * 1e-12)
    assert fp32.twin_joules == pytest.approx(10 * 4.6e-12)
    neurons = 4 * (3.7 + 4 * 0.9)
    assert fp32.spiking_with_neurons_joules == pytest.approx((16.4 + neurons) * 1e-12)
    assert fp32.twin_with_neurons_joules == pytest.approx((46 + 2 * 2 * 0.9) * 1e-12)
    for twin in (int8, sparse, low):
        assert twin.spiking_joules == pytest.approx((2 * 0.3 + 8 * 0.1) * 1e-12)
        spiking = 1.4 + 4 * (3.1 + 4 * 0.1)
        assert twin.spiking_with_neurons_joules == pytest.approx(spiking * 1e-12)
        with_neurons = twin.twin_joules + 2 * (3.1 + 2 * 0.1) * 1e-12
        assert twin.twin_with_neurons_joules == pytest.approx(with_neurons)
    assert int8.twin_joules == pytest.approx(10 * 0.3e-12)
    # Half of the input's operations met no zero; a quarter of the activations is zero.
    assert sparse.twin_joules == pytest.approx((6 * 0.5 + 4 * 0.75) * 0.3e-12)
    # T = 2: five values, three bits; the input has 8 bits, the readout's weights have 4.
    products = 6 * 0.2 + 4 * 0.2 * 3 * 4 / 64
    assert low.name == "3-bit activations"
    assert low.twin_joules == pytest.approx((products + 10 * 0.1) * 1e-12)


def test_the_price_of_an_update_at_which_the_lead_is_gone(ledger):
    fp32, int8, *_ = ann_twins(ledger, network())
    # Two neurons over two steps; 10 products.
    assert (int8.dense_macs, int8.neuron_updates) == (10, 4)
    assert int8.break_even_picojoules == pytest.approx((10 * 0.3 - 1.4) / 4)
    assert fp32.break_even_picojoules == pytest.approx((46 - 16.4) / 4)
    assert replace(int8, twin_joules=int8.spiking_joules).break_even_picojoules is None
    assert replace(int8, neuron_updates=0.0).break_even_picojoules is None
    assert int8.to_dict()["break_even_picojoules"] == int8.break_even_picojoules


def test_the_break_even_rates_by_hand(ledger):
    fp32, int8, *_ = ann_twins(ledger, network())
    first, last = int8.layers
    assert (first.layer, first.rate, first.break_even_rate) == ("a", None, None)
    # 4 products of 0.3 pJ against 6 additions of 0.1 pJ at full rate.
    assert (last.layer, last.rate) == ("readout", 1.0)
    assert last.break_even_rate == pytest.approx(2.0) == last.break_even_rate_with_neurons
    assert fp32.layers[1].break_even_rate == pytest.approx(4 * 4.6 / (6 * 0.9))


def test_verdicts_are_words(ledger):
    _, int8, *_ = ann_twins(ledger, network())
    assert int8.verdict == (
        "the spiking network wins by 2.14x by its weights' arithmetic (as long as a neuron update "
        "costs less than 0.4 pJ), and loses by 1.60x with that of the neurons on both sides"
    )
    more = replace(ledger.connections["a->readout"], synaptic_operations=np.array([6, 60]))
    busy = replace(ledger, connections={**ledger.connections, "a->readout": more})
    _, int8, *_ = ann_twins(busy, network())
    assert int8.break_even_picojoules is None
    assert "the spiking network loses by 2.4" in int8.verdict
    assert int8.verdict.endswith("; layers that lose by their weights: readout")
    free = replace(int8, spiking_joules=0.0, twin_with_neurons_joules=0.0)
    assert "wins: it costs nothing" in free.verdict
    assert "loses: the other costs nothing" in free.verdict
    same = replace(int8, spiking_joules=1.0, twin_joules=1.0)
    assert "the spiking network draws" in same.verdict


def test_the_verdict_of_every_twin_is_in_the_json(ledger):
    for twin in ann_twins(ledger, network()):
        plain = json.loads(json.dumps(twin.to_dict(), allow_nan=False))
        assert plain["verdict"] == twin.verdict
        assert [layer["layer"] for layer in plain["layers"]] == ["a", "readout"]


@pytest.mark.parametrize(
    ("steps", "bits"), [(1, 2), (2, 3), (3, 3), (4, 4), (7, 4), (8, 5), (16, 6)]
)
def test_bits_of_equal_information(steps, bits):
    assert information_bits(steps) == bits == int(np.ceil(np.log2(2 * steps + 1)))


@pytest.mark.parametrize(("spikes", "bits"), [(1, 1), (2, 2), (3, 2), (4, 3), (7, 3), (8, 4)])
def test_binary_spikes_tell_less(spikes, bits):
    assert information_bits(spikes, ternary=False) == bits == int(np.ceil(np.log2(spikes + 1)))


WINDOWS: dict[str, tuple[dict[str, Any], tuple[int, bool]]] = {
    "every step": ({}, (5, True)),
    "binary": ({"th_neg": None}, (5, False)),
    "a window": ({"fire_from": 1, "fire_until": 4}, (3, True)),
    "a late window": ({"fire_from": 3}, (2, True)),
    "once": ({"fire_once": True, "th_neg": None}, (1, False)),
}


@pytest.mark.parametrize("case", WINDOWS)
def test_a_neuron_fires_in_its_window_only(case):
    changes, expected = WINDOWS[case]
    five = with_steps(CASES["ternary_spike"](), 5)
    populations = {
        name: replace(p, neuron=replace(p.neuron, **changes))
        for name, p in five.populations.items()
    }
    assert most_spikes(replace(five, populations=populations)) == expected


def test_the_population_with_the_most_values_counts():
    """Three ternary spikes have seven values, five binary ones six."""
    two = with_steps(CASES["shortcut_across_two_convolutions"](), 5)
    first, *others = two.populations
    neurons = {name: replace(two.populations[name].neuron, th_neg=None) for name in others}
    neurons[first] = replace(two.populations[first].neuron, fire_from=2)
    populations = {n: replace(p, neuron=neurons[n]) for n, p in two.populations.items()}
    assert most_spikes(replace(two, populations=populations)) == (3, True)


@pytest.mark.parametrize("sparsity", [-0.1, 1.1, float("nan")])
def test_an_impossible_sparsity(sparsity):
    with pytest.raises(InvalidSettingError, match=f"activation sparsity: got {sparsity}"):
        ann_kinds(4, sparsity)


def test_nothing_is_skipped_by_a_twin_without_zeros(ledger):
    """But the input's zeros are."""
    _, dense, sparse, _ = ann_twins(ledger, network(), 0.0)
    assert sparse.layers[1].twin_joules == dense.layers[1].twin_joules
    assert sparse.layers[0].twin_joules == dense.layers[0].twin_joules / 2
    _, _, empty, _ = ann_twins(ledger, network(), 1.0)
    assert empty.layers[1].twin_joules == 0
    assert empty.layers[1].break_even_rate == 0


@pytest.mark.parametrize(
    ("neuron", "expected"),
    [
        # Without leak or bias: one sum of state and input, two thresholds.
        (FixedPointNeuron(b_pos=4096, b_neg=4096, th_pos=9, th_neg=9), (0, 3, 0)),
        (FixedPointNeuron(th_pos=9, reset="subtract"), (0, 1, 1)),
        # CTSN with a current: i + x, c + v, c + i, bias, floor, two thresholds.
        (Neuron(k=0.5, a_neg=0.5, b_pos=0.5, bias=0.1, floor=-1.0, th_neg=1.0), (3, 7, 0)),
    ],
)
def test_the_operations_of_an_update(neuron, expected):
    assert neuron_work(Population(shape=(2,), neuron=neuron)) == expected


counts = st.integers(0, 10**9)


@st.composite
def works(draw: st.DrawFn) -> LayerWork:
    capacity = draw(st.integers(1, 10**9))
    products = st.builds(
        Products,
        macs=counts,
        weight_bits=st.integers(2, 8),
        analog=st.booleans(),
        input_density=st.none() | st.fractions(0, 1),
    )
    return LayerWork(
        name="layer",
        samples=draw(st.integers(1, 10**4)),
        capacity=capacity,
        spiking=draw(st.integers(0, capacity)),
        graded=draw(counts),
        beside_graded=draw(counts),
        products=tuple(draw(st.lists(products, min_size=1, max_size=3))),
        neurons=draw(counts),
        updates=draw(counts),
        spikes=draw(counts),
        work=NeuronWork(*(draw(st.integers(0, 9)) for _ in range(3))),
        bias=draw(st.booleans()),
    )


@given(works(), st.sampled_from(KINDS), st.booleans())
def test_at_the_break_even_rate_both_cost_the_same(layer, kind, neurons):
    twin = kind.cost(layer, neurons=neurons)
    rate = layer.break_even(twin, kind.arithmetic, neurons=neurons)
    assert layer.spiking_cost(kind.arithmetic, rate=rate, neurons=neurons) == twin
    above = layer.spiking_cost(kind.arithmetic, rate=rate + Fraction(1, 10**6), neurons=neurons)
    assert above > twin


@given(works(), st.sampled_from(KINDS), st.booleans())
def test_the_measured_rate_tells_who_wins(layer, kind, neurons):
    twin = kind.cost(layer, neurons=neurons)
    cost = layer.spiking_cost(kind.arithmetic, neurons=neurons)
    assert cost == layer.spiking_cost(kind.arithmetic, rate=layer.rate, neurons=neurons)
    assert (cost < twin) == (layer.rate < layer.break_even(twin, kind.arithmetic, neurons=neurons))


@given(works())
def test_what_skips_or_narrows_never_costs_more(layer):
    _, dense, sparse, low = KINDS
    assert sparse.cost(layer) <= dense.cost(layer)
    assert low.cost(layer) <= dense.cost(layer)
    for arithmetic in (FP32, INT8):
        assert layer.spiking_cost(arithmetic, neurons=True) >= layer.spiking_cost(arithmetic)


@pytest.mark.parametrize(
    "case", ["shortcut_across_two_convolutions", "pooled_downsample", "sew_addition"]
)
@pytest.mark.parametrize("integer", [True, False])
def test_layers_add_up_to_the_ledger(case, integer):
    made: Any = CASES[case]()
    made = made if integer else as_float(made)
    run = ReferenceEngine(made).run(32 * sample_inputs(made, 3)).ledger
    layers = layer_works(run, made)
    assert [layer.name for layer in layers] == [*made.order, "readout"]
    assert sum(x.spiking + x.beside_graded for x in layers) == run.synaptic_operations
    assert sum(x.graded for x in layers) == run.macs
    assert sum(p.macs for x in layers for p in x.products) == sum(
        c.dense_macs for c in run.connections.values()
    )
    for twin in ann_twins(run, made):
        for field in ("spiking_joules", "twin_joules", "spiking_with_neurons_joules"):
            total = sum(getattr(layer, field) for layer in twin.layers)
            assert getattr(twin, field) == pytest.approx(total)


def test_a_ledger_of_another_network(ledger):
    with pytest.raises(InvalidDataError, match="ledger: got counts of another network"):
        ann_twins(ledger, CASES["groups"]())
    with pytest.raises(InvalidDataError, match="ledger: got no samples"):
        ann_twins(replace(ledger, samples=0), network())
