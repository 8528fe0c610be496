"""Runs both networks side by side, step by step and batch by batch, and adds up how they differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from trispike.network import FloatNetwork, IntegerNetwork, Network
from trispike.network.dynamics import TimeStep, time_steps
from trispike.network.fixed_point import never
from trispike.network.neuron import FixedPointNeuron, Neuron, Step
from trispike.runtime.diagnose.content import Divergence, NeuronState
from trispike.runtime.diagnose.scales import Scales, input_unit, unit_of
from trispike.runtime.engine import Array

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

BATCH_BYTES = 256 << 20
"""Memory for what a batch needs; the batch is as large as this allows."""

MOST_SAMPLES = 64
"""Samples of a batch, at most."""

_VALUES = 24
"""Numbers of 8 bytes per neuron that three runs hold at one time step: states before and after,
currents, what is compared."""


@dataclass
class Tally:
    """Sums of one population, or of the readout, in one way of feeding it; (T,) each."""

    steps: int
    signal: Floats = field(init=False)
    """Squares of the float currents."""
    noise: Floats = field(init=False)
    """Squares of the errors."""
    disagreements: Counts = field(init=False)
    fired: Counts = field(init=False)
    """Spikes of the integer network."""
    saturations: Counts = field(init=False)
    first: Divergence | None = None

    def __post_init__(self) -> None:
        self.signal, self.noise = np.zeros(self.steps), np.zeros(self.steps)
        self.disagreements, self.fired, self.saturations = (
            np.zeros(self.steps, np.int64) for _ in range(3)
        )


@dataclass
class PopulationSums:
    """Everything that is added up of one population."""

    own: Tally
    forced: Tally
    fired_float: Counts
    """(T,)."""
    by_neuron: dict[str, Counts]
    """"float", "own" and "forced": spikes of every neuron, of its population's shape."""
    peak: int = 0
    """Largest magnitude of a state of the integer network with its own inputs."""


@dataclass
class Sums:
    """Everything that is added up."""

    samples: int
    populations: dict[str, PopulationSums]
    readout_own: Tally
    readout_forced: Tally
    input_signal: float = 0.0
    input_noise: float = 0.0
    arriving: dict[str, float] = field(default_factory=dict)
    """By label: squares of what arrives, pooled, per element, step and sample; of targets with
    more than one connection only."""
    predictions: dict[str, list[Counts]] = field(default_factory=dict)
    """"float", "own" and "forced", by batch."""


