"""Rounding rows of weights so that their sums stay right, not each weight by itself.

The error of a row's current is ``d . H . d``, with d the error of the weights and H the mean
product of the inputs. Nearest rounding minimises every element of d; what counts is the sum, in
which errors of weights whose inputs fire together can cancel.

:func:`compensated` rounds column by column, and moves what remains of each error into the columns
to come (Frantar et al. 2023, GPTQ, arXiv 2210.17323, there from Optimal Brain Surgeon).
:func:`descended` changes single integers as long as that helps, so it never ends above its start.

All arrays have a leading axis of channel groups: (G, R, K) weights, (G, K, K) correlations, and
steps (G, R, K) by which an integer is multiplied.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]

DAMPING = 0.01
"""Share of the mean square of the inputs that is added to the diagonal: what inputs do that
calibration did not show. Also makes the matrix invertible."""

_BLOCK = 64
"""Columns that are treated before the others hear of it; for speed only."""

_SWEEPS = 16
"""Rounds of descent after which it ends, changed or not."""

_TIE = 0.5 + 1e-9


def damped(correlation: Array) -> Array:
    """A correlation with a firm diagonal.

    Args:
        correlation: (G, K, K), symmetric, not negative.
    """
    columns = correlation.shape[1]
    mean = np.trace(correlation, axis1=1, axis2=2) / columns
    # Where nothing ever arrived, every rounding is as good as the nearest one.
    ridge = np.where(mean > 0, DAMPING * mean, 1.0)
    return np.asarray(correlation + ridge[:, None, None] * np.eye(columns))


def nearest(weight: Array, step: Array, top: Array) -> Array:
    """The nearest integers, clipped to magnitudes of ``top`` (K,)."""
    return np.clip(np.rint(weight / step), -top, top)


def row_errors(errors: Array, correlation: Array) -> Array:
    """(G, R): mean square of the current that errors of the weights make.

    Args:
        errors: (G, R, K).
        correlation: (G, K, K), or its diagonal (G, K).
    """
    if correlation.ndim == 2:
        return np.asarray((errors**2 * correlation[:, None]).sum(axis=2))
    return np.asarray(((errors @ correlation) * errors).sum(axis=2))


class Compensation:
    """What :func:`compensated` needs of a correlation: the costly part, once.

    Columns with the strongest inputs come first, when all others can still make up for them.

    Args:
        correlation: (G, K, K), positive definite; see :func:`damped`.
    """

    def __init__(self, correlation: Array) -> None:
        diagonal = np.diagonal(correlation, axis1=1, axis2=2)
        self.order = np.argsort(-diagonal, axis=1, kind="stable")
        """(G, K): the columns in the order of their rounding."""
        along, across = self.order[:, :, None], self.order[:, None, :]
        ordered = np.take_along_axis(np.take_along_axis(correlation, along, 1), across, 2)
        self.factor = np.linalg.cholesky(np.linalg.inv(ordered)).transpose(0, 2, 1)
        """(G, K, K), upper: row j says how an error in column j is spread over those after it."""


def compensated(weight: Array, by: Compensation, step: Array, top: Array) -> Array:
    """Integers whose rounding errors cancel as far as the order of the columns lets them.

    Args:
        weight: (G, R, K).
        by: From the correlation.
        step: (G, R, K).
        top: (K,) largest magnitude.
    """
    columns, factor = weight.shape[2], by.factor
    across = by.order[:, None, :]
    rest = np.take_along_axis(weight, across, axis=2)
    step = np.take_along_axis(step, across, axis=2)
    limit = top[by.order][:, None, :]
    result = np.empty_like(rest)
    for start in range(0, columns, _BLOCK):
        stop = min(start + _BLOCK, columns)
        moved = np.empty((*rest.shape[:2], stop - start))
        for j in range(start, stop):
            result[:, :, j] = nearest(rest[:, :, j], step[:, :, j], limit[:, :, j])
            error = rest[:, :, j] - result[:, :, j] * step[:, :, j]
            error /= factor[:, j, j][:, None]
            moved[:, :, j - start] = error
            rest[:, :, j:stop] -= error[:, :, None] * factor[:, None, j, j:stop]
        rest[:, :, stop:] -= moved @ factor[:, start:stop, stop:]
    return np.take_along_axis(result, np.argsort(by.order, axis=1)[:, None, :], axis=2)


def descended(integers: Array, weight: Array, correlation: Array, step: Array, top: Array) -> Array:
    """Integers from which no change of a single one lowers the error, or as near as time allows.

    Args:
        integers: (G, R, K), where to start.
        weight: (G, R, K).
        correlation: (G, K, K) with a positive diagonal.
        step: (G, R, K).
        top: (K,) largest magnitude.
    """
    integers = integers.copy()
    slope = (integers * step - weight) @ correlation
    diagonal = np.diagonal(correlation, axis1=1, axis2=2)
    columns = weight.shape[2]
    for _ in range(_SWEEPS):
        changes = 0
        for start in range(0, columns, _BLOCK):
            stop = min(start + _BLOCK, columns)
            inside = slice(start, stop)
            local = slope[:, :, inside].copy()
            moved = np.zeros_like(local)
            for j in range(start, stop):
                now = integers[:, :, j]
                best = now - local[:, :, j - start] / (diagonal[:, j, None] * step[:, :, j])
                best = np.clip(best, -top[j], top[j])
                new = np.where(np.abs(best - now) > _TIE, np.rint(best), now)
                difference = (new - now) * step[:, :, j]
                if not difference.any():
                    continue
                changes += int(np.count_nonzero(difference))
                integers[:, :, j] = new
                moved[:, :, j - start] = difference
                local += difference[:, :, None] * correlation[:, None, j, inside]
            if moved.any():
                slope += moved @ correlation[:, inside, :]
        if not changes:
            break
    return integers
