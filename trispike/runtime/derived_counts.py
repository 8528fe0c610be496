"""Events that follow from a ledger and the network, exactly, and are not counted by engines.

An engine counts what depends on the data: spikes, deliveries, updates that received input,
saturations. How many words that takes out of a memory, how many comparisons and multiplications a
neuron makes, is a property of the network, and is worked out here.

What is left out of a neuron's update because it changes nothing is left out for a whole population
only: as soon as one neuron needs an operation, all of them do it. Clipping, the shift of the
current, and the choice of a factor by the sign of a state are wiring, and not counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.errors import InvalidDataError
from trispike.network import FixedPointNeuron, Network, Neuron, Population
from trispike.network.fixed_point import DECAY_ONE, never, state_limit
from trispike.runtime.geometry import geometries
from trispike.runtime.ledger import ConnectionCounts, Ledger, PopulationCounts
from trispike.targets.loihi.traffic import Traffic

Counts: TypeAlias = npt.NDArray[np.int64]

FLOAT_BITS = 32
"""Width of a weight, state or value of a float network where it is deployed; engines use 64."""

PAYLOAD_BYTES, FLOAT_BYTES = 1, FLOAT_BITS // 8
"""Of an input value of an integer network, and of a float one."""

LOGIT_BYTES = 8
"""Of an integer logit, as engines return it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateWork:
    """What one update of one neuron takes."""

    state_bits: tuple[int, ...]
    """Widths of what is kept from step to step, read and written: of i, c and v those that matter,
    and one bit where a neuron may fire once."""
    multiplies: int
    """States times retention factors other than 0 and 1; of two factors that a sign chooses from,
    one."""
    additions: int
    """Of states and current, without the bias."""
    bias_additions: int
    """1 where there is a bias."""
    threshold_compares: int
    """With thresholds that can be reached: two for a ternary neuron."""
    floor_compares: int
    """1 where the potential has a lower bound."""
    additions_per_spike: int
    """1 where firing takes the threshold off the potential."""


def update_work(population: Population) -> UpdateWork:
    """What one update takes, from the parameters of a population."""
    neuron = population.neuron
    one, top, bottom, bits = _ends(neuron)
    factors = {
        "i": (neuron.k,),
        "c": (neuron.a_pos, neuron.a_neg),
        "v": (neuron.b_pos, neuron.b_neg),
    }
    kept = {name: any(bool(f.any()) for f in given) for name, given in factors.items()}
    kept["c"] &= kept["v"]  # what nothing is carried into stays zero
    multiplied = [
        kept[name] and any(bool(((f != 0) & (f != one)).any()) for f in given)
        for name, given in factors.items()
    ]
    return UpdateWork(
        state_bits=(bits,) * sum(kept.values()) + (1,) * neuron.fire_once,
        multiplies=sum(multiplied),
        additions=sum(kept.values()),
        bias_additions=int(neuron.bias.any()),
        threshold_compares=int((neuron.th_pos < top).any()) + int((neuron.th_neg < top).any()),
        floor_compares=int((neuron.floor > bottom).any()),
        additions_per_spike=int(neuron.reset == "subtract"),
    )


def _ends(neuron: Neuron | FixedPointNeuron) -> tuple[float, float, float, int]:
    """The factor that changes nothing, the threshold never reached, no floor, bits of a state."""
    if isinstance(neuron, FixedPointNeuron):
        bits = neuron.state_bits
        return DECAY_ONE, never(bits), -state_limit(bits), bits
    return 1.0, math.inf, -math.inf, FLOAT_BITS


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ConnectionWork:
    """Of one connection; arrays are (T,), summed over samples."""

    weight_words: Counts
    """Weights fetched: one for each operation, ternary or graded. Where a kernel is stored with its
    zeros, ``zero_weight_operations`` of the ledger come on top."""
    weight_bits: Counts
    """Their bits."""
    additions: Counts
    """To the target's current, one for each operation."""
    multiplies: Counts
    """One for each graded operation."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PopulationWork:
    """Of one population; arrays are (T,), summed over samples."""

    fired: Counts
    """Updates that ended in a spike, either sign."""
    state_reads: Counts
    """State words read: every neuron, every step."""
    state_writes: Counts
    """State words written: the same ones."""
    state_bits_read: Counts
    """Bits of those that were read; as many are written."""
    threshold_compares: Counts
    """Two per update for a ternary population, one for a binary one."""
    floor_compares: Counts
    """With the lower bound of the potential, where there is one."""
    multiplies: Counts
    """Of the neurons' own dynamics."""
    additions: Counts
    """Of the neurons' own dynamics, soft resets included, biases not."""
    bias_additions: Counts
    """One per update where there is a bias."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadoutWork:
    """Of the readout; arrays are (T,), summed over samples."""

    bias_additions: Counts
    """One per class where there is a bias."""
    multiplies: Counts
    """With time weights that differ from each other, unless one is 0, 1 or -1; a common one is left
    to the host."""
    additions: Counts
    """To the logits: one per class at every step whose weight is not 0."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DerivedCounts:
    """All that follows from a ledger and its network."""

    connections: Mapping[str, ConnectionWork]
    """By label."""
    populations: Mapping[str, PopulationWork]
    """By name."""
    readout: ReadoutWork
    host_input_bytes: int
    """What the host sends, over all samples: every value of the raw data."""
    host_output_bytes: int
    """What the host gets: one logit per class and sample."""
    time_steps: int
    """Over all samples."""
    messages: Counts | None
    """(T,): spikes of populations times the cores that each reaches; None: no placement."""
    input_messages: Counts | None
    """(T,): the same for elements of the input, which come from outside; None: no placement."""
    hops: Counts | None
    """(T,): routers passed, in both directions; None: no placement."""

    def to_dict(self) -> dict[str, Any]:
        """JSON form: totals over time steps, by part."""
        return {
            "connections": {name: _totals(work) for name, work in self.connections.items()},
            "populations": {name: _totals(work) for name, work in self.populations.items()},
            "readout": _totals(self.readout),
            "host_input_bytes": self.host_input_bytes,
            "host_output_bytes": self.host_output_bytes,
            "time_steps": self.time_steps,
            "messages": None if self.messages is None else int(self.messages.sum()),
            "input_messages": None
            if self.input_messages is None
            else int(self.input_messages.sum()),
            "hops": None if self.hops is None else int(self.hops.sum()),
        }


