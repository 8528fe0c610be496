"""Files of strangers: damaged, foreign, or out for what lies elsewhere on the disk."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.networks import vectors
from trispike.errors import (
    FileFormatError,
    MissingDependencyError,
    UnsafeFileError,
    UnsupportedError,
)
from trispike.runtime.onnx_file import check_file

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from onnx import TensorProto, helper  # noqa: E402

from trispike.export.onnx import load_model, write  # noqa: E402

SECRET = np.arange(4, dtype=np.float32).tobytes()


def outside(location: str, **entries: object) -> TensorProto:
    """A tensor of four floats that lie in another file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def model_with(tensor: TensorProto, where: str = "graph") -> Any:
    """y = x + w, with w in the graph, in a node, in a branch, or in a function."""
    add = [helper.make_node("Add", ["x", "w"], ["y"])]
    constant = helper.make_node("Constant", [], ["w"], value=tensor)
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [4]) for n in "xy")
    functions = []
    opsets = [helper.make_opsetid("", 18)]
    nodes, initializers = add, []
    if where == "graph":
        initializers = [tensor]
    elif where == "node":
        nodes = [constant, *add]
    elif where == "function":
        opset = helper.make_opsetid("", 18)
        functions = [helper.make_function("d", "F", ["x"], ["y"], [constant, *add], [opset])]
        nodes = [helper.make_node("F", ["x"], ["y"], domain="d")]
        opsets.append(helper.make_opsetid("d", 1))
    else:
        branch = helper.make_graph([constant, *add], "b", [], [y])
        condition = helper.make_node(
            "Constant", [], ["c"], value=helper.make_tensor("c", TensorProto.BOOL, [], [True])
        )
        nodes = [
            condition,
            helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
        ]
    graph = helper.make_graph(nodes, "g", [x], [y], initializers)
    return helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=9)


def save(model: Any, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def folder(tmp_path):
    """A folder with weights, and weights outside of it."""
    (tmp_path / "secret").write_bytes(SECRET)
    inside = tmp_path / "models"
    inside.mkdir()
    (inside / "weights").write_bytes(SECRET)
    (inside / "link").symlink_to(tmp_path / "secret")
    (inside / "up").symlink_to(tmp_path)
    return inside


def test_weights_beside_the_model_are_read(folder):
    model = load_model(save(model_with(outside("weights")), folder / "m.onnx"))
    assert model.graph.initializer[0].name == "w"


@pytest.mark.parametrize("where", ["graph", "node", "branch", "function"])
@pytest.mark.parametrize(
    "location",
    ["../secret", "{}/secret", "link", "up/secret", "a/../../secret", "", "..\\secret", "w\0"],
)
def test_weights_outside_of_the_folder_are_refused(where, location, folder):
    tensor = outside(location.format(folder.parent))
    path = save(model_with(tensor, where), folder / "m.onnx")
    with pytest.raises(UnsafeFileError, match=r"tensor 'w': got weights in .* own folder"):
        load_model(path)
    with pytest.raises(UnsafeFileError):
        check_file(vectors(), path, np.zeros((1, 10)))


def test_a_tensor_that_denies_to_be_outside_is_checked(folder):
    tensor = outside("../secret")
    tensor.data_location = TensorProto.DEFAULT
    with pytest.raises(UnsafeFileError):
        load_model(save(model_with(tensor), folder / "m.onnx"))


@pytest.mark.parametrize(
    ("location", "entries", "message"),
    [
        ("weights", {"offset": 8, "length": 16}, r"bytes 8\.\.24 of 'weights', which has 16"),
        ("weights", {"offset": -4, "length": 16}, r"bytes -4\.\.12"),
        ("weights", {"offset": "x"}, "tensor 'w': got no weights"),
        ("nothing", {}, "tensor 'w': got no weights"),
    ],
)
def test_weights_that_are_not_all_there(location, entries, message, folder):
    path = save(model_with(outside(location, **entries)), folder / "m.onnx")
    with pytest.raises(FileFormatError, match=message):
        load_model(path)


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99])
def test_truncated_files(share, tmp_path):
    path = tmp_path / "net.onnx"
    write(vectors(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(FileFormatError, match="an ONNX model"):
        load_model(path)


@pytest.mark.parametrize("content", [b"PK\x03\x04 not a model", b"\x80\x04K*.", bytes(100)])
def test_foreign_files(content, tmp_path):
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(FileFormatError, match=r"net\.onnx"):
        load_model(tmp_path / "net.onnx")


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_model(tmp_path / "net.onnx")


def test_operators_without_a_body(tmp_path):
    model = model_with(outside("weights"))
    model.graph.node[0].domain = "com.example"
    model.graph.node[0].op_type = "Magic"
    model.graph.initializer.pop()
    with pytest.raises(UnsupportedError, match=r"'Magic' of domain 'com\.example'"):
        load_model(save(model, tmp_path / "m.onnx"))


def test_operators_that_are_too_new(tmp_path):
    write(vectors(), tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    model.opset_import[0].version = 9999
    with pytest.raises(UnsupportedError, match="version 9999"):
        load_model(save(model, tmp_path / "net.onnx"))


def test_a_model_that_contradicts_itself(tmp_path):
    write(vectors(), tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    model.graph.node[-1].input[0] = "nowhere"
    with pytest.raises(FileFormatError, match="not valid"):
        load_model(save(model, tmp_path / "net.onnx"))


def test_models_of_others_and_of_another_network(tmp_path, folder):
    path = save(model_with(outside("weights")), folder / "m.onnx")
    with pytest.raises(FileFormatError, match="a model that trispike exported"):
        check_file(vectors(), path, np.zeros((1, 10)))
    from tests.networks import CASES

    write(CASES["deep"](), tmp_path / "net.onnx")
    with pytest.raises(FileFormatError, match="a model of the network"):
        check_file(vectors(), tmp_path / "net.onnx", np.zeros((1, 10)))


def test_missing_package(monkeypatch):
    import trispike.export.onnx

    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'trispike\[onnx\]'"):
        _ = trispike.export.onnx.load_model
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = trispike.export.onnx.nothing
