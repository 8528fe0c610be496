"""trispike check: tables, files, exit codes."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET

import pytest

import trispike
from trispike.targets.loihi.files import load_placement
from trispike.targets.loihi.hardware import load_chip
from trispike.targets.loihi.placement import place


def test_what_fits(run, files):
    outcome = run("check", files.integer_network, "--target", "loihi2")
    assert (outcome.code, outcome.err) == (0, "")
    network = trispike.load(files.integer_network)
    for name in (*network.populations, "readout"):
        assert f"\n{name} " in outcome.out
    for word in ("Oheo Gulch", "Kapoho Point", "Hala Point", "weights of 4 bits", "chip Loihi 1",
                 "loihi2:flexible"):  # fmt: skip
        assert word in outcome.out
    assert "The network fits on oheo-gulch (Loihi 2): " in outcome.out
    assert "in axons per core: 4,096 (assumed: not public)" in outcome.out
    for word in ("fan-in", "fan-out", "one tile", "one core", "fullest", "what relieves neurons: "):
        assert word in outcome.out
    assert "violation" not in outcome.out.split("The network fits")[0]


def test_what_does_not_fit_is_all_listed(run, files):
    outcome = run("check", files.integer_network, "--target", "loihi1")
    assert (outcome.code, outcome.err) == (1, "")
    for word in ("violation: payload", "violation: neuron", "way out: ", "warning: signed spikes",
                 "does not fit"):  # fmt: skip
        assert word in outcome.out
    facts = run("check", files.integer_network, "--target", "loihi1", "--json")
    assert facts.code == 1
    assert facts.json["fits"] is False
    assert {v["kind"] for v in facts.json["violations"]} >= {"payload", "neuron"}


def test_a_board_that_is_too_small(run, files):
    small = ("--set", "neurons_per_core=1", "--board", "oheo-gulch")
    outcome = run("check", files.integer_network, "--target", "loihi2", *small, "--json")
    (violation,) = outcome.json["violations"]
    assert outcome.code == 1
    assert violation["kind"] == "board"
    assert violation["fix"] == (
        "The smallest that is large enough is Hala Point, --board hala-point: "
        "1,152 chips with 140,544 cores."
    )


def test_files_and_traffic(run, files, tmp_path):
    placement, picture = tmp_path / "p.json", tmp_path / "p.svg"
    outcome = run(
        "check", files.integer_network, "--target", "loihi2", "--strategy", "low-traffic",
        "--set", "neurons_per_core=64", "--data", files.data, "--samples", "3",
        "-o", placement, "--picture", picture,
    )  # fmt: skip
    assert outcome.code == 0
    assert f"wrote {placement}\nwrote {picture}\n" in outcome.out
    assert "\nall populations " in outcome.out
    network = trispike.load(files.integer_network)
    chip = load_chip("loihi2", {"neurons_per_core": "64"})
    written = load_placement(placement, network)
    assert written.cores == place(network, chip, strategy="low-traffic").cores
    assert "Traffic" in ET.tostring(ET.parse(picture).getroot(), encoding="unicode")


def test_messages_are_those_of_the_spikes(run, files):
    """All on one core: a message per spike, for each connection; none of them travels."""
    command = ("check", files.integer_network, "--target", "loihi2", "--data", files.data, "--json")
    facts = run(*command, "--samples", "5").json
    assert facts["cores"] == 1
    simulated = run(
        "simulate", files.integer_network, "--data", files.data, "--samples", "5", "--json"
    ).json
    assert sum(facts["traffic"]["total"]["messages"]) == simulated["ledger"]["spikes"]
    assert sum(facts["traffic"]["total"]["hops_x"]) == 0
    assert facts["traffic"]["samples"] == 5


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--target", "loihi3"), "hardware profile: got 'loihi3'; expected one of loihi1, loihi2"),
        (("--target", "loihi2", "--board", "big"), "board: got 'big'"),
        (("--target", "loihi2", "--board", "nahuku"), "--board: got nahuku, a board of loihi1"),
        (("--target", "loihi2", "--strategy", "fast"), "--strategy: got 'fast'; expected compact"),
        (("--target", "loihi2", "--set", "memory"), "--set: got 'memory'; expected KEY=VALUE"),
        (("--target", "loihi2", "--set", "memory=1"), "setting 'memory': got an unknown field"),
        (("--target", "loihi2", "--set", "in_axons=-1"), "in_axons.value: Input should be greater"),
        (("--target", "loihi2", "--set", "in_axons=9223372036854775808"), "should be less than or"),
        (("--target", "loihi2", "--cores", "/no/such/c.csv"), "a folder that does not exist"),
        (("--target", "loihi2", "--picture", "/no/such/p.svg"), "a folder that does not exist"),
    ],
)
def test_wrong_use(options, text, refused, files):
    message = refused("check", files.integer_network, *options, kind="InvalidSettingError", code=2)
    assert text in message


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: c.update(colour=1), "colour: Extra inputs are not permitted"),
        (lambda c: c["in_axons"].pop("citation"), "in_axons.citation: Field required"),
        (lambda c: c["in_axons"].update(value=-1), "in_axons.value: Input should be greater than"),
        (lambda c: c["in_axons"].update(value=10**30), "in_axons.value: Input should be less"),
    ],
)
def test_bad_profiles(change, text, refused, files, tmp_path):
    content = load_chip("loihi1").model_dump()
    change(content)
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    message = refused("check", files.integer_network, "--target", path, kind="FileFormatError")
    assert text in message
    assert str(path) in message
    assert "Compare with trispike/targets/loihi/profiles/loihi1.json" in message


def test_every_core_is_in_the_table(run, files, tmp_path):
    table = tmp_path / "cores.csv"
    facts = run(
        "check", files.integer_network, "--target", "loihi2", "--set", "neurons_per_core=64",
        "--cores", table, "--json",
    ).json  # fmt: skip
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert len(rows) == facts["cores"] > 5
    for resource, use in facts["core_use"].items():
        found = [int(row[resource]) for row in rows]
        assert max(found) == use["most"]
        assert sum(found) / len(found) == pytest.approx(use["mean"])
        (fullest,) = (
            row
            for row in rows
            if (row["chip"], row["core"]) == (str(use["chip"]), str(use["core"]))
        )
        assert int(fullest[resource]) == use["most"]
    assert facts["core_use"]["neurons"]["most"] <= 64
    named = {name for row in rows for name in row["populations"].split()}
    assert named == {p["name"] for p in facts["populations"]}


def test_float_networks_are_refused(refused, files):
    start = ("check", files.float_network, "--target", "loihi2")
    assert "expected an integer network" in refused(*start, kind="UnsupportedError")
