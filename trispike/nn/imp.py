"""Neurons whose membrane potential before the first step is trained (IMP).

Source: "Rethinking the Membrane Dynamics and Optimization Objectives of Spiking Neural Networks",
NeurIPS 2024, and its public code (StephenTaylor1998/IMP-SNN and amazing-cls).
"""

from __future__ import annotations

import dataclasses
from typing import Literal, TypeAlias

import torch
from torch import nn

from trispike.errors import InvalidNetworkError
from trispike.network.neuron import Neuron, Reset
from trispike.nn.neurons import Coefficients, SpikingNeuron, finite
from trispike.nn.surrogate import DEFAULT_SURROGATE

__all__ = ["IMP_V_THRESHOLD", "IMPNeuron", "InitialState", "LegacyIMPNeuron", "initial_shape"]

InitialState: TypeAlias = Literal["neuron", "channel", "position", "layer"]
"""What shares one initial potential: nothing, a channel, a position of all channels, a layer."""

IMP_V_THRESHOLD = 1.0
"""Published threshold of both variants."""

LEGACY_LEAK = 0.25
"""Published leak of the legacy variant."""


def initial_shape(shape: tuple[int, int, int], initial: InitialState) -> tuple[int, int, int, int]:
    """Shape of the parameter of a layer of neurons (C, H, W)."""
    channels, height, width = shape
    return {
        "neuron": (1, channels, height, width),
        "channel": (1, channels, 1, 1),
        "position": (1, 1, height, width),
        "layer": (1, 1, 1, 1),
    }[initial]


class _Initialized(SpikingNeuron):
    """What both variants share: a parameter whose first axis is that of the samples."""

    def to_neuron(self) -> Neuron:
        """See the base class."""
        neuron = super().to_neuron()
        return dataclasses.replace(neuron, v_init=neuron.v_init[0])

    def _check_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) not in (2, 4) or shape[0] != 1 or min(shape) < 1:
            raise InvalidNetworkError(
                f"{type(self).__name__}(shape=...)",
                got=str(shape),
                expected="(1, C, H, W) or (1, F), with a 1 where neurons share a potential",
                fix="The first axis is that of the samples.",
            )
        return shape


class IMPNeuron(_Initialized):
    """Integrate-and-fire neuron, leaky or not, with a trained initial membrane potential.

    ::

        v(0) = init_state, or sig(init_state) with ``sigmoid_init``
        v = leak*v + gain*x
        s = +1 if v >= V_th else 0
        v = v*(1 - s)  (reset "zero"),  v - s*V_th  ("subtract")

    In SpikingJelly's terms leak = 1 - 1/tau and gain = 1/tau, or 1 with ``decay_input=False``; an
    IFNode has leak = gain = 1. The gain is folded into the weights before the neuron.

    Args:
        shape: Of the parameter ``init_state``: (1, C, H, W), or (1, F) behind a linear layer,
            with a 1 for an axis along which neurons share their potential.
        v_threshold: V_th.
        leak: Share of the potential that is carried on, per step; 1 is integrate-and-fire.
        reset: ``"zero"`` or ``"subtract"`` (SpikingJelly's ``v_reset=None``).
        sigmoid_init: Whether the parameter passes through the logistic function.
        decay_input: Whether the input of a leaky neuron is multiplied by 1 - leak.
        surrogate: Name of the surrogate gradient.

    Raises:
        InvalidNetworkError: An argument is out of range.
    """

    def __init__(
        self,
        shape: tuple[int, ...] = (1, 1, 1, 1),
        v_threshold: float = IMP_V_THRESHOLD,
        leak: float = 1.0,
        *,
        reset: Reset = "zero",
        sigmoid_init: bool = False,
        decay_input: bool = True,
        surrogate: str = DEFAULT_SURROGATE,
    ) -> None:
        super().__init__(v_threshold=v_threshold, ternary=False, reset=reset, surrogate=surrogate)
        self.leak = finite("leak", leak)
        self.gain = 1.0 - self.leak if decay_input and self.leak != 1 else 1.0
        self.sigmoid_init = sigmoid_init
        self.init_state = nn.Parameter(torch.empty(self._check_shape(shape)).uniform_(0.4, 0.6))

    def coefficients(self, dtype: torch.dtype) -> Coefficients:
        """See the base class."""
        initial = self.init_state.to(dtype)
        return Coefficients(
            b_pos=self.leak,
            b_neg=self.leak,
            v_init=torch.sigmoid(initial) if self.sigmoid_init else initial,
            gain=self.gain,
        )

    def extra_repr(self) -> str:
        """What is printed between the parentheses."""
        shape = tuple(self.init_state.shape)
        return f"{shape}, {super().extra_repr()}, leak={self.leak}"


class LegacyIMPNeuron(_Initialized):
    """The variant of the published VGG for event data: fires strictly above its threshold.

    ::

        v(0) = mem
        v = leak*v + x
        s = +1 if v > V_th else 0
        v = v*(1 - s)

    Args:
        shape: Of the parameter ``mem``, see :class:`IMPNeuron`.
        v_threshold: V_th.
        leak: Share of the potential that is carried on, per step.
        surrogate: Name of the surrogate gradient; ``"triangle"`` is the published one.

    Raises:
        InvalidNetworkError: An argument is out of range.
    """

    def __init__(
        self,
        shape: tuple[int, ...] = (1, 1, 1, 1),
        v_threshold: float = IMP_V_THRESHOLD,
        leak: float = LEGACY_LEAK,
        *,
        surrogate: str = DEFAULT_SURROGATE,
    ) -> None:
        super().__init__(v_threshold=v_threshold, ternary=False, strict=True, surrogate=surrogate)
        self.leak = finite("leak", leak)
        self.mem = nn.Parameter(torch.empty(self._check_shape(shape)).uniform_(-0.2, 0.2))

    def coefficients(self, dtype: torch.dtype) -> Coefficients:
        """See the base class."""
        return Coefficients(b_pos=self.leak, b_neg=self.leak, v_init=self.mem.to(dtype))

    def extra_repr(self) -> str:
        """What is printed between the parentheses."""
        return f"{tuple(self.mem.shape)}, {super().extra_repr()}, leak={self.leak}"
