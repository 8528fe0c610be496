"""What the tests of all adapters share: networks run freely, and every engine on one network."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

import trispike
from trispike.network import FloatNetwork
from trispike.network.dynamics import time_steps

Array: TypeAlias = npt.NDArray[Any]

ENGINES = ("reference", "fast", "onnx", "lava")


def fired(network: FloatNetwork, data: Any) -> dict[str, Any]:
    """What every population fires by itself, (T, N, *shape) by name."""
    steps = list(time_steps(network, network.input.encode(np.asarray(data), network.steps)))
    return {
        name: np.stack([step.populations[name].spikes for step in steps])
        for name in network.populations
    }


def assert_fires(network: FloatNetwork, name: str, data: Any, expected: Any) -> None:
    """A population fires what was expected, which is neither silence nor always."""
    own, expected = fired(network, data)[name], np.asarray(expected)
    assert own.shape == expected.shape
    assert expected.sum() > 20
    assert expected.mean() < 0.98
    np.testing.assert_array_equal(own, expected)


def assert_deploys(network: FloatNetwork, data: Any) -> None:
    """It quantizes, and all engines agree on it."""
    labels = np.zeros(len(data), dtype=np.int64)
    integer = trispike.quantize(network, data, labels).network
    certificate = trispike.verify(integer, data[:2], engines=ENGINES)
    assert certificate.equal, certificate.first_difference
    assert set(certificate.engines) == set(ENGINES)
