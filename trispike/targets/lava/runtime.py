"""Lava's runtime, with a beginning and an end that can be relied on.

Lava's own runtime hangs where a child dies, and ``stop()`` deadlocks after an exception. Here
every wait has a deadline and watches the children, every exception of a child comes back with its
traceback, and the end is the same whatever happened: the processes that were started are killed
and reaped, one by one and by their process id.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

import threadpoolctl

from trispike.errors import EngineError, EngineTimeoutError
from trispike.targets.lava.imports import (
    MGMT_RESPONSE,
    AbstractProcess,
    ActorType,
    Compiler,
    MultiProcessing,
    ProcessServer,
    RunConfig,
    Runtime,
    SystemProcess,
    enum_equal,
    enum_to_np,
    require_fork,
)
from trispike.targets.lava.memory import AnonymousMemory

CHANNEL_SIZE = 2
"""Messages that a channel holds. All processes keep step, so at most one is under way."""

START_SECONDS = 120.0
"""How long starting the processes may take."""

READY = "ready"
"""Report of a process that has been built."""

EXPLAIN_SECONDS = 2.0
"""How long a failure waits for a child that knows its reason."""

POLL_SECONDS = 0.01
"""How often a wait looks whether Lava has answered; the death of a child ends it at once."""


class Actor(SystemProcess):
    """One OS process of Lava, which reports how it ended."""

    def __init__(
        self, name: str, build: Callable[[], Any], blas: threadpoolctl.ThreadpoolController
    ) -> None:
        super().__init__(name=f"lava-{name}", daemon=True)
        self.label = name
        """Name of the Lava process."""
        self._build = build
        self._blas = blas
        self.reports, self._reports_out = Pipe(duplex=False)
        """Receives :data:`READY` once, and a traceback if an exception ends the process."""

    def start(self) -> None:
        """Fork."""
        super().start()
        # The parent's copy, without which the end of the child closes the pipe.
        self._reports_out.close()

    def run(self) -> None:
        """What the child does."""
        try:
            _become_child(self._parent_pid)
            # As many processes as populations already share the cores.
            self._blas.limit(limits=1)
            actor = self._build()
            self._reports_out.send(READY)
            actor.start()
        except BaseException:  # noqa: BLE001 - whatever it was, the parent has to know it
            self._reports_out.send(traceback.format_exc())

    def kill_now(self) -> None:
        """Kill, if it was started; the pid cannot have been reused, as nobody else reaps it."""
        if not self._closed and self.pid is not None:
            self.kill()

    def end(self) -> None:
        """Kill and reap."""
        self.kill_now()
        if not self._closed and self.pid is not None:
            # Not SystemProcess.join, which waits for a message that a killed child never sent.
            super(SystemProcess, self).join()
            super(SystemProcess, self).close()
        for end in (self.reports, self._reports_out, self._pconn, self._cconn):
            end.close()


@contextlib.contextmanager
def _interrupt_later() -> Iterator[None]:
    """Hold Ctrl-C back until the end of a block that must not be left half done."""
    previous = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(previous):
        yield  # no KeyboardInterrupt is raised here
        return
    received: list[Any] = []
    signal.signal(signal.SIGINT, lambda *details: received.append(details))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
        if received:
            previous(*received[0])


def _become_child(parent: int) -> None:
    # Ctrl-C is the parent's to handle; it kills the children.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Whatever Lava prints belongs on stderr, if there is one.
    with contextlib.suppress(OSError):
        os.dup2(2, 1)
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()


def _die_with(parent: int) -> None:
    """End this process when the parent has gone without a chance to clean up."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


