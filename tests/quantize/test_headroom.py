"""The bound is true: no spikes whatever drive a state beyond it. And it is not far from tight."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.network.test_neuron import SHAPE, random_fixed_fields
from tests.network.test_synapses import weights_between
from tests.networks import CASES, Builder, random_network
from tests.quantize.floats import random_float_network
from trispike.network import Connection, Conv2d, Dense, FixedPointNeuron, Identity, SumPool
from trispike.network.fixed_point import state_limit
from trispike.network.network import PAYLOAD_LIMIT
from trispike.quantize import quantize
from trispike.quantize.headroom import (
    accumulator_bound,
    arrivals_bound,
    headroom_bits,
    per_channel,
    state_bound,
)
from trispike.runtime import ReferenceEngine

# ------------------------------------------------------------------------------------ accumulator


def worst_accumulator(c: Connection, shape: tuple[int, ...], channels: int, payload: int) -> Any:
    """Per channel: what the most unfortunate spikes deliver to its most unfortunate neuron."""
    sums = np.abs(weights_between(c, shape)).sum(axis=0) * payload * len(c.sources)
    return sums.reshape(channels, -1).max(axis=1)


def bound(c: Connection, shape: tuple[int, ...], channels: int, payload: int) -> Any:
    pooled = c.pool.output_shape(shape) if c.pool else shape
    return accumulator_bound(c, c.operator.output_shape(pooled), channels, payload)


@pytest.mark.parametrize("payload", [1, PAYLOAD_LIMIT])
@pytest.mark.parametrize("case", CASES)
def test_no_spikes_deliver_more_than_the_bound(case, payload):
    net = CASES[case]()
    for c in net.all_connections:
        shape = net.source_shape(c)
        channels = c.output_shape(shape)[0]
        assert (worst_accumulator(c, shape, channels, payload)
                <= bound(c, shape, channels, payload)).all()  # fmt: skip


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_no_spikes_deliver_more_than_the_bound_in_random_networks(seed):
    net = random_network(seed)
    for c in net.all_connections:
        shape = net.source_shape(c)
        channels = c.output_shape(shape)[0]
        assert (worst_accumulator(c, shape, channels, 1) <= bound(c, shape, channels, 1)).all()


INT8 = np.random.default_rng(0).integers(-127, 128, (4, 3, 2, 2)).astype(np.int8)


@pytest.mark.parametrize(
    ("operator", "shape", "fields", "channels"),
    [
        (Conv2d(weight=INT8), (3, 4, 4), {}, 4),
        (Conv2d(weight=INT8, groups=2), (6, 4, 4), {"exponent": 3, "sources": ("a", "b")}, 4),
        (Conv2d(weight=INT8), (3, 4, 4), {"pool": SumPool(kernel=(2, 2), stride=(2, 2))}, 4),
        (Conv2d(weight=INT8), (3, 2, 2), {}, 2),  # flattened, two channels share a scale
        (Dense(weight=INT8.reshape(4, 12)), (12,), {"exponent": 1}, 4),
        (Dense(weight=INT8.reshape(12, 4)), (4,), {}, 3),  # four neurons in every channel
        (Identity(scale=INT8[:3, :1, 0, :1]), (3, 4, 4), {"exponent": 2}, 3),
        (Identity(scale=INT8[0, 0]), (3, 2, 2), {}, 3),
        (
            Identity(scale=np.int8(-5)),
            (3, 4, 4),
            {
                "pool": SumPool(
                    kernel=(2, 1), stride=(2, 1), then=SumPool(kernel=(1, 4), stride=(1, 1))
                )
            },
            3,
        ),
    ],
)
def test_without_borders_and_overlaps_the_bound_is_reached(operator, shape, fields, channels):
    c = Connection(**{"sources": ("a",), "target": "t", "operator": operator, **fields})
    expected = worst_accumulator(c, shape, channels, 127)
    np.testing.assert_array_equal(bound(c, shape, channels, 127), expected)


# ------------------------------------------------------------------------------------------ state


def adversaries(limit: Any, steps: int, seed: int) -> list[Callable[[int, Any], Any]]:
    """Ways to choose the accumulator of a step, within its limit, knowing the potential."""
    rng = np.random.default_rng(seed)

    def constant(sign: int) -> Callable[[int, Any], Any]:
        return lambda t, v: sign * limit

    def onwards(sign: int) -> Callable[[int, Any], Any]:
        """In the direction that the potential has already."""
        return lambda t, v: np.where(v == 0, sign, np.sign(v)) * limit

    def patient(sign: int) -> Callable[[int, Any], Any]:
        """Half of it until the last step."""
        return lambda t, v: sign * (limit if t == steps - 1 else limit // 2)

    return [
        *(kind(sign) for kind in (constant, onwards, patient) for sign in (1, -1)),
        lambda t, v: (-1) ** t * limit,
        lambda t, v: rng.integers(-1, 2, v.shape) * limit,
        lambda t, v: rng.integers(-limit, limit + 1, v.shape),
        lambda t, v: rng.integers(-limit, limit + 1, v.shape),
    ]


def largest_state(neuron: FixedPointNeuron, shape: Any, limit: Any, steps: int, seed: int) -> int:
    """The largest |i|, |c| or |v| of the first step on, over all adversaries."""
    per_neuron = np.broadcast_to(limit.reshape(-1, *[1] * (len(shape) - 1)), (8, *shape))
    largest = 0
    for choose in adversaries(per_neuron, steps, seed):
        state = neuron.initial_state(8, shape)
        for t in range(steps):
            step = neuron.step(state, choose(t, state.v), t)
            assert step.saturations == 0  # wide enough for the bound to mean something
            state = step.state
            largest = max(largest, *(int(np.abs(z).max()) for z in (state.i, state.c, step.v)))
    return largest


@settings(max_examples=50)
@given(st.integers(0, 10**6))
def test_no_accumulator_drives_a_state_beyond_the_bound(seed):
    rng = np.random.default_rng(seed)
    fields = random_fixed_fields(rng)
    # Small parameters in a wide state, so that nothing saturates on the way.
    for name in ("bias", "v_init", "th_pos", "th_neg", "floor"):
        if fields[name] is not None:
            small = fields[name] // 2 ** max(0, fields["state_bits"] - 16)
            fields[name] = np.maximum(small, 1) if name.startswith("th") else small
    neuron = FixedPointNeuron(
        **{**fields, "state_bits": 32, "state_shift": fields["state_shift"] % 5}
    )
    steps = int(rng.integers(1, 7))
    limit = rng.integers(0, 2**12, SHAPE[0])
    proved = state_bound(neuron, SHAPE, limit, steps)
    if proved <= state_limit(32):
        assert largest_state(neuron, SHAPE, limit, steps, seed) <= proved


@pytest.mark.parametrize(
    ("fields", "inputs", "reached", "expected"),
    [
        # Nothing is kept: one step is all there is.
        ({"th_pos": 50, "th_neg": 50, "bias": 7}, [100, 100, 100], 107, 107),
        # Nothing is lost and nothing resets: T times the input.
        ({"b_pos": 4096, "b_neg": 4096}, [100] * 5, 500, 500),
        ({"b_neg": 4096, "th_pos": 30, "th_neg": 30, "reset": "none"}, [-100] * 5, 500, 500),
        # One step goes to the only spike.
        ({"b_pos": 4096, "th_pos": 3, "th_neg": 3, "fire_once": True}, [100] * 5, 400, 500),
        # A hard reset leaves less than the threshold.
        ({"b_pos": 4096, "b_neg": 4096, "th_pos": 30, "th_neg": 30}, [29, 100, 100], 129, 130),
        ({"b_pos": 4096, "th_pos": 30, "th_neg": 30, "strict": True}, [30, 100], 130, 130),
        # A soft one leaves what was above it: 100, 170, 240, 310.
        ({"b_pos": 4096, "th_pos": 30, "th_neg": 30, "reset": "subtract"}, [100] * 4, 310, 310),
        # A binary neuron is not reset from below.
        ({"b_neg": 4096, "th_pos": 30}, [-100] * 4, 400, 400),
        # Half of the current stays: 100, 150, 175.
        ({"k": 2048, "th_pos": 10, "th_neg": 10}, [100] * 3, 175, 175),
        # The first potential is larger than all that follow.
        ({"v_init": -900, "b_neg": 2048, "th_pos": 10, "th_neg": 10}, [-100], 550, 900),
        ({"floor": 400, "th_pos": 10, "th_neg": 10}, [100], 400, 400),
        ({"floor": -400, "th_pos": 10, "th_neg": 10}, [-100], 100, 100),
        # What is carried adds up: 19, 19, 19 + 19 + 100.
        ({"a_pos": 4096, "b_pos": 4096, "th_pos": 20, "th_neg": 20}, [19, 0, 100], 138, 140),
        # A silent neuron adds up whatever comes, and fires it away afterwards.
        ({"b_pos": 4096, "th_pos": 3, "fire_from": 4}, [100] * 5, 500, 500),
        ({"b_pos": 4096, "th_pos": 3, "th_neg": 3, "fire_until": 1}, [2, 100, 100], 202, 203),
        # Gains act on the input and on the bias.
        ({"bias": 8, "gains": (2048, 8192, 0)}, [100, 100, 100], 216, 216),
    ],
)
def test_bounds_by_hand(fields, inputs, reached, expected):
    neuron = FixedPointNeuron(**{"state_bits": 32, "state_shift": 0, **fields})
    assert state_bound(neuron, (1,), np.array([100]), len(inputs)) == expected
    state, largest = neuron.initial_state(1, (1,)), 0
    for t, x in enumerate(inputs):
        step = neuron.step(state, np.array([[x]]), t)
        state = step.state
        largest = max(largest, *(abs(int(z.item())) for z in (state.i, state.c, step.v)))
    assert largest == reached


def test_the_smallest_threshold_of_a_channel_decides_what_a_soft_reset_leaves():
    thresholds = np.array([5, 1000, 1000, 1000]).reshape(1, 2, 2)
    neuron = FixedPointNeuron(
        th_pos=thresholds, th_neg=thresholds, b_pos=4096, b_neg=4096, reset="subtract",
        state_bits=32, state_shift=0,
    )  # fmt: skip
    limit = np.array([2000])
    proved = state_bound(neuron, (1, 2, 2), limit, 3)
    assert proved == 2000 + 1995 + 1995
    assert largest_state(neuron, (1, 2, 2), limit, 3, 0) == proved


def test_the_state_shift_scales_the_accumulator():
    neuron = FixedPointNeuron(state_shift=5, th_pos=1, th_neg=1)
    assert state_bound(neuron, (2,), np.array([3, 4]), 9) == 4 * 32


def test_bounds_that_grow_without_end_stay_numbers():
    neuron = FixedPointNeuron(a_pos=4096, b_pos=4096)
    bounds = [state_bound(neuron, (1,), np.array([100]), steps) for steps in (10, 100, 5000)]
    assert bounds == sorted(bounds)
    assert bounds[-1] > 2**60
    assert headroom_bits(bounds[-1], 24) < -30


def test_headroom_is_the_logarithm_of_what_is_left():
    assert headroom_bits(state_limit(24), 24) == 0
    assert headroom_bits(state_limit(24) + 1, 24) < 0
    assert headroom_bits(1000, 16) == pytest.approx(math.log2(32767 / 1000))
    assert headroom_bits(0, 8) == pytest.approx(math.log2(127))


# ------------------------------------------------------------------------------------ per channel


@pytest.mark.parametrize(
    "values_shape", [(), (1,), (4,), (2, 1), (2, 4), (3, 1, 1), (1, 2, 1), (3, 2, 4), (1, 1, 4)]
)
@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("reduce", [np.max, np.min])
def test_parameters_per_channel_as_numpy_broadcasts_them(values_shape, channels, reduce):
    values = np.random.default_rng(1).integers(-9, 10, values_shape)
    expected = reduce(
        np.abs(np.broadcast_to(values, (3, 2, 4))).reshape(channels, -1), axis=1
    ).astype(float)
    result = per_channel(values, (3, 2, 4), channels, reduce)
    np.testing.assert_array_equal(result, expected)
    assert result.shape == (channels,)


@pytest.mark.parametrize("values", [5, [5], [1, -2, 3, -4, 5, 0]])
@pytest.mark.parametrize("channels", [6, 3, 1])
def test_parameters_per_channel_of_a_vector(values, channels):
    expected = np.abs(np.broadcast_to(values, (6,))).reshape(channels, -1).max(axis=1)
    result = per_channel(np.array(values), (6,), channels)
    np.testing.assert_array_equal(result, expected)


def test_what_arrives_at_each_step():
    """The input at step 0 only; a population in its window only; both later by the delay."""
    b = Builder(1, (2,), steps=6, encoding="once")
    ones = Dense(weight=np.full((1, 2), 3, np.int8))
    b.layer("input", "a", ones, neuron={"fire_from": 1, "fire_until": 3})
    b.layer("input", "b", ones, neuron={"fire_from": 2}, delay=1)
    b.connect(("a", "b"), "c", Dense(weight=np.full((1, 1), 5, np.int8)), delay=1)
    b.connect("input", "c", ones, delay=2, exponent=1)
    b.populate("c")
    net = b.build("c")
    arriving = {name: arrivals_bound(net, net.into(name), 1)[:, 0].tolist() for name in "abc"}
    whole = 2 * 3 * PAYLOAD_LIMIT
    assert arriving["a"] == [whole, 0, 0, 0, 0, 0]
    assert arriving["b"] == [0, whole, 0, 0, 0, 0]
    assert arriving["c"] == [0, 0, 2 * whole + 5, 10, 5, 5]


def test_a_bound_of_every_step_is_tighter_than_one_of_all():
    neuron = FixedPointNeuron(b_pos=4096, b_neg=4096, fire_from=3, th_pos=10, state_shift=0)
    steps = np.array([[100], [0], [7], [0]])
    assert state_bound(neuron, (1,), steps, 4) == 107
    assert state_bound(neuron, (1,), np.array([100]), 4) == 400


# --------------------------------------------------------------------------------- whole networks


def extreme_inputs(net: Any, seed: int) -> Any:
    """Payloads of either extreme, alone, all at once, and along the weights of single neurons."""
    rng = np.random.default_rng(seed)
    shape = net.input.data_shape(net.steps)
    unit = PAYLOAD_LIMIT * (1.0 if net.input.encoding == "spikes" else net.input.scale)
    samples = [np.ones(shape), -np.ones(shape), *rng.choice([-1.0, 1.0], (6, *shape))]
    samples += list(rng.choice([-1.0, 0, 0, 1.0], (4, *shape)))
    for c in net.all_connections:
        if net.input.name in c.sources:
            columns = weights_between(c, net.input.shape).T
            for column in columns[rng.permutation(len(columns))[:4]]:
                along = np.sign(column).reshape(net.input.shape)
                samples += [np.broadcast_to(sign * along, shape) for sign in (1, -1)]
    raw = np.array(samples) * unit
    return raw if net.input.encoding == "spikes" else raw * net.input.std + net.input.mean


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_the_record_bounds_what_a_network_does_on_the_worst_inputs(seed):
    source = random_float_network(seed)
    rng = np.random.default_rng(seed)
    shape = (3, *source.input.data_shape(source.steps))
    data = rng.integers(-3, 4, shape)
    result = quantize(source, data, state_bits=int(rng.integers(12, 33)))
    net = result.network
    run = ReferenceEngine(net).run(extreme_inputs(net, seed), record="all")
    for record in result.record.populations:
        traces = run.records[record.name]
        largest = max(int(np.abs(traces[name]).max()) for name in "icv")
        assert largest <= record.state_bound
        if record.headroom_bits >= 0:
            assert not run.ledger.populations[record.name].saturations.any()
        neuron = net.populations[record.name].neuron
        assert isinstance(neuron, FixedPointNeuron)
        assert record.headroom_bits == headroom_bits(record.state_bound, neuron.state_bits)
