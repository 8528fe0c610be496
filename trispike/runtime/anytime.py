"""What a network knows, and what it has cost, after each time step; and leaving early.

No time step depends on a later one, and the ledger counts by time step. So one run over T steps
holds the runs over 1, 2, ... T-1 steps: their logits, and their counts, exactly.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from trispike.errors import EngineError, InvalidDataError, InvalidSettingError
from trispike.network import Network, with_steps
from trispike.network.learning import refuse_plastic
from trispike.runtime.energy import Estimate, MemoryModel, Profile
from trispike.runtime.engine import Array, Engine, Progress, Result
from trispike.runtime.ledger import Ledger
from trispike.runtime.pricing import first_frames, pricing
from trispike.runtime.sample_counts import SampleCounts

EngineBuilder = Callable[[Network], Engine]
"""Gives the engine for a network."""

Part = TypeVar("Part")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnytimePoint:
    """A network that stops after so many time steps."""

    steps: int
    """Time steps that every sample gets."""
    correct: int
    """Samples whose prediction is the label."""
    accuracy: float
    """Fraction of samples, 0..1."""
    synaptic_operations_per_inference: float
    """Mean over samples."""
    energy_per_inference_joules: float
    """Of the priced events."""
    energy_per_inference_low_joules: float
    """The same with the lower ends of published intervals."""
    energy_per_inference_high_joules: float
    """The same with the upper ends."""
    joules_per_correct_prediction: float | None
    """Energy of all samples over the number of correct ones; None if there are none."""
    saturations: int
    """State values that were clipped, over all samples and steps so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anytime:
    """Accuracy and energy against the time steps used."""

    hardware: str
    """Id of the profile."""
    samples: int
    network_steps: int
    """T of the network; points beyond it are runs that were made longer."""
    knee: int
    """The fewest steps whose accuracy is within one standard error of the best one."""
    best_steps: int
    """The fewest steps with the best accuracy."""
    standard_error: float
    """Of the best accuracy p over N samples: sqrt(p (1 - p) / N)."""
    points: tuple[AnytimePoint, ...]
    """For 1, 2, ... steps."""

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, eq=False)
class EarlyExit:
    """A run in which each sample stopped as soon as the network was confident."""

    confidence: float
    """Where a sample stops: probability of the predicted class, 0..1."""
    exit_steps: npt.NDArray[np.int64]
    """(N,): time steps that each sample got, 1..T."""
    logits: npt.NDArray[np.float64]
    """(N, K): real-valued logits after these steps."""
    full: Result
    """The same samples over all steps."""
    ledger: Ledger
    """Counts of the steps that were used; nothing of a sample after its exit."""
    groups: Mapping[int, Ledger]
    """By exit step: counts of the samples that left there, over so many steps."""
    seconds: float
    """Wall-clock time of all runs: that over all steps, and one for each group."""

    @property
    def engine(self) -> str:
        """Name of the engine."""
        return self.full.engine

    @property
    def labels(self) -> npt.NDArray[np.int64] | None:
        """(N,), if given."""
        return self.full.labels

    @property
    def predictions(self) -> npt.NDArray[np.int64]:
        """(N,): the class of the largest logit, the first one on a tie."""
        return self.logits.argmax(axis=1).astype(np.int64)

    @property
    def accuracy(self) -> float | None:
        """Fraction of samples whose prediction equals the label; None without labels."""
        if self.labels is None:
            return None
        return float((self.predictions == self.labels).mean())

    @property
    def mean_steps(self) -> float:
        """Time steps that a sample got on average."""
        return float(self.exit_steps.mean())

    @property
    def distribution(self) -> tuple[int, ...]:
        """How many samples left after step 1, 2, ... T."""
        counts = np.bincount(self.exit_steps, minlength=self.full.ledger.steps + 1)
        return tuple(counts[1:].tolist())


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """Energy per inference, with its interval."""

    joules: float
    low_joules: float
    high_joules: float


def first_steps(ledger: Ledger, steps: int) -> Ledger:
    """The ledger of a run that stops after the first time steps: exactly what it would count.

    Raises:
        InvalidSettingError: More steps than were run, or less than one.
    """
    if not 1 <= steps <= ledger.steps:
        raise InvalidSettingError(
            "steps",
            got=str(steps),
            expected=f"1 to {ledger.steps}, the steps of the run",
            fix="Run the network for more steps first.",
        )
    each = ledger.per_sample
    if each is not None:
        each = SampleCounts(
            **{
                group: {name: counts[:, :steps] for name, counts in parts.items()}
                for group, parts in each.groups().items()
            }
        )
    return replace(_over_time(ledger, steps, lambda counts: counts[:steps]), per_sample=each)


