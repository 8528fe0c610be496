"""Connections on batches of spikes: exact sums forward, PyTorch's gradients backward."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from trispike.errors import UnsupportedError
from trispike.network import Connection, Conv2d, Dense, Identity
from trispike.network.connection import EXACT_FLOAT64, Operator, SumPool

__all__ = ["EXACT_FLOAT32", "apply_operator", "carrier", "exact_arithmetic", "pooled"]

EXACT_FLOAT32 = 1 << 24
"""Integers below this magnitude, and sums that stay below it, are exact in float32."""


def carrier(label: str, limit: int) -> torch.dtype:
    """The narrowest float in which integer sums are exact.

    Args:
        label: Of whatever is summed up, for the error.
        limit: What no partial sum exceeds.

    Raises:
        UnsupportedError: Not even float64 holds them.
    """
    if limit < EXACT_FLOAT32:
        return torch.float32
    if limit < EXACT_FLOAT64:
        return torch.float64
    raise UnsupportedError(
        label,
        got=f"sums up to {limit}",
        expected=f"sums below {EXACT_FLOAT64}, which float64 holds",
        fix="Fine-tune with fewer bits, or smaller exponents.",
    )


@contextlib.contextmanager
def exact_arithmetic(device: torch.device) -> Iterator[None]:
    """With settings of torch under which integers stay integers, whatever the caller has set.

    cuDNN may choose an algorithm that rounds (Winograd, FFT), and matrix products may be allowed
    to round their factors (TF32, bfloat16).
    """
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with (
            torch.backends.cudnn.flags(enabled=False, allow_tf32=False),
            torch.autocast(device.type, enabled=False),
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(precision)


class _Convolution(torch.autograd.Function):
    """A convolution whose backward pass may be in bfloat16: gradients need no exactness."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, operator: Conv2d, fast: bool) -> Tensor:
        weight = weight.contiguous(memory_format=torch.channels_last)
        kept = (x.bfloat16(), weight.bfloat16()) if fast else (x, weight)
        ctx.save_for_backward(*kept)
        ctx.operator = operator
        ctx.dtypes = x.dtype, weight.dtype
        return functional.conv2d(
            x,
            weight,
            None,
            operator.stride,
            operator.padding,
            operator.dilation,
            operator.groups,
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        operator = ctx.operator
        by_x, by_weight, _ = torch.ops.aten.convolution_backward(
            gradients[0].to(x.dtype),
            x,
            weight,
            None,
            operator.stride,
            operator.padding,
            operator.dilation,
            False,
            (0, 0),
            operator.groups,
            (ctx.needs_input_grad[0], ctx.needs_input_grad[1], False),
        )
        result = [
            None if gradient is None else gradient.to(dtype)
            for gradient, dtype in zip((by_x, by_weight), ctx.dtypes, strict=True)
        ]
        return result[0], result[1], None, None


def apply_operator(operator: Operator, x: Tensor, weight: Tensor, *, fast: bool) -> Tensor:
    """An operator with other weights than its own.

    Args:
        operator: What is applied.
        x: (B, *input shape), integers in a float that holds all sums exactly.
        weight: Of the shape of the operator's, of x's dtype.
        fast: Whether gradients of convolutions may be computed in bfloat16.

    Returns:
        (B, *output shape).
    """
    if isinstance(operator, Conv2d):
        result: Tensor = _Convolution.apply(x, weight, operator, fast)  # type: ignore[no-untyped-call]
        return result
    if isinstance(operator, Dense):
        return functional.linear(x.flatten(1), weight)
    assert isinstance(operator, Identity)
    return x * weight


def pooled(connection: Connection, x: Tensor) -> Tensor:
    """Sums over the windows of a connection's pooling stages: (B, C, H, W) to the same."""
    for stage in connection.pool_stages:
        x = _summed(x, stage)
    return x


def _summed(x: Tensor, stage: SumPool) -> Tensor:
    if stage.dilation == (1, 1):
        return functional.avg_pool2d(
            x, stage.kernel, stage.stride, stage.padding, divisor_override=1
        )
    channels = x.shape[1]
    ones = torch.ones((channels, 1, *stage.kernel), dtype=x.dtype, device=x.device)
    return functional.conv2d(
        x, ones, None, stage.stride, stage.padding, stage.dilation, groups=channels
    )
