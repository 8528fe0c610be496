"""What every command shares: where output goes, how errors end, how progress shows."""

from __future__ import annotations

import functools
import json
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeAlias, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from typer.core import TyperGroup

from trispike.errors import InvalidSettingError, TrispikeError

F = TypeVar("F", bound=Callable[..., Any])

DONE, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130
"""Exit codes."""

PIPE_WIDTH = 4096
"""Columns of a file or a pipe, where the terminal's width means nothing: lines stay whole."""

# Names come from files: what looks like markup or an emoji in them is shown as it is.
_PLAIN: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}

out = Console(**_PLAIN, width=None if sys.stdout.isatty() else PIPE_WIDTH)
"""Results, on stdout."""

err = Console(**_PLAIN, stderr=True)
"""Progress and errors, on stderr."""

JsonFlag: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout instead of tables.")
]
DebugFlag: TypeAlias = Annotated[
    bool, typer.Option("--debug", help="Show the traceback of an error.")
]
NetworkArgument: TypeAlias = Annotated[
    Path,
    typer.Argument(
        metavar="NETWORK", exists=True, dir_okay=False, help="A network, as trispike wrote it."
    ),
]
OutputOption: TypeAlias = Annotated[
    Path, typer.Option("--output", "-o", metavar="FILE", help="The network to write.")
]


class Group(TyperGroup):
    """The commands. With --json, what is wrong with a command line is said in JSON, too."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the arguments name."""
        as_json = "--json" in ctx.args
        try:
            return super().invoke(ctx)
        except typer.Exit:
            raise
        except Exception as error:
            if as_json and getattr(error, "exit_code", None) == WRONG_USE:
                _print_error(type(error).__name__, getattr(error, "format_message", str)())
            raise


def command(function: F) -> F:
    """Turn errors into one line on stderr (and a JSON object) and an exit code."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except (typer.Exit, BrokenPipeError):  # A reader that has seen enough is no error.
            raise
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the user gets one line
            fail(error, as_json=kwargs["as_json"], debug=kwargs["debug"])

    return wrapper  # type: ignore[return-value]


def fail(error: BaseException, *, as_json: bool, debug: bool) -> NoReturn:
    """End the command with an error."""
    if debug:
        err.print(traceback.format_exc(), soft_wrap=True)
    kind, code, message = type(error).__name__, FAILED, str(error)
    if isinstance(error, KeyboardInterrupt):
        code, message = INTERRUPTED, "interrupted"
    elif isinstance(error, InvalidSettingError):
        code = WRONG_USE
    elif not isinstance(error, TrispikeError | OSError):  # a defect of ours
        message = f"internal error, {kind}: {message} (--debug shows where)"
    err.print("error: ", style="bold red", end="")
    err.print(message, soft_wrap=True)
    if as_json:
        _print_error(kind, message)
    raise typer.Exit(code)


def _print_error(kind: str, message: str) -> None:
    print_json({"error": {"type": kind, "message": message}})


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on stdout."""
    sys.stdout.write(json.dumps(value, allow_nan=False) + "\n")


def table(*titles: str, words: int = 1) -> Table:
    """A compact table.

    Args:
        titles: Of the columns.
        words: How many of the first columns hold words, which fold where a terminal is narrow;
            the others hold numbers. Nothing is ever cut off.
    """
    result = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles[:words]:
        result.add_column(title, overflow="fold")
    for title in titles[words:]:
        result.add_column(title, justify="right", no_wrap=True)
    return result


def print_note(text: str) -> None:
    """A remark; the lines after the first one are indented."""
    wrapped = textwrap.fill(text, out.width, initial_indent="  ", subsequent_indent="    ")
    out.print(wrapped, soft_wrap=True)


def warn(text: str) -> None:
    """Something that does not end the command, on stderr: stdout may be JSON."""
    err.print("warning: ", style="bold yellow", end="")
    err.print(text, soft_wrap=True)


@contextmanager
def progress_bar(description: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr; yields what is called with the number of finished items.

    Without a total it only counts.

    Nothing is drawn where stderr is not a terminal.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    # Redrawn by the calls, not by a thread: Lava forks, and a fork has only the thread that forks,
    # with whatever locks another one held.
    with Progress(
        *columns,
        console=err,
        transient=True,
        disable=not err.is_terminal,
        auto_refresh=False,
    ) as bar:
        task = bar.add_task(description, total=total)
        bar.refresh()

        def advance(count: int) -> None:
            bar.advance(task, count)
            bar.refresh()

        yield advance


def stage(description: str) -> AbstractContextManager[Any]:
    """Says on stderr, if that is a terminal, what goes on that cannot be counted."""
    return err.status(description) if err.is_terminal else nullcontext()


def checked_output(path: Path, source: Path) -> None:
    """Refuse a path that cannot be written, or is what is read, before any work is done for it.

    Raises:
        InvalidSettingError: A folder, in no folder, or the source itself.
    """
    got = None
    if path.is_dir():
        got = "a folder"
    elif not path.absolute().parent.is_dir():
        got = "a folder that does not exist"
    elif path.exists() and path.samefile(source):
        got = "the file that is read"
    if got:
        raise InvalidSettingError(
            f"output '{path}'",
            got=got,
            expected="another file, in an existing folder",
            fix="Correct the path.",
        )


def checked_folder(path: Path) -> None:
    """Refuse a path at which no new folder can be made, before any work is done for it.

    Raises:
        InvalidSettingError: A file, a folder with something in it, or in no folder.
    """
    got = None
    if not path.absolute().parent.is_dir():
        got = "a folder inside one that does not exist"
    elif path.is_dir() and any(path.iterdir()):
        got = "a folder with something in it"
    elif path.exists() and not path.is_dir():
        got = "a file"
    if got:
        raise InvalidSettingError(
            f"output '{path}'",
            got=got,
            expected="a new folder, in an existing one",
            fix="Correct the path.",
        )


def percent(value: float | None) -> str:
    """0.985 as "98.50%"."""
    return "-" if value is None else f"{100 * value:.2f}%"


def joules(value: float) -> str:
    """1.2e-5 as "12 uJ", three digits."""
    for factor, unit in ((1.0, "J"), (1e-3, "mJ"), (1e-6, "uJ"), (1e-9, "nJ")):
        if value >= 0.9995 * factor:  # 999.6 nJ are 1 uJ in three digits
            return f"{value / factor:.3g} {unit}"
    return f"{value / 1e-12:.3g} pJ"


def seconds(value: float) -> str:
    """1.2e-5 as "12 us", three digits."""
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if value >= 0.9995 * factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"
