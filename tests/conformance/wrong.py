"""Engines that are wrong in one thing each, and the constructions that have to show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from trispike.network import Conv2d, Dense, Network, SumPool
from trispike.network import neuron as neurons
from trispike.network.fixed_point import never, state_limit
from trispike.network.neuron import FixedPointNeuron, Neuron

Change = Callable[[Network], Network]


def each_neuron(**fields: Any) -> Change:
    """Other fields of every neuron; a function gets the neuron."""

    def change(network: Network) -> Network:
        populations = {}
        for name, population in network.populations.items():
            neuron = population.neuron
            values = {f: v(neuron) if callable(v) else v for f, v in fields.items()}
            populations[name] = replace(population, neuron=replace(neuron, **values))
        return replace(network, populations=populations)

    return change


def each_connection(change_one: Callable[[Any], Any]) -> Change:
    def change(network: Network) -> Network:
        readout = network.readout
        read = tuple(change_one(c) for c in readout.connections)
        return replace(
            network,
            connections=tuple(change_one(c) for c in network.connections),
            readout=replace(readout, connections=read),
        )

    return change


def each_weight(kind: type[Any], change_weight: Callable[[Any], Any]) -> Change:
    def change_one(connection: Any) -> Any:
        operator = connection.operator
        if not isinstance(operator, kind):
            return connection
        field = "weight" if isinstance(operator, Dense | Conv2d) else "scale"
        new = replace(operator, **{field: change_weight(operator.weight)})
        return replace(connection, operator=new)

    return each_connection(change_one)


def unreachable(neuron: Neuron | FixedPointNeuron) -> Any:
    return np.inf if isinstance(neuron, Neuron) else never(neuron.state_bits)


def no_floor(neuron: Neuron | FixedPointNeuron) -> Any:
    return -np.inf if isinstance(neuron, Neuron) else -state_limit(neuron.state_bits)


def in_integers(**fields: Any) -> Change:
    change = each_neuron(**fields)
    return lambda network: change(network) if network.kind == "integer" else network


def encoding(before: str, after: str) -> Change:
    def change(network: Network) -> Network:
        if network.input.encoding != before:
            return network
        return replace(network, input=replace(network.input, encoding=after))

    return change


def without_mean(network: Network) -> Network:
    return replace(network, input=replace(network.input, mean=0.0))


def equal_steps(network: Network) -> Network:
    weights = np.ones_like(network.readout.weights)
    return replace(network, readout=replace(network.readout, weights=weights))


def without_readout_bias(network: Network) -> Network:
    return replace(network, readout=replace(network.readout, bias=0 * network.readout.bias))


def one_step_later(connection: Any) -> Any:
    return replace(connection, delay=connection.delay + 1) if connection.delay else connection


WRONG: dict[str, tuple[Change, tuple[str, ...]]] = {
    "inclusive thresholds": (each_neuron(strict=False), ("every-mth-spike", "exact-threshold")),
    "strict thresholds": (
        each_neuron(strict=True),
        (
            "delay-line", "clock", "bias-clock", "latch", "coincidence", "coincidence-window",
            "xor", "counter", "ring", "instant-loop", "exact-threshold", "shared-thresholds",
            "ternary-complement",
        ),
    ),
    "hard reset only": (each_neuron(reset="zero"), ("soft-reset-rate", "resets")),
    "soft reset only": (
        each_neuron(reset="subtract"), ("every-mth-spike", "resets", "fire-once", "bias-clock")
    ),
    "no complement": (each_neuron(a_pos=0, a_neg=0), ("ternary-complement", "retention-by-sign")),
    "one a": (each_neuron(a_neg=lambda n: n.a_pos), ("ternary-complement", "retention-by-sign")),
    "one b": (each_neuron(b_neg=lambda n: n.b_pos), ("retention-by-sign",)),
    "no leak at all": (
        each_neuron(b_pos=lambda n: n.b_pos * 0), ("every-mth-spike", "counter", "bias-clock")
    ),
    "no memory of the current": (each_neuron(k=0), ("synaptic-current", "fresh-samples")),
    "no floor": (each_neuron(floor=no_floor), ("floor",)),
    "fires again": (each_neuron(fire_once=False), ("fire-once", "fresh-samples")),
    "starts at zero": (
        each_neuron(v_init=0), ("start-potential", "clock", "bias-clock", "quantized-levels")
    ),
    "no bias": (each_neuron(bias=0), ("start-potential", "bias-clock", "state-shift")),
    "binary": (each_neuron(th_neg=unreachable), ("ternary-signs", "resets", "sources")),
    "equal thresholds": (each_neuron(th_neg=lambda n: n.th_pos), ("ternary-signs", "resets")),
    "one threshold for all": (
        each_neuron(th_pos=lambda n: n.th_pos.flat[0]), ("shared-thresholds", "coincidence")
    ),
    "no window": (
        each_neuron(fire_from=0, fire_until=None), ("firing-window", "quantized-levels")
    ),
    "no gains": (each_neuron(gains=()), ("time-gains",)),
    "wider states": (in_integers(state_bits=24), ("saturation",)),
    "delays of one step at most": (
        each_connection(lambda c: replace(c, delay=min(c.delay, 1))),
        ("delay-line", "clock", "ring", "sources", "readout-weights"),
    ),
    "delays one step too long": (
        each_connection(one_step_later), ("latch", "instant-loop", "ring", "delay-line")
    ),
    "the first source only": (
        each_connection(lambda c: replace(c, sources=c.sources[:1])), ("sources",)
    ),
    "no exponents": (each_connection(lambda c: replace(c, exponent=0)), ("state-shift",)),
    "no shifts": (in_integers(state_shift=0), ("state-shift",)),
    "kernels turned around": (
        each_weight(Conv2d, lambda w: w[..., ::-1, ::-1]), ("convolution", "groups")
    ),
    "groups in another order": (each_weight(Conv2d, lambda w: w[::-1]), ("groups",)),
    "no inhibition": (each_weight(Dense, np.abs), ("xor", "latch", "quantized-levels")),
    "transposed": (
        each_weight(Dense, lambda w: w.T if w.shape[0] == w.shape[1] else w),
        ("flattening", "ring", "last-step"),
    ),
    "shown once": (encoding("direct", "once"), ("repeated-input", "soft-reset-rate")),
    "shown always": (encoding("once", "direct"), ("quantized-levels",)),
    "no mean": (without_mean, ("graded-input",)),
    "equal time weights": (equal_steps, ("readout-weights", "last-step")),
    "no bias in the readout": (without_readout_bias, ("readout-weights",)),
}  # fmt: skip
"""What is wrong: how the network is run differently, and the constructions that show it."""


def decay_down(z: Any, m: Any) -> Any:
    return (z * m) >> 12


def decay_nearest(z: Any, m: Any) -> Any:
    return np.sign(z) * ((np.abs(z) * m + 2048) >> 12)


def wrap(z: Any, bits: int) -> Any:
    half = 1 << (bits - 1)
    return (z + half) % (2 * half) - half, np.abs(z) > half


def lopsided(z: Any, bits: int) -> Any:
    half = 1 << (bits - 1)
    return np.clip(z, -half, half - 1), np.abs(z) > half


def leftover(self: FixedPointNeuron, batch: int, shape: tuple[int, ...]) -> neurons.State:
    zeros = np.zeros((batch, *shape), dtype=np.int64)
    current = zeros.copy()
    current[1:] = 1
    return neurons.State(current, zeros, zeros + self.v_init, zeros != 0)


def largest(self: SumPool, x: Any) -> Any:
    """The largest value of a window, in place of the sum."""
    (sh, sw), (dh, dw), (ph, pw) = self.stride, self.dilation, self.padding
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    rows, columns = replace(self, then=None).output_shape(x.shape[1:])[1:]
    below, across = np.arange(rows) * sh, np.arange(columns) * sw
    taps = [
        padded[:, :, below[:, None] + i * dh, across + j * dw] for i, j in np.ndindex(self.kernel)
    ]
    found = np.max(taps, axis=0)
    return self.then.apply(found) if self.then else found


ARITHMETIC: dict[str, tuple[Any, str, Any, tuple[str, ...]]] = {
    "rounds down": (neurons, "decay", decay_down, ("rounding", "time-gains")),
    "rounds to nearest": (neurons, "decay", decay_nearest, ("rounding", "time-gains")),
    "wraps around": (neurons, "saturate", wrap, ("saturation",)),
    "reaches -128": (neurons, "saturate", lopsided, ("saturation",)),
    "keeps the last sample's current": (
        FixedPointNeuron, "initial_state", leftover, ("fresh-samples",)
    ),
    "max pooling": (SumPool, "apply", largest, ("pooling",)),
    "rounds half up": (np, "rint", lambda x: np.floor(np.asarray(x) + 0.5), ("graded-input",)),
}  # fmt: skip
"""What is wrong: what is patched, with what, and the constructions that show it in integers."""
