"""The ONNX engine equals the reference: spikes, states, logits, ledger, for everything."""

import re
import sys
from functools import cache

import numpy as np
import pytest

import trispike
from tests.networks import (
    CASES,
    as_float,
    random_network,
    sample_inputs,
    saturation,
    too_fast_loop,
    vectors,
)
from tests.runtime.equality import assert_equal
from trispike.errors import (
    EngineError,
    InvalidDataError,
    InvalidSettingError,
    MissingDependencyError,
    SaturationError,
)
from trispike.network import IntegerNetwork
from trispike.runtime import onnx_engine
from trispike.runtime.data import load_digits_split
from trispike.runtime.engines import build_engine, engine_version
from trispike.runtime.onnx_engine import OnnxEngine
from trispike.runtime.reference import ReferenceEngine
from trispike.runtime.verify import verify

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

ALL = {**CASES, "too_fast_loop": too_fast_loop}


@pytest.mark.parametrize("carrier", ["float32", "int8"])
@pytest.mark.parametrize("case", ALL)
def test_equals_reference(case, carrier):
    """Five samples in two batches, with every trace of every population."""
    network = ALL[case]()
    inputs = sample_inputs(network, 5)
    reference = ReferenceEngine(network).run(inputs, record="all")
    assert reference.ledger.spikes
    engine = OnnxEngine(network, carrier=carrier, batch_size=3, threads=1)
    assert_equal(engine.run(inputs, record="all"), reference)


@pytest.mark.parametrize("seed", range(12))
def test_random_networks(seed):
    network = random_network(seed)
    inputs = sample_inputs(network, 4, seed)
    reference = ReferenceEngine(network).run(inputs, record="all")
    carrier = ("float32", "int8")[seed % 2]
    assert_equal(
        OnnxEngine(network, carrier=carrier, threads=1).run(inputs, record="all"), reference
    )


@pytest.mark.parametrize("case", ALL)
def test_float_networks(case):
    """Spikes and counts are equal; sums may differ in the last bits, added in another order."""
    network = as_float(ALL[case]())
    inputs = sample_inputs(network, 4)
    reference = ReferenceEngine(network).run(inputs, record="all")
    result = OnnxEngine(network, threads=1).run(inputs, record="all")
    assert result.ledger.differences(reference.ledger) == []
    # A few hundred terms, each rounded to 2**-53 of sums that are some thousand times larger
    # than what remains of them.
    np.testing.assert_allclose(result.logits, reference.logits, rtol=1e-9, atol=1e-9)
    for name, traces in reference.records.items():
        np.testing.assert_array_equal(result.records[name]["s"], traces["s"])
        for trace in "icv":
            got = result.records[name][trace]
            assert got.dtype == np.float64
            np.testing.assert_allclose(got, traces[trace], rtol=1e-9, atol=1e-9)


@cache
def _demo() -> tuple[trispike.FloatNetwork, IntegerNetwork]:
    split = load_digits_split()
    path = trispike.__path__[0] + "/demo/ctsn_digits.pth"
    module = trispike.load_checkpoint(path, "ctsn-resnet8", steps=4)
    network = trispike.convert(module, split.test.x[:1]).network
    quantized = trispike.quantize(network, split.train.x[:64], split.train.y[:64]).network
    return network, quantized


def test_digits():
    """Predictions on the whole test set, every spike and state on a sample."""
    _, network = _demo()
    x, y = load_digits_split().test
    engine, trusted = OnnxEngine(network, threads=1), ReferenceEngine(network)
    result, reference = engine.run(x, y), trusted.run(x, y)
    assert_equal(result, reference)
    assert result.accuracy == reference.accuracy
    assert result.accuracy is not None
    assert result.accuracy > 0.95
    assert_equal(engine.run(x[:8], record="all"), trusted.run(x[:8], record="all"))


def test_digits_in_float():
    network, _ = _demo()
    x, y = load_digits_split().test
    result, reference = OnnxEngine(network, threads=1).run(x, y), ReferenceEngine(network).run(x, y)
    assert result.ledger.differences(reference.ledger) == []
    np.testing.assert_array_equal(result.predictions, reference.predictions)


def test_verify():
    network = vectors()
    certificate = verify(network, sample_inputs(network, 3), ("reference", "onnx"))
    assert certificate.equal
    assert certificate.engines["onnx"] == engine_version("onnx")
    assert re.fullmatch(r"onnxruntime \d+\.\d+.*", engine_version("onnx"))


@pytest.mark.parametrize("samples", [0, 1])
def test_few_samples(samples):
    network = vectors()
    inputs = sample_inputs(network, samples)
    reference = ReferenceEngine(network).run(inputs, record="all")
    assert_equal(OnnxEngine(network, threads=1).run(inputs, record="all"), reference)


def test_records_what_was_asked_for():
    network = vectors()
    inputs = sample_inputs(network, 3)
    wanted = {"second": ["v", "s"], "first": ["i"]}
    reference = ReferenceEngine(network).run(inputs, record=wanted)
    engine = OnnxEngine(network, threads=1)
    assert_equal(engine.run(inputs, record=wanted), reference)
    assert engine.run(inputs).records == {}


def test_labels_and_progress():
    network = vectors()
    inputs = sample_inputs(network, 12)
    labels = ReferenceEngine(network).run(inputs).predictions
    finished: list[int] = []
    engine = build_engine("onnx", network, batch_size=5)
    result = engine.run(inputs, labels, progress=finished.append)
    assert result.accuracy == 1.0
    assert finished == [4, 4, 4]
    assert result.engine == engine.name == "onnx"
    assert result.seconds > 0


def test_strict_mode_raises_as_the_reference_does():
    network = saturation()
    inputs = sample_inputs(network, 3)
    with pytest.raises(SaturationError) as expected:
        ReferenceEngine(network, strict=True).run(inputs)
    with pytest.raises(SaturationError, match=re.escape(str(expected.value))):
        OnnxEngine(network, strict=True, threads=1).run(inputs)


@pytest.mark.parametrize("setting", [{"batch_size": 0}, {"threads": 0}])
def test_settings_below_one(setting):
    with pytest.raises(InvalidSettingError, match="at least 1"):
        OnnxEngine(vectors(), **setting)


def test_refuses_data_that_does_not_fit():
    network = vectors()
    engine = OnnxEngine(network, threads=1)
    with pytest.raises(InvalidDataError):
        engine.run(np.zeros((3, 4)))
    with pytest.raises(InvalidDataError):
        engine.run(sample_inputs(network, 2), labels=np.zeros(3, int))
    with pytest.raises(InvalidDataError):
        engine.run(sample_inputs(network, 2), record={"nothing": ["s"]})


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_missing_package(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'trispike\[onnx\]'"):
        OnnxEngine(vectors())


def test_models_that_are_too_large(monkeypatch):
    monkeypatch.setattr(onnx_engine, "PROTOBUF_LIMIT", 1000)
    with pytest.raises(EngineError, match="at most 1,000"):
        OnnxEngine(vectors())


def test_a_failure_of_onnxruntime_is_an_engine_error(monkeypatch):
    engine = OnnxEngine(vectors(), threads=1)
    monkeypatch.setattr(engine, "carrier", "float64")  # not what the model takes
    with pytest.raises(EngineError, match="onnxruntime"):
        engine.run(sample_inputs(vectors(), 1))
