import numpy as np
import pytest

from tests.networks import vectors
from trispike.network import digest
from trispike.runtime.recording import RecordedRun

pytest.importorskip("matplotlib", reason="matplotlib is not installed")


@pytest.fixture(scope="session")
def network():
    return vectors()


@pytest.fixture
def recording(network):
    """Two samples and five steps by hand: "first" (12,) with s and v, "map" (2, 3, 2) with s."""
    rng = np.random.default_rng(0)
    spikes = np.zeros((2, 5, 12), np.int8)
    spikes[0, 1, 7] = spikes[0, 3, 7] = spikes[0, 2, 2] = spikes[1, 0, 4] = 1
    spikes[0, 2, 7] = spikes[0, 4, 9] = -1
    return RecordedRun(
        records={
            "first": {"s": spikes, "v": rng.integers(-90_000, 90_000, (2, 5, 12))},
            "map": {"s": rng.integers(-1, 2, (2, 5, 2, 3, 2)).astype(np.int8)},
        },
        network_sha256=digest(network),
        kind="integer",
        engine="reference",
        data="some data",
        predictions=np.array([3, 1]),
        labels=np.array([2, 1]),
    )
