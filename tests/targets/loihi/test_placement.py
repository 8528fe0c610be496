"""Placements, recounted neuron by neuron; and what is known of them by hand."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.networks import random_network
from tests.strategies import integer_networks
from tests.targets.loihi.brute import Brute
from trispike.errors import UnsupportedError
from trispike.network import Dense, IntegerNetwork
from trispike.targets.lava.schedule import schedule
from trispike.targets.loihi.demand import demand
from trispike.targets.loihi.hardware import load_chip
from trispike.targets.loihi.placement import Placement, try_to_place

TIGHT = {
    "neurons_per_core": st.integers(1, 60).map(str),
    "synapse_memory": st.sampled_from([4_000, 9_000, 40_000, 10**6]).map(str),
    "in_axons": st.sampled_from([20, 60, 200, 4096]).map(str),
    "out_axons": st.sampled_from([40, 150, 600, 4096]).map(str),
    "thresholds_per_core": st.sampled_from(["none", "1", "3"]),
    "signed_spikes": st.sampled_from(["native", "pair"]),
    "neuron_bits": st.sampled_from(["0", "72"]),
}


def recount(network: IntegerNetwork, placement: Placement, *, exact: bool) -> None:
    """No neuron is lost or doubled, no tile takes more than it says, no core is too full."""
    brute = Brute(network, placement)
    links = zip(demand(network, placement.chip).links, network.all_connections, strict=True)
    # What is flattened on the way is counted as a matrix, which is too much.
    bound = any(link.full and not isinstance(c.operator, Dense) for link, c in links)
    seen = {name: np.zeros(grid, int) for name, grid in placement.grids.items()}
    misfits = {m.population for m in placement.misfits}
    for core in placement.cores:
        total = np.zeros(5, int)
        for tile in core.tiles:
            seen[tile.population][tile.slices] += 1
            use = tile.use
            assert use.neurons == len(brute.elements(tile))
            counted = brute.in_axons(tile), brute.out_axons(tile)
            if bound:
                assert (use.in_axons, use.out_axons) >= counted
            else:
                assert (use.in_axons, use.out_axons) == counted
            assert use.thresholds == brute.thresholds(tile)
            bits = brute.synapse_bits(tile)
            if placement.chip.convolution.value == "lists":
                assert use.synapse_bits == bits if exact and not bound else use.synapse_bits >= bits
            total += use
        if not misfits & {tile.population for tile in core.tiles}:
            limits = [np.inf if n is None else n for n in placement.limits]
            assert (total <= limits).all()
    for count in seen.values():
        assert (count == 1).all()


def plain(network: IntegerNetwork) -> bool:
    """Whether every connection is as the brute force knows it: no pooling, no odd flattening."""
    return all(c.pool is None for c in network.all_connections)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    strategy=st.sampled_from(["compact", "low-traffic"]),
    tight=st.fixed_dictionaries(TIGHT),
)
def test_random_networks_on_tight_cores(seed, strategy, tight):
    network = random_network(seed)
    try:
        schedule(network)
    except UnsupportedError:
        return
    placement = try_to_place(network, load_chip("loihi1", tight), strategy=strategy)
    recount(network, placement, exact=plain(network))


@settings(max_examples=20, deadline=None)
@given(
    network=integer_networks(),
    strategy=st.sampled_from(["compact", "low-traffic"]),
    tight=st.fixed_dictionaries({**TIGHT, "convolution": st.sampled_from(["lists", "kernel"])}),
)
def test_odd_networks_on_tight_cores(network, strategy, tight):
    try:
        schedule(network)
    except UnsupportedError:
        return
    placement = try_to_place(network, load_chip("loihi1", tight), strategy=strategy)
    recount(network, placement, exact=False)
