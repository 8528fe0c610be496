"""One neuron in plain Python numbers, written from the update equations, not from the code."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple


class Trace(NamedTuple):
    """What one neuron did; one entry per time step."""

    i: list[Any]
    c: list[Any]
    v: list[Any]
    """Before the reset."""
    after: list[Any]
    """After the reset."""
    s: list[int]
    saturations: int


def _fires(v: Any, p: dict[str, Any], fired: bool, t: int) -> int:
    if p["fire_once"] and fired:
        return 0
    if t < p["fire_from"] or (p["fire_until"] is not None and t >= p["fire_until"]):
        return 0
    if p["strict"]:
        return 1 if v > p["th_pos"] else -1 if v < -p["th_neg"] else 0
    return 1 if v >= p["th_pos"] else -1 if v <= -p["th_neg"] else 0


def _reset(v: Any, s: int, p: dict[str, Any]) -> Any:
    if s and p["reset"] == "zero":
        return 0
    if s and p["reset"] == "subtract":
        return v - p["th_pos"] if s > 0 else v + p["th_neg"]
    return v


def float_neuron(inputs: list[float], p: dict[str, Any]) -> Trace:
    """``p`` holds every field of Neuron as a number."""
    trace = Trace([], [], [], [], [], 0)
    i, c, after, fired = 0.0, 0.0, p["v_init"], False
    for t, x in enumerate(inputs):
        gain = p["gains"][t] if p["gains"] else 1.0
        i = p["k"] * i + gain * x
        kept = p["a_pos"] * c if c >= 0 else p["a_neg"] * c
        c = kept + (p["b_pos"] * after if after >= 0 else p["b_neg"] * after)
        v = max(c + i + gain * p["bias"], p["floor"])
        s = _fires(v, p, fired, t)
        fired, after = fired or s != 0, _reset(v, s, p)
        for values, value in zip(trace, (i, c, v, after, s), strict=False):
            values.append(value)  # type: ignore[attr-defined]
    return trace


def fixed_point_neuron(inputs: list[int], p: dict[str, Any]) -> Trace:
    """``p`` holds every field of FixedPointNeuron as a number."""
    limit = 2 ** (p["state_bits"] - 1) - 1
    saturations = 0

    def decayed(z: int, m: int) -> int:
        return int(Fraction(z * m, 4096))

    def saturated(z: int) -> int:
        nonlocal saturations
        saturations += abs(z) > limit
        return max(-limit, min(z, limit))

    trace = Trace([], [], [], [], [], 0)
    i, c, after, fired = 0, 0, p["v_init"], False
    for t, acc in enumerate(inputs):
        gain = p["gains"][t] if p["gains"] else 4096
        i = saturated(decayed(i, p["k"]) + decayed(acc * 2 ** p["state_shift"], gain))
        kept = decayed(c, p["a_pos"] if c >= 0 else p["a_neg"])
        c = saturated(kept + decayed(after, p["b_pos"] if after >= 0 else p["b_neg"]))
        v = max(saturated(c + i + decayed(p["bias"], gain)), p["floor"])
        s = _fires(v, p, fired, t)
        fired, after = fired or s != 0, _reset(v, s, p)
        for values, value in zip(trace, (i, c, v, after, s), strict=False):
            values.append(value)  # type: ignore[attr-defined]
    return trace._replace(saturations=saturations)
