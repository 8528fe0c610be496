"""Neurons that advance one time step per call, inside a loop over time.

Such a module is called T times in a forward pass. The call of step t has to compute its input as
the first one did, with what belongs to step t in the place of what belonged to step 0; then all
calls together are one population.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch

from trispike.errors import UnsupportedError
from trispike.export import axes as ax
from trispike.export import fold
from trispike.export.neurons import AdaptedNeuron
from trispike.export.signals import Signal, at_step

State: TypeAlias = "Signal | Potential"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Potential:
    """A state that a foreign neuron hands out: good for its next call, and for nothing else."""

    neuron: str
    """Path of the module."""
    name: str
    """As its library calls it: "mem" or "syn"."""
    shape: torch.Size
    """Of the tensor."""

    def refusal(self, where: str) -> UnsupportedError:
        """It was used as if it were a signal."""
        return fold.refusal(
            where,
            got=f"{self.name!r}, a state of the neuron {self.neuron!r}",
            expected="spikes: what happens inside a neuron is not sent anywhere",
            fix="Use the neuron's spikes, or their sum over time, instead.",
        )


@dataclass(slots=True, kw_only=True, eq=False)
class Stepped:
    """The calls of one neuron so far."""

    path: str
    kind: str
    """Name of its class, for messages."""
    adapted: AdaptedNeuron
    population: str
    first: fold.Affine
    """Its input at step 0."""
    calls: int = 0
    returned: dict[str, State] = field(default_factory=dict)
    """By the last call."""

    def call(self, x: Signal, states: tuple[Any, ...]) -> Signal:
        """The spikes of one more time step.

        Args:
            x: Input, arranged.
            states: What the code passed on from the call before, in the order of
                ``adapted.takes``; may be shorter.

        Raises:
            UnsupportedError: The call is not that of the next time step.
        """
        t = self.calls
        if t == x.steps:
            raise self.refusal(
                got=f"more than {t} calls in one forward",
                expected=f"one call per time step, of {x.steps}",
                fix="State the number of steps of the module's own loop; a neuron that is shared "
                "between layers needs a copy in each.",
            )
        if not fold.same(self.first, x.value):
            raise self.refusal(
                got=f"an input at step {t} that is computed otherwise than at step 0",
                expected="the same layers at every time step",
                fix="Feedback from other layers, or layers per time step, are not converted.",
            )
        for name, given in zip(self.adapted.takes, states, strict=False):
            self._check_state(name, given)
        spikes = fold.source(self.population, x.value.shape, self.adapted.amplitude)
        out = at_step(Signal(value=spikes, axes=x.axes, steps=x.steps), t)
        self.returned = {
            name: out if name == "spk" else Potential(neuron=self.path, name=name, shape=x.shape)
            for name in self.adapted.returns or ("spk",)
        }
        self.calls += 1
        return out

    def check_finished(self, steps: int) -> None:
        """Raise UnsupportedError unless there was a call for every time step."""
        if self.calls != steps:
            raise self.refusal(
                got=f"{self.calls} calls in one forward",
                expected=f"one per time step, {steps}",
                fix="State the number of steps of the module's own loop.",
            )

    def _check_state(self, name: str, given: Any) -> None:
        if given is None or (self.calls and given is self.returned.get(name)):
            return
        silent = isinstance(given, torch.Tensor) and not given.any()
        if not self.calls and silent:
            return
        before = f"of step {self.calls - 1}" if self.calls else "zero, at the first step"
        raise self.refusal(
            got=f"an argument {name!r} that is not its own {name!r} {before}",
            expected="states that start at zero and go from each call to the next as they are",
            fix="Pass on what the neuron returned, or use init_hidden=True.",
        )

    def refusal(self, *, got: str, expected: str, fix: str) -> UnsupportedError:
        """An error that names the neuron."""
        return UnsupportedError(
            f"neuron {self.path!r} ({self.kind})", got=got, expected=expected, fix=fix
        )


def check_one_step(path: str, kind: str, x: Signal, t: int) -> None:
    """Raise UnsupportedError unless a signal is what step t receives, (N, ...) without time."""
    timeless = not ax.holds(x.axes, "T")
    of_step = x.time_weights is None or x.step == t
    if timeless and of_step and x.axes and ax.labels(x.axes[0]) == "N":
        return
    got = f"an input with axes {ax.describe(x.axes)}"
    if timeless:
        steps = np.flatnonzero(x.time_weights).tolist() if x.time_weights is not None else []
        got += f" of time step {', '.join(map(str, steps))}"
    raise UnsupportedError(
        f"neuron {path!r} ({kind})",
        got=got,
        expected=f"one time step, number {t}, as (N, ...): a call of it is a time step",
        fix="Call it in a loop over time, once per step and in their order; or, in SpikingJelly, "
        "set its step_mode to 'm'.",
    )
