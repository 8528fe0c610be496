"""The trainer for any architecture: every loss learns, several processes stay alike."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed
from torch.multiprocessing.spawn import spawn

from examples import train as script
from examples.training import (
    Criterion,
    Objective,
    Recipe,
    order,
    parameter_groups,
    share,
    train,
)
from trispike.nn import (
    both_passes,
    build_model,
    cross_entropy,
    label_smoothed_temporal_efficient_loss,
    load_checkpoint,
    membrane_regularization,
    temporal_reversed_loss,
)
from trispike.runtime.data import Samples, load_digits_split


@pytest.mark.parametrize(
    ("arch", "loss"),
    [
        ("lif-resnet8", "tet"),
        ("ternary-spike-resnet8", "cross-entropy"),
        ("ctsn-resnet8", "tmpr"),
        ("lif-resnet8", "trt"),
        ("lif-resnet8", "tet-s"),
    ],
)
def test_every_kind_of_neuron_and_loss_learns(arch, loss, tmp_path, monkeypatch, capsys):
    output = tmp_path / "net.pth"
    options = f"--arch {arch} --data digits --loss {loss} --steps 2 --epochs 4 --threads 1"
    monkeypatch.setattr("sys.argv", ["train", *options.split(), "--output", str(output)])
    script.main()
    printed = capsys.readouterr().out
    losses = [float(line.split()[3]) for line in printed.splitlines() if line[:5] == "epoch"]
    assert len(losses) == 4
    assert losses[-1] < 0.7 * losses[0]
    rates = [
        float(line.split()[-1][:-1])
        for line in printed.splitlines()
        if "%  " not in line and line.endswith("%")
    ]
    assert len(rates) == 7
    assert all(0 <= rate <= 100 for rate in rates)
    assert load_checkpoint(output, arch, steps=2).input_shape == (1, 8, 8)


def test_the_losses_are_what_their_names_say():
    torch.manual_seed(0)
    logits, classes = torch.randn(3, 5, 4), torch.tensor([0, 1, 2, 3, 0])
    potentials = [torch.randn(3, 5, 7)]

    def loss(**recipe: Any) -> torch.Tensor:
        return Criterion(Recipe(epochs=1, **recipe), compiled=False)(logits, classes, potentials)

    plain = cross_entropy(logits, classes)
    assert torch.equal(loss(loss="cross-entropy"), plain)
    expected = plain + 0.25 * membrane_regularization(potentials)
    assert torch.equal(loss(loss="tmpr", tmpr=0.25), expected)
    assert loss(loss="tet") != plain
    smoothed = label_smoothed_temporal_efficient_loss(logits, classes, 0.2)
    assert torch.equal(loss(loss="tet-s", smoothing=0.2), smoothed)


def test_trt_trains_a_head_beside_the_model():
    torch.manual_seed(0)
    model = build_model("lif-resnet8", steps=3)
    recipe = Recipe(epochs=1, loss="trt", consistency=0.3, star=0.6, temperature=3.0)
    objective = Objective(model, recipe, compiled=False)
    x, classes = torch.rand(4, 1, 8, 8), torch.arange(4)
    head = objective.head
    assert isinstance(head, torch.nn.Linear)
    expected = temporal_reversed_loss(
        both_passes(model, x), classes, head, consistency=0.3, star=0.6, temperature=3.0
    )
    assert torch.equal(objective(x, classes), expected)
    assert not any(key.startswith("model.aux") for key in model.state_dict())
    without = Recipe(epochs=1, loss="trt", star=0.0)
    assert Objective(model, without, compiled=False).head is None


def test_initial_potentials_and_gains_do_not_decay():
    model = build_model("imp-vgg6-legacy", steps=3, input_shape=(1, 8, 8))
    *_, kept = parameter_groups(model, Recipe(epochs=1))
    assert kept["weight_decay"] == 0
    assert len(kept["params"]) == 10  # mem and te of five layers
    counted = sum(len(group["params"]) for group in parameter_groups(model, Recipe(epochs=1)))
    assert counted == len(list(model.parameters()))
    assert len(parameter_groups(build_model("lif-resnet8", steps=3), Recipe(epochs=1))) == 2


def test_an_epoch_is_a_permutation_of_its_own():
    recipe = Recipe(epochs=2, seed=3)
    first, second = order(50, recipe, 1), order(50, recipe, 2)
    assert torch.equal(first, order(50, recipe, 1))
    assert not torch.equal(first, second)
    assert torch.equal(first.sort().values, torch.arange(50))
    assert torch.equal(share(first), first)  # alone


def test_options_out_of_range_are_refused(monkeypatch, capsys):
    options = "--arch lif-resnet8 --data digits --epochs 0"
    monkeypatch.setattr("sys.argv", ["train", *options.split()])
    with pytest.raises(SystemExit):
        script.main()
    assert "at least 1" in capsys.readouterr().err


def _one_of_two(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    split = load_digits_split()
    data = (Samples(split.train.x[:250], split.train.y[:250]), split.test)
    torch.manual_seed(0)
    model = build_model("ctsn-resnet8", steps=2, form="static")
    taken = share(torch.arange(9))
    recipe = Recipe(epochs=1, batch=100)  # the last batch is odd
    train(model, data, recipe, lambda images: images, checkpoint=Path(folder) / "state")
    state = dict(model.named_parameters())
    torch.save({"state": state, "share": taken}, f"{folder}/{rank}.pth")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_processes_share_the_work_and_keep_one_network(tmp_path, capfd):
    spawn(_one_of_two, (str(tmp_path),), nprocs=2)  # type: ignore[no-untyped-call]
    first, second = (torch.load(tmp_path / f"{rank}.pth") for rank in (0, 1))
    assert first["share"].tolist() == [0, 1, 2, 3, 4]
    assert second["share"].tolist() == [5, 6, 7, 8, 0]
    for name, value in first["state"].items():
        assert torch.equal(value, second["state"][name]), name
    assert capfd.readouterr().out.count("epoch   1/1") == 1
    assert not (tmp_path / "state").exists()
