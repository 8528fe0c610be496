"""Small integer networks with random weights, one for each thing that an engine can get wrong.

Every engine is compared with the reference on all of :data:`CASES`. The networks are tiny, so that
an engine with a costly start can run them all; thresholds are chosen from the weights so that
every population fires, in both signs where it can.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

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
    Population,
    Readout,
    SumPool,
)
from trispike.network.fixed_point import DEFAULT_STATE_BITS, never, state_limit

Shape = tuple[int, ...]


class Builder:
    """Collects the parts of a random network; shapes of populations follow from the connections.

    Args:
        seed: Seed of all weights.
        shape: Shape of the input.
        steps: T.
        encoding: Of the input.
    """

    def __init__(
        self, seed: int, shape: Shape = (2, 6, 5), *, steps: int = 4, encoding: Any = "direct"
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.input = Input(shape=shape, encoding=encoding, scale=1 / 32)
        self.steps = steps
        self.shapes: dict[str, Shape] = {"input": shape}
        self.populations: dict[str, Population] = {}
        self.connections: list[Connection] = []
        self.readouts: list[Connection] = []

    def integers(self, *shape: int, limit: int = 100) -> npt.NDArray[np.int8]:
        """Random int8 weights, some of them zero."""
        weights = self.rng.integers(-limit, limit + 1, shape)
        return (weights * (self.rng.random(shape) < 0.8)).astype(np.int8)

    def conv(self, source: str, channels: int, kernel: int | Shape = 3, **options: Any) -> Conv2d:
        """A convolution that fits the source; padding keeps the size of a 3x3 kernel."""
        kh, kw = (kernel, kernel) if isinstance(kernel, int) else kernel
        inputs = self.shapes[source][0] // options.get("groups", 1)
        if kernel == 3:
            options.setdefault("padding", (1, 1))
        return Conv2d(weight=self.integers(channels, inputs, kh, kw), **options)

    def dense(self, source: str, outputs: int) -> Dense:
        """A matrix that fits the source."""
        return Dense(weight=self.integers(outputs, int(np.prod(self.shapes[source]))))

    def identity(self, source: str, *, per_channel: bool = True) -> Identity:
        """A shortcut with one scale per channel."""
        channels = self.shapes[source][0] if per_channel else 1
        shape = (channels,) + (1,) * (len(self.shapes[source]) - 1)
        return Identity(scale=self.rng.integers(40, 101, shape).astype(np.int8))

    def connect(
        self, sources: str | Sequence[str], target: str, operator: Any, **options: Any
    ) -> None:
        """Add a connection."""
        names = (sources,) if isinstance(sources, str) else tuple(sources)
        connection = Connection(sources=names, target=target, operator=operator, **options)
        if target == "readout":
            self.readouts.append(connection)
        else:
            self.connections.append(connection)
            self.shapes.setdefault(target, connection.output_shape(self.shapes[names[0]]))

    def layer(
        self, sources: str | Sequence[str], target: str, operator: Any, **options: Any
    ) -> str:
        """Add a population with one connection into it; ``neuron`` holds what is not default."""
        neuron = options.pop("neuron", {})
        self.connect(sources, target, operator, **options)
        self.populate(target, **neuron)
        return target

    def populate(self, name: str, **neuron: Any) -> None:
        """Add the population that has been connected, with thresholds that it reaches."""
        shift = neuron.get("state_shift", 6)
        threshold = 0.0
        for c in self.connections:
            if c.target == name:
                weight = c.operator.weight.astype(float)
                fan_in = (
                    weight[0].size if weight.ndim > 1 and c.operator.__class__ != Identity else 1
                )
                area = np.prod(c.pool.kernel) if c.pool else 1
                graded = 400 if "input" in c.sources else 0.3
                threshold += fan_in * area * graded * (weight**2).mean() * 4**c.exponent
        th = max(1, int(np.sqrt(threshold)) << shift)
        th = min(th, state_limit(neuron.get("state_bits", DEFAULT_STATE_BITS)) // 2)
        defaults = {
            "a_pos": 2500,
            "a_neg": 1500,
            "b_pos": 700,
            "b_neg": 700,
            "th_pos": th,
            "th_neg": th,
            "bias": self.rng.integers(-th // 8, th // 8 + 1, self.shapes[name]),
        }
        parameters = {key: value(th) if callable(value) else value for key, value in neuron.items()}
        self.populations[name] = Population(
            shape=self.shapes[name], neuron=FixedPointNeuron(**{**defaults, **parameters})
        )

    def build(
        self, last: str | None = None, *, classes: int = 3, weights: Any = None, shift: int = 0
    ) -> IntegerNetwork:
        """The network; ``last`` gets a matrix to the readout."""
        if last:
            self.connect(last, "readout", self.dense(last, classes))
        return IntegerNetwork(
            input=self.input,
            populations=self.populations,
            connections=tuple(self.connections),
            readout=Readout(
                connections=tuple(self.readouts),
                bias=self.rng.integers(-500, 500, classes),
                weights=np.ones(self.steps, int) if weights is None else np.asarray(weights),
                state_shift=shift,
                scale=1 / 256,
            ),
            steps=self.steps,
        )


def as_float(network: IntegerNetwork) -> FloatNetwork:
    """The same layers and neurons in float: integers become equal floats, never infinity."""
    populations = {}
    for name, population in network.populations.items():
        neuron = population.neuron
        assert isinstance(neuron, FixedPointNeuron)
        unit = 2.0**neuron.state_shift
        top, bottom = never(neuron.state_bits), -state_limit(neuron.state_bits)
        retention = {
            key: getattr(neuron, key) / 4096 for key in ("a_pos", "a_neg", "b_pos", "b_neg", "k")
        }
        populations[name] = Population(
            shape=population.shape,
            neuron=Neuron(
                **retention,
                bias=neuron.bias / unit,
                v_init=neuron.v_init / unit,
                th_pos=np.where(neuron.th_pos >= top, np.inf, neuron.th_pos / unit),
                th_neg=np.where(neuron.th_neg >= top, np.inf, neuron.th_neg / unit),
                floor=np.where(neuron.floor <= bottom, -np.inf, neuron.floor / unit),
                reset=neuron.reset,
                strict=neuron.strict,
                fire_once=neuron.fire_once,
                fire_from=neuron.fire_from,
                fire_until=neuron.fire_until,
                gains=tuple(m / 4096 for m in neuron.gains),
            ),
        )

    def connection(c: Connection) -> Connection:
        field = "scale" if isinstance(c.operator, Identity) else "weight"
        weight = c.operator.weight * 2.0**c.exponent
        operator = replace(c.operator, **{field: weight})
        return replace(c, operator=operator, exponent=0)

    readout = network.readout
    return FloatNetwork(
        input=replace(network.input, scale=None),
        populations=populations,
        connections=tuple(map(connection, network.connections)),
        readout=Readout(
            connections=tuple(map(connection, readout.connections)),
            bias=readout.bias / 2.0**readout.state_shift,
            weights=readout.weights.astype(float),
        ),
        steps=network.steps,
    )


def dense_chain(
    source: Input,
    weights: Mapping[str, npt.NDArray[Any]],
    neurons: Mapping[str, Neuron] | Mapping[str, FixedPointNeuron],
    readout_weights: npt.NDArray[Any],
    *,
    bits: Mapping[str, int] | None = None,
    scale: float = 1.0,
) -> Any:
    """Dense layers in a row, float or integer as their neurons are.

    Args:
        source: The input.
        weights: (outputs, inputs) of every layer in its order; those of the readout are the last.
        neurons: By layer, the readout excepted.
        readout_weights: (T,).
        bits: Of the weights, by layer, where they are not 8.
        scale: Of the readout.
    """
    sources = dict(zip(weights, (source.name, *neurons), strict=True))
    connections = {
        name: Connection(
            sources=(sources[name],),
            target=name,
            operator=Dense(weight=weight),
            bits=(bits or {}).get(name, 8),
        )
        for name, weight in weights.items()
    }
    *_, last = weights
    integer = all(isinstance(neuron, FixedPointNeuron) for neuron in neurons.values())
    kind = IntegerNetwork if integer else FloatNetwork
    return kind(
        input=source,
        populations={
            name: Population(shape=(len(weights[name]),), neuron=neuron)
            for name, neuron in neurons.items()
        },
        connections=tuple(connections[name] for name in neurons),
        readout=Readout(
            name=last,
            connections=(connections[last],),
            bias=np.zeros(len(weights[last]), np.int64 if integer else np.float64),
            weights=readout_weights,
            scale=scale,
        ),
        steps=len(readout_weights),
    )


def sample_inputs(network: Network, n: int, seed: int = 0) -> npt.NDArray[Any]:
    """Raw data for ``n`` samples: graded over the whole range, or ternary with some graded."""
    rng = np.random.default_rng(seed)
    shape = (n, *network.input.data_shape(network.steps))
    if network.input.encoding == "spikes":
        ternary = rng.integers(-1, 2, shape)
        return np.where(rng.random(shape) < 0.1, rng.integers(-127, 128, shape), ternary)
    return rng.normal(0, 1, shape)


def _single(seed: int, *, steps: int = 4, **neuron: Any) -> IntegerNetwork:
    """Two convolutions, the neurons of both as given."""
    b = Builder(seed, steps=steps)
    b.layer("input", "first", b.conv("input", 3), neuron=neuron)
    b.layer("first", "second", b.conv("first", 3), neuron=neuron)
    return b.build("second")


def shortcut_across_two_convolutions() -> IntegerNetwork:
    """A residual block: the short way has to wait for the long one."""
    b = Builder(1)
    b.layer("input", "stem", b.conv("input", 3))
    b.layer("stem", "inner", b.conv("stem", 3))
    b.connect("inner", "outer", b.conv("inner", 3))
    b.connect("stem", "outer", b.identity("stem"))
    b.populate("outer")
    return b.build("outer")


def pooled_downsample() -> IntegerNetwork:
    """Average pooling before a convolution, in the shortcut, and before the readout."""
    b = Builder(2, (2, 8, 6))
    half = SumPool(kernel=(2, 2), stride=(2, 2))
    b.layer("input", "stem", b.conv("input", 4))
    b.layer("stem", "inner", b.conv("stem", 4, stride=(2, 2)))
    b.connect("inner", "outer", b.conv("inner", 4))
    b.connect("stem", "outer", b.conv("stem", 4, 1), pool=half)
    b.populate("outer")
    b.connect(
        "outer",
        "readout",
        Dense(weight=b.integers(3, 4)),
        pool=SumPool(kernel=(4, 3), stride=(4, 3)),
    )
    return b.build()


def overlapping_pool() -> IntegerNetwork:
    """Overlapping, padded, dilated pooling windows, and a pooled identity."""
    b = Builder(3, (2, 9, 7))
    b.layer("input", "stem", b.conv("input", 3))
    pool = SumPool(kernel=(3, 2), stride=(2, 1), padding=(1, 1), dilation=(1, 2))
    b.layer("stem", "pooled", b.conv("stem", 3), pool=pool)
    b.layer("stem", "kept", b.identity("stem"), pool=pool)
    b.connect("kept", "readout", b.dense("kept", 3))
    return b.build("pooled")


def chained_pool() -> IntegerNetwork:
    """Two summations with overlapping windows, before every kind of operator."""
    b = Builder(38, (2, 9, 8))
    b.layer("input", "stem", b.conv("input", 3))
    pool = SumPool(
        kernel=(3, 3),
        stride=(2, 2),
        padding=(1, 1),
        then=SumPool(kernel=(2, 2), stride=(1, 1), dilation=(2, 2)),
    )
    b.layer("stem", "pooled", b.conv("stem", 3), pool=pool)
    b.layer("stem", "kept", b.identity("stem"), pool=pool)
    rows, columns = pool.output_shape(b.shapes["stem"])[1:]
    b.connect("stem", "readout", Dense(weight=b.integers(3, 3 * rows * columns)), pool=pool)
    b.connect("kept", "readout", b.dense("kept", 3))
    return b.build("pooled")


def strided_asymmetric() -> IntegerNetwork:
    """A 3x2 kernel with unequal strides and paddings on an input that is not square."""
    b = Builder(4, (2, 9, 6))
    b.layer("input", "first", b.conv("input", 3, (3, 2), stride=(2, 1), padding=(1, 0)))
    b.layer("first", "second", b.conv("first", 4, (2, 3), stride=(1, 2), padding=(0, 2)))
    return b.build("second")


def groups() -> IntegerNetwork:
    """A grouped and a depthwise convolution."""
    b = Builder(5)
    b.layer("input", "stem", b.conv("input", 4, groups=2))
    b.layer("stem", "grouped", b.conv("stem", 6, groups=2))
    b.layer("grouped", "depthwise", b.conv("grouped", 12, groups=6))
    return b.build("depthwise")


def dilation() -> IntegerNetwork:
    """Dilated kernels."""
    b = Builder(6, (2, 9, 8))
    b.layer("input", "first", b.conv("input", 3, dilation=(2, 1), padding=(2, 1)))
    b.layer("first", "second", b.conv("first", 3, dilation=(2, 3), padding=(1, 0)))
    return b.build("second")


def sew_addition() -> IntegerNetwork:
    """Spikes are added before a layer: several sources, payloads up to 3."""
    b = Builder(7)
    b.layer("input", "stem", b.conv("input", 3))
    b.layer("stem", "one", b.conv("stem", 3))
    b.layer(("stem", "one"), "two", b.conv("stem", 3))
    b.layer(("stem", "one", "two"), "three", b.conv("stem", 3))
    b.connect(("two", "three"), "readout", b.dense("three", 3))
    return b.build()


def static_form() -> IntegerNetwork:
    """CTSN, static form: the complement decays by its sign."""
    return _single(8, a_pos=3100, a_neg=1200, b_pos=600, b_neg=600)


def dynamic_form() -> IntegerNetwork:
    """CTSN, dynamic form: what is carried of the potential depends on its sign."""
    return _single(9, a_pos=2200, a_neg=2200, b_pos=900, b_neg=300)


def ternary_spike() -> IntegerNetwork:
    """Ternary Spike: no complement, one leak."""
    return _single(10, a_pos=0, a_neg=0, b_pos=1024, b_neg=1024)


def per_channel_parameters() -> IntegerNetwork:
    """Every parameter differs between channels, the bias between neurons."""

    def channels(low: int, high: int) -> Any:
        return np.linspace(low, high, 3).astype(int).reshape(3, 1, 1)

    b = Builder(11)
    neuron = {
        "a_pos": channels(0, 4096), "a_neg": channels(4096, 0), "b_pos": channels(100, 900),
        "b_neg": channels(900, 100), "k": channels(0, 2000),
        "th_pos": lambda th: channels(th // 2, th), "th_neg": lambda th: channels(th, th // 2),
    }  # fmt: skip
    b.layer("input", "first", b.conv("input", 3), neuron=neuron)
    b.layer("first", "second", b.conv("first", 3), neuron=neuron)
    return b.build("second")


def initial_potential() -> IntegerNetwork:
    """A membrane potential to start every sample with, per neuron."""
    b = Builder(12)
    start = {
        "v_init": lambda th: b.rng.integers(-th, th + 1, (3, 6, 5)),
        "b_pos": 4096,
        "b_neg": 4096,
    }
    b.layer("input", "first", b.conv("input", 3), neuron=start)
    b.layer("first", "second", b.conv("first", 3), neuron=start)
    return b.build("second")


def fire_once() -> IntegerNetwork:
    """Time to first spike."""
    return _single(13, fire_once=True, b_pos=4096, b_neg=4096, a_pos=0, a_neg=0)


def soft_reset() -> IntegerNetwork:
    """Firing subtracts the threshold; positive and negative ones differ."""
    return _single(14, reset="subtract", th_neg=lambda th: th // 2, b_pos=3900, b_neg=3900)


def no_reset() -> IntegerNetwork:
    """Firing changes nothing."""
    return _single(15, reset="none", b_pos=2000, b_neg=2000)


def strict_threshold() -> IntegerNetwork:
    """Potentials that lie on the threshold do not fire: small weights make that frequent."""
    b = Builder(16, (2, 4, 4), encoding="spikes")
    neuron = {"strict": True, "bias": 0, "th_pos": 2 << 6, "th_neg": 2 << 6, "a_pos": 0, "a_neg": 0}
    for source, target in (("input", "first"), ("first", "second")):
        weight = b.rng.integers(-2, 3, (3, b.shapes[source][0], 2, 2)).astype(np.int8)
        b.layer(source, target, Conv2d(weight=weight), neuron=neuron)
    return b.build("second")


def inclusive_threshold() -> IntegerNetwork:
    """The same with potentials that do fire on the threshold."""
    b = Builder(16, (2, 4, 4), encoding="spikes")
    neuron = {"bias": 0, "th_pos": 2 << 6, "th_neg": 2 << 6, "a_pos": 0, "a_neg": 0}
    for source, target in (("input", "first"), ("first", "second")):
        weight = b.rng.integers(-2, 3, (3, b.shapes[source][0], 2, 2)).astype(np.int8)
        b.layer(source, target, Conv2d(weight=weight), neuron=neuron)
    return b.build("second")


def floor() -> IntegerNetwork:
    """The membrane potential has a lower bound."""
    return _single(17, floor=lambda th: -th // 4, b_pos=3000, b_neg=3000, th_neg=None)


def binary_lif() -> IntegerNetwork:
    """Current-based binary LIF, Loihi's own neuron."""
    return _single(
        18, a_pos=0, a_neg=0, b_pos=3500, b_neg=3500, k=2800, th_neg=None, bias=0, steps=6
    )


