"""The fast kernels equal ``Connection.current``, also at the limits of exactness."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.networks import CASES, random_network
from trispike.network import Connection, Conv2d, Dense, Identity, IntegerNetwork, SumPool
from trispike.targets.lava.kernels import (
    EXACT_FLOAT32,
    EXACT_FLOAT64,
    compile_connection,
    largest_sum,
)


def assert_equal(connection: Connection, shape: tuple[int, ...], payload: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kernel = compile_connection(connection, shape, payload)
    for x in (rng.integers(-payload, payload + 1, shape), np.full(shape, payload)):
        got = kernel(x)
        expected = connection.current(x[None])[0]
        np.testing.assert_array_equal(got, expected)
        assert got.dtype == expected.dtype
        assert np.abs(expected >> connection.exponent).max() <= largest_sum(connection, payload)


def check_all(network: IntegerNetwork, seed: int) -> None:
    for connection in network.all_connections:
        for payload in (1, 3, 127):
            assert_equal(connection, network.source_shape(connection), payload, seed)


@pytest.mark.parametrize("case", CASES)
def test_connections_of_all_networks(case):
    check_all(CASES[case](), 0)


@given(seed=st.integers(0, 2**32))
def test_connections_of_random_networks(seed):
    check_all(random_network(seed), seed)


@pytest.mark.parametrize(
    ("operator", "shape"),
    [
        (Dense(weight=np.full((2, 50_000), 127, np.int8)), (50_000,)),
        (Conv2d(weight=np.full((2, 2000, 5, 5), -127, np.int8)), (2000, 5, 5)),
    ],
    ids=["dense", "conv"],
)
def test_sums_beyond_float32(operator, shape):
    """Sums of odd numbers above 2**24, which float32 does not hold."""
    connection = Connection(sources=("a",), target="b", operator=operator)
    assert EXACT_FLOAT32 < largest_sum(connection, 127) < EXACT_FLOAT64
    assert_equal(connection, shape, 127, 0)
    single = compile_connection(connection, shape, 1)  # in float32
    x = np.ones(shape, np.int8)
    np.testing.assert_array_equal(single(x), connection.current(x[None].astype(np.int64))[0])


def test_bound_holds_for_pooled_identity():
    """Where the weight is zero, the pooled payload still has to be exact."""
    connection = Connection(
        sources=("a",),
        target="b",
        operator=Identity(scale=np.array(0, np.int8)),
        pool=SumPool(kernel=(3, 3), stride=(1, 1)),
    )
    assert largest_sum(connection, 127) == 9 * 127


def test_beyond_float64_falls_back_to_integers(monkeypatch):
    monkeypatch.setattr("trispike.targets.lava.kernels.EXACT_FLOAT64", 100)
    check_all(CASES["pooled_downsample"](), 0)
