"""Ledgers in files: everything comes back, and nothing else is taken for one."""

import json
import re
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from tests.networks import CASES, recurrent, saturation, vectors
from tests.runtime import floats
from tests.runtime.floats import sample_inputs
from trispike.errors import FileFormatError, InvalidDataError, InvalidSettingError
from trispike.network import Network, digest, save
from trispike.runtime import ReferenceEngine
from trispike.runtime.input_counts import input_counts
from trispike.runtime.ledger_file import (
    FORMAT,
    StoredLedger,
    data_digest,
    load_ledger,
    load_ledgers,
    save_ledger,
    stored_ledger,
)


def made(network: Network, samples: int = 5, *, per_sample: bool = True, labels: bool = True):
    inputs = sample_inputs(network, samples)
    classes = np.arange(samples) % network.readout.classes if labels else None
    result = ReferenceEngine(network).run(inputs, classes, per_sample=per_sample)
    return stored_ledger(result, network, inputs, "some data")


@pytest.mark.parametrize("per_sample", [True, False])
@pytest.mark.parametrize("case", ["vectors", "recurrent", "sew_addition", "saturation", "delays"])
def test_round_trip(case, per_sample, tmp_path):
    network = {**CASES, **floats.CASES}[case]()
    stored = made(network, per_sample=per_sample)
    save_ledger(stored, tmp_path / "run.safetensors")
    found = load_ledger(tmp_path / "run.safetensors")
    assert found.ledger.differences(stored.ledger) == []
    assert (found.ledger.per_sample is not None) == per_sample
    np.testing.assert_array_equal(found.predictions, stored.predictions)
    np.testing.assert_array_equal(found.labels, stored.labels)
    assert found.accuracy == stored.accuracy
    inputs = sample_inputs(network, 5)
    assert found.network_sha256 == digest(network)
    assert found.network_kind == network.kind
    assert (found.data, found.data_sha256) == ("some data", (data_digest(inputs),))
    assert found.engine == "reference"
    assert found.versions == stored.versions
    assert set(found.versions) == {"trispike", "reference"}
    counted = input_counts(network, inputs)
    for field in fields(counted):
        np.testing.assert_array_equal(
            getattr(found.inputs, field.name), getattr(counted, field.name)
        )
    assert found.input_events == counted.events.sum()
    assert found.events_per_inference == found.input_events / 5
    found.check_network(network)


@pytest.mark.parametrize("samples", [0, 1])
def test_few_samples_without_labels(samples, tmp_path):
    stored = made(vectors(), samples, labels=False)
    save_ledger(stored, tmp_path / "run.safetensors")
    found = load_ledger(tmp_path / "run.safetensors")
    assert found.ledger.differences(stored.ledger) == []
    assert found.labels is None
    assert found.accuracy is None
    assert (found.events_per_inference is None) == (samples == 0)


def test_merged_ledgers_can_be_stored(tmp_path):
    network = vectors()
    inputs = sample_inputs(network, 6)
    engine = ReferenceEngine(network)
    parts = [engine.run(x, per_sample=True).ledger for x in np.split(inputs, [2])]
    whole = engine.run(inputs, per_sample=True)
    stored = stored_ledger(replace(whole, ledger=parts[0].merged(parts[1])), network, inputs)
    save_ledger(stored, tmp_path / "run.safetensors")
    found = load_ledger(tmp_path / "run.safetensors")
    assert found.ledger.differences(whole.ledger) == []


def shards(network: Network, tmp_path: Path, cuts: Sequence[int] = (2, 3)) -> list[Path]:
    """Six samples, stored in parts."""
    inputs = sample_inputs(network, 6)
    classes = np.arange(6) % network.readout.classes
    paths = []
    for n, part in enumerate(np.split(np.arange(6), cuts)):
        result = ReferenceEngine(network).run(inputs[part], classes[part], per_sample=True)
        paths.append(tmp_path / f"{n}.safetensors")
        save_ledger(stored_ledger(result, network, inputs[part], f"part {n}"), paths[-1])
    return paths


