"""A network in words and numbers, checked against the network."""

import json

import numpy as np
import pytest

from tests.network.parts import base
from tests.networks import CASES
from trispike.network import (
    Connection,
    Conv2d,
    Dense,
    FixedPointNeuron,
    FloatNetwork,
    Identity,
    Input,
    Neuron,
    Population,
    Readout,
    SumPool,
    describe,
    digest,
    summary,
    synapse_count,
)
from trispike.network.summary import neuron_kind


@pytest.mark.parametrize("case", CASES)
def test_figures_are_those_of_the_network(case):
    net = CASES[case]()
    facts = describe(net)
    assert json.loads(json.dumps(facts)) == facts
    assert [p["name"] for p in facts["populations"]] == list(net.order)
    assert [c["label"] for c in facts["connections"]] == list(net.labels)
    assert facts["neurons"] == sum(int(np.prod(p.shape)) for p in net.populations.values())
    assert facts["weights"] == sum(c.operator.weight.size for c in net.all_connections)
    synapses = [synapse_count(c, net.source_shape(c)) for c in net.all_connections]
    assert [c["synapses"] for c in facts["connections"]] == synapses
    assert facts["synapses"] == sum(synapses)
    for entry, c in zip(facts["connections"], net.all_connections, strict=True):
        assert [entry[name] for name in ("delay", "exponent", "bits")] == [
            *(c.delay, c.exponent, c.bits)
        ]
    for entry in facts["populations"]:
        assert entry["shape"] == list(net.populations[entry["name"]].shape)
        assert entry["depth"] == net.depth[entry["name"]]
    assert facts["depth"] == net.depth["readout"]
    assert (facts["kind"], facts["steps"], facts["classes"]) == (
        *("integer", net.steps, net.readout.classes),
    )
    assert facts["network_sha256"] == digest(net)


@pytest.mark.parametrize("case", CASES)
def test_the_table_names_every_part(case):
    net = CASES[case]()
    text = summary(net)
    lines = [line.split("  ")[0] for line in text.splitlines()]
    for name in (*net.order, *net.labels):
        assert name in lines
    assert all(line == line.rstrip() for line in text.splitlines())


def test_the_whole_table():
    assert summary(base("integer")) == "\n".join(
        [
            "integer network, 2 time steps, input 2x4x4 (direct), 3 classes",
            "11 neurons, 165 weights, 85 synapses, depth 2",
            "",
            "population  shape  depth  neuron",
            "a           4x1x1  1      ternary, hard reset, floor",
            "twin        4x1x1  1      ternary, hard reset, floor",
            "alone       1      1      ternary, hard reset, floor",
            "b           2x1x1  2      ternary, hard reset, floor",
            "",
            "connection   operator                            pool         weights     synapses",
            "input->a     conv 3x3 2->4 stride 5x4 padding 1               72 x 8 bit  30",
            "input->twin  conv 3x3 2->4 stride 5x4 padding 1               72 x 8 bit  30",
            "input->b     identity                            sum 2x2/5x5  1 x 8 bit   8",
            "a->b         dense 4->2, plastic                              8 x 8 bit   6",
            "a->readout   dense 4->3                                       12 x 8 bit  11",
        ]
    )


def test_a_float_network_has_neither_bits_nor_exponents():
    facts = describe(base("float"))
    assert facts["kind"] == "float"
    assert {c["bits"] for c in facts["connections"]} == {None}
    assert "bit" not in summary(base("float")).split("\n\n")[2]
    assert facts["provenance"] == base("float").provenance


@pytest.mark.parametrize(
    ("neuron", "words"),
    [
        (Neuron(), "binary, hard reset"),
        (Neuron(th_neg=2), "ternary, hard reset"),
        (Neuron(th_neg=[1, np.inf]), "ternary, hard reset"),
        (Neuron(a_neg=0.5), "binary, complemented, hard reset"),
        (Neuron(a_pos=[0, 0.1], k=0.5), "binary, complemented, current-based, hard reset"),
        (Neuron(reset="subtract"), "binary, soft reset"),
        (Neuron(reset="none", strict=True), "binary, no reset, strict"),
        (
            Neuron(fire_once=True, v_init=0.1, floor=-1),
            "binary, hard reset, fires once, initial potential, floor",
        ),
        (Neuron(fire_from=2), "binary, hard reset, fires from step 2"),
        (Neuron(fire_until=3), "binary, hard reset, fires at steps 0 to 2"),
        (Neuron(gains=[1, 2]), "binary, hard reset, gain per step"),
        (FixedPointNeuron(fire_from=4, fire_until=8), "binary, hard reset, fires at steps 4 to 7"),
        (FixedPointNeuron(), "binary, hard reset"),
        (FixedPointNeuron(state_bits=10, th_neg=511), "ternary, hard reset"),
        (FixedPointNeuron(state_bits=10, floor=-510), "binary, hard reset, floor"),
        (FixedPointNeuron(k=1), "binary, current-based, hard reset"),
        (FixedPointNeuron(a_pos=1, strict=True), "binary, complemented, hard reset, strict"),
        (FixedPointNeuron(v_init=-1), "binary, hard reset, initial potential"),
    ],
)  # fmt: skip
def test_neurons_in_words(neuron, words):
    assert neuron_kind(neuron) == words


@pytest.mark.parametrize(
    ("operator", "pool", "words", "pooled"),
    [
        (Conv2d(weight=np.ones((4, 2, 3, 1))), None, "conv 3x1 2->4", None),
        (
            Conv2d(weight=np.ones((4, 1, 3, 3)), groups=2, dilation=(2, 2), stride=(2, 1)),
            None,
            "conv 3x3 2->4 stride 2x1 dilation 2 groups 2",
            None,
        ),
        (
            Identity(scale=2.0),
            SumPool(
                kernel=(2, 3), stride=(1, 2), then=SumPool(kernel=(2, 2), stride=(1, 1))
            ),
            "identity",
            "sum 2x3/1x2, sum 2x2/1x1",
        ),
    ],
)  # fmt: skip
def test_operators_in_words(operator, pool, words, pooled):
    c = Connection(sources=("input",), target="a", operator=operator, pool=pool)
    a = Population(shape=c.output_shape((2, 9, 9)), neuron=Neuron())
    dense = Dense(weight=np.ones((1, a.size)))
    net = FloatNetwork(
        input=Input(shape=(2, 9, 9)),
        populations={"a": a},
        connections=(c,),
        readout=Readout(
            connections=(Connection(sources=("a",), target="readout", operator=dense),),
            bias=[0.0],
            weights=[1.0],
        ),
        steps=1,
    )
    entry = describe(net)["connections"][0]
    assert (entry["operator"], entry["pool"]) == (words, pooled)


def test_exponents_are_shown():
    assert " << 3" in summary(CASES["exponents"]())
