"""One way to price a run, whatever the hardware is described by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from trispike.errors import InvalidSettingError
from trispike.network import Network
from trispike.runtime.derived_counts import input_events
from trispike.runtime.energy import (
    Estimate,
    MemoryModel,
    Profile,
    estimate_energy,
    estimate_memory,
    prices_of,
)
from trispike.runtime.engine import Array
from trispike.runtime.ledger import Ledger

Pricing: TypeAlias = Callable[[Network, Ledger, Array], Estimate]
"""Prices the ledger of a network; the raw data that it was counted on come third."""


def pricing(
    hardware: Profile | MemoryModel, assumptions: Mapping[str, float] | None = None
) -> Pricing:
    """How runs are priced on some hardware, without a placement and without static power.

    Args:
        hardware: Prices of events, or a memory model.
        assumptions: With prices of events: in pJ, by event.

    Raises:
        InvalidSettingError: As ``prices_of``, assumptions with a memory model, or prices of a dense
            network, which has no time steps.
    """
    if isinstance(hardware, MemoryModel):
        if assumptions:
            raise InvalidSettingError(
                "assumed prices",
                got=f"with {hardware.id}, a memory model",
                expected="a profile of events",
                fix="Copy the model's file and change its numbers.",
            )
        model = hardware
        return lambda network, ledger, inputs: estimate_memory(
            network, ledger, model, input_events=_input_events(network, inputs)
        )
    if hardware.prices == "dense":
        raise InvalidSettingError(
            f"hardware profile {hardware.id!r}",
            got="prices of a dense network, which has no time steps",
            expected="prices of the events of a spiking network",
            fix="Choose another one, such as loihi1.",
        )
    prices_of(hardware, assumptions)
    return lambda network, ledger, inputs: estimate_energy(ledger, hardware, assumptions)


def first_frames(network: Network, inputs: Array, steps: int) -> Array:
    """What a network over the first steps gets of raw data: all of it if the input is static."""
    return inputs if network.input.encoding == "direct" else inputs[:, :steps]


def _input_events(network: Network, inputs: Array) -> float | None:
    """Per inference; None without samples."""
    return input_events(network, inputs) / len(inputs) if len(inputs) else None
