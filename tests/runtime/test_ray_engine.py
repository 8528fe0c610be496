"""The ray engine equals the reference, whatever is lost on the way, and leaves nothing behind."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.networks import CASES, as_float, sample_inputs, saturation, vectors
from tests.runtime.equality import assert_equal
from trispike import save
from trispike.errors import (
    EngineError,
    InvalidDataError,
    InvalidSettingError,
    MissingDependencyError,
    SaturationError,
)
from trispike.runtime import Result
from trispike.runtime.engine import Run
from trispike.runtime.local_engines import LOCAL_ENGINES
from trispike.runtime.ray_engine import RayEngine, engine, session
from trispike.runtime.ray_engine.worker import Job, Part
from trispike.runtime.reference import ReferenceEngine

ray = pytest.importorskip("ray", reason="Ray is not installed")

WORKER = "ray::MapWorker"


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Two CPUs of this machine, as a session that the program has begun before."""
    session.check_ray()
    with session.session(None, 2):
        yield
    assert not children()


@pytest.fixture
def inner(monkeypatch):
    """Makes an engine of this module one that workers can run."""

    def register(kind: type) -> str:
        monkeypatch.setitem(LOCAL_ENGINES, kind.__name__, kind)
        return kind.__name__

    return register


def two_workers(network: Any, **options: Any) -> RayEngine:
    return RayEngine(network, workers=2, **{"inner": "reference", **options})


def children(title: str = "") -> list[Any]:
    """Processes below this one."""
    import psutil

    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if title in " ".join(process.cmdline()):
                found.append(process)
    return found


# ----------------------------------------------------------------------------------------- equal

QUICK = ("recurrent",)


@pytest.mark.parametrize(
    "case",
    [case if case in QUICK else pytest.param(case, marks=pytest.mark.slow) for case in CASES],
)
def test_equals_reference(case, cluster):
    """Shards of unequal size, with every trace of every population."""
    network = CASES[case]()
    inputs = sample_inputs(network, 11)
    reference = ReferenceEngine(network).run(inputs, record="all")
    assert reference.ledger.spikes
    assert_equal(two_workers(network, shard_size=3).run(inputs, record="all"), reference)


def test_labels_progress_and_several_windows(cluster, monkeypatch):
    """A window is what fits into Ray's memory at a time; here, two shards. Bytes are swapped."""
    network = vectors()
    inputs = sample_inputs(network, 17).astype(">f4")
    monkeypatch.setattr(engine, "WINDOW_BYTES", 13 * inputs[0].nbytes)
    reference = ReferenceEngine(network).run(inputs, record={"second": ["v"]})
    finished: list[int] = []
    result = two_workers(network, shard_size=5).run(
        inputs, reference.predictions, record={"second": ["v"]}, progress=finished.append
    )
    assert_equal(result, reference)
    assert sorted(finished) == [2, 5, 5, 5]
    assert (result.accuracy, result.engine) == (1.0, "ray")
    assert result.seconds > 0


def test_few_samples():
    """None at all do not even start Ray; one has fewer shards than there are workers."""
    network = vectors()
    inputs = sample_inputs(network, 0)
    reference = ReferenceEngine(network).run(inputs, record="all")
    started = ray.is_initialized()
    assert_equal(two_workers(network).run(inputs, record="all"), reference)
    assert ray.is_initialized() is started


@pytest.mark.slow
@pytest.mark.parametrize("name", LOCAL_ENGINES)
def test_every_inner_engine(name, cluster):
    network = vectors()
    inputs = sample_inputs(network, 9)
    reference = ReferenceEngine(network).run(inputs, record="all")
    assert_equal(two_workers(network, inner=name).run(inputs, record="all"), reference)


@pytest.mark.slow
def test_a_float_network(cluster):
    network = as_float(vectors())
    inputs = sample_inputs(network, 9)
    reference = ReferenceEngine(network, batch_size=3).run(inputs, record="all")
    result = two_workers(network, shard_size=3).run(inputs, record="all")
    assert_equal(result, reference)


# ------------------------------------------------------------------------------------------ loss


def test_a_killed_worker_changes_nothing(cluster, capfd):
    """SIGKILL, in the middle of the run, to a worker with shards before it and in its queue."""
    network = CASES["pooled_downsample"]()
    inputs = sample_inputs(network, 1500)
    reference = ReferenceEngine(network).run(inputs)
    killed: list[int] = []
    seen: set[int] = set()

    def kill(_: int) -> None:
        seen.update(worker.pid for worker in children(WORKER))
        if not killed:
            killed.append(next(iter(seen)))
            os.kill(killed[0], signal.SIGKILL)

    result = two_workers(network, shard_size=50).run(inputs, progress=kill)
    assert_equal(result, reference)
    assert capfd.readouterr() == ("", "")
    assert killed[0] not in {worker.pid for worker in children(WORKER)}
    assert len(seen) >= 2


