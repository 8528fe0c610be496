"""How arrays lie in the fast engine: channels last, time first.

A population of shape (C, H, W) is E = H*W*C neurons in that order, and one of shape (N,) is itself:
what belongs to one channel repeats with period C, and convolutions like it that way.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Shape: TypeAlias = tuple[int, ...]

BLOCK = 512
"""Neurons whose state is kept in the cache together; about so many."""


def laid_out(shape: Shape) -> Shape:
    """(C, H, W) to (H, W, C); (N,) to itself."""
    return (*shape[1:], shape[0]) if len(shape) == 3 else shape


def to_layout(array: Array, axes: int) -> Array:
    """(..., *shape) to (..., *layout), contiguous; ``axes`` come before the shape."""
    if array.ndim - axes == 3:
        array = np.moveaxis(array, axes, -1)
    return np.ascontiguousarray(array)


def from_layout(array: Array, shape: Shape) -> Array:
    """(..., E) to (..., *shape), a view."""
    lead = array.shape[:-1]
    spread = array.reshape(*lead, *laid_out(shape))
    return np.moveaxis(spread, -1, len(lead)) if len(shape) == 3 else spread


def order(shape: Shape) -> Array:
    """(E,): the row-major index of every neuron, in the order of the layout."""
    return to_layout(np.arange(math.prod(shape)).reshape(shape), 0).reshape(-1)


def period(values: Array, shape: Shape) -> int:
    """After how many neurons a parameter repeats: 1, the channels, or all of them."""
    if values.size == 1:
        return 1
    per_channel = len(shape) == 3 and values.ndim == 3 and values.size == values.shape[0]
    return shape[0] if per_channel else math.prod(shape)


def rows(values: list[Array], shape: Shape, dtype: npt.DTypeLike, columns: int) -> Array:
    """Parameters as (len(values), columns) in layout; ``columns`` as :func:`columns_for` says."""
    size = math.prod(shape)
    result = np.empty((len(values), columns), dtype)
    for row, value in zip(result, values, strict=True):
        flat = to_layout(np.broadcast_to(value, shape), 0).reshape(-1)
        row[:] = flat if columns == size else np.resize(flat, columns)
    return result


def columns_for(values: list[Array], shape: Shape) -> int:
    """How many columns hold parameters of a population: a block of them, or all neurons."""
    size = math.prod(shape)
    longest = max(period(value, shape) for value in values)
    if longest > BLOCK and longest == size:
        return size
    return min(size, longest * -(-BLOCK // longest))
