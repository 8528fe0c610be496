"""``trispike report``: a page about what an inference costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from trispike.cli.anytime import check_anytime
from trispike.cli.console import (
    DebugFlag,
    JsonFlag,
    NetworkArgument,
    command,
    joules,
    out,
    percent,
    print_json,
    stage,
)
from trispike.cli.data import SamplesOption, load_for
from trispike.cli.ledger import DataUnlessLedgerOption, LedgerOption, check_source, read_ledgers
from trispike.cli.pages import check_page, command_line
from trispike.cli.placed import load_placed, shown_traffic
from trispike.cli.prices import (
    RELU_SPARSITY,
    LatencyOption,
    PlacementOption,
    ReluSparsityOption,
    assumption_of,
)
from trispike.cli.simulate import EngineOption, run_engine
from trispike.errors import InvalidDataError
from trispike.network import Network, digest, load, with_steps
from trispike.runtime.energy import (
    COUNTED,
    MemoryModel,
    Profile,
    check_latency,
    hardware_names,
    load_hardware,
)
from trispike.runtime.energy.twins import ann_kinds
from trispike.runtime.engine import Array, Result
from trispike.runtime.engines import build_engine, default_engine
from trispike.runtime.ledger_file import StoredLedger
from trispike.targets.loihi import Placement, Traffic

if TYPE_CHECKING:
    from trispike.runtime.report import Report


@command
def report(
    network: NetworkArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The .html file to write.")
    ],
    data: DataUnlessLedgerOption = None,
    ledger: LedgerOption = None,
    hardware: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PROFILE",
            help="Prices; may be repeated, and the first gives the headline: "
            + ", ".join(hardware_names())
            + ", or a profile of your own (JSON). By default loihi1, loihi1-regressed, arithmetic "
            "of 45 nm, and cmos45-memory.",
        ),
    ] = None,
    assume: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[PROFILE:]EVENT=PJ",
            help="Price an event where the profile has none, or another; without a name of the "
            "first profile. May be repeated. Events: " + ", ".join(COUNTED) + ".",
        ),
    ] = None,
    placement: PlacementOption = None,
    engine: EngineOption = None,
    samples: SamplesOption = None,
    latency: LatencyOption = None,
    max_steps: Annotated[
        int | None,
        typer.Option(min=1, help="Let the curve go on to so many time steps; needs labels."),
    ] = None,
    relu_sparsity: ReluSparsityOption = RELU_SPARSITY,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Write a page about the energy per inference: one HTML file that loads nothing."""
    check_source(
        data, ledger, engine=engine, samples=samples, placement=placement, max_steps=max_steps
    )
    check_page(output, network, placement, *(ledger or []), what="report")
    from trispike.runtime.report import Origin, build_report, checked_hardware, write_report

    named = None if hardware is None else [load_hardware(name) for name in hardware]
    if named is not None:
        checked_hardware(named)
    check_latency(latency)
    loaded = load(network)
    ann_kinds(loaded.steps, relu_sparsity)  # fails before the long part, if it does
    prices = named or _default_hardware(loaded)
    assumed = _assumptions(assume or [], prices[0].id)
    checked_hardware(prices, assumed, placed=placement is not None)
    placed = None if placement is None else load_placed(placement, loaded)
    run = _run(loaded, data, ledger, engine, samples, max_steps=max_steps, placed=placed)
    with stage("working out the report"):
        page = build_report(
            loaded,
            run.inputs,
            run.result,
            prices,
            origin=Origin(network=network.name, data=run.data, command=command_line()),
            assumptions=assumed,
            placement=placed,
            traffic=run.traffic,
            latency_seconds=latency,
            relu_sparsity=relu_sparsity,
            longer=run.longer,
        )
    write_report(page, output)
    if as_json:
        print_json(report_facts(page, output))
    else:
        _print(page, output)


class _Run(NamedTuple):
    """What a page is made of."""

    data: str
    """Their name."""
    inputs: Array | None
    """None: only counts were stored."""
    result: Result | StoredLedger
    longer: Result | None = None
    """Over more time steps, if somebody asked."""
    traffic: Traffic | None = None


def _run(
    network: Network,
    data: str | None,
    ledger: Sequence[Path] | None,
    engine: str | None,
    samples: int | None,
    *,
    max_steps: int | None,
    placed: Placement | None,
) -> _Run:
    """Run the network, or read what a run has left."""
    if ledger:
        stored, given = read_ledgers(network, ledger)
        return _Run(given.name, None, stored)
    given = load_for(network, data or "", samples)
    if not len(given.x):
        raise InvalidDataError(
            f"data '{given.name}'", got="no samples", expected="at least one", fix="Give some data."
        )
    check_anytime(max_steps is not None, network, given, max_steps, None)
    name = engine or default_engine(network)
    result = run_engine(name, network, given, per_sample=True)
    longer, traffic = None, None
    if max_steps is not None and max_steps > network.steps:
        longer = run_engine(name, with_steps(network, max_steps), given)
    if placed is not None:
        traffic = shown_traffic(build_engine(name, network), placed, given)
    return _Run(given.name, given.x, result, longer, traffic)


def _default_hardware(network: Network) -> list[Profile | MemoryModel]:
    from trispike.runtime.report import DEFAULT_HARDWARE

    return [load_hardware(name) for name in DEFAULT_HARDWARE[network.kind]]


def _assumptions(texts: Sequence[str], first: str) -> dict[str, dict[str, float]]:
    """Prices in pJ by event, by id of the hardware."""
    found: dict[str, dict[str, float]] = {}
    for text in texts:
        profile, event, price = assumption_of(text)
        found.setdefault(first if profile is None else profile, {})[event] = price
    return found


def report_facts(page: Report, output: Path) -> dict[str, Any]:
    """What the command reports, as JSON values."""
    lost = [x for x in _contests(page) if x.loses]
    return {
        "output": str(output),
        "network_sha256": digest(page.network),
        "data": page.origin.data,
        "samples": page.ledger.samples,
        "accuracy": page.result.accuracy,
        "synaptic_operations_per_inference": page.ledger.synaptic_operations / page.ledger.samples,
        "estimates": [
            {
                "hardware": e.profile.id,
                "energy_per_inference_joules": e.energy_per_inference_joules,
                "energy_per_inference_low_joules": e.low_joules,
                "energy_per_inference_high_joules": e.high_joules,
            }
            for e in page.estimates
        ],
        "comparisons": len(_contests(page)),
        "lost": [
            {
                "other": x.other,
                "basis": x.basis,
                "spiking_joules": x.spiking,
                "other_joules": x.twin,
            }
            for x in lost
        ],
    }


def _print(page: Report, output: Path) -> None:
    for e in page.estimates:
        total = joules(e.energy_per_inference_joules)
        if e.low_joules != e.high_joules:
            total += f" ({joules(e.low_joules)} to {joules(e.high_joules)})"
        out.print(f"{total} per inference on {e.profile.name} ({e.profile.basis} figures)")
    out.print(f"accuracy on {page.origin.data}: {percent(page.result.accuracy)}")
    found = _contests(page)
    lost = sum(x.loses for x in found)
    out.print(f"the spiking network loses {lost} of {len(found)} comparisons with dense networks")
    out.print(f"wrote {output}", soft_wrap=True)


def _contests(page: Report) -> Any:
    from trispike.runtime.report import contests

    return contests(page)