class DiesOnce(ReferenceEngine):
    """The first of these that runs anything ends its process, in the middle of a shard."""

    name = "DiesOnce"

    def __init__(self, *args: Any, flag: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self.flag = Path(flag)

    def run(self, *args: Any, **options: Any) -> Result:
        result = super().run(*args, **options)
        if not self.flag.exists():
            self.flag.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return result


@pytest.mark.slow
def test_a_shard_whose_worker_died_is_run_again(cluster, inner, tmp_path):
    network = vectors()
    inputs = sample_inputs(network, 12)
    flag = tmp_path / "died"
    died = two_workers(network, inner=inner(DiesOnce), flag=str(flag), shard_size=3)
    assert_equal(died.run(inputs), ReferenceEngine(network).run(inputs))
    assert int(flag.read_text()) not in {worker.pid for worker in children(WORKER)}


class Dies(ReferenceEngine):
    """Ends its process whenever it runs."""

    name = "Dies"

    def run(self, *args: Any, **options: Any) -> Result:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


@pytest.mark.slow
def test_a_shard_that_kills_every_worker_is_an_error(cluster, inner, monkeypatch):
    monkeypatch.setattr(engine, "WORKER_RESTARTS", 1)
    network = vectors()
    dies = two_workers(network, inner=inner(Dies))
    with pytest.raises(EngineError, match="workers that are lost at most 1 times each"):
        dies.run(sample_inputs(network, 1))


def test_a_part_counts_once_and_none_may_be_missing():
    network = vectors()
    inputs = sample_inputs(network, 5)
    reference = ReferenceEngine(network).run(inputs)

    def part(first: int, end: int) -> Part:
        result = ReferenceEngine(network).run(inputs[first:end])
        return Part(
            samples=np.arange(first, end),
            step_logits=result.step_logits,
            ledger=result.ledger,
            records={},
        )

    run = Run(network, inputs, None, None)
    reduction = engine._Reduction(run, per_sample=False)
    assert [reduction.add(part(3, 5)), reduction.add(part(3, 5))] == [2, 0]
    with pytest.raises(EngineError, match="ray engine: got 2 samples; expected 5"):
        reduction.ledger()
    assert reduction.add(part(0, 3)) == 3
    assert_equal(run.result("ray", reduction.ledger()), reference)


# ---------------------------------------------------------------------------------------- errors


class Fails(ReferenceEngine):
    """Has a defect."""

    name = "Fails"

    def run(self, *args: Any, **options: Any) -> Result:
        raise ZeroDivisionError("a defect")


def test_errors_of_workers_come_back(cluster, inner):
    """Those of trispike as themselves; workers and their CPUs are free again afterwards."""
    network = saturation()
    inputs = sample_inputs(network, 1)
    with pytest.raises(SaturationError) as expected:
        ReferenceEngine(network, strict=True).run(inputs)
    with pytest.raises(SaturationError, match=re.escape(str(expected.value))):
        two_workers(network, strict=True).run(inputs)
    with pytest.raises(EngineError, match=r"Ray worker: got ZeroDivisionError: a defect \("):
        two_workers(network, inner=inner(Fails)).run(inputs)
    end = time.monotonic() + 20
    while ray.available_resources().get("CPU") != 2 and time.monotonic() < end:
        time.sleep(0.1)
    assert ray.available_resources()["CPU"] == 2


def test_a_session_of_the_caller_is_used_and_left_alone(cluster):
    network = vectors()
    kept = ray.put("kept")
    bars = ray.data.DataContext.get_current().enable_progress_bars
    two_workers(network).run(sample_inputs(network, 1))
    assert ray.get(kept) == "kept"
    assert ray.data.DataContext.get_current().enable_progress_bars is bars
    with pytest.raises(InvalidSettingError, match="while this program is connected to Ray alr"):
        two_workers(network, address="auto").run(sample_inputs(network, 1))
    with pytest.raises(InvalidSettingError, match="workers: got 3; expected at most 2, the CPUs"):
        RayEngine(network, inner="reference", workers=3).run(sample_inputs(network, 1))
    assert ray.is_initialized()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"workers": 0}, "workers: got 0; expected at least 1"),
        ({"shard_size": 0}, "shard_size: got 0; expected at least 1"),
        ({"inner": "lava"}, "inner engine 'lava': got no engine that runs in the process that"),
        ({"inner": "ray"}, "inner engine 'ray'"),
        ({"batch_size": 0}, "batch_size: got 0"),
    ],
)
def test_settings_are_refused_before_anything_starts(options, text):
    with pytest.raises(InvalidSettingError, match=re.escape(text)):
        RayEngine(vectors(), **{"inner": "reference", **options})


