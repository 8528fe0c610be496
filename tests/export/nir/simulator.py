"""NIR graphs, run as their equations say under forward Euler: slow, and nothing of trispike in it.

A node that is in a loop reads what the others had at the step before, unless a Delay lies between.
"""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import torch
from torch.nn import functional

Array = Any


class Simulator:
    """One sample of a graph, step by step."""

    def __init__(self, graph: Any, dt: float) -> None:
        self.graph, self.dt = graph, dt
        self.state: dict[Any, Any] = {}

    def run(self, x: Array) -> Array:
        """(T, ...) into the Input to (T, ...) out of the Output."""
        return np.stack([self.step(frame) for frame in x])

    def step(self, frame: Array) -> Array:
        done: dict[str, Array] = {}
        (source,) = (n for n, node in self.graph.nodes.items() if isinstance(node, nir.Input))
        (sink,) = (n for n, node in self.graph.nodes.items() if isinstance(node, nir.Output))
        done[source] = frame
        # What a Delay yields is known before anything enters it.
        for name, node in self.graph.nodes.items():
            if isinstance(node, nir.Delay):
                steps = round(float(np.max(node.delay)) / self.dt)
                line = self.state.setdefault(name, [np.zeros(node.delay.shape)] * steps)
                if steps:
                    done[name] = line[0]
        delays = {n for n in done if n != source}

        def value(name: str) -> Array:
            if name not in done:
                done[name] = self.node(name, entering(name))
            return done[name]

        def entering(name: str) -> Array:
            return sum(value(a) for a, b in self.graph.edges if b == name)

        result = value(sink)
        for name in self.graph.nodes:
            value(name)
        for name in delays:
            self.state[name] = [*self.state[name][1:], entering(name)]
        return result

    def node(self, name: str, x: Array) -> Array:
        node, dt = self.graph.nodes[name], self.dt
        if isinstance(node, nir.NIRGraph):
            inner = self.state.setdefault(name, Simulator(node, dt))
            return inner.step(x)
        if isinstance(node, nir.Output | nir.Delay):
            return x
        if isinstance(node, nir.Affine):
            return node.weight @ x + node.bias
        if isinstance(node, nir.Linear):
            return node.weight @ x
        if isinstance(node, nir.Scale):
            return node.scale * x
        if isinstance(node, nir.Flatten):
            return x.reshape(-1)
        if isinstance(node, nir.Conv1d | nir.Conv2d):
            conv: Any = functional.conv1d if isinstance(node, nir.Conv1d) else functional.conv2d
            plain = [_plain(getattr(node, f)) for f in ("stride", "padding", "dilation")]
            tensors = [torch.from_numpy(np.asarray(v, float)) for v in (x, node.weight, node.bias)]
            return conv(tensors[0][None], tensors[1], tensors[2], *plain, int(node.groups))[
                0
            ].numpy()
        if isinstance(node, nir.SumPool2d | nir.AvgPool2d):
            plain = [_plain(getattr(node, f)) for f in ("kernel_size", "stride", "padding")]
            mean = functional.avg_pool2d(torch.from_numpy(np.asarray(x, float))[None], *plain)
            area = np.prod(node.kernel_size) if isinstance(node, nir.SumPool2d) else 1
            return mean[0].numpy() * area
        return self.neuron(name, node, x)

    def neuron(self, name: str, node: Any, x: Array) -> Array:
        dt = self.dt
        if isinstance(node, nir.Threshold):
            return (x > node.threshold).astype(float)
        v = self.state.get((name, "v"), np.zeros(node.r.shape))
        if isinstance(node, nir.I | nir.IF):
            v = v + dt * node.r * x
        elif isinstance(node, nir.LI | nir.LIF):
            v = v + dt / node.tau * (node.v_leak - v + node.r * x)
        else:
            i = self.state.get((name, "i"), np.zeros(node.r.shape))
            i = i + dt / node.tau_syn * (-i + node.w_in * x)
            v = v + dt / node.tau_mem * (node.v_leak - v + node.r * i)
            self.state[name, "i"] = i
        spikes = v
        if hasattr(node, "v_threshold"):
            spikes = (v > node.v_threshold).astype(float)
            v = np.where(spikes > 0, node.v_reset, v)
        self.state[name, "v"] = v
        return spikes


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value
    return tuple(int(n) for n in np.asarray(value).reshape(-1))
