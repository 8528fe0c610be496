"""What is trained: real numbers, of which rounding makes the integers of a network.

All of them are in units of the integers at the start. Every channel has a step, too: one number
that divides its weights, bias and thresholds alike. It is 1 at the start, and learning it moves
the grid of the weights without touching what they are (learned step size, Esser et al., ICLR 2020;
for a spiking neuron the step of a channel costs nothing, because its threshold absorbs it).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from trispike.errors import InvalidSettingError
from trispike.network import Connection, FixedPointNeuron
from trispike.network.fixed_point import DECAY_ONE, never, state_limit
from trispike.quantize.finetune.neurons import Parameters
from trispike.quantize.finetune.rounding import clip

__all__ = ["DEFAULT_TRAINED", "NeuronMasters", "Step", "Trained", "WeightMaster", "checked_trained"]

Array: TypeAlias = npt.NDArray[Any]
Trained: TypeAlias = Literal["weights", "bias", "steps", "thresholds", "retention", "v_init"]
"""Kinds of parameters."""

DEFAULT_TRAINED: tuple[Trained, ...] = ("weights", "bias", "steps")
"""A step acts on a channel as its threshold would, so that thresholds need no training."""

RETENTION = ("a_pos", "a_neg", "b_pos", "b_neg", "k")
LARGEST_CHANGE = 16.0
"""Steps stay within this factor of where they began."""


def checked_trained(kinds: Collection[str]) -> tuple[Trained, ...]:
    """Kinds of parameters that are to be trained.

    Raises:
        InvalidSettingError: An unknown one, or none at all.
    """
    known = get_args(Trained)
    if not kinds or isinstance(kinds, str) or not set(kinds) <= set(known):
        raise InvalidSettingError(
            "setting 'trained'",
            got=repr(kinds),
            expected="some of " + ", ".join(known),
            fix="Choose among these.",
        )
    return tuple(kind for kind in known if kind in kinds)


class Step(nn.Module):
    """Size of the integers' unit, per channel or one for all, relative to the start.

    Args:
        channels: How many there are.
        is_trained: Whether it is learned.
    """

    def __init__(self, channels: int, *, is_trained: bool) -> None:
        super().__init__()
        log = torch.zeros(channels, dtype=torch.float64)
        self.log = nn.Parameter(log, requires_grad=is_trained)

    def forward(self) -> Tensor:
        """(channels,) or (1,), float64."""
        bound = math.log(LARGEST_CHANGE)
        return self.log.clamp(-bound, bound).exp()


def along_first(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Values per channel such that they broadcast to what has that shape.

    Args:
        values: (channels,) or (1,).
        shape: Its first axis holds a whole number of elements per channel, or it has one element.
    """
    if len(values) == 1:
        return values.reshape(())
    repeated = values.repeat_interleave(shape[0] // len(values))
    return repeated.reshape(-1, *(1,) * (len(shape) - 1))


class WeightMaster(nn.Module):
    """Weights of a connection.

    Args:
        connection: The integer connection.
        values: Its weights in units of integers, not rounded, in the shape that they have there.
        is_trained: Whether they are trained.
    """

    def __init__(self, connection: Connection, values: Array, *, is_trained: bool) -> None:
        super().__init__()
        self.top = (1 << (connection.bits - 1)) - 1
        self.size = float(np.sqrt(np.mean(np.square(values)))) or 1.0
        """Root mean square at the start, which the parameter is relative to."""
        weight = torch.tensor(values / self.size, dtype=torch.float32)
        self.weight = nn.Parameter(weight, requires_grad=is_trained)

    def forward(self, step: Tensor) -> Tensor:
        """Integers in float32, of the weight's shape.

        Args:
            step: Of the target.
        """
        unit = along_first(step, self.weight.shape).float() / self.size
        return clip(self.weight / unit, -self.top, self.top)

    def confine(self, step: Tensor) -> None:
        """Bring weights that are clipped back to where they are not, or they would never learn.

        Args:
            step: Of the target.
        """
        with torch.no_grad():
            largest = self.top / self.size * along_first(step, self.weight.shape).float()
            self.weight.clamp_(-largest, largest)


class NeuronMasters(nn.Module):
    """Parameters of a population, relative to its thresholds, so that one learning rate fits all.

    Args:
        neuron: The integer neuron; what is infinite or absent in it stays so.
        values: Thresholds, bias, v_init, floor and retention factors in its units, not rounded.
        shape: Of the population.
        trained: Kinds of parameters that are trained.
    """

    floor_none: Tensor

    def __init__(
        self,
        neuron: FixedPointNeuron,
        values: Mapping[str, Array],
        shape: tuple[int, ...],
        trained: Collection[Trained],
    ) -> None:
        super().__init__()
        self.neuron = neuron
        self.shape = shape
        self.limit, self.top = state_limit(neuron.state_bits), never(neuron.state_bits)
        absent = {
            "th_pos": neuron.th_pos.min() >= self.top,
            "th_neg": neuron.th_neg.min() >= self.top,
            "floor": neuron.floor.max() <= -self.limit,
            **{name: not getattr(neuron, name).any() for name in RETENTION},
        }
        kinds = dict.fromkeys(RETENTION, "retention") | {
            "bias": "bias",
            "th_pos": "thresholds",
            "th_neg": "thresholds",
            "floor": "thresholds",
            "v_init": "v_init",
        }
        for name, kind in kinds.items():
            value = np.asarray(values[name], dtype=np.float64)
            is_trained = kind in trained and not absent.get(name, False)
            unit = torch.tensor(self._unit(name, value.shape), dtype=torch.float64)
            self.register_buffer(f"{name}_unit", unit, persistent=False)
            parameter = nn.Parameter(torch.tensor(value) / unit, requires_grad=is_trained)
            self.register_parameter(name, parameter)
        for name in ("th_pos", "th_neg"):
            fixed = torch.tensor(getattr(neuron, name) >= self.top)
            self.register_buffer(f"{name}_never", fixed, persistent=False)
        fixed = torch.tensor(neuron.floor <= -self.limit)
        self.register_buffer("floor_none", fixed, persistent=False)

    def _unit(self, name: str, shape: tuple[int, ...]) -> Array:
        """What a parameter is trained in units of: the threshold beside it, or a whole."""
        if name in RETENTION:
            return np.asarray(float(DECAY_ONE))
        threshold = self.neuron.th_pos.astype(float)
        reachable = threshold[threshold < self.top]
        typical = float(np.median(reachable)) if reachable.size else 1.0
        if np.broadcast_shapes(threshold.shape, shape) != shape:
            return np.asarray(typical)
        return np.where(threshold < self.top, threshold, typical)

    def _values(self, name: str) -> Tensor:
        unit: Tensor = getattr(self, f"{name}_unit")
        values: Tensor = getattr(self, name) * unit
        return values

    def forward(self, step: Tensor) -> tuple[Parameters, Tensor]:
        """The integers in float64, and v_init, in the shapes that the neuron has them in.

        Args:
            step: Of the population.
        """
        unit = along_first(step, self.shape)

        def state(name: str, low: float) -> Tensor:
            return clip(self._values(name) / unit, low, self.limit)

        def threshold(name: str) -> Tensor:
            return torch.where(getattr(self, f"{name}_never"), float(self.top), state(name, 1))

        bottomless = self.floor_none
        floor = torch.where(bottomless, -float(self.limit), state("floor", -self.limit))
        factors = {name: clip(self._values(name), 0, DECAY_ONE) for name in RETENTION}
        parameters = Parameters(
            **factors,
            bias=state("bias", -self.limit),
            th_pos=threshold("th_pos"),
            th_neg=threshold("th_neg"),
            floor=floor,
        )
        return parameters, state("v_init", -self.limit)
