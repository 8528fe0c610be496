"""Plastic networks: how their weights are carried along, and who may not run them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from trispike.errors import InvalidDataError, InvalidSettingError, UnsupportedError
from trispike.network.connection import Connection, Dense
from trispike.network.network import IntegerNetwork, Network
from trispike.network.plasticity import Plasticity, PlasticState

Array: TypeAlias = npt.NDArray[Any]

Keep: TypeAlias = Literal["last", "sample", "step"]
"""Which learned weights an engine returns: those after the run, every sample, or every step."""

EVERY = "*"
"""Stands for every connection that can be plastic."""


def plastic(network: Network) -> dict[str, Connection]:
    """The plastic connections by label, in the order of the network."""
    return {label: c for label, c in network.labelled() if c.plasticity is not None}


def make_plastic(network: IntegerNetwork, rules: Mapping[str, Plasticity | None]) -> IntegerNetwork:
    """The same network with a rule on some of its connections. Experimental.

    Args:
        network: An integer network.
        rules: By label of a connection; ``"*"`` stands for every dense connection between spiking
            populations, the input included, that has no entry of its own. None: not plastic.

    Raises:
        InvalidSettingError: A label that the network does not have, or nothing to be made plastic.
        InvalidNetworkError: A rule does not fit its connection, or the connection cannot be
            plastic.
        UnsupportedError: A float network.
    """
    if not isinstance(network, IntegerNetwork):
        raise UnsupportedError(
            "plasticity",
            got=f"a {network.kind} network",
            expected="an integer network, because rules are integer",
            fix="Quantize it first (trispike.quantize).",
        )
    able = [n for n, c in network.labelled() if can_be_plastic(network, c)]
    unknown = [label for label in rules if label != EVERY and label not in network.labels]
    if unknown or (EVERY in rules and not able):
        raise InvalidSettingError(
            "plasticity rules",
            got=", ".join(map(repr, unknown)) or "no dense connection into a population",
            expected="labels of connections; these can be plastic: " + (", ".join(able) or "none"),
            fix="Use a label that trispike inspect prints, or '*'.",
        )

    def ruled(label: str, connection: Connection) -> Connection:
        if label in rules:
            return replace(connection, plasticity=rules[label])
        if EVERY in rules and label in able:
            return replace(connection, plasticity=rules[EVERY])
        return connection

    parts = [ruled(label, connection) for label, connection in network.labelled()]
    count = len(network.connections)
    return replace(
        network,
        connections=tuple(parts[:count]),
        readout=replace(network.readout, connections=tuple(parts[count:])),
    )


def with_learned(network: IntegerNetwork, fine: Mapping[str, Array]) -> IntegerNetwork:
    """The network with weights that were learned, without the rules that learned them.

    Args:
        network: A plastic network.
        fine: By label: (outputs, inputs) in units of 2**-fine_bits, as in ``Result.weights`` of a
            run that returns the last ones.

    Raises:
        InvalidDataError: Weights of another network, or more than the last ones.
    """
    carried = plastic(network)
    wanted = {label: c.operator.weight.shape for label, c in carried.items()}
    if {label: array.shape for label, array in fine.items()} != wanted:
        raise InvalidDataError(
            "learned weights",
            got=", ".join(f"{label} {array.shape}" for label, array in fine.items()) or "none",
            expected=", ".join(f"{label} {shape}" for label, shape in wanted.items()) or "none",
            fix="Run this network with weights='last', and pass the result's weights.",
        )

    def learned(label: str, connection: Connection) -> Connection:
        if label not in carried:
            return connection
        rule, trained = _parts(connection)
        state = rule.start(trained)._replace(fine=fine[label].astype(np.int64))
        return replace(connection, operator=Dense(weight=rule.weights(state)), plasticity=None)

    parts = [learned(label, connection) for label, connection in network.labelled()]
    return replace(network, connections=tuple(parts[: len(network.connections)]))


def can_be_plastic(network: Network, connection: Connection) -> bool:
    """Whether a connection may carry a rule: a matrix, into a population, which has spikes."""
    return isinstance(connection.operator, Dense) and connection.target != network.readout.name


def refuse_plastic(network: Network, what: str, expected: str = "fixed weights") -> None:
    """Raise for whoever takes weights for constants.

    Args:
        network: Any network.
        what: Who cannot take it: ``"fast engine"``.
        expected: What it can take.

    Raises:
        UnsupportedError: The network is plastic.
    """
    if labels := plastic(network):
        raise UnsupportedError(
            what,
            got="plastic connections: " + ", ".join(labels),
            expected=expected,
            fix="Use the reference or the lava engine, which have run-time plasticity, or take "
            "the rules off (trispike.make_plastic(network, {label: None})).",
        )


def widest(connection: Connection) -> Connection:
    """A connection with the largest weights that it can learn, for bounds on sums; or itself."""
    if connection.plasticity is None:
        return connection
    rule, weight = _parts(connection)
    largest = max(abs(limit) for limit in rule.limits(connection.bits))
    operator = Dense(weight=((weight != 0) * largest).astype(np.int8))
    return replace(connection, operator=operator, plasticity=None)


def updates_per_sample(network: Network) -> dict[str, int]:
    """By plastic connection: how often a sample evaluates the rule of one of its synapses."""
    found = {}
    for label, connection in plastic(network).items():
        assert connection.plasticity is not None
        moments = network.steps if connection.plasticity.update == "step" else 1
        found[label] = moments * int(np.count_nonzero(connection.operator.weight))
    return found


def kept_weights(
    network: Network, keep: Keep, samples: int, targets: Collection[str] | None = None
) -> dict[str, Array]:
    """The arrays that a run of so many samples fills, by label of a plastic connection.

    They hold the trained weights, in units of 2**-fine_bits: (outputs, inputs), after N of samples
    or (N, T) before it.
    """
    before = {"last": (), "sample": (samples,), "step": (samples, network.steps)}[keep]
    arrays = {}
    for label, connection in plastic(network).items():
        if targets is None or connection.target in targets:
            rule, weight = _parts(connection)
            fine = rule.start(weight).fine.astype(np.int32)
            arrays[label] = np.broadcast_to(fine, (*before, *fine.shape)).copy()
    return arrays


def keep_weights(arrays: Mapping[str, Array], keep: Keep, sample: int, t: int, fine: Any) -> None:
    """Write the weights after a step of a sample, by label, where :func:`kept_weights` has them."""
    index = {"last": (), "sample": (sample,), "step": (sample, t)}[keep]
    for label, array in arrays.items():
        array[index] = fine[label]


def check_keep(keep: str) -> None:
    """Raise InvalidSettingError unless an engine knows which weights are meant."""
    if keep not in get_args(Keep):
        raise InvalidSettingError(
            "weights",
            got=repr(keep),
            expected="one of " + ", ".join(get_args(Keep)),
            fix="Choose which learned weights to return.",
        )


class Learner:
    """The weights of the plastic connections into some populations while samples pass.

    Args:
        network: Any network; without plastic connections there is nothing to do.
        targets: Populations whose connections are meant; None: all.
    """

    def __init__(self, network: Network, targets: Collection[str] | None = None) -> None:
        self._network = network
        self._trained = {
            label: connection
            for label, connection in plastic(network).items()
            if targets is None or connection.target in targets
        }
        self._states: dict[str, PlasticState] = {}
        self._now = dict(self._trained)
        for label, connection in self._trained.items():
            rule, weight = _parts(connection)
            self._states[label] = rule.start(weight)

    def begin(self, samples: int = 1) -> None:
        """Begin the next sample.

        Raises:
            InvalidDataError: Several at once: weights are of one sample, and may go on to the next.
        """
        if self._trained and samples != 1:
            raise InvalidDataError(
                "plastic network",
                got=f"{samples} samples at once",
                expected="one at a time, because each has weights of its own",
                fix="Run it with the reference engine, which does so.",
            )
        for label, connection in self._trained.items():
            rule, weight = _parts(connection)
            self._set(label, rule.begin_sample(self._states[label], weight))

    def present(self, label: str, connection: Connection) -> Connection:
        """The connection with the weights that it has now."""
        return self._now.get(label, connection)

    def learn(self, target: str, t: int, received: Mapping[str, Array], fired: Array) -> None:
        """End a time step of a population.

        Args:
            target: Its name.
            t: Index of the step.
            received: By label: summed spikes of the sources, (1, *source shape).
            fired: What it fired, (1, *shape).
        """
        for label, connection in self._trained.items():
            if connection.target == target:
                rule, weight = _parts(connection)
                x = received[label]
                pooled = connection.pool.apply(x) if connection.pool else x
                state = rule.step(
                    self._states[label],
                    weight,
                    connection.bits,
                    pooled.reshape(-1),
                    fired.reshape(-1),
                    last=t == self._network.steps - 1,
                )
                self._set(label, state)

    @property
    def fine(self) -> dict[str, Array]:
        """By label: weights in units of 2**-fine_bits, (outputs, inputs)."""
        return {label: state.fine for label, state in self._states.items()}

    def _set(self, label: str, state: PlasticState) -> None:
        unchanged = state.fine is self._states[label].fine
        self._states[label] = state
        if not unchanged:
            rule, _ = _parts(self._trained[label])
            operator = Dense(weight=rule.weights(state))
            # Without the rule, because what is learned need not be what the rule starts from.
            present = replace(self._trained[label], operator=operator, plasticity=None)
            self._now[label] = present


def _parts(connection: Connection) -> tuple[Plasticity, Array]:
    assert connection.plasticity is not None
    return connection.plasticity, connection.operator.weight
