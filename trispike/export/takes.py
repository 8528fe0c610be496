"""What one call of a module takes, and working copies of modules that are called accordingly."""

from __future__ import annotations

import copy
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from trispike.errors import InvalidSettingError
from trispike.export import adapters

Takes: TypeAlias = Literal["batch", "sequence", "step"]
"""batch: (N, ...), or (N, T, ...) for frames, and time is the module's own affair;
sequence: (T, N, ...), time first; step: one time step, (N, ...), in T calls."""


def candidates(module: nn.Module, stated: Takes | None) -> tuple[Takes, ...]:
    """What a call of the module may take: what was stated, or else the likelier first.

    A module without neurons of another library takes what the network takes. One of another
    library may repeat its input or loop over time by itself, or expect either to be done for it;
    a plain ``nn.Sequential`` does neither.

    Raises:
        InvalidSettingError: What was stated is none of them.
    """
    if stated is not None:
        if stated not in get_args(Takes):
            raise InvalidSettingError(
                "takes",
                got=repr(stated),
                expected="one of " + ", ".join(get_args(Takes)),
                fix="State what one call of the module takes, or leave it out.",
            )
        return (stated,)
    if not any(adapters.is_foreign(part) for part in module.modules()):
        return ("batch",)
    return ("step", "sequence") if isinstance(module, nn.Sequential) else ("batch", *_OUTSIDE)


_OUTSIDE: tuple[Takes, ...] = ("step", "sequence")


def working_copy(
    module: nn.Module, dtype: torch.dtype, *, takes: Takes, steps: int, in_time: bool
) -> nn.Module:
    """A copy in evaluation mode that takes what the network takes, (N, ...) or (N, T, ...).

    Args:
        module: Stays as it is.
        dtype: Of the copy's parameters, and of what it computes.
        takes: What a call of the module takes.
        steps: T.
        in_time: Whether the data have an axis of time.
    """
    # A state that training left behind is part of a graph, and torch copies none of these.
    states = [t for part in module.modules() for t in _tensors(part) if not t.is_leaf]
    memo: dict[int, Any] = {id(t): t.detach().clone() for t in states}
    result = copy.deepcopy(module, memo).cpu().to(dtype).eval()
    adapters.prepare(result, dtype)
    if takes != "batch":
        # A subclass in the place of a wrapper: the paths of all layers stay the user's own.
        kind = type(result)
        forward = (
            _stepwise(kind, steps, in_time) if takes == "step" else _whole(kind, steps, in_time)
        )
        result.__class__ = type(kind.__name__, (kind,), {"forward": forward})
    return result


def first_output(output: Any) -> Any:
    """The spikes or logits, where a module returns states behind them."""
    return output[0] if isinstance(output, (tuple, list)) and output else output


def _tensors(part: nn.Module) -> list[Tensor]:
    held = [*vars(part).values(), *part._buffers.values()]
    held += vars(part).get("_memories", {}).values()
    return [value for value in held if isinstance(value, Tensor)]


def _stepwise(kind: type[nn.Module], steps: int, in_time: bool) -> Any:
    def forward(self: nn.Module, x: Any) -> Any:
        frames = (x[:, t] if in_time else x for t in range(steps))
        return torch.stack([first_output(kind.forward(self, frame)) for frame in frames])

    return forward


def _whole(kind: type[nn.Module], steps: int, in_time: bool) -> Any:
    def forward(self: nn.Module, x: Any) -> Any:
        if in_time:
            return kind.forward(self, x.transpose(0, 1))
        return kind.forward(self, x.unsqueeze(0).repeat(steps, *(1,) * x.dim()))

    return forward
