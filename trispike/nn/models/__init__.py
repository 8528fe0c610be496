"""The published architectures, with the published parameter names."""

from trispike.nn.models.imp import IMPNetwork, IMPPlan
from trispike.nn.models.psn_vgg import PSNVGG, PSNVGGPlan
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
from trispike.nn.models.random_weights import randomize
from trispike.nn.models.registry import (
    ARCHITECTURES,
    MIXED_KINDS,
    Architecture,
    NeuronKind,
    Plan,
    architecture,
    build_model,
    neuron_layers,
)
from trispike.nn.models.resnet import BasicBlock, ResNet, ResNetPlan
from trispike.nn.models.spike_model import InputKind, Provenance, SpikeModel
from trispike.nn.models.ttfs_vgg import TTFSVGG, TTFSPlan
from trispike.nn.models.vgg import VGG, VGGPlan

__all__ = [
    "ARCHITECTURES",
    "MIXED_KINDS",
    "PSNVGG",
    "QCFSVGG",
    "QCFS_ARCHITECTURES",
    "TTFSVGG",
    "VGG",
    "Architecture",
    "BasicBlock",
    "IMPNetwork",
    "IMPPlan",
    "InputKind",
    "NeuronKind",
    "PSNVGGPlan",
    "Plan",
    "Provenance",
    "QCFSArchitecture",
    "QCFSNetwork",
    "QCFSPlan",
    "QCFSProvenance",
    "QCFSResNet",
    "QCFSResNetPlan",
    "QCFSVGGPlan",
    "ResNet",
    "ResNetPlan",
    "SpikeModel",
    "TTFSPlan",
    "VGGPlan",
    "architecture",
    "build_model",
    "build_qcfs",
    "neuron_layers",
    "randomize",
]
