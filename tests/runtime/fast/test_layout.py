"""Channels last, and parameters in as few columns as their period allows."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trispike.runtime.fast.layout import (
    BLOCK,
    columns_for,
    from_layout,
    laid_out,
    order,
    period,
    rows,
    to_layout,
)

SHAPES = st.one_of(
    st.tuples(st.integers(1, 1500)),
    st.tuples(st.integers(1, 5), st.integers(1, 30), st.integers(1, 30)),
    st.tuples(st.integers(400, 700), st.integers(1, 3), st.integers(1, 3)),
)


def flat(values: Any, shape: tuple[int, ...]) -> Any:
    """A parameter for every neuron, in layout."""
    full = np.broadcast_to(values, shape)
    return (full.transpose(1, 2, 0) if full.ndim == 3 else full).reshape(-1)


@given(SHAPES)
def test_there_and_back(shape):
    array = np.arange(6 * np.prod(shape)).reshape(2, 3, *shape)
    there = to_layout(array, 2)
    assert there.flags.c_contiguous
    assert there.shape == (2, 3, *laid_out(shape))
    np.testing.assert_array_equal(from_layout(there.reshape(2, 3, -1), shape), array)
    np.testing.assert_array_equal(array.reshape(6, -1)[:, order(shape)], there.reshape(6, -1))


@st.composite
def parameters(draw):
    shape = draw(SHAPES)
    forms = [(), shape, (shape[0],) + (1,) * (len(shape) - 1), shape[-1:], (1,) * len(shape)]
    chosen = draw(st.lists(st.sampled_from(forms), min_size=1, max_size=3))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return [rng.integers(-99, 100, form) for form in chosen], shape


@given(parameters())
def test_rows_repeat_from_block_to_block(case):
    """What the kernel reads at every neuron is the neuron's own parameter."""
    values, shape = case
    size, columns = int(np.prod(shape)), columns_for(values, shape)
    table = rows(values, shape, np.int32, columns)
    assert table.shape == (len(values), columns)
    assert columns <= size
    for row, value in zip(table, values, strict=True):
        np.testing.assert_array_equal(np.resize(row, size), flat(value, shape))


@pytest.mark.parametrize(
    ("form", "shape", "repeats", "columns"),
    [
        ((), (3, 40, 40), 1, BLOCK),
        ((3, 1, 1), (3, 40, 40), 3, 513),
        ((600, 1, 1), (600, 2, 2), 600, 600),
        ((3, 40, 40), (3, 40, 40), 4800, 4800),
        ((1000,), (1000,), 1000, 1000),
        ((3, 1, 1), (3, 2, 2), 3, 12),
    ],
)
def test_few_columns_where_parameters_repeat(form, shape, repeats, columns):
    values = np.arange(max(1, int(np.prod(form)))).reshape(form)
    assert period(values, shape) == repeats
    assert columns_for([values], shape) == columns
