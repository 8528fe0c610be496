"""The ray engine on a cluster of two nodes; both are on this machine."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.networks import CASES, sample_inputs
from tests.runtime.equality import assert_equal
from tests.runtime.test_ray_engine import two_workers
from trispike.errors import EngineError
from trispike.runtime.ray_engine import session
from trispike.runtime.reference import ReferenceEngine

ray = pytest.importorskip("ray", reason="Ray is not installed")

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Two nodes with one CPU each; this program is not connected."""
    session.check_ray()
    from ray.cluster_utils import Cluster

    with session._warnings_ignored(), session._logging_off(), session._environment():
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        try:
            nodes.other = nodes.add_node(num_cpus=1)
            yield nodes
        finally:
            nodes.shutdown()


def test_a_lost_node_changes_nothing(cluster):
    """With its worker, the shards that it runs, and the parts that are on it still."""
    network = CASES["pooled_downsample"]()
    inputs = sample_inputs(network, 3000)
    reference = ReferenceEngine(network).run(inputs)
    lost: list[object] = []

    def lose(_: int) -> None:
        if not lost:
            cluster.remove_node(cluster.other, allow_graceful=False)
            lost.append(cluster.other)

    there = two_workers(network, shard_size=50, address=cluster.address)
    assert_equal(there.run(inputs, progress=lose), reference)
    assert lost
    assert not ray.is_initialized()


def test_a_cluster_that_is_gone(cluster, monkeypatch):
    monkeypatch.setattr(session, "CONNECT_SECONDS", 5)
    network = CASES["vectors"]()
    there = two_workers(network, address=cluster.address)
    cluster.shutdown()
    with pytest.raises(EngineError, match=r"Ray cluster at '.*': got .*; expected a cl"):
        there.run(sample_inputs(network, 1))
    assert not ray.is_initialized()
