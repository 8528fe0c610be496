"""What every command shares: where output goes, how errors end, how progress shows."""

from __future__ import annotations

import functools
import json
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeAlias, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from trispike.errors import InvalidDataError, TrispikeError

F = TypeVar("F", bound=Callable[..., Any])

DONE, FAILED, WRONG_USE = 0, 1, 2
"""Exit codes."""

PIPE_WIDTH = 120
"""Columns of a table that goes to a file or a pipe, where the terminal's width means nothing."""

out = Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
"""Results, on stdout."""

err = Console(stderr=True, highlight=False)
"""Progress and errors, on stderr."""

JsonFlag: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout instead of tables.")
]
DebugFlag: TypeAlias = Annotated[
    bool, typer.Option("--debug", help="Show the traceback of an error.")
]
DataOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="DATA",
        help="digits, digits:train, or an .npz, .npy or .safetensors file with x and y.",
    ),
]
SamplesOption: TypeAlias = Annotated[
    int | None, typer.Option("--samples", min=1, help="Use the first so many samples only.")
]


def command(function: F) -> F:
    """Turn errors into one line on stderr (and a JSON object) and an exit code."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        as_json, debug = kwargs.get("as_json", False), kwargs.get("debug", False)
        try:
            return function(*args, **kwargs)
        except (TrispikeError, FileNotFoundError, PermissionError) as error:
            if debug:
                err.print(traceback.format_exc(), markup=False)
            fail(str(error), as_json=as_json, kind=type(error).__name__)
        except KeyboardInterrupt:
            fail("interrupted", as_json=as_json, kind="KeyboardInterrupt", code=130)
        except typer.Exit:
            raise
        except Exception as error:  # noqa: BLE001 - a defect of ours; the user gets one line, too
            if debug:
                err.print(traceback.format_exc(), markup=False)
            message = f"internal error, {type(error).__name__}: {error} (--debug shows where)"
            fail(message, as_json=as_json, kind=type(error).__name__)

    return wrapper  # type: ignore[return-value]


def fail(message: str, *, as_json: bool, kind: str, code: int = FAILED) -> NoReturn:
    """End the command with an error."""
    err.print("[bold red]error:[/] ", end="")
    err.print(message, markup=False, soft_wrap=True)
    if as_json:
        print_json({"error": {"type": kind, "message": message}})
    raise typer.Exit(code)


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on stdout."""
    sys.stdout.write(json.dumps(value, allow_nan=False) + "\n")


@contextmanager
def progress_bar(description: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr; yields what is called with the number of finished items.

    Nothing is drawn where stderr is not a terminal.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(description, total=total)
        yield lambda count: bar.advance(task, count)


def checked_output(path: Path) -> Path:
    """An output path whose folder exists, before any work is done for it."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise InvalidDataError(
            f"output '{path}'",
            got="a folder" if path.is_dir() else "a folder that does not exist",
            expected="a file in an existing folder",
            fix="Correct the path.",
        )
    return path


def percent(value: float | None) -> str:
    """0.985 as "98.50%"."""
    return "-" if value is None else f"{100 * value:.2f}%"


def joules(value: float) -> str:
    """1.2e-5 as "12.00 uJ"."""
    for factor, unit in ((1.0, "J"), (1e-3, "mJ"), (1e-6, "uJ"), (1e-9, "nJ")):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value / 1e-12:.3g} pJ"
