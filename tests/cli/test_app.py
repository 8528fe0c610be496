"""The command line as a whole: help, wrong use, and the real program in a process of its own."""

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

import trispike
from trispike.cli import main
from trispike.cli.app import app

GROUP: Any = typer.main.get_command(app)
COMMANDS = tuple(GROUP.commands)


def program(*arguments: object, code: str = "") -> subprocess.CompletedProcess[str]:
    """The real program; ``code`` is executed before it starts."""
    start = f"import sys\n{code}\nfrom trispike.cli import main\nmain()"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", start, *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_an_interrupt_before_the_command_began_shows_no_traceback():
    code = "import typer.main\ndef stop(*_, **__): raise KeyboardInterrupt\n"
    outcome = program("doctor", code=code + "typer.main.get_command = stop")
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (130, "", "")


# ------------------------------------------------------------------------------------ help and use


def test_the_version(run):
    outcome = run("--version")
    assert (outcome.code, outcome.out) == (0, f"trispike {trispike.__version__}\n")


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_lists_the_commands_in_the_order_of_use(option, run):
    outcome = run(option)
    assert outcome.code == 0
    listed = re.findall(r"^│ (\w+) {2,}\S", outcome.out, flags=re.MULTILINE)
    assert tuple(listed) == COMMANDS
    assert set(COMMANDS) >= {
        "convert", "quantize", "inspect", "simulate", "estimate", "verify", "demo", "doctor"
    }  # fmt: skip


def test_without_arguments_there_is_help(run):
    assert "doctor" in (run().out + run().err)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_is_explained(command, run):
    outcome = run(command, "--help")
    assert outcome.code == 0
    assert (outcome.err, "Traceback" in outcome.out) == ("", False)
    for option in ("--json", "--debug", "--help"):
        assert option in outcome.out


def test_no_option_is_without_a_help_text():
    for name, command in GROUP.commands.items():
        assert command.help.split("\n")[0].endswith(".")
        for parameter in command.params:
            assert parameter.help, f"{name} {parameter.name}"


# Typer words these, so that only the offender is looked for.
WRONG = [
    (("simulat",), "simulat"),
    (("simulate",), "NETWORK"),
    (("inspect", "{vectors}", "--color"), "--color"),
    (("simulate", "{vectors}"), "--data"),
    (("simulate", "none.safetensors", "--data", "digits"), "none.safetensors"),
    (("simulate", "{vectors}", "--data", "digits", "--samples", "few"), "--samples"),
    (("simulate", "{vectors}", "--data", "digits", "--samples", "0"), "--samples"),
    (("verify", "{vectors}", "--data", "digits", "--samples", "-1"), "--samples"),
    (("convert", "{checkpoint}", "-o", "x", "--steps", "4"), "--arch"),
    (("convert", "{checkpoint}", "-o", "x", "--arch", "ctsn-vgg11"), "--steps"),
    (("convert", "{checkpoint}", "-o", "x", "--steps", "0"), "--steps"),
    (("convert", "{checkpoint}", "--form", "odd"), "--form"),
    (("inspect", "{vectors}", "{vectors}"), "{vectors}"),
    (("demo", "--samples", "0"), "--samples"),
]


@pytest.mark.parametrize(("arguments", "text"), WRONG, ids=[" ".join(a) for a, _ in WRONG])
def test_wrong_use(arguments, text, run, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = [argument.format(**vars(files)) for argument in arguments]
    plain = run(*arguments)
    assert (plain.code, plain.out) == (2, "")
    assert "Traceback" not in plain.err
    as_json = run(*arguments, "--json")
    assert as_json.code == 2
    assert text.format(**vars(files)) in as_json.json["error"]["message"]
    assert "Traceback" not in as_json.err
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------- in a process, as users have it


def test_one_json_object_and_nothing_else(files):
    result = program("simulate", files.vectors, "--data", files.vectors_data, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.count("\n") == 1
    assert json.loads(result.stdout)["samples"] == 5


def test_lava_writes_nothing_beside_the_json_object(files):
    pytest.importorskip("lava", reason="Lava is not installed")
    # Lava's own warnings are not ours to forbid; what they write is.
    command = ["verify", files.vectors, "--data", files.vectors_data, "--json"]
    result = subprocess.run(
        [sys.executable, "-m", "trispike.cli", *map(str, command)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.count("\n") == 1
    assert json.loads(result.stdout)["equal"] is True


def test_the_script_is_installed(files):
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="trispike")
    assert script.load() is main
    result = subprocess.run(
        [Path(sys.executable).parent / "trispike", "inspect", files.vectors],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert result.stdout.startswith("integer network, 4 time steps")


NO_TORCH = "sys.modules['torch'] = None"
ONLY_CORE = (
    "import importlib.metadata as m\n"
    "absent = ('torch', 'lava', 'sklearn', 'scipy')\n"
    "sys.modules.update(dict.fromkeys(absent))\n"
    "true = m.version\n"
    "def version(name):\n"
    "    if name in ('torch', 'lava-nc', 'scikit-learn'): raise m.PackageNotFoundError(name)\n"
    "    return true(name)\n"
    "m.version = version\n"
)


@pytest.mark.parametrize(
    "command",
    ["convert {checkpoint} --arch ctsn-resnet8 --steps 3 -o out.safetensors", "demo"],
    ids=["convert", "demo"],
)
def test_without_torch_the_command_that_installs_it_is_named(command, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = program(*command.format(**vars(files)).split(), "--json", code=NO_TORCH)
    assert result.returncode == 1
    error = json.loads(result.stdout)["error"]
    assert error["type"] == "MissingDependencyError"
    assert "got no PyTorch" in error["message"]
    assert "pip install 'trispike[torch]'" in error["message"]
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["inspect", "simulate", "estimate"])
def test_integer_networks_need_numpy_alone(command, files):
    data = () if command == "inspect" else ("--data", files.vectors_data)
    result = program(command, files.vectors, *data, "--json", code=ONLY_CORE)
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout)


def test_doctor_without_anything(files):
    result = program("doctor", code=ONLY_CORE)
    assert (result.returncode, result.stderr) == (0, "")
    for package in ("torch", "lava-nc", "scikit-learn"):
        assert re.search(rf"^{package} +- +(not installed|no lava-nc)", result.stdout, re.MULTILINE)
        assert re.search(rf"^{package}: pip install ", result.stdout, re.MULTILINE)


def test_digits_without_scikit_learn(files):
    command = ("simulate", files.integer_network, "--data", "digits")
    result = program(*command, code=ONLY_CORE)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("error: data set 'digits': got ")
    assert result.stderr.endswith("pip install scikit-learn\n")


def test_a_reader_that_has_seen_enough(files):
    """As in ``trispike simulate ... | head -1``: no traceback, no complaint."""
    with subprocess.Popen(
        [sys.executable, "-m", "trispike.cli", "inspect", str(files.vectors)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        error = process.stderr.read()
    assert error == ""


def test_a_full_disk_is_no_defect_of_ours(files):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        result = subprocess.run(
            [sys.executable, "-m", "trispike.cli", "inspect", str(files.vectors)],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=120,
        )  # fmt: skip
    assert result.returncode != 0
    assert "internal error" not in result.stderr