def integrate_and_fire() -> IntegerNetwork:
    """Nothing leaks."""
    return _single(19, a_pos=0, a_neg=0, b_pos=4096, b_neg=4096, reset="subtract")


def frames_encoding() -> IntegerNetwork:
    """An analog frame per time step."""
    b = Builder(20, encoding="frames")
    b.layer("input", "first", b.conv("input", 3))
    return b.build(b.layer("first", "second", b.conv("first", 3)))


def spikes_encoding() -> IntegerNetwork:
    """Integers per time step, some of them graded."""
    b = Builder(21, encoding="spikes")
    b.layer("input", "first", b.conv("input", 3), neuron={"th_pos": 9000, "th_neg": 9000})
    return b.build(b.layer("first", "second", b.conv("first", 3)))


def last_step_readout() -> IntegerNetwork:
    """Only the last time step counts."""
    b = Builder(22)
    b.layer("input", "first", b.conv("input", 3))
    return b.build("first", weights=[0, 0, 0, 1])


def weighted_readout() -> IntegerNetwork:
    """Temporal weighting, and a shifted accumulator."""
    b = Builder(23)
    b.layer("input", "first", b.conv("input", 3))
    return b.build("first", weights=[5, -2, 0, 7], shift=4)


def several_readout_connections() -> IntegerNetwork:
    """The readout reads layers of different depth, and the input itself."""
    b = Builder(24)
    b.layer("input", "first", b.conv("input", 3))
    b.layer("first", "second", b.conv("first", 2, stride=(2, 2)))
    for name in ("input", "first", "second"):
        b.connect(name, "readout", b.dense(name, 3), exponent=1)
    return b.build()


