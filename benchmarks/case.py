"""A prepared network in its folder, from which every contestant loads it in a process of its own.

torch is imported only by those who ask for the module: Lava's processes fork, and the memory of the
others is to be their own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.network import IntegerNetwork, dense_macs, load

if TYPE_CHECKING:
    from trispike.nn import SpikeModel

Array: TypeAlias = npt.NDArray[Any]

LIF_LEAK = 0.5
"""Of networks of plain LIF neurons."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to build the PyTorch module of a case; its weights are in a file."""

    arch: str
    """Name in ``ARCHITECTURES``."""
    steps: int
    """T."""
    widths: tuple[int, ...] | None = None
    """Channels per stage of a residual network, if not as published."""

    def build(self) -> SpikeModel:
        """The module with fresh weights, in evaluation mode."""
        from trispike.nn import architecture, build_model  # noqa: PLC0415 - see above
        from trispike.nn.models.resnet import ResNetPlan  # noqa: PLC0415

        plan = architecture(self.arch).plan
        if self.widths:
            assert isinstance(plan, ResNetPlan)
            plan = replace(plan, widths=tuple(self.widths))
        tau = LIF_LEAK if self.arch.startswith("lif-") else None
        return build_model(self.arch, steps=self.steps, tau=tau, plan=plan).eval()


@dataclass(frozen=True)
class Case:
    """A prepared network in its folder."""

    folder: Path

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Name, title, recipe, firing rates and operations, as :func:`prepare` wrote them."""
        facts: dict[str, Any] = json.loads((self.folder / "case.json").read_text(encoding="utf-8"))
        return facts

    @property
    def name(self) -> str:
        """Name of the case."""
        return str(self.facts["name"])

    def module(self) -> SpikeModel:
        """The PyTorch module with its weights, in evaluation mode."""
        import torch  # noqa: PLC0415 - see above

        model = Recipe(**self.facts["recipe"]).build()
        model.load_state_dict(torch.load(self.folder / "module.pth", weights_only=True))
        return model.eval()

    def network(self) -> IntegerNetwork:
        """The integer network."""
        network = load(self.folder / "network.safetensors")
        assert isinstance(network, IntegerNetwork)
        return network

    def inputs(self, samples: int) -> Array:
        """So many inputs, (N, C, H, W) in float32; the stored ones are repeated if need be."""
        stored = np.load(self.folder / "inputs.npy")
        return np.resize(stored, (samples, *stored.shape[1:]))


def macs_per_sample(network: IntegerNetwork) -> int:
    """Multiply-accumulates that a dense computation of all steps needs.

    What reads a static input is computed once, whatever the number of steps.
    """
    total = 0
    for connection in network.all_connections:
        macs = dense_macs(connection, network.source_shape(connection))
        total += macs * (1 if is_static(network, connection.sources) else network.steps)
    return total


def is_static(network: IntegerNetwork, sources: Sequence[str]) -> bool:
    """Whether what a connection reads is the same at every step."""
    return network.input.encoding == "direct" and tuple(sources) == (network.input.name,)
