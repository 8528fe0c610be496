"""What each connection costs at few bits, all others at many: measured, one run for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.network import IntegerNetwork, Network
from trispike.network.dynamics import time_steps
from trispike.quantize.quantizer import WIDEST, Quantizer

Array: TypeAlias = npt.NDArray[Any]
Runner: TypeAlias = Callable[[Network, Array], Array]
"""Runs a network on raw data, and returns its logits, (N, classes), in its own units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How an integer network compares with the float network on the calibration data."""

    accuracy: float | None
    """None without labels."""
    agreement: float
    """Fraction of equal predictions."""
    divergence: float
    """Mean Kullback-Leibler divergence of the classes' probabilities (softmax of the logits) from
    the float network's, in nats. Tells networks apart that predict alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """One connection at few bits, all others at 8."""

    label: str
    bits: int
    weights: int
    """Stored weights of the connection."""
    accuracy: float | None
    """Of the whole network; None without labels."""
    agreement: float
    """Fraction of predictions equal to the float network's."""
    divergence: float
    """See :class:`Quality`."""
    current_sqnr_db: float | None
    """Signal to quantization noise of its target's current; None where it is exact."""

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def plain_runner(network: Network, raw: Array, batch_size: int = 32) -> Array:
    """Runs a network step by step in NumPy, as it is defined."""
    logits = np.zeros((len(raw), network.readout.classes))
    for first in range(0, len(raw), batch_size):
        part = slice(first, first + batch_size)
        for step in time_steps(network, network.input.encode(raw[part], network.steps)):
            logits[part] += network.readout.weights[step.t] * step.logits
    return logits


class Judge:
    """Compares integer networks with the float network that they were made from.

    Args:
        source: The float network.
        calibration: Raw data.
        labels: (N,) classes, or None.
        run: What runs networks.
    """

    def __init__(
        self, source: Network, calibration: Array, labels: Array | None, run: Runner
    ) -> None:
        self._calibration = calibration
        self._labels = labels
        self._run = run
        self._expected = _log_softmax(run(source, calibration))

    def quality(self, integer: IntegerNetwork) -> Quality:
        """Of one integer network."""
        logits = self._run(integer, self._calibration)
        predictions = logits.argmax(axis=1)
        got, expected = _log_softmax(logits * integer.readout.scale), self._expected
        divergence = (np.exp(expected) * (expected - got)).sum(axis=1)
        labels = self._labels
        return Quality(
            accuracy=None if labels is None else float((predictions == labels).mean()),
            agreement=float((predictions == expected.argmax(axis=1)).mean()),
            divergence=max(0.0, float(divergence.mean())),
        )


def _log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def sensitivities(
    quantizer: Quantizer,
    judge: Judge,
    widths: Sequence[int],
    labels: Sequence[str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[Sensitivity, ...]:
    """Every connection at every width, with all others at 8 bits.

    Args:
        quantizer: Makes the networks.
        judge: Compares them with the float network.
        widths: Bits.
        labels: Connections; by default all.
        progress: Called with 1 after each.
    """
    result = []
    counts = weight_counts(quantizer)
    for label in quantizer.labels if labels is None else labels:
        for bits in widths:
            chosen = {**dict.fromkeys(quantizer.labels, WIDEST), label: bits}
            quality = judge.quality(quantizer.network(chosen, {}))
            part = quantizer.parts(chosen)[quantizer.target_of(label)]
            result.append(
                Sensitivity(
                    label=label,
                    bits=bits,
                    weights=counts[label],
                    accuracy=quality.accuracy,
                    agreement=quality.agreement,
                    divergence=quality.divergence,
                    current_sqnr_db=None if part.fitted is None else part.fitted.sqnr_db,
                )
            )
            if progress:
                progress(1)
    return tuple(result)


def weight_counts(quantizer: Quantizer) -> Mapping[str, int]:
    """Stored weights by label of the connection."""
    network = quantizer.network(dict.fromkeys(quantizer.labels, WIDEST), {})
    return {label: c.operator.weight.size for label, c in network.labelled()}
