"""Memory models: prices by size, and an estimate that can be followed by hand."""

import json
import math
from dataclasses import replace
from importlib.resources import files
from typing import Any

import numpy as np
import pytest

from tests.networks import CASES, dense_chain, sample_inputs
from trispike.errors import (
    FileFormatError,
    InvalidDataError,
    InvalidSettingError,
    UnsupportedError,
)
from trispike.network import Dense, FixedPointNeuron, Input, IntegerNetwork, Neuron, with_steps
from trispike.runtime import ReferenceEngine
from trispike.runtime.activity import spike_counts
from trispike.runtime.energy import (
    MemoryModel,
    Profile,
    estimate_memory,
    hardware_names,
    load_hardware,
    memory_model_names,
    profile_names,
)
from trispike.targets.loihi.hardware import load_chip
from trispike.targets.loihi.placement import place
from trispike.targets.loihi.traffic import count_traffic


def model(**changes: Any) -> MemoryModel:
    found = load_hardware("cmos45-memory")
    assert isinstance(found, MemoryModel)
    return MemoryModel.model_validate_json(json.dumps(found.model_dump(mode="json") | changes))


def content() -> dict[str, Any]:
    folder = files("trispike.runtime.energy") / "memory_models"
    found: dict[str, Any] = json.loads((folder / "cmos45-memory.json").read_text("utf-8"))
    return found


def ctsn(**changes: Any) -> FixedPointNeuron:
    fields = {"a_pos": 3000, "a_neg": 2000, "b_pos": 1000, "b_neg": 500, "th_pos": 64, "th_neg": 64}
    return FixedPointNeuron(**fields | changes)


def small(neuron: FixedPointNeuron | None = None) -> IntegerNetwork:
    """Three inputs, four neurons, two classes; all weights are there."""
    weights = {"a": np.ones((4, 3), np.int8), "readout": np.ones((2, 4), np.int8)}
    neurons = {"a": neuron or ctsn()}
    return dense_chain(Input(shape=(3,), scale=1.0), weights, neurons, np.ones(3, np.int64))


def test_what_can_be_named():
    assert memory_model_names() == ["cmos45-memory"]
    assert hardware_names() == sorted([*profile_names(), "cmos45-memory"])
    assert isinstance(load_hardware("cmos45-memory"), MemoryModel)
    assert isinstance(load_hardware("loihi1"), Profile)


def test_every_number_has_a_source():
    for what, price in model().coefficients():
        assert "Horowitz, ISSCC 2014" in price.citation, what


@pytest.mark.parametrize(
    ("size", "price"),
    [
        (1, 10),
        (8192, 10),
        (math.sqrt(8192 * 32768), math.sqrt(10 * 20)),
        (32768, 20),
        (math.sqrt(32768 * 2**20), math.sqrt(20 * 100)),
        (2**20, 100),
    ],
)
def test_sram_is_interpolated(size, price):
    assert model().access(size) == pytest.approx((price, price, price))


def test_what_does_not_fit_into_sram_is_in_dram():
    assert model().access(2**20 + 1) == (1300, 1950, 2600)


def test_an_access_never_gets_cheaper_with_size():
    sizes = np.geomspace(1, 2**24, 400)
    prices = [model().access(size)[1] for size in sizes]
    assert prices == sorted(prices)


def test_the_estimate_by_hand():
    network, x = small(), np.array([[5.0, -3.0, 0.0]])
    result = ReferenceEngine(network).run(x)
    found = estimate_memory(network, result.ledger, model(), input_events=6.0)
    p = result.ledger.populations["a"]
    spikes = int(p.spikes_positive.sum() + p.spikes_negative.sum())
    active = int(p.updates_with_input.sum())
    assert active == 12
    assert 0 < spikes <= 12
    counts = {term.event: term.count for term in found.terms}
    # Two of three inputs, four targets, three steps; spikes reach two classes. 8 weights a word.
    graded, ternary = 2 * 4 * 3, spikes * 2
    assert counts == pytest.approx(
        {
            "synapse_addition": graded + ternary,
            "synapse_multiplication": graded,
            "address_addition": graded + ternary,
            "weight_word": (graded + ternary) / 8,
            # Read and written, two sums of 32 bits to a word of 64.
            "accumulator_word": graded + ternary,
            # Written and read.
            "queue_word": 2 * 6 + 2 * spikes,
            # a and b; c = . + ., v = c + i, two thresholds.
            "neuron_multiplication": 2 * 12,
            "neuron_addition": 4 * 12,
            # c and v of 24 bits are one word, read and written.
            "state_word": 2 * 12,
            "input_word": 12,
        }
    )
    words = sum(n for event, n in counts.items() if event.endswith("_word"))
    arithmetic = 0.1 * (2 * (graded + ternary) + 48) + 0.2 * graded + 3.1 * 24
    assert found.energy_per_inference_joules == pytest.approx((10 * words + arithmetic) * 1e-12)
    assert found.breakdown == pytest.approx(
        {
            "synapse_arithmetic": (0.1 * (graded + ternary) + 0.2 * graded) * 1e-12,
            "addressing": 0.1 * (graded + ternary) * 1e-12,
            "weight_fetch": 10 * (graded + ternary) / 8 * 1e-12,
            "accumulators": 10 * (graded + ternary) * 1e-12,
            "event_queue": 10 * (12 + 2 * spikes) * 1e-12,
            "neuron_arithmetic": (3.1 * 24 + 4.8) * 1e-12,
            "neuron_state": 10 * (24 + 12) * 1e-12,
        }
    )
    sizes = {layer.name: layer.memory_bytes for layer in found.layers}
    assert sizes == {"input->a": 12, "a->readout": 8, "a": 4 * 48 / 8}


