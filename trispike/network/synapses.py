"""The synapses that a connection stands for: exact fan-out, counts, and the expanded operator.

A synapse is one pair of a source element and a target element whose weight is not zero. Where a
pooling stage precedes the operator, the weight of a pair is the sum over all pooled elements
between them, as it would be on a target that has synapses only. Borders are exact.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.errors import UnsupportedError
from trispike.network.connection import Connection, Conv2d, Dense, Identity, Shape, SumPool

Counts: TypeAlias = npt.NDArray[np.int64]

_NO_POOL = SumPool(kernel=(1, 1), stride=(1, 1))


def fan_out(
    connection: Connection, source_shape: Shape, *, include_zero_weights: bool = False
) -> Counts:
    """Number of synapses that leave each source element, of shape ``source_shape``.

    Args:
        connection: The connection.
        source_shape: Shape of its sources.
        include_zero_weights: Count the pairs that the operator's geometry connects, whatever
            their weight.
    """
    operator = connection.operator
    chw = source_shape if len(source_shape) == 3 else (math.prod(source_shape), 1, 1)
    pool = connection.pool or _NO_POOL
    pooled = pool.output_shape(chw)
    covers = [_pool_cover(pool, axis, chw) for axis in (0, 1)]
    weight = np.ones_like(operator.weight) if include_zero_weights else operator.weight
    if isinstance(operator, Identity):
        exists = np.broadcast_to(_as_pooled(weight, source_shape), pooled) != 0
        reached = [np.minimum(cover, 1) for cover in covers]
        return _contract(reached, exists.astype(np.int64)).reshape(source_shape)
    kernel, steps, groups = _geometry(operator, weight, pooled)
    # Per axis: which sets of kernel positions meet in a pair, and how often per source position.
    (sets_y, often_y), (sets_x, often_x) = (
        _meetings(step, cover) for step, cover in zip(steps, covers, strict=True)
    )
    grouped = _grouped(kernel, groups)
    inputs = grouped.shape[2]
    if max(sets_y.sum(axis=1).max(), sets_x.sum(axis=1).max()) <= 1:
        # At most one weight lies between two elements, so that there is nothing to cancel.
        nonzero: Counts = np.count_nonzero(grouped, axis=1)
        exists = np.einsum("giyx,ay,bx->giab", nonzero, sets_y, sets_x, optimize=True)
    else:
        merged = np.einsum("goiyx,ay,bx->goiab", _wide(grouped), sets_y, sets_x, optimize=True)
        exists = np.count_nonzero(merged, axis=1)
    exists = exists.reshape(groups * inputs, len(sets_y), len(sets_x))
    counts = np.einsum("ya,cab,xb->cyx", often_y, exists, often_x, optimize=True)
    return counts.reshape(source_shape).astype(np.int64)


def synapse_pairs(connection: Connection, source_shape: Shape) -> tuple[Counts, Counts]:
    """Every synapse by itself, which takes memory: look at :func:`synapse_count` first.

    Returns:
        Flat indices of the source and of the target element of each, ordered by source, then
        target.
    """
    operator = connection.operator
    chw = source_shape if len(source_shape) == 3 else (math.prod(source_shape), 1, 1)
    pool = connection.pool or _NO_POOL
    pooled = pool.output_shape(chw)
    covers = [_pool_cover(pool, axis, chw) for axis in (0, 1)]
    if isinstance(operator, Identity):
        exists = np.broadcast_to(_as_pooled(operator.scale, source_shape), pooled) != 0
        (p, y), (q, x) = (np.nonzero(cover) for cover in covers)
        c, row, column = np.nonzero(exists[:, p[:, None], q])
        source, target = (c, y[row], x[column]), (c, p[row], q[column])
        shape = pooled
    else:
        kernel, steps, groups = _geometry(operator, operator.weight, pooled)
        between = [
            np.einsum("okp,py->yok", step, cover) for step, cover in zip(steps, covers, strict=True)
        ]
        (y, p), (x, q) = (np.nonzero(b.any(axis=2)) for b in between)
        grouped = _grouped(kernel, groups)
        weights = np.einsum(
            "goiyx,ay,bx->goiab", _wide(grouped), between[0][y, p], between[1][x, q], optimize=True
        )
        g, o, i, row, column = np.nonzero(weights)
        source = (g * grouped.shape[2] + i, y[row], x[column])
        target = (g * grouped.shape[1] + o, p[row], q[column])
        shape = (len(kernel), between[0].shape[1], between[1].shape[1])
    sources, targets = np.ravel_multi_index(source, chw), np.ravel_multi_index(target, shape)
    order = np.lexsort((targets, sources))
    return sources[order], targets[order]


def synapse_count(
    connection: Connection, source_shape: Shape, *, include_zero_weights: bool = False
) -> int:
    """Number of synapses per source population."""
    return int(fan_out(connection, source_shape, include_zero_weights=include_zero_weights).sum())


def meetings(connection: Connection, source_shape: Shape, axis: int) -> Counts:
    """Which kernel positions lie between the positions of source and output, along one axis.

    Args:
        connection: Its operator is a convolution or an identity, which counts as a 1x1 kernel.
        source_shape: (C, H, W) of its sources.
        axis: 0 for rows, 1 for columns.

    Returns:
        (source positions, output positions, kernel positions): how often each occurs, which is
        more than once where pooling windows overlap.
    """
    pool, operator = connection.pool or _NO_POOL, connection.operator
    cover = _pool_cover(pool, axis, source_shape)
    if isinstance(operator, Conv2d):
        step = _conv_steps(operator, axis, len(cover))
    else:
        step = np.eye(len(cover), dtype=np.int64)[:, None]
    return np.asarray(np.einsum("okp,py->yok", step, cover))


def pool_cover(connection: Connection, source_shape: Shape, axis: int) -> Counts:
    """(pooled positions, source positions): how often a sum of the pooling stage holds a source.

    Args:
        connection: Any connection.
        source_shape: (C, H, W) of its sources.
        axis: 0 for rows, 1 for columns.
    """
    return _pool_cover(connection.pool or _NO_POOL, axis, source_shape)


def dense_macs(connection: Connection, source_shape: Shape) -> int:
    """Multiply-accumulates of the operator as a layer of a dense network, for one input.

    Pooling is done first and its additions are not counted; weights that are zero are, and
    products with the zero padding are not.
    """
    pooled = connection.pool.output_shape(source_shape) if connection.pool else source_shape
    return synapse_count(replace(connection, pool=None), pooled, include_zero_weights=True)


def expanded(connection: Connection, source_shape: Shape) -> Connection:
    """The same connection without a pooling stage, as one operator on the source.

    A pooled convolution becomes a convolution with the kernel repeated under the pooling window,
    a pooled matrix a larger matrix, a pooled identity a depthwise convolution.

    Raises:
        UnsupportedError: The zero padding after the pooling cuts windows that hold real
            elements, or equal-weight sums exceed int8; no single operator is equal then.
    """
    if connection.pool is None:
        return connection
    pool, operator = connection.pool, connection.operator
    pooled = pool.output_shape(source_shape)
    if isinstance(operator, Dense):
        covers = [_pool_cover(pool, axis, source_shape) for axis in (0, 1)]
        weight = operator.weight.reshape(-1, *pooled).astype(np.float64)
        weight = np.einsum("ocpq,py,qx->ocyx", weight, *covers, optimize=True)
        new: Conv2d | Dense = Dense(
            weight=_like(operator.weight, weight, connection).reshape(operator.weight.shape[0], -1)
        )
    elif pool.then is not None:
        raise _inexact(connection, "two summations, one after the other")
    else:
        if isinstance(operator, Identity):
            scale = _as_pooled(operator.scale, source_shape)
            if scale.shape[1:] != (1, 1):
                raise _inexact(connection, "a scale that differs between positions")
            scale = np.broadcast_to(scale, (source_shape[0], 1, 1))
            conv = Conv2d(weight=scale[:, None], groups=source_shape[0])
        else:
            conv = operator
        for axis in (0, 1):
            _check_cut(connection, pool, conv, axis, source_shape[1 + axis], pooled[1 + axis])
        new = _convolve(pool, conv, connection)
    return replace(connection, operator=new, pool=None)


def _convolve(pool: SumPool, conv: Conv2d, connection: Connection) -> Conv2d:
    reach = [
        (conv.kernel[a] - 1) * conv.dilation[a] * pool.stride[a]
        + (pool.kernel[a] - 1) * pool.dilation[a]
        + 1
        for a in (0, 1)
    ]
    weight = np.zeros((*conv.weight.shape[:2], *reach))
    step = [conv.dilation[a] * pool.stride[a] for a in (0, 1)]
    for i, j in np.ndindex(*pool.kernel):
        di, dj = i * pool.dilation[0], j * pool.dilation[1]
        rows = slice(di, di + (conv.kernel[0] - 1) * step[0] + 1, step[0])
        columns = slice(dj, dj + (conv.kernel[1] - 1) * step[1] + 1, step[1])
        weight[:, :, rows, columns] += conv.weight
    return Conv2d(
        weight=_like(conv.weight, weight, connection),
        stride=(conv.stride[0] * pool.stride[0], conv.stride[1] * pool.stride[1]),
        padding=(
            conv.padding[0] * pool.stride[0] + pool.padding[0],
            conv.padding[1] * pool.stride[1] + pool.padding[1],
        ),
        groups=conv.groups,
    )


def _inexact(connection: Connection, got: str) -> UnsupportedError:
    return UnsupportedError(
        f"connection {'+'.join(connection.sources)}->{connection.target}",
        got=got,
        expected="a pooling stage that one operator can express",
        fix="Keep the pooling stage, or give the pooled values a population of their own.",
    )


def _like(original: npt.NDArray[Any], weight: npt.NDArray[Any], c: Connection) -> npt.NDArray[Any]:
    if original.dtype != np.int8:
        return weight
    limit = (1 << (c.bits - 1)) - 1
    if np.abs(weight).max(initial=0) > limit:
        raise _inexact(c, f"overlapping windows whose weights add up to more than {limit}")
    return weight.astype(np.int8)


def _geometry(
    operator: Conv2d | Dense, weight: npt.NDArray[Any], pooled: Shape
) -> tuple[npt.NDArray[Any], list[Counts], int]:
    """A matrix as one kernel over everything: the kernel, what it reads per axis, its groups.

    The steps are (outputs, kernel, pooled), 1 where a kernel element of an output reads a position.
    """
    if isinstance(operator, Dense):
        steps = [np.eye(size, dtype=np.int64)[None] for size in pooled[1:]]
        return weight.reshape(weight.shape[0], *pooled), steps, 1
    steps = [_conv_steps(operator, axis, pooled[1 + axis]) for axis in (0, 1)]
    return weight, steps, operator.groups


def _grouped(kernel: npt.NDArray[Any], groups: int) -> npt.NDArray[Any]:
    """(groups, outputs, inputs, rows, columns)."""
    return kernel.reshape(groups, len(kernel) // groups, *kernel.shape[1:])


def _wide(kernel: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Of a type that holds sums of weights."""
    return kernel.astype(np.float64 if kernel.dtype.kind == "f" else np.int64)


