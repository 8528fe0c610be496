"""The ONNX engine equals the reference: spikes, states, logits, ledger, for everything."""

import re

import numpy as np
import pytest

from tests.networks import CASES, random_network, sample_inputs, saturation, too_fast_loop, vectors
from trispike.errors import InvalidDataError, InvalidSettingError, SaturationError
from trispike.runtime import Result
from trispike.runtime.engines import build_engine, engine_version
from trispike.runtime.onnx_engine import OnnxEngine
from trispike.runtime.reference import ReferenceEngine
from trispike.runtime.verify import verify

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

ALL = {**CASES, "too_fast_loop": too_fast_loop}


def assert_equal(onnx: Result, reference: Result) -> None:
    """Everything that a result holds, except time and name."""
    assert onnx.ledger.differences(reference.ledger) == []
    for name in ("step_logits", "logits", "predictions"):
        np.testing.assert_array_equal(getattr(onnx, name), getattr(reference, name), name)
        assert getattr(onnx, name).dtype == getattr(reference, name).dtype
    assert onnx.scale == reference.scale
    assert {n: set(r) for n, r in onnx.records.items()} == {
        n: set(r) for n, r in reference.records.items()
    }
    for name, traces in reference.records.items():
        for trace, expected in traces.items():
            got = onnx.records[name][trace]
            np.testing.assert_array_equal(got, expected, f"{name}.{trace}")
            assert got.dtype == expected.dtype


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
