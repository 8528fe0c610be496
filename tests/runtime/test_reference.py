"""The reference engine equals a simulation in plain numbers, and keeps the contract of engines."""

import functools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tests.networks import CASES, random_network, saturation, vectors
from tests.runtime import floats, scalar
from tests.runtime.floats import sample_inputs
from trispike.errors import InvalidDataError, InvalidSettingError, SaturationError
from trispike.network import Network, Readout
from trispike.runtime import ReferenceEngine, Result
from trispike.runtime.engine import TRACES

NETWORKS: dict[str, Callable[[], Network]] = {
    **CASES,
    **{f"random_{seed}": functools.partial(random_network, seed) for seed in range(100, 112)},
    **floats.CASES,
}


@pytest.mark.parametrize("case", NETWORKS)
def test_equals_plain_numbers(case):
    """Every trace, the logits and the ledger, in integer and float networks alike."""
    network = NETWORKS[case]()
    inputs = sample_inputs(network, 2, seed=3)
    result = ReferenceEngine(network).run(inputs, record="all")
    runs = [scalar.run(network, sample) for sample in network.input.encode(inputs, network.steps)]
    for name, trace in runs[0].traces:
        expected = np.array([run.traces[name, trace] for run in runs])
        got = result.records[name][trace]
        np.testing.assert_array_equal(got.reshape(expected.shape), expected, f"{name}.{trace}")
    np.testing.assert_array_equal(result.step_logits, [run.step_logits for run in runs])
    weighted = [
        sum(w * np.array(run.step_logits[t]) for t, w in enumerate(network.readout.weights))
        for run in runs
    ]
    np.testing.assert_array_equal(result.logits, weighted)
    for group, name, entry in runs[0].counts:
        counts = getattr(getattr(result.ledger, group)[name], entry)
        expected = np.sum([run.counts[group, name, entry] for run in runs], axis=0)
        np.testing.assert_array_equal(counts, expected, f"{group}/{name}/{entry}")
    assert result.ledger.spikes or case.startswith("random")


@pytest.mark.parametrize("case", ["vectors", "recurrent", "shortcut"])
def test_shapes_types_and_names(case):
    network = NETWORKS[case]()
    integer = network.kind == "integer"
    result = ReferenceEngine(network).run(sample_inputs(network, 3), record="all")
    number = np.int64 if integer else np.float64
    assert (result.engine, result.scale) == ("reference", network.readout.scale)
    assert result.logits.dtype == result.step_logits.dtype == number
    assert result.logits.shape == (3, network.readout.classes)
    assert result.step_logits.shape == (3, network.steps, network.readout.classes)
    assert result.predictions.dtype == np.int64
    assert result.seconds > 0
    assert list(result.records) == list(network.populations)
    for name, traces in result.records.items():
        assert tuple(traces) == TRACES
        for trace, values in traces.items():
            assert values.shape == (3, network.steps, *network.populations[name].shape)
            assert values.dtype == (np.int8 if trace == "s" else number)


def test_the_network_is_not_changed_and_runs_are_repeatable():
    network = vectors()
    inputs = sample_inputs(network, 4)
    before = inputs.copy()
    engine = ReferenceEngine(network)
    first, second = engine.run(inputs, record="all"), engine.run(inputs, record="all")
    np.testing.assert_array_equal(inputs, before)
    assert_same(first, second)


def test_samples_do_not_see_each_other():
    """A sample alone gives what it gives in a crowd: nothing is left over between samples."""
    network = NETWORKS["recurrent"]()
    inputs = sample_inputs(network, 5)
    together = ReferenceEngine(network).run(inputs)
    for n in range(5):
        alone = ReferenceEngine(network).run(inputs[n : n + 1])
        np.testing.assert_array_equal(alone.step_logits[0], together.step_logits[n])


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 8, 1000])
@pytest.mark.parametrize("case", ["overlapping_pool", "sew_addition", "delays"])
def test_batch_size_changes_nothing(case, batch_size):
    network = NETWORKS[case]()
    inputs = sample_inputs(network, 7)
    whole = ReferenceEngine(network).run(inputs, record="all")
    finished: list[int] = []
    parts = ReferenceEngine(network, batch_size=batch_size).run(
        inputs, record="all", progress=finished.append
    )
    assert_same(parts, whole)
    assert sum(finished) == 7
    assert max(finished) <= batch_size


