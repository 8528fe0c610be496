"""From a PyTorch module to a float network: torch.fx graph, walked with affine values.

Neurons are leaves of the graph and become populations. Everything between them is composed into
connections by :mod:`trispike.export.fold`, or refused by name.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import singledispatch
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import fx, nn

from trispike.errors import TrispikeError, UnsupportedError
from trispike.export import axes as ax
from trispike.export import fold
from trispike.export.neurons import AdaptedNeuron, adapt_neuron, is_neuron
from trispike.network import Conv2d, FloatNetwork, Input, Population, Readout, SumPool
from trispike.network.connection import Connection, Pair
from trispike.network.network import Encoding

Array: TypeAlias = npt.NDArray[Any]


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Signal:
    """What flows along an edge of the graph: an affine value, and where its axes lie."""

    value: fold.Affine
    axes: ax.Axes
    time_weights: Array | None = None
    """(T,) once the time axis was summed away with these weights."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor that this stands for."""
        return ax.sizes(self.axes)

    def time_axis(self) -> int | None:
        """Where time is an axis of its own."""
        found = [n for n, axis in enumerate(self.axes) if ax.labels(axis) == "T"]
        return found[0] if found else None


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
    module = copy.deepcopy(module).double().eval()
    walk = _Walk(module, steps)
    shape = tuple(int(n) for n in input_shape)
    features = tuple((ax.Atom(ax.FEATURES[n], size),) for n, size in enumerate(shape))
    lead: ax.Axes = ((ax.Atom("N", walk.batch),),)
    if encoding != "direct":
        lead += ((ax.Atom("T", steps),),)
    start = Signal(value=fold.source("input", shape), axes=lead + features)
    readout = _readout(walk, walk.run(start))
    network = FloatNetwork(
        input=Input(shape=shape, encoding=encoding, mean=np.asarray(mean), std=np.asarray(std)),
        populations=walk.populations,
        connections=tuple(walk.connections),
        readout=readout,
        steps=steps,
        provenance=provenance or {},
    )
    return Traced(network=network, populations=tuple(walk.traced))


def _readout(walk: _Walk, output: Any) -> Readout:
    if not isinstance(output, Signal):
        raise UnsupportedError(
            "output of the module",
            got=f"a {type(output).__name__}",
            expected="one tensor of logits",
            fix="Wrap the module so that it returns its logits only.",
        )
    weights = output.time_weights
    if weights is None:
        if output.time_axis() is None or not walk.populations:
            raise UnsupportedError(
                "output of the module",
                got=f"axes {ax.describe(output.axes)} and {len(walk.populations)} populations",
                expected="logits that depend on time, made by spiking neurons",
                fix="Check that the module holds trispike.nn neurons, or registered ones.",
            )
        weights = np.full(walk.steps, 1.0 / walk.steps)
    value = fold.flattened(_arranged(output, "output"))
    total = float(weights.sum())
    if total == 0:
        raise UnsupportedError(
            "output of the module",
            got="time weights that sum to 0",
            expected="a sum over time in which a bias survives",
            fix="Use a mean, a sum, or chosen time steps.",
        )
    # After a sum over time the bias is added once; the readout adds it at every step.
    bias = value.bias if output.time_weights is None else value.bias / total
    return Readout(
        connections=tuple(path.connection("readout") for path in value.paths),
        bias=np.broadcast_to(bias, value.shape),
        weights=weights,
    )


