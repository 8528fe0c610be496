"""Loading and saving published checkpoints: what is read from keys, every trap, every error."""

import dataclasses
import hashlib
import io
import os
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from trispike.errors import (
    CheckpointError,
    FileFormatError,
    InvalidNetworkError,
    UnsafeFileError,
)
from trispike.nn import (
    ARCHITECTURES,
    CTSN,
    TernarySpike,
    load_checkpoint,
    save_checkpoint,
)
from trispike.nn.models import ResNetPlan

VARIANTS = [
    (name, amplitude)
    for name, entry in ARCHITECTURES.items()
    for amplitude in ([None, "layer", "channel"] if entry.neuron == "ternary-spike" else [None])
]


@pytest.fixture
def saved(small, tmp_path):
    """Saves a narrow network's weights, after a change, and gives the path."""

    def save(name, change=lambda weights: weights, file="net.pth", **settings):
        weights = small(name, **settings).state_dict()
        path = tmp_path / file
        torch.save(change(dict(weights)), path)
        return path

    return save


@pytest.mark.parametrize("file", ["net.pth", "net.safetensors"])
@pytest.mark.parametrize(("name", "amplitude"), VARIANTS)
def test_what_was_saved_is_loaded(name, amplitude, file, small, batch, tmp_path):
    model = small(name, amplitude=amplitude)
    save_checkpoint(model, tmp_path / file)
    loaded = load_checkpoint(tmp_path / file, name, steps=2)
    assert not loaded.training
    assert loaded.input_kind == model.input_kind
    assert {key: value.shape for key, value in loaded.state_dict().items()} == {
        key: value.shape for key, value in model.state_dict().items()
    }
    x = batch(model)
    with torch.no_grad():
        assert torch.equal(loaded(x), model(x))


@pytest.mark.parametrize("name", ["ctsn-vgg11", "ctsn-resnet20m", "ctsn-vggsnn-psn"])
def test_classes_channels_and_widths_are_read_from_shapes(name, small, tmp_path):
    channels = ARCHITECTURES[name].input_shape[0] + 2
    model = small(name, classes=7, input_shape=(channels, 32, 32))
    save_checkpoint(model, tmp_path / "net.pth")
    loaded = load_checkpoint(tmp_path / "net.pth", name, steps=2)
    assert loaded.input_shape[0] == channels
    assert loaded.model.plan == model.model.plan
    assert loaded(torch.zeros(1, *(() if loaded.input_kind == "static" else (2,)),
                              channels, 32, 32)).shape == (1, 7)  # fmt: skip


@pytest.mark.parametrize("name", ["ctsn-vggsnn", "ctsn-vggsnn-psn"])
@pytest.mark.parametrize("side", [16, 32, 64])
def test_the_input_size_is_read_from_a_readout_that_depends_on_it(name, side, small, tmp_path):
    model = small(name, input_shape=(2, side, side))
    save_checkpoint(model, tmp_path / "net.pth")
    assert load_checkpoint(tmp_path / "net.pth", name, steps=2).input_shape == (2, side, side)


def test_a_stated_input_shape_is_used(small, tmp_path):
    save_checkpoint(small("ctsn-vggsnn", input_shape=(2, 32, 64)), tmp_path / "net.pth")
    load = load_checkpoint(tmp_path / "net.pth", "ctsn-vggsnn", steps=2, input_shape=(2, 32, 64))
    assert load(torch.zeros(1, 2, 2, 32, 64)).shape == (1, 10)
    with pytest.raises(CheckpointError, match=r"wrong shapes: model\.classifier\.conv\.weight"):
        load_checkpoint(tmp_path / "net.pth", "ctsn-vggsnn", steps=2)  # 8 positions: no square


def test_two_input_channels_are_events_unless_stated_otherwise(saved):
    path = saved("ctsn-resnet19", input_shape=(2, 32, 32))
    assert load_checkpoint(path, "ctsn-resnet19", steps=2).input_kind == "frames"
    static = load_checkpoint(path, "ctsn-resnet19", steps=2, input_kind="static")
    assert static.input_kind == "static"


