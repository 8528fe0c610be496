"""Train any architecture of trispike on any data set that it fetches.

    python -m examples.train --arch lif-vgg6 --data fashion-mnist --loss tet --epochs 10
    torchrun --nproc-per-node 4 -m examples.train --arch ctsn-resnet19 --data cifar10 --device cuda

A small recipe to start from, not one that has been tuned for a data set; `train_fashion_mnist.py`
and `train_cifar10.py` hold those. It goes on where it was interrupted. The result has the published
parameter names: `trispike convert out/net.pth --arch ... --steps ...` reads it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, distributed

from examples.training import Loss, Recipe, is_first, load_split, mirrored, report, shifted, train
from trispike.nn import ARCHITECTURES, DEFAULT_SURROGATE, SURROGATES, build_model, save_checkpoint

DATA = ("digits", "mnist", "fashion-mnist", "cifar10")
LOSSES: tuple[Loss, ...] = ("tmpr", "cross-entropy", "tet", "tet-s", "trt")
PIXELS = {"digits": 1, "mnist": 2, "fashion-mnist": 0, "cifar10": 4}
"""By how many images are moved at random."""
MIRRORED = ("fashion-mnist", "cifar10")
"""Where left and right make no difference."""


def main() -> None:
    """Train, report, save."""
    options = _options()
    torch.set_num_threads(options.threads)
    recipe = Recipe(
        epochs=options.epochs,
        warmup_epochs=options.warmup_epochs,
        batch=options.batch,
        learning_rate=options.learning_rate,
        loss=options.loss,
        tmpr=options.tmpr,
        smoothing=options.label_smoothing,
        consistency=options.consistency,
        star=options.star,
        temperature=options.temperature,
        seed=options.seed,
    )
    data = load_split(options.data)
    torch.manual_seed(options.seed)
    model = build_model(
        options.arch,
        steps=options.steps,
        surrogate=options.surrogate,
        input_shape=data[0].x.shape[1:],
        classes=int(data[0].y.max()) + 1,
        readout=options.readout,
    )

    def augment(images: Tensor) -> Tensor:
        moved = shifted(images, PIXELS[options.data]) if PIXELS[options.data] else images
        return mirrored(moved) if options.data in MIRRORED else moved

    with _processes(options.device) as device:
        train(
            model,
            data,
            recipe,
            augment,
            checkpoint=options.output.with_suffix(".checkpoint"),
            device=device,
            fast=options.fast,
        )
        if is_first():
            report(model, torch.from_numpy(data[1].x[:256]))
            options.output.parent.mkdir(parents=True, exist_ok=True)
            save_checkpoint(model, options.output)
            print(f"saved {options.output} ({options.output.stat().st_size / 1e6:.1f} MB)")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--arch", required=True, choices=sorted(ARCHITECTURES), metavar="NAME")
    parser.add_argument("--data", required=True, choices=DATA)
    parser.add_argument("--steps", type=int, default=4, help="T")
    parser.add_argument("--loss", choices=LOSSES, default="tmpr")
    parser.add_argument("--tmpr", type=float, default=Recipe.tmpr, help="lambda of TMPR")
    parser.add_argument("--label-smoothing", type=float, default=Recipe.smoothing, help="of TET-S")
    parser.add_argument(
        "--consistency", type=float, default=Recipe.consistency, help="weight in TRT"
    )
    parser.add_argument(
        "--star", type=float, default=Recipe.star, help="weight of TRT's star product; 0: none"
    )
    parser.add_argument(
        "--temperature", type=float, default=Recipe.temperature, help="of TRT's consistency"
    )
    parser.add_argument(
        "--readout",
        metavar="STEPS",
        help="time steps that are read: mean (all), last, or chosen ones, such as 1,3",
    )
    parser.add_argument("--surrogate", choices=sorted(SURROGATES), default=DEFAULT_SURROGATE)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument(
        "--warmup-epochs",
        type=int,
        default=Recipe.warmup_epochs,
        help=f"the first so many epochs run {Recipe.warmup_steps} time steps only",
    )
    parser.add_argument("--batch", type=int, default=Recipe.batch)
    parser.add_argument("--learning-rate", type=float, default=Recipe.learning_rate)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--fast", action="store_true", help="bfloat16 and torch.compile")
    parser.add_argument("--output", type=Path, default=Path("out/net.pth"))
    options = parser.parse_args()
    if min(options.epochs, options.batch, options.steps, options.threads) < 1:
        parser.error("--epochs, --batch, --steps and --threads have to be at least 1")
    if not 0 <= options.warmup_epochs <= options.epochs:
        parser.error(f"--warmup-epochs is from 0 to --epochs, {options.epochs}")
    return options


@contextlib.contextmanager
def _processes(device: str) -> Iterator[str]:
    """Join the other processes, if ``torchrun`` has started this one; the device to use."""
    if "LOCAL_RANK" not in os.environ:
        yield device
        return
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if "cuda" in device else "gloo")
    try:
        yield device
    finally:
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
