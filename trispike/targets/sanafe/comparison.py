"""Our counts and energy beside SANA-FE's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trispike.targets.sanafe.activity import Activity
from trispike.targets.sanafe.cost import Cost
from trispike.targets.sanafe.prices import SYNAPSES
from trispike.targets.sanafe.replaying import Replay
from trispike.targets.sanafe.simulator import Simulation

TOLERANCE = 1e-9
"""Relative: SANA-FE adds up event by event in double precision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One quantity."""

    name: str
    ours: float
    """Joules, seconds or a count."""
    theirs: float

    @property
    def relative(self) -> float:
        """Difference, relative to the larger one; 0 if both are 0."""
        return abs(self.ours - self.theirs) / (max(abs(self.ours), abs(self.theirs)) or 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Both, for all samples together."""

    version: str
    """Of SANA-FE."""
    energy: tuple[Row, ...]
    """Joules by category, and in total."""
    counts: tuple[Row, ...]
    """Events, which have to be equal."""
    latency: Row
    """Seconds, under SANA-FE's simple model, which is the one that ours is."""
    detailed_seconds: float
    """Under its default model, which follows the messages through the mesh."""

    @property
    def equal(self) -> bool:
        """Counts equal; energies and the simple latency within 1e-9, relative."""
        close = (*self.energy, self.latency)
        return all(row.relative <= TOLERANCE for row in close) and all(
            row.ours == row.theirs for row in self.counts
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "version": self.version,
            "equal": self.equal,
            "energy": {row.name: _plain(row) for row in self.energy},
            "counts": {row.name: {"ours": row.ours, "theirs": row.theirs} for row in self.counts},
            "latency": _plain(self.latency),
            "detailed_seconds": self.detailed_seconds,
        }


def compare(replay: Replay, activity: Activity, cost: Cost, theirs: Simulation) -> Comparison:
    """Put them side by side."""
    totals = activity.totals()
    energy = [
        Row(name=name, ours=cost.category(name), theirs=theirs.categories[name])
        for name in ("synapse", "dendrite", "soma", "network")
    ]
    fires = sum(int(group.trains.sum()) for group in replay.groups)
    counts = {
        "synapse_reads": (sum(totals[f"synapse_{unit}"] for unit in SYNAPSES), theirs.reads),
        "messages": (totals["message_out"], theirs.messages),
        "fires": (fires, theirs.fires),
        "hops": (totals["hop_x"] + totals["hop_y"], theirs.hops),
    }
    return Comparison(
        version=theirs.version,
        energy=(*energy, Row(name="total", ours=cost.joules, theirs=theirs.categories["total"])),
        counts=tuple(Row(name=name, ours=a, theirs=b) for name, (a, b) in counts.items()),
        latency=Row(name="simple", ours=cost.seconds, theirs=theirs.seconds["simple"]),
        detailed_seconds=theirs.seconds["detailed"],
    )


def _plain(row: Row) -> dict[str, float]:
    return {
        "ours": row.ours,
        "theirs": row.theirs,
        "relative_difference": row.relative,
    }
