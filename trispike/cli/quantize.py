"""``trispike quantize``: a float network becomes an integer network, with a record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeAlias

import typer

from trispike.cli.console import (
    DebugFlag,
    JsonFlag,
    NetworkArgument,
    OutputOption,
    checked_output,
    command,
    out,
    percent,
    print_json,
    progress_bar,
    table,
    warn,
)
from trispike.cli.data import DATA_SOURCES, load_for
from trispike.errors import InvalidSettingError
from trispike.network import Network, digest, load, save
from trispike.network.files import whole_file
from trispike.network.fixed_point import DEFAULT_STATE_BITS
from trispike.quantize import (
    Budget,
    Choice,
    Granularity,
    Method,
    MixedPrecision,
    Quantization,
    Sensitivity,
    layer_sensitivity,
    quantize_to_fit,
)
from trispike.quantize import quantize as quantize_network
from trispike.quantize.budgeted import REPORTED
from trispike.quantize.calibration import check_varied
from trispike.quantize.quantizer import WIDEST
from trispike.runtime.data import Data
from trispike.runtime.engines import build_engine, default_engine
from trispike.targets.budget import FORMS, parse_budget

CALIBRATION_SAMPLES = 256

JUDGED = 32
"""Calibration samples from which on the float network's accuracy says something."""

BETTER = 0.1
"""Of the way from a guess to perfection: what a trained network reads at least."""

GranularityOption: TypeAlias = Annotated[
    Granularity, typer.Option(help="One weight scale per output channel, or per layer.")
]
StateBitsOption: TypeAlias = Annotated[int, typer.Option(min=8, max=32, help="Width of a state.")]
FitOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="BUDGET", help=f"Choose the width of each connection for a budget: {FORMS}."
    ),
]


