"""Counts and energy against an enumeration, event by event, of the files that are written."""

from __future__ import annotations

from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.network.test_synapses import weights_between
from tests.networks import CASES, random_network, sample_inputs
from tests.targets.sanafe import event_by_event
from tests.targets.sanafe.placed import SAMPLES, recorded, replayed, scattered
from trispike.network import (
    Connection,
    Dense,
    FloatNetwork,
    Identity,
    Input,
    IntegerNetwork,
    Network,
    Neuron,
    Population,
    Readout,
)
from trispike.runtime import ReferenceEngine
from trispike.targets.loihi.hardware import load_chip
from trispike.targets.loihi.placement import place
from trispike.targets.loihi.traffic import count_traffic
from trispike.targets.sanafe import (
    Replay,
    busiest_core,
    cores_of,
    count,
    load_prices,
    price,
    replay,
    write_description,
)

PRICES = load_prices()
SOME = (
    "pooled_downsample",
    "recurrent",
    "parallel_connections",
    "vectors",
)


def check(replay: Replay, folder: Path) -> None:
    """Everything that is counted and priced, by enumeration."""
    folder.mkdir()
    write_description(replay, PRICES, folder)
    events, joules = event_by_event.run(folder, replay.steps)
    activity = count(replay, PRICES.mesh)
    totals, cost = activity.totals(), price(activity, PRICES)
    assert totals["message_out"] == totals["message_in"] == events["messages"]
    assert (totals["hop_x"], totals["hop_y"]) == (events["hops_x"], events["hops_y"])
    assert sum(n for event, n in totals.items() if "synapse" in event) == events["reads"]
    host = sum(int(group.trains.sum()) for group in replay.groups if not group.computed)
    assert totals["spike_out"] == events["fires"] - host
    for category, expected in joules.items():
        assert cost.category(category) == pytest.approx(expected, rel=1e-12)
    assert cost.joules == pytest.approx(sum(joules.values()), rel=1e-12)


@pytest.mark.parametrize("number", range(len(SOME)))
def test_named_networks(number, tmp_path):
    network = CASES[SOME[number]]()
    made = replayed(network, number, updates=("every", "fired")[number % 2])
    assert sum(int(group.trains.sum()) for group in made.groups) > 0
    check(made, tmp_path / "files")


@pytest.mark.parametrize("seed", range(4))
def test_random_networks(seed, tmp_path):
    inputs, everything = ("binary", True) if seed % 2 else ("omit", False)
    made = replayed(random_network(seed), seed, inputs=inputs, everything=everything)
    check(made, tmp_path / "files")


@pytest.mark.parametrize("case", CASES)
def test_edges_are_the_synapses_and_trains_the_spikes(case):
    network = CASES[case]()
    made = replayed(network)
    groups = {group.name: group for group in made.groups}
    pairs = [(s, c) for _, c in network.labelled() for s in c.sources]
    assert len(made.edges) == len(pairs)
    for edges, (source, c) in zip(made.edges, pairs, strict=True):
        assert (edges.source, edges.target) == (source, c.target)
        exists = np.nonzero(weights_between(c, network.source_shape(c)))
        np.testing.assert_array_equal((edges.sources, edges.targets), exists)
        assert edges.targets.max(initial=0) < len(groups[c.target].cores)
    for name, spikes in recorded(network).items():
        direct = name == network.input.name and network.input.encoding == "direct"
        each = np.stack([spikes] * network.steps, axis=1) if direct else spikes
        expected = np.abs(each).astype(bool).reshape(SAMPLES * network.steps, -1)
        np.testing.assert_array_equal(groups[name].trains, expected)
    assert not groups["readout"].trains.any()


@pytest.mark.parametrize("case", [name for name in CASES if "delay" not in name])
def test_synaptic_operations_are_those_of_the_ledger(case):
    network = CASES[case]()
    if any(c.delay for _, c in network.labelled()):
        pytest.skip("what a delay holds back at the end is counted when it is sent")
    totals = count(replayed(network), PRICES.mesh).totals()
    ledger = ReferenceEngine(network).run(_inputs(network)).ledger
    reads = sum(n for event, n in totals.items() if "synapse" in event)
    assert reads == ledger.synaptic_operations + ledger.macs
    assert totals["spike_out"] == ledger.spikes
    updates = sum(int(p.updates.sum()) for p in ledger.populations.values())
    assert totals["neuron_update"] == updates + SAMPLES * network.steps * network.readout.classes


def _inputs(network: Network) -> Any:
    return sample_inputs(network, SAMPLES, 0)


def two_layers() -> FloatNetwork:
    """Two inputs, each to two neurons on different cores; the second to one more on its own."""

    def always(size: int) -> Population:
        return Population(
            shape=(size,), neuron=Neuron(b_pos=0.0, b_neg=0.0, th_pos=0.5, th_neg=0.5)
        )

    first = Connection(sources=("input",), target="a", operator=Dense(weight=np.eye(2)))
    second = Connection(
        sources=("a",),
        target="b",
        operator=Dense(weight=np.array([[1.0, 1.0], [1.0, -1.0], [0.0, 1.0]])),
    )
    last = Connection(sources=("b",), target="readout", operator=Dense(weight=np.ones((1, 3))))
    return FloatNetwork(
        input=Input(shape=(2,), encoding="spikes"),
        populations={"a": always(2), "b": always(3)},
        connections=(first, second),
        readout=Readout(connections=(last,), bias=np.zeros(1), weights=np.ones(2)),
        steps=2,
    )


