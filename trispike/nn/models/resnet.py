"""Residual networks with the published parameter names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import Tensor, nn

from trispike.nn.models.blocks import (
    BlockNorm,
    Ends,
    NeuronFactory,
    PerStep,
    Spatial,
    avg_pool,
    conv,
    initialize,
)

__all__ = ["BasicBlock", "Downsample", "ResNet", "ResNetPlan", "Stem"]

Stem: TypeAlias = Literal["conv3x3", "three-conv3x3", "conv7x7"]
"""What comes before the first block: one convolution (CIFAR), three of them and an average
pooling by 2 ("modified"), or a 7x7 convolution of stride 2 and an average pooling (ImageNet)."""

Downsample: TypeAlias = Literal["conv", "pool"]
"""How a shortcut changes its shape: a strided 1x1 convolution, or average pooling before one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNetPlan:
    """Everything that tells one residual network from another, but input and classes."""

    stem: Stem
    """What comes before the first block."""
    blocks: tuple[int, ...]
    """Blocks per stage."""
    widths: tuple[int, ...]
    """Channels per stage; the stem has those of the first."""
    downsample: Downsample
    """How shortcuts change their shape."""
    spike_sum: bool = False
    """Spike-element-wise addition (SEW): shortcuts are added after the neuron, not before."""


class BasicBlock(nn.Module):
    """Two convolutions and a shortcut.

    ::

        out = bn2(conv2(relu1(bn1(conv1(x)))))
        output_act(out + shortcut(x))        or, if ``spike_sum``, output_act(out) + shortcut(x)

    With ``spike_sum``, a shortcut that changes its shape has no neuron, as published: the block's
    output is then real-valued.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        *,
        downsample: Downsample,
        spike_sum: bool,
        steps: int,
        neuron: NeuronFactory,
    ) -> None:
        super().__init__()
        self.conv1 = conv(inputs, outputs, 3, steps, stride=stride)
        self.bn1 = BlockNorm(outputs)
        self.relu1 = neuron(outputs)
        self.conv2 = conv(outputs, outputs, 3, steps)
        self.bn2 = BlockNorm(outputs)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = _downsample(downsample, inputs, outputs, stride, steps)
        self.output_act = neuron(outputs)
        self.spike_sum = spike_sum

    def forward(self, x: Tensor) -> Tensor:
        """(T, N, C, H, W) to (T, N, C', H', W')."""
        out = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        shortcut = x if self.downsample is None else self.downsample(x)
        if self.spike_sum:
            summed: Tensor = self.output_act(out) + shortcut
            return summed
        spikes: Tensor = self.output_act(out + shortcut)
        return spikes


def _downsample(
    kind: Downsample, inputs: int, outputs: int, stride: int, steps: int
) -> nn.Sequential:
    if kind == "conv":
        return nn.Sequential(conv(inputs, outputs, 1, steps, stride=stride), BlockNorm(outputs))
    pool = nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False)
    return nn.Sequential(Spatial(pool, steps), conv(inputs, outputs, 1, steps), BlockNorm(outputs))


class ResNet(nn.Module):
    """Stem, stages of blocks, global average pooling, linear readout at every time step."""

    def __init__(self, plan: ResNetPlan, ends: Ends, neuron: NeuronFactory) -> None:
        super().__init__()
        self.plan = plan
        width, steps, in_channels = plan.widths[0], ends.steps, ends.input_shape[0]
        if plan.stem == "three-conv3x3":
            layers: list[nn.Module] = []
            for inputs in (in_channels, width, width):
                norm = PerStep(nn.BatchNorm2d(width), steps)
                layers += [conv(inputs, width, 3, steps), norm, neuron(width)]
            self.conv1: nn.Module = nn.Sequential(*layers)
            self.stem_pool: nn.Module = avg_pool(2, steps)
        else:
            if plan.stem == "conv3x3":
                self.conv1 = conv(in_channels, width, 3, steps)
                self.stem_pool = nn.Identity()
            else:
                self.conv1 = conv(in_channels, width, 7, steps, stride=2)
                self.stem_pool = Spatial(nn.AvgPool2d(3, 2, 1), steps)
            self.bn1 = PerStep(nn.BatchNorm2d(width), steps)
            self.relu = neuron(width)
        inputs = width
        for index, (count, outputs) in enumerate(zip(plan.blocks, plan.widths, strict=True)):
            blocks = []
            for block in range(count):
                blocks.append(
                    BasicBlock(
                        inputs,
                        outputs,
                        2 if index > 0 and block == 0 else 1,
                        downsample=plan.downsample,
                        spike_sum=plan.spike_sum,
                        steps=steps,
                        neuron=neuron,
                    )
                )
                inputs = outputs
            self.add_module(f"layer{index + 1}", nn.Sequential(*blocks))
        self.pool = Spatial(nn.AdaptiveAvgPool2d(1), steps)
        self.fc = PerStep(nn.Linear(inputs, ends.classes), steps)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """(T, N, C, H, W) to logits at every time step, (T, N, classes)."""
        x = self.conv1(x)
        if self.plan.stem != "three-conv3x3":
            x = self.relu(self.bn1(x))
        x = self.stem_pool(x)
        for index in range(len(self.plan.blocks)):
            x = self.get_submodule(f"layer{index + 1}")(x)
        logits: Tensor = self.fc(self.pool(x).flatten(2))
        return logits
