"""Readouts of chosen time steps, such as the last one alone (LTS)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trispike.network.readouts import ReadoutSteps, readout_steps

__all__ = ["ChosenSteps"]


class ChosenSteps(nn.Module):
    """The mean over some time steps; it has no parameters.

    Args:
        readout: ``"mean"``, ``"last"``, or the chosen steps, counted from 0.
        steps: T.

    Raises:
        InvalidSettingError: A step that is none of 0..T-1, or none at all.
    """

    def __init__(self, readout: ReadoutSteps, steps: int) -> None:
        super().__init__()
        self.chosen = readout_steps(readout, steps)
        self.readout = readout
        self.steps = steps
        self.length = steps

    def now(self) -> tuple[int, ...]:
        """The chosen ones of the first ``steps`` steps, of which a training may run fewer."""
        if self.readout in ("mean", "last"):
            return readout_steps(self.readout, self.steps)
        return tuple(t for t in self.chosen if t < self.steps) or (self.steps - 1,)

    def forward(self, x: Tensor) -> Tensor:
        """(T, N, classes) to (N, classes)."""
        weights = torch.zeros(self.steps, dtype=x.dtype, device=x.device)
        chosen = self.now()
        weights[list(chosen)] = 1.0 / len(chosen)
        return (x * weights[:, None, None]).sum(0)

    def spread(self, x: Tensor) -> Tensor:
        """(T, N, classes) to those of the chosen steps, whose mean is what ``forward`` returns."""
        return x[list(self.now())]

    def extra_repr(self) -> str:
        """What is printed between the parentheses."""
        return f"steps={self.steps}, readout={self.readout!r}"
