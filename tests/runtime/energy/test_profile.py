"""Hardware profiles: every packaged one is cited, and a bad file is refused with all its faults."""

import json
import re
from typing import Any

import pytest

from trispike.errors import FileFormatError, InvalidSettingError
from trispike.runtime.energy import (
    COUNTED,
    EVENTS,
    Coefficient,
    load_hardware,
    load_profile,
    profile_names,
)
from trispike.runtime.energy.profile import IF_PRICED, PLACED


def fields() -> dict[str, Any]:
    """A small valid profile."""
    return {
        "id": "mine",
        "name": "Mine",
        "description": "A chip of mine.",
        "process_nm": 22,
        "scope": "per_term",
        "basis": "assumed",
        "signed_spikes": {"policy": "native", "note": "as it is"},
        "coefficients": {"synaptic_operation": {"picojoules": 2.0, "citation": "my bench"}},
        "unpriced": {"static_power": "not measured"},
    }


@pytest.fixture
def path(tmp_path):
    """A valid profile in a file; called with changes, it is written anew."""
    file = tmp_path / "mine.json"

    def write(**changes: Any):
        file.write_text(json.dumps(fields() | changes), encoding="utf-8")
        return file

    return write


def test_the_packaged_profiles():
    assert profile_names() == [
        "cmos45-fp16", "cmos45-fp32", "cmos45-int32", "cmos45-int8",
        "kerasspiking-arm", "kerasspiking-cpu", "kerasspiking-gpu", "kerasspiking-loihi",
        "kerasspiking-spinnaker", "kerasspiking-spinnaker2", "loihi1", "loihi1-regressed",
        "odin", "reckon", "spinnaker", "spinnaker2", "tianjic", "truenorth",
    ]  # fmt: skip


@pytest.mark.parametrize("name", profile_names())
def test_every_packaged_number_has_a_source(name):
    profile = load_profile(name)
    assert profile.id == name
    assert profile.name
    assert profile.description
    assert profile.coefficients
    for event, coefficient in profile.coefficients.items():
        assert event in EVENTS
        assert coefficient.picojoules > 0
        # Author, place, year, or a document's number: enough to find it.
        assert re.search(r"\w+.*((19|20)\d\d|document \d+)", coefficient.citation), event
        assert coefficient.confidence != "assumed"
    for event in set(COUNTED) - set(PLACED) - set(IF_PRICED) if profile.prices == "spiking" else ():
        told = profile.unpriced.get(event, profile.included.get(event, ""))
        assert event in profile.coefficients or len(told) > 20, event
    assert all(profile.unpriced.values())


def test_loihi1_has_the_published_numbers():
    """Davies et al., IEEE Micro 38(1), 2018, Table 2."""
    prices = {event: c.picojoules for event, c in load_profile("loihi1").coefficients.items()}
    assert prices == {
        "synaptic_operation": 23.6,
        "neuron_update_active": 81.0,
        "neuron_update_inactive": 52.0,
        "message": 1.7,
        "hop_x": 3.0,
        "hop_y": 4.0,
    }
    assert load_profile("loihi1").basis == "simulated"


@pytest.mark.parametrize(
    ("name", "accumulate", "multiply"),
    [
        ("cmos45-fp32", 0.9, 3.7),
        ("cmos45-fp16", 0.4, 1.1),
        ("cmos45-int32", 0.1, 3.1),
        ("cmos45-int8", 0.1, 0.2),
    ],
)
def test_arithmetic_is_priced_as_horowitz_published_it(name, accumulate, multiply):
    prices = {event: c.picojoules for event, c in load_profile(name).coefficients.items()}
    both = pytest.approx(accumulate + multiply)  # decimal fractions have no exact float sum
    assert prices == {"synaptic_operation": accumulate, "graded_operation": both, "mac": both}


@pytest.mark.parametrize("name", ["loihi2", "loihi2.json", "Loihi-2"])
def test_loihi2_has_no_published_price(name):
    text = (
        f"hardware profile: got '{name}'; expected one of cmos45-fp16, .*, truenorth, or a "
        "JSON file. Loihi 2 has no published energy per operation"
    )
    with pytest.raises(InvalidSettingError, match=text):
        load_profile(name)


