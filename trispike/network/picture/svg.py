"""Drawing a layout as SVG; colours follow the viewer's light or dark setting."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from trispike.network.network import Network
from trispike.network.picture.layout import (
    GAP,
    LANE,
    LINE,
    MARGIN,
    PADDING,
    TEXT_SIZE,
    TITLE_SIZE,
    Card,
    Layout,
    Wire,
    arrange,
)

BAR, ARROW = 90, 6

STYLE = f"""
text {{ font-family: system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }}
.page {{ fill: #ffffff; }}
.card {{ fill: #f6f8fa; stroke: #c4ccd4; }}
.end {{ fill: #e8f1fb; stroke: #9cbfe6; }}
.name, .title {{ fill: #1b1f24; font-weight: 600; font-size: {TITLE_SIZE}px; }}
.title {{ font-size: 18px; }}
.text {{ fill: #3d4650; font-size: {TEXT_SIZE}px; }}
.facts {{ fill: #6a7580; font-size: {TEXT_SIZE}px; }}
.arrow {{ stroke: #57606a; fill: none; stroke-width: 1.5; }}
.head {{ fill: #57606a; }}
.wire {{ stroke: #2f7dc1; fill: none; stroke-width: 1.3; }}
.wirehead {{ fill: #2f7dc1; }}
.late {{ stroke: #b0561c; stroke-dasharray: 4 3; }}
.latehead {{ fill: #b0561c; }}
.wires g:hover .wire {{ stroke-width: 3.5; }}
.track {{ fill: #d8dee4; }}
.rate {{ fill: #2a9d6f; }}
@media (prefers-color-scheme: dark) {{
.page {{ fill: #0d1117; }}
.card {{ fill: #161b22; stroke: #3a434d; }}
.end {{ fill: #10253c; stroke: #2f5c8f; }}
.name, .title {{ fill: #e6edf3; }}
.text {{ fill: #c0cad4; }}
.facts {{ fill: #8b96a2; }}
.arrow {{ stroke: #8b949e; }}
.head {{ fill: #8b949e; }}
.wire {{ stroke: #58a6ff; }}
.wirehead {{ fill: #58a6ff; }}
.late {{ stroke: #e8924e; }}
.latehead {{ fill: #e8924e; }}
.track {{ fill: #30363d; }}
.rate {{ fill: #3fb98a; }}
}}
"""


def draw(network: Network, rates: Mapping[str, float] | None = None) -> str:
    """A network as an SVG document.

    Args:
        network: The network.
        rates: Firing rate by population, 0..1; drawn as bars if given.
    """
    layout = arrange(network, rates)
    width, height = round(layout.width), round(layout.height)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img">'
    )
    parts = [
        head,
        f"<title>{escape(layout.title)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{width}" height="{height}"/>',
        _text("title", MARGIN, MARGIN + 16, layout.title),
        _text("facts", MARGIN, MARGIN + 38, layout.subtitle),
        '<g class="wires">',
        *(_wire(layout, wire) for wire in layout.wires),
        "</g>",
    ]
    for n, card in enumerate(layout.cards):
        parts += _card(layout, card, is_end=n in (0, len(layout.cards) - 1))
    return "\n".join([*parts, "</svg>", ""])


def _text(kind: str, x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(words)}</text>'


def _card(layout: Layout, card: Card, *, is_end: bool) -> list[str]:
    x, right = layout.left, layout.left + layout.column
    first = card.top + PADDING
    box = (
        f'<rect class="{"end" if is_end else "card"}" x="{x:g}" y="{card.top:g}" rx="6" '
        f'width="{layout.column:g}" height="{card.height:g}"/>'
    )
    parts = [
        box,
        _text("name", x + PADDING, first + 13, card.name),
        _text("facts", x + PADDING, first + LINE + 13, card.facts),
    ]
    if card.rate is not None:
        parts += _rate(right - PADDING, first, card.rate)
    for line in card.lines:
        parts.append(
            f"<g><title>{escape(line.detail)}</title>"
            + _text("facts", x + PADDING, line.y + 4, line.mark)
            + _text("text", x + PADDING + 14, line.y + 4, line.text)
            + "</g>"
        )
    if card.fed_from_above:
        middle = x + layout.column / 2
        parts.append(
            f'<path class="arrow" d="M{middle:g} {card.top - GAP:g}V{card.top - ARROW:g}"/>'
        )
        parts.append(f'<path class="head" d="M{middle:g} {card.top:g}l-4 -{ARROW + 1}h8z"/>')
    return parts


def _rate(right: float, top: float, rate: float) -> list[str]:
    words = f"{100 * rate:.1f}% firing"
    left = right - BAR
    filled = BAR * min(1.0, max(0.0, rate))
    return [
        f'<rect class="track" x="{left:g}" y="{top + 4:g}" width="{BAR}" height="8" rx="4"/>',
        f'<rect class="rate" x="{left:g}" y="{top + 4:g}" width="{filled:.1f}" height="8" rx="4"/>',
        _text("facts", left - 8, top + 12, words, "end"),
    ]


def _wire(layout: Layout, wire: Wire) -> str:
    side = -1 if wire.late else 1
    edge = layout.left if wire.late else layout.left + layout.column
    x = edge + side * (wire.lane + 1) * LANE
    kind, head = ("wire late", "latehead") if wire.late else ("wire", "wirehead")
    ends = (*wire.starts, *wire.ends)
    paths = [f"M{edge:g} {y:g}H{x:g}" for y in wire.starts]
    paths.append(f"M{x:g} {min(ends):g}V{max(ends):g}")
    paths += [f"M{x:g} {y:g}H{edge + side * ARROW:g}" for y in wire.ends]
    dots = [f'<circle class="{head}" cx="{x:g}" cy="{y:g}" r="2.2"/>' for y in wire.starts]
    heads = [f"M{edge:g} {y:g}l{side * (ARROW + 1):g} -4v8z" for y in wire.ends]
    return (
        f"<g><title>{escape(wire.detail)}</title>"
        f'<path class="{kind}" d="{"".join(paths)}"/>{"".join(dots)}'
        f'<path class="{head}" d="{"".join(heads)}"/></g>'
    )
