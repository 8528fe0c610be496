"""Two networks with every class in them, and for every field of every class a change of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import pytest

from tests.network.test_neuron import FIXED_CHANGES, FLOAT_CHANGES
from trispike.network import (
    Connection,
    Conv2d,
    Dense,
    FixedPointNeuron,
    FloatNetwork,
    Identity,
    Input,
    IntegerNetwork,
    Network,
    Neuron,
    Plasticity,
    Population,
    Readout,
    SumPool,
)

SCHEDULE = {"fire_from": 1, "fire_until": 1}
"""A window that two time steps have room for."""

Change: TypeAlias = Callable[[Network], Network]


def base(kind: str) -> Network:
    """Geometries are such that each field can be changed alone, and the shapes still fit."""
    is_float = kind == "float"
    number = float if is_float else int

    def weight(*shape: int) -> Any:
        integers = np.random.default_rng(shape).integers(-7, 8, shape).astype(np.int8)
        return integers / 4 if is_float else integers

    def part(source: str, target: str, operator: Any, **fields: Any) -> Connection:
        return Connection(sources=(source,), target=target, operator=operator, **fields)

    def population(*shape: int) -> Population:
        if is_float:
            return Population(shape=shape, neuron=Neuron(th_neg=1, floor=-9, bias=weight(*shape)))
        neuron = FixedPointNeuron(th_pos=50, th_neg=50, floor=-999, bias=weight(*shape))
        return Population(shape=shape, neuron=neuron)

    rule = None if is_float else Plasticity(eta=3, theta=[5, 6], eps=7)
    conv = Conv2d(weight=weight(4, 2, 3, 3), stride=(5, 4), padding=(1, 1))
    return (FloatNetwork if is_float else IntegerNetwork)(
        input=Input(shape=(2, 4, 4), mean=0.5, std=2.0, scale=None if is_float else 0.125),
        populations={
            "a": population(4, 1, 1),
            "twin": population(4, 1, 1),
            "b": population(2, 1, 1),
            "alone": population(1),
        },
        connections=(
            part("input", "a", conv),
            part("input", "twin", conv),
            part(
                *("input", "b", Identity(scale=weight())),
                pool=SumPool(kernel=(2, 2), stride=(5, 5)),
            ),
            part("a", "b", Dense(weight=weight(2, 4)), plasticity=rule),
        ),
        readout=Readout(
            connections=(part("a", "readout", Dense(weight=weight(3, 4))),),
            bias=np.array([1, -2, 3], number),
            weights=np.array([1, 2], number),
        ),
        steps=2,
        provenance={"from": "tests", "nested": {"list": [1, 2.5, None, "x"]}},
    )


def with_rule(net: Network, **fields: Any) -> Network:
    rule = net.connections[3].plasticity
    assert rule is not None
    return with_connection(net, 3, plasticity=dataclasses.replace(rule, **fields))


def with_connection(net: Network, n: int, **fields: Any) -> Network:
    changed = list(net.connections)
    changed[n] = dataclasses.replace(changed[n], **fields)
    return dataclasses.replace(net, connections=tuple(changed))


def with_conv(net: Network, **fields: Any) -> Network:
    operator: Any = net.connections[0].operator
    return with_connection(net, 0, operator=dataclasses.replace(operator, **fields))


def with_pool(net: Network, **fields: Any) -> Network:
    pool: Any = net.connections[2].pool
    return with_connection(net, 2, pool=dataclasses.replace(pool, **fields))


def with_input(net: Network, **fields: Any) -> Network:
    return dataclasses.replace(net, input=dataclasses.replace(net.input, **fields))


def with_readout(net: Network, **fields: Any) -> Network:
    return dataclasses.replace(net, readout=dataclasses.replace(net.readout, **fields))


def with_readout_connection(net: Network, **fields: Any) -> Network:
    (c,) = net.readout.connections
    return with_readout(net, connections=(dataclasses.replace(c, **fields),))


def with_population(net: Network, name: str, **fields: Any) -> Network:
    population = dataclasses.replace(net.populations[name], **fields)
    return dataclasses.replace(net, populations={**net.populations, name: population})


def with_neuron(net: Network, **fields: Any) -> Network:
    return with_population(
        net, "a", neuron=dataclasses.replace(net.populations["a"].neuron, **fields)
    )


def with_another_input_name(net: Network) -> Network:
    connections = tuple(
        dataclasses.replace(c, sources=("other",)) if c.sources == ("input",) else c
        for c in net.connections
    )
    source = dataclasses.replace(net.input, name="other")
    return dataclasses.replace(net, input=source, connections=connections)


def with_another_readout_name(net: Network) -> Network:
    (c,) = net.readout.connections
    return with_readout(net, name="other", connections=(dataclasses.replace(c, target="other"),))


def with_another_order(net: Network) -> Network:
    return dataclasses.replace(net, populations=dict(list(net.populations.items())[::-1]))


def with_more_steps(net: Network) -> Network:
    """T and the time weights have to change at once."""
    weights = np.append(net.readout.weights, net.readout.weights[:1])
    readout = dataclasses.replace(net.readout, weights=weights)
    return dataclasses.replace(net, readout=readout, steps=net.steps + 1)


def weights_like(net: Network, *shape: int) -> Any:
    """Weights of the network's kind."""
    return np.full(shape, 2, np.int8 if net.kind == "integer" else np.float64)


