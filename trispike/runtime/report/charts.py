"""Geometry of the drawings; the templates turn it into SVG, so that they alone write markup."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trispike.runtime.anytime import Anytime
from trispike.runtime.report.words import energy_unit, quantity

WIDTH, HEIGHT = 360, 216
"""Of a drawing, in units that are pixels on a phone."""

LEFT, RIGHT, TOP, BOTTOM = 46, 10, 12, 36
"""Margins."""

MOST_BINS = 20
"""Bars of a histogram."""

FAR_OFF = 4
"""Times the median energy per correct prediction: points above it are not drawn."""

MOST_MARKS = 40
"""Points of a line that have marks of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A mark on an axis."""

    at: float
    """Position in the drawing."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A point of a line, or a bar, with what it says to who points at it."""

    x: float
    y: float
    text: str
    width: float = 0.0
    height: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line with its points."""

    name: str
    style: int
    """1 or 2."""
    path: str
    """As SVG has it."""
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A drawing over two axes."""

    id: str
    title: str
    description: str
    """What is to be seen, for who cannot."""
    x_title: str
    y_title: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...] = ()
    bars: tuple[Mark, ...] = ()
    band: str = ""
    """A path that is filled."""
    band_name: str = ""
    rule: float | None = None
    """Where an upright line stands."""
    rule_name: str = ""


@dataclass(frozen=True, slots=True)
class _Axis:
    """From values to positions."""

    first: float
    last: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        part = (value - self.first) / (self.last - self.first)
        return round(self.start + part * (self.end - self.start), 2)


def nice_ticks(first: float, last: float, most: int = 5) -> list[float]:
    """Round numbers that cover an interval, in steps of 1, 2 or 5 times a power of ten."""
    if not last > first:
        last = first + (0.02 * abs(first) or 1.0)
    rough = (last - first) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * (1 - 1e-9))
    start, stop = math.floor(first / step + 1e-9), math.ceil(last / step - 1e-9)
    return [float(f"{n * step:.12g}") for n in range(start, stop + 1)]


def accuracy_chart(curve: Anytime) -> Chart:
    """Accuracy after each time step, the knee, and what is as good as the best."""
    values = [100 * p.accuracy for p in curve.points]
    best = max(values)
    ticks = nice_ticks(min(values), best)
    x, y = _steps_axis(curve), _upright(ticks)
    low = max(best - 100 * curve.standard_error, ticks[0])
    ends = (x.start, x.end, y(low), y(best))
    return Chart(
        id="anytime-accuracy",
        title="Accuracy after each time step",
        description=f"From {values[0]:.2f} % after one step to {values[-1]:.2f} % after "
        f"{len(values)}; knee at {curve.knee}.",
        x_title="time steps used",
        y_title="accuracy, %",
        x_ticks=_step_ticks(curve, x),
        y_ticks=_ticks(ticks, y),
        lines=(_line("accuracy", 1, curve, values, x, y, lambda v: f"{v:.2f} %"),),
        band=f"M{ends[0]} {ends[2]}H{ends[1]}V{ends[3]}H{ends[0]}Z",
        band_name="one standard error below the best",
        rule=x(curve.knee),
        rule_name=f"knee: {curve.knee}",
    )


