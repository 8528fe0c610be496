"""``trispike export --format nir`` and ``trispike import``."""

from __future__ import annotations

import numpy as np
import pytest

from trispike.network import equal, load, save

nir = pytest.importorskip("nir", reason="nir is not installed")

EXPORT = ("--format", "nir")


@pytest.fixture
def foreign(tmp_path):
    """A graph as snnTorch writes it."""
    tau = np.full(4, 1e-3)
    lif = nir.LIF(tau, tau / 1e-4, np.zeros(4), np.ones(4), np.zeros(4))
    graph = nir.NIRGraph.from_list(nir.Linear(np.eye(4, 3)), lif)
    nir.write(tmp_path / "foreign.nir", graph)
    return tmp_path / "foreign.nir"


def test_there_and_back(run, files, tmp_path):
    for network in (files.float_network, files.integer_network):
        done = run("export", network, *EXPORT, "--dt", "1e-3", "-o", tmp_path / "net.nir")
        assert done.code == 0
        assert "Read back with nir, the graph equals the network." in done.out
        done = run("import", tmp_path / "net.nir", "-o", tmp_path / "back.safetensors")
        assert done.code == 0
        assert "imported a" in done.out
        back, original = load(tmp_path / "back.safetensors"), load(network)
        assert equal(back, original)
        assert dict(back.provenance).items() > dict(original.provenance).items()


def test_an_export_that_does_not_come_back_fails(run, files, tmp_path, monkeypatch):
    monkeypatch.setattr("trispike.cli.export.equal", lambda *_: False)
    done = run("export", files.vectors, *EXPORT, "-o", tmp_path / "net.nir")
    assert done.code == 1
    assert "DIFFERS FROM the network" in done.out


def test_engine_nir(run, files):
    command = ("--data", files.vectors_data, "--engines", "reference,nir")
    done = run("verify", files.vectors, *command)
    assert done.code == 0
    assert done.out.startswith("reference == nir\n")


def test_standard_nodes_are_measured(run, files, tmp_path):
    done = run(
        *("export", files.float_network, *EXPORT, "-o", tmp_path / "net.nir"),
        *("--nodes", "standard", "--convention", "norse", "--allow-lossy"),
        *("--data", files.data, "--samples", 3, "--json"),
    )
    assert done.code == 0, done
    facts = done.json
    assert facts["mismatch"]["samples"] == 3
    assert 0 < facts["mismatch"]["fraction"] < 1
    assert any("two opposed binary populations" in loss for loss in facts["losses"])
    assert any("run 3 time steps" in note for note in facts["notes"])
    kinds = {type(node).__name__ for node in nir.read(tmp_path / "net.nir").nodes.values()}
    assert "LIF" in kinds
    assert "CTSN" not in kinds


def test_losses_have_to_be_allowed(refused, files):
    message = refused(
        *("export", files.float_network, *EXPORT, "--nodes", "standard"),
        kind="UnsupportedError",
        output=True,
    )
    assert "--allow-lossy --data DATA" in message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--nodes", "some"), "--nodes: got 'some'"),
        (("--allow-lossy",), "--allow-lossy: got --nodes complete"),
        (("--convention", "norse", "--data", "digits"), "--convention, --data: got --nodes"),
        (("--dt", "0"), "dt: got 0"),
        (("--form", "step"), "--form: got format 'nir'"),
        (("--nodes", "standard", "--convention", "brian"), "convention: got 'brian'"),
    ],
)
def test_wrong_use_of_export(refused, files, options, words):
    command = ("export", files.vectors, *EXPORT, *options)
    assert words in refused(*command, kind="InvalidSettingError", code=2, output=True)


def test_a_foreign_graph(run, foreign, tmp_path):
    done = run(
        *("import", foreign, "-o", tmp_path / "net.safetensors", "--convention", "snntorch"),
        *("--steps", 5, "--set", "reset=zero", "--input-encoding", "spikes", "--readout", "sum"),
    )
    assert done.code == 0, done
    assert "snnTorch's soft reset" in done.out
    network = load(tmp_path / "net.safetensors")
    assert network.steps == 5
    assert network.input.encoding == "spikes"
    assert np.array_equal(network.readout.weights, np.ones(5))
    (population,) = network.populations.values()
    assert population.neuron.b_pos == 0.9
    assert network.provenance["nir"]["convention"] == "snntorch"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "steps: got None"),
        (("--steps", 3), "convention: got None"),
        (("--steps", 3, "--convention", "brian"), "convention: got 'brian'"),
        (("--steps", 3, "--convention", "snntorch"), "whose files do not say 'reset'"),
        (("--steps", 3, "--convention", "exact"), "dt: got nothing"),
        (
            ("--steps", 3, "--convention", "exact", "--dt", 1, "--set", "reset"),
            "--set: got 'reset'",
        ),
        (("--steps", 3, "--convention", "exact", "--dt", 1, "--set", "x=1"), "setting 'x'"),
    ],
)
def test_what_has_to_be_told(refused, foreign, options, words):
    message = refused("import", foreign, *options, kind="InvalidSettingError", code=2, output=True)
    assert words in message


def test_another_dt_is_noticed(refused, foreign):
    message = refused(
        *("import", foreign, "--steps", 3, "--convention", "exact", "--dt", "0.01"),
        kind="FileFormatError",
        output=True,
    )
    assert "field 'tau': got 0.001, below dt = 0.01" in message


def test_what_the_file_says_itself(refused, run, files, tmp_path):
    run("export", files.vectors, *EXPORT, "-o", tmp_path / "net.nir")
    command = ("import", tmp_path / "net.nir", "--steps", 3)
    message = refused(*command, kind="InvalidSettingError", code=2, output=True)
    assert "steps: got a graph of trispike" in message


def test_no_nir_file(refused, files):
    command = ("import", files.vectors, "--steps", 3, "--convention", "norse")
    message = refused(*command, kind="FileFormatError", output=True)
    assert "expected a graph written by nir" in message


def test_the_network_is_what_save_writes(run, foreign, tmp_path):
    run(
        *("import", foreign, "-o", tmp_path / "a.safetensors", "--convention", "lava"),
        *("--steps", 2),
    )
    save(load(tmp_path / "a.safetensors"), tmp_path / "b.safetensors")
    assert equal(load(tmp_path / "a.safetensors"), load(tmp_path / "b.safetensors"))
