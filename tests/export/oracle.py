"""What folding is compared with: torch in float64, evaluated layer by layer."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from trispike.export import Traced, trace
from trispike.export.fold import Affine
from trispike.network.dynamics import time_steps

Array = npt.NDArray[Any]

ROUNDING = 1e-11
"""Relative to the largest value: float64 rounds at 1e-16, and a few thousand terms are added in
another order."""


def assert_equal_but_for_rounding(got: Any, expected: Any) -> None:
    """Same shape, and no difference but that of the order of additions."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(got, expected, rtol=0, atol=ROUNDING * scale)


def spikes(*shape: int, seed: int = 0) -> Array:
    """Random ternary spikes, as many of each."""
    return np.random.default_rng(seed).integers(-1, 2, shape).astype(np.int8)


def evaluate(value: Affine, fired: Mapping[str, Array]) -> Array:
    """An affine value on the spikes of its sources, (N, *shape) each, through its connections."""
    batch = len(next(iter(fired.values())))
    total = np.zeros((batch, *value.shape)) + value.bias
    for path in value.paths:
        summed = np.asarray(sum(fired[s].astype(np.int64) for s in path.sources))
        total += path.connection("target").current(summed).reshape(total.shape)
    return total


def tensor(array: Any) -> Tensor:
    """In float64."""
    return torch.tensor(np.asarray(array), dtype=torch.float64)


def assert_folds(
    module: nn.Module,
    data: Array,
    *,
    steps: int,
    encoding: Any = "direct",
    logits_of: Any = None,
) -> Traced:
    """Trace a module, and compare what every neuron receives, and the logits, with the module's.

    This is no use of ``prove``: the inputs of the neurons are compared, not their spikes, so that
    no difference can hide below a threshold.

    Args:
        module: The module.
        data: Raw data.
        steps: T.
        encoding: How they enter.
        logits_of: From the module's output to (N, classes); by default the output is that.
    """
    traced = trace(module, data.shape[1 if encoding == "direct" else 2 :], steps=steps,
                   encoding=encoding)  # fmt: skip
    module = copy.deepcopy(module).double().eval()
    calls: dict[str, list[tuple[Array, Array]]] = {p.path: [] for p in traced.populations}

    def keep(path: str) -> Any:
        def hook(_: nn.Module, args: Any, output: Tensor) -> None:
            calls[path].append((args[0].numpy(), output.numpy()))

        return hook

    for path in calls:
        module.get_submodule(path).register_forward_hook(keep(path))
    with torch.no_grad():
        output = module(torch.from_numpy(data))
    received, fired = {}, {}
    for p in traced.populations:
        shape = traced.network.populations[p.name].shape
        x, y = (np.moveaxis(a, p.adapted.time_axis, 0) for a in calls[p.path][p.call])
        assert (y != 0).any(), f"{p.name} never fires"
        received[p.name] = x.reshape(*x.shape[:2], *shape)
        fired[p.name] = (
            np.sign(y / p.adapted.amplitude).astype(np.int8).reshape(*y.shape[:2], *shape)
        )
    network = traced.network
    logits = np.zeros((len(data), network.readout.classes))
    for step in time_steps(network, data.astype(np.float64), observed=fired):
        for name, current in step.currents.items():
            bias = network.populations[name].neuron.bias
            assert_equal_but_for_rounding(current + bias, received[name][step.t])
        logits += network.readout.weights[step.t] * step.logits
    expected = output if logits_of is None else logits_of(output)
    assert_equal_but_for_rounding(logits, expected.numpy())
    return traced
