"""From modules to networks: layouts, forms, and what is refused by name."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.export.modules import (
    Constant,
    Net,
    Part,
    T,
    fired,
    frames_first,
    images,
    merged_first,
    net,
    read,
    repeated,
    spiking,
    stacked,
    unmerged,
)
from tests.export.oracle import assert_folds
from trispike.export import layers, trace
from trispike.network import SumPool
from trispike.nn import TernarySpike

# --- layouts ------------------------------------------------------------------------------------


def frames_second(s: Any, x: Tensor) -> Tensor:
    y = s.neuron(s.conv(x.flatten(0, 1)).unflatten(0, (-1, T)))
    return s.fc(y.flatten(2)).mean(1)


def shapes_unpacked(s: Any, x: Tensor) -> Tensor:
    x = repeated(x)
    steps, samples, channels, height, width = x.shape
    y = s.conv(x.reshape(steps * samples, channels, height, width))
    y = s.neuron(y.view(steps, samples, -1, height, width).contiguous())
    return s.fc(y.reshape(steps * samples, -1)).view(steps, samples, 5).mean(dim=0)


def per_step(layer: nn.Module, x: Tensor) -> Tensor:
    """The container of TET, PSN and others, which puts a shape together as a list."""
    shape = [x.shape[0], x.shape[1]]
    y = layer(x.flatten(0, 1).contiguous())
    shape.extend(y.shape[1:])
    z: Tensor = y.view(shape)
    return z


def decided_by_shapes(s: Any, x: Tensor) -> Tensor:
    """Branches, loops and checks that depend on shapes only."""
    assert x.shape[1:] == (1, 6, 5)
    if x.dim() == 4 and len(x) == x.size(0):
        x = x[(None,) * (x.ndim - 3)].expand(T, *x.shape)
    y = per_step(s.conv, x) if x.shape[0] > T else s.neuron(per_step(s.conv, x))
    for _ in range(y.dim() - 3):
        y = y.flatten(-2)
    y = y.to(device=x.device, dtype=x.dtype).reshape(T, -1, *y.shape[2:])
    logits: Tensor = s.fc(y).mean(0)
    return logits


STATIC = {
    "time first, repeated before the convolution": merged_first,
    "time first, repeated after the convolution": lambda s, x: read(
        s, s.neuron(repeated(s.conv(x)))
    ),
    "time as the slow part of the batch": lambda s, x: read(
        s, s.neuron(s.conv(x.repeat(T, 1, 1, 1)).view(T, -1, 3, 6, 5))
    ),
    "expanded": lambda s, x: read(s, s.neuron(s.conv(x)[None].expand(T, -1, -1, -1, -1))),
    "expanded to sizes": lambda s, x: read(
        s, s.neuron(s.conv(x).unsqueeze(0).expand(T, x.shape[0], 3, 6, 5))
    ),
    "expanded without an axis before": lambda s, x: read(
        s, s.neuron(s.conv(x).expand(T, -1, -1, -1, -1))
    ),
    "stacked": stacked,
    "stacked at the end, then moved": lambda s, x: read(
        s, s.neuron(torch.stack([s.conv(x)] * T, dim=-1).movedim(-1, 0))
    ),
    "tiled": lambda s, x: read(s, s.neuron(s.conv(x)[None].tile(T, 1, 1, 1, 1))),
    "shapes unpacked": shapes_unpacked,
    "shapes as lists": lambda s, x: read(s, s.neuron(per_step(s.conv, repeated(x)))),
    "decided by shapes": decided_by_shapes,
    "sizes asked for": lambda s, x: read(
        s,
        s.neuron(s.conv(x).view(1, x.size(0), x.size(1) * 3, 6, x.shape[-1]).repeat(T, 1, 1, 1, 1)),
    ),
    "einops by hand": lambda s, x: read(
        s,
        s.neuron(
            s.conv(x.unsqueeze(1).repeat(1, T, 1, 1, 1).reshape(-1, 1, 6, 5))
            .reshape(x.shape[0], T, 3, 6, 5)
            .transpose(0, 1)
            .contiguous()
        ),
    ),
}


@pytest.mark.parametrize("name", STATIC)
def test_a_static_image_in_every_layout(name):
    traced = assert_folds(net(STATIC[name]), images(), steps=T)
    assert list(traced.network.populations) == ["neuron"]
    assert traced.network.populations["neuron"].shape == (3, 6, 5)


@pytest.mark.parametrize("samples", [1, T, T + 1, 97])
def test_samples_and_steps_are_told_apart(samples):
    """The batch may be as large as T, or as the one that tracing imagines."""
    assert_folds(net(frames_first), images(samples, (T, 1, 6, 5)), steps=T, encoding="frames")
    second = net(frames_second, time_axis=1)
    assert_folds(second, images(samples, (T, 1, 6, 5)), steps=T, encoding="frames")


def test_a_time_axis_at_the_end():
    def forward(s: Any, x: Tensor) -> Tensor:
        y = s.neuron(s.fc(x.flatten(1)).unsqueeze(-1).repeat(1, 1, T))
        return s.out(y.transpose(1, 2)).mean(1)

    for axis in (2, -1):
        module = net(forward, time_axis=axis, fc=nn.Linear(30, 8), out=nn.Linear(8, 3))
        traced = assert_folds(module, images(), steps=T)
        assert traced.network.populations["neuron"].shape == (8,)


def test_frames_of_features():
    module = net(
        lambda s, x: s.fc(s.neuron(s.first(x).transpose(0, 1))).mean(0),
        first=nn.Linear(7, 9),
        fc=nn.Linear(9, 3),
    )
    assert_folds(module, images(5, (T, 7)), steps=T, encoding="frames")


ONE_STEP = {
    "unsqueezed": lambda s, x: read(s, s.neuron(s.conv(x).unsqueeze(0))),
    "indexed by None": lambda s, x: read(s, s.neuron(s.conv(x)[None])),
    "repeated": lambda s, x: read(s, s.neuron(unmerged(s.conv(repeated(x, 1).flatten(0, 1)), 1))),
    "stacked": lambda s, x: read(s, s.neuron(torch.stack([s.conv(x)]))),
    "squeezed": lambda s, x: s.fc(s.neuron(s.conv(x)[None]).squeeze(0).flatten(1)),
    "a sum across the neuron": lambda s, x: read(
        s, s.neuron(s.conv(x)[None]) + s.conv(x).unsqueeze(0)
    ),
    "a sum across the neuron, from the other side": lambda s, x: read(
        s, s.conv(x).unsqueeze(0) + s.neuron(s.conv(x)[None])
    ),
    "merged": lambda s, x: s.fc(s.neuron(s.conv(x)[None]).flatten(0, 1).flatten(1)),
}


@pytest.mark.parametrize("name", ONE_STEP)
def test_a_single_time_step(name):
    assert_folds(net(ONE_STEP[name]), images(), steps=1)


def test_a_single_frame():
    module = net(
        lambda s, x: read(
            s, s.neuron(s.conv(x.flatten(0, 1)).unflatten(0, (-1, 1)).transpose(0, 1))
        )
    )
    assert_folds(module, images(4, (1, 1, 6, 5)), steps=1, encoding="frames")


# --- readouts -----------------------------------------------------------------------------------


UNIFORM, LAST = [1 / T] * T, [0.0] * (T - 1) + [1.0]
READOUTS: dict[str, tuple[Any, Any, list[float]]] = {
    "mean": (lambda s, y: s.fc(y.flatten(2)).mean(0), None, UNIFORM),
    "mean of a named axis": (lambda s, y: torch.mean(s.fc(y.flatten(2)), dim=(0,)), None, UNIFORM),
    "sum": (lambda s, y: s.fc(y.flatten(2)).sum(0), None, [1.0] * T),
    "sum over T": (lambda s, y: torch.sum(s.fc(y.flatten(2)), dim=0) / T, None, [1.0] * T),
    "last step": (lambda s, y: s.fc(y.flatten(2))[-1], None, LAST),
    "last step of the spikes": (lambda s, y: s.fc(y[-1].flatten(1)), None, LAST),
    "a chosen step": (lambda s, y: s.fc(y.flatten(2)).select(0, 1), None, [0.0, 1.0, 0.0, 0.0]),
    "step as axis 1": (lambda s, y: s.fc(y.flatten(2)).transpose(0, 1)[:, -1], None, LAST),
    "step with dots": (lambda s, y: s.fc(y.flatten(2)).transpose(0, 1)[:, -1, ...], None, LAST),
    "mean before Linear": (lambda s, y: s.fc(y.mean(0).flatten(1)), None, UNIFORM),
    "sum before Linear": (lambda s, y: s.fc(y.sum(0).flatten(1)), None, [1.0] * T),
    "kept axis": (lambda s, y: s.fc(y.mean(0, keepdim=True).flatten(2)).squeeze(0), None, UNIFORM),
    "every step, T first": (lambda s, y: s.fc(y.flatten(2)), lambda o: o.mean(0), UNIFORM),
    "every step, N first": (
        lambda s, y: s.fc(y.flatten(2)).transpose(0, 1),
        lambda o: o.mean(1),
        UNIFORM,
    ),
    "every step, T last": (
        lambda s, y: s.fc(y.flatten(2)).permute(1, 2, 0),
        lambda o: o.mean(2),
        UNIFORM,
    ),
    "no layer": (lambda s, y: y.mean((0, 3, 4)), None, UNIFORM),
    "no layer, every step": (lambda s, y: y.mean((-1, -2)), lambda o: o.mean(0), UNIFORM),
    "flattened spikes": (lambda s, y: y.flatten(2).mean(0), None, UNIFORM),
    "kept positions": (
        lambda s, y: y.flatten(0, 1).mean((2, 3), keepdim=True).flatten(1).view(T, -1, 3),
        lambda o: o.mean(0),
        UNIFORM,
    ),
    "global pooling": (
        lambda s, y: s.small(F.adaptive_avg_pool2d(y.flatten(0, 1), 1).flatten(1)).view(T, -1, 5),
        lambda o: o.mean(0),
        UNIFORM,
    ),
    "mean, then layers and constants": (
        lambda s, y: (s.out(s.fc(y.mean(0).flatten(1)) * 2) - 0.5) / 3,
        None,
        UNIFORM,
    ),
    "axes of one element": (
        lambda s, y: s.small(y.mean((3, 4), keepdim=True).mean(0).squeeze(-1).squeeze(-1)),
        None,
        UNIFORM,
    ),
}


@pytest.mark.parametrize("name", READOUTS)
def test_readouts(name):
    end, logits_of, weights = READOUTS[name]
    module = net(lambda s, x: end(s, fired(s, x)), out=nn.Linear(5, 4), small=nn.Linear(3, 5))
    # As many samples as time steps, which may not be mistaken for each other.
    traced = assert_folds(module, images(T), steps=T, logits_of=logits_of)
    assert traced.network.readout.weights.tolist() == weights
    assert (traced.output_time_axis is None) == (logits_of is None)


# --- layers and functions -----------------------------------------------------------------------


def between(layers: Any, **children: Any) -> Net:
    """A net with more layers between its neuron and a second one."""

    def forward(s: Any, x: Tensor) -> Tensor:
        y = s.neuron(unmerged(s.conv(repeated(x).flatten(0, 1))))
        y = s.second(unmerged(layers(s, y.flatten(0, 1))))
        return s.out(y.flatten(2)).mean(0)

    with torch.no_grad():
        holder = Net(layers, conv=nn.Conv2d(1, 3, 3), **children).eval()
        features = layers(holder, torch.zeros(T, 3, 6, 5)).numel() // T
    return net(
        forward,
        neuron=TernarySpike(0.4, 0.5, "channel", 3),
        second=spiking(threshold=0.1),
        out=nn.Linear(features, 4),
        **children,
    )


class Weighted(nn.Module):
    """A convolution whose weights are computed in its forward."""

    shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, 3, 3))
        self.gain = nn.Parameter(torch.rand(3, 1, 1) + 0.5)
        self.register_buffer("shift", torch.randn(4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        weight = (self.weight - self.weight.mean((1, 2, 3), keepdim=True)) / self.weight.std()
        return F.conv2d(x * self.gain, weight, padding=1) + self.shift


class Gained(nn.Conv2d):
    """A subclass with a forward of its own, which has to be followed."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) * 2 - 1


