"""From figures to markup."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

from trispike.network.files import whole_file
from trispike.runtime.pages import heat, missing_jinja, words

if importlib.util.find_spec("jinja2") is None:
    raise missing_jinja("page")

import jinja2
from markupsafe import Markup

Filters = Mapping[str, Callable[..., Any]]


def lay_out(
    template: str,
    *,
    package: str,
    title: str,
    sections: Mapping[str, str],
    provenance: Mapping[str, str],
    filters: Filters,
    context: Mapping[str, Any],
) -> str:
    """A page as an HTML document.

    Args:
        template: Name of a template that extends ``base.html`` and has a block for every section.
        package: Module whose folder ``templates`` holds it.
        title: Of the page.
        sections: Titles by id, in the order of the page.
        provenance: What the last section lists.
        filters: What the template has beside ``number``, ``percent``, ``label`` and ``exact``.
        context: What else the template reads.
    """
    return (
        _environment(package, filters)
        .get_template(template)
        .render(
            context,
            title=title,
            sections=sections,
            provenance=provenance,
            version=version("trispike"),
        )
    )


def write_page(page: str, path: str | os.PathLike[str]) -> None:
    """Write a page to one file, replacing it whole."""
    with whole_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def figure(value: float | None, say: Callable[[Any], str]) -> str:
    """A rounded number that carries the exact one."""
    if value is None:
        return "–"
    return Markup('<data value="{}">{}</data>').format(_exact(value), say(value))


def _environment(package: str, filters: Filters) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [
                jinja2.PackageLoader(name, "templates")
                for name in (package, "trispike.runtime.pages")
            ]
        ),
        autoescape=True,  # names come from files
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["levels"] = heat.LEVELS
    environment.filters |= {
        "number": lambda value: figure(value, words.count),
        "percent": lambda value, digits=2: figure(value, lambda v: words.percent(v, digits)),
        "label": _label,
        "exact": _exact,
        **filters,
    }
    return environment


def _exact(value: float) -> str:
    """All digits of a number, for who reads the page by program."""
    return repr(value if isinstance(value, int) else float(value))


def _label(name: str) -> Markup:
    """The label of a connection, which may be broken behind its arrow, but not within."""
    arrow = Markup('<span class="nobreak">{}</span><wbr>').format("->")
    return arrow.join(name.split("->"))
