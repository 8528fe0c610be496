"""What the weights of a network meet: moments of their inputs, over the spikes of calibration.

The current that a neuron receives is the sum of weights times inputs. An error d of the weights is
an error d . x of the current, whose mean is d . E[x] and whose mean square is d . E[x x^T] . d.
So the two moments say what any rounding of the weights will cost, without running it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.network import Connection, Conv2d, FloatNetwork, Identity
from trispike.network.dynamics import time_steps
from trispike.network.network import PAYLOAD_LIMIT

Array: TypeAlias = npt.NDArray[Any]

MOST_COLUMNS = 4608
"""Inputs of a weight row up to which their correlations are taken (3x3 over 512 channels); of more
only the diagonal, because a matrix and its factor would fill the memory."""

MEMORY = 1 << 30
"""Bytes of correlations that are held at a time; more of them take another run of the network."""

MOST_VECTORS = 1 << 16
"""Input vectors that are taken of one target, evenly from all positions, steps and samples."""

_EXACT_FLOAT32 = 1 << 24
_EXACT_FLOAT64 = 1 << 53


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """Moments of the inputs of one connection, or of several that one row of weights spans."""

    members: tuple[int, ...]
    """Positions of the connections among those into the target."""
    first: Array
    """(groups, K): mean of the inputs."""
    second: Array
    """(groups, K, K): mean of their products; (groups, K) of their squares if not `correlated`."""
    correlated: bool
    """Whether `second` holds the products of different inputs."""

    @property
    def diagonal(self) -> Array:
        """(groups, K): mean squares."""
        return np.diagonal(self.second, axis1=1, axis2=2) if self.correlated else self.second


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """Moments of all inputs of a target."""

    blocks: tuple[Block, ...]
    """Of the connections with rows of weights."""
    shortcuts: Mapping[int, tuple[Array, Array]]
    """Of each identity, by position: means and mean squares, (C,) or one per element."""
    vectors: int
    """Input vectors that were averaged."""


class InputMoments:
    """Gathers the moments of a float network's inputs, as many targets at a time as memory holds.

    Args:
        network: A float network in which the input has connections of its own.
        encoded: Calibration data, as ``network.input.encode`` returned them.
        input_scale: Value of one unit of the graded input, in whose units its moments are.
        batch_size: Samples that are run together.
    """

    def __init__(
        self,
        network: FloatNetwork,
        encoded: Array,
        input_scale: float,
        *,
        batch_size: int = 32,
    ) -> None:
        self._network = network
        self._encoded = encoded
        self._scale = input_scale
        self._batch = batch_size
        self._targets = (*network.populations, network.readout.name)
        self._known: dict[str, Moments] = {}

    def of(self, target: str) -> Moments:
        """The moments of one target's inputs; those of earlier ones may be forgotten."""
        if target not in self._known:
            self._known = self._gather(self._together(target))
        return self._known[target]

    def _together(self, target: str) -> list[str]:
        """This target and those after it, as far as memory goes."""
        first = self._targets.index(target)
        chosen: list[str] = []
        size = 0
        for name in self._targets[first:]:
            size += sum(s.bytes for s in _sums(self._network, name))
            if chosen and size > MEMORY:
                break
            chosen.append(name)
        return chosen

    def _gather(self, targets: Sequence[str]) -> dict[str, Moments]:
        network = self._network
        sums = {name: _sums(network, name) for name in targets}
        labels = {
            name: [label for label, c in network.labelled() if c.target == name] for name in targets
        }
        samples = len(self._encoded)
        for first in range(0, samples, self._batch):
            part = self._encoded[first : first + self._batch]
            for step in time_steps(network, part):
                rounds = np.arange(first, first + len(part)) + step.t * samples
                for name in targets:
                    arrived = [self._units(network, label, step.arrived[label])
                               for label in labels[name]]  # fmt: skip
                    for total in sums[name]:
                        total.add(arrived, rounds, samples * network.steps)
        return {name: _moments(sums[name]) for name in targets}

    def _units(self, network: FloatNetwork, label: str, arrived: tuple[Array, ...]) -> Array:
        """What a connection reads, in the integers that it will read on the chip."""
        connection = network.all_connections[network.labels.index(label)]
        if network.input.name in connection.sources and network.input.encoding != "spikes":
            units = np.rint(arrived[0] / self._scale)
            total = np.clip(units, -PAYLOAD_LIMIT, PAYLOAD_LIMIT)
        else:
            total = np.asarray(sum(a.astype(np.float64) for a in arrived))
        return connection.pool.apply(total) if connection.pool else total


def separated(network: FloatNetwork) -> FloatNetwork:
    """The same network with connections of its own for the input, as quantization makes them."""

    def split(connections: Sequence[Connection]) -> Iterator[Connection]:
        name = network.input.name
        for c in connections:
            others = tuple(s for s in c.sources if s != name)
            if others:
                yield replace(c, sources=others)
            if name in c.sources:
                yield replace(c, sources=(name,))

    readout = replace(network.readout, connections=tuple(split(network.readout.connections)))
    return replace(network, connections=tuple(split(network.connections)), readout=readout)


