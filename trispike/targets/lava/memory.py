"""Arrays that forked processes share.

They lie in anonymous mappings, which have no name and no file: the kernel frees them when the
last process that maps them ends, however it ends.
"""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
import numpy.typing as npt


class AnonymousMemory:
    """What Lava's channels need of a shared memory: its buffer."""

    def __init__(self, size: int) -> None:
        self._map = mmap.mmap(-1, max(1, size))
        self.buf = memoryview(self._map)
        """The bytes, shared by every process that is forked from now on."""

    def close(self) -> None:
        """Nothing: the mapping goes with the last array that looks into it."""


def shared_zeros(shape: tuple[int, ...] | int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An array of zeros that forked processes share; pages are taken when first written."""
    shape = (shape,) if isinstance(shape, int) else shape
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    return np.frombuffer(AnonymousMemory(size).buf, np.uint8, size).view(dtype).reshape(shape)


def shared_copy(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A copy of an array that forked processes share."""
    shared = shared_zeros(array.shape, array.dtype)
    shared[...] = array
    return shared
