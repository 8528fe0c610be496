"""Exported graphs as PyTorch modules, through nirtorch.

nirtorch wires the modules; what each node computes is said here, for standard nodes too: its own
default for ``Affine`` leaves the bias random, its ``SumPool2d`` ignores the padding, and its
``Flatten`` flattens the batch.
"""

from __future__ import annotations

from collections import deque
from typing import Any, TypeAlias

import numpy as np

from trispike.errors import MissingDependencyError, UnsupportedError

try:
    import nirtorch
    import torch
except ImportError as error:
    raise MissingDependencyError(
        "NIR graphs in PyTorch",
        got=str(error),
        expected="torch and nirtorch",
        fix="Install them with: pip install 'trispike[torch,nir]' nirtorch",
    ) from error

from torch import nn
from torch.nn import functional

from trispike.export.nir.euler import from_standard
from trispike.export.nir.nodes import (
    CTSN,
    CTSNInput,
    CTSNReadout,
    DilatedSumPool2d,
    Unflatten,
)
from trispike.export.nir.own import is_own, neuron_of
from trispike.export.nir.package import nir
from trispike.network import Neuron

Tensor: TypeAlias = torch.Tensor


def to_torch(graph: Any, *, dtype: torch.dtype = torch.float64) -> nn.Module:
    """A graph of a float network as a module that advances one time step per call.

    ``outputs, state = module(x, state)``, where x is (N, *shape), raw data of one time step, and
    the first state is None. The outputs are the logits so far: those of the last step are the
    network's. The spikes of a population are what the submodule of its name returns first.

    Args:
        graph: What :func:`trispike.export.nir.to_graph` made, or :func:`~trispike.export.nir.read`
            read.
        dtype: Of all tensors; in float64 the spikes are those of the reference engine.

    Raises:
        UnsupportedError: An integer network, a loop, or a graph of another tool.
    """
    if not is_own(graph):
        raise UnsupportedError(
            "graph",
            got="no CTSNInput and CTSNReadout node",
            expected="a graph that trispike wrote",
            fix="Import it with trispike import, and export the network.",
        )
    (source,) = (node for node in graph.nodes.values() if isinstance(node, CTSNInput))
    if source.network != "float":
        raise UnsupportedError(
            "graph",
            got="an integer network",
            expected="a float one",
            fix="Export the float network, or run the integer one with trispike simulate.",
        )
    _check_no_loop(graph)
    dt = float(source.dt)

    def standard(node: Any) -> nn.Module:
        return _Population(from_standard(node, dt))

    mapping: dict[type, Any] = {
        nir.Input: lambda node: nn.Identity(),
        nir.Output: lambda node: nn.Identity(),
        nir.Affine: lambda node: _Affine(node.weight, node.bias),
        nir.Linear: lambda node: _Affine(node.weight, None),
        nir.Conv2d: _Conv,
        nir.Scale: lambda node: _Scale(node.scale),
        nir.SumPool2d: _Pool,
        nir.Delay: lambda node: _Delay(round(float(node.delay.flat[0]) / dt)),
        nir.Flatten: lambda node: nn.Flatten(),
        nir.LIF: standard,
        nir.IF: standard,
        nir.CubaLIF: standard,
        CTSN: _ctsn,
        CTSNInput: lambda node: (_EncodeOnce if node.encoding == "once" else _Encode)(node),
        CTSNReadout: _Readout,
        DilatedSumPool2d: _Pool,
        Unflatten: lambda node: nn.Unflatten(1, tuple(int(n) for n in node.shape)),
    }
    return nirtorch.nir_to_torch(graph, mapping, dtype=dtype)


def _check_no_loop(graph: Any) -> None:
    waiting = {name: {a for a, b in graph.edges if b == name} for name in graph.nodes}
    while ready := [name for name, before in waiting.items() if not before & set(waiting)]:
        for name in ready:
            del waiting[name]
    if waiting:
        raise UnsupportedError(
            "graph",
            got="a loop through " + ", ".join(sorted(waiting)),
            expected="a graph without loops",
            fix="nirtorch delays loops by a step of its own; run it with trispike simulate.",
        )


class _Affine(nn.Module):
    def __init__(self, weight: Any, bias: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(_tensor(weight))
        self.bias = None if bias is None else nn.Parameter(_tensor(bias))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias)


class _Conv(nn.Module):
    def __init__(self, node: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(_tensor(node.weight))
        self.bias = nn.Parameter(_tensor(node.bias))
        self.geometry = (_pair(node.stride), _pair(node.padding), _pair(node.dilation))
        self.groups = int(node.groups)

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight, self.bias, *self.geometry, self.groups)


