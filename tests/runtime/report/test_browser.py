"""The page in a browser: no console messages, nothing wider than a phone, charts that are drawn."""

import pytest

from tests import networks
from tests.runtime.pages import browser
from tests.runtime.pages.checks import HOSTILE, renamed
from tests.runtime.report.pages import report_of
from tests.runtime.report.test_page import placed
from trispike.runtime.report import SECTIONS, Origin, write_report

pytestmark = browser.IN_BROWSER


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Hostile and long names, a placement, every section with content."""
    network = networks.vectors()
    names = dict(zip((*network.populations, network.readout.name), HOSTILE.values(), strict=False))
    network = renamed(network, names | {list(network.populations)[-1]: "layer." + 30 * "long"})
    origin = Origin(network="a" * 80 + ".safetensors", data="<script>alert(1)</script>")
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(report_of(network, origin=origin, **placed(network)), path)
    return path


def test_nothing_is_said_on_the_console(page, tmp_path):
    browser.check_quiet(tmp_path, page, SECTIONS)


def test_the_page_lets_nothing_in(page, tmp_path):
    """And the test above would see it."""
    copy = tmp_path / "copy.html"
    script = '<script>document.title = "in"</script><img src="https://example.org/a.png">'
    markup = page.read_text(encoding="utf-8").replace("</body>", script + "</body>")
    copy.write_text(markup, encoding="utf-8")
    tree, console = browser.chromium(tmp_path, copy)
    assert "<title>in</title>" not in tree
    assert len(console) == 2
    assert all("Content Security Policy" in line for line in console)


@pytest.mark.parametrize("width", [390, 1200])
def test_charts_are_drawn(page, tmp_path, width):
    facts = browser.check_fits(tmp_path, page, SECTIONS, width)
    assert len(facts["charts"]) == 3
    assert all(w > 250 and h > 150 for w, h in facts["charts"])
    assert len(facts["lines"]) == 3
    assert all(length > 50 for length in facts["lines"])
    assert any(h > 20 for _, h in facts["columns"])
    assert max(facts["bars"]) > 30
    assert len(set(facts["cells"])) > 3
    assert all(natural > 300 and w > 300 for natural, w, _ in facts["images"])


def test_light_and_dark(page, tmp_path):
    browser.check_schemes(tmp_path, page, colours=4)
