"""The frame of every page."""

from importlib import metadata, resources

import jinja2
import pytest

from tests.runtime.pages.checks import check_loads_nothing, check_structure
from tests.runtime.pages.tree import find, text
from trispike.errors import MissingDependencyError
from trispike.runtime.pages import missing_jinja
from trispike.runtime.pages.layout import figure, lay_out, write_page

SECTIONS = {"summary": "Summary", "provenance": "Provenance"}

TEMPLATE = """{% extends "base.html" %}
{% import "parts.html" as c %}
{% block lead %}{{ half | percent }} of {{ many | number }}{% endblock %}
{% block summary %}<p>{{ edge | label }}</p>{% endblock %}
{% block provenance %}{{ c.provenance(provenance) }}{% endblock %}
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with a template of its own."""
    folder = tmp_path / "some_page"
    (folder / "templates").mkdir(parents=True)
    (folder / "__init__.py").write_text("", encoding="utf-8")
    (folder / "templates" / "page.html").write_text(TEMPLATE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return "some_page"


def page(package: str, sections: dict[str, str]) -> str:
    return lay_out(
        "page.html",
        package=package,
        title="<b>net</b>",
        sections=sections,
        provenance={"data": "<i>digits</i>"},
        filters={},
        context={"half": 0.5, "many": 12345, "edge": "a->b"},
    )


def test_a_page_is_valid_and_loads_nothing(package):
    markup = page(package, SECTIONS)
    tree = check_structure(markup, SECTIONS)
    check_loads_nothing(markup)
    assert text(next(tree.iter("h1"))) == text(next(tree.iter("title"))) == "<b>net</b>"
    assert "<i>digits</i>" in text(find(tree, "provenance"))
    assert '<data value="0.5">50.00 %</data> of <data value="12345">12,345</data>' in markup
    assert text(find(tree, "summary")).endswith("a->b")
    (generator,) = [e.get("content") for e in tree.iter("meta") if e.get("name") == "generator"]
    assert generator == f"trispike {metadata.version('trispike')}"


def test_a_section_without_a_block_is_an_error(package):
    with pytest.raises((KeyError, jinja2.UndefinedError), match="more"):
        page(package, SECTIONS | {"more": "More"})


def test_figures_carry_the_exact_number():
    assert figure(1 / 3, lambda v: f"{v:.1f}") == f'<data value="{1 / 3!r}">0.3</data>'
    assert figure(None, str) == "–"


def test_a_page_replaces_the_file(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("old", encoding="utf-8")
    write_page("−", path)
    assert path.read_bytes() == "−".encode()
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_without_jinja_the_error_names_the_extra():
    error = missing_jinja("page", "; or not.")
    assert isinstance(error, MissingDependencyError)
    assert "pip install 'trispike[report]'; or not." in str(error)


def test_templates_are_in_the_package():
    found = resources.files("trispike.runtime.pages") / "templates"
    assert {p.name for p in found.iterdir()} == {"base.html", "parts.html", "style.css"}
