"""Bounds, from the network alone."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.networks import CASES, Builder, as_float
from tests.strategies import inputs_for, integer_networks
from trispike.network import FixedPointNeuron, IntegerNetwork, Population
from trispike.network.dynamics import time_steps
from trispike.runtime.fast.plan import (
    arriving_steps,
    current_limit,
    is_narrow,
    pooled_limit,
    total_limit,
)


@settings(max_examples=50)
@given(st.data())
def test_nothing_exceeds_its_bound(data):
    """What a run really sums up stays within what is proved about the network."""
    network = data.draw(integer_networks())
    encoded = network.input.encode(data.draw(inputs_for(network)), network.steps)
    connections = dict(network.labelled())
    for step in time_steps(network, encoded):
        for label, arrived in step.arrived.items():
            connection = connections[label]
            summed = np.asarray(sum(a.astype(np.int64) for a in arrived))
            pooled = connection.pool.apply(summed) if connection.pool else summed
            assert np.abs(pooled).max() <= pooled_limit(network, connection)
            assert np.abs(connection.current(summed)).max() <= current_limit(network, connection)
        for name, current in step.currents.items():
            assert np.abs(current).max() <= total_limit(network, name)


def identities(*scales: int, exponent: int = 0, **neuron: int) -> IntegerNetwork:
    """One population that reads the input over so many identity connections."""
    b = Builder(1, (4,))
    for scale in scales:
        b.connect(
            "input", "a", replace(b.identity("input"), scale=np.int8(scale)), exponent=exponent
        )
    b.populate("a")
    network = b.build("a")
    a = Population(shape=(4,), neuron=FixedPointNeuron(state_shift=0, **neuron))
    return replace(network, populations={"a": a})


@pytest.mark.parametrize(
    ("network", "total", "narrow"),
    [
        (identities(127), 127 * 127, True),
        (identities(127, state_bits=28), 127 * 127, True),
        (identities(127, state_bits=29), 127 * 127, False),
        (identities(-127, exponent=10), 127 * 127 << 10, True),
        (identities(127, 1, exponent=10), 127 * 128 << 10, True),
        (identities(127, 127, exponent=10), 127 * 254 << 10, False),
    ],
)
def test_32_bits_where_they_are_enough(network, total, narrow):
    """Not for states of 29 bits, nor for sums beyond float32, whichever parts they have."""
    assert total_limit(network, "a") == total
    assert is_narrow(network, "a") == narrow


@pytest.mark.parametrize(("shift", "narrow"), [(15, True), (16, False)])
def test_shifted_currents_have_to_fit(shift, narrow):
    network = identities(127, 127, 4)
    total = total_limit(network, "a")
    assert total << 15 < 1 << 30 <= total << 16
    neuron = replace(network.populations["a"].neuron, state_shift=shift)
    changed = replace(network, populations={"a": Population(shape=(4,), neuron=neuron)})
    assert is_narrow(changed, "a") == narrow


@pytest.mark.parametrize(
    ("gain", "bias", "narrow"),
    [(4096, 1 << 26, True), (65536, (1 << 26) - 1, True), (65536, 1 << 26, False)],
)
def test_gained_biases_have_to_fit(gain, bias, narrow):
    network = identities(1)
    neuron = FixedPointNeuron(state_shift=0, gains=(gain, 0, 0, 0), bias=bias, state_bits=28)
    changed = replace(network, populations={"a": Population(shape=(4,), neuron=neuron)})
    assert is_narrow(changed, "a") == narrow


@pytest.mark.parametrize(("gain", "narrow"), [(1, True), (32768, True), (65536, False)])
def test_gained_currents_have_to_fit(gain, narrow):
    network = identities(127, 127, 4)
    assert total_limit(network, "a") << 15 < 1 << 30 <= total_limit(network, "a") << 16
    neuron = FixedPointNeuron(gains=(0, 0, 0, gain), state_shift=12)
    changed = replace(network, populations={"a": Population(shape=(4,), neuron=neuron)})
    assert is_narrow(changed, "a") == narrow


def test_when_a_connection_may_deliver_something():
    """A frame that is presented once, windows of firing, and delays."""
    network = CASES["silent_windows"]()
    steps = [arriving_steps(network, c) for c in network.all_connections]
    assert steps == [range(1), range(3), range(3, 6), range(3), range(6, 9)]
    late = replace(network.connections[1], sources=("one", "two"), delay=2)
    assert arriving_steps(network, late) == range(2, 8)
    assert not arriving_steps(network, replace(late, delay=9))
    assert arriving_steps(CASES["recurrent"](), CASES["recurrent"]().connections[1]) == range(1, 7)


def test_float_networks_are_never_narrow():
    assert not is_narrow(as_float(CASES["vectors"]()), "first")
