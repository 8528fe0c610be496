"""The custom nodes: every field of a neuron, HDF5-safe, readable by whoever registers them."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import nir
import numpy as np
import pytest

from tests.networks import CASES
from tests.runtime.floats import CASES as FLOAT_CASES
from trispike.errors import FileFormatError
from trispike.export.nir import CTSN, CTSNInput, CTSNReadout, register, to_graph, write
from trispike.export.nir.layout import full, layout, reduced
from trispike.export.nir.nodes import CUSTOM_NODES, FORMAT_VERSION
from trispike.export.nir.own import neuron_of
from trispike.export.nir.write import ctsn
from trispike.network import FixedPointNeuron, Input, Neuron, Readout

OF_NIR = {"input_type", "output_type", "metadata"}


def names(kind: type) -> set[str]:
    return {f.name for f in dataclasses.fields(kind)} - OF_NIR


def test_ctsn_has_every_field_of_both_neurons():
    ours = names(CTSN) - {"format_version", "number", "layout"}
    assert ours == names(FixedPointNeuron)
    assert names(Neuron) < ours


def test_input_and_readout_have_every_field():
    assert names(Input) - names(CTSNInput) == {"shape", "name"}  # its arrays', and the node's
    assert names(Readout) - names(CTSNReadout) == {"name"}


@pytest.mark.parametrize("kind", CUSTOM_NODES)
def test_every_node_has_a_version(kind):
    assert dataclasses.fields(kind)[-1].name  # a dataclass
    assert "format_version" in names(kind)


def test_arrays_have_the_shape_of_the_population():
    node = to_graph(CASES["per_channel_parameters"]()).nodes["first"]
    plain = {"reset", "strict", "fire_once", "fire_from", "fire_until", "gains"}
    for field in names(Neuron) - plain:
        assert getattr(node, field).shape == (3, 6, 5)
        assert getattr(node, field).dtype == np.int64
    assert node.format_version == FORMAT_VERSION
    assert node.number == "fixed"


@pytest.mark.parametrize("number", [Neuron, FixedPointNeuron])
def test_nodes_from_before_schedules_have_none(number):
    """Files of earlier releases lack these fields."""
    node = ctsn(number(th_pos=3), (2,))
    fields = {name: getattr(node, name) for name in names(CTSN)}
    for name in ("fire_from", "fire_until", "gains"):
        del fields[name]
    again = neuron_of(CTSN(**fields), "n")
    assert again.equals(number(th_pos=3))
    assert (again.fire_from, again.fire_until, again.gains) == (0, None, ())


def test_integers_travel_as_integers(tmp_path):
    write(CASES["exponents"](), tmp_path / "n.nir")
    register()
    graph = nir.read(tmp_path / "n.nir")
    assert graph.nodes["input->stem"].weight.dtype == np.int8
    assert graph.nodes["input->stem:shift"].scale.dtype == np.int64


def test_plain_nir_reads_it_after_registration_only(tmp_path):
    write(FLOAT_CASES["shortcut"](), tmp_path / "n.nir")
    code = f"""
import sys, nir
try:
    nir.read({str(tmp_path / "n.nir")!r})
except AssertionError:
    print("unknown")
from trispike.export.nir import register
register(); register()
graph = nir.read({str(tmp_path / "n.nir")!r})
print(*sorted({{type(node).__name__ for node in graph.nodes.values()}}))
print("torch" in sys.modules)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert result[0] == "unknown"
    assert {"CTSN", "CTSNInput", "CTSNReadout"} <= set(result[1].split())


@pytest.mark.parametrize("shape", [(), (1,), (3, 1, 1), (1, 4, 1), (3, 4, 5), (4, 5), (1, 1, 5)])
def test_layouts(shape):
    array = np.random.default_rng(0).normal(size=shape)
    (line,) = layout({"a": array}, 3)
    again = reduced(full(array, (3, 4, 5)), line, "a")
    assert again.shape == shape
    assert np.array_equal(again, array)


@pytest.mark.parametrize(
    "line", [[0, 0, 0, 0], [3, 3, 1, 1], [4, 3, 4, 5], [-1, 0, 0, 0], [1, 2, 0, 0]]
)
def test_layouts_that_lie(line):
    array = np.arange(60.0).reshape(3, 4, 5)
    with pytest.raises(FileFormatError, match="a: got an array of shape"):
        reduced(array, np.array(line), "a")


def test_importing_trispike_loads_neither_nir_nor_torch():
    code = (
        "import sys, trispike, trispike.cli.app; print({'nir', 'torch', 'h5py'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"


def test_without_nir_the_command_is_named():
    code = """
import sys
sys.modules["nir"] = None
try:
    import trispike.export.nir
except ImportError as error:
    print(type(error).__name__, error)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith("MissingDependencyError NIR: got ")
    assert "pip install 'trispike[nir]'" in result.stdout
