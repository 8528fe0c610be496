"""The real tools: their graphs do here what they do there, and ours do there what they do here.

Random input over 100 steps; every spike is compared. Tools that are not installed are skipped;
``make interop`` brings them all.
"""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest

from trispike.export.nir import conventions, read_network, write_standard
from trispike.network import Connection, Dense, FloatNetwork, Input, Neuron, Population, Readout
from trispike.runtime import ReferenceEngine

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("nirtorch", reason="nirtorch is not installed: make interop")

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs

STEPS, BATCH, INPUTS = 100, 3, 12


def tool(name: str) -> Any:
    return pytest.importorskip(name, reason=f"{name} is not installed: make interop")


def random_input(*shape: int) -> Any:
    """Graded events, positive, half of them zero: (T, N, ...)."""
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(STEPS, BATCH, *shape, generator=generator)
    return values * 2 * (torch.rand(STEPS, BATCH, *shape, generator=generator) < 0.5)


def ours(graph: Any, x: Any, path: Any, **told: Any) -> Any:
    """Spikes of the last population of a tool's graph, (T, N, ...)."""
    nir.write(path, graph, compression=None)  # their scalars cannot be compressed
    network = read_network(path, steps=STEPS, **told)
    result = ReferenceEngine(network).run(x.transpose(0, 1).numpy(), record="all")
    return result.records[network.order[-1]]["s"].swapaxes(0, 1)


def assert_equal(theirs: Any, ours: Any) -> None:
    spikes = theirs.detach().numpy()
    assert 0.01 < spikes.mean() < 0.9
    assert np.array_equal(spikes, ours)


def linear(outputs: int, inputs: int) -> Any:
    layer = torch.nn.Linear(inputs, outputs)
    torch.nn.init.normal_(
        layer.weight, mean=0.1, std=0.4, generator=torch.Generator().manual_seed(inputs)
    )
    torch.nn.init.normal_(layer.bias, std=0.1, generator=torch.Generator().manual_seed(outputs))
    return layer


SNN = {
    "Leaky, zero": ("Leaky", {"reset_mechanism": "zero", "reset_delay": False}, "zero"),
    "Leaky, zero later": ("Leaky", {"reset_mechanism": "zero", "reset_delay": True}, "zero"),
    "Leaky, subtract later": (
        "Leaky",
        {"reset_mechanism": "subtract", "reset_delay": True},
        "subtract-late",
    ),
    "Leaky, none": ("Leaky", {"reset_mechanism": "none"}, "none"),
    "Synaptic, zero": ("Synaptic", {"reset_mechanism": "zero", "reset_delay": False}, "zero"),
}


@pytest.mark.parametrize("name", SNN)
def test_snntorch_imported(name, tmp_path):
    snn = tool("snntorch")
    from snntorch.export_nir import export_to_nir

    kind, settings, reset = SNN[name]

    def neuron(n: int) -> Any:
        decays = {"beta": torch.full((n,), 0.9)}
        if kind == "Synaptic":
            decays["alpha"] = torch.full((n,), 0.5)
        threshold = torch.full((n,), 5.0 if reset == "none" else 1.5)
        return getattr(snn, kind)(**decays, threshold=threshold, init_hidden=True, **settings)

    net = torch.nn.Sequential(linear(20, INPUTS), neuron(20), linear(5, 20), neuron(5))
    graph = export_to_nir(net, torch.rand(1, INPUTS), ignore_dims=[0])
    x = random_input(INPUTS)
    theirs = torch.stack([net(frame) for frame in x])
    told = {"convention": "snntorch", "settings": {"reset": reset}}
    assert_equal(theirs, ours(graph, x, tmp_path / "n.nir", **told))


def test_snntorch_recurrent_imported(tmp_path):
    snn = tool("snntorch")
    from snntorch.export_nir import export_to_nir

    rnn = snn.RLeaky(
        beta=torch.full((20,), 0.8), threshold=torch.full((20,), 1.5), linear_features=20,
        init_hidden=True, reset_mechanism="zero", reset_delay=False,
    )  # fmt: skip
    torch.nn.init.normal_(rnn.recurrent.weight, std=0.3, generator=torch.Generator().manual_seed(1))
    net = torch.nn.Sequential(linear(20, INPUTS), rnn)
    graph = export_to_nir(net, torch.rand(1, INPUTS), ignore_dims=[0])
    x = random_input(INPUTS)
    theirs = torch.stack([net(frame) for frame in x])
    told = {"convention": "snntorch", "settings": {"reset": "zero"}}
    assert_equal(theirs, ours(graph, x, tmp_path / "n.nir", **told))


