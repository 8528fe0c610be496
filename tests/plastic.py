"""Plastic networks, small ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.networks import Builder
from trispike.network import IntegerNetwork, Network, Plasticity, SumPool, make_plastic

RULES: dict[str, Plasticity] = {
    "steps": Plasticity.from_real(eta=0.5, theta=1.0, eps=0.01),
    "samples, kept": Plasticity.from_real(
        eta=-1.0, theta=1.5, pre_decay=1.0, update="sample", activity="signed", keep_weights=True
    ),
    "decaying traces, all kept": Plasticity.from_real(
        eta=0.1, theta=0.5, k=2.5, eps=0.05, toward="trained", pre_decay=0.5, post_decay=0.9,
        keep_weights=True, keep_activity=True, fine_bits=5, trace_shift=4,
    ),
    "narrow": Plasticity.from_real(eta=3.0, theta=0.0, low=-101, high=102),
}  # fmt: skip
"""One of every kind, so strong that weights change within a sample."""


def rules_of(network: Network) -> dict[str, Plasticity]:
    """By label of a plastic connection."""
    return {label: c.plasticity for label, c in network.labelled() if c.plasticity is not None}


def plastic_network(rule: Plasticity, seed: int = 1) -> IntegerNetwork:
    """Pooling before a plastic matrix, a plastic loop, two sources, and a fixed convolution."""
    b = Builder(seed, (2, 6, 6), steps=4, encoding=["direct", "frames", "spikes"][seed % 3])
    b.layer("input", "conv", b.conv("input", 3))
    b.shapes["pooled"] = (3, 3, 3)
    half = SumPool(kernel=(2, 2), stride=(2, 2))
    b.layer("conv", "one", b.dense("pooled", 8), pool=half, exponent=1)
    b.connect("one", "two", b.dense("one", 8))
    b.connect("two", "two", b.dense("one", 8), delay=1)
    b.shapes["two"] = (8,)
    b.populate("two")
    b.layer(("one", "two"), "three", b.dense("one", 5), bits=8)
    return make_plastic(b.build("three"), {"*": rule})


def random_plastic_network(seed: int) -> IntegerNetwork:
    """Random layers, and a random rule on each."""
    rng = np.random.default_rng(seed)
    b = Builder(seed, (int(rng.integers(2, 9)),), steps=int(rng.integers(1, 6)))
    names = ["input"]
    for n in range(int(rng.integers(1, 4))):
        name, source = f"layer{n}", str(rng.choice(names[-2:]))
        options: dict[str, Any] = {"delay": int(rng.integers(1, 3))} if rng.random() < 0.3 else {}
        b.layer(source, name, b.dense(source, int(rng.integers(2, 9))), **options)
        names.append(name)
    network = b.build(names[-1])
    kept = (bool(rng.integers(2)), bool(rng.integers(2)))
    rules = {
        label: Plasticity.from_real(
            eta=float(rng.normal() * 0.5),
            theta=rng.random(len(connection.operator.weight)) * 3,
            eps=float(rng.random() * 0.05),
            k=float(rng.random() * 4),
            pre_decay=float(rng.random()),
            post_decay=float(rng.random()),
            toward=str(rng.choice(["zero", "trained"])),
            activity=str(rng.choice(["magnitude", "signed"])),
            update=str(rng.choice(["step", "sample"])),
            keep_weights=kept[0],
            keep_activity=kept[1],
        )
        for label, connection in network.labelled()
        if connection.target != "readout"
    }
    return make_plastic(network, rules)
