"""``trispike explore``: accuracy against energy over how a network is quantized and run."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from trispike.cli.anytime import check_plot
from trispike.cli.console import (
    DebugFlag,
    JsonFlag,
    checked_output,
    command,
    joules,
    out,
    percent,
    print_json,
    print_note,
    progress_bar,
    table,
)
from trispike.cli.data import load_for
from trispike.cli.simulate import EngineOption, engine_options
from trispike.errors import InvalidSettingError
from trispike.network import load
from trispike.network.files import whole_file
from trispike.runtime.energy import load_hardware
from trispike.runtime.engines import ENGINES, default_engine
from trispike.runtime.explore import (
    Explorer,
    Outcome,
    Plan,
    described,
    load_outcomes,
    load_plan,
    pareto_front,
    plan_from,
    points_of,
)
from trispike.runtime.explore import explore as run_sweep
from trispike.runtime.pricing import pricing
from trispike.runtime.sessions import engine_builder

Value = TypeVar("Value")


@command
def explore(
    config: Annotated[
        Path | None,
        typer.Argument(
            metavar="[CONFIG.toml]", exists=True, dir_okay=False, help="A plan; or options only."
        ),
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Results, one JSON object per line; a sweep goes on with what is in it.",
        ),
    ] = Path("explore.jsonl"),
    network: Annotated[
        str | None, typer.Option(metavar="NETWORK", help="What is explored, better a float one.")
    ] = None,
    data: Annotated[str | None, typer.Option(metavar="DATA", help="With labels.")] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Use the first so many samples only.")
    ] = None,
    calibration: Annotated[
        str | None, typer.Option(metavar="DATA", help="What a float network is quantized on.")
    ] = None,
    hardware: Annotated[
        str | None, typer.Option(metavar="PROFILE", help="Prices; loihi1 by default.")
    ] = None,
    weight_bits: Annotated[
        str | None, typer.Option(metavar="8,6,4", help="Widths of the weights.")
    ] = None,
    granularity: Annotated[
        str | None,
        typer.Option(metavar="channel,layer", help="Scales and thresholds per channel or layer."),
    ] = None,
    steps: Annotated[str | None, typer.Option(metavar="1,2,4", help="Time steps.")] = None,
    thresholds: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]0.8,1",
            help="Factors of all thresholds, or of a population's; may be repeated.",
        ),
    ] = None,
    exit_confidence: Annotated[
        str | None,
        typer.Option(metavar="off,0.9", help="Where samples stop early; off: never."),
    ] = None,
    random: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Draw so many points, not all.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of --random.")] = None,
    engine: EngineOption = None,
    workers: Annotated[int | None, typer.Option(min=1, help="ray: worker processes.")] = None,
    address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT|auto", help="ray: the cluster.")
    ] = None,
    table_to: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write the table there, too.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw accuracy against energy (.png, .svg or .pdf)."),
    ] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Sweep weight bits, steps, thresholds and early exit: accuracy against energy."""
    sweep: dict[str, Any] = {
        "weight_bits": _values("--weight-bits", weight_bits, int),
        "granularity": _values("--granularity", granularity, str),
        "steps": _values("--steps", steps, int),
        "thresholds": _thresholds(thresholds),
        "exit_confidence": _values("--exit-confidence", exit_confidence, _confidence),
    }
    changes: dict[str, Any] = {
        "network": network, "data": data, "samples": samples, "calibration": calibration,
        "hardware": hardware, "points": random, "seed": seed, "engine": engine,
        "search": None if random is None else "random",
        "sweep": {name: value for name, value in sweep.items() if value is not None} or None,
    }  # fmt: skip
    given = {name: value for name, value in changes.items() if value is not None}
    plan = plan_from(given, "options") if config is None else load_plan(config, given)
    for path in (output, table_to):
        if path is not None:
            checked_output(path, Path(plan.network))
    if plot is not None:
        check_plot(plot)
    outcomes, known = _run(plan, output, workers=workers, address=address)
    _finish(plan, outcomes, known, output, table_to, plot, as_json=as_json)


def _run(plan: Plan, output: Path, **options: Any) -> tuple[list[Outcome], int]:
    """Outcomes of all points, and how many of them were there already."""
    name = checked_engine(plan.engine or default_engine())
    options = engine_options(name, **options)
    hardware = load_hardware(plan.hardware)
    pricing(hardware, plan.assume)
    loaded = load(plan.network)
    points = points_of(plan, loaded)
    known = load_outcomes(output)
    given = load_for(loaded, plan.data, plan.samples)
    calibration = None
    if plan.calibration is not None:
        calibration = load_for(loaded, plan.calibration, plan.calibration_samples)
    with (
        engine_builder(name, **options) as build,
        progress_bar("exploring", len(points)) as progress,
    ):
        explorer = Explorer(
            loaded, given, hardware, build, calibration=calibration, assumptions=plan.assume
        )
        before = sum(explorer.key(point) in known for point in points)
        return run_sweep(explorer, points, output, progress), before