def anytime(
    network: Network,
    inputs: Array,
    result: Result,
    hardware: Profile | MemoryModel,
    assumptions: Mapping[str, float] | None = None,
    *,
    network_steps: int | None = None,
) -> Anytime:
    """Accuracy and energy after each step of a run.

    Args:
        network: What was run; ``with_steps(network, n)`` has been run to see beyond its T.
        inputs: Raw data of the run.
        result: The run, with labels.
        hardware: Prices.
        assumptions: Prices in pJ by event, as in ``estimate_energy``.
        network_steps: T of the network before ``with_steps``.

    Raises:
        InvalidDataError: No labels, or no samples.
        UnsupportedError: The readout has no meaning over fewer steps; see ``with_steps``. Or the
            network is plastic: what it learns depends on how many steps a sample has.
        InvalidSettingError: As ``pricing``.
    """
    refuse_plastic(network, "accuracy over time", "fixed weights, which do not depend on it")
    labels, price = _labels(result), pricing(hardware, assumptions)
    points = []
    for steps in range(1, network.steps + 1):
        correct = int((logits_after(network, result, steps).argmax(axis=1) == labels).sum())
        ledger = first_steps(result.ledger, steps)
        part = first_frames(network, inputs, steps)
        points.append(_point(ledger, correct, price(with_steps(network, steps), ledger, part)))
    best = max(point.correct for point in points)
    accuracy = best / len(labels)
    error = float(np.sqrt(accuracy * (1 - accuracy) / len(labels)))
    return Anytime(
        hardware=hardware.id,
        samples=len(labels),
        network_steps=network_steps or network.steps,
        knee=next(p.steps for p in points if p.accuracy >= accuracy - error),
        best_steps=next(p.steps for p in points if p.correct == best),
        standard_error=error,
        points=tuple(points),
    )


def logits_after(network: Network, result: Result, steps: int) -> Array:
    """(N, K): real-valued logits that the network would give if it stopped after so many steps.

    Args:
        network: What was run.
        result: Its run, over at least so many steps.
        steps: 1..T.
    """
    readout = with_steps(network, steps).readout
    weighted = np.einsum("ntk,t->nk", result.step_logits[:, :steps], readout.weights)
    return weighted * readout.scale


def confidences(network: Network, result: Result) -> npt.NDArray[np.float64]:
    """(N, T): softmax probability of the predicted class after each step.

    Of the real-valued logits so far: in an integer network the integers times ``readout.scale``,
    averaged over the steps so far. The network was not calibrated for it, so a confidence of 0.9
    need not mean that nine of ten are right.
    """
    columns = []
    for steps in range(1, network.steps + 1):
        logits = logits_after(network, result, steps)
        distance = logits - logits.max(axis=1, keepdims=True)
        columns.append(1 / np.exp(distance).sum(axis=1))
    return np.stack(columns, axis=1)


def early_exit(
    network: Network,
    inputs: Array,
    labels: Array | None = None,
    *,
    confidence: float,
    build: EngineBuilder,
    full: Result | None = None,
    progress: Progress | None = None,
) -> EarlyExit:
    """Run each sample until the network is confident, at most over all of its steps.

    All samples are run over all steps, which tells where each one leaves. Those that leave after
    the same step are then run again over that many steps only, so that the counts are exact.

    Args:
        network: A float or an integer network.
        inputs: Raw data, as ``network.input.encode`` takes them.
        labels: (N,) integers, for the accuracy.
        confidence: Where a sample leaves, between 0 and 1; see :func:`confidences`.
        build: Gives the engine.
        full: A run of the same samples over all steps, if there is one already.
        progress: Called with the number of samples finished since the last call; each sample
            counts twice, or once if ``full`` is given.

    Raises:
        InvalidSettingError: A confidence that is not between 0 and 1.
        InvalidDataError: Data or labels do not fit the network, or there are no samples.
        UnsupportedError: The readout has no meaning over fewer steps; see ``with_steps``. Or the
            network is plastic: what it learns depends on how many steps a sample has.
        EngineError: The engine gave other logits in the second run.
    """
    refuse_plastic(network, "early exit", "fixed weights, which do not depend on it")
    check_confidence(confidence)
    with_steps(network, 1)  # fails before the long part, if it does
    start = time.perf_counter()
    inputs = np.asarray(inputs)
    before = 0.0 if full is None else full.seconds
    full = full or build(network).run(inputs, labels, progress=progress)
    if not len(full.logits):
        raise InvalidDataError(
            "data", got="no samples", expected="at least one", fix="Give some data."
        )
    confident = confidences(network, full) >= confidence
    confident[:, -1] = True
    exits = confident.argmax(axis=1) + 1
    logits = np.empty(full.logits.shape)
    groups = {}
    for steps in np.unique(exits).tolist():
        chosen = np.flatnonzero(exits == steps)
        logits[chosen] = logits_after(network, full, steps)[chosen]
        groups[steps] = _run_group(network, inputs, full, chosen, steps, build, progress)
    padded = [_padded(ledger, network.steps) for ledger in groups.values()]
    total = padded[0]
    for ledger in padded[1:]:
        total = total.merged(ledger)
    return EarlyExit(
        confidence=confidence,
        exit_steps=exits,
        logits=logits,
        full=full,
        ledger=total,
        groups=groups,
        seconds=before + time.perf_counter() - start,
    )


