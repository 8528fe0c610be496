"""``trispike hardware``: which prices there are, and where each of them comes from."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from trispike.cli.console import (
    DebugFlag,
    JsonFlag,
    command,
    out,
    print_json,
    print_note,
    table,
)
from trispike.runtime.energy import (
    Coefficient,
    MemoryModel,
    Profile,
    hardware_names,
    load_hardware,
)
from trispike.runtime.energy.profile import hardware_sha256


@command
def hardware(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="A profile, by name or as a JSON file; none: all."),
    ] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """List the hardware profiles of estimate, or show one with the source of every number."""
    if name is None:
        facts: dict[str, Any] = {"profiles": [_head(load_hardware(n)) for n in hardware_names()]}
    else:
        facts = hardware_facts(load_hardware(name))
    if as_json:
        print_json(facts)
    elif name is None:
        _print_list(facts["profiles"])
    else:
        _print_one(facts)


def hardware_facts(profile: Profile | MemoryModel) -> dict[str, Any]:
    """One profile, as JSON values."""
    prices = profile.coefficients if isinstance(profile, Profile) else dict(profile.coefficients())
    power = profile.static_power
    return {
        **_head(profile),
        "sha256": hardware_sha256(profile),
        "signed_spikes": profile.signed_spikes.model_dump(),
        "coefficients": [_coefficient(e, price, profile) for e, price in prices.items()],
        "synapses": [_coefficient(k, price, profile) for k, price in _kinds(profile).items()],
        "times": _times(profile),
        "supports": profile.supports.model_dump() if isinstance(profile, Profile) else None,
        "sizes": [] if isinstance(profile, Profile) else _sizes(profile),
        "static_power": None if power is None else power.model_dump(),
        "included": dict(profile.included) if isinstance(profile, Profile) else {},
        "unpriced": dict(profile.unpriced),
        "caveats": list(profile.caveats),
    }


def _head(profile: Profile | MemoryModel) -> dict[str, Any]:
    return {
        "id": profile.id,
        "name": profile.name,
        "description": profile.description,
        "kind": "events" if isinstance(profile, Profile) else "memory",
        "process_nm": profile.process_nm,
        "voltage": profile.voltage,
        "scope": profile.scope,
        "basis": profile.basis,
        "prices": profile.prices,
    }


def _coefficient(event: str, price: Coefficient, profile: Profile | MemoryModel) -> dict[str, Any]:
    return {
        "event": event,
        "picojoules": price.picojoules,
        "low": price.low,
        "high": price.high,
        "basis": price.basis or profile.basis,
        "confidence": price.confidence,
        "citation": price.citation,
        "note": price.note,
    }


def _kinds(profile: Profile | MemoryModel) -> dict[str, Coefficient]:
    return dict(profile.synapses.items()) if isinstance(profile, Profile) else {}


def _times(profile: Profile | MemoryModel) -> dict[str, Any] | None:
    if not isinstance(profile, Profile) or profile.times is None:
        return None
    times = profile.times
    return {
        "events": [{"event": e, **time.model_dump()} for e, time in times.events.items()],
        "barrier": times.barrier.model_dump(),
        "cores": times.cores,
    }


def _sizes(model: MemoryModel) -> list[dict[str, Any]]:
    names = ("word_bits", "accumulator_bits", "payload_bits")
    return [{"what": name, **getattr(model, name).model_dump()} for name in names]


def _print_list(profiles: list[dict[str, Any]]) -> None:
    rows = table("profile", "what it is", "basis", "scope", "node", words=2)
    for p in profiles:
        node = "-" if p["process_nm"] is None else f"{p['process_nm']:g} nm"
        rows.add_row(p["id"], p["name"], p["basis"], _words(p["scope"]), node)
    out.print(rows)
    out.print()
    print_note("trispike hardware NAME shows the numbers and their sources")
    print_note("Loihi 2 has no published energy per operation, so there is no profile of it")


def _print_one(facts: dict[str, Any]) -> None:
    out.print(f"{facts['id']}: {facts['name']}", style="bold")
    print_note(facts["description"])
    node = "" if facts["process_nm"] is None else f", {facts['process_nm']:g} nm"
    volt = "" if facts["voltage"] is None else f", {facts['voltage']:g} V"
    print_note(f"{facts['basis']} figures, {_words(facts['scope'])}{node}{volt}")
    out.print()
    rows = table("event", "price", "low", "high", "basis", "confidence")
    stored = [{**c, "event": f"synapse, {c['event']}"} for c in facts["synapses"]]
    for c in (*facts["coefficients"], *stored):
        ends = ("-" if c[end] is None else f"{c[end]:.4g} pJ" for end in ("low", "high"))
        rows.add_row(
            _words(c["event"]), f"{c['picojoules']:g} pJ", *ends, c["basis"], c["confidence"]
        )
    out.print(rows)
    out.print()
    for c in (*facts["coefficients"], *stored):
        note = f". {c['note']}" if c["note"] else ""
        print_note(f"{_words(c['event'])}: {c['citation']}{note}")
    for s in facts["sizes"]:
        print_note(
            f"{_words(s['what'])}: {s['value']} ({s['confidence']}: {s['citation']}) {s['note']}"
        )
    if facts["times"]:
        _print_times(facts["times"])
    if facts["static_power"]:
        power = facts["static_power"]
        print_note(f"static power: {power['watts']:g} W ({power['basis']}): {power['citation']}")
    for event, why in facts["included"].items():
        print_note(f"held by another price: {_words(event)}: {why}")
    for event, why in facts["unpriced"].items():
        print_note(f"not priced: {_words(event)}: {why}")
    signs = facts["signed_spikes"]
    print_note(f"signs: {_words(signs['policy'])}: {signs['note']}")
    if (facts["supports"] or {}).get("bits"):
        print_note(f"weights: up to {facts['supports']['bits']} bits")
    for caveat in facts["caveats"]:
        print_note(f"note: {caveat}")
    print_note(f"SHA-256 of all of it: {facts['sha256']}")


def _print_times(times: dict[str, Any]) -> None:
    for t in times["events"]:
        most = "at most " if t["is_maximum"] else ""
        print_note(f"{_words(t['event'])}: {most}{t['nanoseconds']:g} ns: {t['citation']}")
    barrier = times["barrier"]
    low, high = barrier["low_nanoseconds"], barrier["high_nanoseconds"]
    print_note(f"barrier after a time step: {low:g} to {high:g} ns: {barrier['citation']}")
    print_note(f"cores of a chip: {times['cores']}")


def _words(name: str) -> str:
    return name.replace("_", " ")
