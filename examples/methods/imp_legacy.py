"""The legacy network of IMP: strict threshold, a trained gain per time step (TEBN), on digits.

    python -m examples.methods.imp_legacy

About a minute on one core.
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
from examples.training import Recipe, load_split, report, shifted, train
from trispike import Conversion
from trispike.nn import SpikeModel, architecture, build_model, load_checkpoint, save_checkpoint
from trispike.nn.models import IMPPlan, VGGPlan

ARCHITECTURE = "imp-vgg6-legacy"
DATA = "digits"
STEPS = 4
LAYOUT = (16, "M", 32, 32, "M", 64, 64)
"""Half as wide as the architecture."""
RECIPE = Recipe(epochs=20, batch=50, learning_rate=5e-3, loss="tet-s", initial_norm=1.0)


def fresh_model() -> SpikeModel:
    """The network with initial weights."""
    plan = architecture(ARCHITECTURE).plan
    assert isinstance(plan, IMPPlan)
    assert isinstance(plan.layers, VGGPlan)
    narrow = dataclasses.replace(plan, layers=dataclasses.replace(plan.layers, layout=LAYOUT))
    return build_model(
        ARCHITECTURE, steps=STEPS, plan=narrow, input_shape=(1, 8, 8), surrogate="triangle"
    )


def convert(path: Path, samples: npt.NDArray[Any]) -> Conversion:
    """Fold, and prove equal."""
    return trispike.convert(load_checkpoint(path, ARCHITECTURE, steps=STEPS), samples)


METHOD = Method(
    name="imp_legacy",
    title="IMP, legacy variant: strict threshold, gains per step (TEBN), TET-S (VGG-6)",
    data=DATA,
    checkpoint=NETWORKS / "imp_legacy_digits.pth",
    convert=convert,
    note="Every population has a trained gain for each of the 4 steps.",
)


def main() -> None:
    """Train, report, save."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--output", type=Path, default=Path("out/imp_legacy_digits.pth"))
    parser.add_argument("--epochs", type=int, default=RECIPE.epochs)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    model, data = fresh_model(), load_split(DATA)
    recipe = dataclasses.replace(RECIPE, epochs=options.epochs, seed=options.seed)
    kept = options.output.with_suffix(".checkpoint")
    train(model, data, recipe, partial(shifted, pixels=1), checkpoint=kept)
    report(model, torch.from_numpy(data[1].x))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(model, options.output)
    print(f"saved {options.output} ({options.output.stat().st_size / 1000:.0f} kB)")


if __name__ == "__main__":
    main()
