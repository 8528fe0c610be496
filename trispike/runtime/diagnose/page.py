"""A diagnosis as one HTML file that loads nothing from anywhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from trispike.network.files import whole_file
from trispike.runtime.diagnose.advice import RULES, TARGET_SQNR_DB
from trispike.runtime.diagnose.content import Diagnosis, Figures, SpikeFigures
from trispike.runtime.diagnose.scales import sqnr_db
from trispike.runtime.report import words
from trispike.runtime.report.matrices import groups

SECTIONS = {
    "summary": "Summary",
    "advice": "What to do",
    "divergence": "Where spikes differ first",
    "current": "Input currents",
    "spikes": "Wrong spikes",
    "rates": "Firing rates",
    "states": "States and neurons",
    "weights": "Weights",
    "rules": "The rules",
    "provenance": "Provenance",
}
"""Of the page, by id, in their order."""

LEVELS = 8
"""Colours of a heat map, nothing included."""

WORST_DB, BEST_DB = 0.0, 48.0
"""Ends of the colours of an SQNR: error as large as the current, and one of 8 bits' size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageOrigin:
    """Where a diagnosis comes from, in the words of who made it."""

    float_network: str
    """Name of the float network, as a file or in any other way."""
    integer_network: str
    data: str
    command: str | None = None
    """Command line that made the page, if there was one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One layer at one time step, or several of them."""

    value: float | None
    """None where there is nothing to say."""
    level: int
    """Colour, 0 for none to 7 for the worst."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """Layers by time steps."""

    id: str
    title: str
    words: str
    """What is to be seen."""
    low: str
    """What the lightest colour stands for."""
    high: str
    """What the darkest does."""
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    """Name and cells; the last cell is over all time steps."""


def write_diagnosis(diagnosis: Diagnosis, path: str | os.PathLike[str], origin: PageOrigin) -> None:
    """Write a diagnosis to one HTML file, replacing it whole; equal ones give equal files."""
    page = render_diagnosis(diagnosis, origin)
    with whole_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def render_diagnosis(diagnosis: Diagnosis, origin: PageOrigin) -> str:
    """A diagnosis as an HTML document."""
    first = diagnosis.first_divergence
    guilty = next((p for p in diagnosis.populations if p.name == diagnosis.guilty), None)
    alone = None if guilty is None else guilty.forced.first_divergence
    divergences = [("With its own inputs", first)] if first is not None else []
    if alone is not None:
        divergences.append((f"The guilty layer {guilty.name} alone", alone))  # type: ignore[union-attr]
    return (
        _environment()
        .get_template("diagnosis.html")
        .render(
            d=diagnosis,
            origin=origin,
            sections=SECTIONS,
            levels=LEVELS,
            rules=RULES,
            target_db=TARGET_SQNR_DB,
            guilty=guilty,
            divergences=divergences,
            currents=[_current_map(diagnosis, way) for way in ("forced", "own")],
            wrongs=[_wrong_map(diagnosis, way) for way in ("forced", "own")],
            rates=_rate_map(diagnosis),
            saturations=_saturation_map(diagnosis),
            version=version("trispike"),
        )
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        # Style and the frame of wide tables are those of the report.
        loader=jinja2.ChoiceLoader(
            [
                jinja2.PackageLoader("trispike.runtime.diagnose", "templates"),
                jinja2.PackageLoader("trispike.runtime.report", "templates"),
            ]
        ),
        autoescape=True,  # names come from files
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": lambda value: _figure(value, words.count),
        "percent": lambda value: _figure(value, words.percent),
        "shift": lambda value: _figure(value, _shift),
        "db": lambda value: _figure(value, _db),
        "bits": lambda value: _figure(value, lambda v: f"{v:.1f} bit"),
        "small": lambda value: _figure(value, lambda v: f"{v:.4g}"),
        "label": _label,
        "index": lambda neuron: ", ".join(map(str, neuron)),
        # The macros of the report name these; none of them is used here.
        "level": lambda value, largest: 0,
        "exact": repr,
    }
    return environment


def _figure(value: float | None, say: Callable[[Any], str]) -> str:
    """A rounded number that carries the exact one."""
    if value is None:
        return "–"
    return Markup('<data value="{}">{}</data>').format(repr(value), say(value))


def _label(name: str) -> Markup:
    """The label of a connection, which may be broken behind its arrow, but not within."""
    arrow = Markup('<span class="nobreak">{}</span><wbr>').format("->")
    return arrow.join(name.split("->"))


def _db(value: float) -> str:
    return f"{value:.1f} dB".replace("-", "−")


def _shift(value: float) -> str:
    return f"{100 * value:+.2f} %".replace("-", "−")


# --------------------------------------------------------------------------------------- heat maps


def _columns(steps: int) -> tuple[str, ...]:
    spans = groups(steps)
    return (
        *(f"{a + 1}" if b - a == 1 else f"{a + 1}-{b}" for a, b in spans),
        "all",
    )


def _spans(steps: int) -> list[slice]:
    return [*(slice(a, b) for a, b in groups(steps)), slice(0, steps)]


def _current_map(d: Diagnosis, way: str) -> HeatMap:
    rows: list[tuple[str, Figures]] = [(p.name, getattr(p, way)) for p in d.populations]
    rows.append((d.readout.name, getattr(d.readout, way)))

    def cell(figures: Figures, span: slice) -> Cell:
        signal, noise = sum(figures.current_power[span]), sum(figures.error_power[span])
        value = sqnr_db(signal, noise)
        if value is None:
            return Cell(value=None, level=0, text="exact" if signal > 0 else "–")
        part = (BEST_DB - value) / (BEST_DB - WORST_DB)
        return Cell(value=value, level=_level(max(part, 0.0)), text=_db(value).removesuffix(" dB"))

    return HeatMap(
        id=f"current-{way}",
        title=f"SQNR of the input current in dB, {_WAYS[way]}",
        words="Power of the float current over that of the error of the integer one.",
        low=f"{BEST_DB:g} dB and more",
        high=f"{WORST_DB:g} dB and less",
        columns=_columns(d.steps),
        rows=tuple((n, tuple(cell(f, s) for s in _spans(d.steps))) for n, f in rows),
    )


def _wrong_map(d: Diagnosis, way: str) -> HeatMap:
    values = []
    for p in d.populations:
        figures: SpikeFigures = getattr(p, way)
        wrong = np.asarray(figures.disagreements) / (p.neurons * d.samples)
        values.append((p.name, wrong))
    return _share_map(
        d,
        values,
        id=f"wrong-{way}",
        title=f"Neurons whose spikes differ, {_WAYS[way]}",
        words="Share of all neurons, spiking or silent.",
    )


def _saturation_map(d: Diagnosis) -> HeatMap | None:
    """None where nothing saturates."""
    if not any(sum(p.own.saturations) for p in d.populations):
        return None
    return _share_map(
        d,
        [
            (p.name, np.asarray(p.own.saturations) / (3 * p.neurons * d.samples))
            for p in d.populations
        ],
        id="saturations",
        title="States that left their range, with own inputs",
        words="Share of the values of i, c and v.",
    )


def _rate_map(d: Diagnosis) -> HeatMap:
    values = [
        (p.name, np.asarray(p.own.rate_integer) - np.asarray(p.rate_float)) for p in d.populations
    ]
    return _share_map(
        d,
        values,
        id="rates-shift",
        title="Firing rate in integers minus that in float, with own inputs",
        words="Spikes of either sign per neuron and step; the colour is the size of the shift.",
        say=_shift,
    )


def _share_map(
    d: Diagnosis,
    values: Sequence[tuple[str, np.ndarray[Any, np.dtype[np.float64]]]],
    *,
    id: str,
    title: str,
    words: str,
    say: Callable[[float], str] = lambda v: f"{100 * v:.2f} %",
) -> HeatMap:
    """Coloured by the size of a value relative to the largest cell."""
    means = [(n, [float(v[span].mean()) for span in _spans(d.steps)]) for n, v in values]
    largest = max((abs(m) for _, row in means for m in row), default=0.0)

    def cell(value: float) -> Cell:
        level = _level(abs(value) / largest) if value else 0
        return Cell(value=value, level=level, text=say(value) if value else "0")

    return HeatMap(
        id=id,
        title=title,
        words=words,
        low="nothing",
        high=say(largest).lstrip("+"),
        columns=_columns(d.steps),
        rows=tuple((n, tuple(map(cell, row))) for n, row in means),
    )


def _level(part: float) -> int:
    """Colour 1 to 7 of a part of the worst, 0..1."""
    return 1 + min(LEVELS - 2, int(part * (LEVELS - 1)))


_WAYS = {"forced": "every layer alone", "own": "with own inputs"}
