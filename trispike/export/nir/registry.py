"""Making our nodes known to nir, and reading files with errors that say what is wrong."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trispike.errors import FileFormatError, UnsafeFileError, UnsupportedError
from trispike.export.nir.nodes import CUSTOM_NODES
from trispike.export.nir.package import h5py, nir

HDF5_ERRORS = (OSError, KeyError, RuntimeError, TypeError, AttributeError, ValueError)
BUILD_ERRORS = (TypeError, ValueError, AssertionError, AttributeError, IndexError, LookupError)


def register() -> None:
    """Make ``nir.read`` know the nodes of trispike. Doing it again changes nothing.

    For those who use nir directly::

        import nir
        from trispike.export.nir import register

        register()
        graph = nir.read("network.nir")
    """
    known = nir.ir.__dict__["__all_ir"]
    for node in CUSTOM_NODES:
        if node.__name__ not in known:
            known.append(node.__name__)
        setattr(nir.ir, node.__name__, node)


def known_types() -> tuple[str, ...]:
    """The node types that ``nir.read`` knows now."""
    return tuple(nir.ir.__dict__["__all_ir"])


def read(path: str | os.PathLike[str], *, type_check: bool = False) -> Any:
    """Read an NIR file, whoever wrote it, as an ``nir.NIRGraph``.

    Args:
        path: The file.
        type_check: Let nir check the shapes. Its check is wrong for grouped convolutions and for
            kernels that are not square; :func:`trispike.export.nir.from_graph` has its own.

    Raises:
        FileNotFoundError: No such file.
        FileFormatError: No HDF5 file, truncated, or a node lacks a field or has one too many.
        UnsafeFileError: The file takes data from other files.
        UnsupportedError: A node is of a type that nobody has registered.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    register()
    try:
        with h5py.File(path, "r") as file:
            _check_inside(file, path)
            groups = {name: _contents(group) for name, group in _groups(file["node"], "")}
    except HDF5_ERRORS as error:
        raise _unreadable(path, f"unreadable content ({_words(error)})") from error
    for name, (kind, present) in groups.items():
        where = f"node {name!r}" if name else "graph"
        if kind not in known_types():
            raise UnsupportedError(
                f"{where} of file '{path}'",
                got=f"the type {kind!r}",
                expected="one of " + ", ".join(known_types()),
                fix="Import the package that defines this type and registers it with nir, or "
                "have the writer use standard nodes.",
            )
        _check_fields(f"{where} of file '{path}'", kind, present)
    try:
        graph = nir.read(path, type_check=type_check)
    except (*HDF5_ERRORS, *BUILD_ERRORS) as error:
        raise _unreadable(path, f"a graph that nir cannot build ({_words(error)})") from error
    if not isinstance(graph, nir.NIRGraph):
        raise _unreadable(path, f"a single {type(graph).__name__}")
    return graph


def _check_inside(group: Any, path: Path) -> None:
    """Refuse links, and data that HDF5 would fetch from other files."""
    for name in group:
        link = group.get(name, getlink=True)
        item = group[name] if isinstance(link, h5py.HardLink) else None
        if item is None or (isinstance(item, h5py.Dataset) and (item.external or item.is_virtual)):
            raise UnsafeFileError(
                f"file '{path}'",
                got=f"{group.name.rstrip('/')}/{name}, which lies elsewhere",
                expected="a file that holds all of its data itself",
                fix="Do not use this file: it reads other files of yours.",
            )
        if isinstance(item, h5py.Group):
            _check_inside(item, path)


def _groups(group: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Name and HDF5 group of a node and of all nodes within it."""
    yield name, group
    if "nodes" in group:
        for inner, node in group["nodes"].items():
            yield from _groups(node, f"{name}/{inner}".lstrip("/"))


def _contents(group: Any) -> tuple[str, set[str]]:
    """Type of a node, and the names of its fields."""
    kind = group["type"][()]
    return kind.decode("utf8") if isinstance(kind, bytes) else str(kind), set(group)


def _check_fields(where: str, kind: str, present: set[str]) -> None:
    """Name the fields that a node lacks or has too many."""
    fields = [f for f in dataclasses.fields(getattr(nir.ir, kind)) if f.init]
    missing = dataclasses.MISSING
    needed = {f.name for f in fields if f.default is missing and f.default_factory is missing}
    if kind in ("Input", "Output"):
        needed = {"shape"}
    needed -= {"input_type"}  # of a Flatten, which may leave it open
    known = {f.name for f in fields} | needed | {"type", "input_type", "output_type"}
    for wrong, got, expected in (
        (needed - present, "nothing", f"a value: a {kind} has one"),
        (present - known, "a value", f"no such field in a {kind}"),
    ):
        for field in sorted(wrong):
            raise FileFormatError(
                f"{where}, field {field!r}",
                got=got,
                expected=expected,
                fix="The file was damaged, or written by another version of nir.",
            )


def _words(error: BaseException) -> str:
    return str(error).strip("'\" ") or type(error).__name__


def _unreadable(path: Path, got: str) -> FileFormatError:
    return FileFormatError(
        f"file '{path}'",
        got=got,
        expected="a graph written by nir",
        fix="The file is truncated, foreign, or of another version of nir; write it again.",
    )
