"""``trispike estimate``: energy per inference from counted events."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from trispike.cli.anytime import (
    anytime_facts,
    anytime_of,
    check_anytime,
    print_anytime,
    save_plot,
)
from trispike.cli.comparison import compare, print_comparison
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
    progress_bar,
    table,
)
from trispike.cli.data import SamplesOption, load_for
from trispike.cli.ledger import (
    DataUnlessLedgerOption,
    LedgerOption,
    LedgerOutOption,
    PerClassOption,
    StatisticsOption,
    check_classes,
    check_ledger_out,
    check_source,
    print_statistics,
    read_ledger,
    spreads,
    statistics_facts,
    write_ledger,
    written_facts,
)
from trispike.cli.simulate import EngineOption, run_engine
from trispike.errors import InvalidSettingError, UnsupportedError
from trispike.network import IntegerNetwork, Network, digest, load
from trispike.runtime.activity import spike_counts
from trispike.runtime.data import Data
from trispike.runtime.derived_counts import input_events
from trispike.runtime.energy import (
    COUNTED,
    Estimate,
    MemoryModel,
    Profile,
    Term,
    Twin,
    check_latency,
    estimate_energy,
    estimate_memory,
    hardware_names,
    load_hardware,
    prices_of,
)
from trispike.runtime.energy.twins import RELU_SPARSITY, ann_kinds
from trispike.runtime.engine import Result
from trispike.runtime.engines import build_engine, default_engine
from trispike.runtime.ledger_file import StoredLedger
from trispike.targets.loihi.files import load_placement
from trispike.targets.loihi.placement import Placement
from trispike.targets.loihi.traffic import Traffic, count_traffic


@command
def estimate(
    network: NetworkArgument,
    data: DataUnlessLedgerOption = None,
    hardware: Annotated[
        str,
        typer.Option(
            metavar="PROFILE",
            help=", ".join(hardware_names()) + ", or a profile of your own (JSON); "
            "see trispike hardware.",
        ),
    ] = "loihi1",
    engine: EngineOption = None,
    samples: SamplesOption = None,
    ledger: LedgerOption = None,
    ledger_out: LedgerOutOption = None,
    spread: StatisticsOption = False,
    per_class: PerClassOption = False,
    assume: Annotated[
        list[str] | None,
        typer.Option(
            metavar="EVENT=PJ",
            help="Price an event where the profile has none, or another; may be repeated. "
            "Events: " + ", ".join(COUNTED) + ".",
        ),
    ] = None,
    placement: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Count messages and hops on this placement, as trispike check wrote it; a memory "
            "model takes the sizes of its memories from it.",
        ),
    ] = None,
    latency: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="How long an inference takes on the hardware, for its static power.",
        ),
    ] = None,
    anytime: Annotated[
        bool,
        typer.Option("--anytime", help="Accuracy and energy after each time step, and the knee."),
    ] = False,
    max_steps: Annotated[
        int | None,
        typer.Option(min=1, help="With --anytime: go on to so many time steps."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --anytime: draw the curve."),
    ] = None,
    relu_sparsity: Annotated[
        float,
        typer.Option(metavar="SHARE", help="Share of zeros that the sparse ANN twin skips, 0..1."),
    ] = RELU_SPARSITY,
    conventions: Annotated[
        bool,
        typer.Option("--conventions", help="The same run as NeuroBench, syops and others count."),
    ] = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Count the events of a network on data and price them with a hardware profile."""
    check_source(
        data,
        ledger,
        engine=engine,
        samples=samples,
        placement=placement,
        anytime=anytime,
        conventions=conventions,
        ledger_out=ledger_out,
    )
    check_ledger_out(ledger_out, network, Path(data) if data else None, placement)
    prices = load_hardware(hardware)
    assumptions = dict(_assumption(text) for text in assume or [])
    _check(prices, assumptions, placed=placement is not None, anytime=anytime)
    check_latency(latency)
    loaded = load(network)
    ann_kinds(loaded.steps, relu_sparsity)  # fails before the long part, if it does
    placed = None if placement is None else _placed(placement, loaded)
    name = engine or default_engine()
    stored = None
    if ledger is not None:
        stored, given = read_ledger(loaded, ledger)
    else:
        given = load_for(loaded, data or "", samples)
    check_classes(per_class, given)
    check_anytime(anytime, loaded, given, max_steps, plot)
    one_by_one = spread or per_class or ledger_out is not None
    result = stored or run_engine(name, loaded, given, per_sample=one_by_one)
    traffic = None if placed is None else _traffic(name, loaded, placed, given)
    if isinstance(prices, MemoryModel):
        priced = estimate_memory(
            loaded,
            result.ledger,
            prices,
            placement=placed,
            traffic=traffic,
            input_events=_input_events(loaded, given, stored),
            latency_seconds=latency,
        )
    else:
        priced = estimate_energy(
            result.ledger, prices, assumptions, traffic=traffic, latency_seconds=latency
        )
    beside = compare(result.ledger, loaded, given if conventions else None, relu_sparsity)
    curve = None
    if anytime and isinstance(result, Result):
        curve = anytime_of(
            loaded, given, result, prices, assumptions, engine=name, max_steps=max_steps
        )
    if curve is not None and plot is not None:
        save_plot(curve, given.name, plot)
    found = spreads(result) if spread or per_class else None
    written = None
    if ledger_out is not None and isinstance(result, Result):
        written = write_ledger(result, loaded, given, ledger_out)
    if as_json:
        facts = estimate_facts(priced, result, loaded, given) | beside.facts()
        facts |= statistics_facts(found) | written_facts(written)
        if curve is not None:
            facts["anytime"] = anytime_facts(curve, plot)
        print_json(facts)
    else:
        print_estimate(priced)
        print_comparison(beside)
        out.print(f"accuracy on {given.name}: {percent(result.accuracy)}")
        if found is not None:
            print_statistics(found, per_class=per_class)
        if curve is not None:
            print_anytime(curve)
        if curve is not None and plot is not None:
            out.print(f"wrote {plot}", soft_wrap=True)
        if written is not None:
            out.print(f"wrote {ledger_out}", soft_wrap=True)


