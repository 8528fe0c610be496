"""Architectures: published parameter names, published sizes, forward pass, traceability."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

from trispike.errors import InvalidDataError, InvalidNetworkError
from trispike.nn import (
    ARCHITECTURES,
    CTSN,
    SpikeModel,
    SpikingNeuron,
    TernarySpike,
    architecture,
    build_model,
    randomize,
)
from trispike.nn.models import BasicBlock, PSNVGGPlan

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
STATE = {"ctsn": ("alpha", "beta", "gamma"), "ternary-spike": (), "lif": (), "ttfs": (), "imp": ()}
BLOCKS = {
    "resnet8": (1, 1, 1),
    "resnet19": (3, 3, 2),
    "resnet20": (3, 3, 3),
    "resnet32": (5, 5, 5),
    "resnet20m": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "sewresnet34": (3, 4, 6, 3),
}
LAYOUTS = {
    "vgg6": "32 M 64 64 M 128 128",
    "vgg11": "64 M 128 M 256 256 M 512 512 M 512 512 M",
    "vgg16": "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M",
    "vggsnn": "64 128 M 256 256 M 512 512 M 512 512 M",
    "vggsnn-psn": "64 128 M 256 256 M 512 512 M 512 512 M",
}
VARIANTS = [
    (name, amplitude)
    for name, entry in ARCHITECTURES.items()
    for amplitude in ([None, "layer", "channel"] if entry.neuron == "ternary-spike" else [None])
]


def published_resnet_keys(name: str, state: tuple[str, ...]) -> set[str]:
    """Written from the table of published formats, independently of the modules."""
    modified, blocks = name == "resnet20m", BLOCKS[name]
    pooled = modified or name == "resnet8"
    keys = {"fc.conv.weight", "fc.conv.bias"}
    if modified:
        for i in (0, 3, 6):
            keys |= {f"conv1.{i}.pool.weight", *(f"conv1.{i + 1}.conv.{p}" for p in NORM)}
            keys |= {f"conv1.{i + 2}.{p}" for p in state}
    else:
        keys |= {"conv1.pool.weight", *(f"bn1.conv.{p}" for p in NORM)}
        keys |= {f"relu.{p}" for p in state}
    for stage, count in enumerate(blocks, 1):
        for block in range(count):
            at = f"layer{stage}.{block}"
            keys |= {f"{at}.conv1.pool.weight", f"{at}.conv2.pool.weight"}
            keys |= {f"{at}.{bn}.bn.{p}" for bn in ("bn1", "bn2") for p in NORM}
            keys |= {f"{at}.{act}.{p}" for act in ("relu1", "output_act") for p in state}
        if stage > 1:
            conv, norm = (1, 2) if pooled else (0, 1)
            keys.add(f"layer{stage}.0.downsample.{conv}.pool.weight")
            keys |= {f"layer{stage}.0.downsample.{norm}.bn.{p}" for p in NORM}
    return {f"model.{key}" for key in keys}


def published_vgg_keys(name: str, state: tuple[str, ...]) -> set[str]:
    psn = name == "vggsnn-psn"
    keys, number = set(), 0
    for item in LAYOUTS[name].split():
        if item == "M":
            number += 1
        elif psn:
            at = f"features.{number}.fwd.module"
            keys |= {f"{at}.0.weight", f"{at}.0.bias", *(f"{at}.1.{p}" for p in NORM)}
            keys |= {f"features.{number + 1}.{p}" for p in state}
            number += 2
        else:
            keys |= {f"features.{number}.pool.weight", f"features.{number}.pool.bias"}
            keys |= {f"features.{number + 1}.conv.{p}" for p in NORM}
            keys |= {f"features.{number + 2}.{p}" for p in state}
            number += 3
    readout = "classifier.1.module" if psn else "classifier.conv"
    return {f"model.{key}" for key in keys | {f"{readout}.weight", f"{readout}.bias"}}


def ttfs_keys(name: str) -> set[str]:
    """Not published, but kept: checkpoints exist."""
    keys, number = {"readout.base", "model.classifier.conv.weight", "model.classifier.conv.bias"}, 0
    for item in LAYOUTS[name].split():
        if item != "M":
            parts = ("weight", "bias", "gain", "offset")
            keys |= {f"model.features.{number}.pool.{part}" for part in parts}
        number += 1 if item == "M" else 2
    return keys


def imp_keys(name: str) -> set[str]:
    """Of StephenTaylor1998/amazing-cls, read there."""
    if name.startswith("sewresnet"):
        keys = sew_keys((3, 4, 6, 3) if "34" in name else (2, 2, 2, 2))
    elif name.endswith("-legacy"):
        keys, number = {f"classifier.module.1.{p}" for p in ("weight", "bias")}, 0
        layout = LAYOUTS["vggsnn" if name.startswith("vgg11") else "vgg6"]
        for item in layout.split():
            if item == "M":
                number += 1
                continue
            at = f"features.{number}"
            keys |= {f"{at}.conv.module.weight", f"{at}.conv.module.bias", f"{at}.bn.te"}
            keys |= {f"{at}.bn.bn.module.{p}" for p in NORM} | {f"features.{number + 1}.mem"}
            number += 2
        return {f"backbone.{key}" for key in keys}
    else:
        keys = set()
        for stage, count in enumerate((1, 1, 2, 4) if name == "vgg11" else (1, 2, 2), 1):
            for at in (f"layer{stage}.{layer}" for layer in range(count)):
                keys |= {f"{at}.conv.weight", f"{at}.conv.bias", f"{at}.spike.init_state"}
                keys |= {f"{at}.bn.{p}" for p in NORM}
    return {f"backbone.{key}" for key in keys} | {"head.fc.weight", "head.fc.bias"}


def sew_keys(blocks: tuple[int, ...]) -> set[str]:
    keys = {"conv1.weight", "sn1.init_state", *(f"bn1.{p}" for p in NORM)}
    for stage, count in enumerate(blocks, 1):
        for block in range(count):
            at = f"layer{stage}.{block}"
            for n in (1, 2):
                keys |= {f"{at}.conv{n}.weight", f"{at}.sn{n}.init_state"}
                keys |= {f"{at}.bn{n}.{p}" for p in NORM}
        if stage > 1:
            at = f"layer{stage}.0.downsample"
            keys |= {f"{at}.0.weight", f"{at}_sn.init_state", *(f"{at}.1.{p}" for p in NORM)}
    return keys


@pytest.mark.parametrize(("name", "amplitude"), VARIANTS)
def test_parameters_have_the_published_names(small, name, amplitude):
    kind = ARCHITECTURES[name].neuron
    layers = name.removeprefix(f"{kind}-")
    state = ("fire_ratio",) if amplitude else STATE[kind]
    if kind == "imp":
        expected = {f"model.{key}" for key in imp_keys(layers)}
    elif kind == "ttfs":
        expected = ttfs_keys(layers)
    else:
        published = published_resnet_keys if layers in BLOCKS else published_vgg_keys
        expected = published(layers, state)
    assert set(small(name, amplitude=amplitude).state_dict()) == expected


def test_names_of_a_block_spelled_out(small):
    keys = [key for key in small("ctsn-resnet19").state_dict() if ".layer2.0." in key]
    block = "model.layer2.0."
    assert [key.removeprefix(block) for key in keys if "running" not in key] == [
        "conv1.pool.weight",
        "bn1.bn.weight",
        "bn1.bn.bias",
        "bn1.bn.num_batches_tracked",
        "relu1.alpha",
        "relu1.beta",
        "relu1.gamma",
        "conv2.pool.weight",
        "bn2.bn.weight",
        "bn2.bn.bias",
        "bn2.bn.num_batches_tracked",
        "downsample.0.pool.weight",
        "downsample.1.bn.weight",
        "downsample.1.bn.bias",
        "downsample.1.bn.num_batches_tracked",
        "output_act.alpha",
        "output_act.beta",
        "output_act.gamma",
    ]


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        (
            "ctsn-resnet19",
            {
                "conv1.pool.weight": (128, 3, 3, 3),
                "layer3.0.conv1.pool.weight": (512, 256, 3, 3),
                "layer3.0.downsample.0.pool.weight": (512, 256, 1, 1),
                "fc.conv.weight": (10, 512),
            },
        ),
        (
            "ternary-spike-resnet20m",
            {
                "conv1.6.pool.weight": (64, 64, 3, 3),
                "layer2.0.downsample.1.pool.weight": (128, 64, 1, 1),
                "layer4.1.conv2.pool.weight": (512, 512, 3, 3),
                "fc.conv.weight": (10, 512),
            },
        ),
        (
            "ctsn-sewresnet34",
            {
                "conv1.pool.weight": (64, 3, 7, 7),
                "layer3.5.conv2.pool.weight": (256, 256, 3, 3),
                "fc.conv.weight": (1000, 512),
            },
        ),
        (
            "ctsn-vgg16",
            {"features.40.pool.weight": (512, 512, 3, 3), "classifier.conv.weight": (10, 512)},
        ),
        (
            "ctsn-vggsnn",
            {"features.0.pool.weight": (64, 2, 3, 3), "classifier.conv.weight": (10, 4608)},
        ),
        (
            "ctsn-vggsnn-psn",
            {
                "features.17.fwd.module.0.weight": (512, 512, 3, 3),
                "classifier.1.module.weight": (10, 4608),
            },
        ),
    ],
)
def test_published_sizes(name, shapes):
    state = build_model(name, steps=4).state_dict()
    assert {key: tuple(state[f"model.{key}"].shape) for key in shapes} == shapes


def test_the_names_are_the_promised_ones():
    published = "vgg11 vgg16 vggsnn resnet19 resnet20 resnet20m resnet32 resnet34 sewresnet34"
    for layers in published.split():
        assert {f"ctsn-{layers}", f"ternary-spike-{layers}"} <= set(ARCHITECTURES)
    assert all(entry.name == name for name, entry in ARCHITECTURES.items())


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, SpikingNeuron) or super().is_leaf_module(m, module_qualified_name)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_model_traces_and_its_logits_are_the_mean_over_time(small, batch, name):
    model = small(name)
    x = batch(model)
    traced = fx.GraphModule(model, _Tracer().trace(model))
    with torch.no_grad():
        logits, steps = model(x), model.forward_steps(x)
        assert torch.equal(traced(x), logits)
    assert logits.shape == (2, ARCHITECTURES[name].classes)
    assert steps.shape == (2, 2, ARCHITECTURES[name].classes)
    if model.readout is None:
        assert torch.equal(steps.mean(0), logits)
    torch.testing.assert_close(steps.mean(0), logits)
    assert float(logits.std()) > 0


@pytest.mark.parametrize("name", ["ctsn-resnet19", "ctsn-vgg11", "ternary-spike-sewresnet34"])
def test_random_networks_spike_in_every_layer(small, batch, name):
    model, rates = small(name, steps=3), []
    for module in model.modules():
        if isinstance(module, SpikingNeuron):
            module.register_forward_hook(lambda _, __, out: rates.append((out != 0).float().mean()))
    with torch.no_grad():
        model(batch(model))
    assert len(rates) == sum(isinstance(m, SpikingNeuron) for m in model.modules())
    assert all(0.05 < float(rate) < 0.95 for rate in rates)


@pytest.mark.parametrize("spike_sum", [False, True])
@pytest.mark.parametrize("downsample", ["conv", "pool"])
def test_a_block_is_its_published_formula_step_by_step(spike_sum, downsample):
    torch.manual_seed(0)
    block: Any = BasicBlock(
        3, 5, 2, downsample=downsample, spike_sum=spike_sum, steps=3, neuron=lambda _: CTSN()
    )
    randomize(block, seed=1)
    block = block.double().eval()
    x = torch.randn(3, 2, 3, 6, 6, dtype=torch.float64)

    def conv_norm(frame: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm3d) -> Tensor:
        y = nn.functional.conv2d(frame, conv.weight, stride=conv.stride, padding=conv.padding)
        return nn.functional.batch_norm(
            y, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=1e-5
        )

    shortcuts = []
    for frame in x:
        if downsample == "conv":
            conv, norm = block.downsample[0].pool, block.downsample[1].bn
        else:
            conv, norm = block.downsample[1].pool, block.downsample[2].bn
        pooled = nn.functional.avg_pool2d(frame, 2) if downsample == "pool" else frame
        shortcuts.append(conv_norm(pooled, conv, norm))
    shortcut = torch.stack(shortcuts)
    hidden = block.relu1(
        torch.stack([conv_norm(frame, block.conv1.pool, block.bn1.bn) for frame in x])
    )
    out = torch.stack([conv_norm(frame, block.conv2.pool, block.bn2.bn) for frame in hidden])
    spikes = block.output_act(out if spike_sum else out + shortcut)
    expected = spikes + shortcut if spike_sum else spikes
    torch.testing.assert_close(block(x), expected, rtol=0, atol=1e-12)


def test_static_input_is_repeated_and_frames_are_not(small, batch):
    static = small("ctsn-resnet8", steps=3)
    frames = small("ctsn-resnet8", steps=3, input_kind="frames")
    x = batch(static)
    with torch.no_grad():
        repeated = frames(x.unsqueeze(1).repeat(1, 3, 1, 1, 1))
        assert torch.equal(static(x), repeated)
        flipped = torch.cat([x.unsqueeze(1), x.flip(-1).unsqueeze(1), x.unsqueeze(1)], 1)
        assert not torch.equal(frames(flipped), repeated)


def test_samples_do_not_mix(small, batch):
    model = small("ctsn-vggsnn-psn", steps=3).double()
    x = batch(model, 3).double()
    with torch.no_grad():
        one_by_one = torch.cat([model(sample[None]) for sample in x])
        torch.testing.assert_close(model(x), one_by_one, rtol=0, atol=1e-12)


def test_defaults_and_settings_reach_every_neuron(small):
    def neurons(model: SpikeModel) -> list[Any]:
        return [m for m in model.modules() if isinstance(m, SpikingNeuron)]

    assert {(n.form, n.tau, n.v_threshold) for n in neurons(small("ctsn-resnet19"))} == {
        ("static", 0.25, 0.5)
    }
    assert {n.tau for n in neurons(small("ctsn-sewresnet34"))} == {1.0}
    assert {n.tau for n in neurons(small("ternary-spike-sewresnet34", tau=0.5))} == {0.5}
    chosen = small("ctsn-vgg11", form="dynamic", tau=0.5, v_threshold=0.7, surrogate="atan")
    assert {(n.form, n.tau, n.v_threshold, n.surrogate) for n in neurons(chosen)} == {
        ("dynamic", 0.5, 0.7, "atan")
    }
    psn = neurons(small("ctsn-vggsnn-psn", v_threshold=0.7))
    assert {(n.form, n.time_axis, n.v_threshold) for n in psn} == {("dynamic", 1, 0.7)}
    channels = [
        n.spike_amplitude().shape
        for n in neurons(small("ternary-spike-resnet19", amplitude="channel"))
    ]
    assert channels[0] == (8, 1, 1)
    assert channels[-1] == (32, 1, 1)


def test_training_moves_every_parameter(batch):
    model = build_model("ctsn-resnet8", steps=3)
    randomize(model)
    loss = model(batch(model)).square().sum()
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    assert all(bool(torch.isfinite(g).all()) for g in gradients)
    assert all(float(g.abs().sum()) > 0 for g in gradients)


def test_randomize_leaves_nothing_neutral(small):
    model = small("ternary-spike-resnet8", amplitude="channel")
    for key, value in model.state_dict().items():
        if key.endswith(("fire_ratio", "running_var", "bn.weight")):
            assert not bool((value == 1).any()), key
        elif key.endswith(("running_mean", "bn.bias")):
            assert not bool((value == 0).any()), key
    again = small("ternary-spike-resnet8", amplitude="channel")
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True)
    )
    ctsn = [m for m in small("ctsn-resnet8").modules() if isinstance(m, CTSN)]
    assert len({m.alpha.item() for m in ctsn}) == len(ctsn)
    assert not any(isinstance(m, TernarySpike) for m in small("ctsn-resnet8").modules())


def test_published_initial_weights():
    torch.manual_seed(0)
    model = build_model("ctsn-resnet8", steps=2)
    conv = model.state_dict()["model.layer3.0.conv2.pool.weight"]
    assert float(conv.std()) == pytest.approx(math.sqrt(2 / (9 * 64)), rel=0.02)


@pytest.mark.parametrize(
    ("shape", "kind", "expected"),
    [
        ((2, 3, 8, 8), "static", r"got shape \(2, 3, 8, 8\); expected \(N, 1, H, W\)"),
        ((2, 2, 1, 8, 8), "static", r"expected \(N, 1, H, W\)"),
        ((2, 1, 8, 8), "frames", r"expected \(N, 2, 1, H, W\)"),
        ((2, 4, 1, 8, 8), "frames", r"expected \(N, 2, 1, H, W\)"),
    ],
)
def test_input_of_another_shape_is_refused(small, shape, kind, expected):
    model = small("ctsn-resnet8", input_kind=kind, input_shape=(1, 8, 8))
    for call in (model, model.forward_steps):
        with pytest.raises(InvalidDataError, match=expected):
            call(torch.zeros(shape))


@pytest.mark.parametrize(
    ("name", "settings", "text"),
    [
        ("ctsn-resnet18", {}, "architecture: got 'ctsn-resnet18'; expected one of ctsn-vgg11"),
        ("ctsn-resnet8", {"steps": 0}, "steps: got 0; expected at least 1"),
        ("ctsn-resnet8", {"input_kind": "video"}, "expected one of static, frames"),
        ("ctsn-resnet8", {"amplitude": "layer"}, "got amplitude='layer'"),
        ("ternary-spike-resnet8", {"form": "dynamic"}, "got form='dynamic'"),
        ("ctsn-vggsnn-psn", {"form": "static"}, "got form='static'"),
    ],
)
def test_bad_arguments_are_named(name, settings, text):
    with pytest.raises(InvalidNetworkError, match=text):
        build_model(name, **({"steps": 2} | settings))


def test_an_architecture_is_looked_up_by_name():
    entry = architecture("ctsn-resnet8")
    assert build_model(entry, steps=2).input_shape == entry.input_shape == (1, 8, 8)
    assert isinstance(architecture("ctsn-vggsnn-psn").plan, PSNVGGPlan)
