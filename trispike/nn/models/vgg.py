"""VGG-style networks with the published parameter names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import Tensor, nn

from trispike.nn.models.blocks import (
    Ends,
    NeuronFactory,
    PerStep,
    Spatial,
    avg_pool,
    conv,
    initialize,
)

__all__ = ["VGG", "Layout", "VGGPlan"]

Layout: TypeAlias = "tuple[int | Literal['M'], ...]"
"""Layer by layer: a convolution with so many channels, or an average pooling by 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VGGPlan:
    """Everything that tells one VGG from another, but input and classes."""

    layout: Layout
    """Convolutions and poolings in order."""
    global_pool: bool
    """Average over all positions before the readout; otherwise the readout sees each of them."""
    dropout: bool = False
    """Whether a dropout follows every neuron; it shifts the numbers in the parameter names."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels per convolution."""
        return tuple(item for item in self.layout if item != "M")

    @property
    def poolings(self) -> int:
        """How often the height and the width of the input are halved."""
        return self.layout.count("M")


class VGG(nn.Module):
    """Convolutions with bias, batch norm, neurons, average pooling, linear readout.

    Args:
        plan: The layers.
        ends: Input and output; the input's size matters only without global pooling.
        neuron: Makes the neurons.
        dropout: Probability, where the plan has dropout.
    """

    def __init__(
        self, plan: VGGPlan, ends: Ends, neuron: NeuronFactory, dropout: float = 0.25
    ) -> None:
        super().__init__()
        self.plan = plan
        channels, height, width = ends.input_shape
        steps = ends.steps
        layers: list[nn.Module] = []
        for item in plan.layout:
            if item == "M":
                layers.append(avg_pool(2, steps))
                continue
            norm = PerStep(nn.BatchNorm2d(item), steps)
            layers += [conv(channels, item, 3, steps, bias=True), norm, neuron(item)]
            if plan.dropout:
                layers.append(nn.Dropout(dropout))
            channels = item
        self.features = nn.Sequential(*layers)
        self.pool: nn.Module = nn.Identity()
        positions = (height >> plan.poolings) * (width >> plan.poolings)
        if plan.global_pool:
            self.pool = Spatial(nn.AdaptiveAvgPool2d(1), steps)
            positions = 1
        self.classifier = PerStep(nn.Linear(channels * positions, ends.classes), steps)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """(T, N, C, H, W) to logits at every time step, (T, N, classes)."""
        logits: Tensor = self.classifier(self.pool(self.features(x)).flatten(2))
        return logits
