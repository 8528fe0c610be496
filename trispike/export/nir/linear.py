"""Nodes between populations, composed with the affine algebra of :mod:`trispike.export.fold`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.errors import InvalidNetworkError
from trispike.export import fold
from trispike.export.nir.conventions import Convention
from trispike.export.nir.fields import Fields
from trispike.export.nir.layout import compact
from trispike.export.nir.package import nir
from trispike.network import Conv2d, SumPool
from trispike.network.connection import Shape

Array: TypeAlias = npt.NDArray[Any]

LATE = "#"
"""Stands between a source's name and the steps by which its spikes come late; no name has it."""

DELAY_TOLERANCE = 1e-6
"""Delays are times; this far, in steps, may one lie from a whole number of steps (rounding)."""


def canonical(shape: Any, fields: Fields, field: str) -> Shape:
    """A NIR shape as one of ours: (N,), or (C, H, W); (C, L) lies in one row."""
    sizes = tuple(int(n) for n in np.asarray(shape).reshape(-1))
    if len(sizes) == 2:
        sizes = (sizes[0], 1, sizes[1])
    if len(sizes) not in (1, 3) or any(n < 1 for n in sizes):
        raise fields.bad(field, f"shape {sizes}", "(N,), (C, L) or (C, H, W)")
    return sizes


def shaped(array: Array, shape: Shape, fields: Fields, field: str) -> Array:
    """Parameters in the shape of the values that they belong to; one may stand for all."""
    if array.size == 1:
        return np.asarray(array.reshape(()))
    if array.ndim == 2 and len(shape) == 3:
        array = array[:, None, :]
    if array.shape != shape:
        raise fields.bad(field, f"shape {array.shape}", f"{shape}, as what enters")
    return compact(array)


def delayed(value: fold.Affine, steps: int, fields: Fields) -> fold.Affine:
    """The value of some steps ago; zero at first."""
    if np.any(value.bias):
        raise fields.refused(
            "a bias among what is delayed",
            "a bias after the delay",
            "The bias would begin late; put the Delay before the node that adds it.",
        )
    paths = tuple(
        replace(path, sources=tuple(late(name, steps) for name in path.sources))
        for path in value.paths
    )
    return replace(value, paths=paths)


def late(source: str, steps: int) -> str:
    """The name of a source, later by some steps."""
    name, _, before = source.partition(LATE)
    total = int(before or 0) + steps
    return f"{name}{LATE}{total}" if total else name


def apply(fields: Fields, value: fold.Affine, convention: Convention) -> fold.Affine:
    """What a linear node makes of a value.

    Raises:
        FileFormatError: A field has the wrong shape or holds what it must not.
        UnsupportedError: What the node does has no exact form here.
    """
    try:
        return LINEAR[type(fields.node)](fields, value, convention)
    except InvalidNetworkError as error:
        raise fields.bad(error.subject, error.got, error.expected) from error


def _affine(fields: Fields, value: fold.Affine, convention: Convention) -> fold.Affine:
    weight = fields.array("weight")
    has_bias = isinstance(fields.node, nir.Affine)
    bias = fields.array("bias") if has_bias else None
    if weight.ndim < 2 or value.shape[-1] != weight.shape[-1]:
        raise fields.bad(
            "weight", f"shape {weight.shape} for an input of shape {value.shape}",
            "(outputs, inputs) with the inputs of what enters; Flatten (C, H, W) first",
        )  # fmt: skip
    lead = weight.shape[:-2]
    if (
        (len(lead) == 2 and value.shape[:-1] != lead)
        or len(lead) not in (0, 2)
        or (not lead and len(value.shape) != 1)
    ):
        raise fields.bad(
            "weight", f"shape {weight.shape} for an input of shape {value.shape}",
            "a matrix for (N,); Flatten what has rows and columns first",
        )  # fmt: skip
    if bias is not None:
        bias = _checked_bias(bias, (*lead, weight.shape[-2]), fields)
    if not lead:
        return fold.projected(value, weight, bias, fields.name)
    raise fields.refused(
        f"a weight of shape {weight.shape}",
        "one matrix",
        "Flatten what enters, and write the matrices as blocks of one.",
    )


def _checked_bias(bias: Array, shape: Shape, fields: Fields) -> Array:
    if bias.shape == shape:
        return bias
    if bias.size == 1:
        return np.full(shape, bias.reshape(()))
    raise fields.bad("bias", f"shape {bias.shape}", f"{shape}, by the weight")


def _conv2d(fields: Fields, value: fold.Affine, convention: Convention) -> fold.Affine:
    return _convolution(fields, value, fields.array("weight"), 2)


def _conv1d(fields: Fields, value: fold.Affine, convention: Convention) -> fold.Affine:
    weight = fields.array("weight")
    if weight.ndim == 3:
        weight = weight[:, :, None, :]
    return _convolution(fields, value, weight, 1)


