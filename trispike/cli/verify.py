"""``trispike verify``: are the engines equal, bit for bit?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from trispike.cli.console import (
    FAILED,
    DebugFlag,
    JsonFlag,
    NetworkArgument,
    command,
    out,
    print_json,
    print_note,
    progress_bar,
    stage,
)
from trispike.cli.data import DataOption, load_for
from trispike.network import Network, load
from trispike.runtime.data import Data
from trispike.runtime.engines import ENGINES
from trispike.runtime.onnx_file import check_file
from trispike.runtime.verify import Certificate, Difference
from trispike.runtime.verify import verify as verify_engines


@command
def verify(
    network: NetworkArgument,
    data: DataOption,
    engines: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Separated by commas, the trusted one first; there are "
            + ", ".join(ENGINES)
            + ".",
        ),
    ] = "reference,lava",
    samples: Annotated[int, typer.Option(min=1, help="Use the first so many samples.")] = 64,
    onnx: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Compare an exported ONNX file with the reference engine, instead of engines.",
        ),
    ] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Compare engines on the same samples: every spike, state, logit and count."""
    names = [name.strip() for name in engines.split(",") if name.strip()]
    loaded = load(network)
    given = load_for(loaded, data, samples)
    if onnx is not None:
        _verify_file(loaded, given, onnx, as_json=as_json)
        return
    certificate = compare_engines(loaded, given, names)
    if as_json:
        print_json(certificate_facts(certificate, given))
    else:
        print_certificate(certificate)
    if not certificate.equal:
        raise typer.Exit(FAILED)


def _verify_file(network: Network, given: Data, path: Path, *, as_json: bool) -> None:
    with stage("running the file in onnxruntime"):
        check = check_file(network, path, given.x)
    if as_json:
        print_json({"data": given.name, "file": str(path), **check.to_dict()})
    else:
        out.print(
            f"{path} {'==' if check.equal else '!='} reference",
            style="bold green" if check.equal else "bold red",
            soft_wrap=True,
        )
        out.print(
            f"{check.form} form, {check.carrier}, {check.samples} samples: "
            f"{check.values_compared:,} values compared, logits differ by at most "
            f"{check.largest_logit_difference:g}"
            + ("" if check.spike_ties is None else f", {check.spike_ties} spikes on a threshold")
        )
    if not check.equal:
        raise typer.Exit(FAILED)


def compare_engines(network: Network, given: Data, engines: Sequence[str]) -> Certificate:
    """Compare engines, behind a progress bar."""
    with progress_bar("verifying", len(given.x) * len(engines)) as progress:
        return verify_engines(network, given.x, engines, progress=progress)


def certificate_facts(certificate: Certificate, given: Data) -> dict[str, Any]:
    """What the command reports, as JSON values."""
    return {"data": given.name, **certificate.to_dict()}


def print_certificate(certificate: Certificate) -> None:
    """The certificate for people."""
    names = list(certificate.engines)
    equal = [name for name in names if name not in certificate.unequal_engines]
    if len(equal) > 1:
        out.print(" == ".join(equal), style="bold green")
    for name in certificate.unequal_engines:
        out.print(f"{names[0]} != {name}", style="bold red")
    out.print(
        f"{certificate.samples} samples, {certificate.populations} populations, traces "
        f"{', '.join(certificate.traces)} at every step, logits and ledger: "
        f"{certificate.values_compared:,} values compared"
        + (", learned weights included" if certificate.learned else "")
        + (f", states and logits within {certificate.tolerance:g}" if certificate.tolerance else "")
    )
    if certificate.first_difference:
        print_note(_difference(names[0], certificate.first_difference))
    for name, version in certificate.engines.items():
        print_note(f"{name}: {version}, {certificate.seconds[name]:.1f} s")
    print_note(f"network sha256 {certificate.network_sha256}")
    print_note(f"data sha256 {certificate.data_sha256}")


def _difference(trusted: str, difference: Difference) -> str:
    places = (
        ("sample", difference.sample),
        ("step", difference.step),
        ("index", difference.index),
    )
    where = [difference.what, *(f"{name} {at}" for name, at in places if at is not None)]
    values = ""
    if difference.expected is not None:
        values = f": {difference.expected} in {trusted}, {difference.got} in {difference.engine}"
    return f"first difference of {difference.engine}: {', '.join(where)}{values}"
