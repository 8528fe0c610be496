"""Engines that run in the process that calls them; the ray engine puts them into its workers."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

from trispike.network import Network
from trispike.network.learning import plastic
from trispike.runtime.engine import Engine
from trispike.runtime.fast import FastEngine
from trispike.runtime.nir_engine import NirEngine
from trispike.runtime.onnx_engine import OnnxEngine
from trispike.runtime.reference import ReferenceEngine

LOCAL_ENGINES: dict[str, Callable[..., Engine]] = {
    ReferenceEngine.name: ReferenceEngine,
    FastEngine.name: FastEngine,
    OnnxEngine.name: OnnxEngine,
    NirEngine.name: NirEngine,
}
"""By name, the reference first."""


def default_engine(network: Network | None = None) -> str:
    """What runs a network unless something else is asked for: fast if it can, else reference.

    Args:
        network: The network, if it is known; a plastic one needs the reference.
    """
    if network is not None and plastic(network):
        return ReferenceEngine.name
    found = all(importlib.util.find_spec(package) for package in ("torch", "numba"))
    return FastEngine.name if found else ReferenceEngine.name
