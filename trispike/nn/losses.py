"""Training losses: cross entropy of averaged logits, or at every step (TET); TMPR adds to them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from trispike.errors import InvalidNetworkError
from trispike.nn.neurons import SpikingNeuron

__all__ = [
    "TET_LAMBDA",
    "TET_SMOOTHING",
    "TMPR_LAMBDA_EVENTS",
    "TMPR_LAMBDA_STATIC",
    "cross_entropy",
    "label_smoothed_temporal_efficient_loss",
    "membrane_regularization",
    "record_potentials",
    "temporal_efficient_loss",
    "tmpr_loss",
]

TMPR_LAMBDA_STATIC = 0.05
"""Published weight of the regularization for static images."""

TMPR_LAMBDA_EVENTS = 0.01
"""Published weight of the regularization for event streams."""

TET_LAMBDA = 0.05
"""Published weight of the second term of TET on CIFAR."""

TET_SMOOTHING = 0.01
"""Published share of the labels that TET-S spreads over all classes."""


@contextmanager
def record_potentials(model: nn.Module) -> Iterator[OrderedDict[str, Tensor]]:
    """Record the membrane potentials before the reset of every neuron layer of ``model``.

    Gradients flow through what is recorded. A layer's entry is replaced at every forward pass::

        with record_potentials(model) as potentials:
            logits = model(images)
        loss = tmpr_loss(logits, labels, potentials.values())

    Yields:
        Layer name to potentials (T, N, ...), time first also where the layer has it elsewhere;
        filled by the forward pass, in the order in which the layers ran.
    """
    potentials: OrderedDict[str, Tensor] = OrderedDict()

    def record(name: str, neuron: SpikingNeuron, v: Tensor) -> None:
        potentials[name] = v.movedim(neuron.time_axis, 0)

    handles = [
        module.register_potential_hook(partial(record, name))
        for name, module in model.named_modules()
        if isinstance(module, SpikingNeuron)
    ]
    try:
        yield potentials
    finally:
        for handle in handles:
            handle.remove()


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of logits averaged over time.

    Args:
        logits: (N, classes), as a model returns them, or (T, N, classes) at every step.
        labels: (N,), integers.
    """
    return functional.cross_entropy(logits.mean(0) if logits.dim() == 3 else logits, labels)


def temporal_efficient_loss(
    step_logits: Tensor, labels: Tensor, weight: float = TET_LAMBDA, target: float = 1.0
) -> Tensor:
    """Temporal efficient training (TET): cross entropy at every time step, then averaged.

    ::

        (1 - lambda) * mean_t CE(logits_t, y) + lambda * mean (logits - target)**2

    The second term keeps single logits from growing without bound.

    Source: Deng et al., "Temporal Efficient Training of Spiking Neural Network via Gradient
    Re-weighting", ICLR 2022.

    Args:
        step_logits: (T, N, classes), see ``SpikeModel.forward_steps``.
        labels: (N,), integers.
        weight: lambda, from 0 to 1.
        target: What the second term pulls logits to; published: the threshold.

    Raises:
        InvalidNetworkError: Logits without a time axis.
    """
    entropy = _entropy_at_every_step(step_logits, labels, 0.0)
    return (1 - weight) * entropy + weight * ((step_logits - target) ** 2).mean()


def label_smoothed_temporal_efficient_loss(
    step_logits: Tensor, labels: Tensor, smoothing: float = TET_SMOOTHING
) -> Tensor:
    """Label-smoothed temporal efficient training (TET-S): smoothed cross entropy at every step.

    ``mean_t CE(logits_t, (1 - smoothing)*y + smoothing/classes)``. The smoothing keeps single
    logits from growing without bound, which the second term of TET does there.

    Source: "Rethinking the Membrane Dynamics and Optimization Objectives of Spiking Neural
    Networks", NeurIPS 2024, and its public code.

    Args:
        step_logits: (T, N, classes), see ``SpikeModel.forward_steps``.
        labels: (N,), integers.
        smoothing: Share of a label that all classes share equally, from 0 to 1.

    Raises:
        InvalidNetworkError: Logits without a time axis, or a share out of range.
    """
    if not 0 <= smoothing <= 1:
        raise InvalidNetworkError(
            "TET-S loss", got=f"smoothing {smoothing}", expected="0 to 1", fix="Published: 0.01."
        )
    return _entropy_at_every_step(step_logits, labels, smoothing)


def _entropy_at_every_step(step_logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    if step_logits.dim() != 3:
        raise InvalidNetworkError(
            "TET loss",
            got=f"logits of shape {tuple(step_logits.shape)}",
            expected="(T, N, classes), logits at every time step",
            fix="Call model.forward_steps(x) instead of model(x).",
        )
    return functional.cross_entropy(
        step_logits.flatten(0, 1), labels.repeat(len(step_logits)), label_smoothing=smoothing
    )


def membrane_regularization(potentials: Iterable[Tensor]) -> Tensor:
    """The temporal regularization of TMPR, without its weight lambda.

    ::

        1/(T*N) * sum over layers n = 1..N and steps t = 0..T-1 of 1/(t+1) * mean(v_n(t)**2)

    Args:
        potentials: For every layer its membrane potentials before the reset, (T, batch, ...).

    Raises:
        InvalidNetworkError: There is no layer.
    """
    layers = [_layer_regularization(v) for v in potentials]
    if not layers:
        raise InvalidNetworkError(
            "TMPR loss",
            got="no membrane potentials",
            expected="those of at least one layer of neurons",
            fix="Run the forward pass inside `with record_potentials(model) as potentials:`.",
        )
    return torch.stack(layers).mean()


def _layer_regularization(v: Tensor) -> Tensor:
    weights = 1 / torch.arange(1, v.shape[0] + 1, dtype=v.dtype, device=v.device)
    return (weights * (v * v).mean(tuple(range(1, v.dim())))).mean()


def tmpr_loss(
    logits: Tensor, labels: Tensor, potentials: Iterable[Tensor], weight: float = TMPR_LAMBDA_STATIC
) -> Tensor:
    """Temporal membrane potential regularization, on top of cross entropy.

    ``CE(mean_t logits, y) + lambda * membrane_regularization(potentials)``.

    Source: Zhang et al. 2026, arXiv 2601.15598.

    Args:
        logits: See ``cross_entropy``.
        labels: (N,), integers.
        potentials: See ``membrane_regularization``; of the same forward pass.
        weight: lambda, published as 0.05 for static images and 0.01 for events.
    """
    return cross_entropy(logits, labels) + weight * membrane_regularization(potentials)
