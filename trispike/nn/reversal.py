"""Temporal reversed training (TRT): a network shall answer alike when its time runs backwards.

Only the training knows of it; what is deployed is the same network.

Source: Zuo et al., "Temporal Reversed Training for Spiking Neural Networks with Generalized
Spatio-Temporal Representation", arXiv 2408.09108. Its code is not public, and no more than its
abstract and accounts of it by others were at hand: the form of the three terms below is an
assumption, and every number in them is an argument.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from trispike.errors import InvalidNetworkError
from trispike.nn.models.spike_model import SpikeModel
from trispike.nn.neurons import SpikingNeuron

__all__ = [
    "TRT_CONSISTENCY",
    "TRT_STAR",
    "TRT_TEMPERATURE",
    "Passes",
    "both_passes",
    "record_rates",
    "reversal_consistency",
    "reversed_in_time",
    "star_loss",
    "temporal_reversed_loss",
]

TRT_CONSISTENCY = 1.0
"""Weight of the consistency, an assumption."""

TRT_STAR = 0.5
"""Weight of the star product, an assumption."""

TRT_TEMPERATURE = 2.0
"""What logits are divided by before they are compared, an assumption."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """What a network says of an input, and of the same input backwards in time."""

    logits: Tensor
    """(T, N, classes)."""
    reversed_logits: Tensor
    """(T, N, classes)."""
    rates: Tensor
    """(N, ...): firing rates of the chosen layer, spikes averaged over time."""
    reversed_rates: Tensor
    """The same of the reversed pass."""


def _neurons(model: nn.Module) -> dict[str, SpikingNeuron]:
    return {n: m for n, m in model.named_modules() if isinstance(m, SpikingNeuron)}


def _neuron(model: nn.Module, layer: str) -> SpikingNeuron:
    found = _neurons(model)
    if layer not in found:
        raise InvalidNetworkError(
            f"layer {layer!r}",
            got="no layer of neurons of that name",
            expected="one of " + ", ".join(found),
            fix="Name a layer of neurons of the model.",
        )
    return found[layer]


@contextmanager
def reversed_in_time(model: nn.Module, layer: str) -> Iterator[None]:
    """Let what follows a layer of neurons see its spikes in the reverse order of time.

    For static images, which have no time to reverse: their spikes do.

    Args:
        model: The model.
        layer: Name of the layer of neurons, as ``model.named_modules()`` says it.

    Raises:
        InvalidNetworkError: There is no such layer of neurons.
    """
    neuron = _neuron(model, layer)

    def flip(_module: nn.Module, _args: object, spikes: Tensor) -> Tensor:
        return spikes.flip(neuron.time_axis)

    handle = neuron.register_forward_hook(flip)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def record_rates(model: nn.Module, layer: str) -> Iterator[list[Tensor]]:
    """Record the firing rates of a layer of neurons, (N, ...), one entry per forward pass.

    Gradients flow through them.

    Args:
        model: The model.
        layer: Name of the layer of neurons.

    Raises:
        InvalidNetworkError: There is no such layer of neurons.
    """
    neuron = _neuron(model, layer)
    rates: list[Tensor] = []

    def record(_module: nn.Module, _args: object, spikes: Tensor) -> None:
        rates.append(spikes.mean(neuron.time_axis))

    handle = neuron.register_forward_hook(record)
    try:
        yield rates
    finally:
        handle.remove()


def both_passes(
    model: SpikeModel, x: Tensor, *, reverse_at: str | None = None, rates_of: str | None = None
) -> Passes:
    """Run a model on its input, and on the input backwards.

    Frames are reversed themselves. Of static images, the spikes of one layer are. In training both
    passes count for the batch norms.

    Args:
        model: The model.
        x: Its input.
        reverse_at: For static images: the layer of neurons whose spikes are reversed; default: the
            first one.
        rates_of: The layer of neurons whose rates are returned; default: the last one.

    Raises:
        InvalidNetworkError: There is no such layer, or frames and ``reverse_at``.
    """
    names = list(_neurons(model))
    if model.input_kind == "frames" and reverse_at is not None:
        raise InvalidNetworkError(
            "reverse_at",
            got=repr(reverse_at),
            expected="nothing for a model that takes frames, which are reversed themselves",
            fix="Leave it out.",
        )
    with record_rates(model, rates_of or names[-1]) as rates:
        logits = model.forward_steps(x)
        if model.input_kind == "frames":
            backwards = model.forward_steps(x.flip(1))
        else:
            with reversed_in_time(model, reverse_at or names[0]):
                backwards = model.forward_steps(x)
    return Passes(logits=logits, reversed_logits=backwards, rates=rates[0], reversed_rates=rates[1])


def reversal_consistency(
    logits: Tensor, reversed_logits: Tensor, temperature: float = TRT_TEMPERATURE
) -> Tensor:
    """Divergence of the two answers, either seen from the other.

    ::

        temperature**2 * (KL(p || q) + KL(q || p)) / 2,   p = softmax(logits / temperature)

    Args:
        logits: (N, classes), or (T, N, classes), which are averaged over time.
        reversed_logits: The same of the reversed pass.
        temperature: > 0; what is above 1 makes small logits count for more.

    Raises:
        InvalidNetworkError: A temperature that is not positive.
    """
    if not temperature > 0:
        raise InvalidNetworkError(
            "consistency of TRT",
            got=f"temperature {temperature}",
            expected="a positive number",
            fix="Take 1 for the plain softmax.",
        )
    p, q = (
        functional.log_softmax((z.mean(0) if z.dim() == 3 else z) / temperature, dim=1)
        for z in (logits, reversed_logits)
    )
    there = functional.kl_div(q, p, reduction="batchmean", log_target=True)
    back = functional.kl_div(p, q, reduction="batchmean", log_target=True)
    return temperature**2 * (there + back) / 2


def star_loss(rates: Tensor, reversed_rates: Tensor, labels: Tensor, head: nn.Module) -> Tensor:
    """Cross entropy of what a head reads from the element-wise product of two firing rates.

    Args:
        rates: (N, ...).
        reversed_rates: The same of the reversed pass.
        labels: (N,), integers.
        head: Maps (N, features) to (N, classes); needed for training only.
    """
    logits = head((rates * reversed_rates).flatten(1))
    return functional.cross_entropy(logits, labels)


def temporal_reversed_loss(
    passes: Passes,
    labels: Tensor,
    head: nn.Module | None = None,
    *,
    consistency: float = TRT_CONSISTENCY,
    star: float = TRT_STAR,
    temperature: float = TRT_TEMPERATURE,
) -> Tensor:
    """Cross entropy of the original pass, plus what temporal reversed training adds.

    ``CE(mean_t logits, y) + consistency * reversal_consistency + star * star_loss``

    Args:
        passes: See :func:`both_passes`.
        labels: (N,), integers.
        head: See :func:`star_loss`; None leaves that term out.
        consistency: Weight of the consistency.
        star: Weight of the star product.
        temperature: Of the consistency.

    Raises:
        InvalidNetworkError: A temperature that is not positive.
    """
    loss = functional.cross_entropy(passes.logits.mean(0), labels)
    pairs = (passes.logits, passes.reversed_logits)
    loss = loss + consistency * reversal_consistency(*pairs, temperature)
    if head is not None:
        loss = loss + star * star_loss(passes.rates, passes.reversed_rates, labels, head)
    return loss
