"""The state of a fine-tuning in a file, so that a later run goes on where one was interrupted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from trispike.errors import FileFormatError, InvalidSettingError
from trispike.network import Network, digest
from trispike.network.files import whole_file

__all__ = ["Progress", "fingerprint", "load_best", "read", "write"]

States: TypeAlias = dict[str, Any]

FORMAT = "trispike fine-tuning"
VERSION = 1
FIX = "Name another file, or delete this one to begin anew."


@dataclass(kw_only=True)
class Progress:
    """How far a fine-tuning has come."""

    epoch: int = 1
    """The one that is running, or would run next."""
    batch: int = 0
    """Batches of it that are done."""
    loss_sum: float = 0.0
    """Of these, over samples."""
    seconds: float = 0.0
    """Spent in this epoch."""
    recent_loss: float | None = None
    """Running mean over the last batches."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """Of every finished epoch, the start included, as JSON."""
    best: dict[str, Tensor] = field(default_factory=dict)
    """State of the module at the best epoch."""


def fingerprint(
    settings: Mapping[str, Any], networks: tuple[Network, ...], tensors: tuple[Tensor, ...]
) -> str:
    """SHA-256 of everything that decides how a fine-tuning goes."""
    found = hashlib.sha256(json.dumps(dict(settings), sort_keys=True).encode())
    for network in networks:
        found.update(digest(network).encode())
    for tensor in tensors:
        found.update(str(tuple(tensor.shape)).encode())
        found.update(tensor.cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def write(path: Path, mark: str, module: States, optimizer: States, progress: Progress) -> None:
    """Write a checkpoint, whole or not at all."""
    state = {
        "format": FORMAT,
        "version": VERSION,
        "fingerprint": mark,
        "module": module,
        "optimizer": optimizer,
        "progress": dict(vars(progress)),
    }
    with whole_file(path) as part:
        torch.save(state, part)


def _load(path: Path) -> States:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["format"] == FORMAT and state["version"] == VERSION:
            return dict(state)
        got = f"format {state['format']!r}, version {state['version']!r}"
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - a damaged file may raise whatever a parser can
        got = f"unreadable content ({type(error).__name__})"
    raise FileFormatError(
        f"file '{path}'", got=got, expected="a checkpoint of trispike finetune", fix=FIX
    )


def read(path: Path, mark: str) -> tuple[States, States, Progress]:
    """States of module and optimizer, and the progress.

    Raises:
        FileFormatError: No such checkpoint.
        InvalidSettingError: One of another fine-tuning.
    """
    state = _load(path)
    if state["fingerprint"] != mark:
        raise InvalidSettingError(
            f"checkpoint '{path}'",
            got="one of other networks, data or settings",
            expected="one of this fine-tuning",
            fix=FIX,
        )
    return state["module"], state["optimizer"], Progress(**state["progress"])


def load_best(path: Path) -> dict[str, Tensor]:
    """State of the module at the best epoch of any fine-tuning.

    Raises:
        FileFormatError: No such checkpoint.
        FileNotFoundError: No such file.
    """
    state = _load(path)
    best: dict[str, Tensor] = state["progress"]["best"]
    return best
