"""``trispike inspect``: what is in a network file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from trispike.cli.console import (
    DebugFlag,
    JsonFlag,
    NetworkArgument,
    checked_output,
    command,
    out,
    print_json,
    print_note,
    progress_bar,
    table,
)
from trispike.cli.data import DATA_SOURCES, load_for
from trispike.errors import InvalidSettingError
from trispike.network import Network, describe, load
from trispike.network.files import whole_file
from trispike.network.picture import draw
from trispike.runtime.engines import build_engine, default_engine

RATE_SAMPLES = 16
"""Samples from which firing rates are counted, unless more are asked for."""


@command
def inspect(
    network: NetworkArgument,
    graph: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the network to this SVG file.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help=f"With --graph: show the firing rates on these: {DATA_SOURCES}.",
        ),
    ] = None,
    samples: Annotated[
        int, typer.Option(min=1, help="With --data: use the first so many samples.")
    ] = RATE_SAMPLES,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Show the populations, connections and provenance of a network; --graph draws them."""
    if data is not None and graph is None:
        raise InvalidSettingError(
            "--data",
            got="no --graph",
            expected="a picture to show the firing rates in",
            fix="Add --graph FILE.svg, or use trispike simulate.",
        )
    if graph is not None:
        checked_output(graph, network)
    loaded = load(network)
    facts = describe(loaded)
    if graph is not None:
        rates = None if data is None else _firing_rates(loaded, data, samples)
        with whole_file(graph) as temporary:
            temporary.write_text(draw(loaded, rates), encoding="utf-8")
        facts |= {"graph": str(graph), "firing_rates": rates}
    if as_json:
        print_json(facts)
    else:
        print_description(facts)
        if graph is not None:
            out.print(f"wrote {graph}", soft_wrap=True)


def _firing_rates(network: Network, data: str, samples: int) -> dict[str, float]:
    given = load_for(network, data, samples)
    with progress_bar("counting spikes", len(given.x)) as progress:
        engine = build_engine(default_engine(network), network)
        ledger = engine.run(given.x, progress=progress).ledger
    return {name: ledger.firing_rate(name) for name in network.populations}


def print_description(facts: dict[str, Any]) -> None:
    """The same for people."""
    shape, encoding = facts["input"]["shape"], facts["input"]["encoding"]
    out.print(
        f"{facts['kind']} network, {facts['steps']} time steps, input {_shape(shape)} "
        f"({encoding}), {facts['classes']} classes"
    )
    out.print(
        f"{facts['neurons']:,} neurons, {facts['weights']:,} weights, {facts['synapses']:,} "
        f"synapses, depth {facts['depth']}\n"
    )
    populations = table("population", "neuron", "shape", "depth", words=2)
    for p in facts["populations"]:
        populations.add_row(p["name"], p["neuron"], _shape(p["shape"]), str(p["depth"]))
    out.print(populations)
    out.print()
    connections = table("connection", "operator", "weights", "bits", "synapses", words=2)
    for c in facts["connections"]:
        words = [c["pool"] or "", c["operator"] + (f" << {c['exponent']}" if c["exponent"] else "")]
        words += [f"delay {c['delay']}" if c["delay"] else ""]
        words += ["plastic (experimental)" if c["plasticity"] else ""]
        connections.add_row(
            c["label"],
            ", ".join(filter(None, words)),
            f"{c['weights']:,}",
            str(c["bits"] or "-"),
            f"{c['synapses']:,}",
        )
    out.print(connections)
    out.print()
    for name, value in (*facts["provenance"].items(), ("sha256", facts["network_sha256"])):
        print_note(f"{name}: {_words(value)}")


def _shape(shape: list[int]) -> str:
    return "x".join(map(str, shape))


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_words(inner)}" for key, inner in value.items())
    return str(value)
