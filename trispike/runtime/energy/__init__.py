"""What a run cost: counts from the ledger, prices from cited profiles."""

from trispike.runtime.energy.estimate import (
    COUNTED,
    Estimate,
    LayerEnergy,
    Term,
    Twin,
    estimate_energy,
    prices_of,
)
from trispike.runtime.energy.profile import (
    EVENTS,
    Coefficient,
    Profile,
    load_profile,
    profile_names,
)

__all__ = [
    "COUNTED",
    "EVENTS",
    "Coefficient",
    "Estimate",
    "LayerEnergy",
    "Profile",
    "Term",
    "Twin",
    "estimate_energy",
    "load_profile",
    "prices_of",
    "profile_names",
]
