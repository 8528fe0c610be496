"""``trispike simulate``: the numbers of the API, on any engine."""

import importlib.metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trispike
from tests.cli.conftest import Files
from trispike.cli.simulate import byte_count
from trispike.errors import InvalidSettingError
from trispike.network import storage
from trispike.runtime.engines import default_engine
from trispike.targets.lava.requirements import install_commands


def data(path: Path) -> tuple[Any, Any]:
    with np.load(path) as arrays:
        return arrays["x"], arrays["y"]


def test_the_numbers_are_those_of_the_api(run, files):
    outcome = run("simulate", files.integer_network, "--data", files.data)
    network = trispike.load(files.integer_network)
    result = trispike.simulate(network, *data(files.data))
    ledger = result.ledger
    assert (outcome.code, outcome.err) == (0, "")
    for name in network.populations:
        assert f"\n{name} " in outcome.out
    assert f"{default_engine()}: 12 samples in " in outcome.out
    assert f"accuracy {100 * (result.accuracy or 0):.2f}%" in outcome.out
    assert f"{ledger.synaptic_operations / 12:,.0f} synaptic operations" in outcome.out
    assert f"{ledger.macs / 12:,.0f} graded ones" in outcome.out


@pytest.mark.parametrize("which", ["integer_network", "float_network"])
def test_the_json_object(which, run, files):
    path = getattr(files, which)
    outcome = run("simulate", path, "--data", files.data, "--json")
    facts = outcome.json
    assert (outcome.code, outcome.err) == (0, "")
    network = trispike.load(path)
    result = trispike.simulate(network, *data(files.data))
    assert facts["engine"] == default_engine()
    assert facts["predictions"] == result.predictions.tolist()
    assert facts["accuracy"] == result.accuracy
    assert facts["ledger"] == result.ledger.to_dict()
    assert facts["synaptic_operations"] == result.ledger.synaptic_operations
    assert facts["synaptic_operations_per_inference"] == result.ledger.synaptic_operations / 12
    assert facts["firing_rates"] == {n: result.ledger.firing_rate(n) for n in network.populations}
    assert facts["saturations"] == 0
    assert facts["data"] == "data.npz"
    assert facts["network_sha256"] == storage.digest(network)


def test_without_labels_there_is_no_accuracy(run, files, tmp_path):
    np.save(tmp_path / "x.npy", data(files.vectors_data)[0])
    command = ("simulate", files.vectors, "--data", tmp_path / "x.npy")
    assert run(*command, "--json").json["accuracy"] is None
    assert "accuracy -;" in run(*command).out


@pytest.mark.parametrize("command", ["simulate", "estimate", "verify"])
def test_data_beyond_the_range_of_the_calibration_are_told(command, run, files, tmp_path):
    x, y = data(files.data)
    np.savez(tmp_path / "grey.npz", x=x * 255, y=y)
    engines = ("--engines", "reference,onnx") if command == "verify" else ()
    outcome = run(
        command, files.integer_network, "--data", tmp_path / "grey.npz", *engines, "--json"
    )
    clipped = trispike.load(files.integer_network).input.clipped(x * 255)
    assert 0 < clipped < 1
    assert outcome.code == 0
    assert outcome.json["data"] == "grey.npz"
    assert outcome.err.startswith(f"warning: {100 * clipped:.2f}% of the input values were clipped")
    assert outcome.err.count("\n") == 1


def test_the_first_samples_only(run, files):
    command = ("simulate", files.vectors, "--data", files.vectors_data, "--json")
    whole, part = run(*command).json, run(*command, "--samples", 2).json
    assert part["predictions"] == whole["predictions"][:2]
    assert part["samples"] == part["ledger"]["samples"] == 2
    assert part["data"] == "vectors_data.npz, first 2"
    assert run(*command, "--samples", 99).json["predictions"] == whole["predictions"]


