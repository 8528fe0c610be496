"""Rounding toward zero, symmetric saturation, ranges: against rational numbers."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trispike.network.fixed_point import DECAY_ONE, decay, never, saturate, state_limit

LIMIT_32 = 2**31 - 1

BOUNDARIES = [0, 1, 2, 4095, 4096, 4097, 8191, 8192, 2**23 - 1, 2**23, LIMIT_32]
FACTORS = [0, 1, 2, 2047, 2048, 2049, 4094, 4095, 4096]


def rounded_toward_zero(z: int, m: int) -> int:
    return int(Fraction(z * m, 4096))  # int() cuts off the fraction


@pytest.mark.parametrize("m", FACTORS)
def test_decay_rounds_toward_zero_at_every_boundary(m):
    values = [sign * z for z in BOUNDARIES for sign in (1, -1)]
    expected = [rounded_toward_zero(z, m) for z in values]
    assert decay(np.array(values), m).tolist() == expected


@pytest.mark.parametrize(
    ("z", "m", "expected"),
    [
        *((1, 4095, 0), (-1, 4095, 0)),  # an arithmetic shift would leave -1 at -1 for ever
        *((1, 4096, 1), (-1, 4096, -1)),
        *((4095, 1, 0), (-4095, 1, 0), (4096, 1, 1), (-4096, 1, -1)),
        *((4097, 4095, 4095), (-4097, 4095, -4095)),
        *((3, 2048, 1), (-3, 2048, -1)),
        *((LIMIT_32, 4096, LIMIT_32), (-LIMIT_32, 4095, -2147_483_647 + 524_288)),
    ],
)
def test_decay_examples(z, m, expected):
    assert decay(np.array([z]), m).tolist() == [expected]


@given(st.lists(st.tuples(st.integers(-LIMIT_32, LIMIT_32), st.integers(0, DECAY_ONE)), min_size=1))
def test_decay_of_any_state_by_a_factor_of_its_own(pairs):
    z, m = np.array(pairs).T
    assert decay(z, m).tolist() == [rounded_toward_zero(*pair) for pair in pairs]


@given(st.integers(-LIMIT_32, LIMIT_32), st.integers(0, DECAY_ONE))
def test_decay_is_odd_and_enlarges_nothing(z, m):
    (kept,) = decay(np.array([z]), m)
    (mirrored,) = decay(np.array([-z]), m)
    assert kept == -mirrored
    assert abs(kept) <= abs(z)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
def test_decay_works_in_64_bits_and_leaves_its_argument(dtype):
    z = np.array([min(np.iinfo(dtype).max, LIMIT_32), -7, 0], dtype=dtype)
    before = z.copy()
    result = decay(z, 4095)
    assert result.dtype == np.int64
    assert result.tolist() == [rounded_toward_zero(int(value), 4095) for value in before]
    np.testing.assert_array_equal(z, before)


@pytest.mark.parametrize(("bits", "limit"), [(8, 127), (24, 8_388_607), (32, 2_147_483_647)])
def test_ranges_are_symmetric_and_never_is_one_beyond(bits, limit):
    assert state_limit(bits) == limit
    assert never(bits) == limit + 1
    z = np.array([limit, limit + 1, -limit, -limit - 1, 5 * limit, -(2**40), 0])
    clipped, over = saturate(z, bits)
    assert clipped.tolist() == [limit, limit, -limit, -limit, limit, -limit, 0]
    assert over.tolist() == [False, True, False, True, True, True, False]


@given(st.lists(st.integers(-(2**50), 2**50), min_size=1), st.integers(8, 32))
def test_saturation_changes_what_it_reports_and_nothing_else(values, bits):
    clipped, over = saturate(np.array(values), bits)
    for value, got, flag in zip(values, clipped.tolist(), over.tolist(), strict=True):
        assert flag == (got != value)
        assert got == max(-state_limit(bits), min(value, state_limit(bits)))
