"""Every architecture by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Literal, TypeAlias

from torch import Tensor, nn

from trispike.errors import InvalidNetworkError
from trispike.network.neuron import Reset
from trispike.network.readouts import ReadoutSteps
from trispike.nn.imp import IMP_V_THRESHOLD, InitialState
from trispike.nn.models.blocks import Ends, NeuronFactory
from trispike.nn.models.imp import IMPNetwork, IMPPlan, imp_neurons
from trispike.nn.models.psn_vgg import PSNVGG, PSNVGGPlan
from trispike.nn.models.resnet import ResNet, ResNetPlan
from trispike.nn.models.spike_model import InputKind, SpikeModel
from trispike.nn.models.ttfs_vgg import TTFSVGG, TTFSPlan
from trispike.nn.models.vgg import VGG, Layout, VGGPlan
from trispike.nn.neurons import (
    CTSN,
    DEFAULT_TAU,
    DEFAULT_V_THRESHOLD,
    LIF,
    Amplitude,
    ComplementaryTernarySpike,
    Form,
    SpikingNeuron,
    TernarySpike,
)
from trispike.nn.readouts import ChosenSteps
from trispike.nn.surrogate import DEFAULT_SURROGATE
from trispike.nn.ttfs import TTFS, TimeForm, TimeWeights

__all__ = [
    "ARCHITECTURES",
    "MIXED_KINDS",
    "Architecture",
    "NeuronKind",
    "Plan",
    "architecture",
    "build_model",
    "neuron_layers",
]

NeuronKind: TypeAlias = Literal["ctsn", "ternary-spike", "lif", "ttfs", "imp"]
"""First part of an architecture's name."""

MIXED_KINDS: tuple[NeuronKind, ...] = ("ctsn", "ternary-spike", "lif")
"""Neurons of which one network may hold several kinds, layer by layer."""

ONCE_LAYERS = ("vgg6", "vgg11", "vgg16")
"""Layers that are offered with neurons that fire once."""

BINARY_LAYERS = ("vgg6", "vgg11", "resnet8", "resnet19")
"""Layers that are offered with plain LIF neurons, to compare binary spikes with ternary ones."""

Plan: TypeAlias = ResNetPlan | VGGPlan | PSNVGGPlan | TTFSPlan | IMPPlan
"""The layers of an architecture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One published combination of layers and neurons, with its defaults."""

    name: str
    """What the user calls it."""
    neuron: NeuronKind
    """Which neuron it is made of."""
    plan: Plan
    """Its layers, in the published widths."""
    input_shape: tuple[int, int, int]
    """(C, H, W) of one frame, as published."""
    classes: int
    """Logits, as published."""
    input_kind: InputKind = "static"
    """How the input presents itself, as published."""
    tau: float = DEFAULT_TAU
    """Leak of every neuron, as published."""
    v_threshold: float = DEFAULT_V_THRESHOLD
    """V_th of every neuron, as published."""
    reset: Reset = "zero"
    """What firing does to the potential of every neuron, as published."""


