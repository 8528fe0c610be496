"""Scales, exponents and rounding of the weights into one target."""

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trispike.network import Conv2d, Dense, Identity
from trispike.network.connection import Operator
from trispike.quantize import weights
from trispike.quantize.weights import (
    EXPONENT_LIMIT,
    IntegerWeights,
    Scaling,
    quantize_weights,
    rows,
    with_rows,
)

SHAPE = (4, 3, 5)


def conv(size: float = 1.0, seed: int = 0, channels: int = 4, inputs: int = 6) -> Conv2d:
    weight = np.random.default_rng(seed).normal(0, size, (channels, inputs, 3, 3))
    return Conv2d(weight=weight, padding=(1, 1))


def quantized(
    *operators: Operator,
    bits: int = 8,
    per_channel: bool = True,
    floors: Any = 0.0,
    unweighted: Any = 1.0,
    channels: int = 4,
    shape: tuple[int, ...] = SHAPE,
) -> IntegerWeights:
    return quantize_weights(
        Scaling(
            operators,
            [shape] * len(operators),
            np.broadcast_to(floors, (channels,)).astype(float),
            np.broadcast_to(unweighted, (channels,)).astype(float),
            bits=[bits] * len(operators),
            per_channel=per_channel,
        )
    )


def assert_rounded(result: IntegerWeights, operators: Any, bits: int, channels: int = 4) -> None:
    """Every weight is the nearest integer, in its connection's steps, and fits its bits."""
    top = 2 ** (bits - 1) - 1
    assert min(result.exponents, default=0) == 0
    assert max(result.exponents, default=0) <= EXPONENT_LIMIT
    assert (result.scales > 0).all()
    for operator, integer, exponent in zip(
        operators, result.operators, result.exponents, strict=True
    ):
        assert type(integer) is type(operator)
        assert integer.weight.dtype == np.int8
        assert np.abs(integer.weight.astype(int)).max() <= top
        step = (result.scales * 2.0**exponent)[:, None]
        error = rows(integer, SHAPE, channels) * step - rows(operator, SHAPE, channels)
        # Half a step, but for the rounding of the float operations of this very test.
        assert (np.abs(error) <= step / 2 * (1 + 1e-9)).all()


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("per_channel", [True, False])
def test_errors_are_at_most_half_a_step(bits, per_channel):
    operators = [
        conv(1.0),
        conv(0.03, 1),
        Identity(scale=0.5),
        Dense(weight=conv(9.0).weight[:, 0, 0]),
    ]
    operators = operators[:3]
    result = quantized(*operators, bits=bits, per_channel=per_channel)
    assert_rounded(result, operators, bits)
    assert (np.ptp(result.scales) == 0) != per_channel


@settings(max_examples=40)
@given(st.integers(0, 10**6))
def test_errors_are_at_most_half_a_step_for_any_weights(seed):
    rng = np.random.default_rng(seed)
    bits = int(rng.integers(2, 9))
    operators: list[Operator] = []
    for _ in range(rng.integers(1, 5)):
        size = 10.0 ** rng.uniform(-4, 4)
        weight = rng.normal(0, size, (4, 2, 1, 1)) * rng.integers(0, 2, (4, 1, 1, 1))
        scale = rng.choice([size, 0.0]) * rng.choice([1.0, rng.random()], (4, 1, 1))
        operators.append(Conv2d(weight=weight) if rng.random() < 0.6 else Identity(scale=scale))
    floors = 10.0 ** rng.uniform(-9, 0, 4) * rng.integers(0, 2)
    result = quantized(*operators, bits=bits, per_channel=rng.random() < 0.5, floors=floors)
    assert_rounded(result, operators, bits)
    assert (result.scales >= floors).all()


@pytest.mark.parametrize("bits", range(2, 9))
def test_one_connection_uses_all_of_its_bits_in_every_channel(bits):
    operator = conv()
    result = quantized(operator, bits=bits)
    top = 2 ** (bits - 1) - 1
    largest = np.abs(operator.weight).max(axis=(1, 2, 3))
    np.testing.assert_allclose(result.scales, largest / top, rtol=1e-15)
    assert np.abs(result.operators[0].weight.astype(int)).max(axis=(1, 2, 3)).tolist() == [top] * 4


