"""Reading ONNX files of strangers.

A model may name other files that hold its weights. Only files in the model's own folder are
read, never through ``..``, an absolute path or a link that leads out of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from trispike.errors import FileFormatError, UnsafeFileError, UnsupportedError
from trispike.export.onnx.nodes import DOMAIN, OPSET

STANDARD_DOMAINS = ("", "ai.onnx")


def load_model(path: str | os.PathLike[str]) -> onnx.ModelProto:
    """Read and check an ONNX model; its weights stay where they are.

    Raises:
        FileNotFoundError: No such file.
        FileFormatError: Not an ONNX model, truncated, or not valid; or a file that it names is
            absent or too short.
        UnsafeFileError: It names a file outside of its own folder.
        UnsupportedError: Its operators are of domains that it brings no functions for, or it asks
            for a newer version of the standard ones.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise _unreadable(path, f"content that is no protocol buffer ({error})") from error
    if not model.graph.node or not model.opset_import:
        raise _unreadable(path, "a file without nodes or without a version of the operators")
    for tensor in _tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            _check_external(path, tensor)
    _check_domains(path, model)
    try:
        onnx.checker.check_model(path, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise _unreadable(path, f"a model that is not valid ({error})") from error
    return model


def _unreadable(path: Path, got: str) -> FileFormatError:
    return FileFormatError(
        f"file '{path}'",
        got=got,
        expected="an ONNX model",
        fix="The file is truncated, damaged or foreign; export it again.",
    )


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a model: of its graph, its functions, and everything nested in nodes."""
    yield from _in_graph(model.graph)
    for function in model.functions:
        yield from _in_nodes(function.node)
        for attribute in function.attribute_proto:
            yield from _in_attribute(attribute)
    for training in model.training_info:
        yield from _in_graph(training.initialization)
        yield from _in_graph(training.algorithm)


def _in_graph(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _in_nodes(graph.node)


def _in_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            yield from _in_attribute(attribute)


def _in_attribute(attribute: onnx.AttributeProto) -> Iterator[onnx.TensorProto]:
    # Fields that are not set are empty messages, which hold nothing to check.
    yield attribute.t
    yield from attribute.tensors
    for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
        yield from (sparse.values, sparse.indices)
    for graph in (attribute.g, *attribute.graphs):
        yield from _in_graph(graph)


def _check_external(path: Path, tensor: onnx.TensorProto) -> None:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    subject = f"file '{path}', tensor {tensor.name!r}"
    folder = path.resolve().parent
    place = Path(location)
    outside = place.is_absolute() or ".." in place.parts or "\\" in location or "\0" in location
    if not location or outside or not (folder / place).resolve().is_relative_to(folder):
        raise UnsafeFileError(
            subject,
            got=f"weights in {location!r}",
            expected="a file in the model's own folder",
            fix="Do not run this model; ask its author for one that is whole.",
        )
    try:
        offset, length = (int(entries.get(key, 0)) for key in ("offset", "length"))
        size = (folder / place).stat().st_size
    except (ValueError, OSError) as error:
        raise FileFormatError(
            subject,
            got=f"no weights ({error})",
            expected=f"bytes of {location!r}, beside the model",
            fix="The file with the weights is missing or damaged; copy both again.",
        ) from error
    if not (folder / place).is_file() or offset < 0 or length < 0 or offset + length > size:
        raise FileFormatError(
            subject,
            got=f"bytes {offset}..{offset + length} of {location!r}, which has {size}",
            expected="weights that lie within their file",
            fix="The file with the weights is truncated or of another model; copy both again.",
        )


def _check_domains(path: Path, model: onnx.ModelProto) -> None:
    own = {(f.domain, f.name) for f in model.functions}
    for entry in model.opset_import:
        if entry.domain in STANDARD_DOMAINS:
            newest = onnx.defs.onnx_opset_version()
            if entry.version > newest:
                raise UnsupportedError(
                    f"file '{path}'",
                    got=f"operators of version {entry.version}",
                    expected=f"at most {newest}, the newest that the installed onnx knows",
                    fix=f"Export it with version {OPSET}, or update onnx.",
                )
    foreign = sorted(
        {
            f"{node.op_type!r} of domain {node.domain!r} (node {node.name!r})"
            for node in _nodes(model)
            if node.domain not in STANDARD_DOMAINS and (node.domain, node.op_type) not in own
        }
    )
    if foreign:
        raise UnsupportedError(
            f"file '{path}'",
            got="operators " + ", ".join(foreign[:3]),
            expected=f"standard operators and functions that the file brings (domain {DOMAIN!r})",
            fix="Export the model with functions, or with standard operators only.",
        )


def _nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    todo = [*model.graph.node, *(node for f in model.functions for node in f.node)]
    while todo:
        node = todo.pop()
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                todo += graph.node
