"""Networks as graphs of standard nodes only, in the discretization of one tool.

Such a graph runs in tools that know nothing of trispike. It says less: what stays with the caller
is returned as notes, and stands in the graph's metadata.
"""

from __future__ import annotations

import importlib.metadata
import os
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from trispike.errors import InvalidDataError, UnsupportedError
from trispike.export.nir.conventions import Convention, as_read
from trispike.export.nir.foreign import from_foreign
from trispike.export.nir.layout import full
from trispike.export.nir.lossy import Lowered, Mismatch, lowered, measured
from trispike.export.nir.package import nir
from trispike.export.nir.write import LOGITS, RAW, flatten_node, operator_node, write_graph
from trispike.network import (
    Connection,
    Conv2d,
    Dense,
    FloatNetwork,
    Identity,
    Network,
    Neuron,
    Population,
    SumPool,
    digest,
)
from trispike.network.connection import Shape
from trispike.network.schedules import scheduled_fields

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StandardExport:
    """What a graph of standard nodes says, and what it does not."""

    graph: Any
    """An ``nir.NIRGraph``."""
    notes: tuple[str, ...]
    """What the graph does not say and whoever runs it has to do."""
    losses: tuple[str, ...]
    """What was changed, if that was allowed."""
    mismatch: Mismatch | None
    """How far the graph is from the network on the data, if some were given."""


def write_standard(
    network: Network, path: str | os.PathLike[str], **options: Any
) -> StandardExport:
    """Write a network as an NIR file of standard nodes; see :func:`to_standard_graph`."""
    export = to_standard_graph(network, **options)
    write_graph(export.graph, path)
    return export


def to_standard_graph(
    network: Network,
    *,
    convention: str = "exact",
    dt: float | None = None,
    allow_lossy: bool = False,
    data: Array | None = None,
) -> StandardExport:
    """A network as a graph of standard nodes only.

    Args:
        network: A float network.
        convention: The tool that shall read the graph.
        dt: Duration of a time step; by default the tool's own, or 1.
        allow_lossy: Replace neurons that standard nodes cannot say by such as they can: two
            opposed LIFs for a ternary one.
        data: Raw data; the graph is read again as the tool reads it, run on them and compared.
            Needed for losses.

    Raises:
        UnsupportedError: A population or connection has no exact form in standard nodes as this
            tool reads them, and losses were not allowed or would not help.
        InvalidSettingError: An unknown convention, or a dt that is not positive.
        InvalidDataError: Losses are allowed, and there are no data to measure them on.
    """
    if dt is None and convention == "exact":
        dt = 1.0
    chosen = as_read(convention, dt=dt)
    if not isinstance(network, FloatNetwork):
        raise UnsupportedError(
            "network",
            got="an integer network",
            expected="a float one: standard nodes have neither rounding nor saturation",
            fix="Export the float network, or write all of it: --nodes complete.",
        )
    if allow_lossy and (data is None or not len(data)):
        raise InvalidDataError(
            "lossy lowering",
            got="no data",
            expected="data to measure on what it costs",
            fix="Give --data.",
        )
    lower = Lowered(network=network, losses=(), pairs={n: (n, None) for n in network.populations})
    if allow_lossy and data is not None:
        lower = _best(network, chosen, data)
    graph = _Plain(lower.network, chosen).graph()
    return StandardExport(
        graph=graph,
        notes=_notes(network, chosen),
        losses=lower.losses,
        mismatch=None if data is None else _measured(network, lower, graph, chosen, data),
    )


def _measured(
    network: FloatNetwork, lower: Lowered, graph: Any, convention: Convention, data: Array
) -> Mismatch:
    """How far the graph, read again as the tool reads it, is from the network."""
    again = from_foreign(
        graph, convention=convention, steps=network.steps, encoding=network.input.encoding
    )
    names = {old: new for new, old in again.provenance["nir"]["populations"].items()}
    pairs = {
        name: (names[positive], None if negative is None else names[negative])
        for name, (positive, negative) in lower.pairs.items()
    }
    weights = replace(again.readout, weights=network.readout.weights)
    return measured(network, replace(again, readout=weights), pairs, data)


