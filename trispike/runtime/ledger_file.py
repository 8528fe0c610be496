"""A ledger in a file, to be priced again without another run.

The file is safetensors: counts over time as ``populations/NAME/FIELD`` and
``connections/LABEL/FIELD``, counts per sample as ``samples/FIELD/NAME``, ``predictions`` and
``labels``. The metadata entry ``trispike-ledger`` is a JSON header with what does not change over
time, and of which network, data and engine the counts are. Nothing in a file is ever executed.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import safe_open
from safetensors.numpy import save_file

from trispike.errors import FileFormatError, InvalidDataError, InvalidSettingError
from trispike.network import Network, digest
from trispike.network.files import whole_file
from trispike.runtime.derived_counts import check_ledger, input_events
from trispike.runtime.engine import Result
from trispike.runtime.engines import ENGINES, engine_version
from trispike.runtime.ledger import ConnectionCounts, Ledger, PopulationCounts
from trispike.runtime.sample_counts import SampleCounts

Array: TypeAlias = npt.NDArray[Any]

FORMAT: Final = "trispike-ledger"
VERSION = 1
SUFFIX = ".safetensors"

_GROUPS: dict[str, type] = {"populations": PopulationCounts, "connections": ConnectionCounts}
_SCALARS = {"populations": ("neurons",), "connections": ("synapses", "dense_macs")}
_SHA256 = "^[0-9a-f]{64}$"


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Header(_Schema):
    format: Literal["trispike-ledger"]
    version: int
    network_sha256: str = Field(pattern=_SHA256)
    network_kind: Literal["integer", "float"]
    data: str
    data_sha256: str = Field(pattern=_SHA256)
    engine: str
    versions: dict[str, str]
    samples: int = Field(ge=0)
    steps: int = Field(ge=1)
    input_events: int = Field(ge=0)
    axes: str
    populations: dict[str, dict[str, int]]
    connections: dict[str, dict[str, int]]


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredLedger:
    """A ledger, and what it is of.

    Raises:
        InvalidDataError: Counts that contradict each other, or labels of other samples.
    """

    ledger: Ledger
    network_sha256: str
    """Digest of the network that ran."""
    network_kind: Literal["integer", "float"]
    data: str
    """Where the samples come from."""
    data_sha256: str
    """Of the raw data."""
    engine: str
    """Name of the engine."""
    versions: Mapping[str, str]
    """Of trispike and of what the engine computes with."""
    input_events: int
    """Input elements other than 0 that were delivered, over all samples and steps."""
    predictions: npt.NDArray[np.int64]
    """(N,)"""
    labels: npt.NDArray[np.int64] | None = None
    """(N,), if known."""

    def __post_init__(self) -> None:
        _check_ledger(self.ledger)
        for what, values in (("predictions", self.predictions), ("labels", self.labels)):
            if values is None:
                continue
            if values.dtype != np.int64 or values.shape != (self.ledger.samples,):
                got = f"{values.dtype} of shape {values.shape}"
                raise _unfit(what, got, f"int64 of shape ({self.ledger.samples},)")

    @property
    def accuracy(self) -> float | None:
        """Fraction of samples whose prediction equals the label; None without labels."""
        if self.labels is None or not len(self.labels):
            return None
        return float((self.predictions == self.labels).mean())

    def check_network(self, network: Network) -> None:
        """Refuse a network that the ledger is not of.

        Raises:
            InvalidDataError: Another network.
        """
        if digest(network) != self.network_sha256:
            raise InvalidDataError(
                "ledger",
                got=f"counts of the network with sha256 {self.network_sha256}",
                expected=f"counts of the one that was given, sha256 {digest(network)}",
                fix="Give the network that the ledger was made with, or run this one on data.",
            )
        check_ledger(self.ledger, network)


def stored_ledger(
    result: Result, network: Network, inputs: Array, data: str = "given data"
) -> StoredLedger:
    """The ledger of a run with what it is of, ready to be saved.

    Args:
        result: Of the run.
        network: What ran.
        inputs: Its raw data.
        data: Where they come from.
    """
    inputs, engine = np.asarray(inputs), result.engine
    versions = {"trispike": importlib.metadata.version("trispike")}
    if engine in ENGINES:  # and not one of the caller's own
        versions[engine] = engine_version(engine)
    return StoredLedger(
        ledger=result.ledger,
        network_sha256=digest(network),
        network_kind="integer" if network.kind == "integer" else "float",
        data=data,
        data_sha256=data_digest(inputs),
        engine=engine,
        versions=versions,
        input_events=input_events(network, inputs),
        predictions=result.predictions,
        labels=result.labels,
    )


def data_digest(data: Array) -> str:
    """SHA-256 of raw data: type, shape and bytes."""
    sha = hashlib.sha256(f"{data.dtype.str}{data.shape}".encode())
    sha.update(np.ascontiguousarray(data).tobytes())
    return sha.hexdigest()


# ------------------------------------------------------------------------------------------- file


def check_suffix(path: str | os.PathLike[str]) -> None:
    """Raise InvalidSettingError unless a file of that name can be a ledger."""
    if Path(path).suffix != SUFFIX:
        raise InvalidSettingError(
            f"ledger '{path}'",
            got=f"suffix {Path(path).suffix!r}",
            expected=SUFFIX,
            fix="Name the file so.",
        )


def save_ledger(stored: StoredLedger, path: str | os.PathLike[str]) -> None:
    """Write a ledger to one file, replacing it whole.

    Raises:
        InvalidSettingError: Another suffix than ``.safetensors``.
    """
    check_suffix(path)
    header = json.dumps(_header(stored).model_dump(mode="json"))
    with whole_file(path) as temporary:
        save_file(_arrays(stored), temporary, metadata={FORMAT: header})


def _header(stored: StoredLedger) -> _Header:
    ledger = stored.ledger
    scalars = {
        group: {
            name: {field: getattr(counts, field) for field in _SCALARS[group]}
            for name, counts in getattr(ledger, group).items()
        }
        for group in _GROUPS
    }
    return _Header(
        format=FORMAT,
        version=VERSION,
        network_sha256=stored.network_sha256,
        network_kind=stored.network_kind,
        data=stored.data,
        data_sha256=stored.data_sha256,
        engine=stored.engine,
        versions=dict(stored.versions),
        samples=ledger.samples,
        steps=ledger.steps,
        input_events=stored.input_events,
        axes="time step; per sample: sample, time step",
        populations=scalars["populations"],
        connections=scalars["connections"],
    )


def _arrays(stored: StoredLedger) -> dict[str, Array]:
    arrays: dict[str, Array] = {"predictions": stored.predictions}
    if stored.labels is not None:
        arrays["labels"] = stored.labels
    for group in _GROUPS:
        for name, counts in getattr(stored.ledger, group).items():
            for field in _over_time(group):
                arrays[f"{group}/{name}/{field}"] = getattr(counts, field)
    if stored.ledger.per_sample is not None:
        for kind, parts in stored.ledger.per_sample.groups().items():
            arrays |= {f"samples/{kind}/{name}": counts for name, counts in parts.items()}
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _over_time(group: str) -> list[str]:
    return [f.name for f in fields(_GROUPS[group]) if f.name not in _SCALARS[group]]


def load_ledger(path: str | os.PathLike[str]) -> StoredLedger:
    """Read a ledger, validating all of it.

    Raises:
        FileFormatError: Not a ledger, truncated, damaged, or of a newer format.
        FileNotFoundError: No such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        with safe_open(path, framework="np") as file:
            header = (file.metadata() or {}).get(FORMAT)
            if header is None:
                raise _no_ledger(path, "a file without the header of a ledger")
            version = json.loads(header).get("version")
            if version != VERSION:
                raise _no_ledger(path, f"format version {version!r}", f"version {VERSION}")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return _stored(_Header.model_validate_json(header), arrays)
    except FileFormatError:
        raise
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'header'}: {e['msg']}" for e in error.errors()
        )
        raise _no_ledger(path, f"a header that is not valid ({problems})") from error
    except InvalidDataError as error:
        raise _no_ledger(path, f"content that is not valid ({error})") from error
    except Exception as error:  # A damaged file may raise whatever a parser can raise.
        got = f"unreadable content ({type(error).__name__}: {error})"
        raise _no_ledger(path, got) from error


