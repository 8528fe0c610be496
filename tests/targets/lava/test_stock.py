"""Our connection and our neuron equal Lava's own, where Lava's own can represent them."""

from typing import Any

import numpy as np
import pytest

lava = pytest.importorskip("trispike.targets.lava.imports", reason="Lava is not installed")

from lava.proc.conv.process import Conv  # noqa: E402
from lava.proc.dense.process import Dense as StockDense  # noqa: E402
from lava.proc.io.sink import RingBuffer as Sink  # noqa: E402
from lava.proc.io.source import RingBuffer as Source  # noqa: E402
from lava.proc.lif.process import LIF  # noqa: E402

from trispike.errors import EngineError, UnsupportedError  # noqa: E402
from trispike.network import Connection, Conv2d, Dense, FixedPointNeuron, Identity, SumPool  # noqa: E402
from trispike.network.fixed_point import DECAY_ONE  # noqa: E402
from trispike.targets.lava.processes.parts import (  # noqa: E402
    ConnectionProcess,
    NeuronProcess,
    PlasticConnectionProcess,
)
from trispike.targets.lava.runtime import LavaRun  # noqa: E402

# Lava itself starts the processes here, and it warns, depending on what else is installed.
pytestmark = pytest.mark.filterwarnings("ignore")

STEPS = 12
CONFIG = lava.Loihi2SimCfg(select_tag="fixed_pt")


def play(spikes: Any, *wirings: Any) -> list[Any]:
    """Send spikes (T, *shape) through processes built side by side; what each of them put out."""
    source = Source(data=np.moveaxis(spikes, 0, -1))
    sinks = []
    for wire in wirings:
        out = wire(source.s_out)
        sink = Sink(shape=out.shape, buffer=len(spikes))
        out.connect(sink.a_in)
        sinks.append(sink)
    try:
        source.run(lava.RunSteps(num_steps=len(spikes)), CONFIG)
        return [np.moveaxis(sink.data.get(), -1, 0).astype(int) for sink in sinks]
    finally:
        source.stop()


def through(process: Any, into: str, out: str) -> Any:
    def wire(port: Any) -> Any:
        port.connect(getattr(process, into))
        return getattr(process, out)

    return wire


def ternary(rng: np.random.Generator, *shape: int) -> Any:
    return rng.integers(-1, 2, (STEPS, *shape))


def ours(operator: Any, shape: tuple[int, ...], **options: Any) -> Any:
    connection = Connection(sources=("a",), target="b", operator=operator, **options)
    return through(ConnectionProcess(connection, shape), "s_in", "a_out")


@pytest.mark.parametrize("exponent", [0, 3])
@pytest.mark.parametrize("graded", [False, True])
def test_connection_equals_stock_dense(exponent, graded):
    rng = np.random.default_rng(exponent)
    weight = rng.integers(-127, 128, (7, 11)).astype(np.int8)
    spikes = rng.integers(-127, 128, (STEPS, 11)) if graded else ternary(rng, 11)
    # Mixed signs make Lava drop the lowest bit of a weight.
    stock = StockDense(weights=2 * weight.astype(int), weight_exp=exponent, num_message_bits=8)
    a, b = play(
        spikes,
        through(stock, "s_in", "a_out"),
        ours(Dense(weight=weight), (11,), exponent=exponent),
    )
    assert np.count_nonzero(b)
    np.testing.assert_array_equal(a, 2 * b)


