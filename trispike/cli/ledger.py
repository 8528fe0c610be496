"""Ledgers in files, and how counts spread over samples: what several commands offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import typer

from trispike.cli.console import checked_output, joules, out, percent, print_note, stage, table
from trispike.cli.data import DATA_SOURCES
from trispike.errors import InvalidDataError, InvalidSettingError
from trispike.network import Network
from trispike.runtime.data import Data
from trispike.runtime.engine import Result
from trispike.runtime.ledger_file import (
    StoredLedger,
    check_suffix,
    load_ledgers,
    save_ledger,
    stored_ledger,
)
from trispike.runtime.statistics import EnergySpread, Spread, Statistics, statistics

LedgerOutOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Write the counts, those of every sample included, to a .safetensors file that "
        "trispike estimate --ledger prices again.",
    ),
]
LedgerOption: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(
        "--ledger",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="Instead of --data: price these counts, as --ledger-out wrote them, without a run. "
        "Repeated: the shards of one data set, as one.",
    ),
]
DataUnlessLedgerOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--data", metavar="DATA", help=f"{DATA_SOURCES} and, for the accuracy, y."),
]
StatisticsOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--statistics", help="How the counts spread over samples: by part and by time step."
    ),
]
PerClassOption: TypeAlias = Annotated[
    bool, typer.Option("--per-class", help="The same for the samples of every class.")
]

KINDS = {
    "spikes": "spikes",
    "updates_with_input": "updates with input",
    "synaptic_operations": "synaptic ops",
    "macs": "graded ops",
    "zero_weight_operations": "zero weights met",
    "input_events": "input events",
}
"""What is counted per sample, and what it is called in a table."""


def check_ledger_out(path: Path | None, *sources: Path | None) -> None:
    """Refuse a file that cannot be written, or is read, before anything is run.

    Raises:
        InvalidSettingError: It cannot be written, or is none of the right kind.
    """
    if path is None:
        return
    check_suffix(path)
    for source in sources:
        if source is not None and source.exists():  # data may be a name
            checked_output(path, source)


def check_source(data: str | None, ledger: Sequence[Path] | None, **others: object) -> None:
    """Refuse to run and not to run.

    Args:
        data: As given with --data.
        ledger: As given with --ledger.
        others: Options that need a run, by the names of their variables; unset ones are false.

    Raises:
        InvalidSettingError: Not one of the two, or an option beside --ledger that needs data.
    """
    if (data is None) == (not ledger):
        raise InvalidSettingError(
            "--data" if data is None else "--ledger",
            got="neither --data nor --ledger" if data is None else "--data beside it",
            expected="one of the two",
            fix="Give --data DATA to run the network, or --ledger FILE for counts of an earlier "
            "run.",
        )
    for name, value in others.items() if ledger else ():
        if value:
            option = "--" + name.replace("_", "-")
            raise InvalidSettingError(
                option,
                got="with --ledger, which runs nothing",
                expected="--data, or no " + option,
                fix=f"Leave {option} out, or give --data in place of --ledger.",
            )


def read_ledgers(network: Network, paths: Sequence[Path]) -> tuple[StoredLedger, Data]:
    """Stored ledgers of this network as one, and the data that it is of: name and labels only.

    Raises:
        FileFormatError: No ledger.
        InvalidDataError: A ledger of another network, or shards that do not make a whole.
    """
    stored = load_ledgers(paths)
    stored.check_network(network)
    return stored, Data(np.zeros((stored.ledger.samples, 0)), stored.labels, stored.data)


def write_ledger(result: Result, network: Network, given: Data, path: Path) -> dict[str, Any]:
    """Write what was counted; what there is to say about it, as JSON values."""
    with stage(f"writing {path.name}"):
        save_ledger(stored_ledger(result, network, given.x, given.name), path)
    return {"output": str(path), "bytes": path.stat().st_size}


def check_classes(per_class: bool, given: Data) -> None:
    """Refuse figures by class of data without classes.

    Raises:
        InvalidDataError: There are no labels.
    """
    if per_class and given.y is None:
        raise InvalidDataError(
            "labels",
            got=f"none in {given.name}",
            expected="the class of every sample, for --per-class",
            fix="Give data with y, or leave --per-class out.",
        )


def spreads(
    result: Result | StoredLedger, energy: npt.NDArray[np.float64] | None = None
) -> Statistics:
    """How the counts of a run spread over its samples, and what each takes, if that is known.

    Raises:
        InvalidDataError: No samples, or no counts per sample.
    """
    return statistics(result.ledger, result.labels, result.predictions, energy)


def print_statistics(found: Statistics, *, per_class: bool) -> None:
    """The tables."""
    out.print()
    out.print(f"How the counts of {found.samples} samples spread:", style="bold")
    rows = table("count", "part or step", "mean", "deviation", "least", "most", words=2)
    for kind, name in KINDS.items():
        _add(rows, name, "all", found.totals[kind])
        for part, spread in found.parts[kind].items():
            if spread.maximum:
                _add(rows, "", part, spread)
        for t, step in enumerate(found.steps, start=1):
            _add(rows, "", f"step {t}", step[kind])
    if found.energy_joules is not None:
        rows.add_row("energy", "all", *_energy_cells(found.energy_joules))
    out.print(rows)
    if found.energy_joules is None:
        print_note(
            "energy of a sample: not known; on a placement, messages are counted over all samples"
        )
    if per_class and found.classes is not None:
        _print_classes(found)


def _print_classes(found: Statistics) -> None:
    rows = table("class", "samples", "accuracy", "count", "mean", "deviation", "least", "most")
    for label, group in (found.classes or {}).items():
        right = None if group.correct is None else group.correct / group.samples
        first = (str(label), f"{group.samples:,}", percent(right))
        for kind, name in KINDS.items():
            rows.add_row(*first, name, *_cells(group.totals[kind]))
            first = _BLANK
        if group.energy_joules is not None:
            rows.add_row(*_BLANK, "energy", *_energy_cells(group.energy_joules))
    out.print()
    out.print(rows)


_BLANK = ("", "", "")


def _add(rows: Any, kind: str, part: str, spread: Spread) -> None:
    rows.add_row(kind, part, *_cells(spread))


def _cells(spread: Spread) -> tuple[str, ...]:
    return (
        f"{spread.mean:,.1f}",
        f"{spread.deviation:,.1f}",
        f"{spread.minimum:,}",
        f"{spread.maximum:,}",
    )


def _energy_cells(spread: EnergySpread) -> tuple[str, ...]:
    return tuple(map(joules, (spread.mean, spread.deviation, spread.minimum, spread.maximum)))


def statistics_facts(found: Statistics | None) -> dict[str, Any]:
    """The same as JSON values."""
    return {"statistics": None if found is None else found.to_dict()}


def written_facts(written: Mapping[str, Any] | None) -> dict[str, Any]:
    """What was written, as JSON values."""
    return {} if written is None else {"ledger_file": dict(written)}
