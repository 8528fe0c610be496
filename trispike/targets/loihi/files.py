"""A placement as a JSON file: versioned, checked when it is read, bound to its network."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError

from trispike.errors import FileFormatError
from trispike.network import Network, digest
from trispike.network.files import whole_file
from trispike.network.headers import problems
from trispike.targets.loihi.demand import Resources
from trispike.targets.loihi.hardware import Board, Chip
from trispike.targets.loihi.placement import Core, Placement
from trispike.targets.loihi.tiles import Misfit, Span, Strategy, Tile

FORMAT = "trispike-placement"
VERSION = 1

Interval = Annotated[list[NonNegativeInt], Field(min_length=2, max_length=2)]
Three = Annotated[list[PositiveInt], Field(min_length=3, max_length=3)]


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Use(_Schema):
    neurons: NonNegativeInt
    synapse_bits: NonNegativeInt
    in_axons: NonNegativeInt
    out_axons: NonNegativeInt
    thresholds: NonNegativeInt


class _Tile(_Schema):
    population: str
    channels: Interval
    rows: Interval
    columns: Interval
    use: _Use


class _Core(_Schema):
    chip: NonNegativeInt
    core: NonNegativeInt
    x: NonNegativeInt
    y: NonNegativeInt
    tiles: list[_Tile]


class _Misfit(_Schema):
    population: str
    resource: str
    needed: int
    limit: int


class PlacementFile(_Schema):
    """Everything in the file."""

    format: Literal["trispike-placement"]
    version: Literal[1]
    network_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    strategy: Strategy
    chip: Chip
    """The whole profile, with the settings that were used."""
    board: Board | None
    populations: dict[str, Three]
    """Channels, rows and columns; neurons are numbered row-major in them."""
    cores: list[_Core]
    misfits: list[_Misfit]


def placement_schema() -> dict[str, Any]:
    """The JSON schema of the file."""
    return PlacementFile.model_json_schema()


def save_placement(placement: Placement, path: str | os.PathLike[str]) -> None:
    """Write a placement to one JSON file, replacing it whole."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(_content(placement)) + "\n", encoding="utf-8")


def load_placement(path: str | os.PathLike[str], network: Network | None = None) -> Placement:
    """Read a placement, validating all of it.

    Args:
        path: The file.
        network: The network that it has to be a placement of.

    Raises:
        FileFormatError: Not a placement, of another version, damaged, or of another network.
        FileNotFoundError: No such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        content = PlacementFile.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise _refused(
            path, problems(error, most=5), f"a placement of version {VERSION}"
        ) from error
    if network is not None and content.network_sha256 != digest(network):
        raise _refused(
            path,
            f"a placement of network {content.network_sha256[:12]}",
            f"one of network {digest(network)[:12]}",
        )
    placement = _placement(content)
    _check_whole(path, placement)
    return placement


def _refused(path: Path, got: str, expected: str) -> FileFormatError:
    return FileFormatError(
        f"file '{path}'", got=got, expected=expected, fix="Write it anew: trispike check NET -o."
    )


def _content(placement: Placement) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "network_sha256": placement.network_sha256,
        "strategy": placement.strategy,
        "chip": placement.chip.model_dump(),
        "board": placement.board.model_dump() if placement.board else None,
        "populations": {name: list(grid) for name, grid in placement.grids.items()},
        "cores": [
            {
                "chip": core.chip,
                "core": core.core,
                "x": core.x,
                "y": core.y,
                "tiles": [
                    {
                        "population": tile.population,
                        "channels": list(tile.channels),
                        "rows": list(tile.rows),
                        "columns": list(tile.columns),
                        "use": tile.use._asdict(),
                    }
                    for tile in core.tiles
                ],
            }
            for core in placement.cores
        ],
        "misfits": [
            {
                "population": m.population,
                "resource": m.resource,
                "needed": m.needed,
                "limit": m.limit,
            }
            for m in placement.misfits
        ],
    }


def _placement(content: PlacementFile) -> Placement:
    return Placement(
        network_sha256=content.network_sha256,
        chip=content.chip,
        board=content.board,
        strategy=content.strategy,
        grids={name: (g[0], g[1], g[2]) for name, g in content.populations.items()},
        cores=tuple(
            Core(
                chip=core.chip,
                core=core.core,
                x=core.x,
                y=core.y,
                tiles=tuple(
                    Tile(
                        population=tile.population,
                        channels=Span(*tile.channels),
                        rows=Span(*tile.rows),
                        columns=Span(*tile.columns),
                        use=Resources(**tile.use.model_dump()),
                    )
                    for tile in core.tiles
                ),
            )
            for core in content.cores
        ),
        misfits=tuple(Misfit(**m.model_dump()) for m in content.misfits),
    )


def _check_whole(path: Path, placement: Placement) -> None:
    """Refuse tiles outside of their population, and neurons that lie nowhere or twice."""
    held = {name: np.zeros(grid, np.int64) for name, grid in placement.grids.items()}
    for core in placement.cores:
        for tile in core.tiles:
            grid = placement.grids.get(tile.population)
            spans = (tile.channels, tile.rows, tile.columns)
            if grid is None or any(
                not span.start < span.stop <= size for span, size in zip(spans, grid, strict=True)
            ):
                raise _refused(
                    path, f"a tile outside of {tile.population!r}", "tiles inside a population"
                )
            held[tile.population][tile.slices] += 1
    wrong = {name: int((count != 1).sum()) for name, count in held.items() if (count != 1).any()}
    if wrong:
        name, count = next(iter(wrong.items()))
        raise _refused(
            path, f"{count} neurons of {name!r} on no core or on several", "each on one core"
        )
    places = {(core.chip, core.core) for core in placement.cores}
    if len(places) != len(placement.cores):
        raise _refused(path, "a core that is listed twice", "every core once")
