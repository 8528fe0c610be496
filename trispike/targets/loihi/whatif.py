"""What would change if: fewer bits, shared thresholds, pooling apart, another chip or strategy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from trispike.network import Connection, FixedPointNeuron, Identity, IntegerNetwork, Population
from trispike.targets.loihi.demand import Demand, demand
from trispike.targets.loihi.hardware import (
    Board,
    Chip,
    boards_of,
    chip_names,
    load_chip,
    with_alternative,
)
from trispike.targets.loihi.placement import Placement, place_demand
from trispike.targets.loihi.tiles import Strategy

FEWER_BITS = (4, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardFit:
    """How much of a board a placement takes."""

    board: Board
    cores: int
    """Cores that it offers."""
    chips_needed: int
    fits: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """The same network, with one thing changed."""

    change: str
    cores: int
    chips: int
    board: str | None
    """Smallest known board on which it fits."""
    fits: bool
    """Whether every neuron fits on a core, and all on some board."""


def board_fits(placement: Placement) -> list[BoardFit]:
    """How a placement fits on every known board of its chip."""
    chip, used = placement.chip, len(placement.cores)
    return [
        BoardFit(
            board=board,
            cores=board.cores(chip),
            chips_needed=-(-used // board.cores_per_chip(chip)),
            fits=not placement.misfits and used <= board.cores(chip),
        )
        for board in boards_of(chip)
    ]


def what_ifs(network: IntegerNetwork, placement: Placement) -> list[WhatIf]:
    """Variants of a placed network; only its resources are looked at, not its accuracy."""
    chip, strategy = placement.chip, placement.strategy
    asked = demand(network, chip)
    return [_row(*variant) for variant in _variants(network, asked, chip, strategy)]


def _row(change: str, asked: Demand, chip: Chip, strategy: Strategy) -> WhatIf:
    placed = place_demand(asked, chip, board=None, strategy=strategy, sha256="")
    return WhatIf(
        change=change,
        cores=len(placed.cores),
        chips=placed.chips,
        board=placed.board.id if placed.board else None,
        fits=placed.fits and placed.board is not None,
    )


def _variants(
    network: IntegerNetwork, asked: Demand, chip: Chip, strategy: Strategy
) -> Iterator[tuple[str, Demand, Chip, Strategy]]:
    widest = max(link.bits for link in asked.links)
    for bits in FEWER_BITS:
        if bits < widest:
            yield f"weights of {bits} bits", _with_bits(asked, bits), chip, strategy
    if chip.thresholds_per_core.value is not None and any(
        load.different > 1 for load in asked.loads.values()
    ):
        yield "one threshold per layer", _shared_thresholds(asked), chip, strategy
    if any(c.pool for c in network.all_connections):
        pooled = demand(pooling_apart(network), chip)
        yield "pooling as its own population", pooled, chip, strategy
    other: Strategy = "low-traffic" if strategy == "compact" else "compact"
    yield f"strategy {other}", asked, chip, other
    for name, alternative in chip.alternatives.items():
        changed = with_alternative(chip, name)
        what = f"{chip.id}:{name}: {alternative.description}"
        yield what, demand(network, changed), changed, strategy
    for name in chip_names():
        if name != chip.id:
            another = load_chip(name)
            yield f"chip {another.name}", demand(network, another), another, strategy


def _with_bits(asked: Demand, bits: int) -> Demand:
    links = tuple(replace(link, bits=min(bits, link.bits)) for link in asked.links)
    return replace(asked, links=links)


def _shared_thresholds(asked: Demand) -> Demand:
    loads = {
        name: replace(load, codes=np.zeros_like(load.codes)) for name, load in asked.loads.items()
    }
    return replace(asked, loads=loads)


def pooling_apart(network: IntegerNetwork) -> IntegerNetwork:
    """The network with a population of sums in front of every operator that has a pooling stage.

    For counting resources: the new neurons stand for ones that pass a sum on, which a ternary
    spike cannot.
    """
    populations: dict[str, Population] = dict(network.populations)
    new: list[Connection] = []
    changed: dict[bool, list[Connection]] = {True: [], False: []}
    made: Mapping[object, str] = {}
    for connection in network.all_connections:
        readout = connection.target == network.readout.name
        if connection.pool is None:
            changed[readout].append(connection)
            continue
        key = (connection.sources, connection.pool, connection.delay)
        name = made.get(key)
        if name is None:
            name = f"pool {len(made) + 1}"
            shape = connection.pool.output_shape(network.source_shape(connection))
            one = np.array(1)
            neuron = FixedPointNeuron(th_pos=one, th_neg=one)
            populations[name] = Population(shape=shape, neuron=neuron)
            new.append(
                replace(
                    connection,
                    target=name,
                    operator=Identity(scale=np.array(1, np.int8)),
                    exponent=0,
                )
            )
            made = {**made, key: name}
        changed[readout].append(replace(connection, sources=(name,), pool=None, delay=0))
    return replace(
        network,
        populations=populations,
        connections=(*new, *changed[False]),
        readout=replace(network.readout, connections=tuple(changed[True])),
    )
