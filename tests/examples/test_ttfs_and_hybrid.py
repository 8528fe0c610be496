"""The trained TTFS and hybrid networks are what the examples say, and fire as they should."""

from __future__ import annotations

import pytest

import trispike
from examples.methods import hybrid, ttfs
from examples.methods.common import Method


@pytest.mark.parametrize(("method", "least"), [(ttfs.METHOD, 0.97), (hybrid.METHOD, 0.97)],
                         ids=["ttfs", "hybrid"])  # fmt: skip
def test_the_integer_network_is_as_accurate_as_stated(method: Method, least: float):
    assert method.checkpoint.stat().st_size < 400_000
    train, test = method.samples()
    conversion = method.convert(method.checkpoint, test.x[:8])
    assert conversion.proof.unexplained_mismatches == 0
    integer = trispike.quantize(conversion.network, train.x[:256], train.y[:256]).network
    run = trispike.simulate(integer, test.x, test.y)
    assert run.accuracy is not None
    assert run.accuracy >= least
    certificate = trispike.verify(integer, test.x[:4], engines=("reference", "fast"))
    assert certificate.equal
    for name, counts in run.ledger.populations.items():
        neuron = integer.populations[name].neuron
        if neuron.fire_once:
            assert counts.spikes_positive.sum() <= counts.neurons * len(test.y)
    signed = [bool(c.spikes_negative.any()) for c in run.ledger.populations.values()]
    kinds = hybrid.KINDS["hybrid"]
    expected = [False] * 5 if method is ttfs.METHOD else [kind == "ctsn" for kind in kinds]
    assert signed == expected
