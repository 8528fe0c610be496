"""Connections: from what their sources emitted to what their target receives.

Each is computed in the fastest arithmetic that is exact for it, by the proved bound on its sums:
int8 through oneDNN, float32, float64, or the reference's int64.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np

from trispike.network import Connection, Conv2d, Identity, Network, SumPool
from trispike.network.connection import EXACT_FLOAT64
from trispike.runtime.fast.kernels import pool
from trispike.runtime.fast.layout import Array, Shape, laid_out, order
from trispike.runtime.fast.operators import (
    Carrier,
    EventRunner,
    Int8Runner,
    build_runner,
    int8_agrees,
    int8_is_exact,
    int8_takes,
)
from trispike.runtime.fast.plan import EXACT_FLOAT32, current_limit, pooled_limit
from trispike.runtime.fast.workers import Workers

CODE_LIMIT = 127
"""Largest magnitude of a value that is coded in an unsigned byte."""

EVENT_RATE = 0.5
"""Firing rate below which events may win over a dense operator; only then both are timed."""

RACES = 3
"""How often each is timed; the best time counts, for what disturbs one only adds to it."""

GROWTH = 2
"""They are timed again on a batch that is larger by this: what is quick for one image may not be
for many."""

PAUSE = 0.01
"""Seconds after which the threads of torch no longer wait for more work, as they do at first."""

_INPUT_BYTES: dict[Carrier, int] = {"int8": 1, "float32": 16, "float64": 16, "int64": 40}
"""What one element of an operator's input takes, copies on the way included."""

_log = logging.getLogger(__name__)


class Signal(NamedTuple):
    """What a population or the input emitted."""

    values: Array
    """(T, N, *layout), or (1, N, *layout) if all steps are alike: codes in unsigned bytes, or
    floats."""
    silence: int
    """Code of 0; the largest magnitude that the codes stand for, too. 0 for floats."""
    rate: float = 1.0
    """Share of values that are not 0, as far as it is known."""

    def at(self, t: int, delay: int) -> Signal:
        """What arrives at step t, (1, N, *layout)."""
        if t < delay:
            return self._replace(values=np.full_like(self.values[:1], self.silence))
        source = (t - delay) % len(self.values)
        return self._replace(values=self.values[source : source + 1])

    def late(self, delay: int, steps: int) -> Signal:
        """The same, so many steps later; silence at first."""
        if not delay:
            return self
        values = np.full((steps, *self.values.shape[1:]), self.silence, self.values.dtype)
        kept = max(0, steps - delay)
        values[steps - kept :] = self.values[:kept]  # one step alike to all is repeated
        return self._replace(values=values)


