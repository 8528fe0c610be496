"""Trained initial membrane potentials (IMP), read at the last time step (LTS), on digits.

    python -m examples.methods.imp
    python -m examples.methods.imp --compare --seeds 0 1 2

The first command trains the stored network, the second one all variants: with and without trained
potentials, with the mean of all steps and with the last one as readout, with TET-S as loss. About a
minute each on one core.
"""

from __future__ import annotations

import argparse
import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch

import trispike
from examples.methods.common import NETWORKS, Method
from examples.methods.compared import compare
from examples.training import Loss, Recipe, accuracy, load_split, report, shifted, train
from trispike import Conversion
from trispike.nn import (
    IMPNeuron,
    SpikeModel,
    architecture,
    build_model,
    load_checkpoint,
    save_checkpoint,
)
from trispike.nn.models import IMPPlan, VGGPlan

ARCHITECTURE = "imp-vgg6"
DATA = "digits"
STEPS = 4
LAYOUT = (16, "M", 32, 32, "M", 64, 64)
"""Half as wide as the architecture."""
RECIPE = Recipe(epochs=20, batch=50, learning_rate=5e-3, loss="cross-entropy", initial_norm=1.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variant:
    """What is compared."""

    potentials: bool = True
    """Whether initial potentials are trained; otherwise they stay 0."""
    readout: str = "mean"
    """Which time steps are read."""
    loss: Loss = "cross-entropy"
    """What is made small."""


STORED = "IMP, last step (LTS)"
VARIANTS = {
    "no IMP, mean": Variant(potentials=False),
    "no IMP, last step": Variant(potentials=False, readout="last"),
    "IMP, mean": Variant(),
    STORED: Variant(readout="last"),
    "IMP, mean, TET-S": Variant(loss="tet-s"),
}


def fresh_model(variant: Variant) -> SpikeModel:
    """The network with initial weights."""
    plan = architecture(ARCHITECTURE).plan
    assert isinstance(plan, IMPPlan)
    assert isinstance(plan.layers, VGGPlan)
    narrow = dataclasses.replace(plan, layers=dataclasses.replace(plan.layers, layout=LAYOUT))
    model = build_model(
        ARCHITECTURE,
        steps=STEPS,
        plan=narrow,
        input_shape=(1, 8, 8),
        surrogate="triangle",
        readout=variant.readout,
    )
    if not variant.potentials:
        for neuron in model.modules():
            if isinstance(neuron, IMPNeuron):
                torch.nn.init.zeros_(neuron.init_state)
                neuron.init_state.requires_grad_(False)
    return model


def trained(name: str, seed: int, epochs: int, checkpoint: Path) -> SpikeModel:
    """A variant, trained."""
    variant = VARIANTS[name]
    torch.manual_seed(seed)
    model = fresh_model(variant)
    recipe = dataclasses.replace(RECIPE, epochs=epochs, seed=seed, loss=variant.loss)
    train(model, load_split(DATA), recipe, partial(shifted, pixels=1), checkpoint=checkpoint)
    return model


def convert(path: Path, samples: npt.NDArray[Any]) -> Conversion:
    """Fold, and prove equal."""
    module = load_checkpoint(path, ARCHITECTURE, steps=STEPS, readout="last")
    return trispike.convert(module, samples)


METHOD = Method(
    name="imp",
    title="IMP + LTS: trained initial potentials, last step (VGG-6)",
    data=DATA,
    checkpoint=NETWORKS / "imp_digits.pth",
    convert=convert,
    note="A potential per neuron, soft reset, the last of 4 steps as readout; beside networks "
    "without either in docs/imp.md.",
)


def main() -> None:
    """Train, report, save; or compare."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--output", type=Path, default=Path("out/imp_digits.pth"))
    parser.add_argument("--compare", action="store_true", help="all variants; saves nothing")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, default=RECIPE.epochs)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    test = load_split(DATA)[1]
    images, labels = torch.from_numpy(test.x), torch.from_numpy(test.y)
    kept = options.output.with_suffix(".checkpoint")
    if options.compare:

        def score(name: str, seed: int) -> float:
            return accuracy(trained(name, seed, options.epochs, kept), images, labels)

        print("\n".join(compare({n: partial(score, n) for n in VARIANTS}, options.seeds)))
        return
    model = trained(STORED, options.seeds[0], options.epochs, kept)
    report(model, images)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(model, options.output)
    print(f"saved {options.output} ({options.output.stat().st_size / 1000:.0f} kB)")


if __name__ == "__main__":
    main()
