"""``trispike quantize``: an integer network and its record, or no file."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import trispike
from tests.quantize.floats import one_population
from trispike.network import Dense, storage
from trispike.runtime import ReferenceEngine


def test_a_float_network_becomes_the_one_that_the_api_makes(run, files, tmp_path):
    output = tmp_path / "net.safetensors"
    outcome = run("quantize", files.float_network, "--calibration", files.data, "-o", output)
    assert (outcome.code, outcome.err) == (0, "")
    for name in trispike.load(output).populations:
        assert f"\n{name} " in outcome.out
    assert (
        "8-bit weights (nearest), one scale per channel; on 12 calibration samples: acc"
        in outcome.out
    )
    assert outcome.out.endswith(f"wrote {output}\n")
    assert storage.equal(trispike.load(output), trispike.load(files.integer_network))


def test_the_json_object(run, files, tmp_path):
    output = tmp_path / "net.safetensors"
    outcome = run(
        "quantize", files.float_network, "--calibration", files.data, "-o", output, "--json",
        "--weight-bits", 5, "--granularity", "layer", "--state-bits", 20, "--samples", 7,
        "--state-shift", 2,
    )  # fmt: skip
    facts = outcome.json
    assert (outcome.code, outcome.err) == (0, "")
    with np.load(files.data) as data:
        expected = trispike.quantize(
            trispike.load(files.float_network), data["x"][:7], data["y"][:7],
            weight_bits=5, granularity="layer", state_bits=20, state_shift=2,
        )  # fmt: skip
    assert storage.equal(trispike.load(output), expected.network)
    assert facts["output"] == str(output)
    assert facts["network_sha256"] == storage.digest(expected.network)
    assert facts["accuracy_integer"] == expected.record.accuracy_integer
    assert (facts["weight_bits"], facts["samples"]) == (5, 7)
    assert {p["state_shift"] for p in facts["populations"]} == {2}


def test_without_labels_there_are_no_accuracies(run, files, tmp_path):
    with np.load(files.data) as data:
        np.save(tmp_path / "x.npy", data["x"])
    ends = ("--calibration", tmp_path / "x.npy", "-o", tmp_path / "net.safetensors")
    command = ("quantize", files.float_network, *ends)
    assert "accuracy - float, - integer" in run(*command).out
    facts = run(*command, "--json").json
    assert (facts["accuracy_float"], facts["accuracy_integer"]) == (None, None)


def test_an_integer_network_is_refused(refused, files):
    message = refused(
        "quantize", files.integer_network, "--calibration", files.data,
        kind="QuantizationError", output=True,
    )  # fmt: skip
    assert "got a network that is already integer; expected a float network" in message


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 3, 8, 8), (2, 3, 1, 8, 8)])
def test_calibration_data_of_the_wrong_shape(shape, refused, files, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(shape))
    message = refused(
        "quantize", files.float_network, "--calibration", tmp_path / "x.npy",
        kind="InvalidDataError", output=True,
    )  # fmt: skip
    assert f"data: got an array of shape {shape}" in message


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no", b"\x93NUMPY"])
def test_damaged_calibration_data(content, refused, files, tmp_path):
    (tmp_path / "x.npz").write_bytes(content)
    refused(
        "quantize", files.float_network, "--calibration", tmp_path / "x.npz",
        kind="FileFormatError", output=True,
    )  # fmt: skip


def test_no_calibration_data(refused, files, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((0, 1, 8, 8)))
    message = refused(
        "quantize", files.float_network, "--calibration", tmp_path / "x.npy",
        kind="QuantizationError", output=True,
    )  # fmt: skip
    assert "got no samples; expected at least one" in message


def test_labels_out_of_range(refused, files, tmp_path):
    np.savez(tmp_path / "data.npz", x=np.zeros((2, 1, 8, 8)), y=[0, 10])
    message = refused(
        "quantize", files.float_network, "--calibration", tmp_path / "data.npz",
        kind="InvalidDataError", output=True,
    )  # fmt: skip
    assert "labels: got values from 0 to 10; expected 2 integers in 0..9" in message


def test_data_of_another_range_than_at_conversion(run, refused, files, tmp_path):
    source = tmp_path / "net.safetensors"
    arch = ("--arch", "ctsn-resnet8", "--steps", 3)
    assert run("convert", files.checkpoint, *arch, "--data", files.data, "-o", source).code == 0
    with np.load(files.data) as data:
        np.savez(tmp_path / "bytes.npz", x=data["x"] * 255, y=data["y"])
    for command, option in (("quantize", "--calibration"), ("finetune", "--data")):
        message = refused(
            command, source, option, tmp_path / "bytes.npz", kind="InvalidDataError", output=True
        )
        assert "got values up to 255; expected values up to about 1, as in the data " in message
        assert "converted with (data.npz). Multiply them by 0.00392, or convert" in message


def test_labels_that_the_float_network_hardly_reads(run, tmp_path):
    rng = np.random.default_rng(1)
    trispike.save(
        one_population(Dense(weight=rng.normal(0, 0.4, (12, 8))), inputs=(8,)),
        tmp_path / "net.safetensors",
    )
    network = trispike.load(tmp_path / "net.safetensors")
    x = rng.normal(0, 1, (40, 8))
    right = ReferenceEngine(network).run(x).predictions
    command = ("quantize", tmp_path / "net.safetensors", "--calibration")
    output = ("-o", tmp_path / "int.safetensors")
    for name, labels in (("right", right), ("wrong", (right + 1) % network.readout.classes)):
        np.savez(tmp_path / f"{name}.npz", x=x, y=labels)
    assert run(*command, tmp_path / "right.npz", *output).err == ""
    plain, as_json = (
        run(*command, tmp_path / "wrong.npz", *output, *options) for options in ((), ("--json",))
    )
    for outcome in (plain, as_json):
        assert outcome.code == 0
        assert outcome.err.startswith("warning: the float network itself reads only 0.00% of 40 ")
    assert as_json.json["accuracy_float"] == 0.0
    assert run(*command, tmp_path / "wrong.npz", *output, "--samples", 31).err == ""


def test_it_does_not_write_over_what_it_reads(refused, files):
    before = files.float_network.read_bytes()
    command = ("quantize", files.float_network, "--calibration", files.data)
    message = refused(*command, "-o", files.float_network, kind="InvalidSettingError", code=2)
    assert "got the file that is read; expected another file" in message
    assert files.float_network.read_bytes() == before


def test_an_older_output_is_replaced(run, files, tmp_path):
    output = tmp_path / "net.safetensors"
    output.write_bytes(b"old")
    run("quantize", files.float_network, "--calibration", files.data, "-o", output)
    assert storage.equal(trispike.load(output), trispike.load(files.integer_network))
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--weight-bits", 1), ("--weight-bits", 9), ("--state-bits", 7), ("--state-shift", 17),
        ("--granularity", "neuron"), ("--method", "best"), ("--samples", 0), ("--samples", "many"),
    ],
)  # fmt: skip
def test_settings_out_of_range(option, value, run, files, tmp_path):
    output = tmp_path / "net.safetensors"
    command = ("quantize", files.float_network, "--calibration", files.data, "-o", output)
    outcome = run(*command, option, value, "--json")
    assert outcome.code == 2
    assert option in outcome.json["error"]["message"]
    assert not output.exists()


class Small(NamedTuple):
    """Files of a float network of two matrices, which is measured again and again."""

    network: Path
    data: Path


@pytest.fixture
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    rng = np.random.default_rng(0)
    source = one_population(Dense(weight=rng.normal(0, 0.4, (12, 8))), inputs=(8,))
    trispike.save(source, folder / "net.safetensors")
    np.savez(folder / "data.npz", x=rng.normal(0, 1, (12, 8)), y=np.arange(12) % 3)
    return Small(folder / "net.safetensors", folder / "data.npz")


def test_methods_and_a_report(run, small, tmp_path):
    output, report = tmp_path / "net.safetensors", tmp_path / "report.json"
    command = (
        "quantize", small.network, "--calibration", small.data, "-o", output,
        "--weight-bits", 3, "--method", "clipped", "--report", "--samples", 5,
    )  # fmt: skip
    outcome = run(*command)
    assert outcome.code == 0
    assert "3-bit weights (clipped), one scale per channel; on 5" in outcome.out
    facts = run(*command, "--report-to", report, "--json").json
    assert json.loads(report.read_text(encoding="utf-8")) == facts
    labels = [entry["label"] for entry in facts["connections"]]
    assert [(e["label"], e["bits"]) for e in facts["sensitivity"]] == [(n, 3) for n in labels]
    for label in labels:
        assert f"\n{label} " in outcome.out
    assert facts["fit"] is None
    assert {c["method"] for c in facts["connections"]} == {"clipped"}


def test_a_report_at_8_bits_is_about_fewer(run, small, tmp_path):
    facts = run(
        "quantize", small.network, "--calibration", small.data, "--samples", 2, "--report",
        "-o", tmp_path / "net.safetensors", "--json",
    ).json  # fmt: skip
    assert facts["weight_bits"] == 8
    assert {entry["bits"] for entry in facts["sensitivity"]} == {4, 3, 2}


def test_a_budget_of_bytes(run, small, tmp_path):
    output = tmp_path / "net.safetensors"
    whole = sum(c.operator.weight.size for c in trispike.load(small.network).all_connections)
    command = ("quantize", small.network, "--calibration", small.data, "--samples", 3)
    outcome = run(*command, "-o", output, "--fit", f"memory={whole // 2}")
    assert outcome.code == 0
    assert f"memory={whole // 2}: takes " in outcome.out
    network = trispike.load(output)
    taken = sum(-(-c.operator.weight.size * c.bits // 8) for c in network.all_connections)
    assert taken <= whole // 2
    facts = run(*command, "-o", output, "--fit", f"memory={whole // 2}", "--json").json
    assert facts["fit"]["chosen"]["cost"] == taken
    assert {b["label"]: b["bits"] for b in facts["fit"]["chosen"]["bits"]} == {
        label: c.bits for label, c in network.labelled()
    }


def test_budgets_that_cannot_be(refused, small):
    command = ("quantize", small.network, "--calibration", small.data, "--samples", 2)
    message = refused(*command, "--fit", "memory=10", kind="QuantizationError", output=True)
    assert "even with 2-bit weights; expected at most 10. The smallest budget that" in message
    message = refused(
        *command, "--fit", "10 cores", kind="InvalidSettingError", code=2, output=True
    )
    assert "budget: got '10 cores'; expected CHIP:cores=N" in message
    message = refused(
        *command, "--fit", "memory=10", "--weight-bits", 4,
        kind="InvalidSettingError", code=2, output=True,
    )  # fmt: skip
    assert "option --fit: got --weight-bits beside it" in message


def test_the_report_does_not_overwrite_the_network(refused, small, tmp_path):
    command = ("quantize", small.network, "--calibration", small.data)
    message = refused(
        *command, "--report-to", tmp_path / "output.safetensors",
        kind="InvalidSettingError", code=2, output=True,
    )  # fmt: skip
    assert "got the file of the network" in message
