"""Energies, prices and terms as people read them."""

from __future__ import annotations

UNITS = ((1.0, "J"), (1e-3, "mJ"), (1e-6, "µJ"), (1e-9, "nJ"), (1e-12, "pJ"))
"""Of energy, the largest first."""

BASES = {
    "simulated": "simulated by the makers of the chip before there was silicon",
    "measured": "measured on silicon",
    "regressed": "fitted to measurements of silicon, so that single events carry the errors of the "
    "fit",
    "derived": "worked out from published prices of single operations; no such chip was measured",
    "assumed": "assumed",
}
"""What the basis of a price means."""

SCOPES = {
    "per_term": "Each kind of event has a price of its own, and the terms add up.",
    "all_in": "One number stands for everything that the chip does, and nothing is added to it.",
}
"""What the scope of prices means."""


def energy_unit(joules: float) -> tuple[float, str]:
    """Factor and name of the unit in which an energy has at most three digits before the point."""
    return next((unit for unit in UNITS if joules >= 0.9995 * unit[0]), UNITS[-1])


def quantity(joules: float, factor: float) -> str:
    """An energy in a unit, three digits, without the unit."""
    return f"{joules / factor:.3g}"


def energy(joules: float | None) -> str:
    """1.2e-5 as "12 µJ", three digits."""
    if joules is None:
        return "–"
    factor, unit = energy_unit(joules)
    return f"{quantity(joules, factor)} {unit}"


def term(name: str) -> str:
    """An event or field as words."""
    return name.replace("_", " ")


def price(picojoules: float | None) -> str:
    """A price in pJ, or that there is none."""
    return "none" if picojoules is None else f"{picojoules:.4g} pJ"


def rate(value: float | None) -> str:
    """A break-even rate: below it the spiking layer is cheaper."""
    if value is None:
        return "–"
    if value > 1:
        return "always"
    return "never" if value < 0 else f"{value:.3f}"


def factor(spiking: float, other: float) -> str:
    """Who wins by how much, from the side of the spiking network."""
    if spiking == other:
        return "draws"
    if not spiking or not other:
        return "wins" if not spiking else "loses"
    by = max(spiking, other) / min(spiking, other)
    return f"{'wins' if spiking < other else 'loses'} by {by:.2f}×"
