"""What happened in every single sample, counted from the codes of its spikes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from trispike.runtime.fast.layout import Array, to_layout
from trispike.runtime.fast.workers import Workers
from trispike.runtime.sample_counts import SampleCounter

SILENCE = 1
"""Code of a neuron that does not fire."""


def reach_of(counter: SampleCounter, name: str) -> Array:
    """(R, E), int32, in layout: the weights of ``counter.rows``."""
    shape = counter.network.shape_of(name)
    rows = [row.weights.reshape(shape) for row in counter.rows(name)]
    return np.array([to_layout(row, 0).reshape(-1) for row in rows], np.int32)


def count_codes(codes: Array, reach: Array, workers: Workers) -> Array:
    """Spikes of every sample, and what they meet.

    Args:
        codes: (T, N, E): spikes as the neurons write them.
        reach: As :func:`reach_of` gives it.
        workers: What parts of the batch are given to.

    Returns:
        (R, N, T), as ``SampleCounter.add_counted`` takes it.
    """
    steps, samples, _ = codes.shape
    counts = np.empty((len(reach), samples, steps), np.int64)
    # So many neurons at a time that their sum fits into 32 bits, which are added faster.
    block = max(1, np.iinfo(np.int32).max // max(1, int(reach.max(initial=1))))
    workers.over(samples, lambda first, end: _count(codes, reach, block, (first, end), counts))
    return counts


@njit(nogil=True, cache=True, error_model="numpy")
def _count(codes: Any, reach: Any, block: Any, window: Any, counts: Any) -> None:
    """Sum the rows of ``reach`` over the neurons that fire.

    Args:
        codes: (T, N, E).
        reach: (R, E), int32.
        block: So many of a row have a sum of 32 bits.
        window: First sample, and end.
        counts: (R, N, T), written.
    """
    rows, size = reach.shape
    for n in range(window[0], window[1]):
        for t in range(len(codes)):
            for row in range(rows):
                total = np.int64(0)
                for start in range(0, size, block):
                    stop = min(start + block, size)
                    code, weights = codes[t, n, start:stop], reach[row, start:stop]
                    part = np.int32(0)
                    for e in range(stop - start):
                        part = np.int32(part + np.int32(weights[e] * np.int32(code[e] != SILENCE)))
                    total += np.int64(part)
                counts[row, n, t] = total
