"""Accuracy against energy: the points of a sweep, and those that no other one beats."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from trispike.errors import InvalidDataError
from trispike.plots.anytime import energy_unit
from trispike.plots.canvas import GREY, POSITIVE, new_figure, number_axis, plain_numbers, style
from trispike.runtime.explore import Outcome, described, pareto_front

MOST_NAMED = 16
"""Points of the front whose settings are written beside the picture."""

_DECADE = 10
"""From this ratio of the largest to the smallest energy the axis is logarithmic."""


def plot_pareto(outcomes: Sequence[Outcome], title: str) -> Figure:
    """Accuracy over energy per inference, a dot per point; the front is numbered and joined.

    Args:
        outcomes: Of one sweep; those with an error are left out.
        title: What was explored.

    Raises:
        InvalidDataError: Nothing was measured.
    """
    measured = [o for o in outcomes if o.error is None]
    if not measured:
        raise InvalidDataError(
            "sweep", got="no point that was measured", expected="at least one", fix="Run some."
        )
    front = pareto_front(measured)
    energies = [o.energy_per_inference_joules or 0.0 for o in measured]
    factor, unit = energy_unit(energies)
    with style():
        figure = new_figure(10, 5.2, title)
        axes = figure.subplots()
        places = [_place(o, factor) for o in measured]
        axes.plot(
            [x for x, _ in places],
            [y for _, y in places],
            "o",
            color=GREY,
            alpha=0.45,
            markersize=5,
            linestyle="none",
            label=f"points ({len(measured):,})",
        )
        line = [_place(o, factor) for o in front]
        axes.plot(
            [x for x, _ in line],
            [y for _, y in line],
            color=POSITIVE,
            marker="o",
            markersize=6,
            linewidth=1.2,
            drawstyle="steps-post",
            label="Pareto front",
        )
        for number, place in enumerate(line, start=1):
            axes.annotate(
                str(number), place, xytext=(-4, 5), textcoords="offset points", ha="right",
                fontsize=9, color=POSITIVE,
            )  # fmt: skip
        _scale(axes, energies, unit)
        axes.set_ylabel(f"accuracy, % of {measured[0].samples:,} samples")
        number_axis(axes)
        axes.margins(y=0.1)
        axes.legend(loc="lower right", frameon=False)
        figure.legend(
            handles=[], title=_names(front), loc="outside right center", frameon=False,
            title_fontsize=9, alignment="left",
        )  # fmt: skip
    return figure


def _place(outcome: Outcome, factor: float) -> tuple[float, float]:
    return (outcome.energy_per_inference_joules or 0.0) / factor, 100 * (outcome.accuracy or 0.0)


def _scale(axes: Axes, energies: Sequence[float], unit: str) -> None:
    """A logarithmic axis where it takes one, with plain numbers."""
    axes.set_xlabel(f"energy per inference, {unit}")
    if min(energies) <= 0 or max(energies) / min(energies) < _DECADE:
        axes.set_xlim(left=0)
        axes.margins(x=0.08)
        return
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(plain_numbers))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def _names(front: Sequence[Outcome]) -> str:
    lines = [f"{n}: {described(o.settings)}" for n, o in enumerate(front[:MOST_NAMED], start=1)]
    if len(front) > MOST_NAMED:
        lines.append(f"and {len(front) - MOST_NAMED} more")
    return "\n".join(lines)
