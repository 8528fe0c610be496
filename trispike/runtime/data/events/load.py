"""Event files as count frames, one by one, in an array that lies on the disk."""

from __future__ import annotations

import contextlib
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.errors import FileFormatError, InvalidDataError
from trispike.runtime.data.cache import writable_cache
from trispike.runtime.data.events.binning import COUNTS, Binning, count_frames
from trispike.runtime.data.events.folder import find_files
from trispike.runtime.data.events.stream import Events, Sensor
from trispike.runtime.data.events.tonic_reader import TONIC_SUFFIXES, TonicReader
from trispike.runtime.data.samples import Data, Notify

Check: TypeAlias = Callable[[npt.NDArray[Any]], None]
"""Takes the frames of the first file, (1, T, 2, H, W), and raises if they do not fit."""

NAMES = ("t", "x", "y", "p")
"""Arrays of an ``.npz``, or fields of an ``.npy``."""

_EVERY = 50
"""Files between two remarks."""


def is_event_data(path: Path) -> bool:
    """Whether that is a folder, or a file of events rather than of frames."""
    if path.is_dir() or path.suffix.lower() in TONIC_SUFFIXES:
        return path.exists()
    if path.suffix not in (".npz", ".npy"):
        return False
    # A damaged file may raise whatever a parser can raise; whoever reads it says what is wrong.
    with contextlib.suppress(Exception), path.open("rb") as file:
        if file.read(2) == b"PK":
            with zipfile.ZipFile(file) as archive:
                return {f"{name}.npy" for name in NAMES} <= set(archive.namelist())
        file.seek(0)
        header = np.lib.format
        version = header.read_magic(file)  # type: ignore[no-untyped-call]
        first = version == (1, 0)
        read = header.read_array_header_1_0 if first else header.read_array_header_2_0
        _, _, dtype = read(file)  # type: ignore[no-untyped-call]
        return set(NAMES) <= set(dtype.names or ())
    return False


def load_events(
    path: Path,
    binning: Binning,
    *,
    samples: int | None = None,
    notify: Notify,
    check: Check | None = None,
) -> Data:
    """Count frames of a folder of event files, or of one file.

    The frames are written to a file in the cache's folder that has no name and goes when they are
    no longer used: in memory there is one recording, and whatever part of the frames is at work.

    Args:
        path: The folder or file.
        binning: How events become frames.
        samples: Only the first so many files; the classes take turns.
        notify: Called with what goes on.
        check: Called with the first frames, before the rest is read.

    Returns:
        x (N, T, 2, H, W), uint16; y (N,), int64, or None without class folders.

    Raises:
        InvalidDataError: No event files, unknown class folders, files of several sensors, or too
            few events for the frames.
        FileFormatError: A file is damaged, or its events are not those of the sensor.
        MissingDependencyError: tonic is not installed.
        InvalidSettingError: The size of the sensor is not known, or the cache cannot be written.
    """
    found = find_files(path) if path.is_dir() else [(path, None)]
    name = (
        path.name if samples is None or samples >= len(found) else f"{path.name}, first {samples}"
    )
    found = found[:samples]
    with TonicReader() as reader:
        first, sensor = _frames(found[0][0], binning, reader)
        if check is not None:
            check(first[None])
        x = _on_disk((len(found), *first.shape))
        x[0] = first
        for number, (file, _) in enumerate(found[1:], 1):
            if number % _EVERY == 0:
                notify(f"reading events: {number} of {len(found)} files ...")
            x[number], _ = _frames(file, binning, reader, sensor)
    labels = [label for _, label in found]
    y = None if None in labels else np.array(labels, np.int64)
    return Data(x, y, f"{name} ({binning.frames} frames by {binning.by})")


def _frames(
    path: Path, binning: Binning, reader: TonicReader, known: Sensor | None = None
) -> tuple[npt.NDArray[np.uint16], Sensor]:
    subject = f"event file '{path}'"
    events, sensor = _read(path, reader)
    sensor = binning.sensor or sensor
    if sensor is None or (known is not None and sensor != known):
        raise InvalidDataError(
            subject,
            got="no size of the sensor" if sensor is None else f"a sensor of {sensor}",
            expected="one, as the format does not say it"
            if known is None
            else f"{known}, as before",
            fix="Give it: --sensor HxW.",
        )
    events.check(subject, sensor)
    return count_frames(events, binning, sensor, subject), sensor


def _read(path: Path, reader: TonicReader) -> tuple[Events, Sensor | None]:
    if path.suffix.lower() in TONIC_SUFFIXES:
        return reader.read(path)
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            t, x, y, p = (np.asarray(loaded[name]) for name in NAMES)
        if any(
            a.shape != t.shape or a.ndim != 1 or a.dtype.kind not in "biu" for a in (t, x, y, p)
        ):
            raise ValueError("t, x, y and p that are not whole numbers, one each per event")
    except Exception as error:  # A damaged file may raise whatever a parser can raise.
        raise FileFormatError(
            f"event file '{path}'",
            got=f"unreadable content ({type(error).__name__}: {error})",
            expected="t (µs), x, y and p (0 or 1): arrays in an .npz, fields of an .npy",
            fix="Write it again with numpy.savez(path, t=t, x=x, y=y, p=p).",
        ) from error
    return Events(t=t, x=x, y=y, p=p), None


def _on_disk(shape: tuple[int, ...]) -> npt.NDArray[np.uint16]:
    with writable_cache() as cache, tempfile.TemporaryFile(dir=cache) as file:
        # Reserved, because writing to a mapped file on a full disk would end the process.
        os.posix_fallocate(file.fileno(), 0, int(np.prod(shape)) * COUNTS.itemsize)
        return np.memmap(file, COUNTS, "r+", shape=shape)
