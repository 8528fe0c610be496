"""The jobs of trispike as plain functions: what the command line does, from Python.

```python
module = trispike.load_checkpoint("net.pth", "ctsn-resnet19", steps=4)
conversion = trispike.convert(module, images)
quantization = trispike.quantize(conversion.network, images, labels)
result = trispike.simulate(quantization.network, images, labels, engine="lava")
estimate = trispike.estimate(result, hardware="loihi1")
certificate = trispike.verify(quantization.network, images)
```
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.errors import InvalidDataError, InvalidSettingError
from trispike.network import FloatNetwork, Network
from trispike.network.network import Encoding
from trispike.runtime.energy import (
    Estimate,
    MemoryModel,
    Profile,
    estimate_energy,
    load_hardware,
    prices_of,
)
from trispike.runtime.engine import Progress, Recording, Result
from trispike.runtime.engines import build_engine, default_engine
from trispike.runtime.ledger import Ledger
from trispike.runtime.pricing import pricing

if TYPE_CHECKING:
    from torch import nn

    from trispike.export import Proof

Array: TypeAlias = npt.NDArray[Any]

PROOF_SAMPLES = 32
"""Samples of which every spike is compared after a conversion, unless more are asked for."""


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
    proof_samples: int = PROOF_SAMPLES,
    data_description: str = "given data",
    progress: Progress | None = None,
) -> Conversion:
    """Fold a trained module into a float network, and prove the two equal on the given data.

    Args:
        module: Built of affine layers and of neurons of ``trispike.nn``, or of classes made known
            with ``trispike.export.register_neuron``.
        example_input: Raw data, array or tensor: (N, C, H, W) or (N, F) for direct input,
            (N, T, C, H, W) or (N, T, F) for frames. Its shape is the network's, and its first
            ``proof_samples`` samples are what the proof runs on.
        steps: T; by default the module's own attribute ``steps``.
        encoding: How the data enter; by default read from the number of axes, where (N, a, b) is
            refused as ambiguous.
        mean: Subtracted from the data before they enter the module, scalar or (C, 1, 1); becomes
            part of the network's input.
        std: Divides the data, after the mean.
        proof_samples: How many samples to compare; at least 1.
        data_description: Where the data come from, for the record.
        progress: Called with the number of proved samples since the last call.

    Raises:
        UnsupportedError: A part of the module has no exact form.
        FoldingError: The folded network does not behave like the module.
        InvalidDataError: The data do not fit the module.
        InvalidSettingError: The number of time steps is nowhere stated, or below 1.
        MissingDependencyError: PyTorch is not installed.
    """
    # Here, because everything after a conversion works without torch.
    from trispike.export import prove, trace  # noqa: PLC0415
    from trispike.nn import Provenance  # noqa: PLC0415

    if hasattr(example_input, "detach"):  # a tensor, perhaps on another device
        example_input = example_input.detach().cpu()
    data = np.asarray(example_input)
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
    provenance = getattr(module, "provenance", None)
    recorded = {"checkpoint": asdict(provenance)} if isinstance(provenance, Provenance) else {}
    traced = trace(
        module, shape, steps=steps, encoding=encoding, mean=mean, std=std, provenance=recorded
    )
    proof = prove(
        module, traced, data[:proof_samples], description=data_description, progress=progress
    )
    proof.check()
    return Conversion(network=traced.network, proof=proof)


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


def simulate(
    network: Network,
    data: Array,
    labels: Array | None = None,
    *,
    engine: str | None = None,
    record: Recording = None,
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
    built = build_engine(engine or default_engine(), network, **options)
    return built.run(data, labels, record=record, progress=progress)


def estimate(
    what: Network | Result | Ledger,
    data: Array | None = None,
    labels: Array | None = None,
    *,
    hardware: str | PathLike[str] | Profile | MemoryModel = "loihi1",
    assumptions: Mapping[str, float] | None = None,
    engine: str | None = None,
    progress: Progress | None = None,
) -> Estimate:
    """Count the events of a network on data and price them.

    Args:
        what: A network; or a finished run (what :func:`simulate` returned, or its ledger), which
            is priced as it is.
        data: With a network: raw data.
        labels: With a network: (N,) classes.
        hardware: A profile or a memory model: its name, the path of its file, or itself. A memory
            model takes a network with data.
        assumptions: Prices in pJ by event, where the profile has none or another.
        engine: With a network: what runs it, as in :func:`simulate`.
        progress: With a network: called with the number of samples finished since the last call.

    Raises:
        InvalidSettingError: An unknown profile, engine or event, or a negative price.
        InvalidDataError: A network without data, or nothing was run.
        FileFormatError: The profile file is not a profile.
    """
    prices = hardware if isinstance(hardware, Profile | MemoryModel) else load_hardware(hardware)
    model = None
    if isinstance(prices, Profile):
        prices_of(prices, assumptions)  # fails before the long part, if it does
    else:
        model = pricing(prices, assumptions)
    if isinstance(what, Network):
        if data is None:
            raise InvalidDataError(
                "estimate",
                got="a network without data",
                expected="data to count events on",
                fix="Pass data, or the result of simulate.",
            )
        result = simulate(what, data, labels, engine=engine, progress=progress)
        if model is not None:
            return model(what, result.ledger, data)
        what = result
    if model is not None:
        raise InvalidSettingError(
            "estimate",
            got=f"a finished run, and {prices.id}, a memory model",
            expected="the network, whose memories and neurons it prices",
            fix="Pass the network and the data.",
        )
    ledger = what.ledger if isinstance(what, Result) else what
    assert isinstance(prices, Profile)
    return estimate_energy(ledger, prices, assumptions)
