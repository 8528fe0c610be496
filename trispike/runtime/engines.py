"""Engines by name."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Any

from trispike.errors import InvalidSettingError
from trispike.network import Network
from trispike.runtime.engine import Engine
from trispike.runtime.fast import FastEngine
from trispike.runtime.lava_engine import LavaEngine
from trispike.runtime.local_engines import LOCAL_ENGINES, default_engine
from trispike.runtime.nir_engine import NirEngine
from trispike.runtime.onnx_engine import OnnxEngine
from trispike.runtime.ray_engine import RayEngine
from trispike.runtime.reference import ReferenceEngine

__all__ = ["ENGINES", "build_engine", "default_engine", "engine_version"]

ENGINES: dict[str, Callable[..., Engine]] = {
    **LOCAL_ENGINES,
    LavaEngine.name: LavaEngine,
    RayEngine.name: RayEngine,
}
"""The reference first: it defines what the others have to equal."""

LEARNING_ENGINES = (ReferenceEngine.name, LavaEngine.name)
"""Those that run plastic networks."""

_PACKAGES = {
    ReferenceEngine.name: "numpy",
    FastEngine.name: "torch",
    LavaEngine.name: "lava-nc",
    OnnxEngine.name: "onnxruntime",
    NirEngine.name: "nir",
    RayEngine.name: "ray",
}


def build_engine(name: str, network: Network, **options: Any) -> Engine:
    """An engine for a network.

    Args:
        name: A key of :data:`ENGINES`.
        network: What it shall run.
        options: Passed to the engine's constructor.

    Raises:
        InvalidSettingError: Unknown name.
        MissingDependencyError: The engine needs a package that is not installed.
        UnsupportedError: The engine cannot run this network.
    """
    if name not in ENGINES:
        raise InvalidSettingError(
            f"engine {name!r}",
            got="an unknown name",
            expected="one of " + ", ".join(ENGINES),
            fix="Choose one of these.",
        )
    return ENGINES[name](network, **options)


def engine_version(name: str) -> str:
    """What an engine computes with, ``"numpy 1.26.4"``."""
    package = _PACKAGES[name]
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{package} (not installed)"
