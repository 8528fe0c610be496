"""Graphs without subgraphs: names, nodes, and what leads into each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trispike.errors import FileFormatError
from trispike.export.nir.package import nir


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """A flat graph. Inputs and Outputs of subgraphs are wires in it."""

    nodes: dict[str, Any]
    """By name, "outer/inner" in subgraphs."""
    before: dict[str, tuple[str, ...]]
    """By name: the nodes whose outputs are summed into it."""
    source: str
    """The graph's Input."""
    sink: str
    """The graph's Output."""

    def order(self) -> tuple[str, ...]:
        """All nodes, such that only loops point backwards."""
        waiting, order = dict(self.before), []
        while waiting:
            ready = [n for n, before in waiting.items() if not any(b in waiting for b in before)]
            # In a loop: go on where something has arrived.
            ready = (
                ready
                or [n for n, before in waiting.items() if any(b not in waiting for b in before)][:1]
                or list(waiting)[:1]
            )
            for name in ready:
                del waiting[name]
            order += ready
        return tuple(order)


def flat(graph: Any) -> Wiring:
    """Take the subgraphs out of a graph.

    Raises:
        FileFormatError: An edge without a node, a doubled edge, a node that leads nowhere or is
            reached from nowhere, or not exactly one Input and Output.
    """
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    source, sink = _collect(graph, "", nodes, edges)
    before = {name: tuple(sorted(a for a, b in edges if b == name)) for name in sorted(nodes)}
    wiring = Wiring(nodes=nodes, before=before, source=source, sink=sink)
    for name in nodes:
        if not before[name] and name != source:
            raise _broken(f"node {name!r}", "no edge into it", "an edge from another node")
        if name != sink and not any(a == name for a, _ in edges):
            raise _broken(f"node {name!r}", "no edge out of it", "an edge to another node")
    return wiring


def _collect(
    graph: Any, prefix: str, nodes: dict[str, Any], edges: list[tuple[str, str]]
) -> tuple[str, str]:
    """Add a graph's nodes and edges; the names of its Input and Output."""
    where = f"subgraph {prefix[:-1]!r}" if prefix else "graph"
    ends: dict[str, tuple[str, str]] = {}
    for name, node in graph.nodes.items():
        full = prefix + str(name)
        if isinstance(node, nir.NIRGraph):
            ends[name] = _collect(node, f"{full}/", nodes, edges)
        else:
            nodes[full] = node
            ends[name] = full, full
    for edge in graph.edges:
        a, b = (str(end) for end in edge)
        for name in (a, b):
            if name not in graph.nodes:
                raise _broken(
                    f"edge {a!r} to {b!r} of {where}",
                    f"no node {name!r}",
                    "nodes of the graph: " + ", ".join(graph.nodes),
                )
        if [tuple(e) for e in graph.edges].count(tuple(edge)) > 1:
            raise _broken(f"edge {a!r} to {b!r} of {where}", "the edge twice", "it once")
        edges.append((ends[a][1], ends[b][0]))
    found = []
    for kind in (nir.Input, nir.Output):
        names = [prefix + str(name) for name, node in graph.nodes.items() if isinstance(node, kind)]
        if len(names) != 1:
            raise _broken(
                where,
                f"{len(names)} nodes of type {kind.__name__}"
                + (f" ({', '.join(names)})" if names else ""),
                "exactly one",
            )
        found.append(names[0])
    return found[0], found[1]


def _broken(what: str, got: str, expected: str) -> FileFormatError:
    return FileFormatError(
        what, got=got, expected=expected, fix="Correct the graph where it was written."
    )
