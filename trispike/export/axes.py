"""Bookkeeping of axes: which axis of a tensor holds time, samples, channels, rows, columns.

Published code carries (T, N, C, H, W) or (N, T, C, H, W) tensors, merges T into the batch for the
layers that know no time, and splits it off again. An axis is therefore a tuple of atoms in
row-major order; reshaping regroups atoms and never changes their order, permuting reorders axes.

As in PyTorch, axes are counted from the end by negative numbers, and a number that names no axis
raises IndexError.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple, TypeAlias

from trispike.errors import UnsupportedError


class Atom(NamedTuple):
    """One indivisible axis."""

    label: str
    """T (time), N (samples), or C, H, W (features)."""
    size: int
    """Number of elements."""


Axis: TypeAlias = tuple[Atom, ...]
Axes: TypeAlias = tuple[Axis, ...]

FEATURES = ("C", "H", "W")


def feature_atoms(shape: Sequence[int]) -> Axes:
    """One axis for each number of a shape, (C, H, W) or (C,)."""
    return tuple(
        (Atom(label, size),) for label, size in zip(FEATURES[: len(shape)], shape, strict=True)
    )


def sizes(axes: Axes) -> tuple[int, ...]:
    """The shape of a tensor with these axes."""
    return tuple(prod(atom.size for atom in axis) for axis in axes)


def labels(axis: Axis) -> str:
    """Labels of the atoms of an axis, in order: "TN" for time merged into the batch."""
    return "".join(atom.label for atom in axis)


def describe(axes: Axes) -> str:
    """For messages: "(T*N, C, H, W)"."""
    return "(" + ", ".join("*".join(labels(axis)) or "1" for axis in axes) + ")"


def measured(axes: Axes) -> str:
    """For messages: "(T*N, C, H, W) = (388, 3, 6, 5) with N = 97"."""
    samples = [atom.size for axis in axes for atom in axis if atom.label == "N"]
    return f"{describe(axes)} = {sizes(axes)}" + (f" with N = {samples[0]}" if samples else "")


def has_features(axis: Axis) -> bool:
    """Whether an axis holds features, alone or merged with something else."""
    return any(atom.label in FEATURES for atom in axis)


def feature_axes(axes: Axes) -> Axes:
    """The axes that hold features, in order."""
    return tuple(filter(has_features, axes))


def with_features(axes: Axes, shape: Sequence[int]) -> Axes:
    """The same axes with new features, one axis for each that holds features now."""
    new = iter(feature_atoms(shape))
    return tuple(next(new) if has_features(axis) else axis for axis in axes)


def position(axes: Axes, label: str) -> int | None:
    """Which axis holds this atom and nothing else."""
    found = [n for n, axis in enumerate(axes) if labels(axis) == label]
    return found[0] if found else None


def holds(axes: Axes, label: str) -> bool:
    """Whether the atom is in any axis, alone or merged."""
    return any(atom.label == label for axis in axes for atom in axis)


def reshaped(axes: Axes, shape: Sequence[int], name: str) -> Axes:
    """Regroup the atoms into axes of the given sizes; one size may be -1.

    Raises:
        UnsupportedError: The sizes would cut an atom in two.
    """
    atoms = [atom for axis in axes for atom in axis]
    total = prod(atom.size for atom in atoms)
    known = prod(size for size in shape if size != -1)
    wanted = [total // max(1, known) if size == -1 else int(size) for size in shape]
    if prod(wanted) != total:
        raise _mixed(axes, shape, name)
    result: list[Axis] = []
    for size in wanted:
        axis: list[Atom] = []
        # An axis of one element takes an atom of one element, if that is next, or none.
        if size == 1 and atoms and atoms[0].size == 1:
            axis.append(atoms.pop(0))
        while prod(a.size for a in axis) < size and atoms:
            axis.append(atoms.pop(0))
        if prod(a.size for a in axis) != size:
            raise _mixed(axes, shape, name)
        result.append(tuple(axis))
    if atoms and result:
        result[-1] += tuple(atoms)
    return tuple(result)


def merged(axes: Axes, start: int, end: int) -> Axes:
    """Flatten axes start..end, inclusive."""
    start, end = _counted(axes, start), _counted(axes, end)
    if start > end:
        raise IndexError(f"axis {start} comes after axis {end}")
    middle = tuple(atom for axis in axes[start : end + 1] for atom in axis)
    return (*axes[:start], middle, *axes[end + 1 :])


def split(axes: Axes, axis: int, shape: Sequence[int], name: str) -> Axes:
    """Unflatten one axis."""
    axis = _counted(axes, axis)
    return (*axes[:axis], *reshaped((axes[axis],), shape, name), *axes[axis + 1 :])


def permuted(axes: Axes, order: Sequence[int]) -> Axes:
    """Reorder axes."""
    order = [_counted(axes, n) for n in order]
    if sorted(order) != list(range(len(axes))):
        raise IndexError(f"{order} is no order of {len(axes)} axes")
    return tuple(axes[n] for n in order)


def swapped(axes: Axes, a: int, b: int) -> Axes:
    """Exchange two axes."""
    order = list(range(len(axes)))
    order[a], order[b] = order[b], order[a]
    return permuted(axes, order)


def moved(axes: Axes, origin: int, to: int) -> Axes:
    """Move one axis to another place."""
    rest = list(axes)
    axis = rest.pop(origin)
    rest.insert(_counted(axes, to), axis)
    return tuple(rest)


def inserted(axes: Axes, at: int) -> Axes:
    """A new axis of one element; counted among the axes of the result."""
    at = range(len(axes) + 1)[at]
    return (*axes[:at], (), *axes[at:])


def without(axes: Axes, axis: int) -> Axes:
    """Remove an axis of one element; its atoms stay with a neighbour."""
    rest = list(axes)
    atoms = rest.pop(axis)
    before = _counted(axes, axis) - 1
    if atoms and before >= 0:
        rest[before] += atoms
    elif atoms:
        rest[0] = atoms + rest[0]
    return tuple(rest)


def _counted(axes: Axes, axis: int) -> int:
    """The same axis, counted from the front."""
    return range(len(axes))[axis]


def _mixed(axes: Axes, shape: Sequence[int], name: str) -> UnsupportedError:
    return UnsupportedError(
        f"operation {name!r}",
        got=f"a reshape of {measured(axes)} to {tuple(shape)}",
        expected="a reshape that merges or splits whole axes",
        fix="Keep time, samples, channels, rows and columns apart, in this order.",
    )
