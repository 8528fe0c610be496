"""What a report says: all figures of a run in one object, before anything is laid out."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version

import numpy as np
import numpy.typing as npt

from trispike.errors import InvalidDataError, InvalidSettingError, UnsupportedError
from trispike.network import Network, digest
from trispike.runtime.anytime import Anytime, anytime
from trispike.runtime.energy import (
    Estimate,
    MemoryModel,
    Profile,
    estimate_energy,
    estimate_memory,
)
from trispike.runtime.energy.conventions import (
    Convention,
    conventions,
    neurobench_before_folding,
    sees_other_inputs,
)
from trispike.runtime.energy.twins import AnnTwin, ann_twins
from trispike.runtime.engine import Array, Result
from trispike.runtime.engines import ENGINES, engine_version
from trispike.runtime.input_counts import input_counts
from trispike.runtime.ledger import Ledger
from trispike.runtime.ledger_file import data_digest
from trispike.runtime.report.matrices import Matrix, energy_matrix, operation_matrix, rate_matrix
from trispike.runtime.statistics import Statistics, statistics
from trispike.targets.loihi.placement import Placement
from trispike.targets.loihi.traffic import Traffic

DEFAULT_HARDWARE = {
    "integer": ("loihi1", "loihi1-regressed", "cmos45-int8", "cmos45-memory"),
    "float": ("loihi1", "loihi1-regressed", "cmos45-fp32", "cmos45-memory"),
}
"""Profiles of a report by the kind of the network, if nobody says otherwise; the first one gives
the headline."""

SHOWN = 16
"""Samples on which the network runs once more where NeuroBench would see other inputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a run comes from, in the words of who ran it."""

    network: str
    """Name of the network, as a file or in any other way."""
    data: str
    """Name of the data."""
    command: str | None = None
    """Command line that made the report, if there was one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    """All that a page shows."""

    network: Network
    origin: Origin
    result: Result
    estimates: tuple[Estimate, ...]
    """Of the same counts, by hardware; the first one gives the headline."""
    matrices: tuple[Matrix, ...]
    """Layers by time steps."""
    stepwise: str | None
    """Id of the hardware whose prices the time steps and the curve have; None: there is none."""
    twins: tuple[AnnTwin, ...]
    conventions: tuple[Convention, ...]
    curve: Anytime | None
    """Accuracy and energy after each time step."""
    no_curve: str
    """Why there is no curve; empty if there is one."""
    statistics: Statistics
    operations: npt.NDArray[np.int64]
    """(N,): synaptic and graded operations of each sample."""
    placement: Placement | None
    traffic: Traffic | None
    latency_seconds: float | None
    """Of an inference on the hardware, as somebody stated it."""
    provenance: Mapping[str, str]
    """Names, hashes and versions, by what they are of."""

    @property
    def ledger(self) -> Ledger:
        """Counts of the run."""
        return self.result.ledger

    @property
    def headline(self) -> Estimate:
        """What is on top."""
        return self.estimates[0]

    @property
    def correct(self) -> int | None:
        """Samples whose prediction is the label; None without labels."""
        if self.result.labels is None:
            return None
        return int((self.result.predictions == self.result.labels).sum())

    @property
    def standard_error(self) -> float | None:
        """Of the accuracy p over N samples: sqrt(p (1 - p) / N); None without labels."""
        p = self.result.accuracy
        return None if p is None else float(np.sqrt(p * (1 - p) / self.ledger.samples))

    @property
    def joules_per_correct(self) -> float | None:
        """Energy of all samples over the number of correct ones; None if there are none."""
        if not self.correct:
            return None
        total = self.headline.energy_per_inference_joules * self.ledger.samples
        return total / self.correct


