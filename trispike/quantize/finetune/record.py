"""The record of a fine-tuning: what was asked for, and how it went."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """One pass over the training data."""

    epoch: int
    """1 for the first; 0: before any training."""
    training_loss: float | None
    """Mean over the epoch; None before training."""
    validation_loss: float
    """Cross entropy."""
    validation_accuracy: float
    """Of the integer network as it would be exported then."""
    seconds: float
    """Wall-clock time, validation included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneRecord:
    """What was asked for, and how it went."""

    learning_rate: float
    batch_size: int
    loss: str
    trained: tuple[str, ...]
    """Kinds of parameters."""
    surrogate: str
    seed: int
    training_samples: int
    validation_samples: int
    quantized_accuracy: float
    """Of the post-training integer network on the validation data."""
    epochs: tuple[EpochRecord, ...]
    """The first one is the start: epoch 0."""
    best_epoch: int | None
    """Whose network was kept; None: the post-training network was better than all."""
    best_accuracy: float
    """Its accuracy on the validation data."""
    stopped_early: bool
    """Whether the patience ended before the epochs."""

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)
