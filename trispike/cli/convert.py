"""``trispike convert``: a published checkpoint becomes a float network, with a proof."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer

from trispike.api import PROOF_SAMPLES, Conversion
from trispike.api import convert as convert_module
from trispike.cli.console import (
    DebugFlag,
    JsonFlag,
    SamplesOption,
    checked_output,
    command,
    out,
    print_json,
    progress_bar,
)
from trispike.errors import InvalidDataError
from trispike.network import describe, save
from trispike.runtime.data import Data, load_data

DATA_SEED = 0
"""Seed of the random inputs that stand in for data."""


@command
def convert(
    checkpoint: Annotated[Path, typer.Argument(help="A .pth, .pt or .safetensors file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The network to write.")],
    arch: Annotated[str, typer.Option(help="Architecture, such as ctsn-resnet19.")],
    steps: Annotated[int, typer.Option(min=1, help="Time steps T; in no checkpoint.")],
    form: Annotated[
        Literal["static", "dynamic"] | None, typer.Option(help="Form of the CTSN neuron.")
    ] = None,
    v_threshold: Annotated[float, typer.Option(help="Effective firing threshold.")] = 0.5,
    tau: Annotated[
        float | None, typer.Option(help="Leak; default 0.25 (SEW networks: 1), as published.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Prove equality on these: digits, or a file; default: random inputs."),
    ] = None,
    samples: SamplesOption = PROOF_SAMPLES,
    input_shape: Annotated[
        str | None, typer.Option(help="C,H,W if it is neither the data's nor the published one.")
    ] = None,
    mean: Annotated[
        str, typer.Option(help="Subtracted from raw data; one number, or one per channel.")
    ] = "0",
    std: Annotated[str, typer.Option(help="Divides raw data, after the mean.")] = "1",
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Convert a trained checkpoint to a float network, and prove the two equal spike by spike."""
    # torch takes seconds to load; the help text does not need it.
    from trispike.nn import load_checkpoint

    checked_output(output)
    given = None if data is None else load_data(data).first(samples)
    shape = _input_shape(input_shape, given)
    module = load_checkpoint(
        checkpoint,
        arch,
        steps=steps,
        form=form,
        v_threshold=v_threshold,
        tau=tau,
        input_shape=shape,
    )
    direct = module.input_kind == "static"
    if given is None:
        full = module.input_shape if direct else (steps, *module.input_shape)
        # A few, for random inputs cannot stand for the real ones anyway.
        random = np.random.default_rng(DATA_SEED).normal(size=(min(samples or 4, 4), *full))
        given = Data(random, None, "random normal inputs")
    with progress_bar("proving", len(given.x)) as progress:
        conversion = convert_module(
            module,
            given.x,
            steps=steps,
            encoding="direct" if direct else "frames",
            mean=_per_channel(mean, "--mean"),
            std=_per_channel(std, "--std"),
            proof_samples=len(given.x),
            data_description=given.name,
            progress=progress,
        )
    save(conversion.network, output)
    facts = conversion_facts(conversion, output)
    if as_json:
        print_json(facts)
    else:
        print_conversion(facts)


def conversion_facts(conversion: Conversion, output: Path) -> dict[str, Any]:
    """What the command reports, as JSON values."""
    network = describe(conversion.network)
    proof = conversion.proof.to_dict()
    proof.pop("mismatches")
    return {
        "output": str(output),
        "checkpoint": network["provenance"].get("checkpoint"),
        "steps": network["steps"],
        "populations": len(network["populations"]),
        "connections": len(network["connections"]),
        "neurons": network["neurons"],
        "synapses": network["synapses"],
        "network_sha256": network["network_sha256"],
        "unexplained_mismatches": proof["unexplained_mismatches"],
        "proof": proof,
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
        f"[bold]{proof['unexplained_mismatches']} unexplained[/]; "
        f"logits within {proof['largest_logit_difference']:.1e}"
    )
    if proof["data"].startswith("random"):
        out.print("[yellow]The proof ran on random inputs; give --data for one on real ones.[/]")
    out.print(f"wrote {facts['output']}", soft_wrap=True)


def _input_shape(text: str | None, given: Data | None) -> tuple[int, int, int] | None:
    if text is not None:
        parts = text.replace("x", ",").split(",")
        if len(parts) != 3 or not all(p.strip().isdigit() and int(p) for p in parts):
            raise InvalidDataError(
                "--input-shape",
                got=repr(text),
                expected="three positive numbers, C,H,W",
                fix="For example 3,32,32.",
            )
        return int(parts[0]), int(parts[1]), int(parts[2])
    if given is None:
        return None
    if given.x.ndim not in (4, 5):
        raise InvalidDataError(
            f"data {given.name!r}",
            got=f"x of shape {given.x.shape}",
            expected="(N, C, H, W), or (N, T, C, H, W) for frames",
            fix="Reshape the data; the published architectures take images.",
        )
    channels, height, width = given.x.shape[-3:]
    return channels, height, width


def _per_channel(text: str, option: str) -> np.ndarray[Any, Any]:
    try:
        values = np.array([float(part) for part in text.split(",")])
    except ValueError:
        raise InvalidDataError(
            option,
            got=repr(text),
            expected="a number, or one per channel, separated by commas",
            fix="For example 0.4914,0.4822,0.4465.",
        ) from None
    return values.reshape(()) if values.size == 1 else values.reshape(-1, 1, 1)
