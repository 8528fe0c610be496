"""Units of what is quantized once per network: the input, and the weights of the time steps."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.network.network import PAYLOAD_LIMIT

Array: TypeAlias = npt.NDArray[Any]

TIME_WEIGHT_LIMIT = (1 << 15) - 1
"""Largest magnitude of an integer time weight."""


def input_scale(encoded: Array) -> float:
    """Value of one unit of the signed 8-bit input; zero always stays zero.

    Data that are whole multiples of one number already (counts, spikes, few grey levels) keep
    their values exactly.
    """
    magnitudes = np.unique(np.abs(encoded))
    magnitudes = magnitudes[magnitudes > 0]
    if not magnitudes.size:
        return 1.0
    if magnitudes[-1] <= PAYLOAD_LIMIT and (np.rint(magnitudes) == magnitudes).all():
        return 1.0
    return _common_unit(magnitudes, PAYLOAD_LIMIT) or float(magnitudes[-1] / PAYLOAD_LIMIT)


def _common_unit(magnitudes: Array, limit: int) -> float | None:
    """The largest number of which all are whole multiples, at most limit times; None without one.

    Args:
        magnitudes: Positive numbers in ascending order, with rounding errors as of float32.
        limit: Largest multiple.
    """
    largest = float(magnitudes[-1])
    unit, tolerance = largest, largest / limit * 1e-2
    if magnitudes[0] <= tolerance:
        return None
    for magnitude in map(float, magnitudes):
        a, b = magnitude, unit
        while b > tolerance:  # Euclid's algorithm
            a, b = b, abs(math.remainder(a, b))
        unit = magnitude / round(magnitude / a)  # without the errors of the remainders
        if unit * (limit + 0.5) < largest:
            return None
    multiples = magnitudes / unit
    return unit if np.allclose(multiples, np.rint(multiples), rtol=0, atol=1e-4) else None


def integer_time_weights(weights: Array) -> tuple[Array, float]:
    """Time weights as integers, exactly if they are multiples of one number, and their unit."""
    magnitudes = np.unique(np.abs(weights[weights != 0]))
    if not magnitudes.size:
        return np.zeros(weights.shape, dtype=np.int64), 1.0
    unit = _common_unit(magnitudes, TIME_WEIGHT_LIMIT)
    unit = unit or float(magnitudes[-1]) / TIME_WEIGHT_LIMIT
    return np.rint(weights / unit).astype(np.int64), unit
