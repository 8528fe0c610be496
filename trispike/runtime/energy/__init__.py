"""What a run cost: counts from the ledger, prices from cited profiles."""

from trispike.runtime.energy.estimate import (
    Estimate,
    LayerEnergy,
    Signs,
    Term,
    check_latency,
    estimate_energy,
    prices_of,
)
from trispike.runtime.energy.memory import (
    MemoryModel,
    hardware_names,
    load_hardware,
    memory_model_names,
)
from trispike.runtime.energy.memory_estimate import estimate_memory
from trispike.runtime.energy.memory_twins import MemoryTwin
from trispike.runtime.energy.profile import (
    COUNTED,
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
    "MemoryModel",
    "MemoryTwin",
    "Profile",
    "Signs",
    "Term",
    "check_latency",
    "estimate_energy",
    "estimate_memory",
    "hardware_names",
    "load_hardware",
    "load_profile",
    "memory_model_names",
    "prices_of",
    "profile_names",
]
