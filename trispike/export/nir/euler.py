"""Binary LIF, IF and CubaLIF: our neuron as a standard NIR node, exactly, and back.

NIR's equations are continuous. Under forward Euler with step dt a LIF is

    v = (1 - dt/tau)*v + (dt/tau)*(v_leak + r*x),    fires where v > v_threshold,

so b = 1 - dt/tau and, for a gain of one, r = tau/dt; b = 1 is an IF with r = 1/dt. These numbers
are searched for among neighbouring floats until reading them yields the neuron bit for bit; where
there are none, the population is not exactly a standard node.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.export.nir.layout import compact
from trispike.export.nir.package import nir
from trispike.network import Neuron

Array: TypeAlias = npt.NDArray[Any]

NEIGHBOURS = 4
"""How many floats to each side are tried."""


def to_standard(neuron: Neuron, shape: tuple[int, ...], dt: float) -> Any | None:
    """The standard node that is this neuron without its bias, or None if there is none.

    Whatever node is returned, :func:`from_standard` makes the same neuron of it, all fields and
    their shapes equal, so that nothing can be lost.
    """
    if not np.isfinite(neuron.th_pos).all() or np.any(neuron.b_pos < 0) or np.any(neuron.k < 0):
        return None
    if np.any(neuron.b_pos > 1) or np.any(neuron.k >= 1):
        return None
    if (neuron.b_pos == 1).all():
        leak = None
    elif (neuron.b_pos < 1).all():
        leak = _time_constant(neuron.b_pos, dt)
        if leak is None:
            return None
    else:
        return None
    threshold = np.nextafter(np.broadcast_to(neuron.th_pos, shape), -np.inf)
    zeros = np.zeros(shape)
    if not np.any(neuron.k):
        if leak is None:
            r = _inverse(np.asarray(dt))
            node = None if r is None else nir.IF(np.full(shape, r), threshold, zeros)
        else:
            tau, r = (np.ascontiguousarray(np.broadcast_to(x, shape)) for x in leak)
            node = nir.LIF(tau=tau, r=r, v_leak=zeros, v_threshold=threshold, v_reset=zeros)
    else:
        synapse = _time_constant(neuron.k, dt)
        if leak is None or synapse is None:
            return None
        tau, r, tau_syn, w_in = (
            np.ascontiguousarray(np.broadcast_to(x, shape)) for x in (*leak, *synapse)
        )
        node = nir.CubaLIF(tau_syn, tau, r, zeros, threshold, zeros, w_in)
    if node is None or not from_standard(node, dt).equals(_without_bias(neuron)):
        return None
    return node


def from_standard(node: Any, dt: float) -> Neuron:
    """The neuron of a node that :func:`to_standard` made, inclusive threshold, unit gain."""
    fields: dict[str, Array] = {"th_pos": np.nextafter(node.v_threshold, np.inf)}
    if isinstance(node, nir.IF):
        fields["b_pos"] = np.ones(())
    elif isinstance(node, nir.CubaLIF):
        fields |= {"b_pos": 1 - dt / node.tau_mem, "k": 1 - dt / node.tau_syn}
    else:
        fields["b_pos"] = 1 - dt / node.tau
    small: dict[str, Any] = {name: compact(value) for name, value in fields.items()}
    return Neuron(**small, b_neg=small["b_pos"])


def _without_bias(neuron: Neuron) -> Neuron:
    fields = {**neuron.array_fields(), **neuron.plain_fields(), "bias": np.zeros(())}
    return Neuron(**fields)


def _around(values: Array) -> list[Array]:
    """The values, and then their neighbours, nearest first."""
    found, below, above = [values], values, values
    for _ in range(NEIGHBOURS):
        below, above = np.nextafter(below, -np.inf), np.nextafter(above, np.inf)
        found += [below, above]
    return found


def _time_constant(kept: Array, dt: float) -> tuple[Array, Array] | None:
    """The tau and r with 1 - dt/tau == kept and r*(dt/tau) == 1, in float64; None if none are."""
    tau = np.full(kept.shape, np.nan)
    r = np.full(kept.shape, np.nan)
    for candidate in _around(dt / (1 - kept)):
        rate = dt / candidate
        for gain in _around(1 / rate):
            good = np.isnan(tau) & (1 - rate == kept) & (gain * rate == 1)
            tau, r = np.where(good, candidate, tau), np.where(good, gain, r)
    return None if np.isnan(tau).any() else (tau, r)


def _inverse(value: Array) -> Array | None:
    for candidate in _around(1 / value):
        if candidate * value == 1:
            return candidate
    return None
