"""Several engines after one another that share what is costly to begin."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from trispike.runtime.anytime import EngineBuilder
from trispike.runtime.engines import build_engine
from trispike.runtime.ray_engine import RayEngine
from trispike.runtime.ray_engine.session import check_ray, session


@contextmanager
def engine_builder(name: str, **options: Any) -> Iterator[EngineBuilder]:
    """What gives the engine of a name for any network; one session of Ray serves all of them.

    Args:
        name: As for ``build_engine``, which the yielded function calls.
        options: Of the engine.

    Raises:
        MissingDependencyError: Ray is asked for, and not installed.
        EngineError: No cluster at the address, or Ray does not start.
    """
    if name != RayEngine.name:
        yield partial(build_engine, name, **options)
        return
    check_ray()
    with session(options.pop("address", None), options.get("workers")):
        yield partial(build_engine, name, **options)
