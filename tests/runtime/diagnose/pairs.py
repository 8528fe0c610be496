"""A small float network, quantized by hand, with a fault where one is wanted.

Three populations of memoryless ternary neurons read spikes, so that NumPy alone can say what has to
come out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.networks import dense_chain
from trispike.network import FixedPointNeuron, FloatNetwork, Input, IntegerNetwork, Neuron

STEPS, SAMPLES = 3, 40
SIZES = {"input": 20, "a": 24, "b": 16, "c": 12, "readout": 4}
TARGETS = ("a", "b", "c", "readout")
SHIFT = 6


def inputs(samples: int = SAMPLES, seed: int = 5) -> npt.NDArray[np.int64]:
    """Ternary spikes."""
    return np.random.default_rng(seed).integers(-1, 2, (samples, STEPS, SIZES["input"]))


def float_weights(seed: int = 3) -> dict[str, npt.NDArray[np.float64]]:
    """By target, (outputs, inputs)."""
    rng = np.random.default_rng(seed)
    names = tuple(SIZES)
    return {
        target: rng.normal(0, 0.3, (SIZES[target], SIZES[names[n]]))
        for n, target in enumerate(TARGETS)
    }


def float_network(weights: Mapping[str, npt.NDArray[np.float64]] | None = None) -> FloatNetwork:
    """Threshold 1 everywhere."""
    weights = float_weights() if weights is None else weights
    return dense_chain(
        Input(shape=(SIZES["input"],), encoding="spikes"),
        weights,
        {n: Neuron(th_pos=1.0, th_neg=1.0, bias=0.01) for n in TARGETS[:3]},
        np.full(STEPS, 1 / STEPS),
    )


def scales_of(
    weights: Mapping[str, npt.NDArray[np.float64]], bits: Mapping[str, int]
) -> dict[str, npt.NDArray[np.float64]]:
    """One scale per neuron; of the readout one for all."""
    found = {}
    for name, weight in weights.items():
        top = 2 ** (bits.get(name, 8) - 1) - 1
        largest = np.abs(weight).max(axis=1)
        found[name] = (largest if name != "readout" else np.full_like(largest, largest.max())) / top
    return found


def integer_network(
    weights: Mapping[str, npt.NDArray[np.float64]] | None = None,
    *,
    bits: Mapping[str, int] | None = None,
    scales: Mapping[str, npt.NDArray[np.float64]] | None = None,
    neurons: Mapping[str, Mapping[str, Any]] | None = None,
) -> IntegerNetwork:
    """The same in integers.

    Args:
        weights: Those of the float network.
        bits: Of the weights, by target, where they are not 8.
        scales: By target, where they are others than those of the largest weights.
        neurons: By population, parameters that are not those of the float network.
    """
    weights = float_weights() if weights is None else weights
    bits = {} if bits is None else bits
    units = {**scales_of(weights, bits), **({} if scales is None else scales)}

    def integers(name: str) -> npt.NDArray[np.int8]:
        top = 2 ** (bits.get(name, 8) - 1) - 1
        rounded = np.rint(weights[name] / units[name][:, None])
        return np.clip(rounded, -top, top).astype(np.int8)

    def neuron(name: str) -> FixedPointNeuron:
        state = units[name] / 2**SHIFT
        fields: dict[str, Any] = {
            "th_pos": np.rint(1 / state).astype(np.int64),
            "th_neg": np.rint(1 / state).astype(np.int64),
            "bias": np.rint(0.01 / state).astype(np.int64),
            "state_shift": SHIFT,
        }
        changed = {} if neurons is None else neurons.get(name, {})
        fields |= {k: v(fields[k]) if callable(v) else v for k, v in changed.items()}
        return FixedPointNeuron(**fields)

    return dense_chain(
        Input(shape=(SIZES["input"],), encoding="spikes", scale=1.0),
        {n: integers(n) for n in TARGETS},
        {n: neuron(n) for n in TARGETS[:3]},
        np.ones(STEPS, np.int64),
        bits=bits,
        scale=float(units["readout"][0]) / STEPS,
    )
