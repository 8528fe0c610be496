"""``trispike compare``: several networks on the same data, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from trispike.cli.console import (
    DebugFlag,
    JsonFlag,
    command,
    joules,
    out,
    percent,
    print_json,
    print_note,
    table,
)
from trispike.cli.data import SamplesOption, load_for
from trispike.cli.ledger import DataUnlessLedgerOption, check_source
from trispike.cli.prices import parsed_assumption
from trispike.cli.simulate import EngineOption, run_engine
from trispike.errors import InvalidSettingError
from trispike.network import Network, load
from trispike.runtime.energy import COUNTED, hardware_names, load_hardware
from trispike.runtime.engine import Result
from trispike.runtime.engines import default_engine
from trispike.runtime.ledger_file import StoredLedger, load_ledger
from trispike.runtime.pricing import check_hardware, events_per_inference, price_run
from trispike.runtime.side_by_side import Contender, Figures, SideBySide, side_by_side

ROWS = {
    "accuracy": "accuracy",
    "positive_spikes": "+ spikes",
    "negative_spikes": "- spikes",
    "spikes": "spikes",
    "firing_rate": "spikes per neuron and step",
    "synaptic_operations": "synaptic operations",
    "graded_operations": "graded operations",
    "joules": "energy",
    "low_joules": "energy, lower end",
    "high_joules": "energy, upper end",
    "joules_per_correct": "energy per correct prediction",
}
"""What is shown of each network, with the ratio to the first."""


@command
def compare(
    networks: Annotated[
        list[Path],
        typer.Argument(
            metavar="NETWORK...",
            exists=True,
            dir_okay=False,
            help="Two networks or more, as trispike wrote them; ratios are to the first.",
        ),
    ],
    data: DataUnlessLedgerOption = None,
    ledger: Annotated[
        list[Path] | None,
        typer.Option(
            "--ledger",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Instead of --data: counts of an earlier run, as --ledger-out wrote them. Once "
            "for each network, in the same order, of the same data.",
        ),
    ] = None,
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
    """Compare accuracy, spikes and energy of several networks on the same data."""
    check_source(data, ledger, engine=engine, samples=samples)
    _check_counts(networks, ledger)
    prices = load_hardware(hardware)
    assumptions = dict(parsed_assumption(text) for text in assume or [])
    check_hardware(prices, assumptions)
    contenders, where = [], ""
    for position, (path, name) in enumerate(zip(networks, _names(networks), strict=True)):
        network = load(path)
        if ledger:
            run = _stored(network, ledger[position])
        else:
            run = _run(network, data or "", samples, engine or default_engine(network))
        where = where or run.data
        priced = price_run(
            network,
            run.run.ledger,
            prices,
            assumptions=assumptions,
            input_events=run.events_per_inference,
        )
        contenders.append(Contender(name=name, network=network, run=run.run, estimate=priced))
    found = side_by_side(contenders)
    if as_json:
        print_json({"hardware": prices.id, "data": where, **found.to_dict()})
    else:
        _print(found, contenders, where)


class _Run(NamedTuple):
    """One network's."""

    run: Result | StoredLedger
    data: str
    """Their name."""
    events_per_inference: float | None
    """Of the input; None if it is not known."""


def _stored(network: Network, path: Path) -> _Run:
    stored = load_ledger(path)
    stored.check_network(network)
    return _Run(stored, stored.data, stored.events_per_inference)


def _run(network: Network, data: str, samples: int | None, engine: str) -> _Run:
    given = load_for(network, data, samples)
    result = run_engine(engine, network, given, per_sample=True)
    return _Run(result, given.name, events_per_inference(network, given.x))


def _check_counts(networks: Sequence[Path], ledger: Sequence[Path] | None) -> None:
    """Refuse a single network, and ledgers that are not one per network.

    Raises:
        InvalidSettingError: These.
    """
    if len(networks) < 2:
        raise InvalidSettingError(
            "networks", got="one", expected="two or more", fix="Name another network."
        )
    if ledger and len(ledger) != len(networks):
        raise InvalidSettingError(
            "--ledger",
            got=f"{len(ledger)} for {len(networks)} networks",
            expected="one for each network, in the same order",
            fix="Give --ledger once for each network, or --data to run them.",
        )


def _names(networks: Sequence[Path]) -> list[str]:
    """Short names that tell the files apart."""
    stems = [path.stem for path in networks]
    if len(set(stems)) == len(stems):
        return stems
    return [f"{position}: {path}" for position, path in enumerate(networks, start=1)]


def _print(found: SideBySide, contenders: Sequence[Contender], data: str) -> None:
    """For people."""
    first, *others = found.networks
    titles = [first.name]
    for other in others:
        titles += [other.name, "ratio"]
    rows = table("per inference", *titles)
    for title, cells in (
        ("populations, binary + ternary", [_kinds(figures) for figures in found.networks]),
        ("neurons x time steps", [f"{f.neurons:,} x {f.steps}" for f in found.networks]),
    ):
        rows.add_row(title, cells[0], *(cell for text in cells[1:] for cell in (text, "")))
    ratios = [found.ratios(index) for index in range(len(found.networks))]
    for name, title in ROWS.items():
        cells = [_cell(name, first)]
        for other, ratio in zip(others, ratios[1:], strict=True):
            cells += [_cell(name, other), _ratio(ratio[name])]
        rows.add_row(title, *cells)
    out.print(rows)
    profile = contenders[0].estimate.profile
    out.print(f"{found.samples} samples of {data}; {profile.name} ({profile.basis} figures)")
    for other in others:
        if other.alone_right is not None:
            print_note(
                f"{other.name} is right where {first.name} is wrong on {other.alone_right} "
                f"samples, and wrong where it is right on {other.alone_wrong}"
            )
    _print_left_out(contenders)


def _print_left_out(contenders: Sequence[Contender]) -> None:
    """Events without a price, of any network: they may differ between the networks, too."""
    told: dict[tuple[str, str], list[str]] = {}
    for contender in contenders:
        for event, why in contender.estimate.unpriced.items():
            told.setdefault((event.replace("_", " "), why), []).append(contender.name)
    for (event, why), names in told.items():
        whose = "any of them" if len(names) == len(contenders) else ", ".join(names)
        print_note(f"not in the energy of {whose}: {event}: {why}")
    caveats = dict.fromkeys(c for contender in contenders for c in contender.estimate.caveats)
    for caveat in caveats:
        print_note(f"note: {caveat}")


def _kinds(figures: Figures) -> str:
    return f"{figures.binary_populations} + {figures.ternary_populations}"


def _cell(name: str, figures: Figures) -> str:
    value: Any = getattr(figures, name)
    if value is None:
        return "-"
    if name == "accuracy":
        return f"{percent(value)} +- {percent(figures.accuracy_standard_error)}"
    if name == "firing_rate":
        return f"{value:.4f}"
    return joules(value) if "joules" in name else f"{value:,.0f}"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
