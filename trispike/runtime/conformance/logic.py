"""Counters, delays, clocks, memories and gates: spikes that follow from counting alone."""

from __future__ import annotations

import numpy as np

from trispike.network import Dense, Identity
from trispike.runtime.conformance.parts import (
    HALF,
    KEEP,
    THRESHOLD,
    WEIGHT,
    Array,
    Draft,
    Exact,
    Kind,
    delayed,
    halved,
    trains,
)


def every_mth_spike(kind: Kind) -> Exact:
    """Neurons that pass every m-th spike, m = 1..8 (arXiv 2512.16872).

    No leak, floor 0, reset to zero, threshold 1 strict, weight in (1/m, 1/(m-1)]; for m = 2..7 it
    is the closed end, so that m - 1 spikes reach the threshold exactly and must not fire. After K
    spikes, 1 + (K-1) mod m of them are in the neuron.
    """
    threshold, m = 120, np.arange(1, 9)
    weights = np.array([121, 120, 60, 40, 30, 24, 20, 17])
    x = trains("++++++++++++++++++++++++", "+.++..+++.+++++..++++.++", "........................")
    pulse = x[:, :, None] == 1
    count = np.cumsum(pulse, axis=1)
    draft = Draft(kind, x[:, :, None])
    draft.populate("divider", (8,), th_pos=threshold, b=KEEP, floor=0, strict=True)
    draft.connect("input", "divider", Dense(weight=weights[:, None]))
    held = np.where(pulse, (count - 1) % m + 1, count % m)
    fired = pulse & (count % m == 0)
    return draft.exact({"divider": {"s": fired, "v": weights * held}})


def delay_line(kind: Kind) -> Exact:
    """Relays behind delays 0, 1, 2, 5 and more than T, and a chain of two: x(t - d)."""
    x = trains("+-.++--..+-.", "+...........", "...........-", "-+-+-+-+-+-+")[:, :, None]
    draft = Draft(kind, x)
    delays = {"after0": 0, "after1": 1, "after2": 2, "after5": 5, "after40": 40}
    for name, delay in delays.items():
        draft.relay("input", name, (1,), delay=delay)
    draft.relay("after1", "chain", (1,), delay=3)
    return draft.exact({name: _passed(x, d) for name, d in (delays | {"chain": 4}).items()})


def _passed(x: Array, delay: int) -> dict[str, Array]:
    late = delayed(x, delay)
    return {"s": late, "v": WEIGHT * late}


def clock(kind: Kind) -> Exact:
    """Neurons that feed themselves: once started at t0, one fires at t0, t0 + p, t0 + 2p, ...

    The last one starts itself, from a membrane potential at its threshold.
    """
    x = trains("+.............", "....+.........", "..............")[:, :, None]
    draft = Draft(kind, x)
    t = np.arange(x.shape[1])[None, :, None]
    start = np.array([0, 4, 99])[:, None, None]
    expected = {}
    for period in (1, 2, 3, 5):
        name = f"period{period}"
        draft.relay("input", name, (1,), ternary=False)
        draft.connect(name, name, Dense(weight=np.array([[WEIGHT]])), delay=period)
        fired = (t >= start) & ((t - start) % period == 0)
        expected[name] = {"s": fired, "v": WEIGHT * fired}
    draft.populate("self_started", (1,), th_pos=THRESHOLD, v_init=THRESHOLD, b=KEEP)
    draft.connect("self_started", "self_started", Dense(weight=np.array([[WEIGHT]])), delay=4)
    fired = np.broadcast_to(t % 4 == 0, x.shape)
    expected["self_started"] = {"s": fired, "v": THRESHOLD * fired}
    return draft.exact(expected)


