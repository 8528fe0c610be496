"""Networks as NIR graphs, and graphs as files."""

from __future__ import annotations

import importlib.metadata
import json
import os
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.errors import InvalidSettingError
from trispike.export.nir.euler import to_standard
from trispike.export.nir.layout import full, layout, row
from trispike.export.nir.nodes import (
    CTSN,
    FORMAT_VERSION,
    CTSNInput,
    CTSNReadout,
    DilatedSumPool2d,
    Unflatten,
)
from trispike.export.nir.package import nir
from trispike.network import (
    Connection,
    Conv2d,
    Dense,
    FixedPointNeuron,
    Identity,
    Network,
    Neuron,
    Population,
    SumPool,
    digest,
)
from trispike.network.connection import Shape
from trispike.network.files import whole_file
from trispike.network.learning import refuse_plastic

Array: TypeAlias = npt.NDArray[Any]

RAW, LOGITS = "raw", "logits"
"""Names of the graph's Input and Output, unless something in the network has them."""

RANK = 3
"""Sizes in a row of a layout."""


def write(network: Network, path: str | os.PathLike[str], *, dt: float = 1.0) -> None:
    """Write a network as an NIR file, whole or not at all.

    Args:
        network: A float or an integer network.
        path: The file.
        dt: Duration of a time step, in the unit that every tau and delay shall have.

    Raises:
        InvalidSettingError: dt is not a positive, finite number.
    """
    write_graph(to_graph(network, dt=dt), path)


def write_graph(graph: Any, path: str | os.PathLike[str]) -> None:
    """Write a graph as an NIR file, whole or not at all."""
    with whole_file(path) as temporary:
        nir.write(temporary, graph)


def to_graph(network: Network, *, dt: float = 1.0) -> Any:
    """A network as an NIR graph that says all of it.

    Populations that are exactly standard ones become standard nodes, the others
    :class:`~trispike.export.nir.CTSN`; :func:`trispike.export.nir.from_graph` makes an equal
    network of the graph again.

    Raises:
        InvalidSettingError: dt is not a positive, finite number.
    """
    checked_dt(dt)
    refuse_plastic(network, "NIR")
    parts = _Parts(network, dt)
    parts.add_input()
    for name, population in network.populations.items():
        parts.add_population(name, population)
    for label, connection in network.labelled():
        parts.add_connection(label, connection)
    parts.add_readout()
    metadata = {
        "trispike": importlib.metadata.version("trispike"),
        "dt": dt,
        "network_sha256": digest(network),
        "provenance": json.dumps(dict(network.provenance)),
    }
    return nir.NIRGraph(nodes=parts.nodes, edges=parts.edges, metadata=metadata, type_check=False)


def checked_dt(dt: float) -> None:
    """Raise unless dt can be a duration."""
    if not (isinstance(dt, int | float) and 0 < dt < np.inf):
        raise InvalidSettingError(
            "dt",
            got=repr(dt),
            expected="a positive, finite number: the duration of a time step",
            fix="State it in the unit of the graph's time constants.",
        )


