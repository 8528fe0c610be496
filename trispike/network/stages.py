"""The order in which whole populations can run, all time steps at once."""

from __future__ import annotations

from dataclasses import dataclass

from trispike.network.network import Network


@dataclass(frozen=True)
class Stage:
    """Populations that run together."""

    populations: tuple[str, ...]
    """In the order of the network."""
    loop: bool
    """Whether they form a loop, and have to run step by step."""


def stages(network: Network) -> list[Stage]:
    """The network in parts, each of which only reads itself and those before it."""
    reads = {
        name: {s for c in network.into(name) for s in c.sources} - {network.input.name}
        for name in network.populations
    }
    upstream = {name: _closure(name, reads) for name in reads}
    result: list[Stage] = []
    placed: set[str] = set()
    waiting = list(network.order)
    while waiting:
        for name in waiting:
            group = {name} | {p for p in upstream[name] if name in upstream[p]}
            if all(upstream[p] - group <= placed for p in group):
                members = tuple(p for p in network.order if p in group)
                result.append(Stage(members, name in upstream[name]))
                placed |= group
                waiting = [p for p in waiting if p not in group]
                break
    return result


def _closure(name: str, reads: dict[str, set[str]]) -> set[str]:
    """Everything that ``name`` reads, directly or not; itself if it is in a loop."""
    found: set[str] = set()
    new = set(reads[name])
    while new:
        found |= new
        new = {s for p in new for s in reads[p]} - found
    return found
