"""The reference engine: the plain loop of :mod:`trispike.network.dynamics`, counted.

It is slow and obvious on purpose. It needs NumPy only, runs float and integer networks, and
defines what every other engine has to equal.
"""

from __future__ import annotations

from typing import Any

from trispike.errors import SaturationError
from trispike.network import Network
from trispike.network.dynamics import TimeStep, time_steps
from trispike.network.learning import (
    Keep,
    Learner,
    check_keep,
    keep_weights,
    kept_weights,
    plastic,
)
from trispike.runtime.engine import Array, Progress, Recording, Result, Run, check_positive
from trispike.runtime.ledger import LedgerCounter


class ReferenceEngine:
    """Runs a network in NumPy, batch by batch and step by step.

    Args:
        network: A float or an integer network.
        batch_size: Samples that are run together; bounds the memory.
        strict: Raise at the first state that leaves its range, instead of clipping and counting.
        weights: Of a plastic network, which runs sample by sample: which learned weights to return:
            those after the run ("last"), after every "sample", or every "step".

    Raises:
        InvalidSettingError: A batch size below 1, or unknown weights.
    """

    name = "reference"

    def __init__(
        self,
        network: Network,
        *,
        batch_size: int = 32,
        strict: bool = False,
        weights: Keep = "last",
    ) -> None:
        check_positive(batch_size=batch_size)
        check_keep(weights)
        self.network = network
        # Every sample has weights of its own, and may hand them on to the next.
        self.batch_size = 1 if plastic(network) else batch_size
        self.strict = strict
        self.weights = weights

    def run(
        self,
        inputs: Array,
        labels: Array | None = None,
        *,
        record: Recording = None,
        progress: Progress | None = None,
        per_sample: bool = False,
    ) -> Result:
        """Run raw data; see :class:`trispike.runtime.engine.Engine`.

        Raises:
            InvalidDataError: Data, labels or recording do not fit the network.
            SaturationError: A state left its range, in strict mode.
        """
        run = Run(self.network, inputs, labels, record)
        samples = run.sample_counter(per_sample)
        counter = LedgerCounter(self.network, samples)
        learner = Learner(self.network)
        weights = kept_weights(self.network, self.weights, run.samples)
        for batch in run.batches(self.batch_size):
            counter.add_samples(batch.stop - batch.start)
            if samples:
                samples.add_input_events(batch, run.encoded[batch])
            for step in time_steps(self.network, run.encoded[batch], learner=learner):
                counter.add_step(step, batch)
                run.step_logits[batch, step.t] = step.logits
                self._check(step)
                keep_weights(weights, self.weights, batch.start, step.t, step.fine)
                for name, traces in run.records.items():
                    for trace, target in traces.items():
                        target[batch, step.t] = _trace(step, name, trace)
            if progress:
                progress(batch.stop - batch.start)
        return run.result(self.name, counter.ledger(), weights=weights)

    def _check(self, step: TimeStep) -> None:
        if not self.strict:
            return
        for name, population in step.populations.items():
            if population.saturations:
                raise SaturationError.at(name, step.t, population.saturations)


def _trace(step: TimeStep, name: str, trace: str) -> Any:
    population = step.populations[name]
    if trace == "s":
        return population.spikes
    return population.v if trace == "v" else getattr(population.state, trace)