def saturation() -> IntegerNetwork:
    """States of ten bits that overflow again and again."""
    return _single(
        25, state_bits=10, state_shift=2, th_pos=400, th_neg=400, bias=0, k=3000, b_pos=4000,
        b_neg=4000, reset="none",
    )  # fmt: skip


def wide_state() -> IntegerNetwork:
    """States of 32 bits."""
    return _single(26, state_bits=32, state_shift=14)


def narrow_shift() -> IntegerNetwork:
    """No state shift."""
    return _single(27, state_shift=0)


def feedforward_delay() -> IntegerNetwork:
    """Delayed connections that close no loop, one from a deep layer to a shallow one."""
    b = Builder(28, steps=6)
    b.layer("input", "first", b.conv("input", 3), delay=1)
    b.layer("first", "second", b.conv("first", 3), delay=2)
    b.connect("second", "third", b.conv("second", 3))
    b.connect("first", "third", b.identity("first"), delay=3)
    b.populate("third")
    b.connect("input", "side", b.conv("input", 3))
    b.connect("third", "side", b.conv("third", 3), delay=1)
    b.populate("side")
    b.connect("side", "readout", b.dense("side", 3), delay=1)
    return b.build("third")


def recurrent() -> IntegerNetwork:
    """A population that hears itself one step later, and a loop of two with two steps."""
    b = Builder(29, (6,), steps=7)
    b.connect("input", "self", b.dense("input", 8))
    b.shapes["self"] = (8,)
    b.connect("self", "self", b.dense("self", 8), delay=1)
    b.populate("self")
    b.connect("self", "go", b.dense("self", 5))
    b.shapes["back"] = (5,)
    b.connect("back", "go", b.dense("back", 5), delay=2)
    b.populate("go")
    b.layer("go", "back", b.dense("go", 5))
    return b.build("back")