def test_published_psn_files_have_no_wrapper_prefix(small, tmp_path):
    save_checkpoint(small("ctsn-vggsnn-psn"), tmp_path / "net.pth")
    keys = torch.load(tmp_path / "net.pth", weights_only=True)
    assert "features.0.fwd.module.0.weight" in keys
    assert "classifier.1.module.bias" in keys
    loaded = load_checkpoint(tmp_path / "net.pth", "ctsn-vggsnn-psn", steps=2)
    assert {(m.form, m.time_axis) for m in loaded.modules() if isinstance(m, CTSN)} == {
        ("dynamic", 1)
    }
    with pytest.raises(CheckpointError, match="got keys of ctsn-vggsnn-psn"):
        load_checkpoint(tmp_path / "net.pth", "ctsn-vggsnn", steps=2)
    with pytest.raises(InvalidNetworkError, match="form='static'"):
        load_checkpoint(tmp_path / "net.pth", "ctsn-vggsnn-psn", steps=2, form="static")


def test_settings_that_no_file_holds_reach_every_neuron_and_the_provenance(saved):
    path = saved("ctsn-resnet8")
    model = load_checkpoint(
        path, "ctsn-resnet8", steps=3, form="dynamic", v_threshold=0.75, tau=0.5
    )
    neurons = [m for m in model.modules() if isinstance(m, CTSN)]
    assert {(n.form, n.v_threshold, n.tau) for n in neurons} == {("dynamic", 0.75, 0.5)}
    assert model.provenance is not None
    assert dataclasses.asdict(model.provenance) == {
        "file": "net.pth",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "architecture": "ctsn-resnet8",
        "steps": 3,
        "form": "dynamic",
        "v_threshold": 0.75,
        "tau": 0.5,
        "input_kind": "static",
        "neurons": "",
        "reset": "zero",
        "sigmoid_init": False,
        "readout": "",
        "ignored": "",
    }


def test_defaults_are_the_published_ones(saved):
    sew = load_checkpoint(saved("ctsn-sewresnet34"), "ctsn-sewresnet34", steps=2)
    assert {m.tau for m in sew.modules() if isinstance(m, CTSN)} == {1.0}
    assert sew.provenance is not None
    assert (sew.provenance.tau, sew.provenance.form) == (1.0, "static")
    ternary = load_checkpoint(saved("ternary-spike-vgg11"), "ternary-spike-vgg11", steps=2)
    assert {m.tau for m in ternary.modules() if isinstance(m, TernarySpike)} == {0.25}
    assert ternary.provenance is not None
    assert ternary.provenance.form is None


@pytest.mark.parametrize(
    "wrap",
    [
        lambda w: {"state_dict": w, "epoch": 3},
        lambda w: {"model_state_dict": w, "optimizer": {"lr": 0.1}},
        lambda w: {"model": w, "best_acc": 0.9},
        lambda w: {"state_dict": {"model": w}},
        lambda w: {f"module.{key}": value for key, value in w.items()},
        lambda w: {"model": {f"module.module.{key}": value for key, value in w.items()}},
    ],
)
def test_wrappers_and_data_parallel_prefixes_are_taken_off(wrap, saved):
    load_checkpoint(saved("ctsn-resnet8", wrap), "ctsn-resnet8", steps=2)


