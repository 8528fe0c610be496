"""Does an exported ONNX file do what its network does? It is run, and compared."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trispike.errors import FileFormatError, InvalidDataError
from trispike.network import Network, digest
from trispike.network.dynamics import time_steps
from trispike.runtime.engine import Array, Result
from trispike.runtime.onnx_engine import OnnxEngine, open_session, run_session
from trispike.runtime.reference import ReferenceEngine

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

TOLERANCE = {"float32": 1e-5, "float64": 1e-9}
"""Float networks: a spike may differ where the potential is this close to a threshold."""

LOGIT_TOLERANCE = {"float32": 1e-4, "float64": 1e-9}
"""Float networks: logits may differ by this, relative to the largest one."""

DATA_SEED = 0
"""Seed of the random inputs that stand in for data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCheck:
    """How an ONNX file compares with its network on the reference engine."""

    equal: bool
    """Integer networks: every logit is equal, and in the step form every spike. Float networks:
    the logits are equal within the rounding of the carrier, and every spike that differs is
    explained by it."""
    form: str
    carrier: str
    samples: int
    values_compared: int
    largest_logit_difference: float
    """In units of the file's logits; 0 in integer networks that are equal."""
    spike_ties: int | None
    """Float networks: spikes that differ because a potential lies on a threshold, to within
    rounding; None in integer networks, where there is no such thing."""

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def check_file(network: Network, path: str | os.PathLike[str], data: Array) -> FileCheck:
    """Run an exported file in onnxruntime and compare it with the reference engine.

    Args:
        network: The network that the file was exported from.
        path: The file.
        data: Raw data, as ``network.input.encode`` takes them.

    Raises:
        FileFormatError: Not an ONNX model, or not one of this network.
        UnsafeFileError: The file names weights outside of its folder.
        InvalidDataError: There are no data, or they do not fit the network.
        EngineError: onnxruntime failed.
        MissingDependencyError: onnx or onnxruntime is not installed.
    """
    from trispike.export.onnx import load_model  # noqa: PLC0415 - onnx is optional

    facts = _metadata(Path(path), load_model(path).metadata_props, network)
    form, carrier = facts["form"], facts["carrier"]
    if not len(data):
        raise InvalidDataError(
            "data", got="no samples", expected="at least one", fix="Pass some data."
        )
    session = open_session(str(path))
    encoded = network.input.encode(data, network.steps)
    reference = ReferenceEngine(network).run(
        data, record=dict.fromkeys(network.populations, ("s",))
    )
    run = _run_steps if form == "step" else _run_whole
    values = run(session, network, encoded.astype(carrier))
    if network.kind == "integer":
        return _check_integers(reference, values, form, carrier)
    return _check_floats(network, data, encoded, reference, values, form, carrier)


def random_data(network: Network, samples: int) -> Array:
    """Raw data that stand in for real ones: noise around the mean, or ternary spikes."""
    rng = np.random.default_rng(DATA_SEED)
    shape = (samples, *network.input.data_shape(network.steps))
    if network.input.encoding == "spikes":
        return rng.integers(-1, 2, shape)
    return network.input.mean + network.input.std * rng.standard_normal(shape)


def _metadata(path: Path, properties: Any, network: Network) -> dict[str, Any]:
    given = {entry.key: entry.value for entry in properties}
    try:
        names = ("form", "carrier", "network_sha256")
        facts = {name: json.loads(given[f"trispike.{name}"]) for name in names}
    except (KeyError, json.JSONDecodeError) as error:
        raise FileFormatError(
            f"file '{path}'",
            got=f"metadata without {error}",
            expected="a model that trispike exported",
            fix="Export it with: trispike export NETWORK --format onnx -o FILE.",
        ) from error
    if facts["network_sha256"] != digest(network):
        raise FileFormatError(
            f"file '{path}'",
            got=f"a model of the network {facts['network_sha256'][:12]}",
            expected=f"one of {digest(network)[:12]}",
            fix="Pass the network that it was exported from, or export it again.",
        )
    return facts


def _run_whole(session: InferenceSession, network: Network, encoded: Array) -> dict[str, Array]:
    return run_session(session, {"x": encoded}, ["logits", "step_logits"])


