"""What every engine checks before it runs, and what a result says."""

import re

import numpy as np
import pytest

from tests.networks import sample_inputs, vectors
from trispike.errors import InvalidDataError
from trispike.runtime import Ledger, ReferenceEngine, Result
from trispike.runtime.engine import TRACES, checked_labels, checked_recording


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (np.array([0, 1, 3]), "got values from 0 to 3; expected 3 integers in 0..2"),
        (np.array([0, -1, 1]), "got values from -1 to 1"),
        (np.array([0, 1]), r"got an array of shape \(2,\) and dtype int64; expected 3 integers"),
        (np.array([[0], [1], [2]]), r"got an array of shape \(3, 1\)"),
        (np.array([0.0, 1.0, 2.0]), "and dtype float64"),
        (np.array([True, False, True]), "and dtype bool"),
        (np.array(["0", "1", "2"]), "and dtype <U1"),
        (np.array(1), r"got an array of shape \(\)"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, text):
    with pytest.raises(InvalidDataError, match=text):
        checked_labels(vectors(), labels, 3)


def test_labels_that_fit_become_int64():
    assert checked_labels(vectors(), None, 3) is None
    for labels in ([0, 2, 1], np.array([0, 2, 1], np.uint8)):
        checked = checked_labels(vectors(), labels, 3)
        assert checked is not None
        assert checked.dtype == np.int64
        assert checked.tolist() == [0, 2, 1]


def test_recordings_are_put_in_order():
    network = vectors()
    assert checked_recording(network, None) == {}
    assert checked_recording(network, "all") == dict.fromkeys(network.populations, TRACES)
    wanted = {"second": {"v", "s"}, "first": ["c"], "third": ()}
    assert checked_recording(network, wanted) == {
        "second": ("s", "v"),
        "first": ("c",),
        "third": (),
    }


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ({"nothing": ["s"]}, "recording of 'nothing': got traces s; expected traces of s, i, c, v"),
        ({"first": ["s", "u"]}, "recording of 'first': got traces s, u; expected"),
        ({"input": ["s"]}, "and a population of first, second, third. Correct the name."),
    ],
)
def test_recordings_of_what_is_not_there_are_refused(record, text):
    with pytest.raises(InvalidDataError, match=re.escape(text)):
        ReferenceEngine(vectors()).run(sample_inputs(vectors(), 1), record=record)


def test_only_what_was_asked_for_is_recorded():
    network = vectors()
    inputs = sample_inputs(network, 2)
    everything = ReferenceEngine(network).run(inputs, record="all").records
    records = ReferenceEngine(network).run(inputs, record={"second": "vs", "third": "i"}).records
    assert {name: list(traces) for name, traces in records.items()} == {
        "second": ["s", "v"],
        "third": ["i"],
    }
    for name, traces in records.items():
        for trace, values in traces.items():
            np.testing.assert_array_equal(values, everything[name][trace])


def test_a_result_knows_predictions_and_accuracy():
    empty = Ledger(samples=0, steps=1, populations={}, connections={})
    logits = np.array([[1, 5, 5], [7, 7, 7], [-3, -2, -1], [0, 1, 0]])
    common = {
        "logits": logits, "step_logits": logits[:, None], "scale": 0.5, "ledger": empty,
        "seconds": 0.0, "engine": "hand",
    }  # fmt: skip
    result = Result(**common)
    assert result.predictions.tolist() == [1, 0, 2, 1]
    assert result.accuracy is None
    assert Result(**common, labels=np.array([1, 0, 0, 0])).accuracy == 0.5
