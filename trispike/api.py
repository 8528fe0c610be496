"""The jobs of trispike as plain functions: what the command line does, from Python.

```python
module = trispike.load_checkpoint("net.pth", "ctsn-resnet19", steps=4)
conversion = trispike.convert(module, images)
quantization = trispike.quantize(conversion.network, images, labels)
result = trispike.simulate(quantization.network, images, labels, engine="lava")
estimate = trispike.estimate(result, hardware="loihi1")
certificate = trispike.verify(quantization.network, images)
curve = trispike.anytime(quantization.network, images, labels)
trispike.report(quantization.network, images, labels, output="report.html")
```
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.errors import InvalidDataError, InvalidSettingError
from trispike.network import FloatNetwork, Network, with_steps
from trispike.network.network import Encoding
from trispike.network.readouts import ReadoutSteps
from trispike.quantize import Granularity, quantize
from trispike.runtime.activity import traffic_of
from trispike.runtime.anytime import Anytime, EarlyExit, Energy
from trispike.runtime.anytime import anytime as curve_of
from trispike.runtime.anytime import early_exit as run_until_confident
from trispike.runtime.anytime import exit_energy as price_exits
from trispike.runtime.data import Data
from trispike.runtime.energy import (
    Estimate,
    MemoryModel,
    Profile,
    estimate_energy,
    load_hardware,
)
from trispike.runtime.energy.twins import RELU_SPARSITY
from trispike.runtime.engine import Progress, Recording, Result
from trispike.runtime.engines import build_engine, default_engine
from trispike.runtime.explore import Explorer, Outcome, plan_from, points_of
from trispike.runtime.explore import explore as evaluate_points
from trispike.runtime.ledger import Ledger
from trispike.runtime.ledger_file import StoredLedger, load_ledgers, stored_ledger
from trispike.runtime.ledger_file import save_ledger as write_ledger
from trispike.runtime.pricing import check_hardware, events_per_inference, price_run
from trispike.runtime.sessions import engine_builder
from trispike.targets.loihi.placement import Placement

if TYPE_CHECKING:
    from torch import nn

    from trispike.export import Proof, Takes
    from trispike.quantize.finetune import Finetuning
    from trispike.runtime.report import Report

Array: TypeAlias = npt.NDArray[Any]

Hardware: TypeAlias = "str | PathLike[str] | Profile | MemoryModel"
"""Prices: a name, the path of a file, or themselves."""

PROOF_SAMPLES = 32
"""Samples of which every spike is compared after a conversion, unless more are asked for."""


FINETUNING_CALIBRATION = 256
"""Training samples that a network is quantized on before it is fine-tuned."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Conversion:
    """A folded network, and the proof that it behaves like its module."""

    network: FloatNetwork
    proof: Proof