def _run_steps(session: InferenceSession, network: Network, encoded: Array) -> dict[str, Array]:
    """Call a step model once per time step, feeding its states back."""
    outputs = [output.name for output in session.get_outputs()]
    held: dict[str, Array] = {}
    for entry in session.get_inputs():
        if entry.name != "x":
            shape = [len(encoded) if size == "N" else size for size in entry.shape]
            held[entry.name] = np.zeros(shape, _TYPES[entry.type])
    steps: list[Mapping[str, Array]] = []
    for t in range(network.steps):
        frame = encoded if network.input.encoding == "direct" else encoded[:, t]
        values = run_session(session, {"x": frame, **held}, outputs)
        held = {name: values[f"{name}.next"] for name in held}
        steps.append(values)
    collected = {
        name: np.stack([step[name] for step in steps], axis=1)
        for name in ("step_logits", *(n for n in outputs if n.endswith(".spikes")))
    }
    return {**collected, "logits": held["logits"]}


_TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}


def _compared(reference: Result, values: Mapping[str, Array]) -> list[tuple[Array, Array]]:
    pairs = [(reference.logits, values["logits"]), (reference.step_logits, values["step_logits"])]
    for name, traces in reference.records.items():
        if f"{name}.spikes" in values:
            pairs.append((traces["s"], values[f"{name}.spikes"]))
    return pairs


def _check_integers(
    reference: Result, values: Mapping[str, Array], form: str, carrier: str
) -> FileCheck:
    pairs = _compared(reference, values)
    return FileCheck(
        equal=all(np.array_equal(a, b) for a, b in pairs),
        form=form,
        carrier=carrier,
        samples=len(reference.logits),
        values_compared=sum(a.size for a, _ in pairs),
        largest_logit_difference=float(np.abs(reference.logits - values["logits"]).max()),
        spike_ties=None,
    )


def _check_floats(
    network: Network,
    data: Array,
    encoded: Array,
    reference: Result,
    values: Mapping[str, Array],
    form: str,
    carrier: str,
) -> FileCheck:
    # The engine runs the same operators as the file, and tells the spikes of every population.
    wanted = dict.fromkeys(network.populations, ("s",))
    twin = OnnxEngine(network, carrier=carrier).run(data, record=wanted)
    ties, unexplained = _differing_spikes(network, encoded, twin, TOLERANCE[carrier])
    size = max(1.0, float(np.abs(twin.step_logits).max()))
    pairs = _compared(twin, values)
    close = all(np.abs(a - b).max() <= LOGIT_TOLERANCE[carrier] * size for a, b in pairs)
    same = (reference.records[n]["s"] == twin.records[n]["s"] for n in network.populations)
    differs = np.zeros(len(data), dtype=bool)
    for population in same:
        differs |= ~population.reshape(len(data), -1).all(axis=1)
    rounded = np.abs(reference.logits - values["logits"])[~differs]
    close = close and rounded.max(initial=0.0) <= LOGIT_TOLERANCE[carrier] * size
    return FileCheck(
        equal=bool(close and not unexplained),
        form=form,
        carrier=carrier,
        samples=len(data),
        values_compared=sum(a.size for a, _ in pairs)
        + sum(traces["s"].size for traces in twin.records.values()),
        largest_logit_difference=float(rounded.max(initial=0.0)),
        spike_ties=ties,
    )


def _differing_spikes(
    network: Network, encoded: Array, twin: Result, tolerance: float
) -> tuple[int, int]:
    """Spikes that differ for reasons of their own: on a threshold, and unexplained.

    Every population is given the spikes that were fired in the file before it, so that one
    difference is not counted again in all that follows from it.
    """
    fired = {name: np.moveaxis(traces["s"], 1, 0) for name, traces in twin.records.items()}
    ties = unexplained = 0
    for step in time_steps(network, encoded, fired):
        for name, population in step.populations.items():
            differs = population.spikes != fired[name][step.t]
            if not differs.any():
                continue
            neuron, v = network.populations[name].neuron, population.v
            distance = np.minimum(np.abs(v - neuron.th_pos), np.abs(v + neuron.th_neg))
            near = distance <= tolerance * np.maximum(1.0, np.abs(v))
            ties += int((differs & near).sum())
            unexplained += int((differs & ~near).sum())
    return ties, unexplained
