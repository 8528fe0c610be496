"""The binary format of N-MNIST, to write."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from trispike.errors import InvalidDataError
from trispike.network.files import whole_file
from trispike.runtime.data.events.stream import Events, Sensor

NMNIST_SENSOR = Sensor(34, 34)

EVENT_BYTES = 5
"""x, y, and 24 bits of which the first is the polarity and the others are the time in µs."""

_LARGEST = Sensor(240, 256)
"""y = 240 means that the clock overflowed."""


def write_nmnist(events: Events, path: str | os.PathLike[str]) -> None:
    """Write a file of N-MNIST (``.bin``): 5 bytes per event.

    Raises:
        FileFormatError: The events are not in order, or of pixels that the format cannot say.
        InvalidDataError: A time beyond 23 bits (8.4 s).
    """
    subject = f"events for '{path}'"
    events.check(subject, _LARGEST)
    if events.t[0] < 0 or events.t[-1] >= 1 << 23:
        raise InvalidDataError(
            subject,
            got=f"times from {events.t[0]} to {events.t[-1]} µs",
            expected="0 to 8388607 µs, which is what the format holds",
            fix="Shift the times, or cut the recording.",
        )
    low = (events.p << 23) | events.t
    content = np.stack([events.x, events.y, low >> 16, low >> 8 & 255, low & 255], axis=1)
    with whole_file(path) as temporary:
        Path(temporary).write_bytes(content.astype(np.uint8).tobytes())