class _Infrastructure(MultiProcessing):
    """Starts :class:`Actor` processes, with channels in anonymous memory."""

    def __init__(self) -> None:
        super().__init__()
        # Once for all children, because it looks through all libraries of the process.
        self._blas = threadpoolctl.ThreadpoolController().select(user_api="blas")

    def start(self) -> None:
        """Nothing: Lava would start a server process for named shared memory."""

    def stop(self) -> None:
        """Kill and reap all actors."""
        for actor in self._actors:
            actor.kill_now()
        for actor in self._actors:
            actor.end()
        self._actors.clear()

    @property
    def smm(self) -> _Infrastructure:
        """What channels ask for memory."""
        return self

    def create_shared_memory(self, size: int) -> AnonymousMemory:
        """Memory of a channel."""
        return AnonymousMemory(size)

    def add_actor(self, name: str, build: Callable[[], Any]) -> None:
        """Fork a process that builds something and starts it."""
        actor = Actor(name, build, self._blas)
        with _interrupt_later():
            self._actors.append(actor)
            actor.start()


class _Runtime(Runtime):
    """Builds what Lava has compiled; knows no run conditions and no stop."""

    def build(self) -> None:
        """Channels and processes, in Lava's order."""
        executable = self._executable
        self._build_watchdog_manager()
        self._messaging_infrastructure = _Infrastructure()
        self._build_channels()
        self._build_sync_channels()
        for process, builder in executable.proc_builders.items():
            self._messaging_infrastructure.add_actor(process.name, builder.build)
        for domain, builder in executable.runtime_service_builders.items():
            self._messaging_infrastructure.add_actor(f"service of {domain.name}", builder.build)
        self._start_ports()

    @property
    def actors(self) -> list[Actor]:
        """The processes that were started."""
        infrastructure = self._messaging_infrastructure
        return infrastructure.actors if infrastructure else []

    def end(self) -> None:
        """Kill all processes, end the threads of the ports. May be called again."""
        with _interrupt_later():
            if self._messaging_infrastructure:
                self._messaging_infrastructure.stop()
            self.join()


class LavaRun:
    """A compiled network of Lava processes, running.

    Args:
        process: Any of the connected processes.
        run_config: Selects the process models.
        seconds: Limit for compiling and starting.

    Raises:
        EngineError: A process failed to start.
        EngineTimeoutError: The processes were not ready in time.
    """

    def __init__(
        self, process: AbstractProcess, run_config: RunConfig, *, seconds: float = START_SECONDS
    ) -> None:
        require_fork()
        deadline = time.monotonic() + seconds
        with quiet_lava():
            executable = Compiler({"pypy_channel_size": CHANNEL_SIZE}).compile(process, run_config)
        self._runtime = _Runtime(executable, ActorType.MultiProcessing)
        self._processes = list(executable.process_list)
        # For those who forget to close.
        self._end = weakref.finalize(self, _end, self._runtime, self._processes, os.getpid())
        try:
            with quiet_lava():
                self._runtime.build()
            waiting = {actor.label for actor in self._runtime.actors}
            while waiting:
                self._check_time(deadline, "start " + ", ".join(sorted(waiting)))
                waiting -= self._watch()
        except BaseException:
            self.close()
            raise

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name of the Lava process; empty once it is closed."""
        return {actor.label: int(actor.pid or 0) for actor in self._runtime.actors}

    def steps(
        self, count: int, *, deadline: float | None = None, watch: Callable[[], None] | None = None
    ) -> None:
        """Run so many chip steps, and return when all processes have finished them.

        Args:
            count: Number of chip steps.
            deadline: Limit, as a time of ``time.monotonic``.
            watch: Called again and again meanwhile; may raise to give up.

        Raises:
            EngineError: A process raised an exception or was killed.
            EngineTimeoutError: The deadline has passed.
        """
        if not self._end.alive:
            raise EngineError(
                "Lava session",
                got="a run after its end",
                expected="a session that is open",
                fix="Open a new session; one ends with its context, and with the first error.",
            )
        try:
            for port in self._runtime.runtime_to_service:
                port.send(enum_to_np(count))
            waiting = list(self._runtime.service_to_runtime)
            while waiting:
                self._watch()
                if watch:
                    watch()
                for port in [port for port in waiting if port.probe()]:
                    answer = port.recv()
                    if enum_equal(answer, MGMT_RESPONSE.DONE):
                        waiting.remove(port)
                    else:
                        self._await_report(answer)
                self._check_time(deadline, f"run {count} chip steps")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End all processes; does nothing the second time."""
        if self._end.alive:
            _end(self._runtime, self._processes, os.getpid())
            # Only now: had it been interrupted, it would have to be done again.
            self._end.detach()

    def _watch(self) -> set[str]:
        """Look after the children for a moment.

        Returns:
            Names of those that reported to be ready.
        """
        actors = self._runtime.actors
        by_handle: dict[Any, Actor] = {actor.reports: actor for actor in actors}
        by_handle |= {actor.sentinel: actor for actor in actors}
        happened = {by_handle[handle] for handle in wait(list(by_handle), POLL_SECONDS)}
        ready = set()
        gone = []
        for actor in happened:
            # In this order, because the report is the last thing that a child does.
            alive = actor.is_alive()
            report = _report(actor.reports)
            if report == READY:
                ready.add(actor.label)
            elif report:
                raise _failure(actor, report)
            elif not alive:
                gone.append(actor)
        if gone:
            self._explain(gone[0])
        return ready

    def _explain(self, gone: Actor) -> None:
        """Raise the reason why a child has gone without a report.

        When one fails, Lava ends the others, which may be faster than the one that knows why.
        """
        until = time.monotonic() + EXPLAIN_SECONDS
        silent = {gone.label}
        while (gone.exitcode or 0) >= 0 and time.monotonic() < until:
            others = [actor for actor in self._runtime.actors if actor.label not in silent]
            if not others:
                break
            for actor in [a for a in others if a.reports in wait([a.reports for a in others], 0.1)]:
                report = _report(actor.reports)
                if report and report != READY:
                    raise _failure(actor, report)
                silent.add(actor.label)
        raise _failure(gone, "")

    def _await_report(self, answer: Any) -> None:
        """Lava has noticed an error: wait for the child that knows more."""
        until = time.monotonic() + EXPLAIN_SECONDS
        while time.monotonic() < until:
            self._watch()
        raise EngineError(
            "Lava runtime service",
            got=f"the answer {answer}",
            expected="the end of the run",
            fix="Look at what Lava wrote to stderr.",
        )

    def _check_time(self, deadline: float | None, what: str) -> None:
        if deadline is not None and time.monotonic() > deadline:
            raise EngineTimeoutError(
                "Lava session",
                got="no end within the wall-clock limit",
                expected=f"time enough to {what}",
                fix="Give a longer timeout, or fewer samples.",
            )


