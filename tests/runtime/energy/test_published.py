"""What was published is recomputed: formulas and figures of others from their own counts."""

import pytest

from tests.runtime.energy.handmade import moved, one_layer
from trispike.errors import InvalidDataError, InvalidSettingError
from trispike.runtime.energy import Profile, estimate_energy, load_profile
from trispike.targets.sanafe import load_prices


def test_sanafe_formula():
    """E = e_syn SOP + 51.2 N T + 21.6 updates + 69.3 fires + 111 messages + 3.0 dx + 4.2 dy."""
    ledger = one_layer(operations=1000, neurons=20, steps=5, active=13, positive=6, negative=5)
    found = estimate_energy(
        ledger, load_profile("loihi1-regressed"), traffic=moved(messages=17, x=40, y=9)
    )
    dynamic = 51.2 * 20 * 5 + 21.6 * 13 + 69.3 * 11
    moving = 111.0 * 17 + 3.0 * 40 + 4.2 * 9
    total = 35.5 * 1000 + dynamic + moving
    assert found.energy_per_inference_joules == pytest.approx(total * 1e-12, rel=1e-12)
    assert found.breakdown == pytest.approx(
        {"synapses": 35_500e-12, "neurons": dynamic * 1e-12, "routing": moving * 1e-12}
    )
    # The envelope; a convolution's synapses lie inside.
    second = 51.2 * 20 * 5 + 21.6 * 13  # both signs fire: two neurons each, perhaps
    assert found.signs.second_neuron_high_joules == pytest.approx(1.117 * second * 1e-12)
    assert found.high_joules == pytest.approx(1.117 * (total + second) * 1e-12, rel=1e-4)
    low = 0.883 * (24.0 * 1000 + dynamic + moving)
    assert found.low_joules == pytest.approx(low * 1e-12, rel=1e-4)
    assert found.included == {"neuron_update_inactive": "A neuron without input costs its access."}


def test_the_regressed_prices_are_those_of_the_sanafe_target():
    events = load_prices().events
    ours = {e: c.picojoules for e, c in load_profile("loihi1-regressed").coefficients.items()}
    kinds = load_profile("loihi1-regressed").synapses
    assert {kind: c.picojoules for kind, c in kinds.items()} == {
        kind: events[f"synapse_{kind}"].picojoules for kind in ("dense", "sparse", "convolution")
    }
    assert ours == {
        "synaptic_operation": events["synapse_dense"].picojoules,
        "neuron_access": events["neuron_access"].picojoules,
        "neuron_update_active": events["neuron_update"].picojoules,
        "spike": events["spike_out"].picojoules,
        "message": events["message_out"].picojoules,
        "hop_x": events["hop_x"].picojoules,
        "hop_y": events["hop_y"].picojoules,
    }
    low = load_profile("loihi1-regressed").coefficients["synaptic_operation"].low
    assert low == pytest.approx(events["synapse_convolution"].picojoules * 0.883)


def test_accumulates_and_multiply_accumulates():
    """PMC10242054, Table 3: 18.39 M operations of an ANN are 845.94e-7 J, and 2.51 M of an SNN
    3.09e-7 J. That SNN figure is multiplied by the spike rate of 0.1366 twice: in the count
    (18.39 M x 0.1366 = 2.51 M) and in the energy."""
    convention = load_profile("cmos45-fp32")
    ann = estimate_energy(one_layer(graded=18_390_000), convention)
    assert ann.energy_per_inference_joules * 1e7 == pytest.approx(845.94, abs=0.005)
    snn = estimate_energy(one_layer(operations=2_510_000), convention)
    assert snn.energy_per_inference_joules * 0.1366 * 1e7 == pytest.approx(3.09, abs=0.005)
    assert pytest.approx(2.51, abs=0.005) == 18.39 * 0.1366


