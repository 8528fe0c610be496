"""Geometry of the drawings, and numbers as people read them."""

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trispike.cli.console import joules
from trispike.runtime.report import charts, words


@given(
    st.floats(-1e6, 1e6, allow_nan=False),
    st.floats(1e-3, 1e6, allow_nan=False),
)
def test_ticks_cover_an_interval_in_round_steps(first, size):
    ticks = charts.nice_ticks(first, first + size)
    assert ticks[0] <= first + 1e-6 * size
    assert ticks[-1] >= first + size * (1 - 1e-6)
    assert 2 <= len(ticks) <= 8
    steps = {round((b - a) / (ticks[1] - ticks[0]), 3) for a, b in itertools.pairwise(ticks)}
    assert steps == {1.0}


def test_ticks_of_nothing():
    assert charts.nice_ticks(0.0, 0.0)[0] == 0.0
    assert charts.nice_ticks(98.0, 98.0)[0] <= 98.0 < charts.nice_ticks(98.0, 98.0)[-1]


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=500))
def test_a_histogram_holds_every_sample_once(counts):
    chart, rows = charts.histogram(np.array(counts, np.int64))
    assert sum(many for *_, many in rows) == len(counts)
    for first, last, many in rows:
        assert many == sum(first <= n <= last for n in counts)
    assert len(chart.bars) == len(rows) <= charts.MOST_BINS
    for bar in chart.bars:
        assert bar.x >= charts.LEFT
        assert bar.x + bar.width <= charts.WIDTH - charts.RIGHT + 1
        assert bar.y + bar.height == pytest.approx(charts.HEIGHT - charts.BOTTOM, abs=0.02)


def curve(correct: list[float | None], high: float = 2.0) -> Any:
    points = tuple(
        SimpleNamespace(
            steps=n + 1,
            accuracy=0.5 + n / 10,
            energy_per_inference_joules=(n + 1) * 1e-6,
            energy_per_inference_low_joules=(n + 1) * 0.5e-6,
            energy_per_inference_high_joules=(n + 1) * high * 1e-6,
            joules_per_correct_prediction=value,
        )
        for n, value in enumerate(correct)
    )
    return SimpleNamespace(points=points, knee=2, standard_error=0.01)


def test_a_curve_goes_through_its_points():
    chart = charts.accuracy_chart(curve([1e-6, 2e-6, 3e-6]))
    (line,) = chart.lines
    assert line.path == "M" + "L".join(f"{mark.x} {mark.y}" for mark in line.marks)
    xs, ys = [m.x for m in line.marks], [m.y for m in line.marks]
    assert xs == sorted(xs)
    assert ys == sorted(ys, reverse=True)
    assert chart.rule == xs[1]
    ticks = {float(t.text): t.at for t in chart.y_ticks}
    assert ticks[50.0] == ys[0]


def test_energy_that_is_missing_or_far_off_is_not_drawn():
    chart = charts.energy_chart(curve([None, 1.0, 3.3e-6]))
    inference, correct = chart.lines
    assert len(inference.marks) == 3
    assert [mark.text for mark in correct.marks] == ["3 steps: 3.3 µJ per correct prediction"]
    assert all(charts.TOP <= m.y <= charts.HEIGHT for line in chart.lines for m in line.marks)
    assert chart.band.startswith("M")
    steep = charts.energy_chart(curve([1e-6, 4e-6, 9e-6], high=1.0)).lines[1]
    assert len(steep.marks) == 3
    assert all(mark.y >= charts.TOP for mark in steep.marks)
    nothing = charts.energy_chart(curve([None, None, None]))
    assert nothing.lines[1].path == ""


def test_shares():
    assert charts.share(1.0, 4.0) == 25.0
    assert charts.share(1.0, 0.0) == 0.0


@pytest.mark.parametrize("value", [0.0, 3e-15, 1e-12, 9.996e-7, 1.234e-6, 5e-3, 20.0])
def test_energies_are_those_of_the_command_line(value):
    assert words.energy(value).replace("µ", "u") == joules(value)


def test_numbers_as_words():
    assert charts.short_count(12_345) == "12.3k"
    assert charts.short_count(999_960) == "1M"
    assert [words.rate(v) for v in (None, 1.2, -0.1, 0.25)] == ["–", "always", "never", "0.250"]
    assert words.factor(1.0, 2.0) == "wins by 2.00×"
    assert words.factor(2.0, 1.0) == "loses by 2.00×"
    assert [words.factor(*v) for v in ((1, 1), (0, 1), (1, 0))] == ["draws", "wins", "loses"]
