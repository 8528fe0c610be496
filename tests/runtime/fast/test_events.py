"""Convolutions event by event, against the plain sum over synapses."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("numba", reason="numba is not installed")

from trispike.network import Conv2d
from trispike.runtime.fast.events import BIAS, BLOCK, PENDING, convolve_events, rows_of


def convolved(codes: Any, conv: Conv2d, blocks: int, scale: float = 1.0, window: Any = None) -> Any:
    """What the kernel writes, over a result full of 7."""
    images, height, width, channels = codes.shape
    outputs, rows, columns = conv.output_shape((channels, height, width))
    result = np.full((images, rows, columns, outputs), 7, np.float32)
    convolve_events(
        codes,
        rows_of(conv.weight, blocks),
        tuple(np.full(BLOCK, 99, np.int16) for _ in range(blocks)),
        conv.kernel,
        conv.stride,
        conv.padding,
        conv.dilation,
        np.float32(scale),
        window or (0, images),
        result,
    )
    return result


def expected(codes: Any, conv: Conv2d) -> Any:
    spikes = codes.astype(np.int64).transpose(0, 3, 1, 2) - 1
    return conv.apply(np.ascontiguousarray(spikes)).transpose(0, 2, 3, 1)


def random_codes(shape: Any, rate: float, seed: int = 0) -> Any:
    random = np.random.default_rng(seed)
    fires = random.random(shape) < rate
    return np.where(fires, random.choice([0, 2], shape), 1).astype(np.uint8)


def random_weight(shape: Any, seed: int = 1) -> Any:
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("channels", [1, 63, 64, 65, 130])
@pytest.mark.parametrize("outputs", [1, 64, 100, 128, 129, 300])
def test_channels_and_outputs_of_any_number(channels, outputs, blocks):
    conv = Conv2d(weight=random_weight((outputs, channels, 3, 3)), padding=(1, 1))
    codes = random_codes((2, 4, 5, channels), 0.3)
    np.testing.assert_array_equal(convolved(codes, conv, blocks), expected(codes, conv))


@pytest.mark.parametrize(
    "geometry",
    [
        {"padding": (1, 2), "stride": (2, 1)},
        {"padding": (2, 2), "dilation": (2, 2)},
        {"padding": (0, 3), "dilation": (1, 3), "stride": (1, 2)},
        {"padding": (4, 4), "stride": (3, 3)},
    ],
)
def test_geometries(geometry):
    conv = Conv2d(weight=random_weight((70, 66, 3, 2)), **geometry)
    codes = random_codes((2, 7, 6, 66), 0.2)
    np.testing.assert_array_equal(convolved(codes, conv, 2), expected(codes, conv))


@pytest.mark.parametrize("weight", [-128, 127])
@pytest.mark.parametrize("code", [0, 2])
def test_the_largest_sums(weight, code):
    """Far more synapses than 16 bits hold, all of the largest weight and alike."""
    channels = 3 * PENDING + 1
    conv = Conv2d(weight=np.full((65, channels, 2, 2), weight, np.int8))
    codes = np.full((1, 3, 2, channels), code, np.uint8)
    result = convolved(codes, conv, 2)
    np.testing.assert_array_equal(result, expected(codes, conv))
    assert np.abs(result).min() == 4 * channels * abs(weight) > np.iinfo(np.int16).max


def test_opposite_signs_that_cancel_on_the_way():
    """Positive events come first and fill the sums; the negative ones empty them."""
    channels = 2 * PENDING
    conv = Conv2d(weight=np.full((64, channels, 1, 1), 127, np.int8))
    codes = np.full((1, 1, 1, channels), 2, np.uint8)
    codes[..., ::2] = 0
    np.testing.assert_array_equal(convolved(codes, conv, 1), 0)


def test_silence_gives_zero():
    conv = Conv2d(weight=random_weight((5, 4, 3, 3)), padding=(1, 1))
    np.testing.assert_array_equal(convolved(np.ones((1, 3, 3, 4), np.uint8), conv, 1), 0)


def test_only_the_window_is_written_and_scaled():
    conv = Conv2d(weight=random_weight((5, 4, 1, 1)))
    codes = random_codes((4, 2, 2, 4), 0.5)
    result = convolved(codes, conv, 1, scale=4, window=(1, 3))
    np.testing.assert_array_equal(result[1:3], 4 * expected(codes, conv)[1:3])
    np.testing.assert_array_equal(result[[0, 3]], 7)


def test_rows():
    """Tile, kernel position, channel, output; even outputs are biased, absent ones are 0."""
    weight = random_weight((70, 3, 2, 2))
    rows = rows_of(weight, 1).reshape(2, 2, 2, 3, BLOCK)
    assert rows[0, 1, 0, 2, 7] == np.uint8(weight[7, 2, 1, 0].astype(np.uint8))
    assert rows[1, 0, 1, 1, 4] == weight[68, 1, 0, 1] + BIAS
    assert set(rows[1, :, :, :, 6:].reshape(-1, BLOCK - 6)[0]) == {0, BIAS}