def _report(reports: Connection) -> str:
    try:
        return str(reports.recv()) if reports.poll() else ""
    except EOFError:
        return ""


def _failure(actor: Actor, report: str) -> EngineError:
    if report:
        return EngineError(
            f"Lava process {actor.label!r}",
            got="an exception: " + report.strip().splitlines()[-1],
            expected="a process that lives until the session ends",
            fix="Its traceback:\n" + report.strip(),
        )
    actor_end = actor.exitcode
    got = f"exit code {actor_end}"
    if actor_end is not None and actor_end < 0:
        got = f"death by signal {-actor_end} ({signal.Signals(-actor_end).name})"
    return EngineError(
        f"Lava process {actor.label!r}",
        got=got,
        expected="a process that lives until the session ends",
        fix="If nobody killed it, the machine may have run out of memory: use fewer samples at "
        "a time, or record fewer populations.",
    )


def _end(runtime: _Runtime, processes: list[Any], owner: int) -> None:
    if os.getpid() != owner:  # a child that was forked while the session was open
        return
    runtime.end()
    # Lava keeps every process that was ever made in a global list, and its memory with it.
    server = ProcessServer()
    server.processes = [process for process in server.processes if process not in processes]


@contextlib.contextmanager
def quiet_lava() -> Iterator[None]:
    """Undo what Lava does to loggers, and keep its warnings from the user.

    It adds handlers to the root logger and to its own, and uses networkx in ways that warn. Python
    >= 3.12 warns of forks in a process with threads, such as those of BLAS, which no child uses.
    """
    loggers = [logging.getLogger(), logging.getLogger("lava.magma.compiler.compiler")]
    before = [list(logger.handlers) for logger in loggers]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, handlers in zip(loggers, before, strict=True):
            logger.handlers[:] = handlers
