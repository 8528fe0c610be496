"""Weights to integers: one scale per output channel, one power of two per connection.

A neuron's dynamics are positively homogeneous: scale its weights, bias and thresholds by one
positive number and its spikes stay. So every output channel of a population has a scale of its
own, shared by all connections into it, which costs nothing because the threshold absorbs it.
Connections of different magnitude get a power of two each: mantissa << exponent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.network import Identity
from trispike.network.connection import Operator, Shape

Array: TypeAlias = npt.NDArray[Any]

EXPONENT_LIMIT = 8
"""Largest exponent that the search tries: a factor of 256 between two connections."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IntegerWeights:
    """Integer weights of all connections into one target."""

    scales: Array
    """(channels,): value of one unit of the accumulator."""
    exponents: tuple[int, ...]
    """Per connection."""
    operators: tuple[Operator, ...]
    """Per connection, int8."""
    sqnr_db: tuple[float | None, ...]
    """Per connection: signal to quantization noise of the weights; None where exact."""


def rows(operator: Operator, shape: Shape, channels: int) -> Array:
    """The weights of an operator as a (channels, K) matrix.

    Args:
        operator: Any operator.
        shape: What it puts out, in its own form.
        channels: Number of output channels of the target; a target of shape (N,) has N.
    """
    if isinstance(operator, Identity):
        per_channel = (channels, *((1,) * (len(shape) - 1)))
        varies = operator.scale.ndim and any(n > 1 for n in operator.scale.shape[1:])
        full = shape if varies or shape[0] != channels else per_channel
        return np.broadcast_to(operator.scale, full).reshape(channels, -1)
    return operator.weight.reshape(channels, -1)


def with_rows(operator: Operator, values: Array, shape: Shape) -> Operator:
    """The inverse of :func:`rows`."""
    if isinstance(operator, Identity):
        full = values.size == int(np.prod(shape))
        return Identity(scale=values.reshape(shape if full else (-1, *(1,) * (len(shape) - 1))))
    return replace(operator, weight=values.reshape(operator.weight.shape))


def quantize_weights(
    operators: list[Operator],
    shapes: list[Shape],
    channels: int,
    floors: Array,
    *,
    bits: int,
    per_channel: bool,
) -> IntegerWeights:
    """Choose scales and exponents that minimise the error of the weights, and round.

    Args:
        operators: Float operators of all connections into one target.
        shapes: What each of them puts out.
        channels: Number of output channels of the target.
        floors: (channels,) smallest scale that keeps thresholds and bias within the state.
        bits: Width of a weight, sign included.
        per_channel: One scale per output channel, or one for all.
    """
    top = (1 << (bits - 1)) - 1
    weights = [rows(op, shape, channels) for op, shape in zip(operators, shapes, strict=True)]
    exact = [n for n, op in enumerate(operators) if isinstance(op, Identity)]
    best: tuple[float, tuple[int, ...], Array] | None = None
    for exponents in _candidates(len(operators)):
        scales = _scales(weights, exponents, top, floors, per_channel)
        if exact:
            scales = _snapped(scales, weights[exact[0]], exponents[exact[0]])
        noise = _noise(weights, exponents, scales, None if not exact else exact[0])
        if best is None or noise < best[0]:
            best = noise, exponents, scales
    assert best is not None
    _, exponents, scales = best
    integers, sqnr = [], []
    for weight, exponent in zip(weights, exponents, strict=True):
        step = (scales * 2.0**exponent)[:, None]
        integer = np.clip(np.rint(weight / step), -top, top)
        noise_power = float(((integer * step - weight) ** 2).sum())
        signal = float((weight**2).sum())
        # Below this, the difference is float rounding of an exact representation.
        is_exact = noise_power <= signal * 1e-24
        sqnr.append(None if is_exact else 10 * float(np.log10(signal / noise_power)))
        integers.append(integer.astype(np.int8))
    return IntegerWeights(
        scales=scales,
        exponents=exponents,
        operators=tuple(
            with_rows(op, integer, shape)
            for op, integer, shape in zip(operators, integers, shapes, strict=True)
        ),
        sqnr_db=tuple(sqnr),
    )


def _candidates(count: int) -> list[tuple[int, ...]]:
    """All exponents of which the smallest is 0; more of them is only a larger scale."""
    reach = EXPONENT_LIMIT if count <= 4 else 3  # keeps the search in the thousands
    return [e for e in product(range(reach + 1), repeat=count) if min(e) == 0]


def _scales(
    weights: list[Array], exponents: tuple[int, ...], top: int, floors: Array, per_channel: bool
) -> Array:
    """The smallest scales with which every mantissa fits."""
    needed = [
        np.abs(w).max(axis=1, initial=0) / (top * 2.0**e)
        for w, e in zip(weights, exponents, strict=True)
    ]
    scales = np.maximum(np.max(needed, axis=0), floors)
    return scales if per_channel else np.full_like(scales, scales.max())


def _snapped(scales: Array, shortcut: Array, exponent: int) -> Array:
    """Enlarge scales a little, so that a shortcut's weight becomes a whole mantissa.

    A shortcut has one weight per element, so that its rounding error does not average out.
    """
    size = np.abs(shortcut).max(axis=1)
    mantissa = np.floor(size / (scales * 2.0**exponent) + 1e-9)
    uniform = (np.abs(shortcut) == size[:, None]).all(axis=1) & (mantissa >= 1)
    snapped = np.where(uniform, size / (np.maximum(mantissa, 1) * 2.0**exponent), scales)
    if (scales == scales[0]).all() and not (snapped == snapped[0]).all():
        return scales  # one scale for all channels, but shortcuts of different weight
    return np.maximum(snapped, scales)


def _noise(
    weights: list[Array], exponents: tuple[int, ...], scales: Array, exact: int | None
) -> float:
    """Expected rounding noise of the accumulator, relative to the size of the weights."""
    noise = np.zeros_like(scales)
    power = np.zeros_like(scales)
    for n, (weight, exponent) in enumerate(zip(weights, exponents, strict=True)):
        power += (weight**2).sum(axis=1)
        if n == exact:
            step = scales * 2.0**exponent
            noise += ((np.rint(weight / step[:, None]) * step[:, None] - weight) ** 2).sum(axis=1)
        else:
            noise += weight.shape[1] * (scales * 2.0**exponent) ** 2 / 12
    return float((noise / np.maximum(power, np.finfo(float).tiny)).sum())
