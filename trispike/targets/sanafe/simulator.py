"""SANA-FE itself, where it is installed."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trispike.errors import EngineError, EngineTimeoutError, MissingDependencyError
from trispike.targets.sanafe.description import ARCHITECTURE, NETWORK

OLDEST = (2, 2)
"""Versions before do not know some of the units that are written."""

PATIENCE = 600.0
"""Seconds that a run may take."""

SHOWN = 400
"""Characters of its last words that an error repeats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What SANA-FE reports of a run."""

    version: str
    categories: dict[str, float]
    """Joules by category: synapse, dendrite, soma, network, total."""
    reads: int
    """Synapses read."""
    messages: int
    fires: int
    """Neurons that fired, the host's included."""
    hops: int
    """Along x and y together."""
    seconds: dict[str, float]
    """By latency model: simple, detailed."""


def sanafe_version() -> str:
    """Version of the installed package.

    Raises:
        MissingDependencyError: It is absent or too old.
    """
    try:
        version = importlib.metadata.version("sanafe")
    except importlib.metadata.PackageNotFoundError:
        version = None
    if version is None or tuple(map(int, version.split(".")[:2])) < OLDEST:
        raise MissingDependencyError(
            "SANA-FE",
            got="none" if version is None else f"version {version}",
            expected="the package sanafe, version 2.2 or later (GPL-3, not part of trispike)",
            fix="Install it with: pip install 'trispike[sanafe]'",
        )
    return version


def simulate(folder: Path, steps: int, *, timeout: float = PATIENCE) -> Simulation:
    """Run an exported folder in a process of its own.

    Args:
        folder: With the two files.
        steps: Time steps to run.
        timeout: Seconds that it may take.

    Raises:
        MissingDependencyError: SANA-FE is not installed.
        EngineError: It failed; its last words are in the message.
        EngineTimeoutError: It took too long.
    """
    version = sanafe_version()
    child = str(Path(__file__).with_name("child.py"))
    command = [sys.executable, child, str(folder / ARCHITECTURE), str(folder / NETWORK), str(steps)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as error:
        raise EngineTimeoutError(
            "SANA-FE",
            got=f"no result within {timeout:g} s",
            expected="a shorter run",
            fix="Replay fewer samples.",
        ) from error
    if done.returncode:
        words = " ".join((done.stderr or done.stdout).split())
        raise EngineError(
            "SANA-FE",
            got=f"exit code {done.returncode}: {words[-SHOWN:]}",
            expected="a simulation of the exported files",
            fix=f"Run it by hand: {' '.join(command)}",
        )
    return _simulation(version, json.loads(done.stdout.splitlines()[-1]))


def _simulation(version: str, runs: dict[str, Any]) -> Simulation:
    first = runs["simple"]
    return Simulation(
        version=version,
        categories=first["energy"],
        reads=first["spikes"],
        messages=first["packets_sent"],
        fires=first["neurons_fired"],
        hops=first["hops"],
        seconds={model: run["sim_time"] for model, run in runs.items()},
    )
