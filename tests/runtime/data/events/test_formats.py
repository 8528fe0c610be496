"""Event files: read through tonic, and refused where they are damaged."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from tests.runtime.data.events.files import (
    random_events,
    write_aedat2,
    write_aedat3,
    write_aedat4,
    write_bin,
)
from trispike.errors import FileFormatError, InvalidDataError, MissingDependencyError
from trispike.runtime.data.events import Events, Sensor, write_nmnist
from trispike.runtime.data.events import tonic_reader as module
from trispike.runtime.data.events.tonic_reader import TonicReader

needs_tonic = pytest.mark.skipif(
    not importlib.util.find_spec("tonic"), reason="tonic is not installed"
)
EVENTS = random_events()


@pytest.fixture(scope="module")
def reader():
    """One process for all: it takes seconds to start."""
    with TonicReader() as tonic:
        yield tonic


def equal(a: Events, b: Events) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in "txyp")


def test_what_is_written_is_the_format_of_nmnist(tmp_path):
    write_bin(EVENTS, tmp_path / "theirs.bin")
    write_nmnist(EVENTS, tmp_path / "ours.bin")
    assert (tmp_path / "ours.bin").read_bytes() == (tmp_path / "theirs.bin").read_bytes()


@needs_tonic
def test_tonic_reads_what_is_written(reader, tmp_path):
    write_nmnist(EVENTS, tmp_path / "a.bin")
    events, sensor = reader.read(tmp_path / "a.bin")
    assert equal(events, EVENTS)
    assert sensor == Sensor(34, 34)


@needs_tonic
@pytest.mark.slow
def test_tonic_reads_it_as_its_own_data_set(tmp_path):
    """Not through our process: by the class that tonic offers to its users."""
    for label in (3, 7):
        folder = tmp_path / "NMNIST" / "Test" / str(label)
        folder.mkdir(parents=True)
        write_nmnist(random_events(label), folder / "00001.bin")
    np.savez(tmp_path / "expected.npz", *[getattr(random_events(7), n) for n in "txyp"])
    program = """if True:
        import sys
        import numpy, tonic
        tonic.datasets.NMNIST._check_exists = lambda self: True
        data = tonic.datasets.NMNIST(sys.argv[1], train=False)
        assert data.targets == [3, 7], data.targets
        events, label = data[1]
        expected = numpy.load(sys.argv[1] + "/expected.npz")
        for name, row in zip("txyp", expected.files):
            numpy.testing.assert_array_equal(events[name], expected[row])
        """
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)


@needs_tonic
@pytest.mark.parametrize(
    ("name", "write", "sensor"),
    [
        ("a.bin", write_bin, Sensor(34, 34)),
        ("a.aedat", write_aedat2, Sensor(128, 128)),
        ("b.aedat", write_aedat3, None),
        ("A.AEDAT4", lambda events, path: write_aedat4(events, path, 40, 50), Sensor(40, 50)),
    ],
)
def test_every_format_is_read(name, write, sensor, reader, tmp_path):
    if name.endswith("4"):
        pytest.importorskip("aedat", reason="aedat is not installed")
    write(EVENTS, tmp_path / name)
    events, found = reader.read(tmp_path / name)
    assert equal(events, EVENTS)
    assert found == sensor


@needs_tonic
@pytest.mark.parametrize(
    ("name", "write", "cut", "message"),
    [
        ("a.bin", write_bin, 3, "got truncated: its last event has 2 of 5 bytes"),
        ("a.aedat", write_aedat2, 1, "got ValueError: truncated: its last event has less than 8"),
        ("b.aedat", write_aedat3, 9, "got ValueError: truncated: 9 bytes of its last packet are"),
        ("b.aedat", write_aedat3, 810, "got ValueError: truncated within the header of a packet"),
        ("a.aedat4", lambda e, path: write_aedat4(e, path, 34, 34), 7, "got RuntimeError: failed"),
    ],
)
def test_truncated_files(name, write, cut, message, reader, tmp_path):
    if name.endswith("4"):
        pytest.importorskip("aedat", reason="aedat is not installed")
    path = tmp_path / name
    write(EVENTS, path)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(FileFormatError) as caught:
        reader.read(path)
    assert str(caught.value).startswith(f"event file '{path}': {message}"), caught.value


@needs_tonic
def test_foreign_files_and_what_comes_after_them(reader, tmp_path):
    for name in ("a.aedat", "a.aedat4"):
        (tmp_path / name).write_bytes(b"no events at all")
        with pytest.raises(FileFormatError, match="expected a whole file in the format"):
            reader.read(tmp_path / name)
    write_aedat3(EVENTS, tmp_path / "b.aedat", kind=2)
    with pytest.raises(FileFormatError, match="a packet of type 2 with 8 bytes per event"):
        reader.read(tmp_path / "b.aedat")
    write_bin(EVENTS, tmp_path / "a.bin")
    assert equal(reader.read(tmp_path / "a.bin")[0], EVENTS)


@pytest.mark.parametrize(("suffix", "package"), [(".bin", "tonic"), (".aedat4", "aedat")])
def test_what_is_not_installed_is_named(suffix, package, tmp_path, monkeypatch):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"12345")
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else find("json")
    )
    with TonicReader() as tonic, pytest.raises(MissingDependencyError) as caught:
        tonic.read(path)
    assert f"got no package {package}; " in str(caught.value)
    assert str(caught.value).endswith("pip install 'trispike[events]'")


@pytest.mark.parametrize(
    ("program", "error", "message"),
    [
        ("import no_such_thing", MissingDependencyError, "No module named 'no_such_thing'"),
        ("print('ready', flush=True); input(); exit(3)", FileFormatError, "ended: exit code 3"),
        (
            'print(\'ready\\n{"events": 2, "sensor": null}\\nabc\', flush=True); input()',
            FileFormatError,
            "a reader that ended: ",
        ),
    ],
)
def test_a_process_that_ends(program, error, message, tmp_path, monkeypatch):
    (tmp_path / "child.py").write_text(program)
    (tmp_path / "a.bin").write_bytes(b"12345")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "tonic_reader.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with TonicReader() as tonic, pytest.raises(error, match=message):
        tonic.read(tmp_path / "a.bin")


def test_events_that_the_format_of_nmnist_cannot_say(tmp_path):
    one = np.ones(1, int)
    with pytest.raises(InvalidDataError, match="got times from 8388608 to 8388608 µs"):
        write_nmnist(Events(t=one << 23, x=one, y=one, p=one), tmp_path / "a.bin")
    with pytest.raises(FileFormatError, match="at x = 1, y = 240; expected pixels of a sensor"):
        write_nmnist(Events(t=one, x=one, y=240 * one, p=one), tmp_path / "a.bin")
    assert not list(tmp_path.iterdir())
