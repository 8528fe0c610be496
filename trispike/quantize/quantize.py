"""From a float network to an integer network, never in place."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from trispike.errors import InvalidSettingError, QuantizationError
from trispike.network import (
    Connection,
    Conv2d,
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
from trispike.quantize.headroom import (
    accumulator_bound,
    headroom_bits,
    per_channel,
    state_bound,
)
from trispike.quantize.record import ConnectionRecord, PopulationRecord, QuantizationRecord
from trispike.quantize.weights import IntegerWeights, quantize_weights

Array: TypeAlias = npt.NDArray[Any]
Granularity: TypeAlias = Literal["channel", "layer"]

DEFAULT_STATE_SHIFT = 6
"""As on Loihi; chosen wherever it will do."""

PARAMETER_BITS = 16
"""Bits that thresholds and biases may have in units of what one spike of weight 1 delivers: more
would make weights finer that are lost beside them already."""

THRESHOLD_BITS = 10
"""Significant bits that every threshold should keep."""

STATE_SHIFTS = range(13)
"""Shifts that may be chosen."""

TIME_WEIGHT_LIMIT = (1 << 15) - 1
"""Largest magnitude of an integer time weight."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quantization:
    """An integer network, and what it cost."""

    network: IntegerNetwork
    record: QuantizationRecord
    scales: Mapping[str, Array]
    """(channels,) per population, and for the readout: value of one unit of its accumulator."""


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
        QuantizationError: The network is an integer one already, there are no calibration data,
            or a parameter has no integer form.
        InvalidSettingError: A setting is out of range.
        InvalidDataError: The calibration data or the labels do not fit the network.
    """
    if not isinstance(network, FloatNetwork):
        raise QuantizationError(
            "network",
            got="a network that is already integer",
            expected="a float network",
            fix="Quantize the float network that it was made from.",
        )
    _check_settings(
        weight_bits=(weight_bits, range(2, 9)),
        granularity=(granularity, get_args(Granularity)),
        state_bits=(state_bits, range(8, 33)),
        state_shift=(state_shift, (None, *range(17))),
        batch_size=(batch_size, range(1, 2**31)),
    )
    calibration = np.asarray(calibration)
    encoded = network.input.encode(calibration, network.steps)
    if labels is not None:
        labels = network.readout.checked_labels(labels, len(encoded))
    if not len(encoded):
        raise QuantizationError(
            "calibration data",
            got="no samples",
            expected="at least one, better a hundred",
            fix="Pass data like those that the network will see.",
        )
    quantizer = _Quantizer(
        network,
        encoded,
        int(weight_bits),
        granularity,
        int(state_bits),
        None if state_shift is None else int(state_shift),
    )
    integer = quantizer.network()
    record = _measure(network, integer, quantizer, calibration, labels, batch_size, progress)
    scales = {name: weights.scales for name, weights in quantizer.weights.items()}
    return Quantization(network=integer, record=record, scales=MappingProxyType(scales))


def _check_settings(**settings: tuple[Any, Sequence[Any]]) -> None:
    for name, (value, allowed) in settings.items():
        if value not in allowed or isinstance(value, float | bool):
            choices = f"{allowed[0]}..{allowed[-1]}" if isinstance(allowed, range) else str(allowed)
            raise InvalidSettingError(
                f"setting {name!r}", got=repr(value), expected=choices, fix="Choose one of these."
            )


class _Candidate(NamedTuple):
    """A neuron at one state shift."""

    neuron: FixedPointNeuron
    bound: int
    """Largest magnitude that a state can reach."""
    is_proved: bool
    """Whether that fits the state."""
    is_precise: bool
    """Whether the thresholds keep the bits that they should."""


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
        incoming = self._incoming(name)
        channels = self._channels(population.shape[0], incoming)
        sizes = [
            per_channel(np.where(np.isfinite(values), values, 0.0), population.shape, channels)
            for values in (neuron.th_pos, neuron.th_neg, neuron.bias, neuron.v_init, neuron.floor)
        ]
        # Thresholds and bias may take up to a quarter of the state's range.
        quarter = self.state_bits - 2 - (self.state_shift or 0)
        connections = self._connections(name, incoming, np.max(sizes, axis=0), quarter)
        accumulator = np.zeros(channels, dtype=np.int64)
        for c in connections:
            accumulator += accumulator_bound(c, self._shape(c), channels, self._payload(c))
        integer = self._neuron(name, population, accumulator)
        return Population(shape=population.shape, neuron=integer), connections

    def _channels(self, outputs: int, incoming: list[Connection]) -> int:
        """How many equal shares of a population's first axis can have a scale of their own.

        As many as it is long; fewer where the output of a convolution is flattened.
        """
        convolutions = (self._shape(c)[0] for c in incoming if isinstance(c.operator, Conv2d))
        return math.gcd(outputs, *convolutions)

    def _payload(self, connection: Connection) -> int:
        is_input = self.source.input.name in connection.sources
        return PAYLOAD_LIMIT if is_input else 1

    def _shape(self, connection: Connection) -> tuple[int, ...]:
        return connection.output_shape(self.source.source_shape(connection))

    def _connections(
        self, target: str, incoming: list[Connection], parameters: Array, room: float
    ) -> list[Connection]:
        """Integer connections into a target.

        Args:
            target: Its name.
            incoming: Float connections into it.
            parameters: (channels,) its largest threshold or bias.
            room: Bits that this may have, at most, in units of the accumulator.
        """
        payload = max(map(self._payload, incoming), default=1)
        room = min(room, PARAMETER_BITS + payload.bit_length() - 1)
        weights = quantize_weights(
            [c.operator for c in incoming],
            [self._shape(c) for c in incoming],
            parameters / 2.0**room,
            # A channel without any weight takes its scale from its threshold or bias.
            np.where(parameters > 0, parameters / 2.0**THRESHOLD_BITS, 1.0),
            bits=self.bits,
            per_channel=self.granularity == "channel" and target != self.source.readout.name,
        )
        self.weights[target] = weights
        return [
            replace(c, operator=operator, exponent=exponent, bits=self.bits)
            for c, operator, exponent in zip(
                incoming, weights.operators, weights.exponents, strict=True
            )
        ]

    def _neuron(self, name: str, population: Population, accumulator: Array) -> FixedPointNeuron:
        """The neuron at the given state shift, or at the one that suits it best."""
        candidates: dict[int, _Candidate] = {}
        refusals = []
        for shift in STATE_SHIFTS if self.state_shift is None else (self.state_shift,):
            try:
                neuron = _fixed_neuron(
                    name, population, self.weights[name].scales, shift, self.state_bits
                )
            except QuantizationError as refusal:
                refusals.append(refusal)
                continue
            bound = state_bound(neuron, population.shape, accumulator, self.source.steps)
            candidates[shift] = _Candidate(
                neuron,
                bound,
                is_proved=bound <= state_limit(self.state_bits),
                is_precise=_is_precise(neuron),
            )
        if not candidates:
            raise refusals[0]
        chosen = candidates[_best_shift(candidates)]
        self.bounds[name] = chosen.bound
        return chosen.neuron

    def _readout(self) -> Readout:
        readout = self.source.readout
        incoming = self._incoming(readout.name)
        shape, channels = readout.bias.shape, self._channels(readout.classes, incoming)
        biases = per_channel(readout.bias, shape, channels)
        connections = self._connections(readout.name, incoming, biases, math.inf)
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


def _best_shift(candidates: Mapping[int, _Candidate]) -> int:
    """Safe and precise: as near to the default as can be. Not both: rather safe.

    Where no shift is proved safe, the smallest that is precise is the least likely to saturate.
    """
    proved = [shift for shift, c in candidates.items() if c.is_proved]
    precise = [shift for shift, c in candidates.items() if c.is_precise]
    both = [shift for shift in proved if shift in precise]
    if both:
        return min(both, key=lambda shift: abs(shift - DEFAULT_STATE_SHIFT))
    if proved:
        return max(proved)
    return min(precise, default=max(candidates))


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
    return _common_unit(magnitudes, PAYLOAD_LIMIT) or float(magnitudes[-1] / PAYLOAD_LIMIT)


def _common_unit(magnitudes: Array, limit: int) -> float | None:
    """The largest number of which all are whole multiples, at most limit times; None without one.

    Args:
        magnitudes: Positive numbers in ascending order, with rounding errors as of float32.
        limit: Largest multiple.
    """
    largest = float(magnitudes[-1])
    unit, tolerance = largest, largest / limit * 1e-2
    if magnitudes[0] <= tolerance:
        return None
    for magnitude in map(float, magnitudes):
        a, b = magnitude, unit
        while b > tolerance:  # Euclid's algorithm
            a, b = b, abs(math.remainder(a, b))
        unit = magnitude / round(magnitude / a)  # without the errors of the remainders
        if unit * (limit + 0.5) < largest:
            return None
    multiples = magnitudes / unit
    return unit if np.allclose(multiples, np.rint(multiples), rtol=0, atol=1e-4) else None


def _fixed_neuron(
    name: str, population: Population, scales: Array, shift: int, state_bits: int
) -> FixedPointNeuron:
    """The integer form of a population's neuron, or QuantizationError."""
    neuron, shape = population.neuron, population.shape
    limit, top = state_limit(state_bits), never(state_bits)
    per_neuron = np.repeat(scales, shape[0] // len(scales))
    unit = per_neuron.reshape(-1, *((1,) * (len(shape) - 1))) / 2.0**shift

    def check(field: str, wrong: Array, values: Array, expected: str, fix: str) -> None:
        if wrong.any():
            raise QuantizationError(
                f"population {name!r}, field {field!r}",
                got=f"{np.broadcast_to(values, wrong.shape)[wrong][0]:g}",
                expected=expected,
                fix=fix,
            )

    def fraction(field: str) -> Array:
        factors = getattr(neuron, field)
        values = np.rint(factors * DECAY_ONE)
        check(
            field,
            (values < 0) | (values > DECAY_ONE),
            factors,
            "a retention factor in 0..1, for it becomes an unsigned fraction of 4096",
            "Only decaying or constant states can be deployed.",
        )
        return values.astype(np.int64)

    def threshold(field: str) -> Array:
        infinite = np.isinf(getattr(neuron, field))
        values = np.where(infinite, top, np.rint(getattr(neuron, field) / unit))
        check(
            field,
            (values < 1) | ((values > limit) & ~infinite),
            values,
            f"a threshold in 1..{limit} of the state's units",
            "The weights and bias of this channel are out of proportion to its threshold.",
        )
        return values.astype(np.int64)

    def state(field: str, lowest: float = -np.inf) -> Array:
        values = np.maximum(np.rint(getattr(neuron, field) / unit), lowest)
        check(
            field,
            np.abs(values) > limit,
            values,
            f"a magnitude of at most {limit} of the state's units",
            "Use wider states, or a smaller state shift.",
        )
        return values.astype(np.int64)

    return FixedPointNeuron(
        **{field: fraction(field) for field in ("a_pos", "a_neg", "b_pos", "b_neg", "k")},
        th_pos=threshold("th_pos"),
        th_neg=threshold("th_neg"),
        bias=state("bias"),
        v_init=state("v_init"),
        floor=state("floor", lowest=-limit),
        reset=neuron.reset,
        strict=neuron.strict,
        fire_once=neuron.fire_once,
        state_bits=state_bits,
        state_shift=shift,
    )


def _is_precise(neuron: FixedPointNeuron) -> bool:
    """Whether the smallest threshold that can be reached has enough significant bits."""
    thresholds = np.concatenate([neuron.th_pos.reshape(-1), neuron.th_neg.reshape(-1)])
    reachable = thresholds[thresholds < never(neuron.state_bits)]
    return not reachable.size or int(reachable.min()).bit_length() >= THRESHOLD_BITS


def _integer_time_weights(weights: Array) -> tuple[Array, float]:
    """Time weights as integers, exactly if they are multiples of one number, and their unit."""
    magnitudes = np.unique(np.abs(weights[weights != 0]))
    if not magnitudes.size:
        return np.zeros(weights.shape, dtype=np.int64), 1.0
    unit = _common_unit(magnitudes, TIME_WEIGHT_LIMIT)
    unit = unit or float(magnitudes[-1]) / TIME_WEIGHT_LIMIT
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
        input_clipped=integer.input.clipped(calibration),
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
