"""``trispike simulate``: run data through a network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from trispike.cli.console import (
    DebugFlag,
    JsonFlag,
    NetworkArgument,
    command,
    joules,
    out,
    percent,
    print_json,
    print_note,
    progress_bar,
    table,
)
from trispike.cli.data import DataOption, SamplesOption, load_for
from trispike.cli.ledger import (
    LedgerOutOption,
    check_ledger_out,
    write_ledger,
    written_facts,
)
from trispike.cli.plastic import CAVEAT
from trispike.cli.record import (
    RecordOption,
    RecordToOption,
    check_destination,
    checked_wish,
    write_recording,
)
from trispike.errors import InvalidSettingError
from trispike.network import Network, digest, load
from trispike.network.learning import plastic
from trispike.runtime.anytime import EarlyExit, check_confidence, early_exit, exit_energy
from trispike.runtime.data import Data
from trispike.runtime.derived_counts import derived_counts
from trispike.runtime.energy import MemoryModel, Profile, load_hardware
from trispike.runtime.engine import Recording, Result
from trispike.runtime.engines import ENGINES, build_engine, default_engine
from trispike.runtime.local_engines import LOCAL_ENGINES
from trispike.runtime.pricing import pricing
from trispike.runtime.sessions import engine_builder

EngineOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="What runs the network: "
        + ", ".join(ENGINES)
        + "; by default fast if torch and numba are installed, else reference.",
    ),
]
MemoryOption: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="fast: what a batch may take, such as 512MiB or 2GiB."),
]
ThreadsOption: TypeAlias = Annotated[
    int | None,
    typer.Option(min=1, help="fast, onnx: threads to use; by default one per core."),
]

ExitOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        metavar="P",
        help="End each sample when the softmax probability of the class it predicts so far is at "
        "least P, between 0 and 1.",
    ),
]

Hardware: TypeAlias = Profile | MemoryModel

ENGINE_OPTIONS = {
    "memory": ("fast",),
    "threads": ("fast", "onnx"),
    "device": ("fast",),
    "timeout": ("lava",),
    "workers": ("ray",),
    "shard_size": ("ray",),
    "inner": ("ray",),
    "address": ("ray",),
}
"""What only some engines can be told: arguments of their constructors, and the engines."""


@command
def simulate(
    network: NetworkArgument,
    data: DataOption,
    engine: EngineOption = None,
    samples: SamplesOption = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail when a state leaves its range.")
    ] = False,
    record: RecordOption = None,
    record_to: RecordToOption = None,
    memory: MemoryOption = None,
    threads: ThreadsOption = None,
    device: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="fast: a device of torch to run on, such as cuda."),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=1, help="lava: wall-clock limit."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="ray: worker processes; by default one per CPU.")
    ] = None,
    shard_size: Annotated[
        int | None, typer.Option(min=1, help="ray: samples that a worker gets at a time.")
    ] = None,
    inner: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="ray: the engine in the workers: " + ", ".join(LOCAL_ENGINES) + "."
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT|auto", help="ray: the cluster; by default this machine alone."
        ),
    ] = None,
    exit_confidence: ExitOption = None,
    hardware: Annotated[
        str | None,
        typer.Option(
            metavar="PROFILE",
            help="With --exit-confidence: prices for the energy; loihi1 by default.",
        ),
    ] = None,
    ledger_out: LedgerOutOption = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Run data through a network and report accuracy, spikes and synaptic operations."""
    check_destination(record, record_to, network, Path(data))
    profile = check_exit(exit_confidence, hardware, record)
    check_whole_runs(exit_confidence, ledger_out)
    check_ledger_out(ledger_out, network, Path(data))
    loaded = load(network)
    engine = engine or default_engine(loaded)
    options = engine_options(
        engine,
        memory=None if memory is None else byte_count(memory),
        threads=threads,
        device=device,
        timeout=timeout,
        workers=workers,
        shard_size=shard_size,
        inner=inner,
        address=address,
    )
    given = load_for(loaded, data, samples)
    wanted = checked_wish(loaded, record, given)
    if exit_confidence is not None:
        exits = run_early_exit(
            engine, loaded, given, confidence=exit_confidence, strict=strict, **options
        )
        if as_json:
            facts = result_facts(exits, loaded, given)
            print_json(facts | {"early_exit": exit_facts(exits, loaded, given, profile)})
        else:
            print_result(exits)
            _print_once(exits, loaded)
            print_exit(exits, loaded, given, profile)
        return
    result = run_engine(
        engine,
        loaded,
        given,
        record=wanted,
        per_sample=ledger_out is not None,
        strict=strict,
        **options,
    )
    facts = result_facts(result, loaded, given)
    facts["derived"] = derived_counts(result.ledger, loaded).to_dict()
    if ledger_out is not None:
        facts |= written_facts(write_ledger(result, loaded, given, ledger_out))
    if record_to is not None:
        facts["recording"] = write_recording(result, loaded, given, record_to)
    if as_json:
        print_json(facts)
    else:
        print_result(result)
        _print_once(result, loaded)
        if learning := plastic(loaded):
            print_note(f"plastic connections: {', '.join(learning)}; {CAVEAT}")
        if record_to is not None:
            out.print(f"wrote {record_to}", soft_wrap=True)
        if ledger_out is not None:
            out.print(f"wrote {ledger_out}", soft_wrap=True)


