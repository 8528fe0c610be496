"""How large the memories of a digital core are, and what an access to them costs.

Without a placement each connection has a memory for its weights and one for its events, each
population one for its states, one for its sums, and so on: each just holds them. On a placement
each core has one memory for all weights that it stores, one for all states, one queue. Nothing of
the placed chip's own memory is taken but which neurons share a core: no headers, no index lists,
and as many copies of a weight as the model's policy for signs asks for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from trispike.errors import InvalidDataError, UnsupportedError
from trispike.network import (
    Connection,
    Conv2d,
    Dense,
    FixedPointNeuron,
    IntegerNetwork,
    Network,
    Population,
    digest,
)
from trispike.network.fixed_point import DECAY_BITS
from trispike.runtime.derived_counts import FLOAT_BITS, update_work
from trispike.runtime.energy.memory import MemoryModel
from trispike.targets.loihi.demand import Axis, Link, demand
from trispike.targets.loihi.placement import Core, Placement
from trispike.targets.loihi.tiles import Span, Tile

Band: TypeAlias = tuple[float, float, float]
"""Lower end, value, upper end."""

Amount = TypeVar("Amount", float, npt.NDArray[Any])
"""One number, or several."""

Bools: TypeAlias = npt.NDArray[np.bool_]


def parameter_widths(population: Population) -> dict[str, int]:
    """Widths in bits of the parameters that differ from neuron to neuron, by name.

    Others are in registers.
    """
    neuron = population.neuron
    integer = isinstance(neuron, FixedPointNeuron)
    bits = neuron.state_bits if isinstance(neuron, FixedPointNeuron) else FLOAT_BITS
    factors = ("a_pos", "a_neg", "b_pos", "b_neg", "k")
    width = dict.fromkeys(factors, DECAY_BITS + 1 if integer else bits)
    return {
        name: width.get(name, bits)
        for name, values in neuron.array_fields().items()
        if name != "v_init" and values.size == population.size > 1
    }


class Memory(NamedTuple):
    """A memory, or the mean one over cores."""

    bytes: float
    access: Band
    """pJ of one word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What lies on one core."""

    weights: Mapping[str, int]
    """Weights that its neurons need, each once, by label of the connection."""
    neurons: Mapping[str, int]
    """By population; the readout's classes among them."""
    reached_by: Mapping[str, int]
    """Elements of each source that reach the core, by label of the connection."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of memories, and the prices of accesses to them."""

    network: Network
    model: MemoryModel
    cores: Sequence[Held] | None
    """From a placement."""
    channels: int
    """Copies of a weight: two where each sign has a channel."""
    spread: bool
    """Whether an event is counted on each core that it reaches, rather than once."""

    @property
    def word(self) -> int:
        """Width of an access in bits."""
        return self.model.word_bits.value

    @property
    def sums(self) -> int:
        """Width of the sum of a neuron's input in bits."""
        return self.model.accumulator_bits.value

    def weight_bits(self, connection: Connection) -> int:
        """Width of a weight."""
        return connection.bits if self.network.kind == "integer" else FLOAT_BITS

    def weights(self, connection: Connection) -> Memory:
        """Where the weights of a connection are."""
        if self.cores is None:
            size = connection.operator.weight.size * self.weight_bits(connection)
            return self._access([(1.0, self.channels * size)])
        return self._access(
            (part, self.channels * self._stored(core))
            for part, core in self._cores_of(connection.target)
        )

    def copies(self, label: str, connection: Connection) -> int:
        """Weights of a connection, as often as there are cores that need them."""
        if self.cores is None:
            return connection.operator.weight.size
        return sum(core.weights.get(label, 0) for core in self.cores)

    def accumulators(self, target: str) -> Memory:
        """Where the sums of a population's or the readout's inputs are."""
        if self.cores is None:
            return self._access([(1.0, math.prod(self.network.shape_of(target)) * self.sums)])
        return self._access(
            (part, sum(core.neurons.values()) * self.sums) for part, core in self._cores_of(target)
        )

    def neurons(self, name: str, bits: Mapping[str, int]) -> Memory:
        """Where something is kept for each neuron of a population.

        Args:
            name: The population.
            bits: Width of what a neuron keeps, by population.
        """
        if self.cores is None:
            return self._access([(1.0, self.network.populations[name].size * bits[name])])
        return self._access(
            (part, sum(n * bits.get(other, 0) for other, n in core.neurons.items()))
            for part, core in self._cores_of(name)
        )

    def queue(self, label: str, source: str) -> Memory:
        """Where the events of a source wait: it holds all that can come in one step."""
        return self.buffer(label, source, self.entries)

    def buffer(self, label: str, source: str, bits: Mapping[str, int]) -> Memory:
        """Where what a source sends over a connection is kept.

        On a placement, the mean over the cores that it reaches, weighted by how many elements do.

        Args:
            label: The connection.
            source: One of its sources.
            bits: Width of what is kept of an element, by source.
        """
        if self.cores is None:
            return self._access([(1.0, math.prod(self.network.shape_of(source)) * bits[source])])
        total = sum(core.reached_by.get(label, 0) for core in self.cores)
        return self._access(
            (core.reached_by[label] / total, self._buffered(core, bits))
            for core in self.cores
            if core.reached_by.get(label)
        )

    def arrivals(self, label: str, source: str) -> int:
        """Elements that a source sends over a connection, once for each core if that is counted."""
        if self.cores is None or not self.spread:
            return math.prod(self.network.shape_of(source))
        return sum(core.reached_by.get(label, 0) for core in self.cores)

    @cached_property
    def states(self) -> Mapping[str, int]:
        """Bits of the states of a neuron, by population."""
        return {n: sum(update_work(p).state_bits) for n, p in self.network.populations.items()}

    @cached_property
    def parameters(self) -> Mapping[str, int]:
        """Bits of the parameters of a neuron that are its own, by population."""
        populations = self.network.populations.items()
        return {name: sum(parameter_widths(p).values()) for name, p in populations}

    @cached_property
    def entries(self) -> Mapping[str, int]:
        """Width of an event, by source: an address, and a sign or a payload."""
        names = (self.network.input.name, *self.network.populations)
        return {name: self._entry(name) for name in names}

    def packed(self, values: Amount, bits: int) -> Amount:
        """Words that hold so many values, as many whole ones to a word as fit."""
        each = self.word // bits
        return values / each if each else values * math.ceil(bits / self.word)

    def _entry(self, source: str) -> int:
        size = math.prod(self.network.shape_of(source))
        payload = self.model.payload_bits.value if source == self.network.input.name else 1
        return max(1, math.ceil(math.log2(size))) + payload

    def _stored(self, core: Held) -> int:
        """Bits of the weights on a core, once."""
        bits = {label: self.weight_bits(c) for label, c in self.network.labelled()}
        return sum(n * bits[label] for label, n in core.weights.items())

    def _buffered(self, core: Held, bits: Mapping[str, int]) -> int:
        sources = {label: c.sources for label, c in self.network.labelled()}
        return sum(
            elements * sum(bits[source] for source in sources[label])
            for label, elements in core.reached_by.items()
        )

    def _cores_of(self, target: str) -> list[tuple[float, Held]]:
        """The cores of a population with the share of it that is on them."""
        size = math.prod(self.network.shape_of(target))
        return [
            (core.neurons[target] / size, core)
            for core in self.cores or ()
            if target in core.neurons
        ]

    def _access(self, sizes: Iterable[tuple[float, int]]) -> Memory:
        sizes = list(sizes)
        bands = [(part, self.model.access(bits / 8)) for part, bits in sizes]
        low, price, high = (sum(part * band[n] for part, band in bands) for n in range(3))
        mean = sum(part * bits / 8 for part, bits in sizes)
        return Memory(mean, (low, price, high))


