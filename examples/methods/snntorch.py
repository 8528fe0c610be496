"""A convolutional network of snnTorch, trained with it on digits.

    python -m examples.methods.snntorch

A loop over time within the forward, resets by subtraction and to zero, and trained leaks and
thresholds. About three minutes on one core.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt
from torch import Tensor, nn

import trispike
from examples.methods import foreign
from examples.methods.common import NETWORKS, Method
from trispike import Conversion

DATA = "digits"
STEPS = 8
EPOCHS = 40
LEARNING_RATE = 1e-2


def fresh_module() -> nn.Module:
    """The network with initial weights; takes (N, 1, 8, 8)."""
    import snntorch as snn  # noqa: PLC0415

    class Network(nn.Module):
        """Two convolutions and a Linear layer, each with neurons that return their state."""

        def __init__(self) -> None:
            super().__init__()
            learnt = {"learn_beta": True, "learn_threshold": True}
            self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
            self.lif1 = snn.Leaky(beta=0.8, **learnt)
            self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
            self.lif2 = snn.Leaky(beta=0.8, reset_mechanism="zero", **learnt)
            self.pool = nn.AvgPool2d(2)
            self.fc = nn.Linear(128, 10)
            self.lif3 = snn.Leaky(beta=0.8, **learnt)

        def forward(self, x: Tensor) -> Tensor:
            """Spikes of the last layer, summed over time."""
            mem1, mem2, mem3 = (lif.reset_mem() for lif in (self.lif1, self.lif2, self.lif3))
            counts: Any = 0.0
            for _ in range(STEPS):
                spk1, mem1 = self.lif1(self.conv1(x), mem1)
                spk2, mem2 = self.lif2(self.conv2(self.pool(spk1)), mem2)
                spk3, mem3 = self.lif3(self.fc(self.pool(spk2).flatten(1)), mem3)
                counts = counts + spk3
            result: Tensor = counts
            return result

    return Network()


def convert(checkpoint: Path, samples: npt.NDArray[Any]) -> Conversion:
    """Fold, and prove equal."""
    return trispike.convert(foreign.loaded(fresh_module(), checkpoint), samples, steps=STEPS)


METHOD = Method(
    name="snntorch",
    title="snnTorch, Leaky (3 layers)",
    data=DATA,
    checkpoint=NETWORKS / "snntorch_digits.pth",
    convert=convert,
    note="Its delayed subtraction is a connection of weight -threshold from each neuron to itself.",
)


def main() -> None:
    """Train, report, save."""
    given = foreign.options(
        "Train a network of snnTorch on digits.", Path("out/snntorch_digits.pth"), EPOCHS
    )
    module = fresh_module()
    foreign.train(
        module,
        module,
        data=DATA,
        epochs=given.epochs,
        learning_rate=LEARNING_RATE,
        seed=given.seed,
    )
    foreign.save(module, given.output)


if __name__ == "__main__":
    main()
