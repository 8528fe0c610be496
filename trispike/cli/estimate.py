"""``trispike estimate``: energy per inference from counted events."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from trispike.cli.console import (
    DebugFlag,
    JsonFlag,
    NetworkArgument,
    command,
    joules,
    out,
    percent,
    print_json,
    print_note,
    table,
)
from trispike.cli.data import DataOption, SamplesOption, load_for
from trispike.cli.simulate import EngineOption, run_engine
from trispike.errors import InvalidSettingError
from trispike.network import Network, digest, load
from trispike.runtime.data import Data
from trispike.runtime.energy import (
    COUNTED,
    Estimate,
    Twin,
    estimate_energy,
    load_profile,
    prices_of,
    profile_names,
)
from trispike.runtime.engine import Result
from trispike.runtime.engines import default_engine


@command
def estimate(
    network: NetworkArgument,
    data: DataOption,
    hardware: Annotated[
        str,
        typer.Option(
            metavar="PROFILE",
            help=", ".join(profile_names()) + ", or a profile of your own (JSON).",
        ),
    ] = "loihi1",
    engine: EngineOption = None,
    samples: SamplesOption = None,
    assume: Annotated[
        list[str] | None,
        typer.Option(
            metavar="EVENT=PJ",
            help="Price an event where the profile has none, or another; may be repeated. "
            "Events: " + ", ".join(COUNTED) + ".",
        ),
    ] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Count the events of a network on data and price them with a hardware profile."""
    profile = load_profile(hardware)
    assumptions = dict(_assumption(text) for text in assume or [])
    prices_of(profile, assumptions)  # fails before the long part, if it does
    loaded = load(network)
    given = load_for(loaded, data, samples)
    result = run_engine(engine or default_engine(), loaded, given)
    priced = estimate_energy(result.ledger, profile, assumptions)
    if as_json:
        print_json(estimate_facts(priced, result, loaded, given))
    else:
        print_estimate(priced)
        out.print(f"accuracy on {given.name}: {percent(result.accuracy)}")


def estimate_facts(
    priced: Estimate, result: Result, network: Network, given: Data
) -> dict[str, Any]:
    """What the command reports, as JSON values."""
    each = max(1, result.ledger.samples)
    return {
        "network_sha256": digest(network),
        "data": given.name,
        **priced.to_dict(),
        "accuracy": result.accuracy,
        "synaptic_operations": result.ledger.synaptic_operations,
        "synaptic_operations_per_inference": result.ledger.synaptic_operations / each,
    }


def print_estimate(priced: Estimate) -> None:
    """The same for people."""
    _print_layers(priced)
    _print_terms(priced)
    profile, total = priced.profile, joules(priced.energy_per_inference_joules)
    if priced.low_joules != priced.high_joules:
        total += f" ({joules(priced.low_joules)} to {joules(priced.high_joules)})"
    out.print(
        f"{total} per inference on {profile.name} ({profile.basis} figures, "
        f"{profile.scope.replace('_', ' ')}), mean of {priced.samples} samples",
        style="bold",
    )
    counts = {term.event: f" ({term.count:,.0f} per inference)" for term in priced.terms}
    for event, why in priced.unpriced.items():
        print_note(f"not in it: {_words(event)}{counts.get(event, '')}: {why}")
    for event, price in priced.assumptions.items():
        print_note(f"assumed: {price:g} pJ per {_words(event)}")
    for caveat in profile.caveats:
        print_note(f"note: {caveat}")
    out.print("Beside the dense network of the same topology, arithmetic of the weights alone:")
    for twin in priced.twins:
        print_note(_twin(twin))


def _print_layers(priced: Estimate) -> None:
    parts = table("part", "synaptic ops", "graded ops", "updates", "energy", "share")
    total = priced.energy_per_inference_joules
    for layer in priced.layers:
        counts = layer.counts
        updates = counts.get("neuron_update_active", 0) + counts.get("neuron_update_inactive", 0)
        connection = layer.kind == "connection"
        parts.add_row(
            layer.name,
            f"{counts['synaptic_operation']:,.0f}" if connection else "",
            f"{counts['graded_operation']:,.0f}" if connection else "",
            "" if connection else f"{updates:,.0f}",
            joules(layer.joules),
            percent(layer.joules / total) if total else "-",
        )
    out.print(parts)
    out.print()


def _print_terms(priced: Estimate) -> None:
    terms = table("event", "per inference", "price", "energy")
    for term in priced.terms:
        terms.add_row(
            _words(term.event),
            f"{term.count:,.0f}",
            "none" if term.picojoules is None else f"{term.picojoules:g} pJ",
            "not priced" if term.joules is None else joules(term.joules),
        )
    out.print(terms)
    for term in priced.terms:
        if term.joules is not None:
            print_note(f"{_words(term.event)}: {term.source}")
    out.print()


def _twin(twin: Twin) -> str:
    spiking, dense = joules(twin.spiking_joules), joules(twin.dense_joules)
    words = f"{twin.profile}: {spiking} spiking, {dense} dense ({twin.dense_macs:,} MAC)"
    if twin.ratio is None:
        return f"{words}: the spiking network did nothing that has a price"
    wins = twin.ratio > 1
    factor = twin.ratio if wins else 1 / twin.ratio
    words += f": the spiking network {'wins' if wins else 'loses'} by {factor:.2f}x"
    if twin.break_even_picojoules is not None:
        words += (
            f" without its {twin.neuron_updates:,.0f} neuron updates, and loses if one costs more "
            f"than {twin.break_even_picojoules:.3g} pJ"
        )
    return words


def _words(event: str) -> str:
    return event.replace("_", " ")


def _assumption(text: str) -> tuple[str, float]:
    event, _, price = text.partition("=")
    try:
        return event.strip(), float(price)
    except ValueError:
        raise InvalidSettingError(
            "--assume",
            got=repr(text),
            expected="EVENT=PICOJOULES",
            fix="For example graded_operation=23.6.",
        ) from None
