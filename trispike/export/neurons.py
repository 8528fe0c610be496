"""Which modules are neurons, and what deployed neuron each of them is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import nn

from trispike.errors import UnsupportedError
from trispike.network import Neuron
from trispike.network.connection import Operator
from trispike.nn.neurons import SpikingNeuron


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Feedback:
    """A connection from a population to itself, which is part of the foreign neuron."""

    operator: Operator
    """Acts on its spikes, which are -1, 0 or +1."""
    delay: int = 1
    """In time steps, at least 1."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AdaptedNeuron:
    """What folding needs to know of a neuron module."""

    neuron: Neuron
    """The deployed neuron, without the bias of the layers before it."""
    amplitude: npt.NDArray[Any]
    """Size of a spike in the module's output: scalar, or (C, 1, 1)."""
    time_axis: int | None
    """Axis of the module's input and output over which it integrates; None: a call of the module
    is one time step, from (N, ...) to (N, ...)."""
    input_gain: npt.NDArray[Any] | float = 1.0
    """What the module multiplies its input with."""
    feedback: tuple[Feedback, ...] = ()
    """Connections from the population to itself."""
    takes: tuple[str, ...] = ()
    """Names of the arguments after the input, which are states that the module returned one step
    before; only if a call is one time step."""
    returns: tuple[str, ...] = ()
    """Names of what a call returns, "spk" first; (): the spikes alone, no tuple."""


Adapter: TypeAlias = Callable[[nn.Module], AdaptedNeuron]

_ADAPTERS: dict[type[nn.Module], Adapter] = {}


def register_neuron(kind: type[nn.Module], adapter: Adapter) -> None:
    """Make a foreign neuron class known to the conversion.

    Args:
        kind: The module class; its subclasses are meant, too.
        adapter: From an instance to its deployed neuron. It should raise
            :class:`~trispike.errors.UnsupportedError` for settings that have no exact form.
    """
    _ADAPTERS[kind] = adapter


def is_neuron(module: nn.Module) -> bool:
    """Whether a module becomes a population."""
    return isinstance(module, (SpikingNeuron, *_ADAPTERS))


def adapt_neuron(module: nn.Module, name: str) -> AdaptedNeuron:
    """The deployed neuron of a module.

    Raises:
        UnsupportedError: Neither a trispike neuron nor of a registered class, or an amplitude
            that is not finite.
    """
    # A registered adapter first: it may be for a subclass of ours that behaves otherwise.
    kind = next((kind for kind in type(module).__mro__ if kind in _ADAPTERS), None)
    if kind is not None:
        try:
            adapted = _ADAPTERS[kind](module)
        except UnsupportedError as error:
            raise UnsupportedError(
                f"neuron {name!r} ({type(module).__name__})",
                got=error.got,
                expected=error.expected,
                fix=error.fix,
            ) from error
    elif isinstance(module, SpikingNeuron):
        adapted = AdaptedNeuron(
            neuron=module.to_neuron(),
            amplitude=module.spike_amplitude(),
            time_axis=module.time_axis,
            input_gain=module.input_gain(),
        )
    else:
        raise UnsupportedError(
            f"layer {name!r}",
            got=f"a {type(module).__name__}",
            expected="a neuron of trispike.nn, or one of a registered class",
            fix="Describe it with trispike.export.register_neuron.",
        )
    if not isinstance(adapted, AdaptedNeuron):
        raise UnsupportedError(
            f"neuron {name!r}",
            got=f"a {type(adapted).__name__} from the adapter of {type(module).__name__}",
            expected="an AdaptedNeuron",
            fix="Correct the adapter that was registered for this class.",
        )
    if not np.isfinite(adapted.amplitude).all():
        raise UnsupportedError(
            f"neuron {name!r}",
            got="a spike amplitude that is NaN or infinite",
            expected="finite numbers",
            fix="Look for the training step at which the checkpoint diverged.",
        )
    return adapted
