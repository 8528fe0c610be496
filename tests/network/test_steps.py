"""Networks over another number of time steps."""

from dataclasses import replace

import numpy as np
import pytest

from tests.networks import (
    CASES,
    as_float,
    last_step_readout,
    sample_inputs,
    scheduled_loop,
    vectors,
    weighted_readout,
    window_of_ternary_spikes,
)
from trispike.errors import InvalidSettingError, UnsupportedError
from trispike.network import digest, with_steps
from trispike.runtime import ReferenceEngine


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


@pytest.mark.parametrize("kind", ["float", "integer"])
@pytest.mark.parametrize("steps", [1, 2, 4, 5])
@pytest.mark.parametrize("make", [scheduled_loop, window_of_ternary_spikes])
def test_fewer_steps_of_a_schedule_are_its_first_ones(make, steps, kind):
    """Also where a window has not begun yet: there, a neuron integrates and never fires."""
    network = make() if kind == "integer" else as_float(make())
    shorter = with_steps(network, steps)
    data = sample_inputs(network, 3) * (1 if kind == "integer" else 32)
    whole = ReferenceEngine(network).run(data, record="all")
    part = ReferenceEngine(shorter).run(data, record="all")
    assert sum(np.abs(whole.records[name]["s"]).sum() for name in network.populations)
    for name, traces in part.records.items():
        for trace, values in traces.items():
            np.testing.assert_array_equal(values, whole.records[name][trace][:, :steps])
    np.testing.assert_array_equal(part.step_logits, whole.step_logits[:, :steps])


def test_more_steps_keep_a_window_and_have_no_gains():
    longer = with_steps(window_of_ternary_spikes(), 9)
    neuron = longer.populations["first"].neuron
    assert (neuron.fire_from, neuron.fire_until) == (1, 4)
    with pytest.raises(UnsupportedError, match=r"population 'go' over 8 .* got gains for 7"):
        with_steps(scheduled_loop(), 8)