def _convolution(fields: Fields, value: fold.Affine, weight: Array, axes: int) -> fold.Affine:
    if weight.ndim != 4:
        raise fields.bad(
            "weight", f"shape {weight.shape}", f"(outputs, inputs, {axes} kernel sizes)"
        )
    if len(value.shape) != 3:
        raise fields.bad("weight", f"an input of shape {value.shape}", "(C, H, W)")
    stated = fields.get("input_shape", may_be_none=True)
    if stated is not None:
        spatial = tuple(int(n) for n in np.asarray(stated).reshape(-1))
        if spatial != value.shape[3 - axes :] or (axes == 1 and value.shape[1] != 1):
            raise fields.bad("input_shape", str(spatial), f"{value.shape[3 - axes :]}, what enters")
    kernel = weight.shape[4 - axes :]
    stride = fields.integers("stride", axes, minimum=1)
    dilation = fields.integers("dilation", axes, minimum=1)
    (groups,) = fields.integers("groups", 1, minimum=1)
    padding = fields.get("padding")
    if isinstance(padding, bytes):
        padding = padding.decode("utf8")
    if isinstance(padding, str):
        padding = _named_padding(fields, padding, kernel, stride, dilation)
    else:
        padding = fields.integers("padding", axes, minimum=0)
    if axes == 1:
        stride, padding, dilation = (1, *stride), (0, *padding), (1, *dilation)
    conv = Conv2d(
        weight=weight,
        stride=(stride[0], stride[1]),
        padding=(padding[0], padding[1]),
        dilation=(dilation[0], dilation[1]),
        groups=groups,
    )
    bias = _checked_bias(fields.array("bias"), (weight.shape[0],), fields)
    if _sums(conv, value.shape) and not np.any(bias):
        # As a pooling it composes with the convolution after it, which two convolutions do not.
        window = SumPool(
            kernel=conv.kernel,
            stride=conv.stride,
            padding=conv.padding,
            dilation=conv.dilation,
        )
        return fold.averaged(value, window, fields.name, divisor=1)
    return fold.convolved(value, conv, bias if np.any(bias) else None, fields.name)


def _sums(conv: Conv2d, shape: Shape) -> bool:
    """Whether a convolution adds up windows, each channel on its own."""
    depthwise = conv.groups == shape[0] and conv.weight.shape[:2] == (shape[0], 1)
    span = [d * (k - 1) + 1 for d, k in zip(conv.dilation, conv.kernel, strict=True)]
    fits = all(2 * p <= n for p, n in zip(conv.padding, span, strict=True))
    return depthwise and fits and bool((conv.weight == 1).all())


def _named_padding(
    fields: Fields, padding: str, kernel: Shape, stride: Shape, dilation: Shape
) -> Shape:
    spans = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    if padding == "valid":
        return (0,) * len(kernel)
    if padding == "same" and all(s == 1 for s in stride) and not any(n % 2 for n in spans):
        return tuple(n // 2 for n in spans)
    raise fields.bad(
        "padding", f"{padding!r} with stride {stride} and kernel {kernel}",
        "numbers, 'valid', or 'same' with stride 1 and odd kernels",
    )  # fmt: skip


def _scale(fields: Fields, value: fold.Affine, convention: Convention) -> fold.Affine:
    gain = shaped(fields.array("scale"), value.shape, fields, "scale")
    return fold.scaled(value, gain, fields.name)


def _sum_pool(fields: Fields, value: fold.Affine, convention: Convention) -> fold.Affine:
    return fold.averaged(value, _pool(fields), fields.name, divisor=1)


def _avg_pool(fields: Fields, value: fold.Affine, convention: Convention) -> fold.Affine:
    # Zeros of the padding count, as in every tool that reads this node.
    return fold.averaged(value, _pool(fields), fields.name)


def _pool(fields: Fields) -> SumPool:
    kernel = fields.integers("kernel_size", 2, minimum=1)
    stride = fields.integers("stride", 2, minimum=1)
    padding = fields.integers("padding", 2, minimum=0)
    return SumPool(
        kernel=(kernel[0], kernel[1]),
        stride=(stride[0], stride[1]),
        padding=(padding[0], padding[1]),
    )


def _flatten(fields: Fields, value: fold.Affine, convention: Convention) -> fold.Affine:
    stated = fields.node.input_type.get("input")
    if stated is not None and canonical(stated, fields, "input_type") != value.shape:
        raise fields.bad("input_type", str(tuple(stated)), f"{value.shape}, what enters")
    (first,) = fields.integers("start_dim", 1, minimum=-4)
    (last,) = fields.integers("end_dim", 1, minimum=-4)
    rank = len(value.shape)
    begin = first - 1 if convention.flatten_counts_batch and first > 0 else first
    end = last - 1 if convention.flatten_counts_batch and last > 0 else last
    begin, end = begin % rank, end % rank
    kept = [n for axis, n in enumerate(value.shape) if not begin <= axis <= end]
    if any(n != 1 for n in kept):
        raise fields.bad(
            "start_dim", f"{first} to {last} for an input of shape {value.shape}",
            "dimensions that leave one axis (NIR counts no batch axis); --set "
            "flatten_counts_batch=true if the writer did",
        )  # fmt: skip
    return fold.flattened(value)


def _delay(fields: Fields, value: fold.Affine, convention: Convention) -> fold.Affine:
    dt = convention.time_step
    steps = np.unique(shaped(fields.array("delay"), value.shape, fields, "delay") / dt)
    count = int(np.rint(steps[0]))
    if len(steps) > 1 or abs(steps[0] - count) > DELAY_TOLERANCE or count < 0:
        raise fields.bad(
            "delay", f"{', '.join(f'{s:g}' for s in steps[:4])} steps of dt = {dt:g}",
            "the same whole number of steps for all elements",
        )  # fmt: skip
    return delayed(value, count, fields)


Apply: TypeAlias = Callable[[Fields, fold.Affine, Convention], fold.Affine]

LINEAR: dict[type, Apply] = {
    nir.Affine: _affine,
    nir.Linear: _affine,
    nir.Conv1d: _conv1d,
    nir.Conv2d: _conv2d,
    nir.Scale: _scale,
    nir.SumPool2d: _sum_pool,
    nir.AvgPool2d: _avg_pool,
    nir.Flatten: _flatten,
    nir.Delay: _delay,
}
"""What each linear node does."""