def _stored(header: _Header, arrays: dict[str, Array]) -> StoredLedger:
    taken: set[str] = set()

    def array(name: str, shape: tuple[int, ...]) -> Array:
        taken.add(name)
        if name not in arrays:
            raise _unfit(f"array {name!r}", "none", f"int64 of shape {shape}")
        if arrays[name].dtype != np.int64 or arrays[name].shape != shape:
            got = f"{arrays[name].dtype} of shape {arrays[name].shape}"
            raise _unfit(f"array {name!r}", got, f"int64 of shape {shape}")
        return arrays[name]

    groups: dict[str, dict[str, Any]] = {}
    for group, kind in _GROUPS.items():
        groups[group] = {}
        for name, scalars in getattr(header, group).items():
            if set(scalars) != set(_SCALARS[group]):
                raise _unfit(f"{group} {name!r}", ", ".join(scalars), ", ".join(_SCALARS[group]))
            over_time = {
                f: array(f"{group}/{name}/{f}", (header.steps,)) for f in _over_time(group)
            }
            groups[group][name] = kind(**scalars, **over_time)
    per_sample = None
    if any(name.startswith("samples/") for name in arrays):
        shape = (header.samples, header.steps)
        names = {"spikes": groups["populations"]}
        per_sample = SampleCounts(
            **{
                field.name: {
                    name: array(f"samples/{field.name}/{name}", shape)
                    for name in names.get(field.name, groups["connections"])
                }
                for field in fields(SampleCounts)
            }
        )
    predictions = array("predictions", (header.samples,))
    labels = array("labels", (header.samples,)) if "labels" in arrays else None
    if unknown := sorted(set(arrays) - taken):
        raise _unfit("arrays", f"unknown ones: {', '.join(unknown)}", "those of the header")
    return StoredLedger(
        ledger=Ledger(
            samples=header.samples,
            steps=header.steps,
            populations=groups["populations"],
            connections=groups["connections"],
            per_sample=per_sample,
        ),
        network_sha256=header.network_sha256,
        network_kind=header.network_kind,
        data=header.data,
        data_sha256=header.data_sha256,
        engine=header.engine,
        versions=header.versions,
        input_events=header.input_events,
        predictions=predictions,
        labels=labels,
    )