def test_the_ends_of_the_band_by_hand():
    network, x = small(), np.array([[5.0, -3.0, 0.0]])
    ledger = ReferenceEngine(network).run(x).ledger
    found = estimate_memory(network, ledger, model(), input_events=6.0)
    terms = {term.event: term for term in found.terms}

    def ends(event: str) -> tuple[float, float]:
        term = terms[event]
        assert term.low_joules is not None
        assert term.high_joules is not None
        return term.low_joules * 1e12, term.high_joules * 1e12

    done = terms["synapse_addition"].count
    assert ends("weight_word") == pytest.approx((10 * done / 8, 10 * done))
    assert ends("accumulator_word") == pytest.approx((0, 10 * 2 * done))
    assert ends("state_word") == pytest.approx((10 * 24 * 48 / 64, 10 * 24 * 2))
    assert ends("input_word") == pytest.approx((0, 10 * 24))
    # 2 bits of address and 8 of payload, 6 to a word; 2 and a sign, 21 to a word.
    spikes = terms["queue_word"].count / 2 - 6
    assert ends("queue_word")[0] == pytest.approx(10 * 2 * (6 / 6 + spikes / 21))
    assert found.low_joules < found.energy_per_inference_joules < found.high_joules


def test_ctsn_costs_more_than_lif():
    x = np.array([[5.0, -3.0, 1.0]])
    lif = FixedPointNeuron(b_pos=2000, b_neg=2000, th_pos=64)
    costs = {}
    for name, neuron in (("ctsn", ctsn()), ("lif", lif), ("if", replaced(lif, b=4096))):
        network = small(neuron)
        ledger = ReferenceEngine(network).run(x).ledger
        found = estimate_memory(network, ledger, model(), input_events=9.0).breakdown
        costs[name] = (found["neuron_arithmetic"], found["neuron_state"])
    # Per update 2 and 4, 1 and 2, 0 and 2 multiplications and additions; a state is one word.
    assert costs["ctsn"][0] == pytest.approx(12 * (2 * 3.1 + 0.4) * 1e-12)
    assert costs["lif"][0] == pytest.approx(12 * (3.1 + 0.2) * 1e-12)
    assert costs["if"][0] == pytest.approx(12 * 0.2 * 1e-12)
    assert costs["ctsn"][1] == costs["lif"][1]


def replaced(neuron: FixedPointNeuron, b: int) -> FixedPointNeuron:
    return replace(neuron, b_pos=np.int64(b), b_neg=np.int64(b))


def test_a_float_network_has_wider_words_and_dearer_arithmetic():
    weights = {"a": np.ones((4, 3)), "readout": np.ones((2, 4))}
    neurons = {"a": Neuron(b_pos=0.5, b_neg=0.5, th_pos=1.0)}
    network = dense_chain(Input(shape=(3,)), weights, neurons, np.ones(3))
    ledger = ReferenceEngine(network).run(np.array([[0.25, 0.25, 0.0]])).ledger
    found = estimate_memory(network, ledger, model(), input_events=6.0)
    terms = {term.event: term for term in found.terms}
    done = terms["synapse_addition"].count
    assert terms["weight_word"].count == pytest.approx(done / 2)
    assert terms["synapse_addition"].picojoules == 0.9
    assert terms["neuron_multiplication"].picojoules == 3.7
    assert terms["neuron_multiplication"].count == 12


