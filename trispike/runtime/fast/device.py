"""A batch of samples through a network in torch, on any device: step by step, all samples at once.

Convolutions run without cuDNN, which may choose an algorithm that rounds (Winograd, FFT). What is
left multiplies matrices: every product and every partial sum is an integer that float32 (TF32
included, for factors below 2**11) or float64 holds, so that nothing is rounded in any order.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trispike.errors import InvalidSettingError, UnsupportedError
from trispike.network import Connection, Conv2d, Dense, FixedPointNeuron, Network, Population
from trispike.network.connection import EXACT_FLOAT64, SumPool
from trispike.network.fixed_point import DECAY_BITS, DECAY_ONE, state_limit
from trispike.runtime.engine import Run
from trispike.runtime.fast.batch import Tally, samples_that_fit
from trispike.runtime.fast.layout import to_layout
from trispike.runtime.fast.plan import EXACT_FLOAT32, current_limit, pooled_limit
from trispike.runtime.sample_counts import SampleCounter

EXACT_TF32 = 1 << 11
"""Integers up to this magnitude are factors that TF32 does not round."""

LARGEST_BATCH = 1024
"""Larger ones gain nothing."""

WORKING_COPIES = 6
"""How often a layer's values exist at once: states, spikes, currents, and what makes them."""


class _State(NamedTuple):
    i: Tensor
    c: Tensor
    v: Tensor
    fired: Tensor


class DeviceMachine:
    """A network on a device of torch, ready to run.

    Args:
        network: The network.
        device: As torch names it: "cuda", "cuda:1", "cpu".
        memory: Bytes of the device that a batch may take.

    Raises:
        InvalidSettingError: torch has no such device, or the memory is too small for one sample.
        UnsupportedError: Sums that float64 does not hold.
    """

    def __init__(self, network: Network, device: str, memory: int) -> None:
        self.network = network
        self._device = checked_device(device)
        self._number = torch.int64 if network.kind == "integer" else torch.float64
        self._links = [
            _DeviceLink(network, label, connection, self._device)
            for label, connection in network.labelled()
        ]
        self._neurons = {
            name: _DeviceNeurons(population, self._device)
            for name, population in network.populations.items()
        }
        self._longest = max(connection.delay for connection in network.all_connections)
        sizes = [population.size for population in network.populations.values()]
        unfolded = max((link.unfolded for link in self._links), default=0)
        needed = 8 * (WORKING_COPIES * sum(sizes) + 2 * unfolded) + sum(sizes) * self._longest
        self.batch_size = min(LARGEST_BATCH, samples_that_fit(memory, needed))

    @contextlib.contextmanager
    def started(self) -> Iterator[None]:
        """With the settings of torch under which integers stay exact."""
        tf32 = torch.backends.cuda.matmul.allow_tf32
        narrow = all(link.factor < EXACT_TF32 for link in self._links)
        torch.backends.cuda.matmul.allow_tf32 = narrow and self.network.kind == "integer"
        try:
            with torch.backends.cudnn.flags(enabled=False), torch.no_grad():
                yield
        finally:
            torch.backends.cuda.matmul.allow_tf32 = tf32

    def run(self, run: Run, where: slice, tally: Tally, *, strict: bool) -> None:
        """Run the samples of a batch, fill in their results and count.

        Raises:
            SaturationError: A state left its range, in strict mode.
        """
        network, readout = self.network, self.network.readout
        encoded = run.encode(where)
        tally.add_input(where, encoded)
        before = tally.events()
        frames = torch.from_numpy(encoded).to(self._device)
        states = {n: p.initial_state(len(encoded)) for n, p in self._neurons.items()}
        samples = tally.per_sample
        counted = _DeviceCounts(samples, len(encoded), self._device) if samples else None
        emitted: deque[dict[str, Tensor]] = deque(maxlen=self._longest + 1)
        still: dict[str, Tensor] = {}
        for t in range(network.steps):
            direct = network.input.encoding == "direct"
            emitted.appendleft({network.input.name: frames if direct else frames[:, t]})
            for name in network.order:
                x = self._current(name, emitted, still, len(encoded))
                s, v, states[name], over = self._neurons[name].step(states[name], x, t)
                emitted[0][name] = s
                counts = tally.populations[name]
                found = ((s > 0).sum(), (s < 0).sum(), (x != 0).sum(), over)
                counts.events[:, t] += [int(count) for count in found]
                fired = to_layout((s != 0).sum(0).cpu().numpy(), 0)
                counts.fired[t] += fired.reshape(-1).astype(np.int32)
                if counted:
                    counted.add(name, t, s, x)
                after = states[name]
                traces = {"s": s, "v": v, "i": after.i, "c": after.c}
                for trace, target in run.records.get(name, {}).items():
                    target[where, t] = traces[trace].cpu().numpy()
            x = self._current(readout.name, emitted, still, len(encoded))
            run.step_logits[where, t] = readout.step_logits(x.cpu().numpy())
        if counted:
            counted.end(where)
        if strict:
            tally.check_saturations(before)

    def _current(
        self,
        target: str,
        emitted: deque[dict[str, Tensor]],
        still: dict[str, Tensor],
        samples: int,
    ) -> Tensor:
        """The sum over the connections into a target; what does not change is kept in ``still``."""
        network = self.network
        shape = network.shape_of(target)
        total = torch.zeros((samples, *shape), dtype=self._number, device=self._device)
        for link in self._links:
            connection = link.connection
            if connection.target != target or connection.delay >= len(emitted):
                continue
            is_still = connection.sources == (network.input.name,) and not connection.delay
            is_still &= network.input.encoding == "direct"
            part = still.get(link.label) if is_still else None
            if part is None:
                part = link.current([emitted[connection.delay][s] for s in connection.sources])
                if is_still:
                    still[link.label] = part
            total += part.reshape(total.shape)
        return total


