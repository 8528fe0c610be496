"""Data sets as NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib.npyio import NpzFile
from safetensors.numpy import load_file

from trispike.errors import (
    FileFormatError,
    InvalidDataError,
    InvalidSettingError,
    MissingDependencyError,
)

__all__ = [
    "DATA_SETS",
    "DIGITS_SPLIT_SEED",
    "DIGITS_TEST_FRACTION",
    "Data",
    "Samples",
    "Split",
    "load_data",
    "load_digits_split",
]

DIGITS_SPLIT_SEED = 2026
"""Seed of the fixed split of the digits."""

DIGITS_TEST_FRACTION = 0.2
"""Share of every class that is held out: 359 of 1797 samples."""


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


def load_digits_split() -> Split:
    """scikit-learn's handwritten digits, 8x8, in a fixed split stratified by class.

    Inputs are (N, 1, 8, 8) in steps of 1/16 from 0 to 1. The split depends on
    ``DIGITS_SPLIT_SEED`` only: of every class, a shuffled fifth is held out.

    Raises:
        MissingDependencyError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits  # noqa: PLC0415 - optional
    except ImportError as error:
        raise MissingDependencyError(
            "data set 'digits'",
            got=str(error),
            expected="scikit-learn, which brings it",
            fix="Install it with: pip install scikit-learn",
        ) from error
    x, y = load_digits(return_X_y=True)
    x = (x.reshape(-1, 1, 8, 8) / 16).astype(np.float32)
    y = y.astype(np.int64)
    # The legacy generator, because NumPy promises that its stream never changes.
    random = np.random.RandomState(DIGITS_SPLIT_SEED)
    test = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        members = random.permutation(np.flatnonzero(y == label))
        test[members[: round(DIGITS_TEST_FRACTION * len(members))]] = True
    return Split(Samples(x[~test], y[~test]), Samples(x[test], y[test]))


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


def _digits(part: str) -> Samples:
    split = load_digits_split()
    return split.train if part == "train" else split.test


DATA_SETS: dict[str, Callable[[str], Samples]] = {"digits": _digits}
"""Data sets by name; called with the part, "train" or "test"."""


def load_data(source: str) -> Data:
    """Data by name or from a file.

    Args:
        source: ``digits`` (the held-out part) or ``digits:train``; or a file: ``.npz`` or
            ``.safetensors`` with arrays ``x`` and, optionally, ``y``; ``.npy`` with x alone.

    Raises:
        InvalidSettingError: Neither a known name nor a file.
        InvalidDataError: No array x in the file, or y is not one integer per sample.
        FileFormatError: The file cannot be read.
        MissingDependencyError: The data set needs a package that is not installed.
    """
    name, _, part = source.partition(":")
    if name in DATA_SETS and part in ("", "train", "test"):
        samples = DATA_SETS[name](part or "test")
        return Data(samples.x, samples.y, f"{name}:{part or 'test'}")
    path = Path(source)
    if not path.is_file():
        raise InvalidSettingError(
            f"data '{source}'",
            got="neither a known data set nor a file",
            expected=", ".join(f"{n} or {n}:train" for n in DATA_SETS)
            + ", or an .npz, .npy or .safetensors file",
            fix="Correct the name or the path.",
        )
    arrays = _arrays(path)
    x, y = arrays.get("x"), arrays.get("y")
    if x is None or not x.ndim or x.dtype.kind not in "biuf":
        names = ", ".join(sorted(arrays)) or "none"
        raise InvalidDataError(
            f"data '{source}'",
            got=f"arrays {names}" if x is None else f"x of shape {x.shape} and dtype {x.dtype}",
            expected="an array x of samples, real numbers, and optionally y",
            fix="Save it with numpy.savez(path, x=inputs, y=labels).",
        )
    if y is not None and (y.shape != x.shape[:1] or y.dtype.kind not in "iu"):
        raise InvalidDataError(
            f"data '{source}'",
            got=f"x of shape {x.shape}, y of shape {y.shape} and dtype {y.dtype}",
            expected="y to be one integer class per sample of x",
            fix="Check how the file was written.",
        )
    return Data(x, y, path.name)


def _arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        # The content decides which of the two NumPy formats a file has, whatever its name says.
        if path.suffix in (".npy", ".npz"):
            with path.open("rb") as file:  # np.load itself leaves damaged files open
                loaded = np.load(file, allow_pickle=False)
                if isinstance(loaded, NpzFile):
                    return {name: loaded[name] for name in loaded.files}
                return {"x": loaded}
        if path.suffix == ".safetensors":
            return load_file(path)
    except Exception as error:  # A damaged file may raise whatever a parser can raise.
        raise FileFormatError(
            f"data '{path}'",
            got=f"unreadable content ({type(error).__name__}: {error})",
            expected="arrays of numbers, in the format that the suffix states",
            fix="Write the file again; arrays of Python objects are never read.",
        ) from error
    raise InvalidDataError(
        f"data '{path}'",
        got=f"suffix {path.suffix!r}",
        expected=".npz, .npy or .safetensors",
        fix="Save it with numpy.savez(path, x=inputs, y=labels).",
    )
