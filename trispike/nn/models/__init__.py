"""The published architectures, with the published parameter names."""

from trispike.nn.models.psn_vgg import PSNVGG, PSNVGGPlan
from trispike.nn.models.random_weights import randomize
from trispike.nn.models.qcfs import (
    QCFS_ARCHITECTURES,
    QCFSVGG,
    QCFSArchitecture,
    QCFSNetwork,
    QCFSPlan,
    QCFSProvenance,
    QCFSResNet,
    QCFSResNetPlan,
    QCFSVGGPlan,
    build_qcfs,
)
from trispike.nn.models.registry import (
    ARCHITECTURES,
    Architecture,
    NeuronKind,
    Plan,
    architecture,
    build_model,
)
from trispike.nn.models.resnet import BasicBlock, ResNet, ResNetPlan
from trispike.nn.models.spike_model import InputKind, Provenance, SpikeModel
from trispike.nn.models.vgg import VGG, VGGPlan

__all__ = [
    "ARCHITECTURES",
    "PSNVGG",
    "VGG",
    "Architecture",
    "BasicBlock",
    "InputKind",
    "NeuronKind",
    "QCFSVGG",
    "QCFS_ARCHITECTURES",
    "TTFSVGG",
    "PSNVGGPlan",
    "Plan",
    "Provenance",
    "ResNet",
    "ResNetPlan",
    "SpikeModel",
    "VGGPlan",
    "architecture",
    "build_model",
    "randomize",
    "QCFSArchitecture",
    "QCFSNetwork",
    "QCFSPlan",
    "QCFSProvenance",
    "QCFSResNet",
    "QCFSResNetPlan",
    "QCFSVGGPlan",
]
    "build_qcfs",
    "neuron_layers",