def _check(
    prices: Profile | MemoryModel, assumptions: dict[str, float], *, placed: bool, anytime: bool
) -> None:
    """Refuse what does not go together, before the long part."""
    if isinstance(prices, Profile):
        prices_of(prices, assumptions, placed=placed)
    elif assumptions:
        raise InvalidSettingError(
            "--assume",
            got=f"with {prices.id}, a memory model",
            expected="a profile of events",
            fix="Copy the model's file, change its numbers, and give it as --hardware.",
        )
    if anytime and (prices.prices == "dense" or placed):
        raise InvalidSettingError(
            "--anytime",
            got="a placement" if placed else f"{prices.id}, which prices the dense network",
            expected="prices of the spiking network, without a placement",
            fix="Choose another --hardware, such as loihi1, or leave --anytime out.",
        )


def _placed(path: Path, network: Network) -> Placement:
    if not isinstance(network, IntegerNetwork):
        raise UnsupportedError(
            "--placement",
            got="a float network",
            expected="the integer network that was placed",
            fix="Quantize it: trispike quantize.",
        )
    return load_placement(path, network)


def _traffic(engine: str, network: Network, placed: Placement, given: Data) -> Traffic:
    """Messages and hops, from a second run that records which neuron fires."""
    assert isinstance(network, IntegerNetwork)
    with progress_bar("counting messages", len(given.x)) as progress:
        counts = spike_counts(build_engine(engine, network), given.x, progress=progress)
    return count_traffic(network, placed, counts, len(given.x))


def _input_events(network: Network, given: Data, stored: StoredLedger | None) -> float | None:
    """Input elements other than 0, over all steps, per inference."""
    if not len(given.x):
        return None
    total = input_events(network, given.x) if stored is None else stored.input_events
    return total / len(given.x)


def estimate_facts(
    priced: Estimate, result: Result | StoredLedger, network: Network, given: Data
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
        **compare(result.ledger, network).facts(),
        "anytime": None,
        "statistics": None,
    }


