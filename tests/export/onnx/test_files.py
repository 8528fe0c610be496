"""Exported files: equal to the network in every form and carrier, for any runtime, for a viewer."""

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tests.networks import CASES, Builder, as_float, sample_inputs, vectors
from trispike.errors import InvalidSettingError, UnsupportedError
from trispike.network import Conv2d, Dense, IntegerNetwork, Network, SumPool, digest
from trispike.runtime.onnx_engine import OnnxEngine
from trispike.runtime.onnx_file import check_file, random_data
from trispike.runtime.reference import ReferenceEngine

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from trispike.export.onnx import build_model, check, write  # noqa: E402

FORMS = ("step", "sequence", "unrolled")


def nodes(model: Any, domain: str) -> list[Any]:
    """All nodes of a domain, those of loop bodies included."""
    todo, found = list(model.graph.node), []
    while todo:
        node = todo.pop()
        found += [node] if node.domain == domain else []
        todo += [n for a in node.attribute for n in a.g.node]
    return found


@pytest.mark.parametrize("carrier", ["float32", "int8"])
@pytest.mark.parametrize("case", CASES)
def test_every_form_equals_the_reference(case, carrier, tmp_path):
    """The engine's tests cover the loop of the sequence form."""
    network = CASES[case]()
    inputs = sample_inputs(network, 3)
    for form in ("step", "unrolled"):
        path = tmp_path / f"{form}.onnx"
        write(network, path, form=form, carrier=carrier)
        found = check_file(network, path, inputs)
        assert found.equal, form
        assert (found.form, found.carrier, found.samples) == (form, carrier, 3)
        assert found.spike_ties is None


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("carrier", ["float32", "float64"])
@pytest.mark.parametrize("case", ["per_channel_parameters", "soft_reset", "recurrent", "floor"])
def test_float_networks(case, carrier, form, tmp_path):
    network = as_float(CASES[case]())
    write(network, tmp_path / "net.onnx", form=form, carrier=carrier)
    found = check_file(network, tmp_path / "net.onnx", random_data(network, 4))
    assert found.equal
    assert found.spike_ties is not None


def test_a_file_that_differs_is_found_out(tmp_path):
    """A threshold is changed behind the back of the metadata."""
    network, path = vectors(), tmp_path / "net.onnx"
    write(network, path)
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.name == "first.th_pos":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.asarray(1.0), tensor.name))
    onnx.save(model, path)
    assert not check_file(network, path, sample_inputs(network, 4)).equal
    floats = as_float(network)
    write(floats, path)
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.name == "first.th_pos":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.float32(0.1).reshape(()), tensor.name))
    onnx.save(model, path)
    assert not check_file(floats, path, sample_inputs(network, 4)).equal


