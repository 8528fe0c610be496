"""One connection: the carrier is exact, whichever way its operator runs."""

import logging
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("numba", reason="numba is not installed")

from tests.networks import CASES, Builder, sample_inputs
from tests.runtime.equality import assert_equal
from trispike.network import Conv2d, Dense, Identity, IntegerNetwork, Network, SumPool
from trispike.runtime.fast import FastEngine, links
from trispike.runtime.fast.links import Link, Signal
from trispike.runtime.fast.operators import EventRunner, Int8Runner
from trispike.runtime.fast.workers import Workers
from trispike.runtime.reference import ReferenceEngine

# ------------------------------------------------------------------------------------- signals


@given(st.integers(1, 5), st.integers(0, 7), st.booleans())
def test_signals_arrive_late(steps, delay, still):
    """Silence at first; what is alike at all steps arrives at all later ones."""
    values = np.arange(1 if still else steps).reshape(-1, 1, 1).astype(np.uint8) + 3
    signal = Signal(values, 2)
    expected = [2 if t < delay else 3 + (0 if still else t - delay) for t in range(steps)]
    late = signal.late(delay, steps)
    assert np.broadcast_to(late.values, (steps, 1, 1)).reshape(-1).tolist() == expected
    assert [signal.at(t, delay).values.item() for t in range(steps)] == expected


# ------------------------------------------------------------------------------------- carriers


def after_population(inputs: int, operator: Any, **options: Any) -> IntegerNetwork:
    """A population that copies its input, and one connection from it to the readout."""
    b = Builder(1, (inputs,))
    b.layer("input", "a", Identity(scale=np.int8(1)), neuron={"th_pos": 1 << 6, "th_neg": 1 << 6})
    b.connect("a", "readout", operator, **options)
    return b.build(classes=operator.output_shape((inputs,))[0])


def link_of(network: Network, label: str) -> Link:
    return Link(network, label, dict(network.labelled())[label], Workers(1))