def test_data_are_refused_before_anything_starts():
    with pytest.raises(InvalidDataError, match="data: got an array of shape"):
        two_workers(vectors()).run(np.zeros((2, 3)))


@pytest.mark.parametrize("package", ["ray.data", "pyarrow"])
def test_a_missing_package_is_named(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=re.escape("pip install 'trispike[ray]'")):
        two_workers(vectors())


@pytest.mark.parametrize("address", ["ray://head:10001", "head", "head:", ":6379", "head:port"])
def test_an_address_of_another_form(address):
    with pytest.raises(InvalidSettingError, match="expected where the head of a cluster listens"):
        session._connect(address)


def test_no_cluster_at_the_address(monkeypatch):
    """Nothing listens on port 1; Ray alone would try for minutes."""
    monkeypatch.setattr(session, "CONNECT_SECONDS", 3)
    start = time.monotonic()
    with pytest.raises(EngineError, match="got no answer within 3 s; expected a cl"):
        session._connect("127.0.0.1:1")
    assert time.monotonic() - start < 20


def test_a_worker_refuses_another_network_and_another_trispike():
    network = vectors()
    job = {"inner": ReferenceEngine, "options": {}, "record": None, "per_sample": False}
    assert Job.of(network, **job).engine().network.steps == network.steps
    damaged = Job.of(network, **job)
    name = next(name for name, array in damaged.arrays.items() if name.endswith("weight"))
    damaged.arrays[name] = damaged.arrays[name][::-1].copy()
    with pytest.raises(EngineError, match="network of a Ray worker: got sha256"):
        damaged.engine()
    with pytest.raises(EngineError, match=r"expected trispike 0\.0\.1, as on the"):
        Job.of(network, **job, version="0.0.1").engine()


def test_little_shared_memory_is_enough(monkeypatch):
    """Docker gives 64 MB, unless told otherwise."""

    class Usage:
        free = 64 << 20

    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage)
    assert session._store_bytes() == session.STORE_MINIMUM_BYTES
    Usage.free = 500 << 20
    assert session._store_bytes() == 400 << 20
    Usage.free = 1 << 40
    assert session._store_bytes() == session.STORE_BYTES


# ----------------------------------------------------------------------------------- whole program


@pytest.fixture
def command(tmp_path) -> list[str]:
    """A command line that keeps two workers busy for a while."""
    network = CASES["pooled_downsample"]()
    save(network, tmp_path / "net.safetensors")
    np.save(tmp_path / "x.npy", sample_inputs(network, 4000).clip(-3, 3))
    simulate = [sys.executable, "-m", "trispike.cli", "simulate", str(tmp_path / "net.safetensors")]
    options = ["--engine", "ray", "--inner", "reference", "--workers", "2", "--json"]
    return [*simulate, "--data", str(tmp_path / "x.npy"), *options]


def left_behind(pid: int) -> list[str]:
    """Processes of a session that a process began."""
    import psutil

    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            line = " ".join(process.cmdline())
            if re.search(rf"session_\S+_{pid}\b", line) or (
                line.startswith("ray::") and process.ppid() in (1, pid)
            ):
                found.append(line)
    return found


def folders(pid: int) -> list[Path]:
    """Folders of such a session."""
    return list(Path("/tmp").glob(f"trispike-ray-*/session_*_{pid}"))


@pytest.mark.slow
def test_a_session_of_its_own_is_silent_and_ends(command):
    process = subprocess.Popen(
        [*command, "--samples", "40"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    stdout, stderr = process.communicate(timeout=120)
    assert (process.returncode, stderr) == (0, "")
    assert '"engine": "ray", "samples": 40' in stdout
    assert stdout.count("\n") == 1
    assert not left_behind(process.pid)
    assert not folders(process.pid)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stop", "seconds"), [(signal.SIGINT, 2), (signal.SIGINT, 12), (signal.SIGTERM, 12)]
)
def test_an_interrupted_program_leaves_nothing_behind(stop, seconds, command):
    """While Ray starts, and in the middle; Ctrl-C goes to the whole group of processes."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    whom = os.killpg if stop == signal.SIGINT else os.kill
    timer = threading.Timer(seconds, whom, (process.pid, stop))
    timer.start()
    _, stderr = process.communicate(timeout=120)
    timer.join()
    if stop == signal.SIGINT:
        assert (process.returncode, stderr) == (130, "error: interrupted\n")
    else:  # Ray prints a stack and exits
        assert process.returncode == signal.SIGTERM
    assert not left_behind(process.pid)
    assert not folders(process.pid)
