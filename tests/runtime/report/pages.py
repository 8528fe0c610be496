"""Reports of small networks, and what a page holds."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import html5lib
import numpy as np

from tests.networks import sample_inputs
from trispike.network import IntegerNetwork, Network
from trispike.runtime import ReferenceEngine
from trispike.runtime.energy import load_hardware
from trispike.runtime.report import DEFAULT_HARDWARE, Origin, Report, build_report

SAMPLES = 6


def report_of(
    network: Network,
    *,
    labels: bool = True,
    hardware: Sequence[str] = DEFAULT_HARDWARE["integer"],
    origin: Origin = Origin(network="net", data="data"),  # noqa: B008 - frozen
    **options: Any,
) -> Report:
    """A report of a few random samples."""
    x = sample_inputs(network, SAMPLES)
    y = np.arange(SAMPLES) % network.readout.classes if labels else None
    result = ReferenceEngine(network).run(x, y, per_sample=True)
    prices = [load_hardware(name) for name in hardware]
    return build_report(network, x, result, prices, origin=origin, **options)


def parsed(page: str) -> ET.Element:
    """A page as a tree; raises where a browser would have to mend it."""
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    return parser.parse(page)


def find(tree: ET.Element, identity: str) -> ET.Element:
    """The element of that id, which is the only one."""
    (found,) = [e for e in tree.iter() if e.get("id") == identity]
    return found


def text(element: ET.Element) -> str:
    """All text in an element, with single spaces."""
    return " ".join("".join(element.itertext()).split())


def figures(element: ET.Element) -> list[float]:
    """The exact numbers in an element, in their order."""
    return [float(e.get("value", "")) for e in element.iter("data")]


def body(table: ET.Element) -> list[list[ET.Element]]:
    """Cells of the body of a table."""
    (rows,) = table.iter("tbody")
    return [list(row) for row in rows]


def renamed(network: IntegerNetwork, names: dict[str, str]) -> IntegerNetwork:
    """The same network with other names of populations and of the readout."""

    def new(name: str) -> str:
        return names.get(name, name)

    def connections(found: Any) -> tuple[Any, ...]:
        return tuple(
            replace(c, sources=tuple(map(new, c.sources)), target=new(c.target)) for c in found
        )

    return replace(
        network,
        populations={new(name): p for name, p in network.populations.items()},
        connections=connections(network.connections),
        readout=replace(
            network.readout,
            name=new(network.readout.name),
            connections=connections(network.readout.connections),
        ),
    )
