"""The loop over time steps: order within a step, delays, sums of sources, readout."""

from typing import Any

import numpy as np
import pytest

from tests.networks import CASES, sample_inputs
from trispike.network import (
    Connection,
    Dense,
    FloatNetwork,
    Identity,
    Input,
    Network,
    Neuron,
    Population,
    Readout,
)
from trispike.network.dynamics import TimeStep, time_steps

STEPS = 8
ONE = Population(shape=(1,), neuron=Neuron(th_pos=1.0, th_neg=1.0, b_pos=0.5, b_neg=0.5))


def link(sources: str | tuple[str, ...], target: str, weight: float = 1.0, delay: int = 0) -> Any:
    names = (sources,) if isinstance(sources, str) else sources
    return Connection(sources=names, target=target, operator=Identity(scale=weight), delay=delay)


def network(names: str, *connections: Connection, **readout: Any) -> FloatNetwork:
    """Populations of one neuron each; the last one is read out unless stated otherwise."""
    last = link(names[-1], "readout")
    defaults: dict[str, Any] = {
        "connections": (last,), "bias": [0.0], "weights": np.full(STEPS, 1 / STEPS),
    }  # fmt: skip
    return FloatNetwork(
        input=Input(shape=(1,), encoding="frames"),
        populations=dict.fromkeys(names, ONE),
        connections=connections,
        readout=Readout(**{**defaults, **readout}),
        steps=STEPS,
    )


def run(net: Network, x: list[float]) -> list[TimeStep]:
    data = np.array(x, dtype=float).reshape(1, -1, 1)
    return list(time_steps(net, net.input.encode(data, net.steps)))


def spikes(steps: list[TimeStep], name: str) -> list[int]:
    return [int(step.populations[name].spikes.item()) for step in steps]


class Lif:
    """The neuron of this file by hand: half of the potential is kept, zero after a spike."""

    def __init__(self) -> None:
        self.v = 0.0

    def step(self, x: float) -> int:
        v = 0.5 * self.v + x
        s = 1 if v >= 1 else -1 if v <= -1 else 0
        self.v = 0.0 if s else v
        return s


X = [0.7, 0.7, -2.0, 0.4, 0.9, 0.9, -0.3, 1.0]


def test_without_delay_a_spike_arrives_in_its_own_step():
    steps = run(network("ab", link("input", "a"), link("a", "b", 1.5)), X)
    first, second = Lif(), Lif()
    expected_a = [first.step(x) for x in X]
    expected_b = [second.step(1.5 * s) for s in expected_a]
    assert spikes(steps, "a") == expected_a
    assert spikes(steps, "b") == expected_b
    assert {1, -1, 0} == set(expected_a) == set(expected_b)


@pytest.mark.parametrize("delay", [1, 2, 5, STEPS, STEPS + 3])
def test_feedforward_delay_shifts_in_time_and_starts_with_silence(delay):
    steps = run(network("ab", link("input", "a"), link("a", "b", 1.5, delay)), X)
    first, second = Lif(), Lif()
    expected_a = [first.step(x) for x in X]
    expected_b = [second.step(1.5 * s) for s in [*[0] * delay, *expected_a][:STEPS]]
    assert spikes(steps, "b") == expected_b


def test_the_input_can_be_delayed():
    steps = run(network("a", link("input", "a", 1.0, 3)), X)
    neuron = Lif()
    assert spikes(steps, "a") == [neuron.step(x) for x in [0, 0, 0, *X[:5]]]


def test_a_direct_input_is_repeated_and_delayed_as_a_whole():
    net = network("a", link("input", "a", 1.0, 2))
    source = Input(shape=(1,), encoding="direct")
    direct = FloatNetwork(
        input=source, populations=net.populations, connections=net.connections,
        readout=net.readout, steps=STEPS,
    )  # fmt: skip
    steps = list(time_steps(direct, source.encode(np.array([[0.75]]), STEPS)))
    neuron = Lif()
    assert spikes(steps, "a") == [neuron.step(x) for x in [0, 0, *[0.75] * 6]]


