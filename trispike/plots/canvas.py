"""What all pictures share: style, colours, time axis, and files that depend on nothing else."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from trispike.errors import InvalidSettingError
from trispike.network.files import whole_file
from trispike.runtime.recording import RecordedRun

FORMATS = (".png", ".svg", ".pdf")
"""Suffixes of files; the last two are drawings that stay sharp."""

POSITIVE, NEGATIVE = "#004488", "#e66100"
"""Of spikes: dark blue and orange, which every kind of colour vision and grey print keep apart."""

SIGNS = {1: "+1", -1: "−1"}
"""Of spikes, in print."""

COLOURS = {"v": "#222222", "c": "#009e73", "i": "#cc79a7"}
"""Of traces."""

GREY = "#767676"
DPI = 150
LONGEST = 32
"""Characters of a name that are shown."""

_RC: Any = {
    "font.size": 10,
    "axes.titlesize": 10,
    "figure.titlesize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.08,
    "text.parse_math": False,  # names come from files, and $ is allowed in them
    "svg.hashsalt": "trispike",
}

_METADATA: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": "trispike"},
    ".pdf": {"CreationDate": None, "Creator": "trispike", "Producer": None},
}
"""Neither dates nor versions: equal recordings give equal files."""


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib's own style with ours on top, whatever the user's settings are."""
    with matplotlib.style.context("default"), matplotlib.rc_context(_RC):
        yield


def new_figure(width: float, height: float, title: str) -> Figure:
    """An empty figure, in inches."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    figure.suptitle(title)
    return figure


def shortened(name: str) -> str:
    """A name of which the middle is left out if it is long."""
    half = LONGEST // 2
    return name if len(name) <= LONGEST else f"{name[: half - 1]}…{name[-half:]}"


def sample_title(what: str, recording: RecordedRun, sample: int) -> str:
    """``Spikes in sample 3 (digits:test): predicted 7, label 7``."""
    title = f"{what} in sample {sample} ({shortened(recording.data)}): "
    title += f"predicted {recording.predictions[sample]}"
    return title if recording.labels is None else f"{title}, label {recording.labels[sample]}"


def time_axis(axes: Axes, steps: int) -> None:
    """Whole time steps, with room for the first and the last."""
    axes.set_xlim(-0.5, steps - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=9, integer=True, min_n_ticks=1))


def plain_numbers(value: float, _: Any = None) -> str:
    """-2800000 as "−2,800,000", and no more digits than needed."""
    return f"{value:,.10g}".replace("-", "−")


def number_axis(axes: Axes) -> None:
    """Numbers in full on the vertical axis: no factor in a corner."""
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.yaxis.set_major_formatter(FuncFormatter(plain_numbers))


def check_format(path: str | os.PathLike[str]) -> None:
    """Raise InvalidSettingError unless a picture of that name can be written."""
    suffix = Path(path).suffix
    if suffix not in FORMATS:
        raise InvalidSettingError(
            f"picture '{path}'",
            got=f"suffix {suffix!r}",
            expected=" or ".join(FORMATS),
            fix="Name the file so; a browser shows .svg.",
        )


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure, replacing the file whole; equal figures give equal files. No display needed.

    Raises:
        InvalidSettingError: Another suffix than those of :data:`FORMATS`.
    """
    check_format(path)
    suffix = Path(path).suffix
    with style(), warnings.catch_warnings(), whole_file(path) as temporary:
        # A name in a script that the font lacks is drawn as boxes; nothing else is lost.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure.savefig(temporary, format=suffix[1:], dpi=DPI, metadata=_METADATA[suffix])
