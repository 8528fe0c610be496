"""Train a CTSN VGG-style network on Fashion-MNIST: T = 4, TMPR, 0.28 million weights.

    python -m examples.train_fashion_mnist --fast

The data are fetched with apt (see `trispike.runtime.data`). Training took 73 minutes with
`--threads 2` on two cores beside other work; it goes on where it was interrupted. It ended at
91.54 % of the test images, with the network that lies in `examples/networks/`, of whose neurons
about 5 % fire at a time step. `--start` goes on from a trained network. The result has the
published parameter names, so that

    trispike convert out/ctsn_fashion_mnist.pth --arch ctsn-vgg6 --steps 4 --form static

reads it like any other.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch

from examples.training import Recipe, mirrored, report, train
from trispike.nn import build_model, load_checkpoint, save_checkpoint
from trispike.runtime.data import load_data

ARCHITECTURE = "ctsn-vgg6"
STEPS = 4
SURROGATE = "atan"
"""Of the spikes' derivative. With its long tails, neurons that never fire learn, too."""
RECIPE = Recipe(epochs=40, warmup_epochs=29)
TUNING = Recipe(epochs=4, learning_rate=2e-3)
"""To go on from a trained network."""


def main() -> None:
    """Train, report, save."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--output", type=Path, default=Path("out/ctsn_fashion_mnist.pth"))
    parser.add_argument("--start", type=Path, help="go on from this network, at a lower rate")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seed", type=int, default=RECIPE.seed)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--fast", action="store_true", help="bfloat16 and torch.compile")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    train_data, test_data = (load_data(f"fashion-mnist:{part}") for part in ("train", "test"))
    model = build_model(ARCHITECTURE, steps=STEPS, form="static", surrogate=SURROGATE)
    if arguments.start:
        trained = load_checkpoint(arguments.start, ARCHITECTURE, steps=STEPS)
        model.load_state_dict(trained.state_dict())
    recipe = TUNING if arguments.start else RECIPE
    train(
        model,
        (train_data, test_data),
        dataclasses.replace(recipe, epochs=arguments.epochs or recipe.epochs, seed=arguments.seed),
        mirrored,
        checkpoint=arguments.output.with_suffix(".checkpoint"),
        fast=arguments.fast,
        fresh=arguments.start is None,
    )
    report(model, torch.from_numpy(test_data.x[:1000]))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(model, arguments.output)
    print(f"saved {arguments.output} ({arguments.output.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
