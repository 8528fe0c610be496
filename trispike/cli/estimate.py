"""``trispike estimate``: energy per inference from counted events."""

from __future__ import annotations

import math
from collections.abc import Mapping
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
    seconds,
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
    read_ledgers,
    spreads,
    statistics_facts,
    write_ledger,
    written_facts,
)
from trispike.cli.placed import load_placed, shown_traffic
from trispike.cli.prices import (
    RELU_SPARSITY,
    LatencyOption,
    PlacementOption,
    ReluSparsityOption,
    parsed_assumption,
)
from trispike.cli.simulate import EngineOption, run_engine
from trispike.network import Network, digest, load
from trispike.runtime.data import Data
from trispike.runtime.energy import (
    COUNTED,
    Estimate,
    MemoryTwin,
    Term,
    check_latency,
    hardware_names,
    load_hardware,
)
from trispike.runtime.energy.twins import ann_kinds
from trispike.runtime.engine import Result
from trispike.runtime.engines import build_engine, default_engine
from trispike.runtime.input_counts import input_counts
from trispike.runtime.ledger_file import StoredLedger
from trispike.runtime.pricing import check_hardware, events_per_inference, price_run


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
    placement: PlacementOption = None,
    latency: LatencyOption = None,
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
    relu_sparsity: ReluSparsityOption = RELU_SPARSITY,
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
        ledger_out=ledger_out,
    )
    check_ledger_out(ledger_out, network, Path(data) if data else None, placement)
    prices = load_hardware(hardware)
    assumptions = dict(parsed_assumption(text) for text in assume or [])
    check_hardware(prices, assumptions, placed=placement is not None, stepwise=anytime)
    check_latency(latency)
    loaded = load(network)
    ann_kinds(loaded.steps, relu_sparsity)  # fails before the long part, if it does
    placed = None if placement is None else load_placed(placement, loaded)
    name = engine or default_engine(loaded)
    stored = None
    if ledger:
        stored, given = read_ledgers(loaded, ledger)
    else:
        given = load_for(loaded, data or "", samples)
    check_classes(per_class, given)
    check_anytime(anytime, loaded, given, max_steps, plot)
    result = stored or run_engine(name, loaded, given, per_sample=True)
    traffic = None
    if placed is not None:
        traffic = shown_traffic(build_engine(name, loaded), placed, given)
    priced = price_run(
        loaded,
        result.ledger,
        prices,
        assumptions=assumptions,
        input_events=stored.events_per_inference
        if stored is not None
        else events_per_inference(loaded, given.x),
        placement=placed,
        traffic=traffic,
        latency_seconds=latency,
    )
    counted = None
    if conventions:
        counted = input_counts(loaded, given.x) if stored is None else stored.inputs
    shown = given.x if stored is None else None
    beside = compare(result.ledger, loaded, counted, relu_sparsity, inputs=shown)
    curve = None
    if anytime and isinstance(result, Result):
        curve = anytime_of(
            loaded, given, result, prices, assumptions, engine=name, max_steps=max_steps
        )
    if curve is not None and plot is not None:
        save_plot(curve, given.name, plot)
    found = spreads(result, priced.sample_joules) if spread or per_class else None
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
        _print_accuracy(priced, result, given)
        if found is not None:
            print_statistics(found, per_class=per_class)
        if curve is not None:
            print_anytime(curve)
        if curve is not None and plot is not None:
            out.print(f"wrote {plot}", soft_wrap=True)
        if written is not None:
            out.print(f"wrote {ledger_out}", soft_wrap=True)


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
        "accuracy_standard_error": _accuracy_error(result),
        "joules_per_correct_prediction": _per_correct(priced, result),
        "synaptic_operations": result.ledger.synaptic_operations,
        "synaptic_operations_per_inference": result.ledger.synaptic_operations / each,
        **compare(result.ledger, network).facts(),
        "anytime": None,
        "statistics": None,
    }


def _accuracy_error(result: Result | StoredLedger) -> float | None:
    """Standard error of the accuracy p over N samples: sqrt(p (1 - p) / N)."""
    p = result.accuracy
    return None if p is None else math.sqrt(p * (1 - p) / result.ledger.samples)


def _per_correct(priced: Estimate, result: Result | StoredLedger) -> float | None:
    """Energy of all samples over the number of correct ones; None if there are none."""
    return priced.energy_per_inference_joules / result.accuracy if result.accuracy else None


