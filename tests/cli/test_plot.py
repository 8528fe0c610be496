"""``trispike plot``: pictures from the command line."""

import importlib.util
import sys

import pytest

from tests.cli.test_app import program
from trispike.cli.plot import neuron_indices
from trispike.errors import InvalidSettingError

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

WRONG = {"kind": "InvalidSettingError", "code": 2}


@pytest.fixture(scope="module")
def recording(run, files, tmp_path_factory):
    """Everything of the tiny network, of five samples."""
    path = tmp_path_factory.mktemp("plot") / "run.npz"
    command = ("simulate", files.vectors, "--data", files.vectors_data)
    assert run(*command, "--record", "all", "--record-to", path).code == 0
    return path


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        ((), {"kind": "rates", "sample": None}),
        (("--population", "first"), {"kind": "traces", "populations": ["first"], "sample": 0}),
        (("--kind", "raster", "--sample", "3", "--neurons", "0-5"), {"sample": 3}),
        (("--kind", "traces", "--network", "{}"), {"thresholds": True}),
    ],
)
def test_pictures(options, facts, run, recording, files, tmp_path):
    path = tmp_path / "plot.svg"
    options = [option.format(files.vectors) for option in options]
    outcome = run("plot", recording, "-o", path, *options, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    expected = {
        "output": str(path),
        "populations": ["first", "second", "third"],
        "thresholds": False,
        "data": "vectors_data.npz",
        **facts,
    }
    assert outcome.json | expected == outcome.json
    assert path.read_text(encoding="utf-8").startswith("<?xml")


def test_the_words_for_people(run, recording, tmp_path):
    path = tmp_path / "plot.png"
    outcome = run("plot", recording, "-o", path, "--kind", "traces", "--population", "first")
    words = f"wrote {path} (traces)\nThresholds are drawn with --network NETWORK.\n"
    assert (outcome.code, outcome.out, outcome.err) == (0, words, "")
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--kind", "pie"), "--kind 'pie': got an unknown kind; expected one of raster, traces"),
        (("--sample", "1"), "--sample: got a picture of kind 'rates'; expected --kind raster or"),
        (("--kind", "raster", "--sample", "5"), "sample: got 5; expected a number from 0 to 4"),
        (("--kind", "raster", "--neurons", "12"), "neurons of 'first': got 12; expected numbers"),
        (("--kind", "raster", "--neurons", "x"), "--neurons: got 'x'; expected numbers and ranges"),
        (("--kind", "raster", "--network", "{}"), "--network: got a picture of kind 'raster'"),
        (("--population", "furst"), "Did you mean first?"),
    ],
)
def test_wrong_use(options, text, refused, recording, files):
    options = [option.format(files.vectors) for option in options]
    assert text in refused("plot", recording, *options, "-o", recording.parent / "x.svg", **WRONG)
    assert not (recording.parent / "x.svg").exists()


def test_another_suffix(refused, recording):
    assert "expected .png or .svg or .pdf" in refused("plot", recording, output=True, **WRONG)


def test_the_recording_is_not_written_over(refused, recording):
    message = refused("plot", recording, "-o", recording, **WRONG)
    assert "got the file that is read" in message


def test_another_network(refused, recording, files, tmp_path):
    message = refused(
        *("plot", recording, "--kind", "traces", "--network", files.saturation),
        *("-o", recording.parent / "x.svg"),
        kind="InvalidDataError",
    )
    assert "expected that of the recording" in message


def test_what_is_no_recording(refused, files):
    target = files.vectors.parent / "x.svg"
    message = refused("plot", files.vectors, "-o", target, kind="FileFormatError")
    assert "a file without the header of a recording" in message


def test_without_matplotlib_the_command_that_installs_it_is_named(refused, recording, monkeypatch):
    true = importlib.util.find_spec
    for name in [name for name in sys.modules if name.startswith("trispike.plots")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "matplotlib" else true(name)
    )
    message = refused(
        "plot", recording, "-o", recording.parent / "x.svg", kind="MissingDependencyError"
    )
    assert "plots: got no matplotlib" in message
    assert "pip install 'trispike[plot]'" in message


def test_no_display_is_needed_and_nothing_else_loads_matplotlib(recording, tmp_path):
    code = "import os; os.environ.pop('DISPLAY', None); os.environ.pop('MPLBACKEND', None)"
    done = program("plot", recording, "-o", tmp_path / "plot.png", code=code)
    assert (done.returncode, done.stderr) == (0, "")
    check = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('matplotlib' in sys.modules, file=sys.stderr))"
    )
    assert program("plot", "--help", code=check).stderr == "False\n"


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("0", [0]), ("0,7,20-23", [0, 7, 20, 21, 22, 23]), (" 3 , 1-3", [3, 1, 2]), ("5-5", [5])],
)
def test_neurons(text, numbers):
    assert neuron_indices(text) == numbers


@pytest.mark.parametrize("text", ["", "x", "1,", "-1", "3-1", "1-", "1.5", "0-999999999"])
def test_neurons_that_are_none(text):
    with pytest.raises(InvalidSettingError, match="expected numbers and ranges"):
        neuron_indices(text)
