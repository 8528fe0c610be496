"""The affine algebra of folding: what lies between two populations, as weights and a bias.

Between neurons a trained network is affine. An :class:`Affine` value is the sum of
:class:`Path` values, each a pooled operator on the spikes of some populations, plus a bias. Every
layer is a function from one such value to the next, exact in real arithmetic, or a refusal that
names the layers concerned. NumPy only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.errors import UnsupportedError
from trispike.network import Connection, Conv2d, Dense, Identity, SumPool
from trispike.network.connection import Operator, Pair, Shape

Array: TypeAlias = npt.NDArray[Any]

MATERIALIZE_LIMIT = 1 << 26
"""Largest matrix, in elements, that a convolution and a Linear layer after it are turned into."""

CHANGE_IT = "Change this part of the module; what folds is listed in docs/folding.md."


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """One linear way from summed spikes to here."""

    sources: tuple[str, ...]
    source_shape: Shape
    operator: Operator
    pool: SumPool | None = None
    origin: str = "shortcut"
    """The layer that contributed the operator, for messages."""

    @property
    def pooled_shape(self) -> Shape:
        """What the operator reads."""
        return self.pool.output_shape(self.source_shape) if self.pool else self.source_shape

    def connection(self, target: str) -> Connection:
        """This path as a connection."""
        return Connection(
            sources=self.sources, target=target, operator=self.operator, pool=self.pool
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine:
    """A sum of paths plus a bias, with values of one shape."""

    shape: Shape
    """(C, H, W) or (N,)."""
    paths: tuple[Path, ...]
    bias: Array
    """Broadcasts to the shape; per channel (C, 1, 1) where it is the same at all positions."""


def source(name: str, shape: Shape, amplitude: Array | float = 1.0) -> Affine:
    """The spikes of a population (or the input), each of the given amplitude."""
    scale = np.asarray(amplitude, dtype=np.float64)
    path = Path(sources=(name,), source_shape=shape, operator=Identity(scale=scale))
    return Affine(shape=shape, paths=(path,), bias=np.zeros(()))


def scaled(value: Affine, gain: Array, name: str) -> Affine:
    """Multiply by a gain that broadcasts to the value's shape."""
    paths = tuple(_scaled(path, value.shape, gain, name) for path in value.paths)
    return replace(value, paths=paths, bias=value.bias * gain)


def _scaled(path: Path, shape: Shape, gain: Array, name: str) -> Path:
    operator = path.operator
    own = operator.output_shape(path.pooled_shape)
    if gain.size > 1 and shape != own:  # the value was flattened
        gain = _compressed(np.broadcast_to(gain, shape).reshape(own))
    if isinstance(operator, Dense):
        rows = np.broadcast_to(gain, own).reshape(-1, 1)
        return replace(path, operator=Dense(weight=operator.weight * rows))
    if isinstance(operator, Identity):
        origin = name if gain.shape[-2:] not in ((), (1, 1)) else path.origin
        return replace(path, operator=Identity(scale=operator.scale * gain), origin=origin)
    if gain.size > 1 and gain.shape[-2:] != (1, 1):
        raise refusal(
            name,
            got=f"a gain that differs between positions after the convolution {path.origin!r}",
            expected="one gain per channel",
            fix="A convolution's weights are shared by all positions.",
        )
    per_channel = np.broadcast_to(gain, (own[0], 1, 1))
    return replace(
        path, operator=replace(operator, weight=operator.weight * per_channel[..., None])
    )


def shifted(value: Affine, shift: Array) -> Affine:
    """Add a constant that broadcasts to the value's shape."""
    return replace(value, bias=value.bias + shift)


def added(a: Affine, b: Affine, name: str) -> Affine:
    """Sum of two values. Paths that differ in their sources only become one."""
    if a.shape != b.shape:
        raise refusal(
            name,
            got=f"a sum of shapes {a.shape} and {b.shape}",
            expected="equal shapes",
            fix="Broadcasting between signals is not folded.",
        )
    paths = list(a.paths)
    for path in b.paths:
        for n, other in enumerate(paths):
            merged = _merged(other, path)
            if merged is not None:
                paths[n] = merged
                break
        else:
            paths.append(path)
    return Affine(shape=a.shape, paths=tuple(paths), bias=a.bias + b.bias)


