"""``trispike estimate``: the numbers of the API, their sources, and what is left out."""

import json
import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import trispike
from tests.cli.conftest import Files
from trispike.cli.console import joules, seconds
from trispike.network import Population, dense_macs, storage
from trispike.runtime import Result
from trispike.runtime.energy import Estimate, load_hardware, load_profile
from trispike.runtime.engines import build_engine, default_engine
from trispike.runtime.pricing import price_run
from trispike.targets.loihi.files import save_placement
from trispike.targets.loihi.hardware import load_chip
from trispike.targets.loihi.placement import place


def command(files: Files, *more: object) -> tuple[object, ...]:
    return ("estimate", files.integer_network, "--data", files.data, *more)


def expected(files: Files, **options: Any) -> tuple[Result, Estimate]:
    network = trispike.load(files.integer_network)
    with np.load(files.data) as data:
        engine = build_engine(default_engine(), network)
        result = engine.run(data["x"], data["y"], per_sample=True)
    prices = load_hardware(options.pop("hardware", "loihi1"))
    return result, price_run(network, result.ledger, prices, **options)


def test_the_numbers_and_their_sources(run, files):
    outcome = run(*command(files))
    _, priced = expected(files)
    assert (outcome.code, outcome.err) == (0, "")
    for layer in priced.layers:
        assert f"{layer.name} " in outcome.out
    total = joules(priced.energy_per_inference_joules)
    band = f"{joules(priced.low_joules)} to {joules(priced.high_joules)}"
    head = f"{total} ({band}) per inference on Loihi 1 (simulated figures, per term)"
    assert f"\n{head}, mean of 12 samples\n" in outcome.out
    assert priced.low_joules < priced.high_joules
    for coefficient in load_profile("loihi1").coefficients.values():
        assert coefficient.citation in outcome.out
    graded = {term.event: term for term in priced.terms}["graded_operation"]
    text = f"not in it: graded operation ({graded.count:,.0f} per inference): Loihi 1 has"
    assert text in outcome.out
    for why in (*priced.unpriced.values(), *priced.profile.caveats):
        assert why in outcome.out
    assert "accuracy on data.npz: " in outcome.out


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"  +", line)]


def test_from_counts_to_joules_line_by_line(run, files):
    """Each line multiplies, the lines add up, and what is uncertain or left out is said."""
    out = run(*command(files)).out
    result, priced = expected(files)
    start = out.index("event  ")
    head, *lines = out[start : out.index("+-: standard error", start)].splitlines()[:-1]
    assert cells(head) == ["event", "per inference", "+-", "price", "energy", "low", "high"]
    rows = {cells(line)[0]: cells(line)[1:] for line in lines}
    terms = {term.event.replace("_", " "): term for term in priced.terms}
    assert list(rows) == [*terms, "second neurons", "total"]
    added = 0.0
    for name, term in terms.items():
        count, error, price, energy, *ends = rows[name]
        assert count == f"{term.count:,.0f}"
        assert error != "-"
        assert ends == ["-", "-"]
        if term.status == "priced":
            assert float(price.removesuffix(" pJ")) == pytest.approx(term.picojoules)
            assert energy == joules(term.count * float(price.removesuffix(" pJ")) * 1e-12)
            added += term.joules or 0.0
        else:
            assert (price, energy) == ("none", "not priced")
    total, low, high = priced.energy_per_inference_joules, priced.low_joules, priced.high_joules
    assert rows["total"] == [joules(end) for end in (total, low, high)]
    assert added == pytest.approx(total)
    assert rows["second neurons"] == ["0 pJ", "0 pJ", joules(high - total)]
    assert "  no published interval for 3 of 3 priced terms: " in out
    assert priced.standard_error_joules is not None
    assert f"standard error of the mean over samples: {joules(priced.standard_error_joules)}" in out
    assert f"  prices: loihi1, SHA-256 {priced.hardware_sha256[:16]}\n" in out
    latency = priced.latency
    assert latency is not None
    assert latency.high_seconds is not None
    span = f"{seconds(latency.low_seconds)} to {seconds(latency.high_seconds)}\n"
    assert f"latency of an inference, from published times per event: {span}" in out
    for assumption in latency.assumptions:
        assert f"  {assumption}\n" in out
    p = result.accuracy
    assert p is not None
    error = f"{100 * math.sqrt(p * (1 - p) / 12):.2f}%"
    text = f"accuracy on data.npz: {100 * p:.2f}% +- {error} (standard error); "
    assert text + f"{joules(total / p)} per correct prediction\n" in out
    facts = run(*command(files, "--json")).json
    assert facts["joules_per_correct_prediction"] == pytest.approx(total / p)
    assert facts["accuracy_standard_error"] == pytest.approx(math.sqrt(p * (1 - p) / 12))