def _check_ledger(ledger: Ledger) -> None:
    """Refuse counts that no run can have."""
    for group in _GROUPS:
        for name, counts in getattr(ledger, group).items():
            for field in fields(counts):
                value = np.asarray(getattr(counts, field.name))
                if value.size and value.min() < 0:
                    raise _unfit(
                        f"{group}/{name}/{field.name}", f"{value.min()}", "no count below 0"
                    )
    for name, p in ledger.populations.items():
        if (p.updates != ledger.samples * p.neurons).any():
            got = f"{p.updates.max(initial=0)} updates in a step"
            raise _unfit(f"populations/{name}", got, f"{ledger.samples} x {p.neurons}")
    if ledger.per_sample is None:
        return
    sums: dict[str, dict[str, Array]] = {
        "spikes": {n: p.spikes_positive + p.spikes_negative for n, p in ledger.populations.items()},
        "synaptic_operations": {n: c.synaptic_operations for n, c in ledger.connections.items()},
        "macs": {n: c.macs for n, c in ledger.connections.items()},
    }
    for kind, parts in ledger.per_sample.groups().items():
        for name, counts in parts.items():
            if (counts < 0).any() or not np.array_equal(counts.sum(axis=0), sums[kind][name]):
                got = "counts per sample that do not add up to the total"
                raise _unfit(f"samples/{kind}/{name}", got, "those of the same run")


def _unfit(what: str, got: str, expected: str) -> InvalidDataError:
    return InvalidDataError(what, got=got, expected=expected, fix="Run it again.")


def _no_ledger(path: Path, got: str, expected: str = "a ledger of trispike") -> Exception:
    return FileFormatError(
        f"file '{path}'",
        got=got,
        expected=expected,
        fix="Write one with trispike simulate NET --data DATA --ledger-out FILE.",
    )