def _merged(a: Path, b: Path) -> Path | None:
    """One path for two that read the same sources, or that share an operator; else None."""
    same_geometry = (
        a.source_shape == b.source_shape
        and a.pool == b.pool
        and type(a.operator) is type(b.operator)
        and _geometry(a.operator) == _geometry(b.operator)
    )
    if not same_geometry:
        return None
    wa, wb = a.operator.weight, b.operator.weight
    if a.sources == b.sources:
        return replace(a, operator=_with_weight(a.operator, wa + wb))
    if set(a.sources).isdisjoint(b.sources) and wa.shape == wb.shape and np.array_equal(wa, wb):
        return replace(a, sources=a.sources + b.sources)
    return None


def same(a: Affine, b: Affine) -> bool:
    """Whether two values are computed in the same way, number for number."""
    return (
        a.shape == b.shape
        and len(a.paths) == len(b.paths)
        and np.array_equal(np.broadcast_to(a.bias, a.shape), np.broadcast_to(b.bias, b.shape))
        and all(
            p.sources == q.sources
            and p.source_shape == q.source_shape
            and p.pool == q.pool
            and type(p.operator) is type(q.operator)
            and _geometry(p.operator) == _geometry(q.operator)
            and np.array_equal(p.operator.weight, q.operator.weight)
            for p, q in zip(a.paths, b.paths, strict=True)
        )
    )


def _geometry(operator: Operator) -> tuple[Any, ...]:
    if isinstance(operator, Conv2d):
        shape = operator.weight.shape
        return shape, operator.stride, operator.padding, operator.dilation, operator.groups
    return operator.weight.shape if isinstance(operator, Dense) else ()


def _with_weight(operator: Operator, weight: Array) -> Operator:
    if isinstance(operator, Identity):
        return Identity(scale=weight)
    return replace(operator, weight=weight)


def flattened(value: Affine) -> Affine:
    """Row-major (C, H, W) to (N,)."""
    if len(value.shape) == 1:
        return value
    one = value.bias.size == 1
    bias = value.bias.reshape(()) if one else np.broadcast_to(value.bias, value.shape).reshape(-1)
    return replace(value, shape=(int(np.prod(value.shape)),), bias=bias)


def convolved(value: Affine, conv: Conv2d, bias: Array | None, name: str) -> Affine:
    """Apply a convolution.

    A bias that is already there passes through it: where zero padding cuts the kernel, less of it
    arrives, and the result becomes one bias per position.
    """
    shape = conv.output_shape(value.shape)
    paths = tuple(_conv_after(path, conv, name) for path in value.paths)
    carried = np.zeros(())
    if np.any(value.bias):
        carried = _compressed(conv.apply(np.broadcast_to(value.bias, value.shape)[None])[0])
    own = np.zeros(()) if bias is None else bias.reshape(-1, 1, 1)
    return Affine(shape=shape, paths=paths, bias=carried + own)


def _compressed(values: Array) -> Array:
    """One value per channel where all positions agree."""
    if values.ndim != 3:
        return values
    first = values[:, :1, :1]
    return first if (values == first).all() else values


def _conv_after(path: Path, conv: Conv2d, name: str) -> Path:
    first = path.operator
    if isinstance(first, Identity):
        return replace(path, operator=_conv_after_scale(path, first, conv, name), origin=name)
    if isinstance(first, Dense):
        raise _two_layers(path.origin, name, "a convolution after a Linear layer")
    if first.kernel == (1, 1) and first.padding == (0, 0):
        weight = np.einsum("omyx,mc->ocyx", _dense_groups(conv), _dense_groups(first)[..., 0, 0])
        composed = Conv2d(
            weight=weight,
            stride=_times(first.stride, conv.stride),
            padding=_times(first.stride, conv.padding),
            dilation=_times(first.stride, conv.dilation),
        )
    elif conv.kernel == (1, 1) and conv.padding == (0, 0):
        weight = np.einsum("om,mcyx->ocyx", _dense_groups(conv)[..., 0, 0], _dense_groups(first))
        composed = Conv2d(
            weight=weight,
            stride=_times(first.stride, conv.stride),
            padding=first.padding,
            dilation=first.dilation,
        )
    else:
        raise _two_layers(path.origin, name, "two convolutions in a row")
    return replace(path, operator=composed, origin=f"{path.origin} and {name}")


