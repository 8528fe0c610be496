"""From a float network to an integer network, never in place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.errors import QuantizationError
from trispike.network import (
    Connection,
    FixedPointNeuron,
    FloatNetwork,
    Identity,
    IntegerNetwork,
    Network,
    Neuron,
    Population,
    Readout,
)
from trispike.network.dynamics import time_steps
from trispike.network.fixed_point import DECAY_ONE, DEFAULT_STATE_BITS, never, state_limit
from trispike.network.network import PAYLOAD_LIMIT
from trispike.quantize.headroom import accumulator_bound, headroom_bits, state_bound
from trispike.quantize.record import ConnectionRecord, PopulationRecord, QuantizationRecord
from trispike.quantize.weights import IntegerWeights, quantize_weights, rows

Array: TypeAlias = npt.NDArray[Any]
Granularity: TypeAlias = Literal["channel", "layer"]

DEFAULT_STATE_SHIFT = 6
"""As on Loihi; the search starts from it."""

THRESHOLD_BITS = 10
"""Significant bits that every threshold should keep."""

STATE_SHIFTS = range(13)
"""Shifts that may be chosen."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quantization:
    """An integer network, and what it cost."""

    network: IntegerNetwork
    record: QuantizationRecord


def quantize(
    network: Network,
    calibration: Array,
    labels: Array | None = None,
    *,
    weight_bits: int = 8,
    granularity: Granularity = "channel",
    state_bits: int = DEFAULT_STATE_BITS,
    state_shift: int | None = None,
    batch_size: int = 32,
    progress: Callable[[int], None] | None = None,
) -> Quantization:
    """Quantize weights, thresholds, biases, retention factors, input and readout.

    Args:
        network: A float network; it is not changed.
        calibration: Raw data, as ``network.input.encode`` takes them. The range of the input is
            taken from them, and the record is measured on them.
        labels: (N,) classes of the calibration data, for the accuracies in the record.
        weight_bits: Width of a weight, sign included, 2..8; symmetric.
        granularity: One weight scale per output channel (free: thresholds absorb it), or one per
            layer, for targets with one threshold per core.
        state_bits: Width of the states, sign included.
        state_shift: Left shift of the accumulators; chosen per population if None.
        batch_size: Calibration samples that are run together.
        progress: Called with the number of calibration samples finished since the last call.

    Raises:
        QuantizationError: The network is an integer one already, a setting is out of range, or a
            parameter has no integer form.
        InvalidDataError: The calibration data do not fit the network.
    """
    if not isinstance(network, FloatNetwork):
        raise QuantizationError(
            "network",
            got="a network that is already integer",
            expected="a float network",
            fix="Quantize the float network that it was made from.",
        )
    _check_settings(weight_bits, granularity, state_bits, state_shift)
    calibration = np.asarray(calibration)
    encoded = network.input.encode(calibration, network.steps)
    if not len(encoded):
        raise QuantizationError(
            "calibration data",
            got="no samples",
            expected="at least one, better a hundred",
            fix="Pass data like those that the network will see.",
        )
    quantizer = _Quantizer(network, encoded, weight_bits, granularity, state_bits, state_shift)
    integer = quantizer.network()
    record = _measure(network, integer, quantizer, calibration, labels, batch_size, progress)
    return Quantization(network=integer, record=record)


def _check_settings(
    weight_bits: int, granularity: str, state_bits: int, state_shift: int | None
) -> None:
    settings = (
        ("weight_bits", weight_bits, range(2, 9)),
        ("state_bits", state_bits, range(8, 33)),
        ("state_shift", state_shift, (None, *range(17))),
        ("granularity", granularity, ("channel", "layer")),
    )
    for name, value, allowed in settings:
        if value not in allowed:
            choices = f"{allowed[0]}..{allowed[-1]}" if isinstance(allowed, range) else str(allowed)
            raise QuantizationError(
                f"setting {name!r}", got=repr(value), expected=choices, fix="Choose one of these."
            )


