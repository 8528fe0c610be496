"""The page in a browser: no console messages, nothing wider than a phone, charts that are drawn."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import networks
from tests.runtime.report.pages import renamed, report_of
from tests.runtime.report.test_page import HOSTILE, placed
from trispike.runtime.report import SECTIONS, Origin, write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

PROBE = """
<script>
addEventListener("load", () => {
  const box = (e) => { const b = e.getBoundingClientRect(); return [b.width, b.height]; };
  const all = (selector) => [...document.querySelectorAll(selector)];
  const colour = (e, what) => getComputedStyle(e)[what];
  const facts = {
    sections: all("section").map((e) => [e.id, ...box(e)]),
    charts: all("svg.chart[role=img]").map(box),
    lines: all("svg.chart[role=img] path.line").map((e) => e.getTotalLength()),
    columns: all("svg.chart rect.column").map(box),
    bars: all(".bar .fill").map((e) => box(e)[0]),
    cells: all("table.heat td:not(.total)").map((e) => colour(e, "backgroundColor")),
    images: all("img").map((e) => [e.naturalWidth, ...box(e)]),
    page: [document.documentElement.scrollWidth, document.documentElement.clientWidth],
    background: colour(document.body, "backgroundColor"),
    text: colour(document.body, "color"),
  };
  parent.postMessage(JSON.stringify(facts), "*");
});
</script>
"""

FRAME = """<!doctype html><title>frame</title><pre id="probe"></pre><script>
addEventListener("message", (e) => { document.querySelector("#probe").textContent = e.data; });
</script><iframe src="probed.html" style="width: WIDTHpx; height: 900px; border: 0"></iframe>"""
"""A window of Chromium is never as narrow as a phone; a frame is."""


def chromium(folder: Path, page: Path, *options: str) -> tuple[str, list[str]]:
    """Opens a page; gives its tree as text, and what was said on the console."""
    done = subprocess.run(
        [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--hide-scrollbars", "--enable-logging=stderr",
            f"--user-data-dir={folder / 'browser'}", *options, "--dump-dom", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=240, check=True,
    )  # fmt: skip
    return done.stdout, re.findall(r"CONSOLE[^\n]*", done.stderr)


def probed(folder: Path, page: Path, *options: str, width: int = 1200) -> dict[str, Any]:
    """What a browser makes of a page, measured by a script that it would not let in itself."""
    markup = page.read_text(encoding="utf-8")
    opened, count = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", markup)
    assert count == 1
    copy = folder / "probed.html"
    copy.write_text(opened.replace("</body>", PROBE + "</body>"), encoding="utf-8")
    frame = folder / "frame.html"
    frame.write_text(FRAME.replace("WIDTH", str(width)), encoding="utf-8")
    tree, console = chromium(folder, frame, *options)
    assert console == []
    found: dict[str, Any] = json.loads(
        html.unescape(re.findall(r'<pre id="probe">(.*?)</pre>', tree)[0])
    )
    return found


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
    tree, console = chromium(tmp_path, page)
    assert console == []
    assert re.findall(r'<section id="(\w+)"', tree) == list(SECTIONS)


def test_the_page_lets_nothing_in(page, tmp_path):
    """And the test above would see it."""
    copy = tmp_path / "copy.html"
    script = '<script>document.title = "in"</script><img src="https://example.org/a.png">'
    markup = page.read_text(encoding="utf-8").replace("</body>", script + "</body>")
    copy.write_text(markup, encoding="utf-8")
    tree, console = chromium(tmp_path, copy)
    assert "<title>in</title>" not in tree
    assert len(console) == 2
    assert all("Content Security Policy" in line for line in console)


@pytest.mark.parametrize("width", [390, 1200])
def test_charts_are_drawn(page, tmp_path, width):
    facts = probed(tmp_path, page, width=width)
    assert [name for name, *_ in facts["sections"]] == list(SECTIONS)
    assert all(height > 40 for *_, height in facts["sections"])
    assert facts["page"][1] == width
    assert facts["page"][0] <= width, "the page scrolls sideways"
    assert len(facts["charts"]) == 3
    assert all(w > 250 and h > 150 for w, h in facts["charts"])
    assert len(facts["lines"]) == 3
    assert all(length > 50 for length in facts["lines"])
    assert any(h > 20 for _, h in facts["columns"])
    assert max(facts["bars"]) > 30
    assert len(set(facts["cells"])) > 3
    assert all(natural > 300 and w > 300 for natural, w, _ in facts["images"])


def test_light_and_dark(page, tmp_path):
    for scheme, darker in ((0, "background"), (1, "text")):
        facts = probed(tmp_path, page, f"--blink-settings=preferredColorScheme={scheme}")
        light = {n: sum(map(int, re.findall(r"\d+", facts[n]))) for n in ("background", "text")}
        assert min(light, key=light.__getitem__) == darker
        assert abs(light["background"] - light["text"]) > 500
        assert len(set(facts["cells"])) > 3
