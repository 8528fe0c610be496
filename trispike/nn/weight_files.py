"""Files of tensors, read without executing anything that they contain."""

from __future__ import annotations

import hashlib
import io
import pickle  # noqa: TID251 - for the name of an error only
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from trispike.errors import FileFormatError, UnsafeFileError

__all__ = ["WeightFile", "read_weights"]

_WRAPPERS = ("state_dict", "model_state_dict", "model")
"""What training loops call the weights where they save more than these."""

_RESAVE = (
    "Where you trust the file and have the code that it was written with, load it there and save "
    "its weights only: torch.save(model.state_dict(), 'weights.pth'), or convert them to "
    ".safetensors."
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightFile:
    """Tensors by name, and which file they were."""

    tensors: Mapping[str, Tensor]
    """As saved, but without ``module.`` in front of the names."""
    sha256: str
    """Of the whole file, hexadecimal."""


def read_weights(path: Path) -> WeightFile:
    """Read a ``.safetensors`` file, or anything else as a PyTorch file with ``weights_only``.

    Weights inside ``{"state_dict" | "model_state_dict" | "model": ...}`` are unwrapped, and the
    ``module.`` that DataParallel puts in front of names is removed.

    Raises:
        FileFormatError: The file is not there, truncated or foreign, or holds no tensors by name.
        UnsafeFileError: It would have to execute code to be read.
    """
    subject = f"file {str(path)!r}"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileFormatError(
            subject,
            got=error.strerror or str(error),
            expected="a readable file of weights",
            fix="Check the path.",
        ) from error
    if path.suffix == ".safetensors":
        loaded = _load_safetensors(subject, content)
    else:
        loaded = _load_torch(subject, content)
    tensors = _plain_names(subject, _unwrapped(subject, loaded))
    return WeightFile(tensors=tensors, sha256=hashlib.sha256(content).hexdigest())


def _load_safetensors(subject: str, content: bytes) -> Any:
    try:
        return safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise _damaged(subject, error, "a complete safetensors file") from error


def _load_torch(subject: str, content: bytes) -> Any:
    try:
        with warnings.catch_warnings():
            # What it warns of (TorchScript, old pickle protocols) fails a moment later anyway.
            warnings.simplefilter("ignore")
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # A damaged file may raise whatever a parser can raise.
        if _needs_code(error, content):
            raise UnsafeFileError(
                subject,
                got="a pickle that holds more than tensors, and would execute code to be read",
                expected="tensors by name only (torch.load with weights_only=True)",
                fix=_RESAVE,
            ) from error
        raise _damaged(subject, error, "a complete PyTorch file of weights") from error


def _needs_code(error: Exception, content: bytes) -> bool:
    if "TorchScript" in str(error):
        return True
    # An operation that PyTorch's restricted reader does not know: meant as a pickle, then it asks
    # for more than weights; not meant as one, then the file is something else altogether.
    return isinstance(error, pickle.UnpicklingError) and (
        content.startswith((b"PK", b"\x80")) or "GLOBAL" in str(error)
    )


def _damaged(subject: str, error: Exception, expected: str) -> FileFormatError:
    reason = str(error).strip().split("\n")[0].split(". ")[0] or "nothing more"
    return FileFormatError(
        subject,
        got=f"a damaged or foreign file ({type(error).__name__}: {reason})",
        expected=expected,
        fix="Copy or download the file again, and compare its size and checksum with the source's.",
    )


def _unwrapped(subject: str, loaded: Any) -> Mapping[Any, Any]:
    while isinstance(loaded, Mapping):
        inner = next((loaded[name] for name in _WRAPPERS if name in loaded), None)
        if not isinstance(inner, Mapping):
            return loaded
        loaded = inner
    raise FileFormatError(
        subject,
        got=f"a {type(loaded).__name__}",
        expected="tensors by name, or a dictionary with these under " + ", ".join(_WRAPPERS),
        fix="Save it with: torch.save(model.state_dict(), 'weights.pth')",
    )


def _plain_names(subject: str, loaded: Mapping[Any, Any]) -> dict[str, Tensor]:
    wrong = [str(key) for key, value in loaded.items() if not _is_dense(key, value)]
    if wrong or not loaded:
        raise FileFormatError(
            subject,
            got="entries that are not dense tensors: " + ", ".join(wrong) if wrong else "nothing",
            expected="tensors by name",
            fix="Save it with: torch.save(model.state_dict(), 'weights.pth')",
        )
    tensors: dict[str, Tensor] = {}
    for key, value in loaded.items():
        name = key
        while name.startswith("module."):
            name = name.removeprefix("module.")
        if name in tensors:
            raise FileFormatError(
                subject,
                got=f"two tensors {name!r}, one with 'module.' in front of its name",
                expected="every name once",
                fix="Remove one of the two.",
            )
        tensors[name] = value
    return tensors


def _is_dense(key: Any, value: Any) -> bool:
    return (
        isinstance(key, str)
        and isinstance(value, Tensor)
        and value.layout is torch.strided
        and not value.is_quantized
    )
