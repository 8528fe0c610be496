"""Dividing populations into tiles, such that every tile fits on a core.

A population is cut along channels, rows and columns into blocks of equal size (those at the end
may be smaller). What leaves a tile depends on how the populations that it feeds are cut, so
populations are cut from the readout towards the input. Where a population then finds no cut whose
outgoing axons fit, those that it feeds are told to be reached in fewer places, and it all begins
anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.targets.loihi.demand import (
    AxisUse,
    Demand,
    Grid,
    Limits,
    Link,
    Load,
    Resources,
    Source,
    Store,
    core_limits,
    link_axons,
    link_bits,
    store_of,
)
from trispike.targets.loihi.hardware import Chip

Strategy: TypeAlias = Literal["compact", "low-traffic"]

ROUNDS = 200
"""How often populations are cut anew before those that do not fit are reported."""

Ints: TypeAlias = npt.NDArray[np.int64]


class Span(NamedTuple):
    """An interval of channels, rows or columns: ``start <= n < stop``."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A block of a population, and what it takes of a core."""

    population: str
    channels: Span
    rows: Span
    columns: Span
    use: Resources

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """The block in an array of the population's grid."""
        return slice(*self.channels), slice(*self.rows), slice(*self.columns)


class Cut(NamedTuple):
    """The size of a population's tiles."""

    channels: int
    rows: int
    columns: int

    def spans(self, grid: Grid) -> tuple[list[Span], list[Span], list[Span]]:
        """The intervals along the three axes."""
        channels, rows, columns = (
            [Span(a, min(a + size, whole)) for a in range(0, whole, size)]
            for size, whole in zip(self, grid, strict=True)
        )
        return channels, rows, columns

    def count(self, grid: Grid) -> int:
        """How many tiles a population is cut into."""
        return math.prod(-(-whole // size) for size, whole in zip(self, grid, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Misfit:
    """A population of which not even one neuron fits on a core."""

    population: str
    resource: str
    needed: int
    limit: int


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """How all populations are cut."""

    cuts: Mapping[str, Cut]
    misfits: tuple[Misfit, ...]


def divide(demand: Demand, chip: Chip, strategy: Strategy) -> Tiling:
    """Cut all populations.

    Args:
        demand: The network.
        chip: What a core offers.
        strategy: ``compact``: into as few tiles as possible; ``low-traffic``: such that spikes
            reach as few tiles as possible.
    """
    return _Division(demand, chip, strategy).run()


def tiles_of(demand: Demand, chip: Chip, tiling: Tiling) -> Iterator[Tile]:
    """All tiles with exactly what each takes, population by population."""
    store = store_of(chip)
    for load in demand.loads.values():
        cut = tiling.cuts[load.name]
        channels, rows, columns = cut.spans(load.grid)
        outgoing = [
            _Outgoing(link, source, demand, tiling.cuts, load, cut, store)
            for link, source in demand.out_of[load.name]
        ]
        incoming = demand.into[load.name]
        known: dict[tuple[object, ...], tuple[int, int]] = {}
        for c in channels:
            for y, row in enumerate(rows):
                for x, column in enumerate(columns):
                    uses = [
                        (link, link.rows.use(*row), link.columns.use(*column)) for link in incoming
                    ]
                    neurons = c.size * row.size * column.size
                    key = (c, neurons, *((r, k) for _, r, k in uses))
                    if key not in known:
                        known[key] = _incoming(uses, store, c, neurons)
                    bits, axons = known[key]
                    yield Tile(
                        population=load.name,
                        channels=c,
                        rows=row,
                        columns=column,
                        use=Resources(
                            neurons,
                            bits,
                            axons,
                            sum(out.slots(c, y, x) for out in outgoing),
                            load.thresholds(slice(*c), slice(*row), slice(*column)),
                        ),
                    )


def _incoming(
    uses: list[tuple[Link, AxisUse, AxisUse]], store: Store, channels: Span, neurons: int
) -> tuple[int, int]:
    bits, axons = neurons * store.neuron_bits, 0
    for link, rows, columns in uses:
        found = link_bits(link, store, channels, rows, columns, neurons)
        if found is None:
            # Only where not even one neuron fits; then no index is needed.
            raise AssertionError("a tile with more neurons than an index can tell apart")
        bits += found
        axons += link_axons(link, channels, rows, columns)
    return bits, axons


class _Outgoing:
    """Slots of outgoing axons that a link takes in the tiles of its source."""

    def __init__(
        self,
        link: Link,
        source: Source,
        demand: Demand,
        cuts: Mapping[str, Cut],
        load: Load,
        cut: Cut,
        store: Store,
    ) -> None:
        target = demand.loads[link.target]
        to = cuts.get(link.target) or Cut(*target.grid)
        counts = [-(-whole // size) for size, whole in zip(to, target.grid, strict=True)]
        self._link, self._size, self._channels = link, to.channels, counts[0]
        self._each = source.signs * (1 if link.by_neuron else store.map_axon_slots)
        self.row_reach = link.rows.tiles_reached(to.rows, counts[1])
        self.column_reach = link.columns.tiles_reached(to.columns, counts[2])
        self.rows = np.add.reduceat(self.row_reach, np.arange(0, load.grid[1], cut.rows))
        self.columns = np.add.reduceat(self.column_reach, np.arange(0, load.grid[2], cut.columns))

    def parts(self, channels: Span) -> int:
        """Intervals of target channels that a pixel, or each neuron in turn, reaches."""
        link = self._link
        if link.full:
            return self._channels * (channels.size if link.by_neuron else 1)
        if link.by_neuron:
            return sum(link.parts(c, c + 1, self._size) for c in range(*channels))
        return link.parts(*channels, self._size)

    def slots(self, channels: Span, y: int, x: int) -> int:
        """What the tile at the y-th interval of rows and the x-th of columns takes."""
        return int(self.rows[y]) * int(self.columns[x]) * self.parts(channels) * self._each

    def most(self, channels: list[Span]) -> int:
        """The largest number of slots that a tile takes."""
        parts = max(self.parts(c) for c in channels)
        return int(self.rows.max()) * int(self.columns.max()) * parts * self._each


class _Division:
    def __init__(self, demand: Demand, chip: Chip, strategy: Strategy) -> None:
        self.demand, self.chip, self.strategy = demand, chip, strategy
        self.store = store_of(chip)
        self.limits: Limits = core_limits(chip)
        self.caps: dict[str, int] = {}
        self.cuts: dict[str, Cut] = {}
        self._worst: dict[tuple[str, Cut], Resources | None] = {}
        self._chosen: dict[tuple[object, ...], Cut | None] = {}

    def run(self) -> Tiling:
        given_up: set[str] = set()
        misfits: list[Misfit] = []
        for _ in range(ROUNDS):
            misfits = []
            if not self._sweep(given_up, misfits):
                break
        return Tiling(cuts=dict(self.cuts), misfits=tuple(misfits))

    def _sweep(self, given_up: set[str], misfits: list[Misfit]) -> bool:
        """Cut every population once, from the readout on; whether to begin anew."""
        before = dict(self.cuts)
        for load in reversed(list(self.demand.loads.values())):
            cut = self._choose(load)
            if cut is not None:
                self.cuts[load.name] = cut
                continue
            if load.name in self.caps and load.name not in given_up:
                # Those that feed it asked for too much: it is cut as it can be.
                given_up.add(load.name)
                del self.caps[load.name]
                return True
            self.cuts[load.name] = Cut(1, 1, 1)
            misfit = self._misfit(load)
            if misfit is None:
                continue
            if misfit.resource == "out_axons" and self._tighten(load, misfit, given_up):
                return True
            misfits.append(misfit)
        # A population that feeds itself, or an earlier one, has seen an older cut.
        return self._loops and before != self.cuts

    @property
    def _loops(self) -> bool:
        place = {name: n for n, name in enumerate(self.demand.loads)}
        return any(
            place.get(s.name, -1) >= place[link.target]
            for link in self.demand.links
            for s in link.sources
        )

    def _tighten(self, load: Load, misfit: Misfit, given_up: set[str]) -> bool:
        """Ask the populations that one feeds to be reached in fewer places; whether that helps."""
        asked = False
        share = min(0.9, misfit.limit / misfit.needed)
        for target in {link.target for link, _ in self.demand.out_of[load.name]}:
            now = self._fan(self.demand.loads[target], self.cuts[target])
            cap = max(1, math.floor(now * share))
            if target not in given_up and cap < now:
                self.caps[target] = min(cap, self.caps.get(target, cap))
                asked = True
        return asked

    def _misfit(self, load: Load) -> Misfit | None:
        use = self._use(load, Cut(1, 1, 1))
        assert use is not None
        names = Resources._fields
        over = [
            (used / limit, name, used, limit)
            for name, used, limit in zip(names, use, self.limits, strict=True)
            if limit is not None and used > limit
        ]
        if not over:
            return None
        # What no other cut can help goes first.
        over.sort(key=lambda item: (item[1] == "out_axons", -item[0], item[1]))
        _, resource, needed, limit = over[0]
        return Misfit(population=load.name, resource=resource, needed=needed, limit=limit)

    def _choose(self, load: Load) -> Cut | None:
        """The best cut that fits; None if none does."""
        targets = {link.target for link, _ in self.demand.out_of[load.name]} - {load.name}
        key = (
            load.name,
            self.caps.get(load.name),
            *((t, self.cuts.get(t)) for t in sorted(targets)),
        )
        if key in self._chosen:
            return self._chosen[key]
        sizes = [_sizes(n) for n in load.grid]
        best: tuple[tuple[float, ...], Cut] | None = None
        for rows in sizes[1]:
            for columns in sizes[2]:
                cut = self._most_channels(load, sizes[0], rows, columns)
                if (
                    cut is not None
                    and (score := (self._score(load, cut), cut))
                    and (best is None or score < best)
                ):
                    best = score
        self._chosen[key] = best and best[1]
        return self._chosen[key]

    def _most_channels(self, load: Load, sizes: list[int], rows: int, columns: int) -> Cut | None:
        """More channels take more of everything, but for outgoing axons, which stay or grow."""
        low, high, found = 0, len(sizes) - 1, None
        while low <= high:
            middle = (low + high) // 2
            cut = Cut(sizes[middle], rows, columns)
            if self._fits(load, cut):
                found, low = cut, middle + 1
            else:
                high = middle - 1
        cap = self.caps.get(load.name)
        if found is not None and cap is not None and self._fan(load, found) > cap:
            return None
        return found

    def _fits(self, load: Load, cut: Cut) -> bool:
        neurons = self.limits[0]
        if neurons is not None and math.prod(cut) > neurons:
            return False
        use = self._use(load, cut)
        return use is not None and use.within(self.limits)

    def _use(self, load: Load, cut: Cut) -> Resources | None:
        """A bound of what the tiles of a cut take; None if an index would be too narrow."""
        inside = self._inside(load, cut)
        if inside is None:
            return None
        channels = cut.spans(load.grid)[0]
        cuts = {**self.cuts, load.name: cut}
        slots = sum(
            _Outgoing(link, source, self.demand, cuts, load, cut, self.store).most(channels)
            for link, source in self.demand.out_of[load.name]
        )
        return inside._replace(out_axons=slots)

    def _inside(self, load: Load, cut: Cut) -> Resources | None:
        """The same without what leaves, which does not depend on other cuts."""
        key = (load.name, cut)
        if key not in self._worst:
            self._worst[key] = self._bound(load, cut)
        return self._worst[key]

    def _bound(self, load: Load, cut: Cut) -> Resources | None:
        channels = cut.spans(load.grid)[0]
        neurons = math.prod(cut)
        bits, axons = neurons * self.store.neuron_bits, 0
        for link in self.demand.into[load.name]:
            uses = [
                (rows, columns)
                for rows in link.rows.uses(cut.rows, load.grid[1])
                for columns in link.columns.uses(cut.columns, load.grid[2])
            ]
            found = [link_bits(link, self.store, channels[0], *use, neurons) for use in uses]
            if any(n is None for n in found):
                return None
            bits += max(n for n in found if n is not None)
            widest = max(channels, key=lambda span: link.source_channels(*span))
            axons += max(link_axons(link, widest, *use) for use in uses)
        different = min(neurons, load.different)
        if load.by_channel and load.different > 1:
            different = max(load.thresholds(slice(*c), slice(0, 1), slice(0, 1)) for c in channels)
        return Resources(neurons, bits, axons, 0, different)

    def _reaches(self, load: Load, cut: Cut) -> Iterator[tuple[Link, Ints, Ints, int]]:
        """How many tiles each row, each column and each source channel reaches, by link."""
        counts = [-(-whole // size) for size, whole in zip(cut, load.grid, strict=True)]
        for link in self.demand.into[load.name]:
            parts = counts[0]
            if not link.full:
                parts = max(
                    link.parts(c, c + 1, cut.channels)
                    for c in {0, link.inputs * (link.groups // 2)}
                )
            rows = link.rows.tiles_reached(cut.rows, counts[1])
            columns = link.columns.tiles_reached(cut.columns, counts[2])
            yield link, rows, columns, parts

    def _fan(self, load: Load, cut: Cut) -> int:
        """The largest number of tiles that a source pixel reaches over one link."""
        counts = -(-load.grid[0] // cut.channels)
        return max(
            (
                int(rows.max()) * int(columns.max()) * (counts if link.groups == 1 else parts)
                for link, rows, columns, parts in self._reaches(load, cut)
            ),
            default=1,
        )

    def _score(self, load: Load, cut: Cut) -> tuple[float, ...]:
        """What to make small: tiles, or tiles that are reached by all sources together."""
        reached = sum(
            int(rows.sum()) * int(columns.sum()) * parts * link.source_grid[0] * len(link.sources)
            for link, rows, columns, parts in self._reaches(load, cut)
        )
        count = cut.count(load.grid)
        return (reached, count) if self.strategy == "low-traffic" else (count, reached)


def _sizes(whole: int) -> list[int]:
    """All sizes that a cut into equal parts can have."""
    return sorted({-(-whole // parts) for parts in range(1, whole + 1)})
