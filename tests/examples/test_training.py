"""The shared training loop: it learns, and an interruption changes nothing."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from examples import train_cifar10, train_fashion_mnist
from examples.training import Recipe, accuracy, mirrored, set_steps, shifted, train
from trispike.nn import SpikeModel, build_model, load_checkpoint
from trispike.runtime.data import Samples, load_digits_split

Data = tuple[Samples, Samples]

RECIPE = Recipe(epochs=2, warmup_epochs=1, batch=64, learning_rate=0.01)


@pytest.fixture
def data():
    split = load_digits_split()
    return Samples(split.train.x[:256], split.train.y[:256]), Samples(
        split.test.x[:64], split.test.y[:64]
    )


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def trained(data: Data, path: Path, recipe: Recipe = RECIPE) -> SpikeModel:
    torch.manual_seed(1)
    model = build_model("ctsn-resnet8", steps=3, form="static")
    train(model, data, recipe, lambda images: shifted(images, 1), checkpoint=path)
    return model


class Stop(Exception):
    """Stands for the end of a session."""


def test_it_learns(data, tmp_path):
    recipe = dataclasses.replace(RECIPE, epochs=8, batch=32)
    model = trained(data, tmp_path / "state", recipe)
    images, labels = map(torch.from_numpy, data[0])
    assert accuracy(model, images, labels) > 0.5
    assert model.steps == 3
    assert not (tmp_path / "state").exists()


def test_an_interrupted_training_goes_on_where_it_was(data, tmp_path, monkeypatch, capsys):
    whole = trained(data, tmp_path / "whole")

    from examples import training

    def stop_after_first(*arguments):
        keep(*arguments)
        raise Stop

    keep = training.keep
    monkeypatch.setattr(training, "keep", stop_after_first)
    with pytest.raises(Stop):
        trained(data, tmp_path / "parts")
    monkeypatch.setattr(training, "keep", keep)
    parts = trained(data, tmp_path / "parts")
    assert "going on after epoch 1" in capsys.readouterr().out
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name


def test_the_state_of_another_recipe_is_not_taken_up(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    one_epoch = dataclasses.replace(RECIPE, epochs=1)
    trained(data, tmp_path / "state", one_epoch)
    trained(data, tmp_path / "state", dataclasses.replace(one_epoch, seed=7))
    assert "of another recipe: starting anew" in capsys.readouterr().out


def test_steps_are_set_everywhere():
    model = build_model("ctsn-vgg6", steps=4, form="static").eval()
    images = torch.rand(2, 1, 28, 28)
    set_steps(model, 2)
    with torch.no_grad():
        assert model.forward_steps(images).shape == (2, 2, 10)


def test_images_are_moved_and_mirrored():
    torch.manual_seed(0)
    images = torch.zeros(200, 1, 9, 9)
    images[:, :, 4, 4] = 1
    places = {tuple(np.argwhere(image[0].numpy())[0]) for image in shifted(images, 2)}
    assert places == {(y, x) for y in range(2, 7) for x in range(2, 7)}
    left = torch.arange(4.0).expand(100, 1, 1, 4)
    turned = (mirrored(left)[:, 0, 0, 0] == 3).float().mean()
    assert 0.3 < turned < 0.7


@pytest.mark.parametrize(
    ("script", "name", "shape"),
    [(train_fashion_mnist, "fashion-mnist", (1, 28, 28)), (train_cifar10, "cifar10", (3, 32, 32))],
)
def test_the_scripts_run_and_save(script, name, shape, tmp_path, monkeypatch, capsys):
    def load(source):
        assert source.split(":")[0] == name
        rng = np.random.default_rng(len(source))
        return Samples(rng.random((4, *shape), np.float32), rng.integers(0, 10, 4))

    output = tmp_path / "net.pth"
    monkeypatch.setattr(script, "load_data", load)
    monkeypatch.setattr("sys.argv", ["script", "--epochs", "1", "--output", str(output)])
    script.main()
    assert "epoch   1/1  loss" in capsys.readouterr().out
    assert load_checkpoint(output, script.ARCHITECTURE, steps=4).input_shape == shape