NETWORK_CHANGES: dict[str, Change] = {
    "input": lambda n: with_input(n, mean=0.75),
    "populations": with_another_order,
    "connections": lambda n: dataclasses.replace(n, connections=n.connections[::-1]),
    "readout": lambda n: with_readout(n, bias=n.readout.bias[::-1]),
    "steps": with_more_steps,
    "provenance": lambda n: dataclasses.replace(n, provenance={"from": "elsewhere"}),
}

CHANGES: dict[str, Change] = {
    **{f"FloatNetwork.{name}": change for name, change in NETWORK_CHANGES.items()},
    **{f"IntegerNetwork.{name}": change for name, change in NETWORK_CHANGES.items()},
    "Input.shape": lambda n: with_input(n, shape=(2, 5, 4)),
    "Input.encoding": lambda n: with_input(n, encoding="frames"),
    "Input.name": with_another_input_name,
    "Input.mean": lambda n: with_input(n, mean=np.full((2, 1, 1), 0.5)),
    "Input.std": lambda n: with_input(n, std=3.0),
    "Input.scale": lambda n: with_input(n, scale=0.25),
    "Population.shape": lambda n: with_population(n, "alone", shape=(3,)),
    "Population.neuron": lambda n: with_neuron(n, fire_once=True),
    "Readout.connections": lambda n: with_readout(n, connections=n.readout.connections * 2),
    "Readout.bias": lambda n: with_readout(n, bias=n.readout.bias + n.readout.bias),
    "Readout.weights": lambda n: with_readout(n, weights=n.readout.weights + n.readout.weights),
    "Readout.name": with_another_readout_name,
    "Readout.state_shift": lambda n: with_readout(n, state_shift=5),
    "Readout.scale": lambda n: with_readout(n, scale=0.5),
    "Connection.sources": lambda n: with_readout_connection(n, sources=("a", "twin")),
    "Connection.target": lambda n: with_connection(n, 0, target="twin"),
    "Connection.operator": lambda n: with_connection(
        n, 0, operator=Dense(weight=weights_like(n, 4, 32))
    ),
    "Connection.pool": lambda n: with_connection(
        n, 2, pool=None, operator=Conv2d(weight=weights_like(n, 2, 2, 4, 4))
    ),
    "Connection.delay": lambda n: with_connection(n, 0, delay=1),
    "Connection.exponent": lambda n: with_connection(n, 0, exponent=2),
    "Connection.bits": lambda n: with_connection(n, 0, bits=5),
    "Connection.plasticity": lambda n: with_connection(n, 3, plasticity=None),
    **{
        f"Plasticity.{field}": partial(with_rule, **{field: value})
        for field, value in {
            "eta": -3,
            "eta_shift": 2,
            "theta": 5,
            "k": 2,
            "eps": 0,
            "toward": "trained",
            "pre_decay": 1,
            "post_decay": 1,
            "activity": "signed",
            "trace_shift": 5,
            "fine_bits": 7,
            "low": -100,
            "high": 100,
            "update": "sample",
            "keep_weights": True,
            "keep_activity": True,
        }.items()
    },
    "SumPool.kernel": lambda n: with_pool(n, kernel=(3, 1)),
    "SumPool.stride": lambda n: with_pool(n, stride=(3, 4)),
    "SumPool.padding": lambda n: with_pool(n, padding=(0, 1)),
    "SumPool.dilation": lambda n: with_pool(n, dilation=(2, 3)),
    "SumPool.then": lambda n: with_pool(n, then=SumPool(kernel=(1, 1), stride=(1, 1))),
    "Conv2d.weight": lambda n: with_conv(n, weight=n.connections[0].operator.weight[::-1]),
    "Conv2d.stride": lambda n: with_conv(n, stride=(5, 6)),
    "Conv2d.padding": lambda n: with_conv(n, padding=(0, 1)),
    "Conv2d.dilation": lambda n: with_conv(n, dilation=(1, 2)),
    "Conv2d.groups": lambda n: with_conv(
        n, groups=2, weight=n.connections[0].operator.weight[:, :1]
    ),
    "Dense.weight": lambda n: with_readout_connection(
        n, operator=Dense(weight=weights_like(n, 3, 4))
    ),
    "Identity.scale": lambda n: with_connection(
        n, 2, operator=Identity(scale=weights_like(n, 2, 1, 1))
    ),
    **{
        f"Neuron.{field}": partial(with_neuron, **{field: value})
        for field, value in {**FLOAT_CHANGES, **SCHEDULE, "gains": (0.5, 2.0)}.items()
    },
    **{
        f"FixedPointNeuron.{field}": partial(with_neuron, **{field: value})
        for field, value in {
            **FIXED_CHANGES,
            **SCHEDULE,
            "gains": (2048, 8192),
            "state_bits": 20,
        }.items()
    },
}
"""By "Class.field"."""

FLOAT_ONLY = ("FloatNetwork.", "Neuron.")
INTEGER_ONLY = (
    *("IntegerNetwork.", "FixedPointNeuron.", "Plasticity."),
    *("Input.scale", "Connection.exponent", "Connection.plasticity"),
)


def applicable_changes() -> Iterator[Any]:
    """Parameters (kind, change) for pytest; the id ends with the field."""
    for name, change in CHANGES.items():
        for kind in ("float", "integer"):
            if not name.startswith(INTEGER_ONLY if kind == "float" else FLOAT_ONLY):
                yield pytest.param(kind, change, id=f"{kind}-{name}")
