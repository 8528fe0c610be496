"""Temporal reversed training: what is reversed, and the three terms by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from trispike.errors import InvalidNetworkError
from trispike.nn import (
    Passes,
    SpikeModel,
    SpikingNeuron,
    both_passes,
    build_model,
    randomize,
    record_rates,
    reversal_consistency,
    reversed_in_time,
    star_loss,
    temporal_reversed_loss,
)
from trispike.nn.models import VGGPlan

PLAN = VGGPlan(layout=(4, "M", 6), global_pool=True)
FIRST, LAST = "model.features.2", "model.features.6"


def model(kind: str = "static", arch: str = "lif-vgg6", steps: int = 4) -> SpikeModel:
    torch.manual_seed(0)
    made = build_model(
        arch, steps=steps, plan=PLAN, input_shape=(1, 8, 8), input_kind=kind, tau=0.5
    )
    randomize(made)
    return made.eval()


def spikes_of(made: SpikeModel, layer: str, x: Tensor) -> Tensor:
    found: list[Tensor] = []
    neuron = made.get_submodule(layer)
    handle = neuron.register_forward_hook(lambda _m, _a, y: found.append(y))
    made(x)
    handle.remove()
    return found[0]


@torch.no_grad()
def test_what_follows_a_layer_sees_its_spikes_backwards():
    made, x = model(), torch.randn(3, 1, 8, 8)
    forwards = spikes_of(made, FIRST, x)
    assert not torch.equal(forwards, forwards.flip(0))
    seen: list[Tensor] = []
    handle = made.get_submodule("model.features.3").register_forward_pre_hook(
        lambda _m, args: seen.append(args[0])
    )
    with reversed_in_time(made, FIRST):
        made(x)
    made(x)
    handle.remove()
    assert torch.equal(seen[0], forwards.flip(0))
    assert torch.equal(seen[1], forwards)  # the hook is gone


@torch.no_grad()
def test_frames_are_reversed_themselves():
    made, x = model("frames"), torch.randn(3, 4, 1, 8, 8)
    passes = both_passes(made, x)
    assert torch.equal(passes.logits, made.forward_steps(x))
    assert torch.equal(passes.reversed_logits, made.forward_steps(x.flip(1)))
    assert torch.equal(passes.rates, spikes_of(made, LAST, x).mean(0))
    assert torch.equal(passes.reversed_rates, spikes_of(made, LAST, x.flip(1)).mean(0))
    with pytest.raises(InvalidNetworkError, match="expected nothing for a model that takes frames"):
        both_passes(made, x, reverse_at=FIRST)


@torch.no_grad()
def test_of_images_the_spikes_of_the_first_layer_are():
    made, x = model(), torch.randn(3, 1, 8, 8)
    passes = both_passes(made, x)
    with reversed_in_time(made, FIRST):
        assert torch.equal(passes.reversed_logits, made.forward_steps(x))
    assert torch.equal(passes.logits, made.forward_steps(x))
    last = both_passes(made, x, reverse_at=LAST, rates_of=FIRST)
    # Behind the last layer the readout only averages: the order of the steps does not matter.
    torch.testing.assert_close(last.reversed_logits.mean(0), last.logits.mean(0))
    assert torch.equal(last.rates, last.reversed_rates)


@torch.no_grad()
def test_a_neuron_with_time_elsewhere_is_reversed_there():
    made = build_model("ctsn-vggsnn-psn", steps=3, input_shape=(2, 16, 16), classes=4).eval()
    first = next(n for n, m in made.named_modules() if isinstance(m, SpikingNeuron))
    randomize(made)
    x = torch.randn(2, 3, 2, 16, 16)
    forwards = spikes_of(made, first, x)
    with record_rates(made, first) as rates, reversed_in_time(made, first):
        backwards = spikes_of(made, first, x)
    assert torch.equal(backwards, forwards.flip(1))
    assert torch.equal(rates[0], forwards.mean(1))


@pytest.mark.parametrize("context", [reversed_in_time, record_rates])
def test_another_layer_is_refused(context):
    with (
        pytest.raises(InvalidNetworkError, match=f"expected one of {FIRST}, {LAST}"),
        context(model(), "model.features.0"),
    ):
        pass


def test_hooks_go_away_after_an_error():
    made = model()

    def fail() -> None:
        with reversed_in_time(made, FIRST), record_rates(made, LAST):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not any(m._forward_hooks for m in made.modules())


@given(seed=st.integers(0, 100), temperature=st.floats(0.1, 10), shift=st.floats(-5, 5))
def test_consistency_is_a_divergence(seed, temperature, shift):
    generator = torch.Generator().manual_seed(seed)
    p, q = torch.randn(2, 3, 5, 4, generator=generator, dtype=torch.float64)
    value = reversal_consistency(p, q, temperature)
    assert value > 0
    torch.testing.assert_close(value, reversal_consistency(q, p, temperature))
    torch.testing.assert_close(value, reversal_consistency(p + shift, q, temperature))
    assert abs(reversal_consistency(p, p.flip(0), temperature)) < 1e-12  # the means are equal


def test_consistency_by_hand():
    p, q = torch.tensor([0.25, 0.75]), torch.tensor([0.5, 0.5])
    there = float((p * (p / q).log()).sum())
    back = float((q * (q / p).log()).sum())
    value = reversal_consistency(2 * p.log()[None], 2 * q.log()[None], 2.0)
    assert float(value) == pytest.approx(4 * (there + back) / 2, rel=1e-5)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_a_temperature_is_positive(temperature):
    with pytest.raises(InvalidNetworkError, match="expected a positive number"):
        reversal_consistency(torch.zeros(1, 2), torch.zeros(1, 2), temperature)


def test_the_loss_is_the_sum_of_its_terms_and_reaches_everything():
    made, x, labels = model().train(), torch.randn(6, 1, 8, 8), torch.arange(6)
    passes = both_passes(made, x)
    head = nn.Linear(passes.rates[0].numel(), 10)
    plain = functional.cross_entropy(passes.logits.mean(0), labels)
    star = star_loss(passes.rates, passes.reversed_rates, labels, head)
    product = (passes.rates * passes.reversed_rates).flatten(1)
    assert torch.equal(star, functional.cross_entropy(head(product), labels))
    pairs = (passes.logits, passes.reversed_logits)
    expected = plain + 0.3 * reversal_consistency(*pairs, 3.0) + 0.7 * star
    settings = {"consistency": 0.3, "star": 0.7, "temperature": 3.0}
    loss = temporal_reversed_loss(passes, labels, head, **settings)
    torch.testing.assert_close(loss, expected)
    without = temporal_reversed_loss(passes, labels, **settings)
    torch.testing.assert_close(without, expected - 0.7 * star)
    parameters = [*made.parameters(), *head.parameters()]
    gradients = torch.autograd.grad(loss, parameters)
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
    assert all(float(gradient.abs().sum()) > 0 for gradient in gradients[-2:])
    assert isinstance(passes, Passes)