@pytest.mark.parametrize("batch_size", [0, -1])
def test_batch_size_below_one_is_refused(batch_size):
    with pytest.raises(InvalidSettingError, match=f"batch_size: got {batch_size}; expected at le"):
        ReferenceEngine(vectors(), batch_size=batch_size)


@pytest.mark.parametrize("case", ["vectors", "frames_encoding", "shortcut"])
def test_no_samples_give_empty_results(case):
    network = NETWORKS[case]()
    result = ReferenceEngine(network).run(sample_inputs(network, 0), np.zeros(0, int), record="all")
    assert result.logits.shape == (0, network.readout.classes)
    assert result.predictions.shape == (0,)
    assert result.accuracy is None
    assert all(len(trace) == 0 for traces in result.records.values() for trace in traces.values())
    assert (result.ledger.samples, result.ledger.synaptic_operations) == (0, 0)
    assert result.ledger.firing_rate(next(iter(network.populations))) == 0


def test_labels_give_the_accuracy():
    network = vectors()
    inputs = sample_inputs(network, 8)
    engine = ReferenceEngine(network)
    predictions = engine.run(inputs).predictions
    assert engine.run(inputs).accuracy is None
    assert engine.run(inputs, predictions).accuracy == 1.0
    labels = predictions.copy()
    labels[:2] = (labels[:2] + 1) % network.readout.classes
    result = engine.run(inputs, labels.astype(np.uint8))
    assert result.accuracy == 0.75
    assert result.labels is not None
    assert result.labels.dtype == np.int64


def test_a_tie_goes_to_the_first_class():
    network = vectors()
    level = Readout(
        connections=network.readout.connections,
        bias=network.readout.bias,
        weights=np.zeros(network.steps, dtype=np.int64),
    )
    result = ReferenceEngine(replace(network, readout=level)).run(sample_inputs(network, 3))
    assert not result.logits.any()
    np.testing.assert_array_equal(result.predictions, 0)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda x: x[:, :-1], r"data: got an array of shape \(3, 9\)"),
        (lambda x: x[0], r"expected numbers of shape \(samples, 10\)"),
        (lambda x: x.astype(str), "dtype <U"),
        (lambda x: x.astype(complex), "dtype complex128"),
        (lambda x: x.astype(object), "dtype object"),
        (lambda x: np.where(x > 0, np.nan, x), "values that are NaN or infinite"),
        (lambda x: np.where(x > 0, -np.inf, x), "values that are NaN or infinite"),
    ],
)
def test_data_that_do_not_fit_are_refused(change, text):
    network = vectors()
    with pytest.raises(InvalidDataError, match=text):
        ReferenceEngine(network).run(change(sample_inputs(network, 3)))


def test_strict_mode_stops_at_the_first_saturation():
    network = saturation()
    inputs = sample_inputs(network, 2)
    lenient = ReferenceEngine(network).run(inputs)
    assert lenient.ledger.saturations
    step = min(
        int(np.flatnonzero(p.saturations)[0])
        for p in lenient.ledger.populations.values()
        if p.saturations.any()
    )
    text = rf"population '\w+': got \d+ state values out of range at time step {step}; expected"
    with pytest.raises(SaturationError, match=text):
        ReferenceEngine(network, strict=True).run(inputs)


def test_strict_mode_changes_nothing_else():
    network = vectors()
    inputs = sample_inputs(network, 4)
    strict = ReferenceEngine(network, strict=True).run(inputs, record="all")
    assert_same(strict, ReferenceEngine(network).run(inputs, record="all"))


def assert_same(a: Result, b: Result) -> None:
    assert a.ledger.differences(b.ledger) == []
    np.testing.assert_array_equal(a.step_logits, b.step_logits)
    np.testing.assert_array_equal(a.logits, b.logits)
    for name, traces in a.records.items():
        for trace, values in traces.items():
            np.testing.assert_array_equal(values, b.records[name][trace], f"{name}.{trace}")
