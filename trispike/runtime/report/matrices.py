"""Layers by time steps: operations, firing rates, energy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from trispike.network import Network
from trispike.network.steps import populations_over
from trispike.runtime.anytime import first_steps
from trispike.runtime.energy import MemoryModel, Profile
from trispike.runtime.ledger import Counts, Ledger
from trispike.runtime.pages.heat import column_names, groups
from trispike.runtime.pricing import price_run

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matrix:
    """One quantity of every layer at every time step, or in every group of steps."""

    id: str
    """"operations", "rates" or "energy"."""
    rows: tuple[str, ...]
    """Populations, in the order of the network, and the readout."""
    columns: tuple[str, ...]
    """Time steps: "3", or "9-12" where several share a column."""
    values: Floats
    """(rows, columns): operations per inference, firing rates 0..1, or joules per inference."""

    @property
    def totals(self) -> Floats | None:
        """(rows,): sums over time; None for rates, which do not add up."""
        return None if self.id == "rates" else self.values.sum(axis=1)

    @property
    def largest(self) -> float:
        """The largest value."""
        return float(self.values.max(initial=0.0))


def operation_matrix(network: Network, ledger: Ledger) -> Matrix:
    """Synaptic and graded operations into every layer, per inference."""
    rows = (*network.order, network.readout.name)
    values = {name: np.zeros(ledger.steps, np.int64) for name in rows}
    for label, connection in network.labelled():
        counts = ledger.connections[label]
        values[connection.target] += counts.synaptic_operations + counts.macs
    return Matrix(
        id="operations",
        rows=rows,
        columns=column_names(ledger.steps),
        values=_grouped([values[name] for name in rows]) / ledger.samples,
    )


def rate_matrix(ledger: Ledger) -> Matrix:
    """Spikes of either sign per neuron and time step, of every population."""
    populations = ledger.populations.values()
    fired = _grouped([p.spikes_positive + p.spikes_negative for p in populations])
    updates = _grouped([p.updates for p in populations])
    return Matrix(
        id="rates",
        rows=tuple(ledger.populations),
        columns=column_names(ledger.steps),
        values=fired / np.maximum(1, updates),
    )


def energy_matrix(
    network: Network,
    ledger: Ledger,
    hardware: Profile | MemoryModel,
    input_events: Floats,
    assumptions: Mapping[str, float] | None = None,
) -> Matrix:
    """Energy of every layer: of the connections into it, and of its neurons.

    Messages, hops and static power belong to no layer.

    Args:
        network: What ran.
        ledger: Of the run.
        hardware: Prices of the spiking network.
        input_events: (T,): input elements other than 0 up to each step, per inference.
        assumptions: Prices in pJ by event.
    """
    rows = (*network.order, network.readout.name)
    target = {label: c.target for label, c in network.labelled()} | {name: name for name in rows}
    ends = [last for _, last in groups(ledger.steps)]
    until = np.zeros((len(rows), len(ends) + 1))
    for n, last in enumerate(ends):
        part = first_steps(ledger, last)
        priced = price_run(
            _ended(network, last),
            part,
            hardware,
            assumptions=assumptions,
            input_events=float(input_events[last - 1]),
        )
        for layer in priced.layers:
            if layer.kind in ("connection", "population"):
                until[rows.index(target[layer.name]), n + 1] += layer.joules
    return Matrix(
        id="energy",
        rows=rows,
        columns=column_names(ledger.steps),
        values=np.maximum(0.0, np.diff(until, axis=1)),
    )


def _ended(network: Network, steps: int) -> Network:
    """The network over its first steps, whatever its readout makes of them."""
    readout = replace(network.readout, weights=network.readout.weights[:steps])
    populations = populations_over(network, steps)
    return replace(network, steps=steps, readout=readout, populations=populations)


def _grouped(rows: list[Counts]) -> npt.NDArray[np.int64]:
    """(rows, columns) from (T,) each."""
    if not rows:
        return np.zeros((0, 0), np.int64)
    starts = [first for first, _ in groups(len(rows[0]))]
    return np.add.reduceat(np.stack(rows), starts, axis=1)
