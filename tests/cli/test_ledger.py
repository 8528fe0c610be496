"""``--ledger-out``, ``--ledger``, ``--statistics`` and ``--per-class``."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import trispike
from tests.cli.conftest import Files
from trispike.cli import ledger
from trispike.cli.console import joules
from trispike.network import Network, digest
from trispike.runtime import ReferenceEngine, Result
from trispike.runtime.derived_counts import derived_counts
from trispike.runtime.energy import estimate_energy, load_profile
from trispike.runtime.ledger_file import load_ledger, save_ledger, stored_ledger
from trispike.runtime.statistics import KINDS, EnergySpread, statistics


@pytest.fixture
def counts(run, files, tmp_path):
    """Of the tiny network."""
    path = tmp_path / "run.safetensors"
    outcome = run(
        "simulate", files.vectors, "--data", files.vectors_data, "--ledger-out", path, "--json"
    )
    assert outcome.code == 0
    assert outcome.json["ledger_file"] == {"output": str(path), "bytes": path.stat().st_size}
    return path


def expected(files: Files) -> tuple[Network, Any, Result]:
    network = trispike.load(files.vectors)
    with np.load(files.vectors_data) as arrays:
        x, y = arrays["x"], arrays["y"]
    return network, x, ReferenceEngine(network).run(x, y, per_sample=True)


def test_what_is_written_is_what_was_counted(files, counts):
    network, x, result = expected(files)
    stored = load_ledger(counts)
    assert stored.ledger.differences(result.ledger) == []
    assert stored.accuracy == result.accuracy
    assert stored.network_sha256 == digest(network)
    assert stored.data == files.vectors_data.name
    assert stored.input_events > 0
    assert len(x) == stored.ledger.samples


def test_estimate_writes_the_same_file(run, files, counts, tmp_path):
    path = tmp_path / "other.safetensors"
    outcome = run("estimate", files.vectors, "--data", files.vectors_data, "--ledger-out", path)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.endswith(f"wrote {path}\n")
    assert path.read_bytes() == counts.read_bytes()
    told = run("simulate", files.vectors, "--data", files.vectors_data, "--ledger-out", path).out
    assert told.endswith(f"wrote {path}\n")


@pytest.mark.parametrize("hardware", ["loihi1", "cmos45-int8"])
def test_it_is_priced_again_without_data(hardware, run, files, counts):
    start = ("estimate", files.vectors, "--hardware", hardware)
    again = run(*start, "--ledger", counts)
    fresh = run(*start, "--data", files.vectors_data)
    assert (again.code, again.err) == (0, "")
    assert again.out == fresh.out
    json = [run(*start, *source, "--json").json for source in (
        ("--ledger", counts), ("--data", files.vectors_data))]  # fmt: skip
    assert json[0] == json[1]
    assert json[0]["accuracy"] is not None


def test_conventions_again_without_data(run, files, counts):
    start = ("estimate", files.vectors, "--conventions")
    again = run(*start, "--ledger", counts, "--json").json
    fresh = run(*start, "--data", files.vectors_data, "--json").json
    assert again == fresh
    assert {c["id"] for c in again["conventions"]} > {"trispike", "neurobench", "syops"}


def test_shards_are_priced_as_one(run, files, counts, tmp_path):
    arrays = np.load(files.vectors_data)
    options = []
    for name, part in [("a", slice(3)), ("b", slice(3, None))]:
        data, path = tmp_path / f"{name}.npz", tmp_path / f"{name}.safetensors"
        np.savez(data, x=arrays["x"][part], y=arrays["y"][part])
        run("simulate", files.vectors, "--data", data, "--ledger-out", path)
        options += ["--ledger", path]
    start = ("estimate", files.vectors, "--hardware", "cmos45-memory", "--statistics", "--json")
    whole = run(*start, "--ledger", counts).json
    merged = run(*start, *options).json
    assert merged.pop("data") == "a.npz, b.npz"
    assert merged == {key: value for key, value in whole.items() if key != "data"}


def test_the_same_samples_twice_are_refused(refused, files, counts):
    message = refused(
        "estimate", files.vectors, "--ledger", counts, "--ledger", counts, kind="InvalidDataError"
    )
    assert "vectors_data.npz, which is counted already; expected other samples" in message


def test_several_hardware_one_run(run, files, counts):
    """Assumptions apply to stored counts, too."""
    start = ("estimate", files.vectors, "--ledger", counts, "--json")
    plain, assumed = (
        run(*start, *more).json["energy_per_inference_joules"]
        for more in ((), ("--assume", "graded_operation=100"))
    )
    assert assumed > plain


def energies(spread: EnergySpread) -> list[str]:
    """As a table shows them, in words."""
    numbers = (spread.mean, spread.deviation, spread.minimum, spread.maximum)
    return " ".join(map(joules, numbers)).split()


def test_statistics(run, files, counts):
    network, _, result = expected(files)
    energy = estimate_energy(result.ledger, load_profile("loihi1")).sample_joules
    found = statistics(result.ledger, result.labels, result.predictions, energy)
    start = ("estimate", files.vectors, "--ledger", counts)
    facts = run(*start, "--statistics", "--json").json["statistics"]
    assert facts == found.to_dict()
    out = run(*start, "--statistics").out
    assert "How the counts of 5 samples spread:" in out
    for kind, name in ledger.KINDS.items():
        spread = found.totals[kind]
        numbers = (f"{spread.mean:,.1f}", f"{spread.deviation:,.1f}", str(spread.minimum))
        (line,) = [line for line in out.splitlines() if line.startswith(f"{name} ")
                   and " all " in line]  # fmt: skip
        assert all(number in line.split() for number in numbers)
    for label in (*network.populations, *network.labels):
        assert f" {label} " in out
    assert out.count("step 4 ") == len(KINDS)
    assert "class" not in out.split("How the counts")[1]
    assert found.energy_joules is not None
    (line,) = [line for line in out.splitlines() if line.startswith("energy ") and " all " in line]
    assert line.split()[2:] == energies(found.energy_joules)


def test_per_class(run, files, counts):
    _, _, result = expected(files)
    energy = estimate_energy(result.ledger, load_profile("loihi1")).sample_joules
    found = statistics(result.ledger, result.labels, result.predictions, energy)
    assert found.classes is not None
    out = run("estimate", files.vectors, "--data", files.vectors_data, "--per-class").out
    table = out.split("\nclass ")[1].splitlines()[1:]
    assert len(table) == len(found.classes) * (len(KINDS) + 1)
    for label, group in found.classes.items():
        first = table[label * (len(KINDS) + 1)]
        assert group.energy_joules is not None
        assert table[label * (len(KINDS) + 1) + len(KINDS)].split() == [
            "energy", *energies(group.energy_joules)
        ]  # fmt: skip
        spread = group.totals["spikes"]
        assert first.split()[:2] == [str(label), str(group.samples)]
        assert first.split()[-4:] == [
            f"{spread.mean:,.1f}", f"{spread.deviation:,.1f}", f"{spread.minimum:,}",
            f"{spread.maximum:,}",
        ]  # fmt: skip
    facts = run("estimate", files.vectors, "--ledger", counts, "--per-class", "--json").json
    assert facts["statistics"] == found.to_dict()


def test_no_energy_of_a_sample_on_a_placement(run, files, tmp_path):
    """Messages are not counted sample by sample."""
    placement = tmp_path / "placement.json"
    run("check", files.vectors, "--target", "loihi2", "-o", placement)
    start = ("estimate", files.vectors, "--data", files.vectors_data, "--placement", placement)
    facts = run(*start, "--per-class", "--json").json["statistics"]
    assert facts["energy_joules"] is None
    assert {group["energy_joules"] for group in facts["classes"].values()} == {None}
    out = run(*start, "--per-class").out
    assert "energy of a sample: not known; on a placement, messages" in " ".join(out.split())


def test_simulate_derives_the_rest(run, files):
    network, _, result = expected(files)
    facts = run("simulate", files.vectors, "--data", files.vectors_data, "--json").json
    assert facts["derived"] == derived_counts(result.ledger, network).to_dict()
    assert "ledger_file" not in facts


def test_a_ledger_of_another_network(refused, files, counts):
    message = refused("estimate", files.saturation, "--ledger", counts, kind="InvalidDataError")
    assert "ledger: got counts of the network with sha256 " in message
    assert digest(trispike.load(files.saturation)) in message


def test_no_ledger(refused, files):
    message = refused("estimate", files.vectors, "--ledger", files.vectors, kind="FileFormatError")
    assert "a file without the header of a ledger" in message


def test_a_ledger_of_no_samples(run, refused, files, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((0, 10)))
    path = tmp_path / "run.safetensors"
    done = run("simulate", files.vectors, "--data", tmp_path / "x.npy", "--ledger-out", path)
    assert done.code == 0
    for more in ((), ("--statistics",)):
        message = refused(
            "estimate", files.vectors, "--ledger", path, *more, kind="InvalidDataError"
        )
        assert "ledger: got no samples" in message


def test_no_labels(run, refused, files, tmp_path):
    with np.load(files.vectors_data) as arrays:
        np.save(tmp_path / "x.npy", arrays["x"])
    path = tmp_path / "run.safetensors"
    run("simulate", files.vectors, "--data", tmp_path / "x.npy", "--ledger-out", path)
    for source in (("--data", tmp_path / "x.npy"), ("--ledger", path)):
        message = refused(
            "estimate", files.vectors, *source, "--per-class", kind="InvalidDataError"
        )
        assert message.startswith("labels: got none in x.npy; expected the class of every sample")
        plain = run("estimate", files.vectors, *source, "--statistics", "--json").json
        assert plain["statistics"]["classes"] is None
        assert plain["accuracy"] is None


def test_a_ledger_without_counts_per_sample(run, refused, files, tmp_path):
    network, x, result = expected(files)
    path = tmp_path / "run.safetensors"
    plain = replace(result, ledger=replace(result.ledger, per_sample=None))
    save_ledger(stored_ledger(plain, network, x), path)
    start = ("estimate", files.vectors, "--ledger", path)
    assert run(*start).code == 0
    message = refused(*start, "--statistics", kind="InvalidDataError")
    assert "ledger: got no counts per sample" in message


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ((), "--data: got neither --data nor --ledger; expected one of the two"),
        (("--data", "DATA", "--ledger", "LEDGER"), "--ledger: got --data beside it"),
        (("--ledger", "LEDGER", "--engine", "fast"), "--engine: got with --ledger"),
        (("--ledger", "LEDGER", "--samples", "2"), "--samples: got with --ledger"),
        (("--ledger", "LEDGER", "--anytime"), "--anytime: got with --ledger"),
        (("--ledger", "LEDGER", "--placement", "DATA"), "--placement: got with --ledger"),
        (("--ledger", "LEDGER", "--ledger-out", "a.safetensors"), "--ledger-out: got with"),
        (("--data", "DATA", "--ledger-out", "run.npz"), "suffix '.npz'; expected .safetensors"),
        (("--data", "DATA", "--ledger-out", "NETWORK"), "got the file that is read"),
        (("--data", "DATA", "--ledger-out", "no/run.safetensors"), "does not exist"),
    ],
)
def test_wrong_use(options, text, refused, files, counts):
    paths = {"DATA": files.vectors_data, "LEDGER": counts, "NETWORK": files.vectors}
    command = [paths.get(option, option) for option in options]
    message = refused("estimate", files.vectors, *command, kind="InvalidSettingError", code=2)
    assert text in message


def test_early_exits_are_not_stored(refused, files, tmp_path):
    command = ("--exit-confidence", "0.9", "--ledger-out", tmp_path / "run.safetensors")
    message = refused(
        "simulate", files.vectors, "--data", files.vectors_data, *command,
        kind="InvalidSettingError", code=2,
    )  # fmt: skip
    assert "--ledger-out: got with --exit-confidence" in message


def test_every_kind_of_count_has_a_name():
    assert tuple(ledger.KINDS) == KINDS
