"""Ledgers of the trained networks: engine by engine, and against a matrix of every synapse."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trispike
from tests.networks import CASES, sample_inputs
from tests.runtime.edges import enumerated
from trispike.network import IntegerNetwork
from trispike.runtime import Ledger, ReferenceEngine
from trispike.runtime.data import load_data
from trispike.runtime.data.cache import cache_folder
from trispike.runtime.data.digits import load_digits_split
from trispike.runtime.fast import FastEngine

pytest.importorskip("torch", reason="torch is not installed")

NETWORKS = Path(__file__).parents[2] / "examples" / "networks"


@cache
def digits() -> tuple[IntegerNetwork, Any]:
    """The network of the demo, and images."""
    split = load_digits_split()
    path = Path(trispike.__path__[0]) / "demo" / "ctsn_digits.pth"
    module = trispike.load_checkpoint(path, "ctsn-resnet8", steps=4)
    network = trispike.convert(module, split.test.x[:1]).network
    integer = trispike.quantize(network, split.train.x[:64], split.train.y[:64]).network
    return integer, split.test.x[:4]


@cache
def fashion_mnist() -> tuple[IntegerNetwork, Any]:
    """The network of examples/networks; noise stands in for images that are not on this machine.

    Noise fires less evenly than clothes do; what is counted is counted all the same.
    """
    if (cache_folder() / "fashion-mnist-test.safetensors").is_file():
        images = load_data("fashion-mnist", samples=68).x
    else:
        images = np.random.default_rng(1).random((68, 1, 28, 28), dtype=np.float32)
    module = trispike.load_checkpoint(NETWORKS / "ctsn_fashion_mnist.pth", "ctsn-vgg6", steps=4)
    network = trispike.convert(module, images[:16]).network
    return trispike.quantize(network, images[4:]).network, images[:4]


TRAINED: dict[str, Callable[[], tuple[IntegerNetwork, Any]]] = {
    "digits": digits,
    "fashion_mnist": fashion_mnist,
}


@cache
def ledger(name: str) -> tuple[Ledger, dict[str, Any]]:
    """Of the reference engine on all images, and the spikes."""
    network, images = TRAINED[name]()
    result = ReferenceEngine(network).run(images, record="all", per_sample=True)
    assert all(int(p.updates_with_input.sum()) for p in result.ledger.populations.values())
    assert result.ledger.spikes
    return result.ledger, {name: traces["s"] for name, traces in result.records.items()}


SLOW = pytest.param("fashion_mnist", marks=pytest.mark.slow)


@pytest.mark.parametrize("name", ["digits", SLOW])
def test_the_fast_engine(name):
    network, images = TRAINED[name]()
    found = FastEngine(network, threads=1).run(images, per_sample=True).ledger
    assert found.differences(ledger(name)[0]) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_lava(name):
    pytest.importorskip("lava", reason="Lava is not installed")
    from trispike.runtime.lava_engine import LavaEngine

    network, images = TRAINED[name]()
    found = LavaEngine(network, timeout=300).run(images, per_sample=True).ledger
    assert found.differences(ledger(name)[0]) == []


def check(network: Any, encoded: Any, spikes: dict[str, Any], found: Ledger) -> None:
    """Counts per sample are those of the matrices, and the ledger is their sum."""
    expected = enumerated(network, encoded, spikes)
    assert found.per_sample is not None
    assert found.per_sample.differences(expected) == []
    for kind, parts in expected.groups().items():
        for name, counts in parts.items():
            if kind == "spikes":
                p = found.populations[name]
                total = p.spikes_positive + p.spikes_negative
            elif kind != "input_events":
                group = found.populations if name in found.populations else found.connections
                total = getattr(group[name], kind)
            else:
                continue
            np.testing.assert_array_equal(total, counts.sum(axis=0), f"{kind} {name}")


@pytest.mark.parametrize("name", ["digits", SLOW])
def test_every_synapse(name):
    """One image of a trained network, in the fast engine."""
    network, images = TRAINED[name]()
    encoded = network.input.encode(images[:1], network.steps)
    spikes = {population: trains[:1] for population, trains in ledger(name)[1].items()}
    found = FastEngine(network, threads=1).run(images[:1], per_sample=True).ledger
    check(network, encoded, spikes, found)


@pytest.mark.parametrize("case", CASES)
def test_every_synapse_of_small_networks(case):
    """What the trained networks lack: delays, loops, groups, exponents, windows that overlap."""
    network = CASES[case]()
    inputs = sample_inputs(network, 3)
    result = ReferenceEngine(network).run(inputs, record="all", per_sample=True)
    spikes = {name: traces["s"] for name, traces in result.records.items()}
    check(network, network.input.encode(inputs, network.steps), spikes, result.ledger)
