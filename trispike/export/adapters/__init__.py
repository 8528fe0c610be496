"""Networks of other libraries: their neurons as settings of ours, exactly, or refused by name.

One module per library. A library is touched only if the user has imported it already: whoever has
a module of SpikingJelly has SpikingJelly.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import nn

Prepare: TypeAlias = Callable[[nn.Module, torch.dtype], None]
"""Brings one neuron of a copy to its state before the first step, computing in some dtype."""

LIBRARIES = {"spikingjelly": "spikingjelly.activation_based.neuron", "snntorch": "snntorch"}
"""Libraries with an adapter, and the module of each that holds its neurons."""


def register_loaded() -> None:
    """Make the neurons of every library that is imported known to the conversion."""
    for library, neurons in LIBRARIES.items():
        if neurons in sys.modules:
            importlib.import_module(f"{__name__}.{library}")


def is_foreign(module: nn.Module) -> bool:
    """Whether a module is of a library with an adapter, or derived from one that is."""
    return any(kind.__module__.split(".")[0] in LIBRARIES for kind in type(module).__mro__)


def prepare(module: nn.Module, dtype: torch.dtype) -> None:
    """Bring every foreign neuron within a copy of a module to its state before the first step.

    Args:
        module: A copy; it is changed.
        dtype: What it is to compute in.
    """
    for library in LIBRARIES:
        adapter = sys.modules.get(f"{__name__}.{library}")
        if adapter is None:
            continue
        prepare_one: Prepare = adapter.prepare
        for part in module.modules():
            prepare_one(part, dtype)
