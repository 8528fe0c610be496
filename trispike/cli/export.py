"""``trispike export``: a network becomes a file that other tools read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from trispike.cli.console import (
    FAILED,
    DebugFlag,
    JsonFlag,
    NetworkArgument,
    checked_folder,
    checked_output,
    command,
    out,
    percent,
    print_json,
    print_note,
    stage,
)
from trispike.cli.data import DATA_SOURCES, load_for
from trispike.errors import InvalidSettingError
from trispike.network import Network, digest, equal, load
from trispike.runtime.data import Data

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
    folder: bool = False
    """Whether a folder is written, instead of a file."""


def _write_nir(
    network: Network,
    path: Path,
    *,
    nodes: str = "complete",
    dt: float | None = None,
    data: str | None = None,
    samples: int | None = None,
    **standard: Any,
) -> dict[str, Any]:
    # The exchange packages are optional, and the help text does not need them.
    from trispike.export.nir import read_network, write, write_standard

    if nodes not in ("complete", "standard"):
        raise InvalidSettingError(
            "--nodes",
            got=repr(nodes),
            expected="complete or standard",
            fix="complete says all of the network; standard is for tools without our nodes.",
        )
    if nodes == "standard":
        given = None if data is None else load_for(network, data, samples)
        with stage("writing"):
            export = write_standard(
                network, path, dt=dt, data=None if given is None else given.x, **standard
            )
        mismatch = export.mismatch
        facts: dict[str, Any] = {
            "nodes": nodes,
            "convention": standard.get("convention", "exact"),
            "losses": list(export.losses),
            "mismatch": None
            if mismatch is None
            else {**asdict(mismatch), "fraction": mismatch.fraction},
            "data": None if given is None else given.name,
        }
        notes = [*export.losses, *export.notes]
        if mismatch is not None and given is not None:
            notes.append(
                f"Read again and run on {mismatch.samples} samples ({given.name}): "
                f"{mismatch.mismatches:,} of {mismatch.neuron_steps:,} neuron-steps differ "
                f"({percent(mismatch.fraction)}), {mismatch.predictions_changed} predictions."
            )
        return {**facts, "notes": notes}
    extra = [*standard, *(n for n, v in (("data", data), ("samples", samples)) if v is not None)]
    if extra:
        raise InvalidSettingError(
            ", ".join(f"--{name.replace('_', '-')}" for name in extra),
            got="--nodes complete, which is written as it is",
            expected="--nodes standard",
            fix="Leave it out, or add --nodes standard.",
        )
    with stage("writing"):
        write(network, path, dt=1.0 if dt is None else dt)
    with stage("reading it back"):
        same = equal(read_network(path), network)
    words = "equals the network" if same else "DIFFERS FROM the network"
    return {"nodes": nodes, "equal": same, "notes": [f"Read back with nir, the graph {words}."]}


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
        given = load_for(network, data, samples)
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


def _write_sanafe(network: Network, path: Path, **options: Any) -> dict[str, Any]:
    from trispike.cli.export_sanafe import write_sanafe

    return write_sanafe(network, path, **options)


FORMATS: dict[str, Format] = {
    "nir": Format(
        write=_write_nir,
        options=("dt", "nodes", "convention", "allow_lossy", "data", "samples"),
    ),
    "onnx": Format(write=_write_onnx, options=("form", "carrier", "data", "samples")),
    "sanafe": Format(
        write=_write_sanafe,
        options=("placement", "data", "samples", "input", "updates", "compare"),
        folder=True,
    ),
}
"""By the name that --format takes."""


@command
def export(
    network: NetworkArgument,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help="The file to write; sanafe: the new folder."
        ),
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
    nodes: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="nir: complete (all of the network, with nodes of our own) or standard (for "
            "tools that do not know these); default: complete.",
        ),
    ] = None,
    convention: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="nir, standard nodes: the tool that reads them; default: exact."
        ),
    ] = None,
    allow_lossy: Annotated[
        bool | None,
        typer.Option(
            "--allow-lossy",
            help="nir, standard nodes: replace neurons that have none, and measure on --data what "
            "that costs.",
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
            help=f"Run the file on these and compare: {DATA_SOURCES}; onnx: default: random "
            "inputs; nir: standard nodes only; sanafe: replay what the network does on these.",
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Run so many samples only; onnx: default: {ONNX_SAMPLES}, nir: all, sanafe: 4.",
        ),
    ] = None,
    placement: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="sanafe: where the neurons are, as trispike check -o writes it."
        ),
    ] = None,
    input_: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="POLICY",
            help="sanafe: what becomes of the input: spikes (values outside -1, 0, 1 are refused), "
            "binary (any value is replayed as one spike) or omit; default: spikes.",
        ),
    ] = None,
    updates: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            help="sanafe: which neurons count as updated: every (all, at every step) or fired; "
            "default: every.",
        ),
    ] = None,
    compare: Annotated[
        bool | None,
        typer.Option(
            "--compare", help="sanafe: run the folder in SANA-FE and compare with our own count."
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
    if FORMATS[format_].folder:
        checked_folder(output)
    else:
        checked_output(output, network)
    options = {
        "dt": dt,
        "nodes": nodes,
        "convention": convention,
        "allow_lossy": allow_lossy,
        "form": form,
        "carrier": carrier,
        "data": data,
        "samples": samples,
        "placement": placement,
        "input": input_,
        "updates": updates,
        "compare": compare,
    }
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
        "bytes": sum(p.stat().st_size for p in (*output.glob("*"), output) if p.is_file()),
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
