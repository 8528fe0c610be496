"""What flows along the edges of a traced graph: affine values, and where their axes lie."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from trispike.export import axes as ax
from trispike.export import fold

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Signal:
    """A tensor of the module, as an affine value of spikes.

    The features of ``value`` are those of ``axes`` in row-major order; :func:`arranged` brings
    both to the same number of axes.
    """

    value: fold.Affine
    """What the tensor is at one time step, for one sample."""
    axes: ax.Axes
    """What the axes of the tensor hold."""
    steps: int
    """T."""
    time_weights: Array | None = None
    """(T,) once the time axis was summed away with these weights."""
    gains: Array | None = None
    """(T,) factors of the whole value, bias included, that differ from step to step."""

    @property
    def shape(self) -> torch.Size:
        """Shape of the tensor that this stands for."""
        return torch.Size(ax.sizes(self.axes))

    @property
    def in_time(self) -> bool:
        """Whether time has entered, as an axis, merged into one, or summed away."""
        return ax.holds(self.axes, "T") or self.time_weights is not None

    @property
    def step(self) -> int | None:
        """The time step whose value this is, if it is that of one."""
        if self.time_weights is None:
            return None
        (at,) = np.nonzero(self.time_weights)
        return int(at[0]) if len(at) == 1 and self.time_weights[at[0]] == 1 else None


def at_step(x: Signal, step: int) -> Signal:
    """The value at one time step of a signal without an axis of time."""
    weights = np.zeros(x.steps)
    weights[step] = 1.0
    return replace(x, time_weights=weights)


def with_axes(x: Signal, axes: ax.Axes) -> Signal:
    """The same values in other axes."""
    return replace(x, axes=axes)


def with_value(x: Signal, value: fold.Affine) -> Signal:
    """Another value, whose features take the places of the present ones."""
    return replace(x, value=value, axes=ax.with_features(x.axes, value.shape))


def arranged(x: Signal, name: str) -> Signal:
    """The signal with a value of the rank that its axes give it: (C, H, W), or flattened."""
    features = ax.feature_axes(x.axes)
    atoms = [atom.label for axis in features for atom in axis]
    rank = len(x.value.shape)
    if atoms == list(ax.FEATURES[:rank]):
        if len(features) == rank:
            return x
        if len(features) == 1:
            return with_value(x, fold.flattened(x.value))
    raise fold.refusal(
        name,
        got=f"features laid out as {ax.describe(features)}",
        expected="channels, rows, columns in this order, each on its own or all flattened",
    )


def check_ungained(x: Signal, name: str) -> None:
    """Refuse what would add a constant that has no part in the gains per time step."""
    if x.gains is not None:
        raise fold.refusal(
            name,
            got="a constant added after a gain that differs from time step to time step",
            expected="a neuron, or a sum over time, after such a gain",
            fix="Apply the gain last, as temporal effective batch normalization does.",
        )


def spatial(x: Signal, name: str) -> fold.Affine:
    """The value of a signal whose last three axes are channels, rows and columns."""
    if [ax.labels(axis) for axis in x.axes[-3:]] != list(ax.FEATURES):
        raise fold.refusal(
            name,
            got=f"an input with axes {ax.describe(x.axes)}",
            expected="channels, rows and columns as its last three axes",
        )
    return x.value


def step_gains(x: Signal, value: Any) -> Array | None:
    """A constant that has an element for each time step of x and nothing else, (T,); or None."""
    array = _array(value)
    at = ax.position(x.axes, "T")
    if at is None or x.steps == 1 or array.ndim > len(x.axes):
        return None
    shape = (1,) * (len(x.axes) - array.ndim) + array.shape
    alone = all(size == (x.steps if axis == at else 1) for axis, size in enumerate(shape))
    return array.reshape(-1) if alone else None


def _array(value: Any) -> Array:
    return to_numpy(value) if isinstance(value, torch.Tensor) else np.asarray(value, np.float64)


def summed_over_time(x: Signal, weights: Array) -> Signal:
    """The weighted sum over the axis of time, which keeps one element."""
    if x.gains is not None:
        weights = weights * x.gains
    value = replace(x.value, bias=x.value.bias * weights.sum())
    axes = tuple(() if ax.labels(axis) == "T" else axis for axis in x.axes)
    return replace(x, value=value, axes=axes, time_weights=weights, gains=None)


def constant(x: Signal, value: Any, name: str) -> Array:
    """A number or tensor as an array that broadcasts to the features of x."""
    array = _array(value)
    aligned = array.reshape((1,) * (len(x.axes) - array.ndim) + array.shape)
    by_axis = list(zip(x.axes, aligned.shape, strict=False))
    outside = any(size != 1 for axis, size in by_axis if not ax.has_features(axis))
    if aligned.ndim != len(x.axes) or outside:
        raise fold.refusal(
            name,
            got=f"a constant of shape {array.shape} for {ax.describe(x.axes)}",
            expected="one number, or one for each feature, the same for all time steps",
        )
    if array.size == 1:
        return array.reshape(())
    return aligned.reshape([size for axis, size in by_axis if ax.has_features(axis)])


def to_numpy(tensor: torch.Tensor) -> Array:
    """In float64."""
    return tensor.detach().to(torch.float64).cpu().numpy()
