"""SpikingJelly 2: IFNode, LIFNode and ParametricLIFNode, in both step modes.

With r = v_reset (0 for a soft reset) and d = 1/tau, charging is

    v = v + x,    v = v + d*(x - (v - r))    or    v = v - d*(v - r) + x    (decay_input=False)

Written with u = v - r, all three are u = (1 - d)*u + x, where x is d*x for ``decay_input=True``;
the threshold is v_threshold - r, a hard reset goes to u = 0, and u starts there. The threshold is
inclusive.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from spikingjelly.activation_based import base, layer, neuron
from torch import nn

from trispike.errors import UnsupportedError
from trispike.export import axes as ax
from trispike.export.layers import project, register_layer
from trispike.export.neurons import AdaptedNeuron, register_neuron
from trispike.export.signals import Signal
from trispike.network import Neuron

SUPPORTED = (neuron.IFNode, neuron.LIFNode, neuron.ParametricLIFNode)

DYNAMICS = ("single_step_functional_forward", "multi_step_functional_forward")
"""Methods that make a subclass another neuron if it overrides them."""


def adapt(module: nn.Module) -> AdaptedNeuron:
    """The deployed neuron of a SpikingJelly neuron.

    Raises:
        UnsupportedError: Another neuron than the supported ones, or a setting without exact form.
    """
    kind = next((k for k in SUPPORTED if isinstance(module, k)), None)
    if kind is None or any(getattr(type(module), m) is not getattr(kind, m) for m in DYNAMICS):
        derived = f", which changes the dynamics of {kind.__name__}" if kind else ""
        raise _refusal(
            module,
            got=f"SpikingJelly's {type(module).__name__}{derived}",
            expected="IFNode, LIFNode or ParametricLIFNode",
            fix="Train with one of these; their equations are settings of trispike's neuron.",
        )
    _check_spikes(module)
    rest, threshold, start = _potentials(module)
    decay = _decay(module)
    gain = decay if decay and module.decay_input else 1.0
    return AdaptedNeuron(
        neuron=Neuron(
            b_pos=np.asarray(1.0 - decay),
            b_neg=np.asarray(1.0 - decay),
            th_pos=np.asarray(threshold - rest),
            v_init=np.asarray(start - rest),
            reset="subtract" if module.v_reset is None else "zero",
        ),
        amplitude=np.ones(()),
        time_axis=0 if module.step_mode == "m" else None,
        input_gain=gain,
    )


def _decay(module: Any) -> float:
    """1/tau, or 0 for no leak."""
    if isinstance(module, neuron.IFNode):
        return 0.0
    if isinstance(module, neuron.ParametricLIFNode):
        return float(module.w.detach().double().sigmoid())
    return 1.0 / module.tau


def _potentials(module: Any) -> tuple[float, float, float]:
    """Reset potential, threshold, and the potential before the first step."""
    rest = 0.0 if module.v_reset is None else float(module.v_reset)
    threshold = float(module.v_threshold)
    if not (math.isfinite(rest) and math.isfinite(threshold) and threshold > rest):
        reset = "a soft reset" if module.v_reset is None else f"v_reset {rest:g}"
        raise _refusal(
            module,
            got=f"v_threshold {threshold:g} with {reset}",
            expected="a threshold above the potential that the neuron rests at",
            fix="Such a neuron fires without input; correct v_threshold or v_reset.",
        )
    start = module._memories_rv["v"]
    if not isinstance(start, float) or not math.isfinite(start):
        raise _refusal(
            module,
            got=f"a {type(start).__name__} as the potential after reset()",
            expected="one number",
            fix="Leave set_reset_value alone, or give it a float.",
        )
    return rest, threshold, start


def _check_spikes(module: Any) -> None:
    probe = torch.tensor([-1.0, -1e-6, 0.0, 1e-6, 1.0], dtype=torch.float64)
    with torch.no_grad():
        fired = module.surrogate_function(probe)
    if not torch.equal(fired.double(), (probe >= 0).double()):
        raise _refusal(
            module,
            got=f"{type(module.surrogate_function).__name__} that puts out {fired.tolist()} for "
            f"potentials of {probe.tolist()} above the threshold",
            expected="a step function, 1 from the threshold on",
            fix="Use a surrogate function with spiking=True.",
        )


def _refusal(module: nn.Module, *, got: str, expected: str, fix: str) -> UnsupportedError:
    return UnsupportedError(type(module).__name__, got=got, expected=expected, fix=fix)


# --- layers -------------------------------------------------------------------------------------


def _nothing(module: nn.Module, x: Signal, name: str) -> Signal:
    return x


def _vote(module: Any, x: Signal, name: str) -> Signal:
    """Means over groups of neighbouring features; what is left over at the end is dropped."""
    size = module.voting_size
    features = x.axes[-1] if x.axes and ax.has_features(x.axes[-1]) else ()
    count = math.prod(atom.size for atom in features)
    weight = np.zeros((count // size, count))
    for group in range(len(weight)):
        weight[group, group * size : (group + 1) * size] = 1.0 / size
    return project(x, name, torch.from_numpy(weight), None)


def prepare(part: nn.Module, dtype: torch.dtype) -> None:
    """Forget what happened before; SpikingJelly computes in the dtype of what comes in."""
    if isinstance(part, base.MemoryModule):
        part.reset()


# Every module with memory, so that those without an adapter are refused by name.
register_neuron(base.MemoryModule, adapt)
register_layer(layer.Dropout, _nothing)
register_layer(layer.Dropout2d, _nothing)
register_layer(layer.VotingLayer, _vote)
