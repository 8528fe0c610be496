"""Counts against brute force: every pair of a source and a target element is probed."""

import dataclasses
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.network.test_connection import pools
from tests.networks import CASES
from trispike.errors import UnsupportedError
from trispike.network import (
    Connection,
    Conv2d,
    Dense,
    Identity,
    SumPool,
    dense_macs,
    expanded,
    fan_out,
    synapse_count,
    synapse_pairs,
)


def connection(operator: Any, pool: SumPool | None = None, **fields: Any) -> Connection:
    return Connection(sources=("a",), target="b", operator=operator, pool=pool, **fields)


def weights_between(c: Connection, shape: tuple[int, ...]) -> Any:
    """(sources, targets): what one spike of each source element delivers."""
    size = int(np.prod(shape))
    return c.current(np.eye(size, dtype=np.int64).reshape(size, *shape)).reshape(size, -1)


def with_ones(c: Connection) -> Connection:
    ones = np.ones_like(c.operator.weight)
    if isinstance(c.operator, Identity):
        return dataclasses.replace(c, operator=Identity(scale=ones))
    return dataclasses.replace(c, operator=dataclasses.replace(c.operator, weight=ones))


def assert_counts(c: Connection, shape: tuple[int, ...]) -> None:
    existing = np.count_nonzero(weights_between(c, shape), axis=1).reshape(shape)
    possible = np.count_nonzero(weights_between(with_ones(c), shape), axis=1).reshape(shape)
    got = fan_out(c, shape)
    np.testing.assert_array_equal(got, existing)
    assert got.dtype == np.int64
    np.testing.assert_array_equal(fan_out(c, shape, include_zero_weights=True), possible)
    assert synapse_count(c, shape) == existing.sum()
    np.testing.assert_array_equal(synapse_pairs(c, shape), np.nonzero(weights_between(c, shape)))
    assert synapse_count(c, shape, include_zero_weights=True) == possible.sum()


def sparse(rng: np.random.Generator, *shape: int) -> Any:
    """Small int8 weights, many of them zero or cancelling."""
    return rng.integers(-2, 3, shape).astype(np.int8)


RNG = np.random.default_rng(0)
CONVOLUTIONS = {
    "plain": Conv2d(weight=sparse(RNG, 3, 2, 3, 3)),
    "padded": Conv2d(weight=sparse(RNG, 3, 2, 3, 3), padding=(1, 1)),
    "wide padding": Conv2d(weight=sparse(RNG, 3, 2, 2, 2), padding=(3, 2)),
    "strided": Conv2d(weight=sparse(RNG, 3, 2, 3, 2), stride=(2, 3), padding=(1, 0)),
    "stride beyond kernel": Conv2d(weight=sparse(RNG, 3, 2, 1, 1), stride=(2, 3)),
    "dilated": Conv2d(weight=sparse(RNG, 3, 2, 2, 3), dilation=(3, 1), padding=(2, 1)),
    "grouped": Conv2d(weight=sparse(RNG, 4, 1, 3, 3), padding=(1, 1), groups=2),
    "depthwise": Conv2d(weight=sparse(RNG, 2, 1, 2, 2), stride=(2, 2), groups=2),
}
POOLS = {
    "none": None,
    "halving": SumPool(kernel=(2, 2), stride=(2, 2)),
    "overlapping": SumPool(kernel=(3, 3), stride=(2, 2), padding=(1, 1)),
    "uneven": SumPool(kernel=(2, 3), stride=(1, 2), padding=(1, 0)),
    "dilated": SumPool(kernel=(2, 2), stride=(2, 1), dilation=(2, 3), padding=(1, 1)),
    "gaps": SumPool(kernel=(1, 1), stride=(2, 2)),
    "chained": SumPool(
        kernel=(2, 2), stride=(1, 1), then=SumPool(kernel=(3, 2), stride=(1, 1), padding=(1, 1))
    ),
    "chained thrice": SumPool(
        kernel=(2, 1),
        stride=(1, 1),
        then=SumPool(
            kernel=(1, 2), stride=(1, 2), then=SumPool(kernel=(2, 2), stride=(2, 1), padding=(0, 1))
        ),
    ),
}
SHAPE = (2, 10, 9)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("conv", CONVOLUTIONS)
def test_fan_out_of_convolutions(conv, pool):
    assert_counts(connection(CONVOLUTIONS[conv], POOLS[pool]), SHAPE)
    floats = dataclasses.replace(CONVOLUTIONS[conv], weight=CONVOLUTIONS[conv].weight / 4)
    assert_counts(connection(floats, POOLS[pool]), SHAPE)


@pytest.mark.parametrize("pool", POOLS)
def test_fan_out_of_matrices(pool):
    stage = POOLS[pool]
    pooled = stage.output_shape(SHAPE) if stage else SHAPE
    weight = sparse(np.random.default_rng(1), 4, int(np.prod(pooled)))
    assert_counts(connection(Dense(weight=weight), stage), SHAPE)