def sizes_of(
    network: Network, model: MemoryModel, placement: Placement | None = None, *, spread: bool = True
) -> Sizes:
    """The memories of a core, or of the cores of a placement.

    Args:
        network: What runs on it.
        model: Prices and widths.
        placement: Of this network.
        spread: Whether it is counted how many cores an event reaches.

    Raises:
        InvalidDataError: A placement of another network.
        UnsupportedError: A placement on which not every neuron has a core.
    """
    return Sizes(
        network=network,
        model=model,
        cores=None if placement is None else _cores(network, placement),
        channels=2 if model.signed_spikes.policy == "dual_channel" else 1,
        spread=spread,
    )


def _cores(network: Network, placement: Placement) -> list[Held]:
    if placement.network_sha256 != digest(network) or not isinstance(network, IntegerNetwork):
        raise InvalidDataError(
            "placement",
            got=f"one of network {placement.network_sha256[:12]}",
            expected=f"one of network {digest(network)[:12]}",
            fix="Place this network: trispike check NET -o.",
        )
    if placement.misfits:
        raise UnsupportedError(
            "placement",
            got="neurons that fit on no core",
            expected="a core for every neuron",
            fix="See trispike check, which lists what would help.",
        )
    links = {link.label: link for link in demand(network, placement.chip).links}
    return [_held(network, placement, core, links) for core in placement.cores]


