r"""Train a CTSN of the dynamic form on event recordings: T = 10, simulated N-MNIST.

    python -m examples.event_recordings out/simulated-nmnist
    python -m examples.train_events out/simulated-nmnist

The recordings are **simulated** from MNIST (see `event_recordings.py`); a folder with the real
N-MNIST, `Train` and `Test`, trains in the same way. Needs `pip install 'trispike[events]'`. The
result has the published parameter names, so that

    trispike convert out/ctsn_events.pth --arch ctsn-vgg6 --steps 10 --form dynamic \
        --data out/simulated-nmnist/Test

reads it like any other. Two input channels tell that the network takes frames.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import torch

from examples.training import Recipe, report, train
from trispike.nn import ARCHITECTURES, SpikeModel, build_model, save_checkpoint
from trispike.nn.models import VGGPlan
from trispike.runtime.data import Binning, Samples, load_data

ARCHITECTURE = "ctsn-vgg6"
LAYOUT = (16, "M", 32, 32, "M", 64, 64)
"""Half as wide as the architecture: a file says its widths by itself."""
STEPS = 10
SHAPE = (2, 34, 34)
SURROGATE = "atan"
RECIPE = Recipe(epochs=3, batch=50, learning_rate=1e-2, tmpr=0.01, initial_norm=1.0)
"""Lambda of TMPR as published for events."""


def frames(folder: Path, samples: int | None) -> Samples:
    """Count frames of recordings, (N, T, 2, H, W), as float32, and their classes."""
    data = load_data(str(folder), samples=samples, binning=Binning(frames=STEPS))
    if data.y is None:
        raise SystemExit(f"{folder} has no class folders, 0 to 9")
    return Samples(data.x.astype(np.float32), data.y)


def model() -> SpikeModel:
    """The network before it is trained."""
    plan = ARCHITECTURES[ARCHITECTURE].plan
    assert isinstance(plan, VGGPlan)
    return build_model(
        ARCHITECTURE,
        steps=STEPS,
        form="dynamic",
        surrogate=SURROGATE,
        input_shape=SHAPE,
        input_kind="frames",
        plan=dataclasses.replace(plan, layout=LAYOUT),
    )


def main() -> None:
    """Train, report, save."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path, help="with Train and Test, as N-MNIST has them")
    parser.add_argument("--output", type=Path, default=Path("out/ctsn_events.pth"))
    parser.add_argument("--epochs", type=int, default=RECIPE.epochs)
    parser.add_argument("--samples", type=int, help="only the first so many of each part")
    parser.add_argument("--seed", type=int, default=RECIPE.seed)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()

    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    data = (
        frames(given.folder / "Train", given.samples),
        frames(given.folder / "Test", given.samples),
    )
    network = model()
    train(
        network,
        data,
        dataclasses.replace(RECIPE, epochs=given.epochs, seed=given.seed),
        lambda batch: batch,
        checkpoint=given.output.with_suffix(".checkpoint"),
    )
    report(network, torch.from_numpy(data[1].x[:100]))
    given.output.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(network, given.output)
    print(f"saved {given.output} ({given.output.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
