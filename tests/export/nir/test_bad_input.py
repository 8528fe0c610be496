"""What is wrong with a file or graph is said in one error that names the node and the field."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import h5py
import nir
import numpy as np
import pytest

from tests.export.nir.test_import import DT, affine, chain, conv2d, cuba, flatten, graph, lif
from tests.networks import CASES
from trispike.errors import (
    FileFormatError,
    InvalidSettingError,
    TrispikeError,
    UnsafeFileError,
    UnsupportedError,
)
from trispike.export.nir import from_graph, read, read_network, to_graph, write


def exact(made: Any, **options: Any) -> Any:
    return from_graph(made, **{"convention": "exact", "dt": DT, "steps": 3, **options})


def small(**fields: Any) -> Any:
    return chain((3,), affine(4, 3), lif(4, **fields))


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read(tmp_path / "none.nir")


@pytest.mark.parametrize("kept", [0, 10, 600, 3000])
def test_a_truncated_file(kept, tmp_path):
    write(CASES["vectors"](), tmp_path / "n.nir")
    whole = (tmp_path / "n.nir").read_bytes()
    assert len(whole) > kept
    (tmp_path / "n.nir").write_bytes(whole[:kept])
    with pytest.raises(FileFormatError, match=r"file '.*n\.nir': got unreadable content"):
        read(tmp_path / "n.nir")


def test_every_truncation_is_named(tmp_path):
    write(CASES["vectors"](), tmp_path / "n.nir")
    whole = (tmp_path / "n.nir").read_bytes()
    for kept in range(0, len(whole), len(whole) // 15):
        (tmp_path / "cut.nir").write_bytes(whole[:kept])
        with pytest.raises(FileFormatError):
            read_network(tmp_path / "cut.nir")


@pytest.mark.parametrize("how", ["soft link", "external link", "raw data", "endless"])
def test_data_from_elsewhere(how, tmp_path):
    nir.write(tmp_path / "n.nir", small())
    (tmp_path / "secret").write_bytes(b"12345678" * 4)
    nir.write(tmp_path / "other.nir", small())
    with h5py.File(tmp_path / "n.nir", "a") as file:
        del file["node/nodes/n1/tau"]
        if how == "soft link":
            file["node/nodes/n1/tau"] = h5py.SoftLink("/node/nodes/n1/r")
        elif how == "external link":
            other = h5py.ExternalLink(tmp_path / "other.nir", "/node/nodes/n1/tau")
            file["node/nodes/n1/tau"] = other
        elif how == "raw data":
            place = [(str(tmp_path / "secret"), 0, 32)]
            file.create_dataset("node/nodes/n1/tau", (4,), np.float64, external=place)
        else:
            file["node/nodes/n1/tau"] = file["node"]
    with pytest.raises(FileFormatError) as caught:
        read(tmp_path / "n.nir")
    assert isinstance(caught.value, UnsafeFileError) == (how != "endless")


def test_another_hdf5_file(tmp_path):
    with h5py.File(tmp_path / "n.nir", "w") as file:
        file["data"] = np.zeros(3)
    with pytest.raises(FileFormatError, match=r"got unreadable content .*node"):
        read(tmp_path / "n.nir")


def test_an_unknown_type_says_which_and_what_to_do(tmp_path):
    @dataclasses.dataclass(eq=False)
    class Strange(nir.NIRNode):  # type: ignore[misc]
        value: Any

        def __post_init__(self):
            self.input_type = {"input": np.array([4])}
            self.output_type = {"output": np.array([4])}

    made = chain((3,), affine(4, 3), Strange(np.zeros(4)))
    nir.write(tmp_path / "n.nir", made)
    with pytest.raises(
        UnsupportedError, match=r"node 'n1' of file .*got the type 'Strange'.*registers"
    ):
        read(tmp_path / "n.nir")
    with pytest.raises(UnsupportedError, match=r"node 'n1' \(Strange\): got the type Strange"):
        exact(made)


def test_a_missing_field(tmp_path):
    nir.write(tmp_path / "n.nir", small())
    with h5py.File(tmp_path / "n.nir", "a") as file:
        del file["node/nodes/n1/tau"]
    with pytest.raises(FileFormatError, match=r"node 'n1' of file .*field 'tau': got nothing"):
        read(tmp_path / "n.nir")
    nir.write(tmp_path / "n.nir", small())
    with h5py.File(tmp_path / "n.nir", "a") as file:
        file["node/nodes/n1/news"] = 1.0
    with pytest.raises(FileFormatError, match=r"node 'n1' of file .*field 'news': got a value"):
        read(tmp_path / "n.nir")


def test_missing_edges():
    made = small()
    made.edges = [e for e in made.edges if e[1] != "n1"]
    with pytest.raises(
        FileFormatError, match=r"node 'n0': got no edge out of it|node 'n1': got no edge into"
    ):
        exact(made)
    made = small()
    made.edges.append(("n1", "elsewhere"))
    with pytest.raises(FileFormatError, match="edge 'n1' to 'elsewhere' of graph: got no node"):
        exact(made)
    made = small()
    made.edges.append(made.edges[0])
    with pytest.raises(FileFormatError, match="edge 'input' to 'n0' of graph: got the edge twice"):
        exact(made)


def test_inputs_and_outputs():
    made = small()
    del made.nodes["output"]
    made.edges = [e for e in made.edges if "output" not in e]
    with pytest.raises(FileFormatError, match="graph: got 0 nodes of type Output"):
        exact(made)
    made = small()
    made.nodes["second"] = nir.Input(np.array([3]))
    made.edges.append(("second", "n0"))
    with pytest.raises(FileFormatError, match=r"2 nodes of type Input \(input, second\)"):
        exact(made)


def test_loops_without_a_population():
    made = graph(
        {"in": nir.Input(np.array([4])), "a": affine(4, 4), "b": affine(4, 4),
         "out": nir.Output(np.array([4]))},
        [("in", "a"), ("a", "b"), ("b", "a"), ("a", "out")],
    )  # fmt: skip
    with pytest.raises(FileFormatError, match="node 'a': got a loop through 'b'"):
        exact(made)


def values(n: int, **changed: Any) -> dict[str, Any]:
    return {name: np.full(n, value) for name, value in changed.items()}


WRONG: dict[str, tuple[Any, str]] = {
    "tau below dt": (
        lambda: small(tau=np.full(4, DT / 2)),
        "node 'n1', field 'tau': got .*below dt",
    ),
    "tau_syn below dt": (
        lambda: chain((3,), affine(4, 3), cuba(4, tau_syn=np.full(4, DT / 2))),
        "node 'n1', field 'tau_syn': got .*below dt",
    ),
    "tau zero": (lambda: small(tau=np.zeros(4)), "node 'n1', field 'tau': got 0"),
    "NaN": (lambda: small(r=np.full(4, np.nan)), "node 'n1', field 'r': got 4 values that are NaN"),
    "NaN weight": (
        lambda: chain((3,), nir.Linear(np.full((4, 3), np.nan)), lif(4)),
        "node 'n0', field 'weight': got 12 values that are NaN",
    ),
    "infinite": (
        lambda: small(v_leak=np.full(4, np.inf)),
        "node 'n1', field 'v_leak': got 4 values that are NaN or infinite",
    ),
    "threshold below reset": (
        lambda: small(**values(4, v_threshold=-1.0, v_reset=0.0)),
        "node 'n1', field 'v_threshold'",
    ),
    "wrong weight": (
        lambda: chain((3,), affine(4, 5), lif(4)),
        r"node 'n0', field 'weight': got shape \(4, 5\) for an input of shape \(3,\)",
    ),
    "matrix on rows and columns": (
        lambda: chain((2, 3, 4), affine(4, 4), lif(4)),
        "node 'n0', field 'weight'.*Flatten",
    ),
    "wrong bias": (
        lambda: chain((3,), nir.Affine(np.ones((4, 3)), np.ones(5)), lif(4)),
        "node 'n0', field 'bias'",
    ),
    "wrong neurons": (
        lambda: chain((3,), affine(4, 3), lif(5)),
        "node 'n1': got an input of shape",
    ),
    "wrong scale": (
        lambda: chain((3,), nir.Scale(np.ones(4)), lif(4)),
        "node 'n0', field 'scale'",
    ),
    "wrong output": (lambda: chain((3,), affine(4, 3), lif(4), out=(5,)), "node 'output'"),
    "wrong sum": (
        lambda: graph(
            {"in": nir.Input(np.array([3])), "a": affine(4, 3), "b": affine(5, 3),
             "c": nir.Scale(np.ones(4)),
             "out": nir.Output(np.array([4]))},
            [("in", "a"), ("in", "b"), ("a", "c"), ("b", "c"), ("c", "out")],
        ),
        r"node 'c': got shape \(4,\) from 'a', \(5,\) from 'b'",
    ),
    "wrong input_shape": (
        lambda: chain((2, 5, 4), conv2d(3, 2, input_shape=(6, 4)), lif(3, 5, 4), out=(3, 5, 4)),
        "node 'n0', field 'input_shape'",
    ),
    "wrong channels": (
        lambda: chain((2, 5, 4), conv2d(3, 4), lif(3, 5, 4), out=(3, 5, 4)),
        "node 'n0', field 'Conv2d': got an input of 2 channels",
    ),
    "padding by another name": (
        lambda: chain((2, 5, 4), conv2d(3, 2, padding="same", stride=(2, 2)), lif(3, 3, 2)),
        "node 'n0', field 'padding'",
    ),
    "None": (
        lambda: chain((2, 5, 4), conv2d(3, 2, padding=None), lif(3, 5, 4), out=(3, 5, 4)),
        "node 'n0', field 'padding': got None",
    ),
    "not a number": (
        lambda: chain((2, 5, 4), conv2d(3, 2, stride=("a", "b")), lif(3, 5, 4)),
        "node 'n0', field 'stride'",
    ),
    "half a stride": (
        lambda: chain((2, 5, 4), conv2d(3, 2, stride=(0.5, 1)), lif(3, 5, 4)),
        "node 'n0', field 'stride'",
    ),
    "wrong flatten": (
        lambda: chain((2, 3, 4), nir.Flatten(None, 1, -1), affine(4, 24), lif(4)),
        "node 'n0', field 'start_dim'.*flatten_counts_batch",
    ),
    "wrong flatten type": (
        lambda: chain((2, 3, 4), flatten(2, 3, 5), affine(4, 24), lif(4)),
        "node 'n0', field 'input_type'",
    ),
    "broken delay": (
        lambda: chain((3,), nir.Delay(np.full(3, 0.7 * DT)), affine(4, 3), lif(4)),
        "node 'n0', field 'delay': got 0.7 steps",
    ),
    "uneven delay": (
        lambda: chain((3,), nir.Delay(np.arange(3) * DT), affine(4, 3), lif(4)),
        "node 'n0', field 'delay'",
    ),
    "four axes": (lambda: chain((2, 3, 4, 5), lif(2, 3, 4, 5)), "node 'input', field 'input_type'"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_fields(name):
    make, message = WRONG[name]
    with pytest.raises(FileFormatError, match=message):
        exact(make())


REFUSED: dict[str, tuple[Any, str]] = {
    "an analog signal": (
        lambda: chain((3,), affine(4, 3), nir.I(np.ones(4)), affine(4, 4), lif(4)),
        r"node 'n1' \(I\): got an edge to 'n2'",
    ),
    "different outputs": (
        lambda: chain((3,), affine(4, 3), nir.LI(np.arange(1.0, 5), np.ones(4), np.zeros(4))),
        r"node 'n1' \(LI\): got time constants that differ",
    ),
    "a delayed bias": (
        lambda: chain((3,), affine(4, 3), nir.Delay(np.full(4, DT)), lif(4)),
        r"node 'n1' \(Delay\): got a bias among what is delayed",
    ),
    "two convolutions": (
        lambda: chain((2, 5, 4), conv2d(3, 2), conv2d(3, 3), lif(3, 5, 4), out=(3, 5, 4)),
        "n0.*n1",
    ),
    "matrices per row": (
        lambda: chain((2, 3, 4), nir.Linear(np.ones((2, 3, 5, 4))), lif(4)),
        r"node 'n0' \(Linear\): got a weight of shape",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_exact_form(name):
    make, message = REFUSED[name]
    with pytest.raises(UnsupportedError, match=message):
        exact(make())


def test_what_a_file_does_not_say_has_to_be_told():
    with pytest.raises(InvalidSettingError, match="convention: got None; expected one of exact, "):
        from_graph(small(), dt=DT, steps=3)
    with pytest.raises(InvalidSettingError, match="dt: got nothing"):
        exact(small(), dt=None)
    with pytest.raises(InvalidSettingError, match="dt: got nan"):
        exact(small(), dt=float("nan"))
    with pytest.raises(InvalidSettingError, match="steps: got None"):
        exact(small(), steps=None)
    with pytest.raises(InvalidSettingError, match="readout: got 'max'"):
        exact(small(), summary="max")
    with pytest.raises(InvalidSettingError, match="setting 'colour'"):
        exact(small(), settings={"colour": "red"})
    with pytest.raises(InvalidSettingError, match="setting 'reset': got 'soft'"):
        exact(small(), settings={"reset": "soft"})


def test_what_a_file_of_trispike_says_is_not_told_again(tmp_path):
    write(CASES["vectors"](), tmp_path / "n.nir")
    with pytest.raises(InvalidSettingError, match="convention, dt: got a graph of trispike"):
        read_network(tmp_path / "n.nir", convention="exact", dt=1.0)


def edited(change) -> Any:
    made = to_graph(CASES["exponents"]())
    change(made)
    return made


EDITS: dict[str, tuple[Any, str]] = {
    "version": (
        lambda g: setattr(g.nodes["stem"], "format_version", 2),
        "node 'stem', field 'format_version': got 2; expected 1",
    ),
    "number": (lambda g: setattr(g.nodes["stem"], "number", "half"), "node 'stem', field 'number'"),
    "layout": (
        lambda g: setattr(g.nodes["stem"], "th_pos", np.arange(90).reshape(3, 6, 5) + 1),
        "node 'stem', field 'th_pos'.*layout",
    ),
    "parameter": (
        lambda g: setattr(g.nodes["stem"], "a_pos", np.full((3, 6, 5), 5000)),
        "a_pos.*got 5000",
    ),
    "node": (lambda g: g.nodes.pop("stem"), "stem"),
    "edge": (lambda g: g.edges.remove(("input", "input->stem")), "edge 'input' to 'input->stem'"),
    "more edges": (lambda g: g.edges.append(("stem", "outer")), "edge 'stem' to 'outer'"),
    "more nodes": (
        lambda g: g.nodes.update(spare=nir.Scale(np.ones(3))),
        "node 'spare': got one node too many",
    ),
    "bias in an operator": (
        lambda g: setattr(g.nodes["input->stem"], "bias", np.ones(3)),
        "node 'input->stem', field 'bias'",
    ),
    "an uneven shift": (
        lambda g: setattr(g.nodes["input->stem:shift"], "scale", np.full((3, 6, 5), 5)),
        "node 'input->stem:shift', field 'scale'",
    ),
    "order": (
        lambda g: setattr(g.nodes["readout"], "populations", ["stem", "inner"]),
        "outer",
    ),
    "a second readout": (
        lambda g: g.nodes.update(more=g.nodes["readout"]),
        "graph: got 2 nodes of type CTSNReadout",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_edited_graphs_of_trispike(name):
    change, message = EDITS[name]
    with pytest.raises(FileFormatError, match=message):
        from_graph(edited(change))


@pytest.mark.parametrize("seed", range(20))
def test_damaged_bytes_never_pass_silently_or_crash(seed, tmp_path):
    network = CASES["vectors"]()
    write(network, tmp_path / "n.nir")
    rng = np.random.default_rng(seed)
    content = bytearray((tmp_path / "n.nir").read_bytes())
    for place in rng.integers(0, len(content), 20):
        content[place] = rng.integers(0, 256)
    (tmp_path / "n.nir").write_bytes(bytes(content))
    with contextlib.suppress(TrispikeError):
        read_network(tmp_path / "n.nir")
