"""What ``trispike simulate`` records, and where to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from trispike.cli.console import checked_output, stage
from trispike.errors import InvalidSettingError
from trispike.network import Network
from trispike.runtime.data import Data
from trispike.runtime.engine import Result
from trispike.runtime.recording import (
    Wanted,
    check_size,
    check_suffix,
    recorded_run,
    save_recording,
    wanted_traces,
)

RecordOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME[:s,i,c,v]",
        help="Keep traces of a population, or of all that a pattern such as 'layer1.*' names: "
        "spikes s (the default), current i, carried potential c, potential v before the reset; "
        "'all' keeps everything. Can be repeated.",
    ),
]
RecordToOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="With --record: the .safetensors or .npz file to write."),
]


def check_destination(record: Sequence[str] | None, path: Path | None, *sources: Path) -> None:
    """Refuse a file that cannot be written, or is read, before anything is loaded.

    Raises:
        InvalidSettingError: Also if one of the two options is there without the other.
    """
    if bool(record) != (path is not None):
        given, missing = ("--record-to", "--record") if path else ("--record", "--record-to")
        raise InvalidSettingError(
            given,
            got=f"no {missing}",
            expected="both --record and --record-to, or none",
            fix="Add --record NAME, or --record all."
            if path
            else "Add --record-to FILE.safetensors or FILE.npz.",
        )
    if path is not None:
        check_suffix(path)
        for source in sources:
            if source.exists():  # data may be a name
                checked_output(path, source)


def checked_wish(network: Network, record: Sequence[str] | None, given: Data) -> Wanted:
    """What to record of which population.

    Raises:
        InvalidSettingError: Unknown names, or more than fits into memory.
    """
    wanted = wanted_traces(network, record or ())
    check_size(network, wanted, len(given.x))
    return wanted


def write_recording(result: Result, network: Network, given: Data, path: Path) -> dict[str, Any]:
    """Write what was recorded; what there is to say about it, as JSON values."""
    recording = recorded_run(result, network, given.name)
    with stage(f"writing {path.name}"):
        save_recording(recording, path)
    return {
        "output": str(path),
        "bytes": path.stat().st_size,
        "traces": {name: list(traces) for name, traces in recording.records.items()},
    }
