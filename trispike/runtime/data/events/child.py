"""Reads event files with tonic, in a process of its own.

tonic is under the GPL 3 and loads PyTorch, and its decoder of AEDAT 4 is compiled code, which a
damaged file might bring down: none of this must happen to the caller. Nothing of trispike is
imported here.

Every line of the standard input is a path, as JSON. The answer is a line of JSON, either
``{"error": ...}`` or ``{"events": N, "sensor": [height, width] or null}`` and after it the rows t,
x, y and p, each N int64.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Callable
from typing import Any

del sys.path[0]  # the folder of this file, whose modules are not meant to be found by their names
out = sys.stdout.buffer
sys.stdout = sys.stderr  # for whatever wants to print

import numpy as np  # noqa: E402
from tonic import io  # noqa: E402

Found = tuple[list[Any], tuple[int, int] | None]
"""Rows t, x, y and p, and the height and width of the sensor where the format says them."""

_DVS128 = (128, 128)
_NMNIST_SENSOR = (34, 34)
_PACKET = struct.Struct("<HHIIIIII")
"""AEDAT 3: type, source, size of events, offset of times, overflows, capacity, number, valid."""

_NMNIST = np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])


def read_bin(path: str) -> Found:
    """N-MNIST."""
    events = io.read_mnist_file(path, _NMNIST)
    return [events[name] for name in "txyp"], _NMNIST_SENSOR


def read_aedat(path: str) -> Found:
    """AEDAT 2 of a DVS128, as CIFAR10-DVS was published, and AEDAT 3."""
    version, start, _ = io.read_aedat_header_from_file(path)
    if version >= 3:
        _check_packets(path, start)
    elif (os.path.getsize(path) - start) % 8:  # noqa: PTH202
        raise ValueError("truncated: its last event has less than 8 bytes")
    raw = io.get_aer_events_from_file(path, version, start)
    address, t = (raw[name].astype(np.int64) for name in ("address", "timeStamp"))
    if version >= 3:
        return [t, address >> 17 & 0x7FFF, address >> 2 & 0x7FFF, address >> 1 & 1], None
    # As SpikingJelly turns them. tonic's own read_dvs_128, which does not, fails in tonic 1.7.
    rows = [t, 127 - (address >> 8 & 127), 127 - (address >> 1 & 127), 1 - (address & 1)]
    return rows, _DVS128


def _check_packets(path: str, start: int) -> None:
    """Refuse what tonic would read as if it were polarity events."""
    size = os.path.getsize(path)  # noqa: PTH202
    with open(path, "rb") as file:  # noqa: PTH123
        while start < size:
            file.seek(start)
            head = file.read(_PACKET.size)
            if len(head) < _PACKET.size:
                raise ValueError("truncated within the header of a packet")
            kind, _, event_size, _, overflow, capacity, _, _ = _PACKET.unpack(head)
            if (kind, event_size, overflow) != (1, 8, 0):
                raise ValueError(
                    f"a packet of type {kind} with {event_size} bytes per event and "
                    f"{overflow} overflows of the clock, where polarity events are read "
                    "(type 1, 8 bytes, none)"
                )
            start += _PACKET.size + capacity * event_size
    if start > size:
        raise ValueError(f"truncated: {start - size} bytes of its last packet are missing")


def read_aedat4(path: str) -> Found:
    """AEDAT 4, which says the size of the sensor."""
    import aedat  # noqa: PLC0415

    streams = aedat.Decoder(path).id_to_stream()
    events = [stream for _, stream in sorted(streams.items()) if stream["type"] == "events"]
    if not events:
        raise ValueError("no stream of events")
    found = io.read_aedat4(path)
    names = found.dtype.names  # t, x, y, and on or p
    return [found[name] for name in names[:4]], (events[0]["height"], events[0]["width"])


READERS: dict[str, Callable[[str], Found]] = {
    ".bin": read_bin,
    ".aedat": read_aedat,
    ".aedat4": read_aedat4,
}


def main() -> None:
    """Answer until the input ends."""
    for line in sys.stdin:
        path = json.loads(line)
        answer: dict[str, Any] = {}
        content = b""
        try:
            rows, sensor = READERS[os.path.splitext(path)[1].lower()](path)  # noqa: PTH122
        except Exception as error:  # noqa: BLE001 - the caller says what is wrong with the file
            answer = {"error": f"{type(error).__name__}: {error}"}
        else:
            events = np.stack([np.asarray(row).astype(np.int64) for row in rows])
            answer, content = {"events": events.shape[1], "sensor": sensor}, events.tobytes()
        out.write(json.dumps(answer).encode() + b"\n" + content)
        out.flush()


if __name__ == "__main__":
    out.write(b"ready\n")
    out.flush()
    main()
