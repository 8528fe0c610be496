"""The anytime curve and the Pareto plot: what is drawn is what was measured."""

from dataclasses import replace

import numpy as np
import pytest

from trispike.errors import InvalidDataError
from trispike.plots import plot_anytime, plot_pareto, save_figure
from trispike.runtime.anytime import Anytime, AnytimePoint
from trispike.runtime.explore import Outcome


def curve(low: float = 1.0, high: float = 1.0) -> Anytime:
    points = tuple(
        AnytimePoint(
            steps=n,
            correct=c,
            accuracy=c / 100,
            synaptic_operations_per_inference=10.0 * n,
            energy_per_inference_joules=2e-6 * n,
            energy_per_inference_low_joules=2e-6 * n * low,
            energy_per_inference_high_joules=2e-6 * n * high,
            joules_per_correct_prediction=2e-4 * n / c if c else None,
            saturations=0,
        )
        for n, c in ((1, 0), (2, 80), (3, 90), (4, 88))
    )
    return Anytime(
        hardware="loihi1", samples=100, network_steps=3, knee=3, best_steps=3,
        standard_error=0.03, points=points,
    )  # fmt: skip


def labels(axes) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_the_curves_are_the_points():
    accuracy, energy = plot_anytime(curve(), "digits").axes
    assert np.asarray(accuracy.lines[0].get_ydata()) == pytest.approx([0, 80, 90, 88])
    each, correct = (np.asarray(line.get_ydata()) for line in energy.lines[:2])
    assert each == pytest.approx([2, 4, 6, 8])
    assert energy.get_ylabel() == "energy, µJ"
    assert np.isnan(correct[0])
    assert correct[1:] == pytest.approx([5, 20 / 3, 100 / 11], rel=1e-2)
    assert "knee: 3" in labels(accuracy)
    assert "beyond the network's own steps" in labels(energy)
    assert "interval of the prices" not in labels(energy)


def test_the_interval_of_the_prices_is_drawn():
    energy = plot_anytime(curve(0.5, 2.0), "digits").axes[1]
    assert "interval of the prices" in labels(energy)


def test_within_the_own_steps_nothing_is_shaded():
    energy = plot_anytime(replace(curve(), network_steps=4), "digits").axes[1]
    assert "beyond the network's own steps" not in labels(energy)


def outcome(accuracy: float, energy: float, bits: int = 8, error: str | None = None) -> Outcome:
    settings = {
        "weight_bits": bits, "granularity": "channel", "steps": 4, "thresholds": {},
        "exit_confidence": None,
    }  # fmt: skip
    return Outcome(
        key=f"{accuracy}/{energy}", settings=settings, trispike="", code_sha256="",
        source_sha256="", data_sha256="",
        calibration_sha256=None, hardware="loihi1", hardware_sha256="", samples=50, engine="fast",
        accuracy=accuracy, energy_per_inference_joules=energy, error=error,
    )  # fmt: skip


POINTS = [
    outcome(0.9, 3e-6, 4), outcome(0.8, 1e-6, 2), outcome(0.7, 4e-6), outcome(0.95, 2e-5),
    outcome(0.99, 1e-9, error="failed"),
]  # fmt: skip


def test_dots_and_front():
    figure = plot_pareto(POINTS, "a title")
    (axes,) = figure.axes
    dots, front = axes.lines
    assert dots.get_xdata() == pytest.approx([3, 1, 4, 20])
    assert dots.get_ydata() == pytest.approx([90, 80, 70, 95])
    assert front.get_xdata() == pytest.approx([1, 3, 20])
    assert [text.get_text() for text in axes.texts] == ["1", "2", "3"]
    assert axes.get_xscale() == "log"
    (legend,) = figure.legends
    assert legend.get_title().get_text().splitlines()[:2] == [
        "1: 2 bit, per channel, T = 4", "2: 4 bit, per channel, T = 4"
    ]  # fmt: skip
    assert figure.get_suptitle() == "a title"


def test_a_short_range_is_linear():
    (axes,) = plot_pareto(POINTS[:3], "").axes
    assert axes.get_xscale() == "linear"
    assert axes.get_xlim()[0] == 0


def test_a_long_front_is_cut_in_words():
    points = [outcome(n / 100, n * 1e-6) for n in range(1, 31)]
    (legend,) = plot_pareto(points, "").legends
    assert legend.get_title().get_text().endswith("\nand 14 more")


def test_nothing_measured():
    with pytest.raises(InvalidDataError, match="sweep: got no point that was measured"):
        plot_pareto(POINTS[-1:], "")


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_equal_curves_give_equal_files(suffix, tmp_path):
    paths = [tmp_path / f"{n}{suffix}" for n in range(4)]
    for path in paths[:2]:
        save_figure(plot_anytime(curve(), "digits"), path)
    for path in paths[2:]:
        save_figure(plot_pareto(POINTS, "title"), path)
    a, b, c, d = (path.read_bytes() for path in paths)
    assert a == b != c == d
