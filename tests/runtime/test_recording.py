"""Recordings: what users ask for, the file, and equal files from all engines."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from tests.networks import Builder, as_float, sample_inputs, vectors
from trispike.errors import FileFormatError, InvalidDataError, InvalidSettingError
from trispike.network import Network, digest
from trispike.runtime import ReferenceEngine
from trispike.runtime.engines import build_engine
from trispike.runtime.recording import (
    FORMAT,
    RecordedRun,
    available_memory,
    check_size,
    load_recording,
    recorded_run,
    recording_bytes,
    save_recording,
    wanted_traces,
)

NETWORK = vectors()
SAMPLES = 3


def run(network: Network = NETWORK, *, record: Any = "all", labels: bool = True) -> RecordedRun:
    inputs = sample_inputs(network, SAMPLES)
    result = ReferenceEngine(network).run(
        inputs, np.arange(SAMPLES) % 2 if labels else None, record=record
    )
    return recorded_run(result, network, "some data")


def assert_same(got: RecordedRun, expected: RecordedRun, *, but: tuple[str, ...] = ()) -> None:
    for field in dataclasses.fields(got):
        if field.name not in ("records", "predictions", "labels", *but):
            assert getattr(got, field.name) == getattr(expected, field.name)
    np.testing.assert_array_equal(got.predictions, expected.predictions)
    np.testing.assert_array_equal(got.labels, expected.labels)
    assert [(n, *traces) for n, traces in got.records.items()] == [
        (n, *traces) for n, traces in expected.records.items()
    ]
    for name, traces in expected.records.items():
        for trace, values in traces.items():
            np.testing.assert_array_equal(got.records[name][trace], values)
            assert got.records[name][trace].dtype == values.dtype


# ------------------------------------------------------------------------------------------- file


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
@pytest.mark.parametrize("network", [NETWORK, as_float(NETWORK)], ids=["integer", "float"])
@pytest.mark.parametrize("labels", [True, False])
def test_what_is_saved_comes_back(suffix, network, labels, tmp_path):
    recording = run(network, labels=labels)
    save_recording(recording, tmp_path / f"run{suffix}")
    back = load_recording(tmp_path / f"run{suffix}")
    assert_same(back, recording)
    assert (back.samples, back.steps) == (SAMPLES, network.steps)
    assert back.network_sha256 == digest(network)
    assert back.unit == ("state unit" if network is NETWORK else "float")


def test_the_file_explains_itself_without_trispike(tmp_path):
    recording = run(record={"first": "sv"})
    save_recording(recording, tmp_path / "run.safetensors")
    save_recording(recording, tmp_path / "run.npz")
    with safe_open(tmp_path / "run.safetensors", framework="np") as file:
        header = json.loads(file.metadata()[FORMAT])
        spikes = file.get_tensor("first/s")
    with np.load(tmp_path / "run.npz") as arrays:
        assert json.loads(str(arrays[FORMAT])) == header
        np.testing.assert_array_equal(arrays["first/s"], spikes)
        assert set(arrays) == {FORMAT, "first/s", "first/v", "predictions", "labels"}
    assert header["version"] == 1
    assert header["network_sha256"] == digest(NETWORK)
    assert (header["data"], header["engine"]) == ("some data", "reference")
    assert (header["samples"], header["steps"]) == (SAMPLES, NETWORK.steps)
    assert [(t["array"], t["unit"], t["dtype"], t["meaning"]) for t in header["traces"]] == [
        ("first/s", "spike", "int8", "spikes"),
        ("first/v", "state unit", "int64", "membrane potential before the reset"),
    ]


def test_equal_recordings_give_equal_files(tmp_path):
    for suffix in (".npz", ".safetensors"):
        for name in ("a", "b"):
            save_recording(run(), tmp_path / (name + suffix))
        a, b = ((tmp_path / (name + suffix)).read_bytes() for name in ("a", "b"))
        assert a == b


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    path.write_bytes(b"precious")

    def full(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="No space"):
        save_recording(run(), path)
    assert path.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [path]


def test_names_with_odd_characters(tmp_path):
    odd = "file $x$ [0]:s .npy"
    recording = run(record={"first": "s"})
    recording = dataclasses.replace(recording, records={odd: recording.records["first"]})
    for suffix in (".npz", ".safetensors"):
        save_recording(recording, tmp_path / f"run{suffix}")
        assert_same(load_recording(tmp_path / f"run{suffix}"), recording)


@pytest.mark.parametrize("suffix", ["", ".txt", ".NPZ"])
def test_an_unknown_suffix(suffix, tmp_path):
    text = rf"got suffix '{suffix}'; expected \.safetensors or \.npz"
    with pytest.raises(InvalidSettingError, match=text):
        save_recording(run(), tmp_path / f"run{suffix}")
    with pytest.raises(InvalidSettingError, match=text):
        load_recording(tmp_path / f"run{suffix}")
    assert not list(tmp_path.iterdir())


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_recording(tmp_path / "run.npz")


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_truncated_and_foreign_files(suffix, tmp_path):
    path = tmp_path / f"run{suffix}"
    save_recording(run(), path)
    whole = path.read_bytes()
    for content in (whole[:-10], whole[: len(whole) // 2], b"", b"PK\x03\x04", b"hello " * 100):
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match="expected a recording of trispike"):
            load_recording(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_a_file_without_a_header(suffix, tmp_path):
    path = tmp_path / f"run{suffix}"
    arrays = {"x": np.zeros(3)}
    np.savez(path, **arrays) if suffix == ".npz" else save_file(arrays, path)
    with pytest.raises(FileFormatError, match="a file without the header of a recording"):
        load_recording(path)


def edited(path: Path, header: Any = None, arrays: Any = None) -> None:
    """Write a file anew with parts of its header or its arrays replaced; None takes one away."""
    with safe_open(path, framework="np") as file:
        old = json.loads(file.metadata()[FORMAT])
    found = {**load_file(path), **(arrays or {})}
    found = {name: values for name, values in found.items() if values is not None}
    save_file(found, path, metadata={FORMAT: json.dumps({**old, **(header or {})})})


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"header": {"version": 2}}, "got format version 2; expected version 1"),
        ({"header": {"colour": "red"}}, "colour: Extra inputs are not permitted"),
        ({"header": {"steps": 0}}, "steps: Input should be greater than or equal to 1"),
        ({"header": {"steps": "4"}}, "steps: Input should be a valid integer"),
        ({"header": {"network_sha256": "?"}}, "network_sha256: String should match"),
        ({"header": {"samples": 99}}, r"array 'first/s': got int8 \(3, .*expected int8 \(99, "),
        ({"header": {"traces": []}}, "missing or unknown ones: first/c, first/i"),
        ({"header": {"network_kind": "float"}}, "dtype int64; expected float64"),
        ({"arrays": {"first/s": None}}, "missing or unknown ones: first/s"),
        ({"arrays": {"more": np.zeros(1)}}, "missing or unknown ones: more"),
        ({"arrays": {"predictions": None}}, "missing or unknown ones: predictions"),
        ({"arrays": {"predictions": np.zeros(SAMPLES)}}, "predictions: got shape .* float64"),
        ({"arrays": {"labels": np.zeros(9, np.int64)}}, r"labels: got shape \(9,\)"),
    ],
)
def test_edited_files(changes, text, tmp_path):
    path = tmp_path / "run.safetensors"
    save_recording(run(record={"first": "sicv"}), path)
    edited(path, **changes)
    with pytest.raises(FileFormatError, match=text):
        load_recording(path)


def test_spikes_beyond_one(tmp_path):
    path = tmp_path / "run.safetensors"
    save_recording(run(record={"first": "s"}), path)
    edited(path, arrays={"first/s": load_file(path)["first/s"] + np.int8(2)})
    with pytest.raises(FileFormatError, match=r"got values from .* to .*; expected -1, 0 or 1"):
        load_recording(path)


def test_python_objects_are_never_read(tmp_path):
    path = tmp_path / "run.npz"
    np.savez(path, **{FORMAT: np.array([{}], dtype=object)})
    with pytest.raises(FileFormatError, match="allow_pickle"):
        load_recording(path)


def test_a_run_without_a_recording():
    result = ReferenceEngine(NETWORK).run(sample_inputs(NETWORK, 1))
    with pytest.raises(InvalidDataError, match="got no traces"):
        recorded_run(result, NETWORK)


# --------------------------------------------------------------------------------- what to record


@pytest.mark.parametrize(
    ("requests", "wanted"),
    [
        ([], {}),
        (["first"], {"first": "s"}),
        (["first:v,c"], {"first": "cv"}),
        (["first:v", "first:s", "second"], {"first": "sv", "second": "s"}),
        (["second:v", "first"], {"first": "s", "second": "v"}),
        (["*d:v"], {"second": "v", "third": "v"}),
        (["fir[rs]t:s, i"], {"first": "si"}),
        (["all:c"], {"first": "c", "second": "c", "third": "c"}),
        (["all"], {"first": "sicv", "second": "sicv", "third": "sicv"}),
    ],
)
def test_requests(requests, wanted):
    found = wanted_traces(NETWORK, requests)
    assert found == {name: tuple(traces) for name, traces in wanted.items()}
    assert list(found) == list(wanted)


def test_the_name_of_a_population_goes_before_what_it_would_mean():
    b = Builder(1, (4,))
    b.layer("input", "all", b.dense("input", 5))
    b.layer("all", "a:v", b.dense("all", 5))
    network = b.build("a:v")
    assert wanted_traces(network, ["all", "a:v"]) == {"all": ("s",), "a:v": ("s",)}
    assert wanted_traces(network, ["a:v:c"]) == {"a:v": ("c",)}


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (
            "frist:v",
            "population 'frist': got an unknown name; expected one of first, second, third. Did",
        ),
        ("frist:v", "Did you mean first"),
        ("conv*", r"population 'conv\*': got an unknown name"),
        ("", "population '': got an unknown name; .* Correct the name"),
        (
            "first:x",
            r"recording of 'first:x': got trace 'x'; expected traces out of s \(spikes\), ",
        ),
        ("first:", "got trace ''"),
        ("all:v,w", "got trace 'w'"),
    ],
)
def test_requests_that_ask_for_nothing(request_, text):
    with pytest.raises(InvalidSettingError, match=text):
        wanted_traces(NETWORK, [request_])


def test_the_size_is_that_of_the_arrays():
    recording = run(record={"first": "sv", "second": "c"})
    arrays = [values for traces in recording.records.values() for values in traces.values()]
    wanted = {name: tuple(traces) for name, traces in recording.records.items()}
    assert recording_bytes(NETWORK, wanted, SAMPLES) == sum(a.nbytes for a in arrays)


def test_a_recording_larger_than_memory_is_refused_with_its_size():
    wanted = wanted_traces(NETWORK, ["first:s,v"])
    size = recording_bytes(NETWORK, wanted, 1)
    check_size(NETWORK, wanted, 10, limit=10 * size)
    neurons, steps = NETWORK.populations["first"].size, NETWORK.steps
    text = (
        rf"got 10 samples x {steps} steps x \({neurons} neurons x 1 byte \(s\) \+ {neurons} states"
        r" x 8 bytes \(i, c, v\)\) = .* MB; expected at most .* are free.*\(--samples 9\)"
    )
    with pytest.raises(InvalidSettingError, match=text):
        check_size(NETWORK, wanted, 10, limit=10 * size - 1)
    with pytest.raises(InvalidSettingError, match="Record fewer populations or fewer traces"):
        check_size(NETWORK, wanted, 1, limit=size - 1)
    check_size(NETWORK, {}, 10**9, limit=0)


def test_the_free_memory_is_a_plausible_number():
    assert 1 << 20 < available_memory() < 1 << 50


# ---------------------------------------------------------------------------------------- engines


@pytest.mark.parametrize(
    ("engine", "package"),
    [("fast", "numba"), ("onnx", "onnxruntime"), ("nir", "nir"), ("lava", "lava")],
)
def test_all_engines_give_equal_recordings(engine, package, tmp_path):
    pytest.importorskip(package, reason=f"{package} is not installed")
    wanted = wanted_traces(NETWORK, ["all"])
    inputs = sample_inputs(NETWORK, SAMPLES)
    found = []
    for name in ("reference", engine):
        result = build_engine(name, NETWORK).run(inputs, record=wanted)
        save_recording(recorded_run(result, NETWORK), tmp_path / f"{name}.npz")
        found.append(load_recording(tmp_path / f"{name}.npz"))
    assert_same(found[1], found[0], but=("engine",))
    assert found[1].engine == engine
    assert any((traces["s"] != 0).any() for traces in found[0].records.values())
