"""The promises of the package as a whole: names, imports, metadata, make targets."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import trispike

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
OPTIONAL_PACKAGES = [
    "jinja2",
    "lava",
    "matplotlib",
    "nir",
    "onnx",
    "onnxruntime",
    "PIL",
    "pyarrow",
    "ray",
    "sanafe",
    "sklearn",
    "torch",
]


def pins() -> dict[str, Version]:
    """The pins of constraints.txt that apply to this interpreter."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found: dict[str, Version] = {}
    for line in lines:
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            (pin,) = requirement.specifier
            assert pin.operator == "==", line
            if requirement.marker is None or requirement.marker.evaluate():
                name = canonicalize_name(requirement.name)
                assert name not in found, f"{name} is pinned twice"
                found[name] = Version(pin.version)
    return found


def test_version_is_that_of_pyproject():
    assert trispike.__version__ == PROJECT["version"]


@pytest.mark.parametrize("package", ["trispike", "trispike.network", "trispike.runtime"])
def test_public_names_exist(package):
    module = importlib.import_module(package)
    assert module.__all__
    missing = [name for name in module.__all__ if not hasattr(module, name)]
    assert not missing


def test_import_loads_no_optional_package():
    # In a child, because the other tests of this process have loaded them.
    code = "import sys, trispike; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not set(result.stdout.split()) & set(OPTIONAL_PACKAGES)


@pytest.mark.parametrize("extra", ["core", *EXTRAS])
def test_requirements_are_pinned_to_a_version_they_accept(extra):
    pinned = pins()
    for line in PROJECT["dependencies"] if extra == "core" else EXTRAS[extra]:
        requirement = Requirement(line)
        if requirement.name == PROJECT["name"]:
            assert requirement.extras <= set(EXTRAS), line
        elif requirement.marker is None or requirement.marker.evaluate():
            assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, line


def test_all_means_every_extra_but_the_developers():
    (requirement,) = map(Requirement, EXTRAS["all"])
    foreign = {"events", "sanafe"}  # under another licence: nobody gets it who did not ask for it
    assert requirement.extras == set(EXTRAS) - {"all", "dev"} - foreign


def test_make_help_lists_every_target():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.+)$", makefile, flags=re.MULTILINE)
    result = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = re.findall(r"^  make (\S+) +\S", result.stdout, flags=re.MULTILINE)
    assert listed == phony.split()


def test_the_architecture_page_says_where_optional_packages_are_imported():
    """Its table is what the import rules enforce."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    rules = {
        package: {module.removeprefix("trispike.") for module in contract["allowed_importers"]}
        for contract in tools["importlinter"]["contracts"]
        if contract["type"] == "protected"
        for package in contract["protected_modules"]
        if package != "google"  # protobuf, which onnx brings
    }
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\w, ]+) \| (`.+`).* \|$", page, flags=re.MULTILINE)
    written = {
        package: set(re.findall(r"`([\w.]+)`", places))
        for packages, places in rows
        for package in packages.split(", ")
    }
    assert {package: written.get(package) for package in rules} == rules