def test_old_pytorch_files_are_read(saved, small, tmp_path):
    weights = small("ctsn-resnet8").state_dict()
    torch.save(weights, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    load_checkpoint(tmp_path / "old.pth", "ctsn-resnet8", steps=2)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_other_float_types_lose_nothing(dtype, expected, saved):
    def cast(weights):
        return {k: v.to(dtype) if v.is_floating_point() else v for k, v in weights.items()}

    path = saved("ctsn-resnet8", cast)
    model = load_checkpoint(path, "ctsn-resnet8", steps=2)
    saved_weights = torch.load(path, weights_only=True)
    for key, value in model.state_dict().items():
        if value.is_floating_point():
            assert value.dtype == expected
            assert torch.equal(value, saved_weights[key].to(expected))


@pytest.mark.parametrize("name", ["ternary-spike-resnet19", "ternary-spike-resnet20m"])
def test_the_unused_scale_of_ternary_spike_is_ignored_by_name(name, saved):
    def with_scale(weights: dict[str, Tensor], key: str = "model.scale") -> dict[str, Tensor]:
        return weights | {key: torch.ones(1, 1, 2048)}

    load_checkpoint(saved(name, with_scale), name, steps=2)
    with pytest.raises(CheckpointError, match=r"1 surplus keys: model\.scales"):
        load_checkpoint(saved(name, lambda w: with_scale(w, "model.scales")), name, steps=2)
    ctsn = name.replace("ternary-spike", "ctsn")
    with pytest.raises(CheckpointError, match=r"1 surplus keys: model\.scale"):
        load_checkpoint(saved(ctsn, with_scale), ctsn, steps=2)


def test_dropout_in_a_vgg_shifts_the_numbers(small, batch, tmp_path):
    plan = small("ctsn-vgg11").model.plan
    model = small("ctsn-vgg11", plan=dataclasses.replace(plan, dropout=True))
    assert "model.features.5.pool.weight" in model.state_dict()
    save_checkpoint(model, tmp_path / "net.pth")
    loaded = load_checkpoint(tmp_path / "net.pth", "ctsn-vgg11", steps=2)
    x = batch(model)
    with torch.no_grad():
        assert torch.equal(loaded(x), model(x))


@pytest.mark.parametrize(
    ("actual", "claimed", "named"),
    [
        ("ctsn-resnet19", "ctsn-resnet20", "ctsn-resnet19"),
        ("ctsn-resnet32", "ctsn-resnet19", "ctsn-resnet32"),
        ("ctsn-resnet20m", "ctsn-resnet34", "ctsn-resnet20m"),
        ("ctsn-resnet34", "ctsn-resnet19", "ctsn-resnet34 or ctsn-sewresnet34"),
        ("ctsn-vgg16", "ctsn-vgg11", "ctsn-vgg16"),
        ("ctsn-vggsnn", "ctsn-vgg11", "ctsn-vggsnn"),
        ("ctsn-vgg11", "ctsn-resnet19", "ctsn-vgg11"),
        ("ctsn-resnet19", "ternary-spike-resnet19", "ctsn-resnet19"),
        ("ternary-spike-vgg11", "ctsn-vgg11", "ternary-spike-vgg11 or lif-vgg11"),
    ],
)
def test_keys_contradict_a_wrong_architecture(actual, claimed, named, saved):
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(saved(actual), claimed, steps=2)
    assert caught.value.got.startswith(f"keys of {named} (")
    assert caught.value.expected == f"keys of {claimed}"
    assert f"Load it as {named}" in caught.value.fix


def test_the_name_of_the_file_does_not_matter(saved):
    path = saved("ternary-spike-resnet34", file="snn-res18-4-320.pth")
    model = load_checkpoint(path, "ternary-spike-resnet34", steps=2)
    assert isinstance(model.model.plan, ResNetPlan)
    assert model.model.plan.blocks == (3, 4, 6, 3)


def test_an_unknown_depth_is_spelled_out_with_every_difference(saved, small):
    plan = dataclasses.replace(small("ctsn-resnet34").model.plan, blocks=(2, 2, 2, 2))
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(saved("ctsn-resnet34", plan=plan), "ctsn-resnet34", steps=2)
    assert "a residual network with blocks 2-2-2-2 after a stem conv7x7" in caught.value.got
    assert "missing keys: model.layer1.2.bn1.bn.bias, " in caught.value.got
    assert "model.layer4.2.relu1.gamma" in caught.value.got


def test_all_missing_and_surplus_keys_are_listed(saved):
    gone = ["model.relu.alpha", "model.fc.conv.bias", "model.layer1.0.bn2.bn.running_var"]

    def change(weights):
        for key in gone:
            del weights[key]
        return weights | {"model.head.weight": torch.ones(2), "extra": torch.ones(1)}

    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(saved("ctsn-resnet8", change), "ctsn-resnet8", steps=2)
    assert caught.value.got == (
        "3 missing keys: model.fc.conv.bias, model.layer1.0.bn2.bn.running_var, "
        "model.relu.alpha; 2 surplus keys: extra, model.head.weight"
    )
    assert caught.value.expected.startswith("exactly the 77 keys of ctsn-resnet8")


@pytest.mark.parametrize("key", ["model.conv1.pool.weight", "model.fc.conv.weight"])
def test_a_key_that_sizes_are_read_from_may_be_the_missing_one(key, saved):
    def change(weights):
        del weights[key]
        return weights

    with pytest.raises(CheckpointError, match=f"1 missing keys: {key}"):
        load_checkpoint(saved("ctsn-resnet8", change), "ctsn-resnet8", steps=2)


def test_amplitudes_in_some_layers_only_are_missing_in_the_others(saved):
    def change(weights):
        del weights["model.relu.fire_ratio"]
        return weights

    path = saved("ternary-spike-resnet8", change, amplitude="layer")
    with pytest.raises(CheckpointError, match=r"1 missing keys: model\.relu\.fire_ratio"):
        load_checkpoint(path, "ternary-spike-resnet8", steps=2)


def test_wrong_shapes_are_listed(saved):
    def change(weights):
        weights["model.relu.alpha"] = torch.zeros(1)
        weights["model.layer1.0.bn1.bn.weight"] = torch.zeros(3)
        return weights

    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(saved("ctsn-resnet8", change), "ctsn-resnet8", steps=2)
    assert caught.value.got == (
        "2 wrong shapes: model.layer1.0.bn1.bn.weight (3,) instead of (1,), "
        "model.relu.alpha (1,) instead of ()"
    )


def test_integer_weights_are_refused(saved):
    def change(weights):
        weights["model.fc.conv.weight"] = weights["model.fc.conv.weight"].to(torch.int8)
        return weights

    with pytest.raises(CheckpointError, match=r"1 wrong types: model\.fc\.conv\.weight int8"):
        load_checkpoint(saved("ctsn-resnet8", change), "ctsn-resnet8", steps=2)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_named(value, saved):
    def change(weights):
        weights["model.layer2.0.conv1.pool.weight"][0, 0, 0, 0] = value
        weights["model.relu.alpha"].fill_(value)
        return weights

    with pytest.raises(
        CheckpointError,
        match=r"2 with NaN or infinite values: model\.layer2\.0\.conv1\.pool\.weight, model\.re",
    ):
        load_checkpoint(saved("ctsn-resnet8", change), "ctsn-resnet8", steps=2)


def test_negative_variances_are_named(saved):
    def change(weights):
        weights["model.bn1.conv.running_var"].fill_(-1)
        return weights

    with pytest.raises(CheckpointError, match=r"1 negative variances: model\.bn1\.conv\.run"):
        load_checkpoint(saved("ctsn-resnet8", change), "ctsn-resnet8", steps=2)


class _RunsCode:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)


