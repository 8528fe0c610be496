"""Nodes with a state: our neuron, and what a readout sees of an integrator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.export.nir.conventions import Convention
from trispike.export.nir.fields import Fields
from trispike.export.nir.layout import compact
from trispike.export.nir.linear import shaped
from trispike.export.nir.package import nir
from trispike.network.connection import Shape

Array: TypeAlias = npt.NDArray[Any]

R_TOLERANCE = 1e-4
"""Relative; where r must be a function of other fields that a tool computed in float32."""

INTEGRATORS = (nir.I, nir.LI, nir.CubaLI)
NEURONS = (nir.IF, nir.LIF, nir.CubaLIF)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Membrane:
    """i = k*i + x; v = b*v + i + drive, where x is the node's input times ``gain``."""

    k: Array
    b: Array
    gain: Array
    drive: Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Firing:
    """When a membrane fires, relative to its reset potential."""

    threshold: Array
    v_init: Array
    """Before the first step."""
    shift: Array
    """(1 - b) times minus the reset potential: what moving the zero there adds to the drive."""


def shape_of(node: Any) -> tuple[int, ...]:
    """The largest shape among a node's parameters; () if all are single numbers."""
    names = ("v_threshold", "threshold", "tau", "tau_mem", "r")
    arrays = [np.shape(getattr(node, n)) for n in names if hasattr(node, n)]
    return max(arrays, key=lambda s: int(np.prod(s)))


def membrane(fields: Fields, shape: Shape, convention: Convention) -> Membrane:
    """The state of a node in discrete time.

    Raises:
        FileFormatError: A tau below dt, or another field that contradicts the convention.
        InvalidSettingError: The convention does not say what is needed.
    """
    kind = type(fields.node)
    r = shaped(fields.array("r"), shape, fields, "r")
    zero, one = np.zeros(()), np.ones(())
    if kind in (nir.I, nir.IF):
        if convention.if_gain == "one":
            _check_r(fields, r, one, "1")
            return Membrane(k=zero, b=one, gain=one, drive=zero)
        return Membrane(k=zero, b=one, gain=r * convention.time_step, drive=zero)
    cuba = kind in (nir.CubaLI, nir.CubaLIF)
    tau_field = "tau_mem" if cuba else "tau"
    b, rest = _kept(fields, tau_field, shape, convention)
    gain_from = convention.require("gain", f"node {fields.name!r} ({fields.kind})")
    gain = rest * r if gain_from == "r" else one
    if convention.r != "any":
        expected = {
            "one": one,
            "decay": b,
            "tau*decay/dt": shaped(fields.array(tau_field), shape, fields, tau_field)
            * b
            / convention.time_step,
        }[convention.r]
        _check_r(fields, r, expected, convention.r)
    leak = shaped(fields.array("v_leak"), shape, fields, "v_leak")
    if convention.v_leak == "zero" and np.any(leak):
        raise fields.bad("v_leak", "values that are not 0", f"0, in convention {convention.name!r}")
    drive = leak if convention.v_leak == "bias" else rest * leak
    if not cuba:
        return Membrane(k=zero, b=b, gain=gain, drive=drive)
    k, rest_syn = _kept(fields, "tau_syn", shape, convention)
    w_in = shaped(fields.array("w_in"), shape, fields, "w_in")
    if convention.synapse_gain != "w_in" and (w_in != 1).any():
        raise fields.bad("w_in", "values that are not 1", f"1, in convention {convention.name!r}")
    synapse = {"w_in": rest_syn * w_in, "one": one, "decay": k}[convention.synapse_gain]
    return Membrane(k=k, b=b, gain=gain * synapse, drive=drive)


def firing(fields: Fields, shape: Shape, convention: Convention, b: Array) -> Firing:
    """Threshold and reset of a spiking node.

    Raises:
        FileFormatError: A threshold that is not above the reset, or a reset that the convention
            does not have.
    """
    threshold = shaped(fields.array("v_threshold", infinite=True), shape, fields, "v_threshold")
    reset = shaped(fields.array("v_reset"), shape, fields, "v_reset")
    if np.any(reset) and (convention.v_reset == "zero" or convention.reset != "zero"):
        raise fields.bad(
            "v_reset", "values that are not 0",
            f"0, in convention {convention.name!r} with reset {convention.reset!r}",
        )  # fmt: skip
    start = reset if convention.initial == "v_reset" else np.zeros(())
    if (threshold <= reset).any():
        raise fields.bad("v_threshold", "a threshold that is not above the reset", "a larger one")
    return Firing(threshold=threshold - reset, v_init=start - reset, shift=-(1 - b) * reset)


def impulse_response(state: Membrane, steps: int, fields: Fields) -> Array:
    """(T,): what an integrator holds t steps after an input of one.

    Raises:
        UnsupportedError: The time constants differ between elements.
    """
    values = [np.unique(x) for x in (state.k, state.b)]
    if any(len(v) > 1 for v in values):
        raise fields.refused(
            "time constants that differ between outputs",
            "one for all: a readout has one weight per time step",
            "Split the output, or train with one time constant.",
        )
    k, b = (float(v[0]) for v in values)
    response, i, v = [], 1.0, 0.0
    for _ in range(steps):
        v = b * v + i
        i = k * i
        response.append(v)
    return np.array(response)


def _kept(fields: Fields, field: str, shape: Shape, convention: Convention) -> tuple[Array, Array]:
    """What is kept per step, and one minus that, computed without cancellation."""
    tau = shaped(fields.array(field), shape, fields, field)
    dt = convention.time_step
    if convention.tau_unit == "time*dt":
        tau = tau / dt
    if (tau <= 0).any():
        raise fields.bad(field, f"{tau.min():g}", "a positive time constant")
    if convention.decay == "exponential":
        return np.exp(-dt / tau), -np.expm1(-dt / tau)
    rate = dt / tau
    if (rate > 1).any():
        # Some tools compute in float32, where a tau of dt can come out a little smaller.
        if (rate > 1 + 1e-6).any():
            raise fields.bad(
                field, f"{tau.min():g}, below dt = {dt:g}",
                "at least dt: forward Euler overshoots below it",
            )  # fmt: skip
        rate = np.minimum(rate, 1.0)
    return 1 - rate, rate


def _check_r(fields: Fields, r: Array, expected: Array, words: str) -> None:
    if not np.allclose(r, expected, rtol=R_TOLERANCE, atol=0):
        raise fields.bad(
            "r", f"{np.unique(r)[:4]}", f"{words}, which is what the convention gives it to be"
        )


def uniform(array: Array) -> bool:
    """Whether one number, or one per channel, says all of an array."""
    small = compact(array)
    return small.ndim == 0 or (small.ndim == 3 and small.shape[1:] == (1, 1))
