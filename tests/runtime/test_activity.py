"""Spikes of single neurons, counted in parts of any size."""

import numpy as np
import pytest

from tests.networks import CASES, sample_inputs
from trispike.runtime import ReferenceEngine, activity


@pytest.mark.parametrize("case", ["frames_encoding", "sew_addition", "recurrent"])
def test_counts_are_those_of_the_records(case, monkeypatch):
    network = CASES[case]()
    x = sample_inputs(network, 7)
    engine = ReferenceEngine(network)
    records = engine.run(x, record="all").records
    monkeypatch.setattr(activity, "RECORDED_BYTES", 1)
    done: list[int] = []
    found = activity.spike_counts(engine, x, progress=done.append)
    assert done == [1] * 7
    for name in network.populations:
        assert (found[name] == (records[name]["s"] != 0).sum(axis=0)).all()
        assert found[name].sum() > 0
    delivered = (network.input.encode(x, network.steps) != 0).sum(axis=0)
    assert (found[network.input.name] == np.broadcast_to(delivered, found["input"].shape)).all()
