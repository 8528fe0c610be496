import numpy as np
import pytest
import torch

from benchmarks.case import Recipe, is_static, macs_per_sample
from benchmarks.networks import LEAST_GAIN, bisect, photographs, random_case, set_rates
from benchmarks.scaling import with_steps
from trispike.network import dense_macs
from trispike.nn import SpikingNeuron, randomize


def test_a_case_comes_back_from_its_folder(demo):
    network, module = demo.network(), demo.module()
    assert demo.name == "demo"
    assert list(demo.facts["rates"]) == list(network.populations)
    assert 0.1 < demo.facts["mean_rate"] < 0.6
    inputs = demo.inputs(400)  # more than there are
    assert inputs.shape == (400, 1, 8, 8)
    np.testing.assert_array_equal(inputs[359:], inputs[: 400 - 359])
    with torch.no_grad():
        assert module(torch.from_numpy(inputs[:3])).shape == (3, network.readout.classes)


def test_macs_count_a_static_input_once(demo):
    network = demo.network()
    (static,) = (c for c in network.all_connections if is_static(network, c.sources))
    once = dense_macs(static, network.input.shape)
    per_step = macs_per_sample(with_steps(network, 1)) - once
    assert once == 16 * (6 * 6 * 9 + 4 * 6 * 6 + 4 * 4)  # 8x8 with 3x3 kernels, less at the borders
    assert [macs_per_sample(with_steps(network, t)) for t in (2, 5)] == [
        once + 2 * per_step,
        once + 5 * per_step,
    ]


def test_layers_fire_at_the_rates_that_are_set():
    model = Recipe(arch="ctsn-resnet19", steps=2, widths=(6, 8, 10)).build()
    randomize(model)
    images = torch.from_numpy(photographs(4, size=16))
    rising = np.linspace(0.1, 0.6, 5)
    set_rates(model, images, rising)
    found = []
    for module in model.modules():
        if isinstance(module, SpikingNeuron):
            module.register_forward_hook(
                lambda m, x, y: found.append(float((y != 0).float().mean()))
            )
    with torch.no_grad():
        model(images)
    wanted = np.interp(np.linspace(0, 1, len(found)), np.linspace(0, 1, 5), rising)
    assert len(found) == 17
    np.testing.assert_allclose(found, wanted, atol=0.1)
    assert found[0] == pytest.approx(0.1, abs=0.02)


def test_bisection_finds_the_gain():
    assert bisect(lambda g: g / 10, 0.3) == pytest.approx(3, rel=1e-2)
    assert bisect(lambda g: 1.0, 0.3) == LEAST_GAIN


def test_photographs_are_pictures():
    images = photographs(6)
    assert images.shape == (6, 3, 32, 32)
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images[:2], photographs(2))
    assert images.std(axis=(1, 2, 3)).min() > 0.05  # no cut-out is a blank


def test_a_random_case_fires(tmp_path):
    case = random_case(
        tmp_path,
        name="small",
        title="small",
        arch="lif-resnet19",
        rates=[0.2, 0.2],
        widths=(4, 4, 4),
        samples=4,
    )
    rates = list(case.facts["rates"].values())
    assert len(rates) == 17
    assert 0.1 < case.facts["mean_rate"] < 0.4
    assert min(rates) > 0.02