def dense_with_sum(total: int) -> Dense:
    """One row of weights whose magnitudes add up to this."""
    weight = np.full((1, -(-total // 127)), 127, np.int8)
    weight[0, -1] = total - 127 * (weight.size - 1)
    return Dense(weight=weight)


@pytest.mark.parametrize(
    ("total", "exponent", "carrier"),
    [
        ((1 << 24) - 1, 0, "int8"),
        (1 << 24, 0, "float64"),
        ((1 << 24) + 1, 0, "float64"),
        ((1 << 8) - 1, 16, "int8"),
        (1 << 8, 16, "float64"),
    ],
)
def test_the_carrier_at_the_bound(total, exponent, carrier, caplog):
    """All neurons fire, and the sum is what float32 holds only just, or does not."""
    operator = dense_with_sum(total)
    network = after_population(operator.weight.size, operator, exponent=exponent)
    with caplog.at_level(logging.WARNING, "trispike"):
        link = link_of(network, "a->readout")
    assert link.carrier == carrier
    assert ("a->readout" in caplog.text) == (carrier != "int8")
    assert (f"sums up to {total << exponent} are beyond float32" in caplog.text) == (
        carrier != "int8"
    )
    spikes = np.ones((2, operator.weight.size), np.int64)
    spikes[1] = -1
    got = link.currents(Signal((spikes + 1).astype(np.uint8)[None], 1))
    assert got.reshape(-1).astype(object).tolist() == [total << exponent, -(total << exponent)]


def test_sums_beyond_float64_are_computed_in_int64(caplog):
    """The bound counts all windows as full: chained pooling over a map of one element."""
    pool = SumPool(
        kernel=(16, 16), stride=(4, 4), padding=(8, 8),
        then=SumPool(kernel=(16, 16), stride=(8, 8), padding=(8, 8),
                     then=SumPool(kernel=(16, 16), stride=(16, 16), padding=(8, 8))),
    )  # fmt: skip
    b = Builder(2, (2, 9, 9), encoding="spikes", steps=2)
    b.layer("input", "a", b.conv("input", 3, 1), pool=pool, exponent=16)
    network = b.build("a")
    with caplog.at_level(logging.WARNING, "trispike"):
        assert link_of(network, "input->a").carrier == "int64"
    assert "connection input->a" in caplog.text
    x = sample_inputs(network, 3)
    reference = ReferenceEngine(network).run(x, record="all")
    assert_equal(FastEngine(network).run(x, record="all"), reference)


@pytest.mark.parametrize(
    "case", ["groups", "chained_pool", "sew_addition", "dilation", "recurrent"]
)
def test_without_int8(case, monkeypatch):
    """On machines whose int8 is missing or saturates."""
    monkeypatch.setattr(links, "int8_is_exact", lambda: False)
    network = CASES[case]()
    engine = FastEngine(network, threads=1)
    carriers = {label: link_of(network, label).carrier for label in network.labels}
    assert set(carriers.values()) == {"float32"}
    x = sample_inputs(network, 5)
    assert_equal(engine.run(x, record="all"), ReferenceEngine(network).run(x, record="all"))


def test_payloads_that_no_code_holds():
    """The input and a population in one connection: 128 and more."""
    b = Builder(3, (2, 5, 4), encoding="spikes")
    b.layer("input", "a", b.identity("input"))
    b.layer(("input", "a"), "b", b.conv("a", 3))
    b.layer(("a", "input"), "c", b.identity("a"), delay=1)
    network = b.build("b")
    link = link_of(network, "input+a->b")
    assert link.carrier == "float32"
    assert not link_of(network, "a+input->c").is_shortcut
    x = np.where(sample_inputs(network, 4) > 0, 127, -127)
    reference = ReferenceEngine(network).run(x, record="all")
    assert reference.records["a"]["s"].any()
    assert_equal(FastEngine(network).run(x, record="all"), reference)


@pytest.mark.parametrize(
    ("shape", "scale", "target"),
    [
        ((3, 1, 1), (3, 1, 1), (3,)),
        ((1, 2, 3), (1, 2, 3), (6,)),
        ((6,), (6,), (1, 2, 3)),
        ((6,), (6,), (2, 3, 1)),
        ((6,), (6,), (6, 1, 1)),
        ((2, 3, 2), (2, 1, 1), (12,)),
        ((12,), (12,), (2, 3, 2)),
        ((12,), (), (2, 3, 2)),
    ],
)
def test_identities_between_flat_and_not(shape, scale, target):
    """The order of the elements stays, wherever the kernel applies the scale."""
    b = Builder(4, shape, encoding="spikes")
    b.shapes["a"] = target
    b.layer("input", "a", Identity(scale=b.integers(*scale) | 1))
    network = b.build("a")
    x = sample_inputs(network, 4)
    reference = ReferenceEngine(network).run(x, record="all")
    assert_equal(FastEngine(network).run(x, record="all"), reference)


# ------------------------------------------------------------------------------------- events

GEOMETRIES: dict[str, Any] = {
    "plain": {},
    "strides": {"stride": (2, 1), "padding": (0, 2)},
    "wide strides": {"stride": (4, 5)},
    "groups": {"groups": 2, "padding": (1, 1)},
    "depthwise": {"groups": 4, "padding": (1, 0)},
    "dilation": {"dilation": (2, 3), "padding": (2, 3), "stride": (2, 2)},
}


def sparse_network(geometry: dict[str, Any]) -> IntegerNetwork:
    """A convolution and a matrix behind a population that fires as its input does."""
    b = Builder(5, (4, 8, 7), encoding="spikes")
    once = {"th_pos": 1 << 6, "th_neg": 1 << 6, "bias": 0}
    b.layer("input", "a", Identity(scale=np.int8(1)), neuron=once)
    groups = geometry.get("groups", 1)
    conv = Conv2d(weight=b.integers(8, 4 // groups, 3, 2), **geometry)
    b.layer("a", "b", conv, exponent=2)
    b.connect("a", "readout", b.dense("a", 5))
    return b.build("b", classes=5)


def sparse_inputs(network: Network, samples: int = 6, rate: float = 0.04) -> Any:
    rng = np.random.default_rng(6)
    shape = (samples, *network.input.data_shape(network.steps))
    return rng.choice([-1, 1], shape) * (rng.random(shape) < rate)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("threads", [1, 2])
def test_events_and_dense_operators_are_equal(geometry, threads, monkeypatch):
    network = sparse_network(GEOMETRIES[geometry])
    x = sparse_inputs(network)
    reference = ReferenceEngine(network).run(x, record="all")
    assert 0 < reference.ledger.firing_rate("a") < links.EVENT_RATE
    used: list[str] = []
    fill = EventRunner.fill

    def noted(self: EventRunner, *args: Any) -> None:
        used.append("events")
        fill(self, *args)

    monkeypatch.setattr(EventRunner, "fill", noted)
    for seconds, expected in ((1e9, True), (1e-12, False)):
        engine = FastEngine(network, threads=threads)
        for link in _links(engine):
            as_if_timed(link, dense=seconds, events=1.0)
        used.clear()
        assert_equal(engine.run(x, record="all"), reference)
        assert bool(used) == expected


def as_if_timed(link: Link, *, dense: float, events: float) -> None:
    """Settle which way is quicker, for batches of any size."""
    link._dense_seconds, link._event_seconds = dense, events
    link._timed_images = 1 << 30


def _links(engine: FastEngine) -> list[Link]:
    machine: Any = engine._machine
    return [link for into in machine._links.values() for link in into]


@pytest.mark.parametrize("slow", ["events", "dense"])
def test_the_faster_way_is_found_by_time(slow, monkeypatch):
    """Both are timed on the first sparse batch and on far larger ones; the winner runs."""
    network = sparse_network({"padding": (1, 1)})
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    used: list[str] = []

    def tick(name: str, function: Any) -> Any:
        def timed(*args: Any) -> Any:
            used.append(name)
            clock[0] += 2.0 if name == slow else 1.0
            return function(*args)

        return timed

    engine = FastEngine(network, threads=1)
    (link,) = (link for link in _links(engine) if link.label == "a->b")
    monkeypatch.setattr(link, "_by_events", tick("events", link._by_events))
    monkeypatch.setattr(link, "_run", tick("dense", link._run))
    x = sparse_inputs(network)
    reference = ReferenceEngine(network).run(x)
    assert_equal(engine.run(x), reference)
    winner = "dense" if slow == "events" else "events"
    timed = [*["dense"] * links.RACES, "events", *["events"] * links.RACES]  # one image, then all
    assert used == [*timed, winner]
    for copies, times in ((1, 1), (links.GROWTH, len(timed) + 1), (links.GROWTH, 1), (1, 1)):
        used.clear()
        many = np.concatenate([x] * copies)
        assert_equal(engine.run(many), ReferenceEngine(network).run(many))
        assert len(used) == times
        assert used[-1] == winner
    used.clear()
    assert_equal(engine.run(x[:0]), ReferenceEngine(network).run(x[:0]))
    busy = sample_inputs(network, 3)
    assert_equal(engine.run(busy), ReferenceEngine(network).run(busy))
    assert used == ["dense"]  # far above the rate at which events could win


def test_events_win_less_often_the_more_there_are(monkeypatch):
    """The measured time is per event: it grows with the rate, the dense one does not."""
    network = sparse_network({})
    link = link_of(network, "a->b")
    as_if_timed(link, dense=1.0, events=20.0)
    used: list[str] = []

    def note(name: str) -> Any:
        return lambda *_: used.append(name)

    monkeypatch.setattr(link, "_run", note("dense"))
    monkeypatch.setattr(link, "_by_events", note("events"))
    for rate in (0.0, 0.049, 0.051, 0.079, 0.081, 1.0):
        link._apply(np.zeros((1, 8, 7, 4), np.uint8), 1, rate)
    assert used == ["events", "events", "dense", "dense", "dense", "dense"]


def test_connections_that_never_run_by_events():
    """Those of identities, and of wide or float sums."""
    network = sparse_network({})
    assert link_of(network, "a->b")._events
    assert not link_of(network, "input->a")._events
    wide = [replace(c, exponent=16) for c in network.connections]
    assert not link_of(replace(network, connections=tuple(wide)), "a->b")._events


def test_an_int8_convolution_that_fails_is_noticed(monkeypatch, caplog):
    """Whatever the reason: the engine compares before it trusts."""
    right = Int8Runner.__call__

    def wrong(self: Int8Runner, values: Any, silence: int) -> Any:
        result = right(self, values, silence)
        result.flat[-1] += 1
        return result

    network = sparse_network({"padding": (1, 1)})
    x = sparse_inputs(network)
    monkeypatch.setattr(links, "int8_is_exact", lambda: True)
    monkeypatch.setattr(Int8Runner, "__call__", wrong)
    engine = FastEngine(network)
    assert "connection a->b: int8 convolutions fail here; it runs in float32" in caplog.text
    carriers = {link.label: link.carrier for link in _links(engine)}
    assert carriers["a->b"] == carriers["b->readout"] == "float32"
    assert_equal(engine.run(x), ReferenceEngine(network).run(x))