def test_published_intervals_and_kinds_of_synapses_are_printed(run, files):
    out = run(*command(files, "--hardware", "loihi1-regressed")).out
    _, priced = expected(files, hardware="loihi1-regressed")
    kinds = {t.variant: t for t in priced.terms if t.variant}
    assert {kind: t.picojoules for kind, t in kinds.items()}["convolution"] == 24.0
    for kind, term in kinds.items():
        (line,) = [x for x in out.splitlines() if x.startswith(f"synaptic operation, {kind}  ")]
        energies = (term.joules, term.low_joules, term.high_joules)
        assert cells(line)[3:] == [f"{term.picojoules:g} pJ", *map(joules, energies)]
    assert "no published interval" not in out
    assert "  latency: no times are known for this hardware\n" in out


def test_the_busiest_core_of_a_placement(run, files, placement):
    options = ("--placement", placement)
    facts = run(*command(files, *options, "--json")).json
    latency = facts["latency"]
    assert latency["low_seconds"] < latency["busiest_core_seconds"] < latency["high_seconds"]
    terms = {term["event"]: term for term in facts["terms"]}
    assert terms["input_message"]["count"] > 0
    assert terms["input_message"]["joules"] is None
    out = run(*command(files, *options)).out
    assert f"of the placement {seconds(latency['busiest_core_seconds'])}\n" in out
    assert f"not in it: input message ({terms['input_message']['count']:,.0f} per inf" in out


@pytest.mark.parametrize("hardware", ["loihi1", "cmos45-fp32", "cmos45-int8"])
def test_the_json_object(hardware, run, files):
    outcome = run(*command(files, "--hardware", hardware, "--json"))
    facts = outcome.json
    assert (outcome.code, outcome.err) == (0, "")
    result, priced = expected(files, hardware=hardware)
    plain = json.loads(json.dumps(priced.to_dict()))
    assert {key: facts[key] for key in plain} == plain
    assert facts["hardware"] == hardware
    assert facts["energy_per_inference_joules"] == priced.energy_per_inference_joules > 0
    assert facts["accuracy"] == result.accuracy
    assert facts["synaptic_operations"] == result.ledger.synaptic_operations
    assert facts["data"] == "data.npz"
    assert facts["network_sha256"] == storage.digest(trispike.load(files.integer_network))


def test_the_dense_network_on_the_same_core(run, files):
    """With its band and the verdict at the middle and both ends; for memory models only."""
    options = ("--hardware", "cmos45-memory")
    twins = run(*command(files, *options, "--json")).json["twins"]
    lines = run(*command(files, *options)).out
    assert [twin["id"] for twin in twins] == ["dense", "dense-weights-held", "dense-sums-held"]
    for twin in twins:
        low, joule, high = (joules(twin[f"twin_{end}joules"]) for end in ("low_", "", "high_"))
        told = f"{twin['name']}: {joule} ({low} to {high}), {twin['dense_macs']:,} MAC: "
        assert told + twin["verdict"] in lines
        assert all(assumption in lines for assumption in twin["assumptions"])
    assert run(*command(files, "--json")).json["twins"] == []
    assert "on the same core" not in run(*command(files)).out


