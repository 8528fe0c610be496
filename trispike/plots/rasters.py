"""Which neuron fires when."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from trispike.errors import InvalidSettingError
from trispike.plots.canvas import (
    NEGATIVE,
    POSITIVE,
    SIGNS,
    new_figure,
    sample_title,
    shortened,
    style,
    time_axis,
)
from trispike.plots.choice import check_neurons, check_sample, shown_populations
from trispike.runtime.engine import Array
from trispike.runtime.recording import RecordedRun

MOST_PANELS = 32
"""Populations in one picture."""

_WIDEST = 4
"""Populations side by side."""

_SHORT = 32
"""Up to so many time steps they stand side by side, and steps are ruled off."""

_ROWS, _COLUMNS = 256, 800
"""Cells of a panel at most, so that each has pixels of its own; more are averaged beforehand."""

_COLOURS = np.array([to_rgb(colour) for colour in (NEGATIVE, "white", POSITIVE)])
"""Of -1, 0 and +1: red, green, blue from 0 to 1."""


def plot_raster(
    recording: RecordedRun,
    populations: Sequence[str] | None = None,
    *,
    sample: int = 0,
    neurons: Sequence[int] | None = None,
) -> Figure:
    """Spikes of one sample, a panel per population: neurons over time steps.

    Args:
        recording: With spikes.
        populations: Names or patterns; by default all whose spikes were recorded.
        sample: Its number in the recording, from 0.
        neurons: Flat indices in a population, C order; by default all.

    Raises:
        InvalidSettingError: A population, sample or neuron that was not recorded, or too many
            populations for one picture.
        InvalidDataError: Spikes of a population were not recorded.
    """
    names = shown_populations(recording, populations, "raster")
    check_sample(recording, sample)
    if len(names) > MOST_PANELS:
        raise InvalidSettingError(
            "raster",
            got=f"{len(names)} populations",
            expected=f"at most {MOST_PANELS} in one picture",
            fix="Choose some of them (--population).",
        )
    for name in names if neurons is not None else ():
        check_neurons(recording, name, neurons or ())
    columns = min(len(names), _WIDEST) if recording.steps <= _SHORT else 1
    rows = -(-len(names) // columns)
    panel = 3.4 if recording.steps <= _SHORT else 2.4
    with style():
        figure = new_figure(
            max(6.5, 2.8 * columns), 1.1 + panel * rows, sample_title("Spikes", recording, sample)
        )
        panels = figure.subplots(rows, columns, squeeze=False)
        for place, name in zip(panels.flat, names, strict=False):
            _draw(place, recording, name, sample, neurons)
        for place in panels.flat[len(names) :]:
            place.set_axis_off()
        for place in panels[:, 0]:
            place.set_ylabel("neuron (flat index)")
        for place in panels.flat[max(0, len(names) - columns) : len(names)]:
            place.set_xlabel("time step")
        figure.legend(
            handles=[
                Patch(facecolor=colour, label=f"{SIGNS[sign]} spike")
                for sign, colour in ((1, POSITIVE), (-1, NEGATIVE))
            ],
            loc="outside lower center",
            ncols=2,
            frameon=False,
        )
    return figure


def _draw(
    axes: Axes, recording: RecordedRun, name: str, sample: int, neurons: Sequence[int] | None
) -> None:
    spikes = recording.records[name]["s"][sample].reshape(recording.steps, -1)
    shown = np.arange(spikes.shape[1]) if neurons is None else np.asarray(neurons)
    spikes = spikes[:, shown]
    per_row, per_column = (
        -(-count // most) for count, most in ((len(shown), _ROWS), (recording.steps, _COLUMNS))
    )
    axes.imshow(
        _averaged(_COLOURS[spikes.T + 1], per_row, per_column),
        aspect="auto",
        interpolation="none",
        extent=(
            -0.5,
            per_column * -(-recording.steps // per_column) - 0.5,
            per_row * -(-len(shown) // per_row) - 0.5,
            -0.5,
        ),
    )
    time_axis(axes, recording.steps)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    if recording.steps <= _SHORT:
        for border in np.arange(recording.steps - 1) + 0.5:
            axes.axvline(border, color="0.85", linewidth=0.8)

    def index(position: float, _: object = None) -> str:
        row = round(position)
        return f"{shown[row]:,}" if 0 <= row < len(shown) else ""

    axes.yaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_formatter(FuncFormatter(index))
    axes.spines[["top", "right"]].set_visible(True)
    size = recording.shape_of(name)
    shape = " x ".join(map(str, size)) + (" neurons" if len(size) == 1 else "")
    counts = ", ".join(f"{SIGNS[sign]}: {np.count_nonzero(spikes == sign):,}" for sign in SIGNS)
    averaged = f"\na row is the mean of {per_row} neurons" if per_row > 1 else ""
    averaged += f"\na column is the mean of {per_column} steps" if per_column > 1 else ""
    axes.set_title(f"{shortened(name)}\n{shape}\n{counts}{averaged}", fontsize=9)


def _averaged(colours: Array, per_row: int, per_column: int) -> Array:
    """A picture (rows, columns, 3) with blocks of pixels replaced by their mean colour."""
    for axis, size in ((0, per_row), (1, per_column)):
        starts = np.arange(0, colours.shape[axis], size)
        counts = np.diff([*starts, colours.shape[axis]])
        sums = np.add.reduceat(colours, starts, axis=axis)
        colours = sums / np.expand_dims(counts, tuple({0, 1, 2} - {axis}))
    return colours
