"""Elements of the input: against counting them one by one."""

from dataclasses import fields

import numpy as np
import pytest

from tests.networks import CASES, Builder
from tests.runtime import floats
from tests.runtime.floats import sample_inputs
from trispike.runtime import input_counts as input_counts_module
from trispike.runtime.input_counts import input_counts

NETWORKS = {**CASES, **floats.CASES}


@pytest.mark.parametrize("case", ["vectors", "spikes_encoding", "frames"])
def test_events_are_the_elements_that_are_not_zero(case):
    network = NETWORKS[case]()
    inputs = sample_inputs(network, 3)
    often = network.steps if network.input.encoding == "direct" else 1
    encoded = network.input.encode(inputs, network.steps)
    expected = often * sum(1 for value in encoded.reshape(-1).tolist() if value)
    assert input_counts(network, inputs).events.sum() == expected > 0
    assert input_counts(network, inputs[:0]).events.tolist() == [0] * network.steps


def test_parts_add_up():
    network = CASES["vectors"]()
    inputs = sample_inputs(network, 5)
    whole = input_counts(network, inputs)
    merged = input_counts(network, inputs[:2]).merged(input_counts(network, inputs[2:]))
    for field in fields(whole):
        np.testing.assert_allclose(  # magnitudes are sums of floats
            getattr(merged, field.name), getattr(whole, field.name), rtol=1e-12
        )


def test_input_counts_in_batches():
    made = Builder(3, encoding="spikes")
    made.layer("input", "first", made.conv("input", 2))
    small = made.build("first")
    data = sample_inputs(small, 600)
    seen = input_counts(small, data)
    assert len(data) > 2 * input_counts_module._BATCH
    axes = (0, 2, 3, 4)
    assert np.array_equal(seen.positive, (data == 1).sum(axis=axes))
    assert np.array_equal(seen.negative, (data == -1).sum(axis=axes))
    assert np.array_equal(seen.graded, (np.abs(data) > 1).sum(axis=axes))
    assert np.array_equal(seen.magnitude, np.abs(data).sum(axis=axes))
    assert np.array_equal(seen.events, (data != 0).sum(axis=axes))