def test_assumptions_are_priced_and_told(run, files):
    options = ("--assume", "graded_operation=4.5", "--assume", "synaptic_operation=10")
    facts = run(*command(files, *options, "--json")).json
    assert facts["assumptions"] == {"graded_operation": 4.5, "synaptic_operation": 10}
    assert "graded_operation" not in facts["unpriced"]
    _, priced = expected(files, assumptions=facts["assumptions"])
    assert facts["energy_per_inference_joules"] == priced.energy_per_inference_joules
    out = run(*command(files, *options)).out
    assert "assumed: 4.5 pJ per graded operation\n" in out
    assert "assumed: 10 pJ per synaptic operation\n" in out


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("graded_operation", "--assume: got 'graded_operation'; expected EVENT=PICOJOULES"),
        ("graded_operation=much", "--assume: got 'graded_operation=much'"),
        ("graded_operation=-1", "assumed price of 'graded_operation': got -1.0 pJ"),
        ("graded_operation=nan", "got nan pJ"),
        ("thought=1", "assumed price of 'thought': got 1.0 pJ; expected a price >= 0 for one"),
        ("message=1", "assumed price of 'message': got no placement"),
    ],
)
def test_bad_assumptions(value, text, refused, files):
    message = refused(*command(files, "--assume", value), kind="InvalidSettingError", code=2)
    assert text in message


def test_a_profile_of_ones_own(run, refused, files, tmp_path):
    profile = load_profile("loihi1").model_dump()
    profile["id"] = "mine"
    profile["coefficients"]["synaptic_operation"] |= {"low": 10.0, "high": 50.0}
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(profile), encoding="utf-8")
    facts = run(*command(files, "--hardware", path, "--json")).json
    assert facts["hardware"] == "mine"
    low, high = (facts[f"energy_per_inference_{end}_joules"] for end in ("low", "high"))
    assert low < facts["energy_per_inference_joules"] < high
    assert " to " in run(*command(files, "--hardware", path)).out.split(" per inference on ")[0]
    del profile["coefficients"]["synaptic_operation"]["citation"]
    path.write_text(json.dumps(profile), encoding="utf-8")
    message = refused(*command(files, "--hardware", path), kind="FileFormatError")
    assert "coefficients.synaptic_operation.citation: Field required" in message


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("loihi2", "Loihi 2 has no published energy per operation"),
        ("brain", "expected one of cmos45-fp16, cmos45-fp32, cmos45-int32, cmos45-int8, cmos45-m"),
    ],
)
def test_an_unknown_profile(name, text, refused, files):
    message = refused(*command(files, "--hardware", name), kind="InvalidSettingError", code=2)
    assert text in message


def test_no_samples_have_no_energy(refused, files, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((0, 10)))
    message = refused(
        "estimate", files.vectors, "--data", tmp_path / "x.npy", kind="InvalidDataError"
    )
    assert "ledger: got no samples" in message


def test_a_network_that_does_nothing(run, files, tmp_path):
    """Zero input and no bias: no operation, no division by zero, updates still cost."""
    network = trispike.load(files.vectors)
    silent = replace(
        network,
        populations={
            name: Population(shape=p.shape, neuron=replace(p.neuron, bias=0))
            for name, p in network.populations.items()
        },
    )
    trispike.save(silent, tmp_path / "silent.safetensors")
    np.save(tmp_path / "x.npy", np.zeros((3, 10)))
    quiet = ("estimate", tmp_path / "silent.safetensors", "--data", tmp_path / "x.npy")
    facts = run(*quiet, "--json").json
    assert facts["synaptic_operations"] == 0
    assert {twin["spiking_joules"] for twin in facts["ann_twins"]} == {0}
    neurons = sum(p.size for p in network.populations.values())
    assert facts["energy_per_inference_joules"] == pytest.approx(neurons * 4 * 52e-12)
    assert (
        "the spiking network wins: it costs nothing by its weights' arithmetic" in run(*quiet).out
    )
    free = run(*quiet, "--hardware", "cmos45-fp32")
    assert free.code == 0
    assert "0 pJ per inference" in free.out


