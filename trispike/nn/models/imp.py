"""Networks with trained initial membrane potentials, under the published parameter names.

Those of StephenTaylor1998/amazing-cls, whose checkpoints have ``backbone.`` and ``head.`` in front:
a VGG (``layer<i>.<j>.{conv,bn,spike}``), a residual network that adds spikes (``sn1``, ``sn2``,
``downsample_sn``), and the legacy VGG for event data with temporal effective batch normalization
(TEBN), whose gains per time step are called ``te``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from trispike.errors import InvalidNetworkError
from trispike.network.neuron import Reset
from trispike.nn.imp import IMPNeuron, InitialState, LegacyIMPNeuron, initial_shape
from trispike.nn.models.blocks import Ends, Spatial, initialize, merged
from trispike.nn.models.resnet import ResNetPlan
from trispike.nn.models.vgg import VGGPlan
from trispike.nn.neurons import SpikingNeuron

__all__ = [
    "IMPNetwork",
    "IMPPlan",
    "PlacedNeuronFactory",
    "TemporalEffectiveNorm",
    "imp_neurons",
]

Shape: TypeAlias = "tuple[int, int, int]"

PlacedNeuronFactory: TypeAlias = Callable[[Shape], SpikingNeuron]
"""Makes one layer of neurons of the given shape, (C, H, W)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IMPPlan:
    """The layers of a network with trained initial potentials."""

    layers: VGGPlan | ResNetPlan
    """A VGG, or a residual network that adds spikes; their sizes are those of the input."""
    legacy: bool = False
    """The legacy VGG: gains per time step, a readout that sees every position."""


def imp_neurons(
    plan: IMPPlan,
    *,
    v_threshold: float,
    leak: float,
    reset: Reset,
    initial: InitialState,
    sigmoid_init: bool,
    surrogate: str,
) -> PlacedNeuronFactory:
    """What makes the neurons of a plan; the arguments are those of the neurons.

    Raises:
        InvalidNetworkError: A setting that the legacy neurons do not have.
    """
    if plan.legacy and (reset != "zero" or sigmoid_init):
        raise InvalidNetworkError(
            "legacy network with trained initial potentials",
            got=f"reset={reset!r}, sigmoid_init={sigmoid_init}",
            expected="reset='zero' and no logistic function, as published",
            fix="Leave both out.",
        )

    def make(shape: Shape) -> SpikingNeuron:
        placed = initial_shape(shape, initial)
        if plan.legacy:
            return LegacyIMPNeuron(placed, v_threshold, leak, surrogate=surrogate)
        return IMPNeuron(
            placed,
            v_threshold,
            leak,
            reset=reset,
            sigmoid_init=sigmoid_init,
            surrogate=surrogate,
        )

    return make


class TemporalEffectiveNorm(nn.Module):
    """Batch norm and a trained gain per time step, ``te`` of shape (T, 1, 1, 1, 1).

    Source: Duan et al., "Temporal Effective Batch Normalization in Spiking Neural Networks",
    NeurIPS 2022; parameter names of amazing-cls.
    """

    def __init__(self, channels: int, steps: int) -> None:
        super().__init__()
        self.te = nn.Parameter(torch.ones(steps, 1, 1, 1, 1))
        self.bn = _Merged(nn.BatchNorm2d(channels), steps)
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        """(T, N, C, H, W) to the same."""
        y: Tensor = self.bn(x) * self.te[: self.steps]
        return y


class _Merged(nn.Module):
    """Layers at every time step, named ``module`` as published."""

    def __init__(self, module: nn.Module, steps: int) -> None:
        super().__init__()
        self.module = module
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        return merged(self.module, x, (self.steps, -1))


class _ConvNormSpike(nn.Module):
    """Convolution, batch norm and neurons, named ``conv``, ``bn`` and ``spike`` as published."""

    def __init__(self, inputs: int, shape: Shape, steps: int, neuron: PlacedNeuronFactory) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, shape[0], 3, padding=1)
        self.bn = nn.BatchNorm2d(shape[0])
        self.spike = neuron(shape)
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn(self.conv(x.flatten(0, 1)))
        spikes: Tensor = self.spike(y.unflatten(0, (self.steps, -1)))
        return spikes


class _LegacyLayer(nn.Module):
    """Convolution and TEBN, named ``conv`` and ``bn`` as published."""

    def __init__(self, inputs: int, outputs: int, steps: int) -> None:
        super().__init__()
        self.conv = _Merged(nn.Conv2d(inputs, outputs, 3, padding=1), steps)
        self.bn = TemporalEffectiveNorm(outputs, steps)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn(self.conv(x))
        return y


class _VGG(nn.Module):
    """Stages ``layer1``, ``layer2``, ..., with average pooling by 2 between them."""

    def __init__(self, plan: VGGPlan, ends: Ends, neuron: PlacedNeuronFactory) -> None:
        super().__init__()
        channels, height, width = ends.input_shape
        stages: list[list[nn.Module]] = [[]]
        for item in plan.layout:
            if item == "M":
                stages.append([])
                height, width = height // 2, width // 2
                continue
            shape = (item, height, width)
            stages[-1].append(_ConvNormSpike(channels, shape, ends.steps, neuron))
            channels = item
        self.stages = len(stages)
        for number, stage in enumerate(stages, 1):
            self.add_module(f"layer{number}", nn.Sequential(*stage))
        self.pool = Spatial(nn.AvgPool2d(2), ends.steps)

    def forward(self, x: Tensor) -> Tensor:
        for number in range(1, self.stages + 1):
            x = self.get_submodule(f"layer{number}")(x if number == 1 else self.pool(x))
        return x