def test_idle_updates_are_apart():
    network = small()
    ledger = ReferenceEngine(network).run(np.zeros((2, 3))).ledger
    found = estimate_memory(network, ledger, model(), input_events=0.0)
    assert set(found.breakdown) == {"idle_updates"}
    assert found.breakdown["idle_updates"] == pytest.approx(
        12 * (10 * (2 + 1) + 2 * 3.1 + 4 * 0.1) * 1e-12
    )


def test_large_layers_go_to_dram():
    given = {"a": np.ones((1100, 1000), np.int8), "readout": np.ones((2, 1100), np.int8)}
    neurons = {"a": ctsn(th_pos=2000)}
    source = Input(shape=(1000,), scale=1.0)
    network = dense_chain(source, given, neurons, np.ones(3, np.int64))
    x = np.zeros((1, 1000))
    x[0, 0] = 1.0
    ledger = ReferenceEngine(network).run(x).ledger
    found = estimate_memory(network, ledger, model(), input_events=3.0)
    weights = next(term for term in found.terms if term.event == "weight_word")
    assert weights.picojoules == 1950
    assert weights.joules == pytest.approx(3 * 1100 / 8 * 1950e-12)
    assert weights.low_joules == pytest.approx(3 * 1100 / 8 * 1300e-12)
    assert weights.high_joules == pytest.approx(3 * 1100 * 2600e-12)


def test_zero_weights_are_fetched_and_not_added():
    network = small()
    weight = np.array([[1, 0, 1]] * 4, np.int8)
    connection = replace(network.connections[0], operator=Dense(weight=weight))
    network = replace(network, connections=(connection,))
    ledger = ReferenceEngine(network).run(np.array([[0.0, 7.0, 0.0]])).ledger
    found = estimate_memory(network, ledger, model(), input_events=3.0)
    counts = {term.event: term.count for term in found.terms}
    assert "synapse_addition" not in counts
    assert counts["weight_word"] == pytest.approx(4 * 3 / 8)


@pytest.mark.parametrize("case", ["pooled_downsample", "deep", "parallel_connections"])
def test_parts_add_up_with_a_placement_too(case):
    network = CASES[case]()
    x = sample_inputs(network, 3)
    engine = ReferenceEngine(network)
    ledger = engine.run(x).ledger
    placed = place(network, load_chip("loihi1"))
    traffic = count_traffic(network, placed, spike_counts(engine, x), len(x))
    whole = estimate_memory(network, ledger, model(), input_events=1.0)
    parts = estimate_memory(network, ledger, model(), placement=placed, traffic=traffic)
    for found in (whole, parts):
        total = found.energy_per_inference_joules
        assert sum(found.breakdown.values()) == pytest.approx(total)
        assert sum(layer.joules for layer in found.layers) == pytest.approx(total)
        assert "input_queue" not in found.unpriced
    moved = sum(int(f.messages.sum()) for f in traffic.connections.values()) / 3
    queued = next(term.count for term in parts.terms if term.event == "queue_word")
    assert queued == pytest.approx(2 * moved)
    once = estimate_memory(network, ledger, model(), placement=placed)
    assert "queue_copies" in once.unpriced
    assert "queue_copies" not in parts.unpriced


def test_two_channels_take_two_memories():
    sram = content()["sram"]
    steep = [point | {"bytes": n} for point, n in zip(sram, (8, 12, 24), strict=True)]
    network, x = small(), np.array([[5.0, -3.0, 0.0]])
    ledger = ReferenceEngine(network).run(x).ledger
    signs = {"policy": "dual_channel", "note": "two of each"}
    one = estimate_memory(network, ledger, model(sram=steep), input_events=6.0)
    two = estimate_memory(network, ledger, model(sram=steep, signed_spikes=signs), input_events=6.0)
    sizes = [{layer.name: layer.memory_bytes for layer in e.layers}["input->a"] for e in (one, two)]
    assert sizes == [12, 24]
    assert two.breakdown["weight_fetch"] > one.breakdown["weight_fetch"]
    assert one.signs.second_neuron_joules is None
    neurons = two.breakdown["neuron_state"] + two.breakdown["neuron_arithmetic"]
    negative = ledger.populations["a"].spikes_negative.any()
    assert two.signs.second_neuron_joules == pytest.approx(neurons if negative else 0)


def test_static_power_and_what_is_not_known():
    network = small()
    ledger = ReferenceEngine(network).run(np.ones((1, 3))).ledger
    found = estimate_memory(network, ledger, model())
    assert found.unpriced["input_queue"] == "How many events the input delivers is not given."
    assert found.unpriced["static_power"] == "The model gives none."
    power = {"watts": 0.001, "citation": "my meter"}
    drawing = model(static_power=power)
    assert (
        "0.001 W (my meter)" in estimate_memory(network, ledger, drawing).unpriced["static_power"]
    )
    known = estimate_memory(network, ledger, drawing, latency_seconds=0.002)
    assert known.breakdown["static"] == pytest.approx(2e-6)
    assert "static_power" not in known.unpriced
    with pytest.raises(InvalidSettingError, match=r"latency: got 0\.0 s"):
        estimate_memory(network, ledger, drawing, latency_seconds=0.0)


