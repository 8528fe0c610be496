"""From counts and prices to energy per inference, with nothing hidden."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from trispike.errors import InvalidDataError, InvalidSettingError
from trispike.network import Conv2d, Dense, IntegerNetwork, Network
from trispike.network.learning import updates_per_sample
from trispike.runtime.derived_counts import FLOAT_BITS, check_ledger
from trispike.runtime.energy.latency import Latency, estimate_latency, fires_both_signs
from trispike.runtime.energy.memory_twins import MemoryTwin
from trispike.runtime.energy.profile import (
    COUNTED,
    DENSE,
    IF_PRICED,
    PLACED,
    Basis,
    Coefficient,
    Profile,
    SignedSpikes,
    StaticPower,
    SynapseKind,
    hardware_sha256,
)
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
    "input_message": "routing",
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
    variant: str = ""
    """What tells it from others of the same event that have another price."""
    each: npt.NDArray[np.float64] | None = field(default=None, compare=False)
    """(N,): the number in every sample; None if it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One kind of event in the whole network, per inference."""

    event: str
    variant: str
    """What tells it from others of the same event that have another price: how synapses are
    stored; else empty."""
    count: float
    """Mean number per inference."""
    count_error: float | None
    """Standard error of that mean over the samples; None if it is not known."""
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
    fires both signs took two on the hardware; None for the other policies. Not in the total, but in
    its upper end."""
    second_neuron_high_joules: float | None = None
    """The same at the upper ends of intervals; None: as it is."""

    @property
    def most_joules(self) -> float:
        """What the upper end of the total holds of it."""
        if self.second_neuron_high_joules is not None:
            return self.second_neuron_high_joules
        return self.second_neuron_joules or 0.0


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
    """The same with the upper ends, and with a second neuron for each that fires both signs where
    the hardware may take two."""
    standard_error_joules: float | None
    """Of the total as a mean over samples, prices as they are; None if it is not known."""
    sample_joules: npt.NDArray[np.float64] | None = field(compare=False)
    """(N,): what every sample takes, with which the total is the mean; None without counts per
    sample, or on a placement, where messages are counted over samples only."""
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
    twins: tuple[MemoryTwin, ...]
    """With a memory model: the dense network on the same core; else empty."""
    latency: Latency | None = None
    """None where no times are published."""
    remarks: tuple[str, ...] = ()
    """What does not fit between this network and the hardware."""

    @property
    def caveats(self) -> tuple[str, ...]:
        """What a reader has to know."""
        return (*self.profile.caveats, *self.remarks)

    @property
    def hardware_sha256(self) -> str:
        """Of everything that the profile says."""
        assert isinstance(self.profile, BaseModel)
        return hardware_sha256(self.profile)

    @property
    def without_interval(self) -> tuple[int, int]:
        """How many priced terms have no interval, and how many there are."""
        priced = [term for term in self.terms if term.status == "priced" and term.count]
        return sum(term.low_joules == term.high_joules for term in priced), len(priced)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "hardware": self.profile.id,
            "hardware_sha256": self.hardware_sha256,
            "basis": self.profile.basis,
            "scope": self.profile.scope,
            "prices": self.profile.prices,
            "samples": self.samples,
            "energy_per_inference_joules": self.energy_per_inference_joules,
            "energy_per_inference_low_joules": self.low_joules,
            "energy_per_inference_high_joules": self.high_joules,
            "energy_per_inference_standard_error_joules": self.standard_error_joules,
            "breakdown": dict(self.breakdown),
            "terms": [asdict(term) for term in self.terms],
            "layers": [asdict(layer) for layer in self.layers],
            "included": dict(self.included),
            "unpriced": dict(self.unpriced),
            "signed_spikes": asdict(self.signs),
            "latency": None if self.latency is None else self.latency.to_dict(),
            "assumptions": dict(self.assumptions),
            "caveats": list(self.caveats),
            "twins": [twin.to_dict() for twin in self.twins],
        }