class ThresholdNorm(nn.BatchNorm2d):
    """Threshold-dependent batch norm, as others write it."""

    def forward(self, input: Tensor) -> Tensor:
        return 0.5 * super().forward(input)


LAYERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "conv": (lambda s, y: s.a(y), {"a": nn.Conv2d(3, 4, 3, stride=(2, 1), padding=(1, 0))}),
    "conv same": (lambda s, y: s.a(y), {"a": nn.Conv2d(3, 4, 3, padding="same", dilation=(1, 2))}),
    "conv valid": (
        lambda s, y: s.a(y),
        {"a": nn.Conv2d(3, 4, (2, 3), padding="valid", bias=False)},
    ),
    "conv groups": (lambda s, y: s.a(y), {"a": nn.Conv2d(3, 6, 2, groups=3)}),
    "functional conv": (
        lambda s, y: F.conv2d(y, s.a.weight, None, (2, 1), 1, groups=3),
        {"a": nn.Conv2d(3, 6, 2, groups=3)},
    ),
    "functional conv by keywords": (
        lambda s, y: F.conv2d(input=y, weight=s.a.weight, bias=s.a.bias, padding="same"),
        {"a": nn.Conv2d(3, 6, 3)},
    ),
    "torch conv": (lambda s, y: torch.conv2d(y, s.a.weight, s.a.bias), {"a": nn.Conv2d(3, 6, 2)}),
    "own forward": (lambda s, y: s.a(y), {"a": Gained(3, 4, 3)}),
    "computed weights": (lambda s, y: s.a(y), {"a": Weighted()}),
    "parametrized": (
        lambda s, y: s.a(y),
        {"a": nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))},
    ),
    "batch norm": (
        lambda s, y: s.b(s.a(y)),
        {"a": nn.Conv2d(3, 4, 3, padding=1), "b": nn.BatchNorm2d(4)},
    ),
    "batch norm first": (
        lambda s, y: s.a(s.b(y)),
        {"a": nn.Conv2d(3, 4, 3, padding=1), "b": nn.BatchNorm2d(3)},
    ),
    "sync batch norm": (lambda s, y: s.b(y), {"b": nn.SyncBatchNorm(3)}),
    "functional batch norm": (
        lambda s, y: F.batch_norm(
            y, s.b.running_mean, s.b.running_var, s.b.weight, bias=s.b.bias, eps=0.1
        ),
        {"b": nn.BatchNorm2d(3)},
    ),
    "a batch norm scaled by the threshold": (lambda s, y: s.b(y), {"b": ThresholdNorm(3)}),
    "batch norm without parameters": (lambda s, y: s.b(y), {"b": nn.BatchNorm2d(3, affine=False)}),
    "batch norm 1d": (
        lambda s, y: s.b(s.a(y.flatten(1))),
        {"a": nn.Linear(90, 7), "b": nn.BatchNorm1d(7)},
    ),
    "batch norm 1d of flattened spikes": (
        lambda s, y: s.a(s.b(y.flatten(1))),
        {"a": nn.Linear(90, 7), "b": nn.BatchNorm1d(90)},
    ),
    "batch norm 3d": (
        lambda s, y: (
            s.b(y.view(T, -1, 3, 6, 5).permute(1, 2, 0, 3, 4)).permute(2, 0, 1, 3, 4).flatten(0, 1)
        ),
        {"b": nn.BatchNorm3d(3)},
    ),
    "average pooling": (lambda s, y: s.a(y), {"a": nn.AvgPool2d((3, 2), (2, 1), 1)}),
    "average pooling, all options": (
        lambda s, y: s.a(y),
        {"a": nn.AvgPool2d(3, 2, 1, count_include_pad=False, divisor_override=None)},
    ),
    "average pooling with a divisor": (
        lambda s, y: s.a(y),
        {"a": nn.AvgPool2d(2, divisor_override=3)},
    ),
    "functional average pooling": (lambda s, y: F.avg_pool2d(y, 3, stride=1, padding=1), {}),
    "functional average pooling, all options": (
        lambda s, y: F.avg_pool2d(y, 2, 2, 1, False, False),
        {},
    ),
    "ceil mode without an effect": (
        lambda s, y: s.a(y),
        {"a": nn.AvgPool2d((2, 5), ceil_mode=True)},
    ),
    # The window that ceil_mode would add begins in the padding, and PyTorch drops it.
    "ceil mode, dropped window": (
        lambda s, y: s.a(y),
        {"a": nn.AvgPool2d((2, 2), (4, 3), (1, 1), ceil_mode=True)},
    ),
    "adaptive to one": (lambda s, y: s.a(y), {"a": nn.AdaptiveAvgPool2d(1)}),
    "adaptive to equal windows": (lambda s, y: s.a(y), {"a": nn.AdaptiveAvgPool2d((3, 5))}),
    "adaptive to overlapping windows": (lambda s, y: s.a(y), {"a": nn.AdaptiveAvgPool2d((5, 4))}),
    "adaptive to its own size": (lambda s, y: s.a(y), {"a": nn.AdaptiveAvgPool2d((None, 1))}),
    "adaptive to a list": (lambda s, y: s.a(y), {"a": nn.AdaptiveAvgPool2d([2, 1])}),
    "functional adaptive": (lambda s, y: F.adaptive_avg_pool2d(y, (2, 5)), {}),
    "mean of rows and columns": (lambda s, y: y.mean([2, 3]), {}),
    "linear": (lambda s, y: s.a(y.flatten(1)), {"a": nn.Linear(90, 7)}),
    "functional linear": (
        lambda s, y: F.linear(y.flatten(1), s.a.weight, s.a.bias),
        {"a": nn.Linear(90, 7)},
    ),
    "linear twice": (
        lambda s, y: s.b(s.a(y.flatten(1))),
        {"a": nn.Linear(90, 7), "b": nn.Linear(7, 6)},
    ),
    "a sum of what is flattened in different ways": (
        lambda s, y: y.flatten(1) + s.b(y.flatten(1)) + s.a(y).flatten(1),
        {"a": nn.Conv2d(3, 3, 1), "b": nn.BatchNorm1d(90)},
    ),
    "flatten and unflatten layers": (
        lambda s, y: s.b(s.a(y)),
        {"a": nn.Flatten(2), "b": nn.Unflatten(2, (6, 5))},
    ),
    "dropouts": (
        lambda s, y: s.d(s.c(s.b(s.a(y)))),
        {"a": nn.Dropout(), "b": nn.Dropout2d(), "c": nn.AlphaDropout(), "d": nn.Identity()},
    ),
    "functional dropout": (lambda s, y: F.dropout(y, 0.5, s.training), {}),
    "functional dropout in place": (lambda s, y: F.dropout2d(y, 0.5, s.training, True), {}),
    "pointwise, then conv": (
        lambda s, y: s.b(s.a(y)),
        {"a": nn.Conv2d(3, 5, 1, stride=2), "b": nn.Conv2d(5, 4, 3, padding=1)},
    ),
    "conv, then pooling": (
        lambda s, y: s.b(s.a(y)),
        {"a": nn.Conv2d(3, 5, 3, padding=1), "b": nn.AvgPool2d(2)},
    ),
    "pooling, then conv": (
        lambda s, y: s.b(s.a(y)),
        {"b": nn.Conv2d(3, 5, 3, padding=1), "a": nn.AvgPool2d(2)},
    ),
    "a sequence": (
        lambda s, y: s.a(y),
        {
            "a": nn.Sequential(
                nn.Conv2d(3, 5, 1),
                nn.BatchNorm2d(5),
                nn.Conv2d(5, 4, 3, padding=1),
                nn.AvgPool2d(2),
            )
        },
    ),
    "residual": (lambda s, y: s.a(y) + y, {"a": nn.Conv2d(3, 3, 3, padding=1)}),
    "residual by +=": (lambda s, y: iadded(s.a(y), y), {"a": nn.Conv2d(3, 3, 3, padding=1)}),
    "torch.add with alpha": (
        lambda s, y: torch.add(s.a(y), y, alpha=-0.5),
        {"a": nn.Conv2d(3, 3, 3, padding=1)},
    ),
    "add_ of a fresh tensor": (
        lambda s, y: s.a(y).add_(y).mul_(2),
        {"a": nn.Conv2d(3, 3, 3, padding=1)},
    ),
    "difference": (lambda s, y: s.a(y) - y, {"a": nn.Conv2d(3, 3, 3, padding=1)}),
    "x + x": (lambda s, y: y + y, {}),
    "constants": (lambda s, y: 1 - (-y * 0.5 + 2) / 4 - 0.1, {}),
    "a constant per channel": (
        lambda s, y: y * s.a.bias.view(3, 1, 1) + s.a.weight.view(1, 3, 1, 1),
        {"a": nn.BatchNorm2d(3)},
    ),
    "constants on the left": (
        lambda s, y: s.a.value + s.a.value * y - s.a.value - (s.a.value - y) * s.a.value.exp(),
        {"a": Constant(3, 1, 1)},
    ),
    "a constant that is decided by its values": (
        lambda s, y: y * (s.a.value if s.a.value.sum() > 1e9 else s.b(s.a.value)),
        {"a": Constant(3, 1, 1), "b": nn.Sigmoid()},
    ),
    "a constant per position": (lambda s, y: y * s.a.value + s.a.value, {"a": Constant(3, 6, 5)}),
    "a constant per flattened feature": (
        lambda s, y: s.b(y.flatten(1) * s.a.value),
        {"a": Constant(90), "b": nn.Linear(90, 7)},
    ),
    "a scalar for permuted features": (
        lambda s, y: (y.permute(0, 2, 3, 1) * 2 + 1).permute(0, 3, 1, 2),
        {},
    ),
    "casts that change nothing": (
        lambda s, y: (
            y.to(s.conv.weight.dtype)
            .to("cpu")
            .type_as(s.conv.weight)
            .double()
            .detach()
            .clone()
            .to(y.device, non_blocking=True)
            .type(y.dtype)
        ),
        {},
    ),
    "axes": (lambda s, y: y.swapaxes(0, 1).transpose(-4, -3).moveaxis(1, -1).movedim(-1, -3), {}),
    "squeezed": (lambda s, y: y.mean((2, 3), keepdim=True).squeeze((2, 3)), {}),
    "not squeezed": (lambda s, y: y.squeeze(1), {}),
    "reshaped to the same": (lambda s, y: y.reshape(y.shape).view(y.size()), {}),
}