def test_an_unknown_profile_is_refused(tmp_path):
    for name in ("brain", tmp_path, tmp_path / "none.json"):
        with pytest.raises(InvalidSettingError, match=r"expected one of .* Correct the name\."):
            load_profile(name)


def test_a_profile_from_a_file(path):
    profile = load_profile(path())
    assert profile == load_profile(str(path()))
    assert profile.id == "mine"
    assert (profile.voltage, profile.caveats) == (None, [])
    assert profile.coefficients["synaptic_operation"] == Coefficient(
        picojoules=2.0, citation="my bench"
    )


def test_a_packaged_name_wins_over_a_file(path, monkeypatch):
    file = path()
    file.rename(file.parent / "loihi1")
    monkeypatch.chdir(file.parent)
    assert load_profile("loihi1").id == "loihi1"
    assert load_profile("./loihi1").id == "mine"


def coefficient(**fields: Any) -> dict[str, Any]:
    return {"coefficients": {"synaptic_operation": {"picojoules": 2.0, "citation": "x"} | fields}}


def two_prices(event: str) -> dict[str, Any]:
    price = {"picojoules": 1.0, "citation": "x"}
    return {"coefficients": {"synaptic_operation": price, event: price}}


TIME = {"nanoseconds": 2.0, "citation": "my watch"}
BARRIER = {"low_nanoseconds": 1.0, "high_nanoseconds": 3.0, "citation": "my watch"}
TIMES = {"events": {"synaptic_operation": TIME}, "barrier": BARRIER, "cores": 4}
POWER = {"watts": 0.5, "citation": "my meter"}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (coefficient(citation="   "), r"citation: String should have at least 1 character"),
        (coefficient(picojoules="23.6"), "picojoules: Input should be a valid number"),
        (coefficient(picojoules=True), "picojoules: Input should be a valid number"),
        ({"id": " "}, "id: String should have at least 1 character"),
        ({"supports": {"bits": 0}}, "supports.bits: Input should be greater than 0"),
        (
            {"synapses": {"dense": {"picojoules": 1.0, "citation": "x"}}},
            "synapses: none for convolution, sparse",
        ),
        ({"times": TIMES | {"cores": 0}}, "times.cores: Input should be greater than 0"),
        (
            {"times": TIMES | {"events": {"spike": TIME}}},
            "times: Value error, spike: times are of synaptic_operation",
        ),
        (
            {"times": TIMES | {"barrier": BARRIER | {"low_nanoseconds": 9.0}}},
            "low_nanoseconds is above high_nanoseconds",
        ),
        (coefficient(citation=""), r"coefficients.synaptic_operation.citation: String should have"),
        (
            {"coefficients": {"synaptic_operation": {"picojoules": 1.0}}},
            r"coefficients.synaptic_operation.citation: Field required",
        ),
        (coefficient(picojoules=-1), r"picojoules: Input should be greater than or equal to 0"),
        (coefficient(picojoules=None), "picojoules: Input should be a valid number"),
        (coefficient(picojoules=float("nan")), "picojoules: Input should be a finite number"),
        (coefficient(high=float("inf")), "high: Input should be a finite number"),
        (coefficient(low=-0.5), "low: Input should be greater than or equal to 0"),
        (coefficient(low=3), r"low, picojoules and high are \(3.0, 2.0, None\), not in ascending"),
        (coefficient(high=1), r"\(None, 2.0, 1.0\), not in ascending"),
        (coefficient(unit="pJ"), "synaptic_operation.unit: Extra inputs are not permitted"),
        ({"price": 1}, "price: Extra inputs are not permitted"),
        ({"scope": "some"}, "scope: Input should be 'per_term' or 'all_in'"),
        ({"basis": "guessed"}, "basis: Input should be 'simulated', 'measured'"),
        ({"process_nm": 0}, "process_nm: Input should be greater than 0"),
        (
            {"coefficients": {"spike_message": {"picojoules": 1.7, "citation": "x"}}},
            "coefficients for spike_message, which is not counted: events are synaptic_operation",
        ),
        (
            {"unpriced": {"synaptic_operation": "who knows"}},
            "synaptic_operation: both among coefficients and unpriced",
        ),
        (
            {"included": {"synaptic_operation": "who knows"}},
            "synaptic_operation: both among coefficients and included",
        ),
        ({"included": {"thought": "who knows"}}, "included for thought, which is not counted"),
        ({"coefficients": {}}, "coefficients: Dictionary should have at least 1 item"),
        (coefficient(confidence="sure"), "confidence: Input should be 'published', 'secondary'"),
        (coefficient(basis="guessed"), "basis: Input should be 'simulated', 'measured'"),
        ({"signed_spikes": "native"}, "signed_spikes: Input should be an object"),
        (
            {"signed_spikes": {"policy": "none", "note": "x"}},
            "signed_spikes.policy: Input should be 'native', 'dual_channel' or 'sign_as_weight'",
        ),
        (
            {"supports": {"signed_spikes": False}},
            "the policy is native, but they are not supported",
        ),
        (
            two_prices("graded_operation") | {"supports": {"graded_spikes": False}},
            "graded_operation: has a price, but graded spikes are not supported",
        ),
        (
            two_prices("graded_operation") | {"scope": "all_in"},
            "an all_in number stands for everything: it is the only coefficient",
        ),
        (
            {"scope": "all_in", "unpriced": {}, "static_power": POWER},
            "an all_in number stands for everything: it is the only coefficient, without static",
        ),
        ({"static_power": POWER}, "static_power: both given and unpriced"),
        ({"static_power": POWER | {"watts": -1}}, "static_power.watts: Input should be greater"),
        ({"static_power": {"watts": 1}}, "static_power.citation: Field required"),
        ({"prices": "dense"}, "synaptic_operation: no event of a dense network"),
        (
            {"coefficients": {"mac": {"picojoules": 1.0, "citation": "x"}}},
            "coefficients: none for an event of a spiking network",
        ),
    ],
)
def test_a_bad_profile_is_refused(changes, text, path):
    with pytest.raises(FileFormatError, match=rf"hardware profile '.*mine.json': got .*{text}"):
        load_profile(path(**changes))


