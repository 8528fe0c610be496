"""What a page holds."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import html5lib


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