def engine_options(engine: str, **values: Any) -> dict[str, Any]:
    """Those options that were given, for the constructor of an engine.

    Raises:
        InvalidSettingError: The engine has no such option.
    """
    given = {name: value for name, value in values.items() if value is not None}
    for name in given:
        if engine not in ENGINE_OPTIONS[name]:
            option = "--" + name.replace("_", "-")
            raise InvalidSettingError(
                option,
                got=f"engine {engine!r}",
                expected=" or ".join(f"engine {taker!r}" for taker in ENGINE_OPTIONS[name]),
                fix=f"Leave {option} out.",
            )
    return given


def byte_count(text: str) -> int:
    """``2GiB`` as 2147483648; KiB, MiB, GiB and TiB are powers of 1024, kB, MB, ... of 1000.

    Raises:
        InvalidSettingError: Not a positive size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:([kmgt])(i?)b?|b)?\s*", text, re.IGNORECASE)
    size = 0
    if match:
        number, prefix, binary = match.groups()
        power = 1 + "kmgt".index(prefix.lower()) if prefix else 0
        size = int(float(number) * (1024 if binary else 1000) ** power)
    if size < 1:
        raise InvalidSettingError(
            "--memory",
            got=repr(text),
            expected="a size such as 512MiB or 2GiB",
            fix="Give a positive number with a unit.",
        )
    return size


def run_engine(
    name: str,
    network: Network,
    given: Data,
    *,
    record: Recording = None,
    per_sample: bool = False,
    **options: Any,
) -> Result:
    """Run data through a network, behind a progress bar."""
    with progress_bar(f"simulating ({name})", len(given.x)) as progress:
        engine = build_engine(name, network, **options)
        return engine.run(given.x, given.y, record=record, progress=progress, per_sample=per_sample)


def run_early_exit(
    name: str, network: Network, given: Data, *, confidence: float, **options: Any
) -> EarlyExit:
    """Run each sample until the network is confident, behind a progress bar."""
    with (
        engine_builder(name, **options) as build,
        progress_bar(f"simulating ({name})", 2 * len(given.x)) as progress,
    ):
        return early_exit(
            network, given.x, given.y, confidence=confidence, build=build, progress=progress
        )


def check_whole_runs(confidence: float | None, ledger_out: Path | None) -> None:
    """Refuse to store counts of samples that left early: they would be priced as whole ones.

    Raises:
        InvalidSettingError: --ledger-out beside --exit-confidence.
    """
    if confidence is not None and ledger_out is not None:
        raise InvalidSettingError(
            "--ledger-out",
            got="with --exit-confidence",
            expected="one of the two: a ledger in a file has all time steps of every sample",
            fix="Leave one of them out.",
        )


def check_exit(confidence: float | None, hardware: str | None, record: Any) -> Hardware:
    """The prices of a run with early exits.

    Raises:
        InvalidSettingError: Options that do not go together, no probability, an unknown profile.
        FileFormatError: A file that is no profile.
    """
    if confidence is not None:
        check_confidence(confidence)
    if hardware is not None and confidence is None:
        raise InvalidSettingError(
            "--hardware",
            got="no --exit-confidence",
            expected="the two together",
            fix="Use trispike estimate for the energy of whole runs.",
        )
    if record and confidence is not None:
        raise InvalidSettingError(
            "--record",
            got="--exit-confidence",
            expected="one of the two: a recording has all time steps of every sample",
            fix="Record a run of its own.",
        )
    prices = load_hardware(hardware or "loihi1")
    if confidence is not None:
        pricing(prices)  # fails before the long part, if it does
    return prices


def result_facts(result: Result | EarlyExit, network: Network, given: Data) -> dict[str, Any]:
    """What the command reports, as JSON values."""
    ledger = result.ledger
    return {
        "network_sha256": digest(network),
        "data": given.name,
        "engine": result.engine,
        "samples": ledger.samples,
        "accuracy": result.accuracy,
        "predictions": result.predictions.tolist(),
        "synaptic_operations": ledger.synaptic_operations,
        "synaptic_operations_per_inference": ledger.synaptic_operations / max(1, ledger.samples),
        "saturations": ledger.saturations,
        "firing_rates": {name: ledger.firing_rate(name) for name in ledger.populations},
        "fired_once": _fired_once(result, network),
        "seconds": result.seconds,
        "ledger": ledger.to_dict(),
        "early_exit": None,
    }


def print_result(result: Result | EarlyExit) -> None:
    """The same for people."""
    ledger = result.ledger
    each = max(1, ledger.samples)
    populations = table("population", "neurons", "+ spikes", "- spikes", "rate", "synaptic ops in")
    for name, p in ledger.populations.items():
        arriving = sum(
            int(c.synaptic_operations.sum())
            for label, c in ledger.connections.items()
            if label.split("->")[1].split("#")[0] == name
        )
        populations.add_row(
            name,
            f"{p.neurons:,}",
            f"{p.spikes_positive.sum() / each:,.1f}",
            f"{p.spikes_negative.sum() / each:,.1f}",
            percent(ledger.firing_rate(name)),
            f"{arriving / each:,.0f}",
        )
    out.print(populations)
    out.print(
        f"{result.engine}: {ledger.samples} samples in {result.seconds:.1f} s, accuracy "
        f"{percent(result.accuracy)}; per inference "
        f"{ledger.synaptic_operations / each:,.0f} synaptic operations, "
        f"{ledger.macs / each:,.0f} graded ones, {ledger.spikes / each:,.0f} spikes; "
        f"{ledger.saturations:,} saturations"
    )


def _fired_once(result: Result | EarlyExit, network: Network) -> dict[str, float]:
    """Of populations that fire at most once: the share of their neurons that did, per inference.

    A neuron's spikes are 0 or 1 there, so that the mean of the counts is that share.
    """
    samples = max(1, result.ledger.samples)
    return {
        name: int(counts.spikes_positive.sum() + counts.spikes_negative.sum())
        / (samples * counts.neurons)
        for name, counts in result.ledger.populations.items()
        if network.populations[name].neuron.fire_once
    }


def _print_once(result: Result | EarlyExit, network: Network) -> None:
    shares = _fired_once(result, network)
    if shares:
        neurons = sum(network.populations[name].size for name in shares)
        fired = sum(share * network.populations[name].size for name, share in shares.items())
        out.print(
            f"neurons that fire at most once: {fired:,.0f} of {neurons:,} fire in an inference "
            f"({percent(fired / neurons)})"
        )


def exit_facts(
    exits: EarlyExit, network: Network, given: Data, profile: Hardware
) -> dict[str, Any]:
    """What early exits bring, as JSON values."""
    energy = exit_energy(network, given.x, exits, profile)
    whole = pricing(profile)(network, exits.full.ledger, given.x)
    accuracy = exits.accuracy
    return {
        "confidence": exits.confidence,
        "mean_steps": exits.mean_steps,
        "samples_by_exit_step": list(exits.distribution),
        "exit_steps": exits.exit_steps.tolist(),
        "hardware": profile.id,
        "energy_per_inference_joules": energy.joules,
        "energy_per_inference_low_joules": energy.low_joules,
        "energy_per_inference_high_joules": energy.high_joules,
        "joules_per_correct_prediction": energy.joules / accuracy if accuracy else None,
        "accuracy_of_all_steps": exits.full.accuracy,
        "synaptic_operations_of_all_steps": exits.full.ledger.synaptic_operations,
        "energy_per_inference_of_all_steps_joules": whole.energy_per_inference_joules,
    }


def print_exit(exits: EarlyExit, network: Network, given: Data, profile: Hardware) -> None:
    """The same for people."""
    facts = exit_facts(exits, network, given, profile)
    steps = table("exit after", "samples", "share", "accuracy")
    samples = len(exits.exit_steps)
    for step, count in enumerate(exits.distribution, start=1):
        there = exits.exit_steps == step
        right = None
        if exits.labels is not None and count:
            right = float((exits.predictions == exits.labels)[there].mean())
        steps.add_row(str(step), f"{count:,}", percent(count / samples), percent(right))
    out.print()
    out.print(steps)
    out.print(
        f"exit at confidence {exits.confidence:g}: {exits.mean_steps:.2f} of "
        f"{exits.full.ledger.steps} steps on average, accuracy {percent(exits.accuracy)} (all "
        f"steps: {percent(facts['accuracy_of_all_steps'])}), "
        f"{joules(facts['energy_per_inference_joules'])} per inference on {profile.name} (all "
        f"steps: {joules(facts['energy_per_inference_of_all_steps_joules'])})"
    )
