"""The trained network of Fashion-MNIST: what it reads, in float and in integers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

import trispike
from trispike.network import equal
from trispike.nn import CTSN, load_checkpoint
from trispike.quantize import quantize
from trispike.quantize.finetune import IntegerModule
from trispike.runtime import ReferenceEngine
from trispike.runtime.data import load_data

PATH = Path(__file__).parents[2] / "examples" / "networks" / "ctsn_fashion_mnist.pth"


def test_it_is_a_trained_network_of_its_architecture():
    assert PATH.stat().st_size < 5_000_000
    model = load_checkpoint(PATH, "ctsn-vgg6", steps=4)
    values = [p.item() for m in model.modules() if isinstance(m, CTSN) for p in m.parameters()]
    assert len(set(values)) == 15
    with torch.no_grad():
        assert model(torch.zeros(1, 1, 28, 28)).shape == (1, 10)


@pytest.mark.slow
def test_the_whole_test_set_in_integers():
    """8 bits after training cost less than 0.3 points, and the float network is folded exactly."""
    data, calibration = load_data("fashion-mnist"), load_data("fashion-mnist:train", samples=256)
    model = load_checkpoint(PATH, "ctsn-vgg6", steps=4)
    network = trispike.convert(model, data.x[:16]).network
    integer = trispike.quantize(network, calibration.x, calibration.y).network
    result = trispike.simulate(integer, data.x, data.y)
    with torch.no_grad():
        parts = np.array_split(data.x, 20)
        logits = torch.cat([model(torch.from_numpy(x)) for x in parts])
    accuracy = float((logits.argmax(1) == torch.from_numpy(data.y)).float().mean())
    assert result.ledger.samples == 10_000
    assert result.accuracy is not None
    assert accuracy >= 0.915
    assert abs(result.accuracy - accuracy) <= 0.003


@pytest.mark.slow
def test_what_was_fine_tuned_is_what_it_exports_on_1000_samples():
    """Every spike, state and logit of the module that trained, beside the reference engine's."""
    train, test = load_data("fashion-mnist:train", samples=64), load_data("fashion-mnist")
    assert train.y is not None
    source = trispike.convert(load_checkpoint(PATH, "ctsn-vgg6", steps=4), test.x[:2]).network
    quantization = quantize(source, train.x, weight_bits=2, method="clipped")
    module = IntegerModule.from_float(source, quantization)
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    for first in range(0, 48, 16):
        chosen = slice(first, first + 16)
        labels = torch.from_numpy(train.y[chosen].astype(np.int64))
        loss = functional.cross_entropy(module(module.encode(train.x[chosen])).mean(0), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        module.confine()
    exported = module.export()
    assert not equal(exported, quantization.network)
    fired = 0
    for first in range(0, 1000, 50):
        part = test.x[first : first + 50]
        result = ReferenceEngine(exported).run(part, record="all")
        trace = module.trace(module.encode(part))
        assert set(result.records) == set(exported.populations)
        for name, traces in result.records.items():
            for key, values in traces.items():
                assert np.array_equal(trace.records[name][key], values), (name, key)
            fired += np.count_nonzero(traces["s"])
        assert np.array_equal(trace.logits, result.logits)
    assert fired > 1_000_000
