"""What an event camera saw: pixels that became brighter or darker, in order of time."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from trispike.errors import FileFormatError


class Sensor(NamedTuple):
    """Size of a camera in pixels."""

    height: int
    """Rows: y is less."""
    width: int
    """Columns: x is less."""

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Events:
    """Events of one file, (N,) each, int64."""

    t: npt.NDArray[np.int64]
    """Microseconds since any moment, never decreasing."""
    x: npt.NDArray[np.int64]
    """Column, from the left."""
    y: npt.NDArray[np.int64]
    """Row, from the top."""
    p: npt.NDArray[np.int64]
    """Polarity: 1 brighter, 0 darker."""

    def __post_init__(self) -> None:
        for field in fields(self):
            array = np.asarray(getattr(self, field.name)).astype(np.int64)
            object.__setattr__(self, field.name, array)

    def __len__(self) -> int:
        return len(self.t)

    def check(self, subject: str, sensor: Sensor) -> None:
        """Refuse what no camera of that size can have written.

        Args:
            subject: Whose events they are, for errors.
            sensor: Size of the camera.

        Raises:
            FileFormatError: No events, time that goes back, pixels outside of the sensor, or
                polarities other than 0 and 1.
        """
        if not len(self):
            raise _bad(subject, "no events", "at least one", "Leave that file out.")
        if (back := _first(np.diff(self.t) < 0)) is not None:
            raise _bad(
                subject,
                f"time that goes back from {self.t[back]} to {self.t[back + 1]} µs "
                f"at event {back + 1}",
                "events in order of time",
                "Sort them by time and save them as .npz with t, x, y and p, if that is right.",
            )
        outside = (self.x < 0) | (self.x >= sensor.width) | (self.y < 0)
        if (at := _first(outside | (self.y >= sensor.height))) is not None:
            raise _bad(
                subject,
                f"event {at} at x = {self.x[at]}, y = {self.y[at]}",
                f"pixels of a sensor of {sensor} (height x width)",
                "Give the size of the sensor: --sensor HxW.",
            )
        if (at := _first((self.p != 0) & (self.p != 1))) is not None:
            raise _bad(
                subject,
                f"polarity {self.p[at]} of event {at}",
                "0 or 1",
                "Save darker as 0 and brighter as 1.",
            )


def _first(bad: npt.NDArray[Any]) -> int | None:
    return int(bad.argmax()) if bad.any() else None


def _bad(subject: str, got: str, expected: str, fix: str) -> FileFormatError:
    return FileFormatError(subject, got=got, expected=expected, fix=fix)
