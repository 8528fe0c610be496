"""``trispike finetune``: an integer network that was trained as the integers that it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from trispike.cli.console import (
    DebugFlag,
    JsonFlag,
    NetworkArgument,
    OutputOption,
    checked_output,
    command,
    err,
    out,
    percent,
    print_json,
    progress_bar,
    table,
)
from trispike.cli.data import DATA_SOURCES, load_for
from trispike.cli.quantize import (
    CALIBRATION_SAMPLES,
    FitOption,
    GranularityOption,
    StateBitsOption,
    chosen_budget,
    mixed_facts,
    print_mixed,
    quantized,
    warn_of_guessing,
)
from trispike.errors import InvalidDataError
from trispike.network import FloatNetwork, Network, digest, load, save
from trispike.network.fixed_point import DEFAULT_STATE_BITS
from trispike.quantize import MixedPrecision, Quantization
from trispike.runtime.data import Data

BITS = 4
"""Width of a weight unless it is given."""


@command
def finetune(
    network: NetworkArgument,
    data: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="DATA",
            help=f"Data to learn from: {DATA_SOURCES} and y. Name the :train part of a data set.",
        ),
    ],
    output: OutputOption,
    weight_bits: Annotated[
        int | None,
        typer.Option(min=2, max=8, help="Width of a weight; default: 4, or as --fit allows."),
    ] = None,
    fit: FitOption = None,
    granularity: GranularityOption = "channel",
    state_bits: StateBitsOption = DEFAULT_STATE_BITS,
    samples: Annotated[
        int | None, typer.Option(min=2, help="Learn from the first so many samples only.")
    ] = None,
    calibration_samples: Annotated[
        int, typer.Option(min=1, help="Quantize on the first so many samples.")
    ] = CALIBRATION_SAMPLES,
    validation: Annotated[
        float, typer.Option(help="Share of the data that chooses the best epoch.")
    ] = 0.1,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the data, at most.")] = 5,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", "--lr", help="Relative change per update.")
    ] = 0.01,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples per update.")] = 100,
    loss: Annotated[
        str, typer.Option(help="cross_entropy of the mean logits, or tet: of every step's.")
    ] = "cross_entropy",
    patience: Annotated[
        int | None, typer.Option(min=1, help="End after so many epochs without improvement.")
    ] = None,
    mirror: Annotated[
        bool, typer.Option("--mirror", help="Learn from images and from their mirror images.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the order of the samples.")] = 0,
    checkpoint: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Keep the state here, and go on from it if it is there."),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Begin with the best state of an earlier checkpoint."
        ),
    ] = None,
    fast: Annotated[
        bool,
        typer.Option("--fast", help="Compile the neurons: needs a C++ compiler; same integers."),
    ] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of PyTorch; default: its own choice.")
    ] = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Quantize a float network, and train it on as the integer network that it becomes."""
    checked_output(output, network)
    if checkpoint is not None:
        checked_output(checkpoint, network)
    budget = chosen_budget(fit, weight_bits)
    # torch takes seconds to load; the help text does not need it.
    from trispike.quantize import finetune as tuning

    settings = tuning.Settings(
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        loss=loss,  # type: ignore[arg-type]
        patience=patience,
        seed=seed,
    )
    source = load(network)
    given = load_for(source, data, samples)
    if given.y is None:
        raise InvalidDataError(
            f"data '{data}'",
            got="no labels",
            expected="y, one class per sample",
            fix="Add the labels to the file.",
        )
    if mirror:
        _check_images(source)
    calibration = Data(given.x[:calibration_samples], given.y[:calibration_samples], given.name)
    rounding = {"granularity": granularity, "state_bits": state_bits}
    quantization, mixed, _ = quantized(source, calibration, budget, weight_bits or BITS, rounding)
    warn_of_guessing(source, quantization)
    if threads is not None:
        tuning.use_threads(threads)
    assert isinstance(source, FloatNetwork)  # quantize has refused any other
    learnt = len(given.x) - round(len(given.x) * validation)
    with progress_bar("fine-tuning", epochs * learnt) as progress:
        result = tuning.finetune(
            source,
            quantization,
            given.x,
            given.y,
            validation=validation,
            settings=settings,
            augment=tuning.mirrored if mirror else None,
            checkpoint=checkpoint,
            start=start,
            progress=progress,
            report=_show if err.is_terminal else None,
            fast=fast,
        )
    save(result.network, output)
    if as_json:
        print_json(finetune_facts(result, quantization, mixed, given, output))
    else:
        if mixed is not None:
            print_mixed(mixed)
        print_finetuning(result)
        out.print(f"wrote {output}", soft_wrap=True)


def _check_images(network: Network) -> None:
    if len(network.input.shape) != 3:
        raise InvalidDataError(
            "--mirror",
            got=f"samples of shape {network.input.shape}",
            expected="images (C, H, W)",
            fix="Leave the option out.",
        )


def _show(epoch: Any) -> None:
    err.print(_line(epoch), soft_wrap=True)


def _line(epoch: Any) -> str:
    loss = "" if epoch.training_loss is None else f"loss {epoch.training_loss:.4f}, "
    return (
        f"epoch {epoch.epoch}: {loss}validation accuracy {percent(epoch.validation_accuracy)}, "
        f"{epoch.seconds:.0f} s"
    )


def finetune_facts(
    result: Any,
    quantization: Quantization,
    mixed: MixedPrecision | None,
    data: Data,
    output: Path | None,
) -> dict[str, Any]:
    """What the command reports, as JSON values."""
    record = result.record.to_dict()
    return {
        "output": None if output is None else str(output),
        "data": data.name,
        "network_sha256": digest(result.network),
        "weight_bits": quantization.record.weight_bits,
        "fit": None if mixed is None else mixed_facts(mixed),
        **record,
        "trained": list(record["trained"]),
    }


def print_finetuning(result: Any) -> None:
    """The same for people."""
    record = result.record
    epochs = table("epoch", "loss", "validation loss", "validation accuracy", "time")
    for epoch in record.epochs:
        loss = "-" if epoch.training_loss is None else f"{epoch.training_loss:.4f}"
        epochs.add_row(
            str(epoch.epoch),
            loss,
            f"{epoch.validation_loss:.4f}",
            percent(epoch.validation_accuracy),
            f"{epoch.seconds:.0f} s",
        )
    out.print(epochs)
    kept = "rounding alone, which no epoch improved"
    if record.best_epoch is not None:
        kept = f"epoch {record.best_epoch}"
    out.print(
        f"on {record.validation_samples} validation samples: accuracy "
        f"{percent(record.quantized_accuracy)} after rounding, {percent(record.best_accuracy)} "
        f"after fine-tuning; kept {kept}" + (", ended early" if record.stopped_early else "")
    )
