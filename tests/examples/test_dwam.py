"""The demonstration of plasticity: its network, its damages, one short experiment."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import trispike
from examples.methods import dwam
from trispike.network.learning import plastic
from trispike.runtime.data import Samples


@pytest.fixture(scope="module")
def data():
    return dwam.METHOD.samples()


@pytest.fixture(scope="module")
def network(data):
    train, test = data
    floats = dwam.METHOD.convert(dwam.METHOD.checkpoint, test.x[:8]).network
    return trispike.quantize(floats, train.x[:64], train.y[:64]).network


def test_the_trained_network_reads_digits(network, data):
    _, test = data
    assert dwam.figures(network, test.x, test.y).accuracy > 0.93


def test_the_deployed_network_learns(network, data):
    deployed = dwam.METHOD.deploy(network, data[0])
    assert list(plastic(deployed)) == ["input->first", "first->second"]
    weights = trispike.simulate(deployed, data[1].x[:3]).weights
    for label, connection in plastic(deployed).items():
        assert (weights[label] != connection.operator.weight.astype(int) << 8).any()


def test_damages(network):
    random = np.random.default_rng(0)
    weight = network.connections[1].operator.weight.astype(int)
    half = dwam.scaled(0.5)(network, random).connections[1].operator.weight
    np.testing.assert_array_equal(half, np.rint(weight / 2))
    cut = dwam.pruned(0.6)(network, random).connections[1].operator.weight
    assert 0.5 < (cut[weight != 0] == 0).mean() < 0.7
    np.testing.assert_array_equal(cut[cut != 0], weight[cut != 0])
    assert len({damage.name for damage in dwam.DAMAGES}) == len(dwam.DAMAGES)


def test_an_experiment_has_a_row_for_every_rule(network, data):
    train, test = data
    few = Samples(test.x[:20], test.y[:20])
    damage = next(d for d in dwam.DAMAGES if d.name == "weights x 0.5")
    found = dwam.experiment(network, train, few, damage, seed=0, seen=12)
    assert list(found) == [dwam.UNTOUCHED, *dwam.RULES]
    strong = found["homeostatic, eta -0.03"]
    assert strong.rate > found[dwam.UNTOUCHED].rate
