"""Plasticity: a connection whose weights change while the network runs. Experimental.

The rule is the one of "dynamic weight adaptation" (DWAM, arXiv 2511.17563) as far as it is known:
its equations were read in a secondary source, and its update is partly unpublished. With c the
activity of the target neuron::

    phi   = c * (c - theta),     theta = theta_M * k + c * (1 - k),     k = zeta * sigma / mu
    dW    = eta * phi * pre - eps * W                                    (assumed)

which is BCM with a threshold that slides with the activity. Inserting theta gives
``phi = k * c * (c - theta_M)`` exactly, so that the source's "simplified" rule is the same one,
and the only one here. What c and pre are, when weights change, what they decay toward and what
sigma and mu are taken from is not known: each is a parameter of :class:`Plasticity`.

Everything is integer, as the neurons are. A weight carries ``fine_bits`` bits below its unit, in
which small updates add up; synapses see the weight rounded to whole units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from trispike.errors import InvalidNetworkError, InvalidSettingError
from trispike.network.arrays import frozen_array, same_values, whole_number
from trispike.network.fixed_point import DECAY_BITS, DECAY_ONE, decay, saturate

Array: TypeAlias = npt.NDArray[Any]
IntArray: TypeAlias = npt.NDArray[np.int64]
Activity: TypeAlias = Literal["magnitude", "signed"]
"""Which spikes of a target neuron its activity sums: |s|, or s."""
Update: TypeAlias = Literal["step", "sample"]
"""When weights change: at the end of every time step, or of every sample."""
Anchor: TypeAlias = Literal["zero", "trained"]
"""What weights decay toward: zero, as in the formula, or what they were trained to be."""

TRACE_BITS = 16
"""Width of a trace, sign included. With it no product of the rule exceeds 63 bits."""

TRACE_LIMIT = (1 << (TRACE_BITS - 1)) - 1
K_LIMIT = 1 << 16
"""Largest numerator of k, which stands for 16."""

_RANGES = {
    "eta": (-DECAY_ONE, DECAY_ONE),
    "eta_shift": (0, 62),
    "eps": (0, DECAY_ONE),
    "k": (0, K_LIMIT),
    "pre_decay": (0, DECAY_ONE),
    "post_decay": (0, DECAY_ONE),
    "trace_shift": (0, 12),
    "fine_bits": (0, 16),
}
_NAMES: dict[str, tuple[str, ...]] = {
    "toward": get_args(Anchor),
    "activity": get_args(Activity),
    "update": get_args(Update),
}


class PlasticState(NamedTuple):
    """What a plastic connection carries from one time step to the next, for one sample."""

    fine: IntArray
    """(outputs, inputs): weights in units of 2**-fine_bits."""
    pre: IntArray
    """(inputs,): trace of what arrived, in units of 2**-trace_shift."""
    post: IntArray
    """(outputs,): trace of what the target fired, same unit; c of the formula."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plasticity:
    """The rule by which the weights of a dense connection change at run time. Experimental.

    At every time step t of a sample, after the target has fired, with ``x`` what the matrix
    received (pooled sums of spikes) and ``s`` what the target fired::

        pre   = sat(decay(pre, pre_decay) + (x << trace_shift))
        c     = sat(decay(c, post_decay) + (|s| << trace_shift))          (signed: s)
        phi   = decay(c * (|c| - theta) >> trace_shift, k)
        fine += (phi * pre * eta >> eta_shift) - decay(fine - anchor, eps)
        fine  = clip(fine, low << fine_bits, high << fine_bits)

    where ``>>`` rounds toward zero, as ``decay`` does, and ``sat`` clips to 16 bits. The last two
    lines are computed at every step, or at the last one of a sample (``update``); new weights are
    in use from the next step on. Synapses see ``fine`` rounded to the nearest whole weight, halves
    away from zero.

    Both traces are 0 when a sample begins, and weights are the trained ones, unless they are kept.
    A weight that is zero in the network is no synapse, and stays zero.

    A constant phi > 0 above theta strengthens what made the target fire, which is unstable by
    itself; ``eta < 0`` turns it around: activity above theta weakens, activity below strengthens.
    A silent target has phi = 0, whatever eta.

    :meth:`from_real` makes a rule of real numbers.

    Raises:
        InvalidNetworkError: A constant is out of its range, or a name is unknown.
    """

    eta: int
    """Learning rate: numerator of eta / 2**eta_shift, -4096..4096, in units of 2**-fine_bits
    weights per 2**-(2 * trace_shift) of phi * pre."""
    eta_shift: int = 0
    """See eta; 0..62."""
    theta: Array = 0  # type: ignore[assignment]
    """theta_M, the activity at which nothing changes, in units of 2**-trace_shift; scalar or one
    per target neuron, 0..32767."""
    k: int = DECAY_ONE
    """Numerator of k / 4096, the slope of phi; 0..65536."""
    eps: int = 0
    """Numerator of eps / 4096, the share of a weight that decays at every update; 0..4096. Less
    than 4096 / eps fine units are too little to decay."""
    toward: Anchor = "zero"
    """What weights decay toward."""
    pre_decay: int = 0
    """Numerator m of the retention m/4096 of the presynaptic trace; 0..4096. 0: what arrived at
    this very step; 4096: all that has arrived since the sample began."""
    post_decay: int = DECAY_ONE
    """The same for the activity c; 4096: the count of spikes since the sample began."""
    activity: Activity = "magnitude"
    """Whether c sums |s| or s. A ternary neuron that fires -1 is driven by what makes its potential
    smaller: there only "signed" moves weights and activity in the same direction. For binary
    neurons both are the same."""
    trace_shift: int = 6
    """Bits of a trace below one spike; 0..12."""
    fine_bits: int = 8
    """Bits of a weight below its unit; 0..16."""
    low: int | None = None
    """Smallest weight that may be learned; None: the smallest of the connection's bits."""
    high: int | None = None
    """Largest weight that may be learned; None: the largest of the connection's bits."""
    update: Update = "step"
    """When weights change."""
    keep_weights: bool = False
    """Weights go on from sample to sample of a run, in the order of the samples; otherwise every
    sample begins with the trained ones. Every run begins with them."""
    keep_activity: bool = False
    """c goes on from sample to sample of a run, for averages over many samples."""

    def __post_init__(self) -> None:
        for name, (smallest, largest) in _RANGES.items():
            value = whole_number(_field(name), getattr(self, name), smallest, largest)
            object.__setattr__(self, name, value)
        for name in ("low", "high"):
            if getattr(self, name) is not None:
                value = whole_number(_field(name), getattr(self, name), -127, 127)
                object.__setattr__(self, name, value)
        for name, allowed in _NAMES.items():
            if getattr(self, name) not in allowed:
                raise _wrong(name, repr(getattr(self, name)), "one of " + ", ".join(allowed))
        for name in ("keep_weights", "keep_activity"):
            if not isinstance(getattr(self, name), bool):
                raise _wrong(name, repr(getattr(self, name)), "True or False")
        theta = frozen_array(self.theta, np.int64)
        object.__setattr__(self, "theta", theta)
        if theta.ndim > 1 or not theta.size or theta.min() < 0 or theta.max() > TRACE_LIMIT:
            got = f"an array of shape {theta.shape}"
            if theta.size:
                got += f" with values from {theta.min()} to {theta.max()}"
            expected = f"a scalar or one value per target neuron, 0..{TRACE_LIMIT}"
            raise _wrong("theta", got, expected)

    @classmethod
    def from_real(
        cls,
        *,
        eta: float,
        theta: Array | float,
        eps: float = 0.0,
        k: float | None = None,
        zeta: float | None = None,
        sigma: float | None = None,
        mu: float | None = None,
        pre_decay: float = 0.0,
        post_decay: float = 1.0,
        trace_shift: int = 6,
        fine_bits: int = 8,
        **settings: Any,
    ) -> Plasticity:
        """A rule with the nearest integer constants.

        Args:
            eta: Weight units per spike cubed: dW = eta * phi * pre, all counted in spikes.
            theta: theta_M in spikes; scalar or one per target neuron.
            eps: Share of a weight that decays at every update, 0..1.
            k: Slope of phi, 0..16; default: 1, or zeta * sigma / mu.
            zeta: Factor in k.
            sigma: Numerator in k, taken to be a standard deviation of the host network's.
            mu: Denominator in k, taken to be the mean of the same quantity, not 0.
            pre_decay: Retention of the presynaptic trace, 0..1.
            post_decay: Retention of the activity, 0..1.
            trace_shift: As the field.
            fine_bits: As the field.
            settings: The other fields.

        Raises:
            InvalidSettingError: Numbers that contradict each other, or that have no integer form.
            InvalidNetworkError: A constant is out of its range.
        """
        ratio = (zeta, sigma, mu)
        if any(value is not None for value in ratio):
            if k is not None or zeta is None or sigma is None or mu is None or not mu:
                raise InvalidSettingError(
                    "slope of a plasticity rule",
                    got=f"k {k}, zeta {zeta}, sigma {sigma}, mu {mu}",
                    expected="k, or all of zeta, sigma and mu, with mu not 0",
                    fix="Give one of both.",
                )
            k = zeta * sigma / mu
        numerator, shift = _as_fraction(eta * 2.0 ** (fine_bits - 2 * trace_shift))
        return cls(
            eta=numerator,
            eta_shift=shift,
            theta=np.rint(np.asarray(theta, np.float64) * 2.0**trace_shift),
            k=DECAY_ONE if k is None else _rounded("k", k * DECAY_ONE),
            eps=_rounded("eps", eps * DECAY_ONE),
            pre_decay=_rounded("pre_decay", pre_decay * DECAY_ONE),
            post_decay=_rounded("post_decay", post_decay * DECAY_ONE),
            trace_shift=trace_shift,
            fine_bits=fine_bits,
            **settings,
        )

    def limits(self, bits: int) -> tuple[int, int]:
        """Smallest and largest weight that may be learned, for weights of so many bits."""
        largest = (1 << (bits - 1)) - 1
        return (
            -largest if self.low is None else self.low,
            largest if self.high is None else self.high,
        )

    def check(self, what: str, weight: Array, bits: int) -> None:
        """Raise InvalidNetworkError unless the rule fits a matrix of trained weights.

        Args:
            what: Name of the connection.
            weight: (outputs, inputs), int8.
            bits: Width of a weight.
        """
        if self.theta.shape not in ((), (1,), (len(weight),)):
            got, expected = f"{self.theta.size} values of theta", f"one, or {len(weight)}"
            raise InvalidNetworkError(
                what, got=got, expected=expected, fix="Give one per target neuron."
            )
        low, high = self.limits(bits)
        width_low, width_high = Plasticity(eta=0).limits(bits)
        inside = weight.size == 0 or (low <= weight.min() and weight.max() <= high)
        if not inside or low < width_low or high > width_high or low > 0 or high < 0:
            trained = f"trained weights from {weight.min()} to {weight.max()}"
            within = f"within {width_low}..{width_high}"
            raise InvalidNetworkError(
                what,
                got=f"weights to be learned within {low}..{high}, {trained}",
                expected=f"limits around all trained weights and 0, {within}",
                fix="Correct low and high of the plasticity rule.",
            )

    def start(self, trained: Array) -> PlasticState:
        """The state before the first sample; trained: (outputs, inputs), int8."""
        outputs, inputs = trained.shape
        fine = trained.astype(np.int64) << self.fine_bits
        return PlasticState(fine, np.zeros(inputs, np.int64), np.zeros(outputs, np.int64))

    def begin_sample(self, state: PlasticState, trained: Array) -> PlasticState:
        """The state at the beginning of the next sample."""
        fresh = self.start(trained)
        return PlasticState(
            state.fine if self.keep_weights else fresh.fine,
            fresh.pre,
            state.post if self.keep_activity else fresh.post,
        )

    def weights(self, state: PlasticState) -> npt.NDArray[np.int8]:
        """What the synapses see: (outputs, inputs)."""
        half = (1 << self.fine_bits) >> 1
        rounded = (np.abs(state.fine) + half) >> self.fine_bits
        return (np.sign(state.fine) * rounded).astype(np.int8)

    def step(
        self,
        state: PlasticState,
        trained: Array,
        bits: int,
        received: Array,
        fired: Array,
        *,
        last: bool,
    ) -> PlasticState:
        """The state after a time step.

        Args:
            state: Before.
            trained: (outputs, inputs), the weights of the network.
            bits: Width of a weight.
            received: (inputs,), what the matrix was applied to at this step.
            fired: (outputs,), what the target fired at this step.
            last: Whether this is the last step of a sample.
        """
        one = 1 << self.trace_shift
        spikes = fired.astype(np.int64)
        counted = np.abs(spikes) if self.activity == "magnitude" else spikes
        pre, _ = saturate(
            decay(state.pre, self.pre_decay) + received.astype(np.int64) * one, TRACE_BITS
        )
        post, _ = saturate(decay(state.post, self.post_decay) + counted * one, TRACE_BITS)
        if self.update == "sample" and not last:
            return PlasticState(state.fine, pre, post)
        phi = decay(_shifted(post * (np.abs(post) - self.theta), self.trace_shift), self.k)
        change = _shifted((phi * self.eta)[:, None] * pre, self.eta_shift)
        anchor = trained.astype(np.int64) << self.fine_bits if self.toward == "trained" else 0
        fine = state.fine + change - decay(state.fine - anchor, self.eps)
        low, high = (limit << self.fine_bits for limit in self.limits(bits))
        return PlasticState(np.clip(fine, low, high) * (trained != 0), pre, post)

    def equals(self, other: object) -> bool:
        """Whether both rules have equal constants."""
        return isinstance(other, Plasticity) and all(
            same_values(np.asarray(getattr(self, f.name)), np.asarray(getattr(other, f.name)))
            for f in fields(self)
        )


