"""How the counts of samples spread: by part of the network, by time step, by class."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.errors import InvalidDataError
from trispike.runtime.ledger import Ledger
from trispike.runtime.sample_counts import SampleCounts

Counts: TypeAlias = npt.NDArray[np.int64]

KINDS = tuple(field.name for field in fields(SampleCounts))
"""What is counted per sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Of one count over samples."""

    mean: float
    deviation: float
    """Standard deviation over these samples: the root of the mean squared distance from the
    mean."""
    minimum: int
    maximum: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergySpread:
    """Of what a sample takes, in J."""

    mean: float
    deviation: float
    """Standard deviation over these samples, as in :class:`Spread`."""
    minimum: float
    maximum: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Some of the samples."""

    samples: int
    correct: int | None
    """How many of them are predicted right; None without predictions."""
    totals: Mapping[str, Spread]
    """By kind, summed over the network: events of a sample in all its time steps."""
    energy_joules: EnergySpread | None = None
    """None without prices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """How the counts spread, and the energy. Every count is of one sample."""

    samples: int
    totals: Mapping[str, Spread]
    """By kind: over the whole network and all time steps."""
    steps: tuple[Mapping[str, Spread], ...]
    """By time step, then by kind: over the whole network."""
    parts: Mapping[str, Mapping[str, Spread]]
    """By kind, then by population or connection: over all time steps."""
    classes: Mapping[int, Group] | None
    """By label; None without labels. Classes without samples are left out."""
    energy_joules: EnergySpread | None = None
    """Over the whole network and all time steps; None without prices."""

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        plain = asdict(self)
        plain["steps"] = list(plain["steps"])
        if plain["classes"] is not None:
            plain["classes"] = {str(label): group for label, group in plain["classes"].items()}
        return plain


def spread(counts: npt.NDArray[Any]) -> Spread:
    """Of integers, at least one; exact until the last division and root."""
    numbers: list[int] = counts.tolist()
    total, many = sum(numbers), len(numbers)
    squared = many * sum(n * n for n in numbers) - total * total
    return Spread(
        mean=total / many,
        deviation=math.sqrt(squared) / many,
        minimum=min(numbers),
        maximum=max(numbers),
    )


def energy_spread(joules: npt.NDArray[np.float64]) -> EnergySpread:
    """Of at least one sample."""
    return EnergySpread(
        mean=float(joules.mean()),
        deviation=float(joules.std()),
        minimum=float(joules.min()),
        maximum=float(joules.max()),
    )


def statistics(
    ledger: Ledger,
    labels: npt.NDArray[np.int64] | None = None,
    predictions: npt.NDArray[np.int64] | None = None,
    joules: npt.NDArray[np.float64] | None = None,
) -> Statistics:
    """How the counts of a run spread over its samples.

    Args:
        ledger: With counts per sample.
        labels: (N,): the class of every sample, if known.
        predictions: (N,): what the network took it for.
        joules: (N,): what every sample takes, ``Estimate.sample_joules``; None: not known.

    Raises:
        InvalidDataError: No samples, no counts per sample, or not one label for each.
    """
    counts = checked_counts(ledger)
    given = {"labels": labels, "predictions": predictions, "joules": joules}
    for what, values in given.items():
        if values is not None and values.shape != (ledger.samples,):
            raise InvalidDataError(
                what,
                got=f"an array of shape {values.shape}",
                expected=f"one for each of {ledger.samples} samples",
                fix="Take those of the run.",
            )
    silence = np.zeros((ledger.samples, ledger.steps), np.int64)
    over_network = {kind: sum(counts.groups()[kind].values(), start=silence) for kind in KINDS}
    totals = {kind: steps.sum(axis=1) for kind, steps in over_network.items()}
    return Statistics(
        samples=ledger.samples,
        totals={kind: spread(total) for kind, total in totals.items()},
        steps=tuple(
            {kind: spread(steps[:, t]) for kind, steps in over_network.items()}
            for t in range(ledger.steps)
        ),
        parts={
            kind: {name: spread(steps.sum(axis=1)) for name, steps in counts.groups()[kind].items()}
            for kind in KINDS
        },
        classes=None if labels is None else _classes(totals, labels, predictions, joules),
        energy_joules=None if joules is None else energy_spread(joules),
    )


def checked_counts(ledger: Ledger) -> SampleCounts:
    """The counts per sample of a ledger that has some.

    Raises:
        InvalidDataError: No samples, or no counts per sample.
    """
    if ledger.per_sample is None:
        raise InvalidDataError(
            "ledger",
            got="no counts per sample",
            expected="those of every single one",
            fix="Run it with per_sample=True.",
        )
    if not ledger.samples:
        raise InvalidDataError(
            "ledger", got="no samples", expected="at least one", fix="Run some data first."
        )
    return ledger.per_sample


def _classes(
    totals: Mapping[str, Counts],
    labels: npt.NDArray[np.int64],
    predictions: npt.NDArray[np.int64] | None,
    joules: npt.NDArray[np.float64] | None,
) -> dict[int, Group]:
    groups = {}
    for label in np.unique(labels).tolist():
        mine = labels == label
        right = None if predictions is None else int((predictions[mine] == label).sum())
        groups[label] = Group(
            samples=int(mine.sum()),
            correct=right,
            totals={kind: spread(total[mine]) for kind, total in totals.items()},
            energy_joules=None if joules is None else energy_spread(joules[mine]),
        )
    return groups
