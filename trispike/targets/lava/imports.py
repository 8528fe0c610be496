"""The one module through which every Lava import of trispike goes.

Lava 0.10.0 is the last release, and needs three things done for it. It is imported with
``dataclasses.dataclass`` repaired for Python >= 3.11, which refuses a default value that cannot
be hashed, and of which ``lava.magma.compiler.var_model`` has some. It sets the start method of
``multiprocessing`` to "fork" while it is imported, and fails if one has been set before, be it
the same. And it silently misbehaves with other versions of its own requirements.

Raises:
    MissingDependencyError: Lava is absent or of another version, or NumPy is 2 or later.
    EngineError: The program has set a start method of ``multiprocessing`` other than "fork".
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import multiprocessing
import sys
import warnings
from collections.abc import Iterator

from trispike.errors import EngineError
from trispike.targets.lava.requirements import check_lava


def require_fork() -> None:
    """Raise EngineError unless new processes are forked, which Lava relies on."""
    method = multiprocessing.get_start_method(allow_none=True)
    if method not in (None, "fork"):
        raise EngineError(
            "multiprocessing start method",
            got=repr(method),
            expected="'fork', the only one that Lava's processes can be started with",
            fix="Call multiprocessing.set_start_method('fork') at the start of the program, or "
            "run the Lava engine in a program of its own (the trispike command).",
        )


@contextlib.contextmanager
def _start_method_free() -> Iterator[None]:
    """Let Lava set the start method, and end with "fork" whatever happens."""
    if multiprocessing.get_start_method(allow_none=True) is not None:
        # The stub knows neither None nor that it means "not set".
        multiprocessing.set_start_method(None, force=True)
    try:
        yield
    finally:
        multiprocessing.set_start_method("fork", force=True)


@contextlib.contextmanager
def _unhashable_defaults() -> Iterator[None]:
    """Give dataclasses a hash by default while ``var_model`` is imported, on Python >= 3.11."""
    if sys.version_info < (3, 11):
        yield
        return
    original = dataclasses.dataclass

    @functools.wraps(original)
    def hashable(cls=None, /, **options):  # type: ignore[no-untyped-def]
        return original(cls, **{"unsafe_hash": True, **options})

    dataclasses.dataclass = hashable
    try:
        yield
    finally:
        dataclasses.dataclass = original


check_lava()
require_fork()
with warnings.catch_warnings(), _start_method_free():
    # Deprecations inside Lava and its old requirements concern nobody who only uses them.
    warnings.simplefilter("ignore")
    with _unhashable_defaults():
        import lava.magma.compiler.var_model  # noqa: F401
    from lava.magma.compiler.compiler import Compiler
    from lava.magma.core.decorator import implements, requires, tag
    from lava.magma.core.model.py.model import PyLoihiProcessModel
    from lava.magma.core.model.py.ports import PyInPort, PyOutPort
    from lava.magma.core.model.py.type import LavaPyType
    from lava.magma.core.process.message_interface_enum import ActorType
    from lava.magma.core.process.ports.ports import InPort, OutPort
    from lava.magma.core.process.process import AbstractProcess, ProcessServer
    from lava.magma.core.process.variable import Var
    from lava.magma.core.resources import CPU
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg, RunConfig
    from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
    from lava.magma.runtime.message_infrastructure.multiprocessing import (
        MultiProcessing,
        SystemProcess,
    )
    from lava.magma.runtime.mgmt_token_enums import MGMT_RESPONSE, enum_equal, enum_to_np
    from lava.magma.runtime.runtime import Runtime

__all__ = [
    "CPU",
    "MGMT_RESPONSE",
    "AbstractProcess",
    "ActorType",
    "Compiler",
    "InPort",
    "LavaPyType",
    "Loihi2SimCfg",
    "LoihiProtocol",
    "MultiProcessing",
    "OutPort",
    "ProcessServer",
    "PyInPort",
    "PyLoihiProcessModel",
    "PyOutPort",
    "RunConfig",
    "RunSteps",
    "Runtime",
    "SystemProcess",
    "Var",
    "enum_equal",
    "enum_to_np",
    "implements",
    "require_fork",
    "requires",
    "tag",
]
