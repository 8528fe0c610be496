"""One time step of a network as nodes: what all forms of a graph are made of."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from trispike.export.onnx.currents import Currents
from trispike.export.onnx.neurons import (
    Functions,
    Structure,
    parameter_values,
    schedule_tables,
    state_dtype,
    structure_of,
)
from trispike.export.onnx.nodes import Nodes, element_type
from trispike.export.onnx.numbers import (
    INT8,
    INT32,
    INT64,
    Array,
    DType,
    Numbers,
    Value,
    largest_row,
    pooled_bound,
)
from trispike.network import Connection, Network
from trispike.network.connection import Shape
from trispike.network.network import PAYLOAD_LIMIT
from trispike.network.schedules import scheduled_fields

LOGITS = "logits"
"""State in which the logits add up."""


class StateTensor(NamedTuple):
    """A tensor that is kept from one time step to the next."""

    name: str
    """``population.v``, ``population.spikes.delay1``, or ``logits``."""
    dtype: DType
    """Type of its elements."""
    shape: Shape
    """Of one sample."""
    initial: Array
    """Value before the first step; broadcasts to the shape."""


@dataclass(slots=True)
class StepOutputs:
    """What the nodes of one step put out."""

    states: dict[str, str]
    """Tensor that holds the next value of each state."""
    step_logits: str = ""
    """(N, classes): the step's contribution before its time weight."""
    spikes: dict[str, str] = field(default_factory=dict)
    """By population: (N, *shape)."""
    observed: dict[str, str] = field(default_factory=dict)
    """``population.i``, ``.c``, ``.v``, ``.s``, (N, *shape); ``.received``, (N,); and, over the
    batch, the scalar ``.saturations``, and ``.inputs``, ``.fired`` and ``.net``, (*shape)."""


