"""From a PyTorch module to a float network: torch.fx graph, walked with affine values.

Neurons are leaves of the graph and become populations. Everything between them is composed into
connections by :mod:`trispike.export.fold`, or refused by name.
"""

from __future__ import annotations

import copy
import dataclasses
import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import fx, nn

from trispike.errors import InvalidNetworkError, TrispikeError, UnsupportedError
from trispike.export import axes as ax
from trispike.export import fold
from trispike.export.layers import advice, layer
from trispike.export.neurons import AdaptedNeuron, adapt_neuron, is_neuron
from trispike.export.operations import COMBINING, OPERATIONS, in_place
from trispike.export.signals import Array, Signal, arranged, with_axes
from trispike.network import FloatNetwork, Input, Population, Readout
from trispike.network.connection import Connection
from trispike.network.network import Encoding


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TracedPopulation:
    """A population, and the module that it was made from."""

    name: str
    """Name of the population: the module's path without a leading "model.", with @2 for its
    second call."""
    path: str
    """Path of the module inside the traced one."""
    call: int
    """0 for the first call of the module in a forward pass."""
    adapted: AdaptedNeuron
    """What the adapter of its class said."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Traced:
    """A folded network, with what a proof needs to compare it to its module."""

    network: FloatNetwork
    populations: tuple[TracedPopulation, ...]
    output_time_axis: int | None
    """Where the module's output holds time; None if it was averaged, summed or selected."""


