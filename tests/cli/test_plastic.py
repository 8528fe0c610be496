"""``trispike plastic``: rules become part of a network; what runs it, what refuses it."""

import json

import pytest

from tests.plastic import rules_of
from trispike.network import load
from trispike.network.learning import plastic


@pytest.fixture
def rules(tmp_path):
    """Writes a file of rules."""

    def write(**entries):
        path = tmp_path / "rules.json"
        path.write_text(json.dumps(entries))
        return path

    return write


STRONG = {"eta": 0.5, "theta": 1.0, "keep_weights": True}


def test_from_rules_to_a_run(run, files, rules, tmp_path):
    path = tmp_path / "plastic"
    outcome = run(
        "plastic", files.vectors, rules(**{"*": STRONG, "input->first": None}), "-o", path
    )
    assert outcome.code == 0
    assert "first->second" in outcome.out
    assert "input->first" not in outcome.out
    assert "experimental" in outcome.out
    assert "runs on: reference, lava" in outcome.out
    assert list(plastic(load(path))) == ["first->second", "second->third"]
    result = run("simulate", path, "--data", files.vectors_data, "--json").json
    assert result["engine"] == "reference"
    plain = run("simulate", files.vectors, "--data", files.vectors_data, "--json").json
    assert result["firing_rates"]["first"] == plain["firing_rates"]["first"]
    assert result["firing_rates"]["second"] != plain["firing_rates"]["second"]
    told = run("simulate", path, "--data", files.vectors_data).out
    assert "plastic connections: first->second, second->third; experimental" in told
    shown = run("inspect", path)
    assert shown.out.count("plastic (experimental)") == 2
    refused = run("simulate", path, "--data", files.vectors_data, "--engine", "fast")
    assert refused.code == 1
    assert refused.err.count("\n") == 1
    assert "plastic connections: first->second, second->third" in refused.err


def test_a_measured_theta(run, files, rules, tmp_path):
    written = rules(
        **{"*": {"eta": 0.5, "theta": 3}, "first->second": {**STRONG, "theta": "measured"}}
    )
    path = tmp_path / "plastic"
    given = ("plastic", files.vectors, written, "-o", path)
    outcome = run(*given, "--data", files.vectors_data)
    assert outcome.code == 0
    found = rules_of(load(path))
    assert found["first->second"].theta.shape == (12,)
    assert found["first->second"].keep_weights
    assert found["input->first"].theta == 192
    assert "--data" in run(*given).err
    stated = rules(**{"*": STRONG})
    wrong = run("plastic", files.vectors, stated, "-o", path, "--data", files.vectors_data)
    assert wrong.code == 2
    assert "where the theta of a rule is measured" in wrong.err


def test_what_cannot_be(run, files, rules, tmp_path):
    path = tmp_path / "plastic"
    unknown = run("plastic", files.vectors, rules(**{"a->b": STRONG}), "-o", path)
    assert "these can be plastic: input->first" in unknown.err
    floats = run("plastic", files.float_network, rules(**{"*": STRONG}), "-o", path)
    assert "a float network" in floats.err
    broken = run("plastic", files.vectors, rules(**{"*": {"eta": 1}}), "-o", path)
    assert "'*'" in broken.err
    assert not path.exists()


def test_placement_and_energy_say_so(run, files, rules, tmp_path):
    path = tmp_path / "plastic"
    assert run("plastic", files.vectors, rules(**{"*": STRONG}), "-o", path).code == 0
    found = {}
    for chip in ("loihi1", "loihi2"):
        facts = run("check", path, "--target", chip, "--json").json
        found[chip] = [
            f["severity"]
            for f in facts["violations"] + facts["warnings"]
            if f["kind"] == "learning"
        ]
    assert found == {"loihi1": ["violation"] * 3, "loihi2": ["warning"] * 3}
    energy = run("estimate", path, "--data", files.vectors_data)
    assert "weight updates per inference" in energy.out
