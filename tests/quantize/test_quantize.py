"""From float to integer networks: structure, neurons, input, readout, refusals."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.network.test_neuron import FLOAT_CHANGES
from tests.network.test_storage import leaves
from tests.networks import CASES, sample_inputs
from tests.quantize.floats import as_float, one_population, random_float_network
from trispike.errors import InvalidDataError, InvalidSettingError, QuantizationError
from trispike.network import (
    Connection,
    Conv2d,
    Dense,
    FixedPointNeuron,
    FloatNetwork,
    Identity,
    Input,
    IntegerNetwork,
    Network,
    Neuron,
    Population,
    Readout,
    SumPool,
    digest,
)
from trispike.network.fixed_point import never, state_limit
from trispike.network.schedules import scheduled_fields
from trispike.quantize import Quantization, quantize
from trispike.quantize.neurons import (
    DEFAULT_STATE_SHIFT,
    STATE_SHIFTS,
    THRESHOLD_BITS,
    Candidate,
    best_shift,
)
from trispike.quantize.units import TIME_WEIGHT_LIMIT
from trispike.runtime import ReferenceEngine


def normal(size: float, shape: Any) -> Any:
    """Random numbers, the same ones whenever they are asked for."""
    return np.random.default_rng(shape).normal(0, size, shape)


def integers(low: int, high: int, shape: Any) -> Any:
    return np.random.default_rng(shape).integers(low, high, shape)


def data_for(network: Network, samples: int = 6, seed: int = 0) -> Any:
    """Small whole numbers, which every encoding takes."""
    shape = (samples, *network.input.data_shape(network.steps))
    return np.random.default_rng(seed).integers(-60, 61, shape)


def neuron_of(result: Quantization, name: str = "a") -> FixedPointNeuron:
    neuron = result.network.populations[name].neuron
    assert isinstance(neuron, FixedPointNeuron)
    return neuron


def scales_of(source: FloatNetwork, result: Quantization, name: str = "a") -> Any:
    """Value of one unit of the accumulator, seen through the threshold."""
    neuron = neuron_of(result, name)
    return source.populations[name].neuron.th_pos / neuron.th_pos * 2.0**neuron.state_shift


# -------------------------------------------------------------------------------------- structure


@pytest.mark.parametrize("case", CASES)
def test_every_case_has_an_integer_form_of_the_same_structure(case):
    source = as_float(CASES[case]())
    before = digest(source), leaves(source)
    result = quantize(source, sample_inputs(CASES[case](), 3))
    net = result.network
    assert (digest(source), leaves(source)) == before  # never in place
    assert isinstance(net, IntegerNetwork)
    assert list(net.populations) == list(source.populations)
    assert {n: p.shape for n, p in net.populations.items()} == {
        n: p.shape for n, p in source.populations.items()
    }
    assert (net.order, net.depth, net.steps) == (source.order, source.depth, source.steps)
    assert (net.readout.name, net.readout.classes) == (source.readout.name, source.readout.classes)
    for field in dataclasses.fields(Input):
        if field.name != "scale":
            assert leaves(getattr(net.input, field.name)) == leaves(
                getattr(source.input, field.name)
            )
    for target in (*source.populations, source.readout.name):
        for old, new in zip(split(source, target), net.into(target), strict=True):
            for field in dataclasses.fields(Connection):
                if field.name not in ("operator", "exponent"):
                    assert getattr(new, field.name) == getattr(old, field.name), field.name
            assert type(new.operator) is type(old.operator)
            for field in dataclasses.fields(old.operator):
                if field.name not in ("weight", "scale"):
                    assert getattr(new.operator, field.name) == getattr(old.operator, field.name)


def split(source: FloatNetwork, target: str) -> list[Connection]:
    """Connections into a target, with one of its own for the input."""
    result = []
    for c in source.into(target):
        rest = tuple(s for s in c.sources if s != source.input.name)
        parts = [rest] if rest else []
        parts += [(source.input.name,)] if source.input.name in c.sources else []
        result += [dataclasses.replace(c, sources=part) for part in parts]
    return result


def test_a_connection_that_mixes_input_and_spikes_is_split():
    """Payloads and spikes have different units."""
    both = Connection(
        sources=("b", "input"), target="a", operator=Dense(weight=normal(1, (4, 4))), delay=1
    )
    only = Connection(sources=("input",), target="b", operator=Identity(scale=1.0))
    one = one_population(Identity(scale=1.0))
    source = dataclasses.replace(
        one,
        populations={"a": one.populations["a"], "b": one.populations["a"]},
        connections=(both, only),
    )
    net = quantize(source, normal(3, (20, 4))).network
    assert net.labels == ("b->a", "input->a", "input->b", "a->readout")
    of_spikes, of_input = net.into("a")
    assert (of_spikes.delay, of_input.delay) == (1, 1)
    # The same weights, in units of a spike and of a payload.
    assert net.input.scale is not None
    spikes = of_spikes.operator.weight * 2.0**of_spikes.exponent
    payloads = of_input.operator.weight * 2.0**of_input.exponent / net.input.scale
    np.testing.assert_allclose(payloads, spikes, atol=0.02 * np.abs(spikes).max())


def test_provenance_is_kept_and_extended():
    source = dataclasses.replace(one_population(Identity(scale=1.0)), provenance={"from": "x"})
    net = quantize(source, data_for(source), weight_bits=5, granularity="layer").network
    assert net.provenance == {
        "from": "x",
        "quantization": {
            "weight_bits": 5,
            "granularity": "layer",
            "state_bits": 24,
            "method": "gptq",
        },
    }


# ----------------------------------------------------------------------------------- exact things


def on_the_grid(network: IntegerNetwork) -> FloatNetwork:
    """A float network of whole numbers, of which 127 occurs in every channel of a population."""
    source = as_float(network, unit=0.25)

    def weights(c: Connection) -> Connection:
        channels = c.output_shape(source.source_shape(c))[0]
        shape = c.operator.weight.shape
        whole = integers(-127, 128, shape)
        if isinstance(c.operator, Identity):
            scale = np.full(
                (channels, *[1] * (len(c.output_shape(source.source_shape(c))) - 1)), 127
            )
            return dataclasses.replace(c, operator=Identity(scale=scale * 0.25))
        whole.reshape(channels, -1)[:, ::2] = 127
        # A matrix may fill a map: every neuron of a channel is a row then.
        return dataclasses.replace(c, operator=dataclasses.replace(c.operator, weight=whole * 0.25))

    def population(p: Population) -> Population:
        keep = {name: np.rint(getattr(p.neuron, name)) for name in ("a_pos", "a_neg", "b_pos",
                                                                    "b_neg", "k")}  # fmt: skip
        whole = {
            name: np.rint(getattr(p.neuron, name)) * 0.25 for name in ("bias", "v_init", "floor")
        }
        positive = {
            name: np.rint(np.maximum(getattr(p.neuron, name), 1)) * 0.25
            for name in ("th_pos", "th_neg")
        }
        gains = tuple(round(gain) for gain in p.neuron.gains)
        neuron = dataclasses.replace(p.neuron, **keep, **whole, **positive, gains=gains)
        return Population(shape=p.shape, neuron=neuron)

    readout = source.readout
    return dataclasses.replace(
        source,
        populations={name: population(p) for name, p in source.populations.items()},
        connections=tuple(map(weights, source.connections)),
        readout=dataclasses.replace(
            readout,
            connections=tuple(map(weights, readout.connections)),
            bias=np.rint(readout.bias),
        ),
    )


# A population that nothing reaches has a unit of its own.
@pytest.mark.parametrize("case", [name for name in CASES if name != "bias_only_population"])
def test_a_network_on_the_integer_grid_is_reproduced_exactly(case):
    """Factors 0 and 1, whole weights with 127 in every channel, whole data: nothing is rounded."""
    source = on_the_grid(CASES[case]())
    data = data_for(source)
    result = quantize(source, data, state_bits=32)
    floating = ReferenceEngine(source).run(data, record="all")
    integer = ReferenceEngine(result.network, strict=True).run(data, record="all")
    for name in source.populations:
        np.testing.assert_array_equal(integer.records[name]["s"], floating.records[name]["s"])
        unit = 0.25 / 2 ** neuron_of(result, name).state_shift
        for trace in "icv":
            np.testing.assert_array_equal(
                integer.records[name][trace] * unit,
                floating.records[name][trace],
                f"{name}.{trace}",
            )
    np.testing.assert_allclose(
        integer.logits * result.network.readout.scale, floating.logits, rtol=1e-12
    )
    assert {c.weight_sqnr_db for c in result.record.connections} == {None}
    assert {c.exponent for c in result.record.connections} == {0}
    assert {p.spike_agreement for p in result.record.populations} == {1.0}
    assert result.record.first_divergence is None
    assert result.record.prediction_agreement == 1.0
    assert sum(np.count_nonzero(r["s"]) for r in floating.records.values())


# ---------------------------------------------------------------------------------------- neurons


FLOAT_NEURON = Neuron(
    a_pos=0.5, a_neg=0.25, b_pos=0.75, b_neg=0.125, k=0.375, bias=0.1, th_pos=1, th_neg=1.1,
    v_init=0.2, floor=-3,
)  # fmt: skip


def test_every_parameter_is_rounded_in_the_units_of_the_state():
    source = one_population(Dense(weight=normal(0.5, (5, 4))), neuron=FLOAT_NEURON)
    result = quantize(source, data_for(source))
    neuron = neuron_of(result)
    unit = scales_of(source, result) / 2.0**neuron.state_shift
    for name in ("a_pos", "a_neg", "b_pos", "b_neg", "k"):
        assert getattr(neuron, name) == getattr(FLOAT_NEURON, name) * 4096
    for name in ("bias", "th_pos", "th_neg", "v_init", "floor"):
        got = getattr(neuron, name) * unit
        # Half a unit of rounding; the unit is itself seen through a rounded threshold.
        relative = 1 / (2 * neuron.th_pos)
        expected = getattr(FLOAT_NEURON, name)
        assert (np.abs(got - expected) <= unit / 2 + np.abs(expected) * relative).all(), name


@pytest.mark.parametrize("field", FLOAT_CHANGES)
def test_every_field_of_a_neuron_reaches_its_integer_form(field):
    """FLOAT_CHANGES has every field, so that a new one cannot be dropped silently."""
    operator = Dense(weight=normal(0.5, (5, 4)))
    three_steps = {"fire_from": 1, "fire_until": 2, "gains": (0.5, 2.0, 1.0)}
    change = {**FLOAT_CHANGES, **three_steps}[field]
    changed = dataclasses.replace(FLOAT_NEURON, **{field: change})
    results = []
    for neuron in (FLOAT_NEURON, changed):
        source = one_population(operator, neuron=neuron)
        results.append(neuron_of(quantize(source, data_for(source), state_shift=6)))
    values = [getattr(neuron, field) for neuron in results]
    assert not np.array_equal(*values)
    assert [n.state_shift for n in results] == [6, 6]


def test_gains_become_4096ths_and_windows_stay():
    neuron = dataclasses.replace(FLOAT_NEURON, gains=(1.0, 1 / 3, 16.0), fire_from=1, fire_until=2)
    source = one_population(Dense(weight=normal(0.5, (5, 4))), neuron=neuron)
    fixed = neuron_of(quantize(source, data_for(source)))
    assert (fixed.gains, fixed.fire_from, fixed.fire_until) == ((4096, 1365, 65536), 1, 2)


@pytest.mark.parametrize(("window", "is_corrected"), [({}, True), ({"fire_from": 2}, False)])
def test_a_window_of_firing_keeps_the_bias(window, is_corrected):
    source = one_population(Dense(weight=normal(0.5, (5, 4))), neuron=Neuron(b_pos=1, **window))
    fixed = neuron_of(quantize(source, 1 + data_for(source), weight_bits=3, method="gptq"))
    assert bool(fixed.bias.any()) == is_corrected


def test_infinite_thresholds_and_floors_become_never():
    source = one_population(Identity(scale=1.0), neuron=Neuron(th_neg=[1, np.inf, 2, np.inf]))
    neuron = neuron_of(quantize(source, data_for(source), state_bits=20))
    assert (neuron.th_neg == never(20)).tolist() == [False, True, False, True]
    assert (neuron.floor == -state_limit(20)).all()
    assert quantize(source, data_for(source)).record.populations[0].threshold_max < never(24)


def test_a_neuron_that_never_fires_is_quantized_too():
    source = one_population(Identity(scale=1.0), neuron=Neuron(th_pos=np.inf, b_pos=0.5))
    result = quantize(source, data_for(source))
    assert result.record.populations[0].threshold_min == never(24)
    assert result.record.first_divergence is None


def test_tiny_excess_of_a_retention_factor_is_rounding():
    source = one_population(Identity(scale=1.0), neuron=Neuron(b_pos=1 + 1e-12, a_pos=-1e-12))
    neuron = neuron_of(quantize(source, data_for(source)))
    assert int(neuron.b_pos) == 4096
    assert int(neuron.a_pos) == 0


@pytest.mark.parametrize("granularity", ["channel", "layer"])
def test_thresholds_follow_the_scales(granularity):
    sizes = np.array([1.0, 0.1, 0.01]).reshape(3, 1, 1, 1)
    conv = Conv2d(weight=normal(1, (3, 2, 3, 3)) * sizes)
    source = one_population(conv, inputs=(2, 5, 5))
    result = quantize(source, data_for(source), granularity=granularity)
    neuron = neuron_of(result)
    assert neuron.th_pos.shape == (3, 1, 1)
    thresholds = neuron.th_pos.reshape(-1)
    weights = np.abs(result.network.connections[0].operator.weight.astype(int)).reshape(3, -1)
    if granularity == "layer":
        assert len(set(thresholds)) == 1
        assert weights.max(axis=1)[0] == 127
        assert weights.max(axis=1)[2] < 10
    else:
        largest = np.abs(conv.weight).max(axis=(1, 2, 3))
        np.testing.assert_allclose(thresholds * largest, thresholds[0] * largest[0], rtol=1e-3)
        assert weights.max(axis=1).tolist() == [127] * 3


@pytest.mark.parametrize("granularity", ["channel", "layer"])
def test_a_dead_channel_costs_the_others_nothing(granularity):
    weight = normal(0.01, (6, 4))
    dead = weight.copy()
    dead[0] = 0
    records = []
    for w in (weight, dead):
        source = one_population(Dense(weight=w), neuron=Neuron(bias=0.3, th_neg=1.0))
        result = quantize(source, data_for(source), granularity=granularity)
        records.append(result.record.connections[0])
        neuron = neuron_of(result)
        assert (neuron.bias * 4 > neuron.th_pos).all()  # 0.3 of 1, dead or alive
    assert abs(records[0].weight_sqnr_db - records[1].weight_sqnr_db) < 2  # type: ignore[operator]


def test_a_population_that_nothing_reaches_keeps_its_rhythm():
    source = one_population(
        Connection(sources=("a",), target="a", operator=Identity(scale=0.0), delay=1),
        shape=(2,), neuron=Neuron(bias=[0.4, -0.3], th_neg=1.0, b_pos=1.0, b_neg=1.0), steps=12,
    )  # fmt: skip
    for connections in (source.connections, ()):
        net = dataclasses.replace(source, connections=connections)
        result = quantize(net, data_for(net))
        assert result.record.populations[0].spike_agreement == 1.0
        assert result.record.populations[0].firing_rate_integer > 0.2


@pytest.mark.parametrize(("outputs", "rows"), [(4, 4), (4, 6), (2, 3)])
@pytest.mark.parametrize("with_matrix", [True, False])
def test_a_flattened_convolution_has_one_scale_per_channel(outputs, rows, with_matrix):
    """Its neurons are a vector then, of which a channel is a stretch."""
    conv = Conv2d(
        weight=normal(1, (outputs, 2, 3, 3)) * 2.0 ** np.arange(outputs).reshape(-1, 1, 1, 1),
        padding=(1, 1),
    )
    size = outputs * rows * rows
    operators: list[Any] = [conv]
    if with_matrix:
        operators.append(Dense(weight=normal(0.2, (size, 2 * rows * rows))))
    bias = normal(0.3, size)
    neuron = Neuron(th_neg=1.0, bias=bias, b_pos=0.5, b_neg=0.5)
    source = one_population(*operators, neuron=neuron, shape=(size,), inputs=(2, rows, rows))
    data = normal(1, (8, 2, rows, rows))
    result = quantize(source, data)
    thresholds = neuron_of(result).th_pos.reshape(outputs, -1)
    assert (thresholds == thresholds[:, :1]).all()
    assert len(set(thresholds[:, 0])) == outputs
    assert result.record.populations[0].spike_agreement > 0.98
    assert all(c.weight_sqnr_db > 25 for c in result.record.connections)  # type: ignore[operator]


def test_two_flattened_convolutions_share_the_scales_that_both_have():
    shape = (2, 4, 4)
    operators = [
        Conv2d(weight=normal(1, (4, 2, 3, 3)), padding=(1, 1)),
        Conv2d(weight=normal(1, (16, 2, 2, 2)), stride=(2, 2), padding=(0, 0)),
    ]
    source = one_population(*operators, shape=(64,), inputs=shape)
    result = quantize(source, normal(1, (8, *shape)))
    thresholds = neuron_of(result).th_pos.reshape(4, 16)
    assert (thresholds == thresholds[:, :1]).all()
    assert result.record.populations[0].spike_agreement > 0.98


def test_a_convolution_into_the_classes_is_read_out():
    conv = Conv2d(weight=normal(1, (2, 1, 2, 1)))
    one = one_population(Identity(scale=1.0), inputs=(1, 4, 1))
    last = Connection(sources=("a",), target="readout", operator=conv)
    readout = Readout(connections=(last,), bias=normal(1, 6), weights=one.readout.weights)
    source = dataclasses.replace(one, readout=readout)
    data = integers(-8, 9, (20, 1, 4, 1)) / 4  # exact, so that all spikes agree
    net = quantize(source, data).network
    got = ReferenceEngine(net).run(data)
    expected = ReferenceEngine(source).run(data)
    np.testing.assert_allclose(got.logits * got.scale, expected.logits, atol=0.1)


# ------------------------------------------------------------------------------------ state shift


@pytest.mark.parametrize(
    ("proved", "precise", "chosen"),
    [
        (range(13), range(13), 6),
        (range(5), range(13), 4),  # the nearest to 6
        (range(13), range(8, 13), 8),
        ([4, 5, 8], [5, 7, 8], 5),
        ([4, 8], [4, 8], 4),  # both as near: the safer one
        (range(3), range(5, 13), 2),  # not both: rather proved, as precise as it gets
        ([0], [], 0),
        ([], range(4, 13), 4),  # not proved: the least likely to saturate that is precise
        ([], [], 12),
    ],
)
def test_the_choice_of_the_shift(proved, precise, chosen):
    neuron = FixedPointNeuron()
    candidates = {
        shift: Candidate(neuron, 0, is_proved=shift in proved, is_precise=shift in precise)
        for shift in STATE_SHIFTS
    }
    assert best_shift(candidates) == chosen


def test_shifts_that_have_no_integer_form_are_no_candidates():
    candidates = {3: Candidate(FixedPointNeuron(), 0, is_proved=False, is_precise=False)}
    assert best_shift(candidates) == 3


@settings(max_examples=25)
@given(st.integers(0, 10**6))
def test_thresholds_of_ordinary_networks_are_precise_and_their_states_safe(seed):
    source = random_float_network(seed)
    for record in quantize(source, data_for(source), state_bits=32).record.populations:
        assert record.headroom_bits >= 0
        if scheduled_fields(source.populations[record.name].neuron):
            continue  # what silent steps and gains add up to takes bits from the thresholds
        assert record.threshold_min >= 2 ** (THRESHOLD_BITS - 1)


def test_large_weights_beside_a_threshold_take_a_larger_shift():
    source = one_population(Dense(weight=np.full((4, 4), 20.0)), neuron=Neuron(th_neg=1.0))
    (record,) = quantize(source, np.eye(4)).record.populations  # payloads of 1
    assert record.state_shift > DEFAULT_STATE_SHIFT
    assert record.threshold_min.bit_length() >= THRESHOLD_BITS
    assert record.headroom_bits >= 0


def test_a_large_fan_in_takes_a_smaller_shift():
    source = one_population(
        Dense(weight=np.full((2, 400), 0.01)), inputs=(400,), neuron=Neuron(th_neg=1.0)
    )
    (record,) = quantize(source, normal(1, (2, 400))).record.populations
    assert record.state_shift < DEFAULT_STATE_SHIFT
    assert record.headroom_bits >= 0


def test_where_nothing_is_proved_the_record_says_so():
    neuron = Neuron(b_pos=1.0, th_pos=np.inf, reset="none")
    source = one_population(Dense(weight=np.ones((2, 30))), inputs=(30,), neuron=neuron, steps=40)
    result = quantize(source, np.ones((2, 30)), state_bits=12)
    (record,) = result.record.populations
    assert record.headroom_bits < 0
    assert record.saturations > 0
    assert record.state_shift == 0  # any threshold is precise that cannot be reached


@pytest.mark.parametrize("shift", [0, 3, 16])
def test_a_given_shift_is_used_everywhere_and_its_bound_recorded(shift):
    source = as_float(CASES["shortcut_across_two_convolutions"]())
    result = quantize(source, data_for(source), state_shift=shift)
    for record in result.record.populations:
        assert record.state_shift == neuron_of(result, record.name).state_shift == shift
        # Thresholds fit whatever the shift, because scales make room for them.
        assert record.threshold_max <= state_limit(24)


@pytest.mark.parametrize("state_bits", [16, 20, 24, 32])
def test_the_width_of_the_states_does_not_cost_weights(state_bits):
    source = as_float(CASES["shortcut_across_two_convolutions"](), unit=0.1)
    data = sample_inputs(CASES["shortcut_across_two_convolutions"](), 4)
    wide = quantize(source, data, state_bits=32).record
    result = quantize(source, data, state_bits=state_bits)
    for a, b in zip(result.record.connections, wide.connections, strict=True):
        assert (a.exponent, a.weight_sqnr_db) == (b.exponent, b.weight_sqnr_db)
    for name in source.populations:
        assert neuron_of(result, name).state_bits == state_bits


def test_states_of_few_bits_still_work():
    source = one_population(
        Dense(weight=normal(0.5, (8, 6))), inputs=(6,), neuron=Neuron(th_neg=1.0, b_pos=0.5)
    )
    data = normal(1, (50, 6))
    agreements = [
        quantize(source, data, state_bits=bits).record.populations[0].spike_agreement
        for bits in (8, 10, 12, 16)
    ]
    assert agreements[0] > 0.7
    assert agreements[-1] > 0.99


# ------------------------------------------------------------------------------------------ input


def input_of(data: Any, encoding: Any = "direct") -> tuple[Quantization, Any]:
    data = np.asarray(data)
    shape = data.shape[1:] if encoding == "direct" else data.shape[2:]
    source = one_population(Identity(scale=1.0), inputs=shape, encoding=encoding, steps=2)
    result = quantize(source, data)
    return result, result.network.input.encode(data, 2)


def test_analog_input_takes_the_whole_range():
    data = normal(3, (50, 7))
    result, payloads = input_of(data)
    scale = np.abs(data).max() / 127
    assert result.network.input.scale == scale
    assert np.abs(payloads).max() == 127
    np.testing.assert_allclose(payloads * scale, data, atol=scale / 2 * 1.0001)


@settings(max_examples=50)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8))
def test_zero_maps_to_zero_and_nothing_of_the_calibration_data_is_clipped(values):
    result, payloads = input_of([[*values, 0.0]])
    assert payloads[0, -1] == 0
    assert result.record.input_clipped == 0.0
    assert result.record.input_scale == result.network.input.scale
    largest = max(map(abs, values))
    assert np.abs(payloads).max() <= 127
    if largest:
        assert np.abs(payloads).max() * result.record.input_scale == pytest.approx(largest)


@pytest.mark.parametrize("encoding", ["direct", "frames", "spikes"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_counts_stay_as_they_are(encoding, dtype):
    data = integers(0, 128, (4, 2, 5)).astype(dtype)
    data = data[:, 0] if encoding == "direct" else data
    result, payloads = input_of(data, encoding)
    assert result.network.input.scale == 1.0
    np.testing.assert_array_equal(payloads, data)


def test_even_counts_stay_as_they_are():
    result, payloads = input_of([[0, 2, 4, -126]])
    assert result.network.input.scale == 1.0
    assert payloads.tolist() == [[0, 2, 4, -126]]


def test_counts_beyond_the_range_are_scaled():
    result, payloads = input_of([[0, 1, 2, 900]])
    assert result.network.input.scale == 900 / 127
    assert payloads.tolist() == [[0, 0, 0, 127]]


@pytest.mark.parametrize(
    ("levels", "unit"),
    [
        (np.arange(17) / 16, 1 / 16),
        (np.arange(-5, 6) * 0.3, 0.3),
        ([0.2, 0.3, 0.7], 0.1),  # the unit itself does not occur
        ([0.4, 1.0, 1.4], 0.2),
        ([6 / 255, 15 / 255], 3 / 255),
        (np.arange(100, dtype=np.float32) / np.float32(255), 1 / 255),
        (np.array([40, 57, 125, 126], dtype=np.float32) / np.float32(255), 1 / 255),
        ([0.123456789], 0.123456789),
    ],
)
def test_data_on_a_grid_are_exact(levels, unit):
    result, payloads = input_of(np.array([levels]))
    assert result.network.input.scale == pytest.approx(unit, rel=1e-6)
    np.testing.assert_array_equal(payloads, np.rint(np.array([levels]) / unit))


@pytest.mark.parametrize("levels", [np.arange(256) / 255, [1.0, 1.01, 1.3], [0.0, np.pi, np.e, 1]])
def test_data_on_no_grid_take_the_whole_range(levels):
    result, _ = input_of([levels])
    assert result.network.input.scale == np.abs(levels).max() / 127


def test_silent_data_have_a_scale_too():
    result, payloads = input_of(np.zeros((3, 4)))
    assert result.network.input.scale == 1.0
    assert not payloads.any()


def test_the_scale_is_that_of_normalized_data():
    source = one_population(Identity(scale=1.0))
    normalized = dataclasses.replace(source.input, mean=5.0, std=2.0)
    source = dataclasses.replace(source, input=normalized)
    data = integers(0, 1000, (30, 4)) / 99
    net = quantize(source, data).network
    assert net.input.scale == np.abs((data - 5) / 2).max() / 127
    assert float(net.input.mean) == 5.0
    assert float(net.input.std) == 2.0


@pytest.mark.parametrize("delay", [0, 1])
def test_the_input_scale_is_folded_into_every_connection_that_hears_it(delay):
    conv = Conv2d(weight=normal(1, (4, 2, 3, 3)), padding=(1, 1))
    pool = SumPool(kernel=(2, 2), stride=(2, 2))
    connection = Connection(sources=("input",), target="a", operator=conv, pool=pool, delay=delay)
    source = one_population(
        connection, neuron=Neuron(th_neg=1.0, b_pos=0.5), inputs=(2, 6, 6), steps=4
    )
    data = normal(0.01, (20, 2, 6, 6))
    (record,) = quantize(source, data * 50).record.populations
    assert record.spike_agreement > 0.97
    assert record.firing_rate_integer > 0.05


# ---------------------------------------------------------------------------------------- readout


def assert_reads_out(source: FloatNetwork, data: Any, **options: Any) -> None:
    """Where all spikes agree, logits differ by what rounding of weights and bias explains."""
    result = quantize(source, data, **options)
    net = result.network
    floating = ReferenceEngine(source).run(data, record="all")
    integer = ReferenceEngine(net).run(data, record="all")
    active: Any = 0
    for c in source.readout.connections:
        for name in c.sources:
            np.testing.assert_array_equal(floating.records[name]["s"], integer.records[name]["s"])
            active = active + np.abs(floating.records[name]["s"].astype(int)).reshape(
                *floating.step_logits.shape[:2], -1
            ).sum(axis=2)
    largest_step = max(
        result.record.connections[net.labels.index(label)].scale_max * 2.0**c.exponent
        for label, c in net.labelled()
        if c.target == net.readout.name
    )
    unit = largest_step / 2**net.readout.state_shift
    time = np.abs(source.readout.weights)
    per_step = active * largest_step / 2 + unit / 2
    # Time weights that are no multiples of one number are rounded, too.
    rounding = time.max() / TIME_WEIGHT_LIMIT / 2
    bound = per_step @ time + np.abs(floating.step_logits).max(axis=2).sum(axis=1) * rounding
    error = np.abs(integer.logits * integer.scale - floating.logits).max(axis=1)
    assert (error <= bound * (1 + 1e-6) + 1e-12).all()
    assert integer.logits.dtype == np.int64
    assert active.any()


TIME_WEIGHTS = {
    "mean": np.full(5, 1 / 5),
    "last": np.eye(5)[-1],
    "first": np.eye(5)[0] * 0.3,
    "levels": np.array([0.2, 0.3, -0.5, 0.0, 1.0]),
    "odd": np.array([0.1234, -0.7, np.pi, 0.0, 1.0]),
    "zero": np.zeros(5),
}


@pytest.mark.parametrize("weights", TIME_WEIGHTS)
@pytest.mark.parametrize("bits", [8, 4, 2])
def test_integer_logits_are_the_float_ones_but_for_rounding(weights, bits):
    source = one_population(
        Identity(scale=1.0), neuron=Neuron(th_neg=1.0, b_pos=0.5, b_neg=0.5), inputs=(30,),
        steps=5, bias=normal(2, 4), weights=TIME_WEIGHTS[weights], classes=4,
    )  # fmt: skip
    # In quarters, so that potentials are exact and all spikes agree.
    assert_reads_out(source, integers(-8, 9, (20, 30)) / 4, weight_bits=bits)


@pytest.mark.parametrize("granularity", ["channel", "layer"])
def test_the_readout_has_one_scale_for_all_classes(granularity):
    one = one_population(Identity(scale=1.0), classes=5)
    weight = normal(1, (5, 4)) * 10.0 ** np.arange(-3, 2).reshape(5, 1)
    last = dataclasses.replace(one.readout.connections[0], operator=Dense(weight=weight))
    readout = dataclasses.replace(one.readout, connections=(last,))
    result = quantize(dataclasses.replace(one, readout=readout), data_for(one),
                      granularity=granularity)  # fmt: skip
    record = result.record.connections[-1]
    assert record.scale_min == record.scale_max == np.abs(weight).max() / 127
    assert result.record.readout_scale == result.network.readout.scale


def test_a_class_without_weights_does_not_coarsen_the_others():
    one = one_population(Identity(scale=1.0))
    weight = normal(1e-9, (3, 4))
    weight[1] = 0
    last = dataclasses.replace(one.readout.connections[0], operator=Dense(weight=weight))
    source = dataclasses.replace(one, readout=dataclasses.replace(one.readout, connections=(last,)))
    sqnr = quantize(source, data_for(source)).record.connections[-1].weight_sqnr_db
    assert sqnr is not None
    assert sqnr > 35


def test_weights_of_many_graded_inputs_keep_their_bits():
    """A payload of 1 delivers 127 times less than the input can, and is not worth rounding away."""
    for encoding, size in (("direct", 0.002), ("spikes", 0.2)):
        source = one_population(
            Dense(weight=normal(size, (8, 400))), inputs=(400,), encoding=encoding,
            neuron=Neuron(th_neg=1.0),
        )  # fmt: skip
        data = normal(1.0, (5, 400)) if encoding == "direct" else integers(-1, 2, (5, 3, 400))
        sqnr = quantize(source, data).record.connections[0].weight_sqnr_db
        assert sqnr is not None
        assert sqnr > 38


def test_a_bias_far_above_the_weights_is_kept():
    one = one_population(Identity(scale=1.0))
    source = dataclasses.replace(
        one, readout=dataclasses.replace(one.readout, bias=np.array([1e9, 2e9, -1e9]))
    )
    net = quantize(source, data_for(source)).network
    logits = net.readout.bias * net.readout.scale * net.readout.weights.sum()
    np.testing.assert_allclose(logits, [1e9, 2e9, -1e9], rtol=1e-4)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([0.25] * 4, [1, 1, 1, 1]),
        ([0, 0, 0, 1], [0, 0, 0, 1]),
        ([0.1, 0.2, -0.3, 0.4], [1, 2, -3, 4]),
        ([0.2, 0.3, 0.0, 0.5], [2, 3, 0, 5]),
        ([1 / 3, 2 / 3, 1, 4 / 3], [1, 2, 3, 4]),
        ([0, 0, 0, 0], [0, 0, 0, 0]),
        ([1e-300, 2e-300, 0, 0], [1, 2, 0, 0]),
        ([8, 4, 2, 1], [8, 4, 2, 1]),
    ],
)
def test_time_weights_that_are_multiples_of_one_number_are_exact(weights, expected):
    source = one_population(Identity(scale=1.0), steps=4, weights=weights)
    result = quantize(source, data_for(source))
    assert result.network.readout.weights.tolist() == expected
    np.testing.assert_allclose(np.array(expected) * time_unit(result), weights, rtol=1e-12)


def time_unit(result: Quantization) -> float:
    """What one unit of an integer time weight is worth."""
    readout, last = result.network.readout, result.record.connections[-1]
    return readout.scale / last.scale_max * 2.0**readout.state_shift


@settings(max_examples=40)
@given(
    st.lists(st.floats(-1e3, 1e3).filter(lambda x: x == 0 or abs(x) > 1e-9), min_size=2, max_size=6)
)
def test_any_time_weights_fit_their_integers(weights):
    source = one_population(Identity(scale=1.0), steps=len(weights), weights=weights)
    result = quantize(source, data_for(source, 1))
    whole, unit = result.network.readout.weights, time_unit(result)
    assert np.abs(whole).max() <= TIME_WEIGHT_LIMIT
    np.testing.assert_allclose(whole * unit, weights, rtol=0, atol=unit * 0.5000001)


# --------------------------------------------------------------------------------------- refusals


def test_an_integer_network_is_refused():
    net = CASES["vectors"]()
    with pytest.raises(QuantizationError) as caught:
        quantize(net, data_for(net))
    assert str(caught.value) == (
        "network: got a network that is already integer; expected a float network. Quantize the "
        "float network that it was made from."
    )
    source = one_population(Identity(scale=1.0))
    with pytest.raises(QuantizationError, match="a network that is already integer"):
        quantize(quantize(source, data_for(source)).network, data_for(source))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            {"weight_bits": 1},
            r"setting 'weight_bits': got 1; expected 2\.\.8\. Choose one of these",
        ),
        ({"weight_bits": 9}, r"'weight_bits': got 9; expected 2\.\.8"),
        ({"weight_bits": 8.0}, r"'weight_bits': got 8\.0; expected 2\.\.8"),
        ({"weight_bits": "8"}, r"'weight_bits': got '8'; expected 2\.\.8"),
        (
            {"granularity": "tensor"},
            r"'granularity': got 'tensor'; expected \('channel', 'layer'\)",
        ),
        ({"state_bits": 7}, r"'state_bits': got 7; expected 8\.\.32"),
        ({"state_bits": 33}, r"'state_bits': got 33; expected 8\.\.32"),
        ({"state_shift": 17}, r"'state_shift': got 17; expected \(None, 0, 1"),
        ({"state_shift": True}, "'state_shift': got True; expected"),
        ({"batch_size": 0}, r"'batch_size': got 0; expected 1\.\."),
    ],
)
def test_settings_out_of_range_are_refused(setting, message):
    source = one_population(Identity(scale=1.0))
    with pytest.raises(InvalidSettingError, match=message):
        quantize(source, data_for(source), **setting)


def test_numpy_integers_are_integers():
    source = one_population(Identity(scale=1.0))
    result = quantize(source, data_for(source), weight_bits=np.int64(4), state_bits=np.int32(20))
    assert result.record.weight_bits == 4
    assert neuron_of(result).state_bits == 20


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (
            np.zeros((0, 4)),
            QuantizationError,
            "calibration data: got no samples; expected at least one, better a hundred",
        ),
        (np.zeros((2, 5)), InvalidDataError, r"data: got an array of shape \(2, 5\)"),
        (np.full((2, 4), np.nan), InvalidDataError, "got 8 values that are NaN or infinite"),
        (np.array([["a"] * 4]), InvalidDataError, "dtype <U1; expected numbers"),
    ],
)
def test_calibration_data_that_do_not_fit_are_refused(data, error, message):
    with pytest.raises(error, match=message):
        quantize(one_population(Identity(scale=1.0)), data)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            [0, 1, 2],
            r"labels: got an array of shape \(3,\) and dtype int64; expected 6 integers in 0",
        ),
        (np.zeros((6, 1), int), r"got an array of shape \(6, 1\)"),
        ([0, 1, 2, 3, 0, 0], "got values from 0 to 3; expected 6 integers in 0..2"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, message):
    source = one_population(Identity(scale=1.0))
    with pytest.raises(InvalidDataError, match=message):
        quantize(source, data_for(source), labels)


@pytest.mark.parametrize(
    ("neuron", "message"),
    [
        (
            {"b_pos": [0.5, 1.5, 0.5, 0.5]},
            (
                r"population 'a', field 'b_pos': got 1\.5; expected a retention factor in 0\.\.1, "
                r"for it "
                r"becomes an unsigned fraction of 4096\. Only decaying or constant states can be "
                r"deployed"
            ),
        ),
        ({"k": -0.25}, r"field 'k': got -0\.25; expected a retention factor in 0\.\.1"),
        ({"a_neg": 1.001}, r"field 'a_neg': got 1\.001; expected a retention factor"),
        (
            {"bias": 1e12},
            (
                r"population 'a', field 'th_pos': got 0; expected a threshold in 1\.\.8388607 of "
                r"the state's units\. The weights and bias of this channel are out of proportion"
            ),
        ),
        ({"th_neg": 1e-9}, r"field 'th_neg': got 0; expected a threshold in 1\.\.8388607"),
        ({"v_init": 1e12}, r"field 'th_pos': got 0; expected a threshold"),
        (
            {"gains": (1, -1, 1)},
            r"population 'a', field 'gains': got -1; expected gains in 0",
        ),
        ({"gains": (17, 1, 1)}, r"field 'gains': got 17; .* Fold a common factor, or the sign"),
    ],
)
def test_neurons_without_an_integer_form_are_refused(neuron, message):
    source = one_population(Identity(scale=1.0), neuron=Neuron(**{"th_neg": 1.0, **neuron}))
    with pytest.raises(QuantizationError, match=message):
        quantize(source, data_for(source))


def test_a_channel_without_weights_whose_bias_dwarfs_its_threshold_is_refused():
    weight = np.ones((2, 4))
    weight[1] = 0
    source = one_population(Dense(weight=weight), neuron=Neuron(bias=[0.0, 1e9]))
    with pytest.raises(QuantizationError, match="field 'th_pos': got 0; expected a threshold"):
        quantize(source, data_for(source))


def test_weights_that_dwarf_the_threshold_are_refused():
    source = one_population(Dense(weight=np.full((2, 4), 1e9)))
    with pytest.raises(QuantizationError, match="field 'th_pos': got 0; expected a threshold"):
        quantize(source, np.eye(4))


def test_scales_are_what_a_unit_of_every_accumulator_is_worth():
    source = as_float(CASES["per_channel_parameters"](), unit=0.01)
    result = quantize(source, sample_inputs(CASES["per_channel_parameters"](), 4))
    assert set(result.scales) == {*source.populations, source.readout.name}
    for name in source.populations:
        expected = scales_of(source, result, name).reshape(-1)
        np.testing.assert_allclose(result.scales[name], expected, rtol=1e-2)
    assert set(result.scales[source.readout.name]) == {result.record.connections[-1].scale_max}
