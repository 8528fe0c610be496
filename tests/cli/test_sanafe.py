"""``trispike export --format sanafe``: the folder, the figures, and the comparison."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import pytest

from trispike.cli import export_sanafe
from trispike.network import load
from trispike.targets.loihi.files import save_placement
from trispike.targets.loihi.hardware import load_chip
from trispike.targets.loihi.placement import place
from trispike.targets.sanafe import Simulation

FORMAT = ("--format", "sanafe")


@pytest.fixture
def placed(files, tmp_path):
    """Arguments for the network without torch, and its placement."""
    path = tmp_path / "placement.json"
    save_placement(place(load(files.vectors), load_chip("loihi1")), path)
    return (files.vectors, *FORMAT, "--placement", path, "--data", files.vectors_data)


@pytest.fixture
def simulated(monkeypatch):
    """A stand-in that says what a simulation says, for where the package is not installed."""

    def install(**other: Any) -> None:
        def simulate(folder: Path, steps: int) -> Simulation:
            assert {path.name for path in folder.iterdir()} == {"arch.yaml", "network.yaml"}
            facts: dict[str, Any] = {
                "version": "0",
                "categories": dict.fromkeys(
                    ("synapse", "dendrite", "soma", "network", "total"), 1e-9
                ),
                "reads": steps,
                "messages": 1,
                "fires": 2,
                "hops": 3,
                "seconds": {"simple": 1e-6, "detailed": 2e-6},
            }
            return Simulation(**{**facts, **other})

        monkeypatch.setattr(export_sanafe, "simulate", simulate)
        monkeypatch.setattr(export_sanafe, "sanafe_version", lambda: "0")

    return install


def test_a_folder(run, placed, tmp_path):
    folder = tmp_path / "folder"
    done = run("export", *placed, "--input", "binary", "--samples", 3, "-o", folder)
    assert done.code == 0, done
    assert {path.name for path in folder.iterdir()} == {"arch.yaml", "network.yaml"}
    assert "per inference on Loihi 1 as SANA-FE describes it, mean of 3 samples" in done.out
    assert "on the busiest core, without the mesh" in done.out
    assert "not in it: static power" in done.out
    facts = run(
        "export", *placed, "--input", "omit", "--updates", "fired", "-o", tmp_path / "b", "--json"
    ).json
    assert facts["samples"] == 4
    assert facts["time_steps"] == 4 * load(placed[0]).steps
    assert facts["bytes"] == sum(path.stat().st_size for path in (tmp_path / "b").iterdir())
    terms = {term["event"]: term["count"] for term in facts["terms"]}
    assert terms["neuron_update"] == terms["spike_out"] > 0
    total = sum(term["joules"] for term in facts["terms"])
    assert facts["energy_per_inference_joules"] == pytest.approx(total / 4)
    assert "the host injects its values" in facts["unpriced"]["input"]
    assert facts["comparison"] is None


def test_a_difference_fails(run, placed, simulated, tmp_path):
    simulated()
    command = ("export", *placed, "--input", "omit", "--compare")
    done = run(*command, "-o", tmp_path / "a")
    assert done.code == 1
    assert "The energy DIFFERS FROM that of SANA-FE 0" in done.out
    facts = run(*command, "-o", tmp_path / "b", "--json").json
    assert facts["equal"] is False
    assert facts["comparison"]["counts"]["messages"]["theirs"] == 1


def test_compared(run, placed, tmp_path):
    pytest.importorskip("sanafe", reason="SANA-FE is not installed: make interop")
    done = run("export", *placed, "--input", "binary", "--compare", "-o", tmp_path / "a")
    assert done.code == 0, done
    assert "The energy equals that of SANA-FE" in done.out
    assert "in its detailed model, which adds the mesh" in done.out
    facts = run(
        *("export", *placed, "--input", "binary", "--compare", "-o", tmp_path / "b", "--json")
    ).json
    assert facts["equal"] is True
    assert facts["comparison"]["energy"]["total"]["relative_difference"] < 1e-9


def test_refusals(run, refused, placed, files, tmp_path, monkeypatch):
    def refuse(*arguments: object, kind: str, match: str) -> None:
        code = 2 if kind == "InvalidSettingError" else 1
        (tmp_path / "new").mkdir(exist_ok=True)
        message = refused(
            "export", *arguments, "-o", tmp_path / "new" / "folder", kind=kind, code=code
        )
        assert match in message
        assert not list((tmp_path / "new").iterdir())

    refuse(*placed, kind="UnsupportedError", match="values outside -1, 0 and 1; expected spikes")
    refuse(
        *(*placed, "--input", "all"), kind="InvalidSettingError", match="spikes or binary or omit"
    )
    refuse(
        *(files.vectors, *FORMAT, "--data", files.vectors_data),
        kind="InvalidSettingError",
        match="--placement, --data: got not both",
    )
    refuse(*(files.saturation, *placed[1:]), kind="FileFormatError", match="a placement of network")
    refuse(*placed, "--dt", 1, kind="InvalidSettingError", match="--dt: got format 'sanafe'")
    onnx = (files.vectors, "--format", "onnx", "--compare")
    refuse(*onnx, kind="InvalidSettingError", match="expected format 'sanafe'")

    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    refuse(
        *(*placed, "--input", "omit", "--compare"),
        kind="MissingDependencyError",
        match="pip install 'trispike[sanafe]'",
    )


def test_a_folder_that_is_there(run, placed, tmp_path):
    folder = tmp_path / "folder"
    command = ("export", *placed, "--input", "omit", "-o", folder)
    folder.mkdir()
    assert run(*command).code == 0  # it was empty
    done = run(*command)
    assert done.code == 2
    assert "got a folder with something in it; expected a new folder" in done.err
    assert "got a file" in run(*command[:-1], placed[4]).err
    assert "inside one that does not exist" in run(*command[:-1], tmp_path / "no" / "folder").err


def test_an_interrupted_export_leaves_nothing(run, placed, simulated, tmp_path, monkeypatch):
    simulated()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(export_sanafe, "simulate", interrupted)
    command = ("export", *placed, "--input", "omit", "--compare", "-o", tmp_path / "a")
    assert run(*command).code != 0
    assert [path.name for path in tmp_path.iterdir()] == ["placement.json"]
