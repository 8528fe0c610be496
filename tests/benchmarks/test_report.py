"""From a stored run to tables, a plot and a page."""

import copy
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.report import (
    BEGIN,
    END,
    PAGE,
    grids,
    markdown,
    plot,
    print_results,
    write_docs,
    write_results,
)
from benchmarks.targets import Target, targets

RESULTS = json.loads(Path(__file__).with_name("results.json").read_text(encoding="utf-8"))
"""The demo, ResNet-19 and the scaling, from quick runs of an earlier day on a busy machine."""


@pytest.fixture
def results():
    return copy.deepcopy(RESULTS)


def row(results: dict[str, Any], case: str, contestant: str) -> dict[str, Any]:
    found = next(c for c in results["cases"] if c["name"] == case)
    entry: dict[str, Any] = next(r for r in found["contestants"] if r["name"] == contestant)
    return entry


def verdict(results: dict[str, Any], word: str) -> Target:
    (target,) = (t for t in targets(results) if word in t.name)
    return target


def test_every_case_contestant_and_target_is_in_the_tables(results):
    text = markdown(results)
    for case in results["cases"]:
        assert case["title"] in text
        for entry in (*case["contestants"], *case["missing"]):
            assert entry["title"] in text
        for entry in case["missing"]:
            assert entry["reason"] in text
    for target in results["targets"]:
        assert f"| {target['name']} | {target['wanted']} | {target['measured']} |" in text
    assert results["provenance"]["cpu"] in text
    assert f"Warning: {results['warnings'][0]}" in text


def test_tables_are_rectangular(results):
    for grid in grids(results):
        assert grid.rows
        assert {len(cells) for cells in grid.rows} == {len(grid.columns)}


def test_terminal_shows_what_the_page_shows(results):
    file = io.StringIO()
    print_results(results, Console(file=file, width=200))
    shown = file.getvalue()
    for grid in grids(results):
        assert grid.title in shown
        for cells in grid.rows:
            assert cells[-1] in shown


def test_a_different_answer_is_shouted(results):
    assert "DIFFERENT" not in markdown(results)
    row(results, "resnet19", "onnx")["is_equal"] = False
    assert "DIFFERENT" in markdown(results)


def test_targets_are_those_of_the_run(results):
    assert [t.name for t in targets(results)] == [t["name"] for t in results["targets"]]
    assert [t.met for t in targets(results)] == [t["met"] for t in results["targets"]]


def test_targets_compare_with_their_limits(results):
    eager, int8 = row(results, "resnet19", "eager"), row(results, "resnet19", "limit-int8")
    for value, met in ((4.99, False), (5.0, True)):
        eager["times_fast"] = value
        assert verdict(results, "eager").met is met
    for value, met in ((0.59, False), (0.6, True)):
        int8["times_fast"] = value
        assert verdict(results, "int8").met is met
    fast = row(results, "resnet19", "fast")
    per_image = results["stock_lava"]["resnet19"]["seconds_per_image"]
    for factor, met in ((999, False), (1001, True)):
        fast["seconds_per_sample"] = per_image / factor
        assert verdict(results, "per image").met is met
    for exponent, met in ((0.5, False), (0.9, True), (1.2, False)):
        results["exponents"]["batch"] = exponent
        assert verdict(results, "against batch").met is met
    for seconds, met in ((9.9, True), (10.1, False)):
        results["placements"][1]["seconds"] = seconds
        assert verdict(results, "placement").met is met
    memory = results["memory"][0]
    for used, met in ((memory["budget_bytes"], True), (memory["budget_bytes"] + 1, False)):
        memory["used_bytes"] = used
        assert verdict(results, f"of {memory['case']}").met is met


def test_what_was_not_measured_is_neither_met_nor_missed(results):
    results |= {
        "cases": [],
        "stock_lava": {},
        "placements": [],
        "memory": [],
        "exponents": {},
        "scaling": {},
    }
    found = targets(results)
    assert len(found) == 7
    assert {(t.met, t.measured) for t in found} == {(None, "not measured")}
    assert markdown({**results, "targets": []})


def test_plot_shows_cases_and_axes(results):
    figure = plot(results)
    titles = [axes.get_title() for axes in figure.axes]
    assert [t for t in titles if t] == [
        f"{case['title']}: samples per second" for case in results["cases"]
    ]
    growth = figure.axes[len(results["cases"]) :]
    assert [len(axes.lines[0].get_xdata()) for axes in growth] == [
        len(points) for points in results["scaling"].values()
    ]


def test_files_are_written_and_read_back(results, tmp_path):
    files = write_results(results, tmp_path / "new")
    assert [f.name for f in files] == ["results.json", "results.md", "results.png", "results.svg"]
    assert sorted(files) == sorted((tmp_path / "new").iterdir())
    assert json.loads(files[0].read_text(encoding="utf-8")) == results
    assert files[2].read_bytes().startswith(b"\x89PNG")
    assert "<svg" in files[3].read_text(encoding="utf-8")


def test_page_keeps_what_is_around_the_figures(results, tmp_path):
    page, picture = tmp_path / "page.md", tmp_path / "picture.svg"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    for _ in range(2):
        write_docs(results, page, picture)
        text = page.read_text(encoding="utf-8")
        start, generated = text.split(BEGIN)
        assert start == "before\n"
        assert generated.startswith("\n![Rates, and growth of the cost](assets/picture.svg)\n")
        assert generated.endswith(f"\n\n{markdown(results)}{END}\nafter\n")
    assert picture.exists()


def test_a_page_without_markers_is_left_alone(results, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"no end: {BEGIN}", encoding="utf-8")
    with pytest.raises(ValueError, match="has no lines"):
        write_docs(results, page, tmp_path / "picture.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["page.md"]


def test_the_documentation_has_the_markers():
    text = PAGE.read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
    assert text.index(BEGIN) < text.index(END)