def exponents() -> IntegerNetwork:
    """Connections whose weights have different units."""
    b = Builder(30)
    b.layer("input", "stem", b.conv("input", 3), exponent=3)
    b.layer("stem", "inner", b.conv("stem", 3), exponent=1)
    b.connect("inner", "outer", b.conv("inner", 3), exponent=2)
    b.connect("stem", "outer", b.identity("stem"), exponent=4)
    b.populate("outer")
    return b.build("outer")


def one_step() -> IntegerNetwork:
    """T = 1: every chip step begins a sample."""
    return _single(31, steps=1)


def vectors() -> IntegerNetwork:
    """Populations without rows and columns, with a shortcut."""
    b = Builder(32, (10,))
    b.layer("input", "first", b.dense("input", 12))
    b.layer("first", "second", b.dense("first", 12))
    b.connect("second", "third", b.dense("second", 12))
    b.connect("first", "third", b.identity("first"))
    b.populate("third")
    return b.build("third")


def parallel_connections() -> IntegerNetwork:
    """Two connections between the same populations, with different delays."""
    b = Builder(33)
    b.layer("input", "first", b.conv("input", 3))
    b.connect("first", "second", b.conv("first", 3))
    b.connect("first", "second", b.conv("first", 3, (1, 1)))
    b.connect("first", "second", b.identity("first"), delay=1)
    b.populate("second")
    return b.build("second")


