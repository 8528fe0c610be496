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
from trispike.network import Network, digest, with_steps
from trispike.runtime.anytime import Anytime, anytime
from trispike.runtime.energy import (
    Estimate,
    MemoryModel,
    Profile,
)
from trispike.runtime.energy.conventions import (
    Convention,
    conventions,
    neurobench_before_folding,
    sees_other_inputs,
)
from trispike.runtime.energy.profile import PLACED
from trispike.runtime.energy.twins import RELU_SPARSITY, AnnTwin, ann_twins
from trispike.runtime.engine import Array, Result
from trispike.runtime.engines import ENGINES, engine_version
from trispike.runtime.input_counts import InputCounts, input_counts
from trispike.runtime.ledger import Ledger
from trispike.runtime.ledger_file import StoredLedger, data_digest
from trispike.runtime.pricing import check_hardware, price_run
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
    result: Result | StoredLedger
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
    inputs: Array | None,
    result: Result | StoredLedger,
    hardware: Sequence[Profile | MemoryModel],
    *,
    origin: Origin,
    assumptions: Mapping[str, Mapping[str, float]] | None = None,
    placement: Placement | None = None,
    traffic: Traffic | None = None,
    latency_seconds: float | None = None,
    relu_sparsity: float = RELU_SPARSITY,
    longer: Result | None = None,
) -> Report:
    """Work out everything that a page shows.

    Args:
        network: What ran.
        inputs: Raw data that it ran on; None with a stored ledger.
        result: The run, with counts per sample, or its stored ledger.
        hardware: Prices, at least one; the first gives the headline.
        origin: Names.
        assumptions: By id of the hardware: prices in pJ by event.
        placement: Of this network.
        traffic: Messages of the same samples on it.
        latency_seconds: How long an inference takes on the hardware, for static power.
        relu_sparsity: Share of zeros among the activations of the sparse twin, 0..1.
        longer: A run of ``with_steps(network, n)`` on the same data, for a curve of n steps.

    Raises:
        InvalidDataError: No samples, no counts per sample, or a run of another network.
        InvalidSettingError: No hardware, the same twice, assumptions that it cannot have, a share
            that is none, or a latency that is no time.
        UnsupportedError: As ``estimate_memory``.
    """
    checked_hardware(hardware, assumptions, placed=traffic is not None)
    ledger, counted, inputs = result.ledger, _counted(network, inputs, result), _array(inputs)
    spread = statistics(ledger, result.labels, result.predictions)
    found = conventions(ledger, network, counted)
    if inputs is not None and sees_other_inputs(network):
        before = neurobench_before_folding(network, inputs[:SHOWN])
        found = (*found[:2], before, *found[2:])
    events = np.cumsum(counted.events) / ledger.samples
    assumed = assumptions or {}
    estimates = tuple(
        price_run(
            network,
            ledger,
            h,
            assumptions=assumed.get(h.id),
            input_events=float(events[-1]),
            placement=placement,
            traffic=traffic,
            latency_seconds=latency_seconds,
        )
        for h in hardware
    )
    stepwise = next((h for h in hardware if h.prices == "spiking"), None)
    stepwise_assumed = {
        event: price
        for event, price in assumed.get(stepwise.id if stepwise else "", {}).items()
        if event not in PLACED
    }
    matrices = [operation_matrix(network, ledger), rate_matrix(ledger)]
    if stepwise is not None:
        matrices.append(energy_matrix(network, ledger, stepwise, events, stepwise_assumed))
    curve, no_curve = _curve(network, inputs, longer or result, stepwise, stepwise_assumed)
    return Report(
        network=network,
        origin=origin,
        result=result,
        estimates=estimates,
        matrices=tuple(matrices),
        stepwise=None if stepwise is None else stepwise.id,
        twins=ann_twins(ledger, network, relu_sparsity),
        conventions=found,
        curve=curve,
        no_curve=no_curve,
        statistics=spread,
        operations=_operations(ledger),
        placement=placement,
        traffic=traffic,
        latency_seconds=latency_seconds,
        provenance=_provenance(network, inputs, result, hardware, origin) | _assumed(assumed),
    )


def _array(inputs: Array | None) -> Array | None:
    return None if inputs is None else np.asarray(inputs)


