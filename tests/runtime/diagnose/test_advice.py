"""Planted faults are named: which layer, which knob. Every rule is seen at work."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.networks import sample_inputs, vectors
from tests.quantize.floats import as_float
from tests.runtime.diagnose.pairs import (
    float_network,
    float_weights,
    inputs,
    integer_network,
    scales_of,
)
from trispike.network import Network
from trispike.network.fixed_point import never
from trispike.quantize import quantize
from trispike.runtime.diagnose import RULES, Diagnosis, advice, diagnose
from trispike.runtime.diagnose.content import Advice


def advised(found: Diagnosis) -> list[tuple[str, str, str]]:
    severities = [a.severity for a in found.advice]
    assert severities == sorted(severities, reverse=True)
    assert all(0 <= s <= 1 for s in severities)
    return [(a.rule, a.layer, a.knob) for a in found.advice]


def planted(source: Network | None = None, **faults: Any) -> Diagnosis:
    return diagnose(source or float_network(), integer_network(**faults), inputs())


@cache
def healthy() -> Diagnosis:
    return planted()


def test_a_healthy_network_needs_nothing():
    assert advised(healthy()) == []


@pytest.mark.parametrize("layer", ["a", "b", "c"])
@pytest.mark.parametrize("bits", [2, 3])
def test_few_bits(layer, bits):
    found = planted(bits={layer: bits})
    assert found.guilty == layer
    assert {name for _, name, _ in advised(found)} == {layer}
    (given,) = [a for a in found.advice if a.knob == "weight bits" and a.rule == "current"]
    assert given.connection is not None
    assert given.connection.endswith(f"->{layer}")
    assert "fine-tune" in given.action
    # The bits that it names are enough.
    named = int(given.action.split(" bits")[0].split()[-1])
    assert bits < named <= 6
    better = planted(bits={layer: named}).population(layer)
    assert better.forced.sqnr_db_total is not None
    assert better.forced.sqnr_db_total > advice.TARGET_SQNR_DB - 2


def test_few_bits_of_the_readout():
    found = planted(bits={"readout": 2})
    assert found.readout.forced_prediction_agreement < 0.95
    assert found.guilty == "readout" or found.population(found.guilty or "").forced.spike_error
    assert ("readout", "readout", "weight bits") in advised(found)


def test_one_scale_for_channels_of_different_size():
    weights = float_weights()
    weights["b"] *= np.geomspace(1, 0.05, 16)[:, None]
    source, integer = float_network(weights), integer_network(weights)
    spread = np.full(16, np.abs(weights["b"]).max() / 7)
    source = _thresholds(source, "b", np.geomspace(1, 0.05, 16))
    integer = integer_network(
        weights,
        bits={"b": 4},
        scales={"b": spread},
        neurons={
            "b": {
                k: np.rint(np.geomspace(1, 0.05, 16) / spread * 64).astype(np.int64)
                for k in ("th_pos", "th_neg")
            }
        },
    )
    found = diagnose(source, integer, inputs())
    assert found.guilty == "b"
    assert found.population("b").is_one_scale
    rows = advised(found)
    # Whether channels died or are only coarse, the knob is the same.
    assert "granularity" in {knob for _, layer, knob in rows if layer == "b"}
    (connection,) = [c for c in found.connections if c.target == "b"]
    assert (connection.zeroed_channels or 0) > 0
    assert all("one scale per channel" in a.action for a in found.advice if a.knob == "granularity")


def _thresholds(source: Any, name: str, values: Any) -> Any:
    population = source.populations[name]
    neuron = replace(population.neuron, th_pos=values, th_neg=values)
    populations = {**source.populations, name: replace(population, neuron=neuron)}
    return replace(source, populations=populations)


def test_granularity_by_its_gain():
    weights = float_weights()
    sizes = np.repeat([1.0, 0.3], 8)
    weights["b"] *= sizes[:, None]
    source = _thresholds(float_network(weights), "b", sizes)
    unit = np.full(16, np.abs(weights["b"]).max() / 3)
    thresholds = np.rint(sizes / unit * 64).astype(np.int64)
    integer = integer_network(
        weights, bits={"b": 3}, scales={"b": unit},
        neurons={"b": {"th_pos": thresholds, "th_neg": thresholds}},
    )  # fmt: skip
    found = diagnose(source, integer, inputs())
    (connection,) = [c for c in found.connections if c.target == "b"]
    gain = connection.per_channel_gain_db
    assert gain is not None
    given = [a for a in found.advice if a.rule == "current" and a.layer == "b"]
    assert ("granularity" in {a.knob for a in given}) == (gain >= advice.GAIN_DB)
    advised(found)


def test_too_little_clipping():
    """Two bits between zero and the largest weight of the whole layer: most become zero."""
    largest = np.full(16, np.abs(float_weights()["b"]).max())
    found = planted(bits={"b": 2}, scales={"b": largest})
    (given,) = [a for a in found.advice if a.knob == "clipping"]
    assert (given.rule, given.layer, given.connection) == ("current", "b", "a->b")
    assert given.action == "Clip the range of a->b."
    # It gains what it says.
    clipped = planted(bits={"b": 2}, scales={"b": largest * 0.45})
    better = clipped.population("b").forced.sqnr_db_total
    before = found.population("b").forced.sqnr_db_total
    assert better is not None
    assert before is not None
    assert better > before + advice.GAIN_DB - 1


def test_too_much_clipping():
    scales = scales_of(float_weights(), {"b": 6})["b"] / 5
    found = planted(bits={"b": 6}, scales={"b": scales})
    assert found.guilty == "b"
    assert ("current", "b", "clipping") in advised(found)
    (given,) = [a for a in found.advice if a.knob == "clipping"]
    assert given.action == "Widen the range of a->b."
    assert "are clipped" in given.finding


def test_a_saturating_state():
    """Thresholds of 15 bits in states of 16."""
    neurons = {"b": {"state_bits": 16}}
    found = planted(neurons=neurons)
    population = found.population("b")
    assert sum(population.own.saturations) > 0
    assert sum(healthy().population("b").own.saturations) == 0
    assert population.peak_headroom_bits == 0
    assert population.headroom_bits < 0
    rows = [row for row in advised(found) if row[0] == "saturation"]
    assert rows == [("saturation", "b", "state shift")]
    # With coarse thresholds there is nothing to take away: more bits.
    (given,) = advice._states(replace(population, threshold_bits=10))
    assert given.knob == "state bits"
    needed = int(np.ceil(-population.headroom_bits))
    assert f"--state-bits {16 + needed})" in given.action


def test_a_dead_population():
    """Its thresholds are fifty times too large for its weights."""
    factor = {k: lambda th: th * 50 for k in ("th_pos", "th_neg")}
    found = planted(neurons={"b": factor})
    population = found.population("b")
    assert found.guilty == "b"
    assert population.dead_new.count == population.dead_integer.count == 16
    assert population.dead_new.first == tuple((n,) for n in range(16))
    assert found.population("c").dead_new.count == 0  # alone it is alive
    rows = advised(found)
    assert {("dead", "b", "thresholds"), ("thresholds", "b", "thresholds")} <= set(rows)
    assert {layer for _, layer, _ in rows} == {"b"}
    (given,) = [a for a in found.advice if a.rule == "dead"]
    assert given.severity == 1.0
    assert "16 of 16 neurons never fire" in given.finding
    few = f"judged by {found.samples} samples"
    assert given.finding.endswith(few)
    assert given.action.startswith("Look at 256 samples or more first; if it is still so: correct")


def test_a_population_whose_thresholds_cannot_be_reached():
    out_of_reach = {k: np.full(16, never(24)) for k in ("th_pos", "th_neg")}
    found = planted(neurons={"b": out_of_reach})
    assert found.guilty == "b"
    assert found.population("b").threshold_bits is None
    # The currents are right all the same.
    sqnr = found.population("b").forced.sqnr_db_total
    assert sqnr is not None
    assert sqnr > 35
    assert ("dead", "b") in {(rule, layer) for rule, layer, _ in advised(found)}


def test_channels_whose_weights_are_gone():
    weights = float_weights()
    weights["b"][:4] *= 0.01
    source = _thresholds(float_network(weights), "b", np.where(np.arange(16) < 4, 0.01, 1.0))
    # A scale per channel, but those of the small ones as large as the others'.
    scales = scales_of(float_weights(), {"b": 4})["b"]
    thresholds = np.rint(np.where(np.arange(16) < 4, 0.01, 1.0) / scales * 64).astype(np.int64)
    integer = integer_network(
        weights, bits={"b": 4}, scales={"b": scales},
        neurons={"b": {"th_pos": thresholds, "th_neg": thresholds, "bias": 0}},
    )  # fmt: skip
    found = diagnose(source, integer, inputs())
    (connection,) = [c for c in found.connections if c.target == "b"]
    assert connection.zeroed_channels == 4
    assert found.population("b").dead_new.count == 4
    assert ("dead", "b", "weight bits") in advised(found)


def test_an_always_firing_population():
    """Its positive threshold lies far below its bias."""
    always = {"th_pos": np.ones(16, np.int64), "bias": lambda b: np.full(16, 1 << 18)}
    found = planted(neurons={"b": always})
    population = found.population("b")
    assert found.guilty == "b"
    assert population.always_new.count == 16
    assert population.always_float.count == 0
    rows = advised(found)
    assert ("always", "b") in {(rule, layer) for rule, layer, _ in rows}
    assert {layer for _, layer, _ in rows if layer != "readout"} == {"b"}


def test_coarse_thresholds():
    """Without a state shift, a threshold of 1 is about ten units."""
    weights = float_weights()
    units = scales_of(weights, {"b": 8})["b"] * 16
    coarse = {
        "th_pos": np.rint(1 / units).astype(np.int64),
        "th_neg": np.rint(1 / units).astype(np.int64),
        "bias": np.zeros(16, np.int64),
        "state_shift": 0,
    }
    found = planted(scales={"b": units}, neurons={"b": coarse})
    population = found.population("b")
    assert population.threshold_bits == int(coarse["th_pos"].min()).bit_length() < 5
    rows = advised(found)
    assert ("coarse", "b", "state shift") in rows
    (given,) = [a for a in found.advice if a.rule == "coarse"]
    assert f"(to {10 - population.threshold_bits})" in given.action
    # Without headroom, the state has to grow.
    crowded = replace(population, headroom_bits=0.5)
    (given,) = [a for a in advice._currents(crowded, []) if a.rule == "coarse"]
    assert given.knob == "state bits"


def test_input_beyond_the_calibration():
    case = vectors()
    source, x = as_float(case, unit=0.01), sample_inputs(case, 6)
    integer = quantize(source, x).network
    far = diagnose(source, integer, x * 3)
    assert far.input.clipped == integer.input.clipped(x * 3) > 0.01
    assert ("input", "input", "calibration") in advised(far)
    tiny = diagnose(source, integer, x / 60)
    assert tiny.input.clipped == 0
    assert tiny.input.sqnr_db is not None
    assert tiny.input.sqnr_db < advice.TARGET_SQNR_DB
    assert ("input", "input", "calibration") in advised(tiny)


def test_neurons_that_were_dead_in_float():
    weights = float_weights()
    weights["b"][:9] *= 0.05
    found = planted(float_network(weights), weights=weights)
    assert found.population("b").dead_float.count >= 9
    assert ("trained", "b", "training") in advised(found)
    populations = found.populations
    for samples, begin in ((255, "Look at 256 samples or more first"), (256, "Train with a pen")):
        rows = advice.advise(
            found.input, "input", populations, found.connections, found.readout, samples
        )
        (given,) = [a for a in rows if a.rule == "trained"]
        assert given.action.startswith(begin)
        assert f"on these {samples} samples, in the float network already" in given.finding


def rerun(found: Diagnosis, layer: str, **forced: Any) -> list[Advice]:
    """The rules once more, with other figures of one layer."""
    populations = [
        replace(
            p,
            forced=replace(p.forced, **{k: v for k, v in forced.items() if k != "own"}),
            own=replace(p.own, **forced.get("own", {})),
        )
        if p.name == layer
        else p
        for p in found.populations
    ]
    readout = replace(found.readout, prediction_agreement=0.9)
    given = advice.advise(found.input, "input", populations, found.connections, readout, 64)
    return list(given)


def test_a_right_current_with_wrong_spikes():
    rates = tuple(r * 1.3 for r in healthy().population("b").rate_float)
    (given,) = rerun(healthy(), "b", spike_error=0.2, rate_integer=rates)
    assert (given.rule, given.layer, given.knob) == ("rate", "b", "fine-tuning")
    same = healthy().population("b").rate_float
    (given,) = rerun(healthy(), "b", spike_error=0.2, rate_integer=same)
    assert (given.rule, given.knob) == ("sensitive", "fine-tuning")
    assert rerun(healthy(), "b", spike_error=0.02, rate_integer=same) == []


def test_errors_that_add_up():
    (given,) = rerun(healthy(), "c", own={"spike_error": 0.3})
    assert (given.rule, given.layer, given.knob) == ("accumulation", "c", "fine-tuning")
    assert rerun(healthy(), "c", own={"spike_error": 0.05}) == []


def test_eight_bits_are_fine_tuned():
    found = planted(scales={"b": scales_of(float_weights(), {"b": 3})["b"]})
    (connection,) = [c for c in found.connections if c.target == "b"]
    assert (connection.bits, connection.spare_bits) == (8, 5)
    rows = advised(found)
    assert ("current", "b", "weight bits") not in rows
    assert {knob for _, layer, knob in rows if layer == "b"} <= {"clipping", "fine-tuning"}


def test_mixed_precision_blames_the_coarsest():
    found = planted(bits={"a": 8, "b": 3, "c": 6, "readout": 8})
    assert found.guilty == "b"
    assert {layer for _, layer, _ in advised(found)} == {"b"}


def test_of_several_connections_the_coarse_one_is_named():
    """A shortcut beside a matrix, in a network of the quantizer, one of the two made coarse."""
    case = vectors()
    source, x = as_float(case, unit=0.01), sample_inputs(case, 30)
    made = quantize(source, x).network
    for label in ("second->third", "first->third"):
        connections = tuple(
            _coarse(c) if name == label else c
            for name, c in zip(made.labels, made.connections, strict=False)
        )
        integer = replace(made, connections=connections)
        found = diagnose(source, integer, x)
        assert found.guilty == "third"
        shares = {c.label: c.error_share for c in found.connections if c.target == "third"}
        assert max(shares, key=lambda name: shares[name] or 0.0) == label


def _coarse(connection: Any) -> Any:
    """Weights rounded to multiples of 40."""
    field = "scale" if hasattr(connection.operator, "scale") else "weight"
    values = np.rint(connection.operator.weight / 40).astype(np.int8) * np.int8(40)
    return replace(connection, operator=replace(connection.operator, **{field: values}))


def test_every_rule_has_a_test():
    source = Path(__file__).read_text(encoding="utf-8")
    assert [rule for rule in RULES if f'"{rule}"' not in source] == []
