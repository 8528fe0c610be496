"""``trispike convert --module``: modules of the user's own code."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import torch

import trispike

CODE = """
import torch
from torch import nn
from trispike.nn import LIF

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)
        self.lif = LIF(0.3, 0.5)
        self.fc = nn.Linear(48, 4)

    def forward(self, x):
        y = self.lif(self.conv(x).unsqueeze(0).repeat(5, 1, 1, 1, 1))
        return self.fc(y.flatten(2)).mean(0)

def number():
    return 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder with code and a checkpoint, as the current one."""
    monkeypatch.chdir(tmp_path)
    Path("my_nets.py").write_text(dedent(CODE), encoding="utf-8")
    Path("broken_nets.py").write_text("import not_installed_anywhere", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    torch.manual_seed(0)
    made = importlib.import_module("my_nets").Net()
    torch.save(made.state_dict(), "net.pth")
    np.savez("data.npz", x=np.random.default_rng(0).normal(size=(6, 1, 6, 6)), y=np.arange(6) % 4)
    yield tmp_path
    for name in ("my_nets", "broken_nets"):
        sys.modules.pop(name, None)


def test_a_module_of_the_users_own(run, own):
    out = own / "net.safetensors"
    arguments = ("net.pth", "--module", "my_nets:Net", "--steps", 5)
    outcome = run("convert", *arguments, "--data", "data.npz", "-o", out, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["proof"]["samples"] == 6
    assert outcome.json["proof"]["spike_mismatches"] == 0
    network = trispike.load(out)
    assert network.steps == 5
    facts = network.provenance["module"]
    assert (facts["file"], facts["factory"]) == ("net.pth", "my_nets:Net")
    assert str(own) not in sys.path[1:]  # the fixture's own entry is the first


def test_without_data_it_takes_their_shape(run, own):
    arguments = ("net.pth", "--module", "my_nets:Net", "--steps", 5, "-o", own / "n.st")
    outcome = run("convert", *arguments, "--input-shape", "1,6,6")
    assert outcome.code == 0, outcome.err
    assert "proof on 4 samples (random normal inputs)" in outcome.out
    outcome = run("convert", *arguments)
    assert outcome.code != 0
    assert "--data: got nothing, and no --input-shape" in outcome.err


REFUSED = {
    "no such module": (("--module", "nowhere_at_all:Net"), "no module named 'nowhere_at_all'"),
    "no such name": (("--module", "my_nets:Other"), "no attribute 'Other'"),
    "no name": (("--module", "my_nets"), "expected package.module:name of a function or class"),
    "no module": (("--module", "my_nets:number"), "factory 'my_nets:number': got a int"),
    "what it imports is missing": (
        ("--module", "broken_nets:Net"),
        "got no module named 'not_installed_anywhere'; expected what its module imports",
    ),
    "another network": (("--module", "torch.nn:Identity"), "the state dict of what torch.nn:Id"),
    "an architecture, too": (
        ("--module", "my_nets:Net", "--arch", "lif-vgg6"),
        "--arch: got lif-vgg6; expected no --arch for --module, which states it itself",
    ),
    "a leak": (("--module", "my_nets:Net", "--tau", 0.5), "--tau: got 0.5; expected no --tau"),
    "neither": ((), "--arch: got nothing, and no --module; expected the architecture"),
    "takes of an architecture": (
        ("--arch", "lif-vgg6", "--takes", "step"),
        "--takes: got step; expected no --takes for --arch: only --module has it",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(run, own, name):
    options, text = REFUSED[name]
    outcome = run(
        "convert", "net.pth", *options, "--steps", 5, "--data", "data.npz", "-o", own / "n.st"
    )
    assert outcome.code != 0
    assert text.lower() in " ".join(outcome.err.split()).lower()
    assert not (own / "n.st").exists()


def test_the_number_of_steps_is_needed(run, own):
    outcome = run("convert", "net.pth", "--module", "my_nets:Net", "-o", own / "n.st")
    assert outcome.code != 0
    assert "--steps: got nothing" in outcome.err
