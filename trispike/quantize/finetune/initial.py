"""Where fine-tuning begins: real numbers in units of the integers that they are rounded to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.errors import QuantizationError
from trispike.network import (
    Connection,
    FixedPointNeuron,
    FloatNetwork,
    Identity,
    IntegerNetwork,
    Network,
    Neuron,
)
from trispike.network.fixed_point import DECAY_ONE
from trispike.quantize.quantize import Quantization
from trispike.quantize.weights import rows

__all__ = ["Initial", "from_float", "from_integers"]

Array: TypeAlias = npt.NDArray[Any]

RETENTION = ("a_pos", "a_neg", "b_pos", "b_neg", "k")
CELL = 0.45
"""Largest distance of a real number from its integer. What quantization has rounded another way
than to the nearest integer begins just inside of the numbers that are rounded there."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Initial:
    """What fine-tuning begins with, for an integer network."""

    weights: Mapping[str, Array]
    """By connection label, in the shape of its weight."""
    neurons: Mapping[str, Mapping[str, Array]]
    """By population and field, in units of the state; retention factors in 1/4096."""
    readout_bias: Array
    """(classes,), in units of its accumulator."""
    channels: Mapping[str, int]
    """By target: how many steps it has."""


def from_integers(network: IntegerNetwork) -> Initial:
    """The integers of a network themselves."""
    neurons = {}
    for name, population in network.populations.items():
        assert isinstance(population.neuron, FixedPointNeuron)
        neurons[name] = {
            key: v.astype(float) for key, v in population.neuron.array_fields().items()
        }
    return Initial(
        weights={label: c.operator.weight.astype(float) for label, c in network.labelled()},
        neurons=neurons,
        readout_bias=network.readout.bias.astype(float),
        channels=dict.fromkeys((*network.populations, network.readout.name), 1),
    )


def from_float(source: FloatNetwork, quantization: Quantization) -> Initial:
    """The parameters of a float network, such that they are rounded to the integers of another.

    Args:
        source: The float network.
        quantization: What ``quantize`` made of it.

    Raises:
        QuantizationError: It is the quantization of another network.
    """
    network, scales = quantization.network, quantization.scales
    _check_same(source, network)
    weights: dict[str, Array] = {}
    labels = {id(c): label for label, c in network.labelled()}
    for name in (*network.populations, network.readout.name):
        for c, real in zip(network.into(name), _incoming(source, network, name), strict=True):
            shape = c.output_shape(network.source_shape(c))
            step = (scales[name] * 2.0**c.exponent)[:, None]
            values = rows(real.operator, shape, len(step)) / step
            integers = c.operator.weight.astype(float)
            top = (1 << (c.bits - 1)) - 1
            near = _near(values.reshape(integers.shape), integers)
            weights[labels[id(c)]] = np.clip(near, -top, top)
    neurons = {
        name: _neuron_values(
            population.neuron, network.populations[name].neuron, population.shape, scales[name]
        )
        for name, population in source.populations.items()
    }
    readout = network.readout
    unit = float(scales[readout.name][0]) / 2.0**readout.state_shift
    per_layer = quantization.record.granularity == "layer"
    channels = {n: 1 if per_layer else len(scales[n]) for n in network.populations}
    return Initial(
        weights=weights,
        neurons=neurons,
        readout_bias=_near(source.readout.bias / unit, readout.bias.astype(float)),
        channels=channels | {readout.name: 1},
    )


def _near(values: Array, integers: Array) -> Array:
    """The numbers nearest to the values that are rounded to the integers."""
    return np.clip(values, integers - CELL, integers + CELL)


def _check_same(source: Network, network: IntegerNetwork) -> None:
    same = (
        isinstance(source, FloatNetwork)
        and source.input.shape == network.input.shape
        and source.steps == network.steps
        and {n: p.shape for n, p in source.populations.items()}
        == {n: p.shape for n, p in network.populations.items()}
        and all(
            [(c.sources, c.pool, c.delay, type(c.operator)) for c in network.into(name)]
            == [(c.sources, c.pool, c.delay, type(c.operator)) for c in _split(source, name)]
            for name in (*network.populations, network.readout.name)
        )
    )
    if not same:
        raise QuantizationError(
            "quantization",
            got="layers that are not those of the float network",
            expected="what quantize made of this float network",
            fix="Quantize the network that is to be fine-tuned.",
        )


def _split(source: Network, target: str) -> list[Connection]:
    """Connections into a target, such that the graded input has one of its own."""
    result = []
    name = source.input.name
    for c in source.into(target):
        others = tuple(s for s in c.sources if s != name)
        if others:
            result.append(replace(c, sources=others))
        if name in c.sources:
            result.append(replace(c, sources=(name,)))
    return result


def _incoming(source: FloatNetwork, network: IntegerNetwork, target: str) -> list[Connection]:
    """The same, with weights for the graded input in its own units."""
    result = []
    scale = network.input.scale
    assert scale is not None
    for c in _split(source, target):
        if c.sources != (source.input.name,):
            result.append(c)
        elif isinstance(c.operator, Identity):
            result.append(replace(c, operator=Identity(scale=c.operator.scale * scale)))
        else:
            weight = c.operator.weight * scale
            result.append(replace(c, operator=replace(c.operator, weight=weight)))
    return result


def _neuron_values(
    real: Any, fixed: Any, shape: tuple[int, ...], scales: Array
) -> dict[str, Array]:
    assert isinstance(real, Neuron)
    assert isinstance(fixed, FixedPointNeuron)
    per_neuron = np.repeat(scales, shape[0] // len(scales))
    unit = per_neuron.reshape(-1, *((1,) * (len(shape) - 1))) / 2.0**fixed.state_shift
    values = {}
    for name, integers in fixed.array_fields().items():
        value = getattr(real, name) * DECAY_ONE if name in RETENTION else getattr(real, name) / unit
        values[name] = _near(value, integers.astype(float))
    return values
