"""A placement as an SVG: the cores of all chips, coloured by how full and how busy they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from trispike.targets.loihi.demand import Resources
from trispike.targets.loihi.placement import Core, Placement
from trispike.targets.loihi.traffic import Traffic

MARGIN, HEADER, PANEL_GAP, TITLE = 24, 64, 40, 30
LEGEND = 46
NARROWEST = 360
"""Width of a panel, for its title."""
MOST_CHIPS = 64
"""Chips that are drawn core by core; of more, the others are counted."""

LEVELS = 8
"""Colours of a scale."""

_SCALE = ("#e8eff7", "#cfe0f0", "#abcde6", "#7db4d8", "#4f98c6", "#2b7ab0", "#175c92", "#0b3c68")
_DARK = ("#16222e", "#1a3042", "#1f425c", "#265879", "#317199", "#4590bd", "#6cb1d9", "#a8d8f2")

STYLE = f"""
text {{ font-family: system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }}
.page {{ fill: #ffffff; }}
.title {{ fill: #1b1f24; font-weight: 600; font-size: 18px; }}
.panel {{ fill: #1b1f24; font-weight: 600; font-size: 14px; }}
.facts {{ fill: #59636e; font-size: 11.5px; }}
.chip {{ fill: none; stroke: #9aa5b0; }}
.free {{ fill: none; stroke: #e2e7ec; stroke-width: 0.5; }}
{"".join(f".c{n} {{ fill: {colour}; }}" for n, colour in enumerate(_SCALE))}
.core:hover {{ stroke: #d1242f; stroke-width: 1.5; }}
@media (prefers-color-scheme: dark) {{
.page {{ fill: #0d1117; }}
.title, .panel {{ fill: #e6edf3; }}
.facts {{ fill: #9aa5b1; }}
.chip {{ stroke: #57606a; }}
.free {{ stroke: #262d36; }}
{"".join(f".c{n} {{ fill: {colour}; }}" for n, colour in enumerate(_DARK))}
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    title: str
    legend: tuple[str, str]
    """Words at the ends of the scale."""
    levels: tuple[float, ...]
    """0..1 for each core."""
    details: tuple[str, ...]
    """For each core: for who points at it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Geometry:
    """Sizes in pixels."""

    cell: int
    across: int
    """Cells of a chip along x."""
    down: int
    columns: int
    """Chips side by side."""
    rows: int
    chips: int

    @property
    def chip_width(self) -> int:
        return self.across * self.cell + 10

    @property
    def chip_height(self) -> int:
        return self.down * self.cell + 24

    @property
    def width(self) -> int:
        return self.columns * self.chip_width

    @property
    def height(self) -> int:
        return self.rows * self.chip_height


def draw_placement(placement: Placement, traffic: Traffic | None = None) -> str:
    """A placement as an SVG document.

    Args:
        placement: What is drawn.
        traffic: Of this placement; adds a second panel.
    """
    geometry = _geometry(placement)
    panels = [_utilisation(placement)]
    if traffic is not None:
        panels.append(_busyness(placement, traffic))
    names = _titles(placement)
    least = round(7 * max(map(len, names)))
    beside = len(panels) > 1 and geometry.width <= 560
    panel = max(geometry.width, NARROWEST)
    step_x = panel + PANEL_GAP if beside else 0
    step_y = 0 if beside else geometry.height + TITLE + LEGEND + 16
    width = 2 * MARGIN + max(panel + step_x * (len(panels) - 1), least)
    height = 2 * MARGIN + HEADER + geometry.height + TITLE + LEGEND + step_y * (len(panels) - 1)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img">'
    )
    parts = [
        head,
        f"<title>{escape(names[0])}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{width}" height="{height}"/>',
        _text("title", MARGIN, MARGIN + 16, names[0]),
        _text("facts", MARGIN, MARGIN + 38, names[1]),
    ]
    for n, shown in enumerate(panels):
        parts += _panel(
            placement, shown, geometry, MARGIN + n * step_x, MARGIN + HEADER + n * step_y
        )
    return "\n".join([*parts, "</svg>", ""])


def _titles(placement: Placement) -> tuple[str, str]:
    board = f" on {placement.board.name}" if placement.board else ""
    hidden = placement.chips - MOST_CHIPS
    facts = (
        f"{len(placement.cores):,} cores on {placement.chips:,} "
        f"chip{'s' if placement.chips != 1 else ''}, strategy {placement.strategy}"
    )
    if hidden > 0:
        facts += f"; the first {MOST_CHIPS} chips are drawn"
    return f"Placement on {placement.chip.name}{board}", facts


def _geometry(placement: Placement) -> _Geometry:
    chip = placement.chip
    chips = min(placement.chips, MOST_CHIPS)
    columns = min(chips, 8 if chips > 16 else 4 if chips > 4 else 2 if chips > 1 else 1)
    side = _side(placement)
    cell = 14 if columns <= 2 else 9 if columns <= 4 else 6
    return _Geometry(
        cell=cell,
        across=chip.mesh_columns.value * side[0],
        down=chip.mesh_rows.value * side[1],
        columns=columns,
        rows=-(-chips // columns),
        chips=chips,
    )


def _side(placement: Placement) -> tuple[int, int]:
    """Cells of a router: its cores, in as square a block as there is."""
    cores = placement.chip.cores_per_router.value
    across = math.ceil(math.sqrt(cores))
    return across, -(-cores // across)


def _utilisation(placement: Placement) -> _Panel:
    levels, details = [], []
    for core in placement.cores:
        shares = {
            name: used / limit
            for name, used, limit in zip(Resources._fields, core.use, placement.limits, strict=True)
            if limit is not None
        }
        fullest = max(shares, key=lambda name: shares[name])
        levels.append(min(1.0, shares[fullest]))
        words = ", ".join(f"{n.replace('_', ' ')} {100 * s:.0f}%" for n, s in shares.items())
        details.append(f"{_place(core)}\n{words}")
    return _Panel(
        title="Utilisation: the fullest resource of each core",
        legend=("0%", "100%"),
        levels=tuple(levels),
        details=tuple(details),
    )


def _busyness(placement: Placement, traffic: Traffic) -> _Panel:
    each = max(1, traffic.samples)
    most = max(1, int(traffic.by_core.max(initial=0)))
    return _Panel(
        title="Traffic: messages that leave or reach each core",
        legend=("0", f"{most / each:,.0f} per sample"),
        levels=tuple((np.asarray(traffic.by_core) / most).tolist()),
        details=tuple(
            f"{_place(core)}\n{count / each:,.1f} messages per sample"
            for core, count in zip(placement.cores, traffic.by_core.tolist(), strict=True)
        ),
    )


def _place(core: Core) -> str:
    tiles = "; ".join(
        f"{t.population} channels {_span(*t.channels)}, rows {_span(*t.rows)}, "
        f"columns {_span(*t.columns)}"
        for t in core.tiles[:4]
    )
    more = f"; {len(core.tiles) - 4} more tiles" if len(core.tiles) > 4 else ""
    return f"chip {core.chip}, core {core.core}: {tiles}{more}"


def _span(start: int, stop: int) -> str:
    return f"{start}" if stop - start == 1 else f"{start}-{stop - 1}"


def _panel(
    placement: Placement, panel: _Panel, geometry: _Geometry, left: float, top: float
) -> list[str]:
    parts = [_text("panel", left, top + 14, panel.title)]
    top += TITLE
    used = {(core.chip, core.core): n for n, core in enumerate(placement.cores)}
    for n, chip in enumerate(sorted({core.chip for core in placement.cores})[: geometry.chips]):
        row, column = divmod(n, geometry.columns)
        x, y = left + column * geometry.chip_width, top + row * geometry.chip_height
        parts += _chip(placement, panel, geometry, used, chip, x, y)
    parts += _legend(panel, left, top + geometry.height + 4)
    return parts


def _chip(
    placement: Placement,
    panel: _Panel,
    geometry: _Geometry,
    used: dict[tuple[int, int], int],
    chip: int,
    left: float,
    top: float,
) -> list[str]:
    cell, (across, down) = geometry.cell, _side(placement)
    parts = [_text("facts", left, top + 10, f"chip {chip}")]
    top += 14
    for core in range(placement.cores_per_chip):
        router, within = divmod(core, placement.chip.cores_per_router.value)
        x, y = divmod(router, placement.chip.mesh_rows.value)
        place = (
            f'x="{left + (x * across + within % across) * cell:g}" '
            f'y="{top + (y * down + within // across) * cell:g}" '
            f'width="{cell - 1}" height="{cell - 1}"'
        )
        number = used.get((chip, core))
        if number is None:
            parts.append(f'<rect class="free" {place}/>')
            continue
        level = min(LEVELS - 1, int(panel.levels[number] * LEVELS))
        parts.append(
            f'<rect class="core c{level}" {place}>'
            f"<title>{escape(panel.details[number])}</title></rect>"
        )
    width, height = geometry.across * cell + 1, geometry.down * cell + 1
    parts.append(
        f'<rect class="chip" x="{left - 1.5:g}" y="{top - 1.5:g}" width="{width + 1}" '
        f'height="{height + 1}" rx="2"/>'
    )
    return parts


def _legend(panel: _Panel, left: float, top: float) -> list[str]:
    parts: list[str] = []
    for n in range(LEVELS):
        x = left + n * 22
        parts.append(f'<rect class="c{n}" x="{x:g}" y="{top:g}" width="22" height="10"/>')
    words: Sequence[tuple[float, str, str]] = (
        (left, panel.legend[0], "start"),
        (left + LEVELS * 22, panel.legend[1], "end" if len(panel.legend[1]) < 6 else "middle"),
    )
    parts += [_text("facts", x, top + 24, text, anchor) for x, text, anchor in words]
    return parts


def _text(kind: str, x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(words)}</text>'
