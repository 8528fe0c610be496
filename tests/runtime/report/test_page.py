"""The page: valid, whole, safe with strangers' names, and with the numbers of an estimate."""

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests import networks
from tests.runtime.pages.checks import HOSTILE, check_loads_nothing, check_structure, renamed
from tests.runtime.pages.tree import body, figures, find, parsed, text
from tests.runtime.report.pages import report_of
from trispike.network import IntegerNetwork, digest
from trispike.runtime.energy import (
    MemoryModel,
    estimate_energy,
    estimate_memory,
    load_hardware,
    load_profile,
)
from trispike.runtime.report import SECTIONS, Origin, page, render_report, write_report
from trispike.targets.loihi import count_traffic, load_chip, place

NETWORKS = {
    "vectors": networks.vectors,
    "residual": networks.shortcut_across_two_convolutions,
    "pooled": networks.pooled_downsample,
    "frames": networks.frames_encoding,
    "spikes": networks.spikes_encoding,
    "weighted readout": networks.weighted_readout,
    "one step": networks.one_step,
    "saturation": networks.saturation,
    "delays": networks.feedforward_delay,
    "several": networks.several_readout_connections,
}


def placed(network: IntegerNetwork) -> dict[str, Any]:
    """A placement, and made-up traffic on it."""
    placement = place(network, load_chip("loihi1"))
    shapes = {network.input.name: network.input.shape}
    shapes |= {name: p.shape for name, p in network.populations.items()}
    counts = {n: np.ones((network.steps, *shape), np.int64) for n, shape in shapes.items()}
    return {"placement": placement, "traffic": count_traffic(network, placement, counts, 6)}


@pytest.mark.parametrize("name", NETWORKS)
def test_pages_are_valid_and_have_every_section(name):
    tree = check_structure(render_report(report_of(NETWORKS[name]())), SECTIONS)
    for svg in tree.iter("svg"):
        labelled = svg.get("aria-labelledby", "").split()
        assert svg.get("aria-hidden") or (labelled and all(text(find(tree, i)) for i in labelled))


@pytest.mark.parametrize("with_placement", [False, True])
def test_nothing_is_loaded_from_anywhere(with_placement):
    network = networks.vectors()
    report = report_of(network, **(placed(network) if with_placement else {}))
    check_loads_nothing(render_report(report), images=int(with_placement))


def test_numbers_are_those_of_estimates():
    network = networks.shortcut_across_two_convolutions()
    report = report_of(network)
    ledger, tree = report.ledger, parsed(render_report(report))
    loihi = estimate_energy(ledger, load_profile("loihi1"), network=network)
    assert figures(find(tree, "headline-energy")) == [loihi.energy_per_inference_joules]
    assert figures(find(tree, "headline-accuracy")) == [report.result.accuracy]
    assert figures(find(tree, "headline-operations")) == [ledger.synaptic_operations / 6]
    rows = {text(row[0]): row for row in body(find(tree, "estimates"))}
    assert list(rows) == ["loihi1", "loihi1-regressed", "cmos45-int8", "cmos45-memory"]
    for identity, row in rows.items():
        hardware = load_hardware(identity)
        if identity == "cmos45-memory":
            events = 6 * network.steps * np.count_nonzero(network.input.encode(_inputs(), 4)) / 36
            priced = estimate_memory(network, ledger, hardware, input_events=events)
        else:
            priced = estimate_energy(ledger, hardware, network=network)
        expected = [priced.energy_per_inference_joules, priced.low_joules, priced.high_joules]
        assert [figures(cell)[0] for cell in row[1:4]] == pytest.approx(expected, rel=1e-12)
    terms = {text(row[0]): row for row in body(find(tree, "terms"))}
    for term in loihi.terms:
        row = terms[term.event.replace("_", " ")]
        assert figures(row[1]) == [term.count]
        assert ("not priced" in text(row[3])) == (term.joules is None)
        if term.joules is not None:
            assert figures(row[3]) == [term.joules]
    layers = {(layer.name, layer.kind): layer for layer in loihi.layers}
    for table, kind in (("connections", "connection"), ("populations", "population")):
        for row in body(find(tree, table)):
            joules = layers[text(row[0]), kind].joules
            assert joules in [value for cell in row for value in figures(cell)]


def _inputs() -> npt.NDArray[Any]:
    return networks.sample_inputs(networks.shortcut_across_two_convolutions(), 6)


def test_everything_that_is_not_priced_is_told_and_every_source():
    report = report_of(networks.vectors())
    tree = parsed(render_report(report))
    left_out, sources = text(find(tree, "unpriced")), text(find(tree, "sources"))
    for estimate in report.estimates:
        for why in (*estimate.unpriced.values(), *estimate.included.values()):
            assert " ".join(why.split()) in left_out
    for name in ("loihi1", "loihi1-regressed", "cmos45-int8"):
        for coefficient in load_profile(name).coefficients.values():
            assert " ".join(coefficient.citation.split()) in sources
    model = load_hardware("cmos45-memory")
    assert isinstance(model, MemoryModel)
    for _, coefficient in model.coefficients():
        assert " ".join(coefficient.citation.split()) in sources
    for caveat in report.headline.profile.caveats:
        assert caveat in text(find(tree, "meaning"))


