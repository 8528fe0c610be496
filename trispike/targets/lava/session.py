"""A session: a network as running Lava processes, through which samples are streamed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.errors import (
    EngineTimeoutError,
    InvalidDataError,
    SaturationError,
    UnsupportedError,
)
from trispike.network import IntegerNetwork
from trispike.network.learning import Keep, check_keep
from trispike.network.network import PAYLOAD_LIMIT
from trispike.targets.lava.imports import Loihi2SimCfg
from trispike.targets.lava.processes.pipeline import (
    InputProcess,
    PopulationModel,
    PopulationProcess,
    ReadoutModel,
    ReadoutProcess,
    with_ports,
)
from trispike.targets.lava.program import (
    Clock,
    Counter,
    InputProgram,
    PopulationProgram,
    ReadoutProgram,
)
from trispike.targets.lava.runtime import START_SECONDS, LavaRun, quiet_lava
from trispike.targets.lava.schedule import schedule

Array: TypeAlias = npt.NDArray[Any]

STALL_SECONDS = 120.0
"""A session gives up when no process has finished a chip step for so long."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Stream:
    """What a stretch of samples yielded; arrays are copies."""

    step_logits: Array
    """(n, T, classes), int64."""
    records: Mapping[str, Mapping[str, Array]]
    """records[population][trace]: (n, T, *shape)."""
    weights: Mapping[str, Array]
    """By label of a plastic connection, int32 in units of 2**-fine_bits of its rule: (outputs,
    inputs) after the last sample, or (n, ...) or (n, T, ...) as the session was told."""


class PipelineConfig(Loihi2SimCfg):
    """Selects the model of a pipeline process by its number of ports, others as Lava does."""

    def select(self, process: Any, proc_models: list[Any]) -> Any:
        """The model of a process."""
        for kind, model in ((PopulationProcess, PopulationModel), (ReadoutProcess, ReadoutModel)):
            if isinstance(process, kind):
                return with_ports(model, len(process.s_in))
        return super().select(process, proc_models)


