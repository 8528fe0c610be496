"""``trispike check``: does a network fit on a chip, and where does each part of it go."""

from __future__ import annotations

import csv
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from trispike.cli.console import (
    FAILED,
    DebugFlag,
    JsonFlag,
    NetworkArgument,
    checked_output,
    command,
    out,
    print_json,
    print_note,
    table,
)
from trispike.cli.data import DATA_SOURCES, load_for
from trispike.cli.placed import shown_traffic
from trispike.errors import InvalidSettingError
from trispike.network import IntegerNetwork, digest, load
from trispike.network.files import whole_file
from trispike.runtime.engines import build_engine, default_engine
from trispike.targets.loihi.check import WAYS_OUT, Finding, check_network
from trispike.targets.loihi.demand import LIMIT_FIELDS, Resources, demand, fans
from trispike.targets.loihi.files import save_placement
from trispike.targets.loihi.hardware import (
    Board,
    Chip,
    board_names,
    chip_names,
    limit_names,
    load_board,
    load_chip,
)
from trispike.targets.loihi.picture import draw_placement
from trispike.targets.loihi.placement import Placement, try_to_place
from trispike.targets.loihi.tiles import Strategy
from trispike.targets.loihi.traffic import Flow, Traffic
from trispike.targets.loihi.whatif import board_fits, what_ifs

TRAFFIC_SAMPLES = 16
"""Samples that traffic is counted on, unless more are asked for."""


@command
def check(
    network: NetworkArgument,
    target: Annotated[
        str,
        typer.Option(
            metavar="CHIP",
            help=", ".join(chip_names())
            + ", an alternative such as loihi2:flexible, or a profile of your own (JSON).",
        ),
    ],
    board: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=", ".join(board_names())
            + ", or a JSON file; by default the smallest one on which the network fits.",
        ),
    ] = None,
    strategy: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="compact: few cores; low-traffic: few messages, short ways."
        ),
    ] = "compact",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Another value of the profile, such as synapse_memory=192KiB; may be repeated.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help=f"Count messages and hops on these: {DATA_SOURCES}."),
    ] = None,
    samples: Annotated[
        int, typer.Option(min=1, help="With --data: use the first so many samples.")
    ] = TRAFFIC_SAMPLES,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the placement (JSON)."),
    ] = None,
    cores: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write what every core holds and takes (CSV)."),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the cores to this SVG file.")
    ] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Check a network against a chip's limits, and place it; exit code 1 if it does not fit."""
    chip = load_chip(target, dict(_setting(text) for text in settings or []))
    chosen, wanted = None if board is None else _board(board, chip), _strategy(strategy)
    for path in filter(None, (output, cores, picture)):
        checked_output(path, network)
    loaded = load(network)
    findings = check_network(loaded, chip)  # refuses float networks
    assert isinstance(loaded, IntegerNetwork)
    placement = try_to_place(loaded, chip, board=chosen, strategy=wanted)
    findings = check_network(loaded, chip, placement)
    flows = None
    if data is not None:
        engine = build_engine(default_engine(loaded), loaded)
        flows = shown_traffic(engine, placement, load_for(loaded, data, samples))
    if output is not None:
        save_placement(placement, output)
    if cores is not None:
        write_cores(placement, cores)
    if picture is not None:
        with whole_file(picture) as temporary:
            temporary.write_text(draw_placement(placement, flows), encoding="utf-8")
    facts = check_facts(loaded, placement, findings, flows)
    facts |= {
        "data": data,
        "placement": None if output is None else str(output),
        "cores_file": None if cores is None else str(cores),
        "picture": None if picture is None else str(picture),
    }
    if as_json:
        print_json(facts)
    else:
        print_check(facts)
        for path in filter(None, (output, cores, picture)):
            out.print(f"wrote {path}", soft_wrap=True)
    if not facts["fits"]:
        raise typer.Exit(FAILED)


def _strategy(name: str) -> Strategy:
    for known in get_args(Strategy):
        if name == known:
            return known
    raise InvalidSettingError(
        "--strategy",
        got=repr(name),
        expected=" or ".join(get_args(Strategy)),
        fix="Choose one of these.",
    )


