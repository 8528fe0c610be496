"""Energy of a network on a digital core: each access by the size of the memory it goes to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from trispike.errors import InvalidDataError, UnsupportedError
from trispike.network import FixedPointNeuron, Network, Population, digest
from trispike.network.fixed_point import DECAY_BITS
from trispike.runtime.derived_counts import FLOAT_BITS, UpdateWork, update_work
from trispike.runtime.energy.estimate import (
    Estimate,
    Item,
    Signs,
    assembled,
    check_latency,
    check_samples,
    negative_spikes,
    static_item,
)
from trispike.runtime.energy.memory import MemoryModel
from trispike.runtime.energy.profile import Coefficient
from trispike.runtime.energy.twins import Twin
from trispike.runtime.ledger import Ledger, PopulationCounts
from trispike.targets.loihi.placement import Placement
from trispike.targets.loihi.traffic import Traffic

ACTIVATION_BITS = 8
"""Width of an activation of the dense network."""

SIZED = ("weight_word", "state_word")
"""Events whose memory is told as that of the part."""

Band: TypeAlias = tuple[float, float, float]
"""Lower end, value, upper end."""


def parameter_bits(population: Population) -> tuple[int, ...]:
    """Widths of the parameters that differ from neuron to neuron; others are in registers."""
    neuron = population.neuron
    integer = isinstance(neuron, FixedPointNeuron)
    bits = neuron.state_bits if isinstance(neuron, FixedPointNeuron) else FLOAT_BITS
    factors = ("a_pos", "a_neg", "b_pos", "b_neg", "k")
    width = dict.fromkeys(factors, DECAY_BITS + 1 if integer else bits)
    return tuple(
        width.get(name, bits)
        for name, values in neuron.array_fields().items()
        if name != "v_init" and values.size == population.size > 1
    )


class _Memory(NamedTuple):
    """A memory, or the mean one over cores."""

    bytes: float
    access: Band
    """pJ of one word."""


class _Share(NamedTuple):
    """A part of a population, and the bits that lie on its core."""

    part: float
    """Of the population's neurons, 0..1."""
    synapse_bits: int
    """Of all tiles on the core."""
    neurons: int
    """Of all tiles on the core."""


@dataclass(frozen=True, kw_only=True)
class _Core:
    """Sizes of memories, and the prices of accesses to them."""

    network: Network
    model: MemoryModel
    shares: Mapping[str, Sequence[_Share]] | None
    """By population, from a placement."""
    channels: int
    """Copies of a weight: two where each sign has a channel."""

    @property
    def word(self) -> int:
        return self.model.word_bits.value

    def weight_bits(self, bits: int) -> int:
        return bits if self.network.kind == "integer" else FLOAT_BITS

    def weights(self, target: str, weights: int, bits: int) -> _Memory:
        """An access to the weights of one connection."""
        if self.shares is None:
            return self._access([(1.0, self.channels * weights * bits)])
        return self._access([(s.part, s.synapse_bits) for s in self.shares[target]])

    def neurons(self, name: str, bits: int) -> _Memory:
        """An access to a memory that holds so many bits for every neuron of a population."""
        if self.shares is None:
            size = math.prod(self.network.shape_of(name))
            return self._access([(1.0, size * bits)])
        return self._access([(s.part, s.neurons * bits) for s in self.shares[name]])

    def queue(self, source: str) -> _Memory:
        """An access to a queue that holds all that a source can emit in one step."""
        return self._access(
            [(1.0, math.prod(self.network.shape_of(source)) * self.entry_bits(source))]
        )

    def entry_bits(self, source: str) -> int:
        """Width of an event: an address, and a sign or a payload."""
        size = math.prod(self.network.shape_of(source))
        payload = self.model.payload_bits.value if source == self.network.input.name else 1
        return max(1, math.ceil(math.log2(size))) + payload

    def packed(self, values: float, bits: int) -> float:
        """Words that hold so many values, as many whole ones to a word as fit."""
        each = self.word // bits
        return values / each if each else values * math.ceil(bits / self.word)

    def _access(self, sizes: list[tuple[float, int]]) -> _Memory:
        bands = [(part, self.model.access(bits / 8)) for part, bits in sizes]
        low, price, high = (sum(part * band[n] for part, band in bands) for n in range(3))
        mean = sum(part * bits / 8 for part, bits in sizes)
        return _Memory(mean, (low, price, high))


