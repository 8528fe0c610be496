"""Exported graphs in PyTorch: every spike is that of the reference engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.export.nir.test_round_trip import NEURONS, small_float
from tests.networks import CASES, as_float, sample_inputs
from tests.runtime.floats import CASES as FLOAT_CASES
from trispike.errors import UnsupportedError
from trispike.export.nir import read, to_graph, write
from trispike.network import FloatNetwork
from trispike.runtime import ReferenceEngine

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("nirtorch", reason="nirtorch is not installed: pip install nirtorch")

from trispike.export.nir.interpreter import to_torch  # noqa: E402


def assert_equal_in_torch(network: FloatNetwork, path, x: Any) -> None:
    write(network, path)
    module = to_torch(read(path))
    expected = ReferenceEngine(network).run(x, record="all")
    spikes: dict[str, list[Any]] = {name: [] for name in network.populations}
    for name, fired in spikes.items():
        module.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, out, fired=fired: fired.append(out[0].detach().numpy())
        )
    state, logits = None, None
    for t in range(network.steps):
        frame = x[:, t] if network.input.has_frames else x
        logits, state = module(torch.from_numpy(frame), state)
    for name, fired in spikes.items():
        assert np.array_equal(np.stack(fired, axis=1), expected.records[name]["s"]), name
    assert logits is not None
    np.testing.assert_allclose(logits.detach().numpy(), expected.logits, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in FLOAT_CASES if name != "loops"])
def test_networks(name, tmp_path):
    network = FLOAT_CASES[name]()
    assert_equal_in_torch(network, tmp_path / "n.nir", sample_inputs_of(network))


@pytest.mark.parametrize(
    "name", ["silent_windows", "gains", "window_of_ternary_spikes", "wide_gains"]
)
def test_schedules(name, tmp_path):
    network = as_float(CASES[name]())
    assert_equal_in_torch(network, tmp_path / "n.nir", sample_inputs_of(network))


def sample_inputs_of(network: FloatNetwork) -> Any:
    x = sample_inputs(network, 3)
    return np.rint(np.asarray(x, dtype=np.float64) * 16) / 16


@pytest.mark.parametrize("name", NEURONS)
def test_neurons(name, tmp_path):
    network = small_float(NEURONS[name][0])
    x = np.random.default_rng(0).normal(size=(5, 2, 6, 5))
    assert_equal_in_torch(network, tmp_path / "n.nir", x)


def test_it_is_trainable_as_any_module(tmp_path):
    network = small_float(NEURONS["ternary"][0])
    module = to_torch(to_graph(network), dtype=torch.float32)
    assert {p.dtype for p in module.parameters()} == {torch.float32}
    assert module.get_submodule("input->a").weight.requires_grad


def test_what_it_does_not_run():
    with pytest.raises(UnsupportedError, match="graph: got an integer network"):
        to_torch(to_graph(CASES["vectors"]()))
    with pytest.raises(UnsupportedError, match="graph: got a loop through"):
        to_torch(to_graph(FLOAT_CASES["loops"]()))
    graph = to_graph(FLOAT_CASES["frames"]())
    del graph.nodes["readout"]
    with pytest.raises(UnsupportedError, match="graph: got no CTSNInput"):
        to_torch(graph)


def test_more_steps_than_the_network_has():
    network = small_float(NEURONS["LIF"][0])
    module = to_torch(to_graph(network))
    state = None
    for _ in range(network.steps):
        _, state = module(torch.zeros(1, 2, 6, 5, dtype=torch.float64), state)
    with pytest.raises(UnsupportedError, match="readout: got time step 5"):
        module(torch.zeros(1, 2, 6, 5, dtype=torch.float64), state)