class _DeviceCounts:
    """What happens in every single sample of a batch."""

    def __init__(self, counter: SampleCounter, samples: int, device: torch.device) -> None:
        self._counter = counter
        self._reach, self._found, self._received = {}, {}, {}
        steps = counter.network.steps
        for name in counter.network.populations:
            # Sums of fan-out stay far below 2**53, so that float64 is exact.
            rows = [row.weights for row in counter.rows(name)]
            self._reach[name] = torch.tensor(np.array(rows, np.float64)).to(device)
            shape = (steps, len(rows), samples)
            self._found[name] = torch.zeros(shape, dtype=torch.float64, device=device)
            self._received[name] = torch.zeros((samples, steps), dtype=torch.int64, device=device)

    def add(self, name: str, t: int, spikes: Tensor, current: Tensor) -> None:
        """Count what a population fired and received at step t: (N, *shape) each."""
        active = (spikes != 0).flatten(1).to(torch.float64)
        self._found[name][t] = self._reach[name] @ active.T
        self._received[name][:, t] = (current != 0).flatten(1).sum(1)

    def end(self, where: slice) -> None:
        """Hand over what was found."""
        for name, found in self._found.items():
            counts = found.cpu().numpy().astype(np.int64).transpose(1, 2, 0)
            self._counter.add_counted(name, where, counts)
            self._counter.add_updates(name, where, self._received[name].cpu().numpy())


class _DeviceLink:
    def __init__(
        self, network: Network, label: str, connection: Connection, device: torch.device
    ) -> None:
        self.label = label
        self.connection = connection
        integer = network.kind == "integer"
        limit = current_limit(network, connection) if integer else 0
        if limit >= EXACT_FLOAT64:
            raise UnsupportedError(
                f"connection {label} on {device}",
                got=f"sums up to {limit}",
                expected=f"sums below {EXACT_FLOAT64}, which float64 holds",
                fix="Run it on the processor (leave the device out).",
            )
        narrow = integer and limit < EXACT_FLOAT32
        self.factor = pooled_limit(network, connection) if integer else 0
        self._dtype = torch.float32 if narrow else torch.float64
        self._number = torch.int64 if integer else torch.float64
        weight = (
            torch.tensor(connection.operator.weight, dtype=self._dtype) * 2**connection.exponent
        )
        self._weight = weight.to(device)
        shape = network.source_shape(connection)
        for stage in connection.pool_stages:
            shape = stage.output_shape(shape)
        operator = connection.operator
        outputs = np.prod(operator.output_shape(shape)[1:]) if isinstance(operator, Conv2d) else 0
        self.unfolded = int(np.prod(operator.weight.shape[1:]) * outputs)

    def current(self, sources: list[Tensor]) -> Tensor:
        """(N, *output shape), from what the sources emitted, (N, *source shape) each."""
        x = torch.stack([source.to(self._dtype) for source in sources]).sum(0)
        for stage in self.connection.pool_stages:
            x = _pooled(x, stage)
        operator = self.connection.operator
        if isinstance(operator, Conv2d):
            x = functional.conv2d(
                x,
                self._weight,
                None,
                operator.stride,
                operator.padding,
                operator.dilation,
                operator.groups,
            )
        elif isinstance(operator, Dense):
            x = x.flatten(1) @ self._weight.T
        else:
            x = x * self._weight
        return x.to(self._number)


