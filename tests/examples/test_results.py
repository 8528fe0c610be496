"""The table of what quantization costs: measured once, written between the markers."""

import json

import pytest

import trispike
from examples import results
from trispike.network import IntegerNetwork
from trispike.runtime.data import load_digits_split

SAMPLES = 32
PAGE = f"before\n{results.BEGIN}\nold figures\n{results.END}\nafter\n"


@pytest.fixture(autouse=True)
def few_samples(monkeypatch):
    monkeypatch.setattr(results, "CALIBRATION", SAMPLES)
    monkeypatch.setattr(results, "COMPARED", SAMPLES)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the command on the digits, and give the page and the figures."""
    page = tmp_path / "page.md"
    page.write_text(PAGE)

    def command(*options):
        words = ["results", "--only", "digits", "--output", str(tmp_path), "--page", str(page)]
        monkeypatch.setattr("sys.argv", [*words, *options])
        results.main()
        return page.read_text(), json.loads((tmp_path / "results.json").read_text())

    return command


def test_figures_are_measured_once_and_written_between_the_markers(run, monkeypatch, capsys):
    page, figures = run("--bits", "4")
    assert capsys.readouterr().out.count("...") == 3  # float, one scale per channel, per layer
    assert page.startswith("before\n" + results.BEGIN)
    assert page.endswith(results.END + "\nafter\n")
    assert "old figures" not in page
    assert len([line for line in page.splitlines() if line.startswith("| 4 bit |")]) == 2
    assert len([line for line in page.splitlines() if line.startswith("| `")]) == 7
    monkeypatch.setattr(trispike, "quantize", None)  # would fail
    again, same = run("--bits", "4")
    assert (again, same) == (page, figures)


@pytest.mark.slow
def test_a_row_says_what_simulate_says(run):
    _, figures = run("--bits", "2")
    study = results.Study("digits", results.Store(results.ROOT / "nowhere.json"), results.ROOT)
    split = load_digits_split()
    quantization = trispike.quantize(
        study.network, split.train.x[:SAMPLES], weight_bits=2, granularity="layer"
    )
    result = trispike.simulate(quantization.network, split.test.x, split.test.y, engine="reference")
    row = next(value for key, value in figures.items() if key.endswith("post-training 2 layer"))
    assert row["accuracy"] == result.accuracy
    assert row["operations"] * 359 == pytest.approx(result.ledger.synaptic_operations)


def test_weights_are_counted_with_their_bits():
    study = results.Study("digits", results.Store(results.ROOT / "nowhere.json"), results.ROOT)
    split = load_digits_split()
    network = trispike.quantize(study.network, split.train.x[:8], weight_bits=3).network
    assert isinstance(network, IntegerNetwork)
    by_hand = 0
    for connection in network.all_connections:
        by_hand += len(connection.operator.weight.reshape(-1)) * 3
    assert results.weight_bits_of(network) == by_hand > 0
