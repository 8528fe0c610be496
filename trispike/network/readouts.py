"""Which time steps a readout averages over: all of them, the last one, or chosen ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.errors import InvalidNetworkError, InvalidSettingError
from trispike.network.arrays import whole_number

__all__ = ["ReadoutSteps", "readout_steps", "readout_weights"]

ReadoutSteps: TypeAlias = "str | Sequence[int]"
"""``"mean"``, ``"last"``, or the chosen steps, counted from 0: (1, 3), or ``"1,3"``."""


def readout_steps(readout: ReadoutSteps, steps: int) -> tuple[int, ...]:
    """The steps that a readout averages over, in order.

    Args:
        readout: ``"mean"``, ``"last"``, or chosen steps.
        steps: T.

    Raises:
        InvalidSettingError: No step, one that is none of 0..T-1, or one given twice.
    """
    if readout == "mean":
        return tuple(range(steps))
    if readout == "last":
        return (steps - 1,)
    given = readout.split(",") if isinstance(readout, str) else readout
    chosen = [_step(part, steps, readout) for part in given]
    if not chosen or len(set(chosen)) < len(chosen):
        raise _refused(readout, steps)
    return tuple(sorted(chosen))


def readout_weights(readout: ReadoutSteps, steps: int) -> npt.NDArray[np.float64]:
    """Weight of each time step, (T,): equal ones for the chosen steps, which add up to 1.

    Raises:
        InvalidSettingError: As :func:`readout_steps`.
    """
    chosen = readout_steps(readout, steps)
    weights = np.zeros(steps)
    weights[list(chosen)] = 1.0 / len(chosen)
    return weights


def _step(given: Any, steps: int, readout: ReadoutSteps) -> int:
    if isinstance(given, str):
        given = int(given) if given.strip().isdecimal() else -1
    try:
        number = whole_number("step", given, 0, steps - 1)
    except InvalidNetworkError as error:
        raise _refused(readout, steps) from error
    return number


def _refused(readout: ReadoutSteps, steps: int) -> InvalidSettingError:
    return InvalidSettingError(
        "readout",
        got=repr(readout),
        expected=f"mean, last, or different time steps out of 0..{steps - 1}, such as 1,3",
        fix="Steps are counted from 0; choose among those that the network has.",
    )