def derived_counts(
    ledger: Ledger, network: Network, traffic: Traffic | None = None
) -> DerivedCounts:
    """What follows from a ledger and the network that it is of.

    Args:
        ledger: Counts of a run.
        network: What ran.
        traffic: Messages of the same samples on a placement; None: no placement.

    Raises:
        InvalidDataError: The ledger is of another network, or the traffic of other samples.
    """
    check_ledger(ledger, network)
    if traffic is not None and traffic.samples != ledger.samples:
        raise InvalidDataError(
            "traffic",
            got=f"messages of {traffic.samples} samples",
            expected=f"those of the ledger's {ledger.samples}",
            fix="Count both on the same data.",
        )
    integer = network.kind == "integer"
    frames = network.steps if network.input.has_frames else 1
    sent = frames * math.prod(network.input.shape) * (PAYLOAD_BYTES if integer else FLOAT_BYTES)
    received = network.readout.classes * (LOGIT_BYTES if integer else FLOAT_BYTES)
    flows = None if traffic is None else (traffic.total, traffic.input)
    return DerivedCounts(
        connections={
            label: _of_connection(ledger.connections[label], c.bits if integer else FLOAT_BITS)
            for label, c in network.labelled()
        },
        populations={
            name: _of_population(ledger.populations[name], update_work(population))
            for name, population in network.populations.items()
        },
        readout=_of_readout(network, ledger.samples),
        host_input_bytes=ledger.samples * sent,
        host_output_bytes=ledger.samples * received,
        time_steps=ledger.samples * ledger.steps,
        messages=None if flows is None else flows[0].messages,
        input_messages=None if flows is None else flows[1].messages,
        hops=None if flows is None else flows[0].hops_x + flows[0].hops_y,
    )


def _of_connection(counts: ConnectionCounts, bits: int) -> ConnectionWork:
    words = counts.synaptic_operations + counts.macs
    return ConnectionWork(
        weight_words=words,
        weight_bits=words * bits,
        additions=words.copy(),
        multiplies=counts.macs.copy(),
    )


def _of_population(counts: PopulationCounts, work: UpdateWork) -> PopulationWork:
    updates, fired = counts.updates, counts.spikes_positive + counts.spikes_negative
    words = updates * len(work.state_bits)
    return PopulationWork(
        fired=fired,
        state_reads=words,
        state_writes=words.copy(),
        state_bits_read=updates * sum(work.state_bits),
        threshold_compares=updates * work.threshold_compares,
        floor_compares=updates * work.floor_compares,
        multiplies=updates * work.multiplies,
        additions=updates * work.additions + fired * work.additions_per_spike,
        bias_additions=updates * work.bias_additions,
    )


def _of_readout(network: Network, samples: int) -> ReadoutWork:
    weights = network.readout.weights
    each = samples * network.readout.classes
    differ = bool((weights != weights[0]).any())
    return ReadoutWork(
        bias_additions=np.full(network.steps, each * int(network.readout.bias.any()), np.int64),
        multiplies=(differ & ~np.isin(weights, (-1, 0, 1))).astype(np.int64) * each,
        additions=(weights != 0).astype(np.int64) * each,
    )


def check_ledger(ledger: Ledger, network: Network) -> None:
    """Refuse a ledger that cannot be of this network.

    Raises:
        InvalidDataError: Other steps, populations, connections or synapses, or more spikes of
            neurons that fire once than there are such neurons.
    """
    mine = (
        network.steps,
        [(name, population.size) for name, population in network.populations.items()],
        list(network.labels),
    )
    theirs = (
        ledger.steps,
        [(name, counts.neurons) for name, counts in ledger.populations.items()],
        list(ledger.connections),
    )
    if mine != theirs or any(
        (counts.synapses, counts.dense_macs) != (geometry.fan_out.sum(), geometry.dense_macs)
        for counts, geometry in zip(
            ledger.connections.values(), geometries(network).values(), strict=True
        )
    ):
        raise InvalidDataError(
            "ledger",
            got="counts of another network",
            expected="one of the network that ran",
            fix="Take the network that the ledger was made with.",
        )
    for name, counts in ledger.populations.items():
        spikes = int(counts.spikes_positive.sum() + counts.spikes_negative.sum())
        most = counts.neurons * ledger.samples
        if network.populations[name].neuron.fire_once and spikes > most:
            raise InvalidDataError(
                f"ledger, population {name!r}",
                got=f"{spikes} spikes of neurons that fire once",
                expected=f"at most {most}: one per neuron and sample",
                fix="Take the network that the ledger was made with.",
            )


def _totals(work: Any) -> dict[str, int]:
    return {field.name: int(getattr(work, field.name).sum()) for field in fields(work)}
