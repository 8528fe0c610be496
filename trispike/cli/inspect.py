"""``trispike inspect``: what is in a network file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trispike.cli.console import DebugFlag, JsonFlag, command, out, print_json
from trispike.network import describe, load, summary


@command
def inspect(
    network: Annotated[Path, typer.Argument(help="A float or integer network.")],
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Show the populations, connections and provenance of a network."""
    loaded = load(network)
    if as_json:
        print_json(describe(loaded))
        return
    out.print(summary(loaded), markup=False, soft_wrap=True)
    for name, value in loaded.provenance.items():
        out.print(f"{name}: {value}", markup=False, soft_wrap=True)
