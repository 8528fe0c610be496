"""Placements, recounted neuron by neuron; and what is known of them by hand."""

from itertools import pairwise
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.networks import CASES, Builder, random_network
from tests.strategies import integer_networks
from tests.targets.loihi.brute import Brute
from tests.targets.loihi.brute_pixels import BrutePixels
from trispike import convert
from trispike.errors import UnsupportedError
from trispike.network import Dense, IntegerNetwork
from trispike.quantize import quantize
from trispike.targets.lava.schedule import schedule
from trispike.targets.loihi.demand import demand, fans
from trispike.targets.loihi.hardware import load_board, load_chip
from trispike.targets.loihi.placement import Core, Placement, place, smallest_board, try_to_place
from trispike.targets.loihi.tiles import Strategy, Tile
from trispike.targets.loihi.traffic import count_traffic
from trispike.targets.loihi.whatif import board_fits, pooling_apart, what_ifs

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
    for name, fan in fans(demand(network, placement.chip)).items():
        counted = brute.fan_in(name), brute.fan_out(name)
        assert np.greater_equal(fan, counted).all() if bound else fan == counted, name
    seen = {name: np.zeros(grid, int) for name, grid in placement.grids.items()}
    misfits = {m.population for m in placement.misfits}
    for core in placement.cores:
        total = np.zeros(5, int)
        for tile in core.tiles:
            seen[tile.population][tile.slices] += 1
            use = tile.use
            assert use.neurons == len(brute.elements(tile))
            axons, counted = use[2:4], (brute.in_axons(tile), brute.out_axons(tile))
            assert np.greater_equal(axons, counted).all() if bound else axons == counted
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


def test_a_layer_by_hand():
    """The computation that docs/placement.md shows: 16 -> 16 channels, 3x3, 8x8 pixels."""
    tiles = tiles_by_population(place(hand_network(), load_chip("loihi1")))
    first, second = tiles["middle"]
    assert (first.channels, second.channels) == ((0, 8), (8, 16))
    lists = 20_736 + 4 * 13_824 + 4 * 9_216
    assert first.use == second.use == (512, 2 * lists, 128, 512, 8)
    (whole,) = tiles_by_population(place(hand_network(), load_chip("loihi2")))["middle"]
    assert whole.use == (1024, 16 * 16 * 9 * 8, 64, 64, 16)


def hand_network() -> IntegerNetwork:
    """Two convolutions as in the demo's network, with a threshold for each channel."""
    b = Builder(5, (1, 8, 8))
    thresholds = np.arange(640, 640 + 64 * 16, 64).reshape(16, 1, 1)
    both = {"th_pos": thresholds, "th_neg": thresholds}
    last = "input"
    for name in ("before", "middle", "after"):
        b.layer(last, name, b.conv(last, 16), neuron=both)
        last = name
    return b.build("after")


def tiles_by_population(placement: Placement) -> dict[str, list[Tile]]:
    found: dict[str, list[Tile]] = {}
    for core in placement.cores:
        for tile in core.tiles:
            found.setdefault(tile.population, []).append(tile)
    return found


@pytest.mark.parametrize("strategy", ["compact", "low-traffic"])
def test_placing_is_deterministic(strategy):
    network, chip = random_network(7), load_chip("loihi1", {"neurons_per_core": "5"})
    first = try_to_place(network, chip, strategy=strategy)
    again = try_to_place(random_network(7), chip, strategy=strategy)
    assert first.cores == again.cores
    assert first.network_sha256 == again.network_sha256


def test_the_binding_limit_is_the_one_that_is_fullest():
    placement = place(hand_network(), load_chip("loihi1"))
    middle = {p.name: p for p in placement.populations}["middle"]
    assert (middle.tiles, middle.tile, middle.cores) == (2, (8, 8, 8), 2)
    assert middle.binding == "thresholds"
    assert middle.utilisation == {
        "neurons": 0.5, "synapse_bits": 225_792 / 2**20, "in_axons": 128 / 4096,
        "out_axons": 512 / 4096, "thresholds": 1.0,
    }  # fmt: skip
    more = place(hand_network(), load_chip("loihi1", {"thresholds_per_core": "none"}))
    assert {p.name: p.tiles for p in more.populations}["middle"] == 1


