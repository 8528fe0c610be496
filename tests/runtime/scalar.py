"""A network in plain Python numbers: every synapse, every neuron, one after the other.

Written from the docstrings of ``Neuron``, ``FixedPointNeuron`` and ``Network``, with no array
arithmetic of trispike but the linear map itself, which is taken apart into its synapses by giving
it one source element at a time. Only fit for tiny networks.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.network import Connection, Network
from trispike.network.connection import Shape

Array: TypeAlias = npt.NDArray[Any]
Number: TypeAlias = Any
"""int in integer networks, float in float ones."""


def synapses(connection: Connection, shape: Shape) -> list[list[tuple[int, Number]]]:
    """For every source element: the targets that it reaches, with the weights."""
    size = int(np.prod(shape))
    probes = np.eye(size, dtype=np.int64).reshape(size, *shape)
    rows = connection.current(probes).reshape(size, -1).tolist()
    return [[(target, weight) for target, weight in enumerate(row) if weight] for row in rows]


@dataclass
class Run:
    """What one sample did."""

    traces: dict[tuple[str, str], list[list[Number]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """(population, trace) to a list per step, in row-major order."""
    step_logits: list[list[Number]] = field(default_factory=list)
    """Per step."""
    counts: dict[tuple[str, str, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    """(group, name, entry) of the ledger to a list over steps."""


def run(network: Network, sample: Array) -> Run:
    """Run one sample, encoded: (*shape) for direct input, otherwise (T, *shape)."""
    result = Run()
    wiring = {label: synapses(c, network.source_shape(c)) for label, c in network.labelled()}
    neurons = {name: _Neurons(network, name) for name in network.populations}
    emitted: list[dict[str, list[Number]]] = []
    for t in range(network.steps):
        frame = sample if network.input.encoding == "direct" else sample[t]
        emitted.append({network.input.name: frame.reshape(-1).tolist()})

        def current(target: str, size: int, t: int = t) -> list[Number]:
            total = [0] * size
            for label, connection in network.labelled():
                if connection.target == target:
                    operations = macs = 0
                    for source in connection.sources if t >= connection.delay else ():
                        payloads = emitted[t - connection.delay][source]
                        for payload, reached in zip(payloads, wiring[label], strict=True):
                            if payload in (-1, 1):
                                operations += len(reached)
                            elif payload:
                                macs += len(reached)
                            for index, weight in reached if payload else ():
                                total[index] += payload * weight
                    result.counts["connections", label, "synaptic_operations"].append(operations)
                    result.counts["connections", label, "macs"].append(macs)
                    every = sum(map(len, wiring[label])) * len(connection.sources)
                    result.counts["connections", label, "dense_operations"].append(every)
            return total

        for name in network.order:
            acc = current(name, network.populations[name].size)
            traces, saturations = neurons[name].step(acc, t)
            emitted[t][name] = traces["s"]
            for trace, values in traces.items():
                result.traces[name, trace].append(values)
            for entry, count in (
                ("spikes_positive", traces["s"].count(1)),
                ("spikes_negative", traces["s"].count(-1)),
                ("updates", len(acc)),
                ("updates_with_input", len(acc) - acc.count(0)),
                ("saturations", saturations),
            ):
                result.counts["populations", name, entry].append(count)
        readout = network.readout
        result.step_logits.append(
            [
                acc * 2**readout.state_shift + bias
                for acc, bias in zip(
                    current(readout.name, readout.classes), readout.bias.tolist(), strict=True
                )
            ]
        )
    return result


class _Neurons:
    """The neurons of one population, with their state."""

    def __init__(self, network: Network, name: str) -> None:
        population = network.populations[name]
        self.integer = network.kind == "integer"
        self.plain = population.neuron.plain_fields()
        arrays = population.neuron.array_fields()
        self.neurons = [
            {key: np.broadcast_to(a, population.shape).reshape(-1)[n].item()
             for key, a in arrays.items()}
            for n in range(population.size)
        ]  # fmt: skip
        self.states = [(0, 0, p["v_init"], False) for p in self.neurons]

    def step(self, acc: list[Number], t: int) -> tuple[dict[str, list[Number]], int]:
        traces: dict[str, list[Number]] = {trace: [] for trace in "sicv"}
        saturations = 0
        for n, (p, x) in enumerate(zip(self.neurons, acc, strict=True)):
            i, c, v, fired = self.states[n]
            i, over_i = self._saturated(self._kept(i, p["k"]) + self._gained(self._shifted(x), t))
            c, over_c = self._saturated(
                self._kept(c, p["a_pos"] if c >= 0 else p["a_neg"])
                + self._kept(v, p["b_pos"] if v >= 0 else p["b_neg"])
            )
            v, over_v = self._saturated(c + i + self._gained(p["bias"], t))
            v = max(v, p["floor"])
            saturations += over_i + over_c + over_v
            s = self._spike(v, p, fired, t)
            for trace, value in zip("sicv", (s, i, c, v), strict=True):
                traces[trace].append(value)
            if s and self.plain["reset"] == "zero":
                v = 0
            elif s and self.plain["reset"] == "subtract":
                v = v - p["th_pos"] if s > 0 else v + p["th_neg"]
            self.states[n] = (i, c, v, fired or s != 0)
        return traces, saturations

    def _spike(self, v: Number, p: dict[str, Number], fired: bool, t: int) -> int:
        if self.plain["fire_once"] and fired:
            return 0
        if t not in range(self.plain["fire_from"], self.plain["fire_until"] or 10**9):
            return 0
        if v == p["th_pos"] or v == -p["th_neg"]:
            return 0 if self.plain["strict"] else (1 if v > 0 else -1)
        return int(v > p["th_pos"]) - int(v < -p["th_neg"])

    def _gained(self, x: Number, t: int) -> Number:
        return self._kept(x, self.plain["gains"][t]) if self.plain["gains"] else x

    def _shifted(self, x: Number) -> Number:
        return x * 2 ** self.plain["state_shift"] if self.integer else x

    def _kept(self, z: Number, share: Number) -> Number:
        if not self.integer:
            return z * share
        kept = abs(z) * share // 4096
        return kept if z >= 0 else -kept

    def _saturated(self, z: Number) -> tuple[Number, int]:
        if not self.integer:
            return z, 0
        limit = 2 ** (self.plain["state_bits"] - 1) - 1
        return (z, 0) if abs(z) <= limit else (limit if z > 0 else -limit, 1)
