"""``trispike report``: a page about what an inference costs."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trispike.cli.console import (
    DebugFlag,
    JsonFlag,
    NetworkArgument,
    checked_output,
    command,
    joules,
    out,
    percent,
    print_json,
    progress_bar,
    stage,
)
from trispike.cli.data import DataOption, SamplesOption, load_for
from trispike.cli.simulate import EngineOption
from trispike.errors import (
    InvalidDataError,
    InvalidSettingError,
    MissingDependencyError,
    UnsupportedError,
)
from trispike.network import IntegerNetwork, Network, digest, load
from trispike.runtime.activity import spike_counts
from trispike.runtime.data import Data
from trispike.runtime.energy import check_latency, hardware_names, load_hardware
from trispike.runtime.engine import Engine
from trispike.runtime.engines import build_engine, default_engine
from trispike.targets.loihi import Placement, Traffic, count_traffic, load_placement

if TYPE_CHECKING:
    from trispike.runtime.report import Report

SUFFIXES = (".html", ".htm")


@command
def report(
    network: NetworkArgument,
    data: DataOption,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The .html file to write.")
    ],
    hardware: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PROFILE",
            help="Prices; may be repeated, and the first gives the headline: "
            + ", ".join(hardware_names())
            + ", or a profile of your own (JSON). By default loihi1, loihi1-regressed, arithmetic "
            "of 45 nm, and cmos45-memory.",
        ),
    ] = None,
    placement: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Count messages and hops on this placement, as trispike check wrote it.",
        ),
    ] = None,
    engine: EngineOption = None,
    samples: SamplesOption = None,
    latency: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="How long an inference takes on the hardware, for its static power.",
        ),
    ] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Write a page about the energy per inference: one HTML file that loads nothing."""
    for source in (network, placement):
        if source is not None:
            checked_output(output, source)
    _check_suffix(output)
    _check_jinja()
    from trispike.runtime.report import (
        DEFAULT_HARDWARE,
        Origin,
        build_report,
        checked_hardware,
        write_report,
    )

    prices = None if hardware is None else [load_hardware(name) for name in hardware]
    if prices is not None:
        checked_hardware(prices)
    check_latency(latency)
    loaded = load(network)
    prices = prices or [load_hardware(name) for name in DEFAULT_HARDWARE[loaded.kind]]
    placed = None if placement is None else _placed(placement, loaded)
    given = load_for(loaded, data, samples)
    if not len(given.x):
        raise InvalidDataError(
            f"data '{given.name}'", got="no samples", expected="at least one", fix="Give some data."
        )
    name = engine or default_engine()
    with progress_bar(f"simulating ({name})", len(given.x)) as progress:
        built = build_engine(name, loaded)
        result = built.run(given.x, given.y, progress=progress, per_sample=True)
    with stage("working out the report"):
        page = build_report(
            loaded,
            given.x,
            result,
            prices,
            origin=Origin(network=network.name, data=given.name, command=_command_line()),
            placement=placed,
            traffic=None if placed is None else _traffic(built, placed, given),
            latency_seconds=latency,
        )
    write_report(page, output)
    if as_json:
        print_json(report_facts(page, output))
    else:
        _print(page, output)


def report_facts(page: Report, output: Path) -> dict[str, Any]:
    """What the command reports, as JSON values."""
    lost = [x for x in _contests(page) if x.loses]
    return {
        "output": str(output),
        "network_sha256": digest(page.network),
        "data": page.origin.data,
        "samples": page.ledger.samples,
        "accuracy": page.result.accuracy,
        "synaptic_operations_per_inference": page.ledger.synaptic_operations / page.ledger.samples,
        "estimates": [
            {
                "hardware": e.profile.id,
                "energy_per_inference_joules": e.energy_per_inference_joules,
                "energy_per_inference_low_joules": e.low_joules,
                "energy_per_inference_high_joules": e.high_joules,
            }
            for e in page.estimates
        ],
        "comparisons": len(_contests(page)),
        "lost": [
            {
                "other": x.other,
                "basis": x.basis,
                "spiking_joules": x.spiking,
                "other_joules": x.twin,
            }
            for x in lost
        ],
    }


def _print(page: Report, output: Path) -> None:
    for e in page.estimates:
        total = joules(e.energy_per_inference_joules)
        if e.low_joules != e.high_joules:
            total += f" ({joules(e.low_joules)} to {joules(e.high_joules)})"
        out.print(f"{total} per inference on {e.profile.name} ({e.profile.basis} figures)")
    out.print(f"accuracy on {page.origin.data}: {percent(page.result.accuracy)}")
    found = _contests(page)
    lost = sum(x.loses for x in found)
    out.print(f"the spiking network loses {lost} of {len(found)} comparisons with dense networks")
    out.print(f"wrote {output}", soft_wrap=True)


def _contests(page: Report) -> Any:
    from trispike.runtime.report import contests

    return contests(page)


def _check_suffix(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise InvalidSettingError(
            f"report '{path}'",
            got=f"suffix {path.suffix!r}",
            expected=" or ".join(SUFFIXES),
            fix="Name the file so; a browser shows it.",
        )


def _check_jinja() -> None:
    if importlib.util.find_spec("jinja2") is None:
        raise MissingDependencyError(
            "report",
            got="no jinja2",
            expected="jinja2 3.1 or later",
            fix="Run: pip install 'trispike[report]'",
        )


def _placed(path: Path, network: Network) -> Placement:
    if not isinstance(network, IntegerNetwork):
        raise UnsupportedError(
            "--placement",
            got="a float network",
            expected="the integer network that was placed",
            fix="Quantize it: trispike quantize.",
        )
    return load_placement(path, network)


def _traffic(engine: Engine, placed: Placement, given: Data) -> Traffic:
    """Messages and hops, from a second run that records which neuron fires."""
    network = engine.network
    assert isinstance(network, IntegerNetwork)
    counts = spike_counts(engine, given.x)
    return count_traffic(network, placed, counts, len(given.x))


def _command_line() -> str:
    return shlex.join(["trispike", *sys.argv[1:]])
