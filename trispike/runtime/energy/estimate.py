"""From counts and prices to energy per inference, with nothing hidden."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, TypeAlias

from trispike.errors import InvalidDataError, InvalidSettingError
from trispike.runtime.energy.profile import (
    COUNTED,
    DENSE,
    IF_PRICED,
    PLACED,
    Basis,
    Coefficient,
    Profile,
    SignedSpikes,
    load_profile,
)
from trispike.runtime.energy.twins import TWIN_PROFILES, Twin, priced_twin
from trispike.runtime.ledger import Ledger
from trispike.targets.loihi.traffic import Traffic

Status: TypeAlias = Literal["priced", "included", "unpriced"]
"""priced: part of the total; included: held by the price of another event; unpriced: left out."""

CATEGORIES = {
    "synaptic_operation": "synapses",
    "graded_operation": "synapses",
    "neuron_update_active": "neurons",
    "neuron_update_inactive": "neurons",
    "neuron_access": "neurons",
    "spike": "neurons",
    "message": "routing",
    "hop_x": "routing",
    "hop_y": "routing",
    "mac": "synapses",
    "activation": "neurons",
    "static_power": "static",
}
"""What part of the breakdown an event belongs to."""

MESH = "mesh"
"""Name of the part that messages and hops are listed under."""


class Hardware(Protocol):
    """What profiles and memory models have in common."""

    @property
    def id(self) -> str:
        """Name on the command line."""

    @property
    def name(self) -> str:
        """Name for people."""

    @property
    def scope(self) -> Literal["per_term", "all_in"]:
        """per_term: terms add up; all_in: one number stands for everything."""

    @property
    def basis(self) -> Basis:
        """How the numbers came about."""

    @property
    def prices(self) -> Literal["spiking", "dense"]:
        """Which network is priced: the spiking one, or the dense one of equal topology."""

    @property
    def signed_spikes(self) -> SignedSpikes:
        """How the hardware represents ternary spikes, and how they are counted."""

    @property
    def caveats(self) -> Sequence[str]:
        """What a reader has to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One kind of event in one part of the network, per inference; what estimates are made of."""

    part: str
    """Connection, population, or what else has a cost."""
    kind: str
    """"connection", "population", "routing" or "static"."""
    category: str
    """Part of the breakdown."""
    event: str
    count: float
    """Mean number per inference."""
    joules: float | None
    """Of all of them; None where unpriced or included."""
    picojoules: float | None = None
    """Of one."""
    low: float = 0.0
    """The same at the lower ends of intervals."""
    high: float = 0.0
    """The same at the upper ends."""
    source: str = ""
    """Citation of the price, or why there is none."""
    status: Status = "priced"
    basis: str | None = None
    """How the price came about; None without one."""
    confidence: str | None = None
    """How far it can be trusted; None without one."""
    memory_bytes: float | None = None
    """Size of the memory of the part's weights or states; None for other events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One kind of event in the whole network, per inference."""

    event: str
    count: float
    """Mean number per inference."""
    picojoules: float | None
    """Price per event, the mean one where it differs from part to part; None: there is none."""
    joules: float | None
    """Count times price; None where unpriced."""
    low_joules: float | None
    """The same at the lower end of the interval."""
    high_joules: float | None
    """The same at the upper end."""
    source: str
    """Citation of the price, or why there is none."""
    status: Status
    """Whether the total holds it."""
    basis: str | None
    """How the price came about; None without one."""
    confidence: str | None
    """How far it can be trusted; None without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerEnergy:
    """One part of the network, per inference."""

    name: str
    kind: str
    """"connection", "population", "routing" or "static"."""
    counts: Mapping[str, float]
    """Mean number of events per inference, by event."""
    joules: float
    """Of the priced events."""
    memory_bytes: float | None = None
    """Memory models: size of the memory of its weights or states, the mean one over cores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """What became of the signs of spikes."""

    policy: str
    """"native", "dual_channel" or "sign_as_weight"."""
    note: str
    """What that means on this hardware."""
    negative_spikes: float
    """Per inference."""
    second_neuron_joules: float | None
    """With dual_channel: what updates would cost in addition if each neuron of a population that
    fires both signs took two on the hardware; None for the other policies. Not in the total."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Energy per inference under one profile."""

    profile: Hardware
    """The profile, or the memory model."""
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
    breakdown: Mapping[str, float]
    """J per inference by category; they add up to the total."""
    included: Mapping[str, str]
    """Events that other prices hold already, and which."""
    unpriced: Mapping[str, str]
    """Events and effects that the total leaves out, and why."""
    signs: Signs
    assumptions: Mapping[str, float]
    """Prices in pJ that the user stated."""
    twins: tuple[Twin, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "hardware": self.profile.id,
            "basis": self.profile.basis,
            "scope": self.profile.scope,
            "prices": self.profile.prices,
            "samples": self.samples,
            "energy_per_inference_joules": self.energy_per_inference_joules,
            "energy_per_inference_low_joules": self.low_joules,
            "energy_per_inference_high_joules": self.high_joules,
            "breakdown": dict(self.breakdown),
            "terms": [asdict(term) for term in self.terms],
            "layers": [asdict(layer) for layer in self.layers],
            "included": dict(self.included),
            "unpriced": dict(self.unpriced),
            "signed_spikes": asdict(self.signs),
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
    ledger: Ledger,
    profile: Profile,
    assumptions: Mapping[str, float] | None = None,
    *,
    traffic: Traffic | None = None,
    latency_seconds: float | None = None,
) -> Estimate:
    """Price a ledger.

    Args:
        ledger: Counts of a run of at least one sample.
        profile: Prices.
        assumptions: Prices in pJ by event that replace or complete the profile's; recorded.
        traffic: Messages and hops on a placement, of the same or other samples.
        latency_seconds: How long an inference takes on the hardware, for its static power.

    Raises:
        InvalidSettingError: As :func:`prices_of`, or a latency that is no time.
        InvalidDataError: An empty ledger, or empty traffic.
    """
    assumptions = dict(assumptions or {})
    prices = prices_of(profile, assumptions, placed=traffic is not None)
    check_samples(ledger.samples)
    unpriced = {event: why for event, why in profile.unpriced.items() if event not in prices}
    for event in PLACED if profile.prices == "spiking" and traffic is None else ():
        if event in profile.coefficients:
            unpriced[event] = _needs_placement(profile.coefficients[event])
    items = [
        _item(part, kind, event, count, prices, profile)
        for part, kind, counts in _events(ledger, profile, traffic)
        for event, count in counts.items()
        if event in prices or event not in IF_PRICED
    ]
    if profile.static_power is None:
        unpriced.setdefault("static_power", "The profile gives none.")
    else:
        watts, source = profile.static_power.watts, profile.static_power.citation
        static = static_item(watts, source, profile.static_power.confidence, latency_seconds)
        items += [static] if static.joules is not None else []
        if static.joules is None:
            unpriced["static_power"] = static.source
    check_latency(latency_seconds)
    totals = _totals(ledger)
    return assembled(
        items,
        profile=profile,
        samples=ledger.samples,
        unpriced={event: why for event, why in unpriced.items() if totals.get(event, 1)},
        signs=_signs(ledger, profile, prices),
        assumptions=assumptions,
        twins=tuple(priced_twin(load_profile(name), totals, ledger) for name in TWIN_PROFILES),
    )