class _LeafTracer(fx.Tracer):
    """Neurons are leaves, whatever module they are defined in."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return is_neuron(m) or super().is_leaf_module(m, module_qualified_name)


class _Walk:
    """Visits the nodes of the graph in order, and collects populations and connections."""

    def __init__(self, module: nn.Module, steps: int) -> None:
        self.module = module
        self.steps = steps
        # Any number will do, but one unlike T lets a reshape that confuses the two be noticed.
        self.batch = 3 if steps != 3 else 5
        self.populations: dict[str, Population] = {}
        self.connections: list[Connection] = []
        self.traced: list[TracedPopulation] = []

    def run(self, start: Signal) -> Any:
        try:
            graph = _LeafTracer().trace(self.module)
        except TrispikeError:
            raise
        except Exception as error:
            raise UnsupportedError(
                f"module {type(self.module).__name__!r}",
                got=f"a forward that torch.fx cannot trace ({error})",
                expected="a forward without decisions that depend on tensors or their shapes",
                fix="Make such decisions in the constructor, or wrap that part as a neuron.",
            ) from error
        values: dict[fx.Node, Any] = {}
        inputs = 0
        for node in graph.nodes:
            args = fx.node.map_arg(node.args, values.__getitem__)
            kwargs = fx.node.map_arg(node.kwargs, values.__getitem__)
            if node.op == "placeholder":
                values[node] = start if inputs == 0 else (node.args[0] if node.args else None)
                inputs += 1
            elif node.op == "get_attr":
                values[node] = operator.attrgetter(node.target)(self.module)
            elif node.op == "output":
                return args[0]
            elif node.op == "call_module":
                values[node] = self._call_module(node.target, args, kwargs)
            else:
                values[node] = self._call(node, args, kwargs)
        raise AssertionError("a torch.fx graph ends with its output")

    def _call_module(self, path: str, args: Any, kwargs: Any) -> Any:
        module = self.module.get_submodule(path)
        signals = [a for a in (*args, *kwargs.values()) if isinstance(a, Signal)]
        if not signals:
            return module(*args, **kwargs)
        if is_neuron(module):
            return self._neuron(path, module, signals[0])
        if len(signals) > 1:
            raise _unsupported(path, type(module).__name__, "a layer with one input")
        return layer(module, signals[0], path)

    def _call(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        name = str(node.target) if node.op == "call_method" else _function_name(node.target)
        if not _holds_signal((args, kwargs)):
            if node.op == "call_method":
                return getattr(args[0], name)(*args[1:], **kwargs)
            return node.target(*args, **kwargs)  # type: ignore[operator]
        if name not in OPERATIONS:
            raise _unsupported(node.name, name, "an operation of the folding table")
        try:
            bound = inspect.signature(OPERATIONS[name]).bind(self, node.name, *args, **kwargs)
        except TypeError as error:
            raise _unsupported(node.name, f"{name} with these arguments ({error})", name) from error
        return OPERATIONS[name](*bound.args, **bound.kwargs)

    def _neuron(self, path: str, module: nn.Module, x: Signal) -> Signal:
        adapted = adapt_neuron(module, path)
        axis = adapted.time_axis
        if axis >= len(x.axes) or ax.labels(x.axes[axis]) != "T":
            raise UnsupportedError(
                f"neuron {path!r}",
                got=f"an input with axes {ax.describe(x.axes)}",
                expected=f"time as axis {axis}",
                fix=f"A {type(module).__name__} integrates over axis {axis}; bring time there.",
            )
        value = _arranged(x, path)
        earlier = sum(p.path == path for p in self.traced)
        # The published checkpoints wrap every model in one called "model".
        name = path.removeprefix("model.") or "neuron"
        if earlier:
            name += f"@{earlier + 1}"
        neuron = dataclasses.replace(adapted.neuron, bias=adapted.neuron.bias + value.bias)
        self.populations[name] = Population(shape=value.shape, neuron=neuron)
        self.connections += [p.connection(name) for p in value.paths]
        self.traced.append(TracedPopulation(name=name, path=path, call=earlier, adapted=adapted))
        spikes = fold.source(name, value.shape, adapted.amplitude)
        same_layout = value.shape == x.value.shape
        axes = x.axes if same_layout else ax.with_features(x.axes, value.shape)
        return Signal(value=spikes, axes=axes)


# --- layers -------------------------------------------------------------------------------------


@singledispatch
def layer(module: nn.Module, x: Signal, name: str) -> Signal:
    """Compose one torch.nn layer; the default refuses it by name."""
    kind = type(module).__name__
    advice = {
        "MaxPool2d": "Max pooling of spikes is not linear; train with average pooling.",
        "AdaptiveMaxPool2d": "Max pooling of spikes is not linear; train with average pooling.",
        "MaxPool1d": "Max pooling of spikes is not linear; train with average pooling.",
        "ReLU": "Replace it by a spiking neuron.",
    }
    raise UnsupportedError(
        f"layer {name!r}",
        got=kind,
        expected="Conv2d, Linear, BatchNorm, average pooling, flatten, dropout, or a neuron",
        fix=advice.get(
            kind, "Only affine layers fold; replace it, or register it as a neuron if it is one."
        ),
    )


@layer.register
def _conv2d(module: nn.Conv2d, x: Signal, name: str) -> Signal:
    if module.padding_mode != "zeros":
        raise _unsupported(name, f"padding_mode {module.padding_mode!r}", "zero padding")
    return _convolve(
        x,
        name,
        module.weight,
        module.bias,
        module.stride,
        module.padding,
        module.dilation,
        module.groups,
    )


@layer.register
def _linear(module: nn.Linear, x: Signal, name: str) -> Signal:
    return _project(x, name, module.weight, module.bias)


@layer.register(nn.BatchNorm1d)
@layer.register(nn.BatchNorm2d)
@layer.register(nn.BatchNorm3d)
def _batch_norm(module: nn.BatchNorm2d, x: Signal, name: str) -> Signal:
    if module.running_mean is None or module.running_var is None:
        raise _unsupported(name, "batch norm without running statistics", "track_running_stats")
    value = _arranged(x, name)
    features = ax.feature_axes(x.axes)
    if len(x.axes) < 2 or not features or x.axes[1] != features[0]:
        raise _unsupported(
            name, f"batch norm over axis 1 of {ax.describe(x.axes)}", "channels as axis 1"
        )
    mean, variance = _numpy(module.running_mean), _numpy(module.running_var)
    gain = 1.0 / np.sqrt(variance + module.eps)
    if module.weight is not None:
        gain = gain * _numpy(module.weight)
    shift = -mean * gain
    if module.bias is not None:
        shift = shift + _numpy(module.bias)
    shape = (-1,) + (1,) * (len(value.shape) - 1)
    if gain.size != value.shape[0]:
        raise _unsupported(name, f"{gain.size} channels for {value.shape[0]}", "equal numbers")
    scaled = fold.scaled(value, gain.reshape(shape), name)
    return dataclasses.replace(x, value=fold.shifted(scaled, shift.reshape(shape)))


@layer.register
def _avg_pool2d(module: nn.AvgPool2d, x: Signal, name: str) -> Signal:
    return _average(
        x,
        name,
        module.kernel_size,
        module.stride,
        module.padding,
        module.ceil_mode,
        module.count_include_pad,
        module.divisor_override,
    )


@layer.register
def _adaptive_avg_pool2d(module: nn.AdaptiveAvgPool2d, x: Signal, name: str) -> Signal:
    return _adaptive_average(x, name, module.output_size)


@layer.register(nn.Dropout)
@layer.register(nn.Dropout1d)
@layer.register(nn.Dropout2d)
@layer.register(nn.Dropout3d)
@layer.register(nn.AlphaDropout)
@layer.register(nn.Identity)
def _nothing(module: nn.Module, x: Signal, name: str) -> Signal:
    return x


@layer.register
def _flatten_layer(module: nn.Flatten, x: Signal, name: str) -> Signal:
    return dataclasses.replace(x, axes=ax.merged(x.axes, module.start_dim, module.end_dim))


@layer.register
def _unflatten_layer(module: nn.Unflatten, x: Signal, name: str) -> Signal:
    size = module.unflattened_size
    if not isinstance(module.dim, int) or not all(isinstance(n, int) for n in size):
        raise _unsupported(name, "named axes", "numbers")
    return dataclasses.replace(x, axes=ax.split(x.axes, module.dim, list(size), name))


# --- what layers and functions share ------------------------------------------------------------


def _arranged(x: Signal, name: str) -> fold.Affine:
    """The value of a signal in the form that its axes give it: (C, H, W), or flattened."""
    features = ax.feature_axes(x.axes)
    atoms = [atom.label for axis in features for atom in axis]
    in_order = atoms == list(ax.FEATURES[: len(x.value.shape)])
    if in_order and len(features) == len(x.value.shape):
        return x.value
    if in_order and len(features) == 1:
        return fold.flattened(x.value)
    raise _unsupported(
        name,
        f"features laid out as {ax.describe(features)}",
        "channels, rows, columns in this order, each on its own or all flattened",
    )


def _spatial(x: Signal, name: str) -> fold.Affine:
    """The value of a signal whose last three axes are channels, rows and columns."""
    if len(x.axes) < 3 or [ax.labels(axis) for axis in x.axes[-3:]] != list(ax.FEATURES):
        raise _unsupported(name, f"axes {ax.describe(x.axes)}", "channels, rows, columns at last")
    return x.value


def _convolve(
    x: Signal,
    name: str,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Signal:
    dilation = _pair(dilation)
    if isinstance(padding, str):
        spans = [d * (k - 1) for d, k in zip(dilation, weight.shape[-2:], strict=True)]
        if padding == "same" and any(span % 2 for span in spans):
            raise _unsupported(name, "padding 'same' of an even kernel", "symmetric padding")
        padding = (0, 0) if padding == "valid" else (spans[0] // 2, spans[1] // 2)
    conv = Conv2d(
        weight=_numpy(weight),
        stride=_pair(stride),
        padding=_pair(padding),
        dilation=dilation,
        groups=groups,
    )
    folded_bias = None if bias is None else _numpy(bias)
    value = fold.convolved(_spatial(x, name), conv, folded_bias, name)
    return _with_value(x, value)


def _project(x: Signal, name: str, weight: Any, bias: Any) -> Signal:
    features = ax.feature_axes(x.axes)
    if len(features) != 1 or x.axes[-1] != features[0]:
        raise _unsupported(
            name, f"a Linear layer on axes {ax.describe(x.axes)}", "all features flattened, at last"
        )
    folded_bias = None if bias is None else _numpy(bias)
    value = fold.projected(_arranged(x, name), _numpy(weight), folded_bias, name)
    return _with_value(x, value)


def _average(
    x: Signal,
    name: str,
    kernel: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Signal:
    value = _spatial(x, name)
    pool = SumPool(
        kernel=_pair(kernel),
        stride=_pair(kernel if stride is None else stride),
        padding=_pair(padding),
    )
    if ceil_mode:
        shape = pool.output_shape(value.shape)
        for axis in (0, 1):
            span = value.shape[1 + axis] + 2 * pool.padding[axis] - pool.kernel[axis]
            if math.ceil(span / pool.stride[axis]) + 1 != shape[1 + axis]:
                raise _unsupported(
                    name, "ceil_mode with a window that reaches over the edge", "whole windows"
                )
    value = fold.averaged(value, pool, name, count_include_pad=count_include_pad, divisor=divisor)
    return _with_value(x, value)


def _adaptive_average(x: Signal, name: str, output_size: Any) -> Signal:
    value = _spatial(x, name)
    wanted = output_size if isinstance(output_size, tuple) else (output_size, output_size)
    kernel, stride = [], []
    for size, given in zip(value.shape[1:], wanted, strict=True):
        count = size if given is None else given
        starts = [n * size // count for n in range(count)]
        widths = {-(-(n + 1) * size // count) - starts[n] for n in range(count)}
        gaps = {b - a for a, b in pairwise(starts)}
        if len(widths) > 1 or len(gaps) > 1:
            raise _unsupported(
                name, f"windows of unequal size ({size} into {count})", "equal windows"
            )
        kernel.append(widths.pop())
        stride.append(gaps.pop() if gaps else 1)
    pool = SumPool(kernel=(kernel[0], kernel[1]), stride=(stride[0], stride[1]))
    return _with_value(x, fold.averaged(value, pool, name))


def _with_value(x: Signal, value: fold.Affine) -> Signal:
    return dataclasses.replace(x, value=value, axes=ax.with_features(x.axes, value.shape))


def _constant(x: Signal, value: Any, name: str) -> Array:
    """A number or tensor as an array that broadcasts to the features of x."""
    array = _numpy(value) if isinstance(value, torch.Tensor) else np.asarray(value, np.float64)
    if array.size == 1:
        return array.reshape(())
    array = array.reshape((1,) * (len(x.axes) - array.ndim) + array.shape)
    features = ax.feature_axes(x.axes)
    outside = [n for n, axis in enumerate(x.axes) if axis not in features]
    if array.ndim != len(x.axes) or any(array.shape[n] != 1 for n in outside):
        raise _unsupported(
            name, f"a constant of shape {array.shape} on {ax.describe(x.axes)}", "one per feature"
        )
    return array.reshape([array.shape[n] for n, axis in enumerate(x.axes) if axis in features])


def _numpy(tensor: torch.Tensor) -> Array:
    return tensor.detach().to(torch.float64).cpu().numpy()


def _pair(value: Any) -> Pair:
    if isinstance(value, int):
        return value, value
    return (int(value[0]), int(value[-1]))


def _unsupported(name: str, got: str, expected: str) -> UnsupportedError:
    return UnsupportedError(
        f"layer {name!r}",
        got=got,
        expected=expected,
        fix="Change this part of the module; what folds is listed in docs/folding.md.",
    )


def _holds_signal(value: Any) -> bool:
    if isinstance(value, Signal):
        return True
    if isinstance(value, dict):
        return any(map(_holds_signal, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_holds_signal, value))


# --- functions and methods ----------------------------------------------------------------------

Operation: TypeAlias = Callable[..., Any]
OPERATIONS: dict[str, Operation] = {}
"""By the name of the torch function or tensor method; called with the walk and the node's name."""


