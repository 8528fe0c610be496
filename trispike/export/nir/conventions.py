"""What tools mean by the same NIR node: data, with the source of each line.

NIR has no time step, no discrete equations, no kind of reset. A :class:`Convention` answers what
a reader has to know; what a tool's files leave open is open here, too, and has to be told.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from trispike.errors import InvalidSettingError

CHOICES: dict[str, tuple[Any, ...]] = {
    "tau_unit": ("time", "time*dt"),
    "decay": ("euler", "exponential"),
    "gain": ("r", "one"),
    "if_gain": ("r", "one"),
    "synapse_gain": ("w_in", "one", "decay"),
    "r": ("any", "one", "decay", "tau*decay/dt"),
    "v_leak": ("honoured", "zero", "bias"),
    "v_reset": ("honoured", "zero"),
    "initial": ("zero", "v_reset"),
    "reset": ("zero", "subtract", "subtract-late", "none"),
    "strict": (True, False),
    "if_floor": ("none", "-threshold"),
    "recurrent_delay": (0, 1),
    "output_delay": (0, 1),
    "flatten_counts_batch": (True, False),
}
"""What each entry may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """The discrete meaning of NIR's neurons in one tool. None: its files do not say."""

    name: str
    """What ``--convention`` takes."""
    description: str
    """One sentence."""
    source: str
    """Where this was read."""
    dt: float | None
    """Duration of a time step where the tool has a fixed one."""
    tau_unit: str
    """What a tau is: a time, or a time multiplied by dt."""
    decay: str
    """What is kept per step: 1 - dt/tau (euler), exp(-dt/tau) (exponential)."""
    gain: str | None
    """Share of the input that enters a leaky membrane: r*(1 - decay), or one."""
    if_gain: str
    """The same for I and IF: r*dt, or one."""
    synapse_gain: str
    """Share of the input that enters a current: w_in*(1 - decay), one, or the decay itself."""
    r: str
    """What the field r must be: any number (it is a gain), 1, the decay, or tau*decay/dt."""
    v_leak: str
    """(1 - decay)*v_leak is added, it is added as it is, or it has to be zero."""
    v_reset: str
    """The potential is reset to it, or it has to be zero."""
    initial: str
    """The potential before the first step."""
    reset: str | None
    """Hard reset, the threshold subtracted at once or one step later, or nothing."""
    strict: bool
    """Fires above the threshold only."""
    if_floor: str | None
    """Lower bound of an IF neuron."""
    recurrent_delay: int
    """Steps by which a population hears itself late where no Delay says so."""
    output_delay: int
    """Steps by which spikes leave late."""
    flatten_counts_batch: bool
    """Whether Flatten's dimensions count a batch axis."""
    reads: Mapping[str, Any]
    """What the tool's reader makes of what is None above."""
    precision: str
    """What the tool computes in."""
    caveat: str
    """Where the tool does not do what is said here; empty: nowhere that is known."""
    refused: Mapping[str, str]
    """Node types that the tool reads as something else, and why."""

    @property
    def time_step(self) -> float:
        """The duration of a time step, which :func:`convention` has made sure is known."""
        return math.nan if self.dt is None else self.dt

    def require(self, key: str, subject: str) -> Any:
        """An entry, or InvalidSettingError if the tool's files leave it open."""
        value = getattr(self, key)
        if value is None:
            raise InvalidSettingError(
                subject,
                got=f"convention {self.name!r}, whose files do not say {key!r}",
                expected=f"one of {', '.join(map(str, CHOICES[key]))}",
                fix=f"Say how the network was trained: --set {key}=VALUE.",
            )
        return value


@cache
def conventions() -> dict[str, Convention]:
    """All conventions, by name."""
    text = resources.files("trispike.export.nir").joinpath("conventions.json").read_text("utf-8")
    return {name: Convention(name=name, **entry) for name, entry in json.loads(text).items()}


def as_read(name: str | None, *, dt: float | None = None) -> Convention:
    """A convention, where it is open, as the tool's own reader fills it in.

    Raises:
        InvalidSettingError: An unknown name, or no dt is known.
    """
    settings = conventions()[name].reads if name in conventions() else None
    return convention(name, dt=dt, settings=settings)


def convention(
    name: str | None, *, dt: float | None = None, settings: Mapping[str, Any] | None = None
) -> Convention:
    """A convention with what the caller knows better filled in.

    Args:
        name: A key of :func:`conventions`.
        dt: Duration of a time step.
        settings: Other entries, as in :data:`CHOICES`; text is understood, too.

    Raises:
        InvalidSettingError: An unknown name, key or value, or no dt is known.
    """
    if name not in conventions():
        raise InvalidSettingError(
            "convention",
            got=repr(name),
            expected="one of " + ", ".join(conventions()),
            fix="Name the tool that wrote the file; NIR does not say how time is discretized.",
        )
    found = conventions()[name]
    changes: dict[str, Any] = {}
    for key, value in (settings or {}).items():
        fitting = [
            choice for choice in CHOICES.get(key, ()) if str(choice).lower() == str(value).lower()
        ]
        if not fitting:
            raise InvalidSettingError(
                f"setting {key!r}",
                got=repr(value),
                expected=", ".join(map(str, CHOICES[key]))
                if key in CHOICES
                else "a key out of " + ", ".join(CHOICES),
                fix="The keys are explained in docs/nir.md.",
            )
        changes[key] = fitting[0]
    if dt is None:
        dt = found.dt
    if dt is None or not 0 < dt < float("inf"):
        raise InvalidSettingError(
            "dt",
            got="nothing" if dt is None else repr(dt),
            expected="a positive number: the duration of a time step, in the unit of every tau",
            fix=f"State it: --dt 1e-4. Convention {name!r} has none of its own."
            if found.dt is None
            else "State it: --dt 1e-4.",
        )
    return dataclasses.replace(found, dt=float(dt), **changes)
