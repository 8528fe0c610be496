"""What depends on the time step itself: windows of firing, gains, an input presented once."""

from __future__ import annotations

import numpy as np

from trispike.network import Dense, Identity
from trispike.runtime.conformance.parts import (
    DOUBLE,
    HALF,
    KEEP,
    THRESHOLD,
    Array,
    Draft,
    Exact,
    Kind,
)

ONE = Identity(scale=np.array(1))
"""Graded spikes as they are, in state units."""


def firing_window(kind: Kind) -> Exact:
    """A constant input g, soft reset, firing from step 3 on and until step 8.

    What has come in waits for the window and leaves it one spike a step: after t steps
    min(t - 3, floor(t*g/th)) spikes, and none after the window.
    """
    steps, drive = 11, np.array([64, 40, 21, 10, 0, -40])
    draft = Draft(kind, drive[None], encoding="direct", steps=steps)
    t = np.arange(steps + 1)[:, None]
    expected = {}
    for name, first, until in (("window", 3, 8), ("late", 3, None), ("early", 0, 5)):
        draft.populate(
            name, drive.shape, th_pos=THRESHOLD, b=KEEP, reset="subtract",
            fire_from=first, fire_until=until,
        )  # fmt: skip
        draft.connect("input", name, ONE)
        open_ = np.minimum(t, steps if until is None else until)
        count = np.clip(open_ * drive // THRESHOLD, 0, np.maximum(open_ - first, 0))
        v = drive * t[1:] - THRESHOLD * count[:-1]
        expected[name] = {"s": np.diff(count, axis=0)[None], "v": v[None]}
    return draft.exact(expected)


def quantized_levels(kind: Kind) -> Exact:
    """Two layers of a quantized ANN, exact in spikes (PASCAL, arXiv 2505.01730).

    An analog input enters at the first step only. From v_init = th/2, a layer that has received S
    fires clip(floor(S/th + 1/2), 0, 4) spikes in its four steps, which is the level of the
    quantized activation; the second layer integrates the first one's steps silently.
    """
    steps, levels = 8, 4
    x = np.array([[0, 15, 16, -100, 47, 48, 80, 127], [127, 127, -127, 1, 112, 111, 20, 60]])
    draft = Draft(kind, x, encoding="once", steps=steps)
    half = {"b": KEEP, "v_init": THRESHOLD // 2, "th_pos": THRESHOLD, "reset": "subtract"}
    draft.populate("first", (8,), fire_until=levels, **half)
    draft.connect("input", "first", Identity(scale=np.array(2)))
    weights = np.array([[16] * 8, [8, -8] * 4, [-16] * 8, [64, 0, 0, 0, 0, 0, 0, -24]])
    draft.populate("second", (4,), fire_from=levels, **half)
    draft.connect("first", "second", Dense(weight=weights))
    t = np.arange(steps + 1)[None, :, None]
    received = 2 * x[:, None]
    one = _levels(received, np.minimum(t, levels))
    summed = one[:, 1:] @ weights.T
    two = _levels(summed[:, -1:], np.clip(t - levels, 0, levels))
    expected = {}
    for name, total, count in (("first", received, one), ("second", summed, two)):
        v = THRESHOLD // 2 + total - THRESHOLD * count[:, :-1]
        expected[name] = {"s": np.diff(count, axis=1), "v": v}
    return draft.exact(expected)


def _levels(received: Array, room: Array) -> Array:
    """Spikes of a neuron that has received so much, in so many steps of firing."""
    return np.clip((received + THRESHOLD // 2) // THRESHOLD, 0, room)


def time_gains(kind: Kind) -> Exact:
    """Gains 1, 1/2, 2, 0, 1/2 on input and bias: half an odd number rounds toward zero.

    Input and bias are rounded each on its own: 5 and 3 become 2 and 1.
    """
    gains = np.array([KEEP, HALF, DOUBLE, 0, HALF])
    x, bias = np.array([[5, -5, 4, -1, 1, 60]]), np.array([3, -3, 2, 1, -1, 4])
    draft = Draft(kind, x, encoding="direct", steps=gains.size)
    draft.populate(
        "gain", bias.shape, th_pos=THRESHOLD, th_neg=THRESHOLD, bias=bias, gains=gains.tolist()
    )
    draft.connect("input", "gain", ONE)
    factor = (gains / KEEP)[:, None]
    parts = [factor * x, factor * bias]
    v = sum(np.trunc(part) for part in parts) if kind == "integer" else sum(parts)
    v = np.asarray(v)[None]
    return draft.exact({"gain": {"s": (v >= THRESHOLD).astype(int) - (v <= -THRESHOLD), "v": v}})
