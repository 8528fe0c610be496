"""What can be chosen about a fine-tuning, checked before anything is computed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, get_args

from trispike.errors import InvalidSettingError
from trispike.nn.surrogate import SURROGATES
from trispike.quantize.finetune.masters import DEFAULT_TRAINED, Trained, checked_trained
from trispike.quantize.finetune.module import DEFAULT_SURROGATE

__all__ = ["DEFAULT_EPOCHS", "DEFAULT_LEARNING_RATE", "Loss", "Settings"]

Loss: TypeAlias = Literal["cross_entropy", "tet"]
"""Cross entropy of the mean logits, or the mean cross entropy of the logits of every step:
temporal efficient training, Deng et al., ICLR 2022, without its regularization."""

DEFAULT_EPOCHS = 5
DEFAULT_LEARNING_RATE = 0.01
LARGEST_COUNT = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a network is fine-tuned.

    Raises:
        InvalidSettingError: Something is unknown or out of range.
    """

    epochs: int = DEFAULT_EPOCHS
    """Passes over the training data, at most."""
    learning_rate: float = DEFAULT_LEARNING_RATE
    """Of Adam, relative to the size of what is trained: 0.01 changes weights by about 1 % of their
    root mean square per update. It rises during the first twentieth of the updates and then falls
    to 0 as a cosine."""
    batch_size: int = 100
    """Samples per update."""
    loss: Loss = "cross_entropy"
    """What is minimised."""
    trained: tuple[Trained, ...] = DEFAULT_TRAINED
    """Kinds of parameters."""
    surrogate: str = DEFAULT_SURROGATE
    """Of the derivative of a spike."""
    patience: int | None = None
    """End after so many epochs without a better validation accuracy; None: never."""
    seed: int = 0
    """Of the order of the samples and of the augmentation."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "trained", checked_trained(self.trained))
        for name, least in (("epochs", 1), ("batch_size", 1), ("patience", 1), ("seed", 0)):
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            if (name, value) == ("patience", None) or (whole and least <= value < LARGEST_COUNT):
                continue
            raise _wrong(name, value, f"an integer of at least {least}")
        rate = self.learning_rate
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate <= 1:
            raise _wrong("learning_rate", rate, "a number above 0 and at most 1")
        object.__setattr__(self, "learning_rate", float(rate))
        for name, known in (("loss", get_args(Loss)), ("surrogate", tuple(SURROGATES))):
            if getattr(self, name) not in known:
                raise _wrong(name, getattr(self, name), "one of " + ", ".join(known))

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self) | {"trained": list(self.trained)}


def _wrong(name: str, value: object, expected: str) -> InvalidSettingError:
    return InvalidSettingError(
        f"setting {name!r}", got=repr(value), expected=expected, fix="Choose such a value."
    )
