"""What is deployed: neurons, connections, networks, and their file. NumPy only."""

from trispike.network.connection import Connection, Conv2d, Dense, Identity, SumPool
from trispike.network.learning import make_plastic
from trispike.network.network import (
    FloatNetwork,
    Input,
    IntegerNetwork,
    Network,
    Population,
    Readout,
)
from trispike.network.neuron import FixedPointNeuron, Neuron, State, Step
from trispike.network.plasticity import Plasticity
from trispike.network.steps import with_steps
from trispike.network.storage import digest, equal, load, save
from trispike.network.summary import describe, summary
from trispike.network.synapses import dense_macs, expanded, fan_out, synapse_count, synapse_pairs

__all__ = [
    "Connection",
    "Conv2d",
    "Dense",
    "FixedPointNeuron",
    "FloatNetwork",
    "Identity",
    "Input",
    "IntegerNetwork",
    "Network",
    "Neuron",
    "Plasticity",
    "Population",
    "Readout",
    "State",
    "Step",
    "SumPool",
    "dense_macs",
    "describe",
    "digest",
    "equal",
    "expanded",
    "fan_out",
    "load",
    "make_plastic",
    "save",
    "summary",
    "synapse_count",
    "synapse_pairs",
    "with_steps",
]