def _as_pooled(scale: npt.NDArray[Any], source_shape: Shape) -> npt.NDArray[Any]:
    if len(source_shape) == 3:
        return scale.reshape((1,) * (3 - scale.ndim) + scale.shape)
    return np.broadcast_to(scale, source_shape).reshape(-1, 1, 1)


def _pool_cover(pool: SumPool, axis: int, shape: Shape) -> Counts:
    """(pooled, size): how often the sum at a pooled position holds a source position."""
    first = replace(pool, then=None)
    size, pooled = shape[1 + axis], first.output_shape(shape)[1 + axis]
    cover = np.zeros((pooled, size), dtype=np.int64)
    for p in range(pooled):
        cover[p, _window(pool, axis, p, size)] = 1
    if pool.then is None:
        return cover
    return _pool_cover(pool.then, axis, first.output_shape(shape)) @ cover


def _window(pool: SumPool, axis: int, position: int, size: int) -> list[int]:
    first = position * pool.stride[axis] - pool.padding[axis]
    taps = (first + j * pool.dilation[axis] for j in range(pool.kernel[axis]))
    return [tap for tap in taps if 0 <= tap < size]


def _conv_positions(conv: Conv2d, axis: int, size: int) -> npt.NDArray[np.int64]:
    """(outputs, kernel): the input position that each kernel element reads, maybe outside."""
    span = conv.dilation[axis] * (conv.kernel[axis] - 1)
    outputs = (size + 2 * conv.padding[axis] - span - 1) // conv.stride[axis] + 1
    starts = np.arange(outputs) * conv.stride[axis] - conv.padding[axis]
    return starts[:, None] + np.arange(conv.kernel[axis]) * conv.dilation[axis]


