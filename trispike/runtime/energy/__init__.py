"""What a run cost: counts from the ledger, prices from cited profiles."""

from trispike.runtime.energy.estimate import (
    COUNTED,
    Estimate,
    LayerEnergy,
    Term,
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
from trispike.runtime.energy.twins import Twin

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