def estimate_memory(
    network: Network,
    ledger: Ledger,
    model: MemoryModel,
    *,
    placement: Placement | None = None,
    traffic: Traffic | None = None,
    input_events: float | None = None,
    latency_seconds: float | None = None,
) -> Estimate:
    """Price a ledger under a memory model.

    Args:
        network: What ran.
        ledger: Counts of a run of at least one sample.
        model: Prices.
        placement: Sizes the memories by what lies on each core; None: one memory for the weights
            of each connection, one for the states of each population.
        traffic: On that placement: a spike is queued on each core that it reaches, not once per
            connection.
        input_events: Input elements other than 0, over all steps, per inference; None: unpriced,
            unless there is traffic.
        latency_seconds: How long an inference takes on the hardware, for its static power.

    Raises:
        InvalidDataError: An empty ledger, one of another network, or a placement of another one.
        UnsupportedError: A placement on which not every neuron has a core.
        InvalidSettingError: A latency that is no time.
    """
    check_samples(ledger.samples)
    check_latency(latency_seconds)
    _check_ledger(network, ledger)
    core = _Core(
        network=network,
        model=model,
        shares=None if placement is None else _shares_of(network, placement),
        channels=2 if model.signed_spikes.policy == "dual_channel" else 1,
    )
    items = [
        *_connection_items(core, ledger),
        *_queue_items(core, ledger, traffic, input_events),
        *(item for name in network.populations for item in _population_items(core, ledger, name)),
    ]
    unpriced = dict(model.unpriced)
    if traffic is None and input_events is None:
        unpriced["input_queue"] = "How many events the input delivers is not given."
    if model.static_power is None:
        unpriced.setdefault("static_power", "The model gives none.")
    else:
        power = model.static_power
        static = static_item(power.watts, power.citation, power.confidence, latency_seconds)
        if static.joules is None:
            unpriced["static_power"] = static.source
        else:
            items.append(static)
    return assembled(
        [item for item in items if item.count],
        profile=model,
        samples=ledger.samples,
        unpriced=unpriced,
        signs=_signs(core, ledger, items),
        assumptions={},
        twins=(_twin(core, ledger, items),),
    )


def _check_ledger(network: Network, ledger: Ledger) -> None:
    sizes = {name: p.size for name, p in network.populations.items()}
    counted = {name: p.neurons for name, p in ledger.populations.items()}
    if counted != sizes or list(ledger.connections) != list(network.labels):
        raise InvalidDataError(
            "ledger",
            got="counts of other populations or connections",
            expected="those of the network",
            fix="Price a ledger with the network that it was counted on.",
        )


def _shares_of(network: Network, placement: Placement) -> dict[str, list[_Share]]:
    if placement.network_sha256 != digest(network):
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
    shares: dict[str, list[_Share]] = {name: [] for name in placement.grids}
    for core in placement.cores:
        neurons = [math.prod(s.size for s in (t.channels, t.rows, t.columns)) for t in core.tiles]
        for tile, size in zip(core.tiles, neurons, strict=True):
            part = size / math.prod(placement.grids[tile.population])
            shares[tile.population].append(_Share(part, core.use.synapse_bits, sum(neurons)))
    return shares


def _operation(
    core: _Core,
    price: Coefficient,
    count: float,
    *,
    part: str,
    kind: str,
    category: str,
    event: str,
) -> Item:
    low, high = price.interval
    return Item(
        part=part,
        kind=kind,
        category=category,
        event=event,
        count=count,
        joules=count * price.picojoules * 1e-12,
        picojoules=price.picojoules,
        low=count * low * 1e-12,
        high=count * high * 1e-12,
        source=f"{price.citation}. {price.note}" if price.note else price.citation,
        basis=price.basis or core.model.basis,
        confidence=price.confidence,
    )


