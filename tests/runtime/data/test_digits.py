import hashlib
import sys

import numpy as np
import pytest

from trispike.errors import MissingDependencyError
from trispike.runtime.data import load_digits_split


def test_the_digits_split_is_fixed_stratified_and_disjoint():
    split = load_digits_split()
    assert (split.train.x.shape, split.test.x.shape) == ((1438, 1, 8, 8), (359, 1, 8, 8))
    for samples in split:
        assert samples.x.dtype == np.float32
        assert samples.y.dtype == np.int64
        assert (float(samples.x.min()), float(samples.x.max())) == (0.0, 1.0)
        np.testing.assert_array_equal(samples.x * 16, np.round(samples.x * 16))
    shares = np.bincount(split.test.y) / (np.bincount(split.test.y) + np.bincount(split.train.y))
    np.testing.assert_allclose(shares, 0.2, atol=0.005)
    # The demo's accuracy is measured on these very samples.
    assert hashlib.sha256(split.test.x.tobytes() + split.test.y.tobytes()).hexdigest() == (
        "f356e12de88fe35f1f5852c983c1a39425b7acf408f02a3c77c30ff4bfc6cad0"
    )
    seen = {sample.tobytes() for sample in split.train.x}
    assert sum(sample.tobytes() in seen for sample in split.test.x) == 0


def test_without_scikit_learn_the_command_that_mends_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingDependencyError, match="pip install scikit-learn"):
        load_digits_split()
