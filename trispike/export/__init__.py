"""From a trained module to a float network, and from networks to exchange formats."""

import trispike.nn  # noqa: F401 - first, because it says which command installs a missing PyTorch
from trispike.export.neurons import AdaptedNeuron, register_neuron
from trispike.export.proof import Mismatch, Proof, prove
from trispike.export.trace import Traced, trace

__all__ = [
    "AdaptedNeuron",
    "Mismatch",
    "Proof",
    "Traced",
    "prove",
    "register_neuron",
    "trace",
]
