"""The contract of an engine, and what a run returns."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.errors import InvalidDataError, InvalidSettingError, SaturationError
from trispike.network import Network
from trispike.runtime.ledger import Ledger
from trispike.runtime.sample_counts import SampleCounter

Array: TypeAlias = npt.NDArray[Any]

TRACES = ("s", "i", "c", "v")
"""What can be recorded of a population: spikes, synaptic current, carried potential, membrane
potential before the reset."""

Recording: TypeAlias = Mapping[str, Collection[str]] | Literal["all"] | None
"""Population name to traces; "all" stands for every trace of every population."""

Progress: TypeAlias = Callable[[int], None]
"""Called with the number of samples finished since the last call."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """What an engine returns. N samples, T time steps, K classes."""

    logits: Array
    """(N, K); int64 from integer networks, to be multiplied by ``scale``, else float64."""
    step_logits: Array
    """(N, T, K): contribution of each step before its time weight."""
    scale: float
    """Value of one unit of the logits; 1.0 from float networks."""
    ledger: Ledger
    """Exact event counts."""
    seconds: float
    """Wall-clock time of the run, without building the engine."""
    engine: str
    """Name of the engine."""
    labels: npt.NDArray[np.int64] | None = None
    """(N,), if given."""
    records: Mapping[str, Mapping[str, Array]] = field(default_factory=dict)
    """``records[population][trace]``: (N, T, *shape), traces as in :data:`TRACES`."""
    weights: Mapping[str, Array] = field(default_factory=dict)
    """By label of a plastic connection: learned weights, int32 in units of 2**-fine_bits of its
    rule: (outputs, inputs) after the run; or (N, ...) after every sample, or (N, T, ...) after
    every step, where the engine was told so."""

    @property
    def predictions(self) -> npt.NDArray[np.int64]:
        """(N,): the class of the largest logit, the first one on a tie."""
        return self.logits.argmax(axis=1).astype(np.int64)

    @property
    def accuracy(self) -> float | None:
        """Fraction of samples whose prediction equals the label; None without labels."""
        if self.labels is None or not len(self.labels):
            return None
        return float((self.predictions == self.labels).mean())


class Engine(Protocol):
    """What runs a network.

    All engines of integer networks return equal logits, records and ledgers.
    """

    @property
    def name(self) -> str:
        """What the engine is called on the command line."""
        ...

    @property
    def network(self) -> Network:
        """What it runs."""
        ...

    def run(
        self,
        inputs: Array,
        labels: Array | None = None,
        *,
        record: Recording = None,
        progress: Progress | None = None,
        per_sample: bool = False,
    ) -> Result:
        """Run raw data through the network.

        Args:
            inputs: Raw data, as ``network.input.encode`` takes them.
            labels: (N,) integers, for the accuracy.
            record: Which traces to keep.
            progress: Called as samples finish.
            per_sample: Count what happens in every single sample, too: ``ledger.per_sample``.

        Raises:
            InvalidDataError: Data, labels or recording do not fit the network.
        """
        ...


class Run:
    """What every engine does before and after its own work: checks, encoding, room for results.

    Args:
        network: What is run.
        inputs: Raw data.
        labels: (N,) integers, or None.
        record: Which traces to keep.

    Raises:
        InvalidDataError: Data, labels or recording do not fit the network.
    """

    def __init__(
        self, network: Network, inputs: Array, labels: Array | None, record: Recording
    ) -> None:
        self.network = network
        self._inputs = np.asarray(inputs)
        network.input.check(self._inputs, network.steps)
        self.samples: int = self._inputs.shape[0]
        self.labels = checked_labels(network, labels, self.samples)
        self.wanted = checked_recording(network, record)
        """Population name to traces."""
        number = np.int64 if network.kind == "integer" else np.float64
        self.step_logits: Array = np.zeros(
            (self.samples, network.steps, network.readout.classes), number
        )
        """To be filled: (N, T, K)."""
        self.records: dict[str, dict[str, Array]] = {
            name: {
                trace: np.zeros(
                    (self.samples, network.steps, *network.populations[name].shape),
                    np.int8 if trace == "s" else number,
                )
                for trace in traces
            }
            for name, traces in self.wanted.items()
        }
        """To be filled: ``records[population][trace]``, (N, T, *shape)."""
        self._start = time.perf_counter()

    @cached_property
    def encoded(self) -> Array:
        """What ``network.input.encode`` makes of the data, all of it."""
        return self.encode(slice(None))

    def encode(self, batch: slice) -> Array:
        """The same of a part of the samples, for engines that bound their memory."""
        return self.network.input.encode(self._inputs[batch], self.network.steps)

    def sample_counter(self, per_sample: bool) -> SampleCounter | None:
        """What counts the events of every single sample, if that is asked for."""
        return SampleCounter(self.network, self.samples) if per_sample else None

    def batches(self, size: int) -> Iterator[slice]:
        """The samples in parts of at most ``size``, as few and as equal as possible."""
        parts = -(-self.samples // size)
        edges = [self.samples * part // parts for part in range(parts + 1)] if parts else []
        for first, end in itertools.pairwise(edges):
            yield slice(first, end)

    def result(
        self,
        engine: str,
        ledger: Ledger,
        seconds: float | None = None,
        weights: Mapping[str, Array] | None = None,
    ) -> Result:
        """The result, once everything is filled.

        Args:
            engine: Name of the engine.
            ledger: What was counted.
            seconds: Time of the run; by default since this object was made.
            weights: Of a plastic network: what it has learned.
        """
        return Result(
            logits=np.einsum("ntk,t->nk", self.step_logits, self.network.readout.weights),
            step_logits=self.step_logits,
            scale=self.network.readout.scale,
            ledger=ledger,
            seconds=time.perf_counter() - self._start if seconds is None else seconds,
            engine=engine,
            labels=self.labels,
            records=self.records,
            weights=weights or {},
        )


def check_positive(**settings: int | None) -> None:
    """Refuse settings of an engine below 1; None is the engine's own choice.

    Raises:
        InvalidSettingError: One of them is.
    """
    for setting, value in settings.items():
        if value is not None and value < 1:
            raise InvalidSettingError(
                setting,
                got=str(value),
                expected="at least 1",
                fix="Choose what the machine has; results do not depend on it.",
            )


def check_saturations(network: Network, counts: Mapping[str, Array]) -> None:
    """Raise for the first saturation of a batch, by time step and then in the network's order.

    Args:
        network: What was run.
        counts: By population, (T,): state values that left their range.

    Raises:
        SaturationError: There is one.
    """
    for t in range(network.steps):
        for name in network.order:
            if counts[name][t]:
                raise SaturationError.at(name, t, int(counts[name][t]))


def checked_labels(network: Network, labels: Array | None, samples: int) -> Array | None:
    """Labels as int64, or InvalidDataError."""
    return None if labels is None else network.readout.checked_labels(labels, samples)


def checked_recording(network: Network, record: Recording) -> dict[str, tuple[str, ...]]:
    """Population name to traces, or InvalidDataError."""
    if record is None:
        return {}
    if record == "all":
        return dict.fromkeys(network.populations, TRACES)
    wanted = {}
    for name, traces in record.items():
        unknown = [trace for trace in traces if trace not in TRACES]
        if name not in network.populations or unknown:
            raise InvalidDataError(
                f"recording of {name!r}",
                got=f"traces {', '.join(traces)}",
                expected=f"traces of {', '.join(TRACES)} and a population of "
                + ", ".join(network.populations),
                fix="Correct the name.",
            )
        wanted[name] = tuple(trace for trace in TRACES if trace in traces)
    return wanted
