"""trispike compare: the table, ledgers in place of runs, wrong use."""

import pytest

from trispike.network import load


def test_a_table_of_two_networks(run, files):
    command = ("compare", files.integer_network, files.float_network, "--data", files.data)
    outcome = run(*command)
    assert outcome.code == 0
    facts = run(*command, "--json").json
    first, second = facts["networks"]
    assert [n["name"] for n in facts["networks"]] == ["integer_network", "float_network"]
    assert (first["kind"], second["kind"]) == ("integer", "float")
    assert facts["samples"] == 12
    lines = {line.split("  ")[0]: line for line in outcome.out.splitlines()}
    assert f"{first['spikes']:,.0f}" in lines["spikes"]
    assert f"{second['ratio_to_first']['spikes']:.3f}" in lines["spikes"]
    assert "0 + 7" in lines["populations, binary + ternary"]
    assert "float_network is right where integer_network is wrong on" in outcome.out
    assert "12 samples of data.npz; Loihi 1" in outcome.out
    priced = run("estimate", files.integer_network, "--data", files.data, "--json").json
    assert first["joules"] == priced["energy_per_inference_joules"]
    assert first["joules_per_correct"] == priced["joules_per_correct_prediction"]
    assert first["accuracy_standard_error"] == priced["accuracy_standard_error"]


def test_ledgers_give_the_same_figures(run, files, tmp_path):
    networks = (files.integer_network, files.float_network)
    ledgers = []
    for number, network in enumerate(networks):
        path = tmp_path / f"{number}.safetensors"
        run("simulate", network, "--data", files.data, "--ledger-out", path)
        ledgers += ["--ledger", path]
    from_files = run("compare", *networks, *ledgers, "--json").json
    assert from_files == run("compare", *networks, "--data", files.data, "--json").json
    swapped = [ledgers[0], ledgers[3], ledgers[2], ledgers[1]]
    outcome = run("compare", *networks, *swapped)
    assert outcome.code == 1
    assert "counts of the network with sha256" in outcome.err


def test_files_of_one_name_are_told_apart(run, files, tmp_path):
    copy = tmp_path / files.integer_network.name
    copy.write_bytes(files.integer_network.read_bytes())
    assert load(copy).steps == load(files.integer_network).steps
    facts = run("compare", copy, files.integer_network, "--data", files.data, "--json").json
    assert [n["name"] for n in facts["networks"]] == [f"1: {copy}", f"2: {files.integer_network}"]
    assert facts["networks"][1]["ratio_to_first"]["joules"] == 1


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (lambda f: (f.integer_network, "--data", f.data), "networks: got one; expected two or"),
        (lambda f: (f.integer_network, f.float_network), "got neither --data nor --ledger"),
        (
            lambda f: (f.integer_network, f.float_network, "--ledger", f.data),
            "--ledger: got 1 for 2 networks; expected one for each network",
        ),
        (
            lambda f: (f.vectors, f.vectors, "--data", f.vectors_data, "--hardware", "loihi9"),
            "loihi9",
        ),
    ],
)
def test_wrong_use(refused, files, options, text):
    message = refused("compare", *options(files), kind="InvalidSettingError", code=2)
    assert text in message
