"""The one neuron that every deployed network is made of, in float and in fixed point.

A CTSN, a Ternary Spike neuron, a LIF, an integrate-and-fire neuron are all settings of
:class:`Neuron`; :class:`FixedPointNeuron` is the same update in integers.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from trispike.errors import InvalidNetworkError
from trispike.network.arrays import fits_shape, frozen_array, same_values, whole_number
from trispike.network.fixed_point import (
    DECAY_ONE,
    DEFAULT_STATE_BITS,
    decay,
    never,
    saturate,
    state_limit,
)

Reset: TypeAlias = Literal["zero", "subtract", "none"]
"""What firing does to the membrane potential: hard reset, soft reset, nothing."""

Array: TypeAlias = npt.NDArray[Any]
Spikes: TypeAlias = npt.NDArray[np.int8]


class State(NamedTuple):
    """What a population carries from one time step to the next; arrays of (batch, *shape)."""

    i: Array
    """Synaptic current."""
    c: Array
    """Carried potential (the complement of CTSN)."""
    v: Array
    """Membrane potential after the reset."""
    fired: npt.NDArray[np.bool_]
    """Whether the neuron has ever fired; used by ``fire_once`` only."""


class Step(NamedTuple):
    """What one time step of a population yields; arrays of (batch, *shape)."""

    spikes: Spikes
    """-1, 0 or +1."""
    v: Array
    """Membrane potential that was compared with the thresholds, before the reset."""
    state: State
    """What is carried to the next time step."""
    saturations: int
    """How many values of i, c and v left the state range and were clipped; 0 in float."""


_LAST_STEP = 2**31
"""As many steps as a network can have."""

_SCHEDULE = ("fire_from", "fire_until", "gains")

GAIN_LIMIT = 1 << 16
"""Largest numerator of a fixed-point gain per time step, which stands for 16."""


def _pw(z: Array, positive: Array, negative: Array) -> Array:
    return positive * np.maximum(z, 0) + negative * np.minimum(z, 0)


def _fire(
    neuron: Neuron | FixedPointNeuron, v: Array, fired: npt.NDArray[np.bool_], t: int
) -> Spikes:
    if not neuron.fires_at(t):
        return np.zeros(v.shape, np.int8)
    if neuron.strict:
        spikes = (v > neuron.th_pos).astype(np.int8) - (v < -neuron.th_neg)
    else:
        spikes = (v >= neuron.th_pos).astype(np.int8) - (v <= -neuron.th_neg)
    if neuron.fire_once:
        spikes = np.where(fired, np.int8(0), spikes)
    return spikes.astype(np.int8, copy=False)


def _reset(neuron: Neuron | FixedPointNeuron, v: Array, spikes: Spikes) -> Array:
    if neuron.reset == "zero":
        return np.where(spikes == 0, v, 0)
    if neuron.reset == "subtract":
        # An unreachable threshold is infinite, and infinity times "did not fire" is not a number.
        after = np.where(spikes > 0, v - neuron.th_pos, v)
        return np.where(spikes < 0, v + neuron.th_neg, after)
    return v


def _check_fields(neuron: Neuron | FixedPointNeuron) -> None:
    if neuron.reset not in get_args(Reset):
        raise InvalidNetworkError(
            "neuron field 'reset'",
            got=repr(neuron.reset),
            expected="one of " + ", ".join(get_args(Reset)),
            fix="Choose one of these.",
        )
    for name in ("strict", "fire_once"):
        if not isinstance(getattr(neuron, name), bool):
            raise InvalidNetworkError(
                f"neuron field {name!r}",
                got=repr(getattr(neuron, name)),
                expected="True or False",
                fix="Give a bool.",
            )
    until = neuron.fire_until
    first = whole_number("neuron field 'fire_from'", neuron.fire_from, 0, _LAST_STEP)
    object.__setattr__(neuron, "fire_from", first)
    if until is not None:
        last = whole_number("neuron field 'fire_until'", until, first + 1, _LAST_STEP)
        object.__setattr__(neuron, "fire_until", last)


def _checked_gains(gains: Any, dtype: npt.DTypeLike, low: float, high: float) -> tuple[Any, ...]:
    values = frozen_array(gains, dtype) if len(np.atleast_1d(gains)) else np.zeros(0)
    if values.ndim != 1:
        raise InvalidNetworkError(
            "neuron field 'gains'",
            got=f"shape {values.shape}",
            expected="one number per time step, the same for all neurons",
            fix="Give a flat sequence of T numbers, or none.",
        )
    expected = f"{low}..{high}" if np.isfinite(high) else "a finite number"
    _check_range(
        "gains", values, np.isfinite(values) & (values >= low) & (values <= high), expected
    )
    return tuple(values.tolist())


def _check_range(name: str, values: Array, ok: npt.NDArray[np.bool_], expected: str) -> None:
    if not ok.all():
        raise InvalidNetworkError(
            f"neuron field {name!r}",
            got=f"{values[~ok].reshape(-1)[0]} ({int((~ok).sum())} of {values.size} values)",
            expected=expected,
            fix="Correct the parameter, or the checkpoint that it comes from.",
        )


class _Broadcasting:
    """What float and fixed-point neurons share: array fields that broadcast to a shape."""

    __slots__ = ()

    def array_fields(self) -> dict[str, Array]:
        """The parameters that are arrays, by field name, in declaration order."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}

    def plain_fields(self) -> dict[str, Any]:
        """The parameters that are not arrays (reset, strict, ...), in declaration order."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in values.items() if not isinstance(value, np.ndarray)}

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise InvalidNetworkError unless every parameter broadcasts to ``shape``."""
        for name, value in self.array_fields().items():
            if not fits_shape(value.shape, shape):
                raise InvalidNetworkError(
                    f"neuron field {name!r}",
                    got=f"shape {value.shape}",
                    expected=f"a shape that broadcasts to the population's {shape}",
                    fix="Use a scalar, one value per channel as (C, 1, 1), or one per neuron.",
                )

    def fires_at(self, t: int) -> bool:
        """Whether step ``t`` is in the window in which the neuron may fire."""
        first: int = self.fire_from  # type: ignore[attr-defined]
        until: int | None = self.fire_until  # type: ignore[attr-defined]
        return first <= t and (until is None or t < until)

    def check_steps(self, steps: int) -> None:
        """Raise InvalidNetworkError unless window and gains fit a network of so many steps."""
        first, until = self.fire_from, self.fire_until  # type: ignore[attr-defined]
        gains = self.gains  # type: ignore[attr-defined]
        for name, value, good in (
            ("fire_from", first, first < steps),
            ("fire_until", until, until is None or until <= steps),
        ):
            if not good:
                raise InvalidNetworkError(
                    f"neuron field {name!r}",
                    got=f"time step {value}",
                    expected=f"a time step of the network, which has {steps}",
                    fix="Correct the window, or run more time steps.",
                )
        if len(gains) not in (0, steps):
            raise InvalidNetworkError(
                "neuron field 'gains'",
                got=f"{len(gains)} gains",
                expected=f"{steps}, one per time step, or none",
                fix="Give one gain per time step.",
            )

    def state_after(self, before: State, step: Step, spikes: Spikes) -> State:
        """The state after a step, had the neurons fired ``spikes`` instead of their own."""
        v = _reset(self, step.v, spikes)  # type: ignore[arg-type]
        return State(step.state.i, step.state.c, v, before.fired | (spikes != 0))

    def equals(self, other: object) -> bool:
        """Whether both are of one type and every field is equal, values and shapes."""
        return (
            type(self) is type(other)
            and isinstance(other, _Broadcasting)
            and self.plain_fields() == other.plain_fields()
            and all(
                same_values(value, other.array_fields()[name])
                for name, value in self.array_fields().items()
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Neuron(_Broadcasting):
    """Parameters of a population in float, and its update.

    One time step, in this order, with ``pw(z, p, n) = p*max(z, 0) + n*min(z, 0)``::

        i = k*i + x
        c = pw(c, a_pos, a_neg) + pw(v, b_pos, b_neg)
        v = max(c + i + bias, floor)
        s = +1 if v >= th_pos, -1 if v <= -th_neg, else 0      (strict: > and <)
        s = 0 where fire_once and the neuron has fired before
        s = 0 at steps t < fire_from or t >= fire_until
        v = v*(1 - |s|)     (reset "zero")
            v - s*th        (reset "subtract": th_pos or th_neg, by the sign of s)
            v               (reset "none")

    x is the weighted sum that the connections deliver. At the start i = c = 0 and v = v_init.
    With ``gains``, x and bias of step t are multiplied by gains[t] first.
    The output is s, in {-1, 0, +1}: a trained amplitude is no property of the deployed neuron, it
    is folded into whatever reads it.

    Source of the CTSN setting: Zhang et al. 2026, arXiv 2601.15598 (u~(t) there is v here, h(t)
    is c); of the Ternary Spike setting: Guo et al., AAAI 2024.

    Every parameter is a scalar, one value per channel (C, 1, 1), or one per neuron (C, H, W).

    Raises:
        InvalidNetworkError: A parameter is NaN, a threshold is not positive, a retention factor
            or the bias is infinite, or ``reset`` is unknown.
    """

    a_pos: Array = 0.0  # type: ignore[assignment]
    """Retention of a carried potential c >= 0, per step."""
    a_neg: Array = 0.0  # type: ignore[assignment]
    """Retention of a carried potential c < 0, per step."""
    b_pos: Array = 0.0  # type: ignore[assignment]
    """Share of a membrane potential v >= 0 that is carried on, per step (the leak of a LIF)."""
    b_neg: Array = 0.0  # type: ignore[assignment]
    """Share of a membrane potential v < 0 that is carried on, per step."""
    k: Array = 0.0  # type: ignore[assignment]
    """Retention of the synaptic current; 0 means that the current is the input."""
    bias: Array = 0.0  # type: ignore[assignment]
    """Added to the membrane potential at every step; the sum of all folded biases."""
    th_pos: Array = 1.0  # type: ignore[assignment]
    """Positive threshold, > 0; infinite: never."""
    th_neg: Array = np.inf  # type: ignore[assignment]
    """Magnitude of the negative threshold, > 0; infinite: a binary neuron."""
    floor: Array = -np.inf  # type: ignore[assignment]
    """Lower bound of the membrane potential; minus infinity: none."""
    v_init: Array = 0.0  # type: ignore[assignment]
    """Membrane potential before the first step."""
    reset: Reset = "zero"
    """What firing does to the membrane potential."""
    strict: bool = False
    """Fire above the threshold only; otherwise at the threshold, too."""
    fire_once: bool = False
    """Fire at most once per sample (time to first spike)."""
    fire_from: int = 0
    """First time step at which the neuron may fire; before, it integrates silently."""
    fire_until: int | None = None
    """First time step at which the neuron may not fire any more; None: to the end."""
    gains: tuple[float, ...] = ()
    """Factor of what is received at each time step, input and bias; (): 1 throughout."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if field.name not in ("reset", "strict", "fire_once", *_SCHEDULE):
                value = frozen_array(getattr(self, field.name), np.float64)
                object.__setattr__(self, field.name, value)
        _check_fields(self)
        gains = _checked_gains(self.gains, np.float64, -np.inf, np.inf)
        object.__setattr__(self, "gains", gains)
        for name in ("a_pos", "a_neg", "b_pos", "b_neg", "k", "bias", "v_init"):
            value = getattr(self, name)
            _check_range(name, value, np.isfinite(value), "a finite number")
        for name in ("th_pos", "th_neg"):
            value = getattr(self, name)
            _check_range(name, value, value > 0, "a positive number, or infinity for never")
        _check_range("floor", self.floor, self.floor < np.inf, "a number, or minus infinity")

    def initial_state(self, batch: int, shape: tuple[int, ...]) -> State:
        """The state before the first step, arrays of (batch, *shape) in float64."""
        zeros = np.zeros((batch, *shape))
        return State(zeros, zeros, zeros + self.v_init, np.zeros((batch, *shape), dtype=bool))

    def step(self, state: State, x: Array, t: int) -> Step:
        """Advance one time step.

        Args:
            state: State after the previous step.
            x: Weighted input of this step, (batch, *shape).
            t: Index of the step, 0..T-1.
        """
        bias = self.bias
        if self.gains:
            x, bias = self.gains[t] * x, self.gains[t] * bias
        i = self.k * state.i + x
        c = _pw(state.c, self.a_pos, self.a_neg) + _pw(state.v, self.b_pos, self.b_neg)
        v = np.maximum(c + i + bias, self.floor)
        spikes = _fire(self, v, state.fired, t)
        after = State(i, c, _reset(self, v, spikes), state.fired | (spikes != 0))
        return Step(spikes, v, after, 0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FixedPointNeuron(_Broadcasting):
    """Parameters of a population in integers, and its update.

    The update of :class:`Neuron`, with ``decay(z, m) = sign(z) * ((|z| * m) >> 12)``, which
    rounds toward zero, and ``sat`` clipping to +-(2**(state_bits-1) - 1)::

        x = acc << state_shift
        i = sat(decay(i, k) + x)
        c = sat(decay(c, a(c)) + decay(v, b(v)))      (a_pos or a_neg by the sign of c, same for b)
        v = max(sat(c + i + bias), floor)
        s = +1 if v >= th_pos, -1 if v <= -th_neg, else 0      (strict: > and <)

    followed by ``fire_once``, the window of firing and the reset. acc is the integer sum that the
    connections deliver. With ``gains``, decay(acc << state_shift, gains[t]) takes the place of x,
    and decay(bias, gains[t]) that of the bias.
    Thresholds, bias, floor and v_init are integers in state units, that is in units of
    2**-state_shift of the accumulator's.

    With a = 0 and zero reset this is Lava's fixed-point LIF bit for bit, where Lava's threshold
    is strict: an inclusive threshold th is Lava's th - 1.

    Every array parameter is a scalar, one value per channel (C, 1, 1), or one per neuron.

    Raises:
        InvalidNetworkError: A parameter is out of its range, or not an integer.
    """

    a_pos: Array = 0  # type: ignore[assignment]
    """Numerator m of the retention m/4096 of a carried potential c >= 0; 0..4096."""
    a_neg: Array = 0  # type: ignore[assignment]
    """The same for c < 0."""
    b_pos: Array = 0  # type: ignore[assignment]
    """Numerator m of the share m/4096 of v >= 0 that is carried on; 0..4096."""
    b_neg: Array = 0  # type: ignore[assignment]
    """The same for v < 0."""
    k: Array = 0  # type: ignore[assignment]
    """Numerator m of the retention m/4096 of the synaptic current; 0..4096."""
    bias: Array = 0  # type: ignore[assignment]
    """Added at every step, in state units."""
    th_pos: Array = None  # type: ignore[assignment]
    """Positive threshold in state units, 1..2**(state_bits-1); the upper end: never."""
    th_neg: Array = None  # type: ignore[assignment]
    """Magnitude of the negative threshold, same units and range; the upper end: binary neuron."""
    floor: Array = None  # type: ignore[assignment]
    """Lower bound of the membrane potential, in state units; default: the state's own."""
    v_init: Array = 0  # type: ignore[assignment]
    """Membrane potential before the first step, in state units."""
    reset: Reset = "zero"
    """What firing does to the membrane potential."""
    strict: bool = False
    """Fire above the threshold only; otherwise at the threshold, too."""
    fire_once: bool = False
    """Fire at most once per sample (time to first spike)."""
    fire_from: int = 0
    """First time step at which the neuron may fire; before, it integrates silently."""
    fire_until: int | None = None
    """First time step at which the neuron may not fire any more; None: to the end."""
    gains: tuple[int, ...] = ()
    """Numerators m of factors m/4096 of what is received at each time step, input and bias;
    0..65536; (): 1 throughout."""
    state_bits: int = DEFAULT_STATE_BITS
    """Width of i, c and v in bits, sign included; 8..32."""
    state_shift: int = 6
    """Left shift of the accumulator on its way into the current; 0..16 (6 on Loihi)."""

    def __post_init__(self) -> None:
        for name, low, high in (("state_bits", 8, 32), ("state_shift", 0, 16)):
            number = whole_number(f"neuron field {name!r}", getattr(self, name), low, high)
            object.__setattr__(self, name, number)
        limit, top = state_limit(self.state_bits), never(self.state_bits)
        for name, default in (("th_pos", top), ("th_neg", top), ("floor", -limit)):
            if getattr(self, name) is None:
                object.__setattr__(self, name, default)
        plain = ("reset", "strict", "fire_once", *_SCHEDULE, "state_bits", "state_shift")
        for field in dataclasses.fields(self):
            if field.name not in plain:
                value = frozen_array(getattr(self, field.name), np.int64)
                object.__setattr__(self, field.name, value)
        _check_fields(self)
        gains = _checked_gains(self.gains, np.int64, 0, GAIN_LIMIT)
        object.__setattr__(self, "gains", gains)
        ranges = dict.fromkeys(("a_pos", "a_neg", "b_pos", "b_neg", "k"), (0, DECAY_ONE))
        ranges |= dict.fromkeys(("bias", "v_init", "floor"), (-limit, limit))
        ranges |= dict.fromkeys(("th_pos", "th_neg"), (1, top))
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            _check_range(name, value, (value >= low) & (value <= high), f"{low}..{high}")

    def initial_state(self, batch: int, shape: tuple[int, ...]) -> State:
        """The state before the first step, arrays of (batch, *shape) in int64."""
        zeros = np.zeros((batch, *shape), dtype=np.int64)
        return State(zeros, zeros, zeros + self.v_init, np.zeros((batch, *shape), dtype=bool))

    def step(self, state: State, acc: Array, t: int) -> Step:
        """Advance one time step.

        Args:
            state: State after the previous step.
            acc: Integer sum delivered by the connections at this step, (batch, *shape), before
                the state shift.
            t: Index of the step, 0..T-1.
        """
        x, bias = acc.astype(np.int64, copy=False) << self.state_shift, self.bias
        if self.gains:
            x, bias = decay(x, self.gains[t]), decay(bias, self.gains[t])
        i, over_i = saturate(decay(state.i, self.k) + x, self.state_bits)
        carried_c = decay(state.c, np.where(state.c >= 0, self.a_pos, self.a_neg))
        carried_v = decay(state.v, np.where(state.v >= 0, self.b_pos, self.b_neg))
        c, over_c = saturate(carried_c + carried_v, self.state_bits)
        v, over_v = saturate(c + i + bias, self.state_bits)
        v = np.maximum(v, self.floor)
        spikes = _fire(self, v, state.fired, t)
        after = State(i, c, _reset(self, v, spikes), state.fired | (spikes != 0))
        saturations = int(over_i.sum()) + int(over_c.sum()) + int(over_v.sum())
        return Step(spikes, v, after, saturations)
