"""What runs in a worker process of Ray: one loaded network, one shard at a time.

A shard is a function of its samples alone, so that running it again, after a worker was lost,
gives the same part. Errors come back as values: Ray would wrap them in pages of advice.
"""

from __future__ import annotations

import importlib.metadata
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from trispike.errors import EngineError, TrispikeError
from trispike.network import Network, digest
from trispike.network.storage import Arrays, Header, from_arrays, to_arrays
from trispike.runtime.engine import Array, Engine, Recording
from trispike.runtime.ledger import Ledger


def _version() -> str:
    return importlib.metadata.version("trispike")


SAMPLE, INPUT, PART = "sample", "x", "part"
"""Columns of the blocks that travel: numbers of samples and their data, and what came of them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """What every worker needs to know; sent once."""

    header: Header
    """With ``arrays``: the network in the form of its file."""
    arrays: Arrays
    sha256: str
    """Digest of the network."""
    inner: Callable[..., Engine]
    """Builds the engine that runs in the worker."""
    options: Mapping[str, Any]
    """Passed to it."""
    record: Recording
    """Which traces to keep."""
    per_sample: bool
    """Whether to count what happens in every single sample."""
    version: str = field(default_factory=_version)
    """Of trispike, on the driver."""

    @classmethod
    def of(cls, network: Network, **others: Any) -> Job:
        """The job of running a network; ``others`` are the fields that do not describe it."""
        header, arrays = to_arrays(network)
        return cls(header=header, arrays=arrays, sha256=digest(network), **others)

    def engine(self) -> Engine:
        """The inner engine with its network, as the worker has it.

        Raises:
            EngineError: The worker has another trispike, or got another network.
        """
        if _version() != self.version:
            raise EngineError(
                "Ray worker",
                got=f"trispike {_version()}",
                expected=f"trispike {self.version}, as on the driver",
                fix="Install the same version on all nodes of the cluster.",
            )
        network = from_arrays(self.header, self.arrays)
        if digest(network) != self.sha256:
            raise EngineError(
                "network of a Ray worker",
                got=f"sha256 {digest(network)}",
                expected=self.sha256,
                fix="It was damaged on its way; report this with the network.",
            )
        return self.inner(network, **self.options)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """What came of one shard of n samples."""

    samples: npt.NDArray[np.int64]
    """(n,): which samples of the data set they are."""
    step_logits: Array
    """(n, T, K)."""
    ledger: Ledger
    """Their events."""
    records: Mapping[str, Mapping[str, Array]]
    """``records[population][trace]``: (n, T, *shape)."""


class Worker:
    """Runs shards; Ray Data keeps one of these per worker process.

    Args:
        fetch: Gives the job when it is called.
    """

    def __init__(self, fetch: Callable[[], Job]) -> None:
        self._job = fetch()
        self._engine: Engine | None = None

    def __call__(self, block: Mapping[str, Array]) -> dict[str, Array]:
        """A block with the shard's :class:`Part`, or the error that prevented it."""
        outcome = np.empty(1, dtype=object)
        try:
            outcome[0] = self._part(block[SAMPLE], block[INPUT])
        except TrispikeError as error:
            outcome[0] = error
        except Exception as error:  # noqa: BLE001 - a defect, or too little memory
            outcome[0] = _failed(error)
        return {PART: outcome}

    def _part(self, samples: Array, inputs: Array) -> Part:
        if self._engine is None:
            self._engine = self._job.engine()
        result = self._engine.run(inputs, record=self._job.record, per_sample=self._job.per_sample)
        return Part(
            samples=np.array(samples, dtype=np.int64),
            step_logits=result.step_logits,
            ledger=result.ledger,
            records=result.records,
        )


def _failed(error: Exception) -> EngineError:
    """An error that needs nothing of the worker to be understood, or unpickled."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return EngineError(
        "Ray worker",
        got=f"{type(error).__name__}: {error} ({last.filename}, line {last.lineno})",
        expected="a shard that it can run",
        fix="If memory is short, choose a smaller shard_size or fewer workers; else try the inner "
        "engine without Ray, and report this.",
    )