def _conv_after_scale(path: Path, first: Identity, conv: Conv2d, name: str) -> Conv2d:
    channels = path.pooled_shape[0]
    if first.scale.size > 1 and first.scale.shape != (channels, 1, 1):
        raise _two_layers(path.origin, name, "a convolution after a gain that varies by position")
    scale = np.broadcast_to(first.scale, (channels, 1, 1)).reshape(conv.groups, 1, -1, 1, 1)
    grouped = conv.weight.reshape(conv.groups, -1, *conv.weight.shape[1:])
    return replace(conv, weight=(grouped * scale).reshape(conv.weight.shape))


def _dense_groups(conv: Conv2d) -> Array:
    """The weight with groups=1: zeros between groups written out."""
    if conv.groups == 1:
        return conv.weight
    outputs, inputs = conv.weight.shape[0] // conv.groups, conv.weight.shape[1]
    full = np.zeros((conv.weight.shape[0], inputs * conv.groups, *conv.kernel))
    for g in range(conv.groups):
        rows, columns = slice(g * outputs, (g + 1) * outputs), slice(g * inputs, (g + 1) * inputs)
        full[rows, columns] = conv.weight[rows]
    return full


def projected(value: Affine, weight: Array, bias: Array | None, name: str) -> Affine:
    """Apply a Linear layer, weight (O, N), to the flattened value."""
    flat = flattened(value)
    if weight.shape[1] != flat.shape[0]:
        raise refusal(
            name,
            got=f"an input of {flat.shape[0]} elements (shape {value.shape})",
            expected=f"{weight.shape[1]} elements, by its weight",
            fix="Check the input shape that was given for the conversion.",
        )
    paths = tuple(
        replace(p, operator=Dense(weight=_dense_after(p, weight, name)), origin=name)
        for p in value.paths
    )
    total = np.zeros(()) if bias is None else bias
    if np.any(flat.bias):
        total = total + weight @ np.broadcast_to(flat.bias, flat.shape)
    return Affine(shape=(weight.shape[0],), paths=paths, bias=total)


def _dense_after(path: Path, weight: Array, name: str) -> Array:
    first, inner = path.operator, path.pooled_shape
    if isinstance(first, Identity):
        return weight * np.broadcast_to(first.scale, inner).reshape(1, -1)
    if isinstance(first, Dense):
        return weight @ first.weight
    if len(weight) * int(np.prod(inner)) > MATERIALIZE_LIMIT:
        raise _two_layers(path.origin, name, "a Linear layer after a convolution of this size")
    rows = weight.reshape(-1, *first.output_shape(inner))
    return _adjoint(first, rows, inner).reshape(len(weight), -1)


def _adjoint(conv: Conv2d, rows: Array, shape: Shape) -> Array:
    """Rows that read the output of a convolution, as rows that read its input.

    Args:
        conv: The convolution.
        rows: (R, O, H', W').
        shape: (C, H, W) of its input.

    Returns:
        (R, C, H, W), such that its product with any input is that of ``rows`` with the output.
    """
    (ph, pw), (sh, sw), (dh, dw) = conv.padding, conv.stride, conv.dilation
    count, _, height, width = rows.shape
    weight = conv.weight.reshape(conv.groups, -1, *conv.weight.shape[1:])
    grouped = rows.reshape(count, conv.groups, weight.shape[1], height, width)
    padded = np.zeros((count, shape[0], shape[1] + 2 * ph, shape[2] + 2 * pw))
    for i, j in np.ndindex(*conv.kernel):
        read = np.einsum("rgohw,goc->rgchw", grouped, weight[..., i, j], optimize=True)
        down = slice(i * dh, i * dh + (height - 1) * sh + 1, sh)
        across = slice(j * dw, j * dw + (width - 1) * sw + 1, sw)
        padded[:, :, down, across] += read.reshape(count, shape[0], height, width)
    return padded[:, :, ph : ph + shape[1], pw : pw + shape[2]]


def averaged(
    value: Affine,
    pool: SumPool,
    name: str,
    *,
    count_include_pad: bool = True,
    divisor: int | None = None,
) -> Affine:
    """Apply average pooling: the sum over windows, and the divisor in the weights."""
    shape = pool.output_shape(value.shape)
    area = divisor or pool.kernel[0] * pool.kernel[1]
    gain = np.full((), 1.0 / area)
    if pool.padding != (0, 0) and not count_include_pad and divisor is None:
        gain = 1.0 / pool.apply(np.ones((1, 1, *value.shape[1:])))[0]
        if (gain == gain[:, :1, :1]).all():
            gain = gain[0, 0, 0]
    bias = np.zeros(())
    if np.any(value.bias):
        summed = pool.apply(np.broadcast_to(value.bias, value.shape)[None])[0]
        bias = _compressed(summed) * gain
    pooled = tuple(_pool_after(path, pool, name) for path in value.paths)
    summed_value = Affine(shape=shape, paths=pooled, bias=np.zeros(()))
    return shifted(scaled(summed_value, gain, name), bias)


