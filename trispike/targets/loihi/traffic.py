"""Messages and hops on the mesh, from the spikes that were fired and where neurons lie.

As SANA-FE counts them: a spike is one message to each core that holds a neuron it has a synapse to
(whatever the weight), the core it comes from included; a message takes as many hops along x and y
as the routers lie apart. The network's input comes from outside: its messages are counted, its
hops are not, because where it enters the mesh is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.errors import InvalidDataError
from trispike.network import Connection, Identity, IntegerNetwork, fan_out
from trispike.targets.loihi.demand import Demand, Link, demand
from trispike.targets.loihi.placement import Placement

Counts: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Flow:
    """What travels; arrays are (T,), summed over samples."""

    messages: Counts
    """Spikes times the cores that each reaches."""
    hops_x: Counts
    """Routers passed along x, over all messages; 0 for the input."""
    hops_y: Counts
    """The same along y."""
    chip_crossings: Counts
    """Messages that end on another chip than they began; 0 for the input."""

    def plus(self, other: Flow) -> Flow:
        """The sum."""
        return Flow(
            messages=self.messages + other.messages,
            hops_x=self.hops_x + other.hops_x,
            hops_y=self.hops_y + other.hops_y,
            chip_crossings=self.chip_crossings + other.chip_crossings,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Traffic:
    """What travels on a placed network."""

    samples: int
    """That everything is summed over."""
    connections: Mapping[str, Flow]
    """By label."""
    total: Flow
    """Of all populations. A spike that reaches a core over two connections is one message here
    and two above."""
    input: Flow
    """The same of the network's input."""
    by_core: Counts
    """(cores,): messages that leave or reach each core, in the order of the placement."""
    operations: Mapping[str, npt.NDArray[np.float64]]
    """By label, (T, cores): synapses with a weight other than 0 that spikes meet on each core.
    Whole numbers, but where pooling windows overlap: there the exact number of the connection is
    divided among cores as the windows are."""
    neurons: Counts
    """(cores,): neurons of populations, those of the readout left out."""
    chips: int
    """That the placement takes."""


class _Class(NamedTuple):
    """Neurons of one core whose spikes reach the same tiles."""

    core: int
    spikes: Counts
    targets: tuple[Counts, ...]
    """Cores that they reach, link by link."""


def count_traffic(
    network: IntegerNetwork,
    placement: Placement,
    spikes: Mapping[str, npt.NDArray[Any]],
    samples: int,
) -> Traffic:
    """Count messages and hops.

    Args:
        network: The network.
        placement: Of this network.
        spikes: For the input and every population (T, *shape): in how many samples an element was
            not zero.
        samples: How many samples that were.

    Raises:
        InvalidDataError: A population without counts, or counts of another shape.
    """
    asked = demand(network, placement.chip)
    lanes = _Lanes(asked, placement)
    steps = network.steps
    flows = {link.label: _empty(steps) for link in asked.links}
    totals = {True: _empty(steps), False: _empty(steps)}
    by_core = np.zeros(len(placement.cores), np.int64)
    for name in (asked.input, *(n for n in asked.loads if n != network.readout.name)):
        counts = _checked(name, spikes, (steps, *network.shape_of(name)))
        links = [link for link, _ in asked.out_of[name]]
        if not links:
            continue
        outside = name == asked.input
        for group in lanes.classes(name, links, counts):
            for link, cores in zip(links, group.targets, strict=True):
                flows[link.label] = flows[link.label].plus(
                    lanes.flow(group, cores, outside=outside)
                )
            every = np.unique(np.concatenate(group.targets))
            totals[outside] = totals[outside].plus(lanes.flow(group, every, outside=outside))
            fired = int(group.spikes.sum())
            by_core[every] += fired
            if not outside:
                by_core[group.core] += fired * len(every)
    return Traffic(
        samples=samples,
        connections=flows,
        total=totals[False],
        input=totals[True],
        by_core=by_core,
        operations={
            label: _operations(network, connection, placement, spikes)
            for label, connection in network.labelled()
        },
        neurons=sum(
            (
                np.bincount(placement.core_of[name].reshape(-1), minlength=len(by_core))
                for name in network.populations
            ),
            np.zeros(len(by_core), np.int64),
        ),
        chips=placement.chips,
    )


