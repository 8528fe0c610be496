"""The Python API: the jobs as functions, with the numbers of the command line."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import trispike
from tests.networks import CASES, sample_inputs, saturation, vectors
from trispike.cli.app import app
from trispike.errors import (
    FoldingError,
    InvalidDataError,
    InvalidSettingError,
    SaturationError,
    UnsupportedError,
)
from trispike.export import proof
from trispike.network import storage
from trispike.nn import (
    ARCHITECTURES,
    CTSN,
    build_model,
    load_checkpoint,
    randomize,
    save_checkpoint,
)
from trispike.runtime.data import load_digits_split
from trispike.runtime.energy import load_hardware, load_profile
from trispike.runtime.engines import default_engine
from trispike.targets.loihi import load_chip, place, save_placement

ARCH = "ctsn-resnet8"
STEPS = 3


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def images(n: int) -> Any:
    return np.random.default_rng(n).normal(size=(n, 1, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A narrow network with nothing left at a neutral value."""
    plan = dataclasses.replace(ARCHITECTURES[ARCH].plan, widths=(4, 6, 8))
    torch.manual_seed(1)
    model = build_model(ARCH, steps=STEPS, plan=plan)
    randomize(model, seed=1)
    path = tmp_path_factory.mktemp("api") / "net.pth"
    save_checkpoint(model, path)
    return path


@pytest.fixture
def module(checkpoint):
    return trispike.load_checkpoint(checkpoint, ARCH, steps=STEPS)


# ------------------------------------------------------------------ the same as the command line


def command(*arguments: object) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_the_whole_way_gives_the_numbers_of_the_command_line(module, checkpoint, tmp_path):
    x = images(20)
    y = np.arange(20) % 10
    np.savez(tmp_path / "data.npz", x=x, y=y)
    data = ("--data", tmp_path / "data.npz")
    floats, integers = tmp_path / "float.safetensors", tmp_path / "integer.safetensors"

    conversion = trispike.convert(module, x, data_description="data.npz", proof_samples=20)
    told = command("convert", checkpoint, "--arch", ARCH, "--steps", STEPS, *data, "-o", floats)
    assert told["network_sha256"] == storage.digest(conversion.network)
    assert told["proof"] == json.loads(json.dumps(conversion.proof.to_dict()))
    assert conversion.proof.holds

    quantization = trispike.quantize(conversion.network, x, y)
    told = command("quantize", floats, "--calibration", tmp_path / "data.npz", "-o", integers)
    assert told["network_sha256"] == storage.digest(quantization.network)
    record = json.loads(json.dumps(quantization.record.to_dict()))
    assert {key: told[key] for key in record} == record

    result = trispike.simulate(quantization.network, x, y)
    told = command("simulate", integers, *data)
    assert told["predictions"] == result.predictions.tolist()
    assert told["accuracy"] == result.accuracy
    assert told["ledger"] == result.ledger.to_dict()

    priced = trispike.estimate(
        quantization.network, x, hardware="loihi1", assumptions={"graded_operation": 5}
    )
    told = command("estimate", integers, *data, "--assume", "graded_operation=5")
    plain = json.loads(json.dumps(priced.to_dict()))
    assert {key: told[key] for key in plain} == plain

    pytest.importorskip("lava", reason="Lava is not installed")
    certificate = trispike.verify(quantization.network, x[:3])
    told = command("verify", integers, *data, "--samples", 3)
    plain = json.loads(json.dumps(certificate.to_dict()))
    del plain["seconds"], told["seconds"]
    assert {key: told[key] for key in plain} == plain
    assert certificate.equal


# ------------------------------------------------------------------------------------- convert


def test_tensors_and_arrays_are_the_same(module):
    x = images(5)
    arrays = trispike.convert(module, x)
    tensors = trispike.convert(module, torch.from_numpy(x))
    assert storage.equal(arrays.network, tensors.network)
    assert arrays.proof == tensors.proof


