"""Figures of a diagnosis against NumPy by hand and against runs of the reference engine."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.networks import CASES, sample_inputs
from tests.quantize.floats import as_float
from tests.runtime.diagnose.pairs import (
    SHIFT,
    STEPS,
    TARGETS,
    float_network,
    float_weights,
    inputs,
    integer_network,
    scales_of,
)
from trispike.errors import InvalidSettingError
from trispike.network import FixedPointNeuron, Network
from trispike.network.fixed_point import state_limit
from trispike.quantize import quantize
from trispike.runtime import ReferenceEngine
from trispike.runtime.diagnose import diagnose, measure

Array = npt.NDArray[Any]

TOLERANCE_DB = 0.1
"""Scales are read off rounded thresholds and weights: they are right to a few thousandths."""


def ternary(v: Array, th: Array | float) -> Array:
    return (v >= th).astype(int) - (v <= -th)


def by_hand(
    bits: dict[str, int],
) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array], dict[str, Array]]:
    """Memoryless layers: float spikes, and errors and spikes of every layer alone; (N, T, ...)."""
    weights, scales = float_weights(), scales_of(float_weights(), bits)
    x = inputs().astype(float)
    spikes, currents, errors, alone = {}, {}, {}, {}
    for name in TARGETS:
        w, s = weights[name], scales[name]
        top = 2 ** (bits.get(name, 8) - 1) - 1
        q = np.clip(np.rint(w / s[:, None]), -top, top)
        currents[name] = x @ w.T
        if name == "readout":
            errors[name] = (x @ q.T) * s - currents[name]
            break
        bias = np.rint(0.01 / s * 2**SHIFT) * s / 2**SHIFT - 0.01
        errors[name] = (x @ q.T) * s + bias - currents[name]
        state = (x @ q.T) * 2**SHIFT + np.rint(0.01 / s * 2**SHIFT)
        alone[name] = ternary(state, np.rint(2**SHIFT / s))
        x = ternary(currents[name] + 0.01, 1.0).astype(float)
        spikes[name] = x
    return spikes, currents, errors, alone


@pytest.mark.parametrize("bits", [{}, {"b": 2}, {"a": 4, "b": 6, "c": 3, "readout": 5}])
def test_layers_alone_against_numpy(bits):
    found = diagnose(float_network(), integer_network(bits=bits), inputs(), batch_size=7)
    spikes, currents, errors, alone = by_hand(bits)
    for p in found.populations:
        signal = (currents[p.name] ** 2).sum(axis=(0, 2))
        noise = (errors[p.name] ** 2).sum(axis=(0, 2))
        np.testing.assert_allclose(
            p.forced.sqnr_db, 10 * np.log10(signal / noise), atol=TOLERANCE_DB
        )
        values = len(inputs()) * p.neurons
        np.testing.assert_allclose(p.forced.current_power, signal / values)
        total = 10 * math.log10(signal.sum() / noise.sum())
        assert p.forced.sqnr_db_total == pytest.approx(total, abs=TOLERANCE_DB)
        wrong = spikes[p.name] != alone[p.name]
        assert p.forced.disagreements == tuple(wrong.sum(axis=(0, 2)))
        assert p.forced.agreement == pytest.approx(1 - wrong.mean())
        fired = np.count_nonzero(spikes[p.name]) + np.count_nonzero(alone[p.name])
        assert p.forced.spike_error == pytest.approx(wrong.sum() / fired)
        rates = (alone[p.name] != 0).mean(axis=(0, 2))
        assert p.forced.rate_integer == pytest.approx(tuple(rates))
    logits = 10 * math.log10((currents["readout"] ** 2).sum() / (errors["readout"] ** 2).sum())
    assert found.readout.forced.sqnr_db_total == pytest.approx(logits, abs=TOLERANCE_DB)
    if bits == {"b": 2}:
        assert found.guilty == "b"
        # The layer before is right, the one behind suffers without a fault of its own.
        assert found.population("a").own.spike_error < 0.01
        assert (
            found.population("c").own.spike_error > 0.1 > found.population("c").forced.spike_error
        )


def records(network: Network, x: Array) -> Any:
    return ReferenceEngine(network).run(x, record="all")


def first_by_hand(source: Any, integer: Any, order: tuple[str, ...]) -> Any:
    samples, steps = source[order[0]]["s"].shape[:2]
    for sample, step, name in product(range(samples), range(steps), order):
        differs = source[name]["s"][sample, step] != integer[name]["s"][sample, step]
        if differs.any():
            return sample, step, name, tuple(int(n) for n in np.argwhere(differs)[0])
    return None


@pytest.mark.parametrize("name", CASES)
def test_own_inputs_against_the_reference_engine(name):
    """Networks of every encoding and neuron, with weights of mixed precision."""
    case = CASES[name]()
    source, x = as_float(case, unit=0.01), sample_inputs(case, 5)
    integer = quantize(source, x, weight_bits=4).network
    found = diagnose(source, integer, x, np.arange(5) % 3, batch_size=2)
    exact, ours = records(source, x), records(integer, x)
    for p in found.populations:
        f, i = exact.records[p.name]["s"], ours.records[p.name]["s"]
        axes = (0, *range(2, f.ndim))
        assert p.own.disagreements == tuple((f != i).sum(axis=axes))
        assert p.own.agreement == pytest.approx((f == i).mean())
        assert p.rate_float == pytest.approx(tuple((f != 0).mean(axis=axes)))
        assert p.own.rate_integer == pytest.approx(tuple((i != 0).mean(axis=axes)))
        assert p.rate_shift == pytest.approx((i != 0).mean() - (f != 0).mean())
        assert p.own.saturations == tuple(ours.ledger.populations[p.name].saturations)
        for neurons, spikes, wanted in (
            (p.dead_float, f, 0), (p.dead_integer, i, 0),
            (p.always_float, f, 5 * found.steps), (p.always_integer, i, 5 * found.steps),
        ):  # fmt: skip
            fired = (spikes != 0).sum(axis=(0, 1))
            assert neurons.count == (fired == wanted).sum()
            expected = [tuple(map(int, n)) for n in np.argwhere(fired == wanted)[:16]]
            assert list(neurons.first) == expected
        neuron = integer.populations[p.name].neuron
        assert isinstance(neuron, FixedPointNeuron)
        states = ours.records[p.name]
        peak = max(int(np.abs(states[trace]).max()) for trace in "icv")
        limit = state_limit(neuron.state_bits)
        assert p.peak_headroom_bits == pytest.approx(math.log2(limit / max(1, peak)))
        assert p.peak_headroom_bits >= p.headroom_bits - 1e-9
    expected = first_by_hand(exact.records, ours.records, source.order)
    d = found.first_divergence
    assert (d and (d.sample, d.step, d.population, d.neuron)) == expected
    if d:
        at = (d.sample, d.step, *d.neuron)
        for state, run in ((d.float_state, exact), (d.integer_state, ours)):
            mine = run.records[d.population]
            assert (state.spike, state.current, state.carried, state.potential) == tuple(
                mine[trace][at] for trace in "sicv"
            )
        assert (d.float_state.spike == 0) == ((d.float_state.distance or -1) < 0)
    assert found.readout.prediction_agreement == (exact.predictions == ours.predictions).mean()
    assert found.readout.accuracy_integer == (ours.predictions == np.arange(5) % 3).mean()
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["samples"] == 5


def test_headroom_is_that_of_the_record():
    for name in ("shortcut_across_two_convolutions", "matrix_into_map", "sew_addition"):
        case = CASES[name]()
        source, x = as_float(case, unit=0.01), sample_inputs(case, 3)
        made = quantize(source, x)
        found = diagnose(source, made.network, x)
        for p, recorded in zip(found.populations, made.record.populations, strict=True):
            assert p.headroom_bits == pytest.approx(recorded.headroom_bits)


def test_potentials_in_units_of_the_float_network():
    found = diagnose(float_network(), integer_network(bits={"b": 2}), inputs())
    d = found.population("b").forced.first_divergence
    assert d is not None
    unit = scales_of(float_weights(), {"b": 2})["b"][d.neuron[0]] / 2**SHIFT
    assert d.unit is not None
    assert d.unit == pytest.approx(unit, rel=1e-2)  # a threshold of 121 units
    assert d.integer_state.threshold_positive is not None
    assert d.integer_state.threshold_positive * d.unit == pytest.approx(1.0, rel=1e-2)
    for state in (d.float_state, d.integer_state):
        positive, negative = state.threshold_positive, state.threshold_negative
        assert positive is not None
        assert negative is not None
        nearest = max(state.potential - positive, -state.potential - negative)
        assert state.distance == nearest
        assert (nearest >= 0) == (state.spike != 0)


def test_exact_integers_are_found_exact():
    """Weights that are whole multiples of the scales: nothing is lost, nothing is advised."""
    weights = {n: np.clip(np.rint(w * 128), -127, 127) / 128 for n, w in float_weights().items()}
    scales = {n: np.full(len(w), 1 / 128) for n, w in weights.items()}
    source, integer = float_network(weights), integer_network(weights, scales=scales)
    source = replace(
        source,
        populations={
            n: replace(p, neuron=replace(p.neuron, bias=82 / 8192))
            for n, p in source.populations.items()
        },
    )
    found = diagnose(source, integer, inputs())
    assert found.first_divergence is None
    assert found.guilty is None
    assert found.advice == ()
    assert all(p.own.sqnr_db_total is None and p.own.agreement == 1 for p in found.populations)
    assert all(c.weight_sqnr_db is None for c in found.connections)
    assert found.input.sqnr_db is None


@pytest.mark.parametrize("name", ["frames_encoding", "recurrent", "feedforward_delay", "fire_once"])
def test_batches_do_not_matter(name):
    case = CASES[name]()
    source, x = as_float(case, unit=0.01), sample_inputs(case, 9)
    integer = quantize(source, x, weight_bits=3).network
    whole, parts = (diagnose(source, integer, x, batch_size=n) for n in (9, 2))
    for a, b in zip(whole.populations, parts.populations, strict=True):
        assert a.forced.disagreements == b.forced.disagreements
        assert a.own.first_divergence == b.own.first_divergence
        assert a.forced.first_divergence == b.forced.first_divergence
        assert (a.dead_integer, a.always_new) == (b.dead_integer, b.always_new)
        assert a.forced.sqnr_db_total == pytest.approx(b.forced.sqnr_db_total)
    assert whole.first_divergence == parts.first_divergence
    assert [(a.rule, a.layer, a.action) for a in whole.advice] == [
        (a.rule, a.layer, a.action) for a in parts.advice
    ]


def test_memory_bounds_the_batch(monkeypatch):
    network = integer_network()
    assert measure.batch_size_of(network) == measure.MOST_SAMPLES
    monkeypatch.setattr(measure, "BATCH_BYTES", 60_000)
    few = measure.batch_size_of(network)
    assert 1 < few < 10
    monkeypatch.setattr(measure, "BATCH_BYTES", 1)
    assert measure.batch_size_of(network) == 1
    monkeypatch.undo()
    sizes: list[int] = []
    diagnose(float_network(), network, inputs(), batch_size=16, progress=sizes.append)
    assert sizes == [16, 16, 8]


def test_batch_sizes_are_checked():
    with pytest.raises(InvalidSettingError, match="batch_size: got 0"):
        diagnose(float_network(), integer_network(), inputs(), batch_size=0)


def test_steps_of_the_time_axis():
    assert diagnose(float_network(), integer_network(), inputs()).steps == STEPS
