"""The record: float and integer network side by side on the calibration data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.network import FixedPointNeuron, FloatNetwork, IntegerNetwork
from trispike.network.dynamics import time_steps
from trispike.network.fixed_point import never
from trispike.quantize.headroom import headroom_bits
from trispike.quantize.quantizer import Part, Quantizer
from trispike.quantize.record import ConnectionRecord, PopulationRecord, QuantizationRecord

Array: TypeAlias = npt.NDArray[Any]


@dataclass(slots=True)
class _Counts:
    """What a population did."""

    agree: int = 0
    fired_float: int = 0
    fired_integer: int = 0
    saturations: int = 0


@dataclass(slots=True)
class _Comparison:
    """What both networks did."""

    counts: dict[str, _Counts]
    by_float: list[Array] = field(default_factory=list)
    """Predictions, batch by batch."""
    by_integer: list[Array] = field(default_factory=list)


def measure(
    quantizer: Quantizer,
    integer: IntegerNetwork,
    bits: Mapping[str, int],
    calibration: Array,
    labels: Array | None,
    progress: Callable[[int], None] | None,
) -> QuantizationRecord:
    """Run both networks on the calibration data, and write down how they compare.

    Args:
        quantizer: That made the integer network.
        integer: The network.
        bits: Width of the weights of each connection, by label.
        calibration: Raw data.
        labels: (N,) classes, or None.
        progress: Called with the number of samples finished since the last call.
    """
    source, settings, parts = quantizer.source, quantizer.settings, quantizer.parts(bits)
    compared = _compare(source, integer, calibration, settings.batch_size, progress)
    samples = len(calibration)
    divergent = [
        name
        for name in integer.order
        if compared.counts[name].agree < integer.populations[name].size * integer.steps * samples
    ]
    by_float, by_integer = np.concatenate(compared.by_float), np.concatenate(compared.by_integer)
    last = parts[source.readout.name].fitted
    return QuantizationRecord(
        weight_bits=max(bits.values()),
        granularity=settings.granularity,
        method=settings.method_at(bits.values()),
        state_bits=settings.state_bits,
        input_scale=quantizer.input_scale,
        input_clipped=integer.input.clipped(calibration),
        readout_scale=integer.readout.scale,
        readout_current_sqnr_db=None if last is None else last.sqnr_db,
        connections=tuple(_connections(integer, parts)),
        populations=tuple(
            _population(integer, name, parts[name], compared.counts[name], samples)
            for name in integer.order
        ),
        first_divergence=divergent[0] if divergent else None,
        samples=samples,
        prediction_agreement=float((by_float == by_integer).mean()),
        accuracy_float=None if labels is None else float((by_float == labels).mean()),
        accuracy_integer=None if labels is None else float((by_integer == labels).mean()),
    )


def _compare(
    source: FloatNetwork,
    integer: IntegerNetwork,
    calibration: Array,
    batch_size: int,
    progress: Callable[[int], None] | None,
) -> _Comparison:
    result = _Comparison({name: _Counts() for name in integer.order})
    networks = (source, integer)
    for first in range(0, len(calibration), batch_size):
        raw = calibration[first : first + batch_size]
        runs = [time_steps(n, n.input.encode(raw, n.steps)) for n in networks]
        logits = [np.zeros((len(raw), source.readout.classes)) for _ in runs]
        for steps in zip(*runs, strict=True):
            for n, (network, step) in enumerate(zip(networks, steps, strict=True)):
                logits[n] += network.readout.weights[step.t] * step.logits
            for name, counts in result.counts.items():
                f, i = (step.populations[name] for step in steps)
                counts.agree += int((f.spikes == i.spikes).sum())
                counts.fired_float += int(np.count_nonzero(f.spikes))
                counts.fired_integer += int(np.count_nonzero(i.spikes))
                counts.saturations += i.saturations
        result.by_float.append(logits[0].argmax(1))
        result.by_integer.append(logits[1].argmax(1))
        if progress:
            progress(len(raw))
    return result


def _population(
    integer: IntegerNetwork, name: str, part: Part, counts: _Counts, samples: int
) -> PopulationRecord:
    population = integer.populations[name]
    neuron = population.neuron
    assert isinstance(neuron, FixedPointNeuron)
    events = population.size * integer.steps * samples
    thresholds = np.concatenate([neuron.th_pos.reshape(-1), neuron.th_neg.reshape(-1)])
    finite = thresholds[thresholds < never(neuron.state_bits)]
    fitted = part.fitted
    return PopulationRecord(
        name=name,
        state_shift=neuron.state_shift,
        threshold_min=int(thresholds.min()),
        threshold_max=int(finite.max() if finite.size else thresholds.max()),
        state_bound=part.bound,
        headroom_bits=headroom_bits(part.bound, neuron.state_bits),
        saturations=counts.saturations,
        current_sqnr_db=None if fitted is None else fitted.sqnr_db,
        bias_correction=0.0 if fitted is None else float(np.abs(fitted.mean_error).max()),
        spike_agreement=counts.agree / events,
        firing_rate_float=counts.fired_float / events,
        firing_rate_integer=counts.fired_integer / events,
    )


def _connections(network: IntegerNetwork, parts: Mapping[str, Part]) -> Sequence[ConnectionRecord]:
    seen = dict.fromkeys(parts, 0)
    records = []
    for label, connection in network.labelled():
        part = parts[connection.target]
        position = seen[connection.target]
        seen[connection.target] += 1
        scales, fitted = part.weights.scales, part.fitted
        records.append(
            ConnectionRecord(
                label=label,
                bits=connection.bits,
                exponent=connection.exponent,
                scale_min=float(scales.min()),
                scale_max=float(scales.max()),
                method="nearest" if fitted is None else fitted.method,
                scale_ratio=1.0 if fitted is None else fitted.scale_ratio,
                weights_clipped=0.0 if fitted is None else fitted.clipped[position],
                weight_sqnr_db=part.weights.sqnr_db[position],
            )
        )
    return records
