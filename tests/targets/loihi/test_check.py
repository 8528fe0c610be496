"""What a chip cannot do: every limit is met by a network that breaks it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.networks import CASES, Builder, as_float
from trispike.errors import UnsupportedError
from trispike.network import FixedPointNeuron, IntegerNetwork, Population
from trispike.targets.loihi.check import Finding, check_network, not_lif, representable
from trispike.targets.loihi.hardware import load_board, load_chip
from trispike.targets.loihi.placement import try_to_place


def kinds(findings: list[Finding], severity: str = "violation") -> set[str]:
    return {f.kind for f in findings if f.severity == severity}


def network(**neuron: Any) -> IntegerNetwork:
    """One layer whose neurons are those of Loihi 1, but for what is given."""
    b = Builder(3, (6,), encoding="spikes")
    plain: dict[str, Any] = {"a_pos": 0, "a_neg": 0, "b_pos": 4000, "b_neg": 4000, "bias": 128,
                             "th_pos": 640, "th_neg": None}  # fmt: skip
    b.layer("input", "first", b.dense("input", 4), neuron={**plain, **neuron})
    return b.build("first")


def test_what_fits_has_no_violation():
    for chip in ("loihi1", "loihi2"):
        loaded = load_chip(chip)
        found = check_network(network(), loaded, try_to_place(network(), loaded))
        assert kinds(found) == set()
    assert kinds(check_network(network(), load_chip("loihi1")), "warning") == {
        "payload",
        "headroom",
    }


@pytest.mark.parametrize(
    ("neuron", "kind", "value"),
    [
        ({"state_bits": 25}, "state width", "25 bits"),
        ({"th_neg": 640}, "neuron", "negative spikes"),
        ({"a_pos": 5}, "neuron", "a carried potential"),
        ({"b_neg": 5}, "neuron", "a leak that depends on the sign"),
        ({"reset": "subtract"}, "neuron", "reset 'subtract'"),
        ({"fire_once": True}, "neuron", "firing once"),
        ({"floor": -5}, "neuron", "a floor"),
        ({"v_init": 5}, "neuron", "an initial potential"),
        ({"fire_from": 1}, "neuron", "a window of firing"),
        ({"gains": (4096, 0, 1, 9)}, "neuron", "a gain per time step"),
        ({"th_pos": 641}, "threshold resolution", "1 thresholds between two steps"),
        ({"bias": 4097}, "bias", "1 of 1 values"),
        ({"state_shift": 14}, "weight exponent", "8"),
    ],
)
def test_one_thing_at_a_time(neuron, kind, value):
    found = check_network(network(**neuron), load_chip("loihi1"))
    (finding,) = [f for f in found if f.severity == "violation"]
    assert (finding.kind, finding.value) == (kind, value)
    assert "first" in finding.subject
    assert finding.source
    assert finding.fix
    if kind not in {"state width", "weight exponent"}:
        assert kinds(check_network(network(**neuron), load_chip("loihi2"))) == set()


def test_all_violations_are_listed_at_once():
    bad = network(state_bits=26, th_neg=641, bias=4097, state_shift=16, reset="none")
    found = check_network(bad, load_chip("loihi1", {"weight_widths": "1,2,4", "decay_bits": "4"}))
    assert kinds(found) == {
        "state width", "neuron", "threshold resolution", "bias", "weight exponent", "weight bits",
        "decay",
    }  # fmt: skip
    severities = [f.severity for f in found]
    assert severities == sorted(severities, key=lambda s: s != "violation")


def test_widths_between_those_that_are_stored_are_warned_of():
    odd = network()
    odd = replace(
        odd,
        connections=tuple(
            replace(c, bits=7, operator=replace(c.operator, weight=c.operator.weight // 2))
            for c in odd.connections
        ),
    )
    found = check_network(odd, load_chip("loihi1"))
    (finding,) = [f for f in found if f.kind == "weight bits"]
    assert (finding.severity, finding.subject) == ("warning", "connection input->first")
    assert "8 bits each" in finding.fix


def test_a_graded_input_needs_a_payload():
    graded = CASES["strided_asymmetric"]()
    assert "payload" in kinds(check_network(graded, load_chip("loihi1")))
    assert "payload" not in kinds(check_network(graded, load_chip("loihi2")))
    assert "payload" in kinds(check_network(graded, load_chip("loihi2", {"payload_bits": "7"})))


def test_delays():
    assert "delay" not in kinds(check_network(CASES["deep"](), load_chip("loihi1")))
    found = check_network(CASES["deep"](), load_chip("loihi1", {"delay_max": "6"}))
    (finding,) = [f for f in found if f.kind == "delay"]
    assert (finding.subject, finding.value) == ("connection input->end", "7 steps")
    from tests.networks import too_fast_loop

    found = check_network(too_fast_loop(), load_chip("loihi2"))
    (finding,) = [f for f in found if f.kind == "delay"]
    assert "more connections than time steps of delay" in finding.value


def test_headroom_is_a_warning():
    saturating = CASES["saturation"]()
    assert "headroom" in kinds(check_network(saturating, load_chip("loihi2")), "warning")
    assert "headroom" in kinds(check_network(network(), load_chip("loihi2")), "warning")
    assert "headroom" not in kinds(
        check_network(network(state_shift=0), load_chip("loihi2")), "warning"
    )


def test_thresholds_per_channel_and_signed_spikes_are_told():
    case = CASES["per_channel_parameters"]()
    chip = load_chip("loihi1", {"thresholds_per_core": "1"})
    found = check_network(case, chip)
    assert {"threshold granularity", "signed spikes"} <= kinds(found, "warning")
    native = check_network(case, load_chip("loihi2"))
    assert not {"threshold granularity", "signed spikes"} & kinds(native, "warning")


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"in_axons": "3"}, "fan-in"),
        ({"synapse_memory": "50"}, "fan-in"),
        ({"out_axons": "1", "thresholds_per_core": "none"}, "fan-out"),
    ],
)
def test_what_fits_on_no_core(settings, kind):
    case = CASES["parallel_connections"]()
    chip = load_chip("loihi1", settings)
    found = check_network(case, chip, try_to_place(case, chip))
    there = [f for f in found if f.kind == kind]
    assert there
    assert all("for one neuron" in f.value and "per core" in f.limit for f in there)


def test_a_board_that_is_too_small_names_the_one_that_is_not():
    case = CASES["deep"]()
    chip = load_chip("loihi2", {"neurons_per_core": "1"})
    found = check_network(case, chip, try_to_place(case, chip, board=load_board("oheo-gulch")))
    (finding,) = [f for f in found if f.kind == "board"]
    assert finding.limit == "1 chip with 120 cores"
    assert finding.fix == (
        "The smallest that is large enough is Kapoho Point, --board kapoho-point: "
        "8 chips with 1,024 cores."
    )
    tiny = load_chip("loihi2", {"neurons_per_core": "1", "cores_per_chip": "1"})
    crowd = Population(shape=(1300,), neuron=FixedPointNeuron(th_pos=np.array(1)))
    b = Builder(0, (2,))
    b.connect("input", "many", b.dense("input", 1300))
    b.populations["many"] = crowd
    b.shapes["many"] = (1300,)
    large = b.build("many")
    found = check_network(large, tiny, try_to_place(large, tiny))
    (finding,) = [f for f in found if f.kind == "board"]
    assert (finding.subject, finding.limit) == (
        "all boards",
        "1,152 chips with 1,152 cores on Hala Point",
    )


def test_float_networks_are_refused():
    with pytest.raises(UnsupportedError, match="expected an integer network"):
        check_network(as_float(network()), load_chip("loihi2"))


def test_what_can_be_stored_as_mantissa_and_exponent():
    values = np.array([0, 1, 4095, 4096, 4097, 8190, 4095 * 128, 4096 * 128, 4095 * 64 + 32])
    assert representable(values, 12, 7).tolist() == [
        True, True, True, True, False, True, True, False, False
    ]  # fmt: skip


def test_the_neurons_of_loihi_1():
    leaky = FixedPointNeuron(th_pos=np.array(64), b_pos=np.array(9), b_neg=np.array(9))
    assert not_lif(leaky) == []
