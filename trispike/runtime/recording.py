"""What a run recorded, in a file that explains itself.

A file is safetensors or NumPy's NPZ. Its arrays are named ``population/trace``, beside
``predictions`` and ``labels``; a JSON header says what each holds, in which unit, and of which
network and data. In safetensors the header is the metadata entry ``trispike-recording``, in NPZ an
array of that name, a string. Nothing in a file is ever executed.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from numpy.lib.npyio import NpzFile
from pydantic import BaseModel, ConfigDict, Field
from safetensors.numpy import save_file

from trispike.errors import InvalidDataError, InvalidSettingError
from trispike.network import Network, digest
from trispike.network.files import whole_file
from trispike.network.headers import FileKind, safetensors_parts
from trispike.runtime.engine import TRACES, Array, Result

FORMAT: Final = "trispike-recording"
VERSION = 1
KIND = FileKind(
    name="recording",
    format=FORMAT,
    version=VERSION,
    fix="Write one with trispike simulate --record NAME --record-to FILE.",
)
SUFFIXES = (".safetensors", ".npz")
"""Kinds of files; the second is compressed, which suits spikes and takes longer."""

EVERYTHING = "all"
"""What stands for every population, and alone for every trace, too."""

MEANINGS = {
    "s": "spikes",
    "i": "synaptic current",
    "c": "carried potential",
    "v": "membrane potential before the reset",
}
"""Of the traces."""

Wanted: TypeAlias = dict[str, tuple[str, ...]]
"""Population name to traces, both in the order of the network and of :data:`TRACES`."""

_SPIKE_BYTES, _STATE_BYTES = 1, 8
_SHOWN = 3
"""Names that an error suggests."""


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Trace(_Schema):
    population: str
    trace: Literal["s", "i", "c", "v"]
    array: str
    meaning: str
    unit: Literal["spike", "state unit", "float"]
    dtype: Literal["int8", "int64", "float64"]
    shape: tuple[int, ...]


class _Header(_Schema):
    format: Literal["trispike-recording"]
    version: int
    network_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    network_kind: Literal["integer", "float"]
    engine: str
    data: str
    samples: int = Field(ge=0)
    steps: int = Field(ge=1)
    axes: str
    traces: tuple[_Trace, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordedRun:
    """Traces of a run, and of what it was. N samples, T time steps.

    Raises:
        InvalidDataError: Shapes, types or values do not fit together, or there are no traces.
    """

    records: Mapping[str, Mapping[str, Array]]
    """``records[population][trace]``: (N, T, *shape); s int8, the others int64 in state units, or
    float64 from a float network."""
    network_sha256: str
    """Digest of the network that ran."""
    kind: Literal["integer", "float"]
    """Of that network."""
    engine: str
    """Name of the engine."""
    data: str
    """Where the samples come from."""
    predictions: npt.NDArray[np.int64]
    """(N,)"""
    labels: npt.NDArray[np.int64] | None = None
    """(N,), if known."""

    def __post_init__(self) -> None:
        if not any(self.records.values()):
            raise _unfit("recording", "no traces", "at least one trace of one population")
        axes = (self.samples, self.steps)
        for name, traces in self.records.items():
            if not name or not name.isprintable() or "/" in name:
                raise _unfit("recording", f"a population {name!r}", "the name of a population")
            self._check_population(name, traces, axes)
        for what, values in (("predictions", self.predictions), ("labels", self.labels)):
            if values is not None and (values.shape != axes[:1] or values.dtype != np.int64):
                got = f"shape {values.shape} and dtype {values.dtype}"
                raise _unfit(what, got, f"int64 of shape ({self.samples},)")

    def _check_population(
        self, name: str, traces: Mapping[str, Array], axes: tuple[int, int]
    ) -> None:
        shapes = {values.shape for values in traces.values()}
        if len(shapes) != 1 or next(iter(shapes))[:2] != axes or len(next(iter(shapes))) < 3:
            got = ", ".join(f"{trace} {values.shape}" for trace, values in traces.items())
            raise _unfit(
                f"recording of {name!r}", got or "no traces", f"one shape {(*axes, '...')}"
            )
        for trace, values in traces.items():
            expected = trace_dtype(trace, self.kind) if trace in TRACES else None
            if values.dtype != expected:
                got = f"dtype {values.dtype}"
                raise _unfit(f"recording of '{name}:{trace}'", got, str(expected or TRACES))
            if trace == "s" and values.size and not -1 <= values.min() <= values.max() <= 1:
                got = f"values from {values.min()} to {values.max()}"
                raise _unfit(f"recording of '{name}:{trace}'", got, "-1, 0 or 1")

    @property
    def samples(self) -> int:
        """N."""
        return len(self.predictions)

    @property
    def steps(self) -> int:
        """T."""
        first = next(iter(next(traces for traces in self.records.values() if traces).values()))
        return int(first.shape[1]) if first.ndim > 1 else 0

    @property
    def unit(self) -> str:
        """Of i, c and v: ``"state unit"`` or ``"float"``."""
        return "state unit" if self.kind == "integer" else "float"

    def shape_of(self, population: str) -> tuple[int, ...]:
        """Shape of a population."""
        return tuple(next(iter(self.records[population].values())).shape[2:])


def recorded_run(result: Result, network: Network, data: str = "given data") -> RecordedRun:
    """What a run recorded, ready to be saved or plotted.

    Args:
        result: Of a run with ``record``.
        network: What ran.
        data: Where the samples come from.

    Raises:
        InvalidDataError: Nothing was recorded.
    """
    return RecordedRun(
        records=result.records,
        network_sha256=digest(network),
        kind="integer" if network.kind == "integer" else "float",
        engine=result.engine,
        data=data,
        predictions=result.predictions,
        labels=result.labels,
    )


# --------------------------------------------------------------------------------- what to record


def wanted_traces(network: Network, requests: Iterable[str]) -> Wanted:
    """What the requests of a user ask for.

    Args:
        network: Whose populations can be recorded.
        requests: Each ``NAME`` or ``NAME:TRACES`` with traces joined by commas; s by default. NAME
            is a population, a pattern such as ``layer1.*``, or ``all``, which alone means every
            trace of every population.

    Raises:
        InvalidSettingError: No such population, or no such trace.
    """
    wanted: dict[str, set[str]] = {}
    for request in requests:
        pattern, traces = _split(network, request)
        for name in matching(pattern, network.populations):
            wanted.setdefault(name, set()).update(traces)
    return {
        name: tuple(trace for trace in TRACES if trace in wanted[name])
        for name in network.populations
        if name in wanted
    }


def _split(network: Network, request: str) -> tuple[str, tuple[str, ...]]:
    """Name or pattern, and traces."""
    if request in network.populations:  # whose name may have a colon
        return request, ("s",)
    if request == EVERYTHING:
        return request, TRACES
    pattern, colon, listed = request.rpartition(":")
    if not colon:
        return request, ("s",)
    traces = tuple(trace.strip() for trace in listed.split(","))
    unknown = [trace for trace in traces if trace not in TRACES]
    if unknown:
        raise InvalidSettingError(
            f"recording of {request!r}",
            got="trace " + ", ".join(map(repr, unknown)),
            expected="traces out of "
            + ", ".join(f"{trace} ({MEANINGS[trace]})" for trace in TRACES),
            fix="Correct the part after the colon.",
        )
    return pattern, traces


def matching(pattern: str, names: Collection[str]) -> tuple[str, ...]:
    """The names of populations that a user means.

    Args:
        pattern: A name, ``all``, or a pattern with ``*``, ``?`` or ``[...]``.
        names: All there are.

    Raises:
        InvalidSettingError: None; close ones are listed.
    """
    if pattern in names:
        return (pattern,)
    if pattern == EVERYTHING:
        return tuple(names)
    found = tuple(name for name in names if fnmatchcase(name, pattern))
    if not found:
        close = difflib.get_close_matches(pattern, names, n=_SHOWN, cutoff=0.4)
        raise InvalidSettingError(
            f"population {pattern!r}",
            got="an unknown name",
            expected="one of " + ", ".join(names),
            fix=f"Did you mean {' or '.join(close)}?" if close else "Correct the name.",
        )
    return found


def trace_dtype(trace: str, kind: str) -> np.dtype[Any]:
    """Type of a trace's values."""
    if trace == "s":
        return np.dtype(np.int8)
    return np.dtype(np.int64 if kind == "integer" else np.float64)


