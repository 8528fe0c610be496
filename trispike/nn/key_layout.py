"""Which architecture a checkpoint's keys and shapes spell out.

Names of files and of architectures are claims; the keys are facts. Depth, widths, input channels
and classes are read from them here.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from trispike.nn.imp import InitialState
from trispike.nn.models import ARCHITECTURES, Architecture, NeuronKind, Plan
from trispike.nn.models.imp import IMPPlan
from trispike.nn.models.psn_vgg import PSNVGGPlan
from trispike.nn.models.resnet import ResNetPlan, Stem
from trispike.nn.models.ttfs_vgg import TTFSPlan
from trispike.nn.models.vgg import Layout, VGGPlan

__all__ = ["KeyLayout", "read_layout"]

_KINDS: Mapping[str, tuple[NeuronKind, ...]] = {
    r"\.(alpha|beta|gamma)$": ("ctsn",),
    r"\.fire_ratio$": ("ternary-spike",),
    r"\.pool\.gain$": ("ttfs",),
    r"^model\.backbone\.": ("imp",),
}
"""What only certain neurons have, or the layers before them."""

_IMP = "model.backbone."
"""What the keys of networks with trained initial potentials begin with, but for the readout's."""

_FIRST_POTENTIALS = ("sn1.init_state", "layer1.0.spike.init_state", "features.1.mem")
"""Those of the first layer, in each of these networks."""

_POTENTIALS = (".init_state", ".mem")
"""What the keys of trained initial potentials end with."""

_SILENT_KINDS: tuple[NeuronKind, ...] = ("ternary-spike", "lif")
"""What may have no parameters at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLayout:
    """What the keys and shapes of a checkpoint say; None or 0 where they say nothing."""

    neurons: tuple[NeuronKind, ...]
    """Which neurons have the parameters that the keys name, if any."""
    plan: Plan | None
    """The layers; None if the keys are of no known family."""
    in_channels: int | None
    """Of the first convolution."""
    classes: int | None
    """Of the readout."""
    positions: int | None
    """Positions that a readout without global pooling sees, H * W."""
    initial: InitialState | None = None
    """What shares a trained initial potential."""
    side: tuple[int, int] | None = None
    """(H, W) of the input, where the first layer's neurons have a potential each."""

    def names(self, *, mixed: bool = False) -> tuple[str, ...]:
        """The architectures that have this neuron and these layers, in whatever widths.

        Args:
            mixed: The neurons are not all of one kind, and are stated by the user.
        """
        if self.plan is None:
            return ()
        found = _skeleton(self.plan)
        return tuple(
            name
            for name, entry in ARCHITECTURES.items()
            if (mixed or entry.neuron in self.neurons) and _skeleton(entry.plan) == found
        )

    def mixable(self) -> bool:
        """Whether layers of neurons may be of several kinds."""
        return isinstance(self.plan, (ResNetPlan, VGGPlan))

    def input_shape(self, entry: Architecture) -> tuple[int, int, int]:
        """(C, H, W) for ``entry``: C as found; H and W only where the readout depends on them."""
        channels, height, width = entry.input_shape
        side = math.isqrt(self.positions or 0)
        vgg = _vgg(entry.plan)
        if self.side is not None:
            height, width = self.side
        elif vgg is not None and not vgg.global_pool and side:
            height = width = side << vgg.poolings
        return self.in_channels or channels, height, width

    def plan_for(self, entry: Architecture) -> Plan:
        """The layers of ``entry`` in this checkpoint's widths, as far as it tells them."""
        return _in_widths(entry.plan, self.plan)

    def __str__(self) -> str:
        """One line for an error message."""
        resnet, vgg = _resnet(self.plan), _vgg(self.plan)
        if resnet is not None:
            blocks = "-".join(map(str, resnet.blocks))
            layers = f"a residual network with blocks {blocks} after a stem {resnet.stem}"
        elif vgg is not None:
            layers = f"a VGG with layers {' '.join(map(str, vgg.layout))}"
        else:
            return "keys of no known architecture"
        return f"{layers}, of {' or '.join(self.neurons)} neurons"