def print_estimate(priced: Estimate) -> None:
    """The same for people."""
    _print_layers(priced)
    _print_terms(priced)
    _print_breakdown(priced)
    profile, total = priced.profile, joules(priced.energy_per_inference_joules)
    if priced.low_joules != priced.high_joules:
        total += f" ({joules(priced.low_joules)} to {joules(priced.high_joules)})"
    dense = ", of the dense network of the same topology" if profile.prices == "dense" else ""
    out.print(
        f"{total} per inference on {profile.name} ({profile.basis} figures, "
        f"{profile.scope.replace('_', ' ')}){dense}, mean of {priced.samples} samples",
        style="bold",
    )
    counts = {term.event: f" ({term.count:,.0f} per inference)" for term in priced.terms}
    for event, why in priced.included.items():
        print_note(f"held by another price: {_words(event)}{counts.get(event, '')}: {why}")
    for event, why in priced.unpriced.items():
        print_note(f"not in it: {_words(event)}{counts.get(event, '')}: {why}")
    for event, price in priced.assumptions.items():
        print_note(f"assumed: {price:g} pJ per {_words(event)}")
    _print_signs(priced)
    for caveat in profile.caveats:
        print_note(f"note: {caveat}")
    modelled = isinstance(profile, MemoryModel)
    what = "memory and neurons included" if modelled else "arithmetic of the weights alone"
    out.print(f"Beside the dense network of the same topology, {what}:")
    for twin in priced.twins:
        print_note(_twin(twin))


def _print_layers(priced: Estimate) -> None:
    """Energy of every part, with the events that people count by."""
    sized = any(layer.memory_bytes is not None for layer in priced.layers)
    titles = ("synaptic ops", "graded ops", "updates", *(["memory"] if sized else []))
    parts = table("part", *titles, "energy", "share")
    total = priced.energy_per_inference_joules
    for layer in priced.layers:
        counts = layer.counts
        columns = [
            ("synaptic_operation", "synapse_addition", "mac"),
            ("graded_operation", "synapse_multiplication"),
            ("neuron_update_active", "neuron_update_inactive", "activation"),
        ]
        cells = []
        for events in columns:
            found = [counts[event] for event in events if event in counts]
            cells.append(f"{sum(found):,.0f}" if found else "")
        if "synapse_addition" in counts:  # a graded operation is an addition, too
            graded = counts.get("synapse_multiplication", 0.0)
            cells[0] = f"{counts['synapse_addition'] - graded:,.0f}"
        if sized:
            size = layer.memory_bytes
            cells.append("" if size is None else f"{size / 1024:,.1f} KiB")
        share = percent(layer.joules / total if total else None)
        parts.add_row(layer.name, *cells, joules(layer.joules), share)
    out.print(parts)
    out.print()


def _print_terms(priced: Estimate) -> None:
    terms = table("event", "per inference", "price", "energy")
    for term in priced.terms:
        terms.add_row(_words(term.event), f"{term.count:,.0f}", _price(term), _energy(term))
    out.print(terms)
    told: dict[str, list[str]] = {}
    for term in priced.terms:
        if term.status == "priced":
            told.setdefault(f"{term.source} ({term.confidence})", []).append(_words(term.event))
    for source, events in told.items():
        print_note(f"{', '.join(events)}: {source}")
    out.print()


def _price(term: Term) -> str:
    return "none" if term.picojoules is None else f"{term.picojoules:.4g} pJ"


def _energy(term: Term) -> str:
    if term.joules is None:
        return "included" if term.status == "included" else "not priced"
    return joules(term.joules)


def _print_breakdown(priced: Estimate) -> None:
    total = priced.energy_per_inference_joules
    if len(priced.breakdown) < 2 or not total:
        return
    parts = table("of it", "energy", "share")
    for category, energy in sorted(priced.breakdown.items(), key=lambda part: -part[1]):
        parts.add_row(_words(category), joules(energy), percent(energy / total))
    out.print(parts)
    out.print()


def _print_signs(priced: Estimate) -> None:
    signs = priced.signs
    if not signs.negative_spikes or priced.profile.prices == "dense":
        return
    text = (
        f"signs: {_words(signs.policy)}, {signs.negative_spikes:,.0f} spikes of -1 per inference: "
        f"{signs.note}"
    )
    if signs.second_neuron_joules:
        text += f" A second neuron for each: {joules(signs.second_neuron_joules)} more."
    print_note(text)


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
