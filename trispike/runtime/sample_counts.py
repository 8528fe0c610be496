"""What happened in every single sample: for means with deviations, extremes, and classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.network import Connection, Network, fan_out
from trispike.network.arrays import same_values

Counts: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SampleCounts:
    """Events of every sample at every time step; arrays are (N, T), in the order of the data."""

    spikes: Mapping[str, Counts]
    """By population: neurons that fired, either sign."""
    synaptic_operations: Mapping[str, Counts]
    """By connection label: ternary spikes times the existing synapses that they met."""
    macs: Mapping[str, Counts]
    """By connection label: the same for payloads outside {-1, 0, 1}."""

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
        self.reach = {
            label: fan_out(c, network.source_shape(c)).reshape(-1)
            for label, c in network.labelled()
        }
        """By connection label: synapses of every source element, row-major."""

        def room(names: tuple[str, ...]) -> dict[str, Counts]:
            shape = (samples, network.steps)
            return {n: np.zeros(shape, np.int64) if zeros is None else zeros(shape) for n in names}

        self._counts = SampleCounts(
            spikes=room(tuple(network.populations)),
            synaptic_operations=room(network.labels),
            macs=room(network.labels),
        )

    def readers(self, source: str) -> list[tuple[str, Connection]]:
        """The connections that read the input or a population, with their labels."""
        return [(label, c) for label, c in self.network.labelled() if source in c.sources]

    def add_spikes(self, name: str, where: slice, t: int, spikes: npt.NDArray[Any]) -> None:
        """Count what a population fired at step t, (n, *shape), in the samples ``where``."""
        self._counts.spikes[name][where, t] += np.count_nonzero(_flat(spikes), axis=1)

    def add_arrival(self, label: str, where: slice, t: int, payload: npt.NDArray[Any]) -> None:
        """Count what one source of a connection delivered at step t: (n, *source shape)."""
        payload, reach = _flat(payload), self.reach[label]
        ternary = np.abs(payload) == 1
        self._counts.synaptic_operations[label][where, t] += ternary @ reach
        self._counts.macs[label][where, t] += ((payload != 0) & ~ternary) @ reach

    def add_input(self, where: slice, encoded: npt.NDArray[Any]) -> None:
        """Count what all connections deliver of the input.

        Args:
            where: Which samples.
            encoded: As ``network.input.encode`` returns them.
        """
        direct = self.network.input.encoding == "direct"
        flat = encoded.reshape(len(encoded), 1 if direct else self.network.steps, -1)
        ternary = np.abs(flat) == 1
        self._add_delivered(self.network.input.name, where, ternary, "synaptic_operations")
        self._add_delivered(self.network.input.name, where, (flat != 0) & ~ternary, "macs")

    def add_trains(self, name: str, where: slice, spikes: npt.NDArray[Any]) -> None:
        """Count all spikes of a population, (n, T, *shape), and what becomes of them."""
        fired = spikes.reshape(*spikes.shape[:2], -1) != 0
        self._counts.spikes[name][where] += np.count_nonzero(fired, axis=2)
        self._add_delivered(name, where, fired, "synaptic_operations")

    def add_counted(self, name: str, where: slice, fired: Counts, reached: Counts) -> None:
        """Add what an engine has counted of a population.

        Args:
            name: Of the population.
            where: Which samples.
            fired: (n, T): its spikes.
            reached: (connections, n, T): synapses that they meet, for each of :meth:`readers`,
                by the step at which they were fired.
        """
        self._counts.spikes[name][where] += fired
        for (label, connection), counts in zip(self.readers(name), reached, strict=True):
            target = self._counts.synaptic_operations[label][where]
            _add_late(target, counts, connection.delay)

    def counts(self) -> SampleCounts:
        """The counts so far."""
        return SampleCounts(
            **{
                group: {name: counts.copy() for name, counts in parts.items()}
                for group, parts in self._counts.groups().items()
            }
        )

    def _add_delivered(
        self, source: str, where: slice, active: npt.NDArray[np.bool_], group: str
    ) -> None:
        """Count what was emitted, (n, T or 1, elements), at the steps at which it arrives."""
        if not active.any():
            return
        # Sums of fan-out stay far below 2**53, so that float64 is exact, and BLAS multiplies it.
        emitted = active.astype(np.float64)
        for label, connection in self.readers(source):
            met = (emitted @ self.reach[label].astype(np.float64)).astype(np.int64)
            met = np.broadcast_to(met, (len(met), self.network.steps))
            target = self._counts.groups()[group][label][where]
            _add_late(target, met, connection.delay)


def _add_late(target: Counts, counts: Counts, delay: int) -> None:
    """Add counts, (n, T), as they arrive after a delay; the last ones do not."""
    kept = max(0, counts.shape[1] - delay)
    target[:, counts.shape[1] - kept :] += counts[:, :kept]


def _flat(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return array.reshape(len(array), -1)