def read_layout(tensors: Mapping[str, Tensor]) -> KeyLayout:
    """Read depth, widths, channels and classes from keys (with ``model.``) and shapes."""
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    plan: Plan | None = None
    first = readout = ""
    if any(key.startswith("model.layer1.") for key in shapes):
        plan = _resnet_plan(shapes)
        first = f"model.conv1{'.0' if plan.stem == 'three-conv3x3' else ''}.pool.weight"
        readout = "model.fc.conv.weight"
    elif convolutions := _numbered(r"model\.features\.(\d+)\.pool\.weight", shapes):
        plan = _vgg_plan(convolutions, shapes)
        if f"model.features.{min(convolutions)}.pool.gain" in shapes:
            plan = TTFSPlan(vgg=_ttfs_vgg_plan(convolutions, shapes))
        first = f"model.features.{min(convolutions)}.pool.weight"
        readout = "model.classifier.conv.weight"
    elif convolutions := _numbered(r"model\.features\.(\d+)\.fwd\.module\.0\.weight", shapes):
        plan = PSNVGGPlan(vgg=_psn_vgg_plan(convolutions, shapes))
        first = f"model.features.{min(convolutions)}.fwd.module.0.weight"
        readout = "model.classifier.1.module.weight"
    elif any(key.startswith(_IMP) for key in shapes):
        plan, first, readout = _imp_plan(shapes)
    features, width = _size(shapes, readout, 1), _last_width(plan)
    return KeyLayout(
        neurons=_neurons(shapes),
        plan=plan,
        in_channels=_size(shapes, first, 1) or None,
        classes=_size(shapes, readout, 0) or None,
        positions=features // width if width and features % width == 0 else None,
        initial=_initial(shapes),
        side=_side(plan, shapes),
    )


def _neurons(keys: Iterable[str]) -> tuple[NeuronKind, ...]:
    for pattern, kinds in _KINDS.items():
        if any(re.search(pattern, key) for key in keys):
            return kinds
    return _SILENT_KINDS


def _resnet_plan(shapes: Mapping[str, tuple[int, ...]]) -> ResNetPlan:
    stem: Stem = "conv3x3"
    if "model.conv1.0.pool.weight" in shapes:
        stem = "three-conv3x3"
    elif _size(shapes, "model.conv1.pool.weight", 2) == 7:
        stem = "conv7x7"
    blocks, widths = [], []
    for stage in _numbered(r"model\.layer(\d+)\..*", shapes):
        numbers = _numbered(rf"model\.layer{stage}\.(\d+)\..*", shapes)
        blocks.append(1 + max(numbers, default=-1))
        widths.append(_size(shapes, f"model.layer{stage}.0.conv1.pool.weight", 0))
    pooled = _numbered(r"model\.layer(\d+)\.0\.downsample\.1\.pool\.weight", shapes)
    return ResNetPlan(
        stem=stem,
        blocks=tuple(blocks),
        widths=tuple(widths),
        downsample="pool" if pooled else "conv",
    )


def _vgg_plan(convolutions: list[int], shapes: Mapping[str, tuple[int, ...]]) -> VGGPlan:
    gaps = [after - before for before, after in itertools.pairwise(convolutions)]
    # Convolution, batch norm, neuron, perhaps dropout; one number more where a pooling follows.
    period = 4 if gaps and min(gaps) > 3 else 3
    layout: list[int | str] = []
    for number, gap in zip(convolutions, [*gaps, period], strict=True):
        layout.append(_size(shapes, f"model.features.{number}.pool.weight", 0))
        layout += _poolings(gap - period)
    return VGGPlan(layout=_layout(layout), global_pool=True, dropout=period == 4)


