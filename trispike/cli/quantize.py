"""``trispike quantize``: a float network becomes an integer network, with a record."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from trispike.cli.console import (
    DebugFlag,
    JsonFlag,
    NetworkArgument,
    OutputOption,
    checked_output,
    command,
    out,
    percent,
    print_json,
    progress_bar,
    table,
)
from trispike.cli.data import DATA_SOURCES, load_for
from trispike.network import digest, load, save
from trispike.quantize import Granularity, Method, Quantization
from trispike.quantize import quantize as quantize_network
from trispike.runtime.data import Data

CALIBRATION_SAMPLES = 256


@command
def quantize(
    network: NetworkArgument,
    calibration: Annotated[
        str,
        typer.Option(
            metavar="DATA",
            help=f"Data like those it will see: {DATA_SOURCES} and, for accuracies, y.",
        ),
    ],
    output: OutputOption,
    weight_bits: Annotated[int, typer.Option(min=2, max=8, help="Width of a weight.")] = 8,
    granularity: Annotated[
        Granularity, typer.Option(help="One weight scale per output channel, or per layer.")
    ] = "channel",
    method: Annotated[
        Method | None,
        typer.Option(
            help="nearest: every weight by itself. clipped: scales by the error of the currents. "
            "gptq: weights rounded together. Default: nearest for 8 bits, gptq for fewer."
        ),
    ] = None,
    state_bits: Annotated[int, typer.Option(min=8, max=32, help="Width of a state.")] = 24,
    state_shift: Annotated[
        int | None,
        typer.Option(
            min=0, max=16, help="Left shift of the accumulators; default: chosen per population."
        ),
    ] = None,
    samples: Annotated[
        int, typer.Option(min=1, help="Use the first so many calibration samples.")
    ] = CALIBRATION_SAMPLES,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Quantize a float network to 8-bit (or fewer) weights and integer states."""
    checked_output(output, network)
    source = load(network)
    data = load_for(source, calibration, samples)
    with progress_bar("quantizing", len(data.x)) as progress:
        quantization = quantize_network(
            source,
            data.x,
            data.y,
            weight_bits=weight_bits,
            granularity=granularity,
            method=method,
            state_bits=state_bits,
            state_shift=state_shift,
            progress=progress,
        )
    facts = quantization_facts(quantization, data, output)
    save(quantization.network, output)
    if as_json:
        print_json(facts)
    else:
        print_quantization(quantization)
        out.print(f"wrote {output}", soft_wrap=True)


def quantization_facts(
    quantization: Quantization, calibration: Data, output: Path | None
) -> dict[str, Any]:
    """What the command reports, as JSON values."""
    return {
        "output": None if output is None else str(output),
        "data": calibration.name,
        "network_sha256": digest(quantization.network),
        **quantization.record.to_dict(),
    }


def print_quantization(quantization: Quantization) -> None:
    """The same for people."""
    record = quantization.record
    titles = ("shift", "threshold", "headroom", "saturated", "equal", "rate")
    populations = table("population", *titles)
    for p in record.populations:
        span = f"{p.threshold_min:,}"
        if p.threshold_max != p.threshold_min:
            span += f"..{p.threshold_max:,}"
        populations.add_row(
            p.name,
            str(p.state_shift),
            span,
            f"{p.headroom_bits:.1f} bit" + ("" if p.headroom_bits >= 0 else " (not proved)"),
            f"{p.saturations:,}",
            percent(p.spike_agreement),
            percent(p.firing_rate_integer),
        )
    out.print(populations)
    out.print(
        f"{record.weight_bits}-bit weights ({record.method}), one scale per "
        f"{record.granularity}; on "
        f"{record.samples} calibration samples: accuracy "
        f"{percent(record.accuracy_float)} float, {percent(record.accuracy_integer)} integer, "
        f"{percent(record.prediction_agreement)} of predictions equal"
    )
    if record.input_clipped:
        out.print(f"{percent(record.input_clipped)} of the calibration input was clipped")
