"""Spiking neurons as PyTorch modules, each of which states the deployed neuron that it is.

All of them are settings of one update (see :class:`trispike.network.neuron.Neuron`), which is
therefore written once, in :meth:`SpikingNeuron.dynamics`; a subclass only says what its
coefficients are. Evaluated in float64, module and deployed neuron round alike, operation for
operation, so that their spikes are equal and not merely close.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from trispike.errors import InvalidNetworkError
from trispike.network.neuron import Neuron, Reset
from trispike.nn.surrogate import DEFAULT_SURROGATE, fire, surrogate_by_name

__all__ = [
    "CTSN",
    "DEFAULT_TAU",
    "DEFAULT_V_THRESHOLD",
    "LIF",
    "Amplitude",
    "Coefficients",
    "ComplementaryTernarySpike",
    "Form",
    "PotentialHook",
    "SpikingNeuron",
    "TernarySpike",
]

Form: TypeAlias = Literal["static", "dynamic"]
"""The two published forms of CTSN: for repeated images, and for event streams ("dvs")."""

Amplitude: TypeAlias = Literal["layer", "channel"]
"""How many trained spike sizes a Ternary Spike layer has: one, or one per channel."""

DEFAULT_V_THRESHOLD = 0.5
"""Published for CTSN; the effective threshold of the published Ternary Spike, too."""

DEFAULT_TAU = 0.25
"""Published leak of both."""


class Coefficients(NamedTuple):
    """The numbers of one neuron's update; see the fields of ``Neuron`` of the same names."""

    b_pos: Tensor | float
    b_neg: Tensor | float
    a_pos: Tensor | float = 0.0
    a_neg: Tensor | float = 0.0
    k: Tensor | float = 0.0
    v_init: Tensor | float = 0.0
    gain: float = 1.0
    """Factor of the weighted input; no field of ``Neuron``, but folded into what comes before."""


PotentialHook: TypeAlias = Callable[["SpikingNeuron", Tensor], None]
"""Called with the neuron and its membrane potentials before the reset, at every forward pass."""


