from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.timing import Rounds, exponent, interleave, spread


def recorder(calls: list[str], name: str, *seconds: float) -> Callable[[], float]:
    """A contestant that takes given seconds, the last ones again and again."""
    left = list(seconds)

    def run() -> float:
        calls.append(name)
        return left.pop(0) if len(left) > 1 else left[0]

    return run


def test_contestants_take_turns_after_a_warm_up():
    calls: list[str] = []
    runs = {"a": recorder(calls, "a", 9.0, 1.0), "b": recorder(calls, "b", 9.0, 2.0)}
    rounds = interleave(runs, rounds=3, allowance=100)
    assert "".join(calls) == "ab" * 4
    assert rounds.seconds == {"a": (1.0,) * 3, "b": (2.0,) * 3}


def test_a_slow_contestant_runs_fewer_rounds():
    calls: list[str] = []
    runs = {"slow": recorder(calls, "s", 4.0), "quick": recorder(calls, "q", 1.0)}
    rounds = interleave(runs, rounds=5, allowance=10)
    # 4 to warm up and 4 in the first round leave no room for another.
    assert {name: len(values) for name, values in rounds.seconds.items()} == {
        "slow": 1,
        "quick": 5,
    }


def test_a_warm_up_beyond_the_allowance_is_the_measurement():
    calls: list[str] = []
    runs = {"slow": recorder(calls, "s", 40.0), "quick": recorder(calls, "q", 1.0)}
    rounds = interleave(runs, rounds=2, allowance=10)
    assert rounds.seconds == {"slow": (40.0,), "quick": (1.0, 1.0)}
    assert calls.count("s") == 1


def test_nothing_runs_unmeasured_without_a_warm_up():
    calls: list[str] = []
    rounds = interleave(
        {"a": recorder(calls, "a", 3.0, 1.0)}, rounds=2, allowance=100, warm_up=False
    )
    assert rounds.seconds == {"a": (3.0, 1.0)}
    assert len(calls) == 2


def test_a_ratio_is_taken_within_rounds():
    """A disturbance that doubles the second round of both leaves it alone."""
    rounds = Rounds(seconds={"a": (4.0, 8.0, 4.4), "b": (1.0, 2.0, 1.1)})
    assert rounds.ratio("a", "b") == pytest.approx(4.0)
    assert rounds.median("a") == 4.4
    assert Rounds(seconds={"a": (6.0,), "b": (2.0, 100.0)}).ratio("a", "b") == 3.0


def test_spread_is_half_the_distance_of_the_extremes():
    assert spread([1.0, 2.0, 4.0]) == pytest.approx(0.75)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_exponent_of_a_power_law(power):
    x = np.array([1.0, 2.0, 4.0, 8.0])
    assert exponent(x, 3 * x**power) == pytest.approx(power)