def test_a_recurrent_connection_delivers_the_spikes_of_the_step_before():
    steps = run(network("a", link("input", "a"), link("a", "a", -0.8, 1)), X)
    neuron, last, expected = Lif(), 0, []
    for x in X:
        last = neuron.step(x - 0.8 * last)
        expected.append(last)
    assert spikes(steps, "a") == expected
    assert any(expected[:-1])


def test_a_loop_of_two_closes_with_one_delayed_connection():
    net = network("ab", link("b", "a", 1.25, 2), link("input", "a"), link("a", "b", 1.5))
    steps = run(net, X)
    a, b = Lif(), Lif()
    fired: list[int] = []
    for t, x in enumerate(X):
        back = fired[t - 2] if t >= 2 else 0
        fired.append(b.step(1.5 * a.step(x + 1.25 * back)))
    assert spikes(steps, "b") == fired


def test_sources_are_summed_before_the_operator_and_parallel_connections_after_it():
    net = network(
        "abc",
        *(link("input", "a"), link("input", "b", -1.0)),
        *(link(("a", "b", "input"), "c", 0.5), link("a", "c", 2.0), link("a", "c", 4.0, 1)),
    )
    steps = run(net, X)
    a = spikes(steps, "a")
    assert spikes(steps, "b") == [-s for s in a]
    late = [0, *a]
    for t, step in enumerate(steps):
        assert step.currents["c"].item() == pytest.approx(
            # 0.5 * (a - a + x), 2a, 4a of the step before: sums of a few doubles.
            0.5 * X[t] + 2 * a[t] + 4 * late[t],
            abs=1e-12,
        )
        assert [array.item() for array in step.arrived["a+b+input->c"]] == [a[t], -a[t], X[t]]
        assert [array.item() for array in step.arrived["a->c#2"]] == [late[t]]


def test_the_readout_hears_its_sources_with_their_delays_and_adds_its_bias():
    net = network(
        "a",
        link("input", "a"),
        connections=(link("a", "readout", 3.0), link("a", "readout", 10.0, 2)),
        bias=[0.25],
    )
    steps = run(net, X)
    a = spikes(steps, "a")
    late = [0, 0, *a]
    logits = [step.logits.item() for step in steps]
    assert logits == [3 * a[t] + 10 * late[t] + 0.25 for t in range(STEPS)]


@pytest.mark.parametrize(
    "weights",
    [np.full(STEPS, 1 / 8), np.eye(STEPS)[-1], np.eye(STEPS)[2], [0, 5, -2, 0, 7, 0.5, 1, -1]],
    ids=["mean", "last", "one-hot", "weighted"],
)
def test_time_weights_do_not_change_the_steps(weights):
    """They are the engines' business; see tests/runtime."""
    plain = run(network("a", link("input", "a")), X)
    weighted = run(network("a", link("input", "a"), weights=weights), X)
    assert [s.logits.item() for s in plain] == [s.logits.item() for s in weighted]


def test_a_population_that_nothing_reaches_is_driven_by_its_bias():
    clock = Population(shape=(1,), neuron=Neuron(bias=0.4, b_pos=1.0))
    net = FloatNetwork(
        input=Input(shape=(1,), encoding="frames"),
        populations={"clock": clock},
        connections=(),
        readout=Readout(connections=(link("clock", "readout"),), bias=[0.0], weights=[1.0] * STEPS),
        steps=STEPS,
    )
    assert spikes(run(net, X), "clock") == [0, 0, 1, 0, 0, 1, 0, 0]


@pytest.mark.parametrize("case", CASES)
def test_a_batch_is_its_samples_one_by_one(case):
    net = CASES[case]()
    inputs = net.input.encode(sample_inputs(net, 3), net.steps)
    together = list(time_steps(net, inputs))
    for n in range(3):
        for step, alone in zip(together, time_steps(net, inputs[n : n + 1]), strict=True):
            np.testing.assert_array_equal(step.logits[n : n + 1], alone.logits)
            for name, population in step.populations.items():
                np.testing.assert_array_equal(
                    population.v[n : n + 1], alone.populations[name].v, name
                )