def _unsafe_files(folder: Path) -> dict[str, bytes]:
    def written(thing: object, **options: Any) -> bytes:
        buffer = io.BytesIO()
        torch.save(thing, buffer, **options)
        return buffer.getvalue()

    marker = folder / "executed"
    script = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(_Net()), script)
    return {
        "code": written({"w": _RunsCode(marker)}),
        "code, old format": written(
            {"w": _RunsCode(marker)}, _use_new_zipfile_serialization=False
        ),
        "code, new protocol": written({"w": _RunsCode(marker)}, pickle_protocol=4),
        "code, protocol 0": f"cposix\nmkdir\n(V{marker}\ntR.".encode(),
        "code, protocol 4": b"\x80\x04\x8c\x05posix\x8c\x05mkdir\x93"
         b"\x8c" + bytes([len(str(marker))]) + str(marker).encode() + b"\x85R.",
        "whole module": written(_Net()),
        "TorchScript": script.getvalue(),
    }  # fmt: skip


@pytest.mark.parametrize(
    "what",
    [
        "code",
        "code, old format",
        "code, new protocol",
        "code, protocol 0",
        "code, protocol 4",
        "whole module",
        "TorchScript",
    ],
)
def test_files_that_need_code_are_refused_and_nothing_is_executed(what, tmp_path):
    path = tmp_path / "net.pth"
    path.write_bytes(_unsafe_files(tmp_path)[what])
    with pytest.raises(UnsafeFileError) as caught:
        load_checkpoint(path, "ctsn-resnet8", steps=2)
    assert "would execute code" in caught.value.got
    assert "torch.save(model.state_dict(), 'weights.pth')" in caught.value.fix
    assert not (tmp_path / "executed").exists()