def recording_bytes(network: Network, wanted: Mapping[str, Collection[str]], samples: int) -> int:
    """What a recording takes in memory."""
    spikes, states = _values_per_step(network, wanted)
    return samples * network.steps * (spikes * _SPIKE_BYTES + states * _STATE_BYTES)


def check_size(
    network: Network,
    wanted: Mapping[str, Collection[str]],
    samples: int,
    *,
    limit: int | None = None,
) -> None:
    """Refuse a recording that does not fit into memory.

    Args:
        network: What is to run.
        wanted: Population name to traces.
        samples: N.
        limit: Bytes; by default four fifths of what is free, since the run needs some, too.

    Raises:
        InvalidSettingError: Too large.
    """
    size = recording_bytes(network, wanted, samples)
    free = available_memory()
    limit = free * 4 // 5 if limit is None else limit
    if size <= limit:
        return
    spikes, states = _values_per_step(network, wanted)
    values = [f"{spikes:,} neurons x {_SPIKE_BYTES} byte (s)"] if spikes else []
    values += [f"{states:,} states x {_STATE_BYTES} bytes (i, c, v)"] if states else []
    fit = limit * samples // size
    raise InvalidSettingError(
        "recording",
        got=f"{samples:,} samples x {network.steps:,} steps x ({' + '.join(values)}) = "
        f"{_gigabytes(size)}",
        expected=f"at most {_gigabytes(limit)}; {_gigabytes(free)} of memory are free",
        fix=(f"Take fewer samples (--samples {fit}), " if fit else "Record ")
        + "fewer populations or fewer traces.",
    )


