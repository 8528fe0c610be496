"""A convolutional network of SpikingJelly, trained with it on digits.

    PYTHONPATH=. .venv-interop/bin/python -m examples.methods.spikingjelly

Hard and soft resets, a trained time constant, and layers in multi-step mode. SpikingJelly lives in
the environment of ``make interop``; elsewhere this module offers no network. About three minutes on
one core.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy.typing as npt
from torch import Tensor, nn

import trispike
from examples.methods import foreign
from examples.methods.common import NETWORKS, Method
from trispike import Conversion

DATA = "digits"
STEPS = 6
EPOCHS = 40
LEARNING_RATE = 1e-2


def fresh_module() -> nn.Sequential:
    """The network with initial weights; takes (T, N, 1, 8, 8)."""
    from spikingjelly.activation_based import functional, layer, neuron, surrogate  # noqa: PLC0415

    def step() -> Any:
        return surrogate.ATan()

    module = nn.Sequential(
        layer.Conv2d(1, 16, 3, padding=1, bias=False),
        layer.BatchNorm2d(16),
        neuron.LIFNode(tau=2.0, surrogate_function=step(), detach_reset=True),
        layer.AvgPool2d(2, 2),
        layer.Conv2d(16, 32, 3, padding=1, bias=False),
        layer.BatchNorm2d(32),
        neuron.ParametricLIFNode(
            init_tau=2.0, v_reset=None, surrogate_function=step(), detach_reset=True
        ),
        layer.AvgPool2d(2, 2),
        layer.Flatten(),
        layer.Linear(128, 64, bias=False),
        neuron.IFNode(v_reset=None, surrogate_function=step(), detach_reset=True),
        layer.Linear(64, 10),
    )
    functional.set_step_mode(module, "m")
    return module


def convert(checkpoint: Path, samples: npt.NDArray[Any]) -> Conversion:
    """Fold, and prove equal."""
    return trispike.convert(foreign.loaded(fresh_module(), checkpoint), samples, steps=STEPS)


if find_spec("spikingjelly"):
    METHOD = Method(
        name="spikingjelly",
        title="SpikingJelly, LIF, PLIF and IF (3 layers)",
        data=DATA,
        checkpoint=NETWORKS / "spikingjelly_digits.pth",
        convert=convert,
        note="Runs in the environment of `make interop`.",
    )


def main() -> None:
    """Train, report, save."""
    from spikingjelly.activation_based import functional  # noqa: PLC0415

    given = foreign.options(
        "Train a network of SpikingJelly on digits.", Path("out/spikingjelly_digits.pth"), EPOCHS
    )
    module = fresh_module()

    def logits_of(x: Tensor) -> Tensor:
        functional.reset_net(module)
        logits: Tensor = module(x.unsqueeze(0).repeat(STEPS, 1, 1, 1, 1)).mean(0)
        return logits

    foreign.train(
        module,
        logits_of,
        data=DATA,
        epochs=given.epochs,
        learning_rate=LEARNING_RATE,
        seed=given.seed,
    )
    foreign.save(module, given.output)


if __name__ == "__main__":
    main()
