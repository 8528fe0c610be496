"""Hypothesis strategies: any small integer network, and data for it.

The structure is drawn, so that failures shrink to few layers; weights, parameters and data come
from a drawn seed. Numbers are pushed to the ends of their ranges again and again: that is where
an engine with narrow types, or with bounds of its own, goes wrong.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from trispike.network import (
    Connection,
    Conv2d,
    Dense,
    FixedPointNeuron,
    Identity,
    Input,
    IntegerNetwork,
    Population,
    Readout,
    SumPool,
)
from trispike.network.fixed_point import DECAY_ONE, never, state_limit

Shape = tuple[int, ...]
Draw = Any

SMALL = st.integers(1, 3)
CHANCE = st.integers(0, 3).map(lambda n: n == 0)
DELAYS = st.sampled_from([0, 0, 0, 1, 2, 7])
EXPONENTS = st.sampled_from([0, 0, 0, 1, 4, 10, 16])
SHIFTS = st.sampled_from([0, 2, 6, 6, 12, 16])


@st.composite
def integer_networks(draw: Draw, *, loops: bool = True) -> IntegerNetwork:
    """Any small integer network: every operator and pooling, shortcuts, delays, loops, neurons."""
    return _Builder(draw).network(loops=loops)


@st.composite
def inputs_for(draw: Draw, network: IntegerNetwork, most: int = 5) -> npt.NDArray[Any]:
    """Raw data: graded, sparse, silent, or beyond the largest payload."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (draw(st.integers(1, most)), *network.input.data_shape(network.steps))
    kind = draw(st.sampled_from(["graded", "ternary", "sparse", "full", "silent"]))
    units: npt.NDArray[Any] = rng.integers(-140, 141, shape)
    if kind == "ternary":
        units = rng.integers(-1, 2, shape)
    elif kind == "sparse":
        units = units * (rng.random(shape) < 0.05)
    elif kind == "full":
        units = rng.choice([-200, 200]) * np.ones(shape, np.int64)
    elif kind == "silent":
        units = np.zeros(shape, np.int64)
    if network.input.encoding == "spikes":
        return np.clip(units, -127, 127)
    assert network.input.scale is not None
    return units * network.input.scale


@st.composite
def operators(draw: Draw) -> tuple[Conv2d | Dense | Identity, Shape]:
    """An operator with int8 weights, and the shape of its input."""
    builder = _Builder(draw)
    shape = builder.shapes["input"]
    return builder.operator(shape), shape


