"""How often the neurons of each population fire."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from trispike.errors import InvalidDataError
from trispike.plots.canvas import NEGATIVE, POSITIVE, SIGNS, new_figure, shortened, style
from trispike.plots.choice import shown_populations
from trispike.runtime.recording import RecordedRun

_BAR = 0.38
"""Height of a bar; two of them make a population."""


def plot_rates(recording: RecordedRun, populations: Sequence[str] | None = None) -> Figure:
    """Firing rates as bars, +1 and -1 apart, over all samples and steps.

    Beside each bar stand the rate, per neuron and time step, and the spikes per sample.

    Args:
        recording: With spikes.
        populations: Names or patterns; by default all whose spikes were recorded.

    Raises:
        InvalidSettingError: None of that name was recorded.
        InvalidDataError: Spikes of a population, or any samples, were not recorded.
    """
    names = shown_populations(recording, populations, "rates")
    if not recording.samples:
        raise InvalidDataError(
            "recording", got="no samples", expected="some to average over", fix="Record some."
        )
    with style():
        samples = f"{recording.samples:,} sample{'s' * (recording.samples > 1)}"
        title = (
            f"Firing rates over {samples} ({shortened(recording.data)}), "
            f"{recording.steps:,} time steps each"
        )
        figure = new_figure(8.5, 1.7 + 0.5 * len(names), title)
        axes = figure.subplots()
        longest = 0.0
        for sign, offset, colour in ((1, -_BAR / 2, POSITIVE), (-1, _BAR / 2, NEGATIVE)):
            counts = np.array([np.count_nonzero(recording.records[n]["s"] == sign) for n in names])
            sizes = np.array([recording.records[n]["s"].size for n in names])
            rates = 100 * counts / sizes
            rows = np.arange(len(names)) + offset
            bars = axes.barh(rows, rates, _BAR, color=colour, label=f"{SIGNS[sign]} spikes")
            each = counts / recording.samples
            words = [f"{r:.2f} %  ({n:,.1f})" for r, n in zip(rates, each, strict=True)]
            axes.bar_label(bars, words, padding=3, fontsize=9)
            longest = max(longest, rates.max())
        axes.set_yticks(range(len(names)), [shortened(name) for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)  # the first population on top
        axes.set_xlim(0, 1.3 * longest or 1)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("spikes per neuron and time step, % (in brackets: spikes per sample)")
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure
