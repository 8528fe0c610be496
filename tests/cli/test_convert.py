"""``trispike convert``: published checkpoints, and every bad one refused without a trace."""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import trispike
from tests.cli.conftest import STEPS
from trispike.cli import convert as module
from trispike.errors import FoldingError
from trispike.network import storage
from trispike.nn import build_model, load_checkpoint, randomize, save_checkpoint

ARCH = ("--arch", "ctsn-resnet8", "--steps", STEPS)


def test_a_checkpoint_becomes_the_network_that_the_api_makes(run, files, tmp_path):
    output = tmp_path / "net.safetensors"
    outcome = run("convert", files.checkpoint, *ARCH, "--data", files.data, "-o", output)
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    assert "folded into 7 populations" in outcome.out
    assert "proof on 12 samples (data.npz), float64: " in outcome.out
    assert " 0 unexplained" in outcome.out
    assert outcome.out.endswith(f"wrote {output}\n")
    network = trispike.load(output)
    assert storage.equal(network, trispike.load(files.float_network))
    assert network.provenance["checkpoint"]["file"] == "checkpoint.pth"
    assert network.provenance["checkpoint"]["architecture"] == "ctsn-resnet8"


def test_the_json_object(run, files, tmp_path):
    output = tmp_path / "net.safetensors"
    outcome = run("convert", files.checkpoint, *ARCH, "--data", files.data, "-o", output, "--json")
    facts = outcome.json
    assert (outcome.code, outcome.err) == (0, "")
    network = trispike.load(output)
    assert facts["output"] == str(output)
    assert facts["network_sha256"] == storage.digest(network)
    assert facts["unexplained_mismatches"] == facts["proof"]["unexplained_mismatches"] == 0
    assert facts["proof"]["holds"] is True
    assert facts["proof"]["samples"] == 12
    assert facts["proof"]["spikes_fired"] > 0
    assert facts["checkpoint"]["form"] == "static"
    assert facts["populations"] == len(network.populations)
    assert facts["neurons"] == sum(p.size for p in network.populations.values())


def test_without_data_the_proof_says_that_it_ran_on_random_inputs(run, files, tmp_path):
    output = tmp_path / "net.safetensors"
    outcome = run("convert", files.checkpoint, *ARCH, "-o", output)
    assert outcome.code == 0
    assert "proof on 4 samples (random normal inputs)" in outcome.out
    assert "give --data for real ones" in outcome.out
    assert storage.equal(trispike.load(output), trispike.load(files.float_network))


def test_settings_reach_the_network(run, files, tmp_path):
    """The same settings through the API give the same network, and other ones another."""
    output = tmp_path / "net.safetensors"
    settings: dict[str, Any] = {"form": "dynamic", "v_threshold": 0.75, "tau": 0.5}
    outcome = run(
        "convert", files.checkpoint, "--arch", "ctsn-resnet8", "--steps", 2, "--form", "dynamic",
        "--v-threshold", 0.75, "--tau", 0.5, "--mean", "0.5", "--std", "0.25", "--samples", 3,
        "--data", "digits", "-o", output, "--json",
    )  # fmt: skip
    assert outcome.json["proof"]["data"] == "digits:test, first 3"
    assert outcome.json["steps"] == 2
    model = load_checkpoint(files.checkpoint, "ctsn-resnet8", steps=2, **settings)
    with np.load(files.data) as data:
        expected = trispike.convert(model, data["x"], mean=0.5, std=0.25).network
    assert storage.equal(trispike.load(output), expected)
    assert not storage.equal(expected, trispike.load(files.float_network))
    assert outcome.json["checkpoint"] == dataclasses.asdict(model.provenance)


