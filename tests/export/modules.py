"""Small modules to trace: layers by name, and a forward that is written where it is tested."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.export.oracle import Array
from trispike.nn import LIF, SpikingNeuron, randomize

T = 4
"""Time steps, unless a test says otherwise."""


class Net(nn.Module):
    """Children and a forward."""

    def __init__(self, forward: Callable[[Any, Tensor], Any], **children: nn.Module) -> None:
        super().__init__()
        self.written = forward
        for name, child in children.items():
            self.add_module(name, child)

    def forward(self, x: Tensor) -> Any:
        return self.written(self, x)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


class Part(Net):
    """The same, to be nested in another."""


def spiking(time_axis: int = 0, threshold: float = 0.4) -> SpikingNeuron:
    """A ternary neuron that fires often; it integrates over any axis."""
    neuron = LIF(threshold, 0.5, ternary=True)
    neuron.time_axis = time_axis
    return neuron


def net(forward: Callable[[Any, Tensor], Any], *, time_axis: int = 0, **children: Any) -> Net:
    """A net on (1, 6, 5) images: conv to 3 channels, a neuron, fc of 5 classes; with random values.

    More children, or others of these names, may be given.
    """
    torch.manual_seed(1)
    parts = {
        "conv": nn.Conv2d(1, 3, 3, padding=1),
        "neuron": spiking(time_axis),
        "fc": nn.Linear(3 * 6 * 5, 5),
    }
    module = Net(forward, **{**parts, **children})
    randomize(module, seed=2)
    return module


def images(samples: int = 6, shape: tuple[int, ...] = (1, 6, 5), seed: int = 3) -> Array:
    """Analog data."""
    return np.random.default_rng(seed).normal(size=(samples, *shape))


def repeated(x: Tensor, steps: int = T) -> Tensor:
    """(N, C, H, W) to (T, N, C, H, W)."""
    return x.unsqueeze(0).repeat(steps, 1, 1, 1, 1)


def unmerged(x: Tensor, steps: int = T) -> Tensor:
    """(T*N, ...) to (T, N, ...)."""
    y: Tensor = x.unflatten(0, (steps, -1))  # type: ignore[no-untyped-call]
    return y


class Constant(nn.Module):
    """A parameter to compute with."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.randn(shape))


def read(s: Any, y: Tensor) -> Tensor:
    """The usual end: a Linear layer at every time step, averaged over time as axis 0."""
    logits: Tensor = s.fc(y.flatten(2)).mean(0)
    return logits


def fired(s: Any, x: Tensor) -> Tensor:
    """The usual beginning: spikes of the first neuron, (T, N, 3, 6, 5)."""
    y: Tensor = s.neuron(repeated(s.conv(x)))
    return y


def frames_first(s: Any, x: Tensor) -> Tensor:
    """Frames, as (T, N, ...) inside."""
    y = x.permute(1, 0, 2, 3, 4)
    return read(s, s.neuron(unmerged(s.conv(y.flatten(0, 1)))))


def merged_first(s: Any, x: Tensor) -> Tensor:
    """A static image, repeated before the first layer."""
    return read(s, s.neuron(unmerged(s.conv(repeated(x).flatten(0, 1)))))


def stacked(s: Any, x: Tensor) -> Tensor:
    """A static image, repeated after the first layer."""
    return read(s, s.neuron(torch.stack([s.conv(x)] * T)))
