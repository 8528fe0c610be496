"""Simulated event recordings: pictures of digits, looked at by a camera that moves in saccades.

    python -m examples.event_recordings out/simulated-nmnist --train 4000 --test 1000

writes recordings of MNIST in the layout and binary format of N-MNIST (`Train/0/00001.bin`, ...), so
that what reads one reads the other. **They are simulated**: no event camera was involved, and they
are not N-MNIST. `--source digits` takes the digits of scikit-learn instead, which need no network.

The camera of 34x34 pixels makes the three saccades of N-MNIST, 100 ms each, along a triangle of
7 x 7 pixels. A pixel remembers the logarithm of the brightness at its last event; whenever that
has changed by its threshold, it fires, up or down. Thresholds differ a little from pixel to pixel.
There is no noise, no refractory time, and no limit of the bandwidth.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trispike.network.files import whole_folder
from trispike.runtime.data import load_data
from trispike.runtime.data.events import NMNIST_SENSOR, Events, write_nmnist

Array = npt.NDArray[np.float64]

CORNERS = np.array([[0, 0], [7, 3.5], [0, 7], [0, 0]])
"""(y, x): where the saccades begin and end, in pixels."""

TOGETHER = 256
"""Images that are simulated at a time."""


@dataclass(frozen=True, kw_only=True)
class Camera:
    """What decides which events there are."""

    threshold: float = 0.5
    """Change of the logarithm of the brightness that makes an event."""
    mismatch: float = 0.05
    """Standard deviation of the thresholds from pixel to pixel."""
    dark: float = 0.1
    """Brightness of black, where white has 1 more."""
    step_us: int = 1000
    """Time between two looks at the picture, in µs; events between them are spread evenly."""
    saccade_us: int = 100_000
    """Duration of a saccade, in µs."""


def record(images: Array, camera: Camera, seed: int) -> list[Events]:
    """Look at images.

    Args:
        images: (N, 28, 28), 0 to 1.
        camera: How.
        seed: Of the thresholds.

    Returns:
        The events of each image, in order of time.
    """
    random = np.random.default_rng(seed)
    thresholds = random.normal(camera.threshold, camera.mismatch, (len(images), *NMNIST_SENSOR))
    thresholds = np.maximum(thresholds, camera.threshold / 4)
    times = np.arange(0, 3 * camera.saccade_us + 1, camera.step_us)
    padded = np.pad(images, ((0, 0), (7, 7), (7, 7)))
    remembered = np.log(camera.dark + _view(padded, _gaze(0, camera)))
    found: list[list[npt.NDArray[np.int64]]] = []
    for time in times[1:]:
        seen = np.log(camera.dark + _view(padded, _gaze(int(time), camera)))
        fired = np.trunc((seen - remembered) / thresholds).astype(np.int64)
        remembered += fired * thresholds
        found.append(_events(fired, int(time), camera))
    image, t, x, y, p = np.concatenate(found, axis=1)
    order = np.lexsort((t, image))
    image, t, x, y, p = (row[order] for row in (image, t, x, y, p))
    edges = np.searchsorted(image, np.arange(len(images) + 1))
    return [
        Events(t=t[part], x=x[part], y=y[part], p=p[part])
        for part in map(slice, edges[:-1], edges[1:])
    ]


def _gaze(time: int, camera: Camera) -> Array:
    """(y, x) of the camera, which begins and ends each saccade slowly."""
    saccade = min(time // camera.saccade_us, 2)
    share = (1 - np.cos(np.pi * (time / camera.saccade_us - saccade))) / 2
    return CORNERS[saccade] + share * (CORNERS[saccade + 1] - CORNERS[saccade])


def _view(padded: Array, gaze: Array) -> Array:
    """(N, 34, 34): the sensor's part of (N, 42, 42), between pixels the mean weighted by area."""
    (y, x), (dy, dx) = gaze.astype(int), gaze % 1
    height, width = NMNIST_SENSOR
    corner = [
        [padded[:, y + i : y + i + height, x + j : x + j + width] for j in (0, 1)] for i in (0, 1)
    ]
    top, bottom = ((1 - dx) * left + dx * right for left, right in corner)
    return (1 - dy) * top + dy * bottom


def _events(fired: npt.NDArray[np.int64], time: int, camera: Camera) -> npt.NDArray[np.int64]:
    """Rows image, t, x, y, p of the events of one step; a pixel may fire several times."""
    image, y, x = np.nonzero(fired)
    times = np.abs(fired[image, y, x])
    image, y, x, total = (np.repeat(row, times) for row in (image, y, x, times))
    nth = np.arange(len(total)) - np.repeat(np.cumsum(times) - times, times) + 1
    t = time - camera.step_us + camera.step_us * nth // (total + 1)
    return np.stack([image, t, x, y, (fired[image, y, x] > 0).astype(np.int64)])


def pictures(source: str, part: str, count: int) -> tuple[Array, npt.NDArray[np.int64]]:
    """The first images of a data set as (N, 28, 28), and their classes."""
    data = load_data(f"{source}:{part}", samples=count)
    x = data.x[:, 0].astype(np.float64)
    if source == "digits":  # 8x8: as 24x24, with a border
        x = np.pad(x.repeat(3, axis=1).repeat(3, axis=2), ((0, 0), (2, 2), (2, 2)))
    if data.y is None:
        raise AssertionError  # these data sets have classes
    return x, data.y


def write(
    folder: Path, source: str, counts: dict[str, int], camera: Camera, seed: int = 0
) -> Iterator[int]:
    """Write recordings as N-MNIST lays them out; whole or not at all.

    Args:
        folder: To be made: ``Train`` and ``Test``, in these a folder per class.
        source: ``mnist`` or ``digits``.
        counts: Recordings of ``train`` and of ``test``.
        camera: What decides which events there are.
        seed: Of the camera's thresholds.

    Yields:
        The number of events of each recording, as it is written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(folder) as parts:
        for part, count in counts.items():
            images, labels = pictures(source, part, count)
            for first in range(0, len(images), TOGETHER):
                chunk = slice(first, first + TOGETHER)
                events = record(images[chunk], camera, seed + first)
                for number, (one, label) in enumerate(zip(events, labels[chunk], strict=True)):
                    target = parts / part.title() / str(label)
                    target.mkdir(parents=True, exist_ok=True)
                    write_nmnist(one, target / f"{first + number + 1:05d}.bin")
                    yield len(one)


def main() -> None:
    """Write them, and say how many events they have."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path, help="to be made")
    parser.add_argument("--source", choices=["mnist", "digits"], default="mnist")
    parser.add_argument("--train", type=int, default=4000, help="recordings to learn from")
    parser.add_argument("--test", type=int, default=1000, help="held-out recordings")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    counts = {"train": given.train, "test": given.test}
    events = list(write(given.folder, given.source, counts, Camera(), given.seed))
    print(
        f"wrote {len(events)} simulated recordings to {given.folder}: "
        f"{min(events)} to {max(events)} events each, {np.mean(events):.0f} on average"
    )


if __name__ == "__main__":
    main()
