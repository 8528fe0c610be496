"""Counts by a matrix of every synapse, from recorded spikes: for networks of real size.

Which elements a kernel or a window connects is worked out here by index arithmetic alone; nothing
of trispike's convolutions or fan-out is used.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse

from trispike.network import Connection, Conv2d, Dense, Network
from trispike.network.connection import Shape, SumPool
from trispike.runtime.sample_counts import SampleCounts

Array: TypeAlias = npt.NDArray[Any]
Matrix: TypeAlias = Any
"""Sparse, (targets, sources)."""


def _matrix(rows: Array, columns: Array, values: Array, shape: tuple[int, int]) -> Matrix:
    rows, columns, values = (a.reshape(-1) for a in np.broadcast_arrays(rows, columns, values))
    return sparse.coo_matrix((values, (rows, columns)), shape=shape).tocsr()


def _places(shape: Shape, window: SumPool | Conv2d, kernel: tuple[int, int]) -> tuple[Any, ...]:
    """Rows and columns that each place of a window reads at each output, and what is inside.

    Returns:
        Row, column, and whether both are inside: broadcast to (ky, kx, y, x); and (y, x) sizes.
    """
    _, height, width = shape
    (sy, sx), (py, px), (dy, dx) = window.stride, window.padding, window.dilation
    out_y = (height + 2 * py - dy * (kernel[0] - 1) - 1) // sy + 1
    out_x = (width + 2 * px - dx * (kernel[1] - 1) - 1) // sx + 1
    ky, kx, y, x = np.ogrid[: kernel[0], : kernel[1], :out_y, :out_x]
    row, column = y * sy - py + ky * dy, x * sx - px + kx * dx
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return row, column, inside, (out_y, out_x)


def _pooling(shape: Shape, pool: SumPool) -> tuple[Matrix, Shape]:
    row, column, inside, (out_y, out_x) = _places(shape, pool, pool.kernel)
    channels, height, width = shape
    y, x = np.ogrid[:out_y, :out_x]
    c = np.arange(channels).reshape(-1, 1, 1, 1, 1)
    target, source, inside = np.broadcast_arrays(
        (c * out_y + y) * out_x + x, (c * height + row) * width + column, inside
    )
    ones = np.ones(int(inside.sum()), np.int32)
    size = (channels * out_y * out_x, math.prod(shape))
    return _matrix(target[inside], source[inside], ones, size), (channels, out_y, out_x)


def _convolution(shape: Shape, conv: Conv2d, weight: Array) -> Matrix:
    outputs, inputs = weight.shape[:2]
    row, column, inside, (out_y, out_x) = _places(shape, conv, weight.shape[2:])
    _, height, width = shape
    o = np.arange(outputs).reshape(-1, 1, 1, 1, 1, 1)
    i = np.arange(inputs).reshape(-1, 1, 1, 1, 1)
    y, x = np.ogrid[:out_y, :out_x]
    channel = o // (outputs // conv.groups) * inputs + i
    target, source, values, inside = np.broadcast_arrays(
        (o * out_y + y) * out_x + x,
        (channel * height + row) * width + column,
        weight[..., None, None].astype(np.int32),
        inside,
    )
    size = (outputs * out_y * out_x, math.prod(shape))
    return _matrix(target[inside], source[inside], values[inside], size)


def matrices(connection: Connection, shape: Shape) -> tuple[Matrix, Matrix]:
    """Weights of all synapses, and all pairs that the geometry connects: (targets, sources)."""
    pools, operator = [], connection.operator
    for stage in connection.pool_stages:
        pool, shape = _pooling(shape, stage)
        pools.append(pool)
    found = []
    for weight in (operator.weight, np.ones_like(operator.weight)):
        if isinstance(operator, Conv2d):
            matrix = _convolution(shape, operator, weight)
        elif isinstance(operator, Dense):
            matrix = sparse.csr_matrix(weight.astype(np.int32))
        else:
            scale = weight if weight.size == math.prod(shape) else weight.reshape(-1, 1, 1)
            values = np.broadcast_to(scale, shape).reshape(-1).astype(np.int32)
            matrix = sparse.diags_array(values, dtype=np.int32).tocsr()
        for pool in reversed(pools):
            matrix = matrix @ pool
        found.append(matrix)
    return found[0], found[1]


def enumerated(network: Network, encoded: Array, spikes: dict[str, Array]) -> SampleCounts:
    """What every sample counts, synapse by synapse.

    Args:
        network: An integer network.
        encoded: Its input.
        spikes: By population, (N, T, *shape).
    """
    samples, steps, source = len(encoded), network.steps, network.input.name
    if network.input.encoding == "direct":
        encoded = np.broadcast_to(encoded[:, None], (samples, steps, *encoded.shape[1:]))
    # (elements, N * T), steps fastest.
    emitted = {
        name: values.reshape(samples * steps, -1).T.astype(np.int64)
        for name, values in {source: encoded, **spikes}.items()
    }
    sums = {n: np.zeros((p.size, samples * steps), int) for n, p in network.populations.items()}

    def room(names: Any) -> dict[str, Array]:
        return {name: np.zeros((samples, steps), np.int64) for name in names}

    operations, macs, zeros = (room(network.labels) for _ in range(3))
    for label, connection in network.labelled():
        weights, pairs = matrices(connection, network.source_shape(connection))
        synapses = weights != 0
        for name in connection.sources:
            payload = _late(emitted[name], steps, connection.delay)
            ternary = (np.abs(payload) == 1).astype(np.int64)
            active = (payload != 0).astype(np.int64)
            met = (synapses @ active).sum(axis=0)
            done = (synapses @ ternary).sum(axis=0)
            operations[label] += done.reshape(samples, steps)
            macs[label] += (met - done).reshape(samples, steps)
            zeros[label] += (
                ((pairs != 0) @ active - synapses @ active).sum(axis=0).reshape(samples, steps)
            )
            if connection.target in sums:
                sums[connection.target] += weights @ payload << connection.exponent
    return SampleCounts(
        spikes={n: _totals(emitted[n], samples) for n in network.populations},
        updates_with_input={n: _totals(total, samples) for n, total in sums.items()},
        synaptic_operations=operations,
        macs=macs,
        zero_weight_operations=zeros,
        input_events={source: _totals(emitted[source], samples)},
    )


def _late(payload: Array, steps: int, delay: int) -> Array:
    by_step = payload.reshape(len(payload), -1, steps)
    late = np.zeros_like(by_step)
    late[..., delay:] = by_step[..., : steps - delay]
    return late.reshape(payload.shape)


def _totals(values: Array, samples: int) -> Array:
    """How many elements are not zero: (N, T)."""
    return np.count_nonzero(values, axis=0).reshape(samples, -1).astype(np.int64)
