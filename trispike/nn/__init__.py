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
from trispike.nn.losses import (
    TET_LAMBDA,
    TMPR_LAMBDA_EVENTS,
    TMPR_LAMBDA_STATIC,
    cross_entropy,
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
    "TMPR_LAMBDA_EVENTS",
    "TMPR_LAMBDA_STATIC",
    "TTFS",
    "Amplitude",
    "Architecture",
    "ComplementaryTernarySpike",
    "Form",
    "InputKind",
    "NeuronKind",
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
    "build_model",
    "build_qcfs",
    "cross_entropy",
    "initialize_ttfs",
    "load_checkpoint",
    "load_qcfs_checkpoint",
    "membrane_regularization",
    "randomize",
    "record_potentials",
    "save_checkpoint",
    "temporal_efficient_loss",
    "tmpr_loss",
]