@pytest.fixture
def placement(run, files, tmp_path):
    """A placement of the integer network on Loihi 1."""
    path = tmp_path / "placement.json"
    run("check", files.integer_network, "--target", "loihi1", "-o", path)
    assert path.is_file()
    return path


def test_messages_on_a_placement(run, files, placement):
    options = ("--hardware", "loihi1-regressed")
    alone = run(*command(files, *options, "--json")).json
    assert "counted on a placement only" in alone["unpriced"]["message"]
    placed = run(*command(files, *options, "--placement", placement, "--json")).json
    assert "message" not in placed["unpriced"]
    terms = {term["event"]: term for term in placed["terms"]}
    moved = sum(terms[event]["joules"] for event in ("message", "hop_x", "hop_y"))
    assert terms["message"]["count"] > 0
    assert placed["breakdown"]["routing"] == pytest.approx(moved)
    more = placed["energy_per_inference_joules"] - alone["energy_per_inference_joules"]
    assert more == pytest.approx(moved)
    assert "\nmesh " in run(*command(files, *options, "--placement", placement)).out


def test_a_memory_model(run, files, placement):
    options = ("--hardware", "cmos45-memory")
    facts = run(*command(files, *options, "--json")).json
    assert facts["hardware"] == "cmos45-memory"
    assert {"synapse_arithmetic", "weight_fetch", "neuron_state", "neuron_arithmetic",
            "event_queue"} <= set(facts["breakdown"])  # fmt: skip
    total = facts["energy_per_inference_joules"]
    assert sum(facts["breakdown"].values()) == pytest.approx(total)
    assert "input_queue" not in facts["unpriced"]
    assert "static_power" in facts["unpriced"]
    out = run(*command(files, *options)).out
    for part in ("weight fetch", "neuron state", "event queue", "KiB", "its neurons included"):
        assert part in out
    placed = run(*command(files, *options, "--placement", placement, "--json")).json
    sizes = [
        {layer["name"]: layer["memory_bytes"] for layer in found["layers"]}
        for found in (facts, placed)
    ]
    assert sizes[0].keys() == sizes[1].keys()
    assert sizes[0] != sizes[1]


def test_what_a_memory_model_does_not_take(refused, files, tmp_path):
    options = command(files, "--hardware", "cmos45-memory")
    message = refused(*options, "--assume", "spike=1", kind="InvalidSettingError", code=2)
    assert "with cmos45-memory, a memory model" in message
    other = tmp_path / "vectors.json"
    save_placement(place(trispike.load(files.vectors), load_chip("loihi1")), other)
    message = refused(*options, "--placement", other, kind="FileFormatError")
    assert "a placement of network" in message
    float_network = ("estimate", files.float_network, "--data", files.data, "--placement", other)
    assert "got a float network" in refused(*float_network, kind="UnsupportedError")
    message = refused(*options, "--latency", "0", kind="InvalidSettingError", code=2)
    assert "latency: got 0.0 s" in message


def test_prices_of_the_dense_network(run, files):
    facts = run(*command(files, "--hardware", "kerasspiking-cpu", "--json")).json
    assert facts["prices"] == "dense"
    network = trispike.load(files.integer_network)
    macs = sum(dense_macs(c, network.source_shape(c)) for c in network.all_connections)
    neurons = sum(p.size for p in network.populations.values())
    assert facts["energy_per_inference_joules"] == pytest.approx(8.6e-9 * (macs + neurons))
    out = run(*command(files, "--hardware", "kerasspiking-cpu")).out
    assert "of the dense network of the same topology, mean of" in out
