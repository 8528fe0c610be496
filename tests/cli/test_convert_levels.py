"""``trispike convert`` for QCFS networks: levels from the user, steps from the levels."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
import torch

import trispike
from trispike.network import storage
from trispike.nn import (
    QCFS_ARCHITECTURES,
    build_qcfs,
    load_qcfs_checkpoint,
    randomize,
    save_checkpoint,
)
from trispike.nn.models.qcfs import activation_names

LEVELS = "4,2,3,8,1,5,4"
ARCH = ("--arch", "qcfs-resnet8")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A checkpoint, one with older keys, and data."""
    folder = tmp_path_factory.mktemp("levels")
    model = build_qcfs("qcfs-resnet8", levels=1, input_shape=(1, 8, 8))
    randomize(model)
    save_checkpoint(model, folder / "net.pth")
    older = {
        k.replace("act.thresh", "relu.up").replace("thresh", "up"): v
        for k, v in model.state_dict().items()
    }
    torch.save(older, folder / "older.pth")
    np.savez(folder / "data.npz", x=np.random.default_rng(0).normal(size=(5, 1, 8, 8)))
    return folder


@pytest.mark.parametrize("file", ["net.pth", "older.pth"])
def test_a_checkpoint_becomes_the_network_that_the_api_makes(run, files, file, tmp_path):
    output = tmp_path / "net.safetensors"
    given = ("--levels", LEVELS, "--data", files / "data.npz", "-o", output)
    outcome = run("convert", files / file, *ARCH, *given)
    assert outcome.code == 0, outcome.err
    assert "folded into 7 populations" in outcome.out
    assert "proof on 5 samples (data.npz), float64: " in outcome.out
    network = trispike.load(output)
    levels = [int(n) for n in LEVELS.split(",")]
    shape = (1, 8, 8)
    module = load_qcfs_checkpoint(
        files / "net.pth", "qcfs-resnet8", levels=levels, input_shape=shape
    )
    expected = trispike.convert(module, np.load(files / "data.npz")["x"]).network
    assert storage.equal(network, expected)
    assert network.steps == sum(levels)
    assert network.provenance["checkpoint"]["levels"] == levels


def test_without_data_random_ones_of_the_published_shape(run, files, tmp_path):
    output = tmp_path / "net.safetensors"
    outcome = run("convert", files / "net.pth", *ARCH, "--levels", 2, "-o", output, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["steps"] == 14
    assert outcome.json["checkpoint"]["levels"] == [2] * 7
    assert outcome.json["proof"]["holds"] is True
    assert trispike.load(output).input.shape == (1, 28, 28)


NAMES = ", ".join(activation_names(QCFS_ARCHITECTURES["qcfs-resnet8"].plan))

BAD: dict[str, tuple[tuple[Any, ...], str]] = {
    "no levels": ((), "--levels: got nothing; expected the levels of every activation"),
    "no numbers": (("--levels", "4,x"), "--levels: got '4,x'; expected the levels of every"),
    "empty": (("--levels", ""), "--levels: got ''; expected the levels"),
    "negative": (("--levels", "-1"), "--levels: got '-1'; expected the levels"),
    "zero": (("--levels", "4,0,4,4,4,4,4"), "levels of conv2_x.0.residual_function.2: got 0"),
    "too few": (
        ("--levels", "4,4,8"),
        f"levels of qcfs-resnet8: got 3 (4,4,8); expected 7, one for each of {NAMES}.",
    ),
    "steps": (("--levels", 4, "--steps", 8), "--steps: got 8; expected no --steps for qcfs-"),
    "form": (("--levels", 4, "--form", "static"), "--form: got static; expected no --form for"),
    "tau": (("--levels", 4, "--tau", 1), "--tau: got 1.0; expected no --tau"),
    "threshold": (("--levels", 4, "--v-threshold", 1), "--v-threshold: got 1.0; expected no"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_error(run, files, case, tmp_path):
    output = tmp_path / "net.safetensors"
    given, message = BAD[case]
    outcome = run("convert", files / "net.pth", *ARCH, *given, "-o", output)
    assert outcome.code == (1 if case == "zero" else 2)
    assert message in " ".join(outcome.err.split())
    assert not output.exists()


def test_an_unknown_architecture(run, files, tmp_path):
    output = tmp_path / "net.safetensors"
    outcome = run("convert", files / "net.pth", "--arch", "qcfs-x", "--levels", 4, "-o", output)
    assert outcome.code == 2
    assert "--arch: got 'qcfs-x'; expected one of qcfs-vgg11" in outcome.err


def test_spiking_networks_have_steps_and_no_levels(run, files, tmp_path):
    output = tmp_path / "net.safetensors"
    spiking = ("convert", files / "net.pth", "--arch", "ctsn-resnet8", "-o", output)
    outcome = run(*spiking)
    assert outcome.code == 2
    assert "--steps: got nothing; expected the number of time steps" in outcome.err
    outcome = run(*spiking, "--steps", 2, "--levels", "4")
    assert outcome.code == 2
    assert "--levels: got 4; expected no --levels for ctsn-resnet8" in outcome.err


def test_a_module_of_the_users_own(run, tmp_path, monkeypatch):
    """Levels are in its code, so that nothing has to be said; steps are refused."""
    code = """
        from torch import nn
        from trispike.nn import QCFS

        def make():
            return nn.Sequential(
                nn.Conv2d(1, 3, 3), QCFS(4), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 4)
            )
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("level_nets.py").write_text(dedent(code), encoding="utf-8")
    torch.save(importlib.import_module("level_nets").make().state_dict(), "own.pth")
    own = ("convert", "own.pth", "--module", "level_nets:make", "--input-shape", "1,6,6")
    outcome = run(*own, "-o", "net.safetensors")
    assert outcome.code == 0, outcome.err
    assert trispike.load("net.safetensors").steps == 4
    outcome = run(*own, "--steps", 4, "-o", "other.safetensors")
    assert outcome.code == 2
    assert "steps: got 4; expected no steps for a module of QCFS activations" in outcome.err
    sys.modules.pop("level_nets")
