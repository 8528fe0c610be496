"""From events to frames of counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from trispike.errors import InvalidDataError, InvalidSettingError
from trispike.runtime.data.events.stream import Events, Sensor

By: TypeAlias = Literal["time", "count"]
"""Frames that last equally long, or that hold equally many events."""

BINNINGS: tuple[By, ...] = get_args(By)

COUNTS = np.dtype(np.uint16)
"""Type of a count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binning:
    """How events become frames.

    Raises:
        InvalidSettingError: A number below 1, or another way of binning.
    """

    frames: int
    """T, frames per recording."""
    by: By = "time"
    """time: every frame lasts ⌊(last − first)/T⌋ µs, and the last one takes what remains; count:
    every frame has ⌊events/T⌋ events, and the last one what remains."""
    sensor: Sensor | None = None
    """Size of the camera; None: what the format says."""

    def __post_init__(self) -> None:
        sizes = {"--frames": (self.frames,), "--sensor": self.sensor or (1, 1)}
        for name, numbers in sizes.items():
            if min(numbers) < 1:
                raise InvalidSettingError(
                    name,
                    got="x".join(map(str, numbers)),
                    expected="at least 1",
                    fix="Correct the number.",
                )
        if self.by not in BINNINGS:
            raise InvalidSettingError(
                "--bin",
                got=repr(self.by),
                expected=" or ".join(BINNINGS),
                fix="Choose one of these.",
            )


def count_frames(
    events: Events, binning: Binning, sensor: Sensor, subject: str = "events"
) -> npt.NDArray[np.uint16]:
    """Count the events of every pixel, polarity and frame.

    Args:
        events: Checked for that sensor.
        binning: How.
        sensor: Size of the camera.
        subject: Whose events they are, for errors.

    Returns:
        (T, 2, H, W): first the events that were darker, then those that were brighter.

    Raises:
        InvalidDataError: Fewer events, or microseconds, than frames, or a count above 65535.
    """
    frames, total = binning.frames, len(events)
    if binning.by == "time":
        span = int(events.t[-1] - events.t[0])
        _check_length(subject, span, "µs", binning)
        frame = np.minimum((events.t - events.t[0]) // (span // frames), frames - 1)
    else:
        _check_length(subject, total, "events", binning)
        frame = np.minimum(np.arange(total) // (total // frames), frames - 1)
    shape = (frames, 2, *sensor)
    places = np.ravel_multi_index((frame, events.p, events.y, events.x), shape)
    counts: npt.NDArray[Any] = np.bincount(places, minlength=int(np.prod(shape))).reshape(shape)
    if counts.max() > np.iinfo(COUNTS).max:
        raise InvalidDataError(
            subject,
            got=f"{counts.max()} events of one pixel in one frame",
            expected=f"at most {np.iinfo(COUNTS).max}",
            fix="Use more frames.",
        )
    return counts.astype(COUNTS)


def _check_length(subject: str, length: int, unit: str, binning: Binning) -> None:
    if length < binning.frames:
        raise InvalidDataError(
            subject,
            got=f"{length} {unit} for {binning.frames} frames",
            expected=f"at least {binning.frames} {unit}",
            fix="Use fewer frames, or leave that file out.",
        )