def build_report(
    network: Network,
    inputs: Array,
    result: Result,
    hardware: Sequence[Profile | MemoryModel],
    *,
    origin: Origin,
    placement: Placement | None = None,
    traffic: Traffic | None = None,
    latency_seconds: float | None = None,
) -> Report:
    """Work out everything that a page shows.

    Args:
        network: What ran.
        inputs: Raw data that it ran on.
        result: The run, with counts per sample.
        hardware: Prices, at least one; the first gives the headline.
        origin: Names.
        placement: Of this network.
        traffic: Messages of the same samples on it.
        latency_seconds: How long an inference takes on the hardware, for static power.

    Raises:
        InvalidDataError: No samples, no counts per sample, or a run of another network.
        InvalidSettingError: No hardware, the same twice, or a latency that is no time.
        UnsupportedError: As ``estimate_memory``.
    """
    checked_hardware(hardware)
    ledger, inputs = result.ledger, np.asarray(inputs)
    if not ledger.samples or len(inputs) != ledger.samples:
        raise InvalidDataError(
            "data",
            got=f"{len(inputs)} samples, and a run of {ledger.samples}",
            expected="the samples that were run, at least one",
            fix="Give some data.",
        )
    spread = statistics(ledger, result.labels, result.predictions)
    counted = input_counts(network, inputs)
    found = conventions(ledger, network, counted)
    if sees_other_inputs(network):
        before = neurobench_before_folding(network, inputs[:SHOWN])
        found = (*found[:2], before, *found[2:])
    events = np.cumsum(counted.events) / ledger.samples
    estimates = tuple(
        _estimate(network, ledger, h, float(events[-1]), placement, traffic, latency_seconds)
        for h in hardware
    )
    stepwise = next((h for h in hardware if h.prices == "spiking"), None)
    matrices = [operation_matrix(network, ledger), rate_matrix(ledger)]
    if stepwise is not None:
        matrices.append(energy_matrix(network, ledger, stepwise, events))
    curve, no_curve = _curve(network, inputs, result, stepwise)
    return Report(
        network=network,
        origin=origin,
        result=result,
        estimates=estimates,
        matrices=tuple(matrices),
        stepwise=None if stepwise is None else stepwise.id,
        twins=ann_twins(ledger, network),
        conventions=found,
        curve=curve,
        no_curve=no_curve,
        statistics=spread,
        operations=_operations(ledger),
        placement=placement,
        traffic=traffic,
        latency_seconds=latency_seconds,
        provenance=_provenance(network, inputs, result, hardware, origin),
    )


def checked_hardware(hardware: Sequence[Profile | MemoryModel]) -> None:
    """Refuse a list that no report can be made of.

    Raises:
        InvalidSettingError: It is empty, or names one thing twice.
    """
    ids = [h.id for h in hardware]
    twice = sorted({i for i in ids if ids.count(i) > 1})
    if not ids or twice:
        raise InvalidSettingError(
            "hardware of a report",
            got=f"{twice[0]} twice" if twice else "none",
            expected="at least one profile, each of them once",
            fix="Correct the list; trispike hardware shows what there is.",
        )


def _estimate(
    network: Network,
    ledger: Ledger,
    hardware: Profile | MemoryModel,
    input_events: float,
    placement: Placement | None,
    traffic: Traffic | None,
    latency_seconds: float | None,
) -> Estimate:
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
        ledger, hardware, network=network, traffic=traffic, latency_seconds=latency_seconds
    )


def _curve(
    network: Network, inputs: Array, result: Result, hardware: Profile | MemoryModel | None
) -> tuple[Anytime | None, str]:
    """The curve, or why there is none."""
    if result.labels is None:
        return None, "The data have no labels, so there is no accuracy after any time step."
    if hardware is None:
        return None, "None of the prices is one of the spiking network."
    try:
        return anytime(network, inputs, result, hardware), ""
    except UnsupportedError as error:
        return None, str(error)


def _operations(ledger: Ledger) -> npt.NDArray[np.int64]:
    counts = ledger.per_sample
    assert counts is not None  # statistics() has asked for them
    parts = [*counts.synaptic_operations.values(), *counts.macs.values()]
    return np.sum([part.sum(axis=1) for part in parts], axis=0, dtype=np.int64)


def _provenance(
    network: Network,
    inputs: Array,
    result: Result,
    hardware: Sequence[Profile | MemoryModel],
    origin: Origin,
) -> dict[str, str]:
    """Nothing that changes from run to run: equal runs give equal pages."""
    found = {
        "network": f"{origin.network} ({network.kind})",
        "network, SHA-256": digest(network),
        "data": f"{origin.data}: {len(inputs):,} samples",
        "inputs, SHA-256": data_digest(inputs),
    }
    checkpoint = network.provenance.get("checkpoint")
    if isinstance(checkpoint, dict):
        found |= {f"checkpoint, {key}": str(value) for key, value in checkpoint.items()}
    if result.labels is not None:
        found["labels, SHA-256"] = data_digest(result.labels)
    engine = result.engine
    known = f" {engine_version(engine)}" if engine in ENGINES else ""
    found |= {
        "trispike": version("trispike"),
        "engine": f"{engine}{known}",
        "Python, NumPy": f"{platform.python_version()}, {np.__version__}",
    }
    for h in hardware:
        content = h.model_dump_json().encode()
        found[f"prices {h.id}, SHA-256"] = sha256(content).hexdigest()
    return found | ({} if origin.command is None else {"command": origin.command})
