"""``trispike verify``: equal or not, with the first difference, as an exit code too."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import trispike
from tests.cli.conftest import Files
from trispike.runtime import ReferenceEngine, Result, engines


@pytest.fixture
def other(monkeypatch):
    """A second engine, equal to the reference or wrong in one membrane potential."""

    def register(*, wrong: bool) -> None:
        class Other(ReferenceEngine):
            def run(self, *args: Any, **kwargs: Any) -> Result:
                result = super().run(*args, **kwargs)
                if wrong:
                    result.records["second"]["v"][1, 2, 3] += 1
                return replace(result, engine="other")

        monkeypatch.setitem(engines.ENGINES, "other", Other)
        monkeypatch.setitem(engines._PACKAGES, "other", "numpy")

    return register


def command(files: Files, *more: object) -> tuple[object, ...]:
    return ("verify", files.vectors, "--data", files.vectors_data, *more)


def test_equal_engines(other, run, files):
    other(wrong=False)
    outcome = run(*command(files, "--engines", "reference, other"))
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("reference == other\n5 samples, 3 populations, traces s, i, c, v")
    certificate = run(*command(files, "--engines", "reference,other", "--json")).json
    assert certificate["equal"] is True
    assert certificate["first_difference"] is None
    assert certificate["data"] == "vectors_data.npz"
    for hashed in ("network_sha256", "data_sha256"):
        assert certificate[hashed] in outcome.out
    with np.load(files.vectors_data) as data:
        same = trispike.verify(trispike.load(files.vectors), data["x"], ("reference", "other"))
    for key, value in same.to_dict().items():
        if key != "seconds":
            assert certificate[key] == (list(value) if isinstance(value, tuple) else value)


def test_engines_that_differ(other, run, files):
    other(wrong=True)
    outcome = run(*command(files, "--engines", "reference,other"))
    as_json = run(*command(files, "--engines", "reference,other", "--json"))
    assert outcome.code == as_json.code == 1
    assert outcome.err == as_json.err == ""
    assert outcome.out.startswith("reference != other\n")
    difference = as_json.json["first_difference"]
    assert as_json.json["equal"] is False
    assert difference["got"] == difference["expected"] + 1
    assert difference | {"expected": 0, "got": 0} == {
        "engine": "other", "what": "second.v", "sample": 1, "step": 2, "index": [3],
        "expected": 0, "got": 0,
    }  # fmt: skip
    assert (
        "first difference of other: second.v, sample 1, step 2, index (3,): "
        f"{difference['expected']} in reference, {difference['got']} in other\n"
    ) in outcome.out


def test_the_first_samples_only(other, run, files):
    other(wrong=False)
    outcome = run(*command(files, "--engines", "reference,other", "--samples", 2, "--json"))
    assert outcome.json["samples"] == 2
    assert outcome.json["data"] == "vectors_data.npz, first 2"


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ("reference", "engines: got reference; expected at least two different names"),
        ("reference,reference", "expected at least two different names"),
        ("", "engines: got none"),
        ("reference,chip", "engine 'chip': got an unknown name; expected one of reference, "),
    ],
)
def test_engines_that_are_not_two(names, text, refused, files):
    message = refused(*command(files, "--engines", names), kind="InvalidSettingError", code=2)
    assert text in message


def test_data_of_the_wrong_shape(other, refused, files, tmp_path):
    other(wrong=False)
    np.save(tmp_path / "x.npy", np.zeros((2, 3)))
    options = ("--data", tmp_path / "x.npy", "--engines", "reference,other")
    message = refused("verify", files.vectors, *options, kind="InvalidDataError")
    assert "data: got an array of shape (2, 3)" in message


def test_no_data_prove_nothing(other, refused, files, tmp_path):
    other(wrong=False)
    np.save(tmp_path / "x.npy", np.zeros((0, 10)))
    options = ("--data", tmp_path / "x.npy", "--engines", "reference,other")
    refused("verify", files.vectors, *options, kind="InvalidDataError")


def test_lava_equals_the_reference(run, files):
    pytest.importorskip("lava", reason="Lava is not installed")
    outcome = run(*command(files, "--json"))
    assert (outcome.code, outcome.err) == (0, "")
    certificate = outcome.json
    assert certificate["equal"] is True
    assert certificate["samples"] == 5
    assert certificate["engines"]["lava"] == "lava-nc 0.10.0"
