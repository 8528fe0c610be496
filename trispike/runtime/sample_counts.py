"""What happened in every single sample: for means with deviations, extremes, and classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.network import Network
from trispike.network.arrays import same_values
from trispike.runtime.geometry import geometries

Counts: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SampleCounts:
    """Events of every sample at every time step; arrays are (N, T), in the order of the data."""

    spikes: Mapping[str, Counts]
    """By population: neurons that fired, either sign."""
    updates_with_input: Mapping[str, Counts]
    """By population: updates whose summed weighted input was not zero."""
    synaptic_operations: Mapping[str, Counts]
    """By connection label: ternary spikes times the existing synapses that they met."""
    macs: Mapping[str, Counts]
    """By connection label: the same for payloads outside {-1, 0, 1}."""
    zero_weight_operations: Mapping[str, Counts]
    """By connection label: payloads other than 0 times the pairs without a weight that they met."""
    input_events: Mapping[str, Counts]
    """By the input's name, the only one: elements other than 0 that it delivered."""

    def groups(self) -> dict[str, Mapping[str, Counts]]:
        """The fields by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def merged(self, other: SampleCounts) -> SampleCounts:
        """These samples, then the others, of the same network."""
        return SampleCounts(
            **{
                group: {name: np.concatenate([mine, theirs[name]]) for name, mine in parts.items()}
                for (group, parts), theirs in zip(
                    self.groups().items(), other.groups().values(), strict=True
                )
            }
        )

    def differences(self, other: SampleCounts) -> list[str]:
        """Names of all entries in which two differ, ``"spikes/NAME"``; empty if they are equal."""
        found = []
        for (group, mine), theirs in zip(
            self.groups().items(), other.groups().values(), strict=True
        ):
            if list(mine) != list(theirs):
                found.append(group)
                continue
            found += [f"{group}/{n}" for n in mine if not same_values(mine[n], theirs[n])]
        return found


class Row(NamedTuple):
    """What a spike of every neuron of a population counts for."""

    group: str
    """Field of :class:`SampleCounts`."""
    part: str
    """Population or connection label."""
    delay: int
    """Steps until it is counted."""
    weights: Counts
    """(E,): how much, by source element, row-major."""


class SampleCounter:
    """Room for the counts of a run, filled in any order.

    Args:
        network: What is run.
        samples: How many samples there are.
        zeros: Makes the arrays; forked processes need shared ones.
    """

    def __init__(
        self,
        network: Network,
        samples: int,
        zeros: Callable[[tuple[int, ...]], npt.NDArray[Any]] | None = None,
    ) -> None:
        self.network = network
        self.samples = samples
        self._reach = {n: g.fan_out.reshape(-1) for n, g in geometries(network).items()}
        self._zeros = {n: g.zeros.reshape(-1) for n, g in geometries(network).items()}

        def room(names: tuple[str, ...]) -> dict[str, Counts]:
            shape = (samples, network.steps)
            return {n: np.zeros(shape, np.int64) if zeros is None else zeros(shape) for n in names}

        self._counts = SampleCounts(
            spikes=room(tuple(network.populations)),
            updates_with_input=room(tuple(network.populations)),
            synaptic_operations=room(network.labels),
            macs=room(network.labels),
            zero_weight_operations=room(network.labels),
            input_events=room((network.input.name,)),
        )

    def rows(self, name: str) -> list[Row]:
        """All that follows from the spikes of a population, themselves first."""
        ones = np.ones(self.network.populations[name].size, np.int64)
        return [Row("spikes", name, 0, ones), *self._deliveries(name, "synaptic_operations")]

    def _deliveries(self, source: str, group: str) -> list[Row]:
        """What the connections make of the input's elements, or of a population's spikes."""
        rows = []
        for label, c in self.network.labelled():
            if source in c.sources:
                rows.append(Row(group, label, c.delay, self._reach[label]))
                if self._zeros[label].any():
                    rows.append(Row("zero_weight_operations", label, c.delay, self._zeros[label]))
        return rows

    def add_population(
        self,
        name: str,
        where: slice,
        t: int,
        spikes: npt.NDArray[Any],
        current: npt.NDArray[Any],
    ) -> None:
        """Count what a population received and fired at step t, (n, *shape) each.

        Args:
            name: Of the population.
            where: Which samples.
            t: The step.
            spikes: What it fired.
            current: Its summed weighted input.
        """
        counts = self._counts
        counts.spikes[name][where, t] += np.count_nonzero(_flat(spikes), axis=1)
        counts.updates_with_input[name][where, t] += np.count_nonzero(_flat(current), axis=1)

    def add_arrival(self, label: str, where: slice, t: int, payload: npt.NDArray[Any]) -> None:
        """Count what one source of a connection delivered at step t: (n, *source shape)."""
        counts, payload, reach = self._counts, _flat(payload), self._reach[label]
        active, ternary = payload != 0, np.abs(payload) == 1
        counts.synaptic_operations[label][where, t] += ternary @ reach
        counts.macs[label][where, t] += (active & ~ternary) @ reach
        counts.zero_weight_operations[label][where, t] += active @ self._zeros[label]

    def add_input_events(self, where: slice, encoded: npt.NDArray[Any]) -> None:
        """Count elements of the input, but not what becomes of them.

        Args:
            where: Which samples.
            encoded: As ``network.input.encode`` returns them.
        """
        events = np.count_nonzero(self._frames(encoded), axis=2)
        self._counts.input_events[self.network.input.name][where] += events

    def add_input(self, where: slice, encoded: npt.NDArray[Any]) -> None:
        """Count elements of the input, and what all connections deliver of them.

        Args:
            where: Which samples.
            encoded: As ``network.input.encode`` returns them.
        """
        self.add_input_events(where, encoded)
        name, frames = self.network.input.name, self._frames(encoded)
        ternary = np.abs(frames) == 1
        for active, group in (
            (ternary, "synaptic_operations"),
            ((frames != 0) & ~ternary, "macs"),
        ):
            self._add_active(where, active, self._deliveries(name, group))

    def _frames(self, encoded: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(n, T, elements), or (n, 1, elements) where all steps are the same."""
        direct = self.network.input.encoding == "direct"
        return encoded.reshape(len(encoded), 1 if direct else self.network.steps,
                               math.prod(self.network.input.shape))  # fmt: skip

    def add_trains(self, name: str, where: slice, spikes: npt.NDArray[Any]) -> None:
        """Count all spikes of a population, (n, T, *shape), and what becomes of them."""
        size = self.network.populations[name].size
        fired = spikes.reshape(*spikes.shape[:2], size) != 0
        self._add_active(where, fired, self.rows(name))

    def add_counted(self, name: str, where: slice, counted: Counts) -> None:
        """Add what an engine has counted of the spikes of a population.

        Args:
            name: Of the population.
            where: Which samples.
            counted: (rows, n, T): for each of :meth:`rows`, by the step at which they were fired.
        """
        for row, counts in zip(self.rows(name), counted, strict=True):
            self._add_late(row, where, counts)

    def add_updates(self, name: str, where: slice, with_input: Counts) -> None:
        """Add how many neurons of a population received something: (n, T)."""
        self._counts.updates_with_input[name][where] += with_input

    def counts(self) -> SampleCounts:
        """The counts so far."""
        return SampleCounts(
            **{
                group: {name: counts.copy() for name, counts in parts.items()}
                for group, parts in self._counts.groups().items()
            }
        )

    def _add_active(self, where: slice, active: npt.NDArray[np.bool_], rows: list[Row]) -> None:
        """Count what was emitted, (n, T or 1, elements), at the steps at which it arrives."""
        if not active.any():
            return
        # Sums of fan-out stay far below 2**53, so that float64 is exact, and BLAS multiplies it.
        emitted = active.astype(np.float64)
        for row in rows:
            met = (emitted @ row.weights.astype(np.float64)).astype(np.int64)
            self._add_late(row, where, np.broadcast_to(met, (len(met), self.network.steps)))

    def _add_late(self, row: Row, where: slice, counts: Counts) -> None:
        """Add counts, (n, T), as they arrive after a delay; the last ones do not."""
        kept = max(0, counts.shape[1] - row.delay)
        target = self._counts.groups()[row.group][row.part][where]
        target[:, counts.shape[1] - kept :] += counts[:, :kept]


def _flat(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return array.reshape(len(array), -1)
