"""A report as one HTML file that loads nothing from anywhere."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from trispike.runtime.energy import Coefficient, Estimate, MemoryModel, MemoryTwin, Profile
from trispike.runtime.pages.heat import Cell, HeatMap, level
from trispike.runtime.pages.layout import figure, lay_out, write_page
from trispike.runtime.pages.words import count, percent
from trispike.runtime.report import charts, words
from trispike.runtime.report.content import Report
from trispike.runtime.report.matrices import Matrix
from trispike.targets.loihi.picture import draw_placement

SECTIONS = {
    "summary": "Summary",
    "meaning": "What the figures mean",
    "breakdown": "Where the energy goes",
    "time": "Layers and time steps",
    "layers": "Layers",
    "twins": "Networks without spikes",
    "anytime": "Fewer time steps",
    "prices": "Other prices",
    "conventions": "Other conventions",
    "samples": "Single samples",
    "placement": "Placement",
    "unpriced": "What is not in it",
    "sources": "Sources",
    "provenance": "Provenance",
}
"""Of the page, by id, in their order."""


class Size(NamedTuple):
    """Of every drawing."""

    width: int = charts.WIDTH
    height: int = charts.HEIGHT
    left: int = charts.LEFT
    right: int = charts.RIGHT
    top: int = charts.TOP
    bottom: int = charts.BOTTOM


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """The spiking network beside another one on one basis; joules per inference."""

    other: str
    basis: str
    spiking: float
    twin: float

    @property
    def wins(self) -> bool:
        """Whether the spiking network is the cheaper one."""
        return self.spiking < self.twin

    @property
    def loses(self) -> bool:
        """Whether the other one is."""
        return self.spiking > self.twin

    @property
    def words(self) -> str:
        """Who wins, by how much."""
        return words.factor(self.spiking, self.twin)


class Price(NamedTuple):
    """One price with its source."""

    what: str
    picojoules: float | None
    low: float | None
    high: float | None
    basis: str
    confidence: str
    source: str


def write_report(report: Report, path: str | os.PathLike[str]) -> None:
    """Write a report to one HTML file, replacing it whole; equal reports give equal files."""
    write_page(render_report(report), path)


def render_report(report: Report) -> str:
    """A report as an HTML document."""
    return lay_out(
        "report.html",
        package="trispike.runtime.report",
        title=f"Energy per inference of {report.origin.network}",
        sections=SECTIONS,
        provenance=report.provenance,
        filters=_FILTERS,
        context=_context(report),
    )


def _context(report: Report) -> dict[str, Any]:
    """What the template reads."""
    curve = report.curve
    histogram, bins = charts.histogram(report.operations)
    drawn = [] if curve is None else [charts.accuracy_chart(curve), charts.energy_chart(curve)]
    return {
        "report": report,
        "network": report.network,
        "ledger": report.ledger,
        "headline": report.headline,
        "hardware": report.headline.profile,
        "size": Size(),
        "columns": len(report.matrices[0].columns),
        "heat_maps": _heat_maps(report),
        "energies": {(part.name, part.kind): part.joules for part in report.headline.layers},
        "contests": contests(report),
        "shown_twins": [*report.twins, *(t for e in report.estimates for t in e.twins)],
        "curve": curve,
        "curve_charts": drawn,
        "histogram": histogram,
        "bins": bins,
        "without_interval": _without_interval(report.headline),
        "differences": _differences(report),
        "placement_picture": _placement_picture(report),
        "left_out": [(e, {t.event: t.count for t in e.terms}) for e in report.estimates],
        "prices": [(e.profile, _prices(e)) for e in report.estimates],
        "bases": words.BASES,
        "scopes": words.SCOPES,
    }


def contests(report: Report) -> tuple[Contest, ...]:
    """Every comparison with a network without spikes."""
    found = []
    for twin in report.twins:
        weights, neurons = "arithmetic of the weights", "with that of the neurons"
        found += [
            Contest(
                other=twin.name, basis=weights, spiking=twin.spiking_joules, twin=twin.twin_joules
            ),
            Contest(
                other=twin.name,
                basis=neurons,
                spiking=twin.spiking_with_neurons_joules,
                twin=twin.twin_with_neurons_joules,
            ),
        ]
    found += [x for e in report.estimates for twin in e.twins for x in _with_memory(twin)]
    return tuple(found)


def _with_memory(twin: MemoryTwin) -> list[Contest]:
    """At the middle and both ends of the bands."""
    return [
        Contest(
            other=twin.name,
            basis=f"memory and neurons included ({twin.profile}){where}",
            spiking=spiking,
            twin=other,
        )
        for where, spiking, other in (
            ("", twin.spiking_joules, twin.twin_joules),
            (", lower ends of both bands", twin.spiking_low_joules, twin.twin_low_joules),
            (", upper ends of both bands", twin.spiking_high_joules, twin.twin_high_joules),
        )
    ]


_FILTERS: dict[str, Callable[..., Any]] = {
    "joules": lambda value: figure(value, words.energy),
    "term": words.term,
    "price": words.price,
    "rate": words.rate,
    "share": charts.share,
}


def _heat_maps(report: Report) -> list[HeatMap]:
    """Energy, operations and rates, as far as there are any."""
    matrices = {matrix.id: matrix for matrix in report.matrices}
    found = []
    if "energy" in matrices:
        found.append(
            _heat_map(
                matrices["energy"],
                title="Energy per inference",
                words=f"Prices of {report.stepwise}; messages, hops and static power belong to no "
                "layer.",
                say=words.energy,
                say_sum=words.energy,
            )
        )
    found.append(
        _heat_map(
            matrices["operations"],
            title="Synaptic and graded operations per inference",
            say=charts.short_count,
            say_sum=count,
        )
    )
    if matrices["rates"].rows:
        found.append(
            _heat_map(
                matrices["rates"],
                title="Firing rate",
                words="Share of the neurons that fired, either sign.",
                corner="population",
                say=lambda value: percent(value, 1),
            )
        )
    return found


def _heat_map(
    matrix: Matrix,
    *,
    title: str,
    say: Callable[[float], str],
    say_sum: Callable[[float], str] = count,
    words: str = "",
    corner: str = "layer",
) -> HeatMap:
    """Coloured by the size of a value relative to the largest cell; sums have no colour."""
    sums = matrix.totals

    def cells(row: int) -> tuple[Cell, ...]:
        values = [float(value) for value in matrix.values[row]]
        found = [Cell(value=v, level=level(v, matrix.largest), text=say(v)) for v in values]
        if sums is not None:
            found.append(Cell(value=float(sums[row]), level=None, text=say_sum(float(sums[row]))))
        return tuple(found)

    return HeatMap(
        id=matrix.id,
        title=title,
        words=words,
        low="nothing",
        high=f"{say(matrix.largest)}, the largest cell",
        corner=corner,
        columns=matrix.columns if sums is None else (*matrix.columns, "all"),
        rows=tuple((name, cells(n)) for n, name in enumerate(matrix.rows)),
    )


def _without_interval(estimate: Estimate) -> tuple[int, int]:
    """How many priced terms have no interval, and how many there are."""
    priced = [term for term in estimate.terms if term.status == "priced" and term.count]
    return sum(term.low_joules == term.high_joules for term in priced), len(priced)


def _differences(report: Report) -> Mapping[str, list[str]]:
    """What several conventions have in common is said once: sentence to their names."""
    said: dict[str, list[str]] = {}
    for convention in report.conventions:
        for sentence in convention.differences:
            said.setdefault(sentence, []).append(convention.name)
    return said


def _placement_picture(report: Report) -> str | None:
    """As a data URI: the picture has a style of its own, which must not reach the page."""
    if report.placement is None:
        return None
    picture = draw_placement(report.placement, report.traffic)
    return "data:image/svg+xml;base64," + base64.b64encode(picture.encode()).decode("ascii")


def _prices(estimate: Estimate) -> list[Price]:
    profile = estimate.profile
    if isinstance(profile, Profile):
        found = list(profile.coefficients.items())
    else:
        assert isinstance(profile, MemoryModel)
        found = list(profile.coefficients())
    rows = [_price(event, price, profile) for event, price in found]
    if isinstance(profile, MemoryModel):
        for what in ("word_bits", "accumulator_bits", "payload_bits"):
            size = getattr(profile, what)
            source = f"{size.value} bits: {size.citation}. {size.note}".strip()
            rows.append(Price(what, None, None, None, "width", size.confidence, source))
    if profile.static_power:
        power = profile.static_power
        source = f"{power.watts:g} W: {power.citation}"
        rows.append(Price("static_power", None, None, None, "power", power.confidence, source))
    return rows


def _price(event: str, price: Coefficient, profile: Profile | MemoryModel) -> Price:
    return Price(
        what=event,
        picojoules=price.picojoules,
        low=price.low,
        high=price.high,
        basis=price.basis or profile.basis,
        confidence=price.confidence,
        source=f"{price.citation}. {price.note}" if price.note else price.citation,
    )