def trace(
    module: nn.Module,
    input_shape: Sequence[int],
    *,
    steps: int,
    encoding: Encoding = "direct",
    mean: Array | float = 0.0,
    std: Array | float = 1.0,
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
        provenance: Recorded in the network.

    Raises:
        UnsupportedError: A layer or operation has no exact form, named with its path.
        InvalidNetworkError: Parameters are NaN, or shapes do not fit.
    """
    module = copy.deepcopy(module).cpu().double().eval()
    start = Input(
        shape=tuple(input_shape), encoding=encoding, mean=np.asarray(mean), std=np.asarray(std)
    )
    walk = _Walk(module, steps)
    output = walk.run(_first_signal(start, steps))
    readout, time_axis = _readout(walk, output)
    network = FloatNetwork(
        input=start,
        populations=walk.populations,
        connections=tuple(walk.connections),
        readout=readout,
        steps=steps,
        provenance=provenance or {},
    )
    return Traced(network=network, populations=tuple(walk.traced), output_time_axis=time_axis)


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


def _readout(walk: _Walk, output: Any) -> tuple[Readout, int | None]:
    """The readout, and the time axis of the module's output."""
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
    samples = {"N", "TN", "NT"} if walk.steps == 1 else {"N"}
    timeless = axis is None and output.time_weights is None and walk.steps > 1
    if timeless or not rest or ax.labels(output.axes[rest[0]]) not in samples:
        raise _refused_output(
            got=f"axes {ax.describe(output.axes)}",
            expected="(N, classes), (T, N, classes) or (N, T, classes)",
            fix="Separate time from the samples, and average over it if you wish.",
        )
    value = fold.flattened(arranged(output, "output").value)
    weights, bias = output.time_weights, value.bias
    if weights is None:
        weights = np.full(walk.steps, 1.0 / walk.steps)
    else:
        # After a sum over time the bias was added once; the readout adds it at every step.
        bias = bias / weights.sum()
    readout = Readout(
        connections=tuple(path.connection("readout") for path in value.paths),
        bias=np.broadcast_to(bias, value.shape),
        weights=weights,
    )
    return readout, axis


class _LeafTracer(fx.Tracer):
    """Neurons are leaves, whatever module they are defined in."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return is_neuron(m) or super().is_leaf_module(m, module_qualified_name)


class _Walk:
    """Visits the nodes of the graph in order, and collects populations and connections."""

    def __init__(self, module: nn.Module, steps: int) -> None:
        self.module = module
        self.steps = steps
        self.populations: dict[str, Population] = {}
        self.connections: list[Connection] = []
        self.traced: list[TracedPopulation] = []

    def run(self, start: Signal) -> Any:
        values: dict[fx.Node, Any] = {}
        for node in self._graph().nodes:
            args = fx.node.map_arg(node.args, values.__getitem__)
            kwargs = fx.node.map_arg(node.kwargs, values.__getitem__)
            if node.op == "placeholder":
                values[node] = self._input(node, None if values else start)
            elif node.op == "get_attr":
                values[node] = operator.attrgetter(node.target)(self.module)
            elif node.op == "output":
                return args[0]
            elif node.op == "call_module":
                with _named(node.target):
                    values[node] = self._call_module(node.target, args, kwargs)
            else:
                name = _operation_name(node)
                with _named(name):
                    values[node] = self._call(node, name, args, kwargs)
        raise AssertionError("a torch.fx graph ends with its output")

    def _graph(self) -> fx.Graph:
        try:
            return _LeafTracer().trace(self.module)
        except Exception as error:
            raise UnsupportedError(
                f"module {type(self.module).__name__!r}",
                got=f"a forward that torch.fx cannot trace ({error})",
                expected="a forward without decisions that depend on tensors or their shapes",
                fix="Make such decisions in the constructor, or wrap that part as a neuron.",
            ) from error

    def _input(self, node: fx.Node, start: Signal | None) -> Any:
        """The signal for the first argument of the module, the default for any other."""
        if start is not None and not str(node.target).startswith("*"):
            return start
        if start is None and node.args:
            return node.args[0]
        raise UnsupportedError(
            f"module {type(self.module).__name__!r}",
            got=f"a forward with the argument {str(node.target)!r}",
            expected="a forward that takes one tensor, and anything else by default",
            fix="Wrap the module so that its forward takes the data only.",
        )

    def _call_module(self, path: str, args: Any, kwargs: Any) -> Any:
        module = self.module.get_submodule(path)
        if not _signals((args, kwargs)):
            return module(*args, **kwargs)
        given = (*args, *kwargs.values())
        if len(given) != 1 or not isinstance(given[0], Signal):
            kind = type(module).__name__
            raise fold.refusal(
                path,
                got=f"{kind} with {len(given)} arguments",
                expected="one tensor as its only argument",
                fix=advice(kind, fold.CHANGE_IT),
            )
        if is_neuron(module):
            return self._neuron(path, module, given[0])
        return layer(module, given[0], path)

    def _call(self, node: fx.Node, name: str, args: Any, kwargs: Any) -> Any:
        kind = _kind(node)
        signals = _signals((args, kwargs))
        if not signals:
            if node.op == "call_method":
                return getattr(args[0], kind)(*args[1:], **kwargs)
            return node.target(*args, **kwargs)  # type: ignore[operator]
        if kind not in OPERATIONS or not _is_torch(node):
            raise fold.refusal(
                name,
                got="a function or method that does not fold",
                expected="sums, products with constants, pooling, changes of shape, and layers",
                fix=advice(kind, fold.CHANGE_IT),
            )
        kwargs = dict(kwargs)
        if "input" in kwargs:
            args = (kwargs.pop("input"), *args)
        if kind not in COMBINING and (len(signals) > 1 or args[0] is not signals[0]):
            raise fold.refusal(
                name,
                got="several signals, or one as a parameter",
                expected="one, as what it acts on",
            )
        if in_place(kind) and len(node.all_input_nodes[0].users) > 1:
            raise fold.refusal(
                name,
                got="a change in place of what is used elsewhere, too",
                expected="an operation that returns a new tensor",
                fix=f"Use the form without the underscore: {kind.rstrip('_')}.",
            )
        return OPERATIONS[kind](name, *args, **kwargs)

    def _neuron(self, path: str, module: nn.Module, x: Signal) -> Signal:
        adapted = adapt_neuron(module, path)
        axis = adapted.time_axis
        at = axis + len(x.axes) if axis < 0 else axis
        if x.steps == 1 and not x.in_time and 0 <= at < len(x.axes) and not x.axes[at]:
            # For one time step, an axis that the code added is the one of time.
            x = with_axes(x, (*x.axes[:at], (ax.Atom("T", 1),), *x.axes[at + 1 :]))
        others = [ax.labels(a) for n, a in enumerate(x.axes) if n != at]
        if ax.position(x.axes, "T") != at or others[0] != "N":
            summed = ", after a sum over time" if x.time_weights is not None else ""
            raise UnsupportedError(
                f"neuron {path!r}",
                got=f"an input with axes {ax.describe(x.axes)}{summed}",
                expected=f"time as axis {axis}, and the samples as the first of the others",
                fix=f"A {type(module).__name__} integrates over axis {axis}; bring time there.",
            )
        x = arranged(x, path)
        value = x.value
        if np.any(value.bias) and np.any(adapted.neuron.k):
            # It would pass through the current and grow with it; a neuron's bias does not.
            raise UnsupportedError(
                f"neuron {path!r}",
                got="a bias, or the shift of a batch norm, into a synaptic current with memory",
                expected="weights only before such a neuron, or no memory of the current (k = 0)",
                fix="Train the layer before it with bias=False.",
            )
        call = sum(p.path == path for p in self.traced)
        name = self._population_name(path, call)
        neuron = dataclasses.replace(adapted.neuron, bias=adapted.neuron.bias + value.bias)
        self.populations[name] = Population(shape=value.shape, neuron=neuron)
        self.connections += [p.connection(name) for p in value.paths]
        self.traced.append(TracedPopulation(name=name, path=path, call=call, adapted=adapted))
        return dataclasses.replace(x, value=fold.source(name, value.shape, adapted.amplitude))

    def _population_name(self, path: str, call: int) -> str:
        # The published checkpoints wrap every model in one called "model".
        suffix = f"@{call + 1}" if call else ""
        names = (path.removeprefix("model.") + suffix, path + suffix, f"{path}@{call + 1}")
        taken = {"input", "readout", *self.populations}
        return next(name for name in names if name not in taken)


def _refused_output(*, got: str, expected: str, fix: str) -> UnsupportedError:
    return UnsupportedError("output of the module", got=got, expected=expected, fix=fix)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Errors that do not know where they happened learn it."""
    try:
        yield
    except InvalidNetworkError as error:
        raise InvalidNetworkError(
            f"layer {name!r}, {error.subject}",
            got=error.got,
            expected=error.expected,
            fix=error.fix,
        ) from error
    except TrispikeError:
        raise
    except (ArithmeticError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise fold.refusal(
            name, got=f"arguments that do not fold ({error})", expected="those of PyTorch"
        ) from error


def _operation_name(node: fx.Node) -> str:
    """A function or method by its name and the path of the module that calls it."""
    stack = list(node.meta.get("nn_module_stack") or ())
    return f"{_kind(node)}()" + (f" in {stack[-1]}" if stack else "")


def _kind(node: fx.Node) -> str:
    if node.op == "call_method":
        return str(node.target)
    return str(getattr(node.target, "__name__", node.target)).strip("_")


def _is_torch(node: fx.Node) -> bool:
    """Whether a name means what PyTorch means by it."""
    home = getattr(node.target, "__module__", None) or "torch"
    return node.op == "call_method" or home.split(".")[0] in ("torch", "_operator", "builtins")


def _signals(value: Any) -> list[Signal]:
    """All signals in nested arguments."""
    if isinstance(value, Signal):
        return [value]
    if isinstance(value, dict):
        value = tuple(value.values())
    return [s for v in value for s in _signals(v)] if isinstance(value, (list, tuple)) else []
