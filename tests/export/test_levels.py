"""QCFS networks as spiking networks: counts equal levels, when populations fire, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn
from torch.nn import functional as F

import trispike
from tests.export.modules import Net
from tests.export.oracle import assert_equal_but_for_rounding
from tests.levels import level_networks
from trispike.errors import (
    FoldingError,
    InvalidDataError,
    InvalidNetworkError,
    InvalidSettingError,
    UnsupportedError,
)
from trispike.export import Activation, prove, register_activation, trace, trace_levels
from trispike.network import Identity, Neuron
from trispike.nn import LIF, QCFS, build_qcfs, randomize
from trispike.runtime import ReferenceEngine


def images(*shape: int, samples: int = 3) -> Any:
    return np.random.default_rng(0).normal(size=(samples, *shape))


def levels_of(module: nn.Module, data: Any) -> tuple[dict[str, Tensor], Tensor]:
    """Every activation's y / q, and the logits, as torch computes them in float64."""
    found: dict[str, Tensor] = {}
    module = module.double()
    for name, m in module.named_modules():
        if isinstance(m, QCFS):

            def keep(m: nn.Module, _: Any, y: Tensor, name: str = name) -> None:
                found[name] = (y * m.levels / m.thresh).round()  # type: ignore[operator]

            m.register_forward_hook(keep)
    with torch.no_grad():
        logits = module(torch.from_numpy(data))
    return found, logits


@settings(max_examples=25, deadline=None)
@given(level_networks())
def test_every_neuron_fires_as_often_as_its_activation_has_levels(drawn):
    """In a run of its own, from the image to the logits; no module watches."""
    module, shape = drawn
    data = images(*shape)
    network = trispike.convert(module, data).network
    result = ReferenceEngine(network).run(data, record="all")
    expected, logits = levels_of(module, data)
    assert set(network.populations) == set(expected)
    for name, levels in expected.items():
        spikes = result.records[name]["s"]
        counted = spikes.sum(1, dtype=np.int64).reshape(levels.shape)
        np.testing.assert_array_equal(counted, levels.numpy())
        neuron = network.populations[name].neuron
        outside = [t for t in range(network.steps) if not neuron.fires_at(t)]
        assert not spikes[:, outside].any()
    assert_equal_but_for_rounding(result.logits, logits.numpy())


def test_populations_fire_after_all_of_their_sources():
    """Unequal levels across a shortcut: the sum waits for the later end."""
    net = Net(
        lambda s, x: s.fc(s.c(s.b(s.conv(s.a(x))) + s.a2(x)).flatten(1)),
        a=QCFS(3),
        a2=QCFS(7),
        conv=nn.Conv2d(1, 1, 3, padding=1),
        b=QCFS(2),
        c=QCFS(5),
        fc=nn.Linear(16, 2),
    )
    network = trace_levels(net, (1, 4, 4)).network
    windows = {n: (p.neuron.fire_from, p.neuron.fire_until) for n, p in network.populations.items()}
    assert windows == {"a": (0, 3), "a2": (0, 7), "b": (3, 5), "c": (7, 12)}
    assert network.steps == 12
    assert network.input.encoding == "once"
    np.testing.assert_array_equal(network.readout.weights, [0.0] * 7 + [0.2] * 5)


def test_a_population_is_what_the_activation_says():
    middle, last = nn.Linear(3, 2), nn.Linear(2, 2)
    net = nn.Sequential(QCFS(4, 2.0), middle, QCFS(8, -2.0), last)
    network = trace_levels(net, (3,)).network
    first, second = network.populations["0"].neuron, network.populations["2"].neuron
    bias = middle.bias.detach().double().numpy()
    assert isinstance(first, Neuron)
    assert first.reset == "subtract"
    numbers = [first.th_pos, first.v_init, first.bias, first.b_pos, first.b_neg]
    assert list(map(float, numbers)) == [0.5, 0.25, 0.0, 1.0, 1.0]
    # A negative threshold turns what arrives around, and the size of its spikes.
    np.testing.assert_allclose(second.v_init, 0.125 - bias, rtol=1e-15)
    assert second.th_pos == 0.25
    weight, head = (m.weight.detach().double().numpy() for m in (middle, last))
    between = next(c for c in network.connections if c.target == "2")
    np.testing.assert_allclose(between.operator.weight, -0.5 * weight, rtol=1e-15)
    (readout,) = network.readout.connections
    np.testing.assert_allclose(readout.operator.weight, 8 * -0.25 * head, rtol=1e-15)


