"""Event recordings from checkpoint to joules, on the command line.

The recordings are simulated, see examples/event_recordings.py.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from examples import event_recordings, train_events
from examples.event_recordings import Camera
from trispike.cli import data as cli_data
from trispike.network import IntegerNetwork, load
from trispike.nn import ARCHITECTURES, build_model, randomize, save_checkpoint
from trispike.nn.models import VGGPlan
from trispike.runtime.data.events import Binning, Sensor, count_frames

STEPS = 10
SENSOR = ("--sensor", "34x34")

needs_tonic = pytest.mark.skipif(
    not importlib.util.find_spec("tonic"), reason="tonic is not installed"
)


@dataclass(frozen=True)
class Recordings:
    """Ten digits, one of each class or so, in two formats."""

    nmnist: Path
    """As N-MNIST."""
    arrays: Path
    """As .npz, which need no tonic."""


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
    """Frames are kept there while a command runs."""
    patch = pytest.MonkeyPatch()
    patch.setenv("TRISPIKE_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Recordings:
    folder = tmp_path_factory.mktemp("events")
    list(event_recordings.write(folder / "nmnist", "digits", {"test": 10}, Camera()))
    images, labels = event_recordings.pictures("digits", "test", 10)
    for number, events in enumerate(event_recordings.record(images, Camera(), 0), 1):
        path = folder / "arrays" / str(labels[number - 1]) / f"{number:05d}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **{name: getattr(events, name) for name in "txyp"})
    return Recordings(folder / "nmnist" / "Test", folder / "arrays")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A narrow, untrained CTSN of the dynamic form."""
    plan = ARCHITECTURES["ctsn-vgg6"].plan
    assert isinstance(plan, VGGPlan)
    torch.manual_seed(0)
    model = build_model(
        "ctsn-vgg6",
        steps=STEPS,
        form="dynamic",
        input_shape=(2, 34, 34),
        input_kind="frames",
        plan=dataclasses.replace(plan, layout=(4, "M", 6, 6, "M", 8, 8)),
    )
    randomize(model, seed=1)
    path = tmp_path_factory.mktemp("checkpoint") / "net.pth"
    save_checkpoint(model, path)
    return path


@pytest.fixture(scope="module")
def integer(checkpoint, recordings, run, tmp_path_factory) -> Path:
    """What becomes of it."""
    return from_checkpoint(run, checkpoint, recordings.arrays, tmp_path_factory.mktemp("n"))


def from_checkpoint(run: Any, checkpoint: Path, data: Path, folder: Path) -> Path:
    """Convert and quantize, each on recordings."""
    steps = ("--arch", "ctsn-vgg6", "--steps", STEPS, "--form", "dynamic")
    options = (*SENSOR, "--samples", 4, "--json")
    net, integer = folder / "net.safetensors", folder / "net.int8.safetensors"
    outcome = run("convert", checkpoint, *steps, "--data", data, "-o", net, *options)
    assert outcome.code == 0, outcome
    assert outcome.json["unexplained_mismatches"] == 0
    assert outcome.json["checkpoint"]["input_kind"] == "frames"
    assert outcome.json["proof"]["data"] == f"{data.name}, first 4 (10 frames by time)"
    outcome = run("quantize", net, "--calibration", data, "-o", integer, *options)
    assert (outcome.code, outcome.err) == (0, ""), outcome
    assert outcome.json["input_scale"] == 1  # counts are payloads: nothing is lost on the way in
    return integer


def proved(run: Any, integer: Path, data: Path, samples: int, engines: str) -> dict[str, Any]:
    """Verify, then estimate: what that says."""
    options = ("--data", data, *SENSOR, "--samples", samples, "--json")
    outcome = run("verify", integer, "--engines", engines, *options)
    assert (outcome.code, outcome.err) == (0, ""), outcome
    assert outcome.json["equal"]
    assert list(outcome.json["engines"]) == engines.split(",")
    outcome = run("estimate", integer, "--hardware", "loihi1", *options)
    assert (outcome.code, outcome.err) == (0, ""), outcome
    return outcome.json


def test_from_checkpoint_to_joules(integer, recordings, run):
    pytest.importorskip("lava", reason="Lava is not installed")
    facts = proved(run, integer, recordings.arrays, 2, "reference,fast,onnx,lava")
    assert facts["data"] == "arrays, first 2 (10 frames by time)"


@needs_tonic
def test_files_of_nmnist_and_their_events_give_the_same(integer, recordings, run):
    """Through tonic from the binary files, and from arrays that never were in one."""
    found = []
    for source in (recordings.nmnist, recordings.arrays):
        options = ("--data", source, *SENSOR, "--bin", "count", "--samples", 3, "--json")
        outcome = run("verify", integer, "--engines", "reference,fast", *options)
        assert (outcome.code, outcome.err) == (0, ""), outcome
        assert outcome.json["data"] == f"{source.name}, first 3 (10 frames by count)"
        found.append(outcome.json["data_sha256"])
    assert found[0] == found[1]


