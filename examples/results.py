"""What quantization costs: accuracy, agreement and energy of the trained networks at every width.

    python -m examples.results                       # post-training, all networks at hand
    python -m examples.results --finetune 4 2        # and fine-tuned to 4 and to 2 bits
    python -m examples.results --only digits --bits 8 2

Every figure is kept in `out/results.json` as soon as it is there, and not measured again; the
tables go to `docs/results.md`, between its markers. Fine-tuning goes on where it was interrupted.
Delete the file after a change of the quantizer: figures are known by their network only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

import trispike
from examples.training import load_split
from trispike.network import FloatNetwork, IntegerNetwork, digest
from trispike.network.files import whole_file
from trispike.nn import SpikeModel, load_checkpoint
from trispike.quantize import Granularity
from trispike.quantize.finetune import Augment, Settings, finetune, mirrored

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "results.md"
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"

BITS = (8, 6, 4, 3, 2)
GRANULARITIES: tuple[Granularity, ...] = ("channel", "layer")
CALIBRATION = 256
"""Training samples that scales are chosen on."""
COMPARED = 256
"""Test samples on which spikes are compared one by one."""
COLUMNS = (
    *("weights", "scale per", "", "accuracy", "against float", "spikes alike"),
    *("SOP per inference", "energy (loihi1)", "weights take"),
)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained network; its key names the data."""

    title: str
    checkpoint: Path
    arch: str
    epochs: int
    """Of fine-tuning."""
    epochs_of_two_bits: int = 0
    """Of fine-tuning to two bits, where that takes more."""
    augment: Augment | None = None
    """Applied while fine-tuning."""
    held_out: float = 0.1
    """Share of the training data by which the best epoch of fine-tuning is chosen."""
    steps: int = 4

    def epochs_of(self, bits: int) -> int:
        """Epochs of fine-tuning to so many bits."""
        return max(self.epochs, self.epochs_of_two_bits if bits == 2 else 0)

    def model(self) -> SpikeModel:
        """The module with its weights."""
        return load_checkpoint(self.checkpoint, self.arch, steps=self.steps)


NETWORKS: Mapping[str, Trained] = {
    "digits": Trained(
        title="Digits (8x8), CTSN ResNet-8",
        checkpoint=ROOT / "trispike" / "demo" / "ctsn_digits.pth",
        arch="ctsn-resnet8",
        epochs=30,
    ),
    "fashion-mnist": Trained(
        title="Fashion-MNIST (28x28), CTSN VGG-6",
        checkpoint=ROOT / "examples" / "networks" / "ctsn_fashion_mnist.pth",
        arch="ctsn-vgg6",
        epochs=2,
        augment=mirrored,
        held_out=0.05,
    ),
    "cifar10": Trained(
        title="CIFAR-10 (32x32), CTSN VGG-6",
        checkpoint=ROOT / "examples" / "networks" / "ctsn_cifar10.pth",
        arch="ctsn-vgg6",
        epochs=2,
        epochs_of_two_bits=8,
        augment=mirrored,
        held_out=0.05,
    ),
}


