"""What the Lava target needs to be installed, checked without importing Lava."""

from __future__ import annotations

import importlib.metadata
import sys

from trispike.errors import MissingDependencyError

LAVA_VERSION = "0.10.0"
"""The last release of lava-nc; the repositories are archived since 2026."""


def install_commands() -> tuple[str, ...]:
    """The commands that install Lava on the running version of Python."""
    extra = "pip install 'trispike[lava]'"
    if sys.version_info < (3, 11):
        return (extra,)
    # lava-nc declares Python < 3.11 and works on later ones (see imports.py for the one repair).
    lava = f"pip install --no-deps --ignore-requires-python lava-nc=={LAVA_VERSION}"
    return extra, lava


def check_lava() -> None:
    """Check versions of Lava and NumPy.

    Raises:
        MissingDependencyError: Lava is absent or of another version, or NumPy is 2 or later.
    """
    fix = "Run: " + " && ".join(install_commands())
    try:
        found = importlib.metadata.version("lava-nc")
    except importlib.metadata.PackageNotFoundError:
        raise MissingDependencyError(
            "the Lava target", got="no lava-nc", expected=f"lava-nc {LAVA_VERSION}", fix=fix
        ) from None
    if found != LAVA_VERSION:
        raise MissingDependencyError(
            "the Lava target", got=f"lava-nc {found}", expected=f"lava-nc {LAVA_VERSION}", fix=fix
        )
    numpy = importlib.metadata.version("numpy")
    if int(numpy.split(".")[0]) >= 2:
        raise MissingDependencyError(
            "the Lava target",
            got=f"numpy {numpy}",
            expected="numpy < 2, with which alone Lava's processes run: with numpy 2 its ports "
            "fail and its child processes die",
            fix="Run: pip install 'numpy>=1.24,<2' (or use another engine).",
        )
