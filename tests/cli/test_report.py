"""``trispike report``: the numbers of estimate on a page, or one clear error and no page."""

import html
import importlib.util
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import html5lib
import numpy as np
import pytest

import trispike
from trispike.runtime.report import SECTIONS
from trispike.targets.loihi import load_chip, place, save_placement


def parsed(path: Path) -> ET.Element:
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    return parser.parse(path.read_text(encoding="utf-8"))


def figures(tree: ET.Element, identity: str) -> list[float]:
    (element,) = [e for e in tree.iter() if e.get("id") == identity]
    return [float(e.get("value", "")) for e in element.iter("data")]


def test_the_numbers_are_those_of_estimate(run, files, tmp_path):
    path = tmp_path / "report.html"
    command = (files.integer_network, "--data", files.data)
    outcome = run("report", *command, "-o", path)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.endswith(f"wrote {path}\n")
    tree = parsed(path)
    assert [e.get("id") for e in tree.iter("section")] == list(SECTIONS)
    expected = run("estimate", *command, "--json").json
    assert figures(tree, "headline-energy") == [expected["energy_per_inference_joules"]]
    assert figures(tree, "headline-accuracy") == [expected["accuracy"]]
    each = expected["synaptic_operations_per_inference"]
    assert figures(tree, "headline-operations") == [each]
    facts = run("report", *command, "-o", path, "--json").json
    assert facts["network_sha256"] == expected["network_sha256"]
    for priced in facts["estimates"]:
        one = run("estimate", *command, "--hardware", priced["hardware"], "--json").json
        assert {key: one[key] for key in priced} == priced
    assert facts["lost"]


def test_options(run, files, tmp_path):
    path, placed = tmp_path / "report.html", tmp_path / "placement.json"
    save_placement(place(trispike.load(files.vectors), load_chip("loihi1")), placed)
    command = (files.vectors, "--data", files.vectors_data, "--samples", 4)
    more = ("--placement", placed, "--hardware", "loihi1-regressed", "--hardware", "odin")
    facts = run("report", *command, *more, "-o", path, "--json").json
    assert facts["samples"] == 4
    assert [e["hardware"] for e in facts["estimates"]] == ["loihi1-regressed", "odin"]
    options = ("--placement", placed, "--hardware", "loihi1-regressed", "--json")
    one = run("estimate", *command, *options).json
    assert figures(parsed(path), "headline-energy") == [one["energy_per_inference_joules"]]
    assert figures(parsed(path), "traffic")


@pytest.fixture
def stored(run, files, tmp_path):
    """Counts of the tiny network: as a whole, and in shards."""
    arrays = np.load(files.vectors_data)
    paths = []
    for name, part in [("whole", slice(None)), ("first", slice(2)), ("rest", slice(2, None))]:
        data, path = tmp_path / f"{name}.npz", tmp_path / f"{name}.safetensors"
        np.savez(data, x=arrays["x"][part], y=arrays["y"][part])
        assert run("simulate", files.vectors, "--data", data, "--ledger-out", path).code == 0
        paths.append(path)
    return paths


def test_stored_counts_give_the_page_without_a_run(run, files, stored, tmp_path):
    """All of it but the curve, and the row of the network before folding."""
    whole, *shards = stored
    path, other = tmp_path / "report.html", tmp_path / "shards.html"
    fresh = run("report", files.vectors, "--data", files.vectors_data, "-o", path, "--json").json
    again = run("report", files.vectors, "--ledger", whole, "-o", path, "--json").json
    assert {**again, "data": ""} == {**fresh, "data": ""}
    options = ("--ledger", shards[0], "--ledger", shards[1], "-o", other)
    merged = run("report", files.vectors, *options, "--json").json
    assert (merged["data"], again["data"]) == ("first.npz, rest.npz", "whole.npz")
    assert {**merged, "data": "", "output": ""} == {**again, "data": "", "output": ""}
    for page in (path, other):
        text = page.read_text(encoding="utf-8")
        assert [e.get("id") for e in parsed(page).iter("section")] == list(SECTIONS)
        assert "stored counts, which hold no logits of single steps" in text
    assert "inputs of shard 2, SHA-256" in other.read_text(encoding="utf-8")


def test_assumptions_are_of_one_profile_each(run, files, tmp_path):
    path = tmp_path / "report.html"
    command = (files.vectors, "--data", files.vectors_data)
    plain = run("report", *command, "-o", path, "--json").json["estimates"]
    more = ("--assume", "graded_operation=100", "--assume", "loihi1-regressed:spike=7")
    assumed = run("report", *command, *more, "-o", path, "--json").json["estimates"]
    for profile, event, n in [
        ("loihi1", "graded_operation=100", 0),
        ("loihi1-regressed", "spike=7", 1),
    ]:
        one = run("estimate", *command, "--hardware", profile, "--assume", event, "--json").json
        assert assumed[n]["hardware"] == profile
        key = "energy_per_inference_joules"
        assert plain[n][key] != assumed[n][key] == one[key]
    assert assumed[2:] == plain[2:]
    text = path.read_text(encoding="utf-8")
    assert "<dt>assumed prices of loihi1</dt><dd><code>graded_operation 100 pJ</code>" in text
    assert "<dt>assumed prices of loihi1-regressed</dt><dd><code>spike 7 pJ</code>" in text


def test_an_assumed_message_needs_the_placement(run, files, tmp_path):
    path, placed = tmp_path / "report.html", tmp_path / "placement.json"
    save_placement(place(trispike.load(files.vectors), load_chip("loihi1")), placed)
    command = ("report", files.vectors, "--data", files.vectors_data, "--assume", "message=50")
    refused = run(*command, "-o", path)
    assert (refused.code, "'message': got no placement" in refused.err) == (2, True)
    outcome = run(*command, "--placement", placed, "-o", path)
    assert (outcome.code, outcome.err) == (0, "")


