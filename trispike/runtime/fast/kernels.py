"""Compiled loops over neurons and windows.

Spikes travel as codes in unsigned bytes: 0, 1, 2 for -1, 0, +1, or more generally a value plus the
code of silence. Whatever is None is left out of the compiled loop, and costs nothing. Compiled
loops are cached on disk, in ``__pycache__`` or in ``$NUMBA_CACHE_DIR``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload

from trispike.network.fixed_point import DECAY_BITS, DECAY_ONE

_MASK = DECAY_ONE - 1
_TOP_BIT = 31


def _as(value: Any, like: Any) -> Any:
    """``value`` in the type of ``like``; without it, NumPy's rules make every sum 64 bits wide."""


@overload(_as)
def _typed_as(value: Any, like: Any) -> Callable[..., Any]:
    def int32(value: Any, like: Any) -> Any:
        return np.int32(value)

    def int64(value: Any, like: Any) -> Any:
        return np.int64(value)

    def float64(value: Any, like: Any) -> Any:
        return np.float64(value)

    if isinstance(like, types.Integer):
        return int32 if like.bitwidth == 32 else int64
    return float64


def _decay(z: Any, m: Any) -> Any:
    """:func:`trispike.network.fixed_point.decay` of one value; a product in floats."""


@overload(_decay)
def _typed_decay(z: Any, m: Any) -> Callable[..., Any]:
    def narrow(z: Any, m: Any) -> Any:
        # The product has more than 32 bits, its two halves have not.
        up = np.int32(np.int32(z >> _TOP_BIT) & _MASK)
        low = np.int32(np.int32(np.int32(z & _MASK) * m) + up)
        return np.int32(np.int32(np.int32(z >> DECAY_BITS) * m) + np.int32(low >> DECAY_BITS))

    def wide(z: Any, m: Any) -> Any:
        product = z * m
        return (product + (_MASK if product < 0 else 0)) >> DECAY_BITS

    def product(z: Any, m: Any) -> Any:
        return z * m

    if isinstance(z, types.Integer):
        return narrow if z.bitwidth == 32 else wide
    return product


