"""The one place that imports nir, and says which command installs it where it is missing."""

from __future__ import annotations

import importlib.metadata

from trispike.errors import MissingDependencyError

try:
    import h5py
    import nir
except ImportError as error:
    raise MissingDependencyError(
        "NIR",
        got=str(error),
        expected="the package nir, version 1.0.6 or later",
        fix="Install it with: pip install 'trispike[nir]'",
    ) from error

__all__ = ["h5py", "nir", "version"]


def version() -> str:
    """Version of the installed nir package."""
    return importlib.metadata.version("nir")
