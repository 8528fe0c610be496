"""Energy and time of counted events, by SANA-FE's formula and with its prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trispike.targets.sanafe.activity import Activity
from trispike.targets.sanafe.prices import CATEGORIES, SYNAPSES, Prices


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One kind of event in the whole replay."""

    event: str
    category: str
    """synapse, soma or network."""
    count: int
    picojoules: float
    """Of one event."""
    joules: float
    """Of all of them."""
    citation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a replay costs."""

    terms: tuple[Term, ...]
    joules: float
    """Of all samples."""
    seconds: float
    """Of all samples, without what happens on the mesh: see :func:`busiest_core`."""

    def category(self, name: str) -> float:
        """Joules of one of SANA-FE's categories."""
        return sum(term.joules for term in self.terms if term.category == name)

    def to_dict(self) -> dict[str, Any]:
        """JSON form of the terms."""
        return {"terms": [asdict(term) for term in self.terms]}


def price(activity: Activity, prices: Prices) -> Cost:
    """Price counted events."""
    terms = tuple(
        Term(
            event=event,
            category=CATEGORIES[event],
            count=number,
            picojoules=prices.events[event].picojoules,
            joules=number * prices.joules(event),
            citation=prices.events[event].citation,
        )
        for event, number in activity.totals().items()
    )
    return Cost(
        terms=terms,
        joules=sum(term.joules for term in terms),
        seconds=float(busiest_core(activity, prices).sum()),
    )


def busiest_core(activity: Activity, prices: Prices) -> Any:
    """(S,): seconds that each step takes, if messages neither travel nor wait.

    A core steps its neurons and sends their messages one after the other, and works off what it
    receives one after the other. A step takes as long as the longer of the two on the busiest
    core, and the synchronization. Hops, congestion, and messages that wait for those before them
    are left out, so that it is a lower bound of what a model of the mesh gives.
    """
    cost: Mapping[str, float] = {event: prices.seconds(event) for event in CATEGORIES}
    computing = (
        activity.neurons * cost["neuron_access"]
        + activity.updates * cost["neuron_update"]
        + activity.fires * cost["spike_out"]
        + activity.sent * cost["message_out"]
    )
    receiving = activity.received * cost["message_in"] + sum(
        activity.reads[unit] * cost[f"synapse_{unit}"] for unit in SYNAPSES
    )
    busiest = np.maximum(computing.max(axis=1), receiving.max(axis=1))
    return busiest + prices.synchronization.nanoseconds(activity.tiles) * 1e-9