def estimate_energy(
    ledger: Ledger,
    profile: Profile,
    assumptions: Mapping[str, float] | None = None,
    *,
    network: Network | None = None,
    traffic: Traffic | None = None,
    latency_seconds: float | None = None,
) -> Estimate:
    """Price a ledger.

    Args:
        ledger: Counts of a run of at least one sample.
        profile: Prices.
        assumptions: Prices in pJ by event that replace or complete the profile's; recorded.
        network: That ran; says how the synapses of each connection are stored, where that has a
            price of its own, and how deep the layers lie. None: not known.
        traffic: Messages and hops on a placement, of the same or other samples.
        latency_seconds: How long an inference takes on the hardware, for its static power.

    Raises:
        InvalidSettingError: As :func:`prices_of`, or a latency that is no time.
        InvalidDataError: An empty ledger, one of another network, or empty traffic.
    """
    assumptions = dict(assumptions or {})
    prices = prices_of(profile, assumptions, placed=traffic is not None)
    check_samples(ledger.samples)
    check_latency(latency_seconds)
    if network is not None:
        check_ledger(ledger, network)
    kinds = _kinds(network, profile, assumptions)
    unpriced = _left_out(profile, prices, placed=traffic is not None)
    items = [
        _item(part, counted, prices, profile, kinds)
        for part in _parts(ledger, profile, traffic)
        for counted in part.counts
        if counted.event in prices or counted.event not in IF_PRICED
    ]
    if profile.static_power is None:
        unpriced.setdefault("static_power", "The profile gives none.")
    else:
        static = static_item(profile.static_power, latency_seconds, ledger.samples)
        items += [static] if static.joules is not None else []
        if static.joules is None:
            unpriced["static_power"] = static.source
    totals, times = _totals(ledger), profile.times
    doubled = profile.signed_spikes.policy == "dual_channel"
    return assembled(
        items,
        profile=profile,
        samples=ledger.samples,
        unpriced={event: why for event, why in unpriced.items() if totals.get(event, 1)},
        signs=_signs(ledger, profile, prices, network),
        assumptions=assumptions,
        latency=None
        if times is None
        else estimate_latency(ledger, times, network=network, traffic=traffic, doubled=doubled),
        remarks=_remarks(network, profile),
    )


def _kinds(
    network: Network | None, profile: Profile, assumptions: Mapping[str, float]
) -> dict[str, SynapseKind]:
    """How the synapses of each connection are stored, where that has a price of its own."""
    if network is None or not profile.synapses or "synaptic_operation" in assumptions:
        return {}
    found: dict[str, SynapseKind] = {}
    for label, connection in network.labelled():
        operator = connection.operator
        matrix: SynapseKind = "dense" if isinstance(operator, Dense) else "sparse"
        found[label] = "convolution" if isinstance(operator, Conv2d) else matrix
    return found


def _left_out(
    profile: Profile, prices: Mapping[str, Coefficient], *, placed: bool
) -> dict[str, str]:
    """Events and effects without a price, and why, whether or not they are counted."""
    found = {event: why for event, why in profile.unpriced.items() if event not in prices}
    for event in PLACED if profile.prices == "spiking" and not placed else ():
        if event in profile.coefficients:
            found[event] = _needs_placement(profile.coefficients[event])
        elif not {event, "routing"} & {*profile.unpriced, *profile.included}:
            found[event] = "The profile has no price for it, and it is counted on a placement only."
    return found


def _remarks(network: Network | None, profile: Profile) -> tuple[str, ...]:
    if network is None:
        return ()
    learning, most = learning_remarks(network), profile.supports.bits
    integer = isinstance(network, IntegerNetwork)
    bits = max((c.bits if integer else FLOAT_BITS for c in network.all_connections), default=0)
    if most is None or bits <= most:
        return learning
    text = f"Weights of {bits} bits are priced as if the hardware held them: it has {most}."
    return (text, *learning)


def learning_remarks(network: Network) -> tuple[str, ...]:
    """What a plastic network does beside its counted events."""
    updates = updates_per_sample(network)
    if not updates:
        return ()
    each = ", ".join(f"{label} {count:,}" for label, count in updates.items())
    text = (
        f"Plastic connections (experimental): {sum(updates.values()):,} weight updates per "
        f"inference ({each}) are counted and not priced: no profile has a price for them."
    )
    return (text,)


