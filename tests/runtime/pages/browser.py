"""Pages in a browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

IN_BROWSER = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
"""Marks of tests that need one."""

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


def check_quiet(folder: Path, page: Path, sections: Iterable[str]) -> None:
    """Nothing is said on the console, and the browser sees these sections."""
    tree, console = chromium(folder, page)
    assert console == []
    assert re.findall(r'<section id="(\w+)"', tree) == list(sections)


def check_fits(folder: Path, page: Path, sections: Iterable[str], width: int) -> dict[str, Any]:
    """Every section is seen, and none is wider than the window; gives what was measured."""
    facts = probed(folder, page, width=width)
    assert [name for name, *_ in facts["sections"]] == list(sections)
    assert all(height > 40 for *_, height in facts["sections"])
    assert facts["page"][1] == width
    assert facts["page"][0] <= width, "the page scrolls sideways"
    return facts


def check_schemes(folder: Path, page: Path, colours: int) -> None:
    """Light and dark are told apart, and in both cells have at least so many colours."""
    for scheme, darker in ((0, "background"), (1, "text")):
        facts = probed(folder, page, f"--blink-settings=preferredColorScheme={scheme}")
        light = {n: sum(map(int, re.findall(r"\d+", facts[n]))) for n in ("background", "text")}
        assert min(light, key=light.__getitem__) == darker
        assert abs(light["background"] - light["text"]) > 500
        assert len(set(facts["cells"])) >= colours