class Link:
    """One connection of a network, ready to run.

    Args:
        network: The network.
        label: Name of the connection.
        connection: The connection.
        workers: What parts of a batch are given to.
    """

    def __init__(
        self, network: Network, label: str, connection: Connection, workers: Workers
    ) -> None:
        self.label = label
        self.connection = connection
        shape = network.source_shape(connection)
        self._source_size = math.prod(shape)
        self._pools = []
        for stage in connection.pool_stages:
            pooled = stage.output_shape(shape)
            self._pools.append((stage, laid_out(pooled)))
            shape = pooled
        self.operator_shape: Shape = shape
        self._workers = workers
        self._integer = network.kind == "integer"
        self.carrier: Carrier = self._carrier(network) if self._integer else "float64"
        self._coded = self._integer and pooled_limit(network, connection) <= CODE_LIMIT
        self._silence = pooled_limit(network, connection) if self._coded else 0
        self._run = build_runner(connection, shape, self.carrier, 1 << connection.exponent)
        if isinstance(self._run, Int8Runner) and not int8_agrees(self._run, shape, self._silence):
            _log.warning("connection %s: int8 convolutions fail here; it runs in float32", label)
            self.carrier = "float32"
            self._run = build_runner(connection, shape, "float32", 1 << connection.exponent)
        self._events: EventRunner | None = None
        if isinstance(self._run, Int8Runner) and self._is_ternary(network):
            self._events = EventRunner(self._run.conv, self._run.scale)
        self._dense_seconds = self._event_seconds = 0.0
        self._timed_images = 0
        self._target_shape = network.shape_of(connection.target)
        self._reorder = _reorder(connection.operator.output_shape(shape), self._target_shape)

    @property
    def is_shortcut(self) -> bool:
        """Whether the neurons' kernel can apply it on the way: codes times a scale."""
        fits = self._coded and self._reorder is None and not self._pools
        return fits and isinstance(self.connection.operator, Identity)

    def shortcut_rows(self) -> list[Array]:
        """The scale of a shortcut, and what silence contributes; both fit the target's shape."""
        scale = self.connection.operator.weight.astype(np.int64) << self.connection.exponent
        if self._target_shape != self.operator_shape:  # flat here and (C, H, W) there
            scale = np.broadcast_to(scale, self.operator_shape).reshape(self._target_shape)
        return [scale, scale * self._silence]

    def reads(self, names: Collection[str]) -> bool:
        """Whether one of these is among its sources."""
        return not set(names).isdisjoint(self.connection.sources)

    def bytes_per_sample(self, steps: int) -> int:
        """What is held besides the result, at most."""
        connection = self.connection
        size = 1 if self._coded else 2 * 8
        inputs = math.prod(self.operator_shape) * _INPUT_BYTES[self.carrier]
        if self.carrier == "float64" and isinstance(connection.operator, Conv2d):
            # torch writes out every window of a convolution that oneDNN does not know.
            positions = math.prod(connection.operator.output_shape(self.operator_shape)[1:])
            taps = self.operator_shape[0] * math.prod(connection.operator.kernel)
            inputs += 8 * positions * taps
        pooled = sum(math.prod(layout) for _, layout in self._pools)
        gathered = self._source_size * (len(connection.sources) > 1 or connection.delay > 0)
        return steps * (inputs + size * (pooled + gathered))

    def gather(self, signals: Sequence[Signal]) -> Signal:
        """The sum of what the sources emitted, codes where they hold it."""
        if len(signals) == 1:
            return signals[0]
        silence = sum(signal.silence for signal in signals)
        rate = min(1.0, sum(signal.rate for signal in signals))
        coded = all(signal.values.dtype == np.uint8 for signal in signals)
        if coded and silence <= CODE_LIMIT:
            return Signal(_total([signal.values for signal in signals]), silence, rate)
        return Signal(_total([_decoded(signal) for signal in signals]), 0, rate)

    def currents(self, signal: Signal) -> Array:
        """What the target receives.

        Args:
            signal: What :meth:`gather` returned.

        Returns:
            (T or 1, N, *layout of the target) in float32, float64 or int64, exact.
        """
        steps, batch = signal.values.shape[:2]
        values = signal.values.reshape(steps * batch, *signal.values.shape[2:])
        silence = signal.silence
        if values.dtype == np.uint8 and not self._coded:
            values, silence = _decoded(signal).reshape(values.shape), 0
        for stage, layout in self._pools:
            values, silence = self._pooled(values, silence, stage, layout)
        result = self._apply(values, silence, signal.rate)
        if self._reorder is not None:
            # Contiguous, unlike result[:, order]: the kernels are compiled for that only.
            result = result.reshape(len(result), -1).take(self._reorder, axis=1)
        return result.reshape(steps, batch, -1)

    def _pooled(
        self, values: Array, silence: int, stage: SumPool, layout: Shape
    ) -> tuple[Array, int]:
        """Sums over windows, and the code of 0 among them."""
        after = silence * math.prod(stage.kernel)
        pooled = np.empty((len(values), *layout), values.dtype)

        def work(first: int, end: int) -> None:
            geometry = (stage.kernel, stage.stride, stage.padding, stage.dilation)
            pool(values[first:end], (silence, after), *geometry, pooled[first:end])

        self._workers.over(len(values), work)
        return pooled, after

    def _apply(self, values: Array, silence: int, rate: float) -> Array:
        if self._events is None or rate >= EVENT_RATE:
            return self._run(values, silence)
        if len(values) >= GROWTH * self._timed_images:
            self._race(self._events, values, silence, rate)
        if self._event_seconds * rate < self._dense_seconds:
            return self._by_events(self._events, values)
        return self._run(values, silence)

    def _race(self, events: EventRunner, values: Array, silence: int, rate: float) -> None:
        """Time both ways on one batch; they give the same."""
        self._timed_images = len(values)
        self._dense_seconds = _best_seconds(lambda: self._run(values, silence))
        self._by_events(events, values[:1])  # compiles
        time.sleep(PAUSE)
        seconds = _best_seconds(lambda: self._by_events(events, values))
        self._event_seconds = seconds / max(rate, 1e-6)

    def _by_events(self, events: EventRunner, values: Array) -> Array:
        images, result = events.prepare(values)
        self._workers.over(
            len(images), lambda first, end: events.fill(images, (first, end), result)
        )
        return result

    def _is_ternary(self, network: Network) -> bool:
        """Whether the operator reads the spikes of one population, and all channels of it."""
        operator = self.connection.operator
        alone = len(self.connection.sources) == 1 and not self._pools
        whole = not isinstance(operator, Conv2d) or operator.groups == 1
        return alone and whole and self.connection.sources[0] != network.input.name

    def _carrier(self, network: Network) -> Carrier:
        """The fastest arithmetic that is exact."""
        limit = current_limit(network, self.connection)
        if limit < EXACT_FLOAT32:
            coded = pooled_limit(network, self.connection) <= CODE_LIMIT
            int8 = coded and int8_takes(self.connection.operator, self.operator_shape)
            return "int8" if int8 and int8_is_exact() else "float32"
        carrier: Carrier = "float64" if limit < EXACT_FLOAT64 else "int64"
        _log.warning(
            "connection %s: sums up to %d are beyond float32 and int8; it runs in %s, slower",
            self.label,
            limit,
            carrier,
        )
        return carrier


def _best_seconds(run: Callable[[], object]) -> float:
    seconds = []
    for _ in range(RACES):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _decoded(signal: Signal) -> Array:
    values = signal.values
    return values.astype(np.float64) - signal.silence if values.dtype == np.uint8 else values


def _total(arrays: Sequence[Array]) -> Array:
    total = arrays[0]
    for array in arrays[1:]:
        total = total + array
    return total


def _reorder(got: Shape, wanted: Shape) -> Array | None:
    """Where every element of the target's layout lies in the operator's output, if elsewhere."""
    if got == wanted:
        return None
    place = np.empty(math.prod(got), np.int64)
    place[order(got)] = np.arange(len(place))
    moved = place[order(wanted)]
    return None if np.array_equal(moved, np.arange(len(moved))) else moved
