"""The spiking network beside its dense twins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trispike.runtime.energy.profile import Profile
from trispike.runtime.ledger import Ledger

TWIN_PROFILES = ("cmos45-fp32", "cmos45-int8")
"""Bases on which the spiking network and its dense twin are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """The spiking network and the dense network of equal topology, priced alike."""

    profile: str
    spiking_joules: float
    """Per inference."""
    dense_joules: float
    """Per inference."""
    dense_macs: int
    """Multiply-accumulates per inference of the dense network."""
    neuron_updates: float
    """Neuron updates per inference of the spiking network; its joules do not hold them."""

    @property
    def break_even_picojoules(self) -> float | None:
        """Price of a neuron update beyond which the spiking network loses; None: it does anyway."""
        lead = self.dense_joules - self.spiking_joules
        return lead / self.neuron_updates * 1e12 if lead > 0 and self.neuron_updates else None

    @property
    def ratio(self) -> float | None:
        """Dense over spiking; below 1 the spiking network loses; None if that did nothing."""
        return self.dense_joules / self.spiking_joules if self.spiking_joules else None


def priced_twin(profile: Profile, totals: Mapping[str, float], ledger: Ledger) -> Twin:
    """Both networks under one basis; totals are events per inference, by event."""
    prices = profile.coefficients
    macs = sum(c.dense_macs for c in ledger.connections.values())
    spiking = sum(n * prices[e].picojoules for e, n in totals.items() if e in prices)
    return Twin(
        profile=profile.id,
        spiking_joules=spiking * 1e-12,
        dense_joules=macs * prices["mac"].picojoules * 1e-12,
        dense_macs=macs,
        neuron_updates=totals["neuron_update_active"] + totals["neuron_update_inactive"],
    )
