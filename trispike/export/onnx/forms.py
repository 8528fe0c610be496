"""The three forms of a graph: one step, a loop over a sequence, the steps one after another."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import onnx
from onnx import helper

from trispike.export.onnx.neurons import Functions
from trispike.export.onnx.nodes import Constants, Names, Nodes, element_type
from trispike.export.onnx.numbers import INT8, INT32, INT64, DType, Numbers
from trispike.export.onnx.step import LOGITS, StateTensor, StepBuilder
from trispike.network import Network
from trispike.network.connection import Shape

Form: TypeAlias = Literal["step", "sequence", "unrolled"]
"""step: one time step, states in and out; sequence: a loop over any number of steps; unrolled:
the network's own number of steps, one after another."""

Dimension: TypeAlias = int | str

INPUT, WEIGHTS, STEP_LOGITS, TIME = "x", "time_weights", "step_logits", "t"
NEXT = ".next"


@dataclass(slots=True)
class Parts:
    """A graph before it becomes a model."""

    graph: onnx.GraphProto
    functions: list[onnx.FunctionProto]
    states: list[StateTensor] = field(default_factory=list)
    """Of the step form: inputs by these names, outputs with ``.next`` appended."""


def build_parts(
    network: Network,
    form: str,
    numbers: Numbers,
    observe: Mapping[str, Collection[str]] | None = None,
) -> Parts:
    """The graph of a network in one of the forms.

    Args:
        network: The network.
        form: Which.
        numbers: Types.
        observe: Sequence form: what to put out per population; see :class:`StepBuilder`.
    """
    functions = Functions()
    builder = StepBuilder(network, numbers, functions, observe)
    names = Names()
    for name in (INPUT, WEIGHTS, STEP_LOGITS, TIME, LOGITS):
        names.fresh(name)
    constants = Constants(names)
    parts = FORMS[form](builder, names, constants)
    parts.graph.initializer.extend(constants.tensors)
    parts.functions = functions.protos
    return parts


def _step(builder: StepBuilder, names: Names, constants: Constants) -> Parts:
    network, numbers = builder.network, builder.numbers
    states = builder.states()
    for state in states:
        names.fresh(state.name)
        names.fresh(state.name + NEXT)
    outputs = [names.fresh(f"{name}.spikes") for name in network.order]
    nodes = Nodes(names, constants)
    zero = nodes.constant(0, INT64, "zero_steps")
    first = nodes.op("Equal", TIME, zero, name="is_first")
    held = {}
    for state in states:
        held[state.name] = state.name
        if (state.initial != 0).any():
            start = nodes.constant(state.initial, state.dtype, f"{state.name}.initial")
            held[state.name] = nodes.op(
                "Where", first, start, state.name, name=f"{state.name}.held"
            )
    # After the last of its steps a network adds nothing to its logits.
    padded = np.concatenate([network.readout.weights, np.zeros(1, network.readout.weights.dtype)])
    weights = nodes.constant(padded, numbers.logits, WEIGHTS)
    end = nodes.constant(network.steps, INT64, "steps")
    index = nodes.op("Min", TIME, end, name="t_or_end")
    weight = nodes.op("Gather", weights, index, name="time_weight", axis=0)
    step = builder.add(nodes, INPUT, held, weight, {}, index)
    results = {f"{s.name}{NEXT}": step.states[s.name] for s in states if s.name != LOGITS}
    results |= {STEP_LOGITS: step.step_logits, f"{LOGITS}{NEXT}": step.states[LOGITS]}
    results |= dict(zip(outputs, (step.spikes[n] for n in network.order), strict=True))
    one = nodes.constant(1, INT64, "one_step")
    results[TIME + NEXT] = nodes.op("Add", TIME, one, name="t_plus_1")
    _name_outputs(nodes, results)
    tensors = [_info(s.name, s.dtype, ("N", *s.shape)) for s in states]
    after = [_info(s.name + NEXT, s.dtype, ("N", *s.shape)) for s in states]
    spikes = [
        _info(output, numbers.payload, ("N", *network.populations[name].shape))
        for output, name in zip(outputs, network.order, strict=True)
    ]
    logits = _info(STEP_LOGITS, numbers.logits, ("N", network.readout.classes))
    x = _info(INPUT, numbers.payload, ("N", *network.input.shape))
    graph = helper.make_graph(
        nodes.nodes,
        "step",
        [x, _info(TIME, INT64, ()), *tensors],
        [logits, *spikes, _info(TIME + NEXT, INT64, ()), *after],
    )
    return Parts(graph, [], states)


