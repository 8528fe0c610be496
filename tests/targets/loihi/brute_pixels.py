"""What each tile of a whole convolutional network takes, pixel by pixel.

`brute` looks at single neurons, of which a real network has too many. Here channels are
multiplied, which they may be in convolutions without groups, and every connection is applied to
one source pixel at a time, with one channel and weights that are all different.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tests.targets.loihi.brute import list_bits
from trispike.network import Connection, Conv2d, Dense, Identity, IntegerNetwork
from trispike.network.fixed_point import never
from trispike.targets.lava.schedule import schedule
from trispike.targets.loihi.placement import Placement
from trispike.targets.loihi.tiles import Tile

Matrix: TypeAlias = npt.NDArray[np.float64]


def one_channel(network: IntegerNetwork, connection: Connection) -> Matrix:
    """(source pixels, target pixels): a number where there are synapses, else 0."""
    channels, height, width = network.source_shape(connection)
    operator: Any = connection.operator
    if isinstance(operator, Identity):
        assert operator.scale.size in {1, channels}
        operator = Identity(scale=np.array(1.0))
    else:
        assert getattr(operator, "groups", 1) == 1
        _, inputs, *kernel = operator.weight.shape
        shape = (1, inputs // channels) if isinstance(operator, Dense) else (1, 1, *kernel)
        values = 1000.0 + np.sqrt(2 + np.random.default_rng(0).permutation(math.prod(shape)))
        operator = replace(operator, weight=values.reshape(shape))
    alone = replace(connection, operator=operator, exponent=0)
    pixels = np.eye(height * width).reshape(-1, 1, height, width)
    return alone.current(pixels).reshape(height * width, -1)


class BrutePixels:
    """A placement, recounted."""

    def __init__(self, network: IntegerNetwork, placement: Placement) -> None:
        self.network, self.placement, self.chip = network, placement, placement.chip
        self.matrices = [one_channel(network, c) for c in network.all_connections]
        self.waits = [
            [n - 1 for n in schedule(network).latency(c)] for c in network.all_connections
        ]
        self.tiles: dict[str, list[Tile]] = {name: [] for name in placement.grids}
        for core in placement.cores:
            for tile in core.tiles:
                self.tiles[tile.population].append(tile)
        self.known: dict[object, Any] = {}

    def signs(self, name: str) -> int:
        if self.chip.signed_spikes.value == "native":
            return 1
        if name == self.network.input.name:
            return 2
        neuron: Any = self.network.populations[name].neuron
        return 2 if (np.asarray(neuron.th_neg) < never(neuron.state_bits)).any() else 1

    def pixels(self, tile: Tile) -> list[int]:
        """Indices of the tile's pixels in the population's."""
        _, height, width = self.placement.grids[tile.population]
        block = np.arange(height * width).reshape(height, width)[tile.slices[1:]]
        return [int(n) for n in block.reshape(-1)]

    def reached(self, number: int, tile: Tile) -> npt.NDArray[np.bool_]:
        """Which source pixels meet the tile's."""
        key = ("reached", number, tile.rows, tile.columns)
        if key not in self.known:
            matrix = self.matrices[number]
            full = isinstance(self.network.all_connections[number].operator, Dense)
            part = matrix if full else matrix[:, self.pixels(tile)]
            self.known[key] = (part != 0).any(axis=1)
        found: npt.NDArray[np.bool_] = self.known[key]
        return found

    def into(self, tile: Tile) -> Iterator[tuple[int, Connection]]:
        for number, connection in enumerate(self.network.all_connections):
            if connection.target == tile.population:
                yield number, connection

    def in_axons(self, tile: Tile) -> int:
        return sum(
            int(self.reached(number, tile).sum()) * sum(map(self.signs, connection.sources))
            for number, connection in self.into(tile)
        )

    def out_axons(self, tile: Tile) -> int:
        return sum(
            self.leaving(number, connection, tile)
            for number, connection in enumerate(self.network.all_connections)
            if tile.population in connection.sources
        )

    def leaving(self, number: int, connection: Connection, tile: Tile) -> int:
        by_channel = isinstance(connection.operator, Identity)
        key = ("leaving", number, tile.rows, tile.columns, tile.channels if by_channel else None)
        if key not in self.known:
            self.known[key] = sum(
                self.meeting(number, tile, other)
                for other in self.tiles[connection.target]
                if not by_channel
                or max(tile.channels.start, other.channels.start)
                < min(tile.channels.stop, other.channels.stop)
            )
        each = self.chip.map_axon_slots.value * self.signs(tile.population)
        return int(self.known[key]) * each

    def meeting(self, number: int, tile: Tile, other: Tile) -> int:
        """How many of a tile's pixels meet those of another one."""
        key = ("meeting", number, tile.rows, tile.columns, other.rows, other.columns)
        if key not in self.known:
            self.known[key] = int(self.reached(number, other)[self.pixels(tile)].sum())
        return int(self.known[key])

    def thresholds(self, tile: Tile) -> int:
        if tile.population == self.network.readout.name:
            return 1
        population = self.network.populations[tile.population]
        neuron: Any = population.neuron
        both = [np.broadcast_to(v, population.shape)[tile.slices].reshape(-1)
                for v in (neuron.th_pos, neuron.th_neg)]  # fmt: skip
        return len(set(zip(both[0].tolist(), both[1].tolist(), strict=True)))

    def synapse_bits(self, tile: Tile) -> int:
        neurons = tile.channels.size * tile.rows.size * tile.columns.size
        widths = self.chip.index_widths.value
        index = 0 if widths == (0,) else next(w for w in widths if 2**w >= neurons)
        total = neurons * self.chip.neuron_bits.value
        for number, connection in self.into(tile):
            waits = self.waits[number]
            copies = len(set(waits)) * max(map(self.signs, connection.sources))
            bits = next(w for w in self.chip.weight_widths.value if w >= connection.bits)
            bits += max(waits).bit_length()
            inputs = self.network.source_shape(connection)[0]
            if isinstance(connection.operator, Dense):
                lists = [inputs * neurons] * len(self.patterns(number, tile))
                bits += index
            elif self.chip.convolution.value == "kernel":
                most = int((self.matrices[number] != 0).sum(axis=0).max())
                lists = [self.weights(connection, tile) * most]
            else:
                lists = [self.weights(connection, tile) * n for n in self.patterns(number, tile)]
                bits += index
            total += copies * sum(list_bits(self.chip, n, bits) for n in lists)
        return total

    def weights(self, connection: Connection, tile: Tile) -> int:
        """Pairs of channels."""
        inputs = self.network.source_shape(connection)[0]
        return tile.channels.size * (inputs if isinstance(connection.operator, Conv2d) else 1)

    def patterns(self, number: int, tile: Tile) -> list[int]:
        """Pixels in the lists that no other one equals, but for a shift."""
        key = ("patterns", number, tile.rows, tile.columns)
        if key in self.known:
            found: list[int] = self.known[key]
            return found
        matrix, width = self.matrices[number], self.placement.grids[tile.population][2]
        full = isinstance(self.network.all_connections[number].operator, Dense)
        here = [0] if full else self.pixels(tile)
        lists: dict[object, int] = {}
        for source in matrix[:, here]:
            met = [(divmod(here[n], width), float(source[n])) for n in np.flatnonzero(source)]
            if met:
                (top, left), _ = met[0]
                shape = tuple((y - top, x - left, round(v, 6)) for (y, x), v in met)
                lists[shape] = len(met)
        self.known[key] = list(lists.values())
        return self.known[key]
