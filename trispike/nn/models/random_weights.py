"""Random weights that hide no mistake: nothing is left at a neutral value."""

from __future__ import annotations

import torch
from torch import nn

from trispike.nn.imp import IMPNeuron, LegacyIMPNeuron
from trispike.nn.models.imp import TemporalEffectiveNorm
from trispike.nn.neurons import CTSN, TernarySpike
from trispike.nn.ttfs import StandardizedConv2d, StandardizedLinear, TimeWeights

__all__ = ["randomize"]


def randomize(model: nn.Module, seed: int = 0) -> None:
    """Give trained neuron parameters and batch norms random, non-trivial values, in place.

    Fresh networks have alpha = beta = gamma = 0, amplitude 1 and neutral batch norms, with which
    many an error in folding would not show. Convolutions and linear layers keep their weights,
    their biases become random.

    Args:
        model: Any module.
        seed: Two models of one architecture and seed get equal values.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(tensor: torch.Tensor, low: float, high: float) -> None:
        tensor.uniform_(low, high, generator=generator)

    with torch.no_grad():
        for m in model.modules():
            if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)):
                if m.affine:
                    uniform(m.weight, 0.5, 1.5)
                    uniform(m.bias, -0.3, 0.3)
                if m.running_mean is not None and m.running_var is not None:
                    uniform(m.running_mean, -0.3, 0.3)
                    uniform(m.running_var, 0.4, 1.6)
            elif isinstance(m, CTSN):
                for parameter in (m.alpha, m.beta, m.gamma):
                    uniform(parameter, -2.0, 2.0)
            elif isinstance(m, (IMPNeuron, LegacyIMPNeuron)):
                uniform(m.init_state if isinstance(m, IMPNeuron) else m.mem, -0.6, 0.9)
            elif isinstance(m, TemporalEffectiveNorm):
                uniform(m.te, 0.6, 1.4)
            elif isinstance(m, TernarySpike) and m.fire_ratio is not None:
                uniform(m.fire_ratio, 0.5, 1.5)
            elif isinstance(m, TimeWeights):
                for parameter in m.parameters():
                    uniform(parameter, 1.1, 1.9)
            elif isinstance(m, (nn.Conv2d, nn.Linear)) and m.bias is not None:
                uniform(m.bias, -0.3, 0.3)
            if isinstance(m, (StandardizedConv2d, StandardizedLinear)):
                m.gain.mul_(torch.rand(m.gain.shape, generator=generator) + 0.5)
                if m.offset is not None:
                    uniform(m.offset, -0.01, 0.01)
