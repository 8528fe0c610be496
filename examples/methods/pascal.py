"""A QCFS network on Fashion-MNIST, and its exact conversion to spikes (PASCAL).

    python -m examples.methods.pascal

An ordinary network is trained, whose activations have L = 4 levels; an image goes through it once.
The conversion makes one population of each activation, which first integrates and then fires as
many spikes as the activation's level: 20 time steps for five activations. At the end the class of
every test image is compared between the two, of which not one may differ.

Training took 12 minutes of one core. It ended at 92.55 % of the test images, with the network that
lies in `examples/networks/`.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

import trispike
from examples.methods.common import NETWORKS, Method
from examples.training import load_split, mirrored
from trispike import Conversion
from trispike.nn import QCFSNetwork, build_qcfs, load_qcfs_checkpoint, save_checkpoint
from trispike.runtime.data import Samples

ARCHITECTURE = "qcfs-vgg6"
LEVELS = 4
THRESHOLD = 2.0
"""Initial one: after a batch norm, most of the signal lies below it."""
CHECKPOINT = NETWORKS / "pascal_fashion_mnist.pth"


def train(
    model: QCFSNetwork, data: tuple[Samples, Samples], *, epochs: int, learning_rate: float
) -> None:
    """Train a network of QCFS activations in place, as any network is trained.

    Args:
        model: To train.
        data: Images to learn from, and held-out ones to report the accuracy of.
        epochs: Passes over the training images.
        learning_rate: Highest one of the one-cycle schedule.
    """
    (images, labels), (test_images, test_labels) = (
        (torch.from_numpy(part.x).float(), torch.from_numpy(part.y)) for part in data
    )
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.02)
    batches = -(-len(images) // 100)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=epochs * batches, pct_start=0.2
    )
    started = time.monotonic()
    for epoch in range(1, epochs + 1):
        model.train()
        total = 0.0
        for chosen in torch.split(torch.randperm(len(images)), 100):
            loss = nn.functional.cross_entropy(model(mirrored(images[chosen])), labels[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += loss.item()
        right = int((predictions(model, test_images) == test_labels).sum())
        print(
            f"epoch {epoch:3d}/{epochs}  loss {total / batches:.4f}  "
            f"test accuracy {right / len(test_labels):.2%}  {time.monotonic() - started:.0f} s",
            flush=True,
        )


@torch.no_grad()
def predictions(model: nn.Module, images: Tensor) -> Tensor:
    """Classes, (N,)."""
    model.eval()
    return torch.cat([model(batch).argmax(1) for batch in torch.split(images, 250)])


def convert(checkpoint: Path, images: npt.NDArray[Any]) -> Conversion:
    """The float network with its proof."""
    module = load_qcfs_checkpoint(checkpoint, ARCHITECTURE, levels=LEVELS)
    return trispike.convert(module, images)


def differing(checkpoint: Path, images: npt.NDArray[Any]) -> int:
    """How many images the trained network, in float64, and the spiking network tell differently."""
    module = load_qcfs_checkpoint(checkpoint, ARCHITECTURE, levels=LEVELS).double()
    network = convert(checkpoint, images[:32]).network
    spiking = trispike.simulate(network, images).predictions
    own = predictions(module, torch.from_numpy(images.astype(np.float64))).numpy()
    return int((own != spiking).sum())


METHOD = Method(
    name="pascal",
    title="PASCAL: QCFS VGG-6, L = 4",
    data="fashion-mnist",
    checkpoint=CHECKPOINT,
    convert=convert,
    note="The float network predicts what the trained one does, for every test image.",
)


def main() -> None:
    """Train, save, convert, compare."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--output", type=Path, default=CHECKPOINT)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    data = load_split(METHOD.data)
    model = build_qcfs(ARCHITECTURE, levels=LEVELS, threshold=THRESHOLD)
    train(model, data, epochs=options.epochs, learning_rate=1e-2)
    for name, activation in model.activations().items():
        print(f"{name:16s} threshold {activation.thresh.item():.3f}")
    save_checkpoint(model, options.output)
    print(f"saved {options.output} ({options.output.stat().st_size / 1e3:.0f} kB)")
    images = data[1].x
    count = differing(options.output, images)
    print(f"{count} of {len(images)} test images are told differently by the spiking network")


if __name__ == "__main__":
    main()