def _damaged_files(weights) -> dict[str, bytes]:
    def written(**options: Any) -> bytes:
        buffer = io.BytesIO()
        torch.save(weights, buffer, **options)
        return buffer.getvalue()

    new, old = written(), written(_use_new_zipfile_serialization=False)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as other:
        other.writestr("notes.txt", "no weights")
    return {
        "half.pth": new[: len(new) // 2],
        "start.pth": new[:100],
        "no end.pth": new[:-10],
        "half, old format.pth": old[: len(old) // 2],
        "no end, old format.pth": old[:-8],
        "empty.pth": b"",
        "page.pth": b"<html>404 Not Found</html>",
        "text.pth": b"hello world",
        "archive.pth": archive.getvalue(),
        "half.safetensors": (tensors := safetensors.torch.save(weights))[: len(tensors) // 2],
        "no end.safetensors": tensors[:-4],
        "empty.safetensors": b"",
        "pickle.safetensors": new,
        "huge header.safetensors": struct.pack("<Q", 2**60) + b"{}",
    }


DAMAGED = list(_damaged_files({"w": torch.zeros(3)}))


@pytest.mark.parametrize("file", DAMAGED)
def test_damaged_and_foreign_files_are_refused(file, small, tmp_path):
    path = tmp_path / file
    path.write_bytes(_damaged_files(small("ctsn-resnet8").state_dict())[file])
    with pytest.raises(FileFormatError, match="damaged or foreign") as caught:
        load_checkpoint(path, "ctsn-resnet8", steps=2)
    assert not isinstance(caught.value, UnsafeFileError)
    assert str(path) in caught.value.subject


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([1, 2], "got a list; expected tensors by name"),
        (torch.zeros(3), "got a Tensor"),
        ({}, "got nothing; expected tensors by name"),
        ({"state_dict": {}}, "got nothing"),
        ({"a": 1.5, "b": torch.zeros(1)}, "entries that are not dense tensors: a"),
        ({3: torch.zeros(1)}, "entries that are not dense tensors: 3"),
        ({"a": torch.zeros(2).to_sparse()}, "not dense tensors: a"),
        ({"a": torch.zeros(1), "module.a": torch.zeros(1)}, "two tensors 'a'"),
    ],
)
def test_files_that_hold_something_else_are_refused(content, text, tmp_path):
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(FileFormatError, match=text):
        load_checkpoint(tmp_path / "net.pth", "ctsn-resnet8", steps=2)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(FileFormatError, match="No such file or directory"):
        load_checkpoint(tmp_path / "none.pth", "ctsn-resnet8", steps=2)
    with pytest.raises(FileFormatError, match="Is a directory"):
        load_checkpoint(tmp_path, "ctsn-resnet8", steps=2)


@pytest.mark.parametrize(
    "keys",
    [
        ["layer.weight"],
        ["model.layer1.0.x", "model.layer99999999999999.0.x"],
        ["model.layer1.0.x", "model.layer1.99999999999999.x"],
        ["model.features.0.pool.weight", "model.features.99999999999999.pool.weight"],
        ["features.0.fwd.module.0.weight", "features.99999999999999.fwd.module.0.weight"],
    ],
)
def test_absurd_keys_end_in_an_error_at_once(keys, tmp_path):
    torch.save({key: torch.zeros(1) for key in keys}, tmp_path / "net.pth")
    for name in ("ctsn-resnet8", "ctsn-vgg11", "ctsn-vggsnn-psn"):
        with pytest.raises(CheckpointError, match="surplus keys"):
            load_checkpoint(tmp_path / "net.pth", name, steps=2)


def test_wrong_arguments_are_refused(saved):
    path = saved("ctsn-resnet8")
    with pytest.raises(InvalidNetworkError, match="architecture: got 'resnet8'"):
        load_checkpoint(path, "resnet8", steps=2)
    with pytest.raises(InvalidNetworkError, match="steps: got 0"):
        load_checkpoint(path, "ctsn-resnet8", steps=0)
    with pytest.raises(InvalidNetworkError, match="v_threshold: got -1"):
        load_checkpoint(path, "ctsn-resnet8", steps=2, v_threshold=-1)


def test_saving_leaves_a_whole_file_or_none(small, tmp_path, monkeypatch):
    model = small("ctsn-resnet8")
    path = tmp_path / "net.pth"
    save_checkpoint(model, path)
    before = path.read_bytes()

    def fail(path, content):
        with path.open("wb") as file:
            file.write(content[:100])
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(model, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_equal_weights_give_equal_files(suffix, small, tmp_path):
    files = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for file in files:
        save_checkpoint(small("ctsn-resnet8"), file)
    assert files[0].read_bytes() == files[1].read_bytes()
