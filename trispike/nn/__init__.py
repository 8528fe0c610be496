"""The PyTorch side: neurons, losses, published architectures, published checkpoints."""

from trispike.nn.models import (
    ARCHITECTURES,
    Architecture,
    InputKind,
    SpikeModel,
    architecture,
    build_model,
)
from trispike.nn.neurons import (
    CTSN,
    LIF,
    Amplitude,
    ComplementaryTernarySpike,
    Form,
    SpikingNeuron,
    TernarySpike,
)
from trispike.nn.surrogate import DEFAULT_SURROGATE, SURROGATES

__all__ = [
    "ARCHITECTURES",
    "CTSN",
    "DEFAULT_SURROGATE",
    "LIF",
    "SURROGATES",
    "Amplitude",
    "Architecture",
    "ComplementaryTernarySpike",
    "Form",
    "InputKind",
    "SpikeModel",
    "SpikingNeuron",
    "TernarySpike",
    "architecture",
    "build_model",
]
