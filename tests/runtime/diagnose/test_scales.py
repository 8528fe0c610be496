"""Scales read off two networks are those that the quantizer chose."""

import math

import numpy as np
import pytest

from tests.networks import CASES, sample_inputs
from tests.quantize.floats import as_float, one_population
from tests.runtime.diagnose.pairs import (
    float_network,
    float_weights,
    integer_network,
    scales_of,
)
from trispike.network import Connection, Dense, Identity, Neuron
from trispike.network.fixed_point import never
from trispike.quantize import quantize
from trispike.runtime.diagnose.scales import (
    channels_of,
    pairs_into,
    population_scales,
    readout_scales,
    sqnr_db,
    weight_loss,
)

TOLERANCE = 2e-3
"""A threshold of ten bits is rounded by up to a two-thousandth."""


@pytest.mark.parametrize("bits", [8, 3])
@pytest.mark.parametrize("name", CASES)
def test_scales_are_those_of_the_quantizer(name, bits):
    case = CASES[name]()
    source = as_float(case, unit=0.01)
    made = quantize(source, sample_inputs(case, 4), weight_bits=bits)
    for target in (*source.order, source.readout.name):
        pairs = pairs_into(source, made.network, target)
        assert [p.label for p in pairs] == [
            label for label, c in made.network.labelled() if c.target == target
        ]
        if target == source.readout.name:
            found = readout_scales(source, made.network)
        else:
            found = population_scales(source, made.network, target, pairs)
            assert np.isin(found.threshold_factor, (1.0, np.nan)).all() or not pairs
        expected = made.scales[target]
        assert len(found.values) == len(expected) == channels_of(source, target)
        heard = np.isfinite(found.values)
        np.testing.assert_allclose(found.values[heard], expected[heard], rtol=TOLERANCE)
        assert heard.all()


def test_weights_decide_where_no_threshold_can_be_reached():
    weights = np.random.default_rng(0).normal(0, 1, (6, 50))
    source = one_population(Dense(weight=weights), neuron=Neuron(th_pos=np.inf), inputs=(50,))
    made = quantize(source, np.ones((2, 50)))
    pairs = pairs_into(source, made.network, "a")
    found = population_scales(source, made.network, "a", pairs)
    np.testing.assert_allclose(found.values, made.scales["a"], rtol=5e-3)
    assert np.isnan(found.threshold_factor).all()


def test_the_graded_input_is_a_connection_of_its_own():
    rng = np.random.default_rng(1)
    both = (
        Connection(sources=("input",), target="a", operator=Dense(weight=rng.normal(0, 1, (5, 5)))),
        Connection(
            sources=("a", "input"), target="a", operator=Identity(scale=np.array(0.7)), delay=1
        ),
    )
    source = one_population(*both, shape=(5,), inputs=(5,))
    made = quantize(source, rng.normal(0, 1, (8, 5)))
    pairs = pairs_into(source, made.network, "a")
    assert len(pairs) == 3
    for pair in pairs:
        restored = pair.integers * made.scales["a"][:, None]
        np.testing.assert_allclose(restored, pair.weights, atol=0.01)


@pytest.mark.parametrize("factor", [50, 1 / 40])
def test_thresholds_of_other_weights_are_found(factor):
    weights = float_weights()
    integer = integer_network(
        neurons={"b": {key: lambda th: (th * factor).astype(np.int64) for key in ("th_pos",)}}
    )
    # th_neg still fits: with both, the interval of the finer one counts.
    both = integer_network(
        neurons={"b": {k: lambda th: (th * factor).astype(np.int64) for k in ("th_pos", "th_neg")}}
    )
    source = float_network()
    found = population_scales(source, both, "b", pairs_into(source, both, "b"))
    np.testing.assert_allclose(found.threshold_factor, factor, rtol=0.05)
    np.testing.assert_allclose(found.values, scales_of(weights, {})["b"], rtol=0.02)
    assert integer.populations["b"].neuron.th_neg.max() < never(24)


def test_one_scale_for_all_channels_is_seen():
    weights = float_weights()
    source = float_network()
    common = {"b": np.full(16, np.abs(weights["b"]).max() / 127)}
    for scales, expected in (({}, False), (common, True)):
        integer = integer_network(scales=scales)
        found = population_scales(source, integer, "b", pairs_into(source, integer, "b"))
        assert found.is_one == expected


def test_the_loss_of_weights():
    """Two bits, worked out by hand."""
    weights = float_weights()
    weights["b"][:4] *= 0.01
    source = float_network(weights)
    unit = np.full(16, np.abs(weights["b"]).max())
    integer = integer_network(weights, bits={"b": 2}, scales={"b": unit})
    (pair,) = pairs_into(source, integer, "b")
    scales = population_scales(source, integer, "b", [pair])
    loss = weight_loss(pair, scales)
    assert loss is not None
    rounded = np.rint(weights["b"] / unit[0]) * unit[0]
    error = ((rounded - weights["b"]) ** 2).sum()
    expected = 10 * math.log10((weights["b"] ** 2).sum() / error)
    assert loss.sqnr_db == pytest.approx(expected, abs=0.05)
    assert loss.squared_error == pytest.approx(error / 16, rel=1e-2)
    assert loss.zeroed_channels == int((~rounded.any(axis=1)).sum()) >= 4
    assert (loss.clipped, loss.spare_bits) == (0, 0)
    each = np.abs(weights["b"]).max(axis=1, keepdims=True)
    own = np.rint(weights["b"] / each) * each
    per_channel = 10 * math.log10((weights["b"] ** 2).sum() / ((own - weights["b"]) ** 2).sum())
    assert loss.per_channel_db == pytest.approx(per_channel)
    assert loss.clipping_db > expected


def test_clipped_and_unused_bits():
    source = float_network()
    largest = np.abs(float_weights()["b"]).max(axis=1)
    for scale, clipped, spare in ((largest / 60, True, 0), (largest / 20, False, 2)):
        integer = integer_network(scales={"b": scale}, bits={"b": 6 if clipped else 8})
        (pair,) = pairs_into(source, integer, "b")
        loss = weight_loss(pair, population_scales(source, integer, "b", [pair]))
        assert loss is not None
        beyond = np.abs(pair.weights) > (31.5 if clipped else 127.5) * scale[:, None]
        assert loss.clipped == pytest.approx(beyond.mean(), abs=0.005)
        assert (loss.clipped > 0) == clipped
        assert loss.spare_bits == spare


def test_decibels():
    assert sqnr_db(100.0, 1.0) == pytest.approx(20.0)
    assert sqnr_db(0.0, 1.0) is None
    assert sqnr_db(1.0, 0.0) is None
    assert sqnr_db(1.0, 4.0) == pytest.approx(-6.0206, abs=1e-4)
