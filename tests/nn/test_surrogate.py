"""Surrogate gradients by hand-computed values."""

import math

import pytest
import torch

from trispike.nn import CTSN, LIF, SURROGATES
from trispike.nn.surrogate import DEFAULT_SURROGATE, fire

POTENTIALS = [-2.0, -1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 2.0]


def gradient(
    name: str, values: list[float], threshold: float = 0.5, ternary: bool = True
) -> list[float]:
    v = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    spikes = fire(v, threshold, ternary, False, SURROGATES[name])
    (values_of_gradient,) = torch.autograd.grad(spikes.sum(), v)
    return [float(value) for value in values_of_gradient]


@pytest.mark.parametrize("name", SURROGATES)
def test_the_forward_pass_is_exact_whatever_the_surrogate(name):
    v = torch.tensor(POTENTIALS)
    surrogate = SURROGATES[name]
    assert fire(v, 0.5, True, False, surrogate).tolist() == [-1, -1, -1, -1, 0, 0, 0, 1, 1, 1, 1]
    assert fire(v, 0.5, True, True, surrogate).tolist() == [-1, -1, -1, 0, 0, 0, 0, 0, 1, 1, 1]
    assert fire(v, 0.5, False, False, surrogate).tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize("threshold", [0.25, 0.5, 0.8])
def test_the_default_is_the_gradient_of_the_published_clamp(threshold):
    v = torch.linspace(-3, 3, 241, dtype=torch.float64, requires_grad=True)
    bound = 2 * threshold
    (expected,) = torch.autograd.grad(torch.clamp(v / bound, -bound, bound).sum(), v)
    assert gradient(DEFAULT_SURROGATE, v.tolist(), threshold) == expected.tolist()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("straight_through", [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]),
        ("rectangle", [0, 0, 2, 2, 2, 0, 2, 2, 2, 0, 0]),
        ("triangle", [0, 0, 1, 2, 1, 0, 1, 2, 1, 0, 0]),
    ],
)
def test_values_of_a_ternary_neuron(name, expected):
    assert gradient(name, POTENTIALS) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("straight_through", [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0]),
        ("rectangle", [0, 0, 0, 0, 0, 0, 2, 2, 2, 0, 0]),
        ("triangle", [0, 0, 0, 0, 0, 0, 1, 2, 1, 0, 0]),
    ],
)
def test_values_of_a_binary_neuron(name, expected):
    assert gradient(name, POTENTIALS, ternary=False) == expected


def test_values_of_the_smooth_ones():
    # One threshold above the threshold: z = 1.
    assert gradient("atan", [1.0]) == pytest.approx([2 / (1 + math.pi**2)])
    y = 1 / (1 + math.exp(-4))
    assert gradient("sigmoid", [1.0]) == pytest.approx([2 * 4 * y * (1 - y)])


@pytest.mark.parametrize("name", ["rectangle", "triangle", "atan", "sigmoid"])
def test_a_surrogate_of_one_step_integrates_to_one(name):
    v = torch.linspace(-200, 200, 400001, dtype=torch.float64)
    area = SURROGATES[name](v, 0.5, False).sum().item() * 1e-3
    assert area == pytest.approx(1, abs=5e-3)  # the tails of atan beyond the interval


def test_gradients_pass_through_the_reset_as_published():
    """v1 = x1 + b*v0*(1-|s0|), so ds1/dx0 holds b*((1-|s0|) - v0*sign(s0)*ds0/dv0)."""
    neuron = LIF(0.5, 0.25, ternary=True).double()
    x = torch.tensor([[0.75], [0.1]], dtype=torch.float64, requires_grad=True)
    spikes, v = neuron.dynamics(x)
    assert spikes.tolist() == [[1], [0]]
    (dx,) = torch.autograd.grad(spikes[1].sum(), x)
    assert dx.flatten().tolist() == [0.25 * (0 - 0.75), 1.0]
    assert v.flatten().tolist() == [0.75, 0.1]


def test_a_neuron_uses_the_surrogate_of_its_name():
    x = torch.full((1, 1), 2.0, requires_grad=True)
    (dx,) = torch.autograd.grad(CTSN(surrogate="atan")(x).sum(), x)
    assert dx.item() > 0  # the straight-through window has ended at 1
