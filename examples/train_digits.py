"""Train the demo network: a CTSN residual network that reads handwritten digits.

    python -m examples.train_digits

It takes under two minutes and writes a checkpoint with the published parameter names, which
`trispike convert` reads like any other. The one in the package was made by

    python -m examples.train_digits --output trispike/demo/ctsn_digits.pth

Another processor or another release of PyTorch may add numbers in another order, and then ends in
a slightly different network.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from torch import nn

from examples.training import accuracy, report, shifted
from trispike.nn import SpikeModel, build_model, record_potentials, save_checkpoint, tmpr_loss
from trispike.runtime.data import load_digits_split

ARCHITECTURE = "ctsn-resnet8"
STEPS = 4
EPOCHS = 50
BATCH = 64
LEARNING_RATE = 0.01
WEIGHT_DECAY = 5e-4
TMPR_LAMBDA = 0.5
INITIAL_NORM = 0.3
"""Initial scale of every batch norm. From 1, two neurons in three would fire at every step."""


def main() -> None:
    """Train, report, save."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--output", type=Path, default=Path("out/ctsn_digits.pth"))
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    started = time.monotonic()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(1)  # two gain little here, and would make sums depend on their number
    torch.use_deterministic_algorithms(True)
    split = load_digits_split()
    images, labels = torch.from_numpy(split.train.x), torch.from_numpy(split.train.y)
    test_images, test_labels = torch.from_numpy(split.test.x), torch.from_numpy(split.test.y)

    model = fresh_model()
    steps_per_epoch = -(-len(images) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=arguments.epochs * steps_per_epoch, pct_start=0.1
    )
    for epoch in range(1, arguments.epochs + 1):
        model.train()
        total = 0.0
        for chosen in torch.randperm(len(images)).split(BATCH):
            with record_potentials(model) as potentials:
                logits = model(shifted(images[chosen], 1))
            loss = tmpr_loss(logits, labels[chosen], potentials.values(), TMPR_LAMBDA)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(chosen)
        if epoch % 5 == 0 or epoch == arguments.epochs:
            print(
                f"epoch {epoch:3d}/{arguments.epochs}"
                f"  loss {total / len(images):.4f}"
                f"  test accuracy {accuracy(model, test_images, test_labels):.2%}"
                f"  {time.monotonic() - started:.0f} s",
                flush=True,
            )
    report(model, test_images)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(model, arguments.output)
    print(f"saved {arguments.output} ({arguments.output.stat().st_size / 1000:.0f} kB)")


def fresh_model() -> SpikeModel:
    """The network with initial weights."""
    model = build_model(ARCHITECTURE, steps=STEPS, form="static")
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            nn.init.constant_(module.weight, INITIAL_NORM)
    return model


if __name__ == "__main__":
    main()
