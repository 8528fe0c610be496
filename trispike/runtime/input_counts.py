"""What the data brought, which a ledger does not hold: elements of the input, by time step."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.network import Network

Counts: TypeAlias = npt.NDArray[np.int64]

_BATCH = 256
"""Samples that are encoded at once."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InputCounts:
    """What the data brought, which the ledger does not hold; arrays are (T,), over samples."""

    positive: Counts
    """Elements that are 1."""
    negative: Counts
    """Elements that are -1."""
    graded: Counts
    """Elements outside {-1, 0, 1}."""
    magnitude: npt.NDArray[np.float64]
    """Sum of absolute values, in the units of the normalized data."""

    @property
    def events(self) -> Counts:
        """Elements that are not zero."""
        return self.positive + self.negative + self.graded

    def merged(self, other: InputCounts) -> InputCounts:
        """Of both sets of samples; the same number of time steps."""
        return InputCounts(
            **{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        )


def input_counts(network: Network, data: npt.NDArray[Any]) -> InputCounts:
    """Count the elements of the data that a network receives.

    Args:
        network: The network.
        data: Raw data of all samples, as :meth:`trispike.network.Input.encode` takes them.

    Raises:
        InvalidDataError: The data do not fit the network.
    """
    rows = np.zeros((4, network.steps))
    unit = network.input.scale if network.input.encoding != "spikes" else None
    for first in range(0, len(data), _BATCH):
        encoded = network.input.encode(data[first : first + _BATCH], network.steps)
        direct = network.input.encoding == "direct"
        flat = encoded.reshape(len(encoded), 1 if direct else network.steps, -1)
        plus, minus, all_of_it = (
            np.count_nonzero(found, axis=(0, 2)) for found in (flat == 1, flat == -1, flat)
        )
        size = np.abs(flat).sum(axis=(0, 2)) * (unit or 1.0)
        rows += np.stack([plus, minus, all_of_it - plus - minus, size])
    positive, negative, graded = rows[:3].astype(np.int64)
    return InputCounts(positive=positive, negative=negative, graded=graded, magnitude=rows[3])