class _Scale(nn.Module):
    def __init__(self, scale: Any) -> None:
        super().__init__()
        self.scale = nn.Parameter(_tensor(scale))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class _Pool(nn.Module):
    def __init__(self, node: Any) -> None:
        super().__init__()
        self.kernel, self.stride = _pair(node.kernel_size), _pair(node.stride)
        self.padding = _pair(node.padding)
        self.dilation = _pair(getattr(node, "dilation", (1, 1)))

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        ones = torch.ones((channels, 1, *self.kernel), dtype=x.dtype, device=x.device)
        return functional.conv2d(
            x, ones, None, self.stride, self.padding, self.dilation, groups=channels
        )


class _Delay(nn.Module):
    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        line = deque([torch.zeros_like(x)] * self.steps) if state is None else deque(state)
        line.append(x)
        return line.popleft(), tuple(line)


class _Encode(nn.Module):
    mean: Tensor
    std: Tensor

    def __init__(self, node: CTSNInput) -> None:
        super().__init__()
        self.register_buffer("mean", _tensor(node.mean))
        self.register_buffer("std", _tensor(node.std))
        self.plain = node.encoding == "spikes"

    def forward(self, x: Tensor) -> Tensor:
        return x if self.plain else (x - self.mean) / self.std


class _EncodeOnce(nn.Module):
    """The first frame, and nothing after it."""

    def __init__(self, node: CTSNInput) -> None:
        super().__init__()
        self.encode = _Encode(node)

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        return torch.zeros_like(x) if state else self.encode(x), True


class _Readout(nn.Module):
    bias: Tensor
    weights: Tensor

    def __init__(self, node: CTSNReadout) -> None:
        super().__init__()
        self.register_buffer("bias", _tensor(node.bias))
        self.register_buffer("weights", _tensor(node.weights))

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        t, total = state or (0, torch.zeros_like(x))
        if t == len(self.weights):
            raise UnsupportedError(
                "readout",
                got=f"time step {t + 1}",
                expected=f"at most {t}, the network's",
                fix="Begin the next sample with state=None.",
            )
        total = total + self.weights[t] * (x + self.bias)
        return total, (t + 1, total)


class _Population(nn.Module):
    a_pos: Tensor
    a_neg: Tensor
    b_pos: Tensor
    b_neg: Tensor
    k: Tensor
    bias: Tensor
    th_pos: Tensor
    th_neg: Tensor
    floor: Tensor
    v_init: Tensor

    def __init__(self, neuron: Neuron) -> None:
        super().__init__()
        for name, value in neuron.array_fields().items():
            self.register_buffer(name, _tensor(value))
        self.reset = neuron.reset
        self.strict, self.fire_once = neuron.strict, neuron.fire_once
        self.gains, self.fires_at = neuron.gains, neuron.fires_at

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        zeros = torch.zeros_like(x)
        i, c, v, fired, t = state or (zeros, zeros, zeros + self.v_init, zeros.bool(), 0)
        gain = self.gains[t] if self.gains else 1.0
        i = self.k * i + gain * x
        c = _pw(c, self.a_pos, self.a_neg) + _pw(v, self.b_pos, self.b_neg)
        v = torch.maximum(c + i + gain * self.bias, self.floor)
        up = v > self.th_pos if self.strict else v >= self.th_pos
        down = v < -self.th_neg if self.strict else v <= -self.th_neg
        if self.fire_once:
            up, down = up & ~fired, down & ~fired
        if not self.fires_at(t):
            up, down = torch.zeros_like(up), torch.zeros_like(down)
        if self.reset == "zero":
            v = torch.where(up | down, zeros, v)
        elif self.reset == "subtract":
            v = torch.where(up, v - self.th_pos, torch.where(down, v + self.th_neg, v))
        return up.to(x.dtype) - down.to(x.dtype), (i, c, v, fired | up | down, t + 1)


def _pw(z: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    return positive * z.clamp(min=0) + negative * z.clamp(max=0)


def _ctsn(node: CTSN) -> nn.Module:
    neuron = neuron_of(node, "CTSN")
    if not isinstance(neuron, Neuron):
        raise UnsupportedError(
            "node CTSN",
            got="fixed-point numbers",
            expected="float ones",
            fix="Export the float network.",
        )
    return _Population(neuron)


def _tensor(value: Any) -> Tensor:
    return torch.from_numpy(np.array(value, dtype=np.float64))


def _pair(value: Any) -> tuple[int, int]:
    rows, columns = (int(n) for n in value)
    return rows, columns
