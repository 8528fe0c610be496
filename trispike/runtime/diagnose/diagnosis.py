"""The diagnosis: where and why an integer network differs from the float network before it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from trispike.errors import InvalidSettingError
from trispike.network import FloatNetwork, IntegerNetwork, Network, digest
from trispike.network.fixed_point import never, state_limit
from trispike.network.learning import refuse_plastic
from trispike.network.neuron import FixedPointNeuron
from trispike.quantize.headroom import arrivals_bound, headroom_bits, state_bound
from trispike.runtime.diagnose.advice import advise, guilty_layer
from trispike.runtime.diagnose.content import (
    ConnectionDiagnosis,
    Diagnosis,
    Figures,
    InputDiagnosis,
    Neurons,
    PopulationDiagnosis,
    ReadoutDiagnosis,
    SpikeFigures,
)
from trispike.runtime.diagnose.measure import PopulationSums, Sums, Tally, batch_size_of, measure
from trispike.runtime.diagnose.origin import checked_data, checked_pair
from trispike.runtime.diagnose.scales import (
    Pair,
    Scales,
    WeightLoss,
    channels_of,
    pairs_into,
    population_scales,
    readout_scales,
    sqnr_db,
    weight_loss,
)
from trispike.runtime.engine import Array
from trispike.runtime.ledger_file import data_digest

MOST_NEURONS = 16
"""Neurons that are named of those that are dead, or always fire."""


def diagnose(
    source: Network,
    integer: Network,
    data: Array,
    labels: Array | None = None,
    *,
    batch_size: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Diagnosis:
    """Compare a float network with the integer network that was made from it.

    They are compared layer by layer and step by step. The integer network runs twice: by itself,
    so that errors add up, and with every population fed and reset with the float network's spikes,
    which shows the error of each layer alone.

    Args:
        source: The float network.
        integer: What it was quantized to.
        data: Raw data, as ``network.input.encode`` takes them.
        labels: (N,) classes, for the accuracies.
        batch_size: Samples that are run together; by default as many as the memory allows. Counts
            do not depend on it, and powers only by rounding.
        progress: Called with the number of samples finished since the last call.

    Raises:
        InvalidSettingError: The networks are swapped or of one kind, or a batch size below 1.
        InvalidNetworkError: They are not of one origin.
        InvalidDataError: Data or labels do not fit, or there are none.
        UnsupportedError: The integer network is plastic.
    """
    refuse_plastic(integer, "diagnosis")
    source, integer = checked_pair(source, integer)
    data, labels = checked_data(source, data, labels)
    if batch_size is not None and batch_size < 1:
        raise InvalidSettingError(
            "batch_size", got=str(batch_size), expected="at least 1", fix="Leave it out."
        )
    targets = (*source.order, source.readout.name)
    pairs = {name: pairs_into(source, integer, name) for name in targets}
    scales = {name: population_scales(source, integer, name, pairs[name]) for name in source.order}
    scales[source.readout.name] = readout_scales(source, integer)
    size = batch_size_of(integer) if batch_size is None else batch_size
    sums = measure(source, integer, scales, data, size, progress)
    populations = tuple(
        _population(integer, name, scales[name], sums.populations[name], len(data))
        for name in source.order
    )
    connections = _connections(integer, pairs, scales, sums)
    readout = _readout(source, sums, labels)
    given = InputDiagnosis(
        sqnr_db=sqnr_db(sums.input_signal, sums.input_noise), clipped=integer.input.clipped(data)
    )
    places = [p.own.first_divergence for p in populations if p.own.first_divergence]
    return Diagnosis(
        float_sha256=digest(source),
        integer_sha256=digest(integer),
        data_sha256=data_digest(data),
        samples=len(data),
        steps=source.steps,
        input=given,
        populations=populations,
        connections=connections,
        readout=readout,
        first_divergence=min(places, key=lambda d: (d.sample, d.step), default=None),
        guilty=guilty_layer(populations, readout),
        advice=advise(given, source.input.name, populations, connections, readout, len(data)),
    )


def _figures(tally: Tally, values: int) -> dict[str, Any]:
    """Fields of :class:`Figures`; ``values`` are those of a step, over all samples."""
    pairs = list(zip(tally.signal.tolist(), tally.noise.tolist(), strict=True))
    return {
        "sqnr_db": tuple(sqnr_db(signal, noise) for signal, noise in pairs),
        "sqnr_db_total": sqnr_db(float(tally.signal.sum()), float(tally.noise.sum())),
        "current_power": tuple(signal / values for signal, _ in pairs),
        "error_power": tuple(noise / values for _, noise in pairs),
    }


def _spike_figures(tally: Tally, fired_float: Array, values: int) -> SpikeFigures:
    wrong = int(tally.disagreements.sum())
    fired = int(fired_float.sum() + tally.fired.sum())
    return SpikeFigures(
        **_figures(tally, values),
        disagreements=tuple(tally.disagreements.tolist()),
        agreement=1 - wrong / (values * tally.steps),
        spike_error=wrong / fired if fired else 0.0,
        rate_integer=tuple((tally.fired / values).tolist()),
        saturations=tuple(tally.saturations.tolist()),
        first_divergence=tally.first,
    )


def _population(
    integer: IntegerNetwork, name: str, scales: Scales, sums: PopulationSums, samples: int
) -> PopulationDiagnosis:
    population = integer.populations[name]
    neuron = population.neuron
    assert isinstance(neuron, FixedPointNeuron)
    values = population.size * samples
    every = samples * integer.steps
    fired = sums.by_neuron
    thresholds = np.concatenate([neuron.th_pos.reshape(-1), neuron.th_neg.reshape(-1)])
    reachable = thresholds[thresholds < never(neuron.state_bits)]
    known = scales.values[np.isfinite(scales.values)]
    factors = scales.threshold_factor[np.isfinite(scales.threshold_factor)]
    return PopulationDiagnosis(
        name=name,
        shape=population.shape,
        neurons=population.size,
        own=_spike_figures(sums.own, sums.fired_float, values),
        forced=_spike_figures(sums.forced, sums.fired_float, values),
        rate_float=tuple((sums.fired_float / values).tolist()),
        dead_float=_neurons(fired["float"] == 0),
        dead_integer=_neurons(fired["own"] == 0),
        dead_new=_neurons((fired["float"] > 0) & (fired["own"] == 0) & (fired["forced"] == 0)),
        always_float=_neurons(fired["float"] == every),
        always_integer=_neurons(fired["own"] == every),
        always_new=_neurons((fired["float"] < every) & (fired["forced"] == every)),
        state_bits=neuron.state_bits,
        state_shift=neuron.state_shift,
        threshold_bits=int(reachable.min()).bit_length() if reachable.size else None,
        headroom_bits=headroom_bits(_bound(integer, name), neuron.state_bits),
        peak_headroom_bits=math.log2(state_limit(neuron.state_bits) / max(1, sums.peak)),
        scale_smallest=float(known.min()) if known.size else None,
        scale_largest=float(known.max()) if known.size else None,
        threshold_factor=_farthest(factors),
        is_one_scale=scales.is_one,
    )


def _neurons(mask: npt.NDArray[np.bool_]) -> Neurons:
    flat = np.flatnonzero(mask)
    return Neurons(
        count=len(flat),
        first=tuple(
            tuple(int(n) for n in np.unravel_index(i, mask.shape)) for i in flat[:MOST_NEURONS]
        ),
    )


def _farthest(factors: Array) -> float | None:
    """The factor that is farthest from 1."""
    return float(factors[np.abs(np.log(factors)).argmax()]) if factors.size else None


def _bound(integer: IntegerNetwork, name: str) -> int:
    """Largest magnitude of a state, whatever the input."""
    population = integer.populations[name]
    accumulator = arrivals_bound(integer, integer.into(name), channels_of(integer, name))
    neuron = population.neuron
    assert isinstance(neuron, FixedPointNeuron)
    return state_bound(neuron, population.shape, accumulator, integer.steps)


def _connections(
    integer: IntegerNetwork,
    pairs: Mapping[str, list[Pair]],
    scales: Mapping[str, Scales],
    sums: Sums,
) -> tuple[ConnectionDiagnosis, ...]:
    losses: dict[str, WeightLoss] = {}
    for target, into in pairs.items():
        for pair in into:
            if loss := weight_loss(pair, scales[target]):
                losses[pair.label] = loss
    errors = {
        label: loss.squared_error * sums.arriving.get(label, 1.0) if loss.sqnr_db else 0.0
        for label, loss in losses.items()
    }
    totals: dict[str, float] = {}
    for label, connection in integer.labelled():
        totals[connection.target] = totals.get(connection.target, 0.0) + errors.get(label, 0.0)
    return tuple(
        ConnectionDiagnosis(
            label=label,
            sources=c.sources,
            target=c.target,
            bits=c.bits,
            exponent=c.exponent,
            **_loss_fields(losses.get(label)),
            error_share=errors[label] / totals[c.target]
            if label in losses and totals[c.target] > 0
            else None,
        )
        for label, c in integer.labelled()
    )


def _loss_fields(loss: WeightLoss | None) -> dict[str, Any]:
    if loss is None:
        names = ("weight_sqnr_db", "clipped", "zeroed_channels", "spare_bits")
        return dict.fromkeys((*names, "per_channel_gain_db", "clipping_gain_db"))

    def gain(reached: float) -> float | None:
        lost = loss.sqnr_db
        return None if lost is None or math.isinf(reached) else max(0.0, reached - lost)

    return {
        "weight_sqnr_db": loss.sqnr_db,
        "clipped": loss.clipped,
        "zeroed_channels": loss.zeroed_channels,
        "spare_bits": loss.spare_bits,
        "per_channel_gain_db": gain(loss.per_channel_db),
        "clipping_gain_db": gain(loss.clipping_db),
    }


def _readout(source: FloatNetwork, sums: Sums, labels: Array | None) -> ReadoutDiagnosis:
    values = sums.samples * source.readout.classes
    by_float, own, forced = (
        np.concatenate(sums.predictions[way]) for way in ("float", "own", "forced")
    )
    return ReadoutDiagnosis(
        name=source.readout.name,
        own=Figures(**_figures(sums.readout_own, values)),
        forced=Figures(**_figures(sums.readout_forced, values)),
        prediction_agreement=float((by_float == own).mean()),
        forced_prediction_agreement=float((by_float == forced).mean()),
        accuracy_float=None if labels is None else float((by_float == labels).mean()),
        accuracy_integer=None if labels is None else float((own == labels).mean()),
    )
