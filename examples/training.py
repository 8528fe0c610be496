"""What the training examples share: a loop that can be interrupted, the losses, and a report.

Everything that makes a spiking network train is in ``trispike.nn``; this is plain PyTorch around
it. The final weights are kept, not the ones that happened to do best on the test images.

Started by ``torchrun``, every process trains on its share of each batch, with the gradients
averaged by DistributedDataParallel. Batch norms see their process's share only: give each 32 images
or more.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from trispike.network.files import whole_file
from trispike.nn import (
    CTSN,
    TET_SMOOTHING,
    TRT_CONSISTENCY,
    TRT_STAR,
    TRT_TEMPERATURE,
    IMPNeuron,
    LegacyIMPNeuron,
    SpikeModel,
    SpikingNeuron,
    both_passes,
    cross_entropy,
    label_smoothed_temporal_efficient_loss,
    membrane_regularization,
    record_potentials,
    temporal_efficient_loss,
    temporal_reversed_loss,
)
from trispike.runtime.data import Samples, load_data, load_digits_split

UNDECAYED = (".init_state", ".mem", ".te")
"""What the names of initial potentials and of gains per time step end with."""

Augment: TypeAlias = Callable[[Tensor], Tensor]
"""Makes other images of the same things, (N, C, H, W) to the same."""

Loss: TypeAlias = Literal["tmpr", "cross-entropy", "tet", "tet-s", "trt"]
"""Cross entropy with TMPR, alone, at every step, there with smoothed labels, or with TRT."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained."""

    epochs: int
    """Passes over the training images."""
    warmup_epochs: int = 0
    """The first so many epochs run ``warmup_steps`` time steps only: they cost less."""
    warmup_steps: int = 2
    """Time steps of these epochs."""
    batch: int = 100
    """Images per update."""
    learning_rate: float = 6e-3
    """Highest one of the one-cycle schedule."""
    scalar_rate: float = 0.1
    """What the numbers that a whole layer shares (alpha, beta, gamma) learn at, of the above."""
    weight_decay: float = 0.02
    """Of AdamW."""
    loss: Loss = "tmpr"
    """What is made small."""
    tmpr: float = 0.5
    """Lambda of TMPR; published: 0.05 for static images. More of it makes spikes rarer."""
    smoothing: float = TET_SMOOTHING
    """Share of a label that TET-S spreads over all classes."""
    consistency: float = TRT_CONSISTENCY
    """Weight of the consistency of TRT."""
    star: float = TRT_STAR
    """Weight of TRT's star product; 0: no head for it."""
    temperature: float = TRT_TEMPERATURE
    """Of TRT's consistency."""
    initial_norm: float = 0.35
    """Initial scale of every batch norm. From 1, two neurons in three would fire at every step."""
    initial_readout: float = 0.1
    """Standard deviation of the readout's initial weights."""
    seed: int = 0
    """Of everything random."""


def load_split(name: str) -> tuple[Samples, Samples]:
    """Samples to learn from, and held-out ones: ``digits``, or a data set that is fetched."""
    if name == "digits":
        split = load_digits_split()
        return split.train, split.test
    parts = [load_data(f"{name}:{part}") for part in ("train", "test")]
    learnt, held_out = (Samples(part.x, part.y) for part in parts if part.y is not None)
    return learnt, held_out


def train(
    model: SpikeModel,
    data: tuple[Samples, Samples],
    recipe: Recipe,
    augment: Augment,
    *,
    checkpoint: Path,
    device: str = "cpu",
    fast: bool = False,
    fresh: bool = True,
) -> nn.Module | None:
    """Train a model in place, reporting every epoch.

    Args:
        model: To train.
        data: Images to learn from, and held-out ones to report the accuracy of.
        recipe: How.
        augment: Applied to every batch.
        checkpoint: Where the state is kept after every epoch, and taken up from if it is there
            and of the same recipe; removed at the end.
        device: Where to train.
        fast: Convolutions in bfloat16 and neurons through ``torch.compile``. About twice as fast
            on a processor with AVX512-BF16; needs a C++ compiler.
        fresh: Whether the weights are still the initial ones, of which the recipe rescales some.

    Returns:
        The head that TRT has trained beside the model, if any: nothing that is deployed.
    """
    torch.manual_seed(recipe.seed)
    steps = model.steps
    (images, labels), (test_images, test_labels) = (
        (torch.from_numpy(part.x), torch.from_numpy(part.y)) for part in data
    )
    if fresh:
        rescale(model, recipe)
    if fast:
        compile_neurons(model)
    objective = Objective(model, recipe, compiled=fast)
    objective.to(device)
    if all(parameter.dim() < 5 for parameter in objective.parameters()):  # PyTorch wants 4 axes
        objective.to(memory_format=torch.channels_last)
    shared: nn.Module = objective
    if is_distributed():
        shared = DistributedDataParallel(objective, [device] if "cuda" in device else None)
    groups = parameter_groups(objective, recipe)
    optimizer = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        [group["lr"] for group in groups],
        total_steps=recipe.epochs * -(-len(images) // recipe.batch),
        pct_start=0.2,
    )
    parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "schedule": schedule}
    if objective.head is not None:
        parts["head"] = objective.head
    first, seconds = take_up(parts, recipe, checkpoint)
    for epoch in range(first, recipe.epochs + 1):
        started = time.monotonic()
        set_steps(model, recipe.warmup_steps if epoch <= recipe.warmup_epochs else steps)
        model.train()
        total = 0.0
        for chosen in order(len(images), recipe, epoch).split(recipe.batch):
            mine = share(chosen)
            batch, classes = augment(images[mine]).to(device), labels[mine].to(device)
            with autocast(device, fast):
                loss = shared(laid_out(batch), classes)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(chosen)
        set_steps(model, steps)
        seconds += time.monotonic() - started
        if is_first():
            print(
                f"epoch {epoch:3d}/{recipe.epochs}  loss {total / len(images):.4f}  "
                f"test accuracy {accuracy(model, test_images, test_labels, device):.2%}  "
                f"{seconds:.0f} s",
                flush=True,
            )
            keep(parts, recipe, checkpoint, epoch, seconds)
    model.to("cpu", memory_format=torch.contiguous_format)
    if is_first():
        checkpoint.unlink(missing_ok=True)
    return objective.head.cpu() if objective.head is not None else None