def _operation(*names: str) -> Callable[[Operation], Operation]:
    def register(function: Operation) -> Operation:
        OPERATIONS.update(dict.fromkeys(names, function))
        return function

    return register


def _function_name(function: Any) -> str:
    return str(getattr(function, "__name__", function)).strip("_")


@_operation("add", "iadd", "add_")
def _add(walk: _Walk, name: str, a: Any, b: Any, *, alpha: float = 1.0) -> Signal:
    if isinstance(a, Signal) and isinstance(b, Signal):
        same_weights = np.array_equal(
            np.zeros(0) if a.time_weights is None else a.time_weights,
            np.zeros(0) if b.time_weights is None else b.time_weights,
        )
        if a.axes != b.axes or not same_weights:
            raise _unsupported(
                name, f"a sum of {ax.describe(a.axes)} and {ax.describe(b.axes)}", "equal axes"
            )
        second = fold.scaled(b.value, np.asarray(float(alpha)), name) if alpha != 1 else b.value
        return dataclasses.replace(a, value=fold.added(a.value, second, name))
    x, other = (a, b) if isinstance(a, Signal) else (b, a)
    if alpha != 1:
        raise _unsupported(name, "alpha with a constant", "alpha = 1")
    value = _arranged(x, name)
    return dataclasses.replace(x, value=fold.shifted(value, _constant(x, other, name)))


