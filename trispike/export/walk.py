"""Follows the forward of a module, with signals in place of tensors.

torch.fx runs the forward with proxies. Every operation on a proxy is composed at once, so that it
knows its shape: code may unpack, compare and loop over shapes, but not decide by values. What does
not depend on the input (weights that are computed from others) is simply computed.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from trispike.errors import InvalidNetworkError, TrispikeError, UnsupportedError
from trispike.export import axes as ax
from trispike.export import fold
from trispike.export.layers import LEAVES, advice, is_foreign_layer, layer
from trispike.export.neurons import AdaptedNeuron, adapt_neuron, is_neuron
from trispike.export.operations import COMBINING, OPERATIONS, in_place
from trispike.export.signals import Array, Signal, arranged, with_axes
from trispike.export.stepwise import Potential, Stepped, check_one_step
from trispike.network import Dense, Neuron, Population
from trispike.network.connection import Connection


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


ALWAYS = Neuron(bias=np.ones(()), th_pos=np.full((), 0.5))
"""Fires at every step, without input."""


def _state(spikes: Any, path: str, name: str) -> Potential:
    """Stands in the graph for a state that a call of a neuron returned beside its spikes."""
    raise NotImplementedError  # a name for the graph, which is never run


class _Proxy(fx.Proxy):
    """Stands for a signal in the code of the module."""

    signal: Signal | Potential

    @property
    def shape(self) -> torch.Size:
        return self.signal.shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def dtype(self) -> torch.dtype:
        return torch.float64

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        return self.ndim

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        this: Any = self  # fx.Proxy takes an index, but its type does not tell
        return (this[n] for n in range(len(self)))


class Walk(fx.Tracer):
    """One pass through a module, which collects populations and connections.

    Args:
        start: The module's input.
    """

    def __init__(self, start: Signal) -> None:
        super().__init__()
        self.start = start
        self.populations: dict[str, Population] = {}
        self.connections: list[Connection] = []
        self.traced: list[TracedPopulation] = []
        self.clocks: list[str] = []
        self._signals: dict[fx.Node, Signal | Potential] = {}
        self._stepped: dict[str, Stepped] = {}

    @property
    def progress(self) -> int:
        """How many different operations were composed."""
        return len({(node.op, str(node.target)) for node in self._signals})

    def follow(self, module: nn.Module) -> Any:
        """The module's output: a signal, or whatever else it returns.

        Args:
            module: In evaluation mode and float64; it is the caller's to spoil.

        Raises:
            UnsupportedError: A layer or operation has no exact form, named with its path.
            InvalidNetworkError: Parameters are NaN, or shapes do not fit.
        """
        try:
            with torch.no_grad():
                graph = self.trace(module)
        except TrispikeError:
            raise
        except Exception as error:
            raise UnsupportedError(
                f"module {type(module).__name__!r}",
                got=f"a forward that torch.fx cannot follow ({error})",
                expected="a forward without decisions that depend on the values of tensors",
                fix="Make such decisions in the constructor, or register that part as a neuron.",
            ) from error
        for node in graph.nodes:
            changed = node.all_input_nodes[:1] if in_place(_kind(node)) else ()
            if any(len(n.users) > 1 for n in changed):
                raise fold.refusal(
                    _name(node),
                    got="a change in place of what is used elsewhere, too",
                    expected="an operation that returns a new tensor",
                    fix=f"Use the form without the underscore: {_kind(node).rstrip('_')}.",
                )
        for stepped in self._stepped.values():
            stepped.check_finished(self.start.steps)
        (output,) = next(node.args for node in reversed(graph.nodes) if node.op == "output")
        return fx.node.map_arg(output, self._value)

    # --- what torch.fx asks for -----------------------------------------------------------------

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Neurons are leaves, whatever module they are defined in."""
        return (
            is_neuron(m)
            or isinstance(m, LEAVES)
            or is_foreign_layer(m)
            or super().is_leaf_module(m, module_qualified_name)
        )

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: Any) -> Any:
        """Parameters stay what they are."""
        return attr_val

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """What is made of constants is computed."""
        if not _found(fx.Proxy, (args, kwargs)):
            return forward(*args, **kwargs)
        result = super().call_module(m, forward, args, kwargs)
        stepped = self._stepped.get(self.path_of_module(m)) if is_neuron(m) else None
        if stepped is None or not stepped.adapted.returns:
            return result
        states = (
            self.create_proxy("call_function", _state, (result, stepped.path, name), {})
            for name in stepped.adapted.returns[1:]
        )
        return (result, *states)

    def proxy(self, node: fx.Node) -> _Proxy:
        """The proxies of this walk know their signals."""
        return _Proxy(node, self)

    def create_proxy(self, kind: str, target: Any, *rest: Any, **options: Any) -> Any:
        """Compose the operation that is being recorded."""
        proxy: Any = super().create_proxy(kind, target, *rest, **options)
        node = proxy.node
        if kind == "placeholder":
            if self._signals or str(target).startswith("*"):
                return self._default(node)
            signal: Signal | Potential = self.start
        else:
            args = fx.node.map_arg(node.args, self._value)
            kwargs = fx.node.map_arg(node.kwargs, self._value)
            with _named(_name(node)):
                call = self._call_module if kind == "call_module" else self._call
                signal = call(node, args, kwargs)
        proxy.signal = self._signals[node] = signal
        return proxy

    # --- what becomes of it ---------------------------------------------------------------------

    def _value(self, node: fx.Node) -> Any:
        """A signal, or a constant of the module."""
        signal = self._signals.get(node)
        return operator.attrgetter(str(node.target))(self.root) if signal is None else signal

    def _default(self, node: fx.Node) -> Any:
        """Of an argument other than the first."""
        if node.args and not str(node.target).startswith("*"):
            return node.args[0]
        raise UnsupportedError(
            f"module {type(self.root).__name__!r}",
            got=f"a forward with the argument {str(node.target)!r}",
            expected="a forward that takes one tensor, and anything else by default",
            fix="Wrap the module so that its forward takes the data only.",
        )

    def _call_module(self, node: fx.Node, args: Any, kwargs: Any) -> Signal:
        path = str(node.target)
        module = self.root.get_submodule(path)
        given = (*args, *kwargs.values())
        if given and isinstance(given[0], Potential):
            raise given[0].refusal(path)
        # SpikingJelly's dropout has a memory as neurons have, but is a layer.
        spiking = is_neuron(module) and not is_foreign_layer(module)
        adapted = adapt_neuron(module, path) if spiking else None
        if adapted and adapted.time_axis is None:
            return self._neuron_step(path, module, adapted, args, kwargs)
        if len(given) != 1 or not isinstance(given[0], Signal):
            kind = type(module).__name__
            raise fold.refusal(
                path,
                got=f"{kind} with {len(given)} arguments",
                expected="one tensor as its only argument",
                fix=advice(kind, fold.CHANGE_IT),
            )
        if adapted:
            return self._neuron(path, module, adapted, given[0])
        self._check_pooling(path, type(module).__name__, given[0])
        return layer(module, given[0], path)

    def _call(self, node: fx.Node, args: Any, kwargs: Any) -> Signal | Potential:
        kind, name = _kind(node), _name(node)
        if node.target is _state:
            _, path, state = args
            return self._stepped[path].returned[state]
        potentials = _found(Potential, (args, kwargs))
        if potentials:
            # Code may detach states or collect them; nothing can make use of what comes out.
            same: bool = kind in ("detach", "clone", "contiguous")
            return potentials[0] if same else dataclasses.replace(potentials[0])
        for given in _found(Signal, (args, kwargs)):
            self._check_pooling(name, kind, given)
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
        signals = _found(Signal, (args, kwargs))
        if kind not in COMBINING and (len(signals) > 1 or args[0] is not signals[0]):
            raise fold.refusal(
                name,
                got="several signals, or one as a parameter",
                expected="one, as what it acts on",
            )
        signal: Signal = OPERATIONS[kind](name, *args, **kwargs)
        return signal

    def _check_pooling(self, name: str, kind: str, x: Signal) -> None:
        """Refuse max pooling of neurons that fire once, with what their training needs instead."""
        if "maxpool" not in kind.lower().replace("_", ""):
            return
        sources = {source for path in x.value.paths for source in path.sources}
        once = sorted(
            s for s in sources & self.populations.keys() if self.populations[s].neuron.fire_once
        )
        if once:
            raise fold.refusal(
                name,
                got=f"{kind} of neurons that fire once ({', '.join(once)})",
                expected="average pooling",
                fix="Replace it by nn.AvgPool2d with the same windows and train on: at every step "
                "the maximum passes whatever fires, so that a window sends several spikes.",
            )

    def _neuron(self, path: str, module: nn.Module, adapted: AdaptedNeuron, x: Signal) -> Signal:
        """All time steps at once."""
        assert adapted.time_axis is not None
        x = arranged(_in_time(path, type(module).__name__, x, adapted.time_axis), path)
        name = self._populate(path, adapted, x)
        spikes = fold.source(name, x.value.shape, adapted.amplitude)
        return dataclasses.replace(x, value=spikes, gains=None)

    def _neuron_step(
        self, path: str, module: nn.Module, adapted: AdaptedNeuron, args: Any, kwargs: Any
    ) -> Signal:
        """One time step, with states that the code may hand on."""
        kind = type(module).__name__
        known = len(args) <= 1 + len(adapted.takes) and set(kwargs) <= set(adapted.takes)
        if not args or not isinstance(args[0], Signal) or not known:
            raise fold.refusal(
                path,
                got=f"{kind} with {len(args)} arguments and {', '.join(kwargs) or 'no'} keywords",
                expected="its input, and then " + (", ".join(adapted.takes) or "nothing"),
            )
        x, *states = args
        states += [kwargs.get(name) for name in adapted.takes[len(states) :]]
        stepped = self._stepped.get(path)
        check_one_step(path, kind, x, stepped.calls if stepped else 0)
        x = arranged(x, path)
        if stepped is None:
            stepped = self._stepped[path] = Stepped(
                path=path,
                kind=kind,
                adapted=adapted,
                population=self._populate(path, adapted, x),
                first=x.value,
            )
        return stepped.call(x, tuple(states))

    def _populate(self, path: str, adapted: AdaptedNeuron, x: Signal) -> str:
        """Make the population of a neuron, with the connections into it."""
        value = x.value
        if np.any(adapted.input_gain != 1):
            value = fold.scaled(value, np.asarray(adapted.input_gain), path)
        call = sum(p.path == path for p in self.traced)
        name = self._population_name(path, call)
        if np.any(value.bias) and np.any(adapted.neuron.k):
            self._clock(name, value)
            value = dataclasses.replace(value, bias=np.zeros(()))
        neuron = _deployed(path, adapted, value, x.gains)
        self.populations[name] = Population(shape=value.shape, neuron=neuron)
        self.connections += [p.connection(name) for p in value.paths]
        self.connections += [
            Connection(sources=(name,), target=name, operator=own.operator, delay=own.delay)
            for own in adapted.feedback
        ]
        self.traced.append(TracedPopulation(name=name, path=path, call=call, adapted=adapted))
        return name

    def _clock(self, name: str, value: fold.Affine) -> None:
        """A bias that goes through a current with memory: spikes of a neuron that always fires."""
        clock = self._population_name(f"{name}.bias", 0)
        self.clocks.append(clock)
        self.populations[clock] = Population(shape=(1,), neuron=ALWAYS)
        weight = np.broadcast_to(value.bias, value.shape).reshape(-1, 1)
        self.connections.append(
            Connection(sources=(clock,), target=name, operator=Dense(weight=weight))
        )

    def _population_name(self, path: str, call: int) -> str:
        # The published checkpoints wrap every model in one called "model".
        suffix = f"@{call + 1}" if call else ""
        names = (path.removeprefix("model.") + suffix, path + suffix, f"{path}@{call + 1}")
        taken = {"input", "readout", *self.populations}
        return next(name for name in names if name not in taken)


