"""From counts and prices to energy per inference, with nothing hidden."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from trispike.errors import InvalidDataError, InvalidSettingError
from trispike.runtime.energy.profile import EVENTS, Coefficient, Profile, load_profile
from trispike.runtime.energy.twins import TWIN_PROFILES, Twin, priced_twin
from trispike.runtime.ledger import Ledger

COUNTED = tuple(event for event in EVENTS if event != "mac")
"""Events of a spiking network; the dense twin has the other one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One kind of event in the whole network, per inference."""

    event: str
    count: float
    """Mean number per inference."""
    picojoules: float | None
    """Price per event; None: the profile has none."""
    joules: float | None
    """Count times price; None where unpriced."""
    source: str
    """Citation of the price, or why there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerEnergy:
    """One connection or population, per inference."""

    name: str
    kind: str
    """"connection" or "population"."""
    counts: Mapping[str, float]
    """Mean number of events per inference, by event."""
    joules: float
    """Of the priced events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Energy per inference under one profile."""

    profile: Profile
    samples: int
    """Inferences that the counts are averaged over."""
    energy_per_inference_joules: float
    """Sum of the priced terms."""
    low_joules: float
    """The same with the lower ends of published intervals; equal where none is published."""
    high_joules: float
    """The same with the upper ends."""
    terms: tuple[Term, ...]
    layers: tuple[LayerEnergy, ...]
    unpriced: Mapping[str, str]
    """Events and effects that the total leaves out, and why."""
    assumptions: Mapping[str, float]
    """Prices in pJ that the user stated."""
    twins: tuple[Twin, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "hardware": self.profile.id,
            "basis": self.profile.basis,
            "scope": self.profile.scope,
            "samples": self.samples,
            "energy_per_inference_joules": self.energy_per_inference_joules,
            "energy_per_inference_low_joules": self.low_joules,
            "energy_per_inference_high_joules": self.high_joules,
            "terms": [asdict(term) for term in self.terms],
            "layers": [asdict(layer) for layer in self.layers],
            "unpriced": dict(self.unpriced),
            "assumptions": dict(self.assumptions),
            "caveats": list(self.profile.caveats),
            "twins": [
                {
                    **asdict(twin),
                    "dense_over_spiking": twin.ratio,
                    "break_even_picojoules": twin.break_even_picojoules,
                }
                for twin in self.twins
            ],
        }


def estimate_energy(
    ledger: Ledger, profile: Profile, assumptions: Mapping[str, float] | None = None
) -> Estimate:
    """Price a ledger.

    Args:
        ledger: Counts of a run of at least one sample.
        profile: Prices.
        assumptions: Prices in pJ by event that replace or complete the profile's; recorded.

    Raises:
        InvalidSettingError: As :func:`prices_of`.
        InvalidDataError: An empty ledger.
    """
    assumptions = dict(assumptions or {})
    prices = prices_of(profile, assumptions)
    if not ledger.samples:
        raise InvalidDataError(
            "ledger", got="no samples", expected="at least one", fix="Run some data first."
        )
    layers = tuple(
        _layer(name, kind, counts, prices, ledger.samples) for name, kind, counts in _events(ledger)
    )
    totals = dict.fromkeys(COUNTED, 0.0)
    for layer in layers:
        for event, count in layer.counts.items():
            totals[event] += count
    terms = tuple(_term(event, count, prices, profile) for event, count in totals.items())
    low, high = (
        sum(
            count * _end(prices[event], end) * 1e-12
            for event, count in totals.items()
            if event in prices
        )
        for end in ("low", "high")
    )
    unpriced = {event: why for event, why in profile.unpriced.items() if event not in prices}
    for term in terms:
        if term.joules is None:
            unpriced.setdefault(term.event, term.source)
    return Estimate(
        profile=profile,
        samples=ledger.samples,
        energy_per_inference_joules=sum(term.joules or 0.0 for term in terms),
        low_joules=low,
        high_joules=high,
        terms=terms,
        layers=layers,
        unpriced={e: w for e, w in unpriced.items() if totals.get(e, 1)},
        assumptions=assumptions,
        twins=tuple(priced_twin(load_profile(name), totals, ledger) for name in TWIN_PROFILES),
    )


def prices_of(
    profile: Profile, assumptions: Mapping[str, float] | None = None
) -> dict[str, Coefficient]:
    """The prices that a ledger is multiplied with, by event.

    Args:
        profile: Published prices.
        assumptions: Prices in pJ by event that replace or complete the profile's.

    Raises:
        InvalidSettingError: An unknown event, a negative price, or a profile whose one number
            stands for everything, completed by another.
    """
    prices = dict(profile.coefficients)
    for event, picojoules in (assumptions or {}).items():
        if event not in COUNTED or not 0 <= picojoules < float("inf"):
            raise InvalidSettingError(
                f"assumed price of {event!r}",
                got=f"{picojoules} pJ",
                expected="a price >= 0 for one of " + ", ".join(COUNTED),
                fix="Correct the assumption.",
            )
        prices[event] = Coefficient(picojoules=picojoules, citation="assumed by the user")
    if profile.scope == "all_in" and len(prices) > 1:
        raise InvalidSettingError(
            f"hardware profile {profile.id!r}",
            got="several prices under a number that already stands for everything",
            expected="the all-in price alone",
            fix="Remove the others, or use a profile whose terms add up.",
        )
    return prices


def _events(ledger: Ledger) -> list[tuple[str, str, dict[str, int]]]:
    """Events of every part, summed over steps and samples."""
    parts = []
    for label, c in ledger.connections.items():
        counts = {
            "synaptic_operation": int(c.synaptic_operations.sum()),
            "graded_operation": int(c.macs.sum()),
        }
        parts.append((label, "connection", counts))
    for name, p in ledger.populations.items():
        active = int(p.updates_with_input.sum())
        counts = {
            "neuron_update_active": active,
            "neuron_update_inactive": int(p.updates.sum()) - active,
        }
        parts.append((name, "population", counts))
    return parts


def _layer(
    name: str, kind: str, counts: dict[str, int], prices: dict[str, Coefficient], samples: int
) -> LayerEnergy:
    means = {event: count / samples for event, count in counts.items()}
    joules = sum(
        mean * prices[event].picojoules * 1e-12 for event, mean in means.items() if event in prices
    )
    return LayerEnergy(name=name, kind=kind, counts=means, joules=joules)


def _term(event: str, count: float, prices: dict[str, Coefficient], profile: Profile) -> Term:
    price = prices.get(event)
    if price is None:
        why = profile.unpriced.get(event, "The profile has no price for it.")
        return Term(event=event, count=count, picojoules=None, joules=None, source=why)
    return Term(
        event=event,
        count=count,
        picojoules=price.picojoules,
        joules=count * price.picojoules * 1e-12,
        source=price.citation,
    )


def _end(price: Coefficient, end: str) -> float:
    value = getattr(price, end)
    return price.picojoules if value is None else float(value)
