"""``trispike export --format sanafe``: a folder that SANA-FE runs, and our own count beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trispike.cli.console import joules, stage
from trispike.cli.data import load_for
from trispike.cli.simulate import run_engine
from trispike.errors import InvalidSettingError
from trispike.network import Network
from trispike.network.files import whole_folder
from trispike.runtime.engines import default_engine
from trispike.targets.loihi.files import load_placement
from trispike.targets.sanafe import (
    ARCHITECTURE,
    NETWORK,
    Comparison,
    Cost,
    cores_of,
    count,
    load_prices,
    price,
    replay,
    sanafe_version,
    simulate,
    write_description,
)
from trispike.targets.sanafe import compare as compared

SAMPLES = 4
"""Samples that are replayed, unless more are asked for."""


def write_sanafe(
    network: Network,
    folder: Path,
    *,
    placement: Path | None = None,
    data: str | None = None,
    samples: int = SAMPLES,
    input: str = "spikes",
    updates: str = "every",
    compare: bool = False,
) -> dict[str, Any]:
    """Run a network, write what SANA-FE needs to replay it, and compare if asked to."""
    if placement is None or data is None:
        raise InvalidSettingError(
            "--placement, --data",
            got="not both",
            expected="both: spikes are replayed where the neurons are",
            fix="trispike check NET --target loihi1 -o FILE writes a placement.",
        )
    if compare:
        sanafe_version()  # before the work, because the folder is run in it
    prices = load_prices()
    cores = cores_of(load_placement(placement, network), network, prices.mesh)
    given = load_for(network, data, samples)
    record = {name: ["s"] for name in network.populations}
    result = run_engine(default_engine(), network, given, record=record)
    spikes = {name: traces["s"] for name, traces in result.records.items()}
    spikes[network.input.name] = network.input.encode(given.x, network.steps)
    made = replay(network, cores, spikes, prices.mesh, inputs=input, updates=updates)
    activity = count(made, prices.mesh)
    cost = price(activity, prices)
    with whole_folder(folder) as temporary:
        with stage("writing"):
            write_description(made, prices, temporary)
        found = None
        if compare:
            with stage("running SANA-FE"):
                found = compared(made, activity, cost, simulate(temporary, made.steps))
    unpriced = {**prices.unpriced, **made.left_out}
    facts: dict[str, Any] = {
        "files": [str(folder / ARCHITECTURE), str(folder / NETWORK)],
        "data": given.name,
        "samples": made.samples,
        "time_steps": made.steps,
        "hardware": prices.id,
        "energy_per_inference_joules": cost.joules / made.samples,
        "seconds_per_inference": cost.seconds / made.samples,
        **cost.to_dict(),
        "unpriced": unpriced,
        "caveats": list(prices.caveats),
        "comparison": None if found is None else found.to_dict(),
    }
    notes = [
        *_energy_notes(cost, made.samples, prices.name),
        *(f"not in it: {name.replace('_', ' ')}: {why}" for name, why in unpriced.items()),
        *prices.caveats,
    ]
    if found is not None:
        facts["equal"] = found.equal
        notes += _comparison_notes(found, made.samples)
    return {**facts, "notes": notes}


def _energy_notes(cost: Cost, samples: int, hardware: str) -> list[str]:
    lines = [
        f"{joules(cost.joules / samples)} per inference on {hardware}, mean of {samples} samples"
    ]
    lines += [
        f"  {term.event.replace('_', ' ')}: {term.count / samples:,.1f} x {term.picojoules:g} pJ = "
        f"{joules(term.joules / samples)}"
        for term in cost.terms
        if term.count and term.picojoules
    ]
    seconds = cost.seconds / samples
    return [*lines, f"{seconds * 1e6:,.2f} us per inference on the busiest core, without the mesh"]


def _comparison_notes(found: Comparison, samples: int) -> list[str]:
    relation = "equals" if found.equal else "DIFFERS FROM"
    lines = [f"The energy {relation} that of SANA-FE {found.version}, of all samples:"]
    lines += [
        f"  {row.name}: {row.ours:.12g} J here, {row.theirs:.12g} J there, "
        f"relative difference {row.relative:.1e}"
        for row in found.energy
    ]
    lines += [
        f"  {row.name.replace('_', ' ')}: {row.ours:,} here, {row.theirs:,} there"
        for row in found.counts
    ]
    each = {
        "here": found.latency.ours,
        "in SANA-FE's simple model": found.latency.theirs,
        "in its detailed model, which adds the mesh": found.detailed_seconds,
    }
    words = ", ".join(f"{s / samples * 1e6:,.2f} us {where}" for where, s in each.items())
    return [*lines, f"Latency per inference: {words}"]
