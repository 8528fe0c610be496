"""Where fetched data sets are kept, and whether they are still what was written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from trispike.errors import FileFormatError, InvalidSettingError
from trispike.network.files import whole_file
from trispike.runtime.data.pixels import Content, Pixels

CACHE_VARIABLE = "TRISPIKE_CACHE"
"""Environment variable that names another folder for the cache."""


def cache_folder() -> Path:
    """``$TRISPIKE_CACHE``, else ``$XDG_CACHE_HOME/trispike``, else ``~/.cache/trispike``.

    Raises:
        InvalidSettingError: Nothing is set, and there is no home.
    """
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).absolute()
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if base.is_absolute():  # The specification of that variable says to ignore a relative path.
        return base / "trispike"
    try:
        return Path.home() / ".cache" / "trispike"
    except RuntimeError as error:
        raise _bad_cache("~/.cache/trispike", error) from error


@contextlib.contextmanager
def writable_cache() -> Iterator[Path]:
    """The cache's folder, made if need be, for a block that writes to it.

    Raises:
        InvalidSettingError: It cannot be written, or its disk is full.
    """
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    except (OSError, SafetensorError) as error:
        raise _bad_cache(folder, error) from error


def read_cached(path: Path, content: Content) -> Pixels | None:
    """What :func:`write_cached` wrote, or None if there is nothing.

    Raises:
        FileFormatError: The file is not what was written; it is removed.
    """
    if not path.exists():
        return None
    try:
        arrays = load_file(path)
        pixels = Pixels(arrays["x"], arrays["y"])
        content.check(pixels)
    except Exception as error:  # A damaged file may raise whatever a parser can raise.
        with contextlib.suppress(OSError):  # Perhaps the folder can only be read.
            path.unlink()
        raise FileFormatError(
            f"cached data '{path}'",
            got=str(error),
            expected=f"content with SHA-256 {content.sha256}",
            fix="The file was damaged and is removed; the same command fetches the data again.",
        ) from error
    return pixels


def write_cached(path: Path, pixels: Pixels) -> None:
    """Write the file, whole or not at all, whoever else writes it at the same time."""
    with whole_file(path) as temporary:
        save_file(pixels._asdict(), temporary)


def _bad_cache(folder: Path | str, error: Exception) -> InvalidSettingError:
    return InvalidSettingError(
        f"cache folder '{folder}'",
        got=str(error),
        expected="a folder that can be written, with room for the data",
        fix=f"Set {CACHE_VARIABLE} to such a folder.",
    )
