"""docs/json.md has exactly the keys that the commands print, with their types."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trispike
from tests.cli.test_app import COMMANDS
from tests.networks import fire_once, sample_inputs
from tests.quantize.floats import one_population
from trispike.cli import export_sanafe
from trispike.export import Mismatch
from trispike.network import Dense, load
from trispike.nn import build_qcfs, save_checkpoint
from trispike.runtime import ReferenceEngine, Result, engines
from trispike.runtime.data import Data, load_data
from trispike.runtime.energy import load_profile
from trispike.targets.loihi.files import save_placement
from trispike.targets.loihi.hardware import load_chip
from trispike.targets.loihi.placement import place
from trispike.targets.sanafe import Simulation

PAGE = (Path(__file__).parents[2] / "docs" / "json.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([^`]+)` \| ([a-z ]+) \|[^|]*\|[^|]*\|$", re.MULTILINE)
TYPES: dict[str, Any] = {
    "string": lambda v: isinstance(v, str),
    "integer": lambda v: type(v) is int,
    "number": lambda v: type(v) in (int, float),
    "boolean": lambda v: isinstance(v, bool),
    "object": lambda v: isinstance(v, dict),
    "integers": lambda v: isinstance(v, list) and all(type(n) is int for n in v),
    "strings": lambda v: isinstance(v, list) and all(isinstance(n, str) for n in v),
    "null": lambda v: v is None,
}


def documented(title: str) -> dict[str, tuple[str, ...]]:
    """Key to types, of one section."""
    (section,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    rows = {key: tuple(types.split(" or ")) for key, types in ROW.findall(section)}
    assert len(rows) == section.count("\n| `") > 0, "a row that is not understood, or doubled"
    return rows


def leaves(value: Any, keys: dict[str, tuple[str, ...]], path: str = "") -> list[tuple[str, Any]]:
    """What a value holds, under the keys of the page: names that stand for others put in."""
    if path in keys or not isinstance(value, dict | list):
        return [(path, value)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item, keys, f"{path}[]")]
    start = f"{path}." if path else ""
    wild = {m[0] for key in keys if (m := re.match(re.escape(start) + r"<\w+>", key))}
    found = []
    for name, item in value.items():
        found += leaves(item, keys, next(iter(wild)) if wild else start + name)
    return found


def check(title: str, *objects: dict[str, Any]) -> None:
    """The objects together have the documented keys, all of them and no others."""
    keys = documented(title)
    seen = set()
    for value in objects:
        for path, leaf in leaves(value, keys):
            if leaf is None and any(key.startswith(f"{path}.") for key in keys):
                continue  # an object that may be null
            assert path in keys, f"{title}: {path} is not documented"
            assert any(TYPES[kind](leaf) for kind in keys[path]), f"{title}: {path} is {leaf!r}"
            seen.add(path)
    assert set(keys) == seen


def test_every_command_has_a_section():
    titles = re.findall(r"^## trispike (\w+)$", PAGE, re.MULTILINE)
    assert sorted(titles) == sorted(COMMANDS)


def test_convert(run, files, tmp_path):
    facts = run(
        "convert", files.checkpoint, "--arch", "ctsn-resnet8", "--steps", 3, "-o",
        tmp_path / "net.safetensors", "--json",
    ).json  # fmt: skip
    # No trained network has this by itself.
    mismatch = Mismatch(
        population="a", sample=0, step=1, neuron=(2, 3, 4), module_spike=0, network_spike=1,
        distance=1e-12, explained=True,
    )  # fmt: skip
    facts["proof"]["mismatches"].append(json.loads(json.dumps(asdict(mismatch))))
    levels = build_qcfs("qcfs-resnet8", levels=2)
    save_checkpoint(levels, tmp_path / "levels.pth")
    counted = run(
        "convert", tmp_path / "levels.pth", "--arch", "qcfs-resnet8", "--levels", 2,
        "--input-shape", "1,8,8", "-o", tmp_path / "levels.safetensors", "--json",
    ).json  # fmt: skip
    check("trispike convert", facts, counted)


def test_quantize(run, files, tmp_path):
    facts = run(
        "quantize", files.float_network, "--calibration", files.data, "-o",
        tmp_path / "net.safetensors", "--json",
    ).json  # fmt: skip
    source = one_population(Dense(weight=np.eye(4)))
    trispike.save(source, tmp_path / "small.safetensors")
    np.save(tmp_path / "x.npy", np.eye(4))
    facts |= run(
        "quantize", tmp_path / "small.safetensors", "--calibration", tmp_path / "x.npy", "-o",
        tmp_path / "net.safetensors", "--fit", "memory=20", "--json",
    ).json  # fmt: skip
    assert facts["fit"]["uniform"]
    check("trispike quantize", facts)


def test_finetune(run, files, tmp_path):
    connections = trispike.load(files.float_network).all_connections
    half = sum(c.operator.weight.size for c in connections) // 2
    facts = run(
        "finetune", files.float_network, "--data", files.data, "-o",
        tmp_path / "net.safetensors", "--epochs", 1, "--fit", f"memory={half}", "--json",
    ).json  # fmt: skip
    assert facts["fit"]["uniform"]
    facts["best_epoch"] = 1
    check("trispike finetune", facts)


def test_diagnose(run, files, tmp_path):
    coarse = tmp_path / "coarse.safetensors"
    quantized = ("quantize", files.float_network, "--calibration", files.data, "-o", coarse)
    run(*quantized, "--weight-bits", 2)
    command = ("diagnose", files.float_network, coarse, "--data", files.data, "--json")
    check("trispike diagnose", run(*command).json)


def test_plastic(run, files, tmp_path):
    rules = tmp_path / "rules.json"
    rules.write_text('{"*": {"eta": 0.1, "theta": 1}}')
    outcome = run("plastic", files.vectors, rules, "-o", tmp_path / "plastic", "--json")
    check("trispike plastic", outcome.json)
    inspected = run("inspect", tmp_path / "plastic", "--json").json
    assert inspected["connections"][0]["plasticity"]["theta"] == 64


def test_inspect(run, files, tmp_path):
    graph = ("--graph", tmp_path / "net.svg")
    check(
        "trispike inspect",
        run("inspect", files.integer_network, "--json").json,
        run("inspect", files.float_network, "--json").json,
        run("inspect", files.vectors, *graph, "--json").json,
        run("inspect", files.vectors, *graph, "--data", files.vectors_data, "--json").json,
    )


def test_simulate(run, files, tmp_path):
    recorded: tuple[Any, ...] = ("--record", "all", "--record-to", tmp_path / "run.npz")
    recorded += ("--ledger-out", tmp_path / "ledger.safetensors")
    vectors = ("simulate", files.vectors, "--data", files.vectors_data)
    check(
        "trispike simulate",
        run("simulate", files.integer_network, "--data", files.data, *recorded, "--json").json,
        run("simulate", files.float_network, "--data", files.data, "--json").json,
        run(*vectors, "--exit-confidence", "0.5", "--json").json,
        run("simulate", *firing_once(tmp_path), "--json").json,
    )


def firing_once(folder: Path) -> tuple[Any, ...]:
    """A network whose neurons fire at most once, and data, as arguments."""
    network = fire_once()
    trispike.save(network, folder / "once.safetensors")
    np.savez(folder / "once.npz", x=sample_inputs(network, 3))
    return folder / "once.safetensors", "--data", folder / "once.npz"


def test_compare(run, files):
    both = (files.integer_network, files.float_network, "--data", files.data)
    check("trispike compare", run("compare", *both, "--json").json)


def test_plot(run, files, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    path = tmp_path / "run.npz"
    command = ("simulate", files.vectors, "--data", files.vectors_data)
    run(*command, "--record", "all", "--record-to", path)
    plot = ("plot", path, "-o", tmp_path / "plot.svg", "--json")
    check("trispike plot", run(*plot).json, run(*plot, "--kind", "raster").json)


def test_estimate(run, files, tmp_path):
    command = ("estimate", files.integer_network, "--data", files.data, "--json")
    assume = ("--assume", "graded_operation=1")
    spread = ("--per-class", "--ledger-out", tmp_path / "ledger.safetensors")
    check(
        "trispike estimate",
        run(*command, "--conventions").json,
        run(*command, *assume).json,
        run(*command, *spread).json,
        run(*command, "--anytime").json,
        run(*command, "--hardware", "cmos45-memory").json,
        run(*command, "--hardware", "loihi1-regressed").json,
    )


def test_hardware(run, tmp_path):
    profile = load_profile("loihi1-regressed").model_dump()
    del profile["unpriced"]["static_power"]
    profile["static_power"] = {"watts": 1.0, "citation": "my meter"}
    profile["id"] = "mine"
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps(profile), encoding="utf-8")
    names = ((), ("loihi1",), ("cmos45-memory",), (mine,))
    check("trispike hardware", *(run("hardware", *name, "--json").json for name in names))


def test_explore(run, files, tmp_path):
    facts = run(
        "explore", "--network", files.float_network, "--data", files.data, "--calibration",
        files.data, "--steps", "2", "--thresholds", "1,1.5", "--exit-confidence", "off,0.9",
        "-o", tmp_path / "results.jsonl", "--json",
    ).json  # fmt: skip
    check("trispike explore", facts)


def test_report(run, files, tmp_path):
    pytest.importorskip("jinja2", reason="jinja2 is not installed")
    unlabelled = tmp_path / "x.npz"
    np.savez(unlabelled, x=np.load(files.vectors_data)["x"])
    command = ("report", files.vectors, "-o", tmp_path / "report.html", "--json", "--data")
    check(
        "trispike report",
        run(*command, files.vectors_data).json,
        run(*command, unlabelled).json,
    )


def test_check(run, files):
    start = ("check", files.integer_network, "--json", "--target")
    more = ("--data", files.data, "--samples", "2")
    check("trispike check", run(*start, "loihi1", *more).json, run(*start, "loihi2").json)


def test_verify(run, files, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    model = tmp_path / "net.onnx"
    run("export", files.vectors, "--format", "onnx", "-o", model)

    class Other(ReferenceEngine):
        def run(self, *args: Any, **kwargs: Any) -> Result:
            result = super().run(*args, **kwargs)
            result.records["second"]["s"][1, 2, 3] += 1
            return replace(result, engine="other")

    same = type("Same", (ReferenceEngine,), {})
    for name, engine in (("other", Other), ("same", same)):
        monkeypatch.setitem(engines.ENGINES, name, engine)
        monkeypatch.setitem(engines._PACKAGES, name, "numpy")
    command = ("verify", files.vectors, "--data", files.vectors_data, "--json", "--engines")
    check(
        "trispike verify",
        run(*command, "reference,same").json,
        run(*command, "reference,other").json,
        run(*command[:-1], "--onnx", model).json,
    )


def test_conformance(run, monkeypatch):
    class Wrong(ReferenceEngine):
        def run(self, *args: Any, **kwargs: Any) -> Result:
            result = super().run(*args, **kwargs)
            return replace(result, logits=result.logits + 1)

    monkeypatch.setitem(engines.ENGINES, "wrong", Wrong)
    start = ("conformance", "--only", "xor", "--json", "--engine")
    check("trispike conformance", *(run(*start, name).json for name in ("wrong", "reference")))


def test_export_and_import(run, files, tmp_path, monkeypatch):
    pytest.importorskip("nir", reason="NIR is not installed")
    exchanged, back = tmp_path / "net.nir", tmp_path / "net.safetensors"
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    command = ("export", files.float_network, "--json", "--format")
    save_placement(place(load(files.vectors), load_chip("loihi1")), tmp_path / "placement")
    sanafe = (
        *("export", files.vectors, "--json", "--format", "sanafe", "--input", "omit"),
        *("--placement", tmp_path / "placement", "--data", files.vectors_data, "-o"),
    )
    folders = {"alone": (), "compared": ("--compare",)}
    zero = dict.fromkeys(("synapse", "dendrite", "soma", "network", "total"), 0.0)
    simulation = Simulation(
        version="0", categories=zero, reads=0, messages=0, fires=0, hops=0,
        seconds={"simple": 0.0, "detailed": 0.0},
    )  # fmt: skip
    monkeypatch.setattr(export_sanafe, "simulate", lambda *_: simulation)
    monkeypatch.setattr(export_sanafe, "sanafe_version", lambda: "0")
    check(
        "trispike export",
        run(*command, "nir", "-o", exchanged).json,
        run(
            *(*command, "nir", "-o", tmp_path / "lossy.nir", "--nodes", "standard"),
            *("--allow-lossy", "--data", files.data, "--samples", 2),
        ).json,
        run(*command, "onnx", "-o", tmp_path / "net.onnx").json,
        *(run(*sanafe, tmp_path / name, *more).json for name, more in folders.items()),
    )
    check("trispike import", run("import", exchanged, "-o", back, "--json").json)


def test_doctor(run):
    check("trispike doctor", run("doctor", "--json").json)


def test_demo(run, monkeypatch):
    pytest.importorskip("lava", reason="Lava is not installed")

    def few(source: str) -> Data:
        return load_data(source).first(16)

    monkeypatch.setattr("trispike.cli.demo.load_data", few)
    facts = run("demo", "--samples", 2, "--json").json
    check("trispike demo", facts)
    for name in ("convert", "quantize", "simulate", "verify", "estimate"):
        keys = documented(f"trispike {name}")
        for path, leaf in leaves(facts[name], keys):
            if leaf is not None:
                assert path in keys, f"{name}: {path}"


def test_errors(run):
    check("Errors", run("simulate", "--json").json, run("demo", "--samples", "x", "--json").json)
