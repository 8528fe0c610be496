"""Tiles on cores, cores on chips: where every neuron of a network lies."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from trispike.errors import UnsupportedError
from trispike.network import IntegerNetwork, digest
from trispike.targets.loihi.demand import (
    LIMIT_FIELDS,
    NOTHING,
    Demand,
    Grid,
    Limits,
    Resources,
    core_limits,
    demand,
)
from trispike.targets.loihi.hardware import Board, Chip, boards_of
from trispike.targets.loihi.tiles import Misfit, Strategy, Tile, divide, tiles_of

OPEN_CORES = 256
"""Cores that are tried for a tile before a new one is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """One core that is used."""

    chip: int
    """Number of its chip on the board."""
    core: int
    """Number of the core on its chip."""
    x: int
    y: int
    """Position of its router in the mesh of the whole board."""
    tiles: tuple[Tile, ...]
    """What lies on it."""

    @property
    def use(self) -> Resources:
        """What its tiles take together."""
        total = NOTHING
        for tile in self.tiles:
            total = total.plus(tile.use)
        return total


@dataclass(frozen=True, slots=True, kw_only=True)
class PopulationPlacement:
    """What became of a population, or of the readout."""

    name: str
    grid: Grid
    """(channels, rows, columns)."""
    tiles: int
    tile: Grid
    """Size of its tiles, but for those at the end."""
    cores: int
    """Cores that hold a part of it."""
    binding: str
    """The resource of which its fullest tile takes the largest part."""
    largest: Resources
    """The most that one of its tiles takes, resource by resource."""
    utilisation: Mapping[str, float]
    """Largest part of a core that one of its tiles takes, by resource; 0..1 where it fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreUse:
    """How much of one resource the cores take that are used."""

    mean: float
    """Over the cores."""
    most: int
    """On the core that takes most, which is this one:"""
    chip: int
    core: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Placement:
    """Where every neuron of a network lies."""

    network_sha256: str
    """Of the network that was placed."""
    chip: Chip
    """With the settings that were used."""
    board: Board | None
    """None: as many chips as it takes, in a square."""
    strategy: Strategy
    cores: tuple[Core, ...]
    """Those that are used, by chip and number."""
    grids: Mapping[str, Grid]
    """How the neurons of a population are numbered: row-major (channels, rows, columns)."""
    misfits: tuple[Misfit, ...] = ()
    """Populations of which not even one neuron fits on a core."""

    @property
    def limits(self) -> Limits:
        """What one core offers."""
        return core_limits(self.chip)

    @property
    def cores_per_chip(self) -> int:
        """Cores of a chip that can be used."""
        if self.board is None:
            return self.chip.cores_per_chip.value
        return self.board.cores_per_chip(self.chip)

    @property
    def chips(self) -> int:
        """Chips that are used."""
        return len({core.chip for core in self.cores})

    @property
    def chips_available(self) -> int | None:
        """Chips of the board; None without a board."""
        return None if self.board is None else self.board.chips.value

    @property
    def fits(self) -> bool:
        """Whether all of it fits on cores, and these on the board."""
        available = self.chips_available
        return not self.misfits and (available is None or self.chips <= available)

    @cached_property
    def core_of(self) -> Mapping[str, npt.NDArray[np.int64]]:
        """Index into :attr:`cores` of every neuron: population name to array of its grid."""
        found = {name: np.full(grid, -1, np.int64) for name, grid in self.grids.items()}
        for n, core in enumerate(self.cores):
            for tile in core.tiles:
                found[tile.population][tile.slices] = n
        return found

    @cached_property
    def core_use(self) -> Mapping[str, CoreUse]:
        """How full the cores are, by resource; of equally full ones the first is named."""
        uses = np.array([core.use for core in self.cores], np.int64)
        found = {}
        for number, resource in enumerate(Resources._fields):
            fullest = self.cores[int(uses[:, number].argmax())]
            found[resource] = CoreUse(
                mean=float(uses[:, number].mean()),
                most=int(uses[:, number].max()),
                chip=fullest.chip,
                core=fullest.core,
            )
        return found

    @cached_property
    def populations(self) -> tuple[PopulationPlacement, ...]:
        """What became of each population."""
        tiles: dict[str, list[tuple[int, Tile]]] = {name: [] for name in self.grids}
        for n, core in enumerate(self.cores):
            for tile in core.tiles:
                tiles[tile.population].append((n, tile))
        return tuple(self._population(name, found) for name, found in tiles.items())

    def _population(self, name: str, tiles: Sequence[tuple[int, Tile]]) -> PopulationPlacement:
        largest = np.max([tile.use for _, tile in tiles], axis=0)
        parts = {
            resource: float(used / limit)
            for resource, used, limit in zip(Resources._fields, largest, self.limits, strict=True)
            if limit is not None
        }
        first = tiles[0][1]
        return PopulationPlacement(
            name=name,
            grid=self.grids[name],
            tiles=len(tiles),
            tile=(
                max(t.channels.size for _, t in tiles),
                max(t.rows.size for _, t in tiles),
                max(t.columns.size for _, t in tiles),
            ),
            cores=len({n for n, _ in tiles}),
            binding=max(parts, key=lambda resource: parts[resource]) if first else "",
            largest=Resources(*(int(used) for used in largest)),
            utilisation=parts,
        )


def place(
    network: IntegerNetwork,
    chip: Chip,
    *,
    board: Board | None = None,
    strategy: Strategy = "compact",
) -> Placement:
    """Give every neuron a core.

    Args:
        network: The network.
        chip: What it is placed on.
        board: Of which chips; by default the smallest known board on which it fits.
        strategy: ``compact``: few cores; ``low-traffic``: spikes reach few cores, which lie next
            to each other in the order of the network.

    Raises:
        UnsupportedError: There is a population of which not even one neuron fits on a core.
    """
    placement = try_to_place(network, chip, board=board, strategy=strategy)
    if placement.misfits:
        raise UnsupportedError(
            f"network on {chip.name}",
            got="; ".join(map(misfit_words, placement.misfits)),
            expected="populations whose neurons fit on a core one by one",
            fix="See trispike check, which lists what would help.",
        )
    return placement


def try_to_place(
    network: IntegerNetwork,
    chip: Chip,
    *,
    board: Board | None = None,
    strategy: Strategy = "compact",
) -> Placement:
    """The same, where what does not fit is listed in the placement instead."""
    return place_demand(
        demand(network, chip), chip, board=board, strategy=strategy, sha256=digest(network)
    )


def place_demand(
    asked: Demand, chip: Chip, *, board: Board | None, strategy: Strategy, sha256: str
) -> Placement:
    """The same of a network that is known by what it asks of cores."""
    tiling = divide(asked, chip, strategy)
    tiles = list(tiles_of(asked, chip, tiling))
    limits = core_limits(chip)
    misfits = list(tiling.misfits) or _over(tiles, limits)
    cores = _pack(tiles, limits, by_size=strategy == "compact")
    if board is None:
        board = smallest_board(chip, len(cores))
    per_chip = board.cores_per_chip(chip) if board else chip.cores_per_chip.value
    chips = -(-len(cores) // per_chip)
    columns = board.columns.value if board else math.ceil(math.sqrt(chips))
    places = _places(chip, per_chip, chips, columns, winding=strategy == "low-traffic")
    placed = [
        Core(chip=c, core=n, x=x, y=y, tiles=tuple(tiles[t] for t in held))
        for held, (c, n, x, y) in zip(cores, places, strict=False)
    ]
    return Placement(
        network_sha256=sha256,
        chip=chip,
        board=board,
        strategy=strategy,
        cores=tuple(sorted(placed, key=lambda core: (core.chip, core.core))),
        grids={name: load.grid for name, load in asked.loads.items()},
        misfits=tuple(misfits),
    )


def smallest_board(chip: Chip, cores: int) -> Board | None:
    """The smallest known board that offers so many cores; None if there is none."""
    return next((b for b in boards_of(chip) if b.cores(chip) >= cores), None)


def misfit_words(misfit: Misfit) -> str:
    """A misfit as a phrase."""
    what = misfit.resource.replace("_", " ")
    return (
        f"population {misfit.population!r} needs {misfit.needed:,} {what} for one neuron, "
        f"a core has {misfit.limit:,}"
    )


def _over(tiles: Sequence[Tile], limits: Limits) -> list[Misfit]:
    """Tiles above a limit: where a loop found no cut that agrees with itself."""
    found: dict[str, Misfit] = {}
    for tile in tiles:
        for name, used, limit in zip(LIMIT_FIELDS, tile.use, limits, strict=True):
            if limit is not None and used > limit:
                misfit = Misfit(population=tile.population, resource=name, needed=used, limit=limit)
                found.setdefault(tile.population, misfit)
    return list(found.values())


def _pack(tiles: Sequence[Tile], limits: Limits, *, by_size: bool) -> list[list[int]]:
    """Indices of the tiles on each core: first fit, the largest tiles first or in given order."""
    uses = np.array([tile.use for tile in tiles], np.int64).reshape(len(tiles), len(limits))
    room = np.array([np.iinfo(np.int64).max // 2 if n is None else n for n in limits], np.int64)
    order = np.arange(len(tiles))
    if by_size:
        order = np.argsort(-(uses / room).max(axis=1), kind="stable")
    # What the smallest of the tiles to come takes, resource by resource.
    least = np.minimum.accumulate(uses[order][::-1], axis=0)[::-1]
    cores: list[list[int]] = []
    number = np.zeros(0, np.int64)
    left = np.zeros((0, len(limits)), np.int64)
    for n, tile in enumerate(order):
        keep = (left >= least[n]).all(axis=1)
        if not keep.all() or len(keep) > OPEN_CORES:
            number, left = number[keep][-OPEN_CORES:], left[keep][-OPEN_CORES:]
        fitting = np.flatnonzero((left >= uses[tile]).all(axis=1))
        if len(fitting):
            cores[number[fitting[0]]].append(int(tile))
            left[fitting[0]] -= uses[tile]
            continue
        number = np.append(number, len(cores))
        left = np.vstack([left, room - uses[tile]])
        cores.append([int(tile)])
    return sorted((sorted(core) for core in cores), key=lambda core: core[0])


def _places(
    chip: Chip, per_chip: int, chips: int, columns: int, *, winding: bool
) -> Iterator[tuple[int, int, int, int]]:
    """Chip, number and position of the cores, in the order in which they are taken.

    A winding order turns at the end of each column of routers and of each row of chips, so that
    cores that follow one another are neighbours.
    """
    rows, each = chip.mesh_rows.value, chip.cores_per_router.value
    on_chip = range(per_chip)
    for number in range(chips):
        row, column = divmod(number, columns)
        if winding and row % 2:
            column = columns - 1 - column
        on_board = row * columns + column
        for core in sorted(on_chip, key=lambda n: _turn(n // each, rows)) if winding else on_chip:
            x, y = divmod(core // each, rows)
            yield (
                on_board if winding else number,
                core,
                column * chip.mesh_columns.value + x,
                row * rows + y,
            )


def _turn(router: int, rows: int) -> tuple[int, int]:
    x, y = divmod(router, rows)
    return x, (rows - 1 - y if x % 2 else y)
