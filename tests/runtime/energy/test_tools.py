"""NeuroBench and syops themselves, on networks that run here and in PyTorch.

``make interop`` brings both; where they are not installed, these tests are skipped.
"""

from __future__ import annotations

import json
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.networks import CASES, as_float
from tests.runtime.energy.tool_networks import NETWORKS, data_of
from trispike.network import Connection, Conv2d, Dense, Network
from trispike.network.dynamics import time_steps
from trispike.runtime import ReferenceEngine
from trispike.runtime.energy.conventions import (
    conventions,
    neurobench_before_folding,
)
from trispike.runtime.input_counts import input_counts

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("neurobench", reason="neurobench is not installed: make interop")

from trispike.api import convert  # noqa: E402 - needs torch
from trispike.nn import load_checkpoint  # noqa: E402 - needs torch

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs

RECORDED = Path(__file__).with_name("recorded_tools.json")
FASHION = Path(__file__).parents[3] / "examples" / "networks" / "ctsn_fashion_mnist.pth"


def layer_of(c: Connection) -> Any:
    """The connection as modules: pooling, then a convolution or a matrix."""
    modules: list[Any] = []
    for stage in c.pool.stages if c.pool else ():
        assert stage.dilation == (1, 1)
        modules.append(torch.nn.AvgPool2d(stage.kernel, stage.stride, stage.padding))
    weight = torch.tensor(np.asarray(c.operator.weight), dtype=torch.float64)
    if isinstance(c.operator, Conv2d):
        o, i, *kernel = weight.shape
        layer = torch.nn.Conv2d(
            i * c.operator.groups, o, kernel, c.operator.stride, c.operator.padding,
            c.operator.dilation, c.operator.groups, bias=False, dtype=torch.float64,
        )  # fmt: skip
    else:
        assert isinstance(c.operator, Dense)
        modules.append(torch.nn.Flatten())
        layer = torch.nn.Linear(weight.shape[1], len(weight), bias=False, dtype=torch.float64)
    layer.weight.data = weight * (c.pool.area if c.pool else 1)
    return torch.nn.Sequential(*modules, layer)