@pytest.mark.parametrize(
    "geometry",
    [
        {"padding": (1, 1)},
        {"stride": (2, 1), "padding": (1, 0)},
        {"dilation": (1, 2), "padding": (0, 2)},
        {"groups": 2, "padding": (1, 2)},
    ],
    ids=str,
)
def test_connection_equals_stock_conv(geometry):
    rng = np.random.default_rng(1)
    shape = (4, 7, 6)
    weight = rng.integers(-127, 128, (6, 4 // geometry.get("groups", 1), 3, 2)).astype(np.int8)
    spikes = ternary(rng, *shape)
    flip = {key: n[::-1] if isinstance(n, tuple) else n for key, n in geometry.items()}
    stock = Conv(
        # Lava convolves (so the kernel is flipped) and has its axes the other way round.
        weight=weight[:, :, ::-1, ::-1].transpose(0, 3, 2, 1).astype(int),
        input_shape=shape[::-1],
        num_message_bits=8,
        **flip,
    )
    (a,) = play(spikes.transpose(0, 3, 2, 1), through(stock, "s_in", "a_out"))
    (b,) = play(spikes, ours(Conv2d(weight=weight, **geometry), shape))
    assert np.count_nonzero(b)
    np.testing.assert_array_equal(a.transpose(0, 3, 2, 1), b)


@pytest.mark.parametrize(
    ("operator", "options"),
    [
        (Identity(scale=np.array([[[3]], [[-5]]], np.int8)), {"exponent": 2}),
        (Conv2d(weight=np.ones((1, 2, 2, 2), np.int8)), {"delay": 3}),
        (Dense(weight=np.ones((3, 8), np.int8)), {"pool": SumPool(kernel=(2, 2), stride=(2, 2))}),
    ],
    ids=["identity", "delay", "pool"],
)
def test_connection_equals_its_definition(operator, options):
    """What stock processes cannot represent equals ``Connection.current``, one step later."""
    spikes = ternary(np.random.default_rng(2), 2, 4, 4)
    connection = Connection(sources=("a",), target="b", operator=operator, **options)
    (got,) = play(spikes, ours(operator, (2, 4, 4), **options))
    late = 1 + connection.delay
    np.testing.assert_array_equal(got[late:], connection.current(spikes)[:-late])
    assert not got[:late].any()


@pytest.mark.parametrize("bias", [0, 5])
def test_neuron_equals_stock_lif(bias):
    """Spikes, currents and potentials, step by step; the threshold of Lava's LIF is strict."""
    rng = np.random.default_rng(3)
    spikes = rng.integers(-40, 60, (STEPS, 20))
    du, dv, vth = 1000, 600, 70
    stock = LIF(shape=(20,), du=du, dv=dv, vth=vth, bias_mant=bias, bias_exp=6)
    neuron = FixedPointNeuron(
        k=DECAY_ONE - (du + 1),
        b_pos=DECAY_ONE - dv,
        b_neg=DECAY_ONE - dv,
        th_pos=(vth << 6) + 1,
        bias=bias << 6,
    )
    mine = NeuronProcess(neuron, (20,))
    source = Source(data=spikes.T)
    source.s_out.connect(stock.a_in)
    source.s_out.connect(mine.a_in)
    sinks = []
    for out in (stock.s_out, mine.s_out):
        sink = Sink(shape=(20,), buffer=STEPS)
        out.connect(sink.a_in)
        sinks.append(sink)
    try:
        for _ in range(STEPS):
            source.run(lava.RunSteps(num_steps=1), CONFIG)
            np.testing.assert_array_equal(stock.u.get(), mine.i.get())
            np.testing.assert_array_equal(stock.v.get(), mine.v.get())
        fired, expected = (sink.data.get() for sink in sinks)
    finally:
        source.stop()
    np.testing.assert_array_equal(fired, expected)
    assert 0 < fired.mean() < 1


def test_strict_threshold_equals_stock_lif_at_the_threshold():
    """A potential that equals the threshold does not fire a strict neuron, nor Lava's."""
    spikes = np.full((4, 1), 10)
    neuron = FixedPointNeuron(strict=True, th_pos=10 << 6, b_pos=0)
    (stock, mine) = play(
        spikes,
        through(LIF(shape=(1,), du=4095, dv=4095, vth=10), "a_in", "s_out"),
        through(NeuronProcess(neuron, (1,)), "a_in", "s_out"),
    )
    np.testing.assert_array_equal(stock, mine)
    assert not mine.any()


def test_connection_fails_at_a_payload_beyond_its_bound():
    """Its products are exact up to the payload that it was built for."""
    connection = Connection(sources=("a",), target="b", operator=Identity(scale=np.int8(1)))
    source = Source(data=np.array([[1, -2, 5]]))
    process = ConnectionProcess(connection, (1,), payload=4)
    source.s_out.connect(process.s_in)
    with pytest.raises(EngineError, match="a spike of magnitude 5 > 4"):
        LavaRun(source, CONFIG).steps(3)


def test_connection_refuses_sums_beyond_its_port():
    """They would wrap around without a word; a smaller payload or exponent is fine."""
    weight = np.full((1, 600), 127, np.int8)

    def build(exponent: int, payload: int) -> ConnectionProcess:
        operator = Dense(weight=weight)
        connection = Connection(sources=("a",), target="b", operator=operator, exponent=exponent)
        return ConnectionProcess(connection, (600,), payload=payload)

    text = f"a->b: got sums of up to {127 * 600 * 127 << 8} from spikes of up to 127"
    with pytest.raises(UnsupportedError, match=text):
        build(exponent=8, payload=127)
    build(exponent=7, payload=127)
    build(exponent=8, payload=1)


def test_plastic_connection_equals_the_reference():
    """A loop of connection and neuron; what arrives is one step late, as everywhere in Lava."""
    from tests.networks import Builder
    from trispike.network import Plasticity, make_plastic
    from trispike.network.learning import plastic
    from trispike.runtime.reference import ReferenceEngine

    b = Builder(3, (9,), steps=STEPS, encoding="spikes")
    b.layer("input", "a", b.dense("input", 6), exponent=1)
    rule = Plasticity.from_real(eta=0.3, theta=1.5, eps=0.02, pre_decay=0.5, post_decay=0.8)
    network = make_plastic(b.build("a"), {"input->a": rule})
    spikes = ternary(np.random.default_rng(0), 9)
    late = np.concatenate([np.zeros((1, 9), int), spikes[:-1]])
    reference = ReferenceEngine(network, weights="step").run(late[None], record={"a": "s"})

    connection = plastic(network)["input->a"]
    learning = PlasticConnectionProcess(connection, (9,))
    neuron = NeuronProcess(network.populations["a"].neuron, (6,))
    source, sink = Source(data=spikes.T), Sink(shape=(6,), buffer=STEPS)
    source.s_out.connect(learning.s_in)
    learning.a_out.connect(neuron.a_in)
    neuron.s_out.connect(learning.post_in)
    neuron.s_out.connect(sink.a_in)
    fine = []
    try:
        for _ in range(STEPS):
            source.run(lava.RunSteps(num_steps=1), CONFIG)
            fine.append(learning.fine.get().reshape(6, 9).astype(int))
        fired = sink.data.get().T
    finally:
        source.stop()
    np.testing.assert_array_equal(fired, reference.records["a"]["s"][0])
    np.testing.assert_array_equal(fine, reference.weights["input->a"][0])
    assert len(np.unique(fine, axis=0)) > STEPS // 2


def test_plastic_and_fixed_connections_are_told_apart():
    from trispike.network import Plasticity

    fixed = Connection(sources=("a",), target="b", operator=Dense(weight=np.ones((2, 3), np.int8)))
    ruled = Connection(
        sources=("a",), target="b", operator=fixed.operator, plasticity=Plasticity(eta=1)
    )
    with pytest.raises(UnsupportedError, match="a plasticity rule"):
        ConnectionProcess(ruled, (3,))
    with pytest.raises(UnsupportedError, match="fixed weights"):
        PlasticConnectionProcess(fixed, (3,))
