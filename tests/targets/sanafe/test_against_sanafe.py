"""SANA-FE itself: its counts, energies and latencies are ours.

Skipped without the package; ``make interop`` has it.
"""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.networks import CASES, random_network
from tests.targets.sanafe.placed import replayed
from trispike.api import convert
from trispike.errors import EngineError, EngineTimeoutError
from trispike.nn import load_checkpoint
from trispike.quantize import quantize
from trispike.runtime import ReferenceEngine
from trispike.runtime.data import load_digits_split
from trispike.targets.loihi.hardware import load_chip
from trispike.targets.loihi.placement import place
from trispike.targets.sanafe import (
    Comparison,
    Prices,
    Replay,
    compare,
    cores_of,
    count,
    load_prices,
    price,
    replay,
    simulate,
    write_description,
)
from trispike.targets.sanafe.prices import CATEGORIES

sanafe = pytest.importorskip("sanafe", reason="SANA-FE is not installed: make interop")

PRICES = load_prices()


def compared(made: Replay, folder: Path, prices: Prices = PRICES) -> Comparison:
    write_description(made, prices, folder)
    activity = count(made, prices.mesh)
    return compare(made, activity, price(activity, prices), simulate(folder, made.steps))


@pytest.mark.parametrize("number", range(len(CASES)))
def test_named_networks(number, tmp_path):
    network = list(CASES.values())[number]()
    updates = ("every", "fired")[number % 2]
    found = compared(replayed(network, number, updates=updates), tmp_path)
    assert found.equal, found
    assert max(row.relative for row in (*found.energy, found.latency)) < 1e-12
    assert found.counts[0].ours > 0
    assert found.detailed_seconds >= found.latency.theirs * (1 - 1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_random_networks(seed, tmp_path):
    inputs, everything = ("binary", True) if seed % 2 else ("omit", False)
    made = replayed(random_network(seed), seed, inputs=inputs, everything=everything)
    assert compared(made, tmp_path).equal


@pytest.mark.parametrize("event", [e for e in CATEGORIES if PRICES.events[e].picojoules])
def test_each_event_by_itself(event, tmp_path):
    """SANA-FE reports energy by categories of several events: here only one costs anything."""
    case = {"synapse_dense": "vectors", "synapse_sparse": "parallel_connections"}
    network = CASES[case.get(event, "groups")]()
    free = {e: p.model_copy(update={"picojoules": 0.0}) for e, p in PRICES.events.items()}
    events = {**free, event: PRICES.events[event]}
    prices = PRICES.model_copy(update={"events": events})
    found = compared(replayed(network, 3), tmp_path, prices)
    assert found.equal
    total = found.energy[-1]
    assert total.name == "total"
    assert total.ours > 0
    assert total.theirs == pytest.approx(total.ours, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "inputs"), [("compact", "omit"), ("low-traffic", "binary")])
def test_the_demo_network(strategy, inputs, tmp_path):
    train, test = load_digits_split()
    with as_file(files("trispike") / "demo" / "ctsn_digits.pth") as path:
        module = load_checkpoint(path, "ctsn-resnet8", steps=4)
    network = quantize(convert(module, train.x[:64]).network, train.x[:512]).network
    x = test.x[:3]
    record = {name: ["s"] for name in network.populations}
    records = ReferenceEngine(network).run(x, record=record).records
    spikes = {name: traces["s"] for name, traces in records.items()}
    spikes[network.input.name] = network.input.encode(x, network.steps)
    placed = place(network, load_chip("loihi1"), strategy=strategy)
    assert len(placed.cores) > 10
    made = replay(
        network, cores_of(placed, network, PRICES.mesh), spikes, PRICES.mesh, inputs=inputs
    )
    found = compared(made, tmp_path)
    assert found.equal, found
    assert found.counts[0].ours > 1_000_000


def test_a_difference_is_told(tmp_path):
    made = replayed(CASES["vectors"](), 1)
    write_description(made, PRICES, tmp_path)
    text = (tmp_path / "network.yaml").read_text()
    edges = [line for line in text.splitlines() if " -> " in line]
    fired = {
        f"{g.name}.{n}" for g in made.groups for n, on in enumerate(g.trains.any(axis=0)) if on
    }
    doomed = next(line for line in edges if line.split()[1] in fired)
    (tmp_path / "network.yaml").write_text(text.replace(doomed + "\n", "", 1))
    activity = count(made, PRICES.mesh)
    cost = price(activity, PRICES)
    found = compare(made, activity, cost, simulate(tmp_path, made.steps))
    assert not found.equal
    rows = {row.name: row for row in found.counts}
    assert rows["synapse_reads"].ours > rows["synapse_reads"].theirs
    assert rows["fires"].relative == 0


