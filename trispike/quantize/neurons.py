"""Neurons in integers: their parameters in units of the state, and the shift that suits them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.errors import QuantizationError
from trispike.network import FixedPointNeuron, Population
from trispike.network.fixed_point import DECAY_ONE, never, state_limit
from trispike.network.neuron import GAIN_LIMIT

Array: TypeAlias = npt.NDArray[Any]

DEFAULT_STATE_SHIFT = 6
"""As on Loihi; chosen wherever it will do."""

THRESHOLD_BITS = 10
"""Significant bits that every threshold should keep."""

STATE_SHIFTS = range(13)
"""Shifts that may be chosen."""


class Candidate(NamedTuple):
    """A neuron at one state shift."""

    neuron: FixedPointNeuron
    bound: int
    """Largest magnitude that a state can reach."""
    is_proved: bool
    """Whether that fits the state."""
    is_precise: bool
    """Whether the thresholds keep the bits that they should."""


def best_shift(candidates: Mapping[int, Candidate]) -> int:
    """Safe and precise: as near to the default as can be. Not both: rather safe.

    Where no shift is proved safe, the smallest that is precise is the least likely to saturate.
    """
    proved = [shift for shift, c in candidates.items() if c.is_proved]
    precise = [shift for shift, c in candidates.items() if c.is_precise]
    both = [shift for shift in proved if shift in precise]
    if both:
        return min(both, key=lambda shift: abs(shift - DEFAULT_STATE_SHIFT))
    if proved:
        return max(proved)
    return min(precise, default=max(candidates))


def fixed_neuron(
    name: str, population: Population, scales: Array, shift: int, state_bits: int
) -> FixedPointNeuron:
    """The integer form of a population's neuron, or QuantizationError."""
    neuron, shape = population.neuron, population.shape
    limit, top = state_limit(state_bits), never(state_bits)
    per_neuron = np.repeat(scales, shape[0] // len(scales))
    unit = per_neuron.reshape(-1, *((1,) * (len(shape) - 1))) / 2.0**shift

    def check(field: str, wrong: Array, values: Array, expected: str, fix: str) -> None:
        if wrong.any():
            raise QuantizationError(
                f"population {name!r}, field {field!r}",
                got=f"{np.broadcast_to(values, wrong.shape)[wrong][0]:g}",
                expected=expected,
                fix=fix,
            )

    def fraction(field: str) -> Array:
        factors = getattr(neuron, field)
        values = np.rint(factors * DECAY_ONE)
        check(
            field,
            (values < 0) | (values > DECAY_ONE),
            factors,
            "a retention factor in 0..1, for it becomes an unsigned fraction of 4096",
            "Only decaying or constant states can be deployed.",
        )
        return values.astype(np.int64)

    def gains() -> tuple[int, ...]:
        values = np.rint(np.asarray(neuron.gains) * DECAY_ONE)
        check(
            "gains",
            (values < 0) | (values > GAIN_LIMIT),
            np.asarray(neuron.gains),
            f"gains in 0..{GAIN_LIMIT // DECAY_ONE}, for they become unsigned fractions of 4096",
            "Fold a common factor, or the sign, into the weights and the bias.",
        )
        return tuple(int(n) for n in values)

    def threshold(field: str) -> Array:
        infinite = np.isinf(getattr(neuron, field))
        values = np.where(infinite, top, np.rint(getattr(neuron, field) / unit))
        check(
            field,
            (values < 1) | ((values > limit) & ~infinite),
            values,
            f"a threshold in 1..{limit} of the state's units",
            "The weights and bias of this channel are out of proportion to its threshold.",
        )
        return values.astype(np.int64)

    def state(field: str, lowest: float = -np.inf) -> Array:
        values = np.maximum(np.rint(getattr(neuron, field) / unit), lowest)
        check(
            field,
            np.abs(values) > limit,
            values,
            f"a magnitude of at most {limit} of the state's units",
            "Use wider states, or a smaller state shift.",
        )
        return values.astype(np.int64)

    return FixedPointNeuron(
        a_pos=fraction("a_pos"),
        a_neg=fraction("a_neg"),
        b_pos=fraction("b_pos"),
        b_neg=fraction("b_neg"),
        k=fraction("k"),
        th_pos=threshold("th_pos"),
        th_neg=threshold("th_neg"),
        bias=state("bias"),
        v_init=state("v_init"),
        floor=state("floor", lowest=-limit),
        reset=neuron.reset,
        strict=neuron.strict,
        fire_once=neuron.fire_once,
        fire_from=neuron.fire_from,
        fire_until=neuron.fire_until,
        gains=gains(),
        state_bits=state_bits,
        state_shift=shift,
    )


def is_precise(neuron: FixedPointNeuron) -> bool:
    """Whether the smallest threshold that can be reached has enough significant bits."""
    thresholds = np.concatenate([neuron.th_pos.reshape(-1), neuron.th_neg.reshape(-1)])
    reachable = thresholds[thresholds < never(neuron.state_bits)]
    return not reachable.size or int(reachable.min()).bit_length() >= THRESHOLD_BITS
