"""Binary, ternary and hybrid networks of one shape, trained alike on the same digits.

    python -m examples.methods.hybrid
    python -m examples.methods.hybrid --only hybrid

Three residual networks with equal layers and recipe: LIF neurons throughout (spikes 0 and 1), CTSN
throughout (-1, 0 and 1), and a hybrid one whose layers on the large maps are LIF and whose later
ones are CTSN. About a minute each on one core. What the difference is worth, and what it costs,
`trispike compare` says: see docs/hybrid.md.
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
from trispike.nn import (
    NeuronKind,
    SpikeModel,
    architecture,
    build_model,
    load_checkpoint,
    save_checkpoint,
)
from trispike.nn.models import ResNetPlan

ARCHITECTURE = "ctsn-resnet8"
DATA = "digits"
STEPS = 4
WIDTHS = (12, 24, 48)
KINDS: dict[str, tuple[NeuronKind, ...]] = {
    "binary": ("lif",) * 7,
    "ternary": ("ctsn",) * 7,
    "hybrid": ("lif",) * 3 + ("ctsn",) * 4,
}
"""The neurons of every layer: the stem, and two for each of three blocks."""
RECIPE = Recipe(epochs=40, batch=50, learning_rate=1e-2, loss="tmpr")


def fresh_model(kinds: tuple[NeuronKind, ...]) -> SpikeModel:
    """The network with initial weights."""
    plan = architecture(ARCHITECTURE).plan
    assert isinstance(plan, ResNetPlan)
    narrow = dataclasses.replace(plan, widths=WIDTHS)
    return build_model(ARCHITECTURE, steps=STEPS, plan=narrow, neurons=kinds)


def checkpoint(name: str) -> Path:
    """Where a trained network of ``KINDS`` is."""
    return NETWORKS / f"{name}_digits.pth"


def convert(path: Path, samples: npt.NDArray[Any]) -> Conversion:
    """Fold the hybrid network, and prove equal."""
    module = load_checkpoint(path, ARCHITECTURE, steps=STEPS, neurons=KINDS["hybrid"])
    return trispike.convert(module, samples)


METHOD = Method(
    name="hybrid",
    title="Binary and ternary populations in one network (ResNet-8)",
    data=DATA,
    checkpoint=checkpoint("hybrid"),
    convert=convert,
    note="LIF in the first three layers of neurons, CTSN in the other four; beside a binary and a "
    "ternary network of the same shape in docs/hybrid.md.",
)


def main() -> None:
    """Train, report, save."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--folder", type=Path, default=Path("out"))
    parser.add_argument("--epochs", type=int, default=RECIPE.epochs)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = dataclasses.replace(RECIPE, epochs=options.epochs, seed=options.seed)
    data = load_split(DATA)
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        torch.manual_seed(options.seed)
        model = fresh_model(KINDS[name])
        output = options.folder / f"{name}_digits.pth"
        print(f"{name}: {', '.join(KINDS[name])}")
        kept = output.with_suffix(".checkpoint")
        train(model, data, recipe, partial(shifted, pixels=1), checkpoint=kept)
        report(model, torch.from_numpy(data[1].x))
        save_checkpoint(model, output)
        print(f"saved {output} ({output.stat().st_size / 1000:.0f} kB)")


if __name__ == "__main__":
    main()
