"""``trispike quantize``: a float network becomes an integer network, with a record."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from trispike.cli.console import (
    DebugFlag,
    JsonFlag,
    checked_output,
    command,
    out,
    percent,
    print_json,
    progress_bar,
)
from trispike.network import digest, load, save
from trispike.quantize import Granularity, Quantization
from trispike.quantize import quantize as quantize_network
from trispike.runtime.data import load_data

CALIBRATION_SAMPLES = 256


@command
def quantize(
    network: Annotated[Path, typer.Argument(help="A float network, from trispike convert.")],
    calibration: Annotated[
        str, typer.Option(help="digits:train, or a file with x and, for accuracies, y.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The network to write.")],
    weight_bits: Annotated[int, typer.Option(min=2, max=8, help="Width of a weight.")] = 8,
    granularity: Annotated[
        Granularity, typer.Option(help="One weight scale per output channel, or per layer.")
    ] = "channel",
    state_bits: Annotated[int, typer.Option(min=8, max=32, help="Width of a state.")] = 24,
    state_shift: Annotated[
        int | None,
        typer.Option(min=0, max=16, help="Left shift of the accumulators; default: chosen."),
    ] = None,
    samples: Annotated[
        int, typer.Option(min=1, help="Use the first so many calibration samples.")
    ] = CALIBRATION_SAMPLES,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Quantize a float network to 8-bit (or fewer) weights and integer states."""
    checked_output(output)
    source = load(network)
    data = load_data(calibration).first(samples)
    with progress_bar("quantizing", len(data.x)) as progress:
        quantization = quantize_network(
            source,
            data.x,
            data.y,
            weight_bits=weight_bits,
            granularity=granularity,
            state_bits=state_bits,
            state_shift=state_shift,
            progress=progress,
        )
    save(quantization.network, output)
    facts = quantization_facts(quantization, output)
    if as_json:
        print_json(facts)
    else:
        print_quantization(quantization)
        out.print(f"wrote {output}", soft_wrap=True)


def quantization_facts(quantization: Quantization, output: Path) -> dict[str, Any]:
    """What the command reports, as JSON values."""
    return {
        "output": str(output),
        "network_sha256": digest(quantization.network),
        **quantization.record.to_dict(),
    }


def print_quantization(quantization: Quantization) -> None:
    """The same for people."""
    record = quantization.record
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("population")
    for title in ("shift", "threshold", "headroom", "saturated", "spikes equal", "rate"):
        table.add_column(title, justify="right")
    for p in record.populations:
        span = f"{p.threshold_min:,}"
        if p.threshold_max != p.threshold_min:
            span += f"..{p.threshold_max:,}"
        table.add_row(
            p.name,
            str(p.state_shift),
            span,
            f"{p.headroom_bits:.1f} bit" + ("" if p.headroom_bits >= 0 else " (not proved)"),
            str(p.saturations),
            percent(p.spike_agreement),
            f"{percent(p.firing_rate_float)} -> {percent(p.firing_rate_integer)}",
        )
    out.print(table)
    out.print(
        f"{record.weight_bits}-bit weights, one scale per {record.granularity}; on "
        f"{record.samples} calibration samples: accuracy "
        f"{percent(record.accuracy_float)} float, {percent(record.accuracy_integer)} integer, "
        f"{percent(record.prediction_agreement)} of predictions equal"
    )
