"""Results for readers: tables, a plot, and the figures of docs/performance.md.

``python -m benchmarks.report out/bench/results.json --docs`` prints the results again, and writes
them into the documentation.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from rich.console import Console
from rich.table import Table

from benchmarks.scaling import QUANTITIES
from benchmarks.worker import ROOT
from trispike.network.files import whole_file

Results: TypeAlias = Mapping[str, Any]

PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "assets" / "performance.svg"
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
"""Between these lines the page is generated."""

WIDTH = 110
"""Characters of a line on the terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table, whatever it is printed as."""

    title: str
    columns: tuple[str, ...]
    """The first one is text, the others are numbers."""
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def grids(results: Results) -> Iterator[Grid]:
    """All tables of a run, the verdicts first."""
    yield Grid(
        title="Targets",
        columns=("target", "wanted", "measured", "met"),
        rows=tuple(
            (t["name"], t["wanted"], t["measured"], {True: "yes", False: "no"}.get(t["met"], "—"))
            for t in results["targets"]
        ),
    )
    for case in results["cases"]:
        yield _contest(case)
    if results["stock_lava"]:
        yield _stock(results)
    if results.get("placements"):
        yield _placements(results["placements"])
    if results["exponents"]:
        yield _growth_table(results)


def _contest(case: Mapping[str, Any]) -> Grid:
    rows = [
        (
            row["title"],
            _rate(row),
            _times(row),
            f"±{row['spread']:.0%}",
            _answers(row),
            f"{row['peak_bytes'] >> 20:,}",
        )
        for row in case["contestants"]
    ]
    notes = ["firing, layer by layer: " + ", ".join(f"{r:.0%}" for r in case["rates"].values())]
    notes += [
        f"{row['title']}: {row['setting']}" for row in case["contestants"] if row.get("setting")
    ]
    notes += [f"{entry['title']}: {entry['reason']}" for entry in case["missing"]]
    return Grid(
        title=f"{case['title']}, T = {case['steps']}, {case['mean_rate']:.0%} of the neurons fire "
        f"per step, {case['samples']} samples per run",
        columns=("", "rate", "time, fast = 1", "spread", "answers", "peak MiB"),
        rows=tuple(rows),
        notes=tuple(notes),
    )


def _rate(row: Mapping[str, Any]) -> str:
    if "bytes_per_second" in row:
        return f"{row['bytes_per_second'] / 1e9:,.1f} GB/s"
    if "macs_per_second" in row:
        return f"{row['macs_per_second'] / 1e9:,.0f} GMAC/s"
    return f"{_digits(1 / row['seconds_per_sample'])} samples/s"


def _times(row: Mapping[str, Any]) -> str:
    """Time per sample in units of the fast engine's; memory traffic has no samples."""
    if row["times_fast"] is None or "bytes_per_second" in row:
        return "—"
    return f"{row['times_fast']:.2f}"


def _digits(value: float) -> str:
    """Three significant digits at least, without an exponent; billions as G."""
    if value >= 1e8:
        return f"{value / 1e9:.3g}G"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _answers(row: Mapping[str, Any]) -> str:
    if row["is_equal"] is not None:
        return "equal" if row["is_equal"] else "DIFFERENT"
    return "—" if row["agreement"] is None else f"{row['agreement']:.0%} of classes agree"


def _stock(results: Results) -> Grid:
    lava = {
        case["name"]: row["seconds_per_chip_step"]
        for case in results["cases"]
        for row in case["contestants"]
        if row["name"] == "lava"
    }
    rows = []
    for name, stock in results["stock_lava"].items():
        ours = lava.get(name)
        rows.append(
            (
                name,
                f"{stock['seconds_per_step_added_up'] * 1e3:,.0f}",
                f"{stock['seconds_per_step'] * 1e3:,.0f}",
                "—" if ours is None else f"{ours * 1e3:,.1f}",
                "—" if ours is None else f"{stock['seconds_per_step'] / ours:,.0f}",
            )
        )
    return Grid(
        title="Lava, milliseconds per step of all layers",
        columns=("network", "stock, added up", "stock, side by side", "our processes", "ratio"),
        rows=tuple(rows),
        notes=(
            "stock Conv, Dense and LIF (binary: stock Lava has no CTSN), layer by layer",
            "side by side: their sum over the number of processors, which favours stock",
        ),
    )


def _placements(rows: Sequence[Mapping[str, Any]]) -> Grid:
    return Grid(
        title="Placement of ResNet-19",
        columns=("chip", "strategy", "cores", "chips", "seconds"),
        rows=tuple(
            (
                row["target"],
                row["strategy"],
                f"{row['cores']:,}",
                f"{row['chips']:,}",
                f"{row['seconds']:.2f}",
            )
            for row in rows
        ),
    )


def _growth_table(results: Results) -> Grid:
    rows = []
    for name, power in results["exponents"].items():
        quantity = QUANTITIES[name]
        points = results["scaling"][quantity.axis]
        x = [point[quantity.field] for point in points]
        seconds = [point["seconds"] for point in points]
        rows.append(
            (
                quantity.title,
                f"{_digits(min(x))} to {_digits(max(x))}",
                f"{_digits(min(seconds) * 1e3)} to {_digits(max(seconds) * 1e3)}",
                f"{power:.2f}",
            )
        )
    return Grid(
        title="Growth of the cost of the fast engine, CTSN ResNet-19",
        columns=("against", "range", "milliseconds per run", "exponent"),
        rows=tuple(rows),
    )


