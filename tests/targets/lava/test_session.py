"""A session always ends: with the right error, soon, and without a process left behind."""

import contextlib
import gc
import logging
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.networks import recurrent, sample_inputs, vectors
from trispike.errors import EngineError, EngineTimeoutError

lava = pytest.importorskip("trispike.targets.lava.imports", reason="Lava is not installed")

from trispike.targets.lava import session as session_module  # noqa: E402
from trispike.targets.lava.processes.pipeline import PopulationModel, with_ports  # noqa: E402
from trispike.targets.lava.program import PopulationProgram  # noqa: E402
from trispike.targets.lava.runtime import Actor  # noqa: E402
from trispike.targets.lava.session import LavaSession  # noqa: E402

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def ends_soon_and_alone():
    """Ten seconds, no child, no file descriptor and no thread left."""
    before = open_files()
    start = time.monotonic()
    yield
    assert time.monotonic() - start < 10
    assert not multiprocessing.active_children()
    assert not children_of(os.getpid())
    assert not lava.ProcessServer().processes
    # Threads of Lava's ports end a moment after they were told to.
    wait_until(lambda: threading.active_count() == 1)
    assert open_files() <= before


def open_files() -> set[str]:
    return {fd.name for fd in Path("/proc/self/fd").iterdir() if fd.exists()}


