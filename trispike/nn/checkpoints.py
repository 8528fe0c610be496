"""Published checkpoints to modules, and back."""

from __future__ import annotations

import fnmatch
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from trispike.errors import CheckpointError, InvalidNetworkError
from trispike.network.files import whole_file
from trispike.network.neuron import Reset
from trispike.network.readouts import ReadoutSteps
from trispike.nn.key_layout import KeyLayout, read_layout
from trispike.nn.models import (
    PSNVGG,
    Architecture,
    IMPNetwork,
    InputKind,
    NeuronKind,
    Provenance,
    QCFSNetwork,
    ResNetPlan,
    SpikeModel,
    architecture,
    build_model,
)
from trispike.nn.neurons import CTSN, Amplitude, Form
from trispike.nn.ttfs import TimeForm
from trispike.nn.weight_files import read_weights

__all__ = ["load_checkpoint", "save_checkpoint"]

_RAW, _VALUES = "readout.raw", "readout.values"
"""Keys of time weights that are one number per time step."""

_UNUSED_SCALE = "model.scale"
"""A parameter that the published CIFAR residual networks of Ternary Spike have but never use."""


def load_checkpoint(
    path: str | os.PathLike[str],
    arch: str,
    *,
    steps: int,
    form: Form | None = None,
    v_threshold: float | None = None,
    tau: float | None = None,
    input_kind: InputKind | None = None,
    input_shape: tuple[int, int, int] | None = None,
    neurons: Sequence[NeuronKind] | None = None,
    reset: Reset | None = None,
    sigmoid_init: bool = False,
    readout: ReadoutSteps | None = None,
    ignore: Sequence[str] = (),
) -> SpikeModel:
    """Load a checkpoint in one of the published formats.

    The formats are those of ZBX05/Enhanced-TernarySNN (CTSN), yfguo91/Ternary-Spike and
    StephenTaylor1998/amazing-cls (IMP). Depth, widths, input channels, classes, kinds of amplitudes
    and what shares an initial potential are read from keys and shapes; what these do not tell is
    stated by the caller.

    Args:
        path: A ``.safetensors`` file, or a PyTorch file; read with ``weights_only`` always.
        arch: Name in ``ARCHITECTURES``; contradicted if the keys are of another one.
        steps: T.
        form: Form of CTSN, default ``"static"`` (for the PSN variant ``"dynamic"``).
        v_threshold: V_th, the effective threshold of every neuron; default as published: 0.5, with
            trained initial potentials 1.
        tau: Leak of every neuron; default as published: 0.25, for SEW networks 1, with trained
            initial potentials 1 - 1/tau of their code, or 1 for integrate-and-fire.
        input_kind: Default: frames for two input channels (the polarities of events) and where
            the architecture was published for events, otherwise static.
        input_shape: (C, H, W) of one frame; default as published, with the channels as found.
        neurons: For a network of several kinds of neurons: the kind of every layer of them.
        reset: Of LIF neurons and those with trained initial potentials; default as published.
        sigmoid_init: Whether trained initial potentials pass through the logistic function.
        readout: ``"mean"`` (the default), ``"last"``, or the time steps to average over.
        ignore: Patterns, with ``*``, of keys that only the training needed, such as
            ``"aux_head.*"``; as they are in the file.

    Returns:
        The module in evaluation mode, in float32 (float64 if the checkpoint is), with its
        ``provenance``.

    Raises:
        FileFormatError: The file is not there, truncated or foreign.
        UnsafeFileError: The file would have to execute code to be read.
        CheckpointError: Keys or shapes contradict the architecture (all of them are listed), or
            weights are not finite numbers, or a pattern of ``ignore`` matches no key.
        InvalidNetworkError: An argument is out of range or does not go with the architecture.
        InvalidSettingError: A readout step that is none.
    """
    path = Path(path)
    entry = architecture(arch)
    file = read_weights(path)
    subject = f"checkpoint {str(path)!r}"
    kept, ignored = without_ignored(subject, file.tensors, ignore)
    tensors = _canonical(kept, entry)
    layout = read_layout(tensors)
    names = layout.names(mixed=neurons is not None)
    if names and arch not in names:
        raise CheckpointError(
            subject,
            got=f"keys of {' or '.join(names)} ({layout})",
            expected=f"keys of {arch}",
            fix=f"Load it as {' or '.join(names)}, or check that it is the file you mean.",
        )
    check_values(subject, tensors)
    if input_shape and layout.in_channels not in (None, input_shape[0]):
        raise InvalidNetworkError(
            subject,
            got=f"an input of {input_shape[0]} channels, in shape {input_shape}",
            expected=f"{layout.in_channels}, by its first convolution",
            fix="Bring the data to the shape that the network was trained with.",
        )
    if input_kind is None and layout.in_channels == 2:
        input_kind = "frames"
    kinds = {entry.neuron} if neurons is None else set(neurons)
    model = build_model(
        entry,
        steps=steps,
        form=form,
        v_threshold=v_threshold,
        tau=tau,
        amplitude=_amplitude(tensors) if "ternary-spike" in kinds else None,
        neurons=neurons,
        time_weights=_time_weights(subject, tensors, steps) if entry.neuron == "ttfs" else None,
        reset=reset,
        sigmoid_init=sigmoid_init,
        initial=layout.initial,
        readout=readout,
        input_shape=input_shape or layout.input_shape(entry),
        input_kind=input_kind,
        classes=layout.classes,
        plan=layout.plan_for(entry),
    )
    _check_keys(subject, entry, layout, model.state_dict(), tensors)
    if any(tensor.dtype == torch.float64 for tensor in tensors.values()):
        model.double()
    model.load_state_dict(dict(tensors))
    ctsn = next((m for m in model.modules() if isinstance(m, CTSN)), None)
    model.provenance = Provenance(
        file=path.name,
        sha256=file.sha256,
        architecture=arch,
        steps=steps,
        form=ctsn.form if ctsn else None,
        v_threshold=entry.v_threshold if v_threshold is None else v_threshold,
        tau=entry.tau if tau is None else tau,
        input_kind=model.input_kind,
        neurons=",".join(neurons or ()),
        reset=reset or entry.reset,
        sigmoid_init=sigmoid_init,
        readout=_stated(readout),
        ignored=",".join(ignored),
    )
    return model.eval()