class _Builder:
    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.shapes: dict[str, Shape] = {"input": self._source()}
        self.connections: list[Connection] = []

    def network(self, *, loops: bool) -> IntegerNetwork:
        draw, steps = self.draw, self.draw(st.integers(1, 5))
        names = [f"p{n}" for n in range(draw(st.integers(1, 4)))]
        for name in names:
            self._first_connection(name)
            for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
                self._connect(list(self.shapes)[:-1], name)
        for name in names if loops else ():
            if draw(CHANCE):  # one that may close a loop, or just be late
                self._connect(list(self.shapes), name, least_delay=1)
        classes = draw(SMALL)
        self.shapes["readout"] = (classes,)
        sources = [n for n in self.shapes if n != "readout"]
        self._connect(sources[-1:], "readout")
        if draw(CHANCE):
            self._connect(sources, "readout")
        rng, shift = self.rng, draw(st.sampled_from([0, 6, 16]))
        return IntegerNetwork(
            input=Input(
                shape=self.shapes["input"],
                encoding=draw(st.sampled_from(["direct", "direct", "frames", "spikes"])),
                scale=1 / 32,
            ),
            populations={
                n: Population(shape=self.shapes[n], neuron=self._neuron(n)) for n in names
            },
            connections=tuple(c for c in self.connections if c.target != "readout"),
            readout=Readout(
                connections=tuple(c for c in self.connections if c.target == "readout"),
                bias=rng.integers(-500, 501, classes),
                weights=rng.integers(-3, 4, steps),
                state_shift=shift,
                scale=1 / 256,
            ),
            steps=steps,
        )

    def _source(self) -> Shape:
        if self.draw(CHANCE):
            return (self.draw(st.integers(1, 9)),)
        sides = st.integers(1, 6)
        return self.draw(SMALL), self.draw(sides), self.draw(sides)

    def _weights(self, *shape: int) -> npt.NDArray[np.int8]:
        kind = self.draw(st.sampled_from(["any", "any", "ends", "full", "small"]))
        if kind == "ends":
            return self.rng.choice([-127, 127], shape).astype(np.int8)
        if kind == "full":
            return np.full(shape, 127, np.int8)
        limit = 127 if kind == "any" else 2
        weights = self.rng.integers(-limit, limit + 1, shape)
        return np.asarray(weights * (self.rng.random(shape) < 0.8)).astype(np.int8)

    def _add(self, source: str, target: str, operator: Any, least_delay: int, pool: Any) -> None:
        """With whatever else has the source's shape, and an exponent."""
        sources = [source]
        for name, shape in self.shapes.items():
            before = least_delay or name != target  # without delay only what is there already
            if name != source and shape == self.shapes[source] and before and self.draw(CHANCE):
                sources.append(name)
        self.connections.append(
            Connection(
                sources=tuple(s for s in sources if s != "readout"),
                target=target,
                operator=operator,
                pool=pool,
                delay=max(least_delay, self.draw(DELAYS)),
                exponent=self.draw(EXPONENTS),
            )
        )

    def _pick(self, names: list[str]) -> str:
        return str(self.draw(st.sampled_from(names[-2:] if self.draw(st.booleans()) else names)))

    def _first_connection(self, name: str) -> None:
        """What decides about the shape of a population, but for flattening."""
        draw = self.draw
        source = self._pick(list(self.shapes))
        shape = self.shapes[source]
        pool = self._pool(shape)
        pooled = pool.output_shape(shape) if pool else shape
        operator = self.operator(pooled)
        out = operator.output_shape(pooled)
        if draw(CHANCE):  # flat, or spread out; the order of the elements stays
            flat = [(math.prod(out),)]
            out = draw(st.sampled_from(_spread(out[0]) if len(out) == 1 else flat))
        self._add(source, name, operator, 0, pool)
        self.shapes[name] = out

    def operator(self, shape: Shape) -> Conv2d | Dense | Identity:
        """Any that fits this input."""
        kinds = ["conv", "conv", "identity", "dense"] if len(shape) == 3 else ["identity", "dense"]
        kind = self.draw(st.sampled_from(kinds))
        if kind == "conv":
            return self._conv(shape)
        if kind == "dense":
            return Dense(weight=self._weights(self.draw(st.integers(1, 12)), math.prod(shape)))
        return self._identity(shape)

    def _connect(self, sources: list[str], target: str, least_delay: int = 0) -> None:
        """One more connection into a target whose shape is known."""
        source, wanted = self._pick(sources), self.shapes[target]
        shape = self.shapes[source]
        pool = self._pool(shape)
        pooled = pool.output_shape(shape) if pool else shape
        kinds = ["dense"]
        same = 1 in (len(pooled), len(wanted)) and math.prod(pooled) == math.prod(wanted)
        if pooled == wanted or same:
            kinds += ["identity", "identity"]
        if len(pooled) == 3 and len(wanted) == 3 and pooled[1:] == wanted[1:]:
            kinds += ["conv", "conv"]
        kind = self.draw(st.sampled_from(kinds))
        operator: Conv2d | Dense | Identity
        if kind == "identity":
            operator = self._identity(pooled)
        elif kind == "conv":
            size = self.draw(st.sampled_from([1, 3]))
            weight = self._weights(wanted[0], pooled[0], size, size)
            operator = Conv2d(weight=weight, padding=(size // 2, size // 2))
        else:
            operator = Dense(weight=self._weights(math.prod(wanted), math.prod(pooled)))
        self._add(source, target, operator, least_delay, pool)

    def _pool(self, shape: Shape, chained: bool = True) -> SumPool | None:
        if len(shape) != 3 or not self.draw(CHANCE):
            return None
        axes = [self._window(size) for size in shape[1:]]
        kernel, stride, dilation, padding = ((axes[0][n], axes[1][n]) for n in range(4))
        pool = SumPool(kernel=kernel, stride=stride, dilation=dilation, padding=padding)
        then = self._pool(pool.output_shape(shape), chained=False) if chained else None
        return SumPool(kernel=kernel, stride=stride, dilation=dilation, padding=padding, then=then)

    def _window(self, size: int) -> tuple[int, int, int, int]:
        """Kernel, stride, dilation and padding that fit into so many positions."""
        draw = self.draw
        kernel, stride, dilation = draw(SMALL), draw(SMALL), draw(st.integers(1, 2))
        span = dilation * (kernel - 1) + 1
        padding = draw(st.integers(0, span // 2))
        if size + 2 * padding < span:
            return 1, stride, 1, 0
        return kernel, stride, dilation, padding

    def _conv(self, shape: Shape) -> Conv2d:
        draw = self.draw
        axes = []
        for size in shape[1:]:
            kernel, stride, dilation = draw(SMALL), draw(SMALL), draw(st.integers(1, 3))
            padding = draw(st.integers(0, 3))
            if size + 2 * padding < dilation * (kernel - 1) + 1:
                kernel = dilation = 1
            axes.append((kernel, stride, dilation, padding))
        (kh, sh, dh, ph), (kw, sw, dw, pw) = axes
        groups = draw(st.sampled_from([n for n in range(1, shape[0] + 1) if shape[0] % n == 0]))
        weight = self._weights(groups * draw(SMALL), shape[0] // groups, kh, kw)
        return Conv2d(
            weight=weight, stride=(sh, sw), dilation=(dh, dw), padding=(ph, pw), groups=groups
        )

    def _identity(self, shape: Shape) -> Identity:
        return Identity(scale=self._weights(*self._spreading(shape)))

    def _spreading(self, shape: Shape) -> Shape:
        """One number, one per channel, or one per element."""
        per_channel = (shape[0],) + (1,) * (len(shape) - 1)
        return tuple(self.draw(st.sampled_from([(), per_channel, shape])))

    def _neuron(self, name: str) -> FixedPointNeuron:
        draw, shape = self.draw, self.shapes[name]
        bits, shift = draw(st.sampled_from([8, 10, 16, 24, 24, 27, 28, 29, 32])), draw(SHIFTS)
        limit, top = state_limit(bits), never(bits)
        fields: dict[str, Any] = {}
        for field in ("a_pos", "a_neg", "b_pos", "b_neg", "k"):
            if draw(st.booleans()):
                fields[field] = self._numbers(shape, 0, DECAY_ONE)
        for field in ("bias", "v_init", "floor"):
            if draw(CHANCE):
                fields[field] = self._numbers(shape, -limit, limit)
        reach = draw(st.sampled_from([1, 4, 300, 20_000]))
        for field in ("th_pos", "th_neg"):
            kind = draw(st.sampled_from(["reached", "reached", "reached", "any", "never"]))
            if kind == "reached":
                fields[field] = self._numbers(shape, 1, min(limit, reach << shift))
            elif kind == "any":
                fields[field] = self._numbers(shape, 1, top)
        return FixedPointNeuron(
            **fields,
            reset=draw(st.sampled_from(["zero", "subtract", "none"])),
            strict=draw(st.booleans()),
            fire_once=draw(CHANCE),
            state_bits=bits,
            state_shift=shift,
        )

    def _numbers(self, shape: Shape, low: int, high: int) -> Any:
        kind = self.draw(st.sampled_from(["any", "low", "high"]))
        if kind != "any":
            return low if kind == "low" else high
        return self.rng.integers(low, high + 1, self._spreading(shape))


def _spread(size: int) -> list[Shape]:
    """All (C, H, W) of so many elements."""
    return [
        (c, h, size // (c * h))
        for c in range(1, size + 1)
        for h in range(1, size // c + 1)
        if size % (c * h) == 0
    ]