def matrix_into_map() -> IntegerNetwork:
    """A matrix whose outputs are a (C, H, W) population."""
    b = Builder(34, (7,))
    b.shapes["map"] = (2, 4, 3)
    b.layer("input", "map", b.dense("input", 24))
    return b.build(b.layer("map", "second", b.conv("map", 3)))


def bias_only_population() -> IntegerNetwork:
    """A population that nothing is connected to, driven by its bias."""
    b = Builder(35)
    b.layer("input", "first", b.conv("input", 3))
    b.shapes["clock"] = (2,)
    b.populate("clock", bias=(40 << 6, -30 << 6), th_pos=90 << 6, th_neg=90 << 6, b_pos=4096,
               b_neg=4096, a_pos=0, a_neg=0)  # fmt: skip
    b.connect("clock", "readout", b.dense("clock", 3))
    return b.build("first")


def deep() -> IntegerNetwork:
    """Eight layers, and a shortcut from the input across all of them."""
    b = Builder(36, (3, 4, 4), steps=3)
    last = "input"
    for n in range(7):
        last = b.layer(last, f"layer{n}", b.conv(last, 3))
    b.connect(last, "end", b.conv(last, 3))
    b.connect("input", "end", b.identity("input"))
    b.connect("layer2", "end", b.identity("layer2"))
    b.populate("end")
    return b.build("end")