def test_no_samples_are_a_result(run, files, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((0, 10)))
    command = ("simulate", files.vectors, "--data", tmp_path / "x.npy")
    facts = run(*command, "--json").json
    assert (facts["samples"], facts["predictions"], facts["accuracy"]) == (0, [], None)
    assert run(*command).code == 0


def test_saturation_counts_or_stops(run, refused, files):
    command = ("simulate", files.saturation, "--data", files.saturation_data)
    assert run(*command, "--json").json["saturations"] > 0
    message = refused(*command, "--strict", kind="SaturationError")
    assert "state values out of range at time step " in message
    assert "or run without strict mode" in message


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"x": np.zeros((2, 9))}, "data: got an array of shape (2, 9) and dtype float64; expected"),
        ({"x": np.zeros(10)}, "data: got an array of shape (10,)"),
        ({"x": np.zeros((2, 10), complex)}, "got x of shape (2, 10) and dtype complex128"),
        ({"x": np.full((1, 10), np.inf)}, "data: got 10 values that are NaN or infinite"),
        ({"x": np.zeros((2, 10)), "y": [0, 3]}, "labels: got values from 0 to 3; expected 2 integ"),
        ({"x": np.zeros((2, 10)), "y": [0, -1]}, "labels: got values from -1 to 0"),
        ({"x": np.zeros((2, 10)), "y": [0, 1, 2]}, "x of shape (2, 10), y of shape (3,)"),
        ({"images": np.zeros((2, 10))}, "got arrays images; expected an array x"),
    ],
)
def test_data_that_do_not_fit(arrays, text, refused, files, tmp_path):
    np.savez(tmp_path / "data.npz", **arrays)
    command = ("simulate", files.vectors, "--data", tmp_path / "data.npz")
    assert text in refused(*command, kind="InvalidDataError")


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_python_objects_are_refused(suffix, refused, files, tmp_path):
    path = tmp_path / f"data{suffix}"
    x = np.array([[None] * 10], dtype=object)
    with path.open("wb") as file:
        np.save(file, x) if suffix == ".npy" else np.savez(file, x=x)
    message = refused("simulate", files.vectors, "--data", path, kind="FileFormatError")
    assert "arrays of Python objects are never read" in message


def test_a_truncated_network(refused, files, tmp_path):
    path = tmp_path / "short.safetensors"
    path.write_bytes(files.vectors.read_bytes()[:-10])
    refused("simulate", path, "--data", files.vectors_data, kind="FileFormatError")


def test_an_unknown_engine(refused, files):
    message = refused(
        "simulate", files.vectors, "--data", files.vectors_data, "--engine", "loihi",
        kind="InvalidSettingError", code=2,
    )  # fmt: skip
    assert message.startswith("engine 'loihi': got an unknown name; expected one of reference, ")


def test_a_limit_that_the_engine_does_not_have(refused, files):
    message = refused(
        "simulate", files.vectors, "--data", files.vectors_data, "--timeout", 5,
        kind="InvalidSettingError", code=2,
    )  # fmt: skip
    assert f"--timeout: got engine '{default_engine()}'; expected engine 'lava'" in message


@pytest.mark.parametrize(
    ("option", "value"),
    [("--workers", 2), ("--shard-size", 5), ("--inner", "reference"), ("--address", "auto")],
)
def test_options_of_the_ray_engine_are_its_own(option, value, refused, files):
    message = refused(
        "simulate", files.vectors, "--data", files.vectors_data, "--engine", "onnx", option, value,
        kind="InvalidSettingError", code=2,
    )  # fmt: skip
    assert f"{option}: got engine 'onnx'; expected engine 'ray'. Leave {option} out." in message


def test_an_engine_that_ray_cannot_have_inside(refused, files):
    pytest.importorskip("ray", reason="Ray is not installed")
    message = refused(
        "simulate", files.vectors, "--data", files.vectors_data,
        "--engine", "ray", "--inner", "lava", kind="InvalidSettingError", code=2,
    )  # fmt: skip
    assert "inner engine 'lava': got no engine that runs in the process that calls it" in message


