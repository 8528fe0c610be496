"""Frames hold the counts that counting one by one gives, and those of SpikingJelly."""

import ast
import importlib.util
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime.data.events.files import random_events
from trispike.errors import InvalidDataError, InvalidSettingError
from trispike.runtime.data.events import BINNINGS, Binning, Events, Sensor, count_frames

SENSOR = Sensor(height=4, width=3)


def counted(events: Events, frames: int, by: str) -> np.ndarray[Any, Any]:
    """One event after the other, in Python's integers."""
    result = np.zeros((frames, 2, *SENSOR), int)
    t = events.t.tolist()
    for number, time in enumerate(t):
        if by == "time":
            length = (t[-1] - t[0]) // frames
            place = sum(time >= t[0] + length * k for k in range(1, frames))
        else:
            place = sum(number >= len(t) // frames * k for k in range(1, frames))
        result[place, events.p[number], events.y[number], events.x[number]] += 1
    return result


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 60), frames=st.integers(1, 12))
def test_counts_are_those_of_counting_one_by_one(seed, count, frames):
    random = np.random.default_rng(seed)
    events = Events(
        t=1000 + np.sort(random.integers(0, random.choice([15, 300]), count)),
        x=random.integers(0, 3, count),
        y=random.integers(0, 4, count),
        p=random.integers(0, 2, count),
    )
    for by, length in (("time", events.t[-1] - events.t[0]), ("count", count)):
        binning = Binning(frames=frames, by=by)
        if length < frames:
            with pytest.raises(InvalidDataError, match=f"at least {frames} "):
                count_frames(events, binning, SENSOR)
            continue
        found = count_frames(events, binning, SENSOR)
        assert found.dtype == np.uint16
        np.testing.assert_array_equal(found, counted(events, frames, by))


def test_a_case_by_hand():
    events = Events(
        t=np.array([10, 12, 13, 13, 20]),
        x=np.array([0, 1, 2, 2, 0]),
        y=np.array([0, 0, 3, 3, 0]),
        p=np.array([1, 0, 1, 1, 1]),
    )
    by_time = count_frames(events, Binning(frames=3), SENSOR)  # from 10, 13 and 16 µs on
    assert by_time.sum((1, 2, 3)).tolist() == [2, 2, 1]
    assert by_time[1, 1, 3, 2] == 2
    assert by_time[0, 0, 0, 1] == by_time[0, 1, 0, 0] == by_time[2, 1, 0, 0] == 1
    by_count = count_frames(events, Binning(frames=3, by="count"), SENSOR)
    assert by_count.sum((1, 2, 3)).tolist() == [1, 1, 3]


@pytest.mark.skipif(not importlib.util.find_spec("spikingjelly"), reason="see make interop")
@pytest.mark.parametrize("by", BINNINGS)
def test_frames_are_those_of_spikingjelly(by):
    """With which the published networks for CIFAR10-DVS were trained."""
    theirs = spikingjelly_frames(random_events(count=5003), {"count": "number"}.get(by, by), 10)
    ours = count_frames(random_events(count=5003), Binning(frames=10, by=by), Sensor(34, 34))
    np.testing.assert_array_equal(ours, theirs)


def spikingjelly_frames(events: Events, split_by: str, frames: int) -> np.ndarray[Any, Any]:
    """By its own functions, without what its module imports (torchvision and more)."""
    spec = importlib.util.find_spec("spikingjelly")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    source = Path(spec.submodule_search_locations[0], "datasets", "utils.py").read_text("utf-8")
    edges = "cal_fixed_frames_number_segment_index"
    fill = "integrate_events_segment_to_frame"
    functions = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and node.name in (edges, fill)
    ]
    names: dict[str, Any] = {"np": np, "Optional": Optional}
    exec(compile(ast.Module(functions, []), "utils.py", "exec"), names)  # noqa: S102
    columns = events.x, events.y, events.p
    parts = zip(*names[edges](events.t, split_by, frames), strict=True)
    return np.stack([names[fill](*columns, 34, 34, first, end) for first, end in parts])


def test_too_many_events_of_a_pixel():
    count = 65536
    zeros = np.zeros(count, int)
    events = Events(t=np.arange(count), x=zeros, y=zeros, p=zeros)
    assert count_frames(events, Binning(frames=2, by="count"), SENSOR).max() == 32768
    with pytest.raises(InvalidDataError, match="got 65536 events of one pixel in one frame"):
        count_frames(events, Binning(frames=1), SENSOR)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frames": 0}, "--frames: got 0; expected at least 1"),
        ({"frames": 1, "sensor": Sensor(0, 5)}, "--sensor: got 0x5"),
        ({"frames": 1, "by": "number"}, "--bin: got 'number'; expected time or count"),
    ],
)
def test_impossible_binnings(settings, message):
    with pytest.raises(InvalidSettingError, match=message):
        Binning(**settings)