_STAGES3 = (128, 256, 512)
_STAGES4 = (64, 128, 256, 512)
_VGG11: Layout = (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M")
_VGG16: Layout = (
    *(64, 64, "M", 128, 128, "M", 256, 256, 256, "M"),
    *(512, 512, 512, "M", 512, 512, 512, "M"),
)
_VGG6: Layout = (32, "M", 64, 64, "M", 128, 128)
_VGGSNN: Layout = (64, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M")


def _cifar_resnet(*blocks: int) -> ResNetPlan:
    return ResNetPlan(stem="conv3x3", blocks=blocks, widths=_STAGES3, downsample="conv")


_RESNET34 = ResNetPlan(stem="conv7x7", blocks=(3, 4, 6, 3), widths=_STAGES4, downsample="conv")


def _families(kind: NeuronKind) -> list[Architecture]:
    make = partial(Architecture, neuron=kind)
    cifar = partial(make, input_shape=(3, 32, 32), classes=10)
    imagenet = partial(make, input_shape=(3, 224, 224), classes=1000)
    return [
        cifar(name="vgg11", plan=VGGPlan(layout=_VGG11, global_pool=True)),
        cifar(name="vgg16", plan=VGGPlan(layout=_VGG16, global_pool=True)),
        make(
            name="vggsnn",
            plan=VGGPlan(layout=_VGGSNN, global_pool=False),
            input_shape=(2, 48, 48),
            classes=10,
            input_kind="frames",
        ),
        cifar(name="resnet19", plan=_cifar_resnet(3, 3, 2)),
        cifar(name="resnet20", plan=_cifar_resnet(3, 3, 3)),
        cifar(name="resnet32", plan=_cifar_resnet(5, 5, 5)),
        cifar(
            name="resnet20m",
            plan=ResNetPlan(
                stem="three-conv3x3", blocks=(2, 2, 2, 2), widths=_STAGES4, downsample="pool"
            ),
        ),
        imagenet(name="resnet34", plan=_RESNET34),
        # The published code sets the leak of every SEW neuron to 1, whatever was asked for.
        imagenet(name="sewresnet34", plan=dataclasses.replace(_RESNET34, spike_sum=True), tau=1.0),
        # Not published: small enough to train on two cores in an hour or two; for Fashion-MNIST.
        make(
            name="vgg6",
            plan=VGGPlan(layout=_VGG6, global_pool=True),
            input_shape=(1, 28, 28),
            classes=10,
        ),
        # Not published: small enough to train on a laptop in a minute; the demo network.
        make(
            name="resnet8",
            plan=ResNetPlan(
                stem="conv3x3", blocks=(1, 1, 1), widths=(16, 32, 64), downsample="pool"
            ),
            input_shape=(1, 8, 8),
            classes=10,
        ),
    ]


def _imp_family() -> list[Architecture]:
    """Trained initial potentials; leak 1 is integrate-and-fire, 0.5 a LIFNode of tau 2."""
    make = partial(Architecture, neuron="imp", classes=10, v_threshold=IMP_V_THRESHOLD)
    vgg6 = VGGPlan(layout=_VGG6, global_pool=True)
    deep = VGGPlan(layout=(64, "M", 128, "M", 256, 256, "M", 512, 512, 512, 512), global_pool=True)
    legacy = VGGPlan(layout=_VGGSNN, global_pool=False)
    sew18 = dataclasses.replace(_RESNET34, blocks=(2, 2, 2, 2), spike_sum=True)
    sew34 = dataclasses.replace(_RESNET34, spike_sum=True)
    large = partial(make, input_shape=(3, 224, 224), tau=1.0)
    return [
        make(
            name="imp-vgg11",
            plan=IMPPlan(layers=deep),
            input_shape=(3, 32, 32),
            tau=0.5,
            reset="subtract",
        ),
        make(
            name="imp-vgg11-legacy",
            plan=IMPPlan(layers=legacy, legacy=True),
            input_shape=(2, 48, 48),
            input_kind="frames",
        ),
        large(name="imp-sewresnet18", plan=IMPPlan(layers=sew18), classes=1000),
        large(name="imp-sewresnet34", plan=IMPPlan(layers=sew34), classes=1000),
        make(
            name="imp-sewresnet18-cifar",
            plan=IMPPlan(layers=dataclasses.replace(sew18, stem="conv3x3")),
            input_shape=(3, 32, 32),
            tau=1.0,
        ),
        # Not published: small enough to train on two cores.
        make(
            name="imp-vgg6",
            plan=IMPPlan(layers=vgg6),
            input_shape=(1, 28, 28),
            tau=0.5,
            reset="subtract",
        ),
        make(
            name="imp-vgg6-legacy",
            plan=IMPPlan(layers=dataclasses.replace(vgg6, global_pool=False), legacy=True),
            input_shape=(1, 28, 28),
        ),
    ]


def _table() -> dict[str, Architecture]:
    kinds: tuple[NeuronKind, ...] = ("ctsn", "ternary-spike")
    entries = [
        dataclasses.replace(entry, name=f"{kind}-{entry.name}")
        for kind in kinds
        for entry in _families(kind)
    ]
    entries += [
        dataclasses.replace(entry, name=f"lif-{entry.name}")
        for entry in _families("lif")
        if entry.name in BINARY_LAYERS
    ]
    entries += [
        dataclasses.replace(
            entry, name=f"ttfs-{entry.name}", plan=TTFSPlan(vgg=entry.plan), tau=1.0
        )
        for entry in _families("ttfs")
        if entry.name in ONCE_LAYERS and isinstance(entry.plan, VGGPlan)
    ]
    entries.append(
        Architecture(
            name="ctsn-vggsnn-psn",
            neuron="ctsn",
            plan=PSNVGGPlan(vgg=VGGPlan(layout=_VGGSNN, global_pool=False)),
            input_shape=(2, 48, 48),
            classes=10,
            input_kind="frames",
        )
    )
    entries += _imp_family()
    return {entry.name: entry for entry in entries}


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(_table())
"""Every architecture by name: ``ctsn-``, ``ternary-spike-``, ``lif-``, ``ttfs-`` or ``imp-`` and
layers."""


def architecture(name: str) -> Architecture:
    """Look an architecture up.

    Raises:
        InvalidNetworkError: There is none of that name.
    """
    try:
        return ARCHITECTURES[name]
    except KeyError:
        raise InvalidNetworkError(
            "architecture",
            got=repr(name),
            expected="one of " + ", ".join(ARCHITECTURES),
            fix="Choose one of these.",
        ) from None


def build_model(
    arch: str | Architecture,
    *,
    steps: int,
    form: Form | None = None,
    v_threshold: float | None = None,
    tau: float | None = None,
    amplitude: Amplitude | None = None,
    surrogate: str = DEFAULT_SURROGATE,
    input_shape: tuple[int, int, int] | None = None,
    input_kind: InputKind | None = None,
    classes: int | None = None,
    plan: Plan | None = None,
    neurons: Sequence[NeuronKind] | None = None,
    time_weights: TimeForm | Sequence[float] | Tensor | None = None,
    reset: Reset | None = None,
    initial: InitialState | None = None,
    sigmoid_init: bool = False,
    readout: ReadoutSteps | None = None,
) -> SpikeModel:
    """An architecture with fresh weights, in training mode.

    Args:
        arch: Name in ``ARCHITECTURES``, or one of its values.
        steps: T.
        form: Form of CTSN; default ``"static"``, for the PSN variant ``"dynamic"``.
        v_threshold: V_th of every neuron; default 0.5, with trained initial potentials 1.
        tau: Leak of every neuron; default 0.25, for SEW networks 1, with trained initial
            potentials as published for each.
        amplitude: Trained spike sizes of Ternary Spike networks; default none.
        surrogate: Name of the surrogate gradient.
        input_shape: (C, H, W); default as published.
        input_kind: How the input presents itself; default as published.
        classes: Logits; default as published.
        plan: The layers; default as published. ``dataclasses.replace`` makes narrower ones.
        neurons: For a network of several kinds: the kind of every layer of neurons, in the order
            of the layers, out of ``MIXED_KINDS``; default: all of the architecture's.
        time_weights: Of networks that fire once: how the weights of the time steps are
            parametrized, or these weights; default ``"power"``. See ``TimeWeights``.
        reset: Of LIF neurons and those with trained initial potentials; default as published.
        initial: What shares a trained initial potential; default ``"neuron"``: nothing.
        sigmoid_init: Whether trained initial potentials pass through the logistic function.
        readout: ``"mean"`` (the default), ``"last"``, or the time steps to average over.

    Raises:
        InvalidNetworkError: An argument is out of range or does not go with the architecture.
        InvalidSettingError: A readout step that is none.
    """
    entry = architecture(arch) if isinstance(arch, str) else arch
    plan = plan or entry.plan
    ends = Ends(
        input_shape=input_shape or entry.input_shape,
        steps=steps,
        classes=entry.classes if classes is None else classes,
    )
    tau = entry.tau if tau is None else tau
    v_threshold = entry.v_threshold if v_threshold is None else v_threshold
    if entry.neuron != "imp":
        _refuse(entry, "initial", initial, initial is not None)
        _refuse(entry, "sigmoid_init", sigmoid_init, sigmoid_init)
    if entry.neuron not in ("imp", "lif"):
        _refuse(entry, "reset", reset, reset not in (None, "zero"))
    if isinstance(plan, IMPPlan):
        for name, value in (("form", form), ("amplitude", amplitude), ("neurons", neurons)):
            _refuse(entry, name, value, value is not None)
        placed = imp_neurons(
            plan,
            v_threshold=v_threshold,
            leak=tau,
            reset=reset or entry.reset,
            initial=initial or "neuron",
            sigmoid_init=sigmoid_init,
            surrogate=surrogate,
        )
        layers: nn.Module = IMPNetwork(plan, ends, placed)
    else:
        neuron = _neuron_factory(
            entry,
            plan,
            _kinds(entry, plan, neurons),
            form=form,
            v_threshold=v_threshold,
            tau=tau,
            amplitude=amplitude,
            surrogate=surrogate,
            reset=reset or entry.reset,
        )
        layers = _layers(plan, ends, neuron)
    return SpikeModel(
        layers,
        steps=steps,
        input_kind=input_kind or entry.input_kind,
        input_shape=ends.input_shape,
        readout=_readout(entry, steps, time_weights, readout),
    )


def neuron_layers(plan: Plan) -> int:
    """Layers of neurons of a plan."""
    if isinstance(plan, ResNetPlan):
        return (3 if plan.stem == "three-conv3x3" else 1) + 2 * sum(plan.blocks)
    if isinstance(plan, IMPPlan):
        return neuron_layers(plan.layers)
    return len((plan if isinstance(plan, VGGPlan) else plan.vgg).widths)


def _kinds(
    entry: Architecture, plan: Plan, neurons: Sequence[NeuronKind] | None
) -> tuple[NeuronKind, ...]:
    """The kind of every layer of neurons."""
    count = neuron_layers(plan)
    if neurons is None:
        return (entry.neuron,) * count
    mixable = isinstance(plan, (ResNetPlan, VGGPlan))
    _refuse(entry, "neurons", neurons, not mixable)
    unknown = sorted(set(neurons) - set(MIXED_KINDS))
    if unknown or len(neurons) != count:
        raise InvalidNetworkError(
            f"architecture {entry.name!r}, neurons by layer",
            got=f"unknown kinds {', '.join(unknown)}" if unknown else f"{len(neurons)} kinds",
            expected=f"{count} out of {', '.join(MIXED_KINDS)}, one for each layer of neurons",
            fix="Name the kind of every layer, in the order of the layers.",
        )
    return tuple(neurons)


def _readout(
    entry: Architecture,
    steps: int,
    chosen: TimeForm | Sequence[float] | Tensor | None,
    readout: ReadoutSteps | None,
) -> TimeWeights | ChosenSteps | None:
    if entry.neuron != "ttfs":
        _refuse(entry, "time_weights", chosen, chosen is not None)
        return None if readout in (None, "mean") else ChosenSteps(readout, steps)
    _refuse(entry, "readout", readout, readout is not None)
    if chosen is None or isinstance(chosen, str):
        return TimeWeights(steps, chosen or "power")
    return TimeWeights(steps, "given", chosen)


def _layers(
    plan: ResNetPlan | VGGPlan | PSNVGGPlan | TTFSPlan, ends: Ends, neuron: NeuronFactory
) -> nn.Module:
    if isinstance(plan, ResNetPlan):
        return ResNet(plan, ends, neuron)
    if isinstance(plan, VGGPlan):
        return VGG(plan, ends, neuron)
    if isinstance(plan, TTFSPlan):
        return TTFSVGG(plan, ends, neuron)
    return PSNVGG(plan, ends, neuron)


def _neuron_factory(
    entry: Architecture,
    plan: Plan,
    kinds: tuple[NeuronKind, ...],
    *,
    form: Form | None,
    v_threshold: float,
    tau: float,
    amplitude: Amplitude | None,
    surrogate: str,
    reset: Reset,
) -> NeuronFactory:
    """Makes the neurons of one layer after the other, in the order of the layers."""
    if "ctsn" not in kinds:
        _refuse(entry, "form", form, form not in (None, "static"))
    if "ternary-spike" not in kinds:
        _refuse(entry, "amplitude", amplitude, amplitude is not None)
    if "ttfs" in kinds:
        _refuse(entry, "tau", tau, tau != 1)
    if isinstance(plan, PSNVGGPlan):
        _refuse(entry, "form", form, form not in (None, "dynamic"))
    following = iter(kinds)

    def make(channels: int) -> SpikingNeuron:
        kind = next(following)
        if isinstance(plan, PSNVGGPlan):
            return ComplementaryTernarySpike(2 * v_threshold, tau, surrogate)
        if kind == "ctsn":
            return CTSN(form or "static", v_threshold, tau, surrogate)
        if kind == "lif":
            return LIF(v_threshold, tau, reset=reset, surrogate=surrogate)
        if kind == "ttfs":
            return TTFS(v_threshold, surrogate=surrogate)
        return TernarySpike(v_threshold, tau, amplitude, channels, surrogate)

    return make


def _refuse(entry: Architecture, name: str, value: object, refused: bool) -> None:
    if refused:
        raise InvalidNetworkError(
            f"architecture {entry.name!r}",
            got=f"{name}={value!r}",
            expected=f"no {name}, which its neurons do not have in that variant",
            fix=f"Leave {name} out.",
        )