def test_by_hand():
    network = two_layers()
    # Neuron 0 of a is on tile 0 and fires once; neuron 1 on tile 6, at (1, 2), and fires twice.
    spikes = {
        "input": np.zeros((1, 2, 2)),
        "a": np.array([[[1, -1], [0, 1]]]),
        "b": np.zeros((1, 2, 3)),
    }
    cores = {"a": [0, 24], "b": [1, 24, 26]}
    made = replay(network, cores, spikes, PRICES.mesh, inputs="omit")
    totals = count(made, PRICES.mesh).totals()
    assert totals == {
        "synapse_dense": 2 + 2 * 3,
        "synapse_sparse": 0,
        "synapse_convolution": 0,
        "neuron_access": 5 * 2,
        "neuron_update": 5 * 2,
        "spike_out": 3,
        "message_out": 2 + 2 * 3,
        "message_in": 2 + 2 * 3,
        "hop_x": 1 + 2 * 1,  # neuron 0 to tile 6, neuron 1 to tile 0
        "hop_y": 2 + 2 * 2,
    }
    cost = price(count(made, PRICES.mesh), PRICES)
    picojoules = 8 * 35.5 + 10 * (51.2 + 21.6) + 3 * 69.3 + 8 * 111.0 + 3 * 3.0 + 6 * 4.2
    assert cost.joules == pytest.approx(picojoules * 1e-12, rel=1e-12)
    # Step 1: core 24 steps two neurons, one of which fires to three cores, itself included; it
    # receives two messages for three synapses, less than that. Step 2: the same without neuron 0.
    computing = 2 * (6.0 + 3.7) + 30.0 + 3 * 5.1
    receiving = 2 * 16.0 + 2 * 3.8
    assert receiving < computing
    expected = np.array([computing, computing]) * 1e-9 + 1000e-9  # two tiles
    np.testing.assert_allclose(busiest_core(count(made, PRICES.mesh), PRICES), expected, rtol=1e-12)
    assert made.left_out == {
        "input": "0 deliveries over its synapses: the host injects its values.",
        "readout": "0 deliveries over its synapses: the host adds them up.",
    }


def test_what_is_left_out_is_counted():
    network = CASES["several_readout_connections"]()
    made = replayed(network, everything=False, inputs="omit")
    ledger = ReferenceEngine(network).run(_inputs(network)).ledger
    operations = {
        label: int((c.synaptic_operations + c.macs).sum())
        for label, c in ledger.connections.items()
    }
    from_input = sum(n for label, n in operations.items() if label.startswith("input->"))
    to_readout = operations["first->readout"] + operations["second->readout"]
    assert from_input > 0
    assert to_readout > 0
    assert made.left_out == {
        "input": f"{from_input:,} deliveries over its synapses: the host injects its values.",
        "readout": f"{to_readout:,} deliveries over its synapses: the host adds them up.",
    }
    assert {edges.source for edges in made.edges} == {"first"}


def test_synchronization():
    sync = PRICES.synchronization
    assert [sync.nanoseconds(n) for n in (1, 2, 3, 4, 28, 29, 32)] == [
        600.0, 1000.0, 1000.0, 1400.0, 1400.0, 1800.0, 1800.0
    ]  # fmt: skip


def test_cores_may_have_any_shape():
    network = CASES["groups"]()
    cores = scattered(network)
    flat = {name: core.reshape(-1) for name, core in cores.items()}
    one, other = (count(replayed(network, cores=c), PRICES.mesh).totals() for c in (cores, flat))
    assert one == other


@pytest.mark.parametrize(
    ("case", "per_core"),
    [("pooled_downsample", 13), ("groups", 13), ("vectors", 5), ("parallel_connections", 13)],
)
def test_traffic_of_a_placement_is_the_same(case, per_core):
    """Counted there class by class, without a list of synapses; weights of 0 are axons there."""
    network = _without_zeros(CASES[case]())
    chip = load_chip("loihi1")
    few = chip.neurons_per_core.model_copy(update={"value": per_core})
    placed = place(network, chip.model_copy(update={"neurons_per_core": few}))
    assert len(placed.cores) > 3
    made = replayed(network, cores=cores_of(placed, network, PRICES.mesh), inputs="omit")
    totals = count(made, PRICES.mesh).totals()
    spikes = recorded(network)
    frames = np.stack([spikes["input"]] * network.steps, axis=1)
    active = {n: np.count_nonzero(s, axis=0) for n, s in {**spikes, "input": frames}.items()}
    flow = count_traffic(network, placed, active, SAMPLES).total
    assert totals["message_out"] == flow.messages.sum() > 0
    assert totals["hop_x"] == flow.hops_x.sum()
    assert totals["hop_y"] == flow.hops_y.sum() > 0


def _without_zeros(network: IntegerNetwork) -> IntegerNetwork:
    def filled(c: Connection) -> Connection:
        field = "scale" if isinstance(c.operator, Identity) else "weight"
        weight = np.where(c.operator.weight == 0, 1, np.abs(c.operator.weight)).astype(np.int8)
        return changed(c, operator=changed(c.operator, **{field: weight}))

    return changed(
        network,
        connections=tuple(map(filled, network.connections)),
        readout=changed(
            network.readout, connections=tuple(map(filled, network.readout.connections))
        ),
    )
