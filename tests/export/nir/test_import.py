"""All standard nodes, in graphs of every kind, against a simulator that knows the equations."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import nir
import numpy as np
import pytest

from tests.export.nir.simulator import Simulator
from trispike.errors import FileFormatError, UnsupportedError
from trispike.export.nir import CTSN, from_graph, to_graph
from trispike.network import FloatNetwork, Neuron
from trispike.runtime import ReferenceEngine

DT = 0.5
STEPS = 12
RNG = np.random.default_rng(0)


def graph(nodes: dict[str, Any], edges: list[tuple[str, str]]) -> Any:
    return nir.NIRGraph(nodes=nodes, edges=edges, type_check=False)


def chain(shape: tuple[int, ...], *nodes: Any, out: tuple[int, ...] = (4,)) -> Any:
    """Nodes in a row between an Input and an Output."""
    named = {f"n{i}": node for i, node in enumerate(nodes)}
    names = ["input", *named, "output"]
    ends = {"input": nir.Input(np.array(shape)), "output": nir.Output(np.array(out))}
    return graph({**named, **ends}, list(itertools.pairwise(names)))


def lif(*shape: int, **fields: Any) -> Any:
    own = {
        "tau": RNG.uniform(1, 4, shape),
        "r": RNG.uniform(2, 4, shape),
        "v_leak": RNG.normal(size=shape) * 0.1,
        "v_threshold": RNG.uniform(0.3, 0.6, shape),
        "v_reset": RNG.uniform(-0.1, 0.1, shape),
    }
    return nir.LIF(**{**own, **fields})


def cuba(*shape: int, **fields: Any) -> Any:
    own = {
        "tau_syn": RNG.uniform(1, 3, shape),
        "tau_mem": RNG.uniform(1, 3, shape),
        "r": RNG.uniform(3, 5, shape),
        "v_leak": RNG.normal(size=shape) * 0.1,
        "v_threshold": RNG.uniform(0.3, 0.6, shape),
        "v_reset": np.zeros(shape),
        "w_in": RNG.uniform(2, 4, shape),
    }
    return nir.CubaLIF(**{**own, **fields})


def integrate(*shape: int) -> Any:
    r, th = RNG.uniform(1, 2, shape), RNG.uniform(1, 2, shape)
    return nir.IF(r, th, RNG.uniform(-0.3, 0.3, shape))


def affine(outputs: int, inputs: int) -> Any:
    return nir.Affine(RNG.normal(size=(outputs, inputs)), RNG.normal(size=outputs) * 0.3)


def conv2d(outputs: int, inputs: int, **fields: Any) -> Any:
    own = {
        "input_shape": None, "weight": RNG.normal(size=(outputs, inputs, 3, 3)), "stride": (1, 1),
        "padding": (1, 1), "dilation": (1, 1), "groups": 1, "bias": RNG.normal(size=outputs) * 0.3,
    }  # fmt: skip
    return nir.Conv2d(**{**own, **fields})


def conv1d(outputs: int, inputs: int, **fields: Any) -> Any:
    own = {
        "input_shape": None, "weight": RNG.normal(size=(outputs, inputs, 3)), "stride": 1,
        "padding": 1, "dilation": 1, "groups": 1, "bias": RNG.normal(size=outputs) * 0.3,
    }  # fmt: skip
    return nir.Conv1d(**{**own, **fields})


def flatten(*shape: int) -> Any:
    return nir.Flatten(np.array(shape), 0, -1)


def pool(kind: type, kernel: int, stride: int, padding: int = 0) -> Any:
    return kind(*(np.array([n, n]) for n in (kernel, stride, padding)))


def uniform(kind: type, *shape: int, **fields: float) -> Any:
    return kind(**{name: np.full(shape, value) for name, value in fields.items()})


def recurrent(inner: Any, delay: float = DT) -> Any:
    """A population that hears itself through a matrix."""
    nodes = {
        "in": nir.Input(np.array([5])),
        "ff": affine(5, 5),
        "pop": inner,
        "later": nir.Delay(np.full(5, delay)),
        "back": affine(5, 5),
        "out": nir.Output(np.array([5])),
    }
    edges = [("in", "ff"), ("ff", "pop"), ("pop", "later"), ("later", "back"), ("back", "pop"),
             ("pop", "out")]  # fmt: skip
    return graph(nodes, edges)


def two_populations_in_a_loop() -> Any:
    nodes = {
        "in": nir.Input(np.array([4])), "a": affine(5, 4), "b": lif(5), "c": affine(3, 5),
        "d": cuba(3), "wait": nir.Delay(np.full(3, 2 * DT)),
        "e": nir.Linear(RNG.normal(size=(5, 3))),
        "out": nir.Output(np.array([3])),
    }  # fmt: skip
    edges = [("in", "a"), ("a", "b"), ("b", "c"), ("c", "d"), ("d", "wait"), ("wait", "e"),
             ("e", "b"), ("d", "out")]  # fmt: skip
    return graph(nodes, edges)


def several_edges_and_lexical_order() -> Any:
    """Twelve nodes whose names sort as strings do; sums of populations, inputs and biases."""
    nodes = {
        "10": lif(6), "2": affine(6, 4), "1": nir.Input(np.array([4])), "3": affine(6, 6),
        "4": lif(6), "5": nir.Scale(RNG.normal(size=6)), "6": affine(6, 4), "7": cuba(6),
        "8": affine(3, 6), "9": affine(3, 6), "11": integrate(3), "12": nir.Output(np.array([3])),
    }  # fmt: skip
    edges = [("1", "2"), ("2", "10"), ("10", "3"), ("3", "4"), ("10", "5"), ("5", "4"), ("1", "6"),
             ("6", "7"), ("4", "8"), ("7", "8"), ("10", "9"), ("8", "11"), ("9", "11"),
             ("11", "12")]  # fmt: skip
    return graph(nodes, edges)


def nested() -> Any:
    """A recurrent subgraph in a subgraph."""
    inner = recurrent(lif(5))
    outer = graph(
        {"x": nir.Input(np.array([5])), "rnn": inner, "pre": affine(5, 5),
         "y": nir.Output(np.array([5]))},
        [("x", "pre"), ("pre", "rnn"), ("rnn", "y")],
    )  # fmt: skip
    return chain((4,), affine(5, 4), lif(5), outer, affine(4, 5), lif(4))


GRAPHS: dict[str, Any] = {
    "LIF": lambda: chain((3,), affine(4, 3), lif(4)),
    "IF": lambda: chain((3,), affine(4, 3), integrate(4)),
    "CubaLIF": lambda: chain((3,), affine(4, 3), cuba(4)),
    "one number for all": lambda: chain((3,), affine(4, 3), lif()),
    "one neuron": lambda: chain((3,), affine(1, 3), lif(1), out=(1,)),
    "two layers": lambda: chain((3,), affine(5, 3), lif(5), affine(4, 5), cuba(4)),
    "Linear": lambda: chain((3,), nir.Linear(RNG.normal(size=(4, 3))), lif(4)),
    "Affine after Affine": lambda: chain((3,), affine(6, 3), affine(4, 6), lif(4)),
    "Scale": lambda: chain((4,), nir.Scale(RNG.normal(size=4)), lif(4)),
    "Conv2d": lambda: chain((2, 5, 4), conv2d(3, 2), lif(3, 5, 4), flatten(3, 5, 4), affine(4, 60),
                            lif(4)),
    "Conv2d, odd": lambda: chain(
        (2, 7, 6),
        conv2d(4, 1, weight=RNG.normal(size=(4, 1, 2, 3)), stride=(2, 1), padding=(0, 2),
               dilation=(2, 1), groups=2),
        lif(4, 3, 8), out=(4, 3, 8),
    ),
    "Conv2d, same": lambda: chain((2, 5, 4), conv2d(3, 2, padding="same"), lif(3, 5, 4),
                                  out=(3, 5, 4)),
    "Conv2d, valid": lambda: chain((2, 5, 4), conv2d(3, 2, padding="valid"), lif(3, 3, 2),
                                   out=(3, 3, 2)),
    "Conv2d, scalars": lambda: chain((2, 5, 4), conv2d(3, 2, stride=2, padding=1, dilation=1),
                                     lif(3, 3, 2), out=(3, 3, 2)),
    "Conv1d": lambda: chain((2, 6), conv1d(3, 2), lif(3, 6), conv1d(2, 3, stride=2, padding=0),
                            lif(2, 2), flatten(2, 2), affine(4, 4), lif(4)),
    "SumPool2d": lambda: chain((2, 6, 4), pool(nir.SumPool2d, 2, 2), conv2d(3, 2), lif(3, 3, 2),
                               out=(3, 3, 2)),
    "AvgPool2d": lambda: chain((2, 6, 4), conv2d(3, 2), lif(3, 6, 4), pool(nir.AvgPool2d, 3, 2, 1),
                               conv2d(2, 3), lif(2, 3, 2), out=(2, 3, 2)),
    "Flatten, no batch": lambda: chain((1, 1, 4), nir.Flatten(None, 1, -1), lif(4)),
    "Threshold": lambda: chain((3,), affine(4, 3), nir.Threshold(RNG.uniform(0.1, 0.5, 4))),
    "LI and Threshold": lambda: chain(
        (3,), affine(4, 3),
        nir.LI(RNG.uniform(1, 3, 4), RNG.uniform(1, 3, 4), RNG.normal(size=4) * 0.1),
        nir.Threshold(RNG.uniform(0.1, 0.5, 4)),
    ),
    "I and Threshold": lambda: chain((3,), affine(4, 3), nir.I(RNG.uniform(1, 3, 4)),
                                     nir.Threshold(RNG.uniform(0.5, 1, 4))),
    "CubaLI and Threshold": lambda: chain(
        (3,), affine(4, 3),
        nir.CubaLI(*(RNG.uniform(1, 3, 4) for _ in range(3)), RNG.normal(size=4) * 0.1,
                   RNG.uniform(1, 3, 4)),
        nir.Threshold(RNG.uniform(0.1, 0.5, 4)),
    ),
    "Delay": lambda: chain((3,), nir.Delay(np.full(3, 2 * DT)), affine(4, 3), lif(4),
                           nir.Delay(np.full(4, 3 * DT)), affine(4, 4), lif(4)),
    "readout after": lambda: chain((3,), affine(5, 3), lif(5), affine(4, 5)),
    "linear only": lambda: chain((3,), affine(4, 3)),
    "LI at the end": lambda: chain(
        (3,), affine(5, 3), lif(5), affine(4, 5),
        nir.LI(np.full(4, 2.0), RNG.uniform(1, 2, 4), RNG.normal(size=4)),
    ),
    "I at the end": lambda: chain((3,), affine(5, 3), lif(5), affine(4, 5), nir.I(np.ones(4))),
    "CubaLI at the end": lambda: chain(
        (3,), affine(5, 3), lif(5), affine(4, 5),
        uniform(nir.CubaLI, 4, tau_syn=2.0, tau_mem=3.0, r=1.5, v_leak=0.0, w_in=2.0),
    ),
    "recurrent": lambda: recurrent(lif(5)),
    "recurrent current": lambda: recurrent(cuba(5), 2 * DT),
    "loop of two": two_populations_in_a_loop,
    "sums, any order": several_edges_and_lexical_order,
    "nested subgraphs": nested,
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_import_does_what_the_equations_say(name):
    RNG.bit_generator.state = np.random.default_rng(3).bit_generator.state
    made = GRAPHS[name]()
    (source,) = (node for node in made.nodes.values() if isinstance(node, nir.Input))
    x = RNG.normal(size=(3, STEPS, *source.input_type["input"])) * 2
    theirs = np.stack([Simulator(made, DT).run(sample) for sample in x]).reshape(3, STEPS, -1)
    wanted = {"mean": theirs.mean(axis=1), "sum": theirs.sum(axis=1), "last": theirs[:, -1]}
    for summary, logits in wanted.items():
        network = from_graph(made, convention="exact", dt=DT, steps=STEPS, summary=summary)
        assert isinstance(network, FloatNetwork)
        result = ReferenceEngine(network).run(x[:, :, :, None, :] if x.ndim == 4 else x)
        np.testing.assert_allclose(result.logits, logits, rtol=1e-9, atol=1e-9)
        assert not network.populations or result.ledger.spikes


def test_all_nineteen_types_are_imported():
    seen: set[str] = set()

    def collect(made: Any) -> None:
        for node in made.nodes.values():
            seen.add(type(node).__name__)
            if isinstance(node, nir.NIRGraph):
                collect(node)

    for make in GRAPHS.values():
        collect(make())
    known = [name for name in nir.ir.__dict__["__all_ir"] if getattr(nir, name, None)]
    assert seen | {"NIRGraph"} == set(known)
    assert len(known) == 19


def one_of_each() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for make in GRAPHS.values():
        for node in make().nodes.values():
            found.setdefault(type(node).__name__, (make, type(node)))
    return {
        name: pair for name, pair in found.items() if name not in ("NIRGraph", "Input", "Output")
    }


@pytest.mark.parametrize("kind", sorted(one_of_each()))
def test_a_field_that_is_not_known_is_refused(kind, monkeypatch):
    """Every field is read or refused: a later nir may add one."""
    make, node_type = one_of_each()[kind]
    fields = dataclasses.fields(node_type)
    more = dataclasses.make_dataclass("More", [("news", float, 1.0)])

    def with_one_more(node):
        return (
            (*fields, *dataclasses.fields(more)) if isinstance(node, node_type) else _fields(node)
        )

    _fields = dataclasses.fields
    monkeypatch.setattr("trispike.export.nir.fields.dataclasses.fields", with_one_more)
    with pytest.raises(UnsupportedError, match=f"node '.*', field 'news': got a field of {kind}"):
        from_graph(make(), convention="exact", dt=DT, steps=STEPS)


def test_names_that_a_network_cannot_have():
    made = graph(
        {"a+b": nir.Input(np.array([3])), "x>y": affine(4, 3), "a/b#1": lif(4),
         "readout": nir.Output(np.array([4]))},
        [("a+b", "x>y"), ("x>y", "a/b#1"), ("a/b#1", "readout")],
    )  # fmt: skip
    network = from_graph(made, convention="exact", dt=DT, steps=2)
    assert list(network.populations) == ["a_b_1"]
    assert network.provenance["nir"]["populations"] == {"a_b_1": "a/b#1"}


def test_a_ctsn_node_among_others():
    network = from_graph(chain((3,), affine(4, 3), lif(4)), convention="exact", dt=DT, steps=2)
    own = to_graph(network).nodes["n1"]
    assert isinstance(own, CTSN)
    again = from_graph(chain((3,), affine(4, 3), own), convention="exact", dt=DT, steps=2)
    (neuron,) = (p.neuron for p in again.populations.values())
    assert isinstance(neuron, Neuron)
    assert not np.array_equal(neuron.bias, own.bias)  # that of the Affine is added


def test_encodings():
    for encoding in ("direct", "frames", "spikes"):
        network = from_graph(
            chain((3,), affine(4, 3), lif(4)),
            convention="exact",
            dt=DT,
            steps=2,
            encoding=encoding,
        )
        assert network.input.encoding == encoding


def test_loops_without_delay_are_refused():
    made = recurrent(lif(5))
    del made.nodes["later"]
    made.edges = [("in", "ff"), ("ff", "pop"), ("pop", "back"), ("back", "pop"), ("pop", "out")]
    with pytest.raises(FileFormatError, match=r"loop without delay through pop"):
        from_graph(made, convention="exact", dt=DT, steps=2)
    implied = from_graph(made, convention="snntorch", dt=DT, steps=2, settings=_SNN)
    assert [c.delay for c in implied.connections] == [0, 1] or [
        c.delay for c in implied.connections
    ] == [1, 0]


_SNN = {"reset": "zero", "v_leak": "honoured", "v_reset": "honoured"}