def _best(network: FloatNetwork, convention: Convention, data: Array) -> Lowered:
    """The lowering that differs least on the data."""
    reset = convention.reset
    if reset not in ("zero", "subtract", "none"):
        raise UnsupportedError(
            "lossy lowering",
            got=f"convention {convention.name!r} with reset {reset!r}",
            expected="one that resets at once",
            fix="Choose another convention.",
        )
    tried = [lowered(network, reset, complement=choice) for choice in (False, True)]  # type: ignore[arg-type]
    if len({lower.losses for lower in tried}) == 1:
        return tried[0]
    return min(tried, key=lambda x: measured(network, x.network, x.pairs, data).mismatches)


def _notes(network: Network, convention: Convention) -> tuple[str, ...]:
    source, weights = network.input, network.readout.weights
    notes = [f"dt is {convention.dt:g}; run {network.steps} time steps per sample."]
    if np.any(source.mean) or (source.std != 1).any():
        notes.append("Feed (x - mean) / std; mean and std stay with the network file.")
    if source.encoding == "direct":
        notes.append("Feed the same frame at every time step.")
    if source.encoding == "once":
        notes.append("Feed the frame at the first time step, and zeros afterwards.")
    kind = "their mean" if np.allclose(weights, 1 / network.steps) else "their weighted sum"
    listed = ", ".join(f"{w:g}" for w in weights[:8]) + (", ..." if len(weights) > 8 else "")
    if convention.caveat:
        notes.append(convention.caveat)
    notes.append(f"The output is one vector per step; the logits are {kind} (weights {listed}).")
    return tuple(notes)