@njit(nogil=True, cache=True, error_model="numpy")
def advance(
    currents: Any,
    shortcut: Any,
    scales: Any,
    common: Any,
    carried: Any,
    rare: Any,
    schedule: Any,
    factor: Any,
    limit: Any,
    to_zero: Any,
    once: Any,
    window: Any,
    memory: Any,
    resume: Any,
    codes: Any,
    fired: Any,
    events: Any,
    traces: Any,
    each: Any,
) -> None:
    """Advance neurons over T time steps, for N samples, and count what happens.

    A block of neurons is taken through all steps while its state is in the cache. The update is
    that of :class:`trispike.network.neuron.FixedPointNeuron`, or of ``Neuron`` in floats.

    Args:
        currents: (T or 1, N, E): weighted input; one step if it is the same at all of them.
        shortcut: None, or what an identity connection reads: codes, (T or 1, N, E).
        scales: None, or rows (2, B or E): the shortcut's scale, and what silence contributes.
        common: Rows (8, B or E) in the state's type: b_pos, b_neg, bias, v_init, th_pos, -th_neg,
            and what firing +1 and -1 takes off. B columns if they repeat from block to block.
        carried: None, or rows (2, B or E): a_pos, a_neg.
        rare: None, or rows (2, B or E): k, floor. Without it, ``once``, ``resume`` of i, and
            ``traces`` have no effect.
        schedule: None, or (T, 2) in the state's type: the gain of a step (4096 for 1; 1 in
            floats), and 1 if the neurons may fire at it, otherwise 0.
        factor: Of the current, in the state's type: 2**state_shift.
        limit: Largest state, in the state's type; None in floats.
        to_zero: 1 if firing sets the potential to zero, in the state's type.
        once: 1 if a neuron fires once only, in the state's type.
        window: First neuron, end, and block size B.
        memory: (4, B) in the state's type, to work in.
        resume: (4, N, E or 0): i, c, v, and whether the neuron has fired; taken up and left there,
            unless empty.
        codes: (T, N, E): the spikes, written.
        fired: (T, E): in how many samples a neuron fired, added to.
        events: (4, T): spikes +1 and -1, updates with input, saturations, added to.
        traces: (3, T or 0, N, E): i, c, and v before the reset, written unless empty.
        each: None, or (N, T): updates with input of every sample, added to.
    """
    steps, samples, _ = codes.shape
    first, last, block = window
    zero, one = _as(0, factor), _as(1, factor)
    moving = currents.shape[0] > 1
    for start in range(first, last, block):
        stop = min(start + block, last)
        size = stop - start
        # Rows either repeat from block to block, or hold a value for every neuron.
        at = start if common.shape[1] > block else 0
        b_pos, b_neg = common[0, at : at + size], common[1, at : at + size]
        bias, v_init = common[2, at : at + size], common[3, at : at + size]
        th_pos, th_neg = common[4, at : at + size], common[5, at : at + size]
        less_pos, less_neg = common[6, at : at + size], common[7, at : at + size]
        if carried is not None:
            a_pos, a_neg = carried[0, at : at + size], carried[1, at : at + size]
        if rare is not None:
            k, floor = rare[0, at : at + size], rare[1, at : at + size]
        if shortcut is not None:
            scale, silence = scales[0, at : at + size], scales[1, at : at + size]
        i_state, c_state = memory[0, :size], memory[1, :size]
        v_state, done = memory[2, :size], memory[3, :size]
        for n in range(samples):
            if resume.shape[2]:
                memory[:, :size] = resume[:, n, start:stop]
            else:
                memory[:, :size] = zero
                v_state[:] = v_init
            for t in range(steps):
                current = currents[t if moving else 0, n, start:stop]
                code, count = codes[t, n, start:stop], fired[t, start:stop]
                if shortcut is not None:
                    payload = shortcut[t if shortcut.shape[0] > 1 else 0, n, start:stop]
                if schedule is not None:
                    gain, may_fire = schedule[t, 0], schedule[t, 1]
                plus_total = minus_total = received = over = np.int32(0)
                for e in range(size):
                    x = _as(current[e], factor)
                    if shortcut is not None:
                        direct = _as(_as(payload[e], factor) * scale[e], factor)
                        x = _as(x + _as(direct - silence[e], factor), factor)
                    received = np.int32(received + np.int32(x != 0))
                    i = _as(x * factor, factor)
                    drive = bias[e]
                    if schedule is not None:
                        i, drive = _decay(i, gain), _decay(drive, gain)
                    if rare is not None:
                        i = _as(_decay(i_state[e], k[e]) + i, factor)
                    if limit is not None:
                        x = i
                        i = min(max(x, _as(-limit, factor)), limit)
                        over = np.int32(over + np.int32(i != x))
                    v, leak_pos, leak_neg = v_state[e], b_pos[e], b_neg[e]
                    c = _decay(v, leak_pos if v >= 0 else leak_neg)
                    if carried is not None:
                        z, kept_pos, kept_neg = c_state[e], a_pos[e], a_neg[e]
                        c = _as(_decay(z, kept_pos if z >= 0 else kept_neg) + c, factor)
                    if limit is not None:
                        x = c
                        c = min(max(x, _as(-limit, factor)), limit)
                        over = np.int32(over + np.int32(c != x))
                    v = _as(_as(c + i, factor) + drive, factor)
                    if limit is not None:
                        x = v
                        v = min(max(x, _as(-limit, factor)), limit)
                        over = np.int32(over + np.int32(v != x))
                    if rare is not None:
                        v = max(v, floor[e])
                    plus = one if v >= th_pos[e] else zero
                    minus = one if v <= th_neg[e] else zero
                    if schedule is not None:
                        plus = _as(plus * may_fire, factor)
                        minus = _as(minus * may_fire, factor)
                    if rare is not None:
                        silent = _as(one - _as(once * done[e], factor), factor)
                        plus, minus = _as(plus * silent, factor), _as(minus * silent, factor)
                        done[e] = max(done[e], _as(plus + minus, factor))
                        i_state[e] = i
                        if traces.shape[1]:
                            traces[0, t, n, start + e] = i
                            traces[1, t, n, start + e] = c
                            traces[2, t, n, start + e] = v
                    if carried is not None:
                        c_state[e] = c
                    spike = _as(plus + minus, factor)
                    code[e] = np.uint8(np.int32(np.int32(1 + np.int32(plus)) - np.int32(minus)))
                    count[e] = np.int32(count[e] + np.int32(spike))
                    plus_total = np.int32(plus_total + np.int32(plus))
                    minus_total = np.int32(minus_total + np.int32(minus))
                    taken = _as(plus * less_pos[e], factor)
                    taken = _as(taken - _as(minus * less_neg[e], factor), factor)
                    after = zero if _as(spike * to_zero, factor) != 0 else v
                    v_state[e] = _as(after - taken, factor)
                events[0, t] += plus_total
                events[1, t] += minus_total
                events[2, t] += received
                if each is not None:
                    each[n, t] += received
                events[3, t] += over
            if resume.shape[2]:
                resume[:, n, start:stop] = memory[:, :size]


@njit(nogil=True, cache=True, error_model="numpy")
def pool(
    values: Any, silence: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, pooled: Any
) -> None:
    """Sums over windows, of codes to codes or of floats to floats.

    Args:
        values: (B, H, W, C).
        silence: What stands for 0 in ``values`` and in ``pooled``.
        kernel: Rows and columns; so are ``stride``, ``padding`` and ``dilation``.
        stride: See :class:`trispike.network.connection.SumPool`.
        padding: Of silence.
        dilation: Distance between the elements of a window.
        pooled: (B, H', W', C), in the type of ``values``, written.
    """
    before, after = silence
    for b in range(values.shape[0]):
        for row in range(pooled.shape[1]):
            for column in range(pooled.shape[2]):
                total = pooled[b, row, column]
                total[:] = after
                for i in range(kernel[0]):
                    y = row * stride[0] - padding[0] + i * dilation[0]
                    for j in range(kernel[1]):
                        x = column * stride[1] - padding[1] + j * dilation[1]
                        if 0 <= y < values.shape[1] and 0 <= x < values.shape[2]:
                            value = values[b, y, x]
                            for c in range(len(total)):
                                # Codes wrap around at 256 on the way; the whole sum does not.
                                total[c] = total[c] + value[c] - before
