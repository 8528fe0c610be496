"""Bars of firing rates."""

import dataclasses

import numpy as np
import pytest

from tests.networks import sample_inputs
from trispike.errors import InvalidDataError
from trispike.plots import plot_rates
from trispike.runtime import ReferenceEngine
from trispike.runtime.recording import recorded_run


def test_the_bars_are_the_rates_of_the_ledger(network):
    result = ReferenceEngine(network).run(sample_inputs(network, 6), record="all")
    (axes,) = plot_rates(recorded_run(result, network)).axes
    positive, negative = axes.containers
    for row, name in enumerate(network.populations):
        counts = result.ledger.populations[name]
        updates = counts.updates.sum()
        for bars, spikes in (
            (positive, counts.spikes_positive),
            (negative, counts.spikes_negative),
        ):
            assert bars[row].get_width() == pytest.approx(100 * spikes.sum() / updates, abs=1e-12)
    assert sum(bar.get_width() for bar in positive) > 0


def test_labels_say_the_numbers(recording):
    (axes,) = plot_rates(recording, ["first"]).axes
    # 4 of 2 * 5 * 12 and 2 of them; per sample 2 and 1
    assert [text.get_text() for text in axes.texts] == ["3.33 %  (2.0)", "1.67 %  (1.0)"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["first"]
    assert axes.get_xlabel().startswith("spikes per neuron and time step, %")
    assert axes.get_xlim()[1] > 100 * 4 / 120


def test_title_and_legend(recording):
    figure = plot_rates(recording)
    assert figure.get_suptitle() == "Firing rates over 2 samples (some data), 5 time steps each"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["+1 spikes", "−1 spikes"]
    (axes,) = figure.axes
    assert axes.yaxis_inverted()  # the first population on top
    assert [text.get_text() for text in axes.get_yticklabels()] == ["first", "map"]


def test_silence_is_drawn(recording):
    silent = {"first": {"s": np.zeros((2, 5, 12), np.int8)}}
    (axes,) = plot_rates(dataclasses.replace(recording, records=silent)).axes
    assert [text.get_text() for text in axes.texts] == ["0.00 %  (0.0)"] * 2


def test_no_samples_have_no_rate(recording):
    empty = dataclasses.replace(
        recording,
        records={"first": {"s": np.zeros((0, 5, 12), np.int8)}},
        predictions=np.zeros(0, np.int64),
        labels=None,
    )
    with pytest.raises(InvalidDataError, match="recording: got no samples"):
        plot_rates(empty)