class Objective(nn.Module):
    """A model together with its loss, and with the head that some losses train beside it.

    Args:
        model: The model.
        recipe: Says which loss.
        compiled: Whether the regularization of TMPR is compiled.
    """

    def __init__(self, model: SpikeModel, recipe: Recipe, *, compiled: bool) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.loss_of = Criterion(recipe, compiled=compiled)
        self.head: nn.Module | None = None
        if recipe.loss == "trt" and recipe.star:
            self.head = head_for(model)

    def forward(self, x: Tensor, classes: Tensor) -> Tensor:
        """The loss of a batch."""
        if self.recipe.loss != "trt":
            with record_potentials(self.model) as potentials:
                logits = self.model.forward_steps(x)
            return self.loss_of(logits.float(), classes, list(potentials.values()))
        return temporal_reversed_loss(
            both_passes(self.model, x),
            classes,
            self.head,
            consistency=self.recipe.consistency,
            star=self.recipe.star,
            temperature=self.recipe.temperature,
        )


def head_for(model: SpikeModel) -> nn.Linear:
    """A linear layer from the rates of the last neurons to the classes."""
    frames = () if model.input_kind == "static" else (model.steps,)
    training = model.training
    with torch.no_grad():
        passes = both_passes(model.eval(), torch.zeros(1, *frames, *model.input_shape))
    model.train(training)
    return nn.Linear(passes.rates[0].numel(), passes.logits.shape[-1])


class Criterion:
    """The loss of a recipe.

    Args:
        recipe: Says which.
        compiled: Whether the regularization of TMPR is compiled.
    """

    def __init__(self, recipe: Recipe, *, compiled: bool) -> None:
        self._recipe = recipe
        self._regularize = (
            torch.compile(regularization, dynamic=False) if compiled else regularization
        )

    def __call__(self, logits: Tensor, classes: Tensor, potentials: list[Tensor]) -> Tensor:
        """Of logits (T, N, classes), the right classes (N,), and what was recorded on the way."""
        if self._recipe.loss == "tet":
            return temporal_efficient_loss(logits, classes)
        if self._recipe.loss == "tet-s":
            smoothing = self._recipe.smoothing
            return label_smoothed_temporal_efficient_loss(logits, classes, smoothing)
        loss = cross_entropy(logits, classes)
        if self._recipe.loss == "tmpr":
            loss = loss + self._recipe.tmpr * self._regularize(potentials)
        return loss


def is_distributed() -> bool:
    """Whether several processes train one network."""
    return distributed.is_available() and distributed.is_initialized()


def is_first() -> bool:
    """Whether this process is the one that reports and saves."""
    return not is_distributed() or distributed.get_rank() == 0


def order(count: int, recipe: Recipe, epoch: int) -> Tensor:
    """The images of an epoch in random order, the same in every process."""
    random = torch.Generator().manual_seed(recipe.seed * 10_000 + epoch)
    return torch.randperm(count, generator=random)


def share(chosen: Tensor) -> Tensor:
    """What this process takes of a batch. Each gets as many, some of them twice if need be."""
    if not is_distributed():
        return chosen
    world, rank = distributed.get_world_size(), distributed.get_rank()
    size = -(-len(chosen) // world)
    return chosen[torch.arange(rank * size, (rank + 1) * size) % len(chosen)]


def laid_out(images: Tensor) -> Tensor:
    """Images with their channels last, as convolutions like them; frames over time as they are."""
    return images.contiguous(memory_format=torch.channels_last) if images.dim() == 4 else images


def parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """All parameters with their learning rates: tensors, and numbers that a layer shares.

    Initial potentials and gains per time step do not decay, as published.
    """
    named = list(model.named_parameters())
    kept = [p for name, p in named if name.endswith(UNDECAYED)]
    tensors = [p for name, p in named if p.dim() and not name.endswith(UNDECAYED)]
    scalars = [p for _, p in named if not p.dim()]
    rate = recipe.learning_rate
    groups = [
        {"params": tensors, "lr": rate},
        {"params": scalars, "lr": rate * recipe.scalar_rate},
    ]
    return [*groups, {"params": kept, "lr": rate, "weight_decay": 0.0}] if kept else groups


def regularization(potentials: list[Tensor]) -> Tensor:
    """That of TMPR, summed in float32."""
    return membrane_regularization(v.float() for v in potentials)


def rescale(model: nn.Module, recipe: Recipe) -> None:
    """Initial scales as the recipe says."""
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            nn.init.constant_(module.weight, recipe.initial_norm)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=recipe.initial_readout)


