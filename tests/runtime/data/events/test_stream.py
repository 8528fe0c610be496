"""Events that no camera of that size can have written are refused, one clear error each."""

import dataclasses

import numpy as np
import pytest

from tests.runtime.data.events.files import random_events
from trispike.errors import FileFormatError
from trispike.runtime.data.events import Events, Sensor

SENSOR = Sensor(height=5, width=3)
GOOD = Events(
    t=np.array([0, 4, 4]), x=np.array([0, 2, 1]), y=np.array([4, 0, 3]), p=np.array([0, 1, 1])
)


def test_events_at_every_edge_are_taken():
    GOOD.check("mine", SENSOR)
    random_events().check("mine", Sensor(34, 34))


@pytest.mark.parametrize(
    ("field", "values", "message"),
    [
        ("t", [0, 4, 3], "mine: got time that goes back from 4 to 3 µs at event 2; expected "),
        ("x", [0, 3, 1], r"mine: got event 1 at x = 3, y = 0; expected pixels of a sensor of 5x3"),
        ("y", [4, 0, 5], r"mine: got event 2 at x = 1, y = 5; .* Give the size .*: --sensor HxW"),
        ("x", [0, 2, -1], "mine: got event 2 at x = -1, y = 3"),
        ("y", [-1, 0, 3], "mine: got event 0 at x = 0, y = -1"),
        ("p", [0, 2, 1], "mine: got polarity 2 of event 1; expected 0 or 1"),
    ],
)
def test_impossible_events_are_refused(field, values, message):
    bad = dataclasses.replace(GOOD, **{field: np.array(values)})
    with pytest.raises(FileFormatError, match=message):
        bad.check("mine", SENSOR)


def test_no_events_are_refused():
    nothing = Events(**dict.fromkeys("txyp", np.zeros(0)))
    with pytest.raises(FileFormatError, match="mine: got no events"):
        nothing.check("mine", SENSOR)


def test_unsigned_times_that_go_back_are_seen():
    bad = dataclasses.replace(GOOD, t=np.array([3, 2, 9], np.uint32))
    with pytest.raises(FileFormatError, match="goes back from 3 to 2"):
        bad.check("mine", SENSOR)
