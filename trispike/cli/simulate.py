"""``trispike simulate``: run data through a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from trispike.cli.console import (
    DataOption,
    DebugFlag,
    JsonFlag,
    SamplesOption,
    command,
    out,
    percent,
    print_json,
    progress_bar,
)
from trispike.network import digest, load
from trispike.runtime.data import load_data
from trispike.runtime.engine import Result
from trispike.runtime.engines import build_engine

EngineOption = Annotated[str, typer.Option(help="reference or lava.")]


@command
def simulate(
    network: Annotated[Path, typer.Argument(help="An integer network (or a float one).")],
    data: DataOption,
    engine: EngineOption = "reference",
    samples: SamplesOption = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail when a state leaves its range.")
    ] = False,
    timeout: Annotated[
        float | None, typer.Option(min=1, help="Lava: wall-clock limit in seconds.")
    ] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Run data through a network and report accuracy, spikes and synaptic operations."""
    loaded = load(network)
    given = load_data(data).first(samples)
    options: dict[str, Any] = {"strict": strict}
    if timeout is not None and engine == "lava":
        options["timeout"] = timeout
    built = build_engine(engine, loaded, **options)
    with progress_bar(f"simulating ({engine})", len(given.x)) as progress:
        result = built.run(given.x, given.y, progress=progress)
    if as_json:
        print_json({**result_facts(result), "data": given.name, "network_sha256": digest(loaded)})
    else:
        print_result(result)


def result_facts(result: Result) -> dict[str, Any]:
    """What the command reports, as JSON values."""
    ledger = result.ledger
    return {
        "engine": result.engine,
        "samples": ledger.samples,
        "accuracy": result.accuracy,
        "predictions": result.predictions.tolist(),
        "synaptic_operations": ledger.synaptic_operations,
        "synaptic_operations_per_inference": ledger.synaptic_operations / max(1, ledger.samples),
        "saturations": ledger.saturations,
        "firing_rates": {name: ledger.firing_rate(name) for name in ledger.populations},
        "seconds": result.seconds,
        "ledger": ledger.to_dict(),
    }


def print_result(result: Result) -> None:
    """The same for people."""
    ledger = result.ledger
    each = max(1, ledger.samples)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("population")
    for title in ("neurons", "+ spikes", "- spikes", "rate", "synaptic operations in"):
        table.add_column(title, justify="right")
    for name, p in ledger.populations.items():
        arriving = sum(
            int(c.synaptic_operations.sum())
            for label, c in ledger.connections.items()
            if label.split("->")[1].split("#")[0] == name
        )
        table.add_row(
            name,
            f"{p.neurons:,}",
            f"{p.spikes_positive.sum() / each:,.1f}",
            f"{p.spikes_negative.sum() / each:,.1f}",
            percent(ledger.firing_rate(name)),
            f"{arriving / each:,.0f}",
        )
    out.print(table)
    out.print(
        f"{result.engine}: {ledger.samples} samples in {result.seconds:.1f} s, accuracy "
        f"[bold]{percent(result.accuracy)}[/]; per inference "
        f"{ledger.synaptic_operations / each:,.0f} synaptic operations, "
        f"{ledger.macs / each:,.0f} graded ones (input), {ledger.spikes / each:,.0f} spikes; "
        f"{ledger.saturations} saturations"
    )