@dataclass
class _Plain:
    """The graph while it is being built."""

    network: FloatNetwork
    convention: Convention
    nodes: dict[str, Any] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    biases: dict[str, Array] = field(default_factory=dict)
    """By target: what the first operator into it has to add."""

    def graph(self) -> Any:
        network = self.network
        taken = set(network.populations)
        raw, logits = RAW, LOGITS
        while raw in taken:
            raw += "_"
        while logits in taken:
            logits += "_"
        self.nodes[raw] = nir.Input(input_type=np.array(network.input.shape))
        for name, population in network.populations.items():
            self.nodes[name] = self._population(name, population)
        if np.any(network.readout.bias):
            self.biases[network.readout.name] = network.readout.bias
        names = {network.input.name: raw, network.readout.name: logits}
        for label, connection in network.labelled():
            self._connect(label.replace(".", "_"), connection, names)
        self.nodes[logits] = nir.Output(output_type=np.array([network.readout.classes]))
        return nir.NIRGraph(
            nodes=self.nodes,
            edges=self.edges,
            metadata={
                "trispike": importlib.metadata.version("trispike"),
                "convention": self.convention.name,
                "dt": float(self.convention.time_step),
                "network_sha256": digest(network),
                "notes": "\n".join(_notes(network, self.convention)),
            },
            type_check=False,
        )

    def _population(self, name: str, population: Population) -> Any:
        neuron = cast(Neuron, population.neuron)  # as in every float network
        shape, convention = population.shape, self.convention
        dt, refuse = convention.time_step, _Refusal(name, convention)
        _check_standard(neuron, convention, refuse)
        kind = "CubaLIF" if np.any(neuron.k) else "IF" if (neuron.b_pos == 1).all() else "LIF"
        if kind in convention.refused:
            raise refuse(f"an {kind}", f"another neuron: {convention.refused[kind]}")
        gain: Array = np.ones(())
        one: Array = np.ones(())
        if kind == "IF":
            drive = one if convention.if_gain == "one" else one / dt
            threshold = _threshold(neuron, gain, convention)
            node = nir.IF(*(full(x, shape) for x in (drive, threshold, np.zeros(()))))
            self._bias(name, neuron, None, refuse)
            return node
        tau = _time_constant(neuron.b_pos, convention, refuse)
        r: Array = one
        if convention.gain == "r" and convention.r == "any":
            r = 1 / (1 - neuron.b_pos)
        elif convention.gain == "r":
            gain = 1 - neuron.b_pos
        if convention.r == "decay":
            r = np.asarray(neuron.b_pos)
        elif convention.r == "tau*decay/dt":
            r = tau * neuron.b_pos / dt
        fields: dict[str, Array] = {"r": r}
        if kind == "CubaLIF":
            fields["tau_syn"] = _time_constant(neuron.k, convention, refuse)
            fields["tau_mem"] = tau
            fields["w_in"] = 1 / (1 - neuron.k) if convention.synapse_gain == "w_in" else one
            if convention.synapse_gain == "decay":
                gain = gain * neuron.k
        else:
            fields["tau"] = tau
        fields["v_threshold"] = _threshold(neuron, gain, convention)
        fields["v_reset"] = np.zeros(())
        fields["v_leak"] = self._bias(name, neuron, gain, refuse)
        return getattr(nir, kind)(**{key: full(value, shape) for key, value in fields.items()})

    def _bias(self, name: str, neuron: Neuron, gain: Array | None, refuse: _Refusal) -> Array:
        """The v_leak that adds the bias, unless the first operator into the population can."""
        if not np.any(neuron.bias):
            return np.zeros(())
        incoming = self.network.into(name)
        if incoming and not np.any(neuron.k) and _adds(incoming[0].operator, neuron.bias):
            self.biases[name] = neuron.bias
            return np.zeros(())
        leak = {"honoured": 1 - neuron.b_pos, "bias": np.ones(())}.get(self.convention.v_leak)
        both = self.convention.name == "norse" and np.any(neuron.k)  # it leaks the current, too
        if gain is None or leak is None or both:
            raise refuse("a bias that no operator before it can add", "a bias per channel")
        return neuron.bias * gain / leak

    def _connect(self, label: str, connection: Connection, names: dict[str, str]) -> None:
        network, convention = self.network, self.convention
        refuse = _Refusal(label, convention, "connection")
        shape = network.source_shape(connection)
        target = connection.target
        chain: list[tuple[str, Any]] = []
        implied = convention.recurrent_delay if target in connection.sources else 0
        if connection.delay and connection.delay != implied:
            delay = np.full(shape, connection.delay * convention.time_step)
            chain.append((f"{label}:delay", nir.Delay(delay=delay)))
        for count, stage in enumerate(connection.pool_stages, 1):
            chain.append((f"{label}:pool{count}", _pool(stage, shape)))
            shape = stage.output_shape(shape)
        operator, bias = connection.operator, None
        if network.into(target)[0] is connection:
            bias = self.biases.get(target)
        if isinstance(operator, Identity) and bias is not None:
            operator = Dense(weight=np.diag(full(operator.scale, shape).reshape(-1)))
        if isinstance(operator, Dense) and len(shape) > 1:
            chain.append((f"{label}:flatten", flatten_node(shape)))
        chain.append((label, operator_node(operator, shape, bias)))
        shape = operator.output_shape(shape)
        wanted = network.shape_of(target)
        if len(wanted) > 1 and len(shape) == 1:
            raise refuse("a matrix into rows and columns", "a convolution: NIR has no Unflatten")
        if shape != wanted:
            chain.append((f"{label}:reshape", flatten_node(shape)))
        self.nodes.update(chain)
        steps = [name for name, _ in chain]
        self.edges += [(names.get(s, s), steps[0]) for s in connection.sources]
        self.edges += list(zip(steps, [*steps[1:], names.get(target, target)], strict=True))


