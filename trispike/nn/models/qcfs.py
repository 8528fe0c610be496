"""Networks of QCFS activations, with the parameter names of the public code of PASCAL.

They are no spiking networks: an image goes through them once. The conversion makes spikes of
their levels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, TypeAlias

from torch import Tensor, nn

from trispike.errors import InvalidNetworkError, InvalidSettingError
from trispike.nn.models.spike_model import InputKind
from trispike.nn.models.vgg import Layout
from trispike.nn.qcfs import DEFAULT_QCFS_THRESHOLD, QCFS, checked_levels

__all__ = [
    "QCFSVGG",
    "QCFS_ARCHITECTURES",
    "QCFSArchitecture",
    "QCFSNetwork",
    "QCFSPlan",
    "QCFSProvenance",
    "QCFSResNet",
    "QCFSResNetPlan",
    "QCFSVGGPlan",
    "build_qcfs",
]

Levels: TypeAlias = "Sequence[int] | int"
"""L of each activation in the order of the layers, or one for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QCFSVGGPlan:
    """Everything that tells one VGG from another, but input and classes."""

    layout: Layout
    """Convolutions and average poolings in order; a stage ends at a pooling."""
    hidden: tuple[int, ...] = ()
    """Neurons of the fully connected layers before the last one."""
    global_pool: bool = False
    """Average over all positions before the fully connected layers."""

    @property
    def stages(self) -> tuple[Layout, ...]:
        """The layout, cut behind every pooling."""
        stages: list[Layout] = [()]
        for item in self.layout:
            stages[-1] += (item,)
            if item == "M":
                stages.append(())
        return tuple(stage for stage in stages if stage)


@dataclass(frozen=True, slots=True, kw_only=True)
class QCFSResNetPlan:
    """Everything that tells one residual network from another, but input and classes."""

    blocks: tuple[int, ...]
    """Blocks per stage; every stage but the first begins with a stride of 2."""
    widths: tuple[int, ...]
    """Channels per stage; the stem has those of the first."""


QCFSPlan: TypeAlias = QCFSVGGPlan | QCFSResNetPlan
"""The layers of a network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QCFSArchitecture:
    """One combination of layers, with its defaults."""

    name: str
    """What the user calls it."""
    plan: QCFSPlan
    """Its layers, in the published widths."""
    input_shape: tuple[int, int, int] = (3, 32, 32)
    """(C, H, W)."""
    classes: int = 10
    """Logits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QCFSProvenance:
    """Where the weights come from, and what their user stated because no file says it."""

    file: str
    """Name of the checkpoint, without its folder."""
    sha256: str
    """Of the whole checkpoint file, hexadecimal."""
    architecture: str
    """Name in ``QCFS_ARCHITECTURES``."""
    levels: tuple[int, ...]
    """L of each activation, in the order of the layers."""


