"""What each process of the pipeline does in one chip step, in NumPy and without Lava.

A program fires first and receives afterwards, as a neuron core does: what it receives in one chip
step is used in the next one at the earliest. No program ever waits for a spike of the same chip
step before it has sent its own, so loops cannot block, and all programs compute side by side.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.network import Connection, FixedPointNeuron, IntegerNetwork, Step
from trispike.network.learning import Keep, Learner, keep_weights, kept_weights
from trispike.network.network import PAYLOAD_LIMIT
from trispike.targets.lava.kernels import Kernel, compile_connection
from trispike.targets.lava.memory import shared_copy, shared_zeros
from trispike.targets.lava.schedule import Schedule

Array: TypeAlias = npt.NDArray[Any]


class Counter(Protocol):
    """Who counts events; :class:`trispike.runtime.ledger.LedgerCounter` is one."""

    def add_population(
        self, name: str, t: int, spikes: Array, current: Array, saturations: int, where: slice
    ) -> None:
        """Count spikes and updates of one population at step t of the one sample ``where``."""

    def add_arrival(self, label: str, t: int, payload: Array, where: slice) -> None:
        """Count what one source of a connection delivered at step t of the sample ``where``."""


class Clock:
    """Chip time, shared by all processes: which sample and time step are due where.

    One run of the chip begins at chip step ``start`` and passes ``samples`` samples.
    """

    def __init__(self, schedule: Schedule, names: Sequence[str]) -> None:
        self._schedule = schedule
        self._run = shared_zeros(2, np.int64)
        self._row = {name: row for row, name in enumerate(names)}
        self._finished = shared_zeros(len(names), np.int64)

    def begin(self, samples: int) -> int:
        """Prepare a run that starts where the last one ended; returns its chip steps."""
        self._run[:] = int(self._finished.max(initial=0)), samples
        return self._schedule.chip_steps(samples)

    @property
    def start(self) -> int:
        """Chip step at which the current run begins."""
        return int(self._run[0])

    def due(self, name: str) -> tuple[int, int] | None:
        """Sample and time step that a process has to compute next, or None while it is held."""
        start, samples = self._run
        elapsed = self._finished[self._row[name]] - start - self._schedule.depth[name]
        sample, t = divmod(int(elapsed), self._schedule.steps)
        return (sample, t) if 0 <= sample < samples else None

    def tick(self, name: str) -> None:
        """Note that a process has finished a chip step."""
        self._finished[self._row[name]] += 1

    def finished(self) -> dict[str, int]:
        """By process: chip steps finished since the session began."""
        return {name: int(self._finished[row]) for name, row in self._row.items()}


class InputProgram:
    """Sends the frame of the time step that is due, and silence otherwise."""

    def __init__(self, network: IntegerNetwork, clock: Clock, capacity: int) -> None:
        self.name = network.input.name
        self.shape = network.input.shape
        self._clock = clock
        self._static = network.input.encoding == "direct"
        self._silence = np.zeros(self.shape, np.int8)
        shape = (capacity, *network.input.encoded_shape(network.steps))
        self.data = shared_zeros(shape, np.int8)
        """Encoded inputs of the run, written before it begins."""

    def fire(self) -> Array:
        """The graded spikes of this chip step."""
        due = self._clock.due(self.name)
        if due is None:
            return self._silence
        sample, t = due
        return np.asarray(self.data[sample] if self._static else self.data[sample, t])

    def receive(self, spikes: Sequence[Array]) -> None:
        """End the chip step; the input receives nothing."""
        self._clock.tick(self.name)


class _Arrivals:
    """Spikes on their way into one target: what its connections deliver when."""

    def __init__(
        self,
        network: IntegerNetwork,
        target: str,
        schedule: Schedule,
        learner: Learner | None = None,
    ) -> None:
        self.connections = [
            (label, connection, schedule.latency(connection))
            for label, connection in network.labelled()
            if connection.target == target
        ]
        latest: dict[str, int] = {}
        for _, connection, latencies in self.connections:
            for source, latency in zip(connection.sources, latencies, strict=True):
                latest[source] = max(latest.get(source, 1), latency)
        self.sources = tuple(latest)
        self._network = network
        self._learner = learner
        self._kernels = {
            label: (connection, self._compiled(connection))
            for label, connection, _ in self.connections
        }
        self.received: dict[str, Array] = {}
        """By label: what its sources delivered last, summed, (1, *shape)."""
        self._shapes = {source: network.shape_of(source) for source in latest}
        # _lines[source][w - 1]: what the source fired w chip steps ago.
        self._lines = {
            source: deque([np.zeros(self._shapes[source], np.int8)] * longest, maxlen=longest)
            for source, longest in latest.items()
        }

    def receive(self, spikes: Sequence[Array]) -> None:
        for source, fired in zip(self.sources, spikes, strict=True):
            self._lines[source].appendleft(fired)

    def at(self, connection: Connection, latencies: tuple[int, ...], t: int) -> tuple[Array, ...]:
        """What each source delivers for time step t, (1, *shape) each.

        Before time step ``delay`` that is silence: the line still holds the sample before.
        """
        if t < connection.delay:
            silence = np.zeros((1, *self._shapes[connection.sources[0]]), np.int8)
            return (silence,) * len(connection.sources)
        sources = zip(connection.sources, latencies, strict=True)
        return tuple(self._lines[source][latency - 1][None] for source, latency in sources)

    def current(
        self, shape: tuple[int, ...], sample: int, t: int, counter: Counter | None
    ) -> Array:
        """Sum over the connections for time step t of a sample, (1, *shape)."""
        total = np.zeros((1, *shape), np.int64)
        for label, connection, latencies in self.connections:
            arrived = self.at(connection, latencies, t)
            if counter:
                for payload in arrived:
                    counter.add_arrival(label, t, payload, slice(sample, sample + 1))
            summed = arrived[0][0]
            if len(arrived) > 1:
                summed = sum((payload[0].astype(np.int32) for payload in arrived[1:]), summed)
            total += self._kernel(label, connection)(summed).reshape(total.shape)
            self.received[label] = summed[None]
        return total

    def _kernel(self, label: str, connection: Connection) -> Kernel:
        """Of the weights that a connection has now."""
        present = self._learner.present(label, connection) if self._learner else connection
        compiled, kernel = self._kernels[label]
        if present is not compiled:
            kernel = self._compiled(present)
            self._kernels[label] = present, kernel
        return kernel

    def _compiled(self, connection: Connection) -> Kernel:
        shape, payload = self._network.source_shape(connection), _payload(self._network, connection)
        return compile_connection(connection, shape, payload)


def _payload(network: IntegerNetwork, connection: Connection) -> int:
    """Largest magnitude of the sum of a connection's sources: graded input, ternary spikes."""
    return sum(PAYLOAD_LIMIT if s == network.input.name else 1 for s in connection.sources)