class _Quantizer:
    """Quantizes part by part, and keeps what the record needs."""

    def __init__(
        self,
        network: FloatNetwork,
        encoded: Array,
        weight_bits: int,
        granularity: Granularity,
        state_bits: int,
        state_shift: int | None,
    ) -> None:
        self.source = network
        self.bits = weight_bits
        self.granularity: Granularity = granularity
        self.state_bits = state_bits
        self.state_shift = state_shift
        self.input_scale = _input_scale(encoded)
        limit = self.input_scale * (PAYLOAD_LIMIT + 0.5)
        self.input_clipped = float((np.abs(encoded) > limit).mean())
        self.weights: dict[str, IntegerWeights] = {}
        self.bounds: dict[str, int] = {}

    def network(self) -> IntegerNetwork:
        source = self.source
        populations, connections = {}, []
        for name, population in source.populations.items():
            populations[name], incoming = self._population(name, population)
            connections += incoming
        return IntegerNetwork(
            input=replace(source.input, scale=self.input_scale),
            populations=populations,
            connections=tuple(connections),
            readout=self._readout(),
            steps=source.steps,
            provenance={
                **source.provenance,
                "quantization": {
                    "weight_bits": self.bits,
                    "granularity": self.granularity,
                    "state_bits": self.state_bits,
                },
            },
        )

    def _incoming(self, target: str) -> list[Connection]:
        """Float connections into a target, such that the graded input has one of its own."""
        result = []
        name = self.source.input.name
        for c in self.source.into(target):
            others = tuple(s for s in c.sources if s != name)
            if others:
                result.append(replace(c, sources=others))
            if name in c.sources:
                result.append(replace(c, sources=(name,), operator=_times(c, self.input_scale)))
        return result

    def _population(self, name: str, population: Population) -> tuple[Population, list[Connection]]:
        neuron = population.neuron
        assert isinstance(neuron, Neuron)
        channels = population.shape[0]
        sizes = [
            _largest(values, population.shape)
            for values in (neuron.th_pos, neuron.th_neg, neuron.bias, neuron.v_init, neuron.floor)
        ]
        # At the default shift, thresholds and bias may take up to a quarter of the state's range.
        room = 2.0 ** (self.state_bits - 2 - DEFAULT_STATE_SHIFT)
        floors = np.max(sizes, axis=0) / room
        silent = np.maximum(sizes[0], np.finfo(float).tiny) / 64
        floats = self._incoming(name)
        connections = self._connections(name, floats, channels, floors, silent)
        scales = self.weights[name].scales
        bound = sum(
            accumulator_bound(c, self._shape(c), channels, self._payload(c)) for c in connections
        )
        bound = np.broadcast_to(np.asarray(bound, dtype=np.int64), (channels,))
        integer = self._neuron(name, neuron, population, scales, bound)
        return Population(shape=population.shape, neuron=integer), connections

    def _payload(self, connection: Connection) -> int:
        is_input = self.source.input.name in connection.sources
        return PAYLOAD_LIMIT if is_input else 1

    def _shape(self, connection: Connection) -> tuple[int, ...]:
        return connection.output_shape(self.source.source_shape(connection))

    def _connections(
        self,
        target: str,
        floats: list[Connection],
        channels: int,
        floors: Array,
        silent: Array,
    ) -> list[Connection]:
        # A channel without any weight takes its scale from its threshold.
        empty = np.ones(channels, dtype=bool)
        for c in floats:
            empty &= ~(rows(c.operator, self._shape(c), channels) != 0).any(axis=1)
        floors = np.where(empty, np.maximum(floors, silent), np.maximum(floors, 1e-300))
        weights = quantize_weights(
            [c.operator for c in floats],
            [self._shape(c) for c in floats],
            channels,
            floors,
            bits=self.bits,
            per_channel=self.granularity == "channel" and target != self.source.readout.name,
        )
        self.weights[target] = weights
        return [
            replace(c, operator=operator, exponent=exponent, bits=self.bits)
            for c, operator, exponent in zip(
                floats, weights.operators, weights.exponents, strict=True
            )
        ]

    def _neuron(
        self, name: str, neuron: Neuron, population: Population, scales: Array, accumulator: Array
    ) -> FixedPointNeuron:
        """The neuron with the state shift that keeps the thresholds precise and the states safe."""
        steps = self.source.steps

        def at(shift: int) -> tuple[FixedPointNeuron, int]:
            candidate = _fixed_neuron(name, neuron, population, scales, shift, self.state_bits)
            return candidate, state_bound(candidate, accumulator, steps)

        if self.state_shift is not None:
            chosen, bound = at(self.state_shift)
        else:
            limit = state_limit(self.state_bits)
            fitting: dict[int, tuple[FixedPointNeuron, int]] = {}
            for shift in STATE_SHIFTS:
                try:
                    candidate = at(shift)
                except QuantizationError:
                    continue
                if candidate[1] <= limit:
                    fitting[shift] = candidate
            precise = [s for s, (n, _) in fitting.items() if _threshold_bits(n) >= THRESHOLD_BITS]
            if precise:
                # The default where it will do, otherwise the nearest that does.
                chosen, bound = fitting[min(precise, key=lambda s: abs(s - DEFAULT_STATE_SHIFT))]
            elif fitting:
                chosen, bound = fitting[max(fitting)]
            else:
                chosen, bound = at(DEFAULT_STATE_SHIFT)
        self.bounds[name] = bound
        return chosen

    def _readout(self) -> Readout:
        readout = self.source.readout
        floors = np.abs(readout.bias) / 2.0**16
        connections = self._connections(
            readout.name,
            self._incoming(readout.name),
            readout.classes,
            floors,
            np.full(readout.classes, 1e-6),
        )
        scale = float(self.weights[readout.name].scales[0])
        bias = np.rint(readout.bias / scale * 2.0**DEFAULT_STATE_SHIFT).astype(np.int64)
        weights, unit = _integer_time_weights(readout.weights)
        return Readout(
            name=readout.name,
            connections=tuple(connections),
            bias=bias,
            weights=weights,
            state_shift=DEFAULT_STATE_SHIFT,
            scale=scale / 2.0**DEFAULT_STATE_SHIFT * unit,
        )


