"""One contestant in a process of its own, and the other end of its pipe.

A process each, because then no library's threads, caches or memory are another's, and because some
need another environment. Between runs it waits for a line on its standard input.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from benchmarks.case import Case
from benchmarks.contestants import CONTESTANTS, Runner
from trispike.errors import TrispikeError

Array: TypeAlias = npt.NDArray[Any]

ROOT = Path(__file__).parent.parent
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
RESET_PEAK = "5"
"""What /proc/PID/clear_refs takes to forget the peak of the resident memory."""


class WorkerError(Exception):
    """A contestant cannot run the case; the text says why."""


@dataclass(slots=True)
class Worker:
    """A contestant that has been made ready in its process.

    Args:
        contestant: Key of ``CONTESTANTS``.
        case: What it runs.
        samples: How many inputs per run.
        threads: How many it may use.
        python: The interpreter of its environment.

    Raises:
        WorkerError: It cannot run the case.
    """

    contestant: str
    case: Case
    samples: int
    threads: int
    python: str = sys.executable
    facts: dict[str, Any] = field(init=False)
    """What the contestant says about itself."""
    logits: Array | None = field(init=False, default=None)
    """The answer of its first run."""
    memory: dict[str, int] = field(init=False, default_factory=dict)
    """Bytes: ``peak`` of all its processes together; ``used``, how far a run rose above the
    memory before it; the largest of all runs."""
    _process: subprocess.Popen[str] = field(init=False)

    def __post_init__(self) -> None:
        folder = self.case.folder.absolute()
        order = (self.contestant, str(folder), str(self.samples), str(self.threads))
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        environment |= dict.fromkeys(THREAD_VARIABLES, str(self.threads))
        with (folder / f"{self.contestant}.log").open("w") as log:
            self._process = subprocess.Popen(
                [self.python, "-m", "benchmarks.worker", *order],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
                cwd=ROOT,
            )
        self.facts = self._answer()

    def run(self) -> float:
        """Run the inputs once; the seconds it took."""
        assert self._process.stdin is not None
        self._process.stdin.write("run\n")
        self._process.stdin.flush()
        answer = self._answer()
        if self.logits is None and answer["logits"] is not None:
            self.logits = np.array(answer["logits"])
        for name, size in answer["memory"].items():
            self.memory[name] = max(size, self.memory.get(name, 0))
        return float(answer["seconds"])

    def close(self) -> None:
        """End the process."""
        try:
            self._process.communicate(timeout=60)  # closes its standard input
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": "the process ended without a word"}
        if "error" in answer:
            self.close()
            raise WorkerError(answer["error"])
        return answer


def serve(runner: Runner, orders: Iterable[str], out: IO[str]) -> None:
    """Run once per line, and answer each with a line of JSON."""
    _say(out, runner.facts)
    for _ in orders:
        processes = [os.getpid(), *runner.pids().values()]
        before = [_memory(pid, reset=True) for pid in processes]
        start = time.perf_counter()
        logits = runner.run()
        seconds = time.perf_counter() - start
        peaks = [_memory(pid) for pid in processes]
        _say(
            out,
            {
                "seconds": seconds,
                "logits": None if logits is None else logits.tolist(),
                "memory": {"peak": sum(peaks), "used": sum(peaks) - sum(before)},
            },
        )


def _memory(pid: int, *, reset: bool = False) -> int:
    """Resident bytes of a process, highest since the last reset; with ``reset``, at present."""
    folder = Path("/proc") / str(pid)
    if reset:
        (folder / "clear_refs").write_text(RESET_PEAK)
    line = next(
        line for line in (folder / "status").read_text().splitlines() if line.startswith("VmHWM:")
    )
    return int(line.split()[1]) << 10


def _say(out: IO[str], answer: dict[str, Any]) -> None:
    out.write(json.dumps(answer) + "\n")
    out.flush()


def main() -> None:
    """What the process does; see :class:`Worker`."""
    name, folder, samples, threads = sys.argv[1:]
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries that print do not disturb the answers
    try:
        case = Case(Path(folder))
        runner = CONTESTANTS[name].build(case, case.inputs(int(samples)), int(threads))
        with runner.resources:
            serve(runner, sys.stdin, out)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
        traceback.print_exc()
        kind = "" if isinstance(error, TrispikeError) else f"{type(error).__name__}: "
        _say(out, {"error": f"{kind}{error}"})


if __name__ == "__main__":
    main()
