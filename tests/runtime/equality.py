"""When two engines are equal."""

import numpy as np

from trispike.runtime import Result


def assert_equal(got: Result, expected: Result) -> None:
    """Everything that a result holds, except time and name."""
    assert got.ledger.differences(expected.ledger) == []
    for name in ("step_logits", "logits", "predictions"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name), name)
        assert getattr(got, name).dtype == getattr(expected, name).dtype
    assert got.scale == expected.scale
    assert {n: tuple(r) for n, r in got.records.items()} == {
        n: tuple(r) for n, r in expected.records.items()
    }
    for name, traces in expected.records.items():
        for trace, values in traces.items():
            np.testing.assert_array_equal(got.records[name][trace], values, f"{name}.{trace}")
            assert got.records[name][trace].dtype == values.dtype