def autocast(device: str, enabled: bool) -> torch.autocast:
    """Convolutions in bfloat16, if enabled."""
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=enabled)


def compile_neurons(model: nn.Module) -> None:
    """One fused kernel per layer of neurons and direction, instead of one per operation."""
    # Every layer, number of steps, and training or not, is a variant of one function.
    torch._dynamo.config.recompile_limit = 64
    for module in model.modules():
        if isinstance(module, SpikingNeuron):
            compiled = torch.compile(module.dynamics, dynamic=False)
            if isinstance(module, (IMPNeuron, LegacyIMPNeuron)):  # whose potentials have places
                module.dynamics = compiled  # type: ignore[method-assign]
                continue
            module.dynamics = partial(channels_last, compiled)  # type: ignore[method-assign]


def channels_last(
    dynamics: Callable[[Tensor], tuple[Tensor, Tensor]], x: Tensor
) -> tuple[Tensor, Tensor]:
    """Run neurons on (T, N, C, H, W) in the order in which such maps lie in memory."""
    if x.dim() != 5:
        return dynamics(x)
    s, v = dynamics(x.movedim(2, -1))
    return s.movedim(-1, 2), v.movedim(-1, 2)


def set_steps(model: nn.Module, steps: int) -> None:
    """Let a model run so many time steps; its weights do not depend on them."""
    for module in model.modules():
        if hasattr(module, "steps"):
            module.steps = steps


def keep(
    parts: Mapping[str, Any], recipe: Recipe, checkpoint: Path, epoch: int, seconds: float
) -> None:
    """Write everything that a later run needs to go on."""
    state = {name: part.state_dict() for name, part in parts.items()}
    state |= {"recipe": dataclasses.asdict(recipe), "epoch": epoch, "seconds": seconds}
    state["random"] = torch.get_rng_state()
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(checkpoint) as part:
        torch.save(state, part)


def take_up(parts: Mapping[str, Any], recipe: Recipe, checkpoint: Path) -> tuple[int, float]:
    """The next epoch and the seconds spent so far; 1 and 0 if there is nothing to go on from."""
    if not checkpoint.exists():
        return 1, 0.0
    state = torch.load(checkpoint, weights_only=True)
    if Recipe(**state["recipe"]) != recipe:
        print(f"{checkpoint} is of another recipe: starting anew")
        return 1, 0.0
    for name, part in parts.items():
        part.load_state_dict(state[name])
    torch.set_rng_state(state["random"])
    print(f"going on after epoch {state['epoch']} of {checkpoint}")
    return state["epoch"] + 1, state["seconds"]


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor, device: str = "cpu") -> float:
    """Share of images whose largest logit is the right one."""
    model.eval()
    right = 0
    for chosen in torch.arange(len(images)).split(250):
        batch = laid_out(images[chosen].to(device))
        right += int((model(batch).argmax(1).cpu() == labels[chosen]).sum())
    return right / len(images)


@torch.no_grad()
def report(model: SpikeModel, images: Tensor) -> None:
    """Print what every layer of neurons has learned, and how much of it fires."""
    with record_potentials(model.eval()) as potentials:
        model(images)
    print("neurons                         alpha    beta   gamma  firing per step")
    for name, v in potentials.items():
        neuron = model.get_submodule(name)
        assert isinstance(neuron, SpikingNeuron)
        fired = (v.abs() if neuron.ternary else v) >= neuron.v_threshold
        if neuron.fire_once:
            fired &= fired.cumsum(0) == 1
        trained = " " * 24
        if isinstance(neuron, CTSN):
            numbers = (neuron.alpha.item(), neuron.beta.item(), neuron.gamma.item())
            trained = "".join(f"{number:8.3f}" for number in numbers)
        print(f"{name:28s} {trained}  {float(fired.float().mean()):.1%}")


def shifted(images: Tensor, pixels: int) -> Tensor:
    """Images moved by up to so many pixels in each direction, at random, zeros moving in."""
    height, width = images.shape[-2:]
    padded = nn.functional.pad(images, (pixels,) * 4)
    offsets = torch.randint(2 * pixels + 1, (len(images), 2)).tolist()
    pairs = zip(padded, offsets, strict=True)
    return torch.stack([image[:, y : y + height, x : x + width] for image, (y, x) in pairs])


def mirrored(images: Tensor) -> Tensor:
    """Images of which every other one, at random, is turned left to right."""
    turn = torch.rand(len(images)) < 0.5
    return torch.where(turn[:, None, None, None], images.flip(-1), images)
