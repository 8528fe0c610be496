"""Fields of frozen dataclasses: arrays copied, read-only, compared by value; checked numbers."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import numpy.typing as npt

from trispike.errors import InvalidNetworkError


def frozen_array(value: Any, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """A read-only, contiguous copy of ``value`` as ``dtype``, refused if that changes a value.

    Raises:
        InvalidNetworkError: ``value`` is not numeric, or its numbers do not survive the cast
            (a fraction into an integer type, 300 into int8).
    """
    source = np.asarray(value)
    if source.dtype.kind not in "biuf":
        raise InvalidNetworkError(
            "array",
            got=f"dtype {source.dtype}",
            expected=f"numbers that fit {np.dtype(dtype)}",
            fix="Pass a NumPy array or a number.",
        )
    array = source if source.dtype == dtype else _exact_cast(source, np.dtype(dtype))
    array = np.array(array, order="C", copy=True)
    array.setflags(write=False)
    return array


def _exact_cast(source: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    with np.errstate(invalid="ignore", over="ignore"):
        array = source.astype(dtype)
    if dtype.kind in "iu" and not np.array_equal(array, source):
        wrong = source.reshape(-1)[np.flatnonzero(array.reshape(-1) != source.reshape(-1))[0]]
        raise InvalidNetworkError(
            "array",
            got=f"the value {wrong}",
            expected=f"integers in the range of {dtype}",
            fix="Round and clip before building the object.",
        )
    return array


def fits_shape(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether an array of one shape broadcasts to the other."""
    try:
        return np.broadcast_shapes(shape, target) == target
    except ValueError:
        return False


def whole_number(what: str, value: Any, low: int, high: int) -> int:
    """``value`` as an int, whatever integer type it had.

    Raises:
        InvalidNetworkError: Not an integer in ``low..high``.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or not low <= number <= high:
        raise InvalidNetworkError(
            what,
            got=repr(value),
            expected=f"an integer in {low}..{high}",
            fix="Choose a value in this range.",
        )
    return number


def check_type(what: str, value: Any, *types: type) -> None:
    """Raise InvalidNetworkError unless ``value`` is an instance of one of the types."""
    if not isinstance(value, types):
        raise InvalidNetworkError(
            what,
            got=f"a {type(value).__name__}",
            expected=" or ".join(t.__name__ for t in types),
            fix="Build the part before the whole.",
        )


def same_values(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    """Equal dtype, shape and values; NaN never occurs in a valid network."""
    return a.dtype == b.dtype and a.shape == b.shape and bool(np.array_equal(a, b))
