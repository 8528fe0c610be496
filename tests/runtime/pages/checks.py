"""What every page has to be."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.runtime.pages.tree import find, parsed, text
from trispike.network import IntegerNetwork

LOADING = ("src", "href", "srcset", "data", "action", "poster", "background", "xlink:href")
"""Attributes that name what a browser fetches."""

HOSTILE = {
    "first": '<img src=x onerror="alert(1)"',
    "second": "'\"><b".replace(">", "") + "<script",
    "readout": "&lt;{{ 7 * 7 }}{% raw %}",
}
"""Names that are markup, or look like it."""


def check_structure(page: str, sections: Mapping[str, str]) -> ET.Element:
    """Valid, with every section in its order, with what is linked and captions; gives the tree."""
    tree = parsed(page)
    assert [e.get("id") for e in tree.iter("section")] == list(sections)
    for identity, title in sections.items():
        section = find(tree, identity)
        assert text(next(section.iter("h2"))) == title
        assert section.get("aria-labelledby") == f"h-{identity}"
        assert len(list(section)) > 1, "a title alone"
    identities = [e.get("id") for e in tree.iter() if e.get("id")]
    assert len(identities) == len(set(identities))
    links = {e.get("href", "").removeprefix("#") for e in tree.iter("a")}
    assert links <= set(identities)
    for table in tree.iter("table"):
        assert text(next(table.iter("caption")))
    return tree


def check_loads_nothing(page: str, images: int = 0) -> None:
    """No scripts, nothing from anywhere, so many images, which are in the page themselves."""
    tree = parsed(page)
    for element in tree.iter():
        assert element.tag not in ("script", "iframe", "object", "embed", "form", "base", "audio")
        for attribute, value in element.attrib.items():
            assert not str(attribute).startswith("on")
            if attribute in LOADING:
                assert value.startswith(("#", "data:")), (element.tag, value)
    (style,) = [text(e) for e in tree.iter("style")]
    assert "url(" not in style
    assert "@import" not in style
    assert [e.get("http-equiv") for e in tree.iter("meta") if e.get("http-equiv")] == [
        "Content-Security-Policy"
    ]
    assert "default-src 'none'" in page
    assert len(list(tree.iter("img"))) == images


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
