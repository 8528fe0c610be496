"""``trispike export``: a network becomes a file that other tools read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from trispike.cli.console import (
    DebugFlag,
    JsonFlag,
    NetworkArgument,
    checked_output,
    command,
    out,
    print_json,
    print_note,
)
from trispike.errors import InvalidSettingError
from trispike.network import Network, digest, load


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A file format that networks are exported to."""

    write: Callable[..., dict[str, Any]]
    """Called with the network, the path, and whichever of ``options`` were given; returns what
    the command reports: JSON values, notes for people under ``"notes"``."""
    options: tuple[str, ...]
    """The command's options that have a meaning for this format."""


def _write_nir(network: Network, path: Path, **options: Any) -> dict[str, Any]:
    # The exchange packages are optional, and the help text does not need them.
    from trispike.export.nir import write

    write(network, path, **options)
    return {"notes": []}


FORMATS: dict[str, Format] = {
    "nir": Format(write=_write_nir, options=("dt",)),
}
"""By the name that --format takes."""


@command
def export(
    network: NetworkArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")
    ],
    format_: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="One of: " + ", ".join(FORMATS) + ".")
    ],
    dt: Annotated[
        float | None,
        typer.Option(
            metavar="DT",
            help="nir: duration of a time step, in the unit of the time constants; default: 1.",
        ),
    ] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Export a network to a format that other tools open."""
    if format_ not in FORMATS:
        raise InvalidSettingError(
            "--format",
            got=repr(format_),
            expected="one of " + ", ".join(FORMATS),
            fix="Choose one of these.",
        )
    checked_output(output, network)
    given = {name: value for name, value in {"dt": dt}.items() if value is not None}
    for name in given:
        if name not in FORMATS[format_].options:
            raise InvalidSettingError(
                f"--{name.replace('_', '-')}",
                got=f"format {format_!r}",
                expected=_formats_with(name),
                fix="Leave the option out.",
            )
    loaded = load(network)
    facts = FORMATS[format_].write(loaded, output, **given)
    facts = {
        "output": str(output),
        "format": format_,
        "network_sha256": digest(loaded),
        "bytes": output.stat().st_size,
        **facts,
    }
    if as_json:
        print_json(facts)
    else:
        for note in facts["notes"]:
            print_note(note)
        out.print(f"wrote {output} ({facts['bytes']:,} bytes)", soft_wrap=True)


def _formats_with(option: str) -> str:
    return "format " + " or ".join(
        repr(name) for name, format_ in FORMATS.items() if option in format_.options
    )
