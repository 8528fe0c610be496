"""Runs an engine on all constructions and compares every value with the one that follows."""

from __future__ import annotations

import functools
import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from trispike.errors import (
    InvalidSettingError,
    MissingDependencyError,
    TrispikeError,
    UnsupportedError,
)
from trispike.runtime.conformance.constructions import CONSTRUCTIONS
from trispike.runtime.conformance.parts import Array, Exact, Kind
from trispike.runtime.engine import Engine
from trispike.runtime.engines import ENGINES
from trispike.runtime.verify import Difference, earliest_difference

Builder: TypeAlias = Callable[..., Engine]
"""Makes an engine for a network, or raises UnsupportedError for one that it cannot run."""

Status: TypeAlias = Literal["passed", "failed", "refused"]

COMPARED = ("i", "c", "v", "s")
"""Traces in the order in which a neuron computes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an engine did on one construction, in one number type."""

    construction: str
    kind: Kind
    proves: str
    """What an engine can do that passes."""
    status: Status
    """Refused: the engine raised UnsupportedError, as it has to where it cannot be exact."""
    reason: str | None
    """Why it refused, or how it failed other than by a value."""
    difference: Difference | None
    """The first value that is not the expected one."""
    values_compared: int
    """Spikes, states and logits; 0 if the engine yielded none."""
    seconds: float
    """Wall-clock time, building the engine included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conformance:
    """How an engine did on the suite."""

    engine: str
    outcomes: tuple[Outcome, ...]

    def count(self, status: Status) -> int:
        """How many constructions came out so."""
        return sum(outcome.status == status for outcome in self.outcomes)

    @property
    def conforms(self) -> bool:
        """Whether none failed, and not all were refused."""
        return not self.count("failed") and self.count("passed") > 0

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "engine": self.engine,
            "conforms": self.conforms,
            "passed": self.count("passed"),
            "failed": self.count("failed"),
            "refused": self.count("refused"),
            "values_compared": sum(outcome.values_compared for outcome in self.outcomes),
            "outcomes": [asdict(outcome) for outcome in self.outcomes],
        }


def conformance(
    engine: str | Builder,
    only: Sequence[str] | None = None,
    *,
    progress: Callable[[int], None] | None = None,
    **options: Any,
) -> Conformance:
    """Run an engine on networks whose every spike, state and logit follows from arithmetic.

    No engine computes what is expected: each construction states it in closed form.

    Args:
        engine: Name of an engine of trispike; ``"package.module:Name"`` of another one; or what
            makes one: called with a network, it returns an object with
            ``run(inputs, record="all")`` as in :class:`trispike.runtime.engine.Engine`, of whose
            result ``records``, ``step_logits`` and ``logits`` are compared.
        only: Names of constructions; by default all.
        progress: Called as constructions finish, once for each number type.
        options: Passed to the engine's constructor.

    Raises:
        InvalidSettingError: Unknown engine or construction, a module that cannot be imported, or
            an option that the engine refuses.
        MissingDependencyError: The engine's package is not installed.
    """
    build = functools.partial(
        engine_builder(engine) if isinstance(engine, str) else engine, **options
    )
    label = engine if isinstance(engine, str) else getattr(engine, "__name__", repr(engine))
    outcomes = []
    for name, kind in chosen(only):
        outcomes.append(_outcome(build, label, name, kind))
        if progress:
            progress(1)
    return Conformance(engine=label, outcomes=tuple(outcomes))


def chosen(only: Sequence[str] | None = None) -> list[tuple[str, Kind]]:
    """Constructions and number types that are run, in order.

    Args:
        only: Names; by default all.

    Raises:
        InvalidSettingError: A name is unknown.
    """
    unknown = [name for name in only or () if name not in CONSTRUCTIONS]
    if unknown:
        raise InvalidSettingError(
            f"construction {unknown[0]!r}",
            got="an unknown name",
            expected="one of " + ", ".join(CONSTRUCTIONS),
            fix="Choose one of these.",
        )
    return [
        (name, kind)
        for name, construction in CONSTRUCTIONS.items()
        if not only or name in only
        for kind in construction.kinds
    ]


def engine_builder(name: str) -> Builder:
    """What makes engines, by name.

    Args:
        name: A key of :data:`trispike.runtime.engines.ENGINES`, or ``"package.module:Name"``: a
            class or function that is called with a network. The module's code is executed.

    Raises:
        InvalidSettingError: No such engine, module or name in it.
    """
    if name in ENGINES:
        return ENGINES[name]
    module, colon, attribute = name.partition(":")
    got = "an unknown name"
    found: Any = None
    if colon:
        try:
            found = importlib.import_module(module)
            for part in attribute.split("."):
                found = getattr(found, part)
        except (ImportError, ValueError, AttributeError) as error:
            got, found = f"{type(error).__name__}: {error}", None
        else:
            got = "something that cannot be called"
    if not callable(found):
        raise InvalidSettingError(
            f"engine {name!r}",
            got=got,
            expected="one of " + ", ".join(ENGINES) + ", or package.module:Name of a class or "
            "function that makes an engine of a network",
            fix="Choose one of these, or correct the module's path.",
        )
    return found


def _outcome(build: Builder, label: str, name: str, kind: Kind) -> Outcome:
    construction = CONSTRUCTIONS[name]
    exact = construction.build(kind)
    start = time.perf_counter()
    status: Status = "failed"
    reason, difference, compared = None, None, 0
    try:
        result = build(exact.network).run(exact.inputs, record="all")
        pairs, reason = _pairs(exact, result)
        if reason is None:
            compared = sum(ours.size for _, ours, _ in pairs)
            *traces, (_, *logits) = pairs
            difference = earliest_difference(label, traces, (logits[0], logits[1]))
            status = "failed" if difference else "passed"
    except UnsupportedError as error:
        status, reason = "refused", str(error)
    except (MissingDependencyError, InvalidSettingError):
        raise  # about the engine, not about this network
    except TrispikeError as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001 - whatever a foreign engine raises is its failure
        reason = f"{type(error).__name__}: {error}"
    return Outcome(
        construction=name,
        kind=kind,
        proves=construction.proves,
        status=status,
        reason=reason,
        difference=difference,
        values_compared=compared,
        seconds=time.perf_counter() - start,
    )


def _pairs(exact: Exact, result: Any) -> tuple[list[tuple[str, Array, Array]], str | None]:
    """What is compared, named; and what is missing of the result or of another shape."""
    wanted: list[tuple[str, Array, Any]] = []
    for name in exact.network.order:
        recorded = result.records.get(name, {})
        traces = [trace for trace in COMPARED if trace in exact.expected[name]]
        wanted += [(f"{name}.{t}", exact.expected[name][t], recorded.get(t)) for t in traces]
    wanted.append(("step_logits", exact.step_logits, result.step_logits))
    wanted.append(("logits", exact.logits, result.logits))
    pairs = []
    for what, ours, theirs in wanted:
        if theirs is None:
            return [], f"{what} is missing in the result"
        values = np.asarray(theirs)
        if values.shape != ours.shape:
            return [], f"{what} has shape {values.shape}, expected {ours.shape}"
        if not np.isfinite(values).all():
            return [], f"{what} holds NaN or infinity"
        pairs.append((what, ours, values))
    return pairs, None
