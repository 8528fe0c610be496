"""Accuracy and energy against the time steps used."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from trispike.plots.canvas import (
    GREY,
    NEGATIVE,
    POSITIVE,
    new_figure,
    number_axis,
    shortened,
    style,
)
from trispike.runtime.anytime import Anytime

UNITS = ((1.0, "J"), (1e-3, "mJ"), (1e-6, "µJ"), (1e-9, "nJ"), (1e-12, "pJ"))
"""Of energy, the largest first."""


def energy_unit(values: Sequence[float]) -> tuple[float, str]:
    """Factor and name of the unit in which the largest of these, in joules, is at least 1."""
    largest = max(values, default=0.0)
    return next((unit for unit in UNITS if largest >= unit[0]), UNITS[-1])


def plot_anytime(curve: Anytime, data: str) -> Figure:
    """Two panels over one axis of time steps: accuracy with the knee, and energy.

    Args:
        curve: What was measured.
        data: Name of the data, for the title.
    """
    steps = [p.steps for p in curve.points]
    with style():
        title = f"Accuracy and energy after each time step ({shortened(data)}, {curve.hardware})"
        figure = new_figure(7.5, 6.2, title)
        accuracy, energy = figure.subplots(2, 1, sharex=True)
        _draw_accuracy(accuracy, curve)
        _draw_energy(energy, curve)
        energy.set_xlabel("time steps used")
        energy.set_xlim(steps[0] - 0.5, steps[-1] + 0.5)
        energy.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True, min_n_ticks=1))
        for axes in (accuracy, energy):
            axes.axvline(curve.knee, color=GREY, linestyle="--", linewidth=1, zorder=0)
        if curve.network_steps < steps[-1]:
            span = (curve.network_steps + 0.5, steps[-1] + 0.5)
            accuracy.axvspan(*span, color="0.94", zorder=-1)
            energy.axvspan(*span, color="0.94", zorder=-1, label="beyond the network's own steps")
        accuracy.legend(loc="lower right", frameon=False)
        energy.legend(loc="upper left", frameon=False)
    return figure


def _draw_accuracy(axes: Axes, curve: Anytime) -> None:
    steps = [p.steps for p in curve.points]
    axes.plot(
        steps,
        [100 * p.accuracy for p in curve.points],
        color=POSITIVE,
        marker="o",
        markersize=5,
        label="accuracy",
    )
    best = 100 * max(p.accuracy for p in curve.points)
    axes.axhspan(
        best - 100 * curve.standard_error,
        best,
        color=POSITIVE,
        alpha=0.12,
        linewidth=0,
        label="one standard error below the best",
    )
    axes.axvline(curve.knee, color=GREY, linestyle="--", linewidth=1, label=f"knee: {curve.knee}")
    axes.set_ylabel(f"accuracy, % of {curve.samples:,} samples")
    number_axis(axes)


def _draw_energy(axes: Axes, curve: Anytime) -> None:
    steps = [p.steps for p in curve.points]
    correct = [p.joules_per_correct_prediction for p in curve.points]
    ends = [
        (p.energy_per_inference_low_joules, p.energy_per_inference_high_joules)
        for p in curve.points
    ]
    each = [p.energy_per_inference_joules for p in curve.points]
    factor, unit = energy_unit(each)
    axes.plot(
        steps,
        np.array(each) / factor,
        color=POSITIVE,
        marker="o",
        markersize=5,
        label="per inference",
    )
    low, high = np.array(ends).T / factor
    if (low < high).any():
        axes.fill_between(
            steps,
            low,
            high,
            color=POSITIVE,
            alpha=0.12,
            linewidth=0,
            label="interval of the prices",
        )
    axes.plot(
        steps,
        [np.nan if value is None else value / factor for value in correct],
        color=NEGATIVE,
        marker="s",
        markersize=5,
        linestyle=":",
        label="per correct prediction",
    )
    axes.set_ylim(bottom=0)
    axes.set_ylabel(f"energy, {unit}")
    number_axis(axes)