@_operation("sub", "isub", "sub_")
def _subtract(walk: _Walk, name: str, a: Any, b: Any) -> Signal:
    return _add(walk, name, a, _multiply(walk, name, b, -1.0) if isinstance(b, Signal) else -b)


@_operation("neg")
def _negate(walk: _Walk, name: str, x: Signal) -> Signal:
    return _multiply(walk, name, x, -1.0)


@_operation("mul", "imul", "mul_")
def _multiply(walk: _Walk, name: str, a: Any, b: Any) -> Signal:
    if isinstance(a, Signal) and isinstance(b, Signal):
        raise UnsupportedError(
            f"operation {name!r}",
            got="a product of two signals (as in SEW-AND, IAND and attention)",
            expected="sums of signals, and products with constants",
            fix="Train with addition (SEW-ADD).",
        )
    x, other = (a, b) if isinstance(a, Signal) else (b, a)
    value = _arranged(x, name)
    return dataclasses.replace(x, value=fold.scaled(value, _constant(x, other, name), name))


@_operation("truediv", "itruediv", "div", "div_")
def _divide(walk: _Walk, name: str, a: Any, b: Any) -> Signal:
    if isinstance(b, Signal):
        raise _unsupported(name, "a division by a signal", "a division by a constant")
    return _multiply(walk, name, a, 1.0 / b)