def assembled(
    items: Iterable[Item],
    *,
    profile: Hardware,
    samples: int,
    unpriced: Mapping[str, str],
    signs: Signs,
    assumptions: Mapping[str, float],
    twins: tuple[Twin, ...],
) -> Estimate:
    """An estimate from its items."""
    items = tuple(items)
    terms = tuple(
        _term([item for item in items if item.event == event])
        for event in dict.fromkeys(item.event for item in items)
    )
    missing, included = dict(unpriced), {}
    breakdown: dict[str, float] = {}
    for item in items:
        if item.joules is not None:
            breakdown[item.category] = breakdown.get(item.category, 0.0) + item.joules
    for term in terms:
        if term.count and term.status == "unpriced":
            missing.setdefault(term.event, term.source)
        elif term.count and term.status == "included":
            included[term.event] = term.source
    return Estimate(
        profile=profile,
        samples=samples,
        energy_per_inference_joules=sum(term.joules or 0.0 for term in terms),
        low_joules=sum(term.low_joules or 0.0 for term in terms),
        high_joules=sum(term.high_joules or 0.0 for term in terms),
        terms=terms,
        layers=_layers(items),
        breakdown=breakdown,
        included=included,
        unpriced=missing,
        signs=signs,
        assumptions=assumptions,
        twins=twins,
    )


