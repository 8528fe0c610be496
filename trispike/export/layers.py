"""The layers of torch.nn that fold, and what they share with their functional forms."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import singledispatch
from itertools import pairwise
from typing import Any

import numpy as np
from torch import nn

from trispike.export import axes as ax
from trispike.export import fold
from trispike.export.signals import (
    Signal,
    arranged,
    check_ungained,
    spatial,
    summed_over_time,
    to_numpy,
    with_axes,
    with_value,
)
from trispike.network import Conv2d, SumPool
from trispike.network.connection import Pair
from trispike.nn.ttfs import TimeWeights, wrong_length

ADVICE = {
    "maxpool": "Max pooling of spikes is not linear; train with average pooling.",
    "relu": "Replace it by a spiking neuron, or by trispike.nn.QCFS, and train on.",
    "softmax": "Attention multiplies signals with each other; only sums of them fold.",
    "attention": "Attention multiplies signals with each other; only sums of them fold.",
    "matmul": "Signals may be multiplied with constants only.",
    "cat": "Give each part a convolution of its own and add the results; that is the same.",
}
"""What to do, by a part of the name of what was refused."""

LEAVES = (TimeWeights,)
"""Layers of trispike.nn that are one step of the walk, with what is inside them."""

_FOREIGN: set[type[nn.Module]] = set()


def advice(kind: str, otherwise: str) -> str:
    """The advice for a layer, function or method that does not fold."""
    plain = kind.lower().replace("_", "")
    return next((text for part, text in ADVICE.items() if part in plain), otherwise)


def register_layer(kind: type[nn.Module], compose: Callable[[Any, Signal, str], Signal]) -> None:
    """Make an affine layer of another library known, as a whole.

    Args:
        kind: The module class.
        compose: As :func:`layer`, for modules of this class.
    """
    layer.register(kind)(compose)
    _FOREIGN.add(kind)


def is_foreign_layer(module: nn.Module) -> bool:
    """Whether a module of another library is composed as a whole."""
    return isinstance(module, tuple(_FOREIGN))


@singledispatch
def layer(module: nn.Module, x: Signal, name: str) -> Signal:
    """Compose one torch.nn layer; the default refuses it by name.

    Args:
        module: The layer, in evaluation mode.
        x: Its input.
        name: Its path, for messages.

    Raises:
        UnsupportedError: It has no exact form.
        InvalidNetworkError: It does not fit its input, or its parameters are not finite.
    """
    kind = type(module).__name__
    raise fold.refusal(
        name,
        got=kind,
        expected="Conv2d, Linear, BatchNorm, average pooling, flatten, dropout, or a neuron",
        fix=advice(
            kind, "Only affine layers fold; replace it, or register it as a neuron if it is one."
        ),
    )


@layer.register
def _conv2d(module: nn.Conv2d, x: Signal, name: str) -> Signal:
    if module.padding_mode != "zeros":
        raise fold.refusal(
            name, got=f"padding_mode {module.padding_mode!r}", expected="padding with zeros"
        )
    return convolve(
        x,
        name,
        module.weight,
        module.bias,
        module.stride,
        module.padding,
        module.dilation,
        module.groups,
    )


@layer.register
def _linear(module: nn.Linear, x: Signal, name: str) -> Signal:
    return project(x, name, module.weight, module.bias)


@layer.register(nn.BatchNorm1d)
@layer.register(nn.BatchNorm2d)
@layer.register(nn.BatchNorm3d)
@layer.register(nn.SyncBatchNorm)
def _batch_norm(module: nn.BatchNorm2d, x: Signal, name: str) -> Signal:
    return normalize(
        x, name, module.running_mean, module.running_var, module.weight, module.bias, module.eps
    )


@layer.register
def _avg_pool2d(module: nn.AvgPool2d, x: Signal, name: str) -> Signal:
    return average(
        x,
        name,
        module.kernel_size,
        module.stride,
        module.padding,
        module.ceil_mode,
        module.count_include_pad,
        module.divisor_override,
    )


@layer.register
def _adaptive_avg_pool2d(module: nn.AdaptiveAvgPool2d, x: Signal, name: str) -> Signal:
    return adaptive_average(x, name, module.output_size)


@layer.register(nn.Dropout)
@layer.register(nn.Dropout1d)
@layer.register(nn.Dropout2d)
@layer.register(nn.Dropout3d)
@layer.register(nn.AlphaDropout)
@layer.register(nn.FeatureAlphaDropout)
@layer.register(nn.Identity)
def _nothing(module: nn.Module, x: Signal, name: str) -> Signal:
    return x


@layer.register
def _time_weights(module: TimeWeights, x: Signal, name: str) -> Signal:
    if not x.axes or ax.labels(x.axes[0]) != "T":
        raise fold.refusal(
            name,
            got=f"time weights on {ax.describe(x.axes)}",
            expected="time as axis 0, alone",
        )
    if module.length != x.steps:
        raise wrong_length(module.length, x.steps)
    y = summed_over_time(x, to_numpy(module.weights()))
    return with_axes(y, ax.without(y.axes, 0))


@layer.register
def _flatten(module: nn.Flatten, x: Signal, name: str) -> Signal:
    return with_axes(x, ax.merged(x.axes, module.start_dim, module.end_dim))


@layer.register
def _unflatten(module: nn.Unflatten, x: Signal, name: str) -> Signal:
    sizes = [operator.index(size) for size in module.unflattened_size]  # no named axes
    return with_axes(x, ax.split(x.axes, operator.index(module.dim), sizes, name))


# --- what layers and functions share ------------------------------------------------------------


def convolve(
    x: Signal,
    name: str,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Signal:
    """A convolution, in PyTorch's terms."""
    dilation = _pair(dilation)
    if isinstance(padding, str):
        spans = [d * (k - 1) for d, k in zip(dilation, weight.shape[-2:], strict=True)]
        if padding == "same" and any(span % 2 for span in spans):
            raise fold.refusal(
                name,
                got="padding 'same' of an even kernel, which is one more on one side",
                expected="the same padding on both sides",
            )
        padding = (0, 0) if padding == "valid" else (spans[0] // 2, spans[1] // 2)
    conv = Conv2d(
        weight=to_numpy(weight),
        stride=_pair(stride),
        padding=_pair(padding),
        dilation=dilation,
        groups=groups,
    )
    own = None if bias is None else to_numpy(bias)
    if bias is not None:
        check_ungained(x, name)
    return with_value(x, fold.convolved(spatial(x, name), conv, own, name))


def project(x: Signal, name: str, weight: Any, bias: Any) -> Signal:
    """A Linear layer."""
    features = ax.feature_axes(x.axes)
    if len(features) != 1 or x.axes[-1] != features[0]:
        raise fold.refusal(
            name,
            got=f"a Linear layer on {ax.describe(x.axes)}",
            expected="all features flattened into the last axis",
        )
    x = arranged(x, name)
    own = None if bias is None else to_numpy(bias)
    if bias is not None:
        check_ungained(x, name)
    return with_value(x, fold.projected(x.value, to_numpy(weight), own, name))


def normalize(
    x: Signal, name: str, mean: Any, variance: Any, weight: Any, bias: Any, eps: float
) -> Signal:
    """A batch norm with its running statistics."""
    if mean is None or variance is None:
        raise fold.refusal(
            name,
            got="a batch norm without running statistics, which depends on the batch",
            expected="track_running_stats=True",
        )
    features = ax.feature_axes(x.axes)
    if len(x.axes) < 2 or not features or x.axes[1] != features[0]:
        raise fold.refusal(
            name, got=f"a batch norm of {ax.describe(x.axes)}", expected="channels as axis 1"
        )
    check_ungained(x, name)
    x = arranged(x, name)
    gain = 1.0 / np.sqrt(to_numpy(variance) + eps)
    if weight is not None:
        gain = gain * to_numpy(weight)
    shift = -to_numpy(mean) * gain
    if bias is not None:
        shift = shift + to_numpy(bias)
    if gain.size != x.value.shape[0]:
        raise fold.refusal(
            name, got=f"{x.value.shape[0]} channels", expected=f"{gain.size}, by its statistics"
        )
    shape = (-1,) + (1,) * (len(x.value.shape) - 1)
    scaled = fold.scaled(x.value, gain.reshape(shape), name)
    return with_value(x, fold.shifted(scaled, shift.reshape(shape)))


def average(
    x: Signal,
    name: str,
    kernel: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Signal:
    """Average pooling, in PyTorch's terms."""
    value = spatial(x, name)
    pool = SumPool(
        kernel=_pair(kernel),
        stride=_pair(kernel if stride is None else stride),
        padding=_pair(padding),
    )
    if ceil_mode and pool.output_shape(value.shape)[1:] != _ceiled(pool, value.shape):
        raise fold.refusal(
            name,
            got=f"ceil_mode with windows that reach over the edge of {ax.measured(x.axes)}",
            expected="whole windows only",
            fix="Use an input whose rows and columns the poolings divide, or change this layer.",
        )
    value = fold.averaged(value, pool, name, count_include_pad=count_include_pad, divisor=divisor)
    return with_value(x, value)


def _ceiled(pool: SumPool, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Rows and columns of the output with ceil_mode."""
    counts = []
    for size, kernel, stride, padding in zip(
        shape[1:], pool.kernel, pool.stride, pool.padding, strict=True
    ):
        count = math.ceil((size + 2 * padding - kernel) / stride) + 1
        # PyTorch leaves a window out that would begin behind the input and its first padding.
        counts.append(count - 1 if (count - 1) * stride >= size + padding else count)
    return tuple(counts)


def adaptive_average(x: Signal, name: str, output_size: Any) -> Signal:
    """Average pooling to a given size; the windows have to be equal."""
    value = spatial(x, name)
    wanted = output_size if isinstance(output_size, (tuple, list)) else (output_size, output_size)
    windows = []
    for size, given in zip(value.shape[1:], wanted, strict=True):
        count = size if given is None else int(given)
        starts = [n * size // count for n in range(count)]
        ends = [-((n + 1) * -size // count) for n in range(count)]
        kernels = {end - start for start, end in zip(starts, ends, strict=True)}
        strides = {after - before for before, after in pairwise(starts)} or {1}
        if len(kernels) > 1 or len(strides) > 1 or strides == {0}:
            raise fold.refusal(
                name, got=f"windows of unequal size ({size} into {count})", expected="equal windows"
            )
        windows.append((kernels.pop(), strides.pop()))
    (rows, down), (columns, across) = windows
    pool = SumPool(kernel=(rows, columns), stride=(down, across))
    return with_value(x, fold.averaged(value, pool, name))


def _pair(value: Any) -> Pair:
    """One number for both directions, or a number for each."""
    values = [value] if isinstance(value, int) else list(value)
    return int(values[0]), int(values[-1])