class PopulationProgram:
    """A population with its incoming connections.

    It is held until the first time step of the first sample reaches its depth, starts every
    sample from the initial state, and is silent when it is held.
    """

    def __init__(
        self,
        network: IntegerNetwork,
        name: str,
        schedule: Schedule,
        clock: Clock,
        *,
        capacity: int,
        record: Sequence[str] = (),
        counter: Counter | None = None,
        weights: Keep = "last",
    ) -> None:
        population = network.populations[name]
        assert isinstance(population.neuron, FixedPointNeuron)
        self.name = name
        self.shape = population.shape
        self._neuron = population.neuron
        self._clock = clock
        self._counter = counter
        self._learner = Learner(network, (name,))
        self._keep: Keep = weights
        self._arrivals = _Arrivals(network, name, schedule, self._learner)
        self.sources = self._arrivals.sources
        """Names of the sources, in the order in which :meth:`receive` expects their spikes."""
        self._initial = self._neuron.initial_state(1, self.shape)
        self._state = self._initial
        self._silence = np.zeros(self.shape, np.int8)
        self.records: Mapping[str, Array] = {
            trace: shared_zeros(
                (capacity, network.steps, *self.shape), np.int8 if trace == "s" else np.int32
            )
            for trace in record
        }
        """By trace: (capacity, T, *shape), filled during the run."""
        kept = kept_weights(network, weights, capacity, (name,))
        self.weights = {label: shared_copy(array) for label, array in kept.items()}
        """By plastic connection: learned weights, filled during the run."""
        self.saturated = shared_zeros(3, np.int64)
        """First time that states left their range: sample, time step, how many values."""

    def fire(self) -> Array:
        """Integrate what has arrived; the spikes of this chip step."""
        due = self._clock.due(self.name)
        if due is None:
            return self._silence
        sample, t = due
        if t == 0:
            self._state = self._initial
            self._learner.begin()
        current = self._arrivals.current(self.shape, sample, t, self._counter)
        step = self._neuron.step(self._state, current, t)
        self._state = step.state
        self._learner.learn(self.name, t, self._arrivals.received, step.spikes)
        keep_weights(self.weights, self._keep, sample, t, self._learner.fine)
        if self._counter:
            self._counter.add_population(
                self.name,
                t,
                step.spikes,
                current,
                step.saturations,
                slice(sample, sample + 1),
            )
        if step.saturations and not self.saturated[2]:
            self.saturated[:] = sample, t, step.saturations
        for trace, target in self.records.items():
            target[sample, t] = _trace(step, trace)
        return np.asarray(step.spikes[0])

    def receive(self, spikes: Sequence[Array]) -> None:
        """End the chip step with what the sources fired in it."""
        self._arrivals.receive(spikes)
        self._clock.tick(self.name)


class ReadoutProgram:
    """Writes the logits of every time step."""

    def __init__(
        self,
        network: IntegerNetwork,
        schedule: Schedule,
        clock: Clock,
        *,
        capacity: int,
        counter: Counter | None = None,
    ) -> None:
        self.name = network.readout.name
        self._readout = network.readout
        self._clock = clock
        self._counter = counter
        self._arrivals = _Arrivals(network, self.name, schedule)
        self.sources = self._arrivals.sources
        """Names of the sources, in the order in which :meth:`receive` expects their spikes."""
        self.step_logits = shared_zeros((capacity, network.steps, self._readout.classes), np.int64)
        """Contribution of each step before its time weight, (capacity, T, classes)."""

    def fire(self) -> None:
        """Accumulate what has arrived."""
        due = self._clock.due(self.name)
        if due is None:
            return
        sample, t = due
        current = self._arrivals.current((self._readout.classes,), sample, t, self._counter)
        self.step_logits[sample, t] = self._readout.step_logits(current)[0]

    def receive(self, spikes: Sequence[Array]) -> None:
        """End the chip step with what the sources fired in it."""
        self._arrivals.receive(spikes)
        self._clock.tick(self.name)


def _trace(step: Step, trace: str) -> Array:
    if trace == "s":
        return np.asarray(step.spikes[0])
    return np.asarray(step.v[0] if trace == "v" else getattr(step.state, trace)[0])
