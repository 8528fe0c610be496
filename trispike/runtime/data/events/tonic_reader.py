"""Event files through tonic, which runs in a process of its own."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from trispike.errors import FileFormatError, MissingDependencyError
from trispike.runtime.data.events.nmnist import EVENT_BYTES
from trispike.runtime.data.events.stream import Events, Sensor

if TYPE_CHECKING:
    from types import TracebackType

TONIC_SUFFIXES = (".bin", ".aedat", ".aedat4")
"""N-MNIST; AEDAT 2 and 3; AEDAT 4."""

_NEEDED = {".aedat4": ("tonic", "aedat")}
"""By suffix, what has to be installed; tonic alone for the others."""


class TonicReader:
    """Reads files one after the other; the process starts with the first one."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._open = contextlib.ExitStack()
        self._said: IO[bytes] | None = None

    def __enter__(self) -> TonicReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def read(self, path: Path) -> tuple[Events, Sensor | None]:
        """The events of a file, and the size of the sensor where the format says it.

        Raises:
            MissingDependencyError: tonic, or what it needs for the format, is not installed.
            FileFormatError: The file is truncated, or not what its suffix says.
        """
        suffix = path.suffix.lower()
        for package in _NEEDED.get(suffix, ("tonic",)):
            if importlib.util.find_spec(package) is None:
                raise _missing(path, f"no package {package}")
        if suffix == ".bin" and (rest := path.stat().st_size % EVENT_BYTES):
            raise _unreadable(path, f"truncated: its last event has {rest} of {EVENT_BYTES} bytes")
        process = self._process or self._start(path)
        if process.stdin is None or process.stdout is None:  # They are pipes; mypy wants to know.
            raise AssertionError
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(str(path.absolute())).encode() + b"\n")
            process.stdin.flush()
        line = process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {}
        if "error" in answer:
            raise _unreadable(path, answer["error"])
        size = 4 * 8 * answer.get("events", 0)
        content = process.stdout.read(size)
        if not line or len(content) != size:
            raise _unreadable(path, f"a reader that ended: {self._last_words()}")
        t, x, y, p = np.frombuffer(content, np.int64).reshape(4, -1)
        sensor = Sensor(*answer["sensor"]) if answer["sensor"] else None
        return Events(t=t, x=x, y=y, p=p), sensor

    def _start(self, path: Path) -> subprocess.Popen[bytes]:
        said = self._open.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - closed with us
        self._said = said
        child = str(Path(__file__).with_name("child.py"))
        self._process = subprocess.Popen(
            [sys.executable, child],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
        )
        if self._process.stdout is None or self._process.stdout.readline() != b"ready\n":
            raise _missing(path, f"a tonic that does not load: {self._last_words()}")
        return self._process

    def _last_words(self) -> str:
        """What the process said last, once it ended."""
        if self._process is None or self._said is None:
            return "nothing"
        self._process.wait()
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self._process.returncode}"

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()  # It only reads, so nothing is lost.
            self._process.communicate()
            self._process = None
        self._open.close()
        self._said = None


def _missing(path: Path, got: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"event file '{path}'",
        got=got,
        expected="tonic (and aedat for .aedat4), which read it",
        fix="Install them with: pip install 'trispike[events]'",
    )


def _unreadable(path: Path, got: str) -> FileFormatError:
    return FileFormatError(
        f"event file '{path}'",
        got=got,
        expected="a whole file in the format of its suffix",
        fix="Fetch or write it again.",
    )
