"""What stands in for the derivative of a spike during training.

A spike is a step function of the membrane potential: its derivative is zero almost everywhere.
A surrogate replaces it in the backward pass only; the forward pass is exact, always.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import torch
from torch import Tensor

from trispike.errors import InvalidNetworkError

__all__ = ["DEFAULT_SURROGATE", "SURROGATES", "Surrogate", "fire", "surrogate_by_name"]

Surrogate: TypeAlias = Callable[[Tensor, float, bool], Tensor]
"""(membrane potential, threshold, ternary) -> ds/dv, of the potential's shape, in 1/potential."""

DEFAULT_SURROGATE = "straight_through"


def _straight_through(v: Tensor, threshold: float, ternary: bool) -> Tensor:
    """The gradient of clamp(v/(2*V_th), -2*V_th, 2*V_th), from 0 upwards for a binary neuron.

    Source: public code of Zhang et al. 2026 (arXiv 2601.15598), which hands twice the threshold
    to the activation both as divisor and as clamp; with V_th = 0.5 it equals the code of
    Guo et al. (AAAI 2024).
    """
    divisor = 2 * threshold
    x = v / divisor
    window = (x.abs() if ternary else x) <= divisor
    if not ternary:
        window &= x >= 0
    return window.to(v.dtype) / divisor


def _distance(v: Tensor, threshold: float, ternary: bool) -> Tensor:
    """Signed distance from the nearest threshold, in thresholds."""
    return (v.abs() if ternary else v) / threshold - 1


def _rectangle(v: Tensor, threshold: float, ternary: bool) -> Tensor:
    """1/V_th within half a threshold around the threshold (Wu et al. 2018, h1)."""
    return (_distance(v, threshold, ternary).abs() <= 0.5).to(v.dtype) / threshold


def _triangle(v: Tensor, threshold: float, ternary: bool) -> Tensor:
    """Falls linearly from 1/V_th at the threshold to 0 one threshold away (Bellec et al. 2018)."""
    return (1 - _distance(v, threshold, ternary).abs()).clamp(min=0) / threshold


def _atan(v: Tensor, threshold: float, ternary: bool) -> Tensor:
    """Derivative of atan(pi*z)/pi, z in thresholds (Fang et al. 2021, alpha = 2)."""
    z = math.pi * _distance(v, threshold, ternary)
    return 1 / (1 + z * z) / threshold


def _sigmoid(v: Tensor, threshold: float, ternary: bool) -> Tensor:
    """Derivative of the logistic function of 4*z, z in thresholds (slope 1 at the threshold)."""
    y = torch.sigmoid(4 * _distance(v, threshold, ternary))
    return 4 * y * (1 - y) / threshold


SURROGATES: Mapping[str, Surrogate] = MappingProxyType(
    {
        "straight_through": _straight_through,
        "rectangle": _rectangle,
        "triangle": _triangle,
        "atan": _atan,
        "sigmoid": _sigmoid,
    }
)
"""Every surrogate by name; ``straight_through`` is the published one."""


def surrogate_by_name(name: str) -> Surrogate:
    """Look a surrogate up.

    Raises:
        InvalidNetworkError: There is none of that name.
    """
    try:
        return SURROGATES[name]
    except KeyError:
        raise InvalidNetworkError(
            "surrogate",
            got=repr(name),
            expected="one of " + ", ".join(SURROGATES),
            fix="Choose one of these.",
        ) from None


class _Fire(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, v: Tensor, threshold: float, ternary: bool, strict: bool, surrogate: Surrogate
    ) -> Tensor:
        ctx.save_for_backward(v)
        ctx.arguments = (threshold, ternary)
        ctx.surrogate = surrogate
        spikes = (v > threshold if strict else v >= threshold).to(v.dtype)
        if ternary:
            spikes -= (v < -threshold if strict else v <= -threshold).to(v.dtype)
        return spikes

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        (v,) = ctx.saved_tensors
        return gradients[0] * ctx.surrogate(v, *ctx.arguments), None, None, None, None


def fire(v: Tensor, threshold: float, ternary: bool, strict: bool, surrogate: Surrogate) -> Tensor:
    """Spikes of membrane potentials: exact forward, surrogate backward.

    Args:
        v: Membrane potential before the reset, any shape.
        threshold: V_th > 0, in units of v.
        ternary: Also fire -1 at -V_th.
        strict: Fire above the threshold only; otherwise at the threshold, too.
        surrogate: Stands in for ds/dv.

    Returns:
        -1, 0 or +1, of the shape and dtype of v.
    """
    spikes: Tensor = _Fire.apply(v, threshold, ternary, strict, surrogate)  # type: ignore[no-untyped-call]
    return spikes
