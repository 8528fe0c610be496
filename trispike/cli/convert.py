"""``trispike convert``: a published checkpoint becomes a float network, with a proof."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import typer

from trispike.api import PROOF_SAMPLES, Conversion
from trispike.api import convert as convert_module
from trispike.cli.console import (
    DebugFlag,
    JsonFlag,
    OutputOption,
    checked_output,
    command,
    out,
    print_json,
    progress_bar,
    stage,
)
from trispike.cli.data import DATA_SOURCES, SamplesOption, load_shown
from trispike.cli.modules import convert_own, stated
from trispike.errors import InvalidDataError, InvalidSettingError
from trispike.network import Input, describe, save
from trispike.network.network import Encoding
from trispike.quantize.calibration import KNOWN_DATA, data_facts
from trispike.runtime.data import Data

if TYPE_CHECKING:
    from trispike.nn import QCFSNetwork, SpikeModel

DATA_SEED = 0
"""Seed of the random inputs that stand in for data."""

TINY = float(np.finfo(float).tiny)
"""Smallest number that counts as positive."""

MOST_LAYERS = 10_000
"""More than any network has; what is beyond is a slip."""

RANDOM_SAMPLES = 4
"""At most so many of them: they cannot stand for real data anyway."""


@command
def convert(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT",
            exists=True,
            dir_okay=False,
            help="A .pth, .pt or .safetensors file.",
        ),
    ],
    output: OutputOption,
    arch: Annotated[
        str | None, typer.Option(metavar="NAME", help="Architecture, like ctsn-resnet19.")
    ] = None,
    module_factory: Annotated[
        str | None,
        typer.Option(
            "--module",
            metavar="PACKAGE.MODULE:NAME",
            help="Instead of --arch: a function or class of your own code that makes the module, "
            "of trispike.nn, SpikingJelly or snnTorch. It is imported and run.",
        ),
    ] = None,
    takes: Annotated[
        Literal["batch", "sequence", "step"] | None,
        typer.Option(
            help="Of --module: what one call takes, (N, ...), (T, N, ...), or one time step; "
            "default: found out."
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            metavar="T",
            min=1,
            help="Time steps; no checkpoint tells them. Not for qcfs-...: they follow from "
            "--levels.",
        ),
    ] = None,
    levels: Annotated[
        str | None,
        typer.Option(
            metavar="L,L,...",
            help="Of qcfs-...: levels of every activation, in the order of the layers, or one "
            "number for all; no checkpoint tells them.",
        ),
    ] = None,
    form: Annotated[
        Literal["static", "dynamic"] | None,
        typer.Option(help="Form of the CTSN neuron; default: static."),
    ] = None,
    v_threshold: Annotated[
        float | None,
        typer.Option(
            metavar="V", help="Effective firing threshold; default: as published, 0.5 (imp-...: 1)."
        ),
    ] = None,
    neurons: Annotated[
        str | None,
        typer.Option(
            metavar="KINDS",
            help="Of a network of several kinds of neurons: the kind of every layer of them, such "
            "as lif*3,ctsn*4; default: all of the architecture's.",
        ),
    ] = None,
    tau: Annotated[
        float | None,
        typer.Option(metavar="TAU", help="Leak; default: as published, 0.25 (SEW networks: 1)."),
    ] = None,
    reset: Annotated[
        Literal["zero", "subtract"] | None,
        typer.Option(help="Hard or soft reset, of lif-... and imp-...; default: as published."),
    ] = None,
    sigmoid_init: Annotated[
        bool,
        typer.Option(
            "--sigmoid-init", help="Initial potentials pass through the logistic function."
        ),
    ] = False,
    readout: Annotated[
        str | None,
        typer.Option(
            metavar="STEPS",
            help="Time steps that the logits are averaged over: mean (all), last, or chosen ones, "
            "counted from 0, such as 1,3.",
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Keys of the checkpoint that only its training needed, such as 'aux_head.*'; "
            "several times if need be.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help=f"Prove equality on these: {DATA_SOURCES}; default: random inputs.",
        ),
    ] = None,
    samples: SamplesOption = PROOF_SAMPLES,
    input_shape: Annotated[
        str | None,
        typer.Option(metavar="C,H,W", help="If it is neither the data's nor the published one."),
    ] = None,
    mean: Annotated[
        str,
        typer.Option(metavar="M", help="Subtracted from the data: a number, or one per channel."),
    ] = "0",
    std: Annotated[
        str, typer.Option(metavar="S", help="Divides the data, after the mean; likewise.")
    ] = "1",
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Convert a trained checkpoint to a float network, and prove the two equal spike by spike."""
    checked_output(output, checkpoint)
    shape = None if input_shape is None else _sizes(input_shape)
    means, stds = _per_channel(mean, "--mean"), _per_channel(std, "--std")
    _check_range("--mean", means, -math.inf, "finite")
    _check_range("--std", stds, TINY, "positive, finite")
    _check_range(
        "--v-threshold", 1.0 if v_threshold is None else v_threshold, TINY, "positive, finite"
    )
    _check_range("--tau", 0.0 if tau is None else tau, 0.0, "non-negative, finite")
    if module_factory is not None:
        _refuse_options(
            "--module, which states it itself",
            **{"--arch": arch, "--levels": levels, "--form": form, "--v-threshold": v_threshold},
            **{"--neurons": neurons, "--tau": tau, "--reset": reset, "--ignore": ignore or None},
            **{"--sigmoid-init": sigmoid_init or None},
        )
        given = None if data is None else load_shown(data, samples, steps or 1)
        conversion = convert_own(
            checkpoint,
            module_factory,
            given,
            input_shape=shape,
            steps=steps,
            takes=takes,
            mean=means,
            std=stds,
            readout=readout,
        )
        _finish(conversion, given, output, as_json=as_json)
        return
    _refuse_options("--arch: only --module has it", **{"--takes": takes})
    if arch is None:
        raise InvalidSettingError(
            "--arch",
            got="nothing, and no --module",
            expected="the architecture that was trained",
            fix="Give --arch NAME, or --module PACKAGE.MODULE:NAME for a module of your own.",
        )
    is_qcfs = arch.startswith("qcfs-")
    if is_qcfs:
        _refuse_options(
            f"{arch}, which has no spiking neurons to set",
            **{"--steps": steps, "--form": form, "--v-threshold": v_threshold, "--tau": tau},
            **{"--neurons": neurons, "--reset": reset, "--sigmoid-init": sigmoid_init or None},
            **{"--readout": readout, "--ignore": ignore or None},
        )
    else:
        _refuse_options(f"{arch}: only qcfs-... has levels", **{"--levels": levels})
        stated(steps)
    given = None if data is None else load_shown(data, samples, steps or 1)
    given_shape = shape or (None if given is None else _image_shape(given))
    with stage("loading PyTorch and the checkpoint"):
        module = (
            _load_qcfs(checkpoint, arch, levels, given_shape)
            if is_qcfs
            else load_module(
                checkpoint,
                arch,
                steps=steps,
                form=form,
                v_threshold=v_threshold,
                tau=tau,
                reset=reset,
                sigmoid_init=sigmoid_init,
                readout=readout,
                ignore=ignore or (),
                neurons=None if neurons is None else _kinds(neurons),
                input_shape=given_shape,
            )
        )
    if given is None:
        given = _random_inputs(module, samples)
    encoding: Encoding = "direct" if module.input_kind == "static" else "frames"
    if is_qcfs:
        encoding = "once"
    Input(shape=module.input_shape, encoding=encoding).check(given.x, steps or 1)
    with progress_bar("folding and proving", len(given.x)) as progress:
        conversion = convert_module(
            module,
            given.x,
            steps=steps,
            encoding=encoding,
            mean=means,
            std=stds,
            proof_samples=len(given.x),
            data_description=given.name,
            progress=progress,
        )
    _finish(conversion, None if data is None else given, output, as_json=as_json)