@pytest.mark.parametrize("case", ["vectors", "recurrent", "frames_encoding", "delays"])
def test_stored_shards_are_the_whole(case, tmp_path):
    network = {**CASES, **floats.CASES}[case]()
    whole = made(network, 6)
    found = load_ledgers(shards(network, tmp_path))
    assert found.ledger.differences(whole.ledger) == []
    for field in fields(whole.inputs):
        np.testing.assert_allclose(  # sums of floats, in another order
            getattr(found.inputs, field.name), getattr(whole.inputs, field.name), rtol=1e-12
        )
    np.testing.assert_array_equal(found.predictions, whole.predictions)
    np.testing.assert_array_equal(found.labels, whole.labels)
    assert (found.accuracy, found.input_events) == (whole.accuracy, whole.input_events)
    assert (found.data, found.engine) == ("part 0, part 1, part 2", "reference")
    inputs = sample_inputs(network, 6)
    assert found.data_sha256 == tuple(map(data_digest, np.split(inputs, (2, 3))))
    save_ledger(found, tmp_path / "whole.safetensors")
    again = load_ledger(tmp_path / "whole.safetensors")
    assert again.data_sha256 == found.data_sha256
    assert again.ledger.differences(whole.ledger) == []
    again.check_network(network)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"network_sha256": "0" * 64}, f"got one of network {'0' * 64}"),
        ({}, "got some data, which is counted already; expected other samples"),
        ({"versions": {"trispike": "0.0.1"}}, "got counts by trispike 0.0.1; expected trispike"),
        ({"labels": None}, "got labels in one of the two only"),
    ],
)
def test_what_does_not_belong_together_is_not_merged(change, text):
    stored = made(vectors())
    other = replace(stored, **({"data_sha256": ("1" * 64,)} if change else {}), **change)
    for one, two in ((stored, other), (other, stored)):
        if "versions" in change or "network_sha256" in change:
            text = text.split(";")[0] if one is stored else ""
        with pytest.raises(InvalidDataError, match=f"ledger to be merged: {text}"):
            one.merged(two)


def test_shards_of_several_engines_name_them_all():
    stored = made(vectors())
    other = replace(
        stored, engine="mine", versions={**stored.versions, "mine": "1"}, data_sha256=("1" * 64,)
    )
    both = stored.merged(other)
    assert (both.engine, both.data) == ("reference, mine", "some data")
    assert both.versions == {**stored.versions, "mine": "1"}
    assert stored.merged(replace(other, labels=stored.labels)).accuracy == stored.accuracy


def test_counts_that_this_network_cannot_have(tmp_path):
    network = recurrent()
    stored = made(network, per_sample=False)
    label = next(iter(stored.ledger.connections))
    counts = stored.ledger.connections[label]
    for change, text in [
        ({"dense_operations": counts.dense_operations * 1000}, "dense operations in a step"),
        (
            {"zero_weight_operations": counts.zero_weight_operations + 10**9},
            "zero-weight operations in a step; expected at most",
        ),
        ({"synapses": counts.synapses + 1}, "got counts of another network"),
    ]:
        changed = {**stored.ledger.connections, label: replace(counts, **change)}
        claimed = replace(stored, ledger=replace(stored.ledger, connections=changed))
        with pytest.raises(InvalidDataError, match=text):
            claimed.check_network(network)
    more = replace(stored.inputs, graded=stored.inputs.graded + 10**6)
    with pytest.raises(InvalidDataError, match="elements that are not zero in a step"):
        replace(stored, inputs=more).check_network(network)


def test_another_network_is_refused():
    stored = made(vectors())
    text = re.escape(
        f"ledger: got counts of the network with sha256 {digest(vectors())}; expected counts of "
        f"the one that was given, sha256 {digest(saturation())}"
    )
    with pytest.raises(InvalidDataError, match=text):
        stored.check_network(saturation())
    claimed = replace(stored, network_sha256=digest(saturation()))
    with pytest.raises(InvalidDataError, match="ledger: got counts of another network"):
        claimed.check_network(saturation())


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(InvalidSettingError, match=r"suffix '.npz'; expected .safetensors"):
        save_ledger(made(vectors()), tmp_path / "run.npz")
    assert not list(tmp_path.iterdir())


def test_an_older_file_survives_a_failure(tmp_path, monkeypatch):
    path = tmp_path / "run.safetensors"
    save_ledger(made(vectors()), path)
    before = path.read_bytes()

    def fail(*_args: Any, **_options: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("trispike.runtime.ledger_file.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        save_ledger(made(recurrent()), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_ledger(tmp_path / "absent.safetensors")


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 100, b"\x08" + b"\0" * 7 + b"{}      "])
def test_no_safetensors(content, tmp_path):
    path = tmp_path / "run.safetensors"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match="expected a ledger of trispike"):
        load_ledger(path)


