"""Networks of QCFS activations: every level becomes a spike, and the count is exact (PASCAL).

An activation with L levels of size ``q = thresh/L`` becomes an integrate-and-fire population with
threshold q that starts at q/2 plus its bias. It integrates until its sources have fired, then
fires L steps with a soft reset: ``clip(floor((x + q/2)/q), 0, L)`` spikes, which is the level. So
time follows from the graph: a population fires from the latest end of its sources on, for L steps.

The public code of PASCAL fires and takes spikes back while it integrates, and sends what is left
afterwards; the counts are the same. It also fires 8e-5 below the threshold, against rounding:
there is no such slack here.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import fx, nn

from trispike.errors import UnsupportedError
from trispike.export import axes as ax
from trispike.export import fold
from trispike.export.neurons import AdaptedNeuron, is_neuron
from trispike.export.signals import Array, Signal, arranged
from trispike.export.tracing import Traced
from trispike.export.walk import TracedPopulation, Walk
from trispike.network import FloatNetwork, Input, Neuron, Population, Readout
from trispike.nn.qcfs import LEVEL_LIMIT, QCFS


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """What ``thresh * clip(floor(x*L/thresh + 1/2)/L, 0, 1)`` is made of."""

    threshold: float
    """thresh, of either sign."""
    levels: int
    """L, at least 1."""


ActivationAdapter: TypeAlias = Callable[[Any], Activation]

_ADAPTERS: dict[type[nn.Module], ActivationAdapter] = {
    QCFS: lambda module: Activation(threshold=module.thresh.item(), levels=module.levels)
}


def register_activation(kind: type[nn.Module], adapter: ActivationAdapter) -> None:
    """Make a foreign class of QCFS activations known to the conversion.

    Args:
        kind: The module class; its subclasses are meant, too.
        adapter: From an instance to its threshold and levels. The proof tells if it is wrong.
    """
    _ADAPTERS[kind] = adapter


def is_activation(module: nn.Module) -> bool:
    """Whether a module is a QCFS activation."""
    return isinstance(module, tuple(_ADAPTERS))


def has_levels(module: nn.Module) -> bool:
    """Whether a module is a network of QCFS activations, and no spiking one."""
    return any(map(is_activation, module.modules()))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AdaptedActivation(AdaptedNeuron):
    """A population that counts the levels of an activation."""

    levels: int
    """L."""

    def spikes(self, counts: npt.NDArray[Any], steps: int) -> npt.NDArray[np.int8]:
        """How the population fires so many spikes each: from its first step on, without a gap.

        Args:
            counts: (N, *shape), 0..L.
            steps: T.

        Returns:
            (T, N, *shape), 0 or 1.
        """
        since = np.arange(steps) - self.neuron.fire_from
        since = since.reshape(-1, *(1,) * counts.ndim)
        return ((since >= 0) & (since < counts)).astype(np.int8)


def trace_levels(
    module: nn.Module,
    input_shape: Sequence[int],
    *,
    mean: Array | float = 0.0,
    std: Array | float = 1.0,
    provenance: dict[str, Any] | None = None,
) -> Traced:
    """Turn a trained network of QCFS activations into a float network.

    The number of time steps follows: the end of the last population.

    Args:
        module: Takes (N, C, H, W) or (N, F) and returns logits (N, classes). It is copied, put
            into evaluation mode and read in float64.
        input_shape: (C, H, W) or (N,), without samples.
        mean: Subtracted from raw data before they enter the module; kept in the network's input.
        std: Divides raw data, after the mean.
        provenance: Recorded in the network.

    Raises:
        UnsupportedError: A layer, operation or activation has no exact form, named with its path.
        InvalidNetworkError: Parameters are NaN, or shapes do not fit.
    """
    start = Input(
        shape=tuple(input_shape), encoding="once", mean=np.asarray(mean), std=np.asarray(std)
    )
    samples = ax.Atom("N", 97)
    signal = Signal(
        value=fold.source(start.name, start.shape),
        axes=((samples,), *ax.feature_atoms(start.shape)),
        steps=1,
    )
    walk = LevelWalk(signal)
    output = walk.follow(copy.deepcopy(module).cpu().to(torch.float64).eval())
    steps = max(walk.ends.values(), default=0)
    network = FloatNetwork(
        input=start,
        populations=walk.populations,
        connections=tuple(walk.connections),
        readout=_readout(walk, output, steps),
        steps=steps,
        provenance=provenance or {},
    )
    return Traced(
        network=network,
        populations=tuple(walk.traced),
        output_time_axis=None,
        output_weights=network.readout.weights,
    )


class LevelWalk(Walk):
    """A pass through a module of QCFS activations, which also keeps the time.

    Args:
        start: The module's input, which is there before the first step.
    """

    def __init__(self, start: Signal) -> None:
        super().__init__(start)
        self.ends: dict[str, int] = {}
        """By population: the first step at which it does not fire any more."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Activations are leaves, whatever module they are defined in."""
        return is_activation(m) or super().is_leaf_module(m, module_qualified_name)

    def _call_module(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        path = str(node.target)
        module = self.root.get_submodule(path)
        if is_neuron(module):
            raise UnsupportedError(
                f"neuron {path!r}",
                got=f"a {type(module).__name__} in a module with QCFS activations",
                expected="either spiking neurons, or activations with levels",
                fix="Convert the two parts on their own, or train one kind throughout.",
            )
        given = (*args, *kwargs.values())
        if is_activation(module) and len(given) == 1 and isinstance(given[0], Signal):
            return self._activation(path, module, given[0])
        return super()._call_module(node, args, kwargs)

    def _activation(self, path: str, module: nn.Module, x: Signal) -> Signal:
        activation = adapted(module, path)
        x = arranged(_of_samples(path, x), path)
        # Where training turned the threshold around, so does the sign of everything that arrives.
        sign = float(np.copysign(1.0, activation.threshold))
        value = fold.scaled(x.value, np.asarray(sign), path) if sign < 0 else x.value
        amplitude = activation.threshold / activation.levels
        size = abs(amplitude)
        begin = max((self.ends.get(source, 0) for source in _sources(value)), default=0)
        neuron = Neuron(
            b_pos=np.ones(()),
            b_neg=np.ones(()),
            th_pos=np.asarray(size),
            v_init=value.bias + size / 2,
            reset="subtract",
            fire_from=begin,
            fire_until=begin + activation.levels,
        )
        call = sum(p.path == path for p in self.traced)
        name = self._population_name(path, call)
        self.ends[name] = begin + activation.levels
        self.populations[name] = Population(shape=value.shape, neuron=neuron)
        self.connections += [p.connection(name) for p in value.paths]
        counted = AdaptedActivation(
            neuron=neuron,
            amplitude=np.asarray(amplitude),
            time_axis=None,
            levels=activation.levels,
        )
        self.traced.append(TracedPopulation(name=name, path=path, call=call, adapted=counted))
        return dataclasses.replace(x, value=fold.source(name, value.shape, amplitude))


def adapted(module: nn.Module, name: str) -> Activation:
    """Threshold and levels of an activation.

    Raises:
        UnsupportedError: The threshold is 0 or not finite, or there is no level.
    """
    kind = next(kind for kind in type(module).__mro__ if kind in _ADAPTERS)
    activation = _ADAPTERS[kind](module)
    threshold, levels = activation.threshold, activation.levels
    if not (np.isfinite(threshold) and threshold):
        raise UnsupportedError(
            f"activation {name!r}",
            got=f"a threshold of {threshold:g}",
            expected="a finite number other than 0",
            fix="Look for the training step at which the checkpoint diverged.",
        )
    whole = isinstance(levels, int) and not isinstance(levels, bool)
    if not whole or not 1 <= levels <= LEVEL_LIMIT:
        raise UnsupportedError(
            f"activation {name!r}",
            got=f"{levels!r} levels",
            expected=f"a whole number L in 1..{LEVEL_LIMIT}",
            fix="Give the L that the activation was trained with.",
        )
    return activation


def _of_samples(path: str, x: Signal) -> Signal:
    """The input of an activation, with the samples as its first axis."""
    if x.in_time or not x.axes or ax.labels(x.axes[0]) != "N":
        raise UnsupportedError(
            f"activation {path!r}",
            got=f"an input with axes {ax.describe(x.axes)}",
            expected="the samples as the first axis, and no time",
            fix="An activation sees an image once; time comes with the conversion.",
        )
    return x


def _sources(value: fold.Affine) -> set[str]:
    return {source for path in value.paths for source in path.sources}


def _readout(walk: LevelWalk, output: Any, steps: int) -> Readout:
    """The mean over the steps at which the readout's sources fire."""
    is_one = isinstance(output, Signal) and not output.in_time
    if not is_one or not walk.populations or ax.labels(output.axes[0]) != "N":
        got = ax.describe(output.axes) if isinstance(output, Signal) else type(output).__name__
        raise UnsupportedError(
            "output of the module",
            got=f"{got}, behind {len(walk.populations)} activations",
            expected="one tensor of logits (N, classes), behind one QCFS activation or more",
            fix="Wrap the module so that it returns its logits only.",
        )
    value = fold.flattened(arranged(output, "output").value)
    sources = _sources(value)
    windows = [
        (p.adapted.neuron.fire_from, walk.ends[p.name]) for p in walk.traced if p.name in sources
    ]
    if walk.start.value.paths[0].sources[0] in sources:
        windows.append((0, 1))
    first, last = min(w[0] for w in windows), max(w[1] for w in windows)
    weights = np.zeros(steps)
    weights[first:last] = 1.0 / (last - first)
    # Their mean times their number is the sum of what arrives; the bias is its own mean.
    summed = dataclasses.replace(value, bias=np.zeros(()))
    summed = fold.scaled(summed, np.asarray(float(last - first)), "output")
    return Readout(
        connections=tuple(path.connection("readout") for path in summed.paths),
        bias=np.broadcast_to(value.bias, value.shape),
        weights=weights,
    )
