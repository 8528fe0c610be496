"""``trispike doctor``: what is there, what is not, and the command for it."""

import importlib.metadata
import shutil

import pytest

import trispike
from trispike.cli.doctor import REQUIREMENTS
from trispike.targets.lava.requirements import install_commands


@pytest.fixture
def versions(monkeypatch):
    """Says which versions are installed: all that are required, but for what is given."""

    def install(**other: str | None) -> None:
        found: dict[str, str | None] = dict.fromkeys((r.package for r in REQUIREMENTS), "1.26.4")
        found["lava-nc"] = "0.10.0"
        found |= {name.replace("_", "-"): version for name, version in other.items()}

        def version(name: str) -> str:
            if found[name] is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return str(found[name])

        monkeypatch.setattr(importlib.metadata, "version", version)
        monkeypatch.setattr(shutil, "which", lambda name: found[name] and f"/usr/bin/{name}")

    return install


def test_everything_is_there(versions, run):
    versions()
    outcome = run("doctor")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(f"trispike {trispike.__version__}, Python 3.")
    for requirement in REQUIREMENTS:
        assert f"\n{requirement.package} " in outcome.out
    assert outcome.out.endswith("Everything is there.\n")
    facts = run("doctor", "--json").json
    assert facts["ok"] is True
    assert facts["trispike"] == trispike.__version__
    assert [p["package"] for p in facts["packages"]] == [r.package for r in REQUIREMENTS]
    for package in facts["packages"]:
        assert package["ok"] is True
        assert (package["problem"], package["fix"]) == (None, None)


@pytest.mark.parametrize(
    ("package", "fix"),
    [
        ("torch", "pip install 'trispike[torch]'"),
        ("onnxruntime", "pip install 'trispike[onnx]'"),
        ("nir", "pip install 'trispike[nir]'"),
        ("scikit-learn", "pip install scikit-learn"),
        ("pillow", "pip install 'trispike[data]'"),
        ("apt-get", "Debian and its relatives have it"),
        ("npm", "Node.js brings it"),
        ("lava-nc", " && ".join(install_commands())),
    ],
)
def test_what_is_optional_may_be_absent(package, fix, versions, run):
    versions(**{package.replace("-", "_"): None})
    outcome = run("doctor")
    assert outcome.code == 0
    assert outcome.out.endswith(f"\n{package}: {fix}\n")
    facts = run("doctor", "--json").json
    assert facts["ok"] is True
    (finding,) = [p for p in facts["packages"] if not p["ok"]]
    assert (finding["package"], finding["version"], finding["fix"]) == (package, None, fix)


@pytest.mark.parametrize(
    ("versions_found", "problem"),
    [({"lava_nc": "0.9.0"}, "lava-nc 0.9.0"), ({"numpy": "2.0.1"}, "numpy 2.0.1")],
)
def test_what_is_there_has_to_work(versions_found, problem, versions, run):
    versions(**versions_found)
    outcome = run("doctor", "--json")
    assert outcome.code == 1
    assert outcome.json["ok"] is False
    (finding,) = [p for p in outcome.json["packages"] if not p["ok"]]
    assert (finding["package"], finding["problem"]) == ("lava-nc", problem)
    assert finding["fix"].startswith("pip install ")
    assert run("doctor").code == 1


def test_without_lava_numpy_2_is_fine(versions, run):
    versions(lava_nc=None, numpy="2.2.0")
    assert run("doctor", "--json").code == 0


def test_this_environment(run):
    """The one that runs the tests has what the other tests need."""
    assert run("doctor").code == 0
