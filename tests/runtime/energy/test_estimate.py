"""Energy: counts times prices, checked by hand; nothing unpriced is taken to be zero."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.networks import CASES, sample_inputs, vectors
from trispike.errors import InvalidDataError, InvalidSettingError
from trispike.network import dense_macs
from trispike.runtime import Ledger, ReferenceEngine
from trispike.runtime.energy import (
    COUNTED,
    EVENTS,
    Coefficient,
    Profile,
    Twin,
    estimate_energy,
    load_profile,
    prices_of,
    profile_names,
)
from trispike.runtime.energy.profile import IF_PRICED, PLACED, SignedSpikes
from trispike.runtime.ledger import ConnectionCounts, PopulationCounts


def counts(*values: int) -> Any:
    return np.array(values, dtype=np.int64)


@pytest.fixture
def ledger() -> Ledger:
    """Two samples, two steps, one connection, one population; small round numbers."""
    return Ledger(
        samples=2,
        steps=2,
        populations={
            "a": PopulationCounts(
                neurons=5, spikes_positive=counts(3, 1), spikes_negative=counts(0, 2),
                updates=counts(10, 10), updates_with_input=counts(6, 2), saturations=counts(0, 0),
            )
        },
        connections={
            "input->a": ConnectionCounts(
                synapses=20, dense_macs=30, synaptic_operations=counts(40, 60), macs=counts(8, 2),
                zero_weight_operations=counts(0, 0), dense_operations=counts(40, 40),
            )
        },
    )  # fmt: skip


def profile(**prices: float | Coefficient) -> Profile:
    return Profile(
        id="test", name="Test", description="", process_nm=1, scope="per_term", basis="assumed",
        signed_spikes=SignedSpikes(policy="native", note="as it is"),
        unpriced={"mesh_hop": "no placement"},
        coefficients={
            event: p if isinstance(p, Coefficient) else Coefficient(picojoules=p, citation="me")
            for event, p in prices.items()
        },
    )  # fmt: skip


ALL = {"synaptic_operation": 10, "graded_operation": 100, "neuron_update_active": 1000,
       "neuron_update_inactive": 10_000, "spike": 0}  # fmt: skip


def test_totals_by_hand(ledger):
    found = estimate_energy(ledger, profile(**ALL))
    # Per inference: 50 synaptic, 5 graded operations, 4 active and 6 inactive updates.
    assert found.energy_per_inference_joules == pytest.approx(
        (50 * 10 + 5 * 100 + 4 * 1000 + 6 * 10_000) * 1e-12, rel=1e-12
    )
    assert {t.event: (t.count, t.picojoules) for t in found.terms} == {
        "synaptic_operation": (50, 10),
        "graded_operation": (5, 100),
        "neuron_update_active": (4, 1000),
        "neuron_update_inactive": (6, 10_000),
        "spike": (3, 0),
    }
    assert [layer.name for layer in found.layers] == ["input->a", "a"]
    assert [layer.kind for layer in found.layers] == ["connection", "population"]
    assert [layer.joules for layer in found.layers] == pytest.approx([1000e-12, 64_000e-12])
    assert found.layers[0].counts == {"synaptic_operation": 50, "graded_operation": 5}
    assert found.layers[1].counts == {
        "neuron_update_active": 4, "neuron_update_inactive": 6, "spike": 3
    }  # fmt: skip
    assert found.samples == 2
    assert found.unpriced == {
        "mesh_hop": "no placement", "static_power": "The profile gives none."
    }  # fmt: skip
    assert found.breakdown == pytest.approx({"synapses": 1000e-12, "neurons": 64_000e-12})


def test_loihi1_by_hand(ledger):
    found = estimate_energy(ledger, load_profile("loihi1"))
    assert found.energy_per_inference_joules == pytest.approx(
        (50 * 23.6 + 4 * 81 + 6 * 52) * 1e-12, rel=1e-12
    )
    assert "graded_operation" in found.unpriced


def test_what_has_no_price_is_listed_and_not_zero(ledger):
    found = estimate_energy(ledger, profile(synaptic_operation=10))
    terms = {term.event: term for term in found.terms}
    always = set(COUNTED) - set(PLACED) - set(IF_PRICED)
    assert set(terms) == always
    for event in always - {"synaptic_operation"}:
        assert (terms[event].picojoules, terms[event].joules) == (None, None)
        assert terms[event].count > 0
        assert found.unpriced[event] == terms[event].source == "The profile has no price for it."
    assert found.unpriced["mesh_hop"] == "no placement"
    assert found.energy_per_inference_joules == pytest.approx(500e-12)


def test_what_did_not_happen_is_not_listed(ledger):
    silent = replace(ledger.connections["input->a"], macs=counts(0, 0))
    found = estimate_energy(
        replace(ledger, connections={"input->a": silent}), load_profile("loihi1")
    )
    assert "graded_operation" not in found.unpriced
    assert "static_power" in found.unpriced


def test_assumptions_complete_and_replace_prices_and_are_recorded(ledger):
    assumptions = {"graded_operation": 4.5, "synaptic_operation": 20}
    found = estimate_energy(ledger, load_profile("loihi1"), assumptions)
    assert found.assumptions == assumptions
    terms = {term.event: term for term in found.terms}
    assert terms["graded_operation"].joules == pytest.approx(5 * 4.5e-12)
    assert terms["synaptic_operation"].joules == pytest.approx(50 * 20e-12)
    for event in assumptions:
        assert terms[event].source == "assumed by the user"
        assert (terms[event].basis, terms[event].confidence) == ("assumed", "assumed")
    assert terms["neuron_update_active"].source.startswith("Davies")
    assert "graded_operation" not in found.unpriced
    # The profile itself is as it was.
    assert estimate_energy(ledger, load_profile("loihi1")).assumptions == {}


@pytest.mark.parametrize(
    ("assumptions", "text"),
    [
        ({"spike_message": 1.7}, "assumed price of 'spike_message': got 1.7 pJ; expected a price"),
        ({"synaptic_operation": -1}, "assumed price of 'synaptic_operation': got -1 pJ"),
        ({"synaptic_operation": float("nan")}, "got nan pJ"),
        ({"synaptic_operation": float("inf")}, "got inf pJ"),
        ({"mac": 3.0}, "assumed price of 'mac'"),  # would price nothing
    ],
)
def test_bad_assumptions_are_refused(assumptions, text, ledger):
    with pytest.raises(InvalidSettingError, match=text):
        estimate_energy(ledger, load_profile("loihi1"), assumptions)


def test_a_free_event_is_priced_and_not_unpriced(ledger):
    found = estimate_energy(ledger, profile(**ALL), {"graded_operation": 0})
    assert "graded_operation" not in found.unpriced
    assert {t.event: t.joules for t in found.terms}["graded_operation"] == 0


def test_an_all_in_number_is_added_to_nothing(ledger):
    all_in = profile(synaptic_operation=26).model_copy(update={"scope": "all_in"})
    found = estimate_energy(ledger, all_in)
    assert found.energy_per_inference_joules == pytest.approx(50 * 26e-12)
    text = "several prices under a number that already stands for everything"
    with pytest.raises(InvalidSettingError, match=text):
        estimate_energy(ledger, all_in, {"graded_operation": 1})
    two = profile(**ALL).model_copy(update={"scope": "all_in"})
    with pytest.raises(InvalidSettingError, match=text):
        prices_of(two)
    # Another value for that one number is fine.
    assert prices_of(all_in, {"synaptic_operation": 13})["synaptic_operation"].picojoules == 13


def test_intervals_give_a_band(ledger):
    uncertain = profile(
        synaptic_operation=Coefficient(picojoules=10, low=5, high=40, citation="me"),
        neuron_update_active=Coefficient(picojoules=100, high=200, citation="me"),
        neuron_update_inactive=1.0,
    )
    found = estimate_energy(ledger, uncertain)
    assert found.energy_per_inference_joules == pytest.approx((500 + 400 + 6) * 1e-12)
    assert found.low_joules == pytest.approx((250 + 400 + 6) * 1e-12)
    assert found.high_joules == pytest.approx((2000 + 800 + 6) * 1e-12)
    exact = estimate_energy(ledger, load_profile("loihi1"))
    total = exact.energy_per_inference_joules
    assert exact.low_joules == exact.high_joules == pytest.approx(total)
    # An assumption is a number, not an interval.
    assumed = estimate_energy(ledger, uncertain, {"synaptic_operation": 10})
    assert assumed.low_joules == pytest.approx((500 + 400 + 6) * 1e-12)


def test_the_twins_by_hand(ledger):
    found = {twin.profile: twin for twin in estimate_energy(ledger, profile(**ALL)).twins}
    assert list(found) == ["cmos45-fp32", "cmos45-int8"]
    fp32, int8 = found.values()
    assert fp32.dense_macs == int8.dense_macs == 30
    assert fp32.dense_joules == pytest.approx(30 * 4.6e-12)
    assert fp32.spiking_joules == pytest.approx((50 * 0.9 + 5 * 4.6) * 1e-12)
    assert int8.dense_joules == pytest.approx(30 * 0.3e-12)
    assert int8.spiking_joules == pytest.approx((50 * 0.1 + 5 * 0.3) * 1e-12)
    assert fp32.ratio == pytest.approx(30 * 4.6 / (50 * 0.9 + 5 * 4.6))
    updates = ledger.populations["a"].updates.sum() / ledger.samples
    assert fp32.neuron_updates == int8.neuron_updates == updates
    assert fp32.break_even_picojoules == pytest.approx((30 * 4.6 - 50 * 0.9 - 5 * 4.6) / updates)


@pytest.mark.parametrize(
    ("spiking", "dense", "updates", "expected"),
    [
        (1e-12, 5e-12, 8, 0.5),
        (5e-12, 5e-12, 8, None),
        (6e-12, 5e-12, 8, None),
        (1e-12, 5e-12, 0, None),
    ],
)
def test_the_price_of_an_update_at_which_the_lead_is_gone(spiking, dense, updates, expected):
    twin = Twin(
        profile="any", spiking_joules=spiking, dense_joules=dense, dense_macs=1,
        neuron_updates=updates,
    )  # fmt: skip
    assert twin.break_even_picojoules == (None if expected is None else pytest.approx(expected))


def test_a_network_that_does_nothing_costs_its_updates(ledger):
    """No division by its zero operations, and nothing that JSON cannot hold."""
    silent = replace(ledger.connections["input->a"], macs=counts(0, 0),
                     synaptic_operations=counts(0, 0))  # fmt: skip
    idle = replace(ledger.populations["a"], updates_with_input=counts(0, 0))
    quiet = replace(ledger, connections={"input->a": silent}, populations={"a": idle})
    found = estimate_energy(quiet, load_profile("loihi1"))
    assert found.energy_per_inference_joules == pytest.approx(10 * 52e-12)
    for twin in found.twins:
        assert (twin.spiking_joules, twin.ratio) == (0, None)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["twins"][0][
        "dense_over_spiking"
    ] is None  # fmt: skip


def test_no_samples_have_no_mean(ledger):
    with pytest.raises(InvalidDataError, match="ledger: got no samples; expected at least one"):
        estimate_energy(replace(ledger, samples=0), load_profile("loihi1"))


@pytest.mark.parametrize("case", ["shortcut_across_two_convolutions", "pooled_downsample", "deep"])
def test_the_ledger_of_a_run_is_priced_completely(case):
    network = CASES[case]()
    counted = ReferenceEngine(network).run(sample_inputs(network, 3)).ledger
    found = estimate_energy(counted, profile(**ALL))
    terms = {term.event: term.count for term in found.terms}
    assert terms["synaptic_operation"] == pytest.approx(counted.synaptic_operations / 3)
    assert terms["graded_operation"] == pytest.approx(counted.macs / 3)
    neurons = sum(p.size for p in network.populations.values())
    updates = terms["neuron_update_active"] + terms["neuron_update_inactive"]
    assert updates == pytest.approx(neurons * network.steps)
    parts = sum(layer.joules for layer in found.layers)
    assert parts == pytest.approx(found.energy_per_inference_joules)
    assert sum(term.joules or 0 for term in found.terms) == pytest.approx(parts)
    names = [layer.name for layer in found.layers]
    assert names == [*network.labels, *network.populations]
    macs = sum(dense_macs(c, network.source_shape(c)) for c in network.all_connections)
    assert {twin.dense_macs for twin in found.twins} == {macs}


def test_the_mean_does_not_depend_on_how_samples_are_merged():
    network = vectors()
    inputs = sample_inputs(network, 6)
    engine = ReferenceEngine(network)
    whole = engine.run(inputs).ledger
    parts = engine.run(inputs[:2]).ledger.merged(engine.run(inputs[2:]).ledger)
    loihi = load_profile("loihi1")
    assert estimate_energy(parts, loihi).to_dict() == estimate_energy(whole, loihi).to_dict()


def test_every_event_is_priced_by_some_packaged_profile():
    priced = {e for name in profile_names() for e in load_profile(name).coefficients}
    assert priced == set(EVENTS)