def test_frames_saved_as_arrays_give_the_same(integer, recordings, run, tmp_path):
    """Count frames, (N, T, 2, H, W), in files of every kind."""
    from safetensors.numpy import save_file

    images, labels = event_recordings.pictures("digits", "test", 2)
    binning, sensor = Binning(frames=STEPS), Sensor(34, 34)
    events = event_recordings.record(images, Camera(), 0)
    x = np.stack([count_frames(each, binning, sensor) for each in events])
    np.savez(tmp_path / "x.npz", x=x, y=labels)
    save_file({"x": x, "y": labels}, tmp_path / "x.safetensors")
    found = set()
    for source in (tmp_path / "x.npz", tmp_path / "x.safetensors"):
        outcome = run("verify", integer, "--engines", "reference,fast", "--data", source, "--json")
        assert outcome.code == 0, outcome
        found.add(outcome.json["data_sha256"])
    assert len(found) == 1


def test_counts_that_are_too_large_are_clipped_and_told(integer, tmp_path, monkeypatch):
    """299 events of a pixel in each frame, 309 in the last, where a spike carries 127 at most."""
    network = load(integer)
    assert isinstance(network, IntegerNetwork)
    spikes = dataclasses.replace(network.input, encoding="spikes")
    for number in range(2):
        count = 300 * STEPS
        zeros = np.zeros(count, int)
        path = tmp_path / "e" / str(number) / "a.npz"
        path.parent.mkdir(parents=True)
        np.savez(path, t=np.arange(count), x=zeros, y=zeros, p=zeros)
    options = cli_data.EventOptions(sensor=Sensor(34, 34))
    monkeypatch.setattr(cli_data, "_CHOSEN", SimpleNamespace(get=lambda: options))
    for entry, said in (
        (spikes, "20 counts (0.04%) were clipped at 127, the largest payload of a spike."),
        (network.input, "0.04% of the input values were clipped: they are beyond the range"),
    ):
        warned: list[str] = []
        monkeypatch.setattr(cli_data, "warn", warned.append)
        changed = dataclasses.replace(network, input=entry)
        given = cli_data.load_for(changed, str(tmp_path / "e"), None)
        (text,) = warned
        assert text.startswith(said), text
        assert given.x.max() == (127 if entry is spikes else 309)
        assert changed.input.encode(given.x, STEPS).max() == 127


def test_options_without_events_are_told(files, run):
    outcome = run("simulate", files.integer_network, "--data", files.data, "--bin", "count")
    assert outcome.code == 0
    assert outcome.err.startswith("warning: --frames, --bin and --sensor do nothing for '")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--frames", 0), "--frames"),
        (("--bin", "number"), "'number' is not one of"),
        (("--sensor", "34"), "'34' is no size of a sensor, like 34x34 (height x width)."),
        (("--sensor", "0x4"), "'0x4' is no size of a sensor"),
    ],
)
def test_wrong_options(options, message, integer, recordings, run):
    outcome = run("simulate", integer, "--data", recordings.arrays, *options, "--json")
    assert outcome.code == 2
    assert message in json.loads(outcome.out)["error"]["message"]


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ((), "InvalidDataError", "no size of the sensor"),
        (("--sensor", "20x34"), "FileFormatError", "expected pixels of a sensor of 20x34 (height"),
        (
            ("--sensor", "128x128"),
            "InvalidDataError",
            "got an array of shape (1, 10, 2, 128, 128) and dtype uint16; expected numbers of shap",
        ),
        ((*SENSOR, "--frames", "5"), "InvalidDataError", "shape (1, 5, 2, 34, 34)"),
    ],
)
def test_recordings_of_another_shape(options, kind, message, integer, recordings, refused):
    arguments = ("simulate", integer, "--data", recordings.arrays, *options)
    assert message in refused(*arguments, kind=kind)


def test_recordings_for_a_network_of_images(files, recordings, refused):
    arguments = ("simulate", files.integer_network, "--data", recordings.arrays, *SENSOR)
    message = refused(*arguments, kind="InvalidDataError")
    assert "got an array of shape (1, 3, 2, 34, 34)" in message


def test_without_tonic(integer, recordings, refused, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tonic" else find(name)
    )
    arguments = ("simulate", integer, "--data", recordings.nmnist)
    message = refused(*arguments, kind="MissingDependencyError")
    assert message.endswith("pip install 'trispike[events]'")


@needs_tonic
@pytest.mark.slow
def test_a_trained_network(run, tmp_path, monkeypatch, capsys):
    """On simulated recordings of scikit-learn's digits, in N-MNIST's format all the way."""
    pytest.importorskip("lava", reason="Lava is not installed")
    folder, output = tmp_path / "simulated", tmp_path / "net.pth"
    monkeypatch.setattr(
        sys, "argv", ["x", str(folder), "--source", "digits", "--train", "400", "--test", "100"]
    )
    event_recordings.main()
    assert "wrote 500 simulated recordings" in capsys.readouterr().out
    monkeypatch.setattr(train_events, "LAYOUT", (8, "M", 16, 16, "M", 32, 32))
    monkeypatch.setattr(sys, "argv", ["x", str(folder), "--epochs", "8", "--output", str(output)])
    train_events.main()
    integer = from_checkpoint(run, output, folder / "Test", tmp_path)
    facts = proved(run, integer, folder / "Test", 4, "reference,fast,onnx,lava")
    assert facts["data"] == "Test, first 4 (10 frames by time)"
    outcome = run("simulate", integer, "--data", folder / "Test", "--json")
    assert outcome.json["accuracy"] > 0.6