def available_memory() -> int:
    """Bytes that this process may still take."""
    limits = []
    for path, key in (("/proc/meminfo", "MemAvailable:"), ("/sys/fs/cgroup/memory.max", "")):
        lines = Path(path).read_text(encoding="ascii").splitlines() if Path(path).exists() else []
        words = next((line.removeprefix(key).split() for line in lines if line.startswith(key)), [])
        if words and words[0].isdigit():  # without a limit a group's is "max"
            limits.append(int(words[0]) * (1024 if words[1:] == ["kB"] else 1))
    return min(limits, default=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _values_per_step(network: Network, wanted: Mapping[str, Collection[str]]) -> tuple[int, int]:
    """Spikes and other values per sample and time step."""
    spikes = states = 0
    for name, traces in wanted.items():
        spikes += network.populations[name].size * ("s" in traces)
        states += network.populations[name].size * len(set(traces) - {"s"})
    return spikes, states


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.3g} MB"


# ------------------------------------------------------------------------------------------- file


def check_suffix(path: str | os.PathLike[str]) -> None:
    """Raise InvalidSettingError unless a file of that name can be a recording."""
    suffix = Path(path).suffix
    if suffix not in SUFFIXES:
        raise InvalidSettingError(
            f"recording '{path}'",
            got=f"suffix {suffix!r}",
            expected=" or ".join(SUFFIXES),
            fix="Name the file so.",
        )


def save_recording(recording: RecordedRun, path: str | os.PathLike[str]) -> None:
    """Write a recording to one file, replacing it whole.

    Raises:
        InvalidSettingError: Another suffix than ``.safetensors`` and ``.npz``.
    """
    check_suffix(path)
    arrays = {
        f"{name}/{trace}": np.ascontiguousarray(values)
        for name, traces in recording.records.items()
        for trace, values in traces.items()
    }
    arrays["predictions"] = recording.predictions
    if recording.labels is not None:
        arrays["labels"] = recording.labels
    header = json.dumps(_header(recording).model_dump(mode="json"))
    with whole_file(path) as temporary:
        if Path(path).suffix == ".safetensors":
            save_file(arrays, temporary, metadata={FORMAT: header})
        else:
            with temporary.open("wb") as file:
                np.savez_compressed(file, **{FORMAT: np.array(header)}, **arrays)


def _header(recording: RecordedRun) -> _Header:
    traces = tuple(
        _Trace(
            population=name,
            trace=trace,  # type: ignore[arg-type]  # a literal, validated
            array=f"{name}/{trace}",
            meaning=MEANINGS[trace],
            unit="spike" if trace == "s" else recording.unit,  # type: ignore[arg-type]
            dtype=str(values.dtype),  # type: ignore[arg-type]
            shape=recording.shape_of(name),
        )
        for name, traces in recording.records.items()
        for trace, values in traces.items()
    )
    return _Header(
        format=FORMAT,
        version=VERSION,
        network_sha256=recording.network_sha256,
        network_kind=recording.kind,
        engine=recording.engine,
        data=recording.data,
        samples=recording.samples,
        steps=recording.steps,
        axes="sample, time step, then the shape of the population",
        traces=traces,
    )


def load_recording(path: str | os.PathLike[str]) -> RecordedRun:
    """Read a recording, validating all of it.

    Raises:
        InvalidSettingError: Another suffix than ``.safetensors`` and ``.npz``.
        FileFormatError: Not a recording, truncated, damaged, or of a newer format.
        FileNotFoundError: No such file.
    """
    check_suffix(path)
    return KIND.read(
        path,
        lambda header, arrays: _from_arrays(_Header.model_validate_json(header), arrays),
        safetensors_parts if Path(path).suffix == ".safetensors" else _npz_parts,
    )


def _npz_parts(path: Path, key: str) -> tuple[str | None, dict[str, Array]]:
    with path.open("rb") as opened:  # np.load itself leaves damaged files open
        loaded = np.load(opened, allow_pickle=False)
        arrays = {n: loaded[n] for n in loaded.files} if isinstance(loaded, NpzFile) else {}
    header = arrays.pop(key, None)
    return None if header is None else str(header), arrays


def _from_arrays(header: _Header, arrays: Mapping[str, Array]) -> RecordedRun:
    names = {trace.array for trace in header.traces} | {"predictions"}
    if set(arrays) - {"labels"} != names:
        difference = ", ".join(sorted(set(arrays) - {"labels"} ^ names))
        raise _unfit("arrays", f"missing or unknown ones: {difference}", "those of the header")
    records: dict[str, dict[str, Array]] = {}
    for trace in header.traces:
        values = arrays[trace.array]
        got, expected = (
            f"{values.dtype} {values.shape}",
            f"{trace.dtype} {(header.samples, header.steps, *trace.shape)}",
        )
        if got != expected:
            raise _unfit(f"array {trace.array!r}", got, expected)
        records.setdefault(trace.population, {})[trace.trace] = values
    return RecordedRun(
        records=records,
        network_sha256=header.network_sha256,
        kind=header.network_kind,
        engine=header.engine,
        data=header.data,
        predictions=arrays["predictions"],
        labels=arrays.get("labels"),
    )


def _unfit(what: str, got: str, expected: str) -> InvalidDataError:
    return InvalidDataError(what, got=got, expected=expected, fix="Record it again.")
