"""What came out of the points of a sweep, and the file that keeps it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from trispike.errors import FileFormatError
from trispike.network.files import whole_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One point of a sweep. What is measured is None where the point has an error."""

    key: str
    """SHA-256 of the settings, of the network, data and calibration data, of the prices, and of the
    version and code of trispike: the point is known by it."""
    settings: Mapping[str, Any]
    """As ``Point.to_dict``."""
    trispike: str
    """Version."""
    code_sha256: str
    """Of the code of trispike that quantizes, runs and prices."""
    source_sha256: str
    """Of the network that the sweep began with."""
    data_sha256: str
    """Of inputs and labels."""
    calibration_sha256: str | None
    """Of the calibration data; None without quantization."""
    hardware: str
    """Id of the prices."""
    hardware_sha256: str
    """Of the prices, what the user assumed included."""
    samples: int
    engine: str
    network_sha256: str | None = None
    """Of the integer network that was run."""
    accuracy: float | None = None
    """Fraction of samples, 0..1."""
    mean_steps: float | None = None
    """Time steps that a sample got on average."""
    samples_by_exit_step: Sequence[int] | None = None
    """How many samples stopped after step 1, 2, ...; None without early exit."""
    synaptic_operations_per_inference: float | None = None
    graded_operations_per_inference: float | None = None
    spikes_per_inference: float | None = None
    saturations: int | None = None
    """Over all samples."""
    energy_per_inference_joules: float | None = None
    energy_per_inference_low_joules: float | None = None
    energy_per_inference_high_joules: float | None = None
    joules_per_correct_prediction: float | None = None
    """None also if no prediction is correct."""
    unpriced: Sequence[str] = ()
    """Events and effects that the energy leaves out."""
    seconds: float | None = None
    """Wall-clock time of the point."""
    error: str | None = None
    """Why the network has no integer form with these settings."""

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def save_outcomes(outcomes: Iterable[Outcome], path: str | os.PathLike[str]) -> None:
    """Write outcomes, one JSON object per line, replacing the file whole."""
    with whole_file(path) as temporary:
        lines = (json.dumps(outcome.to_dict(), allow_nan=False) + "\n" for outcome in outcomes)
        temporary.write_text("".join(lines), encoding="utf-8")


def load_outcomes(path: str | os.PathLike[str]) -> dict[str, Outcome]:
    """The outcomes of a file by their keys; none if there is no file.

    Raises:
        FileFormatError: A line is no outcome.
    """
    if not Path(path).exists():
        return {}
    found = {}
    names = {field.name for field in fields(Outcome)}
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        lines = ["no text"]
    for number, line in enumerate(lines, start=1):
        try:
            value = json.loads(line)
        except json.JSONDecodeError:
            value = None
        if not isinstance(value, dict) or set(value) != names:
            raise FileFormatError(
                f"results '{path}', line {number}",
                got="no outcome of a sweep",
                expected="one JSON object per line, as trispike explore writes them",
                fix="Name another file, or remove this one to begin anew.",
            )
        found[value["key"]] = Outcome(**value)
    return found


def pareto_front(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Those that no other one beats, by energy: none is as accurate for less, or more for as much.

    Of equal ones the first.
    """
    measured = [o for o in outcomes if o.error is None]
    measured.sort(key=lambda o: (o.energy_per_inference_joules or 0.0, -(o.accuracy or 0.0)))
    front: list[Outcome] = []
    for outcome in measured:
        if not front or (outcome.accuracy or 0.0) > (front[-1].accuracy or 0.0):
            front.append(outcome)
    return front
