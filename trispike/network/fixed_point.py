"""Integer arithmetic as Loihi-style hardware does it: decay, saturation, ranges.

Both sides use these functions: the quantizer, to know what it will get, and the engines, to run.
All arithmetic is done in int64, where no intermediate of a 24-bit state can overflow.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

DECAY_BITS = 12
"""Retention factors are unsigned fractions m / 2**DECAY_BITS."""

DECAY_ONE = 1 << DECAY_BITS
"""The retention factor that keeps everything (m = 4096)."""

DEFAULT_STATE_BITS = 24
"""Width of a state variable, sign included."""

IntArray = npt.NDArray[np.int64]


def state_limit(state_bits: int) -> int:
    """Largest magnitude that a signed state of ``state_bits`` bits holds.

    The range is symmetric, as in Lava's fixed-point LIF: 2**23 - 1 for 24 bits.
    """
    return (1 << (state_bits - 1)) - 1


def never(state_bits: int) -> int:
    """The threshold that no state reaches: one above :func:`state_limit`."""
    return 1 << (state_bits - 1)


def decay(z: npt.NDArray[Any], m: npt.NDArray[Any] | int) -> IntArray:
    """Multiply by m / 4096 and round toward zero: sign(z) * ((|z| * m) >> 12).

    This is the rounding of Lava's fixed-point LIF. A plain arithmetic shift would round toward
    minus infinity and pull negative states away from zero.
    """
    product = z.astype(np.int64, copy=False) * m
    # The shift alone rounds down; 4095 more below zero, and it rounds up there: toward zero.
    product += (product >> 63) & (DECAY_ONE - 1)
    return np.asarray(product >> DECAY_BITS)


def saturate(z: IntArray, state_bits: int) -> tuple[IntArray, npt.NDArray[np.bool_]]:
    """Clip to the symmetric range of a state.

    Returns:
        The clipped values, and a mask of the elements that did not fit.
    """
    limit = state_limit(state_bits)
    return np.clip(z, -limit, limit), np.abs(z) > limit
