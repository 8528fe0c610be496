"""Arrays inside frozen dataclasses: copied, read-only, compared by value."""

from __future__ import annotations

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


def same_values(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    """Equal dtype, shape and values; NaN never occurs in a valid network."""
    return a.dtype == b.dtype and a.shape == b.shape and bool(np.array_equal(a, b))
