"""What a report says: matrices that add up, and refusals."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests import networks
from tests.runtime.report.pages import report_of
from trispike.errors import InvalidDataError, InvalidSettingError
from trispike.network import with_steps
from trispike.runtime import ReferenceEngine, Result
from trispike.runtime.energy import estimate_energy, estimate_memory, load_hardware
from trispike.runtime.pages.heat import MOST_COLUMNS, groups
from trispike.runtime.report import Matrix, Origin, Report, build_report
from trispike.runtime.report.matrices import energy_matrix


def matrices(report: Report) -> dict[str, Matrix]:
    return {matrix.id: matrix for matrix in report.matrices}


@pytest.mark.parametrize("steps", [4, MOST_COLUMNS + 5])
@pytest.mark.parametrize("hardware", ["loihi1", "cmos45-memory"])
def test_matrices_add_up(hardware, steps):
    network = with_steps(networks.shortcut_across_two_convolutions(), steps)
    report = report_of(network, hardware=[hardware])
    found, ledger = matrices(report), report.ledger
    assert len(found["operations"].columns) == (4 if steps == 4 else 15)
    for matrix in found.values():
        assert matrix.values.shape == (len(matrix.rows), len(matrix.columns))
    operations = found["operations"].values
    assert operations.sum() * 6 == pytest.approx(ledger.synaptic_operations + ledger.macs)
    energy = found["energy"]
    assert energy.values.sum() == pytest.approx(report.headline.energy_per_inference_joules)
    target = {label: c.target for label, c in network.labelled()}
    for row, total in zip(energy.rows, energy.totals, strict=True):
        parts = [p.joules for p in report.headline.layers if target.get(p.name, p.name) == row]
        assert total == pytest.approx(sum(parts))
    for name, rates in zip(found["rates"].rows, found["rates"].values, strict=True):
        sizes = [last - first for first, last in groups(steps)]
        assert np.average(rates, weights=sizes) == pytest.approx(ledger.firing_rate(name))


@pytest.mark.parametrize("hardware", ["loihi1", "cmos45-memory"])
@pytest.mark.parametrize("case", ["silent_windows", "gains"])
def test_steps_of_schedules_add_up(case, hardware):
    """The network is priced over its first steps, where windows of firing are yet to come."""
    report = report_of(networks.CASES[case](), hardware=[hardware])
    energy = matrices(report)["energy"].values
    assert energy.sum() == pytest.approx(report.headline.energy_per_inference_joules)


def test_a_cell_is_what_the_step_costs():
    """The energy of the first column is that of a run over one step."""
    network = networks.shortcut_across_two_convolutions()
    x = networks.sample_inputs(network, 6)
    result = ReferenceEngine(with_steps(network, 1)).run(x)
    one = estimate_energy(result.ledger, load_hardware("loihi1"))
    first = matrices(report_of(network))["energy"].values[:, 0]
    assert first.sum() == pytest.approx(one.energy_per_inference_joules)


def test_input_events_of_a_memory_model_are_those_of_each_step():
    network = networks.frames_encoding()
    report = report_of(network, hardware=["cmos45-memory"])
    x = networks.sample_inputs(network, 6)
    encoded = network.input.encode(x, network.steps).reshape(6, network.steps, -1)
    events = np.cumsum(np.count_nonzero(encoded, axis=(0, 2))) / 6
    model = load_hardware("cmos45-memory")
    whole = estimate_memory(network, report.ledger, model, input_events=float(events[-1]))
    joules = whole.energy_per_inference_joules
    assert report.headline.energy_per_inference_joules == pytest.approx(joules)
    matrix = energy_matrix(network, report.ledger, model, events)
    assert np.array_equal(matrix.values, matrices(report)["energy"].values)


def test_single_samples_add_up():
    report = report_of(networks.vectors())
    assert report.operations.sum() == report.ledger.synaptic_operations + report.ledger.macs
    assert report.result.accuracy is not None
    assert report.correct == round(report.result.accuracy * 6)
    total = report.headline.energy_per_inference_joules
    if report.correct:
        assert report.joules_per_correct == pytest.approx(6 * total / report.correct)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"hardware": []}, InvalidSettingError, "at least one profile"),
        ({"hardware": ["loihi1", "loihi1"]}, InvalidSettingError, "loihi1 twice"),
        ({"latency_seconds": 0.0}, InvalidSettingError, "latency"),
    ],
)
def test_settings_that_make_no_report(change, error, words):
    with pytest.raises(error, match=words):
        report_of(networks.vectors(), **change)


def test_runs_that_make_no_report():
    network = networks.vectors()
    x = networks.sample_inputs(network, 3)
    prices, origin = [load_hardware("loihi1")], Origin(network="net", data="data")

    def build(x: Any, result: Result) -> Report:
        return build_report(network, x, result, prices, origin=origin)

    engine = ReferenceEngine(network)
    with pytest.raises(InvalidDataError, match="no counts per sample"):
        build(x, engine.run(x))
    with pytest.raises(InvalidDataError, match="0 samples"):
        build(x[:0], engine.run(x[:0], per_sample=True))
    with pytest.raises(InvalidDataError, match="2 samples, and a run of 3"):
        build(x[:2], engine.run(x, per_sample=True))
    other = networks.deep()
    result = ReferenceEngine(other).run(networks.sample_inputs(other, 3), per_sample=True)
    with pytest.raises(InvalidDataError, match="ledger"):
        build(x, result)
    foreign = replace(result, ledger=replace(result.ledger, per_sample=None))
    with pytest.raises(InvalidDataError, match="per sample"):
        build(x, foreign)
