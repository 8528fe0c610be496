"""Published checkpoints to modules, and back."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from trispike.errors import CheckpointError, InvalidNetworkError
from trispike.network.files import whole_file
from trispike.nn.key_layout import KeyLayout, read_layout
from trispike.nn.models import (
    PSNVGG,
    Architecture,
    InputKind,
    Provenance,
    ResNetPlan,
    SpikeModel,
    architecture,
    build_model,
)
    QCFSNetwork,
from trispike.nn.neurons import CTSN, DEFAULT_V_THRESHOLD, Amplitude, Form
from trispike.nn.weight_files import read_weights

__all__ = ["load_checkpoint", "save_checkpoint"]

_UNUSED_SCALE = "model.scale"
"""A parameter that the published CIFAR residual networks of Ternary Spike have but never use."""


def load_checkpoint(
    path: str | os.PathLike[str],
    arch: str,
    *,
    steps: int,
    form: Form | None = None,
    v_threshold: float = DEFAULT_V_THRESHOLD,
    tau: float | None = None,
    input_kind: InputKind | None = None,
    input_shape: tuple[int, int, int] | None = None,
) -> SpikeModel:
    """Load a checkpoint in one of the two published formats.

    The formats are those of ZBX05/Enhanced-TernarySNN (CTSN) and yfguo91/Ternary-Spike. Depth,
    widths, input channels, classes and kinds of amplitudes are read from keys and shapes; what
    these do not tell is stated by the caller.

    Args:
        path: A ``.safetensors`` file, or a PyTorch file; read with ``weights_only`` always.
        arch: Name in ``ARCHITECTURES``; contradicted if the keys are of another one.
        steps: T.
        form: Form of CTSN, default ``"static"`` (for the PSN variant ``"dynamic"``).
        v_threshold: V_th, the effective threshold of every neuron.
        tau: Leak of every neuron; default 0.25, for SEW networks 1, as published.
        input_kind: Default: frames for two input channels (the polarities of events) and where
            the architecture was published for events, otherwise static.
        input_shape: (C, H, W) of one frame; default as published, with the channels as found.

    Returns:
        The module in evaluation mode, in float32 (float64 if the checkpoint is), with its
        ``provenance``.

    Raises:
        FileFormatError: The file is not there, truncated or foreign.
        UnsafeFileError: The file would have to execute code to be read.
        CheckpointError: Keys or shapes contradict the architecture (all of them are listed), or
            weights are not finite numbers.
        InvalidNetworkError: An argument is out of range or does not go with the architecture.
    """
    path = Path(path)
    entry = architecture(arch)
    file = read_weights(path)
    tensors = _canonical(file.tensors, entry)
    layout = read_layout(tensors)
    subject = f"checkpoint {str(path)!r}"
    names = layout.names()
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
    model = build_model(
        entry,
        steps=steps,
        form=form,
        v_threshold=v_threshold,
        tau=tau,
        amplitude=_amplitude(tensors) if entry.neuron == "ternary-spike" else None,
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
        v_threshold=v_threshold,
        tau=entry.tau if tau is None else tau,
        input_kind=model.input_kind,
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


def _canonical(tensors: Mapping[str, Tensor], entry: Architecture) -> dict[str, Tensor]:
    """The tensors under the names of our modules, without what is known to be unused."""
    if not any(key.startswith("model.") for key in tensors) and any(
        ".fwd.module." in key for key in tensors
    ):
        return {f"model.{key}": value for key, value in tensors.items()}  # PSN has no wrapper
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
            fix="Check that the architecture's name is the one that was trained.",
        )


def _listed(title: str, items: Iterable[str]) -> list[str]:
    listed = sorted(items)
    return [f"{len(listed)} {title}: " + ", ".join(listed)] if listed else []
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


