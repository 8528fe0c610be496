"""What a diagnosis says: all figures in one object, before anything is laid out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

Knob: TypeAlias = Literal[
    "weight bits",
    "granularity",
    "clipping",
    "state shift",
    "state bits",
    "thresholds",
    "fine-tuning",
    "calibration",
    "training",
]
"""What can be turned: settings of a quantization, thresholds that do not belong to their weights,
training of the integer network, the calibration data, or the training of the float network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NeuronState:
    """One neuron at one time step, when it was compared with its thresholds."""

    spike: int
    """-1, 0 or +1."""
    current: float
    """i, as it entered the potential."""
    carried: float
    """c."""
    potential: float
    """v, before the reset."""
    threshold_positive: float | None
    """None: never."""
    threshold_negative: float | None
    """Magnitude; None: never."""
    distance: float | None
    """How far v is beyond the nearer threshold; negative: short of it. None without thresholds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """The first place at which spikes differ.

    First by sample, then by time step, then in the order of the network.
    """

    population: str
    sample: int
    step: int
    """0..T-1."""
    neuron: tuple[int, ...]
    """Index within the population."""
    float_state: NeuronState
    """In the units of the float network."""
    integer_state: NeuronState
    """In state units: whole numbers."""
    unit: float | None
    """Value of one state unit in the float network's; None where nothing tells it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The integer network beside the float network, over T time steps."""

    sqnr_db: tuple[float | None, ...]
    """By step: power of the float current over that of the error, integer bias included; None
    where there is no current or no error."""
    sqnr_db_total: float | None
    """Of all steps together."""
    current_power: tuple[float, ...]
    """By step: mean square of the float current."""
    error_power: tuple[float, ...]
    """By step: mean square of the error, in the same units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpikeFigures(Figures):
    """The same of a population, with its spikes and states."""

    disagreements: tuple[int, ...]
    """By step: neurons whose spikes differ, over all samples."""
    agreement: float
    """Fraction of neurons, steps and samples with equal spikes."""
    spike_error: float
    """Spikes that differ, of all that either network fired; 0 where none did. 1 at most."""
    rate_integer: tuple[float, ...]
    """By step: spikes of either sign per neuron."""
    saturations: tuple[int, ...]
    """By step: values of i, c and v that left the range of the state, over all samples."""
    first_divergence: Divergence | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Neurons:
    """Some neurons of a population."""

    count: int
    first: tuple[tuple[int, ...], ...]
    """Indices of the first ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PopulationDiagnosis:
    """One population."""

    name: str
    shape: tuple[int, ...]
    neurons: int
    own: SpikeFigures
    """With the spikes of the integer network before it: errors add up."""
    forced: SpikeFigures
    """With the spikes of the float network before it, and reset by the float network's own: the
    error of this population alone."""
    rate_float: tuple[float, ...]
    """By step: spikes of either sign per neuron."""
    dead_float: Neurons
    """Never fired in the float network, on these data."""
    dead_integer: Neurons
    """Never fired in the integer network."""
    dead_new: Neurons
    """Fired in the float network, and never in the integer network, not even if it is fed with the
    float network's spikes."""
    always_float: Neurons
    """Fired at every step of every sample in the float network."""
    always_integer: Neurons
    """The same in the integer network."""
    always_new: Neurons
    """Did so in the integer network if fed with the float network's spikes, but not in float."""
    state_bits: int
    state_shift: int
    threshold_bits: int | None
    """Significant bits of the smallest threshold that can be reached; None without one."""
    headroom_bits: float
    """Bits between the largest state that any input can cause and the state's limit; negative:
    saturation cannot be excluded."""
    peak_headroom_bits: float
    """Bits between the largest state on these data and the limit; 0 where one was clipped."""
    scale_smallest: float | None
    """Smallest scale of a channel; None where nothing tells it."""
    scale_largest: float | None
    threshold_factor: float | None
    """How many times too large the integer thresholds are for the integer weights, in the channel
    where that is worst; 1 where they fit."""
    is_one_scale: bool
    """Whether all channels share one scale."""

    @property
    def rate_shift(self) -> float:
        """Mean firing rate in the integer network minus that in the float network."""
        return _mean(self.own.rate_integer) - _mean(self.rate_float)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionDiagnosis:
    """One connection of the integer network; figures are None where its original is not known."""

    label: str
    sources: tuple[str, ...]
    target: str
    bits: int
    exponent: int
    weight_sqnr_db: float | None
    """None also where weights are exact."""
    error_share: float | None
    """Share of this connection in the error that weights add to its target's current, estimated
    from squared errors and the mean square of what arrives. None also where there is no error."""
    clipped: float | None
    """Fraction of the weights beyond the largest integer."""
    zeroed_channels: int | None
    """Output channels whose weights all became zero."""
    spare_bits: int | None
    """Bits that no weight uses."""
    per_channel_gain_db: float | None
    """What one scale per channel would add to the weights' SQNR."""
    clipping_gain_db: float | None
    """What the best clipping would add."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputDiagnosis:
    """What the input lost."""

    sqnr_db: float | None
    """None where it is exact."""
    clipped: float
    """Fraction of the values beyond the signed 8 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadoutDiagnosis:
    """The logits, each step with its time weight."""

    name: str
    own: Figures
    forced: Figures
    prediction_agreement: float
    """Fraction of samples with equal predictions."""
    forced_prediction_agreement: float
    """The same if the readout is fed with the float network's spikes."""
    accuracy_float: float | None
    """None without labels."""
    accuracy_integer: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One thing to do."""

    rule: str
    """Of :mod:`trispike.runtime.diagnose.advice`."""
    layer: str
    """Population, input or readout."""
    connection: str | None
    """Label, where it is about one."""
    knob: Knob
    finding: str
    """What was found."""
    action: str
    """What to do."""
    severity: float
    """0..1: spike error of the layer by itself, or the fraction of predictions or values that are
    wrong; the worst comes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """A float and an integer network side by side."""

    float_sha256: str
    """Of everything that the float network computes with."""
    integer_sha256: str
    data_sha256: str
    """Of the raw data."""
    samples: int
    steps: int
    """T."""
    input: InputDiagnosis
    populations: tuple[PopulationDiagnosis, ...]
    """In the order of the network."""
    connections: tuple[ConnectionDiagnosis, ...]
    readout: ReadoutDiagnosis
    first_divergence: Divergence | None
    """None where every spike agrees."""
    guilty: str | None
    """The layer with the largest error of its own; None where none has one."""
    advice: tuple[Advice, ...]

    def population(self, name: str) -> PopulationDiagnosis:
        """The population of that name."""
        return next(p for p in self.populations if p.name == name)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        plain = asdict(self)
        for values, population in zip(plain["populations"], self.populations, strict=True):
            values["rate_shift"] = population.rate_shift
        return plain


def _mean(values: tuple[float, ...]) -> float:
    return sum(values) / len(values)
