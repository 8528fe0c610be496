"""Files of pictures, and what all pictures share."""

import dataclasses
import xml.etree.ElementTree as ET

import matplotlib
import pytest

from trispike.errors import InvalidSettingError
from trispike.plots import FORMATS, plot_raster, plot_rates, plot_traces, save_figure
from trispike.plots.canvas import plain_numbers, shortened

PLOTS = [plot_raster, plot_rates, plot_traces]
STARTS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.mark.parametrize("suffix", FORMATS)
def test_equal_recordings_give_equal_files(suffix, recording, tmp_path, monkeypatch):
    for name in ("a", "b"):
        save_figure(plot_rates(recording), tmp_path / (name + suffix))
        # Whatever the user has set, and whenever it is.
        monkeypatch.setitem(matplotlib.rcParams, "font.size", 30)
        monkeypatch.setitem(matplotlib.rcParams, "svg.hashsalt", "other")
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    a, b = ((tmp_path / (name + suffix)).read_bytes() for name in ("a", "b"))
    assert a == b
    assert a.startswith(STARTS[suffix])


@pytest.mark.parametrize("plot", PLOTS)
def test_svg_is_well_formed_and_has_no_date(plot, recording, tmp_path):
    path = tmp_path / "plot.svg"
    save_figure(plot(recording), path)
    ET.parse(path)
    text = path.read_text(encoding="utf-8")
    assert "<dc:date>" not in text
    assert matplotlib.__version__ not in text


@pytest.mark.parametrize("plot", PLOTS)
def test_names_of_strangers_are_drawn_as_they_are(plot, recording, tmp_path):
    odd = "$\\frac{x}$ <b>&--> 脉冲"
    records = {odd: recording.records["first"]}
    figure = plot(dataclasses.replace(recording, records=records, data="$\\nothing$"))
    save_figure(figure, tmp_path / "plot.svg")
    ET.parse(tmp_path / "plot.svg")


@pytest.mark.parametrize("name", ["plot", "plot.html", "plot.PNG"])
def test_another_format_is_refused(name, recording, tmp_path):
    with pytest.raises(InvalidSettingError, match=r"expected \.png or \.svg or \.pdf"):
        save_figure(plot_rates(recording), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_the_style_of_the_user_stays(recording):
    before = dict(matplotlib.rcParams)
    for plot in PLOTS:
        plot(recording)
    assert dict(matplotlib.rcParams) == before


def test_long_names_keep_both_ends():
    assert shortened("layer1.0.relu1") == "layer1.0.relu1"
    name = shortened("a" * 50 + "z" * 50)
    assert (len(name), name[0], name[-1]) == (32, "a", "z")
    assert "…" in name


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (-2.8e6, "−2,800,000"), (0.25, "0.25"), (1e6, "1,000,000")]
)
def test_numbers_in_full(value, text):
    assert plain_numbers(value) == text