class _BlockSums:
    """Sums over the inputs of connections whose rows of weights are joined."""

    def __init__(
        self, members: tuple[int, ...], connections: Sequence[Connection], positions: int
    ) -> None:
        self.members = members
        self._connections = connections
        self._positions = positions
        convolution = connections[0].operator
        self._groups = convolution.groups if isinstance(convolution, Conv2d) else 1
        columns = sum(math.prod(c.operator.weight.shape[1:]) for c in connections)
        self._correlated = columns <= MOST_COLUMNS
        shape = (self._groups, columns)
        self._first = np.zeros(shape)
        self._second = np.zeros((*shape, columns) if self._correlated else shape)
        self.vectors = 0

    @property
    def bytes(self) -> int:
        """Memory of the sums."""
        return self._second.nbytes

    def add(self, arrived: Sequence[Array], rounds: Array, of: int) -> None:
        """Add the inputs of one step.

        Args:
            arrived: By position of the connection, (N, *shape), whole numbers.
            rounds: (N,) numbers of these samples at this step.
            of: How many there will be.
        """
        parts = [
            _columns(c, arrived[n], self._groups)
            for n, c in zip(self.members, self._connections, strict=True)
        ]
        inputs = np.concatenate(parts, axis=1)  # (groups, K, vectors)
        # Chosen by their number alone, so that batches of any size choose alike.
        stride = max(1, -(-of * self._positions // MOST_VECTORS))
        while math.gcd(stride, self._positions) > 1:
            stride += 1
        numbers = np.add.outer(rounds * self._positions, np.arange(self._positions))
        taken = inputs[:, :, np.flatnonzero(numbers.reshape(-1) % stride == 0)]
        self.vectors += taken.shape[2]
        self._first += taken.sum(axis=2)
        if self._correlated:
            self._second += _products(taken)
        else:
            self._second += (taken**2).sum(axis=2)

    def block(self) -> Block:
        """The means."""
        count = max(1, self.vectors)
        return Block(
            members=self.members,
            first=self._first / count,
            second=self._second / count,
            correlated=self._correlated,
        )


class _ShortcutSums:
    """Sums over the inputs of an identity."""

    def __init__(self, member: int, connection: Connection, shape: tuple[int, ...]) -> None:
        self.member = member
        scale = connection.operator.weight
        self._by_element = bool(scale.ndim) and any(n > 1 for n in scale.shape[1:])
        size = shape if self._by_element else shape[:1]
        self._first, self._second = np.zeros(size), np.zeros(size)
        self._values = 0

    bytes = 0

    def add(self, arrived: Sequence[Array], rounds: Array, of: int) -> None:
        """Add the inputs of one step."""
        x = arrived[self.member]
        if not self._by_element:
            x = np.moveaxis(x.reshape(*x.shape[:2], -1), 2, 1).reshape(-1, x.shape[1])
        self._first += x.sum(axis=0)
        self._second += (x**2).sum(axis=0)
        self._values += len(x)

    def means(self) -> tuple[Array, Array]:
        """The means and the mean squares."""
        return self._first / self._values, self._second / self._values


def _sums(network: FloatNetwork, target: str) -> list[_BlockSums | _ShortcutSums]:
    """Empty sums for a target: connections that fill the same rows at the same places are joined.

    Only what has one group of channels can be joined, and only what is correlated in the end.
    """
    incoming = network.into(target)
    result: list[_BlockSums | _ShortcutSums] = []
    joined: dict[tuple[int, int], list[int]] = {}
    for n, c in enumerate(incoming):
        shape = c.output_shape(network.source_shape(c))
        if isinstance(c.operator, Identity):
            result.append(_ShortcutSums(n, c, shape))
            continue
        positions = math.prod(shape[1:])
        if isinstance(c.operator, Conv2d) and c.operator.groups > 1:
            result.append(_BlockSums((n,), [c], positions))
        else:
            joined.setdefault((c.operator.weight.shape[0], positions), []).append(n)
    for (_, positions), members in joined.items():
        widths = [math.prod(incoming[n].operator.weight.shape[1:]) for n in members]
        alone = sum(widths) > MOST_COLUMNS
        result += [
            _BlockSums(tuple(together), [incoming[n] for n in together], positions)
            for together in ([[n] for n in members] if alone else [members])
        ]
    return result


def _moments(sums: Sequence[_BlockSums | _ShortcutSums]) -> Moments:
    blocks = [s for s in sums if isinstance(s, _BlockSums)]
    return Moments(
        blocks=tuple(s.block() for s in blocks),
        shortcuts={s.member: s.means() for s in sums if isinstance(s, _ShortcutSums)},
        vectors=max((s.vectors for s in blocks), default=0),
    )


def _columns(connection: Connection, x: Array, groups: int) -> Array:
    """What each row of weights multiplies: (groups, K, N * positions)."""
    operator = connection.operator
    if not isinstance(operator, Conv2d):
        return x.reshape(1, len(x), -1).transpose(0, 2, 1)
    (ph, pw), (sh, sw), (dh, dw) = operator.padding, operator.stride, operator.dilation
    kh, kw = operator.kernel
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    span = (dh * (kh - 1) + 1, dw * (kw - 1) + 1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, span, (2, 3))  # type: ignore[call-overload]
    taken = windows[:, :, ::sh, ::sw, ::dh, ::dw]  # (N, C, rows, columns, kh, kw)
    ordered = taken.transpose(1, 4, 5, 0, 2, 3)
    return ordered.reshape(groups, operator.weight.shape[1] * kh * kw, -1)


def _products(inputs: Array) -> Array:
    """X x^T summed, exactly: the inputs are whole numbers."""
    bound = float(np.abs(inputs).max(initial=0)) ** 2 * max(1, inputs.shape[2])
    exact = inputs.astype(np.float32) if bound < _EXACT_FLOAT32 else inputs
    return (exact @ exact.transpose(0, 2, 1)).astype(np.float64)