def test_the_proof_takes_no_more_samples_than_asked_for(module):
    finished: list[int] = []
    conversion = trispike.convert(module, images(9), proof_samples=4, progress=finished.append)
    assert conversion.proof.samples == sum(finished) == 4
    assert conversion.proof.data == "given data"
    assert trispike.convert(module, images(40)).proof.samples == 32


def test_the_module_is_left_as_it_was(module):
    module.train()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    trispike.convert(module, images(3))
    assert module.training
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
    assert {value.dtype for value in module.parameters()} == {torch.float32}


def test_where_the_weights_come_from_is_kept(module, checkpoint):
    recorded = trispike.convert(module, images(2)).network.provenance["checkpoint"]
    assert recorded == dataclasses.asdict(module.provenance)
    assert recorded["file"] == checkpoint.name


def neuron() -> Any:
    return CTSN("static", 0.5, 0.25)


class OverTime(nn.Module):
    """Applies layers to (T, N, ...), after showing the input T times."""

    def __init__(self, *layers: Any) -> None:
        super().__init__()
        self.steps = STEPS
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Any) -> Any:
        return self.layers(x.unsqueeze(0).repeat(self.steps, 1, 1, 1, 1)).mean(0)


class PerStep(nn.Module):
    """A layer for (N, ...), applied to (T, N, ...)."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Any) -> Any:
        return self.layer(x.flatten(0, 1)).unflatten(0, (STEPS, -1))


def test_a_module_of_ones_own():
    torch.manual_seed(2)
    own = OverTime(
        PerStep(nn.Conv2d(1, 3, 3, padding=1)), neuron(), PerStep(nn.AvgPool2d(2)),
        PerStep(nn.Flatten()), PerStep(nn.Linear(48, 5)),
    ).eval()  # fmt: skip
    conversion = trispike.convert(own, images(6))
    assert conversion.proof.spikes_fired > 0
    x = images(6)
    with torch.no_grad():
        expected = own(torch.from_numpy(x)).numpy()
    result = trispike.simulate(conversion.network, x)
    # float32 against float64: the spikes are the same, the sums of few weights nearly.
    np.testing.assert_allclose(result.logits, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("layers", "text"),
    [
        (
            lambda: (PerStep(nn.Conv2d(1, 3, 3, padding=1)), neuron(), PerStep(nn.MaxPool2d(2))),
            "MaxPool2d|max",
        ),
        (
            lambda: (
                PerStep(nn.Conv2d(1, 3, 3, padding=1)), neuron(),
                PerStep(nn.Conv2d(3, 3, 3, padding=1)), PerStep(nn.Conv2d(3, 4, 3, padding=1)),
                neuron(),
            ),
            r"layers\.3",
        ),
        (
            lambda: (PerStep(nn.Conv2d(1, 3, 3, padding=1)), neuron(), PerStep(nn.ReLU())),
            "ReLU|relu",
        ),
    ],
    ids=["max pooling", "two convolutions in a row", "another nonlinearity"],
)  # fmt: skip
def test_what_has_no_exact_form_is_refused_by_name(layers, text):
    own = OverTime(*layers(), PerStep(nn.Flatten()), PerStep(nn.LazyLinear(5))).eval()
    with torch.no_grad():
        own(torch.zeros(1, 1, 8, 8))  # gives the lazy layer its size
    with pytest.raises(UnsupportedError, match=text):
        trispike.convert(own, images(2))


@pytest.mark.parametrize("steps", [None, 0, -1, 2.5, "4"])
def test_steps_have_to_be_known(steps):
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    with pytest.raises(InvalidSettingError, match=f"steps: got {steps!r}; expected the number"):
        trispike.convert(plain, images(2), steps=steps)


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((2, 8, 8), r"example_input: got shape \(2, 8, 8\) for 3 steps; expected \(N, C, H, W\)"),
        ((2, 4, 1, 8, 8), r"got shape \(2, 4, 1, 8, 8\) for 3 steps"),
        ((0, 1, 8, 8), "expected at least one sample"),
    ],
)
def test_the_shape_of_the_data_says_how_they_enter(shape, text, module):
    with pytest.raises(InvalidDataError, match=text):
        trispike.convert(module, np.zeros(shape, np.float32))


def test_no_proof_is_no_conversion(module):
    with pytest.raises(InvalidDataError, match="proof_samples 0; expected at least one sample"):
        trispike.convert(module, images(2), proof_samples=0)


def test_a_module_that_the_network_does_not_equal_is_not_converted(module, monkeypatch):
    """The proof is run, and it is not advice."""
    monkeypatch.setattr(proof.Proof, "holds", False)
    with pytest.raises(FoldingError, match="folded network: got 0 unexplained spike mismatches"):
        trispike.convert(module, images(2))


# ---------------------------------------------------------------------------- simulate, estimate


@pytest.mark.parametrize("case", ["sew_addition", "recurrent", "frames_encoding"])
@pytest.mark.parametrize("engine", [None, "reference"])
def test_simulate_is_the_fast_engine_unless_another_is_named(case, engine):
    network = CASES[case]()
    x = sample_inputs(network, 4)
    expected = trispike.ReferenceEngine(network).run(x, record="all")
    options = {"batch_size": 3} if engine else {}
    result = trispike.simulate(network, x, record="all", engine=engine, **options)
    assert result.engine == (engine or default_engine())
    assert result.ledger.differences(expected.ledger) == []
    np.testing.assert_array_equal(result.logits, expected.logits)
    assert set(result.records) == set(network.populations)


def test_simulate_passes_labels_progress_and_options_on():
    network = vectors()
    x = sample_inputs(network, 5)
    finished: list[int] = []
    result = trispike.simulate(network, x, np.zeros(5, int), progress=finished.append)
    assert result.accuracy == float((result.predictions == 0).mean())
    assert sum(finished) == 5
    with pytest.raises(SaturationError):
        trispike.simulate(saturation(), sample_inputs(saturation(), 1), strict=True)
    with pytest.raises(InvalidSettingError, match="engine 'gpu': got an unknown name"):
        trispike.simulate(network, x, engine="gpu")


def test_estimate_takes_a_network_a_run_or_a_ledger():
    network = vectors()
    x = sample_inputs(network, 5)
    result = trispike.simulate(network, x, per_sample=True)
    estimates = [
        trispike.estimate(network, x),
        trispike.estimate(result, network=network),
        trispike.estimate(result.ledger, network=network),
        trispike.estimate(result, network=network, hardware=load_profile("loihi1")),
    ]
    facts = [estimate.to_dict() for estimate in estimates]
    assert facts[0]["energy_per_inference_joules"] > 0
    assert all(fact == facts[0] for fact in facts)


def test_a_memory_model_takes_the_network():
    network = vectors()
    x = sample_inputs(network, 5)
    found = trispike.estimate(network, x, hardware="cmos45-memory")
    assert found.breakdown["weight_fetch"] > 0
    assert "input_queue" not in found.unpriced
    result = trispike.simulate(network, x)
    model = load_hardware("cmos45-memory")
    for run in (result, result.ledger):
        with pytest.raises(InvalidSettingError, match="a finished run without its network, and"):
            trispike.estimate(run, hardware=model)
        again = trispike.estimate(run, x, network=network, hardware=model)
        assert again.energy_per_inference_joules == found.energy_per_inference_joules
        assert again.breakdown == found.breakdown
    with pytest.raises(InvalidSettingError, match="a memory model; expected a profile of events"):
        trispike.estimate(network, x, hardware=model, assumptions={"spike": 1})


def test_estimate_fails_before_the_long_part():
    network = vectors()
    with pytest.raises(InvalidDataError, match="got a network without data; expected data to"):
        trispike.estimate(network)
    wrong = np.zeros((1, 99))  # would be found out when it is run
    with pytest.raises(InvalidSettingError, match="Loihi 2 has no published energy"):
        trispike.estimate(network, wrong, hardware="loihi2")
    with pytest.raises(InvalidSettingError, match="assumed price of 'thought': got 1 pJ"):
        trispike.estimate(network, wrong, assumptions={"thought": 1})
    with pytest.raises(InvalidDataError, match=r"data: got an array of shape \(1, 99\)"):
        trispike.estimate(network, wrong)


# ------------------------------------------------------------------------------ what a run cost


@pytest.fixture
def tiny(tmp_path):
    """A network with data, stored counts and a placement of it."""
    network = vectors()
    x, y = sample_inputs(network, 5), np.arange(5) % 3
    trispike.save(network, tmp_path / "net.safetensors")
    np.savez(tmp_path / "data.npz", x=x, y=y)
    return network, x, y, tmp_path


def test_stored_counts_are_priced_as_the_command_line_does(tiny):
    network, x, y, folder = tiny
    paths = [folder / "a.safetensors", folder / "b.safetensors"]
    for path, part in zip(paths, (slice(2), slice(2, None)), strict=True):
        result = trispike.simulate(network, x[part], y[part], per_sample=True)
        trispike.save_ledger(result, network, x[part], path, name=path.name)
    stored = trispike.load_ledger(*paths)
    source = ("--data", folder / "data.npz")
    for hardware in ("loihi1", "cmos45-memory"):
        told = command("estimate", folder / "net.safetensors", *source, "--hardware", hardware)
        for what, data in ((stored, None), (network, x)):
            found = trispike.estimate(what, data, network=network, hardware=hardware).to_dict()
            assert {key: told[key] for key in found} == json.loads(json.dumps(found))
    with pytest.raises(InvalidDataError, match="counts of the network with sha256"):
        trispike.estimate(stored, network=saturation())


def test_a_placement_and_a_latency_are_those_of_the_command_line(tiny):
    network, x, y, folder = tiny
    placed = place(network, load_chip("loihi1"))
    save_placement(placed, folder / "placement.json")
    more = ("--placement", folder / "placement.json", "--latency", "0.01")
    source = ("--data", folder / "data.npz")
    told = command("estimate", folder / "net.safetensors", *source, *more)
    result = trispike.simulate(network, x, y, per_sample=True)
    options: dict[str, Any] = {"placement": placed, "latency_seconds": 0.01}
    for found in (
        trispike.estimate(network, x, **options),
        trispike.estimate(result, x, network=network, **options),
    ):
        assert {key: told[key] for key in found.to_dict()} == json.loads(
            json.dumps(found.to_dict())
        )
    with pytest.raises(InvalidDataError, match="a placement without data"):
        trispike.estimate(result, network=network, placement=placed)
    with pytest.raises(InvalidSettingError, match="loihi1 on a placement"):
        trispike.estimate(result, x, placement=placed)


def test_fewer_steps_and_early_exit_are_those_of_the_command_line(tiny):
    network, x, y, folder = tiny
    source = ("--data", folder / "data.npz")
    told = command(
        "estimate",
        folder / "net.safetensors",
        *source,
        "--anytime",
        "--max-steps",
        network.steps + 1,
    )["anytime"]
    curve = trispike.anytime(network, x, y, max_steps=network.steps + 1).to_dict()
    assert {key: told[key] for key in curve} == json.loads(json.dumps(curve))
    told = command("simulate", folder / "net.safetensors", *source, "--exit-confidence", 0.9)
    run = trispike.early_exit(network, x, y, confidence=0.9)
    assert (run.accuracy, run.mean_steps) == (told["accuracy"], told["early_exit"]["mean_steps"])
    energy = trispike.exit_energy(network, x, run).joules
    assert energy == told["early_exit"]["energy_per_inference_joules"]


def test_explore_is_that_of_the_command_line(tiny):
    network, x, y, folder = tiny
    source = ("--data", folder / "data.npz", "--steps", "1,2", "-o", folder / "told.jsonl")
    told = command("explore", "--network", folder / "net.safetensors", *source)["points"]
    results = folder / "mine.jsonl"
    found = trispike.explore(network, x, y, sweep={"steps": [1, 2]}, results=results)
    assert {o.key for o in found} == {point["key"] for point in told}
    again = trispike.explore(network, x, y, sweep={"steps": [2]}, results=results)
    assert again[0].seconds == found[1].seconds  # taken from the file
    with pytest.raises(InvalidSettingError, match=r"explore: got sweep\.step"):
        trispike.explore(network, x, y, sweep={"step": [1]}, results=results)
    with pytest.raises(InvalidSettingError, match="calibration: got an integer network"):
        trispike.explore(network, x, y, sweep={}, results=results, calibration=x)


def test_report_is_that_of_the_command_line(tiny):
    network, x, y, folder = tiny
    told = folder / "told.html"
    facts = command("report", folder / "net.safetensors", "--data", folder / "data.npz", "-o", told)
    placed = place(network, load_chip("loihi1"))
    page = trispike.report(
        network, x, y, output=folder / "mine.html", max_steps=network.steps + 2, placement=placed,
        network_name="net.safetensors", data_name="data.npz",
    )  # fmt: skip
    plain = trispike.report(network, x, y, output=folder / "plain.html")
    energies = [e.energy_per_inference_joules for e in plain.estimates]
    assert energies == [e["energy_per_inference_joules"] for e in facts["estimates"]]
    assert page.curve is not None
    assert len(page.curve.points) == network.steps + 2
    assert page.traffic is not None
    assert "<!doctype html>" in (folder / "mine.html").read_text(encoding="utf-8")
    result = trispike.simulate(network, x, y, per_sample=True)
    stored = trispike.save_ledger(result, network, x, folder / "run.safetensors")
    again = trispike.report(network, stored, output=folder / "again.html")
    assert [e.energy_per_inference_joules for e in again.estimates] == energies
    assert again.curve is None
    with pytest.raises(InvalidSettingError, match="report: got a stored ledger, beside labels"):
        trispike.report(network, stored, y, output=folder / "never.html")
    assert not (folder / "never.html").exists()


def test_the_example_of_the_documentation_runs(module, tmp_path, monkeypatch, capsys):
    """With a narrow network in the place of the demo's."""
    page = Path(__file__).parents[1] / "docs" / "api.md"
    (example,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    x = load_digits_split().train.x[:64]
    network = trispike.quantize(trispike.convert(module, x).network, x).network
    (tmp_path / "demo").mkdir()
    trispike.save(network, tmp_path / "demo" / "digits.int8.safetensors")
    monkeypatch.chdir(tmp_path)
    exec(compile(example, page, "exec"), {})  # noqa: S102 - of our own documentation
    assert len(capsys.readouterr().out.splitlines()) == 6
    written = {"demo", "digits.ledger.safetensors", "sweep.jsonl", "report.html"}
    assert {path.name for path in tmp_path.iterdir()} >= written


# ------------------------------------------------------------------------------------- the package


def test_the_names_of_the_package_are_those_of_the_jobs():
    jobs = {
        "load_checkpoint", "convert", "quantize", "simulate", "estimate", "verify", "report",
        "anytime", "early_exit", "exit_energy", "explore", "save_ledger", "load_ledger",
    }  # fmt: skip
    assert jobs <= set(trispike.__all__)
    assert trispike.load_checkpoint is load_checkpoint
    with pytest.raises(AttributeError, match="module 'trispike' has no attribute 'train'"):
        trispike.train  # noqa: B018


def test_saving_and_loading_go_by_any_path(tmp_path):
    network = vectors()
    for path in (tmp_path / "a.safetensors", str(tmp_path / "b.safetensors")):
        trispike.save(network, path)
        assert storage.equal(trispike.load(path), network)
