"""Runs the points of a sweep."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import trispike.network
from trispike.errors import InvalidDataError, QuantizationError
from trispike.network import (
    FloatNetwork,
    IntegerNetwork,
    Network,
    Neuron,
    Population,
    digest,
    with_steps,
)
from trispike.quantize import quantize
from trispike.runtime.anytime import EngineBuilder, early_exit, exit_energy
from trispike.runtime.data import Data
from trispike.runtime.energy import MemoryModel, Profile
from trispike.runtime.engine import Result
from trispike.runtime.explore.outcomes import Outcome, load_outcomes, save_outcomes
from trispike.runtime.explore.points import ANY, Factor, Point
from trispike.runtime.ledger import Ledger
from trispike.runtime.pricing import first_frames, pricing

COMPUTING = ("network", "quantize", "runtime")
"""Packages whose code an outcome depends on."""


class Explorer:
    """Evaluates points: quantizes the network anew, runs it, prices what it did.

    Args:
        network: What is quantized; an integer network is run as it is.
        data: Raw data with labels.
        hardware: Prices.
        build: Gives the engine for a network.
        calibration: Of a float network: what to quantize it on.
        assumptions: Prices in pJ by event, as in ``estimate_energy``.

    Raises:
        InvalidDataError: Data without labels or without samples, or that do not fit the network.
        InvalidSettingError: As ``pricing``.
    """

    def __init__(
        self,
        network: Network,
        data: Data,
        hardware: Profile | MemoryModel,
        build: EngineBuilder,
        *,
        calibration: Data | None = None,
        assumptions: Mapping[str, float] | None = None,
    ) -> None:
        network.input.check(data.x, network.steps)
        if data.y is None or not len(data.x):
            raise InvalidDataError(
                f"data '{data.name}'",
                got="no labels" if len(data.x) else "no samples",
                expected="samples with the class of each, for the accuracy",
                fix="Give data with labels (an array y).",
            )
        network.readout.checked_labels(data.y, len(data.x))
        self.network = network
        self.data = data
        self.hardware = hardware
        self.calibration = calibration
        self.assumptions = dict(assumptions or {})
        self._build = build
        self._price = pricing(hardware, self.assumptions)
        self._identity = {
            "trispike": version("trispike"),
            "code_sha256": code_digest(),
            "source_sha256": digest(network),
            "data_sha256": data_digest(data),
            "calibration_sha256": None if calibration is None else data_digest(calibration),
            "hardware": hardware.id,
            "hardware_sha256": _sha(
                {"prices": hardware.model_dump(mode="json"), "assumed": self.assumptions}
            ),
        }
        self._last: tuple[Point, IntegerNetwork | Network, Result] | None = None

    def key(self, point: Point) -> str:
        """What a point is known by."""
        return _sha({**self._identity, "settings": point.to_dict()})

    def evaluate(self, point: Point) -> Outcome:
        """Quantize, run and price one point.

        Raises:
            TrispikeError: The engine cannot run the network, or failed.
        """
        start = time.perf_counter()
        known: dict[str, Any] = {
            "key": self.key(point),
            "settings": point.to_dict(),
            "samples": len(self.data.x),
            "engine": "",
            **self._identity,
        }
        try:
            network, result = self._run(replace(point, exit_confidence=None))
        except QuantizationError as refusal:
            return Outcome(**known, error=str(refusal), seconds=time.perf_counter() - start)
        known |= {"engine": result.engine, "network_sha256": digest(network)}
        measured = self._measured(point, network, result)
        return Outcome(**known, **measured, seconds=time.perf_counter() - start)

    def _measured(self, point: Point, network: Network, full: Result) -> dict[str, Any]:
        inputs = first_frames(self.network, np.asarray(self.data.x), point.steps)
        whole = self._price(network, full.ledger, inputs)
        if point.exit_confidence is None:
            energy = {
                "joules": whole.energy_per_inference_joules,
                "low_joules": whole.low_joules,
                "high_joules": whole.high_joules,
            }
            return _facts(full.accuracy, full.ledger, energy, point.steps) | {
                "unpriced": tuple(whole.unpriced)
            }
        run = early_exit(
            network,
            inputs,
            self.data.y,
            confidence=point.exit_confidence,
            build=self._build,
            full=full,
        )
        priced = exit_energy(network, inputs, run, self.hardware, self.assumptions)
        energy = {
            "joules": priced.joules,
            "low_joules": priced.low_joules,
            "high_joules": priced.high_joules,
        }
        return _facts(run.accuracy, run.ledger, energy, run.mean_steps) | {
            "unpriced": tuple(whole.unpriced),
            "samples_by_exit_step": run.distribution,
        }

    def _run(self, point: Point) -> tuple[Network, Result]:
        """The network of a point and its run over all steps, kept for the next point."""
        if self._last is None or self._last[0] != point:
            network = self._deployed(point)
            inputs = first_frames(self.network, np.asarray(self.data.x), point.steps)
            result = self._build(network).run(inputs, self.data.y)
            self._last = (point, network, result)
        return self._last[1:]

    def _deployed(self, point: Point) -> Network:
        network = with_steps(self.network, point.steps)
        if not isinstance(network, FloatNetwork):
            return network
        assert self.calibration is not None
        assert point.weight_bits is not None
        assert point.granularity is not None
        scaled = scale_thresholds(network, dict(point.thresholds))
        frames = first_frames(network, np.asarray(self.calibration.x), point.steps)
        return quantize(
            scaled, frames, weight_bits=point.weight_bits, granularity=point.granularity
        ).network


def explore(
    explorer: Explorer,
    points: Sequence[Point],
    results: str | os.PathLike[str],
    progress: Callable[[int], None] | None = None,
) -> list[Outcome]:
    """Evaluate those points that the results file does not have yet, and add them to it.

    The file is written anew after each point, whole, so that an interrupted sweep loses one point
    at most. What it holds of other sweeps stays in it. Only one sweep at a time may write it.

    Args:
        explorer: Evaluates them.
        points: As from ``points_of``.
        results: A file of one JSON object per line; it need not exist.
        progress: Called with the number of points finished since the last call.

    Returns:
        The outcomes of the points, in their order.

    Raises:
        FileFormatError: The results file is another kind of file.
        TrispikeError: As :meth:`Explorer.evaluate`.
    """
    known = load_outcomes(results)
    found = []
    for point in points:
        key = explorer.key(point)
        if key not in known:
            known[key] = explorer.evaluate(point)
            save_outcomes(known.values(), results)
        found.append(known[key])
        if progress:
            progress(1)
    return found


def scale_thresholds(network: FloatNetwork, factors: Mapping[str, Factor]) -> FloatNetwork:
    """A network whose thresholds are multiplied, those of both signs alike.

    Args:
        network: A float network.
        factors: By population, ``"*"`` for those not named: a number, or one for each channel.
    """
    populations = {}
    for name, population in network.populations.items():
        factor = factors.get(name, factors.get(ANY, 1.0))
        neuron = population.neuron
        assert isinstance(neuron, Neuron)
        values = np.asarray(factor, dtype=np.float64)
        if values.ndim:
            values = values.reshape(-1, *(1,) * (len(population.shape) - 1))
        changed = replace(neuron, th_pos=neuron.th_pos * values, th_neg=neuron.th_neg * values)
        populations[name] = Population(shape=population.shape, neuron=changed)
    return replace(network, populations=populations)


def data_digest(data: Data) -> str:
    """SHA-256 of inputs and labels."""
    sha = hashlib.sha256()
    for array in (data.x, data.y):
        if array is not None:
            whole = np.ascontiguousarray(array)
            sha.update(f"{whole.dtype.str}:{whole.shape}:".encode())
            sha.update(whole.tobytes())
    return sha.hexdigest()


@cache
def code_digest() -> str:
    """SHA-256 of the code that makes a point what it is: of network, quantize and runtime.

    A version alone would not tell apart what is changed between two of them.
    """
    sha = hashlib.sha256()
    root = Path(trispike.network.__file__).parents[1]
    for package in COMPUTING:
        for path in sorted((root / package).rglob("*.py")):
            content = path.read_bytes()
            sha.update(f"{path.relative_to(root).as_posix()}:{len(content)}:".encode() + content)
    return sha.hexdigest()


def _facts(
    accuracy: float | None, ledger: Ledger, energy: Mapping[str, float], steps: float
) -> dict[str, Any]:
    each = ledger.samples
    return {
        "accuracy": accuracy,
        "mean_steps": float(steps),
        "synaptic_operations_per_inference": ledger.synaptic_operations / each,
        "graded_operations_per_inference": ledger.macs / each,
        "spikes_per_inference": ledger.spikes / each,
        "saturations": ledger.saturations,
        "joules_per_correct_prediction": energy["joules"] / accuracy if accuracy else None,
        **{f"energy_per_inference_{name}": value for name, value in energy.items()},
    }


def _sha(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
