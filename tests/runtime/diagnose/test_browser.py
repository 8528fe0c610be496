"""The page in a browser: no console messages, nothing wider than a phone, colours that are seen."""

import pytest

pytest.importorskip("jinja2", reason="jinja2 is not installed")

from tests.runtime.diagnose.pairs import float_network, inputs, integer_network
from tests.runtime.pages import browser
from tests.runtime.pages.checks import HOSTILE, renamed
from trispike.runtime.diagnose import diagnose
from trispike.runtime.diagnose.page import SECTIONS, PageOrigin, write_diagnosis

pytestmark = browser.IN_BROWSER


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Hostile and long names, a saturating state, dead and coarse layers, every section."""
    names = dict(zip(("a", "b", "readout"), HOSTILE.values(), strict=True))
    names["c"] = "layer." + 30 * "long"
    integer = integer_network(bits={"c": 2, "readout": 3}, neurons={"b": {"state_bits": 16}})
    found = diagnose(renamed(float_network(), names), renamed(integer, names), inputs())
    assert any(sum(p.own.saturations) for p in found.populations)
    path = tmp_path_factory.mktemp("page") / "diagnosis.html"
    origin = PageOrigin(
        float_network="a" * 80, integer_network="<script>alert(1)</script>", data="data"
    )
    write_diagnosis(found, path, origin)
    return path


def test_nothing_is_said_on_the_console(page, tmp_path):
    browser.check_quiet(tmp_path, page, SECTIONS)


@pytest.mark.parametrize("width", [390, 1200])
def test_it_fits_a_phone_and_a_desk(page, tmp_path, width):
    facts = browser.check_fits(tmp_path, page, SECTIONS, width)
    assert len(set(facts["cells"])) > 4


def test_light_and_dark(page, tmp_path):
    browser.check_schemes(tmp_path, page, colours=5)


def test_it_prints(page, tmp_path):
    target = tmp_path / "page.pdf"
    browser.chromium(tmp_path, page, "--no-pdf-header-footer", f"--print-to-pdf={target}")
    printed = target.read_bytes()
    assert printed.startswith(b"%PDF")
    assert len(printed) > 20_000