def test_prices_are_those_that_come_with_it():
    chip = yaml.safe_load((files("sanafe.examples") / "loihi.yaml").read_text())["architecture"]
    mesh = PRICES.mesh
    assert (chip["attributes"]["width"], chip["attributes"]["height"]) == (mesh.columns, mesh.rows)
    assert chip["attributes"]["link_buffer_size"] == mesh.link_buffer
    (tile,) = chip["tile"]
    (core,) = tile["core"]
    assert tile["name"] == f"loihi_tile[0..{mesh.columns * mesh.rows - 1}]"
    assert core["name"] == f"loihi_core[0..{mesh.cores_per_tile - 1}]"
    assert core["attributes"]["max_neurons_supported"] == mesh.neurons_per_core
    soma = core["soma"][0]["attributes"]
    synapses = {unit["name"]: unit["attributes"] for unit in core["synapse"]}
    theirs: dict[str, tuple[dict[str, Any], str]] = {
        "synapse_dense": (synapses["loihi_dense_synapse"], "process_spike"),
        "synapse_sparse": (synapses["loihi_sparse_synapse"], "process_spike"),
        "synapse_convolution": (synapses["loihi_conv_synapse"], "process_spike"),
        "neuron_access": (soma, "access_neuron"),
        "neuron_update": (soma, "update_neuron"),
        "spike_out": (soma, "spike_out"),
        "message_out": (core["axon_out"][0]["attributes"], "message_out"),
        "message_in": (core["axon_in"][0]["attributes"], "message_in"),
        "hop_x": (tile["attributes"], "east_hop"),
        "hop_y": (tile["attributes"], "north_hop"),
    }
    assert theirs.keys() == PRICES.events.keys()
    for event, (attributes, name) in theirs.items():
        found = PRICES.events[event]
        assert found.picojoules * 1e-12 == pytest.approx(float(attributes[f"energy_{name}"]))
        assert found.nanoseconds * 1e-9 == pytest.approx(float(attributes[f"latency_{name}"]))
    for opposite in ("west", "south"):
        same = {"west": "east", "south": "north"}[opposite]
        for kind in ("energy", "latency"):
            assert (
                tile["attributes"][f"{kind}_{opposite}_hop"]
                == (tile["attributes"][f"{kind}_{same}_hop"])
            )
    table = {int(n): float(s) * 1e9 for n, s in chip["attributes"]["latency_sync"].items()}
    assert table == pytest.approx(PRICES.synchronization.nanoseconds_from_tiles)


def test_the_formula_is_theirs_on_a_network_of_theirs():
    """Their tutorial: neurons with dynamics, another chip. Counts from its trace, our formula."""
    from sanafe import tutorial

    with redirect_stdout(io.StringIO()):
        architecture, network = tutorial.load()
        chip = sanafe.SpikingChip(architecture)
        chip.load(network)
        run = chip.sim(200, perf_trace=True)
    trace = {name: sum(values) for name, values in run["perf_trace"].items()}
    content = yaml.safe_load((files("sanafe.examples") / "tutorial_arch.yaml").read_text())
    (tile,) = content["architecture"]["tile"]
    (core,) = tile["core"]
    soma, axon = (core[unit][0]["attributes"] for unit in ("soma", "axon_out"))
    energy = {
        "synapse": trace["spikes"]
        * float(core["synapse"][0]["attributes"]["energy_process_spike"]),
        "soma": 200 * 3 * float(soma["energy_access_neuron"])
        + trace["updated"] * float(soma["energy_update_neuron"])
        + trace["fired"] * float(soma["energy_spike_out"]),
        "network": run["packets_sent"] * float(axon["energy_message_out"])
        + trace["hops"] * float(tile["attributes"]["energy_east_hop"]),
    }
    assert trace["fired"] > 0
    assert run["packets_sent"] > 0
    for category, joules in energy.items():
        assert run["energy"][category] == pytest.approx(joules, rel=1e-12)


def test_a_failure_is_an_error_and_not_the_end(tmp_path):
    made = replayed(CASES["vectors"](), 1)
    write_description(made, PRICES, tmp_path)
    file = tmp_path / "network.yaml"
    whole = file.read_text()
    file.write_text(whole.replace("synapse_hw_name: dense", "synapse_hw_name: none", 1))
    with pytest.raises(EngineError, match="Could not find h/w with name 'none'"):
        simulate(tmp_path, made.steps)
    # A synapse without a weight ends the process that it runs in.
    file.write_text(whole.replace("[w: 0]", "[]"))
    with pytest.raises(EngineError, match="exit code -6: terminate called"):
        simulate(tmp_path, made.steps)
    file.write_text(whole)
    with pytest.raises(EngineTimeoutError, match=r"no result within 0\.01 s"):
        simulate(tmp_path, made.steps, timeout=0.01)
    assert simulate(tmp_path, made.steps).version == sanafe_version()


def sanafe_version() -> str:
    from importlib.metadata import version

    return version("sanafe")
