"""The Lava engine: an integer network as Lava processes, equal to the reference in every bit."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from trispike.errors import UnsupportedError
from trispike.network import IntegerNetwork, Network
from trispike.network.learning import Keep, check_keep, kept_weights
from trispike.runtime.engine import Array, Progress, Recording, Result, Run
from trispike.runtime.ledger import NOWHERE, LedgerCounter
from trispike.runtime.sample_counts import SampleCounter
from trispike.targets.lava.memory import shared_zeros
from trispike.targets.lava.requirements import check_lava

MEMORY_BYTES = 256 << 20
"""Shared memory for inputs, logits and recordings of one run of the chip."""


class LavaEngine:
    """Runs an integer network as Lava processes.

    Args:
        network: An integer network.
        timeout: Wall-clock limit of one call of :meth:`run`, in seconds, starting and ending the
            processes included; None: as long as they keep moving.
        strict: Raise when a state leaves its range, instead of clipping and counting.
        weights: Of a plastic network: which learned weights to return: those after the run
            ("last"), after every "sample", or every "step".

    Raises:
        UnsupportedError: The network is not an integer network, or has a loop that is too fast
            for a pipeline.
        MissingDependencyError: Lava is absent, or does not work with what is installed.
        EngineError: The program uses a multiprocessing start method other than "fork".
    """

    name = "lava"

    def __init__(
        self,
        network: Network,
        *,
        timeout: float | None = None,
        strict: bool = False,
        weights: Keep = "last",
    ) -> None:
        if not isinstance(network, IntegerNetwork):
            raise UnsupportedError(
                "Lava engine",
                got=f"a {network.kind} network",
                expected="an integer network",
                fix="Quantize it first (trispike.quantize).",
            )
        check_lava()
        # Only now, so that importing this module needs no Lava.
        from trispike.targets.lava.session import LavaSession, check_network  # noqa: PLC0415

        check_network(network)
        check_keep(weights)
        self.network = network
        self.timeout = timeout
        self.strict = strict
        self.weights = weights
        self._session = LavaSession

    def run(
        self,
        inputs: Array,
        labels: Array | None = None,
        *,
        record: Recording = None,
        progress: Progress | None = None,
        per_sample: bool = False,
    ) -> Result:
        """Run raw data; see :class:`trispike.runtime.engine.Engine`.

        Raises:
            InvalidDataError: Data, labels or recording do not fit the network.
            SaturationError: A state left its range, in strict mode.
            EngineError: A Lava process failed; its traceback is in the message.
            EngineTimeoutError: The wall-clock limit has passed.
        """
        run = Run(self.network, inputs, labels, record)
        counter = _SharedCounter(self.network, run.samples if per_sample else None)
        counter.add_samples(run.samples)
        weights = kept_weights(self.network, self.weights, run.samples)
        each = _bytes_per_sample(self.network, run.wanted)
        each += 0 if self.weights == "last" else sum(a[:1].nbytes for a in weights.values())
        capacity = max(1, min(run.samples, MEMORY_BYTES // each))
        seconds = 0.0
        if run.samples:
            with self._session(
                self.network,
                capacity=capacity,
                record=run.wanted,
                counter=counter,
                timeout=self.timeout,
                strict=self.strict,
                weights=self.weights,
            ) as session:
                start = time.perf_counter()
                for batch in run.batches(capacity):
                    counter.first[:] = batch.start
                    if counter.samples:
                        counter.samples.add_input_events(batch, run.encoded[batch])
                    stream = session.stream(run.encoded[batch], progress)
                    run.step_logits[batch] = stream.step_logits
                    for name, traces in stream.records.items():
                        for trace, values in traces.items():
                            run.records[name][trace][batch] = values
                    for label, learned in stream.weights.items():
                        weights[label][... if self.weights == "last" else batch] = learned
                seconds = time.perf_counter() - start
        return run.result(self.name, counter.ledger(), seconds, weights)


class _SharedCounter(LedgerCounter):
    """A counter whose counts forked processes write; each count has one process that does.

    Args:
        network: What runs.
        samples: How many to count one by one; None: nobody asked.
    """

    def __init__(self, network: Network, samples: int | None) -> None:
        one_by_one = None if samples is None else SampleCounter(network, samples, _shared_counts)
        super().__init__(network, one_by_one)
        self.samples = one_by_one
        """Counts of every single one, if that was asked for."""
        self.first = shared_zeros(1, np.int64)
        """Which sample of the run is the first one in the chip's current run."""
        for counts in (*self._populations.values(), *self._connections.values()):
            for name in counts:
                counts[name] = shared_zeros(network.steps, np.int64)

    def add_population(
        self,
        name: str,
        t: int,
        spikes: Array,
        current: Array,
        saturations: int,
        where: slice = NOWHERE,
    ) -> None:
        """Count spikes and updates of one population at step t of the sample ``where``."""
        super().add_population(name, t, spikes, current, saturations, self._moved(where))

    def add_arrival(self, label: str, t: int, payload: Array, where: slice = NOWHERE) -> None:
        """Count what one source of a connection delivered at step t of the sample ``where``."""
        super().add_arrival(label, t, payload, self._moved(where))

    def _moved(self, where: slice) -> slice:
        first = int(self.first[0])
        return slice(first + where.start, first + where.stop)


def _shared_counts(shape: tuple[int, ...]) -> Array:
    return shared_zeros(shape, np.int64)


def _bytes_per_sample(network: Network, wanted: Mapping[str, Any]) -> int:
    size = int(np.prod(network.input.encoded_shape(network.steps)))
    size += 8 * network.steps * network.readout.classes
    for name, traces in wanted.items():
        each = sum(1 if trace == "s" else 4 for trace in traces)
        size += network.steps * network.populations[name].size * each
    return size