def bias_clock(kind: Kind) -> Exact:
    """A bias g alone, reset to zero: period p = ceil(th/g), phase set by v_init = j*g.

    v(t) = g * (1 + (t + j) mod p), and it fires at its top.
    """
    steps, bias, phase = 12, np.array([64, 32, 22, 16, 13, 16]), np.array([0, 0, 0, 0, 0, 2])
    period = -(-THRESHOLD // bias)
    draft = Draft(kind, np.zeros((2, 6)), encoding="direct", steps=steps)
    draft.populate("clock", (6,), th_pos=THRESHOLD, bias=bias, v_init=phase * bias, b=KEEP)
    draft.connect("input", "clock", Identity(scale=np.array(0)))
    position = (np.arange(steps)[:, None] + phase) % period + 1
    both = np.broadcast_to(position, (2, steps, 6))
    return draft.exact({"clock": {"s": both == period, "v": bias * both}})


def latch(kind: Kind) -> Exact:
    """A memory of one bit: it fires at every step from "set" until "reset", which wins a tie."""
    set_, reset = (
        trains("..+....+....", "+...........", "..+..+.+....", "............"),
        trains(".....+....+.", "............", "..+....+....", ".+...+......") != 0,
    )
    x = np.stack([set_, reset], axis=2)
    draft = Draft(kind, x)
    draft.populate("latch", (1,), th_pos=THRESHOLD)
    draft.connect("input", "latch", Dense(weight=np.array([[WEIGHT, -2 * WEIGHT + 1]])))
    draft.connect("latch", "latch", Dense(weight=np.array([[WEIGHT]])), delay=1)
    t = np.arange(x.shape[1])
    last = [np.maximum.accumulate(np.where(x[:, :, n] != 0, t, -1), axis=1) for n in (0, 1)]
    on = (last[0] > last[1])[:, :, None]
    v = WEIGHT * delayed(on, 1) + x @ np.array([[WEIGHT], [-2 * WEIGHT + 1]])
    return draft.exact({"latch": {"s": on, "v": v}})


def coincidence(kind: Kind) -> Exact:
    """Neurons that fire at k or more of four spikes in one step: OR is k = 1, AND is k = 4."""
    codes = np.arange(16)
    x = np.stack([codes[:, None] >> np.arange(4) & 1, codes[::-1, None] >> np.arange(4) & 1])
    needed = np.arange(1, 5)
    draft = Draft(kind, x)
    draft.populate("at_least", (4,), th_pos=needed * WEIGHT)
    draft.connect("input", "at_least", Dense(weight=np.full((4, 4), WEIGHT)))
    count = np.repeat(x.sum(axis=2)[:, :, None], 4, axis=2)
    return draft.exact({"at_least": {"s": count >= needed, "v": WEIGHT * count}})


def coincidence_window(kind: Kind) -> Exact:
    """Two spikes d steps apart, leak 1/2, threshold 1 + 1/4: it fires if d <= 2, at d = 2 exactly.

    Before the second spike v(t) = w/2**t, at it w + w/2**d, afterwards that, halved, or 0.
    """
    steps, apart = 8, np.arange(1, 6)
    t = np.arange(steps)[:, None]
    x = ((t == 0) | (t == apart)).astype(np.int64)[None]
    draft = Draft(kind, x)
    draft.populate("near", (5,), th_pos=WEIGHT + WEIGHT // 4, b=HALF)
    draft.connect("input", "near", Identity(scale=np.array(WEIGHT)))
    top = WEIGHT + halved(WEIGHT, apart, kind)
    late = np.where(apart <= 2, 0, halved(top, np.maximum(t - apart, 0), kind))
    v = np.where(t < apart, halved(WEIGHT, t, kind), np.where(t == apart, top, late))
    return draft.exact({"near": {"s": ((t == apart) & (apart <= 2))[None], "v": v[None]}})


def exclusive_or(kind: Kind) -> Exact:
    """Inhibition: "a, not b" beside "b, not a", and their OR, which is XOR, in the same step."""
    a, b = trains("..++", "++..", "+++."), trains(".+.+", ".+.+", "..++")
    draft = Draft(kind, np.stack([a, b], axis=2))
    draft.populate("not_other", (2,), th_pos=THRESHOLD)
    draft.connect("input", "not_other", Dense(weight=WEIGHT * np.array([[1, -1], [-1, 1]])))
    draft.populate("xor", (1,), th_pos=THRESHOLD)
    draft.connect("not_other", "xor", Dense(weight=np.array([[WEIGHT, WEIGHT]])))
    difference = np.stack([a - b, b - a], axis=2)
    either = (a != b)[:, :, None]
    return draft.exact(
        {
            "not_other": {"s": difference > 0, "v": WEIGHT * difference},
            "xor": {"s": either, "v": WEIGHT * either},
        }
    )


def counter(kind: Kind) -> Exact:
    """A binary counter, stage j firing at every 2**j-th spike, and one modulo 10 with soft reset.

    After K spikes modulo m the neuron holds 1 + (K-1) mod m at a spike and K mod m without one.
    """
    x = trains("+++++++++++++++++++++", "+.++.+++.++++.+++++.+", "..+................+.")
    pulse = x[:, :, None] == 1
    draft = Draft(kind, x[:, :, None])
    source, expected = "input", {}
    for stage in range(1, 5):
        name = f"bit{stage}"
        draft.populate(name, (1,), th_pos=2 * WEIGHT, b=KEEP)
        draft.connect(source, name, Dense(weight=np.array([[WEIGHT]])))
        arrives = pulse & (np.cumsum(pulse, axis=1) % 2 ** (stage - 1) == 0)
        expected[name] = _modulo(arrives, 2)
        source = name
    draft.populate("decade", (1,), th_pos=10 * WEIGHT, b=KEEP, reset="subtract")
    draft.connect("input", "decade", Dense(weight=np.array([[WEIGHT]])))
    return draft.exact(expected | {"decade": _modulo(pulse, 10)})


def _modulo(pulse: Array, m: int) -> dict[str, Array]:
    count = np.cumsum(pulse, axis=1)
    held = np.where(pulse, (count - 1) % m + 1, count % m)
    return {"s": pulse & (count % m == 0), "v": WEIGHT * held}


def ring(kind: Kind) -> Exact:
    """A spike that travels around five neurons, and one between two populations, for ever.

    Neuron j of the ring fires at t0 + j, t0 + j + 5, ...; ping at t0, t0 + 3, ..., pong a step
    later.
    """
    x = trains("+.............", "...+..........", "..............")[:, :, None]
    t, start = np.arange(x.shape[1])[None, :, None], np.array([0, 3, 99])[:, None, None]
    draft = Draft(kind, x)
    draft.populate("ring", (5,), th_pos=THRESHOLD)
    draft.connect("input", "ring", Dense(weight=WEIGHT * np.eye(5, 1, dtype=np.int64)))
    onward = WEIGHT * np.roll(np.eye(5, dtype=np.int64), 1, axis=0)
    draft.connect("ring", "ring", Dense(weight=onward), delay=1)
    draft.relay("input", "ping", (1,), ternary=False)
    draft.relay("ping", "pong", (1,), ternary=False, delay=1)
    draft.connect("pong", "ping", Dense(weight=np.array([[WEIGHT]])), delay=2)
    since = {
        "ring": (5, t - start - np.arange(5)),
        "ping": (3, t - start),
        "pong": (3, t - start - 1),
    }
    fired = {name: (ago >= 0) & (ago % period == 0) for name, (period, ago) in since.items()}
    return draft.exact({name: {"s": s, "v": WEIGHT * s} for name, s in fired.items()})


def instant_loop(kind: Kind) -> Exact:
    """A loop of two connections, one of them without delay: both fire at every step from t0 on.

    A chip on which every connection takes a step cannot run it in step; it may refuse it.
    """
    x = trains("+.......", "...+....", "........")[:, :, None]
    t, start = np.arange(x.shape[1])[None, :, None], np.array([0, 3, 99])[:, None, None]
    draft = Draft(kind, x)
    draft.relay("input", "there", (1,), ternary=False)
    draft.relay("there", "back", (1,), ternary=False)
    draft.connect("back", "there", Dense(weight=np.array([[WEIGHT]])), delay=1)
    fired = t >= start
    return draft.exact({name: {"s": fired, "v": WEIGHT * fired} for name in ("there", "back")})
