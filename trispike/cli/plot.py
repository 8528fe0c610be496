"""``trispike plot``: pictures of what a run recorded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trispike.cli.console import (
    DebugFlag,
    JsonFlag,
    checked_output,
    command,
    out,
    print_json,
    stage,
)
from trispike.errors import InvalidSettingError
from trispike.network import load
from trispike.runtime.recording import RecordedRun, load_recording

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from trispike.plots import Kind

OPTIONS = {
    "sample": ("raster", "traces"),
    "neurons": ("raster", "traces"),
    "network": ("traces",),
}
"""What only some kinds of pictures take."""

MOST_NEURONS = 1_000_000
"""That can be named: a range is spelled out."""


@command
def plot(
    recording: Annotated[
        Path,
        typer.Argument(
            metavar="RECORDING", exists=True, dir_okay=False, help="As trispike simulate wrote it."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="The .png, .svg or .pdf to write."),
    ],
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="raster|traces|rates",
            help="Spikes of a sample; states of single neurons; or firing rates over all samples. "
            "By default rates of several populations; of one its traces, or else a raster.",
        ),
    ] = None,
    population: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this one, or a pattern; can be repeated."),
    ] = None,
    sample: Annotated[
        int | None, typer.Option(metavar="N", help="raster, traces: which sample; 0 by default.")
    ] = None,
    neurons: Annotated[
        str | None,
        typer.Option(
            metavar="0,7,20-29",
            help="raster, traces: flat indices; by default all in a raster; in traces those "
            "whose spikes vary most.",
        ),
    ] = None,
    network: Annotated[
        Path | None,
        typer.Option(
            metavar="NETWORK",
            exists=True,
            dir_okay=False,
            help="traces: what was recorded; its thresholds are drawn.",
        ),
    ] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Draw a recording: spike rasters, membrane traces with thresholds, or firing rates."""
    for source in (recording, network):
        if source is not None:
            checked_output(output, source)
    with stage("loading Matplotlib"):
        # Not above: every other command works without it.
        from trispike.plots import check_format, default_kind, save_figure, shown_populations
    check_format(output)
    indices = None if neurons is None else neuron_indices(neurons)
    loaded = load_recording(recording)
    chosen = default_kind(loaded, population) if kind is None else checked_kind(kind)
    check_options(chosen, sample=sample, neurons=neurons, network=network)
    figure = _figure(chosen, loaded, population, sample or 0, indices, network)
    save_figure(figure, output)
    if as_json:
        print_json(
            {
                "output": str(output),
                "kind": chosen,
                "populations": list(shown_populations(loaded, population, chosen)),
                "sample": None if chosen == "rates" else sample or 0,
                "thresholds": network is not None,
                "data": loaded.data,
                "network_sha256": loaded.network_sha256,
            }
        )
    else:
        out.print(f"wrote {output} ({chosen})", soft_wrap=True)
        if chosen == "traces" and network is None:
            out.print("Thresholds are drawn with --network NETWORK.")


def checked_kind(kind: str) -> Kind:
    """A kind of picture, or InvalidSettingError."""
    from trispike.plots import KINDS

    for known in KINDS:
        if kind == known:
            return known
    raise InvalidSettingError(
        f"--kind {kind!r}",
        got="an unknown kind",
        expected="one of " + ", ".join(KINDS),
        fix="Choose one of these.",
    )


def check_options(kind: Kind, **values: Any) -> None:
    """Raise InvalidSettingError if an option was given that this kind of picture does not take."""
    for name, value in values.items():
        if value is not None and kind not in OPTIONS[name]:
            raise InvalidSettingError(
                f"--{name}",
                got=f"a picture of kind {kind!r}",
                expected=" or ".join(f"--kind {taker}" for taker in OPTIONS[name]),
                fix=f"Leave --{name} out, or state the --kind.",
            )


def neuron_indices(text: str) -> list[int]:
    """``0,7,20-29`` as numbers, each once, in that order.

    Raises:
        InvalidSettingError: Something else.
    """
    found: dict[int, None] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:-(\d{1,9}))?\s*", part)
        first, last = (int(n) for n in (match[1], match[2] or match[1])) if match else (1, 0)
        if last < first or last - first >= MOST_NEURONS:
            raise InvalidSettingError(
                "--neurons",
                got=repr(text),
                expected="numbers and ranges such as 0,7,20-29",
                fix="Correct the list.",
            )
        found |= dict.fromkeys(range(first, last + 1))
    return list(found)


def _figure(
    kind: Kind,
    recording: RecordedRun,
    populations: list[str] | None,
    sample: int,
    neurons: list[int] | None,
    network: Path | None,
) -> Figure:
    from trispike.plots import plot_raster, plot_rates, plot_traces

    if kind == "rates":
        return plot_rates(recording, populations)
    if kind == "raster":
        return plot_raster(recording, populations, sample=sample, neurons=neurons)
    return plot_traces(
        recording,
        populations,
        sample=sample,
        neurons=neurons,
        network=None if network is None else load(network),
    )
