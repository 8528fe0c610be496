"""``trispike export``: a network becomes a file that other tools read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from trispike.cli.console import (
    FAILED,
    DebugFlag,
    JsonFlag,
    NetworkArgument,
    checked_output,
    command,
    out,
    print_json,
    print_note,
    stage,
)
from trispike.errors import InvalidSettingError
from trispike.network import Network, digest, load
from trispike.runtime.data import Data, load_data

ONNX_SAMPLES = 8
"""Samples that an ONNX file is run on, unless more are asked for."""


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


def _write_onnx(
    network: Network,
    path: Path,
    *,
    form: str = "sequence",
    carrier: str = "float32",
    data: str | None = None,
    samples: int = ONNX_SAMPLES,
) -> dict[str, Any]:
    from trispike.export.onnx import write
    from trispike.runtime.onnx_engine import check_onnxruntime
    from trispike.runtime.onnx_file import check_file, random_data

    check_onnxruntime()  # before the work, because the file is run in it
    if data is None:
        given = Data(random_data(network, samples), None, "random inputs")
    else:
        given = load_data(data).first(samples)
    network.input.encode(given.x, network.steps)  # refuses what does not fit, likewise
    with stage("writing"):
        files = write(network, path, form=form, carrier=carrier)
    with stage("running the file in onnxruntime"):
        check = check_file(network, path, given.x)
    ties = f", {check.spike_ties} spikes on a threshold apart" if check.spike_ties else ""
    relation = "equals" if check.equal else "DIFFERS FROM"
    note = (
        f"onnxruntime {relation} the reference engine on {check.samples} samples ({given.name}): "
        f"{check.values_compared:,} values compared{ties}"
    )
    return {
        **check.to_dict(),
        "files": [str(file) for file in files],
        "data": given.name,
        "notes": [note],
    }


FORMATS: dict[str, Format] = {
    "nir": Format(write=_write_nir, options=("dt",)),
    "onnx": Format(write=_write_onnx, options=("form", "carrier", "data", "samples")),
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
    form: Annotated[
        str | None,
        typer.Option(
            metavar="FORM",
            help="onnx: step (one time step, states in and out), sequence (a loop over any number "
            "of steps) or unrolled (a fixed number); default: sequence.",
        ),
    ] = None,
    carrier: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE",
            help="onnx: what spikes travel in: float32, int8 (integer networks), float64 (float "
            "networks); default: float32.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="onnx: run the file on these and compare: digits, digits:train, or an .npz, .npy "
            "or .safetensors file with x; default: random inputs.",
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(min=1, help=f"onnx: run so many samples; default: {ONNX_SAMPLES}."),
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
    options = {"dt": dt, "form": form, "carrier": carrier, "data": data, "samples": samples}
    given = {name: value for name, value in options.items() if value is not None}
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
    if not facts.get("equal", True):
        raise typer.Exit(FAILED)


def _formats_with(option: str) -> str:
    return "format " + " or ".join(
        repr(name) for name, format_ in FORMATS.items() if option in format_.options
    )