def test_a_limit_moves_the_tiles():
    """1,024 neurons, 100 a core: 11 tiles would do, but 16x8x8 has no such equal parts."""
    chip = load_chip("loihi2", {"neurons_per_core": "100"})
    assert {p.name: p.tiles for p in place(hand_network(), chip).populations} == {
        "before": 12, "middle": 12, "after": 12, "readout": 1,
    }  # fmt: skip


def test_positions_on_the_mesh():
    chip = load_chip("loihi2", {"neurons_per_core": "10"})
    network = hand_network()
    board = load_board("kapoho-point")
    compact = place(network, chip, board=board)
    for core in compact.cores:
        column, row = core.chip % 4, core.chip // 4
        router = core.core // 4
        assert (core.x, core.y) == (column * 8 + router // 4, row * 4 + router % 4)
    assert [(c.chip, c.core) for c in compact.cores] == [
        divmod(n, 128) for n in range(len(compact.cores))
    ]
    winding = place(network, chip, board=board, strategy="low-traffic")
    held = sorted(winding.cores, key=lambda core: first_tile(network, core))
    steps = [abs(a.x - b.x) + abs(a.y - b.y) for a, b in pairwise(held)]
    assert max(steps) <= 4  # at the seam between two chips


def first_tile(network: IntegerNetwork, core: Core) -> tuple[int, Any]:
    order = [*network.order, network.readout.name]
    return min((order.index(t.population), (t.channels, t.rows, t.columns)) for t in core.tiles)


def test_a_neuron_that_does_not_fit_is_named():
    chip = load_chip("loihi1", {"in_axons": "10"})
    with pytest.raises(
        UnsupportedError, match="'middle' needs 18 in axons for one neuron, a core has 10"
    ):
        place(hand_network(), chip)
    placement = try_to_place(hand_network(), chip)
    assert not placement.fits
    assert {m.population for m in placement.misfits} >= {"middle", "after"}


def test_the_smallest_board_is_chosen():
    chip = load_chip("loihi2")
    assert smallest_board(chip, 120) == load_board("oheo-gulch")
    assert smallest_board(chip, 121) == load_board("kapoho-point")
    assert smallest_board(chip, 140_545) is None
    board = load_board("oheo-gulch")
    crowded = place(hand_network(), load_chip("loihi2", {"neurons_per_core": "9"}), board=board)
    assert not crowded.fits
    assert crowded.chips == -(-len(crowded.cores) // 120) > 1


def test_settings_hold_in_alternatives_too():
    chip = load_chip("loihi2", {"neurons_per_core": "64"})
    network = hand_network()
    rows = {row.change: row for row in what_ifs(network, place(network, chip))}
    (flexible,) = [row for change, row in rows.items() if change.startswith("loihi2:flexible")]
    assert flexible.cores == 3 * 16 + 1


def test_pooling_apart_has_the_sums_as_neurons():
    network = CASES["pooled_downsample"]()
    apart = pooling_apart(network)
    assert all(c.pool is None or c.target.startswith("pool") for c in apart.all_connections)
    added = {n: p.shape for n, p in apart.populations.items() if n not in network.populations}
    for connection in network.all_connections:
        if connection.pool:
            shape = connection.pool.output_shape(network.source_shape(connection))
            assert shape in added.values()
    recount(apart, place(apart, load_chip("loihi1")), exact=False)


def test_what_would_help_is_listed():
    placement = place(hand_network(), load_chip("loihi1"))
    rows = {row.change: row for row in what_ifs(hand_network(), placement)}
    assert rows["one threshold per layer"].cores < len(placement.cores)
    assert rows["chip Loihi 2"].board == "oheo-gulch"
    assert rows["weights of 4 bits"].cores <= len(placement.cores)
    assert [fit.board.id for fit in board_fits(placement)] == [
        "kapoho-bay", "nahuku", "pohoiki-springs"
    ]  # fmt: skip


def recount_pixels(network: IntegerNetwork, placement: Placement) -> None:
    """The same as ``recount``, of networks that are too large for it."""
    brute = BrutePixels(network, placement)
    seen = {name: np.zeros(grid, int) for name, grid in placement.grids.items()}
    limits = [np.inf if n is None else n for n in placement.limits]
    for core in placement.cores:
        total = np.zeros(5, int)
        for tile in core.tiles:
            seen[tile.population][tile.slices] += 1
            size = tile.channels.size * tile.rows.size * tile.columns.size
            assert tile.use == (
                size, brute.synapse_bits(tile), brute.in_axons(tile), brute.out_axons(tile),
                brute.thresholds(tile),
            )  # fmt: skip
            total += tile.use
        assert (total <= limits).all()
    for count in seen.values():
        assert (count == 1).all()


@pytest.mark.parametrize("strategy", get_args(Strategy))
@pytest.mark.parametrize("target", ["loihi1", "loihi2", "loihi2:flexible", "loihi2:lists"])
def test_a_whole_vgg6(target, strategy, vgg6):
    recount_pixels(vgg6, place(vgg6, load_chip(target), strategy=strategy))


def test_a_layer_of_vgg6_by_hand(vgg6):
    """As docs/placement.md computes it."""
    tiles = tiles_by_population(place(vgg6, load_chip("loihi2")))["features.6"]
    assert {tile.use for tile in tiles} == {(6272, 32 * 64 * 36 * 8, 448, 112, 64)}
    tiles = tiles_by_population(place(vgg6, load_chip("loihi1")))["features.6"]
    assert len(tiles) == 32
    assert {tile.use for tile in tiles} == {(392, 256 * 1152 * 2, 512, 11 * 7 * 10 * 4, 8)}
    assert fans(demand(vgg6, load_chip("loihi2")))["features.6"] == (1152, 576)


@pytest.mark.slow
@pytest.mark.parametrize(("target", "most"), [("loihi2", 260), ("loihi1", 50_000)])
def test_a_whole_resnet19(target, most, resnet19):
    chip = load_chip(target)
    placements = {s: place(resnet19, chip, strategy=s) for s in get_args(Strategy)}
    for placement in placements.values():
        assert placement.fits
        assert len(placement.cores) <= most
        recount_pixels(resnet19, placement)
    # As docs/placement.md computes it.
    tiles = tiles_by_population(placements["compact"])["layer3.1.relu1"]
    by_hand = {"loihi2": (1728, 995_328, 64, 1216, 27), "loihi1": (7, 967_680, 18, 2048, 7)}
    assert by_hand[target] in {tile.use for tile in tiles}
    fan = fans(demand(resnet19, chip))["layer3.1.relu1"]
    assert fan == (4608, 4608)
    assert len(placements["compact"].cores) <= len(placements["low-traffic"].cores)
    ones = {
        name: np.ones((resnet19.steps, *resnet19.shape_of(name)), int)
        for name in (resnet19.input.name, *resnet19.populations)
    }
    if target == "loihi2":
        compact, low = (count_traffic(resnet19, placements[s], ones, 1).total for s in placements)
        assert low.messages.sum() < compact.messages.sum()
        assert (low.hops_x + low.hops_y).sum() < (compact.hops_x + compact.hops_y).sum()


@pytest.fixture(scope="module")
def vgg6() -> IntegerNetwork:
    """The network of Fashion-MNIST, with random weights."""
    return random_weights("ctsn-vgg6", (1, 28, 28))


@pytest.fixture(scope="module")
def resnet19() -> IntegerNetwork:
    """The published architecture on 32x32 images, T = 4, with random weights."""
    return random_weights("ctsn-resnet19", (3, 32, 32))


def random_weights(arch: str, shape: tuple[int, ...]) -> IntegerNetwork:
    torch = pytest.importorskip("torch")
    from trispike.nn import build_model, randomize

    torch.manual_seed(0)
    model = build_model(arch, steps=4)
    randomize(model, seed=0)
    x = np.random.default_rng(0).normal(size=(2, *shape))
    return quantize(convert(model, x, steps=4, proof_samples=1).network, x).network
