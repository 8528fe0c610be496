"""``trispike demo``: the packaged network goes the whole way."""

from importlib.resources import files as package_files
from pathlib import Path

import pytest

import trispike
from trispike.cli import demo
from trispike.network import storage
from trispike.runtime.data import Data, load_data

pytest.importorskip("lava", reason="Lava is not installed")


@pytest.fixture
def few(monkeypatch):
    """The demo on the first digits only, which takes a second instead of ten."""

    def load(source: str) -> Data:
        return load_data(source).first(24)

    monkeypatch.setattr(demo, "load_data", load)


def test_the_checkpoint_is_in_the_package():
    checkpoint = package_files("trispike") / "demo" / demo.DEMO_CHECKPOINT
    assert checkpoint.is_file()
    assert len(checkpoint.read_bytes()) < 1_000_000


def test_the_whole_way(run, tmp_path):
    """What the README promises, on all of the held-out digits."""
    outcome = run("demo", "--json", "--keep", tmp_path / "kept", "--samples", 8)
    facts = outcome.json
    assert (outcome.code, outcome.err) == (0, "")
    assert facts["ok"] is True
    assert facts["failed"] == []
    assert facts["unexplained_mismatches"] == 0
    assert facts["convert"]["proof"]["samples"] == 359
    assert facts["accuracy_float"] >= 0.97
    assert facts["accuracy"] >= facts["accuracy_float"] - 0.005
    assert facts["equal"] is True
    assert facts["verify"]["engines"]["lava"] == "lava-nc 0.10.0"
    assert facts["verify"]["samples"] == 8
    assert facts["simulate"]["saturations"] == 0
    assert len(facts["simulate"]["predictions"]) == 359
    assert facts["synaptic_operations"] == facts["estimate"]["synaptic_operations"] > 0
    assert facts["energy_per_inference_joules"] > 0

    # Its steps are the commands: the kept networks give the same again.
    floats, integers = (Path(facts[step]["output"]) for step in ("convert", "quantize"))
    assert {floats.parent, integers.parent} == {tmp_path / "kept"}
    test, train = load_data("digits"), load_data("digits:train").first(256)
    again = trispike.quantize(trispike.load(floats), train.x, train.y).network
    assert storage.equal(again, trispike.load(integers))
    result = trispike.simulate(again, test.x, test.y)
    assert result.predictions.tolist() == facts["simulate"]["predictions"]
    joules = trispike.estimate(result).energy_per_inference_joules
    assert joules == facts["energy_per_inference_joules"]


def test_what_people_see(few, run):
    outcome = run("demo", "--samples", 4)
    assert (outcome.code, outcome.err) == (0, "")
    for n, step in enumerate(("convert", "quantize", "simulate", "verify", "estimate"), start=1):
        assert f"\n{n}. {step}: " in outcome.out
        assert f"\n$ trispike {step} " in outcome.out
    assert " 0 unexplained; " in outcome.out
    assert "test accuracy: float " in outcome.out
    assert "\nreference == lava\n4 samples, 7 populations" in outcome.out
    assert " per inference on Loihi 1 " in outcome.out
    assert "\nAll checks hold (" in outcome.out
    assert "wrote" not in outcome.out
    assert "The networks are in" not in outcome.out


def test_nothing_is_kept_unless_asked_for(few, run, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    facts = run("demo", "--samples", 1, "--json").json
    assert (facts["convert"]["output"], facts["quantize"]["output"]) == (None, None)
    assert list(tmp_path.iterdir()) == []


def test_a_check_that_fails_is_an_exit_code(few, run, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "ALLOWED_LOSS", -1.0)
    outcome = run("demo", "--samples", 1, "--json")
    assert outcome.code == 1
    assert outcome.json["ok"] is False
    assert outcome.json["failed"] == ["accuracy"]
    assert outcome.err == "failed: accuracy\n"
    outcome = run("demo", "--samples", 1, "--keep", tmp_path)
    assert outcome.code == 1
    assert "All checks hold" not in outcome.out