def test_frames_and_channels(run, tmp_path):
    """Two channels mean events, frame by frame; the shape is read from the data."""
    model = build_model("ctsn-resnet8", steps=2, input_shape=(2, 8, 8), input_kind="frames")
    randomize(model)
    save_checkpoint(model, tmp_path / "events.pth")
    frames = np.random.default_rng(0).integers(0, 4, (2, 2, 2, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "frames.npz", x=frames)
    outcome = run(
        "convert", tmp_path / "events.pth", "--arch", "ctsn-resnet8", "--steps", 2, "--data",
        tmp_path / "frames.npz", "--mean", "1,2", "--std", "2,1", "-o", tmp_path / "net.st",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    network = trispike.load(tmp_path / "net.st")
    assert (network.input.shape, network.input.encoding) == ((2, 8, 8), "frames")
    assert network.input.mean.reshape(-1).tolist() == [1, 2]


def test_the_input_shape_may_be_stated(run, files, tmp_path):
    output = tmp_path / "net.safetensors"
    command = ("convert", files.checkpoint, *ARCH, "-o", output)
    assert run(*command, "--input-shape", "1,16,12").code == 0
    assert trispike.load(output).input.shape == (1, 16, 12)


# -------------------------------------------------------------------------------- bad checkpoints


class Evil:
    """Touches a file when it is unpickled by something that executes what it reads."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def weights(files: Any) -> dict[str, torch.Tensor]:
    return dict(torch.load(files.checkpoint, weights_only=True))


def test_a_pickle_that_wants_to_run_code(refused, files, tmp_path):
    proof = tmp_path / "proof-of-execution"
    path = saved(tmp_path / "evil.pth", {**weights(files), "model.evil": Evil(proof)})
    message = refused("convert", path, *ARCH, kind="UnsafeFileError", output=True)
    assert "a pickle that holds more than tensors, and would execute code" in message
    assert "torch.save(model.state_dict()" in message
    assert not proof.exists()
    # The trap is a real one.
    torch.load(path, weights_only=False)
    assert proof.exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_checkpoint(share, refused, files, tmp_path):
    content = files.checkpoint.read_bytes()
    path = tmp_path / "short.pth"
    path.write_bytes(content[: int(share * len(content))])
    message = refused("convert", path, *ARCH, kind="FileFormatError", output=True)
    assert f"file '{path}': got a damaged or foreign file" in message


def test_a_truncated_safetensors_checkpoint(refused, tmp_path):
    path = tmp_path / "short.safetensors"
    path.write_bytes(struct.pack("<Q", 1000) + b"{")
    message = refused("convert", path, *ARCH, kind="FileFormatError", output=True)
    assert "expected a complete safetensors file" in message


def test_missing_and_surplus_keys_are_all_listed(refused, files, tmp_path):
    state = weights(files)
    missing = ["model.bn1.bn.bias", "model.layer2.0.conv1.pool.weight", "model.fc.conv.bias"]
    missing = [key for key in missing if key in state] + [k for k in state if "beta" in k]
    for key in missing:
        del state[key]
    surplus = ["model.layer9.weight", "optimizer.step"]
    state.update({key: torch.zeros(1) for key in surplus})
    path = saved(tmp_path / "keys.pth", state)
    message = refused("convert", path, *ARCH, kind="CheckpointError", output=True)
    assert f"{len(missing)} missing keys: " in message
    assert "2 surplus keys: " in message
    for key in (*missing, *surplus):
        assert key in message


def test_the_wrong_architecture_for_the_keys(refused, files):
    message = refused(
        "convert", files.checkpoint, "--arch", "ctsn-resnet19", "--steps", 4,
        kind="CheckpointError", output=True,
    )  # fmt: skip
    assert "got keys of ctsn-resnet8" in message
    assert "expected keys of ctsn-resnet19" in message


def test_weights_that_are_not_numbers(refused, files, tmp_path):
    state = weights(files)
    names = ["model.fc.conv.weight", "model.conv1.pool.weight"]
    state[names[0]][0, 0] = float("nan")
    state[names[1]][0, 0] = float("inf")
    path = saved(tmp_path / "nan.pth", state)
    message = refused("convert", path, *ARCH, kind="CheckpointError", output=True)
    assert "2 with NaN or infinite values: " + ", ".join(sorted(names)) in message


@pytest.mark.parametrize("content", [b"", b"no checkpoint at all", b"PK\x03\x04"])
def test_a_foreign_file(content, refused, tmp_path):
    path = tmp_path / "foreign.pth"
    path.write_bytes(content)
    refused("convert", path, *ARCH, kind="FileFormatError", output=True)


def test_no_weights_in_the_file(refused, tmp_path):
    path = saved(tmp_path / "list.pth", [torch.zeros(1)])
    message = refused("convert", path, *ARCH, kind="FileFormatError", output=True)
    assert "got a list; expected tensors by name" in message


# ---------------------------------------------------------------------------- bad data and settings


@pytest.mark.parametrize(
    ("shape", "kind", "text"),
    [
        ((3, 64), "InvalidDataError", "x of shape (3, 64); expected (N, C, H, W)"),
        ((3, 8, 8), "InvalidDataError", "x of shape (3, 8, 8)"),
        ((3, 3, 8, 8), "InvalidNetworkError", "got an input of 3 channels, in shape (3, 8, 8)"),
        ((3, 4, 1, 8, 8), "InvalidDataError", "(3, 4, 1, 8, 8)"),
        ((0, 1, 8, 8), "InvalidDataError", "at least one sample"),
    ],
)
def test_data_of_the_wrong_shape(shape, kind, text, refused, files, tmp_path):
    np.savez(tmp_path / "data.npz", x=np.zeros(shape))
    command = ("convert", files.checkpoint, *ARCH, "--data", tmp_path / "data.npz")
    assert text in refused(*command, kind=kind, output=True)


def test_data_with_nan(refused, files, tmp_path):
    np.savez(tmp_path / "data.npz", x=np.full((2, 1, 8, 8), np.nan))
    message = refused(
        "convert", files.checkpoint, *ARCH, "--data", tmp_path / "data.npz",
        kind="InvalidDataError", output=True,
    )  # fmt: skip
    assert "data: got 128 values that are NaN or infinite" in message


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("--arch", "ctsn-resnet18", "--arch: got 'ctsn-resnet18'; expected one of ctsn-vgg11"),
        ("--input-shape", "3x32x32", "--input-shape: got '3x32x32'; expected three positive"),
        ("--input-shape", "3,32", "expected three positive numbers, C,H,W"),
        ("--input-shape", "0,8,8", "expected three positive numbers, C,H,W"),
        ("--mean", "a,b", "--mean: got 'a,b'; expected a number, or one per channel"),
        ("--std", "", "--std: got ''; expected a number"),
        ("--data", "digit", "data 'digit': got neither a known data set nor a file"),
        ("--mean", "nan", "--mean: got nan; expected a finite number"),
        ("--std", "0", "--std: got 0; expected a positive, finite number"),
        ("--std", "1,-1", "--std: got 1, -1; expected positive, finite numbers"),
        ("--v-threshold", "0", "--v-threshold: got 0; expected a positive, finite number"),
        ("--v-threshold", "inf", "--v-threshold: got inf; expected a positive, finite number"),
        ("--tau", "-0.25", "--tau: got -0.25; expected a non-negative, finite number"),
        ("--tau", "nan", "--tau: got nan; expected a non-negative, finite number"),
    ],
)
def test_wrong_use_has_a_code_of_its_own(option, value, text, refused, files):
    command = ("convert", files.checkpoint, *ARCH, option, value)
    assert text in refused(*command, kind="InvalidSettingError", code=2, output=True)


def test_an_output_that_cannot_be(run, files, tmp_path):
    for output, got in (
        (tmp_path, "a folder"),
        (tmp_path / "none" / "net.safetensors", "a folder that does not exist"),
        (files.checkpoint, "the file that is read"),
    ):
        before = files.checkpoint.read_bytes()
        outcome = run("convert", files.checkpoint, *ARCH, "-o", output)
        assert outcome.code == 2
        assert outcome.err.startswith(f"error: output '{output}': got {got}; expected another file")
        assert files.checkpoint.read_bytes() == before


def test_a_proof_that_fails_leaves_no_file(refused, files, monkeypatch):
    def fails(*args: Any, **kwargs: Any) -> None:
        raise FoldingError("folded network", got="1 mismatch", expected="none", fix="Report it.")

    monkeypatch.setattr(module, "convert_module", fails)
    message = refused("convert", files.checkpoint, *ARCH, kind="FoldingError", output=True)
    assert message == "folded network: got 1 mismatch; expected none. Report it."


def test_a_defect_of_ours_is_one_line_too(run, files, tmp_path, monkeypatch):
    def fails(*args: Any, **kwargs: Any) -> None:
        raise KeyError("what")

    monkeypatch.setattr(module, "convert_module", fails)
    output = tmp_path / "net.safetensors"
    command = ("convert", files.checkpoint, *ARCH, "-o", output)
    outcome = run(*command)
    expected = "error: internal error, KeyError: 'what' (--debug shows where)\n"
    assert (outcome.code, outcome.out, outcome.err) == (1, "", expected)
    assert "in fails" in run(*command, "--debug").err
    assert run(*command, "--json").json["error"]["type"] == "KeyError"
    assert not output.exists()


def test_an_interruption_is_no_error_of_ours(run, files, tmp_path, monkeypatch):
    def interrupted(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "convert_module", interrupted)
    outcome = run("convert", files.checkpoint, *ARCH, "-o", tmp_path / "net.safetensors")
    assert (outcome.code, outcome.out, outcome.err) == (130, "", "error: interrupted\n")


def test_a_file_that_is_not_there(run, tmp_path):
    outcome = run("convert", tmp_path / "none.pth", *ARCH, "-o", tmp_path / "net.st", "--json")
    assert outcome.code == 2
    assert "does not exist" in outcome.json["error"]["message"]
    assert "Traceback" not in outcome.err
