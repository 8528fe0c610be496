"""A folder of event files as data: which files, which classes, and frames on the disk."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from tests.runtime.data.events.files import random_events
from trispike.errors import FileFormatError, InvalidDataError, InvalidSettingError
from trispike.runtime.data import Binning, Sensor, load_data
from trispike.runtime.data.events import Events, count_frames
from trispike.runtime.data.events.folder import CIFAR10_DVS

SENSOR = Sensor(34, 34)
BINNING = Binning(frames=10, sensor=SENSOR)


def save(path: Path, events: Events) -> Path:
    """As SpikingJelly keeps events (.npz), or as tonic's arrays are saved (.npy)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: getattr(events, name) for name in "txyp"}
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        rows = np.empty(len(events), [("x", "<i2"), ("y", "<i2"), ("t", "<i8"), ("p", "?")])
        for name, array in arrays.items():
            rows[name] = array
        np.save(path, rows)
    return path


@pytest.fixture
def folder(tmp_path):
    """Three recordings of class 2, one of class 10, and one of class 0; seeds in their names."""
    for name in ("2/a_1", "2/a_10", "2/a_2", "10/x_3", "0/y_4"):
        save(tmp_path / "events" / f"{name}.npz", random_events(int(name.split("_")[1])))
    (tmp_path / "events" / ".hidden").mkdir()
    (tmp_path / "events" / "0" / ".DS_Store").touch()
    (tmp_path / "events" / "readme.txt").touch()  # beside class folders: as after unpacking
    return tmp_path / "events"


def test_classes_take_turns_and_frames_are_those_of_each_file(folder):
    data = load_data(str(folder), binning=BINNING)
    assert data.y is not None
    assert data.y.tolist() == [0, 2, 10, 2, 2]
    assert data.name == "events (10 frames by time)"
    for frames, seed in zip(data.x, (4, 1, 3, 2, 10), strict=True):
        np.testing.assert_array_equal(frames, count_frames(random_events(seed), BINNING, SENSOR))


def test_the_first_samples(folder):
    (folder / "10" / "x_3.npz").write_bytes(b"")  # is not looked at
    data = load_data(str(folder), samples=2, binning=BINNING)
    assert (data.x.shape, data.name) == (
        (2, 10, 2, 34, 34),
        "events, first 2 (10 frames by time)",
    )
    assert data.y is not None
    assert data.y.tolist() == [0, 2]


def test_classes_of_cifar10_dvs(tmp_path):
    for name in ("truck", "cat"):
        save(tmp_path / "e" / name / "1.npy", random_events())
    data = load_data(str(tmp_path / "e"), binning=BINNING)
    assert data.y is not None
    assert data.y.tolist() == [3, 9]
    assert len(CIFAR10_DVS) == 10


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_one_file_and_files_without_classes(suffix, tmp_path):
    path = save(tmp_path / "e" / f"one{suffix}", random_events(5))
    for source in (path, path.parent):
        data = load_data(str(source), binning=BINNING)
        assert data.y is None
        assert data.x.shape == (1, 10, 2, 34, 34)


def test_frames_are_on_the_disk_and_gone_afterwards(folder, cache):
    data = load_data(str(folder), binning=BINNING)
    assert isinstance(data.x, np.memmap)
    data.x[0, 0, 0, 0, 0] = 9  # they are ours
    assert cache.is_dir()
    assert not list(cache.iterdir())  # without a name


def test_memory_does_not_grow_with_the_recordings(tmp_path):
    for number in range(40):
        save(tmp_path / "e" / str(number % 10) / f"{number}.npz", random_events(number))
    peaks = []
    for samples in (2, 40):
        tracemalloc.start()
        load_data(str(tmp_path / "e"), samples=samples, binning=BINNING)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 30 * 10 * 2 * 34 * 34  # half a byte per count that was added


def test_the_first_frames_are_checked_before_others_are_read(folder):
    (folder / "10" / "x_3.npz").write_bytes(b"")

    def check(first):
        assert first.shape == (1, 10, 2, 34, 34)
        raise InvalidDataError("it", got="a", expected="b", fix="c")

    with pytest.raises(InvalidDataError, match="it: got a"):
        load_data(str(folder), binning=BINNING, check=check)


def test_what_goes_on_is_told(tmp_path):
    for number in range(51):
        save(tmp_path / "e" / f"{number}.npz", random_events(count=30))
    said: list[str] = []
    load_data(str(tmp_path / "e"), binning=BINNING, notify=said.append)
    assert said == ["reading events: 50 of 51 files ..."]


def test_without_a_number_of_frames(folder):
    with pytest.raises(InvalidSettingError, match="event recordings without a number of frames"):
        load_data(str(folder))


def test_empty_folders(tmp_path):
    (tmp_path / "e").mkdir()
    text = f"data '{tmp_path / 'e'}': got an empty folder; expected event files"
    with pytest.raises(InvalidDataError, match=text):
        load_data(str(tmp_path / "e"), binning=BINNING)
    (tmp_path / "e" / "7").mkdir()
    with pytest.raises(InvalidDataError, match="got an empty folder"):
        load_data(str(tmp_path / "e"), binning=BINNING)


@pytest.mark.parametrize(
    ("names", "got", "fix"),
    [
        (["cat", "unicorn"], "class folders cat, unicorn;", "Call the folders by class number"),
        (["1", "two"], "class folders 1, two;", "Call the folders by class number"),
        (["Train", "Test"], "class folders Test, Train;", "Name one part: .*/e/Test"),
    ],
)
def test_unknown_class_folders(names, got, fix, tmp_path):
    for name in names:
        save(tmp_path / "e" / name / "a.npz", random_events())
    with pytest.raises(InvalidDataError, match=f"{got} expected class numbers.*{fix}"):
        load_data(str(tmp_path / "e"), binning=BINNING)


def test_other_files_among_the_recordings(folder):
    (folder / "2" / "notes.txt").touch()
    with pytest.raises(InvalidDataError, match=r"got 'notes.txt' in it; expected event files"):
        load_data(str(folder), binning=BINNING)


def test_a_format_without_a_size_of_the_sensor(folder):
    with pytest.raises(InvalidDataError, match=r"no size of the sensor.*Give it: --sensor HxW"):
        load_data(str(folder), binning=Binning(frames=10))


@pytest.mark.parametrize("change", ["cut", "flip", "names", "kind", "shape"])
@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_damaged_arrays(change, suffix, tmp_path):
    path = save(tmp_path / "e" / f"a{suffix}", random_events())
    if change == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    elif change == "flip":
        path.write_bytes(b"P" + path.read_bytes()[1:][::-1])
    elif change == "names":
        np.savez(path.with_suffix(".npz"), t=np.zeros(3), x=np.zeros(3))
    elif change == "kind":
        np.savez(path.with_suffix(".npz"), **dict.fromkeys("txyp", np.zeros(3)))
    else:
        np.savez(path.with_suffix(".npz"), **dict.fromkeys("txyp", np.zeros((3, 2), int)))
    with pytest.raises(FileFormatError, match=r"unreadable content .*numpy\.savez"):
        load_data(str(tmp_path / "e"), binning=BINNING)


def test_a_disk_without_room(folder, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(InvalidSettingError, match=r"No space left.*with room for the data"):
        load_data(str(folder), binning=BINNING)
