"""Sizes of memories: small ones by hand, those on the cores of a placement by enumeration."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from tests.networks import CASES
from tests.runtime.energy.test_memory import content, ctsn, model, small
from trispike.network import (
    Connection,
    Conv2d,
    Dense,
    Identity,
    IntegerNetwork,
    Population,
)
from trispike.network.connection import Operator
from trispike.runtime import ReferenceEngine
from trispike.runtime.activity import spike_counts
from trispike.runtime.energy import MemoryModel, estimate_memory
from trispike.runtime.energy.memory_sizes import parameter_widths, sizes_of
from trispike.targets.loihi.hardware import load_chip
from trispike.targets.loihi.placement import Placement, place
from trispike.targets.loihi.traffic import count_traffic


def steep(**changes: object) -> MemoryModel:
    """Prices that tell apart memories of a few bytes."""
    points = content()["sram"]
    sram = [point | {"bytes": n} for point, n in zip(points, (1, 64, 2**20), strict=True)]
    return model(sram=sram, **changes)


def crowded(network: IntegerNetwork, neurons: int) -> Placement:
    """On cores of so many neurons."""
    chip = load_chip("loihi1")
    few = chip.neurons_per_core.model_copy(update={"value": neurons})
    return place(network, chip.model_copy(update={"neurons_per_core": few}))


def test_parameters_of_single_neurons_are_fetched():
    own = ctsn(a_pos=np.array([1, 2, 3, 4]), bias=np.array([1, 2, 3, 4]))
    assert parameter_widths(Population(shape=(4,), neuron=own)) == {"a_pos": 13, "bias": 24}
    assert parameter_widths(Population(shape=(4,), neuron=ctsn())) == {}
    channels = ctsn(th_pos=np.full((4, 1, 1), 64))
    assert parameter_widths(Population(shape=(4, 2, 2), neuron=channels)) == {}


@pytest.mark.parametrize(("policy", "copies"), [("native", 1), ("dual_channel", 2)])
def test_an_unforced_placement_by_hand(policy, copies):
    """One core: a memory for all weights, one for all states, one queue; nothing of Loihi's."""
    network, x = small(), np.array([[5.0, -3.0, 0.0]])
    engine = ReferenceEngine(network)
    placed = place(network, load_chip("loihi1"))
    assert len(placed.cores) == 1
    prices = steep(signed_spikes={"policy": policy, "note": "by hand"})
    found = estimate_memory(
        network, engine.run(x).ledger, prices, placement=placed,
        traffic=count_traffic(network, placed, spike_counts(engine, x), 1),
    )  # fmt: skip
    sizes = {layer.name: layer.memory_bytes for layer in found.layers}
    # 4 x 3 and 2 x 4 weights of 8 bits; c and v of 24 bits.
    assert sizes == {"input->a": 20 * copies, "a->readout": 20 * copies, "a": 4 * 48 / 8}
    # Sums of 4 neurons and 2 classes. 3 inputs: 2 bits of address, 8 of payload; 4 spikes: 2 and 1.
    expected = {
        "weight_word": 20 * copies,
        "accumulator_word": 6 * 4,
        "input_word": 6 * 4,
        "state_word": 4 * 48 / 8,
        "queue_word": (3 * 10 + 4 * 3) / 8,
    }
    terms = {term.event: term.picojoules for term in found.terms}
    for event, size in expected.items():
        price = 10 * 2 ** (math.log(size) / math.log(64))
        assert terms[event] == pytest.approx(price), event


def test_a_placement_of_vectors_stores_its_weights_and_nothing_else():
    network = CASES["vectors"]()
    placed = place(network, load_chip("loihi1"))
    assert len(placed.cores) == 1
    weights = sum(c.operator.weight.size for c in network.all_connections)
    found = sizes_of(network, model(), placed)
    for connection in network.all_connections:
        assert found.weights(connection).bytes == weights
        assert placed.cores[0].use.synapse_bits / 8 > weights


def ones(operator: Operator) -> Operator:
    if isinstance(operator, Identity):
        return replace(operator, scale=np.ones_like(operator.scale))
    return replace(operator, weight=np.ones_like(operator.weight))


def reaches(network: IntegerNetwork, connection: Connection) -> npt.NDArray[np.bool_]:
    """(source, target): whether there is a synapse, from one element at a time."""
    shape = network.source_shape(connection)
    every = np.eye(math.prod(shape), dtype=np.int64).reshape(-1, *shape)
    plain = replace(connection, operator=ones(connection.operator))
    found = plain.current(every)
    return np.asarray(found.reshape(len(every), -1) != 0)


def needed(connection: Connection, shape: tuple[int, ...], neuron: int) -> Iterator[object]:
    """Names of the weights that one neuron receives through."""
    operator = connection.operator
    place = np.unravel_index(neuron, connection.output_shape(shape))
    if isinstance(operator, Conv2d):
        yield from ((int(place[0]), n) for n in range(operator.weight[0].size))
    elif isinstance(operator, Dense):
        yield from ((neuron, n) for n in range(operator.weight.shape[1]))
    else:
        full = np.arange(operator.scale.size).reshape(operator.scale.shape)
        yield int(np.broadcast_to(full, connection.output_shape(shape))[place])


@pytest.mark.parametrize(
    "case",
    ["vectors", "pooled_downsample", "deep", "parallel_connections", "groups", "matrix_into_map",
     "shortcut_across_two_convolutions"],
)  # fmt: skip
@pytest.mark.parametrize("neurons", [4, 16, 1024])
def test_what_lies_on_each_core_by_enumeration(case, neurons):
    network = CASES[case]()
    placed = crowded(network, neurons)
    cores = sizes_of(network, model(), placed).cores
    assert cores is not None
    assert len(cores) == len(placed.cores)
    assert neurons > 16 or len(cores) > 1
    for label, connection in network.labelled():
        where = placed.core_of[connection.target].ravel()
        reach = reaches(network, connection)
        shape = network.source_shape(connection)
        for n, core in enumerate(cores):
            here = np.flatnonzero(where == n)
            assert core.neurons.get(connection.target, 0) == len(here)
            weights = {w for neuron in here for w in needed(connection, shape, int(neuron))}
            assert core.weights.get(label, 0) == len(weights)
            assert core.reached_by.get(label, 0) == reach[:, here].any(axis=1).sum()


def test_more_cores_have_smaller_memories():
    network = CASES["deep"]()
    sizes = [sizes_of(network, model(), crowded(network, n)) for n in (4, 16, 1024)]
    connection = network.all_connections[1]
    (source,) = connection.sources
    label = network.labels[1]
    for found in (
        [s.weights(connection).bytes for s in sizes],
        [s.accumulators(connection.target).bytes for s in sizes],
        [s.neurons(connection.target, s.states).bytes for s in sizes],
        [s.queue(label, source).bytes for s in sizes],
    ):
        assert found == sorted(found)
        assert found[0] < found[-1]
