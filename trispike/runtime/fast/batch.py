"""A batch of samples through a network, layer by layer."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from trispike.errors import InvalidSettingError
from trispike.network import Connection, Network
from trispike.network.network import PAYLOAD_LIMIT
from trispike.network.stages import Stage, stages
from trispike.runtime.engine import Run, check_saturations
from trispike.runtime.fast.layout import Array, from_layout, laid_out, to_layout
from trispike.runtime.fast.links import Link, Signal
from trispike.runtime.fast.neurons import EVENTS, Counts, Neurons
from trispike.runtime.fast.plan import arriving_steps, is_narrow
from trispike.runtime.fast.samples import count_codes, reach_of
from trispike.runtime.fast.workers import Workers
from trispike.runtime.ledger import Ledger, LedgerCounter, payload_counts
from trispike.runtime.sample_counts import SampleCounter

LARGEST_BATCH = 256
"""Larger ones gain nothing."""

CACHED_BYTES = 64 << 20
"""Nor do batches that take more than this: they leave the caches."""

STATES = ("i", "c", "v")
"""What the kernel writes down, in its order."""


class Tally:
    """What is counted over the batches of a run.

    Args:
        network: What runs.
        per_sample: Counts what happens in every single sample; None: nobody asked.
    """

    def __init__(self, network: Network, per_sample: SampleCounter | None = None) -> None:
        self._network = network
        self.per_sample = per_sample
        """To be told of what populations emit; the input is counted here."""
        self._samples = 0
        self.populations = {
            name: Counts.zeros(network.steps, population.size)
            for name, population in network.populations.items()
        }
        zeros = np.zeros((network.steps, *network.input.shape), np.int64)
        self._input = (zeros, zeros.copy())

    def add_input(self, where: slice, encoded: Array) -> None:
        """Count what enters in a batch: (N, *shape) or (N, T, *shape)."""
        if self.per_sample:
            self.per_sample.add_input(where, encoded)
        self._samples += len(encoded)
        ternary, graded = payload_counts(self._network, encoded)
        self._input[0][:] += ternary
        self._input[1][:] += graded

    def events(self) -> dict[str, Array]:
        """By population, (kinds of EVENTS, T): the counts so far, to subtract from later ones."""
        return {name: counts.events.copy() for name, counts in self.populations.items()}

    def check_saturations(self, before: Mapping[str, Array]) -> None:
        """Raise SaturationError if a state left its range since :meth:`events` was ``before``."""
        row = EVENTS.index("saturations")
        found = {n: (counts.events - before[n])[row] for n, counts in self.populations.items()}
        check_saturations(self._network, found)

    def ledger(self) -> Ledger:
        """The counts so far."""
        network, counter = self._network, LedgerCounter(self._network, self.per_sample)
        counter.add_samples(self._samples)
        emitted: dict[str, tuple[Array, Array | None]] = {network.input.name: self._input}
        for name, counts in self.populations.items():
            counter.add_events(name, **dict(zip(EVENTS, counts.events, strict=True)))
            emitted[name] = (from_layout(counts.fired, network.populations[name].shape), None)
        counter.add_emitted(emitted)
        return counter.ledger()


@dataclass
class Batch:
    """Some of the samples of a run, on their way."""

    run: Run
    """Of which they are a part."""
    where: slice
    """Which part."""
    samples: int
    """How many."""
    signals: dict[str, Signal]
    """What the input and the populations emitted, as long as it is needed."""
    tally: Tally
    """What is counted."""


@dataclass
class _Member:
    """A population in a loop."""

    neurons: Neurons
    inner: list[Link]
    codes: Array
    state: Array
    traces: Array | None
    each: Array | None

    def step(self, t: int, currents: Array, signals: Mapping[str, Signal], counts: Counts) -> None:
        """Advance by one time step: ``currents`` come from outside of the loop."""
        for link in self.inner:
            delay = link.connection.delay
            sources = [signals[source].at(t, delay) for source in link.connection.sources]
            delivered = link.currents(link.gather(sources))
            currents = currents + delivered.astype(currents.dtype, copy=False)
        now = Counts.zeros(1, self.neurons.size)
        seen = None if self.traces is None else np.empty_like(self.traces[:, :1])
        codes = self.codes[t : t + 1]
        each = None if self.each is None else self.each[:, t : t + 1]
        self.neurons.advance(
            currents, None, codes, now, state=self.state, traces=seen, each=each, first_step=t
        )
        if self.traces is not None:
            self.traces[:, t : t + 1] = seen
        counts.events[:, t] += now.events[:, 0]
        counts.fired[t] += now.fired[0]


class Machine:
    """A network, ready to run.

    Args:
        network: The network.
        threads: Threads to use.
        memory: Bytes that a batch may take.

    Raises:
        InvalidSettingError: Not even one sample fits into the memory.
    """

    def __init__(self, network: Network, threads: int, memory: int) -> None:
        self.network = network
        self._workers = Workers(threads)
        self._stages = stages(network)
        self._links: dict[str, list[Link]] = {
            name: [] for name in (*network.populations, network.readout.name)
        }
        for label, connection in network.labelled():
            self._links[connection.target].append(Link(network, label, connection, self._workers))
        loops = {name for stage in self._stages if stage.loop for name in stage.populations}
        self._shortcuts: dict[str, Link] = {}
        self._reach: dict[str, Array] = {}
        self._neurons: dict[str, Neurons] = {}
        for name, population in network.populations.items():
            narrow = is_narrow(network, name)
            if narrow and name not in loops:
                self._take_shortcut(name)
            wide = np.int64 if network.kind == "integer" else np.float64
            shortcut = self._shortcuts.get(name)
            self._neurons[name] = Neurons(
                population,
                np.int32 if narrow else wide,
                shortcut.shortcut_rows() if shortcut else None,
                self._workers,
            )
        self._last_use = _last_use(network, self._stages)
        needed = self._bytes_per_sample()
        most = max(8, CACHED_BYTES // needed)
        self.batch_size = min(LARGEST_BATCH, most, samples_that_fit(memory, needed))

    @contextlib.contextmanager
    def started(self) -> Iterator[None]:
        """With its threads, here and in torch."""
        before = torch.get_num_threads()
        torch.set_num_threads(self._workers.threads)
        try:
            with self._workers:
                yield
        finally:
            torch.set_num_threads(before)

    def run(self, run: Run, where: slice, tally: Tally, *, strict: bool) -> None:
        """Run the samples of a batch, fill in their results and count.

        Raises:
            SaturationError: A state left its range, in strict mode.
        """
        network = self.network
        encoded = run.encode(where)
        tally.add_input(where, encoded)
        before = tally.events()
        signals = {network.input.name: self._input_signal(encoded)}
        batch = Batch(run, where, len(encoded), signals, tally)
        for number, stage in enumerate(self._stages):
            if stage.loop:
                self._run_loop(stage, batch)
            else:
                self._run_layer(stage.populations[0], batch)
            for name in stage.populations:
                fired = (tally.populations[name].events - before[name])[:2].sum()
                rate = int(fired) / signals[name].values.size
                signals[name] = signals[name]._replace(rate=rate)
            for name in [name for name in signals if self._last_use[name] <= number]:
                del signals[name]
        currents = self._currents(network.readout.name, batch)
        run.step_logits[where] = network.readout.step_logits(currents).swapaxes(0, 1)
        if strict:
            tally.check_saturations(before)

    def _run_layer(self, name: str, batch: Batch) -> None:
        """All time steps of one population."""
        neurons = self._neurons[name]
        currents = self._currents(name, batch)
        shortcut = None
        if name in self._shortcuts:
            gathered = self._gathered(self._shortcuts[name], batch).values
            shortcut = gathered.reshape(*gathered.shape[:2], -1)
        codes = np.empty((self.network.steps, batch.samples, neurons.size), np.uint8)
        traces, each = self._traces(name, batch), self._each(batch)
        counts = batch.tally.populations[name]
        neurons.advance(currents, shortcut, codes, counts, traces=traces, each=each)
        batch.signals[name] = self._emitted(name, codes)
        self._record(name, batch, codes, traces)
        self._count(name, batch, codes, each)

    def _run_loop(self, stage: Stage, batch: Batch) -> None:
        """Populations that read each other, step by step."""
        members = [
            _Member(
                neurons=self._neurons[name],
                inner=[link for link in self._links[name] if link.reads(stage.populations)],
                codes=np.ones(
                    (self.network.steps, batch.samples, self._neurons[name].size), np.uint8
                ),
                state=self._neurons[name].initial_state(batch.samples),
                traces=self._traces(name, batch),
                each=self._each(batch),
            )
            for name in stage.populations
        ]
        outer = [
            self._currents(name, batch, leave_out=member.inner)
            for name, member in zip(stage.populations, members, strict=True)
        ]
        for name, member in zip(stage.populations, members, strict=True):
            batch.signals[name] = self._emitted(name, member.codes)
        for t in range(self.network.steps):
            for name, member, currents in zip(stage.populations, members, outer, strict=True):
                now = currents[t : t + 1] if len(currents) > 1 else currents
                member.step(t, now, batch.signals, batch.tally.populations[name])
        for name, member in zip(stage.populations, members, strict=True):
            self._record(name, batch, member.codes, member.traces)
            self._count(name, batch, member.codes, member.each)

    def _currents(self, target: str, batch: Batch, leave_out: Sequence[Link] = ()) -> Array:
        """(T or 1, N, E): the sum over the connections into a target, but for its shortcut."""
        dtype = self._current_type(target)
        total: Array | None = None
        for link in self._links[target]:
            if link in leave_out or link is self._shortcuts.get(target):
                continue
            part = self._delivered(link, batch).astype(dtype, copy=False)
            total = part if total is None else self._sum(total, part)
        if total is None:
            return np.zeros((1, batch.samples, math.prod(self.network.shape_of(target))), dtype)
        return total

    def _delivered(self, link: Link, batch: Batch) -> Array:
        """(T or 1, N, E): what a connection delivers, computed for the steps at which it may."""
        signal, steps = self._gathered(link, batch), self.network.steps
        arriving = arriving_steps(self.network, link.connection)
        if len(signal.values) == 1 or 2 * len(arriving) > steps:
            return link.currents(signal)
        if not arriving:
            size = math.prod(self.network.shape_of(link.connection.target))
            return np.zeros((1, batch.samples, size), np.float32)
        taken = signal.values[arriving.start : arriving.stop]
        rate = min(1.0, signal.rate * steps / len(arriving))
        some = link.currents(signal._replace(values=taken, rate=rate))
        whole = np.zeros((steps, *some.shape[1:]), some.dtype)
        whole[arriving.start : arriving.stop] = some
        return whole

    def _sum(self, total: Array, part: Array) -> Array:
        """The sum, in place and with all threads where possible.

        Not with those of torch: they would go on waiting for work, in the way of the event kernels.
        """
        if total.shape != part.shape:
            return np.asarray(total + part)

        def add(first: int, end: int) -> None:
            total[:, first:end] += part[:, first:end]

        self._workers.over(total.shape[1], add)
        return total

    def _gathered(self, link: Link, batch: Batch) -> Signal:
        connection, steps = link.connection, self.network.steps
        return link.gather(
            [batch.signals[s].late(connection.delay, steps) for s in connection.sources]
        )

    def _current_type(self, target: str) -> type[np.generic]:
        if self.network.kind == "float":
            return np.float64
        if target == self.network.readout.name:
            return np.int64
        return np.float32 if self._neurons[target].dtype is np.int32 else np.int64

    def _input_signal(self, encoded: Array) -> Signal:
        """What ``Run.encode`` returned, in the layout of the engine."""
        direct = self.network.input.encoding == "direct"
        frames = encoded[None] if direct else encoded.swapaxes(0, 1)
        if self.network.kind == "integer":
            codes = (frames + PAYLOAD_LIMIT).astype(np.uint8)
            return Signal(to_layout(codes, 2), PAYLOAD_LIMIT)
        return Signal(to_layout(frames, 2), 0)

    def _emitted(self, name: str, codes: Array) -> Signal:
        shape = laid_out(self.network.shape_of(name))
        return Signal(codes.reshape(*codes.shape[:2], *shape), 1)

    def _traces(self, name: str, batch: Batch) -> Array | None:
        """Room for i, c and v, if any of them is wanted."""
        if not set(STATES) & set(batch.run.wanted.get(name, ())):
            return None
        neurons = self._neurons[name]
        return np.empty((3, self.network.steps, batch.samples, neurons.size), neurons.dtype)

    def _each(self, batch: Batch) -> Array | None:
        """(N, T): room for the updates with input of every sample, if that is asked for."""
        if batch.tally.per_sample is None:
            return None
        return np.zeros((batch.samples, self.network.steps), np.int64)

    def _record(self, name: str, batch: Batch, codes: Array, traces: Array | None) -> None:
        shape = self.network.shape_of(name)
        for trace, target in batch.run.records.get(name, {}).items():
            if trace == "s":
                values = codes.astype(np.int8) - np.int8(1)
            else:
                assert traces is not None
                values = traces[STATES.index(trace)]
            target[batch.where] = from_layout(values, shape).swapaxes(0, 1)

    def _count(self, name: str, batch: Batch, codes: Array, each: Array | None) -> None:
        """Count what happened in every single sample, if that is asked for."""
        if (counter := batch.tally.per_sample) is None or each is None:
            return
        if name not in self._reach:
            self._reach[name] = reach_of(counter, name)
        counted = count_codes(codes, self._reach[name], self._workers)
        counter.add_counted(name, batch.where, counted)
        counter.add_updates(name, batch.where, each)

    def _take_shortcut(self, name: str) -> None:
        """Let the kernel of a population apply one of its identity connections."""
        shortcuts = [link for link in self._links[name] if link.is_shortcut]
        if shortcuts:
            self._shortcuts[name] = shortcuts[0]

    def _bytes_per_sample(self) -> int:
        """The most that is held at once for one sample."""
        network, steps = self.network, self.network.steps
        frames = 1 if network.input.encoding == "direct" else steps
        # Data, what they are encoded to, and the codes or floats that the first layer reads.
        live = {network.input.name: frames * math.prod(network.input.shape) * 24}
        peak = sum(live.values())
        for number, stage in enumerate([*self._stages, Stage((network.readout.name,), False)]):
            working = 0
            for name in stage.populations:
                size = math.prod(network.shape_of(name))
                live[name] = steps * size
                links = [link.bytes_per_sample(steps) for link in self._links[name]]
                working += 2 * steps * size * np.dtype(self._current_type(name)).itemsize
                working += max(links, default=0) + 4 * size * 8 * stage.loop
            peak = max(peak, sum(live.values()) + working)
            live = {n: held for n, held in live.items() if self._last_use.get(n, 0) > number}
        return peak


def samples_that_fit(memory: int, needed: int) -> int:
    """How many samples of ``needed`` bytes each fit into so much memory.

    Raises:
        InvalidSettingError: Not even one.
    """
    if needed > memory:
        raise InvalidSettingError(
            "memory",
            got=f"{memory:,} bytes",
            expected=f"at least {needed:,}, what one sample takes",
            fix="Allow more (--memory), or use the reference engine.",
        )
    return memory // needed


def _last_use(network: Network, parts: list[Stage]) -> dict[str, int]:
    """Number of the last stage that reads the input or a population; the readout is the end."""
    number = {name: n for n, stage in enumerate(parts) for name in stage.populations}
    last = dict.fromkeys((network.input.name, *network.populations), -1)

    def use(connection: Connection, stage: int) -> None:
        for source in connection.sources:
            last[source] = max(last[source], stage)

    for name, stage in number.items():
        last[name] = max(last[name], stage)
        for connection in network.into(name):
            use(connection, stage)
    for connection in network.readout.connections:
        use(connection, len(parts))
    return last