def test_kerasspiking_on_loihi():
    """keras-spiking 0.3.0: synop x connections x rate x dt x steps + neuron x neurons x steps.

    A layer of 10 to 5 elements, as in its documentation: 50 connections, 5 neurons. Over 8 steps,
    with each input firing in half of them.
    """
    synop, neuron, connections, steps = (23.6 + 3.5) * 1e-12, 81e-12, 50, 8
    theirs = synop * connections * 0.5 * steps + neuron * 5 * steps
    ledger = one_layer(operations=int(connections * 0.5 * steps), neurons=5, steps=steps, active=3)
    found = estimate_energy(ledger, load_profile("kerasspiking-loihi"))
    assert found.energy_per_inference_joules == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize(("name", "each"), [("cpu", 8.6e-9), ("gpu", 0.3e-9), ("arm", 0.9e-9)])
def test_kerasspiking_without_spikes(name, each):
    """One step of the dense network, whatever fires."""
    profile = load_profile(f"kerasspiking-{name}")
    ledger = one_layer(operations=7, neurons=5, steps=8, positive=2, dense_macs=50)
    found = estimate_energy(ledger, profile)
    assert found.energy_per_inference_joules == pytest.approx(each * (50 + 5), rel=1e-12)
    assert {term.event for term in found.terms} == {"mac", "activation"}
    assert profile.prices == "dense"


@pytest.mark.parametrize(
    ("name", "synop", "neuron"),
    [("kerasspiking-spinnaker", 13_300, 26_000), ("kerasspiking-spinnaker2", 450, 2190)],
)
def test_kerasspiking_table(name, synop, neuron):
    prices = {e: c.picojoules for e, c in load_profile(name).coefficients.items()}
    assert prices == {
        "synaptic_operation": synop,
        "neuron_update_active": neuron,
        "neuron_update_inactive": neuron,
    }


@pytest.mark.parametrize(
    ("name", "low", "price", "high"),
    [
        ("odin", 12.7, 12.7, 12.7),
        ("reckon", 5.3, 5.3, 5.3),
        ("tianjic", 1.54, 1.54, 1.54),
        ("spinnaker", 45, 13_300, 13_300),
        ("spinnaker2", 10, 450, 450),
        ("truenorth", 26, 26, 26),
    ],
)
def test_figures_per_synaptic_operation(name, low, price, high):
    found = estimate_energy(one_layer(operations=2, positive=1), load_profile(name))
    ends = (found.low_joules, found.energy_per_inference_joules, found.high_joules)
    assert ends == pytest.approx((2e-12 * low, 2e-12 * price, 2e-12 * high))
    (coefficient,) = load_profile(name).coefficients.values()
    assert coefficient.confidence == "secondary"


# ---------------------------------------------------------------------------------- what guards


def test_all_in_is_added_to_nothing():
    ledger = one_layer(operations=100, graded=3, neurons=4, active=2, positive=1)
    profile = load_profile("truenorth")
    found = estimate_energy(ledger, profile, traffic=moved(5, 1, 1))
    assert found.energy_per_inference_joules == pytest.approx(2600e-12)
    assert set(found.included) == {
        "neuron_update_active", "neuron_update_inactive", "spike", "message", "hop_x", "hop_y"
    }  # fmt: skip
    assert "graded_operation" in found.unpriced
    for event in ("spike", "graded_operation"):
        with pytest.raises(InvalidSettingError, match="several prices under a number that already"):
            estimate_energy(ledger, profile, {event: 1.0})


def test_what_a_price_holds_already_is_not_priced_again():
    ledger = one_layer(operations=1, neurons=2)
    text = "a price that profile 'loihi1-regressed' holds already: A neuron without input"
    with pytest.raises(InvalidSettingError, match=text):
        estimate_energy(ledger, load_profile("loihi1-regressed"), {"neuron_update_inactive": 1.0})


def test_messages_take_a_placement():
    ledger, profile = one_layer(operations=10, positive=2), load_profile("loihi1")
    alone = estimate_energy(ledger, profile)
    assert alone.unpriced["message"].startswith("1.7 pJ each (Davies")
    assert alone.unpriced["hop_y"].endswith("but counted on a placement only.")
    assert not {"message", "hop_x"} & {term.event for term in alone.terms}
    placed = estimate_energy(ledger, profile, traffic=moved(messages=8, x=6, y=4, samples=2))
    more = placed.energy_per_inference_joules - alone.energy_per_inference_joules
    assert more == pytest.approx((4 * 1.7 + 3 * 3.0 + 2 * 4.0) * 1e-12)
    assert placed.layers[-1].name == "mesh"
    assert "message" not in placed.unpriced
    with pytest.raises(InvalidSettingError, match="'message': got no placement"):
        estimate_energy(ledger, profile, {"message": 2.0})
    assumed = estimate_energy(ledger, profile, {"message": 2.0}, traffic=moved(3, 0, 0))
    assert assumed.breakdown["routing"] == pytest.approx(6e-12)
    with pytest.raises(InvalidDataError, match="got no samples"):
        estimate_energy(ledger, profile, traffic=moved(3, 0, 0, samples=0))


