"""Collecting the nodes of a graph, of a loop body, or of a function."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from trispike.export.onnx.numbers import Array, DType

DOMAIN = "trispike"
"""Domain of the neurons' functions."""

OPSET = 18
"""Version of the standard operators."""


def element_type(dtype: DType) -> int:
    """ONNX's number for a NumPy type."""
    return int(helper.np_dtype_to_tensor_dtype(dtype))


class Names:
    """Names that are given out once."""

    def __init__(self) -> None:
        self._given: dict[str, int] = {}

    def fresh(self, name: str) -> str:
        """``name``, or with a number appended if it has been given out."""
        count = self._given.get(name, 0)
        self._given[name] = count + 1
        return name if not count else self.fresh(f"{name}.{count + 1}")


class Constants:
    """Initializers of a model, equal ones stored once.

    Args:
        names: Names of the model's tensors.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._by_content: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self.tensors: list[onnx.TensorProto] = []

    def add(self, array: Array, name: str) -> str:
        """Name of an initializer with these values; ``name``, if there is none yet."""
        array = np.array(array, order="C")
        # A digest, because the key stays for as long as the model is built.
        key = (array.dtype.str, array.shape, hashlib.sha256(array.data).digest())
        if key not in self._by_content:
            self._by_content[key] = self._names.fresh(name)
            self.tensors.append(numpy_helper.from_array(array, self._by_content[key]))
        return self._by_content[key]


class Nodes:
    """Nodes in the order in which they are added.

    Args:
        names: Names of the tensors; shared by a graph and the loop bodies inside it.
        constants: Where constants go; None: into nodes, as in a function.
        prefix: Of all names.
    """

    def __init__(self, names: Names, constants: Constants | None = None, prefix: str = "") -> None:
        self.names = names
        self.prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self._constants = constants
        self._inside: dict[tuple[str, bytes], str] = {}

    def constant(self, array: Any, dtype: DType, name: str) -> str:
        """Name of a tensor with these values."""
        values = np.asarray(array).astype(dtype)
        if self._constants is not None:
            return self._constants.add(values, name)
        key = (values.dtype.str, values.tobytes())
        if key not in self._inside:
            self._inside[key] = self.names.fresh(name)
            tensor = numpy_helper.from_array(values, self._inside[key])
            self.nodes.append(helper.make_node("Constant", [], [self._inside[key]], value=tensor))
        return self._inside[key]

    def op(self, operator: str, *inputs: str, name: str, **attributes: Any) -> str:
        """Add a node with one output; returns the output's name."""
        output = self.names.fresh(self.prefix + name)
        self.nodes.append(
            helper.make_node(operator, list(inputs), [output], name=output, **attributes)
        )
        return output

    def call(
        self, function: str, inputs: Sequence[str], outputs: Sequence[str], *, name: str
    ) -> list[str]:
        """Add a call of a function of our domain; returns the outputs' names."""
        fresh = [self.names.fresh(f"{self.prefix}{name}.{output}") for output in outputs]
        self.nodes.append(
            helper.make_node(function, list(inputs), fresh, name=self.prefix + name, domain=DOMAIN)
        )
        return fresh

    def cast(self, name: str, dtype: DType) -> str:
        """Convert a tensor."""
        label = f"{name.removeprefix(self.prefix)}.{dtype}"
        return self.op("Cast", name, name=label, to=element_type(dtype))

    def outputs(self) -> set[str]:
        """Names of all tensors that the nodes make."""
        return {output for node in self.nodes for output in node.output}

    def rename(self, names: Mapping[str, str]) -> None:
        """Give tensors that the nodes make other names; loop bodies and branches are not asked."""
        for node in self.nodes:
            for field in (node.input, node.output):
                for n, name in enumerate(field):
                    field[n] = names.get(name, name)

    def scalar_graph(self, name: str) -> onnx.GraphProto:
        """A branch that yields what the last node made: one integer."""
        result = helper.make_tensor_value_info(self.nodes[-1].output[0], onnx.TensorProto.INT64, [])
        return helper.make_graph(self.nodes, name, [], [result])
