"""The simulated camera: what it sees of simple pictures, and the folder that it fills."""

import numpy as np
import pytest

from examples.event_recordings import CORNERS, Camera, pictures, record, write
from trispike.runtime.data.events import NMNIST_SENSOR

EXACT = Camera(mismatch=0)


def test_a_black_picture_has_no_events():
    (nothing,) = record(np.zeros((1, 28, 28)), EXACT, 0)
    assert len(nothing) == 0


def test_a_bar_moves_as_the_camera_does():
    """Row by row: events are where its two edges pass, of opposite signs."""
    image = np.zeros((1, 28, 28))
    image[0, :, 12:16] = 1
    (events,) = record(image, EXACT, 0)
    events.check("it", NMNIST_SENSOR)
    last = events.t > 2 * EXACT.saccade_us  # the third saccade: the gaze moves 7 pixels to the left
    middle = last & (events.y > 5) & (events.y < 25)
    assert (events.y[middle] != 0).all()
    brighter, darker = (np.unique(events.x[middle & (events.p == sign)]) for sign in (1, 0))
    # The bar is in columns 12..15 at last, 7 further to the left before: x = 7 + 12 - gaze.
    assert brighter.tolist() == list(range(16, 23))
    assert darker.tolist() == list(range(12, 19))


def test_the_number_of_events_is_that_of_thresholds_crossed():
    """From white to black and back: the logarithm moves by ln 11, and by as much in return."""
    camera = Camera(mismatch=0, threshold=0.5)
    image = np.zeros((1, 28, 28))
    image[0, 10, 10] = 1
    (events,) = record(image, camera, 0)
    crossed = int(np.log(1.1 / 0.1) / camera.threshold)
    at = (events.x == 17) & (events.y == 17)  # where it is at first: it leaves, and comes back
    assert (events.p[at] == 0).sum() == crossed
    assert (events.p[at] == 1).sum() in (crossed - 1, crossed)  # it ends on a threshold
    assert CORNERS[0].tolist() == CORNERS[-1].tolist() == [0, 0]


def test_events_are_in_order_and_depend_on_the_seed_only():
    images, labels = pictures("digits", "test", 3)
    assert images.shape == (3, 28, 28)
    assert labels.shape == (3,)
    first, again, other = (record(images, Camera(), seed) for seed in (0, 0, 1))
    for a, b, c in zip(first, again, other, strict=True):
        a.check("it", NMNIST_SENSOR)
        assert a.t[-1] <= 300_000
        assert 1000 < len(a) < 12_000
        assert all(np.array_equal(getattr(a, name), getattr(b, name)) for name in "txyp")
        assert not np.array_equal(a.t, c.t)


def test_images_do_not_disturb_each_other():
    images, _ = pictures("digits", "test", 2)
    both = record(images, EXACT, 0)
    for image, events in zip(images, both, strict=True):
        (alone,) = record(image[None], EXACT, 5)
        assert all(np.array_equal(getattr(alone, name), getattr(events, name)) for name in "txyp")


def test_a_folder_is_whole_or_absent(tmp_path):
    writing = write(tmp_path / "a" / "b", "digits", {"train": 3, "test": 2}, Camera())
    assert len([next(writing) for _ in range(4)]) == 4
    assert not (tmp_path / "a" / "b").exists()
    assert len(list(writing)) == 1
    files = sorted(p.relative_to(tmp_path / "a" / "b") for p in tmp_path.rglob("*.bin"))
    _, labels = pictures("digits", "test", 2)
    assert [str(p) for p in files if p.parts[0] == "Test"] == sorted(
        f"Test/{label}/{number:05d}.bin" for number, label in enumerate(labels, 1)
    )
    assert len(files) == 5
    with pytest.raises(OSError, match="not empty"):
        list(write(tmp_path / "a", "digits", {"test": 1}, Camera()))
