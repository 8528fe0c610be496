"""What every method's example offers, so that one command takes it through the whole toolchain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy.typing as npt

from examples.training import load_split
from trispike import Conversion
from trispike.network import IntegerNetwork
from trispike.runtime.data import Samples

NETWORKS = Path(__file__).parent.parent / "networks"
"""Trained checkpoints."""

Convert: TypeAlias = "Callable[[Path, npt.NDArray[Any]], Conversion]"
"""From a checkpoint and some samples, to the float network with its proof."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """A network that was trained by some method, and how it becomes a float network."""

    name: str
    """The module's name in this package: ``python -m examples.methods.NAME`` trains it."""
    title: str
    """Method and network, for the table."""
    data: str
    """Name for :func:`examples.training.load_split`."""
    checkpoint: Path
    """Trained by the module's command."""
    convert: Convert
    """Fold, and prove equal."""
    prepare: Callable[[Samples], Samples] = field(default=lambda samples: samples)
    """Turns samples of the data set into what the network takes."""
    engines: tuple[str, ...] = ("reference", "fast", "onnx", "lava")
    """Engines that have to agree; those that have to refuse the method are missing."""
    verified: int = 32
    """Test samples that every engine runs."""
    weight_bits: int = 8
    """Of the integer network."""
    deploy: Callable[[IntegerNetwork, Samples], IntegerNetwork] = field(
        default=lambda network, samples: network
    )
    """What is done with the integer network, by training samples, before it runs."""
    note: str = ""
    """One sentence below the table."""

    def samples(self) -> tuple[Samples, Samples]:
        """Training and test samples, as the network takes them."""
        train, test = load_split(self.data)
        return self.prepare(train), self.prepare(test)
