"""``trispike verify``: are the engines equal, bit for bit?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trispike.cli.console import (
    FAILED,
    DataOption,
    DebugFlag,
    JsonFlag,
    command,
    out,
    print_json,
    progress_bar,
)
from trispike.network import load
from trispike.runtime.data import load_data
from trispike.runtime.verify import Certificate
from trispike.runtime.verify import verify as verify_engines


@command
def verify(
    network: Annotated[Path, typer.Argument(help="An integer network.")],
    data: DataOption,
    engines: Annotated[
        str, typer.Option(help="Names, separated by commas; the first is the trusted one.")
    ] = "reference,lava",
    samples: Annotated[int, typer.Option(min=1, help="Use the first so many samples.")] = 64,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Compare engines on the same samples: every spike, state, logit and count."""
    loaded = load(network)
    given = load_data(data).first(samples)
    names = [name.strip() for name in engines.split(",") if name.strip()]
    with progress_bar("verifying", len(given.x) * len(names)) as progress:
        certificate = verify_engines(loaded, given.x, names, progress=progress)
    if as_json:
        print_json({**certificate.to_dict(), "data": given.name})
    else:
        print_certificate(certificate)
    if not certificate.equal:
        raise typer.Exit(FAILED)


def print_certificate(certificate: Certificate) -> None:
    """The certificate for people."""
    names = list(certificate.engines)
    sign = "==" if certificate.equal else "!="
    colour = "green" if certificate.equal else "red"
    out.print(f"[bold {colour}]{f' {sign} '.join(names)}[/]")
    out.print(
        f"{certificate.samples} samples, {certificate.populations} populations, traces "
        f"{', '.join(certificate.traces)} at every step, logits and ledger: "
        f"{certificate.values_compared:,} values compared"
    )
    difference = certificate.first_difference
    if difference:
        where = f"first difference, {names[0]} against {difference.engine}: {difference.what}"
        if difference.sample is not None:
            where += (
                f", sample {difference.sample}, step {difference.step}, "
                f"index {difference.index}: {difference.expected:g} against {difference.got:g}"
            )
        out.print(where, markup=False)
    for name, version in certificate.engines.items():
        out.print(f"  {name}: {version}, {certificate.seconds[name]:.1f} s")
    out.print(f"  network sha256 {certificate.network_sha256}", soft_wrap=True)
    out.print(f"  data sha256 {certificate.data_sha256}", soft_wrap=True)
