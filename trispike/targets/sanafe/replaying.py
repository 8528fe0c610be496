"""A network as SANA-FE can replay it: neurons on cores, spike trains, synapses one by one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.errors import InvalidDataError, InvalidSettingError, UnsupportedError
from trispike.network import (
    Conv2d,
    Dense,
    Network,
    fan_out,
    synapse_count,
    synapse_pairs,
)
from trispike.network.learning import refuse_plastic
from trispike.targets.sanafe.prices import Mesh

Array: TypeAlias = npt.NDArray[Any]
Integers: TypeAlias = npt.NDArray[np.int64]

INPUTS = ("spikes", "binary", "omit")
"""spikes: spikes of the input are replayed, payloads refused; binary: any payload is replayed as
one spike; omit: nothing of the input is replayed."""

UPDATES = ("every", "fired")
"""every: a neuron is updated at every step, as those of this network are; fired: only when it
fires, as a replayed neuron of SANA-FE is by itself."""

SYNAPSE_LIMIT = 2_000_000
"""SANA-FE keeps every synapse by itself, in about 1.3 kB."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Group:
    """The neurons of a population, or the elements of the input, or the readout."""

    name: str
    """In the network."""
    cores: Integers
    """(n,): where each is."""
    trains: npt.NDArray[np.bool_]
    """(S, n): whether each fires, the steps of one sample after those of the other."""
    computed: bool
    """Whether the core steps it; elements of the input come from the host instead."""
    synapses: str
    """Format of the synapses onto it, of :data:`~trispike.targets.sanafe.prices.SYNAPSES`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Edges:
    """The synapses of a connection that start from one of its sources."""

    source: str
    """Name of a group."""
    target: str
    """Name of a group."""
    sources: Integers
    """Index of the source neuron of each synapse."""
    targets: Integers
    """Index of its target neuron."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Replay:
    """All that the export, and our own counts, are made of."""

    groups: tuple[Group, ...]
    edges: tuple[Edges, ...]
    samples: int
    steps: int
    """S: time steps of all samples together."""
    updates: str
    """One of :data:`UPDATES`."""
    left_out: Mapping[str, str]
    """What happens in the network and is not replayed, and why."""


def replay(
    network: Network,
    cores: Mapping[str, Array],
    spikes: Mapping[str, Array],
    mesh: Mesh,
    *,
    inputs: str = "spikes",
    updates: str = "every",
) -> Replay:
    """Put recorded spikes on placed neurons.

    Args:
        network: A float or an integer network.
        cores: By name of a population: the core of each of its neurons, of any shape. The input
            and the readout may be among them; those that are not belong to the host.
        spikes: By name of a population: (N, T, *shape), what was recorded; of the input: what
            ``network.input.encode`` made of the data.
        mesh: The chip.
        inputs: What becomes of the input, one of :data:`INPUTS`.
        updates: Which neurons count as updated, one of :data:`UPDATES`.

    Raises:
        InvalidSettingError: An unknown policy, a population without a place.
        InvalidDataError: Spikes of another shape.
        UnsupportedError: Several chips, more neurons on a core than SANA-FE takes, graded
            payloads, an input that is not placed, more synapses than memory would hold, plasticity.
    """
    _check_choice("inputs", inputs, INPUTS)
    _check_choice("updates", updates, UPDATES)
    refuse_plastic(network, "SANA-FE")
    samples = len(spikes[network.input.name])
    places = _checked_cores(network, cores, mesh)
    _check_input(network, spikes[network.input.name], inputs, placed=network.input.name in places)
    names = [name for name in places if name != network.input.name or inputs != "omit"]
    groups = tuple(
        Group(
            name=name,
            cores=places[name],
            trains=_trains(network, name, spikes),
            computed=name != network.input.name,
            synapses=_format(network, name),
        )
        for name in names
    )
    return Replay(
        groups=groups,
        edges=_edges(network, names),
        samples=samples,
        steps=samples * network.steps,
        updates=updates,
        left_out=_left_out(network, names, spikes),
    )


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InvalidSettingError(
            name, got=repr(value), expected=" or ".join(choices), fix="Choose one of these."
        )


def _checked_cores(network: Network, cores: Mapping[str, Array], mesh: Mesh) -> dict[str, Integers]:
    """Flat, in the order of the network: input, populations, readout."""
    order = (network.input.name, *network.order, network.readout.name)
    places = {
        name: np.asarray(cores[name], dtype=np.int64).reshape(-1) for name in order if name in cores
    }
    for name in network.populations:
        if name not in places:
            raise InvalidSettingError(
                "placement",
                got=f"no core for population {name!r}",
                expected="one for every population of the network",
                fix="Place this network, and export it with that placement.",
            )
    for name, place in places.items():
        if len(place) != math.prod(network.shape_of(name)):
            raise InvalidSettingError(
                "placement",
                got=f"{len(place)} neurons of {name!r}",
                expected=f"{math.prod(network.shape_of(name))}",
                fix="Place this network, and export it with that placement.",
            )
    used = np.concatenate(list(places.values()))
    if used.min() < 0 or used.max() >= mesh.cores:
        raise UnsupportedError(
            "placement",
            got=f"core {int(used.max() if used.max() >= mesh.cores else used.min())}",
            expected=f"cores 0 to {mesh.cores - 1} of one chip, which is what SANA-FE describes",
            fix="Export a network that fits one chip.",
        )
    own = [place for name, place in places.items() if name != network.input.name]
    crowd = np.bincount(np.concatenate(own))
    if crowd.max() > mesh.neurons_per_core:
        raise UnsupportedError(
            f"core {int(crowd.argmax())}",
            got=f"{int(crowd.max())} neurons",
            expected=f"at most {mesh.neurons_per_core}, which is what SANA-FE gives a core",
            fix="Place the network on Loihi 1 with fewer neurons per core.",
        )
    return places