def assembled(
    items: Iterable[Item],
    *,
    profile: Hardware,
    samples: int,
    unpriced: Mapping[str, str],
    signs: Signs,
    assumptions: Mapping[str, float],
    twins: tuple[MemoryTwin, ...] = (),
    latency: Latency | None = None,
    remarks: tuple[str, ...] = (),
) -> Estimate:
    """An estimate from its items."""
    items = tuple(items)
    each = _sample_joules(items)
    terms = tuple(
        _term([item for item in items if (item.event, item.variant) == kind])
        for kind in dict.fromkeys((item.event, item.variant) for item in items)
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
        high_joules=sum(term.high_joules or 0.0 for term in terms) + signs.most_joules,
        standard_error_joules=None if each is None else _standard_error(each),
        sample_joules=each,
        terms=terms,
        layers=_layers(items),
        breakdown=breakdown,
        included=included,
        unpriced=missing,
        signs=signs,
        assumptions=assumptions,
        twins=twins,
        latency=latency,
        remarks=remarks,
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


def static_item(power: StaticPower, seconds: float | None, samples: int = 1) -> Item:
    """Static power over the time of an inference; unpriced where that is not known."""
    check_latency(seconds)
    if seconds is None:
        return Item(
            part="static power",
            kind="static",
            category="static",
            event="static_power",
            count=0.0,
            joules=None,
            source=f"{power.watts:g} W ({power.citation}), but how long an inference takes is not "
            "given.",
            status="unpriced",
        )
    joules = power.watts * seconds
    return Item(
        part="static power",
        kind="static",
        category="static",
        event="static_power",
        count=seconds,
        joules=joules,
        picojoules=power.watts * 1e12,
        low=joules,
        high=joules,
        source=f"{power.watts:g} W times the latency; {power.citation}",
        basis=power.basis,
        confidence=power.confidence,
        each=np.full(samples, seconds),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    """One kind of event of a part, per inference."""

    event: str
    count: float
    each: npt.NDArray[np.float64] | None = None
    """(N,): in every sample; None if it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    name: str
    kind: str
    counts: tuple[_Counted, ...]


def _parts(ledger: Ledger, profile: Profile, traffic: Traffic | None) -> list[_Part]:
    """Events of every part, per inference."""
    if profile.prices == "dense":
        macs = {label: ("mac", c.dense_macs) for label, c in ledger.connections.items()}
        neurons = {name: ("activation", p.neurons) for name, p in ledger.populations.items()}
        return [
            _Part(name=name, kind=kind, counts=(_always(event, count, ledger.samples),))
            for kind, group in (("connection", macs), ("population", neurons))
            for name, (event, count) in group.items()
        ]
    parts = [_connection_part(ledger, label) for label in ledger.connections]
    parts += [_population_part(ledger, name) for name in ledger.populations]
    return parts if traffic is None else [*parts, _mesh_part(traffic)]


def _mesh_part(traffic: Traffic) -> _Part:
    check_samples(traffic.samples)
    total = traffic.total
    moved = {
        "message": total.messages,
        "input_message": traffic.input.messages,
        "hop_x": total.hops_x,
        "hop_y": total.hops_y,
    }
    counts = tuple(
        _Counted(event=e, count=int(n.sum()) / traffic.samples) for e, n in moved.items()
    )
    return _Part(name=MESH, kind="routing", counts=counts)


def _always(event: str, count: float, samples: int) -> _Counted:
    """What every sample does alike."""
    return _Counted(event=event, count=float(count), each=np.full(samples, float(count)))


def _connection_part(ledger: Ledger, label: str) -> _Part:
    counts, samples = ledger.connections[label], ledger.per_sample
    ternary = graded = None
    if samples is not None:
        ternary = samples.synaptic_operations[label].sum(axis=1).astype(np.float64)
        graded = samples.macs[label].sum(axis=1).astype(np.float64)
    operations = int(counts.synaptic_operations.sum()) / ledger.samples
    products = int(counts.macs.sum()) / ledger.samples
    return _Part(
        name=label,
        kind="connection",
        counts=(
            _Counted(event="synaptic_operation", count=operations, each=ternary),
            _Counted(event="graded_operation", count=products, each=graded),
        ),
    )


def _population_part(ledger: Ledger, name: str) -> _Part:
    counts, samples = ledger.populations[name], ledger.samples
    updates, active = int(counts.updates.sum()), int(counts.updates_with_input.sum())
    spikes = int(counts.spikes_positive.sum() + counts.spikes_negative.sum())
    with_input = without = fired = None
    if ledger.per_sample is not None:
        with_input = ledger.per_sample.updates_with_input[name].sum(axis=1).astype(np.float64)
        without = updates / samples - with_input
        fired = ledger.per_sample.spikes[name].sum(axis=1).astype(np.float64)
    idle = (updates - active) / samples
    return _Part(
        name=name,
        kind="population",
        counts=(
            _Counted(event="neuron_update_active", count=active / samples, each=with_input),
            _Counted(event="neuron_update_inactive", count=idle, each=without),
            _always("neuron_access", updates / samples, samples),
            _Counted(event="spike", count=spikes / samples, each=fired),
        ),
    )


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
    part: _Part,
    counted: _Counted,
    prices: Mapping[str, Coefficient],
    profile: Profile,
    kinds: Mapping[str, SynapseKind],
) -> Item:
    event, count = counted.event, counted.count
    price, variant = prices.get(event), ""
    if event == "synaptic_operation" and part.name in kinds:
        variant = kinds[part.name]
        price = profile.synapses[kinds[part.name]]
    if price is None:
        held = event in profile.included
        default = profile.unpriced.get(event, "The profile has no price for it.")
        return Item(
            part=part.name,
            kind=part.kind,
            category=CATEGORIES[event],
            event=event,
            count=count,
            joules=None,
            source=profile.included.get(event, default),
            status="included" if held else "unpriced",
            each=counted.each,
        )
    low, high = price.interval
    return Item(
        part=part.name,
        kind=part.kind,
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
        variant=variant,
        each=counted.each,
    )


def _standard_error(each: npt.NDArray[np.float64]) -> float | None:
    """Of the mean of samples; a single one has none."""
    return float(each.std(ddof=1) / np.sqrt(len(each))) if len(each) > 1 else None


def _count_error(items: Sequence[Item]) -> float | None:
    known = [item.each for item in items if item.each is not None]
    return _standard_error(np.sum(known, axis=0)) if len(known) == len(items) else None


def _sample_joules(items: Iterable[Item]) -> npt.NDArray[np.float64] | None:
    """(N,): what each sample costs; None where a priced count is not known."""
    priced = [item for item in items if item.joules is not None and item.count]
    each = [
        item.each * item.picojoules * 1e-12
        for item in priced
        if item.each is not None and item.picojoules is not None
    ]
    if not each or len(each) < len(priced):
        return None
    return np.asarray(np.sum(each, axis=0), dtype=np.float64)


def _term(items: list[Item]) -> Term:
    """The sum of the items of one event."""
    first = items[0]
    count = sum(item.count for item in items)
    if first.joules is None:
        return Term(
            event=first.event,
            variant=first.variant,
            count=count,
            count_error=_count_error(items),
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
        variant=first.variant,
        count=count,
        count_error=_count_error(items),
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


def _signs(
    ledger: Ledger,
    profile: Profile,
    prices: Mapping[str, Coefficient],
    network: Network | None,
) -> Signs:
    more = most = 0.0
    for name in fires_both_signs(ledger, network):
        for counted in _population_part(ledger, name).counts:
            if counted.event != "spike" and counted.event in prices:
                price = prices[counted.event]
                more += counted.count * price.picojoules * 1e-12
                most += counted.count * price.interval[1] * 1e-12
    doubled = profile.signed_spikes.policy == "dual_channel" and profile.scope == "per_term"
    return Signs(
        policy=profile.signed_spikes.policy,
        note=profile.signed_spikes.note,
        negative_spikes=negative_spikes(ledger),
        second_neuron_joules=more if doubled else None,
        second_neuron_high_joules=most if doubled else None,
    )


def negative_spikes(ledger: Ledger) -> float:
    """Spikes of -1 per inference."""
    spikes = sum(int(p.spikes_negative.sum()) for p in ledger.populations.values())
    return spikes / ledger.samples


def _needs_placement(price: Coefficient) -> str:
    return f"{price.picojoules:g} pJ each ({price.citation}), but counted on a placement only."