def _unrolled(builder: StepBuilder, names: Names, constants: Constants) -> Parts:
    network, numbers = builder.network, builder.numbers
    nodes = Nodes(names, constants)
    static = network.input.encoding == "direct"
    hoisted = {
        label: builder.arriving(nodes, label, c, INPUT) for label, c in builder.hoisted().items()
    }
    held = _initial(nodes, builder.states())
    step_logits = []
    for t in range(network.steps):
        inside = Nodes(names, constants, prefix=f"t{t}/")
        frame = INPUT
        if not static:
            index = inside.constant(t, INT64, f"step_{t}")
            frame = inside.op("Gather", INPUT, index, name="frame", axis=1)
        weight = inside.constant(network.readout.weights[t], numbers.logits, f"time_weight_{t}")
        moment = inside.constant(t, INT64, f"step_{t}") if builder.is_scheduled else ""
        step = builder.add(inside, frame, held, weight, hoisted, moment)
        held = step.states
        step_logits.append(step.step_logits)
        nodes.nodes += inside.nodes
    axis = nodes.constant([1], INT64, "axis_1")
    columns = [nodes.op("Unsqueeze", s, axis, name=f"{STEP_LOGITS}.t") for s in step_logits]
    stacked = nodes.op("Concat", *columns, name=f"{STEP_LOGITS}.all", axis=1)
    _name_outputs(nodes, {LOGITS: held[LOGITS], STEP_LOGITS: stacked})
    shape: tuple[Dimension, ...] = ("N", *network.input.encoded_shape(network.steps))
    graph = helper.make_graph(
        nodes.nodes,
        "unrolled",
        [_info(INPUT, numbers.payload, shape)],
        _logits(builder, network.steps),
    )
    return Parts(graph, [])


def _sequence(builder: StepBuilder, names: Names, constants: Constants) -> Parts:
    network, numbers = builder.network, builder.numbers
    nodes = Nodes(names, constants)
    static = network.input.encoding == "direct"
    hoisted = {
        label: builder.arriving(nodes, label, c, INPUT) for label, c in builder.hoisted().items()
    }
    states = builder.states()
    start = _initial(nodes, states)
    inside = Nodes(names, constants, prefix="step/")
    held = {s.name: names.fresh(f"step/{s.name}") for s in states}
    weight = names.fresh("step/time_weight")
    frame = INPUT if static else names.fresh("step/x")
    moment = names.fresh("step/t") if builder.is_scheduled else ""
    step = builder.add(inside, frame, held, weight, hoisted, moment)
    scanned = {STEP_LOGITS: step.step_logits, **step.observed}
    wanted = [*(step.states[s.name] for s in states), *scanned.values()]
    results = _own_tensors(inside, wanted)
    after, collected = results[: len(states)], results[len(states) :]
    weight_info = _info(weight, numbers.logits, ())
    frame_info = [] if static else [_info(frame, numbers.payload, ("N", *network.input.shape))]
    shapes = _observed_shapes(builder, scanned)
    body = helper.make_graph(
        inside.nodes,
        "time_step",
        [
            *(_info(held[s.name], s.dtype, ("N", *s.shape)) for s in states),
            weight_info,
            *frame_info,
            *([_info(moment, INT64, ())] if moment else []),
        ],
        [
            *(_info(n, s.dtype, ("N", *s.shape)) for n, s in zip(after, states, strict=True)),
            *(_info(n, *shapes[key]) for n, key in zip(collected, scanned, strict=True)),
        ],
    )
    final = [names.fresh(f"{s.name}.last") for s in states]
    axes = [1 if shapes[key][1][:1] == ("N",) else 0 for key in scanned]
    frames = [] if static else [INPUT]
    moments = [_moments(nodes, network.steps)] if moment else []
    nodes.nodes.append(
        helper.make_node(
            "Scan",
            [*(start[s.name] for s in states), WEIGHTS, *frames, *moments],
            [*final[:-1], LOGITS, STEP_LOGITS, *step.observed],
            name="time",
            body=body,
            num_scan_inputs=1 + len(frames) + len(moments),
            scan_input_axes=[0, *(1 for _ in frames), *(0 for _ in moments)],
            scan_output_axes=axes,
        )
    )
    x: tuple[Dimension, ...] = ("N", *(() if static else ("T",)), *network.input.shape)
    observed = []
    for key in step.observed:
        dtype, shape = shapes[key]
        whole = ("N", "T", *shape[1:]) if shape[:1] == ("N",) else ("T", *shape)
        observed.append(_info(key, dtype, whole))
    graph = helper.make_graph(
        nodes.nodes,
        "sequence",
        [_info(INPUT, numbers.payload, x), _info(WEIGHTS, numbers.logits, ("T",))],
        [*_logits(builder, "T"), *observed],
        # The default of an input that need not be fed.
        [onnx.numpy_helper.from_array(network.readout.weights.astype(numbers.logits), WEIGHTS)],
    )
    return Parts(graph, [])