def test_a_network_that_loses_is_told_on_top():
    report = report_of(networks.vectors())
    lost = [x for x in page.contests(report) if x.loses]
    assert lost
    verdict = text(find(parsed(render_report(report)), "verdict"))
    assert f"loses {len(lost)} of {len(page.contests(report))} comparisons" in verdict
    for contest in lost:
        assert f"{contest.other}, {contest.basis}: it loses by " in verdict


def test_a_network_that_loses_nothing(monkeypatch):
    report = report_of(networks.vectors())
    won = [x for x in page.contests(report) if not x.loses]
    monkeypatch.setattr(page, "contests", lambda _: tuple(won))
    verdict = text(find(parsed(render_report(report)), "verdict"))
    assert verdict.startswith(f"The spiking network loses none of {len(won)} comparisons")


def test_without_labels():
    tree = parsed(render_report(report_of(networks.vectors(), labels=False)))
    assert text(find(tree, "headline-accuracy")) == "–"
    assert text(find(tree, "summary")).count("the data have no labels") == 2
    assert "The data have no labels" in text(find(tree, "anytime"))
    assert "By class: the data have no labels." in text(find(tree, "samples"))
    assert not [e for e in tree.iter("table") if e.get("id") in ("curve", "classes")]
    assert "labels, SHA-256" not in text(find(tree, "provenance"))


def test_where_no_curve_is_possible_the_reason_stands():
    report = report_of(networks.weighted_readout())
    assert report.curve is None
    assert report.no_curve
    section = text(find(parsed(render_report(report)), "anytime"))
    assert " ".join(report.no_curve.split()) in section


def test_prices_of_the_dense_network_alone():
    report = report_of(networks.vectors(), hardware=["kerasspiking-cpu"])
    tree = parsed(render_report(report))
    assert "Energy per inference, dense network" in text(find(tree, "summary"))
    assert [m.id for m in report.matrices] == ["operations", "rates"]
    assert "None of the prices is one of the spiking network." in text(find(tree, "anytime"))


def test_a_placement():
    network = networks.vectors()
    without = text(find(parsed(render_report(report_of(network))), "placement"))
    assert "No placement was given" in without
    report = report_of(network, **placed(network))
    tree = parsed(render_report(report))
    assert report.traffic is not None
    assert report.placement is not None
    rows = {text(row[0]): row for row in body(find(tree, "traffic"))}
    for label, flow in report.traffic.connections.items():
        assert figures(rows[label][1]) == [flow.messages.sum() / report.traffic.samples]
    assert [text(row[0]) for row in body(find(tree, "placed"))] == list(report.placement.grids)
    assert "message" in {term.event for term in report.headline.terms}


def test_hostile_names_are_text():
    network = networks.vectors()
    names = dict(zip((*network.populations, network.readout.name), HOSTILE.values(), strict=False))
    network = renamed(network, names)
    evil = "</title></style><script>alert(1)</script>"
    origin = Origin(network=evil, data=evil, command=f"trispike report '{evil}'")
    report = report_of(network, origin=origin, **placed(network))
    markup = render_report(report)
    tree = parsed(markup)
    assert not list(tree.iter("script"))
    assert not list(tree.iter("b"))
    assert len(list(tree.iter("img"))) == 1  # the placement
    assert not any(str(a).startswith("on") for e in tree.iter() for a in e.attrib)
    assert text(next(tree.iter("h1"))) == f"Energy per inference of {evil}"
    shown = [text(row[0]) for row in body(find(tree, "populations"))]
    assert shown == list(network.populations)
    assert [text(row[0]) for row in body(find(tree, "connections"))] == list(network.labels)


def test_provenance():
    network = networks.vectors()
    origin = Origin(network="net", data="digits", command="trispike report net")
    section = find(parsed(render_report(report_of(network, origin=origin))), "provenance")
    facts = [text(e) for e in section.iter("dd")]
    for fact in (digest(network), "digits: 6 samples", "trispike report net"):
        assert fact in facts
    hashes = {fact for fact in facts if re.fullmatch(r"[0-9a-f]{64}", fact)}
    assert len(hashes) == 3 + 4  # network, inputs, labels; and one for each hardware


def test_equal_runs_give_equal_files_and_a_failure_none(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    write_report(report_of(networks.vectors()), path)
    first = path.read_bytes()
    write_report(report_of(networks.vectors()), path)
    assert path.read_bytes() == first

    def fail(*_):
        raise RuntimeError("broken")

    monkeypatch.setattr(page, "draw_placement", fail)
    network = networks.vectors()
    with pytest.raises(RuntimeError, match="broken"):
        write_report(report_of(network, **placed(network)), path)
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]
    assert path.read_bytes() == first
