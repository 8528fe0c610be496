"""Connections: weights as linear operators between populations.

A connection reads the sum of the spikes of its sources, sums them over pooling windows if it has
a pooling stage, and applies one operator. Operators hold float64 weights in a float network and
int8 weights in an integer network; the arithmetic is exact in the latter.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, replace
from itertools import product
from types import NoneType
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from trispike.errors import InvalidNetworkError
from trispike.network.arrays import check_type, fits_shape, frozen_array, whole_number
from trispike.network.plasticity import Plasticity

Array: TypeAlias = npt.NDArray[Any]
Shape: TypeAlias = tuple[int, ...]
Pair: TypeAlias = tuple[int, int]

EXACT_FLOAT64 = 1 << 53
"""Integers below this magnitude, and sums that stay below it, are exact in float64."""


def _weights(value: Any) -> Array:
    array = np.asarray(value)
    weights = frozen_array(array, np.int8 if array.dtype.kind in "iu" else np.float64)
    if not np.isfinite(weights).all():
        bad = int((~np.isfinite(weights)).sum())
        raise InvalidNetworkError(
            "operator weight",
            got=f"{bad} of {weights.size} values that are NaN or infinite",
            expected="finite numbers",
            fix="Look for the training step at which the checkpoint diverged.",
        )
    return weights


def _pair(name: str, value: Any, minimum: int) -> Pair:
    try:
        rows, columns = (operator.index(n) for n in value)
    except (TypeError, ValueError):
        rows = columns = minimum - 1
    if min(rows, columns) < minimum:
        raise InvalidNetworkError(
            f"field {name!r}",
            got=repr(value),
            expected=f"a pair of integers >= {minimum}",
            fix="Give (vertical, horizontal).",
        )
    return rows, columns


def _window_count(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _spatial_output(
    what: str, spatial: Shape, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Pair:
    axes = zip(spatial, kernel, stride, padding, dilation, strict=True)
    rows, columns = (_window_count(*axis) for axis in axes)
    if rows < 1 or columns < 1:
        raise InvalidNetworkError(
            what,
            got=f"an input of {spatial[0]}x{spatial[1]} under a kernel of {kernel[0]}x{kernel[1]}",
            expected="an input at least as large as the kernel",
            fix="Check the input shape that the network was built for.",
        )
    return rows, columns


def _require_rank(what: str, shape: Shape) -> None:
    if len(shape) != 3:
        raise InvalidNetworkError(
            what,
            got=f"an input of shape {shape}",
            expected="an input of shape (C, H, W)",
            fix="Use Dense for inputs without rows and columns.",
        )


def _taps(x: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> dict[Pair, Array]:
    """For every kernel position, the view of the zero-padded x that it multiplies."""
    rows, columns = _spatial_output("window", x.shape[-2:], kernel, stride, padding, dilation)
    (ph, pw), (sh, sw), (dh, dw) = padding, stride, dilation
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    return {
        (i, j): padded[
            :,
            :,
            i * dh : i * dh + (rows - 1) * sh + 1 : sh,
            j * dw : j * dw + (columns - 1) * sw + 1 : sw,
        ]
        for i, j in product(range(kernel[0]), range(kernel[1]))
    }


def _matmul_dtype(weight: Array, x: Array) -> npt.DTypeLike:
    """The dtype in which the product of weight and x is exact, and BLAS if possible.

    Integer products are computed in float64, where BLAS is fast, as long as no sum can reach
    2**53; beyond that in int64.
    """
    if weight.dtype.kind == "f" or x.dtype.kind == "f":
        return np.float64
    largest = int(np.abs(x).max(initial=0)) * int(np.abs(weight.astype(np.int64)).sum())
    return np.float64 if largest < EXACT_FLOAT64 else np.int64


def _result_dtype(weight: Array, x: Array) -> npt.DTypeLike:
    return np.float64 if weight.dtype.kind == "f" or x.dtype.kind == "f" else np.int64


@dataclass(frozen=True, slots=True, kw_only=True)
class SumPool:
    """Sum over windows. Average pooling is this with 1/area in the weights that follow.

    Raises:
        InvalidNetworkError: A size is not a pair of integers, or the padding exceeds half of the
            window.
    """

    kernel: Pair
    """Rows and columns of the window."""
    stride: Pair
    """Distance between windows."""
    padding: Pair = (0, 0)
    """Rows and columns of zeros around the input."""
    dilation: Pair = (1, 1)
    """Distance between the elements of a window."""
    then: SumPool | None = None
    """A second summation over the sums, where no single one is equal (overlapping windows)."""

    def __post_init__(self) -> None:
        for name, minimum in (("kernel", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
            value = _pair(f"pool.{name}", getattr(self, name), minimum)
            object.__setattr__(self, name, value)
        check_type("field 'pool.then'", self.then, SumPool, NoneType)
        span = tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True))
        if any(2 * p > s for p, s in zip(self.padding, span, strict=True)):
            raise InvalidNetworkError(
                "field 'pool.padding'",
                got=f"{self.padding} for a window that spans {span}",
                expected="at most half of the window",
                fix="Larger padding would create windows that see nothing.",
            )

    @property
    def stages(self) -> tuple[SumPool, ...]:
        """The summations one by one, each without the next."""
        rest = self.then.stages if self.then else ()
        return replace(self, then=None), *rest

    @property
    def area(self) -> int:
        """How many values are added up in one sum, at most."""
        return math.prod(math.prod(stage.kernel) for stage in self.stages)

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the pooled (C, H, W) input."""
        _require_rank("pooling stage", shape)
        geometry = (self.kernel, self.stride, self.padding, self.dilation)
        pooled = (shape[0], *_spatial_output("pooling stage", shape[1:], *geometry))
        return self.then.output_shape(pooled) if self.then else pooled

    def apply(self, x: Array) -> Array:
        """Sum of (N, C, H, W) over every window, in int64 or float64."""
        wide = x.astype(np.float64 if x.dtype.kind == "f" else np.int64, copy=False)
        taps = _taps(wide, self.kernel, self.stride, self.padding, self.dilation)
        pooled = cast(Array, sum(taps.values()))
        return self.then.apply(pooled) if self.then else pooled


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Conv2d:
    """Cross-correlation with zero padding, as in PyTorch, without bias.

    Raises:
        InvalidNetworkError: The weight is not (O, C/groups, kh, kw), holds NaN, or the numbers
            do not fit together.
    """

    weight: Array
    """(O, C/groups, kh, kw); float64, or int8 in an integer network."""
    stride: Pair = (1, 1)
    """Rows and columns per output step."""
    padding: Pair = (0, 0)
    """Rows and columns of zeros around the input."""
    dilation: Pair = (1, 1)
    """Distance between kernel elements."""
    groups: int = 1
    """Channel groups; output group g reads input group g only."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", _weights(self.weight))
        for name, minimum in (("stride", 1), ("padding", 0), ("dilation", 1)):
            object.__setattr__(self, name, _pair(name, getattr(self, name), minimum))
        groups = whole_number("Conv2d field 'groups'", self.groups, 1, 2**31)
        object.__setattr__(self, "groups", groups)
        if self.weight.ndim != 4 or not self.weight.size or self.weight.shape[0] % groups:
            raise InvalidNetworkError(
                "Conv2d weight",
                got=f"shape {self.weight.shape} with {groups} groups",
                expected="(O, C/groups, kh, kw), all positive, with O divisible by groups",
                fix="Check the order of the axes.",
            )

    @property
    def kernel(self) -> Pair:
        """Rows and columns of the kernel."""
        return self.weight.shape[2], self.weight.shape[3]

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the output for a (C, H, W) input."""
        _require_rank("Conv2d", shape)
        channels = self.weight.shape[1] * self.groups
        if shape[0] != channels:
            raise InvalidNetworkError(
                "Conv2d",
                got=f"an input of {shape[0]} channels",
                expected=f"{channels} channels, by its weight of shape {self.weight.shape}",
                fix="Check the source of the connection.",
            )
        geometry = (self.kernel, self.stride, self.padding, self.dilation)
        return self.weight.shape[0], *_spatial_output("Conv2d", shape[1:], *geometry)

    def apply(self, x: Array) -> Array:
        """Operator on a batch: (N, C, H, W) to (N, O, H', W'), in int64 or float64."""
        batch, outputs = x.shape[0], self.weight.shape[0]
        dtype = _matmul_dtype(self.weight, x)
        taps = _taps(x.astype(dtype), self.kernel, self.stride, self.padding, self.dilation)
        rows, columns = taps[0, 0].shape[-2:]
        grouped = (batch, self.groups, self.weight.shape[1], rows * columns)
        by_group = self.weight.astype(dtype).reshape(
            self.groups, outputs // self.groups, self.weight.shape[1], *self.kernel
        )
        # NumPy hands a matrix product to BLAS only if the matrices are contiguous.
        weight = np.ascontiguousarray(np.moveaxis(by_group, (3, 4), (0, 1)))
        total = np.zeros((batch, self.groups, outputs // self.groups, rows * columns), dtype)
        for (i, j), tap in taps.items():
            total += weight[i, j] @ tap.reshape(grouped)
        result = total.reshape(batch, outputs, rows, columns)
        return result.astype(_result_dtype(self.weight, x), copy=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dense:
    """A matrix applied to the flattened (row-major) input, without bias.

    Raises:
        InvalidNetworkError: The weight is not a matrix, or holds NaN.
    """

    weight: Array
    """(O, N); float64, or int8 in an integer network."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", _weights(self.weight))
        if self.weight.ndim != 2:
            raise InvalidNetworkError(
                "Dense weight",
                got=f"shape {self.weight.shape}",
                expected="(outputs, inputs)",
                fix="Check the order of the axes.",
            )

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the output, (O,), for an input of any shape with N elements."""
        if math.prod(shape) != self.weight.shape[1]:
            raise InvalidNetworkError(
                "Dense",
                got=f"an input of shape {shape} ({math.prod(shape)} elements)",
                expected=f"{self.weight.shape[1]} elements, by its weight",
                fix="Check the input shape that the network was built for.",
            )
        return (self.weight.shape[0],)

    def apply(self, x: Array) -> Array:
        """Operator on a batch: (N, ...) to (N, O), in int64 or float64."""
        dtype = _matmul_dtype(self.weight, x)
        flat = x.reshape(len(x), self.weight.shape[1])
        result = flat.astype(dtype) @ self.weight.T.astype(dtype)
        return result.astype(_result_dtype(self.weight, x), copy=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Identity:
    """Every element times its own scale: a shortcut.

    Raises:
        InvalidNetworkError: The scale holds NaN.
    """

    scale: Array
    """Scalar (), per channel (C, 1, 1), or per element; float64, or int8."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", _weights(self.scale))

    @property
    def weight(self) -> Array:
        """The scale, under the name that all operators have."""
        return self.scale

    def output_shape(self, shape: Shape) -> Shape:
        """The input's shape."""
        if not fits_shape(self.scale.shape, shape):
            raise InvalidNetworkError(
                "Identity",
                got=f"a scale of shape {self.scale.shape}",
                expected=f"one that broadcasts to the input's {shape}",
                fix="Use a scalar, or one value per channel as (C, 1, 1).",
            )
        return shape

    def apply(self, x: Array) -> Array:
        """Operator on a batch: (N, *shape) to the same, in int64 or float64."""
        dtype = _result_dtype(self.scale, x)
        return np.asarray(x.astype(dtype) * self.scale.astype(dtype))


Operator: TypeAlias = Conv2d | Dense | Identity


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Connection:
    """A linear map from the summed spikes of its sources to one population's input.

    Raises:
        InvalidNetworkError: No source, a source named twice, a part of another type, or a number
            out of range.
    """

    sources: tuple[str, ...]
    """Names of the populations (or the input) whose spikes are summed; all of one shape."""
    target: str
    """Name of the population (or the readout) that receives."""
    operator: Operator
    """What is applied to the pooled sum."""
    pool: SumPool | None = None
    """Summation over windows, before the operator."""
    delay: int = 0
    """Time steps by which the spikes arrive late; >= 1 where the connection closes a loop."""
    exponent: int = 0
    """Integer networks: left shift of the operator's output, 0..16."""
    bits: int = 8
    """Integer networks: width of a weight in bits, sign included, 2..8."""
    plasticity: Plasticity | None = None
    """Integer networks: the rule by which the weights change at run time (experimental); None:
    they do not. Only of a matrix into a population."""

    def __post_init__(self) -> None:
        sources: Any = self.sources
        if not isinstance(sources, tuple) or not all(isinstance(s, str) for s in sources):
            raise InvalidNetworkError(
                f"connection into {self.target!r}",
                got=f"sources {sources!r}",
                expected="a tuple of names",
                fix="Write one source as ('name',).",
            )
        name = f"connection {'+'.join(self.sources)}->{self.target}"
        check_type(f"{name}, field 'operator'", self.operator, Conv2d, Dense, Identity)
        check_type(f"{name}, field 'pool'", self.pool, SumPool, NoneType)
        check_type(f"{name}, field 'plasticity'", self.plasticity, Plasticity, NoneType)
        if not self.sources or len(set(self.sources)) != len(self.sources):
            raise InvalidNetworkError(
                name,
                got=f"sources {self.sources}",
                expected="at least one source, each named once",
                fix="Express a doubled source by a doubled weight.",
            )
        for field, low, high in (("delay", 0, 2**31), ("exponent", 0, 16), ("bits", 2, 8)):
            value = whole_number(f"{name}, field {field!r}", getattr(self, field), low, high)
            object.__setattr__(self, field, value)
        if self.is_integer:
            limit = (1 << (self.bits - 1)) - 1
            # int8 holds -128, whose magnitude int8 does not: widen before taking it.
            largest = int(np.abs(self.operator.weight.astype(np.int64)).max(initial=0))
            if largest > limit:
                raise InvalidNetworkError(
                    name,
                    got=f"a weight of magnitude {largest}",
                    expected=f"at most {limit} with {self.bits} bits, symmetric",
                    fix="Quantize with more bits or a larger scale.",
                )
        elif self.exponent:
            raise InvalidNetworkError(
                name,
                got=f"exponent {self.exponent} with float weights",
                expected="0",
                fix="Exponents exist in integer networks only.",
            )
        if self.plasticity is not None:
            self._check_plasticity(name, self.plasticity)

    def _check_plasticity(self, name: str, rule: Plasticity) -> None:
        if not isinstance(self.operator, Dense) or not self.is_integer:
            kind = f"{'integer' if self.is_integer else 'float'} {type(self.operator).__name__}"
            raise InvalidNetworkError(
                f"plasticity of {name}",
                got=f"an operator of kind {kind}",
                expected="an integer Dense: what a synapse of its own learns from its own two ends",
                fix="Quantize first. The weights of a convolution are shared, and their update "
                "would be a sum over all positions, which no synapse sees: take the rule off.",
            )
        rule.check(f"plasticity of {name}", self.operator.weight, self.bits)

    @property
    def is_integer(self) -> bool:
        """Whether the weights are integers."""
        return self.operator.weight.dtype == np.int8

    @property
    def pool_stages(self) -> tuple[SumPool, ...]:
        """The summations of the pooling stage one by one; none without one."""
        return self.pool.stages if self.pool else ()

    def output_shape(self, shape: Shape) -> Shape:
        """Shape that sources of ``shape`` are mapped to."""
        return self.operator.output_shape(self.pool.output_shape(shape) if self.pool else shape)

    def current(self, spikes: Array) -> Array:
        """What the target receives, from the summed spikes of one time step.

        Args:
            spikes: (N, *source shape), integers or floats.

        Returns:
            (N, *output shape), int64 (weights and spikes integer) or float64.
        """
        pooled = self.pool.apply(spikes) if self.pool else spikes
        result = self.operator.apply(pooled)
        return result << self.exponent if self.exponent else result
