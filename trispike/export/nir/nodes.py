"""What standard NIR nodes cannot say, as nodes of our own: every number in a field.

Each node has a ``format_version``; a reader refuses versions that it does not know. Fields hold
HDF5-safe values only: arrays, numbers, strings, lists of strings.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.export.nir.package import nir

Array: TypeAlias = npt.NDArray[Any]

FORMAT_VERSION = 1
"""Version of the fields below."""


@dataclass(eq=False)
class CTSN(nir.NIRNode):
    """A population: the update of :class:`trispike.network.Neuron`, or of its fixed-point form.

    One time step, with ``pw(z, p, n) = p*max(z, 0) + n*min(z, 0)``::

        i = k*i + x
        c = pw(c, a_pos, a_neg) + pw(v, b_pos, b_neg)
        v = max(c + i + bias, floor)
        s = +1 if v >= th_pos, -1 if v <= -th_neg, else 0      (strict: > and <)
        s = 0 where fire_once and the neuron has fired before
        s = 0 at steps t < fire_from or t >= fire_until
        v = v*(1 - |s|)   |   v - s*th   |   v                 (reset zero, subtract, none)

    With ``number`` "fixed", factors are numerators of m/4096, products are rounded toward zero,
    states saturate at ``state_bits``, and the input is shifted left by ``state_shift``. With
    ``gains``, input and bias of step t are multiplied by gains[t] first.

    The last three fields are later than the others: a file without them has their defaults.
    """

    format_version: int
    """:data:`FORMAT_VERSION`."""
    number: str
    """"float" or "fixed"."""
    a_pos: Array
    """Retention of c >= 0. All arrays have the population's shape; float64, or int64."""
    a_neg: Array
    """Retention of c < 0."""
    b_pos: Array
    """Share of v >= 0 that is carried on."""
    b_neg: Array
    """Share of v < 0 that is carried on."""
    k: Array
    """Retention of the synaptic current."""
    bias: Array
    """Added to the membrane potential at every step."""
    th_pos: Array
    """Positive threshold."""
    th_neg: Array
    """Magnitude of the negative threshold; infinite (or 2**(state_bits-1)): binary."""
    floor: Array
    """Lower bound of the membrane potential."""
    v_init: Array
    """Membrane potential before the first step."""
    reset: str
    """"zero", "subtract" or "none"."""
    strict: bool
    """Fire above the threshold only."""
    fire_once: bool
    """Fire at most once per sample."""
    state_bits: int
    """Width of a state; 0 in float."""
    state_shift: int
    """Left shift of the input; 0 in float."""
    layout: Array
    """(10, 1 + rank): rank and sizes of each array, in the order above, as the network holds it
    before it is broadcast to the population's shape; zeros fill the rest of a row."""
    fire_from: int = 0
    """First time step at which the neuron may fire."""
    fire_until: int = -1
    """First time step at which it may not fire any more; -1: it may to the end."""
    gains: Array = field(default_factory=lambda: np.zeros(0))
    """(T,), factors of what is received at each step, float64, or numerators of m/4096, int64;
    (0,): 1 throughout."""

    def __post_init__(self) -> None:
        shape = np.array(self.th_pos.shape)
        self.input_type = {"input": shape}
        self.output_type = {"output": shape}


@dataclass(eq=False)
class CTSNInput(nir.NIRNode):
    """How raw data become what enters: (x - mean) / std, then quantized if ``scale`` is not 0.

    A quantized input is round(x / scale), half to even, clipped to -127..127.
    """

    format_version: int
    """:data:`FORMAT_VERSION`."""
    network: str
    """"float" or "integer"."""
    encoding: str
    """"direct" (one frame, repeated at every step), "frames", "spikes", or "once" (one frame, at
    the first step only)."""
    mean: Array
    """Of the input's shape."""
    std: Array
    """Of the input's shape."""
    layout: Array
    """As in :class:`CTSN`, for mean and std."""
    scale: float
    """Value of one unit of a graded spike; 0: the values stay analog."""
    steps: int
    """Time steps per sample."""
    dt: float
    """Duration of a time step, in the unit of every tau and delay of the graph."""

    def __post_init__(self) -> None:
        shape = np.array(self.mean.shape)
        self.input_type = {"input": shape}
        self.output_type = {"output": shape}


@dataclass(eq=False)
class CTSNReadout(nir.NIRNode):
    """Logits: scale * sum over t of weights[t] * ((x[t] << state_shift) + bias).

    It also says what NIR leaves open: in which order populations and connections stand, in which
    currents are summed, and how wide the weights are.
    """

    format_version: int
    """:data:`FORMAT_VERSION`."""
    bias: Array
    """(classes,), float64 or int64."""
    weights: Array
    """(steps,), weight of each time step."""
    state_shift: int
    """Left shift of the input; 0 in float."""
    scale: float
    """Value of one unit of an integer logit; 1 in float."""
    populations: list[str]
    """Names of the populations, in order."""
    connections: list[str]
    """"a+b->c": names of the operator nodes, in order."""
    bits: Array
    """(connections,): width of the weights in bits."""
    scale_layout: Array
    """(connections, 1 + rank): rank and sizes of an elementwise scale as the network holds it;
    rank -1 for other operators."""

    def __post_init__(self) -> None:
        shape = np.array(self.bias.shape)
        self.input_type = {"input": shape}
        self.output_type = {"output": shape}


@dataclass(eq=False)
class DilatedSumPool2d(nir.NIRNode):
    """Sums over windows whose elements are ``dilation`` apart."""

    format_version: int
    """:data:`FORMAT_VERSION`."""
    kernel_size: Array
    """(rows, columns)."""
    stride: Array
    """(rows, columns)."""
    padding: Array
    """(rows, columns)."""
    dilation: Array
    """(rows, columns)."""
    input_shape: Array
    """(C, H, W)."""
    output_shape: Array
    """(C, H', W')."""

    def __post_init__(self) -> None:
        self.input_type = {"input": self.input_shape}
        self.output_type = {"output": self.output_shape}


@dataclass(eq=False)
class Unflatten(nir.NIRNode):
    """(N,) to (C, H, W), row-major."""

    format_version: int
    """:data:`FORMAT_VERSION`."""
    shape: Array
    """(C, H, W)."""

    def __post_init__(self) -> None:
        self.input_type = {"input": np.array([int(np.prod(self.shape))])}
        self.output_type = {"output": np.asarray(self.shape)}


CUSTOM_NODES = (CTSN, CTSNInput, CTSNReadout, DilatedSumPool2d, Unflatten)
"""Every type that :func:`trispike.export.nir.register` makes known."""
