"""The proof that a folded network is its module: spike by spike, on the user's data.

Every population is compared on its own: its input is computed by the folded connections from the
spikes that the *module* fired, and its state is advanced with them. So a difference is a
difference of that population, and not an echo of one before it. Rounding can flip a spike only
where the potential lies at the threshold; every mismatch is reported with that distance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from trispike.errors import FoldingError, InvalidDataError, TrispikeError
from trispike.export.levels import AdaptedActivation
from trispike.export.takes import first_output, working_copy
from trispike.export.tracing import Traced
from trispike.export.walk import TracedPopulation
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
    """Neurons times steps times samples. Neurons whose spikes have amplitude zero are left out:
    nothing sees what they do."""
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
        module: What was traced; a copy in evaluation mode runs.
        traced: What :func:`trispike.export.tracing.trace` returned for it.
        data: Raw data, as ``network.input.encode`` takes them.
        description: Where the data come from, for the record.
        precision: Arithmetic of the module; the network's is float64.
        batch_size: Samples that are run together; bounds the memory.
        progress: Called with the number of samples finished since the last call.

    Raises:
        InvalidDataError: There are no data, or they do not fit the network or the module.
        FoldingError: A neuron of the module puts out something else than spikes times the
            amplitude that its adapter states.
    """
    network = traced.network
    encoded = network.input.encode(data, network.steps)
    if not len(encoded):
        raise InvalidDataError(
            "data of the proof", got="no samples", expected="at least one", fix="Pass real data."
        )
    tally = _Tally(precision)
    for first in range(0, len(encoded), batch_size):
        batch = encoded[first : first + batch_size]
        spikes, logits = _run_module(module, traced, batch, precision)
        _compare(traced, batch, spikes, logits, first, tally)
        if progress:
            progress(len(batch))
    return tally.proof(len(encoded), description)


class _Tally:
    def __init__(self, precision: Precision) -> None:
        self.precision = precision
        self.compared = self.fired = self.agreeing = 0
        self.logit_difference = 0.0
        self.logit_size = 1.0
        # Keyed by whether rounding explains them.
        self.mismatches = {False: 0, True: 0}
        self.listed: dict[bool, list[Mismatch]] = {False: [], True: []}

    def spikes(
        self, population: str, first: int, t: int, fired: _Fired, own: Array, distance: Array
    ) -> None:
        module = fired.spikes[t]
        self.compared += len(module) * int(np.count_nonzero(fired.visible))
        self.fired += int(np.count_nonzero(module))
        different = (module != own) & fired.visible
        within = distance < TOLERANCE[self.precision]
        for explained in (False, True):
            where = np.argwhere(different & (within == explained))
            self.mismatches[explained] += len(where)
            listed = self.listed[explained]
            for at in map(tuple, where[: LISTED - len(listed)].tolist()):
                listed.append(
                    Mismatch(
                        population=population,
                        sample=first + at[0],
                        step=t,
                        neuron=at[1:],
                        module_spike=int(module[at]),
                        network_spike=int(own[at]),
                        distance=float(distance[at]),
                        explained=explained,
                    )
                )

    def logits(self, module: Array, network: Array) -> None:
        # np.maximum keeps a NaN, which is within no tolerance.
        largest = np.maximum(self.logit_difference, np.abs(module - network).max())
        self.logit_difference = float(largest)
        self.logit_size = max(self.logit_size, float(np.abs(network).max()))
        self.agreeing += int((module.argmax(1) == network.argmax(1)).sum())

    def proof(self, samples: int, description: str) -> Proof:
        return Proof(
            samples=samples,
            data=description,
            precision=self.precision,
            spikes_compared=self.compared,
            spikes_fired=self.fired,
            spike_mismatches=sum(self.mismatches.values()),
            unexplained_mismatches=self.mismatches[False],
            largest_logit_difference=self.logit_difference,
            logit_tolerance=TOLERANCE[self.precision] * self.logit_size,
            predictions_equal=self.agreeing,
            mismatches=tuple((self.listed[False] + self.listed[True])[:LISTED]),
        )


class _Fired(NamedTuple):
    """What a neuron module fired."""

    spikes: npt.NDArray[np.int8]
    """(T, N, *shape)."""
    visible: npt.NDArray[np.bool_]
    """Of the population's shape: spikes of amplitude zero are seen by nobody, and stand as 0."""