def heading(results: Results) -> list[str]:
    """On what, with what and when."""
    facts = results["provenance"]
    packages = ", ".join(f"{n} {v}" for n, v in facts["packages"].items() if v)
    gibibytes = facts["memory_bytes"] / (1 << 30)
    return [
        f"{facts['cpu']}, {facts['processors']} processors, {gibibytes:.0f} GiB, {facts['system']}",
        f"instructions: {', '.join(facts['instructions'])}",
        f"threads per contestant: {results['settings']['threads']}",
        f"Python {facts['python']}, {packages}; commit {facts['commit'][:12]}"
        + ("+" if facts["commit"].endswith("+") else ""),
        f"`{results['command']}` on {facts['date']}, {facts['seconds']:.0f} s",
        f"load at the start: {facts['load_at_start']:.2f}",
        *(f"Warning: {warning}" for warning in results["warnings"]),
    ]


def print_results(results: Results, console: Console | None = None) -> None:
    """All tables on the terminal."""
    console = console or Console(width=WIDTH)
    for line in heading(results):
        console.print(line, soft_wrap=True, highlight=False)
    for grid in grids(results):
        table = Table()
        for number, column in enumerate(grid.columns):
            table.add_column(column, justify="right" if number else "left")
        for row in grid.rows:
            table.add_row(*row)
        console.print(f"\n{grid.title}", style="bold", soft_wrap=True, highlight=False)
        console.print(table)
        for note in grid.notes:
            console.print(f"  {note}", style="dim", soft_wrap=True, highlight=False)


def markdown(results: Results) -> str:
    """All tables as Markdown."""
    parts = ["\n".join(f"- {line}" for line in heading(results))]
    for grid in grids(results):
        lines = [
            f"### {grid.title}",
            "",
            _line(grid.columns),
            "|---" + "|--:" * (len(grid.columns) - 1) + "|",
            *map(_line, grid.rows),
        ]
        if grid.notes:
            lines += ["", *(f"- {note}" for note in grid.notes)]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def plot(results: Results) -> Figure:
    """Rates of all contestants per case, and the growth of the cost."""
    cases, axes = results["cases"], results["scaling"]
    figure = Figure(figsize=(11, 3.2 * (len(cases) + bool(axes))), layout="constrained")
    rows = figure.subfigures(max(1, len(cases) + bool(axes)), 1, squeeze=False)[:, 0]
    for row, case in zip(rows, cases, strict=False):
        _bars(row.subplots(), case)
    if axes:
        places = rows[-1].subplots(1, len(axes), squeeze=False)[0]
        for place, (name, points) in zip(places, axes.items(), strict=True):
            _growth(place, name, points, results["exponents"])
        rows[-1].suptitle("Fast engine, seconds per run, with the exponent that fits", fontsize=10)
    return figure


def _bars(place: Axes, case: Mapping[str, Any]) -> None:
    rows = [r for r in case["contestants"] if "bytes_per_second" not in r][::-1]
    rates = [1 / row["seconds_per_sample"] for row in rows]
    colors = ["0.7" if row["computes"] == "nothing" else "tab:blue" for row in rows]
    bars = place.barh([row["title"] for row in rows], rates, color=colors)
    place.bar_label(bars, [_digits(rate) for rate in rates], padding=3, fontsize=8)
    place.set_xscale("log")
    place.margins(x=0.12)
    place.set_title(f"{case['title']}: samples per second", fontsize=10)
    place.tick_params(labelsize=8)


def _growth(
    place: Axes, name: str, points: Sequence[Mapping[str, Any]], exponents: Mapping[str, float]
) -> None:
    quantity = QUANTITIES[name]
    x = [point[quantity.field] for point in points]
    seconds = [point["seconds"] for point in points]
    place.loglog(x, seconds, "o-")
    for axis, values in ((place.xaxis, x), (place.yaxis, seconds)):
        axis.set_major_locator(FixedLocator(values))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
        axis.set_minor_locator(NullLocator())
    power = f"\n(exponent {exponents[name]:.2f})" if name in exponents else ""
    place.set_xlabel(quantity.title + power, fontsize=8)
    place.tick_params(labelsize=8)


def write_results(results: Results, folder: Path) -> list[Path]:
    """JSON, Markdown and the plot in two formats, each file whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "results.json": json.dumps(results, indent=1, ensure_ascii=False) + "\n",
        "results.md": markdown(results),
    }
    for name, text in texts.items():
        with whole_file(folder / name) as part:
            part.write_text(text, encoding="utf-8")
    pictures = [folder / "results.png", folder / "results.svg"]
    for picture in pictures:
        _draw(results, picture)
    return [*(folder / name for name in texts), *pictures]


def _draw(results: Results, path: Path) -> None:
    with whole_file(path) as part:
        plot(results).savefig(part, format=path.suffix[1:], dpi=150)


def write_docs(results: Results, page: Path = PAGE, picture: Path = PICTURE) -> None:
    """Put the tables between the markers of the page, and the plot beside it.

    Raises:
        ValueError: The page has no such markers.
    """
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page} has no lines {BEGIN} and {END}")
    shown = f"![Rates, and growth of the cost](assets/{picture.name})\n\n{markdown(results)}"
    _draw(results, picture)
    with whole_file(page) as part:
        part.write_text(f"{before}{begin}\n{shown}{end}{after}", encoding="utf-8")


def main() -> None:
    """Print the results of a run again; write them into the documentation if asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("results", type=Path, nargs="?", default=Path("out/bench/results.json"))
    parser.add_argument("--docs", action="store_true", help="write them into docs/performance.md")
    options = parser.parse_args()
    results = json.loads(options.results.read_text(encoding="utf-8"))
    print_results(results)
    if options.docs:
        write_docs(results)
        print(f"\nwritten: {PAGE}, {PICTURE}")


if __name__ == "__main__":
    main()
