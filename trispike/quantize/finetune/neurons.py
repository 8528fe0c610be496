"""The fixed-point neuron over all time steps: exact forward, surrogate gradient backward.

The states are integers in float64, which holds every product of a state and a retention factor.
What the backward pass needs is kept in float32, and it computes in float32: gradients need no
exactness. They pass through rounding as if it were not there, stop where a state is clipped, and
do not pass through the reset.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from trispike.network.fixed_point import DECAY_ONE, state_limit
from trispike.network.neuron import FixedPointNeuron, Reset
from trispike.network.schedules import scheduled_fields
from trispike.nn.surrogate import Surrogate

__all__ = ["Dynamics", "Parameters", "Run", "Schedule", "State", "compiled", "initial_state", "run"]


class State(NamedTuple):
    """What is carried from step to step, (N, *layout) in float64; ``fired`` is 0 or 1."""

    i: Tensor
    c: Tensor
    v: Tensor
    fired: Tensor


class Parameters(NamedTuple):
    """Integers in float64 that broadcast to the layout; see ``FixedPointNeuron``."""

    a_pos: Tensor
    a_neg: Tensor
    b_pos: Tensor
    b_neg: Tensor
    k: Tensor
    bias: Tensor
    th_pos: Tensor
    th_neg: Tensor
    floor: Tensor


class Schedule(NamedTuple):
    """What differs from step to step."""

    gains: Tensor
    """(T,), float64: numerators m of the factors m/4096 of what is received."""
    may_fire: Tensor
    """(T,), float64: 1 where the neuron may fire, else 0."""

    @classmethod
    def of(cls, neuron: FixedPointNeuron, steps: int) -> Schedule | None:
        """That of a neuron over T steps; None if all steps are the same."""
        if not scheduled_fields(neuron):
            return None
        gains = torch.tensor(neuron.gains or [DECAY_ONE] * steps, dtype=torch.float64)
        open_at = [neuron.fires_at(t) for t in range(steps)]
        return cls(gains, torch.tensor(open_at, dtype=torch.float64))


class Dynamics(NamedTuple):
    """What of a neuron is no array."""

    reset: Reset
    strict: bool
    fire_once: bool
    limit: int
    """Largest magnitude of a state."""
    unit: float
    """2**state_shift."""
    has_current: bool
    """Whether any k is other than 0."""
    has_carry: bool
    """Whether any a_pos or a_neg is."""
    has_leak: bool
    """Whether any b_pos or b_neg is."""
    ternary: bool
    """Whether any neuron can fire -1."""
    surrogate: Surrogate

    @classmethod
    def of(cls, neuron: FixedPointNeuron, surrogate: Surrogate) -> Dynamics:
        """Those of a neuron.

        Args:
            neuron: The neuron.
            surrogate: Stands in for the derivative of a spike, in units of the threshold.
        """
        limit = state_limit(neuron.state_bits)
        return cls(
            reset=neuron.reset,
            strict=neuron.strict,
            fire_once=neuron.fire_once,
            limit=limit,
            unit=2.0**neuron.state_shift,
            has_current=bool(neuron.k.any()),
            has_carry=bool(neuron.a_pos.any() or neuron.a_neg.any()),
            has_leak=bool(neuron.b_pos.any() or neuron.b_neg.any()),
            ternary=bool((neuron.th_neg <= limit).any()),
            surrogate=surrogate,
        )


class Run(NamedTuple):
    """All time steps of a population, (T, N, *layout)."""

    spikes: Tensor
    """-1, 0 or 1, float32."""
    v: Tensor
    """Potential before the reset."""
    c: Tensor
    """Carried potential."""
    i: Tensor
    """Synaptic current."""
    state: State
    """After the last step."""


Forward: TypeAlias = Callable[
    [Dynamics, int, torch.dtype, Tensor, State, Parameters, Schedule | None], Run
]
Backward: TypeAlias = Callable[..., tuple[Any, ...]]


def initial_state(samples: int, layout: tuple[int, ...], v_init: Tensor) -> State:
    """The state before the first step; gradients pass to ``v_init``."""
    zeros = torch.zeros((samples, *layout), dtype=torch.float64, device=v_init.device)
    return State(zeros, zeros, zeros + v_init, zeros)


def _decay(z: Tensor, m: Tensor) -> Tensor:
    return (z * m / DECAY_ONE).trunc()


def _by_sign(z: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    return torch.where(z >= 0, positive, negative)


def _forward(
    d: Dynamics,
    steps: int,
    kept: torch.dtype,
    x: Tensor,
    state: State,
    p: Parameters,
    schedule: Schedule | None,
) -> Run:
    """T time steps; ``kept`` is the dtype of the states that are returned."""
    i, c, v, fired = state
    spikes, potentials, carried, currents = [], [], [], []
    for t in range(steps):
        shifted, bias = x[t if len(x) > 1 else 0].double() * d.unit, p.bias
        if schedule is not None:
            gain = schedule.gains[t]
            shifted, bias = _decay(shifted, gain), _decay(bias, gain)
        if d.has_current:
            shifted = shifted + _decay(i, p.k)
        i = shifted.clamp(-d.limit, d.limit)
        if d.has_carry and d.has_leak:
            c = _decay(c, _by_sign(c, p.a_pos, p.a_neg)) + _decay(v, _by_sign(v, p.b_pos, p.b_neg))
        elif d.has_carry:
            c = _decay(c, _by_sign(c, p.a_pos, p.a_neg))
        elif d.has_leak:
            c = _decay(v, _by_sign(v, p.b_pos, p.b_neg))
        c = c.clamp(-d.limit, d.limit)
        u = (c + i + bias).clamp(-d.limit, d.limit).maximum(p.floor)
        plus = u > p.th_pos if d.strict else u >= p.th_pos
        minus = u < -p.th_neg if d.strict else u <= -p.th_neg
        s = plus.double() - minus.double()
        if schedule is not None:
            s = s * schedule.may_fire[t]
        if d.fire_once:
            s = s * (1 - fired)
            fired = fired.maximum(s.abs())
        v = u
        if d.reset == "zero":
            v = torch.where(s == 0, u, 0.0)
        elif d.reset == "subtract":
            v = torch.where(s > 0, u - p.th_pos, torch.where(s < 0, u + p.th_neg, u))
        spikes.append(s.float())
        potentials.append(u.to(kept))
        if d.has_carry or kept == torch.float64:
            carried.append(c.to(kept))
        if d.has_current or kept == torch.float64:
            currents.append(i.to(kept))
    empty = x.new_empty(0)
    return Run(
        torch.stack(spikes),
        torch.stack(potentials),
        torch.stack(carried) if carried else empty,
        torch.stack(currents) if currents else empty,
        State(i, c, v, fired),
    )


class _Kept(NamedTuple):
    """What the backward pass works with, all in float32."""

    spikes: Tensor
    v: Tensor
    c: Tensor
    i: Tensor
    start: State
    parameters: Parameters


def _slope(d: Dynamics, u: Tensor, p: Parameters) -> Tensor:
    """ds/du of a potential before the reset."""
    th = _by_sign(u, p.th_pos, p.th_neg) if d.ternary else p.th_pos
    return d.surrogate(u / th, 1.0, d.ternary) / th


def _backward(
    d: Dynamics,
    needs: tuple[bool, ...],
    by_spikes: Tensor,
    by_state: tuple[Tensor | None, ...],
    kept: _Kept,
    shared_input: bool,
    schedule: Schedule | None,
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor], list[Tensor | None]]:
    """Gradients of x, of the state at the start, and of the parameters (not yet reduced).

    Args:
        d: The neuron.
        needs: Which parameters need a gradient.
        by_spikes: Gradient of the spikes, (T, N, *layout).
        by_state: Gradients of i, c and v after the last step; None: none.
        kept: From the forward pass.
        shared_input: Whether one x served all steps.
        schedule: As in the forward pass.
    """
    p, steps = kept.parameters, len(by_spikes)
    zeros = torch.zeros_like(by_spikes[0])
    g_i, g_c, g_v = (zeros if g is None else g.float() for g in by_state)
    fired = [kept.start.fired]
    if d.fire_once:
        for t in range(steps - 1):
            fired.append(fired[-1].maximum(kept.spikes[t].abs()))
    by_x: list[Tensor] = []
    sums: dict[str, Tensor] = {}

    def add(name: str, value: Tensor) -> None:
        if needs[Parameters._fields.index(name)]:
            sums[name] = sums[name] + value if name in sums else value

    for t in reversed(range(steps)):
        u, s = kept.v[t], kept.spikes[t]
        slope = _slope(d, u, p)
        if d.fire_once:
            slope = slope * (1 - fired[t])
        gain: float | Tensor = 1.0
        if schedule is not None:
            slope = slope * schedule.may_fire[t].float()
            gain = schedule.gains[t].float() / DECAY_ONE
        through = by_spikes[t] * slope
        add("th_pos", torch.where(u >= 0, -through * u / p.th_pos, 0.0))
        add("th_neg", torch.where(u < 0, -through * u / p.th_neg, 0.0))
        after = torch.where(s == 0, g_v, 0.0) if d.reset == "zero" else g_v
        if d.reset == "subtract":
            add("th_pos", torch.where(s > 0, -g_v, 0.0))
            add("th_neg", torch.where(s < 0, g_v, 0.0))
        g_u = through + after
        free = (u.abs() < d.limit) & (u > p.floor)
        add("floor", torch.where(u <= p.floor, g_u, 0.0))
        g_u = torch.where(free, g_u, 0.0)
        add("bias", g_u * gain)
        g_i = g_i + g_u
        if d.has_current:
            g_i = torch.where(kept.i[t].abs() < d.limit, g_i, 0.0)
        g_c = g_c + g_u
        if d.has_carry:
            g_c = torch.where(kept.c[t].abs() < d.limit, g_c, 0.0)
        by_x.append(g_i * (gain * d.unit))
        first = t == 0
        if d.has_current:
            before = kept.start.i if first else kept.i[t - 1]
            add("k", g_i * before / DECAY_ONE)
            g_i = g_i * (p.k / DECAY_ONE)
        else:
            g_i = zeros
        if d.has_leak:
            before = kept.start.v if first else _after(d, kept.v[t - 1], kept.spikes[t - 1], p)
            add("b_pos", torch.where(before >= 0, g_c * before, 0.0) / DECAY_ONE)
            add("b_neg", torch.where(before < 0, g_c * before, 0.0) / DECAY_ONE)
            g_v = g_c * (_by_sign(before, p.b_pos, p.b_neg) / DECAY_ONE)
        else:
            g_v = zeros
        if d.has_carry:
            before = kept.start.c if first else kept.c[t - 1]
            add("a_pos", torch.where(before >= 0, g_c * before, 0.0) / DECAY_ONE)
            add("a_neg", torch.where(before < 0, g_c * before, 0.0) / DECAY_ONE)
            g_c = g_c * (_by_sign(before, p.a_pos, p.a_neg) / DECAY_ONE)
        else:
            g_c = zeros
    by_x.reverse()
    total = torch.stack(by_x).sum(0, keepdim=True) if shared_input else torch.stack(by_x)
    return total, (g_i, g_c, g_v), [sums.get(name) for name in Parameters._fields]


def _after(d: Dynamics, u: Tensor, s: Tensor, p: Parameters) -> Tensor:
    """The potential after the reset."""
    if d.reset == "zero":
        return torch.where(s == 0, u, 0.0)
    if d.reset == "subtract":
        return torch.where(s > 0, u - p.th_pos, torch.where(s < 0, u + p.th_neg, u))
    return u


class _Neurons(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        d: Dynamics,
        functions: tuple[Forward, Backward],
        steps: int,
        schedule: Schedule | None,
        x: Tensor,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        plain = [tensor.detach() for tensor in tensors]
        state, parameters = State(*plain[:4]), Parameters(*plain[4:])
        result = functions[0](d, steps, torch.float32, x.detach(), state, parameters, schedule)
        ctx.save_for_backward(*result[:4], *tensors)
        ctx.dynamics, ctx.function, ctx.schedule = d, functions[1], schedule
        ctx.x_like = x.dtype, len(x) == 1 < steps
        ctx.mark_non_differentiable(result.state.fired)
        return result.spikes, *result.state

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        spikes, v, c, i, *tensors = (tensor.detach() for tensor in ctx.saved_tensors)
        narrow = [tensor.float() for tensor in tensors]
        kept = _Kept(spikes, v, c, i, State(*narrow[:4]), Parameters(*narrow[4:]))
        by_spikes = torch.zeros_like(spikes) if gradients[0] is None else gradients[0]
        needs = tuple(ctx.needs_input_grad[9:])
        dtype, shared = ctx.x_like
        by_x, by_start, by_parameters = ctx.function(
            ctx.dynamics, needs, by_spikes, gradients[1:4], kept, shared, ctx.schedule
        )
        reduced = [
            None if g is None else g.sum_to_size(parameter.shape).double()
            for g, parameter in zip(by_parameters, tensors[4:], strict=True)
        ]
        start = [
            g.double() if need else None
            for g, need in zip(by_start, ctx.needs_input_grad[5:8], strict=True)
        ]
        return None, None, None, None, by_x.to(dtype), *start, None, *reduced


def compiled() -> tuple[Forward, Backward]:
    """Forward and backward pass, each as one fused kernel for every kind of population.

    Needs a C++ compiler, and takes a while at the first batch.
    """
    return torch.compile(_forward, dynamic=True), torch.compile(_backward, dynamic=True)


EAGER: tuple[Forward, Backward] = (_forward, _backward)
"""The same, operation by operation."""


def run(
    d: Dynamics,
    steps: int,
    x: Tensor,
    state: State,
    parameters: Parameters,
    functions: tuple[Forward, Backward] = EAGER,
    schedule: Schedule | None = None,
) -> tuple[Tensor, State]:
    """Spikes of so many time steps, and the state after them; gradients pass.

    Args:
        d: The neuron.
        steps: T.
        x: (T, N, *layout), sums that the connections deliver, before the state shift; or
            (1, N, *layout) for the same at every step.
        state: Before the first step.
        parameters: Of the neuron.
        functions: What :func:`compiled` gave, or operation by operation.
        schedule: Of these steps.
    """
    shape, layout = (steps, *x.shape[1:]), x.shape[1:]
    if x.dim() > 3 and all(p.numel() == p.shape[-1] for p in parameters if p.dim()):
        # Alike for all places: then one compiled function serves maps of every size.
        x = x.flatten(1, -2)
        state = State(*(value.flatten(0, -2) for value in state))
        parameters = Parameters(*(p.flatten() if p.dim() else p for p in parameters))
    spikes, *after = _Neurons.apply(d, functions, steps, schedule, x, *state, *parameters)  # type: ignore[no-untyped-call]
    return spikes.reshape(shape), State(*(value.reshape(layout) for value in after))


def trace(
    d: Dynamics,
    steps: int,
    x: Tensor,
    state: State,
    parameters: Parameters,
    schedule: Schedule | None = None,
) -> Run:
    """The same with every state, without gradients."""
    with torch.no_grad():
        return _forward(d, steps, torch.float64, x, state, parameters, schedule)
