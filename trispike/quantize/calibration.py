"""Calibration data that can serve: of the right shape and range, and not all alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.errors import InvalidDataError, QuantizationError
from trispike.network import FloatNetwork

Array: TypeAlias = npt.NDArray[Any]

KNOWN_DATA = "data"
"""Where the provenance of a network says which data it was converted with."""

OUT_OF_RANGE = 8.0
"""So many times larger, or smaller, than those data are: not of the same range."""


def data_facts(raw: Array, name: str) -> dict[str, Any]:
    """What a network's provenance keeps of real data that it was converted with."""
    return {"name": name, "largest": float(np.abs(np.asarray(raw, np.float64)).max(initial=0))}


def encoded_calibration(network: FloatNetwork, raw: Array) -> Array:
    """Calibration data as ``network.input.encode`` returns them, checked.

    Args:
        network: The network to be quantized.
        raw: Raw data.

    Raises:
        InvalidDataError: Of another shape, not finite, or of another range than the data that the
            network was converted with.
        QuantizationError: No samples.
    """
    encoded = network.input.encode(raw, network.steps)
    if not len(encoded):
        raise QuantizationError(
            "calibration data",
            got="no samples",
            expected="at least one, better a hundred",
            fix="Pass data like those that the network will see.",
        )
    _check_range(network, raw)
    return encoded


def check_varied(raw: Array) -> None:
    """Refuse data that cannot be real: one value throughout.

    The functions of trispike take it, for networks built by hand; the command line does not.

    Raises:
        InvalidDataError: Several values, all of them equal.
    """
    if raw.size > 1 and (raw == raw.flat[0]).all():
        raise InvalidDataError(
            "calibration data",
            got=f"{len(raw)} samples in which every value is {float(raw.flat[0]):g}",
            expected="values that differ: the range of the input is taken from them",
            fix="Pass data like those that the network will see.",
        )


def _check_range(network: FloatNetwork, raw: Array) -> None:
    known = network.provenance.get(KNOWN_DATA)
    if not isinstance(known, Mapping) or not known.get("largest"):
        return
    usual, largest = float(known["largest"]), float(np.abs(raw.astype(np.float64)).max())
    if not largest or usual / OUT_OF_RANGE <= largest <= usual * OUT_OF_RANGE:
        return
    raise InvalidDataError(
        "calibration data",
        got=f"values up to {largest:g}",
        expected=f"values up to about {usual:g}, as in the data that the network was converted "
        f"with ({known.get('name')})",
        fix=f"Multiply them by {usual / largest:.3g}, or convert the network with these data.",
    )