@pytest.mark.parametrize("name", ["LIFBoxCell", "IAFCell", "LIFCell"])
def test_norse_imported(name, tmp_path):
    norse = tool("norse.torch")
    from norse.torch.functional.lif import LIFParameters
    from norse.torch.functional.lif_box import LIFBoxParameters

    def neuron() -> Any:
        if name == "IAFCell":
            return norse.IAFCell()
        parameters = LIFParameters if name == "LIFCell" else LIFBoxParameters
        return getattr(norse, name)(parameters(v_th=torch.tensor(0.2)))

    net = norse.SequentialState(linear(20, INPUTS), neuron(), linear(5, 20), neuron())
    graph = norse.to_nir(net, torch.rand(INPUTS))
    x = random_input(INPUTS)
    state, theirs = None, []
    for frame in x:
        spikes, state = net(frame, state)
        theirs.append(spikes)
    told = {"convention": "norse-export"}
    assert_equal(torch.stack(theirs), ours(graph, x, tmp_path / "n.nir", **told))


SINABS = {
    "LIF, normalized, soft": (
        {"tau_mem": 10.0, "norm_input": True, "spike_threshold": torch.tensor(0.1)},
        {"reset": "subtract", "gain": "r"},
    ),
    "LIF, hard": (
        {"tau_mem": 10.0, "norm_input": False, "reset": True, "spike_threshold": torch.tensor(1.5)},
        {"reset": "zero", "gain": "one"},
    ),
    "IAF": (
        {"min_v_mem": -1.0},
        {"reset": "subtract", "if_floor": "-threshold"},
    ),
}


@pytest.mark.parametrize("name", SINABS)
def test_sinabs_imported(name, tmp_path):
    tool("sinabs")
    import sinabs.layers as sl
    from sinabs.activation import MembraneReset, SingleSpike
    from sinabs.nir import to_nir

    options, settings = SINABS[name]

    def neuron() -> Any:
        given = {**options, "batch_size": BATCH, "spike_fn": SingleSpike}
        if given.pop("reset", False):
            given["reset_fn"] = MembraneReset()
        return (sl.LIFSqueeze if "tau_mem" in given else sl.IAFSqueeze)(**given)

    net = torch.nn.Sequential(linear(20, INPUTS), neuron(), linear(5, 20), neuron())
    x = random_input(INPUTS)
    flat = x.transpose(0, 1).reshape(-1, INPUTS)
    net(flat)
    graph = to_nir(net, flat)
    for layer in net:
        if hasattr(layer, "reset_states"):
            layer.reset_states()
    theirs = net(flat).reshape(BATCH, STEPS, 5).transpose(0, 1)
    told = {"convention": "sinabs", "settings": settings}
    assert_equal(theirs, ours(graph, x, tmp_path / "n.nir", **told))


SPIKINGJELLY = {
    "LIFNode": {"tau": 2.0, "v_threshold": 0.4},
    "LIFNode, input not decayed": {"tau": 2.0, "decay_input": False, "v_threshold": 1.5},
    "LIFNode, reset below zero": {"tau": 2.0, "v_threshold": 0.4, "v_reset": -0.1},
    "IFNode": {},
    "ParametricLIFNode": {"init_tau": 2.5, "v_threshold": 0.4},
    "CUBALIFNode": {"c_decay": 0.3, "v_decay": 0.5, "v_threshold": 2.0},
}


@pytest.mark.parametrize("name", SPIKINGJELLY)
def test_spikingjelly_imported(name, tmp_path):
    tool("spikingjelly")
    from spikingjelly.activation_based import functional, layer, neuron
    from spikingjelly.activation_based.nir_exchange import export_to_nir

    def spiking() -> Any:
        return getattr(neuron, name.split(",")[0])(**SPIKINGJELLY[name])

    first, second = layer.Linear(INPUTS, 20), layer.Linear(20, 5)
    first.load_state_dict(linear(20, INPUTS).state_dict())
    second.load_state_dict(linear(5, 20).state_dict())
    net = torch.nn.Sequential(first, spiking(), second, spiking())
    graph = export_to_nir(net, torch.rand(1, INPUTS))
    functional.reset_net(net)
    x = random_input(INPUTS)
    theirs = torch.stack([net(frame) for frame in x])
    assert_equal(theirs, ours(graph, x, tmp_path / "n.nir", convention="spikingjelly"))