def test_an_activation_that_is_used_twice_is_two_populations():
    act = QCFS(3)
    net = nn.Sequential(act, nn.Linear(4, 4), act, nn.Linear(4, 2))
    data = images(4)
    conversion = trispike.convert(net, data)
    assert list(conversion.network.populations) == ["0", "0@2"]
    assert conversion.proof.spike_mismatches == 0


def test_normalization_stays_in_the_input():
    """What is presented once is normalized; what follows is nothing, and not minus the mean."""
    net = build_qcfs("qcfs-resnet8", levels=3, input_shape=(1, 8, 8)).eval()
    randomize(net)
    raw = np.random.default_rng(1).uniform(0, 255, (2, 1, 8, 8))
    network = trispike.convert(net, raw, mean=100.0, std=50.0).network
    expected = net.double()(torch.from_numpy((raw - 100) / 50)).detach().numpy()
    assert_equal_but_for_rounding(ReferenceEngine(network).run(raw).logits, expected)


class PublishedIF(nn.Module):
    """An activation of another code base, as in the public code of QCFS."""

    def __init__(self, thresh: float, L: int) -> None:
        super().__init__()
        self.thresh = nn.Parameter(torch.tensor([thresh]))
        self.L = L

    def forward(self, x: Tensor) -> Tensor:
        y = torch.clamp(x / self.thresh, 0, 1)
        return torch.floor(y * self.L + 0.5) / self.L * self.thresh


def test_activations_of_other_code_become_known(monkeypatch):
    monkeypatch.setattr("trispike.export.levels._ADAPTERS", {})
    net = nn.Sequential(PublishedIF(1.5, 4), nn.Linear(3, 2))
    register_activation(PublishedIF, lambda m: Activation(threshold=m.thresh.item(), levels=m.L))
    assert trispike.convert(net, images(3)).proof.holds


@pytest.mark.parametrize("wrong", [{"levels": 5}, {"levels": 3}, {"threshold": 1.6}])
def test_a_wrong_adapter_is_found_out(wrong, monkeypatch):
    monkeypatch.setattr("trispike.export.levels._ADAPTERS", {})
    net = nn.Sequential(PublishedIF(1.5, 4), nn.Linear(3, 2))
    right = {"threshold": 1.5, "levels": 4}
    register_activation(PublishedIF, lambda m: Activation(**{**right, **wrong}))
    with pytest.raises(FoldingError, match=r"population '0': got an output of .*0\.\.\d times"):
        trispike.convert(net, images(3, samples=20))


@pytest.mark.parametrize(
    ("weight", "quantum", "sample", "fired"), [(0.01, 0.1, 5, (1, 0)), (0.03, 0.1, 5, (0, 1))]
)
def test_a_level_at_its_boundary_is_explained_and_reported(weight, quantum, sample, fired):
    """5 * 0.01 is half of 0.1, and rounded one way by a product, another way by a sum of spikes."""
    middle, act = nn.Linear(1, 1, bias=False), QCFS(8)
    net = nn.Sequential(QCFS(7, 7.0), middle, act, nn.Linear(1, 1)).double()
    with torch.no_grad():
        middle.weight.fill_(weight)
        act.thresh.fill_(8 * quantum)
    proof = prove(net, trace_levels(net, (1,)), np.arange(8.0).reshape(-1, 1))
    assert proof.holds
    assert proof.spike_mismatches > 0
    for mismatch in proof.mismatches:
        assert (mismatch.population, mismatch.sample) == ("2", sample)
        assert (mismatch.module_spike, mismatch.network_spike) == fired
        assert mismatch.explained
        assert mismatch.distance < 1e-15


def test_a_defect_is_no_rounding():
    """The proof sees a bias that is wrong by a thousandth of a level."""
    torch.manual_seed(0)
    middle = nn.Linear(3, 40)
    net = nn.Sequential(QCFS(4), middle, QCFS(4), nn.Linear(40, 2))
    traced = trace_levels(net, (3,))
    with torch.no_grad():
        middle.bias.add_(1e-3)
    proof = prove(net, traced, images(3, samples=200))
    assert not proof.holds
    assert proof.unexplained_mismatches > 0


