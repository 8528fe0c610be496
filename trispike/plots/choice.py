"""Which part of a recording a picture shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np

from trispike.errors import InvalidDataError, InvalidSettingError
from trispike.runtime.recording import RecordedRun, matching

Kind: TypeAlias = Literal["raster", "traces", "rates"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Of pictures."""

STATES = ("v", "c", "i")
"""What is drawn as a curve, the most important first."""


def default_kind(recording: RecordedRun, populations: Sequence[str] | None = None) -> Kind:
    """The picture that says most: rates of several populations; of one its traces, or a raster.

    Args:
        recording: What was recorded.
        populations: Names or patterns; by default all that were recorded.
    """
    names = chosen_populations(recording, populations)
    if len(names) > 1 and any(_has_spikes(recording, name) for name in names):
        return "rates"
    return "traces" if any(_has_states(recording, name) for name in names) else "raster"


def chosen_populations(
    recording: RecordedRun, populations: Sequence[str] | None
) -> tuple[str, ...]:
    """Names by names or patterns, each once, in the order of the recording.

    Raises:
        InvalidSettingError: None of that name was recorded.
    """
    if populations is None:
        return tuple(recording.records)
    found = {name for pattern in populations for name in matching(pattern, recording.records)}
    return tuple(name for name in recording.records if name in found)


def shown_populations(
    recording: RecordedRun, populations: Sequence[str] | None, kind: Kind
) -> tuple[str, ...]:
    """Those populations of which enough was recorded for a kind of picture.

    Args:
        recording: What was recorded.
        populations: Names or patterns, each of which has to be among them; by default all.
        kind: Rasters and rates need spikes, traces at least one of v, c and i.

    Raises:
        InvalidSettingError: None of that name was recorded.
        InvalidDataError: What a population needs was not recorded.
    """
    names = chosen_populations(recording, populations)
    enough = _has_states if kind == "traces" else _has_spikes
    shown = tuple(name for name in names if enough(recording, name))
    lacking = [name for name in names if name not in shown]
    if lacking and (populations is not None or not shown):
        needed, example = ("one of v, c and i", "s,v") if kind == "traces" else ("spikes", "s")
        raise InvalidDataError(
            "recording of " + ", ".join(map(repr, lacking)),
            got="other traces only",
            expected=needed,
            fix=f"Record them: trispike simulate --record '{lacking[0]}:{example}'.",
        )
    return shown


def _has_spikes(recording: RecordedRun, name: str) -> bool:
    return "s" in recording.records[name]


def _has_states(recording: RecordedRun, name: str) -> bool:
    return any(trace in recording.records[name] for trace in STATES)


def check_sample(recording: RecordedRun, sample: int) -> None:
    """Raise InvalidSettingError unless the recording has such a sample."""
    if not 0 <= sample < recording.samples:
        raise InvalidSettingError(
            "sample",
            got=str(sample),
            expected=f"a number from 0 to {recording.samples - 1}"
            if recording.samples
            else "a recording with samples",
            fix="Choose one of these." if recording.samples else "Record some.",
        )


def check_neurons(recording: RecordedRun, population: str, neurons: Sequence[int]) -> None:
    """Raise InvalidSettingError unless the population has all these neurons, and there are any."""
    size = int(np.prod(recording.shape_of(population)))
    wrong = [neuron for neuron in neurons if not 0 <= neuron < size]
    if wrong or not neurons:
        raise InvalidSettingError(
            f"neurons of {population!r}",
            got=", ".join(map(str, wrong)) or "none",
            expected=f"numbers from 0 to {size - 1}",
            fix="Choose some of these, or one population that has them.",
        )


def liveliest(recording: RecordedRun, population: str, sample: int, count: int) -> list[int]:
    """The neurons whose spikes vary most over the time steps of a sample, in ascending order.

    Without spikes those whose state varies most. The first ones on a tie.
    """
    records = recording.records[population]
    first = "s" if "s" in records else next(trace for trace in STATES if trace in records)
    values = records[first][sample].reshape(recording.steps, -1)
    return sorted(np.argsort(-values.std(axis=0), kind="stable")[:count].tolist())