def _conv_steps(conv: Conv2d, axis: int, size: int) -> Counts:
    """(outputs, kernel, size): 1 where a kernel element of an output reads a position."""
    return (_conv_positions(conv, axis, size)[..., None] == np.arange(size)).astype(np.int64)


def _meetings(step: Counts, cover: Counts) -> tuple[Counts, Counts]:
    """Distinct multisets of kernel positions between a source and an output position, per axis.

    Args:
        step: (outputs, kernel, pooled) 0/1.
        cover: (pooled, size) counts.

    Returns:
        The sets as (sets, kernel) counts, and (size, sets): for how many outputs each occurs.
    """
    between = np.einsum("okp,py->yok", step, cover)
    size, outputs, kernel = between.shape
    sets, index = np.unique(between.reshape(-1, kernel), axis=0, return_inverse=True)
    often = np.zeros((size, len(sets)), dtype=np.int64)
    np.add.at(often, (np.repeat(np.arange(size), outputs), index.reshape(-1)), 1)
    return sets, often


def _contract(covers: list[Counts], exists: Counts) -> Counts:
    return np.asarray(np.einsum("py,cpq,qx->cyx", covers[0], exists, covers[1], optimize=True))


def _check_cut(
    connection: Connection, pool: SumPool, conv: Conv2d, axis: int, size: int, pooled: int
) -> None:
    """Refuse where the convolution's zero padding replaces a window that holds real elements."""
    for position in np.unique(_conv_positions(conv, axis, pooled)):
        if not 0 <= position < pooled and _window(pool, axis, int(position), size):
            raise _inexact(connection, f"zero padding after pooling {size} positions into {pooled}")
