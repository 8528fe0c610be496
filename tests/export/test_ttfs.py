"""Networks of neurons that fire once: folded, quantized, equal on every engine, refused by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import trispike
from tests.export.modules import Net
from trispike.errors import InvalidNetworkError, UnsupportedError
from trispike.export import trace
from trispike.network.storage import equal
from trispike.nn import TTFS, StandardizedConv2d, StandardizedLinear, TimeWeights, randomize
from trispike.runtime import ledger_file
from trispike.runtime.verify import verify

STEPS = 5


class Small(nn.Module):
    """Standardized layers of both kinds, average pooling, weighted decoding."""

    steps = STEPS

    def __init__(self, weights: TimeWeights | None = None, pool: nn.Module | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = StandardizedConv2d(1, 4, 3, STEPS, padding=1)
        self.first = TTFS(1.0)
        self.pool = nn.AvgPool2d(2) if pool is None else pool
        self.hidden = StandardizedLinear(36, 10, STEPS)
        self.second = TTFS(0.8, "subtract")
        self.fc = nn.Linear(10, 3)
        self.readout = weights or TimeWeights(STEPS)
        randomize(self, seed=1)

    def forward(self, x: Tensor) -> Tensor:
        x = x.unsqueeze(0).repeat(STEPS, 1, 1, 1, 1)
        x = self.conv(x.flatten(0, 1)).unflatten(0, (STEPS, -1))
        x = self.pool(self.first(x).flatten(0, 1)).flatten(1)
        x = self.second(self.hidden(x).unflatten(0, (STEPS, -1)))
        logits: Tensor = self.readout(self.fc(x.flatten(0, 1)).unflatten(0, (STEPS, -1)))
        return logits


def images(samples: int = 6) -> Any:
    return np.random.default_rng(0).normal(size=(samples, 1, 6, 6)).astype(np.float32)


def test_weights_and_time_weights_are_what_the_module_computes():
    module = Small()
    network = trispike.convert(module, images()).network
    assert set(network.populations) == {"first", "second"}
    assert all(p.neuron.fire_once for p in network.populations.values())
    module = module.double()
    (conv, linear) = network.connections
    np.testing.assert_allclose(
        conv.operator.weight, module.conv.standardized_weight().detach(), rtol=0, atol=1e-14
    )
    np.testing.assert_allclose(
        linear.operator.weight, module.hidden.standardized_weight().detach() / 4, rtol=0, atol=1e-14
    )
    base = float(module.readout.base.detach())
    np.testing.assert_allclose(network.readout.weights, base ** -np.arange(STEPS))
    np.testing.assert_allclose(network.readout.bias, module.fc.bias.detach())


@pytest.mark.parametrize(
    "weights",
    [
        TimeWeights(STEPS, "softplus"),
        TimeWeights(STEPS, "exponential"),
        TimeWeights(STEPS, "given", [1, 0.5, 0, 0.25, -0.5]),
    ],
    ids=["softplus", "exponential", "given"],
)
def test_every_form_converts_to_its_vector(weights):
    module = Small(weights)
    conversion = trispike.convert(module, images())
    assert conversion.proof.unexplained_mismatches == 0
    expected = module.readout.double().weights().detach()
    assert np.array_equal(conversion.network.readout.weights, expected)


def test_weights_that_add_up_to_nothing():
    given = TimeWeights(STEPS, "given", [1, 0, 0, 0, -1])
    converted = trispike.convert(Small(given), images())
    assert not converted.network.readout.bias.any()

    def later(self: Any, x: Tensor) -> Any:
        x = x.unsqueeze(0).repeat(STEPS, 1, 1)
        return self.readout(self.neuron(self.fc(x))) + 1.0

    net = Net(later, fc=nn.Linear(4, 3), neuron=TTFS(0.3), readout=given)
    with pytest.raises(UnsupportedError, match=r"a bias behind a sum over time whose weights"):
        trace(net, (4,), steps=STEPS)


@pytest.fixture(scope="module")
def integer() -> Any:
    network = trispike.convert(Small(), images()).network
    return trispike.quantize(network, images()).network


def engines() -> list[str]:
    found = ["reference", "fast"]
    for engine, package in (("onnx", "onnxruntime"), ("lava", "lava"), ("nir", "nir")):
        try:
            __import__(package)
        except ImportError:
            continue
        found.append(engine)
    return found


def test_every_engine_fires_once_and_agrees(integer):
    certificate = verify(integer, images(3), engines=engines())
    assert certificate.equal, certificate.first_difference


def test_no_neuron_fires_twice_and_the_ledger_says_so(integer):
    x = images(40)
    for engine in ("reference", "fast"):
        record = dict.fromkeys(integer.populations, "s")
        run = trispike.simulate(integer, x, engine=engine, record=record, per_sample=True)
        for name, population in integer.populations.items():
            spikes = np.abs(run.records[name]["s"]).sum(1)
            assert spikes.max() == 1
            counts = run.ledger.populations[name]
            total = int(counts.spikes_positive.sum() + counts.spikes_negative.sum())
            assert total == spikes.sum()
            assert 0 < total < population.size * len(x)
            assert not counts.spikes_negative.any()
            assert run.ledger.per_sample is not None
            assert run.ledger.per_sample.spikes[name].sum(1).max() <= population.size


def test_a_ledger_with_more_spikes_than_neurons_is_refused(integer):
    stored = ledger_file.stored_ledger(trispike.simulate(integer, images(2)), integer, images(2))
    stored.check_network(integer)
    counts = stored.ledger.populations["second"]
    more = replace(counts, spikes_positive=np.full(STEPS, counts.neurons))
    ledger = replace(stored.ledger, populations={**stored.ledger.populations, "second": more})
    with pytest.raises(trispike.TrispikeError, match=r"50 spikes of neurons that fire once; exp"):
        replace(stored, ledger=ledger).check_network(integer)


def test_the_own_dialect_of_nir_keeps_it(integer, tmp_path):
    pytest.importorskip("nir", reason="nir is not installed")
    from trispike.export.nir import read_network, write

    write(integer, tmp_path / "net.nir")
    assert equal(read_network(tmp_path / "net.nir"), integer)


# --- what is refused ----------------------------------------------------------------------------


def functional_pool(self: Any, x: Tensor) -> Any:
    x = x.unsqueeze(0).repeat(STEPS, 1, 1, 1, 1)
    x = self.first(self.conv(x.flatten(0, 1)).unflatten(0, (STEPS, -1)))
    return nn.functional.max_pool2d(x.flatten(0, 1), 2)


@pytest.mark.parametrize(
    ("module", "name", "kind"),
    [
        (Small(pool=nn.MaxPool2d(2)), "pool", "MaxPool2d"),
        (Small(pool=nn.AdaptiveMaxPool2d(3)), "pool", "AdaptiveMaxPool2d"),
        (
            Net(functional_pool, conv=nn.Conv2d(1, 4, 3, padding=1), first=TTFS()),
            r"max_pool2d\(\)",
            "max_pool2d",
        ),
    ],
    ids=["module", "adaptive", "function"],
)
def test_max_pooling_is_refused_with_what_to_do(module, name, kind):
    text = (
        rf"layer '{name}': got {kind} of neurons that fire once \(first\); expected average "
        r"pooling\. Replace it by nn\.AvgPool2d"
    )
    with pytest.raises(UnsupportedError, match=text):
        trace(module, (1, 6, 6), steps=STEPS)


def test_time_weights_of_the_wrong_length_are_refused():
    module = Small()
    module.readout = TimeWeights(STEPS + 1)
    with pytest.raises(InvalidNetworkError, match=r"'readout', time weights: got 6 weights for 5"):
        trace(module, (1, 6, 6), steps=STEPS)


def test_time_weights_want_time_first():
    def forward(self: Any, x: Tensor) -> Any:
        x = self.neuron(self.fc(x).unsqueeze(0).repeat(STEPS, 1, 1))
        return self.readout(x.transpose(0, 1))

    net = Net(forward, fc=nn.Linear(4, 3), neuron=TTFS(0.3), readout=TimeWeights(STEPS))
    with pytest.raises(UnsupportedError, match=r"layer 'readout': got time weights on \(N, T, C\)"):
        trace(net, (4,), steps=STEPS)


def test_a_threshold_made_negative_later_is_refused():
    module = Small()
    module.second.v_threshold = -0.5
    text = r"layer 'second', neuron field 'th_pos': got -0\.5 .*expected a positive number"
    with pytest.raises(InvalidNetworkError, match=text):
        trace(module, (1, 6, 6), steps=STEPS)
