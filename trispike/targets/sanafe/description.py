"""The two files that SANA-FE reads: the chip, and the network mapped onto it.

Written as text, line by line: both are lists of up to millions of short entries.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from trispike.targets.sanafe.prices import SYNAPSES, Prices
from trispike.targets.sanafe.replaying import Group, Integers, Replay

ARCHITECTURE, NETWORK = "arch.yaml", "network.yaml"
"""Names of the files."""

COMPUTED, HOST = "replayed", "host"
"""Units that fire as recorded; one per neuron, because each holds one spike train."""


def write_description(replay: Replay, prices: Prices, folder: Path) -> None:
    """Write both files into an existing folder."""
    for name, lines in (
        (ARCHITECTURE, _architecture(replay, prices)),
        (NETWORK, _network(replay, prices)),
    ):
        with (folder / name).open("w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)


def _architecture(replay: Replay, prices: Prices) -> Iterator[str]:
    mesh = prices.mesh
    table = ", ".join(
        f"{tiles}: {_seconds(nanoseconds)}"
        for tiles, nanoseconds in prices.synchronization.nanoseconds_from_tiles.items()
    )
    yield f"# {prices.name}: {prices.citation}"
    yield "architecture:"
    yield f"  name: {prices.id}"
    yield (
        f"  attributes: {{topology: mesh, width: {mesh.columns}, height: {mesh.rows}, "
        f"link_buffer_size: {mesh.link_buffer}, sync_model: table, latency_sync: {{{table}}}}}"
    )
    yield "  tile:"
    hops = ", ".join(
        f"{kind}_{direction}_hop: {value}"
        for axis, directions in (("hop_x", ("east", "west")), ("hop_y", ("north", "south")))
        for direction in directions
        for kind, value in _both(prices, axis).items()
    )
    computed, host = (
        Counter(int(core) for g in replay.groups if g.computed == computed for core in g.cores)
        for computed in (True, False)
    )
    last = max([*computed, *host]) // mesh.cores_per_tile
    for tile in range(last + 1):
        yield f"    - name: tile{tile}"
        yield f"      attributes: {{{hops}}}"
        yield "      core:"
        for offset in range(mesh.cores_per_tile):
            core = tile * mesh.cores_per_tile + offset
            yield f"        - name: core{offset}"
            yield from _core(prices, replay.updates, computed[core], host[core])


def _core(prices: Prices, updates: str, computed: int, host: int) -> Iterator[str]:
    """One core, with as many units that fire as recorded as it has neurons."""
    yield (
        "          attributes: {buffer_position: soma, buffer_inside_unit: false, "
        f"max_neurons_supported: {max(prices.mesh.neurons_per_core, computed + host)}}}"
    )
    yield f"          axon_in: [{_unit('in', '', 'message_in', _both(prices, 'message_in'))}]"
    synapses = ", ".join(
        _unit(unit, "current_based", "process_spike", _both(prices, f"synapse_{unit}"))
        for unit in SYNAPSES
    )
    yield f"          synapse: [{synapses}]"
    free = {"energy": "0.0", "latency": "0.0"}
    yield f"          dendrite: [{_unit('sum', 'accumulator', 'update', free)}]"
    yield "          soma:"
    for name, number, attributes in (
        (COMPUTED, max(1, computed), _soma(prices, updates)),
        (HOST, host, ", ".join(_soma_attributes(free, free, free))),
    ):
        if number:
            yield (
                f"            - {{name: '{name}[0..{number - 1}]', "
                f"attributes: {{model: input, {attributes}}}}}"
            )
    yield f"          axon_out: [{_unit('out', '', 'message_out', _both(prices, 'message_out'))}]"


def _soma(prices: Prices, updates: str) -> str:
    """A neuron that fires as recorded.

    SANA-FE updates such a neuron only when it fires. If every neuron is updated at every step,
    the update has to be part of the access, which happens at every step.
    """
    access, update, out = (
        prices.events[e] for e in ("neuron_access", "neuron_update", "spike_out")
    )
    every = updates == "every"
    parts = [
        {
            "energy": _joules(access.picojoules + every * update.picojoules),
            "latency": _seconds(access.nanoseconds + every * update.nanoseconds),
        },
        {
            "energy": _joules((not every) * update.picojoules),
            "latency": _seconds((not every) * update.nanoseconds),
        },
        {"energy": _joules(out.picojoules), "latency": _seconds(out.nanoseconds)},
    ]
    return ", ".join(_soma_attributes(*parts))


def _soma_attributes(*parts: dict[str, str]) -> list[str]:
    names = ("access_neuron", "update_neuron", "spike_out")
    return [
        f"{kind}_{name}: {part[kind]}"
        for name, part in zip(names, parts, strict=True)
        for kind in ("energy", "latency")
    ]


def _unit(name: str, model: str, event: str, both: dict[str, str]) -> str:
    attributes = ", ".join(f"{kind}_{event}: {value}" for kind, value in both.items())
    model = f"model: {model}, " if model else ""
    return f"{{name: {name}, attributes: {{{model}{attributes}}}}}"


def _both(prices: Prices, event: str) -> dict[str, str]:
    found = prices.events[event]
    return {"energy": _joules(found.picojoules), "latency": _seconds(found.nanoseconds)}


def _joules(picojoules: float) -> str:
    return repr(picojoules * 1e-12)


def _seconds(nanoseconds: float) -> str:
    return repr(nanoseconds * 1e-9)


def _network(replay: Replay, prices: Prices) -> Iterator[str]:
    labels = _labels(replay)
    slots = _slots(replay, prices.mesh.cores)
    yield f"# {replay.samples} samples in {replay.steps} time steps, one after the other"
    yield "network:"
    yield "  name: trispike"
    yield "  groups:"
    for group in replay.groups:
        yield f"    - name: {labels[group.name]}"
        yield f"      attributes: [synapse_hw_name: {group.synapses}]"
        yield "      neurons:"
        unit = COMPUTED if group.computed else HOST
        for n, (slot, train) in enumerate(
            zip(slots[group.name].tolist(), group.trains.T.astype(int).tolist(), strict=True)
        ):
            spikes = f", soma: {{spikes: {train}}}" if any(train) else ""
            yield f"        - {n}: [soma_hw_name: '{unit}[{slot}]'{spikes}]"
    yield from _edge_lines(replay, labels)
    yield "mappings:"
    for group in replay.groups:
        yield from _mapping(group, labels[group.name], prices.mesh.cores_per_tile)


def _edge_lines(replay: Replay, labels: dict[str, str]) -> Iterator[str]:
    """The weight is 0: what arrives must not disturb a neuron that fires as recorded."""
    if not any(len(edges.sources) for edges in replay.edges):
        yield "  edges: []"
        return
    yield "  edges:"
    for edges in replay.edges:
        source, target = labels[edges.source], labels[edges.target]
        for a, b in zip(edges.sources.tolist(), edges.targets.tolist(), strict=True):
            yield f"    - {source}.{a} -> {target}.{b}: [w: 0]"


def _mapping(group: Group, label: str, cores_per_tile: int) -> Iterator[str]:
    """Neurons that follow each other on one core share a line."""
    starts = np.flatnonzero(np.diff(group.cores, prepend=-1)).tolist()
    for start, end in zip(starts, [*starts[1:], len(group.cores)], strict=True):
        tile, offset = divmod(int(group.cores[start]), cores_per_tile)
        neurons = f"{start}" if end == start + 1 else f"{start}..{end - 1}"
        yield f"  - {label}.{neurons}: [core: {tile}.{offset}]"


def _slots(replay: Replay, cores: int) -> dict[str, Integers]:
    """By group: which unit of its core each neuron has; those of the host are counted apart."""
    slots = {}
    for computed in (True, False):
        taken = np.zeros(cores, np.int64)
        for group in replay.groups:
            if group.computed == computed:
                slots[group.name] = np.zeros_like(group.cores)
                for core in np.unique(group.cores):
                    here = group.cores == core
                    slots[group.name][here] = taken[core] + np.arange(here.sum())
                    taken[core] += here.sum()
    return slots


def _labels(replay: Replay) -> dict[str, str]:
    """Names of groups; dots and arrows mean something in SANA-FE's files."""
    labels: dict[str, str] = {}
    for group in replay.groups:
        label = re.sub(r"\W", "_", group.name, flags=re.ASCII)
        while label in labels.values():
            label += "_"
        labels[group.name] = label
    return labels
