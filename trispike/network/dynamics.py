"""How a network advances: the plain loop over time steps that defines its meaning."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.network.connection import Connection
from trispike.network.learning import Learner
from trispike.network.network import Network
from trispike.network.neuron import Step

Array: TypeAlias = npt.NDArray[Any]


class TimeStep(NamedTuple):
    """Everything that happened in one time step, for a batch of N samples."""

    t: int
    """Index of the step, 0..T-1."""
    arrived: Mapping[str, tuple[Array, ...]]
    """By connection label: what each of its sources delivered, (N, *source shape) each."""
    currents: Mapping[str, Array]
    """By population: the sum over its connections, (N, *shape)."""
    populations: Mapping[str, Step]
    """By population: spikes, potential and state."""
    logits: Array
    """Contribution of this step to the logits before its time weight, (N, classes)."""
    fine: Mapping[str, Array] = MappingProxyType({})
    """By label of a plastic connection: its weights after this step, (outputs, inputs), in units of
    2**-fine_bits of its rule."""


def time_steps(
    network: Network,
    inputs: Array,
    observed: Mapping[str, Array] | None = None,
    learner: Learner | None = None,
) -> Iterator[TimeStep]:
    """Run a batch of samples, one time step at a time.

    Args:
        network: A float or an integer network.
        inputs: What ``network.input.encode`` returned: (N, *shape) for direct input,
            (N, T, *shape) otherwise.
        observed: Spikes of every population as they were fired elsewhere, (T, N, *shape). They
            are delivered and reset the neurons, in place of the network's own, which are still
            yielded: a population then differs for reasons of its own only, and not because one
            before it did.
        learner: Weights of plastic connections, which go on from one call to the next if a rule
            keeps them; None: the trained ones. A plastic network runs one sample at a time.

    Yields:
        One :class:`TimeStep` for each t in 0..T-1.

    Raises:
        InvalidDataError: Several samples at once for a plastic network.
    """
    batch = inputs.shape[0]
    learner = Learner(network) if learner is None else learner
    learner.begin(batch)
    states = {
        name: population.neuron.initial_state(batch, population.shape)
        for name, population in network.populations.items()
    }
    labels = list(network.labelled())
    longest = max(connection.delay for _, connection in labels)
    # emitted[d] is what was emitted d steps ago; whatever is older than the start is silence.
    emitted: deque[dict[str, Array]] = deque(maxlen=longest + 1)
    number = np.int64 if network.kind == "integer" else np.float64
    for t in range(network.steps):
        frame = inputs if network.input.encoding == "direct" else inputs[:, t]
        emitted.appendleft({network.input.name: frame})
        arrived: dict[str, tuple[Array, ...]] = {}
        received: dict[str, Array] = {}
        currents: dict[str, Array] = {}
        steps: dict[str, Step] = {}

        def current(target: str, shape: tuple[int, ...]) -> Array:
            total: Array = np.zeros((batch, *shape), dtype=number)
            for label, connection in labels:
                if connection.target == target:
                    arrived[label] = _arriving(network, connection, emitted, batch)  # noqa: B023
                    summed = np.asarray(sum(a.astype(number) for a in arrived[label]))  # noqa: B023
                    received[label] = summed  # noqa: B023
                    present = learner.present(label, connection)
                    total += present.current(summed).reshape(total.shape)
            return total

        for name in network.order:
            population = network.populations[name]
            currents[name] = current(name, population.shape)
            step = population.neuron.step(states[name], currents[name], t)
            steps[name] = step
            if observed is None:
                states[name], emitted[0][name] = step.state, step.spikes
            else:
                fired = observed[name][t]
                states[name] = population.neuron.state_after(states[name], step, fired)
                emitted[0][name] = fired
            learner.learn(name, t, received, emitted[0][name])
        readout = network.readout
        logits = readout.step_logits(current(readout.name, (readout.classes,)))
        yield TimeStep(t, arrived, currents, steps, logits, learner.fine)


def _arriving(
    network: Network, connection: Connection, emitted: deque[dict[str, Array]], batch: int
) -> tuple[Array, ...]:
    if connection.delay >= len(emitted):
        silence = np.zeros((batch, *network.source_shape(connection)), dtype=np.int8)
        return (silence,) * len(connection.sources)
    return tuple(emitted[connection.delay][source] for source in connection.sources)
