"""``trispike import``: a NIR file of any tool becomes a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from trispike.cli.console import (
    DebugFlag,
    JsonFlag,
    OutputOption,
    checked_output,
    command,
    out,
    print_json,
    print_note,
)
from trispike.errors import InvalidSettingError
from trispike.network import describe, save


@command
def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="A .nir file.")
    ],
    output: OutputOption,
    convention: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What the file's writer means by it: exact, norse, norse-export, snntorch, "
            "sinabs, spikingjelly, rockpool, spyx or lava. Files of trispike say it themselves.",
        ),
    ] = None,
    dt: Annotated[
        float | None,
        typer.Option(
            metavar="DT",
            help="Duration of a time step, in the unit of the file's time constants; default: "
            "the tool's own, if it has one.",
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(metavar="T", min=1, help="Time steps per sample.")
    ] = None,
    input_encoding: Annotated[
        Literal["direct", "frames", "spikes"] | None,
        typer.Option(help="How data enter; default: frames, one per time step."),
    ] = None,
    readout: Annotated[
        Literal["mean", "sum", "last"] | None,
        typer.Option(help="What becomes of the output's T values; default: mean."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="What the convention leaves open, or has otherwise, like reset=zero; repeatable.",
        ),
    ] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Import a NIR file as a network, refusing what is ambiguous or has no exact form."""
    checked_output(output, file)
    # nir is optional, and the help text does not need it.
    from trispike.export.nir import read_network

    network = read_network(
        file,
        convention=convention,
        dt=dt,
        steps=steps,
        encoding=input_encoding,
        summary=readout,
        settings=_pairs(settings or []),
    )
    save(network, output)
    description = describe(network)
    facts: dict[str, Any] = {
        "output": str(output),
        "file": str(file),
        **{key: description[key] for key in ("kind", "steps", "neurons", "synapses")},
        "populations": len(description["populations"]),
        "connections": len(description["connections"]),
        "network_sha256": description["network_sha256"],
    }
    if as_json:
        print_json(facts)
    else:
        out.print(
            f"imported a {facts['kind']} network: {facts['populations']} populations "
            f"({facts['neurons']:,} neurons), {facts['connections']} connections "
            f"({facts['synapses']:,} synapses), {facts['steps']} time steps"
        )
        if caveat := network.provenance.get("nir", {}).get("caveat"):
            print_note(caveat)
        out.print(f"wrote {output}", soft_wrap=True)


def _pairs(settings: list[str]) -> dict[str, str]:
    pairs = {}
    for text in settings:
        key, sign, value = text.partition("=")
        if not sign or not key or key in pairs:
            raise InvalidSettingError(
                "--set",
                got=repr(text),
                expected="KEY=VALUE, each key once",
                fix="Write it like --set reset=zero.",
            )
        pairs[key] = value
    return pairs
