"""A session of Ray: the caller's own, one on a cluster, or one for this run on this machine."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

from trispike.errors import EngineError, InvalidSettingError, MissingDependencyError

CONNECT_SECONDS = 30
"""Wall-clock limit for reaching a cluster; Ray itself would try for minutes."""

END_SECONDS = 5
"""How long a worker may take to notice that its session is over."""

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported to anyone
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray's future default; it warns of the present one
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # it calls arguments in the object store an error
}
"""Settings of Ray while a session of ours lives; what the caller has set stays."""

STORE_BYTES = 1 << 30
"""Memory for objects on their way, in a session on this machine."""

STORE_SHARE = 0.8
"""Share of the free shared memory that they may take; a container may have little."""

STORE_MINIMUM_BYTES = 80 << 20
"""Ray refuses less."""

_PROBE = "import sys, ray; ray.init(address=sys.argv[1], log_to_driver=False)"


def check_ray() -> None:
    """Raise unless Ray Data can be imported.

    Raises:
        MissingDependencyError: Ray or pyarrow is not installed, or broken.
    """
    try:
        with _warnings_ignored():
            import pyarrow  # noqa: F401, PLC0415 - optional
            import ray.data  # noqa: F401, PLC0415 - optional
    except ImportError as error:
        raise MissingDependencyError(
            "package 'ray'",
            got=str(error),
            expected="ray 2.60 to 2.63 with Ray Data, and a pyarrow that works with this NumPy",
            fix="Install it with: pip install 'trispike[ray]'",
        ) from error


@contextlib.contextmanager
def session(address: str | None, cpus: int | None) -> Iterator[None]:
    """Have Ray connected inside the block, and silent.

    A session that the caller has begun is used and left alone. Otherwise one is begun and, however
    the block ends, ended.

    Args:
        address: ``HOST:PORT`` or ``auto`` for a cluster; None: what ``RAY_ADDRESS`` says, or else
            processes on this machine for this session alone.
        cpus: How many of this machine's to use, without a cluster; None: all.

    Raises:
        InvalidSettingError: An address in another form, or beside a session of the caller's.
        EngineError: No cluster at the address, or Ray does not start.
    """
    import ray  # noqa: PLC0415 - optional

    with contextlib.ExitStack() as undo:
        undo.enter_context(_warnings_ignored())
        undo.enter_context(_logging_off())
        if ray.is_initialized():
            _check_no_address(address)
            yield
            return
        undo.enter_context(_environment())
        undo.enter_context(_sigterm_kept())
        undo.enter_context(_printing_off())
        address = address or os.environ.get("RAY_ADDRESS")
        if address and address != "local":
            undo.callback(ray.shutdown)
            _connect(address)
        else:
            folder = undo.enter_context(_folder())
            undo.callback(_end, folder)
            _start(folder, cpus)
        yield


def _start(folder: Path, cpus: int | None) -> None:
    """Begin a session on this machine."""
    import ray  # noqa: PLC0415 - optional

    try:
        with _stderr_off():
            ray.init(
                address="local",
                num_cpus=cpus or len(os.sched_getaffinity(0)),
                object_store_memory=_store_bytes(),
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
                _temp_dir=str(folder),
            )
    except Exception as error:  # Ray's own errors share no base class
        raise EngineError(
            "Ray",
            got=f"{type(error).__name__}: {error}",
            expected="a session on this machine",
            fix="Try `ray start --head`, which says more, and then --address auto.",
        ) from error


def _end(folder: Path) -> None:
    """End a session on this machine with all of its processes, known by its folder."""
    import psutil  # noqa: PLC0415 - Ray brings it
    import ray  # noqa: PLC0415 - optional

    servers = [p for p in psutil.Process().children() if str(folder) in " ".join(p.cmdline())]
    workers = [worker for server in servers for worker in server.children(recursive=True)]
    ray.shutdown()
    _, alive = psutil.wait_procs(workers, timeout=END_SECONDS)
    for worker in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.kill()
    psutil.wait_procs(alive, timeout=END_SECONDS)


def _connect(address: str) -> None:
    """Begin a session on a cluster."""
    import ray  # noqa: PLC0415 - optional

    host, _, port = address.rpartition(":")
    if address != "auto" and not (host and port.isdigit() and "/" not in address):
        raise InvalidSettingError(
            f"Ray address '{address}'",
            got="neither HOST:PORT nor auto",
            expected="where the head of a cluster listens, as `ray start --head` prints it",
            fix="Instead of ray://..., run this on a node of the cluster, or with ray job submit.",
        )
    _check_reachable(address)
    with _stderr_off():
        ray.init(address=address, log_to_driver=False, configure_logging=False)


def _check_reachable(address: str) -> None:
    """Connect from a process that can be given up: a failing ray.init ends its own, or hangs."""
    problem = f"no answer within {CONNECT_SECONDS} s"
    try:
        probe = subprocess.run(
            [sys.executable, "-c", _PROBE, address],
            capture_output=True,
            text=True,
            timeout=CONNECT_SECONDS,
            check=False,
        )
        if not probe.returncode:
            return
        problem = (probe.stderr.strip() or "no connection").splitlines()[-1]
    except subprocess.TimeoutExpired:
        pass
    raise EngineError(
        f"Ray cluster at '{address}'",
        got=problem,
        expected="a cluster with this version of Ray and Python",
        fix="Compare the address with what `ray start --head` printed. A cluster that wants a "
        "token needs RAY_AUTH_MODE=token here.",
    )


def _check_no_address(address: str | None) -> None:
    if address is not None:
        raise InvalidSettingError(
            f"Ray address '{address}'",
            got="an address, while this program is connected to Ray already",
            expected="one of the two",
            fix="Leave the address out, or call ray.shutdown() before.",
        )


def _store_bytes() -> int:
    """Memory for the object store that Ray takes without complaint."""
    try:
        free = shutil.disk_usage("/dev/shm").free
    except OSError:
        return STORE_BYTES
    return max(STORE_MINIMUM_BYTES, min(STORE_BYTES, int(STORE_SHARE * free)))


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder for logs and sockets; its path is short, because paths of sockets have to be."""
    short = Path("/tmp")
    parent = short if short.is_dir() else None
    with tempfile.TemporaryDirectory(
        prefix="trispike-ray-", dir=parent, ignore_cleanup_errors=True
    ) as path:
        yield Path(path)


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """Ray's settings, and without those that Ray makes itself afterwards."""
    before = dict(os.environ)
    os.environ.update({key: value for key, value in ENVIRONMENT.items() if key not in before})
    try:
        yield
    finally:
        for key in [key for key in os.environ if key.startswith("RAY_") and key not in before]:
            del os.environ[key]


@contextlib.contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Ray replaces the handler of SIGTERM, which forked processes would inherit."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _logging_off() -> Iterator[None]:
    """Silence Ray's loggers: failures arrive as exceptions."""
    loggers = [logging.getLogger(name) for name in ("ray", "ray.data")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _printing_off() -> Iterator[None]:
    """Ray prints on stdout that a worker was lost, whatever it is told about logs."""
    from ray._private import worker  # noqa: PLC0415 - there is no public switch

    before, worker._worker_logs_enabled = worker._worker_logs_enabled, False
    try:
        yield
    finally:
        worker._worker_logs_enabled = before


@contextlib.contextmanager
def _warnings_ignored() -> Iterator[None]:
    """Ignore what Ray's modules warn of, here or, of retries without a new name yet, in ours."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"ray\b")
        warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
        yield


@contextlib.contextmanager
def _stderr_off() -> Iterator[None]:
    """Drop what the C++ side writes to file descriptor 2 before it knows its log level."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