def convert(
    module: nn.Module,
    example_input: Any,
    *,
    steps: int | None = None,
    encoding: Encoding | None = None,
    mean: Array | float = 0.0,
    std: Array | float = 1.0,
    readout: ReadoutSteps | None = None,
    takes: Takes | None = None,
    proof_samples: int = PROOF_SAMPLES,
    data_description: str = "given data",
    progress: Progress | None = None,
) -> Conversion:
    """Fold a trained module into a float network, and prove the two equal on the given data.

    Args:
        module: Built of affine layers and of neurons of ``trispike.nn``, of SpikingJelly, of
            snnTorch, or of classes made known with ``trispike.export.register_neuron``.
        example_input: Raw data, array or tensor: (N, C, H, W) or (N, F) for direct input,
            (N, T, C, H, W) or (N, T, F) for frames. Its shape is the network's, and its first
            ``proof_samples`` samples are what the proof runs on.
        steps: T; by default the module's own attribute ``steps``. Modules of QCFS activations
            have none: T follows from their levels.
        encoding: How the data enter; by default read from the number of axes, where (N, a, b) is
            refused as ambiguous.
        mean: Subtracted from the data before they enter the module, scalar or (C, 1, 1); becomes
            part of the network's input.
        std: Divides the data, after the mean.
        readout: For a module that returns logits at every step: which of them are averaged,
            ``"mean"`` (the default), ``"last"``, or chosen steps, counted from 0. A module that
            averages by itself is converted as it does.
        takes: What one call of the module takes: ``"batch"``, the data as they are;
            ``"sequence"``, (T, N, ...), time first; ``"step"``, one time step (N, ...), in T
            calls. By default ``"batch"``; for modules of SpikingJelly and snnTorch the first of
            ``"batch"``, ``"step"`` and ``"sequence"`` that the module can be followed with.
        proof_samples: How many samples to compare; at least 1.
        data_description: Where the data come from, for the record.
        progress: Called with the number of proved samples since the last call.

    Raises:
        UnsupportedError: A part of the module has no exact form.
        FoldingError: The folded network does not behave like the module.
        InvalidDataError: The data do not fit the module.
        InvalidSettingError: The number of time steps is nowhere stated, or below 1; or a readout
            step that is none.
        MissingDependencyError: PyTorch is not installed.
    """
    # Here, because everything after a conversion works without torch.
    from trispike.export import has_levels, prove, trace, trace_levels  # noqa: PLC0415
    from trispike.nn.models import Provenance, QCFSProvenance  # noqa: PLC0415

    if hasattr(example_input, "detach"):  # a tensor, perhaps on another device
        example_input = example_input.detach().cpu()
    data = np.asarray(example_input)
    provenance = getattr(module, "provenance", None)
    recorded = {}
    if isinstance(provenance, Provenance | QCFSProvenance):
        recorded = {"checkpoint": asdict(provenance)}
    if has_levels(module):
        _check_of_levels(
            data, proof_samples, steps=steps, encoding=encoding, readout=readout, takes=takes
        )
        traced = trace_levels(module, data.shape[1:], mean=mean, std=std, provenance=recorded)
        proof = prove(
            module, traced, data[:proof_samples], description=data_description, progress=progress
        )
        proof.check()
        return Conversion(network=traced.network, proof=proof)
    steps = getattr(module, "steps", None) if steps is None else steps
    if not isinstance(steps, int) or steps < 1:
        raise InvalidSettingError(
            "steps",
            got=repr(steps),
            expected="the number of time steps, at least 1",
            fix="Pass steps=T; no module states it unless it has an attribute of that name.",
        )
    if encoding is None:
        encoding = _encoding_of(module, data, steps)
    shape = data.shape[1 if encoding == "direct" else 2 :]
    if not data.size or len(shape) not in (1, 3) or proof_samples < 1:
        raise InvalidDataError(
            "example_input",
            got=f"shape {data.shape} for {encoding} encoding, and proof_samples {proof_samples}",
            expected="at least one sample of shape (C, H, W) or (F,), with T in front for frames",
            fix="Pass a batch of real data.",
        )
    traced = trace(
        module,
        shape,
        steps=steps,
        encoding=encoding,
        mean=mean,
        std=std,
        readout=readout,
        takes=takes,
        provenance=recorded,
    )
    proof = prove(
        module, traced, data[:proof_samples], description=data_description, progress=progress
    )
    proof.check()
    return Conversion(network=traced.network, proof=proof)


def _check_of_levels(data: Array, proof_samples: int, **given: Any) -> None:
    """Refuse what does not go with a module of QCFS activations, from which time follows."""
    if not data.size or data.ndim not in (2, 4) or proof_samples < 1:
        raise InvalidDataError(
            "example_input",
            got=f"shape {data.shape}, and proof_samples {proof_samples}",
            expected="at least one sample (N, C, H, W) or (N, F), for QCFS activations",
            fix="Pass a batch of real data.",
        )
    fits = {"encoding": (None, "once"), "takes": (None, "batch")}
    for name, value in given.items():
        if value not in fits.get(name, (None,)):
            raise InvalidSettingError(
                name,
                got=repr(value),
                expected=f"no {name} for a module of QCFS activations",
                fix="Leave it out: an image enters once, and the time steps follow from the "
                "levels of the activations.",
            )


