"""Graphs that trispike wrote, as the network that they were."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.errors import FileFormatError, TrispikeError
from trispike.export.nir.euler import from_standard
from trispike.export.nir.layout import reduced
from trispike.export.nir.nodes import (
    CTSN,
    CUSTOM_NODES,
    FORMAT_VERSION,
    CTSNInput,
    CTSNReadout,
)
from trispike.export.nir.package import nir
from trispike.export.nir.write import to_graph
from trispike.network import (
    Connection,
    Conv2d,
    Dense,
    FixedPointNeuron,
    FloatNetwork,
    Identity,
    Input,
    IntegerNetwork,
    Neuron,
    Population,
    Readout,
    SumPool,
)

Array: TypeAlias = npt.NDArray[Any]


def is_own(graph: Any) -> bool:
    """Whether a graph has the nodes that make it complete for us."""
    kinds = [type(node) for node in graph.nodes.values()]
    return CTSNInput in kinds and CTSNReadout in kinds


def from_own(graph: Any) -> FloatNetwork | IntegerNetwork:
    """The network of a graph that :func:`trispike.export.nir.to_graph` made.

    The network is exported again and compared with the graph, node by node, field by field and
    edge by edge, so that nothing that the graph says can be overlooked.

    Raises:
        FileFormatError: Another format version, or a graph that was edited inconsistently.
    """
    try:
        entry, source = _only(graph, CTSNInput)
        name, readout = _only(graph, CTSNReadout)
        _check_versions(graph)
        network = _network(graph, entry, source, name, readout)
    except (KeyError, AttributeError, TypeError, ValueError, IndexError) as error:
        raise _edited("graph", f"nodes that do not fit together ({error!r})") from error
    except FileFormatError:
        raise
    except TrispikeError as error:
        raise _edited("graph", f"a network that is not valid ({error})") from error
    _check_same(graph, to_graph(network, dt=float(source.dt)))
    return network


def neuron_of(node: CTSN, name: str) -> Neuron | FixedPointNeuron:
    """The neuron of a node.

    Raises:
        FileFormatError: A layout contradicts its array, or the kind of number is unknown.
        InvalidNetworkError: A parameter is out of its range.
    """
    kinds: dict[str, type[Neuron] | type[FixedPointNeuron]] = {
        "float": Neuron,
        "fixed": FixedPointNeuron,
    }
    kind = kinds.get(node.number)
    if kind is None:
        raise _edited(f"node {name!r}, field 'number'", repr(node.number))
    plain: dict[str, Callable[[Any], Any]] = {
        "strict": bool, "fire_once": bool, "fire_from": int, "fire_until": _until,
        "gains": np.ndarray.tolist, "state_bits": int, "state_shift": int, "reset": str,
    }  # fmt: skip
    fields, line = {}, 0
    for field in dataclasses.fields(kind):
        value = getattr(node, field.name)
        if field.name in plain:
            fields[field.name] = plain[field.name](value)
        else:
            what = f"node {name!r}, field {field.name!r}"
            fields[field.name] = reduced(value, node.layout[line], what)
            line += 1
    return kind(**fields)


def _until(step: Any) -> int | None:
    return None if int(step) == -1 else int(step)


def _network(
    graph: Any, entry: str, source: CTSNInput, name: str, readout: CTSNReadout
) -> FloatNetwork | IntegerNetwork:
    dt = float(source.dt)
    labels = _strings(readout.connections)
    connections = [
        _connection(graph, label, readout, line, dt) for line, label in enumerate(labels)
    ]
    kinds: dict[str, type[FloatNetwork] | type[IntegerNetwork]] = {
        "float": FloatNetwork,
        "integer": IntegerNetwork,
    }
    mean, std = (
        reduced(getattr(source, field), source.layout[line], f"node {entry!r}, field {field!r}")
        for line, field in enumerate(("mean", "std"))
    )
    return kinds[source.network](
        input=Input(
            shape=source.mean.shape,
            encoding=str(source.encoding),  # type: ignore[arg-type]
            name=entry,
            mean=mean,
            std=std,
            scale=float(source.scale) or None,
        ),
        populations={
            population: _population(graph, population, labels, dt)
            for population in _strings(readout.populations)
        },
        connections=tuple(c for c in connections if c.target != name),
        readout=Readout(
            connections=tuple(c for c in connections if c.target == name),
            bias=readout.bias,
            weights=readout.weights,
            name=name,
            state_shift=int(readout.state_shift),
            scale=float(readout.scale),
        ),
        steps=int(source.steps),
        provenance=_provenance(graph.metadata),
    )


def _provenance(metadata: dict[str, Any]) -> dict[str, Any]:
    """What the network came from, and the file; whatever is unreadable there is left out."""
    plain = {
        key: value.item() if isinstance(value, np.generic) else value
        for key, value in metadata.items()
        if isinstance(value, str | int | float | np.generic)
    }
    try:
        before = json.loads(str(plain.pop("provenance", "{}")))
    except (TypeError, json.JSONDecodeError):
        before = {}
    return {**(before if isinstance(before, dict) else {}), "nir": plain}


def _population(graph: Any, name: str, labels: list[str], dt: float) -> Population:
    node = graph.nodes[name]
    if isinstance(node, CTSN):
        return Population(shape=node.th_pos.shape, neuron=neuron_of(node, name))
    neuron = from_standard(node, dt)
    shape = node.v_threshold.shape
    first = next((label for label in labels if _ends(label)[1] == name), None)
    bias = None if first is None else getattr(graph.nodes[first], "bias", None)
    if bias is not None and np.any(bias):
        if isinstance(graph.nodes[first], nir.Conv2d):
            bias = bias.reshape(-1, 1, 1)
        fields = {**neuron.array_fields(), **neuron.plain_fields(), "bias": bias}
        neuron = Neuron(**fields)
    return Population(shape=shape, neuron=neuron)


def _connection(graph: Any, label: str, readout: CTSNReadout, line: int, dt: float) -> Connection:
    sources, target = _ends(label)
    nodes = graph.nodes
    delay = nodes.get(f"{label}:delay")
    shift = nodes.get(f"{label}:shift")
    stages: list[Any] = []
    while f"{label}:pool{len(stages) + 1}" in nodes:
        stages.append(nodes[f"{label}:pool{len(stages) + 1}"])
    pool: SumPool | None = None
    for stage in reversed(stages):
        pool = SumPool(
            kernel=_pair(stage.kernel_size),
            stride=_pair(stage.stride),
            padding=_pair(stage.padding),
            dilation=_pair(getattr(stage, "dilation", (1, 1))),
            then=pool,
        )
    node = nodes[label]
    operator: Conv2d | Dense | Identity
    if isinstance(node, nir.Scale):
        what = f"node {label!r}, field 'scale'"
        operator = Identity(scale=reduced(node.scale, readout.scale_layout[line], what))
    elif isinstance(node, nir.Conv2d):
        operator = Conv2d(
            weight=node.weight,
            stride=_pair(node.stride),
            padding=_pair(node.padding),
            dilation=_pair(node.dilation),
            groups=int(node.groups),
        )
    else:
        operator = Dense(weight=node.weight)
    return Connection(
        sources=sources,
        target=target,
        operator=operator,
        pool=pool,
        delay=0 if delay is None else round(float(delay.delay.flat[0]) / dt),
        exponent=0 if shift is None else int(shift.scale.flat[0]).bit_length() - 1,
        bits=int(readout.bits[line]),
    )


def _ends(label: str) -> tuple[tuple[str, ...], str]:
    """Sources and target of a connection's label, "a+b->c#2"."""
    before, _, after = label.partition("->")
    return tuple(before.split("+")), after.partition("#")[0]