def _setting(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not value.strip():
        raise InvalidSettingError(
            "--set",
            got=repr(text),
            expected="KEY=VALUE",
            fix="For example synapse_memory=192KiB; keys are " + ", ".join(limit_names()) + ".",
        )
    return key.strip(), value.strip()


def _board(name: str, chip: Chip) -> Board:
    board = load_board(name)
    if board.chip != chip.id:
        raise InvalidSettingError(
            "--board",
            got=f"{board.id}, a board of {board.chip}",
            expected=f"a board of {chip.id}",
            fix="Choose another board, or another --target.",
        )
    return board


def check_facts(
    network: IntegerNetwork,
    placement: Placement,
    findings: list[Finding],
    flows: Traffic | None,
) -> dict[str, Any]:
    """What the command reports, as JSON values."""
    chip, board = placement.chip, placement.board
    fan = fans(demand(network, chip))
    return {
        "network_sha256": digest(network),
        "target": chip.id,
        "target_name": chip.name,
        "strategy": placement.strategy,
        "fits": placement.fits and not any(f.severity == "violation" for f in findings),
        "board": board.id if board else None,
        "cores": len(placement.cores),
        "chips": placement.chips,
        "violations": [f.to_dict() for f in findings if f.severity == "violation"],
        "warnings": [f.to_dict() for f in findings if f.severity == "warning"],
        "limits": {
            resource: {
                "value": chip.limit(field).value,
                "source": chip.limit(field).citation,
                "confidence": chip.limit(field).confidence,
                "note": chip.limit(field).note,
                "fix": WAYS_OUT[resource],
            }
            for resource, field in LIMIT_FIELDS.items()
        },
        "core_use": {resource: asdict(use) for resource, use in placement.core_use.items()},
        "populations": [
            {
                "name": p.name,
                "grid": list(p.grid),
                "tiles": p.tiles,
                "tile": list(p.tile),
                "cores": p.cores,
                "fan_in": fan[p.name].fan_in,
                "fan_out": fan[p.name].fan_out,
                "binding": p.binding,
                "largest": p.largest._asdict(),
                "utilisation": dict(p.utilisation),
            }
            for p in placement.populations
        ],
        "boards": [
            {
                "board": fit.board.id,
                "name": fit.board.name,
                "chips": fit.board.chips.value,
                "cores": fit.cores,
                "chips_needed": fit.chips_needed,
                "fits": fit.fits,
            }
            for fit in board_fits(placement)
        ],
        "what_if": [
            {
                "change": row.change,
                "cores": row.cores,
                "chips": row.chips,
                "board": row.board,
                "fits": row.fits,
            }
            for row in what_ifs(network, placement)
        ],
        "traffic": None if flows is None else _traffic_facts(flows),
    }


def _traffic_facts(flows: Traffic) -> dict[str, Any]:
    return {
        "samples": flows.samples,
        "connections": {label: _flow(flow) for label, flow in flows.connections.items()},
        "total": _flow(flows.total),
        "input": {"messages": flows.input.messages.tolist()},
        "busiest_core_messages": int(flows.by_core.max(initial=0)),
    }


def write_cores(placement: Placement, path: Path) -> None:
    """Write a line for every core that is used: where it lies, what it holds, what that takes."""
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(("chip", "core", "x", "y", "populations", *Resources._fields))
        for core in placement.cores:
            held = dict.fromkeys(tile.population for tile in core.tiles)
            lines.writerow((core.chip, core.core, core.x, core.y, " ".join(held), *core.use))


def _flow(flow: Flow) -> dict[str, Any]:
    return {
        "messages": flow.messages.tolist(),
        "hops_x": flow.hops_x.tolist(),
        "hops_y": flow.hops_y.tolist(),
        "chip_crossings": flow.chip_crossings.tolist(),
    }


def print_check(facts: dict[str, Any]) -> None:
    """The same for people."""
    _print_findings(facts["violations"] + facts["warnings"])
    _print_populations(facts)
    _print_resources(facts)
    _print_boards(facts)
    if facts["traffic"]:
        _print_traffic(facts["traffic"])
    where = f" on {facts['board']}" if facts["board"] else ""
    verdict = "fits" if facts["fits"] else "does not fit"
    out.print(
        f"The network {verdict}{where} ({facts['target_name']}): "
        f"{_count(facts['cores'], 'core')} on {_count(facts['chips'], 'chip')}, "
        f"{_count(len(facts['violations']), 'violation')}, "
        f"{_count(len(facts['warnings']), 'warning')}",
        style="bold",
    )
    for resource, limit in facts["limits"].items():
        value = "no limit" if limit["value"] is None else f"{limit['value']:,}"
        note = f" {limit['note']}" if limit["note"] else ""
        print_note(
            f"{_words(resource)} per core: {value} ({limit['confidence']}: {limit['source']}){note}"
        )
    for resource in sorted({p["binding"] for p in facts["populations"]}):
        print_note(f"what relieves {_words(resource)}: {facts['limits'][resource]['fix']}")


def _print_findings(findings: list[dict[str, Any]]) -> None:
    """One line for what several parts share, as all layers of a network often do."""
    grouped: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for f in findings:
        grouped.setdefault((f["severity"], f["kind"], f["limit"], f["fix"]), []).append(f)
    for (severity, kind, limit, fix), group in grouped.items():
        out.print(
            f"{severity}: {kind}, limit {limit}",
            style="bold red" if severity == "violation" else "bold yellow",
        )
        for f in group:
            print_note(f"{f['subject']}: {f['value']}")
        print_note(f"{group[0]['confidence']}: {group[0]['source']}")
        print_note(f"way out: {fix}")
    if findings:
        out.print()


def _print_populations(facts: dict[str, Any]) -> None:
    populations = table("population", "size", "tiles", "tile", "cores", "binding", "full", words=1)
    for p in facts["populations"]:
        populations.add_row(
            p["name"],
            _shape(p["grid"]),
            f"{p['tiles']:,}",
            _shape(p["tile"]),
            f"{p['cores']:,}",
            _words(p["binding"]),
            f"{100 * p['utilisation'][p['binding']]:.0f}%",
        )
    out.print(populations)
    out.print()


def _print_resources(facts: dict[str, Any]) -> None:
    """What the largest tile of each population takes, then what whole cores do."""
    resources = list(facts["limits"])
    tiles = table("one tile", "fan-in", "fan-out", *map(_words, resources))
    for p in facts["populations"]:
        used = (f"{p['largest'][name]:,}" for name in resources)
        tiles.add_row(p["name"], f"{p['fan_in']:,}", f"{p['fan_out']:,}", *used)
    out.print(tiles)
    out.print()
    whole = table("one core", "limit", "mean", "fullest", "full", "which")
    for name, use in facts["core_use"].items():
        limit = facts["limits"][name]["value"]
        whole.add_row(
            _words(name),
            "none" if limit is None else f"{limit:,}",
            f"{use['mean']:,.0f}",
            f"{use['most']:,}",
            "" if limit is None else f"{100 * use['most'] / limit:.0f}%",
            f"chip {use['chip']}, core {use['core']}",
        )
    out.print(whole)
    out.print()


def _print_boards(facts: dict[str, Any]) -> None:
    boards = table("board", "chips", "cores", "chips needed", "fits")
    for b in facts["boards"]:
        boards.add_row(
            b["name"], f"{b['chips']:,}", f"{b['cores']:,}", f"{b['chips_needed']:,}",
            "yes" if b["fits"] else "no",
        )  # fmt: skip
    if facts["boards"]:
        out.print(boards)
        out.print()
    rows = table("what if", "cores", "chips", "board")
    for row in facts["what_if"]:
        board = row["board"] if row["fits"] else "none"
        rows.add_row(row["change"], f"{row['cores']:,}", f"{row['chips']:,}", board)
    out.print(rows)
    out.print()


def _print_traffic(facts: dict[str, Any]) -> None:
    each = max(1, facts["samples"])
    flows = table("per sample", "messages", "hops x", "hops y", "to other chips")
    for label, flow in (*facts["connections"].items(), ("all populations", facts["total"])):
        flows.add_row(
            label, *(f"{sum(flow[key]) / each:,.1f}"
                     for key in ("messages", "hops_x", "hops_y", "chip_crossings")),
        )  # fmt: skip
    out.print(flows)
    print_note(
        f"mean of {facts['samples']} samples; the input's messages come from outside and have no "
        "hops here; a spike to one core over two connections is one message in the last line"
    )
    out.print()


def _shape(shape: list[int]) -> str:
    return "x".join(map(str, shape))


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _words(name: str) -> str:
    return name.replace("_", " ")