class SpikingNeuron(nn.Module):
    """Base of all neurons: from weighted input to spikes, over all time steps at once.

    With ``pw(z, p, n) = p*max(z, 0) + n*min(z, 0)`` and the subclass's coefficients, in order::

        i = k*i + x
        c = pw(c, a_pos, a_neg) + pw(v, b_pos, b_neg)
        v = c + i
        s = +1 if v >= V_th, -1 if v <= -V_th and ternary, else 0      (strict: > and <)
        s = 0 where fire_once and the neuron has fired before
        v = v*(1 - |s|)  (reset "zero"),  v - s*V_th  ("subtract"),  v  ("none")

    starting from i = c = 0 and v = v_init at every call: no state outlives a forward pass. A
    subclass may have x multiplied by a gain first.

    Input and output are (T, N, ...) with time first, or have time at ``time_axis``. The output is
    amplitude * s.

    Args:
        v_threshold: V_th, the effective threshold, > 0.
        ternary: Whether negative spikes exist.
        strict: Whether a potential equal to the threshold stays silent.
        reset: What firing does to the membrane potential.
        fire_once: Whether a neuron fires at most once per sample.
        surrogate: Name of the surrogate gradient, see ``SURROGATES``.

    Raises:
        InvalidNetworkError: The threshold is not a positive number, or a name is unknown.
    """

    time_axis: int = 0
    """Where the time steps lie in the input and the output."""

    def __init__(
        self,
        *,
        v_threshold: float,
        ternary: bool = True,
        strict: bool = False,
        reset: Reset = "zero",
        fire_once: bool = False,
        surrogate: str = DEFAULT_SURROGATE,
    ) -> None:
        super().__init__()
        if not (v_threshold > 0 and math.isfinite(v_threshold)):
            raise InvalidNetworkError(
                "v_threshold",
                got=repr(v_threshold),
                expected="a positive number",
                fix="The published networks use 0.5.",
            )
        check_choice("reset", reset, get_args(Reset))
        self.v_threshold = float(v_threshold)
        self.ternary = ternary
        self.strict = strict
        self.reset: Reset = reset
        self.fire_once = fire_once
        self.surrogate = surrogate
        self._surrogate = surrogate_by_name(surrogate)
        self._potential_hooks: OrderedDict[int, PotentialHook] = OrderedDict()

    def coefficients(self, dtype: torch.dtype) -> Coefficients:
        """The numbers of the update, with trained ones evaluated in ``dtype``."""
        raise NotImplementedError

    def spike_amplitude(self) -> npt.NDArray[np.float64]:
        """The trained size of a spike: a scalar (), or (C, 1, 1); 1 unless a subclass trains it."""
        return np.ones(())

    def input_gain(self) -> float:
        """What x is multiplied by first; 1 unless a subclass says otherwise."""
        return self.coefficients(torch.float64).gain

    def to_neuron(self) -> Neuron:
        """The deployed neuron with these dynamics, evaluated in float64.

        Amplitude and gain of the input are left out: they belong to the weights.
        """
        values = self.coefficients(torch.float64)._asdict()
        del values["gain"]
        arrays: dict[str, Any] = {name: _to_numpy(value) for name, value in values.items()}
        return Neuron(
            **arrays,
            th_pos=_to_numpy(self.v_threshold),
            th_neg=_to_numpy(self.v_threshold if self.ternary else math.inf),
            reset=self.reset,
            strict=self.strict,
            fire_once=self.fire_once,
        )

    def dynamics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run all time steps.

        Args:
            x: Weighted input, time at ``time_axis``.

        Returns:
            Spikes in {-1, 0, +1} and membrane potentials before the reset, both of x's shape.
        """
        q = self.coefficients(x.dtype)
        inputs = (x if q.gain == 1 else q.gain * x).unbind(self.time_axis)
        v = torch.zeros_like(inputs[0]) + q.v_init
        i = c = torch.zeros_like(v)
        fired = torch.zeros_like(v)
        spikes, potentials = [], []
        for current in inputs:
            i = current if _is_zero(q.k) else q.k * i + current
            carried = _pw(v, q.b_pos, q.b_neg)
            c = carried if _is_zero(q.a_pos, q.a_neg) else _pw(c, q.a_pos, q.a_neg) + carried
            v = c + i
            s = fire(v, self.v_threshold, self.ternary, self.strict, self._surrogate)
            if self.fire_once:
                s = s * (1 - fired)
                fired = fired + s.detach().abs()
            spikes.append(s)
            potentials.append(v)
            if self.reset == "zero":
                v = v * (1 - s.abs())
            elif self.reset == "subtract":
                v = v - s * self.v_threshold
        return torch.stack(spikes, self.time_axis), torch.stack(potentials, self.time_axis)

    def forward(self, x: Tensor) -> Tensor:
        """Amplitude * spikes, of x's shape."""
        spikes, potentials = self.dynamics(x)
        for hook in tuple(self._potential_hooks.values()):
            hook(self, potentials)
        return spikes

    def register_potential_hook(self, hook: PotentialHook) -> RemovableHandle:
        """Have ``hook`` see the membrane potentials of every forward pass, until removed."""
        handle = RemovableHandle(self._potential_hooks)
        self._potential_hooks[handle.id] = hook
        return handle

    def extra_repr(self) -> str:
        """What is printed between the parentheses."""
        return f"v_threshold={self.v_threshold}, reset={self.reset!r}"