def _ttfs_vgg_plan(convolutions: list[int], shapes: Mapping[str, tuple[int, ...]]) -> VGGPlan:
    layout: list[int | str] = []
    for number, following in zip(convolutions, [*convolutions[1:], None], strict=True):
        layout.append(_size(shapes, f"model.features.{number}.pool.weight", 0))
        layout += _poolings(0 if following is None else following - number - 2)
    return VGGPlan(layout=_layout(layout), global_pool=True)


def _psn_vgg_plan(convolutions: list[int], shapes: Mapping[str, tuple[int, ...]]) -> VGGPlan:
    layout: list[int | str] = []
    for number, following in zip(convolutions, [*convolutions[1:], None], strict=True):
        layout.append(_size(shapes, f"model.features.{number}.fwd.module.0.weight", 0))
        layout += _poolings(0 if following is None else following - number - 2)
    return VGGPlan(layout=_layout(layout), global_pool=False)


def _imp_plan(shapes: Mapping[str, tuple[int, ...]]) -> tuple[IMPPlan | None, str, str]:
    """The layers, and the keys of the first convolution and of the readout."""
    if convolutions := _numbered(r"model\.backbone\.features\.(\d+)\.conv\.module\.weight", shapes):
        layout: list[int | str] = []
        for number, following in zip(convolutions, [*convolutions[1:], None], strict=True):
            layout.append(_size(shapes, f"{_IMP}features.{number}.conv.module.weight", 0))
            layout += _poolings(0 if following is None else following - number - 2)
        vgg = VGGPlan(layout=_layout(layout), global_pool=False)
        first = f"{_IMP}features.{min(convolutions)}.conv.module.weight"
        return IMPPlan(layers=vgg, legacy=True), first, f"{_IMP}classifier.module.1.weight"
    stages = _numbered(r"model\.backbone\.layer(\d+)\..*", shapes)
    numbers = {s: _numbered(rf"model\.backbone\.layer{s}\.(\d+)\..*", shapes) for s in stages}
    first, readout = f"{_IMP}conv1.weight", "model.head.fc.weight"
    if first in shapes:
        resnet = ResNetPlan(
            stem="conv7x7" if _size(shapes, first, 2) == 7 else "conv3x3",
            blocks=tuple(1 + max(numbers[stage], default=-1) for stage in stages),
            widths=tuple(_size(shapes, f"{_IMP}layer{s}.0.conv1.weight", 0) for s in stages),
            downsample="conv",
        )
        return IMPPlan(layers=resnet), first, readout
    layout = []
    for stage in stages:
        layout += ["M"] * bool(layout)
        layout += [_size(shapes, f"{_IMP}layer{stage}.{n}.conv.weight", 0) for n in numbers[stage]]
    plan = IMPPlan(layers=VGGPlan(layout=_layout(layout), global_pool=True)) if layout else None
    return plan, f"{_IMP}layer1.0.conv.weight", readout


def _initial(shapes: Mapping[str, tuple[int, ...]]) -> InitialState | None:
    """What shares a trained initial potential."""
    found = [s for key, s in shapes.items() if key.endswith(_POTENTIALS) and len(s) == 4]
    if not found:
        return None
    one_position = all(shape[2:] == (1, 1) for shape in found)
    if all(shape[1] == 1 for shape in found):
        return "layer" if one_position else "position"
    return "channel" if one_position else "neuron"


def _side(plan: Plan | None, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, int] | None:
    """(H, W) of the input: the first neurons are as many as their convolution leaves positions."""
    first = next((f"{_IMP}{key}" for key in _FIRST_POTENTIALS if f"{_IMP}{key}" in shapes), "")
    height, width = _size(shapes, first, 2), _size(shapes, first, 3)
    if not isinstance(plan, IMPPlan) or max(height, width) < 2:
        return None
    resnet = _resnet(plan)
    halved = resnet is not None and resnet.stem == "conv7x7"
    return height << halved, width << halved


