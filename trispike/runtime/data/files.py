"""Data in files of a user."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.npyio import NpzFile
from safetensors.numpy import load_file

from trispike.errors import FileFormatError, InvalidDataError
from trispike.runtime.data.samples import Data


def read_data(path: Path) -> Data:
    """Data from an ``.npz``, ``.npy`` or ``.safetensors`` file.

    Raises:
        InvalidDataError: Another suffix, no array x, or y is not one integer per sample.
        FileFormatError: The file cannot be read.
    """
    arrays = _arrays(path)
    x, y = arrays.get("x"), arrays.get("y")
    if x is None or not x.ndim or x.dtype.kind not in "biuf":
        names = ", ".join(sorted(arrays)) or "none"
        raise InvalidDataError(
            f"data '{path}'",
            got=f"arrays {names}" if x is None else f"x of shape {x.shape} and dtype {x.dtype}",
            expected="an array x of samples, real numbers, and optionally y",
            fix="Save it with numpy.savez(path, x=inputs, y=labels).",
        )
    if y is not None and (y.shape != x.shape[:1] or y.dtype.kind not in "iu"):
        raise InvalidDataError(
            f"data '{path}'",
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
