"""``trispike inspect``: what is in a file, and what is wrong with one."""

import json

import numpy as np
import pytest
import safetensors.numpy

import trispike
from tests.networks import CASES
from trispike.network import describe, storage


@pytest.mark.parametrize("which", ["float_network", "integer_network", "vectors"])
def test_everything_is_shown(which, run, files):
    path = getattr(files, which)
    network = trispike.load(path)
    outcome = run("inspect", path)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(f"{network.kind} network, {network.steps} time steps, input ")
    for name in (*network.populations, *network.labels):
        assert f"\n{name} " in outcome.out
    assert storage.digest(network) in outcome.out
    if which != "vectors":
        assert "checkpoint: file checkpoint.pth, sha256 " in outcome.out
        assert "architecture ctsn-resnet8, steps 3, form static" in outcome.out


def test_the_json_object(run, files):
    outcome = run("inspect", files.integer_network, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    expected = json.loads(json.dumps(describe(trispike.load(files.integer_network))))
    assert outcome.json == expected


def test_delays_exponents_and_pools_are_shown(run, tmp_path):
    lines = ""
    for case in ("feedforward_delay", "exponents", "overlapping_pool"):
        trispike.save(CASES[case](), tmp_path / "net.safetensors")
        lines += run("inspect", tmp_path / "net.safetensors").out
    assert "identity, delay 3 " in lines
    assert "identity << 4 " in lines
    assert "sum 3x2/2x1, conv 3x3" in lines


def test_names_are_shown_as_they_are(run, tmp_path):
    """Whatever looks like markup, an emoji, or too long."""
    names = {"first": "[red]x :smile:", "second": "long" * 60}
    header, arrays = storage.to_arrays(CASES["fire_once"]())
    text = json.dumps(header)
    for old, new in names.items():
        text = text.replace(old, new)
    renamed = {key.replace("first", names["first"]).replace("second", names["second"]): value
               for key, value in arrays.items()}  # fmt: skip
    trispike.save(storage.from_arrays(json.loads(text), renamed), tmp_path / "net.safetensors")
    out = run("inspect", tmp_path / "net.safetensors").out
    for name in names.values():
        assert out.count(name) == 3  # as a population, a source and a target
    assert "…" not in out


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_network(share, refused, files, tmp_path):
    content = files.integer_network.read_bytes()
    (tmp_path / "short.safetensors").write_bytes(content[: int(share * len(content))])
    message = refused("inspect", tmp_path / "short.safetensors", kind="FileFormatError")
    assert "expected a network written by trispike" in message


def test_a_file_of_someone_else(refused, tmp_path):
    safetensors.numpy.save_file({"x": np.zeros(3)}, tmp_path / "x.safetensors")
    message = refused("inspect", tmp_path / "x.safetensors", kind="FileFormatError")
    assert "got a safetensors file without a trispike header" in message
    assert "trispike convert CKPT --arch NAME" in message


def test_a_checkpoint_is_not_a_network(refused, files):
    refused("inspect", files.checkpoint, kind="FileFormatError")


def test_a_file_that_is_not_there(run, tmp_path):
    for path in (tmp_path / "none", tmp_path):
        outcome = run("inspect", path, "--json")
        assert outcome.code == 2
        assert "Invalid value for 'NETWORK'" in outcome.json["error"]["message"]
