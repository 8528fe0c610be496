"""What the examples of other libraries share: a plain loop, and a state dict as a file."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from examples.training import load_split, shifted
from trispike.network.files import whole_file
from trispike.nn.weight_files import read_weights

BATCH = 50
"""Images per update."""


def train(
    module: nn.Module,
    logits_of: Callable[[Tensor], Tensor],
    *,
    data: str,
    epochs: int,
    learning_rate: float,
    seed: int,
) -> None:
    """Train a module in place with cross entropy, reporting every epoch.

    Args:
        module: To train.
        logits_of: From images (N, C, H, W) to logits (N, classes), with states reset before.
        data: Name for ``load_split``.
        epochs: Passes over the training images.
        learning_rate: Highest one of the one-cycle schedule.
        seed: Of the order of images and their shifts.
    """
    torch.manual_seed(seed)
    (images, labels), (test_images, test_labels) = (
        (torch.from_numpy(part.x).float(), torch.from_numpy(part.y)) for part in load_split(data)
    )
    optimizer = torch.optim.AdamW(module.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=epochs * -(-len(images) // BATCH), pct_start=0.2
    )
    started = time.monotonic()
    for epoch in range(1, epochs + 1):
        module.train()
        total = 0.0
        for chosen in torch.randperm(len(images)).split(BATCH):
            batch = shifted(images[chosen], pixels=1)
            loss = F.cross_entropy(logits_of(batch), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(chosen)
        module.eval()
        with torch.no_grad():
            right = (logits_of(test_images).argmax(1) == test_labels).float().mean().item()
        print(
            f"epoch {epoch:3d}/{epochs}  loss {total / len(images):.4f}  "
            f"test accuracy {right:.2%}  {time.monotonic() - started:.0f} s",
            flush=True,
        )


def options(description: str, output: Path, epochs: int) -> argparse.Namespace:
    """Of a training command, with torch's threads and seed set."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--output", type=Path, default=output)
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    return given


def save(module: nn.Module, path: Path) -> None:
    """Write a module's state dict."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        torch.save(module.state_dict(), file)
    print(f"saved {path} ({path.stat().st_size / 1000:.0f} kB)")


def loaded(module: nn.Module, path: Path) -> nn.Module:
    """The module with the state dict of a file, for evaluation."""
    module.load_state_dict(dict(read_weights(path).tensors))
    return module.eval()
