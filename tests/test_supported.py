"""docs/supported.md against the code: architectures, examples, engines, tests."""

import ast
import fnmatch
import re
from functools import cache
from pathlib import Path

import pytest

from examples.results_methods import found_methods
from trispike.nn import ARCHITECTURES, QCFS_ARCHITECTURES

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "supported.md").read_text(encoding="utf-8")
WITH_OTHER_PACKAGES = {"spikingjelly"}
"""Examples that offer a network only where their library is installed."""


def rows(heading: str) -> list[list[str]]:
    """Cells of the table below a heading, without its head."""
    part = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


METHODS, REFUSED = rows("Methods"), rows("What is refused")
BY_EXAMPLE = {row[4].strip("`"): row for row in METHODS}


@cache
def functions_of(path):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("name", sorted({*ARCHITECTURES, *QCFS_ARCHITECTURES}))
def test_every_architecture_has_a_row(name):
    patterns = [p for row in METHODS for p in re.findall(r"`([\w-]+\*[\w*-]*)`", row[1])]
    assert any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def test_every_example_has_a_row_and_every_row_its_example():
    files = {path.stem for path in (ROOT / "examples" / "methods").glob("*.py")}
    named = {name for name in BY_EXAMPLE if re.fullmatch(r"\w+", name)}
    assert named <= files
    assert named - WITH_OTHER_PACKAGES <= set(found_methods()) <= named


@pytest.mark.parametrize("name", sorted(found_methods()))
def test_the_engines_are_those_that_the_example_verifies(name):
    engines = BY_EXAMPLE[name][3]
    told = "reference, fast, onnx, lava" if engines == "all" else engines
    assert told == ", ".join(found_methods()[name].engines)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(tests/[\w/]+(?:\.py)?)`", PAGE))))
def test_proofs_exist(path):
    assert (ROOT / path).exists()


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row[0])
def test_refusals_are_tested(row):
    path, function = row[1].strip("`").split("::")
    assert function in functions_of(path)