def prices_of(
    profile: Profile,
    assumptions: Mapping[str, float] | None = None,
    *,
    placed: bool = False,
) -> dict[str, Coefficient]:
    """The prices that a ledger is multiplied with, by event.

    Args:
        profile: Published prices.
        assumptions: Prices in pJ by event that replace or complete the profile's.
        placed: Whether there are counts of messages and hops.

    Raises:
        InvalidSettingError: An event that is unknown or not counted, a negative price, a price
            beside one that holds it already, or anything beside an all-in number.
    """
    prices = dict(profile.coefficients)
    events = DENSE if profile.prices == "dense" else COUNTED
    for event, picojoules in (assumptions or {}).items():
        if event not in events or not 0 <= picojoules < float("inf"):
            raise InvalidSettingError(
                f"assumed price of {event!r}",
                got=f"{picojoules} pJ",
                expected="a price >= 0 for one of " + ", ".join(events),
                fix="Correct the assumption.",
            )
        if event in PLACED and not placed:
            raise InvalidSettingError(
                f"assumed price of {event!r}",
                got="no placement",
                expected="messages and hops that are counted on one",
                fix="Give a placement, or leave the assumption out.",
            )
        prices[event] = Coefficient(picojoules=picojoules, citation="assumed by the user")
    if profile.scope == "all_in" and len(prices) > 1:
        raise InvalidSettingError(
            f"hardware profile {profile.id!r}",
            got="several prices under a number that already stands for everything",
            expected="the all-in price alone",
            fix="Remove the others, or use a profile whose terms add up.",
        )
    if twice := sorted(set(assumptions or {}) & set(profile.included)):
        raise InvalidSettingError(
            f"assumed price of {twice[0]!r}",
            got=f"a price that profile {profile.id!r} holds already: {profile.included[twice[0]]}",
            expected="an event that nothing else pays for",
            fix="Leave the assumption out, or write a profile of your own.",
        )
    return prices


def check_samples(samples: int) -> None:
    """Refuse a ledger without samples, which has no mean.

    Raises:
        InvalidDataError: There are none.
    """
    if not samples:
        raise InvalidDataError(
            "ledger", got="no samples", expected="at least one", fix="Run some data first."
        )


def check_latency(seconds: float | None) -> None:
    """Refuse what is no time.

    Raises:
        InvalidSettingError: Not a positive, finite number.
    """
    if seconds is not None and not 0 < seconds < float("inf"):
        raise InvalidSettingError(
            "latency",
            got=f"{seconds} s",
            expected="a positive number of seconds per inference",
            fix="Correct the number, or leave it out.",
        )


def static_item(watts: float, citation: str, confidence: str, seconds: float | None) -> Item:
    """Static power over the time of an inference; unpriced where that is not known."""
    check_latency(seconds)
    if seconds is None:
        why = f"{watts:g} W ({citation}), but how long an inference takes is not given."
        return Item(part="static power", kind="static", category="static", event="static_power",
                    count=0.0, joules=None, source=why, status="unpriced")  # fmt: skip
    joules = watts * seconds
    return Item(
        part="static power",
        kind="static",
        category="static",
        event="static_power",
        count=seconds,
        joules=joules,
        picojoules=watts * 1e12,
        low=joules,
        high=joules,
        source=f"{watts:g} W times the latency; {citation}",
        basis="measured",
        confidence=confidence,
    )


def _events(
    ledger: Ledger, profile: Profile, traffic: Traffic | None
) -> list[tuple[str, str, dict[str, float]]]:
    """Events of every part, per inference."""
    parts: list[tuple[str, str, dict[str, float]]] = []
    if profile.prices == "dense":
        for label, c in ledger.connections.items():
            parts.append((label, "connection", {"mac": float(c.dense_macs)}))
        for name, p in ledger.populations.items():
            parts.append((name, "population", {"activation": float(p.neurons)}))
        return parts
    for label, c in ledger.connections.items():
        operations = {
            "synaptic_operation": int(c.synaptic_operations.sum()),
            "graded_operation": int(c.macs.sum()),
        }
        parts.append((label, "connection", _means(operations, ledger.samples)))
    for name, p in ledger.populations.items():
        updates, active = int(p.updates.sum()), int(p.updates_with_input.sum())
        counts = {
            "neuron_update_active": active,
            "neuron_update_inactive": updates - active,
            "neuron_access": updates,
            "spike": int(p.spikes_positive.sum() + p.spikes_negative.sum()),
        }
        parts.append((name, "population", _means(counts, ledger.samples)))
    if traffic is not None:
        check_samples(traffic.samples)
        total = traffic.total
        moved = {
            "message": int(total.messages.sum()),
            "hop_x": int(total.hops_x.sum()),
            "hop_y": int(total.hops_y.sum()),
        }
        parts.append((MESH, "routing", _means(moved, traffic.samples)))
    return parts


def _means(counts: Mapping[str, int], samples: int) -> dict[str, float]:
    return {event: count / samples for event, count in counts.items()}


