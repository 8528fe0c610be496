"""Networks as ONNX models.

Importing this needs no ``onnx``; the first use does, and says how to install it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from trispike.export.onnx.requirements import check_onnx

if TYPE_CHECKING:
    from trispike.export.onnx.forms import Form
    from trispike.export.onnx.model import build_model, check
    from trispike.export.onnx.reader import load_model
    from trispike.export.onnx.writer import write

__all__ = ["Form", "build_model", "check", "load_model", "write"]

_HOMES = {
    "Form": "forms",
    "build_model": "model",
    "check": "model",
    "load_model": "reader",
    "write": "writer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    check_onnx()
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