def _finish(conversion: Conversion, given: Data | None, output: Path, *, as_json: bool) -> None:
    """Save the network, with what is known of the data, and report."""
    if given is not None:
        network = conversion.network
        noted = {**network.provenance, KNOWN_DATA: data_facts(given.x, given.name)}
        conversion = replace(conversion, network=replace(network, provenance=noted))
    facts = conversion_facts(conversion, output)
    save(conversion.network, output)
    if as_json:
        print_json(facts)
    else:
        print_conversion(facts)
        out.print(f"wrote {output}", soft_wrap=True)


def load_module(checkpoint: Path, arch: str, **settings: Any) -> SpikeModel:
    """The module of a checkpoint.

    Raises:
        InvalidSettingError: There is no architecture of that name.
        TrispikeError: As ``trispike.load_checkpoint``.
    """
    # torch takes seconds to load; the help text does not need it.
    from trispike.nn import ARCHITECTURES, load_checkpoint

    if arch not in ARCHITECTURES:
        raise InvalidSettingError(
            "--arch",
            got=repr(arch),
            expected="one of " + ", ".join(ARCHITECTURES),
            fix="Choose the one that was trained.",
        )
    return load_checkpoint(checkpoint, arch, **settings)


def _load_qcfs(
    checkpoint: Path, arch: str, levels: str | None, input_shape: tuple[int, ...] | None
) -> QCFSNetwork:
    """The network of a checkpoint with QCFS activations.

    Raises:
        InvalidSettingError: There is no such architecture, or the levels are no list of numbers,
            or more or fewer than its activations.
        TrispikeError: As ``trispike.nn.load_qcfs_checkpoint``.
    """
    from trispike.nn import QCFS_ARCHITECTURES, load_qcfs_checkpoint

    if arch not in QCFS_ARCHITECTURES:
        raise InvalidSettingError(
            "--arch",
            got=repr(arch),
            expected="one of " + ", ".join(QCFS_ARCHITECTURES),
            fix="Choose the one that was trained.",
        )
    parts = [part.strip() for part in (levels or "").split(",")]
    if not all(part.isdecimal() for part in parts):
        raise InvalidSettingError(
            "--levels",
            got="nothing" if levels is None else repr(levels),
            expected="the levels of every activation, separated by commas, or one number for all",
            fix="Give those that the network was trained with, such as --levels 4,4,8,2,4.",
        )
    numbers = [int(part) for part in parts]
    return load_qcfs_checkpoint(
        checkpoint,
        arch,
        levels=numbers if len(numbers) > 1 else numbers[0],
        input_shape=input_shape,  # type: ignore[arg-type]
    )


