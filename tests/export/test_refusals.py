"""What tracing refuses, by name and with the words that a user reads."""

from __future__ import annotations

from typing import Any

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
    merged_first,
    net,
    read,
    repeated,
    stacked,
    unmerged,
)
from trispike.errors import InvalidNetworkError, UnsupportedError
from trispike.export import trace
from trispike.nn import LIF

# --- refused by name ----------------------------------------------------------------------------


def after(layers: Any) -> Any:
    """A forward with layers after the neuron, on (T*N, 3, 6, 5)."""
    return lambda s, x: s.fc(unmerged(layers(s, fired(s, x).flatten(0, 1))).flatten(2)).mean(0)


class Attention(nn.Module):
    """Spikes times spikes."""

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(2).transpose(1, 2) @ x.flatten(2)).softmax(-1)


REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    # layers
    "max pooling": (
        after(lambda s, y: s.a(y)),
        {"a": nn.MaxPool2d(2)},
        r"layer 'a': got MaxPool2d; expected Conv2d, Linear, .*Max pooling of spikes is not linear",
    ),
    "functional max pooling": (
        after(lambda s, y: F.max_pool2d(y, 2)),
        {},
        r"layer 'max_pool2d\(\)': got .*Max pooling of spikes is not linear; train with average",
    ),
    "max pooling by method": (
        after(lambda s, y: torch.max_pool2d(y, 2)),
        {},
        r"'max_pool2d\(\)': .*not linear",
    ),
    "adaptive max pooling": (
        after(lambda s, y: s.a(y)),
        {"a": nn.AdaptiveMaxPool2d(1)},
        r"layer 'a': got AdaptiveMaxPool2d.*Max pooling of spikes",
    ),
    "functional adaptive max pooling": (
        after(lambda s, y: F.adaptive_max_pool2d(y, 1)),
        {},
        r"'adaptive_max_pool2d\(\)': .*Max poo",
    ),
    "two convolutions": (
        after(lambda s, y: s.b(s.a(y))),
        {"a": nn.Conv2d(3, 3, 3), "b": nn.Conv2d(3, 3, 3)},
        "layers 'a' and 'b': got two convolutions in a row; expected layers that one operator can",
    ),
    "two convolutions, nested": (
        after(lambda s, y: s.a(y)),
        {
            "a": nn.Sequential(
                nn.Conv2d(3, 3, 3),
                nn.BatchNorm2d(3),
                nn.Dropout(),
                nn.Sequential(nn.Conv2d(3, 3, 3)),
            )
        },
        r"layers 'a\.0' and 'a\.3\.0': got two convolutions in a row",
    ),
    "relu": (
        after(lambda s, y: s.a(y)),
        {"a": nn.ReLU()},
        "layer 'a': got ReLU; expected .*Replace it by a spiking neuron",
    ),
    "functional relu": (after(lambda s, y: F.relu(y)), {}, r"'relu\(\)'.*by a spiking neuron"),
    "relu in place": (after(lambda s, y: y.relu_()), {}, r"'relu_\(\)'.*by a spiking neuron"),
    "transposed convolution": (
        after(lambda s, y: s.a(y)),
        {"a": nn.ConvTranspose2d(3, 3, 3)},
        "layer 'a': got ConvTranspose2d; expected .*Only affine layers fold",
    ),
    "1d convolution": (
        after(lambda s, y: s.a(y.flatten(2))),
        {"a": nn.Conv1d(3, 3, 3)},
        "layer 'a': got Conv1d;",
    ),
    "3d convolution": (
        after(lambda s, y: s.a(y)),
        {"a": nn.Conv3d(3, 3, 1)},
        "layer 'a': got Conv3d",
    ),
    "layer norm": (after(lambda s, y: s.a(y)), {"a": nn.LayerNorm(5)}, "layer 'a': got LayerNorm;"),
    "instance norm": (
        after(lambda s, y: s.a(y)),
        {"a": nn.InstanceNorm2d(3)},
        "got InstanceNorm2d",
    ),
    "zero padding as a layer": (
        after(lambda s, y: s.a(y)),
        {"a": nn.ZeroPad2d(1)},
        "got ZeroPad2d",
    ),
    "upsampling": (after(lambda s, y: s.a(y)), {"a": nn.Upsample(scale_factor=2)}, "got Upsample"),
    "reflected padding": (
        after(lambda s, y: s.a(y)),
        {"a": nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect")},
        "layer 'a': got padding_mode 'reflect'; expected padding with zeros",
    ),
    "same padding of an even kernel": (
        after(lambda s, y: s.a(y)),
        {"a": nn.Conv2d(3, 3, (3, 2), padding="same")},
        "layer 'a': got padding 'same' of an even kernel, which is one more on one side",
    ),
    "batch norm of the batch": (
        after(lambda s, y: s.a(y)),
        {"a": nn.BatchNorm2d(3, track_running_stats=False)},
        "layer 'a': got a batch norm without running statistics.*expected track_running_stats=True",
    ),
    "functional batch norm of the batch": (
        after(lambda s, y: F.batch_norm(y, None, None, training=True)),
        {},
        r"layer 'batch_norm\(\)': got a batch norm with training=True, which depends on the batch",
    ),
    "functional batch norm without statistics": (
        after(lambda s, y: F.batch_norm(y, None, None)),
        {},
        r"layer 'batch_norm\(\)': got a batch norm without running statistics",
    ),
    "batch norm over time": (
        lambda s, x: read(s, s.a(fired(s, x))),
        {"a": nn.BatchNorm3d(6)},
        r"layer 'a': got a batch norm of \(T, N, C, H, W\); expected channels as axis 1",
    ),
    "batch norm of other channels": (
        after(lambda s, y: s.a(y)),
        {"a": nn.BatchNorm2d(4)},
        "layer 'a': got 3 channels; expected 4, by its statistics",
    ),
    "ceil mode": (
        after(lambda s, y: s.a(y)),
        {"a": nn.AvgPool2d(2, ceil_mode=True)},
        r"layer 'a': got ceil_mode with windows that reach over the edge of \(T\*N, C, H",
    ),
    "functional ceil mode": (
        after(lambda s, y: F.avg_pool2d(y, 2, ceil_mode=True)),
        {},
        r"layer 'avg_pool2d\(\)': got ceil_mode with windows that reach over",
    ),
    "uneven adaptive pooling": (
        after(lambda s, y: s.a(y)),
        {"a": nn.AdaptiveAvgPool2d(4)},
        r"'a': got windows of unequal size \(6 into 4\); expected equal win",
    ),
    "adaptive pooling to more": (
        after(lambda s, y: s.a(s.b(y))),
        {"a": nn.AdaptiveAvgPool2d(7), "b": nn.AdaptiveAvgPool2d(1)},
        r"'a': got windows of unequal size \(1 into 7\)",
    ),
    "pooling of time": (
        lambda s, x: read(s, s.a(fired(s, x).permute(1, 2, 0, 3, 4).flatten(3))),
        {"a": nn.AvgPool2d(2)},
        r"layer 'a': got an input with axes \(N, C, T, H\*W\); expected cha",
    ),
    "linear on channels": (
        after(lambda s, y: s.a(y)),
        {"a": nn.Linear(5, 2)},
        r"layer 'a': got a Linear layer on \(T\*N, C, H, W\); expected all features flattened into",
    ),
    "linear on samples": (
        after(lambda s, y: s.a(y.flatten(1).transpose(0, 1)).transpose(0, 1)),
        {"a": nn.Linear(388, 2)},
        r"layer 'a': got a Linear layer on \(C\*H\*W, T\*N\); expected all features flattened into",
    ),
    "linear on permuted features": (
        after(lambda s, y: s.a(y.permute(0, 2, 3, 1).flatten(1))),
        {"a": nn.Linear(90, 2)},
        r"layer 'a': got features laid out as \(H\*W\*C\); expected channels, rows, columns",
    ),
    "linear of another size": (
        after(lambda s, y: s.a(y.flatten(1))),
        {"a": nn.Linear(91, 2)},
        r"layer 'a': got an input of 90 elements \(shape \(90,\)\); expected 91 elements",
    ),
    "an LSTM": (after(lambda s, y: s.a(y.flatten(2))[0]), {"a": nn.LSTM(30, 4)}, "'a': got LSTM"),
    "attention layer": (
        after(lambda s, y: s.a(y.flatten(2), y.flatten(2), y.flatten(2))[0]),
        {"a": nn.MultiheadAttention(30, 1)},
        "layer 'a': got MultiheadAttention with 3 arguments; expected one tensor.*Attention multi",
    ),
    # functions and methods
    "attention by hand": (
        after(lambda s, y: s.a.b(y)),
        {"a": Part(lambda s, y: y, b=Attention())},
        r"layer 'matmul\(\) in a\.b': got .*Signals may be multiplied with constants only",
    ),
    "scaled dot product": (
        after(lambda s, y: F.scaled_dot_product_attention(y, y, y)),
        {},
        r"layer 'scaled_dot_product_attention\(\)': .*Attention multiplies signals",
    ),
    "softmax": (
        lambda s, x: s.fc(fired(s, x).flatten(2)).mean(0).softmax(-1),
        {},
        r"layer 'softmax\(\)': .*Attention multiplies",
    ),
    "product of spikes": (
        after(lambda s, y: y * y),
        {},
        r"layer 'mul\(\)': got a product of two signals \(as in SEW-AND, .*Train with addition",
    ),
    "division by spikes": (
        after(lambda s, y: 1 / y),
        {},
        r"'truediv\(\)': got several signals, or",
    ),
    "concatenation": (
        after(lambda s, y: torch.cat([y, y], 1)),
        {},
        r"layer 'cat\(\)': got a function or method that does not fold; .*Give each part a conv",
    ),
    "a function of two signals": (
        after(lambda s, y: F.linear(y.flatten(1), y.flatten(1))),
        {},
        r"'linear\(\)': got several signals, or one as a parameter",
    ),
    "a signal as a weight": (
        after(lambda s, y: F.conv2d(s.conv.weight, y)),
        {},
        r"'conv2d\(\)': got several signals, or one as a parameter",
    ),
    "absolute values": (
        after(lambda s, y: abs(y)),
        {},
        r"layer 'abs\(\)': got a function or method",
    ),
    "comparison": (after(lambda s, y: (y > 0).double()), {}, r"layer 'gt\(\)'"),
    "powers": (after(lambda s, y: y**2), {}, r"layer 'pow\(\)'"),
    "padding": (after(lambda s, y: F.pad(y, (1, 1))), {}, r"layer 'pad\(\)'"),
    "dropout in training": (
        after(lambda s, y: F.dropout(y, 0.5)),
        {},
        r"layer 'dropout\(\)': got dropout with training=True, its default; expected training=self",
    ),
    "in place of what is used elsewhere": (
        after(lambda s, y: y.add_(1) + y),
        {},
        r"'add_\(\)': got a change in place of what is used elsewhere.* the underscore: add\.",
    ),
    "in place and forgotten": (
        after(lambda s, y: (y.mul_(2), y)[1]),
        {},
        r"'mul_\(\)': got a change",
    ),
    "cast to integers": (
        after(lambda s, y: y.to(torch.int8).to(y.dtype)),
        {},
        r"layer 'to\(\)': got a cast to torch\.int8; expected one arithmetic",
    ),
    "cast to half": (after(lambda s, y: y.to(dtype=torch.float16)), {}, r"'to\(\)': got a cast to"),
    "cast to a dtype of a tensor": (
        after(lambda s, y: y.type_as(s.a.num_batches_tracked)),
        {"a": nn.BatchNorm2d(3)},
        r"'type_as\(\)': got a cast to torch.int64",
    ),
    "cast by a name": (
        after(lambda s, y: y.type("torch.IntTensor")),
        {},
        "cast to torch.IntTensor",
    ),
    "float": (
        after(lambda s, y: y.float()),
        {},
        r"layer 'float\(\)': got a cast to torch\.float32; expected .*Cast the data before",
    ),
    "an unknown argument": (
        after(lambda s, y: torch.mean(y, (2, 3), dtype=torch.float64)),
        {},
        r"'mean\(\)': got arguments that do not fold \(.*dtype",
    ),
    "rounded division": (
        after(lambda s, y: torch.div(y, 2, rounding_mode="floor")),
        {},
        r"'div\(\)': got arguments that do not fold",
    ),
    "floor division": (after(lambda s, y: y // 2), {}, r"'floordiv\(\)'"),
    "division by zero": (after(lambda s, y: y / 0), {}, r"'truediv\(\)': .*division by zero"),
    "a view as another dtype": (
        after(lambda s, y: y.view(torch.int64)),
        {},
        r"'view\(\)': got arg",
    ),
    "an axis that is not there": (
        after(lambda s, y: y.transpose(0, 4)),
        {},
        r"'transpose\(\)': got",
    ),
    "an attribute": (after(lambda s, y: y.T), {}, r"layer '\.T': got a function or"),
    "a function of somebody else": (
        after(lambda s, y: mean(y, 0)),
        {},
        r"layer 'mean\(\)': got a function or method that does not fold",
    ),
    # shapes and time
    "reshape across axes": (
        after(lambda s, y: y.view(-1, 6, 3, 5)),
        {},
        r"'view\(\)': got a reshape of \(T\*N, C, H, W\) = \(388, 3, 6, 5\) with N = 97 to \(-1",
    ),
    "time and samples exchanged": (
        after(lambda s, y: unmerged(y, 97).flatten(0, 1)),
        {},
        r"operation 'unflatten\(\)': got a reshape of \(T\*N\)",
    ),
    "a batch size in the code": (
        after(lambda s, y: y.view(T, 6, 3, 6, 5).flatten(0, 1)),
        {},
        r"operation 'view\(\)': got a reshape of \(T\*N, C, H, W\)",
    ),
    "squeeze of everything": (
        after(lambda s, y: y.squeeze()),
        {},
        r"'squeeze\(\)': got .*every axis of one element; state which one",
    ),
    "repeated channels": (
        lambda s, x: read(s, s.neuron(repeated(s.conv(x).repeat(1, 3, 1, 1)))),
        {},
        r"layer 'repeat\(\)': got \(N, C, H, W\) = .* repeated to \(1, 3, 1, 1\); expected one",
    ),
    "channels repeated T times": (
        lambda s, x: read(s, s.neuron(repeated(s.conv(x.repeat(1, T, 1, 1))))),
        {"conv": nn.Conv2d(T, 3, 3, padding=1)},
        r"layer 'conv': got an input with axes \(N, T\*C, H, W\); expected channels, rows and col",
    ),
    "repeated samples": (
        lambda s, x: read(s, s.neuron(repeated(s.conv(x.repeat(97, 1, 1, 1))))),
        {},
        r"'repeat\(\)': got \(N, C, H, W\) = .* repeated to \(97, 1, 1, 1\)",
    ),
    "repeated another number of times": (
        lambda s, x: read(s, s.neuron(repeated(s.conv(x), T + 1))),
        {},
        rf"'repeat\(\)': .*expected one repetition: of the static input, T = {T} times",
    ),
    "repeated spikes": (
        lambda s, x: read(s, fired(s, x).repeat(T, 1, 1, 1, 1)),
        {},
        r"'repeat\(\)': got \(T, N, C, H, W\) = .* repeated to",
    ),
    "repeated after an average": (
        lambda s, x: read(s, s.neuron(repeated(fired(s, x).mean(0)))),
        {},
        r"'repeat\(\)': got \(1, N, C, H, W\) = .* repeated to \(4, 1, 1, 1, 1\)",
    ),
    "expanded to a wrong size": (
        lambda s, x: read(s, s.neuron(s.conv(x).expand(9, 97, 4, 6, 5))),
        {},
        r"'expand\(\)': got arguments that do not fold",
    ),
    "stack of different tensors": (
        lambda s, x: read(s, s.neuron(torch.stack([s.conv(x), s.conv(x), s.conv(x), s.conv(x)]))),
        {},
        r"layer 'stack\(\)': got a stack of 4 tensors that are not all the same, or not T of them",
    ),
    "neuron without time": (
        lambda s, x: read(s, repeated(s.neuron(s.conv(x)))),
        {},
        r"neuron 'neuron': got an input with axes \(N, C, H, W\); expected time as axis 0.* A LIF",
    ),
    "neuron with merged time": (
        lambda s, x: read(s, unmerged(s.neuron(repeated(s.conv(x)).flatten(0, 1)))),
        {},
        r"neuron 'neuron': got an input with axes \(T\*N, C, H, W\); expected time as axis 0",
    ),
    "neuron with time elsewhere": (
        lambda s, x: read(s, s.neuron(repeated(s.conv(x)).transpose(0, 1)).transpose(0, 1)),
        {},
        r"neuron 'neuron': got an input with axes \(N, T, C, H, W\); expected time as axis 0",
    ),
    "neuron with features before samples": (
        lambda s, x: read(s, s.neuron(repeated(s.conv(x)).movedim(1, -1)).movedim(-1, 1)),
        {},
        r"neuron 'neuron': got an input with axes \(T, C, H, W, N\); expected .*samples as the",
    ),
    "neuron after an average": (
        lambda s, x: s.fc(s.neuron(fired(s, x).mean(0)).flatten(1)),
        {},
        r"neuron 'neuron': got an input with axes \(N, C, H, W\), after a sum over time",
    ),
    "a sum of different layouts": (
        lambda s, x: read(s, fired(s, x) + fired(s, x).transpose(0, 1)),
        {},
        r"layer 'add\(\)': got a sum of \(T, N, C, H, W\) = .* and \(N, T, C, H, W\) = \(97, 4, 3",
    ),
    "a broadcast sum": (
        after(lambda s, y: y + y.mean((2, 3), keepdim=True)),
        {},
        r"layer 'add\(\)': got a sum of .* = \(388, 3, 6, 5\) .* and .*= \(388, 3, 1, 1\)",
    ),
    "a sum of different steps": (
        lambda s, x: s.fc((fired(s, x)[-1] + fired(s, x).mean(0)).flatten(1)),
        {},
        r"layer 'add\(\)': got a sum of signals that hold different time steps",
    ),
    "a second average": (
        lambda s, x: fired(s, x).flatten(2).mean(0).mean(0),
        {},
        r"layer 'mean\(\)': got a mean over \['N'\] of \(N, C\*H\*W\)",
    ),
    "a mean over channels": (
        after(lambda s, y: y.mean(1)),
        {},
        r"'mean\(\)': got a mean over \['C'\]",
    ),
    "a mean of everything": (lambda s, x: fired(s, x).mean(), {}, "got a mean over everything of"),
    "a sum over rows": (after(lambda s, y: y.sum(2)), {}, r"'sum\(\)': got a sum over \['H'\]"),
    "a selected channel": (after(lambda s, y: y[:, 0]), {}, r"'getitem\(\)': got the selection"),
    "several steps": (
        lambda s, x: read(s, fired(s, x)[1:]),
        {},
        r"'getitem\(\)': got the selection slice\(1, None, None\) of .*; expected one time",
    ),
    "a step that is not there": (
        lambda s, x: s.fc(fired(s, x)[T].flatten(1)),
        {},
        r"'getitem\(\)': got arguments .*out of bounds",
    ),
    "a gain per step before a bias": (
        lambda s, x: read(s, fired(s, x) * s.a.value),
        {"a": Constant(T, 1, 1, 1, 1)},
        r"layer 'fc': got a constant added after a gain that differs from time step to time step",
    ),
    "a gain per step and channel": (
        lambda s, x: read(s, fired(s, x) * s.a.value),
        {"a": Constant(T, 1, 3, 1, 1)},
        r"'mul\(\)': got a constant of shape \(4, 1, 3, 1, 1\) for \(T, N, C, H, W\); expected",
    ),
    "a sum of different gains per step": (
        lambda s, x: read(s, fired(s, x) + fired(s, x) * s.a.value),
        {"a": Constant(T, 1, 1, 1, 1)},
        r"'add\(\)': got a sum of signals with different gains per time step",
    ),
    "a gain per step before a batch norm": (
        lambda s, x: read(s, unmerged(s.norm((fired(s, x) * s.a.value).flatten(0, 1)))),
        {"a": Constant(T, 1, 1, 1, 1), "norm": nn.BatchNorm2d(3)},
        r"'norm': got a constant added after a gain that differs from time step to time step",
    ),
    "a constant with more axes": (
        after(lambda s, y: y + s.a.value),
        {"a": Constant(1, 1, 1, 1, 1)},
        r"layer 'add\(\)': got a constant of shape \(1, 1, 1, 1, 1\) for \(T\*N, C, H, W\)",
    ),
    # the whole
    "a tuple": (
        lambda s, x: (read(s, fired(s, x)), x),
        {},
        "output of the module: got a tuple; expected one tensor of logits",
    ),
    "a dictionary": (lambda s, x: {"logits": read(s, fired(s, x))}, {}, "got a dict; expected one"),
    "a constant as output": (lambda s, x: s.fc.bias, {}, "got a Parameter; expected one tensor"),
    "merged time in the output": (
        lambda s, x: s.fc(fired(s, x).flatten(2)).flatten(0, 1),
        {},
        r"output of the module: got axes \(T\*N, C\); expected \(N, classes\), \(T, N, classes\)",
    ),
    "an output that no neuron reaches": (
        lambda s, x: (fired(s, x), s.fc(s.conv(x).flatten(1)))[1],
        {},
        r"output of the module: got axes \(N, C\); expected \(N, classes\), \(T, N, classes\)",
    ),
    "classes before samples": (
        lambda s, x: read(s, fired(s, x)).transpose(0, 1),
        {},
        r"output of the module: got axes \(C, N\)",
    ),
    "no neurons": (
        lambda s, x: s.fc(s.conv(x).flatten(1)),
        {"conv": nn.Conv2d(1, 3, 1)},
        "output of the module: got a module without neurons; expected spiking neurons",
    ),
    "control flow": (
        lambda s, x: read(s, fired(s, x)) if fired(s, x).sum(0) else x,
        {},
        r"module 'Net': got a forward that torch\.fx cannot follow \(symbolically traced variables",
    ),
    "a batch that is looped over": (
        lambda s, x: torch.stack([fired(s, one[None]) for one in x]),
        {},
        r"the selection 0 of \(N, C, H, W\); expected one time step",
    ),
}


def mean(x: Tensor, axis: int) -> Tensor:
    """Not torch.mean, whatever it is called."""
    return x * axis


torch.fx.wrap("mean")


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name):
    forward, children, text = REFUSED[name]
    with pytest.raises(UnsupportedError, match=text):
        trace(net(forward, **children), (1, 6, 5), steps=T)


def test_frames_without_neurons_are_refused():
    module = net(lambda s, x: s.fc(x.flatten(2)).mean(1), fc=nn.Linear(30, 5))
    with pytest.raises(
        UnsupportedError, match="output of the module: got a module without neurons"
    ):
        trace(module, (1, 6, 5), steps=T, encoding="frames")


@pytest.mark.parametrize("steps", [1, T])
def test_a_sum_with_rows_and_columns_exchanged(steps):
    """The shapes are equal, and for one step time may have no name; the axes are not."""
    module = net(
        lambda s, x: s.fc((s.neuron(repeated(s.conv(x), steps)).transpose(3, 4)
                           + repeated(s.conv(x), steps)).flatten(2)).mean(0),
        fc=nn.Linear(75, 5),
    )  # fmt: skip
    with pytest.raises(
        UnsupportedError, match=r"layer 'add\(\)': got (features laid out|a sum of)"
    ):
        trace(module, (1, 5, 5), steps=steps)


@pytest.mark.parametrize("steps", [T - 1, T + 1, 2 * T])
def test_another_number_of_steps_than_the_code_has(steps):
    with pytest.raises(UnsupportedError, match=r"got a reshape of|got .* repeated to"):
        trace(net(merged_first), (1, 6, 5), steps=steps)
    with pytest.raises(UnsupportedError, match="got a reshape of"):
        trace(net(frames_first), (1, 6, 5), steps=steps, encoding="frames")


class TwoInputs(Net):
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        return x


class AnyInputs(Net):
    def forward(self, *xs: Tensor) -> Tensor:
        return xs[0]


@pytest.mark.parametrize(("kind", "argument"), [(TwoInputs, "mask"), (AnyInputs, r"\*xs")])
def test_a_forward_takes_one_tensor(kind, argument):
    with pytest.raises(UnsupportedError, match=f"got a forward with the argument '{argument}'"):
        trace(kind(lambda s, x: x), (1, 6, 5), steps=T)


def broken(path: str, value: float) -> Net:
    module = net(stacked, norm=nn.BatchNorm2d(3))
    with torch.no_grad():
        module.get_parameter(path).view(-1)[1] = value
    return module


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_numbers_are_named(value):
    text = "layer 'conv', operator weight: got 1 of 27 values that are NaN or infinite"
    with pytest.raises(InvalidNetworkError, match=text):
        trace(broken("conv.weight", value), (1, 6, 5), steps=T)
    with pytest.raises(InvalidNetworkError, match=r"layer 'neuron', neuron field 'bias': got \S+ "):
        trace(broken("conv.bias", value), (1, 6, 5), steps=T)


@pytest.mark.parametrize(
    ("layers", "children", "text"),
    [
        (
            lambda s, y: s.a(y),
            {"a": nn.Conv2d(4, 3, 3)},
            "layer 'a', Conv2d: got an input of 3 channels; expected 4 channels",
        ),
        (
            lambda s, y: s.a(y),
            {"a": nn.Conv2d(3, 3, 7)},
            "layer 'a', Conv2d: got an input of 6x5 under a kernel of 7x7",
        ),
        (
            lambda s, y: s.a(y),
            {"a": nn.AvgPool2d(7)},
            "layer 'a', pooling stage: got an input of 6x5 under a kernel of 7x7",
        ),
        (
            lambda s, y: F.avg_pool2d(y, 2, padding=2),
            {},
            r"layer 'avg_pool2d\(\)', field 'pool.padding': got \(2, 2\) for a window",
        ),
    ],
)
def test_layers_that_do_not_fit_are_named(layers, children, text):
    with pytest.raises(InvalidNetworkError, match=text):
        trace(net(after(layers), **children), (1, 6, 5), steps=T)


def test_an_input_shape_that_is_none():
    with pytest.raises(
        InvalidNetworkError, match=r"input: got shape \(6, 5\); expected \(C, H, W\)"
    ):
        trace(net(stacked), (6, 5), steps=T)


def test_a_neuron_that_does_not_fit_its_population_is_named():
    module = net(lambda s, x: read(s, fired(s, x)), neuron=LIF())
    module.neuron.v_init = torch.zeros(2)
    with pytest.raises(InvalidNetworkError, match="layer 'neuron', neuron field 'v_init'"):
        trace(module, (1, 6, 5), steps=T)
