"""The true data sets, from the true packages."""

import hashlib
import shutil

import numpy as np
import pytest

from trispike.runtime.data import load_data

pytestmark = pytest.mark.slow

TENTH = 10 * [1000]

# The means and deviations are those that everyone normalizes with; the counts and first classes
# are in every description of these data.
SETS = {
    "fashion-mnist": {
        "mean": [0.2860],
        "std": [0.3530],
        "test": (TENTH, [9, 2, 1, 1, 6, 1, 4, 6, 5, 7], "ffc7351ed0f8bae5", "0e65cd3713adf40e"),
        "train": (
            10 * [6000],
            [9, 0, 0, 3, 0, 2, 7, 2, 5, 5],
            "5bd44e331a6d6998",
            "489c477715bd5275",
        ),
    },
    "mnist": {
        "mean": [0.1307],
        "std": [0.3081],
        "test": (
            [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
            [7, 2, 1, 0, 4, 1, 4, 9, 5, 9],
            "8f6a418c9a639f9e",
            "bdf9356b0cf6b1ae",
        ),
        "train": (
            [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
            [5, 0, 4, 1, 9, 2, 1, 3, 1, 4],
            "23ceaef5eb61f0e7",
            "a4d26ec9c55ad383",
        ),
    },
    "cifar10": {
        "mean": [0.4914, 0.4822, 0.4465],
        "std": [0.2470, 0.2435, 0.2616],
        "test": (TENTH, [3, 8, 8, 0, 6, 6, 1, 6, 3, 1], "73eefb0106f2b7a2", "3f1313e424fe403a"),
        "train": (
            10 * [5000],
            [6, 9, 9, 4, 1, 1, 2, 7, 8, 3],
            "e052de7deb775f78",
            "11aa7f707e504e57",
        ),
    },
}
SHAPES = {"fashion-mnist": (1, 28, 28), "mnist": (1, 28, 28), "cifar10": (3, 32, 32)}


@pytest.fixture(autouse=True, scope="module")
def _one_cache(tmp_path_factory):
    """What was fetched for one part is there for the other one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRISPIKE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def cache():
    """Not the one of each test."""


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("name", SETS)
def test_a_data_set_is_what_it_should_be(name, part):
    client = "apt-get" if name == "fashion-mnist" else "npm"
    if shutil.which(client) is None:
        pytest.skip(f"no {client} here")
    counts, first, first_sha, last_sha = SETS[name][part]
    data = load_data(f"{name}:{part}")
    assert data.x.shape == (sum(counts), *SHAPES[name])
    assert data.y is not None
    assert data.x.dtype == np.float32
    assert data.y.dtype == np.int64
    assert (data.x.min(), data.x.max()) == (0, 1)
    assert np.bincount(data.y).tolist() == counts
    assert data.y[:10].tolist() == first
    for image, sha in ((data.x[0], first_sha), (data.x[-1], last_sha)):
        pixels = np.rint(image * 255).astype(np.uint8)
        assert hashlib.sha256(pixels.tobytes()).hexdigest().startswith(sha)
    if part == "train":
        mean, std = (
            getattr(data.x, which)(axis=(0, 2, 3), dtype=np.float64) for which in ("mean", "std")
        )
        np.testing.assert_allclose(mean, SETS[name]["mean"], atol=6e-5)
        np.testing.assert_allclose(std, SETS[name]["std"], atol=6e-5)