def _totals(ledger: Ledger) -> dict[str, float]:
    """Events of the whole spiking network, per inference."""
    samples = ledger.samples
    updates = sum(int(p.updates.sum()) for p in ledger.populations.values())
    active = sum(int(p.updates_with_input.sum()) for p in ledger.populations.values())
    return {
        "synaptic_operation": ledger.synaptic_operations / samples,
        "graded_operation": ledger.macs / samples,
        "neuron_update_active": active / samples,
        "neuron_update_inactive": (updates - active) / samples,
        "neuron_access": updates / samples,
        "spike": ledger.spikes / samples,
    }


def _item(
    part: str,
    kind: str,
    event: str,
    count: float,
    prices: Mapping[str, Coefficient],
    profile: Profile,
) -> Item:
    price = prices.get(event)
    if price is None:
        held = event in profile.included
        default = profile.unpriced.get(event, "The profile has no price for it.")
        return Item(
            part=part,
            kind=kind,
            category=CATEGORIES[event],
            event=event,
            count=count,
            joules=None,
            source=profile.included.get(event, default),
            status="included" if held else "unpriced",
        )
    low, high = price.interval
    return Item(
        part=part,
        kind=kind,
        category=CATEGORIES[event],
        event=event,
        count=count,
        joules=count * price.picojoules * 1e-12,
        picojoules=price.picojoules,
        low=count * low * 1e-12,
        high=count * high * 1e-12,
        source=f"{price.citation}. {price.note}" if price.note else price.citation,
        basis=price.basis or ("assumed" if price.confidence == "assumed" else profile.basis),
        confidence=price.confidence,
    )


def _term(items: list[Item]) -> Term:
    """The sum of the items of one event."""
    first = items[0]
    count = sum(item.count for item in items)
    if first.joules is None:
        return Term(
            event=first.event,
            count=count,
            picojoules=None,
            joules=None,
            low_joules=None,
            high_joules=None,
            source=first.source,
            status=first.status,
            basis=None,
            confidence=None,
        )
    joules = sum(item.joules or 0.0 for item in items)
    prices = {item.picojoules for item in items}
    price = prices.pop() if len(prices) == 1 else joules / count * 1e12 if count else None
    return Term(
        event=first.event,
        count=count,
        picojoules=price,
        joules=joules,
        low_joules=sum(item.low for item in items),
        high_joules=sum(item.high for item in items),
        source=first.source,
        status="priced",
        basis=first.basis,
        confidence=first.confidence,
    )


def _layers(items: Iterable[Item]) -> tuple[LayerEnergy, ...]:
    parts: dict[tuple[str, str], dict[str, float]] = {}
    energy: dict[tuple[str, str], float] = {}
    memory: dict[tuple[str, str], float] = {}
    for item in items:
        part = (item.part, item.kind)
        counts = parts.setdefault(part, {})
        counts[item.event] = counts.get(item.event, 0.0) + item.count
        energy[part] = energy.get(part, 0.0) + (item.joules or 0.0)
        if item.memory_bytes is not None:
            memory[part] = item.memory_bytes
    return tuple(
        LayerEnergy(
            name=name,
            kind=kind,
            counts=counts,
            joules=energy[name, kind],
            memory_bytes=memory.get((name, kind)),
        )
        for (name, kind), counts in parts.items()
    )


def _signs(ledger: Ledger, profile: Profile, prices: Mapping[str, Coefficient]) -> Signs:
    updates = 0.0
    for p in ledger.populations.values():
        if p.spikes_negative.any():
            every, active = int(p.updates.sum()), int(p.updates_with_input.sum())
            for event, count in (
                ("neuron_update_active", active),
                ("neuron_update_inactive", every - active),
                ("neuron_access", every),
            ):
                updates += count * prices[event].picojoules if event in prices else 0.0
    doubled = profile.signed_spikes.policy == "dual_channel" and profile.scope == "per_term"
    return Signs(
        policy=profile.signed_spikes.policy,
        note=profile.signed_spikes.note,
        negative_spikes=negative_spikes(ledger),
        second_neuron_joules=updates * 1e-12 / ledger.samples if doubled else None,
    )


def negative_spikes(ledger: Ledger) -> float:
    """Spikes of -1 per inference."""
    spikes = sum(int(p.spikes_negative.sum()) for p in ledger.populations.values())
    return spikes / ledger.samples


def _needs_placement(price: Coefficient) -> str:
    return f"{price.picojoules:g} pJ each ({price.citation}), but counted on a placement only."
