"""What the constructions are: named once, documented, whole, and not silent."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from trispike.errors import InvalidSettingError
from trispike.network import FloatNetwork, IntegerNetwork
from trispike.runtime.conformance import CONSTRUCTIONS, chosen

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
ROW = re.compile(r"^\| `([a-z-]+)` \| ([a-z, ]+) \| (.+) \|$", re.MULTILINE)


def test_the_page_lists_them():
    rows = ROW.findall(PAGE.read_text(encoding="utf-8"))
    assert rows == [(c.name, ", ".join(c.kinds), c.proves) for c in CONSTRUCTIONS.values()]


def test_a_choice_keeps_the_order():
    assert chosen(["rounding", "xor"]) == [
        ("xor", "float"),
        ("xor", "integer"),
        ("rounding", "integer"),
    ]
    with pytest.raises(InvalidSettingError, match="construction 'b': got an unknown name"):
        chosen(["xor", "b"])


@pytest.mark.parametrize(("name", "kind"), chosen())
def test_every_answer_is_whole(name, kind):
    exact = CONSTRUCTIONS[name].build(kind)
    network = exact.network
    assert isinstance(network, IntegerNetwork if kind == "integer" else FloatNetwork)
    samples = len(exact.inputs)
    assert set(exact.expected) == set(network.populations)
    for population, traces in exact.expected.items():
        assert {"s", "v"} <= set(traces)
        for trace, values in traces.items():
            assert values.shape == (samples, network.steps, *network.populations[population].shape)
            assert values.dtype.kind == ("i" if trace == "s" or kind == "integer" else "f")
    # All but what is behind a delay that is longer than the network runs.
    silent = {name for name, traces in exact.expected.items() if not traces["v"].any()}
    assert silent == ({"after40"} if name == "delay-line" else set())
    assert exact.logits.shape == (samples, network.readout.classes)


@pytest.mark.parametrize("name", [c.name for c in CONSTRUCTIONS.values() if len(c.kinds) > 1])
def test_both_number_types_fire_alike(name):
    """Where they may not: a graded input that is rounded in integers."""
    floats, integers = (CONSTRUCTIONS[name].build(kind) for kind in ("float", "integer"))
    equal = [
        np.array_equal(traces["s"], integers.expected[population]["s"])
        for population, traces in floats.expected.items()
    ]
    assert all(equal) == (name != "graded-input")
