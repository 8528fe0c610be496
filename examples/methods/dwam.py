"""Run-time plasticity (DWAM, BCM): what it does to a network on digits that was damaged.

    python -m examples.methods.dwam --train
    python -m examples.methods.dwam

The first command trains a small dense network. The second damages its integer form in several ways,
lets it see unlabelled training images with a plasticity rule on its dense connections, and measures
spikes and accuracy on the test images, with the weights held still again. It prints every row, also
those in which the rule does harm. The rule is experimental: its source is known in part only.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

import trispike
from examples.methods import foreign
from examples.methods.common import NETWORKS, Method
from trispike import Conversion, IntegerNetwork, Plasticity
from trispike.network import Connection, Dense
from trispike.network.learning import can_be_plastic, with_learned
from trispike.nn import CTSN
from trispike.runtime.data import Samples
from trispike.runtime.set_points import with_set_points

DATA = "digits"
STEPS = 4
HIDDEN = (96, 64)
NORM_SCALE = 0.3
"""Initial scale of the batch norms. From 1, most neurons would fire at every step."""
EPOCHS = 40
LEARNING_RATE = 1e-2
CALIBRATION = 256
INPUT_RATE = 1 / 64
"""Learning rate of weights from the graded input, relative to those from spikes: their payloads
are larger by about as much."""

Array: TypeAlias = npt.NDArray[Any]


class DenseNetwork(nn.Module):
    """Two hidden layers of ternary neurons; takes (N, 1, 8, 8)."""

    steps = STEPS

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(64, HIDDEN[0]), nn.Linear(HIDDEN[0], HIDDEN[1])
        self.norm1, self.norm2 = nn.BatchNorm1d(HIDDEN[0]), nn.BatchNorm1d(HIDDEN[1])
        for norm in (self.norm1, self.norm2):
            nn.init.constant_(norm.weight, NORM_SCALE)
        self.first, self.second = CTSN(), CTSN()
        self.readout = nn.Linear(HIDDEN[1], 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 10)."""
        current = self.norm1(self.fc1(x.flatten(1)))
        spikes = self.first(current.unsqueeze(0).repeat(STEPS, 1, 1))
        current = self.norm2(self.fc2(spikes.flatten(0, 1))).unflatten(0, (STEPS, -1))
        spikes = self.second(current)
        logits: Tensor = self.readout(spikes.flatten(0, 1)).unflatten(0, (STEPS, -1)).mean(0)
        return logits


def convert(checkpoint: Path, samples: Array) -> Conversion:
    """Fold, and prove equal."""
    return trispike.convert(foreign.loaded(DenseNetwork(), checkpoint), samples)


def rules_of(eta: float, **settings: Any) -> dict[str, Plasticity]:
    """A rule for each of the two connections; theta is still to be measured.

    Activity and what arrived are counted over a sample, with signs, and weights change at its end.
    """
    shared: dict[str, Any] = {
        "theta": 0.0,
        "pre_decay": 1.0,
        "activity": "signed",
        "update": "sample",
        "keep_weights": True,
        **settings,
    }
    return {
        "input->first": Plasticity.from_real(eta=eta * INPUT_RATE, **shared),
        "first->second": Plasticity.from_real(eta=eta, **shared),
    }


def with_rules(network: IntegerNetwork, train: Samples, rules: dict[str, Plasticity]) -> Any:
    """The rules, with the set points that the network has on training images."""
    return with_set_points(network, rules, train.x[:CALIBRATION])


def deploy(network: IntegerNetwork, train: Samples) -> IntegerNetwork:
    """The network with a homeostatic rule, as the table of methods runs it."""
    return trispike.make_plastic(network, with_rules(network, train, rules_of(-0.005)))


METHOD = Method(
    name="dwam",
    title="DWAM-like plasticity at run time, experimental (dense)",
    data=DATA,
    checkpoint=NETWORKS / "dwam_digits.pth",
    convert=convert,
    engines=("reference", "lava"),
    deploy=deploy,
    note="Weights go on learning through all test images; every weight is verified after every "
    "step. The other engines refuse plastic networks. See [Plasticity](plasticity.md).",
)


class Damage(NamedTuple):
    """What happens to a deployed network."""

    name: str
    network: Callable[[IntegerNetwork, np.random.Generator], IntegerNetwork]
    images: Callable[[Array], Array]


def scaled(factor: float) -> Callable[[IntegerNetwork, np.random.Generator], IntegerNetwork]:
    """All weights between populations times a factor, rounded."""
    return _changed(lambda weight, _: np.clip(np.rint(weight * factor), -127, 127))


def pruned(share: float) -> Callable[[IntegerNetwork, np.random.Generator], IntegerNetwork]:
    """A random share of these weights is gone for good: synapses that do not exist any more."""
    return _changed(lambda weight, random: weight * (random.random(weight.shape) >= share))


