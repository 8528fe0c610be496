"""Structure, order, input, readout, and every rule that a network has to keep."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.networks import CASES, Builder, random_network, too_fast_loop
from trispike.errors import InvalidDataError, InvalidNetworkError
from trispike.network import (
    Connection,
    Conv2d,
    Dense,
    FixedPointNeuron,
    FloatNetwork,
    Identity,
    Input,
    IntegerNetwork,
    Neuron,
    Population,
    Readout,
)


def dense(sources: str | tuple[str, ...], target: str, weight: Any = None, **fields: Any) -> Any:
    names = (sources,) if isinstance(sources, str) else sources
    operator = Dense(weight=np.eye(2) if weight is None else weight)
    return Connection(sources=names, target=target, operator=operator, **fields)


PAIR = Population(shape=(2,), neuron=Neuron())


def network(**fields: Any) -> FloatNetwork:
    """input -> a -> b -> readout, two neurons each; ``fields`` replace whole fields."""
    defaults: dict[str, Any] = {
        "input": Input(shape=(2,)),
        "populations": {"a": PAIR, "b": PAIR},
        "connections": (dense("input", "a"), dense("a", "b")),
        "readout": readout(),
        "steps": 3,
    }
    return FloatNetwork(**{**defaults, **fields})


def readout(**fields: Any) -> Readout:
    defaults: dict[str, Any] = {
        "connections": (dense("b", "readout"),), "bias": [0.5, -0.5], "weights": [0.0, 0.5, 1.5],
    }  # fmt: skip
    return Readout(**{**defaults, **fields})


# ------------------------------------------------------------------------------------- structure


def test_order_puts_sources_before_targets_whatever_the_order_of_declaration():
    names = ["d", "b", "c", "a"]
    net = network(
        populations=dict.fromkeys(names, PAIR),
        connections=(
            dense("input", "a"),
            dense("a", "b"),
            dense(("a", "b"), "c"),
            dense("c", "d"),
            dense("input", "d"),
            dense("d", "b", delay=1),
        ),
        readout=readout(connections=(dense("d", "readout"), dense("a", "readout"))),
    )
    assert net.order == ("a", "b", "c", "d")
    assert net.depth == {"input": 0, "a": 1, "b": 2, "c": 3, "d": 4, "readout": 5}
    assert list(net.populations) == names


@pytest.mark.parametrize("case", CASES)
def test_order_and_depth_hold_in_every_network(case):
    net = CASES[case]()
    position = {name: n for n, name in enumerate((net.input.name, *net.order, net.readout.name))}
    assert sorted(net.order) == sorted(net.populations)
    for c in net.all_connections:
        for source in c.sources:
            if c.delay == 0:
                assert position[source] < position[c.target]
                assert net.depth[source] < net.depth[c.target]
    for name in (*net.order, net.readout.name):
        before = [net.depth[s] for c in net.into(name) if c.delay == 0 for s in c.sources]
        assert net.depth[name] == 1 + max(before, default=0)


def test_labels_are_unique_and_number_the_parallel_ones():
    parallel = (dense("a", "b"), dense(("input", "a"), "b"), dense("a", "b", delay=2))
    net = network(connections=(dense("input", "a"), *parallel))
    assert net.labels == ("input->a", "a->b", "input+a->b", "a->b#2", "b->readout")
    assert dict(net.labelled())["a->b#2"] is parallel[2]
    assert net.all_connections == (*net.connections, *net.readout.connections)


def test_into_and_shapes():
    net = CASES["shortcut_across_two_convolutions"]()
    assert [c.sources for c in net.into("outer")] == [("inner",), ("stem",)]
    assert net.into("readout") == net.readout.connections
    assert net.shape_of("input") == (2, 6, 5)
    assert net.shape_of("outer") == (3, 6, 5)
    assert net.source_shape(net.into("stem")[0]) == (2, 6, 5)


def test_loops_without_delay_are_refused_and_named():
    with pytest.raises(InvalidNetworkError) as caught:
        network(connections=(dense("input", "a"), dense("a", "b"), dense("b", "a")))
    assert str(caught.value) == (
        "network: got a loop without delay through a, b; expected a delay of at least one step "
        "somewhere in every loop. Give the recurrent connection delay=1."
    )
    with pytest.raises(InvalidNetworkError, match="a loop without delay through a, b"):
        network(connections=(dense("a", "a"), dense("a", "b")))


@pytest.mark.parametrize("build", [CASES["recurrent"], too_fast_loop])
def test_loops_with_delay_are_networks(build):
    assert len(build().order) == len(build().populations)


def test_a_network_is_immutable():
    net = network(provenance={"from": {"deep": [1]}})
    with pytest.raises(TypeError):
        net.populations["a"] = PAIR  # type: ignore[index]
    with pytest.raises(TypeError):
        net.provenance["from"] = 1  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        net.steps = 4  # type: ignore[misc]


def test_a_network_keeps_no_reference_to_what_it_was_built_from():
    populations, provenance = {"a": PAIR, "b": PAIR}, {"deep": {"list": [1]}}
    connections = [dense("input", "a"), dense("a", "b")]
    net = network(populations=populations, provenance=provenance, connections=connections)
    populations.clear()
    connections.clear()
    provenance["deep"]["list"].append(2)
    assert (len(net.populations), len(net.connections)) == (2, 2)
    assert net.provenance == {"deep": {"list": [1]}}


def test_provenance_is_what_json_returns():
    net = network(provenance={"tuple": (1, 2.5), "none": None, "text": "x"})
    assert net.provenance == {"tuple": [1, 2.5], "none": None, "text": "x"}
    assert json.loads(json.dumps(dict(net.provenance))) == net.provenance


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (np.zeros(2), "Object of type ndarray is not JSON serializable"),
        (float("nan"), "Out of range float values are not JSON compliant"),
        ({(1, 2): 3}, "keys must be str, int, float, bool or None, not tuple"),
    ],
)
def test_provenance_that_is_no_json_is_refused(value, got):
    with pytest.raises(InvalidNetworkError) as caught:
        network(provenance={"x": value})
    assert f"network field 'provenance': got {got}" in str(caught.value)
    assert "expected JSON values only. Bring it to strings" in str(caught.value)


def test_numbers_of_any_integer_type_become_ints():
    net = network(steps=np.int64(3), readout=readout(state_shift=np.int8(0), scale=np.float32(0.5)))
    assert type(net.steps) is int
    assert type(net.readout.state_shift) is int
    assert type(net.readout.scale) is float
    assert type(Input(shape=(2,), scale=np.float32(0.25)).scale) is float
    assert type(Population(shape=np.array([2]), neuron=Neuron()).shape[0]) is int


def test_a_flat_axis_may_stand_for_three():
    flat = Population(shape=(12,), neuron=Neuron())
    conv = Conv2d(weight=np.ones((3, 1, 1, 1)))
    net = network(
        input=Input(shape=(1, 2, 2)),
        populations={"a": flat, "b": Population(shape=(3, 2, 2), neuron=Neuron())},
        connections=(
            Connection(sources=("input",), target="a", operator=conv),
            Connection(sources=("a",), target="b", operator=Identity(scale=1.0)),
        ),
        readout=readout(connections=(dense("b", "readout", np.ones((2, 12))),)),
    )
    assert net.depth["readout"] == 3


SMALL = Population(shape=(3,), neuron=Neuron())
FIXED = Population(shape=(2,), neuron=FixedPointNeuron())
INT = np.eye(2, dtype=np.int8)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": 0}, r"network field 'steps': got 0; expected an integer in 1\.\."),
        ({"steps": 3.0}, r"network field 'steps': got 3\.0; expected an integer"),
        ({"steps": True}, r"network field 'steps': got True; expected an integer"),
        (
            {"steps": 4},
            r"readout 'readout': got 3 time weights; expected 4, one per time step\. Give one",
        ),
        (
            {"populations": {"a": PAIR, "b": PAIR, "input": PAIR}},
            (
                r"name 'input': got an empty or repeated name, or one with \+, >, #, / or an "
                r"unprintable character; expected a "
                r"unique plain name per population, input and readout\. Rename it"
            ),
        ),
        ({"populations": {"a": PAIR, "b": PAIR, "readout": PAIR}}, "name 'readout': got an empty"),
        ({"populations": {"a": PAIR, "b": PAIR, "": PAIR}}, "name '': got an empty or repeated"),
        ({"populations": {"a": PAIR, "b": PAIR, "c/d": PAIR}}, "name 'c/d': got an empty"),
        ({"populations": {"a": PAIR, "b": PAIR, "c+d": PAIR}}, r"name 'c\+d': got an empty"),
        ({"populations": {"a": PAIR, "b": PAIR, "c#2": PAIR}}, "name 'c#2': got an empty"),
        ({"populations": {"a": PAIR, "b": PAIR, "\x1b[2J": PAIR}}, r"name '\\x1b\[2J': got an"),
        ({"populations": {"a": PAIR, "b": PAIR, 3: PAIR}}, "name 3: got an empty or repeated name"),
        ({"input": Input(shape=(2,), name="b")}, "name 'b': got an empty or repeated name"),
        (
            {"connections": (dense("input", "a"), dense("nobody", "b"))},
            (
                r"connection nobody->b: got 'nobody'; expected names of populations: a, b, input\. "
                r"Corr"
            ),
        ),
        ({"connections": (dense("input", "c"),)}, "connection input->c: got 'c'; expected names"),
        (
            {"connections": (dense("a", "readout"),)},
            "connection a->readout: got 'readout'; expected names of populations: a, b, input",
        ),
        (
            {"readout": readout(connections=(dense("a", "b"),))},
            "connection a->b: got 'b'; expected names of populations: a, b, input, readout",
        ),
        (
            {"connections": (dense("readout", "a"),)},
            "connection readout->a: got 'readout'; expected names of populations",
        ),
        (
            {"readout": readout(connections=())},
            r"readout 'readout': got no connection; expected at least one\. Connect a population",
        ),
        (
            {
                "populations": {"a": PAIR, "b": PAIR, "c": SMALL},
                "connections": (dense(("a", "c"), "b"),),
            },
            (
                r"connection a\+c->b: got sources of shapes \[\(2,\), \(3,\)\]; expected sources "
                r"of one "
                r"shape\. Use one connection per shape"
            ),
        ),
        (
            {"connections": (dense("input", "a", np.ones((3, 2))),)},
            (
                r"connection input->a: got an output of shape \(3,\); expected the target's shape "
                r"\(2,\)\. Check stride, padding and pooling"
            ),
        ),
        (
            {"readout": readout(bias=[0.0, 0, 0])},
            (
                r"connection b->readout: got an output of shape \(2,\); expected the target's "
                r"shape "
                r"\(3,"
            ),
        ),
        (
            {"connections": (dense("input", "a", np.ones((2, 3))),)},
            r"Dense: got an input of shape \(2,\) \(2 elements\); expected 3 elements",
        ),
        (
            {
                "populations": {"a": PAIR, "b": FIXED},
                "connections": (dense("input", "a", INT), dense("a", "b")),
            },
            (
                r"float network: got parts of the other number type: connection input->a, "
                r"population "
                r"'b'; expected float parts only\. Quantize the whole network with "
                r"trispike\.quantize"
            ),
        ),
        (
            {"readout": readout(bias=[1, 2]), "input": Input(shape=(2,), scale=0.5)},
            "got parts of the other number type: readout 'readout', input 'input'; expected float",
        ),
        ({"readout": readout(weights=[1, 2, 3])}, "of the other number type: readout 'readout'"),
        ({"input": (2,)}, "network field 'input': got a tuple; expected Input. Build the part"),
        ({"readout": PAIR}, "network field 'readout': got a Population; expected Readout"),
        ({"populations": {"a": Neuron()}}, "population 'a': got a Neuron; expected Population"),
        ({"connections": (PAIR,)}, "network field 'connections': got a Population; expected Conne"),
    ],
)
def test_networks_refuse(fields, message):
    with pytest.raises(InvalidNetworkError, match=message):
        network(**fields)


def test_an_integer_network_takes_integer_parts_only():
    good = CASES["vectors"]()
    parts = {f.name: getattr(good, f.name) for f in dataclasses.fields(good)}
    float_readout = dataclasses.replace(good.readout, weights=good.readout.weights.astype(float))
    with pytest.raises(InvalidNetworkError) as caught:
        IntegerNetwork(**{**parts, "input": Input(shape=(10,)), "readout": float_readout})
    assert str(caught.value) == (
        "integer network: got parts of the other number type: readout 'readout', input 'input'; "
        "expected integer parts only. Quantize the whole network with trispike.quantize."
    )
    with pytest.raises(InvalidNetworkError, match="float network: got parts of the other"):
        FloatNetwork(**parts)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: Population(shape=(2, 3), neuron=Neuron()),
            (
                r"population: got shape \(2, 3\); expected \(C, H, W\) or \(N,\), positive "
                r"integers\. "
                "Bring it to one"
            ),
        ),
        (lambda: Population(shape=(0,), neuron=Neuron()), r"population: got shape \(0,\)"),
        (lambda: Population(shape=(2.5,), neuron=Neuron()), r"population: got shape \(2\.5,\)"),
        (lambda: Population(shape="123", neuron=Neuron()), "population: got shape 123; expected"),
        (lambda: Population(shape=7, neuron=Neuron()), "population: got shape 7; expected"),
        (
            lambda: Population(shape=(2,), neuron=Neuron(bias=[1, 2, 3])),
            r"neuron field 'bias': got shape \(3,\); expected a shape that broadcasts",
        ),
        (
            lambda: Population(shape=(2,), neuron="LIF"),
            "population field 'neuron': got a str; expected Neuron or FixedPointNeuron",
        ),
        (lambda: Input(shape=(3, 0, 4)), r"input: got shape \(3, 0, 4\); expected \(C, H, W\) or"),
        (
            lambda: Input(shape=(2,), encoding="rate"),
            r"input field 'encoding': got 'rate'; expected one of direct, frames, spikes, once\.",
        ),
        (
            lambda: Input(shape=(2,), mean=np.nan),
            (
                r"input field 'mean': got NaN or infinity; expected finite numbers\. Correct the "
                r"values"
            ),
        ),
        (
            lambda: Input(shape=(3, 4, 4), std=[1.0, 2.0, 3.0]),
            (
                r"input field 'std': got shape \(3,\); expected one that broadcasts to \(3, 4, "
                r"4\)\. Use "
                r"a scalar, or one value per channel as \(C, 1, 1\)"
            ),
        ),
        (
            lambda: Input(shape=(2,), std=[1.0, 0.0]),
            r"input scaling: got std \[1\. 0\.\], scale None; expected positive numbers\. Correct",
        ),
        (lambda: Input(shape=(2,), std=-1), "input scaling: got std"),
        (lambda: Input(shape=(2,), scale=0), r"input scaling: got std \[1\.\], scale 0; expected"),
        (lambda: Input(shape=(2,), scale=np.inf), "input scaling: got .* scale inf; expected"),
        (lambda: Input(shape=(2,), scale=np.nan), "input scaling: got .* scale nan; expected"),
        (
            lambda: Input(shape=(2,), encoding="spikes", mean=0.5),
            (
                "input normalization: got mean and std for spikes; expected mean 0 and std 1, "
                "because "
                r"spikes are used as they are\. Use the 'frames' encoding"
            ),
        ),
        (
            lambda: readout(bias=np.zeros((2, 1))),
            (
                r"readout 'readout': got bias of shape \(2, 1\), weights of shape \(3,\); "
                r"expected bias "
                r"\(classes,\) and weights \(steps,\)\. Flatten them"
            ),
        ),
        (lambda: readout(bias=[]), r"readout 'readout': got bias of shape \(0,\)"),
        (lambda: readout(weights=0.5), r"readout 'readout': .* weights of shape \(\); expected"),
        (lambda: readout(bias=[0, np.inf]), "readout field 'bias': got NaN or infinity; expected"),
        (
            lambda: readout(scale=0.0),
            r"readout 'readout': got scale 0\.0; expected a positive, finite scale\. Correct",
        ),
        (lambda: readout(scale=np.nan), "readout 'readout': got scale nan; expected a positive"),
        (
            lambda: readout(state_shift=17),
            r"readout 'readout', field 'state_shift': got 17; expected an integer in 0\.\.16",
        ),
        (lambda: readout(state_shift=2.5), r"field 'state_shift': got 2\.5; expected an integer"),
        (
            lambda: readout(connections=(PAIR,)),
            "readout 'readout', field 'connections': got a Population; expected Connection",
        ),
    ],
)
def test_parts_refuse(build, message):
    with pytest.raises(InvalidNetworkError, match=message):
        build()


# ----------------------------------------------------------------------------------------- input


def test_analog_input_is_normalized_on_the_host():
    mean, std = np.array([1.0, 2]).reshape(2, 1, 1), np.array([0.5, 4]).reshape(2, 1, 1)
    x = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    encoded = Input(shape=(2, 2, 3), mean=mean, std=std).encode(x, steps=9)
    np.testing.assert_array_equal(encoded[0, 0], (np.arange(6).reshape(2, 3) - 1) / 0.5)
    np.testing.assert_array_equal(encoded[0, 1], (np.arange(6, 12).reshape(2, 3) - 2) / 4)
    assert encoded.dtype == np.float64


@pytest.mark.parametrize(
    ("encoding", "scale", "data", "fraction"),
    [
        ("direct", 0.5, [[63.5, -63.5, 63.74, 0.0]], 0.0),
        ("direct", 0.5, [[63.76, -1e30, 63.5, 0.0]], 0.5),
        ("frames", 1.0, [[[128, 0], [1, 1]]], 0.25),
        ("spikes", 1.0, [[[127, 0], [1, 1]]], 0.0),  # what does not fit is refused instead
        ("direct", None, [[1e30, 0.0]], 0.0),
        ("direct", 1.0, np.zeros((0, 2)), 0.0),
    ],
)
def test_how_much_of_the_data_is_clipped(encoding, scale, data, fraction):
    data = np.asarray(data)
    source = Input(shape=data.shape[-1:], encoding=encoding, scale=scale)
    assert source.clipped(data) == fraction
    limits = np.abs(source.encode(data, steps=2)) == 127
    assert fraction <= (limits.mean() if data.size else 0.0)


def test_normalized_data_are_clipped_after_the_normalization():
    source = Input(shape=(1,), mean=100.0, std=0.5, scale=1.0)
    assert source.clipped(np.array([[163.0], [164.0], [0.0], [100.0]])) == 0.5


def test_clipped_values_of_many_samples_are_counted():
    data = np.random.default_rng(0).normal(scale=100, size=(1000, 3))
    whole = np.abs(np.rint(data)) > 127
    assert Input(shape=(3,), scale=1.0).clipped(data) == whole.mean()


@pytest.mark.parametrize(
    ("encoding", "data", "text"),
    [
        ("direct", np.zeros((2, 4)), r"got an array of shape \(2, 4\)"),
        ("direct", np.array([[0.0, np.nan, 1.0]]), "got 1 values that are NaN or infinite"),
        ("frames", np.zeros((2, 3)), r"numbers of shape \(samples, 2, 3\)"),
        ("spikes", np.full((1, 2, 3), 0.5), "got values that are not integers in -127..127"),
        ("spikes", np.full((1, 2, 3), -128, np.int8), "got values that are not integers in"),
    ],
)
def test_a_check_refuses_what_encoding_refuses(encoding, data, text):
    source = Input(shape=(3,), encoding=encoding)
    for use in (source.check, source.encode):
        with pytest.raises(InvalidDataError, match=text):
            use(data, 2)


def test_graded_input_is_rounded_half_to_even_then_clipped():
    source = Input(shape=(9,), scale=0.5, mean=1.0)
    x = np.array([[1.0, 1.25, 1.75, 1.2501, 0.75, 64.5, 65.0, 1e9, -1e9]])
    encoded = source.encode(x, steps=1)
    assert encoded.tolist() == [[0, 0, 2, 1, 0, 127, 127, 127, -127]]
    assert encoded.dtype == np.int64


@given(st.floats(1e-6, 1e6), st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_graded_input_is_the_nearest_payload_of_either_sign(scale, values):
    source = Input(shape=(len(values),), scale=scale)
    payloads = source.encode(np.array([values]), steps=1)
    for value, payload in zip(values, payloads[0].tolist(), strict=True):
        assert -127 <= payload <= 127
        if abs(payload) < 127:
            assert abs(payload * scale - value) <= scale * 0.5 * (1 + 1e-9)
        else:
            assert abs(value) >= 126.5 * scale * (1 - 1e-9)
    np.testing.assert_array_equal(source.encode(-np.array([values]), steps=1), -payloads)


@pytest.mark.parametrize("encoding", ["direct", "frames", "spikes", "once"])
@pytest.mark.parametrize("scale", [None, 0.25])
def test_shape_and_dtype_of_every_encoding(encoding, scale):
    source = Input(shape=(2, 3, 1), encoding=encoding, scale=scale)
    shape = (2, 3, 1) if encoding in ("direct", "once") else (5, 2, 3, 1)
    assert source.data_shape(5) == shape
    entering = (2, 3, 1) if encoding == "direct" else (5, 2, 3, 1)
    assert source.encoded_shape(5) == entering
    for samples in (0, 4):
        encoded = source.encode(np.ones((samples, *shape), dtype=np.float32), steps=5)
        assert encoded.shape == (samples, *entering)
        assert encoded.dtype == (np.float64 if scale is None else np.int64)


@pytest.mark.parametrize(("scale", "zero", "values"), [(None, 0.0, 1.5), (0.25, 0, 6)])
def test_a_frame_that_is_presented_once_is_followed_by_nothing(scale, zero, values):
    """Silence is no current at all, and not what a raw zero becomes."""
    source = Input(shape=(2,), encoding="once", scale=scale, mean=-2.0, std=2.0)
    encoded = source.encode(np.array([[1.0, -2.0], [1.0, 1.0]]), steps=3)
    assert encoded[:, 0].tolist() == [[values, zero], [values, values]]
    assert not encoded[:, 1:].any()
    assert source.clipped(np.array([[1.0, 999.0]])) == (0.0 if scale is None else 0.5)


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint8, bool, np.float32])
def test_spikes_are_used_as_they_are(dtype):
    source = Input(shape=(3,), encoding="spikes", scale=0.25)
    x = np.array([[[1, 0, 1]]]).astype(dtype)
    assert source.encode(x, steps=1).tolist() == [[[1, 0, 1]]]
    graded = np.array([[[-127, 127, -1]]])
    np.testing.assert_array_equal(source.encode(graded, steps=1), graded)


@pytest.mark.parametrize(
    ("encoding", "data", "message"),
    [
        (
            "direct",
            np.zeros((4, 3)),
            (
                r"data: got an array of shape \(4, 3\) and dtype float64; expected numbers of "
                r"shape "
                r"\(samples, 2\)\. Bring the data to the input shape \(2,\) \(direct encoding\)"
            ),
        ),
        (
            "frames",
            np.zeros((4, 2)),
            r"expected numbers of shape \(samples, 5, 2\)\. Bring .* \(frames encoding, 5 steps\)",
        ),
        ("frames", np.zeros((4, 6, 2)), r"got an array of shape \(4, 6, 2\)"),
        ("direct", np.zeros(()), r"got an array of shape \(\) and dtype float64"),
        ("direct", np.array([["a", "b"]]), "dtype <U1; expected numbers"),
        ("direct", np.array([[None, 1]]), "dtype object; expected numbers"),
        ("direct", np.array([[1j, 1]]), "dtype complex128; expected numbers"),
        (
            "direct",
            np.array([[np.nan, np.inf], [1, 2]]),
            r"data: got 2 values that are NaN or infinite; expected finite numbers\. Clean",
        ),
        (
            "spikes",
            np.full((1, 5, 2), 0.5),
            (
                r"data: got values that are not integers in -127\.\.127; expected ternary or "
                r"graded "
                r"spikes\. Use the 'frames' encoding for analog values"
            ),
        ),
        ("spikes", np.full((1, 5, 2), 128), r"got values that are not integers in -127\.\.127"),
        ("spikes", np.full((1, 5, 2), -128, dtype=np.int8), "got values that are not integers"),
    ],
)
@pytest.mark.parametrize("scale", [None, 0.5])
def test_data_that_do_not_fit_are_refused(encoding, data, message, scale):
    with pytest.raises(InvalidDataError, match=message):
        Input(shape=(2,), encoding=encoding, scale=scale).encode(data, steps=5)


# --------------------------------------------------------------------------------------- readout


def test_a_step_of_the_readout_shifts_the_current_and_adds_the_bias():
    integer = readout(bias=[7, -3], weights=[1, 2, 3], state_shift=4)
    assert integer.step_logits(np.array([[1, -2], [0, 5]])).tolist() == [[23, -35], [7, 77]]
    assert readout().step_logits(np.array([[1.0, -2.0]])).tolist() == [[1.5, -2.5]]
    assert readout().classes == 2


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_labels_become_int64(dtype):
    labels = readout().checked_labels(np.array([0, 1, 1], dtype=dtype), 3)
    assert labels.dtype == np.int64
    assert labels.tolist() == [0, 1, 1]
    assert not readout().checked_labels(np.zeros(0, dtype=dtype), 0).size


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            np.zeros((3, 1), int),
            (
                r"labels: got an array of shape \(3, 1\) and dtype int64; expected 3 integers in "
                r"0\.\.1\."
                " Give one class index per sample"
            ),
        ),
        (np.zeros(2, int), r"got an array of shape \(2,\)"),
        (np.zeros(3), "dtype float64; expected 3 integers"),
        (np.array([0, 1, 2]), "got values from 0 to 2; expected 3 integers"),
        (np.array([0, -1, 1]), "got values from -1 to 1; expected 3 integers"),
        ("cat", "dtype <U3; expected 3 integers"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, message):
    with pytest.raises(InvalidDataError, match=message):
        readout().checked_labels(labels, 3)


# ------------------------------------------------------------------------------- the builder here


@pytest.mark.parametrize("seed", range(20))
def test_random_networks_are_valid_and_reproducible(seed):
    a, b = random_network(seed), random_network(seed)
    assert a.labels == b.labels
    assert a.kind == "integer"
    for c, d in zip(a.all_connections, b.all_connections, strict=True):
        np.testing.assert_array_equal(c.operator.weight, d.operator.weight)


def test_the_builder_takes_shapes_from_the_connections():
    b = Builder(0, (2, 5, 5))
    b.layer("input", "a", b.conv("input", 4, stride=(2, 2)))
    assert b.build("a").populations["a"].shape == (4, 3, 3)
