"""``trispike inspect --graph``: a picture of a network."""

import numpy as np

import trispike
from trispike.runtime import ReferenceEngine


def test_a_picture_is_written(run, files, tmp_path):
    outcome = run("inspect", files.vectors, "--graph", tmp_path / "net.svg")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.endswith(f"wrote {tmp_path / 'net.svg'}\n")
    assert "firing" not in (tmp_path / "net.svg").read_text(encoding="utf-8")


def test_firing_rates_are_those_of_the_engine(run, files, tmp_path):
    command = ("inspect", files.vectors, "--graph", tmp_path / "net.svg", "--json")
    facts = run(*command, "--data", files.vectors_data, "--samples", 3).json
    x = np.load(files.vectors_data)["x"][:3]
    ledger = ReferenceEngine(trispike.load(files.vectors)).run(x).ledger
    assert facts["firing_rates"] == {n: ledger.firing_rate(n) for n in ledger.populations}
    drawn = (tmp_path / "net.svg").read_text(encoding="utf-8")
    for rate in facts["firing_rates"].values():
        assert f"{100 * rate:.1f}% firing" in drawn
    assert run(*command).json["firing_rates"] is None


def test_data_without_a_picture(refused, files):
    message = refused(
        "inspect", files.vectors, "--data", files.vectors_data, kind="InvalidSettingError", code=2
    )
    assert "--graph" in message


def test_the_network_is_not_overwritten(refused, files):
    message = refused(
        "inspect", files.vectors, "--graph", files.vectors, kind="InvalidSettingError", code=2
    )
    assert "the file that is read" in message