def _words(
    core: _Core, words: Band, memory: _Memory, *, part: str, kind: str, category: str, event: str
) -> Item:
    """Accesses to a memory; the ends of the band differ in number and in price."""
    low, joules, high = (n * pj * 1e-12 for n, pj in zip(words, memory.access, strict=True))
    first, last = core.model.sram[0], core.model.sram[-1]
    return Item(
        part=part,
        kind=kind,
        category=category,
        event=event,
        count=words[1],
        joules=joules,
        picojoules=memory.access[1],
        low=low,
        high=high,
        source=f"by the size of the memory: {first.citation}; ... {last.citation}; above that "
        f"{core.model.dram.citation}",
        basis=core.model.basis,
        confidence=last.confidence,
        memory_bytes=memory.bytes if event in SIZED else None,
    )


def _connection_items(core: _Core, ledger: Ledger) -> Iterator[Item]:
    """Arithmetic, weights and accumulators of every connection."""
    model = core.model
    arithmetic = getattr(model.arithmetic, core.network.kind)
    sums = model.accumulator_bits.value
    for label, connection in core.network.labelled():
        counts = ledger.connections[label]
        ternary = int(counts.synaptic_operations.sum()) / ledger.samples
        graded = int(counts.macs.sum()) / ledger.samples
        zeros = int(counts.zero_weight_operations.sum()) / ledger.samples
        done, bits = ternary + graded, core.weight_bits(connection.bits)
        where = {"part": label, "kind": "connection"}
        arith = {**where, "category": "synapse_arithmetic"}
        yield _operation(core, arithmetic.accumulate, done, event="synapse_addition", **arith)
        yield _operation(
            core, arithmetic.weight_multiply, graded, event="synapse_multiplication", **arith
        )
        yield _operation(
            core, model.address, done, event="address_addition", category="addressing", **where
        )
        fetched = done + zeros
        packed = core.packed(fetched, bits)
        yield _words(
            core, (packed, packed, fetched),
            core.weights(connection.target, connection.operator.weight.size, bits),
            event="weight_word", category="weight_fetch", **where,
        )  # fmt: skip
        yield _words(
            core, (0.0, 2 * core.packed(done, sums), 2 * done),
            core.neurons(connection.target, sums),
            event="accumulator_word", category="accumulators", **where,
        )  # fmt: skip


def _queue_items(
    core: _Core, ledger: Ledger, traffic: Traffic | None, input_events: float | None
) -> Iterator[Item]:
    """Every event is written to a queue and read from it, for each connection that it goes over."""
    network = core.network
    for label, connection in network.labelled():
        for source in connection.sources:
            if traffic is not None:
                messages = int(traffic.connections[label].messages.sum())
                events = messages / traffic.samples / len(connection.sources)
            elif source == network.input.name:
                events = 0.0 if input_events is None else input_events
            else:
                p = ledger.populations[source]
                events = int(p.spikes_positive.sum() + p.spikes_negative.sum()) / ledger.samples
            packed = 2 * core.packed(events, core.entry_bits(source))
            yield _words(
                core, (packed, 2 * events, 2 * events), core.queue(source), part=label,
                kind="connection", category="event_queue", event="queue_word",
            )  # fmt: skip


def _population_items(core: _Core, ledger: Ledger, name: str) -> Iterator[Item]:
    """States and arithmetic of every neuron at every step, those without input apart."""
    counts, population = ledger.populations[name], core.network.populations[name]
    work, parameters = update_work(population), parameter_bits(population)
    active = int(counts.updates_with_input.sum()) / ledger.samples
    idle = int(counts.updates.sum()) / ledger.samples - active
    spikes = _spikes(counts) / ledger.samples
    for updates, fired, prefix, categories in (
        (active, spikes, "", ("neuron_arithmetic", "neuron_state")),
        (idle, 0.0, "idle_", ("idle_updates", "idle_updates")),
    ):
        yield from _update_items(core, name, work, parameters, updates, fired, prefix, categories)


