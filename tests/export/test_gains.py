"""Gains per time step, gains of a neuron's input, shared initial potentials, and chosen steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import trispike
from tests.export.modules import Constant, Net, T, images, net, read, repeated, unmerged
from tests.export.oracle import assert_equal_but_for_rounding
from trispike.errors import InvalidSettingError, UnsupportedError
from trispike.network import Neuron
from trispike.nn import LIF
from trispike.nn.imp import IMPNeuron


def current(s: Any, x: torch.Tensor) -> torch.Tensor:
    """Convolution and batch norm of every step, (T, N, C, H, W), before any neuron."""
    return unmerged(s.norm(s.conv(repeated(x).flatten(0, 1))))


def gained(forward: Any = None, **children: Any) -> Net:
    torch.manual_seed(0)
    parts = {"conv": nn.Conv2d(1, 3, 3, padding=1), "norm": nn.BatchNorm2d(3)} | children
    module = net(forward or (lambda s, x: read(s, s.fire(current(s, x) * s.te.value))), **parts)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.startswith("norm"):
                parameter.uniform_(0.3, 1.2)
            elif name.endswith("value") and float(parameter.std()) > 0:
                parameter.uniform_(0.4, 1.6)
    module.eval()
    return module


def parts(**more: Any) -> dict[str, Any]:
    return {"fire": LIF(0.4, 0.5), "te": Constant(T, 1, 1, 1, 1)} | more


def assert_runs_alike(module: nn.Module, **settings: Any) -> trispike.Conversion:
    data = images()
    conversion = trispike.convert(module, data, steps=T, **settings)
    assert conversion.proof.spike_mismatches == 0
    assert conversion.proof.spikes_fired > 20
    with torch.no_grad():
        logits = module.double()(torch.from_numpy(data).double()).numpy()
    if logits.ndim == 2:
        assert_equal_but_for_rounding(
            trispike.simulate(conversion.network, data, engine="reference").logits, logits
        )
    return conversion


def test_a_gain_per_step_becomes_one_of_the_population():
    module = gained(**parts())
    (population,) = assert_runs_alike(module).network.populations.values()
    expected = module.te.value.detach().double().reshape(-1).tolist()
    assert population.neuron.gains == pytest.approx(tuple(expected))


def test_gains_multiply_and_constant_ones_go_into_the_weights():
    te = Constant(T, 1, 1, 1, 1)
    te.value.data.fill_(0.7)
    (population,) = assert_runs_alike(gained(**parts(te=te))).network.populations.values()
    assert population.neuron.gains == ()
    twice = gained(
        lambda s, x: read(s, s.fire(-(-current(s, x) * s.te.value) / s.a.value * 2)),
        **parts(a=Constant(T, 1, 1, 1, 1)),
    )
    (population,) = assert_runs_alike(twice).network.populations.values()
    expected = (twice.te.value / twice.a.value).double().reshape(-1).tolist()
    assert population.neuron.gains == pytest.approx(tuple(expected), rel=1e-6)


def test_signals_of_the_same_gains_add_up():
    def forward(s: Any, x: torch.Tensor) -> torch.Tensor:
        a, b = (conv(repeated(x).flatten(0, 1)) for conv in (s.conv, s.other))
        return read(s, s.fire(unmerged(a) * s.te.value + unmerged(b) * s.te.value))

    module = gained(forward, **parts(other=nn.Conv2d(1, 3, 3, padding=1)))
    assert_runs_alike(module)


def test_a_sum_over_time_makes_them_weights_of_the_readout():
    def forward(s: Any, x: torch.Tensor) -> torch.Tensor:
        return s.fc((s.fire(current(s, x)).flatten(2) * s.te.value[..., 0, 0]).sum(0))

    module = gained(forward, **parts())
    network = assert_runs_alike(module).network
    np.testing.assert_allclose(
        network.readout.weights, module.te.value.detach().double().reshape(-1)
    )


def test_logits_may_have_gains():
    def forward(s: Any, x: torch.Tensor) -> torch.Tensor:
        return s.fc(s.fire(current(s, x)).flatten(2)) * s.te.value[..., 0, 0]

    module = gained(forward, **parts())
    network = assert_runs_alike(module, readout=(0, 2)).network
    weights = module.te.value.detach().double().reshape(-1).numpy() * [0.5, 0, 0.5, 0]
    np.testing.assert_allclose(network.readout.weights, weights)


def test_gains_do_not_go_with_a_bias_of_the_neuron():
    class Biased(LIF):
        def to_neuron(self) -> Any:
            return Neuron(bias=0.5)

    with pytest.raises(UnsupportedError, match="before a neuron that has a bias"):
        trispike.convert(gained(**parts(fire=Biased())), images(), steps=T)


@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize("shape", [(1, 3, 6, 5), (1, 3, 1, 1), (1, 1, 6, 5), (1, 1, 1, 1)])
def test_initial_potentials_of_every_shape_and_a_gain_of_the_input(shape, reset):
    torch.manual_seed(1)
    fire = IMPNeuron(shape, leak=0.5, reset=reset)
    nn.init.uniform_(fire.init_state, -0.5, 0.9)
    module = gained(lambda s, x: read(s, s.fire(2 * current(s, x))), fire=fire)
    (population,) = assert_runs_alike(module).network.populations.values()
    wanted = np.broadcast_to(fire.init_state.detach().numpy()[0], (3, 6, 5))
    np.testing.assert_allclose(np.broadcast_to(population.neuron.v_init, (3, 6, 5)), wanted)
    assert population.neuron.v_init.shape in ((3, 6, 5), (3, 1, 1), (1, 1, 1))
    assert (float(population.neuron.b_pos), float(population.neuron.th_pos)) == (0.5, 1.0)


@pytest.mark.parametrize(
    ("readout", "weights"),
    [("mean", [0.25] * 4), ("last", [0, 0, 0, 1]), ((3, 1), [0, 0.5, 0, 0.5]), ("2", [0, 0, 1, 0])],
)
def test_which_steps_are_read(readout, weights):
    module = gained(
        lambda s, x: s.fc(s.fire(current(s, x)).flatten(2)),
        **parts(),
    )
    network = assert_runs_alike(module, readout=readout).network
    assert network.readout.weights.tolist() == weights
    with torch.no_grad():
        steps = module.double()(torch.from_numpy(images()).double()).numpy()
    logits = trispike.simulate(network, images(), engine="reference").logits
    np.testing.assert_allclose(logits, np.tensordot(weights, steps, (0, 0)), atol=1e-9)


@pytest.mark.parametrize("readout", ["4", "0,4", (-1,), "", (), "1,1", "first", (0.5,)])
def test_steps_that_are_none(readout):
    module = gained(lambda s, x: s.fc(s.fire(current(s, x)).flatten(2)), **parts())
    with pytest.raises(InvalidSettingError, match=r"different time steps out of 0\.\.3"):
        trispike.convert(module, images(), steps=T, readout=readout)


def test_a_module_that_averages_by_itself_takes_no_readout():
    with pytest.raises(InvalidSettingError, match="returns one vector of logits"):
        trispike.convert(gained(**parts()), images(), steps=T, readout="last")