@dataclass
class _Parts:
    """The graph while it is being built."""

    network: Network
    dt: float
    nodes: dict[str, Any] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    standard: set[str] = field(default_factory=set)
    """Populations that are standard nodes, whose bias the first operator into them carries."""

    def free_name(self, name: str) -> str:
        """The name, with underscores if the network has it."""
        network = self.network
        taken = {network.input.name, network.readout.name, *network.populations}
        while name in taken:
            name += "_"
        return name

    def add_input(self) -> None:
        network, source = self.network, self.network.input
        arrays = {"mean": source.mean, "std": source.std}
        raw = self.free_name(RAW)
        self.nodes[raw] = nir.Input(input_type=np.array(source.shape))
        self.nodes[source.name] = CTSNInput(
            format_version=FORMAT_VERSION,
            network=network.kind,
            encoding=source.encoding,
            **{name: full(array, source.shape) for name, array in arrays.items()},
            layout=layout(arrays, RANK),
            scale=0.0 if source.scale is None else float(source.scale),
            steps=network.steps,
            dt=float(self.dt),
        )
        self.edges.append((raw, source.name))

    def add_population(self, name: str, population: Population) -> None:
        neuron = population.neuron
        incoming = self.network.into(name)
        node = None
        if isinstance(neuron, Neuron) and (not np.any(neuron.bias) or _takes(neuron, incoming)):
            node = to_standard(neuron, population.shape, self.dt)
        if node is not None:
            self.standard.add(name)
        self.nodes[name] = ctsn(neuron, population.shape) if node is None else node

    def add_connection(self, label: str, connection: Connection) -> None:
        target = connection.target
        shape = self.network.source_shape(connection)
        chain: list[tuple[str, Any]] = []
        if connection.delay:
            delay = np.full(shape, connection.delay * self.dt)
            chain.append((f"{label}:delay", nir.Delay(delay=delay)))
        for count, stage in enumerate(connection.pool_stages, 1):
            pooled = stage.output_shape(shape)
            chain.append((f"{label}:pool{count}", _pool(stage, shape, pooled)))
            shape = pooled
        bias = self._bias(connection)
        operator = connection.operator
        if isinstance(operator, Dense) and len(shape) > 1:
            chain.append((f"{label}:flatten", flatten_node(shape)))
        chain.append((label, operator_node(operator, shape, bias)))
        shape = operator.output_shape(shape)
        if connection.exponent:
            scale = np.full(shape, 1 << connection.exponent, dtype=np.int64)
            chain.append((f"{label}:shift", nir.Scale(scale=scale)))
        wanted = self.network.shape_of(target)
        if shape != wanted:
            reshape = (
                flatten_node(shape)
                if len(wanted) == 1
                else Unflatten(format_version=FORMAT_VERSION, shape=np.array(wanted))
            )
            chain.append((f"{label}:reshape", reshape))
        self.nodes.update(chain)
        names = [name for name, _ in chain]
        self.edges += [(source, names[0]) for source in connection.sources]
        self.edges += list(zip(names, [*names[1:], target], strict=True))

    def _bias(self, connection: Connection) -> Array | None:
        """The bias of a standard population, at the first connection into it."""
        target = connection.target
        if target not in self.standard or connection is not self.network.into(target)[0]:
            return None
        bias = self.network.populations[target].neuron.bias
        return bias if np.any(bias) else None

    def add_readout(self) -> None:
        network, readout = self.network, self.network.readout
        scales = [
            c.operator.scale.shape if isinstance(c.operator, Identity) else None
            for c in network.all_connections
        ]
        logits = self.free_name(LOGITS)
        self.nodes[readout.name] = CTSNReadout(
            format_version=FORMAT_VERSION,
            bias=np.array(readout.bias),
            weights=np.array(readout.weights),
            state_shift=readout.state_shift,
            scale=float(readout.scale),
            populations=list(network.populations),
            connections=list(network.labels),
            bits=np.array([c.bits for c in network.all_connections], dtype=np.int64),
            scale_layout=np.array([row(shape, RANK) for shape in scales], dtype=np.int64),
        )
        self.nodes[logits] = nir.Output(output_type=np.array([readout.classes]))
        self.edges.append((readout.name, logits))


def ctsn(neuron: Neuron | FixedPointNeuron, shape: Shape) -> CTSN:
    """A neuron as a node, parameters in full shape."""
    arrays, plain = neuron.array_fields(), neuron.plain_fields()
    fixed = isinstance(neuron, FixedPointNeuron)
    until = neuron.fire_until
    schedule = {
        "fire_until": -1 if until is None else until,
        "gains": np.array(neuron.gains, np.int64 if fixed else np.float64),
    }
    fields: dict[str, Any] = {name: full(array, shape) for name, array in arrays.items()}
    return CTSN(
        format_version=FORMAT_VERSION,
        number="fixed" if fixed else "float",
        **fields,
        **{"state_bits": 0, "state_shift": 0, **plain, **schedule},
        layout=layout(arrays, RANK),
    )


def _takes(neuron: Neuron, incoming: tuple[Connection, ...]) -> bool:
    """Whether the first operator into a population can carry its bias, and give it back."""
    if not incoming or np.any(neuron.k):  # it would enter the synaptic current
        return False
    operator, shape = incoming[0].operator, neuron.bias.shape
    if isinstance(operator, Conv2d):
        return shape == (operator.weight.shape[0], 1, 1)
    return isinstance(operator, Dense) and shape == (operator.weight.shape[0],)


def _pool(pool: SumPool, shape: Shape, pooled: Shape) -> Any:
    fields = {
        "kernel_size": np.array(pool.kernel),
        "stride": np.array(pool.stride),
        "padding": np.array(pool.padding),
    }
    if pool.dilation == (1, 1):
        return nir.SumPool2d(**fields)
    return DilatedSumPool2d(
        format_version=FORMAT_VERSION,
        **fields,
        dilation=np.array(pool.dilation),
        input_shape=np.array(shape),
        output_shape=np.array(pooled),
    )


def flatten_node(shape: Shape) -> Any:
    """Row-major (C, H, W) to (N,)."""
    return nir.Flatten(input_type={"input": np.array(shape)}, start_dim=0, end_dim=-1)


def operator_node(operator: Conv2d | Dense | Identity, shape: Shape, bias: Array | None) -> Any:
    """An operator on values of a shape; the bias may be one number, or one per channel."""
    weight = np.array(operator.weight)
    if isinstance(operator, Identity):
        return nir.Scale(scale=full(weight, shape))
    outputs = weight.shape[0]
    flat = np.zeros(outputs, dtype=weight.dtype)
    if bias is not None:
        flat = np.array(np.broadcast_to(np.reshape(bias, -1), outputs))
    if isinstance(operator, Dense):
        return nir.Linear(weight=weight) if bias is None else nir.Affine(weight, flat)
    return nir.Conv2d(
        input_shape=shape[1:],
        weight=weight,
        stride=operator.stride,
        padding=operator.padding,
        dilation=operator.dilation,
        groups=operator.groups,
        bias=flat,
    )
