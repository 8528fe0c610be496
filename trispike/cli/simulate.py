"""``trispike simulate``: run data through a network."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import typer

from trispike.cli.console import (
    DebugFlag,
    JsonFlag,
    NetworkArgument,
    command,
    out,
    percent,
    print_json,
    progress_bar,
    table,
)
from trispike.cli.data import DataOption, SamplesOption, load_for
from trispike.errors import InvalidSettingError
from trispike.network import Network, digest, load
from trispike.runtime.data import Data
from trispike.runtime.engine import Result
from trispike.runtime.engines import ENGINES, build_engine

EngineOption: TypeAlias = Annotated[
    str, typer.Option(metavar="NAME", help="What runs the network: " + ", ".join(ENGINES) + ".")
]


@command
def simulate(
    network: NetworkArgument,
    data: DataOption,
    engine: EngineOption = "reference",
    samples: SamplesOption = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail when a state leaves its range.")
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=1, help="Wall-clock limit of the lava engine."),
    ] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Run data through a network and report accuracy, spikes and synaptic operations."""
    options: dict[str, Any] = {"strict": strict}
    if timeout is not None:
        if engine != "lava":
            raise InvalidSettingError(
                "--timeout",
                got=f"engine {engine!r}",
                expected="engine 'lava'",
                fix="Leave --timeout out; the others run in this process.",
            )
        options["timeout"] = timeout
    loaded = load(network)
    given = load_for(loaded, data, samples)
    result = run_engine(engine, loaded, given, **options)
    if as_json:
        print_json(result_facts(result, loaded, given))
    else:
        print_result(result)


def run_engine(name: str, network: Network, given: Data, **options: Any) -> Result:
    """Run data through a network, behind a progress bar."""
    with progress_bar(f"simulating ({name})", len(given.x)) as progress:
        engine = build_engine(name, network, **options)
        return engine.run(given.x, given.y, progress=progress)


def result_facts(result: Result, network: Network, given: Data) -> dict[str, Any]:
    """What the command reports, as JSON values."""
    ledger = result.ledger
    return {
        "network_sha256": digest(network),
        "data": given.name,
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
    populations = table("population", "neurons", "+ spikes", "- spikes", "rate", "synaptic ops in")
    for name, p in ledger.populations.items():
        arriving = sum(
            int(c.synaptic_operations.sum())
            for label, c in ledger.connections.items()
            if label.split("->")[1].split("#")[0] == name
        )
        populations.add_row(
            name,
            f"{p.neurons:,}",
            f"{p.spikes_positive.sum() / each:,.1f}",
            f"{p.spikes_negative.sum() / each:,.1f}",
            percent(ledger.firing_rate(name)),
            f"{arriving / each:,.0f}",
        )
    out.print(populations)
    out.print(
        f"{result.engine}: {ledger.samples} samples in {result.seconds:.1f} s, accuracy "
        f"{percent(result.accuracy)}; per inference "
        f"{ledger.synaptic_operations / each:,.0f} synaptic operations, "
        f"{ledger.macs / each:,.0f} graded ones, {ledger.spikes / each:,.0f} spikes; "
        f"{ledger.saturations:,} saturations"
    )