def test_runs_without_trispike(tmp_path):
    network = CASES["shortcut_across_two_convolutions"]()
    inputs = sample_inputs(network, 3)
    write(network, tmp_path / "net.onnx")
    x = network.input.encode(inputs, network.steps).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    code = (
        "import sys; sys.modules['trispike'] = None\n"
        "import numpy as np, onnxruntime\n"
        "session = onnxruntime.InferenceSession('net.onnx', providers=['CPUExecutionProvider'])\n"
        "logits, = session.run(['logits'], {'x': np.load('x.npy')})\n"
        "np.save('logits.npy', logits)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    expected = ReferenceEngine(network).run(inputs).logits
    np.testing.assert_array_equal(np.load(tmp_path / "logits.npy"), expected)


@pytest.mark.parametrize("form", ["step", "sequence"])
@pytest.mark.parametrize("case", ["deep", "sew_addition", "recurrent", "fire_once"])
def test_one_node_per_population(case, form):
    network = CASES[case]()
    model = build_model(network, form)
    calls = nodes(model, "trispike")
    prefix = "" if form == "step" else "step/"
    assert sorted(n.name for n in calls) == sorted(prefix + name for name in network.populations)
    functions = {f.name: f for f in model.functions}
    assert {n.op_type for n in calls} == set(functions)
    for function in functions.values():
        assert function.domain == "trispike"
        assert {n.domain for n in function.node} == {""}  # standard operators only


def test_names_of_functions_tell_the_neuron():
    (function,) = build_model(CASES["static_form"]()).functions
    assert function.name == "TernaryComplementedHardReset_int24"
    (function,) = build_model(CASES["binary_lif"]()).functions
    assert function.name == "BinaryCurrentBasedHardReset_int24"


@pytest.mark.parametrize("case", ["static_form", "frames_encoding"])
def test_dynamic_batch_and_time(case):
    """One file for any number of samples and steps."""
    import onnxruntime

    network = CASES[case]()
    model = check(build_model(network, "sequence"))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for samples, steps in ((1, 4), (5, 2), (2, 9)):
        other = _with_steps(network, steps)
        inputs = sample_inputs(other, samples)
        x = other.input.encode(inputs, steps).astype(np.float32)
        weights = other.readout.weights
        logits, parts = session.run(["logits", "step_logits"], {"x": x, "time_weights": weights})
        expected = ReferenceEngine(other).run(inputs)
        np.testing.assert_array_equal(logits, expected.logits)
        np.testing.assert_array_equal(parts, expected.step_logits)


def _with_steps(network: IntegerNetwork, steps: int) -> IntegerNetwork:
    from dataclasses import replace

    readout = replace(network.readout, weights=np.arange(1, steps + 1))
    return replace(network, readout=readout, steps=steps)


def test_shapes_are_in_the_file(tmp_path):
    write(CASES["static_form"](), tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    (loop,) = [n for n in model.graph.node if n.op_type == "Scan"]
    body = loop.attribute[[a.name for a in loop.attribute].index("body")].g
    known = {v.name: v.type.tensor_type.shape for v in body.value_info}
    spikes = known["step/first.spikes"].dim
    assert [d.dim_param or d.dim_value for d in spikes[1:]] == [3, 6, 5]


def test_metadata_tell_origin_and_use():
    network = CASES["initial_potential"]()
    properties = {p.key: json.loads(p.value) for p in build_model(network, "step").metadata_props}
    assert properties["trispike.network_sha256"] == digest(network)
    assert properties["trispike.form"] == "step"
    assert properties["trispike.input"]["scale"] == 1 / 32
    assert properties["trispike.input"]["payload_limit"] == 127
    assert properties["trispike.time_weights"] == [1, 1, 1, 1]
    assert properties["trispike.states"] == ["first.c", "first.v", "second.c", "second.v", "logits"]


def test_equal_networks_give_equal_bytes(tmp_path):
    for name in ("a.onnx", "b.onnx"):
        write(CASES["deep"](), tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_large_models_keep_their_weights_outside(tmp_path):
    network = CASES["matrix_into_map"]()
    files = write(network, tmp_path / "net.onnx", inside_bytes=1000)
    assert [f.name for f in files] == ["net.onnx", "net.onnx.data"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.onnx", "net.onnx.data"]
    assert check_file(network, files[0], sample_inputs(network, 3)).equal


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    from trispike.export.onnx import writer

    path = tmp_path / "net.onnx"
    path.write_bytes(b"old")
    monkeypatch.setattr(writer, "check", lambda model: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(vectors(), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


# ------------------------------------------------------------------------ types that are exact


def _wide(operator: str, exponent: int = 0) -> IntegerNetwork:
    """Sums of a graded input that no float32 holds."""
    b = Builder(40, (1100, 2, 2) if operator != "dense" else (1200,))
    full = {"bias": 0, "state_shift": 0, "th_pos": 1 << 22, "th_neg": 1 << 22}
    if operator == "conv":
        weight = b.rng.choice(np.array([-127, 127], np.int8), (2, 1100, 2, 1))
        b.layer("input", "a", Conv2d(weight=weight), neuron=full, exponent=exponent)
    elif operator == "pooled":
        weight = b.rng.choice(np.array([-127, 127], np.int8), (2, 1100, 1, 1))
        pool = SumPool(kernel=(2, 2), stride=(1, 1))
        b.layer("input", "a", Conv2d(weight=weight), pool=pool, neuron=full, exponent=exponent)
    else:
        weight = b.rng.choice(np.array([-127, 127], np.int8), (5, 1200))
        b.layer("input", "a", Dense(weight=weight), neuron=full, exponent=exponent)
    return b.build("a")


def _aligned(network: IntegerNetwork, samples: int) -> Any:
    """Inputs of +-127 in the signs of one row of the weights: sums as large as they can be."""
    weight = network.connections[0].operator.weight
    inputs = np.zeros((samples, *network.input.shape))
    for n in range(samples):
        row = weight[n % len(weight)].reshape(*network.input.shape[:1], -1)[:, 0]
        row = row.reshape(-1, *(1,) * (len(network.input.shape) - 1))
        inputs[n] = np.sign(row) * (127 - (n % 3)) / 32
    return inputs


@pytest.mark.parametrize("operator", ["conv", "pooled", "dense"])
@pytest.mark.parametrize("carrier", ["float32", "int8"])
@pytest.mark.parametrize("exponent", [0, 9])
def test_large_sums_are_exact(operator, carrier, exponent):
    """Odd integers above 2**24 are where a float32 would round."""
    network = _wide(operator, exponent)
    inputs = _aligned(network, 4)
    reference = ReferenceEngine(network).run(inputs, record="all")
    summed = network.connections[0].current(network.input.encode(inputs, 4))
    assert np.abs(summed).max() > 1 << 24
    result = OnnxEngine(network, carrier=carrier, threads=1).run(inputs, record="all")
    assert result.ledger.differences(reference.ledger) == []
    for trace in "icvs":
        np.testing.assert_array_equal(result.records["a"][trace], reference.records["a"][trace])
    np.testing.assert_array_equal(result.step_logits, reference.step_logits)


def types_of(network: Network, carrier: str) -> set[str]:
    """Operators of the connections."""
    model = build_model(network, "step", carrier)
    return {n.op_type for n in model.graph.node}


def test_operators_follow_from_the_bounds():
    small, large = CASES["static_form"](), _wide("conv")
    assert "Conv" in types_of(small, "float32")
    assert {"ConvInteger", "MatMulInteger"} <= types_of(small, "int8")
    assert "Conv" not in types_of(small, "int8")
    assert "Gather" in types_of(large, "float32")  # windows, for a MatMul in float64
    assert "ConvInteger" in types_of(large, "int8")
    assert "ConvInteger" not in types_of(_wide("pooled"), "int8")  # sums exceed a byte
    assert "Conv" not in types_of(as_float(small), "float64")


def test_sums_that_no_type_holds_are_refused():
    from trispike.export.onnx.numbers import numbers_for

    numbers = numbers_for(vectors(), "float32")
    assert numbers.sum_dtype("x", 1 << 24) == np.float32
    assert numbers.sum_dtype("x", (1 << 24) + 1) == np.float64
    with pytest.raises(UnsupportedError, match="connection 'a': got sums that may reach"):
        numbers.sum_dtype("connection 'a'", (1 << 53) + 1)
    integers = numbers_for(vectors(), "int8")
    assert integers.sum_dtype("x", (1 << 31) - 1) == np.int32
    assert integers.sum_dtype("x", 1 << 31) == np.int64


@pytest.mark.parametrize(
    ("network", "carrier", "message"),
    [
        (vectors, "float64", "expected one of float32, int8"),
        (lambda: as_float(vectors()), "int8", "Quantize the network first"),
        (vectors, "bfloat16", "an unknown name"),
    ],
)
def test_carriers_that_do_not_fit(network, carrier, message):
    with pytest.raises(InvalidSettingError, match=message):
        build_model(network(), "sequence", carrier)


def test_an_unknown_form():
    with pytest.raises(InvalidSettingError, match="step, sequence, unrolled"):
        build_model(vectors(), "loop")