def _times(connection: Connection, factor: float) -> Any:
    operator = connection.operator
    if isinstance(operator, Identity):
        return Identity(scale=operator.scale * factor)
    return replace(operator, weight=operator.weight * factor)


def _largest(values: Array, shape: tuple[int, ...]) -> Array:
    """(channels,): largest finite magnitude of a parameter."""
    finite = np.where(np.isfinite(values), np.abs(values), 0.0)
    return np.broadcast_to(finite, shape).reshape(shape[0], -1).max(axis=1)


def _input_scale(encoded: Array) -> float:
    """Value of one unit of the signed 8-bit input; zero always stays zero.

    Data that are whole multiples of one number already (counts, spikes, few grey levels) keep
    their values exactly.
    """
    magnitudes = np.unique(np.abs(encoded))
    magnitudes = magnitudes[magnitudes > 0]
    if not magnitudes.size:
        return 1.0
    if magnitudes[-1] <= PAYLOAD_LIMIT and (np.rint(magnitudes) == magnitudes).all():
        return 1.0
    grid = magnitudes / magnitudes[0]
    if grid[-1] <= PAYLOAD_LIMIT and np.allclose(grid, np.rint(grid), rtol=0, atol=1e-6):
        return float(magnitudes[0])
    return float(magnitudes[-1] / PAYLOAD_LIMIT)


def _fixed_neuron(
    name: str,
    neuron: Neuron,
    population: Population,
    scales: Array,
    shift: int,
    state_bits: int,
) -> FixedPointNeuron:
    limit, top = state_limit(state_bits), never(state_bits)
    unit = (scales / 2.0**shift).reshape(-1, *((1,) * (len(population.shape) - 1)))

    def refuse(field: str, value: float, expected: str, fix: str) -> QuantizationError:
        return QuantizationError(
            f"population {name!r}, field {field!r}",
            got=f"{value:g} in state units",
            expected=expected,
            fix=fix,
        )

    def fraction(field: str) -> Array:
        values = np.rint(getattr(neuron, field) * DECAY_ONE)
        wrong = (values < 0) | (values > DECAY_ONE)
        if wrong.any():
            raise QuantizationError(
                f"population {name!r}, field {field!r}",
                got=f"a retention factor of {getattr(neuron, field)[wrong].reshape(-1)[0]:g}",
                expected="a number in 0..1, for it becomes an unsigned fraction of 4096",
                fix="Only decaying or constant states can be deployed.",
            )
        return values.astype(np.int64)

    def threshold(field: str) -> Array:
        values = np.rint(getattr(neuron, field) / unit)
        finite = np.isfinite(values)
        if (values < 1).any() or (values[finite] > limit).any():
            worst = values[values < 1].min() if (values < 1).any() else values[finite].max()
            raise refuse(
                field,
                float(worst),
                f"a threshold in 1..{limit}",
                "The weights and bias of this channel are out of proportion to its threshold.",
            )
        return np.where(finite, values, top).astype(np.int64)

    def state(field: str) -> Array:
        values = np.rint(getattr(neuron, field) / unit)
        if (np.abs(values) > limit).any():
            raise refuse(
                field,
                float(
                    values[np.abs(values).argmax()] if values.ndim == 1 else np.abs(values).max()
                ),
                f"a magnitude of at most {limit}",
                "Use wider states, or a smaller state shift.",
            )
        return values.astype(np.int64)

    floor = np.maximum(np.rint(neuron.floor / unit), -limit)
    return FixedPointNeuron(
        **{field: fraction(field) for field in ("a_pos", "a_neg", "b_pos", "b_neg", "k")},
        th_pos=threshold("th_pos"),
        th_neg=threshold("th_neg"),
        bias=state("bias"),
        v_init=state("v_init"),
        floor=floor.astype(np.int64),
        reset=neuron.reset,
        strict=neuron.strict,
        fire_once=neuron.fire_once,
        state_bits=state_bits,
        state_shift=shift,
    )


