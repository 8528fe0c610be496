"""snnTorch 1: Leaky, Synaptic and RLeaky, one time step per call.

They fire strictly above the threshold, and reset one step later, as far as the potential of the
step before was above it, which is whenever they fired:

    syn = alpha*syn + x          (Synaptic; otherwise syn is x)
    mem = beta*mem + syn + R(spk) - th*spk        reset_mechanism "subtract"
    mem = beta*mem*(1 - spk) + x                  "zero", Leaky
    mem = (beta*mem + syn + R(spk))*(1 - spk)     "zero", Synaptic and RLeaky

where spk is that of the step before, and R the recurrent layer of RLeaky. Subtracting one step
later is no reset of ours, because beta does not apply to the threshold. It is a connection from
the population to itself with weight -th and delay 1. A Synaptic would carry this on in its
current; a second one, +alpha*th with delay 2, takes out what is carried. For Leaky, "zero" is
our hard reset. For the other two it throws the input of the step after a spike away, which has no
exact form.

With ``reset_delay=False``, "zero" is our hard reset for all three. "subtract" is not our soft
reset: a potential that is still above the threshold is lowered again before it is compared.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import snntorch as snn
import torch
from snntorch import _neurons
from torch import nn

from trispike.errors import UnsupportedError
from trispike.export.neurons import AdaptedNeuron, Feedback, register_neuron
from trispike.export.signals import to_numpy
from trispike.network import Conv2d, Dense, Identity, Neuron
from trispike.network.neuron import Reset

Array = npt.NDArray[Any]

SUPPORTED = (snn.Leaky, snn.Synaptic, snn.RLeaky)

TAKES = {snn.Leaky: ("mem",), snn.Synaptic: ("syn", "mem"), snn.RLeaky: ("spk", "mem")}
"""Arguments after the input."""

RETURNS = {
    snn.Leaky: ("spk", "mem"),
    snn.Synaptic: ("spk", "syn", "mem"),
    snn.RLeaky: ("spk", "mem"),
}

MECHANISMS = {"_base_sub": "subtract", "_base_zero": "zero", "_base_int": "none"}
"""By the method that a neuron was built to update its states with."""

STATES = ("syn", "mem", "spk")


def adapt(module: nn.Module) -> AdaptedNeuron:
    """The deployed neuron of an snnTorch neuron.

    Raises:
        UnsupportedError: Another neuron than the supported ones, or a setting without exact form.
    """
    kind = next((k for k in SUPPORTED if isinstance(module, k)), None)
    if kind is None or type(module).forward is not kind.forward:
        derived = f", which changes the forward of {kind.__name__}" if kind else ""
        raise _refusal(
            module,
            got=f"snnTorch's {type(module).__name__}{derived}",
            expected="Leaky, Synaptic or RLeaky",
            fix="Train with one of these; their equations are settings of trispike's neuron.",
        )
    mechanism = _mechanism(module)
    _check(module, kind, mechanism)
    beta, threshold = _parameter(module, "beta", clamp=True), _parameter(module, "threshold")
    alpha = _parameter(module, "alpha", clamp=True) if kind is snn.Synaptic else np.zeros(())
    if not (threshold > 0).all():
        raise _refusal(
            module,
            got=f"a threshold of {threshold.min():g}",
            expected="positive numbers",
            fix="Such a neuron fires without input; train with thresholds above 0.",
        )
    amplitude = _parameter(module, "graded_spikes_factor")
    recurrent, bias = _recurrent(module, amplitude) if kind is snn.RLeaky else ((), np.zeros(()))
    reset: Reset = "zero" if mechanism == "zero" else "none"
    late = _subtraction(alpha, threshold) if mechanism == "subtract" else ()
    returned = module.output or not module.init_hidden
    return AdaptedNeuron(
        neuron=Neuron(
            b_pos=beta, b_neg=beta, k=alpha, bias=bias, th_pos=threshold, reset=reset, strict=True
        ),
        amplitude=amplitude,
        time_axis=None,
        feedback=(*recurrent, *late),
        takes=TAKES[kind],
        returns=RETURNS[kind] if returned else (),
    )


def _subtraction(alpha: Array, threshold: Array) -> tuple[Feedback, ...]:
    """The threshold, one step after a spike; see the head of this module."""
    once = Feedback(operator=Identity(scale=-threshold))
    if not np.any(alpha):
        return (once,)
    return once, Feedback(operator=Identity(scale=alpha * threshold), delay=2)


def _recurrent(module: Any, amplitude: Array) -> tuple[tuple[Feedback, ...], Array]:
    """The recurrent layer as a connection, and its bias."""
    inner: Any = module.recurrent
    bias: Any = None
    if isinstance(inner, nn.Linear):
        operator: Any = Dense(weight=to_numpy(inner.weight) * amplitude)
        bias = inner.bias
    elif isinstance(inner, nn.Conv2d):  # made with these numbers alone
        operator = Conv2d(
            weight=to_numpy(inner.weight) * amplitude,
            padding=(int(inner.padding[0]), int(inner.padding[1])),
        )
        bias = None if inner.bias is None else inner.bias.reshape(-1, 1, 1)
    elif type(inner) is _neurons.rleaky.RecurrentOneToOne:
        operator = Identity(scale=_compact(to_numpy(inner.V)) * amplitude)
    else:
        raise _refusal(
            module,
            got=f"a {type(inner).__name__} as its recurrent layer",
            expected="what RLeaky makes: nn.Linear, nn.Conv2d, or one to one",
            fix="Leave RLeaky.recurrent as it was made.",
        )
    return (Feedback(operator=operator),), np.zeros(()) if bias is None else to_numpy(bias)


def _mechanism(module: Any) -> str:
    """How it resets, by the update that it was built with."""
    name = getattr(module.state_function, "__name__", "another function")
    mechanism = MECHANISMS.get(name)
    if (
        mechanism is None
        or mechanism != module.reset_mechanism
        or int(module.reset_mechanism_val) != type(module).reset_dict[mechanism]
    ):
        raise _refusal(
            module,
            got=f"reset_mechanism {module.reset_mechanism!r} "
            f"(value {int(module.reset_mechanism_val)}) in a neuron built for {mechanism!r}",
            expected="the mechanism that it was constructed with",
            fix="Give reset_mechanism to the constructor; setting it later changes the update "
            "only in part.",
        )
    return mechanism


def _check(module: Any, kind: type, mechanism: str) -> None:
    if module.inhibition:
        raise _refusal(
            module,
            got="inhibition=True",
            expected="inhibition=False: whether a neuron fires depends on itself",
            fix="Train without it.",
        )
    if module.state_quant:
        raise _refusal(
            module,
            got="state_quant",
            expected="state_quant=False: states are quantized with the network",
            fix="Train without it, and use trispike.quantize.",
        )
    if mechanism == "subtract" and not module.reset_delay:
        raise _refusal(
            module,
            got="reset_mechanism 'subtract' with reset_delay=False, which lowers a potential that "
            "is still above the threshold before it is compared",
            expected="reset_delay=True, or reset_mechanism 'zero'",
            fix="Train with reset_delay=True, the default.",
        )
    if mechanism == "zero" and module.reset_delay and kind is not snn.Leaky:
        raise _refusal(
            module,
            got="reset_mechanism 'zero' with reset_delay=True, which throws away what arrives in "
            "the step after a spike",
            expected="reset_mechanism 'subtract', or reset_delay=False",
            fix="Train with one of these.",
        )
    probe = torch.tensor([-1.0, -1e-6, 0.0, 1e-6, 1.0], dtype=torch.float64)
    with torch.no_grad():
        fired = module.spike_grad(probe)
    if not torch.equal(fired.double(), (probe > 0).double()):
        raise _refusal(
            module,
            got=f"a spike_grad that puts out {fired.tolist()} for potentials of {probe.tolist()} "
            "above the threshold",
            expected="a step function, 1 above the threshold only",
            fix="Use one of snntorch.surrogate that fires without chance.",
        )


def _parameter(module: Any, name: str, *, clamp: bool = False) -> Array:
    values = _compact(to_numpy(getattr(module, name)))
    return np.clip(values, 0.0, 1.0) if clamp else values


def _compact(values: Array) -> Array:
    """One number without axes; (C, 1, 1) and (F,) as they are."""
    return values.reshape(()) if values.size == 1 else values


def _refusal(module: nn.Module, *, got: str, expected: str, fix: str) -> UnsupportedError:
    return UnsupportedError(type(module).__name__, got=got, expected=expected, fix=fix)


def prepare(part: nn.Module, dtype: torch.dtype) -> None:
    """Forget what happened before, and let spikes be of the dtype: snnTorch's are float32."""
    if not isinstance(part, snn.SpikingNeuron):
        return
    for name in STATES:
        if isinstance(getattr(part, name, None), torch.Tensor):
            setattr(part, name, torch.zeros(0, dtype=dtype))
    inner = part.spike_grad
    del part.spike_grad
    part.spike_grad = partial(_in_dtype, inner, dtype)


def _in_dtype(inner: Any, dtype: torch.dtype, potential: torch.Tensor) -> torch.Tensor:
    spikes: torch.Tensor = inner(potential).to(dtype)
    return spikes


# Every neuron of the library, so that those without an adapter are refused by name.
register_neuron(snn.SpikingNeuron, adapt)
