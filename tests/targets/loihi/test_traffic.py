"""Messages and hops, recounted spike by spike; and known by hand."""

from typing import Any

import numpy as np
import pytest

from tests.networks import CASES, random_network, sample_inputs
from tests.runtime.scalar import synapses
from tests.targets.loihi.brute import Brute
from trispike.errors import InvalidDataError, UnsupportedError
from trispike.network import Dense, IntegerNetwork
from trispike.runtime import ReferenceEngine
from trispike.runtime.activity import spike_counts
from trispike.targets.lava.schedule import schedule
from trispike.targets.loihi.demand import demand
from trispike.targets.loihi.hardware import load_chip
from trispike.targets.loihi.placement import Placement, place, try_to_place
from trispike.targets.loihi.traffic import Flow, count_traffic

SMALL = {"neurons_per_core": "6", "signed_spikes": "native", "thresholds_per_core": "none"}


def spikes_of(network: IntegerNetwork, samples: int = 3) -> dict[str, Any]:
    return spike_counts(ReferenceEngine(network), sample_inputs(network, samples))


def recount(network: IntegerNetwork, placement: Placement, spikes: Any) -> dict[str, Any]:
    """By label, and in total: messages, hops along x and y, crossings; summed over steps."""
    brute = Brute(network, placement)
    where = {name: cores.reshape(-1) for name, cores in placement.core_of.items()}
    found: dict[str, Any] = {label: np.zeros(4, int) for label in network.labels}
    found["total"], found["input"] = np.zeros(4, int), np.zeros(4, int)
    for name in (network.input.name, *network.populations):
        fired = spikes[name].sum(axis=0).reshape(-1)
        for neuron, count in enumerate(fired):
            every: set[int] = set()
            here = None if name == network.input.name else int(where[name][neuron])
            for (label, c), matrix in zip(network.labelled(), brute.matrices, strict=True):
                if name in c.sources:
                    cores = {int(n) for n in where[c.target][np.flatnonzero(matrix[neuron])]}
                    found[label] += int(count) * way(placement, here, cores)
                    every |= cores
            kind = "input" if here is None else "total"
            found[kind] += int(count) * way(placement, here, every)
    return found


def way(placement: Placement, here: int | None, there: set[int]) -> Any:
    if here is None:
        return np.array([len(there), 0, 0, 0])
    a = placement.cores[here]
    return np.sum(
        [np.zeros(4, int)]
        + [
            np.array([1, abs(a.x - b.x), abs(a.y - b.y), a.chip != b.chip])
            for b in (placement.cores[n] for n in there)
        ],
        axis=0,
    )


def operations(network: IntegerNetwork, placement: Placement, spikes: Any) -> dict[str, Any]:
    """By label (T, cores): synapses met, spike by spike."""
    found = {}
    for label, c in network.labelled():
        where = placement.core_of[c.target].reshape(-1)
        reached = synapses(c, network.source_shape(c))
        found[label] = np.zeros((network.steps, len(placement.cores)), int)
        for source in c.sources:
            fired = spikes[source].reshape(network.steps, -1)
            for t, neuron in np.argwhere(fired[: max(0, network.steps - c.delay)]):
                for target, weight in reached[neuron]:
                    found[label][t + c.delay, where[target]] += (weight != 0) * fired[t, neuron]
    return found


def summed(flow: Flow) -> list[int]:
    parts = (flow.messages, flow.hops_x, flow.hops_y, flow.chip_crossings)
    return [int(part.sum()) for part in parts]


def compare(network: IntegerNetwork, strategy: Any) -> None:
    chip = load_chip("loihi1", SMALL | {"cores_per_chip": "8"})
    placement = try_to_place(network, chip, strategy=strategy)
    spikes = spikes_of(network)
    found, expected = (
        count_traffic(network, placement, spikes, 3),
        recount(network, placement, spikes),
    )
    for label, expected_operations in operations(network, placement, spikes).items():
        counted, c = found.operations[label], dict(network.labelled())[label]
        assert counted.sum(axis=1) == pytest.approx(expected_operations.sum(axis=1)), label
        stages = c.pool.stages if c.pool else ()
        if all(k <= s for stage in stages for k, s in zip(stage.kernel, stage.stride, strict=True)):
            assert np.array_equal(counted, expected_operations), label
    assert found.neurons.sum() == sum(p.size for p in network.populations.values())
    links = zip(demand(network, chip).links, network.all_connections, strict=True)
    if any(link.full and not isinstance(c.operator, Dense) for link, c in links):
        return
    for label, flow in found.connections.items():
        assert summed(flow) == expected[label].tolist(), label
    assert summed(found.total) == expected["total"].tolist()
    assert summed(found.input) == expected["input"].tolist()
    assert found.by_core.sum() == 2 * expected["total"][0] + expected["input"][0]


@pytest.mark.parametrize("strategy", ["compact", "low-traffic"])
@pytest.mark.parametrize("case", sorted(CASES))
def test_every_case_recounted(case, strategy):
    compare(CASES[case](), strategy)


@pytest.mark.parametrize("seed", range(12))
def test_random_networks_recounted(seed):
    network = random_network(seed)
    try:
        schedule(network)
    except UnsupportedError:
        return
    compare(network, "compact")


def test_by_hand():
    """Ten inputs, twelve neurons, six a core: every neuron reaches both cores of the next."""
    network = CASES["vectors"]()
    placement = place(network, load_chip("loihi1", SMALL))
    counts = {
        name: np.zeros((network.steps, *network.shape_of(name)), int)
        for name in (network.input.name, *network.populations)
    }
    counts["first"][1, 0] = 5
    found = count_traffic(network, placement, counts, 5)
    assert found.connections["first->second"].messages.tolist() == [0, 10, 0, 0]
    assert found.connections["first->third"].messages.tolist() == [0, 5, 0, 0]
    assert found.total.messages.tolist() == [0, 15, 0, 0]
    assert found.input.messages.sum() == 0


def test_counts_that_do_not_fit_are_refused():
    network = CASES["vectors"]()
    placement = place(network, load_chip("loihi2"))
    counts = spikes_of(network)
    with pytest.raises(InvalidDataError, match="spike counts of 'second': got shape"):
        count_traffic(network, placement, {**counts, "second": counts["second"][:2]}, 3)
    del counts["first"]
    with pytest.raises(InvalidDataError, match="spike counts of 'first': got none"):
        count_traffic(network, placement, counts, 3)
