"""A session always ends: with the right error, within ten seconds, and nothing is left of it.

The ten seconds begin with what ends the session: a machine may take long to start one.
"""

import contextlib
import faulthandler
import gc
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.networks import sample_inputs, saturation
from trispike.errors import (
    EngineError,
    EngineTimeoutError,
    InvalidDataError,
    SaturationError,
)

pytest.importorskip("trispike.targets.lava.imports", reason="Lava is not installed")

from tests.targets.lava.leftovers import (
    Belongings,
    alive,
    children_of,
    nothing_left,
    opened,
    wait_until,
)
from trispike.runtime.reference import ReferenceEngine
from trispike.targets.lava import session as session_module
from trispike.targets.lava.memory import shared_zeros
from trispike.targets.lava.processes.pipeline import PopulationModel, with_ports
from trispike.targets.lava.program import PopulationProgram
from trispike.targets.lava.runtime import Actor
from trispike.targets.lava.session import LavaSession

ROOT = Path(__file__).parents[3]
TEN_SECONDS = 10.0
MANY = 3000
"""Samples that are still under way when something happens after the first ones."""


@pytest.fixture(autouse=True)
def leaves_nothing():
    with nothing_left():
        yield


@pytest.fixture(autouse=True)
def as_in_a_terminal():
    """Ctrl-C does what it does in a terminal; what a shell starts with & ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Event:
    """What ends a session, and when."""

    def __init__(self) -> None:
        self._time = shared_zeros(1, np.float64)
        self._pids: tuple[int, ...] = ()
        self._before = set(children_of(os.getpid()))

    @contextlib.contextmanager
    def of(self, session: LavaSession) -> Iterator[None]:
        """Enter a session, and know its processes."""
        with session:
            self._pids = tuple(session.pids.values())
            assert all(alive(pid) for pid in self._pids)
            yield

    def happens(self, *, later: float = 0.0) -> None:
        """Start the clock; also from a child."""
        self._time[0] = time.monotonic() + later

    def assert_over(self) -> None:
        """Not more than ten seconds have passed, and none of the processes is left."""
        assert self._time[0]
        assert time.monotonic() - self._time[0] < TEN_SECONDS
        assert not any(alive(pid) for pid in self._pids)
        assert set(children_of(os.getpid())) <= self._before


@contextlib.contextmanager
def broken_population(name: str, event: Event) -> Iterator[None]:
    """A population that raises in its process, in the middle of a sample."""
    fire = PopulationProgram.fire

    def broken(self: PopulationProgram) -> Any:
        if self.name == name and self._clock.due(name) == (3, 1):
            event.happens()
            raise ValueError("something is wrong here")
        return fire(self)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(PopulationProgram, "fire", broken)
        yield


# --------------------------------------------------------------------------------- ways to end


def nothing_happens(event: Event) -> None:
    session, inputs = opened(5)
    with event.of(session):
        assert session.stream(inputs).step_logits.any()
        event.happens()


def a_child_raises(event: Event) -> None:
    session, inputs = opened()
    with (
        broken_population("second", event),
        pytest.raises(EngineError, match=r"process 'second'.*is wrong") as error,
        event.of(session),
    ):
        session.stream(inputs)
    assert type(error.value) is EngineError
    assert "Traceback" in str(error.value)
    assert "in broken" in str(error.value)
    assert not session.pids


def a_child_is_killed(event: Event, victim: str = "second") -> None:
    session, inputs = opened(MANY)

    def kill(_: int) -> None:
        event.happens()
        for name, pid in session.pids.items():
            if name.startswith(victim):
                os.kill(pid, signal.SIGKILL)

    error = f"{victim}.*got death by signal 9 .SIGKILL"
    with pytest.raises(EngineError, match=error), event.of(session):
        session.stream(inputs, progress=kill)


def control_c(event: Event) -> None:
    """It reaches the parent as well as the children, which ignore theirs."""
    session, inputs = opened(MANY)

    def interrupt(_: int) -> None:
        event.happens()
        for pid in (*session.pids.values(), os.getpid()):
            os.kill(pid, signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), event.of(session):
        session.stream(inputs, progress=interrupt)


def stream_with_one_that_stands_still(session: LavaSession, inputs: Any) -> None:
    os.kill(session.pids["second"], signal.SIGSTOP)
    session.stream(inputs)


def wall_clock_limit(event: Event) -> None:
    """A process that stands still, so that the session would never end by itself."""
    session, inputs = opened(5, timeout=2)
    event.happens(later=2)
    with pytest.raises(EngineTimeoutError, match="wall-clock limit"), event.of(session):
        stream_with_one_that_stands_still(session, inputs)


def stream_from_now(event: Event, session: LavaSession, inputs: Any) -> None:
    event.happens()
    session.stream(inputs)


def a_state_is_out_of_range(event: Event) -> None:
    session, inputs = opened(5, network=saturation(), strict=True)
    with (
        pytest.raises(SaturationError, match="state values out of range at time step"),
        event.of(session),
    ):
        stream_from_now(event, session, inputs)


def an_input_is_out_of_range(event: Event) -> None:
    """It would wrap around in eight bits."""
    session, inputs = opened(5)
    inputs[2, 0] = 200
    error = r"Lava session: got inputs in -\d+..200; expected integers in -127..127"
    with pytest.raises(InvalidDataError, match=error), event.of(session):
        stream_from_now(event, session, inputs)


ENDINGS: dict[str, Callable[[Event], None]] = {
    f.__name__: f
    for f in (
        nothing_happens,
        a_child_raises,
        a_child_is_killed,
        control_c,
        wall_clock_limit,
        a_state_is_out_of_range,
        an_input_is_out_of_range,
    )
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_ends_and_a_second_session_runs(ending):
    """The second one, in the same interpreter, answers as if there had been no first one."""
    event = Event()
    ENDINGS[ending](event)
    event.assert_over()
    session, inputs = opened(5)
    with event.of(session):
        after = session.stream(inputs).step_logits
        event.happens()
    event.assert_over()
    expected = ReferenceEngine(session.network).run(sample_inputs(session.network, 5))
    np.testing.assert_array_equal(after, expected.step_logits)


@pytest.mark.slow
def test_two_hundred_sessions_leave_nothing():
    """One after the other, ended in every way; what they hold is counted after the first round."""
    ways = list(ENDINGS.values())
    for way in ways:  # what Python and Lava keep from the first time on
        way(Event())
    gc.collect()
    before = Belongings.now()
    for number in range(200):
        # Python's watchdog is for a test that hangs; here every session has a limit of its own.
        faulthandler.cancel_dump_traceback_later()
        event = Event()
        ways[number % len(ways)](event)
        event.assert_over()
        del event
    gc.collect()
    wait_until(before.lost)
    assert Belongings.now() == before


# ------------------------------------------------------------------------------- more of each kind


@pytest.mark.parametrize("victim", ["input", "readout", "service"])
def test_any_process_is_killed(victim):
    event = Event()
    a_child_is_killed(event, victim)
    event.assert_over()


def test_a_process_is_killed_between_two_runs():
    event = Event()
    session, inputs = opened(5)
    with event.of(session):
        session.stream(inputs)
        event.happens()
        os.kill(session.pids["first"], signal.SIGKILL)
        with pytest.raises(EngineError, match=r"'first'.*death by signal 9"):
            session.stream(inputs)
    event.assert_over()


def test_an_exception_while_starting(monkeypatch):
    event = Event()

    def broken(self, params):
        event.happens()
        raise ValueError("cannot be built")

    model = with_ports(PopulationModel, 1)
    monkeypatch.setattr(model, "__init__", broken)
    session, _ = opened()
    with pytest.raises(EngineError, match="cannot be built"), session:
        pytest.fail("started")
    event.assert_over()


def test_an_exception_of_the_caller():
    event = Event()
    session, inputs = opened()

    def fail(_):
        event.happens()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), event.of(session):
        session.stream(inputs, progress=fail)
    event.assert_over()


def test_gives_up_when_nothing_moves(monkeypatch):
    monkeypatch.setattr(session_module, "STALL_SECONDS", 2)
    event = Event()
    session, inputs = opened()
    with event.of(session):
        os.kill(session.pids["second"], signal.SIGSTOP)
        event.happens(later=2)
        with pytest.raises(EngineTimeoutError, match="no chip step"):
            session.stream(inputs)
    event.assert_over()


def test_interrupt_while_ending(monkeypatch):
    """Ctrl-C waits until all processes are gone."""
    event = Event()
    end = Actor.end

    def interrupted(self):
        event.happens()
        os.kill(os.getpid(), signal.SIGINT)
        end(self)

    monkeypatch.setattr(Actor, "end", interrupted)
    session, _ = opened(2)
    with pytest.raises(KeyboardInterrupt), event.of(session):
        pass
    event.assert_over()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda x: x - 300, r"got inputs in -\d+\.\.0; expected integers in -127"),
        (lambda x: x.astype(np.float64), "got inputs of float64"),
        (lambda x: x[:, :1], r"got inputs of shape \(5, 1"),
        (lambda x: np.concatenate([x, x]), "expected at most 5 samples"),
    ],
)
def test_inputs_that_do_not_fit(change, error):
    """The session is none the worse for them."""
    session, inputs = opened(5)
    with session:
        with pytest.raises(InvalidDataError, match=error):
            session.stream(change(inputs))
        assert session.stream(inputs).step_logits.any()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_any_signal_at_any_time(seed):
    """Also while processes are started and ended."""
    rng = random.Random(seed)
    victim_signal = [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGHUP][seed % 4]
    session, inputs = opened(MANY, timeout=3)
    event = Event()
    event.happens(later=3)

    def attack():
        time.sleep(rng.random())
        with contextlib.suppress(IndexError, ProcessLookupError):
            os.kill(int(rng.choice(children_of(os.getpid()))), victim_signal)

    thread = threading.Thread(target=attack)
    thread.start()
    with contextlib.suppress(EngineError), session:
        session.stream(inputs)
    thread.join()
    event.assert_over()


SCRIPT = """
    from tests.networks import vectors, sample_inputs
    from trispike.targets.lava.session import LavaSession

    network = vectors()
    inputs = network.input.encode(sample_inputs(network, 100_000), network.steps)
    with LavaSession(network, capacity=100_000) as session:
        print(*session.pids.values(), flush=True)
        session.stream(inputs)
"""


@contextlib.contextmanager
def script(text: str) -> Iterator[subprocess.Popen[str]]:
    """A program of its own, in a process group of its own, as in a terminal."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(text)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def printed_pids(process: subprocess.Popen[str]) -> list[int]:
    assert process.stdout
    return [int(pid) for pid in process.stdout.readline().split()]


def test_control_c_in_a_terminal():
    with script(SCRIPT) as process:
        pids = printed_pids(process)
        time.sleep(0.3)
        start = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=TEN_SECONDS)
    assert len(pids) == 6
    assert err.count("Traceback") == 1
    assert err.strip().endswith("KeyboardInterrupt")
    assert not any(alive(pid) for pid in pids)
    assert time.monotonic() - start < TEN_SECONDS


def test_the_program_is_killed():
    """Nobody is left to end the children; they notice."""
    with script(SCRIPT) as process:
        pids = printed_pids(process)
        process.kill()
        process.wait(TEN_SECONDS)
        assert len(pids) == 6
        wait_until(lambda: not any(alive(pid) for pid in pids), TEN_SECONDS)
