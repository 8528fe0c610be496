"""``trispike simulate --record``: files, and what is refused before anything runs."""

import numpy as np
import pytest

import trispike
from tests.cli.conftest import Files
from trispike.runtime.recording import load_recording

KIND = {"kind": "InvalidSettingError", "code": 2}


def simulate(files: Files, *options: object) -> tuple[object, ...]:
    return ("simulate", files.vectors, "--data", files.vectors_data, *options)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_what_was_asked_for_is_in_the_file(suffix, run, files, tmp_path):
    path = tmp_path / f"run{suffix}"
    options = ("--record", "first:v,s", "--record", "sec*", "--record-to", path)
    outcome = run(*simulate(files, *options), "--json")
    network = trispike.load(files.vectors)
    with np.load(files.vectors_data) as data:
        record = {"first": "sv", "second": "s"}
        result = trispike.simulate(network, data["x"], data["y"], record=record)
    recording = load_recording(path)
    assert outcome.json["recording"] == {
        "output": str(path),
        "bytes": path.stat().st_size,
        "traces": {"first": ["s", "v"], "second": ["s"]},
    }
    assert recording.data == "vectors_data.npz"
    assert recording.network_sha256 == outcome.json["network_sha256"]
    assert recording.predictions.tolist() == outcome.json["predictions"]
    for name, traces in result.records.items():
        for trace, values in traces.items():
            np.testing.assert_array_equal(recording.records[name][trace], values)


def test_the_file_is_told(run, files, tmp_path):
    path = tmp_path / "run.npz"
    outcome = run(*simulate(files, "--record", "all", "--record-to", path))
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.endswith(f"wrote {path}\n")


def test_without_it_nothing_is_said(run, files):
    assert "recording" not in run(*simulate(files), "--json").json


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--record", "first"), "--record: got no --record-to; expected both"),
        (("--record-to", "{}/run.npz"), "--record-to: got no --record; expected both"),
        (("--record", "first", "--record-to", "{}/run.txt"), "got suffix '.txt'"),
        (("--record", "first", "--record-to", "{}/no/run.npz"), "a folder that does not exist"),
        (("--record", "frist", "--record-to", "{}/run.npz"), "Did you mean first?"),
        (("--record", "first:u", "--record-to", "{}/run.npz"), "got trace 'u'"),
    ],
)
def test_what_cannot_be_recorded(options, text, refused, files, tmp_path):
    options = [option.format(tmp_path) for option in options]
    assert text in refused(*simulate(files, *options), **KIND)


@pytest.mark.parametrize("source", ["vectors", "vectors_data"])
def test_what_is_read_is_not_written(source, refused, files):
    path = getattr(files, source)
    before = path.read_bytes()
    options = ("--record", "first", "--record-to", path)
    assert "got the file that is read" in refused(*simulate(files, *options), **KIND)
    assert path.read_bytes() == before


def test_more_than_fits_into_memory(refused, files, tmp_path, monkeypatch):
    monkeypatch.setattr("trispike.runtime.recording.available_memory", lambda: 125)
    monkeypatch.setattr("trispike.cli.simulate.run_engine", None)  # nothing runs
    options = ("--record", "first", "--record-to", tmp_path / "run.npz")
    message = refused(*simulate(files, *options), **KIND)
    assert message.startswith("recording: got 5 samples x 4 steps x (12 neurons x 1 byte (s)) = ")
    assert "--samples 2" in message
