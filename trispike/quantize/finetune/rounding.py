"""Rounding and clipping through which gradients pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["clip", "rounded"]


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.round()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


def rounded(values: Tensor) -> Tensor:
    """Whole numbers, half to even; the gradient passes as if nothing had been rounded."""
    result: Tensor = _Rounded.apply(values)  # type: ignore[no-untyped-call]
    return result


def clip(values: Tensor, low: float, high: float) -> Tensor:
    """Rounded and clipped values; no gradient passes where something was clipped.

    Args:
        values: Numbers in units of what they are rounded to.
        low: Smallest whole number that is allowed.
        high: Largest one.
    """
    return rounded(values.clamp(low, high))