@_operation("reshape", "view")
def _reshape(walk: _Walk, name: str, x: Signal, *shape: Any) -> Signal:
    return dataclasses.replace(x, axes=ax.reshaped(x.axes, _unpacked(shape), name))


@_operation("flatten")
def _flatten(walk: _Walk, name: str, x: Signal, start_dim: int = 0, end_dim: int = -1) -> Signal:
    return dataclasses.replace(x, axes=ax.merged(x.axes, start_dim, end_dim))


@_operation("unflatten")
def _unflatten(walk: _Walk, name: str, x: Signal, dim: int, sizes: Sequence[int]) -> Signal:
    return dataclasses.replace(x, axes=ax.split(x.axes, dim, list(sizes), name))


@_operation("permute")
def _permute(walk: _Walk, name: str, x: Signal, *dims: Any) -> Signal:
    return dataclasses.replace(x, axes=ax.permuted(x.axes, _unpacked(dims)))


@_operation("transpose", "swapaxes", "swapdims")
def _transpose(walk: _Walk, name: str, x: Signal, dim0: int, dim1: int) -> Signal:
    return dataclasses.replace(x, axes=ax.swapped(x.axes, dim0, dim1))


@_operation("movedim", "moveaxis")
def _movedim(walk: _Walk, name: str, x: Signal, source: int, destination: int) -> Signal:
    return dataclasses.replace(x, axes=ax.moved(x.axes, source, destination))