class _DeviceNeurons:
    """The update of FixedPointNeuron or Neuron in torch."""

    def __init__(self, population: Population, device: torch.device) -> None:
        self._shape = population.shape
        neuron = population.neuron
        self._neuron = neuron
        fields = neuron.array_fields()
        self._fields = {name: torch.tensor(value).to(device) for name, value in fields.items()}
        self._device = device
        self._integer = isinstance(neuron, FixedPointNeuron)

    def initial_state(self, samples: int) -> _State:
        number = torch.int64 if self._integer else torch.float64
        zeros = torch.zeros((samples, *self._shape), dtype=number, device=self._device)
        return _State(zeros, zeros, zeros + self._fields["v_init"], zeros != 0)

    def step(self, state: _State, x: Tensor, t: int) -> tuple[Tensor, Tensor, _State, int]:
        """Spikes, potential before the reset, state after it, and how often it was clipped."""
        neuron, p = self._neuron, self._fields
        if isinstance(neuron, FixedPointNeuron):
            x = x << neuron.state_shift
        bias = p["bias"]
        if neuron.gains:
            gain = torch.tensor(neuron.gains[t], dtype=x.dtype, device=x.device)
            x, bias = self._decay(x, gain), self._decay(bias, gain)
        i, over_i = self._saturated(self._decay(state.i, p["k"]) + x)
        kept = self._decay(state.c, torch.where(state.c >= 0, p["a_pos"], p["a_neg"]))
        leak = self._decay(state.v, torch.where(state.v >= 0, p["b_pos"], p["b_neg"]))
        c, over_c = self._saturated(kept + leak)
        v, over_v = self._saturated(c + i + bias)
        v = torch.maximum(v, p["floor"])
        if neuron.strict:
            plus, minus = v > p["th_pos"], v < -p["th_neg"]
        else:
            plus, minus = v >= p["th_pos"], v <= -p["th_neg"]
        if neuron.fire_once:
            plus, minus = plus & ~state.fired, minus & ~state.fired
        if not neuron.fires_at(t):
            plus, minus = torch.zeros_like(plus), torch.zeros_like(minus)
        after = v
        if neuron.reset == "zero":
            after = torch.where(plus | minus, torch.zeros_like(v), v)
        elif neuron.reset == "subtract":
            after = torch.where(plus, v - p["th_pos"], v)
            after = torch.where(minus, v + p["th_neg"], after)
        spikes = plus.to(torch.int8) - minus.to(torch.int8)
        fired = state.fired | plus | minus
        return spikes, v, _State(i, c, after, fired), over_i + over_c + over_v

    def _decay(self, z: Tensor, m: Tensor) -> Tensor:
        product = z * m
        if not self._integer:
            return product
        return (product + (product < 0) * (DECAY_ONE - 1)) >> DECAY_BITS

    def _saturated(self, z: Tensor) -> tuple[Tensor, int]:
        if not isinstance(self._neuron, FixedPointNeuron):
            return z, 0
        limit = state_limit(self._neuron.state_bits)
        return z.clamp(-limit, limit), int((z.abs() > limit).sum())


def _pooled(x: Tensor, stage: SumPool) -> Tensor:
    """Sums over windows: a convolution of every channel with ones."""
    channels = x.shape[1]
    ones = torch.ones((channels, 1, *stage.kernel), dtype=x.dtype, device=x.device)
    return functional.conv2d(
        x, ones, None, stage.stride, stage.padding, stage.dilation, groups=channels
    )


def checked_device(name: str) -> torch.device:
    """A device of torch on which something can be computed.

    Raises:
        InvalidSettingError: There is none of that name.
    """
    try:
        device = torch.device(name)
        int(torch.ones(1, device=device))
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InvalidSettingError(
            "device",
            got=f"{name!r} ({str(error).splitlines()[0]})",
            expected="a device that this torch can use, such as 'cuda'",
            fix="Leave it out to run on the processor.",
        ) from error
    return device
