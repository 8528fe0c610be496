"""Lowering to what standard nodes can say: two opposed LIFs for one ternary neuron, and worse.

This loses spikes, so it is done on request only, and measured. It is a pass from network to
network: what comes out has binary neurons with one leak and no complement, and is exported
exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from trispike.network import (
    Connection,
    Conv2d,
    Dense,
    FloatNetwork,
    Identity,
    Neuron,
    Population,
)
from trispike.network.dynamics import time_steps
from trispike.network.neuron import Reset

Array: TypeAlias = npt.NDArray[Any]

NEGATIVE = "_negative"
"""What is appended to the name of the population that fires the negative spikes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lowered:
    """A network of standard neurons, and what became of the original's."""

    network: FloatNetwork
    """Of binary neurons."""
    losses: tuple[str, ...]
    """What was changed, per population."""
    pairs: dict[str, tuple[str, str | None]]
    """Population to the names of its positive and negative half; None: it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """How far a lowered network is from its original on some data."""

    samples: int
    """Samples that were run."""
    neuron_steps: int
    """Spikes that were compared, silence included."""
    mismatches: int
    """How many differ."""
    by_population: dict[str, float]
    """Fraction of its neuron-steps that differ."""
    predictions_changed: int
    """Samples whose class differs."""

    @property
    def fraction(self) -> float:
        """Mismatches per neuron-step."""
        return self.mismatches / max(1, self.neuron_steps)


def lowered(network: FloatNetwork, reset: Reset, *, complement: bool) -> Lowered:
    """A network that standard neurons can say, as near as they come.

    Args:
        network: The original.
        reset: The only one that the target has.
        complement: Whether what the complement retains is added to the leak, or dropped.
    """
    populations: dict[str, Population] = {}
    losses: list[str] = []
    pairs: dict[str, tuple[str, str | None]] = {}
    for name, population in network.populations.items():
        neuron = cast(Neuron, population.neuron)  # as in every float network
        binary, changed = _binary(neuron, reset, complement)
        losses += [f"population {name!r}: {change}" for change in changed]
        populations[name] = Population(shape=population.shape, neuron=binary)
        if np.isinf(neuron.th_neg).all():
            pairs[name] = name, None
            continue
        other = name + NEGATIVE
        while other in network.populations:
            other += "_"
        opposed = {**binary.array_fields(), "th_pos": neuron.th_neg, "bias": -binary.bias}
        plain: dict[str, Any] = {**opposed, **binary.plain_fields()}
        populations[other] = Population(shape=population.shape, neuron=Neuron(**plain))
        pairs[name] = name, other
        losses.append(f"population {name!r}: two opposed binary populations, subtracted")

    def halves(connection: Connection) -> list[Connection]:
        ternary = tuple(n for n in connection.sources if pairs.get(n, (n, None))[1])
        found = [connection]
        if ternary:
            names = tuple(str(pairs[n][1]) for n in ternary)
            found.append(_negated(replace(connection, sources=names)))
        return found

    connections = [half for c in network.connections for half in halves(c)]
    for connection in list(connections):
        other_target = pairs[connection.target][1]
        if other_target:
            connections.append(_negated(replace(connection, target=other_target)))
    readout = tuple(half for c in network.readout.connections for half in halves(c))
    result = FloatNetwork(
        input=network.input,
        populations=populations,
        connections=tuple(connections),
        readout=replace(network.readout, connections=readout),
        steps=network.steps,
        provenance=dict(network.provenance),
    )
    return Lowered(network=result, losses=tuple(losses), pairs=pairs)


def measured(
    network: FloatNetwork,
    other: FloatNetwork,
    pairs: Mapping[str, tuple[str, str | None]],
    data: Array,
    *,
    batch: int = 16,
) -> Mismatch:
    """Run two networks on the same data and count the spikes that differ.

    Args:
        network: The original, whose input turns the data into what both receive.
        other: What was made of it.
        pairs: As in :class:`Lowered`.
        data: Raw data.
        batch: Samples that are run together.
    """
    inputs = network.input.encode(data, network.steps)
    wrong = dict.fromkeys(network.populations, 0)
    changed = 0
    for first in range(0, len(inputs), batch):
        part = inputs[first : first + batch]
        logits = [np.zeros((len(part), network.readout.classes)) for _ in range(2)]
        both = zip(time_steps(network, part), time_steps(other, part), strict=True)
        for ours, theirs in both:
            weight = network.readout.weights[ours.t]
            logits[0] += weight * ours.logits
            logits[1] += weight * theirs.logits
            for name, (positive, negative) in pairs.items():
                spikes = theirs.populations[positive].spikes
                if negative:
                    spikes = spikes - theirs.populations[negative].spikes
                wrong[name] += int((ours.populations[name].spikes != spikes).sum())
        changed += int((logits[0].argmax(axis=1) != logits[1].argmax(axis=1)).sum())
    sizes = {name: p.size * network.steps * len(inputs) for name, p in network.populations.items()}
    return Mismatch(
        samples=len(inputs),
        neuron_steps=sum(sizes.values()),
        mismatches=sum(wrong.values()),
        by_population={name: wrong[name] / max(1, sizes[name]) for name in wrong},
        predictions_changed=changed,
    )


def _binary(neuron: Neuron, reset: Reset, complement: bool) -> tuple[Neuron, list[str]]:
    """A neuron without what only CTSN has, and what that was."""
    changed = []
    leak = (neuron.b_pos + neuron.b_neg) / 2
    if (np.asarray(neuron.b_pos) != neuron.b_neg).any():
        changed.append("one leak for both signs")
    if np.any(neuron.a_pos) or np.any(neuron.a_neg):
        if complement:
            leak = leak + (neuron.a_pos + neuron.a_neg) / 2
        changed.append("the complement " + ("became part of the leak" if complement else "is gone"))
    if ((leak < 0) | (leak > 1)).any():
        changed.append("the leak was clipped to 0..1")
    if neuron.reset != reset:
        changed.append(f"reset {reset!r} instead of {neuron.reset!r}")
    if np.isfinite(neuron.floor).any():
        changed.append("no lower bound of the potential")
    if np.any(neuron.v_init):
        changed.append("an initial potential of zero")
    if neuron.fire_once:
        changed.append("fires more than once")
    if neuron.fire_from or neuron.fire_until is not None:
        changed.append("fires outside of its window, too")
    if neuron.gains:
        changed.append("no gain per time step")
    leak = np.clip(leak, 0.0, 1.0)
    binary = Neuron(
        b_pos=leak,
        b_neg=leak,
        k=neuron.k,
        bias=neuron.bias,
        th_pos=neuron.th_pos,
        reset=reset,
        strict=neuron.strict,
    )
    return binary, changed


def _negated(connection: Connection) -> Connection:
    operator = connection.operator
    new: Conv2d | Dense | Identity
    if isinstance(operator, Identity):
        new = Identity(scale=-operator.scale)
    elif isinstance(operator, Dense):
        new = Dense(weight=-operator.weight)
    else:
        new = replace(operator, weight=-operator.weight)
    return replace(connection, operator=new)
