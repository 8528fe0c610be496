"""The PyTorch side: neurons, losses, published architectures, published checkpoints."""

import importlib.util

from trispike.errors import MissingDependencyError

if importlib.util.find_spec("torch") is None:
    raise MissingDependencyError(
        "trispike.nn",
        got="no PyTorch",
        expected="torch, to read checkpoints and to fold modules",
        fix="Run: pip install 'trispike[torch]'",
    )

from trispike.nn.checkpoints import load_checkpoint, save_checkpoint
from trispike.nn.imp import IMPNeuron, InitialState, LegacyIMPNeuron
from trispike.nn.losses import (
    TET_LAMBDA,
    TET_SMOOTHING,
    TMPR_LAMBDA_EVENTS,
    TMPR_LAMBDA_STATIC,
    cross_entropy,
    label_smoothed_temporal_efficient_loss,
    membrane_regularization,
    record_potentials,
    temporal_efficient_loss,
    tmpr_loss,
)
from trispike.nn.models import (
    ARCHITECTURES,
    MIXED_KINDS,
    QCFS_ARCHITECTURES,
    Architecture,
    InputKind,
    NeuronKind,
    Provenance,
    QCFSNetwork,
    SpikeModel,
    architecture,
    build_model,
    build_qcfs,
    randomize,
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
from trispike.nn.qcfs import QCFS
from trispike.nn.qcfs_checkpoints import load_qcfs_checkpoint
from trispike.nn.reversal import (
    TRT_CONSISTENCY,
    TRT_STAR,
    TRT_TEMPERATURE,
    Passes,
    both_passes,
    record_rates,
    reversal_consistency,
    reversed_in_time,
    star_loss,
    temporal_reversed_loss,
)
from trispike.nn.surrogate import DEFAULT_SURROGATE, SURROGATES
from trispike.nn.ttfs import (
    TTFS,
    StandardizedConv2d,
    StandardizedLinear,
    TimeForm,
    TimeWeights,
    initialize_ttfs,
)

__all__ = [
    "ARCHITECTURES",
    "CTSN",
    "DEFAULT_SURROGATE",
    "LIF",
    "MIXED_KINDS",
    "QCFS",
    "QCFS_ARCHITECTURES",
    "SURROGATES",
    "TET_LAMBDA",
    "TET_SMOOTHING",
    "TMPR_LAMBDA_EVENTS",
    "TMPR_LAMBDA_STATIC",
    "TRT_CONSISTENCY",
    "TRT_STAR",
    "TRT_TEMPERATURE",
    "TTFS",
    "Amplitude",
    "Architecture",
    "ComplementaryTernarySpike",
    "Form",
    "IMPNeuron",
    "InitialState",
    "InputKind",
    "LegacyIMPNeuron",
    "NeuronKind",
    "Passes",
    "Provenance",
    "QCFSNetwork",
    "SpikeModel",
    "SpikingNeuron",
    "StandardizedConv2d",
    "StandardizedLinear",
    "TernarySpike",
    "TimeForm",
    "TimeWeights",
    "architecture",
    "both_passes",
    "build_model",
    "build_qcfs",
    "cross_entropy",
    "initialize_ttfs",
    "label_smoothed_temporal_efficient_loss",
    "load_checkpoint",
    "load_qcfs_checkpoint",
    "membrane_regularization",
    "randomize",
    "record_potentials",
    "record_rates",
    "reversal_consistency",
    "reversed_in_time",
    "save_checkpoint",
    "star_loss",
    "temporal_efficient_loss",
    "temporal_reversed_loss",
    "tmpr_loss",
]
