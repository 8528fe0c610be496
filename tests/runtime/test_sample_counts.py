"""Counts per sample: every engine against an enumeration of every synapse of every spike."""

import functools
from collections.abc import Callable
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.networks import CASES, random_network, vectors
from tests.runtime import floats
from tests.runtime.enumeration import enumerated
from tests.runtime.floats import sample_inputs
from tests.strategies import inputs_for, integer_networks
from trispike.network import Connection, Dense, Network
from trispike.runtime import Ledger, ReferenceEngine, Result
from trispike.runtime.engines import build_engine
from trispike.runtime.fast import FastEngine, samples
from trispike.runtime.fast.workers import Workers
from trispike.runtime.ledger import ConnectionCounts
from trispike.runtime.local_engines import LOCAL_ENGINES
from trispike.runtime.ray_engine import RayEngine
from trispike.runtime.sample_counts import SampleCounter, SampleCounts

NETWORKS: dict[str, Callable[[], Network]] = {
    **CASES,
    **{f"random_{seed}": functools.partial(random_network, seed) for seed in range(200, 210)},
    **{f"float_{name}": case for name, case in floats.CASES.items()},
}
COUNTED = ("synaptic_operations", "macs", "zero_weight_operations")
FEW = ("overlapping_pool", "sew_addition", "recurrent", "feedforward_delay", "spikes_encoding")


def per_sample(result: Result) -> SampleCounts:
    assert result.ledger.per_sample is not None
    return result.ledger.per_sample


def run(engine: Any, inputs: Any, **options: Any) -> Result:
    return engine.run(inputs, per_sample=True, **options)


def check(network: Network, inputs: Any, result: Result, spikes: Any = None) -> None:
    """Ledger and counts per sample are those of the enumeration."""
    if spikes is None:
        recorded = ReferenceEngine(network).run(inputs, record="all").records
        spikes = {name: traces["s"] for name, traces in recorded.items()}
    expected = enumerated(network, network.input.encode(inputs, network.steps), spikes)
    found, ledger = per_sample(result), result.ledger
    zeros = np.zeros((len(inputs), network.steps), np.int64)
    for entry in ("spikes", "updates_with_input"):
        assert tuple(getattr(found, entry)) == tuple(network.populations)
    for entry in COUNTED:
        assert tuple(getattr(found, entry)) == network.labels
    name = network.input.name
    events = expected.get(("input", name, "events"), zeros)
    assert tuple(found.input_events) == (name,)
    np.testing.assert_array_equal(found.input_events[name], events)
    for name, counts in ledger.populations.items():
        plus, minus = (
            expected.get(("populations", name, f"spikes_{sign}"), zeros)
            for sign in ("positive", "negative")
        )
        np.testing.assert_array_equal(found.spikes[name], plus + minus, name)
        np.testing.assert_array_equal(counts.spikes_positive, plus.sum(axis=0))
        np.testing.assert_array_equal(counts.spikes_negative, minus.sum(axis=0))
        received = expected["populations", name, "updates_with_input"]
        np.testing.assert_array_equal(found.updates_with_input[name], received, name)
        np.testing.assert_array_equal(counts.updates_with_input, received.sum(axis=0))
    for label, delivered in ledger.connections.items():
        for entry in COUNTED:
            wanted = expected.get(("connections", label, entry), zeros)
            got = getattr(delivered, entry)
            np.testing.assert_array_equal(got, wanted.sum(axis=0), f"{label} {entry}")
            np.testing.assert_array_equal(getattr(found, entry)[label], wanted)
    for group in found.groups().values():
        assert {counts.dtype for counts in group.values()} == {np.dtype(np.int64)}
        assert {counts.shape for counts in group.values()} == {zeros.shape}


@pytest.mark.parametrize("case", NETWORKS)
def test_the_reference_equals_an_enumeration(case):
    network = NETWORKS[case]()
    inputs = sample_inputs(network, 3, seed=5)
    check(network, inputs, run(ReferenceEngine(network, batch_size=2), inputs))


@pytest.mark.parametrize(
    ("engine", "case"),
    [
        *(("fast", case) for case in (*FEW, "groups", "matrix_into_map", "bias_only_population")),
        *(("fast", f"random_{seed}") for seed in range(200, 210)),
        *(("fast", f"float_{case}") for case in floats.CASES),
        *(("onnx", f"random_{seed}") for seed in range(200, 210)),
        *(("onnx", case) for case in ("float_delays", "float_spikes")),
        *(("nir", case) for case in ("recurrent", "random_204")),
    ],
)
def test_engines_equal_the_reference(case, engine):
    network = NETWORKS[case]()
    inputs = sample_inputs(network, 3, seed=5)
    expected = run(ReferenceEngine(network), inputs)
    found = run(build_engine(engine, network), inputs)
    assert found.ledger.differences(expected.ledger) == []


