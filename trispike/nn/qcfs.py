"""QCFS: the activation of networks that convert to spikes without any error."""

from __future__ import annotations

import math
from collections.abc import MutableMapping
from typing import Any

import torch
from torch import Tensor, nn

from trispike.errors import InvalidNetworkError

__all__ = ["DEFAULT_QCFS_THRESHOLD", "LEVEL_LIMIT", "QCFS", "checked_levels"]

DEFAULT_QCFS_THRESHOLD = 1.0
"""Of a new activation, as in the public code of PASCAL; that of QCFS begins with 8."""

LEVEL_LIMIT = 1 << 16
"""Most levels of an activation: each costs a time step."""


def checked_levels(levels: Any, name: str = "QCFS") -> int:
    """L as an int.

    Raises:
        InvalidNetworkError: Not a whole number in 1..LEVEL_LIMIT.
    """
    whole = isinstance(levels, int) and not isinstance(levels, bool)
    if not whole or not 1 <= levels <= LEVEL_LIMIT:
        raise InvalidNetworkError(
            f"levels of {name}",
            got=repr(levels),
            expected=f"a whole number of levels L in 1..{LEVEL_LIMIT}",
            fix="Give the L that the activation was trained with; published are 1, 2, 4 and 8.",
        )
    return int(levels)


class _Floor(torch.autograd.Function):
    """Rounds down; its gradient is 1 (straight-through)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.floor()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class QCFS(nn.Module):
    """Quantization, clip, floor, shift: an activation with L levels above zero.

    ::

        y = thresh * clip(floor(x*L/thresh + 1/2)/L, 0, 1)

    An integrate-and-fire neuron that begins at half of ``q = thresh/L`` and fires L steps with a
    soft reset of q, after all input has arrived, fires y/q times: exactly. A negative ``thresh``
    is one that training turned around: it counts negative input, and y is negative.

    The gradient is the published one: that of the clip, with the floor as the identity.

    Sources: Bu et al., ICLR 2022 (QCFS); PASCAL, arXiv 2505.01730, and its public code.

    Args:
        levels: L.
        threshold: Initial ``thresh``, finite and not 0.

    Raises:
        InvalidNetworkError: An argument is out of range.
    """

    def __init__(self, levels: int, threshold: float = DEFAULT_QCFS_THRESHOLD) -> None:
        super().__init__()
        self.levels = checked_levels(levels)
        if not (math.isfinite(threshold) and threshold):
            raise InvalidNetworkError(
                "threshold of QCFS",
                got=repr(threshold),
                expected="a finite number other than 0",
                fix=f"The default is {DEFAULT_QCFS_THRESHOLD}.",
            )
        self.thresh = nn.Parameter(torch.tensor([float(threshold)]))
        self.register_load_state_dict_pre_hook(_read_older_key)  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape, to the same."""
        share = torch.clamp(x / self.thresh, 0, 1)
        level: Tensor = _Floor.apply(share * self.levels + 0.5)  # type: ignore[no-untyped-call]
        return level / self.levels * self.thresh

    def extra_repr(self) -> str:
        """What is printed between the parentheses."""
        return f"levels={self.levels}"


def _read_older_key(
    module: nn.Module, state_dict: MutableMapping[str, Tensor], prefix: str, *rest: Any
) -> None:
    """Older public code calls the threshold ``up``; some of it saves it without an axis."""
    key, older = f"{prefix}thresh", f"{prefix}up"
    if older in state_dict and key not in state_dict:
        state_dict[key] = state_dict.pop(older)
    if key in state_dict and state_dict[key].dim() == 0:
        state_dict[key] = state_dict[key].reshape(1)