def batch_size_of(network: Network) -> int:
    """How many samples together stay within :data:`BATCH_BYTES`; at least one."""
    neurons = sum(p.size for p in network.populations.values())
    spikes = neurons * network.steps
    widest = max(
        int(np.prod(network.source_shape(c))) * max(1, int(np.prod(c.operator.weight.shape[2:])))
        for c in network.all_connections
    )
    return max(1, min(MOST_SAMPLES, BATCH_BYTES // (8 * (_VALUES * neurons + widest) + spikes)))


def measure(
    source: FloatNetwork,
    integer: IntegerNetwork,
    scales: Mapping[str, Scales],
    data: Array,
    batch_size: int,
    progress: Callable[[int], None] | None = None,
) -> Sums:
    """Run the float network once and the integer network twice.

    It runs by itself, and fed with the float network's spikes.

    Args:
        source: The float network.
        integer: The integer network.
        scales: By population: value of a unit of the accumulators.
        data: Raw data that fit both.
        batch_size: Samples that are run together.
        progress: Called with the number of samples finished since the last call.
    """
    steps = source.steps
    sums = Sums(
        samples=len(data),
        populations={name: _population_sums(source, name) for name in source.order},
        readout_own=Tally(steps),
        readout_forced=Tally(steps),
        predictions={way: [] for way in ("float", "own", "forced")},
    )
    units = {name: _Units.of(source, integer, name, scales) for name in source.order}
    for first in range(0, len(data), batch_size):
        part = data[first : first + batch_size]
        _measure_batch(source, integer, units, part, first, sums)
        if progress:
            progress(len(part))
    return sums


def _population_sums(network: Network, name: str) -> PopulationSums:
    shape = network.populations[name].shape
    return PopulationSums(
        own=Tally(network.steps),
        forced=Tally(network.steps),
        fired_float=np.zeros(network.steps, np.int64),
        by_neuron={way: np.zeros(shape, np.int64) for way in ("float", "own", "forced")},
    )


@dataclass(frozen=True)
class _Units:
    """How to compare the currents of a population."""

    accumulator: Array
    """Value of one unit, broadcast over neurons; 0 where it is not known."""
    known: Array
    """1 where it is known, else 0."""
    bias: Array
    """What the rounded bias adds to the error, in float units."""
    state: Array
    """Value of one state unit, of the population's shape; NaN where it is not known."""

    @staticmethod
    def of(
        source: FloatNetwork, integer: IntegerNetwork, name: str, scales: Mapping[str, Scales]
    ) -> _Units:
        unit = unit_of(integer, name, scales)
        shape = integer.populations[name].shape
        fixed, neuron = integer.populations[name].neuron, source.populations[name].neuron
        assert isinstance(fixed, FixedPointNeuron)
        state = unit / 2.0**fixed.state_shift
        known = np.isfinite(unit)
        return _Units(
            accumulator=np.where(known, unit, 0.0),
            known=known.astype(np.float64),
            bias=np.where(known, fixed.bias * state - neuron.bias, 0.0),
            state=np.broadcast_to(state, shape),
        )


def _measure_batch(
    source: FloatNetwork,
    integer: IntegerNetwork,
    units: Mapping[str, _Units],
    part: Array,
    first: int,
    sums: Sums,
) -> None:
    analog, graded = (n.input.encode(part, n.steps) for n in (source, integer))
    sums.input_signal += float((analog**2).sum())
    sums.input_noise += float(((graded * input_unit(integer) - analog) ** 2).sum())
    # Filled step by step, just before the run that is fed with it takes the step.
    observed: dict[str, Array] = {
        name: np.zeros((source.steps, len(part), *p.shape), np.int8)
        for name, p in source.populations.items()
    }
    exact, own = time_steps(source, analog), time_steps(integer, graded)
    forced = time_steps(integer, graded, observed)
    ways = ("float", "own", "forced")
    logits = {way: np.zeros((len(part), source.readout.classes)) for way in ways}
    for e, o in zip(exact, own, strict=True):
        for name, step in e.populations.items():
            observed[name][e.t] = step.spikes
        f = next(forced)
        for name, population in sums.populations.items():
            _add_population(population, name, units[name], source, integer, (e, o, f), first)
        _add_arriving(integer, f, sums)
        weighted = {"float": source.readout.weights[e.t] * e.logits}
        for way, run, tally in (
            ("own", o, sums.readout_own),
            ("forced", f, sums.readout_forced),
        ):
            weighted[way] = integer.readout.weights[e.t] * run.logits * integer.readout.scale
            tally.signal[e.t] += float((weighted["float"] ** 2).sum())
            tally.noise[e.t] += float(((weighted[way] - weighted["float"]) ** 2).sum())
        for way in ways:
            logits[way] += weighted[way]
    for way in ways:
        sums.predictions[way].append(logits[way].argmax(axis=1).astype(np.int64))


def _add_arriving(integer: IntegerNetwork, step: TimeStep, sums: Sums) -> None:
    targets = [c.target for c in integer.all_connections]
    for label, connection in integer.labelled():
        if targets.count(connection.target) < 2:
            continue
        summed = np.asarray(sum(a.astype(np.float64) for a in step.arrived[label]))
        if integer.input.name in connection.sources:
            summed *= input_unit(integer)
        pooled = connection.pool.apply(summed) if connection.pool else summed
        mean = float((pooled**2).mean()) * len(summed) / (integer.steps * sums.samples)
        sums.arriving[label] = sums.arriving.get(label, 0.0) + mean


def _add_population(
    sums: PopulationSums,
    name: str,
    units: _Units,
    source: FloatNetwork,
    integer: IntegerNetwork,
    steps: tuple[TimeStep, TimeStep, TimeStep],
    first: int,
) -> None:
    exact, *runs = steps
    t, theirs, current = exact.t, exact.populations[name], exact.currents[name]
    sums.fired_float[t] += np.count_nonzero(theirs.spikes)
    sums.by_neuron["float"] += (theirs.spikes != 0).sum(axis=0)
    known = current * units.known
    signal = float((known**2).sum())
    for way, run in zip(("own", "forced"), runs, strict=True):
        tally: Tally = getattr(sums, way)
        ours = run.populations[name]
        error: Array = run.currents[name] * units.accumulator + units.bias - known
        tally.signal[t] += signal
        tally.noise[t] += float((error**2).sum())
        differs = ours.spikes != theirs.spikes
        tally.disagreements[t] += np.count_nonzero(differs)
        tally.fired[t] += np.count_nonzero(ours.spikes)
        tally.saturations[t] += ours.saturations
        sums.by_neuron[way] += (ours.spikes != 0).sum(axis=0)
        if differs.any():
            place = np.unravel_index(int(differs.argmax()), differs.shape)
            sample, *neuron = (int(n) for n in place)
            known_first = tally.first
            if known_first is None or (first + sample, t) < (known_first.sample, known_first.step):
                tally.first = _divergence(
                    name, units, source, integer, theirs, ours, (sample, tuple(neuron)), first, t
                )
    o = runs[0].populations[name]
    sums.peak = max(sums.peak, *(int(np.abs(z).max()) for z in (o.state.i, o.state.c, o.v)))


def _divergence(
    name: str,
    units: _Units,
    source: FloatNetwork,
    integer: IntegerNetwork,
    theirs: Step,
    ours: Step,
    place: tuple[int, tuple[int, ...]],
    first: int,
    t: int,
) -> Divergence:
    sample, neuron = place
    unit = float(units.state[neuron])
    return Divergence(
        population=name,
        sample=first + sample,
        step=t,
        neuron=neuron,
        float_state=_state(source, name, theirs, sample, neuron),
        integer_state=_state(integer, name, ours, sample, neuron),
        unit=unit if np.isfinite(unit) else None,
    )


def _state(
    network: Network, name: str, step: Step, sample: int, neuron: tuple[int, ...]
) -> NeuronState:
    population = network.populations[name]
    at = (sample, *neuron)

    def threshold(field: str) -> Any:
        parameters: Neuron | FixedPointNeuron = population.neuron
        value = np.broadcast_to(getattr(parameters, field), population.shape)[neuron].item()
        top = never(parameters.state_bits) if isinstance(parameters, FixedPointNeuron) else np.inf
        return None if value >= top else value

    v = step.v[at].item()
    positive, negative = threshold("th_pos"), threshold("th_neg")
    distances = [v - positive] if positive is not None else []
    distances += [-v - negative] if negative is not None else []
    return NeuronState(
        spike=int(step.spikes[at]),
        current=step.state.i[at].item(),
        carried=step.state.c[at].item(),
        potential=v,
        threshold_positive=positive,
        threshold_negative=negative,
        distance=max(distances, default=None),
    )
