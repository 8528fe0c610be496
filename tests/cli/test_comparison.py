"""``trispike estimate``: ANN twins and conventions, the numbers of the API in words."""

import json
from dataclasses import replace

import numpy as np
import pytest

import trispike
from tests.cli.conftest import Files
from trispike.cli.comparison import SHOWN, Comparison, print_comparison
from trispike.cli.console import joules
from trispike.network import SumPool
from trispike.runtime.energy.conventions import (
    conventions,
    neurobench_before_folding,
    sees_other_inputs,
)
from trispike.runtime.energy.twins import ann_twins
from trispike.runtime.input_counts import input_counts


def command(files: Files, *more: object) -> tuple[object, ...]:
    return ("estimate", files.integer_network, "--data", files.data, *more)


def test_the_twins_are_in_the_json(run, files):
    network = trispike.load(files.integer_network)
    with np.load(files.data) as data:
        ledger = trispike.simulate(network, data["x"]).ledger
    for sparsity, option in ((0.5, ()), (0.9, ("--relu-sparsity", 0.9))):
        facts = run(*command(files, *option, "--json")).json
        expected = [twin.to_dict() for twin in ann_twins(ledger, network, sparsity)]
        assert facts["ann_twins"] == json.loads(json.dumps(expected))
        assert facts["conventions"] == []


def test_the_twins_are_told_in_words(run, files):
    facts = run(*command(files, "--json")).json
    lines = run(*command(files)).out.splitlines()
    for twin in facts["ann_twins"]:
        assert f"  {twin['name']}: {twin['verdict']}" in lines
        for assumption in twin["assumptions"]:
            assert f"  assumed: {assumption}" in lines
        (row,) = [line for line in lines if line.startswith(f"{twin['name']} ")]
        assert joules(twin["spiking_with_neurons_joules"]) in row
    layers = [layer["layer"] for layer in facts["ann_twins"][0]["layers"]]
    start = lines.index("Break-even firing rate (with the neurons' arithmetic in brackets):") + 2
    assert [line.split()[0] for line in lines[start : start + len(layers)]] == layers
    assert not any("other conventions" in line for line in lines)


def test_conventions_on_request(run, files):
    network = trispike.load(files.integer_network)
    with np.load(files.data) as data:
        x = data["x"]
    ledger = trispike.simulate(network, x).ledger
    expected = list(conventions(ledger, network, input_counts(network, x)))
    if sees_other_inputs(network):
        expected.insert(2, neurobench_before_folding(network, x[:SHOWN]))
    facts = run(*command(files, "--conventions", "--json")).json
    plain = json.loads(json.dumps([convention.to_dict() for convention in expected]))
    assert facts["conventions"] == plain
    text = run(*command(files, "--conventions")).out
    assert "The same run under other conventions, per inference:" in text
    for convention in expected:
        assert f"\n{convention.name} " in text
        for sentence in convention.differences:
            (line,) = [line for line in text.splitlines() if line.endswith(f": {sentence}")]
            assert convention.name in line


@pytest.mark.parametrize("value", ["-0.1", "1.5", "nan"])
def test_a_sparsity_that_cannot_be(value, refused, files):
    options = ("--relu-sparsity", value)
    message = refused(*command(files, *options), kind="InvalidSettingError", code=2)
    assert f"activation sparsity: got {float(value)}; expected the share" in message


def test_rates_in_words(capsys, run, files):
    """At any rate, never, and where nothing spikes."""
    network = trispike.load(files.integer_network)
    with np.load(files.data) as data:
        ledger = trispike.simulate(network, data["x"]).ledger
    (first, *_) = ann_twins(ledger, network)
    rates = {"break_even_rate": 1.5, "break_even_rate_with_neurons": -0.1}
    none = {"rate": None, "break_even_rate": None, "break_even_rate_with_neurons": None}
    layers = (
        replace(first.layers[-1], layer="one", rate=0.25, **rates),
        replace(first.layers[-1], layer="two", **none),
    )
    print_comparison(Comparison((replace(first, layers=layers),)))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["one", "0.250", "always", "(never)"] in lines
    assert ["two", "-", "-", "(-)"] in lines


def test_pooling_is_seen_by_neurobench(run, files, tmp_path):
    """A row for the module that pools by itself, where a network has folded it in."""
    network = trispike.load(files.vectors)
    assert not sees_other_inputs(network)
    spatial = replace(network.input, shape=(1, 2, 5))
    pool = SumPool(kernel=(1, 1), stride=(1, 1))
    connections = tuple(
        replace(c, pool=pool) if c.sources == ("input",) else c for c in network.connections
    )
    pooled = replace(network, input=spatial, connections=connections)
    trispike.save(pooled, tmp_path / "pooled.safetensors")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(3, 1, 2, 5)))
    arguments = ("estimate", tmp_path / "pooled.safetensors", "--data", tmp_path / "x.npy")
    facts = run(*arguments, "--conventions", "--json").json
    rows = [row["id"] for row in facts["conventions"]]
    assert rows[:3] == ["trispike", "neurobench", "neurobench-before-folding"]
    assert facts["conventions"][2]["accumulates"] == facts["conventions"][1]["accumulates"]
