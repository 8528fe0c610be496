"""How long an inference takes, as far as published times per event say.

Cores work side by side, each one event after the other, and wait for each other at the end of a
time step. Which core has how much to do is known on a placement only. So there are bounds, and on
a placement the time of its busiest core. Nothing here is a simulation of a chip.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trispike.network import Network
from trispike.runtime.derived_counts import update_work
from trispike.runtime.energy.profile import TIMED, Times
from trispike.runtime.ledger import Ledger
from trispike.targets.loihi.traffic import Traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Of one inference, mean over samples."""

    low_seconds: float
    """All cores of the chip share the work evenly."""
    busiest_core_seconds: float | None
    """On a placement: the core with the most to do in each step; None without one."""
    high_seconds: float | None
    """One core does everything; None where the source says nothing about several chips."""
    cores: int
    """That the lower end divides the work by."""
    steps: int
    """Time steps at the upper end, with those that the spikes need to the last layer."""
    untimed: Mapping[str, str]
    """Events without a published time, and what leaves out more."""
    assumptions: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {**asdict(self), "assumptions": list(self.assumptions)}


def estimate_latency(
    ledger: Ledger,
    times: Times,
    *,
    network: Network | None = None,
    traffic: Traffic | None = None,
    doubled: bool = False,
) -> Latency:
    """Bounds of the latency, and on a placement the time of its busiest core.

    Args:
        ledger: Counts of a run of at least one sample.
        times: Published times.
        network: That ran; says how many layers a spike has to pass. None: the last layer is taken
            to finish in the step in which the first one begins.
        traffic: On a placement, of the same or other samples.
        doubled: Whether a neuron that fires both signs is two on the hardware.
    """
    updates = _updates(ledger)
    work, least = 0.0, 0.0
    untimed = {
        "mesh": "Messages on their way, queues and congestion.",
        "host_input_output": "Encoding, sending the input and reading the result.",
    }
    counts = {
        "synaptic_operation": ledger.synaptic_operations / ledger.samples,
        "graded_operation": ledger.macs / ledger.samples,
        **{event: sum(each[event] for each in updates.values()) for event in TIMED[2:]},
    }
    both = fires_both_signs(ledger, network)
    for event, count in counts.items():
        if event not in times.events:
            if count:
                untimed[event] = f"No published time; {count:,.0f} per inference."
            continue
        time = times.events[event]
        least += 0.0 if time.is_maximum else count * time.nanoseconds
        more = sum(updates[n].get(event, 0.0) for n in both) if doubled else 0.0
        work += (count + more) * time.nanoseconds
    depth = 0 if network is None else max(network.depth.values())
    chips = 1 if traffic is None else traffic.chips
    cores, steps = times.cores * chips, ledger.steps + depth
    idle = times.events.get("neuron_update_inactive")
    neurons = sum(p.neurons for p in ledger.populations.values())
    work += depth * neurons * (idle.nanoseconds if idle else 0.0)
    barrier, one_chip = times.barrier, chips == 1
    busiest = None if traffic is None else _busiest_core(ledger, times, traffic)
    if not one_chip:
        untimed["barrier"] = f"Between {chips} chips; the source has that of one chip only."
    return Latency(
        low_seconds=(least / cores + ledger.steps * barrier.low_nanoseconds) * 1e-9,
        busiest_core_seconds=None
        if busiest is None or not one_chip
        else (busiest + steps * barrier.high_nanoseconds) * 1e-9,
        high_seconds=(work + steps * barrier.high_nanoseconds) * 1e-9 if one_chip else None,
        cores=cores,
        steps=steps,
        untimed=untimed,
        assumptions=_assumptions(times, ledger.steps, depth, cores, placed=traffic is not None),
    )


def fires_both_signs(ledger: Ledger, network: Network | None) -> tuple[str, ...]:
    """Populations that hardware without signs may take two neurons for.

    Those with two thresholds that can be reached, whether or not these samples reached them; where
    the network is not known, those with a spike of -1.
    """
    if network is None:
        return tuple(name for name, p in ledger.populations.items() if p.spikes_negative.any())
    return tuple(
        name
        for name, population in network.populations.items()
        if update_work(population).threshold_compares == 2
    )


def _updates(ledger: Ledger) -> dict[str, dict[str, float]]:
    """By population: updates per inference by event."""
    found = {}
    for name, p in ledger.populations.items():
        every, active = int(p.updates.sum()), int(p.updates_with_input.sum())
        found[name] = {
            "neuron_update_active": active / ledger.samples,
            "neuron_update_inactive": (every - active) / ledger.samples,
        }
    return found


def _busiest_core(ledger: Ledger, times: Times, traffic: Traffic) -> float:
    """Nanoseconds of computing, summed over the steps.

    The core that has most to do in the mean of all samples: no more than the mean of what the
    busiest core of each sample has to do.
    """

    def time(event: str) -> float:
        return times.events[event].nanoseconds if event in times.events else 0.0

    operations = sum(
        (
            counts
            for label, counts in traffic.operations.items()
            if not ledger.connections[label].macs.any()
        ),
        np.zeros((ledger.steps, len(traffic.neurons))),
    )
    every = sum((p.updates for p in ledger.populations.values()), np.zeros(ledger.steps))
    active = sum((p.updates_with_input for p in ledger.populations.values()), 0 * every)
    share = active / np.maximum(1, every)
    update = share * time("neuron_update_active") + (1 - share) * time("neuron_update_inactive")
    each = operations / traffic.samples * time("synaptic_operation")
    each = each + np.outer(update, traffic.neurons)
    return float(each.max(axis=1, initial=0.0).sum())


def _assumptions(
    times: Times, steps: int, depth: int, cores: int, *, placed: bool
) -> tuple[str, ...]:
    maxima = [event.replace("_", " ") for event, t in times.events.items() if t.is_maximum]
    low, high = times.barrier.low_nanoseconds, times.barrier.high_nanoseconds
    found = [
        (
            f"Low: the updates are shared evenly by {cores} cores, in {steps} time steps with a "
            f"barrier of {low:g} ns after each."
        ),
        (
            f"High: one core does all events one after the other, in {steps + depth} time steps "
            f"({depth} of them for the way through the layers) with a barrier of {high:g} ns."
        ),
    ]
    if maxima:
        found.append(
            f"The published time of a {' and a '.join(maxima)} is a maximum: it counts at the "
            "upper end, and for nothing at the lower one."
        )
    if placed:
        found.append(
            "Busiest core: in each step the core that has most to do in the mean of the samples, "
            "one event after the other, then the longer barrier; updates with input are taken to "
            "be spread over cores as neurons are; connections with graded operations are left out."
        )
    return tuple(found)
