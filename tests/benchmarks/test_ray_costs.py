import pytest

from benchmarks import ray_costs
from tests.networks import sample_inputs, vectors

pytest.importorskip("ray", reason="Ray is not installed")


@pytest.mark.slow
def test_costs_of_a_tiny_run(monkeypatch):
    monkeypatch.setattr(ray_costs, "SMALL", 2)
    monkeypatch.setattr(ray_costs, "LARGE", 600)
    network = vectors()
    x = sample_inputs(network, 3)
    costs = ray_costs.costs(network, x, "reference", 50)
    assert costs["t"] == x[0].nbytes
    assert 0 < costs["c"] < costs["S"]
