"""VGG-style networks of neurons that fire once, with standardized weights."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from trispike.nn.models.blocks import Ends, NeuronFactory, PerStep, Spatial, avg_pool
from trispike.nn.models.vgg import VGGPlan
from trispike.nn.ttfs import StandardizedConv2d, initialize_ttfs

__all__ = ["TTFSVGG", "TTFSPlan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TTFSPlan:
    """A VGG plan, built with standardized convolutions in place of batch norms."""

    vgg: VGGPlan
    """The layers; without dropout."""


class TTFSVGG(nn.Module):
    """Standardized convolutions, neurons, average pooling, linear readout at every time step.

    Args:
        plan: The layers.
        ends: Input and output; the input's size matters only without global pooling.
        neuron: Makes the neurons.
    """

    def __init__(self, plan: TTFSPlan, ends: Ends, neuron: NeuronFactory) -> None:
        super().__init__()
        self.plan = plan
        channels, height, width = ends.input_shape
        steps = ends.steps
        layers: list[nn.Module] = []
        for item in plan.vgg.layout:
            if item == "M":
                layers.append(avg_pool(2, steps))
                continue
            neurons = neuron(item)
            convolution = StandardizedConv2d(
                channels, item, 3, steps, padding=1, v_threshold=neurons.v_threshold
            )
            layers += [Spatial(convolution, steps), neurons]
            channels = item
        self.features = nn.Sequential(*layers)
        self.pool: nn.Module = nn.Identity()
        positions = (height >> plan.vgg.poolings) * (width >> plan.vgg.poolings)
        if plan.vgg.global_pool:
            self.pool = Spatial(nn.AdaptiveAvgPool2d(1), steps)
            positions = 1
        readout = nn.Linear(channels * positions, ends.classes)
        initialize_ttfs(readout.weight, steps)
        nn.init.zeros_(readout.bias)
        self.classifier = PerStep(readout, steps)

    def forward(self, x: Tensor) -> Tensor:
        """(T, N, C, H, W) to logits at every time step, (T, N, classes)."""
        logits: Tensor = self.classifier(self.pool(self.features(x)).flatten(2))
        return logits
