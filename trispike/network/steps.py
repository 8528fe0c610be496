"""The same network with another number of time steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from trispike.errors import InvalidSettingError, UnsupportedError
from trispike.network.fixed_point import never
from trispike.network.network import Network, Population, Readout
from trispike.network.neuron import FixedPointNeuron

AnyNetwork = TypeVar("AnyNetwork", bound=Network)


def with_steps(network: AnyNetwork, steps: int) -> AnyNetwork:
    """The same network, run for another number of time steps.

    Nothing that a step computes changes, and no step depends on a later one: what happens in the
    first steps is the same however many follow. A readout that averages over all steps averages
    over the new number; one that reads the last step reads the new last one. In an integer network
    ``readout.scale`` takes the change of the divisor, so that logits stay integers.

    Args:
        network: A float or an integer network.
        steps: T of the new one, fewer or more than now. Data with a frame for each step need as
            many frames. The headroom of integer states was proved for the steps that the network
            was quantized for: beyond these, mind the saturations.

    Raises:
        InvalidSettingError: Less than one step.
        UnsupportedError: Time weights of another kind, or gains for fewer steps: nothing says
            what the new ones would be.
    """
    if steps < 1:
        raise InvalidSettingError(
            "steps", got=str(steps), expected="at least 1", fix="Give a number of time steps."
        )
    if steps == network.steps:
        return replace(network)
    readout = _readout(network.readout, steps)
    return replace(
        network, steps=steps, readout=readout, populations=populations_over(network, steps)
    )


def populations_over(network: Network, steps: int) -> dict[str, Population]:
    """The populations with windows of firing and gains for another number of time steps.

    Args:
        network: A float or an integer network.
        steps: T of the new one, fewer or more than now, at least 1.

    Raises:
        UnsupportedError: Gains for fewer steps.
    """
    return {
        name: replace(population, neuron=_neuron(name, population.neuron, steps))
        for name, population in network.populations.items()
    }


def _neuron(name: str, neuron: Any, steps: int) -> Any:
    if len(neuron.gains) not in (0, steps) and steps > len(neuron.gains):
        raise UnsupportedError(
            f"population {name!r} over {steps} time steps",
            got=f"gains for {len(neuron.gains)}",
            expected="as many gains as time steps, or more",
            fix="Train the network with the number of steps that it shall run.",
        )
    until = neuron.fire_until
    changed = replace(
        neuron,
        gains=neuron.gains[:steps],
        fire_from=neuron.fire_from if neuron.fire_from < steps else 0,
        fire_until=None if until is None or until > steps else until,
    )
    if neuron.fire_from < steps:
        return changed
    # The window is yet to come: until then, a neuron is one that no potential makes fire.
    silent = never(neuron.state_bits) if isinstance(neuron, FixedPointNeuron) else np.inf
    return replace(changed, th_pos=silent, th_neg=silent)


def _readout(readout: Readout, steps: int) -> Readout:
    weights = readout.weights
    last = weights[-1]
    if (weights == last).all():
        ratio = len(weights) / steps
        if weights.dtype.kind == "f":
            return replace(readout, weights=np.full(steps, last * ratio))
        return replace(readout, weights=np.full(steps, last), scale=readout.scale * ratio)
    if not weights[:-1].any():
        return replace(readout, weights=last * (np.arange(steps) == steps - 1))
    raise UnsupportedError(
        f"readout {readout.name!r} over another number of time steps",
        got="time weights that differ from step to step",
        expected="equal ones (the mean), or the last step alone",
        fix="Train the network with the number of steps that it shall run.",
    )
