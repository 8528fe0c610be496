"""Energy: counts times prices, checked by hand; nothing unpriced is taken to be zero."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.networks import CASES, as_float, sample_inputs, vectors
from tests.runtime.energy.handmade import moved
from trispike.errors import InvalidDataError, InvalidSettingError
from trispike.runtime import Ledger, ReferenceEngine
from trispike.runtime.energy import (
    COUNTED,
    EVENTS,
    Coefficient,
    Profile,
    estimate_energy,
    load_profile,
    prices_of,
    profile_names,
)
from trispike.runtime.energy.profile import IF_PRICED, PLACED, SignedSpikes
from trispike.runtime.ledger import ConnectionCounts, PopulationCounts
from trispike.runtime.sample_counts import SampleCounts


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
        "mesh_hop": "no placement",
        "static_power": "The profile gives none.",
        **dict.fromkeys(
            PLACED, "The profile has no price for it, and it is counted on a placement only."
        ),
    }
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
    assert exact.low_joules == pytest.approx(total)
    # No interval is published; but the population fires both signs, and may take two neurons.
    assert exact.without_interval == (3, 3)
    assert exact.high_joules == pytest.approx(total + (4 * 81 + 6 * 52) * 1e-12)
    assert found.without_interval == (1, 3)
    # An assumption is a number, not an interval.
    assumed = estimate_energy(ledger, uncertain, {"synaptic_operation": 10})
    assert assumed.low_joules == pytest.approx((500 + 400 + 6) * 1e-12)


def test_a_network_that_does_nothing_costs_its_updates(ledger):
    """No division by its zero operations, and nothing that JSON cannot hold."""
    silent = replace(ledger.connections["input->a"], macs=counts(0, 0),
                     synaptic_operations=counts(0, 0))  # fmt: skip
    idle = replace(ledger.populations["a"], updates_with_input=counts(0, 0))
    quiet = replace(ledger, connections={"input->a": silent}, populations={"a": idle})
    found = estimate_energy(quiet, load_profile("loihi1"))
    assert found.energy_per_inference_joules == pytest.approx(10 * 52e-12)
    json.dumps(found.to_dict(), allow_nan=False)


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
    assert priced == set(EVENTS) - {"input_message"}  # for which nobody has published a price


def test_errors_of_the_means(ledger):
    """Two samples of 30 and 70 operations: 50 +- 20; each of 10 pJ."""

    def two(first: int, second: int) -> Any:
        return np.array([[first, 0], [0, second]], dtype=np.int64)

    each = SampleCounts(
        spikes={"a": two(3, 3)},
        updates_with_input={"a": two(3, 5)},
        synaptic_operations={"input->a": two(30, 70)},
        macs={"input->a": two(8, 2)},
        zero_weight_operations={"input->a": two(0, 0)},
        input_events={"input": two(1, 1)},
    )
    one_by_one = replace(ledger, per_sample=each)
    terms = {t.event: t for t in estimate_energy(one_by_one, profile(**ALL)).terms}
    assert {event: t.count_error for event, t in terms.items()} == pytest.approx({
        "synaptic_operation": 20, "graded_operation": 3, "neuron_update_active": 1,
        "neuron_update_inactive": 1, "spike": 0,
    })  # fmt: skip
    # 30*10 + 8*100 + 3*1000 + 7*10000 = 74100 pJ, and 700 + 200 + 5000 + 50000 = 55900 pJ.
    found = estimate_energy(one_by_one, profile(**ALL))
    assert found.energy_per_inference_joules == pytest.approx(65_000e-12)
    assert found.standard_error_joules == pytest.approx((74_100 - 55_900) / 2 * 1e-12)
    # Not known without counts per sample, nor beside messages, which are summed only.
    assert estimate_energy(ledger, profile(**ALL)).standard_error_joules is None
    mixed = estimate_energy(one_by_one, load_profile("loihi1"), traffic=moved(3, 0, 0, samples=2))
    assert mixed.standard_error_joules is None


def test_the_hash_is_that_of_the_prices(ledger):
    one, same = profile(synaptic_operation=10), profile(synaptic_operation=10)
    other = profile(synaptic_operation=11)
    hashes = [estimate_energy(ledger, p).hardware_sha256 for p in (one, same, other)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert estimate_energy(ledger, one).to_dict()["hardware_sha256"] == hashes[0]


@pytest.mark.parametrize("case", ["shortcut_across_two_convolutions", "vectors"])
def test_synapses_are_priced_by_how_they_are_stored(case):
    """SANA-FE's fit: 24.0 pJ in a convolution, 35.5 in a matrix, 33.6 in a list."""
    network = CASES[case]()
    counted = ReferenceEngine(network).run(sample_inputs(network, 3)).ledger
    kinds = {
        "Conv2d": ("convolution", 24.0),
        "Dense": ("dense", 35.5),
        "Identity": ("sparse", 33.6),
    }
    expected: dict[str, tuple[float, float]] = {}
    for label, c in network.labelled():
        kind, price = kinds[type(c.operator).__name__]
        count = counted.connections[label].synaptic_operations.sum() / 3
        known = expected.get(kind, (0.0, price))[0]
        expected[kind] = (known + count, price)
    found = estimate_energy(counted, load_profile("loihi1-regressed"), network=network)
    terms = {t.variant: t for t in found.terms if t.event == "synaptic_operation"}
    assert terms.keys() == expected.keys()
    for kind, term in terms.items():
        assert (term.count, term.picojoules) == pytest.approx(expected[kind]), kind
    synapses = sum(count * price for count, price in expected.values()) * 1e-12
    assert found.breakdown["synapses"] == pytest.approx(synapses)
    for term in terms.values():
        assert term.joules is not None
        assert term.low_joules == pytest.approx(0.883 * term.joules)
        assert term.high_joules == pytest.approx(1.117 * term.joules)
    # What the user states stands for all of them.
    flat = estimate_energy(
        counted, load_profile("loihi1-regressed"), {"synaptic_operation": 1.0}, network=network
    )
    assert [t.picojoules for t in flat.terms if t.event == "synaptic_operation"] == [1.0]
    with pytest.raises(InvalidDataError, match="counts of another network"):
        estimate_energy(counted, load_profile("loihi1-regressed"), network=CASES["deep"]())


def test_weights_that_the_hardware_cannot_hold_are_told():
    network = as_float(CASES["static_form"]())
    counted = ReferenceEngine(network).run(32.0 * sample_inputs(network, 2)).ledger
    found = estimate_energy(counted, load_profile("loihi1"), network=network)
    text = "Weights of 32 bits are priced as if the hardware held them: it has 9."
    assert found.caveats[-1] == found.to_dict()["caveats"][-1] == text
    small = CASES["static_form"]()
    counted = ReferenceEngine(small).run(sample_inputs(small, 2)).ledger
    assert estimate_energy(counted, load_profile("loihi1"), network=small).remarks == ()
