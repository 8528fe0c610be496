"""Operators against PyTorch, nested loops and arbitrary-precision integers."""

import dataclasses
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from trispike.errors import InvalidNetworkError
from trispike.network import Connection, Conv2d, Dense, Identity, SumPool
from trispike.network.connection import EXACT_FLOAT64

PAIRS = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def convolutions(draw):
    """A convolution with weights in eighths, and a shape that it accepts."""
    kernel, stride, dilation = draw(PAIRS), draw(PAIRS), draw(PAIRS)
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    groups = draw(st.integers(1, 3))
    inputs, outputs = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    span = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    smallest = [max(1, s - 2 * p) for s, p in zip(span, padding, strict=True)]
    rows, columns = (draw(st.integers(size, size + 5)) for size in smallest)
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    weight = rng.integers(-127, 128, (outputs * groups, inputs, *kernel))
    conv = Conv2d(
        weight=weight / 8, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    return conv, (inputs * groups, rows, columns)


@settings(max_examples=50)
@given(convolutions())
def test_convolution_equals_pytorch(case):
    conv, shape = case
    rng = np.random.default_rng(0)
    x = rng.integers(-127, 128, (2, *shape))
    # Both are sums of eighths below 2**53, exact in any order.
    expected = functional.conv2d(
        torch.from_numpy(x).double(), torch.from_numpy(conv.weight.copy()), None,
        conv.stride, conv.padding, conv.dilation, conv.groups,
    ).numpy()  # fmt: skip
    integer = dataclasses.replace(conv, weight=(conv.weight * 8).astype(np.int8))
    for operator, unit, dtype in ((conv, 1, np.float64), (integer, 8, np.int64)):
        result = operator.apply(x)
        np.testing.assert_array_equal(result, expected * unit)
        assert result.dtype == dtype
        assert operator.output_shape(shape) == result.shape[1:]


def test_convolution_equals_nested_loops():
    rng = np.random.default_rng(1)
    weight = rng.integers(-127, 128, (4, 3, 2, 3)).astype(np.int8)
    conv = Conv2d(weight=weight, stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2)
    x = rng.integers(-127, 128, (2, 6, 5, 4))
    expected = np.zeros((2, *conv.output_shape((6, 5, 4))), dtype=np.int64)
    for n, o, y, z in np.ndindex(*expected.shape):
        for c, i, j in product(range(3), range(2), range(3)):
            row, column = 2 * y - 1 + i, z - 2 + 2 * j
            if 0 <= row < 5 and 0 <= column < 4:
                source = 3 * (o // 2) + c
                expected[n, o, y, z] += int(weight[o, c, i, j]) * int(x[n, source, row, column])
    np.testing.assert_array_equal(conv.apply(x), expected)


@st.composite
def pools(draw, *, dilated=False):
    kernel, stride = draw(PAIRS), draw(PAIRS)
    dilation = draw(PAIRS) if dilated else (1, 1)
    span = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    padding = tuple(draw(st.integers(0, s // 2)) for s in span)
    smallest = [max(1, s - 2 * p) for s, p in zip(span, padding, strict=True)]
    shape = (2, *(draw(st.integers(size, size + 5)) for size in smallest))
    return SumPool(kernel=kernel, stride=stride, padding=padding, dilation=dilation), shape


@settings(max_examples=40)
@given(pools())
def test_sum_pooling_equals_pytorch(case):
    pool, shape = case
    if any(2 * p > k for p, k in zip(pool.padding, pool.kernel, strict=True)):
        return  # PyTorch's own rule
    x = np.random.default_rng(0).integers(-3, 4, (2, *shape))
    expected = functional.avg_pool2d(
        torch.from_numpy(x).double(), pool.kernel, pool.stride, pool.padding, divisor_override=1
    ).numpy()
    for values, dtype in ((x.astype(np.int8), np.int64), (x / 4, np.float64)):
        result = pool.apply(values)
        np.testing.assert_array_equal(result, expected / (4 if dtype is np.float64 else 1))
        assert result.dtype == dtype
        assert pool.output_shape(shape) == result.shape[1:]


def pooled_by_hand(pool: SumPool, x: Any) -> Any:
    """(C, H, W) of Python integers."""
    shape = dataclasses.replace(pool, then=None).output_shape(x.shape)
    result = np.zeros(shape, dtype=object)
    for c, y, z in np.ndindex(*shape):
        for i, j in np.ndindex(*pool.kernel):
            row = y * pool.stride[0] - pool.padding[0] + i * pool.dilation[0]
            column = z * pool.stride[1] - pool.padding[1] + j * pool.dilation[1]
            if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:
                result[c, y, z] += int(x[c, row, column])
    return pooled_by_hand(pool.then, result) if pool.then else result


@settings(max_examples=40)
@given(pools(dilated=True), st.sampled_from([None, (2, 2), (3, 2)]))
def test_dilated_and_chained_pooling_equal_nested_loops(case, second):
    pool, shape = case
    if second:
        then = SumPool(kernel=second, stride=(2, 1), padding=(1, 1))
        shape = (shape[0], shape[1] + 9, shape[2] + 9)
        pool = dataclasses.replace(pool, then=then)
    x = np.random.default_rng(2).integers(-1, 2, shape)
    expected = pooled_by_hand(pool, x)
    result = pool.apply(x[None])
    np.testing.assert_array_equal(result[0], expected.astype(np.int64))
    assert pool.output_shape(shape) == expected.shape


def test_pooling_does_not_wrap_around_in_narrow_integers():
    pool = SumPool(kernel=(2, 2), stride=(2, 2))
    assert pool.apply(np.full((1, 1, 2, 2), 127, dtype=np.int8)).item() == 508


@pytest.mark.parametrize("shape", [(12,), (3, 2, 2)])
def test_dense_reads_any_shape_in_row_major_order(shape):
    rng = np.random.default_rng(3)
    weight = rng.integers(-127, 128, (5, 12)).astype(np.int8)
    x = rng.integers(-127, 128, (2, *shape))
    expected = [[sum(int(w) * int(v) for w, v in zip(row, sample.reshape(-1), strict=True))
                 for row in weight] for sample in x]  # fmt: skip
    for operator in (Dense(weight=weight), Dense(weight=weight.astype(float))):
        assert operator.apply(x).tolist() == expected
        assert operator.output_shape(shape) == (5,)
    assert Dense(weight=weight).apply(x).dtype == np.int64
    assert Dense(weight=weight).apply(x.astype(float)).dtype == np.float64


@pytest.mark.parametrize("scale", [3, [[[1]], [[-2]]], [[[1, 2, 3]], [[4, 5, -6]]]])
def test_identity_scales_elementwise(scale):
    x = np.arange(-6, 6).reshape(2, 2, 1, 3)
    integer, floating = Identity(scale=scale), Identity(scale=np.array(scale) / 2)
    expected = np.array([sample * np.broadcast_to(scale, (2, 1, 3)) for sample in x])
    np.testing.assert_array_equal(integer.apply(x), expected)
    np.testing.assert_array_equal(floating.apply(x), expected / 2)
    assert integer.apply(x).dtype == np.int64
    assert floating.apply(x).dtype == np.float64
    assert integer.output_shape((2, 1, 3)) == (2, 1, 3)
    assert integer.weight is integer.scale


def by_big_integers(operator: Conv2d | Dense, x: Any) -> list[Any]:
    """Without any rounding: NumPy's loops over Python integers."""
    if isinstance(operator, Dense):
        return (x.reshape(len(x), -1).astype(object) @ operator.weight.T.astype(object)).tolist()
    rows, columns = operator.output_shape(x.shape[1:])[1:]
    weight = operator.weight.astype(object)
    total: Any = 0
    for i, j in np.ndindex(*operator.kernel):
        tap = x[:, :, i : i + rows, j : j + columns].astype(object)
        total = total + np.einsum("oc,nchw->nohw", weight[:, :, i, j], tap)
    return total.tolist()


OPERATORS = [
    Conv2d(weight=np.array([[[[127, -126], [1, 125]]], [[[3, 127], [-127, 0]]]], dtype=np.int8)),
    Dense(weight=np.random.default_rng(4).integers(-127, 128, (3, 9)).astype(np.int8)),
]


@pytest.mark.parametrize("operator", OPERATORS, ids=["conv", "dense"])
@pytest.mark.parametrize("offset", [-2, -1, 0, 1, 2])
def test_integer_sums_are_exact_on_both_sides_of_what_float64_holds(operator, offset):
    weights = int(np.abs(operator.weight.astype(int)).sum())
    largest = EXACT_FLOAT64 // weights + offset
    x = np.full((2, 1, 3, 3), largest)
    x[1] = np.random.default_rng(5).integers(-largest, largest, (1, 3, 3))
    result = operator.apply(x)
    assert result.tolist() == by_big_integers(operator, x)
    assert result.dtype == np.int64


@pytest.mark.parametrize("operator", OPERATORS, ids=["conv", "dense"])
@settings(max_examples=20)
@given(st.integers(0, 52), st.integers(0, 1000))
def test_integer_sums_are_exact_for_payloads_of_any_size(operator, bits, seed):
    x = np.random.default_rng(seed).integers(-(2**bits), 2**bits, (1, 1, 3, 3), endpoint=True)
    assert operator.apply(x).tolist() == by_big_integers(operator, x)


def test_a_connection_pools_then_applies_then_shifts():
    connection = Connection(
        sources=("a",),
        target="b",
        operator=Conv2d(weight=np.array([[[[2, -1]]]], dtype=np.int8)),
        pool=SumPool(kernel=(1, 2), stride=(1, 2)),
        exponent=3,
    )
    spikes = np.array([[[[1, 1, -1, 0, 0, 1]]]], dtype=np.int8)
    # Pooled: 2, -1, 1. Convolved: 2*2 + 1, -2 - 1. Shifted by 3.
    assert connection.current(spikes).tolist() == [[[[40, -24]]]]
    assert connection.output_shape((1, 1, 6)) == (1, 1, 2)
    assert connection.is_integer


def test_linear_in_its_sources():
    rng = np.random.default_rng(6)
    conv = Conv2d(weight=rng.integers(-9, 9, (3, 2, 3, 3)).astype(np.int8), padding=(1, 1))
    c = Connection(
        sources=("a",), target="b", operator=conv, pool=SumPool(kernel=(2, 2), stride=(1, 1))
    )
    x, y = rng.integers(-1, 2, (2, 4, 2, 5, 5))
    np.testing.assert_array_equal(c.current(x) + 7 * c.current(y), c.current(x + 7 * y))


def test_weights_are_copies_of_one_dtype_and_cannot_be_changed():
    mine = np.ones((2, 3))
    dense = Dense(weight=mine)
    mine[0, 0] = 5
    assert dense.weight[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        dense.weight[0, 0] = 5
    for given_dtype, kept in (
        *((np.float16, np.float64), (np.float32, np.float64), (np.int64, np.int8)),
        *((np.uint8, np.int8), (">f8", np.float64)),
    ):
        assert Dense(weight=mine.astype(given_dtype)).weight.dtype == kept
    transposed = Dense(weight=np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    assert transposed.weight.flags.c_contiguous


def test_numbers_of_any_integer_type_become_ints():
    conv = Conv2d(
        weight=np.ones((2, 1, 1, 1)), stride=np.array([1, 2]), groups=np.int64(2), padding=[0, 1]
    )
    assert (conv.stride, conv.padding, conv.groups) == ((1, 2), (0, 1), 2)
    assert {type(n) for n in (*conv.stride, *conv.padding, conv.groups)} == {int}
    connection = Connection(sources=("a",), target="b", operator=conv, delay=np.int8(3))
    assert type(connection.delay) is int


ONE = np.ones((1, 1, 1, 1))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: Conv2d(weight=np.full((1, 1, 2, 2), np.nan)),
            (
                r"operator weight: got 4 of 4 values that are NaN or infinite; expected finite "
                r"numbers\."
                r" Look for the training step at which the checkpoint diverged"
            ),
        ),
        (lambda: Dense(weight=[[1.0, -np.inf]]), "got 1 of 2 values that are NaN or infinite"),
        (lambda: Identity(scale=np.nan), "got 1 of 1 values that are NaN or infinite"),
        (
            lambda: Dense(weight=[[128]]),
            r"array: got the value 128; expected integers in the range of int8\. Round and clip",
        ),
        (
            lambda: Conv2d(weight=np.ones((3, 4))),
            r"Conv2d weight: got shape \(3, 4\) with 1 groups; expected \(O, C/groups, kh, kw\)",
        ),
        (
            lambda: Conv2d(weight=np.ones((3, 4, 1, 1)), groups=2),
            r"got shape \(3, 4, 1, 1\) with 2 groups; .* with O divisible by groups\. Check the",
        ),
        (lambda: Conv2d(weight=np.ones((3, 4, 0, 1))), r"got shape \(3, 4, 0, 1\) .*all positive"),
        (
            lambda: Conv2d(weight=ONE, groups=0),
            r"Conv2d field 'groups': got 0; expected an integer in 1\.\.2147483648",
        ),
        (lambda: Conv2d(weight=ONE, groups=1.0), r"'groups': got 1\.0; expected an integer"),
        (
            lambda: Conv2d(weight=ONE, stride=(0, 1)),
            r"field 'stride': got \(0, 1\); expected a pair of integers >= 1\. Give \(vertical,",
        ),
        (lambda: Conv2d(weight=ONE, stride=2), r"'stride': got 2; expected a pair"),
        (lambda: Conv2d(weight=ONE, padding=(-1, 0)), r"'padding': got \(-1, 0\); .* >= 0"),
        (lambda: Conv2d(weight=ONE, padding=(1.5, 0)), r"'padding': got \(1\.5, 0\); .* >= 0"),
        (lambda: Conv2d(weight=ONE, dilation=(1, 2, 3)), r"'dilation': got \(1, 2, 3\); .* >= 1"),
        (
            lambda: Dense(weight=np.ones(3)),
            r"Dense weight: got shape \(3,\); expected \(outputs, inputs\)\. Check the order",
        ),
        (lambda: SumPool(kernel=(0, 1), stride=(1, 1)), r"'pool\.kernel': got \(0, 1\); .* >= 1"),
        (lambda: SumPool(kernel=(1, 1), stride=(1,)), r"'pool\.stride': got \(1,\); .* >= 1"),
        (
            lambda: SumPool(kernel=(3, 3), stride=(1, 1), padding=(1, 2)),
            (
                r"field 'pool\.padding': got \(1, 2\) for a window that spans \(3, 3\); expected "
                r"at most "
                r"half of the window\. Larger padding would create windows that see nothing"
            ),
        ),
        (
            lambda: SumPool(kernel=(1, 1), stride=(1, 1), then=Dense(weight=[[1]])),
            r"field 'pool\.then': got a Dense; expected SumPool or NoneType\. Build the part",
        ),
    ],
)
def test_operators_refuse(build, message):
    with pytest.raises(InvalidNetworkError, match=message):
        build()


@pytest.mark.parametrize(
    ("operator", "shape", "message"),
    [
        (
            Conv2d(weight=np.ones((4, 3, 3, 3))),
            (2, 8, 8),
            (
                r"Conv2d: got an input of 2 channels; expected 3 channels, by its weight of shape "
                r"\(4, 3, 3, 3\)\. Check the source"
            ),
        ),
        (
            Conv2d(weight=np.ones((4, 3, 3, 3)), dilation=(4, 1)),
            (3, 8, 8),
            (
                r"Conv2d: got an input of 8x8 under a kernel of 3x3; expected an input at least as "
                r"large as the kernel\. Check the input shape"
            ),
        ),
        (
            Conv2d(weight=np.ones((4, 3, 3, 3))),
            (3,),
            r"Conv2d: got an input of shape \(3,\); expected an input of shape \(C, H, W\)\. Use",
        ),
        (
            SumPool(kernel=(2, 2), stride=(2, 2)),
            (3, 1, 5),
            "pooling stage: got an input of 1x5 under a kernel of 2x2; expected",
        ),
        (
            SumPool(kernel=(2, 2), stride=(2, 2)),
            (9,),
            r"pooling stage: got an input of shape \(9,\)",
        ),
        (
            Dense(weight=np.ones((2, 5))),
            (2, 2, 2),
            r"Dense: got an input of shape \(2, 2, 2\) \(8 elements\); expected 5 elements, by its",
        ),
        (
            Identity(scale=np.ones((3, 1, 1))),
            (2, 4, 4),
            (
                r"Identity: got a scale of shape \(3, 1, 1\); expected one that broadcasts to the "
                r"input's \(2, 4, 4\)\. Use a scalar, or one value per channel"
            ),
        ),
        (Identity(scale=np.ones((2, 1, 1))), (2,), r"broadcasts to the input's \(2,\)"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(operator, shape, message):
    with pytest.raises(InvalidNetworkError, match=message):
        operator.output_shape(shape)


INT = Dense(weight=np.array([[100, -100]], dtype=np.int8))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"sources": ()},
            (
                r"connection ->b: got sources \(\); expected at least one source, each named "
                r"once\. "
                "Express a doubled source by a doubled weight"
            ),
        ),
        ({"sources": ("a", "c", "a")}, r"connection a\+c\+a->b: got sources .* each named once"),
        (
            {"sources": "a"},
            (
                r"connection into 'b': got sources 'a'; expected a tuple of names\. Write one "
                r"source "
                r"as"
            ),
        ),
        ({"sources": ("a", 1)}, r"got sources \('a', 1\); expected a tuple of names"),
        (
            {"delay": -1},
            r"connection a->b, field 'delay': got -1; expected an integer in 0\.\.2147",
        ),
        ({"delay": 0.5}, r"field 'delay': got 0\.5; expected an integer"),
        ({"exponent": 17}, r"field 'exponent': got 17; expected an integer in 0\.\.16\. Choose"),
        ({"bits": 1}, r"field 'bits': got 1; expected an integer in 2\.\.8"),
        ({"bits": 9}, r"field 'bits': got 9; expected an integer in 2\.\.8"),
        (
            {"bits": 7},
            (
                r"connection a->b: got a weight of magnitude 100; expected at most 63 with 7 bits, "
                r"symmetric\. Quantize with more bits"
            ),
        ),
        (
            {"operator": Dense(weight=np.array([[-128, 0]], dtype=np.int8))},
            "got a weight of magnitude 128; expected at most 127 with 8 bits",
        ),
        (
            {"operator": Dense(weight=[[1.0, 2.0]]), "exponent": 1},
            r"connection a->b: got exponent 1 with float weights; expected 0\. Exponents exist in",
        ),
        (
            {"operator": np.ones((1, 2))},
            (
                r"connection a->b, field 'operator': got a ndarray; expected Conv2d or Dense or "
                r"Identity"
            ),
        ),
        ({"pool": 2}, r"field 'pool': got a int; expected SumPool or NoneType"),
    ],
)
def test_connections_refuse(fields, message):
    with pytest.raises(InvalidNetworkError, match=message):
        Connection(**{"sources": ("a",), "target": "b", "operator": INT, **fields})


@pytest.mark.parametrize(
    "operator",
    [*OPERATORS, Identity(scale=2), SumPool(kernel=(2, 2), stride=(1, 1))],
    ids=lambda operator: type(operator).__name__,
)
def test_no_samples_are_no_trouble(operator):
    result = operator.apply(np.zeros((0, 1, 3, 3), dtype=np.int8))
    assert result.shape == (0, *operator.output_shape((1, 3, 3)))
