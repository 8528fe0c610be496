"""What constructions are made of: one draft in whole numbers, a network of either number type.

A draft states weights, thresholds and potentials as whole numbers of state units. As an integer
network it has just these; as a float network the unit is :data:`UNIT`, a power of two, so that
every number of it is exact in float64 and no order of addition changes a sum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.network import (
    Connection,
    Dense,
    FixedPointNeuron,
    FloatNetwork,
    Identity,
    Input,
    IntegerNetwork,
    Network,
    Neuron,
    Population,
    Readout,
)
from trispike.network.fixed_point import DECAY_ONE

Array: TypeAlias = npt.NDArray[Any]
Kind: TypeAlias = Literal["float", "integer"]
Traces: TypeAlias = Mapping[str, Array]

UNIT = 1 / 64
"""Value of one state unit in a float network."""

WEIGHT = 64
"""Weight of a spike that alone takes a neuron to :data:`THRESHOLD`."""

THRESHOLD = 64
"""Threshold of neurons that pass on what they get, in state units."""

DOUBLE, KEEP, HALF, QUARTER = 2 * DECAY_ONE, DECAY_ONE, DECAY_ONE // 2, DECAY_ONE // 4
"""The factors 2 (of gains only), 1, 1/2 and 1/4."""

_FACTORS = ("a_pos", "a_neg", "b_pos", "b_neg", "k", "gains")
_POTENTIALS = ("bias", "th_pos", "th_neg", "floor", "v_init")
_INTEGER_ONLY = ("state_bits", "state_shift")


@dataclass(frozen=True, kw_only=True, eq=False)
class Exact:
    """A network, data, and everything that the network must yield for them."""

    network: Network
    inputs: Array
    """Raw data, as ``network.input.encode`` takes them."""
    expected: Mapping[str, Traces]
    """``expected[population][trace]``: (N, T, *shape), some of the traces s, i, c and v."""
    step_logits: Array
    """(N, T, classes)."""

    @property
    def logits(self) -> Array:
        """(N, classes): every step's contribution times the step's weight."""
        weights = self.network.readout.weights
        return np.asarray((self.step_logits * weights[:, None]).sum(axis=1))


@dataclass(frozen=True, kw_only=True)
class Construction:
    """A construction by name; :meth:`build` makes its network and its answer."""

    name: str
    """What it is called on the command line."""
    proves: str
    """What an engine can do that yields the expected values."""
    make: Callable[[Kind], Exact]
    kinds: tuple[Kind, ...] = ("float", "integer")
    """Number types in which it exists."""

    def build(self, kind: Kind) -> Exact:
        """The network and its answer, in one number type."""
        return self.make(kind)


class Draft:
    """Collects the parts of a network that is stated in whole state units.

    Args:
        kind: Number type of the network that it becomes.
        inputs: Raw data: (N, T, *shape), or (N, *shape) with ``steps``.
        encoding: Of the input; by default spikes, which are used as they are.
        steps: T, where the data do not have a time axis.
        settings: More fields of :class:`~trispike.network.Input`.
    """

    def __init__(
        self,
        kind: Kind,
        inputs: Any,
        *,
        encoding: Any = "spikes",
        steps: int | None = None,
        **settings: Any,
    ) -> None:
        self.kind: Kind = kind
        self.inputs = np.asarray(inputs)
        self.steps = steps or self.inputs.shape[1]
        shape = self.inputs.shape[1 if steps else 2 :]
        scale = settings.pop("scale", 1.0) if kind == "integer" else None
        settings.pop("scale", None)
        self.input = Input(shape=shape, encoding=encoding, scale=scale, **settings)
        self._populations: dict[str, Population] = {}
        self._shifts: dict[str, int] = {}
        self._connections: list[Connection] = []

    def populate(self, name: str, shape: tuple[int, ...], **neuron: Any) -> None:
        """Add a population.

        Args:
            name: Of the population.
            shape: Of the population.
            neuron: Fields of :class:`~trispike.network.FixedPointNeuron`, thresholds absent where
                the neuron never fires; ``b`` is short for equal b_pos and b_neg, and
                ``state_shift`` is 0 unless given.
        """
        if "b" in neuron:
            neuron["b_pos"] = neuron["b_neg"] = neuron.pop("b")
        neuron.setdefault("state_shift", 0)
        self._shifts[name] = neuron["state_shift"]
        made = FixedPointNeuron(**neuron) if self.kind == "integer" else _float_neuron(neuron)
        self._populations[name] = Population(shape=shape, neuron=made)

    def connect(
        self, sources: str | Sequence[str], target: str, operator: Any, **options: Any
    ) -> None:
        """Add a connection to a population, with an operator in integers."""
        connection = _connection(sources, target, operator, options)
        self._connections.append(self._in_units(connection, self._shifts[target], UNIT))

    def relay(
        self,
        source: str,
        name: str,
        shape: tuple[int, ...],
        *,
        ternary: bool = True,
        delay: int = 0,
    ) -> None:
        """Add a population that passes on, in the same step, the spikes that reach it."""
        both = {"th_neg": THRESHOLD} if ternary else {}
        self.populate(name, shape, th_pos=THRESHOLD, **both)
        self.connect(source, name, Identity(scale=np.array(WEIGHT)), delay=delay)

    def exact(self, expected: Mapping[str, Traces]) -> Exact:
        """The network and its answer, each neuron of which is read as a class of its own.

        Args:
            expected: Of every population at least the spikes s; i, c and v in state units.
        """
        sizes = {name: population.size for name, population in self._populations.items()}
        eye = np.eye(sum(sizes.values()), dtype=np.int8)
        starts = np.cumsum([0, *sizes.values()])
        connections = [
            _connection(name, "readout", Dense(weight=eye[:, first : first + size]), {})
            for first, (name, size) in zip(starts, sizes.items(), strict=False)
        ]
        samples = self.inputs.shape[0]
        fired = [expected[name]["s"].reshape(samples, self.steps, -1) for name in sizes]
        return self.exact_readout(expected, connections, np.concatenate(fired, axis=2))

    def exact_readout(
        self,
        expected: Mapping[str, Traces],
        connections: Sequence[Connection],
        step_logits: Array,
        *,
        bias: Any = 0,
        weights: Any = 1,
        shift: int = 0,
    ) -> Exact:
        """The network and its answer, with a readout of its own.

        Args:
            expected: As in :meth:`exact`.
            connections: Into "readout", with operators in integers.
            step_logits: (N, T, classes).
            bias: Of each class, or of all.
            weights: Of each time step, or of all.
            shift: The readout's ``state_shift``.
        """
        number = np.int64 if self.kind == "integer" else np.float64
        readout = Readout(
            connections=tuple(self._in_units(c, shift, 1.0) for c in connections),
            bias=np.broadcast_to(bias, step_logits.shape[-1]).astype(number),
            weights=np.broadcast_to(weights, self.steps).astype(number),
            state_shift=shift if self.kind == "integer" else 0,
        )
        network_type = IntegerNetwork if self.kind == "integer" else FloatNetwork
        network = network_type(
            input=self.input,
            populations=self._populations,
            connections=tuple(self._connections),
            readout=readout,
            steps=self.steps,
        )
        answer = {
            name: {trace: self._answer(trace, values) for trace, values in traces.items()}
            for name, traces in expected.items()
        }
        return Exact(
            network=network,
            inputs=self.inputs,
            expected=answer,
            step_logits=np.asarray(step_logits).astype(number),
        )

    def _in_units(self, connection: Connection, shift: int, unit: float) -> Connection:
        if self.kind == "integer":
            return connection
        operator: Any = connection.operator
        field = "scale" if isinstance(operator, Identity) else "weight"
        weight = operator.weight * (unit * 2.0 ** (shift + connection.exponent))
        return replace(connection, operator=replace(operator, **{field: weight}), exponent=0)

    def _answer(self, trace: str, values: Array) -> Array:
        if trace == "s":
            return np.asarray(values).astype(np.int8)
        if self.kind == "integer":
            return np.asarray(values).astype(np.int64)
        return np.asarray(values) * UNIT


def _float_neuron(neuron: Mapping[str, Any]) -> Neuron:
    fields = {name: value for name, value in neuron.items() if name not in _INTEGER_ONLY}
    for names, unit in ((_FACTORS, 1 / DECAY_ONE), (_POTENTIALS, UNIT)):
        fields |= {name: np.asarray(fields[name]) * unit for name in names if name in fields}
    fields.setdefault("th_pos", np.inf)
    return Neuron(**fields)


def _connection(
    sources: str | Sequence[str], target: str, operator: Any, options: Mapping[str, Any]
) -> Connection:
    names = (sources,) if isinstance(sources, str) else tuple(sources)
    return Connection(sources=names, target=target, operator=operator, **options)


def to_readout(sources: str | Sequence[str], operator: Any, **options: Any) -> Connection:
    """A connection into the readout, with an operator in integers."""
    return _connection(sources, "readout", operator, options)


def trains(*lines: str) -> Array:
    """Spike trains as text: (lines, steps), ``+`` is 1, ``-`` is -1, ``.`` is 0."""
    return np.array([[{"+": 1, "-": -1, ".": 0}[mark] for mark in line] for line in lines])


def delayed(x: Array, steps: int) -> Array:
    """(N, T, ...) so many steps later, silence before."""
    result = np.zeros_like(x)
    if steps < x.shape[1]:
        result[:, steps:] = x[:, : x.shape[1] - steps]
    return result


def halved(values: Any, times: Any, kind: Kind) -> Array:
    """Values in units, so often halved: exact in float, toward zero each time in integers.

    Rounding every single half toward zero is a shift of the magnitude: what is cut off once more
    is cut off at once.
    """
    values, times = np.asarray(values), np.asarray(times)
    if kind == "float":
        return np.asarray(values / 2.0**times)
    return np.asarray(np.sign(values) * (np.abs(values) >> times))