def test_one_scale_per_layer_is_that_of_the_largest_channel():
    operator = conv()
    result = quantized(operator, per_channel=False)
    expected = np.abs(operator.weight).max() / 127
    np.testing.assert_allclose(result.scales, expected, rtol=1e-15)


def test_signal_to_noise_is_that_of_the_rounding():
    operators = [conv(), Identity(scale=np.linspace(0.1, 3, 60).reshape(SHAPE))]
    result = quantized(*operators)
    for operator, integer, exponent, sqnr in zip(
        operators, result.operators, result.exponents, result.sqnr_db, strict=True
    ):
        step = (result.scales * 2.0**exponent)[:, None]
        exact = rows(operator, SHAPE, 4)
        noise = ((rows(integer, SHAPE, 4) * step - exact) ** 2).sum()
        assert sqnr == pytest.approx(10 * math.log10((exact**2).sum() / noise), rel=1e-9)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_more_bits_are_never_worse(per_channel, seed):
    sqnr = [
        quantized(conv(seed=seed), bits=bits, per_channel=per_channel).sqnr_db[0]
        for bits in range(2, 9)
    ]
    assert None not in sqnr
    assert sqnr == sorted(sqnr)  # type: ignore[type-var]
    # From 7 to 127 levels of either sign: 25.2 dB.
    assert sqnr[6] - sqnr[2] == pytest.approx(20 * math.log10(127 / 7), abs=2)  # type: ignore[operator]


def test_weights_on_the_grid_are_exact():
    weight = np.random.default_rng(0).integers(-127, 128, (4, 6, 3, 3)) * 0.3
    weight[:, 0, 0, 0] = 127 * 0.3
    for per_channel in (True, False):
        result = quantized(Conv2d(weight=weight), per_channel=per_channel)
        assert result.sqnr_db == (None,)
        np.testing.assert_array_equal(result.operators[0].weight, np.rint(weight / 0.3))


# -------------------------------------------------------------------------------------- exponents


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("factor", [1.0, 0.3, 0.1, 0.03, 0.01, 0.005])
def test_a_shortcut_of_one_beside_small_weights_is_exact(factor, per_channel):
    operators = [conv(factor), Identity(scale=1.0)]
    result = quantized(*operators, per_channel=per_channel)
    assert result.sqnr_db[1] is None
    assert result.sqnr_db[0] is not None
    assert result.sqnr_db[0] > 30  # the weights did not pay for it


@settings(max_examples=50)
@given(st.floats(1e-3, 1e3), st.floats(0.004, 4), st.integers(0, 100))
def test_a_shortcut_of_any_weight_is_exact_beside_weights_of_any_size(scale, ratio, seed):
    operators = [conv(scale * ratio / 4, seed), Identity(scale=scale)]
    result = quantized(*operators)
    assert result.sqnr_db[1] is None
    step = result.scales * 2.0 ** result.exponents[1]
    error = np.abs(rows(result.operators[1], SHAPE, 4)[:, 0] * step / scale - 1)
    assert error.max() <= 1 / 256


def test_a_shortcut_with_a_weight_of_its_own_per_channel_is_exact():
    scale = np.array([0.5, 1.0, 0.7, 3.1]).reshape(4, 1, 1)
    # Equal scales of all channels before: the shortcut alone makes them differ.
    weight = np.full((4, 6, 3, 3), 0.02)
    assert quantized(Conv2d(weight=weight), Identity(scale=scale)).sqnr_db[1] is None


def test_with_one_scale_for_all_a_shortcut_that_varies_is_rounded():
    scale = np.array([0.5, 1.0, 0.7, 0.9]).reshape(4, 1, 1)
    operators = [conv(0.05), Identity(scale=scale)]
    result = quantized(*operators, per_channel=False)
    assert_rounded(result, operators, 8)
    sqnr = result.sqnr_db[1]
    assert sqnr is not None
    assert sqnr > 35


