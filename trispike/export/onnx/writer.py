"""Writing ONNX files: whole or absent, equal bytes for equal networks."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import onnx
from onnx import numpy_helper

from trispike.errors import InvalidSettingError
from trispike.export.onnx.model import build_model, check
from trispike.network import Network
from trispike.network.files import whole_file

INSIDE_BYTES = 2_000_000_000
"""Models that are larger keep their weights in a second file; protobuf ends at 2 GiB."""

OUTSIDE_TENSOR_BYTES = 1024
"""Smaller tensors stay in the model."""


def write(
    network: Network,
    path: str | os.PathLike[str],
    *,
    form: str = "sequence",
    carrier: str = "float32",
    inside_bytes: int = INSIDE_BYTES,
) -> tuple[Path, ...]:
    """Write a network as an ONNX file.

    Args:
        network: A float or an integer network.
        path: The file.
        form: step, sequence or unrolled.
        carrier: What spikes travel in: float32; int8 in integer networks; float64 in float ones.
        inside_bytes: A larger model keeps its weights in ``path`` with ``.data`` appended.

    Returns:
        The files that were written, the model first.

    Raises:
        InvalidSettingError: An unknown form or carrier, or the network cannot travel in it.
        UnsupportedError: A sum that no type holds exactly.
        MissingDependencyError: onnx is not installed.
    """
    path = Path(path)
    model = build_model(network, form, carrier)
    if model.ByteSize() <= inside_bytes:
        content = check(model).SerializeToString(deterministic=True)
        with whole_file(path) as temporary:
            temporary.write_bytes(content)
        return (path,)
    data = path.with_name(path.name + ".data")
    if data.is_dir():
        raise InvalidSettingError(
            f"output '{data}'",
            got="a folder",
            expected="the place of the file with the weights",
            fix="Choose another name for the model.",
        )
    with whole_file(data) as outside, whole_file(path) as temporary:
        small = _without_weights(model, outside, data.name)
        temporary.write_bytes(small.SerializeToString(deterministic=True))
    onnx.checker.check_model(path, full_check=True)  # by path, because it has to find the weights
    return (path, data)


def _without_weights(model: onnx.ModelProto, data: Path, location: str) -> onnx.ModelProto:
    """A copy whose large initializers lie in ``data``, one after the other."""
    small = onnx.ModelProto()
    small.CopyFrom(copy.copy(model))
    with data.open("wb") as file:
        for tensor in small.graph.initializer:
            content = numpy_helper.to_array(tensor).tobytes()
            if len(content) < OUTSIDE_TENSOR_BYTES:
                continue
            offset = file.tell()
            file.write(content)
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in (
                ("location", location),
                ("offset", offset),
                ("length", len(content)),
            ):
                tensor.external_data.add(key=key, value=str(value))
    return small