def test_the_curve_goes_on_and_the_sparse_twin_is_ones_own(run, files, tmp_path):
    path = tmp_path / "report.html"
    command = (files.integer_network, "--data", files.data)
    steps = trispike.load(files.integer_network).steps
    options = ("--max-steps", steps + 2, "--relu-sparsity", "0.25")
    outcome = run("report", *command, *options, "-o", path)
    assert (outcome.code, outcome.err) == (0, "")
    curve = run("estimate", *command, "--anytime", *options, "--json").json
    points = curve["anytime"]["points"]
    assert len(points) == steps + 2
    shown = figures(parsed(path), "curve")
    for point in points:
        assert point["energy_per_inference_joules"] in shown
    sparse = [twin for twin in curve["ann_twins"] if "25%" in str(twin["assumptions"])]
    assert sparse
    assert sparse[0]["assumptions"][0] in html.unescape(path.read_text(encoding="utf-8"))


def test_float_networks_are_priced_and_told(run, files, tmp_path):
    path = tmp_path / "report.html"
    facts = run("report", files.float_network, "--data", files.data, "-o", path, "--json").json
    assert "cmos45-fp32" in {e["hardware"] for e in facts["estimates"]}
    assert "This is a float network." in path.read_text(encoding="utf-8")


def test_without_labels(run, files, tmp_path):
    data, path = tmp_path / "x.npz", tmp_path / "report.html"
    np.savez(data, x=np.load(files.vectors_data)["x"])
    outcome = run("report", files.vectors, "--data", data, "-o", path)
    assert (outcome.code, outcome.err) == (0, "")
    assert "accuracy on x.npz: -\n" in outcome.out
    assert "The data have no labels" in path.read_text(encoding="utf-8")


def test_bad_input_is_one_error_and_no_page(run, files, tmp_path):
    """``refused`` gives networks as output, so that this one looks for itself."""
    empty, other, broken = (tmp_path / n for n in ("empty.npz", "other.json", "broken.json"))
    x = np.load(files.vectors_data)["x"]
    np.savez(empty, x=x[:0], y=np.zeros(0, np.int64))
    save_placement(place(trispike.load(files.saturation), load_chip("loihi1")), other)
    broken.write_text("{}", encoding="utf-8")
    path = tmp_path / "report.html"
    path.write_text("precious", encoding="utf-8")
    before = sorted(tmp_path.iterdir())
    for options, code, words in [
        (("--data", empty), 1, "no samples"),
        (("--hardware", "loihi2"), 2, "Loihi 2 has no published energy"),
        (("--hardware", broken), 1, "hardware profile"),
        (("--hardware", "loihi1", "--hardware", "loihi1"), 2, "loihi1 twice"),
        (("--placement", other), 1, "network"),
        (("--placement", broken), 1, "placement"),
        (("--latency", "-1"), 2, "latency"),
        (("--relu-sparsity", "2"), 2, "2"),
        (("--max-steps", "1"), 2, "at least 4"),
        (("--assume", "thought=1"), 2, "assumed price of 'thought'"),
        (("--assume", "loihi1:spike"), 2, "expected EVENT=PICOJOULES"),
        (("--assume", "odin:spike=1"), 2, "no hardware of this report"),
        (("--assume", "cmos45-memory:spike=1"), 2, "with cmos45-memory, a memory model"),
        (("--ledger", broken), 2, "--data beside it"),
        (("-o", tmp_path / "report.pdf"), 2, "suffix '.pdf'"),
        (("-o", tmp_path / "none" / "report.html"), 2, "a folder that does not exist"),
        (("-o", files.vectors), 2, "the file that is read"),
    ]:
        data = () if options[0] == "--data" else ("--data", files.vectors_data)
        outcome = run("report", files.vectors, *data, "-o", path, *options)
        assert (outcome.code, outcome.out) == (code, ""), options
        assert outcome.err.startswith("error: ")
        assert outcome.err.count("error: ") == 1
        assert "internal error" not in outcome.err
        assert words in outcome.err
        assert sorted(tmp_path.iterdir()) == before
        assert path.read_text(encoding="utf-8") == "precious"


def test_a_float_network_has_no_placement(run, files, tmp_path):
    placed = tmp_path / "placement.json"
    save_placement(place(trispike.load(files.vectors), load_chip("loihi1")), placed)
    command = ("report", files.float_network, "--data", files.data, "--placement", placed)
    outcome = run(*command, "-o", tmp_path / "report.html")
    assert (outcome.code, "a float network" in outcome.err) == (1, True)


def test_without_jinja_the_error_names_the_extra(run, files, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    command = ("report", files.vectors, "--data", files.vectors_data)
    outcome = run(*command, "-o", tmp_path / "report.html")
    assert outcome.code == 1
    assert "pip install 'trispike[report]'" in outcome.err


def test_the_command_line_is_on_the_page(run, files, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["trispike", "report", "a file"])
    path = tmp_path / "report.html"
    run("report", files.vectors, "--data", files.vectors_data, "-o", path)
    assert "<dd><code>trispike report &#39;a file&#39;</code></dd>" in path.read_text("utf-8")


@pytest.mark.parametrize("suffix", [".html", ".htm"])
def test_suffixes(suffix, run, files, tmp_path):
    path = tmp_path / f"report{suffix}"
    assert run("report", files.vectors, "--data", files.vectors_data, "-o", path).code == 0
    assert path.is_file()
