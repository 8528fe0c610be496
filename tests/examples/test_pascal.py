"""The QCFS network of Fashion-MNIST, and the spiking network that it becomes."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

import trispike
from examples.methods import pascal
from tests.levels import level_counts
from trispike.network import IntegerNetwork
from trispike.nn import load_qcfs_checkpoint
from trispike.runtime.data import Data, load_data


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data("fashion-mnist")


def integers(images: npt.NDArray[Any]) -> IntegerNetwork:
    calibration = load_data("fashion-mnist:train", samples=256)
    network = pascal.convert(pascal.CHECKPOINT, images[:8]).network
    return trispike.quantize(network, calibration.x, calibration.y).network


def test_it_is_a_trained_network_of_its_architecture():
    assert pascal.CHECKPOINT.stat().st_size < 400_000
    model = load_qcfs_checkpoint(pascal.CHECKPOINT, pascal.ARCHITECTURE, levels=pascal.LEVELS)
    thresholds = {a.thresh.item() for a in model.activations().values()}
    assert len(thresholds) == 5
    assert pascal.THRESHOLD not in thresholds
    with torch.no_grad():
        assert model(torch.zeros(1, 1, 28, 28)).shape == (1, 10)


def test_some_test_images_are_told_alike(data):
    """The proof on 8 of them, the class of 300."""
    conversion = pascal.convert(pascal.CHECKPOINT, data.x[:8])
    assert conversion.network.steps == 5 * pascal.LEVELS
    assert conversion.proof.unexplained_mismatches == 0
    assert pascal.differing(pascal.CHECKPOINT, data.x[:300]) == 0


def test_integers_count_the_levels_of_the_quantized_network(data):
    network = integers(data.x)
    result = trispike.simulate(
        network, data.x[:20], record=dict.fromkeys(network.populations, ("s",))
    )
    for name, expected in level_counts(network, data.x[:20]).items():
        if name != network.input.name:
            counted = result.records[name]["s"].sum(1, dtype=np.int64)
            np.testing.assert_array_equal(counted, expected)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 10_000, 1_000))
def test_the_whole_test_set_is_told_as_the_trained_network_tells_it(data, first):
    assert len(data.x) == 10_000
    assert pascal.differing(pascal.CHECKPOINT, data.x[first : first + 1_000]) == 0


@pytest.mark.slow
def test_the_whole_test_set_in_integers(data):
    assert data.y is not None
    result = trispike.simulate(integers(data.x), data.x, data.y)
    assert result.ledger.samples == 10_000
    assert result.accuracy is not None
    assert result.accuracy >= 0.92
