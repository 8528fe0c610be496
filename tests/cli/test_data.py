"""What every command does with the data that it is given: by name or file, checked first."""

import io

import numpy as np
import pytest
from rich.console import Console

from tests.cli.conftest import STEPS
from trispike.cli import console, data
from trispike.errors import FetchError
from trispike.network import load
from trispike.runtime.data import DATA_SETS, Samples, load_digits_split

COMMANDS = {
    "simulate": (("simulate", "NETWORK", "--data", "DATA"), False),
    "simulate (lava)": (("simulate", "NETWORK", "--engine", "lava", "--data", "DATA"), False),
    "estimate": (("estimate", "NETWORK", "--data", "DATA"), False),
    "verify": (("verify", "NETWORK", "--engines", "reference,onnx", "--data", "DATA"), False),
    "verify (file)": (("verify", "NETWORK", "--onnx", "FILE", "--data", "DATA"), False),
    "quantize": (("quantize", "FLOAT", "--calibration", "DATA"), True),
    "inspect": (("inspect", "NETWORK", "--graph", "OUTPUT.svg", "--data", "DATA"), False),
    "export (onnx)": (("export", "NETWORK", "--format", "onnx", "--data", "DATA"), True),
    "export (nir)": (
        (
            *("export", "FLOAT", "--format", "nir", "--nodes", "standard", "--allow-lossy"),
            *("--data", "DATA"),
        ),
        True,
    ),
    "convert": (
        (
            *("convert", "CHECKPOINT", "--arch", "ctsn-resnet8", "--steps", STEPS),
            *("--input-shape", "1,8,8", "--data", "DATA"),
        ),
        True,
    ),
}
"""Every command that takes data, and whether it takes an output."""

WITH_LABELS = [name for name in COMMANDS if name != "convert"]
"""A conversion looks at no labels."""


@pytest.fixture(scope="module")
def onnx_file(files, run, tmp_path_factory):
    """The network as an ONNX file."""
    path = tmp_path_factory.mktemp("onnx") / "net.onnx"
    assert run("export", files.integer_network, "--format", "onnx", "-o", path).code == 0
    return path


@pytest.fixture
def command(files, onnx_file, tmp_path):
    """The arguments of a command on data."""

    def fill(name: str, source: object) -> tuple[object, ...]:
        names = {
            "NETWORK": files.integer_network,
            "FLOAT": files.float_network,
            "CHECKPOINT": files.checkpoint,
            "DATA": source,
            "OUTPUT.svg": tmp_path / "picture.svg",
            "FILE": onnx_file,
        }
        return tuple(names.get(str(argument), argument) for argument in COMMANDS[name][0])

    return fill


@pytest.fixture
def nothing_starts(monkeypatch):
    """Progress bars and engines are forbidden."""

    def forbidden(*arguments, **options):
        raise AssertionError("it started")

    for module in ("convert", "quantize", "simulate", "verify", "inspect"):
        monkeypatch.setattr(f"trispike.cli.{module}.progress_bar", forbidden)
    for place in (
        "trispike.cli.simulate.build_engine",
        "trispike.cli.verify.check_file",
        "trispike.runtime.onnx_file.check_file",
        "trispike.export.onnx.write",
        "trispike.export.nir.write_standard",
    ):
        monkeypatch.setattr(place, forbidden)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_data_set_by_name(name, command, run, tmp_path, monkeypatch):
    if "lava" in name:
        pytest.importorskip("lava", reason="Lava is not installed")
    asked = []

    def few(part, notify):
        asked.append(part)
        return Samples(*(array[:3] for array in load_digits_split().test))

    monkeypatch.setitem(DATA_SETS, "few", few)
    output = ("-o", tmp_path / "output.safetensors") if COMMANDS[name][1] else ()
    outcome = run(*command(name, "few:train"), *output, "--json")
    assert (outcome.code, outcome.err) == (0, ""), outcome
    facts = outcome.json
    assert asked == ["train"]
    if name not in ("inspect", "convert"):
        assert facts["data"] == "few:train"
    if name == "convert":
        assert facts["proof"]["data"] == "few:train"


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    ("shape", "value", "text"),
    [
        ((2, 1, 28, 28), 0.5, "got an array of shape (2, 1, 28, 28)"),
        ((2, 64), 0.5, "of shape (2, 64)"),
        ((2, STEPS, 1, 8, 8), 0.5, f"got an array of shape (2, {STEPS}, 1, 8, 8)"),
        ((2, 1, 8, 8), np.nan, "got 128 values that are NaN or infinite"),
    ],
)
def test_data_of_another_shape_or_range_are_refused_first(
    name, shape, value, text, command, refused, tmp_path, nothing_starts
):
    path = tmp_path / "data.npz"
    np.savez(path, x=np.full(shape, value, np.float32), y=np.zeros(2, int))
    arguments = command(name, path)
    message = refused(*arguments, kind="InvalidDataError", output=COMMANDS[name][1])
    assert text in message