def checked_engine(name: str) -> str:
    """The name of an engine, or InvalidSettingError."""
    if name not in ENGINES:
        raise InvalidSettingError(
            f"engine {name!r}",
            got="an unknown name",
            expected="one of " + ", ".join(ENGINES),
            fix="Choose one of these.",
        )
    return name


def _finish(
    plan: Plan,
    outcomes: Sequence[Outcome],
    known: int,
    output: Path,
    table_to: Path | None,
    plot: Path | None,
    *,
    as_json: bool,
) -> None:
    front = pareto_front(outcomes)
    if table_to is not None:
        write_csv(outcomes, front, table_to)
    if plot is not None:
        from trispike.plots import plot_pareto, save_figure

        title = (
            f"Accuracy against energy: {Path(plan.network).name} on {plan.data}, {plan.hardware}"
        )
        save_figure(plot_pareto(outcomes, title), plot)
    if as_json:
        print_json(explore_facts(outcomes, front, known, output, table_to, plot))
        return
    print_outcomes(outcomes, front)
    evaluated = len(outcomes) - known
    out.print(f"{evaluated} points evaluated, {known} taken from {output}", soft_wrap=True)
    for path in (output, table_to, plot):
        if path is not None:
            out.print(f"wrote {path}", soft_wrap=True)


def explore_facts(
    outcomes: Sequence[Outcome],
    front: Sequence[Outcome],
    known: int,
    output: Path,
    table_to: Path | None,
    plot: Path | None,
) -> dict[str, Any]:
    """What the command reports, as JSON values."""
    best = {outcome.key for outcome in front}
    return {
        "output": str(output),
        "csv": None if table_to is None else str(table_to),
        "plot": None if plot is None else str(plot),
        "evaluated": len(outcomes) - known,
        "known": known,
        "points": [{**o.to_dict(), "pareto": o.key in best} for o in by_energy(outcomes)],
    }


def by_energy(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The cheapest first; those with an error last."""
    return sorted(
        outcomes, key=lambda o: (o.error is not None, o.energy_per_inference_joules or 0.0)
    )


def print_outcomes(outcomes: Sequence[Outcome], front: Sequence[Outcome]) -> None:
    """The same for people."""
    places = {outcome.key: str(n) for n, outcome in enumerate(front, start=1)}
    titles = ("front", "accuracy", "steps", "synaptic ops", "energy", "per correct", "saturated")
    rows = table("settings", *titles)
    for o in by_energy(outcomes):
        if o.error is not None:
            rows.add_row(described(o.settings), *[""] * (len(titles) - 1), "failed")
            continue
        each = o.joules_per_correct_prediction
        rows.add_row(
            described(o.settings),
            places.get(o.key, ""),
            percent(o.accuracy),
            f"{o.mean_steps:.2f}",
            f"{o.synaptic_operations_per_inference:,.0f}",
            joules(o.energy_per_inference_joules or 0.0),
            "-" if each is None else joules(each),
            f"{o.saturations:,}",
        )
    out.print(rows)
    print_note(
        "front: points that no other one beats, being as accurate for less energy or more "
        "accurate for as much"
    )
    unpriced = dict.fromkeys(name for o in outcomes for name in o.unpriced)
    if unpriced:
        print_note("not in the energy: " + ", ".join(n.replace("_", " ") for n in unpriced))
    for o in outcomes:
        if o.error is not None:
            print_note(f"{described(o.settings)}: {o.error}")


def write_csv(outcomes: Sequence[Outcome], front: Sequence[Outcome], path: Path) -> None:
    """The table, a row per point; settings first."""
    best = {outcome.key for outcome in front}
    plain = [o.to_dict() for o in by_energy(outcomes)]
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        measures = [name for name in plain[0] if name != "settings"]
        settings = list(plain[0]["settings"])
        writer = csv.writer(file)
        writer.writerow([*settings, "pareto", *measures])
        for row in plain:
            chosen = [row["settings"][name] for name in settings]
            values = [*chosen, row["key"] in best, *(row[name] for name in measures)]
            writer.writerow(["" if value is None else _cell(value) for value in values])


def _cell(value: Any) -> Any:
    if isinstance(value, dict):
        return "; ".join(f"{name}={_cell(factor)}" for name, factor in value.items())
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else value


def _values(option: str, text: str | None, kind: Callable[[str], Value]) -> list[Value] | None:
    if text is None:
        return None
    try:
        return [kind(part.strip()) for part in text.split(",")]
    except ValueError:
        raise InvalidSettingError(
            option,
            got=repr(text),
            expected="values separated by commas",
            fix="Correct the list.",
        ) from None


def _thresholds(texts: Sequence[str] | None) -> dict[str, list[float]] | None:
    found = {}
    for text in texts or ():
        name, equals, values = text.rpartition("=")
        found[name if equals else "*"] = _values("--thresholds", values, float) or []
    return found or None


def _confidence(text: str) -> float | str:
    return text if text == "off" else float(text)
