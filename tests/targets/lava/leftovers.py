"""What a session could leave behind, and sessions to look at; shared by the tests of sessions."""

import contextlib
import gc
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.networks import sample_inputs, vectors
from trispike.network import IntegerNetwork
from trispike.targets.lava.imports import ProcessServer
from trispike.targets.lava.session import LavaSession

PATIENCE = 60.0
"""Limit of a session that should need none: a loaded machine may take long to start one."""


@dataclass(frozen=True, kw_only=True)
class Belongings:
    """What this process holds."""

    children: tuple[str, ...]
    files: frozenset[str]
    """Descriptors."""
    shared_memory: int
    """Mappings that other processes may share."""
    threads: int

    @classmethod
    def now(cls) -> "Belongings":
        """Counted by the kernel, not by Python."""
        fds = Path("/proc/self/fd").iterdir()
        maps = Path("/proc/self/maps").read_text().splitlines()
        return cls(
            children=tuple(children_of(os.getpid())),
            files=frozenset(fd.name for fd in fds if fd.exists()),
            shared_memory=sum("/dev/zero" in line or "/dev/shm" in line for line in maps),
            threads=threading.active_count(),
        )

    def lost(self) -> bool:
        """Whether nothing is there that was not there before."""
        now = Belongings.now()
        return (
            set(now.children) <= set(self.children)
            and now.files <= self.files
            and now.shared_memory <= self.shared_memory
            and now.threads <= self.threads
        )


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """Fail if a session leaves anything behind.

    No process, descriptor, shared memory or thread is left, and no shared memory has a name:
    memory without one cannot outlive the processes that map it, and never lies in /dev/shm.
    """

    def refuse(*details: Any, **more: Any) -> int:
        raise AssertionError(f"named shared memory: {details} {more}")

    # Other tests of the same run may have left theirs: only what is new counts.
    before, active = Belongings.now(), set(multiprocessing.active_children())
    known = list(ProcessServer().processes)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("_posixshmem.shm_open", refuse)
        yield
    gc.collect()  # errors hold on to the frames that they passed, and these to sessions
    assert set(multiprocessing.active_children()) <= active
    assert len(ProcessServer().processes) <= len(known)
    # Threads of Lava's ports end a moment after they were told to.
    wait_until(before.lost)


def children_of(pid: int) -> list[str]:
    """Ids of the child processes that were not reaped yet."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has reaped yet does not."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    return False


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Fail if it does not come true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited in vain; there is {Belongings.now()}"
        time.sleep(0.02)


def opened(
    samples: int = 200, *, network: IntegerNetwork | None = None, **options: Any
) -> tuple[LavaSession, Any]:
    """A session that is to be entered, and what to stream through it."""
    network = network or vectors()
    inputs = network.input.encode(sample_inputs(network, samples), network.steps)
    return LavaSession(network, capacity=samples, **{"timeout": PATIENCE, **options}), inputs