@pytest.mark.parametrize("case", CASES)
def test_every_step_yields_every_part_in_its_shape_and_dtype(case):
    net = CASES[case]()
    inputs = net.input.encode(sample_inputs(net, 2), net.steps)
    steps = list(time_steps(net, inputs))
    assert [step.t for step in steps] == list(range(net.steps))
    for step in steps:
        assert tuple(step.populations) == tuple(step.currents) == net.order
        assert set(step.arrived) == set(net.labels)
        assert step.logits.shape == (2, net.readout.classes)
        assert step.logits.dtype == np.int64
        for name, population in step.populations.items():
            shape = (2, *net.populations[name].shape)
            assert population.spikes.shape == population.v.shape == shape
            assert step.currents[name].shape == shape
            assert set(np.unique(population.spikes)) <= {-1, 0, 1}


def test_no_samples_are_no_trouble():
    net = CASES["recurrent"]()
    inputs = net.input.encode(sample_inputs(net, 0), net.steps)
    assert [step.logits.shape for step in time_steps(net, inputs)] == [(0, 3)] * net.steps


@pytest.mark.parametrize("case", ["recurrent", "feedforward_delay", "fire_once", "soft_reset"])
def test_observing_a_network_with_its_own_spikes_changes_nothing(case):
    net = CASES[case]()
    inputs = net.input.encode(sample_inputs(net, 2), net.steps)
    own = list(time_steps(net, inputs))
    observed = {
        name: np.stack([step.populations[name].spikes for step in own]) for name in net.order
    }
    for a, b in zip(own, time_steps(net, inputs, observed), strict=True):
        np.testing.assert_array_equal(a.logits, b.logits)
        for name in net.order:
            np.testing.assert_array_equal(a.populations[name].v, b.populations[name].v)


def test_observed_spikes_are_delivered_and_reset_in_place_of_the_own_ones():
    net = network("ab", link("input", "a"), link("a", "b"))
    fired = [0, 1, 0, 0, -1, 0, 1, 0]
    observed = {
        "a": np.array(fired, dtype=np.int8).reshape(STEPS, 1, 1),
        "b": np.zeros((STEPS, 1, 1), dtype=np.int8),
    }
    data = np.array(X).reshape(1, STEPS, 1)
    steps = list(time_steps(net, data, observed))
    v, expected = 0.0, []
    for x, s in zip(X, fired, strict=True):
        v = 0.5 * v + x
        expected.append(v)
        v = 0.0 if s else v
    assert [step.populations["a"].v.item() for step in steps] == expected
    assert [step.currents["b"].item() for step in steps] == fired
    # Its own spikes are still told, although b was told to stay silent.
    assert spikes(steps, "b")[1] == 1
    assert spikes(steps, "a") == [1 if v >= 1 else -1 if v <= -1 else 0 for v in expected]


def test_a_matrix_may_fill_a_map_and_a_map_a_vector():
    """Row-major in both directions."""
    weight = np.arange(36.0).reshape(6, 6)
    net = FloatNetwork(
        input=Input(shape=(6,)),
        populations={
            "map": Population(shape=(1, 2, 3), neuron=Neuron(th_pos=np.inf, reset="none")),
            "vector": Population(shape=(6,), neuron=Neuron(th_pos=np.inf)),
        },
        connections=(
            Connection(sources=("input",), target="map", operator=Dense(weight=weight)),
            link("map", "vector"),
        ),
        readout=Readout(
            connections=(
                Connection(sources=("map",), target="readout", operator=Dense(weight=weight)),
            ),
            bias=np.zeros(6),
            weights=[1.0],
        ),
        steps=1,
    )
    x = np.eye(6)[:1]
    (step,) = time_steps(net, net.input.encode(x, 1))
    assert step.currents["map"].tolist() == [[[[0, 6, 12], [18, 24, 30]]]]
    assert step.currents["vector"].shape == (1, 6)
