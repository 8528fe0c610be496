"""``trispike diagnose``: the numbers of the function, a page, or one clear error."""

import importlib.util

import numpy as np
import pytest

import trispike
from trispike.cli.pages import SUFFIXES
from trispike.runtime.diagnose import diagnose


def test_the_numbers_are_those_of_the_function(run, files):
    command = ("diagnose", files.float_network, files.integer_network, "--data", files.data)
    facts = run(*command, "--json").json
    given = np.load(files.data)
    networks = (trispike.load(files.float_network), trispike.load(files.integer_network))
    expected = diagnose(*networks, given["x"], given["y"])
    assert facts["samples"] == 12
    assert facts["guilty"] == expected.guilty
    shown = {p["name"]: p["forced"]["sqnr_db_total"] for p in facts["populations"]}
    assert shown == {p.name: p.forced.sqnr_db_total for p in expected.populations}
    assert (facts["output"], facts["data"]) == (None, "data.npz")
    outcome = run(*command)
    assert (outcome.code, outcome.err) == (0, "")
    for p in expected.populations:
        (line,) = [x for x in outcome.out.splitlines() if x.startswith(f"{p.name} ")][:1]
        assert f"{p.forced.sqnr_db_total:.1f} dB" in line
        assert f"{100 * p.own.spike_error:.2f}%" in line


def test_a_page(run, files, tmp_path):
    pytest.importorskip("jinja2", reason="jinja2 is not installed")
    path = tmp_path / "page.html"
    command = ("diagnose", files.float_network, files.integer_network, "--data", files.data)
    outcome = run(*command, "--samples", 5, "-o", path)
    assert outcome.out.endswith(f"wrote {path}\n")
    markup = path.read_text(encoding="utf-8")
    assert f"<h1>Diagnosis of {files.integer_network.name}</h1>" in markup
    assert run(*command, "--samples", 5, "-o", path, "--json").json["output"] == str(path)


def test_coarse_weights_are_named(run, files, tmp_path):
    coarse = tmp_path / "coarse.safetensors"
    run(
        "quantize", files.float_network, "--calibration", files.data, "--weight-bits", 2, "-o",
        coarse,
    )  # fmt: skip
    outcome = run("diagnose", files.float_network, coarse, "--data", files.data)
    assert outcome.code == 0
    assert "first difference: " in outcome.out
    assert "largest error of its own: " in outcome.out
    assert "weight bits" in outcome.out


def test_swapped_networks(refused, files):
    message = refused(
        "diagnose", files.integer_network, files.float_network, "--data", files.data,
        kind="InvalidSettingError", code=2,
    )  # fmt: skip
    assert "an integer network first" in message
    assert message.endswith("Swap them.")


def test_networks_of_another_origin(refused, files):
    message = refused(
        "diagnose", files.float_network, files.vectors, "--data", files.data,
        kind="InvalidNetworkError",
    )  # fmt: skip
    assert "not of one origin" in message


def test_data_that_do_not_fit(refused, files):
    message = refused(
        "diagnose", files.float_network, files.integer_network, "--data", files.vectors_data,
        kind="InvalidDataError",
    )  # fmt: skip
    assert "shape" in message


@pytest.mark.parametrize("name", ["page.pdf", "none/page.html"])
def test_pages_that_cannot_be_written(run, files, tmp_path, name):
    command = ("diagnose", files.float_network, files.integer_network, "--data", files.data)
    outcome = run(*command, "-o", tmp_path / name)
    assert (outcome.code, outcome.out) == (2, "")
    assert not list(tmp_path.iterdir())
    assert SUFFIXES == (".html", ".htm")


def test_the_networks_are_not_overwritten(run, files):
    before = files.integer_network.read_bytes()
    command = ("diagnose", files.float_network, files.integer_network, "--data", files.data)
    outcome = run(*command, "-o", files.integer_network)
    assert outcome.code == 2
    assert "the file that is read" in outcome.err
    assert files.integer_network.read_bytes() == before


def test_without_jinja_only_the_page_is_missing(run, files, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    command = ("diagnose", files.float_network, files.integer_network, "--data", files.data)
    outcome = run(*command, "-o", tmp_path / "page.html")
    assert outcome.code == 1
    assert "pip install 'trispike[report]'" in outcome.err
    assert run(*command).code == 0