def _shifted(z: IntArray, bits: int) -> IntArray:
    """Divide by 2**bits and round toward zero."""
    return np.sign(z) * (np.abs(z) >> bits)


def _as_fraction(value: float) -> tuple[int, int]:
    """Numerator and shift of the nearest numerator / 2**shift with as many digits as fit."""
    if not math.isfinite(value) or abs(value) > DECAY_ONE:
        raise InvalidSettingError(
            "eta of a plasticity rule",
            got=f"{value:g} fine units per unit of phi * pre",
            expected=f"at most {DECAY_ONE} in magnitude",
            fix="Choose a smaller eta, or fewer fine bits.",
        )
    if not value:
        return 0, 0
    shift = min(62, max(0, DECAY_BITS - math.frexp(value)[1]))
    numerator = round(value * 2.0**shift)
    if not numerator:
        raise InvalidSettingError(
            "eta of a plasticity rule",
            got=f"{value:g} fine units per unit of phi * pre",
            expected="0, or at least 2**-62",
            fix="Choose a larger eta, or more fine bits.",
        )
    return numerator, shift


def _rounded(name: str, value: float) -> int:
    if not math.isfinite(value):
        raise InvalidSettingError(
            f"{name} of a plasticity rule",
            got=str(value),
            expected="a finite number",
            fix="Correct the number.",
        )
    return round(value)


def _field(name: str) -> str:
    return f"plasticity field {name!r}"


def _wrong(name: str, got: str, expected: str) -> InvalidNetworkError:
    return InvalidNetworkError(
        _field(name), got=got, expected=expected, fix="Choose a value in this range."
    )
