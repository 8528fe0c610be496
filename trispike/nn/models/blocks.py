"""What all architectures are made of: layers that run on (T, N, C, H, W), and their names.

The attributes ``pool``, ``conv`` and ``bn`` are part of the published parameter names, also where
they mislead: a convolution lies under ``pool``, a batch norm or a linear layer under ``conv``.

Nothing here depends on data or on shapes read at run time, so that every model traces with
``torch.fx``; the number of time steps is a constructor argument for that reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor, nn

from trispike.nn.neurons import SpikingNeuron

__all__ = [
    "BlockNorm",
    "Ends",
    "NeuronFactory",
    "PerStep",
    "Spatial",
    "avg_pool",
    "conv",
    "initialize",
    "merged",
]

NeuronFactory: TypeAlias = Callable[[int], SpikingNeuron]
"""Makes one layer of neurons for so many channels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """What goes into a model and what comes out of it."""

    input_shape: tuple[int, int, int]
    """(C, H, W) of one frame."""
    steps: int
    """T."""
    classes: int
    """Logits."""


def merged(module: nn.Module, x: Tensor, sizes: tuple[int, int]) -> Tensor:
    """Apply a module that knows no time: axes 0 and 1 become one, and two of ``sizes`` again."""
    y: Tensor = module(x.flatten(0, 1))
    unmerged: Tensor = y.unflatten(0, sizes)  # type: ignore[no-untyped-call]
    return unmerged


class Spatial(nn.Module):
    """A convolution or a pooling at every time step, named ``pool`` as published."""

    def __init__(self, pool: nn.Module, steps: int) -> None:
        super().__init__()
        self.pool = pool
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        """(T, N, C, H, W) to (T, N, C', H', W')."""
        return merged(self.pool, x, (self.steps, -1))


class PerStep(nn.Module):
    """A batch norm or a linear layer at every time step, named ``conv`` as published.

    In training, statistics are taken over all time steps at once; the published code takes them
    step by step, which is the same for the repeated images of a first layer, and in evaluation
    everywhere.
    """

    def __init__(self, conv: nn.Module, steps: int) -> None:
        super().__init__()
        self.conv = conv
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        """(T, N, ...) to (T, N, ...)."""
        return merged(self.conv, x, (self.steps, -1))


class BlockNorm(nn.Module):
    """Batch norm inside residual blocks, over batch, time and space: a BatchNorm3d, ``bn``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm3d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(T, N, C, H, W) to the same."""
        y: Tensor = self.bn(x.permute(1, 2, 0, 3, 4))
        return y.permute(2, 0, 1, 3, 4)


def conv(
    inputs: int, outputs: int, kernel: int, steps: int, *, stride: int = 1, bias: bool = False
) -> Spatial:
    """A convolution that keeps the size of its input, but for the stride."""
    return Spatial(
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=bias), steps
    )


def avg_pool(kernel: int, steps: int) -> Spatial:
    """Average pooling with windows side by side."""
    return Spatial(nn.AvgPool2d(kernel), steps)


def initialize(module: nn.Module) -> None:
    """Published initial weights: convolutions normal with variance 2/fan_out, linear 1/fan_in."""
    for m in module.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            if m.bias is not None:
                nn.init.zeros_(m.bias)
        elif isinstance(m, nn.Linear):
            nn.init.normal_(m.weight, std=1.0 / m.in_features)
            nn.init.zeros_(m.bias)