@command
def quantize(
    network: NetworkArgument,
    calibration: Annotated[
        str,
        typer.Option(
            metavar="DATA",
            help=f"Data like those it will see: {DATA_SOURCES} and, for accuracies, y.",
        ),
    ],
    output: OutputOption,
    weight_bits: Annotated[
        int | None,
        typer.Option(min=2, max=8, help="Width of a weight; default: 8, or as --fit allows."),
    ] = None,
    granularity: GranularityOption = "channel",
    method: Annotated[
        Method | None,
        typer.Option(
            help="nearest: every weight by itself. clipped: scales by the error of the currents. "
            "gptq: weights rounded together. Default: nearest for 8 bits, gptq for fewer."
        ),
    ] = None,
    state_bits: StateBitsOption = DEFAULT_STATE_BITS,
    state_shift: Annotated[
        int | None,
        typer.Option(
            min=0, max=16, help="Left shift of the accumulators; default: chosen per population."
        ),
    ] = None,
    fit: FitOption = None,
    report: Annotated[
        bool,
        typer.Option(
            "--report", help="Measure what each layer costs at fewer bits, with all others at 8."
        ),
    ] = False,
    report_to: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write what --json prints to a file, too."),
    ] = None,
    samples: Annotated[
        int, typer.Option(min=1, help="Use the first so many calibration samples.")
    ] = CALIBRATION_SAMPLES,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Quantize a float network to 8-bit (or fewer) weights and integer states."""
    checked_output(output, network)
    if report_to is not None:
        checked_output(report_to, network)
        if report_to.absolute() == output.absolute():
            raise InvalidSettingError(
                f"output '{report_to}'",
                got="the file of the network",
                expected="another file",
                fix="Correct the path.",
            )
    budget = chosen_budget(fit, weight_bits)
    source = load(network)
    data = load_for(source, calibration, samples)
    settings: dict[str, Any] = {
        "granularity": granularity,
        "method": method,
        "state_bits": state_bits,
        "state_shift": state_shift,
    }
    done = quantized(source, data, budget, weight_bits or WIDEST, settings)
    if report and not done.sensitivity:
        widths = REPORTED if weight_bits in (None, WIDEST) else (weight_bits,)
        done = done._replace(sensitivity=_sensitivity(source, data, widths, settings))
    facts = quantization_facts(done.quantization, data, output, done.mixed, done.sensitivity)
    save(done.quantization.network, output)
    if report_to is not None:
        with whole_file(report_to) as path:
            path.write_text(json.dumps(facts, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    if as_json:
        print_json(facts)
        warn_of_guessing(source, done.quantization)
        return
    print_quantization(done.quantization)
    warn_of_guessing(source, done.quantization)
    print_sensitivity(done.sensitivity)
    if done.mixed is not None:
        print_mixed(done.mixed)
    out.print(f"wrote {output}", soft_wrap=True)


def warn_of_guessing(source: Network, quantization: Quantization) -> None:
    """Say it if the float network itself hardly reads the calibration data."""
    record, guess = quantization.record, 1 / source.readout.classes
    accuracy = record.accuracy_float
    if accuracy is None or record.samples < JUDGED or accuracy > guess + BETTER * (1 - guess):
        return
    warn(
        f"the float network itself reads only {percent(accuracy)} of {record.samples} calibration "
        "samples, hardly more than a guess. Are these its labels, and is this its range of values?"
    )


def chosen_budget(fit: str | None, weight_bits: int | None) -> Budget | None:
    """The budget that was named, if any; no width of weights beside it."""
    if fit is not None and weight_bits is not None:
        raise InvalidSettingError(
            "option --fit",
            got="--weight-bits beside it",
            expected="one of the two",
            fix="Leave out --weight-bits: the budget decides on the widths.",
        )
    return None if fit is None else parse_budget(fit)


class Done(NamedTuple):
    """What there is to report."""

    quantization: Quantization
    mixed: MixedPrecision | None
    sensitivity: Sequence[Sensitivity]


def quantized(
    source: Network, data: Data, budget: Budget | None, bits: int, settings: dict[str, Any]
) -> Done:
    """A network of so many bits, or of those that a budget allows."""
    check_varied(data.x)
    if budget is None:
        with progress_bar("quantizing", len(data.x)) as progress:
            quantization = quantize_network(
                source, data.x, data.y, weight_bits=bits, progress=progress, **settings
            )
        return Done(quantization, None, ())
    with progress_bar("measuring networks", None) as progress:
        quantization, mixed = quantize_to_fit(
            source, data.x, data.y, budget=budget, run=_logits, progress=progress, **settings
        )
    return Done(quantization, mixed, mixed.sensitivity)


def _sensitivity(
    source: Network, data: Data, widths: Sequence[int], settings: dict[str, Any]
) -> Sequence[Sensitivity]:
    with progress_bar("measuring networks", None) as progress:
        return layer_sensitivity(
            source,
            data.x,
            data.y,
            weight_bits=widths,
            run=_logits,
            progress=progress,
            **settings,
        )


def _logits(network: Network, raw: Any) -> Any:
    return build_engine(default_engine(), network).run(raw).logits


def quantization_facts(
    quantization: Quantization,
    calibration: Data,
    output: Path | None,
    mixed: MixedPrecision | None = None,
    sensitivity: Sequence[Sensitivity] = (),
) -> dict[str, Any]:
    """What the command reports, as JSON values."""
    return {
        "output": None if output is None else str(output),
        "data": calibration.name,
        "network_sha256": digest(quantization.network),
        **quantization.record.to_dict(),
        "fit": None if mixed is None else mixed_facts(mixed),
        "sensitivity": [entry.to_dict() for entry in sensitivity],
    }


def print_quantization(quantization: Quantization) -> None:
    """The same for people."""
    record = quantization.record
    titles = ("shift", "threshold", "headroom", "saturated", "equal", "rate")
    populations = table("population", *titles)
    for p in record.populations:
        span = f"{p.threshold_min:,}"
        if p.threshold_max != p.threshold_min:
            span += f"..{p.threshold_max:,}"
        populations.add_row(
            p.name,
            str(p.state_shift),
            span,
            f"{p.headroom_bits:.1f} bit" + ("" if p.headroom_bits >= 0 else " (not proved)"),
            f"{p.saturations:,}",
            percent(p.spike_agreement),
            percent(p.firing_rate_integer),
        )
    out.print(populations)
    out.print(
        f"{record.weight_bits}-bit weights ({record.method}), one scale per "
        f"{record.granularity}; on "
        f"{record.samples} calibration samples: accuracy "
        f"{percent(record.accuracy_float)} float, {percent(record.accuracy_integer)} integer, "
        f"{percent(record.prediction_agreement)} of predictions equal"
    )
    if record.input_clipped:
        out.print(f"{percent(record.input_clipped)} of the calibration input was clipped")


def mixed_facts(mixed: MixedPrecision) -> dict[str, Any]:
    """What was chosen for a budget, as JSON values."""

    def choice(of: Choice | None) -> dict[str, Any] | None:
        if of is None:
            return None
        bits = [{"label": label, "bits": width} for label, width in of.bits.items()]
        return {"cost": of.cost, "bits": bits, **asdict(of.quality)}

    return {
        "budget": mixed.budget,
        "limit": mixed.limit,
        "unit": mixed.unit,
        "chosen": choice(mixed.chosen),
        "uniform": choice(mixed.uniform),
    }


def print_sensitivity(sensitivity: Sequence[Sensitivity]) -> None:
    """What each layer costs at few bits, as a table."""
    if not sensitivity:
        return
    titles = ("bits", "weights", "accuracy", "equal", "divergence", "current")
    rows = table("connection, the others at 8 bits", *titles)
    for entry in sensitivity:
        current = entry.current_sqnr_db
        rows.add_row(
            entry.label,
            str(entry.bits),
            f"{entry.weights:,}",
            percent(entry.accuracy),
            percent(entry.agreement),
            f"{entry.divergence:.4f}",
            "exact" if current is None else f"{current:.1f} dB",
        )
    out.print(rows)


def print_mixed(mixed: MixedPrecision) -> None:
    """What was chosen for a budget."""
    chosen, uniform = mixed.chosen, mixed.uniform
    rows = table("connection", "bits")
    for label, bits in chosen.bits.items():
        rows.add_row(label, str(bits))
    out.print(rows)
    out.print(
        f"{mixed.budget}: takes {chosen.cost:,} of {mixed.limit:,} {mixed.unit}; divergence "
        f"{chosen.quality.divergence:.4f}, {percent(chosen.quality.agreement)} of predictions equal"
    )
    if uniform is not None and len(set(chosen.bits.values())) > 1:
        out.print(
            f"uniform {max(uniform.bits.values())} bits: {uniform.cost:,} {mixed.unit}; divergence "
            f"{uniform.quality.divergence:.4f}, {percent(uniform.quality.agreement)} equal"
        )
