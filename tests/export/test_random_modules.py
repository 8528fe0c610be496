"""Random networks of everything that folds, traced and compared neuron by neuron."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import event, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.export.modules import images
from tests.export.oracle import assert_folds
from trispike.nn import CTSN, LIF, SpikingNeuron, TernarySpike, randomize


class Block(nn.Module):
    """Layers, a neuron, and a shortcut around the layers, around both, or none.

    Args:
        layers: Applied at every time step.
        shortcut: Likewise; what it is added to depends on ``after``.
        neuron: Integrates over ``time_axis``.
        after: Whether the shortcut is added to the spikes, and not to what makes them.
        steps: T.
    """

    def __init__(
        self,
        layers: nn.Module,
        shortcut: nn.Module | None,
        neuron: SpikingNeuron,
        after: bool,
        steps: int,
    ) -> None:
        super().__init__()
        self.layers, self.shortcut, self.neuron = layers, shortcut, neuron
        self.after, self.steps = after, steps

    def forward(self, x: Tensor) -> Tensor:
        y = self.per_step(self.layers, x)
        if self.shortcut is None:
            spikes: Tensor = self.neuron(y)
            return spikes
        short = self.per_step(self.shortcut, x)
        sum_: Tensor = self.neuron(y) + short if self.after else self.neuron(y + short)
        return sum_

    def per_step(self, layer: nn.Module, x: Tensor) -> Tensor:
        sizes = (self.steps, -1) if self.neuron.time_axis == 0 else (-1, self.steps)
        y: Tensor = layer(x.flatten(0, 1)).unflatten(0, sizes)
        return y


class Network(nn.Module):
    """Blocks after an optional repetition, and a readout."""

    def __init__(
        self, blocks: nn.Sequential, classifier: nn.Module, axis: int, repeat: int
    ) -> None:
        super().__init__()
        self.blocks, self.classifier, self.axis, self.repeat = blocks, classifier, axis, repeat

    def forward(self, x: Tensor) -> Tensor:
        if self.repeat:
            x = torch.stack([x] * self.repeat, dim=self.axis)
        elif self.axis == 0:
            x = x.transpose(0, 1)
        y = self.blocks(x).flatten(2)
        logits: Tensor = self.classifier(y.mean(self.axis))
        return logits


def norm(channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels)


def conv(inputs: int, outputs: int, kernel: int, **options: Any) -> nn.Module:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, **options)


MAIN: dict[str, Any] = {
    "conv": lambda i, o, s: [conv(i, o, 3, stride=s)],
    "conv, norm": lambda i, o, s: [conv(i, o, 3, stride=s, bias=False), norm(o)],
    "norm, conv": lambda i, o, s: [norm(i), nn.Dropout(), conv(i, o, 3, stride=s)],
    "grouped conv": lambda i, o, s: [conv(i, 2 * i, 3, stride=s, groups=i), conv(2 * i, o, 1)],
    "pointwise, norm, conv": lambda i, o, s: [conv(i, 3, 1, stride=s), norm(3), conv(3, o, 3)],
    "conv, pointwise, norm": lambda i, o, s: [conv(i, 3, 3, stride=s), conv(3, o, 1), norm(o)],
    "pooling, conv": lambda i, o, s: [nn.AvgPool2d(s), conv(i, o, 3)],
    "overlapping pooling, conv": lambda i, o, s: [nn.AvgPool2d(3, s, 1), conv(i, o, 3), norm(o)],
    "conv, pooling": lambda i, o, s: [conv(i, o, 3), norm(o), nn.AvgPool2d(s)],
}
SHORT: dict[str, Any] = {
    "none": lambda i, o, s: None,
    "pointwise, norm": lambda i, o, s: nn.Sequential(conv(i, o, 1, stride=s), norm(o)),
    "pooling, pointwise": lambda i, o, s: nn.Sequential(nn.AvgPool2d(s), conv(i, o, 1)),
    "identity": lambda i, o, s: nn.Identity() if (i, s) == (o, 1) else None,
}
NEURONS: dict[str, Any] = {
    "static": lambda channels: CTSN("static", 0.1),
    "dynamic": lambda channels: CTSN("dynamic", 0.1, tau=0.9),
    "amplitude": lambda channels: TernarySpike(0.1, 0.5, "channel", channels),
    "soft reset": lambda channels: LIF(0.1, 0.7, reset="subtract", ternary=True),
}


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(MAIN)),
            st.sampled_from(list(SHORT)),
            st.sampled_from(list(NEURONS)),
            st.booleans(),
            st.integers(1, 4),
            st.sampled_from([1, 1, 2]),
        ),
        min_size=2,
        max_size=5,
    ),
    st.integers(1, 4),
    st.sampled_from([0, 1]),
    st.booleans(),
    st.integers(0, 99),
)
def test_random_networks(plan, steps, axis, static, seed):
    torch.manual_seed(seed)
    blocks, channels, size = [], 2, 8
    for main, short, neuron, after, outputs, wanted in plan:
        stride = wanted if size >= 4 else 1
        fires = NEURONS[neuron](outputs)
        fires.time_axis = axis
        layers = nn.Sequential(*MAIN[main](channels, outputs, stride))
        shortcut = SHORT[short](channels, outputs, stride)
        blocks.append(Block(layers, shortcut, fires, after, steps))
        channels, size = outputs, size // stride
    classifier = nn.Linear(channels * size * size, 3)
    module = Network(nn.Sequential(*blocks), classifier, axis, steps if static else 0)
    randomize(module, seed)
    shape = (2, 8, 8) if static else (steps, 2, 8, 8)
    traced = assert_folds(
        module, images(4, shape, seed), steps=steps, encoding="direct" if static else "frames"
    )
    assert len(traced.network.populations) == len(plan)
    event(f"{len(traced.network.all_connections)} connections")