def _operations(
    network: IntegerNetwork,
    connection: Connection,
    placement: Placement,
    spikes: Mapping[str, npt.NDArray[Any]],
) -> npt.NDArray[np.float64]:
    """(T, cores): the operations of one connection, by the core of the target neuron."""
    shape, steps = network.source_shape(connection), network.steps
    operator = connection.operator
    arrived = np.zeros((steps, *shape), np.int64)
    for source in connection.sources:
        counts = np.asarray(spikes[source])
        arrived[connection.delay :] += counts[: max(0, steps - connection.delay)]
    field = "scale" if isinstance(operator, Identity) else "weight"
    exists = replace(operator, **{field: (operator.weight != 0).astype(np.int8)})
    pooled = connection.pool.apply(arrived) if connection.pool else arrived
    met = np.asarray(exists.apply(pooled)).reshape(steps, -1)
    cores = placement.core_of[connection.target].reshape(-1)
    found = np.zeros((steps, len(placement.cores)))
    for t in range(steps):
        found[t] = np.bincount(cores, weights=met[t], minlength=len(placement.cores))
    exact = (arrived * fan_out(connection, shape)).reshape(steps, -1).sum(axis=1)
    # Windows that overlap meet a target more than once over one synapse.
    return found * (exact / np.maximum(1, met.sum(axis=1)))[:, None]


def _empty(steps: int) -> Flow:
    zeros = np.zeros(steps, np.int64)
    return Flow(messages=zeros, hops_x=zeros, hops_y=zeros, chip_crossings=zeros)


def _checked(name: str, spikes: Mapping[str, Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    found = None if name not in spikes else np.asarray(spikes[name])
    if found is None or found.shape != shape:
        raise InvalidDataError(
            f"spike counts of {name!r}",
            got="none" if found is None else f"shape {found.shape}",
            expected=f"an array of shape {shape}",
            fix="Count the spikes of every neuron and time step.",
        )
    return found


class _Lanes:
    def __init__(self, asked: Demand, placement: Placement) -> None:
        self.asked, self.placement = asked, placement
        self.x, self.y, self.chip = (
            np.array([getattr(core, field) for core in placement.cores], np.int64)
            for field in ("x", "y", "chip")
        )
        self.sizes = {p.name: p.tile for p in placement.populations}

    def flow(self, group: _Class, cores: Counts, *, outside: bool) -> Flow:
        """What the spikes of a class make of their way to some cores."""
        fired, here = group.spikes, group.core
        nothing = np.zeros_like(fired)
        return Flow(
            messages=fired * len(cores),
            hops_x=nothing if outside else fired * np.abs(self.x[cores] - self.x[here]).sum(),
            hops_y=nothing if outside else fired * np.abs(self.y[cores] - self.y[here]).sum(),
            chip_crossings=nothing
            if outside
            else fired * np.count_nonzero(self.chip[cores] != self.chip[here]),
        )

    def classes(self, name: str, links: list[Link], counts: npt.NDArray[Any]) -> list[_Class]:
        """The neurons of a population, or of the input, sorted by where their spikes go."""
        grid = links[0].source_grid
        held = None if name == self.asked.input else self.placement.core_of[name]
        spikes = counts.reshape(len(counts), *grid)
        own = self.sizes.get(name, grid)
        tables = [self._tiles(link.target) for link in links]
        channels = self._channel_classes(links, own[0], grid[0])
        rows = self._position_classes(links, own[1], grid[1], 1)
        columns = self._position_classes(links, own[2], grid[2], 2)
        found = []
        for c_key, c in channels.items():
            some = spikes[:, c].sum(axis=1, dtype=np.int64)
            for r_key, r in rows.items():
                fewer = some[:, r].sum(axis=1)
                for k_key, k in columns.items():
                    targets = tuple(
                        np.unique(table[slice(*span)][:, list(ys)][:, :, list(xs)])
                        for table, span, ys, xs in zip(
                            tables, c_key[1], r_key[1], k_key[1], strict=True
                        )
                    )
                    core = -1 if held is None else int(held[c[0], r[0], k[0]])
                    found.append(_Class(core, fewer[:, k].sum(axis=1), targets))
        return found

    def _tiles(self, name: str) -> Counts:
        """(channel parts, row parts, column parts): the core of each tile."""
        steps = tuple(slice(None, None, size) for size in self.sizes[name])
        return self.placement.core_of[name][steps]

    def _channel_classes(self, links: list[Link], size: int, count: int) -> dict[Any, list[int]]:
        found: dict[Any, list[int]] = {}
        for channel in range(count):
            reached = []
            for link in links:
                target = self.sizes[link.target][0]
                parts = -(-self.asked.loads[link.target].grid[0] // target)
                reached.append(link.interval(channel, target, parts))
            found.setdefault((channel // size, tuple(reached)), []).append(channel)
        return found

    def _position_classes(
        self, links: list[Link], size: int, count: int, axis: int
    ) -> dict[Any, list[int]]:
        reach = []
        for link in links:
            target = self.sizes[link.target][axis]
            parts = -(-self.asked.loads[link.target].grid[axis] // target)
            sides = link.rows if axis == 1 else link.columns
            reach.append(sides.intervals_reached(target, parts))
        found: dict[Any, list[int]] = {}
        for position in range(count):
            reached = tuple(tuple(np.flatnonzero(r[position]).tolist()) for r in reach)
            found.setdefault((position // size, reached), []).append(position)
        return found