def _encoding_of(module: nn.Module, data: Array, steps: int) -> Encoding:
    found: Encoding | None = None
    if data.ndim in (2, 4):
        found = "direct"
    elif data.ndim == 5 and data.shape[1] == steps:
        found = "frames"
    # A reference model knows what it takes.
    kind = getattr(module, "input_kind", None)
    takes = {"static": "direct", "frames": "frames"}.get(str(kind), found)
    if found is None or found != takes:
        stated = f", and a module that takes {kind} input" if found else ""
        raise InvalidDataError(
            "example_input",
            got=f"shape {data.shape} for {steps} steps{stated}",
            expected="(N, C, H, W) or (N, F), or (N, T, C, H, W) with T = steps",
            fix="Pass data that the module takes, or state the encoding: encoding='direct', "
            "'frames' or 'spikes'.",
        )
    return found


def finetune(
    network: FloatNetwork,
    data: Array,
    labels: Array,
    *,
    weight_bits: int = 4,
    granularity: Granularity = "channel",
    calibration: Array | None = None,
    validation: tuple[Array, Array] | float = 0.1,
    checkpoint: str | PathLike[str] | None = None,
    fast: bool = False,
    progress: Progress | None = None,
    **settings: Any,
) -> Finetuning:
    """Quantize a float network, and train it on as the integer network that it becomes.

    For more choices, such as augmentation or another quantization, see
    ``trispike.quantize.finetune``.

    Args:
        network: A float network; it is not changed.
        data: Raw training data, as ``network.input.encode`` takes them.
        labels: (N,) classes.
        weight_bits: Width of a weight, sign included, 2..8; with 2 bits weights are -1, 0 and 1.
        granularity: One weight scale per output channel, or one per layer.
        calibration: Raw data to quantize on; by default the first 256 training samples.
        validation: Data and labels by which the best epoch is chosen, or the share of the training
            data that is set aside for that.
        checkpoint: File in which the state is kept, and from which training goes on if it is there.
        fast: Compiled neurons and gradients in bfloat16; needs a C++ compiler.
        progress: Called with the number of training samples finished since the last call.
        settings: Fields of ``trispike.quantize.finetune.Settings``: epochs, learning_rate,
            batch_size, loss, trained, surrogate, patience, seed.

    Returns:
        ``network``, the integer network of the best epoch, and ``record``, how it was found.

    Raises:
        InvalidDataError: Data or labels do not fit the network, or are out of range.
        InvalidSettingError: A setting is unknown or out of range, or the checkpoint is of another
            run.
        QuantizationError: The network has no integer form, or the training diverged.
        UnsupportedError: Sums of a layer can leave what float64 holds.
        FileFormatError: The checkpoint is damaged.
        MissingDependencyError: PyTorch is not installed.
    """
    from trispike.quantize import finetune as tuning  # noqa: PLC0415

    known = {field.name for field in fields(tuning.Settings)}
    if unknown := sorted(set(settings) - known):
        raise InvalidSettingError(
            "settings",
            got=", ".join(unknown),
            expected="some of " + ", ".join(sorted(known)),
            fix="Choose among these.",
        )
    quantization = quantize(
        network,
        np.asarray(data)[:FINETUNING_CALIBRATION] if calibration is None else calibration,
        weight_bits=weight_bits,
        granularity=granularity,
    )
    return tuning.finetune(
        network,
        quantization,
        data,
        labels,
        validation=validation,
        settings=tuning.Settings(**settings),
        checkpoint=checkpoint,
        fast=fast,
        progress=progress,
    )