def exit_energy(
    network: Network,
    inputs: Array,
    run: EarlyExit,
    hardware: Profile | MemoryModel,
    assumptions: Mapping[str, float] | None = None,
) -> Energy:
    """Energy per inference of a run with early exits: the mean over the groups, each priced alone.

    Args:
        network: What was run.
        inputs: Raw data of the run.
        run: The run.
        hardware: Prices.
        assumptions: Prices in pJ by event, as in ``estimate_energy``.

    Raises:
        InvalidSettingError: As ``pricing``.
    """
    price = pricing(hardware, assumptions)
    inputs, samples = np.asarray(inputs), len(run.exit_steps)
    pairs = []
    for steps, ledger in run.groups.items():
        part = first_frames(network, inputs[run.exit_steps == steps], steps)
        pairs.append((ledger.samples / samples, price(with_steps(network, steps), ledger, part)))
    return Energy(
        joules=sum(share * each.energy_per_inference_joules for share, each in pairs),
        low_joules=sum(share * each.low_joules for share, each in pairs),
        high_joules=sum(share * each.high_joules for share, each in pairs),
    )


def check_confidence(confidence: float) -> None:
    """Raise InvalidSettingError unless a confidence is between 0 and 1."""
    if not 0 < confidence < 1:
        raise InvalidSettingError(
            "exit confidence",
            got=f"{confidence:g}",
            expected="a probability between 0 and 1",
            fix="For example 0.9.",
        )


def _labels(result: Result) -> npt.NDArray[np.int64]:
    if result.labels is None or not len(result.labels):
        raise InvalidDataError(
            "labels",
            got="none",
            expected="the class of each sample, for the accuracy",
            fix="Give data with labels (an array y).",
        )
    return result.labels


def _point(ledger: Ledger, correct: int, priced: Estimate) -> AnytimePoint:
    joules = priced.energy_per_inference_joules
    return AnytimePoint(
        steps=ledger.steps,
        correct=correct,
        accuracy=correct / ledger.samples,
        synaptic_operations_per_inference=ledger.synaptic_operations / ledger.samples,
        energy_per_inference_joules=joules,
        energy_per_inference_low_joules=priced.low_joules,
        energy_per_inference_high_joules=priced.high_joules,
        joules_per_correct_prediction=joules * ledger.samples / correct if correct else None,
        saturations=ledger.saturations,
    )


def _run_group(
    network: Network,
    inputs: Array,
    full: Result,
    chosen: npt.NDArray[np.int64],
    steps: int,
    build: EngineBuilder,
    progress: Progress | None,
) -> Ledger:
    """Counts of some samples over the first steps only."""
    if len(chosen) == len(inputs) and steps == network.steps:
        if progress:
            progress(len(inputs))
        return replace(full.ledger, per_sample=None)
    part = first_frames(network, inputs[chosen], steps)
    result = build(with_steps(network, steps)).run(part, progress=progress)
    expected = full.step_logits[chosen, :steps]
    if network.kind == "integer" and not np.array_equal(result.step_logits, expected):
        raise EngineError(
            f"engine {result.engine!r}",
            got=f"other logits over {steps} steps than in the first steps of {network.steps}",
            expected="equal ones",
            fix="Compare it with the reference engine: trispike verify.",
        )
    return result.ledger


def _padded(ledger: Ledger, steps: int) -> Ledger:
    """A ledger over more time steps, in which nothing happened."""

    def pad(counts: Array) -> Array:
        widths = [(0, steps - len(counts)), *[(0, 0)] * (counts.ndim - 1)]
        return np.pad(counts, widths)

    return _over_time(ledger, steps, pad)


def _over_time(ledger: Ledger, steps: int, change: Callable[[Array], Array]) -> Ledger:
    """A ledger with another number of steps; ``change`` gets every array over time.

    Counts per sample are left out.
    """

    def changed(counts: Part) -> Part:
        arrays: dict[str, Any] = {
            field.name: change(value)
            for field in fields(counts)  # type: ignore[arg-type]
            if isinstance(value := getattr(counts, field.name), np.ndarray)
        }
        return replace(counts, **arrays)  # type: ignore[type-var]

    return replace(
        ledger,
        steps=steps,
        per_sample=None,
        populations={name: changed(p) for name, p in ledger.populations.items()},
        connections={name: changed(c) for name, c in ledger.connections.items()},
    )