def _held(
    network: IntegerNetwork, placement: Placement, core: Core, links: Mapping[str, Link]
) -> Held:
    tiles: dict[str, list[Tile]] = {}
    for tile in core.tiles:
        tiles.setdefault(tile.population, []).append(tile)
    weights, reached_by = {}, {}
    for label, connection in network.labelled():
        if connection.target not in tiles:
            continue
        here = np.zeros(placement.grids[connection.target], np.bool_)
        for tile in tiles[connection.target]:
            here[tile.slices] = True
        weights[label] = _weights(connection, network.source_shape(connection), here)
        reached_by[label] = _reached(links[label], tiles[connection.target])
    neurons = {
        name: sum(math.prod(s.size for s in (t.channels, t.rows, t.columns)) for t in found)
        for name, found in tiles.items()
    }
    return Held(weights=weights, neurons=neurons, reached_by=reached_by)


def _weights(connection: Connection, shape: tuple[int, ...], here: Bools) -> int:
    """Weights that some of the target's neurons need, each once, those of zero included."""
    operator = connection.operator
    here = here.reshape(connection.output_shape(shape))
    if isinstance(operator, Dense):
        return int(here.sum()) * operator.weight.shape[1]
    if isinstance(operator, Conv2d):
        return int(here.any(axis=(1, 2)).sum()) * operator.weight[0].size
    scale = (1,) * (here.ndim - operator.scale.ndim) + operator.scale.shape
    shared = tuple(axis for axis, size in enumerate(scale) if size == 1)
    return int(here.any(axis=shared).sum())


def _reached(link: Link, tiles: Sequence[Tile]) -> int:
    """Elements of a source that have a synapse to a neuron in one of the tiles."""
    found = np.zeros(link.source_grid, np.bool_)
    for tile in tiles:
        channels = np.arange(link.source_grid[0])
        if not link.full:
            first = tile.channels.start // link.outputs * link.inputs
            channels = channels[first : first + link.source_channels(*tile.channels)]
        rows, columns = _positions(link.rows, tile.rows), _positions(link.columns, tile.columns)
        found[np.ix_(channels, rows, columns)] = True
    return int(found.sum())


def _positions(axis: Axis, span: Span) -> npt.NDArray[Any]:
    """Source positions with a synapse to a target position in a span."""
    if not axis.aligned:
        return np.flatnonzero(axis.covered)
    return np.flatnonzero(axis.reach[:, slice(*span)].any(axis=1))