class Module(torch.nn.Module):  # type: ignore[name-defined, misc]
    """A network whose connections are PyTorch layers, for tools that hook these.

    Pooling is a module of its own, which averages: the layer behind it has the weights times the
    area.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.layers = torch.nn.ModuleList(layer_of(c) for c in network.all_connections)

    def forward(self, x: Any) -> Any:
        encoded = self.network.input.encode(x.numpy(), self.network.steps)
        logits: Any = 0.0
        for step in time_steps(self.network, encoded):
            for layer, (label, c) in zip(self.layers, self.network.labelled(), strict=True):
                arrived = np.asarray(sum(a.astype(np.float64) for a in step.arrived[label]))
                current = layer(torch.from_numpy(arrived)).detach().numpy()
                pooled = c.pool.apply(arrived) if c.pool else arrived
                # Sums in another order; of integers they are equal.
                assert np.allclose(current, c.operator.apply(pooled), rtol=1e-12, atol=1e-9)
            logits = logits + step.logits
        return torch.from_numpy(np.asarray(logits))


def ours(network: Network, data: Any) -> dict[str, Any]:
    ledger = ReferenceEngine(network).run(data).ledger
    return {c.id: c for c in conventions(ledger, network, input_counts(network, data))}


def neurobench_counts(module: Any, data: Any) -> dict[str, float]:
    """What NeuroBench says of a module on one batch."""
    workload = import_module("neurobench.metrics.workload.synaptic_operations")
    model = import_module("neurobench.models.torch_model").TorchModel(module)
    model.register_hooks()
    batch = torch.from_numpy(np.asarray(data))
    with torch.no_grad():
        predictions = model(batch)
        found: dict[str, float] = workload.SynapticOperations()(model, predictions, (batch, None))
    model.cleanup_hooks()
    return found


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "pooled_binary"])
def test_neurobench_counts_the_same(name):
    network = NETWORKS[name]()
    data = data_of(network)
    found, expected = neurobench_counts(Module(network), data), ours(network, data)["neurobench"]
    assert expected.accumulates is not None
    assert expected.accumulates > 0
    assert found == {
        "Effective_ACs": expected.accumulates,
        "Effective_MACs": expected.multiply_accumulates,
        "Dense": expected.dense,
    }


def test_neurobench_of_a_float_network():
    network = as_float(CASES["static_form"]())
    data = 32 * data_of(network)
    found, expected = neurobench_counts(Module(network), data), ours(network, data)["neurobench"]
    assert found["Effective_ACs"] == expected.accumulates > 0
    assert found["Effective_MACs"] == expected.multiply_accumulates > 0


@pytest.mark.parametrize("name", ["pooled_binary", "sew_addition"])
def test_neurobench_sees_averages_and_sums(name):
    """Where they come before a layer; the count of the deployed spikes is another one."""
    network = {**CASES, **NETWORKS}[name]()
    data = data_of(network)
    found = neurobench_counts(Module(network), data)
    expected = neurobench_before_folding(network, data)
    assert found == {
        "Effective_ACs": expected.accumulates,
        "Effective_MACs": expected.multiply_accumulates,
        "Dense": expected.dense,
    }
    folded = ours(network, data)["neurobench"]
    assert folded.dense == expected.dense
    assert folded.accumulates > expected.accumulates
    assert folded.multiply_accumulates < expected.multiply_accumulates


def syops_counts(module: Any, data: Any, monkeypatch: Any) -> Any:
    """What syops says of a module on one batch: total, AC, MAC."""
    reason = "syops is not installed: make interop"
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron", reason=reason)
    # syops 0.0.5 wants classes that SpikingJelly has merged since.
    for kind in ("IFNode", "LIFNode", "ParametricLIFNode"):
        monkeypatch.setattr(neuron, f"MultiStep{kind}", getattr(neuron, kind), raising=False)
    engine = pytest.importorskip("syops.engine", reason=reason)
    with torch.no_grad():
        model = engine.add_syops_counting_methods(module)
        model.eval()
        model.start_syops_count(ost=None, verbose=False, ignore_list=[])
        model(torch.from_numpy(np.asarray(data)))
        counts, _ = model.compute_average_syops_cost()
        model.stop_syops_count()
    return counts[:3]


@pytest.mark.parametrize("name", list(NETWORKS))
def test_syops_counts_the_same(name, monkeypatch):
    network = NETWORKS[name]()
    data = data_of(network)
    found, expected = syops_counts(Module(network), data, monkeypatch), ours(network, data)["syops"]
    assert found[0] == pytest.approx(expected.dense)
    # It computes rates in single precision.
    assert found[1] == pytest.approx(expected.accumulates, rel=1e-6)
    assert found[2] == pytest.approx(expected.multiply_accumulates, rel=1e-6)
    assert (expected.accumulates > 0) == ("binary" in name)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_the_recorded_counts_are_those_of_the_tools(name, monkeypatch):
    """``test_conventions.py`` compares them with ours where the tools are not installed."""
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    network = NETWORKS[name]()
    data = data_of(network)
    assert recorded["networks"][name] == {
        "neurobench": neurobench_counts(Module(network), data),
        "syops": list(syops_counts(Module(network), data, monkeypatch)),
    }
    for tool in ("neurobench", "syops"):
        assert metadata.version(tool) == recorded["versions"][tool]


def test_both_tools_on_the_trained_network_itself(monkeypatch):
    """The PyTorch module as it was trained, beside the float network that it was folded into."""
    module = load_checkpoint(FASHION, "ctsn-vgg6", steps=4, form="static").double()
    data = np.random.default_rng(0).normal(size=(2, *module.input_shape))
    network = convert(module, data, steps=4).network
    expected = ours(network, data)
    found = neurobench_counts(module, data)
    exact = neurobench_before_folding(network, data)
    assert found["Dense"] == exact.dense == expected["neurobench"].dense
    # It adds up in single precision.
    assert found["Effective_ACs"] == pytest.approx(exact.accumulates, rel=1e-6)
    assert found["Effective_MACs"] == pytest.approx(exact.multiply_accumulates, rel=1e-6)
    # A batch norm takes two operations per element, a bias one; that of the matrix is counted once
    # per call, which is that of all steps and samples.
    more = 3 * expected["trispike"].neuron_updates + network.readout.classes / len(data)
    total, ac, mac = syops_counts(module, data, monkeypatch)
    assert ac == expected["syops"].accumulates == 0
    assert total == mac == expected["syops"].multiply_accumulates + more
    assert expected["syops"].dense == expected["syops"].multiply_accumulates


def record() -> dict[str, Any]:
    """What ``recorded_tools.json`` holds, from the tools themselves."""
    networks = {}
    for name, build in NETWORKS.items():
        network = build()
        data = data_of(network)
        with pytest.MonkeyPatch.context() as patch:
            syops = list(syops_counts(Module(network), data, patch))
        networks[name] = {"neurobench": neurobench_counts(Module(network), data), "syops": syops}
    return {
        "command": "PYTHONPATH=. .venv-interop/bin/python -m tests.runtime.energy.test_tools",
        "versions": {tool: metadata.version(tool) for tool in ("neurobench", "syops", "torch")},
        "networks": networks,
    }


if __name__ == "__main__":
    RECORDED.write_text(json.dumps(record(), indent=2) + "\n", encoding="utf-8")
