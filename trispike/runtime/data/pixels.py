"""Images and classes as bytes: the form in which data sets are verified and kept."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Pixels(NamedTuple):
    """Images and what they show."""

    x: npt.NDArray[np.uint8]
    """(N, C, H, W), contiguous."""
    y: npt.NDArray[np.uint8]
    """(N,), class numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What the pixels of a data set have to be."""

    shape: tuple[int, int, int, int]
    """(N, C, H, W)."""
    sha256: str
    """Of all images in row-major order, followed by all classes; a byte for each value."""

    def check(self, pixels: Pixels) -> None:
        """Compare.

        Raises:
            ValueError: They are others.
        """
        got = (pixels.x.shape, str(pixels.x.dtype), pixels.y.shape, str(pixels.y.dtype))
        if got != (self.shape, "uint8", self.shape[:1], "uint8"):
            raise ValueError(f"images {got[0]} {got[1]}, classes {got[2]} {got[3]}")
        sha = hashlib.sha256(pixels.x.data)
        sha.update(pixels.y.data)
        if sha.hexdigest() != self.sha256:
            raise ValueError(f"content with SHA-256 {sha.hexdigest()}")
