import pytest
import torch
from torch.nn import functional

from benchmarks.case import macs_per_sample
from benchmarks.limits import (
    TRIAD_ELEMENTS,
    Convolution,
    convolutions,
    fp32_call,
    int8_call,
    weights,
)

STRIDED = Convolution(
    images=2,
    input_shape=(4, 7, 6),
    weight_shape=(8, 4, 3, 3),
    stride=(2, 1),
    padding=(1, 1),
    dilation=(1, 1),
    groups=1,
)


def test_convolutions_are_those_of_the_network(demo):
    network = demo.network()
    work = convolutions(network)
    assert [c.images for c in work].count(1) == 1  # the static input
    # The readout and a shortcut are no convolutions.
    assert len(work) == len(network.all_connections) - 2
    borders = sum(c.macs for c in work) / macs_per_sample(network)
    assert 1 < borders < 1.5  # ours multiply the zeros of the padding, too


def test_macs_count_every_output():
    assert STRIDED.macs == 2 * (8 * 4 * 3 * 3) * (4 * 6)


@pytest.mark.skipif(
    not hasattr(torch.ops.onednn, "qconv_pointwise"), reason="this PyTorch has no oneDNN"
)
def test_the_limits_convolve():
    """They are not faster than a convolution because they are none."""
    int8 = int8_call(STRIDED, 3)
    fp32 = fp32_call(STRIDED, 3)
    x = fp32.args[0]
    expected = functional.conv2d(x, weights(STRIDED).float(), stride=(2, 1), padding=(1, 1))
    torch.testing.assert_close(int8(), expected, rtol=0, atol=0)
    torch.testing.assert_close(fp32(), expected, rtol=0, atol=0)
    assert x.unique().tolist() == [-1, 0, 1]


def test_triad_exceeds_the_caches():
    assert 4 * TRIAD_ELEMENTS > 64 << 20
