"""Every neuron against its equations, written out again in plain Python, and its deployed form."""

import copy
import math
import operator
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from trispike.errors import InvalidNetworkError
from trispike.network import Neuron
from trispike.nn import CTSN, LIF, ComplementaryTernarySpike, SpikingNeuron, TernarySpike

STEPS = 12

Trace: TypeAlias = list[float]
Expected: TypeAlias = tuple[list[int], list[float]]


def inputs(seed: int = 0, shape: tuple[int, ...] = (2, 3, 4, 4), steps: int = STEPS) -> Tensor:
    """(T, N, C, H, W) in float64, scaled so that all three kinds of spikes occur often."""
    generator = torch.Generator().manual_seed(seed)
    return 0.6 * torch.randn(steps, *shape, generator=generator, dtype=torch.float64)


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def set_parameters(neuron: Any, alpha: float, beta: float, gamma: float) -> Any:
    with torch.no_grad():
        neuron.alpha.fill_(alpha)
        neuron.beta.fill_(beta)
        neuron.gamma.fill_(gamma)
    return neuron


def ctsn_by_hand(
    trace: Trace, form: str, threshold: float, tau: float, alpha: float, beta: float, gamma: float
) -> Expected:
    """One CTSN neuron as published: u = tau*v*(1-|o|), h the complement, fires at 0.5 of 2*V_th."""
    u_after, h = 0.0, 0.0
    spikes, potentials = [], []
    for x in trace:
        u = tau * u_after
        if form == "static":
            kept = sigmoid(alpha) * max(h, 0.0) + sigmoid(beta) * min(h, 0.0)
            h = kept + sigmoid(gamma) * u
        else:
            shed = sigmoid(beta) * max(u, 0.0) + sigmoid(gamma) * min(u, 0.0)
            h = sigmoid(alpha) * h + shed
        v = h + x
        normalized = v / (2 * threshold)
        o = 0 if abs(normalized) < 0.5 else int(math.copysign(1, normalized))
        u_after = v * (1 - abs(o))
        spikes.append(o)
        potentials.append(v)
    return spikes, potentials


def lif_by_hand(trace: Trace, neuron: LIF) -> Expected:
    i, v, fired = 0.0, neuron.v_init, False
    spikes, potentials = [], []
    for x in trace:
        i = neuron.current_retention * i + x
        v = neuron.leak * v + i
        over = operator.gt if neuron.strict else operator.ge
        below = neuron.ternary and over(-v, neuron.v_threshold)
        s = 1 if over(v, neuron.v_threshold) else -1 if below else 0
        if neuron.fire_once and fired:
            s = 0
        fired = fired or s != 0
        spikes.append(s)
        potentials.append(v)
        if neuron.reset == "zero" and s != 0:
            v = 0.0
        elif neuron.reset == "subtract":
            v -= s * neuron.v_threshold
    return spikes, potentials


def assert_by_hand(neuron: SpikingNeuron, by_hand: Callable[[Trace], Expected], x: Tensor) -> None:
    spikes, potentials = neuron.double().dynamics(x)
    columns = x.flatten(1).T.tolist()
    expected = [by_hand(column) for column in columns]
    np.testing.assert_array_equal(spikes.detach().flatten(1).T.numpy(), [s for s, _ in expected])
    # Sums in another order differ in the last bits of numbers of order 1.
    np.testing.assert_allclose(
        potentials.detach().flatten(1).T.numpy(), [v for _, v in expected], rtol=0, atol=1e-13
    )
    assert set(np.unique(spikes.detach().numpy())) == ({-1, 0, 1} if neuron.ternary else {0, 1})


def assert_deployed(module: SpikingNeuron, x: Tensor) -> None:
    """Module in float64 and ``Neuron.step``: spikes and potentials equal, bit for bit."""
    spikes, potentials = copy.deepcopy(module).double().dynamics(x)
    spikes, potentials = (y.detach().movedim(module.time_axis, 0) for y in (spikes, potentials))
    neuron = module.to_neuron()
    frames = x.movedim(module.time_axis, 0).numpy()
    state = neuron.initial_state(frames.shape[1], frames.shape[2:])
    for t, frame in enumerate(frames):
        step = neuron.step(state, frame, t)
        np.testing.assert_array_equal(step.spikes, spikes[t].numpy())
        np.testing.assert_array_equal(step.v, potentials[t].numpy())
        state = step.state


@pytest.mark.parametrize("form", ["static", "dynamic"])
@pytest.mark.parametrize(
    ("threshold", "tau", "parameters"),
    [(0.5, 0.25, (0.0, 0.0, 0.0)), (0.5, 1.0, (1.2, -0.7, 2.0)), (0.8, 0.6, (-1.0, 2.5, 0.3))],
)
def test_ctsn_follows_the_published_equations(form, threshold, tau, parameters):
    neuron = set_parameters(CTSN(form, threshold, tau).double(), *parameters)
    assert_by_hand(neuron, lambda x: ctsn_by_hand(x, form, threshold, tau, *parameters), inputs())
    assert_deployed(neuron, inputs(1))