def save_checkpoint(model: SpikeModel | QCFSNetwork, path: str | os.PathLike[str]) -> None:
    """Write a model's weights under their published names, all of them or no file at all.

    Args:
        model: The model.
        path: Ends in ``.safetensors`` for that format, otherwise a PyTorch file is written.
    """
    path = Path(path)
    weights = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    if isinstance(getattr(model, "model", None), (PSNVGG, IMPNetwork)):
        weights = {key.removeprefix("model."): value for key, value in weights.items()}
    with whole_file(path) as part:
        if path.suffix == ".safetensors":
            safetensors.torch.save_file(weights, part)
        else:
            # Through memory, because a PyTorch file holds the name of the file it is written to,
            # and equal weights should give equal files.
            buffer = io.BytesIO()
            torch.save(weights, buffer)
            part.write_bytes(buffer.getvalue())


def without_ignored(
    subject: str, tensors: Mapping[str, Tensor], patterns: Sequence[str]
) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors whose keys match no pattern, and the keys of the others.

    Raises:
        CheckpointError: A pattern matches no key.
    """
    ignored = {key for pattern in patterns for key in fnmatch.filter(tensors, pattern)}
    for pattern in patterns:
        if not fnmatch.filter(tensors, pattern):
            raise CheckpointError(
                subject,
                got=f"no key that matches {pattern!r}",
                expected=f"one to ignore, out of {', '.join(sorted(tensors))}",
                fix="Correct the pattern, or leave it out.",
            )
    kept = {key: value for key, value in tensors.items() if key not in ignored}
    return kept, sorted(ignored)


def _stated(readout: ReadoutSteps | None) -> str:
    """A readout in words; "" for the mean of all steps."""
    if readout is None or readout == "mean":
        return ""
    return readout if isinstance(readout, str) else ",".join(map(str, readout))


def _canonical(tensors: Mapping[str, Tensor], entry: Architecture) -> dict[str, Tensor]:
    """The tensors under the names of our modules, without what is known to be unused."""
    if not any(key.startswith("model.") for key in tensors) and any(
        ".fwd.module." in key or key.startswith("backbone.") for key in tensors
    ):
        return {f"model.{key}": value for key, value in tensors.items()}  # PSN, IMP: no wrapper
    unused = set()
    if entry.neuron == "ternary-spike" and isinstance(entry.plan, ResNetPlan):
        unused = {_UNUSED_SCALE} if entry.plan.stem != "conv7x7" else set()
    return {key: value for key, value in tensors.items() if key not in unused}


def _amplitude(tensors: Mapping[str, Tensor]) -> Amplitude | None:
    ratios = [tensor for key, tensor in tensors.items() if key.endswith(".fire_ratio")]
    if not ratios:
        return None
    return "layer" if all(ratio.dim() == 0 for ratio in ratios) else "channel"


def _time_weights(
    subject: str, tensors: Mapping[str, Tensor], steps: int
) -> TimeForm | Tensor | None:
    """How the weights of the time steps are kept, or themselves; None where there are none."""
    for key in (_RAW, _VALUES):
        found = tensors.get(key)
        if found is not None and tuple(found.shape) != (steps,):
            raise CheckpointError(
                subject,
                got=f"time weights {key} of shape {tuple(found.shape)} for {steps} time steps",
                expected=f"shape ({steps},), one weight per time step",
                fix="State the number of time steps that the network was trained with.",
            )
    if _VALUES in tensors:
        return tensors[_VALUES]
    if _RAW in tensors:
        return "softplus"
    return "exponential" if "readout.rate" in tensors else None


def check_values(subject: str, tensors: Mapping[str, Tensor]) -> None:
    """Refuse values that no sound training leaves.

    Raises:
        CheckpointError: NaN, infinite values, negative variances.
    """
    problems = _listed(
        "with NaN or infinite values",
        (key for key, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())),
    ) + _listed(
        "negative variances",
        (key for key, t in tensors.items() if key.endswith("running_var") and bool((t < 0).any())),
    )
    if problems:
        raise CheckpointError(
            subject,
            got="; ".join(problems),
            expected="finite weights, and variances that are not negative",
            fix="Use a checkpoint from before the training diverged.",
        )


def _check_keys(
    subject: str,
    entry: Architecture,
    layout: KeyLayout,
    wanted: Mapping[str, Tensor],
    found: Mapping[str, Tensor],
) -> None:
    problems = [] if layout.names() else [str(layout)]
    problems += key_problems(wanted, found)
    if problems:
        raise CheckpointError(
            subject,
            got="; ".join(problems),
            expected=f"exactly the {len(wanted)} keys of {entry.name}, in matching shapes",
            fix=_advice(layout, wanted, found),
        )


def _advice(layout: KeyLayout, wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    missing, surplus = set(wanted) - set(found), set(found) - set(wanted)
    gains = {len(found[key]) for key in found if key.endswith(".te") and found[key].dim()}
    expected = {len(wanted[key]) for key in wanted if key.endswith(".te")}
    if layout.names() and not missing and surplus:
        return (
            "If the surplus keys are those of heads that only the training needed, leave them out "
            "by name: ignore=('aux_head.*',), or --ignore 'aux_head.*'."
        )
    if any(key.endswith((".init_state", ".mem")) for key in missing):
        return (
            "The published code creates initial potentials in its first forward pass: save the "
            "checkpoint after one."
        )
    if len(gains) == 1 and gains != expected:
        return f"The gains per time step are those of {gains.pop()} time steps: state as many."
    return "Check that the architecture's name is the one that was trained" + (
        ", and the kinds of its neurons." if layout.mixable() else "."
    )


def key_problems(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """What tells the tensors of a checkpoint from those of a module, in words.

    Args:
        wanted: The module's own, by key.
        found: Those of the checkpoint.
    """
    common = sorted(set(wanted) & set(found))
    return [
        *_listed("missing keys", set(wanted) - set(found)),
        *_listed("surplus keys", set(found) - set(wanted)),
        *_listed(
            "wrong shapes",
            (
                f"{key} {tuple(found[key].shape)} instead of {tuple(wanted[key].shape)}"
                for key in common
                if found[key].shape != wanted[key].shape
            ),
        ),
        *_listed(
            "wrong types",
            (
                f"{key} {str(found[key].dtype).removeprefix('torch.')}"
                for key in common
                if found[key].is_floating_point() != wanted[key].is_floating_point()
            ),
        ),
    ]


def _listed(title: str, items: Iterable[str]) -> list[str]:
    listed = sorted(items)
    return [f"{len(listed)} {title}: " + ", ".join(listed)] if listed else []
