"""What a run cost: counts from the ledger, prices from cited profiles."""

from trispike.runtime.energy.estimate import Estimate, LayerEnergy, Term, Twin, estimate_energy
from trispike.runtime.energy.profile import (
    EVENTS,
    Coefficient,
    Profile,
    load_profile,
    profile_names,
)

__all__ = [
    "EVENTS",
    "Coefficient",
    "Estimate",
    "LayerEnergy",
    "Profile",
    "Term",
    "Twin",
    "estimate_energy",
    "load_profile",
    "profile_names",
]