# ------------------------------------------------------------------------------------------- Lava


@pytest.fixture
def versions(monkeypatch):
    """Lets packages have other versions, or be absent."""
    true = importlib.metadata.version

    def change(**other: str | None) -> None:
        def version(name: str) -> str:
            found = other.get(name.replace("-", "_"), true)
            if found is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return found if isinstance(found, str) else true(name)

        monkeypatch.setattr(importlib.metadata, "version", version)

    return change


def lava_command(files: Files) -> tuple[object, ...]:
    return ("simulate", files.vectors, "--data", files.vectors_data, "--engine", "lava")


def test_without_lava_the_commands_that_install_it_are_named(versions, refused, files):
    versions(lava_nc=None)
    message = refused(*lava_command(files), kind="MissingDependencyError")
    assert "the Lava target: got no lava-nc; expected lava-nc 0.10.0. Run: pip install" in message
    for command in install_commands():
        assert command in message


def test_another_lava_is_refused(versions, refused, files):
    versions(lava_nc="0.9.0")
    assert "got lava-nc 0.9.0" in refused(*lava_command(files), kind="MissingDependencyError")


def test_lava_with_numpy_2_is_refused(versions, refused, files):
    versions(lava_nc="0.10.0", numpy="2.1.3")
    message = refused(*lava_command(files), kind="MissingDependencyError")
    assert "got numpy 2.1.3; expected numpy < 2" in message
    assert "pip install 'numpy>=1.24,<2'" in message


def test_lava_gives_the_same(run, files):
    pytest.importorskip("lava", reason="Lava is not installed")
    lava = run(*lava_command(files), "--timeout", 120, "--json")
    reference = run("simulate", files.vectors, "--data", files.vectors_data, "--json")
    assert (lava.code, lava.err) == (0, "")
    timed = ("engine", "seconds")
    assert {k: v for k, v in lava.json.items() if k not in timed} == {
        k: v for k, v in reference.json.items() if k not in timed
    }
    assert lava.json["engine"] == "lava"


def test_lava_takes_no_float_network(refused, files):
    pytest.importorskip("lava", reason="Lava is not installed")
    command = ("simulate", files.float_network, "--data", files.data, "--engine", "lava")
    message = refused(*command, kind="UnsupportedError")
    assert "got a float network; expected an integer network. Quantize it first" in message


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("512MiB", 512 << 20), ("2GiB", 2 << 30), ("1.5 kB", 1500), ("3g", 3 * 10**9)],
)
def test_sizes(text, size):
    assert byte_count(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "two", "1XB", "0.1", "GiB", "1e9"])
def test_sizes_that_are_none(text):
    with pytest.raises(InvalidSettingError, match="--memory"):
        byte_count(text)


def test_options_of_the_fast_engine(run, files):
    arguments = ("simulate", files.integer_network, "--data", files.data, "--engine", "fast")
    plain = run(*arguments, "--json").json
    told = run(*arguments, "--memory", "64MiB", "--threads", "1", "--device", "cpu", "--json").json
    assert told["ledger"] == plain["ledger"]
    assert told["predictions"] == plain["predictions"]
    assert plain["engine"] == "fast"


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--memory", "1B", "what one sample takes"),
        ("--memory", "much", "a size such as 512MiB"),
        ("--device", "abacus", "a device that this torch can use"),
    ],
)
def test_wrong_options_of_the_fast_engine(run, files, option, value, message):
    outcome = run(
        "simulate", files.integer_network, "--data", files.data, "--engine", "fast", option, value
    )
    assert outcome.code == 2
    assert message in outcome.err


@pytest.mark.parametrize(("option", "value"), [("--memory", "1GiB"), ("--device", "cpu")])
def test_options_of_the_fast_engine_elsewhere(run, files, option, value):
    outcome = run(
        *("simulate", files.integer_network, "--data", files.data),
        *("--engine", "reference", option, value),
    )
    assert outcome.code == 2
    assert f"Leave {option} out" in outcome.err