def silent_windows() -> IntegerNetwork:
    """Integrate-and-fire layers that take turns, on a frame that is presented once (PASCAL)."""
    levels = 3
    b = Builder(39, steps=3 * levels, encoding="once")
    for n, (source, name) in enumerate((("input", "one"), ("one", "two"), ("two", "three"))):
        neuron = {
            "a_pos": 0, "a_neg": 0, "b_pos": 4096, "b_neg": 4096, "th_neg": None, "bias": 0,
            "v_init": lambda th: th // 2, "reset": "subtract", "fire_from": n * levels,
            "fire_until": (n + 1) * levels,
        }  # fmt: skip
        b.connect(source, name, b.conv(source, 3))
        if name == "three":
            b.connect("one", name, b.identity("one"))
        b.populate(name, **neuron)
    return b.build("three", weights=[0] * 2 * levels + [1] * levels)


def gains() -> IntegerNetwork:
    """A gain for every time step, 0 and the largest among them, on input and bias."""
    return _single(40, steps=5, gains=(4096, 0, 5000, 65536, 1234), k=1000)


def window_of_ternary_spikes() -> IntegerNetwork:
    """Soft reset and spikes of both signs in a window, which begins late and ends early."""
    return _single(41, steps=6, reset="subtract", fire_from=1, fire_until=4)