def test_ctsn_states_its_deployed_parameters():
    neuron = set_parameters(CTSN("static"), 1.0, 2.0, 3.0).to_neuron()
    assert float(neuron.a_pos) == pytest.approx(sigmoid(1.0), abs=1e-15)
    assert float(neuron.a_neg) == pytest.approx(sigmoid(2.0), abs=1e-15)
    assert float(neuron.b_pos) == float(neuron.b_neg) == pytest.approx(sigmoid(3.0) / 4, abs=1e-15)
    assert float(neuron.th_pos) == float(neuron.th_neg) == 0.5
    assert (neuron.reset, neuron.strict, neuron.fire_once) == ("zero", False, False)

    neuron = set_parameters(CTSN("dynamic", tau=0.5), 1.0, 2.0, 3.0).to_neuron()
    assert float(neuron.a_pos) == float(neuron.a_neg) == pytest.approx(sigmoid(1.0), abs=1e-15)
    assert float(neuron.b_pos) == pytest.approx(sigmoid(2.0) / 2, abs=1e-15)
    assert float(neuron.b_neg) == pytest.approx(sigmoid(3.0) / 2, abs=1e-15)


def test_float32_parameters_are_evaluated_in_float64():
    neuron = set_parameters(CTSN(), 0.1, 0.2, 0.3)
    exact = 1 / (1 + np.exp(-np.float64(np.float32(0.1))))
    assert float(neuron.to_neuron().a_pos) == pytest.approx(exact, abs=1e-16)
    assert neuron.alpha.dtype == torch.float32


def test_fresh_ctsn_has_scalar_parameters_at_zero():
    shapes = {key: (value.shape, value.item()) for key, value in CTSN().state_dict().items()}
    assert shapes == {"alpha": ((), 0.0), "beta": ((), 0.0), "gamma": ((), 0.0)}


@pytest.mark.parametrize("neuron", [CTSN(), CTSN("dynamic"), TernarySpike(), LIF(0.5)])
def test_the_threshold_is_inclusive(neuron):
    x = torch.tensor([[0.5], [-0.5]], dtype=torch.float64)
    assert neuron.double()(x)[0].item() == 1
    below = math.nextafter(0.5, 0)
    assert neuron(torch.tensor([[below]], dtype=torch.float64)).item() == 0


@pytest.mark.parametrize("amplitude", [None, "layer", "channel"])
def test_ternary_spike(amplitude):
    neuron = TernarySpike(amplitude=amplitude, channels=3).double()

    def by_hand(trace):
        m = 0.0
        spikes: list[int] = []
        potentials = []
        for x in trace:
            m = 0.25 * m + x
            spikes.append(0 if abs(m) < 0.5 else int(math.copysign(1, m)))
            potentials.append(m)
            m *= 1 - abs(spikes[-1])
        return spikes, potentials

    assert_by_hand(neuron, by_hand, inputs())
    assert_deployed(neuron, inputs(1))


def test_amplitude_scales_the_output_and_not_the_reset():
    x = inputs()
    layer = TernarySpike(amplitude="layer").double()
    channel = TernarySpike(amplitude="channel", channels=3).double()
    with torch.no_grad():
        layer.state_dict()["fire_ratio"].fill_(1.5)
        ratios = torch.tensor([0.5, 1.0, -2.0])
        channel.state_dict()["fire_ratio"].copy_(ratios.view(1, 3, 1, 1))
    spikes = TernarySpike()(x)
    assert torch.equal(layer(x), 1.5 * spikes)
    assert torch.equal(channel(x), spikes * torch.tensor([0.5, 1.0, -2.0]).view(3, 1, 1))
    assert layer.spike_amplitude().shape == ()
    assert layer.spike_amplitude() == 1.5
    np.testing.assert_array_equal(
        channel.spike_amplitude(), np.array([0.5, 1.0, -2.0]).reshape(3, 1, 1)
    )
    assert channel.spike_amplitude().dtype == np.float64
    assert TernarySpike().spike_amplitude() == CTSN().spike_amplitude() == 1.0
    assert [tuple(n.state_dict()["fire_ratio"].shape) for n in (layer, channel)] == [
        (),
        (1, 3, 1, 1),
    ]


LIFS = {
    "binary": LIF(1.0, 0.5),
    "integrate-and-fire": LIF(1.0, 1.0, reset="subtract"),
    "ternary": LIF(0.7, 0.9, ternary=True),
    "soft reset": LIF(0.7, 0.9, ternary=True, reset="subtract"),
    "no reset": LIF(0.7, 0.5, ternary=True, reset="none"),
    "current": LIF(1.0, 0.8, current_retention=0.5),
    "strict": LIF(0.5, 0.5, strict=True, ternary=True),
    "v_init": LIF(1.0, 0.9, v_init=0.6),
    "fire_once": LIF(0.5, 1.0, ternary=True, fire_once=True),
}


@pytest.mark.parametrize("name", LIFS)
def test_lif(name):
    neuron = LIFS[name]
    assert_by_hand(neuron, lambda x: lif_by_hand(x, neuron), inputs())
    assert_deployed(neuron, inputs(1))


