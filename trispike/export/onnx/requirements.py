"""Importing ``onnx``, or saying how to get it."""

from __future__ import annotations

from trispike.errors import MissingDependencyError


def check_onnx() -> None:
    """Raise unless the package ``onnx`` can be imported.

    Raises:
        MissingDependencyError: It is not installed, or broken.
    """
    try:
        import onnx  # noqa: F401, PLC0415 - optional
    except ImportError as error:
        raise MissingDependencyError(
            "package 'onnx'",
            got=str(error),
            expected="onnx 1.16 or later",
            fix="Install it with: pip install 'trispike[onnx]'",
        ) from error
