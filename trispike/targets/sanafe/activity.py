"""What a replay does to the chip: exact event counts, by time step and core.

Messages are sent by a neuron that fires, one to each core on which it has synapses, itself
included; there they read the synapses of that axon. A message travels along x, then along y.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from trispike.targets.sanafe.prices import SYNAPSES, Mesh
from trispike.targets.sanafe.replaying import Group, Integers, Replay


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Activity:
    """Events by time step; arrays are (S, cores) unless said otherwise."""

    neurons: Integers
    """(cores,): neurons that are accessed at every step."""
    updates: Integers
    """Neurons that are updated."""
    fires: Integers
    """Neurons that fire; what the host sends is not among them."""
    sent: Integers
    """Messages, by the core that sends them."""
    received: Integers
    """The same, by the core that they go to."""
    reads: Mapping[str, Integers]
    """By format: synapses read, by the core that holds them."""
    hops_x: Integers
    """(S,): steps from tile to tile, east or west."""
    hops_y: Integers
    """(S,): the same, north or south."""
    tiles: int
    """Tiles with a neuron, or an element of the input."""

    def totals(self) -> dict[str, int]:
        """Number of each priced event."""
        steps = len(self.sent)
        return {
            **{f"synapse_{unit}": int(self.reads[unit].sum()) for unit in SYNAPSES},
            "neuron_access": int(self.neurons.sum()) * steps,
            "neuron_update": int(self.updates.sum()),
            "spike_out": int(self.fires.sum()),
            "message_out": int(self.sent.sum()),
            "message_in": int(self.received.sum()),
            "hop_x": int(self.hops_x.sum()),
            "hop_y": int(self.hops_y.sum()),
        }


def count(replay: Replay, mesh: Mesh) -> Activity:
    """Count all events of a replay."""
    shape = (replay.steps, mesh.cores)
    neurons = np.zeros(mesh.cores, np.int64)
    fires, sent, received = (np.zeros(shape, np.int64) for _ in range(3))
    reads = {unit: np.zeros(shape, np.int64) for unit in SYNAPSES}
    hops = np.zeros((2, replay.steps), np.int64)
    for group in replay.groups:
        trains = group.trains.astype(np.int64)
        here = np.zeros((len(group.cores), mesh.cores), np.int64)
        here[np.arange(len(group.cores)), group.cores] = 1
        if group.computed:
            neurons += here.sum(axis=0)
            fires += trains @ here
        reach = _reach(replay, group, mesh.cores)
        for unit, synapses in reach.items():
            reads[unit] += trains @ synapses
        messages = np.any(list(reach.values()), axis=0).astype(np.int64)
        received += trains @ messages
        sent += trains @ (here * messages.sum(axis=1, keepdims=True))
        for axis in (0, 1):
            hops[axis] += trains @ (messages * _distance(group.cores, mesh, axis)).sum(axis=1)
    used = np.unique(np.concatenate([group.cores for group in replay.groups]))
    return Activity(
        neurons=neurons,
        updates=fires if replay.updates == "fired" else np.broadcast_to(neurons, shape),
        fires=fires,
        sent=sent,
        received=received,
        reads=reads,
        hops_x=hops[0],
        hops_y=hops[1],
        tiles=len(np.unique(used // mesh.cores_per_tile)),
    )


def _reach(replay: Replay, group: Group, cores: int) -> dict[str, Integers]:
    """By format: (n, cores), the synapses that each neuron of a group has on each core."""
    groups = {g.name: g for g in replay.groups}
    size = len(group.cores) * cores
    reach = {unit: np.zeros((len(group.cores), cores), np.int64) for unit in SYNAPSES}
    for edges in replay.edges:
        if edges.source == group.name:
            target = groups[edges.target]
            where = edges.sources * cores + target.cores[edges.targets]
            reach[target.synapses] += np.bincount(where, minlength=size).reshape(-1, cores)
    return reach


def _distance(cores: Integers, mesh: Mesh, axis: int) -> Integers:
    """(n, cores): steps along x (axis 0) or y (axis 1) from each core to every core of the chip."""

    def position(core: Integers) -> Integers:
        tile = core // mesh.cores_per_tile
        return tile // mesh.rows if axis == 0 else tile % mesh.rows

    return np.abs(position(cores)[:, None] - position(np.arange(mesh.cores))[None])
