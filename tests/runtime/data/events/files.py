"""Event files in every format that is read, written by other code than trispike's."""

from __future__ import annotations

import struct
from pathlib import Path

import flatbuffers
import numpy as np

from trispike.runtime.data.events import Events


def random_events(seed: int = 0, count: int = 500, height: int = 34, width: int = 34) -> Events:
    """In order of time, from microsecond 7 on, several at the same time among them."""
    random = np.random.default_rng(seed)
    t = 7 + np.sort(random.integers(0, 300_000, count))
    t[count // 2] = t[count // 2 - 1]
    x, y, p = (random.integers(0, end, count) for end in (width, height, 2))
    return Events(t=t, x=x, y=y, p=p)


def write_bin(events: Events, path: Path) -> None:
    """N-MNIST, from the description of the format, bit by bit."""
    bits = "".join(
        f"{x:08b}{y:08b}{p:01b}{t:023b}"
        for t, x, y, p in zip(events.t, events.x, events.y, events.p, strict=True)
    )
    path.write_bytes(int("1" + bits, 2).to_bytes(len(bits) // 8 + 1, "big")[1:])


def write_aedat2(events: Events, path: Path) -> None:
    """As CIFAR10-DVS was published: addresses of a DVS128, mirrored in x and y, 1 is darker."""
    with path.open("wb") as file:
        file.write(b"#!AER-DAT2.0\r\n# This is a raw AE data file\r\n# created for a test\r\n")
        for t, x, y, p in zip(events.t, events.x, events.y, events.p, strict=True):
            file.write(struct.pack(">II", (127 - x) << 8 | (127 - y) << 1 | (1 - p), t))


def write_aedat3(events: Events, path: Path, per_packet: int = 100, kind: int = 1) -> None:
    """AEDAT 3.1 in packets of polarity events."""
    with path.open("wb") as file:
        file.write(b"#!AER-DAT3.1\r\n#Format: RAW\r\n#!END-HEADER\r\n")
        for first in range(0, len(events), per_packet):
            part = slice(first, first + per_packet)
            rows = [
                struct.pack("<II", x << 17 | y << 2 | p << 1 | 1, t)
                for t, x, y, p in zip(
                    events.t[part], events.x[part], events.y[part], events.p[part], strict=True
                )
            ]
            n = len(rows)
            file.write(struct.pack("<HHIIIIII", kind, 1, 8, 4, 0, n, n, n) + b"".join(rows))


_INFO = """<dv version="2.0"><node name="outInfo" path="/mainloop/Recorder/outInfo/">
<node name="0" path="/mainloop/Recorder/outInfo/0/">
<attr key="compression" type="string">NONE</attr>
<attr key="originalModuleName" type="string">capture</attr>
<attr key="originalOutputName" type="string">events</attr>
<attr key="typeDescription" type="string">Array of events (polarity ON/OFF).</attr>
<attr key="typeIdentifier" type="string">EVTS</attr>
<node name="info" path="/mainloop/Recorder/outInfo/0/info/">
<attr key="sizeX" type="int">{width}</attr><attr key="sizeY" type="int">{height}</attr>
</node></node></node></dv>"""


def write_aedat4(events: Events, path: Path, height: int, width: int) -> None:
    """AEDAT 4 without compression, in one packet."""
    header = flatbuffers.Builder(1024)
    info = header.CreateString(_INFO.format(width=width, height=height))
    header.StartObject(3)
    header.PrependInt32Slot(0, 0, 1)  # no compression
    header.PrependInt64Slot(1, -1, 0)  # no table of the packets
    header.PrependUOffsetTRelativeSlot(2, info, 0)
    header.FinishSizePrefixed(header.EndObject(), b"IOHE")

    packet = flatbuffers.Builder(1024)
    packet.StartVector(16, len(events), 8)
    rows = list(zip(events.t, events.x, events.y, events.p, strict=True))
    for t, x, y, p in reversed(rows):
        packet.Prep(8, 16)
        packet.Pad(3)
        packet.PrependBool(bool(p))
        packet.PrependInt16(int(y))
        packet.PrependInt16(int(x))
        packet.PrependInt64(int(t))
    elements = packet.EndVector()
    packet.StartObject(1)
    packet.PrependUOffsetTRelativeSlot(0, elements, 0)
    packet.FinishSizePrefixed(packet.EndObject(), b"EVTS")
    content = bytes(packet.Output())
    with path.open("wb") as file:
        file.write(b"#!AER-DAT4.0\r\n" + bytes(header.Output()))
        file.write(struct.pack("<ii", 0, len(content)) + content)
