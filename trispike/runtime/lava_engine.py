"""The Lava engine: an integer network as Lava processes, equal to the reference in every bit."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from trispike.errors import UnsupportedError
from trispike.network import IntegerNetwork, Network
from trispike.runtime.engine import (
    Array,
    Progress,
    Recording,
    Result,
    checked_labels,
    checked_recording,
)
from trispike.runtime.ledger import LedgerCounter
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

    Raises:
        UnsupportedError: The network is not an integer network, or has a loop that is too fast
            for a pipeline.
        MissingDependencyError: Lava is absent, or does not work with what is installed.
        EngineError: The program uses a multiprocessing start method other than "fork".
    """

    name = "lava"

    def __init__(
        self, network: Network, *, timeout: float | None = None, strict: bool = False
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
        self.network = network
        self.timeout = timeout
        self.strict = strict
        self._session = LavaSession

    def run(
        self,
        inputs: Array,
        labels: Array | None = None,
        *,
        record: Recording = None,
        progress: Progress | None = None,
    ) -> Result:
        """Run raw data; see :class:`trispike.runtime.engine.Engine`.

        Raises:
            InvalidDataError: Data, labels or recording do not fit the network.
            SaturationError: A state left its range, in strict mode.
            EngineError: A Lava process failed; its traceback is in the message.
            EngineTimeoutError: The wall-clock limit has passed.
        """
        network = self.network
        encoded = network.input.encode(inputs, network.steps)
        samples = encoded.shape[0]
        labels = checked_labels(network, labels, samples)
        wanted = checked_recording(network, record)
        counter = _SharedCounter(network)
        counter.add_samples(samples)
        step_logits = np.zeros((samples, network.steps, network.readout.classes), np.int64)
        records = {
            name: {t: _empty(network, name, t, samples) for t in traces}
            for name, traces in wanted.items()
        }
        capacity = max(1, min(samples, MEMORY_BYTES // _bytes_per_sample(network, wanted)))
        seconds = 0.0
        if samples:
            with self._session(
                network,
                capacity=capacity,
                record=wanted,
                counter=counter,
                timeout=self.timeout,
                strict=self.strict,
            ) as session:
                start = time.perf_counter()
                for first in range(0, samples, capacity):
                    batch = slice(first, min(first + capacity, samples))
                    stream = session.stream(encoded[batch], progress)
                    step_logits[batch] = stream.step_logits
                    for name, traces in stream.records.items():
                        for trace, values in traces.items():
                            records[name][trace][batch] = values
                seconds = time.perf_counter() - start
        return Result(
            logits=np.einsum("ntk,t->nk", step_logits, network.readout.weights),
            step_logits=step_logits,
            scale=network.readout.scale,
            ledger=counter.ledger(),
            seconds=seconds,
            engine=self.name,
            labels=labels,
            records=records,
        )


class _SharedCounter(LedgerCounter):
    """A counter whose counts forked processes write; each count has one process that does."""

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        for counts in (*self._populations.values(), *self._connections.values()):
            for name in counts:
                counts[name] = shared_zeros(network.steps, np.int64)


def _empty(network: Network, name: str, trace: str, samples: int) -> Array:
    shape = (samples, network.steps, *network.populations[name].shape)
    return np.zeros(shape, np.int8 if trace == "s" else np.int64)


def _bytes_per_sample(network: Network, wanted: Mapping[str, Any]) -> int:
    size = int(np.prod(network.input.data_shape(network.steps)))
    size += 8 * network.steps * network.readout.classes
    for name, traces in wanted.items():
        each = sum(1 if trace == "s" else 4 for trace in traces)
        size += network.steps * network.populations[name].size * each
    return size