def _refuse_options(what: str, **given: object) -> None:
    for option, value in given.items():
        if value is not None:
            raise InvalidSettingError(
                option,
                got=str(value),
                expected=f"no {option} for {what}",
                fix="Leave it out.",
            )


def conversion_facts(conversion: Conversion, output: Path | None) -> dict[str, Any]:
    """What the command reports, as JSON values."""
    network = describe(conversion.network)
    return {
        "output": None if output is None else str(output),
        "checkpoint": network["provenance"].get("checkpoint"),
        **{key: network[key] for key in ("steps", "neurons", "synapses", "network_sha256")},
        "populations": len(network["populations"]),
        "connections": len(network["connections"]),
        "unexplained_mismatches": conversion.proof.unexplained_mismatches,
        "proof": conversion.proof.to_dict(),
    }


def print_conversion(facts: dict[str, Any]) -> None:
    """The same for people."""
    proof = facts["proof"]
    out.print(
        f"folded into {facts['populations']} populations ({facts['neurons']:,} neurons) and "
        f"{facts['connections']} connections ({facts['synapses']:,} synapses)"
    )
    out.print(
        f"proof on {proof['samples']} samples ({proof['data']}), {proof['precision']}: "
        f"{proof['spikes_compared']:,} neuron-steps compared, {proof['spikes_fired']:,} fired, "
        f"{proof['spike_mismatches']} spike mismatches, "
        f"{proof['unexplained_mismatches']} unexplained; "
        f"logits differ by at most {proof['largest_logit_difference']:.1e}"
    )
    if proof["data"].startswith("random"):
        out.print("The proof ran on random inputs; give --data for real ones.", style="yellow")


def _random_inputs(module: SpikeModel | QCFSNetwork, samples: int | None) -> Data:
    steps = (module.steps,) if module.input_kind == "frames" else ()
    shape = (min(samples or RANDOM_SAMPLES, RANDOM_SAMPLES), *steps, *module.input_shape)
    random = np.random.default_rng(DATA_SEED).normal(size=shape)
    return Data(random, None, "random normal inputs")


def _image_shape(given: Data) -> tuple[int, ...]:
    if given.x.ndim not in (4, 5):
        raise InvalidDataError(
            f"data {given.name!r}",
            got=f"x of shape {given.x.shape}",
            expected="(N, C, H, W), or (N, T, C, H, W) for frames",
            fix="Reshape the data; the published architectures take images.",
        )
    return given.x.shape[-3:]


def _sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(int(part) if part.strip().isdecimal() else 0 for part in text.split(","))
    if len(sizes) != 3 or not all(sizes):
        raise InvalidSettingError(
            "--input-shape",
            got=repr(text),
            expected="three positive numbers, C,H,W",
            fix="For example 3,32,32.",
        )
    return sizes


def _kinds(text: str) -> tuple[str, ...]:
    """``lif*2,ctsn`` as ("lif", "lif", "ctsn")."""
    kinds: list[str] = []
    for part in text.split(","):
        kind, star, count = part.strip().partition("*")
        if star and not (count.strip().isdecimal() and 0 < int(count) <= MOST_LAYERS):
            raise InvalidSettingError(
                "--neurons",
                got=repr(text),
                expected="kinds of neurons separated by commas, each perhaps with *COUNT behind it",
                fix="For example lif*3,ctsn*4.",
            )
        kinds += [kind.strip()] * (int(count) if star else 1)
    return tuple(kinds)


def _per_channel(text: str, option: str) -> np.ndarray[Any, Any]:
    try:
        values = np.array([float(part) for part in text.split(",")])
    except ValueError:
        raise InvalidSettingError(
            option,
            got=repr(text),
            expected="a number, or one per channel, separated by commas",
            fix="For example 0.4914,0.4822,0.4465.",
        ) from None
    return values.reshape(()) if values.size == 1 else values.reshape(-1, 1, 1)


def _check_range(option: str, given: Any, lowest: float, kind: str) -> None:
    values = np.asarray(given)
    if not (np.isfinite(values) & (values >= lowest)).all():
        raise InvalidSettingError(
            option,
            got=", ".join(f"{value:g}" for value in values.reshape(-1)),
            expected=f"{kind} numbers" if values.ndim else f"a {kind} number",
            fix="Correct the option.",
        )
