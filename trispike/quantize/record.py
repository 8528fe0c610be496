"""The record of a quantization: what was chosen, and what it cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionRecord:
    """One connection, by label."""

    label: str
    bits: int
    """Width of a weight."""
    exponent: int
    """Left shift of the operator's sum."""
    scale_min: float
    """Smallest channel scale of the target: value of one unit of its accumulator."""
    scale_max: float
    """Largest channel scale of the target."""
    method: str
    """How it was rounded: "nearest", "clipped" or "gptq"; "clipped" in place of "gptq" where
    the inputs are too many to take their correlations."""
    scale_ratio: float
    """Scales as a part of plain max scaling, the median of the channels; below 1: clipped."""
    weights_clipped: float
    """Fraction of the weights that are beyond their largest mantissa."""
    weight_sqnr_db: float | None
    """Signal to quantization noise of the weights; None where they are exact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PopulationRecord:
    """One population."""

    name: str
    state_shift: int
    """Chosen left shift of the accumulator."""
    threshold_min: int
    """Smallest threshold, in state units."""
    threshold_max: int
    """Largest finite threshold, in state units."""
    state_bound: int
    """Largest magnitude that a state can reach in the worst case."""
    headroom_bits: float
    """Bits between that and the state's limit; negative: saturation cannot be excluded."""
    saturations: int
    """Values clipped on the calibration data."""
    current_sqnr_db: float | None
    """Signal to quantization noise of the current that arrives, given the spikes of the float
    network; None where it is exact, and where the method "nearest" does not ask."""
    bias_correction: float
    """Largest magnitude that was taken from the bias of a channel, in the float network's unit."""
    spike_agreement: float
    """Fraction of neurons and steps at which float and integer network fired alike."""
    firing_rate_float: float
    """Spikes of either sign per neuron and step."""
    firing_rate_integer: float
    """The same in the integer network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationRecord:
    """What a float network became, part by part and as a whole."""

    weight_bits: int
    """Of the widest connection."""
    granularity: str
    """"channel" or "layer"."""
    method: str
    """"nearest", "clipped" or "gptq"."""
    state_bits: int
    input_scale: float
    """Value of one unit of the graded input."""
    input_clipped: float
    """Fraction of the calibration input that the signed 8 bits clipped."""
    readout_scale: float
    """Value of one unit of an integer logit."""
    readout_current_sqnr_db: float | None
    """As ``current_sqnr_db`` of a population, for the readout."""
    connections: tuple[ConnectionRecord, ...]
    populations: tuple[PopulationRecord, ...]
    """In topological order."""
    first_divergence: str | None
    """First population whose spikes differ anywhere; None where all agree."""
    samples: int
    """Calibration samples that the measured figures come from."""
    prediction_agreement: float
    """Fraction of them with equal predictions."""
    accuracy_float: float | None
    """None without labels."""
    accuracy_integer: float | None
    """None without labels."""

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)
