"""The parts of an integer network, target by target, for any widths of its connections."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.errors import QuantizationError
from trispike.network import (
    Connection,
    Conv2d,
    FixedPointNeuron,
    FloatNetwork,
    Identity,
    IntegerNetwork,
    Neuron,
    Population,
    Readout,
)
from trispike.network.fixed_point import state_limit
from trispike.network.network import PAYLOAD_LIMIT
from trispike.network.schedules import scheduled_fields
from trispike.quantize.fitting import Fitted, Method, fit
from trispike.quantize.headroom import arrivals_bound, per_channel, state_bound
from trispike.quantize.moments import InputMoments, separated
from trispike.quantize.neurons import (
    DEFAULT_STATE_SHIFT,
    STATE_SHIFTS,
    THRESHOLD_BITS,
    Candidate,
    best_shift,
    fixed_neuron,
    is_precise,
)
from trispike.quantize.units import input_scale, integer_time_weights
from trispike.quantize.weights import IntegerWeights, Scaling, quantize_weights

Array: TypeAlias = npt.NDArray[Any]
Granularity: TypeAlias = Literal["channel", "layer"]
Widths: TypeAlias = tuple[int, ...]

PARAMETER_BITS = 16
"""Bits that thresholds and biases may have in units of what one spike of weight 1 delivers: more
would make weights finer that are lost beside them already."""


WIDEST = 8
"""Most bits of a weight."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """A population, or the readout, in integers, with the connections into it."""

    connections: tuple[Connection, ...]
    weights: IntegerWeights
    fitted: Fitted | None
    """What calibration says of the weights; None where it was not asked."""
    population: Population | None
    """None for the readout."""
    bound: int
    """Largest magnitude that a state can reach; 0 for the readout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What holds for all parts."""

    granularity: Granularity = "channel"
    state_bits: int = 24
    state_shift: int | None = None
    """None: chosen for each population."""
    method: Method | None = None
    """None: the one that measured best, by the widths."""
    batch_size: int = 32

    def method_at(self, widths: Iterable[int]) -> Method:
        """The method for connections of these widths.

        With 8 bits nothing is to be gained over the plainest.
        """
        return self.method or ("nearest" if all(width == WIDEST for width in widths) else "gptq")


class Quantizer:
    """Makes integer networks of one float network; no part is computed twice.

    Args:
        network: The float network.
        encoded: Calibration data, as ``network.input.encode`` returned them.
        settings: What holds for all parts.
    """

    def __init__(
        self,
        network: FloatNetwork,
        encoded: Array,
        settings: Settings,
    ) -> None:
        self.source = network
        self.separated = separated(network)
        self.settings = settings
        self.input_scale = input_scale(encoded)
        self._moments = InputMoments(
            self.separated,
            encoded,
            self.input_scale,
            batch_size=settings.batch_size,
        )
        self._parts: dict[tuple[str, Widths, Method], Part] = {}

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the integer network's connections."""
        return self.separated.labels

    def target_of(self, label: str) -> str:
        """Where a connection leads."""
        return self.separated.all_connections[self.labels.index(label)].target

    def network(
        self, bits: Mapping[str, int], noted: Mapping[str, Any], method: Method | None = None
    ) -> IntegerNetwork:
        """The integer network.

        Args:
            bits: Width of the weights of each connection, by label.
            noted: Becomes its provenance, under "quantization".
            method: Another one than the settings'.
        """
        source = self.source
        parts = self.parts(bits, method)
        readout = parts[source.readout.name]
        populations = {}
        for name in source.populations:
            population = parts[name].population
            assert population is not None
            populations[name] = population
        return IntegerNetwork(
            input=replace(source.input, scale=self.input_scale),
            populations=populations,
            connections=tuple(c for name in populations for c in parts[name].connections),
            readout=self._readout(readout),
            steps=source.steps,
            provenance={**source.provenance, "quantization": dict(noted)},
        )

    def parts(self, bits: Mapping[str, int], method: Method | None = None) -> dict[str, Part]:
        """All parts at these widths, by name, in the order of the network."""
        widths: dict[str, list[int]] = {
            name: [] for name in (*self.source.populations, self.source.readout.name)
        }
        for label, connection in self.separated.labelled():
            widths[connection.target].append(bits[label])
        return {name: self.part(name, tuple(w), method) for name, w in widths.items()}

    def part(self, name: str, widths: Widths, method: Method | None = None) -> Part:
        """One of them.

        Args:
            name: Of a population, or of the readout.
            widths: Per connection into it.
            method: Another one than the settings'.
        """
        key = name, widths, method or self.settings.method_at(widths)
        if key not in self._parts:
            self._parts[key] = self._part(*key)
        return self._parts[key]

    def _part(self, name: str, widths: Widths, method: Method) -> Part:
        incoming = self._incoming(name)
        population = self.source.populations.get(name)
        shape = self.source.shape_of(name)
        channels = self._channels(shape[0], incoming)
        quarter = math.inf
        if population is not None:
            # Thresholds and bias may take up to a quarter of the state's range.
            quarter = self.settings.state_bits - 2 - (self.settings.state_shift or 0)
        scaling = self._scaling(name, incoming, widths, self._sizes(name, channels), quarter)
        fitted = None
        if method == "nearest":
            weights = quantize_weights(scaling)
        else:
            fitted = fit(scaling, self._moments.of(name), self._importance(name, channels), method)
            weights = fitted.weights
        connections = tuple(
            replace(c, operator=operator, exponent=exponent, bits=width)
            for c, operator, exponent, width in zip(
                incoming, weights.operators, weights.exponents, widths, strict=True
            )
        )
        if population is None:
            return Part(
                connections=connections, weights=weights, fitted=fitted, population=None, bound=0
            )
        if fitted is not None:
            population = corrected(population, fitted.mean_error)
        accumulator = arrivals_bound(self.source, connections, channels)
        chosen = self._neuron(name, population, weights.scales, accumulator)
        return Part(
            connections=connections,
            weights=weights,
            fitted=fitted,
            population=replace(population, neuron=chosen.neuron),
            bound=chosen.bound,
        )

    def _incoming(self, target: str) -> list[Connection]:
        """Float connections into a target, in units of a spike or of a payload."""
        return [
            replace(c, operator=_times(c, self.input_scale))
            if self.source.input.name in c.sources
            else c
            for c in self.separated.into(target)
        ]

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

    def _sizes(self, name: str, channels: int) -> Array:
        """(channels,): the largest threshold or bias."""
        if name == self.source.readout.name:
            bias = self.source.readout.bias
            return per_channel(bias, bias.shape, channels)
        population = self.source.populations[name]
        neuron = _floating(population)
        sizes = [
            per_channel(np.where(np.isfinite(values), values, 0.0), population.shape, channels)
            for values in (neuron.th_pos, neuron.th_neg, neuron.bias, neuron.v_init, neuron.floor)
        ]
        return np.asarray(np.max(sizes, axis=0))

    def _importance(self, name: str, channels: int) -> Array:
        """(channels,): what an error of the current counts: relative to the threshold."""
        if name == self.source.readout.name:
            return np.ones(channels)
        population = self.source.populations[name]
        neuron = _floating(population)
        lowest = np.minimum.reduce(
            [
                per_channel(values, population.shape, channels, np.min)
                for values in (neuron.th_pos, neuron.th_neg)
            ]
        )
        return np.where(np.isfinite(lowest), 1.0 / lowest**2, 1.0)

    def _scaling(
        self,
        target: str,
        incoming: list[Connection],
        widths: Widths,
        parameters: Array,
        room: float,
    ) -> Scaling:
        """What the scales of a target depend on.

        Args:
            target: Its name.
            incoming: Float connections into it.
            widths: Bits of the weights of each.
            parameters: (channels,) its largest threshold or bias.
            room: Bits that this may have, at most, in units of the accumulator.
        """
        payload = max(map(self._payload, incoming), default=1)
        room = min(room, PARAMETER_BITS + payload.bit_length() - 1)
        is_readout = target == self.source.readout.name
        return Scaling(
            [c.operator for c in incoming],
            [self._shape(c) for c in incoming],
            parameters / 2.0**room,
            # A channel without any weight takes its scale from its threshold or bias.
            np.where(parameters > 0, parameters / 2.0**THRESHOLD_BITS, 1.0),
            bits=widths,
            per_channel=self.settings.granularity == "channel" and not is_readout,
        )

    def _neuron(
        self, name: str, population: Population, scales: Array, accumulator: Array
    ) -> Candidate:
        """The neuron at the given state shift, or at the one that suits it best."""
        bits, given = self.settings.state_bits, self.settings.state_shift
        candidates: dict[int, Candidate] = {}
        refusals = []
        for shift in STATE_SHIFTS if given is None else (given,):
            try:
                neuron = fixed_neuron(name, population, scales, shift, bits)
            except QuantizationError as refusal:
                refusals.append(refusal)
                continue
            bound = state_bound(neuron, population.shape, accumulator, self.source.steps)
            candidates[shift] = Candidate(
                neuron,
                bound,
                is_proved=bound <= state_limit(bits),
                is_precise=is_precise(neuron),
            )
        if not candidates:
            raise refusals[0]
        return candidates[best_shift(candidates)]

    def _readout(self, part: Part) -> Readout:
        readout = self.source.readout
        scale = float(part.weights.scales[0])
        bias = readout.bias
        if part.fitted is not None:
            mean = part.fitted.mean_error
            bias = bias - np.repeat(mean, len(bias) // len(mean))
        weights, unit = integer_time_weights(readout.weights)
        return Readout(
            name=readout.name,
            connections=part.connections,
            bias=np.rint(bias / scale * 2.0**DEFAULT_STATE_SHIFT).astype(np.int64),
            weights=weights,
            state_shift=DEFAULT_STATE_SHIFT,
            scale=scale / 2.0**DEFAULT_STATE_SHIFT * unit,
        )


def corrected(population: Population, mean_error: Array) -> Population:
    """A float population whose bias takes away the mean error of its current.

    One that has a window of firing keeps its bias: input and output have times of their own there,
    and a bias acts at all of them.

    Args:
        population: With a float neuron.
        mean_error: (channels,), each of an equal share of the first axis.
    """
    windowed = {"fire_from", "fire_until"}.intersection(scheduled_fields(_floating(population)))
    if not mean_error.any() or windowed:
        return population
    shape = population.shape
    error = np.repeat(mean_error, shape[0] // len(mean_error))
    neuron = _floating(population)
    bias = neuron.bias - error.reshape(-1, *((1,) * (len(shape) - 1)))
    return replace(population, neuron=replace(neuron, bias=bias))


def _floating(population: Population) -> Neuron:
    neuron = population.neuron
    assert not isinstance(neuron, FixedPointNeuron)
    return neuron


def _times(connection: Connection, factor: float) -> Any:
    operator = connection.operator
    if isinstance(operator, Identity):
        return Identity(scale=operator.scale * factor)
    return replace(operator, weight=operator.weight * factor)