def children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def alive(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    return False


def wait_until(condition: Any, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def opened(samples: int = 200, **options: Any) -> tuple[LavaSession, Any]:
    network = vectors()
    inputs = network.input.encode(sample_inputs(network, samples), network.steps)
    return LavaSession(network, capacity=samples, timeout=8, **options), inputs


def test_streams_again_and_again():
    """Every run of the chip begins anew, whatever the last one has left on the wires."""
    network = recurrent()
    inputs = network.input.encode(sample_inputs(network, 9), network.steps)
    with LavaSession(network, capacity=9, timeout=8) as session:
        at_once = session.stream(inputs).step_logits
        parts = [session.stream(inputs[a:b]).step_logits for a, b in [(0, 4), (4, 5), (5, 9)]]
    np.testing.assert_array_equal(np.concatenate(parts), at_once)


def test_two_sessions_at_once():
    (one, inputs), (two, _) = opened(5), opened(5)
    with one:
        first = one.stream(inputs).step_logits
        with two:
            np.testing.assert_array_equal(two.stream(inputs).step_logits, first)
        np.testing.assert_array_equal(one.stream(inputs).step_logits, first)


def test_in_a_thread():
    """Signals and forks of a thread that is not the main one."""
    session, inputs = opened(3)
    got = []

    def work():
        with session:
            got.append(session.stream(inputs))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(9)
    assert len(got) == 1


def test_memory_is_given_back():
    """Lava keeps every process in a global list; the session takes its own out of it."""
    session, inputs = opened(3)
    with session:
        session.stream(inputs)
    program = weakref.ref(session._populations["first"])
    del session
    gc.collect()
    assert program() is None


def test_an_exception_in_a_process_comes_with_its_traceback(monkeypatch):
    fire = PopulationProgram.fire

    def broken(self):
        if self.name == "second" and self._clock.due("second") == (3, 1):
            raise ValueError("something is wrong here")
        return fire(self)

    monkeypatch.setattr(PopulationProgram, "fire", broken)
    session, inputs = opened()
    with pytest.raises(EngineError, match=r"process 'second'.*is wrong") as error, session:
        session.stream(inputs)
    assert "Traceback" in str(error.value)
    assert "in broken" in str(error.value)
    assert not session.pids


def test_an_exception_while_starting(monkeypatch):
    def broken(self, params):
        raise ValueError("cannot be built")

    model = with_ports(PopulationModel, 1)
    monkeypatch.setattr(model, "__init__", broken)
    session, _ = opened()
    with pytest.raises(EngineError, match="cannot be built"), session:
        pytest.fail("started")


def test_an_exception_of_the_caller():
    session, inputs = opened()
    with pytest.raises(ZeroDivisionError), session:
        session.stream(inputs, progress=lambda n: 1 // 0)


@pytest.mark.parametrize("victim", ["input", "second", "readout", "service"])
def test_a_process_is_killed(victim):
    session, inputs = opened()

    def kill(_):
        for name, pid in session.pids.items():
            if name.startswith(victim):
                os.kill(pid, signal.SIGKILL)

    with pytest.raises(EngineError, match=f"{victim}.*death by signal 9 .SIGKILL"), session:
        session.stream(inputs, progress=kill)


def test_a_process_is_killed_between_two_runs():
    session, inputs = opened(5)
    with session:
        session.stream(inputs)
        os.kill(session.pids["first"], signal.SIGKILL)
        with pytest.raises(EngineError, match=r"'first'.*death by signal 9"):
            session.stream(inputs)


def test_wall_clock_limit():
    session, inputs = opened()
    session.timeout = 2
    start = time.monotonic()
    with session:
        os.kill(session.pids["second"], signal.SIGSTOP)
        with pytest.raises(EngineTimeoutError, match="wall-clock limit"):
            session.stream(inputs)
    assert 1.5 < time.monotonic() - start < 5


def test_gives_up_when_nothing_moves(monkeypatch):
    monkeypatch.setattr(session_module, "STALL_SECONDS", 0.5)
    session, inputs = opened()
    with session:
        os.kill(session.pids["second"], signal.SIGSTOP)
        with pytest.raises(EngineTimeoutError, match="no chip step"):
            session.stream(inputs)


def test_interrupt():
    """Ctrl-C reaches the parent; children ignore theirs."""
    session, inputs = opened()

    def interrupt(_):
        for pid in (*session.pids.values(), os.getpid()):
            os.kill(pid, signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), session:
        session.stream(inputs, progress=interrupt)


def test_interrupt_while_ending(monkeypatch):
    """Ctrl-C waits until all processes are gone."""
    end = Actor.end

    def interrupted(self):
        os.kill(os.getpid(), signal.SIGINT)
        end(self)

    monkeypatch.setattr(Actor, "end", interrupted)
    session, _ = opened(2)
    with pytest.raises(KeyboardInterrupt), session:
        pass


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_any_signal_at_any_time(seed):
    """Also while processes are started and ended."""
    rng = random.Random(seed)
    victim_signal = [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGHUP][seed % 4]
    session, inputs = opened()
    session.timeout = 3

    def attack():
        time.sleep(rng.random())
        with contextlib.suppress(IndexError, ProcessLookupError):
            os.kill(int(rng.choice(children_of(os.getpid()))), victim_signal)

    thread = threading.Thread(target=attack)
    thread.start()
    with contextlib.suppress(EngineError), session:
        session.stream(inputs)
    thread.join()


def test_no_run_after_the_end():
    session, inputs = opened(2)
    with session:
        session.stream(inputs)
    with pytest.raises(EngineError, match="a run after its end"):
        session.stream(inputs)


def test_a_session_that_nobody_closed():
    session, _ = opened(2)
    session.__enter__()
    pids = session.pids.values()
    assert all(alive(pid) for pid in pids)
    del session
    assert not any(alive(pid) for pid in pids)


def test_stdout_and_loggers_stay_clean(capfd):
    handlers = list(logging.getLogger().handlers)
    session, inputs = opened(3)
    with session:
        session.stream(inputs)
    assert logging.getLogger().handlers == handlers
    assert capfd.readouterr() == ("", "")


def test_after_torch():
    """BLAS in a child hangs if a forked thread pool of the parent is waited for."""
    torch = pytest.importorskip("torch")
    torch.nn.functional.conv2d(torch.ones(8, 16, 32, 32), torch.ones(16, 16, 3, 3)).sum()
    np.ones((512, 512)) @ np.ones((512, 512))
    session, inputs = opened(3)
    with session:
        session.stream(inputs)


SCRIPT = """
    from tests.networks import vectors, sample_inputs
    from trispike.targets.lava.session import LavaSession

    network = vectors()
    inputs = network.input.encode(sample_inputs(network, 5000), network.steps)
    with LavaSession(network, capacity=5000) as session:
        print(*session.pids.values(), flush=True)
        session.stream(inputs)
"""


@contextlib.contextmanager
def script(text: str) -> Any:
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


def test_control_c_in_a_terminal():
    with script(SCRIPT) as process:
        pids = [int(pid) for pid in process.stdout.readline().split()]
        time.sleep(0.3)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=5)
    assert len(pids) == 6
    assert err.count("Traceback") == 1
    assert err.strip().endswith("KeyboardInterrupt")
    wait_until(lambda: not any(alive(pid) for pid in pids))


def test_the_program_is_killed():
    """Nobody is left to end the children; they notice."""
    with script(SCRIPT) as process:
        pids = [int(pid) for pid in process.stdout.readline().split()]
        process.kill()
        process.wait(5)
        assert len(pids) == 6
        wait_until(lambda: not any(alive(pid) for pid in pids))
