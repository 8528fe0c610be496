"""The affine algebra: every row of the folding table, against torch layer by layer in float64.

A :class:`Chain` applies each layer twice: as torch does, to tensors, and as folding does, to paths.
At its end the paths, applied by NumPy to the spikes of their sources, have to give the tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from tests.export.oracle import Array, assert_equal_but_for_rounding, evaluate, spikes, tensor
from trispike.errors import UnsupportedError
from trispike.export import fold
from trispike.network import Conv2d, Dense, Identity, SumPool

SHAPE = (4, 9, 8)
AMPLITUDE = np.array([0.7, -1.3, 0.0, 2.1]).reshape(4, 1, 1)
Pair = tuple[int, int]


class Chain:
    """A torch tensor, and the affine value that should equal it.

    Args:
        shape: Of the source population.
        amplitude: Of its spikes.
        seed: Of spikes and weights.
        name: Of the source.
    """

    def __init__(
        self,
        shape: tuple[int, ...] = SHAPE,
        amplitude: Any = AMPLITUDE,
        seed: int = 0,
        name: str = "source",
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.fired = {name: spikes(3, *shape, seed=seed)}
        self.value = fold.source(name, shape, amplitude)
        self.tensor = tensor(self.fired[name]) * tensor(amplitude)
        self.count = 0

    def name(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}"

    def then(self, value: fold.Affine, result: Tensor) -> Chain:
        self.value, self.tensor = value, result
        return self

    def check(self) -> None:
        assert tuple(self.tensor.shape[1:]) == self.value.shape
        assert_equal_but_for_rounding(evaluate(self.value, self.fired), self.tensor)

    # --- layers ---------------------------------------------------------------------------------

    def conv(
        self,
        outputs: int = 4,
        kernel: Pair = (3, 3),
        *,
        stride: Pair = (1, 1),
        padding: Pair = (0, 0),
        dilation: Pair = (1, 1),
        groups: int = 1,
        bias: bool = True,
        name: str | None = None,
    ) -> Chain:
        weight = self.rng.normal(size=(outputs, self.value.shape[0] // groups, *kernel))
        offset = self.rng.normal(size=outputs) if bias else None
        geometry: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
        result = F.conv2d(
            self.tensor,
            tensor(weight),
            None if offset is None else tensor(offset),
            groups=groups,
            **geometry,
        )
        operator = Conv2d(weight=weight, groups=groups, **geometry)
        name = name or self.name("conv")
        return self.then(fold.convolved(self.value, operator, offset, name), result)

    def pointwise(self, outputs: int = 5, *, stride: Pair = (1, 1), **options: Any) -> Chain:
        return self.conv(outputs, (1, 1), stride=stride, **options)

    def norm(self) -> Chain:
        """Batch norm in evaluation mode, over the first axis of features."""
        channels = self.value.shape[0]
        mean, gain, shift = self.rng.normal(size=(3, channels))
        variance = self.rng.uniform(0.2, 2.0, channels)
        result = F.batch_norm(
            self.tensor, tensor(mean), tensor(variance), tensor(gain), tensor(shift), eps=1e-3
        )
        shape = (-1,) + (1,) * (len(self.value.shape) - 1)
        scale = gain / np.sqrt(variance + 1e-3)
        scaled = fold.scaled(self.value, scale.reshape(shape), self.name("bn"))
        return self.then(fold.shifted(scaled, (shift - mean * scale).reshape(shape)), result)

    def times(self, gain: Any) -> Chain:
        gain = np.asarray(gain, dtype=np.float64)
        value = fold.scaled(self.value, gain, self.name("gain"))
        return self.then(value, self.tensor * tensor(gain))

    def plus(self, shift: Any) -> Chain:
        shift = np.asarray(shift, dtype=np.float64)
        return self.then(fold.shifted(self.value, shift), self.tensor + tensor(shift))

    def pool(
        self,
        kernel: Pair = (2, 2),
        stride: Pair | None = None,
        padding: Pair = (0, 0),
        *,
        count_include_pad: bool = True,
        divisor: int | None = None,
    ) -> Chain:
        stride = kernel if stride is None else stride
        result = F.avg_pool2d(
            self.tensor, kernel, stride, padding, False, count_include_pad, divisor
        )
        value = fold.averaged(
            self.value,
            SumPool(kernel=kernel, stride=stride, padding=padding),
            self.name("pool"),
            count_include_pad=count_include_pad,
            divisor=divisor,
        )
        return self.then(value, result)

    def flat(self) -> Chain:
        return self.then(fold.flattened(self.value), self.tensor.flatten(1))

    def linear(self, outputs: int = 5, *, bias: bool = True) -> Chain:
        weight = self.rng.normal(size=(outputs, int(np.prod(self.value.shape))))
        offset = self.rng.normal(size=outputs) if bias else None
        result = F.linear(
            self.tensor.flatten(1), tensor(weight), None if offset is None else tensor(offset)
        )
        return self.then(fold.projected(self.value, weight, offset, self.name("fc")), result)

    def add(self, other: Chain) -> Chain:
        """Sum with another chain, which may have other sources."""
        self.fired = {**self.fired, **other.fired}
        value = fold.added(self.value, other.value, self.name("add"))
        return self.then(value, self.tensor + other.tensor)

    def copy(self) -> Chain:
        other = Chain.__new__(Chain)
        other.__dict__ |= self.__dict__
        return other

    # --- what it was folded into ----------------------------------------------------------------

    @property
    def path(self) -> fold.Path:
        (path,) = self.value.paths
        return path


def normal(*shape: int, seed: int = 5) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


# --- one row of the table each ------------------------------------------------------------------


@pytest.mark.parametrize("amplitude", [1.0, -0.4, AMPLITUDE])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": False},
        {"kernel": (3, 2), "stride": (2, 1), "padding": (1, 0)},
        {"kernel": (2, 5), "padding": (3, 4), "dilation": (2, 1)},
        {"outputs": 6, "groups": 2, "padding": (1, 1)},
        {"outputs": 8, "groups": 4},
    ],
)
def test_amplitude_scales_the_input_channels_of_a_convolution(amplitude, options):
    chain = Chain(amplitude=amplitude).conv(**options)
    chain.check()
    assert isinstance(chain.path.operator, Conv2d)
    assert chain.path.pool is None


@pytest.mark.parametrize("amplitude", [1.0, -0.4, AMPLITUDE])
def test_amplitude_scales_the_columns_of_a_linear_layer(amplitude):
    chain = Chain(amplitude=amplitude).linear()
    chain.check()
    assert isinstance(chain.path.operator, Dense)
    Chain((7,), amplitude=2.5).linear().check()
    Chain((7,), amplitude=normal(7)).linear().check()


def test_a_shortcut_is_an_identity_that_carries_the_amplitude():
    chain = Chain()
    chain.check()
    assert isinstance(chain.path.operator, Identity)
    assert np.array_equal(chain.path.operator.scale, AMPLITUDE)


def test_batch_norm_after_a_convolution():
    chain = Chain().conv(padding=(1, 1)).norm()
    chain.check()
    assert chain.value.bias.shape == (4, 1, 1)


def test_batch_norm_after_a_grouped_convolution():
    Chain().conv(8, groups=4, padding=(1, 1)).norm().check()


def test_batch_norm_before_a_convolution_without_padding():
    chain = Chain().norm().conv(6)
    chain.check()
    assert chain.value.bias.shape == (6, 1, 1)


@pytest.mark.parametrize(
    "options",
    [
        {"padding": (1, 1)},
        {"padding": (2, 1), "dilation": (2, 2)},
        {"padding": (1, 0), "stride": (2, 3)},
        {"padding": (1, 1), "groups": 2},
        {"kernel": (1, 1), "padding": (1, 2)},
    ],
)
def test_a_shift_before_zero_padding_becomes_a_bias_per_position(options):
    chain = Chain().norm().conv(6, **options)
    chain.check()
    assert chain.value.bias.shape == chain.value.shape
    rows, columns = chain.value.shape[1:]
    border, inside = chain.value.bias[:, 0, 0], chain.value.bias[:, rows // 2, columns // 2]
    assert not np.allclose(border, inside)


def test_a_bias_per_position_goes_through_what_follows():
    chain = Chain().norm().conv(6, (1, 1), padding=(1, 1)).pool().times(normal(6, 1, 1)).linear()
    chain.check()


def test_a_shift_that_cancels_leaves_one_bias_per_channel():
    chain = Chain().plus(1.5).plus(-1.5).conv(padding=(1, 1))
    chain.check()
    assert chain.value.bias.shape == (4, 1, 1)


def test_batch_norm_of_a_shortcut_becomes_its_scale():
    chain = Chain().norm()
    chain.check()
    assert isinstance(chain.path.operator, Identity)


def test_batch_norm_after_linear():
    chain = Chain().linear().norm()
    chain.check()
    assert isinstance(chain.path.operator, Dense)


def test_batch_norm_of_flattened_spikes():
    chain = Chain().flat().norm().linear()
    chain.check()


def test_batch_norm_of_a_flattened_convolution_of_one_position():
    chain = Chain((4, 3, 3)).conv(6).flat().norm()
    chain.check()
    assert isinstance(chain.path.operator, Conv2d)


def test_a_gain_for_all_of_a_flattened_convolution():
    Chain().conv().flat().times(-0.3).check()
    Chain().conv(1).flat().times(-0.3).check()


@pytest.mark.parametrize(
    "second", [{}, {"padding": (1, 2)}, {"stride": (2, 1), "dilation": (1, 2)}]
)
@pytest.mark.parametrize("groups", [(1, 1), (2, 1), (1, 2), (2, 4)])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (3, 2)])
def test_pointwise_then_convolution(stride, groups, second):
    chain = Chain((4, 13, 12)).pointwise(8, stride=stride, groups=groups[0])
    chain.conv(4, groups=groups[1], **second).check()
    operator = chain.path.operator
    assert isinstance(operator, Conv2d)
    assert operator.kernel == (3, 3)


def test_pointwise_then_strided_padded_convolution_at_every_border():
    """A stride before a padding: the zeros lie on the grid of the stride."""
    for size in range(5, 12):
        chain = Chain((4, size, size + 1)).pointwise(stride=(2, 3))
        chain.conv(kernel=(2, 2), stride=(2, 1), padding=(1, 1)).check()


def test_pointwise_with_a_bias_then_padding_gives_a_bias_per_position():
    chain = Chain().pointwise().conv(padding=(1, 1))
    chain.check()
    assert chain.value.bias.shape == chain.value.shape


@pytest.mark.parametrize("groups", [(1, 1), (2, 1), (1, 2), (2, 4)])
@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
def test_convolution_then_pointwise(stride, groups):
    chain = Chain().conv(8, stride=(2, 1), padding=(2, 1), dilation=(2, 1), groups=groups[0])
    chain.pointwise(4, stride=stride, groups=groups[1]).check()
    assert isinstance(chain.path.operator, Conv2d)


def test_many_pointwise_convolutions_are_one():
    chain = Chain().pointwise().norm().pointwise(7, stride=(2, 1)).pointwise(3)
    chain.check()
    assert isinstance(chain.path.operator, Conv2d)
    assert chain.path.operator.stride == (2, 1)


@pytest.mark.parametrize("divisor", [None, 3])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2)])
def test_convolution_then_pooling(stride, divisor):
    chain = Chain().conv(6, stride=stride, padding=(2, 1), groups=2)
    chain.pool((2, 3), (1, 2), divisor=divisor).check()
    assert isinstance(chain.path.operator, Conv2d)
    assert chain.path.pool is None


def test_dilated_convolution_then_pooling():
    Chain((4, 12, 12)).conv(dilation=(2, 3), padding=(1, 2), stride=(2, 1)).pool().check()


def test_pooling_then_convolution():
    chain = Chain().pool((2, 2)).norm().conv(padding=(1, 1))
    chain.check()
    assert chain.path.pool == SumPool(kernel=(2, 2), stride=(2, 2))


@pytest.mark.parametrize("padding", [(0, 0), (1, 1)])
@pytest.mark.parametrize("kernel", [(2, 2), (3, 2)])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (3, 1)])
def test_pointwise_then_pooling(stride, kernel, padding):
    """An even window with the largest padding, spread by a stride, has no single equal window."""
    chain = Chain((4, 13, 12)).pointwise(stride=stride)
    chain.pool(kernel, (1, 2), padding).check()
    operator = chain.path.operator
    assert isinstance(operator, Conv2d)
    assert operator.stride == (1, 1)


def test_strided_pointwise_in_a_shortcut_then_global_pooling():
    chain = Chain((4, 8, 8)).pointwise(stride=(2, 2), bias=False).norm().pool((4, 4)).linear()
    chain.check()
    assert chain.path.pool == SumPool(kernel=(4, 4), stride=(8, 8), dilation=(2, 2))


@pytest.mark.parametrize(
    ("first", "second", "composed"),
    [
        (((2, 2),), ((2, 2),), SumPool(kernel=(4, 4), stride=(4, 4))),
        (((2, 1),), ((2, 3), (1, 2)), SumPool(kernel=(4, 3), stride=(2, 2))),
        (
            ((3, 3), (1, 1)),
            ((1, 1), (2, 2)),
            SumPool(kernel=(3, 3), stride=(2, 2)),
        ),
        (
            ((1, 1), (2, 2)),
            ((2, 2), (1, 1)),
            SumPool(kernel=(2, 2), stride=(2, 2), dilation=(2, 2)),
        ),
        (((1, 1),), ((3, 3),), SumPool(kernel=(3, 3), stride=(3, 3))),
        (((3, 3),), ((1, 1),), SumPool(kernel=(3, 3), stride=(3, 3))),
    ],
)
def test_two_poolings_that_are_one(first, second, composed):
    chain = Chain((4, 13, 12)).pool(*first).pool(*second)
    chain.check()
    assert chain.path.pool == composed


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (((3, 3), (2, 2), (1, 1)), ((2, 2),)),  # the stem and the shortcut of a ResNet
        (((3, 3), (1, 1)), ((2, 2),)),
        (((2, 2),), ((2, 2), (1, 1), (1, 1))),
    ],
)
def test_two_poolings_that_are_a_chain(first, second):
    chain = Chain((4, 13, 12)).pool(*first).pool(*second)
    chain.check()
    assert chain.path.pool is not None
    assert chain.path.pool.then is not None
    chain.pool((2, 1)).check()
    chain.conv(kernel=(2, 2), padding=(1, 1)).check()


def test_count_include_pad_false_is_a_gain_per_position():
    chain = Chain().pool((3, 3), (2, 2), (1, 1), count_include_pad=False)
    chain.check()
    assert chain.path.operator.weight.shape == chain.value.shape
    chain.linear().check()


@pytest.mark.parametrize("options", [{}, {"divisor": 5}])
def test_count_include_pad_false_without_an_effect(options):
    """No padding, or a divisor of its own."""
    padding = (1, 1) if options else (0, 0)
    chain = Chain().pool((3, 3), (2, 2), padding, count_include_pad=False, **options)
    chain.check()
    assert chain.path.operator.weight.shape == (4, 1, 1)
    chain.conv().check()


def test_count_include_pad_false_where_all_windows_are_cut_alike():
    chain = Chain((4, 2, 2)).pool((2, 2), (2, 2), (1, 1), count_include_pad=False)
    chain.check()
    chain.conv(kernel=(2, 2)).check()


def test_pooling_averages_a_bias_too():
    Chain().plus(normal(4, 9, 8)).pool((3, 2), (2, 2), (1, 1)).check()
    Chain().norm().pool((3, 2), (2, 2), (1, 1)).check()


def test_linear_after_linear():
    chain = Chain().linear(7).linear(3)
    chain.check()
    assert isinstance(chain.path.operator, Dense)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kernel": (3, 2), "stride": (2, 3), "padding": (2, 1), "dilation": (1, 2)},
        {"outputs": 8, "groups": 4, "padding": (1, 1)},
        {"kernel": (1, 1), "stride": (2, 2)},
        {"kernel": (2, 2), "stride": (3, 3)},
    ],
)
def test_linear_after_convolution(options):
    chain = Chain().conv(**options).norm().linear()
    chain.check()
    assert isinstance(chain.path.operator, Dense)


def test_linear_after_pooling():
    chain = Chain().pool((2, 2)).linear()
    chain.check()
    assert chain.path.pool == SumPool(kernel=(2, 2), stride=(2, 2))


def test_linear_after_pooled_convolution():
    Chain().pool((2, 2)).conv(padding=(1, 1)).linear().check()


def test_constants_scale_and_shift():
    chain = Chain().times(0.25).plus(normal(4, 1, 1)).times(normal(4, 1, 1)).plus(normal(1, 9, 8))
    chain.check()
    chain.conv(padding=(1, 1)).plus(normal(4, 9, 8)).times(0).plus(2).check()


def test_a_gain_per_position_on_a_shortcut_then_linear():
    Chain().times(normal(4, 9, 8)).flat().times(normal(4 * 9 * 8)).linear().check()


# --- sums ---------------------------------------------------------------------------------------


def other() -> Chain:
    return Chain(amplitude=1.0, seed=1, name="other")


def test_a_sum_of_two_layers_is_two_connections():
    chain = Chain().conv(padding=(1, 1)).norm().add(other())
    chain.check()
    assert [path.sources for path in chain.value.paths] == [("source",), ("other",)]


def test_a_sum_of_spikes_is_one_connection_with_two_sources():
    chain = Chain(amplitude=1.0).add(other())
    third = Chain(amplitude=1.0, seed=2, name="third")
    chain.add(third).conv(padding=(1, 1)).check()
    assert chain.path.sources == ("source", "other", "third")


def test_sources_of_different_amplitude_stay_apart():
    chain = Chain().add(other()).conv(padding=(1, 1))
    chain.check()
    assert [path.sources for path in chain.value.paths] == [("source",), ("other",)]


def test_equal_weights_for_different_shapes_stay_apart():
    chain = Chain((4, 9, 8), 1.0).pool((3, 2))
    larger = Chain((4, 3, 4), 1.0, seed=1, name="other")
    chain.add(larger).check()
    assert len(chain.value.paths) == 2


def test_x_plus_x_doubles_the_weight():
    chain = Chain()
    chain.add(chain.copy()).check()
    assert np.array_equal(chain.path.operator.weight, 2 * AMPLITUDE)


def test_two_convolutions_of_one_source_are_one_if_their_geometry_is():
    chain = Chain().conv(padding=(1, 1))
    chain.add(Chain().conv(padding=(1, 1))).check()
    assert len(chain.value.paths) == 1
    chain.add(Chain().conv(kernel=(1, 1))).check()
    assert len(chain.value.paths) == 2


def test_a_sum_that_shares_one_source():
    a, b = Chain(amplitude=1.0), other()
    chain = a.copy().add(b.copy())
    chain.add(a.copy()).check()
    chain.conv(padding=(1, 1)).add(b.copy()).check()


def test_layers_apply_to_every_path_of_a_sum():
    chain = Chain().pointwise(4).add(Chain().norm()).add(other().pool((3, 3), (1, 1), (1, 1)))
    chain.norm().conv(3, stride=(2, 2), padding=(1, 1)).pool((2, 2)).linear().check()
    assert len(chain.value.paths) == 3


def test_a_sum_after_flattening():
    chain = Chain().conv(padding=(1, 1)).flat()
    chain.add(other().flat()).add(Chain().linear(4 * 9 * 8)).linear(3).check()


def test_a_sum_of_different_shapes_is_refused():
    with pytest.raises(
        UnsupportedError, match=r"layer 'add1': got a sum of shapes \(4, 9, 8\) and"
    ):
        Chain().add(Chain((4, 1, 1)))


# --- what has no exact form, by name ------------------------------------------------------------

REFUSED: list[tuple[Callable[[Chain], Any], str]] = [
    (
        lambda c: c.conv(name="a").conv(name="b"),
        "layers 'a' and 'b': got two convolutions in a row; expected layers that one operator",
    ),
    (lambda c: c.conv(name="a").norm().pool().conv(name="b"), "layers 'a' and 'b': got two conv"),
    (lambda c: c.pointwise(padding=(1, 1), name="a").conv(name="b"), "'a' and 'b': got two conv"),
    (lambda c: c.conv(name="a").pointwise(padding=(1, 1), name="b"), "'a' and 'b': got two conv"),
    (
        lambda c: c.pointwise(name="a").conv(name="b").conv(name="c"),
        "layers 'a and b' and 'c': got two convolutions in a row",
    ),
    (
        lambda c: c.conv(name="a").pool((3, 3), (1, 1), (1, 1)),
        "layers 'a' and 'pool1': got padded pooling after a convolution",
    ),
    (
        lambda c: c.conv(name="a").times(normal(4, 7, 6)),
        "layer 'gain1': got a gain that differs between positions after the convolution 'a'; expec",
    ),
    (
        lambda c: c.conv(name="a").flat().norm(),
        "layer 'bn1': got a gain that differs between positions after the convolution 'a'",
    ),
    (
        lambda c: c.times(normal(4, 9, 8)).conv(name="a"),
        "layers 'gain1' and 'a': got a convolution after a gain that varies by position",
    ),
    (
        lambda c: c.times(normal(4, 9, 8)).pool(),
        "layers 'gain1' and 'pool2': got pooling after a gain that varies by position",
    ),
    (
        lambda c: c.pool((3, 3), (1, 1), (1, 1), count_include_pad=False).conv(name="a"),
        "layers 'pool1' and 'a': got a convolution after a gain that varies by position",
    ),
    (
        lambda c: fold.projected(c.value, np.ones((2, 5)), None, "fc"),
        r"layer 'fc': got an input of 288 elements \(shape \(4, 9, 8\)\); expected 5 elements",
    ),
]


@pytest.mark.parametrize(("build", "text"), REFUSED)
def test_refused_by_name(build, text):
    with pytest.raises(UnsupportedError, match=text):
        build(Chain())


def test_a_linear_layer_after_a_convolution_has_a_limit(monkeypatch):
    monkeypatch.setattr(fold, "MATERIALIZE_LIMIT", 5 * 4 * 9 * 8)
    Chain().conv(name="a").linear(5).check()
    with pytest.raises(UnsupportedError, match="'a' and 'fc1': got a Linear layer after a conv"):
        Chain().conv(name="a").linear(6)


def test_a_linear_layer_after_a_convolution_needs_no_more_than_its_own_matrix():
    """A whole basis of this input would be 20 GiB."""
    chain = Chain((3, 128, 128), 1.0).conv(2, (64, 64), stride=(64, 64)).linear(2)
    chain.check()


# --- random chains ------------------------------------------------------------------------------


def pairs(low: int, high: int) -> st.SearchStrategy[Pair]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


LAYERS = ["conv", "pointwise", "norm", "times", "gains", "plus", "shifts", "pool", "add", "linear"]


@st.composite
def geometry(draw: st.DrawFn, size: tuple[int, ...]) -> dict[str, Any]:
    """Kernel, stride and padding that fit an input of this size, for convolutions and pooling."""
    padding = draw(pairs(0, 2))
    kernel = tuple(
        draw(st.integers(1, min(4, n + 2 * p))) for n, p in zip(size, padding, strict=True)
    )
    return {"kernel": kernel, "stride": draw(pairs(1, 3)), "padding": padding}


def apply_random_layer(chain: Chain, kind: str, draw: Callable[..., Any]) -> None:
    shape = chain.value.shape
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    if kind == "times":
        chain.times(rng.normal())
    elif kind == "gains":
        chain.times(rng.normal(size=(shape[0],) + (1,) * (len(shape) - 1)))
    elif kind == "plus":
        chain.plus(rng.normal())
    elif kind == "shifts":
        chain.plus(rng.normal(size=shape))
    elif kind == "norm":
        chain.norm()
    elif kind == "linear":
        chain.linear(draw(st.integers(1, 5)), bias=draw(st.booleans()))
    elif kind == "add":
        # Another population of this shape, or the value itself.
        own = draw(st.booleans())
        name = f"other{len(chain.fired)}"
        chain.add(chain.copy() if own else Chain(shape, rng.normal(), len(chain.fired), name))
    elif len(shape) != 3:
        return
    elif kind == "pool":
        window = draw(geometry(shape[1:]))
        half = zip(window["padding"], window["kernel"], strict=True)
        window["padding"] = tuple(min(p, k // 2) for p, k in half)
        divisor = draw(st.sampled_from([None, None, 3]))
        chain.pool(**window, divisor=divisor, count_include_pad=draw(st.booleans()))
    elif kind == "pointwise":
        chain.pointwise(draw(st.integers(1, 4)), stride=draw(pairs(1, 2)), bias=draw(st.booleans()))
    elif kind == "conv":
        groups = draw(st.sampled_from([g for g in (1, 2, 4) if shape[0] % g == 0]))
        chain.conv(groups * draw(st.integers(1, 2)), groups=groups, **draw(geometry(shape[1:])))


@settings(max_examples=300)
@given(st.lists(st.sampled_from(LAYERS), min_size=2, max_size=8), st.data())
def test_a_random_chain_is_exact_wherever_it_is_not_refused(kinds, data):
    chain = Chain(data.draw(st.sampled_from([(4, 6, 5), (2, 9, 7), (1, 4, 4)])), 0.8)
    for kind in kinds:
        before = chain.copy()
        try:
            apply_random_layer(chain, kind, data.draw)
        except UnsupportedError:
            event(f"refused: {kind}")
            chain = before
    event(f"{len(chain.value.paths)} paths")
    chain.check()


BEFORE = ["pointwise", "norm", "times", "gains", "shifts", "add", "pool"]
AFTER = ["pointwise", "norm", "times", "gains", "shifts", "mean"]


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from(BEFORE), max_size=5),
    st.booleans(),
    st.lists(st.sampled_from(AFTER), max_size=4),
    st.data(),
)
def test_what_the_table_composes_is_never_refused(before, convolved, after, data):
    """Any number of pointwise layers and poolings, one convolution, and what may follow it."""
    chain = Chain((2, 9, 8), 1.7)
    for kind in [*before, *(["conv", *after] if convolved else [])]:
        if kind == "pool":
            window = data.draw(geometry(chain.value.shape[1:]))
            window["padding"] = tuple(min(1, k // 2) for k in window["kernel"])
            sizes = zip(chain.value.shape[1:], window["kernel"], window["padding"], strict=True)
            assume(all(size + 2 * p >= k for size, k, p in sizes))
            chain.pool(**window)
        elif kind == "mean":
            smallest = min(chain.value.shape[1:])
            chain.pool(data.draw(pairs(1, smallest)), data.draw(pairs(1, 2)))
        else:
            apply_random_layer(chain, kind, data.draw)
    chain.check()
    chain.linear(4).norm().linear(3).check()
