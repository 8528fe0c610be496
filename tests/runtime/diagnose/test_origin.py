"""Networks that are not of one origin, and data that do not fit, are refused in words."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.runtime.diagnose.pairs import float_network, inputs, integer_network
from tests.runtime.pages.checks import renamed
from trispike.errors import InvalidDataError, InvalidNetworkError, InvalidSettingError
from trispike.network import Connection, Dense, Input
from trispike.network.steps import with_steps
from trispike.runtime.diagnose import diagnose
from trispike.runtime.diagnose.origin import checked_pair


def test_swapped_networks():
    with pytest.raises(InvalidSettingError, match=r"got an integer network first.*Swap them"):
        diagnose(integer_network(), float_network(), inputs())


@pytest.mark.parametrize("network", [float_network, integer_network])
def test_two_of_a_kind(network):
    with pytest.raises(InvalidSettingError, match="Name one of each kind"):
        checked_pair(network(), network())


def other_checkpoint(network: Any, digest: str) -> Any:
    return replace(network, provenance={"checkpoint": {"sha256": digest}})


def with_neuron(network: Any, **fields: Any) -> Any:
    population = network.populations["b"]
    changed = replace(population, neuron=replace(population.neuron, **fields))
    return replace(network, populations={**network.populations, "b": changed})


def rewired() -> Any:
    """c reads a and b."""
    network = integer_network()
    extra = Connection(
        sources=("a",), target="c", operator=Dense(weight=np.ones((12, 24), np.int8))
    )
    return replace(network, connections=(*network.connections, extra))


@pytest.mark.parametrize(
    ("integer", "words"),
    [
        (lambda: with_steps(integer_network(), 5), "time steps 3 and 5"),
        (lambda: renamed(integer_network(), {"b": "x"}), "'b' is in the float network only"),
        (lambda: with_neuron(integer_network(), reset="subtract"), "reset zero and subtract"),
        (lambda: with_neuron(integer_network(), strict=True), "strict False and True"),
        (rewired, "connections: a->c"),
        (
            lambda: replace(integer_network(), input=Input(shape=(20,), scale=1.0)),
            "input encodings spikes and direct",
        ),
    ],
)
def test_what_differs_is_named(integer, words):
    with pytest.raises(InvalidNetworkError, match="not of one origin") as caught:
        checked_pair(float_network(), integer())
    assert words in str(caught.value)


def test_normalization_and_checkpoint():
    source = float_network()
    frames = replace(source, input=Input(shape=(20,), encoding="frames", mean=0.5))
    other = replace(
        integer_network(), input=Input(shape=(20,), encoding="frames", mean=0.4, scale=1.0)
    )
    with pytest.raises(InvalidNetworkError, match="another mean of the input"):
        checked_pair(frames, other)
    ours, theirs = other_checkpoint(source, "a" * 64), other_checkpoint(integer_network(), "b" * 64)
    with pytest.raises(InvalidNetworkError, match="checkpoints aaaaaaaaaaaa"):
        checked_pair(ours, theirs)
    checked_pair(ours, other_checkpoint(integer_network(), "a" * 64))
    checked_pair(ours, integer_network())  # nothing is known of it


def test_few_of_many_differences_are_listed():
    names = {n: f"new{n}" for n in ("a", "b", "c")}
    with pytest.raises(InvalidNetworkError, match="and 2 more"):
        checked_pair(float_network(), renamed(integer_network(), names))


@pytest.mark.parametrize(
    ("data", "labels", "words"),
    [
        (inputs()[:0], None, "no samples"),
        (inputs()[:, :2], None, "shape"),
        (inputs() + 0.5, None, "not integers"),
        (np.where(inputs() > 0, np.nan, 0.0), None, "NaN"),
        (inputs(), np.arange(40), "labels"),
    ],
)
def test_data_that_do_not_fit(data, labels, words):
    with pytest.raises(InvalidDataError, match=words):
        diagnose(float_network(), integer_network(), data, labels)
