"""Heat maps: layers by time steps, each cell in a colour."""

from __future__ import annotations

from dataclasses import dataclass

LEVELS = 8
"""Colours of a heat map, nothing included."""

MOST_COLUMNS = 24
"""Columns of time steps; of more time steps several share one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One layer at one time step, or at several of them."""

    value: float | None
    """None where there is nothing to say."""
    level: int | None
    """Colour, 0 for none to 7 for the darkest; None for a sum, which is no cell of the map."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """Layers by time steps."""

    id: str
    title: str
    words: str
    """What is to be seen."""
    low: str
    """What the lightest colour stands for."""
    high: str
    """What the darkest does."""
    corner: str = "layer"
    """What a row is."""
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    """Name and cells."""


def groups(steps: int) -> list[tuple[int, int]]:
    """First and last + 1 of the time steps of each column."""
    size = -(-steps // MOST_COLUMNS)
    return [(first, min(first + size, steps)) for first in range(0, steps, size)]


def column_names(steps: int) -> tuple[str, ...]:
    """Time steps of each column, from 1: "3", or "9-12" where several share one."""
    return tuple(
        f"{first + 1}" if last - first == 1 else f"{first + 1}-{last}"
        for first, last in groups(steps)
    )


def colour(part: float) -> int:
    """Colour 1 to 7 of a part of the largest, 0..1 (more is 7)."""
    return 1 + min(LEVELS - 2, int(part * (LEVELS - 1)))


def level(value: float, largest: float) -> int:
    """Which colour a value has beside the largest; 0 is for nothing at all."""
    return colour(value / largest) if value and largest else 0
