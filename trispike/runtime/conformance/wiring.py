"""What lies between neurons: kernels, edges, pooling, groups, several sources, input, readout."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from trispike.network import Conv2d, Dense, Identity, SumPool
from trispike.runtime.conformance.parts import (
    KEEP,
    THRESHOLD,
    WEIGHT,
    Array,
    Draft,
    Exact,
    Kind,
    delayed,
    to_readout,
    trains,
)

Pair = tuple[int, int]

STEPS = 2
"""Time steps where time does not matter."""


def convolution(kind: Kind) -> Exact:
    """Kernels over edges: single spikes and a full picture under padding, stride and dilation.

    Expected is the definition, one product after the other: out[o, r, c] is the sum of
    w[o, i, y, x] * in[i, r*stride + y*dilation - padding, ...] where that lies in the picture.
    """
    shape = (2, 5, 4)
    x = _impulses(shape)
    draft = Draft(kind, x)
    weights = {"strided": (3, 2, 3, 2), "dilated": (2, 2, 2, 2), "same": (2, 2, 3, 3)}
    settings: dict[str, dict[str, Any]] = {
        "strided": {"stride": (2, 1), "padding": (1, 1)},
        "dilated": {"stride": (1, 2), "dilation": (2, 1), "padding": (0, 1)},
        "same": {"padding": (1, 1)},
    }
    expected = {}
    for name, size in weights.items():
        operator = Conv2d(weight=_distinct(size), **settings[name])
        v = _correlated(x, operator)
        draft.populate(name, v.shape[2:], th_pos=20, th_neg=20)
        draft.connect("input", name, operator)
        expected[name] = {"s": _fired(v, 20), "v": v}
    return draft.exact(expected)


def groups(kind: Kind) -> Exact:
    """Channel groups: an output reads the inputs of its own group only, depthwise included."""
    shape = (4, 3, 3)
    x = _impulses(shape)
    draft = Draft(kind, x)
    expected = {}
    for name, number, size in (("two", 2, (6, 2, 2, 2)), ("depthwise", 4, (4, 1, 3, 3))):
        operator = Conv2d(weight=_distinct(size), groups=number, padding=(1, 1))
        v = _correlated(x, operator)
        draft.populate(name, v.shape[2:], th_pos=20, th_neg=20)
        draft.connect("input", name, operator)
        expected[name] = {"s": _fired(v, 20), "v": v}
    return draft.exact(expected)


def pooling(kind: Kind) -> Exact:
    """Sums over windows before the weights: edges, overlap, dilation, and sums of sums."""
    shape = (2, 5, 4)
    x = _impulses(shape)
    pools = {
        "halves": SumPool(kernel=(2, 2), stride=(2, 2)),
        "overlapping": SumPool(kernel=(3, 2), stride=(1, 1), padding=(1, 1)),
        "dilated": SumPool(kernel=(2, 2), stride=(2, 1), dilation=(2, 2)),
        "twice": SumPool(kernel=(2, 1), stride=(1, 1), then=SumPool(kernel=(2, 2), stride=(2, 2))),
    }
    draft = Draft(kind, x)
    expected = {}
    for name, pool in pools.items():
        summed = x
        for stage in pool.stages:
            summed = _pooled(summed, stage)
        scale = np.array([WEIGHT, -WEIGHT // 2])[:, None, None]
        v = scale * summed
        draft.populate(name, v.shape[2:], th_pos=THRESHOLD, th_neg=THRESHOLD)
        draft.connect("input", name, Identity(scale=scale), pool=pool)
        expected[name] = {"s": _fired(v, THRESHOLD), "v": v}
    return draft.exact(expected)


def flattening(kind: Kind) -> Exact:
    """Row-major order: a permutation of (C, H, W) into a vector, and another one back."""
    shape = (2, 3, 4)
    x = _impulses(shape)
    there, back = np.random.default_rng(24).permuted([np.arange(24)] * 2, axis=1)
    eye = WEIGHT * np.eye(24, dtype=np.int64)
    draft = Draft(kind, x)
    draft.populate("vector", (24,), th_pos=THRESHOLD, th_neg=THRESHOLD)
    draft.connect("input", "vector", Dense(weight=eye[there]))
    draft.populate("picture", shape, th_pos=THRESHOLD, th_neg=THRESHOLD)
    draft.connect("vector", "picture", Dense(weight=eye[back]))
    vector = x.reshape(*x.shape[:2], 24)[..., there]
    picture = vector[..., back].reshape(x.shape)
    values = {"vector": vector, "picture": picture}
    return draft.exact({name: {"s": s, "v": WEIGHT * s} for name, s in values.items()})


def thresholds(kind: Kind) -> Exact:
    """One threshold for all, one per channel, one per neuron, at exactly the potential or not."""
    shape = (3, 2, 2)
    x = np.stack([np.arange(1, 13), np.arange(12, 0, -1), -np.arange(12)]).reshape(3, *shape)
    each = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]).reshape(shape)
    draft = Draft(kind, x, encoding="direct", steps=STEPS)
    sizes = {"shared": np.array(6), "channel": np.array([2, 6, 11])[:, None, None], "neuron": each}
    v = np.repeat(x[:, None], STEPS, axis=1)
    expected = {}
    for name, threshold in sizes.items():
        draft.populate(name, shape, th_pos=threshold, th_neg=threshold)
        draft.connect("input", name, Identity(scale=np.array(1)))
        expected[name] = {"s": (v >= threshold).astype(int) - (v <= -threshold), "v": v}
    return draft.exact(expected)


def sources(kind: Kind) -> Exact:
    """Several sources of one connection, and several connections into one population, add up.

    64 for x(t) and for x(t-1), which cancel if they oppose; 16 for x(t-2); 1 more for x(t). The
    shortcut has a scale per channel.
    """
    x = np.stack(
        [trains("+-.++--.", "++++....", "-.......").T, trains("-+.+-.--", "----....", ".......+").T]
    )
    now, before, earlier = x, delayed(x, 1), delayed(x, 2)
    draft = Draft(kind, x)
    draft.relay("input", "direct", (3,))
    draft.relay("input", "late", (3,), delay=1)
    draft.populate("sum", (3,), th_pos=THRESHOLD, th_neg=THRESHOLD)
    draft.connect(("direct", "late"), "sum", Identity(scale=np.array(WEIGHT)))
    draft.connect("direct", "sum", Identity(scale=np.array(16)), delay=2)
    draft.connect("direct", "sum", Identity(scale=np.array(1)))
    draft.populate("shortcut", (3,), th_pos=THRESHOLD, th_neg=THRESHOLD)
    scale = np.array([64, -64, 32])
    draft.connect(("input", "late"), "shortcut", Identity(scale=scale))
    v = WEIGHT * (now + before) + 16 * earlier + now
    shortcut = scale * (now + before)
    return draft.exact(
        {
            "direct": {"s": now, "v": WEIGHT * now},
            "late": {"s": before, "v": WEIGHT * before},
            "sum": {"s": _fired(v, THRESHOLD), "v": v},
            "shortcut": {"s": _fired(shortcut, THRESHOLD), "v": shortcut},
        }
    )


def graded_input(kind: Kind) -> Exact:
    """Raw numbers less a mean, over a deviation; in integers rounded half to even, clipped at 127.

    With mean 10, deviation 4 and a unit of 1/2, a raw r is (r - 10)/2 units.
    """
    raw = np.array([10, 11, 13, 15, 17, 9, 7, 5, 0, 12, 264, 266, 400, -246, -500, 10.5])
    rounded = np.array([0, 0, 2, 2, 4, 0, -2, -2, -5, 1, 127, 127, 127, -127, -127, 0])
    frames = np.stack([raw, raw[::-1]])[None]
    draft = Draft(kind, frames, encoding="frames", mean=10.0, std=4.0, scale=0.5)
    draft.populate("graded", raw.shape, th_pos=6, th_neg=6)
    draft.connect("input", "graded", Identity(scale=np.array(3)))
    received = np.stack([rounded, rounded[::-1]])[None] if kind == "integer" else (frames - 10) / 4
    v = 3 * received
    return draft.exact({"graded": {"s": (v >= 6).astype(int) - (v <= -6), "v": v}})


def repeated_input(kind: Kind) -> Exact:
    """One analog picture, shown at every step: its values times the steps, without a leak."""
    x = np.array([[127, -127, 1, 0, 50], [0, 1, -1, 64, -64]])
    draft = Draft(kind, x, encoding="direct", steps=4)
    draft.populate("sum", (5,), b=KEEP)
    draft.connect("input", "sum", Identity(scale=np.array(2)))
    v = 2 * x[:, None] * np.arange(1, 5)[:, None]
    return draft.exact({"sum": {"s": np.zeros(v.shape), "v": v}})


def readout_weights(kind: Kind) -> Exact:
    """Time weights, bias, several connections and a delay into the readout, and its own shift.

    A step yields (W s(t) + V s(t-2)) * 8 + bias, and counts 1, 0, -2, 5, 3 times.
    """
    x = np.stack(
        [trains("+-.++", ".+-+-").T, trains("-....", "+++++").T, trains(".....", ".....").T]
    )
    w, late = np.array([[3, -1], [0, 2], [1, 1]]), np.array([[5, 0], [-7, 1], [0, 0]])
    bias = np.array([10, -20, 0])
    draft = Draft(kind, x)
    draft.relay("input", "relay", (2,))
    connections = [
        to_readout("relay", Dense(weight=w)),
        to_readout("relay", Dense(weight=late), delay=2),
    ]
    return draft.exact_readout(
        {"relay": {"s": x, "v": WEIGHT * x}},
        connections,
        (x @ w.T + delayed(x, 2) @ late.T) * 8 + bias,
        bias=bias,
        weights=np.array([1, 0, -2, 5, 3]),
        shift=3,
    )


def last_step(kind: Kind) -> Exact:
    """A readout of the last step alone: what was fired before it does not count."""
    x = np.stack([trains("+++.", "...+").T, trains("---+", "+-+-").T])
    draft = Draft(kind, x)
    draft.relay("input", "relay", (2,))
    return draft.exact_readout(
        {"relay": {"s": x, "v": WEIGHT * x}},
        [to_readout("relay", Dense(weight=np.array([[2, 1], [-1, 3]])))],
        x @ np.array([[2, -1], [1, 3]]),
        weights=np.array([0, 0, 0, 1]),
    )


def _impulses(shape: tuple[int, ...]) -> Array:
    """(N, 2, *shape): a spike at every place in turn, a picture full of them, a mixed one.

    The second step has a spike of the other sign elsewhere.
    """
    size = int(np.prod(shape))
    single = np.eye(size, dtype=np.int64)
    pictures = np.concatenate([single, np.ones((1, size), np.int64), _mixed(size)[None]])
    return np.stack([pictures, -np.roll(pictures, 3, axis=1)], axis=1).reshape(-1, 2, *shape)


def _mixed(size: int) -> Array:
    return np.arange(size) * 7 % 3 - 1


def _distinct(shape: tuple[int, ...]) -> Array:
    """Weights that are all different, of either sign."""
    size = int(np.prod(shape))
    return ((np.arange(size) * 2 + 1) * (-1) ** np.arange(size)).reshape(shape)


def _correlated(x: Array, operator: Conv2d) -> Array:
    """The definition of a convolution, product by product."""
    weight = operator.weight.astype(np.int64)
    outputs, inputs = weight.shape[:2]
    per_group = outputs // operator.groups
    rows, columns = (
        _places(x.shape[axis], weight.shape[axis], *geometry)
        for axis, geometry in (
            (-2, [pair[0] for pair in (operator.stride, operator.padding, operator.dilation)]),
            (-1, [pair[1] for pair in (operator.stride, operator.padding, operator.dilation)]),
        )
    )
    out = np.zeros((*x.shape[:2], outputs, len(rows), len(columns)), dtype=np.int64)
    for (o, i), (r, row), (c, column) in product(
        product(range(outputs), range(inputs)), enumerate(rows), enumerate(columns)
    ):
        channel = o // per_group * inputs + i
        for (y, below), (z, across) in product(row, column):
            out[:, :, o, r, c] += weight[o, i, y, z] * x[:, :, channel, below, across]
    return out


def _pooled(x: Array, pool: SumPool) -> Array:
    """The definition of a sum over windows, value by value."""
    rows, columns = (
        _places(
            x.shape[axis], pool.kernel[axis], pool.stride[axis], pool.padding[axis],
            pool.dilation[axis],
        )
        for axis in (-2, -1)
    )  # fmt: skip
    out = np.zeros((*x.shape[:3], len(rows), len(columns)), dtype=np.int64)
    for (r, row), (c, column) in product(enumerate(rows), enumerate(columns)):
        for (_, below), (_, across) in product(row, column):
            out[..., r, c] += x[..., below, across]
    return out


def _places(size: int, kernel: int, stride: int, padding: int, dilation: int) -> list[list[Pair]]:
    """For every output, the pairs of kernel element and input that meet, edges left out."""
    first = range(-padding, size + padding - dilation * (kernel - 1), stride)
    return [
        [(k, start + k * dilation) for k in range(kernel) if 0 <= start + k * dilation < size]
        for start in first
    ]


def _fired(v: Array, threshold: int) -> Array:
    return (v >= threshold).astype(np.int64) - (v <= -threshold)
