"""How the cost of the fast engine grows with steps, batch, width and firing rate."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.case import Case, macs_per_sample
from benchmarks.contestants import FAST_MEMORY
from benchmarks.networks import mean_rate
from benchmarks.timing import exponent, interleave
from trispike.network import IntegerNetwork
from trispike.runtime.engines import build_engine
from trispike.runtime.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One setting on an axis."""

    x: float
    """Where on the axis."""
    seconds: float
    """Per run, median over the rounds."""
    samples: int
    """Per run."""
    rate: float
    """Spikes per neuron and step."""
    synaptic_operations: int
    """Per run, as counted."""
    dense_macs: int
    """Per run, of a dense computation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure."""

    case: str
    """Folder of the case whose steps and batch are varied."""
    widths: Mapping[str, float]
    """Folders of cases of several widths, to channels of the first stage."""
    rates: Mapping[str, float]
    """Folders of cases that fire at several rates, to the rate that was asked for."""
    samples: int
    """Per run, unless varied."""
    steps: Sequence[int]
    batches: Sequence[int]
    rounds: int
    threads: int
    engine: str = "fast"
    """Name of the engine; the tests have others."""


def with_steps(network: IntegerNetwork, steps: int) -> IntegerNetwork:
    """The network over another number of steps, each with the weight of the first one."""
    readout = network.readout
    weights = np.full(steps, readout.weights[0], readout.weights.dtype)
    return replace(network, steps=steps, readout=replace(readout, weights=weights))


def measure(plan: Plan) -> dict[str, list[Point]]:
    """All axes, interleaved point by point."""
    case = Case(Path(plan.case))
    network = case.network()
    axes: dict[str, dict[float, tuple[IntegerNetwork, Case, int]]] = {
        "steps": {t: (with_steps(network, t), case, plan.samples) for t in plan.steps},
        "batch": {n: (network, case, n) for n in plan.batches},
    }
    for name, folders in (("width", plan.widths), ("rate", plan.rates)):
        others = {x: Case(Path(folder)) for folder, x in folders.items()}
        axes[name] = {x: (other.network(), other, plan.samples) for x, other in others.items()}
    return {name: _axis(points, plan) for name, points in axes.items()}


def _axis(settings: Mapping[float, tuple[IntegerNetwork, Case, int]], plan: Plan) -> list[Point]:
    ledgers: dict[str, Ledger] = {}

    def run(key: str, engine: Any, inputs: Any) -> float:
        start = time.perf_counter()
        ledgers[key] = engine.run(inputs).ledger
        return time.perf_counter() - start

    options = {"memory": FAST_MEMORY, "threads": plan.threads} if plan.engine == "fast" else {}
    runs: dict[str, Callable[[], float]] = {
        str(x): partial(
            run, str(x), build_engine(plan.engine, network, **options), case.inputs(samples)
        )
        for x, (network, case, samples) in settings.items()
    }
    rounds = interleave(runs, rounds=plan.rounds, allowance=60)
    return [
        Point(
            x=x,
            seconds=statistics.median(rounds.seconds[str(x)]),
            samples=samples,
            rate=mean_rate(ledgers[str(x)]),
            synaptic_operations=ledgers[str(x)].synaptic_operations,
            dense_macs=samples * macs_per_sample(network),
        )
        for x, (network, _, samples) in settings.items()
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """What the cost is fitted against."""

    title: str
    axis: str
    """Whose points are taken."""
    field: str
    """Of a :class:`Point`."""


QUANTITIES: Mapping[str, Quantity] = {
    "steps": Quantity(title="time steps", axis="steps", field="x"),
    "batch": Quantity(title="samples per run", axis="batch", field="x"),
    "width": Quantity(title="channels of the first stage", axis="width", field="x"),
    "macs": Quantity(title="multiply-accumulates, by width", axis="width", field="dense_macs"),
    "operations": Quantity(
        title="synaptic operations, by width", axis="width", field="synaptic_operations"
    ),
    "rate": Quantity(title="firing rate", axis="rate", field="rate"),
}
"""By name; each axis has one of its own name. Weights grow with the square of the channels."""


def exponents(axes: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, float]:
    """The power of each quantity that the cost grows with, where there is more than one point."""
    return {
        name: exponent(
            [point[quantity.field] for point in axes[quantity.axis]],
            [point["seconds"] for point in axes[quantity.axis]],
        )
        for name, quantity in QUANTITIES.items()
        if len(axes.get(quantity.axis, ())) > 1
    }


def main() -> None:
    """Measure a plan given as JSON, and print JSON."""
    axes = measure(Plan(**json.loads(sys.argv[1])))
    print(json.dumps({name: [asdict(p) for p in points] for name, points in axes.items()}))


if __name__ == "__main__":
    main()