def test_a_channel_without_a_shortcut_keeps_its_scale():
    scale = np.array([1.0, 0, 1, 1]).reshape(4, 1, 1)
    operators = [conv(0.05), Identity(scale=scale)]
    result = quantized(*operators)
    assert_rounded(result, operators, 8)
    assert result.sqnr_db[1] is None
    assert not result.operators[1].weight[1].any()


def test_exponents_make_room_for_connections_of_different_size():
    operators = [conv(0.01), conv(1.0, 1), conv(0.1, 2)]
    result = quantized(*operators)
    small, large, middle = result.exponents
    assert small == 0
    assert 5 <= large <= 8
    assert 2 <= middle <= 5
    assert all(sqnr is not None and sqnr > 35 for sqnr in result.sqnr_db)


def noise(result: IntegerWeights, operators: Any) -> float:
    """Rounding noise relative to the weights' size, summed over channels."""
    total, power = np.zeros(4), np.zeros(4)
    for operator, exponent in zip(operators, result.exponents, strict=True):
        weight = rows(operator, SHAPE, 4)
        power += (weight**2).sum(axis=1)
        step = result.scales * 2.0**exponent
        if isinstance(operator, Identity):
            rounded = np.rint(weight / step[:, None]) * step[:, None]
            total += ((rounded - weight) ** 2).sum(axis=1)
        else:
            total += weight.shape[1] * step**2 / 12
    return float((total / power).sum())


@pytest.mark.parametrize("connections", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(3))
def test_the_search_finds_the_exponents_with_the_least_noise(seed, connections, monkeypatch):
    """Of all, for up to three connections; along the axes, for more (these seeds agree)."""
    monkeypatch.setattr(weights, "EXPONENT_LIMIT", 5)
    rng = np.random.default_rng(seed)
    operators: list[Operator] = []
    for size in 10.0 ** rng.uniform(-2.5, 0.5, connections):
        operators.append(Identity(scale=size) if rng.random() < 0.3 else conv(size, len(operators)))
    found = quantized(*operators)
    every = {}
    for exponents in product(range(6), repeat=connections):
        if min(exponents) == 0:
            monkeypatch.setattr(weights, "_search", lambda noise_at, start, e=exponents: e)
            every[exponents] = noise(quantized(*operators), operators)
    assert noise(found, operators) <= min(every.values()) * (1 + 1e-9)


def test_many_connections_are_no_trouble():
    operators = [conv(2.0**-n, n) for n in range(14)]
    result = quantized(*operators)
    assert_rounded(result, operators, 8)
    # Evenly filled as far as a factor of 256 goes.
    assert result.exponents[0] == EXPONENT_LIMIT
    assert list(result.exponents) == sorted(result.exponents, reverse=True)


# ----------------------------------------------------------------------- channels without weights


def dead(operator: Conv2d, *channels: int) -> Conv2d:
    weight = operator.weight.copy()
    weight[list(channels)] = 0
    return Conv2d(weight=weight, padding=operator.padding)


def test_a_channel_without_weights_takes_the_scale_it_is_given():
    result = quantized(dead(conv(), 1), unweighted=0.25, floors=[1e-3, 1e-3, 1e-3, 1e-3])
    assert result.scales[1] == 0.25
    result = quantized(dead(conv(), 1), unweighted=0.25, floors=[1e-3, 0.5, 1e-3, 1e-3])
    assert result.scales[1] == 0.5


def test_a_channel_without_weights_does_not_touch_the_others():
    alive = quantized(conv(), unweighted=100.0)
    for per_channel in (True, False):
        result = quantized(dead(conv(), 2), unweighted=100.0, per_channel=per_channel)
        expected = alive.scales if per_channel else np.delete(alive.scales, 2).max()
        others = np.delete(np.broadcast_to(expected, 4), 2)
        np.testing.assert_array_equal(np.delete(result.scales, 2), others)


def test_a_channel_without_weights_does_not_touch_the_exponents():
    """Its rounding noise is none, however large its scale."""
    operators = [conv(0.01), conv(1.0, 1)]
    alive = quantized(*operators)
    result = quantized(*(dead(operator, 0) for operator in operators), unweighted=100.0)
    assert result.exponents == alive.exponents


