"""Networks: populations, the connections between them, an input and a readout.

:class:`FloatNetwork` and :class:`IntegerNetwork` have one shape and are different types: a pass
that makes one from the other returns a new object.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from trispike.errors import InvalidDataError, InvalidNetworkError
from trispike.network.arrays import check_type, fits_shape, frozen_array, whole_number
from trispike.network.connection import Connection, Shape
from trispike.network.neuron import FixedPointNeuron, Neuron

Array: TypeAlias = npt.NDArray[Any]
Encoding: TypeAlias = Literal["direct", "frames", "spikes", "once"]

PAYLOAD_LIMIT = 127
"""Largest magnitude of a graded spike: signed 8 bit, symmetric."""

_CLIPPING_BATCH = 256
"""Samples that are in memory as float64 while clipped values are counted."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Input:
    """What enters the network, and how raw data become it.

    Raises:
        InvalidNetworkError: The shape, encoding, or a number is out of range, or spikes are to be
            normalized.
    """

    shape: Shape
    """(C, H, W) or (N,)."""
    encoding: Encoding = "direct"
    """direct: one analog frame, repeated at every step; frames: one analog or count frame per
    step; spikes: integers per step, used as they are, without mean and std; once: one analog
    frame, presented at the first step only, and nothing afterwards."""
    name: str = "input"
    """Name by which connections refer to it."""
    mean: Array = 0.0  # type: ignore[assignment]
    """Subtracted from raw data on the host; scalar or per channel."""
    std: Array = 1.0  # type: ignore[assignment]
    """Divides raw data on the host, after the mean; scalar or per channel."""
    scale: float | None = None
    """Integer networks: value of one unit of the graded spikes; None: the values stay analog."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _checked_shape("input", self.shape))
        for name in ("mean", "std"):
            value = frozen_array(getattr(self, name), np.float64)
            object.__setattr__(self, name, value)
            _check_finite(f"input field {name!r}", value)
            if not fits_shape(value.shape, self.shape):
                raise InvalidNetworkError(
                    f"input field {name!r}",
                    got=f"shape {value.shape}",
                    expected=f"one that broadcasts to {self.shape}",
                    fix="Use a scalar, or one value per channel as (C, 1, 1).",
                )
        if self.encoding not in get_args(Encoding):
            raise InvalidNetworkError(
                "input field 'encoding'",
                got=repr(self.encoding),
                expected="one of " + ", ".join(get_args(Encoding)),
                fix="Choose one of these.",
            )
        if (self.std <= 0).any() or (self.scale is not None and not 0 < self.scale < np.inf):
            raise InvalidNetworkError(
                "input scaling",
                got=f"std {self.std.reshape(-1)[:4]}, scale {self.scale}",
                expected="positive numbers",
                fix="Correct the normalization of the data.",
            )
        if self.scale is not None:
            object.__setattr__(self, "scale", float(self.scale))
        if self.encoding == "spikes" and ((self.mean != 0).any() or (self.std != 1).any()):
            raise InvalidNetworkError(
                "input normalization",
                got="mean and std for spikes",
                expected="mean 0 and std 1, because spikes are used as they are",
                fix="Use the 'frames' encoding for values that are to be normalized.",
            )

    @property
    def has_frames(self) -> bool:
        """Whether raw data have a frame for every time step, and not one for all of them."""
        return self.encoding in ("frames", "spikes")

    def data_shape(self, steps: int) -> Shape:
        """Shape of one sample of raw data: the input's, with time first if it has frames."""
        return (steps, *self.shape) if self.has_frames else self.shape

    def encoded_shape(self, steps: int) -> Shape:
        """Shape of one sample that :meth:`encode` returned; time first unless direct."""
        return self.shape if self.encoding == "direct" else (steps, *self.shape)

    def check(self, data: Array, steps: int) -> None:
        """Refuse raw data that :meth:`encode` cannot take.

        Args:
            data: (N, *shape) for one frame, (N, T, *shape) otherwise; any real dtype.
            steps: T.

        Raises:
            InvalidDataError: Wrong shape, NaN or infinity, or spikes that are not integers in
                -127..127.
        """
        data = np.asarray(data)
        expected = self.data_shape(steps)
        if data.dtype.kind not in "biuf" or data.shape[1:] != expected or not data.ndim:
            raise InvalidDataError(
                "data",
                got=f"an array of shape {data.shape} and dtype {data.dtype}",
                expected="numbers of shape " + str(("samples", *expected)).replace("'", ""),
                fix=f"Bring the data to the input shape {self.shape} ({self.encoding} encoding"
                + (f", {steps} steps)." if self.has_frames else ")."),
            )
        if data.dtype.kind == "f" and not np.isfinite(data).all():
            raise InvalidDataError(
                "data",
                got=f"{int((~np.isfinite(data)).sum())} values that are NaN or infinite",
                expected="finite numbers",
                fix="Clean the data first.",
            )
        if self.encoding == "spikes":
            whole = np.rint(data) == data
            if not whole.all() or np.abs(data.astype(np.float64)).max(initial=0) > PAYLOAD_LIMIT:
                raise InvalidDataError(
                    "data",
                    got="values that are not integers in -127..127",
                    expected="ternary or graded spikes",
                    fix="Use the 'frames' encoding for analog values.",
                )

    def encode(self, data: Array, steps: int) -> Array:
        """Turn raw data into what the network receives.

        Args:
            data: (N, *shape) for one frame, (N, T, *shape) otherwise; any real dtype.
            steps: T.

        Returns:
            (N, *shape) for direct input, otherwise (N, T, *shape): float64, or int64 graded
            spikes in -127..127 in an integer network (rounded half to even, then clipped).

        Raises:
            InvalidDataError: As :meth:`check`.
        """
        self.check(data, steps)
        data = np.asarray(data)
        if self.encoding == "spikes":
            return data.astype(np.float64 if self.scale is None else np.int64)
        units = self._units(data)
        if self.scale is not None:
            units = np.clip(units, -PAYLOAD_LIMIT, PAYLOAD_LIMIT).astype(np.int64)
        if self.encoding != "once":
            return units
        frames = np.zeros((len(units), *self.encoded_shape(steps)), units.dtype)
        frames[:, 0] = units
        return frames

    def clipped(self, data: Array) -> float:
        """Fraction of raw values that :meth:`encode` clips because they are out of range, 0..1."""
        data = np.asarray(data)
        if self.scale is None or self.encoding == "spikes" or not data.size:
            return 0.0
        count = 0
        for first in range(0, len(data), _CLIPPING_BATCH):
            units = self._units(data[first : first + _CLIPPING_BATCH])
            count += int((np.abs(units) > PAYLOAD_LIMIT).sum())
        return count / data.size

    def _units(self, data: Array) -> Array:
        """Normalized data; in an integer network as whole multiples of its scale, not clipped."""
        values = (data.astype(np.float64) - self.mean) / self.std
        return values if self.scale is None else np.rint(values / self.scale)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Population:
    """Neurons of one shape under one set of dynamics.

    Raises:
        InvalidNetworkError: A parameter of the neuron does not broadcast to the shape.
    """

    shape: Shape
    """(C, H, W) or (N,)."""
    neuron: Neuron | FixedPointNeuron
    """Parameters, in float or fixed point."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _checked_shape("population", self.shape))
        check_type("population field 'neuron'", self.neuron, Neuron, FixedPointNeuron)
        self.neuron.check_shape(self.shape)

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Readout:
    """Logits: sum over t of weights[t] * (W_out . s[t] + bias).

    In an integer network bias and weights are integers, the sum of the connections is shifted
    left by ``state_shift`` before the bias is added, and ``scale`` turns the integer logits into
    the float ones. It is one number for all classes, so that argmax needs no floats.

    Raises:
        InvalidNetworkError: A shape or number is out of range.
    """

    connections: tuple[Connection, ...]
    """Connections whose target is this readout."""
    bias: Array
    """(classes,), added at every step; float64, or int64."""
    weights: Array
    """(T,), weight of each time step; uniform 1/T is the mean, one-hot the last step."""
    name: str = "readout"
    """Name by which its connections refer to it."""
    state_shift: int = 0
    """Integer networks: left shift of the accumulator, in whose units the bias is."""
    scale: float = 1.0
    """Integer networks: value of one unit of an integer logit."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "connections", tuple(self.connections))
        for connection in self.connections:
            check_type(f"readout {self.name!r}, field 'connections'", connection, Connection)
        for name in ("bias", "weights"):
            value = np.asarray(getattr(self, name))
            array = frozen_array(value, np.int64 if value.dtype.kind in "iu" else np.float64)
            object.__setattr__(self, name, array)
            _check_finite(f"readout field {name!r}", array)
        if self.bias.ndim != 1 or self.weights.ndim != 1 or not self.bias.size:
            raise InvalidNetworkError(
                f"readout {self.name!r}",
                got=f"bias of shape {self.bias.shape}, weights of shape {self.weights.shape}",
                expected="bias (classes,) and weights (steps,)",
                fix="Flatten them.",
            )
        shift = whole_number(f"readout {self.name!r}, field 'state_shift'", self.state_shift, 0, 16)
        object.__setattr__(self, "state_shift", shift)
        if not 0 < self.scale < np.inf:
            raise InvalidNetworkError(
                f"readout {self.name!r}",
                got=f"scale {self.scale}",
                expected="a positive, finite scale",
                fix="Correct the number.",
            )
        object.__setattr__(self, "scale", float(self.scale))

    @property
    def classes(self) -> int:
        """Number of outputs."""
        return int(self.bias.shape[0])

    def checked_labels(self, labels: Any, samples: int) -> npt.NDArray[np.int64]:
        """Labels of so many samples, as int64.

        Raises:
            InvalidDataError: Not one class index per sample.
        """
        labels = np.asarray(labels)
        good = labels.dtype.kind in "iu" and labels.shape == (samples,)
        if not good or (samples and (labels.min() < 0 or labels.max() >= self.classes)):
            got = f"an array of shape {labels.shape} and dtype {labels.dtype}"
            if good:
                got = f"values from {labels.min()} to {labels.max()}"
            raise InvalidDataError(
                "labels",
                got=got,
                expected=f"{samples} integers in 0..{self.classes - 1}",
                fix="Give one class index per sample.",
            )
        return labels.astype(np.int64)

    def step_logits(self, current: Array) -> Array:
        """Contribution of one time step before its weight: (N, classes)."""
        shifted = current << self.state_shift if self.state_shift else current
        return np.asarray(shifted + self.bias)


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """A deployed network. Use :class:`FloatNetwork` or :class:`IntegerNetwork`.

    Every time step visits the populations in topological order. A connection without delay
    delivers the spikes of the same step; one with delay d those of d steps before, zero at first.

    Raises:
        InvalidNetworkError: Names, shapes or number types do not fit together, there is a loop
            without delay, or the provenance is no JSON.
    """

    input: Input
    """What enters."""
    populations: Mapping[str, Population]
    """By name."""
    connections: tuple[Connection, ...]
    """All connections into populations."""
    readout: Readout
    """What comes out."""
    steps: int
    """Number of time steps per sample, T."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Where the network comes from: JSON values only; no effect on what it computes."""

    kind: ClassVar[str] = ""

    def __post_init__(self) -> None:
        populations = MappingProxyType(dict(self.populations))
        object.__setattr__(self, "populations", populations)
        object.__setattr__(self, "connections", tuple(self.connections))
        object.__setattr__(self, "provenance", MappingProxyType(_json(self.provenance)))
        self._check_parts()
        self._check_names()
        self._check_shapes()
        self._check_types()
        steps = whole_number("network field 'steps'", self.steps, 1, 2**31)
        object.__setattr__(self, "steps", steps)
        if self.readout.weights.shape != (self.steps,):
            raise InvalidNetworkError(
                f"readout {self.readout.name!r}",
                got=f"{self.readout.weights.size} time weights",
                expected=f"{self.steps}, one per time step",
                fix="Give one weight per time step.",
            )
        for population in self.populations.values():
            population.neuron.check_steps(steps)
        _ = self.order  # raises on a loop without delay

    @property
    def all_connections(self) -> tuple[Connection, ...]:
        """Connections into populations, then those into the readout."""
        return self.connections + self.readout.connections

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """A unique name for each of :attr:`all_connections`, ``"a+b->c"``."""
        seen: dict[str, int] = {}
        labels = []
        for connection in self.all_connections:
            label = f"{'+'.join(connection.sources)}->{connection.target}"
            seen[label] = seen.get(label, 0) + 1
            labels.append(label if seen[label] == 1 else f"{label}#{seen[label]}")
        return tuple(labels)

    def labelled(self) -> Iterator[tuple[str, Connection]]:
        """Pairs of label and connection, for all connections."""
        return zip(self.labels, self.all_connections, strict=True)

    def shape_of(self, name: str) -> Shape:
        """Shape of the input, of a population, or of the readout: (classes,)."""
        if name == self.readout.name:
            return (self.readout.classes,)
        return self.input.shape if name == self.input.name else self.populations[name].shape

    def source_shape(self, connection: Connection) -> Shape:
        """Shape that a connection reads."""
        return self.shape_of(connection.sources[0])

    def into(self, target: str) -> tuple[Connection, ...]:
        """Connections into a population or the readout."""
        return tuple(c for c in self.all_connections if c.target == target)

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Populations such that every connection without delay points forward."""
        waiting = {
            name: {
                source
                for c in self.into(name)
                if c.delay == 0
                for source in c.sources
                if source != self.input.name
            }
            for name in self.populations
        }
        order: list[str] = []
        while waiting:
            ready = [name for name, sources in waiting.items() if sources <= set(order)]
            if not ready:
                raise InvalidNetworkError(
                    "network",
                    got="a loop without delay through " + ", ".join(sorted(waiting)),
                    expected="a delay of at least one step somewhere in every loop",
                    fix="Give the recurrent connection delay=1.",
                )
            order += ready
            waiting = {name: s for name, s in waiting.items() if name not in ready}
        return tuple(order)

    @cached_property
    def depth(self) -> Mapping[str, int]:
        """Longest path from the input, in connections without delay; readout included."""
        depth = {self.input.name: 0}
        for name in (*self.order, self.readout.name):
            sources = (s for c in self.into(name) if c.delay == 0 for s in c.sources)
            depth[name] = 1 + max((depth[s] for s in sources), default=0)
        return MappingProxyType(depth)

    def _check_parts(self) -> None:
        check_type("network field 'input'", self.input, Input)
        check_type("network field 'readout'", self.readout, Readout)
        for name, population in self.populations.items():
            check_type(f"population {name!r}", population, Population)
        for connection in self.connections:
            check_type("network field 'connections'", connection, Connection)

    def _check_names(self) -> None:
        names = [self.input.name, *self.populations, self.readout.name]
        for name in names:
            # Printable, because names come from strangers' files and end up in terminals.
            plain = isinstance(name, str) and name and name.isprintable()
            plain = plain and not any(ch in name for ch in "+>#/")
            if not plain or names.count(name) > 1:
                raise InvalidNetworkError(
                    f"name {name!r}",
                    got="an empty or repeated name, or one with +, >, #, / or an "
                    "unprintable character",
                    expected="a unique plain name per population, input and readout",
                    fix="Rename it.",
                )
        known = {self.input.name, *self.populations}
        for connections, targets in (
            (self.connections, set(self.populations)),
            (self.readout.connections, {self.readout.name}),
        ):
            for c in connections:
                unknown = [s for s in c.sources if s not in known]
                if unknown or c.target not in targets:
                    raise InvalidNetworkError(
                        f"connection {'+'.join(c.sources)}->{c.target}",
                        got=f"{', '.join(map(repr, unknown)) or repr(c.target)}",
                        expected="names of populations: " + ", ".join(sorted(known | targets)),
                        fix="Correct the name.",
                    )
        if not self.readout.connections:
            raise InvalidNetworkError(
                f"readout {self.readout.name!r}",
                got="no connection",
                expected="at least one",
                fix="Connect a population to the readout.",
            )
        if learning := [label for label, c in self.labelled() if self._learns_nothing(c)]:
            raise InvalidNetworkError(
                "plasticity of connection " + ", ".join(learning),
                got="a readout as target",
                expected="a population, whose spikes the rule learns from",
                fix="A readout does not fire: take the rule off.",
            )

    def _learns_nothing(self, connection: Connection) -> bool:
        return connection.plasticity is not None and connection.target == self.readout.name

    def _check_shapes(self) -> None:
        for c in self.all_connections:
            shapes = {self.shape_of(s) for s in c.sources}
            label = f"connection {'+'.join(c.sources)}->{c.target}"
            if len(shapes) > 1:
                raise InvalidNetworkError(
                    label,
                    got=f"sources of shapes {sorted(shapes)}",
                    expected="sources of one shape",
                    fix="Use one connection per shape.",
                )
            got, wanted = c.output_shape(shapes.pop()), self.shape_of(c.target)
            # Flattening keeps the row-major order, so one axis may stand for three.
            flat = 1 in (len(got), len(wanted)) and math.prod(got) == math.prod(wanted)
            if got != wanted and not flat:
                raise InvalidNetworkError(
                    label,
                    got=f"an output of shape {got}",
                    expected=f"the target's shape {wanted}",
                    fix="Check stride, padding and pooling.",
                )

    def _check_types(self) -> None:
        integer = self.kind == "integer"
        number = "integer" if integer else "float"
        wrong = [f"connection {n}" for n, c in self.labelled() if c.is_integer != integer]
        wrong += [
            f"population {name!r}"
            for name, p in self.populations.items()
            if isinstance(p.neuron, FixedPointNeuron) != integer
        ]
        kinds = {self.readout.bias.dtype.kind, self.readout.weights.dtype.kind}
        if kinds != {"i" if integer else "f"}:
            wrong.append(f"readout {self.readout.name!r}")
        if (self.input.scale is not None) != integer:
            wrong.append(f"input {self.input.name!r}")
        if wrong:
            raise InvalidNetworkError(
                f"{number} network",
                got="parts of the other number type: " + ", ".join(wrong),
                expected=f"{number} parts only",
                fix="Quantize the whole network with trispike.quantize.",
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class FloatNetwork(Network):
    """A network in float64: what conversion yields."""

    kind: ClassVar[str] = "float"


@dataclass(frozen=True, kw_only=True, eq=False)
class IntegerNetwork(Network):
    """A network in integers: what every target and integer engine runs."""

    kind: ClassVar[str] = "integer"


def _checked_shape(what: str, shape: Shape) -> Shape:
    try:
        result = tuple(operator.index(n) for n in shape)
    except TypeError:
        result = ()
    if len(result) not in (1, 3) or any(n < 1 for n in result):
        raise InvalidNetworkError(
            what,
            got=f"shape {shape}",
            expected="(C, H, W) or (N,), positive integers",
            fix="Bring it to one of these forms.",
        )
    return result


def _check_finite(what: str, array: Array) -> None:
    if not np.isfinite(array).all():
        raise InvalidNetworkError(
            what, got="NaN or infinity", expected="finite numbers", fix="Correct the values."
        )


def _json(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """A deep copy, in the form in which JSON returns it."""
    try:
        return dict(json.loads(json.dumps(dict(provenance), allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise InvalidNetworkError(
            "network field 'provenance'",
            got=str(error),
            expected="JSON values only",
            fix="Bring it to strings, finite numbers, booleans, lists and dictionaries.",
        ) from error
