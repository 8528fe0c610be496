"""Set points of plasticity: the activity that the neurons of a network have on given data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.errors import InvalidDataError
from trispike.network import IntegerNetwork, Plasticity, make_plastic
from trispike.network.fixed_point import decay, saturate
from trispike.network.learning import EVERY, can_be_plastic, plastic
from trispike.network.plasticity import TRACE_BITS, TRACE_LIMIT
from trispike.runtime.engine import Progress
from trispike.runtime.local_engines import LOCAL_ENGINES, default_engine

Array: TypeAlias = npt.NDArray[Any]

SAMPLES = 256
"""Samples that are recorded at a time."""


def with_set_points(
    network: IntegerNetwork,
    rules: Mapping[str, Plasticity | None],
    data: Array,
    *,
    progress: Progress | None = None,
) -> dict[str, Plasticity | None]:
    """Rules whose theta is measured: one per neuron, at which its phi is 0 on average.

    With c the activity that a rule sees, phi = k * c * (|c| - theta) averages to 0 over the moments
    at which weights change if theta = mean(c * c) / mean(|c|). A neuron that never fires gets 0.
    The traces begin every sample at 0, also those of a rule that keeps them.

    Args:
        network: The network while all is well; rules that it has already are taken off.
        rules: As :func:`trispike.make_plastic` takes them; ``"*"`` becomes one entry for each
            connection that it stands for.
        data: Raw data, as ``network.input.encode`` takes them.
        progress: Called with the number of samples finished since the last call.

    Raises:
        InvalidDataError: Data that do not fit, or none.
        InvalidSettingError: As :func:`trispike.make_plastic`.
    """
    if not len(data):
        raise InvalidDataError(
            "data", got="no samples", expected="at least one", fix="Give some data."
        )
    still = make_plastic(network, dict.fromkeys(plastic(network)))
    make_plastic(still, rules)  # fails before the long part, if it does
    wanted = {label: rule for label, rule in rules.items() if label != EVERY}
    for label, connection in network.labelled():
        if EVERY in rules and label not in wanted and can_be_plastic(network, connection):
            wanted[label] = rules[EVERY]
    targets = {label: connection.target for label, connection in network.labelled()}
    active = {label: rule for label, rule in wanted.items() if rule is not None}
    record = {targets[label]: ("s",) for label in active}
    sums = {label: np.zeros((2, network.populations[targets[label]].size)) for label in active}
    engine = LOCAL_ENGINES[default_engine()](still)
    for first in range(0, len(data), SAMPLES):
        part = data[first : first + SAMPLES]
        result = engine.run(part, record=record, progress=progress)
        for label, rule in active.items():
            sums[label] += _moments(rule, result.records[targets[label]]["s"])
    return {
        label: None if rule is None else replace(rule, theta=_balance(*sums[label]))
        for label, rule in wanted.items()
    }


def _moments(rule: Plasticity, spikes: Array) -> Array:
    """Sums of c * c and of |c| over samples and moments, (2, neurons)."""
    samples, steps = spikes.shape[:2]
    fired = spikes.reshape(samples, steps, -1).astype(np.int64)
    counted = np.abs(fired) if rule.activity == "magnitude" else fired
    trace = np.zeros((samples, fired.shape[2]), np.int64)
    sums = np.zeros((2, fired.shape[2]))
    for t in range(steps):
        kept = decay(trace, rule.post_decay)
        trace, _ = saturate(kept + (counted[:, t] << rule.trace_shift), TRACE_BITS)
        if rule.update == "step" or t == steps - 1:
            sums += (trace * trace).sum(axis=0), np.abs(trace).sum(axis=0)
    return sums


def _balance(squares: Array, magnitudes: Array) -> Array:
    theta = np.rint(squares / np.maximum(magnitudes, 1)).astype(np.int64)
    return np.minimum(theta, TRACE_LIMIT)