def test_with_one_scale_for_all_only_floors_bind_a_channel_without_weights():
    result = quantized(dead(conv(0.01), 2), per_channel=False, floors=[0, 0, 7.0, 0])
    assert result.scales.tolist() == [7.0] * 4


@pytest.mark.parametrize("per_channel", [True, False])
def test_without_any_weights_there_is_still_a_scale(per_channel):
    nothing = quantized(dead(conv(), 0, 1, 2, 3), unweighted=[1, 2, 3, 4], per_channel=per_channel)
    assert nothing.scales.tolist() == ([1, 2, 3, 4] if per_channel else [4] * 4)
    assert nothing.sqnr_db == (None,)
    assert quantized(unweighted=0.5).scales.tolist() == [0.5] * 4


def test_denormal_weights_do_not_divide_by_zero():
    result = quantized(Identity(scale=5e-324))
    assert (result.scales > 0).all()


# ---------------------------------------------------------------------------------- rows and back


@pytest.mark.parametrize(
    ("operator", "shape", "channels", "columns"),
    [
        (Conv2d(weight=np.arange(24.0).reshape(4, 2, 1, 3)), (4, 2, 2), 4, 6),
        (Conv2d(weight=np.arange(24.0).reshape(4, 2, 1, 3)), (4, 2, 2), 2, 12),
        (Dense(weight=np.arange(24.0).reshape(12, 2)), (12,), 12, 2),
        (Dense(weight=np.arange(24.0).reshape(12, 2)), (12,), 3, 8),
        (Identity(scale=np.arange(12.0).reshape(3, 2, 2)), (3, 2, 2), 3, 4),
        (Identity(scale=np.arange(12.0).reshape(3, 2, 2)), (3, 2, 2), 12, 1),
        (Identity(scale=np.arange(3.0).reshape(3, 1, 1)), (3, 2, 2), 3, 1),
        (Identity(scale=np.arange(5.0)), (5,), 5, 1),
    ],
)
def test_rows_and_back(operator, shape, channels, columns):
    matrix = rows(operator, shape, channels)
    assert matrix.shape == (channels, columns)
    # Row-major, so that a channel of the target holds what its neurons read.
    np.testing.assert_array_equal(matrix.reshape(-1), operator.weight.reshape(-1))
    again = with_rows(operator, matrix, shape)
    np.testing.assert_array_equal(again.weight, operator.weight)


@pytest.mark.parametrize(
    ("scale", "shape", "channels", "expected"),
    [
        (2.0, (3, 2, 2), 3, (3, 1, 1)),
        (2.0, (12,), 3, (12,)),
        (2.0, (12,), 12, (12,)),
        ([[[1.0]], [[2.0]], [[3.0]]], (3, 2, 2), 12, (3, 2, 2)),
        ([[[1.0, 2.0]]], (3, 2, 2), 3, (3, 2, 2)),
    ],
)
def test_shortcuts_that_broadcast_get_a_weight_for_every_row(scale, shape, channels, expected):
    matrix = rows(Identity(scale=scale), shape, channels)
    again = with_rows(Identity(scale=scale), matrix, shape)
    assert again.weight.shape == expected
    np.testing.assert_array_equal(
        np.broadcast_to(again.weight, shape), np.broadcast_to(np.array(scale), shape)
    )


def test_several_shortcuts_of_one_weight_are_all_exact():
    """As in networks whose residual stream is a membrane potential."""
    result = quantized(conv(0.02), *[Identity(scale=1.0)] * 5)
    assert result.sqnr_db[1:] == (None,) * 5
    assert len(set(result.exponents[1:])) == 1


@pytest.mark.parametrize("ratio", [0.9, 0.37, 0.11, 0.013])
def test_of_shortcuts_of_different_weight_one_is_exact_and_the_others_are_close(ratio):
    operators = [conv(0.02), Identity(scale=1.0), Identity(scale=ratio)]
    result = quantized(*operators)
    assert result.sqnr_db[1] is None
    step = result.scales * 2.0 ** result.exponents[2]
    error = np.abs(rows(result.operators[2], SHAPE, 4)[:, 0] * step / ratio - 1)
    assert error.max() <= 1 / 128  # half a step of a mantissa of 64 or more