def _check_input(network: Network, encoded: Array, inputs: str, *, placed: bool) -> None:
    if inputs == "omit":
        return
    graded = int(np.count_nonzero((encoded != 0) & (np.abs(encoded) != 1)))
    if graded and inputs != "binary":
        raise UnsupportedError(
            f"input {network.input.name!r}",
            got=f"{graded:,} values outside -1, 0 and 1",
            expected="spikes: a message of SANA-FE has no payload",
            fix="Leave the input out (--input omit), or have any value that is not zero replayed "
            "as one spike (--input binary).",
        )
    if not placed:
        raise UnsupportedError(
            f"input {network.input.name!r}",
            got="a placement that leaves it to the host",
            expected="a core for each of its elements, from which SANA-FE could send them",
            fix="Give it one, or leave the input out (--input omit).",
        )


def _trains(network: Network, name: str, spikes: Mapping[str, Array]) -> npt.NDArray[np.bool_]:
    """(S, n): which neurons of a group fire; those of the readout never do."""
    samples, shape = len(spikes[network.input.name]), network.shape_of(name)
    if name == network.readout.name:
        return np.zeros((samples * network.steps, math.prod(shape)), bool)
    if name not in spikes:
        raise InvalidDataError(
            f"population {name!r}",
            got="no recorded spikes",
            expected="those of every population",
            fix="Record all of them: record={name: ['s'] for name in network.populations}.",
        )
    recorded = np.asarray(spikes[name])
    if name == network.input.name and network.input.encoding == "direct":
        recorded = np.repeat(recorded[:, None], network.steps, axis=1)
    if recorded.shape != (samples, network.steps, *shape):
        raise InvalidDataError(
            f"recorded spikes of {name!r}",
            got=f"shape {recorded.shape}",
            expected=f"{(samples, network.steps, *shape)}",
            fix="Record this network on these data.",
        )
    return recorded.reshape(samples * network.steps, -1) != 0


def _format(network: Network, name: str) -> str:
    """One per target neuron, because SANA-FE has no other; a mixture has to be the general one."""
    kinds = {type(c.operator) for _, c in network.labelled() if c.target == name}
    if kinds == {Dense}:
        return "dense"
    return "convolution" if kinds == {Conv2d} else "sparse"


def _edges(network: Network, names: list[str]) -> tuple[Edges, ...]:
    connections = [
        (source, c)
        for _, c in network.labelled()
        for source in c.sources
        if source in names and c.target in names
    ]
    total = sum(synapse_count(c, network.source_shape(c)) for _, c in connections)
    if total > SYNAPSE_LIMIT:
        raise UnsupportedError(
            "network",
            got=f"{total:,} synapses",
            expected=f"at most {SYNAPSE_LIMIT:,}: SANA-FE holds each by itself, in about 1.3 kB",
            fix="Export a smaller network; trispike's own estimate has no such limit.",
        )
    pairs = {id(c): synapse_pairs(c, network.source_shape(c)) for _, c in connections}
    return tuple(
        Edges(source=source, target=c.target, sources=pairs[id(c)][0], targets=pairs[id(c)][1])
        for source, c in connections
    )


def _left_out(network: Network, names: list[str], spikes: Mapping[str, Array]) -> dict[str, str]:
    """What is not replayed, by name of the input, of the readout, or "delay"."""
    source, readout = network.input.name, network.readout.name
    pairs = [(s, c) for _, c in network.labelled() for s in c.sources]
    reads = {
        (s, id(c)): int(
            _trains(network, s, spikes).sum(axis=0)
            @ fan_out(c, network.source_shape(c)).reshape(-1)
        )
        for s, c in pairs
        if s not in names or c.target not in names
    }
    found = {}
    if source not in names:
        number = sum(reads[s, id(c)] for s, c in pairs if s == source)
        found[source] = f"{number:,} deliveries over its synapses: the host injects its values."
    if readout not in names:
        number = sum(reads[s, id(c)] for s, c in pairs if s != source and c.target == readout)
        found[readout] = f"{number:,} deliveries over its synapses: the host adds them up."
    if any(c.delay for _, c in pairs):
        found["delay"] = (
            "A spike is counted when it is sent: one whose delay ends after the last step is "
            "counted too, although it does not arrive."
        )
    return found
