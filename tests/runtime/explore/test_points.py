"""Which points a plan has."""

from typing import Any

import pytest

from tests.networks import CASES, as_float, vectors, weighted_readout
from trispike.errors import InvalidSettingError, UnsupportedError
from trispike.runtime.explore import described, plan_from, points_of

START = {"network": "net", "data": "digits", "calibration": "digits:train"}
NETWORK = as_float(vectors())


def points(sweep: dict[str, Any] | None = None, network: Any = NETWORK, **more: Any):
    return points_of(plan_from({**START, "sweep": sweep or {}, **more}), network)


def test_nothing_to_try_is_one_point():
    (point,) = points()
    assert point.to_dict() == {
        "weight_bits": 8, "granularity": "channel", "steps": 4, "thresholds": {},
        "exit_confidence": None,
    }  # fmt: skip


def test_a_grid_has_every_combination_once():
    found = points(
        {
            "weight_bits": [8, 4, 4],
            "granularity": ["channel", "layer"],
            "steps": [1, 2, 4],
            "thresholds": {"*": [1.0, 2.0], "first": [0.5, [1.0] * 12]},
            "exit_confidence": ["off", 0.5, 0.9],
        }
    )
    assert len(found) == len(set(found)) == 2 * 2 * 3 * 2 * 2 * 3
    # One network after the other: exits are the innermost.
    assert [p.exit_confidence for p in found[:3]] == [None, 0.5, 0.9]
    assert len({(p.weight_bits, p.steps, p.thresholds) for p in found[:3]}) == 1
    assert dict(found[3].thresholds)["first"] == 0.5
    assert {type(dict(p.thresholds)["first"]) for p in found} == {float, tuple}


def test_an_integer_network_is_run_as_it_is():
    found = points({"steps": [1, 4], "exit_confidence": [0.5]}, vectors(), calibration=None)
    assert [(p.weight_bits, p.granularity, p.steps) for p in found] == [
        (None, None, 1), (None, None, 4)
    ]  # fmt: skip


def test_a_random_search_is_told_by_its_seed():
    sweep = {
        "weight_bits": [2, 3, 4, 5, 6, 7, 8],
        "steps": [1, 2, 3, 4],
        "thresholds": {"first": {"low": 0.5, "high": 2.0, "per": "channel"}},
        "exit_confidence": {"low": 0.3, "high": 0.99},
    }
    found = points(sweep, search="random", points=12, seed=1)
    assert len(set(found)) == 12
    assert found == points(sweep, search="random", points=12, seed=1)
    assert found == points(sweep, search="random", points=30, seed=1)[:12]
    assert found != points(sweep, search="random", points=12, seed=2)
    for point in found:
        (factors,) = dict(point.thresholds).values()
        assert isinstance(factors, tuple)
        assert len(set(factors)) == 12  # channels of "first"
        assert all(0.5 <= f <= 2.0 for f in factors)
        assert 0.3 <= (point.exit_confidence or 0) <= 0.99


def test_a_random_search_ends_with_the_last_combination():
    assert len(points({"steps": [1, 2, 3]}, search="random", points=50)) == 3


@pytest.mark.parametrize(
    ("sweep", "text"),
    [
        ({"thresholds": {"third party": [1.0]}}, "sweep.thresholds.third party: got no population"),
        ({"thresholds": {"first": [[1.0, 2.0]]}}, "got 2 factors; expected one, or 12 for the"),
        ({"thresholds": {"*": [[1.0] * 5]}}, "got 5 factors"),
        (
            {"steps": list(range(1, 102)), "thresholds": {"*": [float(n) for n in range(1, 101)]}},
            "sweep: got 10,100 points",
        ),
    ],
)
def test_points_that_the_network_does_not_have(sweep, text):
    with pytest.raises(InvalidSettingError) as caught:
        points(sweep)
    assert text in str(caught.value)


def test_channels_of_any_population_are_not_drawn():
    draw = {"low": 0.5, "high": 2.0, "per": "channel"}
    with pytest.raises(InvalidSettingError, match='got per = "channel"'):
        points({"thresholds": {"*": draw}}, search="random", points=2)


@pytest.mark.parametrize(
    "sweep", [{"weight_bits": [4]}, {"granularity": ["layer"]}, {"thresholds": {"*": [1.0]}}, {}]
)
def test_an_integer_network_is_not_quantized_again(sweep):
    with pytest.raises(InvalidSettingError, match="got an integer network; expected a float"):
        points(sweep, vectors())  # with calibration data, in the last case


def test_a_float_network_needs_calibration_data():
    with pytest.raises(InvalidSettingError, match="calibration: got none"):
        points({}, calibration=None)


def test_frames_bound_the_steps():
    network = as_float(CASES["frames_encoding"]())
    assert len(points({"steps": [1, 4]}, network)) == 2
    with pytest.raises(InvalidSettingError, match=r"sweep.steps: got 5; expected at most 4"):
        points({"steps": [5]}, network)
    assert len(points({"steps": [5]})) == 1


@pytest.mark.parametrize("sweep", [{"steps": [2]}, {"exit_confidence": [0.9]}])
def test_time_weights_without_a_meaning_over_fewer_steps(sweep):
    network = as_float(weighted_readout())
    assert len(points({}, network)) == 1
    with pytest.raises(UnsupportedError, match="time weights that differ"):
        points(sweep, network)


def test_in_words():
    (point,) = points({"thresholds": {"*": [1.5], "first": [[1.0] * 12]}, "exit_confidence": [0.9]})
    assert described(point.to_dict()) == (
        "8 bit, per channel, T = 4, thresholds x 1.5, thresholds first x 12 factors, exit 0.9"
    )
