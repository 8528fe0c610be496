"""The published formulation in PyTorch: every layer over all steps, every neuron step by step.

As in the published code, time is folded into the batch for convolutions, batch norms and
poolings, and each layer of neurons walks through the steps in a Python loop of tensor operations.
The neurons are written from their equations, not taken from ``trispike.nn``. Two things are better
than published: tensors stay (T*N, C, H, W) in one memory layout throughout, and steps are
concatenated instead of stacked, which keeps that layout. Weights are those of a
:class:`trispike.nn.SpikeModel`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn

from trispike.nn import CTSN, LIF, SpikeModel, SpikingNeuron, TernarySpike
from trispike.nn.models.blocks import BlockNorm, PerStep, Spatial
from trispike.nn.models.resnet import BasicBlock, ResNet
from trispike.nn.models.vgg import VGG

NeuronFactory: TypeAlias = Callable[[SpikingNeuron], nn.Module]
"""A module that maps (T*N, ...) inputs, step by step, to as many spikes, for a given neuron."""


class EagerCTSN(nn.Module):
    """CTSN in its static form, equation by equation.

    ::

        h = sig(alpha)*relu(h) - sig(beta)*relu(-h) + sig(gamma)*tau*u
        u = h + x
        o = ternary(u / (2*V_th))
        u = u*(1 - |o|)
    """

    def __init__(self, neuron: CTSN) -> None:
        super().__init__()
        assert neuron.form == "static"
        self.alpha, self.beta, self.gamma = neuron.alpha, neuron.beta, neuron.gamma
        self.tau, self.v_threshold = neuron.tau, neuron.v_threshold
        self.steps = 0

    def forward(self, x: Tensor) -> Tensor:
        """Spikes, of x's shape."""
        alpha, beta, gamma = (torch.sigmoid(p) for p in (self.alpha, self.beta, self.gamma))
        spikes = []
        inputs = x.chunk(self.steps)
        u = h = torch.zeros_like(inputs[0])
        for current in inputs:
            h = alpha * torch.relu(h) - beta * torch.relu(-h) + gamma * (self.tau * u)
            u = h + current
            o = ternary(u / (2 * self.v_threshold))
            u = u * (1 - o.abs())
            spikes.append(o)
        return torch.cat(spikes)


class EagerTernarySpike(nn.Module):
    """The ternary LIF neuron of Ternary Spike, with spikes of size 1."""

    def __init__(self, neuron: TernarySpike) -> None:
        super().__init__()
        assert neuron.fire_ratio is None
        self.tau, self.v_threshold = neuron.tau, neuron.v_threshold
        self.steps = 0

    def forward(self, x: Tensor) -> Tensor:
        """Spikes, of x's shape."""
        spikes = []
        inputs = x.chunk(self.steps)
        u = torch.zeros_like(inputs[0])
        for current in inputs:
            u = self.tau * u + current
            o = ternary(u / (2 * self.v_threshold))
            u = u * (1 - o.abs())
            spikes.append(o)
        return torch.cat(spikes)


class EagerLIF(nn.Module):
    """The binary LIF neuron with a hard reset."""

    def __init__(self, neuron: LIF) -> None:
        super().__init__()
        assert not neuron.ternary
        assert neuron.reset == "zero"
        self.leak, self.v_threshold = neuron.leak, neuron.v_threshold
        self.steps = 0

    def forward(self, x: Tensor) -> Tensor:
        """Spikes, of x's shape."""
        spikes = []
        inputs = x.chunk(self.steps)
        v = torch.zeros_like(inputs[0])
        for current in inputs:
            v = self.leak * v + current
            s = (v >= self.v_threshold).to(v.dtype)
            v = v * (1 - s)
            spikes.append(s)
        return torch.cat(spikes)


def ternary(z: Tensor) -> Tensor:
    """+1 where z >= 0.5, -1 where z <= -0.5, else 0."""
    return (z >= 0.5).to(z.dtype) - (z <= -0.5).to(z.dtype)


@functools.singledispatch
def eager_neuron(neuron: SpikingNeuron) -> nn.Module:
    """The neuron, written from its equations."""
    raise TypeError(f"no eager formulation of {type(neuron).__name__}")


eager_neuron.register(CTSN, EagerCTSN)
eager_neuron.register(TernarySpike, EagerTernarySpike)
eager_neuron.register(LIF, EagerLIF)


class EagerNetwork(nn.Module):
    """A network of published layers, for inference.

    Args:
        model: Where the weights come from; they are shared, not copied.
        neuron: Makes its neurons; those of another library can take the place of ours.
    """

    def __init__(self, model: SpikeModel, neuron: NeuronFactory = eager_neuron) -> None:
        super().__init__()
        self.steps = model.steps
        net = model.model
        if isinstance(net, ResNet):
            parts: list[nn.Module] = [net.conv1, net.bn1, net.relu, net.stem_pool]
            parts += [getattr(net, f"layer{n + 1}") for n in range(len(net.plan.blocks))]
            parts += [net.pool, nn.Flatten(), net.fc]
        else:
            assert isinstance(net, VGG)
            parts = [net.features, net.pool, nn.Flatten(), net.classifier]
        self.layers = nn.Sequential(*(_translated(part, neuron) for part in parts))
        for module in self.modules():
            if hasattr(module, "steps"):
                setattr(module, "steps", self.steps)  # noqa: B010 - neurons of others have it too
        self.eval()

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Logits averaged over time, (N, classes), of (N, C, H, W)."""
        logits: Tensor = self.layers(images.repeat(self.steps, 1, 1, 1))
        return logits.reshape(self.steps, len(images), -1).mean(0)


class EagerBlock(nn.Module):
    """Two convolutions and a shortcut that is added before the second layer of neurons."""

    def __init__(self, block: BasicBlock, neuron: NeuronFactory) -> None:
        super().__init__()
        assert not block.spike_sum
        first = [block.conv1, block.bn1, block.relu1, block.conv2, block.bn2]
        self.body = nn.Sequential(*(_translated(m, neuron) for m in first))
        shortcut = nn.Identity() if block.downsample is None else block.downsample
        self.shortcut = _translated(shortcut, neuron)
        self.output_act = neuron(block.output_act)

    def forward(self, x: Tensor) -> Tensor:
        """(T*N, C, H, W) to (T*N, C', H', W')."""
        y: Tensor = self.output_act(self.body(x) + self.shortcut(x))
        return y


def _translated(module: nn.Module, neuron: NeuronFactory) -> nn.Module:
    """The same layer for (T*N, C, H, W)."""
    if isinstance(module, SpikingNeuron):
        return neuron(module)
    if isinstance(module, BasicBlock):
        return EagerBlock(module, neuron)
    if isinstance(module, nn.Sequential):
        return nn.Sequential(*(_translated(m, neuron) for m in module))
    if isinstance(module, Spatial):
        return module.pool
    if isinstance(module, PerStep):
        return module.conv
    if isinstance(module, BlockNorm):
        norm = nn.BatchNorm2d(module.bn.num_features, eps=module.bn.eps)
        norm.load_state_dict(module.bn.state_dict())
        return norm.to(module.bn.weight.dtype)
    return module
