"""Neurons that fire at most once (time to first spike), with weighted decoding, on digits.

    python -m examples.methods.ttfs

Standardized convolutions, average pooling, integrate-and-fire neurons that send one spike at most,
and a readout in which the time step t weighs base**-t, with a trained base. About two minutes on
one core.
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
from trispike.nn.models import TTFSPlan

ARCHITECTURE = "ttfs-vgg6"
DATA = "digits"
STEPS = 6
WIDTHS = (16, "M", 32, 32, "M", 64, 64)
"""Half the published widths: a checkpoint of 280 kB."""
RECIPE = Recipe(
    epochs=30,
    batch=50,
    learning_rate=5e-3,
    scalar_rate=1.0,
    loss="cross-entropy",
    weight_decay=0.02,
)


def fresh_model(surrogate: str = "triangle") -> SpikeModel:
    """The network with initial weights."""
    plan = architecture(ARCHITECTURE).plan
    assert isinstance(plan, TTFSPlan)
    narrow = TTFSPlan(vgg=dataclasses.replace(plan.vgg, layout=WIDTHS))
    return build_model(
        ARCHITECTURE, steps=STEPS, input_shape=(1, 8, 8), plan=narrow, surrogate=surrogate
    )


def convert(checkpoint: Path, samples: npt.NDArray[Any]) -> Conversion:
    """Fold, and prove equal."""
    module = load_checkpoint(checkpoint, ARCHITECTURE, steps=STEPS, input_shape=(1, 8, 8))
    return trispike.convert(module, samples)


METHOD = Method(
    name="ttfs",
    title="TTFS, one spike per neuron (VGG)",
    data=DATA,
    checkpoint=NETWORKS / "ttfs_digits.pth",
    convert=convert,
    note="No neuron fires twice in an inference; the readout weighs time steps with base**-t.",
)


def main() -> None:
    """Train, report, save."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--output", type=Path, default=Path("out/ttfs_digits.pth"))
    parser.add_argument("--epochs", type=int, default=RECIPE.epochs)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    recipe = dataclasses.replace(RECIPE, epochs=options.epochs, seed=options.seed)
    data, model = load_split(DATA), fresh_model()
    train(
        model,
        data,
        recipe,
        partial(shifted, pixels=1),
        checkpoint=options.output.with_suffix(".checkpoint"),
        fresh=False,
    )
    report(model, torch.from_numpy(data[1].x))
    assert model.readout is not None
    print("time weights", model.readout.weights().tolist())
    options.output.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(model, options.output)
    print(f"saved {options.output} ({options.output.stat().st_size / 1000:.0f} kB)")


if __name__ == "__main__":
    main()
