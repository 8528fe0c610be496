"""The functions of torch and methods of tensors that fold, by name.

Each takes the name for messages and then what PyTorch's own takes, under PyTorch's names. An
argument that is not listed here is refused, and so are numbers that do not fit: by TypeError,
ValueError or IndexError, which the caller turns into an error that names the place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import torch

from trispike.export import axes as ax
from trispike.export import fold
from trispike.export.layers import adaptive_average, average, convolve, normalize, project
from trispike.export.signals import (
    Array,
    Signal,
    arranged,
    check_ungained,
    constant,
    step_gains,
    summed_over_time,
    with_axes,
)

Operation: TypeAlias = Callable[..., Any]

OPERATIONS: dict[str, Operation] = {}
"""By the name of the torch function or tensor method."""

COMBINING = frozenset(
    ("add", "iadd", "add_", "sub", "isub", "sub_", "mul", "imul", "mul_", "stack", "to", "type_as")
)
"""Operations that take more than one signal, or one that is not the first argument."""


def in_place(name: str) -> bool:
    """Whether an operation changes its first argument."""
    return name.endswith("_") or name in ("iadd", "isub", "imul", "itruediv")


def _operation(*names: str) -> Callable[[Operation], Operation]:
    def register(function: Operation) -> Operation:
        OPERATIONS.update(dict.fromkeys(names, function))
        return function

    return register


# --- arithmetic ---------------------------------------------------------------------------------


@_operation("add", "iadd", "add_")
def _add(name: str, input: Any, other: Any, *, alpha: float = 1.0) -> Signal:
    if isinstance(input, Signal) and isinstance(other, Signal):
        return _sum_of_two(name, input, _times(name, other, alpha))
    x, added = (input, other) if isinstance(input, Signal) else (other, input)
    if alpha != 1:
        raise ValueError("alpha with a constant")
    check_ungained(x, name)
    shift = constant(x, added, name)
    if shift.size > 1:
        x = arranged(x, name)
    return replace(x, value=fold.shifted(x.value, shift))


def _sum_of_two(name: str, a: Signal, b: Signal) -> Signal:
    if not _same_array(a.time_weights, b.time_weights):
        summed = _sum_of_steps(a, b)
        if summed is not None:
            return summed
        raise fold.refusal(
            name,
            got="a sum of signals that hold different time steps",
            expected="signals of all time steps, or averaged over time in the same way",
            fix="Add them before time is averaged or selected.",
        )
    if not _same_array(a.gains, b.gains):
        raise fold.refusal(
            name,
            got="a sum of signals with different gains per time step",
            expected="the same gains, or none",
            fix="Apply the gain to the sum.",
        )
    if a.axes != b.axes and a.shape == b.shape:
        # Flattened features may still be known as channels, rows and columns in one of the two.
        a, b = arranged(a, name), arranged(b, name)
        if a.steps == 1 and _without_time(a.axes) == _without_time(b.axes):
            # For one time step, time may be an axis of one element without a name.
            a = with_axes(a, b.axes) if ax.holds(b.axes, "T") else a
            b = with_axes(b, a.axes)
    if a.axes != b.axes:
        raise fold.refusal(
            name,
            got=f"a sum of {ax.measured(a.axes)} and {ax.measured(b.axes)}",
            expected="equal axes",
        )
    return replace(a, value=fold.added(a.value, b.value, name))


def _sum_of_steps(a: Signal, b: Signal) -> Signal | None:
    """The sum of one signal at different time steps, as a loop over time adds it up; or None."""
    if a.time_weights is None or b.time_weights is None:
        # What is the same at every step is so at this one, too.
        static, other = (a, b) if a.time_weights is None else (b, a)
        if static.in_time or other.step is None:
            return None
        return _sum_of_two("+", replace(static, time_weights=other.time_weights), other)
    without = (replace(x.value, bias=np.zeros(())) for x in (a, b))
    if a.axes != b.axes or not fold.same(*without):
        return None
    value = replace(a.value, bias=a.value.bias + b.value.bias)
    return replace(a, value=value, time_weights=a.time_weights + b.time_weights)


def _same_array(a: Array | None, b: Array | None) -> bool:
    return a is b if a is None or b is None else np.array_equal(a, b)


def _without_time(axes: ax.Axes) -> ax.Axes:
    return tuple(tuple(atom for atom in axis if atom.label != "T") for axis in axes)


@_operation("sub", "isub", "sub_")
def _subtract(name: str, input: Any, other: Any) -> Signal:
    return _add(name, input, _times(name, other, -1.0) if isinstance(other, Signal) else -other)


@_operation("neg")
def _negate(name: str, input: Signal) -> Signal:
    return _times(name, input, -1.0)


@_operation("mul", "imul", "mul_")
def _multiply(name: str, input: Any, other: Any) -> Signal:
    if isinstance(input, Signal) and isinstance(other, Signal):
        raise fold.refusal(
            name,
            got="a product of two signals (as in SEW-AND, IAND and attention)",
            expected="sums of signals, and products with constants",
            fix="Train with addition (SEW-ADD).",
        )
    x, factor = (input, other) if isinstance(input, Signal) else (other, input)
    return _times(name, x, factor)


def _times(name: str, x: Signal, factor: Any) -> Signal:
    gains = step_gains(x, factor)
    if gains is not None and np.ptp(gains):
        return replace(x, gains=gains if x.gains is None else x.gains * gains)
    gain = constant(x, factor, name) if gains is None else gains[0].reshape(())
    if gain.size > 1:
        x = arranged(x, name)
    return replace(x, value=fold.scaled(x.value, gain, name))


@_operation("truediv", "itruediv", "div", "div_")
def _divide(name: str, input: Signal, other: Any) -> Signal:
    return _times(name, input, 1.0 / other)


# --- layers -------------------------------------------------------------------------------------


@_operation("conv2d")
def _conv2d(
    name: str,
    input: Signal,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Signal:
    return convolve(input, name, weight, bias, stride, padding, dilation, groups)


@_operation("linear")
def _linear(name: str, input: Signal, weight: Any, bias: Any = None) -> Signal:
    return project(input, name, weight, bias)


@_operation("batch_norm")
def _batch_norm(
    name: str,
    input: Signal,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Signal:
    if training:
        raise fold.refusal(
            name,
            got="a batch norm with training=True, which depends on the batch",
            expected="running statistics",
        )
    return normalize(input, name, running_mean, running_var, weight, bias, eps)


@_operation("avg_pool2d")
def _avg_pool2d(
    name: str,
    input: Signal,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Signal:
    return average(
        input, name, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


@_operation("adaptive_avg_pool2d")
def _adaptive_avg_pool2d(name: str, input: Signal, output_size: Any) -> Signal:
    return adaptive_average(input, name, output_size)


@_operation("dropout", "dropout1d", "dropout2d", "dropout3d")
def _dropout(
    name: str, input: Signal, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Signal:
    if training:
        raise fold.refusal(
            name,
            got="dropout with training=True, its default",
            expected="training=self.training, or nn.Dropout",
        )
    return input


# --- axes ---------------------------------------------------------------------------------------


@_operation("reshape", "view")
def _reshape(name: str, input: Signal, *shape: Any) -> Signal:
    return with_axes(input, ax.reshaped(input.axes, _numbers(shape), name))


@_operation("flatten")
def _flatten(name: str, input: Signal, start_dim: int = 0, end_dim: int = -1) -> Signal:
    return with_axes(input, ax.merged(input.axes, start_dim, end_dim))


@_operation("unflatten")
def _unflatten(name: str, input: Signal, dim: int, sizes: Sequence[int]) -> Signal:
    return with_axes(input, ax.split(input.axes, dim, _numbers(sizes), name))


@_operation("permute")
def _permute(name: str, input: Signal, *dims: Any) -> Signal:
    return with_axes(input, ax.permuted(input.axes, _numbers(dims)))


@_operation("transpose", "swapaxes", "swapdims")
def _transpose(name: str, input: Signal, dim0: int, dim1: int) -> Signal:
    return with_axes(input, ax.swapped(input.axes, dim0, dim1))


@_operation("movedim", "moveaxis")
def _movedim(name: str, input: Signal, source: int, destination: int) -> Signal:
    return with_axes(input, ax.moved(input.axes, source, destination))


@_operation("unsqueeze")
def _unsqueeze(name: str, input: Signal, dim: int) -> Signal:
    return with_axes(input, ax.inserted(input.axes, dim))


@_operation("squeeze")
def _squeeze(name: str, input: Signal, dim: Any = None) -> Signal:
    if dim is None:
        raise ValueError("every axis of one element; state which one")
    axes = input.axes
    for axis in reversed(_axes(input, dim)):
        if input.shape[axis] == 1:
            axes = ax.without(axes, axis)
    return with_axes(input, axes)


@_operation("repeat", "tile")
def _repeat(name: str, input: Signal, *repeats: Any) -> Signal:
    """Only one thing may be repeated: what does not depend on time, T times."""
    counts = _numbers(repeats)
    counts = [1] * (len(input.axes) - len(counts)) + counts
    axes = ((),) * (len(counts) - len(input.axes)) + input.axes
    return _in_time(name, input, axes, [n for n, count in enumerate(counts) if count != 1], counts)


@_operation("expand")
def _expand(name: str, input: Signal, *size: Any) -> Signal:
    wanted = _numbers(size)
    axes = ((),) * (len(wanted) - len(input.axes)) + input.axes
    present = ax.sizes(axes)
    changed = [
        n for n, (old, new) in enumerate(zip(present, wanted, strict=True)) if new not in (-1, old)
    ]
    if any(present[n] != 1 for n in changed):
        raise ValueError(f"axes of {present} to {tuple(wanted)}")
    return _in_time(name, input, axes, changed, wanted)


def _in_time(
    name: str, x: Signal, axes: ax.Axes, repeated: list[int], counts: Sequence[int]
) -> Signal:
    """Time as the slow part of the one axis that is repeated."""
    if not repeated:
        return with_axes(x, axes)
    if len(repeated) > 1 or counts[repeated[0]] != x.steps or x.in_time:
        raise fold.refusal(
            name,
            got=f"{ax.measured(axes)} repeated to {tuple(counts)}",
            expected=f"one repetition: of the static input, T = {x.steps} times",
        )
    (at,) = repeated
    timed = (ax.Atom("T", x.steps), *axes[at])
    return with_axes(x, (*axes[:at], timed, *axes[at + 1 :]))


@_operation("stack")
def _stack(name: str, tensors: Sequence[Any], dim: int = 0) -> Signal:
    first = tensors[0]
    if isinstance(first, Signal) and first.step is not None:
        return _stack_of_steps(name, tensors, dim)
    if any(t is not first for t in tensors) or len(tensors) != first.steps:
        raise fold.refusal(
            name,
            got=f"a stack of {len(tensors)} tensors that are not all the same, or not T of them",
            expected="the static input, stacked T times",
        )
    axes = ax.inserted(first.axes, dim)
    at = range(len(axes))[dim]
    counts = [1] * at + [first.steps] + [1] * (len(axes) - at - 1)
    return _in_time(name, first, axes, [at] if first.steps > 1 else [], counts)


def _stack_of_steps(name: str, tensors: Sequence[Any], dim: int) -> Signal:
    """What a loop over time has collected, as one signal with an axis of time."""
    first = tensors[0]
    steps = [t.step if isinstance(t, Signal) else None for t in tensors]
    ordered = steps == list(range(first.steps))
    if not ordered or not all(
        t.axes == first.axes and fold.same(t.value, first.value) for t in tensors
    ):
        raise fold.refusal(
            name,
            got=f"a stack of {len(tensors)} tensors, of time steps {steps}",
            expected=f"the same tensor of every time step, 0 to {first.steps - 1} in this order",
            fix="Collect it once per time step, and state as many steps as the loop has.",
        )
    axes = ax.inserted(first.axes, dim)
    at = range(len(axes))[dim]
    timed = (*axes[:at], (ax.Atom("T", first.steps),), *axes[at + 1 :])
    return replace(first, axes=timed, time_weights=None)


# --- time ---------------------------------------------------------------------------------------


@_operation("mean")
def _mean(name: str, input: Signal, dim: Any = None, keepdim: bool = False) -> Signal:
    axes = _axes(input, dim)
    reduced = sorted(ax.labels(input.axes[axis]) for axis in axes)
    if reduced not in (["T"], ["H", "W"], ["H", "T", "W"]):
        raise fold.refusal(
            name,
            got=f"a mean over {reduced or 'everything'} of {ax.describe(input.axes)}",
            expected="a mean over time, over rows and columns, or over the three",
        )
    y = adaptive_average(input, name, 1) if "H" in reduced else input
    if "T" in reduced:
        y = summed_over_time(y, np.full(input.steps, 1.0 / input.steps))
    return y if keepdim else _squeeze(name, y, axes)


@_operation("sum")
def _sum(name: str, input: Signal, dim: Any = None, keepdim: bool = False) -> Signal:
    axes = _axes(input, dim)
    reduced = [ax.labels(input.axes[axis]) for axis in axes]
    if reduced != ["T"]:
        raise fold.refusal(
            name,
            got=f"a sum over {reduced or 'everything'} of {ax.describe(input.axes)}",
            expected="a sum over time",
        )
    y = summed_over_time(input, np.ones(input.steps))
    return y if keepdim else _squeeze(name, y, axes)


@_operation("select")
def _select(name: str, input: Signal, dim: int, index: int) -> Signal:
    axis = range(len(input.axes))[dim]
    return _getitem(name, input, (*(slice(None),) * axis, index))


@_operation("getitem")
def _getitem(name: str, input: Signal, index: Any) -> Signal:
    parts = list(index) if isinstance(index, tuple) else [index]
    if any(part is Ellipsis for part in parts):
        at = next(n for n, part in enumerate(parts) if part is Ellipsis)
        given = sum(part is not None for part in parts) - 1
        parts[at : at + 1] = [slice(None)] * (len(input.axes) - given)
    y, axis = input, 0
    for part in parts:
        if part is None:
            y = with_axes(y, ax.inserted(y.axes, axis))
            axis += 1
        elif isinstance(part, slice) and part == slice(None):
            axis += 1
        elif type(part) is int and ax.labels(y.axes[axis]) == "T":
            weights = np.zeros(y.steps)
            weights[part] = 1.0
            y = _squeeze(name, summed_over_time(y, weights), axis)
        else:
            raise fold.refusal(
                name,
                got=f"the selection {index} of {ax.describe(input.axes)}",
                expected="one time step, by its number",
            )
    return y


# --- what changes nothing -----------------------------------------------------------------------


@_operation("contiguous", "clone", "detach", "cpu", "double")
def _same(name: str, input: Signal, *, memory_format: Any = None) -> Signal:
    return input


@_operation("to")
def _to(
    name: str,
    input: Signal,
    *targets: Any,
    dtype: Any = None,
    device: Any = None,
    non_blocking: bool = False,
    copy: bool = False,
    memory_format: Any = None,
) -> Signal:
    """Any device, but one arithmetic."""
    for target in (*targets, dtype):
        kind = getattr(target, "dtype", target)
        if isinstance(kind, torch.dtype):
            _type(name, input, kind)
    return input


@_operation("type")
def _type(name: str, input: Signal, dtype: Any) -> Signal:
    if dtype != torch.float64:
        raise fold.refusal(
            name,
            got=f"a cast to {dtype}",
            expected="one arithmetic throughout; the proof runs in float64",
            fix="Cast the data before they enter the module, or to the dtype of a weight.",
        )
    return input


@_operation("float")
def _float(name: str, input: Signal) -> Signal:
    return _type(name, input, torch.float32)


@_operation("type_as")
def _type_as(name: str, input: Signal, other: Any) -> Signal:
    return _to(name, input, other)


def _axes(x: Signal, dim: Any) -> list[int]:
    """One axis or several, sorted and counted from the front."""
    given = () if dim is None else (dim,) if isinstance(dim, int) else dim
    return sorted({range(len(x.axes))[axis] for axis in given})


def _numbers(values: Sequence[Any]) -> list[int]:
    """Sizes or axes, given one by one or as one sequence."""
    if len(values) == 1 and isinstance(values[0], (list, tuple)):
        values = values[0]
    return [int(value) for value in values]
