"""What each tile takes, neuron by neuron and synapse by synapse: slow, and obvious on purpose.

Every connection is given weights that are all different and not zero, and is applied to one source
element at a time; what comes out is where its synapses are.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from trispike.network import Connection, Dense, Identity, IntegerNetwork
from trispike.network.fixed_point import never
from trispike.targets.lava.schedule import schedule
from trispike.targets.loihi.hardware import Chip
from trispike.targets.loihi.placement import Placement
from trispike.targets.loihi.tiles import Tile

Matrix = npt.NDArray[np.float64]


def synapses(network: IntegerNetwork, connection: Connection) -> Matrix:
    """(source elements, target elements): a number for each weight, 0 where there is none."""
    operator = connection.operator
    rng = np.random.default_rng(0)
    different = rng.permutation(operator.weight.size).reshape(operator.weight.shape)
    values = 1000.0 + np.sqrt(2 + different)
    field = "scale" if isinstance(operator, Identity) else "weight"
    generic = replace(connection, operator=replace(operator, **{field: values}), exponent=0)
    shape = network.source_shape(connection)
    size = math.prod(shape)
    return generic.current(np.eye(size).reshape(size, *shape)).reshape(size, -1)


def list_bits(chip: Chip, count: int, bits: int) -> int:
    """Memory of one list, block by block."""
    total = 0
    while count > 0:
        block = min(count, chip.block_synapses.value)
        raw = block * bits + chip.header_bits.value
        while raw % chip.word_bits.value:
            raw += 1
        total += raw
        count -= block
    return total


class Brute:
    """A placement, recounted."""

    def __init__(self, network: IntegerNetwork, placement: Placement) -> None:
        self.network, self.placement, self.chip = network, placement, placement.chip
        self.matrices = [synapses(network, c) for c in network.all_connections]
        self.waits = [
            [n - 1 for n in schedule(network).latency(c)] for c in network.all_connections
        ]

    def grid(self, name: str) -> tuple[int, ...]:
        if name == self.network.input.name:
            shape = self.network.input.shape
            return shape if len(shape) == 3 else (*shape, 1, 1)
        return self.placement.grids[name]

    def signs(self, name: str) -> int:
        if self.chip.signed_spikes.value == "native":
            return 1
        if name == self.network.input.name:
            return 2
        neuron: Any = self.network.populations[name].neuron
        return 2 if (np.asarray(neuron.th_neg) < never(neuron.state_bits)).any() else 1

    def by_neuron(self, connection: Connection) -> bool:
        flat = len(self.network.source_shape(connection)) == 1
        return flat and self.grid(connection.sources[0])[1:] == (1, 1)

    def elements(self, tile: Tile) -> list[int]:
        """Indices of the tile's neurons, channel last."""
        index = np.arange(math.prod(self.grid(tile.population)))
        block = index.reshape(self.grid(tile.population))[tile.slices]
        return [int(n) for n in np.moveaxis(block, 0, -1).reshape(-1)]

    def fan_in(self, name: str) -> int:
        """The most synapses that end in a neuron."""
        found = [
            len(c.sources) * (m != 0).sum(axis=0)
            for c, m in zip(self.network.all_connections, self.matrices, strict=True)
            if c.target == name
        ]
        return int(sum(found).max())

    def fan_out(self, name: str) -> int:
        """The most synapses that leave a neuron."""
        found = [
            c.sources.count(name) * (m != 0).sum(axis=1)
            for c, m in zip(self.network.all_connections, self.matrices, strict=True)
            if name in c.sources
        ]
        return int(sum(found).max()) if found else 0

    def in_axons(self, tile: Tile) -> int:
        total = 0
        for connection, matrix in self.into(tile):
            met = matrix[:, self.elements(tile)].any(axis=1)
            if not self.by_neuron(connection):
                met = met.reshape(self.grid(connection.sources[0])).any(axis=0)
            total += int(met.sum()) * sum(self.signs(s) for s in connection.sources)
        return total

    def into(self, tile: Tile) -> list[tuple[Connection, Matrix]]:
        pairs = zip(self.network.all_connections, self.matrices, strict=True)
        return [(c, m) for c, m in pairs if c.target == tile.population]

    def out_axons(self, tile: Tile) -> int:
        total = 0
        mine = self.elements(tile)
        others = [other for core in self.placement.cores for other in core.tiles]
        for connection, matrix in zip(self.network.all_connections, self.matrices, strict=True):
            if tile.population not in connection.sources:
                continue
            slots = 1 if self.by_neuron(connection) else self.chip.map_axon_slots.value
            for other in others:
                if other.population != connection.target:
                    continue
                met = np.zeros(matrix.shape[0], bool)
                met[mine] = matrix[mine][:, self.elements(other)].any(axis=1)
                if not self.by_neuron(connection):
                    met = met.reshape(self.grid(tile.population)).any(axis=0)
                total += int(met.sum()) * slots * self.signs(tile.population)
        return total

    def thresholds(self, tile: Tile) -> int:
        if tile.population == self.network.readout.name:
            return 1
        population = self.network.populations[tile.population]
        neuron: Any = population.neuron
        both = [
            np.broadcast_to(v, population.shape).reshape(-1) for v in (neuron.th_pos, neuron.th_neg)
        ]
        return len({(both[0][n], both[1][n]) for n in self.elements(tile)})

    def synapse_bits(self, tile: Tile) -> int:
        """With the policy of lists."""
        neurons = self.elements(tile)
        total = len(neurons) * self.chip.neuron_bits.value
        index = next(w for w in self.chip.index_widths.value if 2**w >= len(neurons))
        for number, connection in enumerate(self.network.all_connections):
            if connection.target != tile.population:
                continue
            waits = self.waits[number]
            bits = next(w for w in self.chip.weight_widths.value if w >= connection.bits)
            bits += max(waits).bit_length()
            copies = len(set(waits)) * max(self.signs(s) for s in connection.sources)
            part = self.matrices[number][:, neurons]
            if self.by_neuron(connection) and isinstance(connection.operator, Dense):
                lists = [len(neurons)] * len(part)
            else:
                bits += index
                lists = self.different_lists(connection, part)
            total += copies * sum(list_bits(self.chip, n, bits) for n in lists)
        return total

    def different_lists(self, connection: Connection, part: Matrix) -> list[int]:
        """Sizes of the synapse lists that no other one equals, but for a shift."""
        if self.by_neuron(connection):
            return [n for n in (part != 0).sum(axis=1).tolist() if n]
        grid = self.grid(connection.sources[0])
        pixels = part.reshape(grid[0], grid[1] * grid[2], -1)
        found: dict[tuple[tuple[int, int, float], ...], int] = {}
        for pixel in np.moveaxis(pixels, 1, 0):
            channels, targets = np.nonzero(pixel)
            if len(targets):
                first = int(targets.min())
                entries = tuple(
                    (int(c), int(t) - first, round(float(pixel[c, t]), 6))
                    for c, t in zip(channels, targets, strict=True)
                )
                found[entries] = len(entries)
        return list(found.values())
