"""What is known and spent after each step, against runs that end there."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from tests.networks import CASES, random_network, sample_inputs, vectors
from tests.quantize.floats import as_float
from trispike.errors import EngineError, InvalidDataError, InvalidSettingError, UnsupportedError
from trispike.network import Network, with_steps
from trispike.runtime import ReferenceEngine, Result
from trispike.runtime.anytime import (
    anytime,
    confidences,
    early_exit,
    exit_energy,
    first_steps,
    logits_after,
)
from trispike.runtime.energy import estimate_energy, load_profile

PROFILE = load_profile("loihi1")
NETWORKS: dict[str, Callable[[], Network]] = {
    **CASES,
    **{f"random{seed}": partial(random_network, seed) for seed in range(8)},
}


def averaging(network: Network) -> Network:
    """The network with a readout that has a meaning over fewer steps."""
    if not network.readout.weights[:-1].any():
        return network
    weights = np.ones_like(network.readout.weights)
    return replace(network, readout=replace(network.readout, weights=weights))


def shorter(network: Network, inputs, steps: int):
    """What a network over the first steps gets."""
    return inputs[:, :steps] if network.input.has_frames else inputs


def case(samples: int = 40, steps: int = 6):
    """A network, inputs and labels that it gets right more and more often."""
    network = with_steps(vectors(), steps)
    inputs = sample_inputs(network, samples, seed=3)
    full = ReferenceEngine(network).run(inputs)
    labels = full.predictions.copy()
    labels[::5] = (labels[::5] + 1) % network.readout.classes
    return network, inputs, labels


@pytest.mark.parametrize("name", NETWORKS)
def test_the_first_steps_of_a_run_are_a_run_that_ends_there(name):
    """Counts, logits: equal in every integer, for delays and loops, too."""
    network = averaging(NETWORKS[name]())
    inputs = sample_inputs(network, 3)
    result = ReferenceEngine(network).run(inputs, per_sample=True)
    assert first_steps(result.ledger, network.steps).differences(result.ledger) == []
    for steps in range(1, network.steps):
        ended = with_steps(network, steps)
        expected = ReferenceEngine(ended).run(shorter(network, inputs, steps), per_sample=True)
        assert first_steps(result.ledger, steps).differences(expected.ledger) == []
        np.testing.assert_array_equal(result.step_logits[:, :steps], expected.step_logits)
        np.testing.assert_array_equal(
            logits_after(network, result, steps), expected.logits * expected.scale
        )


def test_time_weights_without_a_meaning_over_fewer_steps():
    network = CASES["weighted_readout"]()
    inputs = sample_inputs(network, 2)
    result = ReferenceEngine(network).run(inputs, np.zeros(2, int))
    with pytest.raises(UnsupportedError, match="time weights that differ"):
        anytime(network, inputs, result, PROFILE)
    with pytest.raises(UnsupportedError, match="time weights that differ"):
        early_exit(network, inputs, confidence=0.5, build=ReferenceEngine)


@pytest.mark.parametrize("steps", [0, 5])
def test_steps_that_were_not_run(steps):
    network = vectors()
    ledger = ReferenceEngine(network).run(sample_inputs(network, 1)).ledger
    with pytest.raises(InvalidSettingError, match=f"got {steps}; expected 1 to 4, the steps of"):
        first_steps(ledger, steps)


# ------------------------------------------------------------------------------------ the curve


def test_each_point_is_the_estimate_of_the_shorter_network():
    network, inputs, labels = case()
    result = ReferenceEngine(network).run(inputs, labels)
    curve = anytime(network, inputs, result, PROFILE, {"graded_operation": 5.0}, network_steps=4)
    assert [p.steps for p in curve.points] == [1, 2, 3, 4, 5, 6]
    assert (curve.samples, curve.network_steps, curve.hardware) == (40, 4, "loihi1")
    for point in curve.points:
        ended = ReferenceEngine(with_steps(network, point.steps)).run(inputs, labels)
        priced = estimate_energy(ended.ledger, PROFILE, {"graded_operation": 5.0})
        assert point.accuracy == ended.accuracy
        assert point.energy_per_inference_joules == priced.energy_per_inference_joules
        assert point.energy_per_inference_low_joules == priced.low_joules
        assert point.energy_per_inference_high_joules == priced.high_joules
        assert point.saturations == ended.ledger.saturations
        each = priced.energy_per_inference_joules / ended.accuracy
        assert point.joules_per_correct_prediction == pytest.approx(each, rel=1e-12)


def test_energy_grows_with_every_step():
    network, inputs, labels = case()
    points = anytime(network, inputs, ReferenceEngine(network).run(inputs, labels), PROFILE).points
    energies = [p.energy_per_inference_joules for p in points]
    assert energies == sorted(set(energies))


def told(right_by_step: list[int], samples: int = 100):
    """A curve whose accuracies are given: so many of the samples are right after each step."""
    network = with_steps(vectors(), len(right_by_step))
    logits = np.zeros((samples, network.steps, 3), np.int64)
    labels = np.zeros(samples, np.int64)
    before = np.zeros((samples, 3), np.int64)
    for step, right in enumerate(right_by_step):
        wanted = np.zeros((samples, 3), np.int64)
        wanted[:right, 0] = wanted[right:, 1] = 1
        logits[:, step] = wanted - before
        before = wanted
    inputs = sample_inputs(network, samples)
    result = ReferenceEngine(network).run(inputs, labels)
    return anytime(network, inputs, replace(result, step_logits=logits), PROFILE)


@pytest.mark.parametrize(
    ("right", "knee", "best"),
    [
        ([50, 80, 90, 91], 3, 4),  # one standard error of 91 of 100 is 2.9
        ([50, 88, 90, 91], 3, 4),
        ([50, 89, 90, 91], 2, 4),
        ([92, 80, 91, 92], 1, 1),
        ([0, 0, 0, 100], 4, 4),
        ([100, 0, 0, 0], 1, 1),
    ],
)
def test_the_knee_is_within_one_standard_error_of_the_best(right, knee, best):
    curve = told(right)
    assert [p.correct for p in curve.points] == right
    assert (curve.knee, curve.best_steps) == (knee, best)
    p = max(right) / 100
    assert curve.standard_error == pytest.approx((p * (1 - p) / 100) ** 0.5)


def test_nothing_correct_has_no_price():
    curve = told([0, 0])
    assert [p.joules_per_correct_prediction for p in curve.points] == [None, None]
    assert curve.knee == 1


def test_accuracy_needs_labels():
    network, inputs, labels = case(2)
    for given in (inputs, None), (inputs[:0], labels[:0]):
        result = ReferenceEngine(network).run(*given)
        with pytest.raises(InvalidDataError, match="labels: got none"):
            anytime(network, inputs, result, PROFILE)


# --------------------------------------------------------------------------------- early exit


def test_confidence_is_the_softmax_of_the_real_logits_so_far():
    network, inputs, _ = case(4)
    result = ReferenceEngine(network).run(inputs)
    found = confidences(network, result)
    for sample, step in np.ndindex(found.shape):
        mean = result.step_logits[sample, : step + 1].sum(axis=0) * result.scale * 6 / (step + 1)
        powers = np.exp(mean - mean.max())
        assert found[sample, step] == pytest.approx((powers / powers.sum()).max(), rel=1e-9)


def test_huge_logits_do_not_overflow():
    network, inputs, _ = case(4)
    result = ReferenceEngine(network).run(inputs)
    large = replace(result, step_logits=result.step_logits * 10**12)
    assert np.isfinite(confidences(network, large)).all()


def unsure(network: Network) -> Network:
    """The network with logits so small that its confidences are far from 1."""
    return replace(network, readout=replace(network.readout, scale=network.readout.scale / 1000))


def one_by_one(
    network: Network, inputs, labels, threshold: float
) -> tuple[list[Result], list[int]]:
    """Every sample alone: run again with one more step until it is confident."""
    results: list[Result] = []
    exits: list[int] = []
    for sample in range(len(inputs)):
        steps, confident = 0, False
        while not confident and steps < network.steps:
            steps += 1
            raw = shorter(network, inputs[sample : sample + 1], steps)
            run = ReferenceEngine(with_steps(network, steps)).run(raw, labels[sample : sample + 1])
            mean = run.logits[0] * run.scale
            powers = np.exp(mean - mean.max())
            confident = powers.max() / powers.sum() >= threshold
            results[sample:] = [run]
        exits.append(steps)
    return results, exits


def ended(network: Network, steps: int) -> Network:
    readout = replace(network.readout, weights=network.readout.weights[:steps])
    return replace(network, steps=steps, readout=readout)


@pytest.mark.parametrize("name", ["vectors", "recurrent", "frames_encoding", "feedforward_delay"])
@pytest.mark.parametrize("quantile", [0.3, 0.7])
def test_early_exit_is_each_sample_run_alone_until_it_is_confident(name, quantile):
    network = unsure(CASES[name]())
    inputs = sample_inputs(network, 8, seed=1)
    labels = np.arange(8) % network.readout.classes
    seen = confidences(network, ReferenceEngine(network).run(inputs))
    # Between two of the confidences that occur, so that rounding decides nothing.
    ordered = np.unique(seen[:, :-1])
    place = int(quantile * (len(ordered) - 1))
    threshold = float((ordered[place] + ordered[place + 1]) / 2)
    run = early_exit(network, inputs, labels, confidence=threshold, build=ReferenceEngine)
    alone, exits = one_by_one(network, inputs, labels, threshold)
    assert run.exit_steps.tolist() == exits
    assert len(set(exits)) > 1
    assert run.predictions.tolist() == [int(r.predictions[0]) for r in alone]
    assert run.accuracy == np.mean([r.accuracy for r in alone])
    assert run.mean_steps == np.mean(exits)
    assert run.distribution == tuple(exits.count(t) for t in range(1, network.steps + 1))
    for total in ("synaptic_operations", "macs", "spikes", "saturations", "samples"):
        assert getattr(run.ledger, total) == sum(getattr(r.ledger, total) for r in alone)
    for population, counts in run.ledger.populations.items():
        updates = sum(int(r.ledger.populations[population].updates.sum()) for r in alone)
        assert int(counts.updates.sum()) == updates
    energies = [
        estimate_energy(r.ledger, PROFILE, network=ended(network, r.ledger.steps)) for r in alone
    ]
    energy = exit_energy(network, inputs, run, PROFILE)
    for mine, theirs in (
        ("joules", "energy_per_inference_joules"), ("low_joules", "low_joules"),
        ("high_joules", "high_joules"),
    ):  # fmt: skip
        expected = np.mean([getattr(e, theirs) for e in energies])
        assert getattr(energy, mine) == pytest.approx(expected, rel=1e-12)


def test_counts_per_step_end_with_the_samples():
    network, inputs, labels = case(30)
    seen = confidences(network, ReferenceEngine(network).run(inputs))
    run = early_exit(
        network, inputs, labels, confidence=float(np.median(seen)), build=ReferenceEngine
    )
    still = [int((run.exit_steps > t).sum()) for t in range(network.steps)]
    for name, population in run.ledger.populations.items():
        size = network.populations[name].size
        assert population.updates.tolist() == [size * n for n in still]
    assert still[0] == 30 > still[-1]


def test_never_and_always_confident():
    network, inputs, labels = case()
    result = ReferenceEngine(network).run(inputs)
    highest = float(confidences(network, result)[:, :-1].max())
    never = float(np.nextafter(highest, 1))
    run = early_exit(network, inputs, labels, confidence=never, build=ReferenceEngine)
    assert run.exit_steps.tolist() == [network.steps] * 40
    assert run.ledger.differences(result.ledger) == []
    run = early_exit(network, inputs, labels, confidence=1e-9, build=ReferenceEngine)
    assert run.exit_steps.tolist() == [1] * 40
    first = ReferenceEngine(with_steps(network, 1)).run(inputs, labels)
    assert run.groups[1].differences(first.ledger) == []
    assert run.accuracy == first.accuracy


def test_a_run_at_hand_is_not_made_again():
    network, inputs, labels = case()
    full = ReferenceEngine(network).run(inputs, labels)
    made: list[int] = []

    def build(changed: Network) -> ReferenceEngine:
        made.append(changed.steps)
        return ReferenceEngine(changed)

    done: list[int] = []
    run = early_exit(
        network, inputs, labels, confidence=0.6, build=build, full=full, progress=done.append
    )
    assert made == sorted(run.groups)
    assert sum(done) == 40
    assert run.seconds >= full.seconds
    again = early_exit(network, inputs, labels, confidence=0.6, build=ReferenceEngine)
    assert run.ledger.differences(again.ledger) == []


def test_without_labels_there_is_no_accuracy():
    network, inputs, _ = case(4)
    run = early_exit(network, inputs, confidence=0.5, build=ReferenceEngine)
    assert run.accuracy is None
    assert run.labels is None
    assert run.engine == "reference"


@pytest.mark.parametrize("confidence", [0, 1, -0.5, 1.5, float("nan")])
def test_bad_confidences(confidence):
    network, inputs, _ = case(1)
    with pytest.raises(InvalidSettingError, match=r"exit confidence: got .*between 0 and 1"):
        early_exit(network, inputs, confidence=confidence, build=ReferenceEngine)


def test_no_samples():
    network, inputs, _ = case(1)
    with pytest.raises(InvalidDataError, match="data: got no samples"):
        early_exit(network, inputs[:0], confidence=0.5, build=ReferenceEngine)


def test_an_engine_that_contradicts_itself():
    network, inputs, _ = case(4)
    full = ReferenceEngine(network).run(inputs)
    wrong = replace(full, step_logits=full.step_logits + 1)
    with pytest.raises(EngineError, match="engine 'reference': got other logits over"):
        early_exit(network, inputs, confidence=0.5, build=ReferenceEngine, full=wrong)


def test_float_networks_leave_early_too():
    floats = as_float(vectors())
    weights = floats.readout.weights * 1e-3
    network = replace(floats, readout=replace(floats.readout, weights=weights))
    inputs = sample_inputs(network, 6)
    seen = confidences(network, ReferenceEngine(network).run(inputs))
    run = early_exit(network, inputs, confidence=float(np.median(seen)), build=ReferenceEngine)
    assert len(run.groups) > 1
    assert run.ledger.samples == 6
    assert run.ledger.spikes < run.full.ledger.spikes
