"""A diagnosis as one HTML file that loads nothing from anywhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from trispike.runtime.diagnose.advice import RULES, TARGET_SQNR_DB
from trispike.runtime.diagnose.content import Diagnosis, Figures, SpikeFigures
from trispike.runtime.diagnose.scales import sqnr_db
from trispike.runtime.pages.heat import Cell, HeatMap, colour, column_names, groups, level
from trispike.runtime.pages.layout import figure, lay_out, write_page

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


def write_diagnosis(diagnosis: Diagnosis, path: str | os.PathLike[str], origin: PageOrigin) -> None:
    """Write a diagnosis to one HTML file, replacing it whole; equal ones give equal files."""
    write_page(render_diagnosis(diagnosis, origin), path)


def render_diagnosis(diagnosis: Diagnosis, origin: PageOrigin) -> str:
    """A diagnosis as an HTML document."""
    first = diagnosis.first_divergence
    guilty = next((p for p in diagnosis.populations if p.name == diagnosis.guilty), None)
    alone = None if guilty is None else guilty.forced.first_divergence
    divergences = [("With its own inputs", first)] if first is not None else []
    if alone is not None:
        divergences.append((f"The guilty layer {guilty.name} alone", alone))  # type: ignore[union-attr]
    return lay_out(
        "diagnosis.html",
        package="trispike.runtime.diagnose",
        title=f"Diagnosis of {origin.integer_network}",
        sections=SECTIONS,
        provenance=_provenance(diagnosis, origin),
        filters=_FILTERS,
        context={
            "d": diagnosis,
            "origin": origin,
            "rules": RULES,
            "target_db": TARGET_SQNR_DB,
            "guilty": guilty,
            "divergences": divergences,
            "currents": [_current_map(diagnosis, way) for way in ("forced", "own")],
            "wrongs": [_wrong_map(diagnosis, way) for way in ("forced", "own")],
            "rates": _rate_map(diagnosis),
            "saturations": _saturation_map(diagnosis),
        },
    )


def _provenance(diagnosis: Diagnosis, origin: PageOrigin) -> dict[str, str]:
    """Nothing that changes from run to run: equal runs give equal pages."""
    found = {
        "float network": origin.float_network,
        "float network, SHA-256": diagnosis.float_sha256,
        "integer network": origin.integer_network,
        "integer network, SHA-256": diagnosis.integer_sha256,
        "data": f"{origin.data}: {diagnosis.samples:,} samples",
        "data, SHA-256": diagnosis.data_sha256,
        "trispike": version("trispike"),
    }
    return found if origin.command is None else found | {"command": origin.command}


def _db(value: float) -> str:
    return f"{value:.1f} dB".replace("-", "−")


def _shift(value: float) -> str:
    return f"{100 * value:+.2f} %".replace("-", "−")


_FILTERS: dict[str, Callable[..., Any]] = {
    "shift": lambda value: figure(value, _shift),
    "db": lambda value: figure(value, _db),
    "bits": lambda value: figure(value, lambda v: f"{v:.1f} bit"),
    "small": lambda value: figure(value, lambda v: f"{v:.4g}"),
    "index": lambda neuron: ", ".join(map(str, neuron)),
}


# --------------------------------------------------------------------------------------- heat maps


def _columns(steps: int) -> tuple[str, ...]:
    return (*column_names(steps), "all")


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
        return Cell(value=value, level=colour(max(part, 0.0)), text=_db(value).removesuffix(" dB"))

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
        shade = level(abs(value), largest)
        return Cell(value=value, level=shade, text=say(value) if value else "0")

    return HeatMap(
        id=id,
        title=title,
        words=words,
        low="nothing",
        high=say(largest).lstrip("+"),
        columns=_columns(d.steps),
        rows=tuple((n, tuple(map(cell, row))) for n, row in means),
    )


_WAYS = {"forced": "every layer alone", "own": "with own inputs"}
