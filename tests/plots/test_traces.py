"""Curves of states against thresholds."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes

from tests.networks import as_float, one_step, sample_inputs, vectors
from trispike.errors import InvalidDataError, InvalidSettingError
from trispike.network import digest
from trispike.plots import plot_traces
from trispike.runtime import ReferenceEngine
from trispike.runtime.recording import recorded_run


def lines(axes: Axes) -> dict[Any, tuple[list[Any], list[Any]]]:
    """Label to (x, y) of what is drawn; without the zero line."""
    return {
        line.get_label(): (list(line.get_xdata()), list(line.get_ydata()))
        for line in axes.lines
        if not str(line.get_label()).startswith("_")
    }


def thresholds(axes: Axes) -> list[Any]:
    """The levels that are drawn."""
    found = [line for line in axes.lines if line.get_label() == "threshold"]
    return [np.asarray(line.get_ydata())[0] for line in found]


def test_curves_and_spikes_of_a_neuron(recording):
    figure = plot_traces(recording, neurons=[7])
    (axes,) = figure.axes
    v = recording.records["first"]["v"][0, :, 7].tolist()
    assert lines(axes) == {
        "potential v before the reset": ([0, 1, 2, 3, 4], v),
        "+1 spike": ([1, 3], [v[1], v[3]]),
        "−1 spike": ([2], [v[2]]),
    }
    assert axes.get_title() == "first\nneuron 7"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("time step", "state units")
    assert figure.get_suptitle() == "States in sample 0 (some data): predicted 3, label 2"


def test_thresholds_are_those_of_the_network(network, recording):
    (axes,) = plot_traces(recording, neurons=[7], network=network).axes
    neuron = network.populations["first"].neuron
    assert thresholds(axes) == [int(neuron.th_pos), -int(neuron.th_neg)]


@pytest.mark.parametrize("network_", [vectors(), as_float(vectors())], ids=["integer", "float"])
def test_spikes_are_where_the_potential_is_beyond_a_threshold(network_):
    inputs = sample_inputs(network_, 2) * (1 if network_.kind == "integer" else 32)
    result = ReferenceEngine(network_).run(inputs, record="all")
    run = recorded_run(result, network_)
    figure = plot_traces(run, ["first"], neurons=range(12), sample=1, network=network_)
    fired = 0
    for axes in figure.axes:
        drawn = lines(axes)
        top, bottom = thresholds(axes)
        steps, v = drawn["potential v before the reset"]
        for step, value in zip(steps, v, strict=True):
            assert (step in drawn.get("+1 spike", ([],))[0]) == (value >= top)
            assert (step in drawn.get("−1 spike", ([],))[0]) == (value <= bottom)
            fired += value >= top or value <= bottom
        assert {"carried potential c", "current i"} <= set(drawn)
    assert fired
    words = "state units" if network_.kind == "integer" else "state (float)"
    assert figure.axes[0].get_ylabel() == words


def test_a_threshold_that_is_never_reached_is_not_drawn(network):
    population = network.populations["first"]
    neuron = dataclasses.replace(population.neuron, th_neg=None)
    binary = dataclasses.replace(
        network,
        populations={
            **network.populations,
            "first": dataclasses.replace(population, neuron=neuron),
        },
    )
    result = ReferenceEngine(binary).run(sample_inputs(binary, 1), record={"first": "v"})
    (axes,) = plot_traces(recorded_run(result, binary), neurons=[0], network=binary).axes
    assert thresholds(axes) == [int(neuron.th_pos)]


def test_another_network_is_refused(recording):
    other = one_step()
    text = f"network: got one with digest {digest(other)[:12]}"
    with pytest.raises(InvalidDataError, match=text):
        plot_traces(recording, network=other)


def test_by_default_the_liveliest_neurons_in_a_column_per_population(recording):
    records = dict.fromkeys(("a", "b"), recording.records["first"])
    figure = plot_traces(dataclasses.replace(recording, records=records))
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["a\nneuron 2", "b\nneuron 2", *["neuron 7"] * 2, *["neuron 9"] * 2]


def test_a_small_population_leaves_panels_empty(recording):
    few = {name: values[..., :1] for name, values in recording.records["first"].items()}
    records = {"a": recording.records["first"], "b": few}
    figure = plot_traces(dataclasses.replace(recording, records=records))
    assert [bool(axes.axison) for axes in figure.axes] == [True, True, True, False, True, False]
    assert figure.axes[1].get_xlabel() == "time step"


def test_positions_in_a_map(recording):
    spikes = recording.records["map"]["s"].copy()
    spikes[0, 2, 1, 1, 1] = 1
    records = {"map": {"s": spikes, "i": spikes.astype(np.int64) * 100}}
    (axes,) = plot_traces(dataclasses.replace(recording, records=records), neurons=[9]).axes
    assert axes.get_title() == "map\nneuron 9 (1, 1, 1)"
    drawn = lines(axes)
    assert "potential v before the reset" not in drawn
    # Without a potential the spikes are on the curve that there is.
    steps, at = drawn["+1 spike"]
    assert 2 in steps
    assert set(at) == {100}


def test_one_legend_for_all_panels(network):
    result = ReferenceEngine(network).run(sample_inputs(network, 4), record="all")
    figure = plot_traces(recorded_run(result, network), network=network)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "potential v before the reset",
        "carried potential c",
        "current i",
        "threshold",
        "+1 spike",
        "−1 spike",
    ]


def test_too_many_panels(recording):
    crowd = dataclasses.replace(recording, records=dict.fromkeys("abc", recording.records["first"]))
    with pytest.raises(InvalidSettingError, match="got 12 neurons of 3 populations, 36 panels"):
        plot_traces(crowd, neurons=range(12))
