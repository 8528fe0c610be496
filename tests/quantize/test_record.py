"""Every figure of the record, computed again from the two networks."""

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest

from tests.networks import CASES, sample_inputs
from tests.quantize.floats import as_float, one_population, random_float_network
from trispike.network import FixedPointNeuron, FloatNetwork, Identity, Neuron
from trispike.network.fixed_point import never
from trispike.quantize import (
    ConnectionRecord,
    PopulationRecord,
    Quantization,
    QuantizationRecord,
    quantize,
)
from trispike.quantize.weights import rows
from trispike.runtime import ReferenceEngine, Result

NETWORKS = {
    "shortcut": "shortcut_across_two_convolutions",
    "pooled": "pooled_downsample",
    "several sources": "sew_addition",
    "recurrent": "recurrent",
    "per channel": "per_channel_parameters",
    "binary": "binary_lif",
    "map from matrix": "matrix_into_map",
    "spikes": "spikes_encoding",
}


@pytest.fixture(params=NETWORKS)
def case(request):
    """Source, data, labels, quantization to few bits, and runs of both networks."""
    integer = CASES[NETWORKS[request.param]]()
    source = as_float(integer, unit=0.01)
    data = sample_inputs(integer, 7)
    labels = np.arange(7) % source.readout.classes
    result = quantize(source, data, labels, weight_bits=4, state_bits=18, method="nearest")
    runs = [ReferenceEngine(n).run(data, labels, record="all") for n in (source, result.network)]
    return source, result, runs


Case = tuple[FloatNetwork, Quantization, list[Result]]


def test_populations(case: Case):
    source, result, (floating, integer) = case
    records = result.record.populations
    assert [record.name for record in records] == list(source.order)
    for record in records:
        neuron = result.network.populations[record.name].neuron
        assert isinstance(neuron, FixedPointNeuron)
        a, b = (run.records[record.name]["s"] for run in (floating, integer))
        reachable = [t[t < never(neuron.state_bits)] for t in (neuron.th_pos, neuron.th_neg)]
        assert record == PopulationRecord(
            name=record.name,
            state_shift=neuron.state_shift,
            threshold_min=int(np.concatenate([t.reshape(-1) for t in reachable]).min()),
            threshold_max=int(np.concatenate([t.reshape(-1) for t in reachable]).max()),
            state_bound=record.state_bound,  # see test_headroom.py
            headroom_bits=math.log2((2 ** (neuron.state_bits - 1) - 1) / record.state_bound),
            saturations=int(integer.ledger.populations[record.name].saturations.sum()),
            current_sqnr_db=None,  # see test_fitting.py
            bias_correction=0.0,
            spike_agreement=float((a == b).mean()),
            firing_rate_float=float((a != 0).mean()),
            firing_rate_integer=float((b != 0).mean()),
        )
        assert record.firing_rate_float == floating.ledger.firing_rate(record.name)


def test_connections(case: Case):
    source, result, _ = case
    net = result.network
    assert [record.label for record in result.record.connections] == list(net.labels)
    sources = {}
    for target in (*source.populations, source.readout.name):
        for position, c in enumerate(source.into(target)):
            sources[target, position] = c
    seen: dict[str, int] = {}
    for record, c in zip(result.record.connections, net.all_connections, strict=True):
        position = seen.get(c.target, 0)
        seen[c.target] = position + 1
        assert (record.exponent, record.bits) == (c.exponent, c.bits)
        assert record.bits == 4
        assert (record.method, record.scale_ratio, record.weights_clipped) == ("nearest", 1, 0)
        assert record.scale_min <= record.scale_max
        is_layer = c.target == net.readout.name
        assert not is_layer or record.scale_min == record.scale_max
        if len(source.into(c.target)) == len(net.into(c.target)):  # nothing was split
            exact = sources[c.target, position].operator
            factor = result.record.input_scale if c.sources == (net.input.name,) else 1.0
            expected = sqnr_db(exact, c, factor, net)
            if record.weight_sqnr_db is None:
                assert expected > 200
            else:
                # The scales that were used are close to these, which are the best.
                assert expected - 3 < record.weight_sqnr_db <= expected + 1e-9


