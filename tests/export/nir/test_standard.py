"""Graphs of standard nodes only: exact where they can be, refused or measured where not."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest

from tests.networks import CASES
from tests.runtime.floats import CASES as FLOAT_CASES
from tests.runtime.floats import as_float, sample_inputs
from trispike.errors import InvalidDataError, InvalidSettingError, UnsupportedError
from trispike.export.nir import conventions, from_graph, read, to_standard_graph, write_standard
from trispike.network import Connection, Dense, FloatNetwork, Input, Neuron, Population, Readout
from trispike.runtime import ReferenceEngine

STEPS = 30
EXPORTED = [n for n in conventions() if n not in ("spyx", "rockpool", "sinabs")]
"""The others cannot say a binary LIF with hard reset."""


def network(neuron: Neuron, *, bias: bool = True, encoding: Any = "frames") -> FloatNetwork:
    rng = np.random.default_rng(0)
    fields = {**neuron.array_fields(), **neuron.plain_fields()}
    if bias:
        fields["bias"] = np.rint(rng.normal(size=6) * 8) / 64

    def dense(source: str, target: str, outputs: int, inputs: int) -> Connection:
        weight = np.rint(rng.normal(size=(outputs, inputs)) * 16) / 32
        return Connection(sources=(source,), target=target, operator=Dense(weight=weight))

    return FloatNetwork(
        input=Input(shape=(4,), encoding=encoding, mean=0.25, std=0.5),
        populations={name: Population(shape=(6,), neuron=Neuron(**fields)) for name in ("a", "b")},
        connections=(dense("input", "a", 6, 4), dense("a", "b", 6, 6)),
        readout=Readout(
            connections=(dense("b", "readout", 3, 6),),
            bias=np.array([0.5, -0.25, 0.0]),
            weights=np.full(STEPS, 1 / STEPS),
        ),
        steps=STEPS,
    )


def spikes(net: FloatNetwork, x: Any) -> list[Any]:
    records = ReferenceEngine(net).run(x, record="all").records
    return [records[name]["s"] for name in sorted(records)]


NEURONS = {
    "LIF": (Neuron(b_pos=0.75, b_neg=0.75, th_pos=0.5), True),
    "IF": (Neuron(b_pos=1, b_neg=1, th_pos=0.5), True),
    "CubaLIF": (Neuron(b_pos=0.75, b_neg=0.75, k=0.5, th_pos=1), False),
    "CubaLIF with bias": (Neuron(b_pos=0.75, b_neg=0.75, k=0.5, th_pos=1), True),
}


@pytest.mark.parametrize("convention", EXPORTED)
@pytest.mark.parametrize("name", NEURONS)
def test_what_a_tool_is_told_means_the_same_to_it(convention, name, tmp_path):
    neuron, bias = NEURONS[name]
    original = network(neuron, bias=bias)
    chosen = conventions()[convention]
    kind = name.split()[0]
    if kind in chosen.refused or (name.endswith("bias") and chosen.v_leak != "honoured"):
        with pytest.raises(UnsupportedError, match="population 'a': got"):
            to_standard_graph(original, convention=convention, dt=1e-3)
        return
    if name == "CubaLIF with bias" and convention == "norse":
        with pytest.raises(UnsupportedError, match="population 'a': got a bias"):
            to_standard_graph(original, convention=convention)
        return
    export = write_standard(original, tmp_path / "n.nir", convention=convention, dt=1e-3)
    assert not export.losses
    assert export.mismatch is None
    graph = read(tmp_path / "n.nir")
    assert {type(n).__module__.split(".")[0] for n in graph.nodes.values()} == {"nir"}
    again = from_graph(graph, convention=convention, dt=1e-3, steps=STEPS, settings=chosen.reads)
    x = np.rint(np.random.default_rng(1).normal(size=(5, STEPS, 4)) * 8) / 8
    ours, theirs = spikes(original, x), spikes(again, (x - 0.25) / 0.5)
    assert ours[0].any()
    assert ours[1].any()
    for a, b in zip(ours, theirs, strict=True):
        assert np.array_equal(a, b)


def test_the_notes_say_what_the_graph_does_not():
    export = to_standard_graph(network(NEURONS["LIF"][0], encoding="direct"))
    notes = " ".join(export.notes)
    assert "dt is 1; run 30 time steps" in notes
    assert "Feed (x - mean) / std" in notes
    assert "same frame at every time step" in notes
    assert "the logits are their mean" in notes
    assert export.graph.metadata["notes"].splitlines() == list(export.notes)


REFUSED = {
    "negative spikes": Neuron(b_pos=0.5, b_neg=0.5, th_neg=1),
    "complement": Neuron(a_pos=0.5, b_pos=0.5, b_neg=0.5),
    "sign": Neuron(b_pos=0.5, b_neg=0.25),
    "reset 'subtract'": Neuron(b_pos=0.5, b_neg=0.5, reset="subtract"),
    "lower bound": Neuron(b_pos=0.5, b_neg=0.5, floor=-1),
    "initial potential": Neuron(b_pos=0.5, b_neg=0.5, v_init=0.1),
    "at most one spike": Neuron(b_pos=0.5, b_neg=0.5, fire_once=True),
    "field 'fire_until'": Neuron(b_pos=0.5, b_neg=0.5, fire_until=1),
    "field 'gains'": Neuron(b_pos=0.5, b_neg=0.5, gains=range(30)),
    "outside of 0..1": Neuron(b_pos=1.5, b_neg=1.5),
    "with and without a leak": Neuron(b_pos=np.arange(6) / 5, b_neg=np.arange(6) / 5),
    "integrator with a synaptic current": Neuron(b_pos=1, b_neg=1, k=0.5),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_standard_nodes_cannot_say(words):
    with pytest.raises(UnsupportedError, match=f"population 'a': got .*{words}.*--allow-lossy"):
        to_standard_graph(network(REFUSED[words]))


def test_integer_networks_and_unflattening_are_refused():
    with pytest.raises(UnsupportedError, match="got an integer network"):
        to_standard_graph(CASES["vectors"]())
    binary = {"a_pos": 0, "a_neg": 0, "b_neg": 0.5, "k": 0, "v_init": 0, "th_neg": np.inf}
    with pytest.raises(UnsupportedError, match=r"connection 'input->map': got a matrix into rows"):
        to_standard_graph(as_float(CASES["matrix_into_map"](), **binary))
    with pytest.raises(InvalidSettingError, match="convention: got 'brian'"):
        to_standard_graph(network(NEURONS["LIF"][0]), convention="brian")


@pytest.mark.parametrize("name", ["shortcut", "pooled", "several_sources", "delays", "frames"])
def test_structures_survive(name):
    binary = {"a_pos": 0, "a_neg": 0, "b_neg": 0.5, "k": 0, "v_init": 0, "th_neg": np.inf,
              "bias": 0, "reset": "zero", "floor": -np.inf}  # fmt: skip
    sources = {
        "shortcut": "shortcut_across_two_convolutions", "pooled": "overlapping_pool",
        "several_sources": "sew_addition", "delays": "feedforward_delay",
        "frames": "frames_encoding",
    }  # fmt: skip
    original = as_float(CASES[sources[name]](), **binary)
    again = from_graph(
        to_standard_graph(original).graph,
        convention="exact",
        dt=1.0,
        steps=original.steps,
        encoding=original.input.encoding,
    )
    x = sample_inputs(original, 4)
    for a, b in zip(spikes(original, x), spikes(again, (x - 0.25) / 0.5), strict=True):
        assert np.array_equal(a, b)


def test_lossy_lowering_is_measured():
    original = FLOAT_CASES["shortcut"]()
    x = sample_inputs(original, 6)
    with pytest.raises(InvalidDataError, match="lossy lowering: got no data"):
        to_standard_graph(original, allow_lossy=True)
    export = to_standard_graph(original, allow_lossy=True, data=x)
    assert any("two opposed binary populations" in loss for loss in export.losses)
    assert any("complement" in loss for loss in export.losses)
    assert export.mismatch is not None
    assert 0 < export.mismatch.fraction < 0.5
    assert export.mismatch.samples == 6
    assert all(type(n).__module__.startswith("nir") for n in export.graph.nodes.values())
    again = from_graph(
        export.graph, convention="exact", dt=1.0, steps=original.steps, encoding="direct"
    )
    lowered = ReferenceEngine(again).run((x - 0.25) / 0.5, record="all").records
    ours = ReferenceEngine(original).run(x, record="all").records
    wrong = sum(
        int((ours[name]["s"] != lowered[name]["s"] - lowered[f"{name}_negative"]["s"]).sum())
        for name in ours
    )
    assert wrong == export.mismatch.mismatches


def test_a_ternary_neuron_without_memory_loses_nothing():
    """Two thresholds on one input are two neurons; it is the reset of both that a LIF lacks."""
    ternary = Neuron(th_pos=0.5, th_neg=0.75)
    export = to_standard_graph(
        network(ternary), allow_lossy=True, data=np.random.default_rng(0).normal(size=(4, STEPS, 4))
    )
    assert export.mismatch is not None
    assert export.mismatch.mismatches == 0
    assert export.mismatch.predictions_changed == 0
    assert sum(isinstance(n, nir.LIF) for n in export.graph.nodes.values()) == 4