FORMS: dict[str, Callable[[StepBuilder, Names, Constants], Parts]] = {
    "step": _step,
    "sequence": _sequence,
    "unrolled": _unrolled,
}


def _moments(nodes: Nodes, steps: int) -> str:
    """Indices of as many steps as there are time weights; those after the end are all T."""
    zero, one = nodes.constant(0, INT64, "zero_steps"), nodes.constant(1, INT64, "one_step")
    axis = nodes.constant([0], INT64, "axis_0")
    shape = nodes.op("Shape", WEIGHTS, name="how_many", start=0, end=1)
    count = nodes.op("Squeeze", shape, axis, name="count")
    every = nodes.op("Range", zero, count, one, name="all_steps")
    end = nodes.constant(steps, INT64, "steps")
    return nodes.op("Min", every, end, name="moments")


def _own_tensors(nodes: Nodes, wanted: Sequence[str]) -> list[str]:
    """Outputs of a loop body: tensors that it makes itself, each put out once."""
    own, seen = nodes.outputs(), set[str]()
    result = []
    for tensor in wanted:
        fresh = tensor in own and tensor not in seen
        seen.add(tensor)
        result.append(tensor if fresh else nodes.op("Identity", tensor, name="kept"))
    return result


def _observed_shapes(
    builder: StepBuilder, scanned: Mapping[str, str]
) -> dict[str, tuple[DType, tuple[Dimension, ...]]]:
    """Type and shape per step of what a loop collects."""
    network, numbers = builder.network, builder.numbers
    shapes: dict[str, tuple[DType, tuple[Dimension, ...]]] = {
        STEP_LOGITS: (numbers.logits, ("N", network.readout.classes))
    }
    for key in scanned:
        name, _, what = key.rpartition(".")
        if what == "saturations":
            shapes[key] = (INT64, ())
        elif what == "received":
            shapes[key] = (INT32, ("N",))
        elif what in ("inputs", "fired", "net"):
            shapes[key] = (INT32, network.populations[name].shape)
        elif key != STEP_LOGITS:
            wide = INT64 if numbers.integer else numbers.payload
            dtype = INT8 if what == "s" else wide
            shapes[key] = (dtype, ("N", *network.populations[name].shape))
    return shapes


def _initial(nodes: Nodes, states: list[StateTensor]) -> dict[str, str]:
    """Tensors of the states before the first step, as large as the batch."""
    batch = nodes.op("Shape", INPUT, name="batch", start=0, end=1)
    start, by_shape = {}, dict[Shape, str]()
    for state in states:
        if state.shape not in by_shape:
            words = "x".join(map(str, state.shape))
            sizes = nodes.constant(state.shape, INT64, f"shape_{words}")
            by_shape[state.shape] = nodes.op("Concat", batch, sizes, name=f"batch_{words}", axis=0)
        value = nodes.constant(state.initial, state.dtype, f"{state.name}.initial")
        start[state.name] = nodes.op(
            "Expand", value, by_shape[state.shape], name=f"{state.name}.start"
        )
    return start


def _name_outputs(nodes: Nodes, results: Mapping[str, str]) -> None:
    """Give tensors the names of the graph's outputs."""
    for name, tensor in results.items():
        nodes.nodes.append(helper.make_node("Identity", [tensor], [name], name=f"output/{name}"))


def _logits(builder: StepBuilder, steps: Dimension) -> list[onnx.ValueInfoProto]:
    dtype, classes = builder.numbers.logits, builder.network.readout.classes
    return [
        _info(LOGITS, dtype, ("N", classes)),
        _info(STEP_LOGITS, dtype, ("N", steps, classes)),
    ]


def _info(name: str, dtype: DType, shape: tuple[Dimension, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element_type(dtype), list(shape))