@pytest.mark.parametrize("engine", ["fast", "onnx"])
@pytest.mark.parametrize("case", FEW)
def test_engines_equal_an_enumeration(case, engine):
    network = NETWORKS[case]()
    inputs = sample_inputs(network, 3, seed=5)
    check(network, inputs, run(build_engine(engine, network), inputs))


@given(data=st.data())
@settings(max_examples=10)
def test_any_network(data):
    """Reference and fast against the enumeration, on whatever hypothesis thinks of."""
    network = data.draw(integer_networks())
    inputs = data.draw(inputs_for(network, most=3))
    reference = run(ReferenceEngine(network), inputs, record="all")
    spikes = {name: traces["s"] for name, traces in reference.records.items()}
    check(network, inputs, reference, spikes)
    fast = run(FastEngine(network, threads=2), inputs)
    assert fast.ledger.differences(reference.ledger) == []


@given(data=st.data())
@settings(max_examples=5)
def test_any_network_in_onnx(data):
    network = data.draw(integer_networks())
    inputs = data.draw(inputs_for(network, most=3))
    reference = run(ReferenceEngine(network), inputs)
    assert run(build_engine("onnx", network), inputs).ledger.differences(reference.ledger) == []


@pytest.mark.parametrize("case", [*FEW, "random_203", "float_loops"])
def test_the_fast_engine_on_a_device(case):
    network = NETWORKS[case]()
    inputs = sample_inputs(network, 5)
    expected = run(ReferenceEngine(network), inputs)
    found = run(FastEngine(network, device="cpu"), inputs)
    assert found.ledger.differences(expected.ledger) == []


@pytest.mark.parametrize("case", ["recurrent", "overlapping_pool"])
def test_batches_are_put_in_their_places(case, monkeypatch):
    """Batches of two out of five samples, on the processor and on a device."""
    network = NETWORKS[case]()
    inputs = sample_inputs(network, 5)
    expected = run(ReferenceEngine(network), inputs)
    for engine in (FastEngine(network, threads=2), FastEngine(network, device="cpu")):
        monkeypatch.setattr(engine._machine, "batch_size", 2)
        assert run(engine, inputs).ledger.differences(expected.ledger) == []
        assert run(engine, inputs).ledger.differences(expected.ledger) == []


def test_sums_beyond_32_bits(monkeypatch):
    """A fan-out that 32 bits hold, whose sum over neurons they do not."""
    codes = np.array([[[0, 2, 1, 2]], [[1, 2, 2, 2]]], np.uint8)
    reach = np.array([[1, 1, 1, 1], [2**31 - 1, 2**31 - 1, 5, 2**30]], np.int32)
    with Workers(1) as workers:
        fired, reached = samples.count_codes(codes, reach, workers)
    assert fired.tolist() == [[3, 3]]
    assert reached.tolist() == [[2**32 - 2 + 2**30, 2**31 - 1 + 5 + 2**30]]


SLOW = [pytest.param(case, marks=pytest.mark.slow) for case in ("sew_addition", "spikes_encoding")]


@pytest.mark.parametrize("case", ["recurrent", *SLOW])
def test_lava(case, monkeypatch):
    """In two runs of the chip: the second one goes on where the first one ended."""
    pytest.importorskip("lava", reason="Lava is not installed")
    from trispike.runtime import lava_engine

    network = NETWORKS[case]()
    inputs = sample_inputs(network, 5)
    each = lava_engine._bytes_per_sample(network, {})
    monkeypatch.setattr(lava_engine, "MEMORY_BYTES", 3 * each)
    check(network, inputs, run(lava_engine.LavaEngine(network, timeout=60), inputs))


@pytest.mark.slow
def test_ray():
    pytest.importorskip("ray", reason="Ray is not installed")
    network = NETWORKS["feedforward_delay"]()
    inputs = sample_inputs(network, 7)
    engine = RayEngine(network, inner="reference", workers=2, shard_size=2)
    assert (
        run(engine, inputs).ledger.differences(run(ReferenceEngine(network), inputs).ledger) == []
    )
    assert engine.run(inputs).ledger.per_sample is None