@_operation("unsqueeze")
def _unsqueeze(walk: _Walk, name: str, x: Signal, dim: int) -> Signal:
    dim = dim % (len(x.axes) + 1)
    return dataclasses.replace(x, axes=(*x.axes[:dim], (), *x.axes[dim:]))


@_operation("squeeze")
def _squeeze(walk: _Walk, name: str, x: Signal, dim: Any = None) -> Signal:
    if dim is None:
        raise _unsupported(name, "squeeze of all axes", "squeeze of a stated axis")
    axes = x.axes
    dims = sorted((d % len(axes) for d in ([dim] if isinstance(dim, int) else dim)), reverse=True)
    for d in dims:
        if x.shape[d] == 1:
            axes = ax.without(axes, d)
    return dataclasses.replace(x, axes=axes)


@_operation("repeat", "expand", "tile")
def _repeat(walk: _Walk, name: str, x: Signal, *counts: Any) -> Signal:
    """Only one thing may be repeated: a static input, T times."""
    wanted = _unpacked(counts)
    axes: ax.Axes = ((),) * (len(wanted) - len(x.axes)) + x.axes
    atom = ax.Atom("T", walk.steps)
    result = []
    for axis, size, count in zip(axes, ax.sizes(axes), wanted, strict=True):
        if count in (1, -1, size):
            result.append(axis)
        elif count == walk.steps and not any(ax.labels(a).count("T") for a in axes):
            result.append((atom, *axis))
        else:
            raise _unsupported(
                name, f"{ax.describe(axes)} repeated {tuple(wanted)}", "one repetition: T times"
            )
    return dataclasses.replace(x, axes=tuple(result))


@_operation("stack")
def _stack(walk: _Walk, name: str, tensors: Sequence[Any], dim: int = 0) -> Signal:
    first = tensors[0]
    if len(tensors) != walk.steps or any(t is not first for t in tensors):
        raise _unsupported(name, "a stack of different tensors", "the input, stacked T times")
    lifted = _unsqueeze(walk, name, first, dim)
    counts = [1] * len(lifted.axes)
    counts[dim] = walk.steps
    return _repeat(walk, name, lifted, *counts)


@_operation("mean")
def _mean(walk: _Walk, name: str, x: Signal, dim: Any = None, keepdim: bool = False) -> Signal:
    dims = [d % len(x.axes) for d in ([dim] if isinstance(dim, int) else dim or ())]
    reduced = [ax.labels(x.axes[d]) for d in dims]
    if reduced == ["T"]:
        return _time_sum(x, np.full(walk.steps, 1.0 / walk.steps), dims[0], keepdim)
    if sorted(reduced) == ["H", "W"]:
        pooled = _adaptive_average(x, name, 1)
        return pooled if keepdim else _squeeze(walk, name, pooled, dims)
    raise _unsupported(
        name, f"a mean over {reduced or 'all'} of {ax.describe(x.axes)}", "over time, or H and W"
    )


