"""trispike convert of networks with several kinds of neurons, and of neurons that fire once."""

import numpy as np
import pytest

from examples.methods import hybrid, ttfs
from trispike.network import load


def test_kinds_are_named_layer_by_layer(run, files, tmp_path):
    target = tmp_path / "net.safetensors"
    outcome = run(
        "convert", hybrid.METHOD.checkpoint, "--arch", "ctsn-resnet8", "--steps", 4, "--neurons",
        "lif*3, ctsn,ctsn*3", "--data", files.data, "-o", target, "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome
    facts = outcome.json
    assert facts["checkpoint"]["neurons"] == "lif,lif,lif,ctsn,ctsn,ctsn,ctsn"
    neurons = [p.neuron for p in load(target).populations.values()]
    assert [bool(np.isinf(n.th_neg).all()) for n in neurons] == [True] * 3 + [False] * 4


def test_neurons_that_fire_once(run, files, tmp_path):
    target = tmp_path / "net.safetensors"
    outcome = run(
        "convert", ttfs.METHOD.checkpoint, "--arch", "ttfs-vgg6", "--steps", 6, "--data",
        files.data, "-o", target,
    )  # fmt: skip
    assert outcome.code == 0, outcome
    assert all(p.neuron.fire_once for p in load(target).populations.values())


@pytest.mark.parametrize("text", ["lif*x,ctsn", "lif*0", "lif*-1", "lif*"])
def test_no_list_of_kinds(refused, files, text):
    message = refused(
        "convert", files.checkpoint, "--arch", "ctsn-resnet8", "--steps", 3, "--neurons", text,
        kind="InvalidSettingError", code=2, output=True,
    )  # fmt: skip
    assert message.startswith(f"--neurons: got {text!r}; expected kinds of neurons separated by")


@pytest.mark.parametrize(
    ("text", "got"), [("lif,ctsn", "got 2 kinds; expected 7"), ("alif*7", "got unknown kinds alif")]
)
def test_wrong_kinds(refused, files, text, got):
    message = refused(
        "convert", files.checkpoint, "--arch", "ctsn-resnet8", "--steps", 3, "--neurons", text,
        kind="InvalidNetworkError", output=True,
    )  # fmt: skip
    assert got in message


@pytest.mark.parametrize("threshold", ["-0.5", "0"])
def test_a_threshold_is_positive(refused, threshold):
    message = refused(
        "convert", ttfs.METHOD.checkpoint, "--arch", "ttfs-vgg6", "--steps", 6,
        "--v-threshold", threshold, kind="InvalidSettingError", code=2, output=True,
    )  # fmt: skip
    assert message.startswith("--v-threshold: got")