def test_all_faults_are_listed_at_once(path):
    bad = coefficient(picojoules=-1, citation="")["coefficients"]
    with pytest.raises(FileFormatError, match="price: Extra") as caught:
        load_profile(path(price=1, coefficients=bad, process_nm="fine"))
    for place in ("process_nm", "synaptic_operation.picojoules", "synaptic_operation.citation"):
        assert place in caught.value.got


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b"loihi", b"\xff\xfe\x00"])
def test_what_is_not_a_profile_is_refused(content, path):
    file = path()
    file.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"expected the fields of .*Profile"):
        load_profile(file)


def test_every_missing_field_is_named(path):
    file = path()
    file.write_text("{}", encoding="utf-8")
    with pytest.raises(FileFormatError, match="Field required") as caught:
        load_profile(file)
    required = list(fields())
    assert all(f"{name}: Field required" in caught.value.got for name in required)


@pytest.mark.parametrize("name", ["loihi1", "cmos45-memory"])
def test_the_id_of_a_packaged_one_is_taken(name, path):
    with pytest.raises(FileFormatError, match=f"got id '{name}', which is that of hardware that"):
        load_profile(path(id=name))
    with pytest.raises(FileFormatError, match="expected an id of its own"):
        load_hardware(path(id=f" {name} "))


@pytest.mark.parametrize("load", [load_profile, load_hardware])
def test_a_key_that_comes_twice_is_refused(load, path):
    file = path()
    text = file.read_text(encoding="utf-8")
    file.write_text(
        text.replace('"picojoules": 2.0', '"picojoules": 2.0, "picojoules": 1.0'), encoding="utf-8"
    )
    with pytest.raises(FileFormatError, match="got key 'picojoules' twice in one object"):
        load(file)


def test_loihi1_has_the_published_times():
    """Davies et al., IEEE Micro 38(1), 2018, Table 2; that of a synaptic operation is a maximum."""
    times = load_profile("loihi1").times
    assert times is not None
    assert {event: (t.nanoseconds, t.is_maximum) for event, t in times.events.items()} == {
        "synaptic_operation": (3.5, True),
        "neuron_update_active": (8.4, False),
        "neuron_update_inactive": (5.3, False),
    }
    assert (times.barrier.low_nanoseconds, times.barrier.high_nanoseconds) == (113, 465)
    assert times.cores == 128