@_operation("sum")
def _sum(walk: _Walk, name: str, x: Signal, dim: Any = None, keepdim: bool = False) -> Signal:
    if not isinstance(dim, int) or ax.labels(x.axes[dim]) != "T":
        raise _unsupported(name, f"a sum over {dim} of {ax.describe(x.axes)}", "over time")
    return _time_sum(x, np.ones(walk.steps), dim % len(x.axes), keepdim)


def _time_sum(x: Signal, weights: Array, axis: int, keepdim: bool = False) -> Signal:
    if x.time_weights is not None:
        raise _unsupported("sum over time", "a second sum over time", "one")
    kept: ax.Axes = ((),) if keepdim else ()
    value = dataclasses.replace(x.value, bias=x.value.bias * weights.sum())
    axes = (*x.axes[:axis], *kept, *x.axes[axis + 1 :])
    return Signal(value=value, axes=axes, time_weights=weights)


@_operation("getitem")
def _getitem(walk: _Walk, name: str, x: Any, index: Any) -> Any:
    if not isinstance(x, Signal):
        return x[index]
    parts = index if isinstance(index, tuple) else (index,)
    chosen = [n for n, part in enumerate(parts) if part != slice(None)]
    axis = x.time_axis()
    if chosen != [axis] or not isinstance(parts[chosen[0]], int):
        raise _unsupported(
            name, f"the selection {index} of {ax.describe(x.axes)}", "one time step, as a number"
        )
    weights = np.zeros(walk.steps)
    weights[parts[chosen[0]]] = 1.0
    return _time_sum(x, weights, chosen[0])


@_operation("getattr")
def _getattr(walk: _Walk, name: str, x: Signal, attribute: str) -> Any:
    if attribute == "shape":
        return x.shape
    if attribute == "ndim":
        return len(x.axes)
    if attribute in ("device", "dtype"):
        return {"device": torch.device("cpu"), "dtype": torch.float64}[attribute]
    raise _unsupported(name, f"the attribute {attribute!r}", "shape or ndim")


@_operation("size")
def _size(walk: _Walk, name: str, x: Signal, dim: int | None = None) -> Any:
    return x.shape if dim is None else x.shape[dim]


@_operation("dim")
def _dim(walk: _Walk, name: str, x: Signal) -> int:
    return len(x.axes)


@_operation("len")
def _len(walk: _Walk, name: str, x: Signal) -> int:
    return x.shape[0]


@_operation("contiguous", "clone", "detach", "float", "double", "to", "type", "type_as", "cpu")
def _same(walk: _Walk, name: str, x: Signal, *args: Any, **kwargs: Any) -> Signal:
    return x


@_operation("dropout", "dropout1d", "dropout2d", "dropout3d")
def _dropout(
    walk: _Walk, name: str, x: Signal, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Signal:
    if training:
        raise _unsupported(name, "dropout with training=True", "training=self.training")
    return x


@_operation("conv2d")
def _conv2d_function(
    walk: _Walk,
    name: str,
    x: Signal,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Signal:
    return _convolve(x, name, weight, bias, stride, padding, dilation, groups)


@_operation("linear")
def _linear_function(walk: _Walk, name: str, x: Signal, weight: Any, bias: Any = None) -> Signal:
    return _project(x, name, weight, bias)


@_operation("avg_pool2d")
def _avg_pool2d_function(
    walk: _Walk,
    name: str,
    x: Signal,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Signal:
    return _average(
        x, name, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


@_operation("adaptive_avg_pool2d")
def _adaptive_avg_pool2d_function(walk: _Walk, name: str, x: Signal, output_size: Any) -> Signal:
    return _adaptive_average(x, name, output_size)


@_operation("max_pool2d", "max_pool2d_with_indices", "adaptive_max_pool2d", "boolean_dispatch")
def _max_pool(walk: _Walk, name: str, x: Signal, *args: Any, **kwargs: Any) -> Signal:
    return layer(nn.MaxPool2d(2), x, name)


def _unpacked(values: tuple[Any, ...]) -> list[int]:
    if len(values) == 1 and isinstance(values[0], (list, tuple, torch.Size)):
        values = tuple(values[0])
    return [int(v) for v in values]