@given(
    leak=st.floats(0, 1),
    retention=st.floats(0, 1),
    threshold=st.floats(0.1, 2),
    v_init=st.floats(-1, 1),
    reset=st.sampled_from(["zero", "subtract", "none"]),
    ternary=st.booleans(),
    strict=st.booleans(),
    fire_once=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_lif_equals_its_deployed_neuron(leak, retention, threshold, v_init, seed, **settings):
    neuron = LIF(threshold, leak, current_retention=retention, v_init=v_init, **settings)
    assert_deployed(neuron, inputs(seed, shape=(1, 5), steps=6))


def test_to_neuron_sets_every_field_of_the_deployed_neuron():
    neuron = LIF(
        1.5,
        0.5,
        current_retention=0.25,
        strict=True,
        v_init=0.125,
        fire_once=True,
        reset="subtract",
    ).to_neuron()
    assert neuron.equals(
        Neuron(
            b_pos=0.5, b_neg=0.5, k=0.25, th_pos=1.5, th_neg=np.inf, v_init=0.125,
            reset="subtract", strict=True, fire_once=True,
        )
    )  # fmt: skip


def test_the_psn_variant_is_the_dynamic_form_with_time_second():
    x = inputs()
    ours = set_parameters(CTSN("dynamic", 0.5).double(), 0.5, -0.5, 1.0)
    theirs = set_parameters(ComplementaryTernarySpike(1.0).double(), 0.5, -0.5, 1.0)
    assert theirs.time_axis == 1
    assert torch.equal(theirs(x.transpose(0, 1)).transpose(0, 1), ours(x))
    assert theirs.to_neuron().equals(ours.to_neuron())
    assert_deployed(theirs, x.transpose(0, 1))


@pytest.mark.parametrize("neuron", [CTSN(), TernarySpike(amplitude="layer"), LIF()])
def test_no_state_outlives_a_call_and_steps_are_causal(neuron):
    x = inputs(steps=4)
    first, again = neuron(x), neuron(x)
    assert torch.equal(first, again)
    assert torch.equal(neuron(x[:2]), first[:2])
    assert torch.equal(neuron(x[:, 1:]), first[:, 1:])


@pytest.mark.parametrize("form", ["static", "dynamic"])
def test_every_parameter_of_ctsn_is_trained(form):
    neuron = CTSN(form).train()
    x = inputs().float().requires_grad_()
    gradients = torch.autograd.grad(neuron(x).square().sum(), (*neuron.parameters(), x))
    assert len(gradients) == 4
    for gradient in gradients:
        assert bool(torch.isfinite(gradient).all())
        assert float(gradient.abs().sum()) > 0


def test_amplitudes_are_trained():
    neuron = TernarySpike(amplitude="channel", channels=3)
    (gradient,) = torch.autograd.grad(neuron(inputs().float()).sum(), list(neuron.parameters()))
    assert gradient.shape == (1, 3, 1, 1)
    assert float(gradient.abs().sum()) > 0


def test_copies_and_conversions_keep_the_settings():
    neuron = set_parameters(CTSN("dynamic", 0.7, 0.3), 1.0, 2.0, 3.0)
    copied = copy.deepcopy(neuron).double()
    assert copied.to_neuron().equals(neuron.to_neuron())
    assert neuron.alpha.dtype == torch.float32


def test_training_and_evaluation_agree():
    neuron, x = CTSN(), inputs()
    assert torch.equal(neuron.train()(x), neuron.eval()(x))


def test_potential_hooks_see_every_pass_until_removed():
    neuron, seen = CTSN(), []
    handle = neuron.register_potential_hook(lambda module, v: seen.append((module, v)))
    x = inputs()
    neuron(x)
    handle.remove()
    neuron(x)
    assert len(seen) == 1
    assert seen[0][0] is neuron
    assert torch.equal(seen[0][1], neuron.dynamics(x)[1])


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: CTSN(v_threshold=0.0), "v_threshold: got 0.0; expected a positive number"),
        (lambda: CTSN(v_threshold=math.inf), "v_threshold: got inf"),
        (lambda: CTSN(v_threshold=math.nan), "v_threshold: got nan"),
        (lambda: CTSN(tau=math.nan), "tau: got nan; expected a finite number"),
        (lambda: CTSN(form="dvs"), "form: got 'dvs'; expected one of static, dynamic"),
        (lambda: LIF(reset="hard"), "reset: got 'hard'; expected one of zero, subtract, none"),
        (lambda: LIF(leak=math.inf), "leak: got inf"),
        (lambda: LIF(surrogate="relu"), "surrogate: got 'relu'; expected one of straight_through"),
        (lambda: TernarySpike(amplitude="pixel"), "amplitude: got 'pixel'"),
        (lambda: TernarySpike(amplitude="channel"), "Pass channels=C"),
    ],
)
def test_bad_arguments_are_named(make, text):
    with pytest.raises(InvalidNetworkError, match=text):
        make()
