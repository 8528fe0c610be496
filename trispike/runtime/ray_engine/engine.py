"""The driver's side: cut the data into shards, have them run, put the parts together."""

from __future__ import annotations

import contextlib
import functools
import inspect
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from trispike.errors import EngineError, InvalidSettingError, TrispikeError
from trispike.network import Network
from trispike.network.learning import refuse_plastic
from trispike.runtime.engine import Array, Progress, Recording, Result, Run, check_positive
from trispike.runtime.ledger import Ledger, LedgerCounter
from trispike.runtime.local_engines import LOCAL_ENGINES, default_engine
from trispike.runtime.ray_engine.session import check_ray, session
from trispike.runtime.ray_engine.worker import INPUT, PART, SAMPLE, Job, Part, Worker
from trispike.runtime.sample_counts import SampleCounter

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.data import Dataset

SHARDS_PER_WORKER = 8
"""At least so many, if there are enough samples: the last ones to finish keep others waiting."""

SHARD_SAMPLES = 256
"""At most so many samples in a shard, unless the caller says otherwise."""

SHARD_BYTES = 64 << 20
"""At most so many bytes of data, or of logits and recordings, in such a shard."""

WINDOW_BYTES = 256 << 20
"""Data that are in Ray's object store at a time; what has not arrived there waits here."""

WORKER_RESTARTS = 8
"""How often one worker may be lost; its shards are run again each time. Attempts are not counted by
shard, because many fail while Ray has not yet noticed that a node is gone."""


