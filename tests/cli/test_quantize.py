"""``trispike quantize``: an integer network and its record, or no file."""

import numpy as np
import pytest

import trispike
from trispike.network import storage


def test_a_float_network_becomes_the_one_that_the_api_makes(run, files, tmp_path):
    output = tmp_path / "net.safetensors"
    outcome = run("quantize", files.float_network, "--calibration", files.data, "-o", output)
    assert (outcome.code, outcome.err) == (0, "")
    for name in trispike.load(output).populations:
        assert f"\n{name} " in outcome.out
    assert "8-bit weights (nearest), one scale per channel; on 12 calibration samples: acc" in outcome.out
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
        ("--granularity", "neuron"), ("--samples", 0), ("--samples", "many"),
    ],
)  # fmt: skip
def test_settings_out_of_range(option, value, run, files, tmp_path):
    output = tmp_path / "net.safetensors"
    command = ("quantize", files.float_network, "--calibration", files.data, "-o", output)
    outcome = run(*command, option, value, "--json")
    assert outcome.code == 2
    assert option in outcome.json["error"]["message"]
    assert not output.exists()
