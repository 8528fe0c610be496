"""What one neuron does: thresholds, resets, retention, rounding, saturation."""

from __future__ import annotations

import numpy as np

from trispike.network import Dense, Identity
from trispike.network.fixed_point import state_limit
from trispike.runtime.conformance.parts import (
    HALF,
    KEEP,
    QUARTER,
    THRESHOLD,
    WEIGHT,
    Draft,
    Exact,
    Kind,
    delayed,
    halved,
    trains,
)

ONE = Identity(scale=np.array(1))
"""Graded spikes as they are, in state units."""


def ternary_signs(kind: Kind) -> Exact:
    """Spikes of both signs through a relay, an inverter, and thresholds of unequal size."""
    x = np.array([[1, -1, 0, 2, -2, 1, 1, -1], [-2, 2, 0, 0, -1, -1, 1, 0]])[:, :, None]
    draft = Draft(kind, x)
    draft.relay("input", "relay", (1,))
    draft.populate("inverter", (1,), th_pos=THRESHOLD, th_neg=THRESHOLD)
    draft.connect("relay", "inverter", Identity(scale=np.array(-WEIGHT)))
    draft.populate("unequal", (1,), th_pos=THRESHOLD, th_neg=2 * THRESHOLD)
    draft.connect("input", "unequal", Identity(scale=np.array(WEIGHT)))
    draft.relay("input", "binary", (1,), ternary=False)
    sign, v = np.sign(x), WEIGHT * x
    return draft.exact(
        {
            "relay": {"s": sign, "v": v},
            "inverter": {"s": -sign, "v": -WEIGHT * sign},
            "unequal": {"s": (x >= 1).astype(int) - (x <= -2), "v": v},
            "binary": {"s": x >= 1, "v": v},
        }
    )


def ternary_complement(kind: Kind) -> Exact:
    """A decision that only the carried potential of CTSN explains.

    A first input x0 leaves c = x0/2 behind; the second makes the neuron fire and resets v, but not
    c, of which a half (a quarter below zero) is still there when the third arrives. It reaches the
    threshold with it, exactly, and a neuron with a = 0 does not. Worked by hand, without rounding.
    """
    x = np.array([[32, 64, 56, 0], [32, 64, 54, 0], [0, 64, 56, 0], [-32, -64, -60, 0]])
    c = np.array([[0, 16, 8, 4], [0, 16, 8, 35], [0, 0, 0, 28], [0, -16, -4, -1]])
    plain = np.array([[0, 16, 0, 28], [0, 16, 0, 27], [0, 0, 0, 28], [0, -16, 0, -30]])
    fires = np.array([[0, 1, 1, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, -1, -1, 0]])
    plain_fires = np.array([[0, 1, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, -1, 0, 0]])
    draft = Draft(kind, x[:, :, None])
    shared = {"b": HALF, "th_pos": THRESHOLD, "th_neg": THRESHOLD}
    draft.populate("ctsn", (1,), a_pos=HALF, a_neg=QUARTER, **shared)
    draft.populate("without", (1,), **shared)
    for name in ("ctsn", "without"):
        draft.connect("input", name, ONE)
    expected = {"ctsn": (fires, c), "without": (plain_fires, plain)}
    return draft.exact(
        {
            name: {"s": s[:, :, None], "c": c[:, :, None], "v": (c + x)[:, :, None]}
            for name, (s, c) in expected.items()
        }
    )


def retention_by_sign(kind: Kind) -> Exact:
    """b_pos and b_neg by the sign of v, a_pos and a_neg by the sign of c.

    With a = 0 a pulse decays by halves above zero and by quarters below; where c is fed only by
    v's first value, because every later one is reset, it decays by a alone.
    """
    pulse = np.array([96, -96, 64, -64])
    x = np.zeros((1, 5, 4), dtype=np.int64)
    x[0, 0] = pulse
    t = np.arange(5)[:, None]
    draft = Draft(kind, x)
    draft.populate("leak", (4,), b_pos=HALF, b_neg=QUARTER)
    draft.populate(
        "carry", (4,), a_pos=HALF, a_neg=QUARTER, b=KEEP, th_pos=1, th_neg=1, v_init=pulse
    )
    draft.connect("input", "leak", ONE)
    draft.connect("input", "carry", Identity(scale=np.array(0)))
    times = np.where(pulse > 0, 1, 2) * t
    leak = halved(pulse, times, kind)
    # Every step fires and resets v while c is at least one unit away from zero.
    alive = np.abs(leak) >= 1
    expected = {
        "leak": {"s": np.zeros_like(x), "v": leak[None]},
        "carry": {"s": (np.sign(leak) * alive)[None], "c": leak[None], "v": leak[None]},
    }
    return draft.exact(expected)