def _pool_after(path: Path, pool: SumPool, name: str) -> Path:
    operator = path.operator
    if isinstance(operator, Dense):
        raise _two_layers(path.origin, name, "pooling after a Linear layer")
    if isinstance(operator, Identity):
        if operator.scale.size > 1 and operator.scale.shape[-2:] != (1, 1):
            raise _two_layers(path.origin, name, "pooling after a gain that varies by position")
        return replace(path, pool=_composed_pool(path.pool, pool))
    if operator.kernel == (1, 1) and operator.padding == (0, 0):
        # Mixing channels and summing positions commute; a stride is a pooling of single elements.
        subsample = SumPool(kernel=(1, 1), stride=operator.stride)
        stage = _composed_pool(_composed_pool(path.pool, subsample), pool)
        return replace(path, pool=stage, operator=replace(operator, stride=(1, 1)))
    if pool.padding == (0, 0):
        return replace(path, operator=_conv_then_sum(operator, pool))
    raise _two_layers(path.origin, name, "padded pooling after a convolution")


def _composed_pool(first: SumPool | None, second: SumPool) -> SumPool | None:
    """One pooling stage equal to one and then another; a chain of two where none is."""
    if second == SumPool(kernel=(1, 1), stride=(1, 1)):
        return first
    if first is None:
        return second
    if first.then is not None:
        return replace(first, then=_composed_pool(first.then, second))
    spread = _times(first.stride, second.padding)
    # Spread out with the stride, a padding may exceed half of the window.
    fits = all(
        2 * spread[a] <= first.stride[a] * second.dilation[a] * (second.kernel[a] - 1) + 1
        for a in (0, 1)
    )
    if first.kernel == (1, 1) and first.padding == (0, 0) and fits:
        return SumPool(
            kernel=second.kernel,
            stride=_times(first.stride, second.stride),
            padding=spread,
            dilation=_times(first.stride, second.dilation),
        )
    if second.kernel == (1, 1) and second.padding == (0, 0):
        return replace(first, stride=_times(first.stride, second.stride))
    tiles = first.stride == first.kernel and first.padding == (0, 0) and first.dilation == (1, 1)
    plain = second.padding == (0, 0) and second.dilation == (1, 1)
    if tiles and plain:
        return SumPool(
            kernel=_times(first.kernel, second.kernel), stride=_times(first.stride, second.stride)
        )
    return replace(first, then=second)


def _conv_then_sum(conv: Conv2d, pool: SumPool) -> Conv2d:
    """Convolution followed by an unpadded sum over windows, as one convolution."""
    spread = _times(conv.stride, pool.dilation)
    reach = [
        (pool.kernel[a] - 1) * spread[a] + (conv.kernel[a] - 1) * conv.dilation[a] + 1
        for a in (0, 1)
    ]
    weight = np.zeros((*conv.weight.shape[:2], *reach))
    for i, j in np.ndindex(*pool.kernel):
        rows, columns = (
            slice(
                n * spread[a],
                n * spread[a] + (conv.kernel[a] - 1) * conv.dilation[a] + 1,
                conv.dilation[a],
            )
            for a, n in enumerate((i, j))
        )
        weight[:, :, rows, columns] += conv.weight
    return Conv2d(
        weight=weight,
        stride=_times(conv.stride, pool.stride),
        padding=conv.padding,
        groups=conv.groups,
    )


def _times(a: Pair, b: Pair) -> Pair:
    return a[0] * b[0], a[1] * b[1]


def refusal(name: str, *, got: str, expected: str, fix: str = CHANGE_IT) -> UnsupportedError:
    """The error for a layer, by its name, that has no exact form."""
    return UnsupportedError(f"layer {name!r}", got=got, expected=expected, fix=fix)


def _two_layers(first: str, second: str, what: str) -> UnsupportedError:
    return UnsupportedError(
        f"layers {first!r} and {second!r}",
        got=what,
        expected="layers that one operator can express exactly between two populations",
        fix="Put a neuron between them, or merge them before the conversion.",
    )