def _strings(values: Any) -> list[str]:
    return [v.decode("utf8") if isinstance(v, bytes) else str(v) for v in values]


def _pair(value: Any) -> tuple[int, int]:
    rows, columns = (int(n) for n in value)
    return rows, columns


def _only(graph: Any, kind: type) -> tuple[str, Any]:
    found = [(name, node) for name, node in graph.nodes.items() if isinstance(node, kind)]
    if len(found) != 1:
        raise _edited("graph", f"{len(found)} nodes of type {kind.__name__}")
    return found[0]


def _check_versions(graph: Any) -> None:
    for name, node in graph.nodes.items():
        if isinstance(node, CUSTOM_NODES) and int(node.format_version) != FORMAT_VERSION:
            raise FileFormatError(
                f"node {name!r}, field 'format_version'",
                got=str(node.format_version),
                expected=str(FORMAT_VERSION),
                fix="Read it with the release of trispike that wrote it, or a newer one.",
            )


def _check_same(graph: Any, expected: Any) -> None:
    """Raise unless a graph is what its network is exported as."""
    edges = {(str(a), str(b)) for a, b in graph.edges}
    nodes = dict(graph.nodes)
    # nir.read with its type check adds an Input or Output wherever there is none, unasked.
    for name in set(nodes) - set(expected.nodes):
        touching = {edge for edge in edges if name in edge}
        if isinstance(nodes[name], nir.Input):
            wanted = {(name, name.removeprefix("input_"))}
        else:
            wanted = {(name.removeprefix("output_"), name)}
        if isinstance(nodes[name], nir.Input | nir.Output) and touching == wanted:
            edges -= touching
            del nodes[name]
    for name in sorted(set(nodes) ^ set(expected.nodes)):
        raise _edited(f"node {name!r}", "one node too many" if name in nodes else "no such node")
    for edge in sorted(edges ^ {tuple(e) for e in expected.edges}):
        raise _edited(
            f"edge {edge[0]!r} to {edge[1]!r}",
            "an edge that its connection does not have" if edge in edges else "no such edge",
        )
    for name, node in nodes.items():
        other = expected.nodes[name]
        if type(node) is not type(other):
            raise _edited(f"node {name!r}", f"type {type(node).__name__}")
        for field in dataclasses.fields(node):
            if field.name in ("metadata", "input_type", "output_type"):
                continue
            if not _equal(getattr(node, field.name), getattr(other, field.name)):
                raise _edited(f"node {name!r}, field {field.name!r}", "a value that contradicts "
                              "the rest of the graph")  # fmt: skip


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, list) or isinstance(b, list):
        return _strings(a) == _strings(b)
    return bool(np.array_equal(np.asarray(a), np.asarray(b)))


def _edited(what: str, got: str) -> FileFormatError:
    return FileFormatError(
        what,
        got=got,
        expected="a graph as trispike writes it",
        fix="The file was edited or damaged; export the network again.",
    )
