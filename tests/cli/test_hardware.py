"""``trispike hardware``: all prices with their sources; a bad file gets one clear error."""

import json

import pytest

from trispike.runtime.energy import MemoryModel, hardware_names, load_hardware


def test_the_list(run):
    outcome = run("hardware")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    for name in hardware_names():
        assert sum(line.split()[:1] == [name] for line in lines) == 1
    assert "Loihi 2 has no published energy per operation" in outcome.out
    facts = run("hardware", "--json").json
    assert [p["id"] for p in facts["profiles"]] == hardware_names()
    kinds = {p["id"]: p["kind"] for p in facts["profiles"]}
    assert (kinds["loihi1"], kinds["cmos45-memory"]) == ("events", "memory")


@pytest.mark.parametrize("name", hardware_names())
def test_one_with_its_sources(name, run):
    profile = load_hardware(name)
    out = run("hardware", name).out
    facts = run("hardware", name, "--json").json
    if isinstance(profile, MemoryModel):
        prices = dict(profile.coefficients())
        assert {s["what"]: s["value"] for s in facts["sizes"]} == {
            "word_bits": 64, "accumulator_bits": 32, "payload_bits": 8
        }  # fmt: skip
    else:
        prices = profile.coefficients
        assert facts["included"] == profile.included
    assert {c["event"]: c["picojoules"] for c in facts["coefficients"]} == {
        event: price.picojoules for event, price in prices.items()
    }
    for price in prices.values():
        assert price.citation in out
        assert price.note in out
    for why in (*profile.unpriced.values(), *profile.caveats, profile.signed_spikes.note):
        assert why in out
    assert facts["unpriced"] == profile.unpriced
    assert facts["signed_spikes"]["policy"] == profile.signed_spikes.policy


def test_a_profile_of_ones_own(run, refused, tmp_path):
    content = json.loads(load_hardware("odin").model_dump_json())
    del content["unpriced"]["static_power"]
    content |= {"id": "mine", "static_power": {"watts": 0.25, "citation": "my meter"}}
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert run("hardware", path, "--json").json["static_power"]["watts"] == 0.25
    assert "static power: 0.25 W (assumed): my meter" in run("hardware", path).out
    path.write_text(json.dumps(content | {"id": 3}), encoding="utf-8")
    message = refused("hardware", path, kind="FileFormatError")
    assert "id: Input should be a valid string" in message


def test_loihi2_is_refused(refused):
    message = refused("hardware", "loihi2", kind="InvalidSettingError", code=2)
    assert "Loihi 2 has no published energy per operation" in message
