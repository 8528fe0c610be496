"""Populations whose dynamics depend on the time step, and inputs that are presented once.

What cannot run them says so through :func:`refuse_schedules`, by the names of the fields.
"""

from __future__ import annotations

from trispike.errors import UnsupportedError
from trispike.network.network import Network
from trispike.network.neuron import FixedPointNeuron, Neuron


def scheduled_fields(neuron: Neuron | FixedPointNeuron) -> tuple[str, ...]:
    """Names of the fields that make a neuron depend on the time step; () if none does."""
    given = {
        "fire_from": neuron.fire_from > 0,
        "fire_until": neuron.fire_until is not None,
        "gains": bool(neuron.gains),
    }
    return tuple(name for name, present in given.items() if present)


def refuse_schedules(network: Network, what: str, *, once: bool = True) -> None:
    """Refuse windows of firing, gains per time step, and an input that is presented once.

    Args:
        network: The network.
        what: Who cannot run it, such as "SANA-FE".
        once: Whether the input is refused, too.

    Raises:
        UnsupportedError: One of them is there; the first population that has one is named.
    """
    fix = "Run it on the reference engine."
    for name, population in network.populations.items():
        if fields := scheduled_fields(population.neuron):
            raise UnsupportedError(
                f"population {name!r}, field {fields[0]!r}",
                got=f"{getattr(population.neuron, fields[0])!r}",
                expected=f"neurons that do the same at every time step, for {what}",
                fix=fix,
            )
    if once and network.input.encoding == "once":
        raise UnsupportedError(
            f"input {network.input.name!r}, field 'encoding'",
            got="'once'",
            expected=f"an input that is presented at every time step, for {what}",
            fix=fix,
        )
