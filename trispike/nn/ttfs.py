"""Networks whose neurons fire once (time to first spike): neuron, layers, weighted decoding.

Source: Che et al., "Efficiently Training Time-to-First-Spike Spiking Neural Networks from Scratch",
arXiv 2410.23619. Its code is not public. What its text leaves open is an argument here: the reset,
the affine of the standardized weights, and how the weight of a time step is parametrized.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from trispike.errors import InvalidNetworkError
from trispike.network.neuron import Reset
from trispike.nn.neurons import Coefficients, SpikingNeuron
from trispike.nn.surrogate import DEFAULT_SURROGATE

__all__ = [
    "TTFS",
    "StandardizedConv2d",
    "StandardizedLinear",
    "TimeForm",
    "TimeWeights",
    "initialize_ttfs",
]

TimeForm: TypeAlias = Literal["power", "softplus", "exponential", "given"]
"""How the weights of the time steps are parametrized, see :class:`TimeWeights`."""

_EPS = 1e-5
"""Added to the variance of weights, as in PyTorch's normalizations."""


class TTFS(SpikingNeuron):
    """Integrate-and-fire neuron that fires at most once per sample.

    ::

        v = v + x
        s = 1 if v >= V_th and the neuron has not fired before, else 0
        v = v  (reset "none"),  v - s*V_th  ("subtract"),  v*(1 - s)  ("zero")

    The reset changes the potential behind the only spike, and with it gradients and what a
    membrane regularization sees; it changes no spike.

    Args:
        v_threshold: V_th.
        reset: What firing does to the membrane potential.
        surrogate: Name of the surrogate gradient.
    """

    def __init__(
        self,
        v_threshold: float = 1.0,
        reset: Reset = "none",
        surrogate: str = DEFAULT_SURROGATE,
    ) -> None:
        super().__init__(
            v_threshold=v_threshold,
            ternary=False,
            reset=reset,
            fire_once=True,
            surrogate=surrogate,
        )

    def coefficients(self, dtype: torch.dtype) -> Coefficients:
        """See the base class."""
        return Coefficients(b_pos=1.0, b_neg=1.0)


def initialize_ttfs(weight: Tensor, steps: int, v_threshold: float = 1.0) -> None:
    """Fill the weights of a layer with U(-b, b), b = V_th * sqrt(3*T/N), N its inputs per output.

    A neuron that fires once sends 1/T spikes per step, so that T/N of variance per weight keeps
    the variance of the current at the square of the threshold.

    Args:
        weight: (outputs, inputs, ...), filled in place.
        steps: T.
        v_threshold: Of the neurons that the layer feeds.
    """
    bound = v_threshold * math.sqrt(3 * steps / weight[0].numel())
    nn.init.uniform_(weight, -bound, bound)


def _standardized(weight: Tensor, gain: Tensor, offset: Tensor | None) -> Tensor:
    """Weights with mean ``offset`` and standard deviation ``gain`` in every output."""
    rows = weight.flatten(1)
    variance, mean = torch.var_mean(rows, 1, correction=0, keepdim=True)
    rows = gain[:, None] * (rows - mean) / torch.sqrt(variance + _EPS)
    if offset is not None:
        rows = rows + offset[:, None]
    return rows.reshape(weight.shape)


class _Standardized(nn.Module):
    """What the standardized layers share: ``gain`` and ``offset`` beside ``weight``."""

    weight: Tensor
    gain: nn.Parameter
    offset: nn.Parameter | None

    def _add_affine(self, steps: int, v_threshold: float, affine_offset: bool) -> None:
        outputs = self.weight.shape[0]
        with torch.no_grad():
            initialize_ttfs(self.weight, steps, v_threshold)
        # The standard deviation of that distribution: standardizing changes nothing at first.
        spread = v_threshold * math.sqrt(steps / self.weight[0].numel())
        self.gain = nn.Parameter(torch.full((outputs,), spread))
        offset = nn.Parameter(torch.zeros(outputs)) if affine_offset else None
        self.register_parameter("offset", offset)

    def standardized_weight(self) -> Tensor:
        """The weight that the layer computes with, which is what is deployed."""
        return _standardized(self.weight, self.gain, self.offset)


class StandardizedConv2d(nn.Conv2d, _Standardized):
    """Convolution whose weights are standardized per output channel, with a trained affine.

    ::

        w = gain * (weight - mean(weight)) / sqrt(var(weight) + 1e-5) + offset

    gain and offset are one number per output channel. A conversion folds w.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        kernel: Height and width of the kernel.
        steps: T, for the initial weights, see :func:`initialize_ttfs`.
        stride: Of the convolution.
        padding: Zeros around the input.
        bias: Whether there is one.
        v_threshold: Of the neurons that follow, for the initial weights.
        affine_offset: Whether the affine has an offset.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        steps: int,
        *,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
        v_threshold: float = 1.0,
        affine_offset: bool = True,
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding, bias=bias)
        self._add_affine(steps, v_threshold, affine_offset)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H', W')."""
        return functional.conv2d(
            input, self.standardized_weight(), self.bias, self.stride, self.padding
        )


