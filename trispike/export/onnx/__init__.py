"""Networks as ONNX models.

Importing this needs no ``onnx``; the first use does, and says how to install it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trispike.export.onnx.requirements import check_onnx

if TYPE_CHECKING:
    from trispike.export.onnx.model import build_model

__all__ = ["build_model"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    check_onnx()
    from trispike.export.onnx import model  # noqa: PLC0415 - onnx is optional

    return getattr(model, name)