class _Block(nn.Module):
    """Two convolutions and a shortcut, all of which end in neurons; their spikes are added."""

    def __init__(
        self, inputs: int, shape: Shape, stride: int, steps: int, neuron: PlacedNeuronFactory
    ) -> None:
        super().__init__()
        outputs = shape[0]
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.sn1 = neuron(shape)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.sn2 = neuron(shape)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
            self.downsample_sn = neuron(shape)
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        sizes = (self.steps, -1)
        shortcut = x
        if self.downsample is not None:
            shortcut = self.downsample_sn(merged(self.downsample, x, sizes))
        y = self.sn1(self.bn1(self.conv1(x.flatten(0, 1))).unflatten(0, sizes))
        y = self.sn2(self.bn2(self.conv2(y.flatten(0, 1))).unflatten(0, sizes))
        summed: Tensor = shortcut + y
        return summed


class _SEWResNet(nn.Module):
    """Stem and stages of blocks whose spikes are added (SEW)."""

    def __init__(self, plan: ResNetPlan, ends: Ends, neuron: PlacedNeuronFactory) -> None:
        super().__init__()
        channels, height, width = ends.input_shape
        large = plan.stem == "conv7x7"
        kernel, stride = (7, 2) if large else (3, 1)
        inputs = plan.widths[0]
        height, width = (-(-size // stride) for size in (height, width))
        self.conv1 = nn.Conv2d(channels, inputs, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.sn1 = neuron((inputs, height, width))
        self.maxpool: nn.Module = nn.Identity()  # published under this name; it averages
        if large:
            self.maxpool = Spatial(nn.AvgPool2d(3, 2, 1), ends.steps)
            height, width = (-(-size // 2) for size in (height, width))
        self.stages = len(plan.blocks)
        for stage, (count, outputs) in enumerate(zip(plan.blocks, plan.widths, strict=True)):
            blocks = []
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                height, width = (-(-size // stride) for size in (height, width))
                shape = (outputs, height, width)
                blocks.append(_Block(inputs, shape, stride, ends.steps, neuron))
                inputs = outputs
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.steps = ends.steps

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x.flatten(0, 1))).unflatten(0, (self.steps, -1))
        y = self.maxpool(self.sn1(y))
        for stage in range(1, self.stages + 1):
            y = self.get_submodule(f"layer{stage}")(y)
        return y


class _LegacyVGG(nn.Module):
    """The VGG with TEBN: ``features`` in one row, and a ``classifier`` that sees every position."""

    def __init__(self, plan: VGGPlan, ends: Ends, neuron: PlacedNeuronFactory) -> None:
        super().__init__()
        channels, height, width = ends.input_shape
        layers: list[nn.Module] = []
        for item in plan.layout:
            if item == "M":
                layers.append(_Merged(nn.AvgPool2d(2), ends.steps))
                height, width = height // 2, width // 2
                continue
            layers += [_LegacyLayer(channels, item, ends.steps), neuron((item, height, width))]
            channels = item
        self.features = nn.Sequential(*layers)
        readout = nn.Linear(channels * height * width, ends.classes)
        self.classifier = _Merged(nn.Sequential(nn.Dropout(0.25), readout), ends.steps)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.classifier(self.features(x).flatten(2))
        return y


class _Head(nn.Module):
    """Global average pooling and a linear readout at every time step, named ``fc``."""

    def __init__(self, inputs: int, ends: Ends) -> None:
        super().__init__()
        self.pool = Spatial(nn.AdaptiveAvgPool2d(1), ends.steps)
        self.fc = nn.Linear(inputs, ends.classes)
        self.steps = ends.steps

    def forward(self, x: Tensor) -> Tensor:
        return merged(self.fc, self.pool(x).flatten(2), (self.steps, -1))


class IMPNetwork(nn.Module):
    """Any of the networks above: ``backbone``, and ``head`` except for the legacy one.

    Args:
        plan: The layers.
        ends: Input and output. Neurons with a potential each are as many as the input's size makes.
        neuron: Makes the neurons.

    Raises:
        InvalidNetworkError: The plan is none of these networks.
    """

    def __init__(self, plan: IMPPlan, ends: Ends, neuron: PlacedNeuronFactory) -> None:
        super().__init__()
        self.plan = plan
        self.head: nn.Module = nn.Identity()
        layers = plan.layers
        if isinstance(layers, VGGPlan) and plan.legacy:
            self.backbone: nn.Module = _LegacyVGG(layers, ends, neuron)
        elif isinstance(layers, VGGPlan):
            self.backbone = _VGG(layers, ends, neuron)
            self.head = _Head(layers.widths[-1], ends)
        elif layers.stem != "three-conv3x3" and layers.downsample == "conv" and not plan.legacy:
            self.backbone = _SEWResNet(layers, ends, neuron)
            self.head = _Head(layers.widths[-1], ends)
        else:
            raise InvalidNetworkError(
                "plan of a network with trained initial potentials",
                got=str(layers),
                expected="a VGG, or a residual network with one convolution in its stem and in "
                "its shortcuts",
                fix="Use one of the plans of the architectures imp-...",
            )
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """(T, N, C, H, W) to logits at every time step, (T, N, classes)."""
        logits: Tensor = self.head(self.backbone(x))
        return logits