def test_what_does_not_belong_together_is_refused():
    network, other = small(), CASES["vectors"]()
    ledger = ReferenceEngine(network).run(np.ones((1, 3))).ledger
    with pytest.raises(InvalidDataError, match="ledger: got counts of another network"):
        estimate_memory(other, ledger, model())
    with pytest.raises(InvalidDataError, match="ledger: got no samples"):
        estimate_memory(network, replace(ledger, samples=0), model())
    placed = place(other, load_chip("loihi1"))
    with pytest.raises(InvalidDataError, match="placement: got one of network"):
        estimate_memory(network, ledger, model(), placement=placed)
    with pytest.raises(InvalidDataError, match="ledger: got counts of another network"):
        estimate_memory(with_steps(network, 4), ledger, model())
    for events in (-5.0, math.nan, math.inf, 9.5):
        with pytest.raises(InvalidDataError, match=r"input events: got .*; expected 0 to 9, one"):
            estimate_memory(network, ledger, model(), input_events=events)
    wrong = place(network, load_chip("loihi1"))
    x = np.ones((1, 3))
    traffic = count_traffic(network, wrong, spike_counts(ReferenceEngine(network), x), 1)
    with pytest.raises(InvalidSettingError, match="traffic: got no placement"):
        estimate_memory(network, ledger, model(), traffic=traffic)
    with pytest.raises(InvalidDataError, match="traffic: got messages of other connections"):
        estimate_memory(
            network, ledger, model(), placement=wrong, traffic=replace(traffic, connections={})
        )
    misfit = replace(wrong, misfits=(object(),))
    with pytest.raises(UnsupportedError, match="neurons that fit on no core"):
        estimate_memory(network, ledger, model(), placement=misfit)


def test_fewer_steps_cost_less():
    network = small()
    x = np.array([[5.0, -3.0, 0.0]])
    shorter = with_steps(network, 1)
    costs = [
        estimate_memory(n, ReferenceEngine(n).run(x).ledger, model(), input_events=2.0 * n.steps)
        for n in (shorter, network)
    ]
    assert costs[0].energy_per_inference_joules < costs[1].energy_per_inference_joules


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"sram": []}, "sram: Tuple should have at least 1 item"),
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
        ({"kind": "cache"}, "kind: Input should be 'memory'"),
        ({"dram": {"picojoules": 1}}, "dram.citation: Field required"),
        ({"dram": {"picojoules": -1, "citation": "x"}}, "dram.picojoules: Input should be greater"),
        ({"word_bits": {"value": 0, "citation": "x"}}, "word_bits.value: Input should be greater"),
        ({"arithmetic": {}}, "arithmetic.integer: Field required"),
        (
            {"static_power": {"watts": 1, "citation": "x"}, "unpriced": {"static_power": "y"}},
            "static_power: both given and unpriced",
        ),
    ],
)
def test_a_bad_model_is_refused(changes, text, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(content() | changes), encoding="utf-8")
    with pytest.raises(FileFormatError, match=rf"memory model '.*mine.json': got .*{text}"):
        load_hardware(path)


def test_sizes_and_prices_of_sram_ascend(tmp_path):
    path, points = tmp_path / "mine.json", content()["sram"]
    path.write_text(json.dumps(content() | {"sram": points[::-1]}), encoding="utf-8")
    with pytest.raises(FileFormatError, match="are not in ascending order"):
        load_hardware(path)
    falling = [points[0] | {"picojoules": 500.0}, *points[1:]]
    path.write_text(json.dumps(content() | {"sram": falling}), encoding="utf-8")
    with pytest.raises(FileFormatError, match="zero or fall with the size"):
        load_hardware(path)


def test_a_model_from_a_file(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(content() | {"id": "mine"}), encoding="utf-8")
    assert load_hardware(path).id == "mine"
    for bad in (b"", b"[1]", b"{}"):
        path.write_bytes(bad)
        with pytest.raises(FileFormatError, match="hardware profile"):
            load_hardware(path)
    for name in ("loihi2", "brain"):
        with pytest.raises(
            InvalidSettingError, match=r"expected one of .*cmos45-memory.*truenorth"
        ):
            load_hardware(name)