class CTSN(SpikingNeuron):
    """Complementary ternary spiking neuron: what firing discards, a trained memory keeps.

    ::

        c = sig(alpha)*max(c, 0) + sig(beta)*min(c, 0) + tau*sig(gamma)*v         (form "static")
        c = sig(alpha)*c + tau*sig(beta)*max(v, 0) + tau*sig(gamma)*min(v, 0)     (form "dynamic")
        v = c + x
        s = +1 if v >= V_th, -1 if v <= -V_th, else 0
        v = v*(1 - |s|)

    sig is the logistic function; alpha, beta and gamma are trained, one scalar each, 0 at first.
    The published code divides v by 2*V_th and fires at 0.5, which is v at V_th, inclusive.
    Folding tau into the trained share of v is exact, because the reset factor is 0 or 1.

    Source: Zhang et al. 2026, arXiv 2601.15598 (u~(t) there is v here, h(t) is c).

    Args:
        form: ``"static"`` or ``"dynamic"``.
        v_threshold: V_th.
        tau: Leak.
        surrogate: Name of the surrogate gradient.
    """

    def __init__(
        self,
        form: Form = "static",
        v_threshold: float = DEFAULT_V_THRESHOLD,
        tau: float = DEFAULT_TAU,
        surrogate: str = DEFAULT_SURROGATE,
    ) -> None:
        super().__init__(v_threshold=v_threshold, surrogate=surrogate)
        check_choice("form", form, get_args(Form))
        self.form: Form = form
        self.tau = finite("tau", tau)
        self.alpha = nn.Parameter(torch.tensor(0.0))
        self.beta = nn.Parameter(torch.tensor(0.0))
        self.gamma = nn.Parameter(torch.tensor(0.0))

    def coefficients(self, dtype: torch.dtype) -> Coefficients:
        """See the base class."""
        parameters = (self.alpha, self.beta, self.gamma)
        alpha, beta, gamma = (torch.sigmoid(p.to(dtype)) for p in parameters)
        if self.form == "static":
            leak = self.tau * gamma
            return Coefficients(a_pos=alpha, a_neg=beta, b_pos=leak, b_neg=leak)
        return Coefficients(a_pos=alpha, a_neg=alpha, b_pos=self.tau * beta, b_neg=self.tau * gamma)

    def extra_repr(self) -> str:
        """What is printed between the parentheses."""
        return f"form={self.form!r}, v_threshold={self.v_threshold}, tau={self.tau}"


class ComplementaryTernarySpike(CTSN):
    """CTSN as in its authors' code for CIFAR10-DVS: dynamic form, and (N, T, ...) tensors.

    Args:
        v_th: The published ``thresh``; the neuron fires at |v / v_th| >= 0.5.
        tau: Leak.
        surrogate: Name of the surrogate gradient.
    """

    time_axis = 1

    def __init__(
        self, v_th: float = 1.0, tau: float = DEFAULT_TAU, surrogate: str = DEFAULT_SURROGATE
    ) -> None:
        super().__init__("dynamic", v_th / 2, tau, surrogate)


