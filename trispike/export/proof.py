"""The proof that a folded network is its module: spike by spike, on the user's data.

Every population is compared on its own: its input is computed by the folded connections from the
spikes that the *module* fired, and its state is advanced with them. So a difference is a
difference of that population, and not an echo of one before it. Rounding can flip a spike only
where the potential lies at the threshold; every mismatch is reported with that distance.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from trispike.errors import FoldingError
from trispike.export.trace import Traced
from trispike.network import FloatNetwork
from trispike.network.dynamics import time_steps

Array: TypeAlias = npt.NDArray[Any]
Precision: TypeAlias = Literal["float64", "float32"]

TOLERANCE: dict[Precision, float] = {"float64": 1e-9, "float32": 1e-5}
"""A mismatch is explained by rounding if |v - threshold| is smaller than this."""

LISTED = 20
"""Mismatches that are kept with all details; all are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """One neuron that fired otherwise in the module than in the network."""

    population: str
    sample: int
    step: int
    neuron: tuple[int, ...]
    module_spike: int
    network_spike: int
    distance: float
    """|v - nearest threshold| in the network."""
    explained: bool
    """Whether the distance is within rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was compared, and how it came out."""

    samples: int
    """Number of samples."""
    data: str
    """Where they came from, in words."""
    precision: Precision
    """Arithmetic of the module."""
    spikes_compared: int
    """Neurons times steps times samples."""
    spikes_fired: int
    """How many of these fired, either sign: a silent network proves little."""
    spike_mismatches: int
    """How many differed."""
    unexplained_mismatches: int
    """How many of these are not explained by rounding."""
    largest_logit_difference: float
    """Between module and folded readout, on the module's spikes."""
    logit_tolerance: float
    """What rounding allows for it."""
    predictions_equal: int
    """Samples for which both predict the same class."""
    mismatches: tuple[Mismatch, ...] = field(default=())
    """The first ones, unexplained before explained."""

    @property
    def holds(self) -> bool:
        """No unexplained mismatch, and logits within rounding."""
        return (
            self.unexplained_mismatches == 0
            and self.largest_logit_difference <= self.logit_tolerance
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {**asdict(self), "holds": self.holds}

    def check(self) -> None:
        """Raise FoldingError unless the proof holds."""
        if self.holds:
            return
        got = f"{self.unexplained_mismatches} unexplained spike mismatches"
        if self.mismatches:
            m = self.mismatches[0]
            got += (
                f", the first in population {m.population!r}, sample {m.sample}, step {m.step}, "
                f"neuron {m.neuron}: module {m.module_spike:+d}, network {m.network_spike:+d}, "
                f"{m.distance:.3g} from the threshold"
            )
        got += f"; logits that differ by up to {self.largest_logit_difference:.3g}"
        raise FoldingError(
            "folded network",
            got=got,
            expected="spikes equal to the module's, but for potentials within rounding of the "
            f"threshold, and logits within {self.logit_tolerance:.3g}",
            fix="This is a defect of the conversion, or the module's forward depends on something "
            "that is not in it; please report it with the architecture.",
        )


def prove(
    module: nn.Module,
    traced: Traced,
    data: Array,
    *,
    description: str = "given data",
    precision: Precision = "float64",
    batch_size: int = 16,
    progress: Callable[[int], None] | None = None,
) -> Proof:
    """Run module and folded network on the same data and compare every spike.

    Args:
        module: What was traced; it is copied and put into evaluation mode.
        traced: What :func:`trispike.export.trace.trace` returned for it.
        data: Raw data, as ``network.input.encode`` takes them.
        description: Where the data come from, for the record.
        precision: Arithmetic of the module; the network's is float64.
        batch_size: Samples that are run together; bounds the memory.
        progress: Called with the number of samples finished since the last call.

    Raises:
        InvalidDataError: The data do not fit the network.
    """
    module = copy.deepcopy(module).eval().to(getattr(torch, precision))
    network = traced.network
    encoded = network.input.encode(data, network.steps)
    tally = _Tally(precision)
    for first in range(0, len(encoded), batch_size):
        batch = encoded[first : first + batch_size]
        spikes, logits = _run_module(module, traced, batch, precision)
        _compare(network, batch, spikes, logits, first, tally)
        if progress:
            progress(len(batch))
    return tally.proof(len(encoded), description)


class _Tally:
    def __init__(self, precision: Precision) -> None:
        self.precision = precision
        self.compared = self.fired = self.different = self.unexplained = self.agreeing = 0
        self.logit_difference = 0.0
        self.logit_size = 1.0
        self.listed: list[Mismatch] = []

    def spikes(
        self, population: str, first: int, t: int, module: Array, network: Array, distance: Array
    ) -> None:
        self.compared += module.size
        self.fired += int(np.count_nonzero(module))
        for index in np.argwhere(module != network):
            at = tuple(index)
            explained = bool(distance[at] < TOLERANCE[self.precision])
            self.different += 1
            self.unexplained += not explained
            if len(self.listed) < LISTED or not explained:
                self.listed.append(
                    Mismatch(
                        population=population,
                        sample=first + int(index[0]),
                        step=t,
                        neuron=tuple(int(n) for n in index[1:]),
                        module_spike=int(module[at]),
                        network_spike=int(network[at]),
                        distance=float(distance[at]),
                        explained=explained,
                    )
                )
                self.listed.sort(key=lambda m: m.explained)
                del self.listed[LISTED:]

    def logits(self, module: Array, network: Array) -> None:
        self.logit_difference = max(self.logit_difference, float(np.abs(module - network).max()))
        self.logit_size = max(self.logit_size, float(np.abs(module).max()))
        self.agreeing += int((module.argmax(1) == network.argmax(1)).sum())

    def proof(self, samples: int, description: str) -> Proof:
        return Proof(
            samples=samples,
            data=description,
            precision=self.precision,
            spikes_compared=self.compared,
            spikes_fired=self.fired,
            spike_mismatches=self.different,
            unexplained_mismatches=self.unexplained,
            largest_logit_difference=self.logit_difference,
            logit_tolerance=TOLERANCE[self.precision] * self.logit_size,
            predictions_equal=self.agreeing,
            mismatches=tuple(self.listed),
        )


def _run_module(
    module: nn.Module, traced: Traced, batch: Array, precision: Precision
) -> tuple[dict[str, Array], Array]:
    """Spikes of every population, (T, N, *shape), and logits averaged as the network does."""
    outputs: dict[str, list[Array]] = {p.path: [] for p in traced.populations}

    def keep(path: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            outputs[path].append(output.detach().cpu().numpy())

        return hook

    handles = [
        module.get_submodule(path).register_forward_hook(keep(path)) for path in list(outputs)
    ]
    try:
        with torch.no_grad():
            result = module(torch.from_numpy(batch).to(getattr(torch, precision)))
    finally:
        for handle in handles:
            handle.remove()
    spikes = {}
    for p in traced.populations:
        output = np.moveaxis(outputs[p.path][p.call], p.adapted.time_axis, 0)
        shape = traced.network.populations[p.name].shape
        amplitude = np.broadcast_to(p.adapted.amplitude, output.shape[2:])
        # Spikes of amplitude zero cannot be seen in the output, nor by what reads it.
        seen = np.divide(output, amplitude, out=np.zeros_like(output), where=amplitude != 0)
        spikes[p.name] = np.rint(seen).astype(np.int8).reshape(*output.shape[:2], *shape)
    return spikes, _module_logits(result.cpu().numpy().astype(np.float64), traced.network)


def _module_logits(result: Array, network: FloatNetwork) -> Array:
    if result.ndim == 2:
        return result
    # The readout averages what the module returned for every step, wherever its time axis is.
    time_axis = 0 if result.shape[0] == network.steps else 1
    return np.tensordot(network.readout.weights, result, axes=(0, time_axis))


def _compare(
    network: FloatNetwork,
    batch: Array,
    spikes: dict[str, Array],
    module_logits: Array,
    first: int,
    tally: _Tally,
) -> None:
    logits = np.zeros((len(batch), network.readout.classes))
    for step in time_steps(network, batch, observed=spikes):
        for name, own in step.populations.items():
            neuron = network.populations[name].neuron
            distance = np.minimum(np.abs(own.v - neuron.th_pos), np.abs(own.v + neuron.th_neg))
            tally.spikes(name, first, step.t, spikes[name][step.t], own.spikes, distance)
        logits += network.readout.weights[step.t] * step.logits
    tally.logits(module_logits, logits)
