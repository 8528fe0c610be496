"""``trispike conformance``: does an engine compute what arithmetic says that it must?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from trispike.cli.console import (
    FAILED,
    DebugFlag,
    JsonFlag,
    command,
    out,
    print_json,
    print_note,
    progress_bar,
    table,
)
from trispike.errors import InvalidSettingError
from trispike.runtime.conformance import CONSTRUCTIONS, Conformance, Outcome, chosen
from trispike.runtime.conformance import conformance as run_suite
from trispike.runtime.engines import ENGINES
from trispike.runtime.fast import FastEngine

_STYLES = {"passed": "green", "failed": "bold red", "refused": "yellow"}


@command
def conformance(
    engine: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="One of "
            + ", ".join(ENGINES)
            + "; or package.module:Name of your own class or function, whose code is run.",
        ),
    ],
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="This construction only; can be repeated."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="fast: a device of torch to run on, such as cuda."),
    ] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Run an engine on networks whose every spike, state and logit is known in closed form."""
    options = {}
    if device is not None:
        if engine != FastEngine.name:
            raise InvalidSettingError(
                "--device",
                got=f"engine {engine!r}",
                expected=f"the engine {FastEngine.name}",
                fix="Leave the option out.",
            )
        options["device"] = device
    if ":" in engine:
        # The script does not look where the user stands, and `python -m` does.
        sys.path.insert(0, str(Path.cwd()))
    with progress_bar("conformance", len(chosen(only))) as progress:
        found = run_suite(engine, only, progress=progress, **options)
    if as_json:
        print_json(found.to_dict())
    else:
        _print(found)
    if not found.conforms:
        raise typer.Exit(FAILED)


def _print(found: Conformance) -> None:
    rows = table("construction", "float", "integer", "proves", words=4)
    by_name: dict[str, dict[str, Outcome]] = {}
    for outcome in found.outcomes:
        by_name.setdefault(outcome.construction, {})[outcome.kind] = outcome
    for name, kinds in by_name.items():
        results = [_result(kinds.get(kind)) for kind in ("float", "integer")]
        rows.add_row(name, *results, CONSTRUCTIONS[name].proves)
    out.print(rows)
    for outcome in found.outcomes:
        if outcome.status == "failed":
            print_note(f"failed: {outcome.construction}, {outcome.kind}: {_fault(outcome)}")
    reasons: dict[str, list[str]] = {}
    for outcome in found.outcomes:
        if outcome.status == "refused":
            reasons.setdefault(str(outcome.reason), []).append(
                f"{outcome.construction} ({outcome.kind})"
            )
    for reason, names in reasons.items():
        print_note(f"refused: {', '.join(names)}: {reason}")
    facts: dict[str, Any] = found.to_dict()
    out.print(
        f"{found.engine} {'conforms' if found.conforms else 'does not conform'}: "
        f"{facts['passed']} passed, {facts['failed']} failed, {facts['refused']} refused, "
        f"{facts['values_compared']:,} values compared",
        style="bold green" if found.conforms else "bold red",
        soft_wrap=True,
    )


def _result(outcome: Outcome | None) -> Text:
    return Text(outcome.status, _STYLES[outcome.status]) if outcome else Text("-")


def _fault(outcome: Outcome) -> str:
    difference = outcome.difference
    if difference is None:
        return str(outcome.reason)
    places = (
        ("sample", difference.sample),
        ("step", difference.step),
        ("index", difference.index),
    )
    where = [difference.what, *(f"{name} {at}" for name, at in places if at is not None)]
    return f"{', '.join(where)}: got {difference.got}, expected {difference.expected}"
