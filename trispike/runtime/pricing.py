"""One way to price a run, whatever the hardware is described by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from trispike.errors import InvalidSettingError
from trispike.network import Network
from trispike.runtime.energy import (
    Estimate,
    MemoryModel,
    Profile,
    estimate_energy,
    estimate_memory,
    prices_of,
)
from trispike.runtime.engine import Array
from trispike.runtime.input_counts import input_counts
from trispike.runtime.ledger import Ledger
from trispike.targets.loihi.placement import Placement
from trispike.targets.loihi.traffic import Traffic

Hardware: TypeAlias = Profile | MemoryModel

Pricing: TypeAlias = Callable[[Network, Ledger, Array], Estimate]
"""Prices the ledger of a network; the raw data that it was counted on come third."""


def check_hardware(
    hardware: Hardware,
    assumptions: Mapping[str, float] | None = None,
    *,
    placed: bool = False,
    stepwise: bool = False,
) -> None:
    """Refuse what does not go together, before anything is run.

    Args:
        hardware: Prices of events, or a memory model.
        assumptions: In pJ, by event.
        placed: There is a placement.
        stepwise: Parts of a run are to be priced: the first time steps, or some samples.

    Raises:
        InvalidSettingError: As ``prices_of``; assumptions with a memory model; prices of a dense
            network, or a placement, where parts of a run are to be priced.
    """
    if isinstance(hardware, Profile):
        prices_of(hardware, assumptions, placed=placed)
    elif assumptions:
        raise InvalidSettingError(
            "assumed prices",
            got=f"with {hardware.id}, a memory model",
            expected="a profile of events",
            fix="Copy the model's file and change its numbers.",
        )
    if stepwise and (hardware.prices == "dense" or placed):
        raise InvalidSettingError(
            f"hardware {hardware.id!r}, time step by time step",
            got="a placement" if placed else "prices of a dense network, which has no time steps",
            expected="prices of the events of a spiking network, without a placement",
            fix="Leave the placement out." if placed else "Choose another one, such as loihi1.",
        )


def price_run(
    network: Network,
    ledger: Ledger,
    hardware: Hardware,
    *,
    assumptions: Mapping[str, float] | None = None,
    input_events: float | None = None,
    placement: Placement | None = None,
    traffic: Traffic | None = None,
    latency_seconds: float | None = None,
) -> Estimate:
    """Price the ledger of a run.

    Args:
        network: What ran.
        ledger: Its counts.
        hardware: Prices of events, or a memory model.
        assumptions: With prices of events: in pJ, by event.
        input_events: Input elements other than 0, over all steps, per inference; None: unknown.
        placement: Of this network; a memory model takes sizes from it.
        traffic: Messages of the same samples on the placement.
        latency_seconds: How long an inference takes, for static power.

    Raises:
        InvalidSettingError: As :func:`check_hardware`, or a latency that is no time.
        InvalidDataError: No samples, or a ledger of another network.
        UnsupportedError: As ``estimate_memory``.
    """
    check_hardware(hardware, assumptions, placed=traffic is not None)
    if isinstance(hardware, MemoryModel):
        return estimate_memory(
            network,
            ledger,
            hardware,
            placement=placement,
            traffic=traffic,
            input_events=input_events,
            latency_seconds=latency_seconds,
        )
    return estimate_energy(
        ledger,
        hardware,
        assumptions,
        network=network,
        traffic=traffic,
        latency_seconds=latency_seconds,
    )


def pricing(hardware: Hardware, assumptions: Mapping[str, float] | None = None) -> Pricing:
    """How parts of a run are priced on some hardware, without a placement and static power.

    Args:
        hardware: Prices of events, or a memory model.
        assumptions: With prices of events: in pJ, by event.

    Raises:
        InvalidSettingError: As :func:`check_hardware`.
    """
    check_hardware(hardware, assumptions, stepwise=True)
    return lambda network, ledger, inputs: price_run(
        network,
        ledger,
        hardware,
        assumptions=assumptions,
        input_events=events_per_inference(network, inputs),
    )


def first_frames(network: Network, inputs: Array, steps: int) -> Array:
    """What a network over the first steps gets of raw data: all of it if the input is static."""
    return inputs[:, :steps] if network.input.has_frames else inputs


def events_per_inference(network: Network, inputs: Array) -> float | None:
    """Input elements other than 0, over all steps, per inference; None without samples."""
    if not len(inputs):
        return None
    return int(input_counts(network, inputs).events.sum()) / len(inputs)
