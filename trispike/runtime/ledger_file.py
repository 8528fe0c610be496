"""A ledger in a file, to be priced again without another run.

The file is safetensors: counts over time as ``populations/NAME/FIELD`` and
``connections/LABEL/FIELD``, of the input as ``input/FIELD``, counts per sample as
``samples/FIELD/NAME``, ``predictions`` and ``labels``. The metadata entry ``trispike-ledger`` is a
JSON header with what does not change over time, and of which network, data and engine the counts
are. Nothing in a file is ever executed.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field
from safetensors.numpy import save_file

from trispike.errors import InvalidDataError, InvalidSettingError
from trispike.network import Network, digest
from trispike.network.files import whole_file
from trispike.network.headers import FileKind
from trispike.runtime.derived_counts import check_ledger
from trispike.runtime.engine import Result
from trispike.runtime.engines import ENGINES, engine_version
from trispike.runtime.geometry import geometries
from trispike.runtime.input_counts import InputCounts, input_counts
from trispike.runtime.ledger import ConnectionCounts, Ledger, PopulationCounts
from trispike.runtime.sample_counts import SampleCounts

Array: TypeAlias = npt.NDArray[Any]

FORMAT: Final = "trispike-ledger"
VERSION = 1
SUFFIX = ".safetensors"
KIND = FileKind(
    name="ledger",
    format=FORMAT,
    version=VERSION,
    fix="Write one with trispike simulate NET --data DATA --ledger-out FILE.",
)

_GROUPS: dict[str, type] = {"populations": PopulationCounts, "connections": ConnectionCounts}
_SCALARS = {"populations": ("neurons",), "connections": ("synapses", "dense_macs")}
_SAMPLED = {
    "spikes": "populations",
    "updates_with_input": "populations",
    "synaptic_operations": "connections",
    "macs": "connections",
    "zero_weight_operations": "connections",
}
"""What is counted per sample, and of which parts."""

_SHA256 = "^[0-9a-f]{64}$"
_INPUT_INTEGERS = ("positive", "negative", "graded")
"""Fields of :class:`InputCounts`, but for the magnitude."""


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Header(_Schema):
    format: Literal["trispike-ledger"]
    version: int
    network_sha256: str = Field(pattern=_SHA256)
    network_kind: Literal["integer", "float"]
    data: str
    data_sha256: list[Annotated[str, Field(pattern=_SHA256)]] = Field(min_length=1)
    engine: str
    versions: dict[str, str]
    samples: int = Field(ge=0)
    steps: int = Field(ge=1)
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
    data_sha256: tuple[str, ...]
    """Of the raw data: of each shard, in order."""
    engine: str
    """Name of the engine; of shards from several engines, all names."""
    versions: Mapping[str, str]
    """Of trispike and of what the engine computes with."""
    inputs: InputCounts
    """Elements of the input."""
    predictions: npt.NDArray[np.int64]
    """(N,)"""
    labels: npt.NDArray[np.int64] | None = None
    """(N,), if known."""

    def __post_init__(self) -> None:
        _check_inputs(self.inputs)
        _check_ledger(self.ledger, self.inputs)
        for what, values in (("predictions", self.predictions), ("labels", self.labels)):
            if values is None:
                continue
            if values.dtype != np.int64 or values.shape != (self.ledger.samples,):
                got = f"{values.dtype} of shape {values.shape}"
                raise _unfit(what, got, f"int64 of shape ({self.ledger.samples},)")

    @property
    def input_events(self) -> int:
        """Input elements other than 0 that were delivered, over all samples and steps."""
        return int(self.inputs.events.sum())

    @property
    def events_per_inference(self) -> float | None:
        """The same per inference; None without samples."""
        return self.input_events / self.ledger.samples if self.ledger.samples else None

    @property
    def accuracy(self) -> float | None:
        """Fraction of samples whose prediction equals the label; None without labels."""
        if self.labels is None or not len(self.labels):
            return None
        return float((self.predictions == self.labels).mean())

    def merged(self, other: StoredLedger) -> StoredLedger:
        """The ledger of both sets of samples, in this order.

        Counts per sample are kept if both have them.

        Raises:
            InvalidDataError: Another network or version, the same data again, or labels in one of
                the two only.
        """
        _check_mergeable(self, other)
        labels = None
        if self.labels is not None and other.labels is not None:
            labels = np.concatenate([self.labels, other.labels])
        return replace(
            self,
            ledger=self.ledger.merged(other.ledger),
            data=_joined(self.data, other.data),
            data_sha256=self.data_sha256 + other.data_sha256,
            engine=_joined(self.engine, other.engine),
            versions={**self.versions, **other.versions},
            inputs=self.inputs.merged(other.inputs),
            predictions=np.concatenate([self.predictions, other.predictions]),
            labels=labels,
        )

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
        _check_counts(self.ledger, self.inputs, network)


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
        data_sha256=(data_digest(inputs),),
        engine=engine,
        versions=versions,
        inputs=input_counts(network, inputs),
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
        data_sha256=list(stored.data_sha256),
        engine=stored.engine,
        versions=dict(stored.versions),
        samples=ledger.samples,
        steps=ledger.steps,
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
            for key in _over_time(group):
                arrays[f"{group}/{name}/{key}"] = getattr(counts, key)
    for field in fields(InputCounts):
        arrays[f"input/{field.name}"] = getattr(stored.inputs, field.name)
    if stored.ledger.per_sample is not None:
        for kind, parts in stored.ledger.per_sample.groups().items():
            arrays |= {f"samples/{kind}/{name}": counts for name, counts in parts.items()}
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _over_time(group: str) -> list[str]:
    return [f.name for f in fields(_GROUPS[group]) if f.name not in _SCALARS[group]]


def load_ledger(path: str | os.PathLike[str]) -> StoredLedger:
    """Read a ledger, validating all of it.

    Raises:
        FileFormatError: Not a ledger, truncated, damaged, or of another format version.
        FileNotFoundError: No such file.
    """
    return KIND.read(
        path, lambda header, arrays: _stored(_Header.model_validate_json(header), arrays)
    )


def load_ledgers(paths: Sequence[str | os.PathLike[str]]) -> StoredLedger:
    """Read the ledgers of shards as one, in their order.

    Args:
        paths: At least one.

    Raises:
        InvalidDataError: As :meth:`StoredLedger.merged`.
        FileFormatError: As :func:`load_ledger`.
        FileNotFoundError: No such file.
    """
    return reduce(StoredLedger.merged, map(load_ledger, paths))


def _stored(header: _Header, arrays: dict[str, Array]) -> StoredLedger:
    taken: set[str] = set()

    def array(name: str, shape: tuple[int, ...], dtype: str = "int64") -> Array:
        taken.add(name)
        if name not in arrays:
            raise _unfit(f"array {name!r}", "none", f"{dtype} of shape {shape}")
        if arrays[name].dtype != np.dtype(dtype) or arrays[name].shape != shape:
            got = f"{arrays[name].dtype} of shape {arrays[name].shape}"
            raise _unfit(f"array {name!r}", got, f"{dtype} of shape {shape}")
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
        parts = {name: list(groups[group]) for name, group in _SAMPLED.items()}
        start = "samples/input_events/"
        parts["input_events"] = [n.removeprefix(start) for n in arrays if n.startswith(start)]
        per_sample = SampleCounts(
            **{
                field.name: {
                    name: array(f"samples/{field.name}/{name}", shape) for name in parts[field.name]
                }
                for field in fields(SampleCounts)
            }
        )
    predictions = array("predictions", (header.samples,))
    labels = array("labels", (header.samples,)) if "labels" in arrays else None
    inputs = InputCounts(
        **{name: array(f"input/{name}", (header.steps,)) for name in _INPUT_INTEGERS},
        magnitude=array("input/magnitude", (header.steps,), "float64"),
    )
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
        data_sha256=tuple(header.data_sha256),
        engine=header.engine,
        versions=header.versions,
        inputs=inputs,
        predictions=predictions,
        labels=labels,
    )


def _check_counts(ledger: Ledger, inputs: InputCounts, network: Network) -> None:
    """Refuse counts that no run of this network can have."""
    geometry = geometries(network)
    for label, connection in network.labelled():
        counts, most = ledger.connections[label], ledger.samples * len(connection.sources)
        if (counts.dense_operations != most * counts.synapses).any():
            got = f"{counts.dense_operations.max()} dense operations in a step"
            raise _unfit(f"connections/{label}", got, f"{most} x {counts.synapses}")
        zeros = most * int(geometry[label].zeros.sum())
        if (counts.zero_weight_operations > zeros).any():
            got = f"{counts.zero_weight_operations.max()} zero-weight operations in a step"
            raise _unfit(f"connections/{label}", got, f"at most {zeros}")
    elements = ledger.samples * math.prod(network.input.shape)
    if (inputs.events > elements).any():
        got = f"{inputs.events.max()} elements that are not zero in a step"
        raise _unfit("input", got, f"at most {elements}")


def _check_inputs(inputs: InputCounts) -> None:
    """Refuse counts that no data can have."""
    for field in fields(inputs):
        values = getattr(inputs, field.name)
        if not np.isfinite(values).all() or (values < 0).any():
            raise _unfit(f"input/{field.name}", f"{values.min()}", "finite numbers, none below 0")


def _check_mergeable(one: StoredLedger, other: StoredLedger) -> None:
    """Refuse shards that do not make a whole."""
    changed = sorted(
        name
        for name in one.versions.keys() & other.versions.keys()
        if one.versions[name] != other.versions[name]
    )
    problem = None
    if one.network_sha256 != other.network_sha256:
        problem = (f"one of network {other.network_sha256}", f"one of {one.network_sha256}")
    elif set(one.data_sha256) & set(other.data_sha256):
        problem = (f"{other.data}, which is counted already", "other samples")
    elif changed:
        versions = f"{changed[0]} {other.versions[changed[0]]}"
        problem = (f"counts by {versions}", f"{changed[0]} {one.versions[changed[0]]}")
    elif (one.labels is None) != (other.labels is None):
        problem = ("labels in one of the two only", "labels in both, or in none")
    if problem is not None:
        raise InvalidDataError(
            "ledger to be merged",
            got=problem[0],
            expected=problem[1],
            fix="Merge parts of one data set, run alike.",
        )


def _joined(one: str, other: str) -> str:
    """Names of both, each once."""
    return ", ".join(dict.fromkeys([*one.split(", "), *other.split(", ")]))


def _check_ledger(ledger: Ledger, inputs: InputCounts) -> None:
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
        # Differences, since sums of what a damaged file holds may not fit into 64 bits.
        if (p.spikes_positive > p.updates - p.spikes_negative).any():
            raise _unfit(f"populations/{name}", "more spikes than updates", "at most as many")
        if (p.updates_with_input > p.updates).any():
            got = "more updates with input than updates"
            raise _unfit(f"populations/{name}", got, "at most as many")
    for label, c in ledger.connections.items():
        if (c.synaptic_operations > c.dense_operations - c.macs).any():
            got = "more operations than if every source element were active"
            raise _unfit(f"connections/{label}", got, "at most as many")
    if ledger.per_sample is not None:
        _check_samples(ledger.per_sample, ledger, inputs)


def _check_samples(samples: SampleCounts, ledger: Ledger, inputs: InputCounts) -> None:
    """Refuse counts per sample that are not those of the totals."""
    for kind, parts in samples.groups().items():
        for name, counts in parts.items():
            if (counts < 0).any() or not np.array_equal(
                counts.sum(axis=0), _total(kind, name, ledger, inputs)
            ):
                got = "counts per sample that do not add up to the total"
                raise _unfit(f"samples/{kind}/{name}", got, "those of the same run")


def _total(kind: str, name: str, ledger: Ledger, inputs: InputCounts) -> Array:
    """(T,): what the samples have to add up to."""
    if kind == "input_events":
        return inputs.events
    if kind == "spikes":
        counts = ledger.populations[name]
        return counts.spikes_positive + counts.spikes_negative
    found: Array = getattr(getattr(ledger, _SAMPLED[kind])[name], kind)
    return found


def _unfit(what: str, got: str, expected: str) -> InvalidDataError:
    return InvalidDataError(what, got=got, expected=expected, fix="Run it again.")
