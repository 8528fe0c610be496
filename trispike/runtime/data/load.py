"""Data by the name that a user gives."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np

from trispike.errors import InvalidSettingError
from trispike.runtime.data.digits import load_digits_split
from trispike.runtime.data.events.binning import Binning
from trispike.runtime.data.events.load import Check, is_event_data, load_events
from trispike.runtime.data.files import read_data
from trispike.runtime.data.packaged import CIFAR10, FASHION_MNIST, MNIST
from trispike.runtime.data.pixels import Pixels
from trispike.runtime.data.samples import Data, Notify, Part, Samples

_logger = logging.getLogger(__name__)


def _digits(part: Part, notify: Notify) -> Samples:
    split = load_digits_split()
    return split.train if part == "train" else split.test


def _scaled(data: Data) -> Data:
    """Bytes as numbers from 0 to 1."""
    y = None if data.y is None else data.y.astype(np.int64)
    return Data(np.divide(data.x, 255, dtype=np.float32), y, data.name)


DATA_SETS: dict[str, Callable[[Part, Notify], Samples | Pixels]] = {
    "digits": _digits,
    FASHION_MNIST.name: FASHION_MNIST.load,
    MNIST.name: MNIST.load,
    CIFAR10.name: CIFAR10.load,
}
"""Data sets by name; inputs are (N, C, H, W), 0 to 1 or bytes."""


def load_data(
    source: str,
    *,
    samples: int | None = None,
    notify: Notify | None = None,
    binning: Binning | None = None,
    check: Check | None = None,
) -> Data:
    """Data by name, from a file, or from event recordings.

    Data sets are (N, C, H, W), float32 from 0 to 1, and (N,), int64; files are taken as they are.
    Event recordings become counts, (N, T, 2, H, W), uint16, in a file without a name.

    Args:
        source: A name in :data:`DATA_SETS`, with ``:train`` for the part to learn from or
            ``:test`` (the default) for the held-out one; or a file: ``.npz`` or
            ``.safetensors`` with arrays ``x`` and, optionally, ``y``; ``.npy`` with x alone; or an
            event recording, or a folder of these.
        samples: Only the first so many; of event recordings, the classes take turns.
        notify: Called with what goes on while a data set is fetched; by default it is logged.
        binning: How event recordings become frames; needed for them, and for nothing else.
        check: Called with the frames of the first event recording, before others are read.

    Raises:
        InvalidSettingError: Neither a known name and part nor a file; the cache cannot be
            written; event recordings without binning, or with a sensor of unknown size.
        InvalidDataError: No array x in the file, y is not one integer per sample, or a folder
            does not hold event recordings.
        FileFormatError: The file cannot be read, or a cached one is damaged.
        FetchError: The data set could not be fetched, or another one came.
        MissingDependencyError: The data set needs a package or program that is not installed.
    """
    name, colon, part = source.partition(":")
    known = get_args(Part)
    if name in DATA_SETS and part in ("", *known):
        chosen: Part = "train" if part == "train" else "test"
        loaded = DATA_SETS[name](chosen, notify or _logger.info)
        data = Data(loaded.x, loaded.y, f"{name}:{chosen}").first(samples)
        # Not before: as floats, all of CIFAR-10 takes 600 MB.
        return data if isinstance(loaded, Samples) else _scaled(data)
    path = Path(source)
    if source and is_event_data(path):
        if binning is None:
            raise InvalidSettingError(
                f"data '{source}'",
                got="event recordings without a number of frames",
                expected="to know how many frames they become",
                fix="Pass binning=Binning(frames=T).",
            )
        return load_events(
            path, binning, samples=samples, notify=notify or _logger.info, check=check
        )
    if path.is_file():
        return read_data(path).first(samples)
    if name in DATA_SETS and colon:
        raise InvalidSettingError(
            f"data '{source}'",
            got=f"part {part!r}",
            expected=" or ".join(f"{name}:{each}" for each in known),
            fix="Correct the part.",
        )
    raise InvalidSettingError(
        f"data '{source}'",
        got="neither a known data set nor a file",
        expected=f"one of {', '.join(DATA_SETS)} (each with :train or :test), an .npz, .npy or "
        ".safetensors file, or event recordings",
        fix="Correct the name or the path.",
    )
