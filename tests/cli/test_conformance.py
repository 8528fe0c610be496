"""``trispike conformance``: a table, JSON and an exit code, for engines of others too."""

from __future__ import annotations

import sys

import pytest

import trispike
from trispike.runtime.conformance import CONSTRUCTIONS

FOREIGN = """
from trispike import ReferenceEngine
from trispike.errors import UnsupportedError


class Chip(ReferenceEngine):
    \"\"\"Knows integers, and counts spikes one too high where it pools.\"\"\"

    def __init__(self, network):
        if network.kind == "float":
            raise UnsupportedError("chip", got="floats", expected="integers", fix="Quantize.")
        super().__init__(network)

    def run(self, inputs, **options):
        result = super().run(inputs, **options)
        if "halves" in result.records:
            result.records["halves"]["s"][1, 0, 0, 1, 0] += 1
        return result


def refuse(network):
    raise UnsupportedError("chip", got="a network", expected="none", fix="Buy another.")


class Makers:
    make = staticmethod(Chip)


number = 3
"""


@pytest.fixture
def chip(tmp_path, monkeypatch):
    """A module beside the user, who is not in the path of the program."""
    (tmp_path / "my_chip.py").write_text(FOREIGN, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    yield "my_chip:Chip"
    sys.modules.pop("my_chip", None)


def test_an_engine_that_conforms(run):
    outcome = run("conformance", "--engine", "reference", "--only", "xor", "--only", "rounding")
    assert (outcome.code, outcome.err) == (0, "")
    lines = [line.split() for line in outcome.out.splitlines()]
    assert lines[0] == ["construction", "float", "integer", "proves"]
    assert lines[1][:3] == ["xor", "passed", "passed"]
    assert lines[2][:3] == ["rounding", "-", "passed"]
    assert outcome.out.splitlines()[1].rstrip().endswith(CONSTRUCTIONS["xor"].proves)
    facts = run(
        "conformance", "--engine", "reference", "--only", "xor", "--only", "rounding", "--json"
    ).json
    same = trispike.conformance("reference", ["rounding", "xor"])
    assert facts["conforms"] is same.conforms is True
    assert facts["values_compared"] == same.to_dict()["values_compared"] > 500
    assert outcome.out.endswith(
        "reference conforms: 3 passed, 0 failed, 0 refused, "
        f"{facts['values_compared']:,} values compared\n"
    )


@pytest.mark.parametrize("name", ["my_chip:Chip", "my_chip:Makers.make"])
def test_an_engine_of_someone_else(name, chip, run):
    command = ("conformance", "--engine", name, "--only", "pooling", "--only", "xor")
    outcome = run(*command)
    assert (outcome.code, outcome.err) == (1, "")
    assert "failed: pooling, integer: halves.s, sample 1, step 0, index (0, 1, 0): got 1, " in (
        outcome.out
    )
    assert (
        "refused: xor (float), pooling (float): chip: got floats; expected integers. Quantize.\n"
        in outcome.out
    )
    assert f"{name} does not conform: 1 passed, 1 failed, 2 refused" in outcome.out
    facts = run(*command, "--json").json
    assert (facts["engine"], facts["conforms"]) == (name, False)
    assert [(o["construction"], o["kind"], o["status"]) for o in facts["outcomes"]] == [
        ("xor", "float", "refused"),
        ("xor", "integer", "passed"),
        ("pooling", "float", "refused"),
        ("pooling", "integer", "failed"),
    ]
    assert facts["outcomes"][3]["difference"]["index"] == [0, 1, 0]


def test_refusing_everything_proves_nothing(chip, run):
    refusing = ("conformance", "--engine", chip, "--only", "xor", "--json")
    assert run(*refusing).json["conforms"] is True
    sys.modules["my_chip"].Chip = sys.modules["my_chip"].refuse  # type: ignore[attr-defined]
    outcome = run(*refusing)
    assert outcome.code == 1
    assert (outcome.json["refused"], outcome.json["conforms"]) == (2, False)


@pytest.mark.parametrize(
    ("engine", "got"),
    [
        ("lavaa", "an unknown name; expected one of reference, fast"),
        ("no_such:Chip", "ModuleNotFoundError: No module named 'no_such'"),
        ("my_chip:Chap", "AttributeError: module 'my_chip' has no attribute 'Chap'"),
        ("my_chip:number", "something that cannot be called"),
        ("my_chip:", "AttributeError"),
        (":Chip", "ValueError"),
    ],
)
def test_an_engine_that_is_not_there(engine, got, chip, refused):
    message = refused("conformance", "--engine", engine, kind="InvalidSettingError", code=2)
    assert message.startswith(f"engine {engine!r}: got {got}")
    assert "package.module:Name" in message


def test_a_construction_that_is_not_there(refused):
    message = refused(
        "conformance", "--engine", "reference", "--only", "clok", kind="InvalidSettingError", code=2
    )
    assert message.startswith("construction 'clok': got an unknown name; expected one of every-m")


def test_a_device_is_for_the_fast_engine(run, refused):
    pytest.importorskip("numba", reason="numba is not installed")
    command = ("conformance", "--only", "xor", "--device", "cpu", "--engine")
    assert run(*command, "fast").code == 0
    assert "expected the engine fast" in refused(
        *command, "onnx", kind="InvalidSettingError", code=2
    )
