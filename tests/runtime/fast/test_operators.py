"""Every way to compute an operator gives the operator's own integers."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("numba", reason="numba is not installed")

import torch

from tests.strategies import operators
from trispike.network import Connection, Conv2d, Dense, Identity
from trispike.runtime.fast import operators as fast
from trispike.runtime.fast.layout import to_layout
from trispike.runtime.fast.operators import (
    EventRunner,
    Int8Runner,
    build_runner,
    int8_is_exact,
    int8_takes,
)
from trispike.runtime.fast.plan import EXACT_FLOAT32

CARRIERS = ["int8", "float32", "float64", "int64"]


def connection(operator: Any) -> Connection:
    return Connection(sources=("a",), target="b", operator=operator)


def by_events(operator: Conv2d | Dense, shape: Any, codes: Any, scale: int) -> Any:
    runner = EventRunner(fast._as_convolution(operator, shape), scale)
    images, result = runner.prepare(codes)
    for part in ((0, 1), (1, len(images))):  # as threads do
        runner.fill(images, part, result)
    return result


@settings(max_examples=60)
@given(operators(), st.sampled_from([1, 3, 127]), st.integers(0, 9), st.sampled_from([1, 4]))
def test_all_carriers_are_equal(case, limit, seed, scale):
    operator, shape = case
    rng = np.random.default_rng(seed)
    x = rng.integers(-limit, limit + 1, (3, *shape)) * (rng.random((3, *shape)) < 0.4)
    x[0] = limit
    expected = operator.apply(x) * scale
    assert np.abs(expected).max() < EXACT_FLOAT32
    codes = to_layout((x + limit).astype(np.uint8), 1)
    results = {
        carrier: build_runner(connection(operator), shape, carrier, scale)(codes, limit)
        for carrier in CARRIERS
        if carrier != "int8" or int8_takes(operator, shape)
    }
    if not isinstance(operator, Identity) and limit == getattr(operator, "groups", 1) == 1:
        results["events"] = by_events(operator, shape, codes, scale)
    laid_out = to_layout(expected, 1)
    for name, result in results.items():
        np.testing.assert_array_equal(result.reshape(laid_out.shape), laid_out, name)
    for carrier in ("float32", "float64", "int64"):  # of what no code holds
        result = build_runner(connection(operator), shape, carrier, scale)(
            to_layout(x.astype(np.float64), 1), 0
        )
        np.testing.assert_array_equal(result.reshape(laid_out.shape), laid_out, carrier)


@settings(max_examples=30)
@given(operators(), st.integers(0, 9))
def test_float_weights(case, seed):
    """In float64, rounded in another order at most."""
    operator, shape = case
    field = "scale" if isinstance(operator, Identity) else "weight"
    rng = np.random.default_rng(seed)
    weight = operator.weight * rng.normal(size=operator.weight.shape)
    changed = {f: getattr(operator, f) for f in operator.__dataclass_fields__} | {field: weight}
    operator = type(operator)(**changed)
    x = rng.normal(size=(2, *shape))
    got = build_runner(connection(operator), shape, "float64")(to_layout(x, 1), 0)
    expected = to_layout(operator.apply(x), 1)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got.reshape(expected.shape), expected, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("silence", "inputs"), [(1, 132_104), (127, 1040)])
def test_sums_next_to_the_bound(silence, inputs, sign):
    """The largest sums below 2**24, each with one term that rounding would lose."""
    weight = np.full((3, inputs + 1), 127, np.int8)
    weight[1] = -127
    weight[:, -1] = [1, -1, 0]
    operator = Dense(weight=weight)
    x = np.full((2, inputs + 1), sign * silence)
    x[:, -1] = sign
    expected = operator.apply(x)
    assert EXACT_FLOAT32 - 20_000 < np.abs(expected).max() < EXACT_FLOAT32
    assert abs(int(expected[0, 0])) % 2 == 1
    codes = (x + silence).astype(np.uint8)
    for carrier in CARRIERS:
        got = build_runner(connection(operator), (inputs + 1,), carrier)(codes, silence)
        np.testing.assert_array_equal(got.reshape(expected.shape), expected, carrier)
    if silence == 1:
        got = by_events(operator, (inputs + 1,), codes, 1)
        np.testing.assert_array_equal(got.reshape(expected.shape), expected)


def test_sums_beyond_float64():
    """An odd sum above 2**53, which float64 does not hold."""
    operator = Conv2d(weight=np.full((1, 2, 1, 1), 127, np.int8))
    x = np.full((1, 2, 1, 1), (1 << 47) + 1)
    x[0, 1] += 1
    expected = 127 * ((1 << 48) + 3)
    assert expected > 1 << 53
    assert int(float(expected)) != expected
    got = build_runner(connection(operator), (2, 1, 1), "int64")(to_layout(x, 1), 0)
    assert got.dtype == np.int64
    assert got.item() == expected


def test_pairs_of_products_that_saturate_in_16_bits_are_found(monkeypatch):
    """What int8 instructions without VNNI do: u8*s8 + u8*s8, clipped to 16 bits."""
    assert int8_is_exact.__wrapped__() == int8_is_exact()

    class Clipping(Int8Runner):
        def __call__(self, values: Any, silence: int) -> Any:
            result = super().__call__(values, silence)
            return np.where(np.abs(result) > 127 * 254, 0, result)

    monkeypatch.setattr(fast, "Int8Runner", Clipping)
    assert not int8_is_exact.__wrapped__()


def test_machines_that_refuse_int8_convolutions(monkeypatch):
    def refuse(*_: Any) -> Any:
        raise RuntimeError("could not create a primitive")

    monkeypatch.setattr(Int8Runner, "__call__", refuse)
    assert not int8_is_exact.__wrapped__()


def test_torch_without_int8_convolutions(monkeypatch):
    class Namespace:
        onednn = object()

    monkeypatch.setattr(torch, "ops", Namespace())
    assert not int8_is_exact.__wrapped__()


@pytest.mark.parametrize(
    ("shape", "options", "taken"),
    [
        ((3, 8, 8), {"padding": (1, 1)}, True),
        ((3, 8, 8), {"padding": (1, 1), "stride": (2, 2)}, True),
        ((3, 3, 3), {"padding": (1, 1)}, True),
        ((3, 9, 8), {"padding": (4, 4), "dilation": (2, 2)}, True),
        ((3, 8, 8), {"padding": (3, 1)}, False),
        ((3, 8, 1), {"padding": (1, 1)}, False),
        ((3, 8, 3), {}, False),
        ((3, 2, 8), {"padding": (1, 1)}, False),
    ],
)
def test_geometries_that_onednn_is_trusted_with(shape, options, taken):
    """Not with kernels that lie in the padding, nor with a single column."""
    operator = Conv2d(weight=np.ones((4, 3, 3, 3), np.int8), **options)
    assert int8_takes(operator, shape) == taken
    assert int8_takes(Dense(weight=np.ones((2, 3), np.int8)), (3, 1, 1))
    assert int8_takes(Identity(scale=np.int8(3)), (3, 1, 1))


def test_a_padded_kernel_of_one_element_is_no_matrix():
    """Most of its outputs see the padding."""
    operator = Conv2d(weight=np.full((2, 3, 1, 1), 5, np.int8), padding=(1, 1))
    x = np.ones((2, 3, 1, 1), np.int64)
    for carrier in ("float32", "float64"):
        got = build_runner(connection(operator), (3, 1, 1), carrier)(to_layout(x + 1, 1), 1)
        np.testing.assert_array_equal(got, to_layout(operator.apply(x), 1))
