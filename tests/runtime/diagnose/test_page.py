"""The page: valid, whole, safe with strangers' names, with the numbers of the diagnosis."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("jinja2", reason="jinja2 is not installed")

from tests.networks import CASES, sample_inputs
from tests.quantize.floats import as_float
from tests.runtime.diagnose.pairs import float_network, inputs, integer_network
from tests.runtime.pages.checks import HOSTILE, check_loads_nothing, check_structure, renamed
from tests.runtime.pages.tree import body, figures, find, parsed, text
from trispike.network import FloatNetwork, Network
from trispike.network.steps import with_steps
from trispike.quantize import quantize
from trispike.runtime.diagnose import Diagnosis, diagnose
from trispike.runtime.diagnose.page import (
    SECTIONS,
    PageOrigin,
    render_diagnosis,
    write_diagnosis,
)

ORIGIN = PageOrigin(float_network="net", integer_network="net.int8", data="data")


def of_case(name: str, bits: int = 3) -> Diagnosis:
    case = CASES[name]()
    source, x = as_float(case, unit=0.01), sample_inputs(case, 4)
    return diagnose(source, quantize(source, x, weight_bits=bits).network, x)


@pytest.mark.parametrize(
    "name",
    ["vectors", "frames_encoding", "one_step", "bias_only_population", "saturation", "deep"],
)
def test_pages_are_valid_and_have_every_section(name):
    check_structure(render_diagnosis(of_case(name), ORIGIN), SECTIONS)


def test_nothing_is_loaded_from_anywhere():
    check_loads_nothing(render_diagnosis(of_case("vectors"), ORIGIN))


def test_numbers_are_those_of_the_diagnosis():
    found = diagnose(
        float_network(), integer_network(bits={"b": 2}), inputs(), np.arange(len(inputs())) % 4
    )
    tree = parsed(render_diagnosis(found, ORIGIN))
    readout = found.readout
    assert figures(find(tree, "headline-predictions")) == [readout.prediction_agreement]
    assert figures(find(tree, "headline-accuracy")) == [readout.accuracy_integer]
    assert text(find(tree, "headline-guilty")) == "b"
    for row, p in zip(body(find(tree, "layers")), found.populations, strict=False):
        assert text(row[0]) == p.name
        shown = [n for cell in row[1:] for n in figures(cell)]
        assert shown[1:5] == [
            p.own.sqnr_db_total, p.forced.sqnr_db_total, p.own.spike_error, p.forced.spike_error
        ]  # fmt: skip
    for way in ("own", "forced"):
        rows = body(find(tree, f"heat-current-{way}"))
        assert [text(row[0]) for row in rows] == ["a", "b", "c", "readout"]
        for row, p in zip(rows, found.populations, strict=False):
            expected = [*getattr(p, way).sqnr_db, getattr(p, way).sqnr_db_total]
            assert [figures(cell)[0] for cell in row[1:]] == pytest.approx(expected)
    wrong = body(find(tree, "heat-wrong-forced"))
    for row, p in zip(wrong, found.populations, strict=True):
        shares = [n / (p.neurons * found.samples) for n in p.forced.disagreements]
        got = [float(e.get("value", "")) for cell in row[1:4] for e in cell.iter("data")]
        assert got == pytest.approx(shares)
    advice = [text(e) for e in find(tree, "advices").iter("li")]
    assert len(advice) == len(found.advice)
    for line, a in zip(advice, found.advice, strict=True):
        assert line.startswith(f"{a.layer}, {a.knob}: {a.action}")
        assert a.finding in line
    d = found.first_divergence
    assert d is not None
    rows = body(find(tree, "divergence-1"))
    values = {text(row[0]): [figures(cell) for cell in row[1:]] for row in rows}
    assert values["potential v"] == [
        [d.float_state.potential], [d.integer_state.potential * (d.unit or 0)],
        [d.integer_state.potential],
    ]  # fmt: skip


def test_worse_cells_are_darker():
    found = diagnose(float_network(), integer_network(bits={"b": 2}), inputs())
    tree = parsed(render_diagnosis(found, ORIGIN))

    def level(cell: Any) -> int:
        return int(cell.get("class", "").removeprefix("c"))

    by_name = {text(row[0]): row[1:] for row in body(find(tree, "heat-current-forced"))}
    for bad, good in zip(by_name["b"], by_name["a"], strict=True):
        assert level(bad) >= 5
        assert 0 < level(good) <= 2


def test_of_many_time_steps_several_share_a_column():
    source, integer = (with_steps(n, 60) for n in (float_network(), integer_network()))
    x = np.random.default_rng(0).integers(-1, 2, (3, 60, 20))
    found = diagnose(source, integer, x)
    tree = parsed(render_diagnosis(found, ORIGIN))
    table = find(tree, "heat-current-own")
    titles = [text(e) for e in next(table.iter("thead")).iter("th")]
    assert titles[:3] == ["layer", "1-3", "4-6"]
    assert titles[-2:] == ["58-60", "all"]
    p = found.populations[1]
    first = 10 * np.log10(sum(p.own.current_power[:3]) / sum(p.own.error_power[:3]))
    assert figures(body(table)[1][1]) == [pytest.approx(first)]


def test_where_nothing_differs():
    """The float network beside one that computes the same: no advice, no divergence."""
    names = (float_network(), integer_network())
    found = diagnose(*names, np.zeros((2, 3, 20), np.int64))
    assert found.first_divergence is None
    tree = parsed(render_diagnosis(found, ORIGIN))
    assert "Every spike agrees" in text(find(tree, "divergence"))
    assert text(find(tree, "headline-guilty")) == "none"
    assert "the data have no labels" in text(find(tree, "summary"))


def test_hostile_names_are_text():
    names = dict(zip(("a", "b", "readout"), HOSTILE.values(), strict=True))
    integer = renamed(integer_network(bits={"b": 2}), names)
    source: Network = renamed(float_network(), names)
    assert isinstance(source, FloatNetwork)
    evil = "</title></style><script>alert(1)</script>"
    origin = PageOrigin(float_network=evil, integer_network=evil, data=evil, command=evil)
    markup = render_diagnosis(diagnose(source, integer, inputs()), origin)
    tree = parsed(markup)
    assert not list(tree.iter("script"))
    assert not list(tree.iter("img"))
    assert not any(str(a).startswith("on") for e in tree.iter() for a in e.attrib)
    assert text(next(tree.iter("h1"))) == f"Diagnosis of {evil}"
    shown = [text(row[0]) for row in body(find(tree, "layers"))]
    assert shown == [*source.order, source.readout.name]


def test_equal_diagnoses_give_equal_files(tmp_path):
    for name in ("one.html", "two.html"):
        write_diagnosis(of_case("recurrent"), tmp_path / name, ORIGIN)
    one, two = ((tmp_path / name).read_bytes() for name in ("one.html", "two.html"))
    assert one == two
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.html", "two.html"]