def _threshold_bits(neuron: FixedPointNeuron) -> float:
    """Significant bits of the smallest threshold that can be reached."""
    reachable = [t[t < never(neuron.state_bits)] for t in (neuron.th_pos, neuron.th_neg) if t.size]
    values = np.concatenate([r.reshape(-1) for r in reachable])
    return float(np.inf) if not values.size else int(values.min()).bit_length()


def _integer_time_weights(weights: Array) -> tuple[Array, float]:
    """Time weights as integers, exactly if they are multiples of the smallest, and their unit."""
    magnitudes = np.abs(weights[weights != 0])
    if not magnitudes.size:
        return np.zeros(weights.shape, dtype=np.int64), 1.0
    unit = float(magnitudes.min())
    ratios = weights / unit
    if not np.allclose(ratios, np.rint(ratios), rtol=0, atol=1e-9):
        unit = float(magnitudes.max()) / PAYLOAD_LIMIT
    return np.rint(weights / unit).astype(np.int64), unit


def _measure(
    source: FloatNetwork,
    integer: IntegerNetwork,
    quantizer: _Quantizer,
    calibration: Array,
    labels: Array | None,
    batch_size: int,
    progress: Callable[[int], None] | None,
) -> QuantizationRecord:
    """Run both networks on the calibration data, and write down how they compare."""
    samples = len(calibration)
    order = integer.order
    saturations = dict.fromkeys(order, 0)
    agree, fired_float, fired_integer = (dict.fromkeys(order, 0) for _ in range(3))
    predictions: list[tuple[Array, Array]] = []
    for first in range(0, samples, batch_size):
        raw = calibration[first : first + batch_size]
        runs = [time_steps(n, n.input.encode(raw, n.steps)) for n in (source, integer)]
        logits = [np.zeros((len(raw), source.readout.classes)) for _ in runs]
        for steps in zip(*runs, strict=True):
            for n, (network, step) in enumerate(zip((source, integer), steps, strict=True)):
                logits[n] += network.readout.weights[step.t] * step.logits
            for name in order:
                f, i = (step.populations[name] for step in steps)
                agree[name] += int((f.spikes == i.spikes).sum())
                fired_float[name] += int(np.count_nonzero(f.spikes))
                fired_integer[name] += int(np.count_nonzero(i.spikes))
                saturations[name] += i.saturations
        predictions.append((logits[0].argmax(1), logits[1].argmax(1)))
        if progress:
            progress(len(raw))
    by_float, by_integer = (np.concatenate(part) for part in zip(*predictions, strict=True))
    events = {name: integer.populations[name].size * integer.steps * samples for name in order}
    populations = []
    for name in order:
        neuron = integer.populations[name].neuron
        assert isinstance(neuron, FixedPointNeuron)
        thresholds = np.concatenate([neuron.th_pos.reshape(-1), neuron.th_neg.reshape(-1)])
        finite = thresholds[thresholds < never(neuron.state_bits)]
        populations.append(
            PopulationRecord(
                name=name,
                state_shift=neuron.state_shift,
                threshold_min=int(thresholds.min()),
                threshold_max=int(finite.max() if finite.size else thresholds.max()),
                state_bound=quantizer.bounds[name],
                headroom_bits=headroom_bits(quantizer.bounds[name], neuron.state_bits),
                saturations=saturations[name],
                spike_agreement=agree[name] / events[name],
                firing_rate_float=fired_float[name] / events[name],
                firing_rate_integer=fired_integer[name] / events[name],
            )
        )
    divergent = [name for name in order if agree[name] < events[name]]
    return QuantizationRecord(
        weight_bits=quantizer.bits,
        granularity=quantizer.granularity,
        state_bits=quantizer.state_bits,
        input_scale=quantizer.input_scale,
        input_clipped=quantizer.input_clipped,
        readout_scale=integer.readout.scale,
        connections=tuple(_connection_records(integer, quantizer.weights)),
        populations=tuple(populations),
        first_divergence=divergent[0] if divergent else None,
        samples=samples,
        prediction_agreement=float((by_float == by_integer).mean()),
        accuracy_float=None if labels is None else float((by_float == labels).mean()),
        accuracy_integer=None if labels is None else float((by_integer == labels).mean()),
    )


def _connection_records(
    network: IntegerNetwork, weights: dict[str, IntegerWeights]
) -> list[ConnectionRecord]:
    seen = dict.fromkeys(weights, 0)
    records = []
    for label, connection in network.labelled():
        of_target = weights[connection.target]
        position = seen[connection.target]
        seen[connection.target] += 1
        records.append(
            ConnectionRecord(
                label=label,
                bits=connection.bits,
                exponent=connection.exponent,
                scale_min=float(of_target.scales.min()),
                scale_max=float(of_target.scales.max()),
                weight_sqnr_db=of_target.sqnr_db[position],
            )
        )
    return records
