"""Populations, ready to run: their parameters as the compiled kernel reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trispike.network import FixedPointNeuron, Neuron, Population
from trispike.network.fixed_point import DECAY_ONE, state_limit
from trispike.network.schedules import scheduled_fields
from trispike.runtime.fast.kernels import advance
from trispike.runtime.fast.layout import BLOCK, Array, columns_for, rows
from trispike.runtime.fast.workers import Workers

EVENTS = ("positive", "negative", "with_input", "saturations")
"""What the kernel counts, in the order of its rows."""


@dataclass
class Counts:
    """What happened in a population."""

    events: Array
    """(4, T): :data:`EVENTS`, over samples and neurons."""
    fired: Array
    """(T, E): in how many samples a neuron fired."""

    @classmethod
    def zeros(cls, steps: int, size: int) -> Counts:
        """Nothing yet."""
        return cls(np.zeros((len(EVENTS), steps), np.int64), np.zeros((steps, size), np.int32))


class Neurons:
    """One population, ready to run.

    Args:
        population: The population.
        dtype: Type of its state: int32, int64 or float64.
        shortcut: Rows of an identity connection that the kernel applies, see ``advance``.
        workers: What parts of the neurons are given to.
    """

    def __init__(
        self,
        population: Population,
        dtype: type[np.generic],
        shortcut: Sequence[Array] | None,
        workers: Workers,
    ) -> None:
        neuron: Any = population.neuron
        shape = population.shape
        self._neuron = neuron
        self.size = population.size
        self.dtype = dtype
        self._workers = workers
        common, carried, rare = _parameters(neuron)
        given = [*common, *carried, *rare, *(shortcut or [])]
        columns = columns_for(given, shape)
        self._block = min(columns, BLOCK) if columns == self.size else columns

        def table(values: Sequence[Array]) -> Array:
            return rows(list(values), shape, dtype, columns)

        self._common, self._carried, self._rare = table(common), table(carried), table(rare)
        self._scales = table(shortcut) if shortcut else None
        self._uses_carried = bool(self._carried.any())
        self._uses_rare = _uses_rare(neuron)
        integer = isinstance(neuron, FixedPointNeuron)
        number: Callable[[Any], Any] = dtype
        self._factor = number(1 << neuron.state_shift if integer else 1)
        self._limit = number(state_limit(neuron.state_bits)) if integer else None
        self._to_zero = number(neuron.reset == "zero")
        self._once = number(neuron.fire_once)

    def initial_state(self, batch: int) -> Array:
        """What ``advance`` calls ``resume``, before the first step: (4, N, E)."""
        state = np.zeros((4, batch, self.size), self.dtype)
        state[2] = np.resize(self._common[3], self.size)
        return state

    def advance(
        self,
        currents: Array,
        shortcut: Array | None,
        codes: Array,
        counts: Counts,
        *,
        state: Array | None = None,
        traces: Array | None = None,
        each: Array | None = None,
        first_step: int = 0,
    ) -> None:
        """Run all neurons for as many steps as ``codes`` has room for.

        Args:
            currents: (T or 1, N, E), float32 for states of 32 bits, else of the state's type.
            shortcut: Codes that the identity connection reads, (T or 1, N, E).
            codes: (T, N, E), written.
            counts: Added to.
            state: Taken up and left there; by default the neurons start anew.
            traces: (3, T, N, E), in the state's type: i, c, v, written.
            each: (N, T), int64: updates with input of every sample, added to.
            first_step: Index of the first of these steps in the sample.
        """
        empty: Array = np.empty((4, 0, 0), self.dtype)
        state = empty if state is None else state
        schedule = _schedule(self._neuron, first_step, first_step + len(codes))
        schedule = None if schedule is None else schedule.astype(self.dtype)
        # A scheduled neuron takes everything along, so that few variants are compiled.
        needs_rare = self._uses_rare or traces is not None or schedule is not None
        traces = np.empty((3, 0, 0, 0), self.dtype) if traces is None else traces
        carried = self._carried if self._uses_carried or schedule is not None else None
        rare = self._rare if needs_rare else None
        parts: list[tuple[Array, Array | None]] = []

        def run(first: int, end: int) -> None:
            events = np.zeros_like(counts.events)
            received = None if each is None else np.zeros(each.shape, np.int64)
            advance(
                currents,
                shortcut,
                self._scales,
                self._common,
                carried,
                rare,
                schedule,
                self._factor,
                self._limit,
                self._to_zero,
                self._once,
                (first, end, self._block),
                np.empty((4, self._block), self.dtype),
                state,
                codes,
                counts.fired,
                events,
                traces,
                received,
            )
            parts.append((events, received))

        self._workers.over(self.size, run, self._block)
        for events, received in parts:
            counts.events += events
            if each is not None:
                each += received


def _schedule(neuron: FixedPointNeuron | Neuron, first: int, last: int) -> Any:
    """What ``advance`` calls so, of the time steps first..last-1."""
    if not scheduled_fields(neuron):
        return None
    one = DECAY_ONE if isinstance(neuron, FixedPointNeuron) else 1.0
    steps = range(first, last)
    return np.array([(neuron.gains[t] if neuron.gains else one, neuron.fires_at(t)) for t in steps])


def _parameters(neuron: FixedPointNeuron | Neuron) -> tuple[list[Array], list[Array], list[Array]]:
    """The rows of ``advance``: common, carried, rare."""
    th_pos, th_neg = _inclusive(neuron, neuron.th_pos), _inclusive(neuron, neuron.th_neg)
    subtract = neuron.reset == "subtract"
    # What never fires takes nothing off, and infinity times nothing would not be nothing.
    less = [
        np.where(np.isfinite(th), th, 0) if subtract else np.zeros_like(th)
        for th in (neuron.th_pos, neuron.th_neg)
    ]
    common = [neuron.b_pos, neuron.b_neg, neuron.bias, neuron.v_init, th_pos, -th_neg, *less]
    return common, [neuron.a_pos, neuron.a_neg], [neuron.k, neuron.floor]


def _inclusive(neuron: FixedPointNeuron | Neuron, threshold: Array) -> Array:
    """The threshold at which a neuron that only fires above it fires, too: the next number."""
    if not neuron.strict:
        return threshold
    return (
        threshold + 1 if isinstance(neuron, FixedPointNeuron) else np.nextafter(threshold, np.inf)
    )


def _uses_rare(neuron: Any) -> bool:
    lowest = -state_limit(neuron.state_bits) if isinstance(neuron, FixedPointNeuron) else -np.inf
    return bool(neuron.k.any() or (neuron.floor > lowest).any() or neuron.fire_once)
