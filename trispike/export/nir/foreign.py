"""Graphs of other tools, as float networks."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from trispike.errors import FileFormatError, InvalidSettingError, TrispikeError
from trispike.export import fold
from trispike.export.nir import dynamics
from trispike.export.nir.conventions import Convention
from trispike.export.nir.dynamics import INTEGRATORS, NEURONS, Membrane
from trispike.export.nir.fields import Fields
from trispike.export.nir.layout import compact
from trispike.export.nir.linear import LATE, LINEAR, apply, canonical, late, shaped
from trispike.export.nir.nodes import CTSN
from trispike.export.nir.own import neuron_of
from trispike.export.nir.package import nir
from trispike.export.nir.wiring import Wiring, flat
from trispike.network import (
    Connection,
    Dense,
    FloatNetwork,
    Identity,
    Input,
    Neuron,
    Population,
    Readout,
)
from trispike.network.connection import Shape
from trispike.network.network import Encoding

Array: TypeAlias = npt.NDArray[Any]
Summary: TypeAlias = Literal["mean", "sum", "last"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Integrated:
    """What an integrator yields: analog, so only a Threshold or the output may read it."""

    fields: Fields
    value: fold.Affine
    """What enters, times the gain; the drive is not in it."""
    state: Membrane


def from_foreign(
    graph: Any,
    *,
    convention: Convention,
    steps: int,
    encoding: Encoding = "frames",
    summary: Summary = "mean",
    name: str = "graph",
) -> FloatNetwork:
    """A float network that does what a graph means in a convention.

    Args:
        graph: An ``nir.NIRGraph``.
        convention: What its writer meant.
        steps: T; NIR does not say it.
        encoding: How data enter.
        summary: What becomes of the output's T values: their mean, sum, or the last one.
        name: Of the graph, for the provenance.

    Raises:
        FileFormatError: The graph is not consistent; the message names node and field.
        UnsupportedError: A node has no exact form here.
        InvalidSettingError: Something that the convention leaves open was not told.
    """
    if summary not in get_args(Summary):
        raise InvalidSettingError(
            "readout",
            got=repr(summary),
            expected="one of " + ", ".join(get_args(Summary)),
            fix="Choose one of these.",
        )
    building = _Building(wiring=flat(graph), convention=convention)
    entry = building.wiring.source
    fields = Fields(entry, building.wiring.nodes[entry])
    shape = canonical(fields.node.input_type["input"], fields, "input_type")
    building.names[entry] = building.plain_name(entry)
    building.values[entry] = fold.source(building.names[entry], shape)
    building.run()
    readout = building.readout(steps, summary)
    try:
        return FloatNetwork(
            input=Input(shape=shape, encoding=encoding, name=building.names[entry]),
            populations=building.populations,
            connections=tuple(building.connections),
            readout=readout,
            steps=steps,
            provenance={
                "nir": {
                    "graph": name,
                    "convention": convention.name,
                    "dt": convention.dt,
                    "readout": summary,
                    "caveat": convention.caveat,
                    "populations": {
                        new: old
                        for old, new in building.names.items()
                        if new in building.populations and new != building.always
                    },
                }
            },
        )
    except TrispikeError as error:
        raise FileFormatError(
            "graph",
            got=f"a network that is not valid ({error})",
            expected="a consistent graph",
            fix="Correct the graph where it was written.",
        ) from error


@dataclass
class _Building:
    """The network while it is being built."""

    wiring: Wiring
    convention: Convention
    names: dict[str, str] = field(default_factory=dict)
    """Node to the name of its population."""
    values: dict[str, fold.Affine | Integrated] = field(default_factory=dict)
    """What each node yields."""
    populations: dict[str, Population] = field(default_factory=dict)
    connections: list[Connection] = field(default_factory=list)
    always: str | None = None
    """Name of the population that fires at every step, if there is one."""

    def plain_name(self, node: str) -> str:
        """A name that a network may have, for a node."""
        plain = re.sub(r"[+>#/]", "_", node) or "node"
        taken = {*self.names.values(), "readout"}
        while plain in taken:
            plain += "_"
        return plain

    def run(self) -> None:
        """Find what every node yields, then what enters the populations."""
        order = [name for name in self.wiring.order() if name not in self.values]
        every = {name: Fields(name, self.wiring.nodes[name]) for name in order}
        spiking = {name: f for name, f in every.items() if _fires(f.node)}
        for name, fields in spiking.items():
            self.names[name] = self.plain_name(name)
            # What it yields does not depend on what enters, so that loops end here.
            if _states_shape(fields.node):
                self.values[name] = self._spikes(fields)
        for name, fields in every.items():
            if name in spiking:
                if name not in self.values:
                    self.values[name] = self._spikes(fields)
                self._check_shape(name)
            else:
                self.values[name] = self._yields(fields)
                fields.finish()
        for name, fields in spiking.items():
            self._check_shape(name)  # again, because in a loop not all had been known
            self._populate(name, fields)
            fields.finish()

    def _entering(self, name: str) -> fold.Affine:
        """The sum of what enters a node."""
        values = []
        for before in self.wiring.before[name]:
            value = self.values.get(before)
            if value is None:
                raise FileFormatError(
                    f"node {name!r}",
                    got=f"a loop through {before!r} without a population in it",
                    expected="a population, which has a state, in every loop",
                    fix="Correct the graph where it was written.",
                )
            if isinstance(value, Integrated):
                raise value.fields.refused(
                    f"an edge to {name!r}",
                    "an edge to a Threshold or to the Output: its values are analog",
                    "Put a neuron there, or merge it with the next one.",
                )
            values.append((before, value))
        total = values[0][1]
        for before, value in values[1:]:
            if value.shape != total.shape:
                raise FileFormatError(
                    f"node {name!r}",
                    got=f"shape {total.shape} from {values[0][0]!r}, {value.shape} from {before!r}",
                    expected="equal shapes",
                    fix="Correct the graph where it was written.",
                )
            total = fold.added(total, value, name)
        return total

    def _check_shape(self, name: str) -> None:
        """Refuse a population whose shape is not that of what is known to enter it."""
        shapes = [
            value.value.shape if isinstance(value, Integrated) else value.shape
            for value in (self.values.get(n) for n in (name, *self.wiring.before[name]))
            if value is not None
        ]
        for shape in shapes:
            if shape != shapes[0]:
                raise FileFormatError(
                    f"node {name!r}",
                    got=f"an input of shape {shape} for {shapes[0]} neurons",
                    expected="equal shapes",
                    fix="Flatten it, or correct the parameters' shapes.",
                )

    def _spikes(self, fields: Fields) -> fold.Affine:
        shape = self._shape(fields)
        source = fold.source(self.names[fields.name], shape)
        if isinstance(fields.node, CTSN) or not self.convention.output_delay:
            return source
        delayed = tuple(
            replace(p, sources=tuple(late(s, self.convention.output_delay) for s in p.sources))
            for p in source.paths
        )
        return replace(source, paths=delayed)

    def _shape(self, fields: Fields) -> Shape:
        node = fields.node
        if isinstance(node, CTSN):
            return canonical(node.th_pos.shape, fields, "th_pos")
        stated = dynamics.shape_of(node)
        if int(np.prod(stated)) > 1:
            return canonical(stated, fields, "v_threshold")
        # One number for all: as many neurons as values enter.
        for before in self.wiring.before[fields.name]:
            value = self.values.get(before)
            if value is not None:
                return value.value.shape if isinstance(value, Integrated) else value.shape
        if len(stated) == 1:
            return (1,)
        raise fields.bad("v_threshold", "one number, in a loop", "one value per neuron")

    def _yields(self, fields: Fields) -> fold.Affine | Integrated:
        node, name = fields.node, fields.name
        refusal = self.convention.refused.get(fields.kind)
        if refusal:
            raise fields.refused(
                f"convention {self.convention.name!r}", "another convention", f"{refusal}."
            )
        if isinstance(node, INTEGRATORS):
            value = self._entering(name)
            state = dynamics.membrane(fields, value.shape, self.convention)
            value = self._gained(value, state.gain, fields)
            return Integrated(fields=fields, value=value, state=state)
        if isinstance(node, nir.Input | nir.Output):
            before = self.wiring.before[name]
            if len(before) == 1 and isinstance(self.values.get(before[0]), Integrated):
                return self.values[before[0]]
            value = self._entering(name)
            port = "input" if isinstance(node, nir.Input) else "output"
            stated = getattr(node, f"{port}_type")[port]
            if stated is not None and canonical(stated, fields, f"{port}_type") != value.shape:
                raise fields.bad(f"{port}_type", str(tuple(stated)), f"{value.shape}, what enters")
            return value
        if type(node) not in LINEAR:
            raise fields.refused(
                f"the type {fields.kind}",
                "a standard node of NIR, or CTSN",
                "Have the writer use standard nodes.",
            )
        return apply(fields, self._entering(name), self.convention)

    def _gained(self, value: fold.Affine, gain: Array, fields: Fields) -> fold.Affine:
        return value if (gain == 1).all() else fold.scaled(value, compact(gain), fields.name)

    def _populate(self, name: str, fields: Fields) -> None:
        before = self.wiring.before[name]
        first = self.values.get(before[0])
        if isinstance(fields.node, nir.Threshold) and isinstance(first, Integrated):
            if len(before) > 1:
                raise fields.refused(
                    f"{len(before)} edges into it", "one, from the integrator", "Add before it."
                )
            value, state = first.value, first.state
        else:
            value, state = self._entering(name), None
        shape = self._spikes(fields).shape
        if isinstance(fields.node, nir.Threshold):
            neuron = self._threshold(fields, shape, value, state)
        elif isinstance(fields.node, CTSN):
            neuron = self._own(fields, value)
        else:
            neuron, value = self._neuron(fields, shape, value)
        target = self.names[name]
        self.populations[target] = Population(shape=shape, neuron=neuron)
        self.connections += _connections(value, target, self.convention.recurrent_delay)

    def _threshold(
        self, fields: Fields, shape: Shape, value: fold.Affine, state: Membrane | None
    ) -> Neuron:
        threshold = shaped(fields.array("threshold", infinite=True), shape, fields, "threshold")
        if (threshold <= 0).any():
            raise fields.bad("threshold", "a threshold that is not positive", "a positive one")
        b, k, drive = np.zeros(()), np.zeros(()), np.zeros(())
        if state is not None:
            b, k, drive = compact(state.b), compact(state.k), state.drive
        return Neuron(
            k=k,
            b_pos=b,
            b_neg=b,
            bias=self._direct(value, k, self.names[fields.name]) + drive,
            th_pos=threshold,
            reset="none",
            strict=self.convention.strict,
        )

    def _own(self, fields: Fields, value: fold.Affine) -> Neuron:
        for own in fields.node.__dataclass_fields__:
            fields.get(own)
        neuron = neuron_of(fields.node, fields.name)
        if not isinstance(neuron, Neuron):
            raise fields.refused(
                "fixed-point numbers",
                "float ones, or a complete graph of trispike",
                "Export the whole integer network with trispike.",
            )
        arrays: dict[str, Any] = neuron.array_fields()
        return Neuron(**{**arrays, **neuron.plain_fields(), "bias": neuron.bias + value.bias})

    def _neuron(
        self, fields: Fields, shape: Shape, value: fold.Affine
    ) -> tuple[Neuron, fold.Affine]:
        convention = self.convention
        refusal = convention.refused.get(fields.kind)
        if refusal:
            raise fields.refused(
                f"convention {convention.name!r}", "another convention", f"{refusal}."
            )
        where = f"node {fields.name!r} ({fields.kind})"
        reset = convention.require("reset", where)
        state = dynamics.membrane(fields, shape, convention)
        fires = dynamics.firing(fields, shape, convention, state.b)
        threshold, start = fires.threshold, fires.v_init
        drive = state.drive + fires.shift
        if dynamics.uniform(np.broadcast_to(state.gain, shape)):
            value = self._gained(value, state.gain, fields)
        elif (state.gain <= 0).any():
            raise fields.bad("r", "a gain that is not positive", "positive gains")
        else:
            # Weights shared by all positions cannot take it; dividing everything else can.
            gain = np.asarray(state.gain)
            threshold, start, drive = threshold / gain, start / gain, drive / gain
        floor: Array = np.full((), -np.inf)
        if isinstance(fields.node, nir.IF) and convention.require("if_floor", where) != "none":
            floor = -threshold
        if reset == "subtract-late":
            if np.any(state.k):
                raise fields.refused(
                    "a late soft reset with a synaptic current",
                    "a LIF or IF",
                    "The subtraction would pass through the current.",
                )
            target = self.names[fields.name]
            self.connections.append(
                Connection(
                    sources=(target,),
                    target=target,
                    operator=Identity(scale=compact(-np.asarray(threshold))),
                    delay=1,
                )
            )
        b = compact(state.b)
        bias = self._direct(value, state.k, self.names[fields.name])
        return (
            Neuron(
                k=compact(state.k),
                b_pos=b,
                b_neg=b,
                bias=compact(np.asarray(bias + drive)),
                th_pos=compact(np.asarray(threshold)),
                v_init=compact(np.asarray(start)),
                floor=compact(np.asarray(floor)),
                reset="none" if reset == "subtract-late" else reset,
                strict=convention.strict,
            ),
            value,
        )

    def _direct(self, value: fold.Affine, k: Array, target: str) -> Array:
        """The part of a value's bias that goes past the synaptic current, as a neuron's does.

        With a current, that is none of it: a neuron that fires at every step delivers it then.
        """
        if not np.any(k) or not np.any(value.bias):
            return value.bias
        if self.always is None:
            self.always = self.plain_name("always")
            self.names["\n"] = self.always  # no node has this name
            self.populations[self.always] = Population(
                shape=(1,), neuron=Neuron(bias=np.ones(()), th_pos=np.ones(()))
            )
        weight = np.broadcast_to(value.bias, value.shape).reshape(-1, 1)
        self.connections.append(
            Connection(sources=(self.always,), target=target, operator=Dense(weight=weight))
        )
        return np.zeros(())

    def readout(self, steps: int, summary: Summary) -> Readout:
        """The readout of the graph's output."""
        weights: Array = {
            "mean": np.full(steps, 1 / steps),
            "sum": np.ones(steps),
            "last": np.eye(steps)[-1],
        }[summary]
        output = self.values[self.wiring.sink]
        if isinstance(output, Integrated):
            # The sum over t of weights[t] * v[t], sorted by when the input came in.
            state, fields = output.state, output.fields
            response = dynamics.impulse_response(state, steps, fields)
            weights = np.array([float(weights[t:] @ response[: steps - t]) for t in range(steps)])
            if np.any(state.k) and np.any(state.drive):
                raise fields.bad("v_leak", "values that are not 0", "0, at the output of a CubaLI")
            output = fold.shifted(output.value, state.drive)
        output = fold.flattened(output)
        bias = np.broadcast_to(output.bias, output.shape)
        connections = _connections(output, "readout", 0)
        return Readout(connections=connections, bias=bias, weights=weights)


def _fires(node: Any) -> bool:
    return isinstance(node, (*NEURONS, nir.Threshold, CTSN))


def _states_shape(node: Any) -> bool:
    return isinstance(node, CTSN) or int(np.prod(dynamics.shape_of(node))) > 1


def _connections(value: fold.Affine, target: str, recurrent: int) -> tuple[Connection, ...]:
    """One connection per path and delay."""
    found = []
    for path in value.paths:
        by_delay: dict[int, list[str]] = {}
        for source in path.sources:
            name, _, steps = source.partition(LATE)
            delay = int(steps or 0)
            if name == target and not delay:
                delay = recurrent
            by_delay.setdefault(delay, []).append(name)
        found += [
            replace(replace(path, sources=tuple(names)).connection(target), delay=delay)
            for delay, names in by_delay.items()
        ]
    return tuple(found)
