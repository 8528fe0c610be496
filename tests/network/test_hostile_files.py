"""Tampered, truncated and foreign files are refused, and nothing in them is executed."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

from tests.network.parts import base
from tests.network.test_storage import JSON_VALUES
from trispike.errors import FileFormatError
from trispike.network import IntegerNetwork, load, save
from trispike.network.storage import FORMAT, to_arrays


def read(path: Path) -> tuple[Any, dict[str, Any]]:
    with safe_open(path, framework="np") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return json.loads(file.metadata()[FORMAT]), arrays


def write(path: Path, header: Any, arrays: dict[str, Any]) -> None:
    text = header if isinstance(header, str) else json.dumps(header)
    save_file(arrays, path, metadata={FORMAT: text})


def refusal(path: Path) -> str:
    with pytest.raises(FileFormatError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith((f"file '{path}': got ", "network header: got format version"))
    assert "; expected " in message
    return message


def edit_population(header: Any, field: str, value: Any) -> None:
    header["network"]["populations"][0][1]["neuron"][field] = value


TAMPERINGS: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "older version": (
        lambda h, a: h.update(version=0),
        "network header: got format version 0; expected version 1. Read it with the release",
    ),
    "newer version": (lambda h, a: h.update(version=2), "got format version 2; expected version 1"),
    "no version": (lambda h, a: h.pop("version"), "got format version None; expected version 1"),
    "version of another type": (lambda h, a: h.update(version=1.0), "values of other types"),
    "another format": (lambda h, a: h.update(format="x"), "values of other types or forms"),
    "unknown entry beside the network": (lambda h, a: h.update(extra=1), "values of other types"),
    "no network": (lambda h, a: h.pop("network"), "a network that is not valid ('network')"),
    "missing field": (
        lambda h, a: h["network"].pop("steps"),
        ("network: got type 'IntegerNetwork', with missing or unknown fields: steps; expected one "
        "of FloatNetwork, IntegerNetwork"),
    ),
    "missing neuron field": (
        lambda h, a: h["network"]["populations"][0][1]["neuron"].pop("fire_once"),
        "populations/a/neuron: got type 'FixedPointNeuron', with missing or unknown fields: fire",
    ),
    "unknown field": (
        lambda h, a: h["network"]["readout"].update(temperature=2),
        "readout: got type 'Readout', with missing or unknown fields: temperature",
    ),
    "unknown type": (
        lambda h, a: h["network"]["input"].update(type="Popen"),
        "input: got type 'Popen', with missing or unknown fields",
    ),
    "a part instead of a network": (
        lambda h, a: h.update(network=h["network"]["input"]),
        "network: got a Input; expected a network",
    ),
    "a network of the other kind": (
        lambda h, a: h["network"].update(type="FloatNetwork"),
        "float network: got parts of the other number type",
    ),
    "missing tensor": (
        lambda h, a: a.pop("populations/b/neuron/th_pos"),
        "tensors: got nothing; expected 'populations/b/neuron/th_pos'. Write the file again",
    ),
    "surplus tensor": (
        lambda h, a: a.update(payload=np.zeros(3)),
        "tensors: got unknown names payload; expected none",
    ),
    "tensor used twice": (
        lambda h, a: edit_population(h, "bias", {"tensor": "populations/a/neuron/th_pos"}),
        "tensors: got nothing; expected 'populations/a/neuron/th_pos'",
    ),
    "number instead of a tensor": (
        lambda h, a: edit_population(h, "k", a.pop("populations/a/neuron/k").item()),
        "network header: got values of other types or forms; expected those of its fields",
    ),
    "weights of another dtype": (
        lambda h, a: a.update({k: v.astype(np.int16) for k, v in a.items() if "weight" in k
                               and v.dtype == np.int8}),
        "tensor 'connections/0/operator/weight': got dtype int16; expected int8",
    ),
    "thresholds of another dtype": (
        lambda h, a: a.update({"populations/a/neuron/th_pos": np.float64(50)}),
        "tensor 'populations/a/neuron/th_pos': got dtype float64; expected int64",
    ),
    "float weights in an integer network": (
        lambda h, a: a.update({"connections/0/operator/weight": np.ones((4, 2, 3, 3))}),
        "integer network: got parts of the other number type: connection input->a",
    ),
    "weights out of range": (
        lambda h, a: a.update({"connections/0/operator/weight": np.full((4, 2, 3, 3), -128,
                                                                      np.int8)}),
        "connection input->a: got a weight of magnitude 128; expected at most 127",
    ),
    "thresholds out of range": (
        lambda h, a: a.update({"populations/a/neuron/th_pos": np.array(0)}),
        "neuron field 'th_pos': got 0 (1 of 1 values); expected 1..8388608",
    ),
    "weights of another shape": (
        lambda h, a: a.update({"connections/0/operator/weight": np.ones((4, 3, 3, 3), np.int8)}),
        "Conv2d: got an input of 2 channels; expected 3 channels",
    ),
    "NaN": (
        lambda h, a: a.update({"input/mean": np.array(np.nan)}),
        "input field 'mean': got NaN or infinity; expected finite numbers",
    ),
    "fraction of a step": (lambda h, a: h["network"].update(steps=2.0), "'steps': got 2.0"),
    "infinite shape": (
        lambda h, a: h["network"]["input"].update(shape=[2, float("inf"), 4]),
        "input: got shape (2, inf, 4)",
    ),
    "another operator in place of a pool": (
        lambda h, a: h["network"]["connections"][2].update(
            pool=h["network"]["connections"][0]["operator"]),
        "tensors: got nothing; expected 'connections/0/operator/weight'",
    ),
    "text in place of a connection": (
        lambda h, a: h["network"].update(connections=["input->a"]), "connections': got a str",
    ),
    "a loop": (
        lambda h, a: h["network"]["connections"][0].update(sources=["a"]),
        "Conv2d: got an input of 4 channels",
    ),
    "unknown source": (
        lambda h, a: h["network"]["connections"][0].update(sources=["nobody"]),
        "connection nobody->a: got 'nobody'; expected names of populations",
    ),
    "populations that are no pairs": (
        lambda h, a: h["network"].update(populations=[["a"]]), "a network that is not valid",
    ),
    "a population twice": (
        lambda h, a: h["network"]["populations"].append(h["network"]["populations"][3]),
        "tensors: got nothing; expected 'populations/alone/neuron/a_pos'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampered_networks_are_refused(name, tmp_path):
    edit, expected = TAMPERINGS[name]
    save(base("integer"), tmp_path / "net")
    header, arrays = read(tmp_path / "net")
    edit(header, arrays)
    arrays = {key: np.ascontiguousarray(a) if a.ndim else a for key, a in
              ((key, np.asarray(a)) for key, a in arrays.items())}  # fmt: skip
    write(tmp_path / "net", header, arrays)
    assert expected in refusal(tmp_path / "net")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("no JSON at all", "got unreadable content (Expecting value"),
        ("", "got unreadable content (Expecting value"),
        ('{"format": ', "got unreadable content (Expecting value"),
        ("[1, 2]", "got a network that is not valid"),
        ("null", "got a network that is not valid"),
        ("[" * 100_000, "got unreadable content (maximum recursion depth exceeded"),
        ('{"version": 1, "network": ' + '{"x": ' * 50_000, "got unreadable content"),
        (f'{{"version": {"9" * 5000}}}', "got a network that is not valid (Exceeds the limit"),
    ],
    ids=["text", "empty", "cut", "list", "null", "deep list", "deep object", "long number"],
)
def test_headers_that_are_no_network_are_refused(header, expected, tmp_path):
    write(tmp_path / "net", header, {"x": np.zeros(2)})
    assert expected in refusal(tmp_path / "net")


def test_foreign_safetensors_are_refused(tmp_path):
    for metadata in (None, {"format": "pt"}):
        save_file({"conv1.weight": np.zeros((2, 2))}, tmp_path / "net", metadata=metadata)
        message = refusal(tmp_path / "net")
        assert "got a safetensors file without a trispike header; expected a network" in message
        assert message.endswith("Convert a checkpoint first: trispike convert CKPT --arch NAME "
                                "-o NET.")  # fmt: skip


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.3, 0.7, 0.95, 0.999])
def test_truncated_files_are_refused(share, tmp_path):
    save(base("integer"), tmp_path / "net")
    content = (tmp_path / "net").read_bytes()
    (tmp_path / "net").write_bytes(content[: int(share * len(content))])
    message = refusal(tmp_path / "net")
    assert "got unreadable content" in message
    assert "The file is truncated or foreign; write it again with trispike convert." in message


def test_files_with_something_behind_them_are_refused(tmp_path):
    save(base("integer"), tmp_path / "net")
    with (tmp_path / "net").open("ab") as file:
        file.write(b"payload")
    assert "got unreadable content" in refusal(tmp_path / "net")


def foreign_files(marker: Path) -> dict[str, bytes]:
    """Pickles that want to make a folder, and other things that are no network."""
    return {
        "pickle": f"cposix\nmkdir\n(V{marker}\ntR.".encode(),
        "pickle, protocol 4": b"\x80\x04\x8c\x05posix\x8c\x05mkdir\x93\x8c"
        + bytes([len(str(marker))]) + str(marker).encode() + b"\x85R.",
        "zip": b"PK\x03\x04" + bytes(100),
        "npy": b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n",
        "text": b"this is no network\n",
        "zeros": bytes(1000),
        "one byte": b"\x08",
        "absurd header length": b"\xff" * 8 + b"{}",
        "header without tensors": (2).to_bytes(8, "little") + b"{}",
    }  # fmt: skip


@pytest.mark.parametrize("kind", foreign_files(Path("x")))
def test_foreign_files_are_refused_and_nothing_is_executed(kind, tmp_path):
    marker = tmp_path / "executed"
    path = tmp_path / "net.safetensors"
    path.write_bytes(foreign_files(marker)[kind])
    refusal(path)
    assert not marker.exists()


def test_a_missing_file_and_a_folder_are_no_files(tmp_path):
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(FileNotFoundError, match="no such file"):
            load(path)


def nodes(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from nodes(inner, (*path, key))


HEADER, ARRAYS = to_arrays(base("integer"))
HEADER_TEXT = json.dumps(HEADER)
PATHS = [path for path in nodes(json.loads(HEADER_TEXT)["network"]) if path]
ODD_VALUES = [float("inf"), -1, 2**31, 2**63, 10**40, "", "input", "a", {"tensor": "input/mean"}]


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(PATHS), JSON_VALUES | st.sampled_from(ODD_VALUES))
def test_any_edit_of_the_header_is_valid_or_refused(tmp_path, path, value):
    """What is accepted is what would be written; for the rest there is one error."""
    header = json.loads(HEADER_TEXT)
    *parents, last = path
    place = header["network"]
    for key in parents:
        place = place[key]
    place[last] = value
    write(tmp_path / "net", header, ARRAYS)
    try:
        net = load(tmp_path / "net")
    except FileFormatError:
        return
    assert json.loads(json.dumps(to_arrays(net)[0])) == header


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=3))
def test_any_damage_to_a_file_is_harmless_or_refused(tmp_path, damage):
    path = tmp_path / "net"
    if not (tmp_path / "whole").exists():
        save(base("integer"), tmp_path / "whole")
    content = bytearray((tmp_path / "whole").read_bytes())
    for place, value in damage:
        content[int(place * (len(content) - 1))] = value
    path.write_bytes(content)
    try:
        net = load(path)
    except FileFormatError:
        return
    assert isinstance(net, IntegerNetwork)