def _print_accuracy(priced: Estimate, result: Result | StoredLedger, given: Data) -> None:
    error, each = _accuracy_error(result), _per_correct(priced, result)
    text = f"accuracy on {given.name}: {percent(result.accuracy)}"
    if error is not None:
        text += f" +- {percent(error)} (standard error)"
    if each is not None:
        text += f"; {joules(each)} per correct prediction"
    out.print(text, soft_wrap=True)


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
    _print_uncertainty(priced)
    counts: dict[str, float] = {}
    for term in priced.terms:
        counts[term.event] = counts.get(term.event, 0.0) + term.count
    _print_reasons("held by another price", priced.included, counts)
    _print_reasons("not in it", priced.unpriced, counts)
    for event, price in priced.assumptions.items():
        print_note(f"assumed: {price:g} pJ per {_words(event)}")
    _print_signs(priced)
    for caveat in priced.caveats:
        print_note(f"note: {caveat}")
    print_note(f"prices: {profile.id}, SHA-256 {priced.hardware_sha256[:16]}")
    _print_latency(priced)
    _print_twins(priced.twins)


def _print_reasons(title: str, reasons: Mapping[str, str], counts: Mapping[str, float]) -> None:
    """What is left out, and why; a reason that several share is said once."""
    told: dict[str, list[str]] = {}
    for event, why in reasons.items():
        count = f" ({counts[event]:,.0f} per inference)" if event in counts else ""
        told.setdefault(why, []).append(_words(event) + count)
    for why, events in told.items():
        print_note(f"{title}: {', '.join(events)}: {why}")


def _print_uncertainty(priced: Estimate) -> None:
    without, terms = priced.without_interval
    if without:
        print_note(
            f"no published interval for {without} of {terms} priced terms: what they cost is "
            "uncertain by more than the ends say"
        )
    if priced.signs.most_joules:
        print_note(
            f"the upper end holds {joules(priced.signs.most_joules)} for second neurons, which "
            "hardware without signs may take for those that fire both"
        )
    if priced.standard_error_joules is not None:
        print_note(
            f"standard error of the mean over samples: {joules(priced.standard_error_joules)}, "
            "prices as they are"
        )


def _print_latency(priced: Estimate) -> None:
    latency = priced.latency
    if latency is None:
        print_note("latency: no times are known for this hardware")
        return
    low = seconds(latency.low_seconds)
    high = "not known" if latency.high_seconds is None else seconds(latency.high_seconds)
    text = f"latency of an inference, from published times per event: {low} to {high}"
    if latency.busiest_core_seconds is not None:
        text += f"; by the busiest core of the placement {seconds(latency.busiest_core_seconds)}"
    out.print(text, soft_wrap=True)
    for assumption in latency.assumptions:
        print_note(assumption)
    _print_reasons("not in it", latency.untimed, {})


def _print_twins(twins: tuple[MemoryTwin, ...]) -> None:
    if not twins:
        return
    out.print("Beside the dense network on the same core, its neurons included:")
    for twin in twins:
        low, high = joules(twin.twin_low_joules), joules(twin.twin_high_joules)
        print_note(
            f"{twin.name}: {joules(twin.twin_joules)} ({low} to {high}), {twin.dense_macs:,} MAC: "
            f"{twin.verdict}"
        )
        for text in twin.assumptions:
            print_note(f"  assumed: {text}")
    print_note(
        "Lower ends: words packed without gaps, sums in registers; upper ends: an access for each "
        "single value; on both sides."
    )


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
    """From counts to joules, line by line: count times price; the lines add up to the total."""
    known = any(term.count_error is not None for term in priced.terms)
    errors = ["+-"] if known else []
    terms = table("event", "per inference", *errors, "price", "energy", "low", "high")
    for term in priced.terms:
        error = [_number(term.count_error)] if known else []
        ends = [term.low_joules, term.high_joules]
        unknown = term.joules is None or ends == [term.joules] * 2
        cells = ["-" if end is None or unknown else joules(end) for end in ends]
        count = f"{term.count:,.0f}"
        terms.add_row(_named(term), count, *error, _price(term), _energy(term), *cells)
    if priced.signs.most_joules:
        none = [""] * (len(errors) + 2)
        most = joules(priced.signs.most_joules)
        terms.add_row("second neurons", *none, joules(0.0), joules(0.0), most)
    blank = [""] * (len(errors) + 2)
    ends = [priced.energy_per_inference_joules, priced.low_joules, priced.high_joules]
    terms.add_row("total", *blank, *(joules(end or 0.0) for end in ends))
    out.print(terms)
    if known:
        print_note("+-: standard error of the mean over the samples")
    told: dict[str, list[str]] = {}
    for term in priced.terms:
        if term.status == "priced":
            source = f"{term.source} ({term.basis}, {term.confidence})"
            told.setdefault(source, []).append(_named(term))
    for source, events in told.items():
        print_note(f"{', '.join(events)}: {source}")
    out.print()


def _named(term: Term) -> str:
    return _words(term.event) + (f", {term.variant}" if term.variant else "")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


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
    print_note(text)


def _words(event: str) -> str:
    return event.replace("_", " ")
