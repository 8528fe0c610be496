"""Spreads of counts: against NumPy, by part, step and class."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.networks import CASES, sample_inputs, vectors
from trispike.errors import InvalidDataError
from trispike.runtime import Ledger, ReferenceEngine
from trispike.runtime.energy import Estimate, load_hardware
from trispike.runtime.pricing import events_per_inference, price_run
from trispike.runtime.statistics import KINDS, Spread, spread, statistics


def ledger(case: str = "vectors", samples: int = 7) -> Ledger:
    network = CASES[case]()
    return ReferenceEngine(network).run(sample_inputs(network, samples), per_sample=True).ledger


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=30))
def test_a_spread_is_that_of_numpy(numbers):
    found = spread(np.array(numbers))
    assert found.mean == pytest.approx(np.mean(numbers))
    assert found.deviation == pytest.approx(np.std(numbers), abs=1e-6)
    assert (found.minimum, found.maximum) == (min(numbers), max(numbers))


def test_large_numbers_do_not_overflow():
    """Their squares have more than 64 bits, and their mean is far larger than the deviation."""
    found = spread(np.array([10**15, 10**15 + 2]))
    assert found == Spread(mean=10**15 + 1.0, deviation=1.0, minimum=10**15, maximum=10**15 + 2)


@pytest.mark.parametrize("case", ["vectors", "recurrent", "spikes_encoding"])
def test_parts_and_steps(case):
    network, counted = CASES[case](), ledger(case)
    found = statistics(counted)
    counts = counted.per_sample
    assert counts is not None
    assert found.samples == 7
    assert found.classes is None
    assert tuple(found.parts) == KINDS
    for kind, parts in counts.groups().items():
        everything = np.stack(list(parts.values())).sum(axis=0)
        assert found.totals[kind] == spread(everything.sum(axis=1))
        if hasattr(counted, kind):
            assert found.totals[kind].mean == pytest.approx(getattr(counted, kind) / 7)
        assert len(found.steps) == network.steps
        for t, step in enumerate(found.steps):
            assert step[kind] == spread(everything[:, t])
        assert {n: spread(c.sum(axis=1)) for n, c in parts.items()} == found.parts[kind]
    assert found.totals["synaptic_operations"].deviation > 0


def test_classes():
    counted = ledger()
    labels, predictions = np.array([0, 2, 0, 2, 2, 0, 2]), np.array([0, 2, 1, 1, 1, 1, 1])
    found = statistics(counted, labels, predictions)
    assert counted.per_sample is not None
    spikes = sum(c.sum(axis=1) for c in counted.per_sample.spikes.values())
    assert found.classes is not None
    assert list(found.classes) == [0, 2]
    for label, right in ((0, 1), (2, 1)):
        group = found.classes[label]
        assert (group.samples, group.correct) == (int((labels == label).sum()), right)
        assert group.totals["spikes"] == spread(np.asarray(spikes)[labels == label])
    without = statistics(counted, labels).classes
    assert without is not None
    assert {group.correct for group in without.values()} == {None}


def test_a_network_without_neurons():
    base = vectors()
    direct = base.readout.connections[0]
    network = replace(
        base,
        populations={},
        connections=(),
        readout=replace(
            base.readout,
            connections=(
                replace(
                    direct,
                    sources=("input",),
                    operator=replace(direct.operator, weight=np.ones((3, 10), np.int8)),
                ),
            ),
        ),
    )
    counted = ReferenceEngine(network).run(sample_inputs(network, 2), per_sample=True).ledger
    found = statistics(counted)
    assert found.totals["spikes"] == Spread(mean=0.0, deviation=0.0, minimum=0, maximum=0)
    assert found.totals["macs"].mean > 0


@pytest.mark.parametrize(
    ("samples", "change", "text"),
    [
        (3, {"per_sample": None}, "ledger: got no counts per sample; expected those of every"),
        (0, {}, "ledger: got no samples; expected at least one"),
    ],
)
def test_nothing_to_take_statistics_of(samples, change, text):
    with pytest.raises(InvalidDataError, match=text):
        statistics(replace(ledger(samples=samples), **change))


def test_energy():
    """Of profiles and memory models: by sample, by class, and the estimate as the mean."""
    network, counted = CASES["vectors"](), ledger()
    events = events_per_inference(network, sample_inputs(network, 7))
    labels = np.array([0, 1, 0, 1, 1, 0, 1])
    for name in ("loihi1", "loihi1-regressed", "cmos45-memory"):
        priced = price_run(network, counted, load_hardware(name), input_events=events)
        joules = priced.sample_joules
        assert joules is not None
        found = statistics(counted, labels, joules=joules)
        assert found.energy_joules is not None
        assert found.energy_joules.mean == pytest.approx(priced.energy_per_inference_joules)
        assert found.energy_joules.minimum < found.energy_joules.mean
        assert found.energy_joules.maximum == joules.max()
        assert found.energy_joules.deviation == pytest.approx(np.std(joules))
        assert found.classes is not None
        means = [found.classes[label].energy_joules for label in (0, 1)]
        assert [m.mean for m in means if m] == [joules[labels == c].mean() for c in (0, 1)]
    without = statistics(counted, labels)
    assert without.energy_joules is None
    assert without.classes is not None
    assert without.classes[0].energy_joules is None


@pytest.mark.parametrize("hardware", ["loihi1", "loihi1-regressed", "cmos45-memory"])
@pytest.mark.parametrize("case", ["sew_addition", "recurrent", "spikes_encoding"])
def test_the_energy_of_a_sample_is_that_of_a_run_of_it_alone(hardware, case):
    network = CASES[case]()
    inputs, prices = sample_inputs(network, 4), load_hardware(hardware)
    engine = ReferenceEngine(network)

    def price(x: Any) -> Estimate:
        events = events_per_inference(network, x)
        return price_run(
            network, engine.run(x, per_sample=True).ledger, prices, input_events=events
        )

    alone = [price(inputs[n : n + 1]).energy_per_inference_joules for n in range(4)]
    together = price(inputs).sample_joules
    assert together is not None
    np.testing.assert_allclose(together, alone, rtol=1e-12)
    assert len(set(alone)) > 1


def test_labels_of_other_samples():
    with pytest.raises(InvalidDataError, match=r"labels: got an array of shape \(2,\)"):
        statistics(ledger(), np.zeros(2, np.int64))
    with pytest.raises(InvalidDataError, match=r"predictions: got an array of shape \(2,\)"):
        statistics(ledger(), np.zeros(7, np.int64), np.zeros(2, np.int64))


def test_the_json_form():
    found = statistics(ledger(), np.array([0, 1, 1, 1, 1, 1, 1]))
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["totals"]["spikes"]["mean"] == found.totals["spikes"].mean
    assert len(plain["steps"]) == 4
    assert list(plain["classes"]) == ["0", "1"]
    assert plain["classes"]["1"]["samples"] == 6