class LavaSession:
    """Runs an integer network as Lava processes, for as long as the context lasts.

    Args:
        network: The network.
        capacity: Samples that fit into one run of the chip; more are streamed in several runs.
        record: Population name to traces ("s", "i", "c", "v").
        counter: Counts the events; its arrays must be shared memory.
        timeout: Wall-clock limit in seconds, from the start of the session; None: none.
        strict: Raise as soon as a state has left its range.
        weights: Which learned weights a stream returns, if the network is plastic. Where a rule
            keeps weights, they go on from one stream of the session to the next.

    Raises:
        UnsupportedError: The network has a loop that is too fast for a pipeline, or consists of
            parts that are not connected.
    """

    def __init__(
        self,
        network: IntegerNetwork,
        *,
        capacity: int,
        record: Mapping[str, Sequence[str]] | None = None,
        counter: Counter | None = None,
        timeout: float | None = None,
        strict: bool = False,
        weights: Keep = "last",
    ) -> None:
        check_network(network)
        check_keep(weights)
        self.network = network
        self.capacity = capacity
        self.timeout = timeout
        self.strict = strict
        self.weights: Keep = weights
        self.schedule = schedule(network)
        names = [network.input.name, *network.order, network.readout.name]
        self._clock = Clock(self.schedule, names)
        self._input = InputProgram(network, self._clock, capacity)
        self._populations = {
            name: PopulationProgram(
                network,
                name,
                self.schedule,
                self._clock,
                capacity=capacity,
                record=(record or {}).get(name, ()),
                counter=counter,
                weights=weights,
            )
            for name in network.order
        }
        self._readout = ReadoutProgram(
            network, self.schedule, self._clock, capacity=capacity, counter=counter
        )
        self._run: LavaRun | None = None
        self._deadline: float | None = None

    def __enter__(self) -> LavaSession:
        """Compile and start the processes."""
        seconds = START_SECONDS
        if self.timeout is not None:
            self._deadline = time.monotonic() + self.timeout
            seconds = min(seconds, self.timeout)
        with quiet_lava():
            process = self._wire()
        self._run = LavaRun(process, PipelineConfig(select_tag="fixed_pt"), seconds=seconds)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End them."""
        if self._run:
            self._run.close()

    @property
    def pids(self) -> dict[str, int]:
        """Ids of the running processes, by name."""
        return self._run.pids if self._run else {}

    def stream(self, inputs: Array, progress: Callable[[int], None] | None = None) -> Stream:
        """Pass samples through the pipeline, back to back, at most ``capacity`` of them.

        Args:
            inputs: What ``network.input.encode`` returned.
            progress: Called with the number of samples finished since the last call.

        Raises:
            InvalidDataError: Too many samples, another shape, or values that are no graded spikes.
            EngineError: A process failed.
            EngineTimeoutError: Over the limit, or nothing has moved for two minutes.
            SaturationError: A state left its range, in strict mode.
        """
        assert self._run is not None, "a session is used as a context manager"
        self._check_inputs(inputs)
        samples = len(inputs)
        self._input.data[:samples] = inputs
        for program in self._populations.values():
            program.saturated[:] = 0
        watch = _Watch(self, samples, progress)
        self._run.steps(self._clock.begin(samples), deadline=self._deadline, watch=watch)
        watch.end()
        return Stream(
            step_logits=self._readout.step_logits[:samples].copy(),
            records={
                name: {
                    trace: array[:samples].astype(np.int8 if trace == "s" else np.int64)
                    for trace, array in program.records.items()
                }
                for name, program in self._populations.items()
                if program.records
            },
            weights={
                label: (array if self.weights == "last" else array[:samples]).copy()
                for program in self._populations.values()
                for label, array in program.weights.items()
            },
        )

    def check_saturation(self, finished: int) -> None:
        """Raise SaturationError for the first one among the samples that are finished."""
        found = [
            (*program.saturated.tolist(), name)
            for name, program in self._populations.items()
            if program.saturated[2]
        ]
        if not found or not self.strict:
            return
        # Populations run side by side, so the one that comes first in the network's own time is
        # known only when the sample has passed through all of them.
        sample, t, count, name = min(found, key=lambda entry: entry[:2])
        if sample < finished:
            raise SaturationError.at(name, t, count)

    def finished(self, samples: int) -> tuple[int, int]:
        """Samples that have left the pipeline, and chip steps of all processes together."""
        steps = self._clock.finished()
        since = min(steps.values()) - self._clock.start - max(self.schedule.depth.values())
        return min(max(0, since // self.network.steps), samples), sum(steps.values())

    def _check_inputs(self, inputs: Array) -> None:
        """Refuse what would not fit the shared memory, where NumPy would wrap around."""
        expected = self._input.data.shape
        if inputs.shape[1:] != expected[1:] or len(inputs) > expected[0]:
            raise InvalidDataError(
                "Lava session",
                got=f"inputs of shape {inputs.shape}",
                expected=f"at most {expected[0]} samples of shape {expected[1:]}",
                fix="Open a session with a larger capacity, or stream fewer samples at a time.",
            )
        whole = inputs.dtype.kind in "iu"
        low, high = (int(inputs.min(initial=0)), int(inputs.max(initial=0))) if whole else (0, 0)
        if not whole or max(-low, high) > PAYLOAD_LIMIT:
            raise InvalidDataError(
                "Lava session",
                got=f"inputs in {low}..{high}" if whole else f"inputs of {inputs.dtype}",
                expected=f"integers in -{PAYLOAD_LIMIT}..{PAYLOAD_LIMIT}",
                fix="Pass what network.input.encode returns.",
            )

    def _wire(self) -> ReadoutProcess:
        """Processes and channels, from the programs."""
        shape_of = self.network.shape_of
        made: dict[str, Any] = {self._input.name: InputProcess(self._input)}
        for name, program in self._populations.items():
            made[name] = PopulationProcess(program, [shape_of(s) for s in program.sources])
        readout = ReadoutProcess(self._readout, [shape_of(s) for s in self._readout.sources])
        for process, sources in [
            *((made[name], program.sources) for name, program in self._populations.items()),
            (readout, self._readout.sources),
        ]:
            for source, port in zip(sources, process.s_in, strict=True):
                made[source].s_out.connect(port)
        return readout


class _Watch:
    """Called while the chip runs: reports progress, and gives up when nothing moves."""

    def __init__(
        self, session: LavaSession, samples: int, progress: Callable[[int], None] | None
    ) -> None:
        self._session = session
        self._samples = samples
        self._progress = progress
        self._reported = 0
        self._moved = (-1, time.monotonic())

    def __call__(self) -> None:
        finished, steps = self._session.finished(self._samples)
        self._report(finished)
        if steps != self._moved[0]:
            self._moved = (steps, time.monotonic())
        elif time.monotonic() - self._moved[1] > STALL_SECONDS:
            raise EngineTimeoutError(
                "Lava session",
                got=f"no chip step for {STALL_SECONDS:.0f} seconds",
                expected="processes that keep running",
                fix="Look at what Lava wrote to stderr.",
            )

    def end(self) -> None:
        """Report what is left."""
        self._report(self._samples)

    def _report(self, finished: int) -> None:
        self._session.check_saturation(finished)
        if self._progress and finished > self._reported:
            self._progress(finished - self._reported)
        self._reported = finished


def check_network(network: IntegerNetwork) -> None:
    """Refuse what the pipeline cannot run.

    Raises:
        UnsupportedError: A loop is too fast, or a part is not connected with the readout.
    """
    schedule(network)
    # Lava finds processes by following channels, so all must hang together.
    reached: set[str] = set()
    more = {network.readout.name}
    while more - reached:
        reached |= more
        for connection in network.all_connections:
            ends = {*connection.sources, connection.target}
            more |= ends if ends & reached else set()
    lost = [name for name in network.order if name not in reached]
    if lost:
        raise UnsupportedError(
            "Lava target",
            got="populations without any path to the readout: " + ", ".join(lost),
            expected="a network in one piece",
            fix="Remove them from the network.",
        )
