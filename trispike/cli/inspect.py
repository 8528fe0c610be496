"""``trispike inspect``: what is in a network file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trispike.cli.console import (
    DebugFlag,
    JsonFlag,
    NetworkArgument,
    command,
    out,
    print_json,
    print_note,
    table,
)
from trispike.network import describe, load


@command
def inspect(network: NetworkArgument, as_json: JsonFlag = False, debug: DebugFlag = False) -> None:
    """Show the populations, connections and provenance of a network."""
    facts = describe(load(network))
    if as_json:
        print_json(facts)
    else:
        print_description(facts)


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
