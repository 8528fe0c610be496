"""What a picture shows of a recording."""

import dataclasses

import numpy as np
import pytest

from trispike.errors import InvalidDataError, InvalidSettingError
from trispike.plots import default_kind, plot_raster, plot_rates, plot_traces, shown_populations
from trispike.plots.choice import liveliest


@pytest.mark.parametrize(
    ("records", "populations", "kind"),
    [
        ({"a": "s", "b": "s"}, None, "rates"),
        ({"a": "sv", "b": "v"}, None, "rates"),
        ({"a": "sv", "b": "v"}, ["a"], "traces"),
        ({"a": "s", "b": "v"}, ["a"], "raster"),
        ({"a": "s"}, None, "raster"),
        ({"a": "c", "b": "i"}, None, "traces"),
    ],
)
def test_the_default_picture(records, populations, kind, recording):
    first = recording.records["first"]
    made = {
        name: {t: first["s"] if t == "s" else first["v"] for t in traces}
        for name, traces in records.items()
    }
    recording = dataclasses.replace(recording, records=made)
    assert default_kind(recording, populations) == kind


def test_populations_are_named_or_matched_in_the_order_of_the_recording(recording):
    assert shown_populations(recording, None, "rates") == ("first", "map")
    assert shown_populations(recording, ["ma*", "first", "map"], "raster") == ("first", "map")
    assert shown_populations(recording, None, "traces") == ("first",)


def test_a_population_without_what_is_needed(recording):
    text = r"recording of 'map': got other traces only; expected one of v, c and i\. .*'map:s,v'"
    with pytest.raises(InvalidDataError, match=text):
        plot_traces(recording, ["map"])
    first = {"first": {"v": recording.records["first"]["v"]}}
    silent = dataclasses.replace(recording, records=first)
    for plot in (plot_raster, plot_rates):
        with pytest.raises(InvalidDataError, match=r"recording of 'first': .* expected spikes"):
            plot(silent)


@pytest.mark.parametrize("plot", [plot_raster, plot_rates, plot_traces])
def test_an_unknown_population(plot, recording):
    with pytest.raises(InvalidSettingError, match=r"population 'frist': .* Did you mean first\?"):
        plot(recording, ["frist"])


@pytest.mark.parametrize("plot", [plot_raster, plot_traces])
@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"sample": 2}, "sample: got 2; expected a number from 0 to 1"),
        ({"sample": -1}, "sample: got -1"),
        ({"neurons": [3, 12, 99]}, "neurons of 'first': got 12, 99; expected numbers from 0 to 11"),
        ({"neurons": [-1]}, "neurons of 'first': got -1"),
        ({"neurons": []}, "neurons of 'first': got none"),
    ],
)
def test_samples_and_neurons_that_are_not_there(plot, options, text, recording):
    with pytest.raises(InvalidSettingError, match=text):
        plot(recording, ["first"], **options)


def test_the_liveliest_neurons(recording):
    assert liveliest(recording, "first", 0, 1) == [7]
    assert liveliest(recording, "first", 0, 3) == [2, 7, 9]
    assert liveliest(recording, "first", 1, 3) == [0, 1, 4]
    assert len(liveliest(recording, "first", 0, 99)) == 12
    v = np.zeros((2, 5, 12), np.int64)
    v[0, 1, 5] = -70
    quiet = dataclasses.replace(recording, records={"first": {"v": v}})
    assert liveliest(quiet, "first", 0, 1) == [5]
