"""Are two engines equal? Every spike, every state, every logit and every count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.errors import InvalidDataError, InvalidSettingError
from trispike.network import Network, digest
from trispike.network.learning import plastic
from trispike.runtime.engine import TRACES, Result
from trispike.runtime.engines import LEARNING_ENGINES, build_engine, engine_version
from trispike.runtime.ledger import Ledger
from trispike.runtime.ledger_file import data_digest

Array: TypeAlias = npt.NDArray[Any]

RECORD_BYTES = 1 << 30
"""Memory for the recorded traces of one engine; more samples are compared in several runs."""

FLOAT_TOLERANCE = 1e-9
"""What states and logits of a float network may differ by, relative to the largest of their trace
(and at least 1): engines add in different orders. Spikes and counts have to be equal, and integer
networks in everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first place at which two engines differ."""

    engine: str
    """The engine that differs from the first one."""
    what: str
    """Trace of a population ("conv1.v"), "step_logits", "logits", "weights of input->fc1" (in units
    of 2**-fine_bits), or an entry of the ledger
    ("ledger connections/conv1->conv2/synaptic_operations")."""
    sample: int | None = None
    """None in a ledger, which is summed over samples."""
    step: int | None = None
    """None for logits, which are summed over steps, and for counts without a time axis."""
    index: tuple[int, ...] | None = None
    """Neuron, or class; None in a ledger."""
    expected: float | None = None
    """Value in the first engine; an integer in integer networks."""
    got: float | None = None
    """Value in the engine that differs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What was compared, with what, and how it came out."""

    equal: bool
    unequal_engines: tuple[str, ...]
    """Names of the engines that differ from the first one."""
    tolerance: float
    """0 for integer networks; for float networks what states and logits may differ by."""
    engines: dict[str, str]
    """Name to version; the first is the one that the others were compared with."""
    network_sha256: str
    """Of everything that the network computes with."""
    data_sha256: str
    """Of the raw data."""
    samples: int
    populations: int
    traces: tuple[str, ...]
    """What was compared of each population, at every step."""
    learned: tuple[str, ...]
    """Plastic connections, of which every weight was compared after every step."""
    values_compared: int
    """Per pair of engines."""
    first_difference: Difference | None
    seconds: dict[str, float]
    """Wall-clock time per engine, recording included."""

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def verify(
    network: Network,
    data: Array,
    engines: Sequence[str] = ("reference", "lava"),
    *,
    progress: Callable[[int], None] | None = None,
    **options: Any,
) -> Certificate:
    """Run the same samples through several engines and compare everything.

    Args:
        network: An integer network; or a float network, whose spikes and counts have to be equal
            and whose states and logits may differ by rounding (:data:`FLOAT_TOLERANCE`).
        data: Raw data, as ``network.input.encode`` takes them. Where a plastic network keeps its
            weights, they go on through as many samples as are compared in one run.
        engines: Names; the others are compared with the first.
        progress: Called with samples finished, over all engines together.
        options: Passed to every engine (``strict``).

    Raises:
        InvalidSettingError: Fewer than two engines are named, or an unknown one.
        InvalidDataError: There are no data, or they do not fit the network.
        MissingDependencyError: An engine's package is not installed.
    """
    if len(set(engines)) < 2:
        raise InvalidSettingError(
            "engines",
            got=", ".join(engines) or "none",
            expected="at least two different names",
            fix="Name the engines to compare, the trusted one first.",
        )
    data = np.asarray(data)
    if not data.ndim or not len(data):
        raise InvalidDataError(
            "data",
            got="no samples",
            expected="at least one",
            fix="A comparison of nothing would prove nothing; pass some data.",
        )
    built = {
        name: build_engine(name, network, **_all_weights(network, name), **options)
        for name in dict.fromkeys(engines)
    }
    per_sample = sum(
        p.size * network.steps * (1 + 8 * (len(TRACES) - 1)) for p in network.populations.values()
    )
    per_sample += sum(4 * network.steps * c.operator.weight.size for c in plastic(network).values())
    chunk = max(1, RECORD_BYTES // max(1, per_sample))
    seconds = dict.fromkeys(built, 0.0)
    compared = 0
    tolerance = 0.0 if network.kind == "integer" else FLOAT_TOLERANCE
    differences: dict[str, Difference] = {}
    for first in range(0, len(data), chunk):
        part = data[first : first + chunk]
        trusted: Result | None = None
        for name, engine in built.items():
            result = engine.run(part, record="all", progress=progress)
            seconds[name] += result.seconds
            if trusted is None:
                trusted = result
                compared += _size(result)
            elif found := _difference(network, trusted, result, first, tolerance):
                differences[name] = found
        if differences:
            break
    return Certificate(
        equal=not differences,
        unequal_engines=tuple(differences),
        tolerance=tolerance,
        engines={name: engine_version(name) for name in built},
        network_sha256=digest(network),
        data_sha256=data_digest(data),
        samples=len(data),
        populations=len(network.populations),
        traces=TRACES,
        learned=tuple(plastic(network)),
        values_compared=compared,
        first_difference=next(iter(differences.values()), None),
        seconds=seconds,
    )


def _all_weights(network: Network, engine: str) -> dict[str, str]:
    """What makes an engine return the weights after every step; one that cannot learn refuses."""
    return {"weights": "step"} if plastic(network) and engine in LEARNING_ENGINES else {}


def _size(result: Result) -> int:
    traces = sum(a.size for traces in result.records.values() for a in traces.values())
    return traces + result.step_logits.size + sum(a.size for a in result.weights.values())


def _difference(
    network: Network, a: Result, b: Result, first: int, tolerance: float
) -> Difference | None:
    """The earliest difference in the order in which values are computed."""
    pairs = [
        (f"{name}.{trace}", a.records[name][trace], b.records[name][trace])
        for name in network.order
        for trace in ("i", "c", "v", "s")
    ]
    pairs.append(("step_logits", a.step_logits, b.step_logits))
    pairs += [(f"weights of {n}", fine, b.weights[n]) for n, fine in a.weights.items()]
    logits = (a.logits, b.logits)
    return earliest_difference(
        b.engine, pairs, logits, first=first, tolerance=tolerance
    ) or _ledger_difference(a.ledger, b.ledger, b.engine)


def earliest_difference(
    engine: str,
    pairs: Sequence[tuple[str, Array, Array]],
    logits: tuple[Array, Array],
    *,
    first: int = 0,
    tolerance: float = 0.0,
) -> Difference | None:
    """The first value of an engine that is not the expected one.

    Args:
        engine: Name of the engine.
        pairs: Name, expected values and those of the engine, (N, T, ...) both, in the order in
            which they are computed within a step.
        logits: Expected ones and those of the engine, (N, classes); they come last.
        first: Number of the first sample.
        tolerance: As in :attr:`Certificate.tolerance`.
    """
    # By sample, then by step; what comes earlier within a step comes earlier in the list.
    found = [
        (index[:2], order, index)
        for order, (_, ours, theirs) in enumerate(pairs)
        if (index := _first_unequal(ours, theirs, tolerance))
    ]
    if found:
        _, order, index = min(found)
        what, ours, theirs = pairs[order]
        sample, step, *rest = index
        return _differing(engine, what, ours[index], theirs[index], first + sample, step, rest)
    ours, theirs = logits
    if index := _first_unequal(ours, theirs, tolerance):
        sample, *rest = index
        return _differing(engine, "logits", ours[index], theirs[index], first + sample, None, rest)
    return None


def _differing(
    engine: str,
    what: str,
    ours: Any,
    theirs: Any,
    sample: int | None = None,
    step: int | None = None,
    index: Sequence[int] | None = None,
) -> Difference:
    return Difference(
        engine=engine,
        what=what,
        sample=sample,
        step=step,
        index=None if index is None else tuple(index),
        expected=ours.item(),
        got=theirs.item(),
    )


def _ledger_difference(a: Ledger, b: Ledger, engine: str) -> Difference | None:
    entries = a.differences(b)
    if not entries:
        return None
    what, (group, *path) = f"ledger {entries[0]}", entries[0].split("/")
    if not path:  # samples, steps, or the names of all populations or connections
        return Difference(engine=engine, what=what)
    name, field = path
    ours, theirs = (np.asarray(getattr(getattr(x, group)[name], field)) for x in (a, b))
    index = _first_unequal(ours, theirs) if ours.shape == theirs.shape else None
    if not index:
        return Difference(engine=engine, what=what)
    return _differing(engine, what, ours[index], theirs[index], step=index[0])


def _first_unequal(a: Array, b: Array, tolerance: float = 0.0) -> tuple[int, ...] | None:
    """Index of the first element that differs, in the order of the axes."""
    if np.array_equal(a, b):
        return None
    unequal = a != b
    if tolerance and a.dtype.kind == "f":
        # Written so that NaN, which is close to nothing, is unequal.
        unequal = ~(np.abs(a - b) <= tolerance * max(1.0, float(np.abs(a).max())))
    found = np.argwhere(unequal)
    return tuple(int(n) for n in found[0]) if len(found) else None