def _update_items(
    core: _Core,
    name: str,
    work: UpdateWork,
    parameters: tuple[int, ...],
    updates: float,
    fired: float,
    prefix: str,
    categories: tuple[str, str],
) -> Iterator[Item]:
    arithmetic = getattr(core.model.arithmetic, core.network.kind)
    where = {"part": name, "kind": "population"}
    each = work.additions + work.bias_additions + work.threshold_compares + work.floor_compares
    additions = updates * each + fired * work.additions_per_spike
    for price, count, event in (
        (arithmetic.state_multiply, updates * work.multiplies, "neuron_multiplication"),
        (arithmetic.accumulate, additions, "neuron_addition"),
    ):
        yield _operation(core, price, count, category=categories[0], event=prefix + event, **where)
    kept, given = sum(work.state_bits), sum(parameters)
    for bits, values, times, event in (
        (kept, len(work.state_bits), 2, "state_word"),
        (given, len(parameters), 1, "parameter_word"),
    ):
        moved = times * updates
        words = moved * bits / core.word, moved * math.ceil(bits / core.word), moved * values
        price = core.neurons(name, max(1, bits))
        yield _words(core, words, price, category=categories[1], event=prefix + event, **where)
    # The sum of the inputs is read and cleared, whatever it is.
    sums = core.model.accumulator_bits.value
    yield _words(
        core, (0.0, 2 * core.packed(updates, sums), 2 * updates), core.neurons(name, sums),
        category=categories[1], event=prefix + "input_word", **where,
    )  # fmt: skip


def _spikes(counts: PopulationCounts) -> int:
    return int(counts.spikes_positive.sum() + counts.spikes_negative.sum())


def _signs(core: _Core, ledger: Ledger, items: Sequence[Item]) -> Signs:
    policy = core.model.signed_spikes
    doubled = None
    if policy.policy == "dual_channel":
        both = {n for n, p in ledger.populations.items() if p.spikes_negative.any()}
        doubled = sum(i.joules or 0.0 for i in items if i.kind == "population" and i.part in both)
    return Signs(
        policy=policy.policy,
        note=policy.note,
        negative_spikes=negative_spikes(ledger),
        second_neuron_joules=doubled,
    )


def _twin(core: _Core, ledger: Ledger, items: Sequence[Item]) -> Twin:
    """The dense network on the same core: all inputs, once, weights of equal width.

    It fetches a weight and adds to an accumulator for every product, as the spiking network does
    for every event; its activations are written once and read by each connection.
    """
    network, model = core.network, core.model
    arithmetic, sums = getattr(model.arithmetic, network.kind), model.accumulator_bits.value
    product = arithmetic.accumulate.picojoules + arithmetic.weight_multiply.picojoules
    width = ACTIVATION_BITS if network.kind == "integer" else FLOAT_BITS
    total, macs = 0.0, 0
    for label, connection in network.labelled():
        count = ledger.connections[label].dense_macs
        bits, size = core.weight_bits(connection.bits), connection.operator.weight.size
        macs += count
        total += count * (product + model.address.picojoules)
        total += core.packed(count, bits) * core.weights(connection.target, size, bits).access[1]
        total += 2 * core.packed(count, sums) * core.neurons(connection.target, sums).access[1]
        for source in connection.sources:
            elements = math.prod(network.shape_of(source))
            price = model.access(elements * width / 8)[1]
            total += 2 * core.packed(elements, width) * price
    spiking = sum(item.joules or 0.0 for item in items if item.kind != "static")
    return Twin(
        profile=model.id,
        spiking_joules=spiking,
        dense_joules=total * 1e-12,
        dense_macs=macs,
        neuron_updates=0.0,
    )