# --- refused ------------------------------------------------------------------------------------


def refused(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), QCFS(4), *layers, nn.Flatten(), QCFS(2))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.MaxPool2d(2), "layer '2': got MaxPool2d; .*train with average pooling"),
        (nn.ReLU(), "layer '2': got ReLU; .*QCFS"),
        (nn.GELU(), "layer '2': got GELU"),
        (nn.Sigmoid(), "layer '2': got Sigmoid"),
        (
            LIF(),
            "neuron '2': got a LIF in a module with QCFS activations; expected either spiking",
        ),
    ],
)
def test_what_is_no_level_is_refused_by_name(layer, message):
    with pytest.raises(UnsupportedError, match=message):
        trispike.convert(refused(layer), images(1, 4, 4))


def test_functions_are_refused_by_name():
    net = Net(lambda s, x: F.max_pool2d(s.a(x), 2).flatten(1), a=QCFS(2))
    with pytest.raises(UnsupportedError, match=r"'max_pool2d\(\)': .*not linear"):
        trispike.convert(net, images(1, 4, 4))


@pytest.mark.parametrize("threshold", [0.0, float("nan"), float("inf")])
def test_thresholds_that_training_ruined_are_refused(threshold):
    act = QCFS(4)
    net = nn.Sequential(act, nn.Linear(3, 2))
    with torch.no_grad():
        act.thresh.fill_(threshold)
    with pytest.raises(UnsupportedError, match=r"activation '0': got a threshold of .*diverged"):
        trispike.convert(net, images(3))


@pytest.mark.parametrize("levels", [0, -1, 2.5, True, 1 << 17])
def test_less_than_one_level_is_refused(levels):
    with pytest.raises(
        InvalidNetworkError, match=r"levels of QCFS: got .*a whole number of levels"
    ):
        QCFS(levels)
    net = nn.Sequential(QCFS(4), nn.Linear(3, 2))
    net[0].levels = levels
    with pytest.raises(UnsupportedError, match=r"activation '0': got .* levels"):
        trispike.convert(net, images(3))


@pytest.mark.parametrize(
    "given", [{"steps": 4}, {"encoding": "direct"}, {"encoding": "frames"}, {"readout": "last"}]
)
def test_settings_of_spiking_networks_are_refused(given):
    net = nn.Sequential(QCFS(4), nn.Linear(3, 2))
    (name,) = given
    with pytest.raises(InvalidSettingError, match=f"{name}: got .*no {name} for a module of QCFS"):
        trispike.convert(net, images(3), **given)


def test_data_with_time_are_refused():
    net = nn.Sequential(QCFS(4), nn.Linear(3, 2))
    with pytest.raises(InvalidDataError, match=r"\(N, C, H, W\) or \(N, F\), for QCFS"):
        trispike.convert(net, images(2, 1, 4, 4))


@pytest.mark.parametrize(
    "forward", [lambda s, x: (s.a(x), x), lambda s, x: s.a(x).unsqueeze(0), lambda s, x: x]
)
def test_an_output_that_is_no_logits_is_refused(forward):
    with pytest.raises(UnsupportedError, match=r"output of the module: got .*one tensor of logits"):
        trispike.convert(Net(forward, a=QCFS(2)), images(3))


def test_the_spiking_path_refuses_activations_by_name():
    """Who calls trace for such a module is told what is in the way."""
    with pytest.raises(UnsupportedError, match=r"layer 'clamp\(\) in 0'"):
        trace(nn.Sequential(QCFS(2), nn.Linear(3, 2)), (3,), steps=2)


def test_identities_carry_amplitudes():
    """A shortcut of spikes of another size."""
    net = Net(lambda s, x: s.b(s.a(x) * 3.0), a=QCFS(4, 2.0), b=QCFS(4, 2.0))
    network = trace_levels(net, (5,)).network
    between = next(c for c in network.connections if c.target == "b")
    assert isinstance(between.operator, Identity)
    assert between.operator.scale == 1.5
