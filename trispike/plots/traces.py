"""How the state of single neurons moves, and where it meets the thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trispike.errors import InvalidDataError, InvalidSettingError
from trispike.network import FixedPointNeuron, Network, digest
from trispike.network.fixed_point import never
from trispike.plots.canvas import (
    COLOURS,
    GREY,
    NEGATIVE,
    POSITIVE,
    SIGNS,
    new_figure,
    number_axis,
    sample_title,
    shortened,
    style,
    time_axis,
)
from trispike.plots.choice import (
    STATES,
    check_neurons,
    check_sample,
    liveliest,
    shown_populations,
)
from trispike.runtime.engine import Array
from trispike.runtime.recording import RecordedRun

NEURONS = 3
"""How many are shown of a population unless they are named."""

MOST_PANELS = 24
"""Neurons in one picture, of all populations."""

_LABELS = {
    "v": "potential v before the reset",
    "c": "carried potential c",
    "i": "current i",
}


def plot_traces(
    recording: RecordedRun,
    populations: Sequence[str] | None = None,
    *,
    sample: int = 0,
    neurons: Sequence[int] | None = None,
    network: Network | None = None,
) -> Figure:
    """States of single neurons in one sample, with their spikes: a column per population.

    Args:
        recording: With v, c or i.
        populations: Names or patterns; by default all of which a state was recorded.
        sample: Its number in the recording, from 0.
        neurons: Flat indices in a population, C order; by default those whose
            spikes vary most.
        network: The network that was recorded, for its thresholds.

    Raises:
        InvalidSettingError: A population, sample or neuron that was not recorded, or too many for
            one picture.
        InvalidDataError: No state of a population was recorded, or of another network.
    """
    names = shown_populations(recording, populations, "traces")
    check_sample(recording, sample)
    chosen = {}
    for name in names:
        if neurons is not None:
            check_neurons(recording, name, neurons)
        chosen[name] = (
            liveliest(recording, name, sample, NEURONS) if neurons is None else list(neurons)
        )
    rows, columns = max(map(len, chosen.values())), len(names)
    if rows * columns > MOST_PANELS:
        raise InvalidSettingError(
            "traces",
            got=f"{rows} neurons of {columns} populations, {rows * columns} panels",
            expected=f"at most {MOST_PANELS} in one picture",
            fix="Choose populations (--population) or neurons (--neurons).",
        )
    limits = {} if network is None else _thresholds(recording, names, network)
    with style():
        title = sample_title("States", recording, sample)
        figure = new_figure(max(7.5, 3.6 * columns), 1.5 + 1.9 * rows, title)
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True)
        for column, (name, indices) in enumerate(chosen.items()):
            for place in panels[len(indices) :, column]:
                place.set_axis_off()
            for place, neuron in zip(panels[:, column], indices, strict=False):
                _draw(place, recording, name, sample, neuron)
                _draw_thresholds(place, [limit[neuron] for limit in limits.get(name, ())])
            top = panels[0, column]
            top.set_title(f"{shortened(name)}\n{top.get_title()}")
            panels[len(indices) - 1, column].set_xlabel("time step")
            panels[len(indices) - 1, column].tick_params(labelbottom=True)
        for place in panels[:, 0]:
            place.set_ylabel("state units" if recording.kind == "integer" else "state (float)")
        _legend(figure)
    return figure


def _thresholds(
    recording: RecordedRun, names: Sequence[str], network: Network
) -> Mapping[str, tuple[Array, Array]]:
    """Positive and negative threshold of each neuron; NaN where it is never reached."""
    if digest(network) != recording.network_sha256:
        raise InvalidDataError(
            "network",
            got=f"one with digest {digest(network)[:12]}…",
            expected=f"that of the recording, {recording.network_sha256[:12]}…",
            fix="Name the network that was recorded, or record this one.",
        )
    found = {}
    for name in names:
        population = network.populations[name]
        neuron = population.neuron
        top = never(neuron.state_bits) if isinstance(neuron, FixedPointNeuron) else np.inf
        signed = []
        for sign, threshold in ((1, neuron.th_pos), (-1, neuron.th_neg)):
            values = np.broadcast_to(threshold, population.shape).reshape(-1)
            signed.append(np.where(values >= top, np.nan, sign * values.astype(np.float64)))
        found[name] = (signed[0], signed[1])
    return found


def _draw(axes: Axes, recording: RecordedRun, name: str, sample: int, neuron: int) -> None:
    records = {
        trace: values[sample].reshape(recording.steps, -1)[:, neuron]
        for trace, values in recording.records[name].items()
    }
    steps = np.arange(recording.steps)
    drawn = [trace for trace in STATES if trace in records]
    marker = "." if recording.steps <= 64 else ""
    for trace in reversed(drawn):  # the potential on top
        axes.plot(
            steps,
            records[trace],
            color=COLOURS[trace],
            linewidth=1.6 if trace == "v" else 1.2,
            linestyle={"v": "-", "c": "-.", "i": ":"}[trace],
            marker=marker,
            label=_LABELS[trace],
        )
    spikes = records.get("s", np.zeros(recording.steps))
    for sign, shape, colour in ((1, "^", POSITIVE), (-1, "v", NEGATIVE)):
        at = np.flatnonzero(spikes == sign)
        if at.size:
            axes.plot(
                at,
                records[drawn[0]][at],
                shape,
                color=colour,
                markersize=9,
                linestyle="none",
                label=f"{SIGNS[sign]} spike",
                zorder=4,
                clip_on=False,  # whole at the first and the last step, too
            )
    time_axis(axes, recording.steps)
    number_axis(axes)
    axes.margins(y=0.12)
    axes.axhline(0, color="0.85", linewidth=0.8, zorder=0)
    place = np.unravel_index(neuron, recording.shape_of(name))
    where = f" ({', '.join(map(str, place))})" if len(place) > 1 else ""
    axes.set_title(f"neuron {neuron}{where}")


def _draw_thresholds(axes: Axes, limits: Sequence[float]) -> None:
    for limit in limits:
        if np.isfinite(limit):
            axes.axhline(limit, color=GREY, linestyle="--", linewidth=1, label="threshold")


def _legend(figure: Figure) -> None:
    """One for all panels, each entry once."""
    entries: dict[str, Artist] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    wanted = [
        *(_LABELS[trace] for trace in STATES),
        "threshold",
        *(f"{sign} spike" for sign in SIGNS.values()),
    ]
    shown = [label for label in wanted if label in entries]
    figure.legend(
        [entries[label] for label in shown],
        shown,
        loc="outside lower center",
        ncols=3,
        frameon=False,
    )
