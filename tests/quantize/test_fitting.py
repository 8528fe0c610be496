"""Moments and fitted weights against the currents themselves, run step by step."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from tests.networks import CASES, sample_inputs
from tests.quantize.floats import as_float, one_population
from trispike.network import Connection, Dense, FloatNetwork, Identity, Neuron
from trispike.network.dynamics import time_steps
from trispike.network.network import PAYLOAD_LIMIT
from trispike.quantize import moments, quantize
from trispike.quantize.fitting import fit
from trispike.quantize.moments import InputMoments, separated
from trispike.quantize.quantize import prepared
from trispike.quantize.quantizer import Quantizer
from trispike.quantize.weights import Scaling

Currents = dict[str, Any]


def source_of(case: str) -> tuple[FloatNetwork, Any]:
    integer = CASES[case]()
    return as_float(integer, unit=0.01), sample_inputs(integer, 9)


def quantizer_of(source: FloatNetwork, data: Any, **settings: Any) -> Quantizer:
    return prepared(source, data, None, **settings)[0]


def currents(quantizer: Quantizer, data: Any, target: str, connections: Any, scales: Any) -> Any:
    """What these connections deliver of the float network's spikes: (T, N, *shape), in its units.

    Args:
        connections: Integer ones, with the scales of the channels; or float ones without.
    """
    network = quantizer.separated
    labels = [label for label, c in network.labelled() if c.target == target]
    shape = network.shape_of(target)
    found = []
    for step in time_steps(network, network.input.encode(data, network.steps)):
        total = np.zeros((len(data), *shape))
        for label, c in zip(labels, connections, strict=True):
            spikes = np.asarray(sum(a.astype(float) for a in step.arrived[label]))
            if network.input.name in c.sources and network.input.encoding != "spikes":
                units = np.rint(spikes / quantizer.input_scale)
                spikes = np.clip(units, -PAYLOAD_LIMIT, PAYLOAD_LIMIT)
            weight = c.operator.weight.astype(float) * 2.0**c.exponent
            operator = (
                Identity(scale=weight)
                if isinstance(c.operator, Identity)
                else dataclasses.replace(c.operator, weight=weight)
            )
            c = dataclasses.replace(c, operator=operator, exponent=0)  # noqa: PLW2901
            total += c.current(spikes).reshape(total.shape)
        found.append(total)
    result = np.array(found)
    if scales is None:
        return result
    per_neuron = np.repeat(scales, shape[0] // len(scales))
    return result * per_neuron.reshape(-1, *[1] * (len(shape) - 1))


def channel_means(values: Any, channels: int) -> Any:
    """(channels,) of (T, N, *shape)."""
    return np.moveaxis(values, 2, 0).reshape(channels, -1).mean(axis=1)


def has_one_shortcut_at_most(quantizer: Quantizer, target: str) -> bool:
    into = quantizer.separated.into(target)
    inexact = [c for c in into if isinstance(c.operator, Identity)]
    return not inexact or len(into) == 1


@pytest.mark.parametrize("case", CASES)
def test_the_errors_are_those_of_the_currents(case):
    """Mean, mean square and signal, as the moments have them, are what a run of it delivers."""
    source, data = source_of(case)
    quantizer = quantizer_of(source, data, method="gptq")
    compared = 0
    for name in (*source.populations, source.readout.name):
        into = quantizer.separated.into(name)
        part = quantizer.part(name, (3,) * len(into))
        assert part.fitted is not None
        scales = part.weights.scales
        got = currents(quantizer, data, name, part.connections, scales)
        # Of the input the units count that the integer network gets.
        exact = currents(quantizer, data, name, quantizer._incoming(name), None)
        mean = channel_means(got - exact, len(scales))
        np.testing.assert_allclose(part.fitted.mean_error, mean, atol=1e-9 * np.abs(exact).max())
        if not has_one_shortcut_at_most(quantizer, name) or not into:
            continue  # errors of identities are taken to be independent of the others
        if len(_blocks(quantizer, name)) > 1:
            continue  # and those of blocks
        importance = quantizer._importance(name, len(scales))
        variance = channel_means((got - exact) ** 2, len(scales)) - mean**2
        noise = float((np.maximum(variance, 0) * importance).sum())
        signal = float((channel_means(exact**2, len(scales)) * importance).sum())
        if part.fitted.sqnr_db is None:
            assert noise <= signal * 1e-12
        else:
            expected = 10 * math.log10(signal / noise)
            assert part.fitted.sqnr_db == pytest.approx(expected, abs=1e-6)
        compared += 1
    assert compared


def _blocks(quantizer: Quantizer, name: str) -> Any:
    return quantizer._moments.of(name).blocks


@pytest.mark.parametrize("bits", [2, 4, 7])
@pytest.mark.parametrize("granularity", ["channel", "layer"])
@pytest.mark.parametrize(
    "case",
    [
        "pooled_downsample",
        "groups",
        "sew_addition",
        "recurrent",
        "shortcut_across_two_convolutions",
        "matrix_into_map",
    ],
)
def test_no_method_is_worse_than_the_one_before_it(case, granularity, bits):
    """By the errors of the currents on calibration, as the moments have them."""
    source, data = source_of(case)
    quantizer = quantizer_of(source, data, granularity=granularity)
    for name in (*source.populations, source.readout.name):
        widths = (bits,) * len(quantizer.separated.into(name))
        channels = len(quantizer.part(name, widths, "nearest").weights.scales)
        importance = quantizer._importance(name, channels)
        errors = []
        for method in ("nearest", "clipped", "gptq"):
            part = quantizer.part(name, widths, method)
            got = currents(quantizer, data, name, part.connections, part.weights.scales)
            exact = currents(quantizer, data, name, quantizer._incoming(name), None)
            errors.append(float((channel_means((got - exact) ** 2, channels) * importance).sum()))
        nearest, clipped, gptq = errors
        slack = 1e-9 + 0.05 * nearest * (len(widths) > 1)  # where errors are taken as independent
        assert clipped <= nearest + slack
        assert gptq <= nearest + slack


def test_there_is_something_to_gain():
    source, data = source_of("groups")
    sqnr = {}
    for method in ("clipped", "gptq"):
        record = quantize(source, data, weight_bits=3, method=method).record
        sqnr[method] = [p.current_sqnr_db or 200 for p in record.populations]
        assert {c.method for c in record.connections} == {method}
        assert all(c.scale_ratio <= 1.3 for c in record.connections)
    assert np.mean(sqnr["gptq"]) > np.mean(sqnr["clipped"]) + 0.3


def test_an_outlier_is_clipped_and_reported():
    weight = np.random.default_rng(0).normal(0, 0.1, (4, 200))
    weight[:, 0] = 1.5
    source = one_population(Dense(weight=weight), inputs=(200,))
    data = np.random.default_rng(1).normal(0, 1, (50, 200))
    first = quantize(source, data, weight_bits=3, method="clipped").record.connections[0]
    assert first.scale_ratio < 0.6
    assert 0.0 < first.weights_clipped < 0.1
    plain = quantize(source, data, weight_bits=3, method="nearest").record.connections[0]
    assert (plain.scale_ratio, plain.weights_clipped) == (1.0, 0.0)


@pytest.mark.parametrize("granularity", ["channel", "layer"])
def test_the_mean_error_goes_into_the_bias(granularity):
    """Inputs that are never negative: every rounding shifts the current."""
    rng = np.random.default_rng(0)
    source = one_population(
        Dense(weight=rng.normal(0, 0.1, (6, 40))), inputs=(40,),
        neuron=Neuron(th_neg=1.0, b_pos=0.5, b_neg=0.5),
    )  # fmt: skip
    data = rng.random((60, 40))
    result = quantize(source, data, weight_bits=3, method="clipped", granularity=granularity)
    neuron: Any = result.network.populations["a"].neuron
    quantizer = quantizer_of(source, data, method="clipped", granularity=granularity)
    connections = result.network.into("a")
    got = currents(quantizer, data, "a", connections, result.scales["a"])
    exact = currents(quantizer, data, "a", quantizer._incoming("a"), None)
    unit = result.scales["a"] / 2.0**neuron.state_shift
    bias = np.broadcast_to(neuron.bias, (6,)) * unit
    np.testing.assert_allclose(bias, -channel_means(got - exact, 6), atol=unit.max())
    assert result.record.populations[0].bias_correction > 0.01
    assert np.abs(bias).max() > 0.01


def test_too_many_inputs_are_not_correlated_and_the_record_says_so(monkeypatch):
    source, data = source_of("pooled_downsample")
    monkeypatch.setattr(moments, "MOST_COLUMNS", 20)
    record = quantize(source, data, weight_bits=3).record
    methods = {c.label: c.method for c in record.connections}
    assert record.method == "gptq"
    assert methods["input->stem"] == "gptq"  # 18 inputs
    assert methods["stem->inner"] == "clipped"  # 36


def test_moments_that_do_not_fit_into_memory_together_are_the_same(monkeypatch):
    source, data = source_of("sew_addition")
    once = quantize(source, data, weight_bits=3)
    monkeypatch.setattr(moments, "MEMORY", 1)
    assert quantize(source, data, weight_bits=3).record == once.record


def test_a_share_of_the_vectors_is_taken_whatever_the_batches(monkeypatch):
    source, data = source_of("pooled_downsample")
    monkeypatch.setattr(moments, "MOST_VECTORS", 50)
    network = separated(source)
    encoded = network.input.encode(data, network.steps)
    taken = [InputMoments(network, encoded, 0.01, batch_size=n).of("inner") for n in (2, 9)]
    assert 25 <= taken[0].vectors <= 50
    assert taken[0].vectors == taken[1].vectors
    for a, b in zip(*(t.blocks for t in taken), strict=True):
        np.testing.assert_array_equal(a.second, b.second)
        np.testing.assert_array_equal(a.first, b.first)


def test_one_sample_and_silence_are_enough():
    source, data = source_of("pooled_downsample")
    for few in (data[:1], np.zeros_like(data[:1])):
        result = quantize(source, few, weight_bits=2)
        assert result.record.samples == 1
    # Where nothing arrives, every weight is rounded to the nearest.
    only = one_population(Dense(weight=np.eye(4) * [0.9, 0.3, 0.2, 0.1]))
    silent = quantize(only, np.zeros((3, 4)), weight_bits=3, method="gptq").network
    np.testing.assert_array_equal(silent.connections[0].operator.weight, 3 * np.eye(4))


def test_connections_of_one_target_make_up_for_each_other():
    """Two matrices that read the same spikes: what one lacks the other gives."""
    a = Dense(weight=np.full((1, 1), 0.9))
    b = Dense(weight=np.full((1, 1), 0.45))
    one = one_population(Identity(scale=1.0), inputs=(1,), neuron=Neuron(th_neg=1.0))
    relay = one.populations["a"]
    source = dataclasses.replace(
        one,
        populations={"a": relay, "b": relay, "c": relay},
        connections=(
            *one.connections,
            Connection(sources=("input",), target="b", operator=Identity(scale=1.0)),
            Connection(sources=("a",), target="c", operator=a),
            Connection(sources=("b",), target="c", operator=b),
        ),
    )
    data = np.array([[2.0], [-2.0], [0.0]])
    quantizer = quantizer_of(source, data, method="gptq")
    (block,) = quantizer._moments.of("c").blocks
    assert block.members == (0, 1)
    assert block.second[0, 0, 1] == block.second[0, 0, 0] > 0
    part = quantizer.part("c", (2, 2))
    unit = part.weights.scales[0]
    total = sum(float(c.operator.weight[0, 0]) * 2**c.exponent * unit for c in part.connections)
    assert total == pytest.approx(1.35, rel=0.02)


def test_fitting_a_target_without_connections_keeps_its_scale():
    scaling = Scaling([], [], np.zeros(2), np.array([0.5, 0.25]), bits=[], per_channel=True)
    empty = moments.Moments(blocks=(), shortcuts={}, vectors=0)
    found = fit(scaling, empty, np.ones(2), "gptq")
    assert found.weights.scales.tolist() == [0.5, 0.25]
    assert found.sqnr_db is None
