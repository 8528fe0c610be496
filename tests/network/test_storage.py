"""Files: every field comes back, and the digest sees every one."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from tests.network.parts import (
    CHANGES,
    applicable_changes,
    base,
    with_input,
    with_neuron,
    with_readout,
)
from tests.networks import CASES, random_network, sample_inputs
from trispike.network import (
    Connection,
    FloatNetwork,
    Identity,
    IntegerNetwork,
    Network,
    Neuron,
    Population,
    connection,
    digest,
    equal,
    load,
    network,
    neuron,
    plasticity,
    save,
)
from trispike.network.dynamics import time_steps
from trispike.network.storage import FORMAT, VERSION, from_arrays, to_arrays


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Every number, string and array in a tree of dataclasses, by path."""
    if dataclasses.is_dataclass(value):
        result = {f"{path}:": type(value).__name__}
        for field in dataclasses.fields(value):
            result |= leaves(getattr(value, field.name), f"{path}/{field.name}")
        return result
    if isinstance(value, np.ndarray):
        return {path: (value.dtype, value.shape, value.tobytes(), value.flags.writeable)}
    if path == "/populations":
        inside = [leaves(p, f"{path}/{name}") for name, p in value.items()]
        return {path: list(value), **{k: v for item in inside for k, v in item.items()}}
    if isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
        inside = [leaves(item, f"{path}/{n}") for n, item in enumerate(value)]
        return {path: len(value), **{k: v for item in inside for k, v in item.items()}}
    return {path: (type(value), value)}


def assert_comes_back(net: Network, path: Path) -> None:
    save(net, path)
    again = load(path)
    assert leaves(again) == leaves(net)
    assert type(again) is type(net)
    assert equal(again, net)
    assert digest(again) == digest(net)


def test_every_field_of_every_class_has_a_change():
    """A new field has to be added here, and is then known to be stored and digested."""
    classes = {
        value
        for module in (connection, network, neuron, plasticity)
        for value in vars(module).values()
        if isinstance(value, type)
        and dataclasses.is_dataclass(value)
        and value.__module__ == module.__name__
    } - {Network}
    fields = {f"{c.__name__}.{field.name}" for c in classes for field in dataclasses.fields(c)}
    assert fields == set(CHANGES)
    assert len(classes) == 13


@pytest.mark.parametrize(("kind", "change"), list(applicable_changes()))
def test_every_field_is_stored_and_changes_the_digest(kind, change, tmp_path, request):
    before = base(kind)
    after = change(before)
    assert leaves(after) != leaves(before)
    assert_comes_back(after, tmp_path / "net")
    is_provenance = request.node.callspec.id.endswith("provenance")
    assert (digest(after) == digest(before)) == is_provenance
    assert equal(after, before) == is_provenance


@pytest.mark.parametrize("case", CASES)
def test_every_case_comes_back(case, tmp_path):
    net = CASES[case]()
    assert_comes_back(net, tmp_path / "net")
    again = load(tmp_path / "net")
    inputs = net.input.encode(sample_inputs(net, 2), net.steps)
    for a, b in zip(time_steps(net, inputs), time_steps(again, inputs), strict=True):
        np.testing.assert_array_equal(a.logits, b.logits)


def as_float(net: IntegerNetwork, rng: np.random.Generator) -> FloatNetwork:
    """Any float network of the same structure."""

    def floats(c: Connection) -> Connection:
        weight = c.operator.weight * rng.random()
        operator = (
            Identity(scale=weight)
            if isinstance(c.operator, Identity)
            else dataclasses.replace(c.operator, weight=weight)
        )
        return dataclasses.replace(c, operator=operator, exponent=0)

    def neuron(p: Population) -> Population:
        fields: dict[str, Any] = {**p.neuron.array_fields(), **p.neuron.plain_fields()}
        del fields["state_bits"], fields["state_shift"]
        fields["th_neg"] = np.inf if rng.random() < 0.3 else rng.random(p.shape) + 0.1
        fields["floor"] = -np.inf
        return Population(shape=p.shape, neuron=Neuron(**fields))

    return FloatNetwork(
        input=dataclasses.replace(net.input, scale=None),
        populations={name: neuron(p) for name, p in net.populations.items()},
        connections=tuple(map(floats, net.connections)),
        readout=dataclasses.replace(
            net.readout,
            connections=tuple(map(floats, net.readout.connections)),
            bias=rng.random(net.readout.classes),
            weights=rng.random(net.steps),
        ),
        steps=net.steps,
    )


JSON_VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.dictionaries(st.text(), JSON_VALUES, max_size=3))
def test_random_networks_come_back(tmp_path, seed, provenance):
    rng = np.random.default_rng(seed)
    net = dataclasses.replace(random_network(seed), provenance=provenance)
    assert_comes_back(net, tmp_path / "integer")
    assert_comes_back(as_float(net, rng), tmp_path / "float")
    assert load(tmp_path / "integer").provenance == provenance


def test_extreme_numbers_come_back(tmp_path):
    tiny, huge = np.nextafter(0, 1), np.finfo(float).max
    net = with_neuron(base("float"), bias=tiny, v_init=-huge, th_pos=np.inf, floor=-np.inf)
    net = with_input(net, std=np.finfo(float).tiny)
    assert_comes_back(with_readout(net, scale=float(tiny), bias=np.array([huge, -0.0, tiny])),
                      tmp_path / "net")  # fmt: skip


def test_arrays_and_header_are_inverse_without_a_file():
    for kind in ("float", "integer"):
        header, arrays = to_arrays(base(kind))
        assert leaves(from_arrays(header, arrays)) == leaves(base(kind))


def test_the_digest_depends_on_nothing_but_the_network(tmp_path):
    net = base("integer")
    assert digest(net) == digest(base("integer"))
    assert len(digest(net)) == 64
    other_types = with_readout(net, scale=np.float32(1.0), state_shift=np.int64(0))
    assert digest(other_types) == digest(net)


def test_values_that_trade_places_change_the_digest():
    """Two arrays of one shape must not be hashed as one string of bytes."""
    net = with_neuron(base("integer"), a_pos=5, a_neg=7)
    assert digest(net) != digest(with_neuron(net, a_pos=7, a_neg=5))
    assert digest(base("float")) != digest(base("integer"))


def test_shapes_are_part_of_a_network(tmp_path):
    """A scalar is no array of one number, neither in the digest nor in a file."""
    scalar = with_neuron(base("integer"), v_init=np.array(3))
    array = with_neuron(base("integer"), v_init=np.array([3]))
    assert digest(scalar) != digest(array)
    for net in (scalar, array):
        assert_comes_back(net, tmp_path / "net")


def test_a_file_is_plain_safetensors_with_a_readable_header(tmp_path):
    save(base("integer"), tmp_path / "net")
    with safe_open(tmp_path / "net", framework="np") as file:
        header = json.loads(file.metadata()[FORMAT])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert (header["format"], header["version"]) == (FORMAT, VERSION)
    assert arrays["connections/0/operator/weight"].dtype == np.int8
    assert arrays["populations/a/neuron/bias"].shape == (4, 1, 1)
    assert header["network"]["connections"][0]["operator"]["stride"] == [5, 4]
