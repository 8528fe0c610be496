"""Fine-tuning: better than rounding, exact, resumable, and refused where it cannot work."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from trispike.errors import (
    FileFormatError,
    InvalidDataError,
    InvalidSettingError,
    QuantizationError,
)
from trispike.network import equal
from trispike.quantize import quantize
from trispike.quantize.finetune import IntegerModule, Settings, finetune, trainer
from trispike.runtime import ReferenceEngine
from trispike.runtime.fast import FastEngine

QUICK = Settings(epochs=2, batch_size=8)


class Interrupted(Exception):
    pass


@pytest.fixture(scope="module")
def tuned(source, split, quantization):
    """Two epochs at two bits."""
    settings = Settings(epochs=2, batch_size=32, learning_rate=0.01)
    return finetune(source, quantization, *split.train, settings=settings)


def test_two_bits_read_more_digits_than_after_rounding(tuned, quantization, split):
    test = split.test.x, split.test.y
    before = FastEngine(quantization.network).run(*test).accuracy
    after = FastEngine(tuned.network).run(*test).accuracy
    assert before is not None
    assert after is not None
    assert after > before
    for connection in tuned.network.all_connections:
        assert set(np.unique(connection.operator.weight)) <= {-1, 0, 1}
    record = tuned.record
    assert record.best_accuracy > record.quantized_accuracy
    assert [e.epoch for e in record.epochs] == [0, 1, 2]
    assert record.epochs[0].validation_accuracy == record.quantized_accuracy
    assert record.best_accuracy == max(e.validation_accuracy for e in record.epochs)


def test_the_spikes_of_1000_samples_are_those_of_the_reference(source, quantization, split):
    """Of the module that trained, not of one that was made from what it exported."""
    module = IntegerModule.from_float(source, quantization)
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    for _ in range(3):
        loss = module(module.encode(split.train.x[:32])).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        module.confine()
    exported = module.export()
    assert not equal(exported, quantization.network)
    data = split.train.x[:1000]
    for first in range(0, len(data), 250):
        part = data[first : first + 250]
        result = ReferenceEngine(exported).run(part, record="all")
        trace = module.trace(module.encode(part))
        for name, traces in result.records.items():
            for key, values in traces.items():
                assert np.array_equal(trace.records[name][key], values), (name, key)
        assert np.array_equal(trace.logits, result.logits)


def test_after_an_interruption_it_ends_in_the_same_network(
    source, quantization, few, tmp_path, monkeypatch
):
    monkeypatch.setattr(trainer, "KEPT_EVERY", 0.0)
    whole = finetune(source, quantization, *few, settings=QUICK)
    path = tmp_path / "state.pt"
    for stop_after in (8, 20):  # in the middle of an epoch, after a batch and after an epoch
        done = 0

        def stop(count: int, stop_after: int = stop_after) -> None:
            nonlocal done
            done += count
            if done >= stop_after:
                raise Interrupted

        with pytest.raises(Interrupted):
            finetune(source, quantization, *few, settings=QUICK, checkpoint=path, progress=stop)
        assert [p.name for p in tmp_path.iterdir()] == ["state.pt"]
    again = finetune(source, quantization, *few, settings=QUICK, checkpoint=path)
    assert equal(again.network, whole.network)
    without_time = [
        [(e.epoch, e.training_loss, e.validation_loss, e.validation_accuracy) for e in r.epochs]
        for r in (again.record, whole.record)
    ]
    assert without_time[0] == without_time[1]
    # What is done is not done again.
    finished = finetune(
        source, quantization, *few, settings=QUICK, checkpoint=path, progress=pytest.fail
    )
    assert equal(finished.network, whole.network)


def test_a_checkpoint_of_another_run_is_refused(source, quantization, few, tmp_path):
    path = tmp_path / "state.pt"
    finetune(source, quantization, *few, settings=QUICK, checkpoint=path)
    before = path.read_bytes()
    x, y = few
    others = (
        {"settings": Settings(epochs=3, batch_size=8), "data": x, "labels": y},
        {"settings": QUICK, "data": x, "labels": (y + 1) % 10},
        {"settings": QUICK, "data": x, "labels": y, "augment": lambda codes, _: codes},
    )
    for other in others:
        with pytest.raises(InvalidSettingError, match="one of other networks, data or settings"):
            finetune(source, quantization, **other, checkpoint=path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"nothing", None])
def test_a_file_that_is_no_checkpoint_is_refused(source, quantization, few, tmp_path, content):
    path = tmp_path / "state.pt"
    if content is None:
        torch.save({"format": "other", "version": 1}, path)
    else:
        path.write_bytes(content)
    for argument in ("checkpoint", "start"):
        with pytest.raises(FileFormatError, match="expected a checkpoint of trispike finetune"):
            finetune(source, quantization, *few, settings=QUICK, **{argument: path})


def test_it_can_begin_with_the_best_of_another_run(source, quantization, few, tmp_path):
    path = tmp_path / "state.pt"
    first = finetune(source, quantization, *few, settings=QUICK, checkpoint=path)
    second = finetune(source, quantization, *few, settings=QUICK, start=path)
    best = max(e.validation_accuracy for e in first.record.epochs)
    assert second.record.epochs[0].validation_accuracy == best
    eight = quantize(source, few[0], weight_bits=4, granularity="layer")
    with pytest.raises(InvalidSettingError, match="got one of another network"):
        finetune(source, eight, *few, settings=QUICK, start=path)


@pytest.mark.parametrize("loss", ["cross_entropy", "tet"])
def test_both_losses_fall(source, quantization, split, few, loss):
    settings = Settings(epochs=3, batch_size=16, loss=loss)
    data = split.train.x[40:240], split.train.y[40:240]
    record = finetune(source, quantization, *data, settings=settings, validation=few).record
    losses = [e.training_loss or math.inf for e in record.epochs[1:]]
    assert losses[-1] < 0.7 * losses[0]


def test_tet_is_the_mean_over_the_steps():
    steps, labels = torch.randn(3, 5, 4), torch.tensor([0, 1, 2, 3, 0])
    each = [torch.nn.functional.cross_entropy(step, labels) for step in steps]
    assert torch.isclose(trainer._loss(steps, labels, "tet"), torch.stack(each).mean())


def test_patience_ends_it_early(source, quantization, few, monkeypatch):
    accuracies = iter([0.5, 0.6, 0.6, 0.4, 0.9])
    monkeypatch.setattr(trainer, "validate", lambda *_: (1.0, next(accuracies, 0.1)))
    settings = Settings(epochs=9, batch_size=8, patience=2)
    record = finetune(source, quantization, *few, settings=settings).record
    assert [e.epoch for e in record.epochs] == [0, 1, 2, 3]
    assert (record.stopped_early, record.best_epoch, record.best_accuracy) == (True, 1, 0.9) or (
        record.best_epoch is None
    )


def test_where_nothing_is_better_the_quantization_stays(source, quantization, few, monkeypatch):
    monkeypatch.setattr(trainer, "validate", lambda *_: (1.0, 0.5))
    result = finetune(source, quantization, *few, settings=QUICK)
    assert result.network is quantization.network
    assert (result.record.best_epoch, result.record.stopped_early) == (None, False)


@pytest.mark.parametrize("bad", [math.nan, 1e9])
def test_a_diverging_loss_ends_it_and_says_what_to_do(
    source, quantization, few, tmp_path, monkeypatch, bad
):
    real = trainer._loss
    count = 0

    def failing(*arguments):
        nonlocal count
        count += 1
        return real(*arguments) * (bad if count > 6 else 1.0)

    monkeypatch.setattr(trainer, "_loss", failing)
    path = tmp_path / "state.pt"
    with pytest.raises(QuantizationError, match=r"diverges: use a lower learning rate than 0\.01"):
        finetune(source, quantization, *few, settings=QUICK, checkpoint=path)
    with pytest.raises(QuantizationError, match=f"start='{path}'"):
        finetune(source, quantization, *few, settings=QUICK, checkpoint=path)
    monkeypatch.undo()
    finetune(source, quantization, *few, settings=QUICK, start=path)


def test_a_learning_rate_beyond_all_measure_is_found_out(source, split):
    quantization = quantize(source, split.train.x[:8], weight_bits=8)
    settings = Settings(epochs=3, learning_rate=1.0, batch_size=16)
    data = split.train.x[:500], split.train.y[:500]
    with pytest.raises(QuantizationError, match="It diverges: use a lower learning rate than 1,"):
        finetune(source, quantization, *data, settings=settings)


def test_data_that_do_not_fit_are_refused(source, quantization, few):
    x, y = few
    for data, labels, message in (
        (x[:, :, :4], y, "data: got an array of shape"),
        (x[:0], y[:0], "data: got no samples"),
        (x * np.nan, y, "NaN or infinite"),
        (x * 255, y, "beyond the range of the calibration data; expected at most 5%"),
        (x / 1e6, y, "all 0 once they are quantized"),
        (x, y[:-1], "labels: got an array of shape"),
        (x, y + 10, r"labels: got values from .*; expected 40 integers in 0\.\.9"),
    ):
        with pytest.raises(InvalidDataError, match=message):
            finetune(source, quantization, data, labels)
    with pytest.raises(InvalidDataError, match="data: got an array of shape"):
        finetune(source, quantization, x, y, validation=(x[0], y))


@pytest.mark.parametrize("share", [0, 1, -1, 0.001, 2.0])
def test_a_validation_share_has_to_leave_samples_on_both_sides(source, quantization, few, share):
    with pytest.raises(InvalidSettingError, match="a share that leaves samples on both sides"):
        finetune(source, quantization, *few, validation=share)


def test_the_samples_that_validate_are_not_trained_on(source, quantization, few):
    seen: list[bytes] = []

    def keep(codes: torch.Tensor, _: torch.Generator) -> torch.Tensor:
        seen.extend(code.numpy().tobytes() for code in codes)
        return codes

    settings = Settings(epochs=2, batch_size=10)
    result = finetune(source, quantization, *few, settings=settings, augment=keep, validation=0.25)
    assert (result.record.training_samples, result.record.validation_samples) == (30, 10)
    assert len(seen) == 60
    assert len(set(seen)) == 30


def test_augmentation_depends_on_the_seed_only(source, quantization, few):
    def noise(codes: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        change = torch.randint(-9, 10, codes.shape, generator=generator, dtype=torch.int8)
        return (codes // 2 + change).to(torch.int8)

    one, same = (finetune(source, quantization, *few, settings=QUICK, augment=noise) for _ in "ab")
    assert one.record.epochs[2].training_loss == same.record.epochs[2].training_loss
    other = Settings(epochs=2, batch_size=8, seed=1)
    different = finetune(source, quantization, *few, settings=other, augment=noise)
    assert different.record.epochs[2].training_loss != one.record.epochs[2].training_loss


def test_the_rate_rises_and_falls():
    factors = [trainer._schedule(done, 100) for done in range(100)]
    top = factors.index(max(factors))
    assert 0 < factors[0] < factors[top] <= 1
    assert top == 5
    assert factors[top:] == sorted(factors[top:], reverse=True)
    assert factors[-1] < 0.01
