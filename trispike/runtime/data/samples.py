"""What data are: inputs, and the classes that they show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Part: TypeAlias = Literal["train", "test"]
"""To learn from, or held out."""

Notify: TypeAlias = Callable[[str], None]
"""Called with what goes on, in a few words, whenever that is something else."""


class Samples(NamedTuple):
    """Inputs and what they show."""

    x: npt.NDArray[np.float32]
    """(N, C, H, W)."""
    y: npt.NDArray[np.int64]
    """(N,), class numbers."""


class Split(NamedTuple):
    """Samples to learn from, and samples that were held out."""

    train: Samples
    """Disjoint from ``test``."""
    test: Samples
    """Disjoint from ``train``."""


class Data(NamedTuple):
    """Raw data as a user named them."""

    x: npt.NDArray[Any]
    """(N, ...): inputs."""
    y: npt.NDArray[Any] | None
    """(N,): classes, if known."""
    name: str
    """Where they come from, for records and reports."""

    def first(self, samples: int | None) -> Data:
        """The first samples; all of them if None."""
        if samples is None or samples >= len(self.x):
            return self
        y = None if self.y is None else self.y[:samples]
        return Data(self.x[:samples], y, f"{self.name}, first {samples}")
