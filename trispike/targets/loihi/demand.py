"""What a network asks of the cores that hold it: synapse memory and axons.

The unit is a tile: a block of neighbouring neurons of one population (channels x rows x columns)
that lies on one core together with all synapses that end in it.

**Axons.** A spike reaches a core over an axon. From a population with rows and columns it is an
axon per pixel, and the spike carries its channel (nengo-loihi, builder/connection.py and block.py:
population axons). From a flat population it is an axon per neuron. Where spikes have no sign on
the chip, a ternary source needs two axons instead of one, and two synapse lists, one of them with
the negated weights. An axon exists wherever the geometry connects, whatever the weights are.

**Synapse lists**, policy ``lists`` (nengo-loihi, block.py: SynapseConfig.bits_per_axon). An axon
points to a list of the synapses that its spikes meet in the tile, for all channels that it
carries. Axons share a list if their targets differ by a shift only: in a convolution one list
serves all pixels in the middle of a tile, and each way of being cut by the tile's border needs
another one. A list is stored in blocks of ``block_synapses``; a block takes its synapses' bits and
``header_bits``, rounded up to whole words::

    list(n) = sum over blocks of up to 64 synapses: ceil64(synapses * bits + 10)
    bits = weight + delay + index

The index is wide enough for all neurons of the tile. A matrix behind a flat population stores a
weight for each neuron of the tile, in order, without an index. Weights that are zero are stored.

**Policy** ``kernel``. A convolution stores each weight of the tile's channels once, and an
identity its scales; the hardware is taken to cut at borders. Everything else is as above.

The sources of one connection share its lists, unless their spikes arrive with different delays.
Two tiles on one core share nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.errors import UnsupportedError
from trispike.network import Connection, Conv2d, Dense, FixedPointNeuron, Identity, IntegerNetwork
from trispike.network.fixed_point import never
from trispike.network.synapses import meetings, pool_cover
from trispike.targets.lava.schedule import schedule
from trispike.targets.loihi.hardware import Chip

Grid: TypeAlias = tuple[int, int, int]
Bools: TypeAlias = npt.NDArray[np.bool_]


class Resources(NamedTuple):
    """What a core offers, or what a tile takes."""

    neurons: int
    synapse_bits: int
    in_axons: int
    out_axons: int
    thresholds: int
    """Different pairs of thresholds."""

    def plus(self, other: Resources) -> Resources:
        """The sum, field by field."""
        return Resources(*(a + b for a, b in zip(self, other, strict=True)))

    def within(self, limits: Limits) -> bool:
        """Whether nothing is above its limit."""
        return all(limit is None or used <= limit for used, limit in zip(self, limits, strict=True))


Limits: TypeAlias = tuple[int | None, ...]
"""In the order of :class:`Resources`; None: no limit."""

NOTHING = Resources(0, 0, 0, 0, 0)


def core_limits(chip: Chip) -> Limits:
    """What one core offers."""
    return (
        chip.neurons_per_core.value,
        chip.synapse_memory.value,
        chip.in_axons.value,
        chip.out_axons.value,
        chip.thresholds_per_core.value,
    )


LIMIT_FIELDS = {
    "neurons": "neurons_per_core",
    "synapse_bits": "synapse_memory",
    "in_axons": "in_axons",
    "out_axons": "out_axons",
    "thresholds": "thresholds_per_core",
}
"""Which field of a chip limits which resource."""


class AxisUse(NamedTuple):
    """One axis of a connection, for one interval of the target's positions."""

    sources: int
    """Source positions with a target in the interval."""
    lists: tuple[tuple[int, int], ...]
    """(targets, patterns): so many different patterns of so many target positions each."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Axis:
    """Which positions a connection joins along rows or columns.

    Args:
        patterns: (source, target, kernel) counts; all that a synapse list can depend on.
    """

    patterns: npt.NDArray[Any]
    aligned: bool
    """Whether target positions are those of the target's grid; else every one is reached."""
    shared: bool
    """Whether a pattern may be moved."""
    _uses: dict[tuple[int, int], AxisUse] = field(default_factory=dict)
    _cut: dict[tuple[int, int], frozenset[AxisUse]] = field(default_factory=dict)
    _reached: dict[tuple[int, int], npt.NDArray[np.int64]] = field(default_factory=dict)

    @cached_property
    def reach(self) -> Bools:
        """(source, target): whether there is a synapse between the positions."""
        return np.asarray(self.patterns.any(axis=2))

    @cached_property
    def covered(self) -> Bools:
        """(source,): whether a position has any synapse."""
        return np.asarray(self.reach.any(axis=1))

    def use(self, start: int, stop: int) -> AxisUse:
        """What the target positions ``start <= o < stop`` ask for."""
        key = (start, stop) if self.aligned else (0, 0)
        if key not in self._uses:
            self._uses[key] = self._count(start, stop)
        return self._uses[key]

    def uses(self, size: int, whole: int) -> frozenset[AxisUse]:
        """The different uses of the intervals of ``size`` out of ``whole`` target positions."""
        if (size, whole) not in self._cut:
            starts = range(0, whole, size)
            self._cut[size, whole] = frozenset(self.use(a, min(a + size, whole)) for a in starts)
        return self._cut[size, whole]

    def _count(self, start: int, stop: int) -> AxisUse:
        found: dict[tuple[int, bytes], int] = {}
        inside = slice(start, stop) if self.aligned else slice(None)
        reach = self.reach[:, inside]
        positions = np.flatnonzero(reach.any(axis=1))
        for position in positions:
            row, targets = self.patterns[position, inside], np.flatnonzero(reach[position])
            cut = row[targets[0] : targets[-1] + 1] if self.shared else row
            key = cut.tobytes() if self.shared or not self.aligned else b"%d" % position
            found[len(cut), key] = len(targets)
        sizes = Counter(found.values())
        return AxisUse(len(positions), tuple(sorted(sizes.items())))

    def tiles_reached(self, size: int, parts: int) -> npt.NDArray[np.int64]:
        """(source,): how many intervals of ``size`` target positions each source reaches."""
        if (size, parts) not in self._reached:
            self._reached[size, parts] = self.intervals_reached(size, parts).sum(
                axis=1, dtype=np.int64
            )
        return self._reached[size, parts]

    def intervals_reached(self, size: int, parts: int) -> Bools:
        """(source, interval): which of ``parts`` intervals of ``size`` positions are reached."""
        if not self.aligned:
            return np.repeat(self.covered[:, None], parts, axis=1)
        starts = np.arange(0, self.reach.shape[1], size)
        return np.asarray(np.logical_or.reduceat(self.reach, starts, axis=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One of the populations that a connection reads, or the input."""

    name: str
    signs: int
    """Axons per pixel or neuron: 2 where spikes of both signs need one each."""
    delay: int
    """Time steps that its spikes wait in the synapses, beyond the one that every spike takes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Link:
    """A connection, as far as memory and axons depend on it."""

    label: str
    sources: tuple[Source, ...]
    target: str
    source_grid: Grid
    by_neuron: bool
    """Whether each source neuron has an axon of its own, rather than each pixel."""
    rows: Axis
    columns: Axis
    full: bool
    """Whether every source meets every neuron of the tile: a matrix."""
    groups: int
    """Groups of channels of a convolution; 1 for a matrix."""
    inputs: int
    """Source channels per group."""
    outputs: int
    """Target channels per group."""
    taps: int
    """Positions of the kernel, with the pooling stage folded into it."""
    elementwise: bool
    """Whether weights differ between positions, so that nothing is shared."""
    bits: int
    """Width of a weight, sign included."""

    def parts(self, start: int, stop: int, size: int) -> int:
        """Intervals of ``size`` target channels that source channels ``start..stop-1`` reach."""
        if self.full:
            raise AssertionError("a matrix reaches all channels")
        first = start // self.inputs * self.outputs
        last = ((stop - 1) // self.inputs + 1) * self.outputs - 1
        return last // size - first // size + 1

    def interval(self, channel: int, size: int, parts: int) -> tuple[int, int]:
        """First interval of target channels that a source channel reaches, and that after it."""
        if self.full:
            return 0, parts
        first = channel // self.inputs * self.outputs
        return first // size, (first + self.outputs - 1) // size + 1

    def source_channels(self, start: int, stop: int) -> int:
        """Source channels with a synapse to the target channels ``start..stop-1``."""
        if self.full:
            return self.source_grid[0]
        return ((stop - 1) // self.outputs - start // self.outputs + 1) * self.inputs


@dataclass(frozen=True, kw_only=True, eq=False)
class Load:
    """A population, or the readout, as far as cores depend on it."""

    name: str
    grid: Grid
    """(channels, rows, columns); (N, 1, 1) for a flat one."""
    codes: npt.NDArray[np.int64]
    """Which thresholds a neuron has, as numbers; shape ``grid``."""
    signed: bool
    """Whether it fires in both signs."""

    @property
    def neurons(self) -> int:
        """How many."""
        return math.prod(self.grid)

    @cached_property
    def by_channel(self) -> bool:
        """Whether the thresholds are the same all over a channel."""
        return bool((self.codes == self.codes[:, :1, :1]).all())

    @cached_property
    def different(self) -> int:
        """Different thresholds in the whole population."""
        return len(np.unique(self.codes))

    def thresholds(self, channels: slice, rows: slice, columns: slice) -> int:
        """Different thresholds in a tile."""
        if self.different == 1:
            return 1
        if self.by_channel:
            return len(set(self.codes[channels, 0, 0].tolist()))
        return len(np.unique(self.codes[channels, rows, columns]))


@dataclass(frozen=True, kw_only=True, eq=False)
class Demand:
    """A whole network, as far as cores depend on it."""

    loads: Mapping[str, Load]
    """Populations in topological order, then the readout."""
    links: tuple[Link, ...]
    """All connections."""
    input: str
    """Name of the input, which is on no core."""

    @cached_property
    def into(self) -> Mapping[str, tuple[Link, ...]]:
        """Links by target."""
        return {name: tuple(k for k in self.links if k.target == name) for name in self.loads}

    @cached_property
    def out_of(self) -> Mapping[str, tuple[tuple[Link, Source], ...]]:
        """Links by source."""
        return {
            name: tuple((k, s) for k in self.links for s in k.sources if s.name == name)
            for name in (*self.loads, self.input)
        }


class Fan(NamedTuple):
    """Synapses of one neuron, those of weight 0 included."""

    fan_in: int
    fan_out: int


def fans(asked: Demand) -> dict[str, Fan]:
    """The most synapses that end in, and that leave, one neuron of each population.

    A pooling stage counts as part of the operator behind it: a synapse joins two neurons.
    """
    found = {}
    for name, load in asked.loads.items():
        ends = sum((_ends(link, load) for link in asked.into[name]), np.zeros((1, 1), np.int64))
        leaves = sum(
            (_leaves(link, asked.loads[link.target]) for link, _ in asked.out_of[name]),
            np.zeros((1, 1), np.int64),
        )
        found[name] = Fan(int(ends.max()), int(leaves.max()))
    return found


def _ends(link: Link, load: Load) -> npt.NDArray[np.int64]:
    """(row, column) of the target: synapses that end in a neuron there."""
    rows, columns = link.rows.reach.sum(axis=0), link.columns.reach.sum(axis=0)
    inputs = link.source_grid[0] if link.full else link.inputs
    found = len(link.sources) * inputs * np.multiply.outer(rows, columns)
    return np.broadcast_to(found, load.grid[1:]) if link.full else found


def _leaves(link: Link, load: Load) -> npt.NDArray[np.int64]:
    """(row, column) of a source: synapses that leave a neuron there."""
    if link.full:
        return load.neurons * np.multiply.outer(link.rows.covered, link.columns.covered)
    rows, columns = link.rows.reach.sum(axis=1), link.columns.reach.sum(axis=1)
    return link.outputs * np.multiply.outer(rows, columns)


def demand(network: IntegerNetwork, chip: Chip) -> Demand:
    """What a network asks of a chip."""
    readout = network.readout
    grids = _grids(network)
    loads = {name: _load(network, name, grids[name]) for name in network.order}
    loads[readout.name] = Load(
        name=readout.name,
        grid=grids[readout.name],
        codes=np.zeros(grids[readout.name], np.int64),
        signed=False,
    )
    waits = delays(network)
    pair = chip.signed_spikes.value == "pair"
    links, axes = [], _Axes()
    for label, connection in network.labelled():
        signed = [s == network.input.name or loads[s].signed for s in connection.sources]
        sources = tuple(
            Source(name=name, signs=2 if pair and both else 1, delay=wait)
            for name, both, wait in zip(connection.sources, signed, waits[label], strict=True)
        )
        links.append(_link(network, label, connection, sources, grids, axes))
    return Demand(loads=loads, links=tuple(links), input=network.input.name)


def delays(network: IntegerNetwork) -> dict[str, tuple[int, ...]]:
    """Steps that spikes wait in the synapses of each connection, by label, for each source.

    A spike takes one time step to arrive, so a network is a pipeline and shorter ways wait for
    longer ones; where that is impossible the network's own delays are returned.
    """
    try:
        plan = schedule(network)
    except UnsupportedError:
        return {label: (c.delay,) * len(c.sources) for label, c in network.labelled()}
    return {label: tuple(n - 1 for n in plan.latency(c)) for label, c in network.labelled()}


def _three(shape: tuple[int, ...]) -> Grid:
    return (shape[0], 1, 1) if len(shape) == 1 else (shape[0], shape[1], shape[2])


def _grids(network: IntegerNetwork) -> dict[str, Grid]:
    """(channels, rows, columns) of the input, the populations and the readout."""
    grids = {name: _grid(network, name) for name in network.populations}
    grids[network.input.name] = _three(network.input.shape)
    grids[network.readout.name] = (network.readout.classes, 1, 1)
    changed = True
    while changed:  # what one connection adds up is seen in one grid
        changed = False
        for connection in network.all_connections:
            if len({grids[name] for name in connection.sources}) > 1:
                shape = network.source_shape(connection)
                grids.update(dict.fromkeys(connection.sources, _three(shape)))
                changed = True
    return grids


def _grid(network: IntegerNetwork, name: str) -> Grid:
    """Rows and columns of a population; of a flat one, those of a convolution that feeds it."""
    shape = network.populations[name].shape
    if len(shape) == 1:
        for connection in network.into(name):
            found = connection.output_shape(network.source_shape(connection))
            if len(found) == 3:
                return _three(found)
    return _three(shape)


def _load(network: IntegerNetwork, name: str, grid: Grid) -> Load:
    population = network.populations[name]
    neuron = population.neuron
    assert isinstance(neuron, FixedPointNeuron)
    # Both fit into 32 bits.
    pairs = neuron.th_pos.astype(np.int64) << 32 | neuron.th_neg
    codes = np.unique(pairs, return_inverse=True)[1].reshape(pairs.shape)
    return Load(
        name=name,
        grid=grid,
        codes=np.broadcast_to(codes, population.shape).reshape(grid),
        signed=bool((neuron.th_neg < never(neuron.state_bits)).any()),
    )


def _link(
    network: IntegerNetwork,
    label: str,
    connection: Connection,
    sources: tuple[Source, ...],
    grids: Mapping[str, Grid],
    known: _Axes,
) -> Link:
    shape = network.source_shape(connection)
    source, target = grids[connection.sources[0]], grids[connection.target]
    operator = connection.operator
    output = _three(connection.output_shape(shape))
    if isinstance(operator, Identity) and len(shape) == 1:
        output = source  # in order, whatever grid they are seen in
    flat = len(shape) == 1 and source[1:] == (1, 1)
    if isinstance(operator, Dense) or output != target:
        full, groups, inputs, outputs, elementwise = True, 1, source[0], target[0], False
    elif isinstance(operator, Conv2d):
        full, groups, elementwise = False, operator.groups, False
        inputs, outputs = operator.weight.shape[1], target[0] // operator.groups
    else:
        full, groups, inputs, outputs = False, target[0], 1, 1
        elementwise = isinstance(operator, Identity) and _varies(operator, source)
    if full:
        axes = [
            known.axis(_matrix_patterns(connection, shape, source, axis), False, False)
            for axis in (0, 1)
        ]
        taps = 0
    else:
        axes = [
            known.axis(_patterns(connection, shape, source, axis), True, not elementwise)
            for axis in (0, 1)
        ]
        taps = math.prod(_taps(connection, axes[axis], axis) for axis in (0, 1))
    return Link(
        label=label,
        sources=sources,
        target=connection.target,
        source_grid=source,
        by_neuron=flat,
        rows=axes[0],
        columns=axes[1],
        full=full,
        groups=groups,
        inputs=inputs,
        outputs=outputs,
        taps=taps,
        elementwise=elementwise,
        bits=connection.bits,
    )


def _varies(operator: Identity, source: Grid) -> bool:
    scale = operator.scale
    if scale.ndim == 1 and scale.size == math.prod(source):  # of a flat population
        return source[1:] != (1, 1) and scale.size > 1
    return any(n > 1 for n in (1, 1, 1, *scale.shape)[-2:])


def _patterns(
    connection: Connection, shape: tuple[int, ...], source: Grid, axis: int
) -> npt.NDArray[Any]:
    if len(shape) == 1:
        return np.eye(source[1 + axis], dtype=np.int64)[:, :, None]
    return meetings(connection, shape, axis)


def _matrix_patterns(
    connection: Connection, shape: tuple[int, ...], source: Grid, axis: int
) -> npt.NDArray[Any]:
    """A matrix: two positions share a list if the pooling stage does not tell them apart."""
    if len(shape) == 3 and isinstance(connection.operator, Dense):
        cover = pool_cover(connection, shape, axis)
    else:
        cover = np.eye(source[1 + axis], dtype=np.int64)
    return np.ascontiguousarray(cover.T)[:, None, :]


class _Axes:
    """Axes by what they hold, so that layers of one form are counted once."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Axis] = {}

    def axis(self, patterns: npt.NDArray[Any], aligned: bool, shared: bool) -> Axis:
        """The axis of these patterns."""
        key = (patterns.shape, patterns.tobytes(), aligned, shared)
        return self._known.setdefault(key, Axis(patterns=patterns, aligned=aligned, shared=shared))


def _taps(connection: Connection, axis: Axis, number: int) -> int:
    """Different distances between a source and a target position, in the source's units."""
    stride = 1
    if isinstance(connection.operator, Conv2d):
        stride = connection.operator.stride[number]
    for stage in connection.pool_stages:
        stride *= stage.stride[number]
    sources, targets = np.nonzero(axis.reach)
    return len(np.unique(sources - targets * stride))


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """How a chip stores synapses."""

    block: int
    header: int
    word: int
    weights: tuple[int, ...]
    indices: tuple[int, ...]
    kernel: bool
    """Whether convolutions store each weight once."""
    neuron_bits: int
    map_axon_slots: int

    def list_bits(self, synapses: int, bits: int) -> int:
        """Memory of a list of so many synapses of so many bits."""
        whole, rest = divmod(synapses, self.block)
        return whole * self._block(self.block, bits) + (self._block(rest, bits) if rest else 0)

    def _block(self, synapses: int, bits: int) -> int:
        return -(-(synapses * bits + self.header) // self.word) * self.word

    def weight_bits(self, bits: int) -> int:
        """Stored width of a weight."""
        return next((width for width in self.weights if width >= bits), self.weights[-1])

    def index_bits(self, neurons: int) -> int | None:
        """Stored width of an index into so many neurons; None if there is none so wide."""
        if self.indices == (0,):
            return 0
        needed = (neurons - 1).bit_length()
        return next((width for width in self.indices if width >= needed), None)


def store_of(chip: Chip) -> Store:
    """How a chip stores synapses."""
    return Store(
        block=chip.block_synapses.value,
        header=chip.header_bits.value,
        word=chip.word_bits.value,
        weights=chip.weight_widths.value,
        indices=chip.index_widths.value,
        kernel=chip.convolution.value == "kernel",
        neuron_bits=chip.neuron_bits.value,
        map_axon_slots=chip.map_axon_slots.value,
    )


def link_bits(
    link: Link,
    store: Store,
    channels: tuple[int, int],
    rows: AxisUse,
    columns: AxisUse,
    neurons: int,
) -> int | None:
    """Synapse memory that a link takes in a tile; None if no index is wide enough.

    Args:
        link: The connection.
        store: How the chip stores it.
        channels: First channel of the tile, and the one after its last.
        rows: What the tile's rows ask for.
        columns: The same of its columns.
        neurons: Neurons of the tile.
    """
    if not rows.sources or not columns.sources:
        return 0
    copies = len({s.delay for s in link.sources}) * max(s.signs for s in link.sources)
    longest = max(s.delay for s in link.sources)
    bits = store.weight_bits(link.bits) + longest.bit_length()
    count = channels[1] - channels[0]
    if store.kernel and not link.full and not link.by_neuron:
        weights = count * (link.inputs * link.taps)
        if link.elementwise:
            weights = neurons
        return copies * store.list_bits(weights, bits)
    if link.full and link.by_neuron:
        return copies * link.source_grid[0] * store.list_bits(neurons, bits)
    index = store.index_bits(neurons)
    if index is None:
        return None
    bits += index
    if link.by_neuron:  # an identity between flat populations
        return copies * count * store.list_bits(1, bits)
    if link.full:
        lists = sum(n for _, n in rows.lists) * sum(n for _, n in columns.lists)
        return copies * lists * store.list_bits(link.source_grid[0] * neurons, bits)
    pairs = count * link.inputs
    total = sum(
        ny * nx * store.list_bits(pairs * ty * tx, bits)
        for ty, ny in rows.lists
        for tx, nx in columns.lists
    )
    return copies * total


def link_axons(link: Link, channels: tuple[int, int], rows: AxisUse, columns: AxisUse) -> int:
    """Axons over which a link's spikes reach a tile."""
    positions = rows.sources * columns.sources
    if link.by_neuron:
        positions *= link.source_channels(*channels)
    return positions * sum(source.signs for source in link.sources)
