"""Checkpoints of QCFS networks to modules."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from trispike.errors import CheckpointError
from trispike.nn.checkpoints import check_values, key_problems
from trispike.nn.models.qcfs import (
    QCFSNetwork,
    QCFSProvenance,
    QCFSResNetPlan,
    build_qcfs,
    in_found_widths,
    qcfs_architecture,
)
from trispike.nn.weight_files import read_weights

__all__ = ["load_qcfs_checkpoint"]

_FIRST = ("layer1.0.weight", "conv1.0.weight")
"""Where the number of input channels is read; of a VGG, of a residual network."""


def load_qcfs_checkpoint(
    path: str | os.PathLike[str],
    arch: str,
    *,
    levels: Sequence[int] | int,
    input_shape: tuple[int, int, int] | None = None,
) -> QCFSNetwork:
    """Load a checkpoint of a QCFS network, as the public code of PASCAL and QCFS saves it.

    Widths, input channels and classes are read from the shapes. The numbers of levels are in no
    file; a wrong one loads all the same, and costs accuracy.

    Args:
        path: A ``.safetensors`` file, or a PyTorch file; read with ``weights_only`` always. The
            thresholds may have their older names (``up``). Biases are those of the trained
            network: the published test code divides them by levels after it has loaded them.
        arch: Name in ``QCFS_ARCHITECTURES``.
        levels: L of each activation in the order of the layers, or one for all.
        input_shape: (C, H, W); default as published, with the channels as found.

    Returns:
        The module in evaluation mode, in float32 (float64 if the checkpoint is), with its
        ``provenance``.

    Raises:
        FileFormatError: The file is not there, truncated or foreign.
        UnsafeFileError: The file would have to execute code to be read.
        CheckpointError: Keys or shapes contradict the architecture (all of them are listed), or
            weights are not finite numbers.
        InvalidNetworkError: There is no such architecture, or an L is out of range.
        InvalidSettingError: There are more or fewer levels than activations.
    """
    path = Path(path)
    entry = qcfs_architecture(arch)
    file = read_weights(path)
    tensors = _canonical(file.tensors)
    subject = f"checkpoint {str(path)!r}"
    check_values(subject, tensors)
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    first = next((shapes[key] for key in _FIRST if key in shapes), ())
    channels = first[1] if len(first) > 1 else entry.input_shape[0]
    if input_shape and input_shape[0] != channels:
        raise CheckpointError(
            subject,
            got=f"an input of {input_shape[0]} channels, in shape {input_shape}",
            expected=f"{channels}, by its first convolution",
            fix="Bring the data to the shape that the network was trained with.",
        )
    plan = in_found_widths(entry.plan, shapes)
    hidden = 0 if isinstance(plan, QCFSResNetPlan) else len(plan.hidden)
    last = "fc" if isinstance(plan, QCFSResNetPlan) else f"classifier.{3 * hidden + 1}"
    model = build_qcfs(
        entry,
        levels=levels,
        input_shape=input_shape or (channels, *entry.input_shape[1:]),
        classes=next(iter(shapes.get(f"{last}.bias", ())), entry.classes),
        plan=plan,
    )
    if problems := key_problems(model.state_dict(), tensors):
        raise CheckpointError(
            subject,
            got="; ".join(problems),
            expected=f"exactly the keys of {arch}, in matching shapes",
            fix="Check that the architecture's name is the one that was trained.",
        )
    if any(tensor.dtype == torch.float64 for tensor in tensors.values()):
        model.double()
    model.load_state_dict(dict(tensors))
    model.provenance = QCFSProvenance(
        file=path.name,
        sha256=file.sha256,
        architecture=arch,
        levels=tuple(activation.levels for activation in model.activations().values()),
    )
    return model.eval()


def _canonical(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under their present names, thresholds with one axis."""
    renamed = {}
    for key, value in tensors.items():
        head, _, last = key.rpartition(".")
        if last == "up":
            block = head.removesuffix(".relu")
            key = f"{head}.thresh" if block == head else f"{block}.act.thresh"  # noqa: PLW2901
        is_scalar = key.endswith(".thresh") and value.dim() == 0
        renamed[key] = value.reshape(1) if is_scalar else value
    return renamed
