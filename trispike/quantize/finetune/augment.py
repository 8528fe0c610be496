"""Augmentations of training batches, and the threads that train."""

from __future__ import annotations

import torch
from torch import Tensor

from trispike.errors import InvalidDataError

__all__ = ["mirrored", "use_threads"]


def mirrored(codes: Tensor, random: torch.Generator) -> Tensor:
    """Turn every other image, chosen at random, left to right.

    Args:
        codes: (N, ..., W), images or frames of them.
        random: Decides which.

    Raises:
        InvalidDataError: No images.
    """
    if codes.dim() < 4:
        raise InvalidDataError(
            "mirrored images",
            got=f"samples of shape {tuple(codes.shape[1:])}",
            expected="images (C, H, W), or frames of them",
            fix="Leave the augmentation out.",
        )
    turned = torch.rand(len(codes), generator=random) < 0.5
    turned = turned.reshape(-1, *(1,) * (codes.dim() - 1))
    return torch.where(turned, codes.flip(-1), codes)


def use_threads(count: int) -> None:
    """Let PyTorch use so many threads, in this process."""
    torch.set_num_threads(count)
