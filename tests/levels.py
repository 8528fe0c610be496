"""Random networks of QCFS activations, and what their levels have to be in integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from trispike.network import (
    Connection,
    Conv2d,
    Dense,
    FixedPointNeuron,
    Identity,
    IntegerNetwork,
    SumPool,
)
from trispike.nn import QCFS, randomize

Array = npt.NDArray[Any]


class Block(nn.Module):
    """Layers, a shortcut around them or none, an activation of the sum."""

    def __init__(
        self, layers: nn.Module, shortcut: nn.Module | None, act: nn.Module, after: bool
    ) -> None:
        super().__init__()
        self.layers, self.shortcut, self.act, self.after = layers, shortcut, act, after

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        if self.shortcut is None:
            result: Tensor = self.act(y)
        elif self.after:
            result = self.act(y) + self.shortcut(x)
        else:
            result = self.act(y + self.shortcut(x))
        return result


@st.composite
def level_networks(draw: st.DrawFn) -> tuple[nn.Module, tuple[int, ...]]:
    """A network of one to four activations with random parameters, and its input's shape."""
    seed = draw(st.integers(0, 2**16))
    random = np.random.default_rng(seed)
    torch.manual_seed(seed)
    channels = draw(st.integers(1, 3))
    shape = (channels, draw(st.integers(4, 7)), draw(st.integers(4, 7)))
    blocks: list[nn.Module] = []
    for _ in range(draw(st.integers(1, 3))):
        outputs = draw(st.integers(1, 4))
        layers: list[nn.Module] = []
        if draw(st.booleans()):
            layers.append(nn.AvgPool2d(3, 1, 1))
        layers.append(nn.Conv2d(channels, outputs, 3, padding=1, bias=draw(st.booleans())))
        if draw(st.booleans()):
            layers.append(nn.BatchNorm2d(outputs))
        shortcut: nn.Module | None = None
        if draw(st.booleans()):
            shortcut = nn.Identity() if channels == outputs else nn.Conv2d(channels, outputs, 1)
        act = QCFS(draw(st.integers(1, 9)), float(random.choice([-1, 1]) * random.uniform(0.3, 3)))
        blocks.append(Block(nn.Sequential(*layers), shortcut, act, draw(st.booleans())))
        channels = outputs
    features = channels * shape[1] * shape[2]
    head: list[nn.Module] = [nn.Flatten()]
    if draw(st.booleans()):
        head += [nn.Linear(features, 6), QCFS(draw(st.integers(1, 5)), 0.8)]
        features = 6
    module = nn.Sequential(*blocks, *head, nn.Linear(features, 4))
    randomize(module, seed=seed)
    return module.eval(), shape


def level_counts(network: IntegerNetwork, data: Array) -> dict[str, Array]:
    """The level of every neuron, (N, *shape), layer by layer as a quantized network has it.

    ``clip(floor((sum of weights times levels + bias + q/2) / q), 0, L)`` in int64: no time steps,
    no spikes, and the operators are those of torch.
    """
    assert network.input.encoding == "once"
    levels = {network.input.name: network.input.encode(data, network.steps)[:, 0]}
    for name in network.order:
        population = network.populations[name]
        neuron = population.neuron
        assert isinstance(neuron, FixedPointNeuron)
        assert neuron.fire_until is not None
        total = np.zeros((len(data), *population.shape), np.int64) + neuron.v_init
        for c in network.into(name):
            total += _delivered(c, levels).reshape(total.shape) << neuron.state_shift
        reached = np.floor_divide(total, neuron.th_pos)
        levels[name] = np.clip(reached, 0, neuron.fire_until - neuron.fire_from)
    return levels


def level_logits(network: IntegerNetwork, levels: dict[str, Array]) -> Array:
    """Integer logits of these levels; the last layer's time weights are all equal."""
    readout = network.readout
    (weight,) = np.unique(readout.weights[readout.weights != 0])
    total = sum(_delivered(c, levels).reshape(-1, readout.classes) for c in readout.connections)
    shifted = np.asarray(total) << readout.state_shift
    return np.asarray(weight * shifted + readout.weights.sum() * readout.bias)


def _delivered(connection: Connection, levels: dict[str, Array]) -> Array:
    """What a connection adds up over all time steps, in int64."""
    x = torch.from_numpy(np.asarray(sum(levels[s] for s in connection.sources), np.int64))
    pool: SumPool | None = connection.pool
    while pool is not None:
        x = _pooled(x, pool)
        pool = pool.then
    operator = connection.operator
    weight = torch.from_numpy(np.asarray(operator.weight, np.int64))
    if isinstance(operator, Dense):
        y = x.flatten(1) @ weight.T
    elif isinstance(operator, Conv2d):
        y = F.conv2d(
            x.double(),  # exact below 2**53
            weight.double(),
            None,
            operator.stride,
            operator.padding,
            operator.dilation,
            operator.groups,
        ).long()
    else:
        assert isinstance(operator, Identity)
        y = x * weight
    delivered: Array = y.numpy() << connection.exponent
    return delivered


def _pooled(x: Tensor, pool: SumPool) -> Tensor:
    ones = torch.ones(x.shape[1], 1, *pool.kernel, dtype=torch.float64)
    y = F.conv2d(x.double(), ones, None, pool.stride, pool.padding, pool.dilation, x.shape[1])
    return y.long()