class StandardizedLinear(nn.Linear, _Standardized):
    """Linear layer whose weights are standardized per output, see :class:`StandardizedConv2d`.

    Args:
        inputs: Features of the input.
        outputs: Features of the output.
        steps: T, for the initial weights.
        bias: Whether there is one.
        v_threshold: Of the neurons that follow, for the initial weights.
        affine_offset: Whether the affine has an offset.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        steps: int,
        *,
        bias: bool = True,
        v_threshold: float = 1.0,
        affine_offset: bool = True,
    ) -> None:
        super().__init__(inputs, outputs, bias=bias)
        self._add_affine(steps, v_threshold, affine_offset)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """(N, features) to (N, features')."""
        return functional.linear(input, self.standardized_weight(), self.bias)


class TimeWeights(nn.Module):
    """Weighted decoding over time: sum over t of w[t] * x[t], t = 0..T-1.

    =================  ===========================  ==========================================
    form               w[t]                         kept as
    =================  ===========================  ==========================================
    ``"power"``        base**-t                     parameter ``base``, one number, 2 at first
    ``"softplus"``     log(1 + exp(raw[t]))         parameter ``raw``, (T,)
    ``"exponential"``  exp(-rate*t)                 parameter ``rate``, one number, 0.5 at first
    ``"given"``        values[t]                    buffer ``values``, (T,)
    =================  ===========================  ==========================================

    A network keeps the vector only; the form does not matter after training.

    Args:
        steps: T.
        form: How the weights are parametrized.
        values: The weights themselves, with form ``"given"``; otherwise initial values of them
            for ``"softplus"``, and nothing for the others.

    Raises:
        InvalidNetworkError: The form is unknown, or the values are not T finite numbers (for
            ``"softplus"``, positive ones).
    """

    def __init__(
        self, steps: int, form: TimeForm = "power", values: Sequence[float] | Tensor | None = None
    ) -> None:
        super().__init__()
        if form not in get_args(TimeForm):
            raise InvalidNetworkError(
                "form of the time weights",
                got=repr(form),
                expected="one of " + ", ".join(get_args(TimeForm)),
                fix="Choose one of these.",
            )
        self.form: TimeForm = form
        self.length = steps
        # A hook, because shapes can not be looked at in what torch.fx traces.
        self.register_forward_pre_hook(_check_length)
        if form == "power":
            self.base = nn.Parameter(torch.tensor(2.0))
        elif form == "exponential":
            self.rate = nn.Parameter(torch.tensor(0.5))
        if form in ("power", "exponential"):
            if values is not None:
                raise _bad_weights("values", f"none with form {form!r}, which has one parameter")
        elif form == "softplus":
            halved = torch.logspace(0, 1 - steps, steps, base=2.0).clamp(min=1e-6)
            start = _checked(halved if values is None else values, steps)
            if not bool((start > 0).all()):
                raise _bad_weights(_shown(start), "positive numbers, which a softplus can be")
            self.raw = nn.Parameter(torch.log(torch.expm1(start)))
        else:
            if values is None:
                raise _bad_weights("no values", f"{steps} numbers with form 'given'")
            self.register_buffer("values", _checked(values, steps))

    def weights(self) -> Tensor:
        """w, (T,), with gradients.

        Raises:
            InvalidNetworkError: A base that is not positive, or weights that are not finite.
        """
        if self.form == "softplus":
            return functional.softplus(self.raw)
        if self.form == "given":
            values: Tensor = self.values  # type: ignore[assignment]
            return values
        power = self.form == "power"
        number = self.base if power else self.rate
        t = torch.arange(self.length, dtype=number.dtype, device=number.device)
        # torch.fx traces with something that has no value yet.
        if power and isinstance(number, Tensor) and not bool(number > 0):
            raise InvalidNetworkError(
                "base of the time weights",
                got=f"{number.item():g}",
                expected="a positive number",
                fix="Use a checkpoint from before the training diverged, or another form.",
            )
        return number**-t if power else torch.exp(-number * t)

    def forward(self, x: Tensor) -> Tensor:
        """(T, N, ...) to (N, ...).

        Raises:
            InvalidNetworkError: x has another number of time steps.
        """
        return torch.tensordot(self.weights().to(x.dtype), x, dims=([0], [0]))

    def spread(self, x: Tensor) -> Tensor:
        """(T', N, ...) with T' <= T, times T' * w[t]: its mean over time is the weighted sum."""
        weights = self.weights()[: x.shape[0]].to(x.dtype)
        return x * (x.shape[0] * weights).reshape(-1, *[1] * (x.dim() - 1))

    def extra_repr(self) -> str:
        """What is printed between the parentheses."""
        return f"steps={self.length}, form={self.form!r}"


def _check_length(module: TimeWeights, args: tuple[Any, ...]) -> None:
    # What torch.fx traces has no length; the weighted sum itself refuses another one.
    if isinstance(args[0], Tensor) and args[0].shape[0] != module.length:
        raise wrong_length(module.length, args[0].shape[0])


def wrong_length(weights: int, steps: int) -> InvalidNetworkError:
    """The error for time weights that are not one per time step."""
    return InvalidNetworkError(
        "time weights",
        got=f"{weights} weights for {steps} time steps",
        expected="one weight per time step",
        fix=f"Use the {weights} time steps that the weights were trained with, or other weights.",
    )


def _checked(values: Sequence[float] | Tensor, steps: int) -> Tensor:
    tensor = torch.as_tensor(values, dtype=torch.get_default_dtype()).detach().clone()
    if tensor.dim() != 1:
        raise _bad_weights(f"shape {tuple(tensor.shape)}", f"{steps} numbers")
    if len(tensor) != steps:
        raise wrong_length(len(tensor), steps)
    if not bool(torch.isfinite(tensor).all()):
        raise _bad_weights(_shown(tensor), "finite numbers")
    return tensor


def _shown(values: Tensor) -> str:
    return ", ".join(f"{value:g}" for value in values.tolist())


def _bad_weights(got: str, expected: str) -> InvalidNetworkError:
    return InvalidNetworkError(
        "time weights", got=got, expected=expected, fix="Correct the argument."
    )
