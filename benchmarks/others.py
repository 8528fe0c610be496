"""Neurons of other libraries in the place of ours."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.contestants import refuse
from trispike.nn import LIF, SpikingNeuron, TernarySpike


class SpikingJellyNeuron(nn.Module):
    """A multi-step node of SpikingJelly, for (T*N, ...)."""

    def __init__(self, node: nn.Module) -> None:
        super().__init__()
        self.node: Any = node
        self.steps = 0

    def forward(self, x: Tensor) -> Tensor:
        """Spikes, of x's shape."""
        self.node.reset()
        spikes: Tensor = self.node(x.reshape(self.steps, -1, *x.shape[1:])).flatten(0, 1)
        return spikes


def spikingjelly_neuron(neuron: SpikingNeuron) -> nn.Module:
    """SpikingJelly's node with the same dynamics.

    It has binary and ternary LIF neurons, but none that carries a second potential as CTSN does.

    Raises:
        UnsupportedError: It has none.
    """
    from spikingjelly.activation_based import neuron as nodes  # noqa: PLC0415 - its own environment

    if isinstance(neuron, LIF) and not neuron.ternary and neuron.reset == "zero":
        kind, leak = nodes.LIFNode, neuron.leak
    elif isinstance(neuron, TernarySpike) and neuron.fire_ratio is None:
        kind, leak = nodes.TernaryLIFNode, neuron.tau
    else:
        raise refuse("SpikingJelly", neuron)
    node = kind(
        tau=1 / (1 - leak),
        decay_input=False,
        v_threshold=neuron.v_threshold,
        v_reset=0.0,
        step_mode="m",
    )
    return SpikingJellyNeuron(node)


class SnnTorchNeuron(nn.Module):
    """The Leaky of snnTorch, step by step, for (T*N, ...)."""

    def __init__(self, leaky: nn.Module) -> None:
        super().__init__()
        self.leaky = leaky
        self.steps = 0

    def forward(self, x: Tensor) -> Tensor:
        """Spikes, of x's shape."""
        spikes = []
        inputs = x.chunk(self.steps)
        potential = torch.zeros_like(inputs[0])
        for current in inputs:
            spike, potential = self.leaky(current, potential)
            spikes.append(spike)
        return torch.cat(spikes)


def snntorch_neuron(neuron: SpikingNeuron) -> nn.Module:
    """The Leaky of snnTorch with the same dynamics, but for a threshold that is met exactly.

    It has no neuron with negative spikes.

    Raises:
        UnsupportedError: The neuron is no binary LIF.
    """
    import snntorch  # noqa: PLC0415 - as others

    if not isinstance(neuron, LIF) or neuron.ternary or neuron.reset != "zero":
        raise refuse("snnTorch", neuron)
    leaky = snntorch.Leaky(
        beta=neuron.leak,
        threshold=neuron.v_threshold,
        reset_mechanism="zero",
        reset_delay=False,
    )
    return SnnTorchNeuron(leaky)
