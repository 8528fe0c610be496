"""Reading the fields of a node so that none is overlooked and every fault is named."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.errors import FileFormatError, UnsupportedError

Array: TypeAlias = npt.NDArray[Any]
Pair: TypeAlias = tuple[int, int]

PROVENANCE = ("metadata", "input_type", "output_type")
"""Fields that every node has and that say nothing of what it computes."""


class Fields:
    """The fields of one node. What was not read by the end is refused.

    Args:
        name: Of the node, with those of the graphs it lies in.
        node: The node.
    """

    def __init__(self, name: str, node: Any) -> None:
        self.name = name
        self.node = node
        self.kind = type(node).__name__
        self._read: set[str] = set(PROVENANCE)

    def get(self, field: str, *, may_be_none: bool = False) -> Any:
        """A field as it is."""
        self._read.add(field)
        value = getattr(self.node, field)
        if value is None and not may_be_none:
            raise self.bad(field, "None", "a value")
        return value

    def array(self, field: str, *, infinite: bool = False) -> Array:
        """A field as float64 numbers."""
        value = self.get(field)
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise self.bad(field, repr(value)[:80], "numbers") from None
        bad = np.isnan(array) if infinite else ~np.isfinite(array)
        if bad.any():
            raise self.bad(field, f"{int(bad.sum())} values that are NaN or infinite", "numbers")
        return array

    def integers(self, field: str, count: int, *, minimum: int) -> tuple[int, ...]:
        """A field as so many integers; one number stands for all of them."""
        value = self.array(field).reshape(-1)
        if value.size == 1:
            value = np.repeat(value, count)
        whole = bool((value == np.rint(value)).all())
        if value.size != count or not whole or (value < minimum).any():
            raise self.bad(field, str(self.get(field)), f"{count} integers >= {minimum}")
        return tuple(int(n) for n in value)

    def finish(self) -> None:
        """Refuse the node if a field was not read."""
        for field in dataclasses.fields(self.node):
            if field.name not in self._read:
                raise UnsupportedError(
                    f"node {self.name!r}, field {field.name!r}",
                    got=f"a field of {self.kind} that this release does not know",
                    expected="fields whose meaning is known",
                    fix="Use a newer trispike, or write the file with an older nir.",
                )

    def bad(self, field: str, got: str, expected: str) -> FileFormatError:
        """The error for a field."""
        return FileFormatError(
            f"node {self.name!r}, field {field!r}",
            got=got,
            expected=expected,
            fix="Correct the graph where it was written.",
        )

    def refused(self, got: str, expected: str, fix: str) -> UnsupportedError:
        """The error for a node that is valid and has no form here."""
        return UnsupportedError(
            f"node {self.name!r} ({self.kind})", got=got, expected=expected, fix=fix
        )
