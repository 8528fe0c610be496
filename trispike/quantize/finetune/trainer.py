"""Fine-tuning: a few epochs on data, the best network by validation."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from trispike.errors import InvalidDataError, InvalidSettingError, QuantizationError
from trispike.network import FloatNetwork, IntegerNetwork
from trispike.nn.losses import cross_entropy, temporal_efficient_loss
from trispike.quantize.finetune import checkpoint as checkpoints
from trispike.quantize.finetune.checkpoint import Progress
from trispike.quantize.finetune.module import IntegerModule
from trispike.quantize.finetune.record import EpochRecord, FinetuneRecord
from trispike.quantize.finetune.settings import Loss, Settings
from trispike.quantize.quantize import Quantization

__all__ = ["Augment", "Finetuning", "finetune"]

Array: TypeAlias = npt.NDArray[Any]
Augment: TypeAlias = Callable[[Tensor, torch.Generator], Tensor]
"""Makes other samples of the same things, from encoded ones and a source of randomness."""

SHARED_RATE = 0.1
"""What acts on a whole channel or layer learns at, of the rate of the weights."""

WARMUP = 0.05
"""Share of the updates during which the rate rises."""

KEPT_EVERY = 60.0
"""Seconds between checkpoints within an epoch."""

JUDGED_OVER = 20
"""Batches that the running mean of the loss spans."""

EXPLODED = 3.0
"""A loss so many times that of the start, or of a guess where that is larger, has diverged."""

LARGEST_CLIPPED = 0.05
"""Share of the data that may lie outside of the range that the input was quantized for."""

VALIDATION_BATCH = 250
"""Samples that are validated together."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Finetuning:
    """An integer network, and how it was found."""

    network: IntegerNetwork
    record: FinetuneRecord


def finetune(
    source: FloatNetwork,
    quantization: Quantization,
    data: Array,
    labels: Array,
    *,
    validation: tuple[Array, Array] | float = 0.1,
    settings: Settings | None = None,
    augment: Augment | None = None,
    checkpoint: str | PathLike[str] | None = None,
    start: str | PathLike[str] | None = None,
    progress: Callable[[int], None] | None = None,
    report: Callable[[EpochRecord], None] | None = None,
    fast: bool = False,
) -> Finetuning:
    """Fine-tune an integer network with the integers that it computes with.

    Args:
        source: The float network, whose parameters training begins with.
        quantization: What ``quantize`` made of it: bits, exponents, state shifts and input scale
            stay as they are there.
        data: Raw training data, as ``source.input.encode`` takes them.
        labels: (N,) classes.
        validation: Data and labels by which the best epoch is chosen, or the share of the training
            data that is set aside for that.
        settings: Epochs, learning rate and all that.
        augment: Applied to every training batch.
        checkpoint: File in which the state is kept, about every minute and after every epoch. If
            it is there, training goes on from it, with the same result as without interruption.
        start: Checkpoint of an earlier fine-tuning of the same network, whose best state training
            begins with.
        progress: Called with the number of training samples finished since the last call.
        report: Called after the validation of every epoch, the start included.
        fast: Compiled neurons and gradients in bfloat16: less time, after some minutes for the
            compiler; the exported network is still exactly what trained.

    Returns:
        The network of the best epoch; the post-training network where none was better.

    Raises:
        InvalidDataError: Data or labels do not fit the network, or are out of range.
        InvalidSettingError: A setting is out of range, or a checkpoint is of another run.
        QuantizationError: The quantization is of another network, or the training diverged.
        UnsupportedError: Sums of a layer can leave what float64 holds.
        FileFormatError: The checkpoint is damaged.
    """
    chosen = settings or Settings()
    module = IntegerModule.from_float(
        source, quantization, trained=chosen.trained, surrogate=chosen.surrogate, fast=fast
    )
    samples = _encoded(module, data, labels, "data")
    training, held_out = _split(module, samples, validation, chosen.seed)
    if start is not None:
        _begin_with(module, Path(start))
    trainer = _Trainer(module, training, held_out, chosen, augment)
    trainer.follow(
        Path(checkpoint) if checkpoint is not None else None,
        checkpoints.fingerprint(
            chosen.to_dict() | {"start": start is not None, "augment": augment is not None},
            (source, quantization.network),
            (*training, *held_out, *module.state_dict().values()),
        ),
    )
    trainer.run(progress, report)
    return trainer.result(quantization.network)


Samples: TypeAlias = tuple[Tensor, Tensor]
"""Encoded data, int8, and labels."""


