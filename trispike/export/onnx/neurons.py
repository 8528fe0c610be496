"""Neurons as functions of the domain ``trispike``, their bodies in standard operators.

A function is made for the structure of a neuron: what is zero, absent or equal costs no node. Its
inputs are the current, the states that are kept, and the parameters by name; so a viewer shows one
node per population, with its parameters, and any runtime that knows functions can run it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import helper

from trispike.export.onnx.nodes import DOMAIN, OPSET, Names, Nodes, element_type
from trispike.export.onnx.numbers import BOOL, FLOAT64, INT8, INT32, INT64, Array, DType, Numbers
from trispike.network import FixedPointNeuron, Neuron, Population
from trispike.network.fixed_point import DECAY_ONE, never, state_limit
from trispike.network.schedules import scheduled_fields
from trispike.network.summary import neuron_kind

STATES = ("i", "c", "v", "fired")
"""What a neuron may keep from step to step, in the order in which functions take it."""

SCHEDULE = ("step_gain", "may_fire")
"""Parameters that change from step to step, and are computed in the graph."""

RETENTION = ("k", "a_pos", "a_neg", "b_pos", "b_neg")
"""Parameters that are fractions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """What distinguishes the update of one population from others, values aside."""

    words: str
    """The kind of neuron, for people."""
    dtype: DType
    """Type of the states."""
    payload: DType
    """Type of the spikes."""
    state_bits: int | None
    """None in a float network."""
    states: tuple[str, ...]
    """Those of :data:`STATES` that matter."""
    carries_current: bool
    retains_c: bool
    retains_v: bool
    same_a: bool
    """Whether c decays alike on both sides of zero."""
    same_b: bool
    """The same for v."""
    shifted: bool
    has_bias: bool
    has_floor: bool
    binary: bool
    reset: str
    strict: bool
    fire_once: bool
    gained: bool
    windowed: bool
    observed: bool = False
    """Whether the function also puts out i, c, v and the number of saturations."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters, in the order in which the function takes them."""
        wanted = {
            "k": self.carries_current,
            "a_pos": self.retains_c,
            "a_neg": self.retains_c and not self.same_a,
            "b_pos": self.retains_v,
            "b_neg": self.retains_v and not self.same_b,
            "gain": self.shifted,
            "bias": self.has_bias,
            "floor": self.has_floor,
            "th_pos": True,
            "th_neg": not self.binary,
            "step_gain": self.gained,
            "may_fire": self.windowed,
        }
        return tuple(name for name, present in wanted.items() if present)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what the function puts out."""
        kept = tuple(f"{name}_next" for name in self.states)
        observed = ("i_now", "c_now", "v_now", "saturations") if self.observed else ()
        return ("spikes", *kept, *observed)

    @property
    def function_name(self) -> str:
        """Like ``TernaryComplementedHardReset_int24``."""
        camel = "".join(word.capitalize() for word in self.words.replace("-", " ").split())
        camel = camel.replace(",", "")
        number = f"{self.dtype}" if self.state_bits is None else f"int{self.state_bits}"
        return f"{camel}_{number}" + ("_observed" if self.observed else "")


def structure_of(
    population: Population, numbers: Numbers, current: DType, *, observed: bool = False
) -> Structure:
    """What the function of a population has to compute.

    Args:
        population: The population.
        numbers: Types of the graph.
        current: Type of the current that arrives.
        observed: Whether i, c, v and the number of saturations are put out, too.
    """
    neuron = population.neuron
    fixed = isinstance(neuron, FixedPointNeuron)
    carries = bool((neuron.k != 0).any())
    retains_c = bool((neuron.a_pos != 0).any() or (neuron.a_neg != 0).any())
    retains_v = bool((neuron.b_pos != 0).any() or (neuron.b_neg != 0).any())
    kept = (carries, retains_c, retains_v, neuron.fire_once)
    windowed = bool({"fire_from", "fire_until"}.intersection(scheduled_fields(neuron)))
    if isinstance(neuron, FixedPointNeuron):
        lowest = -state_limit(neuron.state_bits)
        binary = bool((neuron.th_neg >= never(neuron.state_bits)).all())
        wide = current == INT64 or bool(neuron.gains)  # a current times a gain is long
        dtype = INT64 if wide else numbers.state_dtype(neuron.state_bits)
    else:
        lowest = -np.inf  # type: ignore[assignment]
        binary = bool(np.isinf(neuron.th_neg).all())
        dtype = numbers.payload
    return Structure(
        # Windows of any place and length are one structure.
        words=neuron_kind(replace(neuron, fire_from=0, fire_until=None))
        + (", window" if windowed else ""),
        dtype=dtype,
        payload=numbers.payload,
        state_bits=neuron.state_bits if isinstance(neuron, FixedPointNeuron) else None,
        states=tuple(name for name, present in zip(STATES, kept, strict=True) if present),
        carries_current=carries,
        retains_c=retains_c,
        retains_v=retains_v,
        same_a=np.array_equal(neuron.a_pos, neuron.a_neg),
        same_b=np.array_equal(neuron.b_pos, neuron.b_neg),
        shifted=fixed and bool(getattr(neuron, "state_shift", 0)),
        has_bias=bool((neuron.bias != 0).any()),
        has_floor=bool((neuron.floor > lowest).any()),
        binary=binary,
        reset=neuron.reset,
        strict=neuron.strict,
        fire_once=neuron.fire_once,
        gained=bool(neuron.gains),
        windowed=windowed,
        observed=observed,
    )


def parameter_values(
    neuron: Neuron | FixedPointNeuron, structure: Structure
) -> dict[str, tuple[Array, DType]]:
    """Values and types of the function's parameters, by name, but for :data:`SCHEDULE`.

    In float64, retention factors are the fractions m/4096, which are exact; in integers they are
    the numerators m.
    """
    values: dict[str, tuple[Array, DType]] = {}
    for name in structure.parameters:
        if name in SCHEDULE:
            continue
        if name == "gain":
            value = np.asarray(1 << getattr(neuron, "state_shift", 0))
        elif structure.state_bits and structure.dtype == FLOAT64 and name in RETENTION:
            value = getattr(neuron, name) / DECAY_ONE
        else:
            value = getattr(neuron, name)
        values[name] = (value, structure.dtype)
    return values


def schedule_tables(
    neuron: Neuron | FixedPointNeuron, structure: Structure, steps: int
) -> dict[str, tuple[Array, DType]]:
    """Values and types of what changes from step to step, (T + 1,), by name of the parameter.

    The last value is for steps after the end of a sample.
    """
    moments = range(steps + 1)
    gains = [neuron.gains[min(t, steps - 1)] for t in moments] if neuron.gains else []
    tables = {
        "step_gain": (np.array(gains), structure.dtype),
        "may_fire": (np.array([neuron.fires_at(t) for t in moments]), BOOL),
    }
    return {name: tables[name] for name in SCHEDULE if name in structure.parameters}


class Functions:
    """The functions of a model: one per structure, named so that none is met twice."""

    def __init__(self) -> None:
        self._names: dict[Structure, str] = {}
        self.protos: list[onnx.FunctionProto] = []

    def name(self, structure: Structure) -> str:
        """Name of the function for a structure, made if there is none yet."""
        if structure not in self._names:
            taken = [s for s in self._names if s.function_name == structure.function_name]
            name = structure.function_name + (f"_{len(taken) + 1}" if taken else "")
            self._names[structure] = name
            self.protos.append(_function(name, structure))
        return self._names[structure]


def _function(name: str, structure: Structure) -> onnx.FunctionProto:
    names = Names()
    inputs = [names.fresh(n) for n in ("x", *structure.states, *structure.parameters)]
    for output in structure.outputs:
        names.fresh(output)
    body = _Update(Nodes(names), structure)
    results = body.run()
    body.nodes.rename({results[o]: o for o in reversed(structure.outputs)})
    for output in structure.outputs:
        if output not in body.nodes.outputs():  # two outputs are one tensor
            twin = next(o for o in structure.outputs if results[o] == results[output])
            body.nodes.nodes.append(helper.make_node("Identity", [twin], [output]))
    return helper.make_function(
        DOMAIN,
        name,
        inputs,
        structure.outputs,
        body.nodes.nodes,
        [helper.make_opsetid("", OPSET)],
        doc_string=f"{structure.words}; one time step of a population.",
    )


class _Update:
    """Writes the update of :class:`Neuron` or :class:`FixedPointNeuron`, in its order."""

    def __init__(self, nodes: Nodes, structure: Structure) -> None:
        self.nodes = nodes
        self.s = structure
        self.integer = structure.state_bits is not None
        self.counts: list[str] = []

    def run(self) -> dict[str, str]:
        """Add all nodes; returns the tensors to put out, by name of the output."""
        s, op = self.s, self.nodes.op
        i = self._current()
        c = self._carried()
        v = i if c is None else op("Add", c, i, name="c_plus_i")
        if s.has_bias:
            v = op("Add", v, self._gained("bias"), name="with_bias")
        if c is not None or s.has_bias:
            v = self._saturate(v, "v")
        if s.has_floor:
            v = op("Max", v, "floor", name="v_floored")
        spikes = self._spikes(v)
        results = {"spikes": spikes, "i_next": i, "fired_next": "", "v_next": ""}
        results["c_next"] = c or ""
        if s.retains_v:
            results["v_next"] = self._reset(v, spikes)
        if s.fire_once:
            silent = self._silent(spikes)
            fires = op("Not", silent, name="fires")
            results["fired_next"] = op("Or", "fired", fires, name="has_fired")
        if s.observed:
            results |= {"i_now": i, "v_now": v, "saturations": self._saturations()}
            results["c_now"] = c or op("Mul", i, self._number(0), name="no_c")
        return results

    def _number(self, value: float, dtype: DType | None = None) -> str:
        return self.nodes.constant(value, dtype or self.s.dtype, "constant")

    def _current(self) -> str:
        s, op = self.s, self.nodes.op
        x = op("Cast", "x", name="x_cast", to=element_type(s.dtype))
        if not self.integer:
            x = self._gained(x)
            if not s.carries_current:
                return x
            return op("Add", op("Mul", "k", "i", name="k_i"), x, name="i_sum")
        if s.dtype == INT32:
            # What is clipped here saturates the current anyway, whatever is added to it; the
            # shift by up to 16 bits then stays within 32.
            largest = 1 << 30
            x = self._clip_before_shift(x, largest)
        if s.shifted:
            x = op("Mul", x, "gain", name="x_shifted")
        x = self._gained(x)
        if s.carries_current:
            x = op("Add", self._decay("i", "k", "k"), x, name="i_sum")
        return self._saturate(x, "i")

    def _gained(self, z: str) -> str:
        """What is received, times the gain of the step."""
        if not self.s.gained:
            return z
        if self.integer:
            return self._decay(z, "step_gain", "step_gain")
        return self.nodes.op("Mul", "step_gain", z, name=f"{z}_gained")

    def _clip_before_shift(self, x: str, largest: int) -> str:
        op = self.nodes.op
        top = self._number(largest)
        if self.s.shifted:
            top = op("Div", top, "gain", name="largest_x")
        low = op("Max", x, op("Neg", top, name="smallest_x"), name="x_above")
        return op("Min", low, top, name="x_clipped")

    def _carried(self) -> str | None:
        s = self.s
        terms = []
        if s.retains_c:
            terms.append(self._retained("c", "a_pos", "a_pos" if s.same_a else "a_neg"))
        if s.retains_v:
            terms.append(self._retained("v", "b_pos", "b_pos" if s.same_b else "b_neg"))
        if len(terms) < 2:
            return terms[0] if terms else None  # one decayed state fits where it came from
        return self._saturate(self.nodes.op("Add", *terms, name="c_sum"), "c")

    def _retained(self, state: str, positive: str, negative: str) -> str:
        if self.integer:
            return self._decay(state, positive, negative)
        return self._by_sign(state, positive, negative)

    def _by_sign(self, state: str, positive: str, negative: str) -> str:
        """The sum positive * max(z, 0) + negative * min(z, 0)."""
        op = self.nodes.op
        if positive == negative:
            return op("Mul", positive, state, name=f"{state}_kept")
        above = op("Mul", positive, op("Max", state, self._number(0), name="z"), name="z")
        below = op("Mul", negative, op("Min", state, self._number(0), name="z"), name="z")
        return op("Add", above, below, name=f"{state}_kept")

    def _decay(self, state: str, positive: str, negative: str) -> str:
        """sign(z) * ((|z| * m) >> 12): rounded toward zero, m by the sign of z."""
        op = self.nodes.op
        if self.s.dtype == FLOAT64:
            product = self._by_sign(state, positive, negative)
            # States have at most 32 bits; the conversion rounds toward zero.
            whole = op("Cast", product, name="whole", to=element_type(INT32))
            return op("Cast", whole, name=f"{state}_kept", to=element_type(FLOAT64))
        m = positive
        if positive != negative:
            is_positive = op("GreaterOrEqual", state, self._number(0), name="z")
            m = op("Where", is_positive, positive, negative, name="m")
        one = self._number(DECAY_ONE)  # integer division rounds toward zero
        if self.s.dtype == INT64:
            return op("Div", op("Mul", state, m, name="z"), one, name=f"{state}_kept")
        # 24-bit states times 13-bit factors do not fit 32 bits: z = high * 4096 + low.
        high = op("Div", state, one, name="high")
        low = op("Sub", state, op("Mul", high, one, name="z"), name="low")
        rest = op("Div", op("Mul", low, m, name="z"), one, name="z")
        return op("Add", op("Mul", high, m, name="z"), rest, name=f"{state}_kept")

    def _saturate(self, z: str, name: str) -> str:
        if not self.integer:
            return z
        limit = state_limit(self.s.state_bits or 0)
        low, high = self._number(-limit), self._number(limit)
        if self.s.observed:
            self.counts.append(self._clipped(z, low, high, name))
        return self.nodes.op("Clip", z, low, high, name=f"{name}_in_range")

    def _clipped(self, z: str, low: str, high: str, name: str) -> str:
        """How many values lie outside of the range; counted only if the extremes do."""
        op = self.nodes.op
        above = op("Greater", op("ReduceMax", z, name="z", keepdims=0), high, name="z")
        below = op("Less", op("ReduceMin", z, name="z", keepdims=0), low, name="z")
        some, none = Nodes(self.nodes.names), Nodes(self.nodes.names)
        outside = some.op("Greater", some.op("Abs", z, name="z"), high, name="outside")
        ones = some.op("Cast", outside, name="ones", to=element_type(INT64))
        some.op("ReduceSum", ones, name=f"{name}_clipped", keepdims=0)
        none.constant(0, INT64, f"{name}_unclipped")
        return op(
            "If",
            op("Or", above, below, name="z"),
            name=f"{name}_count",
            then_branch=some.scalar_graph(f"{name}_some"),
            else_branch=none.scalar_graph(f"{name}_none"),
        )

    def _saturations(self) -> str:
        total = self._number(0, INT64)
        for count in self.counts:
            total = self.nodes.op("Add", total, count, name="clipped")
        return total

    def _spikes(self, v: str) -> str:
        s, op = self.s, self.nodes.op
        above, below = ("Greater", "Less") if s.strict else ("GreaterOrEqual", "LessOrEqual")
        # Integers of 8 bits cannot be subtracted everywhere.
        wide = INT32 if s.payload == INT8 else s.payload
        spikes = op("Cast", op(above, v, "th_pos", name="up"), name="up", to=element_type(wide))
        if not s.binary:
            lower = op("Neg", "th_neg", name="lower")
            down = op("Cast", op(below, v, lower, name="down"), name="down", to=element_type(wide))
            spikes = op("Sub", spikes, down, name="up_or_down")
        if s.fire_once:
            spikes = op("Where", "fired", self._number(0, wide), spikes, name="first")
        if s.windowed:
            spikes = op("Where", "may_fire", spikes, self._number(0, wide), name="in_window")
        if wide != s.payload:
            spikes = op("Cast", spikes, name="fired_now", to=element_type(s.payload))
        return spikes

    def _silent(self, spikes: str) -> str:
        zero = self._number(0, self.s.payload)
        return self.nodes.op("Equal", spikes, zero, name="silent")

    def _reset(self, v: str, spikes: str) -> str:
        s, op = self.s, self.nodes.op
        if s.reset == "none":
            return v
        zero = self._number(0, s.payload)
        if s.reset == "zero":
            kept = op("Cast", self._silent(spikes), name="kept", to=element_type(s.dtype))
            return op("Mul", v, kept, name="after")  # faster than Where
        up = op("Greater", spikes, zero, name="fires_up")
        after = op("Where", up, op("Sub", v, "th_pos", name="z"), v, name="after")
        if s.binary:
            return after
        down = op("Less", spikes, zero, name="fires_down")
        return op("Where", down, op("Add", v, "th_neg", name="z"), after, name="after")


def state_dtype(structure: Structure, state: str) -> DType:
    """Type of a state tensor."""
    return BOOL if state == "fired" else structure.dtype
