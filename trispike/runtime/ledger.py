"""The ledger: exact event counts of a run, per connection or population and time step.

Counts are facts about the deployed network; what an event costs is the business of
:mod:`trispike.runtime.energy`. All numbers are Python or NumPy integers, summed over samples, so
that ledgers of parts of a data set add up to the ledger of the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.errors import InvalidDataError
from trispike.network import Network
from trispike.network.arrays import same_values
from trispike.network.dynamics import TimeStep
from trispike.runtime.geometry import geometries
from trispike.runtime.sample_counts import SampleCounter, SampleCounts

Counts: TypeAlias = npt.NDArray[np.int64]

NOWHERE = slice(0, 0)
"""Where samples are that nobody counts one by one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PopulationCounts:
    """Events of one population; arrays are (T,), summed over samples."""

    neurons: int
    """Number of neurons (not summed)."""
    spikes_positive: Counts
    """Neurons that fired +1."""
    spikes_negative: Counts
    """Neurons that fired -1."""
    updates: Counts
    """Neuron updates: every neuron, every step."""
    updates_with_input: Counts
    """Those whose summed weighted input of the step was not zero."""
    saturations: Counts
    """State values that left their range and were clipped; 0 in float networks."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ConnectionCounts:
    """Events of one connection; arrays are (T,), summed over samples."""

    synapses: int
    """Pairs of source and target element with a weight that is not zero (not summed)."""
    dense_macs: int
    """Multiply-accumulates of the same layer in a dense network, per inference (not summed)."""
    synaptic_operations: Counts
    """Ternary spikes times the existing nonzero synapses that they were delivered over."""
    macs: Counts
    """The same for payloads outside {-1, 0, 1}: real multiply-accumulates."""
    zero_weight_operations: Counts
    """Payloads other than 0 times the pairs that they reach with a weight of zero: no synapses, and
    in none of the counts above, but fetched where a kernel is stored with its zeros."""
    dense_operations: Counts
    """Synaptic operations if every source element had been active at every step."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ledger:
    """All counts of a run."""

    samples: int
    """Number of samples summed over."""
    steps: int
    """Time steps per sample, T."""
    populations: Mapping[str, PopulationCounts]
    """By name."""
    connections: Mapping[str, ConnectionCounts]
    """By label, those into the readout included."""
    per_sample: SampleCounts | None = None
    """What happened in every single sample, if that was asked for."""

    @property
    def synaptic_operations(self) -> int:
        """Total over connections, steps and samples."""
        return sum(int(c.synaptic_operations.sum()) for c in self.connections.values())

    @property
    def macs(self) -> int:
        """Total over connections, steps and samples."""
        return sum(int(c.macs.sum()) for c in self.connections.values())

    @property
    def spikes(self) -> int:
        """Total of both signs over populations, steps and samples; the input is not counted."""
        return sum(
            int(p.spikes_positive.sum() + p.spikes_negative.sum())
            for p in self.populations.values()
        )

    @property
    def saturations(self) -> int:
        """Total over populations, steps and samples."""
        return sum(int(p.saturations.sum()) for p in self.populations.values())

    def firing_rate(self, population: str) -> float:
        """Spikes of either sign per neuron and time step, 0..1."""
        counts = self.populations[population]
        spikes = int(counts.spikes_positive.sum() + counts.spikes_negative.sum())
        return spikes / max(1, int(counts.updates.sum()))

    def differences(self, other: Ledger) -> list[str]:
        """Names of all entries in which two ledgers differ; empty if they are equal."""
        found = [
            name for name in ("samples", "steps") if getattr(self, name) != getattr(other, name)
        ]
        for group in ("populations", "connections"):
            mine, theirs = getattr(self, group), getattr(other, group)
            if list(mine) != list(theirs):
                found.append(group)
                continue
            for name, counts in mine.items():
                for field in fields(counts):
                    a = np.asarray(getattr(counts, field.name))
                    b = np.asarray(getattr(theirs[name], field.name))
                    if not same_values(a, b):
                        found.append(f"{group}/{name}/{field.name}")
        mine, theirs = self.per_sample, other.per_sample
        if mine is not None and theirs is not None:
            found += [f"per_sample/{entry}" for entry in mine.differences(theirs)]
        elif mine is not theirs:
            found.append("per_sample")
        return found

    def merged(self, other: Ledger) -> Ledger:
        """The ledger of both sets of samples, in this order.

        Counts per sample are kept if both have them.

        Raises:
            InvalidDataError: The other one is of another network.
        """
        if self._shape() != other._shape():
            raise InvalidDataError(
                "ledger to be merged",
                got="counts of another network",
                expected="the same time steps, populations, connections and sizes",
                fix="Merge ledgers of one network only.",
            )
        mine, theirs = self.per_sample, other.per_sample
        return replace(
            self,
            per_sample=None if mine is None or theirs is None else mine.merged(theirs),
            samples=self.samples + other.samples,
            populations=_merge(self.populations, other.populations),
            connections=_merge(self.connections, other.connections),
        )

    def _shape(self) -> tuple[object, ...]:
        """What two ledgers of one network have in common."""
        return (
            self.steps,
            [(name, p.neurons) for name, p in self.populations.items()],
            [(label, c.synapses, c.dense_macs) for label, c in self.connections.items()],
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON form: totals, and per part the lists over time steps; nothing per sample."""
        return {
            "samples": self.samples,
            "steps": self.steps,
            "spikes": self.spikes,
            "synaptic_operations": self.synaptic_operations,
            "macs": self.macs,
            "saturations": self.saturations,
            "populations": {n: _plain(p) for n, p in self.populations.items()},
            "connections": {n: _plain(c) for n, c in self.connections.items()},
        }


def _plain(counts: PopulationCounts | ConnectionCounts) -> dict[str, Any]:
    values = {field.name: getattr(counts, field.name) for field in fields(counts)}
    return {n: v.tolist() if isinstance(v, np.ndarray) else v for n, v in values.items()}


def _merge(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    merged = {}
    for name, counts in mine.items():
        arrays = {
            field.name: getattr(counts, field.name) + getattr(theirs[name], field.name)
            for field in fields(counts)
            if isinstance(getattr(counts, field.name), np.ndarray)
        }
        merged[name] = replace(counts, **arrays)
    return merged


class LedgerCounter:
    """Adds up the counts of a network while it runs.

    Args:
        network: What runs.
        samples: Counts what happens in every single one, too; None: nobody asked.
    """

    def __init__(self, network: Network, samples: SampleCounter | None = None) -> None:
        self._network = network
        self._geometries = geometries(network)
        self._per_sample = samples
        self._samples = 0

        def zeros(names: tuple[str, ...]) -> dict[str, Counts]:
            return {name: np.zeros(network.steps, dtype=np.int64) for name in names}

        self._populations = {
            name: zeros(("spikes_positive", "spikes_negative", "updates_with_input", "saturations"))
            for name in network.populations
        }
        self._connections = {
            label: zeros(("synaptic_operations", "macs", "zero_weight_operations"))
            for label in network.labels
        }

    def add_samples(self, count: int) -> None:
        """Count samples; their events follow with :meth:`add_step`."""
        self._samples += count

    def add_step(self, step: TimeStep, where: slice = NOWHERE) -> None:
        """Count the events of one time step of a batch: the samples ``where`` of the run."""
        for name, population in step.populations.items():
            current, saturations = step.currents[name], population.saturations
            self.add_population(name, step.t, population.spikes, current, saturations, where)
        for label, arrived in step.arrived.items():
            for payload in arrived:
                self.add_arrival(label, step.t, payload, where)

    def add_population(
        self,
        name: str,
        t: int,
        spikes: npt.NDArray[Any],
        current: npt.NDArray[Any],
        saturations: int,
        where: slice = NOWHERE,
    ) -> None:
        """Count spikes and updates of one population at step t, over a batch."""
        if self._per_sample is not None:
            self._per_sample.add_population(name, where, t, spikes, current)
        counts = self._populations[name]
        counts["spikes_positive"][t] += np.count_nonzero(spikes > 0)
        counts["spikes_negative"][t] += np.count_nonzero(spikes < 0)
        counts["updates_with_input"][t] += np.count_nonzero(current)
        counts["saturations"][t] += saturations

    def add_arrival(
        self, label: str, t: int, payload: npt.NDArray[Any], where: slice = NOWHERE
    ) -> None:
        """Count what one source of a connection delivered at step t: (N, *source shape)."""
        if self._per_sample is not None:
            self._per_sample.add_arrival(label, where, t, payload)
        ternary = np.abs(payload) == 1
        graded = ((payload != 0) & ~ternary).sum(axis=0)
        once = ternary.sum(axis=0)
        geometry, counts = self._geometries[label], self._connections[label]
        counts["synaptic_operations"][t] += int((once * geometry.fan_out).sum())
        counts["macs"][t] += int((graded * geometry.fan_out).sum())
        counts["zero_weight_operations"][t] += int(((once + graded) * geometry.zeros).sum())

    def add_events(
        self,
        name: str,
        *,
        positive: Counts,
        negative: Counts,
        with_input: Counts,
        saturations: Counts,
    ) -> None:
        """Add what an engine has counted of one population: (T,) each, over a batch."""
        counts = self._populations[name]
        counts["spikes_positive"] += positive
        counts["spikes_negative"] += negative
        counts["updates_with_input"] += with_input
        counts["saturations"] += saturations

    def add_deliveries(self, label: str, ternary: Counts, graded: Counts | None = None) -> None:
        """Add what an engine has counted of one source of a connection.

        Args:
            label: Of the connection.
            ternary: (T, *source shape): in how many samples of a batch the element delivered -1
                or 1 at that step.
            graded: The same for payloads outside {-1, 0, 1}.
        """
        counts, geometry = self._connections[label], self._geometries[label]
        for name, delivered in (("synaptic_operations", ternary), ("macs", graded)):
            if delivered is not None:
                steps = delivered.reshape(len(delivered), -1).astype(np.int64, copy=False)
                counts[name] += steps @ geometry.fan_out.reshape(-1)
                counts["zero_weight_operations"] += steps @ geometry.zeros.reshape(-1)

    def add_emitted(self, emitted: Mapping[str, tuple[Counts, Counts | None]]) -> None:
        """Add what all connections delivered, from what their sources emitted.

        Args:
            emitted: By source, the input included: ternary and graded counts as in
                :meth:`add_deliveries`, before the delay of a connection.
        """
        for label, connection in self._network.labelled():
            for source in connection.sources:
                ternary, graded = emitted[source]
                delay = connection.delay
                late = None if graded is None else _delayed(graded, delay)
                self.add_deliveries(label, _delayed(ternary, delay), late)

    def ledger(self) -> Ledger:
        """The counts so far."""
        network, samples = self._network, self._samples

        def every_step(count: int) -> Counts:
            return np.full(network.steps, count * samples, dtype=np.int64)

        sources = dict(network.labelled())
        synapses = {label: int(g.fan_out.sum()) for label, g in self._geometries.items()}
        return Ledger(
            samples=samples,
            per_sample=None if self._per_sample is None else self._per_sample.counts(),
            steps=network.steps,
            populations={
                name: PopulationCounts(
                    neurons=network.populations[name].size,
                    updates=every_step(network.populations[name].size),
                    **{key: value.copy() for key, value in counts.items()},
                )
                for name, counts in self._populations.items()
            },
            connections={
                label: ConnectionCounts(
                    synapses=synapses[label],
                    dense_macs=self._geometries[label].dense_macs,
                    dense_operations=every_step(synapses[label] * len(c.sources)),
                    **{key: value.copy() for key, value in self._connections[label].items()},
                )
                for label, c in sources.items()
            },
        )


def payload_counts(network: Network, encoded: npt.NDArray[Any]) -> tuple[Counts, Counts]:
    """Of encoded data, in how many samples an input element is -1 or 1, and anything else but 0.

    Both (T, *shape), as :meth:`LedgerCounter.add_emitted` takes them.
    """
    ternary = np.abs(encoded) == 1
    counts = (ternary.sum(axis=0), ((encoded != 0) & ~ternary).sum(axis=0))
    if network.input.encoding != "direct":
        return counts
    first, second = (np.broadcast_to(c, (network.steps, *c.shape)) for c in counts)
    return first, second


def _delayed(counts: Counts, delay: int) -> Counts:
    """Counts of deliveries, (T, ...), as they arrive after a delay: silence at first."""
    if not delay:
        return counts
    late = np.zeros_like(counts)
    late[delay:] = counts[: max(0, len(counts) - delay)]
    return late