def _poolings(count: int) -> list[str]:
    """As many poolings as numbers were left out; two already tell that this is no VGG of ours."""
    return ["M"] * min(max(count, 0), 2)


def _layout(items: Iterable[int | str]) -> Layout:
    return tuple("M" if isinstance(item, str) else item for item in items)


def _numbered(pattern: str, keys: Iterable[str]) -> list[int]:
    """The numbers in the keys that match, sorted, each once."""
    matches = (re.fullmatch(pattern, key) for key in keys)
    return sorted({int(match[1]) for match in matches if match})


def _size(shapes: Mapping[str, tuple[int, ...]], key: str, axis: int) -> int:
    """One size of a tensor, 0 where it is missing or has too few axes."""
    shape = shapes.get(key, ())
    return shape[axis] if len(shape) > axis else 0


def _vgg(plan: Plan | None) -> VGGPlan | None:
    """The VGG of a plan; None if it is none."""
    if isinstance(plan, IMPPlan):
        plan = plan.layers
    if isinstance(plan, (PSNVGGPlan, TTFSPlan)):
        return plan.vgg
    return plan if isinstance(plan, VGGPlan) else None


def _resnet(plan: Plan | None) -> ResNetPlan | None:
    """The residual network of a plan; None if it is none."""
    if isinstance(plan, IMPPlan):
        plan = plan.layers
    return plan if isinstance(plan, ResNetPlan) else None


def _last_width(plan: Plan | None) -> int:
    layers = _resnet(plan) or _vgg(plan)
    return layers.widths[-1] if layers else 0


def _skeleton(plan: Plan) -> tuple[object, ...]:
    """What keys tell of a plan, widths aside.

    Spikes summed before or after a neuron, and poolings behind the last convolution, leave no
    trace in the keys; dropout does, but it is nothing that the name of an architecture tells.
    """
    if isinstance(plan, IMPPlan):
        return (IMPPlan, plan.legacy, *_skeleton(plan.layers))
    if isinstance(plan, ResNetPlan):
        return (plan.stem, plan.blocks, plan.downsample)
    vgg = plan if isinstance(plan, VGGPlan) else plan.vgg
    items = ["M" if item == "M" else "conv" for item in vgg.layout]
    while items[-1] == "M":
        items.pop()
    return (type(plan), *items)


def _in_widths(plan: Plan, found: Plan | None) -> Plan:
    if isinstance(plan, IMPPlan):
        layers = plan.layers
        if isinstance(layers, ResNetPlan):
            return dataclasses.replace(plan, layers=_resnet_in_widths(layers, found))
        return dataclasses.replace(plan, layers=_vgg_in_widths(layers, found))
    if isinstance(plan, ResNetPlan):
        return _resnet_in_widths(plan, found)
    if isinstance(plan, PSNVGGPlan):
        return PSNVGGPlan(vgg=_vgg_in_widths(plan.vgg, found))
    if isinstance(plan, TTFSPlan):
        return TTFSPlan(vgg=_vgg_in_widths(plan.vgg, found))
    return _vgg_in_widths(plan, found)


def _resnet_in_widths(plan: ResNetPlan, found: Plan | None) -> ResNetPlan:
    other = _resnet(found)
    if other is None or len(other.widths) != len(plan.widths):
        return plan
    widths = (new or old for new, old in zip(other.widths, plan.widths, strict=True))
    return dataclasses.replace(plan, widths=tuple(widths))


def _vgg_in_widths(plan: VGGPlan, found: Plan | None) -> VGGPlan:
    other = _vgg(found)
    if other is None or len(other.widths) != len(plan.widths):
        return plan
    widths = iter(other.widths)
    layout: Layout = tuple("M" if item == "M" else next(widths) or item for item in plan.layout)
    return dataclasses.replace(plan, layout=layout, dropout=other.dropout)
