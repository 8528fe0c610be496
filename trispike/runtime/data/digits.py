"""scikit-learn's handwritten digits, in a fixed split."""

from __future__ import annotations

import numpy as np

from trispike.errors import MissingDependencyError
from trispike.runtime.data.samples import Samples, Split

DIGITS_SPLIT_SEED = 2026
"""Seed of the fixed split of the digits."""

DIGITS_TEST_FRACTION = 0.2
"""Share of every class that is held out: 359 of 1797 samples."""


def load_digits_split() -> Split:
    """scikit-learn's handwritten digits, 8x8, in a fixed split stratified by class.

    Inputs are (N, 1, 8, 8) in steps of 1/16 from 0 to 1. The split depends on
    ``DIGITS_SPLIT_SEED`` only: of every class, a shuffled fifth is held out.

    Raises:
        MissingDependencyError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits  # noqa: PLC0415 - optional
    except ImportError as error:
        raise MissingDependencyError(
            "data set 'digits'",
            got=str(error),
            expected="scikit-learn, which brings it",
            fix="Install it with: pip install scikit-learn",
        ) from error
    x, y = load_digits(return_X_y=True)
    x = (x.reshape(-1, 1, 8, 8) / 16).astype(np.float32)
    y = y.astype(np.int64)
    # The legacy generator, because NumPy promises that its stream never changes.
    random = np.random.RandomState(DIGITS_SPLIT_SEED)
    test = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        members = random.permutation(np.flatnonzero(y == label))
        test[members[: round(DIGITS_TEST_FRACTION * len(members))]] = True
    return Split(Samples(x[~test], y[~test]), Samples(x[test], y[test]))