@pytest.mark.parametrize("name", WITH_LABELS)
@pytest.mark.parametrize("label", [10, -1])
def test_labels_of_other_classes_are_refused_first(
    name, label, command, refused, tmp_path, nothing_starts
):
    path = tmp_path / "data.npz"
    np.savez(path, x=np.zeros((2, 1, 8, 8), np.float32), y=np.array([label, 3]))
    arguments = command(name, path)
    message = refused(*arguments, kind="InvalidDataError", output=COMMANDS[name][1])
    assert message.startswith("labels: got values from ")
    assert "expected 2 integers in 0..9" in message


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("source", ["fashion-mnits", "mnist:all", "nothing.npz"])
def test_unknown_data_are_wrong_use(name, source, command, refused, nothing_starts):
    arguments = command(name, source)
    message = refused(*arguments, kind="InvalidSettingError", code=2, output=COMMANDS[name][1])
    assert message.startswith(f"data '{source}': got ")
    assert "mnist:train or mnist:test" in message or "fashion-mnist, mnist, cifar10" in message


@pytest.mark.parametrize("name", COMMANDS)
def test_data_that_cannot_be_fetched(name, command, refused, monkeypatch, nothing_starts):
    def offline(part, notify):
        raise FetchError("data set 'far'", got="silence", expected="it", fix="Call louder.")

    monkeypatch.setitem(DATA_SETS, "far", offline)
    arguments = command(name, "far")
    message = refused(*arguments, kind="FetchError", output=COMMANDS[name][1])
    assert message == "data set 'far': got silence; expected it. Call louder."


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_names_the_data_sets(name, run):
    text = " ".join(run(COMMANDS[name][0][0], "--help").out.replace("│", " ").split())
    for data_set in DATA_SETS:
        assert data_set in text


def test_samples_that_are_not_used_are_not_looked_at(run, files, tmp_path):
    x = np.zeros((4, 1, 8, 8), np.float32)
    x[2:] = np.nan
    np.savez(tmp_path / "data.npz", x=x, y=np.array([0, 1, 10, 10]))
    options = ("--data", tmp_path / "data.npz", "--samples")
    assert run("simulate", files.integer_network, *options, 2).code == 0
    assert run("simulate", files.integer_network, *options, 3).code == 1


def test_input_beyond_the_range_is_told_before_it_runs(files, tmp_path, monkeypatch):
    network = load(files.integer_network)
    assert network.input.scale is not None
    np.savez(tmp_path / "data.npz", x=np.full((1, 1, 8, 8), 1000 * network.input.scale))
    warned: list[str] = []
    monkeypatch.setattr(data, "warn", warned.append)
    given = data.load_for(network, str(tmp_path / "data.npz"), None)
    assert len(given.x) == 1
    (text,) = warned
    assert text.startswith("100.00% of the input values were clipped")


def test_a_terminal_says_what_is_fetched(monkeypatch):
    def slow(part, notify):
        notify(f"fetching the {part} part (npm) ...")
        return Samples(np.zeros((1, 1, 2, 2), np.float32), np.zeros(1, np.int64))

    monkeypatch.setitem(DATA_SETS, "slow", slow)
    for terminal in (True, False):
        shown = io.StringIO()
        monkeypatch.setattr(console, "err", Console(file=shown, force_terminal=terminal))
        data.load_shown("slow", None)
        assert ("fetching the test part (npm) ..." in shown.getvalue()) is terminal
        assert terminal or not shown.getvalue()
