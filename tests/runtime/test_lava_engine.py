"""The Lava engine equals the reference: spikes, states, logits, ledger, for everything."""

import re

import numpy as np
import pytest

from tests.networks import CASES, random_network, sample_inputs, saturation, too_fast_loop, vectors
from tests.runtime.equality import assert_equal
from trispike.errors import (
    EngineTimeoutError,
    InvalidDataError,
    SaturationError,
    UnsupportedError,
)
from trispike.network import (
    Connection,
    Dense,
    FloatNetwork,
    Input,
    Neuron,
    Population,
    Readout,
)
from trispike.runtime import lava_engine
from trispike.runtime.lava_engine import LavaEngine
from trispike.runtime.reference import ReferenceEngine

pytest.importorskip("lava", reason="Lava is not installed")


@pytest.mark.parametrize("case", CASES)
def test_equals_reference(case):
    """Five samples, streamed back to back, with every trace of every population."""
    network = CASES[case]()
    inputs = sample_inputs(network, 5)
    reference = ReferenceEngine(network).run(inputs, record="all")
    assert reference.ledger.spikes
    assert_equal(LavaEngine(network, timeout=60).run(inputs, record="all"), reference)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_random_networks(seed):
    """More of them run without Lava in tests/targets/lava/test_program.py."""
    network = random_network(seed)
    inputs = sample_inputs(network, 4, seed)
    reference = ReferenceEngine(network).run(inputs, record="all")
    assert_equal(LavaEngine(network, timeout=60).run(inputs, record="all"), reference)


@pytest.mark.parametrize("samples", [0, 1])
def test_few_samples(samples):
    network = vectors()
    inputs = sample_inputs(network, samples)
    reference = ReferenceEngine(network).run(inputs, record="all")
    assert_equal(LavaEngine(network, timeout=60).run(inputs, record="all"), reference)


def test_several_runs_of_the_chip(monkeypatch):
    """More samples than fit into the shared memory: the last run is shorter than the others."""
    network = vectors()
    inputs = sample_inputs(network, 23)
    reference = ReferenceEngine(network).run(inputs, record="all")
    size = lava_engine._bytes_per_sample(network, dict.fromkeys(network.populations, "sicv"))
    monkeypatch.setattr(lava_engine, "MEMORY_BYTES", 7 * size)
    assert_equal(LavaEngine(network, timeout=60).run(inputs, record="all"), reference)


@pytest.mark.slow
def test_resnet19_at_full_width():
    """64 samples, all of them equal to the fast engine, and the first ones to the reference."""
    torch = pytest.importorskip("torch")
    fast = pytest.importorskip("trispike.runtime.fast", reason="numba is not installed")
    from trispike.export import trace
    from trispike.nn import build_model, randomize
    from trispike.quantize import quantize

    torch.manual_seed(0)
    model = build_model("ctsn-resnet19", steps=4)
    randomize(model)
    data = np.random.default_rng(0).normal(size=(64, 3, 32, 32)).astype(np.float32)
    network = quantize(trace(model.eval(), (3, 32, 32), steps=4).network, data[:2]).network
    finished: list[int] = []
    result = LavaEngine(network, timeout=280).run(data, progress=finished.append)
    assert_equal(result, fast.FastEngine(network).run(data))
    first = ReferenceEngine(network).run(data[:2])
    np.testing.assert_array_equal(result.step_logits[:2], first.step_logits)
    assert sum(finished) == 64
    assert len(finished) > 10  # it is told while they stream, not at the end
    assert min(result.ledger.firing_rate(name) for name in network.populations) > 0.01


def test_records_what_was_asked_for():
    network = vectors()
    inputs = sample_inputs(network, 3)
    wanted = {"second": ["v", "s"], "first": ["i"]}
    reference = ReferenceEngine(network).run(inputs, record=wanted)
    assert_equal(LavaEngine(network, timeout=60).run(inputs, record=wanted), reference)


def test_labels_and_progress():
    network = vectors()
    inputs = sample_inputs(network, 12)
    labels = ReferenceEngine(network).run(inputs).predictions
    finished: list[int] = []
    result = LavaEngine(network, timeout=60).run(inputs, labels, progress=finished.append)
    assert result.accuracy == 1.0
    assert sum(finished) == 12
    assert result.records == {}
    assert result.engine == "lava"
    assert result.seconds > 0


def test_strict_mode_raises_as_the_reference_does():
    network = saturation()
    inputs = sample_inputs(network, 1)
    with pytest.raises(SaturationError) as expected:
        ReferenceEngine(network, strict=True).run(inputs)
    with pytest.raises(SaturationError, match=re.escape(str(expected.value))):
        LavaEngine(network, strict=True, timeout=60).run(inputs)


def test_strict_mode_lets_pass_what_fits():
    network = vectors()
    inputs = sample_inputs(network, 3)
    reference = ReferenceEngine(network, strict=True).run(inputs)
    assert_equal(LavaEngine(network, strict=True, timeout=60).run(inputs), reference)


def test_timeout():
    network = vectors()
    with pytest.raises(EngineTimeoutError, match="wall-clock limit"):
        LavaEngine(network, timeout=0.05).run(sample_inputs(network, 1))


def test_refuses_a_loop_that_is_too_fast():
    network = too_fast_loop()
    with pytest.raises(UnsupportedError, match=r"back->go \(delay 1\)"):
        LavaEngine(network)


def test_refuses_a_float_network():
    last = Connection(sources=("a",), target="readout", operator=Dense(weight=np.ones((2, 4))))
    network = FloatNetwork(
        input=Input(shape=(4,)),
        populations={"a": Population(shape=(4,), neuron=Neuron())},
        connections=(),
        readout=Readout(connections=(last,), bias=np.zeros(2), weights=np.ones(4)),
        steps=4,
    )
    with pytest.raises(UnsupportedError, match="a float network"):
        LavaEngine(network)


def test_refuses_data_that_does_not_fit():
    network = vectors()
    with pytest.raises(InvalidDataError):
        LavaEngine(network).run(np.zeros((3, 4)))
    with pytest.raises(InvalidDataError):
        LavaEngine(network).run(sample_inputs(network, 2), labels=np.zeros(3, int))
    with pytest.raises(InvalidDataError):
        LavaEngine(network).run(sample_inputs(network, 2), record={"nothing": ["s"]})