class QCFSNetwork(nn.Module):
    """Base of these networks: (N, C, H, W) to logits (N, classes)."""

    input_kind: ClassVar[InputKind] = "static"
    """Images."""

    def __init__(self, input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.input_shape = input_shape
        self.provenance: QCFSProvenance | None = None

    def activations(self) -> dict[str, QCFS]:
        """Path to activation, in the order of the layers."""
        return {name: m for name, m in self.named_modules() if isinstance(m, QCFS)}


class QCFSVGG(QCFSNetwork):
    """Stages of convolutions (with bias, batch norm, QCFS, dropout), and a classifier."""

    def __init__(
        self,
        plan: QCFSVGGPlan,
        input_shape: tuple[int, int, int],
        classes: int,
        levels: Iterator[int],
        threshold: float,
        dropout: float,
    ) -> None:
        super().__init__(input_shape)
        self.plan = plan
        channels, height, width = input_shape
        for number, stage in enumerate(plan.stages, 1):
            layers: list[nn.Module] = []
            for item in stage:
                if item == "M":
                    layers.append(nn.AvgPool2d(2, 2))
                    height, width = height // 2, width // 2
                    continue
                layers += [nn.Conv2d(channels, item, 3, padding=1), nn.BatchNorm2d(item)]
                layers += [QCFS(next(levels), threshold), nn.Dropout(dropout)]
                channels = item
            self.add_module(f"layer{number}", nn.Sequential(*layers))
        self.pool: nn.Module = nn.Identity()
        if plan.global_pool:
            self.pool = nn.AdaptiveAvgPool2d(1)
            height = width = 1
        features = channels * height * width
        layers = [nn.Flatten()]
        for outputs in plan.hidden:
            layers += [nn.Linear(features, outputs), QCFS(next(levels), threshold)]
            layers.append(nn.Dropout(dropout))
            features = outputs
        self.classifier = nn.Sequential(*layers, nn.Linear(features, classes))
        _initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to logits (N, classes)."""
        for number in range(1, len(self.plan.stages) + 1):
            x = self.get_submodule(f"layer{number}")(x)
        logits: Tensor = self.classifier(self.pool(x))
        return logits


class _Block(nn.Module):
    """act(residual_function(x) + shortcut(x))."""

    def __init__(
        self, inputs: int, outputs: int, stride: int, levels: Iterator[int], threshold: float
    ) -> None:
        super().__init__()
        self.residual_function = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            QCFS(next(levels), threshold),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )
        self.act = QCFS(next(levels), threshold)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H', W')."""
        y: Tensor = self.act(self.residual_function(x) + self.shortcut(x))
        return y


class QCFSResNet(QCFSNetwork):
    """Stem, stages of blocks, global average pooling, a linear layer."""

    def __init__(
        self,
        plan: QCFSResNetPlan,
        input_shape: tuple[int, int, int],
        classes: int,
        levels: Iterator[int],
        threshold: float,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(input_shape)
        self.plan = plan
        channels = plan.widths[0]
        self.conv1 = nn.Sequential(
            nn.Conv2d(input_shape[0], channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            QCFS(next(levels), threshold),
        )
        for stage, (count, outputs) in enumerate(zip(plan.blocks, plan.widths, strict=True)):
            blocks = []
            for block in range(count):
                stride = 2 if stage and not block else 1
                blocks.append(_Block(channels, outputs, stride, levels, threshold))
                channels = outputs
            self.add_module(f"conv{stage + 2}_x", nn.Sequential(*blocks))
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, classes)
        _initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to logits (N, classes)."""
        x = self.conv1(x)
        for stage in range(len(self.plan.blocks)):
            x = self.get_submodule(f"conv{stage + 2}_x")(x)
        logits: Tensor = self.fc(self.dropout(self.avg_pool(x).flatten(1)))
        return logits


def _initialize(module: nn.Module) -> None:
    """Published: convolutions normal with variance 2/fan_out, the biases of linear layers 0."""
    for m in module.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(m, nn.Linear):
            nn.init.zeros_(m.bias)


def _vgg(*stages: Layout) -> QCFSVGGPlan:
    return QCFSVGGPlan(
        layout=tuple(item for stage in stages for item in (*stage, "M")), hidden=(4096, 4096)
    )


def _wide(count: int) -> tuple[Layout, ...]:
    """The last three stages of the published VGGs."""
    return ((256,) * count, (512,) * count, (512,) * count)


_STAGES4 = (64, 128, 256, 512)

_ALL = (
    QCFSArchitecture(name="qcfs-vgg11", plan=_vgg((64,), (128,), *_wide(2))),
    QCFSArchitecture(name="qcfs-vgg13", plan=_vgg((64,) * 2, (128,) * 2, *_wide(2))),
    QCFSArchitecture(name="qcfs-vgg16", plan=_vgg((64,) * 2, (128,) * 2, *_wide(3))),
    QCFSArchitecture(name="qcfs-vgg19", plan=_vgg((64,) * 2, (128,) * 2, *_wide(4))),
    QCFSArchitecture(
        name="qcfs-resnet18", plan=QCFSResNetPlan(blocks=(2, 2, 2, 2), widths=_STAGES4)
    ),
    QCFSArchitecture(
        name="qcfs-resnet34", plan=QCFSResNetPlan(blocks=(3, 4, 6, 3), widths=_STAGES4)
    ),
    # Not published: small enough to train on one core in a quarter of an hour.
    QCFSArchitecture(
        name="qcfs-vgg6",
        plan=QCFSVGGPlan(layout=(16, "M", 32, 32, "M", 64, 64), global_pool=True),
        input_shape=(1, 28, 28),
    ),
    QCFSArchitecture(
        name="qcfs-resnet8",
        plan=QCFSResNetPlan(blocks=(1, 1, 1), widths=(16, 32, 64)),
        input_shape=(1, 28, 28),
    ),
)

QCFS_ARCHITECTURES: Mapping[str, QCFSArchitecture] = MappingProxyType({a.name: a for a in _ALL})
"""Every QCFS network by name."""


def qcfs_architecture(name: str) -> QCFSArchitecture:
    """Look an architecture up.

    Raises:
        InvalidNetworkError: There is none of that name.
    """
    try:
        return QCFS_ARCHITECTURES[name]
    except KeyError:
        raise InvalidNetworkError(
            "architecture",
            got=repr(name),
            expected="one of " + ", ".join(QCFS_ARCHITECTURES),
            fix="Choose one of these.",
        ) from None


def build_qcfs(
    arch: str | QCFSArchitecture,
    *,
    levels: Levels,
    threshold: float = DEFAULT_QCFS_THRESHOLD,
    dropout: float = 0.0,
    input_shape: tuple[int, int, int] | None = None,
    classes: int | None = None,
    plan: QCFSPlan | None = None,
) -> QCFSNetwork:
    """A network of QCFS activations with fresh weights, in training mode.

    Args:
        arch: Name in ``QCFS_ARCHITECTURES``, or one of its values.
        levels: L of each activation in the order of the layers, or one for all.
        threshold: Initial threshold of each.
        dropout: Probability, behind every activation of a VGG; before the last layer of a ResNet.
        input_shape: (C, H, W); default as published.
        classes: Logits; default as published.
        plan: The layers; default as published. ``dataclasses.replace`` makes narrower ones.

    Raises:
        InvalidNetworkError: There is no such architecture, or an L is out of range.
        InvalidSettingError: There are more or fewer levels than activations.
    """
    entry = qcfs_architecture(arch) if isinstance(arch, str) else arch
    plan = plan or entry.plan
    names = activation_names(plan)
    given = [levels] * len(names) if isinstance(levels, int) else list(levels)
    if len(given) != len(names):
        raise InvalidSettingError(
            f"levels of {entry.name}",
            got=f"{len(given)} ({','.join(map(str, given))})",
            expected=f"{len(names)}, one for each of {', '.join(names)}",
            fix="Give the L of every activation in this order, or one number for all.",
        )
    checked = iter([checked_levels(n, name) for n, name in zip(given, names, strict=True)])
    build = QCFSResNet if isinstance(plan, QCFSResNetPlan) else QCFSVGG
    return build(
        plan,  # type: ignore[arg-type]
        input_shape or entry.input_shape,
        entry.classes if classes is None else classes,
        checked,
        threshold,
        dropout,
    )


def activation_names(plan: QCFSPlan) -> list[str]:
    """Paths of the activations, in the order of the layers."""
    if isinstance(plan, QCFSResNetPlan):
        blocks = [
            f"conv{stage}_x.{block}"
            for stage, count in enumerate(plan.blocks, 2)
            for block in range(count)
        ]
        parts = [(f"{block}.residual_function.2", f"{block}.act") for block in blocks]
        return ["conv1.2", *(name for part in parts for name in part)]
    names = []
    for number, stage in enumerate(plan.stages, 1):
        convolutions = sum(item != "M" for item in stage)
        names += [f"layer{number}.{4 * n + 2}" for n in range(convolutions)]
    return names + _hidden_names(plan)


def _hidden_names(plan: QCFSVGGPlan) -> list[str]:
    return [f"classifier.{3 * n + 2}" for n in range(len(plan.hidden))]


def in_found_widths(plan: QCFSPlan, shapes: Mapping[str, tuple[int, ...]]) -> QCFSPlan:
    """A plan in the widths of a checkpoint, as far as its shapes by key tell them."""

    def width(layer: str, default: int) -> int:
        return next(iter(shapes.get(f"{layer}.weight", ())), default)

    if isinstance(plan, QCFSResNetPlan):
        layers = [f"conv{stage + 2}_x.0.residual_function.0" for stage in range(len(plan.widths))]
        return dataclasses.replace(plan, widths=tuple(map(width, layers, plan.widths)))
    names = iter(_layer_before(name, 2) for name in activation_names(plan))
    layout: Layout = tuple("M" if item == "M" else width(next(names), item) for item in plan.layout)
    hidden = tuple(
        width(_layer_before(name, 1), default)
        for name, default in zip(_hidden_names(plan), plan.hidden, strict=True)
    )
    return dataclasses.replace(plan, layout=layout, hidden=hidden)


def _layer_before(name: str, places: int) -> str:
    """What stands so many places before an activation in its Sequential."""
    head, _, number = name.rpartition(".")
    return f"{head}.{int(number) - places}"
