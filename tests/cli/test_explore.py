"""``trispike explore``: plans, options, results, table and picture."""

import csv
import json

import numpy as np
import pytest

import trispike
from trispike.quantize import quantize
from trispike.runtime.explore import load_outcomes


@pytest.fixture
def options(files):
    return (
        "explore", "--network", files.float_network, "--data", files.data, "--calibration",
        files.data, "--weight-bits", "8,4", "--steps", "1,3",
    )  # fmt: skip


def test_options(run, files, options, tmp_path):
    results, rows, picture = (tmp_path / n for n in ("r.jsonl", "r.csv", "r.svg"))
    written = ("-o", results, "--csv", rows, "--plot", picture)
    outcome = run(*options, *written, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    facts = outcome.json
    assert (facts["evaluated"], facts["known"], len(facts["points"])) == (4, 0, 4)
    with np.load(files.data) as data:
        x, y = data["x"], data["y"]
    source = trispike.load(files.float_network)
    (point,) = [
        p for p in facts["points"]
        if (p["settings"]["weight_bits"], p["settings"]["steps"]) == (4, 3)
    ]  # fmt: skip
    result = trispike.simulate(quantize(source, x, weight_bits=4).network, x, y)
    assert point["accuracy"] == result.accuracy
    priced = trispike.estimate(result).energy_per_inference_joules
    assert point["energy_per_inference_joules"] == priced
    energies = [p["energy_per_inference_joules"] for p in facts["points"]]
    assert energies == sorted(energies)
    assert facts["points"][0]["pareto"]
    assert set(load_outcomes(results)) == {p["key"] for p in facts["points"]}
    with rows.open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert [float(row["energy_per_inference_joules"]) for row in table] == energies
    assert [row["pareto"] for row in table] == [str(p["pareto"]) for p in facts["points"]]
    assert picture.stat().st_size > 1000
    # Again: nothing is evaluated, the output is the same.
    again = run(*options, *written, "--json").json
    assert (again["evaluated"], again["known"]) == (0, 4)
    assert again["points"] == facts["points"]
    text = run(*options, *written).out
    assert "4 bit, per channel, T = 3" in text
    assert f"0 points evaluated, 4 taken from {results}\n" in text
    for path in (results, rows, picture):
        assert f"wrote {path}\n" in text


def test_a_plan(run, files, tmp_path):
    path = tmp_path / "plan.toml"
    strings = {
        "network": files.float_network, "data": files.data, "calibration": files.data,
        "engine": "reference",
    }  # fmt: skip
    text = "".join(f"{name} = {json.dumps(str(value))}\n" for name, value in strings.items())
    text += 'samples = 6\nsearch = "random"\npoints = 2\n[sweep]\nsteps = [1, 2, 3]\n'
    path.write_text(
        text + '[sweep.thresholds]\n"*" = { low = 0.8, high = 1.5 }\n', encoding="utf-8"
    )
    results = tmp_path / "r.jsonl"
    facts = run("explore", path, "-o", results, "--exit-confidence", "0.5", "--json").json
    assert len(facts["points"]) == 2
    for point in facts["points"]:
        assert point["engine"] == "reference"
        assert point["samples"] == 6
        assert 0.8 <= point["settings"]["thresholds"]["*"] <= 1.5
        assert point["settings"]["exit_confidence"] == 0.5
        assert sum(point["samples_by_exit_step"]) == 6
    more = run(
        "explore", path, "-o", results, "--exit-confidence", "0.5", "--random", "3", "--json"
    ).json
    assert (more["evaluated"], more["known"]) == (1, 2)


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        (("--weight-bits", "8;4"), "--weight-bits: got '8;4'"),
        (("--weight-bits", "9"), "sweep.weight_bits.0"),
        (("--thresholds", "conv1=a"), "--thresholds: got 'a'"),
        (("--thresholds", "conv99=1"), "sweep.thresholds.conv99: got no population"),
        (("--exit-confidence", "1.5"), "sweep.exit_confidence"),
        (("--engine", "abacus"), "engine 'abacus': got an unknown name"),
        (("--engine", "reference", "--workers", "2"), "--workers: got engine 'reference'"),
        (("--hardware", "pdp11"), "got 'pdp11'"),
        (("--plot", "x.bmp"), "suffix '.bmp'"),
        (("--csv", "no/x.csv"), "a folder that does not exist"),
    ],
)
def test_bad_options(extra, text, refused, options, tmp_path):
    message = refused(*options, *extra, kind="InvalidSettingError", code=2, output=True)
    assert text in message


def test_what_is_missing(refused, files):
    message = refused("explore", kind="InvalidSettingError", code=2, output=True)
    assert "options: got network: Field required" in message
    start = ("explore", "--network", files.float_network, "--data", files.data)
    message = refused(*start, kind="InvalidSettingError", code=2, output=True)
    assert "calibration: got none" in message


def test_results_are_not_written_over_something_else(refused, options, tmp_path):
    notes = tmp_path / "notes.txt"
    notes.write_text("notes\n", encoding="utf-8")
    message = refused(*options, "-o", notes, kind="FileFormatError")
    assert notes.read_text(encoding="utf-8") == "notes\n"
    assert "line 1: got no outcome of a sweep" in message
