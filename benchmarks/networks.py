"""What is measured: trained networks, and ResNet-19 with random weights at their firing rates.

Random weights stand for trained ones in what is measured here, time, as long as as many neurons
fire; so the rates are those of the trained networks, layer by layer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from sklearn.datasets import load_sample_images
from torch import Tensor, nn

from benchmarks.case import Case, Recipe, macs_per_sample
from trispike.errors import TrispikeError
from trispike.export import trace
from trispike.network import save
from trispike.nn import SpikeModel, SpikingNeuron, load_checkpoint, randomize
from trispike.nn.models.resnet import BasicBlock, ResNet
from trispike.quantize import quantize
from trispike.runtime.data import load_data
from trispike.runtime.ledger import Ledger
from trispike.runtime.reference import ReferenceEngine

Array: TypeAlias = npt.NDArray[Any]

STEPS = 4
CALIBRATION_SAMPLES = 4
"""Images that set the firing rates of random weights."""
LEAST_GAIN = 0.05
"""Of a layer's input, in units of its own deviation: less would leave a shortcut alone."""
FASHION_CHECKPOINTS = (
    "examples/networks/ctsn_fashion_mnist.pth",
    "out/ctsn_fashion_mnist.pth",
)
"""Where a trained network may lie, first wins."""


def prepare(
    folder: Path,
    *,
    name: str,
    title: str,
    recipe: Recipe,
    model: SpikeModel,
    inputs: Array,
    rate_samples: int,
) -> Case:
    """Quantize a module, measure the firing rates of the result, and write everything down.

    Args:
        folder: Where to.
        name: Name of the case.
        title: The same for readers.
        recipe: Builds the module again.
        model: The module, with weights.
        inputs: Real data, (N, C, H, W).
        rate_samples: Of how many samples the firing rates are taken.
    """
    folder.mkdir(parents=True, exist_ok=True)
    floats = trace(model, inputs.shape[1:], steps=model.steps).network
    network = quantize(floats, inputs[:CALIBRATION_SAMPLES]).network
    ledger = ReferenceEngine(network).run(inputs[:rate_samples]).ledger
    torch.save(model.state_dict(), folder / "module.pth")
    save(network, folder / "network.safetensors")
    np.save(folder / "inputs.npy", inputs.astype(np.float32))
    facts = {
        "name": name,
        "title": title,
        "recipe": asdict(recipe),
        "input_shape": list(network.input.shape),
        "steps": network.steps,
        "neurons": sum(p.size for p in network.populations.values()),
        "rates": firing_rates(ledger),
        "mean_rate": mean_rate(ledger),
        "dense_macs_per_sample": macs_per_sample(network),
        "synaptic_operations_per_sample": ledger.synaptic_operations / ledger.samples,
    }
    (folder / "case.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    return Case(folder)


def firing_rates(ledger: Ledger) -> dict[str, float]:
    """Spikes of either sign per neuron and step, by population."""
    return {name: ledger.firing_rate(name) for name in ledger.populations}


def mean_rate(ledger: Ledger) -> float:
    """Spikes of either sign per neuron and step, over all neurons."""
    updates = sum(int(p.updates.sum()) for p in ledger.populations.values())
    return ledger.spikes / max(1, updates)


def trained_cases(folder: Path, samples: int) -> Iterator[Case]:
    """The trained networks that are there, with real test data."""
    with as_file(files("trispike") / "demo" / "ctsn_digits.pth") as path:
        yield _trained(
            folder, "demo", "CTSN ResNet-8, digits 8x8 (trained)", "ctsn-resnet8", path, "digits"
        )
    found = next((Path(p) for p in FASHION_CHECKPOINTS if Path(p).is_file()), None)
    if found is None:
        return
    try:
        yield _trained(
            folder,
            "fashion",
            "CTSN VGG-6, Fashion-MNIST 28x28 (trained)",
            "ctsn-vgg6",
            found,
            "fashion-mnist",
            samples,
        )
    except TrispikeError as error:  # the data are not on this machine
        print(f"the network of Fashion-MNIST is left out: {error}")


def _trained(
    folder: Path,
    name: str,
    title: str,
    arch: str,
    checkpoint: Path,
    data: str,
    samples: int | None = None,
) -> Case:
    inputs = load_data(data).first(samples).x
    model = load_checkpoint(checkpoint, arch, steps=STEPS, form="static")
    return prepare(
        folder / name,
        name=name,
        title=title,
        recipe=Recipe(arch=arch, steps=STEPS),
        model=model,
        inputs=inputs,
        rate_samples=64,
    )


def random_case(
    folder: Path,
    *,
    name: str,
    title: str,
    arch: str,
    rates: Sequence[float],
    widths: tuple[int, ...] | None = None,
    samples: int = 16,
) -> Case:
    """A ResNet-19 for 32x32 images whose layers fire at given rates.

    Args:
        folder: Its own folder is made there.
        name: Name of the case.
        title: The same for readers.
        arch: ``ctsn-resnet19``, ``ternary-spike-resnet19`` or ``lif-resnet19``.
        rates: Spikes per neuron and step, from the first layer to the last one, as many as are
            known; those of the layers between are interpolated.
        widths: Channels per stage, if not as published.
        samples: Images to make.
    """
    recipe = Recipe(arch=arch, steps=STEPS, widths=widths)
    torch.manual_seed(0)
    model = recipe.build()
    randomize(model)
    inputs = photographs(samples)
    set_rates(model, torch.from_numpy(inputs[:CALIBRATION_SAMPLES]), rates)
    return prepare(
        folder / name,
        name=name,
        title=title,
        recipe=recipe,
        model=model,
        inputs=inputs,
        rate_samples=2,
    )


def photographs(samples: int, size: int = 32, shrink: int = 4) -> Array:
    """Square cut-outs of the two photographs that scikit-learn brings, (N, 3, size, size).

    They are shrunk so that they show more than a patch of sky, and normalized.
    """
    random = np.random.default_rng(0)
    pictures = [picture.astype(np.float32) / 255 for picture in load_sample_images().images]
    side, cuts = size * shrink, []
    for n in range(samples):
        picture = pictures[n % len(pictures)]
        y, x = (int(random.integers(limit - side)) for limit in picture.shape[:2])
        cut = picture[y : y + side, x : x + side]
        cuts.append(cut.reshape(size, shrink, size, shrink, 3).mean((1, 3)).transpose(2, 0, 1))
    return ((np.stack(cuts) - 0.5) / 0.25).astype(np.float32)


@torch.no_grad()
def set_rates(model: SpikeModel, images: Tensor, rates: Sequence[float]) -> None:
    """Scale the batch norms of a residual network so that its layers fire at given rates.

    Layer by layer, the statistics become those of the given images, and one gain per layer is
    found by bisection. Where a shortcut alone makes a layer fire more, that is what it does.

    Args:
        model: A residual network with a 3x3 stem, changed in place.
        images: (N, C, H, W).
        rates: As in :func:`random_case`.
    """
    net = model.model
    assert isinstance(net, ResNet)
    blocks = [m for m in net.modules() if isinstance(m, BasicBlock)]
    places = np.linspace(0, 1, 1 + 2 * len(blocks))
    targets = iter(np.interp(places, np.linspace(0, 1, len(rates)), rates).tolist())

    x = _normalized(net.bn1, net.conv1(images.unsqueeze(0).repeat(model.steps, 1, 1, 1, 1)))
    x = _tuned(net.relu, [net.bn1], x, None, next(targets))
    for block in blocks:
        y = _normalized(block.bn1, block.conv1(x))
        y = _tuned(block.relu1, [block.bn1], y, None, next(targets))
        y = _normalized(block.bn2, block.conv2(y))
        if block.downsample is None:
            x = _tuned(block.output_act, [block.bn2], y, x, next(targets))
            continue
        norm = block.downsample[-1]
        y = y + _normalized(norm, block.downsample[:-1](x))
        x = _tuned(block.output_act, [block.bn2, norm], y, None, next(targets))


def _norm(module: nn.Module) -> nn.BatchNorm2d | nn.BatchNorm3d:
    return next(m for m in module.modules() if isinstance(m, (nn.BatchNorm2d, nn.BatchNorm3d)))


def _normalized(module: nn.Module, x: Tensor) -> Tensor:
    """The norm's output, after its statistics have become those of x: (T, N, C, H, W)."""
    norm = _norm(module)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(x.mean((0, 1, 3, 4)))
    norm.running_var.copy_(x.var((0, 1, 3, 4)))
    y: Tensor = module(x)
    return y


def _tuned(
    neuron: nn.Module, norms: Sequence[nn.Module], x: Tensor, shortcut: Tensor | None, rate: float
) -> Tensor:
    """The neuron's spikes, after a gain of x has been found and multiplied into the norms."""
    assert isinstance(neuron, SpikingNeuron)

    def spikes(gain: float) -> Tensor:
        y: Tensor = neuron(gain * x if shortcut is None else gain * x + shortcut)
        return y

    gain = bisect(lambda g: float(spikes(g).count_nonzero()) / x.numel(), rate)
    for module in norms:
        norm = _norm(module)
        norm.weight.mul_(gain)
        norm.bias.mul_(gain)
    return spikes(gain)


def bisect(rate_at: Callable[[float], float], rate: float, halvings: int = 12) -> float:
    """The gain at which a rising function reaches ``rate``, at least ``LEAST_GAIN``."""
    low, high = LEAST_GAIN, 20.0
    for _ in range(halvings):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if rate_at(middle) < rate else (low, middle)
    return low
