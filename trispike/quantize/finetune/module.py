"""An integer network as a trainable module."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from trispike.network import (
    Connection,
    FixedPointNeuron,
    FloatNetwork,
    Identity,
    IntegerNetwork,
    Population,
)
from trispike.network.connection import Operator
from trispike.network.learning import refuse_plastic
from trispike.network.network import PAYLOAD_LIMIT
from trispike.network.stages import stages
from trispike.nn.surrogate import surrogate_by_name
from trispike.quantize.finetune import neurons as dynamics
from trispike.quantize.finetune.initial import Initial, from_float, from_integers
from trispike.quantize.finetune.masters import (
    DEFAULT_TRAINED,
    NeuronMasters,
    Step,
    Trained,
    WeightMaster,
    checked_trained,
)
from trispike.quantize.finetune.neurons import Dynamics, Parameters, Schedule, State
from trispike.quantize.finetune.operators import apply_operator, carrier, exact_arithmetic, pooled
from trispike.quantize.finetune.rounding import rounded
from trispike.quantize.quantize import Quantization

__all__ = ["DEFAULT_SURROGATE", "IntegerModule", "Trace"]

Array: TypeAlias = npt.NDArray[Any]
Advance: TypeAlias = Callable[[str, range, Tensor, State], tuple[Tensor, State]]
Fetch: TypeAlias = Callable[[str, int], Tensor]
"""(source, delay) -> what arrives, (T, N, *shape), or (1, N, *shape) if always the same."""

DEFAULT_SURROGATE = "atan"
"""With its long tails, neurons that never fire learn, too."""


class Trace(NamedTuple):
    """What a network did, in integers."""

    logits: Array
    """(N, K), int64."""
    step_logits: Array
    """(N, T, K), int64: contribution of each step before its time weight."""
    records: Mapping[str, Mapping[str, Array]]
    """``records[population][trace]``: (N, T, *shape), traces s, i, c and v."""


class _Integers(NamedTuple):
    """The integers of one forward pass, as floats through which gradients pass."""

    weights: Mapping[str, Tensor]
    neurons: Mapping[str, tuple[Parameters, Tensor]]
    """Parameters and v_init."""
    readout_bias: Tensor
    readout_step: Tensor


class _Link:
    """A connection, and the arithmetic that is exact for it.

    Args:
        network: Whose connection it is.
        label: Its label.
        connection: The connection.
        fast: Whether gradients may be computed in bfloat16.
    """

    def __init__(
        self, network: IntegerNetwork, label: str, connection: Connection, fast: bool
    ) -> None:
        self.label, self.connection = label, connection
        self.shape = network.shape_of(connection.target)
        self.fast = fast
        operator = connection.operator
        inputs = 1 if isinstance(operator, Identity) else int(operator.weight[0].size)
        payload = PAYLOAD_LIMIT if network.input.name in connection.sources else 1
        area = connection.pool.area if connection.pool else 1
        top = (1 << (connection.bits - 1)) - 1
        self.limit = (
            inputs * payload * len(connection.sources) * area * top
        ) << connection.exponent
        """What no sum exceeds, whatever the weights become."""
        self.dtype = carrier(f"connection {label}", self.limit)

    def current(self, sources: list[Tensor], weight: Tensor) -> Tensor:
        """(T, N, *shape of the target), from (T, N, *shape) of every source."""
        x = functools.reduce(torch.add, sources)
        steps, samples = x.shape[:2]
        flat = pooled(self.connection, x.flatten(0, 1).to(self.dtype))
        scaled = weight.to(self.dtype) * 2.0**self.connection.exponent
        result = apply_operator(self.connection.operator, flat, scaled, fast=self.fast)
        return result.reshape(steps, samples, *self.shape)


class IntegerModule(nn.Module):
    """An integer network that can be trained.

    It computes with the integers that :meth:`export` returns, in floats that hold them exactly, so
    that spikes, states and logits are those of the exported network. Behind every integer is a
    real number that is trained: gradients pass through rounding as if it were not there, and
    through spikes by a surrogate. Convolutions run once for all time steps; only populations that
    read each other run step by step.

    Args:
        network: The integer network.
        initial: Real numbers to begin with; by default its integers.
        trained: Kinds of parameters to train.
        surrogate: Name of the surrogate gradient, see ``trispike.nn.SURROGATES``.
        fast: Neurons through ``torch.compile`` and gradients of convolutions in bfloat16. The
            network computes the same integers. Needs a C++ compiler.

    Raises:
        UnsupportedError: Sums of a layer can leave what float64 holds.
        InvalidSettingError: An unknown kind of parameter.
        InvalidNetworkError: An unknown surrogate.
    """

    def __init__(
        self,
        network: IntegerNetwork,
        initial: Initial | None = None,
        *,
        trained: Collection[Trained] = DEFAULT_TRAINED,
        surrogate: str = DEFAULT_SURROGATE,
        fast: bool = False,
    ) -> None:
        super().__init__()
        refuse_plastic(network, "fine-tuning")
        kinds = checked_trained(trained)
        start = from_integers(network) if initial is None else initial
        self.network = network
        self.fast = fast
        self._stages = stages(network)
        self._functions = dynamics.compiled() if fast else dynamics.EAGER
        self._links = {
            target: [
                _Link(network, label, c, fast)
                for label, c in network.labelled()
                if c.target == target
            ]
            for target in (*network.populations, network.readout.name)
        }
        self._dtypes = {
            target: carrier(f"the input of {target!r}", sum(link.limit for link in links))
            for target, links in self._links.items()
        }
        self._check_logits()
        self._dynamics: dict[str, Dynamics] = {}
        self._schedules: dict[str, Schedule | None] = {}
        for name, population in network.populations.items():
            assert isinstance(population.neuron, FixedPointNeuron)
            self._dynamics[name] = Dynamics.of(population.neuron, surrogate_by_name(surrogate))
            self._schedules[name] = Schedule.of(population.neuron, network.steps)
            self._check_gains(name, population.neuron)
        # By position, because names may hold dots.
        self.steps = nn.ModuleList(
            Step(start.channels[target], is_trained="steps" in kinds) for target in self._links
        )
        self.weights = nn.ModuleList(
            WeightMaster(c, start.weights[label], is_trained="weights" in kinds)
            for label, c in network.labelled()
        )
        self.neurons = nn.ModuleList(
            NeuronMasters(_fixed(population), start.neurons[name], population.shape, kinds)
            for name, population in network.populations.items()
        )
        bias = torch.tensor(start.readout_bias / self._logit_units, dtype=torch.float64)
        self.readout_bias = nn.Parameter(bias, requires_grad="bias" in kinds)

    def _check_gains(self, name: str, neuron: FixedPointNeuron) -> None:
        """Refuse currents that, times a gain, leave float64."""
        if neuron.gains:
            limit = sum(link.limit for link in self._links[name]) << neuron.state_shift
            carrier(f"the input of {name!r} times its gains", limit * max(neuron.gains))

    def _check_logits(self) -> None:
        """Refuse logits that leave float64, with the bias they have at the start, doubled."""
        readout = self.network.readout
        limit = sum(link.limit for link in self._links[readout.name]) << readout.state_shift
        bias = 2 * int(np.abs(readout.bias).max())
        carrier("the logits", (limit + bias) * int(np.abs(readout.weights).sum()))

    @classmethod
    def from_float(
        cls, source: FloatNetwork, quantization: Quantization, **options: Any
    ) -> IntegerModule:
        """The module that begins with a float network's parameters.

        Args:
            source: The float network.
            quantization: What ``quantize`` made of it.
            options: Of the class.

        Raises:
            QuantizationError: It is the quantization of another network.
        """
        return cls(quantization.network, from_float(source, quantization), **options)

    def encode(self, data: Array) -> Tensor:
        """Raw data as the integers that :meth:`forward` takes, int8, on the module's device.

        Raises:
            InvalidDataError: They do not fit the network.
        """
        codes = self.network.input.encode(data, self.network.steps).astype(np.int8)
        return torch.from_numpy(codes).to(self.readout_bias.device)

    def forward(self, encoded: Tensor) -> Tensor:
        """Logits of every time step, such that their mean over time is the network's.

        Args:
            encoded: (N, *shape) for direct input, (N, T, *shape) otherwise, as from
                :meth:`encode`.

        Returns:
            (T, N, K), float64.
        """
        integers = self._integers()
        steps = self._compute(encoded, integers, self._advance(integers))
        return steps * (self._time_weights() * len(steps) * self._scale(integers))

    def integer_logits(self, encoded: Tensor) -> tuple[Tensor, float]:
        """Logits (N, K) in integers, as float64, and the value of one unit; without gradients.

        Args:
            encoded: As for :meth:`forward`.
        """
        with torch.no_grad():
            integers = self._integers()
            steps = self._compute(encoded, integers, self._advance(integers))
            return (steps * self._time_weights()).sum(0), float(self._scale(integers))

    def trace(self, encoded: Tensor) -> Trace:
        """Logits and every spike and state, in integers.

        Args:
            encoded: As for :meth:`forward`.
        """
        runs: dict[str, list[dynamics.Run]] = {name: [] for name in self.network.populations}
        with torch.no_grad():
            integers = self._integers()

            def advance(name: str, steps: range, x: Tensor, state: State) -> tuple[Tensor, State]:
                parameters = _laid_out(integers.neurons[name][0])
                schedule = self._schedule(name, steps, x.device)
                run = dynamics.trace(
                    self._dynamics[name], len(steps), x, state, parameters, schedule
                )
                runs[name].append(run)
                return run.spikes, run.state

            step_logits = self._compute(encoded, integers, advance)
            weighted = (step_logits * self._time_weights()).sum(0)
        records = {}
        for name, parts in runs.items():
            whole = (torch.cat(values) for values in zip(*(p[:4] for p in parts), strict=True))
            records[name] = {
                trace: _from_layout(values).transpose(0, 1).cpu().numpy().astype(np.int64)
                for trace, values in zip("svci", whole, strict=True)
            }
        return Trace(
            weighted.cpu().numpy().astype(np.int64),
            step_logits.transpose(0, 1).cpu().numpy().astype(np.int64),
            records,
        )

    def export(self) -> IntegerNetwork:
        """The integer network that this module is."""
        network = self.network
        with torch.no_grad():
            integers = self._integers()
            scale = float(self._scale(integers))
        connections = {
            label: dataclasses.replace(
                c, operator=_with_weight(c.operator, _whole(integers.weights[label], np.int8))
            )
            for label, c in network.labelled()
        }
        labels = network.labels
        into_populations = tuple(connections[label] for label in labels[: len(network.connections)])
        into_readout = tuple(connections[label] for label in labels[len(network.connections) :])
        return dataclasses.replace(
            network,
            populations={
                name: _exported(population, *integers.neurons[name])
                for name, population in network.populations.items()
            },
            connections=into_populations,
            readout=dataclasses.replace(
                network.readout,
                connections=into_readout,
                bias=_whole(integers.readout_bias, np.int64),
                scale=scale,
            ),
        )

    def confine(self) -> None:
        """Bring weights that are clipped back to where they are not; after every update."""
        steps = self._steps()
        for (_, c), master in zip(self.network.labelled(), self.weights, strict=True):
            assert isinstance(master, WeightMaster)
            master.confine(steps[c.target])

    def _steps(self) -> dict[str, Tensor]:
        """By target."""
        return {target: step() for target, step in zip(self._links, self.steps, strict=True)}

    def _advance(self, integers: _Integers) -> Advance:
        def advance(name: str, steps: range, x: Tensor, state: State) -> tuple[Tensor, State]:
            parameters = _laid_out(integers.neurons[name][0])
            schedule = self._schedule(name, steps, x.device)
            return dynamics.run(
                self._dynamics[name], len(steps), x, state, parameters, self._functions, schedule
            )

        return advance

    def _schedule(self, name: str, steps: range, device: torch.device) -> Schedule | None:
        """What differs between these time steps of a population."""
        schedule = self._schedules[name]
        if schedule is None:
            return None
        taken = slice(steps.start, steps.stop)
        return Schedule(*(values[taken].to(device) for values in schedule))

    def _integers(self) -> _Integers:
        steps = self._steps()
        labelled = zip(self.network.labelled(), self.weights, strict=True)
        readout_step = steps[self.network.readout.name].reshape(())
        return _Integers(
            {label: master(steps[c.target]) for (label, c), master in labelled},
            {
                name: master(steps[name])
                for name, master in zip(self.network.populations, self.neurons, strict=True)
            },
            rounded(self.readout_bias * self._logit_units / readout_step),
            readout_step,
        )

    @property
    def _logit_units(self) -> float:
        """What a logit of 1 is in the integers of one time step."""
        readout = self.network.readout
        total = float(np.abs(readout.weights).sum()) or 1.0
        return 1 / (readout.scale * total)

    def _scale(self, integers: _Integers) -> Tensor:
        """Value of one unit of an integer logit."""
        return integers.readout_step * self.network.readout.scale

    def _time_weights(self) -> Tensor:
        weights = torch.tensor(self.network.readout.weights, dtype=torch.float64)
        return weights.to(self.readout_bias.device)[:, None, None]

    def _compute(self, encoded: Tensor, integers: _Integers, advance: Advance) -> Tensor:
        """Integer logits of every step before the time weight, (T, N, K) in float64."""
        network = self.network
        direct = network.input.encoding == "direct"
        frames = encoded.float()
        signals = {network.input.name: frames[None] if direct else frames.transpose(0, 1)}

        def whole(source: str, delay: int) -> Tensor:
            return _delayed(signals[source], delay, network.steps)

        with exact_arithmetic(encoded.device):
            for stage in self._stages:
                if stage.loop:
                    self._run_loop(stage.populations, signals, integers, advance, len(encoded))
                    continue
                (name,) = stage.populations
                x = _to_layout(self._current(name, whole, integers, len(encoded)))
                state = self._initial_state(name, integers, len(encoded))
                spikes, _ = advance(name, range(network.steps), x, state)
                signals[name] = _from_layout(spikes)
            readout = network.readout
            current = self._current(readout.name, whole, integers, len(encoded)).double()
        logits = current * 2.0**readout.state_shift + integers.readout_bias
        return logits.expand(network.steps, -1, -1)

    def _run_loop(
        self,
        names: tuple[str, ...],
        signals: dict[str, Tensor],
        integers: _Integers,
        advance: Advance,
        samples: int,
    ) -> None:
        """Run populations that read each other, step by step."""
        spikes: dict[str, list[Tensor]] = {name: [] for name in names}
        states = {name: self._initial_state(name, integers, samples) for name in names}
        for t in range(self.network.steps):

            def now(source: str, delay: int, t: int = t) -> Tensor:
                if t < delay:
                    shape = self.network.shape_of(source)
                    return signals[self.network.input.name].new_zeros((1, samples, *shape))
                if source in spikes:
                    return spikes[source][t - delay]
                signal = signals[source]
                return signal if len(signal) == 1 else signal[t - delay : t - delay + 1]

            for name in names:
                x = _to_layout(self._current(name, now, integers, samples))
                fired, states[name] = advance(name, range(t, t + 1), x, states[name])
                spikes[name].append(_from_layout(fired))
        signals.update({name: torch.cat(parts) for name, parts in spikes.items()})

    def _current(self, target: str, fetch: Fetch, integers: _Integers, samples: int) -> Tensor:
        """Sum over the connections into a target: (T, N, *shape), or (1, N, *shape) if the same."""
        shape = self.network.shape_of(target)
        dtype = self._dtypes[target]
        total: Tensor | None = None
        for link in self._links[target]:
            sources = [fetch(source, link.connection.delay) for source in link.connection.sources]
            part = link.current(sources, integers.weights[link.label]).to(dtype)
            total = part if total is None else total + part
        if total is None:
            device = self.readout_bias.device
            return torch.zeros((1, samples, *shape), dtype=dtype, device=device)
        return total

    def _initial_state(self, name: str, integers: _Integers, samples: int) -> State:
        shape = self.network.populations[name].shape
        layout = (*shape[1:], shape[0]) if len(shape) > 1 else shape
        v_init = _parameter_to_layout(integers.neurons[name][1])
        return dynamics.initial_state(samples, layout, v_init)


def _delayed(signal: Tensor, delay: int, steps: int) -> Tensor:
    """A signal (T, N, ...) some steps later, zero before."""
    if not delay:
        return signal
    kept = max(0, steps - delay)
    silence = signal.new_zeros((steps - kept, *signal.shape[1:]))
    return torch.cat([silence, signal.expand(steps, *signal.shape[1:])[:kept]])


def _to_layout(x: Tensor) -> Tensor:
    """(T, N, C, H, W) with the channels last, contiguous; vectors stay as they are."""
    return (x.movedim(2, -1) if x.dim() == 5 else x).contiguous()


def _from_layout(x: Tensor) -> Tensor:
    return x.movedim(-1, 2) if x.dim() == 5 else x


def _parameter_to_layout(value: Tensor) -> Tensor:
    return value.movedim(0, -1) if value.dim() == 3 else value


def _laid_out(parameters: Parameters) -> Parameters:
    return Parameters(*map(_parameter_to_layout, parameters))


def _fixed(population: Population) -> FixedPointNeuron:
    assert isinstance(population.neuron, FixedPointNeuron)
    return population.neuron


def _whole(values: Tensor, dtype: npt.DTypeLike) -> Array:
    array: Array = values.cpu().numpy().astype(dtype)
    return array


def _with_weight(operator: Operator, weight: Array) -> Operator:
    if isinstance(operator, Identity):
        return Identity(scale=weight)
    return dataclasses.replace(operator, weight=weight)


def _exported(population: Population, parameters: Parameters, v_init: Tensor) -> Population:
    fields = parameters._asdict() | {"v_init": v_init}
    integers: dict[str, Any] = {name: _whole(v, np.int64) for name, v in fields.items()}
    return dataclasses.replace(
        population, neuron=dataclasses.replace(_fixed(population), **integers)
    )
