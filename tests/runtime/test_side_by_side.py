"""Several runs side by side: figures against the ledgers, ratios, and what cannot be compared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import trispike
from tests.networks import fire_once, sample_inputs, vectors
from trispike.errors import InvalidDataError, InvalidSettingError
from trispike.network import Population
from trispike.network.fixed_point import never
from trispike.runtime.ledger_file import stored_ledger
from trispike.runtime.side_by_side import RATIOS, Contender, side_by_side

SAMPLES = 7


def binary(network: Any) -> Any:
    """The same network without negative spikes."""
    populations = {
        name: Population(
            shape=p.shape, neuron=replace(p.neuron, th_neg=np.asarray(never(p.neuron.state_bits)))
        )
        for name, p in network.populations.items()
    }
    return replace(network, populations=populations)


def contender(network: Any, name: str, **settings: Any) -> Contender:
    x = sample_inputs(network, settings.get("samples", SAMPLES), settings.get("seed", 0))
    y = np.arange(len(x)) % network.readout.classes
    run = trispike.simulate(network, x, y, engine="reference", per_sample=True)
    priced = trispike.estimate(run, x, network=network, hardware=settings.get("hardware", "loihi1"))
    stored = stored_ledger(run, network, x, name) if settings.get("stored") else run
    return Contender(name=name, network=network, run=stored, estimate=priced)


@pytest.fixture(scope="module")
def pair() -> tuple[Contender, Contender]:
    return contender(binary(vectors()), "binary"), contender(vectors(), "ternary")


def test_figures_are_those_of_the_ledgers(pair):
    found = side_by_side(pair)
    assert found.samples == SAMPLES
    for given, figures in zip(pair, found.networks, strict=True):
        ledger, populations = given.run.ledger, given.network.populations
        counts = ledger.populations.values()
        assert figures.name == given.name
        assert figures.positive_spikes * SAMPLES == sum(c.spikes_positive.sum() for c in counts)
        assert figures.negative_spikes * SAMPLES == sum(c.spikes_negative.sum() for c in counts)
        assert figures.spikes * SAMPLES == ledger.spikes
        cells = sum(p.size for p in populations.values()) * ledger.steps
        assert figures.firing_rate == pytest.approx(figures.spikes / cells)
        assert figures.synaptic_operations * SAMPLES == ledger.synaptic_operations
        assert figures.graded_operations * SAMPLES == ledger.macs
        assert figures.joules == given.estimate.energy_per_inference_joules
        right = given.run.predictions == given.run.labels
        assert figures.accuracy == right.mean()
        assert figures.joules_per_correct == pytest.approx(
            figures.joules * SAMPLES / right.sum() if right.any() else None
        )
    first, second = found.networks
    layers = len(pair[0].network.populations)
    assert (first.binary_populations, first.ternary_populations) == (layers, 0)
    assert (second.binary_populations, second.ternary_populations) == (0, layers)
    assert first.negative_spikes == 0 < second.negative_spikes
    assert (first.alone_right, first.alone_wrong) == (0, 0)
    a, b = (c.run.predictions == c.run.labels for c in pair)
    assert (second.alone_right, second.alone_wrong) == ((b & ~a).sum(), (a & ~b).sum())


def test_ratios_are_to_the_first(pair):
    found = side_by_side(pair)
    first, second = found.networks
    ratios = found.ratios(1)
    assert set(ratios) == set(RATIOS)
    assert ratios["joules"] == second.joules / first.joules
    assert ratios["negative_spikes"] is None
    assert {found.ratios(0)[name] for name in RATIOS} <= {1.0, None}
    assert found.to_dict()["networks"][1]["ratio_to_first"] == ratios


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"samples": 5}, f"run of network 'b': got 5 samples, not {SAMPLES}"),
        ({"seed": 1, "stored": True}, r"run of network 'b': got other data \(b\)"),
    ],
)
def test_runs_on_other_data_are_refused(settings, text):
    first = contender(vectors(), "a", stored=True)
    with pytest.raises(InvalidDataError, match=text):
        side_by_side([first, contender(vectors(), "b", **settings)])


def test_other_labels_and_no_labels_are_refused(pair):
    first, second = pair
    for labels, text in ((None, "labels for only one"), (second.run.labels[::-1], "other labels")):
        changed = replace(second, run=replace(second.run, labels=labels))
        with pytest.raises(InvalidDataError, match=text):
            side_by_side([first, changed])


def test_other_prices_and_a_single_network_are_refused(pair):
    with pytest.raises(InvalidSettingError, match="networks to compare: got 1; expected two"):
        side_by_side(pair[:1])
    other = contender(vectors(), "b", hardware="loihi1-regressed")
    with pytest.raises(InvalidSettingError, match="prices of loihi1-regressed; expected those of"):
        side_by_side([pair[0], other])


def test_networks_of_other_shapes_are_compared():
    once = fire_once()
    both = [contender(n, "x") for n in (once, binary(once))]
    found = side_by_side(both)
    assert found.networks[0].steps == once.steps
