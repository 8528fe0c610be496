"""From a PyTorch module to a float network: torch.fx graph, walked with affine values.

Neurons are leaves of the graph and become populations. Everything between them is composed into
connections by :mod:`trispike.export.fold`, or refused by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from trispike.errors import InvalidSettingError, UnsupportedError
from trispike.export import adapters, fold
from trispike.export import axes as ax
from trispike.export.signals import Array, Signal, arranged
from trispike.export.stepwise import Potential
from trispike.export.takes import Takes, candidates, working_copy
from trispike.export.walk import TracedPopulation, Walk
from trispike.network import FloatNetwork, Input, Readout
from trispike.network.network import Encoding
from trispike.network.readouts import ReadoutSteps, readout_weights


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Traced:
    """A folded network, with what a proof needs to compare it to its module."""

    network: FloatNetwork
    populations: tuple[TracedPopulation, ...]
    output_time_axis: int | None
    """Where the module's output holds time; None if it was averaged, summed or selected."""
    output_weights: Array
    """(T,): what the module's output is multiplied by where it holds time."""
    takes: Takes = "batch"
    """What one call of the module takes."""
    clocks: tuple[str, ...] = ()
    """Populations that fire at every step and come from no neuron of the module."""


def trace(
    module: nn.Module,
    input_shape: Sequence[int],
    *,
    steps: int,
    encoding: Encoding = "direct",
    mean: Array | float = 0.0,
    std: Array | float = 1.0,
    readout: ReadoutSteps | None = None,
    takes: Takes | None = None,
    provenance: dict[str, Any] | None = None,
) -> Traced:
    """Fold a trained module into a float network.

    Args:
        module: Takes (N, C, H, W) for direct input, (N, T, C, H, W) otherwise, and returns logits
            (N, classes), or (T, N, classes) or (N, T, classes), which are averaged over time. It
            is copied, put into evaluation mode and read in float64.
        input_shape: (C, H, W) or (N,), without samples and time.
        steps: T.
        encoding: How the data enter; see :class:`trispike.network.Input`.
        mean: Subtracted from raw data before they enter the module; kept in the network's input.
        std: Divides raw data, after the mean.
        readout: Where the module returns logits at every step: which of them are averaged, by
            default all.
        takes: What one call of the module takes: ``"batch"``, the data as above; ``"sequence"``,
            (T, N, ...), time first; ``"step"``, one time step (N, ...), in T calls. By default
            the first of these that the module can be followed with, where it has neurons of
            another library, and otherwise ``"batch"``.
        provenance: Recorded in the network.

    Raises:
        UnsupportedError: A layer or operation has no exact form, named with its path.
        InvalidSettingError: ``readout`` names no steps of the module's output, or ``takes`` is
            unknown.
        InvalidNetworkError: Parameters are NaN, or shapes do not fit.
    """
    adapters.register_loaded()
    start = Input(
        shape=tuple(input_shape), encoding=encoding, mean=np.asarray(mean), std=np.asarray(std)
    )
    chosen = readout_weights("mean" if readout is None else readout, steps)
    taken = candidates(module, takes)
    walk, logits, time_axis, found = _followed(module, start, steps, chosen, taken)
    if time_axis is None and readout is not None:
        raise InvalidSettingError(
            "readout",
            got=f"{readout!r}, for a module that returns one vector of logits per sample",
            expected="logits at every time step, (T, N, classes) or (N, T, classes)",
            fix="Let the module return its logits without averaging them.",
        )
    network = FloatNetwork(
        input=start,
        populations=walk.populations,
        connections=tuple(walk.connections),
        readout=logits,
        steps=steps,
        provenance=provenance or {},
    )
    return Traced(
        network=network,
        populations=tuple(walk.traced),
        output_time_axis=time_axis,
        output_weights=chosen,
        takes=found,
        clocks=tuple(walk.clocks),
    )


def _followed(
    module: nn.Module, start: Input, steps: int, chosen: Array, taken: Sequence[Takes]
) -> tuple[Walk, Readout, int | None, Takes]:
    """The first way to call the module that can be followed; the error of the one that got on."""
    furthest = -1
    refused: UnsupportedError | None = None
    for takes in taken:
        in_time = start.encoding != "direct"
        copy = working_copy(module, torch.float64, takes=takes, steps=steps, in_time=in_time)
        walk = Walk(_first_signal(start, steps))
        try:
            return walk, *_readout(walk, walk.follow(copy), chosen), takes
        except UnsupportedError as error:
            if walk.progress > furthest:
                furthest, refused = walk.progress, error
    assert refused is not None
    raise refused


def _first_signal(start: Input, steps: int) -> Signal:
    # A batch size that is unlikely to be written in anyone's code lets what depends on it fail.
    samples = ax.Atom("N", 97 if steps != 97 else 89)
    lead: ax.Axes = ((samples,),)
    if start.encoding != "direct":
        lead += ((ax.Atom("T", steps),),)
    return Signal(
        value=fold.source(start.name, start.shape),
        axes=lead + ax.feature_atoms(start.shape),
        steps=steps,
    )


def _readout(walk: Walk, output: Any, chosen: Array) -> tuple[Readout, int | None]:
    """The readout, and the time axis of the module's output, whose steps have these weights."""
    steps = len(chosen)
    if isinstance(output, (tuple, list)) and output:
        # Neurons that return their states make modules that return theirs, behind the spikes.
        states = [part for part in output[1:] if isinstance(part, Potential)]
        output = output[0] if len(states) == len(output) - 1 else output
    if isinstance(output, Potential):
        raise output.refusal("output")
    if not isinstance(output, Signal):
        raise _refused_output(
            got=f"a {type(output).__name__.removeprefix('immutable_')}",
            expected="one tensor of logits",
            fix="Wrap the module so that it returns its logits only.",
        )
    if not walk.populations:
        raise _refused_output(
            got="a module without neurons",
            expected="spiking neurons",
            fix="Check that it holds trispike.nn neurons, or registered ones.",
        )
    axis = ax.position(output.axes, "T")
    rest = [n for n in range(len(output.axes)) if n != axis]
    samples = {"N", "TN", "NT"} if steps == 1 else {"N"}
    timeless = axis is None and output.time_weights is None and steps > 1
    if timeless or not rest or ax.labels(output.axes[rest[0]]) not in samples:
        raise _refused_output(
            got=f"axes {ax.describe(output.axes)}",
            expected="(N, classes), (T, N, classes) or (N, T, classes)",
            fix="Separate time from the samples, and average over it if you wish.",
        )
    value = fold.flattened(arranged(output, "output").value)
    weights, bias = output.time_weights, value.bias
    if weights is None:
        weights = chosen if output.gains is None else chosen * output.gains
    else:
        # After a sum over time the bias was added once; the readout adds it at every step.
        total = float(weights.sum())
        if total == 0 and np.any(bias):
            raise _refused_output(
                got="a bias behind a sum over time whose weights add up to 0",
                expected="a bias before that sum, or none",
                fix="Leave the bias out: it would be added to the logits by no time step.",
            )
        bias = bias / (total or 1.0)
    readout = Readout(
        connections=tuple(path.connection("readout") for path in value.paths),
        bias=np.broadcast_to(bias, value.shape),
        weights=weights,
    )
    return readout, axis


def _refused_output(*, got: str, expected: str, fix: str) -> UnsupportedError:
    return UnsupportedError("output of the module", got=got, expected=expected, fix=fix)
