"""``trispike estimate``: energy per inference from counted events."""

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
    joules,
    out,
    percent,
    print_json,
    progress_bar,
)
from trispike.cli.simulate import EngineOption
from trispike.errors import InvalidDataError
from trispike.network import digest, load
from trispike.runtime.data import load_data
from trispike.runtime.energy import Estimate, estimate_energy, load_profile
from trispike.runtime.engine import Result
from trispike.runtime.engines import build_engine


@command
def estimate(
    network: Annotated[Path, typer.Argument(help="An integer network.")],
    data: DataOption,
    hardware: Annotated[
        str, typer.Option(help="loihi1, cmos45-fp32, cmos45-int8, or a profile file.")
    ] = "loihi1",
    engine: EngineOption = "reference",
    samples: SamplesOption = None,
    assume: Annotated[
        list[str] | None,
        typer.Option(help="EVENT=PICOJOULES where the profile has no price, or another."),
    ] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Count the events of a network on data and price them with a hardware profile."""
    profile = load_profile(hardware)
    assumptions = dict(_assumption(text) for text in assume or [])
    loaded = load(network)
    given = load_data(data).first(samples)
    with progress_bar(f"counting events ({engine})", len(given.x)) as progress:
        result = build_engine(engine, loaded).run(given.x, given.y, progress=progress)
    priced = estimate_energy(result.ledger, profile, assumptions)
    if as_json:
        print_json(
            {**estimate_facts(priced, result), "data": given.name, "network_sha256": digest(loaded)}
        )
    else:
        print_estimate(priced)
        out.print(f"accuracy on {given.name}: {percent(result.accuracy)}")


def estimate_facts(priced: Estimate, result: Result) -> dict[str, Any]:
    """What the command reports, as JSON values."""
    each = max(1, result.ledger.samples)
    return {
        **priced.to_dict(),
        "accuracy": result.accuracy,
        "synaptic_operations": result.ledger.synaptic_operations,
        "synaptic_operations_per_inference": result.ledger.synaptic_operations / each,
    }


def print_estimate(priced: Estimate) -> None:
    """The same for people."""
    profile = priced.profile
    layers = Table(box=None, pad_edge=False, header_style="bold")
    layers.add_column("part")
    for title in ("synaptic ops", "graded ops", "neuron updates", "energy", "share"):
        layers.add_column(title, justify="right")
    total = priced.energy_per_inference_joules
    for layer in priced.layers:
        counts = layer.counts
        updates = counts.get("neuron_update_active", 0) + counts.get("neuron_update_inactive", 0)
        connection = layer.kind == "connection"
        layers.add_row(
            layer.name,
            f"{counts['synaptic_operation']:,.0f}" if connection else "",
            f"{counts['graded_operation']:,.0f}" if connection else "",
            "" if connection else f"{updates:,.0f}",
            joules(layer.joules),
            percent(layer.joules / total) if total else "-",
        )
    out.print(layers)
    terms = Table(box=None, pad_edge=False, header_style="bold")
    for title, side in (("event", "left"), ("per inference", "right"), ("price", "right")):
        terms.add_column(title, justify=side)  # type: ignore[arg-type]
    terms.add_column("energy", justify="right")
    terms.add_column("source")
    for term in priced.terms:
        terms.add_row(
            term.event.replace("_", " "),
            f"{term.count:,.0f}",
            "none" if term.picojoules is None else f"{term.picojoules:g} pJ",
            "not priced" if term.joules is None else joules(term.joules),
            term.source,
        )
    out.print()
    out.print(terms)
    out.print()
    out.print(
        f"[bold]{joules(total)} per inference[/] on {profile.name} ({profile.basis} figures, "
        f"{profile.scope.replace('_', ' ')}), mean of {priced.samples} samples"
    )
    for event, why in priced.unpriced.items():
        out.print(f"  not in it: {event.replace('_', ' ')} - {why}")
    for caveat in profile.caveats:
        out.print(f"  note: {caveat}")
    for twin in priced.twins:
        verdict = "the spiking network wins" if twin.ratio > 1 else "the spiking network loses"
        out.print(
            f"dense network of the same topology, arithmetic alone, {twin.profile}: "
            f"{joules(twin.dense_joules)} ({twin.dense_macs:,} MAC) against "
            f"{joules(twin.spiking_joules)} spiking: {verdict}, {twin.ratio:.2f}x"
        )


def _assumption(text: str) -> tuple[str, float]:
    event, _, price = text.partition("=")
    try:
        return event, float(price)
    except ValueError:
        raise InvalidDataError(
            "--assume",
            got=repr(text),
            expected="EVENT=PICOJOULES",
            fix="For example graded_operation=23.6.",
        ) from None
