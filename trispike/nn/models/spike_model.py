"""The wrapper around every architecture: input encoding, time average, provenance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from torch import Tensor, nn

from trispike.errors import InvalidDataError, InvalidNetworkError
from trispike.network.neuron import Reset
from trispike.nn.neurons import Form
from trispike.nn.readouts import ChosenSteps
from trispike.nn.ttfs import TimeWeights, wrong_length

__all__ = ["InputKind", "Provenance", "SpikeModel"]

InputKind: TypeAlias = Literal["static", "frames"]
"""``static``: one image (N, C, H, W), shown at every step; ``frames``: (N, T, C, H, W)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where the weights of a model come from, and what its user stated because no file says it."""

    file: str
    """Name of the checkpoint, without its folder."""
    sha256: str
    """Of the whole checkpoint file, hexadecimal."""
    architecture: str
    """Name in ``ARCHITECTURES``."""
    steps: int
    """T."""
    form: Form | None
    """Form of CTSN; None for other neurons."""
    v_threshold: float
    """V_th of every neuron."""
    tau: float
    """Leak of every neuron."""
    input_kind: InputKind
    """How the input presents itself."""
    neurons: str = ""
    """Kinds of the layers' neurons, with commas between them, where they are not all of one."""
    reset: Reset = "zero"
    """What firing does to the potential of every neuron."""
    sigmoid_init: bool = False
    """Whether trained initial potentials pass through the logistic function."""
    readout: str = ""
    """Time steps that the readout averages over, where these are not all: "last", or "1,3"."""
    ignored: str = ""
    """Keys of the file that its user left out, with commas between them."""


class SpikeModel(nn.Module):
    """A spiking classifier; its parameters begin with ``model.``, as published.

    Calling it gives logits averaged over time, (N, classes), or weighted with ``readout``;
    :meth:`forward_steps` gives them at every step, (T, N, classes). ``provenance`` says which
    checkpoint it was loaded from, if any.

    Args:
        model: Maps (T, N, C, H, W) to logits at every step, (T, N, classes).
        steps: T.
        input_kind: How the input presents itself.
        input_shape: (C, H, W) of one frame that the model is meant for.
        readout: Weights of the time steps, or chosen ones; None: the mean of all.

    Raises:
        InvalidNetworkError: ``steps`` or ``input_kind`` is out of range.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        steps: int,
        input_kind: InputKind,
        input_shape: tuple[int, int, int],
        readout: TimeWeights | ChosenSteps | None = None,
    ) -> None:
        super().__init__()
        if steps < 1:
            raise InvalidNetworkError(
                "steps", got=str(steps), expected="at least 1", fix="Pass the trained time steps."
            )
        if input_kind not in get_args(InputKind):
            raise InvalidNetworkError(
                "input_kind",
                got=repr(input_kind),
                expected="one of " + ", ".join(get_args(InputKind)),
                fix="Choose one of these.",
            )
        if readout is not None and readout.length != steps:
            raise wrong_length(readout.length, steps)
        self.model = model
        self.readout = readout
        self.steps = steps
        self.input_kind: InputKind = input_kind
        self.input_shape = input_shape
        self.provenance: Provenance | None = None
        # A hook, because shapes can not be looked at in what torch.fx traces.
        self.register_forward_pre_hook(_check_input)

    def forward(self, x: Tensor) -> Tensor:
        """Logits averaged over time, or weighted with ``readout``, (N, classes).

        Args:
            x: (N, C, H, W), or (N, T, C, H, W) if ``input_kind`` is ``"frames"``.

        Raises:
            InvalidDataError: x has another number of axes, channels or steps.
        """
        steps = self._steps(x)
        if self.readout is None:
            return steps.mean(0)
        logits: Tensor = self.readout(steps)
        return logits

    def forward_steps(self, x: Tensor) -> Tensor:
        """Logits at every time step, (T, N, classes), for the same input.

        Their mean over time is what the model returns: with weights as ``readout``, they are
        multiplied with these and T; with chosen steps, they are those of these alone.
        """
        _check_input(self, (x,))
        steps = self._steps(x)
        return steps if self.readout is None else self.readout.spread(steps)

    def _steps(self, x: Tensor) -> Tensor:
        if self.input_kind == "static":
            x = x.unsqueeze(0).repeat(self.steps, 1, 1, 1, 1)
        else:
            x = x.permute(1, 0, 2, 3, 4)
        logits: Tensor = self.model(x)
        return logits


def _check_input(model: SpikeModel, args: tuple[Any, ...]) -> None:
    (x,) = args
    channels = model.input_shape[0]
    steps = () if model.input_kind == "static" else (model.steps,)
    lead = len(steps) + 1
    if x.dim() != lead + 3 or tuple(x.shape[1 : lead + 1]) != (*steps, channels):
        raise InvalidDataError(
            "input of the model",
            got=f"shape {tuple(x.shape)}",
            expected="(" + ", ".join(["N", *map(str, steps), str(channels), "H", "W"]) + ")",
            fix="Pass images to a model of input kind 'static', T frames to one of kind 'frames'.",
        )