def scheduled_loop() -> IntegerNetwork:
    """Windows, gains and one spike per neuron where populations hear each other."""
    b = Builder(42, (6,), steps=7, encoding="once")
    b.connect("input", "go", b.dense("input", 8))
    b.shapes["back"] = (5,)
    b.connect("back", "go", b.dense("back", 8), delay=2)
    b.populate("go", fire_from=1, b_pos=4000, b_neg=4000, gains=range(3000, 10000, 1000))
    b.connect("go", "back", b.dense("go", 5))
    b.populate("back", fire_until=5, fire_once=True, floor=lambda th: -th)
    return b.build("back")


def wide_gains() -> IntegerNetwork:
    """Gains on states that need 64 bits, and a shortcut that the gain applies to, too."""
    b = Builder(43, (2, 4, 4), steps=3)
    b.layer(
        "input", "stem", b.conv("input", 3), neuron={"state_bits": 32, "gains": (9000, 3001, 7000)}
    )
    b.connect("stem", "outer", b.conv("stem", 3))
    b.connect("stem", "outer", b.identity("stem"))
    b.populate("outer", gains=(4097, 4095, 12000), fire_from=1, reset="none")
    return b.build("outer")


def too_fast_loop() -> IntegerNetwork:
    """A loop of two connections with one step of delay: meaningful, but not in a pipeline."""
    b = Builder(37, (6,))
    b.shapes["back"] = (5,)
    b.connect("input", "go", b.dense("input", 5))
    b.connect("back", "go", b.dense("back", 5), delay=1)
    b.populate("go")
    b.layer("go", "back", b.dense("go", 5))
    return b.build("back")


CASES: dict[str, Callable[[], IntegerNetwork]] = {
    case.__name__: case
    for case in (
        shortcut_across_two_convolutions,
        pooled_downsample,
        overlapping_pool,
        chained_pool,
        strided_asymmetric,
        groups,
        dilation,
        sew_addition,
        static_form,
        dynamic_form,
        ternary_spike,
        per_channel_parameters,
        initial_potential,
        fire_once,
        soft_reset,
        no_reset,
        strict_threshold,
        inclusive_threshold,
        floor,
        binary_lif,
        integrate_and_fire,
        frames_encoding,
        spikes_encoding,
        last_step_readout,
        weighted_readout,
        several_readout_connections,
        saturation,
        wide_state,
        narrow_shift,
        feedforward_delay,
        recurrent,
        exponents,
        one_step,
        vectors,
        parallel_connections,
        matrix_into_map,
        bias_only_population,
        deep,
        silent_windows,
        gains,
        window_of_ternary_spikes,
        scheduled_loop,
        wide_gains,
    )
}
"""Networks by name; engines that cannot run one have to refuse it with UnsupportedError."""