def test_fan_out_of_matrices_on_vectors():
    assert_counts(connection(Dense(weight=sparse(np.random.default_rng(1), 4, 7))), (7,))


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("form", ["scalar", "zero", "channel", "element"])
def test_fan_out_of_shortcuts(pool, form):
    stage = POOLS[pool]
    pooled = stage.output_shape(SHAPE) if stage else SHAPE
    scale: Any = {
        "scalar": 3,
        "zero": 0,
        "channel": [[[0]], [[5]]],
        "element": sparse(np.random.default_rng(2), *pooled),
    }[form]
    assert_counts(connection(Identity(scale=scale), stage), SHAPE)


@pytest.mark.parametrize("scale", [2, [3], [1, 0, -4, 0, 5]])
def test_fan_out_of_shortcuts_of_vectors(scale):
    assert_counts(connection(Identity(scale=scale)), (5,))


@settings(max_examples=40)
@given(pools(dilated=True), st.integers(0, 10_000))
def test_fan_out_of_any_pooled_convolution(case, seed):
    pool, shape = case
    rng = np.random.default_rng(seed)
    shape = (shape[0], shape[1] + 3, shape[2] + 3)
    rows, columns = pool.output_shape(shape)[1:]
    kernel = [int(rng.integers(1, min(3, n) + 1)) for n in (rows, columns)]
    conv = Conv2d(
        weight=sparse(rng, 3, 2, *kernel),
        stride=tuple(rng.integers(1, 3, 2)),
        padding=tuple(rng.integers(0, 3, 2)),
    )
    assert_counts(connection(conv, pool), shape)


@pytest.mark.parametrize("case", CASES)
def test_fan_out_in_networks(case):
    network = CASES[case]()
    for c in network.all_connections:
        assert_counts(c, network.source_shape(c))


def test_probing_equals_counting_edges_in_nested_loops():
    """The oracle of this file, checked once against loops over kernel positions."""
    conv, pool = CONVOLUTIONS["strided"], POOLS["overlapping"]
    assert pool is not None
    shape = (2, 6, 7)
    pooled = pool.output_shape(shape)
    outputs = conv.output_shape(pooled)
    between: dict[tuple[Any, ...], int] = {}
    for o, y, x in np.ndindex(*outputs):
        for c, i, j in product(range(2), range(3), range(2)):
            py, px = 2 * y - 1 + i, 3 * x + j
            if not (0 <= py < pooled[1] and 0 <= px < pooled[2]):
                continue
            for a, b in product(range(3), repeat=2):
                row, column = 2 * py - 1 + a, 2 * px - 1 + b
                if 0 <= row < 6 and 0 <= column < 7:
                    pair = (c, row, column, o, y, x)
                    between[pair] = between.get(pair, 0) + int(conv.weight[o, c, i, j])
    expected = np.zeros(shape, dtype=int)
    for pair, weight in between.items():
        expected[pair[:3]] += weight != 0
    np.testing.assert_array_equal(fan_out(connection(conv, pool), shape), expected)
    assert expected.sum() < len(between)  # some cancel


def test_weights_that_cancel_under_a_window_are_no_synapse():
    conv = Conv2d(weight=np.array([[[[5, -5]]]], dtype=np.int8))
    pool = SumPool(kernel=(1, 2), stride=(1, 1))
    c = connection(conv, pool)
    # Four elements; windows 01, 12, 23; outputs 5*(0+1) - 5*(1+2) and 5*(1+2) - 5*(2+3).
    assert fan_out(c, (1, 1, 4)).tolist() == [[[1, 1, 1, 1]]]
    assert fan_out(c, (1, 1, 4), include_zero_weights=True).tolist() == [[[1, 2, 2, 1]]]


def macs_by_hand(c: Connection, shape: tuple[int, ...]) -> int:
    operator = c.operator
    pooled = c.pool.output_shape(shape) if c.pool else shape
    if isinstance(operator, Dense):
        return operator.weight.size
    if isinstance(operator, Identity):
        return int(np.prod(pooled))
    rows, columns = operator.output_shape(pooled)[1:]
    inside = 0
    for y, x, i, j in product(range(rows), range(columns), *map(range, operator.kernel)):
        row = y * operator.stride[0] - operator.padding[0] + i * operator.dilation[0]
        column = x * operator.stride[1] - operator.padding[1] + j * operator.dilation[1]
        inside += 0 <= row < pooled[1] and 0 <= column < pooled[2]
    return inside * operator.weight.shape[0] * operator.weight.shape[1]


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("conv", CONVOLUTIONS)
def test_dense_macs_of_convolutions(conv, pool):
    c = connection(CONVOLUTIONS[conv], POOLS[pool], delay=1, exponent=2)
    assert dense_macs(c, SHAPE) == macs_by_hand(c, SHAPE)


