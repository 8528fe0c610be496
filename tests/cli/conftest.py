"""A small trained-like checkpoint, its networks, some data, and a way to run commands."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import trispike
from tests.networks import sample_inputs, saturation, vectors
from trispike.cli import console
from trispike.cli.app import app
from trispike.nn import ARCHITECTURES, build_model, randomize, save_checkpoint
from trispike.nn.models import ResNetPlan
from trispike.runtime.data import load_digits_split

STEPS = 3


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """The networks here are small, and tests may share the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _wide_output(monkeypatch):
    """As in a pipe, wherever the tests run."""
    monkeypatch.setattr(console.out, "width", console.PIPE_WIDTH)


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """What is on stdout, which is one JSON object in one line and nothing else."""
        assert self.out.endswith("\n")
        assert self.out.count("\n") == 1
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


Run = Callable[..., Outcome]


@pytest.fixture(scope="session")
def run() -> Run:
    """Runs a command in this process."""

    def invoke(*arguments: object) -> Outcome:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return invoke


@pytest.fixture
def refused(run, tmp_path) -> Callable[..., str]:
    """Runs a command that has to fail, in every way that matters; gives the message.

    The command is given without ``-o``; where it takes one, name it with ``output=True``.
    """

    def check(*arguments: object, kind: str, code: int = 1, output: bool = False) -> str:
        target = tmp_path / "output.safetensors"
        command = (*arguments, *(("-o", target) if output else ()))
        before = set(tmp_path.rglob("*"))
        plain = run(*command)
        assert plain.code == code, plain
        assert plain.out == ""
        assert plain.err.startswith("error: ")
        assert plain.err.count("error: ") == 1
        assert "Traceback" not in plain.err
        assert "internal error" not in plain.err
        assert set(tmp_path.rglob("*")) == before
        target.write_bytes(b"precious")
        as_json = run(*command, "--json")
        message = as_json.json["error"]["message"]
        assert as_json.json == {"error": {"type": kind, "message": message}}
        assert as_json.code == code
        assert as_json.err == plain.err == f"error: {message}\n"
        debug = run(*command, "--debug")
        assert debug.code == code
        assert debug.out == ""
        assert debug.err.startswith("Traceback (most recent call last):")
        assert debug.err.endswith(plain.err)
        assert target.read_bytes() == b"precious"
        target.unlink()
        assert set(tmp_path.rglob("*")) == before
        return message

    return check


@dataclass(frozen=True)
class Files:
    """Paths of what the commands read."""

    checkpoint: Path
    """Architecture ctsn-resnet8, narrow, T = ``STEPS``."""
    float_network: Path
    """What the checkpoint converts to."""
    integer_network: Path
    """What that quantizes to."""
    data: Path
    """Twelve digits with labels."""
    vectors: Path
    """A tiny integer network that needs no torch to make."""
    vectors_data: Path
    """Five samples for it, with labels."""
    saturation: Path
    """One that saturates."""
    saturation_data: Path


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> Files:
    """Made once."""
    folder = tmp_path_factory.mktemp("cli")
    names = {field.name: folder / field.name for field in dataclasses.fields(Files)}
    paths = Files(
        **{
            name: path.with_suffix(
                ".pth" if name == "checkpoint" else ".npz" if "data" in name else ".safetensors"
            )
            for name, path in names.items()
        }
    )
    plan = ARCHITECTURES["ctsn-resnet8"].plan
    assert isinstance(plan, ResNetPlan)
    narrow = dataclasses.replace(plan, widths=(4, 6, 8))
    torch.manual_seed(0)
    model = build_model("ctsn-resnet8", steps=STEPS, plan=narrow)
    randomize(model, seed=1)
    save_checkpoint(model, paths.checkpoint)
    loaded = trispike.load_checkpoint(paths.checkpoint, "ctsn-resnet8", steps=STEPS)
    x, y = (part[:12] for part in load_digits_split().test)
    np.savez(paths.data, x=x, y=y)
    conversion = trispike.convert(loaded, x)
    trispike.save(conversion.network, paths.float_network)
    trispike.save(trispike.quantize(conversion.network, x, y).network, paths.integer_network)
    for network, path, data in (
        (vectors(), paths.vectors, paths.vectors_data),
        (saturation(), paths.saturation, paths.saturation_data),
    ):
        trispike.save(network, path)
        np.savez(data, x=sample_inputs(network, 5), y=np.arange(5) % network.readout.classes)
    return paths
