"""Where everything in the picture of a network goes.

The input, the populations in their topological order, and the readout are cards in one column. A
card lists the connections that end in it, one per line. A connection from the card right above
needs no more than the arrow between the two. Every other one is part of a wire: a vertical line
beside the column, to the right, or to the left if the spikes arrive late. Connections of the same
sources share a wire, wires that overlap get different lanes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from trispike.network.network import Network
from trispike.network.summary import describe

TITLE_SIZE, TEXT_SIZE = 14, 11.5
TEXT_WIDTH = 6.3
"""Of an average character of the text, generously."""

PADDING, LINE, GAP, LANE = 12, 18, 26, 13
MARGIN, HEADER = 24, 64
NARROWEST = 420
NAMES = 2
"""Sources that a line names; of more, the others are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A connection in the card that it ends in."""

    text: str
    """What it is."""
    detail: str
    """All of it, for who points at it."""
    y: float
    """Middle of the line."""
    mark: str
    """Where it comes from: the arrow from the card above, or a wire on one side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """The input, a population, or the readout."""

    name: str
    facts: str
    """Shape and kind."""
    rate: float | None
    """Spikes per neuron and time step, if known."""
    lines: tuple[Line, ...]
    top: float
    height: float
    fed_from_above: bool
    """Whether a connection comes from the card right above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """Connections of the same sources that pass by other cards, or arrive late."""

    starts: tuple[float, ...]
    """Where the sources lie."""
    ends: tuple[float, ...]
    """Where the lines in the targets lie."""
    lane: int
    """Distance from the column, 0 is next to it."""
    late: bool
    """Whether it has a delay; then it runs on the left."""
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Everything that is drawn."""

    title: str
    subtitle: str
    cards: tuple[Card, ...]
    wires: tuple[Wire, ...]
    left: float
    """Where the column begins."""
    column: float
    """Its width."""
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class _Words:
    text: str
    detail: str


def arrange(network: Network, rates: Mapping[str, float] | None = None) -> Layout:
    """Place the parts of a network.

    Args:
        network: The network.
        rates: Firing rate by population, 0..1.
    """
    facts, rates = describe(network), rates or {}
    names = (network.input.name, *network.order, network.readout.name)
    place = {name: n for n, name in enumerate(names)}
    by_label = {c["label"]: c for c in facts["connections"]}
    words = {label: _words(c.sources, by_label[label], c.delay) for label, c in network.labelled()}
    late = {label: c.delay > 0 for label, c in network.labelled()}
    incoming: dict[str, list[str]] = {name: [] for name in names}
    above: set[str] = set()
    for label, c in network.labelled():
        incoming[c.target].append(label)
        if len(c.sources) == 1 and not c.delay and place[c.sources[0]] == place[c.target] - 1:
            above.add(label)
    kinds = _card_facts(network, facts)
    cards: list[Card] = []
    y = float(MARGIN + HEADER)
    for name in names:
        first = y + PADDING + 2 * LINE + 4
        lines = tuple(
            Line(
                text=words[label].text,
                detail=words[label].detail,
                y=first + n * LINE + LINE / 2,
                mark="▾" if label in above else "▸" if late[label] else "◂",
            )
            for n, label in enumerate(incoming[name])
        )
        height = 2 * PADDING + 2 * LINE + (4 + len(lines) * LINE if lines else 0)
        cards.append(
            Card(
                name=name,
                facts=kinds[name],
                rate=rates.get(name),
                lines=lines,
                top=y,
                height=height,
                fed_from_above=any(label in above for label in incoming[name]),
            )
        )
        y += height + GAP
    wires = _wires(network, dict(zip(names, cards, strict=True)), incoming, above)
    lanes = {
        side: 1 + max((w.lane for w in wires if w.late == side), default=-1)
        for side in (False, True)
    }
    texts = [line.text for card in cards for line in card.lines] + list(kinds.values())
    column = max(NARROWEST, 2 * PADDING + 18 + TEXT_WIDTH * max(map(len, texts)))
    sides = {side: (lanes[side] + 1) * LANE if lanes[side] else 0 for side in lanes}
    title, subtitle = _titles(facts)
    header = TEXT_WIDTH * max(len(subtitle), 1.3 * len(title))
    return Layout(
        title=title,
        subtitle=subtitle,
        cards=tuple(cards),
        wires=tuple(wires),
        left=MARGIN + sides[True],
        column=column,
        width=2 * MARGIN + max(sides[True] + column + sides[False], header),
        height=y - GAP + MARGIN,
    )


