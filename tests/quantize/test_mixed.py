"""Widths under a budget: never above it, never worse than equal widths, or refused."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trispike
from tests.networks import CASES, sample_inputs
from tests.quantize.floats import as_float, one_population
from trispike.errors import InvalidDataError, InvalidSettingError, QuantizationError
from trispike.network import Dense, IntegerNetwork
from trispike.quantize import MemoryBudget, layer_sensitivity, quantize, quantize_to_fit
from trispike.quantize.mixed import _walk
from trispike.quantize.sensitivity import Sensitivity, plain_runner
from trispike.runtime import ReferenceEngine
from trispike.runtime.data import load_digits_split

WIDE = 8


def trained_like(seed: int = 0) -> tuple[Any, Any, Any]:
    """A matrix that decides, and a large one that hardly matters, with labels that follow."""
    rng = np.random.default_rng(seed)
    one = one_population(Dense(weight=rng.normal(0, 0.3, (30, 20))), inputs=(20,), classes=4)
    data = rng.normal(0, 1, (80, 20))
    return one, data, plain_runner(one, data).argmax(axis=1)


def weight_bytes(network: IntegerNetwork) -> int:
    """Bits of every stored weight, packed connection by connection."""
    bits = [(c.bits, np.size(c.operator.weight)) for c in network.all_connections]
    return sum((width * count + 7) // 8 for width, count in bits)


@pytest.mark.parametrize("case", ["pooled_downsample", "recurrent", "groups", "spikes_encoding"])
@pytest.mark.parametrize("part", [0.3, 0.6, 1.0])
def test_a_budget_is_never_exceeded(case, part):
    integer = CASES[case]()
    source, data = as_float(integer, unit=0.01), sample_inputs(integer, 6)
    whole = weight_bytes(quantize(source, data).network)
    limit = int(whole * part)
    quantization, mixed = quantize_to_fit(source, data, budget=MemoryBudget(limit))
    network = quantization.network
    assert weight_bytes(network) == mixed.chosen.cost <= limit
    assert {label: c.bits for label, c in network.labelled()} == mixed.chosen.bits
    assert {r.label: r.bits for r in quantization.record.connections} == mixed.chosen.bits
    if part == 1.0:
        assert set(mixed.chosen.bits.values()) == {WIDE}
        assert mixed.sensitivity == ()
    if mixed.uniform is not None:
        (bits,) = set(mixed.uniform.bits.values())
        assert mixed.uniform.cost <= limit
        assert mixed.chosen.quality.divergence <= mixed.uniform.quality.divergence
        wider = quantize(source, data, weight_bits=min(bits + 1, 8), method="nearest").network
        assert bits == WIDE or weight_bytes(wider) > limit
        alike = quantize(source, data, weight_bits=bits).network
        assert weight_bytes(alike) == mixed.uniform.cost


def test_room_that_is_left_is_used():
    source, data, labels = trained_like()
    quantization, mixed = quantize_to_fit(source, data, labels, budget=MemoryBudget(400))
    cost = weight_bytes(quantization.network)
    for label, c in quantization.network.labelled():
        wider = -(-c.operator.weight.size * (c.bits + 1) // 8) - (
            -(-c.operator.weight.size * c.bits // 8)
        )
        assert c.bits == WIDE or cost + wider > 400, label
    assert mixed.chosen.quality.accuracy == quantization.record.accuracy_integer
    assert mixed.chosen.quality.agreement == quantization.record.prediction_agreement


def test_an_impossible_budget_names_the_nearest_one():
    source, data, _ = trained_like()
    with pytest.raises(QuantizationError) as caught:
        quantize_to_fit(source, data, budget=MemoryBudget(100))
    least = weight_bytes(quantize(source, data, weight_bits=2).network)
    assert str(caught.value) == (
        f"budget 'memory=100': got a network that takes {least} bytes even with 2-bit weights; "
        f"expected at most 100. The smallest budget that can be met is memory={least}."
    )
    found = quantize_to_fit(source, data, budget=MemoryBudget(least))
    assert set(found.mixed.chosen.bits.values()) == {2}


class Nowhere(MemoryBudget):
    """A place that holds nothing."""

    def cost(self, network: IntegerNetwork) -> None:  # type: ignore[override]
        return None


def test_a_network_that_has_no_place_at_all_is_refused():
    source, data, _ = trained_like()
    with pytest.raises(
        QuantizationError, match=r"of which not even one neuron fits.*trispike check"
    ):
        quantize_to_fit(source, data, budget=Nowhere(10**9))


class NonZero(MemoryBudget):
    """What no budget may do: count values."""

    def cost(self, network: IntegerNetwork) -> int:
        return sum(np.count_nonzero(c.operator.weight) for c in network.all_connections)


def test_a_budget_that_counts_values_is_refused():
    source, data, _ = trained_like()
    with pytest.raises(QuantizationError, match="Count stored weights, also those that are 0"):
        quantize_to_fit(source, data, budget=NonZero(500))


# ------------------------------------------------------------------------------------ sensitivity


def test_sensitivity_is_that_of_the_network_with_one_connection_at_few_bits():
    source, data, labels = trained_like()
    found = layer_sensitivity(source, data, labels, weight_bits=(4, 2))
    every = quantize(source, data).network.labels
    assert [(s.label, s.bits) for s in found] == [(n, b) for n in every for b in (4, 2)]
    for entry in found:
        bits = {**dict.fromkeys(every, WIDE), entry.label: entry.bits}
        result = quantize(source, data, labels, weight_bits=bits)
        assert entry.accuracy == result.record.accuracy_integer
        assert entry.agreement == result.record.prediction_agreement
        engine = ReferenceEngine(result.network).run(data)
        p, q = (softmax(x) for x in (
            plain_runner(source, data), engine.logits * result.network.readout.scale
        ))  # fmt: skip
        expected = (p * np.log(p / q)).sum(axis=1).mean()
        assert entry.divergence == pytest.approx(expected, rel=1e-6, abs=1e-12)
        sizes = {label: c.operator.weight.size for label, c in result.network.labelled()}
        assert entry.weights == sizes[entry.label]
    assert found[1].current_sqnr_db < found[0].current_sqnr_db  # type: ignore[operator]


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def test_the_walk_takes_what_costs_least_for_what_it_saves():
    def entry(label: str, bits: int, weights: int, divergence: float) -> Sensitivity:
        return Sensitivity(label=label, bits=bits, weights=weights, accuracy=None, agreement=1.0,
                           divergence=divergence, current_sqnr_db=None)  # fmt: skip

    measured = [
        entry("large", 4, 1000, 0.1), entry("large", 2, 1000, 0.2),
        entry("small", 4, 10, 0.05), entry("small", 2, 10, 0.01),  # by chance
    ]  # fmt: skip
    path = _walk({"large": 8, "small": 8, "identity": 8}, measured, base=0.0)
    assert [tuple(p.values()) for p in path] == [(8, 8, 8), (4, 8, 8), (2, 8, 8), (2, 2, 8)]
    # What 8 bits everywhere cost already is no fault of the fewer bits.
    path = _walk({"large": 8, "small": 8, "identity": 8}, measured, base=0.1)
    assert [tuple(p.values()) for p in path] == [(8, 8, 8), (4, 8, 8), (4, 2, 8), (2, 2, 8)]


def test_every_connection_can_have_bits_of_its_own():
    integer = CASES["shortcut_across_two_convolutions"]()
    source, data = as_float(integer, unit=0.01), sample_inputs(integer, 4)
    labels = quantize(source, data).network.labels
    bits = dict(zip(labels, (3, 5, 2, 8, 7), strict=False))
    result = quantize(source, data, weight_bits=bits)
    for label, c in result.network.labelled():
        assert c.bits == bits[label]
        assert np.abs(c.operator.weight.astype(int)).max() <= 2 ** (bits[label] - 1) - 1
    assert result.record.weight_bits == max(bits.values())
    assert result.network.provenance["quantization"]["weight_bits"] == bits


@pytest.mark.parametrize(
    ("bits", "message"),
    [
        ({"input->a": 4}, r"'weight_bits': got no width for 'a->readout'; expected one for each"),
        ({"input->a": 4, "a->readout": 8, "b->c": 8}, "got a width for 'b->c'"),
        ({"input->a": 1, "a->readout": 8}, r"weight_bits\[input->a\]': got 1; expected 2\.\.8"),
        ({"input->a": 4.0, "a->readout": 8}, r"weight_bits\[input->a\]': got 4\.0"),
    ],
)
def test_widths_that_do_not_fit_the_network_are_refused(bits, message):
    source, data, _ = trained_like()
    with pytest.raises(InvalidSettingError, match=message):
        quantize(source, data, weight_bits=bits)


@pytest.mark.parametrize("bits", [(), (8,), (1,), (4, 9)])
def test_widths_that_no_layer_can_have_are_refused(bits):
    source, data, _ = trained_like()
    with pytest.raises(InvalidSettingError, match=r"'weight_bits': got .*expected 2\.\.7"):
        layer_sensitivity(source, data, weight_bits=bits)


@pytest.mark.parametrize("job", [layer_sensitivity, quantize_to_fit])
def test_bad_calibration_is_refused(job):
    source, data, _ = trained_like()
    more = {} if job is layer_sensitivity else {"budget": MemoryBudget(400)}
    with pytest.raises(InvalidDataError, match=r"got an array of shape \(80, 19\)"):
        job(source, data[:, 1:], **more)
    with pytest.raises(QuantizationError, match="calibration data: got no samples"):
        job(source, data[:0], **more)
    with pytest.raises(InvalidDataError, match="labels"):
        job(source, data, np.full(80, 4), **more)
    counts = dataclasses.replace(source, input=dataclasses.replace(source.input, encoding="spikes"))
    frames = np.full((5, counts.steps, 20), 300)
    with pytest.raises(InvalidDataError, match=r"got values that are not integers in -127\.\.127"):
        job(counts, frames, **more)


def test_identities_keep_their_bits():
    integer = CASES["shortcut_across_two_convolutions"]()
    source, data = as_float(integer, unit=0.01), sample_inputs(integer, 6)
    whole = weight_bytes(quantize(source, data).network)
    found = quantize_to_fit(source, data, budget=MemoryBudget(int(whole * 0.6)))
    assert not any("stem->outer" in entry.label for entry in found.mixed.sensitivity)
    assert {entry.bits for entry in found.mixed.sensitivity} == {6, 4, 3, 2}


@pytest.mark.slow
@pytest.mark.parametrize("limit", [22000, 26000])
def test_a_trained_network_beats_equal_widths_of_the_same_size(limit):
    """The digits of the demo: on images that it was neither trained nor calibrated on."""
    pytest.importorskip("torch")
    path = Path(trispike.__path__[0]) / "demo" / "ctsn_digits.pth"
    module = trispike.load_checkpoint(path, "ctsn-resnet8", steps=4, form="static")
    train, test = load_digits_split()
    source = trispike.convert(module, test[0], steps=4).network
    x, y = train[0][:200], train[1][:200]
    quantization, mixed = quantize_to_fit(source, x, y, budget=MemoryBudget(limit))
    assert weight_bytes(quantization.network) <= limit
    assert mixed.uniform is not None
    (bits,) = set(mixed.uniform.bits.values())
    uniform = quantize(source, x, y, weight_bits=bits).network
    assert weight_bytes(uniform) <= limit
    better, plain = (
        float((plain_runner(network, test[0]).argmax(axis=1) == test[1]).mean())
        for network in (quantization.network, uniform)
    )
    assert better > plain + 0.02
    assert mixed.chosen.quality.divergence < mixed.uniform.quality.divergence / 2