def _changed(
    change: Callable[[Array, np.random.Generator], Array],
) -> Callable[[IntegerNetwork, np.random.Generator], IntegerNetwork]:
    def changed(network: IntegerNetwork, random: np.random.Generator) -> IntegerNetwork:
        def damaged(connection: Connection) -> Connection:
            weight = change(connection.operator.weight.astype(float), random)
            return replace(connection, operator=Dense(weight=weight.astype(np.int8)))

        connections = tuple(
            damaged(c) if can_be_plastic(network, c) else c for c in network.connections
        )
        return replace(network, connections=connections)

    return changed


def whole(network: IntegerNetwork, _: np.random.Generator) -> IntegerNetwork:
    """Nothing happens."""
    return network


DAMAGES = (
    Damage("none", whole, lambda x: x),
    Damage("weights x 0.5", scaled(0.5), lambda x: x),
    Damage("weights x 0.7", scaled(0.7), lambda x: x),
    Damage("weights x 1.5", scaled(1.5), lambda x: x),
    Damage("30% of synapses cut", pruned(0.3), lambda x: x),
    Damage("60% of synapses cut", pruned(0.6), lambda x: x),
    Damage("images at half contrast", whole, lambda x: 0.5 * x),
    Damage("images one pixel to the right", whole, lambda x: np.roll(x, 1, axis=-1)),
)

RULES: dict[str, dict[str, Any]] = {
    "homeostatic, eta -0.005": {"eta": -0.005},
    "homeostatic, eta -0.03": {"eta": -0.03},
    "homeostatic, eta -0.03, decay to trained": {"eta": -0.03, "eps": 0.002, "toward": "trained"},
    "BCM, eta +0.005": {"eta": 0.005},
    "BCM, eta +0.005, decay to zero": {"eta": 0.005, "eps": 1 / 4096},
}
"""Arguments of :func:`rules_of`: all that were tried at this number of images."""


UNTOUCHED = "without plasticity"
"""Name of the damaged network's own row."""


class Figures(NamedTuple):
    """Of one network on the test images."""

    rate: float
    """Spikes of either sign per neuron and step."""
    accuracy: float


def figures(network: IntegerNetwork, images: Array, labels: Array) -> Figures:
    """Run a network whose weights are held still."""
    result = trispike.simulate(network, images, labels)
    neurons = sum(p.size for p in network.populations.values())
    assert result.accuracy is not None
    rate = result.ledger.spikes / (neurons * network.steps * len(images))
    return Figures(rate, result.accuracy)


def experiment(
    network: IntegerNetwork, train: Samples, test: Samples, damage: Damage, seed: int, seen: int
) -> dict[str, Figures]:
    """One damage, and what each rule makes of it after so many unlabelled images."""
    random = np.random.default_rng(seed)
    damaged = damage.network(network, random)
    shown = damage.images(train.x[random.permutation(len(train.x))[:seen]])
    images = damage.images(test.x)
    found = {UNTOUCHED: figures(damaged, images, test.y)}
    for name, constants in RULES.items():
        # The set points are those of the whole network.
        rules = with_rules(network, train, rules_of(**constants))
        adapting = trispike.make_plastic(damaged, rules)
        learned = trispike.simulate(adapting, shown, engine="reference").weights
        found[name] = figures(with_learned(adapting, learned), images, test.y)
    return found


def table(seeds: int, seen: int, damages: Sequence[Damage]) -> list[str]:
    """Every damage and rule: means over the seeds, and the gain in accuracy of each seed."""
    train, test = METHOD.samples()
    float_network = convert(METHOD.checkpoint, test.x[:32]).network
    some = slice(CALIBRATION)
    network = trispike.quantize(float_network, train.x[some], train.y[some]).network
    lines = ["| damage | rule | firing rate | accuracy | gain, by seed |", "|---|---|--:|--:|---|"]
    for damage in damages:
        runs = [experiment(network, train, test, damage, seed, seen) for seed in range(seeds)]
        for name in runs[0]:
            rates, accuracies = np.array([run[name] for run in runs]).T
            gains = accuracies - [run[UNTOUCHED].accuracy for run in runs]
            each = ", ".join(f"{100 * gain:+.1f}" for gain in gains) if name != UNTOUCHED else ""
            means = f"{rates.mean():.1%} | {accuracies.mean():.1%}"
            lines.append(f"| {damage.name} | {name} | {means} | {each} |")
            print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Train, or damage and adapt."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--output", type=Path, default=Path("out/dwam_digits.pth"))
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3, help="Repetitions of every damage.")
    parser.add_argument("--seen", type=int, default=400, help="Unlabelled images to adapt to.")
    names = [damage.name for damage in DAMAGES]
    parser.add_argument("--damage", nargs="+", choices=names, help="Default: all.")
    options = parser.parse_args()
    if not options.train:
        chosen = [d for d in DAMAGES if d.name in (options.damage or [d.name])]
        table(options.seeds, options.seen, chosen)
        return
    torch.manual_seed(options.seed)
    module = DenseNetwork()
    foreign.train(
        module,
        module,
        data=DATA,
        epochs=options.epochs,
        learning_rate=LEARNING_RATE,
        seed=options.seed,
    )
    foreign.save(module, options.output)


if __name__ == "__main__":
    main()