def _deployed(path: str, adapted: AdaptedNeuron, value: fold.Affine, gains: Array | None) -> Neuron:
    """The neuron with the bias of what comes before it, and with its gains per time step."""
    neuron = adapted.neuron
    if gains is not None:
        if np.any(neuron.bias) or neuron.gains or adapted.feedback:
            raise fold.refusal(
                path,
                got="a gain per time step before a neuron that has a bias, gains or connections "
                "of its own",
                expected="a neuron without them",
            )
        neuron = dataclasses.replace(neuron, gains=tuple(gains.tolist()))
    initial = neuron.v_init
    if initial.ndim == 3 and initial.shape[0] == 1 and initial.size > 1:
        # One value per position is no form of a network's: per channel, or per neuron.
        initial = np.broadcast_to(initial, value.shape)
    return dataclasses.replace(neuron, bias=neuron.bias + value.bias, v_init=initial)


def _in_time(path: str, kind: str, x: Signal, axis: int) -> Signal:
    """The input of a neuron, with time where it integrates and the samples first of the rest."""
    at = axis + len(x.axes) if axis < 0 else axis
    if x.steps == 1 and not x.in_time and 0 <= at < len(x.axes) and not x.axes[at]:
        # For one time step, an axis that the code added is the one of time.
        x = with_axes(x, (*x.axes[:at], (ax.Atom("T", 1),), *x.axes[at + 1 :]))
    others = [ax.labels(a) for n, a in enumerate(x.axes) if n != at]
    if ax.position(x.axes, "T") == at and others[0] == "N":
        return x
    summed = ", after a sum over time" if x.time_weights is not None else ""
    raise UnsupportedError(
        f"neuron {path!r}",
        got=f"an input with axes {ax.describe(x.axes)}{summed}",
        expected=f"time as axis {axis}, and the samples as the first of the others",
        fix=f"A {kind} integrates over axis {axis}; bring time there.",
    )


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
    except (ArithmeticError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise fold.refusal(
            name, got=f"arguments that do not fold ({error})", expected="those of PyTorch"
        ) from error


def _name(node: fx.Node) -> str:
    """A module by its path; a function or method by its name and the module that calls it."""
    if node.op == "call_module":
        return str(node.target)
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    name = f".{_kind(node)}" if node.target is getattr else f"{_kind(node)}()"
    return name + (f" in {stack[-1][0]}" if stack else "")


def _kind(node: fx.Node) -> str:
    """Name of a function, method or attribute, in the operator's form for __add__ and the like."""
    if node.target is getattr:
        return str(node.args[1])
    name = str(node.target if node.op == "call_method" else getattr(node.target, "__name__", ""))
    return name.strip("_") if name.startswith("_") else name


def _is_torch(node: fx.Node) -> bool:
    """Whether a name means what PyTorch means by it."""
    home = getattr(node.target, "__module__", None) or "torch"
    return node.op == "call_method" or home.split(".")[0] in ("torch", "_operator")


def _found(kind: type, value: Any) -> list[Any]:
    """All instances in nested arguments."""
    if isinstance(value, kind):
        return [value]
    if isinstance(value, dict):
        value = tuple(value.values())
    nested = value if isinstance(value, (list, tuple)) else ()
    return [instance for v in nested for instance in _found(kind, v)]
