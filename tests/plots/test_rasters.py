"""Rasters of spikes."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from trispike.errors import InvalidSettingError
from trispike.plots import plot_raster
from trispike.plots.canvas import NEGATIVE, POSITIVE


def cells(axes: Axes) -> Any:
    """(neurons, steps, 3): the colours that are drawn."""
    (image,) = axes.images
    return np.asarray(image.get_array())


@pytest.fixture
def many(recording):
    """One sample of 600 neurons over 2000 steps, of which few fire."""
    spikes = np.zeros((1, 2000, 600), np.int8)
    spikes[0, 0, :3] = 1
    spikes[0, 1999, 599] = -1
    return dataclasses.replace(
        recording, records={"many": {"s": spikes}}, predictions=np.array([0]), labels=None
    )


def test_every_spike_is_a_cell_of_its_colour(recording):
    figure = plot_raster(recording, ["first"])
    (axes,) = figure.axes
    drawn = cells(axes)
    spikes = recording.records["first"]["s"][0].T
    assert drawn.shape == (12, 5, 3)
    for sign, colour in ((1, POSITIVE), (-1, NEGATIVE), (0, "white")):
        np.testing.assert_array_equal((drawn == to_rgb(colour)).all(axis=2), spikes == sign)


def test_words(recording):
    figure = plot_raster(recording, sample=1)
    first, second = figure.axes
    assert figure.get_suptitle() == "Spikes in sample 1 (some data): predicted 1, label 1"
    assert first.get_title() == "first\n12 neurons\n+1: 1, −1: 0"
    assert second.get_title().startswith("map\n2 x 3 x 2\n+1: ")
    assert (first.get_xlabel(), first.get_ylabel()) == ("time step", "neuron (flat index)")
    assert (second.get_xlabel(), second.get_ylabel()) == ("time step", "")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["+1 spike", "−1 spike"]
    colours = [patch.get_facecolor()[:3] for patch in legend.get_patches()]
    assert colours == [to_rgb(POSITIVE), to_rgb(NEGATIVE)]


def test_time_steps_are_whole_numbers(recording):
    (axes,) = plot_raster(recording, ["first"]).axes
    assert axes.get_xlim() == (-0.5, 4.5)
    ticks = [tick for tick in axes.get_xticks() if 0 <= tick <= 4]
    assert ticks == [0, 1, 2, 3, 4]


def test_chosen_neurons_keep_their_numbers(recording):
    (axes,) = plot_raster(recording, ["first"], neurons=[9, 7]).axes
    drawn = cells(axes)
    assert drawn.shape[0] == 2
    assert tuple(drawn[0, 4]) == to_rgb(NEGATIVE)
    assert tuple(drawn[1, 1]) == to_rgb(POSITIVE)
    labels = axes.yaxis.get_major_formatter()
    assert [labels(row) for row in (-1, 0, 1, 2)] == ["", "9", "7", ""]


def test_what_has_no_pixel_of_its_own_is_averaged_and_said(many):
    (axes,) = plot_raster(many).axes
    drawn = cells(axes)
    assert drawn.shape == (200, 667, 3)
    title = axes.get_title()
    assert "a row is the mean of 3 neurons" in title
    assert "a column is the mean of 3 steps" in title
    share = 3 / 9  # the only spikes of that block
    expected = share * np.array(to_rgb(POSITIVE)) + (1 - share)
    np.testing.assert_allclose(drawn[0, 0], expected)
    share = 1 / 6  # 2000 = 666 * 3 + 2: the last block is narrower
    expected = share * np.array(to_rgb(NEGATIVE)) + (1 - share)
    np.testing.assert_allclose(drawn[-1, -1], expected)
    assert (drawn[1:-1] == 1).all()
    assert axes.get_xlim() == (-0.5, 1999.5)
    assert axes.get_ylim() == (599.5, -0.5)
    (image,) = axes.images
    assert [*image.get_extent()] == [-0.5, 2000.5, 599.5, -0.5]


def test_long_runs_are_stacked_and_short_ones_side_by_side(recording, many):
    def rows(figure: Any) -> int:
        return figure.axes[0].get_gridspec().nrows

    assert rows(plot_raster(recording)) == 1
    two = dict.fromkeys(("a", "b"), many.records["many"])
    assert rows(plot_raster(dataclasses.replace(many, records=two))) == 2
    five = dict.fromkeys("abcde", recording.records["first"])
    figure = plot_raster(dataclasses.replace(recording, records=five))
    assert rows(figure) == 2
    assert [bool(axes.images) for axes in figure.axes] == [True] * 5 + [False] * 3


def test_too_many_populations(recording):
    crowd = {f"p{n}": recording.records["first"] for n in range(33)}
    with pytest.raises(InvalidSettingError, match="got 33 populations; expected at most 32"):
        plot_raster(dataclasses.replace(recording, records=crowd))
