"""Float networks to quantize: the integer ones of tests/networks.py, read as floats."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from tests.networks import random_network
from trispike.network import (
    Connection,
    Dense,
    FixedPointNeuron,
    FloatNetwork,
    Identity,
    Input,
    IntegerNetwork,
    Neuron,
    Population,
    Readout,
)
from trispike.network.fixed_point import DECAY_ONE, never, state_limit

Shape = tuple[int, ...]


def as_float(network: IntegerNetwork, unit: float = 1.0) -> FloatNetwork:
    """The float network that an integer one stands for, but for its rounding and saturation.

    Args:
        network: An integer network.
        unit: What one unit of all accumulators becomes.
    """

    def weights(c: Connection) -> Connection:
        # Analog values take the place of payloads in units of the input's scale.
        payload = 1.0
        if c.sources == (network.input.name,) and network.input.encoding != "spikes":
            assert network.input.scale is not None
            payload = network.input.scale
        weight = c.operator.weight * (2.0**c.exponent * unit / payload)
        operator = (
            Identity(scale=weight)
            if isinstance(c.operator, Identity)
            else dataclasses.replace(c.operator, weight=weight)
        )
        return dataclasses.replace(c, operator=operator, exponent=0, bits=8)

    def population(p: Population) -> Population:
        fixed = p.neuron
        assert isinstance(fixed, FixedPointNeuron)
        step = unit / 2.0**fixed.state_shift
        limit, top = state_limit(fixed.state_bits), never(fixed.state_bits)
        neuron = Neuron(
            **{
                name: getattr(fixed, name) / DECAY_ONE
                for name in ("a_pos", "a_neg", "b_pos", "b_neg", "k")
            },
            **{
                name: np.where(getattr(fixed, name) >= top, np.inf, getattr(fixed, name) * step)
                for name in ("th_pos", "th_neg")
            },
            bias=fixed.bias * step,
            v_init=fixed.v_init * step,
            floor=np.where(fixed.floor <= -limit, -np.inf, fixed.floor * step),
            reset=fixed.reset,
            strict=fixed.strict,
            fire_once=fixed.fire_once,
            fire_from=fixed.fire_from,
            fire_until=fixed.fire_until,
            gains=tuple(m / 4096 for m in fixed.gains),
        )
        return Population(shape=p.shape, neuron=neuron)

    readout = network.readout
    return FloatNetwork(
        input=dataclasses.replace(network.input, scale=None),
        populations={name: population(p) for name, p in network.populations.items()},
        connections=tuple(map(weights, network.connections)),
        readout=Readout(
            name=readout.name,
            connections=tuple(map(weights, readout.connections)),
            bias=readout.bias * (unit / 2.0**readout.state_shift),
            weights=readout.weights / 4,
        ),
        steps=network.steps,
        provenance={"from": "tests"},
    )


def random_float_network(seed: int) -> FloatNetwork:
    """Any small network whose states do not explode."""
    return as_float(random_network(seed), unit=2.0 ** (seed % 20 - 10) / 3)


def one_population(
    *operators: Any,
    neuron: Neuron | None = None,
    shape: Shape | None = None,
    inputs: Shape = (4,),
    steps: int = 3,
    classes: int = 3,
    **fields: Any,
) -> FloatNetwork:
    """A population "a" that hears the input through every operator, and a random readout.

    Args:
        operators: Operators; or connections into "a".
        neuron: Of the population.
        shape: Of the population; by default what the first operator puts out.
        inputs: Shape of the input.
        steps: T.
        classes: Number of outputs.
        fields: More of the readout ("bias", "weights") and of the input ("encoding").
    """
    connections = tuple(
        c if isinstance(c, Connection) else Connection(sources=("input",), target="a", operator=c)
        for c in operators
    )
    shape = shape or connections[0].output_shape(inputs)
    weight = np.random.default_rng(0).normal(0, 1, (classes, int(np.prod(shape))))
    readout = Connection(sources=("a",), target="readout", operator=Dense(weight=weight))
    return FloatNetwork(
        input=Input(shape=inputs, encoding=fields.get("encoding", "direct")),
        populations={"a": Population(shape=shape, neuron=neuron or Neuron(th_neg=1.0))},
        connections=connections,
        readout=Readout(
            connections=(readout,),
            bias=np.asarray(fields.get("bias", np.zeros(classes)), float),
            weights=np.asarray(fields.get("weights", np.full(steps, 1 / steps)), float),
        ),
        steps=steps,
    )
