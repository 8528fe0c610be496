"""QCFS activations, networks of them, and their checkpoints."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from trispike.errors import CheckpointError, InvalidNetworkError, InvalidSettingError
from trispike.nn import (
    QCFS,
    QCFS_ARCHITECTURES,
    build_qcfs,
    load_qcfs_checkpoint,
    randomize,
    save_checkpoint,
)
from trispike.nn.models import QCFSNetwork, QCFSPlan, QCFSResNetPlan, QCFSVGGPlan
from trispike.nn.models.qcfs import activation_names

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def narrow(plan: QCFSPlan) -> QCFSPlan:
    if isinstance(plan, QCFSResNetPlan):
        return dataclasses.replace(plan, widths=tuple(w // 8 for w in plan.widths))
    layout = tuple("M" if item == "M" else item // 8 for item in plan.layout)
    hidden = tuple(24 + n for n in range(len(plan.hidden)))
    return dataclasses.replace(plan, layout=layout, hidden=hidden)


def small(name: str, **settings: Any) -> QCFSNetwork:
    entry = QCFS_ARCHITECTURES[name]
    count = len(activation_names(entry.plan))
    settings = {
        "levels": [1 + n % 8 for n in range(count)],
        "input_shape": (entry.input_shape[0], 32, 32),
        "plan": narrow(entry.plan),
    } | settings
    torch.manual_seed(0)
    model = build_qcfs(name, **settings)
    randomize(model)
    return model.eval()


# --- the activation -----------------------------------------------------------------------------


def test_the_published_values():
    """Written from the formula; half a level is rounded up."""
    act = QCFS(4, 2.0).double()  # q = 0.5
    x = torch.tensor([-3.0, -0.25, 0.0, 0.2499, 0.25, 0.7499, 0.75, 1.6, 1.75, 2.0, 9.0]).double()
    expected = [0, 0, 0, 0, 0.5, 0.5, 1.0, 1.5, 2.0, 2.0, 2.0]
    np.testing.assert_array_equal(act(x).detach().numpy(), expected)


def test_a_negative_threshold_counts_what_is_negative():
    x = torch.linspace(-3, 3, 61, dtype=torch.float64) + 0.013
    positive, negative = QCFS(5, 1.5).double(), QCFS(5, -1.5).double()
    np.testing.assert_array_equal(negative(x).detach().numpy(), -positive(-x).detach().numpy())
    assert (negative(x) < 0).any()


def test_the_published_gradient():
    """Of the input: 1 between 0 and the threshold. Of the threshold: level - share, or the end."""
    act = QCFS(4, 2.0)
    x = torch.tensor([-1.0, 0.6, 1.9, 5.0], requires_grad=True)
    act(x).sum().backward()
    np.testing.assert_array_equal(x.grad, [0, 1, 1, 0])
    assert act.thresh.grad is not None
    shares = [0.0, 0.25 - 0.3, 1.0 - 0.95, 1.0]
    assert act.thresh.grad.item() == pytest.approx(sum(shares), abs=1e-6)


@pytest.mark.parametrize("threshold", [0.0, float("nan"), float("inf")])
def test_a_threshold_that_is_none(threshold):
    with pytest.raises(InvalidNetworkError, match=r"threshold of QCFS: got .*other than 0"):
        QCFS(4, threshold)


@pytest.mark.parametrize("shape", [(1,), ()])
@pytest.mark.parametrize("key", ["thresh", "up"])
def test_older_names_of_the_threshold_load(key, shape):
    act = QCFS(4)
    act.load_state_dict({key: torch.full(shape, 3.0)})
    assert act.thresh.shape == (1,)
    assert act.thresh.item() == 3.0


# --- networks -----------------------------------------------------------------------------------


def published_vgg_keys(layout: str, hidden: int) -> set[str]:
    """Written from the published code, independently of the modules."""
    keys = set()
    for number, stage in enumerate(layout.split(" M"), 1):
        for n in range(len(stage.split())):
            keys |= {f"layer{number}.{4 * n}.{p}" for p in ("weight", "bias")}
            keys |= {f"layer{number}.{4 * n + 1}.{p}" for p in NORM}
            keys.add(f"layer{number}.{4 * n + 2}.thresh")
    for n in range(hidden + 1):
        keys |= {f"classifier.{3 * n + 1}.{p}" for p in ("weight", "bias")}
        if n < hidden:
            keys.add(f"classifier.{3 * n + 2}.thresh")
    return keys


def published_resnet_keys(blocks: tuple[int, ...]) -> set[str]:
    keys = {"conv1.0.weight", "conv1.2.thresh", "fc.weight", "fc.bias"}
    keys |= {f"conv1.1.{p}" for p in NORM}
    for stage, count in enumerate(blocks, 2):
        for block in range(count):
            at = f"conv{stage}_x.{block}"
            keys |= {f"{at}.residual_function.{n}.weight" for n in (0, 3)}
            keys |= {f"{at}.residual_function.{n}.{p}" for n in (1, 4) for p in NORM}
            keys |= {f"{at}.residual_function.2.thresh", f"{at}.act.thresh"}
            if stage > 2 and block == 0:
                keys.add(f"{at}.shortcut.0.weight")
                keys |= {f"{at}.shortcut.1.{p}" for p in NORM}
    return keys


VGGS = {
    "qcfs-vgg6": ("16 M 32 32 M 64 64", 0),
    "qcfs-vgg11": ("64 M 128 M 256 256 M 512 512 M 512 512", 2),
    "qcfs-vgg13": ("64 64 M 128 128 M 256 256 M 512 512 M 512 512", 2),
    "qcfs-vgg16": ("64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512", 2),
    "qcfs-vgg19": ("64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512", 2),
}
RESNETS = {
    "qcfs-resnet8": (1, 1, 1),
    "qcfs-resnet18": (2, 2, 2, 2),
    "qcfs-resnet34": (3, 4, 6, 3),
}


def test_every_architecture_has_the_published_keys():
    assert set(VGGS) | set(RESNETS) == set(QCFS_ARCHITECTURES)
    for name in QCFS_ARCHITECTURES:
        wanted = (
            published_vgg_keys(*VGGS[name])
            if name in VGGS
            else published_resnet_keys(RESNETS[name])
        )
        assert set(small(name).state_dict()) == wanted, name


def test_published_widths():
    for name, (layout, hidden) in VGGS.items():
        plan = QCFS_ARCHITECTURES[name].plan
        assert isinstance(plan, QCFSVGGPlan)
        assert " ".join(map(str, plan.layout)).removesuffix(" M") == layout
        assert plan.hidden == (4096,) * hidden
    for name, blocks in RESNETS.items():
        plan = QCFS_ARCHITECTURES[name].plan
        assert isinstance(plan, QCFSResNetPlan)
        assert plan.blocks == blocks
    assert QCFS_ARCHITECTURES["qcfs-resnet34"].plan.widths == (64, 128, 256, 512)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", QCFS_ARCHITECTURES)
def test_levels_go_to_the_activations_in_the_order_of_the_layers(name):
    """The order of names is the order in which they run."""
    model = small(name)
    ran: list[str] = []
    for path, activation in model.activations().items():
        activation.register_forward_hook(lambda *_, path=path: ran.append(path))
    logits = model(torch.randn(2, *model.input_shape))
    assert logits.shape == (2, 10)
    assert ran == list(model.activations()) == activation_names(model.plan)
    given = [a.levels for a in model.activations().values()]
    assert given == [1 + n % 8 for n in range(len(ran))]


def test_one_number_is_for_all():
    model = small("qcfs-resnet8", levels=6)
    assert {a.levels for a in model.activations().values()} == {6}


@pytest.mark.parametrize("count", [1, 6, 8])
def test_a_list_of_the_wrong_length_names_the_layers(count):
    with pytest.raises(InvalidSettingError) as error:
        build_qcfs("qcfs-resnet8", levels=[4] * count)
    assert str(error.value).startswith(f"levels of qcfs-resnet8: got {count} (4")
    names = activation_names(QCFS_ARCHITECTURES["qcfs-resnet8"].plan)
    assert f"expected 7, one for each of {', '.join(names)}." in str(error.value)


def test_a_level_out_of_range_names_its_layer():
    with pytest.raises(InvalidNetworkError, match=r"levels of layer2\.2: got 0; .*L in 1\.\."):
        build_qcfs("qcfs-vgg6", levels=[4, 0, 4, 4, 4])


def test_an_unknown_architecture():
    with pytest.raises(InvalidNetworkError, match=r"got 'qcfs-lenet'; expected one of qcfs-vgg11"):
        build_qcfs("qcfs-lenet", levels=4)


# --- checkpoints --------------------------------------------------------------------------------


def levels_of(model: QCFSNetwork) -> list[int]:
    return [a.levels for a in model.activations().values()]


@pytest.mark.parametrize("file", ["net.pth", "net.safetensors"])
@pytest.mark.parametrize("name", QCFS_ARCHITECTURES)
def test_what_was_saved_is_loaded(name, file, tmp_path):
    model = small(name, classes=7, input_shape=(2, 32, 32))
    save_checkpoint(model, tmp_path / file)
    loaded = load_qcfs_checkpoint(
        tmp_path / file, name, levels=levels_of(model), input_shape=(2, 32, 32)
    )
    assert not loaded.training
    x = torch.randn(2, 2, 32, 32)
    torch.testing.assert_close(loaded(x), model(x), rtol=0, atol=0)
    assert loaded.provenance is not None
    assert loaded.provenance.file == file
    assert loaded.provenance.architecture == name
    assert list(loaded.provenance.levels) == levels_of(model)


def older(key: str) -> str:
    """As the oldest public checkpoints of residual networks have it."""
    return key.replace("act.thresh", "relu.up").replace("thresh", "up")


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("name", ["qcfs-resnet8", "qcfs-vgg6"])
def test_older_keys_are_read(name, wrapped, tmp_path):
    """thresh was up; act.thresh was relu.up; from several cards, with module. in front."""
    model = small(name)
    weights = {f"module.{older(k)}": v for k, v in model.state_dict().items()}
    assert any(k.endswith(".up") for k in weights)
    scalars = {k: v.reshape(()) if k.endswith("up") else v for k, v in weights.items()}
    torch.save({"model_state_dict": scalars} if wrapped else scalars, tmp_path / "old.pth")
    shape = (1, 32, 32)
    loaded = load_qcfs_checkpoint(
        tmp_path / "old.pth", name, levels=levels_of(model), input_shape=shape
    )
    x = torch.randn(2, *shape)
    torch.testing.assert_close(loaded(x), model(x), rtol=0, atol=0)


def test_double_precision_is_kept(tmp_path):
    model = small("qcfs-vgg6").double()
    save_checkpoint(model, tmp_path / "net.safetensors")
    loaded = load_qcfs_checkpoint(tmp_path / "net.safetensors", "qcfs-vgg6", levels=4)
    assert next(loaded.parameters()).dtype is torch.float64


CHANGES: dict[str, tuple[Any, str]] = {
    "missing": (lambda w: w.pop("layer2.2.thresh"), r"1 missing keys: layer2\.2\.thresh"),
    "surplus": (
        lambda w: w.update({"layer2.8.thresh": torch.ones(1)}),
        r"1 surplus keys: layer2\.8\.thresh",
    ),
    "shape": (
        lambda w: w.update({"layer2.2.thresh": torch.ones(5)}),
        r"1 wrong shapes: layer2\.2\.thresh \(5,\) instead of \(1,\)",
    ),
    "type": (
        lambda w: w.update({"layer2.2.thresh": torch.ones(1, dtype=torch.int64)}),
        r"1 wrong types: layer2\.2\.thresh int64",
    ),
    "nan": (
        lambda w: w.update({"layer2.2.thresh": torch.full((1,), float("nan"))}),
        r"NaN or infinite values: layer2\.2\.thresh",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_keys_that_do_not_fit_are_listed(change, tmp_path):
    weights = dict(small("qcfs-vgg6").state_dict())
    apply, message = CHANGES[change]
    apply(weights)
    safetensors.torch.save_file(weights, tmp_path / "net.safetensors")
    with pytest.raises(CheckpointError, match=message):
        load_qcfs_checkpoint(tmp_path / "net.safetensors", "qcfs-vgg6", levels=4)


def test_a_checkpoint_of_another_architecture(tmp_path):
    save_checkpoint(small("qcfs-resnet8"), tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=r"missing keys: .*surplus keys: .*keys of qcfs-vgg6"):
        load_qcfs_checkpoint(tmp_path / "net.pth", "qcfs-vgg6", levels=4)


def test_data_of_other_channels(tmp_path):
    save_checkpoint(small("qcfs-vgg6"), tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=r"an input of 3 channels, .*expected 1, by its"):
        load_qcfs_checkpoint(tmp_path / "net.pth", "qcfs-vgg6", levels=4, input_shape=(3, 32, 32))