def test_a_truncated_file(tmp_path):
    path = tmp_path / "run.safetensors"
    save_ledger(made(vectors()), path)
    content = path.read_bytes()
    for size in (7, 50, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(FileFormatError, match="unreadable content"):
            load_ledger(path)


def test_a_network_is_no_ledger(tmp_path):
    save(vectors(), tmp_path / "net.safetensors")
    with pytest.raises(FileFormatError, match="a file without the header of a ledger"):
        load_ledger(tmp_path / "net.safetensors")


def _counts(key: str, change: Any):
    return lambda header, arrays: arrays.update({key: change(arrays[key])})


def _less(key: str):
    return lambda header, arrays: arrays.pop(key)


def _entry(name: str, value: Any):
    return lambda header, arrays: header.update({name: value})


FIRST = "populations/first/spikes_positive"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (_entry("version", 2), "format version 2; expected version 1"),
        (_entry("version", "1"), "format version '1'"),
        (_entry("network_sha256", "abc"), "network_sha256: String should match pattern"),
        (_entry("samples", -1), "samples: Input should be greater than or equal to 0"),
        (_entry("samples", 4), r"array 'samples/spikes/first': got int64 of shape \(5, 4\)"),
        (_entry("steps", 3), r"got int64 of shape \(4,\); expected int64 of shape \(3,\)"),
        (_entry("surprise", 1), "surprise: Extra inputs are not permitted"),
        (_entry("populations", {}), "content that is not valid"),
        (_entry("populations", {"first": {"cells": 12}}), "'first': got cells; expected neurons"),
        (lambda header, arrays: header.pop("engine"), "engine: Field required"),
        (_less(FIRST), f"array '{FIRST}': got none"),
        (_less("predictions"), "array 'predictions': got none"),
        (_less("samples/macs/input->first"), "array 'samples/macs/input->first': got none"),
        (_counts(FIRST, lambda a: a.astype(np.int32)), f"array '{FIRST}': got int32"),
        (_counts(FIRST, lambda a: a[:, None]), r"of shape \(4, 1\)"),
        (_counts(FIRST, lambda a: -1 - a), f"{FIRST}: got -"),
        (_counts(FIRST, lambda a: a + 1), "counts per sample that do not add up to the total"),
        (_counts("populations/first/updates", lambda a: a + 1), "updates in a step"),
        (_counts("samples/macs/input->first", lambda a: a[::-1] * -1), "do not add up"),
        (_counts("labels", lambda a: a[1:]), r"array 'labels': got int64 of shape \(4,\)"),
        (lambda header, arrays: arrays.update(more=arrays["labels"]), "unknown ones: more"),
        (_entry("data_sha256", []), "data_sha256: List should have at least 1 item"),
        (_entry("data_sha256", ["abc"]), "data_sha256.0: String should match pattern"),
        (_less("input/graded"), "array 'input/graded': got none"),
        (_counts("input/graded", lambda a: a - 10**6), "input/graded: got -"),
        (_counts("input/magnitude", lambda a: a * np.nan), "input/magnitude: got nan; expected"),
        (_counts("input/magnitude", lambda a: a.astype(int)), "'input/magnitude': got int64"),
        (_counts("populations/first/updates_with_input", lambda a: a + 999), "updates with input"),
        (
            _counts("populations/first/spikes_negative", lambda a: a + np.int64(2**63 - 999)),
            "populations/first: got more spikes than updates",
        ),
        (
            _counts("connections/input->first/synaptic_operations", lambda a: a + 10**6),
            "connections/input->first: got more operations than if every source element",
        ),
    ],
)
def test_damaged_content(change, text, tmp_path):
    path = tmp_path / "run.safetensors"
    save_ledger(made(vectors()), path)
    with safe_open(path, framework="np") as file:
        header = json.loads(file.metadata()[FORMAT])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(header, arrays)
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    save_file(arrays, path, metadata={FORMAT: json.dumps(header)})
    with pytest.raises(FileFormatError, match=text):
        load_ledger(path)


@pytest.mark.parametrize("header", ["[]", "3", "{", "null"])
def test_a_header_that_is_none(header, tmp_path):
    path = tmp_path / "run.safetensors"
    save_file({"x": np.zeros(1)}, path, metadata={FORMAT: header})
    with pytest.raises(FileFormatError, match="unreadable content"):
        load_ledger(path)


@pytest.mark.parametrize("what", ["predictions", "labels"])
def test_predictions_and_labels_are_those_of_the_samples(what):
    stored: StoredLedger = made(vectors())
    with pytest.raises(InvalidDataError, match=rf"{what}: got int64 of shape \(2,\)"):
        replace(stored, **{what: np.zeros(2, np.int64)})


def test_an_engine_of_ones_own_has_no_version():
    network = vectors()
    inputs = sample_inputs(network, 2)
    result = replace(ReferenceEngine(network).run(inputs), engine="mine")
    assert set(stored_ledger(result, network, inputs).versions) == {"trispike"}