class TernarySpike(SpikingNeuron):
    """Ternary LIF neuron, with spikes of a trained size if so chosen.

    ::

        v = tau*v + x
        s = +1 if v >= V_th, -1 if v <= -V_th, else 0
        v = v*(1 - |s|)
        output = fire_ratio*s

    Source: Guo et al., "Ternary Spike", AAAI 2024. Their code fires at |v| >= 0.5 inclusive and
    resets with the spike before it is scaled.

    Args:
        v_threshold: V_th.
        tau: Leak.
        amplitude: None for spikes of size 1; ``"layer"`` for one trained size, a 0-d parameter;
            ``"channel"`` for one per channel, a parameter of shape (1, C, 1, 1).
        channels: C, needed by ``"channel"``.
        surrogate: Name of the surrogate gradient.

    Raises:
        InvalidNetworkError: ``amplitude`` is unknown, or needs ``channels``.
    """

    def __init__(
        self,
        v_threshold: float = DEFAULT_V_THRESHOLD,
        tau: float = DEFAULT_TAU,
        amplitude: Amplitude | None = None,
        channels: int | None = None,
        surrogate: str = DEFAULT_SURROGATE,
    ) -> None:
        super().__init__(v_threshold=v_threshold, surrogate=surrogate)
        self.tau = finite("tau", tau)
        self.amplitude = amplitude
        self.fire_ratio: nn.Parameter | None = None
        if amplitude is None:
            return
        check_choice("amplitude", amplitude, get_args(Amplitude))
        if amplitude == "layer":
            self.fire_ratio = nn.Parameter(torch.tensor(1.0))
        elif channels is not None:
            self.fire_ratio = nn.Parameter(torch.ones(1, channels, 1, 1))
        else:
            raise InvalidNetworkError(
                "TernarySpike(amplitude='channel')",
                got="no channels",
                expected="the number of channels",
                fix="Pass channels=C, the channels of the neuron's input.",
            )

    def coefficients(self, dtype: torch.dtype) -> Coefficients:
        """See the base class."""
        return Coefficients(b_pos=self.tau, b_neg=self.tau)

    def spike_amplitude(self) -> npt.NDArray[np.float64]:
        """See the base class."""
        if self.fire_ratio is None:
            return super().spike_amplitude()
        values = _to_numpy(self.fire_ratio.to(torch.float64))
        return values if values.ndim == 0 else values.reshape(-1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """See the base class."""
        spikes = super().forward(x)
        return spikes if self.fire_ratio is None else spikes * self.fire_ratio

    def extra_repr(self) -> str:
        """What is printed between the parentheses."""
        return f"v_threshold={self.v_threshold}, tau={self.tau}, amplitude={self.amplitude!r}"


class LIF(SpikingNeuron):
    """Leaky integrate-and-fire neuron, binary or ternary, optionally current-based.

    ::

        i = current_retention*i + x
        v = leak*v + i
        s = +1 if v >= V_th, -1 if v <= -V_th and ternary, else 0      (strict: > and <)
        s = 0 where fire_once and the neuron has fired before
        v = v*(1 - |s|)  (reset "zero"),  v - s*V_th  ("subtract"),  v  ("none")

    Args:
        v_threshold: V_th.
        leak: Share of the potential that is carried on, per step; 1 is integrate-and-fire.
        ternary: Whether negative spikes exist.
        reset: What firing does to the membrane potential.
        current_retention: Retention of the synaptic current, per step; 0: current = input.
        strict: Whether a potential equal to the threshold stays silent.
        v_init: Membrane potential before the first step.
        fire_once: Whether a neuron fires at most once per sample (time to first spike).
        surrogate: Name of the surrogate gradient.
    """

    def __init__(
        self,
        v_threshold: float = 1.0,
        leak: float = 0.5,
        *,
        ternary: bool = False,
        reset: Reset = "zero",
        current_retention: float = 0.0,
        strict: bool = False,
        v_init: float = 0.0,
        fire_once: bool = False,
        surrogate: str = DEFAULT_SURROGATE,
    ) -> None:
        super().__init__(
            v_threshold=v_threshold,
            ternary=ternary,
            strict=strict,
            reset=reset,
            fire_once=fire_once,
            surrogate=surrogate,
        )
        self.leak = finite("leak", leak)
        self.current_retention = finite("current_retention", current_retention)
        self.v_init = finite("v_init", v_init)

    def coefficients(self, dtype: torch.dtype) -> Coefficients:
        """See the base class."""
        return Coefficients(
            b_pos=self.leak, b_neg=self.leak, k=self.current_retention, v_init=self.v_init
        )


def _pw(z: Tensor, positive: Tensor | float, negative: Tensor | float) -> Tensor:
    if positive is negative:  # as exact, and half the work
        return positive * z
    return torch.where(z >= 0, positive, negative) * z


def _is_zero(*values: Tensor | float) -> bool:
    """Whether all are the constant 0: then a term of the update is skipped."""
    return all(isinstance(value, float) and value == 0 for value in values)


def _to_numpy(value: Tensor | float) -> npt.NDArray[np.float64]:
    if isinstance(value, Tensor):
        return np.array(value.detach().cpu().numpy(), dtype=np.float64)
    return np.array(value, dtype=np.float64)


def finite(name: str, value: float) -> float:
    """A number, or InvalidNetworkError if it is NaN or infinite."""
    if not math.isfinite(value):
        raise InvalidNetworkError(
            name, got=repr(value), expected="a finite number", fix="Correct the argument."
        )
    return float(value)


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise InvalidNetworkError unless the value is one of the choices."""
    if value not in choices:
        raise InvalidNetworkError(
            name, got=repr(value), expected="one of " + ", ".join(choices), fix="Choose one."
        )
