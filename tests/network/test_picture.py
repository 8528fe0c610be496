"""Pictures: everything is in them, nothing overlaps, nothing of a stranger's is executed."""

from itertools import combinations
from xml.etree import ElementTree

import pytest

from tests.networks import CASES, as_float, vectors
from trispike.network.picture import draw
from trispike.network.picture.layout import Wire, arrange

SVG = "{http://www.w3.org/2000/svg}"


def texts(drawn: str) -> list[str]:
    return [e.text or "" for e in ElementTree.fromstring(drawn).iter(f"{SVG}text")]


@pytest.mark.parametrize("case", CASES)
def test_everything_is_drawn_once(case):
    network = CASES[case]()
    drawn = draw(network, dict.fromkeys(network.populations, 0.25))
    written = texts(drawn)
    for name in (network.input.name, *network.populations, network.readout.name):
        assert written.count(name) == 1
    assert written.count("25.0% firing") == len(network.populations)
    layout = arrange(network)
    lines = [line for card in layout.cards for line in card.lines]
    assert len(lines) == len(network.labels)
    wired = sum(line.mark != "▾" for line in lines)
    assert sum(len(wire.ends) for wire in layout.wires) == wired


@pytest.mark.parametrize("case", CASES)
def test_nothing_overlaps_or_leaves_the_picture(case):
    layout = arrange(CASES[case]())
    for a, b in zip(layout.cards, layout.cards[1:], strict=False):
        assert a.top + a.height < b.top
    assert layout.cards[-1].top + layout.cards[-1].height < layout.height
    for one, two in combinations(layout.wires, 2):
        if (one.lane, one.late) == (two.lane, two.late):
            first, second = sorted((min(ends), max(ends)) for ends in map(_ends, (one, two)))
            assert first[1] < second[0]
    assert layout.left + layout.column < layout.width


def _ends(wire: Wire) -> tuple[float, ...]:
    return wire.starts + wire.ends


def test_late_connections_run_on_the_left():
    layout = arrange(CASES["recurrent"]())
    assert [wire.late for wire in layout.wires] == [True, True]
    assert layout.left > arrange(vectors()).left


def test_connections_of_the_same_sources_share_a_wire():
    network = CASES["several_readout_connections"]()
    assert len(arrange(network).wires) == 2


def test_float_networks_have_no_bits():
    drawn = draw(as_float(vectors()))
    assert "bit" not in "".join(texts(drawn))


def test_names_are_escaped():
    from dataclasses import replace

    network = vectors()
    first = network.populations["first"]
    name = "<script>&\"'"
    renamed = name.replace(">", "")  # names of populations have no >
    network = replace(
        network,
        populations={renamed if k == "first" else k: v for k, v in network.populations.items()},
        connections=tuple(
            replace(
                c,
                sources=tuple(renamed if s == "first" else s for s in c.sources),
                target=renamed if c.target == "first" else c.target,
            )
            for c in network.connections
        ),
    )
    drawn = draw(network)
    assert first is network.populations[renamed]
    assert renamed in texts(drawn)
    assert "<script" not in drawn


def test_the_picture_needs_nothing_from_elsewhere():
    drawn = draw(vectors())
    assert drawn.count("http") == 1  # the name space
    assert draw(vectors()) == drawn
