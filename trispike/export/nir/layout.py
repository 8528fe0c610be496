"""Parameters in full shape, and how the network held them before they were broadcast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.errors import FileFormatError

Array: TypeAlias = npt.NDArray[Any]
Shape: TypeAlias = tuple[int, ...]


def row(shape: Shape | None, rank: int) -> list[int]:
    """A shape as one row: its rank (-1 for none), its sizes, zeros."""
    sizes = shape or ()
    return [-1 if shape is None else len(sizes), *sizes, *[0] * (rank - len(sizes))]


def layout(arrays: Mapping[str, Array], rank: int) -> Array:
    """The shapes of some arrays, one row each."""
    return np.array([row(array.shape, rank) for array in arrays.values()], dtype=np.int64)


def full(array: Array, shape: Shape) -> Array:
    """The array broadcast to a population's shape."""
    return np.ascontiguousarray(np.broadcast_to(array, shape))


def reduced(array: Array, line: Array, what: str) -> Array:
    """The inverse of :func:`full`, by a row of the layout.

    Raises:
        FileFormatError: The row is no shape, or the array holds more than it says.
    """
    rank, *sizes = (int(n) for n in np.asarray(line).reshape(-1))
    shape = tuple(sizes[:rank]) if 0 <= rank <= len(sizes) else None
    small = None
    if shape is not None and rank <= array.ndim:
        tail = array.shape[array.ndim - rank :]
        if all(n in (1, m) for n, m in zip(shape, tail, strict=True)):
            index = (0,) * (array.ndim - rank) + tuple(slice(0, n) for n in shape)
            small = np.asarray(array[index])
    if small is None or not np.array_equal(np.broadcast_to(small, array.shape), array):
        raise FileFormatError(
            what,
            got=f"an array of shape {array.shape} with the layout {[rank, *sizes]}",
            expected="a layout that says which axes the values are repeated along",
            fix="The file was edited; export the network again.",
        )
    return small


def compact(array: Array) -> Array:
    """One value for all, or one per channel (C, 1, 1), where that says the same."""
    if array.size and (array == array.flat[0]).all():
        return np.asarray(array.flat[0])
    if array.ndim == 3 and (array == array[:, :1, :1]).all():
        return array[:, :1, :1]
    return array
