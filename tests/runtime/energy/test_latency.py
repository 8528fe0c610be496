"""Latency: bounds and the busiest core, by hand."""

from dataclasses import replace

import numpy as np
import pytest

from tests.networks import CASES, sample_inputs
from tests.runtime.energy.handmade import moved, one_layer
from trispike.network import IntegerNetwork
from trispike.runtime import ReferenceEngine
from trispike.runtime.activity import spike_counts
from trispike.runtime.energy import estimate_energy, load_profile
from trispike.runtime.energy.latency import estimate_latency, fires_both_signs
from trispike.runtime.energy.profile import Times
from trispike.targets.loihi.hardware import load_chip
from trispike.targets.loihi.placement import place
from trispike.targets.loihi.traffic import count_traffic


def loihi() -> Times:
    found = load_profile("loihi1").times
    assert found is not None
    return found


LOIHI = loihi()


def test_bounds_by_hand():
    """20 neurons, 5 steps, 13 updates with input, 1000 operations of at most 3.5 ns."""
    ledger = one_layer(operations=1000, neurons=20, steps=5, active=13, positive=6)
    found = estimate_latency(ledger, LOIHI)
    updates = 13 * 8.4 + 87 * 5.3
    assert found.low_seconds == pytest.approx((updates / 128 + 5 * 113) * 1e-9)
    assert found.high_seconds == pytest.approx((1000 * 3.5 + updates + 5 * 465) * 1e-9)
    assert (found.busiest_core_seconds, found.cores, found.steps) == (None, 128, 5)
    assert set(found.untimed) == {"mesh", "host_input_output"}
    # Two neurons for each that fires both signs, at the upper end.
    signed = replace(
        ledger,
        populations={
            "a": replace(ledger.populations["a"], spikes_negative=np.eye(5, dtype=int)[0])
        },
    )
    assert found.high_seconds is not None
    doubled = estimate_latency(signed, LOIHI, doubled=True)
    assert doubled.low_seconds == found.low_seconds
    assert doubled.high_seconds == pytest.approx(found.high_seconds + updates * 1e-9)
    assert estimate_energy(signed, load_profile("loihi1")).latency == doubled


def test_what_has_no_time_is_told():
    found = estimate_latency(one_layer(operations=10, graded=7), LOIHI)
    assert found.untimed["graded_operation"] == "No published time; 7 per inference."
    exact = LOIHI.model_dump() | {
        "events": {"synaptic_operation": {"nanoseconds": 2.0, "citation": "x"}}
    }
    told = estimate_latency(one_layer(operations=128), Times.model_validate(exact))
    assert told.low_seconds == pytest.approx((2.0 + 113) * 1e-9)
    assert "neuron_update_inactive" in told.untimed


def test_the_busiest_core_by_hand():
    """Two cores, two steps: 30 and 4 operations, then 1 and 20, over two samples; 3 and 5 neurons.

    A quarter of the updates has input in the first step, none in the second.
    """
    ledger = one_layer(operations=55, neurons=8, steps=2, active=2, positive=1)
    traffic = replace(
        moved(1, 0, 0, samples=2),
        operations={"input->a": np.array([[30.0, 4.0], [1.0, 20.0]])},
        neurons=np.array([3, 5]),
    )
    first, second = 0.25 * 8.4 + 0.75 * 5.3, 5.3
    steps = max(15 * 3.5 + 3 * first, 2 * 3.5 + 5 * first) + max(1.75 + 3 * second, 35 + 5 * second)
    found = estimate_latency(ledger, LOIHI, traffic=traffic)
    assert found.busiest_core_seconds == pytest.approx((steps + 2 * 465) * 1e-9)
    # The barrier between chips is not known.
    several = estimate_latency(ledger, LOIHI, traffic=replace(traffic, chips=2))
    assert (several.busiest_core_seconds, several.high_seconds) == (None, None)
    assert several.untimed["barrier"].startswith("Between 2 chips")
    assert several.cores == 256
    # A connection with graded payloads has no published time.
    graded = one_layer(operations=55, graded=1, neurons=8, steps=2, active=2)
    silent = estimate_latency(graded, LOIHI, traffic=traffic)
    assert silent.busiest_core_seconds == pytest.approx((5 * first + 5 * second + 2 * 465) * 1e-9)


@pytest.mark.parametrize("case", ["vectors", "pooled_downsample", "deep"])
def test_the_busiest_core_lies_between_the_bounds(case):
    network = CASES[case]()
    assert isinstance(network, IntegerNetwork)
    inputs = sample_inputs(network, 4)
    engine = ReferenceEngine(network)
    placement = place(network, load_chip("loihi1", {"neurons_per_core": "16"}))
    traffic = count_traffic(network, placement, spike_counts(engine, inputs), 4)
    ledger = engine.run(inputs).ledger
    found = estimate_latency(ledger, LOIHI, network=network, traffic=traffic)
    assert found.steps == network.steps + max(network.depth.values())
    assert traffic.chips == 1
    assert found.high_seconds is not None
    assert found.busiest_core_seconds is not None
    assert found.low_seconds < found.busiest_core_seconds < found.high_seconds
    alone = estimate_latency(ledger, LOIHI, network=network)
    assert alone.high_seconds is not None
    assert alone.low_seconds < alone.high_seconds
    neurons = sum(p.size for p in network.populations.values())
    plain = estimate_latency(ledger, LOIHI)
    assert plain.high_seconds is not None
    more = max(network.depth.values()) * (neurons * 5.3 + 465) * 1e-9
    assert alone.high_seconds == pytest.approx(plain.high_seconds + more)


def test_who_may_take_two_neurons():
    """Both thresholds can be reached, whether or not they were; by the spikes without a network."""
    network = CASES["vectors"]()
    silent = ReferenceEngine(network).run(0 * sample_inputs(network, 2)).ledger
    assert fires_both_signs(silent, network) == tuple(network.populations)
    first = network.populations["first"]
    binary = replace(first, neuron=replace(first.neuron, th_neg=1 << 23))
    one = replace(network, populations={**network.populations, "first": binary})
    assert fires_both_signs(silent, one) == tuple(n for n in network.populations if n != "first")
    loud = one_layer(neurons=2, negative=1)
    assert fires_both_signs(loud, None) == ("a",)
    assert fires_both_signs(one_layer(neurons=2, positive=1), None) == ()


def test_most_profiles_have_no_times():
    ledger = one_layer(operations=10)
    assert estimate_energy(ledger, load_profile("odin")).latency is None
    assert estimate_energy(ledger, load_profile("odin")).to_dict()["latency"] is None
