"""The torch path of the fast engine, run on the processor: a GPU runs the same operations."""

import numpy as np
import pytest

from tests.networks import (
    CASES,
    as_float,
    random_network,
    sample_inputs,
    saturation,
    too_fast_loop,
)
from tests.runtime.equality import assert_equal
from trispike.errors import InvalidSettingError, SaturationError, UnsupportedError
from trispike.network import Connection, Dense, Input, IntegerNetwork, Network, Readout
from trispike.runtime.reference import ReferenceEngine

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("numba", reason="numba is not installed")

from trispike.runtime.fast import FastEngine

ALL = {**CASES, "too_fast_loop": too_fast_loop}


def assert_equals_reference(network: Network, samples: int = 3) -> None:
    x = sample_inputs(network, samples)
    expected = ReferenceEngine(network).run(x, record="all")
    got = FastEngine(network, device="cpu").run(x, record="all")
    assert_equal(got, expected)


@pytest.mark.parametrize("case", ALL)
def test_equals_reference(case):
    assert_equals_reference(ALL[case]())


@pytest.mark.parametrize("seed", range(20))
def test_random_networks(seed):
    assert_equals_reference(random_network(seed))


@pytest.mark.parametrize("case", ["groups", "chained_pool", "recurrent", "soft_reset", "vectors"])
def test_float_networks_spike_alike(case):
    network = as_float(CASES[case]())
    x = sample_inputs(network, 3)
    expected = ReferenceEngine(network).run(x, record="all")
    got = FastEngine(network, device="cpu").run(x, record="all")
    assert got.ledger.differences(expected.ledger) == []
    for name, traces in expected.records.items():
        np.testing.assert_array_equal(got.records[name]["s"], traces["s"], name)
        np.testing.assert_allclose(got.records[name]["v"], traces["v"], rtol=1e-9, atol=1e-9)


def test_strict_names_the_first_violation():
    network = saturation()
    x = sample_inputs(network, 1)
    with pytest.raises(SaturationError) as expected:
        ReferenceEngine(network, strict=True).run(x)
    with pytest.raises(SaturationError) as got:
        FastEngine(network, strict=True, device="cpu").run(x)
    assert str(got.value) == str(expected.value)


@pytest.mark.parametrize("name", ["no such device", "cuda:99", "meta", ""])
def test_devices_that_torch_does_not_have(name):
    with pytest.raises(InvalidSettingError, match="device") as error:
        FastEngine(CASES["vectors"](), device=name)
    assert "Leave it out" in str(error.value)


def test_sums_beyond_float64_are_refused():
    weight = np.full((1, 8_600_000), 127, np.int8)
    sums = Connection(
        sources=("input",), target="readout", operator=Dense(weight=weight), exponent=16
    )
    network = IntegerNetwork(
        input=Input(shape=(8_600_000,), scale=1.0),
        populations={},
        connections=(),
        readout=Readout(connections=(sums,), bias=np.zeros(1, int), weights=np.ones(1, int)),
        steps=1,
    )
    with pytest.raises(UnsupportedError, match=r"input->readout on cpu.*float64 holds"):
        FastEngine(network, device="cpu")
    x = np.full((1, 8_600_000), 127)
    result = FastEngine(network).run(x)
    assert result.logits[0, 0] == (127 * 127 * 8_600_000) << 16


def test_too_little_memory_for_one_sample_is_refused():
    with pytest.raises(InvalidSettingError, match=r"at least [1-9]"):
        FastEngine(saturation(), device="cpu", memory=8)
