"""Networks over another number of time steps."""

from dataclasses import replace

import numpy as np
import pytest

from tests.networks import CASES, as_float, last_step_readout, vectors, weighted_readout
from trispike.errors import InvalidSettingError, UnsupportedError
from trispike.network import digest, with_steps


@pytest.mark.parametrize("name", CASES)
def test_as_many_steps_are_the_same_network(name):
    network = CASES[name]()
    assert digest(with_steps(network, network.steps)) == digest(network)


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_an_average_is_over_the_new_steps(steps):
    network = vectors()
    changed = with_steps(network, steps)
    assert changed.steps == steps
    assert changed.readout.weights.tolist() == [1] * steps
    assert changed.readout.weights.dtype == np.int64
    # 1 / T is in the scale: logits of equal steps stay what they are
    total = network.readout.weights.sum() * network.readout.scale
    assert changed.readout.weights.sum() * changed.readout.scale == pytest.approx(total, rel=1e-15)
    floats = as_float(network)
    mean = replace(floats, readout=replace(floats.readout, weights=np.full(4, 0.25)))
    assert with_steps(mean, steps).readout.weights == pytest.approx(np.full(steps, 1 / steps))
    assert with_steps(mean, steps).readout.scale == 1.0


@pytest.mark.parametrize("steps", [2, 3, 6])
def test_the_last_step_is_the_new_last_one(steps):
    network = last_step_readout()
    changed = with_steps(network, steps)
    assert changed.readout.weights.tolist() == [0] * (steps - 1) + [1]
    assert changed.readout.scale == network.readout.scale


def test_there_and_back():
    network = vectors()
    assert digest(with_steps(with_steps(network, 2), 4)) == digest(network)


def test_other_time_weights_are_refused():
    with pytest.raises(UnsupportedError, match="time weights that differ from step to step"):
        with_steps(weighted_readout(), 2)
    assert with_steps(weighted_readout(), 4).steps == 4


@pytest.mark.parametrize("steps", [0, -1])
def test_no_steps_are_refused(steps):
    with pytest.raises(InvalidSettingError, match=f"steps: got {steps}; expected at least 1"):
        with_steps(vectors(), steps)
