"""Which event files there are, and what they show."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from trispike.errors import InvalidDataError
from trispike.runtime.data.events.tonic_reader import TONIC_SUFFIXES

SUFFIXES = (*TONIC_SUFFIXES, ".npz", ".npy")
"""Of event files in folders."""

CIFAR10_DVS = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
"""Folders of CIFAR10-DVS, in the order of their class numbers."""

Found: TypeAlias = tuple[Path, int | None]
"""An event file, and its class if that is known."""


def find_files(folder: Path) -> list[Found]:
    """The event files of a folder: class folders, or files without classes.

    Class folders are called by number (N-MNIST: ``0`` to ``9``) or as those of CIFAR10-DVS. The
    classes take turns, so that the first so many files hold all of them: the first of each class,
    then the second of each, by name, with numbers in names as numbers.

    Raises:
        InvalidDataError: No files, files of another kind, or unknown class folders.
    """
    visible = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    folders = sorted(entry for entry in visible if entry.is_dir())
    if not folders:
        return [(path, None) for path in _files(folder)]
    number = _numbering(folder, [entry.name for entry in folders])
    ranked = [
        (rank, number(entry.name), path)
        for entry in folders
        for rank, path in enumerate(_files(entry))
    ]
    return [(path, label) for _, label, path in sorted(ranked)]


def _numbering(folder: Path, names: Sequence[str]) -> Callable[[str], int]:
    if all(name.isascii() and name.isdecimal() for name in names):
        return int
    if set(names) <= set(CIFAR10_DVS):
        return CIFAR10_DVS.index
    inner = next((name for name in names if name.lower() in ("test", "train")), None)
    raise InvalidDataError(
        f"data '{folder}'",
        got="class folders " + ", ".join(names[:5]) + (", ..." if len(names) > 5 else ""),
        expected="class numbers (0, 1, ...) or the classes of CIFAR10-DVS "
        f"({', '.join(CIFAR10_DVS)})",
        fix=f"Name one part: {folder / inner}" if inner else "Call the folders by class number.",
    )


def _files(folder: Path) -> list[Path]:
    files = [path for path in folder.iterdir() if not path.name.startswith(".")]
    others = [path.name for path in files if path.suffix.lower() not in SUFFIXES]
    if others or not files:
        raise InvalidDataError(
            f"data '{folder}'",
            got=f"'{min(others)}' in it" if others else "an empty folder",
            expected=f"event files ({', '.join(SUFFIXES)})",
            fix="Move other files away." if others else "Check the path.",
        )
    return sorted(files, key=_natural)


def _natural(path: Path) -> tuple[list[tuple[int, str]], str]:
    """A key by which ``cat_2`` comes before ``cat_10``."""
    parts = re.split(r"([0-9]+)", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], path.name
