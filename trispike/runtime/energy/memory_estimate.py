"""Energy of a network on a digital core: each access by the size of the memory it goes to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.errors import InvalidDataError, InvalidSettingError
from trispike.network import Network
from trispike.runtime.derived_counts import UpdateWork, check_ledger, update_work
from trispike.runtime.energy.estimate import (
    Estimate,
    Item,
    Signs,
    assembled,
    check_latency,
    check_samples,
    learning_remarks,
    negative_spikes,
    static_item,
)
from trispike.runtime.energy.memory import MemoryModel
from trispike.runtime.energy.memory_sizes import Band, Memory, Sizes, parameter_widths, sizes_of
from trispike.runtime.energy.memory_twins import memory_twins
from trispike.runtime.energy.profile import Coefficient
from trispike.runtime.ledger import Counts, Ledger, PopulationCounts
from trispike.targets.loihi.placement import Placement
from trispike.targets.loihi.traffic import Traffic

SIZED = ("weight_word", "state_word")
"""Events whose memory is told as that of the part."""

Amounts: TypeAlias = npt.NDArray[Any]
"""(1 + N,): the mean over samples, then the number in every one; (1,) where only the mean is
known."""


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
    check_ledger(ledger, network)
    _check_events(network, ledger, placement, traffic, input_events)
    core = sizes_of(network, model, placement, spread=traffic is not None)
    items = [
        *_connection_items(core, ledger),
        *_queue_items(core, ledger, traffic, input_events),
        *(item for name in network.populations for item in _population_items(core, ledger, name)),
    ]
    unpriced = dict(model.unpriced)
    if traffic is None and input_events is None:
        unpriced["input_queue"] = "How many events the input delivers is not given."
    if placement is not None and traffic is None:
        unpriced["queue_copies"] = (
            "On how many cores an event is queued is known with traffic only."
        )
    if model.static_power is None:
        unpriced.setdefault("static_power", "The model gives none.")
    else:
        static = static_item(model.static_power, latency_seconds, ledger.samples)
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
        twins=memory_twins(core, ledger, _spiking(items), with_input="input_queue" not in unpriced),
        remarks=learning_remarks(network),
    )


def _check_events(
    network: Network,
    ledger: Ledger,
    placement: Placement | None,
    traffic: Traffic | None,
    input_events: float | None,
) -> None:
    most = ledger.steps * math.prod(network.input.shape)
    if input_events is not None and not 0 <= input_events <= most:
        raise InvalidDataError(
            "input events",
            got=f"{input_events} per inference",
            expected=f"0 to {most:,}, one per element and step",
            fix="Give the mean number of input elements other than 0, over all steps.",
        )
    if traffic is None:
        return
    if placement is None:
        raise InvalidSettingError(
            "traffic",
            got="no placement",
            expected="the placement that messages were counted on",
            fix="Give it, too.",
        )
    check_samples(traffic.samples)
    if list(traffic.connections) != list(network.labels):
        raise InvalidDataError(
            "traffic",
            got="messages of other connections",
            expected="those of the network",
            fix="Count the messages of this network.",
        )


def _amounts(ledger: Ledger, total: Counts, kind: str, name: str) -> Amounts:
    """Of one kind of count, in one part, from what the ledger says in total and per sample."""
    mean = int(total.sum()) / ledger.samples
    if ledger.per_sample is None:
        return np.array([mean])
    return np.array([mean, *ledger.per_sample.groups()[kind][name].sum(axis=1)])


def _each(amounts: Amounts) -> npt.NDArray[np.float64] | None:
    return amounts[1:] if len(amounts) > 1 else None


def _operation(
    core: Sizes,
    price: Coefficient,
    amounts: Amounts,
    *,
    part: str,
    kind: str,
    category: str,
    event: str,
) -> Item:
    (low, high), count = price.interval, float(amounts[0])
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
        each=_each(amounts),
    )


def _words(
    core: Sizes,
    words: tuple[Amounts, Amounts, Amounts],
    memory: Memory,
    *,
    part: str,
    kind: str,
    category: str,
    event: str,
) -> Item:
    """Accesses to a memory; the ends of the band differ in number and in price."""
    low, joules, high = (
        float(n[0]) * pj * 1e-12 for n, pj in zip(words, memory.access, strict=True)
    )
    first, last = core.model.sram[0], core.model.sram[-1]
    return Item(
        part=part,
        kind=kind,
        category=category,
        event=event,
        count=float(words[1][0]),
        joules=joules,
        picojoules=memory.access[1],
        low=low,
        high=high,
        source=f"by the size of the memory: {first.citation}; ... {last.citation}; above that "
        f"{core.model.dram.citation}",
        basis=core.model.basis,
        confidence=last.confidence,
        memory_bytes=memory.bytes if event in SIZED else None,
        each=_each(words[1]),
    )


def _connection_items(core: Sizes, ledger: Ledger) -> Iterator[Item]:
    """Arithmetic, weights and accumulators of every connection."""
    model = core.model
    arithmetic = getattr(model.arithmetic, core.network.kind)
    sums = core.sums
    for label, connection in core.network.labelled():
        counts = ledger.connections[label]
        ternary, graded, zeros = (
            _amounts(ledger, getattr(counts, kind), kind, label)
            for kind in ("synaptic_operations", "macs", "zero_weight_operations")
        )
        done, bits = ternary + graded, core.weight_bits(connection)
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
            core.weights(connection),
            event="weight_word", category="weight_fetch", **where,
        )  # fmt: skip
        yield _words(
            core, (0 * done, 2 * core.packed(done, sums), 2 * done),
            core.accumulators(connection.target),
            event="accumulator_word", category="accumulators", **where,
        )  # fmt: skip


def _queue_items(
    core: Sizes, ledger: Ledger, traffic: Traffic | None, input_events: float | None
) -> Iterator[Item]:
    """Every event is written to a queue and read from it, for each connection that it goes over."""
    network = core.network
    for label, connection in network.labelled():
        for source in connection.sources:
            if traffic is not None:
                messages = int(traffic.connections[label].messages.sum())
                events = np.array([messages / traffic.samples / len(connection.sources)])
            elif source == network.input.name:
                events = _input_amounts(network, ledger, input_events)
            else:
                events = _amounts(ledger, _spikes(ledger.populations[source]), "spikes", source)
            packed = 2 * core.packed(events, core.entries[source])
            yield _words(
                core, (packed, 2 * events, 2 * events), core.queue(label, source), part=label,
                kind="connection", category="event_queue", event="queue_word",
            )  # fmt: skip


def _input_amounts(network: Network, ledger: Ledger, input_events: float | None) -> Amounts:
    if input_events is None:
        return np.zeros(1)
    if ledger.per_sample is None:
        return np.array([input_events])
    return np.array([input_events, *ledger.per_sample.input_events[network.input.name].sum(axis=1)])


def _population_items(core: Sizes, ledger: Ledger, name: str) -> Iterator[Item]:
    """States and arithmetic of every neuron at every step, those without input apart."""
    counts, population = ledger.populations[name], core.network.populations[name]
    work, parameters = update_work(population), tuple(parameter_widths(population).values())
    active = _amounts(ledger, counts.updates_with_input, "updates_with_input", name)
    idle = int(counts.updates.sum()) / ledger.samples - active
    spikes = _amounts(ledger, _spikes(counts), "spikes", name)
    for updates, fired, prefix, categories in (
        (active, spikes, "", ("neuron_arithmetic", "neuron_state")),
        (idle, 0 * idle, "idle_", ("idle_updates", "idle_updates")),
    ):
        yield from _update_items(core, name, work, parameters, updates, fired, prefix, categories)


def _update_items(
    core: Sizes,
    name: str,
    work: UpdateWork,
    parameters: tuple[int, ...],
    updates: Amounts,
    fired: Amounts,
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
    for bits, values, times, event, widths in (
        (kept, len(work.state_bits), 2, "state_word", core.states),
        (given, len(parameters), 1, "parameter_word", core.parameters),
    ):
        moved = times * updates
        words = moved * bits / core.word, moved * math.ceil(bits / core.word), moved * values
        price = core.neurons(name, widths)
        yield _words(core, words, price, category=categories[1], event=prefix + event, **where)
    # The sum of the inputs is read and cleared, whatever it is.
    sums = core.sums
    yield _words(
        core, (0 * updates, 2 * core.packed(updates, sums), 2 * updates), core.accumulators(name),
        category=categories[1], event=prefix + "input_word", **where,
    )  # fmt: skip


def _spikes(counts: PopulationCounts) -> Counts:
    """(T,): of either sign."""
    return counts.spikes_positive + counts.spikes_negative


def _signs(core: Sizes, ledger: Ledger, items: Sequence[Item]) -> Signs:
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


def _spiking(items: Sequence[Item]) -> Band:
    """All of the spiking network but static power, in J: lower end, value, upper end."""
    moving = [item for item in items if item.kind != "static" and item.joules is not None]
    low, high = (sum(getattr(item, end) for item in moving) for end in ("low", "high"))
    return low, sum(item.joules or 0.0 for item in moving), high