@pytest.mark.parametrize("engine", LOCAL_ENGINES)
def test_nobody_asked(engine):
    network = vectors()
    inputs = sample_inputs(network, 3)
    result = build_engine(engine, network).run(inputs)
    assert result.ledger.per_sample is None
    asked = run(build_engine(engine, network), inputs)
    assert replace(asked.ledger, per_sample=None).differences(result.ledger) == []
    np.testing.assert_array_equal(asked.logits, result.logits)


@pytest.mark.parametrize("engine", LOCAL_ENGINES)
def test_no_samples(engine):
    network = vectors()
    counts = per_sample(run(build_engine(engine, network), sample_inputs(network, 0)))
    assert {c.shape for group in counts.groups().values() for c in group.values()} == {(0, 4)}


def test_recorded_spikes_are_those_that_were_asked_for():
    """The onnx engine needs all spikes; the caller still gets what he wanted."""
    network = vectors()
    inputs = sample_inputs(network, 3)
    result = run(build_engine("onnx", network), inputs, record={"second": ("v",)})
    assert {name: list(traces) for name, traces in result.records.items()} == {"second": ["v"]}


@given(cuts=st.lists(st.integers(0, 9), max_size=4), case=st.sampled_from(FEW))
@settings(max_examples=15)
def test_shards_are_put_one_behind_the_other(cuts, case):
    network = NETWORKS[case]()
    inputs = sample_inputs(network, 9)
    engine = ReferenceEngine(network)
    whole = run(engine, inputs).ledger
    merged: Ledger | None = None
    for first, end in pairwise([0, *sorted(cuts), 9]):
        part = run(engine, inputs[first:end]).ledger
        merged = part if merged is None else merged.merged(part)
    assert merged is not None
    assert whole.differences(merged) == []


def test_a_part_without_counts_per_sample_leaves_none():
    network = vectors()
    inputs = sample_inputs(network, 4)
    engine = ReferenceEngine(network)
    counted, plain = run(engine, inputs[:2]).ledger, engine.run(inputs[2:]).ledger
    for merged in (counted.merged(plain), plain.merged(counted)):
        assert merged.per_sample is None
        assert merged.differences(engine.run(inputs).ledger) == []
    assert counted.differences(engine.run(inputs[:2]).ledger) == ["per_sample"]


@pytest.mark.parametrize("group", [field.name for field in fields(SampleCounts)])
def test_a_difference_is_named(group):
    network = vectors()
    ledger = run(ReferenceEngine(network), sample_inputs(network, 3)).ledger
    counts = ledger.per_sample
    assert counts is not None
    parts = getattr(counts, group)
    name = list(parts)[-1]
    changed = parts[name].copy()
    changed[1, 2] += 1
    other = replace(ledger, per_sample=replace(counts, **{group: {**parts, name: changed}}))
    assert ledger.differences(other) == [f"per_sample/{group}/{name}"]
    fewer = replace(ledger, per_sample=replace(counts, **{group: {}}))
    assert ledger.differences(fewer) == [f"per_sample/{group}"]


def test_counts_do_not_change_when_counting_goes_on():
    network = vectors()
    counter = SampleCounter(network, 2)
    encoded = network.input.encode(sample_inputs(network, 2), network.steps)
    counter.add_input(slice(0, 2), encoded)
    first = counter.counts()
    assert first.macs["input->first"].any()
    counter.add_input(slice(0, 2), encoded)
    changed = counter.counts()
    assert changed.differences(first) == [
        "synaptic_operations/input->first",
        "macs/input->first",
        "zero_weight_operations/input->first",
        "input_events/input",
    ]
    np.testing.assert_array_equal(changed.macs["input->first"], 2 * first.macs["input->first"])


def test_zero_weights_are_counted_apart():
    """Three of eight weights are zero; what a spike meets of them is not an operation."""
    base = vectors()
    weight = np.zeros((12, 10), np.int8)
    weight[:, ::2] = 3
    network = replace(
        base,
        connections=(
            Connection(sources=("input",), target="first", operator=Dense(weight=weight)),
            *base.connections[1:],
        ),
    )
    inputs = np.zeros((1, 10))
    inputs[0, :3] = 1  # two elements with synapses, one without
    result = run(ReferenceEngine(network), inputs)
    counts: ConnectionCounts = result.ledger.connections["input->first"]
    assert counts.synapses == 60
    assert counts.dense_macs == 120
    assert (counts.synaptic_operations + counts.macs).tolist() == [24] * 4
    assert counts.zero_weight_operations.tolist() == [12] * 4
    assert per_sample(result).zero_weight_operations["input->first"].tolist() == [[12] * 4]
