"""Both neurons against their equations in plain Python numbers, field by field."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.network.by_hand import Trace, fixed_point_neuron, float_neuron
from trispike.errors import InvalidNetworkError
from trispike.network import FixedPointNeuron, Neuron, State, Step
from trispike.network.fixed_point import never, state_limit

SHAPE = (3, 2, 4)
PARAMETER_SHAPES = [(), (1,), (3, 1, 1), SHAPE, (1, 2, 1)]
STEPS = 9

FLOAT_FIELDS = {field.name for field in dataclasses.fields(Neuron)}
FIXED_FIELDS = {field.name for field in dataclasses.fields(FixedPointNeuron)}


def random_float_fields(rng: np.random.Generator) -> dict[str, Any]:
    """Every field of Neuron, with parameters of every shape that broadcasts."""

    def uniform(low: float, high: float) -> Any:
        return rng.uniform(low, high, PARAMETER_SHAPES[rng.integers(len(PARAMETER_SHAPES))])

    fields: dict[str, Any] = {
        name: uniform(0, 1.1) for name in ("a_pos", "a_neg", "b_pos", "b_neg", "k")
    }
    fields |= {"bias": uniform(-0.4, 0.4), "v_init": uniform(-1, 1)}
    fields |= {"th_pos": uniform(0.3, 2), "th_neg": uniform(0.3, 2), "floor": uniform(-2, 0.5)}
    if rng.random() < 0.3:
        fields["th_neg"] = np.inf
    if rng.random() < 0.5:
        fields["floor"] = -np.inf
    fields["gains"] = rng.uniform(-1, 2, STEPS) if rng.random() < 0.5 else ()
    return fields | random_settings(rng)


def random_fixed_fields(rng: np.random.Generator) -> dict[str, Any]:
    """Every field of FixedPointNeuron; states are narrow enough to overflow now and then."""
    bits = int(rng.integers(8, 33))
    limit = state_limit(bits)

    def integers(low: int, high: int) -> Any:
        shape = PARAMETER_SHAPES[rng.integers(len(PARAMETER_SHAPES))]
        return rng.integers(low, high, shape, endpoint=True)

    fields: dict[str, Any] = {
        name: integers(0, 4096) for name in ("a_pos", "a_neg", "b_pos", "b_neg", "k")
    }
    fields |= {name: integers(-limit // 4, limit // 4) for name in ("bias", "v_init")}
    fields |= {name: integers(1, limit) for name in ("th_pos", "th_neg")}
    fields |= {"floor": integers(-limit, limit // 8)}
    if rng.random() < 0.3:
        fields["th_neg"] = None
    if rng.random() < 0.5:
        fields["floor"] = None
    fields |= {"state_bits": bits, "state_shift": int(rng.integers(0, 17))}
    fields["gains"] = (
        rng.integers(0, 1 << rng.integers(10, 17), STEPS) if rng.random() < 0.5 else ()
    )
    return fields | random_settings(rng)


def random_settings(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "reset": str(rng.choice(["zero", "subtract", "none"])),
        "strict": bool(rng.random() < 0.5),
        "fire_once": bool(rng.random() < 0.3),
        **random_schedule(rng),
    }


def random_schedule(rng: np.random.Generator) -> dict[str, Any]:
    """A window of any length, the whole run among them."""
    first = int(rng.integers(0, STEPS)) if rng.random() < 0.5 else 0
    until = int(rng.integers(first + 1, STEPS + 1)) if rng.random() < 0.5 else None
    return {"fire_from": first, "fire_until": until}


def random_inputs(
    rng: np.random.Generator, neuron: Neuron | FixedPointNeuron, samples: int = 2
) -> Any:
    shape = (STEPS, samples, *SHAPE)
    if isinstance(neuron, Neuron):
        return rng.normal(0, 1, shape)
    size = state_limit(neuron.state_bits) >> neuron.state_shift
    return rng.integers(-size - 2, size + 2, shape, endpoint=True)


def run(neuron: Neuron | FixedPointNeuron, inputs: Any) -> list[Step]:
    state = neuron.initial_state(inputs.shape[1], inputs.shape[2:])
    steps = []
    for t, x in enumerate(inputs):
        steps.append(neuron.step(state, x, t))
        state = steps[-1].state
    return steps


def at(neuron: Neuron | FixedPointNeuron, index: tuple[int, ...]) -> dict[str, Any]:
    """Every field as a plain number, as one neuron of the population sees it."""
    arrays = {
        name: np.broadcast_to(values, SHAPE)[index].item()
        for name, values in neuron.array_fields().items()
    }
    return {**arrays, **neuron.plain_fields()}


def assert_follows_the_equations(neuron: Neuron | FixedPointNeuron, inputs: Any) -> None:
    by_hand = float_neuron if isinstance(neuron, Neuron) else fixed_point_neuron
    steps = run(neuron, inputs)
    saturations = 0
    for index in np.ndindex(inputs.shape[1:]):
        expected = by_hand(inputs[(slice(None), *index)].tolist(), at(neuron, index[1:]))
        saturations += expected.saturations
        got = Trace(
            i=[step.state.i[index].item() for step in steps],
            c=[step.state.c[index].item() for step in steps],
            v=[step.v[index].item() for step in steps],
            after=[step.state.v[index].item() for step in steps],
            s=[step.spikes[index].item() for step in steps],
            saturations=expected.saturations,
        )
        assert got == expected
        assert steps[-1].state.fired[index] == any(expected.s)
    assert sum(step.saturations for step in steps) == saturations


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_float_update_equals_the_scalar_loop_bit_for_bit(seed):
    rng = np.random.default_rng(seed)
    fields = random_float_fields(rng)
    assert set(fields) == FLOAT_FIELDS
    neuron = Neuron(**fields)
    assert_follows_the_equations(neuron, random_inputs(rng, neuron))


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_fixed_point_update_equals_the_scalar_loop(seed):
    rng = np.random.default_rng(seed)
    fields = random_fixed_fields(rng)
    assert set(fields) == FIXED_FIELDS
    neuron = FixedPointNeuron(**fields)
    assert_follows_the_equations(neuron, random_inputs(rng, neuron))


FLOAT_BASE = Neuron(
    a_pos=0.5, a_neg=0.5, b_pos=0.5, b_neg=0.5, k=0.5, bias=0.1, th_pos=1, th_neg=1, v_init=0.2,
    floor=-3,
)  # fmt: skip
FLOAT_CHANGES = {
    "a_pos": 0.9, "a_neg": 0.9, "b_pos": 0.9, "b_neg": 0.9, "k": 0.9, "bias": 0.3, "th_pos": 1.2,
    "th_neg": 1.2, "v_init": -0.3, "floor": -0.2, "reset": "subtract", "strict": True,
    "fire_once": True, "fire_from": 3, "fire_until": 30, "gains": np.linspace(-0.5, 2, 40),
}  # fmt: skip
FIXED_BASE = FixedPointNeuron(
    a_pos=2048, a_neg=2048, b_pos=2048, b_neg=2048, k=2048, bias=7, th_pos=64, th_neg=64,
    v_init=13, floor=-200, state_bits=12, state_shift=2,
)  # fmt: skip
FIXED_CHANGES = {
    "a_pos": 3700, "a_neg": 3700, "b_pos": 3700, "b_neg": 3700, "k": 3700, "bias": 20, "th_pos": 80,
    "th_neg": 80, "v_init": -20, "floor": -15, "reset": "subtract", "strict": True,
    "fire_once": True, "fire_from": 3, "fire_until": 30, "gains": range(2000, 6000, 100),
    "state_bits": 9, "state_shift": 3,
}  # fmt: skip
CHANGES = [
    *((FLOAT_BASE, name, value) for name, value in FLOAT_CHANGES.items()),
    *((FIXED_BASE, name, value) for name, value in FIXED_CHANGES.items()),
]
CHANGE_NAMES = [f"{type(neuron).__name__}-{name}" for neuron, name, _ in CHANGES]


def test_every_field_has_a_change():
    assert set(FLOAT_CHANGES) == FLOAT_FIELDS
    assert set(FIXED_CHANGES) == FIXED_FIELDS


@pytest.mark.parametrize(("neuron", "field", "value"), CHANGES, ids=CHANGE_NAMES)
def test_every_field_changes_what_the_neuron_does(neuron, field, value):
    other = dataclasses.replace(neuron, **{field: value})
    # Potentials that lie on the threshold tell strict from inclusive; large ones saturate.
    inputs: Any = np.random.default_rng(1).integers(-80, 80, (40, 30, *SHAPE))
    inputs = inputs / 16 if isinstance(neuron, Neuron) else inputs
    first, second = run(neuron, inputs), run(other, inputs)
    assert any(
        not np.array_equal(a.state.v, b.state.v) or not np.array_equal(a.spikes, b.spikes)
        for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize(("neuron", "field", "value"), CHANGES, ids=CHANGE_NAMES)
def test_neurons_are_equal_only_if_every_field_is(neuron, field, value):
    same = dataclasses.replace(neuron)
    assert neuron.equals(same)
    assert same.equals(neuron)
    other = dataclasses.replace(neuron, **{field: value})
    assert not neuron.equals(other)
    assert not other.equals(neuron)


def test_equality_is_about_types_and_shapes_too():
    assert not FLOAT_BASE.equals(FIXED_BASE)
    assert not FLOAT_BASE.equals(None)
    per_channel = dataclasses.replace(FLOAT_BASE, bias=np.full((3, 1, 1), FLOAT_BASE.bias))
    assert not FLOAT_BASE.equals(per_channel)


def test_fields_are_listed_in_the_order_of_declaration():
    for neuron in (FLOAT_BASE, FIXED_BASE):
        names = [field.name for field in dataclasses.fields(neuron)]
        assert [*neuron.array_fields(), *neuron.plain_fields()] == names


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("neuron", "threshold", "below"),
    [
        (Neuron(th_pos=0.5, th_neg=0.5), 0.5, np.nextafter(0.5, 0)),
        (FixedPointNeuron(th_pos=64, th_neg=64, state_shift=0), 64, 63),
    ],
)
def test_a_potential_on_the_threshold_fires_unless_strict(neuron, threshold, below, sign):
    strict = dataclasses.replace(neuron, strict=True)
    for tested, potential, spike in (
        (neuron, threshold, sign),
        (neuron, below, 0),
        (strict, threshold, 0),
        (strict, 2 * threshold, sign),
    ):
        (step,) = run(tested, np.full((1, 1, 1), sign * potential))
        assert step.spikes.tolist() == [[spike]]
        assert step.spikes.dtype == np.int8


def test_strict_at_an_integer_threshold_is_inclusive_at_the_next():
    rng = np.random.default_rng(3)
    inputs = rng.integers(-5, 6, (20, 50, 4))
    strict = FixedPointNeuron(th_pos=3, th_neg=3, strict=True, b_pos=4096, b_neg=4096)
    inclusive = dataclasses.replace(strict, th_pos=4, th_neg=4, strict=False)
    for a, b in zip(run(strict, inputs), run(inclusive, inputs), strict=True):
        np.testing.assert_array_equal(a.spikes, b.spikes)
        np.testing.assert_array_equal(a.state.v, b.state.v)


@pytest.mark.parametrize("reset", ["zero", "subtract", "none"])
def test_infinite_thresholds_never_fire_and_reset_nothing(reset):
    neuron = Neuron(th_pos=np.inf, reset=reset, b_pos=1, b_neg=1)
    steps = run(neuron, np.full((3, 1, 1), -1e300))
    assert [step.v.item() for step in steps] == [-1e300, -2e300, -1e300 * 3]
    assert not any(step.spikes.any() for step in steps)


@pytest.mark.parametrize("bits", [8, 24, 32])
def test_a_saturated_state_does_not_reach_the_threshold_that_means_never(bits):
    neuron = FixedPointNeuron(state_bits=bits, b_pos=4096, b_neg=4096)
    assert int(neuron.th_pos) == int(neuron.th_neg) == never(bits)
    assert int(neuron.floor) == -state_limit(bits)
    steps = run(neuron, np.array([[[2**40, -(2**40)]]] * 3))
    limit = state_limit(bits)
    assert steps[-1].v.tolist() == [[limit, -limit]]
    assert not any(step.spikes.any() for step in steps)
    reachable = dataclasses.replace(neuron, th_pos=limit, th_neg=limit)
    assert run(reachable, np.array([[[2**40, -(2**40)]]]))[0].spikes.tolist() == [[1, -1]]


def test_each_of_the_three_states_is_clipped_and_counted():
    # i: 100 + 100 > 127.  v: c + i = 0 + 127 + 1 > 127.  c: 127*1 + 127*1 > 127.
    neuron = FixedPointNeuron(
        state_bits=8, state_shift=0, k=4096, a_pos=4096, b_pos=4096, bias=1, reset="none"
    )
    steps = run(neuron, np.array([100, 100, 0, 0]).reshape(4, 1, 1))
    assert [step.state.i.item() for step in steps] == [100, 127, 127, 127]
    assert [step.state.c.item() for step in steps] == [0, 101, 127, 127]
    assert [step.v.item() for step in steps] == [101, 127, 127, 127]
    # i and v in the second step; c (101 + 127) and v in the third and fourth.
    assert [step.saturations for step in steps] == [0, 2, 2, 2]


def test_the_floor_itself_counts_as_no_saturation():
    neuron = FixedPointNeuron(state_bits=8, state_shift=0, floor=-5)
    (step,) = run(neuron, np.array([[[-100]]]))
    assert (step.v.item(), step.saturations) == (-5, 0)


def test_a_floor_above_zero_lifts_a_silent_neuron():
    assert run(Neuron(floor=0.25), np.zeros((1, 1, 1)))[0].v.item() == 0.25


def test_fire_once_blocks_both_signs_until_the_next_sample():
    neuron = Neuron(th_pos=1, th_neg=1, fire_once=True)
    inputs = np.array([0.0, -2, 2, -2]).reshape(4, 1, 1)
    for _ in range(2):
        assert [step.spikes.item() for step in run(neuron, inputs)] == [0, -1, 0, 0]


def test_what_was_blocked_is_not_reset():
    neuron = Neuron(th_pos=1, th_neg=1, fire_once=True, b_pos=1)
    steps = run(neuron, np.array([2.0, 3, 0]).reshape(3, 1, 1))
    assert [step.state.v.item() for step in steps] == [0, 3, 3]


def test_soft_reset_subtracts_the_threshold_of_the_sign():
    neuron = FixedPointNeuron(th_pos=10, th_neg=3, reset="subtract", state_shift=0)
    (step,) = run(neuron, np.array([[[25, -8, 9]]]))
    assert step.state.v.tolist() == [[15, -5, 9]]


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(-8, 8))
def test_scaling_every_quantity_of_a_neuron_leaves_its_spikes(seed, exponent):
    """Why quantization may give every channel a scale of its own; exact for powers of two."""
    rng = np.random.default_rng(seed)
    neuron = Neuron(**random_float_fields(rng))
    factor = 2.0**exponent
    scaled = dataclasses.replace(
        neuron,
        **{
            name: getattr(neuron, name) * factor
            for name in ("bias", "th_pos", "th_neg", "floor", "v_init")
        },
    )
    inputs = random_inputs(rng, neuron)
    for a, b in zip(run(neuron, inputs), run(scaled, inputs * factor), strict=True):
        np.testing.assert_array_equal(a.spikes, b.spikes)
        np.testing.assert_array_equal(a.v * factor, b.v)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_where_nothing_is_rounded_both_neurons_are_one(seed):
    """Factors 0 and 1, integers everywhere, wide states: float and fixed point coincide."""
    rng = np.random.default_rng(seed)
    shift = int(rng.integers(0, 7))
    unit = 2**shift
    factors = {
        name: rng.integers(0, 2, (3, 1, 1)) for name in ("a_pos", "a_neg", "b_pos", "b_neg", "k")
    }
    levels = {
        name: rng.integers(low, 50, (3, 1, 1))
        for name, low in (
            *(("bias", -50), ("v_init", -50), ("floor", -49), ("th_pos", 1), ("th_neg", 1)),
        )
    }
    options = random_settings(rng)
    floating = Neuron(**factors, **levels, **options)
    fixed = FixedPointNeuron(
        **{name: value * 4096 for name, value in factors.items()},
        **{name: value * unit for name, value in levels.items()},
        **options,
        state_bits=32,
        state_shift=shift,
    )
    inputs = rng.integers(-60, 60, (STEPS, 2, *SHAPE))
    for a, b in zip(run(floating, inputs.astype(float)), run(fixed, inputs), strict=True):
        np.testing.assert_array_equal(a.spikes, b.spikes)
        np.testing.assert_array_equal(a.v * unit, b.v)
        for name in ("i", "c", "v"):
            np.testing.assert_array_equal(getattr(a.state, name) * unit, getattr(b.state, name))
        assert b.saturations == 0


@pytest.mark.parametrize("neuron", [FLOAT_BASE, FIXED_BASE])
def test_a_batch_is_its_samples_one_by_one(neuron):
    inputs = random_inputs(np.random.default_rng(5), neuron, samples=3)
    together = run(neuron, inputs)
    alone = [run(neuron, inputs[:, n : n + 1]) for n in range(3)]
    for t, step in enumerate(together):
        np.testing.assert_array_equal(step.spikes, np.concatenate([a[t].spikes for a in alone]))
        np.testing.assert_array_equal(step.v, np.concatenate([a[t].v for a in alone]))
        assert step.saturations == sum(a[t].saturations for a in alone)


@pytest.mark.parametrize("neuron", [FLOAT_BASE, FIXED_BASE])
def test_a_step_leaves_the_state_it_was_given(neuron):
    inputs = random_inputs(np.random.default_rng(6), neuron)
    state = run(neuron, inputs)[-1].state
    before = State(*(array.copy() for array in state))
    neuron.step(state, inputs[0], 0)
    for a, b in zip(state, before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("neuron", [FLOAT_BASE, FIXED_BASE])
def test_the_state_after_other_spikes_than_its_own(neuron):
    inputs = random_inputs(np.random.default_rng(7), neuron)
    state = neuron.initial_state(2, SHAPE)
    step = neuron.step(state, inputs[0], 0)
    own = neuron.state_after(state, step, step.spikes)
    for a, b in zip(own, step.state, strict=True):
        np.testing.assert_array_equal(a, b)
    silent = neuron.state_after(state, step, np.zeros_like(step.spikes))
    np.testing.assert_array_equal(silent.v, step.v)
    assert not silent.fired.any()
    everyone = neuron.state_after(state, step, np.ones_like(step.spikes))
    assert not everyone.v.any()
    assert everyone.fired.all()
    np.testing.assert_array_equal(everyone.i, step.state.i)
    np.testing.assert_array_equal(everyone.c, step.state.c)


def test_parameters_are_copies_and_cannot_be_changed():
    mine = np.array([1.0, 2.0, 3.0]).reshape(3, 1, 1)
    neuron = Neuron(bias=mine)
    mine[0] = 9
    assert neuron.bias.reshape(-1).tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="read-only"):
        neuron.bias[0] = 9
    with pytest.raises(dataclasses.FrozenInstanceError):
        neuron.bias = mine  # type: ignore[misc]


def test_parameters_have_one_dtype_whatever_they_were_given_as():
    neuron = Neuron(th_pos=2, bias=np.float32(0.5), strict=True)
    assert {array.dtype for array in neuron.array_fields().values()} == {np.dtype(np.float64)}
    fixed = FixedPointNeuron(th_pos=2.0, bias=np.int16(5), state_bits=np.int64(12))
    assert {array.dtype for array in fixed.array_fields().values()} == {np.dtype(np.int64)}
    assert type(fixed.state_bits) is int


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"th_pos": 0.0},
            (
                r"neuron field 'th_pos': got 0\.0 \(1 of 1 values\); expected a positive number, "
                r"or "
                r"infinity for never\. Correct the parameter, or the checkpoint"
            ),
        ),
        ({"th_neg": [-1.0, 1.0]}, r"'th_neg': got -1\.0 \(1 of 2 values\); expected a positive"),
        ({"th_pos": np.nan}, r"'th_pos': got nan \(1 of 1 values\); expected a positive number"),
        ({"bias": [0, np.nan, np.inf]}, r"'bias': got nan \(2 of 3 values\); expected a finite"),
        ({"v_init": np.inf}, r"'v_init': got inf .* expected a finite number"),
        ({"a_pos": np.nan}, r"'a_pos': got nan .* expected a finite number"),
        ({"k": -np.inf}, r"'k': got -inf .* expected a finite number"),
        ({"floor": np.nan}, r"'floor': got nan .* expected a number, or minus infinity"),
        ({"floor": np.inf}, r"'floor': got inf .* expected a number, or minus infinity"),
        ({"reset": "hard"}, r"'reset': got 'hard'; expected one of zero, subtract, none\. Choose"),
        ({"strict": 1}, r"'strict': got 1; expected True or False\. Give a bool"),
        ({"fire_once": None}, r"'fire_once': got None; expected True or False"),
        ({"bias": "much"}, r"array: got dtype <U4; expected numbers that fit float64\. Pass"),
        ({"bias": 1j}, r"array: got dtype complex128; expected numbers"),
        ({"gains": (1, np.inf)}, r"'gains': got inf \(1 of 2 values\); expected a finite number"),
        ({"gains": [[1.0]]}, r"'gains': got shape \(1, 1\); expected one number per time step"),
        ({"gains": "ab"}, r"array: got dtype <U2; expected numbers"),
        (
            {"fire_from": -1},
            r"'fire_from': got -1; expected an integer in 0\.\.2147483648\. Choose",
        ),
        ({"fire_from": 2, "fire_until": 2}, r"'fire_until': got 2; expected an integer in 3\.\."),
    ],
)
def test_float_neurons_refuse(fields, message):
    with pytest.raises(InvalidNetworkError, match=message):
        Neuron(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"th_pos": 0}, r"'th_pos': got 0 \(1 of 1 values\); expected 1\.\.8388608\. Correct"),
        ({"th_neg": 2**23 + 1}, r"'th_neg': got 8388609 .* expected 1\.\.8388608"),
        ({"th_pos": 200, "state_bits": 8}, r"'th_pos': got 200 .* expected 1\.\.128"),
        ({"a_pos": 4097}, r"'a_pos': got 4097 .* expected 0\.\.4096"),
        ({"b_neg": [5, -1]}, r"'b_neg': got -1 \(1 of 2 values\); expected 0\.\.4096"),
        ({"k": -1}, r"'k': got -1 .* expected 0\.\.4096"),
        ({"bias": -(2**23)}, r"'bias': got -8388608 .* expected -8388607\.\.8388607"),
        ({"v_init": 2**23}, r"'v_init': got 8388608 .* expected -8388607\.\.8388607"),
        ({"floor": -(2**23)}, r"'floor': got -8388608 .* expected -8388607\.\.8388607"),
        ({"bias": 0.5}, r"array: got the value 0\.5; expected integers in the range of int64"),
        ({"bias": [1, np.nan]}, r"array: got the value nan; expected integers in the range"),
        ({"th_pos": 2**63}, r"array: got the value 9223372036854775808; expected integers"),
        ({"state_bits": 7}, r"'state_bits': got 7; expected an integer in 8\.\.32\. Choose"),
        ({"state_bits": 33}, r"'state_bits': got 33; expected an integer in 8\.\.32"),
        ({"state_bits": 24.0}, r"'state_bits': got 24\.0; expected an integer in 8\.\.32"),
        ({"state_shift": -1}, r"'state_shift': got -1; expected an integer in 0\.\.16"),
        ({"state_shift": 17}, r"'state_shift': got 17; expected an integer in 0\.\.16"),
        ({"state_shift": True}, r"'state_shift': got True; expected an integer in 0\.\.16"),
        ({"reset": ""}, r"'reset': got ''; expected one of zero, subtract, none"),
        ({"strict": "yes"}, r"'strict': got 'yes'; expected True or False"),
        ({"gains": (0, -1)}, r"'gains': got -1 \(1 of 2 values\); expected 0\.\.65536\. Correct"),
        ({"gains": [65537]}, r"'gains': got 65537 .* expected 0\.\.65536"),
        ({"gains": [0.5]}, r"array: got the value 0\.5; expected integers"),
        ({"fire_from": 1.0}, r"'fire_from': got 1\.0; expected an integer"),
        ({"fire_until": 0}, r"'fire_until': got 0; expected an integer in 1\.\."),
    ],
)
def test_fixed_point_neurons_refuse(fields, message):
    with pytest.raises(InvalidNetworkError, match=message):
        FixedPointNeuron(**fields)


@pytest.mark.parametrize("neuron_type", [Neuron, FixedPointNeuron])
@pytest.mark.parametrize("shape", [(), (1,), (4,), (2, 1), (3, 1, 1), (1, 2, 4), SHAPE])
def test_parameters_broadcast_as_in_numpy(neuron_type, shape):
    neuron_type(th_neg=np.ones(shape, int)).check_shape(SHAPE)


@pytest.mark.parametrize("neuron_type", [Neuron, FixedPointNeuron])
@pytest.mark.parametrize("shape", [(3,), (3, 1), (1, 3, 2, 4), (2, 2, 4)])
def test_parameters_that_do_not_broadcast_are_refused(neuron_type, shape):
    with pytest.raises(InvalidNetworkError) as caught:
        neuron_type(th_neg=np.ones(shape, int)).check_shape(SHAPE)
    assert str(caught.value) == (
        f"neuron field 'th_neg': got shape {shape}; expected a shape that broadcasts to the "
        "population's (3, 2, 4). Use a scalar, one value per channel as (C, 1, 1), or one per "
        "neuron."
    )