@dataclass(frozen=True)
class _Refusal:
    """Makes the error for one population or connection."""

    name: str
    convention: Convention
    what: str = "population"

    def __call__(self, got: str, expected: str) -> UnsupportedError:
        return UnsupportedError(
            f"{self.what} {self.name!r}",
            got=got,
            expected=f"{expected}, in standard nodes as {self.convention.name!r} reads them",
            fix="Write all of it (--nodes complete), or allow losses: --allow-lossy --data DATA.",
        )


def _check_standard(neuron: Neuron, convention: Convention, refuse: _Refusal) -> None:
    if np.isfinite(neuron.th_neg).any():
        raise refuse("negative spikes", "a binary neuron")
    if np.any(neuron.a_pos) or np.any(neuron.a_neg):
        raise refuse("a complement", "a = 0")
    if (np.asarray(neuron.b_pos) != neuron.b_neg).any():
        raise refuse("a leak that depends on the sign", "one leak")
    if (neuron.b_pos < 0).any() or (neuron.b_pos > 1).any() or (neuron.k < 0).any():
        raise refuse("a retention outside of 0..1", "a leak")
    if (neuron.b_pos == 1).any() and not (neuron.b_pos == 1).all():
        raise refuse("neurons with and without a leak", "one kind")
    if (neuron.k >= 1).any() or (np.any(neuron.k) and (neuron.b_pos == 1).any()):
        raise refuse("an integrator with a synaptic current", "leaks below 1")
    if neuron.reset != convention.reset:
        raise refuse(f"reset {neuron.reset!r}", f"reset {convention.reset!r}")
    if np.isfinite(neuron.floor).any():
        raise refuse("a lower bound of the potential", "none")
    if convention.if_floor != "none" and (neuron.b_pos == 1).any():
        raise refuse("no lower bound of the potential", "the tool's own, minus the threshold")
    if np.any(neuron.v_init):
        raise refuse("an initial potential", "0")
    if neuron.fire_once:
        raise refuse("at most one spike", "no such limit")
    for name in scheduled_fields(neuron):
        raise refuse(f"field {name!r}", "neurons that do the same at every time step")
    if convention.output_delay:
        raise refuse("spikes that leave at once", "spikes one step late")


def _threshold(neuron: Neuron, gain: Array, convention: Convention) -> Array:
    """The threshold that makes the tool's comparison ours, in the numbers that it has."""
    exact = neuron.th_pos * gain
    dtype = np.dtype(convention.precision).type
    rounded = exact.astype(dtype)
    if neuron.strict == convention.strict:
        return rounded.astype(np.float64)
    if convention.strict:  # the largest number that does not fire
        below = np.nextafter(rounded, dtype(-np.inf))
        return np.where(rounded >= exact, below, rounded).astype(np.float64)
    above = np.nextafter(rounded, dtype(np.inf))
    return np.where(rounded <= exact, above, rounded).astype(np.float64)


def _time_constant(kept: Array, convention: Convention, refuse: _Refusal) -> Array:
    dt = convention.time_step
    if convention.decay == "euler":
        tau = dt / (1 - kept)
    elif (kept <= 0).any():
        raise refuse("a retention of 0", "an exponential decay")
    else:
        tau = -dt / np.log(kept)
    return np.asarray(tau * dt if convention.tau_unit == "time*dt" else tau)


def _adds(operator: Conv2d | Dense | Identity, bias: Array) -> bool:
    """Whether an operator can carry a bias."""
    if isinstance(operator, Conv2d):
        return bias.ndim == 0 or bias.shape[-2:] == (1, 1)
    return isinstance(operator, Dense)


def _pool(pool: SumPool, shape: Shape) -> Any:
    if pool.dilation != (1, 1):
        ones = np.ones((shape[0], 1, *pool.kernel))
        depthwise = Conv2d(
            weight=ones,
            stride=pool.stride,
            padding=pool.padding,
            dilation=pool.dilation,
            groups=shape[0],
        )
        return operator_node(depthwise, shape, None)
    return nir.SumPool2d(
        kernel_size=np.array(pool.kernel),
        stride=np.array(pool.stride),
        padding=np.array(pool.padding),
    )
