"""Writing files and folders so that they are whole or absent."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its place if the block succeeds.

    After an exception the temporary file is removed and an older ``path`` is left as it was.
    """
    final = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{final.name}.", dir=final.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes it private; a plain open would not
        temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder beside ``path`` that takes its place if the block succeeds.

    ``path`` may not exist, or be an empty folder. After an exception nothing is left.
    """
    final = Path(path)
    temporary = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.absolute().parent))
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)
        temporary.replace(final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
