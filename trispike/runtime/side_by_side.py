"""Several networks on the same data, side by side: accuracy, events, energy, and their ratios."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.errors import InvalidDataError, InvalidSettingError
from trispike.network import Network, digest
from trispike.runtime.derived_counts import update_work
from trispike.runtime.energy import Estimate
from trispike.runtime.engine import Result
from trispike.runtime.ledger_file import StoredLedger

Counts: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Contender:
    """A network with a run of it, priced."""

    name: str
    network: Network
    run: Result | StoredLedger
    estimate: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one network does per inference; means over the samples."""

    name: str
    network_sha256: str
    kind: str
    """"integer" or "float"."""
    steps: int
    """Time steps."""
    neurons: int
    binary_populations: int
    """Populations that fire in one sign only, by their thresholds."""
    ternary_populations: int
    """Populations that may fire in both signs."""
    accuracy: float | None
    """None without labels."""
    accuracy_standard_error: float | None
    positive_spikes: float
    negative_spikes: float
    spikes: float
    """Of both signs; the input is not counted."""
    firing_rate: float
    """Spikes per neuron and time step."""
    synaptic_operations: float
    """Ternary spikes over synapses with a weight that is not zero."""
    graded_operations: float
    """The same for analog values, such as those of the input."""
    joules: float
    low_joules: float
    """With the lower ends of published intervals."""
    high_joules: float
    joules_per_correct: float | None
    """Energy of all samples over the number of right predictions; None if there are none."""
    alone_right: int | None
    """Samples that this network predicts right and the first one wrong; None without labels."""
    alone_wrong: int | None
    """Samples that this network predicts wrong and the first one right."""


RATIOS = (
    "accuracy",
    "positive_spikes",
    "negative_spikes",
    "spikes",
    "firing_rate",
    "synaptic_operations",
    "graded_operations",
    "joules",
    "low_joules",
    "high_joules",
    "joules_per_correct",
)
"""Figures of which a ratio to the first network's is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """The figures of all networks, in their order."""

    networks: tuple[Figures, ...]
    samples: int

    def ratios(self, index: int) -> dict[str, float | None]:
        """Figures of a network over those of the first; None where the first's are 0 or unknown.

        Args:
            index: Of the network.
        """
        first, other = asdict(self.networks[0]), asdict(self.networks[index])
        return {
            name: other[name] / first[name] if first[name] and other[name] is not None else None
            for name in RATIOS
        }

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "samples": self.samples,
            "networks": [
                {**asdict(figures), "ratio_to_first": self.ratios(index)}
                for index, figures in enumerate(self.networks)
            ],
        }


def side_by_side(contenders: Sequence[Contender]) -> SideBySide:
    """Compare networks that ran on the same data, priced by the same hardware.

    Args:
        contenders: Two or more; the first is what the others are measured by.

    Raises:
        InvalidSettingError: Less than two, or prices of several kinds of hardware.
        InvalidDataError: Runs on other data, or without samples.
    """
    if len(contenders) < 2:
        raise InvalidSettingError(
            "networks to compare",
            got=str(len(contenders)),
            expected="two or more",
            fix="Name another network.",
        )
    _check_same(contenders)
    first = contenders[0].run
    return SideBySide(
        networks=tuple(_figures(contender, first) for contender in contenders),
        samples=first.ledger.samples,
    )


def _check_same(contenders: Sequence[Contender]) -> None:
    """Refuse what cannot be compared."""
    first = contenders[0]
    for other in contenders[1:]:
        if other.estimate.hardware_sha256 != first.estimate.hardware_sha256:
            raise InvalidSettingError(
                f"network {other.name!r}",
                got=f"prices of {other.estimate.profile.id}",
                expected=f"those of the first network, {first.estimate.profile.id}",
                fix="Price all networks with the same hardware.",
            )
        problem = _other_data(first.run, other.run)
        if problem:
            raise InvalidDataError(
                f"run of network {other.name!r}",
                got=problem,
                expected="the same samples in the same order as the first network's",
                fix="Run all networks on the same data.",
            )


def _other_data(first: Result | StoredLedger, other: Result | StoredLedger) -> str | None:
    """How the samples of two runs differ, as far as it is known."""
    if first.ledger.samples != other.ledger.samples:
        return f"{other.ledger.samples} samples, not {first.ledger.samples}"
    if (first.labels is None) != (other.labels is None):
        return "labels for only one of the two"
    if (
        first.labels is not None
        and other.labels is not None
        and not np.array_equal(first.labels, other.labels)
    ):
        return "other labels"
    stored = isinstance(first, StoredLedger) and isinstance(other, StoredLedger)
    if stored and first.data_sha256 != other.data_sha256:  # type: ignore[union-attr]
        return f"other data ({other.data})"  # type: ignore[union-attr]
    return None


def _figures(contender: Contender, first: Result | StoredLedger) -> Figures:
    run, network, priced = contender.run, contender.network, contender.estimate
    ledger, samples = run.ledger, run.ledger.samples
    accuracy = run.accuracy
    positive = sum(int(p.spikes_positive.sum()) for p in ledger.populations.values())
    negative = sum(int(p.spikes_negative.sum()) for p in ledger.populations.values())
    updates = sum(int(p.updates.sum()) for p in ledger.populations.values())
    ternary = sum(_fires_both(network, name) for name in network.populations)
    alone = _disagreements(first, run)
    return Figures(
        name=contender.name,
        network_sha256=digest(network),
        kind=network.kind,
        steps=network.steps,
        neurons=sum(population.size for population in network.populations.values()),
        binary_populations=len(network.populations) - ternary,
        ternary_populations=ternary,
        accuracy=accuracy,
        accuracy_standard_error=None
        if accuracy is None
        else math.sqrt(accuracy * (1 - accuracy) / samples),
        positive_spikes=positive / samples,
        negative_spikes=negative / samples,
        spikes=(positive + negative) / samples,
        firing_rate=(positive + negative) / max(1, updates),
        synaptic_operations=ledger.synaptic_operations / samples,
        graded_operations=ledger.macs / samples,
        joules=priced.energy_per_inference_joules,
        low_joules=priced.low_joules,
        high_joules=priced.high_joules,
        joules_per_correct=priced.energy_per_inference_joules / accuracy if accuracy else None,
        alone_right=None if alone is None else alone[0],
        alone_wrong=None if alone is None else alone[1],
    )


def _fires_both(network: Network, name: str) -> bool:
    """Whether thresholds of a population can be reached in both directions."""
    return update_work(network.populations[name]).threshold_compares == 2


def _disagreements(
    first: Result | StoredLedger, other: Result | StoredLedger
) -> tuple[int, int] | None:
    """Samples that only the other predicts right, and that only the first does."""
    if first.labels is None or other.labels is None:
        return None
    right: Counts = first.predictions == first.labels
    here: Counts = other.predictions == other.labels
    return int((here & ~right).sum()), int((right & ~here).sum())