@pytest.mark.parametrize("case", CASES)
def test_dense_macs_in_networks(case):
    network = CASES[case]()
    for c in network.all_connections:
        shape = network.source_shape(c)
        assert dense_macs(c, shape) == macs_by_hand(c, shape)


def assert_expands(c: Connection, shape: tuple[int, ...]) -> None:
    new = expanded(c, shape)
    assert new.pool is None
    for field in dataclasses.fields(Connection):
        if field.name not in ("operator", "pool"):
            assert getattr(new, field.name) == getattr(c, field.name), field.name
    assert new.operator.weight.dtype == c.operator.weight.dtype
    assert new.output_shape(shape) == c.output_shape(shape)
    np.testing.assert_array_equal(weights_between(new, shape), weights_between(c, shape))
    np.testing.assert_array_equal(fan_out(new, shape), fan_out(c, shape))


@settings(max_examples=40)
@given(pools(dilated=True), st.integers(0, 10_000))
def test_expansion_is_equal_or_refused(case, seed):
    pool, shape = case
    rng = np.random.default_rng(seed)
    shape = (shape[0], shape[1] + 3, shape[2] + 3)
    rows, columns = pool.output_shape(shape)[1:]
    kernel = [int(rng.integers(1, min(3, n) + 1)) for n in (rows, columns)]
    conv = Conv2d(
        weight=sparse(rng, 4, 1, *kernel), stride=tuple(rng.integers(1, 3, 2)),
        padding=tuple(rng.integers(0, 2, 2)), groups=2,
    )  # fmt: skip
    c = connection(conv, pool, delay=2, exponent=1, bits=5)
    try:
        assert_expands(c, shape)
    except UnsupportedError:
        assert any(conv.padding)  # the only reason with small weights


@pytest.mark.parametrize("pool", [name for name in POOLS if name != "none"])
def test_a_pooled_matrix_expands_whatever_the_pool(pool):
    stage = POOLS[pool]
    assert stage is not None
    inputs = int(np.prod(stage.output_shape(SHAPE)))
    for weight in (sparse(np.random.default_rng(3), 4, inputs), np.arange(2.0 * inputs)):
        assert_expands(connection(Dense(weight=weight.reshape(-1, inputs)), stage), SHAPE)


@pytest.mark.parametrize("pool", ["halving", "overlapping", "uneven", "dilated", "gaps"])
@pytest.mark.parametrize("scale", [3, 0.5, [[[4]], [[-7]]], [[[0.5]], [[0.25]]]])
def test_a_pooled_shortcut_expands_to_a_depthwise_convolution(pool, scale):
    c = connection(Identity(scale=np.array(scale)), POOLS[pool])
    assert_expands(c, SHAPE)
    operator = expanded(c, SHAPE).operator
    assert isinstance(operator, Conv2d)
    assert operator.groups == SHAPE[0]


def test_without_a_pool_there_is_nothing_to_expand():
    c = connection(CONVOLUTIONS["padded"])
    assert expanded(c, SHAPE) is c


def test_padding_after_pooling_expands_where_no_window_is_cut():
    # Ten rows, halved to five: the convolution's padding lies outside the input.
    weight = sparse(np.random.default_rng(4), 3, 2, 3, 3)
    even = connection(Conv2d(weight=weight, padding=(1, 1)), POOLS["halving"])
    assert_expands(even, (2, 10, 8))


@pytest.mark.parametrize(
    ("c", "got"),
    [
        (
            connection(CONVOLUTIONS["padded"], POOLS["halving"]),
            "zero padding after pooling 9 positions into 4",
        ),
        (
            connection(CONVOLUTIONS["plain"], POOLS["chained"]),
            "two summations, one after the other",
        ),
        (connection(Identity(scale=1), POOLS["chained"]), "two summations, one after the other"),
        (
            connection(Identity(scale=np.ones((2, 5, 4))), POOLS["halving"]),
            "a scale that differs between positions",
        ),
        (
            connection(
                Conv2d(weight=np.full((1, 2, 1, 2), 100, dtype=np.int8)),
                SumPool(kernel=(1, 2), stride=(1, 1)),
            ),
            "overlapping windows whose weights add up to more than 127",
        ),
        (
            connection(
                Dense(weight=np.full((1, 160), 4, dtype=np.int8)),
                SumPool(kernel=(1, 2), stride=(1, 1)),
                bits=4,
            ),
            "overlapping windows whose weights add up to more than 7",
        ),
    ],
)
def test_what_has_no_single_operator_is_refused(c, got):
    with pytest.raises(UnsupportedError) as caught:
        expanded(c, SHAPE)
    assert str(caught.value) == (
        f"connection a->b: got {got}; expected a pooling stage that one operator can express. "
        "Keep the pooling stage, or give the pooled values a population of their own."
    )
