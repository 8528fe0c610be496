"""Which tensor type holds which value exactly: the proof behind every type in a graph.

Values of an integer network are integers whose magnitude is bounded layer by layer: a spike by 1,
an input by 127, a sum by the sum of its bounds, a weighted sum by the largest row of magnitudes.
The bound decides the type. Nothing depends on the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from trispike.errors import InvalidSettingError, UnsupportedError
from trispike.network import Conv2d, Dense, Identity, Network, SumPool
from trispike.network.connection import Operator

Array: TypeAlias = npt.NDArray[Any]
DType: TypeAlias = np.dtype[Any]
Carrier: TypeAlias = Literal["float32", "int8", "float64"]
"""What spikes travel in between the populations of a graph."""

FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
INT8 = np.dtype(np.int8)
INT32 = np.dtype(np.int32)
INT64 = np.dtype(np.int64)
BOOL = np.dtype(np.bool_)

_EXACT: dict[DType, int] = {
    FLOAT32: 1 << 24,
    FLOAT64: 1 << 53,
    INT8: 127,
    INT32: (1 << 31) - 1,
    INT64: (1 << 63) - 1,
}
"""Largest magnitude up to which every integer has a value of its own."""


class Value(NamedTuple):
    """A tensor of a graph."""

    name: str
    """Name of the tensor."""
    dtype: DType
    """Type of its elements."""
    bound: int | None
    """Integer networks: no element is larger in magnitude; None: any real number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """The types of a graph."""

    carrier: Carrier
    """What was asked for."""
    integer: bool
    """Whether the network is an integer network."""
    payload: DType
    """What spikes travel in."""
    sums: tuple[DType, ...]
    """Types of weighted sums, the preferred first."""
    logits: DType
    """Type of the logits."""

    def sum_dtype(self, what: str, bound: int | None) -> DType:
        """The first type that holds a sum of this magnitude, partial sums included.

        Args:
            what: What is summed, for the error.
            bound: Sum of the magnitudes; None in a float network.

        Raises:
            UnsupportedError: None does.
        """
        for dtype in self.sums:
            if bound is None or bound <= _EXACT[dtype]:
                return dtype
        raise UnsupportedError(
            what,
            got=f"sums that may reach {bound:,}",
            expected=f"at most {_EXACT[self.sums[-1]]:,}, up to which {self.sums[-1]} is exact",
            fix="Use smaller exponents or fewer inputs per neuron.",
        )

    def state_dtype(self, state_bits: int) -> DType:
        """The type in which a neuron of an integer network computes."""
        if self.payload == FLOAT32:
            return FLOAT64  # 32-bit states times 12-bit fractions; faster than splitting them
        return INT32 if state_bits <= 24 else INT64


_NUMBERS = {
    ("integer", "float32"): Numbers(
        carrier="float32", integer=True, payload=FLOAT32, sums=(FLOAT32, FLOAT64), logits=INT64
    ),
    ("integer", "int8"): Numbers(
        carrier="int8", integer=True, payload=INT8, sums=(INT32, INT64), logits=INT64
    ),
    ("float", "float32"): Numbers(
        carrier="float32", integer=False, payload=FLOAT32, sums=(FLOAT32,), logits=FLOAT32
    ),
    ("float", "float64"): Numbers(
        carrier="float64", integer=False, payload=FLOAT64, sums=(FLOAT64,), logits=FLOAT64
    ),
}


def numbers_for(network: Network, carrier: str) -> Numbers:
    """The types of a network's graph.

    Raises:
        InvalidSettingError: The network cannot travel in this carrier.
    """
    if (network.kind, carrier) not in _NUMBERS:
        known = carrier in get_args(Carrier)
        raise InvalidSettingError(
            f"carrier {carrier!r}",
            got=f"{'a' if network.kind == 'float' else 'an'} {network.kind} network"
            if known
            else "an unknown name",
            expected="one of " + ", ".join(c for kind, c in _NUMBERS if kind == network.kind),
            fix="Quantize the network first (trispike quantize)."
            if carrier == "int8"
            else "Choose one of these.",
        )
    return _NUMBERS[network.kind, carrier]


def holds(dtype: DType, bound: int | None) -> bool:
    """Whether a type is exact up to a magnitude."""
    return bound is not None and bound <= _EXACT[dtype]


def pooled_bound(pool: SumPool | None, bound: int | None) -> int | None:
    """Bound of a sum over windows of values with this bound."""
    return bound if pool is None or bound is None else bound * pool.area


def largest_row(operator: Operator) -> int:
    """Largest sum of weight magnitudes that one output adds up; 0 in a float network.

    Times the bound of the inputs it bounds the output, and every partial sum on the way.
    """
    if operator.weight.dtype.kind == "f":
        return 0
    magnitudes = np.abs(operator.weight.astype(np.int64))
    if isinstance(operator, Conv2d | Dense):
        magnitudes = magnitudes.reshape(magnitudes.shape[0], -1).sum(axis=1)
    elif not isinstance(operator, Identity):
        raise TypeError(f"unknown operator {type(operator).__name__}")
    return int(magnitudes.max(initial=0))