def test_messages_of_the_input_are_told_apart():
    """Eight of the network in two samples, six of the input: nobody says what these cost."""
    ledger, profile = one_layer(operations=10, positive=2), load_profile("loihi1")
    placed = estimate_energy(ledger, profile, traffic=moved(8, 0, 0, samples=2, entered=6))
    terms = {term.event: term for term in placed.terms}
    assert (terms["message"].count, terms["input_message"].count) == (4, 3)
    assert (terms["input_message"].status, terms["input_message"].joules) == ("unpriced", None)
    assert placed.unpriced["input_message"].startswith("Where the input enters the mesh")
    assert placed.breakdown["routing"] == pytest.approx(4 * 1.7e-12)
    # Without a placement it is missing, too, and said to be.
    assert "input_message" in estimate_energy(ledger, profile).unpriced
    stated = estimate_energy(
        ledger, profile, {"input_message": 2.0}, traffic=moved(8, 0, 0, samples=2, entered=6)
    )
    assert stated.breakdown["routing"] == pytest.approx((4 * 1.7 + 3 * 2.0) * 1e-12)


def test_signs_are_told_and_what_a_second_neuron_would_add():
    quiet = one_layer(operations=10, neurons=6, steps=2, active=4, positive=2)
    loud = one_layer(operations=10, neurons=6, steps=2, active=4, positive=2, negative=3)
    profile = load_profile("loihi1")
    none, some = estimate_energy(quiet, profile), estimate_energy(loud, profile)
    assert (none.signs.policy, none.signs.negative_spikes) == ("dual_channel", 0)
    assert none.signs.second_neuron_joules == 0
    assert some.signs.negative_spikes == 3
    assert some.signs.second_neuron_joules == pytest.approx((4 * 81 + 8 * 52) * 1e-12)
    assert some.energy_per_inference_joules == none.energy_per_inference_joules
    assert none.high_joules == none.energy_per_inference_joules
    assert some.high_joules == pytest.approx(none.high_joules + (4 * 81 + 8 * 52) * 1e-12)
    assert estimate_energy(loud, load_profile("cmos45-fp32")).signs.second_neuron_joules is None


def test_static_power_takes_a_latency():
    base = load_profile("odin").model_dump()
    del base["unpriced"]["static_power"]
    base["static_power"] = {"watts": 2e-6, "citation": "a guess"}
    profile, ledger = Profile.model_validate(base), one_layer(operations=10)
    unknown = estimate_energy(ledger, profile)
    assert "2e-06 W (a guess), but how long" in unknown.unpriced["static_power"]
    assert "static" not in unknown.breakdown
    known = estimate_energy(ledger, profile, latency_seconds=0.5)
    assert known.breakdown["static"] == pytest.approx(1e-6)
    assert (known.terms[-1].event, known.terms[-1].basis) == ("static_power", "assumed")
    base["static_power"] |= {"basis": "measured", "confidence": "published"}
    measured = estimate_energy(ledger, Profile.model_validate(base), latency_seconds=0.5)
    assert (measured.terms[-1].basis, measured.terms[-1].confidence) == ("measured", "published")
    assert known.energy_per_inference_joules == pytest.approx(1e-6 + 127e-12)
    assert "static_power" not in known.unpriced
    # A profile without one has none, however long it takes.
    assert "static_power" in estimate_energy(
        ledger, load_profile("loihi1"), latency_seconds=1.0
    ).unpriced  # fmt: skip
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InvalidSettingError, match="latency: got"):
            estimate_energy(ledger, profile, latency_seconds=wrong)
