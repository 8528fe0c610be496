"""``trispike diagnose``: where and why an integer network differs from its float network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from trispike.cli.console import (
    DebugFlag,
    JsonFlag,
    command,
    out,
    percent,
    print_json,
    print_note,
    progress_bar,
    table,
)
from trispike.cli.data import DataOption, load_for
from trispike.cli.pages import check_page, command_line
from trispike.network import load
from trispike.runtime.data import Data
from trispike.runtime.diagnose import Diagnosis, Divergence, NeuronState, PopulationDiagnosis
from trispike.runtime.diagnose import diagnose as diagnose_networks
from trispike.runtime.diagnose.origin import checked_pair

DIAGNOSED_SAMPLES = 64
"""Samples that are compared, unless more are asked for."""

_SPIKES = {-1: "-1", 0: "0", 1: "+1"}


@command
def diagnose(
    float_network: Annotated[
        Path,
        typer.Argument(
            metavar="FLOAT", exists=True, dir_okay=False, help="The float network, as converted."
        ),
    ],
    integer_network: Annotated[
        Path,
        typer.Argument(
            metavar="INTEGER", exists=True, dir_okay=False, help="What it was quantized to."
        ),
    ],
    data: DataOption,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="An .html file to write, too."),
    ] = None,
    samples: Annotated[
        int, typer.Option(min=1, help="Use the first so many samples.")
    ] = DIAGNOSED_SAMPLES,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Compare float and integer network, layer by layer and step by step, and say what to turn."""
    if output is not None:
        check_page(
            output,
            float_network,
            integer_network,
            what="page",
            otherwise="; without -o none is needed.",
        )
    source, integer = checked_pair(load(float_network), load(integer_network))
    given = load_for(integer, data, samples)
    with progress_bar("diagnosing", len(given.x)) as progress:
        found = diagnose_networks(source, integer, given.x, given.y, progress=progress)
    if output is not None:
        from trispike.runtime.diagnose.page import PageOrigin, write_diagnosis

        origin = PageOrigin(
            float_network=float_network.name,
            integer_network=integer_network.name,
            data=given.name,
            command=command_line(),
        )
        write_diagnosis(found, output, origin)
    if as_json:
        print_json(diagnosis_facts(found, given, output))
    else:
        print_diagnosis(found)
        if output is not None:
            out.print(f"wrote {output}", soft_wrap=True)


def diagnosis_facts(found: Diagnosis, given: Data, output: Path | None) -> dict[str, Any]:
    """What the command reports, as JSON values."""
    return {
        "output": None if output is None else str(output),
        "data": given.name,
        **found.to_dict(),
    }


def print_diagnosis(found: Diagnosis) -> None:
    """The same for people."""
    titles = (
        "SQNR", "alone", "wrong", "alone", "rate", "shift", "saturated", "dead", "always",
        "headroom",
    )  # fmt: skip
    populations = table("population", *titles)
    for p in found.populations:
        populations.add_row(
            p.name,
            _db(p.own.sqnr_db_total),
            _db(p.forced.sqnr_db_total),
            percent(p.own.spike_error),
            percent(p.forced.spike_error),
            percent(sum(p.rate_float) / found.steps),
            f"{100 * p.rate_shift:+.2f}%",
            f"{sum(p.own.saturations):,}",
            _extremes(p.dead_integer.count, p.dead_float.count),
            _extremes(p.always_integer.count, p.always_float.count),
            f"{p.headroom_bits:.1f} ({p.peak_headroom_bits:.1f}) bit",
        )
    readout = found.readout
    populations.add_row(
        readout.name, _db(readout.own.sqnr_db_total), _db(readout.forced.sqnr_db_total)
    )
    out.print(populations)
    print_note(
        "SQNR: of the input current, float beside integer; wrong: spikes that differ, of all that "
        "either network fired; alone: the layer fed with the float network's spikes, so without "
        "the errors of those before it"
    )
    print_note(
        "dead, always: neurons that never fire, or at every step, in the integer network (and in "
        "the float network); headroom: proved for any input (and left on these data)"
    )
    out.print(
        f"{found.samples} samples, {found.steps} time steps: "
        f"{percent(readout.prediction_agreement)} of predictions equal, accuracy "
        f"{percent(readout.accuracy_float)} float, {percent(readout.accuracy_integer)} integer"
    )
    _print_origin(found)
    _print_advice(found)


def _print_origin(found: Diagnosis) -> None:
    if found.first_divergence is None:
        out.print("every spike agrees", style="bold green")
        return
    out.print(f"first difference: {_divergence(found.first_divergence)}", soft_wrap=True)
    for p in found.populations:
        first = p.forced.first_divergence
        if p.name == found.guilty and first is not None:
            out.print(f"largest error of its own: {_guilt(p, first)}", soft_wrap=True)


def _guilt(p: PopulationDiagnosis, first: Divergence) -> str:
    return f"{p.name}, {percent(p.forced.spike_error)} of its spikes; first {_divergence(first)}"


def _print_advice(found: Diagnosis) -> None:
    if not found.advice:
        out.print("no advice: no layer is worse than the rules allow")
        return
    advice = table("layer", "knob", "what to do", "why", words=4)
    for a in found.advice:
        advice.add_row(a.layer, a.knob, a.action, a.finding)
    out.print(advice)


def _divergence(d: Divergence) -> str:
    place = ", ".join(map(str, d.neuron))
    return (
        f"{d.population} neuron ({place}), sample {d.sample}, step {d.step}: "
        f"{_SPIKES[d.float_state.spike]} in float ({_state(d.float_state, 1.0)}), "
        f"{_SPIKES[d.integer_state.spike]} in integers ({_state(d.integer_state, d.unit)})"
    )


def _state(state: NeuronState, unit: float | None) -> str:
    """Potential and distance, in the units of the float network where they are known."""
    factor, words = (1.0, " units") if unit is None else (unit, "")
    text = f"v {state.potential * factor:.4g}{words}"
    if state.distance is None:
        return text
    side = "beyond" if state.distance >= 0 else "short of"
    return f"{text}, {abs(state.distance * factor):.3g} {side} the threshold"


def _extremes(integer: int, exact: int) -> str:
    return f"{integer:,} ({exact:,})"


def _db(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} dB"
