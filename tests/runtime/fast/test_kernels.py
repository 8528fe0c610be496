"""The compiled loops, one step at a time, at the ends of the ranges of their types."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("numba", reason="numba is not installed")

import numba

from trispike.network import FixedPointNeuron, Neuron, Population, SumPool
from trispike.network.fixed_point import DECAY_ONE, decay, never, state_limit
from trispike.network.neuron import State
from trispike.runtime.fast import kernels
from trispike.runtime.fast.kernels import pool
from trispike.runtime.fast.layout import laid_out, to_layout
from trispike.runtime.fast.neurons import Counts, Neurons
from trispike.runtime.fast.workers import Workers

SIZE, SAMPLES = 2000, 3

_decay: Any = kernels._decay


@numba.njit
def decay_all(z: Any, m: Any, out: Any) -> None:
    for row in range(len(z)):
        for column in range(len(m)):
            out[row, column] = _decay(z[row], m[column])


@pytest.mark.parametrize(("dtype", "bits"), [(np.int32, 28), (np.int64, 32)])
def test_decay_near_the_limits_and_near_zero(dtype, bits):
    """Every factor, with states at the ends of the range, around zero and around the carries."""
    limit = state_limit(bits)
    carries = [c * DECAY_ONE + d for c in (1, 2, limit >> 12, limit >> 13) for d in (-1, 0, 1)]
    near = np.unique([*range(150), *range(limit - 150, limit + 1), *(abs(c) for c in carries)])
    z = np.concatenate([-near[::-1], near]).astype(dtype)
    assert abs(int(z[0])) == limit
    m = np.arange(DECAY_ONE + 1, dtype=dtype)
    got = np.empty((len(z), len(m)), dtype)
    decay_all(z, m, got)
    np.testing.assert_array_equal(got, decay(z[:, None], m[None]))


def pick(rng: np.random.Generator, limit: int, *shape: int) -> Any:
    """Numbers of a range, often its ends, its middle, and their neighbours."""
    anywhere = rng.integers(-limit, limit + 1, shape)
    special = rng.choice([-limit, -limit + 1, -1, 0, 1, limit - 1, limit], shape)
    return np.where(rng.random(shape) < 0.5, anywhere, special)


def fixed_point_neuron(rng: np.random.Generator, bits: int, **plain: Any) -> FixedPointNeuron:
    """Every parameter per neuron, with the ends of its range among them."""
    limit, top = state_limit(bits), never(bits)
    factors = {
        name: np.abs(pick(rng, DECAY_ONE, SIZE))
        for name in ("a_pos", "a_neg", "b_pos", "b_neg", "k")
    }
    thresholds = {
        name: np.clip(np.abs(pick(rng, top, SIZE)), 1, top) for name in ("th_pos", "th_neg")
    }
    states = {name: pick(rng, limit, SIZE) for name in ("bias", "floor", "v_init")}
    states["floor"] = np.where(rng.random(SIZE) < 0.5, states["floor"], -limit)
    return FixedPointNeuron(**factors, **thresholds, **states, state_bits=bits, **plain)


def assert_steps(
    neuron: FixedPointNeuron | Neuron, dtype: Any, state: State, currents: Any, given: Any
) -> None:
    """One step of the kernel is one step of the neuron: spikes, traces, state and counts."""
    expected = neuron.step(state, currents, 0)
    runner = Neurons(Population(shape=(SIZE,), neuron=neuron), dtype, None, Workers(1))
    memory = np.stack([state.i, state.c, state.v, state.fired]).astype(dtype)
    codes = np.empty((1, SAMPLES, SIZE), np.uint8)
    counts = Counts.zeros(1, SIZE)
    traces = np.empty((3, 1, SAMPLES, SIZE), dtype)
    runner.advance(currents[None].astype(given), None, codes, counts, state=memory, traces=traces)
    np.testing.assert_array_equal(codes[0].astype(int) - 1, expected.spikes)
    for got, values in zip(
        traces[:, 0], (expected.state.i, expected.state.c, expected.v), strict=True
    ):
        np.testing.assert_array_equal(got, values)
    for name, got, values in zip(State._fields, memory, expected.state, strict=True):
        if name != "c" or runner._uses_carried:  # what nothing is kept of is not kept
            np.testing.assert_array_equal(got, values, name)
    spikes = expected.spikes
    assert counts.events[:, 0].tolist() == [
        (spikes > 0).sum(),
        (spikes < 0).sum(),
        np.count_nonzero(currents),
        expected.saturations,
    ]
    np.testing.assert_array_equal(counts.fired[0], np.abs(spikes).sum(axis=0))


@pytest.mark.parametrize(("strict", "fire_once"), [*product([False, True], repeat=2)])
@pytest.mark.parametrize("reset", ["zero", "subtract", "none"])
@pytest.mark.parametrize(
    ("dtype", "bits", "shift"),
    [
        (np.int32, 8, 16),
        (np.int32, 24, 6),
        (np.int32, 28, 0),
        (np.int64, 29, 6),
        (np.int64, 32, 16),
    ],
)
def test_a_step_at_the_limits_of_the_state(dtype, bits, shift, reset, strict, fire_once):
    rng = np.random.default_rng([bits, shift])
    neuron = fixed_point_neuron(
        rng, bits, state_shift=shift, reset=reset, strict=strict, fire_once=fire_once
    )
    limit = state_limit(bits)
    i, c, v = (pick(rng, limit, SAMPLES, SIZE) for _ in range(3))
    # Often on a threshold: the state before decays to it where nothing else comes in.
    v = np.where(rng.random(v.shape) < 0.3, np.minimum(neuron.th_pos, limit), v)
    v = np.where(rng.random(v.shape) < 0.3, -np.minimum(neuron.th_neg, limit), v)
    fired = rng.random(v.shape) < 0.5
    bound = (1 << 24) - 1 if shift <= 6 else ((1 << 30) - 1) >> shift
    currents = pick(rng, bound if dtype is np.int32 else (1 << 46) - 1, SAMPLES, SIZE)
    given = np.float32 if dtype is np.int32 else np.int64
    assert_steps(neuron, dtype, State(i, c, v, fired), currents, given)


@pytest.mark.parametrize("until", [1, 2])
@pytest.mark.parametrize("gain", [0, 1, 4095, 4096, 65536])
@pytest.mark.parametrize(("dtype", "bits"), [(np.int32, 24), (np.int64, 32)])
def test_a_gain_at_the_limits_of_the_state(dtype, bits, gain, until):
    """Currents and biases that, times the gain, just fit what 32 bits are enough for."""
    rng = np.random.default_rng([bits, gain])
    neuron = fixed_point_neuron(
        rng, bits, state_shift=0, reset="subtract", gains=(gain, 0), fire_until=until
    )
    limit = state_limit(bits)
    i, c, v = (pick(rng, limit, SAMPLES, SIZE) for _ in range(3))
    bound = ((1 << 30) - 1) * 4096 // max(4096, gain) if dtype is np.int32 else (1 << 40)
    currents = pick(rng, min(bound, (1 << 24) - 1), SAMPLES, SIZE)
    state = State(i, c, v, rng.random(v.shape) < 0.5)
    assert_steps(neuron, dtype, state, currents, np.float32 if dtype is np.int32 else np.int64)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(("dtype", "bits"), [(np.int32, 28), (np.int64, 32)])
def test_potentials_on_and_beside_the_threshold(dtype, bits, strict, sign):
    """Up to the largest threshold that fires, and the one that never does."""
    top = never(bits)
    threshold = np.resize([1, 2, 1000, top - 1, top], SIZE)
    neuron = FixedPointNeuron(
        th_pos=threshold, th_neg=threshold, b_pos=DECAY_ONE, b_neg=DECAY_ONE, state_bits=bits,
        strict=strict, reset="subtract",
    )  # fmt: skip
    beside = np.array([-1, 0, 1])[:, None]
    v = sign * np.clip(threshold + beside, 0, state_limit(bits))
    zeros = np.zeros_like(v)
    state = State(zeros, zeros, v, zeros.astype(bool))
    assert_steps(neuron, dtype, state, zeros, np.float32 if dtype is np.int32 else np.int64)
    fires = np.abs(neuron.step(state, zeros, 0).spikes[:, :5])
    assert fires.tolist() == ([[0, 0, 0, 0, 0]] * 2 if strict else [[0] * 5, [1, 1, 1, 1, 0]]) + [
        [1, 1, 1, 0, 0] if strict else [1, 1, 1, 1, 0]
    ]


@pytest.mark.parametrize("reset", ["zero", "subtract", "none"])
@pytest.mark.parametrize("strict", [False, True])
def test_a_step_in_floats(reset, strict):
    rng = np.random.default_rng(1)
    neuron = Neuron(
        **{name: rng.random(SIZE) for name in ("a_pos", "a_neg", "b_pos", "b_neg", "k")},
        bias=rng.normal(size=SIZE),
        v_init=rng.normal(size=SIZE),
        th_pos=np.where(rng.random(SIZE) < 0.2, np.inf, rng.random(SIZE) + 0.1),
        th_neg=np.where(rng.random(SIZE) < 0.2, np.inf, rng.random(SIZE) + 0.1),
        floor=np.where(rng.random(SIZE) < 0.2, -0.5, -np.inf),
        reset=reset,
        strict=strict,
    )
    for once in (False, True):
        i, c, v = rng.normal(size=(3, SAMPLES, SIZE))
        state = State(i, c, v, rng.random(v.shape) < 0.5)
        currents = rng.normal(size=v.shape) * (rng.random(v.shape) < 0.7)
        assert_steps(replace(neuron, fire_once=once), np.float64, state, currents, np.float64)


@pytest.mark.parametrize("strict", [False, True])
def test_floats_on_the_threshold(strict):
    th = np.resize([0.1, 1.0, 1e300, 5e-324], SIZE)
    neuron = Neuron(th_pos=th, th_neg=th, b_pos=1.0, b_neg=1.0, strict=strict, reset="subtract")
    v = np.stack([th, -th, np.nextafter(th, np.inf)])
    zeros = np.zeros_like(v)
    assert_steps(neuron, np.float64, State(zeros, zeros, v, zeros > 0), zeros, np.float64)


POOLS = [
    SumPool(kernel=(2, 2), stride=(2, 2)),
    SumPool(kernel=(3, 2), stride=(2, 1), padding=(1, 1), dilation=(1, 2)),
    SumPool(kernel=(1, 5), stride=(3, 1), padding=(0, 2)),
    SumPool(kernel=(7, 6), stride=(1, 1), padding=(3, 3)),
]


@pytest.mark.parametrize("window", POOLS)
def test_pooled_codes_and_floats(window):
    rng = np.random.default_rng(2)
    limit = 127 // window.area
    x = rng.integers(-limit, limit + 1, (4, 3, 7, 9))
    x[0], x[1] = limit, -limit  # codes wrap around on the way to these sums
    shape = laid_out(window.output_shape((3, 7, 9)))
    expected = to_layout(window.apply(x), 1)
    geometry = (window.kernel, window.stride, window.padding, window.dilation)
    codes = np.empty((4, *shape), np.uint8)
    pool(to_layout(x + limit, 1).astype(np.uint8), (limit, limit * window.area), *geometry, codes)
    np.testing.assert_array_equal(codes.astype(int) - limit * window.area, expected)
    floats = np.empty((4, *shape))
    pool(to_layout(x / 8, 1), (0, 0), *geometry, floats)
    np.testing.assert_array_equal(floats * 8, expected)


def test_few_variants_are_compiled():
    """A variant costs seconds. Types: 3; carried and rare: 2 x 2; a shortcut: in one type only.

    A schedule adds one to each type and shortcut. All with and without counts per sample.
    """
    signatures = kernels.advance.signatures
    assert len(signatures) <= 2 * (3 * (2 * 2 + 1) + 2 * 2 + 1)
    layouts = {a.layout for types in signatures for a in types if isinstance(a, numba.types.Array)}
    assert layouts <= {"C"}