def _counted(network: Network, inputs: Array | None, result: Result | StoredLedger) -> InputCounts:
    """Elements of the input; refuses data and counts that do not belong together."""
    samples = result.ledger.samples
    if isinstance(result, StoredLedger):
        result.check_network(network)
        given = samples
    else:
        given = 0 if inputs is None else len(inputs)
    if not samples or given != samples:
        raise InvalidDataError(
            "data",
            got=f"{given} samples, and a run of {samples}",
            expected="the samples that were run, at least one",
            fix="Give some data.",
        )
    if isinstance(result, StoredLedger):
        return result.inputs
    return input_counts(network, np.asarray(inputs))


def checked_hardware(
    hardware: Sequence[Profile | MemoryModel],
    assumptions: Mapping[str, Mapping[str, float]] | None = None,
    *,
    placed: bool = False,
) -> None:
    """Refuse a list that no report can be made of.

    Args:
        hardware: Prices.
        assumptions: By id of the hardware: prices in pJ by event.
        placed: There is a placement.

    Raises:
        InvalidSettingError: It is empty, or names one thing twice; or assumptions of what is not
            in it, or cannot have them.
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
    assumed = assumptions or {}
    if unknown := sorted(set(assumed) - set(ids)):
        raise InvalidSettingError(
            f"assumed prices of {unknown[0]!r}",
            got="no hardware of this report",
            expected="one of " + ", ".join(ids),
            fix="Correct the name, or add the hardware.",
        )
    for h in hardware:
        check_hardware(h, assumed.get(h.id), placed=placed)


def _curve(
    network: Network,
    inputs: Array | None,
    result: Result | StoredLedger,
    hardware: Profile | MemoryModel | None,
    assumptions: Mapping[str, float],
) -> tuple[Anytime | None, str]:
    """The curve, or why there is none.

    Args:
        network: What the report is about.
        inputs: Raw data.
        result: Its run, or a longer one of ``with_steps(network, n)``.
        hardware: Prices.
        assumptions: Of the hardware.
    """
    if result.labels is None:
        return None, "The data have no labels, so there is no accuracy after any time step."
    if hardware is None:
        return None, "None of the prices is one of the spiking network."
    if inputs is None or isinstance(result, StoredLedger):
        return None, "The page is made from stored counts, which hold no logits of single steps."
    try:
        ran = with_steps(network, result.ledger.steps)
        curve = anytime(ran, inputs, result, hardware, assumptions, network_steps=network.steps)
        return curve, ""
    except UnsupportedError as error:
        return None, str(error)


def _operations(ledger: Ledger) -> npt.NDArray[np.int64]:
    counts = ledger.per_sample
    assert counts is not None  # statistics() has asked for them
    parts = [*counts.synaptic_operations.values(), *counts.macs.values()]
    return np.sum([part.sum(axis=1) for part in parts], axis=0, dtype=np.int64)


def _assumed(assumptions: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    """What somebody stated, by what it is of."""
    return {
        f"assumed prices of {name}": ", ".join(f"{e} {price:g} pJ" for e, price in prices.items())
        for name, prices in assumptions.items()
    }


def _provenance(
    network: Network,
    inputs: Array | None,
    result: Result | StoredLedger,
    hardware: Sequence[Profile | MemoryModel],
    origin: Origin,
) -> dict[str, str]:
    """Nothing that changes from run to run: equal runs give equal pages."""
    found = {
        "network": f"{origin.network} ({network.kind})",
        "network, SHA-256": digest(network),
        "data": f"{origin.data}: {result.ledger.samples:,} samples",
    }
    if isinstance(result, StoredLedger):
        shards = result.data_sha256
    else:
        shards = (data_digest(np.asarray(inputs)),)
    for n, sha in enumerate(shards, start=1):
        of = f" of shard {n}" if len(shards) > 1 else ""
        found[f"inputs{of}, SHA-256"] = sha
    checkpoint = network.provenance.get("checkpoint")
    if isinstance(checkpoint, dict):
        found |= {f"checkpoint, {key}": str(value) for key, value in checkpoint.items()}
    if result.labels is not None:
        found["labels, SHA-256"] = data_digest(result.labels)
    engine = result.engine
    known = f" {engine_version(engine)}" if engine in ENGINES else ""
    if isinstance(result, StoredLedger):
        versions = [f"{name} {of}" for name, of in result.versions.items()]
        known = f", as stored by {', '.join(versions)}"
    found |= {
        "trispike": version("trispike"),
        "engine": f"{engine}{known}",
        "Python, NumPy": f"{platform.python_version()}, {np.__version__}",
    }
    for h in hardware:
        content = h.model_dump_json().encode()
        found[f"prices {h.id}, SHA-256"] = sha256(content).hexdigest()
    return found | ({} if origin.command is None else {"command": origin.command})