def _encoded(module: IntegerModule, data: Array, labels: Array, what: str) -> Samples:
    network = module.network
    data = np.asarray(data)
    network.input.check(data, network.steps)
    classes = network.readout.checked_labels(labels, len(data))
    if not len(data):
        raise InvalidDataError(
            what, got="no samples", expected="at least one", fix="Give data to learn from."
        )
    if (clipped := network.input.clipped(data)) > LARGEST_CLIPPED:
        raise InvalidDataError(
            what,
            got=f"{clipped:.1%} of the values beyond the range of the calibration data",
            expected=f"at most {LARGEST_CLIPPED:.0%}",
            fix="Scale the data as those were, or calibrate with data like these.",
        )
    step = 4096
    parts = [module.encode(data[first : first + step]) for first in range(0, len(data), step)]
    codes = torch.cat(parts)
    if not codes.any():
        raise InvalidDataError(
            what,
            got="values that are all 0 once they are quantized",
            expected="values of the size of the calibration data",
            fix="Scale the data as those were, or calibrate with data like these.",
        )
    return codes, torch.from_numpy(classes)


def _split(
    module: IntegerModule, samples: Samples, validation: tuple[Array, Array] | float, seed: int
) -> tuple[Samples, Samples]:
    if isinstance(validation, tuple):
        return samples, _encoded(module, *validation, "validation data")
    codes, labels = samples
    count = round(len(codes) * validation) if 0 < validation < 1 else 0
    if not 0 < count < len(codes):
        raise InvalidSettingError(
            "setting 'validation'",
            got=f"{validation!r} of {len(codes)} samples",
            expected="a share that leaves samples on both sides",
            fix="Give a share between 0 and 1, or data of their own.",
        )
    order = torch.randperm(len(codes), generator=_random(seed, 0))
    held_out, rest = order[:count], order[count:]
    return (codes[rest], labels[rest]), (codes[held_out], labels[held_out])


def _begin_with(module: IntegerModule, path: Path) -> None:
    best = checkpoints.load_best(path)
    try:
        module.load_state_dict(best)
    except RuntimeError as error:
        raise InvalidSettingError(
            f"checkpoint '{path}'",
            got="one of another network",
            expected="one of this network",
            fix="Name the checkpoint of an earlier fine-tuning of this network.",
        ) from error


def _random(*seeds: int) -> torch.Generator:
    """A source of randomness that depends on nothing else."""
    (state,) = np.random.SeedSequence(seeds).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


