"""``estimate --anytime`` and ``simulate --exit-confidence``: the API's numbers, and refusals."""

import json
from typing import Any

import numpy as np
import pytest

import trispike
from tests.cli.conftest import Files
from trispike.cli.console import joules, percent
from trispike.network import Network, with_steps
from trispike.runtime import ReferenceEngine
from trispike.runtime.anytime import anytime, confidences, early_exit, exit_energy
from trispike.runtime.energy import load_profile


def loaded(files: Files) -> tuple[Network, Any, Any]:
    with np.load(files.data) as data:
        return trispike.load(files.integer_network), data["x"], data["y"]


def plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def test_the_curve_of_an_estimate(run, files, tmp_path):
    command = ("estimate", files.integer_network, "--data", files.data, "--anytime")
    outcome = run(*command, "--json")
    network, x, y = loaded(files)
    curve = anytime(network, x, ReferenceEngine(network).run(x, y), load_profile("loihi1"))
    assert outcome.json["anytime"] == {**plain(curve.to_dict()), "plot": None}
    assert outcome.json["anytime"]["points"][-1]["accuracy"] == outcome.json["accuracy"]
    picture = tmp_path / "curve.svg"
    text = run(*command, "--plot", picture)
    assert (text.code, text.err) == (0, "")
    for point in curve.points:
        assert f"{percent(point.accuracy)}" in text.out
        assert joules(point.energy_per_inference_joules) in text.out
    assert "knee: the fewest steps whose accuracy is within one standard error" in text.out
    assert f"wrote {picture}\n" in text.out
    assert picture.read_text(encoding="utf-8").startswith("<?xml")
    assert run(*command[:-1], "--json").json["anytime"] is None


def test_beyond_the_steps_of_the_network(run, files):
    command = ("estimate", files.integer_network, "--data", files.data, "--anytime", "--json")
    longer = run(*command, "--max-steps", 5).json
    network, x, y = loaded(files)
    more = with_steps(network, 5)
    curve = anytime(
        more, x, ReferenceEngine(more).run(x, y), load_profile("loihi1"), network_steps=3
    )
    assert longer["anytime"] == {**plain(curve.to_dict()), "plot": None}
    # The estimate itself is that of the network, not of the longer run.
    energy = longer["anytime"]["points"][2]["energy_per_inference_joules"]
    assert longer["energy_per_inference_joules"] == energy


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        (("--max-steps", "5"), "InvalidSettingError", "--max-steps: got no --anytime"),
        (("--plot", "x.svg"), "InvalidSettingError", "--plot: got no --anytime"),
        (("--anytime", "--max-steps", "2"), "InvalidSettingError", "got 2; expected at least 3"),
        (("--anytime", "--plot", "x.bmp"), "InvalidSettingError", "suffix '.bmp'"),
        (("--anytime", "--plot", "no/x.svg"), "InvalidSettingError", "a folder that does not"),
    ],
)
def test_bad_options_of_the_curve(options, kind, text, refused, files):
    command = ("estimate", files.integer_network, "--data", files.data, *options)
    assert text in refused(*command, kind=kind, code=2)


def test_the_curve_needs_labels(refused, files, tmp_path):
    np.save(tmp_path / "x.npy", loaded(files)[1])
    command = ("estimate", files.integer_network, "--data", tmp_path / "x.npy", "--anytime")
    assert "labels: got none" in refused(*command, kind="InvalidDataError")


def test_early_exit(run, files):
    network, x, y = loaded(files)
    seen = np.unique(confidences(network, ReferenceEngine(network).run(x))[:, :-1])
    threshold = float(seen[len(seen) // 2 :][:2].mean())
    command = ("simulate", files.integer_network, "--data", files.data)
    exits = early_exit(network, x, y, confidence=threshold, build=ReferenceEngine)
    assert len(exits.groups) > 1
    facts = run(*command, "--exit-confidence", repr(threshold), "--json").json
    early = facts["early_exit"]
    assert early["exit_steps"] == exits.exit_steps.tolist()
    assert early["samples_by_exit_step"] == list(exits.distribution)
    assert early["mean_steps"] == exits.mean_steps
    energy = exit_energy(network, x, exits, load_profile("loihi1"))
    assert early["energy_per_inference_joules"] == pytest.approx(energy.joules, rel=1e-12)
    assert facts["accuracy"] == exits.accuracy
    assert facts["predictions"] == exits.predictions.tolist()
    assert facts["ledger"] == plain(exits.ledger.to_dict())
    whole = run(*command, "--json").json
    assert whole["early_exit"] is None
    assert early["accuracy_of_all_steps"] == whole["accuracy"]
    assert early["synaptic_operations_of_all_steps"] == whole["synaptic_operations"]
    text = run(*command, "--exit-confidence", repr(threshold)).out
    assert f"{exits.mean_steps:.2f} of 3 steps on average" in text
    assert f"{joules(energy.joules)} per inference on Loihi 1" in text


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--exit-confidence", "1"), "exit confidence: got 1; expected a probability"),
        (("--exit-confidence", "nan"), "exit confidence: got nan"),
        (("--hardware", "loihi1"), "--hardware: got no --exit-confidence"),
        (("--exit-confidence", "0.9", "--hardware", "pdp11"), "got 'pdp11'"),
        (
            ("--exit-confidence", "0.9", "--record", "all", "--record-to", "run.npz"),
            "--record: got --exit-confidence",
        ),
    ],
)
def test_bad_options_of_early_exit(options, text, refused, files):
    command = ("simulate", files.integer_network, "--data", files.data, *options)
    assert text in refused(*command, kind="InvalidSettingError", code=2)
