"""``trispike convert``: readouts, surplus keys, and what the files of IMP networks do not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import trispike
from trispike.nn import build_model, randomize, save_checkpoint
from trispike.nn.models import IMPPlan, VGGPlan

ARCH = ("--arch", "imp-vgg6", "--steps", 4)
PLAN = IMPPlan(layers=VGGPlan(layout=(3, "M", 4, 4, "M", 5, 5), global_pool=True))


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """An IMP network with a head that only its training needed."""
    torch.manual_seed(0)
    model = build_model("imp-vgg6", steps=4, plan=PLAN, input_shape=(1, 8, 8))
    randomize(model)
    path = tmp_path / "net.pth"
    save_checkpoint(model, path)
    weights = torch.load(path, weights_only=True)
    torch.save(weights | {"aux_head.weight": torch.zeros(2)}, path)
    return path


def converted(run: Any, checkpoint: Path, *options: object) -> trispike.FloatNetwork:
    output = checkpoint.with_name("out.safetensors")
    outcome = run("convert", checkpoint, *ARCH, "--ignore", "aux_head.*", *options, "-o", output)
    assert outcome.code == 0, outcome.err
    network = trispike.load(output)
    assert isinstance(network, trispike.FloatNetwork)
    return network


@pytest.mark.parametrize(
    ("readout", "weights"),
    [("mean", [0.25] * 4), ("last", [0, 0, 0, 1]), ("1,3", [0, 0.5, 0, 0.5])],
)
def test_the_readout(run, checkpoint, readout, weights):
    network = converted(run, checkpoint, "--readout", readout)
    assert network.readout.weights.tolist() == weights
    recorded = network.provenance["checkpoint"]
    assert recorded["readout"] == ("" if readout == "mean" else readout)
    assert recorded["ignored"] == "aux_head.weight"


def test_what_no_file_says(run, checkpoint):
    network = converted(run, checkpoint, "--reset", "zero", "--sigmoid-init", "--tau", 0.75)
    published = converted(run, checkpoint)
    for name, population in network.populations.items():
        neuron, other = population.neuron, published.populations[name].neuron
        assert (neuron.reset, other.reset) == ("zero", "subtract")
        assert (float(neuron.b_pos), float(other.b_pos)) == (0.75, 0.5)
        assert float(neuron.th_pos) == 1.0
        assert ((neuron.v_init > 0) & (neuron.v_init < 1)).all()
        assert (other.v_init < 0).any()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--readout", "4"), "readout: got '4'; expected mean, last, or different time steps out"),
        (("--readout", "first"), "readout: got 'first'"),
        (("--ignore", "head2.*"), "no key that matches 'head2.*'"),
        (("--v-threshold", "-1"), "--v-threshold"),
    ],
)
def test_bad_options_leave_nothing_behind(run, checkpoint, options, text):
    output = checkpoint.with_name("out.safetensors")
    outcome = run("convert", checkpoint, *ARCH, "--ignore", "aux_head.*", *options, "-o", output)
    assert outcome.code != 0
    assert text in " ".join(outcome.err.split())
    assert not output.exists()


def test_surplus_keys_without_the_option(run, checkpoint):
    outcome = run("convert", checkpoint, *ARCH, "-o", checkpoint.with_name("out.safetensors"))
    assert outcome.code != 0
    text = " ".join(outcome.err.split())
    assert "1 surplus keys: aux_head.weight" in text.replace("model.", "")
    assert "--ignore 'aux_head.*'" in text