def random_network(seed: int) -> IntegerNetwork:
    """Any small network: layers of every kind, shortcuts, added spikes, delays, odd neurons."""
    rng = np.random.default_rng(seed)
    # From a generator of their own, so that the rest of a network does not depend on them.
    schedules = np.random.default_rng([seed, 1])
    shape = (2, int(rng.integers(3, 7)), int(rng.integers(3, 7)))
    b = Builder(
        seed,
        shape,
        steps=int(rng.integers(1, 5)),
        encoding=str(rng.choice(["direct", "frames", "spikes"])),
    )
    if schedules.random() < 0.1:
        b.input = replace(b.input, encoding="once")
    names = ["input"]
    for n in range(int(rng.integers(1, 5))):
        source = str(rng.choice(names[-2:]))
        rank, twins = len(b.shapes[source]), [m for m in names if b.shapes[m] == b.shapes[source]]
        sources = (source, *(m for m in twins if m != source and rng.random() < 0.3))
        options: dict[str, Any] = {"exponent": int(rng.integers(0, 3))}
        if rng.random() < 0.2:
            options["delay"] = int(rng.integers(1, 3))
        kind = rng.choice(["conv", "dense", "identity"] if rank > 1 else ["dense", "identity"])
        operator: Any
        if kind == "conv":
            operator = b.conv(source, int(rng.integers(1, 5)))
            if rng.random() < 0.3:
                rows, columns = (int(min(rng.integers(1, 3), n)) for n in b.shapes[source][1:])
                size = (rows, columns)
                options["pool"] = SumPool(kernel=size, stride=size)
        elif kind == "dense":
            operator = b.dense(source, int(rng.integers(2, 8)))
        else:
            operator = b.identity(source)
        name = f"p{n}"
        b.connect(sources, name, operator, **options)
        shortcuts = [m for m in names if b.shapes[m] == b.shapes[name] and m not in sources]
        if shortcuts and rng.random() < 0.5:
            b.connect(shortcuts[0], name, b.identity(shortcuts[0]))
        if rng.random() < 0.2:
            b.connect(name, name, b.identity(name), delay=int(rng.integers(1, 3)))
        b.populate(name, **_random_neuron(rng), **random_schedule(schedules, b.steps))
        names.append(name)
    for name in names[1:-1]:
        if rng.random() < 0.3:
            b.connect(name, "readout", b.dense(name, 3))
    return b.build(names[-1], weights=rng.integers(-3, 4, b.steps))


def random_schedule(rng: np.random.Generator, steps: int) -> dict[str, Any]:
    """A window of firing or gains for a fixed-point neuron, or neither."""
    schedule: dict[str, Any] = {}
    if rng.random() < 0.2:
        schedule["fire_from"] = int(rng.integers(0, steps))
        if rng.random() < 0.5:
            schedule["fire_until"] = int(rng.integers(schedule["fire_from"] + 1, steps + 1))
    if rng.random() < 0.15:
        schedule["gains"] = rng.integers(0, 12289, steps).tolist()
    return schedule


def _random_neuron(rng: np.random.Generator) -> dict[str, Any]:
    a_pos, a_neg, b_pos, b_neg, k = (int(n) for n in rng.integers(0, 4097, 5))
    return {
        "a_pos": a_pos,
        "a_neg": a_neg,
        "b_pos": b_pos,
        "b_neg": b_neg,
        "k": k if rng.random() < 0.3 else 0,
        "reset": str(rng.choice(["zero", "subtract", "none"])),
        "strict": bool(rng.random() < 0.3),
        "fire_once": bool(rng.random() < 0.2),
        "state_shift": int(rng.integers(0, 9)),
        "state_bits": int(rng.integers(14, 33)),
        **({"th_neg": None} if rng.random() < 0.2 else {}),
        **({"floor": lambda th: -th // 2} if rng.random() < 0.2 else {}),
        **({"v_init": lambda th: th // 3} if rng.random() < 0.2 else {}),
    }