def simulate(
    network: Network,
    data: Array,
    labels: Array | None = None,
    *,
    engine: str | None = None,
    record: Recording = None,
    per_sample: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> Result:
    """Run data through a network.

    Args:
        network: A network; not every engine runs float ones.
        data: Raw data, as ``network.input.encode`` takes them.
        labels: (N,) classes, for the accuracy.
        engine: A name in ``trispike.runtime.engines.ENGINES``; by default ``"fast"`` if torch and
            numba are installed, else ``"reference"``.
        record: Population name to traces out of "s", "i", "c", "v"; "all" for everything.
        per_sample: Count what happens in every single sample, too: ``result.ledger.per_sample``.
        progress: Called with the number of samples finished since the last call.
        options: Passed to the engine: ``strict`` (all), ``memory``, ``threads`` and ``device``
            (fast), ``batch_size`` (reference, onnx), ``timeout`` (lava), and so on.

    Raises:
        InvalidSettingError: An unknown engine.
        InvalidDataError: Data, labels or recording do not fit the network.
        UnsupportedError: The engine cannot run this network.
        SaturationError: A state left its range, in strict mode.
        MissingDependencyError: The engine needs a package that is not installed.
    """
    built = build_engine(engine or default_engine(network), network, **options)
    return built.run(data, labels, record=record, progress=progress, per_sample=per_sample)


def estimate(
    what: Network | Result | Ledger | StoredLedger,
    data: Array | None = None,
    labels: Array | None = None,
    *,
    network: Network | None = None,
    hardware: Hardware = "loihi1",
    assumptions: Mapping[str, float] | None = None,
    placement: Placement | None = None,
    latency_seconds: float | None = None,
    engine: str | None = None,
    progress: Progress | None = None,
) -> Estimate:
    """Count the events of a network on data and price them.

    Args:
        what: A network; or a finished run (what :func:`simulate` or :func:`load_ledger` returned,
            or its ledger), which is priced as it is.
        data: With a network: raw data. With a finished run: those that it ran on, for what a
            ledger does not hold: the events of the input under a memory model, and messages.
        labels: With a network: (N,) classes.
        network: With a finished run: what ran. Needed by a memory model and by a placement; prices
            that depend on how synapses are stored need it, too.
        hardware: A profile or a memory model: its name, the path of its file, or itself.
        assumptions: Prices in pJ by event, where the profile has none or another.
        placement: Of the network: messages and hops are counted on it, in a second run.
        latency_seconds: How long an inference takes on the hardware, for its static power.
        engine: What runs the network, as in :func:`simulate`.
        progress: Called with the number of samples finished since the last call.

    Raises:
        InvalidSettingError: An unknown profile, engine or event, a negative price, or a finished
            run without the network where it is needed.
        InvalidDataError: A network without data, nothing was run, or a run of another network.
        FileFormatError: The profile file is not a profile.
        UnsupportedError: A float network on a placement.
    """
    prices = _prices(hardware)
    check_hardware(prices, assumptions, placed=placement is not None)
    if isinstance(what, Network):
        if data is None:
            raise InvalidDataError(
                "estimate",
                got="a network without data",
                expected="data to count events on",
                fix="Pass data, or the result of simulate.",
            )
        network = what
        what = simulate(network, data, labels, engine=engine, per_sample=True, progress=progress)
    if isinstance(what, StoredLedger) and network is not None:
        what.check_network(network)
    ledger = what if isinstance(what, Ledger) else what.ledger
    if network is None:
        if isinstance(prices, MemoryModel) or placement is not None:
            raise InvalidSettingError(
                "estimate",
                got=f"a finished run without its network, and {prices.id}"
                + (" on a placement" if placement is not None else ", a memory model"),
                expected="the network, whose memories, neurons and cores are priced",
                fix="Pass network=... beside the run.",
            )
        return estimate_energy(ledger, prices, assumptions, latency_seconds=latency_seconds)
    traffic = None
    if placement is not None:
        if data is None:
            raise InvalidDataError(
                "estimate",
                got="a placement without data",
                expected="the data of the run, to count messages on",
                fix="Pass data=..., or leave the placement out.",
            )
        built = build_engine(engine or default_engine(network), network)
        traffic = traffic_of(built, placement, np.asarray(data))
    events = what.events_per_inference if isinstance(what, StoredLedger) else None
    if data is not None:
        events = events_per_inference(network, np.asarray(data))
    return price_run(
        network,
        ledger,
        prices,
        assumptions=assumptions,
        input_events=events,
        placement=placement,
        traffic=traffic,
        latency_seconds=latency_seconds,
    )


def save_ledger(
    result: Result,
    network: Network,
    data: Array,
    path: str | PathLike[str],
    *,
    name: str = "given data",
) -> StoredLedger:
    """Write the counts of a run to a file, to be priced again without another run.

    Args:
        result: The run; with ``per_sample=True`` its counts of every sample are kept, too.
        network: What ran.
        data: What it ran on.
        path: A ``.safetensors`` file.
        name: Where the data come from.

    Raises:
        InvalidSettingError: Another suffix.
    """
    stored = stored_ledger(result, network, np.asarray(data), name)
    write_ledger(stored, path)
    return stored


def load_ledger(path: str | PathLike[str], *shards: str | PathLike[str]) -> StoredLedger:
    """Read the counts of a run; of several files, as one, in their order.

    Raises:
        FileFormatError: No ledger.
        FileNotFoundError: No such file.
        InvalidDataError: Files that do not make a whole: other networks, the same data twice.
    """
    return load_ledgers([path, *shards])


def anytime(
    network: Network,
    data: Array,
    labels: Array,
    *,
    hardware: Hardware = "loihi1",
    assumptions: Mapping[str, float] | None = None,
    max_steps: int | None = None,
    engine: str | None = None,
    progress: Progress | None = None,
) -> Anytime:
    """Accuracy and energy after each time step.

    Args:
        network: A network.
        data: Raw data.
        labels: (N,) classes.
        hardware: As in :func:`estimate`.
        assumptions: As in :func:`estimate`.
        max_steps: Go on beyond the network's own T; by default as far as T.
        engine: As in :func:`simulate`.
        progress: As in :func:`simulate`.

    Raises:
        InvalidSettingError: As :func:`estimate`.
        InvalidDataError: Data or labels do not fit, or have fewer frames than there are steps.
        UnsupportedError: The readout has no meaning over another number of steps.
    """
    prices = _prices(hardware)
    check_hardware(prices, assumptions, stepwise=True)
    longer = with_steps(network, max(network.steps, max_steps or 0))
    result = simulate(longer, data, labels, engine=engine, progress=progress)
    return curve_of(
        longer, np.asarray(data), result, prices, assumptions, network_steps=network.steps
    )


def early_exit(
    network: Network,
    data: Array,
    labels: Array | None = None,
    *,
    confidence: float,
    engine: str | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> EarlyExit:
    """Run each sample until the network is confident, at most over all of its steps.

    Args:
        network: A network.
        data: Raw data.
        labels: (N,) classes, for the accuracy.
        confidence: Softmax probability at which a sample leaves, between 0 and 1.
        engine: As in :func:`simulate`.
        progress: As in :func:`simulate`; each sample counts twice.
        options: Passed to the engine.

    Raises:
        InvalidSettingError: A confidence that is not between 0 and 1, or an unknown engine.
        InvalidDataError: Data or labels do not fit the network, or there are no samples.
        UnsupportedError: The readout has no meaning over fewer steps.
    """
    with engine_builder(engine or default_engine(network), **options) as build:
        return run_until_confident(
            network, data, labels, confidence=confidence, build=build, progress=progress
        )


def exit_energy(
    network: Network,
    data: Array,
    run: EarlyExit,
    *,
    hardware: Hardware = "loihi1",
    assumptions: Mapping[str, float] | None = None,
) -> Energy:
    """Energy per inference of a run with early exits.

    Args:
        network: What ran.
        data: What it ran on.
        run: What :func:`early_exit` returned.
        hardware: As in :func:`estimate`.
        assumptions: As in :func:`estimate`.

    Raises:
        InvalidSettingError: As :func:`estimate`.
    """
    return price_exits(network, np.asarray(data), run, _prices(hardware), assumptions)


def explore(
    network: Network,
    data: Array,
    labels: Array,
    *,
    sweep: Mapping[str, Any],
    results: str | PathLike[str],
    calibration: Array | None = None,
    points: int | None = None,
    seed: int = 0,
    hardware: Hardware = "loihi1",
    assumptions: Mapping[str, float] | None = None,
    engine: str | None = None,
    progress: Progress | None = None,
) -> list[Outcome]:
    """Quantize, run and price a network in many ways.

    Args:
        network: A float network, quantized anew for every point; or an integer one.
        data: Raw data.
        labels: (N,) classes.
        sweep: What to try, as ``[sweep]`` of a plan: the fields of
            ``trispike.runtime.explore.Sweep``.
        results: The file that keeps the outcomes; points that are in it are not run again.
        calibration: Of a float network: raw data to quantize it on.
        points: Draw so many at random; by default all combinations.
        seed: Of the random search.
        hardware: As in :func:`estimate`.
        assumptions: As in :func:`estimate`.
        engine: As in :func:`simulate`.
        progress: Called with the number of points finished since the last call.

    Raises:
        InvalidSettingError: An entry of the sweep, a profile or an engine that does not fit.
        InvalidDataError: Data or labels do not fit the network.
        FileFormatError: The results file is another kind of file.
    """
    named = "given data"
    plan = plan_from(
        {
            "network": "given network",
            "data": named,
            "calibration": None if calibration is None else named,
            "search": "grid" if points is None else "random",
            "points": points,
            "seed": seed,
            "sweep": sweep,
        },
        "explore",
    )
    chosen = points_of(plan, network)
    given = Data(np.asarray(data), np.asarray(labels), named)
    calibrated = None if calibration is None else Data(np.asarray(calibration), None, named)
    with engine_builder(engine or default_engine()) as build:
        explorer = Explorer(
            network,
            given,
            _prices(hardware),
            build,
            calibration=calibrated,
            assumptions=assumptions,
        )
        return evaluate_points(explorer, chosen, results, progress)


def report(
    network: Network,
    data: Array | StoredLedger,
    labels: Array | None = None,
    *,
    output: str | PathLike[str],
    hardware: Sequence[Hardware] | None = None,
    assumptions: Mapping[str, Mapping[str, float]] | None = None,
    placement: Placement | None = None,
    latency_seconds: float | None = None,
    relu_sparsity: float = RELU_SPARSITY,
    max_steps: int | None = None,
    network_name: str = "network",
    data_name: str = "given data",
    engine: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Write a page about the energy per inference: one HTML file that loads nothing.

    Args:
        network: A network.
        data: Raw data; or what :func:`load_ledger` returned, which runs nothing and has no curve.
        labels: With data: (N,) classes.
        output: The file.
        hardware: Each as in :func:`estimate`, the first gives the headline; by default those of
            ``trispike report``.
        assumptions: By id of the hardware: prices in pJ by event.
        placement: With data: of the network.
        latency_seconds: How long an inference takes on the hardware, for its static power.
        relu_sparsity: Share of zeros that the sparse dense network skips, 0..1.
        max_steps: With data: let the curve go on beyond the network's own T.
        network_name: What the network is called on the page.
        data_name: What the data are called on it.
        engine: As in :func:`simulate`.
        progress: As in :func:`simulate`.

    Returns:
        Everything that the page shows.

    Raises:
        MissingDependencyError: Jinja2 is not installed.
        InvalidSettingError: As :func:`estimate`, or settings of a run beside a stored ledger.
        InvalidDataError: As :func:`estimate`, or no samples.
    """
    from trispike.runtime import report as pages  # noqa: PLC0415 - needs an optional package

    named = hardware or pages.DEFAULT_HARDWARE[network.kind]
    prices = [_prices(one) for one in named]
    pages.checked_hardware(prices, assumptions, placed=placement is not None)
    origin = pages.Origin(network=network_name, data=data_name)
    settings: dict[str, Any] = {
        "origin": origin, "assumptions": assumptions, "latency_seconds": latency_seconds,
        "relu_sparsity": relu_sparsity,
    }  # fmt: skip
    if isinstance(data, StoredLedger):
        if labels is not None or placement is not None or max_steps is not None:
            raise InvalidSettingError(
                "report",
                got="a stored ledger, beside labels, a placement or more steps",
                expected="data, which these need",
                fix="Pass data, or leave the others out.",
            )
        page = pages.build_report(network, None, data, prices, **settings)
    else:
        inputs = np.asarray(data)
        result = simulate(
            network, inputs, labels, engine=engine, per_sample=True, progress=progress
        )
        longer, traffic = None, None
        if max_steps is not None and max_steps > network.steps:
            longer = simulate(with_steps(network, max_steps), inputs, labels, engine=engine)
        if placement is not None:
            built = build_engine(engine or default_engine(network), network)
            traffic = traffic_of(built, placement, inputs)
        page = pages.build_report(
            network, inputs, result, prices, placement=placement, traffic=traffic,
            longer=longer, **settings,
        )  # fmt: skip
    pages.write_report(page, Path(output))
    return page


def _prices(hardware: Hardware) -> Profile | MemoryModel:
    return hardware if isinstance(hardware, Profile | MemoryModel) else load_hardware(hardware)