class RayEngine:
    """Runs a network on the workers of a Ray cluster, shard by shard, in another engine.

    An integer network gives the integers of the inner engine in one process, whatever the number
    of workers, the size of the shards, and the workers that are lost on the way. In a float
    network the inner engine may add in another order in a shard of another size.

    Args:
        network: What the inner engine can run.
        inner: Name of the engine that runs in every worker, one of those that run in the process
            that calls them; None: the fast one where it is installed, else the reference.
        workers: Worker processes, with one CPU each; None: one per CPU.
        shard_size: Samples that a worker gets at a time; None: by the size of the data.
        address: ``HOST:PORT`` or ``auto`` for a cluster; None: a session that this program has
            begun already, or what ``RAY_ADDRESS`` says, or else processes on this machine that
            live as long as the run.
        strict: Raise at a state that leaves its range, instead of clipping and counting.
        options: Passed to the inner engine. It gets one thread, if it can be told.

    Raises:
        InvalidSettingError: An unknown inner engine, or a number below 1.
        UnsupportedError: The inner engine cannot run this network.
        MissingDependencyError: Ray, or a package of the inner engine, is not installed.
    """

    name = "ray"

    def __init__(
        self,
        network: Network,
        *,
        inner: str | None = None,
        workers: int | None = None,
        shard_size: int | None = None,
        address: str | None = None,
        strict: bool = False,
        **options: Any,
    ) -> None:
        check_positive(workers=workers, shard_size=shard_size)
        # Weights that one sample hands on to the next cannot go by way of several workers.
        refuse_plastic(network, "ray engine")
        inner = inner or default_engine()
        if inner not in LOCAL_ENGINES:
            raise InvalidSettingError(
                f"inner engine {inner!r}",
                got="no engine that runs in the process that calls it",
                expected="one of " + ", ".join(LOCAL_ENGINES),
                fix="Choose one of these.",
            )
        check_ray()
        self.network = network
        self.workers = workers
        self.shard_size = shard_size
        self.address = address
        self._inner = LOCAL_ENGINES[inner]
        self._options = {"strict": strict, **options}
        if "threads" in inspect.signature(self._inner).parameters:
            self._options.setdefault("threads", 1)
        self._inner(network, **self._options)  # what it refuses is refused here

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

        The result's ``seconds`` count from when Ray is connected; starting the workers is in them.

        Raises:
            InvalidDataError: Data, labels or recording do not fit the network.
            InvalidSettingError: More workers than the cluster has CPUs, or an address that is none.
            SaturationError: A state left its range, in strict mode.
            EngineError: No cluster at the address, or workers were lost again and again.
        """
        inputs = np.asarray(inputs)
        run = Run(self.network, inputs, labels, record)
        reduction = _Reduction(run, per_sample)
        seconds = 0.0
        if run.samples:
            with session(self.address, self.workers):
                start = time.perf_counter()
                for part in self._parts(inputs, run, per_sample):
                    added = reduction.add(part)
                    if progress and added:
                        progress(added)
                seconds = time.perf_counter() - start
        return run.result(self.name, reduction.ledger(), seconds)

    def _parts(self, inputs: Array, run: Run, per_sample: bool) -> Iterator[Part]:
        """The parts of all shards, in the order in which they are finished."""
        import ray  # noqa: PLC0415 - optional

        workers = self._checked_workers()
        job = ray.put(
            Job.of(
                self.network,
                inner=self._inner,
                options=self._options,
                record=run.wanted or None,
                per_sample=per_sample,
            )
        )
        size = self.shard_size or _shard_size(inputs, run, workers)
        window = max(1, WINDOW_BYTES // (size * _bytes_per_sample(inputs))) * size
        for first in range(0, run.samples, window):
            shards = [
                (start, inputs[start : min(start + size, first + window)])
                for start in range(first, min(first + window, run.samples), size)
            ]
            yield from _outcomes(_dataset(shards, job, min(workers, len(shards))))

    def _checked_workers(self) -> int:
        import ray  # noqa: PLC0415 - optional

        cpus = int(ray.cluster_resources().get("CPU", 0))
        if (self.workers or 1) > cpus:
            raise InvalidSettingError(
                "workers",
                got=str(self.workers or 1),
                expected=f"at most {cpus}, the CPUs of the cluster",
                fix="Ask for fewer, or add nodes before.",
            )
        return self.workers or cpus


class _Reduction:
    """Parts put together, each once, whatever their order."""

    def __init__(self, run: Run, per_sample: bool) -> None:
        self._run = run
        self._per_sample = per_sample
        self._ledgers: dict[int, Ledger] = {}

    def add(self, part: Part) -> int:
        """Take a part in; the number of its samples, or 0 if it is known already."""
        first = int(part.samples[0])
        if first in self._ledgers:
            return 0
        self._run.step_logits[part.samples] = part.step_logits
        for name, traces in part.records.items():
            for trace, values in traces.items():
                self._run.records[name][trace][part.samples] = values
        self._ledgers[first] = part.ledger
        return len(part.samples)

    def ledger(self) -> Ledger:
        """The sum of all ledgers.

        Raises:
            EngineError: Samples are missing.
        """
        network = self._run.network
        nobody = SampleCounter(network, 0) if self._per_sample else None
        total = LedgerCounter(network, nobody).ledger()
        for first in sorted(self._ledgers):
            total = total.merged(self._ledgers[first])
        if total.samples != self._run.samples:
            raise EngineError(
                "ray engine",
                got=f"{total.samples} samples",
                expected=str(self._run.samples),
                fix="Report this, with the version of Ray.",
            )
        return total


def _dataset(shards: list[tuple[int, Array]], job: ObjectRef, workers: int) -> Dataset:
    """Shards, each a block, and what is to be done with them."""
    import ray.data  # noqa: PLC0415 - optional
    from ray.data.block import BlockAccessor  # noqa: PLC0415 - optional

    blocks = [
        BlockAccessor.batch_to_block({SAMPLE: np.arange(start, start + len(x)), INPUT: _native(x)})
        for start, x in shards
    ]
    return ray.data.from_blocks(blocks).map_batches(
        Worker,
        fn_constructor_args=(functools.partial(ray.get, job),),
        batch_size=None,  # a whole block
        zero_copy_batch=True,
        # Idle workers give their CPU back at the end, for those whose node was lost.
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers),
        num_cpus=1,
        max_restarts=WORKER_RESTARTS,
        max_task_retries=-1,
    )


def _outcomes(dataset: Dataset) -> Iterator[Part]:
    """What the workers return, as they do."""
    import ray  # noqa: PLC0415 - optional

    context = ray.data.DataContext.get_current()
    bars, context.enable_progress_bars = context.enable_progress_bars, False
    batches = iter(dataset.iter_batches(batch_size=None, prefetch_batches=1))
    try:
        for batch in batches:
            for outcome in batch[PART]:
                if isinstance(outcome, TrispikeError):
                    raise outcome
                yield outcome
    except (ray.exceptions.RayError, ray.data.exceptions.SystemException) as error:
        raise _lost(error) from error
    finally:
        context.enable_progress_bars = bars
        with contextlib.suppress(AttributeError):
            batches.close()


def _lost(error: Exception) -> EngineError:
    lines = str(error).strip().splitlines() or ["no message"]
    return EngineError(
        "ray engine",
        got=f"{type(error).__name__}: {lines[0]}",
        expected=f"workers that are lost at most {WORKER_RESTARTS} times each",
        fix="If memory is short, choose a smaller shard_size or fewer workers. Workers need "
        "trispike on their nodes.",
    )


def _native(x: Array) -> Array:
    """In the byte order of this machine, which is what Arrow takes."""
    return np.ascontiguousarray(x, dtype=x.dtype.newbyteorder("="))


def _bytes_per_sample(inputs: Array) -> int:
    return max(1, inputs.nbytes // len(inputs))


def _shard_size(inputs: Array, run: Run, workers: int) -> int:
    """Samples of a shard: small enough for memory and for all workers to have work to the end."""
    results = run.step_logits.nbytes + sum(
        array.nbytes for traces in run.records.values() for array in traces.values()
    )
    heaviest = max(_bytes_per_sample(inputs), results // run.samples)
    fair = -(-run.samples // (SHARDS_PER_WORKER * workers))
    return max(1, min(SHARD_SAMPLES, fair, SHARD_BYTES // heaviest))
