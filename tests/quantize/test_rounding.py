"""Rounding rows together: against all roundings that there are, and never worse than the start."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trispike.quantize.rounding import (
    DAMPING,
    Compensation,
    compensated,
    damped,
    descended,
    nearest,
    row_errors,
)


def case(seed: int, groups: int = 1, rows: int = 3, columns: int = 6, top: int = 1) -> Any:
    """Weights, correlation, steps and tops, of inputs that fire together."""
    rng = np.random.default_rng(seed)
    inputs = rng.integers(-1, 2, (groups, columns, 40)) + rng.integers(-1, 2, (groups, 1, 40))
    correlation = damped(inputs @ inputs.transpose(0, 2, 1) / 40.0)
    weight = rng.normal(0, 1, (groups, rows, columns))
    step = np.abs(weight).max(axis=2, keepdims=True) / top * rng.uniform(0.6, 1)
    step = np.broadcast_to(step, weight.shape).copy()
    return weight, correlation, step, np.full(columns, top)


def refined(seed: int, **shape: int) -> Any:
    weight, correlation, step, top = case(seed, **shape)
    start = compensated(weight, Compensation(correlation), step, top)
    return case(seed, **shape), descended(start, weight, correlation, step, top)


def errors(integers: Any, weight: Any, correlation: Any, step: Any) -> Any:
    """Written out, row by row."""
    found = np.zeros(weight.shape[:2])
    for g, r in np.ndindex(found.shape):
        d = integers[g, r] * step[g, r] - weight[g, r]
        found[g, r] = d @ correlation[g] @ d
    return found


def least(weight: Any, correlation: Any, step: Any, top: Any) -> Any:
    """The least error of each row over all integers that there are."""
    values = range(-int(top[0]), int(top[0]) + 1)
    every = np.array(list(product(values, repeat=weight.shape[2])), float)
    found = np.zeros(weight.shape[:2])
    for g, r in np.ndindex(found.shape):
        d = every * step[g, r] - weight[g, r]
        found[g, r] = np.einsum("ni,ij,nj->n", d, correlation[g], d).min()
    return found


def test_errors_are_those_of_the_sums():
    (weight, correlation, step, _), integers = refined(0, groups=2)
    expected = errors(integers, weight, correlation, step)
    found = row_errors(integers * step - weight, correlation)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    diagonal = np.diagonal(correlation, axis1=1, axis2=2)
    only = row_errors(integers * step - weight, diagonal)
    alone = np.stack([np.diag(d) for d in diagonal])
    np.testing.assert_allclose(only, errors(integers, weight, alone, step), rtol=1e-12)


@pytest.mark.parametrize(("top", "columns"), [(1, 7), (3, 5)])
def test_close_to_the_best_of_all_roundings(top, columns):
    """Of many rows, most are the best there is, and none of the sums is far from it."""
    is_best, plain, found, best = [], 0.0, 0.0, 0.0
    for seed in range(20):
        (weight, correlation, step, limit), integers = refined(seed, columns=columns, top=top)
        got = errors(integers, weight, correlation, step)
        lowest = least(weight, correlation, step, limit)
        assert (got >= lowest - 1e-12).all()
        is_best += (got <= lowest * (1 + 1e-9)).reshape(-1).tolist()
        plain += errors(nearest(weight, step, limit), weight, correlation, step).sum()
        found += got.sum()
        best += lowest.sum()
    assert np.mean(is_best) > 0.6
    assert found < best * 1.15
    assert plain > best * 1.3  # there was something to gain


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_descent_never_ends_above_its_start(seed):
    rng = np.random.default_rng(seed)
    groups, rows, columns, top = rng.integers(1, 4), rng.integers(1, 5), rng.integers(1, 90), 3
    weight, correlation, step, limit = case(seed, groups, rows, columns, top)
    start = nearest(weight, step, limit)
    end = descended(start, weight, correlation, step, limit)
    before, after = (errors(i, weight, correlation, step) for i in (start, end))
    assert (after <= before * (1 + 1e-12)).all()
    assert (end == np.rint(end)).all()
    assert np.abs(end).max() <= top
    # No single step up or down helps.
    for column in rng.integers(0, columns, 5):
        for change in (-1, 1):
            other = end.copy()
            other[:, :, column] = np.clip(other[:, :, column] + change, -top, top)
            worse = errors(other, weight, correlation, step)
            assert (worse >= after - 1e-9 * (1 + after)).all()


def test_every_column_keeps_its_own_bits_and_step():
    weight, correlation, step, _ = case(1, rows=8, columns=70, top=7)
    top = np.where(np.arange(70) % 2, 1, 7)
    step[:, :, ::3] *= 4
    by = Compensation(correlation)
    for integers in (
        compensated(weight, by, step, top),
        descended(nearest(weight, step, top), weight, correlation, step, top),
    ):
        assert (np.abs(integers) <= top).all()
        assert (np.abs(integers).max(axis=(0, 1)) == 7).any()


def test_independent_inputs_are_rounded_to_the_nearest():
    """Nothing can make up for anything."""
    weight, _, step, top = case(2, columns=100, top=3)
    correlation = np.diag(np.linspace(0.1, 2, 100))[None]
    expected = nearest(weight, step, top)
    by = Compensation(correlation)
    np.testing.assert_array_equal(compensated(weight, by, step, top), expected)
    np.testing.assert_array_equal(descended(expected, weight, correlation, step, top), expected)


def test_two_inputs_that_always_fire_together_share_an_error():
    weight = np.array([[[0.5, 0.5]]]) * 0.9
    correlation = damped(np.ones((1, 2, 2)))
    step, top = np.ones_like(weight), np.array([1, 1])
    assert nearest(weight, step, top).sum() == 0  # 0.45 and 0.45 both vanish
    found = compensated(weight, Compensation(correlation), step, top)
    assert found.sum() == 1
    assert descended(nearest(weight, step, top), weight, correlation, step, top).sum() == 1


def test_the_diagonal_is_made_firm():
    silent = damped(np.zeros((1, 3, 3)))
    np.testing.assert_array_equal(silent[0], np.eye(3))
    once = np.ones((1, 4, 4))
    np.testing.assert_allclose(damped(once)[0], 1 + DAMPING * np.eye(4))
    Compensation(silent), Compensation(damped(once))  # both can be factored


def test_groups_do_not_touch_each_other():
    weight, correlation, step, top = case(5, groups=3, columns=20)
    together = compensated(weight, Compensation(correlation), step, top)
    for g in range(3):
        one = slice(g, g + 1)
        alone = compensated(weight[one], Compensation(correlation[one]), step[one], top)
        np.testing.assert_array_equal(together[one], alone)
