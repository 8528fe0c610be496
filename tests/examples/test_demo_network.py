"""The demo's checkpoint is what it is said to be, and its training script runs."""

from importlib import resources

import pytest
import torch

from examples import train_digits
from trispike.nn import CTSN, load_checkpoint, record_potentials
from trispike.runtime.data import load_digits_split


@pytest.fixture(scope="module")
def model():
    with resources.as_file(resources.files("trispike") / "demo" / "ctsn_digits.pth") as path:
        assert path.stat().st_size < 1_000_000
        return load_checkpoint(path, "ctsn-resnet8", steps=4)


def test_the_demo_network_reads_digits(model):
    images, labels = map(torch.from_numpy, load_digits_split().test)
    with torch.no_grad():
        correct = model(images).argmax(1) == labels
    assert correct.float().mean() >= 0.97


def test_the_demo_network_is_genuinely_trained(model):
    neurons = [module for module in model.modules() if isinstance(module, CTSN)]
    values = [p.item() for neuron in neurons for p in neuron.parameters()]
    assert len(neurons) == 7
    assert len(set(values)) == 21
    assert min(abs(value) for value in values) > 1e-3
    images = torch.from_numpy(load_digits_split().test.x)
    with torch.no_grad(), record_potentials(model) as potentials:
        model(images)
    for v in potentials.values():
        # Both signs, in every layer, and far from always.
        assert 0.02 < (v >= 0.5).float().mean() < 0.5
        assert 0.02 < (v <= -0.5).float().mean() < 0.5


def test_the_training_script_learns_and_saves(tmp_path, monkeypatch, capsys):
    output = tmp_path / "out" / "net.pth"
    monkeypatch.setattr("sys.argv", ["train_digits.py", "--epochs", "1", "--output", str(output)])
    threads = torch.get_num_threads()
    try:
        train_digits.main()
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(False)
    assert "epoch   1/1  loss" in capsys.readouterr().out
    assert load_checkpoint(output, "ctsn-resnet8", steps=4).steps == 4
