"""On what, with what and in what company the figures were measured."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

from benchmarks.worker import ROOT

PACKAGES = ("numpy", "torch", "numba", "onnxruntime", "lava-nc", "snntorch")
INSTRUCTIONS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8")
"""Those that matter to int8 and float32 convolutions."""
BUSY = 0.25
"""Load per processor, from others, above which figures are rough."""


def provenance(interop: Path | None) -> dict[str, Any]:
    """Machine, versions, commit and load.

    Args:
        interop: The interpreter that has SpikingJelly, if there is one.
    """
    packages = {name: _version(name) for name in PACKAGES}
    packages["spikingjelly"] = _version_elsewhere(interop, "spikingjelly")
    return {
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "cpu": _cpu("model name") or platform.machine(),
        "instructions": [name for name in INSTRUCTIONS if name in _cpu("flags").split()],
        "processors": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": packages,
        "commit": commit(),
        "load_at_start": os.getloadavg()[0],
    }


def warnings(facts: dict[str, Any]) -> list[str]:
    """What makes the figures doubtful."""
    load, processors = facts["load_at_start"], facts["processors"]
    if load <= BUSY * processors:
        return []
    busy = f"the machine was busy at the start: load {load:.2f} on {processors} processors"
    return [f"{busy}, so the figures are rough; ratios are steadier than rates"]


def commit() -> str:
    """The commit of the working tree, with ``+`` if files differ from it."""
    try:
        found = _git("rev-parse", "HEAD")
        return found + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _cpu(entry: str) -> str:
    """What the system tells of the first processor; empty if it does not."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((n.partition(":")[2].strip() for n in lines if n.startswith(entry)), "")


def _git(*words: str) -> str:
    command = ["git", "-C", str(ROOT), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _version_elsewhere(python: Path | None, package: str) -> str | None:
    if python is None:
        return None
    code = f"import importlib.metadata; print(importlib.metadata.version({package!r}))"
    result = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return result.stdout.strip() or None