def iadded(a: Tensor, b: Tensor) -> Tensor:
    a += b
    return a


@pytest.mark.parametrize("name", LAYERS)
def test_layers_between_two_neurons(name):
    made, children = LAYERS[name]
    torch.manual_seed(0)
    traced = assert_folds(between(made, **children), images(), steps=T)
    assert list(traced.network.populations) == ["neuron", "second"]


def test_ceil_mode_is_accepted_exactly_where_it_changes_nothing():
    for size, kernel, stride in itertools.product(range(2, 8), (1, 2, 3), (1, 2, 3)):
        for padding in range(kernel // 2 + 1):
            if size + 2 * padding < kernel:
                continue
            pool = SumPool(kernel=(kernel, 2), stride=(stride, 2), padding=(padding, 0))
            x = torch.zeros(1, 1, size, 4)
            options = (pool.kernel, pool.stride, pool.padding)
            ceiled = F.avg_pool2d(x, *options, ceil_mode=True).shape[2:]
            assert layers._ceiled(pool, (1, size, 4)) == tuple(ceiled)


# --- whole modules ------------------------------------------------------------------------------


# --- whole modules ------------------------------------------------------------------------------


class Block(nn.Module):
    """A residual block as users write them, functional and module forms mixed."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.fire1 = TernarySpike(0.3, amplitude="layer")
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.fire2 = TernarySpike(0.3, amplitude="channel", channels=channels)

    def forward(self, x: Tensor) -> Tensor:
        steps, samples = x.shape[:2]
        out = self.norm1(self.conv1(x.flatten(0, 1)))
        out = self.fire1(out.reshape(steps, samples, -1, 6, 5))
        out = unmerged(self.conv2(out.flatten(0, 1)))
        out += x
        spikes: Tensor = self.fire2(out)
        return spikes


def test_nested_blocks_and_their_names():
    module = net(
        lambda s, x: read(s, s.blocks(fired(s, x))), blocks=nn.Sequential(Block(3), Block(3))
    )
    traced = assert_folds(module, images(), steps=T)
    network = traced.network
    assert list(network.populations) == [
        "neuron",
        "blocks.0.fire1",
        "blocks.0.fire2",
        "blocks.1.fire1",
        "blocks.1.fire2",
    ]
    shortcut = network.into("blocks.1.fire2")[1]
    assert shortcut.sources == ("blocks.0.fire2",)
    amplitude = module.blocks[0].fire2.spike_amplitude()
    assert np.array_equal(shortcut.operator.weight, amplitude)


def test_a_module_that_is_called_twice():
    def forward(s: Any, x: Tensor) -> Tensor:
        y = s.neuron(repeated(s.conv(x)))
        for _ in range(2):
            y = s.neuron(unmerged(s.again(y.flatten(0, 1))))
        return read(s, y)

    again = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3))
    traced = assert_folds(net(forward, again=again), images(), steps=T)
    assert list(traced.network.populations) == ["neuron", "neuron@2", "neuron@3"]
    assert [(p.path, p.call) for p in traced.populations] == [
        ("neuron", 0),
        ("neuron", 1),
        ("neuron", 2),
    ]


def test_population_names_are_unique_and_not_those_of_the_ends():
    """The wrapper "model" is left out of a name, unless another population has it then."""

    def forward(s: Any, x: Tensor) -> Tensor:
        y = s.model.neuron(repeated(s.conv(x)))
        y = s.input(unmerged(s.again(y.flatten(0, 1))))
        y = s.neuron(unmerged(s.again(y.flatten(0, 1))))
        y = s.model.readout(unmerged(s.again(y.flatten(0, 1))))
        return read(s, y)

    model = Part(lambda s, x: x, neuron=spiking(), readout=spiking())
    again = nn.Conv2d(3, 3, 3, padding=1)
    traced = assert_folds(
        net(forward, model=model, input=spiking(), again=again), images(), steps=T
    )
    assert list(traced.network.populations) == ["neuron", "input@1", "neuron@1", "model.readout"]


def test_addition_of_spikes_and_a_real_valued_shortcut():
    """As in SEW-ResNet: the sum of spikes and of a convolution feeds the next layers."""

    def forward(s: Any, x: Tensor) -> Tensor:
        a = s.neuron(repeated(s.conv(x)))
        b = s.second(unmerged(s.strided(a.flatten(0, 1)))) + unmerged(
            s.norm(s.down(a.flatten(0, 1)))
        )
        c = s.third(unmerged(s.last(b.flatten(0, 1)))) + b
        return s.out(unmerged(F.adaptive_avg_pool2d(c.flatten(0, 1), 1).flatten(1))).mean(0)

    module = net(
        forward,
        strided=nn.Conv2d(3, 4, 3, stride=2, padding=1),
        down=nn.Conv2d(3, 4, 1, stride=2),
        norm=nn.BatchNorm2d(4),
        second=spiking(threshold=0.1),
        last=nn.Conv2d(4, 4, 3, padding=1),
        third=spiking(threshold=0.1),
        out=nn.Linear(4, 5),
    )
    traced = assert_folds(module, images(), steps=T)
    assert [c.sources for c in traced.network.into("third")] == [("second",), ("neuron",)]
    # The shift of the norm, cut by the padding of the convolution.
    assert traced.network.populations["third"].neuron.bias.shape == (4, 3, 3)


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_any_number_of_time_steps(steps):
    module = net(lambda s, x: read(s, s.neuron(repeated(s.conv(x), steps))))
    assert_folds(module, images(3), steps=steps)


def test_a_module_with_time_in_its_input_only_where_it_is_spiking():
    """One unit, one channel, one position: nothing is mistaken for an axis of one element."""
    module = net(
        lambda s, x: s.fc(s.neuron(repeated(s.conv(x))).flatten(2)).mean(0),
        conv=nn.Conv2d(1, 1, 1),
        fc=nn.Linear(1, 1),
        neuron=spiking(threshold=0.05),
    )
    assert_folds(module, images(4, (1, 1, 1)), steps=T)


def test_the_module_is_left_as_it_was():
    module = net(stacked, drop=nn.Dropout()).train()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    trace(module, (1, 6, 5), steps=T)
    assert module.training
    assert module.drop.training
    after = module.state_dict()
    assert all(after[key].dtype == torch.float32 for key in before)
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_what_is_said_of_the_input_is_kept():
    mean, std = np.array([0.5]).reshape(1, 1, 1), 0.25
    traced = trace(
        net(stacked), (1, 6, 5), steps=T, mean=mean, std=std, provenance={"file": "a.pth"}
    )
    network = traced.network
    assert network.input.shape == (1, 6, 5)
    assert network.input.mean.tolist() == [[[0.5]]]
    assert float(network.input.std) == 0.25
    assert network.steps == T
    assert network.provenance == {"file": "a.pth"}
    assert network.kind == "float"


def test_other_arguments_of_a_forward_take_their_defaults():
    class Optional(Net):
        def forward(self, x: Tensor, scale: float = 2.0, verbose: bool = False) -> Tensor:
            return read(self, self.neuron(repeated(self.conv(x) * scale)))

    module = Optional(lambda s, x: x, **dict(net(lambda s, x: x).named_children()))
    assert_folds(module, images(), steps=T)