def sqnr_db(exact: Any, c: Any, factor: float, net: Any) -> float:
    """With the scales that fit the rounded weights best, channel by channel.

    What it is with the scales that were used is tested in test_weights.py.
    """
    shape = net.source_shape(c)
    shape = exact.output_shape(c.pool.output_shape(shape) if c.pool else shape)
    is_readout = c.target == net.readout.name
    channels = 1 if is_readout else net.populations[c.target].shape[0]
    floats = rows(exact, shape, channels) * factor
    integers = rows(c.operator, shape, channels).astype(float)
    power = np.maximum((integers**2).sum(axis=1, keepdims=True), 1e-300)
    scales = (integers * floats).sum(axis=1, keepdims=True) / power
    noise = ((integers * scales - floats) ** 2).sum()
    return 10 * math.log10((floats**2).sum() / max(noise, 1e-300))


def test_the_whole(case: Case):
    _, result, (floating, integer) = case
    record, net = result.record, result.network
    agree = floating.predictions == integer.predictions
    differing = [p.name for p in record.populations if p.spike_agreement < 1]
    assert record == QuantizationRecord(
        weight_bits=4,
        granularity="channel",
        method="nearest",
        state_bits=18,
        input_scale=net.input.scale,
        input_clipped=0.0,
        readout_scale=net.readout.scale,
        readout_current_sqnr_db=None,
        connections=record.connections,
        populations=record.populations,
        first_divergence=differing[0] if differing else None,
        samples=7,
        prediction_agreement=float(agree.mean()),
        accuracy_float=floating.accuracy,
        accuracy_integer=integer.accuracy,
    )
    assert differing  # four bits leave their traces


def test_without_labels_there_is_no_accuracy():
    source = one_population(Identity(scale=1.0))
    record = quantize(source, np.ones((3, 4))).record
    assert record.accuracy_float is None
    assert record.accuracy_integer is None
    assert record.samples == 3


def test_the_first_divergence_is_the_first_in_the_order_of_the_network():
    source = as_float(CASES["deep"](), unit=0.1)
    data = sample_inputs(CASES["deep"](), 20)
    record = quantize(source, data, weight_bits=2).record
    agreements = [p.spike_agreement for p in record.populations]
    assert [p.name for p in record.populations] == list(source.order)
    first = next(n for n, agreement in enumerate(agreements) if agreement < 1)
    assert record.first_divergence == source.order[first]


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_the_record_does_not_depend_on_the_batch_size(batch_size):
    integer = CASES["per_channel_parameters"]()
    source, data = as_float(integer, unit=0.01), sample_inputs(integer, 7)
    labels = np.zeros(7, int)
    assert (
        quantize(source, data, labels, batch_size=batch_size).record
        == quantize(source, data, labels).record
    )


@pytest.mark.parametrize(("batch_size", "expected"), [(3, [3, 3, 1]), (7, [7]), (100, [7])])
def test_progress_is_told_in_samples(batch_size, expected):
    finished: list[int] = []
    source = one_population(Identity(scale=1.0))
    quantize(source, np.ones((7, 4)), batch_size=batch_size, progress=finished.append)
    assert finished == expected


@pytest.mark.parametrize("seed", range(6))
def test_the_record_is_json_and_complete(seed):
    source = random_float_network(seed)
    data = np.random.default_rng(seed).integers(-3, 4, (2, *source.input.data_shape(source.steps)))
    record = quantize(source, data).record
    plain = record.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == {
        **plain,
        "connections": list(plain["connections"]),
        "populations": list(plain["populations"]),
    }
    assert set(plain) == {field.name for field in dataclasses.fields(QuantizationRecord)}
    for part, kind in (("connections", ConnectionRecord), ("populations", PopulationRecord)):
        for entry in plain[part]:
            assert set(entry) == {field.name for field in dataclasses.fields(kind)}


def test_saturations_are_counted():
    neuron = Neuron(th_pos=np.inf, b_pos=1.0, reset="none")
    source = one_population(Identity(scale=1.0), neuron=neuron, steps=30)
    result = quantize(source, np.full((2, 4), 100.0), state_bits=8, state_shift=0)
    (record,) = result.record.populations
    # The current of every step, 127 * 100, and the potential of all steps but the first.
    assert record.saturations == 2 * 4 * (30 + 29)
    assert record.headroom_bits < 0