class StepBuilder:
    """Adds the nodes of time steps.

    Args:
        network: The network.
        numbers: Types of the graph.
        functions: Where the neurons' functions are collected.
        observe: What to put out beside logits and states, by population: "s", "i", "c", "v",
            "counts" for what a ledger needs, and "received": how many neurons received something.
    """

    def __init__(
        self,
        network: Network,
        numbers: Numbers,
        functions: Functions,
        observe: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        self.network = network
        self.numbers = numbers
        self._functions = functions
        self._observe = observe or {}
        self._rows = {label: largest_row(c.operator) for label, c in network.labelled()}
        self._bounds = {network.input.name: PAYLOAD_LIMIT} | dict.fromkeys(network.populations, 1)

    @property
    def is_scheduled(self) -> bool:
        """Whether what a step does depends on its index."""
        populations = self.network.populations.values()
        return any(scheduled_fields(population.neuron) for population in populations)

    def _currents(self, nodes: Nodes) -> Currents:
        return Currents(nodes, self.numbers, self._rows)

    def payload(self, source: str, tensor: str) -> Value:
        """A tensor of the input's values or of a population's spikes."""
        bound = self._bounds[source] if self.numbers.integer else None
        return Value(tensor, self.numbers.payload, bound)

    def hoisted(self) -> dict[str, Connection]:
        """Connections whose current is the same at every step: they read a static input only."""
        if self.network.input.encoding != "direct":
            return {}
        name = self.network.input.name
        return {
            label: c for label, c in self.network.labelled() if c.sources == (name,) and not c.delay
        }

    def arriving(self, nodes: Nodes, label: str, connection: Connection, frame: str) -> Value:
        """Current of a connection that reads the input of the same step only."""
        value = self.payload(self.network.input.name, frame)
        shape = self.network.source_shape(connection)
        return self._currents(nodes).current(connection, label, [value], shape)

    def states(self) -> list[StateTensor]:
        """Everything that is kept from step to step."""
        kept: list[StateTensor] = []
        for name in self.network.order:
            population = self.network.populations[name]
            structure = structure_of(population, self.numbers, self._current_dtype(name))
            for state in structure.states:
                initial = population.neuron.v_init if state == "v" else np.zeros(())
                dtype = state_dtype(structure, state)
                kept.append(StateTensor(f"{name}.{state}", dtype, population.shape, initial))
        for source, delay in self._delays().items():
            for steps in range(1, delay + 1):
                label, shape = _delayed(source, steps), self.network.shape_of(source)
                kept.append(StateTensor(label, self.numbers.payload, shape, np.zeros(())))
        classes = (self.network.readout.classes,)
        kept.append(StateTensor(LOGITS, self.numbers.logits, classes, np.zeros(())))
        return kept

    def add(
        self,
        nodes: Nodes,
        frame: str,
        states: Mapping[str, str],
        time_weight: str,
        hoisted: Mapping[str, Value],
        moment: str = "",
    ) -> StepOutputs:
        """Add one time step.

        Args:
            nodes: Where to.
            frame: Tensor of the input at this step, (N, *shape).
            states: Tensors that hold the states.
            time_weight: Scalar tensor: weight of this step's contribution to the logits.
            hoisted: Currents that have been computed already, by label.
            moment: Scalar tensor: index of the step, T after the end; needed if
                :attr:`is_scheduled`.
        """
        network = self.network
        now = {network.input.name: self.payload(network.input.name, frame)}
        out = StepOutputs(states={})
        for name in network.order:
            current = self._target(nodes, name, now, states, hoisted)
            now[name] = self._population(nodes, name, current, states, moment, out)
            out.spikes[name] = now[name].name
        for source, delay in self._delays().items():
            for steps in range(1, delay + 1):
                before = now[source].name if steps == 1 else states[_delayed(source, steps - 1)]
                out.states[_delayed(source, steps)] = before
        self._readout(nodes, now, states, time_weight, hoisted, out)
        return out

    def _delays(self) -> dict[str, int]:
        """By source: the longest delay with which it is read, if there is any."""
        longest: dict[str, int] = {}
        for connection in self.network.all_connections:
            for source in connection.sources if connection.delay else ():
                longest[source] = max(longest.get(source, 0), connection.delay)
        return longest

    def _current_dtype(self, target: str) -> DType:
        """Type of the sum of what all connections deliver to a population."""
        bounds = [
            (pooled_bound(c.pool, sum(self._bounds[s] for s in c.sources)) or 0) * self._rows[label]
            << c.exponent
            for label, c in self.network.labelled()
            if c.target == target
        ]
        if not bounds or not self.numbers.integer:
            return self.numbers.payload
        return self.numbers.sum_dtype(f"population {target!r}", sum(bounds))

    def _target(
        self,
        nodes: Nodes,
        target: str,
        now: Mapping[str, Value],
        states: Mapping[str, str],
        hoisted: Mapping[str, Value],
    ) -> Value:
        """Sum of what all connections deliver to a population or the readout."""
        network, currents = self.network, self._currents(nodes)
        arriving: list[Value] = []
        for label, c in network.labelled():
            if c.target != target:
                continue
            value = hoisted.get(label)
            if value is None:
                sources = [
                    self.payload(s, states[_delayed(s, c.delay)]) if c.delay else now[s]
                    for s in c.sources
                ]
                value = currents.current(c, label, sources, network.source_shape(c))
            arriving.append(self._fitted(currents, value, label, c))
        if arriving:
            return currents.total(arriving, f"{target}.current")
        return self._nothing(nodes, target, states[LOGITS])

    def _fitted(self, currents: Currents, value: Value, label: str, c: Connection) -> Value:
        """Brings a flat output into the rows and columns of its target, or the reverse."""
        network = self.network
        wanted = network.shape_of(c.target)
        if c.output_shape(network.source_shape(c)) == wanted:
            return value
        return currents.reshaped(value, wanted, f"{label}.reshaped")

    def _nothing(self, nodes: Nodes, target: str, like: str) -> Value:
        """Zeros for a population that nothing is connected to."""
        shape = np.array(self.network.populations[target].shape)
        batch = nodes.op("Shape", like, name=f"{target}.batch", start=0, end=1)
        sizes = nodes.constant(shape, INT64, f"{target}.shape")
        whole = nodes.op("Concat", batch, sizes, name=f"{target}.sizes", axis=0)
        zero = nodes.constant(0, self.numbers.payload, "zero")
        return self.payload(target, nodes.op("Expand", zero, whole, name=f"{target}.current"))

    def _population(
        self,
        nodes: Nodes,
        name: str,
        current: Value,
        states: Mapping[str, str],
        moment: str,
        out: StepOutputs,
    ) -> Value:
        population, wanted = self.network.populations[name], self._observe.get(name, ())
        structure = structure_of(
            population, self.numbers, current.dtype, observed=bool(set(wanted) - {"s"})
        )
        parameters = [
            nodes.constant(value, dtype, f"{name}.{parameter}")
            for parameter, (value, dtype) in parameter_values(population.neuron, structure).items()
        ]
        tables = schedule_tables(population.neuron, structure, self.network.steps)
        for parameter, (value, dtype) in tables.items():
            table = nodes.constant(value, dtype, f"{name}.{parameter}s")
            label = f"{name}.{parameter}"
            parameters.append(nodes.op("Gather", table, moment, name=label, axis=0))
        results = nodes.call(
            self._functions.name(structure),
            [current.name, *(states[f"{name}.{s}"] for s in structure.states), *parameters],
            structure.outputs,
            name=name,
        )
        by_output = dict(zip(structure.outputs, results, strict=True))
        out.states |= {f"{name}.{s}": by_output[f"{s}_next"] for s in structure.states}
        self._observed(nodes, name, current, by_output, structure, out)
        return self.payload(name, by_output["spikes"])

    def _observed(
        self,
        nodes: Nodes,
        name: str,
        current: Value,
        outputs: Mapping[str, str],
        structure: Structure,
        out: StepOutputs,
    ) -> None:
        for what in self._observe.get(name, ()):
            key = f"{name}.{what}"
            if what == "s":
                out.observed[key] = nodes.op(
                    "Cast", outputs["spikes"], name=key, to=element_type(INT8)
                )
            elif what == "counts":
                out.observed[f"{name}.saturations"] = outputs["saturations"]
                self._counted(nodes, name, current, outputs["spikes"], out)
            elif what == "received":
                present = self._present(nodes, name, current)
                axes = nodes.constant(
                    range(1, 1 + len(self.network.populations[name].shape)), INT64, "axes_neurons"
                )
                total = nodes.op("ReduceSum", present, axes, name=key, keepdims=0)
                out.observed[key] = nodes.cast(total, INT32)
            else:
                wide = INT64 if self.numbers.integer else structure.dtype
                now = outputs[f"{what}_now"]
                out.observed[key] = nodes.op("Cast", now, name=key, to=element_type(wide))

    def _counted(
        self, nodes: Nodes, name: str, current: Value, spikes: str, out: StepOutputs
    ) -> None:
        """Per neuron, over the batch: how often it received something, and its spikes."""
        batch = nodes.constant([0], INT64, "axis_0")
        # Bytes cannot be added everywhere, and 64-bit integers are slow.
        if self.numbers.payload == INT8:
            spikes = nodes.cast(spikes, INT32)
        for what, values in (
            ("inputs", self._present(nodes, name, current)),
            ("fired", nodes.op("Abs", spikes, name=f"{name}.magnitude")),
            ("net", spikes),
        ):
            total = nodes.op("ReduceSum", values, batch, name=f"{name}.{what}", keepdims=0)
            out.observed[f"{name}.{what}"] = nodes.cast(total, INT32)

    def _present(self, nodes: Nodes, name: str, current: Value) -> str:
        """1 where a neuron received something, else 0."""
        if current.dtype == INT8:  # bytes cannot be added everywhere
            current = self._currents(nodes).cast(current, INT32)
        amount = nodes.op("Abs", current.name, name=f"{name}.amount")
        return nodes.op("Sign", amount, name=f"{name}.present")

    def _readout(
        self,
        nodes: Nodes,
        now: Mapping[str, Value],
        states: Mapping[str, str],
        time_weight: str,
        hoisted: Mapping[str, Value],
        out: StepOutputs,
    ) -> None:
        readout, numbers = self.network.readout, self.numbers
        currents = self._currents(nodes)
        total = self._target(nodes, readout.name, now, states, hoisted)
        if readout.state_shift:
            total = currents.scaled(total, 1 << readout.state_shift, readout.name)
        bias = readout.bias
        bound = None if total.bound is None else total.bound + int(np.abs(bias).max())
        dtype = numbers.sum_dtype(f"readout {readout.name!r}", bound)
        wide = currents.cast(total, dtype)
        stored = nodes.constant(bias, dtype, f"{readout.name}.bias")
        name = nodes.op("Add", wide.name, stored, name=f"{readout.name}.sum")
        logits = currents.cast(Value(name, dtype, bound), numbers.logits)
        out.step_logits = logits.name
        weighted = nodes.op("Mul", logits.name, time_weight, name=f"{readout.name}.weighted")
        out.states[LOGITS] = nodes.op("Add", states[LOGITS], weighted, name=f"{LOGITS}.sum")


def _delayed(source: str, steps: int) -> str:
    return f"{source}.delay{steps}"
