"""Accuracy and energy against time steps: what ``trispike estimate --anytime`` adds."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trispike.cli.console import joules, out, percent, print_note, table
from trispike.cli.simulate import run_engine
from trispike.errors import InvalidDataError, InvalidSettingError, MissingDependencyError
from trispike.network import Network, with_steps
from trispike.runtime.anytime import Anytime, anytime
from trispike.runtime.data import Data
from trispike.runtime.energy import MemoryModel, Profile
from trispike.runtime.engine import Result


def check_plot(path: Path) -> None:
    """Refuse a picture that cannot be drawn, before any work is done for it.

    Raises:
        MissingDependencyError: Matplotlib is not installed.
        InvalidSettingError: Another suffix than those of pictures, or no such folder.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingDependencyError(
            "--plot",
            got="no matplotlib",
            expected="matplotlib 3.9 or later",
            fix="Run: pip install 'trispike[plot]'",
        )
    from trispike.plots import check_format

    check_format(path)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise InvalidSettingError(
            f"--plot '{path}'",
            got="a folder" if path.is_dir() else "a folder that does not exist",
            expected="a file, in an existing folder",
            fix="Correct the path.",
        )


def check_anytime(
    wanted: bool, network: Network, given: Data, max_steps: int | None, plot: Path | None
) -> None:
    """Refuse what ``--anytime`` cannot do, before anything is run.

    Raises:
        InvalidSettingError: Options without ``--anytime``; steps that the data do not have.
        InvalidDataError: No labels.
        UnsupportedError: The readout has no meaning over fewer steps.
        MissingDependencyError: A picture without Matplotlib.
    """
    if not wanted:
        for option, value in (("--max-steps", max_steps), ("--plot", plot)):
            if value is not None:
                raise InvalidSettingError(
                    option,
                    got="no --anytime",
                    expected="the view that it belongs to",
                    fix=f"Add --anytime, or leave {option} out.",
                )
        return
    if given.y is None:
        raise InvalidDataError(
            "labels",
            got="none",
            expected="the class of each sample, for the accuracy",
            fix="Give data with labels (an array y).",
        )
    longest = max_steps or network.steps
    fixed = network.input.has_frames
    if longest < network.steps or (fixed and longest > network.steps):
        raise InvalidSettingError(
            "--max-steps",
            got=str(max_steps),
            expected=f"{network.steps}, as many as the data have frames"
            if fixed
            else f"at least {network.steps}, the steps of the network",
            fix="Leave --max-steps out." if fixed else "Fewer steps are in the table anyway.",
        )
    with_steps(network, 1)
    if plot is not None:
        check_plot(plot)


def anytime_of(
    network: Network,
    given: Data,
    result: Result,
    hardware: Profile | MemoryModel,
    assumptions: Mapping[str, float],
    *,
    engine: str,
    max_steps: int | None = None,
) -> Anytime:
    """The curve of a run, or of a longer one that is made for it."""
    steps = network.steps
    if max_steps is not None and max_steps > steps:
        network = with_steps(network, max_steps)
        result = run_engine(engine, network, given)
    return anytime(network, given.x, result, hardware, assumptions, network_steps=steps)


def anytime_facts(curve: Anytime, plot: Path | None) -> dict[str, Any]:
    """The same as JSON values."""
    return {**curve.to_dict(), "plot": None if plot is None else str(plot)}


def print_anytime(curve: Anytime) -> None:
    """The same for people."""
    out.print("\nAfter each time step:", style="bold")
    titles = ("accuracy", "synaptic ops", "energy", "per correct", "saturated", "")
    rows = table("steps", *titles, words=0)
    for p in curve.points:
        each = p.joules_per_correct_prediction
        marks = {curve.knee: "knee", curve.network_steps: "the network's own"}
        if curve.knee == curve.network_steps:
            marks = {curve.knee: "knee, the network's own"}
        rows.add_row(
            str(p.steps),
            percent(p.accuracy),
            f"{p.synaptic_operations_per_inference:,.0f}",
            joules(p.energy_per_inference_joules),
            "-" if each is None else joules(each),
            f"{p.saturations:,}",
            marks.get(p.steps, ""),
        )
    out.print(rows)
    print_note(
        "knee: the fewest steps whose accuracy is within one standard error "
        f"({percent(curve.standard_error)}) of the best one; per correct: the energy of all "
        "samples over the number of correct ones"
    )


def save_plot(curve: Anytime, data: str, path: Path) -> None:
    """Draw the curve."""
    from trispike.plots import plot_anytime, save_figure

    save_figure(plot_anytime(curve, data), path)