class Store:
    """Figures by key, on disk after each.

    Args:
        path: A JSON file; read if it is there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def get(self, key: str, measure: Callable[[], Any]) -> Any:
        """The figure of that key, measured if it is not there yet."""
        if key not in self.values:
            print(f"{key} ...", flush=True)
            self.values[key] = measure()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(self.path) as part:
                part.write_text(json.dumps(self.values, indent=1))
        return self.values[key]


class Study:
    """One trained network, in float and in integers of several widths.

    Args:
        name: Key of ``NETWORKS``.
        store: What was measured already.
        folder: For the networks and checkpoints of fine-tuning.
    """

    def __init__(self, name: str, store: Store, folder: Path) -> None:
        self.name = name
        self.trained = NETWORKS[name]
        self.store = store
        self.folder = folder
        self.train, self.test = load_split(name)
        self.network: FloatNetwork = trispike.convert(
            self.trained.model(), self.test.x[:16]
        ).network
        self.identity = digest(self.network)[:12]

    def key(self, *words: object) -> str:
        """Of a figure: it is of this network and no other."""
        return " ".join(map(str, (self.name, self.identity, *words)))

    def float_figures(self) -> dict[str, Any]:
        """Accuracy of the float network."""
        return dict(self.store.get(self.key("float"), self._float))

    def post_training(self, bits: int, granularity: Granularity) -> dict[str, Any]:
        """Figures of one width, without any training."""

        def measure() -> dict[str, Any]:
            return self._figures(self._quantized(bits, granularity).network)

        return dict(self.store.get(self.key("post-training", bits, granularity), measure))

    def fine_tuned(self, bits: int) -> dict[str, Any]:
        """Figures of one width after fine-tuning on the training data, one scale per channel."""
        return dict(self.store.get(self.key("fine-tuned", bits), lambda: self._fine_tuned(bits)))

    def _float(self) -> dict[str, Any]:
        result = trispike.simulate(self.network, self.test.x, self.test.y)
        return {"accuracy": result.accuracy, "samples": len(self.test.y)}

    def _quantized(self, bits: int, granularity: Granularity) -> trispike.Quantization:
        some = slice(CALIBRATION)
        return trispike.quantize(
            self.network,
            self.train.x[some],
            self.train.y[some],
            weight_bits=bits,
            granularity=granularity,
        )

    def _fine_tuned(self, bits: int) -> dict[str, Any]:
        self.folder.mkdir(parents=True, exist_ok=True)
        stem = self.folder / f"{self.name}-{bits}bit"
        tuned = finetune(
            self.network,
            self._quantized(bits, "channel"),
            self.train.x,
            self.train.y,
            validation=self.trained.held_out,
            settings=Settings(epochs=self.trained.epochs_of(bits)),
            augment=self.trained.augment,
            checkpoint=stem.with_suffix(".checkpoint"),
            report=lambda epoch: print(
                f"  epoch {epoch.epoch}: validation {epoch.validation_accuracy:.2%}, "
                f"{epoch.seconds:.0f} s",
                flush=True,
            ),
            fast=self.trained.augment is not None,  # small ones are done before the compiler is
        )
        trispike.save(tuned.network, stem.with_suffix(".safetensors"))
        return self._figures(tuned.network) | {"epochs": self.trained.epochs_of(bits)}

    def _figures(self, integer: IntegerNetwork) -> dict[str, Any]:
        result = trispike.simulate(integer, self.test.x, self.test.y)
        estimate = trispike.estimate(result)
        samples = len(self.test.y)
        return {
            "accuracy": result.accuracy,
            "operations": result.ledger.synaptic_operations / samples,
            "joules": estimate.energy_per_inference_joules,
            "kibibytes": weight_bits_of(integer) / 8 / 1024,
            "agreement": self._agreement(integer),
        }

    def _agreement(self, integer: IntegerNetwork) -> dict[str, float]:
        """By population, the share of neurons and steps at which both networks do the same."""
        x = self.test.x[:COMPARED]
        of_float, of_integer = (
            trispike.simulate(network, x, record="all").records
            for network in (self.network, integer)
        )
        return {
            name: float(np.mean(of_float[name]["s"] == of_integer[name]["s"]))
            for name in integer.order
        }


def weight_bits_of(network: IntegerNetwork) -> int:
    """Bits that all weights take, each stored once."""
    return sum(_size(c.operator) * c.bits for c in network.all_connections)


def _size(operator: Any) -> int:
    weight: npt.NDArray[Any] = operator.weight
    return int(weight.size)


def section(study: Study, bits: tuple[int, ...], finetune_bits: tuple[int, ...]) -> list[str]:
    """The tables of one network, in Markdown."""
    base = study.float_figures()
    lines = [
        f"### {study.trained.title}",
        "",
        f"Float: {base['accuracy']:.2%} of {base['samples']:,} test images.",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|--:|---|---|" + "--:|" * (len(COLUMNS) - 3),
    ]
    layers: dict[str, Mapping[str, float]] = {}
    for width in bits:
        for granularity in GRANULARITIES:
            figures = study.post_training(width, granularity)
            lines.append(_row(width, granularity, "post-training", figures, base))
            if granularity == "channel":
                layers[f"{width} bit"] = figures["agreement"]
        if width in finetune_bits:
            figures = study.fine_tuned(width)
            what = f"fine-tuned, {figures['epochs']} epochs"
            lines.append(_row(width, "channel", what, figures, base))
            layers[f"{width} bit, fine-tuned"] = figures["agreement"]
    lines += ["", "Spikes alike, layer by layer (scale per channel):", ""]
    lines += ["| layer | " + " | ".join(layers) + " |", "|---|" + "--:|" * len(layers)]
    for name in next(iter(layers.values())):
        shares = " | ".join(f"{agreement[name]:.2%}" for agreement in layers.values())
        lines.append(f"| `{name}` | {shares} |")
    return [*lines, ""]


def _row(
    bits: int,
    granularity: str,
    what: str,
    figures: Mapping[str, Any],
    base: Mapping[str, Any],
) -> str:
    alike = float(np.mean(list(figures["agreement"].values())))
    return (
        f"| {bits} bit | {granularity} | {what} | {figures['accuracy']:.2%} "
        f"| {100 * (figures['accuracy'] - base['accuracy']):+.2f} | {alike:.2%} "
        f"| {figures['operations'] / 1e6:.3g} M | {figures['joules'] * 1e6:.3g} µJ "
        f"| {figures['kibibytes']:.0f} KiB |"
    )


def versions_and_machine() -> str:
    """What the figures were measured with."""
    versions = f"torch {torch.__version__} and numpy {np.__version__}"
    return f"{versions} on {os.cpu_count()} processors ({platform.machine()})"


def write_page(tables: list[str], path: Path = PAGE, begin: str = BEGIN, end: str = END) -> None:
    """Put tables between two markers of the page."""
    page = path.read_text(encoding="utf-8")
    before, after = page.split(begin)[0], page.split(end)[1]
    with whole_file(path) as part:
        part.write_text("\n".join([before + begin, "", *tables, end]) + after, encoding="utf-8")


def main() -> None:
    """Measure what is missing, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", nargs="+", choices=NETWORKS, metavar="NAME")
    parser.add_argument("--bits", nargs="+", type=int, choices=BITS, default=BITS)
    parser.add_argument("--finetune", nargs="+", type=int, choices=BITS, default=())
    parser.add_argument("--output", type=Path, default=Path("out"))
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    store = Store(options.output / "results.json")
    names = options.only or [n for n, net in NETWORKS.items() if net.checkpoint.exists()]
    words = " ".join(
        ["python -m examples.results"]
        + ([f"--only {' '.join(options.only)}"] if options.only else [])
        + ([f"--bits {' '.join(map(str, options.bits))}"] if options.bits != BITS else [])
        + ([f"--finetune {' '.join(map(str, options.finetune))}"] if options.finetune else [])
    )
    tables = [f"`{words}`, with {versions_and_machine()}.", ""]
    for name in names:
        study = Study(name, store, options.output / "results")
        tables += section(study, tuple(options.bits), tuple(options.finetune))
    write_page(tables, options.page)
    print(f"written: {options.page}")


if __name__ == "__main__":
    main()
