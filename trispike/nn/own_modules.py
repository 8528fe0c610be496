"""Modules of the user's own code, by the name of what makes them, with weights from a file."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from trispike.errors import CheckpointError, InvalidSettingError, MissingDependencyError
from trispike.nn.weight_files import read_weights


class OwnModule(NamedTuple):
    """What was loaded."""

    module: nn.Module
    """In evaluation mode, in float32 (float64 if the checkpoint is)."""
    sha256: str
    """Of the checkpoint file, hexadecimal."""


def load_own_module(factory: str, checkpoint: Path) -> OwnModule:
    """Make a module and give it the weights of a checkpoint.

    Args:
        factory: ``package.module:name`` of a function or class that makes the module, without
            arguments. It is imported and run; modules of the current folder are found.
        checkpoint: State dict of that module; read without running any code in it.

    Raises:
        InvalidSettingError: There is no such factory, or it makes no module.
        MissingDependencyError: The user's code imports what is not installed.
        CheckpointError: The keys or shapes of the checkpoint are not those of the module.
        FileFormatError: The file is truncated or foreign.
        UnsafeFileError: The file would have to execute code to be read.
    """
    module = _made(factory)
    file = read_weights(checkpoint)
    if any(tensor.dtype == torch.float64 for tensor in file.tensors.values()):
        module.double()
    try:
        module.load_state_dict(dict(file.tensors))
    except RuntimeError as error:
        raise CheckpointError(
            f"checkpoint {str(checkpoint)!r}",
            got=" ".join(str(error).split()),
            expected=f"the state dict of what {factory} makes",
            fix="Name the factory of the module that was trained.",
        ) from error
    return OwnModule(module.eval(), file.sha256)


def _made(factory: str) -> nn.Module:
    home, _, name = factory.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)  # as with python -m
    try:
        made = getattr(importlib.import_module(home), name)()
    except ModuleNotFoundError as error:
        if error.name and not f"{home}.".startswith(f"{error.name}."):
            raise MissingDependencyError(
                f"factory {factory!r}",
                got=f"no module named {error.name!r}",
                expected="what its module imports",
                fix=f"Install {error.name.split('.')[0]} beside trispike.",
            ) from error
        raise _unknown(factory, str(error)) from error
    except (AttributeError, TypeError, ValueError) as error:
        raise _unknown(factory, str(error)) from error
    finally:
        sys.path.remove(here)
    if not isinstance(made, nn.Module):
        raise _unknown(factory, f"a {type(made).__name__}")
    return made


def _unknown(factory: str, got: str) -> InvalidSettingError:
    return InvalidSettingError(
        f"factory {factory!r}",
        got=got,
        expected="package.module:name of a function or class that makes a torch.nn.Module, "
        "without arguments",
        fix="Write such a function, and name it.",
    )
