"""A session: streams, memory, what it leaves alone; how it ends is in test_sturdy.py."""

import gc
import logging
import threading
import weakref

import numpy as np
import pytest

from tests.networks import recurrent, sample_inputs
from trispike.errors import EngineError

pytest.importorskip("trispike.targets.lava.imports", reason="Lava is not installed")

from tests.targets.lava.leftovers import (
    PATIENCE,
    alive,
    nothing_left,
    opened,
)
from trispike.targets.lava.session import LavaSession


@pytest.fixture(autouse=True)
def leaves_nothing():
    with nothing_left():
        yield


def test_streams_again_and_again():
    """Every run of the chip begins anew, whatever the last one has left on the wires."""
    network = recurrent()
    inputs = network.input.encode(sample_inputs(network, 9), network.steps)
    with LavaSession(network, capacity=9, timeout=PATIENCE) as session:
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
    thread.join(PATIENCE)
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
