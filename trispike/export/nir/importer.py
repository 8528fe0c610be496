"""From a file or graph, whoever wrote it, to a network."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trispike.errors import InvalidSettingError
from trispike.export.nir.conventions import convention as filled_convention
from trispike.export.nir.foreign import Summary, from_foreign
from trispike.export.nir.own import from_own, is_own
from trispike.export.nir.registry import read
from trispike.network import FloatNetwork, IntegerNetwork
from trispike.network.network import Encoding


def read_network(
    path: str | os.PathLike[str],
    *,
    convention: str | None = None,
    dt: float | None = None,
    steps: int | None = None,
    encoding: Encoding | None = None,
    summary: Summary | None = None,
    settings: Mapping[str, Any] | None = None,
) -> FloatNetwork | IntegerNetwork:
    """Read an NIR file as a network; see :func:`from_graph`.

    Raises:
        FileNotFoundError: No such file.
        FileFormatError: No NIR file, truncated, or an inconsistent graph.
        UnsupportedError: A node is of an unknown type, or has no exact form here.
        InvalidSettingError: Something that the file does not say was not told.
    """
    return from_graph(
        read(path),
        convention=convention,
        dt=dt,
        steps=steps,
        encoding=encoding,
        summary=summary,
        settings=settings,
        name=Path(path).name,
    )


def from_graph(
    graph: Any,
    *,
    convention: str | None = None,
    dt: float | None = None,
    steps: int | None = None,
    encoding: Encoding | None = None,
    summary: Summary | None = None,
    settings: Mapping[str, Any] | None = None,
    name: str = "graph",
) -> FloatNetwork | IntegerNetwork:
    """The network of a graph.

    A graph that :func:`to_graph` made says everything itself. Any other needs to be told what its
    writer meant, because NIR leaves it open.

    Args:
        graph: An ``nir.NIRGraph``.
        convention: Name of the tool that wrote the graph; see :func:`conventions`.
        dt: Duration of a time step, in the unit of the graph's time constants; by default the
            tool's own, if it has one.
        steps: Time steps per sample.
        encoding: How data enter: "frames" (the default), "spikes" or "direct".
        summary: The logits are the "mean" (the default), the "sum" or the "last" of the output.
        settings: Entries of the convention that are to be others, or that it leaves open.
        name: Of the graph, for the provenance.

    Raises:
        FileFormatError: The graph is not consistent; the message names node and field.
        UnsupportedError: A node has no exact form here.
        InvalidSettingError: Something that the graph does not say was not told, or something that
            it does say was.
    """
    given = {
        "convention": convention,
        "dt": dt,
        "steps": steps,
        "encoding": encoding,
        "summary": summary,
        "settings": settings or None,
    }
    if is_own(graph):
        told = [key for key, value in given.items() if value is not None]
        if told:
            raise InvalidSettingError(
                ", ".join(told),
                got="a graph of trispike, which says this itself",
                expected="none of these",
                fix="Leave them out.",
            )
        return from_own(graph)
    if not isinstance(steps, int) or steps < 1:
        raise InvalidSettingError(
            "steps",
            got=repr(steps),
            expected="the number of time steps per sample, at least 1",
            fix="State it: --steps T; NIR does not say it.",
        )
    return from_foreign(
        graph,
        convention=filled_convention(convention, dt=dt, settings=settings),
        steps=steps,
        encoding=encoding or "frames",
        summary=summary or "mean",
        name=name,
    )