def test_spikingjelly_convolutions_imported(tmp_path):
    tool("spikingjelly")
    from spikingjelly.activation_based import functional, layer, neuron
    from spikingjelly.activation_based.nir_exchange import export_to_nir

    torch.manual_seed(0)
    net = torch.nn.Sequential(
        layer.Conv2d(2, 4, 3, stride=2, padding=1), neuron.LIFNode(v_threshold=0.2),
        layer.AvgPool2d(2), layer.Conv2d(4, 3, 3, padding=1), neuron.IFNode(v_threshold=0.3),
        layer.Flatten(), layer.Linear(27, 5), neuron.IFNode(v_threshold=0.3),
    )  # fmt: skip
    graph = export_to_nir(net, torch.rand(1, 2, 12, 12))
    functional.reset_net(net)
    x = random_input(2, 12, 12)
    theirs = torch.stack([net(frame) for frame in x])
    assert_equal(theirs, ours(graph, x, tmp_path / "n.nir", convention="spikingjelly"))


def own_network(neuron: Neuron, *, bias: bool) -> FloatNetwork:
    """Two layers whose weights are exact in float32."""
    rng = np.random.default_rng(0)

    def single(values: Any) -> Any:
        return values.astype(np.float32).astype(np.float64)

    def population(n: int) -> Population:
        fields: dict[str, Any] = {**neuron.array_fields(), **neuron.plain_fields()}
        if bias:
            fields["bias"] = single(rng.normal(size=n) * 0.1)
        return Population(shape=(n,), neuron=Neuron(**fields))

    def dense(source: str, target: str, weight: Any) -> Connection:
        return Connection(sources=(source,), target=target, operator=Dense(weight=single(weight)))

    return FloatNetwork(
        input=Input(shape=(INPUTS,), encoding="frames"),
        populations={"a": population(20), "b": population(5)},
        connections=(
            dense("input", "a", rng.normal(size=(20, INPUTS)) * 0.4),
            dense("a", "b", rng.normal(size=(5, 20)) * 0.5),
        ),
        readout=Readout(
            connections=(dense("b", "readout", np.eye(5)),),
            bias=np.zeros(5),
            weights=np.full(STEPS, 1 / STEPS),
        ),
        steps=STEPS,
    )


OWN = {
    "LIF": own_network(Neuron(b_pos=0.875, b_neg=0.875, th_pos=0.75), bias=True),
    "IF": own_network(Neuron(b_pos=1, b_neg=1, th_pos=0.75), bias=True),
    "CubaLIF": own_network(Neuron(b_pos=0.75, b_neg=0.75, k=0.5, th_pos=1.5), bias=False),
}


def in_norse(graph: Any) -> Any:
    return tool("norse.torch").from_nir(graph)


def in_snntorch(graph: Any) -> Any:
    tool("snntorch")
    from snntorch.import_nir import import_from_nir

    return import_from_nir(graph)


def in_spikingjelly(graph: Any) -> Any:
    tool("spikingjelly")
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    return import_from_nir(graph, dtype=torch.float32)


TOOLS = {"norse": in_norse, "snntorch": in_snntorch, "spikingjelly": in_spikingjelly}


@pytest.mark.parametrize("kind", OWN)
@pytest.mark.parametrize("name", TOOLS)
def test_our_graphs_in_their_hands(name, kind, tmp_path):
    if kind in conventions()[name].refused:
        pytest.skip(conventions()[name].refused[kind])
    network = OWN[kind]
    write_standard(network, tmp_path / "n.nir", convention=name)
    module = TOOLS[name](nir.read(tmp_path / "n.nir"))
    x = random_input(INPUTS)
    state, theirs = None, []
    for frame in x:
        spikes, state = module(frame, state)
        theirs.append(spikes)
    result = ReferenceEngine(network).run(x.transpose(0, 1).numpy(), record="all")
    assert_equal(torch.stack(theirs), result.records["b"]["s"].swapaxes(0, 1))