def _run_module(
    module: nn.Module, traced: Traced, batch: Array, precision: Precision
) -> tuple[dict[str, _Fired], Array]:
    """What every population fired, and the logits averaged as the network does."""
    # A copy for each batch, because a foreign neuron may keep its state from call to call.
    dtype = getattr(torch, precision)
    in_time = traced.network.input.encoding != "direct"
    module = working_copy(
        module, dtype, takes=traced.takes, steps=traced.network.steps, in_time=in_time
    )
    outputs: dict[str, list[Array]] = {p.path: [] for p in traced.populations}

    def keep(path: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            outputs[path].append(first_output(output).numpy())

        return hook

    for path in outputs:
        module.get_submodule(path).register_forward_hook(keep(path))
    # What is presented once, at the first step, is all that such a module takes.
    given = batch[:, 0] if traced.network.input.encoding == "once" else batch
    try:
        with torch.no_grad():
            result = first_output(module(torch.from_numpy(given).to(dtype)))
    except TrispikeError:
        raise
    except Exception as error:
        raise InvalidDataError(
            f"module {type(module).__name__!r}",
            got=f"an error when it ran on data of shape {given.shape} in {precision}: {error}",
            expected="a forward pass",
            fix="Check the shape of the data, and that the module runs as module.double()(data).",
        ) from error
    fired = {p.name: _fired(p, traced, outputs[p.path], precision) for p in traced.populations}
    logits = result.numpy().astype(np.float64)
    if traced.output_time_axis is not None:
        axes = (0, traced.output_time_axis)
        logits = np.tensordot(traced.output_weights, logits, axes=axes)
    return fired, logits.reshape(len(batch), -1)


def _fired(
    p: TracedPopulation, traced: Traced, outputs: list[Array], precision: Precision
) -> _Fired:
    """What a population fired, from the outputs of its module's calls."""
    if isinstance(p.adapted, AdaptedActivation):
        return _counted(p, p.adapted, traced, outputs[p.call], precision)
    if p.adapted.time_axis is None:
        output = np.stack(outputs)
    else:
        output = np.moveaxis(outputs[p.call], p.adapted.time_axis, 0)
    shape = traced.network.populations[p.name].shape
    amplitude = np.broadcast_to(p.adapted.amplitude, output.shape[2:])
    units = np.divide(output, amplitude, out=np.zeros_like(output), where=amplitude != 0)
    spikes = np.clip(np.rint(np.nan_to_num(units)), -1, 1).astype(np.int8)
    tolerance = TOLERANCE[precision] * np.abs(amplitude)
    wrong = ~(np.abs(output - spikes * amplitude) <= tolerance)  # NaN is wrong, too
    if wrong.any():
        at = tuple(np.argwhere(wrong)[0])
        raise FoldingError(
            f"population {p.name!r}",
            got=f"an output of {output[at]:g} from the module {p.path!r}",
            expected=f"-1, 0 or +1, times the amplitude {amplitude[at[2:]]:g} by its adapter",
            fix="Correct what was passed to trispike.export.register_neuron for its class.",
        )
    return _Fired(spikes.reshape(*output.shape[:2], *shape), (amplitude != 0).reshape(shape))


def _counted(
    p: TracedPopulation,
    adapted: AdaptedActivation,
    traced: Traced,
    output: Array,
    precision: Precision,
) -> _Fired:
    """As many spikes as the levels that an activation put out, when its population fires them."""
    amplitude = float(adapted.amplitude)
    counts = np.clip(np.rint(np.nan_to_num(output / amplitude)), 0, adapted.levels)
    tolerance = TOLERANCE[precision] * abs(amplitude) * adapted.levels
    wrong = ~(np.abs(output - counts * amplitude) <= tolerance)
    if wrong.any():
        raise FoldingError(
            f"population {p.name!r}",
            got=f"an output of {output[wrong][0]:g} from the module {p.path!r}",
            expected=f"0..{adapted.levels} times {amplitude:g}, by its threshold and levels",
            fix="Correct what was passed to trispike.export.register_activation for its class.",
        )
    shape = traced.network.populations[p.name].shape
    spikes = adapted.spikes(counts.reshape(len(output), *shape), traced.network.steps)
    return _Fired(spikes, np.ones(shape, dtype=bool))


def _compare(
    traced: Traced,
    batch: Array,
    fired: dict[str, _Fired],
    module_logits: Array,
    first: int,
    tally: _Tally,
) -> None:
    network = traced.network
    logits = np.zeros((len(batch), network.readout.classes))
    observed = {name: f.spikes for name, f in fired.items()}
    for name in traced.clocks:
        shape = (network.steps, len(batch), *network.populations[name].shape)
        observed[name] = np.ones(shape, dtype=np.int8)
    for step in time_steps(network, batch, observed=observed):
        for name, of_module in fired.items():
            own = step.populations[name]
            neuron = network.populations[name].neuron
            distance = np.minimum(np.abs(own.v - neuron.th_pos), np.abs(own.v + neuron.th_neg))
            tally.spikes(name, first, step.t, of_module, own.spikes, distance)
        logits += network.readout.weights[step.t] * step.logits
    tally.logits(module_logits, logits)
