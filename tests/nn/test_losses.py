"""Losses by hand-computed numbers."""

import math

import pytest
import torch
from torch import nn

from trispike.errors import InvalidNetworkError
from trispike.nn import (
    CTSN,
    ComplementaryTernarySpike,
    build_model,
    cross_entropy,
    membrane_regularization,
    record_potentials,
    temporal_efficient_loss,
    tmpr_loss,
)


def test_tmpr_by_hand():
    first = torch.tensor([[[1.0, -1.0]], [[2.0, 0.0]]])  # T = 2: mean squares 1 and 2
    second = torch.tensor([[[3.0]], [[4.0]]])  # 9 and 16
    # (1/(2*2)) * ((1/1 + 2/2) + (9/1 + 16/2)) = (2 + 17)/4
    assert membrane_regularization([first, second]).item() == pytest.approx(4.75)
    logits, labels = torch.zeros(1, 2), torch.tensor([0])
    loss = tmpr_loss(logits, labels, [first, second], weight=0.1)
    assert loss.item() == pytest.approx(math.log(2) + 0.475)
    assert tmpr_loss(logits, labels, [first, second]).item() == pytest.approx(
        math.log(2) + 0.05 * 4.75
    )


def test_cross_entropy_averages_logits_over_time():
    steps = torch.tensor([[[4.0, 0.0]], [[0.0, 2.0]]])
    labels = torch.tensor([1])
    expected = math.log(1 + math.exp(2.0 - 1.0))
    assert cross_entropy(steps, labels).item() == pytest.approx(expected)
    assert cross_entropy(steps.mean(0), labels).item() == pytest.approx(expected)


def test_tet_by_hand():
    """Two steps, one sample, two classes; written out from the equation."""
    logits = torch.tensor([[[2.0, 0.0]], [[0.0, 1.0]]], requires_grad=True)
    entropy = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1))) / 2
    pull = (1 + 1 + 1 + 0) / 4
    loss = temporal_efficient_loss(logits, torch.tensor([0]), weight=0.25)
    assert loss.item() == pytest.approx(0.75 * entropy + 0.25 * pull)
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert (logits.grad[0] != logits.grad[1]).any()  # each step learns from its own mistake


def test_tet_wants_logits_at_every_step():
    with pytest.raises(InvalidNetworkError, match="forward_steps"):
        temporal_efficient_loss(torch.zeros(3, 10), torch.zeros(3, dtype=torch.int64))


def test_potentials_are_recorded_with_gradients_and_hooks_go_away():
    model = build_model("ctsn-resnet8", steps=2)
    x = torch.rand(2, 1, 8, 8)
    with record_potentials(model) as potentials:
        model(x)
    names = [name for name, module in model.named_modules() if isinstance(module, CTSN)]
    assert list(potentials) == names
    assert len(names) == 7
    assert all(v.shape[:2] == (2, 2) and v.requires_grad for v in potentials.values())
    kept = dict(potentials)
    model(x)
    assert all(potentials[name] is kept[name] for name in names)

    first = dict(model.named_parameters())["model.conv1.pool.weight"]
    (gradient,) = torch.autograd.grad(membrane_regularization(kept.values()), first)
    assert float(gradient.abs().sum()) > 0


def test_hooks_go_away_after_an_error():
    neuron = CTSN()

    def fail() -> None:
        with record_potentials(neuron):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not neuron._potential_hooks


def test_potentials_have_time_first_wherever_the_neuron_has_it():
    model = nn.Sequential(ComplementaryTernarySpike())
    with record_potentials(model) as potentials:
        model(torch.zeros(5, 3, 7))
    assert potentials["0"].shape == (3, 5, 7)


def test_a_loss_without_potentials_says_how_to_record_them():
    with pytest.raises(InvalidNetworkError, match="record_potentials"):
        tmpr_loss(torch.zeros(1, 2), torch.tensor([0]), [])
