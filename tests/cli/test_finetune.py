"""``trispike finetune``: a network that was trained as what it is, or no file."""

import numpy as np
import pytest

import trispike
from trispike.network import storage

OPTIONS = ("--weight-bits", 3, "--epochs", 1, "--batch-size", 4, "--validation", 0.3)


def test_the_network_is_the_one_that_the_api_makes(run, files, tmp_path):
    output = tmp_path / "net.safetensors"
    outcome = run("finetune", files.float_network, "--data", files.data, "-o", output, *OPTIONS)
    assert (outcome.code, outcome.err) == (0, "")
    with np.load(files.data) as data:
        expected = trispike.finetune(
            trispike.load(files.float_network), data["x"], data["y"],
            weight_bits=3, epochs=1, batch_size=4, validation=0.3,
        )  # fmt: skip
    assert storage.equal(trispike.load(output), expected.network)
    assert "on 4 validation samples: accuracy" in outcome.out
    assert outcome.out.endswith(f"wrote {output}\n")


def test_the_json_object(run, files, tmp_path):
    output, state = tmp_path / "net.safetensors", tmp_path / "state.pt"
    command = (
        "finetune", files.float_network, "--data", files.data, "-o", output, "--json", *OPTIONS,
        "--learning-rate", 0.02, "--loss", "tet", "--seed", 3, "--granularity", "layer",
        "--patience", 2, "--mirror", "--checkpoint", state, "--threads", 1,
    )  # fmt: skip
    outcome = run(*command)
    facts = outcome.json
    assert (outcome.code, outcome.err) == (0, "")
    assert facts["network_sha256"] == storage.digest(trispike.load(output))
    assert (facts["learning_rate"], facts["loss"], facts["seed"]) == (0.02, "tet", 3)
    assert (facts["training_samples"], facts["validation_samples"]) == (8, 4)
    assert [e["epoch"] for e in facts["epochs"]] == [0, 1]
    # All that is left to do is to write the network once more.
    again = run(*command).json
    assert again["epochs"] == facts["epochs"]
    begun = run(
        "finetune", files.float_network, "--data", files.data, "-o", output, "--json", *OPTIONS,
        "--granularity", "layer", "--start", state, "--seed", 3,
    ).json  # fmt: skip
    assert begun["epochs"][0]["validation_loss"] in {e["validation_loss"] for e in facts["epochs"]}


def test_mixed_widths_under_a_budget_are_trained_as_they_are(run, files, tmp_path):
    output = tmp_path / "net.safetensors"
    sizes = [c.operator.weight.size for c in trispike.load(files.float_network).all_connections]
    limit = sum(sizes) * 3 // 8
    outcome = run(
        "finetune", files.float_network, "--data", files.data, "-o", output, *OPTIONS[2:],
        "--fit", f"memory={limit}",
    )  # fmt: skip
    assert (outcome.code, outcome.err) == (0, "")
    network = trispike.load(output)
    widths = {c.bits for c in network.all_connections}
    assert len(widths) > 1
    assert sum(-(-c.operator.weight.size * c.bits // 8) for c in network.all_connections) <= limit
    for c in network.all_connections:
        assert np.abs(c.operator.weight).max() < 2 ** (c.bits - 1)
    assert f"of {limit:,} bytes" in outcome.out


def test_a_budget_and_a_width_are_refused(refused, files):
    message = refused(
        "finetune", files.float_network, "--data", files.data, *OPTIONS, "--fit", "memory=9999",
        kind="InvalidSettingError", code=2, output=True,
    )  # fmt: skip
    assert "option --fit: got --weight-bits beside it" in message


def test_epochs_are_shown_where_somebody_watches(run, files, tmp_path, monkeypatch):
    monkeypatch.setattr("trispike.cli.console.err._force_terminal", True)
    output = tmp_path / "net.safetensors"
    outcome = run("finetune", files.float_network, "--data", files.data, "-o", output, *OPTIONS)
    assert "epoch 1: loss" in outcome.err


def test_data_without_labels_are_refused(refused, files, tmp_path):
    with np.load(files.data) as data:
        np.save(tmp_path / "x.npy", data["x"])
    message = refused(
        "finetune", files.float_network, "--data", tmp_path / "x.npy",
        kind="InvalidDataError", output=True,
    )  # fmt: skip
    assert "got no labels; expected y" in message


def test_an_integer_network_is_refused(refused, files):
    refused(
        "finetune", files.integer_network, "--data", files.data,
        kind="QuantizationError", output=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--loss", "mse"), "setting 'loss': got 'mse'"),
        (("--learning-rate", 0), "setting 'learning_rate': got 0"),
        (("--validation", 1), "setting 'validation': got 1.0 of 12 samples"),
    ],
)
def test_wrong_settings_are_refused(refused, files, options, message):
    told = refused(
        "finetune", files.float_network, "--data", files.data, *options,
        kind="InvalidSettingError", code=2, output=True,
    )  # fmt: skip
    assert message in told


def test_settings_of_the_api_are_checked_by_name(files):
    with np.load(files.data) as data, pytest.raises(trispike.TrispikeError, match="got speed"):
        trispike.finetune(trispike.load(files.float_network), data["x"], data["y"], speed=3)