def _titles(facts: Mapping[str, object]) -> tuple[str, str]:
    subtitle = (
        f"{facts['neurons']:,} neurons, {facts['weights']:,} weights, "
        f"{facts['synapses']:,} synapses, depth {facts['depth']}"
    )
    return f"{str(facts['kind']).capitalize()} network, {facts['steps']} time steps", subtitle


def _card_facts(network: Network, facts: Mapping[str, object]) -> dict[str, str]:
    kinds = {
        network.input.name: f"{_shape(network.input.shape)}, {network.input.encoding} encoding",
        network.readout.name: f"{network.readout.classes} classes",
    }
    for p in facts["populations"]:  # type: ignore[attr-defined]
        neuron = network.populations[p["name"]].neuron
        bits = f", {neuron.state_bits}-bit states" if hasattr(neuron, "state_bits") else ""
        kinds[p["name"]] = f"{_shape(p['shape'])}, {p['neuron']}{bits}"
    return kinds


def _words(sources: tuple[str, ...], facts: Mapping[str, object], delay: int) -> _Words:
    shown = " + ".join(sources[:NAMES])
    if len(sources) > NAMES:
        shown += f" + {len(sources) - NAMES} more"
    what = [str(facts["pool"])] if facts["pool"] else []
    what.append(str(facts["operator"]).replace("->", "→"))
    what.append(f"{facts['weights']:,}" + (f" × {facts['bits']} bit" if facts["bits"] else ""))
    if facts["exponent"]:
        what.append(f"<< {facts['exponent']}")
    if delay:
        what.append(f"delay {delay}")
    rest = ", ".join(what)
    return _Words(
        f"{shown}: {rest}", f"{' + '.join(sources)}: {rest}, {facts['synapses']:,} synapses"
    )


def _wires(
    network: Network,
    cards: Mapping[str, Card],
    incoming: Mapping[str, list[str]],
    above: Iterable[str],
) -> list[Wire]:
    """Wires, those that span the least next to the column."""
    ends: dict[tuple[tuple[str, ...], bool], list[tuple[float, str]]] = {}
    for label, c in network.labelled():
        if label not in above:
            line = cards[c.target].lines[incoming[c.target].index(label)]
            ends.setdefault((c.sources, c.delay > 0), []).append((line.y, c.target))
    found = []
    for (sources, late), targets in ends.items():
        # Where wires leave a card: beside its name, above the lines at which others arrive.
        starts = tuple(cards[s].top + PADDING + LINE / 2 for s in sources)
        places = tuple(y for y, _ in targets)
        low, high = min(starts + places) - 2, max(starts + places) + 2
        detail = f"{' + '.join(sources)} → {', '.join(name for _, name in targets)}"
        found.append((high - low, low, high, late, starts, places, detail))
    taken: dict[tuple[bool, int], list[tuple[float, float]]] = {}
    wires = []
    for _, low, high, late, starts, places, detail in sorted(found):
        lane = 0
        while any(low < b and a < high for a, b in taken.get((late, lane), ())):
            lane += 1
        taken.setdefault((late, lane), []).append((low, high))
        wires.append(Wire(starts=starts, ends=places, lane=lane, late=late, detail=detail))
    return wires


def _shape(shape: Iterable[int]) -> str:
    return "×".join(map(str, shape))
