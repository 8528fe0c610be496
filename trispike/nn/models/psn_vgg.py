"""The VGGSNN that the authors of CTSN derived from the code of PSN, for CIFAR10-DVS.

Same layers as the other VGGSNN, but the tensors are (N, T, C, H, W) throughout and the parameters
have other names: ``features.<i>.fwd.module.{0,1}`` and ``classifier.1.module``.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from trispike.nn.models.blocks import Ends, NeuronFactory, initialize, merged
from trispike.nn.models.vgg import VGGPlan

__all__ = ["PSNVGG", "PSNVGGPlan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PSNVGGPlan:
    """A VGG plan, built with the parameter names and the tensor layout of the PSN code."""

    vgg: VGGPlan
    """The layers; without global pooling, and with dropout before the readout only."""


class _TimeSecond(nn.Module):
    """Layers at every time step of (N, T, ...), named ``module`` as published."""

    def __init__(self, module: nn.Module, steps: int) -> None:
        super().__init__()
        self.module = module
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        return merged(self.module, x, (-1, self.steps))


class _Layer(nn.Module):
    """Convolution and batch norm, named ``fwd`` as published."""

    def __init__(self, inputs: int, outputs: int, steps: int) -> None:
        super().__init__()
        convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.fwd = _TimeSecond(nn.Sequential(convolution, nn.BatchNorm2d(outputs)), steps)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fwd(x)
        return y


class PSNVGG(nn.Module):
    """Like ``VGG``; the neurons must have their time axis at 1.

    Args:
        plan: The layers.
        ends: Input and output.
        neuron: Makes the neurons.
        dropout: Probability of the dropout before the readout.
    """

    def __init__(
        self, plan: PSNVGGPlan, ends: Ends, neuron: NeuronFactory, dropout: float = 0.25
    ) -> None:
        super().__init__()
        self.plan = plan
        channels, height, width = ends.input_shape
        steps = ends.steps
        layers: list[nn.Module] = []
        for item in plan.vgg.layout:
            if item == "M":
                layers.append(_TimeSecond(nn.AvgPool2d(2), steps))
            else:
                layers += [_Layer(channels, item, steps), neuron(item)]
                channels = item
        self.features = nn.Sequential(*layers)
        features = channels * (height >> plan.vgg.poolings) * (width >> plan.vgg.poolings)
        readout = _TimeSecond(nn.Linear(features, ends.classes), steps)
        self.classifier = nn.Sequential(nn.Dropout(dropout), readout)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """(T, N, C, H, W) to logits at every time step, (T, N, classes), like every model."""
        y = self.classifier(self.features(x.transpose(0, 1)).flatten(2))
        logits: Tensor = y.transpose(0, 1)
        return logits
