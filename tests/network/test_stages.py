"""In which order whole populations run."""

import pytest
from hypothesis import given, settings

from tests.networks import CASES, too_fast_loop
from tests.strategies import integer_networks
from trispike.network.stages import Stage, stages


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (CASES["feedforward_delay"](), [("first",), ("second",), ("third",), ("side",)]),
        (CASES["bias_only_population"](), [("first",), ("clock",)]),
        (CASES["recurrent"](), [{"self"}, {"go", "back"}]),
        (too_fast_loop(), [{"go", "back"}]),
    ],
)
def test_stages(network, expected):
    """Loops are written as sets; their populations come in the network's order."""
    order = network.order
    assert stages(network) == [
        Stage(tuple(n for n in order if n in names), isinstance(names, set)) for names in expected
    ]


@settings(max_examples=50)
@given(integer_networks())
def test_stages_only_read_themselves_and_those_before(network):
    """A loop reads itself; nothing else does. Within a loop the order is the network's."""
    seen = {network.input.name}
    for stage in stages(network):
        reads = {s for name in stage.populations for c in network.into(name) for s in c.sources}
        assert reads <= seen | set(stage.populations)
        assert stage.loop == bool(reads & set(stage.populations))
        assert stage.loop or len(stage.populations) == 1
        places = [network.order.index(name) for name in stage.populations]
        assert places == sorted(places)
        seen |= set(stage.populations)
    assert seen == {network.input.name, *network.populations}
