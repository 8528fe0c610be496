"""Temporal reversed training (TRT) on simulated event recordings of digits.

    python -m examples.methods.trt
    python -m examples.methods.trt --compare --seeds 0 1 2

The digits of scikit-learn, looked at by the simulated camera of `examples/event_recordings.py`, as
6 frames of event counts. The first command trains the stored network, which keeps the head that the
training needed; the second one trains with TRT, with its consistency alone, and without. About a
minute each on one core.
"""

from __future__ import annotations

import argparse
import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

import trispike
from examples.event_recordings import Camera, record
from examples.methods.common import NETWORKS, Method
from examples.methods.compared import compare
from examples.training import Recipe, accuracy, load_split, report, train
from trispike import Conversion
from trispike.network.files import whole_file
from trispike.nn import SpikeModel, architecture, build_model, load_checkpoint
from trispike.nn.models import VGGPlan
from trispike.runtime.data import Samples
from trispike.runtime.data.events import NMNIST_SENSOR, Binning, count_frames

ARCHITECTURE = "lif-vgg6"
DATA = "digits"
STEPS = 6
SHAPE = (2, 17, 17)
LAYOUT = (12, "M", 24, 24, "M", 48, 48)
RECIPE = Recipe(epochs=12, batch=50, learning_rate=5e-3, loss="trt", initial_norm=1.0)
STORED = "TRT"
VARIANTS = {
    "without": dataclasses.replace(RECIPE, loss="cross-entropy"),
    "TRT, consistency only": dataclasses.replace(RECIPE, star=0.0),
    STORED: RECIPE,
}


def frames(samples: Samples) -> Samples:
    """Simulated recordings of 8x8 images, as (N, T, 2, 17, 17) counts of events."""
    images = samples.x[:, 0].astype(np.float64).repeat(3, axis=1).repeat(3, axis=2)
    recordings = record(np.pad(images, ((0, 0), (2, 2), (2, 2))), Camera(), seed=0)
    binning = Binning(frames=STEPS)
    counts = np.stack([count_frames(events, binning, NMNIST_SENSOR) for events in recordings])
    count, steps, polarities, height, width = counts.shape
    blocks = counts.reshape(count, steps, polarities, height // 2, 2, width // 2, 2)
    return Samples(blocks.sum(axis=(4, 6)).astype(np.float32), samples.y)


def fresh_model() -> SpikeModel:
    """The network with initial weights."""
    plan = architecture(ARCHITECTURE).plan
    assert isinstance(plan, VGGPlan)
    return build_model(
        ARCHITECTURE,
        steps=STEPS,
        plan=dataclasses.replace(plan, layout=LAYOUT),
        input_shape=SHAPE,
        input_kind="frames",
        surrogate="triangle",
    )


def trained(
    recipe: Recipe, data: tuple[Samples, Samples], checkpoint: Path
) -> tuple[SpikeModel, nn.Module | None]:
    """A network, and the head that was trained beside it."""
    torch.manual_seed(recipe.seed)
    model = fresh_model()
    head = train(model, data, recipe, lambda batch: batch, checkpoint=checkpoint)
    return model, head


def save(model: SpikeModel, head: nn.Module | None, path: Path) -> None:
    """Everything that was trained, in one file, as training loops save it."""
    weights = dict(model.state_dict())
    if head is not None:
        weights |= {f"aux_head.{key}": value for key, value in head.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        torch.save(weights, part)


def convert(path: Path, samples: npt.NDArray[Any]) -> Conversion:
    """Fold, and prove equal; the head is left out by name."""
    module = load_checkpoint(
        path, ARCHITECTURE, steps=STEPS, input_shape=SHAPE, ignore=("aux_head.*",)
    )
    return trispike.convert(module, samples)


METHOD = Method(
    name="trt",
    title="TRT: temporal reversed training, simulated event frames (VGG-6)",
    data=DATA,
    checkpoint=NETWORKS / "trt_digits.pth",
    convert=convert,
    prepare=frames,
    note="Simulated event recordings of the digits; the checkpoint's training head is ignored by "
    "name. With and without TRT in docs/trt.md.",
)


def main() -> None:
    """Train, report, save; or compare."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--output", type=Path, default=Path("out/trt_digits.pth"))
    parser.add_argument("--compare", action="store_true", help="all variants; saves nothing")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, default=RECIPE.epochs)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    learnt, test = load_split(DATA)
    data = frames(learnt), frames(test)
    images, labels = torch.from_numpy(data[1].x), torch.from_numpy(data[1].y)
    kept = options.output.with_suffix(".checkpoint")

    def score(recipe: Recipe, seed: int) -> float:
        chosen = dataclasses.replace(recipe, epochs=options.epochs, seed=seed)
        return accuracy(trained(chosen, data, kept)[0], images, labels)

    if options.compare:
        print(
            "\n".join(compare({n: partial(score, r) for n, r in VARIANTS.items()}, options.seeds))
        )
        return
    recipe = dataclasses.replace(RECIPE, epochs=options.epochs, seed=options.seeds[0])
    model, head = trained(recipe, data, kept)
    report(model, images[:100])
    save(model, head, options.output)
    print(f"saved {options.output} ({options.output.stat().st_size / 1000:.0f} kB)")


if __name__ == "__main__":
    main()