class _Trainer:
    def __init__(
        self,
        module: IntegerModule,
        training: Samples,
        held_out: Samples,
        settings: Settings,
        augment: Augment | None,
    ) -> None:
        self.module = module
        self.training, self.held_out = training, held_out
        self.settings = settings
        self.augment = augment
        self.optimizer = torch.optim.Adam(_groups(module, settings.learning_rate), eps=1e-15)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.path: Path | None = None
        self.mark = ""
        self.state = Progress()
        self.kept_at = time.monotonic()

    def follow(self, path: Path | None, mark: str) -> None:
        """Keep the state in a file, and go on from it if it is there."""
        self.path, self.mark = path, mark
        if path is not None and path.exists():
            module, optimizer, self.state = checkpoints.read(path, mark)
            self.module.load_state_dict(module)
            self.optimizer.load_state_dict(optimizer)

    @property
    def batches(self) -> int:
        """Per epoch; what does not fill a batch is left for another epoch."""
        return max(1, len(self.training[0]) // self.settings.batch_size)

    def run(
        self,
        progress: Callable[[int], None] | None,
        report: Callable[[EpochRecord], None] | None,
    ) -> None:
        """All epochs that are left."""
        if not self.state.history:
            self._validated(0, None, time.monotonic(), report)
        for epoch in range(self.state.epoch, self.settings.epochs + 1):
            if self._patience_ended():
                return
            began = time.monotonic() - self.state.seconds
            self.module.train()
            for chosen in self._left():
                self._update(chosen)
                self.state.seconds = time.monotonic() - began
                self._keep_now_and_then()
                if progress:
                    progress(len(chosen))
            loss = self.state.loss_sum / self.batches
            self.state.epoch, self.state.batch, self.state.loss_sum = epoch + 1, 0, 0.0
            self._validated(epoch, loss, began, report)

    def _left(self) -> Iterator[Tensor]:
        """Batches of this epoch that are not done, as indices."""
        size = min(self.settings.batch_size, len(self.training[0]))
        generator = _random(self.settings.seed, 1, self.state.epoch)
        order = torch.randperm(len(self.training[0]), generator=generator)
        for batch in range(self.state.batch, self.batches):
            yield order[batch * size : (batch + 1) * size]

    def _update(self, chosen: Tensor) -> None:
        settings, state = self.settings, self.state
        codes, labels = self.training[0][chosen], self.training[1][chosen]
        if self.augment:
            generator = _random(settings.seed, 2, state.epoch, state.batch)
            codes = self.augment(codes, generator)
        done = (state.epoch - 1) * self.batches + state.batch
        factor = _schedule(done, settings.epochs * self.batches)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        loss = _loss(self.module(codes), labels, settings.loss)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._check(loss.item(), done)
        self.optimizer.step()
        self.module.confine()
        state.loss_sum += loss.item()
        state.batch += 1

    def _check(self, loss: float, done: int) -> None:
        """Refuse to go on with a loss that is not a number, or explodes."""
        state = self.state
        weight = 1 / min(done + 1, JUDGED_OVER)
        state.recent_loss = loss * weight + (state.recent_loss or 0.0) * (1 - weight)
        start = float(state.history[0]["validation_loss"])
        guess = math.log(max(2, self.module.network.readout.classes))
        limit = EXPLODED * max(guess, start)
        if math.isfinite(loss) and state.recent_loss <= limit:
            return
        rate = self.settings.learning_rate
        where = f" from the best state so far: start='{self.path}' (--start)" if self.path else ""
        raise QuantizationError(
            "fine-tuning",
            got=f"a loss from {start:.3g} up to {loss:.3g} in epoch {state.epoch}",
            expected=f"one that stays below {limit:.3g}",
            fix=f"It diverges: use a lower learning rate than {rate:g}, such as {rate / 4:g}, with "
            f"another checkpoint file{', and begin' if where else ''}{where}.",
        )

    def _validated(
        self,
        epoch: int,
        loss: float | None,
        began: float,
        report: Callable[[EpochRecord], None] | None,
    ) -> None:
        """Write down how good the network is now, and keep it if it is the best so far."""
        validation_loss, accuracy = validate(self.module, self.held_out)
        record = EpochRecord(
            epoch=epoch,
            training_loss=loss,
            validation_loss=validation_loss,
            validation_accuracy=accuracy,
            seconds=time.monotonic() - began,
        )
        self.state.history.append(asdict(record))
        self.state.seconds = 0.0
        if _best(self.state.history)["epoch"] == epoch:
            self.state.best = {k: v.clone() for k, v in self.module.state_dict().items()}
        self._keep()
        if report:
            report(record)

    def _patience_ended(self) -> bool:
        history, patience = self.state.history, self.settings.patience
        return patience is not None and len(history) - 1 - _best(history)["epoch"] >= patience

    def _keep_now_and_then(self) -> None:
        if time.monotonic() - self.kept_at > KEPT_EVERY:
            self._keep()

    def _keep(self) -> None:
        if self.path is not None:
            states = self.module.state_dict(), self.optimizer.state_dict()
            checkpoints.write(self.path, self.mark, *states, self.state)
        self.kept_at = time.monotonic()

    def result(self, quantized: IntegerNetwork) -> Finetuning:
        """The best network of all, the post-training one included."""
        before = validate(IntegerModule(quantized), self.held_out)[1]
        best = _best(self.state.history)
        better = best["validation_accuracy"] > before
        self.module.load_state_dict(self.state.best)
        settings = self.settings
        record = FinetuneRecord(
            learning_rate=settings.learning_rate,
            batch_size=settings.batch_size,
            loss=settings.loss,
            trained=settings.trained,
            surrogate=settings.surrogate,
            seed=settings.seed,
            training_samples=len(self.training[0]),
            validation_samples=len(self.held_out[0]),
            quantized_accuracy=before,
            epochs=tuple(EpochRecord(**entry) for entry in self.state.history),
            best_epoch=best["epoch"] if better else None,
            best_accuracy=max(before, best["validation_accuracy"]),
            stopped_early=len(self.state.history) <= settings.epochs,
        )
        return Finetuning(network=self.module.export() if better else quantized, record=record)


def _best(history: list[dict[str, Any]]) -> dict[str, Any]:
    """The most accurate epoch; of equal ones that of the smallest loss."""
    return max(history, key=lambda e: (e["validation_accuracy"], -e["validation_loss"]))


def _groups(module: IntegerModule, rate: float) -> list[dict[str, Any]]:
    """What is trained, with its learning rates."""
    weights, others = (
        list(module.weights.parameters()),
        [
            *module.steps.parameters(),
            *module.neurons.parameters(),
            module.readout_bias,
        ],
    )
    groups = [
        {"params": [p for p in weights if p.requires_grad], "lr": rate},
        {"params": [p for p in others if p.requires_grad], "lr": rate * SHARED_RATE},
    ]
    return [group for group in groups if group["params"]]


def _schedule(done: int, total: int) -> float:
    """Factor of the learning rate: up along a line, down along a cosine."""
    rising = max(1.0, WARMUP * total)
    if done < rising:
        return (done + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * (done - rising) / max(1.0, total - rising)))


def _loss(steps: Tensor, labels: Tensor, kind: Loss) -> Tensor:
    """Of logits (T, N, K)."""
    if kind == "tet":
        return temporal_efficient_loss(steps, labels, weight=0)
    return cross_entropy(steps, labels)


def validate(module: IntegerModule, samples: Samples) -> tuple[float, float]:
    """Cross entropy and accuracy of the integer network that a module is."""
    codes, labels = samples
    loss, right = 0.0, 0
    module.eval()
    for first in range(0, len(codes), VALIDATION_BATCH):
        part = slice(first, first + VALIDATION_BATCH)
        logits, scale = module.integer_logits(codes[part])
        loss += float(functional.cross_entropy(logits * scale, labels[part], reduction="sum"))
        # The first one of equal logits, as engines predict.
        right += int((logits.numpy().argmax(1) == labels[part].numpy()).sum())
    return loss / len(codes), right / len(codes)