def energy_chart(curve: Anytime) -> Chart:
    """Energy per inference with its band, and per correct prediction, after each time step."""
    each = [p.energy_per_inference_joules for p in curve.points]
    low = [p.energy_per_inference_low_joules for p in curve.points]
    high = [p.energy_per_inference_high_joules for p in curve.points]
    correct = [p.joules_per_correct_prediction for p in curve.points]
    factor, unit = energy_unit(max(each))
    # One step with hardly a hit must not flatten the rest.
    known = sorted(v for v in correct if v is not None)
    most = FAR_OFF * known[(len(known) - 1) // 2] if known else 0.0
    inside = [None if v is None or v > most else v for v in correct]
    ticks = nice_ticks(0.0, max([*high, *each, *(v for v in inside if v is not None)]) / factor)
    x, y = _steps_axis(curve), _upright(ticks)

    def say(value: float) -> str:
        return f"{quantity(value * factor, factor)} {unit}"

    def scaled(values: Sequence[float | None]) -> list[float | None]:
        return [None if v is None else v / factor for v in values]

    upper = [f"{x(p.steps)} {y(v / factor)}" for p, v in zip(curve.points, high, strict=True)]
    lower = [f"{x(p.steps)} {y(v / factor)}" for p, v in zip(curve.points, low, strict=True)]
    return Chart(
        id="anytime-energy",
        title="Energy after each time step",
        description=f"From {say(each[0] / factor)} per inference after one step to "
        f"{say(each[-1] / factor)} after {len(each)}.",
        x_title="time steps used",
        y_title=f"energy, {unit}",
        x_ticks=_step_ticks(curve, x),
        y_ticks=_ticks(ticks, y),
        lines=(
            _line("per inference", 1, curve, scaled(each), x, y, say),
            _line("per correct prediction", 2, curve, scaled(inside), x, y, say),
        ),
        band="M" + "L".join([*upper, *reversed(lower)]) + "Z" if low != high else "",
        band_name="interval of the prices",
        rule=x(curve.knee),
        rule_name=f"knee: {curve.knee}",
    )


def histogram(counts: npt.NDArray[np.int64]) -> tuple[Chart, list[tuple[int, int, int]]]:
    """Operations of single samples: the drawing, and (from, up to, samples) of each bar."""
    bins = max(1, min(MOST_BINS, math.ceil(math.sqrt(len(counts)))))
    low, high = int(counts.min()), int(counts.max())
    size = -(-(high - low + 1) // bins)
    number = np.bincount((counts - low) // size)
    rows = [(low + n * size, low + (n + 1) * size - 1, int(k)) for n, k in enumerate(number)]
    y_ticks = nice_ticks(0.0, float(number.max()))
    x = _Axis(low, low + len(rows) * size, LEFT, WIDTH - RIGHT)
    y = _upright(y_ticks)
    bars = tuple(
        Mark(
            x=x(first) + 0.5,
            y=y(many),
            width=round(max(1.0, x(last + 1) - x(first) - 1), 2),
            height=round(y(0) - y(many), 2),
            text=f"{first:,} to {last:,} operations: {many:,} samples",
        )
        for first, last, many in rows
    )
    ends = [t for t in nice_ticks(low, x.last, 4) if low <= t <= x.last]
    chart = Chart(
        id="histogram",
        title="Operations of single samples",
        description=f"{len(counts):,} samples between {low:,} and {high:,} operations.",
        x_title="synaptic and graded operations of a sample",
        y_title="samples",
        x_ticks=tuple(Tick(at=x(t), text=short_count(t)) for t in ends),
        y_ticks=_ticks(y_ticks, y),
        bars=bars,
    )
    return chart, rows


def short_count(value: float) -> str:
    """12_300 as "12.3k", three digits."""
    for factor, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * factor:
            return f"{value / factor:.3g}{unit}"
    return f"{value:.3g}"


def share(value: float, largest: float) -> float:
    """Length of a bar, 0..100."""
    return round(100 * value / largest, 2) if largest else 0.0


def _line(
    name: str,
    style: int,
    curve: Anytime,
    values: Sequence[float | None],
    x: _Axis,
    y: _Axis,
    say: Callable[[float], str],
) -> Line:
    known = [(p.steps, v) for p, v in zip(curve.points, values, strict=True) if v is not None]
    places = [f"{x(steps)} {y(value)}" for steps, value in known]
    every = max(1, -(-len(known) // MOST_MARKS))
    return Line(
        name=name,
        style=style,
        path="M" + "L".join(places) if places else "",
        marks=tuple(
            Mark(x=x(steps), y=y(value), text=f"{steps} steps: {say(value)} {name}")
            for steps, value in known[::every]
        ),
    )


def _steps_axis(curve: Anytime) -> _Axis:
    return _Axis(0.5, len(curve.points) + 0.5, LEFT, WIDTH - RIGHT)


def _step_ticks(curve: Anytime, x: _Axis) -> tuple[Tick, ...]:
    steps = len(curve.points)
    each = max(1, math.ceil(steps / 10))
    return tuple(Tick(at=x(n), text=str(n)) for n in range(1, steps + 1) if n % each == 0)


def _upright(ticks: Sequence[float]) -> _Axis:
    return _Axis(ticks[0], ticks[-1], HEIGHT - BOTTOM, TOP)


def _ticks(values: Sequence[float], axis: _Axis) -> tuple[Tick, ...]:
    return tuple(Tick(at=axis(v), text=f"{v:,.6g}".replace("-", "−")) for v in values)