def soft_reset_rate(kind: Kind) -> Exact:
    """A constant input g, soft reset: floor(t*|g|/th) spikes in t steps, at most one a step.

    The potential is what has come in less th for each spike, so that nothing is lost.
    """
    steps, drive = 13, np.array([5, 16, 21, 32, 63, 64, 100, -21, -64, -100, 0, 1])
    draft = Draft(kind, drive[None], encoding="direct", steps=steps)
    draft.populate(
        "rate", drive.shape, th_pos=THRESHOLD, th_neg=THRESHOLD, b=KEEP, reset="subtract"
    )
    draft.connect("input", "rate", ONE)
    t = np.arange(steps + 1)[:, None]
    count = np.minimum(t, t * np.abs(drive) // THRESHOLD)
    s = np.sign(drive) * np.diff(count, axis=0)
    v = drive * t[1:] - np.sign(drive) * THRESHOLD * count[:-1]
    return draft.exact({"rate": {"s": s[None], "v": v[None]}})


def resets(kind: Kind) -> Exact:
    """Beyond the threshold: reset "zero" drops the rest, "subtract" keeps it, "none" keeps all.

    Inputs 100, 0, 30, 0, -120, 0; thresholds 64 and -50. Worked by hand.
    """
    x = np.array([[100, 0, 30, 0, -120, 0]])
    v = {
        "zero": [100, 0, 30, 30, -90, 0],
        "subtract": [100, 36, 66, 2, -118, -68],
        "none": [100, 100, 130, 130, 10, 10],
    }
    draft = Draft(kind, x[:, :, None])
    for name in v:
        draft.populate(name, (1,), th_pos=THRESHOLD, th_neg=50, b=KEEP, reset=name)
        draft.connect("input", name, ONE)
    table = {name: np.array(values)[None, :, None] for name, values in v.items()}
    return draft.exact(
        {name: {"s": (v >= 64).astype(int) - (v <= -50), "v": v} for name, v in table.items()}
    )


def exact_threshold(kind: Kind) -> Exact:
    """At the threshold itself an inclusive neuron fires and a strict one does not, both signs."""
    x = np.array([-65, -64, -63, -1, 0, 1, 63, 64, 65])
    draft = Draft(kind, np.stack([x, -x])[:, None])
    expected = {}
    v = draft.inputs
    for name, strict in (("inclusive", False), ("strict", True)):
        draft.populate(name, x.shape, th_pos=THRESHOLD, th_neg=THRESHOLD, strict=strict)
        draft.connect("input", name, ONE)
        above, below = (v > 64, v < -64) if strict else (v >= 64, v <= -64)
        expected[name] = {"s": above.astype(int) - below, "v": v}
    return draft.exact(expected)


def fire_once(kind: Kind) -> Exact:
    """Time to first spike: ceil(th/g) steps of an input g, and never again, whatever the reset."""
    steps, drive = 10, np.array([64, 33, 16, 7, 5, -16, 100, -100])
    draft = Draft(kind, drive[None], encoding="direct", steps=steps)
    t, when = np.arange(steps)[:, None], -(-THRESHOLD // np.abs(drive)) - 1
    s = np.sign(drive) * (t == when)
    after = {"zero": (when + 1) * drive, "subtract": THRESHOLD * np.sign(drive)}
    expected = {}
    for reset, lost in after.items():
        draft.populate(
            reset, drive.shape, th_pos=THRESHOLD, th_neg=THRESHOLD, b=KEEP, reset=reset,
            fire_once=True,
        )  # fmt: skip
        draft.connect("input", reset, ONE)
        v = (t + 1) * drive - np.where(t > when, lost, 0)
        expected[reset] = {"s": s[None], "v": v[None]}
    return draft.exact(expected)


def floor(kind: Kind) -> Exact:
    """Sums above a floor f: S(t) + max(0, f - the least S so far), a reflected walk."""
    x = np.array([[-30, 10, -5, -40, 60, -10, -90, 20], [5, -10, 20, -14, -2, 0, 1, -120]])
    floors = np.array([0, -20, -64])
    draft = Draft(kind, x[:, :, None])
    draft.populate("reflected", (3,), b=KEEP, floor=floors)
    draft.populate("free", (1,), b=KEEP)
    draft.connect("input", "reflected", Dense(weight=np.ones((3, 1), dtype=np.int64)))
    draft.connect("input", "free", ONE)
    total = np.cumsum(x, axis=1)[:, :, None]
    lifted = np.maximum(0, np.maximum.accumulate(floors - total, axis=1))
    v = {"reflected": total + lifted, "free": total}
    return draft.exact({name: {"s": np.zeros_like(v), "v": v} for name, v in v.items()})


def synaptic_current(kind: Kind) -> Exact:
    """A current that decays by half a step: w/2**n after a spike, and a reset does not touch it.

    A neuron without leak fires at the spike and then gathers w*(1 - 2**-n); a current that keeps
    everything counts the spikes.
    """
    x = trains("+.....", "..+...", "......")[:, :, None]
    start = np.array([0, 2, 6])[:, None, None]
    draft = Draft(kind, x)
    draft.populate("filter", (1,), k=HALF)
    draft.populate("gather", (1,), k=HALF, b=KEEP, th_pos=WEIGHT)
    draft.populate("count", (1,), k=KEEP)
    for name in ("filter", "gather", "count"):
        draft.connect("input", name, Identity(scale=np.array(WEIGHT)))
    after = np.arange(6)[None, :, None] - start
    i = np.where(after >= 0, halved(WEIGHT, np.maximum(after, 0), kind), 0)
    silent = np.zeros_like(x)
    gathered = np.where(after > 0, WEIGHT - i, i)
    counted = WEIGHT * np.cumsum(x, axis=1)
    return draft.exact(
        {
            "filter": {"s": silent, "i": i, "v": i},
            "gather": {"s": after == 0, "i": i, "v": gathered},
            "count": {"s": silent, "i": counted, "v": counted},
        }
    )


def start_potential(kind: Kind) -> Exact:
    """v_init and bias of each neuron: v(t) = v_init + (t+1)*bias without a leak.

    v_init counts as a potential before the first step, so it is halved already in it.
    """
    v_init, bias = np.array([0, 10, -10, 40, -64]), np.array([3, 0, 2, -7, 1])
    steps = 5
    draft = Draft(kind, np.zeros((2, 5)), encoding="direct", steps=steps)
    draft.populate("sum", (5,), b=KEEP, v_init=v_init, bias=bias)
    draft.populate("leak", (5,), b=HALF, v_init=v_init)
    draft.populate("forgets", (5,), v_init=v_init, bias=bias)
    t = np.arange(steps)[:, None]
    v = {
        "sum": v_init + (t + 1) * bias,
        "leak": halved(v_init, t + 1, kind),
        "forgets": bias + 0 * t,
    }
    for name in v:
        draft.connect("input", name, Identity(scale=np.array(0)))
    both = {name: np.broadcast_to(values, (2, steps, 5)) for name, values in v.items()}
    return draft.exact({name: {"s": np.zeros(v.shape), "v": v} for name, v in both.items()})


def rounding(kind: Kind) -> Exact:
    """Retention rounds toward zero: a half t times is a shift of the magnitude by t.

    4095/4096 takes one unit a step from every magnitude up to 4096, down to zero and not beyond.
    Where c is what is left of itself and of v, each half is rounded on its own: half of v_init at
    first, and then that without its last bit, for ever.
    """
    start = np.array([1, -1, 2, -2, 3, -3, 5, -5, 7, -7, 64, -64, 101, -101])
    x = np.zeros((1, 6, start.size), dtype=np.int64)
    x[0, 0] = start
    t = np.arange(6)[:, None]
    size, sign = np.abs(start), np.sign(start)
    draft = Draft(kind, x)
    draft.populate("potential", start.shape, b=HALF, v_init=2 * start)
    draft.populate("current", start.shape, k=HALF)
    draft.populate("slow", start.shape, b=KEEP - 1, v_init=start)
    draft.populate("carried", start.shape, a_pos=HALF, a_neg=HALF, b=HALF, v_init=start)
    draft.connect("input", "current", ONE)
    for name in ("potential", "slow", "carried"):
        draft.connect("input", name, Identity(scale=np.array(0)))
    first, later = sign * (size >> 1), sign * (size >> 2 << 1)
    v = {
        "potential": halved(start, t, kind),
        "current": halved(start, t, kind),
        "slow": sign * np.maximum(0, size - t - 1),
        "carried": np.where(t == 0, first, later),
    }
    return draft.exact({name: {"s": np.zeros(x.shape), "v": v[None]} for name, v in v.items()})


def saturation(kind: Kind) -> Exact:
    """States of 8 bits stop at +-127 and come back from there; "never" is not reached.

    Potential, current and carried potential each stop on their own; the sum of carried potential,
    current and bias is clipped once, as a whole. Worked by hand.
    """
    drive = [50, 50, 50, 50, -50, -50, -50, -50, -127, -127]
    pulse = [50] + [0] * 9
    draft = Draft(kind, np.array([[drive, pulse, [127] * 10]]).swapaxes(1, 2))
    limit = state_limit(8)
    walk = [50, 100, 127, 127, 77, 27, -23, -73, -127, -127]
    v = {
        "potential": walk,
        "current": walk,
        "carried": [50, 50, 100, 127, 127, 127, 127, 127, 127, 127],
        "sum": [27, 54, 81, 108, 127, 127, 127, 127, 127, 127],
        "edge": walk,
    }
    bits = {"state_bits": 8, "state_shift": 0}
    draft.populate("potential", (1,), b=KEEP, **bits)
    draft.populate("current", (1,), k=KEEP, **bits)
    draft.populate("carried", (1,), a_pos=KEEP, a_neg=KEEP, b=KEEP, **bits)
    draft.populate("sum", (1,), b=KEEP, bias=-100, **bits)
    draft.populate("edge", (1,), b=KEEP, th_pos=limit, th_neg=limit, reset="none", **bits)
    lines = {"potential": 0, "current": 0, "carried": 1, "sum": 2, "edge": 0}
    expected = {}
    for name, line in lines.items():
        draft.connect("input", name, Dense(weight=np.eye(3, dtype=np.int64)[[line]]))
        values = np.array(v[name])[None, :, None]
        expected[name] = {"s": np.zeros_like(values), "v": values}
    expected["edge"]["s"] = np.sign(expected["edge"]["v"]) * (abs(expected["edge"]["v"]) == limit)
    expected["current"]["i"] = expected["current"]["v"]
    return draft.exact(expected)


def fresh_samples(kind: Kind) -> Exact:
    """No sample sees anything of the one before: current, potential, delays, loops, fire-once."""
    loud = trains("+++++")
    x = np.concatenate([loud, 0 * loud, loud, 0 * loud])[:, :, None]
    active = x[:, :1] != 0
    draft = Draft(kind, x)
    draft.populate("sums", (1,), k=KEEP, b=KEEP)
    draft.connect("input", "sums", ONE)
    draft.relay("input", "late", (1,), delay=3)
    draft.relay("input", "loop", (1,))
    draft.connect("loop", "loop", ONE, delay=1)
    draft.populate("once", (1,), th_pos=THRESHOLD, b=KEEP, fire_once=True)
    draft.connect("input", "once", Identity(scale=np.array(WEIGHT)))
    i = np.cumsum(x, axis=1)
    once = active & (np.arange(5)[None, :, None] == 0)
    v_once = np.where(once, WEIGHT, WEIGHT * (i - active))
    return draft.exact(
        {
            "sums": {"s": 0 * x, "i": i, "v": np.cumsum(i, axis=1)},
            "late": {"s": delayed(x, 3), "v": WEIGHT * delayed(x, 3)},
            "loop": {"s": x, "v": WEIGHT * x + delayed(x, 1)},
            "once": {"s": once, "v": v_once},
        }
    )


def widths(kind: Kind) -> Exact:
    """Weights shifted left on their way into the state; the bias is not shifted with them."""
    x = np.array([[1, -1, 0, 2, -3]])[:, :, None]
    draft = Draft(kind, x)
    expected = {}
    for exponent, shift in ((0, 0), (0, 3), (0, 6), (3, 0), (4, 6), (0, 16)):
        name, step = f"shift{exponent}and{shift}", 5 << exponent << shift
        draft.populate(name, (1,), th_pos=step + 3, th_neg=2 * step - 3, bias=3, state_shift=shift)
        draft.connect("input", name, Identity(scale=np.array(5)), exponent=exponent)
        expected[name] = {"s": (x >= 1).astype(int) - (x <= -2), "v": step * x + 3}
    return draft.exact(expected)
